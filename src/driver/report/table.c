/*
 * Formats of reports, and those that are text: csv, json, ndjson.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/xalloc.h"
#include "driver/report/table.h"
#include "driver/rows.h"

const struct format *const formats[] = {
	&format_csv, &format_json, &format_ndjson, &format_xlsx, &format_pdf, NULL
};

const struct format *
format_find(const char *name)
{
	if (strcasecmp(name, "excel") == 0)
		return &format_xlsx;
	for (size_t i = 0; formats[i] != NULL; i++)
		if (strcasecmp(formats[i]->name, name) == 0)
			return formats[i];
	return NULL;
}

bool
value_is_formula(const struct value *v)
{
	return v->text != NULL && v->len > 0 && strchr("=+-@\t\r", *v->text) != NULL &&
	    *v->text != '\0';
}

struct writer {
	struct output *output;
	bool bom;
	struct buf line;
};

static struct writer *
text_open(struct output *output, const struct writer_options *options)
{
	struct writer *w = xcalloc(1, sizeof(*w));

	w->output = output;
	w->bom = options->bom;
	return w;
}

static void
text_free(struct writer *w)
{
	buf_clear(&w->line);
	free(w);
}

static int
put_line(struct writer *w, struct err *e)
{
	int rc = output_put(w->output, w->line.data, w->line.len, e);

	buf_reset(&w->line);
	return rc;
}

static int
text_end(struct writer *w, const struct table *t, int *pct, struct err *e)
{
	(void)w;
	(void)t;
	(void)pct;
	(void)e;
	return 0;
}

static int
text_close(struct writer *w, struct err *e)
{
	(void)w;
	(void)e;
	return 0;
}

/*
 * csv: RFC 4180, UTF-8
 */

static void
put_cell(struct buf *b, const struct value *v, bool text)
{
	bool formula = text && value_is_formula(v);
	bool quoted = formula;

	if (v->text == NULL)
		return;
	for (size_t i = 0; i < v->len && !quoted; i++)
		quoted = strchr(",\"\r\n", v->text[i]) != NULL;
	/* An empty text is not null. */
	if (!quoted && v->len > 0 && *v->text != ' ' && v->text[v->len - 1] != ' ') {
		buf_put(b, v->text, v->len);
		return;
	}
	buf_char(b, '"');
	if (formula)
		buf_char(b, '\'');
	for (size_t i = 0; i < v->len; i++) {
		if (v->text[i] == '"')
			buf_char(b, '"');
		buf_char(b, v->text[i]);
	}
	buf_char(b, '"');
}

static int
csv_begin(struct writer *w, const struct table *t, struct err *e)
{
	if (w->bom)
		buf_str(&w->line, "\xef\xbb\xbf");
	for (int i = 0; i < t->ncolumns; i++) {
		const char *title = t->columns[i].title;

		if (i > 0)
			buf_char(&w->line, ',');
		put_cell(&w->line, &(struct value){ title, strlen(title) }, true);
	}
	buf_str(&w->line, "\r\n");
	return put_line(w, e);
}

static int
csv_row(struct writer *w, const struct table *t, const struct value *v, struct err *e)
{
	for (int i = 0; i < t->ncolumns; i++) {
		if (i > 0)
			buf_char(&w->line, ',');
		put_cell(&w->line, &v[i], t->columns[i].kind != VALUE_NUMBER);
	}
	buf_str(&w->line, "\r\n");
	return put_line(w, e);
}

/*
 * json: an array of objects; ndjson: an object a line
 */

static void
put_object(struct buf *b, const struct table *t, const struct value *v)
{
	buf_char(b, '{');
	for (int i = 0; i < t->ncolumns; i++) {
		if (i > 0)
			buf_char(b, ',');
		buf_json(b, t->columns[i].name, strlen(t->columns[i].name));
		buf_char(b, ':');
		rows_value(b, t->columns[i].kind, v[i].text, v[i].len);
	}
	buf_char(b, '}');
}

static int
json_begin(struct writer *w, const struct table *t, struct err *e)
{
	(void)t;
	return output_put(w->output, "[", 1, e);
}

static int
json_row(struct writer *w, const struct table *t, const struct value *v, struct err *e)
{
	buf_str(&w->line, t->nrows > 0 ? ",\n" : "\n");
	put_object(&w->line, t, v);
	return put_line(w, e);
}

static int
json_end(struct writer *w, const struct table *t, int *pct, struct err *e)
{
	(void)t;
	(void)pct;
	return output_put(w->output, "\n]\n", 3, e);
}

static int
ndjson_begin(struct writer *w, const struct table *t, struct err *e)
{
	(void)w;
	(void)t;
	(void)e;
	return 0;
}

static int
ndjson_row(struct writer *w, const struct table *t, const struct value *v,
    struct err *e)
{
	put_object(&w->line, t, v);
	buf_char(&w->line, '\n');
	return put_line(w, e);
}

const struct format format_csv = {
	.name = "csv", .type = "text/csv", .present = true,
	.open = text_open, .begin = csv_begin, .row = csv_row, .end = text_end,
	.close = text_close, .free = text_free,
};

const struct format format_json = {
	.name = "json", .type = "application/json", .present = true,
	.open = text_open, .begin = json_begin, .row = json_row, .end = json_end,
	.close = text_close, .free = text_free,
};

const struct format format_ndjson = {
	.name = "ndjson", .type = "application/x-ndjson", .present = true,
	.open = text_open, .begin = ndjson_begin, .row = ndjson_row, .end = text_end,
	.close = text_close, .free = text_free,
};
