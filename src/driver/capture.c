/*
 * What a program writes: see capture.h.
 */
#include "config.h"

#include <string.h>

#include "base/utf8.h"
#include "driver/capture.h"

void
capture_init(struct capture *c, size_t max)
{
	memset(c, 0, sizeof(*c));
	c->max = max;
}

void
capture_add(struct capture *c, const char *data, size_t len)
{
	c->total += len;
	if (len > c->max) {
		data += len - c->max;
		len = c->max;
	}
	/* Now and then, not at each byte, so that a flood stays cheap. */
	if (c->kept.len + len > 2 * c->max)
		buf_drop(&c->kept, c->kept.len + len - c->max);
	buf_put(&c->kept, data, len);
}

void
capture_reset(struct capture *c)
{
	buf_reset(&c->kept);
	c->total = c->given = 0;
}

void
capture_clear(struct capture *c)
{
	buf_clear(&c->kept);
}

const char *
capture_tail(const struct capture *c, size_t max, size_t *len)
{
	const char *p = c->kept.data;

	*len = c->kept.len;
	if (*len > max) {
		p += *len - max;
		*len = max;
		while (*len > 0 && ((unsigned char)*p & 0xc0) == 0x80) {
			p++;
			(*len)--;
		}
	}
	return p;
}

void
capture_give(struct capture *c, struct buf *out, size_t max, const char *title)
{
	unsigned long long fresh = c->total - c->given;
	size_t len, from = out->len;
	const char *text = capture_tail(c, fresh < max ? (size_t)fresh : max, &len);

	c->given = c->total;
	if (fresh == 0)
		return;
	if (title[0] != '\0')
		buf_printf(out, "%s%s\n", from > 0 && out->data[from - 1] != '\n' ?
		    "\n" : "", title);
	if (fresh > len + 3)	/* more than a character that was cut in two */
		buf_printf(out, "[%llu bytes before this are not kept]\n",
		    fresh - len);
	buf_put(out, text, len);
	utf8_clean(out->data + from, out->len - from);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

const char *
capture_last_line(const struct capture *c, size_t *len, bool *too_long)
{
	const char *start = c->kept.data, *end = start + c->kept.len;
	const char *line;

	*len = 0;
	*too_long = false;
	if (start == NULL)
		return NULL;
	while (end > start && is_blank(end[-1]))
		end--;
	if (end == start)
		return NULL;
	line = memrchr(start, '\n', (size_t)(end - start));
	if (line == NULL && c->total > c->kept.len) {
		*too_long = true;
		return NULL;
	}
	line = line == NULL ? start : line + 1;
	while (line < end && is_blank(*line))
		line++;
	*len = (size_t)(end - line);
	if (*len > c->max) {
		*too_long = true;
		return NULL;
	}
	return line;
}
