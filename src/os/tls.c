/*
 * TLS on OpenSSL: see tls.h.
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "os/loop.h"
#include "os/tls.h"

#define HANDSHAKE_RECORD 22
#define SESSION_SECONDS 3600

/* Of TLS 1.2; those of 1.3 are all sound. Forward secrecy, and nothing that
 * authenticates after it encrypts. */
static const char ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:"
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:"
    "ECDHE-RSA-CHACHA20-POLY1305";

struct tls_server {
	SSL_CTX *ctx;
};

struct tls {
	SSL *ssl;
	unsigned wants;
	bool broken;		/* OpenSSL must not be asked to say good-bye */
};

/*
 * Certificates
 */

/* The reason that OpenSSL gives, of which the first is the cause. */
static int
failed(struct err *e, const char *what, const char *file)
{
	unsigned long code = ERR_get_error();
	const char *reason = ERR_reason_error_string(code);

	if (reason == NULL && ERR_GET_LIB(code) == ERR_LIB_SYS)
		reason = strerror(ERR_GET_REASON(code));
	ERR_clear_error();
	return err_set(e, "%s %s: %s", what, file,
	    reason != NULL ? reason : "no reason given");
}

/* Whoever reads a key is the server. */
static int
check_permissions(const char *key, struct err *e)
{
	struct stat st;

	if (stat(key, &st) != 0)
		return err_errno(e, "cannot read the key %s", key);
	if ((st.st_mode & 027) != 0)
		return err_set(e, "the key %s has permissions %03o: more than its "
		    "owner and its group's readers may use it; chmod 0600, or 0640",
		    key, (unsigned)st.st_mode & 0777);
	return 0;
}

/* Nobody is there to type one in. */
static int
no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return 0;
}

static int
load(SSL_CTX *ctx, const char *cert, const char *key, struct err *e)
{
	unsigned long code;

	if (access(cert, R_OK) != 0)
		return err_errno(e, "cannot read the certificate %s", cert);
	if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
		return failed(e, "cannot use the certificate", cert);
	if (key == NULL)
		return 0;
	if (access(key, R_OK) != 0)
		return err_errno(e, "cannot read the key %s", key);
	if (check_permissions(key, e) != 0)
		return -1;
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1 &&
	    SSL_CTX_check_private_key(ctx) == 1)
		return 0;
	code = ERR_peek_error();
	if (ERR_GET_LIB(code) != ERR_LIB_X509 && ERR_GET_REASON(code) !=
	    SSL_R_NO_CERTIFICATE_ASSIGNED)
		return failed(e, "cannot use the key", key);
	ERR_clear_error();
	return err_set(e, "the key %s is not that of the certificate %s", key,
	    cert);
}

static int
choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *outlen,
    const unsigned char *in, unsigned inlen, void *arg)
{
	static const unsigned char ours[] = "\x08http/1.1";
	unsigned char *chosen;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&chosen, outlen, ours, sizeof(ours) - 1, in,
	    inlen) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

struct tls_server *
tls_server_new(const char *cert, const char *key, struct err *e)
{
	static const unsigned char context[] = "jobqd";
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	struct tls_server *s;

	if (ctx == NULL)
		fatal("no memory", "for=%s", "TLS");
	if (load(ctx, cert, key, e) != 0) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_cipher_list(ctx, ciphers);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	/* A write goes on from another place of memory, or with more of it. */
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
	    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	/* Tickets: the client keeps the session. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(ctx, context, sizeof(context) - 1);
	SSL_CTX_set_timeout(ctx, SESSION_SECONDS);
	SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
	s = xcalloc(1, sizeof(*s));
	s->ctx = ctx;
	return s;
}

int
tls_client_check(const char *cert, const char *key, const char *ca,
    struct err *e)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	int rc = 0;

	if (ctx == NULL)
		fatal("no memory", "for=%s", "TLS");
	if (ca != NULL && access(ca, R_OK) != 0)
		rc = err_errno(e, "cannot read %s", ca);
	else if (ca != NULL && SSL_CTX_load_verify_locations(ctx, ca, NULL) != 1)
		rc = failed(e, "no certificates in", ca);
	if (rc == 0 && cert != NULL)
		rc = load(ctx, cert, key, e);
	SSL_CTX_free(ctx);
	return rc;
}

void
tls_server_free(struct tls_server *s)
{
	if (s == NULL)
		return;
	SSL_CTX_free(s->ctx);
	free(s);
}

int64_t
tls_server_expires(const struct tls_server *s)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(X509_get0_notAfter(SSL_CTX_get0_certificate(s->ctx)),
	    &tm) != 1)
		return INT64_MAX;
	return (int64_t)timegm(&tm);
}

/*
 * Connections
 */

struct tls *
tls_accept(struct tls_server *s, int fd)
{
	struct tls *t = xcalloc(1, sizeof(*t));

	t->ssl = SSL_new(s->ctx);
	if (t->ssl == NULL || SSL_set_fd(t->ssl, fd) != 1)
		fatal("no memory", "for=%s", "a connection's TLS");
	SSL_set_accept_state(t->ssl);
	t->wants = LOOP_READ;
	return t;
}

void
tls_end(struct tls *t)
{
	ERR_clear_error();
	if (!t->broken && SSL_is_init_finished(t->ssl))
		SSL_shutdown(t->ssl);
	ERR_clear_error();
}

void
tls_free(struct tls *t)
{
	if (t == NULL)
		return;
	SSL_free(t->ssl);
	free(t);
}

/* What a call that has not done anything means. */
static ssize_t
unable(struct tls *t, int rc)
{
	int saved = errno;

	switch (SSL_get_error(t->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		t->wants = LOOP_READ;
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_WANT_WRITE:
		t->wants = LOOP_WRITE;
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		t->broken = true;
		errno = saved != 0 ? saved : ECONNRESET;
		return -1;
	default:
		t->broken = true;
		log_debug("TLS failed", "reason=%s",
		    ERR_reason_error_string(ERR_peek_error()));
		errno = EPROTO;
		return -1;
	}
}

ssize_t
tls_recv(struct tls *t, void *data, size_t len)
{
	int rc;

	ERR_clear_error();
	errno = 0;
	rc = SSL_read(t->ssl, data, len > INT_MAX ? INT_MAX : (int)len);
	return rc > 0 ? rc : unable(t, rc);
}

ssize_t
tls_send(struct tls *t, const void *data, size_t len)
{
	int rc;

	ERR_clear_error();
	errno = 0;
	rc = SSL_write(t->ssl, data, len > INT_MAX ? INT_MAX : (int)len);
	return rc > 0 ? rc : unable(t, rc);
}

unsigned
tls_wants(const struct tls *t)
{
	return t->wants;
}

bool
tls_has_more(const struct tls *t)
{
	/* Not SSL_has_pending(), which counts half a record, too: the rest of
	 * that is not here, and the descriptor tells when it comes. */
	return !t->broken && SSL_pending(t->ssl) > 0;
}

bool
tls_is_hello(unsigned char first)
{
	return first == HANDSHAKE_RECORD;
}

const char *
tls_library(void)
{
	return OpenSSL_version(OPENSSL_VERSION);
}
