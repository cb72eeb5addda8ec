/*
 * jobqctl: the command line of a running jobqd. It talks to the database
 * alone (and to channels, to test them), so it works from any machine that
 * reaches it, whether a daemon runs or not. This file holds the table of
 * commands and what they share.
 */
#include "config.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "core/near.h"
#include "ctl/ctl.h"
#include "ctl/out.h"
#include "db/stmt.h"
#include "driver/driver.h"

#define DATA_MAX (64u << 20)	/* bytes read from standard input */
#define NAMES_MAX 2000		/* queues that are compared with a mistyped one */

static const struct ctl_command commands[] = {
	{ "status", "", 0, 0, "", "queues, nodes and schedules at a glance",
	    status_run },
	{ "enqueue", "QUEUE [TYPE] [JSON|-]", 1, 3,
	    "in at priority unique key tenant tag wait",
	    "put a job in a queue; - reads its data from standard input",
	    enqueue_run },
	{ "jobs", "", 0, 0, "queue state type tenant tag limit",
	    "list jobs, the newest first", jobs_run },
	{ "job show", "ID", 1, 1, "decrypt", "a job and all that happened to it",
	    job_show },
	{ "job retry", "ID", 1, 1, "data",
	    "run a dead job again, a failed one at once",
	    job_retry },
	{ "job cancel", "ID", 1, 1, "",
	    "cancel a job, or ask the running one to stop", job_cancel },
	{ "job delete", "ID", 1, 1, "", "forget a job that is not running",
	    job_delete },
	{ "job log", "ID", 1, 1, "decrypt", "what the job's attempts wrote", job_log },
	{ "queue list", "", 0, 0, "", "all queues", queue_list },
	{ "queue show", "NAME", 1, 1, "", "one queue and its workers",
	    queue_show },
	{ "queue pause", "[NAME]", 0, 1, "all type tenant reason for until",
	    "start no more jobs of it, or of a type or tenant of it; the "
	    "running ones finish", queue_pause },
	{ "queue resume", "[NAME]", 0, 1, "all type tenant",
	    "start its jobs again", queue_resume },
	{ "queue drain", "NAME", 1, 1, "timeout",
	    "wait until the jobs that are ready or running have ended",
	    queue_drain },
	{ "queue clear", "NAME", 1, 1, "type tenant state yes",
	    "cancel its jobs that wait", queue_clear },
	{ "queue clean", "NAME", 1, 1, "state older-than",
	    "remove its jobs that have ended", queue_clean },
	{ "queue remove", "NAME", 1, 1, "yes",
	    "remove a queue that no node serves any more", queue_remove },
	{ "queue compare", "NAME", 1, 1, "since",
	    "which of its two retry policies does better", queue_compare },
	{ "capacity", "", 0, 0, "growth since",
	    "how busy the workers of each queue were, and how many are enough",
	    capacity_run },
	{ "dead list", "", 0, 0,
	    "queue type tenant fingerprint reviewed group limit",
	    "jobs that were given up", dead_list },
	{ "dead show", "ID", 1, 1, "decrypt", "one of them", dead_show },
	{ "dead retry", "[ID]", 0, 1,
	    "all queue type tenant fingerprint reviewed rate data",
	    "run one, or many, again", dead_retry },
	{ "dead review", "[ID]", 0, 1,
	    "all queue type tenant fingerprint reviewed by notes",
	    "say that somebody has looked at one, or many", dead_review },
	{ "dead delete", "[ID]", 0, 1,
	    "all queue type tenant fingerprint reviewed",
	    "forget one, or many", dead_delete },
	{ "schedule list", "", 0, 0, "", "all schedules", schedule_list },
	{ "schedule show", "NAME", 1, 1, "", "one schedule and how it went",
	    schedule_show },
	{ "schedule next", "[NAME]", 0, 1, "limit",
	    "what fires next, or one schedule's next instant", schedule_next },
	{ "schedule run", "NAME", 1, 1, "",
	    "run it now, and print the ids of its jobs", schedule_run },
	{ "schedule pause", "NAME", 1, 1, "",
	    "do not fire it until it is resumed", schedule_pause },
	{ "schedule resume", "NAME", 1, 1, "",
	    "fire it again; what was missed is not made up for",
	    schedule_resume },
	{ "schedule put", "NAME [JSON|-]", 1, 2,
	    "cron every at tz queue type data priority tenant overlap",
	    "make a schedule, or replace one made so", schedule_put },
	{ "schedule remove", "NAME", 1, 1, "",
	    "remove one that is in no configuration", schedule_remove },
	{ "schedule explain", "'CRON'", 1, 1, "tz dst count from edges",
	    "when an expression fires; needs no database", schedule_explain },
	{ "workflow list", "", 0, 0, "state limit",
	    "workflows, the newest first", workflow_list },
	{ "workflow show", "ID", 1, 1, "", "one of them and its steps",
	    workflow_show },
	{ "workflow run", "NAME [JSON|-]", 1, 2, "tenant",
	    "start a workflow of the configuration", workflow_run },
	{ "workflow cancel", "ID", 1, 1, "",
	    "cancel a workflow and its jobs", workflow_cancel },
	{ "workflow retry", "ID", 1, 1, "",
	    "take a failed or cancelled workflow up where it stood",
	    workflow_retry },
	{ "worker list", "", 0, 0, "queue",
	    "the processes that run jobs, and what each does", worker_list },
	{ "channel test", "NAME", 1, 1, "",
	    "send a notice to a channel, here and now", channel_test },
	{ "alert list", "", 0, 0, "all queue limit",
	    "what fires; with --all also what has ended", alert_list },
	{ "alert rules", "", 0, 0, "", "what alerts watch, and their limits",
	    alert_rules },
	{ "alert show", "NAME", 1, 1, "", "one of them, and when it fired",
	    alert_show },
	{ "alert ack", "NAME", 1, 1, "queue by notes",
	    "take on what fires: no more reminders, no escalation", alert_ack },
	{ "alert silence", "[NAME]", 0, 1, "all queue for until reason by",
	    "say nothing of it for a while", alert_silence },
	{ "alert unsilence", "[NAME]", 0, 1, "all queue",
	    "end a silence", alert_unsilence },
	{ "alert set", "NAME KEY=VALUE ...", 2, 20, "",
	    "change a limit now: above=500 for=1m", alert_set },
	{ "alert reset", "NAME", 1, 1, "",
	    "take back what alert set has changed", alert_reset },
	{ "audit list", "", 0, 0, "target actor action since limit",
	    "who did what, the newest first", audit_list },
	{ "audit verify", "", 0, 0, "head",
	    "whether nothing of it was changed or taken out", audit_verify },
	{ "token new", "WHO ROLE [TENANT]", 2, 3, "",
	    "a token for the API, and its line for the file of tokens; needs no "
	    "database", token_new },
	{ "key new", "[KEY]", 0, 1, "",
	    "a key to encrypt jobs with, a line for a queue's key_file; needs no "
	    "database", key_new },
	{ "key list", "[QUEUE]", 0, 1, "",
	    "the keys of encrypted queues, and how many jobs need each", key_list },
	{ "migrate", "", 0, 0, "print roles",
	    "create or upgrade the schema, register the queues",
	    migrate_command },
	{ "top", "", 0, 0, "interval count",
	    "what happens now, as it changes; ? shows its keys", top_run },
	{ "diff", "[FILE]", 0, 1, "", "what a reload with this configuration "
	    "would change", diff_run },
	{ "inventory", "", 0, 0, "compare",
	    "all queues, types, schedules, workers and the like, or what "
	    "differs", inventory_run },
	{ "completion", "bash|zsh|fish", 1, 1, "",
	    "the script that lets a shell complete words", completion_run },
	{ "tail", "[QUEUE]", 0, 1, "follow lines level schedule",
	    "the end of the daemon's log, or what it says of a queue",
	    tail_run },
	{ "doctor", "", 0, 0, "",
	    "look for what is wrong with jobqd and its database", doctor_run },
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(*commands))

static int run(struct ctl *, int argc, char **argv);
static PGresult *begin_session(struct ctl *, struct err *);
static void check_options(const char *driver, const struct node *,
    struct conf_sink *);
static int help(const struct args *);
static void usage_line(const struct ctl_command *);
static void print_option(const char *name, size_t len);
static void print_options(const char *names);
static const struct ctl_command *find_command(const struct args *, int *words);
static int no_command(const struct args *);
static void complain(const char *fmt, va_list ap);
static char *place(const struct ctl *);

int
main(int argc, char **argv)
{
	struct ctl ctl = { 0 };
	int status;

	if (log_open("stderr", LOG_LEVEL_WARN, LOG_TEXT, NULL) < 0)
		return CTL_FAILED;
	status = run(&ctl, argc - 1, argv + 1);
	if (ctl.db != NULL)
		PQfinish(ctl.db);
	key_lock(&ctl);
	conf_free(ctl.conf);
	if (fflush(stdout) != 0 || ferror(stdout))
		return ctl_fail("cannot write the output: %s", strerror(errno));
	return status;
}

static int
run(struct ctl *ctl, int argc, char **argv)
{
	const struct ctl_command *c;
	struct args args;
	struct err e;
	int words;

	if (argc > 0 && strcmp(argv[0], "complete") == 0)
		return completion_words(argc - 1, argv + 1);
	if (args_parse(&args, argc, argv, NULL, &e) < 0)
		return ctl_misuse("%s", e.msg);
	if (args_has(&args, "version")) {
		puts("jobqctl " PACKAGE_VERSION);
		return CTL_DONE;
	}
	if (args.count == 0 && !args_has(&args, "help"))
		return ctl_misuse("no command");
	if (args.count == 0 || strcmp(args.operands[0], "help") == 0 ||
	    args_has(&args, "help"))
		return help(&args);
	if ((c = find_command(&args, &words)) == NULL)
		return no_command(&args);
	if (args_parse(&args, argc, argv, c->options, &e) < 0)
		return ctl_misuse("%s: %s", c->name, e.msg);
	args.count -= words;
	memmove(args.operands, args.operands + words,
	    sizeof(*args.operands) * (size_t)args.count);
	if (args.count < c->min || args.count > c->max) {
		fputs("usage: ", stderr);
		usage_line(c);
		return CTL_USAGE;
	}
	ctl->json = args_has(&args, "json");
	ctl->url = args_get(&args, "database");
	ctl->schema = args_get(&args, "schema");
	ctl->conf_path = args_get(&args, "config");
	if (ctl->conf_path == NULL)
		ctl->conf_path = conf_default_path();
	return c->run(ctl, &args);
}

const struct ctl_command *
ctl_commands(size_t *count)
{
	*count = COMMAND_COUNT;
	return commands;
}

int
ctl_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(fmt, ap);
	va_end(ap);
	return CTL_FAILED;
}

int
ctl_missing(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(fmt, ap);
	va_end(ap);
	return CTL_NOT_FOUND;
}

int
ctl_misuse(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(fmt, ap);
	va_end(ap);
	fputs("jobqctl: \"jobqctl help\" lists the commands\n", stderr);
	return CTL_USAGE;
}

static struct conf *
read_conf(const char *path, char **complaints)
{
	static const struct conf_drivers drivers = {
		.names = driver_names, .check = check_options,
	};

	*complaints = NULL;
	return conf_load(path, &drivers, complaints);
}

struct conf *
ctl_conf(const char *path)
{
	char *complaints;
	struct conf *conf = read_conf(path, &complaints);

	if (complaints != NULL)
		fputs(complaints, stderr);
	if (conf == NULL)
		ctl_fail("cannot read the configuration %s; name another by -c "
		    "FILE, or the database by --database URL", path);
	free(complaints);
	return conf;
}

static int
adopt(struct ctl *ctl, struct conf *conf)
{
	ctl->conf = conf;
	if (conf != NULL && ctl->schema == NULL)
		ctl->schema = conf->database.schema;
	return conf == NULL ? -1 : 0;
}

int
ctl_load(struct ctl *ctl, char **complaints)
{
	*complaints = NULL;
	return ctl->conf != NULL ? 0 :
	    adopt(ctl, read_conf(ctl->conf_path, complaints));
}

int
ctl_configure(struct ctl *ctl)
{
	return ctl->conf != NULL ? 0 : adopt(ctl, ctl_conf(ctl->conf_path));
}

int
ctl_connect_bare(struct ctl *ctl)
{
	const char *url = ctl->url;
	char *where;
	struct err e;

	if (ctl->db != NULL)
		return 0;
	if (url == NULL) {
		if (ctl_configure(ctl) < 0)
			return -1;
		url = ctl->conf->database.url;
	}
	if (ctl->schema == NULL)
		ctl->schema = SCHEMA_DEFAULT;
	ctl->db = pgsync_open(url, "jobqctl", PGSYNC_CONNECT_MS, &e);
	if (ctl->db == NULL) {
		where = place(ctl);
		ctl_fail("%s the database at %s: %s; %ssee %s%s",
		    e.code == ERR_CONFIG ? "cannot use" : "cannot reach", where,
		    e.msg, e.code == ERR_CONFIG ? "" : "is it running? ",
		    ctl->url != NULL ? "--database" : "database.url in ",
		    ctl->url != NULL ? "" : ctl->conf_path);
		free(where);
		return -1;
	}
	return 0;
}

int
ctl_connect(struct ctl *ctl)
{
	PGresult *res;
	bool there;
	struct err e;

	if (ctl->db != NULL)
		return 0;
	if (ctl_connect_bare(ctl) < 0)
		return -1;
	if ((res = begin_session(ctl, &e)) == NULL) {
		ctl_fail("%s", e.msg);
		return -1;
	}
	there = *PQgetvalue(res, 0, 1) == 't';
	PQclear(res);
	if (there)
		return 0;
	ctl_fail("there is no schema %s in database %s (or this role may not "
	    "see it); start jobqd or run \"jobqctl migrate\"", ctl->schema,
	    PQdb(ctl->db));
	return -1;
}

int
ctl_reconnect(struct ctl *ctl, int timeout_ms, struct err *e)
{
	const char *url = ctl->url != NULL ? ctl->url : ctl->conf->database.url;
	PGresult *res;

	if (ctl->db != NULL)
		PQfinish(ctl->db);
	ctl->db = pgsync_open(url, "jobqctl", timeout_ms, e);
	if (ctl->db == NULL)
		return -1;
	if ((res = begin_session(ctl, e)) == NULL) {
		PQfinish(ctl->db);
		ctl->db = NULL;
		return -1;
	}
	PQclear(res);
	return 0;
}

PGresult *
ctl_query(struct ctl *ctl, const char *sql, int nparams,
    const char *const *params)
{
	struct err e = { 0 };
	PGresult *res = ctl_try(ctl, sql, nparams, params, &e);

	if (res == NULL && *e.msg != '\0')
		ctl_fail("%s", e.msg);
	if (res != NULL && ctl->unlock != NULL)
		key_open(ctl->unlock, res);
	return res;
}

PGresult *
ctl_try(struct ctl *ctl, const char *sql, int nparams,
    const char *const *params, struct err *e)
{
	PGresult *res;
	char *text;

	*e->msg = '\0';
	if (ctl_connect(ctl) < 0)
		return NULL;
	text = stmt_in_schema(sql, ctl->schema);
	res = pgsync_query(ctl->db, text, nparams, params, e);
	free(text);
	return res;
}

int
ctl_list(struct ctl *ctl, PGresult *res, const char *empty)
{
	if (res == NULL)
		return CTL_FAILED;
	if (ctl->json)
		out_json_list(res);
	else
		out_table(res, empty);
	PQclear(res);
	return CTL_DONE;
}

int
ctl_one(struct ctl *ctl, PGresult *res)
{
	if (ctl->json) {
		out_json_value(PQgetvalue(res, 0, 0));
		putchar('\n');
	} else {
		out_fields(res, 0);
	}
	PQclear(res);
	return CTL_DONE;
}

int
ctl_further(PGresult *res)
{
	if (res == NULL)
		return CTL_FAILED;
	if (PQntuples(res) > 0) {
		putchar('\n');
		out_table(res, "");
	}
	PQclear(res);
	return CTL_DONE;
}

int
ctl_find_queue(struct ctl *ctl, const char *name)
{
	PGresult *res = ctl_query(ctl, "SELECT name FROM jobq.queues ORDER BY name",
	    0, NULL);
	const char *names[NAMES_MAX], *near = NULL;
	size_t count = 0;
	bool there = false;

	if (res == NULL)
		return CTL_FAILED;
	for (int i = 0; i < PQntuples(res) && count < NAMES_MAX; i++) {
		names[count++] = PQgetvalue(res, i, 0);
		if (strcmp(PQgetvalue(res, i, 0), name) == 0)
			there = true;
	}
	if (!there && (near = near_name(name, names, count)) != NULL)
		ctl_missing("no queue %s; did you mean %s?", name, near);
	else if (!there)
		ctl_missing("no queue %s; \"jobqctl queue list\" shows them",
		    name);
	PQclear(res);
	return there ? CTL_DONE : CTL_NOT_FOUND;
}

int
ctl_read_data(const char *data, struct buf *b)
{
	char chunk[65536];
	size_t n;

	if (strcmp(data, "-") != 0) {
		buf_str(b, data);
		if (*data != '\0')
			return 0;
		ctl_fail("the data is empty; it should be a JSON object");
		return -1;
	}
	while ((n = fread(chunk, 1, sizeof(chunk), stdin)) > 0) {
		buf_put(b, chunk, n);
		if (b->len > DATA_MAX) {
			ctl_fail("standard input is larger than %u MiB",
			    DATA_MAX >> 20);
			return -1;
		}
	}
	if (ferror(stdin)) {
		ctl_fail("cannot read standard input: %s", strerror(errno));
		return -1;
	}
	if (b->len == 0) {
		ctl_fail("standard input is empty; it should be a JSON object");
		return -1;
	}
	if (memchr(b->data, '\0', b->len) != NULL) {
		ctl_fail("standard input holds a NUL byte, so it is no JSON");
		return -1;
	}
	return 0;
}

int
ctl_parse_id(const char *text, int64_t *id)
{
	const char *reason;

	*id = strtonum(text, 1, INT64_MAX, &reason);
	if (reason == NULL)
		return 0;
	ctl_misuse("\"%s\" is no id, which is a number", text);
	return -1;
}

/* What a session is set to; whether the schema is there, in column 1. */
static PGresult *
begin_session(struct ctl *ctl, struct err *e)
{
	const struct passwd *who = getpwuid(getuid());
	const char *params[] = { ctl->schema, who == NULL ? "" : who->pw_name };

	/* An url of --database may be a pooler's, and says nothing of it. */
	if (ctl->conf != NULL && pgsync_settle(ctl->db,
	    ctl->url != NULL || ctl->conf->database.pooler_transaction, e) < 0)
		return NULL;
	/* Compiling the views' statements takes longer than running them. */
	return pgsync_query(ctl->db, "SELECT set_config('TimeZone', 'UTC', false), "
	    "to_regclass(quote_ident($1) || '.queues') IS NOT NULL, "
	    "set_config($1 || '.actor', $2, false), "
	    "set_config('jit', 'off', false)", 2, params, e);
}

static void
check_options(const char *name, const struct node *options,
    struct conf_sink *sink)
{
	const struct driver *d = driver_find(name);

	if (d != NULL)
		d->check(options, sink);
}

/* "jobqctl help [COMMAND]", or --help behind any command. */
static int
help(const struct args *args)
{
	struct args rest = *args;
	const struct ctl_command *c;
	int words;

	if (rest.count > 0 && strcmp(rest.operands[0], "help") == 0) {
		rest.count--;
		memmove(rest.operands, rest.operands + 1,
		    sizeof(*rest.operands) * (size_t)rest.count);
	}
	if (rest.count > 0 && (c = find_command(&rest, &words)) != NULL) {
		printf("usage: jobqctl %s%s%s%s\n%s\n\n", c->name,
		    *c->operands == '\0' ? "" : " ", c->operands,
		    *c->options == '\0' ? "" : " [OPTIONS]", c->help);
		print_options(c->options);
		print_options(args_common);
		return CTL_DONE;
	}
	puts("usage: jobqctl [-c FILE | --database URL] [--json] COMMAND ...\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		c = &commands[i];
		if (rest.count > 0 && strncmp(c->name, rest.operands[0],
		    strcspn(c->name, " ")) != 0)
			continue;
		printf("  %s%s%-*s %s\n", c->name, *c->operands ? " " : "",
		    (int)(35 - strlen(c->name) - (*c->operands ? 1 : 0)),
		    c->operands, c->help);
	}
	puts("\n\"jobqctl help COMMAND\" shows its options. Every command takes");
	print_options(args_common);
	puts("\nExit status: 0 done, 1 failed, 2 called wrongly, 3 not found.");
	return CTL_DONE;
}

static void
usage_line(const struct ctl_command *c)
{
	const char *p = c->options;

	fprintf(stderr, "jobqctl %s%s%s", c->name,
	    *c->operands == '\0' ? "" : " ", c->operands);
	while (*p != '\0') {
		size_t len = strcspn(p, " ");
		const struct option *o = args_option(p, len);

		fprintf(stderr, " [--%s%s%s]", o->name,
		    o->value == NULL ? "" : " ",
		    o->value == NULL ? "" : o->value);
		p += len + strspn(p + len, " ");
	}
	fputc('\n', stderr);
}

static void
print_options(const char *names)
{
	while (*names != '\0') {
		size_t len = strcspn(names, " ");

		print_option(names, len);
		names += len + strspn(names + len, " ");
	}
}

static void
print_option(const char *name, size_t len)
{
	const struct option *o = args_option(name, len);
	char left[64], letter[8] = "    ";

	if (o->letter != 0)
		snprintf(letter, sizeof(letter), "-%c, ", o->letter);
	snprintf(left, sizeof(left), "%s--%s%s%s", letter, o->name,
	    o->value == NULL ? "" : " ", o->value == NULL ? "" : o->value);
	printf("  %-26s %s\n", left, o->help);
}

/* The command the first operands name, and how many they are. */
static const struct ctl_command *
find_command(const struct args *args, int *words)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		const char *name = commands[i].name;
		size_t len = strcspn(name, " ");

		if (strlen(args->operands[0]) != len ||
		    memcmp(args->operands[0], name, len) != 0)
			continue;
		*words = name[len] == '\0' ? 1 : 2;
		if (*words == 1 || (args->count > 1 &&
		    strcmp(args->operands[1], name + len + 1) == 0))
			return &commands[i];
	}
	return NULL;
}

static int
no_command(const struct args *args)
{
	const char *first = args->operands[0];
	const char *second = args->count > 1 ? args->operands[1] : "";
	const char *whole[COMMAND_COUNT], *near;
	char heads[COMMAND_COUNT][16], typed[64];
	const char *head[COMMAND_COUNT];
	size_t in_group = 0;

	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		whole[i] = commands[i].name;
		strlcpy(heads[i], whole[i], sizeof(heads[i]));
		heads[i][strcspn(heads[i], " ")] = '\0';
		head[i] = heads[i];
		if (strcmp(first, heads[i]) == 0)
			in_group++;
	}
	snprintf(typed, sizeof(typed), "%s%s%s", first, *second ? " " : "",
	    second);
	if (in_group > 0 && *second == '\0')
		return ctl_misuse("%s what? \"jobqctl help %s\" tells", first,
		    first);
	near = near_name(typed, whole, COMMAND_COUNT);
	if (near == NULL && in_group == 0)
		near = near_name(first, head, COMMAND_COUNT);
	if (near != NULL)
		return ctl_misuse("no command %s; did you mean %s?", typed, near);
	return ctl_misuse("no command %s", typed);
}

static void
complain(const char *fmt, va_list ap)
{
	struct buf b = { 0 };
	char *text;

	if (vasprintf(&text, fmt, ap) < 0)
		return;
	fflush(stdout);
	out_escape(&b, text, false);
	fprintf(stderr, "jobqctl: %s\n", b.data);
	buf_clear(&b);
	free(text);
}

/* Where the database is, without a password. */
static char *
place(const struct ctl *ctl)
{
	const char *url = ctl->url != NULL ? ctl->url : ctl->conf->database.url;
	const char *host = "", *port = "", *db = "";
	PQconninfoOption *all = PQconninfoParse(url, NULL), *o;
	char *text;

	if (all == NULL)
		return xstrdup("(no connection string)");
	for (o = all; o->keyword != NULL; o++) {
		if (o->val == NULL)
			continue;
		if (strcmp(o->keyword, "host") == 0)
			host = o->val;
		else if (strcmp(o->keyword, "port") == 0)
			port = o->val;
		else if (strcmp(o->keyword, "dbname") == 0)
			db = o->val;
	}
	text = xasprintf("%s%s%s/%s", *host == '\0' ? "the local socket" : host,
	    *port == '\0' ? "" : ":", port, db);
	PQconninfoFree(all);
	return text;
}
