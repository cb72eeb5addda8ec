/*
 * A connection to a server: see stream.h.
 */
#include "config.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/email/stream.h"

#define OUT_MANY 32768		/* bytes that are worth a write */
#define LINE_BYTES_MAX 65536	/* then it is none */

void
stream_init(struct stream *s)
{
	memset(s, 0, sizeof(*s));
	s->fd = -1;
}

/*
 * Waiting
 */

/* 1: go on, 0: the time is over, -1: errno. */
static int
wait_for(int fd, short what, mono_t until)
{
	struct pollfd p = { .fd = fd, .events = what };

	for (;;) {
		mono_t left = until - mono_now();
		int n;

		if (left <= 0)
			return 0;
		n = poll(&p, 1, (int)((left + MONO_MS - 1) / MONO_MS));
		if (n != 0 && (n > 0 || errno != EINTR))
			return n;
	}
}

static int
wait_or_fail(const struct stream *s, short what, mono_t until, struct err *e)
{
	int n = wait_for(s->fd, what, until);

	if (n < 0)
		return err_errno(e, "cannot wait");
	if (n == 0)
		return err_set(e, "no answer in time");
	return 0;
}

/* What TLS waits for; 0 with e: nothing, it has failed. */
static short
tls_wants(const struct stream *s, int rc, struct err *e)
{
	int saved = errno, why = SSL_get_error(s->ssl, rc);
	unsigned long code = ERR_get_error();
	char text[256];

	if (why == SSL_ERROR_WANT_READ)
		return POLLIN;
	if (why == SSL_ERROR_WANT_WRITE)
		return POLLOUT;
	ERR_clear_error();
	errno = saved;
	if (why == SSL_ERROR_SSL && code != 0 &&
	    ERR_GET_REASON(code) != SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		ERR_error_string_n(code, text, sizeof(text));
		err_set(e, "TLS: %s", text);
	} else if (why == SSL_ERROR_SYSCALL && errno != 0) {
		err_errno(e, "the connection is lost");
	} else {
		err_set(e, "the connection was closed");
	}
	return 0;
}

/*
 * Beginning
 */

/* Connected within the time, or -1: errno. */
static int
connect_in_time(const struct addrinfo *to, mono_t until)
{
	int fd = socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC |
	    SOCK_NONBLOCK, to->ai_protocol);
	int problem = 0;
	socklen_t len = sizeof(problem);

	if (fd < 0)
		return -1;
	/* What is put together goes out together; it need not wait again. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
		return fd;
	if (errno == EINPROGRESS) {
		int n = wait_for(fd, POLLOUT, until);

		if (n == 0)
			problem = ETIMEDOUT;
		else if (n < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem,
		    &len) < 0)
			problem = errno;
	} else {
		problem = errno;
	}
	if (problem == 0)
		return fd;
	close(fd);
	errno = problem;
	return -1;
}

/* Each address gets its share of the time, so that one that is dead leaves
 * some to the next. */
int
stream_connect(struct stream *s, const char *host, const char *port,
    mono_t until, struct err *e)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM,
	}, *all, *a;
	int left = 0, rc;

	stream_init(s);
	rc = getaddrinfo(host, port, &hints, &all);
	if (rc != 0)
		return err_set(e, "cannot find %s: %s", host,
		    rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
	for (a = all; a != NULL; a = a->ai_next)
		left++;
	errno = ETIMEDOUT;
	for (a = all; a != NULL && s->fd < 0; a = a->ai_next, left--) {
		mono_t now = mono_now();

		if (now >= until)
			break;
		s->fd = connect_in_time(a, now + (until - now) / left);
	}
	rc = errno;
	freeaddrinfo(all);
	errno = rc;
	if (s->fd < 0)
		return err_errno(e, "cannot connect to %s port %s", host, port);
	return 0;
}

int
stream_start_tls(struct stream *s, struct ssl_ctx_st *ctx, const char *name,
    mono_t until, struct err *e)
{
	int rc;

	s->ssl = SSL_new(ctx);
	if (s->ssl == NULL)
		return err_set(e, "TLS: no memory");
	SSL_set_mode(s->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE |
	    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_set_tlsext_host_name(s->ssl, name);
	SSL_set_fd(s->ssl, s->fd);
	while ((rc = SSL_connect(s->ssl)) != 1) {
		short what = tls_wants(s, rc, e);
		long verified = SSL_get_verify_result(s->ssl);

		if (what == 0 && verified != X509_V_OK)
			return err_set(e, "its certificate: %s",
			    X509_verify_cert_error_string(verified));
		if (what == 0)
			return -1;
		if (wait_or_fail(s, what, until, e) < 0)
			return err_prepend(e, "TLS");
	}
	return 0;
}

/*
 * Bytes
 */

/* After n of a call that has moved nothing: 0 when it can be made again, -1 with
 * e: it is of no use, or would come too late. */
static int
wait_again(struct stream *s, ssize_t n, short what, mono_t until, struct err *e)
{
	if (s->ssl != NULL && (what = tls_wants(s, (int)n, e)) == 0)
		return -1;
	if (s->ssl == NULL && errno == EINTR)
		return 0;
	if (s->ssl == NULL && errno != EAGAIN)
		return err_errno(e, "the connection is lost");
	return wait_or_fail(s, what, until, e);
}

/* Some bytes, at least one. -1 with e: none will come, or not in time. */
static ssize_t
read_some(struct stream *s, char *data, size_t size, mono_t until, struct err *e)
{
	for (;;) {
		ssize_t n = s->ssl ? SSL_read(s->ssl, data, (int)size) :
		    recv(s->fd, data, size, 0);

		if (n > 0)
			return n;
		if (s->ssl == NULL && n == 0)
			return err_set(e, "the connection was closed");
		if (wait_again(s, n, POLLIN, until, e) < 0)
			return -1;
	}
}

static ssize_t
write_some(struct stream *s, const char *data, size_t len, mono_t until,
    struct err *e)
{
	for (;;) {
		ssize_t n = s->ssl ? SSL_write(s->ssl, data, (int)len) :
		    send(s->fd, data, len, MSG_NOSIGNAL);

		if (n > 0)
			return n;
		if (wait_again(s, n, POLLOUT, until, e) < 0)
			return -1;
	}
}

int
stream_flush(struct stream *s, mono_t wait, mono_t until, struct err *e)
{
	size_t done = 0;

	while (done < s->out.len) {
		mono_t end = mono_now() + wait;
		ssize_t n = write_some(s, s->out.data + done, s->out.len - done,
		    end < until ? end : until, e);

		if (n < 0)
			return -1;
		done += (size_t)n;
	}
	buf_reset(&s->out);
	return 0;
}

int
stream_put(struct stream *s, const void *data, size_t len, mono_t wait,
    mono_t until, struct err *e)
{
	const char *from = data;

	while (len > 0) {
		size_t n = len < OUT_MANY ? len : OUT_MANY;

		buf_put(&s->out, from, n);
		if (s->out.len >= OUT_MANY && stream_flush(s, wait, until, e) < 0)
			return -1;
		from += n;
		len -= n;
	}
	return 0;
}

int
stream_line(struct stream *s, char *line, size_t size, mono_t until,
    struct err *e)
{
	size_t len = 0, seen = 0;

	while (seen < LINE_BYTES_MAX) {
		ssize_t n;

		while (s->from < s->to) {
			char c = s->in[s->from++];

			seen++;
			if (c == '\n') {
				if (len > 0 && line[len - 1] == '\r')
					len--;
				line[len] = '\0';
				return 0;
			}
			if (len < size - 1)
				line[len++] = c;
		}
		n = read_some(s, s->in, sizeof(s->in), until, e);
		if (n < 0)
			return -1;
		s->from = 0;
		s->to = (size_t)n;
	}
	return err_set(e, "a line without an end");
}

bool
stream_has_news(struct stream *s)
{
	struct err e;

	if (s->from < s->to)
		return true;
	/* TLS has records of its own, which tell nothing: they are read away. */
	if (s->ssl != NULL) {
		int n = SSL_peek(s->ssl, s->in, 1);

		return n > 0 || tls_wants(s, n, &e) == 0;
	}
	return recv(s->fd, s->in, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 ||
	    (errno != EAGAIN && errno != EINTR);
}

void
stream_close(struct stream *s, bool polite)
{
	if (s->ssl != NULL && polite)
		SSL_shutdown(s->ssl);
	SSL_free(s->ssl);
	ERR_clear_error();
	if (s->fd >= 0)
		close(s->fd);
	buf_clear(&s->out);
	stream_init(s);
}
