/*
 * Base64: see base64.h. OpenSSL's, and what that lets pass.
 */
#include "config.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

#include "core/base64.h"

#define PIECE (3u << 20)	/* bytes at a time; a multiple of three */

void
base64_encode(struct buf *out, const void *data, size_t len)
{
	const unsigned char *p = data;

	buf_grow(out, len / 3 * 4 + 4);
	while (len > 0) {
		size_t n = len < PIECE ? len : PIECE;

		out->len += (size_t)EVP_EncodeBlock(
		    (unsigned char *)out->data + out->len, p, (int)n);
		p += n;
		len -= n;
	}
	out->data[out->len] = '\0';
}

/* Do the last four digits stand for their bytes as we would write them? */
static bool
ends_well(const char *digits, const unsigned char *bytes, size_t n)
{
	unsigned char again[5];

	EVP_EncodeBlock(again, bytes, (int)n);
	return memcmp(again, digits, 4) == 0;
}

int
base64_decode(struct buf *out, const char *text, size_t len)
{
	size_t pad = 0, n = len / 4 * 3;
	unsigned char *to;

	if (len % 4 != 0 || len > INT_MAX)
		return -1;
	if (len == 0)
		return 0;
	while (pad < 2 && text[len - 1 - pad] == '=')
		pad++;
	buf_grow(out, n);
	to = (unsigned char *)out->data + out->len;
	/* It leaves blanks out at both ends, and takes an = in the middle for 0. */
	if (memchr(text, '=', len - pad) != NULL ||
	    EVP_DecodeBlock(to, (const unsigned char *)text, (int)len) != (int)n ||
	    !ends_well(text + len - 4, to + n - 3, 3 - pad)) {
		out->data[out->len] = '\0';
		return -1;
	}
	out->len += n - pad;
	out->data[out->len] = '\0';
	return 0;
}
