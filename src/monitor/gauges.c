/*
 * Gauges and waits: see gauges.h.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "db/array.h"
#include "db/stmt.h"
#include "monitor/gauges.h"
#include "os/board.h"

/* A backlog of millions takes seconds to be counted: no more of the time than
 * one part in so many is spent on it. */
#define SPARING 20

struct watched {
	const char *name;
	struct board_queue *board;
};

struct gauges {
	const struct conf *conf;
	struct pg *pg;
	char *gauges_sql, *waits_sql;
	struct watched *queues;
	size_t nqueues;
	unsigned busy;		/* statements not answered yet */
	mono_t asked, not_before;	/* of the gauges */
	bool full;		/* said once until it fits again */
};

/* As jobq.gauges() calls them. */
static const char *const names[GAUGE_KINDS] = {
	[GAUGE_JOBS] = "jobs", [GAUGE_OLDEST_READY] = "oldest_ready",
	[GAUGE_DEAD_LETTERS] = "dead_letters", [GAUGE_QUEUE_PAUSED] = "paused",
	[GAUGE_QUEUE_SERVED] = "served", [GAUGE_SCHEDULE_LATE] = "schedule_late",
	[GAUGE_SCHEDULE_MISSED] = "schedule_missed",
	[GAUGE_SCHEDULE_NEXT] = "schedule_next",
	[GAUGE_ALERT_FIRING] = "alert_firing",
	[GAUGE_OLDEST_SNAPSHOT] = "oldest_snapshot",
};

static void gauges_answered(struct pg *, PGresult *, void *arg);
static void waits_answered(struct pg *, PGresult *, void *arg);

struct gauges *
gauges_new(const struct conf *conf, struct pg *pg)
{
	struct gauges *g;

	if (strcmp(conf->api.listen, "off") == 0)
		return NULL;
	g = xcalloc(1, sizeof(*g));
	g->conf = conf;
	g->pg = pg;
	g->gauges_sql = stmt_in_schema("SELECT metric, a, b, value "
	    "FROM jobq.gauges()", conf->database.schema);
	g->waits_sql = stmt_in_schema("SELECT queue, batch, wait_us, jobs "
	    "FROM jobq.waits($1, $2::text[], $3::bigint[])",
	    conf->database.schema);
	g->queues = xcalloc(conf->nqueues + 1, sizeof(*g->queues));
	for (size_t i = 0; i < conf->nqueues; i++)
		if (conf->queues[i].enabled)
			g->queues[g->nqueues++] = (struct watched){
				conf->queues[i].name,
				board_queue(conf->queues[i].name),
			};
	return g;
}

void
gauges_free(struct gauges *g)
{
	if (g == NULL)
		return;
	free(g->gauges_sql);
	free(g->waits_sql);
	free(g->queues);
	free(g);
}

static void
ask_waits(struct gauges *g)
{
	struct array queues = { 0 }, batches = { 0 };

	for (size_t i = 0; i < g->nqueues; i++) {
		array_text(&queues, g->queues[i].name);
		array_int(&batches,
		    atomic_load(&g->queues[i].board->claims) - 1);
	}
	const char *params[] = { g->conf->daemon.node, array_close(&queues),
	    array_close(&batches) };
	if (pg_query(g->pg, g->waits_sql, 3, params, waits_answered, g, NULL) == 0)
		g->busy++;
	array_clear(&queues);
	array_clear(&batches);
}

void
gauges_read(struct gauges *g)
{
	if (g == NULL || g->busy > 0)
		return;
	if (mono_now() >= g->not_before && pg_query(g->pg, g->gauges_sql, 0,
	    NULL, gauges_answered, g, NULL) == 0) {
		g->asked = mono_now();
		g->busy++;
	}
	ask_waits(g);
}

static void
publish(struct gauges *g, const struct buf *b)
{
	struct err e;

	if (board_publish(BOARD_GAUGES, b->data, b->len, &e) == 0) {
		g->full = false;
	} else if (!g->full) {
		log_warn("too much for the metrics", "reason=%s", e.msg);
		g->full = true;
	}
}

void
gauges_down(struct gauges *g)
{
	struct buf b = { 0 };

	if (g == NULL)
		return;
	g->not_before = 0;
	board_gauge(&b, GAUGE_DATABASE_UP, NULL, NULL, 0);
	publish(g, &b);
	buf_clear(&b);
}

static void
gauges_answered(struct pg *pg, PGresult *res, void *arg)
{
	struct gauges *g = arg;
	struct buf b = { 0 };

	(void)pg;
	g->busy--;
	if (!pg_ok(res, "gauges"))
		return;
	g->not_before = mono_now() + SPARING * (mono_now() - g->asked);
	board_gauge(&b, GAUGE_DATABASE_UP, NULL, NULL, 1);
	for (int i = 0; i < PQntuples(res); i++)
		for (int kind = 0; kind < GAUGE_KINDS; kind++)
			if (names[kind] != NULL && !PQgetisnull(res, i, 3) &&
			    strcmp(names[kind], pg_text(res, i, 0)) == 0)
				board_gauge(&b, (enum board_gauge_kind)kind,
				    pg_text(res, i, 1), pg_text(res, i, 2),
				    strtod(pg_text(res, i, 3), NULL));
	publish(g, &b);
	buf_clear(&b);
}

/* A row without a wait only tells how far a queue's claims go. */
static void
waits_answered(struct pg *pg, PGresult *res, void *arg)
{
	struct gauges *g = arg;

	(void)pg;
	g->busy--;
	if (!pg_ok(res, "waits"))
		return;
	for (int i = 0; i < PQntuples(res); i++)
		for (size_t k = 0; k < g->nqueues; k++) {
			struct watched *w = &g->queues[k];

			if (strcmp(w->name, pg_text(res, i, 0)) != 0)
				continue;
			atomic_store(&w->board->claims, pg_int(res, i, 1) + 1);
			if (!PQgetisnull(res, i, 2))
				board_waited(w->board, pg_int(res, i, 2),
				    (uint64_t)pg_int(res, i, 3));
		}
}
