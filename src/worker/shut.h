/*
 * The destinations that no job is to go to, since a circuit breaker is open.
 * The leader tells all of them at once, in the order of strcmp().
 */
#ifndef WORKER_SHUT_H
#define WORKER_SHUT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/msg.h"

struct shut {
	char **names;
	size_t count;
};

/* What is shut from now on; -1: malformed, and what could be read is. */
int shut_read(struct shut *, struct msg_reader *);
bool shut_has(const struct shut *, const char *destination);
void shut_clear(struct shut *);

#endif
