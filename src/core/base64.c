/*
 * Base64: see base64.h.
 */
#include "config.h"

#include <stdint.h>

#include "core/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "abcdefghijklmnopqrstuvwxyz0123456789+/";

void
base64_encode(struct buf *out, const void *data, size_t len)
{
	const unsigned char *p = data;
	char *to;

	buf_grow(out, len / 3 * 4 + 4);
	to = out->data + out->len;
	for (size_t left = len; left > 0; to += 4) {
		size_t n = left < 3 ? left : 3;
		uint32_t bits = (uint32_t)p[0] << 16 |
		    (n > 1 ? (uint32_t)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);

		to[0] = digits[bits >> 18];
		to[1] = digits[bits >> 12 & 63];
		to[2] = n > 1 ? digits[bits >> 6 & 63] : '=';
		to[3] = n > 2 ? digits[bits & 63] : '=';
		p += n;
		left -= n;
	}
	*to = '\0';
	out->len = (size_t)(to - out->data);
}

/* By a table: what comes is random, and branches would be guessed wrong. */
static uint32_t
value_of(char c)
{
	static const unsigned char values[256] = {	/* and 1; 0: none */
		['A'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17,
		18, 19, 20, 21, 22, 23, 24, 25, 26,
		['a'] = 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41,
		42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52,
		['0'] = 53, 54, 55, 56, 57, 58, 59, 60, 61, 62,
		['+'] = 63, ['/'] = 64,
	};

	return values[(unsigned char)c] - UINT32_C(1);
}

/* Four digits, of which `pad` are left out at the end. */
static int
decode_four(char *to, const char *four, size_t pad)
{
	uint32_t bits = 0, all = 0;

	for (size_t k = 0; k < 4 - pad; k++) {
		uint32_t value = value_of(four[k]);

		all |= value;
		bits |= (value & 63) << (18 - 6 * k);
	}
	if (all >= 64 || (bits & ((UINT32_C(1) << 8 * pad) - 1)) != 0)
		return -1;	/* or bits that stand for nothing */
	for (size_t k = 0; k < 3 - pad; k++)
		to[k] = (char)(bits >> (16 - 8 * k) & 0xff);
	return 0;
}

int
base64_decode(struct buf *out, const char *text, size_t len)
{
	size_t pad = 0;
	char *to;

	if (len % 4 != 0)
		return -1;
	while (pad < 2 && len > 0 && text[len - 1 - pad] == '=')
		pad++;
	buf_grow(out, len / 4 * 3);
	to = out->data + out->len;
	for (size_t i = 0; i < len; i += 4, to += 3)
		if (decode_four(to, text + i, i + 4 == len ? pad : 0) < 0) {
			out->data[out->len] = '\0';
			return -1;
		}
	out->len += len / 4 * 3 - pad;
	out->data[out->len] = '\0';
	return 0;
}
