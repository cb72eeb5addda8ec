/*
 * Channels: see chan.h. On the wire a frame is two 32-bit words, the body's
 * length and its type (with WITH_FD when a descriptor comes along), and the
 * body. The descriptor travels with the frame's first byte, so it is always
 * here before the frame is complete.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "os/chan.h"

#define HEADER 8u
#define WITH_FD 0x80000000u
#define READ_SIZE (64u << 10)
#define KEEP_SIZE (1u << 20)	/* more is given back after a large frame */
#define READS_A_TURN 8		/* then others on the loop get a chance */
#define SEGMENT_SIZE (256u << 10)
#define FDS_MAX 8		/* received and not yet handed over */

/* Frames on their way out; a descriptor goes with the first byte. */
struct segment {
	struct buf bytes;
	size_t sent;
	int fd;				/* -1: none, or gone */
	STAILQ_ENTRY(segment) link;
};

struct chan {
	struct loop *loop;
	struct watch *watch;
	int fd;
	const struct chan_ops *ops;
	void *arg;

	struct buf in;
	int fds[FDS_MAX];
	size_t nfds;

	STAILQ_HEAD(, segment) out;
	size_t backlog;

	bool mute;			/* the other end reads no more */
	bool closed;			/* closed() was called */
	bool corked;
	bool busy;			/* in receive(): free later */
	bool freed;
};

static void on_ready(int, unsigned, void *);

struct chan *
chan_new(struct loop *loop, int fd, const struct chan_ops *ops, void *arg)
{
	struct chan *c = xcalloc(1, sizeof(*c));

	c->loop = loop;
	c->fd = fd;
	c->ops = ops;
	c->arg = arg;
	STAILQ_INIT(&c->out);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	c->watch = watch_new(loop, fd, LOOP_READ, on_ready, c);
	return c;
}

static void
segment_free(struct chan *c, struct segment *s)
{
	STAILQ_REMOVE_HEAD(&c->out, link);
	if (s->fd >= 0)
		close(s->fd);
	buf_clear(&s->bytes);
	free(s);
}

static void
drop_out(struct chan *c)
{
	while (!STAILQ_EMPTY(&c->out))
		segment_free(c, STAILQ_FIRST(&c->out));
	c->backlog = 0;
}

/* Everything but the struct itself, which a caller up the stack may hold. */
static void
release(struct chan *c)
{
	watch_free(c->watch);
	c->watch = NULL;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	while (c->nfds > 0)
		close(c->fds[--c->nfds]);
	drop_out(c);
}

void
chan_free(struct chan *c)
{
	if (c == NULL)
		return;
	release(c);
	if (c->busy) {
		c->freed = true;
		return;
	}
	buf_clear(&c->in);
	free(c);
}

static void
update_watch(struct chan *c)
{
	if (c->watch != NULL)
		watch_set(c->watch, LOOP_READ |
		    (STAILQ_EMPTY(&c->out) ? 0 : LOOP_WRITE));
}

/* Returns what sendmsg does. */
static ssize_t
send_segment(const struct chan *c, struct segment *s)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {
		s->bytes.data + s->sent, s->bytes.len - s->sent,
	};
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (s->fd >= 0) {
		memset(&control, 0, sizeof(control));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &s->fd, sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control.space);
	}
	do
		n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n;
}

/*
 * When the other end is gone, reading goes on: what it said before is still
 * in the socket, and the end of file behind it is what closes the channel.
 */
static void
write_out(struct chan *c)
{
	struct segment *s;

	while ((s = STAILQ_FIRST(&c->out)) != NULL) {
		ssize_t n = send_segment(c, s);

		if (n < 0 && (errno == EAGAIN || errno == ENOBUFS ||
		    errno == ENOMEM || errno == ETOOMANYREFS))
			break;
		if (n < 0) {
			c->mute = true;
			drop_out(c);
			break;
		}
		if (s->fd >= 0) {
			close(s->fd);
			s->fd = -1;
		}
		s->sent += (size_t)n;
		c->backlog -= (size_t)n;
		if (s->sent == s->bytes.len)
			segment_free(c, s);
	}
	update_watch(c);
}

void
chan_send(struct chan *c, uint32_t type, const void *body, size_t len, int fd)
{
	uint32_t header[2] = { (uint32_t)len, type | (fd >= 0 ? WITH_FD : 0) };
	bool waiting = !STAILQ_EMPTY(&c->out);
	struct segment *s;

	if (c->mute || c->closed || c->freed) {
		if (fd >= 0)
			close(fd);
		return;
	}
	s = STAILQ_LAST(&c->out, segment, link);
	if (s == NULL || fd >= 0 || s->bytes.len > SEGMENT_SIZE) {
		s = xcalloc(1, sizeof(*s));
		s->fd = fd;
		STAILQ_INSERT_TAIL(&c->out, s, link);
	}
	buf_put(&s->bytes, header, sizeof(header));
	if (len > 0)
		buf_put(&s->bytes, body, len);
	c->backlog += HEADER + len;
	if (!waiting && !c->corked)
		write_out(c);
}

void
chan_cork(struct chan *c, bool corked)
{
	if (c->corked == corked)
		return;
	c->corked = corked;
	if (!corked && !STAILQ_EMPTY(&c->out))
		write_out(c);
}

size_t
chan_backlog(const struct chan *c)
{
	return c->backlog;
}

void
chan_flush(struct chan *c)
{
	while (!STAILQ_EMPTY(&c->out)) {
		struct pollfd p = { .fd = c->fd, .events = POLLOUT };

		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return;
		write_out(c);
	}
}

static void
close_with(struct chan *c, const char *reason)
{
	if (c->closed || c->freed)
		return;
	release(c);
	c->closed = true;
	c->ops->closed(c, reason, c->arg);
}

/* One frame from the front of in; false when there is no whole one. */
static bool
take_frame(struct chan *c, size_t *used)
{
	uint32_t header[2];
	const char *p = c->in.data + *used;
	size_t left = c->in.len - *used;
	int fd = -1;

	if (left < HEADER)
		return false;
	memcpy(header, p, sizeof(header));
	if (header[0] > CHAN_FRAME_MAX) {
		close_with(c, "a frame is too large");
		return false;
	}
	if (left - HEADER < header[0])
		return false;
	if (header[1] & WITH_FD) {
		if (c->nfds == 0) {
			close_with(c, "a descriptor did not arrive");
			return false;
		}
		fd = c->fds[0];
		memmove(c->fds, c->fds + 1, --c->nfds * sizeof(c->fds[0]));
	}
	*used += HEADER + header[0];
	c->ops->message(c, header[1] & ~WITH_FD, p + HEADER, header[0], fd,
	    c->arg);
	return true;
}

/* Hand over every whole frame, until a callback ends the channel. */
static void
deliver(struct chan *c)
{
	size_t used = 0;

	while (!c->closed && !c->freed && take_frame(c, &used))
		;
	if (c->freed || c->closed)
		return;
	if (used > 0)
		buf_drop(&c->in, used);
	if (c->in.len == 0 && c->in.cap > KEEP_SIZE)
		buf_clear(&c->in);
	if (c->in.len == 0 && c->nfds > 0)
		close_with(c, "a descriptor came without its frame");
}

static bool
take_fds(struct chan *c, struct msghdr *msg)
{
	bool fine = (msg->msg_flags & MSG_CTRUNC) == 0;

	for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h != NULL;
	    h = CMSG_NXTHDR(msg, h)) {
		size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
			if (c->nfds < FDS_MAX) {
				c->fds[c->nfds++] = fd;
			} else {
				close(fd);
				fine = false;
			}
		}
	}
	return fine;
}

/* Returns whether there may be more to read. */
static bool
receive(struct chan *c)
{
	char data[READ_SIZE], control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { data, sizeof(data) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		close_with(c, n < 0 ? strerror(errno) :
		    c->in.len > 0 ? "it ended within a frame" : "end of file");
		return false;
	}
	if (!take_fds(c, &msg)) {
		close_with(c, "a descriptor was lost on the way");
		return false;
	}
	buf_put(&c->in, data, (size_t)n);
	deliver(c);
	return (size_t)n == sizeof(data) || msg.msg_controllen > 0;
}

static void
leave(struct chan *c)
{
	c->busy = false;
	if (c->freed) {
		buf_clear(&c->in);
		free(c);
	}
}

static void
on_ready(int fd, unsigned what, void *arg)
{
	struct chan *c = arg;

	(void)fd;
	c->busy = true;
	if (what & LOOP_WRITE)
		write_out(c);
	if (what & LOOP_READ)
		for (int i = 0; i < READS_A_TURN; i++)
			if (c->closed || c->freed || !receive(c))
				break;
	leave(c);
}
