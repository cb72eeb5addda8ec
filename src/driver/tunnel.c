/*
 * TLS around a connection: see tunnel.h.
 *
 * The handshake is the worker's, so that what goes wrong is known there; then
 * a helper is forked with the connection as it is, and the worker forgets its
 * copy without a word to the peer.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mono.h"
#include "driver/tunnel.h"
#include "os/proc.h"

#define CHUNK 16384		/* bytes: the most of one TLS record */
#define LEAVE_WITHIN (2 * MONO_SECOND)	/* for its last bytes; then it is killed */
#define LOOK_EVERY (5 * MONO_MS)	/* whether it has left */
#define WRITE_MAX (3600 * MONO_SECOND)	/* the worker gives up long before */

/* Waits until TLS can go on; false when the time is over. */
static bool
wait_tls(SSL *ssl, int rc, mono_t until)
{
	mono_t left = until - mono_now();
	struct pollfd p = { .fd = SSL_get_fd(ssl) };

	switch (SSL_get_error(ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		p.events = POLLIN;
		break;
	case SSL_ERROR_WANT_WRITE:
		p.events = POLLOUT;
		break;
	default:
		return false;
	}
	return left > 0 && poll(&p, 1, (int)(left / MONO_MS) + 1) > 0;
}

static int
handshake_error(SSL *ssl, const char *host, mono_t until, struct err *e)
{
	long verified = SSL_get_verify_result(ssl);
	unsigned long code = ERR_get_error();
	char text[256] = "the connection was closed";

	ERR_clear_error();
	if (mono_now() >= until)
		return err_set(e, "%s: no answer to TLS in time", host);
	if (verified != X509_V_OK)
		return err_set(e, "%s: its certificate: %s", host,
		    X509_verify_cert_error_string(verified));
	if (code != 0)
		ERR_error_string_n(code, text, sizeof(text));
	return err_set(e, "%s: TLS: %s", host, text);
}

static SSL *
handshake(SSL_CTX *ctx, const char *host, int fd, int wait_ms, struct err *e)
{
	mono_t until = mono_now() + wait_ms * MONO_MS;
	SSL *ssl = SSL_new(ctx);
	int rc;

	if (ssl == NULL) {
		err_set(e, "%s: TLS: no memory", host);
		return NULL;
	}
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	SSL_set_tlsext_host_name(ssl, host);
	SSL_set_fd(ssl, fd);
	while ((rc = SSL_connect(ssl)) != 1)
		if (!wait_tls(ssl, rc, until)) {
			handshake_error(ssl, host, until, e);
			SSL_free(ssl);
			return NULL;
		}
	return ssl;
}

/*
 * The process
 */

/* All of it, waiting as long as it takes: the worker's patience counts. */
static bool
write_plain(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static bool
write_tls(SSL *ssl, const char *data, int len)
{
	mono_t until = mono_now() + WRITE_MAX;
	int rc;

	while ((rc = SSL_write(ssl, data, len)) <= 0)
		if (!wait_tls(ssl, rc, until))
			return false;
	return true;
}

/* What TLS has, to the plain side; false at its end. */
static bool
carry_in(SSL *ssl, int plain)
{
	char data[CHUNK];
	int n;

	while ((n = SSL_read(ssl, data, sizeof(data))) > 0)
		if (!write_plain(plain, data, (size_t)n))
			return false;
	return SSL_get_error(ssl, n) == SSL_ERROR_WANT_READ ||
	    SSL_get_error(ssl, n) == SSL_ERROR_WANT_WRITE;
}

static bool
carry_out(SSL *ssl, int plain)
{
	char data[CHUNK];
	ssize_t n = recv(plain, data, sizeof(data), 0);

	if (n < 0 && errno == EINTR)
		return true;
	return n > 0 && write_tls(ssl, data, (int)n);
}

static _Noreturn void
carry(SSL *ssl, int plain)
{
	struct pollfd p[2] = {
		{ .fd = SSL_get_fd(ssl), .events = POLLIN },
		{ .fd = plain, .events = POLLIN },
	};

	/* What came with the end of the handshake is in TLS already. */
	while (carry_in(ssl, plain)) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (p[1].revents != 0 && !carry_out(ssl, plain))
			break;
	}
	SSL_shutdown(ssl);
	_exit(0);
}

int
tunnel_open(struct tunnel *t, struct ssl_ctx_st *ctx, const char *host,
    int fd, int wait_ms, struct err *e)
{
	SSL *ssl = handshake(ctx, host, fd, wait_ms, e);
	int pair[2], keep[2];

	t->pid = -1;
	if (ssl == NULL) {
		close(fd);
		return -1;
	}
	if (proc_pair(pair, e) < 0) {
		SSL_free(ssl);
		close(fd);
		return -1;
	}
	/* The channel to the leader, most of all, is none of its business. */
	keep[0] = fd;
	keep[1] = pair[1];
	t->pid = proc_fork_helper(keep, 2, e);
	if (t->pid == 0)
		carry(ssl, pair[1]);
	close(fd);
	close(pair[1]);
	SSL_set_quiet_shutdown(ssl, 1);
	SSL_free(ssl);
	if (t->pid < 0) {
		close(pair[0]);
		return -1;
	}
	return pair[0];
}

void
tunnel_close(struct tunnel *t)
{
	mono_t until = mono_now() + LEAVE_WITHIN;
	pid_t done;

	if (t->pid <= 0)
		return;
	while ((done = waitpid(t->pid, NULL, WNOHANG)) == 0 && mono_now() < until)
		mono_sleep(LOOK_EVERY);
	if (done == 0) {
		kill(t->pid, SIGKILL);
		while (waitpid(t->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	t->pid = -1;
}
