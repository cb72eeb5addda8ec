/*
 * A growing vector of strings, NULL at the end, as argv and environments
 * are. A zeroed struct is an empty one.
 */
#ifndef DRIVER_STRINGS_H
#define DRIVER_STRINGS_H

#include <stddef.h>

struct strings {
	char **v;		/* NULL while nothing was ever put in */
	size_t n;
};

void strings_take(struct strings *, char *text);
void strings_clear(struct strings *);

#endif
