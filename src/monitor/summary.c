/*
 * The report as people read it: see summary.h.
 *
 * All names and texts in it come from whoever enqueues jobs: they go into the
 * page by put_text() alone.
 */
#include "config.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/xalloc.h"
#include "monitor/summary.h"

#define QUEUES_MAX 40		/* in the page, of which some mail programs show 100 KB */
#define QUIET_MAX 50		/* names of queues in which nothing happened */
#define TEXT_MAX 240		/* bytes of one error */
#define CHART_HEIGHT 90		/* pixels */
#define BARS_MAX 100
#define BAD_RATE 0.05		/* of attempts that failed: in red */
#define NUMBER_MAX 1e15

#define INK "#1f2933"
#define FAINT "#697586"
#define LINE "#e4e7eb"
#define GREEN "#3c9a6b"
#define RED "#d64545"
#define CELL "padding:6px 8px;border-bottom:1px solid " LINE ";"
#define NUMBER "text-align:right;white-space:nowrap;"

/* How much of an instant is shown. */
enum detail { DAY, CLOCK, MINUTE, SECOND };

struct maker {
	struct summary *out;
	const json_t *report;
	const struct summary_clock *clock;
	const char *node;
	const json_t **queues;		/* the busiest first, the quiet ones last */
	size_t nqueues, nquiet;
	/* of all queues */
	int64_t completed, failed, dead, ready;
	int64_t before_completed, before_failed, before_dead;
};

static void add_up(struct maker *);
static void make_subject(struct maker *);
static void make_text(struct maker *);
static void make_html(struct maker *);

int
summary_make(struct summary *s, const char *json, const char *node,
    const struct summary_clock *clock, struct err *e)
{
	json_error_t je;
	json_t *report = json_loads(json, 0, &je);
	struct maker m = { .out = s, .report = report, .node = node,
	    .clock = clock };

	*s = (struct summary){ .bad = false };
	if (report == NULL)
		return err_set(e, "the report is no JSON: %s", je.text);
	if (!json_is_array(json_object_get(report, "queues"))) {
		json_decref(report);
		return err_set(e, "the report has no queues");
	}
	add_up(&m);
	make_subject(&m);
	make_text(&m);
	make_html(&m);
	free(m.queues);
	json_decref(report);
	return 0;
}

void
summary_clear(struct summary *s)
{
	buf_clear(&s->subject);
	buf_clear(&s->text);
	buf_clear(&s->html);
}

/*
 * Values; what is not there counts as none
 */

static int64_t
number_of(const json_t *o, const char *key)
{
	const json_t *value = json_object_get(o, key);
	double real = json_number_value(value);

	if (json_is_integer(value))
		return json_integer_value(value);
	return real > -NUMBER_MAX && real < NUMBER_MAX ? (int64_t)real : 0;
}

static double
rate_of(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

static const char *
text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text != NULL ? text : "";
}

static size_t
count_of(const struct maker *m, const char *key)
{
	return json_array_size(json_object_get(m->report, key));
}

static bool
is_quiet(const json_t *q)
{
	return number_of(q, "completed") + number_of(q, "failed") +
	    number_of(q, "dead") + number_of(q, "cancelled") +
	    number_of(q, "lost") + number_of(q, "ready") +
	    number_of(q, "dead_letters") == 0;
}

static int64_t
attempts_of(const json_t *q)
{
	return is_quiet(q) ? -1 : number_of(q, "completed") +
	    number_of(q, "failed") + number_of(q, "dead");
}

static int
by_attempts(const void *va, const void *vb)
{
	const json_t *a = *(json_t *const *)va, *b = *(json_t *const *)vb;
	int64_t x = attempts_of(a), y = attempts_of(b);

	return x != y ? (x < y ? 1 : -1) :
	    strcmp(text_of(a, "name"), text_of(b, "name"));
}

static void
add_up(struct maker *m)
{
	const json_t *queues = json_object_get(m->report, "queues"), *q;
	size_t i;

	m->nqueues = json_array_size(queues);
	m->queues = xcalloc(m->nqueues, sizeof(*m->queues));
	json_array_foreach(queues, i, q) {
		const json_t *before = json_object_get(q, "before");

		m->queues[i] = q;
		m->nquiet += is_quiet(q);

		m->completed += number_of(q, "completed");
		m->failed += number_of(q, "failed");
		m->dead += number_of(q, "dead");
		m->ready += number_of(q, "ready");
		m->before_completed += number_of(before, "completed");
		m->before_failed += number_of(before, "failed");
		m->before_dead += number_of(before, "dead");
	}
	if (m->nqueues > 0)
		qsort(m->queues, m->nqueues, sizeof(*m->queues), by_attempts);
	m->out->bad = m->dead > 0 || count_of(m, "schedules") > 0;
}

static double
share(int64_t part, int64_t rest)
{
	return part + rest > 0 ? (double)part / (double)(part + rest) : 0;
}

/*
 * How values are written
 */

/* 1,234,567 */
static void
put_number(struct buf *b, int64_t n)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRId64, n);

	for (int i = 0; i < len; i++) {
		buf_char(b, digits[i]);
		if (i < len - 1 && digits[i] != '-' && (len - 1 - i) % 3 == 0)
			buf_char(b, ',');
	}
}

static void
put_percent(struct buf *b, double part)
{
	double percent = part * 100;

	if (percent > 0 && percent < 0.01)
		percent = 0.01;
	buf_printf(b, "%.*f %%", percent < 1 ? 2 : percent < 10 ? 1 : 0, percent);
}

/* 850 ms, 1.2 s, 3.5 min, 2.1 h, 4.0 d; nothing when it is not known. */
static void
put_duration(struct buf *b, const json_t *o, const char *key)
{
	static const struct {
		double ms;
		const char *unit;
	} units[] = { { 86400000, "d" }, { 3600000, "h" }, { 60000, "min" },
	    { 1000, "s" } };
	double ms = json_number_value(json_object_get(o, key));

	if (!json_is_number(json_object_get(o, key))) {
		buf_str(b, "-");
		return;
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (ms >= units[i].ms) {
			buf_printf(b, "%.1f %s", ms / units[i].ms, units[i].unit);
			return;
		}
	buf_printf(b, "%.0f ms", ms);
}

/* What PostgreSQL writes of a timestamptz in JSON, as seconds since the epoch. */
static bool
read_instant(const char *text, int64_t *out)
{
	struct tm tm = { 0 };
	int hours = 0, minutes = 0;
	const char *p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (p == NULL)
		return false;
	if (*p == '.')
		p += 1 + strspn(p + 1, "0123456789");
	if (*p == '+' || *p == '-') {
		if (sscanf(p + 1, "%2d:%2d", &hours, &minutes) < 1)
			return false;
	} else if (*p != 'Z' && *p != '\0') {
		return false;
	}
	*out = (int64_t)timegm(&tm) - (*p == '-' ? -1 : 1) *
	    (hours * 3600 + minutes * 60);
	return true;
}

/* As the reader's clock and calendar show it. */
static void
put_instant(struct buf *b, const struct maker *m, const char *text,
    enum detail detail)
{
	char shown[64] = "";
	struct tm tm;
	int64_t at;

	if (!read_instant(text, &at)) {
		buf_str(b, "-");
		return;
	}
	gmtime_r(&(time_t){ at + m->clock->offset }, &tm);
	switch (detail) {
	case DAY:
		strftime(shown, sizeof(shown), "%-d %b", &tm);
		break;
	case CLOCK:
		strftime(shown, sizeof(shown), "%H:%M", &tm);
		break;
	case SECOND:
		strftime(shown, sizeof(shown), "%-d %b %H:%M:%S", &tm);
		break;
	case MINUTE:
		strftime(shown, sizeof(shown), "%-d %b %Y %H:%M", &tm);
		break;
	}
	buf_str(b, shown);
}

/* "25 Nov 2026 00:00 to 26 Nov 2026 00:00 UTC" */
static void
put_period(struct buf *b, const struct maker *m)
{
	put_instant(b, m, text_of(m->report, "since"), MINUTE);
	buf_str(b, " to ");
	put_instant(b, m, text_of(m->report, "until"), MINUTE);
	buf_printf(b, " %s", m->clock->zone);
}

/* "+12 %" against the time before, between two texts; nothing when there is
 * nothing to compare. */
static void
put_change(struct buf *b, const char *open, int64_t now, int64_t before,
    const char *close)
{
	double percent = before > 0 ?
	    ((double)now / (double)before - 1) * 100 : 0;

	if (now <= 0 && before <= 0)
		return;
	buf_str(b, open);
	if (before <= 0) {
		buf_str(b, "none before");
	} else if (percent > 1000) {
		buf_str(b, "was ");
		put_number(b, before);
	} else if (percent > -0.5 && percent < 0.5) {
		buf_str(b, "as before");
	} else {
		buf_printf(b, "%+.0f %%", percent);
	}
	buf_str(b, close);
}

/* One line, cut where it is too long, never within a character. */
static void
put_cut(struct buf *b, const char *text)
{
	size_t len = strlen(text), max = len;

	if (len > TEXT_MAX)
		for (max = TEXT_MAX; max > 0 &&
		    ((unsigned char)text[max] & 0xc0) == 0x80; )
			max--;
	for (size_t i = 0; i < max; i++)
		buf_char(b, iscntrl((unsigned char)text[i]) ? ' ' : text[i]);
	if (max < len)
		buf_str(b, "\xe2\x80\xa6");
}

static void
make_subject(struct maker *m)
{
	struct buf *b = &m->out->subject;

	buf_str(b, "[jobqd] Report of ");
	put_instant(b, m, text_of(m->report, "until"), DAY);
	buf_str(b, ": ");
	put_number(b, m->completed);
	buf_str(b, " completed, ");
	put_number(b, m->failed);
	buf_str(b, " failed, ");
	put_number(b, m->dead);
	buf_str(b, " dead");
}

/*
 * The text
 */

static void
text_queue(struct buf *b, const json_t *q)
{
	const json_t *before = json_object_get(q, "before");

	buf_printf(b, "%s: ", text_of(q, "name"));
	put_number(b, number_of(q, "completed"));
	buf_str(b, " completed");
	put_change(b, " (", number_of(q, "completed"),
	    number_of(before, "completed"), ")");
	buf_str(b, ", ");
	put_number(b, number_of(q, "failed"));
	buf_str(b, " failed, ");
	put_number(b, number_of(q, "dead"));
	buf_str(b, " dead, ");
	put_percent(b, rate_of(q, "failure_rate"));
	buf_str(b, " of attempts failed; waited ");
	put_duration(b, q, "wait_p50_ms");
	buf_str(b, " (p95 ");
	put_duration(b, q, "wait_p95_ms");
	buf_str(b, "), ran ");
	put_duration(b, q, "run_p50_ms");
	buf_str(b, " (p95 ");
	put_duration(b, q, "run_p95_ms");
	buf_str(b, "); ready now ");
	put_number(b, number_of(q, "ready"));
	buf_char(b, '\n');
}

static void
text_queues(struct maker *m, struct buf *b)
{
	buf_str(b, "\nQueues\n");
	for (size_t i = 0; i < m->nqueues - m->nquiet; i++)
		text_queue(b, m->queues[i]);
	if (m->nquiet > 0)
		buf_printf(b, "%zu %s: nothing happened\n", m->nquiet,
		    m->nquiet == 1 ? "other" : "others");
}

static void
text_errors(struct maker *m, struct buf *b)
{
	const json_t *x;
	size_t i;

	if (count_of(m, "errors") > 0)
		buf_str(b, "\nMost frequent errors\n");
	json_array_foreach(json_object_get(m->report, "errors"), i, x) {
		put_number(b, number_of(x, "count"));
		buf_str(b, " times, ");
		put_cut(b, text_of(x, "queue"));
		buf_char(b, ' ');
		put_cut(b, text_of(x, "type"));
		buf_printf(b, " (%s): ", text_of(x, "class"));
		put_cut(b, text_of(x, "error"));
		buf_char(b, '\n');
	}
}

static void
text_schedules(struct maker *m, struct buf *b)
{
	const json_t *x;
	size_t i;

	if (count_of(m, "schedules") > 0)
		buf_str(b, "\nSchedules that are late or missed their time\n");
	json_array_foreach(json_object_get(m->report, "schedules"), i, x) {
		put_cut(b, text_of(x, "name"));
		buf_printf(b, ": missed %" PRId64 ", last run ",
		    number_of(x, "missed"));
		put_instant(b, m, text_of(x, "last_run"), SECOND);
		buf_str(b, ", next ");
		put_instant(b, m, text_of(x, "next_run"), SECOND);
		buf_char(b, '\n');
	}
}

static void
make_text(struct maker *m)
{
	struct buf *b = &m->out->text;
	int64_t letters = number_of(m->report, "dead_letters");

	put_period(b, m);
	buf_str(b, "\n\n");
	put_number(b, m->completed);
	buf_str(b, " completed");
	put_change(b, " (", m->completed, m->before_completed, ")");
	buf_str(b, ", ");
	put_number(b, m->failed);
	buf_str(b, " failed and tried again, ");
	put_number(b, m->dead);
	buf_str(b, " dead; ");
	put_percent(b, share(m->failed + m->dead, m->completed));
	buf_str(b, " of attempts failed\n");
	put_number(b, m->ready);
	buf_printf(b, " ready now, ");
	put_number(b, letters);
	buf_printf(b, " dead letter%s to review%s\n", letters == 1 ? "" : "s",
	    letters > 0 ? " (jobqctl dead list)" : "");
	text_queues(m, b);
	text_errors(m, b);
	text_schedules(m, b);
	buf_printf(b, "\njobqd " PACKAGE_VERSION ", node %s\n", m->node);
}

/*
 * The page
 */

static void
put_text(struct buf *b, const char *text)
{
	struct buf line = { 0 };

	put_cut(&line, text);
	for (size_t i = 0; i < line.len; i++)
		switch (line.data[i]) {
		case '&': buf_str(b, "&amp;"); break;
		case '<': buf_str(b, "&lt;"); break;
		case '>': buf_str(b, "&gt;"); break;
		case '"': buf_str(b, "&quot;"); break;
		default: buf_char(b, line.data[i]);
		}
	buf_clear(&line);
}

static void
open_section(struct buf *b, const char *title)
{
	buf_printf(b, "<tr><td style=\"padding:20px 24px 4px 24px;\">"
	    "<div style=\"font-size:15px;font-weight:bold;color:" INK ";"
	    "padding-bottom:6px;\">%s</div>", title);
}

static void
close_section(struct buf *b)
{
	buf_str(b, "</td></tr>\n");
}

/* Titles with a | between them; the first `left` are of texts. */
static void
open_table(struct buf *b, const char *titles, int left)
{
	buf_str(b, "<table role=\"presentation\" width=\"100%\" cellpadding=\"0\" "
	    "cellspacing=\"0\" style=\"border-collapse:collapse;font-size:13px;"
	    "color:" INK ";\"><tr>");
	for (int i = 0; *titles != '\0'; i++) {
		size_t len = strcspn(titles, "|");

		buf_printf(b, "<th style=\"" CELL "font-weight:normal;color:"
		    FAINT ";font-size:12px;text-align:%s;\">%.*s</th>",
		    i < left ? "left" : "right", (int)len, titles);
		titles += len + (titles[len] != '\0');
	}
	buf_str(b, "</tr>\n");
}

static void
close_table(struct buf *b)
{
	buf_str(b, "</table>");
}

static void
open_cell(struct buf *b, bool number)
{
	buf_printf(b, "<td style=\"" CELL "%s\">", number ? NUMBER : "");
}

static void
close_cell(struct buf *b)
{
	buf_str(b, "</td>");
}

static void
text_cell(struct buf *b, const char *text)
{
	open_cell(b, false);
	put_text(b, text);
	close_cell(b);
}

static void
number_cell(struct buf *b, int64_t n, bool bad)
{
	open_cell(b, true);
	if (bad && n > 0)
		buf_str(b, "<span style=\"color:" RED ";\">");
	put_number(b, n);
	if (bad && n > 0)
		buf_str(b, "</span>");
	close_cell(b);
}

static void
duration_cell(struct buf *b, const json_t *o, const char *key)
{
	open_cell(b, true);
	put_duration(b, o, key);
	close_cell(b);
}

static void
percent_cell(struct buf *b, double part)
{
	open_cell(b, true);
	buf_str(b, part >= BAD_RATE ? "<span style=\"color:" RED ";\">" : "<span>");
	put_percent(b, part);
	buf_str(b, "</span>");
	close_cell(b);
}

static void
open_figure(struct buf *b, const char *title, const char *colour)
{
	buf_printf(b, "<td width=\"25%%\" valign=\"top\" style=\"padding:0 8px 0 0;\">"
	    "<div style=\"font-size:12px;color:" FAINT ";\">%s</div>"
	    "<div style=\"font-size:24px;line-height:32px;color:%s;\">", title,
	    colour);
}

static void
close_figure(struct buf *b, int64_t now, int64_t before)
{
	buf_str(b, "</div><div style=\"font-size:12px;color:" FAINT ";\">");
	put_change(b, "", now, before, "");
	buf_str(b, "&nbsp;</div></td>");
}

static void
html_figures(struct maker *m, struct buf *b)
{
	int64_t failed = m->failed + m->dead;
	int64_t letters = number_of(m->report, "dead_letters");

	buf_str(b, "<tr><td style=\"padding:8px 24px 4px 24px;\"><table "
	    "role=\"presentation\" width=\"100%\" cellpadding=\"0\" "
	    "cellspacing=\"0\"><tr>");
	open_figure(b, "completed", INK);
	put_number(b, m->completed);
	close_figure(b, m->completed, m->before_completed);
	open_figure(b, "failed attempts", failed > 0 ? RED : INK);
	put_number(b, failed);
	close_figure(b, failed, m->before_failed + m->before_dead);
	open_figure(b, "failure rate", INK);
	put_percent(b, share(failed, m->completed));
	close_figure(b, 0, 0);
	open_figure(b, "dead letters to review", letters > 0 ? RED : INK);
	put_number(b, letters);
	close_figure(b, 0, 0);
	buf_str(b, "</tr></table></td></tr>\n");
}

static int64_t
largest(const json_t *series)
{
	const json_t *x;
	int64_t most = 0;
	size_t i;

	json_array_foreach(series, i, x) {
		int64_t n = number_of(x, "completed") + number_of(x, "failed");

		most = n > most ? n : most;
	}
	return most;
}

/* At least one pixel of what is not nothing. */
static int
height_of(int64_t n, int64_t most)
{
	int pixels = (int)((double)n * CHART_HEIGHT / (double)most + 0.5);

	return n > 0 && pixels < 1 ? 1 : pixels;
}

static void
bar(struct buf *b, int pixels, const char *colour)
{
	if (pixels > 0)
		buf_printf(b, "<div style=\"height:%dpx;line-height:%dpx;"
		    "font-size:1px;background-color:%s;\">&nbsp;</div>", pixels,
		    pixels, colour);
}

/* A column a step, one table cell each: failed on completed. */
static void
html_chart(struct maker *m, struct buf *b)
{
	const json_t *series = json_object_get(m->report, "series"), *x;
	size_t n = json_array_size(series), i;
	int64_t most = largest(series);
	bool days = number_of(m->report, "step") >= 86400;

	if (n < 2 || n > BARS_MAX || most == 0)
		return;
	open_section(b, days ? "Attempts a day" : "Attempts an hour");
	buf_printf(b, "<table role=\"presentation\" width=\"100%%\" "
	    "cellpadding=\"0\" cellspacing=\"0\" style=\"table-layout:fixed;\">"
	    "<tr style=\"height:%dpx;\">", CHART_HEIGHT);
	json_array_foreach(series, i, x) {
		int64_t completed = number_of(x, "completed");
		int64_t failed = number_of(x, "failed");

		buf_str(b, "<td valign=\"bottom\" style=\"padding:0 1px;"
		    "border-bottom:1px solid " LINE ";\" title=\"");
		put_instant(b, m, text_of(x, "at"), days ? DAY : CLOCK);
		buf_printf(b, " \xe2\x80\x93 %" PRId64 " completed, %" PRId64
		    " failed\">", completed, failed);
		bar(b, height_of(failed, most), RED);
		bar(b, height_of(completed, most), GREEN);
		buf_str(b, "</td>");
	}
	buf_str(b, "</tr></table><table role=\"presentation\" width=\"100%\" "
	    "cellpadding=\"0\" cellspacing=\"0\" style=\"font-size:11px;color:"
	    FAINT ";\"><tr><td>");
	put_instant(b, m, text_of(json_array_get(series, 0), "at"),
	    days ? DAY : CLOCK);
	buf_str(b, "</td><td align=\"center\"><span style=\"color:" GREEN ";\">"
	    "&#9632;</span> completed &nbsp; <span style=\"color:" RED ";\">"
	    "&#9632;</span> failed &nbsp; at most ");
	put_number(b, most);
	buf_str(b, "</td><td align=\"right\">");
	put_instant(b, m, text_of(json_array_get(series, n - 1), "at"),
	    days ? DAY : CLOCK);
	buf_str(b, "</td></tr></table>");
	close_section(b);
}

static void
html_queue(struct buf *b, const json_t *q)
{
	const json_t *before = json_object_get(q, "before");

	buf_str(b, "<tr>");
	open_cell(b, false);
	buf_str(b, "<b>");
	put_text(b, text_of(q, "name"));
	buf_str(b, "</b>");
	close_cell(b);
	open_cell(b, true);
	put_number(b, number_of(q, "completed"));
	buf_str(b, " <span style=\"color:" FAINT ";font-size:11px;\">");
	put_change(b, "", number_of(q, "completed"),
	    number_of(before, "completed"), "");
	buf_str(b, "</span>");
	close_cell(b);
	number_cell(b, number_of(q, "failed"), false);
	number_cell(b, number_of(q, "dead"), true);
	percent_cell(b, rate_of(q, "failure_rate"));
	duration_cell(b, q, "wait_p95_ms");
	duration_cell(b, q, "run_p50_ms");
	duration_cell(b, q, "run_p95_ms");
	number_cell(b, number_of(q, "ready"), false);
	buf_str(b, "</tr>\n");
}

static void
html_queues(struct maker *m, struct buf *b)
{
	size_t busy = m->nqueues - m->nquiet, i;

	open_section(b, "Queues");
	open_table(b, "queue|completed|failed|dead|rate|wait p95|run p50|run p95|"
	    "ready", 1);
	for (i = 0; i < busy && i < QUEUES_MAX; i++)
		html_queue(b, m->queues[i]);
	close_table(b);
	buf_str(b, "<div style=\"font-size:12px;color:" FAINT ";padding-top:6px;\">");
	if (busy > QUEUES_MAX)
		buf_printf(b, "And %zu less busy ones. ", busy - QUEUES_MAX);
	for (i = busy; i < m->nqueues && i < busy + QUIET_MAX; i++) {
		buf_str(b, i == busy ? "Nothing happened in: " : ", ");
		put_text(b, text_of(m->queues[i], "name"));
	}
	if (m->nquiet > QUIET_MAX)
		buf_printf(b, " and %zu more", m->nquiet - QUIET_MAX);
	buf_str(b, "</div>");
	close_section(b);
}

static void
html_types(struct maker *m, struct buf *b)
{
	const json_t *x;
	size_t i;

	if (count_of(m, "types") == 0)
		return;
	open_section(b, "Busiest types");
	open_table(b, "type|queue|completed|failed|dead|rate|run p50|run p95", 2);
	json_array_foreach(json_object_get(m->report, "types"), i, x) {
		const char *type = text_of(x, "type");

		buf_str(b, "<tr>");
		text_cell(b, *type != '\0' ? type : "(no type)");
		text_cell(b, text_of(x, "queue"));
		number_cell(b, number_of(x, "completed"), false);
		number_cell(b, number_of(x, "failed"), false);
		number_cell(b, number_of(x, "dead"), true);
		percent_cell(b, rate_of(x, "failure_rate"));
		duration_cell(b, x, "run_p50_ms");
		duration_cell(b, x, "run_p95_ms");
		buf_str(b, "</tr>\n");
	}
	close_table(b);
	close_section(b);
}

static void
html_errors(struct maker *m, struct buf *b)
{
	const json_t *x;
	size_t i;

	if (count_of(m, "errors") == 0)
		return;
	open_section(b, "Most frequent errors");
	open_table(b, "queue|class|error|times", 3);
	json_array_foreach(json_object_get(m->report, "errors"), i, x) {
		const char *type = text_of(x, "type");

		buf_str(b, "<tr>");
		open_cell(b, false);
		put_text(b, text_of(x, "queue"));
		buf_str(b, *type != '\0' ? "<br><span style=\"color:" FAINT ";\">" :
		    "<span>");
		put_text(b, type);
		buf_str(b, "</span>");
		close_cell(b);
		text_cell(b, text_of(x, "class"));
		buf_str(b, "<td style=\"" CELL "word-break:break-word;\">");
		put_text(b, text_of(x, "error"));
		close_cell(b);
		number_cell(b, number_of(x, "count"), false);
		buf_str(b, "</tr>\n");
	}
	close_table(b);
	close_section(b);
}

static void
html_schedules(struct maker *m, struct buf *b)
{
	const json_t *x;
	size_t i;

	if (count_of(m, "schedules") == 0)
		return;
	open_section(b, "Schedules that are late or missed their time");
	open_table(b, "schedule|queue|last run|next run|missed", 4);
	json_array_foreach(json_object_get(m->report, "schedules"), i, x) {
		buf_str(b, "<tr>");
		text_cell(b, text_of(x, "name"));
		text_cell(b, text_of(x, "queue"));
		open_cell(b, false);
		put_instant(b, m, text_of(x, "last_run"), SECOND);
		close_cell(b);
		open_cell(b, false);
		put_instant(b, m, text_of(x, "next_run"), SECOND);
		close_cell(b);
		number_cell(b, number_of(x, "missed"), true);
		buf_str(b, "</tr>\n");
	}
	close_table(b);
	close_section(b);
}

static void
make_html(struct maker *m)
{
	struct buf *b = &m->out->html;

	buf_str(b, "<!DOCTYPE html>\n<html lang=\"en\"><head>"
	    "<meta charset=\"utf-8\"><meta name=\"viewport\" "
	    "content=\"width=device-width\"><meta name=\"color-scheme\" "
	    "content=\"light\"><title>");
	put_text(b, m->out->subject.data);
	buf_str(b, "</title></head>\n<body style=\"margin:0;padding:0;"
	    "background-color:#f5f7fa;\"><table role=\"presentation\" "
	    "width=\"100%\" cellpadding=\"0\" cellspacing=\"0\"><tr>"
	    "<td align=\"center\" style=\"padding:20px 8px;\">\n"
	    "<table role=\"presentation\" width=\"760\" cellpadding=\"0\" "
	    "cellspacing=\"0\" style=\"width:100%;max-width:760px;"
	    "background-color:#ffffff;border:1px solid " LINE ";"
	    "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,"
	    "sans-serif;color:" INK ";\">\n<tr><td style=\"padding:20px 24px "
	    "8px 24px;\"><div style=\"font-size:20px;font-weight:bold;\">"
	    "Jobs in the last ");
	buf_str(b, number_of(m->report, "step") >= 86400 ? "days" : "day");
	buf_str(b, "</div><div style=\"font-size:13px;color:" FAINT ";\">");
	put_period(b, m);
	buf_str(b, "</div></td></tr>\n");
	html_figures(m, b);
	html_chart(m, b);
	html_queues(m, b);
	html_errors(m, b);
	html_schedules(m, b);
	html_types(m, b);
	buf_str(b, "<tr><td style=\"padding:16px 24px 20px 24px;font-size:12px;"
	    "color:" FAINT ";\">Sent by jobqd " PACKAGE_VERSION " on ");
	put_text(b, m->node);
	buf_str(b, ". More: <code>jobqctl status</code>, <code>jobqctl dead "
	    "list</code>, <code>jobqctl schedule list</code>.</td></tr>\n"
	    "</table></td></tr></table></body></html>\n");
}
