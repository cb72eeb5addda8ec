/*
 * os/cgroup: which directory is ours, what is swept, and that a group of the
 * system, where we may make one, takes all that is in it.
 */
#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "os/cgroup.h"
#include "os/spawn.h"
#include "os/tree.h"

#define V1 "25 20 0:22 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
#define V2 "26 20 0:23 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"

static void
test_cgroup_directory(void **state)
{
	static const struct {
		const char *groups, *mounts, *expected;
	} cases[] = {
		{ "0::/\n", V1 V2, "/sys/fs/cgroup/" },
		{ "0::/system.slice/jobqd.service\n", V2,
		    "/sys/fs/cgroup/system.slice/jobqd.service" },
		{ "9:name=systemd:/x\n1:cpu:/\n0::/a b\n", V1 V2, "/sys/fs/cgroup/a b" },
		/* a part of the tree is mounted, as in a container */
		{ "0::/docker/7/sub\n",
		    "26 20 0:23 /docker/7 /mnt/cg ro shared:9 - cgroup2 none ro", "/mnt/cg/sub" },
		{ "0::/docker/7\n", "26 20 0:23 /docker/7 /mnt/cg ro - cgroup2 none ro\n",
		    "/mnt/cg" },
		{ "0::/docker/77\n", "26 20 0:23 /docker/7 /mnt/cg ro - cgroup2 none ro\n", NULL },
		{ "0::/x\n", "26 20 0:23 /.. /mnt/cg ro - cgroup2 none ro\n", NULL },
		{ "0::/x\n", "26 20 0:23 / /mnt/with\\040blank rw - cgroup2 none rw\n", NULL },
		{ "0::/x\n", V1, NULL },
		{ "1:cpu:/\n", V2, NULL },
		{ "", "", NULL },
		{ "0::/x", "26 20\n\n - cgroup2 \n26 20 0:23 /", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *path = cgroup_directory(cases[i].groups, cases[i].mounts);

		if (cases[i].expected == NULL)
			assert_null(path);
		else
			assert_string_equal(path ? path : "(none)", cases[i].expected);
		free(path);
	}
}

static void
make(const char *directory, const char *name, bool with_kill)
{
	char *path = xasprintf("%s/%s", directory, name);
	char *file = xasprintf("%s/cgroup.kill", path);

	assert_int_equal(mkdir(path, 0755), 0);
	if (with_kill)
		close(open(file, O_CREAT | O_WRONLY, 0644));
	free(file);
	free(path);
}

/* The first byte of its cgroup.kill: '0' when nothing was written, 'x' when it
 * is not there. */
static char
killed(const char *directory, const char *name)
{
	char *file = xasprintf("%s/%s/cgroup.kill", directory, name), c = '0';
	int fd = open(file, O_RDONLY);

	if (fd < 0)
		c = 'x';
	else if (read(fd, &c, 1) < 0)
		c = '?';
	close(fd);
	free(file);
	return c;
}

/* In a directory that only looks like one of the system's. */
static void
test_cgroup_sweep_takes_what_the_dead_left(void **state)
{
	char directory[] = "/tmp/test_cgroup.XXXXXX", mine[40], live[40], theirs[40],
	    empty[40];
	struct err e;
	pid_t dead;

	(void)state;
	assert_non_null(mkdtemp(directory));
	if ((dead = fork()) == 0)
		_exit(0);
	assert_int_equal(waitpid(dead, NULL, 0), dead);
	snprintf(mine, sizeof(mine), "jobqd-%d-%d", getpid(), dead);
	snprintf(live, sizeof(live), "jobqd-%d-%d", getpid(), getpid());
	snprintf(theirs, sizeof(theirs), "jobqd-%d-%d", getppid(), dead);
	snprintf(empty, sizeof(empty), "jobqd-%d-%d", dead, getpid());
	make(directory, mine, true);
	make(directory, live, true);
	make(directory, theirs, true);
	make(directory, empty, false);
	make(directory, "jobqd-1x-2", true);
	make(directory, "other", true);
	cgroup_sweep_in(directory);
	assert_int_equal(killed(directory, mine), '1');
	assert_int_equal(killed(directory, live), '0');
	assert_int_equal(killed(directory, theirs), '0');
	assert_int_equal(killed(directory, empty), 'x');
	assert_int_equal(killed(directory, "jobqd-1x-2"), '0');
	assert_int_equal(killed(directory, "other"), '0');
	/* The one of a dead master was empty, and is gone. */
	make(directory, empty, false);
	assert_int_equal(tree_remove(directory, &e), 0);
	cgroup_sweep_in(directory);	/* and no directory is no mistake */
}

static char *
file_in(const char *directory, const char *name, const char *text)
{
	char *path = xasprintf("%s/%s", directory, name);
	FILE *f = fopen(path, text != NULL ? "w" : "r");
	char *got = NULL;
	size_t size = 0;

	assert_non_null(f);
	if (text != NULL)
		fputs(text, f);
	else if (getdelim(&got, &size, '\0', f) < 0)
		got = xstrdup("");
	fclose(f);
	free(path);
	return got;
}

/* What is delegated to us, in a directory that only looks like a group; once
 * in each process. */
static int
delegates(const char *controllers, bool alone)
{
	char directory[] = "/tmp/test_cgroup.XXXXXX", pid[24];
	unsigned got = 99;
	struct err e;
	char *moved, *enabled;
	pid_t child;
	int status;

	assert_non_null(mkdtemp(directory));
	if ((child = fork()) == 0) {
		snprintf(pid, sizeof(pid), "%d\n%s", getpid(), alone ? "" : "1\n");
		file_in(directory, "cgroup.procs", pid);
		file_in(directory, "cgroup.controllers", controllers);
		file_in(directory, "cgroup.subtree_control", "");
		make(directory, "jobqd", false);
		file_in(directory, "jobqd/cgroup.procs", "");
		got = cgroup_delegate_in(directory);
		moved = file_in(directory, "jobqd/cgroup.procs", NULL);
		enabled = file_in(directory, "cgroup.subtree_control", NULL);
		if ((got != 0) != (strcmp(moved, "0") == 0) ||
		    (got != 0) != (enabled[0] == '+') || got != cgroup_enforces())
			got = 98;
		_exit((int)got);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(tree_remove(directory, &e), 0);
	return WEXITSTATUS(status);
}

static void
test_cgroup_takes_what_is_delegated(void **state)
{
	(void)state;
	assert_int_equal(delegates("cpu memory pids\n", true),
	    CGROUP_MEMORY | CGROUP_PROCESSES);
	assert_int_equal(delegates("memory\n", true), CGROUP_MEMORY);
	assert_int_equal(delegates("cpu pids", true), CGROUP_PROCESSES);
	assert_int_equal(delegates("cpu memory pids\n", false), 0);
	assert_int_equal(delegates("cpu io memory2\n", true), 0);
	assert_int_equal(delegates("", true), 0);
}

static pid_t
start_sleep(void)
{
	char *argv[] = { (char *)"sleep", (char *)"1000", NULL }, *envp[] = { NULL };
	struct spawn s = { .path = "/bin/sleep", .argv = argv, .envp = envp,
	    .fds = { -1, -1, -1, -1 } };
	struct err e;
	pid_t pid = spawn_start(&s, &e);

	assert_true(pid > 0);
	return pid;
}

static int
end_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* The real thing, where it is to be had. */
static void
test_cgroup_of_the_system(void **state)
{
	pid_t pid;

	(void)state;
	if (cgroup_fd() < 0)
		skip();
	assert_int_equal(cgroup_fd(), cgroup_fd());
	pid = start_sleep();
	cgroup_kill();
	assert_int_equal(end_of(pid), SIGKILL);
	/* What was killed once is not for the next program. */
	pid = start_sleep();
	kill(pid, SIGTERM);
	assert_int_equal(end_of(pid), SIGTERM);
	pid = start_sleep();
	cgroup_kill();
	assert_int_equal(end_of(pid), SIGKILL);
}

/* The groups of this program, by who would sweep them: a child's are its
 * parent's to remove. */
static int
in_child(int (*run)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(run());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	cgroup_sweep();
	return status;
}

static int
run_all(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cgroup_directory),
		cmocka_unit_test(test_cgroup_sweep_takes_what_the_dead_left),
		cmocka_unit_test(test_cgroup_takes_what_is_delegated),
		cmocka_unit_test(test_cgroup_of_the_system),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int
main(void)
{
	return in_child(run_all) != 0;
}
