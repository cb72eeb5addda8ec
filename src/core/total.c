/*
 * Sums of decimal numbers: see total.h.
 */
#include "config.h"

#include <ctype.h>

#include "core/total.h"

static bool
shift(__int128 *number, int digits)
{
	while (digits-- > 0)
		if (__builtin_mul_overflow(*number, 10, number))
			return false;
	return true;
}

/* False: it is no number. */
static bool
parse(const char *text, size_t len, __int128 *number, int *scale)
{
	size_t i = len > 0 && *text == '-', first = i;
	bool fraction = false;

	*number = 0;
	*scale = 0;
	for (; i < len; i++) {
		if (text[i] == '.' && !fraction && i > first) {
			fraction = true;
			continue;
		}
		if (!isdigit((unsigned char)text[i]) || !shift(number, 1) ||
		    __builtin_add_overflow(*number, text[i] - '0', number))
			return false;
		*scale += fraction;
	}
	if (len > 0 && *text == '-')
		*number = -*number;
	return len > first && *scale <= TOTAL_SCALE_MAX;
}

void
total_add(struct total *t, const char *text, size_t len)
{
	__int128 number;
	int scale;

	if (t->lost)
		return;
	if (!parse(text, len, &number, &scale) ||
	    !shift(&number, t->scale - scale) ||
	    !shift(&t->sum, scale - t->scale) ||
	    __builtin_add_overflow(t->sum, number, &t->sum))
		t->lost = true;
	else if (scale > t->scale)
		t->scale = scale;
}

void
total_text(const struct total *t, struct buf *b)
{
	char digits[64];
	int n = 0;
	unsigned __int128 left = t->sum < 0 ? -(unsigned __int128)t->sum :
	    (unsigned __int128)t->sum;

	if (t->lost)
		return;
	for (; left > 0 || n <= t->scale; left /= 10)
		digits[n++] = (char)('0' + (int)(left % 10));
	if (t->sum < 0)
		buf_char(b, '-');
	while (n-- > 0) {
		buf_char(b, digits[n]);
		if (n == t->scale && n > 0)
			buf_char(b, '.');
	}
}
