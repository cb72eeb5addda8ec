/*
 * Mail addresses: "a@b.example", "Name <a@b.example>", lists of them. Pure.
 *
 * Accepted is what can be put on the wire as it is: a local part without quotes,
 * a domain of letters, digits and hyphens (or an address in brackets), and a
 * name, in UTF-8 without control characters. Beyond ASCII an address is for
 * servers with SMTPUTF8 (RFC 6531).
 */
#ifndef DRIVER_ADDR_H
#define DRIVER_ADDR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct addr {
	char *name;		/* NULL: none */
	char *address;		/* local@domain */
};

struct addrs {
	struct addr *v;
	size_t n;
};

#define ADDR_MAX 254		/* bytes of an address */
#define ADDR_NAME_MAX 320

/* One mailbox. -1 with e. */
int addr_parse(const char *text, struct addr *, struct err *e);
void addr_clear(struct addr *);
bool addr_is_ascii(const struct addr *);	/* the address; a name is encoded */

/* Mailboxes between commas, appended; a comma in a quoted name separates
 * nothing. An empty text adds none. */
int addrs_parse(const char *text, struct addrs *, struct err *e);
void addrs_clear(struct addrs *);

#endif
