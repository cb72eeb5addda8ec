/*
 * What jobqctl prints: see out.h.
 */
#include "config.h"

#include <sys/ioctl.h>

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"
#include "base/xalloc.h"
#include "ctl/out.h"

#define LAST_MIN 24	/* characters of the last column, in the narrowest terminal */

/* The types whose values stand on the right: int2 int4 int8 float4 float8 numeric. */
static const unsigned numeric_types[] = { 21, 23, 20, 700, 701, 1700 };

struct cell {
	char *text;		/* escaped */
	size_t width;		/* in characters */
};

static uint32_t decode(const char *s, size_t len);
static bool steers(uint32_t c);
static void escape_char(struct buf *, uint32_t c);
static size_t text_width(const char *s);
static size_t text_bytes(const char *s, size_t width);
static size_t terminal_width(void);
static bool is_numeric(PGresult *, int column);
static void print_cell(const struct cell *, size_t width, bool right, bool last);

void
out_escape(struct buf *b, const char *text, bool lines)
{
	size_t left = strlen(text);

	while (left > 0) {
		size_t n = utf8_length(text, left);

		if (n == 0) {
			buf_printf(b, "\\x%02x", (unsigned char)*text);
			n = 1;
		} else {
			uint32_t c = decode(text, n);

			if (lines && (c == '\n' || c == '\t'))
				buf_char(b, (char)c);
			else if (steers(c))
				escape_char(b, c);
			else
				buf_put(b, text, n);
		}
		text += n;
		left -= n;
	}
}

void
out_text(FILE *f, const char *text)
{
	struct buf b = { 0 };
	size_t len = strlen(text);

	out_escape(&b, text, true);
	if (len == 0 || text[len - 1] != '\n')
		buf_char(&b, '\n');
	fwrite(b.data, 1, b.len, f);
	buf_clear(&b);
}

void
out_line(const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) >= 0) {
		out_text(stdout, text);
		free(text);
	}
	va_end(ap);
}

void
out_table(PGresult *res, const char *empty)
{
	int rows = PQntuples(res), columns = PQnfields(res);
	struct cell *cells;
	size_t *widths, used = 0, terminal = terminal_width();

	if (rows == 0) {
		puts(empty);
		return;
	}
	cells = xcalloc((size_t)(rows + 1) * (size_t)columns, sizeof(*cells));
	widths = xcalloc((size_t)columns, sizeof(*widths));
	for (int r = 0; r <= rows; r++) {
		for (int c = 0; c < columns; c++) {
			struct cell *cell = &cells[r * columns + c];
			struct buf b = { 0 };

			out_escape(&b, r == 0 ? PQfname(res, c) :
			    PQgetvalue(res, r - 1, c), false);
			cell->text = buf_detach(&b);
			cell->width = text_width(cell->text);
			if (cell->width > widths[c])
				widths[c] = cell->width;
		}
	}
	for (int c = 0; c + 1 < columns; c++)
		used += widths[c] + 2;
	if (terminal > 0) {
		size_t room = terminal > used + LAST_MIN ? terminal - used :
		    LAST_MIN;

		if (widths[columns - 1] > room)
			widths[columns - 1] = room;
	}
	for (int r = 0; r <= rows; r++) {
		for (int c = 0; c < columns; c++) {
			struct cell *cell = &cells[r * columns + c];

			print_cell(cell, widths[c], is_numeric(res, c),
			    c == columns - 1);
			free(cell->text);
		}
		putchar('\n');
	}
	free(widths);
	free(cells);
}

void
out_fields(PGresult *res, int row)
{
	int columns = PQnfields(res);
	size_t widest = 0;

	for (int c = 0; c < columns; c++) {
		size_t len = strlen(PQfname(res, c));

		if (*PQgetvalue(res, row, c) != '\0' && len > widest)
			widest = len;
	}
	for (int c = 0; c < columns; c++) {
		const char *value = PQgetvalue(res, row, c);
		const char *name = PQfname(res, c);
		struct buf b = { 0 };

		if (*value == '\0')
			continue;
		out_escape(&b, value, false);
		for (const char *p = name; *p != '\0'; p++)
			putchar(*p == '_' ? ' ' : *p);
		printf("%*s  %s\n", (int)(widest - strlen(name)), "", b.data);
		buf_clear(&b);
	}
}

void
out_json_list(PGresult *res)
{
	int rows = PQntuples(res);

	putchar('[');
	for (int r = 0; r < rows; r++) {
		fputs(r == 0 ? "\n" : ",\n", stdout);
		out_json_value(PQgetvalue(res, r, 0));
	}
	puts(rows == 0 ? "]" : "\n]");
}

/*
 * PostgreSQL leaves DEL and U+0080 … U+009F as they are. They can only stand
 * inside strings, where \u means the same.
 */
void
out_json_value(const char *json)
{
	size_t left = strlen(json);

	while (left > 0) {
		size_t n = utf8_length(json, left);
		uint32_t c;

		if (n == 0)
			n = 1;
		c = n == 1 ? (unsigned char)*json : decode(json, n);
		if (steers(c) && c != '\n' && c != '\t' && c < 0x10000)
			printf("\\u%04x", c);
		else
			fwrite(json, 1, n, stdout);
		json += n;
		left -= n;
	}
}

static uint32_t
decode(const char *s, size_t len)
{
	static const unsigned char mask[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	uint32_t c = (unsigned char)s[0] & mask[len];

	for (size_t i = 1; i < len; i++)
		c = c << 6 | ((unsigned char)s[i] & 0x3f);
	return c;
}

/* Control characters, and those that turn the direction of what follows. */
static bool
steers(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) ||
	    (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) ||
	    c == 0x200e || c == 0x200f || c == 0x61c;
}

static void
escape_char(struct buf *b, uint32_t c)
{
	switch (c) {
	case '\n':
		buf_str(b, "\\n");
		break;
	case '\r':
		buf_str(b, "\\r");
		break;
	case '\t':
		buf_str(b, "\\t");
		break;
	default:
		buf_printf(b, c < 0x100 ? "\\x%02x" : "\\u%04x", c);
	}
}

static size_t
text_width(const char *s)
{
	size_t width = 0;

	for (; *s != '\0'; s++)
		if (((unsigned char)*s & 0xc0) != 0x80)
			width++;
	return width;
}

/* How many bytes the first `width` characters take. */
static size_t
text_bytes(const char *s, size_t width)
{
	size_t i = 0;

	for (; s[i] != '\0'; i++)
		if (((unsigned char)s[i] & 0xc0) != 0x80 && width-- == 0)
			break;
	return i;
}

/* 0 when this is no terminal: then nothing is cut. */
static size_t
terminal_width(void)
{
	struct winsize ws;

	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) < 0)
		return 0;
	return ws.ws_col;
}

static bool
is_numeric(PGresult *res, int column)
{
	unsigned type = PQftype(res, column);

	for (size_t i = 0; i < sizeof(numeric_types) / sizeof(*numeric_types); i++)
		if (type == numeric_types[i])
			return true;
	return false;
}

static void
print_cell(const struct cell *cell, size_t width, bool right, bool last)
{
	size_t shown = cell->width < width ? cell->width : width;

	if (right)
		printf("%*s", (int)(width - shown), "");
	fwrite(cell->text, 1, text_bytes(cell->text, shown), stdout);
	if (!last)
		printf("%*s", (int)(right ? 2 : width - shown + 2), "");
}
