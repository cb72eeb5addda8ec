/*
 * A growing run of bytes, always followed by a NUL that len does not count.
 * The holder owns data; a zeroed struct is an empty buffer.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>
#include <string.h>

struct buf {
	char *data;		/* NULL while nothing was ever put in */
	size_t len;
	size_t cap;
};

void buf_grow(struct buf *, size_t more);	/* room for so many and the NUL */

/* Here, since it is most of what messages cost. */
static inline void
buf_put(struct buf *b, const void *data, size_t len)
{
	if (b->cap < b->len + len + 1)
		buf_grow(b, len);
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_str(struct buf *, const char *s);
void buf_char(struct buf *, char c);
void buf_printf(struct buf *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* As a JSON string, with quotes; NUL and what is no UTF-8 become U+FFFD. */
void buf_json(struct buf *, const char *s, size_t len);
void buf_drop(struct buf *, size_t len);	/* the first len bytes */
void buf_reset(struct buf *);			/* empty, memory kept */
void buf_clear(struct buf *);			/* empty, memory freed */
char *buf_detach(struct buf *);			/* caller frees; never NULL */

#endif
