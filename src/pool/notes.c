/*
 * What running jobs say meanwhile, on its way to the database: progress, of
 * which only the last word of a job counts, and output, of which every piece
 * does. Kept while the database is away, up to a limit.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/utf8.h"
#include "base/xalloc.h"
#include "db/array.h"
#include "db/stmt.h"
#include "pool/leader.h"

#define KEPT_MAX (32u << 20)	/* bytes waiting; more is dropped */
#define NOTE_COST 256		/* of one, text aside */
#define PROGRESS_BATCH 500

struct note {
	TAILQ_ENTRY(note) link;
	struct notes *notes;
	int64_t job;
	int attempt;
	int pct;		/* -1: the note alone */
	char *text;
};
TAILQ_HEAD(note_list, note);

struct notes {
	struct pool *pool;
	struct note_list progress, output, sent;
	size_t bytes;		/* of all */
	size_t dropped;
	bool on_wire;		/* a progress statement */
	char *sql_progress, *sql_output;
	struct array jobs, attempts, pcts, texts;
};

void
notes_init(struct pool *pool)
{
	struct notes *n = xcalloc(1, sizeof(*n));

	n->pool = pool;
	TAILQ_INIT(&n->progress);
	TAILQ_INIT(&n->output);
	TAILQ_INIT(&n->sent);
	n->sql_progress = stmt_in_schema(
	    "select jobq.progress_set($1, $2, $3, $4)",
	    pool->conf->database.schema);
	n->sql_output = stmt_in_schema("select jobq.output_add($1, $2, $3)",
	    pool->conf->database.schema);
	pool->notes = n;
}

static size_t
cost(const struct note *note)
{
	return NOTE_COST + (note->text ? strlen(note->text) : 0);
}

static void
forget(struct note_list *list, struct note *note)
{
	TAILQ_REMOVE(list, note, link);
	note->notes->bytes -= cost(note);
	free(note->text);
	free(note);
}

void
notes_clear(struct pool *pool)
{
	struct notes *n = pool->notes;
	struct note_list *lists[] = { &n->progress, &n->output, &n->sent };

	for (size_t i = 0; i < 3; i++)
		while (!TAILQ_EMPTY(lists[i]))
			forget(lists[i], TAILQ_FIRST(lists[i]));
	array_clear(&n->jobs);
	array_clear(&n->attempts);
	array_clear(&n->pcts);
	array_clear(&n->texts);
	free(n->sql_progress);
	free(n->sql_output);
	free(n);
}

bool
notes_empty(const struct pool *pool)
{
	return TAILQ_EMPTY(&pool->notes->progress) &&
	    TAILQ_EMPTY(&pool->notes->output) &&
	    TAILQ_EMPTY(&pool->notes->sent);
}

/* Takes text. */
static void
add(struct notes *n, struct note_list *list, const struct lease *l, int pct,
    char *text)
{
	struct note *note = xcalloc(1, sizeof(*note));

	if (text != NULL)
		utf8_clean(text, strlen(text));
	note->notes = n;
	note->job = l->job.id;
	note->attempt = l->job.attempt;
	note->pct = pct;
	note->text = text;
	if (n->bytes + cost(note) > KEPT_MAX) {
		if (n->dropped++ == 0)
			log_warn("progress and output are dropped", "reason=%s",
			    "the database does not take them");
		free(note->text);
		free(note);
		return;
	}
	n->bytes += cost(note);
	TAILQ_INSERT_TAIL(list, note, link);
}

void
notes_progress(struct pool *pool, const struct lease *l, int pct, char *text)
{
	struct notes *n = pool->notes;
	struct note *note, *next;

	if (text != NULL && strlen(text) > NOTE_MAX)
		text[NOTE_MAX] = '\0';
	TAILQ_FOREACH_SAFE(note, &n->progress, link, next)
		if (note->job == l->job.id && note->attempt == l->job.attempt) {
			/* The note alone leaves the number as it was. */
			if (pct < 0)
				pct = note->pct;
			forget(&n->progress, note);
		}
	add(n, &n->progress, l, pct, text);
}

void
notes_output(struct pool *pool, const struct lease *l, char *text)
{
	add(pool->notes, &pool->notes->output, l, -1, text);
}

static void
on_progress(struct pg *pg, PGresult *res, void *arg)
{
	struct notes *n = arg;
	struct err e;

	(void)pg;
	n->on_wire = false;
	if (res != NULL && PQresultStatus(res) == PGRES_FATAL_ERROR) {
		pg_error(res, &e);
		log_warn("progress not kept", "reason=%s", e.msg);
	}
	pool_wants_turn(n->pool);
}

/* Should its answer be lost, so may the progress be: more will come. */
static void
send_progress(struct notes *n)
{
	const char *params[4];
	struct note *note;

	array_reset(&n->jobs);
	array_reset(&n->attempts);
	array_reset(&n->pcts);
	array_reset(&n->texts);
	while ((note = TAILQ_FIRST(&n->progress)) != NULL &&
	    n->jobs.count < PROGRESS_BATCH) {
		array_int(&n->jobs, note->job);
		array_int(&n->attempts, note->attempt);
		if (note->pct >= 0)
			array_int(&n->pcts, note->pct);
		else
			array_null(&n->pcts);
		array_text(&n->texts, note->text);
		forget(&n->progress, note);
	}
	params[0] = array_close(&n->jobs);
	params[1] = array_close(&n->attempts);
	params[2] = array_close(&n->pcts);
	params[3] = array_close(&n->texts);
	if (pg_query(n->pool->pg, n->sql_progress, 4, params, on_progress, n,
	    NULL) == 0)
		n->on_wire = true;
}

static void
on_output(struct pg *pg, PGresult *res, void *arg)
{
	struct note *note = arg;
	struct notes *n = note->notes;
	struct err e;

	(void)pg;
	if (res == NULL) {
		/* What was kept twice is seen twice; what was not is gone. */
		TAILQ_REMOVE(&n->sent, note, link);
		TAILQ_INSERT_TAIL(&n->output, note, link);
		return;
	}
	if (PQresultStatus(res) == PGRES_FATAL_ERROR) {
		pg_error(res, &e);
		log_warn("output not kept", "id=%lld reason=%s",
		    (long long)note->job, e.msg);
	}
	forget(&n->sent, note);
	if (n->dropped > 0) {
		log_warn("progress and output were dropped", "count=%zu",
		    n->dropped);
		n->dropped = 0;
	}
	pool_wants_turn(n->pool);
}

static void
send_output(struct notes *n, struct note *note)
{
	char job[24], attempt[16];
	const char *params[3] = { job, attempt, note->text };

	snprintf(job, sizeof(job), "%" PRId64, note->job);
	snprintf(attempt, sizeof(attempt), "%d", note->attempt);
	TAILQ_REMOVE(&n->output, note, link);
	TAILQ_INSERT_TAIL(&n->sent, note, link);
	if (pg_query(n->pool->pg, n->sql_output, 3, params, on_output, note,
	    NULL) < 0) {
		TAILQ_REMOVE(&n->sent, note, link);
		TAILQ_INSERT_HEAD(&n->output, note, link);
	}
}

/*
 * Before the ends of the same turn, so that nothing is said of a job after
 * its end.
 */
void
notes_run(struct pool *pool)
{
	struct notes *n = pool->notes;

	if (!pg_is_up(pool->pg) || !pool->checked)
		return;
	while (pg_is_up(pool->pg) && !TAILQ_EMPTY(&n->output))
		send_output(n, TAILQ_FIRST(&n->output));
	if (!TAILQ_EMPTY(&n->progress) && (!n->on_wire ||
	    flush_unsaved(pool) > 0))
		send_progress(n);
}
