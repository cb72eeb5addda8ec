/*
 * The nearest valid name: optimal string alignment distance, letters of
 * either case equal.
 */
#include "config.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "core/near.h"

#define NAME_MAX_LEN 64		/* longer ones are nobody's typing mistake */

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static bool
same(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Both at most NAME_MAX_LEN long. */
static size_t
distance(const char *a, size_t alen, const char *b, size_t blen)
{
	size_t rows[3][NAME_MAX_LEN + 1];
	size_t *before = rows[0], *last = rows[1], *row = rows[2];

	for (size_t j = 0; j <= blen; j++)
		last[j] = j;
	for (size_t i = 1; i <= alen; i++) {
		size_t *oldest = before;

		row[0] = i;
		for (size_t j = 1; j <= blen; j++) {
			row[j] = last[j - 1] + !same(a[i - 1], b[j - 1]);
			row[j] = least(row[j], least(last[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) &&
			    same(a[i - 2], b[j - 1]))
				row[j] = least(row[j], before[j - 2] + 1);
		}
		before = last;
		last = row;
		row = oldest;
	}
	return last[blen];
}

const char *
near_name(const char *typed, const char *const *names, size_t count)
{
	size_t typed_len = strnlen(typed, NAME_MAX_LEN + 1);
	const char *nearest = NULL;
	size_t nearest_by = NAME_MAX_LEN;

	if (typed_len > NAME_MAX_LEN)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		size_t len = strnlen(names[i], NAME_MAX_LEN + 1);
		size_t longer = len > typed_len ? len : typed_len;
		size_t enough = longer < 6 ? 1 : longer / 3;
		size_t by;

		if (len > NAME_MAX_LEN)
			continue;
		by = distance(typed, typed_len, names[i], len);
		if (by <= enough && by < nearest_by) {
			nearest = names[i];
			nearest_by = by;
		}
	}
	return nearest;
}
