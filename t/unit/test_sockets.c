/*
 * driver/http/sockets: a watch is there as long as its socket, and heard as long
 * as somebody asks for it.
 */
#include "unit.h"

#include <sys/socket.h>
#include <unistd.h>

#include "driver/http/sockets.h"

struct heard {
	int fd, times;
	unsigned what;
};

static struct loop *loop;

static void
on_socket(int fd, unsigned what, void *arg)
{
	struct heard *heard = arg;

	*heard = (struct heard){ fd, heard->times + 1, what };
	loop_stop(loop);
}

static void
on_end(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

/* What is heard until the loop has gone round. */
static void
turn(void)
{
	struct timer *end = timer_new(loop, on_end, NULL);

	timer_set(end, 0);
	loop_run(loop);
	timer_free(end);
}

static void
test_sockets(void **state)
{
	struct heard heard = { 0 };
	struct sockets s;
	int a[2], b[2];

	(void)state;
	loop = loop_new();
	sockets_init(&s, loop, on_socket, &heard);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
	sockets_made(&s, a[0]);
	sockets_want(&s, a[0], LOOP_READ);
	turn();
	assert_int_equal(heard.times, 0);
	assert_int_equal(write(a[1], "x", 1), 1);
	turn();
	assert_int_equal(heard.times, 1);
	assert_int_equal(heard.fd, a[0]);
	assert_int_equal(heard.what, LOOP_READ);

	/* Nobody asks for it now. */
	sockets_forget(&s, a[0]);
	for (int i = 0; i < 3; i++)
		turn();
	assert_int_equal(heard.times, 1);
	/* What came meanwhile is heard by who asks again. */
	sockets_want(&s, a[0], LOOP_READ);
	turn();
	assert_int_equal(heard.times, 2);
	sockets_want(&s, a[0], LOOP_WRITE);
	turn();
	assert_int_equal(heard.what, LOOP_WRITE);

	/* Its number is another's now: of one whose end nobody tells. */
	assert_int_equal(sockets_close(&s, a[0]), 0);
	close(a[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
	assert_int_equal(b[0], a[0]);
	for (int i = 0; i < 2; i++) {
		sockets_want(&s, b[0], LOOP_READ);
		sockets_forget(&s, b[0]);
		close(b[0]);
		close(b[1]);
		turn();
		assert_int_equal(heard.times, 3);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
		assert_int_equal(b[0], a[0]);
	}
	sockets_want(&s, b[0], LOOP_READ | LOOP_WRITE);
	turn();
	assert_int_equal(heard.times, 4);
	sockets_clear(&s);
	turn();
	assert_int_equal(heard.times, 4);
	close(b[0]);
	close(b[1]);
	loop_free(loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sockets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
