/*
 * The inventory: see inventory.h.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "conf/inventory.h"
#include "core/job.h"
#include "core/metric.h"

const struct inventory_section inventory_sections[] = {
	{ "queues", false }, { "types", false }, { "schedules", false },
	{ "handlers", false }, { "workers", true }, { "limits", false },
	{ "retry", false }, { "workflows", false }, { "hooks", false },
	{ "channels", false }, { "alerts", false }, { "nodes", true },
	{ NULL, false }
};

static void put_queue(json_t *all, const struct queue_conf *);
static void put_types(json_t *all, const struct conf *);
static void put_schedules(json_t *all, const struct conf *);
static void put_steps(json_t *all, const struct conf *);
static void put_handlers(json_t *all, const struct conf *);
static void put_rest(json_t *all, const struct conf *);
static void merge(json_t *all, const char *section, json_t *found, bool known);

json_t *
inventory_new(const struct conf *conf)
{
	json_t *all = json_object();

	for (const struct inventory_section *s = inventory_sections; s->name != NULL; s++)
		json_object_set_new(all, s->name, json_array());
	if (conf == NULL)
		return all;
	for (size_t i = 0; i < conf->nqueues; i++)
		put_queue(all, &conf->queues[i]);
	put_types(all, conf);
	put_schedules(all, conf);
	put_handlers(all, conf);
	put_steps(all, conf);
	put_rest(all, conf);
	return all;
}

void
inventory_add(json_t *all, json_t *found, bool known)
{
	for (const struct inventory_section *s = inventory_sections; s->name != NULL; s++)
		merge(all, s->name, json_object_get(found, s->name), known && !s->moment);
}

void
inventory_count(json_t *all)
{
	json_t *counts = json_object(), *queue;
	json_int_t workers = 0;
	size_t i;

	json_array_foreach(json_object_get(all, "queues"), i, queue)
		if (json_is_true(json_object_get(queue, "enabled")))
			workers += json_integer_value(json_object_get(queue,
			    "workers"));
	for (const struct inventory_section *s = inventory_sections; s->name != NULL; s++)
		json_object_set_new(counts, s->name, json_integer(
		    strcmp(s->name, "workers") == 0 ? workers :
		    (json_int_t)json_array_size(json_object_get(all, s->name))));
	json_object_set_new(all, "counts", counts);
}

json_t *
inventory_find(json_t *list, const char *name)
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

static void
put(json_t *all, const char *section, json_t *entry)
{
	json_object_set_new(entry, "configured", json_true());
	json_array_append_new(json_object_get(all, section), entry);
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
	    inventory_find(json_object_get(all, "types"), name) == NULL)
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

static void
merge(json_t *all, const char *section, json_t *found, bool known)
{
	json_t *list = json_object_get(all, section), *entry, *there;
	size_t i;

	json_array_foreach(found, i, entry) {
		there = inventory_find(list, json_string_value(json_object_get(entry,
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
