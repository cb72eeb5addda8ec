/*
 * PostgreSQL array literals for statement parameters.
 */
#include "config.h"

#include <string.h>

#include "db/array.h"

static void
begin_element(struct array *a)
{
	buf_char(&a->text, a->count++ == 0 ? '{' : ',');
}

/* By hand: a claim or a completion formats thousands of these a turn. */
void
array_int(struct array *a, int64_t value)
{
	char digits[24], *p = digits + sizeof(digits);
	uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;

	do
		*--p = (char)('0' + rest % 10);
	while ((rest /= 10) > 0);
	if (value < 0)
		*--p = '-';
	begin_element(a);
	buf_put(&a->text, p, (size_t)(digits + sizeof(digits) - p));
}

void
array_bool(struct array *a, bool value)
{
	begin_element(a);
	buf_char(&a->text, value ? 't' : 'f');
}

/*
 * Always in quotes: inside them only the quote and the backslash are special,
 * and an empty text or the word NULL needs no thought.
 */
void
array_text(struct array *a, const char *s)
{
	if (s == NULL) {
		array_null(a);
		return;
	}
	begin_element(a);
	buf_char(&a->text, '"');
	for (;;) {
		size_t plain = strcspn(s, "\"\\");

		buf_put(&a->text, s, plain);
		s += plain;
		if (*s == '\0')
			break;
		buf_char(&a->text, '\\');
		buf_char(&a->text, *s++);
	}
	buf_char(&a->text, '"');
}

void
array_null(struct array *a)
{
	begin_element(a);
	buf_put(&a->text, "NULL", 4);
}

const char *
array_close(struct array *a)
{
	if (a->count == 0)
		buf_char(&a->text, '{');
	buf_char(&a->text, '}');
	return a->text.data;
}

void
array_reset(struct array *a)
{
	buf_reset(&a->text);
	a->count = 0;
}

void
array_clear(struct array *a)
{
	buf_clear(&a->text);
	a->count = 0;
}
