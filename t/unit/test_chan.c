/*
 * os/chan: framing, descriptors, flow control, and what a bad peer can do.
 */
#include "config.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "os/chan.h"

struct side {
	struct loop *loop;
	struct chan *chan;
	struct buf log;			/* "TYPE:LEN[:first byte][+fd] " */
	size_t bytes;
	int messages;
	int stop_after;			/* messages; 0: at the end of the channel */
	bool free_in_message;
	char closed[128];
};

static void
on_message(struct chan *c, uint32_t type, const void *body, size_t len, int fd,
    void *arg)
{
	struct side *s = arg;

	assert_ptr_equal(c, s->chan);
	buf_printf(&s->log, "%u:%zu", type, len);
	if (len > 0)
		buf_printf(&s->log, ":%c", *(const char *)body);
	if (fd >= 0) {
		assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
		assert_int_equal(write(fd, "!", 1), 1);
		close(fd);
		buf_str(&s->log, "+fd");
	}
	buf_char(&s->log, ' ');
	s->bytes += len;
	if (++s->messages == s->stop_after)
		loop_stop(s->loop);
	if (s->free_in_message) {
		chan_free(c);
		s->chan = NULL;
		loop_stop(s->loop);
	}
}

static void
on_closed(struct chan *c, const char *reason, void *arg)
{
	struct side *s = arg;

	snprintf(s->closed, sizeof(s->closed), "%s", reason);
	chan_free(c);
	s->chan = NULL;
	loop_stop(s->loop);
}

static const struct chan_ops ops = { on_message, on_closed };

static void
make_pair(struct loop *loop, struct side *a, struct side *b)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	a->loop = b->loop = loop;
	a->chan = chan_new(loop, fds[0], &ops, a);
	b->chan = chan_new(loop, fds[1], &ops, b);
}

/* b is a channel, the other end a plain descriptor. */
static int
make_half(struct loop *loop, struct side *b)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	b->loop = loop;
	b->chan = chan_new(loop, fds[1], &ops, b);
	return fds[0];
}

static void
clear(struct loop *loop, struct side *a, struct side *b)
{
	if (a != NULL) {
		chan_free(a->chan);
		buf_clear(&a->log);
	}
	chan_free(b->chan);
	buf_clear(&b->log);
	loop_free(loop);
}

static void
test_chan_messages_whole_and_in_order(void **state)
{
	struct loop *loop = loop_new();
	struct side a = { .messages = 0 }, b = { .stop_after = 3 };

	(void)state;
	make_pair(loop, &a, &b);
	chan_send(a.chan, 1, "hello", 5, -1);
	chan_send(a.chan, 2, NULL, 0, -1);
	chan_send(a.chan, 7, "x", 1, -1);
	loop_run(loop);
	assert_string_equal(b.log.data, "1:5:h 2:0 7:1:x ");
	clear(loop, &a, &b);
}

static void
test_chan_large_frames_and_backlog(void **state)
{
	struct loop *loop = loop_new();
	struct side a = { .messages = 0 }, b = { .stop_after = 40 };
	size_t big = 1 << 20;
	char *data = malloc(big);

	(void)state;
	memset(data, 'q', big);
	make_pair(loop, &a, &b);
	for (int i = 0; i < 40; i++)
		chan_send(a.chan, 5, data, i % 2 ? big : 10, -1);
	assert_true(chan_backlog(a.chan) > big);
	loop_run(loop);
	assert_int_equal(b.bytes, 20 * big + 200);
	assert_int_equal(chan_backlog(a.chan), 0);
	free(data);
	clear(loop, &a, &b);
}

/* Descriptors stay with their own frames, also when the socket is full. */
static void
test_chan_descriptors(void **state)
{
	struct loop *loop = loop_new();
	struct side a = { .messages = 0 }, b = { .stop_after = 60 };
	size_t big = 300000;
	char *data = malloc(big), got[64];
	int fds[2];

	(void)state;
	memset(data, 'q', big);
	assert_int_equal(pipe(fds), 0);
	make_pair(loop, &a, &b);
	for (int i = 0; i < 20; i++) {
		chan_send(a.chan, 1, "n", 1, -1);
		chan_send(a.chan, 2, "f", 1, dup(fds[1]));
		chan_send(a.chan, 3, data, big, i % 3 == 0 ? dup(fds[1]) : -1);
	}
	loop_run(loop);
	close(fds[1]);
	assert_int_equal(read(fds[0], got, sizeof(got)), 27);
	assert_int_equal(read(fds[0], got, sizeof(got)), 0);	/* none leaked */
	assert_non_null(strstr(b.log.data, "1:1:n 2:1:f+fd 3:300000:q+fd "
	    "1:1:n 2:1:f+fd 3:300000:q 1:1:n"));
	close(fds[0]);
	free(data);
	clear(loop, &a, &b);
}

static void
test_chan_end_comes_after_the_last_message(void **state)
{
	struct loop *loop = loop_new();
	struct side a = { .messages = 0 }, b = { .messages = 0 };

	(void)state;
	make_pair(loop, &a, &b);
	for (int i = 0; i < 100; i++)
		chan_send(a.chan, 1, "0123456789", 10, -1);
	chan_flush(a.chan);
	chan_free(a.chan);
	a.chan = NULL;
	/* Sending to an end that is gone must not hide what it said. */
	chan_send(b.chan, 9, "gone", 4, -1);
	assert_int_equal(chan_backlog(b.chan), 0);
	loop_run(loop);
	assert_int_equal(b.messages, 100);
	assert_string_equal(b.closed, "end of file");
	clear(loop, &a, &b);
}

static void
tick(void *arg)
{
	loop_stop(arg);
}

static void
test_chan_freed_inside_a_message(void **state)
{
	struct loop *loop = loop_new();
	struct side a = { .messages = 0 }, b = { .free_in_message = true };

	(void)state;
	make_pair(loop, &a, &b);
	chan_send(a.chan, 1, "x", 1, -1);
	chan_send(a.chan, 1, "y", 1, -1);
	loop_run(loop);
	assert_int_equal(b.messages, 1);
	assert_string_equal(b.closed, "");
	loop_run(loop);		/* a sees the end */
	assert_null(a.chan);
	clear(loop, &a, &b);
}

static void
send_raw(int fd, const void *data, size_t len, int nfds)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct iovec iov = { (void *)(uintptr_t)data, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	memset(&control, 0, sizeof(control));
	if (nfds > 0) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
		for (int i = 0; i < nfds; i++)
			memcpy(CMSG_DATA(&control.header) + i * (int)sizeof(int),
			    &fd, sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &msg, 0), len);
}

static void
check_bad(const void *data, size_t len, int nfds, bool end, const char *reason)
{
	struct loop *loop = loop_new();
	struct side b = { .messages = 0 };
	int fd = make_half(loop, &b);

	send_raw(fd, data, len, nfds);
	if (end)
		shutdown(fd, SHUT_WR);
	loop_run(loop);
	assert_string_equal(b.closed, reason);
	close(fd);
	clear(loop, NULL, &b);
}

static void
test_chan_bad_frames_close(void **state)
{
	uint32_t huge[2] = { CHAN_FRAME_MAX + 1, 1 };
	uint32_t no_fd[2] = { 0, 0x80000001u };
	uint32_t plain[2] = { 0, 1 };
	uint32_t cut[2] = { 10, 1 };

	(void)state;
	check_bad(huge, sizeof(huge), 0, false, "a frame is too large");
	check_bad(no_fd, sizeof(no_fd), 0, false, "a descriptor did not arrive");
	check_bad(plain, sizeof(plain), 1, false,
	    "a descriptor came without its frame");
	check_bad(plain, sizeof(plain), 4, false,
	    "a descriptor was lost on the way");
	check_bad(cut, sizeof(cut), 0, true, "it ended within a frame");
	check_bad(cut, 3, 0, true, "it ended within a frame");
}

static void
test_chan_frame_byte_by_byte(void **state)
{
	struct loop *loop = loop_new();
	struct side b = { .messages = 0 };
	struct timer *t = timer_new(loop, tick, loop);
	int fd = make_half(loop, &b);
	unsigned char frame[10];
	uint32_t header[2] = { 2, 6 };

	(void)state;
	memcpy(frame, header, 8);
	memcpy(frame + 8, "ab", 2);
	for (size_t i = 0; i < sizeof(frame); i++) {
		assert_int_equal(b.messages, 0);
		send_raw(fd, frame + i, 1, 0);
		timer_set(t, 2 * MONO_MS);
		loop_run(loop);
	}
	assert_string_equal(b.log.data, "6:2:a ");
	timer_free(t);
	close(fd);
	clear(loop, NULL, &b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chan_messages_whole_and_in_order),
		cmocka_unit_test(test_chan_large_frames_and_backlog),
		cmocka_unit_test(test_chan_descriptors),
		cmocka_unit_test(test_chan_end_comes_after_the_last_message),
		cmocka_unit_test(test_chan_freed_inside_a_message),
		cmocka_unit_test(test_chan_bad_frames_close),
		cmocka_unit_test(test_chan_frame_byte_by_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
