/*
 * Workflows: steps that wait for one another, and the paths in their
 * templates, which may name only steps that have ended by then.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "conf/parts.h"
#include "core/template.h"

#define STEPS_MAX 256		/* of one workflow */

struct checker {
	const struct conf *conf;
	const struct workflow_conf *w;
	const bool *before;	/* row for step, column for one it comes after, however far */
	size_t step;		/* whose paths these are; nsteps: on_failure's */
	struct conf_sink *sink;
};

static void link_job_options(struct conf *, struct step_conf *,
    const struct node_entry *, struct conf_sink *);
static size_t find_step(const struct workflow_conf *, const char *name,
    size_t len);
static bool check_after(const struct workflow_conf *, const struct node *,
    struct conf_sink *);
static bool *all_before(const struct workflow_conf *);
static void check_paths(struct checker *, const struct node_entry *);
static void check_texts(struct checker *, const struct node_entry *);
static void check_bare(struct checker *, const struct node_entry *);
static void check_path_of(struct checker *, const struct node_entry *,
    const struct template_path *);
static bool hides_results(const struct checker *, size_t step);

void
workflow_link(struct conf *conf, struct workflow_conf *w,
    const struct node_entry *entry, struct conf_sink *sink)
{
	const struct node *steps = node_get(entry->value, "steps");
	const struct node_entry *undo = node_entry(entry->value, "on_failure");
	struct checker c = { .conf = conf, .w = w, .sink = sink };
	bool *before;

	if (w->nsteps == 0)
		complain_entry(sink, entry, "has no steps:");
	if (w->nsteps > STEPS_MAX)
		complain_entry(sink, entry, "has too many steps");
	for (size_t i = 0; i < w->nsteps; i++)
		link_job_options(conf, &w->steps[i], &steps->entries[i], sink);
	if (undo != NULL && undo->value->kind == NODE_MAP) {
		link_job_options(conf, &w->on_failure, undo, sink);
		/* Its data is the workflow's, and what failed. */
		encrypt_check_data(conf_queue(conf, w->on_failure.queue), undo,
		    "queue", sink);
	}
	if (!check_after(w, steps, sink) || w->nsteps > STEPS_MAX)
		return;
	c.before = before = all_before(w);
	for (size_t i = 0; i < w->nsteps; i++)
		if (before[i * w->nsteps + i]) {
			conf_complain(sink, steps->entries[i].file,
			    steps->entries[i].line, steps->entries[i].column,
			    "step \"%s\" waits for itself, by way of its after:",
			    w->steps[i].name);
			break;
		}
	for (c.step = 0; c.step < w->nsteps; c.step++)
		check_paths(&c, &steps->entries[c.step]);
	if (undo != NULL)
		check_paths(&c, undo);
	free(before);
}

/* Where the job goes, and its priority on the scale of that queue. */
static void
link_job_options(struct conf *conf, struct step_conf *step,
    const struct node_entry *at, struct conf_sink *sink)
{
	const struct queue_conf *q = conf_queue(conf, step->queue);

	if (*step->queue == '\0')
		complain_entry(sink, at, "has no queue:");
	link_job(conf, step->queue, step->type, at, sink);
	encrypt_check_data(q, at, "data", sink);
	encrypt_check_data(q, at, "for_each", sink);
	step->priority = link_job_priority(q, step->priority_text, at, sink);
}

static size_t
find_step(const struct workflow_conf *w, const char *name, size_t len)
{
	size_t i = 0;

	while (i < w->nsteps && (strncmp(w->steps[i].name, name, len) != 0 ||
	    w->steps[i].name[len] != '\0'))
		i++;
	return i;
}

static bool
check_after(const struct workflow_conf *w, const struct node *steps,
    struct conf_sink *sink)
{
	bool good = true;

	for (size_t i = 0; i < w->nsteps; i++) {
		const struct step_conf *step = &w->steps[i];
		const struct node *after = node_get(steps->entries[i].value,
		    "after");

		for (size_t n = 0; n < step->nafter; n++) {
			const char *name = step->after[n];

			if (find_step(w, name, strlen(name)) < w->nsteps)
				continue;
			good = false;
			complain_missing(sink, &after->entries[n], "after",
			    "step", name, w->steps, w->nsteps,
			    sizeof(*w->steps));
		}
	}
	return good;
}

/* Of each step all those that it comes after, also by way of others. */
static bool *
all_before(const struct workflow_conf *w)
{
	const size_t n = w->nsteps;
	bool *before = xcalloc(n * n + 1, sizeof(*before));

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < w->steps[i].nafter; k++) {
			const char *name = w->steps[i].after[k];

			before[i * n + find_step(w, name, strlen(name))] = true;
		}
	for (size_t by = 0; by < n; by++)
		for (size_t i = 0; i < n; i++)
			for (size_t k = 0; before[i * n + by] && k < n; k++)
				if (before[by * n + k])
					before[i * n + k] = true;
	return before;
}

static void
check_paths(struct checker *c, const struct node_entry *at)
{
	static const char *const templates[] = {
		"type", "data", "tenant", "key", NULL
	};
	static const char *const bare[] = { "if", "for_each", NULL };
	const struct node_entry *entry;

	for (size_t i = 0; templates[i] != NULL; i++)
		if ((entry = node_entry(at->value, templates[i])) != NULL)
			check_texts(c, entry);
	for (size_t i = 0; bare[i] != NULL; i++)
		if ((entry = node_entry(at->value, bare[i])) != NULL)
			check_bare(c, entry);
}

/* All texts in a value, however deep. */
static void
check_texts(struct checker *c, const struct node_entry *at)
{
	const char *text = at->value->text;
	struct template_path path;
	struct err e;
	int rc;

	if (at->value->kind != NODE_SCALAR) {
		for (size_t i = 0; i < at->value->count; i++)
			check_texts(c, &at->value->entries[i]);
		return;
	}
	while ((rc = template_next(&text, &path, &e)) > 0)
		check_path_of(c, at, &path);
	if (rc < 0)
		conf_complain(c->sink, at->file, at->line, at->column, "%s",
		    e.msg);
}

/* A path by itself; braces around it, and for `if` a "!", are allowed. */
static void
check_bare(struct checker *c, const struct node_entry *at)
{
	struct template_path path = { .text = at->value->text };

	if (at->value->kind != NODE_SCALAR || *path.text == '\0')
		return;
	path.text += strspn(path.text, "{} \t");
	if (strcmp(at->key, "if") == 0)
		path.text += strspn(path.text, "!");
	path.text += strspn(path.text, "{} \t");
	path.len = strlen(path.text);
	while (path.len > 0 && strchr("{} \t", path.text[path.len - 1]) != NULL)
		path.len--;
	check_path_of(c, at, &path);
}

static void
check_path_of(struct checker *c, const struct node_entry *at,
    const struct template_path *path)
{
	static const char *const roots[] = {
		"data", "result", "count", "workflow", "now", "item", "index",
		NULL
	};
	const size_t n = c->w->nsteps;
	const bool list = c->step < n && *c->w->steps[c->step].for_each != '\0';
	struct template_path rest = *path, root, name;
	size_t step;
	struct err e;

	if (template_check_path(path, roots, list ? 7 : 5, &e) < 0) {
		conf_complain(c->sink, at->file, at->line, at->column, "%s",
		    e.msg);
		return;
	}
	template_key(&rest, &root);
	if (*root.text != 'r' && *root.text != 'c')
		return;
	if (!template_key(&rest, &name)) {
		conf_complain(c->sink, at->file, at->line, at->column,
		    "{{%.*s}}: of which step? name it, as in %.*s.STEP",
		    (int)path->len, path->text, (int)root.len, root.text);
		return;
	}
	step = find_step(c->w, name.text, name.len);
	if (step == n) {
		char *what = xasprintf("{{%.*s}}", (int)path->len, path->text);
		char *typed = xstrndup(name.text, name.len);

		complain_missing(c->sink, at, what, "step", typed, c->w->steps,
		    n, sizeof(*c->w->steps));
		free(what);
		free(typed);
	} else if (c->step == n) {
		conf_complain(c->sink, at->file, at->line, at->column,
		    "{{%.*s}}: which steps have ended before on_failure is not "
		    "known", (int)path->len, path->text);
	} else if (!c->before[c->step * n + step]) {
		conf_complain(c->sink, at->file, at->line, at->column,
		    "{{%.*s}}: \"%s\" does not come after \"%.*s\": name that "
		    "in its after:", (int)path->len, path->text,
		    c->w->steps[c->step].name, (int)name.len, name.text);
	} else if (*root.text == 'r' && hides_results(c, step)) {
		conf_complain(c->sink, at->file, at->line, at->column,
		    "{{%.*s}}: the results of the queue %s are encrypted",
		    (int)path->len, path->text, c->w->steps[step].queue);
	}
}

static bool
hides_results(const struct checker *c, size_t step)
{
	const struct queue_conf *q = conf_queue(c->conf, c->w->steps[step].queue);

	return q != NULL && *q->encrypt.key_file != '\0' && q->encrypt.results;
}
