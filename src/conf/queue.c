/*
 * A queue's keys that are more than one value: its handlers by type, its retry
 * policy, its breaker.
 */
#include "config.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "conf/parts.h"
#include "conf/shape.h"
#include "core/job.h"
#include "core/units.h"

#define WEIGHT_MAX 100
#define TYPE_MAX 200		/* bytes of a job type's name */
#define RUN_MAX_MS (24LL * 24 * 3600 * 1000)

#define T(m) offsetof(struct type_conf, m)
static const struct key type_keys[] = {
	{ "timeout", KEY_DURATION, T(timeout_ms), "0", 0, RUN_MAX_MS },
	{ "handler", KEY_CUSTOM, .read = queue_read_later },
	{ .name = NULL }
};

static void link_types(struct conf *, struct queue_conf *,
    const struct node_entry *, struct conf_sink *);
static void link_type(struct conf *, struct queue_conf *,
    const struct node_entry *, const struct node_entry *all,
    struct conf_sink *);
static const struct handler_conf *find_handler(struct conf *,
    const struct node_entry *, struct conf_sink *);
static const struct retry_policy *policy_by_name(const struct conf *,
    const char *name);
static void link_retry(struct conf *, struct queue_conf *,
    const struct node_entry *, struct conf_sink *);
static void link_against(struct conf *, struct queue_conf *,
    const struct node_entry *, struct conf_sink *);
static void link_priority(struct conf *, struct queue_conf *,
    const struct node_entry *, struct conf_sink *);
static void check_weights(const struct queue_conf *, const struct node_entry *,
    struct conf_sink *);
static void link_limits(struct conf *, struct queue_conf *,
    const struct node_entry *, struct conf_sink *);

/* What needs other sections: queue_link() reads it, when they are there. */
void
queue_read_later(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	(void)r;
	(void)entry;
	(void)target;
}

void
queue_read_retry(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	struct queue_conf *q = target;

	if (entry == NULL || entry->value->kind != NODE_MAP)
		return;		/* a name: queue_link() */
	q->own_retry = xcalloc(1, sizeof(*q->own_retry));
	q->own_retry->name = xstrdup(r->place);
	keys_read(r, policy_keys, entry, q->own_retry);
	policy_finish(r, entry, q->own_retry);
}

void
queue_read_until(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	struct key kind = { "unique_until", KEY_DURATION, .min = 1,
	    .max = UNITS_DURATION_MAX_MS };
	struct queue_conf *q = target;
	const char *text;

	q->unique_ms = UNIQUE_DONE;
	if (entry == NULL)
		return;
	text = entry->value->kind == NODE_SCALAR ? entry->value->text : "";
	if (strcmp(text, "started") == 0)
		q->unique_ms = UNIQUE_STARTED;
	else if (strcmp(text, "done") != 0 &&
	    !key_read_scalar(&kind, entry, &q->unique_ms, NULL))
		conf_complain(r->sink, entry->file, entry->line, entry->column,
		    "unique_until: \"%.100s\" is not done, started or "
		    "a duration", text);
}

void
queue_read_breaker(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	struct queue_conf *q = target;
	struct key kind = { "breaker", KEY_BOOL };

	keys_read(r, breaker_keys, NULL, q);
	if (entry == NULL)
		return;
	if (entry->value->kind == NODE_MAP) {
		q->breaker = true;
		keys_read(r, breaker_keys, entry, q);
	} else if (!key_read_scalar(&kind, entry, &q->breaker, NULL))
		conf_complain(r->sink, entry->file, entry->line, entry->column,
		    "breaker: needs off, on, or a map like "
		    "{failures: 50%%, of: 20, open: 1m}");
}

void
queue_dump_handler(struct dump *d, const struct key *key, const void *target)
{
	const struct queue_conf *q = target;

	for (size_t i = 0; i < q->ntypes; i++)
		if (*q->types[i].type == '\0')
			dump_text(d, key->name, q->types[i].handler->name);
}

void
queue_dump_types(struct dump *d, const struct key *key, const void *target)
{
	const struct queue_conf *q = target;
	bool any = false;

	for (size_t i = 0; i < q->ntypes; i++) {
		const struct type_conf *t = &q->types[i];

		if (*t->type == '\0')
			continue;
		if (!any)
			dump_open(d, key->name);
		any = true;
		dump_open(d, t->type);
		dump_text(d, "handler", t->handler->name);
		dump_keys(d, type_keys, t);
		dump_close(d);
	}
	if (any)
		dump_close(d);
}

void
queue_dump_retry(struct dump *d, const struct key *key, const void *target)
{
	const struct queue_conf *q = target;

	if (q->own_retry == NULL) {
		dump_text(d, key->name, q->retry->name);
		return;
	}
	dump_open(d, key->name);
	dump_keys(d, policy_keys, q->own_retry);
	dump_close(d);
}

void
queue_dump_until(struct dump *d, const struct key *key, const void *target)
{
	const struct queue_conf *q = target;
	char text[UNITS_TEXT_MAX];

	if (q->unique_ms == UNIQUE_DONE)
		dump_text(d, key->name, "done");
	else if (q->unique_ms == UNIQUE_STARTED)
		dump_text(d, key->name, "started");
	else {
		units_format_duration(text, sizeof(text), q->unique_ms);
		dump_text(d, key->name, text);
	}
}

void
queue_dump_breaker(struct dump *d, const struct key *key, const void *target)
{
	const struct queue_conf *q = target;

	if (!q->breaker) {
		dump_raw(d, key->name, "off");
		return;
	}
	dump_open(d, key->name);
	dump_keys(d, breaker_keys, q);
	dump_close(d);
}

void
queue_free_types(void *target)
{
	struct queue_conf *q = target;

	for (size_t i = 0; i < q->ntypes; i++)
		free(q->types[i].type);
	free(q->types);
}

void
queue_free_retry(void *target)
{
	struct queue_conf *q = target;

	if (q->own_retry == NULL)
		return;
	free(q->own_retry->name);
	keys_free(policy_keys, q->own_retry);
	free(q->own_retry);
}

void
queue_link(struct conf *conf, struct queue_conf *q,
    const struct node_entry *entry, struct conf_sink *sink)
{
	link_types(conf, q, entry, sink);
	link_retry(conf, q, entry, sink);
	link_against(conf, q, entry, sink);
	link_priority(conf, q, entry, sink);
	link_limits(conf, q, entry, sink);
	check_weights(q, node_entry(entry->value, "fair_weights"), sink);
	shape_check(q->schema, sink);
	encrypt_check_queue(q, entry, sink);
}

/* A bit from the middle of a random number that the id is the seed of: what is
 * enqueued in turns, like two jobs for each order, is in both halves alike. */
const struct retry_policy *
conf_policy(const struct queue_conf *q, int64_t job)
{
	bool second = job % 2147483647 * 1583458089 % 2147483647 / 32768 % 2 != 0;

	return second && q->against != NULL ? q->against : q->retry;
}

static void
add_type(struct queue_conf *q, const char *type,
    const struct handler_conf *handler, int64_t timeout_ms)
{
	q->types[q->ntypes++] = (struct type_conf){ .type = xstrdup(type),
	    .handler = handler, .timeout_ms = timeout_ms };
}

static void
link_types(struct conf *conf, struct queue_conf *q,
    const struct node_entry *entry, struct conf_sink *sink)
{
	const struct node_entry *all = node_entry(entry->value, "handler");
	const struct node_entry *types = node_entry(entry->value, "types");
	const struct node *map = types ? types->value : NULL;
	const struct handler_conf *handler;

	if (map != NULL && map->kind != NODE_MAP) {
		if (!node_is_empty(map))
			conf_complain(sink, types->file, types->line,
			    types->column, "types: needs a map of job types");
		map = NULL;
	}
	q->types = xcalloc((map ? map->count : 0) + 1, sizeof(*q->types));
	for (size_t i = 0; map != NULL && i < map->count; i++)
		link_type(conf, q, &map->entries[i], all, sink);
	if (all != NULL) {
		handler = find_handler(conf, all, sink);
		if (handler != NULL)
			add_type(q, "", handler, 0);
	} else if ((map == NULL || map->count == 0) && q->workers > 0)
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "queue \"%s\" has neither handler: nor types:, nor "
		    "workers: 0, which leaves its jobs to workers elsewhere",
		    q->name);
}

/*
 * email_notification: mailer, or digest: {handler: app, timeout: 5m}, or
 * digest: {timeout: 5m} where the queue has a handler for all.
 */
static void
link_type(struct conf *conf, struct queue_conf *q,
    const struct node_entry *entry, const struct node_entry *all,
    struct conf_sink *sink)
{
	struct key_reader r = { .conf = conf, .sink = sink,
	    .place = entry->key };
	const struct node_entry *by = entry;
	const struct handler_conf *handler;
	struct type_conf type = { 0 };

	if (*entry->key == '\0' || strlen(entry->key) > TYPE_MAX)
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "a job type has 1 to %d bytes", TYPE_MAX);
	if (entry->value->kind == NODE_MAP) {
		keys_read(&r, type_keys, entry, &type);
		by = node_entry(entry->value, "handler");
		if (by == NULL)
			by = all;
		if (by == NULL) {
			conf_complain(sink, entry->file, entry->line,
			    entry->column, "type \"%.100s\" has no handler:",
			    entry->key);
			return;
		}
	}
	handler = find_handler(conf, by, sink);
	if (handler != NULL)
		add_type(q, entry->key, handler, type.timeout_ms);
}

static const struct handler_conf *
find_handler(struct conf *conf, const struct node_entry *entry,
    struct conf_sink *sink)
{
	const struct handler_conf *handler;

	if (entry->value->kind != NODE_SCALAR) {
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "%s: needs the name of a handler", entry->key);
		return NULL;
	}
	handler = conf_handler(conf, entry->value->text);
	if (handler == NULL)
		complain_missing(sink, entry, entry->key, "handler",
		    entry->value->text, conf->handlers, conf->nhandlers,
		    sizeof(*conf->handlers));
	return handler;
}

static const struct retry_policy *
policy_by_name(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->npolicies; i++)
		if (strcmp(conf->policies[i].name, name) == 0)
			return &conf->policies[i];
	return NULL;
}

static void
link_retry(struct conf *conf, struct queue_conf *q,
    const struct node_entry *entry, struct conf_sink *sink)
{
	const struct node_entry *by = node_entry(entry->value, "retry");
	const char *name = "default";

	q->retry = q->own_retry;
	if (q->retry != NULL)
		return;
	if (by != NULL && by->value->kind == NODE_LIST) {
		conf_complain(sink, by->file, by->line, by->column,
		    "retry: needs the name of a policy, or a policy");
		return;
	}
	if (by != NULL)
		name = by->value->text;
	q->retry = policy_by_name(conf, name);
	if (q->retry == NULL)
		complain_missing(sink, by, "retry", "policy", name,
		    conf->policies, conf->npolicies, sizeof(*conf->policies));
}

static void
link_against(struct conf *conf, struct queue_conf *q,
    const struct node_entry *entry, struct conf_sink *sink)
{
	if (*q->retry_against == '\0')
		return;
	q->against = policy_by_name(conf, q->retry_against);
	if (q->against == NULL)
		complain_missing(sink, node_entry(entry->value, "retry_against"),
		    "retry_against", "policy", q->retry_against,
		    conf->policies, conf->npolicies, sizeof(*conf->policies));
}

static void
link_priority(struct conf *conf, struct queue_conf *q,
    const struct node_entry *entry, struct conf_sink *sink)
{
	const struct node_entry *at = node_entry(entry->value, "priority");
	const char *name = *q->priority_scale ? q->priority_scale : "default";

	for (size_t i = 0; i < conf->nscales; i++)
		if (strcmp(conf->scales[i].name, name) == 0)
			q->scale = &conf->scales[i];
	if (q->scale == NULL) {
		complain_missing(sink, node_entry(entry->value,
		    "priority_scale"), "priority_scale", "scale", name,
		    conf->scales, conf->nscales, sizeof(*conf->scales));
		return;
	}
	q->large_first = q->scale->large_first;
	q->priority = scale_priority(q->scale, q->priority_text);
	if (q->priority >= 0)
		return;
	q->priority = 0;
	if (at == NULL)		/* the scale has no "normal" */
		at = entry;
	conf_complain(sink, at->file, at->line, at->column, "priority: \"%.100s\" "
	    "is neither a number from %d to %d nor a name of the scale %s",
	    q->priority_text, PRIORITY_MIN, PRIORITY_MAX, name);
}

/* {acme: 3}: what a value of fair gets in turn, when others get 1. */
static void
check_weights(const struct queue_conf *q, const struct node_entry *entry,
    struct conf_sink *sink)
{
	const struct node *map = q->fair_weights;

	if (map == NULL || map->count == 0)
		return;
	if (*q->fair == '\0')
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "fair_weights: needs fair:, whose values have them");
	for (size_t i = 0; i < map->count; i++) {
		const struct node_entry *one = &map->entries[i];
		const char *text = one->value->kind == NODE_SCALAR ?
		    one->value->text : "";
		const char *wrong;

		strtonum(text, 1, WEIGHT_MAX, &wrong);
		if (wrong != NULL)
			conf_complain(sink, one->file, one->line, one->column,
			    "%.100s: \"%.100s\" is no weight from 1 to %d",
			    one->key, text, WEIGHT_MAX);
	}
}

static void
link_limits(struct conf *conf, struct queue_conf *q,
    const struct node_entry *entry, struct conf_sink *sink)
{
	const struct node *list = node_get(entry->value, "limits");

	for (size_t i = 0; i < q->nlimits; i++) {
		size_t n = 0;

		while (n < conf->nlimits &&
		    strcmp(conf->limits[n].name, q->limits[i]) != 0)
			n++;
		if (n == conf->nlimits)
			complain_missing(sink, &list->entries[i], "limits",
			    "limit", q->limits[i], conf->limits, conf->nlimits,
			    sizeof(*conf->limits));
	}
}
