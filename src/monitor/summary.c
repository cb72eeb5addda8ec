/*
 * The report as people read it: its subject and its text.
 */
#include "config.h"

#include <inttypes.h>

#include "monitor/digest.h"
#include "monitor/page.h"
#include "monitor/summary.h"

static void make_subject(struct buf *, const struct digest *);
static void make_text(struct buf *, const struct digest *);

int
summary_make(struct summary *s, const char *json, const char *node,
    const struct summary_clock *clock, struct err *e)
{
	struct digest d;
	int ret = digest_make(&d, json, node, clock, e);

	*s = (struct summary){ .bad = d.bad };
	if (ret == 0) {
		make_subject(&s->subject, &d);
		make_text(&s->text, &d);
		page_make(&s->html, &d, s->subject.data);
	}
	digest_clear(&d);
	return ret;
}

void
summary_clear(struct summary *s)
{
	buf_clear(&s->subject);
	buf_clear(&s->text);
	buf_clear(&s->html);
}

static void
make_subject(struct buf *b, const struct digest *d)
{
	buf_str(b, "[jobqd] Report of ");
	digest_put_instant(b, d, digest_text(d->report, "until"), DIGEST_DAY);
	buf_str(b, ": ");
	digest_put_number(b, d->completed);
	buf_str(b, " completed, ");
	digest_put_number(b, d->failed);
	buf_str(b, " failed, ");
	digest_put_number(b, d->dead);
	buf_str(b, " dead");
}

static void
text_queue(struct buf *b, const json_t *q)
{
	const json_t *before = json_object_get(q, "before");

	buf_printf(b, "%s: ", digest_text(q, "name"));
	digest_put_number(b, digest_number(q, "completed"));
	buf_str(b, " completed");
	digest_put_change(b, " (", digest_number(q, "completed"),
	    digest_number(before, "completed"), ")");
	buf_str(b, ", ");
	digest_put_number(b, digest_number(q, "failed"));
	buf_str(b, " failed, ");
	digest_put_number(b, digest_number(q, "dead"));
	buf_str(b, " dead, ");
	digest_put_percent(b, digest_rate(q, "failure_rate"));
	buf_str(b, " of attempts failed; waited ");
	digest_put_duration(b, q, "wait_p50_ms");
	buf_str(b, " (p95 ");
	digest_put_duration(b, q, "wait_p95_ms");
	buf_str(b, "), ran ");
	digest_put_duration(b, q, "run_p50_ms");
	buf_str(b, " (p95 ");
	digest_put_duration(b, q, "run_p95_ms");
	buf_str(b, "); ready now ");
	digest_put_number(b, digest_number(q, "ready"));
	buf_char(b, '\n');
}

static void
text_queues(struct buf *b, const struct digest *d)
{
	buf_str(b, "\nQueues\n");
	for (size_t i = 0; i < d->nqueues - d->nquiet; i++)
		text_queue(b, d->queues[i]);
	if (d->nquiet > 0)
		buf_printf(b, "%zu %s: nothing happened\n", d->nquiet,
		    d->nquiet == 1 ? "other" : "others");
}

static void
text_errors(struct buf *b, const struct digest *d)
{
	const json_t *x;
	size_t i;

	if (digest_count(d, "errors") > 0)
		buf_str(b, "\nMost frequent errors\n");
	json_array_foreach(json_object_get(d->report, "errors"), i, x) {
		digest_put_number(b, digest_number(x, "count"));
		buf_str(b, " times, ");
		digest_put_cut(b, digest_text(x, "queue"));
		buf_char(b, ' ');
		digest_put_cut(b, digest_text(x, "type"));
		buf_printf(b, " (%s): ", digest_text(x, "class"));
		digest_put_cut(b, digest_text(x, "error"));
		buf_char(b, '\n');
	}
}

static void
text_schedules(struct buf *b, const struct digest *d)
{
	const json_t *x;
	size_t i;

	if (digest_count(d, "schedules") > 0)
		buf_str(b, "\nSchedules that are late or missed their time\n");
	json_array_foreach(json_object_get(d->report, "schedules"), i, x) {
		digest_put_cut(b, digest_text(x, "name"));
		buf_printf(b, ": missed %" PRId64 ", last run ",
		    digest_number(x, "missed"));
		digest_put_instant(b, d, digest_text(x, "last_run"), DIGEST_SECOND);
		buf_str(b, ", next ");
		digest_put_instant(b, d, digest_text(x, "next_run"), DIGEST_SECOND);
		buf_char(b, '\n');
	}
}

static void
make_text(struct buf *b, const struct digest *d)
{
	int64_t letters = digest_number(d->report, "dead_letters");

	digest_put_period(b, d);
	buf_str(b, "\n\n");
	digest_put_number(b, d->completed);
	buf_str(b, " completed");
	digest_put_change(b, " (", d->completed, d->before_completed, ")");
	buf_str(b, ", ");
	digest_put_number(b, d->failed);
	buf_str(b, " failed and tried again, ");
	digest_put_number(b, d->dead);
	buf_str(b, " dead; ");
	digest_put_percent(b, digest_share(d->failed + d->dead, d->completed));
	buf_str(b, " of attempts failed\n");
	digest_put_number(b, d->ready);
	buf_printf(b, " ready now, ");
	digest_put_number(b, letters);
	buf_printf(b, " dead letter%s to review%s\n", letters == 1 ? "" : "s",
	    letters > 0 ? " (jobqctl dead list)" : "");
	text_queues(b, d);
	text_errors(b, d);
	text_schedules(b, d);
	buf_printf(b, "\njobqd " PACKAGE_VERSION ", node %s\n", d->node);
}
