/*
 * Rows as JSON: see rows.h.
 */
#include "config.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "conf/conf.h"
#include "driver/rows.h"

/* PostgreSQL's own numbers are JSON's, but for those that are none. */
static bool
is_number(const char *text, size_t len)
{
	return len > 0 && isdigit((unsigned char)text[len - 1]) &&
	    (isdigit((unsigned char)*text) || *text == '-');
}

void
rows_value(struct buf *b, enum value_kind kind, const char *text, size_t len)
{
	if (text == NULL)
		buf_str(b, "null");
	else if (kind == VALUE_BOOLEAN)
		buf_str(b, *text == 't' ? "true" : "false");
	else if (kind == VALUE_JSON || (kind == VALUE_NUMBER && is_number(text, len)))
		buf_put(b, text, len);
	else
		buf_json(b, text, len);
}

void
rows_object(struct buf *b, const struct session_row *row)
{
	int n = session_columns(row);

	buf_char(b, '{');
	for (int i = 0; i < n; i++) {
		const char *name = session_name(row, i), *text;
		size_t len = 0;

		if (i > 0)
			buf_char(b, ',');
		buf_json(b, name, strlen(name));
		buf_char(b, ':');
		text = session_value(row, i, &len);
		rows_value(b, session_kind(row, i), text, len);
	}
	buf_char(b, '}');
}

static void
put_text(struct buf *b, const char *name, const char *text)
{
	buf_printf(b, ",\"%s\":", name);
	if (text == NULL)
		buf_str(b, "null");
	else
		buf_json(b, text, strlen(text));
}

void
rows_job(struct buf *b, const struct run *run)
{
	buf_printf(b, "{\"id\":%" PRId64 ",\"attempt\":%d", run->job->id,
	    run->job->attempt);
	put_text(b, "queue", run->ctx->queue->name);
	put_text(b, "type", run->job->type);
	put_text(b, "tenant", run->job->tenant);
	buf_char(b, '}');
}
