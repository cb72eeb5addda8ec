/*
 * Live events: see events.h.
 *
 * A client is told only what happens after it is told that it listens: so its
 * answer waits for the first look. It has a place in the ring, and gets the next
 * piece when it has taken the last one; so one that is slow costs a piece, and
 * is dropped when the ring has moved on without it.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "api/events.h"
#include "api/ring.h"
#include "api/route.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "db/pg.h"
#include "db/stmt.h"

#define LOOK_EVERY MONO_SECOND
#define LOOK_MOST "1000"	/* events of a kind in one look; more are skipped */
#define LOOK_WITHIN 15000	/* ms that a look may take */
#define LOOK_SHARE 4		/* of the time, one in so many and one more is for looks */
#define LOOK_SOON (100 * MONO_MS)	/* after a notification: a short job has ended by then */
#define LOOK_APART (300 * MONO_MS)	/* … however many there are */
#define AGAIN (2 * MONO_SECOND)	/* after an error */
#define GAP (30 * MONO_SECOND)	/* without a look: what was in it is not told */
#define BEGIN_WITHIN (10 * MONO_SECOND)	/* a client waits for the first look */
#define LINGER (60 * MONO_SECOND)	/* looking goes on for clients that come back */
#define HEARTBEAT (15 * MONO_SECOND)
#define STREAM_FOR (3600 * MONO_SECOND)	/* then its token is looked at again */
#define RING_EVENTS 10000
#define RING_BYTES ((size_t)8 << 20)
#define PIECE ((size_t)64 << 10)	/* bytes that go to a client at once */

struct listener {
	TAILQ_ENTRY(listener) link;
	struct events *events;
	struct exchange *x;
	struct ring_filter filter;
	uint64_t place;
	bool begun;		/* the head of the answer is out */
	bool busy;		/* it has not taken the last piece yet */
	mono_t since;
};
TAILQ_HEAD(listeners, listener);

struct events {
	struct loop *loop;
	const struct conf *conf;
	struct pg *pg;			/* NULL: nobody listens */
	struct ring *ring;		/* NULL: nor has anybody lately */
	char *sql, *listen;
	char *cursor;			/* NULL: not begun */
	bool asking;
	bool notified;			/* there is something to look for */
	bool failing;			/* the log knows */
	mono_t asked, looked, took, listened;
	struct timer *look, *beat;
	struct listeners listeners;
	size_t count, max;
};

static void on_look(void *);
static void on_beat(void *);
static void on_up(struct pg *, void *);
static void on_down(struct pg *, const char *, bool, void *);
static void on_notify(struct pg *, const char *, const char *, void *);
static void on_looked(struct pg *, PGresult *, void *);
static void listener_begin(struct listener *);
static void listener_feed(struct listener *);
static void listener_end(struct listener *);

struct events *
events_new(struct loop *loop, const struct conf *conf, size_t streams_max)
{
	struct events *ev = xcalloc(1, sizeof(*ev));

	ev->loop = loop;
	ev->conf = conf;
	ev->max = streams_max;
	TAILQ_INIT(&ev->listeners);
	ev->look = timer_new(loop, on_look, ev);
	ev->beat = timer_new(loop, on_beat, ev);
	ev->sql = stmt_in_schema("SELECT e.event, e.queue, e.type, e.state, e.tenant, "
	    "e.job, e.data FROM (SELECT jobq.events_listen() OFFSET 0) l, "
	    "LATERAL jobq.events_since($1, $2) e", conf->database.schema);
	ev->listen = stmt_listen(conf->database.schema);
	return ev;
}

/*
 * Looking
 */

static void
forget(struct events *ev)
{
	free(ev->cursor);
	ev->cursor = NULL;
}

static void
stop_looking(struct events *ev)
{
	struct pg *pg = ev->pg;

	ev->pg = NULL;
	pg_free(pg);
	ring_free(ev->ring);
	ev->ring = NULL;
	forget(ev);
	ev->asking = false;
	ev->looked = 0;
	timer_stop(ev->look);
	timer_stop(ev->beat);
}

void
events_free(struct events *ev)
{
	if (ev == NULL)
		return;
	stop_looking(ev);
	timer_free(ev->look);
	timer_free(ev->beat);
	free(ev->sql);
	free(ev->listen);
	free(ev);
}

static void
start_looking(struct events *ev)
{
	static const struct pg_ops ops = { on_up, on_down, on_notify };
	const char *const setup[] = { ev->listen, NULL };
	char name[RING_NAME_MAX];
	struct timespec now;

	if (ev->pg != NULL)
		return;
	/* So that an id of before, or of another node, is not one of this. */
	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(name, sizeof(name), "%llx%06lx%x", (unsigned long long)now.tv_sec,
	    (unsigned long)now.tv_nsec / 1000, (unsigned)getpid());
	ev->ring = ring_new(name, RING_EVENTS, RING_BYTES);
	ev->pg = pg_new(ev->loop, ev->conf->database.url, "jobqd events",
	    ev->conf->database.pooler_transaction, setup, &ops, ev);
	timer_set(ev->beat, HEARTBEAT);
}

static void
on_up(struct pg *pg, void *arg)
{
	struct events *ev = arg;

	(void)pg;
	if (ev->looked != 0 && mono_now() - ev->looked > GAP)
		forget(ev);
	timer_set(ev->look, 0);
}

static void
on_down(struct pg *pg, const char *reason, bool fatal, void *arg)
{
	struct events *ev = arg;

	(void)pg;
	(void)fatal;
	log_debug("no database for events", "reason=%s", reason);
	if (!timer_pending(ev->look))	/* it is called again with each try */
		timer_set(ev->look, AGAIN);
}

/* The next look, at least so long from now, when the last one was so long ago. */
static void
look_again(struct events *ev, mono_t ago, mono_t least)
{
	mono_t apart = ev->notified ? LOOK_APART : LOOK_EVERY;

	if (apart < ev->took * LOOK_SHARE)
		apart = ev->took * LOOK_SHARE;
	timer_set(ev->look, apart - ago > least ? apart - ago : least);
}

/* Something is ready, cancelled or paused, of which leaders are to hear. */
static void
on_notify(struct pg *pg, const char *channel, const char *payload, void *arg)
{
	struct events *ev = arg;

	(void)pg;
	(void)channel;
	(void)payload;
	if (ev->notified || ev->cursor == NULL)
		return;
	ev->notified = true;
	if (!ev->asking)
		look_again(ev, mono_now() - ev->asked, LOOK_SOON);
}

/* Of those who wait for the first look, whoever has done so for too long. */
static void
give_up_waiting(struct events *ev)
{
	struct listener *l, *next;

	TAILQ_FOREACH_SAFE(l, &ev->listeners, link, next)
		if (!l->begun && mono_now() - l->since > BEGIN_WITHIN)
			listener_end(l);
}

static void
on_look(void *arg)
{
	struct events *ev = arg;
	const char *params[] = { ev->cursor, LOOK_MOST };
	struct err e;

	if (ev->count > 0) {
		ev->listened = mono_now();
	} else if (mono_now() - ev->listened > LINGER) {
		stop_looking(ev);
		return;
	}
	give_up_waiting(ev);
	if (ev->asking)
		return;
	ev->notified = false;
	ev->asked = mono_now();
	if (pg_is_up(ev->pg) && pg_query_within(ev->pg, LOOK_WITHIN, ev->sql, 2,
	    params, on_looked, ev, &e) == 0)
		ev->asking = true;
	else
		timer_set(ev->look, AGAIN);
}

static void
add_skipped(struct events *ev)
{
	ring_add(ev->ring, &(struct ring_event){ RING_SKIPPED, .data = "{}" });
}

static void
add_row(struct events *ev, const PGresult *res, int row)
{
	struct ring_event e = {
		.queue = pg_text(res, row, 1), .type = pg_text(res, row, 2),
		.state = pg_text(res, row, 3), .tenant = pg_text(res, row, 4),
		.job = pg_int(res, row, 5), .data = pg_text(res, row, 6),
	};
	const char *event = pg_text(res, row, 0);

	if (strcmp(event, "cursor") == 0) {
		forget(ev);
		ev->cursor = xstrdup(e.data);
		return;
	}
	e.kind = ring_kind(event);
	if (e.kind != RING_KINDS)
		ring_add(ev->ring, &e);
}

static void
on_looked(struct pg *pg, PGresult *res, void *arg)
{
	struct events *ev = arg;
	struct listener *l, *next;
	struct err e;

	(void)pg;
	ev->asking = false;
	ev->took = mono_now() - ev->asked;
	if (ev->pg == NULL || res == NULL)
		return;
	if (PQresultStatus(res) != PGRES_TUPLES_OK) {
		pg_error(res, &e);
		if (!ev->failing)
			log_warn("cannot look for events", "reason=%s", e.msg);
		ev->failing = true;
		forget(ev);
		timer_set(ev->look, AGAIN);
		return;
	}
	ev->failing = false;
	if (ev->cursor == NULL && ev->looked != 0)
		add_skipped(ev);
	ev->looked = mono_now();
	for (int i = 0; i < PQntuples(res); i++)
		add_row(ev, res, i);
	TAILQ_FOREACH_SAFE(l, &ev->listeners, link, next) {
		if (!l->begun)
			listener_begin(l);
		else
			listener_feed(l);
	}
	look_again(ev, ev->took, 0);
}

/*
 * Listeners
 */

/* Its exchange is somebody else's from now on. */
static void
listener_free(struct listener *l)
{
	struct events *ev = l->events;

	TAILQ_REMOVE(&ev->listeners, l, link);
	ev->count--;
	ev->listened = mono_now();
	free(l);
}

static void
listener_end(struct listener *l)
{
	struct exchange *x = l->x;

	if (!l->begun) {
		exchange_problem(x, 503, "the database is away, or jobqd stops");
		buf_str(&x->headers, "Retry-After: 5\r\n");
	}
	listener_free(l);
	exchange_done(x);
}

static void
on_gone(struct exchange *x, void *arg)
{
	(void)x;
	listener_end(arg);
}

static void
on_taken(struct exchange *x, void *arg)
{
	struct listener *l = arg;

	(void)x;
	l->busy = false;
	listener_feed(l);
}

static void
listener_send(struct listener *l, struct buf *text)
{
	l->busy = true;
	exchange_send(l->x, text->data, text->len);
}

/* From the event on that it has heard last; else from now. */
static void
listener_begin(struct listener *l)
{
	const struct ring *r = l->events->ring;
	const char *last = http_field(&l->x->request, "last-event-id");
	struct buf text = { 0 };

	if (last == NULL)
		last = route_value(l->x, "last_event_id");
	l->begun = true;
	l->place = ring_next(r);
	l->x->status = 200;
	l->x->type = "text/event-stream";
	buf_str(&l->x->headers, "X-Accel-Buffering: no\r\n");
	exchange_stream(l->x, on_taken);
	buf_str(&text, "retry: 2000\n");
	if (last != NULL && *last != '\0' && !ring_find(r, last, &l->place))
		buf_str(&text, "event: reset\ndata: {}\n");
	ring_put_id(r, l->place, &text);
	buf_str(&text, "\n");
	listener_send(l, &text);
	buf_clear(&text);
}

static void
listener_feed(struct listener *l)
{
	struct buf text = { 0 };

	if (l->busy)
		return;
	if (ring_read(l->events->ring, &l->place, &l->filter, PIECE, &text) < 0) {
		log_info("a listener is too slow", "from=%s", l->x->from);
		listener_end(l);
	} else if (text.len > 0) {
		listener_send(l, &text);
	}
	buf_clear(&text);
}

/* A sign of life, which also says up to where there was nothing for it. */
static void
on_beat(void *arg)
{
	struct events *ev = arg;
	struct listener *l, *next;
	struct buf text = { 0 };

	TAILQ_FOREACH_SAFE(l, &ev->listeners, link, next) {
		if (l->begun && mono_now() - l->since > STREAM_FOR) {
			listener_end(l);
		} else if (l->begun && !l->busy) {
			buf_reset(&text);
			buf_str(&text, ":\n");
			ring_put_id(ev->ring, l->place, &text);
			buf_str(&text, "\n");
			listener_send(l, &text);
		}
	}
	buf_clear(&text);
	timer_set(ev->beat, HEARTBEAT);
}

static bool
are_states(const char *list)
{
	static const char *const states[] = { "scheduled", "blocked", "ready",
		"running", "retrying", "completed", "dead", "cancelled", "deleted" };
	size_t len, i;

	for (; list != NULL; list = list[len] == ',' ? list + len + 1 : NULL) {
		len = strcspn(list, ",");
		for (i = 0; i < sizeof(states) / sizeof(*states); i++)
			if (strlen(states[i]) == len && memcmp(states[i], list, len) == 0)
				break;
		if (i == sizeof(states) / sizeof(*states))
			return false;
	}
	return true;
}

static bool
read_filter(struct exchange *x, struct ring_filter *f)
{
	const char *events = route_value(x, "events");
	const char *job = route_value(x, "job");

	f->kinds = ring_kinds(events);
	if (f->kinds == 0) {
		exchange_problem_of(x, 422, "events",
		    "events is a list of job, queue, alert and schedule");
		return false;
	}
	if (!are_states(route_value(x, "state"))) {
		exchange_problem_of(x, 422, "state", "state is a list of scheduled, "
		    "blocked, ready, running, retrying, completed, dead, cancelled "
		    "and deleted");
		return false;
	}
	f->queue = route_value(x, "queue");
	f->type = route_value(x, "type");
	f->state = route_value(x, "state");
	f->job = job != NULL ? strtoll(job, NULL, 10) : 0;
	f->tenant = x->caller.tenant;
	return true;
}

void
events_stream(struct events *ev, struct exchange *x)
{
	struct listener *l;
	struct ring_filter filter;

	if (!read_filter(x, &filter)) {
		exchange_done(x);
		return;
	}
	if (strcmp(x->request.method, "HEAD") == 0) {
		x->status = 200;
		x->type = "text/event-stream";
		exchange_done(x);
		return;
	}
	if (ev->count >= ev->max) {
		exchange_problem(x, 503, "%zu clients listen, which is as many as may", ev->max);
		buf_str(&x->headers, "Retry-After: 30\r\n");
		exchange_done(x);
		return;
	}
	l = xcalloc(1, sizeof(*l));
	l->events = ev;
	l->x = x;
	l->filter = filter;
	l->since = mono_now();
	TAILQ_INSERT_TAIL(&ev->listeners, l, link);
	ev->count++;
	exchange_watch(x, on_gone, l);
	start_looking(ev);
	if (ev->cursor != NULL)
		listener_begin(l);
	else if (!timer_pending(ev->look) && !ev->asking)
		timer_set(ev->look, AGAIN);
}
