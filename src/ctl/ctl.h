/*
 * jobqctl: what its commands share. ctl.c holds the table of commands, one
 * file a group holds what they do.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "conf/conf.h"
#include "ctl/args.h"
#include "db/pgsync.h"

/* Exit statuses. */
enum {
	CTL_DONE = 0,
	CTL_FAILED = 1,
	CTL_USAGE = 2,
	CTL_NOT_FOUND = 3,
};

/* An instant as it is shown, in UTC like the log's; the session's zone is UTC. */
#define SQL_TIME(x) "to_char(" x ", 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"

struct ctl {
	const char *conf_path;	/* -c, or the default; borrowed */
	const char *url;	/* --database; NULL: the configuration's */
	const char *schema;	/* --schema, else the configuration's, else jobq */
	bool json;
	struct conf *conf;	/* NULL until ctl_configure() */
	PGconn *db;		/* NULL until ctl_connect() */
	struct unlock *unlock;	/* key.c: what is asked is decrypted; NULL: as it is */
};

struct ctl_command {
	const char *name;	/* "job show" */
	const char *operands;	/* "QUEUE [TYPE]", for the usage line */
	int min, max;		/* how many operands */
	const char *options;	/* names of args.c's table, with a space between */
	const char *help;	/* one line */
	int (*run)(struct ctl *, const struct args *);
};

/* The table of them. */
const struct ctl_command *ctl_commands(size_t *count);

/* One line on stderr, "jobqctl: …", escaped; return CTL_FAILED and CTL_NOT_FOUND. */
int ctl_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int ctl_missing(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same for a mistake in the call, with where to find help; CTL_USAGE. */
int ctl_misuse(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Load a configuration; NULL: said why. ctl_configure() loads ctl's own,
 * unless it is loaded. */
struct conf *ctl_conf(const char *path);
int ctl_configure(struct ctl *);
/* The same; -1 with the complaints, as conf_load() has them. */
int ctl_load(struct ctl *, char **complaints);

/*
 * Connect, unless connected, and make sure the schema is there; -1: said why.
 * ctl_connect_bare() does not look for the schema.
 */
int ctl_connect(struct ctl *);
int ctl_connect_bare(struct ctl *);
/* Once it was connected: again, for who goes on without. -1 with e. */
int ctl_reconnect(struct ctl *, int timeout_ms, struct err *e);

/*
 * Run a statement, connecting first. Tables and functions are written with
 * the schema's usual name, jobq., and found in the schema in use. NULL: said why.
 */
PGresult *ctl_query(struct ctl *, const char *sql, int nparams,
    const char *const *params);
/* The same, but the reason is the caller's to tell. */
PGresult *ctl_try(struct ctl *, const char *sql, int nparams,
    const char *const *params, struct err *e);

/*
 * Print all rows, and clear the result: as JSON column 0 of each, which holds
 * it, else a table, or what is said when it is empty. NULL: said why.
 */
int ctl_list(struct ctl *, PGresult *, const char *empty);
/* The same of the first row alone, which is there: fields, for a person. */
int ctl_one(struct ctl *, PGresult *);
/* A table below what was printed before, for a person; nothing when it is empty. */
int ctl_further(PGresult *);

/*
 * Is there a queue of that name? CTL_DONE, or CTL_NOT_FOUND after a line with
 * the nearest name, or CTL_FAILED. Asked after a statement found or did
 * nothing, to say why: it counts the jobs of all queues, which takes a while.
 */
int ctl_find_queue(struct ctl *, const char *name);

/* An operand that is a job's id: -1 after a line that says what is wrong. */
int ctl_parse_id(const char *text, int64_t *id);

/* A job's data as it was given, or for "-" standard input, added to the
 * buffer; -1: said why. */
int ctl_read_data(const char *data, struct buf *);

/*
 * key.c. Encrypt a job's data, if the configuration says so of the queue; what is
 * asked from now on is decrypted. Else a status, and said why.
 */
int key_seal(struct ctl *, const char *queue, struct buf *data);
/* The same for the job of that id. */
int key_seal_for(struct ctl *, const char *id, struct buf *data);
/* With --decrypt, decrypt what is asked of that job from now on. */
int key_unlock(struct ctl *, const struct args *, const char *id);
void key_lock(struct ctl *);
void key_open(const struct unlock *, PGresult *);

/* The commands, by file. */
int status_run(struct ctl *, const struct args *);
int enqueue_run(struct ctl *, const struct args *);
int jobs_run(struct ctl *, const struct args *);
int job_show(struct ctl *, const struct args *);
int job_retry(struct ctl *, const struct args *);
int job_cancel(struct ctl *, const struct args *);
int job_delete(struct ctl *, const struct args *);
int job_log(struct ctl *, const struct args *);
int queue_list(struct ctl *, const struct args *);
int queue_show(struct ctl *, const struct args *);
int queue_pause(struct ctl *, const struct args *);
int queue_resume(struct ctl *, const struct args *);
int queue_drain(struct ctl *, const struct args *);
int queue_clear(struct ctl *, const struct args *);
int queue_clean(struct ctl *, const struct args *);
int queue_remove(struct ctl *, const struct args *);
int queue_compare(struct ctl *, const struct args *);
int capacity_run(struct ctl *, const struct args *);
int dead_list(struct ctl *, const struct args *);
int dead_show(struct ctl *, const struct args *);
int dead_retry(struct ctl *, const struct args *);
int dead_review(struct ctl *, const struct args *);
int dead_delete(struct ctl *, const struct args *);
int schedule_list(struct ctl *, const struct args *);
int schedule_show(struct ctl *, const struct args *);
int schedule_next(struct ctl *, const struct args *);
int schedule_run(struct ctl *, const struct args *);
int schedule_pause(struct ctl *, const struct args *);
int schedule_resume(struct ctl *, const struct args *);
int schedule_put(struct ctl *, const struct args *);
int schedule_remove(struct ctl *, const struct args *);
int schedule_explain(struct ctl *, const struct args *);
int workflow_list(struct ctl *, const struct args *);
int workflow_show(struct ctl *, const struct args *);
int workflow_run(struct ctl *, const struct args *);
int workflow_cancel(struct ctl *, const struct args *);
int workflow_retry(struct ctl *, const struct args *);
int worker_list(struct ctl *, const struct args *);
int channel_test(struct ctl *, const struct args *);
int alert_list(struct ctl *, const struct args *);
int alert_rules(struct ctl *, const struct args *);
int alert_show(struct ctl *, const struct args *);
int alert_ack(struct ctl *, const struct args *);
int alert_silence(struct ctl *, const struct args *);
int alert_unsilence(struct ctl *, const struct args *);
int alert_set(struct ctl *, const struct args *);
int alert_reset(struct ctl *, const struct args *);
int audit_list(struct ctl *, const struct args *);
int audit_verify(struct ctl *, const struct args *);
int key_new(struct ctl *, const struct args *);
int key_list(struct ctl *, const struct args *);
int migrate_command(struct ctl *, const struct args *);
/* What a shell asks: the words behind "jobqctl complete". */
int completion_words(int argc, char **argv);
int completion_run(struct ctl *, const struct args *);
int diff_run(struct ctl *, const struct args *);
int inventory_run(struct ctl *, const struct args *);
int tail_run(struct ctl *, const struct args *);
int doctor_run(struct ctl *, const struct args *);
int top_run(struct ctl *, const struct args *);
int token_new(struct ctl *, const struct args *);

#endif
