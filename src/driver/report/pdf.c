/*
 * The format pdf, by cairo and pango: a table with its head on every page,
 * totals, "page n of m", and a chart at the end. How many pages there will be
 * is known only after the last row, so rows wait in a file; then pages are
 * drawn a few at a time. A row is a line: what is longer is cut.
 */
#include "config.h"

#include "driver/report/table.h"

#ifdef HAVE_PDF
#include <fcntl.h>
#include <pango/pangocairo.h>
#include <cairo-pdf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"
#include "base/xalloc.h"

/* Points. */
#define A4_SHORT 595.0
#define A4_LONG 842.0
#define MARGIN 36.0
#define TITLE_HEIGHT 26.0
#define ROW_HEIGHT 13.0
#define FOOT_HEIGHT 18.0
#define GAP 4.0				/* between columns */
#define PORTRAIT_COLUMNS 6		/* more are landscape */
#define BAR_HEIGHT 16.0

#define CELL_MAX 240			/* bytes of a text */
#define WIDTH_ROWS 500			/* that say how wide columns are */
#define WIDTH_MIN 5			/* characters */
#define WIDTH_MAX 40
#define PAGES_AT_ONCE 8

enum pdf_part { PART_TABLE, PART_CHART, PART_OVER };

/*
 * A font, and its ASCII characters made ready: to have pango look at each of a
 * million texts takes minutes. All others go its way.
 */
#define ASCII_FIRST 32
#define ASCII_COUNT 95
struct font {
	PangoLayout *layout;
	PangoFont *font;		/* NULL: the characters are of several */
	PangoGlyphInfo ascii[ASCII_COUNT];
	int baseline;			/* in pango's units, as widths are */
};

struct writer {
	struct output *output;
	char *directory;
	FILE *rows;			/* what waits; NULL: none */

	cairo_surface_t *surface;	/* NULL: nothing is drawn yet */
	cairo_t *cairo;
	struct font cell, head, title;
	PangoGlyphString *glyphs;	/* of the text being drawn */
	double width, height;
	int chars[TABLE_COLUMNS_MAX];	/* the widest text */
	double x[TABLE_COLUMNS_MAX + 1];

	int64_t rows_left;
	bool total_left;
	enum pdf_part part;
	int page, pages, page_rows;
	int chart_room;			/* lines that are free below the table */
	bool failed;			/* output_put() did: reason */
	struct err reason;
};

static struct writer *
pdf_open(struct output *output, const struct writer_options *options)
{
	struct writer *w = xcalloc(1, sizeof(*w));

	w->output = output;
	w->directory = xstrdup(options->directory);
	return w;
}

static void
font_clear(struct font *f)
{
	if (f->font != NULL)
		g_object_unref(f->font);
	g_object_unref(f->layout);
	f->font = NULL;
}

static void
end_drawing(struct writer *w)
{
	if (w->surface != NULL) {
		font_clear(&w->cell);
		font_clear(&w->head);
		font_clear(&w->title);
		pango_glyph_string_free(w->glyphs);
		cairo_destroy(w->cairo);
		cairo_surface_destroy(w->surface);
	}
	w->cairo = NULL;
	w->surface = NULL;
	if (w->rows != NULL)
		fclose(w->rows);
	w->rows = NULL;
}

static void
pdf_free(struct writer *w)
{
	end_drawing(w);
	free(w->directory);
	free(w);
}

/*
 * Rows, on their way through a file
 */

static int
pdf_begin(struct writer *w, const struct table *t, struct err *e)
{
	int fd;

	end_drawing(w);
	fd = open(w->directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, "no temporary file in %s", w->directory);
	w->rows = fdopen(fd, "w+");
	w->failed = false;
	for (int i = 0; i < t->ncolumns; i++)
		w->chars[i] = (int)g_utf8_strlen(t->columns[i].title, -1);
	return 0;
}

/* At most CELL_MAX bytes of it, without controls: a line. */
static size_t
line_of(const struct value *v, char text[CELL_MAX])
{
	size_t len = v->len < CELL_MAX ? v->len : CELL_MAX;

	while (len < v->len && len > 0 && ((unsigned char)v->text[len] & 0xc0) == 0x80)
		len--;
	memcpy(text, v->text, len);
	utf8_clean(text, len);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ')
			text[i] = ' ';
	return len;
}

static int
pdf_row(struct writer *w, const struct table *t, const struct value *v,
    struct err *e)
{
	for (int i = 0; i < t->ncolumns; i++) {
		char text[CELL_MAX];
		unsigned char len = 0;

		if (v[i].text != NULL)
			len = (unsigned char)line_of(&v[i], text);
		if (t->nrows < WIDTH_ROWS) {
			int chars = (int)g_utf8_strlen(text, len);

			if (chars > w->chars[i])
				w->chars[i] = chars;
		}
		putc_unlocked(len, w->rows);
		fwrite_unlocked(text, 1, len, w->rows);
	}
	if (ferror(w->rows))
		return err_errno(e, "cannot write a temporary file in %s",
		    w->directory);
	return 0;
}

/*
 * Drawing
 */

static cairo_status_t
put_bytes(void *arg, const unsigned char *data, unsigned len)
{
	struct writer *w = arg;

	if (!w->failed && output_put(w->output, data, len, &w->reason) < 0)
		w->failed = true;
	return w->failed ? CAIRO_STATUS_WRITE_ERROR : CAIRO_STATUS_SUCCESS;
}

/* The glyph of one character; false: it needs more than one, or another font. */
static bool
font_character(struct font *f, char c)
{
	PangoLayoutLine *line;
	PangoLayoutRun *run;

	pango_layout_set_text(f->layout, &c, 1);
	line = pango_layout_get_line_readonly(f->layout, 0);
	if (line == NULL || line->runs == NULL || line->runs->next != NULL)
		return false;
	run = line->runs->data;
	if (run->glyphs->num_glyphs != 1 || (f->font != NULL &&
	    run->item->analysis.font != f->font))
		return false;
	if (f->font == NULL)
		f->font = g_object_ref(run->item->analysis.font);
	f->ascii[c - ASCII_FIRST] = run->glyphs->glyphs[0];
	return true;
}

static void
font_init(struct writer *w, struct font *f, const char *name)
{
	PangoFontDescription *description = pango_font_description_from_string(name);

	f->font = NULL;
	f->layout = pango_cairo_create_layout(w->cairo);
	pango_layout_set_font_description(f->layout, description);
	pango_font_description_free(description);
	pango_layout_set_ellipsize(f->layout, PANGO_ELLIPSIZE_END);
	pango_layout_set_single_paragraph_mode(f->layout, TRUE);
	for (int i = 0; i < ASCII_COUNT; i++)
		if (!font_character(f, (char)(ASCII_FIRST + i))) {
			g_clear_object(&f->font);
			return;
		}
	f->baseline = pango_layout_get_baseline(f->layout);
}

/* A total is wider than what it is of, and bold. */
static void
measure_totals(struct writer *w, const struct table *t)
{
	struct buf sum = { .len = 0 };

	for (int i = 0; i < t->ncolumns; i++) {
		if (!t->columns[i].summed)
			continue;
		buf_reset(&sum);
		total_text(&t->columns[i].total, &sum);
		if ((int)sum.len + 2 > w->chars[i])
			w->chars[i] = (int)sum.len + 2;
	}
	buf_clear(&sum);
}

static void
place_columns(struct writer *w, const struct table *t)
{
	double all = 0, x = MARGIN, room = w->width - 2 * MARGIN;

	measure_totals(w, t);
	for (int i = 0; i < t->ncolumns; i++) {
		if (w->chars[i] < WIDTH_MIN)
			w->chars[i] = WIDTH_MIN;
		if (w->chars[i] > WIDTH_MAX)
			w->chars[i] = WIDTH_MAX;
		all += w->chars[i];
	}
	for (int i = 0; i < t->ncolumns; i++) {
		w->x[i] = x;
		x += room * w->chars[i] / all;
	}
	w->x[t->ncolumns] = x + GAP;
}

static int64_t
page_count(struct writer *w, const struct table *t)
{
	int64_t lines = t->nrows + t->any_total, pages;
	int chart = t->chart.nbars > 0 ?
	    (int)(t->chart.nbars * BAR_HEIGHT / ROW_HEIGHT) + 4 : 0;

	pages = lines > 0 ? (lines + w->page_rows - 1) / w->page_rows : 1;
	w->chart_room = (int)(pages * w->page_rows - lines);
	if (chart == 0 || chart <= w->chart_room)
		return pages;
	w->chart_room = 0;		/* a page of its own */
	return pages + 1;
}

static int
begin_drawing(struct writer *w, const struct table *t, struct err *e)
{
	bool landscape = t->ncolumns > PORTRAIT_COLUMNS;

	if (fflush(w->rows) != 0 || fseek(w->rows, 0, SEEK_SET) != 0)
		return err_errno(e, "cannot write a temporary file in %s",
		    w->directory);
	w->width = landscape ? A4_LONG : A4_SHORT;
	w->height = landscape ? A4_SHORT : A4_LONG;
	w->surface = cairo_pdf_surface_create_for_stream(put_bytes, w, w->width,
	    w->height);
	cairo_pdf_surface_set_metadata(w->surface, CAIRO_PDF_METADATA_TITLE, t->title);
	cairo_pdf_surface_set_metadata(w->surface, CAIRO_PDF_METADATA_CREATOR, "jobqd");
	w->cairo = cairo_create(w->surface);
	w->glyphs = pango_glyph_string_new();
	font_init(w, &w->cell, "Sans 7");
	font_init(w, &w->head, "Sans Bold 7");
	font_init(w, &w->title, "Sans Bold 12");
	place_columns(w, t);
	w->page_rows = (int)((w->height - 2 * MARGIN - TITLE_HEIGHT - ROW_HEIGHT -
	    FOOT_HEIGHT) / ROW_HEIGHT);
	w->pages = (int)page_count(w, t);
	w->page = 0;
	w->rows_left = t->nrows;
	w->total_left = t->any_total;
	w->part = PART_TABLE;
	return 0;
}

/* Append the text's glyphs. Returns their width; -1: pango has to look at it. */
static int
add_glyphs(struct writer *w, const struct font *f, const char *text, size_t len)
{
	int width = 0, n = w->glyphs->num_glyphs;

	if (f->font == NULL)
		return -1;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ASCII_FIRST ||
		    (unsigned char)text[i] >= ASCII_FIRST + ASCII_COUNT)
			return -1;
	pango_glyph_string_set_size(w->glyphs, n + (int)len);
	for (size_t i = 0; i < len; i++, n++) {
		w->glyphs->glyphs[n] = f->ascii[text[i] - ASCII_FIRST];
		w->glyphs->log_clusters[n] = n;
		width += w->glyphs->glyphs[n].geometry.width;
	}
	return width;
}

static void
show_glyphs(struct writer *w, const struct font *f, double x, double y)
{
	if (w->glyphs->num_glyphs == 0)
		return;
	cairo_move_to(w->cairo, x, y + (double)f->baseline / PANGO_SCALE);
	pango_cairo_show_glyph_string(w->cairo, f->font, w->glyphs);
	pango_glyph_string_set_size(w->glyphs, 0);
}

/* What is too long is cut by pango, too. */
static void
draw_text(struct writer *w, struct font *f, double x, double y, double room,
    bool right, const char *text, size_t len)
{
	int all = (int)(room * PANGO_SCALE), width = add_glyphs(w, f, text, len);

	if (width >= 0 && width <= all) {
		show_glyphs(w, f, x + (right ? (double)(all - width) /
		    PANGO_SCALE : 0), y);
		return;
	}
	pango_glyph_string_set_size(w->glyphs, 0);
	pango_layout_set_width(f->layout, all);
	pango_layout_set_alignment(f->layout, right ? PANGO_ALIGN_RIGHT :
	    PANGO_ALIGN_LEFT);
	pango_layout_set_text(f->layout, text, (int)len);
	cairo_move_to(w->cairo, x, y);
	pango_cairo_show_layout(w->cairo, f->layout);
}

static void
draw_cell(struct writer *w, const struct table *t, struct font *font, int column,
    double y, const char *text, size_t len)
{
	if (len > 0)
		draw_text(w, font, w->x[column], y,
		    w->x[column + 1] - w->x[column] - GAP,
		    t->columns[column].kind == VALUE_NUMBER, text, len);
}

/* So many lines, a row's height apart. */
static void
draw_lines(struct writer *w, double y, int n, double grey)
{
	cairo_set_source_rgb(w->cairo, grey, grey, grey);
	cairo_set_line_width(w->cairo, 0.5);
	for (; n > 0; n--, y += ROW_HEIGHT) {
		cairo_move_to(w->cairo, MARGIN, y);
		cairo_line_to(w->cairo, w->width - MARGIN, y);
	}
	cairo_stroke(w->cairo);
	cairo_set_source_rgb(w->cairo, 0, 0, 0);
}

/* Title and foot. Returns where the rest begins. */
static double
draw_frame(struct writer *w, const struct table *t)
{
	char text[64];
	double room = w->width - 2 * MARGIN;

	w->page++;
	draw_text(w, &w->title, MARGIN, MARGIN, room, false, t->title, strlen(t->title));
	snprintf(text, sizeof(text), "page %d of %d", w->page, w->pages);
	draw_text(w, &w->cell, MARGIN, w->height - MARGIN - 8, room, true, text,
	    strlen(text));
	return MARGIN + TITLE_HEIGHT;
}

/* Cells whose glyphs are known are one text for cairo, the gaps between them
 * being in the widths of their last characters. */
struct line {
	int start, end;			/* in pango's units; of what is in w->glyphs */
};

static bool
add_cell(struct writer *w, const struct table *t, struct line *l, int column,
    const char *text, size_t len)
{
	int before = w->glyphs->num_glyphs, at = (int)(w->x[column] * PANGO_SCALE);
	int room = (int)((w->x[column + 1] - GAP) * PANGO_SCALE) - at;
	int width = add_glyphs(w, &w->cell, text, len);

	if (width < 0 || width > room) {
		pango_glyph_string_set_size(w->glyphs, before);
		return false;
	}
	if (t->columns[column].kind == VALUE_NUMBER)
		at += room - width;
	if (before == 0)
		l->start = at;
	else
		w->glyphs->glyphs[before - 1].geometry.width += at - l->end;
	l->end = at + width;
	return true;
}

/* The next one of the file: what pango has to look at comes apart. */
static void
draw_row(struct writer *w, const struct table *t, double y)
{
	char texts[TABLE_COLUMNS_MAX][CELL_MAX];
	int lens[TABLE_COLUMNS_MAX];
	struct line line = { 0, 0 };

	for (int i = 0; i < t->ncolumns; i++) {
		int len = getc_unlocked(w->rows);

		lens[i] = 0;
		if (len <= 0)
			continue;
		if (len > CELL_MAX || fread_unlocked(texts[i], 1, (size_t)len,
		    w->rows) != (size_t)len)
			return;
		if (!add_cell(w, t, &line, i, texts[i], (size_t)len))
			lens[i] = len;
	}
	show_glyphs(w, &w->cell, (double)line.start / PANGO_SCALE, y);
	for (int i = 0; i < t->ncolumns; i++)
		draw_cell(w, t, &w->cell, i, y, texts[i], (size_t)lens[i]);
}

static void
draw_totals(struct writer *w, const struct table *t, double y)
{
	struct buf sum = { .len = 0 };

	draw_lines(w, y - 1, 1, 0);
	if (!t->columns[0].summed)
		draw_cell(w, t, &w->head, 0, y, "Total", 5);
	for (int i = 0; i < t->ncolumns; i++) {
		if (!t->columns[i].summed)
			continue;
		buf_reset(&sum);
		total_text(&t->columns[i].total, &sum);
		draw_cell(w, t, &w->head, i, y, sum.len > 0 ? sum.data : "", sum.len);
	}
	buf_clear(&sum);
}

static void
draw_chart(struct writer *w, const struct table *t, double y)
{
	const struct chart *c = &t->chart;
	double room = w->width - 2 * MARGIN, label = room * 0.25, most = 0;
	struct buf text = { .len = 0 };
	double *value = xcalloc((size_t)c->nbars, sizeof(*value));

	for (int i = 0; i < c->nbars; i++) {
		buf_reset(&text);
		buf_str(&text, "");
		total_text(&c->bars[i].total, &text);
		value[i] = strtod(text.data, NULL);
		if (value[i] > most)
			most = value[i];
	}
	draw_text(w, &w->head, MARGIN, y, room, false, t->columns[c->value].title,
	    strlen(t->columns[c->value].title));
	y += ROW_HEIGHT;
	for (int i = 0; i < c->nbars; i++, y += BAR_HEIGHT) {
		double width = most > 0 && value[i] > 0 ?
		    room * 0.6 * value[i] / most : 0;

		draw_text(w, &w->cell, MARGIN, y, label - GAP, true, c->bars[i].text,
		    strlen(c->bars[i].text));
		cairo_set_source_rgb(w->cairo, 0.25, 0.45, 0.7);
		cairo_rectangle(w->cairo, MARGIN + label, y, width, BAR_HEIGHT - 4);
		cairo_fill(w->cairo);
		cairo_set_source_rgb(w->cairo, 0, 0, 0);
		buf_reset(&text);
		buf_str(&text, "");
		total_text(&c->bars[i].total, &text);
		draw_text(w, &w->cell, MARGIN + label + width + GAP, y,
		    room * 0.15 - GAP, false, text.data, text.len);
	}
	buf_clear(&text);
	free(value);
}

static void
draw_table_page(struct writer *w, const struct table *t)
{
	double y = draw_frame(w, t);
	int room = w->page_rows, rows;

	for (int i = 0; i < t->ncolumns; i++)
		draw_cell(w, t, &w->head, i, y, t->columns[i].title,
		    strlen(t->columns[i].title));
	y += ROW_HEIGHT;
	draw_lines(w, y - 1, 1, 0);
	rows = w->rows_left < room ? (int)w->rows_left : room;
	draw_lines(w, y + ROW_HEIGHT - 2, rows, 0.85);
	for (int i = 0; i < rows; i++, y += ROW_HEIGHT)
		draw_row(w, t, y);
	w->rows_left -= rows;
	room -= rows;
	if (room > 0 && w->total_left) {
		draw_totals(w, t, y);
		w->total_left = false;
		y += ROW_HEIGHT;
	}
	if (w->rows_left > 0 || w->total_left)
		return;
	w->part = t->chart.nbars == 0 ? PART_OVER : PART_CHART;
	if (w->part == PART_CHART && w->chart_room > 0) {
		draw_chart(w, t, y + ROW_HEIGHT);
		w->part = PART_OVER;
	}
}

static int
pdf_end(struct writer *w, const struct table *t, int *pct, struct err *e)
{
	if (w->surface == NULL && begin_drawing(w, t, e) < 0)
		return -1;
	for (int i = 0; i < PAGES_AT_ONCE && w->part != PART_OVER; i++) {
		if (w->part == PART_TABLE) {
			draw_table_page(w, t);
		} else {
			draw_chart(w, t, draw_frame(w, t));
			w->part = PART_OVER;
		}
		cairo_show_page(w->cairo);
	}
	*pct = (int)(100LL * w->page / w->pages);
	if (w->part != PART_OVER && !w->failed)
		return 1;
	cairo_surface_finish(w->surface);
	if (w->failed) {
		*e = w->reason;
		return -1;
	}
	if (cairo_surface_status(w->surface) != CAIRO_STATUS_SUCCESS)
		return err_set(e, "pdf: %s", cairo_status_to_string(
		    cairo_surface_status(w->surface)));
	end_drawing(w);
	return 0;
}

static int
pdf_close(struct writer *w, struct err *e)
{
	(void)w;
	(void)e;
	return 0;
}

static const char *
pdf_library(void)
{
	static char text[64];

	snprintf(text, sizeof(text), "cairo %s, pango %s", cairo_version_string(),
	    pango_version_string());
	return text;
}
#endif

const struct format format_pdf = {
	.name = "pdf", .type = "application/pdf", .package = "libpango1.0-dev",
#ifdef HAVE_PDF
	.present = true,
	.open = pdf_open, .begin = pdf_begin, .row = pdf_row, .end = pdf_end,
	.close = pdf_close, .free = pdf_free, .library = pdf_library,
#endif
};
