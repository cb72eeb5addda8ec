/*
 * Base64: see base64.h.
 */
#include "config.h"

#include <stdint.h>
#include <string.h>

#include "core/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "abcdefghijklmnopqrstuvwxyz0123456789+/";

void
base64_encode(struct buf *out, const void *data, size_t len)
{
	const unsigned char *bytes = data;
	char four[4];

	buf_grow(out, len / 3 * 4 + 4);
	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t bits = 0;

		for (size_t k = 0; k < 3; k++)
			bits = bits << 8 | (k < n ? bytes[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			four[k] = k > n ? '=' : digits[bits >> (18 - 6 * k) & 63];
		buf_put(out, four, sizeof(four));
	}
}

/* Four digits, of which `pad` are left out at the end. */
static int
decode_four(struct buf *out, const char *four, size_t pad)
{
	uint32_t bits = 0;
	char three[3];

	for (size_t k = 0; k < 4 - pad; k++) {
		const char *at = four[k] == '\0' ? NULL : strchr(digits, four[k]);

		if (at == NULL)
			return -1;
		bits |= (uint32_t)(at - digits) << (18 - 6 * k);
	}
	if ((bits & ((UINT32_C(1) << 8 * pad) - 1)) != 0)
		return -1;	/* bits that stand for nothing */
	for (size_t k = 0; k < 3; k++)
		three[k] = (char)(bits >> (16 - 8 * k) & 0xff);
	buf_put(out, three, 3 - pad);
	return 0;
}

int
base64_decode(struct buf *out, const char *text, size_t len)
{
	size_t before = out->len, pad = 0;

	if (len % 4 != 0)
		return -1;
	while (pad < 2 && len > 0 && text[len - 1 - pad] == '=')
		pad++;
	buf_grow(out, len / 4 * 3);
	for (size_t i = 0; i < len; i += 4)
		if (decode_four(out, text + i, i + 4 == len ? pad : 0) < 0) {
			out->len = before;
			out->data[before] = '\0';
			return -1;
		}
	buf_put(out, "", 0);
	return 0;
}
