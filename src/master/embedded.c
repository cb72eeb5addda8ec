/*
 * A PostgreSQL of our own (database.embedded, --dev), run as one more child
 * of the master. An empty directory is made into a cluster first: initdb into
 * data.new, the role and the database by a single-user server, and then the
 * rename that makes it data; what was interrupted before that is thrown away
 * at the next start. It listens on a unix socket only, as an ordinary user.
 *
 * Whether it serves is read from its postmaster.pid, as pg_ctl does: the
 * master has no connection to any database.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "master/table.h"
#include "os/priv.h"
#include "os/tree.h"

#define LOOK_EVERY (50 * MONO_MS)	/* whether it serves yet */
#define START_FAILURES 5		/* then the daemon's start has failed */
#define STATUS_LINE 8			/* of postmaster.pid */

enum phase { PHASE_INITDB, PHASE_CREATE, PHASE_SERVE };

struct embedded {
	struct master *master;
	pid_t parent;			/* the master's process id */
	char *dir, *data, *fresh, *bin, *log;
	struct identity user;
	bool change_user;		/* started as root */
	enum phase phase;
	bool up;			/* has served since its last start */
	unsigned failures;		/* in a row */
	struct child *child;
	struct timer *look, *retry;
};

/* One statement a line; the server ends at the first that fails. */
static const char statements[] =
    "CREATE ROLE jobq LOGIN\n"
    "CREATE DATABASE jobq OWNER jobq\n";

static bool
has_server(const char *bin)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/postgres", bin);
	return access(path, X_OK) == 0;
}

static long
version_in(const char *path)
{
	while (*path != '\0' && !isdigit((unsigned char)*path))
		path++;
	return strtol(path, NULL, 10);
}

/* The newest of the system's, or the one that made the cluster. */
static char *
installed_bin(long wanted)
{
	char *found = NULL;
	glob_t g;

	if (glob("/usr/lib/postgresql/*/bin", 0, NULL, &g) == 0)
		for (size_t i = 0; i < g.gl_pathc; i++) {
			const char *bin = g.gl_pathv[i];

			if (!has_server(bin) ||
			    (wanted != 0 && version_in(bin) != wanted) ||
			    (found != NULL && version_in(bin) < version_in(found)))
				continue;
			free(found);
			found = xstrdup(bin);
		}
	globfree(&g);
	return found;
}

static char *
bin_in_path(void)
{
	const char *path = getenv("PATH");
	char *copy = xstrdup(path ? path : ""), *rest = copy, *bin;
	char *found = NULL;

	while (found == NULL && (bin = strsep(&rest, ":")) != NULL)
		if (bin[0] == '/' && has_server(bin))
			found = xstrdup(bin);
	free(copy);
	return found;
}

static long
cluster_version(const struct embedded *pg)
{
	char *path = xasprintf("%s/PG_VERSION", pg->data);
	FILE *f = fopen(path, "re");
	long version = 0;

	if (f != NULL && fscanf(f, "%ld", &version) != 1)
		version = 0;
	if (f != NULL)
		fclose(f);
	free(path);
	return version;
}

static int
find_bin(struct embedded *pg, struct err *e)
{
	if (POSTGRES_BINDIR[0] != '\0')
		pg->bin = has_server(POSTGRES_BINDIR) ?
		    xstrdup(POSTGRES_BINDIR) : NULL;
	else if ((pg->bin = installed_bin(cluster_version(pg))) == NULL)
		pg->bin = bin_in_path();
	if (pg->bin == NULL)
		return err_code(e, ERR_CONFIG, "database.embedded: no "
		    "PostgreSQL server found; install the package postgresql, "
		    "or configure --with-postgres=DIR");
	return 0;
}

/* PostgreSQL refuses to run as root: then it is the directory's owner, or
 * postgres, or nobody. */
static int
find_user(struct embedded *pg, struct err *e)
{
	pg->change_user = geteuid() == 0;
	if (!pg->change_user)
		return 0;
	if (priv_owner(pg->dir, &pg->user, NULL) == 0 && pg->user.uid != 0)
		return 0;
	if (priv_find("postgres", "", &pg->user, NULL) != 0 &&
	    priv_find("nobody", "", &pg->user, NULL) != 0)
		return err_code(e, ERR_CONFIG, "database.embedded: PostgreSQL "
		    "does not run as root; set daemon.user to an ordinary user");
	if (chown(pg->dir, pg->user.uid, pg->user.gid) != 0)
		return err_errno(e, "cannot give %s to user %s", pg->dir,
		    pg->user.name);
	return 0;
}

static int
look_around(struct embedded *pg, struct err *e)
{
	if (tree_make(pg->dir, 0700, e) != 0)
		return err_prepend(e, "database.embedded");
	return find_bin(pg, e) == 0 ? find_user(pg, e) : -1;
}

static void on_look(void *);
static void on_retry(void *);

struct embedded *
embedded_new(struct master *master, const struct conf *conf, struct err *e)
{
	struct embedded *pg = xcalloc(1, sizeof(*pg));
	const char *dir = conf->database.embedded;

	pg->master = master;
	pg->parent = getpid();
	pg->dir = xstrdup(dir);
	pg->data = xasprintf("%s/data", dir);
	pg->fresh = xasprintf("%s/data.new", dir);
	pg->log = xasprintf("%s/server.log", dir);
	pg->look = timer_new(master->loop, on_look, pg);
	pg->retry = timer_new(master->loop, on_retry, pg);
	if (look_around(pg, e) != 0) {
		embedded_free(pg);
		return NULL;
	}
	return pg;
}

void
embedded_free(struct embedded *pg)
{
	if (pg == NULL)
		return;
	timer_free(pg->look);
	timer_free(pg->retry);
	free(pg->dir);
	free(pg->data);
	free(pg->fresh);
	free(pg->log);
	free(pg->bin);
	free(pg);
}

/* ---- in the child ----------------------------------------------------- */

static const char *
locale_name(void)
{
	locale_t l = newlocale(LC_ALL_MASK, "C.UTF-8", (locale_t)0);

	if (l == (locale_t)0)
		return "C";
	freelocale(l);
	return "C.UTF-8";
}

static void
input_statements(void)
{
	int fd = memfd_create("statements", MFD_CLOEXEC);

	if (fd < 0 || write(fd, statements, sizeof(statements) - 1) < 0 ||
	    lseek(fd, 0, SEEK_SET) != 0 || dup2(fd, STDIN_FILENO) < 0)
		fatal("cannot hand over statements", "error=%s",
		    strerror(errno));
}

static void
output_to_log(const struct embedded *pg)
{
	int fd = open(pg->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		fatal("cannot open the log of postgres", "file=%s error=%s",
		    pg->log, strerror(errno));
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
}

static void
become_program(const struct embedded *pg)
{
	struct err e;

	if (pg->change_user && priv_drop(&pg->user, &e) != 0)
		fatal("cannot run postgres", "reason=%s", e.msg);
	/* After the change of user, which would forget it. With the master
	 * gone nothing may go on, not even an orderly shutdown. */
	prctl(PR_SET_PDEATHSIG, pg->phase == PHASE_SERVE ? SIGQUIT : SIGKILL);
	if (getppid() != pg->parent)
		_exit(1);
	umask(077);
	if (chdir(pg->dir) != 0)
		fatal("cannot enter the directory", "path=%s error=%s", pg->dir,
		    strerror(errno));
	signal(SIGPIPE, SIG_DFL);
	signal(SIGUSR1, SIG_DFL);
}

_Noreturn void
embedded_exec(struct embedded *pg)
{
	char *initdb = xasprintf("%s/initdb", pg->bin);
	char *postgres = xasprintf("%s/postgres", pg->bin);
	char *locale = xasprintf("--locale=%s", locale_name());
	char *const make[] = { initdb, "-D", pg->fresh, "-U", "postgres",
	    "-A", "trust", "-E", "UTF8", locale,
	    pg->master->options->dev ? "-N" : NULL, NULL };
	char *const create[] = { postgres, "--single", "-D", pg->fresh,
	    "-c", "exit_on_error=on", "postgres", NULL };
	char *const serve[] = { postgres, "-D", pg->data, "-k", pg->dir,
	    "-p", "5432", "-c", "listen_addresses=",
	    "-c", "unix_socket_permissions=0700",	/* it trusts who gets in */
	    "-c", "logging_collector=off", "-c", "log_destination=stderr",
	    NULL };
	char *const *argv = pg->phase == PHASE_INITDB ? make :
	    pg->phase == PHASE_CREATE ? create : serve;

	become_program(pg);
	if (pg->phase == PHASE_CREATE)
		input_statements();
	output_to_log(pg);
	execv(argv[0], argv);
	fatal("cannot run postgres", "file=%s error=%s", argv[0],
	    strerror(errno));
}

/* ---- in the master ---------------------------------------------------- */

static void
run_phase(struct embedded *pg, enum phase phase)
{
	struct child_plan plan = {
		.kind = KIND_POSTGRES, .gen = pg->master->current,
	};

	pg->phase = phase;
	pg->up = false;
	pg->child = child_start(pg->master, &plan);
	if (pg->child == NULL)
		timer_set(pg->retry, unit_backoff(pg->master, pg->failures++));
	else if (phase == PHASE_SERVE)
		timer_set(pg->look, LOOK_EVERY);
}

void
embedded_start(struct embedded *pg)
{
	struct err e;

	if (cluster_version(pg) != 0) {
		run_phase(pg, PHASE_SERVE);
		return;
	}
	if (tree_remove(pg->fresh, &e) != 0) {
		log_error("cannot make a cluster", "reason=%s", e.msg);
		master_give_up(pg->master, "no database");
		return;
	}
	log_info("making a database cluster", "directory=%s", pg->data);
	run_phase(pg, PHASE_INITDB);
}

static void
on_retry(void *arg)
{
	struct embedded *pg = arg;

	if (pg->master->stage != STAGE_STOPPING)
		embedded_start(pg);
}

/* Does postmaster.pid say so, and is it this server's? */
static bool
serves(const struct embedded *pg)
{
	char *path = xasprintf("%s/postmaster.pid", pg->data), line[256];
	FILE *f = fopen(path, "re");
	bool yes = false;

	free(path);
	if (f == NULL)
		return false;
	for (int n = 1; fgets(line, sizeof(line), f) != NULL; n++) {
		if (n == 1 && strtol(line, NULL, 10) != (long)pg->child->pid)
			break;
		if (n == STATUS_LINE)
			yes = strncmp(line, "ready", 5) == 0;
	}
	fclose(f);
	return yes;
}

static void
on_look(void *arg)
{
	struct embedded *pg = arg;

	if (pg->child == NULL || pg->child->pid == 0)
		return;
	if (!serves(pg)) {
		timer_set(pg->look, LOOK_EVERY);
		return;
	}
	pg->up = true;
	pg->child->ready = true;
	log_info("postgres ready", "pid=%d socket=%s", (int)pg->child->pid,
	    pg->dir);
	if (!pg->master->prepared)
		master_prepare(pg->master);
}

static void
failed(struct embedded *pg, const struct child *c)
{
	mono_t delay;
	char end[32];

	if (pg->up)
		pg->failures = 0;
	delay = unit_backoff(pg->master, pg->failures++);
	log_error("postgres failed", "end=%s log=%s again_ms=%lld",
	    child_end(c, end, sizeof(end)), pg->log, (long long)(delay / MONO_MS));
	if (pg->master->stage == STAGE_STARTING &&
	    (pg->phase != PHASE_SERVE || pg->failures >= START_FAILURES))
		master_give_up(pg->master, "the embedded PostgreSQL does not run");
	else
		timer_set(pg->retry, delay);
}

void
embedded_gone(struct embedded *pg, struct child *c)
{
	bool well = WIFEXITED(c->status) && WEXITSTATUS(c->status) == 0;

	pg->child = NULL;
	timer_stop(pg->look);
	if (pg->master->stage == STAGE_STOPPING)
		return;
	if (!well || pg->phase == PHASE_SERVE) {
		failed(pg, c);
	} else if (pg->phase == PHASE_INITDB) {
		run_phase(pg, PHASE_CREATE);
	} else if (rename(pg->fresh, pg->data) == 0) {
		run_phase(pg, PHASE_SERVE);
	} else {
		log_error("cannot make a cluster", "from=%s to=%s error=%s",
		    pg->fresh, pg->data, strerror(errno));
		master_give_up(pg->master, "no database");
	}
}

void
embedded_stop(struct embedded *pg, int signo)
{
	if (pg->child != NULL)
		child_signal(pg->child, signo);
}
