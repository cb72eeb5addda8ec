/*
 * jobqctl top: what happens now, as it changes. On a terminal a screen that
 * takes keys; else a block of lines, or a JSON object, each refresh. It asks
 * one statement a refresh, jobq.top(), which costs the same however many jobs
 * there are, and goes on asking when the database goes away.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "core/units.h"
#include "ctl/out.h"
#include "ctl/term.h"
#include "ctl/top.h"
#include "db/stmt.h"

#define INTERVAL_MS 2000
#define INTERVAL_MIN 100
#define ANSWER_WITHIN (10 * MONO_SECOND)	/* else it is as good as gone */
#define AGAIN_AFTER MONO_SECOND
#define CONNECT_MS 1000

#define TOP_SQL "SELECT jobq.top(coalesce($1::timestamptz, now()))"
#define MORE_SQL "SELECT jobq.top_queue($1)"

/* What was asked, and is not answered yet. */
enum asked { ASKED_NOTHING, ASKED_TOP, ASKED_MORE, ASKED_ACT };

struct session {
	struct top *top;
	enum asked asked;
	PGresult *result;		/* of it, before its end has come; NULL */
	mono_t since;			/* when */
	mono_t next;			/* when to ask again, or to connect */
	char *begun;			/* at which top() began to count; NULL: now */
	const char *proposed;		/* a statement that takes a queue's name; NULL */
	const char *act;		/* the same, once it was agreed to */
	char target[64];		/* … the queue */
	bool dirty;			/* something is to be drawn */
	bool over;
};

static int run_lines(struct top *, long count);
static int ask_once(struct top *, char **begun, struct err *e);
static void print_json(const struct top *);
static int run_screen(struct top *);
static void turn(struct session *);
static void ask(struct session *, enum asked, const char *sql, const char *param);
static void answer(struct session *);
static void take_result(struct session *, PGresult *);
static void lost(struct session *, const char *why);
static void connect_again(struct session *);
static void press(struct session *, int key);
static void press_in_list(struct session *, int key);
static void move(struct session *, int by);
static void propose(struct session *);
static void take_top(struct top *, json_t *now);
static void measure(struct top *, const char *name, json_int_t completed,
    json_int_t failed, double seconds);
static void keep_chosen(struct top *);
static void clear(struct top *);

const char *const top_sorts[SORT_COUNT] = { "name", "ready", "running",
	"done", "failed", "dead", "oldest" };

int
top_run(struct ctl *ctl, const struct args *a)
{
	struct top top = { .ctl = ctl, .interval_ms = INTERVAL_MS };
	const char *interval = args_get(a, "interval");
	long count = 0;
	struct err e;
	int status;

	if (interval != NULL && (units_duration_ms(interval,
	    &top.interval_ms) < 0 || top.interval_ms < INTERVAL_MIN))
		return ctl_misuse("top: --interval \"%s\" is no duration of at "
		    "least 100ms, such as 500ms or 2s", interval);
	if (args_number(a, "count", 1, 1000000000, &count, &e) < 0)
		return ctl_misuse("top: %s", e.msg);
	if (ctl_connect(ctl) < 0)
		return CTL_FAILED;
	if (ctl->json || count > 0 || !term_usable())
		status = run_lines(&top, count);
	else
		status = run_screen(&top);
	clear(&top);
	return status;
}

/* count 0: until somebody stops it. */
static int
run_lines(struct top *t, long count)
{
	char *begun = NULL;
	bool said = false;
	struct err e;

	for (long n = 0; count == 0 || n < count;) {
		mono_t next = mono_now() + t->interval_ms * MONO_MS;

		if (ask_once(t, &begun, &e) == 0) {
			if (n++ > 0 && !t->ctl->json)
				putchar('\n');
			if (t->ctl->json)
				print_json(t);
			else
				topview_print(t);
			if (fflush(stdout) != 0)
				break;
			said = false;
		} else {
			if (t->ctl->db != NULL &&
			    PQstatus(t->ctl->db) == CONNECTION_OK)
				return ctl_fail("%s", e.msg);
			if (!said)
				ctl_fail("lost the database: %s; trying again",
				    e.msg);
			said = true;
			ctl_reconnect(t->ctl, CONNECT_MS, &e);
		}
		if ((count == 0 || n < count) && mono_now() < next)
			mono_sleep(next - mono_now());
	}
	free(begun);
	return CTL_DONE;
}

static int
ask_once(struct top *t, char **begun, struct err *e)
{
	const char *params[] = { *begun };
	PGresult *res;
	json_t *now;
	char *sql;

	if (t->ctl->db == NULL)
		return err_set(e, "not connected");
	sql = stmt_in_schema(TOP_SQL, t->ctl->schema);
	res = pgsync_query(t->ctl->db, sql, 1, params, e);
	free(sql);
	if (res == NULL)
		return -1;
	now = json_loads(PQgetvalue(res, 0, 0), 0, NULL);
	PQclear(res);
	if (now == NULL)
		return err_set(e, "the answer of the database is no JSON");
	if (*begun == NULL)
		*begun = xstrdup(top_text(now, "at"));
	take_top(t, now);
	return 0;
}

/* The answer, and how fast. */
static void
print_json(const struct top *t)
{
	json_t *queue;
	char *text;
	size_t i;

	json_array_foreach(json_object_get(t->now, "queues"), i, queue) {
		const struct rate *r = top_rate(t, top_text(queue, "name"));
		bool known = r != NULL && r->known;

		json_object_set_new(queue, "completed_per_second",
		    known ? json_real(r->completed) : json_null());
		json_object_set_new(queue, "failed_per_second",
		    known ? json_real(r->failed) : json_null());
	}
	text = json_dumps(t->now, JSON_COMPACT | JSON_REAL_PRECISION(6));
	out_json_value(text);
	putchar('\n');
	free(text);
}

static int
run_screen(struct top *t)
{
	struct session s = { .top = t, .next = mono_now(), .dirty = true };
	struct err e;

	if (term_open(&e) < 0)
		return ctl_fail("%s", e.msg);
	while (!s.over) {
		PGconn *db;
		mono_t until;
		int key;

		turn(&s);
		if (s.dirty)
			topview_draw(t);
		s.dirty = false;
		until = s.asked != ASKED_NOTHING ? s.since + ANSWER_WITHIN :
		    s.next;
		db = t->ctl->db;
		key = term_wait(db != NULL && s.asked != ASKED_NOTHING ?
		    PQsocket(db) : -1, until);
		if (key == TERM_READABLE)
			answer(&s);
		else if (key == TERM_END)
			s.over = true;
		else if (key == TERM_TIME && s.asked != ASKED_NOTHING)
			lost(&s, "it does not answer");
		else if (key != TERM_TIME)
			press(&s, key);
	}
	PQclear(s.result);
	free(s.begun);
	term_die();
	term_close();
	return CTL_DONE;
}

/* Ask what is to be asked next. */
static void
turn(struct session *s)
{
	struct top *t = s->top;

	if (s->asked != ASKED_NOTHING)
		return;
	if (t->ctl->db == NULL) {
		if (mono_now() >= s->next)
			connect_again(s);
		return;
	}
	if (s->act != NULL) {
		ask(s, ASKED_ACT, s->act, s->target);
		s->act = NULL;
	} else if (mono_now() >= s->next) {
		s->next = mono_now() + t->interval_ms * MONO_MS;
		ask(s, ASKED_TOP, TOP_SQL, s->begun);
	}
}

static void
ask(struct session *s, enum asked what, const char *sql, const char *param)
{
	struct ctl *ctl = s->top->ctl;
	char *text = stmt_in_schema(sql, ctl->schema);
	const char *params[] = { param };

	s->asked = what;
	s->since = mono_now();
	if (PQsendQueryParams(ctl->db, text, 1, NULL, params, NULL, NULL, 0) != 1)
		lost(s, PQerrorMessage(ctl->db));
	free(text);
}

static void
answer(struct session *s)
{
	PGconn *db = s->top->ctl->db;
	PGresult *res;

	if (PQconsumeInput(db) != 1) {
		lost(s, PQerrorMessage(db));
		return;
	}
	while (!PQisBusy(db)) {
		if ((res = PQgetResult(db)) == NULL) {
			res = s->result;
			s->result = NULL;
			take_result(s, res);
			return;
		}
		PQclear(s->result);
		s->result = res;
	}
}

static void
take_result(struct session *s, PGresult *res)
{
	struct top *t = s->top;
	enum asked asked = s->asked;
	json_t *all;

	s->asked = ASKED_NOTHING;
	s->dirty = true;
	if (PQstatus(t->ctl->db) == CONNECTION_BAD) {
		lost(s, res == NULL ? PQerrorMessage(t->ctl->db) :
		    PQresultErrorMessage(res));
	} else if (PQresultStatus(res) != PGRES_TUPLES_OK) {
		snprintf(t->said, sizeof(t->said), "%.*s",
		    (int)strcspn(PQresultErrorMessage(res), "\n"),
		    PQresultErrorMessage(res));
	} else if (asked == ASKED_ACT) {
		s->next = mono_now();	/* to see what it did */
	} else {
		all = json_loads(PQgetvalue(res, 0, 0), 0, NULL);
		if (asked == ASKED_TOP && all != NULL) {
			if (s->begun == NULL)
				s->begun = xstrdup(top_text(all, "at"));
			take_top(t, all);
		} else {
			json_decref(t->more);
			t->more = all;
		}
		if (asked == ASKED_TOP && *t->open != '\0')
			ask(s, ASKED_MORE, MORE_SQL, t->open);
	}
	PQclear(res);
}

static void
lost(struct session *s, const char *why)
{
	struct top *t = s->top;

	snprintf(t->away, sizeof(t->away), "%.*s", (int)strcspn(why, "\n"), why);
	if (t->ctl->db != NULL)
		PQfinish(t->ctl->db);
	t->ctl->db = NULL;
	PQclear(s->result);
	s->result = NULL;
	s->asked = ASKED_NOTHING;
	s->act = NULL;
	s->next = mono_now();
	s->dirty = true;
}

static void
connect_again(struct session *s)
{
	struct top *t = s->top;
	struct err e;

	s->next = mono_now();
	s->dirty = true;
	if (ctl_reconnect(t->ctl, CONNECT_MS, &e) == 0) {
		*t->away = '\0';
	} else {
		strlcpy(t->away, e.msg, sizeof(t->away));
		s->next += AGAIN_AFTER;
	}
}

static void
press(struct session *s, int key)
{
	struct top *t = s->top;

	s->dirty = true;
	if (key == TERM_CHANGED)
		return;
	*t->said = '\0';
	if (*t->question != '\0') {
		*t->question = '\0';
		if (key == 'y' || key == 'Y')
			s->act = s->proposed;
		s->proposed = NULL;
		return;
	}
	switch (key) {
	case 'q':
		s->over = true;
		break;
	case '?':
		t->help = !t->help;
		break;
	case ' ':
		s->next = mono_now();
		break;
	default:
		if (t->help)
			t->help = false;
		else
			press_in_list(s, key);
	}
}

static void
press_in_list(struct session *s, int key)
{
	struct top *t = s->top;

	switch (key) {
	case TERM_UP: case 'k':
		move(s, -1);
		break;
	case TERM_DOWN: case 'j':
		move(s, 1);
		break;
	case TERM_PAGE_UP:
		move(s, -10);
		break;
	case TERM_PAGE_DOWN:
		move(s, 10);
		break;
	case TERM_HOME: case 'g':
		move(s, -100000);
		break;
	case TERM_LAST: case 'G':
		move(s, 100000);
		break;
	case '\n': case TERM_RIGHT: case 'l':
		strlcpy(t->open, t->chosen, sizeof(t->open));
		s->next = mono_now();
		break;
	case TERM_ESCAPE: case TERM_LEFT: case '\b': case 'h':
		*t->open = '\0';
		json_decref(t->more);
		t->more = NULL;
		break;
	case 's':
		t->sort = (t->sort + 1) % SORT_COUNT;
		break;
	case 'p':
		propose(s);
		break;
	default:
		break;
	}
}

/* Another queue under the cursor; the next one is looked into when one is. */
static void
move(struct session *s, int by)
{
	struct top *t = s->top;
	size_t count, at = 0;
	json_t **list = top_sorted(t, &count);
	long to;

	for (size_t i = 0; i < count; i++)
		if (strcmp(top_text(list[i], "name"), t->chosen) == 0)
			at = i;
	to = (long)at + by;
	to = to < 0 ? 0 : to >= (long)count ? (long)count - 1 : to;
	if (count > 0)
		strlcpy(t->chosen, top_text(list[to], "name"),
		    sizeof(t->chosen));
	free(list);
	if (*t->open != '\0' && strcmp(t->open, t->chosen) != 0) {
		strlcpy(t->open, t->chosen, sizeof(t->open));
		json_decref(t->more);
		t->more = NULL;
		s->next = mono_now();
	}
}

/* Pause the queue under the cursor, or resume it: asks first. */
static void
propose(struct session *s)
{
	struct top *t = s->top;
	json_t *queue;
	size_t i;

	if (t->ctl->db == NULL)
		return;
	json_array_foreach(json_object_get(t->now, "queues"), i, queue) {
		bool paused = json_is_true(json_object_get(queue, "paused"));

		if (strcmp(top_text(queue, "name"), t->chosen) != 0)
			continue;
		s->proposed = paused ? "SELECT jobq.resume($1)" :
		    "SELECT jobq.pause($1, 'by jobqctl top')";
		strlcpy(s->target, t->chosen, sizeof(s->target));
		snprintf(t->question, sizeof(t->question),
		    "%s queue %s? y or n", paused ? "resume" : "pause",
		    t->chosen);
	}
}

/* Takes the answer. */
static void
take_top(struct top *t, json_t *now)
{
	mono_t at = mono_now();
	double seconds = t->now == NULL ? 0 :
	    (double)(at - t->answered) / MONO_SECOND;
	json_int_t completed = 0, failed = 0;
	json_t *queue;
	size_t i;

	json_decref(t->now);
	t->now = now;
	t->answered = at;
	json_array_foreach(json_object_get(now, "queues"), i, queue) {
		completed += top_number(queue, "completed");
		failed += top_number(queue, "failed");
		measure(t, top_text(queue, "name"),
		    top_number(queue, "completed"),
		    top_number(queue, "failed"), seconds);
	}
	measure(t, "", completed, failed, seconds);
	keep_chosen(t);
}

static void
measure(struct top *t, const char *name, json_int_t completed,
    json_int_t failed, double seconds)
{
	struct rate *r = (struct rate *)top_rate(t, name);

	if (r == NULL) {
		t->rates = xreallocarray(t->rates, t->nrates + 1,
		    sizeof(*t->rates));
		r = &t->rates[t->nrates++];
		*r = (struct rate){ .name = xstrdup(name) };
	} else if (seconds > 0) {
		/* Fewer than before: what they are counted from has gone. */
		r->completed = completed < r->last_completed ? 0 :
		    (double)(completed - r->last_completed) / seconds;
		r->failed = failed < r->last_failed ? 0 :
		    (double)(failed - r->last_failed) / seconds;
		r->known = true;
		if (r->count == TOP_HISTORY)
			memmove(r->history, r->history + 1,
			    sizeof(r->history) - sizeof(*r->history));
		else
			r->count++;
		r->history[r->count - 1] = r->completed;
	}
	r->last_completed = completed;
	r->last_failed = failed;
}

/* The cursor stays on its queue; when that has gone it is on the first. */
static void
keep_chosen(struct top *t)
{
	json_t *queues = json_object_get(t->now, "queues"), *queue;
	size_t i;

	json_array_foreach(queues, i, queue)
		if (strcmp(top_text(queue, "name"), t->chosen) == 0)
			return;
	strlcpy(t->chosen, top_text(json_array_get(queues, 0), "name"),
	    sizeof(t->chosen));
	*t->open = '\0';
}

static void
clear(struct top *t)
{
	json_decref(t->now);
	json_decref(t->more);
	for (size_t i = 0; i < t->nrates; i++)
		free(t->rates[i].name);
	free(t->rates);
}

const struct rate *
top_rate(const struct top *t, const char *name)
{
	for (size_t i = 0; i < t->nrates; i++)
		if (strcmp(t->rates[i].name, name) == 0)
			return &t->rates[i];
	return NULL;
}

json_int_t
top_number(json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

const char *
top_text(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text == NULL ? "" : text;
}

static const struct top *sorting;	/* qsort() has no argument to pass */

static double
weight(json_t *queue)
{
	const struct rate *r = top_rate(sorting, top_text(queue, "name"));

	switch (sorting->sort) {
	case SORT_READY:
		return (double)top_number(queue, "ready");
	case SORT_RUNNING:
		return (double)top_number(queue, "running");
	case SORT_DONE:
		return r == NULL ? 0 : r->completed;
	case SORT_FAILED:
		return r == NULL ? 0 : r->failed;
	case SORT_DEAD:
		return (double)top_number(queue, "dead");
	case SORT_OLDEST:
		return (double)top_number(queue, "oldest_ready_ms");
	default:
		return 0;
	}
}

/* The most first; where they are equal, by name. */
static int
by_weight(const void *a, const void *b)
{
	json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	double p = weight(x), q = weight(y);

	return p > q ? -1 : p < q ? 1 :
	    strcmp(top_text(x, "name"), top_text(y, "name"));
}

json_t **
top_sorted(const struct top *t, size_t *count)
{
	json_t *queues = json_object_get(t->now, "queues");
	json_t **list;

	*count = json_array_size(queues);
	list = xcalloc(*count + 1, sizeof(*list));
	for (size_t i = 0; i < *count; i++)
		list[i] = json_array_get(queues, i);
	sorting = t;
	qsort(list, *count, sizeof(*list), by_weight);
	return list;
}
