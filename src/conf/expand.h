/*
 * ${NAME} and ${NAME:-default} in the scalars of a configuration. Inside
 * conf/ only.
 */
#ifndef CONF_EXPAND_H
#define CONF_EXPAND_H

#include "base/buf.h"
#include "base/err.h"

/*
 * Append text to out with every ${NAME} replaced by that environment variable.
 * ${NAME:-default} stands for the default when the variable is unset or empty;
 * $${ stands for ${ itself; any other dollar stands for itself. HOSTNAME is
 * the host's name when it is not in the environment.
 * Returns 0, or -1 with e.
 */
int expand(struct buf *out, const char *text, struct err *e);

/* Append text to out so that expand() gives it back. */
void expand_escape(struct buf *out, const char *text);

#endif
