/*
 * os/landlock, os/filter, os/scratch: what a confined program meets, and that
 * its temporary files go, whatever they are.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "os/filter.h"
#include "os/landlock.h"
#include "os/scratch.h"
#include "os/tree.h"

static char place[64];

static int
set_up(void **state)
{
	(void)state;
	snprintf(place, sizeof(place), "/tmp/jobqd-unit-XXXXXX");
	assert_non_null(mkdtemp(place));
	assert_int_equal(chmod(place, 0755), 0);
	return setenv("TMPDIR", place, 1);
}

static int
tear_down(void **state)
{
	struct err e;

	(void)state;
	return tree_remove(place, &e);
}

static char *
below(const char *name)
{
	return xasprintf("%s/%s", place, name);
}

static void
put_file(const char *name)
{
	char *path = below(name);
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0666);

	assert_true(fd >= 0);
	close(fd);
	free(path);
}

static void
make_directory(const char *name)
{
	char *path = below(name);

	assert_int_equal(mkdir(path, 0755), 0);
	free(path);
}

/* What fn() says in a child. */
static int
in_child(int (*fn)(void *), void *arg)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fn(arg));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* ---- Landlock --------------------------------------------------------- */

static int
try(const char *name, int flags)
{
	char *path = below(name);
	int fd = open(path, flags, 0666);

	free(path);
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int
move(const char *from, const char *to)
{
	char *a = below(from), *b = below(to);
	int rc = rename(a, b) == 0 ? 0 : errno;

	free(a);
	free(b);
	return rc;
}

/* The number of the expectation that fails, or 0. */
#define EXPECT(n, is, should) do { if ((is) != (should)) return n; } while (0)

static int
confined(void *arg)
{
	const struct landlock_paths *p = arg;
	struct err e;
	int rules = landlock_rules(p, &e);
	bool reads = p->nread > 0, writes = p->nwrite > 0;

	EXPECT(1, rules >= 0, true);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	EXPECT(2, landlock_enter(rules), 0);
	close(rules);
	EXPECT(3, try("in/file", O_RDONLY), 0);
	EXPECT(4, try("else/file", O_RDONLY), reads ? EACCES : 0);
	EXPECT(5, try("out/new", O_CREAT | O_WRONLY), 0);
	EXPECT(6, try("in/new", O_CREAT | O_WRONLY), writes ? EACCES : 0);
	EXPECT(7, try("else/new", O_CREAT | O_WRONLY), writes ? EACCES : 0);
	EXPECT(8, move("out/new", "out/sub/new"), 0);
	EXPECT(9, move("out/sub/new", "scratch/new"), 0);
	EXPECT(10, open("/dev/null", O_RDWR) >= 0, true);
	EXPECT(11, open("/bin/sh", O_RDONLY) >= 0, true);
	EXPECT(12, open("/etc/shadow", O_RDONLY) < 0, reads || getuid() != 0);
	if (landlock_version() >= LANDLOCK_SIGNALS)
		EXPECT(13, kill(getppid(), 0) < 0 && errno == EPERM, true);
	return 0;
}

static void
test_confine_files(void **state)
{
	char *in = below("in"), *out = below("out"), *scratch = below("scratch");
	struct landlock_paths p = { .scratch = scratch };
	struct err e;

	(void)state;
	if (landlock_version() < LANDLOCK_MOVES) {
		assert_int_equal(landlock_rules(&p, &e) < 0, landlock_version() == 0);
		free(in);
		free(out);
		free(scratch);
		skip();
	}
	make_directory("in");
	make_directory("out");
	make_directory("out/sub");
	make_directory("else");
	make_directory("scratch");
	put_file("in/file");
	put_file("else/file");
	for (int i = 0; i < 4; i++) {
		p.read = &in;
		p.nread = i & 1;
		p.write = &out;
		p.nwrite = i >> 1 & 1;
		/* What may be written alone can also be read, so that says it. */
		if (i == 1) {
			char *both[] = { in, out };

			p.read = both;
			p.nread = 2;
			assert_int_equal(in_child(confined, &p), 0);
		} else {
			assert_int_equal(in_child(confined, &p), 0);
		}
	}
	p.read = &in;
	p.nread = 1;
	free(in);
	in = below("missing");
	assert_int_equal(landlock_rules(&p, &e), -1);
	assert_non_null(strstr(e.msg, "missing: No such file"));
	free(in);
	free(out);
	free(scratch);
}

/* ---- seccomp ---------------------------------------------------------- */

static int
filtered(void *arg)
{
	const struct sock_fprog *f = arg;
	int pair[2];

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	EXPECT(1, filter_enter(f), 0);
	EXPECT(2, syscall(SYS_ptrace, 0, 0, 0, 0) < 0 && errno == EPERM, true);
	EXPECT(3, syscall(SYS_mount, 0, 0, 0, 0, 0) < 0 && errno == EPERM, true);
	EXPECT(4, syscall(SYS_unshare, 0x10000000) < 0 && errno == EPERM, true);
	EXPECT(5, syscall(SYS_bpf, 0, 0, 0) < 0 && errno == EPERM, true);
	EXPECT(6, syscall(SYS_keyctl, 0, 0, 0) < 0 && errno == EPERM, true);
	EXPECT(7, syscall(SYS_clone3, 0, 0) < 0 && errno == ENOSYS, true);
	EXPECT(8, syscall(SYS_clone, 0x10000000 | SIGCHLD, 0, 0, 0, 0) < 0 &&
	    errno == EPERM, true);
	EXPECT(9, syscall(SYS_clone, 0x20000000 | SIGCHLD, 0, 0, 0, 0) < 0 &&
	    errno == EPERM, true);
	EXPECT(10, socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	return socket(AF_INET, SOCK_STREAM, 0) < 0 ? errno == EACCES ? 20 : 21 : 0;
}

static int
forks(void *arg)
{
	int status;
	pid_t pid;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	EXPECT(1, filter_enter(arg), 0);
	pid = fork();
	if (pid == 0)
		_exit(7);
	EXPECT(2, waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static void
test_confine_calls(void **state)
{
	struct sock_fprog f;
	struct err e;

	(void)state;
	if (!filter_possible())
		skip();
	assert_int_equal(filter_make(&f, true, &e), 0);
	assert_int_equal(in_child(filtered, &f), 0);
	assert_int_equal(in_child(forks, &f), 7);
	filter_clear(&f);
	assert_int_equal(filter_make(&f, false, &e), 0);
	assert_int_equal(in_child(filtered, &f), 20);
	filter_clear(&f);
}

/* ---- scratch directories ---------------------------------------------- */

#define DEPTH 120		/* of these: longer than any path */
#define DEEP "a-name-that-is-long-enough-for-a-path-of-5000-bytes"

static int
fill(void *arg)
{
	const char *path = arg;

	EXPECT(1, chdir(path), 0);
	EXPECT(2, symlink(place, "link"), 0);
	EXPECT(3, symlink("/nowhere", "dangling"), 0);
	EXPECT(4, mkfifo("pipe", 0), 0);
	EXPECT(5, mkdir("closed", 0700), 0);
	EXPECT(6, mkdir("closed/deep", 0700), 0);
	EXPECT(7, symlink(place, "closed/deep/link"), 0);
	EXPECT(8, chmod("closed/deep", 0), 0);
	EXPECT(9, chmod("closed", 0), 0);
	EXPECT(10, mkdir(".0", 0500), 0);	/* names that removal itself uses */
	EXPECT(11, mkdir(".1", 0700), 0);
	EXPECT(12, mkdir(".1/x", 0700), 0);
	for (int i = 0; i < DEPTH; i++) {
		EXPECT(13, mkdir(DEEP, 0700), 0);
		EXPECT(14, chdir(DEEP), 0);
		EXPECT(15, close(open("file", O_CREAT | O_WRONLY, 0)), 0);
	}
	return 0;
}

static int
make_and_remove(void *arg)
{
	struct err e;
	char *path;
	struct stat st;

	if (getuid() == 0 && arg != NULL)
		EXPECT(30, setuid(*(uid_t *)arg), 0);
	path = scratch_make(getuid(), getgid(), &e);
	EXPECT(31, path != NULL, true);
	EXPECT(32, stat(path, &st) == 0 && (st.st_mode & 07777) == 0700, true);
	EXPECT(33, in_child(fill, path), 0);
	EXPECT(34, scratch_remove(path, &e), 0);
	EXPECT(35, access(path, F_OK) < 0 && errno == ENOENT, true);
	scratch_leave();
	return 0;
}

static int
make_and_die(void *arg)
{
	struct err e;
	char *path = scratch_make(getuid(), getgid(), &e);

	(void)arg;
	EXPECT(1, path != NULL, true);
	EXPECT(2, in_child(fill, path), 0);
	return 0;
}

static int
count_entries(void)
{
	struct stat st;

	assert_int_equal(stat(place, &st), 0);
	return (int)st.st_nlink - 2;
}

static void
test_confine_scratch(void **state)
{
	uid_t nobody = 65534;
	struct err e;
	char *path;

	(void)state;
	put_file("file");
	make_directory("directory");
	put_file("directory/file");
	assert_int_equal(chmod(place, 0777), 0);
	assert_int_equal(in_child(make_and_remove, NULL), 0);
	if (getuid() == 0)
		assert_int_equal(in_child(make_and_remove, &nobody), 0);
	assert_int_equal(count_entries(), 1);
	/* What the dead leave is removed by the living, and nothing else. */
	assert_int_equal(in_child(make_and_die, NULL), 0);
	assert_int_equal(count_entries(), 2);
	path = scratch_make(getuid(), getgid(), &e);
	assert_non_null(path);
	assert_int_equal(count_entries(), 2);
	assert_int_equal(in_child(make_and_die, NULL), 0);
	assert_int_equal(count_entries(), 3);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(scratch_remove(path, &e), 0);
	free(path);
	scratch_leave();
	path = scratch_make(getuid(), getgid(), &e);
	assert_int_equal(count_entries(), 2);
	assert_int_equal(scratch_remove(path, &e), 0);
	free(path);
	scratch_leave();
	assert_int_equal(count_entries(), 1);
	path = below("directory/file");
	assert_int_equal(access(path, F_OK), 0);
	free(path);
	assert_int_equal(scratch_remove(NULL, &e), 0);
	assert_int_equal(scratch_remove("/nonexistent", &e), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_confine_files, set_up, tear_down),
		cmocka_unit_test(test_confine_calls),
		cmocka_unit_test_setup_teardown(test_confine_scratch, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
