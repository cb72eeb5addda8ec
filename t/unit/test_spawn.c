#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/spawn.h"

static char *no_env[] = { NULL };

/* Run sh -c text; its exit status. */
static int
shell(const char *text, const struct spawn_limits *limits)
{
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)text, NULL };
	struct spawn s = {
		.path = "/bin/sh", .argv = argv, .envp = no_env,
		.directory = "/", .fds = { -1, -1, -1, -1 }, .limits = limits,
	};
	struct err e;
	pid_t pid = spawn_start(&s, &e);
	int status;

	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void
test_spawn_runs(void **state)
{
	(void)state;
	assert_int_equal(shell("exit 7", NULL), 7);
	assert_int_equal(shell("kill -9 $$", NULL), 1009);
	/* The null device where nothing was given; no descriptor 3. */
	assert_int_equal(shell("test \"$(readlink /proc/$$/fd/0)\" = /dev/null "
	    "&& ! test -e /proc/$$/fd/3", NULL), 0);
	assert_int_equal(shell("test -z \"$HOME\"", NULL), 0);
}

static void
test_spawn_inherits_nothing(void **state)
{
	sigset_t all;
	int fd = open("/dev/null", O_RDONLY);	/* no close-on-exec */

	(void)state;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	assert_int_equal(shell("for f in 4 5 6 7 8 9; do "
	    "test -e /proc/$$/fd/$f && test \"$(readlink /proc/$$/fd/$f)\" = /dev/null "
	    "&& exit 1; done; exit 0", NULL), 0);
	/* In the shell's place: it blocks signals itself while it starts one. */
	assert_int_equal(shell("exec grep -q '^SigBlk:.0*$' /proc/self/status",
	    NULL), 0);
	/* but for 32 and 33, the C library's own, that make may ignore */
	assert_int_equal(shell("exec grep -Eq '^SigIgn:.0*([018]80000000)?$' "
	    "/proc/self/status", NULL), 0);
	sigprocmask(SIG_UNBLOCK, &all, NULL);
	close(fd);
}

static void
test_spawn_limits(void **state)
{
	struct spawn_limits l = {
		.limits = { { RLIMIT_NOFILE, 33 }, { RLIMIT_CPU, 1 } },
		.nlimits = 2, .no_privileges = true,
	};

	(void)state;
	assert_int_equal(shell("exit $(ulimit -n)", &l), 33);
	assert_int_equal(shell("grep -q '^NoNewPrivs:.1$' /proc/$$/status", &l), 0);
	assert_int_equal(shell("while :; do :; done", &l), 1000 + SIGXCPU);
}

static void
test_spawn_descriptors(void **state)
{
	char *argv[] = {
		(char *)"sh", (char *)"-c",
		(char *)"cat <&0; echo two >&2; echo three >&3", NULL,
	};
	struct spawn s = { .path = "/bin/sh", .argv = argv, .envp = no_env };
	int in[2], out[2];
	char text[64] = "";
	struct err e;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	assert_int_equal(write(in[1], "one\n", 4), 4);
	close(in[1]);
	s.fds[0] = in[0];
	s.fds[1] = s.fds[2] = s.fds[3] = out[1];
	pid = spawn_start(&s, &e);
	assert_true(pid > 0);
	close(in[0]);
	close(out[1]);
	waitpid(pid, NULL, 0);
	for (size_t n = 0; n < sizeof(text) - 1; n++)
		if (read(out[0], text + n, 1) <= 0)
			break;
	close(out[0]);
	assert_string_equal(text, "one\ntwo\nthree\n");
}

static void
test_spawn_failures(void **state)
{
	char *argv[] = { (char *)"x", NULL };
	struct spawn s = {
		.path = "/nonexistent", .argv = argv, .envp = no_env,
		.fds = { -1, -1, -1, -1 },
	};
	struct err e;

	(void)state;
	assert_int_equal(spawn_start(&s, &e), -1);
	assert_int_equal(e.code, ERR_CONFIG);
	assert_string_equal(e.msg,
	    "/nonexistent: cannot execute it: No such file or directory");
	s.path = "/etc/passwd";
	assert_int_equal(spawn_start(&s, &e), -1);
	s.path = "/bin/sh";
	s.directory = "/nonexistent";
	assert_int_equal(spawn_start(&s, &e), -1);
	assert_string_equal(e.msg,
	    "/bin/sh: cannot enter /nonexistent: No such file or directory");
	/* Nothing is left to be reaped. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void
test_spawn_find(void **state)
{
	char *env[] = { (char *)"PATH=/nonexistent::/bin:/usr/bin", NULL };
	struct err e;
	char *path;

	(void)state;
	path = spawn_find("sh", env, &e);
	assert_string_equal(path, "/bin/sh");
	free(path);
	path = spawn_find("./sh", env, &e);
	assert_string_equal(path, "./sh");
	free(path);
	assert_null(spawn_find("no-such-program", env, &e));
	assert_null(spawn_find("", env, &e));
	assert_non_null(strstr(e.msg, "/nonexistent::/bin"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spawn_runs),
		cmocka_unit_test(test_spawn_inherits_nothing),
		cmocka_unit_test(test_spawn_limits),
		cmocka_unit_test(test_spawn_descriptors),
		cmocka_unit_test(test_spawn_failures),
		cmocka_unit_test(test_spawn_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
