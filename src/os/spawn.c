/*
 * Programs: see spawn.h. Between fork and exec only async-signal-safe calls
 * are made, since a library may have started threads in this process:
 * everything is prepared before.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "os/cgroup.h"
#include "os/filter.h"
#include "os/landlock.h"
#include "os/spawn.h"

#define REPORT_FD 4		/* in the child: where a failure is told */
#define RULES_FD 5		/* in the child: Landlock's, if there are any */
#define FREE_FD 8		/* above every number with a meaning */
#define CPU_GRACE 5		/* seconds */
#define OOM_SCORE "500"		/* of -1000 … 1000 */

enum step {
	STEP_FDS, STEP_LIMIT, STEP_NETWORK, STEP_USER, STEP_PRIVILEGES,
	STEP_RULES, STEP_DIRECTORY, STEP_FILTER, STEP_EXEC
};

/* What the child tells when it fails. */
struct report {
	int step;
	int number;		/* errno */
};

static _Noreturn void
report_failure(int fd, enum step step)
{
	struct report r = { step, errno };
	ssize_t n;

	do
		n = write(fd, &r, sizeof(r));
	while (n < 0 && errno == EINTR);
	_exit(127);
}

static void
reset_signals(void)
{
	struct sigaction act = { .sa_handler = SIG_DFL };

	for (int signo = 1; signo < NSIG; signo++)
		sigaction(signo, &act, NULL);
}

/*
 * Move the descriptors to their places. All are first copied out of the way,
 * so that no place is taken before its old owner was moved.
 */
static int
place_fds(const int fds[4], int report, int rules)
{
	int high[4], null;

	if ((report = fcntl(report, F_DUPFD_CLOEXEC, FREE_FD)) < 0 ||
	    (rules >= 0 && (rules = fcntl(rules, F_DUPFD_CLOEXEC, FREE_FD)) < 0))
		return -1;
	for (int i = 0; i < 4; i++) {
		high[i] = -1;
		if (fds[i] >= 0 &&
		    (high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, FREE_FD)) < 0)
			return -1;
	}
	if ((null = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0)
		return -1;
	for (int i = 0; i < 3; i++)
		if (high[i] < 0 &&
		    (high[i] = fcntl(null, F_DUPFD_CLOEXEC, FREE_FD)) < 0)
			return -1;
	for (int i = 0; i < 4; i++)
		if (high[i] < 0)
			close(i);
		else if (dup2(high[i], i) < 0)
			return -1;
	if (dup3(report, REPORT_FD, O_CLOEXEC) < 0)
		return -1;
	if (rules < 0)
		close(RULES_FD);
	else if (dup3(rules, RULES_FD, O_CLOEXEC) < 0)
		return -1;
	close_range(RULES_FD + 1, ~0U, 0);
	return 0;
}

/*
 * What root keeps in a sandbox. Others could look into any process or change
 * the machine; who is not root has none to lose but those that the daemon was
 * given for its programs.
 */
static void
drop_capabilities(void)
{
	static const unsigned long kept = 1ul << CAP_CHOWN |
	    1ul << CAP_DAC_OVERRIDE | 1ul << CAP_FOWNER | 1ul << CAP_FSETID |
	    1ul << CAP_KILL | 1ul << CAP_SETGID | 1ul << CAP_SETUID |
	    1ul << CAP_NET_BIND_SERVICE;

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (unsigned long cap = 0; cap < 64; cap++)
		if (!(kept >> cap & 1))
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

/* That of a service may be protected from it. If we may not, no harm is done. */
static void
be_killed_first(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, OOM_SCORE, sizeof(OOM_SCORE) - 1) < 0)
		errno = 0;
	close(fd);
}

static void
apply_limits(const struct spawn_limits *l, int report)
{
	for (int i = 0; i < l->nlimits; i++) {
		struct rlimit r = { l->limits[i].value, l->limits[i].value };

		/* First SIGXCPU, which says why; at the hard limit KILL. */
		if (l->limits[i].resource == RLIMIT_CPU)
			r.rlim_max += CPU_GRACE;
		if (setrlimit(l->limits[i].resource, &r) < 0)
			report_failure(report, STEP_LIMIT);
	}
	/* A user namespace makes an empty network possible for everybody. */
	if (l->no_network && unshare(CLONE_NEWNET) < 0 &&
	    !l->filter_refuses_network &&
	    unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		report_failure(report, STEP_NETWORK);
	if (l->first_killed)
		be_killed_first();
	if (l->few_capabilities)
		drop_capabilities();
	if (l->user && (setgroups((size_t)l->ngroups, l->groups) < 0 ||
	    setresgid(l->gid, l->gid, l->gid) < 0 ||
	    setresuid(l->uid, l->uid, l->uid) < 0))
		report_failure(report, STEP_USER);
	if (l->no_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		report_failure(report, STEP_PRIVILEGES);
	if (l->has_rules && landlock_enter(RULES_FD) < 0)
		report_failure(report, STEP_RULES);
}

static _Noreturn void
child(const struct spawn *s, pid_t parent, int report)
{
	const struct spawn_limits *l = s->limits;
	sigset_t none;

	setsid();
	reset_signals();
	if (place_fds(s->fds, report, l != NULL && l->has_rules ? l->rules :
	    -1) < 0)
		report_failure(report, STEP_FDS);
	if (l != NULL)
		apply_limits(l, REPORT_FD);
	/* After the change of user, which takes it away again. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	if (s->directory != NULL && chdir(s->directory) < 0)
		report_failure(REPORT_FD, STEP_DIRECTORY);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (l != NULL && l->filter != NULL && filter_enter(l->filter) < 0)
		report_failure(REPORT_FD, STEP_FILTER);
	execve(s->path, s->argv, s->envp);
	report_failure(REPORT_FD, STEP_EXEC);
}

static int
explain(const struct spawn *s, const struct report *r, struct err *e)
{
	static const char *const steps[] = {
		[STEP_FDS] = "arrange its descriptors",
		[STEP_LIMIT] = "set the limits of its sandbox",
		[STEP_NETWORK] = "take the network away from it",
		[STEP_USER] = "become the user of its sandbox",
		[STEP_PRIVILEGES] = "give up its privileges",
		[STEP_RULES] = "be confined by Landlock",
		[STEP_FILTER] = "have its system calls filtered",
		[STEP_EXEC] = "execute it",
	};
	bool busy = r->number == EAGAIN || r->number == ENOMEM ||
	    r->number == EMFILE || r->number == ENFILE || r->number == ETXTBSY;

	errno = r->number;
	if (r->step == STEP_DIRECTORY)
		err_errno(e, "%s: cannot enter %s", s->path, s->directory);
	else
		err_errno(e, "%s: cannot %s", s->path, steps[r->step]);
	if (e != NULL)
		e->code = busy ? ERR_BUSY : ERR_CONFIG;
	return -1;
}

/* The child's failure, or end of file when its exec closed the pipe. */
static int
read_report(const struct spawn *s, int fd, struct err *e)
{
	struct report r;
	ssize_t n;

	do
		n = read(fd, &r, sizeof(r));
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)sizeof(r) && r.step >= 0 && r.step <= STEP_EXEC)
		return explain(s, &r, e);
	return 0;
}

/* fork(), into a control group where there is one and the system lets us. */
static pid_t
fork_into(int group)
{
	struct clone_args args = {
		.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD,
		.cgroup = (unsigned long long)group,
	};
	long pid;

	if (group < 0)
		return fork();
	pid = syscall(SYS_clone3, &args, sizeof(args));
	return pid < 0 && errno != EAGAIN && errno != ENOMEM ? fork() : (pid_t)pid;
}

pid_t
spawn_start(const struct spawn *s, struct err *e)
{
	int group = cgroup_fd();
	sigset_t all, before;
	pid_t parent = getpid(), pid;
	int report[2], rc;

	if (pipe2(report, O_CLOEXEC) < 0)
		return err_code(e, ERR_BUSY, "%s: no pipe: %s", s->path,
		    strerror(errno));
	/* No handler of this process may run in the child. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork_into(group);
	if (pid == 0)
		child(s, parent, report[1]);
	rc = errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(report[1]);
	if (pid < 0) {
		close(report[0]);
		return err_code(e, ERR_BUSY, "%s: cannot fork: %s", s->path,
		    strerror(rc));
	}
	rc = read_report(s, report[0], e);
	close(report[0]);
	if (rc < 0) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return -1;
	}
	return pid;
}

static bool
is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	    access(path, X_OK) == 0;
}

static const char *
path_of(char *const *envp)
{
	for (; *envp != NULL; envp++)
		if (strncmp(*envp, "PATH=", 5) == 0)
			return *envp + 5;
	return SPAWN_PATH;
}

char *
spawn_find(const char *name, char *const *envp, struct err *e)
{
	const char *dir = path_of(envp), *all = dir;

	if (strchr(name, '/') != NULL)
		return xstrdup(name);
	while (*name != '\0' && *dir != '\0') {
		size_t len = strcspn(dir, ":");
		char *path = xasprintf("%.*s/%s", (int)len, dir, name);

		if (len > 0 && is_program(path))
			return path;
		free(path);
		dir += len + (dir[len] == ':');
	}
	err_code(e, ERR_CONFIG, "there is no program \"%s\" in %s", name, all);
	return NULL;
}

int
spawn_user(struct spawn_limits *l, const char *name, struct err *e)
{
	struct passwd *pw = getpwnam(name);

	if (pw == NULL)
		return err_code(e, ERR_CONFIG, "there is no user %s", name);
	if (pw->pw_uid == geteuid())
		return 0;
	if (geteuid() != 0)
		return err_code(e, ERR_CONFIG,
		    "only root can run programs as %s", name);
	l->ngroups = SPAWN_GROUPS;
	if (getgrouplist(name, pw->pw_gid, l->groups, &l->ngroups) < 0)
		return err_code(e, ERR_CONFIG, "user %s is in more than %d groups",
		    name, SPAWN_GROUPS);
	l->user = true;
	l->uid = pw->pw_uid;
	l->gid = pw->pw_gid;
	return 0;
}
