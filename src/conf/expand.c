/*
 * Environment variables in the configuration's scalars.
 */
#include "config.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"
#include "conf/expand.h"

#define NAME_MAX_LEN 255

static int put_variable(struct buf *, const char *text, const char *end,
    struct err *);
static int lookup(const char *name, const char **value, struct err *);

int
expand(struct buf *out, const char *text, struct err *e)
{
	const char *p = text, *end;

	buf_put(out, "", 0);
	while (*p != '\0') {
		if (strncmp(p, "$${", 3) == 0) {
			buf_str(out, "${");
			p += 3;
			continue;
		}
		if (strncmp(p, "${", 2) != 0) {
			buf_char(out, *p++);
			continue;
		}
		if ((end = strchr(p, '}')) == NULL)
			return err_set(e, "\"${\" has no \"}\"; for the "
			    "characters themselves write $${");
		if (put_variable(out, p + 2, end, e) != 0)
			return -1;
		p = end + 1;
	}
	return 0;
}

void
expand_escape(struct buf *out, const char *text)
{
	for (const char *p = text; *p != '\0'; p++) {
		if (p[0] == '$' && p[1] == '{')
			buf_char(out, '$');
		buf_char(out, *p);
	}
}

/* text … end: what stands between the braces. */
static int
put_variable(struct buf *out, const char *text, const char *end,
    struct err *e)
{
	char name[NAME_MAX_LEN + 1];
	const char *p = text, *value;
	size_t len;

	while (p < end && (isalnum((unsigned char)*p) || *p == '_'))
		p++;
	len = (size_t)(p - text);
	if (len == 0 || len > NAME_MAX_LEN || isdigit((unsigned char)*text) ||
	    (p < end && strncmp(p, ":-", 2) != 0))
		return err_set(e, "\"${%.*s}\" is neither ${NAME} nor "
		    "${NAME:-default}; for the characters themselves write $${",
		    (int)(end - text > 60 ? 60 : end - text), text);
	memcpy(name, text, len);
	name[len] = '\0';
	if (lookup(name, &value, e) != 0)
		return -1;
	if (p < end && (value == NULL || *value == '\0')) {
		buf_put(out, p + 2, (size_t)(end - p) - 2);
		return 0;
	}
	if (value == NULL)
		return err_set(e, "the environment variable %s is not set; "
		    "set it, or write ${%s:-default}", name, name);
	buf_str(out, value);
	return 0;
}

static int
lookup(const char *name, const char **value, struct err *e)
{
	static char hostname[256];
	size_t len, n;

	*value = getenv(name);
	if (*value == NULL && strcmp(name, "HOSTNAME") == 0 &&
	    gethostname(hostname, sizeof(hostname) - 1) == 0)
		*value = hostname;
	if (*value == NULL)
		return 0;
	len = strlen(*value);
	for (size_t i = 0; i < len; i += n)
		if ((n = utf8_length(*value + i, len - i)) == 0)
			return err_set(e, "the environment variable %s is "
			    "not UTF-8", name);
	return 0;
}
