/*
 * UTF-8 as of RFC 3629, table 3-7 of the Unicode standard.
 */
#include "config.h"

#include <string.h>

#include "base/utf8.h"

static int
continues(const unsigned char *p, size_t from, size_t count)
{
	for (size_t i = from; i < count; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return 1;
}

size_t
utf8_length(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;
	unsigned char low = 0x80, high = 0xbf;
	size_t n;

	if (len == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (len < n)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	return continues(p, 2, n) ? n : 0;
}

void
utf8_clean(char *s, size_t len)
{
	size_t i = 0;

	while (i < len) {
		size_t n = utf8_length(s + i, len - i);

		if (n == 0 || s[i] == '\0') {
			s[i] = '?';
			n = 1;
		}
		i += n;
	}
}

void
utf8_cut(char *text, size_t max)
{
	size_t len = strlen(text);

	utf8_clean(text, len);
	if (len <= max)
		return;
	while (max > 0 && ((unsigned char)text[max] & 0xc0) == 0x80)
		max--;
	text[max] = '\0';
}
