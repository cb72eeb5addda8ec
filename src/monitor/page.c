/*
 * All names and texts in a report come from whoever enqueues jobs: they go into
 * the page by put_text() alone.
 */
#include "config.h"

#include <inttypes.h>

#include "monitor/page.h"

#define QUEUES_MAX 40		/* in the page, of which some mail programs show 100 KB */
#define QUIET_MAX 50		/* names of queues in which nothing happened */
#define CHART_HEIGHT 90		/* pixels */
#define BARS_MAX 100
#define BAD_RATE 0.05		/* of attempts that failed: in red */

#define INK "#1f2933"
#define FAINT "#697586"
#define LINE "#e4e7eb"
#define GREEN "#3c9a6b"
#define RED "#d64545"
#define CELL "padding:6px 8px;border-bottom:1px solid " LINE ";"
#define NUMBER "text-align:right;white-space:nowrap;"

static void
put_text(struct buf *b, const char *text)
{
	struct buf line = { 0 };

	digest_put_cut(&line, text);
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
	digest_put_number(b, n);
	if (bad && n > 0)
		buf_str(b, "</span>");
	close_cell(b);
}

static void
duration_cell(struct buf *b, const json_t *o, const char *key)
{
	open_cell(b, true);
	digest_put_duration(b, o, key);
	close_cell(b);
}

static void
percent_cell(struct buf *b, double part)
{
	open_cell(b, true);
	buf_str(b, part >= BAD_RATE ? "<span style=\"color:" RED ";\">" : "<span>");
	digest_put_percent(b, part);
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
	digest_put_change(b, "", now, before, "");
	buf_str(b, "&nbsp;</div></td>");
}

static void
put_figures(struct buf *b, const struct digest *d)
{
	int64_t failed = d->failed + d->dead;
	int64_t letters = digest_number(d->report, "dead_letters");

	buf_str(b, "<tr><td style=\"padding:8px 24px 4px 24px;\"><table "
	    "role=\"presentation\" width=\"100%\" cellpadding=\"0\" "
	    "cellspacing=\"0\"><tr>");
	open_figure(b, "completed", INK);
	digest_put_number(b, d->completed);
	close_figure(b, d->completed, d->before_completed);
	open_figure(b, "failed attempts", failed > 0 ? RED : INK);
	digest_put_number(b, failed);
	close_figure(b, failed, d->before_failed + d->before_dead);
	open_figure(b, "failure rate", INK);
	digest_put_percent(b, digest_share(failed, d->completed));
	close_figure(b, 0, 0);
	open_figure(b, "dead letters to review", letters > 0 ? RED : INK);
	digest_put_number(b, letters);
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
		int64_t n = digest_number(x, "completed") + digest_number(x, "failed");

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
put_chart(struct buf *b, const struct digest *d)
{
	const json_t *series = json_object_get(d->report, "series"), *x;
	size_t n = json_array_size(series), i;
	int64_t most = largest(series);
	bool days = digest_number(d->report, "step") >= 86400;

	if (n < 2 || n > BARS_MAX || most == 0)
		return;
	open_section(b, days ? "Attempts a day" : "Attempts an hour");
	buf_printf(b, "<table role=\"presentation\" width=\"100%%\" "
	    "cellpadding=\"0\" cellspacing=\"0\" style=\"table-layout:fixed;\">"
	    "<tr style=\"height:%dpx;\">", CHART_HEIGHT);
	json_array_foreach(series, i, x) {
		int64_t completed = digest_number(x, "completed");
		int64_t failed = digest_number(x, "failed");

		buf_str(b, "<td valign=\"bottom\" style=\"padding:0 1px;"
		    "border-bottom:1px solid " LINE ";\" title=\"");
		digest_put_instant(b, d, digest_text(x, "at"), days ? DIGEST_DAY : DIGEST_CLOCK);
		buf_printf(b, " \xe2\x80\x93 %" PRId64 " completed, %" PRId64
		    " failed\">", completed, failed);
		bar(b, height_of(failed, most), RED);
		bar(b, height_of(completed, most), GREEN);
		buf_str(b, "</td>");
	}
	buf_str(b, "</tr></table><table role=\"presentation\" width=\"100%\" "
	    "cellpadding=\"0\" cellspacing=\"0\" style=\"font-size:11px;color:"
	    FAINT ";\"><tr><td>");
	digest_put_instant(b, d, digest_text(json_array_get(series, 0), "at"),
	    days ? DIGEST_DAY : DIGEST_CLOCK);
	buf_str(b, "</td><td align=\"center\"><span style=\"color:" GREEN ";\">"
	    "&#9632;</span> completed &nbsp; <span style=\"color:" RED ";\">"
	    "&#9632;</span> failed &nbsp; at most ");
	digest_put_number(b, most);
	buf_str(b, "</td><td align=\"right\">");
	digest_put_instant(b, d, digest_text(json_array_get(series, n - 1), "at"),
	    days ? DIGEST_DAY : DIGEST_CLOCK);
	buf_str(b, "</td></tr></table>");
	close_section(b);
}

static void
put_queue(struct buf *b, const json_t *q)
{
	const json_t *before = json_object_get(q, "before");

	buf_str(b, "<tr>");
	open_cell(b, false);
	buf_str(b, "<b>");
	put_text(b, digest_text(q, "name"));
	buf_str(b, "</b>");
	close_cell(b);
	open_cell(b, true);
	digest_put_number(b, digest_number(q, "completed"));
	buf_str(b, " <span style=\"color:" FAINT ";font-size:11px;\">");
	digest_put_change(b, "", digest_number(q, "completed"),
	    digest_number(before, "completed"), "");
	buf_str(b, "</span>");
	close_cell(b);
	number_cell(b, digest_number(q, "failed"), false);
	number_cell(b, digest_number(q, "dead"), true);
	percent_cell(b, digest_rate(q, "failure_rate"));
	duration_cell(b, q, "wait_p95_ms");
	duration_cell(b, q, "run_p50_ms");
	duration_cell(b, q, "run_p95_ms");
	number_cell(b, digest_number(q, "ready"), false);
	buf_str(b, "</tr>\n");
}

static void
put_queues(struct buf *b, const struct digest *d)
{
	size_t busy = d->nqueues - d->nquiet, i;

	open_section(b, "Queues");
	open_table(b, "queue|completed|failed|dead|rate|wait p95|run p50|run p95|"
	    "ready", 1);
	for (i = 0; i < busy && i < QUEUES_MAX; i++)
		put_queue(b, d->queues[i]);
	close_table(b);
	buf_str(b, "<div style=\"font-size:12px;color:" FAINT ";padding-top:6px;\">");
	if (busy > QUEUES_MAX)
		buf_printf(b, "And %zu less busy ones. ", busy - QUEUES_MAX);
	for (i = busy; i < d->nqueues && i < busy + QUIET_MAX; i++) {
		buf_str(b, i == busy ? "Nothing happened in: " : ", ");
		put_text(b, digest_text(d->queues[i], "name"));
	}
	if (d->nquiet > QUIET_MAX)
		buf_printf(b, " and %zu more", d->nquiet - QUIET_MAX);
	buf_str(b, "</div>");
	close_section(b);
}

static void
put_types(struct buf *b, const struct digest *d)
{
	const json_t *x;
	size_t i;

	if (digest_count(d, "types") == 0)
		return;
	open_section(b, "Busiest types");
	open_table(b, "type|queue|completed|failed|dead|rate|run p50|run p95", 2);
	json_array_foreach(json_object_get(d->report, "types"), i, x) {
		const char *type = digest_text(x, "type");

		buf_str(b, "<tr>");
		text_cell(b, *type != '\0' ? type : "(no type)");
		text_cell(b, digest_text(x, "queue"));
		number_cell(b, digest_number(x, "completed"), false);
		number_cell(b, digest_number(x, "failed"), false);
		number_cell(b, digest_number(x, "dead"), true);
		percent_cell(b, digest_rate(x, "failure_rate"));
		duration_cell(b, x, "run_p50_ms");
		duration_cell(b, x, "run_p95_ms");
		buf_str(b, "</tr>\n");
	}
	close_table(b);
	close_section(b);
}

static void
put_errors(struct buf *b, const struct digest *d)
{
	const json_t *x;
	size_t i;

	if (digest_count(d, "errors") == 0)
		return;
	open_section(b, "Most frequent errors");
	open_table(b, "queue|class|error|times", 3);
	json_array_foreach(json_object_get(d->report, "errors"), i, x) {
		const char *type = digest_text(x, "type");

		buf_str(b, "<tr>");
		open_cell(b, false);
		put_text(b, digest_text(x, "queue"));
		buf_str(b, *type != '\0' ? "<br><span style=\"color:" FAINT ";\">" :
		    "<span>");
		put_text(b, type);
		buf_str(b, "</span>");
		close_cell(b);
		text_cell(b, digest_text(x, "class"));
		buf_str(b, "<td style=\"" CELL "word-break:break-word;\">");
		put_text(b, digest_text(x, "error"));
		close_cell(b);
		number_cell(b, digest_number(x, "count"), false);
		buf_str(b, "</tr>\n");
	}
	close_table(b);
	close_section(b);
}

static void
put_schedules(struct buf *b, const struct digest *d)
{
	const json_t *x;
	size_t i;

	if (digest_count(d, "schedules") == 0)
		return;
	open_section(b, "Schedules that are late or missed their time");
	open_table(b, "schedule|queue|last run|next run|missed", 4);
	json_array_foreach(json_object_get(d->report, "schedules"), i, x) {
		buf_str(b, "<tr>");
		text_cell(b, digest_text(x, "name"));
		text_cell(b, digest_text(x, "queue"));
		open_cell(b, false);
		digest_put_instant(b, d, digest_text(x, "last_run"), DIGEST_SECOND);
		close_cell(b);
		open_cell(b, false);
		digest_put_instant(b, d, digest_text(x, "next_run"), DIGEST_SECOND);
		close_cell(b);
		number_cell(b, digest_number(x, "missed"), true);
		buf_str(b, "</tr>\n");
	}
	close_table(b);
	close_section(b);
}

void
page_make(struct buf *b, const struct digest *d, const char *subject)
{
	buf_str(b, "<!DOCTYPE html>\n<html lang=\"en\"><head>"
	    "<meta charset=\"utf-8\"><meta name=\"viewport\" "
	    "content=\"width=device-width\"><meta name=\"color-scheme\" "
	    "content=\"light\"><title>");
	put_text(b, subject);
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
	buf_str(b, digest_number(d->report, "step") >= 86400 ? "days" : "day");
	buf_str(b, "</div><div style=\"font-size:13px;color:" FAINT ";\">");
	digest_put_period(b, d);
	buf_str(b, "</div></td></tr>\n");
	put_figures(b, d);
	put_chart(b, d);
	put_queues(b, d);
	put_errors(b, d);
	put_schedules(b, d);
	put_types(b, d);
	buf_str(b, "<tr><td style=\"padding:16px 24px 20px 24px;font-size:12px;"
	    "color:" FAINT ";\">Sent by jobqd " PACKAGE_VERSION " on ");
	put_text(b, d->node);
	buf_str(b, ". More: <code>jobqctl status</code>, <code>jobqctl dead "
	    "list</code>, <code>jobqctl schedule list</code>.</td></tr>\n"
	    "</table></td></tr></table></body></html>\n");
}
