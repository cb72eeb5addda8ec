/*
 * Sockets that listen: addresses, what is in the way, unix sockets that were
 * left behind.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/listen.h"

static char directory[] = "/tmp/test-listen-XXXXXX";

static void
test_listen_addresses(void **state)
{
	static const char *const good[] = { "127.0.0.1:1", "localhost:8787",
	    "[::1]:8787", "*:80", "unix:/run/jobqd/api.sock" };
	static const char *const bad[] = { "", "8787", ":8787", "::1:8787",
	    "localhost", "a:0", "a:65536", "a:+1", "a: 1", "a:1x", "[::1]",
	    "[::1:80", "unix:", "unix:api.sock" };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		if (listener_check(good[i]) != NULL)
			fail_msg("%s: %s", good[i], listener_check(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (listener_check(bad[i]) == NULL)
			fail_msg("%s is taken", bad[i]);
}

static void
test_listen_on_a_port(void **state)
{
	struct address from;
	char address[64];
	struct listener *l, *again;
	struct err e = { .code = ERR_NONE };

	(void)state;
	snprintf(address, sizeof(address), "127.0.0.1:%d", listen_free_port(0));
	l = listener_open(address, 0600, &e);
	assert_non_null(l);
	again = listener_open(address, 0600, &e);
	assert_null(again);
	assert_int_equal(e.code, ERR_BUSY);
	assert_non_null(strstr(e.msg, address));
	assert_int_equal(listen_accept(listener_fd(l), &from), -1);
	listener_free(l);
	l = listener_open(address, 0600, &e);
	assert_non_null(l);
	listener_free(l);
	/* A name is the address of IPv4. */
	snprintf(address, sizeof(address), "localhost:%d", listen_free_port(0));
	l = listener_open(address, 0600, &e);
	assert_non_null(l);
	memmove(address, "127.0.0.1", 9);
	assert_null(listener_open(address, 0600, &e));
	assert_int_equal(e.code, ERR_BUSY);
	listener_free(l);
	/* Every address, of IPv6, too, where there is one. */
	snprintf(address, sizeof(address), "*:%d", listen_free_port(0));
	l = listener_open(address, 0600, &e);
	assert_non_null(l);
	listener_free(l);
	snprintf(address, sizeof(address), "[::1]:%d", listen_free_port(0));
	if ((l = listener_open(address, 0600, &e)) == NULL)
		assert_non_null(strstr(e.msg, "ssign"));	/* cannot assign */
	listener_free(l);
	assert_null(listener_open("192.0.2.1:8787", 0600, &e));
	assert_null(listener_open("no.such.host.invalid:8787", 0600, &e));
}

static int
dial(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strlcpy(at.sun_path, path, sizeof(at.sun_path));
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void
test_listen_on_a_unix_socket(void **state)
{
	struct address from;
	char address[128], path[64];
	struct listener *l, *again;
	struct stat st;
	struct err e = { .code = ERR_NONE };
	int client, got;

	(void)state;
	snprintf(path, sizeof(path), "%s/s", directory);
	snprintf(address, sizeof(address), "unix:%s", path);
	l = listener_open(address, 0640, &e);
	assert_non_null(l);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_true((client = dial(path)) >= 0);
	assert_true((got = listen_accept(listener_fd(l), &from)) >= 0);
	assert_true(from.is_unix);
	close(client);
	close(got);
	/* Somebody answers there. */
	again = listener_open(address, 0640, &e);
	assert_null(again);
	assert_int_equal(e.code, ERR_BUSY);
	listener_free(l);
	assert_int_equal(access(path, F_OK), -1);
	/* What a process that was killed leaves: nobody answers there. */
	if (fork() == 0)
		_exit(listener_open(address, 0600, NULL) == NULL);
	wait(NULL);
	assert_int_equal(access(path, F_OK), 0);
	again = listener_open(address, 0600, &e);
	assert_non_null(again);
	/* The file is another's by now. */
	unlink(path);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	listener_free(again);
	assert_int_equal(access(path, F_OK), 0);
	/* What is no socket is nobody's to remove. */
	assert_null(listener_open(address, 0600, &e));
	assert_non_null(strstr(e.msg, "no socket"));
	unlink(path);
	assert_null(listener_open("unix:/no/such/directory/s", 0600, &e));
}

static int
make_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) == NULL;
}

static int
remove_directory(void **state)
{
	(void)state;
	return rmdir(directory);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listen_addresses),
		cmocka_unit_test(test_listen_on_a_port),
		cmocka_unit_test(test_listen_on_a_unix_socket),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
