/*
 * Lines: see lines.h.
 */
#include "config.h"

#include <string.h>

#include "driver/lines.h"

static void
put(struct lines *l, const char *data, size_t len, line_fn *fn, void *arg)
{
	if (l->skipping)
		return;
	if (l->part.len + len > l->max) {
		l->skipping = true;	/* before fn, which may end all this */
		buf_reset(&l->part);
		fn(NULL, 0, arg);
		return;
	}
	buf_put(&l->part, data, len);
}

static void
end_line(struct lines *l, line_fn *fn, void *arg)
{
	struct buf line = l->part;

	if (l->skipping) {
		l->skipping = false;
		return;
	}
	l->part = (struct buf){ .len = 0 };
	if (line.data == NULL)
		buf_put(&line, "", 0);
	fn(line.data, line.len, arg);
	/* Its memory is for the next one, unless that has some already. */
	buf_reset(&line);
	if (l->part.data == NULL)
		l->part = line;
	else
		buf_clear(&line);
}

void
lines_add(struct lines *l, const char *data, size_t len, line_fn *fn, void *arg)
{
	const char *end = data + len, *newline;

	while ((newline = memchr(data, '\n', (size_t)(end - data))) != NULL) {
		put(l, data, (size_t)(newline - data), fn, arg);
		end_line(l, fn, arg);
		data = newline + 1;
	}
	put(l, data, (size_t)(end - data), fn, arg);
}

void
lines_clear(struct lines *l)
{
	buf_clear(&l->part);
	l->skipping = false;
}
