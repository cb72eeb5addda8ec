/*
 * Statements of exchanges: see ask.h. Each connection has one at a time, so a
 * slow one holds up nobody while another connection is free.
 */
#include "config.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "api/ask.h"
#include "api/route.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "db/stmt.h"

#define LINKS_MAX 4
#define STATEMENT_MS 20000		/* then the server gives it up */
#define WAIT (10 * MONO_SECOND)		/* for a connection that is free */
#define IDLE (60 * MONO_SECOND)		/* then a connection is closed */
#define AGAIN (500 * MONO_MS)		/* between looks for a server that is away */
#define RETRY_AFTER "Retry-After: 2\r\n"

struct question {
	TAILQ_ENTRY(question) link;
	struct exchange *x;
	const char *sql;
	char **params;
	int nparams;
	ask_fn *answer;
	void *arg;
	mono_t asked;
};
TAILQ_HEAD(questions, question);

struct link {
	struct asker *asker;
	struct pg *pg;			/* NULL: there is no connection */
	struct question *question;	/* the one that is asked; NULL: idle */
	mono_t used;
};

struct asker {
	struct loop *loop;
	const struct conf *conf;
	struct link links[LINKS_MAX];
	struct questions waiting;
	struct timer *timer;		/* for what has waited, or idled, too long */
	mono_t away_since;		/* the last time a connection was refused; 0: never */
	bool away;			/* the log knows */
	bool closing;
};

static void on_time(void *);
static void on_up(struct pg *, void *);
static void on_down(struct pg *, const char *, bool, void *);
static void go_on(struct asker *);

struct asker *
asker_new(struct loop *loop, const struct conf *conf)
{
	struct asker *a = xcalloc(1, sizeof(*a));

	a->loop = loop;
	a->conf = conf;
	TAILQ_INIT(&a->waiting);
	a->timer = timer_new(loop, on_time, a);
	for (size_t i = 0; i < LINKS_MAX; i++)
		a->links[i].asker = a;
	return a;
}

/*
 * The end of a question
 */

static void
question_free(struct question *q)
{
	for (int i = 0; i < q->nparams; i++)
		free(q->params[i]);
	free(q->params);
	free(q);
}

static void
unavailable(struct exchange *x, const char *why)
{
	exchange_problem(x, 503, "%s", why);
	buf_str(&x->headers, RETRY_AFTER);
	exchange_done(x);
}

/* Where the name stands in the text as a word, or as words: "unique key". */
static const char *
find_word(const char *text, const char *name)
{
	size_t len = strlen(name), i;

	for (const char *p = text; *p != '\0'; p++) {
		for (i = 0; i < len && (p[i] == name[i] ||
		    (p[i] == ' ' && name[i] == '_')); i++)
			;
		if (i == len && !isalnum((unsigned char)p[len]) && p[len] != '_' &&
		    (p == text || p[-1] == ' '))
			return p;
	}
	return NULL;
}

/* The parameter that an error is about: the column it names, else the first of
 * those that its text has. */
static const char *
field_of(const struct exchange *x, const PGresult *res, const char *text)
{
	const char *column = PQresultErrorField(res, PG_DIAG_COLUMN_NAME);
	const char *field = "", *first = NULL, *at;

	if (column != NULL && *column != '\0')
		return column;
	for (size_t i = 0; i < route_params(x->route); i++) {
		const struct param *p = &x->route->params[i];

		at = find_word(text, p->name);
		if (at == NULL || (first != NULL && at >= first))
			continue;
		first = at;
		field = p->name;
	}
	return field;
}

static int
status_of(const char *state)
{
	static const struct { const char *state; int status; } known[] = {
		{ "P0002", 404 }, { "23505", 409 }, { "42501", 403 }, { "54000", 413 },
		{ "57014", 503 }, { "23514", 422 }, { "55P03", 503 },
		/* The schema is not there yet, or is another version's. */
		{ "3F000", 503 }, { "42P01", 503 }, { "42883", 503 },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strcmp(known[i].state, state) == 0)
			return known[i].status;
	if (strncmp(state, "22", 2) == 0)
		return 422;
	if (strncmp(state, "55", 2) == 0)
		return 409;
	/* Of the server's state, and not of the statement. */
	return strncmp(state, "57P", 3) == 0 || strncmp(state, "53", 2) == 0 ||
	    strncmp(state, "40", 2) == 0 || strncmp(state, "25006", 5) == 0 ? 503 : 500;
}

/* What the server says to whoever has to change something is for the client;
 * what it says of itself is for the log. */
static void
refused(struct exchange *x, const PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);
	int status = status_of(state ? state : "");
	struct err e;
	char *text;

	pg_error(res, &e);
	if (status == 500 || message == NULL) {
		log_error("request failed", "method=%s path=%s reason=%s",
		    x->request.method, x->request.path, e.msg);
		exchange_problem(x, 500, "this failed here; the log says why");
		exchange_done(x);
	} else if (status == 503) {
		log_warn("request given up", "method=%s path=%s reason=%s",
		    x->request.method, x->request.path, e.msg);
		unavailable(x, state != NULL && strcmp(state, "57014") == 0 ?
		    "the database took too long" : "the database cannot do this now");
	} else {
		if (hint == NULL || *hint == '\0')
			text = xstrdup(message);
		else
			text = xasprintf("%s. %s", message, hint);
		exchange_problem_of(x, status, field_of(x, res, message), text);
		free(text);
		exchange_done(x);
	}
}

static void
settle(struct question *q, const PGresult *res)
{
	if (res == NULL)
		unavailable(q->x, "the connection to the database was lost; "
		    "whether this was done is not known");
	else if (PQresultStatus(res) != PGRES_TUPLES_OK)
		refused(q->x, res);
	else
		q->answer(q->x, res, q->arg);
	question_free(q);
}

static void
give_up(struct asker *a, struct question *q, const char *why)
{
	TAILQ_REMOVE(&a->waiting, q, link);
	unavailable(q->x, why);
	question_free(q);
}

/*
 * Connections
 */

static void
open_link(struct link *l)
{
	static const struct pg_ops ops = { on_up, on_down, NULL };
	const struct conf *conf = l->asker->conf;

	l->used = mono_now();
	l->pg = pg_new(l->asker->loop, conf->database.url, "jobqd api",
	    conf->database.pooler_transaction, NULL, &ops, l);
}

static void
close_link(struct link *l)
{
	struct pg *pg = l->pg;

	l->pg = NULL;
	pg_free(pg);
}

void
asker_free(struct asker *a)
{
	if (a == NULL)
		return;
	a->closing = true;
	for (size_t i = 0; i < LINKS_MAX; i++)
		close_link(&a->links[i]);
	while (!TAILQ_EMPTY(&a->waiting))
		give_up(a, TAILQ_FIRST(&a->waiting), "this jobqd is stopping");
	timer_free(a->timer);
	free(a);
}

static void
on_up(struct pg *pg, void *arg)
{
	struct link *l = arg;

	(void)pg;
	if (l->asker->away)
		log_info("database is back", "");
	l->asker->away = false;
	l->asker->away_since = 0;
	go_on(l->asker);
}

/* It would try again by itself; whether anybody still wants it is for the next
 * request to say. */
static void
on_down(struct pg *pg, const char *reason, bool fatal, void *arg)
{
	struct link *l = arg;
	struct asker *a = l->asker;

	(void)pg;
	(void)fatal;
	if (!a->away)
		log_warn("database is away", "reason=%s", reason);
	a->away = true;
	a->away_since = mono_now();
	close_link(l);
	go_on(a);
}

/* Is there a connection, or may there be one soon? */
static bool
is_hopeful(const struct asker *a)
{
	for (size_t i = 0; i < LINKS_MAX; i++)
		if (a->links[i].pg != NULL)
			return true;
	return a->away_since == 0 || mono_now() - a->away_since >= AGAIN;
}

/*
 * Questions
 */

static void
on_answer(struct pg *pg, PGresult *res, void *arg)
{
	struct link *l = arg;
	struct question *q = l->question;

	(void)pg;
	l->question = NULL;
	l->used = mono_now();
	settle(q, res);
	/* Of one that was lost on_down() tells. */
	if (res != NULL && !l->asker->closing)
		go_on(l->asker);
}

static void
send_question(struct link *l, struct question *q)
{
	const struct exchange *x = q->x;
	char limit[16];
	const struct pg_setting settings[] = {
		{ "statement_timeout", limit },
		{ "timezone", "UTC" },
		{ "jobq.actor", x->caller.name ? x->caller.name : "" },
		{ "jobq.from", x->from },
		{ "jobq.tenant", x->caller.tenant ? x->caller.tenant : "" },
	};
	char *sql = stmt_in_schema(q->sql, l->asker->conf->database.schema);
	struct err e;

	snprintf(limit, sizeof(limit), "%d", STATEMENT_MS);
	l->question = q;
	if (pg_query_as(l->pg, settings, sizeof(settings) / sizeof(*settings), sql,
	    q->nparams, (const char *const *)q->params, on_answer, l, &e) < 0) {
		l->question = NULL;
		unavailable(q->x, "the connection to the database was lost");
		question_free(q);
	}
	free(sql);
}

/* A connection that is up and idle; else one is being made, if there may be
 * one more, and one is enough for now. */
static struct link *
free_link(struct asker *a)
{
	struct link *unused = NULL;
	bool coming = false;

	for (size_t i = 0; i < LINKS_MAX; i++) {
		struct link *l = &a->links[i];

		if (l->pg == NULL)
			unused = unused ? unused : l;
		else if (!pg_is_up(l->pg))
			coming = true;
		else if (l->question == NULL)
			return l;
	}
	if (unused != NULL && !coming)
		open_link(unused);
	return NULL;
}

static void
go_on(struct asker *a)
{
	struct question *q;
	struct link *l;

	while (!a->closing && (q = TAILQ_FIRST(&a->waiting)) != NULL) {
		/* Whoever asks and leaves must not make the others wait. */
		if (q->x->connection == NULL || !is_hopeful(a)) {
			give_up(a, q, "the database is away");
			continue;
		}
		if ((l = free_link(a)) == NULL)
			break;
		TAILQ_REMOVE(&a->waiting, q, link);
		send_question(l, q);
	}
	if (!a->closing && !timer_pending(a->timer))
		timer_set(a->timer, MONO_SECOND);
}

static void
on_time(void *arg)
{
	struct asker *a = arg;
	mono_t now = mono_now();
	struct question *q;
	bool any = false;

	while ((q = TAILQ_FIRST(&a->waiting)) != NULL && now - q->asked > WAIT)
		give_up(a, q, "the database has been busy for too long");
	for (size_t i = 0; i < LINKS_MAX; i++) {
		struct link *l = &a->links[i];

		if (l->pg != NULL && l->question == NULL && now - l->used > IDLE)
			close_link(l);
		any |= l->pg != NULL;
	}
	if (any || !TAILQ_EMPTY(&a->waiting))
		timer_set(a->timer, MONO_SECOND);
}

void
ask(struct exchange *x, const char *sql, int nparams,
    const char *const *params, ask_fn *answer, void *arg)
{
	struct asker *a = x->asker;
	struct question *q = xcalloc(1, sizeof(*q));

	q->x = x;
	q->sql = sql;
	q->nparams = nparams;
	q->params = xcalloc((size_t)nparams + 1, sizeof(*q->params));
	for (int i = 0; i < nparams; i++)
		q->params[i] = xstrdup(params[i]);
	q->answer = answer;
	q->arg = arg;
	q->asked = mono_now();
	TAILQ_INSERT_TAIL(&a->waiting, q, link);
	go_on(a);
}

struct loop *
ask_loop(const struct exchange *x)
{
	return x->asker->loop;
}

const struct conf *
ask_conf(const struct exchange *x)
{
	return x->asker->conf;
}
