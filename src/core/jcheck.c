/*
 * Strict JSON: see jcheck.h. The names of the objects that are open stand one
 * behind the other; when one closes, its names are sorted and compared.
 */
#include "config.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "base/xalloc.h"
#include "core/jcheck.h"
#include "core/jtext.h"

#define NAME_SHOWN 64

struct name {
	const char *text;	/* of the document, or `owned` */
	size_t len;
	char *owned;		/* written with escapes: what it stands for */
};

struct check {
	const char *text, *p, *end;
	struct err *e;
	int depth;
	struct name *names;
	size_t count, room;
};

static bool take_value(struct check *);

static bool
wrong(struct check *c, const char *what)
{
	err_set(c->e, "%s, at byte %zu", what, (size_t)(c->p - c->text) + 1);
	return false;
}

static void
skip_blanks(struct check *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\n' ||
	    *c->p == '\r'))
		c->p++;
}

/* The text is followed by a NUL, so one character more can be looked at. */
static bool
take(struct check *c, char wanted)
{
	if (c->p >= c->end || *c->p != wanted)
		return false;
	c->p++;
	return true;
}

/* The four digits behind \u; -1: they are none. */
static int
unit(const char *p, const char *end)
{
	int value = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		const char *digit = p[i] == '\0' ? NULL :
		    strchr("0123456789abcdef0123456789ABCDEF", p[i]);

		if (digit == NULL)
			return -1;
		value = value * 16 +
		    (int)(digit - "0123456789abcdef0123456789ABCDEF") % 16;
	}
	return value;
}

/* At the u of an escape. */
static bool
take_unit(struct check *c)
{
	int high = unit(c->p + 1, c->end), low;

	if (high < 0)
		return wrong(c, "\\u is not followed by four hexadecimal digits");
	if (high == 0)
		return wrong(c, "the character NUL cannot be stored");
	c->p += 5;
	if (high < 0xd800 || high > 0xdfff)
		return true;
	low = c->end - c->p >= 6 && c->p[0] == '\\' && c->p[1] == 'u' ?
	    unit(c->p + 2, c->end) : -1;
	if (high > 0xdbff || low < 0xdc00 || low > 0xdfff)
		return wrong(c, "half a pair of surrogates");
	c->p += 6;
	return true;
}

/* At the opening quote. */
static bool
take_string(struct check *c)
{
	for (c->p++; c->p < c->end && *c->p != '"';) {
		size_t n;

		if ((unsigned char)*c->p < ' ')
			return wrong(c, "a control character in a string");
		if (*c->p != '\\') {
			n = utf8_length(c->p, (size_t)(c->end - c->p));
			if (n == 0)
				return wrong(c, "this is not UTF-8");
			c->p += n;
			continue;
		}
		c->p++;
		if (c->p < c->end && *c->p == 'u') {
			if (!take_unit(c))
				return false;
		} else if (c->p < c->end && *c->p != '\0' &&
		    strchr("\"\\/bfnrt", *c->p) != NULL) {
			c->p++;
		} else {
			return wrong(c, "an unknown escape in a string");
		}
	}
	return take(c, '"') || wrong(c, "a string does not end");
}

static size_t
take_digits(struct check *c)
{
	size_t n = 0;

	for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; n++)
		c->p++;
	return n;
}

static bool
take_number(struct check *c)
{
	take(c, '-');
	if (!take(c, '0') && take_digits(c) == 0)
		return wrong(c, "this is no JSON");
	if (take(c, '.') && take_digits(c) == 0)
		return wrong(c, "a number ends with its point");
	if (take(c, 'e') || take(c, 'E')) {
		if (!take(c, '+'))
			take(c, '-');
		if (take_digits(c) == 0)
			return wrong(c, "a number has no exponent");
	}
	return true;
}

static bool
take_word(struct check *c, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(c->end - c->p) < len || memcmp(c->p, word, len) != 0)
		return wrong(c, "this is no JSON");
	c->p += len;
	return true;
}

/* from: at its opening quote. */
static void
add_name(struct check *c, const char *from, size_t len)
{
	struct name *n;

	if (c->count == c->room) {
		c->room = c->room > 0 ? 2 * c->room : 16;
		c->names = xreallocarray(c->names, c->room, sizeof(*n));
	}
	n = &c->names[c->count++];
	*n = (struct name){ .text = from + 1, .len = len - 2 };
	if (memchr(from, '\\', len) == NULL)
		return;
	n->owned = jtext_string(from, len, &n->len);
	n->text = n->owned;
}

static void
drop_names(struct check *c, size_t left)
{
	while (c->count > left)
		free(c->names[--c->count].owned);
}

static int
compare(const void *a, const void *b)
{
	const struct name *x = a, *y = b;
	size_t n = x->len < y->len ? x->len : y->len;
	int order = memcmp(x->text, y->text, n);

	return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

static bool
are_different(struct check *c, size_t first)
{
	qsort(c->names + first, c->count - first, sizeof(*c->names), compare);
	for (size_t i = first + 1; i < c->count; i++) {
		const struct name *n = &c->names[i];

		if (compare(n - 1, n) != 0)
			continue;
		err_set(c->e, "an object has \"%.*s\" twice",
		    n->len > NAME_SHOWN ? NAME_SHOWN : (int)n->len, n->text);
		return false;
	}
	return true;
}

static bool
take_object(struct check *c)
{
	size_t first = c->count;
	bool fine = true;

	c->p++;
	skip_blanks(c);
	if (take(c, '}'))
		return true;
	do {
		const char *from;

		skip_blanks(c);
		from = c->p;
		if (c->p >= c->end || *c->p != '"')
			fine = wrong(c, "the name of a member is missing");
		else if ((fine = take_string(c)))
			add_name(c, from, (size_t)(c->p - from));
		if (!fine)
			break;
		skip_blanks(c);
		fine = take(c, ':') || wrong(c, "a colon is missing");
		fine = fine && take_value(c);
	} while (fine && take(c, ','));
	fine = fine && (take(c, '}') || wrong(c, "an object does not end"));
	fine = fine && (c->count - first < 2 || are_different(c, first));
	drop_names(c, first);
	return fine;
}

static bool
take_array(struct check *c)
{
	c->p++;
	skip_blanks(c);
	if (take(c, ']'))
		return true;
	do
		if (!take_value(c))
			return false;
	while (take(c, ','));
	return take(c, ']') || wrong(c, "an array does not end");
}

/* With the blanks around it. */
static bool
take_value(struct check *c)
{
	bool fine;

	skip_blanks(c);
	if (c->p >= c->end)
		return wrong(c, "a value is missing");
	if (c->depth == JCHECK_DEPTH_MAX && (*c->p == '{' || *c->p == '['))
		return wrong(c, "more than 100 objects and arrays inside each other");
	c->depth++;
	switch (*c->p) {
	case '{': fine = take_object(c); break;
	case '[': fine = take_array(c); break;
	case '"': fine = take_string(c); break;
	case 't': fine = take_word(c, "true"); break;
	case 'f': fine = take_word(c, "false"); break;
	case 'n': fine = take_word(c, "null"); break;
	default:  fine = take_number(c);
	}
	c->depth--;
	if (fine)
		skip_blanks(c);
	return fine;
}

int
jcheck(const char *text, size_t len, struct err *e)
{
	struct check c = { .text = text, .p = text, .end = text + len, .e = e };
	bool fine = take_value(&c);

	if (fine && c.p < c.end)
		fine = wrong(&c, "something follows the value");
	free(c.names);
	return fine ? 0 : -1;
}
