/*
 * Logging in at a server by SASL (RFC 4954): the mechanisms are those of
 * libesmtp's SASL client, and XOAUTH2, whose password is an access token.
 */
#ifndef DRIVER_SASL_H
#define DRIVER_SASL_H

#include "base/err.h"

struct sasl;

/* The names of what a configuration may ask for, NULL at the end; the first is
 * to take what the server offers. */
extern const char *const sasl_names[];

void sasl_init(void);		/* once, before all else */
void sasl_exit(void);

/*
 * Begin a log-in.
 *   wanted	an index of sasl_names
 *   offered	what the server said behind AUTH, names with blanks between them
 * user and password are borrowed until sasl_free(). NULL with e: nothing fits.
 */
struct sasl *sasl_new(int wanted, const char *offered, const char *user,
    const char *password, struct err *e);
void sasl_free(struct sasl *);

const char *sasl_mechanism(const struct sasl *);

/*
 * What to send, in base64; new, to be wiped.
 *   challenge	the server's, in base64; NULL: none yet
 * NULL without e filled: nothing need go with the first command; else with e.
 */
char *sasl_respond(struct sasl *, const char *challenge, struct err *e);

#endif
