/*
 * jobqctl inventory: all there is, from the configuration and the database,
 * and how that differs from another inventory: one made earlier, of another
 * system, or written by hand.
 */
#include "config.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "core/job.h"
#include "core/metric.h"
#include "ctl/ctl.h"
#include "ctl/out.h"

#define COMPARE_DIFFERENT 1
#define COMPARE_TROUBLE 2	/* as diff(1) has them */
#define FILE_LIMIT (16u << 20)

/* In the order they are shown. An entry of any has a name. */
static const struct {
	const char *name;
	bool moment;	/* what is there at the moment: only counted to compare */
} sections[] = {
	{ "queues", false }, { "types", false }, { "schedules", false },
	{ "handlers", false }, { "workers", true }, { "limits", false },
	{ "retry", false }, { "workflows", false }, { "hooks", false },
	{ "channels", false }, { "alerts", false }, { "nodes", true },
};
#define SECTION_COUNT (sizeof(sections) / sizeof(*sections))

/* What changes by itself, so that it makes no difference. */
static const char *const passing[] = { "name", "paused", "served", "alive",
	"version", "configured" };

static json_t *make(struct ctl *);
static void put(json_t *all, const char *section, json_t *entry);
static void put_queue(json_t *all, const struct queue_conf *);
static json_t *handler_names(const struct queue_conf *);
static void put_type(json_t *all, const struct conf *, const char *queue,
    const char *type);
static void put_types(json_t *all, const struct conf *);
static void put_schedules(json_t *all, const struct conf *);
static void put_steps(json_t *all, const struct conf *);
static void put_handlers(json_t *all, const struct conf *);
static void put_rest(json_t *all, const struct conf *);
static int put_database(struct ctl *, json_t *all);
static void merge(json_t *all, const char *section, json_t *found, bool known);
static json_t *find(json_t *list, const char *name);
static json_t *words(char *const *, size_t count);
static void count_all(json_t *all);
static void print(json_t *all);
static void print_entry(json_t *entry);
static void value_text(struct buf *, json_t *);
static int compare(struct ctl *, json_t *now, const char *path);
static json_t *read_file(const char *path);
static json_t *normal(json_t *list);
static json_t *differences(json_t *was, json_t *is);
static json_t *compare_counts(json_t *was, json_t *is);
static json_t *compare_section(json_t *was, json_t *is);
static json_t *compare_entry(json_t *was, json_t *is);
static void print_differences(json_t *all, const char *path);
static void print_json(json_t *);

int
inventory_run(struct ctl *ctl, const struct args *a)
{
	const char *other = args_get(a, "compare");
	json_t *all = make(ctl);
	int status = CTL_DONE;

	if (all == NULL)
		return other == NULL ? CTL_FAILED : COMPARE_TROUBLE;
	if (other != NULL)
		status = compare(ctl, all, other);
	else if (ctl->json)
		print_json(all);
	else
		print(all);
	json_decref(all);
	return status;
}

/* NULL: said why. */
static json_t *
make(struct ctl *ctl)
{
	json_t *all = json_object();

	for (size_t i = 0; i < SECTION_COUNT; i++)
		json_object_set_new(all, sections[i].name, json_array());
	if (ctl->url == NULL) {
		const struct conf *conf;

		if (ctl_configure(ctl) < 0) {
			json_decref(all);
			return NULL;
		}
		conf = ctl->conf;
		json_object_set_new(all, "configuration",
		    json_string(ctl->conf_path));
		for (size_t i = 0; i < conf->nqueues; i++)
			put_queue(all, &conf->queues[i]);
		put_types(all, conf);
		put_schedules(all, conf);
		put_handlers(all, conf);
		put_steps(all, conf);
		put_rest(all, conf);
	}
	if (put_database(ctl, all) < 0) {
		json_decref(all);
		return NULL;
	}
	count_all(all);
	return all;
}

static void
put(json_t *all, const char *section, json_t *entry)
{
	json_object_set_new(entry, "configured", json_true());
	json_array_append_new(json_object_get(all, section), entry);
}

static void
put_queue(json_t *all, const struct queue_conf *q)
{
	int priority = q->scale->large_first ? PRIORITY_MAX - q->priority :
	    q->priority;

	put(all, "queues", json_pack("{s:s,s:o,s:b,s:i,s:i,s:i,s:s,s:s,s:i,s:I,s:I,s:o}",
	    "name", q->name, "handlers", handler_names(q),
	    "enabled", q->enabled, "workers", q->workers,
	    "concurrency", q->concurrency, "priority", priority,
	    "priority_scale", q->scale->name,
	    "retry", q->own_retry == NULL ? q->retry->name : "(its own)",
	    "attempts", q->retry->attempts,
	    "timeout_ms", (json_int_t)q->timeout_ms,
	    "expire_ms", (json_int_t)q->expire_ms,
	    "limits", words(q->limits, q->nlimits)));
}

static json_t *
handler_names(const struct queue_conf *q)
{
	json_t *list = json_array();

	for (size_t i = 0; i < q->ntypes; i++) {
		bool there = false;

		for (size_t k = 0; k < i; k++)
			there |= q->types[k].handler == q->types[i].handler;
		if (!there)
			json_array_append_new(list,
			    json_string(q->types[i].handler->name));
	}
	return list;
}

/* What runs jobs of a type: its own handler, else that of all types. */
static const struct type_conf *
type_of(const struct queue_conf *q, const char *type)
{
	const struct type_conf *any = NULL;

	for (size_t i = 0; q != NULL && i < q->ntypes; i++) {
		if (strcmp(q->types[i].type, type) == 0)
			return &q->types[i];
		if (*q->types[i].type == '\0')
			any = &q->types[i];
	}
	return any;
}

/* Nothing when it is there, or no name of a type. */
static void
put_type(json_t *all, const struct conf *conf, const char *queue,
    const char *type)
{
	const struct type_conf *t = type_of(conf_queue(conf, queue), type);
	char *name = xasprintf("%s/%s", queue, type);

	if (type != NULL && *type != '\0' &&
	    find(json_object_get(all, "types"), name) == NULL)
		put(all, "types", json_pack("{s:s,s:s,s:s,s:s?,s:s?}",
		    "name", name, "queue", queue, "type", type,
		    "handler", t == NULL ? NULL : t->handler->name,
		    "driver", t == NULL ? NULL : t->handler->driver));
	free(name);
}

/* All that the configuration tells of. */
static void
put_types(json_t *all, const struct conf *conf)
{
	for (size_t i = 0; i < conf->nqueues; i++)
		for (size_t k = 0; k < conf->queues[i].ntypes; k++)
			put_type(all, conf, conf->queues[i].name,
			    conf->queues[i].types[k].type);
	for (size_t i = 0; i < conf->nschedules; i++)
		put_type(all, conf, conf->schedules[i].queue,
		    conf->schedules[i].type);
	for (size_t i = 0; i < conf->read.nhooks; i++)
		put_type(all, conf, conf->read.hooks[i].queue,
		    conf->read.hooks[i].type);
}

static void
put_schedules(json_t *all, const struct conf *conf)
{
	for (size_t i = 0; i < conf->nschedules; i++) {
		const struct schedule_conf *s = &conf->schedules[i];

		put(all, "schedules", json_pack("{s:s,s:s,s:s,s:s,s:s,s:b,s:s}",
		    "name", s->name, "queue", s->queue, "type", s->type,
		    "spec", s->spec, "timezone", s->timezone,
		    "enabled", s->enabled, "description", s->description));
	}
}

static void
put_steps(json_t *all, const struct conf *conf)
{
	for (size_t i = 0; i < conf->read.nworkflows; i++) {
		const struct workflow_conf *w = &conf->read.workflows[i];
		json_t *steps = json_array();

		for (size_t k = 0; k < w->nsteps; k++) {
			json_array_append_new(steps,
			    json_string(w->steps[k].name));
			put_type(all, conf, w->steps[k].queue,
			    w->steps[k].type);
		}
		if (*w->on_failure.queue != '\0')
			put_type(all, conf, w->on_failure.queue,
			    w->on_failure.type);
		put(all, "workflows", json_pack("{s:s,s:o}", "name", w->name,
		    "steps", steps));
	}
}

static void
put_handlers(json_t *all, const struct conf *conf)
{
	for (size_t i = 0; i < conf->nhandlers; i++) {
		const struct handler_conf *h = &conf->handlers[i];
		json_t *used = json_array();

		for (size_t k = 0; k < conf->nqueues; k++) {
			const struct queue_conf *q = &conf->queues[k];
			bool uses = false;

			for (size_t t = 0; t < q->ntypes; t++)
				uses |= q->types[t].handler == h;
			if (uses)
				json_array_append_new(used,
				    json_string(q->name));
		}
		put(all, "handlers", json_pack("{s:s,s:s,s:o}", "name", h->name,
		    "driver", h->driver, "queues", used));
	}
}

static void
put_rest(json_t *all, const struct conf *conf)
{
	for (size_t i = 0; i < conf->nlimits; i++) {
		const struct limit_conf *l = &conf->limits[i];

		put(all, "limits", json_pack("{s:s,s:I,s:I,s:i,s:I}",
		    "name", l->name, "rate", (json_int_t)l->rate_count,
		    "period_ms", (json_int_t)l->rate_period_ms,
		    "concurrency", l->concurrency,
		    "min_gap_ms", (json_int_t)l->min_gap_ms));
	}
	for (size_t i = 0; i < conf->npolicies; i++)
		put(all, "retry", json_pack("{s:s,s:i}", "name",
		    conf->policies[i].name, "attempts",
		    conf->policies[i].attempts));
	for (size_t i = 0; i < conf->read.nhooks; i++) {
		const struct hook_conf *h = &conf->read.hooks[i];

		put(all, "hooks", json_pack("{s:s,s:s,s:s}", "name", h->name,
		    "queue", h->queue, "type", h->type));
	}
	for (size_t i = 0; i < conf->read.nchannels; i++) {
		const struct channel_conf *c = &conf->read.channels[i];

		/* Where a webhook goes to is a secret as often as not. */
		put(all, "channels", json_pack("{s:s,s:s}", "name", c->name,
		    "kind", c->nemail > 0 ? "email" :
		    c->nexec > 0 ? "exec" : "webhook"));
	}
	for (size_t i = 0; i < conf->read.nalerts; i++) {
		const struct alert_conf *a = &conf->read.alerts[i];

		put(all, "alerts", json_pack("{s:s,s:s,s:s,s:s,s:o}",
		    "name", a->name, "metric", metric_at(a->metric)->name,
		    "above", a->above, "below", a->below,
		    "notify", words(a->notify, a->nnotify)));
	}
}

/*
 * What the database knows beside that. Without one the configuration is all
 * there is to tell, which is said.
 */
static int
put_database(struct ctl *ctl, json_t *all)
{
	bool known = ctl->conf != NULL;
	PGresult *res = ctl_query(ctl, "SELECT jobq.inventory(), "
	    "current_database(), " SQL_TIME("clock_timestamp()"), 0, NULL);
	json_t *found;

	json_object_set_new(all, "database", json_null());
	if (res == NULL) {
		if (!known)
			return -1;
		ctl_fail("the inventory is of the configuration alone");
		return 0;
	}
	found = json_loads(PQgetvalue(res, 0, 0), 0, NULL);
	json_object_set_new(all, "database", json_string(PQgetvalue(res, 0, 1)));
	json_object_set_new(all, "at", json_string(PQgetvalue(res, 0, 2)));
	PQclear(res);
	for (size_t i = 0; i < SECTION_COUNT; i++)
		merge(all, sections[i].name,
		    json_object_get(found, sections[i].name),
		    known && !sections[i].moment);
	json_decref(found);
	return 0;
}

/* known: what should be in the configuration is in it already. */
static void
merge(json_t *all, const char *section, json_t *found, bool known)
{
	json_t *list = json_object_get(all, section), *entry, *there;
	size_t i;

	json_array_foreach(found, i, entry) {
		there = find(list, json_string_value(json_object_get(entry,
		    "name")));
		if (there != NULL && known) {
			json_object_update_missing(there, entry);
			continue;
		}
		if (known)
			json_object_set_new(entry, "configured", json_false());
		json_array_append(list, entry);
	}
}

static json_t *
find(json_t *list, const char *name)
{
	json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry) {
		const char *it = json_string_value(json_object_get(entry, "name"));

		if (it != NULL && name != NULL && strcmp(it, name) == 0)
			return entry;
	}
	return NULL;
}

static json_t *
words(char *const *list, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, json_string(list[i]));
	return array;
}

/* Workers: those that are configured, whether they run or not. */
static void
count_all(json_t *all)
{
	json_t *counts = json_object(), *queue;
	json_int_t workers = 0;
	size_t i;

	json_array_foreach(json_object_get(all, "queues"), i, queue)
		if (json_is_true(json_object_get(queue, "enabled")))
			workers += json_integer_value(json_object_get(queue,
			    "workers"));
	for (i = 0; i < SECTION_COUNT; i++)
		json_object_set_new(counts, sections[i].name, json_integer(
		    strcmp(sections[i].name, "workers") == 0 ? workers :
		    (json_int_t)json_array_size(json_object_get(all,
		    sections[i].name))));
	json_object_set_new(all, "counts", counts);
}

static void
print(json_t *all)
{
	json_t *counts = json_object_get(all, "counts"), *entry;
	const char *conf = json_string_value(json_object_get(all,
	    "configuration"));
	const char *db = json_string_value(json_object_get(all, "database"));
	size_t k;

	out_line("inventory of %s%s%s%s", conf == NULL ? "" : conf,
	    conf != NULL && db != NULL ? " and " : "",
	    db == NULL ? "" : "database ", db == NULL ? "" : db);
	out_line("%s", "");
	for (size_t i = 0; i < SECTION_COUNT; i++)
		out_line("%-10s %6lld", sections[i].name,
		    (long long)json_integer_value(json_object_get(counts,
		    sections[i].name)));
	for (size_t i = 0; i < SECTION_COUNT; i++) {
		json_t *list = json_object_get(all, sections[i].name);

		if (json_array_size(list) == 0)
			continue;
		out_line("\n%s", sections[i].name);
		json_array_foreach(list, k, entry)
			print_entry(entry);
	}
}

/* "  email  handlers=mailer workers=5 …" */
static void
print_entry(json_t *entry)
{
	struct buf line = { 0 };
	const char *key;
	json_t *value;

	buf_printf(&line, "  %s ", json_string_value(json_object_get(entry,
	    "name")));
	json_object_foreach(entry, key, value) {
		if (strcmp(key, "name") == 0 || json_is_null(value) ||
		    (json_is_string(value) && json_string_length(value) == 0) ||
		    (json_is_array(value) && json_array_size(value) == 0) ||
		    (strcmp(key, "configured") == 0 && json_is_true(value)))
			continue;
		buf_printf(&line, " %s=", key);
		value_text(&line, value);
	}
	out_line("%s", line.data);
	buf_clear(&line);
}

static void
value_text(struct buf *b, json_t *value)
{
	json_t *item;
	size_t i;

	if (json_is_array(value)) {
		json_array_foreach(value, i, item) {
			buf_str(b, i > 0 ? "," : "");
			value_text(b, item);
		}
	} else if (json_is_string(value)) {
		const char *text = json_string_value(value);

		if (text[strcspn(text, " =\t\n")] != '\0')
			buf_json(b, text, strlen(text));
		else
			buf_str(b, text);
	} else {
		char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

		buf_str(b, text == NULL ? "" : text);
		free(text);
	}
}

static int
compare(struct ctl *ctl, json_t *now, const char *path)
{
	json_t *before = read_file(path), *all;
	bool differs;

	if (before == NULL)
		return COMPARE_TROUBLE;
	all = differences(before, now);
	differs = json_is_true(json_object_get(all, "different"));
	if (ctl->json)
		print_json(all);
	else
		print_differences(all, path);
	json_decref(all);
	json_decref(before);
	return differs ? COMPARE_DIFFERENT : CTL_DONE;
}

/* NULL: said why. */
static json_t *
read_file(const char *path)
{
	json_error_t reason;
	FILE *f = fopen(path, "re");
	struct buf text = { 0 };
	char chunk[65536];
	json_t *all;
	size_t n;

	if (f == NULL) {
		ctl_fail("cannot open %s: %m", path);
		return NULL;
	}
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0 &&
	    text.len <= FILE_LIMIT)
		buf_put(&text, chunk, n);
	fclose(f);
	all = text.len > FILE_LIMIT ? NULL :
	    json_loadb(text.len == 0 ? "" : text.data, text.len, 0, &reason);
	if (text.len > FILE_LIMIT)
		ctl_fail("%s is larger than %u MiB", path, FILE_LIMIT >> 20);
	else if (all == NULL)
		ctl_fail("%s:%d:%d: %s; it should be an inventory made by "
		    "\"jobqctl --json inventory\"", path, reason.line,
		    reason.column, reason.text);
	else if (!json_is_object(all)) {
		ctl_fail("%s is no inventory, which is a JSON object", path);
		json_decref(all);
		all = NULL;
	}
	buf_clear(&text);
	return all;
}

/*
 * Somebody's own inventory may have a list of names, or an object by names.
 * NULL: no list.
 */
static json_t *
normal(json_t *list)
{
	json_t *array, *value;
	const char *key;
	size_t i;

	if (!json_is_array(list) && !json_is_object(list))
		return NULL;
	array = json_array();
	json_array_foreach(list, i, value) {
		if (json_is_string(value))
			json_array_append_new(array,
			    json_pack("{s:O}", "name", value));
		else if (json_is_string(json_object_get(value, "name")))
			json_array_append(array, value);
	}
	json_object_foreach(list, key, value) {
		json_t *entry = json_is_object(value) ? json_copy(value) :
		    json_object();

		json_object_set_new(entry, "name", json_string(key));
		json_array_append_new(array, entry);
	}
	return array;
}

static json_t *
differences(json_t *was, json_t *is)
{
	json_t *all = json_object(), *counts = compare_counts(was, is);
	bool differs = false;
	const char *key;
	json_t *value;

	json_object_foreach(counts, key, value)
		differs |= json_integer_value(json_object_get(value, "before"))
		    != json_integer_value(json_object_get(value, "now"));
	json_object_set_new(all, "counts", counts);
	for (size_t i = 0; i < SECTION_COUNT; i++) {
		json_t *list = normal(json_object_get(was, sections[i].name));

		if (list != NULL && !sections[i].moment) {
			value = compare_section(list,
			    json_object_get(is, sections[i].name));
			if (json_object_size(value) > 0)
				differs = true;
			json_object_set_new(all, sections[i].name, value);
		}
		json_decref(list);
	}
	json_object_set_new(all, "different", json_boolean(differs));
	return all;
}

/* Of what both have a count of, or a list to count. */
static json_t *
compare_counts(json_t *was, json_t *is)
{
	json_t *counts = json_object();

	for (size_t i = 0; i < SECTION_COUNT; i++) {
		const char *name = sections[i].name;
		json_t *told = json_object_get(json_object_get(was, "counts"),
		    name), *one;
		json_t *list = normal(json_object_get(was, name));
		json_int_t now = json_integer_value(json_object_get(
		    json_object_get(is, "counts"), name));
		json_int_t before = json_is_integer(told) ?
		    json_integer_value(told) : (json_int_t)json_array_size(list);

		/* How many nodes run is no property of either. */
		if ((json_is_integer(told) || list != NULL) &&
		    strcmp(name, "nodes") != 0) {
			one = json_pack("{s:I,s:I}", "before", before,
			    "now", now);
			if (before > 0)
				json_object_set_new(one, "change_percent",
				    json_real((double)(now - before) * 100 /
				    (double)before));
			json_object_set_new(counts, name, one);
		}
		json_decref(list);
	}
	return counts;
}

/* missing, added: names; different: name → keys → before, now. */
static json_t *
compare_section(json_t *was, json_t *is)
{
	json_t *missing = json_array(), *added = json_array();
	json_t *different = json_object(), *all = json_object(), *entry;
	size_t i;

	json_array_foreach(was, i, entry) {
		json_t *name = json_object_get(entry, "name");
		json_t *now = find(is, json_string_value(name)), *d;

		if (now == NULL) {
			json_array_append(missing, name);
			continue;
		}
		d = compare_entry(entry, now);
		if (json_object_size(d) > 0)
			json_object_set(different, json_string_value(name), d);
		json_decref(d);
	}
	json_array_foreach(is, i, entry) {
		json_t *name = json_object_get(entry, "name");

		if (find(was, json_string_value(name)) == NULL)
			json_array_append(added, name);
	}
	if (json_array_size(missing) > 0)
		json_object_set(all, "missing", missing);
	if (json_array_size(added) > 0)
		json_object_set(all, "added", added);
	if (json_object_size(different) > 0)
		json_object_set(all, "different", different);
	json_decref(missing);
	json_decref(added);
	json_decref(different);
	return all;
}

/* What both say; of the rest one of them may just not know. */
static json_t *
compare_entry(json_t *was, json_t *is)
{
	json_t *d = json_object(), *value, *now;
	const char *key;

	json_object_foreach(was, key, value) {
		bool passes = false;

		for (size_t i = 0; i < sizeof(passing) / sizeof(*passing); i++)
			passes |= strcmp(passing[i], key) == 0;
		now = json_object_get(is, key);
		if (!passes && now != NULL && !json_equal(value, now))
			json_object_set_new(d, key, json_pack("{s:O,s:O}",
			    "before", value, "now", now));
	}
	return d;
}

static void
print_names(const char *section, const char *what, json_t *names)
{
	struct buf line = { 0 };

	if (json_array_size(names) == 0)
		return;
	value_text(&line, names);
	out_line("%s %s: %s", section, what, line.data);
	buf_clear(&line);
}

static void
print_differences(json_t *all, const char *path)
{
	json_t *count, *entry, *change;
	const char *name, *key;

	out_line("%-10s %8s %8s %9s", "", "before", "now", "change");
	json_object_foreach(json_object_get(all, "counts"), name, count) {
		json_t *percent = json_object_get(count, "change_percent");
		char text[32] = "";

		if (percent != NULL)
			snprintf(text, sizeof(text), "%+.0f %%",
			    json_real_value(percent));
		out_line("%-10s %8lld %8lld %9s", name,
		    (long long)json_integer_value(json_object_get(count, "before")),
		    (long long)json_integer_value(json_object_get(count, "now")),
		    text);
	}
	for (size_t i = 0; i < SECTION_COUNT; i++) {
		json_t *s = json_object_get(all, sections[i].name);

		print_names(sections[i].name, "missing",
		    json_object_get(s, "missing"));
		print_names(sections[i].name, "added",
		    json_object_get(s, "added"));
		json_object_foreach(json_object_get(s, "different"), name, entry) {
			json_object_foreach(entry, key, change) {
				struct buf line = { 0 };

				value_text(&line, json_object_get(change, "before"));
				buf_str(&line, " -> ");
				value_text(&line, json_object_get(change, "now"));
				out_line("%s different: %s %s: %s", sections[i].name,
				    name, key, line.data);
				buf_clear(&line);
			}
		}
	}
	if (!json_is_true(json_object_get(all, "different")))
		out_line("nothing differs from %s", path);
}

static void
print_json(json_t *all)
{
	char *text = json_dumps(all, JSON_INDENT(1) | JSON_REAL_PRECISION(6));

	out_json_value(text);
	putchar('\n');
	free(text);
}
