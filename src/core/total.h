/*
 * Sums of decimal numbers as text, to the digit: sums of money. Pure.
 */
#ifndef CORE_TOTAL_H
#define CORE_TOTAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define TOTAL_SCALE_MAX 18		/* digits behind the point */

/* A zeroed one is 0. */
struct total {
	__int128 sum;			/* in units of 10^-scale */
	int scale;			/* as many as the longest fraction had */
	bool lost;			/* it became too large, or had no number */
};

/* Add "-12.50"; what is no such number, or has more digits behind the point,
 * makes the sum unknown. */
void total_add(struct total *, const char *text, size_t len);
/* Append the sum; nothing when it is not known. */
void total_text(const struct total *, struct buf *);

#endif
