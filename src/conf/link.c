/*
 * What only all sections together can tell: names that point nowhere,
 * handlers' options.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "conf/parts.h"
#include "core/job.h"
#include "core/metric.h"
#include "core/sign.h"

/* Drivers there will be; a handler of one that this build lacks is an error
 * that says so. */
static const char *const known_drivers[] = { "email", "exec", "http", "noop",
    "report", "sql", "worker", NULL };

static void link_handler(const struct handler_conf *,
    const struct conf_drivers *, struct conf_sink *);
static void link_mail_queue(const struct conf *, const struct handler_conf *,
    struct conf_sink *);
static void link_schedule(struct conf *, struct schedule_conf *,
    const struct node_entry *, struct conf_sink *);
static void link_hook(struct conf *, const struct hook_conf *,
    const struct node_entry *, struct conf_sink *);
static void link_alert(struct conf *, const struct alert_conf *,
    const struct node_entry *, struct conf_sink *);

void
complain_entry(struct conf_sink *sink, const struct node_entry *entry,
    const char *why)
{
	conf_complain(sink, entry->file, entry->line, entry->column,
	    "\"%.100s\" %s", entry->key, why);
}

void
conf_link(struct conf *conf, const struct conf_drivers *drivers,
    struct conf_sink *sink)
{
	const struct node *queues = node_get(conf->root, "queues");
	const struct node *schedules = node_get(conf->root, "schedules");

	/* The arrays are in the order of the entries they came from. */
	for (size_t i = 0; i < conf->nhandlers; i++)
		link_handler(&conf->handlers[i], drivers, sink);
	for (size_t i = 0; i < conf->nhandlers; i++)
		link_mail_queue(conf, &conf->handlers[i], sink);
	for (size_t i = 0; i < conf->nqueues; i++)
		queue_link(conf, &conf->queues[i], &queues->entries[i], sink);
	for (size_t i = 0; i < conf->nschedules; i++)
		link_schedule(conf, &conf->schedules[i],
		    &schedules->entries[i], sink);
	for (size_t i = 0; i < conf->read.nhooks; i++)
		link_hook(conf, &conf->read.hooks[i],
		    &conf->hooks->entries[i], sink);
	channels_link(conf, drivers, sink);
	link_channels(conf, node_get(node_get(conf->root, "monitor"), "report_to"),
	    "report_to", conf->monitor.report_to, conf->monitor.nreport_to, sink);
	for (size_t i = 0; i < conf->read.nalerts; i++)
		link_alert(conf, &conf->read.alerts[i],
		    &conf->alerts->entries[i], sink);
	for (size_t i = 0; i < conf->read.nworkflows; i++)
		workflow_link(conf, &conf->read.workflows[i],
		    &conf->workflows->entries[i], sink);
}

void
complain_missing(struct conf_sink *sink, const struct node_entry *entry,
    const char *key, const char *what, const char *typed, const void *array,
    size_t count, size_t size)
{
	const char **names;
	char *text;

	if (sink_is_full(sink))
		count = 0;	/* not seen, but counted */
	names = xcalloc(count, sizeof(*names));
	for (size_t i = 0; i < count; i++)
		memcpy(&names[i], (const char *)array + i * size,
		    sizeof(*names));
	text = xasprintf("%s: there is no %s", key, what);
	key_complain_name(sink, entry, text, typed, names, count);
	free(text);
	free(names);
}

static bool
has(const char *const *names, const char *name)
{
	for (; *names != NULL; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

static void
link_handler(const struct handler_conf *h, const struct conf_drivers *drivers,
    struct conf_sink *sink)
{
	const struct node_entry *entry = node_entry(h->options, "driver");
	const char *const *names = known_drivers;
	size_t count = 0;

	if (drivers != NULL)
		names = drivers->names();
	if (entry == NULL || *h->driver == '\0')
		return;
	if (has(names, h->driver)) {
		if (drivers != NULL)
			drivers->check(h->driver, h->options, sink);
		return;
	}
	if (has(known_drivers, h->driver)) {
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "driver: this build has no driver \"%s\"", h->driver);
		return;
	}
	while (known_drivers[count] != NULL)
		count++;
	key_complain_name(sink, entry, "driver: there is no driver", h->driver,
	    known_drivers, count);
}

/* Where a handler of reports puts the mail. */
static void
link_mail_queue(const struct conf *conf, const struct handler_conf *h,
    struct conf_sink *sink)
{
	const struct node_entry *entry = node_entry(h->options, "mail_queue");

	if (entry != NULL && strcmp(h->driver, "report") == 0 &&
	    entry->value->kind == NODE_SCALAR &&
	    conf_queue(conf, entry->value->text) == NULL)
		complain_missing(sink, entry, "mail_queue", "queue",
		    entry->value->text, conf->queues, conf->nqueues,
		    sizeof(*conf->queues));
}

void
link_job(struct conf *conf, const char *queue, const char *type,
    const struct node_entry *at, struct conf_sink *sink)
{
	const struct node_entry *by = node_entry(at->value, "queue");
	const struct node_entry *type_at = node_entry(at->value, "type");
	const struct queue_conf *q = conf_queue(conf, queue);

	if (by == NULL || *queue == '\0')
		return;		/* complained of where it was read */
	if (q == NULL) {
		complain_missing(sink, by, "queue", "queue", queue,
		    conf->queues, conf->nqueues, sizeof(*conf->queues));
		return;
	}
	for (size_t i = 0; i < q->ntypes; i++)
		if (*q->types[i].type == '\0' ||
		    strcmp(q->types[i].type, type) == 0)
			return;
	if (q->ntypes == 0)
		return;		/* its handlers are wrong, and complained of */
	if (type_at == NULL)
		type_at = at;
	conf_complain(sink, type_at->file, type_at->line, type_at->column,
	    "type: the queue %s has no handler for the type \"%.100s\"",
	    q->name, type);
}

int
link_job_priority(const struct queue_conf *q, const char *text,
    const struct node_entry *at, struct conf_sink *sink)
{
	const struct node_entry *by = node_entry(at->value, "priority");
	int priority;

	if (by == NULL || q == NULL || q->scale == NULL)
		return -1;
	priority = scale_priority(q->scale, text);
	if (priority < 0)
		conf_complain(sink, by->file, by->line, by->column, "priority: "
		    "\"%.100s\" is neither a number from %d to %d nor a name "
		    "of the scale of the queue %s", text, PRIORITY_MIN,
		    PRIORITY_MAX, q->name);
	else if (q->scale->large_first)
		return PRIORITY_MAX - priority;
	return priority;
}

static void
link_schedule(struct conf *conf, struct schedule_conf *s,
    const struct node_entry *entry, struct conf_sink *sink)
{
	const struct node_entry *data = node_entry(entry->value, "data");
	const struct queue_conf *q = conf_queue(conf, s->queue);

	s->priority = link_job_priority(q, s->priority_text, entry, sink);
	link_job(conf, s->queue, s->type, entry, sink);
	encrypt_check_data(q, entry, "data", sink);
	encrypt_check_data(q, entry, "for_each", sink);
	if (q != NULL && data != NULL &&
	    strlen(s->data) > (size_t)q->max_payload)
		conf_complain(sink, data->file, data->line, data->column,
		    "data: %zu bytes, more than the queue's max_payload",
		    strlen(s->data));
}

/* A key of Standard Webhooks that nothing could be signed with. */
static void
check_key_text(const struct node_entry *hook, const struct node_entry *verify,
    const char *key, const char *text, struct conf_sink *sink)
{
	const struct node_entry *at = verify ? node_entry(verify->value, key) : NULL;
	struct buf out = { .len = 0 };
	struct err e;

	if (*text != '\0' && strcmp(text, "***") != 0 &&
	    sign_standard(text, "id", 0, "", 0, &out, &e) < 0)
		conf_complain(sink, at ? at->file : hook->file,
		    at ? at->line : hook->line, at ? at->column : hook->column,
		    "%s: %s", key, e.msg);
	buf_clear(&out);
}

static void
link_hook(struct conf *conf, const struct hook_conf *h,
    const struct node_entry *entry, struct conf_sink *sink)
{
	const struct node_entry *verify = node_entry(entry->value, "verify");
	bool any = *h->secret != '\0' || *h->secret_file != '\0' ||
	    h->nsecrets > 0;

	if (*h->queue == '\0')
		complain_entry(sink, entry, "has no queue:");
	link_job(conf, h->queue, h->type, entry, sink);
	if (h->scheme != VERIFY_NONE && !any)
		complain_entry(sink, verify ? verify : entry, "needs a secret:, "
		    "secrets: or secret_file:, or scheme: none");
	if (h->scheme == VERIFY_STANDARD) {
		check_key_text(entry, verify, "secret", h->secret, sink);
		for (size_t i = 0; i < h->nsecrets; i++)
			check_key_text(entry, verify, "secrets", h->secrets[i], sink);
	}
}

/* An amount of the metric's kind; false: there is none, or a wrong one. */
static bool
link_amount(const struct node_entry *entry, const char *key, const char *text,
    const struct metric *m, double *out, struct conf_sink *sink)
{
	const struct node_entry *at = node_entry(entry->value, key);

	if (*text == '\0')
		return false;
	if (metric_parse(m->kind, text, out) == 0)
		return true;
	conf_complain(sink, at->file, at->line, at->column,
	    "%s: \"%.100s\": %s needs %s", key, text, m->name,
	    metric_kind_form(m->kind));
	return false;
}

static void
link_alert(struct conf *conf, const struct alert_conf *a,
    const struct node_entry *entry, struct conf_sink *sink)
{
	const struct metric *m = metric_at(a->metric);
	const struct node_entry *at, *escalate;
	double limit = 0, clear;
	bool over = *a->above != '\0';

	if (node_entry(entry->value, "metric") == NULL)
		complain_entry(sink, entry, "has no metric:");
	if (over == (*a->below != '\0'))
		complain_entry(sink, entry, "needs either above: or below:");
	else if (link_amount(entry, over ? "above" : "below",
	    over ? a->above : a->below, m, &limit, sink) &&
	    link_amount(entry, "clear", a->clear, m, &clear, sink) &&
	    (over ? clear > limit : clear < limit)) {
		at = node_entry(entry->value, "clear");
		conf_complain(sink, at->file, at->line, at->column,
		    "clear: it would end at %s and start %s %s", a->clear,
		    over ? "above" : "below", over ? a->above : a->below);
	}
	at = node_entry(entry->value, "queues");
	if (a->nqueues > 0 && !m->per_queue)
		conf_complain(sink, at->file, at->line, at->column,
		    "queues: %s is of no queue", m->name);
	for (size_t i = 0; i < a->nqueues; i++)
		if (conf_queue(conf, a->queues[i]) == NULL)
			complain_missing(sink, &at->value->entries[i], "queues",
			    "queue", a->queues[i], conf->queues, conf->nqueues,
			    sizeof(*conf->queues));
	link_channels(conf, node_get(entry->value, "notify"), "notify",
	    a->notify, a->nnotify, sink);
	escalate = node_entry(entry->value, "escalate");
	link_channels(conf, node_get(escalate ? escalate->value : NULL,
	    "notify"), "notify", a->escalate.notify, a->escalate.nnotify, sink);
	if ((a->escalate.after_ms > 0) != (a->escalate.nnotify > 0))
		conf_complain(sink, escalate->file, escalate->line,
		    escalate->column, "escalate: needs after: and notify:");
}
