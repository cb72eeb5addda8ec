/*
 * What only all sections together can tell: names that point nowhere,
 * handlers' options, workflows that wait for themselves.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "conf/parts.h"

#define STEPS_MAX 256		/* of one workflow */

/* Drivers there will be; a handler of one that this build lacks is an error
 * that says so. */
static const char *const known_drivers[] = { "email", "exec", "http", "noop",
    "report", "sql", "worker", NULL };

static void link_handler(const struct handler_conf *,
    const struct conf_drivers *, struct conf_sink *);
static void link_schedule(struct conf *, const struct schedule_conf *,
    const struct node_entry *, struct conf_sink *);
static void link_hook(struct conf *, const struct hook_conf *,
    const struct node_entry *, struct conf_sink *);
static void link_channel(struct conf *, const struct channel_conf *,
    const struct node_entry *, struct conf_sink *);
static void link_alert(struct conf *, const struct alert_conf *,
    const struct node_entry *, struct conf_sink *);
static void link_workflow(struct conf *, const struct workflow_conf *,
    const struct node_entry *, struct conf_sink *);
static void link_steps(const struct workflow_conf *, const struct node *,
    struct conf_sink *);
static void find_cycle(const struct workflow_conf *, const struct node *,
    struct conf_sink *);

static void
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
	for (size_t i = 0; i < conf->nqueues; i++)
		queue_link(conf, &conf->queues[i], &queues->entries[i], sink);
	for (size_t i = 0; i < conf->nschedules; i++)
		link_schedule(conf, &conf->schedules[i],
		    &schedules->entries[i], sink);
	for (size_t i = 0; i < conf->read.nhooks; i++)
		link_hook(conf, &conf->read.hooks[i],
		    &conf->hooks->entries[i], sink);
	for (size_t i = 0; i < conf->read.nchannels; i++)
		link_channel(conf, &conf->read.channels[i],
		    &conf->channels->entries[i], sink);
	for (size_t i = 0; i < conf->read.nalerts; i++)
		link_alert(conf, &conf->read.alerts[i],
		    &conf->alerts->entries[i], sink);
	for (size_t i = 0; i < conf->read.nworkflows; i++)
		link_workflow(conf, &conf->read.workflows[i],
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

/* The queue that the map's key `queue` names, and whether it runs the type. */
static void
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

static void
link_schedule(struct conf *conf, const struct schedule_conf *s,
    const struct node_entry *entry, struct conf_sink *sink)
{
	const struct node_entry *data = node_entry(entry->value, "data");
	const struct queue_conf *q = conf_queue(conf, s->queue);

	link_job(conf, s->queue, s->type, entry, sink);
	if (q != NULL && data != NULL &&
	    strlen(s->data) > (size_t)q->max_payload)
		conf_complain(sink, data->file, data->line, data->column,
		    "data: %zu bytes, more than the queue's max_payload",
		    strlen(s->data));
}

static void
link_hook(struct conf *conf, const struct hook_conf *h,
    const struct node_entry *entry, struct conf_sink *sink)
{
	const struct node_entry *verify = node_entry(entry->value, "verify");
	bool secret = *h->secret != '\0' || *h->secret_file != '\0';

	if (*h->queue == '\0')
		complain_entry(sink, entry, "has no queue:");
	link_job(conf, h->queue, h->type, entry, sink);
	if (h->scheme != VERIFY_NONE && !secret)
		complain_entry(sink, verify ? verify : entry,
		    "needs a secret: or secret_file:, or scheme: none");
}

static void
link_channel(struct conf *conf, const struct channel_conf *c,
    const struct node_entry *entry, struct conf_sink *sink)
{
	const struct node_entry *via = node_entry(entry->value, "via");
	int kinds = (c->nemail > 0) + (*c->webhook != '\0') + (c->nexec > 0);

	if (kinds != 1)
		complain_entry(sink, entry,
		    "needs exactly one of email:, webhook: and exec:");
	if (c->nemail > 0 && *c->via == '\0')
		complain_entry(sink, entry,
		    "needs via:, the handler that sends its mail");
	if (via != NULL && *c->via != '\0' && conf_handler(conf, c->via) == NULL)
		complain_missing(sink, via, "via", "handler", c->via,
		    conf->handlers, conf->nhandlers, sizeof(*conf->handlers));
}

static void
link_alert(struct conf *conf, const struct alert_conf *a,
    const struct node_entry *entry, struct conf_sink *sink)
{
	const struct node *notify = node_get(entry->value, "notify");

	if (node_entry(entry->value, "metric") == NULL)
		complain_entry(sink, entry, "has no metric:");
	if ((*a->above == '\0') == (*a->below == '\0'))
		complain_entry(sink, entry, "needs either above: or below:");
	for (size_t i = 0; i < a->nnotify; i++) {
		size_t n = 0;

		while (n < conf->read.nchannels && strcmp(a->notify[i],
		    conf->read.channels[n].name) != 0)
			n++;
		if (n == conf->read.nchannels)
			complain_missing(sink, &notify->entries[i], "notify",
			    "channel", a->notify[i], conf->read.channels, n,
			    sizeof(*conf->read.channels));
	}
}

static void
link_workflow(struct conf *conf, const struct workflow_conf *w,
    const struct node_entry *entry, struct conf_sink *sink)
{
	const struct node *steps = node_get(entry->value, "steps");
	const struct node_entry *undo = node_entry(entry->value, "on_failure");

	if (w->nsteps == 0)
		complain_entry(sink, entry, "has no steps:");
	if (w->nsteps > STEPS_MAX)
		complain_entry(sink, entry, "has too many steps");
	for (size_t i = 0; i < w->nsteps; i++) {
		const struct node_entry *at = &steps->entries[i];

		if (*w->steps[i].queue == '\0')
			complain_entry(sink, at, "has no queue:");
		link_job(conf, w->steps[i].queue, w->steps[i].type, at, sink);
	}
	if (undo != NULL && undo->value->kind == NODE_MAP) {
		if (*w->on_failure.queue == '\0')
			complain_entry(sink, undo, "has no queue:");
		link_job(conf, w->on_failure.queue, w->on_failure.type, undo,
		    sink);
	}
	link_steps(w, steps, sink);
}

static size_t
find_step(const struct workflow_conf *w, const char *name)
{
	size_t i = 0;

	while (i < w->nsteps && strcmp(w->steps[i].name, name) != 0)
		i++;
	return i;
}

static void
link_steps(const struct workflow_conf *w, const struct node *steps,
    struct conf_sink *sink)
{
	bool good = true;

	for (size_t i = 0; i < w->nsteps; i++) {
		const struct step_conf *step = &w->steps[i];
		const struct node *after = node_get(steps->entries[i].value,
		    "after");

		for (size_t n = 0; n < step->nafter; n++) {
			if (find_step(w, step->after[n]) < w->nsteps)
				continue;
			good = false;
			complain_missing(sink, &after->entries[n], "after",
			    "step", step->after[n], w->steps, w->nsteps,
			    sizeof(*w->steps));
		}
	}
	if (good && w->nsteps > 0 && w->nsteps <= STEPS_MAX)
		find_cycle(w, steps, sink);
}

/*
 * Steps that wait for nothing are done first, then those that wait for done
 * ones only, and so on. What is left then waits for itself.
 */
static void
find_cycle(const struct workflow_conf *w, const struct node *steps,
    struct conf_sink *sink)
{
	const size_t n = w->nsteps;
	bool *waits = xcalloc(n * n, sizeof(*waits));	/* row for column */
	bool *done = xcalloc(n, sizeof(*done)), moved = true;
	size_t first = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < w->steps[i].nafter; k++)
			waits[i * n + find_step(w, w->steps[i].after[k])] = true;
	while (moved) {
		moved = false;
		for (size_t i = 0; i < n; i++) {
			size_t k = 0;

			while (k < n && (!waits[i * n + k] || done[k]))
				k++;
			if (done[i] || k < n)
				continue;
			done[i] = moved = true;
		}
	}
	while (first < n && done[first])
		first++;
	if (first < n)
		conf_complain(sink, steps->entries[first].file,
		    steps->entries[first].line, steps->entries[first].column,
		    "step \"%s\" waits for itself, by way of its after:",
		    w->steps[first].name);
	free(waits);
	free(done);
}
