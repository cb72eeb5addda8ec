/*
 * TLS of connections that were accepted, on descriptors that do not block.
 * OpenSSL stays behind this header. What is sent and received has the form of
 * send() and recv(), so that a connection needs no second way of doing things.
 */
#ifndef OS_TLS_H
#define OS_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct tls_server;		/* a certificate and its key */
struct tls;			/* one connection */

/*
 * Reads the chain of certificates and the key; key NULL: only whether the
 * certificates can be read. NULL with e, which names the file. TLS 1.2 and 1.3,
 * HTTP/1.1 to whoever asks what is spoken; a client may resume its session.
 */
struct tls_server *tls_server_new(const char *cert, const char *key, struct err *e);
void tls_server_free(struct tls_server *);
int64_t tls_server_expires(const struct tls_server *);	/* Unix time */

/* What is wrong with the files of a client: its chain of certificates, its key,
 * whom it trusts; each may be NULL. -1 with e, which names the file. */
int tls_client_check(const char *cert, const char *key, const char *ca,
    struct err *e);

/* Hands are shaken by the first calls of tls_recv() or tls_send(). */
struct tls *tls_accept(struct tls_server *, int fd);
/* Says that no more comes, if that can be said at once; leaves fd open. */
void tls_end(struct tls *);
void tls_free(struct tls *);

/*
 * As recv() and send(): bytes, 0 for the end, -1 with errno. With EAGAIN it is
 * to be called again when the descriptor is what tls_wants() tells: LOOP_READ
 * or LOOP_WRITE, either of them for both calls.
 */
ssize_t tls_recv(struct tls *, void *, size_t);
ssize_t tls_send(struct tls *, const void *, size_t);
unsigned tls_wants(const struct tls *);
/* What tells no descriptor: bytes are here that tls_recv() has not given yet. */
bool tls_has_more(const struct tls *);

/* Does the first byte of a connection begin a TLS handshake? */
bool tls_is_hello(unsigned char);

const char *tls_library(void);	/* its name and version */

#endif
