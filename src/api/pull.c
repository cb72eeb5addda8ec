/*
 * Workers elsewhere: see pull.h. Who waits for jobs of a queue is in a list,
 * and a claim asks for all of them at once; one of a queue is on the wire at a
 * time. When it brings too few, the queue is looked at as a leader does
 * (pool/lease.c): the database is told that somebody sleeps, there are three
 * more looks, and then who waits costs no statement: a notification or the
 * scheduler tells when there is something.
 *
 * What was claimed for a client that is gone by then is handed back. One that
 * dies later lets its lease run out; the monitor sees to that.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "api/pull.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "conf/shape.h"
#include "core/breaker.h"
#include "core/jtext.h"
#include "core/outcome.h"
#include "core/units.h"
#include "db/array.h"
#include "db/pg.h"
#include "db/stmt.h"
#include "os/board.h"

#define CLAIM_MAX 1000
#define WAIT_MAX 60000		/* ms */
#define LEASE_MIN 1000
#define LEASE_MAX 3600000
#define FULL_ENOUGH 3		/* full claims in a row: no need to be told of more */
#define RETRY_AFTER (MONO_SECOND)	/* a claim the server refused */

static const mono_t looks[] = { 5 * MONO_MS, 20 * MONO_MS, 100 * MONO_MS };
#define LOOKS (sizeof(looks) / sizeof(looks[0]))

/* A client that has asked for jobs. */
struct waiter {
	TAILQ_ENTRY(waiter) link;
	struct exchange *x;
	struct line *line;		/* NULL: it has its jobs */
	struct timer *timer;		/* the end of its wait; then when its job may start */
	int max;
	int64_t lease_ms;		/* 0: the queue's */
	bool asked;			/* a claim for it is on its way */
	bool over;			/* it waits no longer than that claim */
	struct buf jobs;		/* what it gets, with commas between */
	struct array ids, attempts;	/* the same, to be handed back */
	int64_t start_ms;
};
TAILQ_HEAD(waiters, waiter);

/* Those who wait for jobs of a queue. */
struct line {
	const struct queue_conf *queue;
	char *timeouts;			/* of types, as JSON */
	struct waiters waiters;
	struct waiter *asked[CLAIM_MAX];	/* whom the claim on the wire is for */
	size_t nasked;
	int wanted;			/* how much it asked for */
	bool claiming, again;		/* again: something has happened meanwhile */
	size_t step;			/* of looks */
	int full;
	unsigned failures;		/* of claims, in a row */
	bool flagged;			/* the database knows that somebody sleeps … */
	bool asleep;			/* … nothing is there, and who comes need not ask */
	bool told;			/* the scheduler is to look */
	struct timer *look;
	struct breaker breaker;
};

struct pull {
	struct loop *loop;
	const struct conf *conf;
	struct chan *master;		/* NULL: gone */
	struct pg *pg;			/* NULL: nobody has asked yet */
	bool away;			/* the database does not answer */
	bool looked_after;		/* the scheduler looks for idle queues */
	bool stopping;
	struct line *lines;		/* as conf->queues */
	struct waiters paced;		/* who have jobs that may not start yet */
	char *claim_sql, *end_sql, *release_sql, *sleep_sql, *wake_sql, *open_sql;
};

static struct pull *pull;

static void on_wait_over(void *);
static void on_look(void *);
static void on_claim(struct pg *, PGresult *, void *);
static void claim(struct line *);
static void wake(struct line *);
static void tell_scheduler(struct line *, bool waits);

/*
 * Opening and closing
 */

/* {"": 60000, "digest": 300000}: by type, "" for those without their own. */
static char *
timeouts_of(const struct queue_conf *q)
{
	struct buf b = { 0 };

	buf_printf(&b, "{\"\":%" PRId64, q->timeout_ms);
	for (size_t i = 0; i < q->ntypes; i++) {
		const struct type_conf *t = &q->types[i];

		if (*t->type == '\0' || t->timeout_ms == 0)
			continue;
		buf_char(&b, ',');
		buf_json(&b, t->type, strlen(t->type));
		buf_printf(&b, ":%" PRId64, t->timeout_ms);
	}
	buf_char(&b, '}');
	return buf_detach(&b);
}

void
pull_open(struct loop *loop, const struct conf *conf, struct chan *master)
{
	const char *schema = conf->database.schema;
	struct pull *p = xcalloc(1, sizeof(*p));

	p->loop = loop;
	p->conf = conf;
	p->master = master;
	TAILQ_INIT(&p->paced);
	p->lines = xcalloc(conf->nqueues + 1, sizeof(*p->lines));
	for (size_t i = 0; i < conf->nqueues; i++) {
		struct line *l = &p->lines[i];

		l->queue = &conf->queues[i];
		TAILQ_INIT(&l->waiters);
		l->timeouts = timeouts_of(l->queue);
		l->look = timer_new(loop, on_look, l);
		breaker_init(&l->breaker, l->queue->breaker_failures,
		    l->queue->breaker_of);
	}
	p->claim_sql = stmt_in_schema("select worker, id, attempt, job, start_ms, "
	    "pool, charged, crashes, own_attempts "
	    "from jobq.pull_claim($1, $2, $3, $4, $5, $6, $7, $8)", schema);
	p->end_sql = stmt_in_schema("select jobq.pull_end($1, $2, $3, $4, $5, $6, "
	    "null, $7)", schema);
	p->release_sql = stmt_in_schema("select jobq.pull_release($1, $2)", schema);
	p->sleep_sql = stmt_in_schema("select jobq.sleep(q.id) "
	    "from jobq.queue q where q.name = $1", schema);
	p->wake_sql = stmt_in_schema("select jobq.wake(q.id) "
	    "from jobq.queue q where q.name = $1", schema);
	p->open_sql = stmt_in_schema("select jobq.breaker_set(0, q.id, '', "
	    "'opens', true, $2, $3, $4, $5) from jobq.queue q where q.name = $1",
	    schema);
	pull = p;
	/* The process before this one may have said otherwise. */
	tell_scheduler(NULL, false);
}

static void
waiter_free(struct waiter *w)
{
	timer_free(w->timer);
	buf_clear(&w->jobs);
	array_clear(&w->ids);
	array_clear(&w->attempts);
	free(w);
}

/* What it has goes back: it is not there any more, or we are about to go. */
static void
hand_back(struct waiter *w)
{
	const char *params[] = { NULL, NULL };
	struct err e;

	if (w->ids.count == 0)
		return;
	params[0] = array_close(&w->ids);
	params[1] = array_close(&w->attempts);
	log_info("jobs handed back", "queue=%s jobs=%zu reason=%s",
	    route_value(w->x, "queue"), w->ids.count,
	    "who asked for them is gone");
	if (pg_query(pull->pg, pull->release_sql, 2, params, NULL, NULL, &e) < 0)
		log_warn("jobs not handed back", "queue=%s reason=%s",
		    route_value(w->x, "queue"), "the database is away; they run "
		    "again when their leases are over");
	buf_reset(&w->jobs);
	array_reset(&w->ids);
}

static void
leave_line(struct waiter *w)
{
	TAILQ_REMOVE(w->line != NULL ? &w->line->waiters : &pull->paced, w, link);
}

/* Answer it with what it has, be it nothing. */
static void
waiter_end(struct waiter *w)
{
	struct exchange *x = w->x;

	leave_line(w);
	if (x->connection == NULL)
		hand_back(w);
	x->status = 200;
	buf_printf(&x->body, "{\"jobs\":[%s]}\n", w->jobs.len > 0 ? w->jobs.data : "");
	waiter_free(w);
	exchange_done(x);
}

static void
unavailable(struct exchange *x)
{
	exchange_problem(x, 503, "the database is away");
	buf_str(&x->headers, "Retry-After: 2\r\n");
	exchange_done(x);
}

static void
waiter_fail(struct waiter *w)
{
	struct exchange *x = w->x;

	leave_line(w);
	waiter_free(w);
	unavailable(x);
}

void
pull_stop(void)
{
	struct waiter *w, *next;

	pull->stopping = true;
	while ((w = TAILQ_FIRST(&pull->paced)) != NULL) {
		hand_back(w);
		waiter_end(w);
	}
	for (size_t i = 0; i < pull->conf->nqueues; i++) {
		timer_stop(pull->lines[i].look);
		TAILQ_FOREACH_SAFE(w, &pull->lines[i].waiters, link, next) {
			w->over = true;
			if (!w->asked)
				waiter_end(w);
		}
	}
}

void
pull_close(void)
{
	struct pull *p = pull;

	pull_stop();
	pg_free(p->pg);		/* claims on the wire end, and those they were for */
	for (size_t i = 0; i < p->conf->nqueues; i++) {
		timer_free(p->lines[i].look);
		breaker_clear(&p->lines[i].breaker);
		free(p->lines[i].timeouts);
	}
	free(p->lines);
	free(p->claim_sql);
	free(p->end_sql);
	free(p->release_sql);
	free(p->sleep_sql);
	free(p->wake_sql);
	free(p->open_sql);
	free(p);
	pull = NULL;
}

/*
 * The database
 */

static void
on_up(struct pg *pg, void *arg)
{
	(void)pg;
	(void)arg;
	pull->away = false;
	for (size_t i = 0; i < pull->conf->nqueues; i++)
		claim(&pull->lines[i]);
}

static void
on_down(struct pg *pg, const char *reason, bool fatal, void *arg)
{
	struct waiter *w;

	(void)pg;
	(void)fatal;
	(void)arg;
	if (!pull->away)
		log_warn("database is away", "reason=%s", reason);
	pull->away = true;
	for (size_t i = 0; i < pull->conf->nqueues; i++) {
		struct line *l = &pull->lines[i];

		while ((w = TAILQ_FIRST(&l->waiters)) != NULL)
			waiter_fail(w);
		timer_stop(l->look);
		l->flagged = l->asleep = false;
		l->step = 0;
	}
}

static struct line *
line_of(const char *queue)
{
	for (size_t i = 0; queue != NULL && i < pull->conf->nqueues; i++)
		if (strcmp(pull->lines[i].queue->name, queue) == 0)
			return &pull->lines[i];
	return NULL;
}

static void
connect_database(void)
{
	static const struct pg_ops ops = { on_up, on_down, NULL };
	const struct conf *conf = pull->conf;
	const char *setup[] = { "set plan_cache_mode = force_generic_plan", NULL };

	pull->pg = pg_new(pull->loop, conf->database.url, "jobqd api pull",
	    conf->database.pooler_transaction, setup, &ops, NULL);
}

/*
 * The master
 */

/* NULL: of all queues. */
static void
tell_scheduler(struct line *l, bool waits)
{
	struct buf body = { 0 };

	if (pull->master == NULL || (l != NULL && l->told == waits))
		return;
	if (l != NULL)
		l->told = waits;
	msg_put_str(&body, l != NULL ? l->queue->name : "");
	msg_put_u32(&body, waits);
	chan_send(pull->master, MSG_PULLS, body.data, body.len, -1);
	buf_clear(&body);
}

/* A scheduler that has just come knows of nobody who waits. */
static void
looking(bool yes)
{
	pull->looked_after = yes;
	for (size_t i = 0; i < pull->conf->nqueues; i++) {
		struct line *l = &pull->lines[i];

		if (yes && l->told) {
			l->told = false;
			tell_scheduler(l, true);
		} else if (!yes && l->asleep) {
			l->asleep = false;
			timer_set(l->look, l->queue->poll_ms * MONO_MS);
		}
	}
}

bool
pull_message(uint32_t type, struct msg_reader *r)
{
	struct line *l;
	char *queue;
	uint32_t yes;

	if (type == MSG_LOOKING) {
		yes = msg_get_u32(r);
		if (!msg_end(r))
			return false;
		looking(yes != 0);
		return true;
	}
	if (type != MSG_FOUND)
		return false;
	queue = msg_get_str(r);
	l = line_of(queue);
	free(queue);
	if (!msg_end(r))
		return false;
	if (l != NULL)
		wake(l);
	return true;
}

void
pull_master_gone(void)
{
	pull->master = NULL;
}

/*
 * Claims
 */

static void
query_line(struct line *l, const char *sql)
{
	const char *params[] = { l->queue->name };

	pg_query(pull->pg, sql, 1, params, NULL, NULL, NULL);
}

static void
tell_asleep(struct line *l)
{
	if (l->flagged || pull->conf->database.pooler_transaction)
		return;
	query_line(l, pull->sleep_sql);
	l->flagged = true;
}

static void
tell_awake(struct line *l)
{
	if (l->flagged)
		query_line(l, pull->wake_sql);
	l->flagged = false;
}

static void
claim(struct line *l)
{
	struct array workers = { 0 }, wants = { 0 }, leases = { 0 };
	const struct queue_conf *q = l->queue;
	char grace[24], attempts[16];
	struct waiter *w;

	if (l->claiming || TAILQ_EMPTY(&l->waiters) || !pg_is_up(pull->pg))
		return;
	timer_stop(l->look);
	l->again = l->asleep = false;
	l->nasked = 0;
	l->wanted = 0;
	TAILQ_FOREACH(w, &l->waiters, link) {
		if (l->wanted + w->max > CLAIM_MAX)
			break;
		array_text(&workers, w->x->caller.name);
		array_int(&wants, w->max);
		if (w->lease_ms > 0)
			array_int(&leases, w->lease_ms);
		else
			array_null(&leases);
		w->asked = true;
		l->asked[l->nasked++] = w;
		l->wanted += w->max;
	}
	snprintf(grace, sizeof(grace), "%" PRId64, q->grace_ms);
	snprintf(attempts, sizeof(attempts), "%d", q->retry->attempts);
	const char *params[] = { q->name, pull->conf->daemon.node,
	    array_close(&workers), array_close(&wants), array_close(&leases),
	    l->timeouts, grace, attempts };
	l->claiming = pg_query_often(pull->pg, pull->claim_sql, 8, params, on_claim,
	    l, NULL) == 0;
	/* When it was not sent, on_down() is about to be called. */
	for (size_t i = 0; !l->claiming && i < l->nasked; i++)
		l->asked[i]->asked = false;
	array_clear(&workers);
	array_clear(&wants);
	array_clear(&leases);
}

/* Nobody has to come for those who wait now until there is something. */
static void
quiet(struct line *l)
{
	if (l->step == 0)
		tell_asleep(l);
	if (l->step < LOOKS) {
		timer_set(l->look, looks[l->step++]);
		return;
	}
	tell_scheduler(l, true);
	if (pull->looked_after)
		l->asleep = true;
	else
		timer_set(l->look, l->queue->poll_ms * MONO_MS);
}

static void
on_look(void *arg)
{
	struct line *l = arg;

	if (TAILQ_EMPTY(&l->waiters))
		l->step = 0;
	else
		claim(l);
}

/* There may be something. */
static void
wake(struct line *l)
{
	l->asleep = false;
	l->step = 0;
	if (pull->pg == NULL || !pg_is_up(pull->pg))
		return;
	if (l->claiming) {
		l->again = true;
	} else if (TAILQ_EMPTY(&l->waiters)) {
		/* And nobody is to be told of more. */
		tell_scheduler(l, false);
		tell_awake(l);
	} else {
		claim(l);
	}
}

/* Of those that were asked for: one gets what it has, or goes on waiting. */
static void
settle(struct waiter *w)
{
	w->asked = false;
	if (w->ids.count == 0) {
		if (w->over || w->x->connection == NULL)
			waiter_end(w);
	} else if (w->start_ms > 0 && !pull->stopping) {
		leave_line(w);
		w->line = NULL;
		TAILQ_INSERT_TAIL(&pull->paced, w, link);
		timer_set(w->timer, w->start_ms * MONO_MS);
	} else {
		waiter_end(w);
	}
}

/* Its data is not what the queue's schema asks for: nobody gets it. */
static void
refuse(const struct line *l, const PGresult *res, int row, const char *why)
{
	struct job job = { .charged = (int)pg_int(res, row, 6),
	    .crashes = (int)pg_int(res, row, 7),
	    .max_attempts = (int)pg_int(res, row, 8) };
	struct run_result result = { .class = CLASS_VALIDATION, .retry_after_ms = -1 };
	struct decision d = outcome_decide(
	    conf_policy(l->queue, pg_int(res, row, 1)), &job, &result,
	    (double)arc4random() / 4294967296.0);
	char outcome[16], class[16], delay[24];

	snprintf(outcome, sizeof(outcome), "%d", (int)d.outcome);
	snprintf(class, sizeof(class), "%d", (int)CLASS_VALIDATION);
	snprintf(delay, sizeof(delay), "%" PRId64, d.delay_ms);
	const char *params[] = { pg_text(res, row, 5), pg_text(res, row, 1),
	    pg_text(res, row, 2), outcome, class, why,
	    d.outcome == OUTCOME_FAILED ? delay : NULL };
	/* Should it not come through, the lease runs out, and that is decided anew. */
	pg_query(pull->pg, pull->end_sql, 7, params, NULL, NULL, NULL);
}

/* False: it is for nobody. Into what is encrypted those look who can decrypt it. */
static bool
fits(const struct line *l, const PGresult *res, int row)
{
	const char *job = pg_text(res, row, 3), *data;
	char why[256];
	size_t len;

	if (l->queue->schema == NULL || (data = jtext_member(job, "data", &len)) == NULL ||
	    (l->queue->encrypt.keys != NULL && seal_is(data)) ||
	    shape_fits(l->queue->schema, data, why, sizeof(why)))
		return true;
	refuse(l, res, row, why);
	return false;
}

static void
take_row(struct line *l, const PGresult *res, int row)
{
	int64_t i = pg_int(res, row, 0);
	struct waiter *w;

	if (i < 1 || (size_t)i > l->nasked || !fits(l, res, row))
		return;
	w = l->asked[i - 1];
	array_int(&w->ids, pg_int(res, row, 1));
	array_int(&w->attempts, pg_int(res, row, 2));
	buf_printf(&w->jobs, "%s%s", w->jobs.len > 0 ? "," : "",
	    pg_text(res, row, 3));
	w->start_ms = pg_int(res, row, 4);
}

static void
after_claim(struct line *l, int got, int64_t wait_ms)
{
	l->full = got >= l->wanted ? l->full + 1 : 0;
	if (got > 0) {
		l->step = 0;
		tell_scheduler(l, false);
	}
	if (l->full == FULL_ENOUGH)
		tell_awake(l);
	if (TAILQ_EMPTY(&l->waiters))
		l->step = 0;
	else if (l->again || got >= l->wanted)
		claim(l);
	else if (wait_ms >= 0)
		timer_set(l->look, (wait_ms > 0 ? wait_ms : 1) * MONO_MS);
	else
		quiet(l);
}

static void
on_claim(struct pg *pg, PGresult *res, void *arg)
{
	struct line *l = arg;
	bool done = res != NULL && PQresultStatus(res) == PGRES_TUPLES_OK;
	int count = done ? PQntuples(res) : 0, got = 0;
	int64_t wait_ms = -1;

	(void)pg;
	l->claiming = false;
	for (int row = 0; row < count; row++)
		if (PQgetisnull(res, row, 1)) {
			wait_ms = pg_int(res, row, 4);
		} else {
			take_row(l, res, row);
			got++;
		}
	for (size_t i = 0; i < l->nasked; i++)
		settle(l->asked[i]);
	l->nasked = 0;
	if (done) {
		l->failures = 0;
		after_claim(l, got, wait_ms);
	} else if (res != NULL) {
		pg_claim_refused(res, l->queue->name, &l->failures);
		timer_set(l->look, RETRY_AFTER);
	}
}

/*
 * Those who ask
 */

/* "20s", or "20 seconds" as a number of them comes. False: it is none. */
static bool
read_duration(const char *text, int64_t *ms)
{
	char copy[32];
	const char *blank = strstr(text, " seconds");
	size_t len = blank != NULL ? (size_t)(blank - text) : strlen(text);
	double seconds;
	char *end;

	if (blank != NULL) {
		seconds = strtod(text, &end);
		*ms = seconds < 1e9 ? (int64_t)(seconds * 1000) : INT64_MAX;
		return end == blank;
	}
	if (len >= sizeof(copy))
		return false;
	return units_duration_ms(text, ms) == 0;
}

bool
pull_duration(struct exchange *x, const char *name, int64_t min, int64_t max,
    int64_t *ms)
{
	const char *text = route_value(x, name);
	char from[UNITS_TEXT_MAX], to[UNITS_TEXT_MAX], why[200];

	if (text == NULL || (read_duration(text, ms) && *ms >= min && *ms <= max))
		return true;
	units_format_duration(from, sizeof(from), min);
	units_format_duration(to, sizeof(to), max);
	snprintf(why, sizeof(why), "%s is no duration from %s to %s", name, from,
	    to);
	exchange_problem_of(x, 422, name, why);
	exchange_done(x);
	return false;
}

static void
on_wait_over(void *arg)
{
	struct waiter *w = arg;

	if (w->asked)
		w->over = true;
	else
		waiter_end(w);
}

/* Its client is, and it with it; what a claim brings for it goes back. */
static void
on_gone(struct exchange *x, void *arg)
{
	(void)x;
	on_wait_over(arg);
}

static void
wait_in(struct line *l, struct exchange *x, int64_t wait_ms, int64_t lease_ms)
{
	struct waiter *w = xcalloc(1, sizeof(*w));
	const char *max = route_value(x, "max");

	w->x = x;
	w->line = l;
	w->max = max != NULL ? (int)strtol(max, NULL, 10) : 1;
	w->lease_ms = lease_ms;
	w->over = wait_ms == 0;
	w->timer = timer_new(pull->loop, on_wait_over, w);
	if (wait_ms > 0)
		timer_set(w->timer, wait_ms * MONO_MS);
	exchange_watch(x, on_gone, w);
	TAILQ_INSERT_TAIL(&l->waiters, w, link);
	if (pull->pg == NULL)
		connect_database();
	else if (l->claiming)
		l->again = true;
	/* Nothing is there, as far as is known, and more will be told. */
	else if (wait_ms == 0 || (!l->asleep && !timer_pending(l->look)))
		claim(l);
}

void
pull_lease(struct exchange *x, void *arg)
{
	const char *queue = route_value(x, "queue");
	int64_t wait_ms = 0, lease_ms = 0;
	struct line *l = line_of(queue);

	(void)arg;
	if (l == NULL) {
		exchange_problem(x, 404, "there is no queue \"%s\" on this node",
		    queue);
		exchange_done(x);
	} else if (!l->queue->enabled) {
		exchange_problem(x, 409, "queue \"%s\" is disabled in the "
		    "configuration of this node", queue);
		exchange_done(x);
	} else if (!pull_duration(x, "wait", 0, WAIT_MAX, &wait_ms) ||
	    !pull_duration(x, "lease", LEASE_MIN, LEASE_MAX, &lease_ms)) {
		return;
	} else if (pull->away || pull->stopping) {
		unavailable(x);
	} else {
		wait_in(l, x, wait_ms, lease_ms);
	}
}

/*
 * What the ends of jobs mean here
 */

static enum breaker_sign
sign_of(const struct pull_end *e)
{
	return e->outcome == OUTCOME_COMPLETED ? BREAKER_GOOD :
	    e->outcome == OUTCOME_CANCELLED ? BREAKER_SILENT :
	    breaker_sign(e->class, false);
}

void
pull_ended(const struct pull_end *e)
{
	struct board_queue *board = board_queue(e->queue);
	struct line *l = line_of(e->queue);
	struct breaker *b = l != NULL ? &l->breaker : NULL;
	const struct queue_conf *q = l != NULL ? l->queue : NULL;
	char failed[24], seen[24], open_ms[24];

	board_finished(board, e->type,
	    (enum board_outcome)(e->outcome - OUTCOME_COMPLETED));
	if (e->outcome <= OUTCOME_DEAD)
		board_ran(board, e->run_us);
	if (q == NULL || !q->breaker || breaker_ended(b, sign_of(e), false,
	    mono_now(), q->breaker_open_ms) != BREAKER_OPENS)
		return;
	snprintf(failed, sizeof(failed), "%zu", b->failed);
	snprintf(seen, sizeof(seen), "%zu", b->seen);
	snprintf(open_ms, sizeof(open_ms), "%" PRId64, q->breaker_open_ms);
	const char *params[] = { q->name, failed, seen, open_ms, e->error };
	log_warn("breaker opened", "queue=%s failed=%s of=%s open_ms=%s "
	    "reason=%s", q->name, failed, seen, open_ms, e->error);
	if (pull->pg == NULL)
		connect_database();
	pg_query(pull->pg, pull->open_sql, 5, params, NULL, NULL, NULL);
	/* The database's is what counts from here on. */
	breaker_clear(b);
	breaker_init(b, q->breaker_failures, q->breaker_of);
}

const struct retry_policy *
pull_policy(const char *queue, int64_t job)
{
	const struct conf *conf = pull->conf;
	const struct line *l = line_of(queue);

	if (l != NULL)
		return conf_policy(l->queue, job);
	/* Of a queue that this node does not have: what is there always. */
	for (size_t i = 0; i < conf->npolicies; i++)
		if (strcmp(conf->policies[i].name, "default") == 0)
			return &conf->policies[i];
	return &conf->policies[0];
}
