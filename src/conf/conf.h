/*
 * The configuration: YAML files to structs, with every default filled in. A
 * struct conf never changes after conf_load(); a reload makes another. It
 * reaches the children by fork.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/log.h"
#include "conf/node.h"
#include "conf/tokens.h"
#include "core/backoff.h"
#include "core/cron.h"
#include "core/seal.h"
#include "core/sign.h"

/* The shared handler kinds' options stay nodes: a driver knows its own. */
struct handler_conf {
	char *name;
	char *driver;
	const struct node *options;	/* the handler's map; borrowed from conf */
	int line, column;
	const char *file;
};

struct type_conf {			/* one entry of a queue's types: */
	char *type;			/* "" matches every type (queue's handler:) */
	const struct handler_conf *handler;
	int64_t timeout_ms;		/* 0: the queue's */
};

/*
 * Names for priorities. A job's number is the queue's scale's; what is stored
 * is internal, where the lower runs first: the number itself or, when the
 * scale is large_first, PRIORITY_MAX less the number.
 */
struct priority_name {
	char *name;
	int number;			/* PRIORITY_MIN … PRIORITY_MAX, of the scale */
};

struct priority_scale {
	char *name;
	bool large_first;
	struct priority_name *names;
	size_t nnames;
};

struct conf;
struct sandbox_conf {			/* 0 and "": unlimited, unchanged */
	char *user;
	int64_t memory, cpu_ms, file_size;
	int processes, files;
	bool network, isolate;
	char **read;			/* absolute paths; none: everything */
	size_t nread;
	char **write;			/* as well */
	size_t nwrite;
};

/* It changes something. */
bool sandbox_is_on(const struct sandbox_conf *);
/* It is more than limits: files, system calls and neighbours are out of reach. */
bool sandbox_confines(const struct sandbox_conf *);

/*
 * What this machine cannot do of what the queues' sandboxes ask for: one line, NULL:
 * it can do all. enforced: what control groups do, CGROUP_…, see os/cgroup.h.
 */
char *sandbox_lacks(const struct conf *, unsigned enforced);

/* What enqueueing does to the job that has the unique key already. */
enum unique_conflict { CONFLICT_EXISTING, CONFLICT_REPLACE, CONFLICT_MOVE };

struct queue_conf {
	char *name;			/* ^[a-z][a-z0-9_.-]{0,62}$ */
	/* At least one, but with workers 0; looked up exactly, else "". */
	struct type_conf *types;
	size_t ntypes;
	int workers;			/* 0 … 1000 processes; 0: those elsewhere do it */
	int concurrency;		/* 1 … 10000 jobs in each */
	int priority;			/* internal scale */
	char *priority_text;		/* as it is written */
	char *priority_scale;		/* "" or a name */
	bool large_first;
	const struct priority_scale *scale;	/* never NULL; owned by conf */
	int64_t timeout_ms;
	int cancel_signal;
	int64_t grace_ms;
	int64_t expire_ms;		/* 0: never */
	int64_t lease_ms;
	int64_t poll_ms;
	const struct retry_policy *retry;	/* never NULL; owned by conf */
	struct retry_policy *own_retry;	/* in place; NULL: by name */
	char *retry_against;		/* "" or the name of another, which … */
	const struct retry_policy *against;	/* … half of the jobs have; owned by conf */
	char **limits; size_t nlimits;
	char *concurrency_key; int per_key;
	char *fair;
	const struct node *fair_weights;	/* value: weight; NULL: all 1 */
	int64_t ageing_ms;		/* 0: none */
	char *unique;
	int64_t unique_ms;		/* UNIQUE_DONE, UNIQUE_STARTED or ms */
	enum unique_conflict unique_conflict;
	bool breaker; double breaker_failures; int breaker_of; int64_t breaker_open_ms;
	int64_t max_payload;		/* bytes */
	const struct node *schema;	/* see shape.h; NULL: none */
	struct {
		char *key_file;		/* "" : its jobs' data stays as it came */
		bool required;		/* data that is not encrypted is refused */
		bool results;		/* also what its runs leave */
		/* Of the file, once conf_files() has read it; else NULL. */
		struct keyring *keys;
	} encrypt;
	struct { int64_t completed_ms, dead_ms, cancelled_ms, history_ms; } keep;
	struct { int64_t jobs, age_ms, rss_bytes; } recycle;	/* 0: never for that reason */
	struct sandbox_conf box;
	char *log;			/* "" : the daemon's */
	int log_level;			/* 0: the daemon's; else an enum log_level and 1 */
	bool enabled;
	/* Of everything that matters to its processes: also of its handlers,
	 * what their *_file name, the policy, the database, the log. */
	uint64_t digest;
};
#define UNIQUE_DONE (-1)
#define UNIQUE_STARTED (-2)

enum overlap { OVERLAP_ALLOW, OVERLAP_SKIP, OVERLAP_REPLACE };
enum catch_up { CATCH_UP_NONE, CATCH_UP_LAST, CATCH_UP_ALL };

struct schedule_conf {
	char *name;
	enum { SPEC_CRON, SPEC_EVERY, SPEC_AT } kind;
	char *spec;			/* as written: "*\/30 * * * * *", "30s", an instant */
	struct cron cron;
	int64_t every_ms;
	int64_t at_ms;			/* UTC, since the epoch */
	char *timezone;
	const struct zone *zone;	/* the same; NULL: UTC; lives as the process */
	enum cron_dst dst;
	char *queue, *type;
	char *priority_text;		/* as it is written, "" : the queue's */
	int priority;			/* … a number of the queue's scale; -1 */
	char *tenant;			/* "" : none */
	char *data;			/* JSON object text */
	const struct node *data_node;	/* the same; NULL: {} */
	bool enabled;
	char *description;
	enum overlap overlap;
	enum catch_up catch_up;
	int64_t catch_up_window_ms;
	int64_t jitter_ms;
	int64_t starts_ms, ends_ms;	/* 0: open */
	char *only_if, *for_each;	/* "" : none */
	char **requires_env; size_t nrequires_env;
	char *log;			/* "" : the daemon's, or its queue's */
};

struct limit_conf {			/* 0: unlimited */
	char *name;
	int64_t rate_count, rate_period_ms;
	int concurrency;
	int64_t min_gap_ms;
};

/* A webhook that comes in, and the job it makes. */
struct hook_conf {
	char *name;
	char *queue, *type, *tenant;	/* "" : none */
	enum verify_scheme scheme;
	char *secret, *secret_file;	/* "" : not given so; of a file each line */
	char **secrets; size_t nsecrets;	/* more of them */
	/* All of them, also of the file, once conf_files() has read it. */
	char **keys; size_t nkeys;
	char *token_header;		/* of the scheme token, lower case */
	int64_t tolerance_ms;
	/* header:NAME or body:PATH, "" : what the scheme has */
	char *event_id, *event_type;
	enum { PAYLOAD_RAW, PAYLOAD_EVENT } payload;
};

enum channel_format { FORMAT_AUTO, FORMAT_GENERIC, FORMAT_SLACK, FORMAT_TEAMS };

struct channel_conf {			/* one of email, webhook or webhook_file, exec */
	char *name;
	char **email; size_t nemail;
	char *via;			/* the handler for email */
	char *webhook;
	char *webhook_file;		/* whose first line is the same */
	enum channel_format format;
	bool allow_private;
	const struct node *headers, *sign;	/* NULL: none */
	char **exec; size_t nexec;
	int64_t timeout_ms;		/* of one try */
};

struct alert_conf {
	char *name;
	int metric;			/* index of metric_names */
	char **queues; size_t nqueues;	/* none: all */
	char *above, *below, *clear;	/* amounts of the metric's kind; "" : none */
	int64_t window_ms, for_ms;
	int min_jobs;
	char **notify; size_t nnotify;
	int64_t repeat_ms;		/* 0: never */
	struct { int64_t after_ms; char **notify; size_t nnotify; } escalate;
	enum { SEVERITY_INFO, SEVERITY_WARNING, SEVERITY_CRITICAL } severity;
};
extern const char *const conf_severities[];	/* NULL at the end */

struct step_conf {
	char *name;
	char *queue, *type;
	char **after; size_t nafter;
	char *condition;		/* if: "" : always */
	char *for_each;			/* "" : one job */
	bool allow_failure;
	const struct node *data;	/* NULL: the workflow's, or the element */
	char *priority_text;		/* as it is written, "" : the queue's */
	int priority;			/* … a number of the queue's scale; -1 */
	int64_t delay_ms, timeout_ms;	/* 0: none, the queue's */
	int max_attempts;		/* 0: the policy's */
	char *tenant, *key;		/* "" : the workflow's, the queue's */
};

struct workflow_conf {
	char *name;
	struct step_conf *steps; size_t nsteps;
	struct step_conf on_failure;	/* queue "" : none */
};

struct conf {
	char *path;			/* as given with -c */
	struct node *root;
	struct {
		char *user, *group, *pid_file, *node, *timezone;
		const struct zone *zone;	/* as a schedule's */
		int64_t shutdown_timeout_ms;
	} daemon;
	struct {
		char *url, *schema;
		/*
		 * "" : url is somebody else's server. Else the directory of a
		 * cluster of our own, with the socket .s.PGSQL.5432 in it, and
		 * url is made of it: user jobq, database jobq.
		 */
		char *embedded;
		bool migrate_auto, pooler_transaction;
	} database;
	struct { char *file; enum log_level level; enum log_format format; } log;
	struct {
		char *listen;		/* "off", HOST:PORT, unix:PATH */
		char *socket_mode;	/* of unix:PATH, octal */
		char *tokens_file, *tls_cert, *tls_key;
		char *admin_key, *admin_key_file;	/* "" : not given so */
		char **proxies; size_t nproxies;	/* networks, as they are written */
		int forwarded;		/* 0: X-Forwarded-For, 1: Forwarded */
		int per_address;	/* connections; 0: no limit */
		int64_t rate_count, rate_period_ms, max_body;
		/* Of the file, and last the admin key, from where it is, which
		 * is named "admin". There once conf_files() has read them. */
		struct token *tokens; size_t ntokens;
	} api;
	struct {
		int64_t interval_ms, statistics_ms, keep_size;
		char *health_file, *report;
		char **report_to; size_t nreport_to;	/* channels */
		char *quiet;		/* "22:00-07:00"; "" : none */
	} monitor;
	struct retry_policy *policies; size_t npolicies;	/* named ones */
	struct limit_conf *limits; size_t nlimits;
	struct handler_conf *handlers; size_t nhandlers;
	struct queue_conf *queues; size_t nqueues;
	struct schedule_conf *schedules; size_t nschedules;
	struct priority_scale *scales; size_t nscales;	/* built-in ones at the end */
	/* hooks, channels, alerts, workflows: as nodes (NULL: none), and read */
	const struct node *hooks, *channels, *alerts, *workflows;
	struct {
		struct hook_conf *hooks; size_t nhooks;
		struct channel_conf *channels; size_t nchannels;
		struct alert_conf *alerts; size_t nalerts;
		struct workflow_conf *workflows; size_t nworkflows;
	} read;
	/*
	 * What the monitor's own workers run: a type for each channel and a
	 * worker for each, in the order of read.channels. It is none of queues,
	 * and nothing of it is in the database. NULL: there are no channels.
	 */
	struct queue_conf *notices;
	struct notice_handler *notice_handlers;	/* channel.c */
	/* Of the files that conf_files() has looked at, as they were then. */
	uint64_t files_digest;
	uint64_t shared_digest;		/* of what every child depends on */
	uint64_t whole_digest;		/* of everything */
	char **files; size_t nfiles;	/* path and what it includes */
};

/*
 * What conf needs to know of the drivers, which live a layer above. A driver
 * checks all keys of the handler's map but `driver`, the unknown ones too.
 */
struct conf_drivers {
	const char *const *(*names)(void);	/* all of this build, NULL at the end */
	/* calls the driver's check() */
	void (*check)(const char *driver, const struct node *options, struct conf_sink *);
};

/*
 * Read, substitute, check, fill in. Without drivers (NULL) the handlers'
 * options are not looked at: for a program that runs no jobs. Returns the
 * configuration, with *complaints NULL; or NULL, with all complaints in
 * *complaints (lines "FILE:LINE:COL: message\n", caller frees).
 */
struct conf *conf_load(const char *path, const struct conf_drivers *,
    char **complaints);
void conf_free(struct conf *);
/*
 * The keys that a queue's jobs are encrypted with, for who needs them without
 * conf_files(). NULL: with *complaints as above, or, without any, the queue is
 * not encrypted. The caller's to free.
 */
struct keyring *conf_keyring(const struct conf *, const struct queue_conf *,
    char **complaints);
/*
 * seal_data(), seal_job() and seal_jobs() for a queue, if its jobs are encrypted,
 * once conf_files() has been called; without a configuration, NULL, none is.
 * -1 with e.
 */
int conf_seal_data(const struct conf *, const char *queue, char **json, struct err *e);
int conf_seal_job(const struct conf *, const char *queue, char **json, struct err *e);
int conf_seal_jobs(const struct conf *, const char *queue, char **json, struct err *e);
/*
 * Look at the files that the daemon is going to open: for those that run it, or
 * ask whether it would run. -1 with *complaints as above.
 */
int conf_files(struct conf *, char **complaints);
/*
 * A schedule by itself: a JSON object of the keys that one of the file has, in
 * which variables are not replaced. Whether there is such a queue is not looked
 * at, so its priority stays a text. NULL with e.
 */
struct schedule_conf *conf_schedule_new(const char *name, const char *json,
    struct err *e);
void conf_schedule_free(struct schedule_conf *);
/* The effective configuration as YAML that conf_load() takes again; literal
 * secrets as ***, in a form that passes. */
void conf_dump(const struct conf *, FILE *);
/* Whether a value of that name is masked there. */
bool conf_names_secret(const char *key);
const char *conf_library(void);	/* libyaml and its version */
/* Where the configuration is when -c is not given: $JOBQD_CONF, else SYSCONFDIR/jobqd.yml. */
const char *conf_default_path(void);

const struct queue_conf *conf_queue(const struct conf *, const char *name);
/* The retry policy of a job: where two are compared, jobq.retry_half() tells
 * in SQL what this does. */
const struct retry_policy *conf_policy(const struct queue_conf *, int64_t job);
const struct handler_conf *conf_handler(const struct conf *, const char *name);
const struct limit_conf *conf_limit(const struct conf *, const char *name);
const struct channel_conf *conf_channel(const struct conf *, const char *name);

/* The n-th of the logs of their own that queues served here and schedules
 * have, "" for one that has none, NULL: no more. One may come twice. */
const char *conf_own_log(const struct conf *, size_t n);

/* Keys whose change needs a restart and that differ between the two, as in
 * "daemon.pid_file, database.embedded", or NULL; caller frees. */
char *conf_restart_keys(const struct conf *old, const struct conf *new);
/* Is a key of a section ("daemon", "pid_file") one of those? */
bool conf_key_restarts(const char *section, const char *name);

#endif
