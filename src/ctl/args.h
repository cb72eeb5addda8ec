/*
 * The words behind a command: options anywhere, operands in order. What
 * options there are, what they take and mean, is one table in args.c; an
 * option means the same in every command that has it.
 */
#ifndef CTL_ARGS_H
#define CTL_ARGS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define ARGS_MAX 64		/* words of one call */

struct option {
	const char *name;	/* "queue": --queue */
	char letter;		/* -f; 0: none; of two, the command's own */
	const char *value;	/* what it takes, "NAME"; NULL: nothing */
	const char *help;
};

struct args {
	const char *operands[ARGS_MAX];
	int count;
	struct {
		const struct option *option;
		const char *value;	/* NULL for one that takes none */
	} given[ARGS_MAX];
	int given_count;
};

/* Options every command takes. */
extern const char args_common[];

/*
 * Sort the words (not the program's name) into args. allowed: option names
 * with a space between, beside the common ones; NULL: any, of a command
 * that is not known yet. "--" ends the options. -1 with e, a usage mistake.
 */
int args_parse(struct args *, int argc, char **argv, const char *allowed,
    struct err *e);

bool args_has(const struct args *, const char *name);
/* The value of an option, the last one if it is there more than once; NULL: not there. */
const char *args_get(const struct args *, const char *name);
/* The n-th value (from 0) of an option that may be repeated; NULL: no more. */
const char *args_nth(const struct args *, const char *name, int n);

/* A number option: *out stays as it is when it is not there. -1 with e. */
int args_number(const struct args *, const char *name, long min, long max,
    long *out, struct err *e);

/* The option of that name; a name of a command's list is always there. */
const struct option *args_option(const char *name, size_t len);
/* The one with that letter, rather one of the list than another; NULL: none. */
const struct option *args_letter(char letter, const char *allowed);

#endif
