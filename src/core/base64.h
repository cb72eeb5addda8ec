/*
 * Base64 as of RFC 4648, with its padding. Pure.
 */
#ifndef CORE_BASE64_H
#define CORE_BASE64_H

#include <stddef.h>

#include "base/buf.h"

void base64_encode(struct buf *out, const void *data, size_t len);
/*
 * Append what the text stands for. -1, with the buffer as it was: it is no
 * base64, or not as base64_encode() writes it, so that no two texts stand for
 * the same bytes.
 */
int base64_decode(struct buf *out, const char *text, size_t len);

#endif
