/*
 * driver/below: files below a directory, and no way out of it.
 */
#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/below.h"

static char top[] = "/tmp/test_below.XXXXXX";

static void
put_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
}

static int
setup(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(top));
	assert_int_equal(chdir(top), 0);
	assert_int_equal(mkdir("in", 0700), 0);
	assert_int_equal(mkdir("in/sub", 0700), 0);
	assert_int_equal(mkdir("out", 0700), 0);
	put_file("in/sub/file");
	put_file("out/secret");
	assert_int_equal(symlink("../out", "in/away"), 0);
	assert_int_equal(symlink("../../out/secret", "in/sub/link"), 0);
	assert_int_equal(symlink("sub/file", "in/inside"), 0);
	assert_int_equal(mkfifo("in/pipe", 0600), 0);
	return 0;
}

static int
teardown(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command);
}

static void
test_below_open(void **state)
{
	static const char *const bad[] = {
		"", ".", "..", "../out/secret", "sub/../../out/secret",
		"away/secret", "sub/link", "inside", "/etc/passwd", "sub", "pipe",
		"none", "sub/file/", "\x01", "\xff",
	};
	struct err e;
	int fd;

	(void)state;
	fd = below_open("in", "sub/file", &e);
	assert_true(fd >= 0);
	close(fd);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		e.msg[0] = '\0';
		if (below_open("in", bad[i], &e) >= 0)
			fail_msg("\"%s\" is let through", bad[i]);
		assert_true(e.msg[0] != '\0');
		for (const char *p = e.msg; *p != '\0'; p++)
			assert_true((unsigned char)*p >= ' ' && *p != 0x7f);
	}
	assert_int_equal(below_open("none", "file", &e), -1);
}

static void
test_below_make(void **state)
{
	static const char *const bad[] = {
		"", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b",
		".hidden", "a/.hidden", "away/a", "pipe/a", "sub/file/a", "sub/link/a",
	};
	char longest[BELOW_PATH_MAX + 2];
	const char *name = NULL;
	struct stat st;
	struct err e;
	int fd;

	(void)state;
	fd = below_make("in", "a", &name, &e);
	assert_true(fd >= 0);
	assert_string_equal(name, "a");
	close(fd);
	fd = below_make("in", "2026/11/b.pdf", &name, &e);
	assert_true(fd >= 0);
	assert_string_equal(name, "b.pdf");
	close(fd);
	assert_int_equal(stat("in/2026/11", &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (below_make("in", bad[i], &name, &e) >= 0)
			fail_msg("\"%s\" is let through", bad[i]);
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(below_make("in", longest, &name, &e), -1);
	longest[400] = '/';
	longest[401] = '\0';
	strcat(longest, "b");
	assert_int_equal(below_make("in", longest, &name, &e), -1);
	assert_int_equal(access("out/a", F_OK), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_below_open),
		cmocka_unit_test(test_below_make),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
