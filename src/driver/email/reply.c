/*
 * What an SMTP server answers: see reply.h.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "driver/email/reply.h"

/* 0: it is none. */
static int
code_of(const char *line)
{
	int code = 0;

	for (int i = 0; i < 3; i++) {
		if (line[i] < '0' || line[i] > '9')
			return 0;
		code = 10 * code + line[i] - '0';
	}
	if (line[3] != '\0' && line[3] != ' ' && line[3] != '-')
		return 0;
	return code >= 200 && code <= 599 ? code : 0;
}

/* What stands behind the code. */
static const char *
text_of(const char *line)
{
	return line[3] == '\0' ? line + 3 : line + 4;
}

static void
add_text(struct reply *r, const char *text)
{
	size_t used = strlen(r->text), len = strlen(text);

	if (r->lines > 0 && used < REPLY_TEXT_MAX)
		r->text[used++] = ' ';
	if (len > REPLY_TEXT_MAX - used)
		len = REPLY_TEXT_MAX - used;
	memcpy(r->text + used, text, len);
	r->text[used + len] = '\0';
}

static void
clean(char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = ' ';
	utf8_clean(text, len);
}

int
reply_add(struct reply *r, const char *line, struct err *e)
{
	int code = code_of(line);

	if (code == 0 || (r->lines > 0 && code != r->code))
		return err_set(e, "an answer that is not SMTP's");
	if (r->lines == REPLY_LINES_MAX)
		return err_set(e, "an answer of more than %d lines",
		    REPLY_LINES_MAX);
	r->code = code;
	add_text(r, text_of(line));
	r->lines++;
	if (line[3] == '-')
		return 1;
	clean(r->text);
	return 0;
}

/* What stands behind a keyword; NULL: it is another. */
static const char *
behind(const char *text, const char *keyword)
{
	size_t len = strlen(keyword);

	if (strncasecmp(text, keyword, len) != 0 ||
	    (text[len] != '\0' && text[len] != ' ' && text[len] != '='))
		return NULL;
	return text[len] == '\0' ? text + len : text + len + 1;
}

void
offers_add(struct offers *o, const char *line)
{
	const char *text = text_of(line), *value;

	if (behind(text, "PIPELINING") != NULL) {
		o->pipelining = true;
	} else if (behind(text, "STARTTLS") != NULL) {
		o->starttls = true;
	} else if (behind(text, "SMTPUTF8") != NULL) {
		o->utf8 = true;
	} else if ((value = behind(text, "SIZE")) != NULL) {
		o->sizes = true;
		o->size_max = strtoul(value, NULL, 10);
	} else if ((value = behind(text, "AUTH")) != NULL) {
		/* Some say it twice, with a blank and with "=". */
		strlcpy(o->auth, value, sizeof(o->auth));
	}
}
