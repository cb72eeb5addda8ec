/*
 * The one-shot child that makes the database ready: see setup.h.
 */
#include "config.h"

#include "db/setup.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mono.h"
#include "db/migrate.h"
#include "db/pg.h"
#include "db/pgsync.h"
#include "db/stmt.h"

#define WAIT_MIN (100 * MONO_MS)
#define WAIT_MAX (5 * MONO_SECOND)
/* While something is waited for: a line when it begins, then one so often. */
#define SAY_EVERY (60 * MONO_SECOND)

static PGconn *connect_patiently(const struct conf *, struct err *);
static bool say_again(mono_t *said);
static int prepare(PGconn *, const struct conf *, struct err *);
static bool has_tenants(const struct conf *);
static int reseat(PGconn *, const char *schema, struct err *);

int
setup_main(const struct conf *conf)
{
	struct err e = { .code = ERR_NONE };
	mono_t said = 0;

	log_process("setup");
	for (;;) {
		PGconn *db = connect_patiently(conf, &e);
		int status;

		if (db == NULL) {
			log_error("cannot use the database", "reason=%s", e.msg);
			return 2;
		}
		e = (struct err){ .code = ERR_NONE };
		status = prepare(db, conf, &e);
		PQfinish(db);
		if (status == 0)
			return 0;
		if (e.code == ERR_DOWN) {
			log_warn("lost the database, trying again",
			    "reason=%s", e.msg);
			mono_sleep(WAIT_MIN);
			continue;
		}
		if (e.code == ERR_BUSY) {
			if (say_again(&said))
				log_warn("waiting for a transaction that has "
				    "locked what has changed", "reason=%s", e.msg);
			mono_sleep(WAIT_MIN);
			continue;
		}
		log_error("cannot prepare the database", "reason=%s", e.msg);
		return e.code == ERR_CONFIG ? 2 : 1;
	}
}

/* NULL: it will not do until somebody changes something. */
static PGconn *
connect_patiently(const struct conf *conf, struct err *e)
{
	mono_t said = 0, wait = WAIT_MIN;

	for (;;) {
		PGconn *db = pgsync_open(conf->database.url, "jobqd setup",
		    PGSYNC_CONNECT_MS, e);

		if (db != NULL || e->code == ERR_CONFIG)
			return db;
		if (say_again(&said))
			log_warn("waiting for the database", "reason=%s", e->msg);
		/* Jittered, for the nodes that all lost it at once. */
		mono_sleep(wait / 2 + arc4random_uniform((uint32_t)wait));
		wait = wait * 2 < WAIT_MAX ? wait * 2 : WAIT_MAX;
	}
}

/* Is it time for a line? said: when there was one, 0: never. */
static bool
say_again(mono_t *said)
{
	if (*said != 0 && mono_now() - *said <= SAY_EVERY)
		return false;
	*said = mono_now();
	return true;
}

static int
prepare(PGconn *db, const struct conf *conf, struct err *e)
{
	const char *schema = conf->database.schema;

	if (conf->database.migrate_auto ? migrate_run(db, schema, e) < 0 :
	    migrate_check(db, schema, e) < 0)
		return -1;
	if (pgsync_settle(db, conf->database.pooler_transaction, e) < 0)
		return -1;
	if (has_tenants(conf) && migrate_check_fence(db, schema, e) < 0)
		return -1;
	if (reseat(db, schema, e) < 0)
		return -1;
	if (migrate_register(db, conf, e) < 0)
		return -1;
	return migrate_running(db, conf, e);
}

/* Is a token bound to a tenant? */
static bool
has_tenants(const struct conf *conf)
{
	for (size_t i = 0; i < conf->api.ntokens; i++)
		if (conf->api.tokens[i].tenant != NULL)
			return true;
	return false;
}

/* Is this still the cluster the schema was used in? */
static int
reseat(PGconn *db, const char *schema, struct err *e)
{
	char *sql = stmt_in_schema("SELECT jobq.reseat()", schema);
	PGresult *res = pgsync_query(db, sql, 0, NULL, e);

	free(sql);
	if (res == NULL)
		return -1;
	if (pg_text(res, 0, 0) != NULL)
		log_warn("the database comes from another cluster: all "
		    "unfinished jobs were given a fresh turn", "jobs=%s",
		    pg_text(res, 0, 0));
	PQclear(res);
	return 0;
}
