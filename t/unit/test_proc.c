/*
 * os/proc: what a child finds, and that nobody is left behind.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "os/loop.h"
#include "os/proc.h"

/* Numbers of the open descriptors: "0 1 2 3 ". */
static void
list_fds(char *text, size_t size)
{
	text[0] = '\0';
	for (int fd = 0; fd < 200; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			snprintf(text + strlen(text), size - strlen(text),
			    "%d ", fd);
}

static void
report(int fd, const char *what, const char *value)
{
	char line[512];

	snprintf(line, sizeof(line), "%s=%s\n", what, value);
	if (write(fd, line, strlen(line)) < 0)
		_exit(3);
}

static const char *
disposition(int signo)
{
	struct sigaction act;

	sigaction(signo, NULL, &act);
	return act.sa_handler == SIG_DFL ? "default" :
	    act.sa_handler == SIG_IGN ? "ignored" : "caught";
}

static void
child_reports(void)
{
	char text[256];
	sigset_t mask;
	int death = 0;

	list_fds(text, sizeof(text));
	report(PROC_CHANNEL_FD, "fds", text);
	report(PROC_CHANNEL_FD, "term", disposition(SIGTERM));
	report(PROC_CHANNEL_FD, "pipe", disposition(SIGPIPE));
	report(PROC_CHANNEL_FD, "usr1", disposition(SIGUSR1));
	report(PROC_CHANNEL_FD, "chld", disposition(SIGCHLD));
	sigprocmask(SIG_SETMASK, NULL, &mask);
	report(PROC_CHANNEL_FD, "mask", sigisemptyset(&mask) ? "empty" : "set");
	report(PROC_CHANNEL_FD, "group", getpgrp() == getpid() ? "own" : "other");
	prctl(PR_GET_PDEATHSIG, &death);
	report(PROC_CHANNEL_FD, "death", death == SIGTERM ? "term" : "other");
}

static void
never(int signo, void *arg)
{
	(void)signo;
	(void)arg;
}

/* Fork a child that reports over its channel; returns what it said. */
static char *
ask_child(int extra_fd)
{
	static char said[4096];
	struct loop *loop = loop_new();
	struct err e;
	size_t len = 0;
	ssize_t n;
	int fds[2], status;
	pid_t pid;

	loop_signal(loop, SIGTERM, never, NULL);
	loop_signal(loop, SIGCHLD, never, NULL);
	assert_int_equal(proc_pair(fds, &e), 0);
	pid = proc_fork(loop, fds[1], extra_fd, &e);
	assert_true(pid >= 0);
	if (pid == 0) {
		child_reports();
		_exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], said + len, sizeof(said) - 1 - len)) > 0)
		len += (size_t)n;
	said[len] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	loop_free(loop);
	return said;
}

static void
test_proc_fork_child_is_clean(void **state)
{
	int stray = open("/dev/null", O_RDONLY);	/* not close-on-exec */
	const char *said = ask_child(-1);

	(void)state;
	assert_non_null(strstr(said, "fds=0 1 2 3 \n"));
	assert_non_null(strstr(said, "term=default\n"));
	assert_non_null(strstr(said, "pipe=ignored\n"));
	assert_non_null(strstr(said, "usr1=caught\n"));
	assert_non_null(strstr(said, "chld=default\n"));
	assert_non_null(strstr(said, "mask=empty\n"));
	assert_non_null(strstr(said, "group=own\n"));
	assert_non_null(strstr(said, "death=term\n"));
	close(stray);
}

static void
test_proc_fork_log_and_extra_descriptor(void **state)
{
	char path[] = "/tmp/test_proc.XXXXXX";
	struct err e;
	struct stat st;
	int fd = mkstemp(path);
	const char *said;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(log_open(path, LOG_LEVEL_INFO, LOG_TEXT, &e), 0);
	said = ask_child(fd);
	assert_non_null(strstr(said, "fds=0 1 2 3 4 5 \n"));
	assert_int_equal(log_own_open("/dev/null", &e), 0);
	said = ask_child(fd);
	assert_non_null(strstr(said, "fds=0 1 2 3 4 5 16 \n"));
	log_own_close("/dev/null");
	assert_int_equal(log_open("stderr", LOG_LEVEL_INFO, LOG_TEXT, &e), 0);
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	unlink(path);
}

/* What a child logs and prints follows the file when it is rotated. */
static void
test_proc_fork_log_rotates(void **state)
{
	char dir[] = "/tmp/test_proc.XXXXXX", path[64], old[64], text[256] = "";
	struct err e;
	int status, fd;
	pid_t pid;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/log", dir);
	snprintf(old, sizeof(old), "%s/old", dir);
	assert_int_equal(log_open(path, LOG_LEVEL_INFO, LOG_TEXT, &e), 0);
	pid = proc_fork(NULL, -1, -1, &e);
	if (pid == 0) {
		log_info("before", "");
		rename(path, old);
		raise(SIGUSR1);
		log_info("after", "");
		_exit(write(2, "printed\n", 8) == 8 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	fd = open(path, O_RDONLY);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	assert_null(strstr(text, "before"));
	assert_non_null(strstr(text, "after"));
	assert_non_null(strstr(text, "printed"));
	assert_int_equal(log_open("stderr", LOG_LEVEL_INFO, LOG_TEXT, &e), 0);
	unlink(path);
	unlink(old);
	rmdir(dir);
}

/* A tree of processes: each forks `width` others down to `depth`, in
 * sessions of their own and orphaned, and ignores what can be ignored. */
static _Noreturn void
plant(int depth, int width, int tell)
{
	signal(SIGTERM, SIG_IGN);
	for (int i = 0; i < width && depth > 0; i++)
		if (fork() == 0) {
			setsid();
			depth--;
			i = -1;
		}
	if (write(tell, "x", 1) != 1)
		_exit(1);
	if (depth > 0)
		_exit(0);	/* the leaves become orphans */
	for (;;)
		pause();
}

static void
grow(int tell[2], int depth, int width)
{
	char c;

	if (fork() == 0)
		plant(depth, width, tell[1]);
	for (int n = 1; depth >= 0; depth--, n *= width)
		for (int i = 0; i < n; i++)
			assert_int_equal(read(tell[0], &c, 1), 1);
}

static void
test_proc_kill_children_takes_the_whole_tree(void **state)
{
	int tell[2];
	char c;

	(void)state;
	assert_int_equal(pipe(tell), 0);
	proc_adopt_orphans();
	grow(tell, 3, 3);
	proc_kill_children(NULL, 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	close(tell[1]);
	assert_int_equal(read(tell[0], &c, 1), 0);	/* nobody holds it */
	close(tell[0]);
}

static void
test_proc_kill_children_spares(void **state)
{
	pid_t pids[64], spare;
	int tell[2], status;

	(void)state;
	assert_int_equal(pipe(tell), 0);
	if ((spare = fork()) == 0)
		for (;;)
			pause();
	grow(tell, 2, 2);
	proc_kill_children(&spare, 1);
	assert_int_equal(proc_children(pids, 64), 1);
	assert_int_equal(pids[0], spare);
	kill(spare, SIGKILL);
	assert_int_equal(waitpid(spare, &status, 0), spare);
	assert_int_equal(proc_children(pids, 64), 0);
	close(tell[0]);
	close(tell[1]);
}

/* Who does not wait: all of the tree is dead, the spared one is not. */
static void
test_proc_kill_strays(void **state)
{
	int tell[2], others[2], status;
	pid_t spare;
	char c;

	(void)state;
	assert_int_equal(pipe(tell), 0);
	assert_int_equal(pipe(others), 0);
	if ((spare = fork()) == 0) {
		close(tell[1]);
		grow(others, 1, 2);	/* its descendants are its own */
		for (;;)
			pause();
	}
	grow(tell, 3, 3);
	close(tell[1]);
	proc_kill_strays(&spare, 1);
	assert_int_equal(read(tell[0], &c, 1), 0);
	assert_int_equal(waitpid(spare, &status, WNOHANG), 0);
	proc_kill_children(NULL, 0);
	close(others[1]);
	assert_int_equal(read(others[0], &c, 1), 0);
	close(tell[0]);
	close(others[0]);
}

static void
test_proc_rss_is_plausible(void **state)
{
	(void)state;
	assert_in_range(proc_rss_kb(getpid()), 100, 100 << 20);
}

static void
test_proc_title(void **state)
{
	char text[4096] = "";
	ssize_t n;
	int fd;

	(void)state;
	proc_title("jobqd: worker %s/%d and a long tail", "email", 2);
	proc_title("jobqd: worker %s/%d", "email", 2);
	fd = open("/proc/self/cmdline", O_RDONLY);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	assert_true(n > 0);
	assert_string_equal(text, "jobqd: worker email/2");
	for (size_t i = strlen(text); i < (size_t)n; i++)
		assert_int_equal(text[i], 0);	/* nothing behind it */
	assert_non_null(getenv("PATH"));
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_proc_fork_child_is_clean),
		cmocka_unit_test(test_proc_fork_log_and_extra_descriptor),
		cmocka_unit_test(test_proc_fork_log_rotates),
		cmocka_unit_test(test_proc_kill_children_takes_the_whole_tree),
		cmocka_unit_test(test_proc_kill_children_spares),
		cmocka_unit_test(test_proc_kill_strays),
		cmocka_unit_test(test_proc_rss_is_plausible),
		cmocka_unit_test(test_proc_title),
	};

	proc_title_init(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
