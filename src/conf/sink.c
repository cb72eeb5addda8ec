/*
 * Complaints about a configuration: kept, sorted by place, shown once.
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "base/xalloc.h"
#include "conf/sink.h"

#define COMPLAINT_MAX 1024	/* bytes of one message */

static int by_place(const void *, const void *);
static bool same(const struct complaint *, const struct complaint *);

size_t
sink_file(struct conf_sink *sink, const char *file)
{
	for (size_t i = sink->nfiles; i > 0; i--)
		if (strcmp(sink->files[i - 1], file) == 0)
			return i - 1;
	sink->files = xreallocarray(sink->files, sink->nfiles + 1,
	    sizeof(*sink->files));
	sink->files[sink->nfiles] = xstrdup(file);
	return sink->nfiles++;
}

bool
sink_is_full(const struct conf_sink *sink)
{
	return sink != NULL && sink->count == SINK_MAX;
}

void
conf_complain(struct conf_sink *sink, const char *file, int line, int column,
    const char *fmt, ...)
{
	struct complaint *c;
	char text[COMPLAINT_MAX];
	va_list ap;

	if (sink == NULL)
		return;
	if (sink_is_full(sink)) {
		sink->beyond++;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* What is quoted came from a file: it stays one line, and readable. */
	utf8_clean(text, strlen(text));
	for (char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
	sink->complaints = xreallocarray(sink->complaints, sink->count + 1,
	    sizeof(*sink->complaints));
	c = &sink->complaints[sink->count];
	c->file = sink_file(sink, file);
	c->line = line;
	c->column = column;
	c->turn = sink->count++;
	c->text = xstrdup(text);
}

char *
sink_text(struct conf_sink *sink)
{
	struct buf b = { 0 };

	if (sink->count > 0)
		qsort(sink->complaints, sink->count, sizeof(*sink->complaints),
		    by_place);
	for (size_t i = 0; i < sink->count; i++) {
		const struct complaint *c = &sink->complaints[i];

		if (i > 0 && same(c - 1, c))
			continue;
		buf_printf(&b, "%s:%d:%d: %s\n", sink->files[c->file], c->line,
		    c->column, c->text);
	}
	if (sink->beyond > 0)
		buf_printf(&b, "%s:1:1: and %zu more mistakes\n",
		    sink->files[0], sink->beyond);
	return buf_detach(&b);
}

void
sink_clear(struct conf_sink *sink)
{
	for (size_t i = 0; i < sink->count; i++)
		free(sink->complaints[i].text);
	for (size_t i = 0; i < sink->nfiles; i++)
		free(sink->files[i]);
	free(sink->complaints);
	free(sink->files);
	memset(sink, 0, sizeof(*sink));
}

static int
by_place(const void *va, const void *vb)
{
	const struct complaint *a = va, *b = vb;

	if (a->file != b->file)
		return a->file < b->file ? -1 : 1;
	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	if (a->column != b->column)
		return a->column < b->column ? -1 : 1;
	return a->turn < b->turn ? -1 : a->turn > b->turn;
}

static bool
same(const struct complaint *a, const struct complaint *b)
{
	return a->file == b->file && a->line == b->line &&
	    a->column == b->column && strcmp(a->text, b->text) == 0;
}
