/*
 * jobqctl doctor: all that may be wrong with jobqd, its configuration, this
 * machine and the database, each in one line with what to do about it. It goes
 * on as far as it can: what is broken is what it is called for.
 */
#include "config.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/xalloc.h"
#include "ctl/doctor.h"
#include "ctl/out.h"
#include "db/migrate.h"
#include "db/pg.h"
#include "db/stmt.h"
#include "os/loop.h"

#define SKEW_WARN 1.0		/* seconds between the clocks */
#define SKEW_BAD 60.0
#define SKEW_ROUNDS 5

static const char *const names[] = { "ok", "warn", "bad" };

static void configuration(struct doctor *);
static void zones(struct doctor *);
static void database(struct doctor *);
static void server(struct doctor *);
static void transport(struct doctor *);
static void role(struct doctor *);
static void clocks(struct doctor *);
static void schema(struct doctor *);
static void version(struct doctor *);
static void checkup(struct doctor *);
static int summary(struct doctor *);

int
doctor_run(struct ctl *ctl, const struct args *a)
{
	struct doctor d = { .ctl = ctl };
	int status;

	(void)a;
	doctor_say(&d, FOUND_OK, "version", NULL, "jobqctl %s with %s, %s, %s",
	    PACKAGE_VERSION, pg_library(), conf_library(), loop_library());
	if (ctl->url == NULL)
		configuration(&d);
	if (ctl->conf != NULL || ctl->url != NULL)
		database(&d);
	if (ctl->conf != NULL)
		host_look(&d);
	status = summary(&d);
	free(d.version);
	return status;
}

void
doctor_say(struct doctor *d, enum finding found, const char *subject,
    const char *advice, const char *fmt, ...)
{
	struct buf text = { 0 }, line = { 0 };
	char raw[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	d->counts[found]++;
	if (d->ctl->json) {
		buf_printf(&d->json, "%s{\"subject\":\"%s\",\"level\":\"%s\","
		    "\"finding\":", d->json.len > 0 ? "," : "", subject,
		    names[found]);
		buf_json(&d->json, raw, strlen(raw));
		buf_str(&d->json, ",\"advice\":");
		if (advice != NULL)
			buf_json(&d->json, advice, strlen(advice));
		else
			buf_str(&d->json, "null");
		buf_char(&d->json, '}');
	} else {
		out_escape(&text, raw, false);
		buf_printf(&line, "%-4s  %-13s  %s\n", names[found], subject,
		    text.data == NULL ? "" : text.data);
		if (advice != NULL) {
			buf_reset(&text);
			out_escape(&text, advice, false);
			buf_printf(&line, "%21s%s\n", "-> ", text.data);
		}
		fputs(line.data, stdout);
	}
	buf_clear(&text);
	buf_clear(&line);
}

static int
summary(struct doctor *d)
{
	int bad = d->counts[FOUND_BAD], warn = d->counts[FOUND_WARN];

	if (d->ctl->json) {
		buf_str(&d->json, "]\n");
		putchar('[');
		out_json_value(d->json.data);
		buf_clear(&d->json);
	} else if (bad == 0 && warn == 0) {
		puts("\nnothing is wrong");
	} else {
		printf("\n%d bad, %d to look at\n", bad, warn);
	}
	return bad == 0 ? CTL_DONE : CTL_FAILED;
}

/* ---- the configuration ------------------------------------------------ */

static void
configuration(struct doctor *d)
{
	struct ctl *ctl = d->ctl;
	char *complaints = NULL, *rest, *line;

	if (ctl_load(ctl, &complaints) < 0) {
		rest = complaints;
		while ((line = strsep(&rest, "\n")) != NULL)
			if (*line != '\0')
				doctor_say(d, FOUND_BAD, "configuration",
				    "mend it; \"jobqd -t\" checks it", "%s", line);
		doctor_say(d, FOUND_WARN, "configuration", "name the right one "
		    "by -c FILE, or the database by --database URL",
		    "without it nothing else can be looked at");
	} else {
		doctor_say(d, FOUND_OK, "configuration", NULL,
		    "%s: %zu queues, %zu schedules", ctl->conf_path,
		    ctl->conf->nqueues, ctl->conf->nschedules);
		zones(d);
	}
	free(complaints);
}

/* The system's list of time zones is what schedules go by. */
static void
zones(struct doctor *d)
{
	const char *dir = getenv("TZDIR");
	char path[512], version[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/tzdata.zi", dir != NULL &&
	    *dir == '/' ? dir : "/usr/share/zoneinfo");
	f = fopen(path, "re");
	if (f != NULL && fscanf(f, "# version %63s", version) != 1)
		version[0] = '\0';
	if (f != NULL)
		fclose(f);
	if (version[0] != '\0')
		doctor_say(d, FOUND_OK, "time zones", NULL,
		    "version %s of the time zone data", version);
	else
		doctor_say(d, FOUND_WARN, "time zones", "install the package "
		    "tzdata", "there is no %s, so the version of the time zone "
		    "data is not known", path);
}

/* ---- the database ----------------------------------------------------- */

static void
database(struct doctor *d)
{
	struct ctl *ctl = d->ctl;
	const char *url = ctl->url != NULL ? ctl->url : ctl->conf->database.url;
	struct err e;

	if (ctl->schema == NULL)
		ctl->schema = SCHEMA_DEFAULT;
	ctl->db = pgsync_open(url, "jobqctl", PGSYNC_CONNECT_MS, &e);
	if (ctl->db == NULL) {
		doctor_say(d, FOUND_BAD, "database", e.code == ERR_CONFIG ?
		    "mend database.url: the database, the role or the password" :
		    "start it, or mend database.url; jobqd waits for it",
		    "%s", e.msg);
		return;
	}
	server(d);
	transport(d);
	role(d);
	clocks(d);
	schema(d);
}

/* The first row; NULL: said why there is none. */
static PGresult *
ask(struct doctor *d, const char *subject, const char *sql, int nparams,
    const char *const *params)
{
	char *text = stmt_in_schema(sql, d->ctl->schema);
	struct err e;
	PGresult *res = pgsync_query(d->ctl->db, text, nparams, params, &e);

	free(text);
	if (res != NULL && PQntuples(res) > 0)
		return res;
	if (res == NULL)
		doctor_say(d, FOUND_BAD, subject, NULL, "%s", e.msg);
	PQclear(res);
	return NULL;
}

static void
server(struct doctor *d)
{
	PGconn *db = d->ctl->db;
	int version = PQserverVersion(db);

	doctor_say(d, version < SERVER_MIN ? FOUND_BAD : FOUND_OK, "database",
	    version < SERVER_MIN ? "jobqd needs PostgreSQL 15 or later" : NULL,
	    "%s on PostgreSQL %d.%d", PQdb(db), version / 10000,
	    version % 10000);
}

static void
transport(struct doctor *d)
{
	PGconn *db = d->ctl->db;
	const char *host = PQhost(db), *addr = PQhostaddr(db);
	bool here = host == NULL || *host == '\0' || *host == '/' ||
	    *host == '@' || strncmp(addr, "127.", 4) == 0 ||
	    strcmp(addr, "::1") == 0;

	if (PQsslInUse(db))
		doctor_say(d, FOUND_OK, "encryption", NULL, "%s to %s",
		    PQsslAttribute(db, "protocol"), host);
	else if (!here)
		doctor_say(d, FOUND_WARN, "encryption", "sslmode=verify-full in "
		    "database.url, and ssl = on in the server", "what goes to "
		    "the database at %s can be read on the way", host);
}

static void
role(struct doctor *d)
{
	PGresult *res = ask(d, "role", "SELECT rolname, rolsuper, rolbypassrls "
	    "FROM pg_catalog.pg_roles WHERE rolname = current_user", 0, NULL);
	const struct conf *conf = d->ctl->conf;
	bool own = conf != NULL && *conf->database.embedded != '\0';

	if (res == NULL)
		return;
	if (pg_true(res, 0, 1) && !own)
		doctor_say(d, FOUND_WARN, "role", "give jobqd an ordinary role "
		    "that owns its schema", "%s is a superuser, which jobqd "
		    "does not need", pg_text(res, 0, 0));
	else if (pg_true(res, 0, 2) && !own)
		doctor_say(d, FOUND_WARN, "role", "alter role … nobypassrls",
		    "%s may bypass row security, which jobqd does not need",
		    pg_text(res, 0, 0));
	else
		doctor_say(d, FOUND_OK, "role", NULL, "%s%s", pg_text(res, 0, 0),
		    own ? ", of a cluster of our own" : "");
	PQclear(res);
}

static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* By the round that was answered soonest: the truth is within half of it. */
static void
clocks(struct doctor *d)
{
	double skew = 0, within = HUGE_VAL;
	enum finding found = FOUND_OK;

	for (int i = 0; i < SKEW_ROUNDS; i++) {
		double before = seconds(), after, at;
		PGresult *res = ask(d, "clock", "SELECT extract(epoch FROM "
		    "clock_timestamp())::float8", 0, NULL);

		if (res == NULL)
			return;
		after = seconds();
		at = strtod(PQgetvalue(res, 0, 0), NULL);
		PQclear(res);
		if ((after - before) / 2 > within)
			continue;
		within = (after - before) / 2;
		skew = at - (before + after) / 2;
	}
	if (fabs(skew) - within >= SKEW_WARN)
		found = fabs(skew) >= SKEW_BAD ? FOUND_BAD : FOUND_WARN;
	doctor_say(d, found, "clock", found == FOUND_OK ? NULL : "set the clocks "
	    "by NTP; jobqd goes by the database's, the logs by this machine's",
	    "the database's is %.3f s %s this machine's (to within %.3f s)",
	    fabs(skew), skew < 0 ? "behind" : "ahead of", within);
}

static void
schema(struct doctor *d)
{
	struct ctl *ctl = d->ctl;
	struct err e;

	if (migrate_check(ctl->db, ctl->schema, &e) < 0) {
		doctor_say(d, FOUND_BAD, "schema", "\"jobqctl migrate\", or start "
		    "jobqd", "%s", e.msg);
		return;
	}
	doctor_say(d, FOUND_OK, "schema", NULL, "%s, version %d", ctl->schema,
	    SCHEMA_VERSION);
	version(d);
	checkup(d);
}

/* What this node's daemon says of itself, if it lives. */
static void
version(struct doctor *d)
{
	const struct conf *conf = d->ctl->conf;
	const char *params[] = { conf != NULL ? conf->daemon.node : "" };
	PGresult *res = ask(d, "daemon", "SELECT max(version) FROM jobq.nodes "
	    "WHERE name = $1 AND alive", 1, params);

	if (res != NULL)
		d->version = xstrdup(pg_text(res, 0, 0));
	PQclear(res);
}

/* What the database itself can tell. The process id shows it a pooler. */
static void
checkup(struct doctor *d)
{
	char pid[24];
	const char *params[] = { pid };
	PGresult *res;

	snprintf(pid, sizeof(pid), "%d", PQbackendPID(d->ctl->db));
	res = ask(d, "checkup", "SELECT subject, level, finding, nullif(advice, "
	    "'') FROM jobq.checkup(client_pid => $1)", 1, params);
	for (int i = 0; res != NULL && i < PQntuples(res); i++) {
		const char *level = PQgetvalue(res, i, 1);

		doctor_say(d, strcmp(level, "ok") == 0 ? FOUND_OK :
		    strcmp(level, "warn") == 0 ? FOUND_WARN : FOUND_BAD,
		    PQgetvalue(res, i, 0), pg_text(res, i, 3), "%s",
		    PQgetvalue(res, i, 2));
	}
	PQclear(res);
}
