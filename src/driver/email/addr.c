/*
 * Mail addresses: see addr.h.
 */
#include "config.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "base/xalloc.h"
#include "driver/email/addr.h"

#define LOCAL_MAX 64
#define DOMAIN_MAX 253
#define LABEL_MAX 63

/* What is beyond ASCII is looked at as a whole: check_characters(). */
static bool
is_beyond(char c)
{
	return (unsigned char)c >= 0x80;
}

static bool
is_atext(char c)
{
	return isalnum((unsigned char)c) || is_beyond(c) ||
	    (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool
is_local(const char *s, size_t len)
{
	if (len == 0 || len > LOCAL_MAX || s[0] == '.' || s[len - 1] == '.')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_atext(s[i]) && (s[i] != '.' || s[i - 1] == '.'))
			return false;
	return true;
}

static bool
is_label(const char *s, size_t len)
{
	if (len == 0 || len > LABEL_MAX || s[0] == '-' || s[len - 1] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)s[i]) && s[i] != '-' && !is_beyond(s[i]))
			return false;
	return true;
}

/* "[192.0.2.1]", "[IPv6:2001:db8::1]" */
static bool
is_literal(const char *s, size_t len)
{
	if (len < 4 || s[0] != '[' || s[len - 1] != ']')
		return false;
	for (size_t i = 1; i < len - 1; i++)
		if (!isalnum((unsigned char)s[i]) && s[i] != '.' && s[i] != ':')
			return false;
	return true;
}

static bool
is_domain(const char *s, size_t len)
{
	if (is_literal(s, len))
		return true;
	if (len > DOMAIN_MAX)
		return false;
	for (;;) {
		const char *dot = memchr(s, '.', len);
		size_t label = dot ? (size_t)(dot - s) : len;

		if (!is_label(s, label))
			return false;
		if (dot == NULL)
			return true;
		s += label + 1;
		len -= label + 1;
	}
}

/* What is shown of a bad address must not itself do harm in a message. */
static int
refuse(const char *text, size_t len, const char *why, struct err *e)
{
	char shown[64];
	size_t n = 0;

	for (size_t i = 0; i < len && n < sizeof(shown) - 1; i++)
		shown[n++] = (unsigned char)text[i] < 0x20 ||
		    (unsigned char)text[i] >= 0x7f ? '?' : text[i];
	shown[n] = '\0';
	return err_set(e, "\"%s\" %s", shown, why);
}

/* UTF-8 without ASCII's control characters. */
static int
check_characters(const char *s, size_t len, struct err *e)
{
	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_length(s + i, len - i);
		if (n == 0)
			return refuse(s, len, "is not UTF-8", e);
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return refuse(s, len, "has a control character", e);
	}
	return 0;
}

/* Control characters past ASCII, blanks and marks that nobody sees, of which
 * some readers make nothing, so that two addresses look and work like one. */
static bool
has_invisible(const char *s, size_t len)
{
	static const char *const all[] = {
		"\xc2\xad", "\xe2\x80", "\xe2\x81", "\xe3\x80\x80", "\xef\xbb\xbf",
		"\xef\xb8",
	};

	for (size_t i = 0; i + 1 < len; i++)
		if (s[i] == '\xc2' && (unsigned char)s[i + 1] <= 0xa0)
			return true;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (memmem(s, len, all[i], strlen(all[i])) != NULL)
			return true;
	return false;
}

static int
check_address(const char *s, size_t len, struct err *e)
{
	const char *at = memrchr(s, '@', len);

	if (at == NULL || len > ADDR_MAX || !is_local(s, (size_t)(at - s)) ||
	    !is_domain(at + 1, (size_t)(s + len - at - 1)) ||
	    has_invisible(s, len))
		return refuse(s, len, "is no mail address", e);
	return check_characters(s, len, e);
}

static void
trim(const char **s, size_t *len)
{
	while (*len > 0 && **s == ' ') {
		(*s)++;
		(*len)--;
	}
	while (*len > 0 && (*s)[*len - 1] == ' ')
		(*len)--;
}

/* The text of a name: quotes around it and backslashes in it go. */
static char *
read_name(const char *s, size_t len)
{
	char *name = xmalloc(len + 1);
	bool quoted = len >= 2 && s[0] == '"' && s[len - 1] == '"';
	size_t n = 0;

	if (quoted) {
		s++;
		len -= 2;
	}
	for (size_t i = 0; i < len; i++) {
		if (quoted && s[i] == '\\' && i + 1 < len)
			i++;
		name[n++] = s[i];
	}
	name[n] = '\0';
	if (n == 0) {
		free(name);
		return NULL;
	}
	return name;
}

static int
check_name(const char *s, size_t len, struct err *e)
{
	if (len > ADDR_NAME_MAX)
		return refuse(s, len, "is too long for a name", e);
	return check_characters(s, len, e);
}

bool
addr_is_ascii(const struct addr *a)
{
	for (const char *p = a->address; *p != '\0'; p++)
		if (is_beyond(*p))
			return false;
	return true;
}

static int
parse(const char *s, size_t len, struct addr *a, struct err *e)
{
	const char *open, *address = s;
	size_t address_len, name_len = 0;

	a->name = a->address = NULL;
	trim(&s, &len);
	address = s;
	address_len = len;
	open = memrchr(s, '<', len);
	if (open != NULL) {
		if (s[len - 1] != '>')
			return refuse(s, len, "has < without > at its end", e);
		address = open + 1;
		address_len = (size_t)(s + len - 1 - address);
		name_len = (size_t)(open - s);
		trim(&s, &name_len);
	}
	if (check_name(s, name_len, e) < 0 ||
	    check_address(address, address_len, e) < 0)
		return -1;
	if (name_len > 0)
		a->name = read_name(s, name_len);
	a->address = xstrndup(address, address_len);
	return 0;
}

int
addr_parse(const char *text, struct addr *a, struct err *e)
{
	return parse(text, strlen(text), a, e);
}

void
addr_clear(struct addr *a)
{
	free(a->name);
	free(a->address);
	memset(a, 0, sizeof(*a));
}

/* The length up to the next comma that separates. */
static size_t
item_length(const char *s)
{
	bool quoted = false;
	size_t i;

	for (i = 0; s[i] != '\0' && (quoted || s[i] != ','); i++) {
		if (s[i] == '"')
			quoted = !quoted;
		else if (quoted && s[i] == '\\' && s[i + 1] != '\0')
			i++;
	}
	return i;
}

int
addrs_parse(const char *text, struct addrs *list, struct err *e)
{
	if (text[strspn(text, " ")] == '\0')
		return 0;
	for (;;) {
		size_t len = item_length(text);
		struct addr a;

		if (parse(text, len, &a, e) < 0)
			return -1;
		list->v = xreallocarray(list->v, list->n + 1, sizeof(*list->v));
		list->v[list->n++] = a;
		if (text[len] == '\0')
			return 0;
		text += len + 1;
	}
}

void
addrs_clear(struct addrs *list)
{
	for (size_t i = 0; i < list->n; i++)
		addr_clear(&list->v[i]);
	free(list->v);
	memset(list, 0, sizeof(*list));
}
