/*
 * The nearest valid name to a mistyped one, for error messages.
 */
#ifndef CORE_NEAR_H
#define CORE_NEAR_H

#include <stddef.h>

/*
 * The one of names with the fewest edits from what was typed (a letter more,
 * less, other, or two changed places; either case is the same letter), the
 * first of equals. NULL when none is near enough: more edits than a third of
 * the longer name, but one is always near; names over 64 bytes never are.
 */
const char *near_name(const char *typed, const char *const *names, size_t count);

#endif
