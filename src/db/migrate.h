/*
 * The schema: creating it, upgrading it, and telling it the configuration's
 * queues. Blocking; never run by a process that serves.
 */
#ifndef DB_MIGRATE_H
#define DB_MIGRATE_H

#include <libpq-fe.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "conf/conf.h"

#define SCHEMA_VERSION 1
#define SERVER_MIN 150000			/* as PQserverVersion() has it */

/* Bring the schema to SCHEMA_VERSION under a transaction-level lock; does
 * nothing when it is current; refuses (ERR_CONFIG) a newer one. */
int migrate_run(PGconn *, const char *schema, struct err *e);
/* With migrate: off: is it current? -1, ERR_CONFIG, with what to do. */
int migrate_check(PGconn *, const char *schema, struct err *e);
/* The SQL that migrate_run would execute on an empty database. */
void migrate_print(FILE *, const char *schema);
/* Create or refresh the group roles jobq_producer, jobq_reader, jobq_admin. */
int migrate_roles(PGconn *, const char *schema, struct err *e);
/* Whether row-level security holds for this role, as tokens of tenants need it:
 * -1, ERR_CONFIG, with what to do. */
int migrate_check_fence(PGconn *, const char *schema, struct err *e);
/* The configuration's queues and schedules, into their tables. Names no longer
 * there stay, not served. */
int migrate_register(PGconn *, const struct conf *, struct err *e);
/* Say that this configuration is what the node runs: for "jobqctl diff". */
int migrate_running(PGconn *, const struct conf *, struct err *e);
/* The digests that it tells, a JSON object: those of the queues by their
 * names, and two by names that no queue has. */
#define DIGEST_WHOLE "*"
#define DIGEST_SHARED "*shared"
void migrate_digests(const struct conf *, struct buf *);

#endif
