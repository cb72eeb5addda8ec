/*
 * What jobqctl top shows. Every line goes through term_line() or out_line(),
 * which let nothing of what jobs say steer the terminal.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "ctl/out.h"
#include "ctl/term.h"
#include "ctl/top.h"

#define NAME_MAX_WIDTH 24
#define SPARK_WIDTH 20
#define WITHOUT_SPARKS 80	/* columns of a row beside its name, and a short note */
#define ROOM_BELOW 9		/* rows kept for the workers, when there are so many */

/* A line is put together here. */
struct line {
	char text[1024];
	size_t len;
};

static void draw_head(const struct top *);
static void draw_queues(const struct top *);
static void draw_workers(const struct top *);
static void draw_queue(const struct top *);
static void draw_help(void);
static void draw_foot(const struct top *);
static void add(struct line *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static int name_width(const struct top *);
static void summary(const struct top *, struct line *);
static void nodes(const struct top *, struct line *);
static void alerts(const struct top *, struct line *);
static int spark_width(int width);
static void heading(int width, struct line *);
static char mark(json_t *queue);
static void queue_row(const struct top *, json_t *queue, int width,
    struct line *);
static const char *many(json_int_t n, bool about, char *buf, size_t size);
static const char *speed(const struct rate *, double, char *buf, size_t size);
static const char *span(json_t *object, const char *key, char *buf, size_t size);
static void spark(struct line *, const struct rate *, int width);

void
topview_draw(const struct top *t)
{
	term_begin();
	if (t->help) {
		draw_help();
	} else {
		draw_head(t);
		if (*t->open != '\0')
			draw_queue(t);
		else if (t->now != NULL)
			draw_queues(t);
	}
	term_at_end();
	draw_foot(t);
	term_show();
}

void
topview_print(const struct top *t)
{
	int width = name_width(t);
	struct line l = { .len = 0 };
	size_t count;
	json_t **list = top_sorted(t, &count);

	summary(t, &l);
	out_line("%s", l.text);
	nodes(t, &l);
	out_line("%s", l.text);
	alerts(t, &l);
	if (l.len > 0)
		out_line("%s", l.text);
	heading(width, &l);
	out_line("%s", l.text);
	for (size_t i = 0; i < count; i++) {
		queue_row(t, list[i], width, &l);
		out_line("%s", l.text);
	}
	free(list);
}

static void
draw_head(const struct top *t)
{
	const struct rate *all = top_rate(t, "");
	struct line l = { .len = 0 };
	double most = 0;

	if (*t->away != '\0') {
		add(&l, "no database, trying again: %s", t->away);
		term_line(TERM_WARN, l.text);
		l.len = 0;
	}
	if (t->now == NULL) {
		term_line(TERM_PLAIN, "asking the database ...");
		return;
	}
	summary(t, &l);
	term_line(TERM_BOLD, l.text);
	nodes(t, &l);
	term_line(TERM_PLAIN, l.text);
	l.len = 0;
	if (all != NULL && all->known) {
		for (int i = 0; i < all->count; i++)
			if (all->history[i] > most)
				most = all->history[i];
		add(&l, "throughput ");
		spark(&l, all, TOP_HISTORY);
		add(&l, " up to %.1f/s", most);
		term_line(TERM_PLAIN, l.text);
	}
	alerts(t, &l);
	if (l.len > 0)
		term_line(TERM_WARN, l.text);
	term_line(TERM_PLAIN, "");
}

/* As many as there is room for, with the chosen one among them. */
static void
draw_queues(const struct top *t)
{
	int width = name_width(t), room, from = 0, chosen = 0;
	struct line l = { .len = 0 };
	size_t count;
	json_t **list = top_sorted(t, &count);

	heading(width, &l);
	term_line(TERM_BOLD, l.text);
	room = term_left() - 1;
	if (json_array_size(json_object_get(t->now, "workers")) > 0 &&
	    (int)count + ROOM_BELOW > room)
		room = room > 2 * ROOM_BELOW ? room - ROOM_BELOW : room;
	for (size_t i = 0; i < count; i++)
		if (strcmp(top_text(list[i], "name"), t->chosen) == 0)
			chosen = (int)i;
	if (chosen >= room)
		from = chosen - room + 1;
	for (int i = from; i < (int)count && i < from + room; i++) {
		queue_row(t, list[i], width, &l);
		term_line(i == chosen ? TERM_CHOSEN :
		    json_is_true(json_object_get(list[i], "paused")) ?
		    TERM_FAINT : TERM_PLAIN, l.text);
	}
	free(list);
	if (count == 0)
		term_line(TERM_PLAIN, "no queues");
	draw_workers(t);
}

static void
draw_workers(const struct top *t)
{
	json_t *workers = json_object_get(t->now, "workers"), *w;
	char since[32];
	size_t i;

	if (term_left() < 4 || json_array_size(workers) == 0)
		return;
	term_line(TERM_PLAIN, "");
	term_line(TERM_BOLD, "worker                   node             state"
	    "          job     for  type");
	json_array_foreach(workers, i, w) {
		struct line l = { .len = 0 };
		json_t *job = json_object_get(w, "job_id");

		if (term_left() < 2)
			return;
		add(&l, "%-24s %-16s %-7s ", top_text(w, "worker"),
		    top_text(w, "node"), top_text(w, "state"));
		if (json_is_integer(job))
			add(&l, "%10lld", (long long)json_integer_value(job));
		else
			add(&l, "%10s", "");
		add(&l, " %7s  %s", span(w, "since_ms", since, sizeof(since)),
		    top_text(w, "type"));
		term_line(json_is_integer(job) ? TERM_PLAIN : TERM_FAINT, l.text);
	}
}

static void
draw_queue(const struct top *t)
{
	int width = name_width(t);
	struct line l = { .len = 0 };
	json_t *queue, *one;
	char a[32], b[32];
	size_t i;

	heading(width, &l);
	term_line(TERM_BOLD, l.text);
	json_array_foreach(json_object_get(t->now, "queues"), i, queue) {
		if (strcmp(top_text(queue, "name"), t->open) != 0)
			continue;
		queue_row(t, queue, width, &l);
		term_line(TERM_CHOSEN, l.text);
	}
	if (t->more == NULL)
		return;
	term_line(TERM_PLAIN, "");
	term_line(TERM_BOLD, "running job  try     for  type");
	json_array_foreach(json_object_get(t->more, "jobs"), i, one) {
		json_t *pct = json_object_get(one, "progress");

		if (term_left() < 2 || i >= 10)
			break;
		l.len = 0;
		add(&l, "%11lld %4lld %7s  %s",
		    (long long)top_number(one, "job_id"),
		    (long long)top_number(one, "attempt"),
		    span(one, "for_ms", a, sizeof(a)), top_text(one, "type"));
		if (*top_text(one, "tenant") != '\0')
			add(&l, "  tenant %s", top_text(one, "tenant"));
		if (json_is_integer(pct))
			add(&l, "  %lld %% %s", (long long)json_integer_value(pct),
			    top_text(one, "progress_note"));
		term_line(TERM_PLAIN, l.text);
	}
	term_line(TERM_PLAIN, "");
	term_line(TERM_BOLD, "type                      completed   failed"
	    "   run p50   run p95   of the last hour");
	json_array_foreach(json_object_get(t->more, "types"), i, one) {
		if (term_left() < 2)
			break;
		l.len = 0;
		add(&l, "%-24s %10lld %8lld %9s %9s",
		    *top_text(one, "type") == '\0' ? "-" : top_text(one, "type"),
		    (long long)top_number(one, "completed"),
		    (long long)top_number(one, "failed"),
		    span(one, "run_p50_ms", a, sizeof(a)),
		    span(one, "run_p95_ms", b, sizeof(b)));
		term_line(TERM_PLAIN, l.text);
	}
	term_line(TERM_PLAIN, "");
	term_line(TERM_BOLD, " failed job  when      state     class       error");
	json_array_foreach(json_object_get(t->more, "failures"), i, one) {
		const char *at = top_text(one, "at");

		if (term_left() < 2)
			break;
		l.len = 0;
		add(&l, "%11lld  %-8.8s  %-8s  %-10s  %s",
		    (long long)top_number(one, "job_id"),
		    strlen(at) > 11 ? at + 11 : "", top_text(one, "state"),
		    top_text(one, "class"), top_text(one, "error"));
		term_line(TERM_PLAIN, l.text);
	}
}

static void
draw_help(void)
{
	static const char *const lines[] = {
		"jobqctl top",
		"",
		"  up, k     the queue above          down, j   the one below",
		"  g, Home   the first                G, End    the last",
		"  Enter     look into the queue      Esc, h    back to all of them",
		"  p         pause the queue, or resume it; asks first",
		"  s         sort by another column",
		"  space     refresh now",
		"  ?         this help                q         quit",
		"",
		"behind its name: P paused, p partly paused, ! no node serves it",
		"ready    waits for a worker; with ~ it is an estimate",
		"done/s   jobs that completed; fail/s attempts that failed",
		"oldest   since when the job waits that has waited longest",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		term_line(i == 0 ? TERM_BOLD : TERM_PLAIN, lines[i]);
}

static void
draw_foot(const struct top *t)
{
	struct line l = { .len = 0 };

	if (*t->question != '\0') {
		term_line(TERM_WARN, t->question);
	} else if (*t->said != '\0') {
		term_line(TERM_WARN, t->said);
	} else {
		add(&l, "q quit  ? help  Enter look into  p pause or resume  "
		    "s sort (%s)", top_sorts[t->sort]);
		term_line(TERM_FAINT, l.text);
	}
}

static void
add(struct line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->text + l->len, sizeof(l->text) - l->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		l->len += (size_t)n < sizeof(l->text) - l->len ? (size_t)n :
		    sizeof(l->text) - l->len - 1;
}

/* Of the column of names. */
static int
name_width(const struct top *t)
{
	size_t widest = 5, i;
	json_t *queue;

	json_array_foreach(json_object_get(t->now, "queues"), i, queue) {
		size_t len = strlen(top_text(queue, "name"));

		if (len > widest)
			widest = len;
	}
	return widest > NAME_MAX_WIDTH ? NAME_MAX_WIDTH : (int)widest;
}

static void
summary(const struct top *t, struct line *l)
{
	json_t *queues = json_object_get(t->now, "queues"), *queue;
	const struct rate *all = top_rate(t, "");
	json_int_t ready = 0, running = 0, dead = 0;
	bool about = false;
	char a[32], b[32], c[32];
	size_t i;

	json_array_foreach(queues, i, queue) {
		ready += top_number(queue, "ready");
		running += top_number(queue, "running");
		dead += top_number(queue, "dead");
		about |= json_is_true(json_object_get(queue, "estimated"));
	}
	l->len = 0;
	add(l, "%s  %.8s UTC  ready %s  running %lld  dead %lld",
	    top_text(t->now, "database"), strlen(top_text(t->now, "at")) > 11 ?
	    top_text(t->now, "at") + 11 : "", many(ready, about, a, sizeof(a)),
	    (long long)running, (long long)dead);
	add(l, "  done %s/s  failed %s/s",
	    speed(all, all == NULL ? 0 : all->completed, b, sizeof(b)),
	    speed(all, all == NULL ? 0 : all->failed, c, sizeof(c)));
}

static void
nodes(const struct top *t, struct line *l)
{
	json_t *node, *queue;
	json_int_t workers = 0, busy = 0;
	int said = 0;
	size_t i;

	json_array_foreach(json_object_get(t->now, "queues"), i, queue) {
		workers += top_number(queue, "workers");
		busy += top_number(queue, "busy");
	}
	l->len = 0;
	add(l, "nodes:");
	json_array_foreach(json_object_get(t->now, "nodes"), i, node) {
		if (!json_is_true(json_object_get(node, "alive")))
			continue;
		add(l, " %s", top_text(node, "name"));
		said++;
	}
	add(l, "%s  workers: %lld, %lld busy", said == 0 ? " none" : "",
	    (long long)workers, (long long)busy);
}

/* Nothing when there is none. */
static void
alerts(const struct top *t, struct line *l)
{
	json_t *alert;
	size_t i;

	l->len = 0;
	l->text[0] = '\0';
	json_array_foreach(json_object_get(t->now, "alerts"), i, alert) {
		add(l, "%s%s", i == 0 ? "alerts: " : ", ",
		    top_text(alert, "name"));
		if (*top_text(alert, "queue") != '\0')
			add(l, " (%s)", top_text(alert, "queue"));
		if (strcmp(top_text(alert, "state"), "firing") != 0)
			add(l, " %s", top_text(alert, "state"));
	}
}

/* Of the column of sparks: none, where the notes would not fit beside it. */
static int
spark_width(int width)
{
	int columns = term_columns();

	return columns > 0 && columns < width + WITHOUT_SPARKS + SPARK_WIDTH ?
	    0 : SPARK_WIDTH;
}

static void
heading(int width, struct line *l)
{
	int sparks = spark_width(width);

	l->len = 0;
	add(l, "%-*s   %7s %5s %6s %6s %6s %7s %6s %6s %7s  ", width,
	    "queue", "ready", "run", "retry", "sched", "dead", "done/s",
	    "fail/s", "oldest", "workers");
	if (sparks > 0)
		add(l, "%-*s ", sparks, "throughput");
	add(l, "note");
}

/* What is to be seen in the narrowest terminal, beside the name. */
static char
mark(json_t *queue)
{
	if (json_is_true(json_object_get(queue, "paused")))
		return 'P';
	if (!json_is_true(json_object_get(queue, "served")))
		return '!';
	return top_number(queue, "holds") > 0 ? 'p' : ' ';
}

static void
queue_row(const struct top *t, json_t *queue, int width, struct line *l)
{
	const char *name = top_text(queue, "name");
	const struct rate *r = top_rate(t, name);
	char ready[32], retrying[32], scheduled[32], dead[32], done[32],
	    failed[32], oldest[32], workers[48];

	snprintf(workers, sizeof(workers), "%lld/%lld",
	    (long long)top_number(queue, "busy"),
	    (long long)top_number(queue, "workers"));
	l->len = 0;
	add(l, "%-*.*s %c %7s %5lld %6s %6s %6s %7s %6s %6s %7s  ", width, width,
	    name, mark(queue), many(top_number(queue, "ready"), json_is_true(
	    json_object_get(queue, "estimated")), ready, sizeof(ready)),
	    (long long)top_number(queue, "running"),
	    many(top_number(queue, "retrying"), false, retrying, sizeof(retrying)),
	    many(top_number(queue, "scheduled"), false, scheduled,
	    sizeof(scheduled)),
	    many(top_number(queue, "dead"), false, dead, sizeof(dead)),
	    speed(r, r == NULL ? 0 : r->completed, done, sizeof(done)),
	    speed(r, r == NULL ? 0 : r->failed, failed, sizeof(failed)),
	    span(queue, "oldest_ready_ms", oldest, sizeof(oldest)), workers);
	if (spark_width(width) > 0) {
		spark(l, r, SPARK_WIDTH);
		add(l, " ");
	}
	if (json_is_true(json_object_get(queue, "paused")))
		add(l, "paused%s%s", *top_text(queue, "pause_reason") == '\0' ?
		    "" : ": ", top_text(queue, "pause_reason"));
	else if (top_number(queue, "holds") > 0)
		add(l, "partly paused");
	if (!json_is_true(json_object_get(queue, "served")))
		add(l, "%snot served", l->text[l->len - 1] == ' ' ? "" : ", ");
}

/* In few characters. */
static const char *
many(json_int_t n, bool about, char *buf, size_t size)
{
	const char *sign = about ? "~" : "";

	if (n < 100000)
		snprintf(buf, size, "%s%lld", sign, (long long)n);
	else if (n < 10000000)
		snprintf(buf, size, "%s%lldk", sign, (long long)(n / 1000));
	else
		snprintf(buf, size, "%s%lldM", sign, (long long)(n / 1000000));
	return buf;
}

static const char *
speed(const struct rate *r, double value, char *buf, size_t size)
{
	if (r == NULL || !r->known)
		snprintf(buf, size, "-");
	else
		snprintf(buf, size, "%.*f", value < 1000 ? 1 : 0, value);
	return buf;
}

/* Milliseconds as a person says them; nothing for null. */
static const char *
span(json_t *object, const char *key, char *buf, size_t size)
{
	json_t *value = json_object_get(object, key);
	long long ms = (long long)json_integer_value(value);

	if (ms < 0)
		ms = 0;
	if (!json_is_integer(value))
		snprintf(buf, size, "%s", "");
	else if (ms < 1000)
		snprintf(buf, size, "%lldms", ms);
	else if (ms < 100000)
		snprintf(buf, size, "%llds", ms / 1000);
	else if (ms < 6000000)
		snprintf(buf, size, "%lldm", ms / 60000);
	else if (ms < 360000000)
		snprintf(buf, size, "%lldh", ms / 3600000);
	else
		snprintf(buf, size, "%lldd", ms / 86400000);
	return buf;
}

/* The last so many, the highest of them at full height; as wide whatever there is. */
static void
spark(struct line *l, const struct rate *r, int width)
{
	static const char *const blocks[] = { " ", "▁", "▂", "▃", "▄", "▅",
	    "▆", "▇", "█" };
	static const char *const plain[] = { " ", ".", ":", "-", "=", "+", "*",
	    "#", "@" };
	int from = r == NULL || r->count < width ? 0 : r->count - width;
	int shown = r == NULL ? 0 : r->count - from;
	double most = 0;

	for (int i = 0; i < shown; i++)
		if (r->history[from + i] > most)
			most = r->history[from + i];
	add(l, "%*s", width - shown, "");
	for (int i = 0; i < shown; i++) {
		double v = r->history[from + i];
		int level = most > 0 ? (int)(v / most * 8 + 0.5) : 0;

		if (level == 0 && v > 0)
			level = 1;
		add(l, "%s", (term_utf8() ? blocks : plain)[level]);
	}
}
