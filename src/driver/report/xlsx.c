/*
 * The format xlsx, by libxlsxwriter, which keeps one row in memory. A sheet
 * for each table; texts are never formulas, as each cell says what it is.
 */
#include "config.h"

#include "driver/report/table.h"

#ifdef HAVE_XLSX
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xlsxwriter.h>

#include "base/utf8.h"
#include "base/xalloc.h"

#define ROWS_MAX 1048575		/* of a sheet, below the head */
#define TEXT_MAX 32767			/* UTF-16 units of a cell, all told */
#define NAME_CHARS 27			/* of a sheet, which may have 31 */
#define NAME_SIZE (NAME_CHARS * 4 + 20)
#define DIGITS_MAX 15			/* that a number keeps */

struct writer {
	lxw_workbook *book;		/* NULL: closed */
	lxw_worksheet *sheet;
	lxw_format *bold, *date, *instant;
	struct buf text;		/* of the cell being written */
	int nsheets;
};

static struct writer *
xlsx_open(struct output *output, const struct writer_options *options)
{
	struct writer *w = xcalloc(1, sizeof(*w));
	lxw_workbook_options how = {
		.constant_memory = LXW_TRUE, .tmpdir = (char *)options->directory,
	};
	char path[32];

	/* The file that is open already, whatever its name may be by now. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", output->fd);
	w->book = workbook_new_opt(path, &how);
	if (w->book == NULL) {
		free(w);
		return NULL;
	}
	w->bold = workbook_add_format(w->book);
	format_set_bold(w->bold);
	w->date = workbook_add_format(w->book);
	format_set_num_format(w->date, "yyyy-mm-dd");
	w->instant = workbook_add_format(w->book);
	format_set_num_format(w->instant, "yyyy-mm-dd hh:mm:ss");
	return w;
}

static void
xlsx_free(struct writer *w)
{
	lxw_worksheet *sheet;

	/* To close it would write all of it. Of its temporary files it takes no
	 * care then. */
	if (w->book != NULL) {
		STAILQ_FOREACH(sheet, w->book->worksheets, list_pointers)
			if (sheet->optimize_tmpfile != NULL)
				fclose(sheet->optimize_tmpfile);
		lxw_workbook_free(w->book);
	}
	buf_clear(&w->text);
	free(w);
}

static int
failed(lxw_error why, struct err *e)
{
	return err_set(e, "xlsx: %s", lxw_strerror(why));
}

/* The value as a text that ends, and fits a cell. */
static const char *
cell_text(struct writer *w, const struct value *v)
{
	size_t len = 0, units = 0;

	while (len < v->len) {
		size_t n = utf8_length(v->text + len, v->len - len);

		units += n == 4 ? 2 : 1;
		if (units > TEXT_MAX)
			break;
		len += n > 0 ? n : 1;
	}
	buf_reset(&w->text);
	buf_put(&w->text, v->text, len);
	utf8_clean(w->text.data, w->text.len);
	return w->text.data;
}

/* Without the characters that no sheet's name may have, and no other's. */
static void
sheet_name(const struct writer *w, const char *title, char name[NAME_SIZE])
{
	size_t out = 0;
	int chars = 0;

	while (*title != '\0' && chars < NAME_CHARS) {
		size_t n = utf8_length(title, strlen(title));

		if (n == 0)
			break;
		if (n > 1 || strchr("[]:*?/\\'", *title) == NULL) {
			memcpy(name + out, title, n);
			out += n;
			chars++;
		}
		title += n;
	}
	name[out] = '\0';
	if (out == 0 || workbook_get_worksheet_by_name(w->book, name) != NULL)
		snprintf(name + out, NAME_SIZE - out, "%s%d", out > 0 ? " " : "Sheet ",
		    w->nsheets + 1);
}

static int
xlsx_begin(struct writer *w, const struct table *t, struct err *e)
{
	char name[NAME_SIZE];

	sheet_name(w, t->title, name);
	w->sheet = workbook_add_worksheet(w->book, name);
	if (w->sheet == NULL)
		return err_set(e, "xlsx: no sheet can be named \"%s\"", name);
	w->nsheets++;
	worksheet_freeze_panes(w->sheet, 1, 0);
	for (int i = 0; i < t->ncolumns; i++) {
		const char *title = t->columns[i].title;
		size_t len = strlen(title);
		lxw_error why;

		worksheet_set_column(w->sheet, (lxw_col_t)i, (lxw_col_t)i,
		    t->columns[i].kind == VALUE_INSTANT ? 19 : len < 12 ? 12 :
		    len > 40 ? 40 : (double)len, NULL);
		why = worksheet_write_string(w->sheet, 0, (lxw_col_t)i,
		    cell_text(w, &(struct value){ title, len }), w->bold);
		if (why != LXW_NO_ERROR)
			return failed(why, e);
	}
	return 0;
}

/* "2026-01-02 03:04:05.678+00"; false: nothing that a sheet knows. */
static bool
read_instant(const char *text, lxw_datetime *at, bool *has_time)
{
	int n = 0;

	memset(at, 0, sizeof(*at));
	if (sscanf(text, "%4d-%2d-%2d%n", &at->year, &at->month, &at->day, &n) != 3 ||
	    at->year < 1900 || strstr(text, "BC") != NULL)
		return false;
	*has_time = text[n] != '\0';
	return !*has_time || sscanf(text + n, " %2d:%2d:%lf", &at->hour, &at->min,
	    &at->sec) == 3;
}

static bool
is_exact_number(const char *text)
{
	int digits = 0;

	if (!isdigit((unsigned char)text[*text == '-']))
		return false;		/* NaN, Infinity */
	for (const char *p = text; *p != '\0' && *p != 'e'; p++)
		digits += isdigit((unsigned char)*p) != 0;
	return digits <= DIGITS_MAX || strchr(text, 'e') != NULL;
}

static lxw_error
write_cell(struct writer *w, lxw_row_t row, lxw_col_t column, enum value_kind kind,
    const struct value *v, lxw_format *format)
{
	const char *text = cell_text(w, v);
	lxw_datetime at;
	bool has_time;

	if (kind == VALUE_NUMBER && is_exact_number(text))
		return worksheet_write_number(w->sheet, row, column,
		    strtod(text, NULL), format);
	if (kind == VALUE_BOOLEAN)
		return worksheet_write_boolean(w->sheet, row, column, *text == 't',
		    format);
	if (kind == VALUE_INSTANT && read_instant(text, &at, &has_time))
		return worksheet_write_datetime(w->sheet, row, column, &at,
		    has_time ? w->instant : w->date);
	return worksheet_write_string(w->sheet, row, column, text, format);
}

static int
xlsx_row(struct writer *w, const struct table *t, const struct value *v,
    struct err *e)
{
	if (t->nrows >= ROWS_MAX)
		return err_set(e, "xlsx: a sheet has at most %d rows; ask for csv",
		    ROWS_MAX);
	for (int i = 0; i < t->ncolumns; i++) {
		lxw_error why;

		if (v[i].text == NULL || v[i].len == 0)
			continue;
		why = write_cell(w, (lxw_row_t)t->nrows + 1, (lxw_col_t)i,
		    t->columns[i].kind, &v[i], NULL);
		if (why != LXW_NO_ERROR)
			return failed(why, e);
	}
	return 0;
}

static int
xlsx_end(struct writer *w, const struct table *t, int *pct, struct err *e)
{
	lxw_row_t row = (lxw_row_t)t->nrows + 1;
	struct buf sum = { .len = 0 };

	(void)pct;
	(void)e;
	if (t->nrows > 0)
		worksheet_autofilter(w->sheet, 0, 0, (lxw_row_t)t->nrows,
		    (lxw_col_t)(t->ncolumns - 1));
	if (!t->any_total || t->nrows >= ROWS_MAX)
		return 0;
	if (!t->columns[0].summed)
		worksheet_write_string(w->sheet, row, 0, "Total", w->bold);
	for (int i = 0; i < t->ncolumns; i++) {
		if (!t->columns[i].summed)
			continue;
		buf_reset(&sum);
		total_text(&t->columns[i].total, &sum);
		if (sum.len > 0)
			write_cell(w, row, (lxw_col_t)i, VALUE_NUMBER,
			    &(struct value){ sum.data, sum.len }, w->bold);
	}
	buf_clear(&sum);
	return 0;
}

static int
xlsx_close(struct writer *w, struct err *e)
{
	lxw_error why = workbook_close(w->book);

	w->book = NULL;
	return why == LXW_NO_ERROR ? 0 : failed(why, e);
}

static const char *
xlsx_library(void)
{
	static char text[64];

	snprintf(text, sizeof(text), "libxlsxwriter %s", lxw_version());
	return text;
}
#endif

const struct format format_xlsx = {
	.name = "xlsx",
	.type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	.package = "libxlsxwriter-dev", .many = true,
#ifdef HAVE_XLSX
	.present = true,
	.open = xlsx_open, .begin = xlsx_begin, .row = xlsx_row, .end = xlsx_end,
	.close = xlsx_close, .free = xlsx_free, .library = xlsx_library,
#endif
};
