/*
 * Addresses of peers, and networks of them: 10.0.0.0/8, fd00::/8, one address,
 * or "unix" for whoever comes by a unix socket. Pure.
 */
#ifndef OS_ADDRESS_H
#define OS_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

struct sockaddr;

struct address {
	bool is_unix;
	uint8_t bytes[16];	/* IPv4 as ::ffff:a.b.c.d */
};

struct network {
	struct address address;
	int bits;		/* of 128 that count */
};

#define ADDRESS_MAX 46		/* bytes of a text, with its NUL */

/* Of a connection; a family that is neither IPv4 nor IPv6 counts as unix. */
struct address address_of(const struct sockaddr *);
/* An IPv4 or IPv6 address and nothing else; false: it is none. */
bool address_parse(const char *text, struct address *);
/* 192.0.2.1, 2001:db8::1 or unix; returns buf. */
char *address_text(const struct address *, char buf[ADDRESS_MAX]);
bool address_is_loopback(const struct address *);
/* Of one client as far as anybody can tell: an IPv6 host has a whole /64. */
bool address_is_same(const struct address *, const struct address *);

/* What is wrong with the text of a network, or NULL; n may be NULL. */
const char *network_parse(const char *text, struct network *n);
bool network_has(const struct network *, const struct address *);

#endif
