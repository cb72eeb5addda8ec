/*
 * A mail as text: see mime.h.
 *
 * Nothing but ASCII leaves here, but for addresses. Boundaries begin with "=_", which base64
 * and quoted-printable cannot contain, and plain text that does is sent as
 * quoted-printable: so no part can end another.
 */
#include "config.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/utf8.h"
#include "core/base64.h"
#include "driver/email/mime.h"

#define LINE 76			/* of encoded text */
#define FOLD 78			/* headers are folded past this */
#define PLAIN_LINE_MAX 900	/* longer lines are encoded */
#define WORD_BYTES 45		/* of text in an encoded word: 60 of base64 */
#define PARAMETER 60		/* of a piece of a long file name */

enum coding { CODING_PLAIN, CODING_QUOTED, CODING_BASE64 };

/*
 * What is good where
 */

int
mime_is_text(const char *s)
{
	size_t len = strlen(s), n;

	for (size_t i = 0; i < len; i += n)
		if ((n = utf8_length(s + i, len - i)) == 0 ||
		    (unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return false;
	return true;
}

static size_t
token_length(const char *s)
{
	size_t n = 0;

	while (isalnum((unsigned char)s[n]) ||
	    (s[n] != '\0' && strchr("!#$%&'*+-.^_`|~", s[n]) != NULL))
		n++;
	return n;
}

int
mime_is_type(const char *s)
{
	size_t major = token_length(s), minor;

	if (major == 0 || s[major] != '/')
		return false;
	minor = token_length(s + major + 1);
	if (minor == 0 || strlen(s) > 200 ||
	    strncasecmp(s, "multipart/", 10) == 0)
		return false;
	s += major + 1 + minor;
	if (*s != '\0' && *s != ';' && *s != ' ')
		return false;
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f)
			return false;
	return true;
}

int
mime_is_id(const char *s)
{
	const char *p = s;

	while (isalnum((unsigned char)*p) ||
	    (*p != '\0' && strchr("!#$%&'*+-./=?@^_`{|}~", *p) != NULL))
		p++;
	return *s != '\0' && *p == '\0' && p - s <= 200;
}

int
mime_is_header(const char *s)
{
	static const char *const ours[] = {
		"from", "to", "cc", "bcc", "reply-to", "subject", "date",
		"message-id", "mime-version", "return-path", "received", "sender",
	};
	static const char *const beginnings[] = {
		"content-", "resent-", "x-envelope-",
	};

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strcasecmp(s, ours[i]) == 0)
			return false;
	for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++)
		if (strncasecmp(s, beginnings[i], strlen(beginnings[i])) == 0)
			return false;
	for (const char *p = s; *p != '\0'; p++)
		if (*p <= ' ' || *p >= 0x7f || *p == ':')
			return false;
	return *s != '\0' && strlen(s) <= 70;
}

/*
 * Headers
 */

/* Can stand in a header as it is: printable ASCII, no blanks that folding
 * could hurt, nothing that looks like an encoded word, words that fold. */
static bool
is_plain(const char *s)
{
	size_t word = 0;

	if (*s == ' ' || strstr(s, "=?") != NULL)
		return false;
	for (; *s != '\0'; s++) {
		word = *s == ' ' ? 0 : word + 1;
		if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f ||
		    (*s == ' ' && (s[1] == ' ' || s[1] == '\0')) ||
		    word > PLAIN_LINE_MAX)
			return false;
	}
	return true;
}


/* =?UTF-8?B?…?= words, each of whole characters; column is where we are. */
static void
put_words(struct buf *out, const char *s, size_t column)
{
	size_t len = strlen(s);

	for (size_t i = 0; i < len; ) {
		/* The first one shares its line with the header's name. */
		size_t room = i > 0 || column > 60 ? WORD_BYTES :
		    (FOLD - 14 - column) / 4 * 3;
		size_t n = 0, c;

		if (room > WORD_BYTES)
			room = WORD_BYTES;
		if (room < 6)
			room = 6;
		while (i + n < len && (c = utf8_length(s + i + n, len - i - n)) +
		    n <= room)
			n += c > 0 ? c : 1;
		if (i > 0 || column > 60)
			buf_str(out, "\r\n ");
		buf_str(out, "=?UTF-8?B?");
		base64_encode(out, s + i, n);
		buf_str(out, "?=");
		i += n;
	}
}

/* Plain text, folded at blanks. */
static void
put_folded(struct buf *out, const char *s, size_t column)
{
	bool first = true;

	while (*s != '\0') {
		size_t n = strcspn(s + 1, " ") + 1;	/* a blank in front too */

		if (!first && column + n > FOLD) {
			buf_str(out, "\r\n");
			column = 0;
		}
		buf_put(out, s, n);
		column += n;
		s += n;
		first = false;
	}
}

static void
put_header(struct buf *out, const char *name, const char *value)
{
	size_t column = strlen(name) + 2;

	buf_printf(out, "%s: ", name);
	if (is_plain(value))
		put_folded(out, value, column);
	else
		put_words(out, value, column);
	buf_str(out, "\r\n");
}

static bool
is_phrase(const char *s)
{
	for (; *s != '\0'; s++)
		if (!isalnum((unsigned char)*s) &&
		    strchr("!#$%&'*+-/=?^_`{|}~ ", *s) == NULL)
			return false;
	return true;
}

static void
put_quoted(struct buf *out, const char *s)
{
	buf_char(out, '"');
	for (; *s != '\0'; s++) {
		if (*s == '"' || *s == '\\')
			buf_char(out, '\\');
		buf_char(out, *s);
	}
	buf_char(out, '"');
}

static void
put_mailbox(struct buf *out, const struct addr *a)
{
	if (a->name == NULL) {
		buf_str(out, a->address);
		return;
	}
	if (!is_plain(a->name))
		put_words(out, a->name, 20);
	else if (is_phrase(a->name))
		buf_str(out, a->name);
	else
		put_quoted(out, a->name);
	buf_printf(out, "%s<%s>", strlen(a->name) + strlen(a->address) > 60 ?
	    "\r\n " : " ", a->address);
}

static void
put_mailboxes(struct buf *out, const char *name, const struct addr *v, size_t n)
{
	if (n == 0)
		return;
	buf_printf(out, "%s: ", name);
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			buf_str(out, ",\r\n ");
		put_mailbox(out, &v[i]);
	}
	buf_str(out, "\r\n");
}

static void
put_date(struct buf *out, int64_t date)
{
	static const char *const days[] = {
		"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat",
	};
	static const char *const months[] = {
		"Jan", "Feb", "Mar", "Apr", "May", "Jun",
		"Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
	};
	time_t t = (time_t)date;
	struct tm tm;

	gmtime_r(&t, &tm);
	buf_printf(out, "Date: %s, %d %s %d %02d:%02d:%02d +0000\r\n",
	    days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
	    tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* In quotes, or in the words of RFC 2231: filename*0*=UTF-8''…; filename*1*=…
 * What would need a backslash goes there too: readers differ on it. */
static void
put_filename(struct buf *out, const char *name)
{
	size_t len = strlen(name), piece = 0, column = 0;

	if (is_plain(name) && len <= PARAMETER && strpbrk(name, "\"\\") == NULL) {
		buf_printf(out, ";\r\n filename=\"%s\"", name);
		return;
	}
	for (size_t i = 0; i < len; i++) {
		if (i == 0 || column >= PARAMETER) {
			buf_printf(out, ";\r\n filename*%zu*=%s", piece,
			    piece == 0 ? "UTF-8''" : "");
			piece++;
			column = 0;
		}
		if (isalnum((unsigned char)name[i]) || name[i] == '.' ||
		    name[i] == '-' || name[i] == '_') {
			buf_char(out, name[i]);
			column++;
		} else {
			buf_printf(out, "%%%02X", (unsigned char)name[i]);
			column += 3;
		}
	}
}

/*
 * Bodies
 */

/* One kind of line end, CR LF, whatever it was. */
static void
put_lines(struct buf *out, const char *s)
{
	while (*s != '\0') {
		size_t n = strcspn(s, "\r\n");

		buf_put(out, s, n);
		s += n;
		if (*s == '\0')
			break;
		buf_str(out, "\r\n");
		s += s[0] == '\r' && s[1] == '\n' ? 2 : 1;
	}
}

static enum coding
choose_coding(const char *s)
{
	size_t high = 0, control = 0, line = 0, longest = 0, len = strlen(s);

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		high += c >= 0x80;
		control += (c < 0x20 && c != '\t' && c != '\n' && c != '\r') ||
		    c == 0x7f;
		line = c == '\n' || c == '\r' ? 0 : line + 1;
		if (line > longest)
			longest = line;
	}
	if (high > len / 6)
		return CODING_BASE64;
	/* "From " is what mailboxes of one file stumble over. */
	if (high > 0 || control > 0 || longest > LINE ||
	    strstr(s, "=_") != NULL || strncmp(s, "From ", 5) == 0 ||
	    strstr(s, "\nFrom ") != NULL || strstr(s, " \n") != NULL ||
	    strstr(s, " \r") != NULL || strstr(s, "\t\n") != NULL)
		return CODING_QUOTED;
	return CODING_PLAIN;
}

/* Whether the byte at s, of text with CR LF line ends, needs its =XX. */
static bool
is_special(const char *s, size_t column)
{
	unsigned char c = (unsigned char)*s;

	if (c == ' ' || c == '\t')
		return s[1] == '\r' || s[1] == '\0';
	if (column == 0 && (c == '.' || strncmp(s, "From ", 5) == 0))
		return true;
	return c == '=' || c < 0x20 || c >= 0x7f;
}

static void
put_quoted_printable(struct buf *out, const char *s)
{
	size_t column = 0;

	for (; *s != '\0'; s++) {
		if (s[0] == '\r' && s[1] == '\n') {
			buf_str(out, "\r\n");
			column = 0;
			s++;
			continue;
		}
		bool special = is_special(s, column);

		/* Room is left for the = of a line that goes on. */
		if (column + (special ? 3 : 1) > LINE - 1) {
			buf_str(out, "=\r\n");
			column = 0;
			special = is_special(s, column);
		}
		if (special)
			buf_printf(out, "=%02X", (unsigned char)*s);
		else
			buf_char(out, *s);
		column += special ? 3 : 1;
	}
}

static void
put_base64(struct buf *out, const char *data, size_t len)
{
	const size_t bytes = LINE / 4 * 3;

	for (size_t i = 0; i < len; i += bytes) {
		base64_encode(out, data + i, len - i < bytes ? len - i : bytes);
		buf_str(out, "\r\n");
	}
}

static void
end_line(struct buf *out)
{
	if (out->len < 2 || memcmp(out->data + out->len - 2, "\r\n", 2) != 0)
		buf_str(out, "\r\n");
}

static void
put_text(struct buf *out, const char *subtype, const char *text)
{
	static const char *const names[] = { "7bit", "quoted-printable", "base64" };
	enum coding coding = choose_coding(text);
	struct buf lines = { .len = 0 };

	put_lines(&lines, text);
	buf_printf(out, "Content-Type: text/%s; charset=utf-8\r\n"
	    "Content-Transfer-Encoding: %s\r\n\r\n", subtype, names[coding]);
	if (lines.len == 0)
		;
	else if (coding == CODING_PLAIN)
		buf_put(out, lines.data, lines.len);
	else if (coding == CODING_QUOTED)
		put_quoted_printable(out, lines.data);
	else
		put_base64(out, lines.data, lines.len);
	end_line(out);
	buf_clear(&lines);
}

static void
put_attachment(struct buf *out, const struct mail_attachment *a)
{
	/* A message in a message may not be in base64. */
	const char *type = strncasecmp(a->type, "message/", 8) == 0 ?
	    "application/octet-stream" : a->type;

	buf_printf(out, "Content-Type: %s\r\n"
	    "Content-Transfer-Encoding: base64\r\n", type);
	if (a->content_id != NULL)
		buf_printf(out, "Content-ID: <%s>\r\n", a->content_id);
	buf_printf(out, "Content-Disposition: %s",
	    a->in_place ? "inline" : "attachment");
	put_filename(out, a->filename);
	buf_str(out, "\r\n\r\n");
	if (a->content.len > 0)
		put_base64(out, a->content.data, a->content.len);
	end_line(out);
}

/*
 * The whole
 */

static void
open_multipart(struct buf *out, const char *subtype, const char *boundary)
{
	buf_printf(out, "Content-Type: multipart/%s;\r\n boundary=\"%s\"\r\n\r\n",
	    subtype, boundary);
}

static void
close_multipart(struct buf *out, const char *boundary)
{
	buf_printf(out, "\r\n--%s--\r\n", boundary);
}

/* An attachment goes with the HTML that shows it, else at the end of the mail. */
static bool
goes_with_html(const struct mail *m, const struct mail_attachment *a)
{
	return m->html != NULL && a->in_place;
}

/* Those that go there: how many; with out, each behind a boundary. */
static size_t
put_attachments(struct buf *out, const struct mail *m, bool with_html,
    const char *boundary)
{
	size_t n = 0;

	for (size_t i = 0; i < m->nattachments; i++) {
		if (goes_with_html(m, &m->attachments[i]) != with_html)
			continue;
		n++;
		if (out == NULL)
			continue;
		buf_printf(out, "\r\n--%s\r\n", boundary);
		put_attachment(out, &m->attachments[i]);
	}
	return n;
}

static void
put_html(struct buf *out, const struct mail *m)
{
	static const char boundary[] = "=_jobqd_related";

	if (put_attachments(NULL, m, true, NULL) == 0) {
		put_text(out, "html", m->html);
		return;
	}
	open_multipart(out, "related", boundary);
	buf_printf(out, "--%s\r\n", boundary);
	put_text(out, "html", m->html);
	put_attachments(out, m, true, boundary);
	close_multipart(out, boundary);
}

static void
put_content(struct buf *out, const struct mail *m)
{
	static const char boundary[] = "=_jobqd_alternative";

	if (m->html == NULL) {
		put_text(out, "plain", m->text ? m->text : "");
		return;
	}
	if (m->text == NULL) {
		put_html(out, m);
		return;
	}
	open_multipart(out, "alternative", boundary);
	buf_printf(out, "--%s\r\n", boundary);
	put_text(out, "plain", m->text);
	buf_printf(out, "\r\n--%s\r\n", boundary);
	put_html(out, m);
	close_multipart(out, boundary);
}

void
mime_build(const struct mail *m, struct buf *out)
{
	static const char boundary[] = "=_jobqd_mixed";

	put_mailboxes(out, "From", &m->from, 1);
	put_mailboxes(out, "To", m->to.v, m->to.n);
	put_mailboxes(out, "Cc", m->cc.v, m->cc.n);
	put_mailboxes(out, "Reply-To", m->reply_to.v, m->reply_to.n);
	put_header(out, "Subject", m->subject ? m->subject : "");
	put_date(out, m->date);
	buf_printf(out, "Message-ID: %s\r\n", m->message_id);
	buf_str(out, "MIME-Version: 1.0\r\n");
	for (size_t i = 0; i < m->nheaders; i++)
		put_header(out, m->headers[i].name, m->headers[i].value);
	if (put_attachments(NULL, m, false, NULL) == 0) {
		put_content(out, m);
		return;
	}
	open_multipart(out, "mixed", boundary);
	buf_printf(out, "--%s\r\n", boundary);
	put_content(out, m);
	put_attachments(out, m, false, boundary);
	close_multipart(out, boundary);
}

void
mail_clear(struct mail *m)
{
	addr_clear(&m->from);
	addrs_clear(&m->to);
	addrs_clear(&m->cc);
	addrs_clear(&m->reply_to);
	free(m->subject);
	free(m->text);
	free(m->html);
	for (size_t i = 0; i < m->nheaders; i++) {
		free(m->headers[i].name);
		free(m->headers[i].value);
	}
	free(m->headers);
	for (size_t i = 0; i < m->nattachments; i++) {
		free(m->attachments[i].filename);
		free(m->attachments[i].type);
		free(m->attachments[i].content_id);
		buf_clear(&m->attachments[i].content);
	}
	free(m->attachments);
	free(m->message_id);
	memset(m, 0, sizeof(*m));
}
