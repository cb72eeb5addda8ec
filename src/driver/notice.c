/*
 * Notices for channels: see notice.h.
 */
#include "config.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "base/xalloc.h"
#include "core/jtext.h"
#include "driver/notice.h"

#define SUBJECT_MAX 250		/* bytes */
#define TEXT_MAX (64u << 10)
#define SLACK_TEXT_MAX 7000	/* of 8000 characters, after which Slack cuts */
#define TEAMS_TEXT_MAX 12000	/* of 28 KB for the whole message */
#define TEAMS_LINES_MAX 100

static const char *const kinds[] = {
	[NOTICE_INFO] = "info", [NOTICE_WARNING] = "warning",
	[NOTICE_CRITICAL] = "critical", [NOTICE_ENDED] = "ended",
};
static const char *const slack_colours[] = {
	[NOTICE_INFO] = "#3b6ea8", [NOTICE_WARNING] = "#c98500",
	[NOTICE_CRITICAL] = "#c62828", [NOTICE_ENDED] = "#2e7d32",
};
static const char *const teams_styles[] = {
	[NOTICE_INFO] = "accent", [NOTICE_WARNING] = "warning",
	[NOTICE_CRITICAL] = "attention", [NOTICE_ENDED] = "good",
};

/* At most max bytes of it, never half a character. */
static size_t
cut(const char *text, size_t max)
{
	size_t len = strlen(text);

	if (len <= max)
		return len;
	for (len = max; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80; )
		len--;
	return len;
}

/* One line of UTF-8, whatever it was. */
static char *
clean_line(const char *text)
{
	char *line = xstrndup(text, cut(text, SUBJECT_MAX));

	utf8_clean(line, strlen(line));
	for (char *p = line; *p != '\0'; p++)
		if (iscntrl((unsigned char)*p))
			*p = ' ';
	return line;
}

static void
put_member(struct buf *b, const char *key, const char *text, size_t max)
{
	buf_printf(b, "\"%s\":", key);
	buf_json(b, text, cut(text, max));
}

/*
 * Mail, programs, whoever takes JSON as it is
 */

static void
put_mail(struct buf *b, const struct channel_conf *c, const bool *settled,
    const struct notice *n, const char *subject)
{
	bool any = false;

	buf_str(b, "{\"to\":[");
	for (size_t i = 0; i < c->nemail; i++) {
		if (settled != NULL && settled[i])
			continue;
		buf_str(b, any ? "," : "");
		buf_json(b, c->email[i], strlen(c->email[i]));
		any = true;
	}
	buf_str(b, "],");
	put_member(b, "subject", subject, SUBJECT_MAX);
	buf_char(b, ',');
	put_member(b, "text", n->text, TEXT_MAX);
	if (n->html != NULL) {
		buf_str(b, ",\"html\":");
		buf_json(b, n->html, strlen(n->html));
	}
	if (n->kind == NOTICE_CRITICAL)
		buf_str(b, ",\"importance\":\"high\"");
	buf_str(b, ",\"headers\":{\"Auto-Submitted\":\"auto-generated\"}}");
}

static void
put_generic(struct buf *b, const struct notice *n, const char *subject)
{
	const char *json = n->json != NULL ? n->json : "{}", *at = json;
	const char *const pairs[][2] = { { "subject", subject },
	    { "text", n->text }, { "kind", kinds[n->kind] } };
	struct jtext_entry one;
	bool any = false;
	size_t len;

	buf_char(b, '{');
	for (size_t i = 0; i < 3; i++) {
		if (jtext_member(json, pairs[i][0], &len) != NULL)
			continue;
		buf_str(b, any ? "," : "");
		put_member(b, pairs[i][0], pairs[i][1], TEXT_MAX);
		any = true;
	}
	while (jtext_next(&at, &one)) {
		buf_printf(b, "%s\"%.*s\":", any ? "," : "", (int)one.key_len,
		    one.key);
		buf_put(b, one.value, one.len);
		any = true;
	}
	buf_char(b, '}');
}

/*
 * Chats
 */

/* & < > begin links, mentions and calls of everybody. */
static void
put_slack_text(struct buf *b, const char *text, size_t max)
{
	struct buf escaped = { 0 };
	size_t len = cut(text, max);

	buf_put(&escaped, "", 0);
	for (size_t i = 0; i < len; i++)
		if (text[i] == '&')
			buf_str(&escaped, "&amp;");
		else if (text[i] == '<')
			buf_str(&escaped, "&lt;");
		else if (text[i] == '>')
			buf_str(&escaped, "&gt;");
		else
			buf_char(&escaped, text[i]);
	buf_json(b, escaped.data, escaped.len);
	buf_clear(&escaped);
}

static void
put_slack(struct buf *b, const struct notice *n, const char *subject)
{
	buf_str(b, "{\"text\":");
	put_slack_text(b, subject, SUBJECT_MAX);
	buf_printf(b, ",\"mrkdwn\":false,\"attachments\":[{\"color\":\"%s\","
	    "\"mrkdwn_in\":[],\"text\":", slack_colours[n->kind]);
	put_slack_text(b, n->text, SLACK_TEXT_MAX);
	buf_str(b, "}]}");
}

/* A run of text has no marks, other than a TextBlock. */
static void
put_teams_line(struct buf *b, const char *text, size_t len, const char *more)
{
	buf_str(b, "{\"type\":\"RichTextBlock\",\"spacing\":\"None\","
	    "\"inlines\":[{\"type\":\"TextRun\",\"text\":");
	buf_json(b, len > 0 ? text : " ", len > 0 ? len : 1);
	buf_printf(b, "%s}]}", more);
}

/* An Adaptive Card, which connectors and workflows both take. */
static void
put_teams(struct buf *b, const struct notice *n, const char *subject)
{
	const char *p = n->text, *end = p + cut(n->text, TEAMS_TEXT_MAX);

	buf_printf(b, "{\"type\":\"message\",\"attachments\":[{\"contentType\":"
	    "\"application/vnd.microsoft.card.adaptive\",\"contentUrl\":null,"
	    "\"content\":{\"$schema\":"
	    "\"http://adaptivecards.io/schemas/adaptive-card.json\","
	    "\"type\":\"AdaptiveCard\",\"version\":\"1.4\","
	    "\"msteams\":{\"width\":\"Full\"},\"body\":[{\"type\":\"Container\","
	    "\"style\":\"%s\",\"bleed\":true,\"items\":[", teams_styles[n->kind]);
	put_teams_line(b, subject, strlen(subject),
	    ",\"weight\":\"Bolder\",\"size\":\"Medium\"");
	buf_str(b, "]}");
	for (int lines = 0; p < end && lines < TEAMS_LINES_MAX; lines++) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		const char *to = newline != NULL ? newline : end;

		buf_char(b, ',');
		put_teams_line(b, p, (size_t)(to - p), "");
		p = newline != NULL ? newline + 1 : end;
	}
	buf_str(b, "]}}]}");
}

static bool
is_host(const char *host, size_t len, const char *name)
{
	size_t n = strlen(name);

	/* A name that begins with a dot stands for all below it. */
	return len >= n && (len == n || *name == '.') &&
	    strncasecmp(host + len - n, name, n) == 0;
}

enum channel_format
notice_format(const struct channel_conf *c, const char *url)
{
	static const char *const teams[] = { ".webhook.office.com",
	    ".logic.azure.com", ".api.powerplatform.com" };
	const char *host = url != NULL ? strstr(url, "://") : NULL;
	size_t len;

	if (c->format != FORMAT_AUTO || host == NULL)
		return c->format != FORMAT_AUTO ? c->format : FORMAT_GENERIC;
	host += 3;
	len = strcspn(host, ":/?#");
	if (is_host(host, len, "hooks.slack.com"))
		return FORMAT_SLACK;
	for (size_t i = 0; i < sizeof(teams) / sizeof(*teams); i++)
		if (is_host(host, len, teams[i]))
			return FORMAT_TEAMS;
	return FORMAT_GENERIC;
}

static void
put_webhook(struct buf *b, const struct channel_conf *c, const char *url,
    const struct notice *n, const char *subject)
{
	buf_char(b, '{');
	if (url != NULL) {
		buf_str(b, "\"url\":");
		buf_json(b, url, strlen(url));
		buf_char(b, ',');
	}
	buf_printf(b, "\"eventType\":\"notice.%s\",", kinds[n->kind]);
	put_member(b, "subject", subject, SUBJECT_MAX);
	buf_char(b, ',');
	put_member(b, "text", n->text, TEXT_MAX);
	buf_str(b, ",\"payload\":");
	switch (notice_format(c, url != NULL ? url : c->webhook)) {
	case FORMAT_SLACK:
		put_slack(b, n, subject);
		break;
	case FORMAT_TEAMS:
		put_teams(b, n, subject);
		break;
	default:
		put_generic(b, n, subject);
	}
	buf_char(b, '}');
}

void
notice_data(struct buf *b, const struct channel_conf *c, const char *url,
    const bool *settled, const struct notice *n)
{
	char *subject = clean_line(n->subject);

	if (c->nemail > 0)
		put_mail(b, c, settled, n, subject);
	else if (c->nexec > 0)
		put_generic(b, n, subject);
	else
		put_webhook(b, c, url, n, subject);
	free(subject);
}
