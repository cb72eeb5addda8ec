/*
 * What alerts watch: see metric.h.
 */
#include "config.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/metric.h"
#include "core/units.h"

#define COUNT_DIGITS 15		/* a double still holds each of them */

/* In the order of metric_names. */
static const struct metric metrics[] = {
	{ "backlog", METRIC_COUNT, true,
	    "backlog of %q is %v", NULL,
	    "More jobs come than its workers run: see \"jobqctl queue show %q\", "
	    "and raise its workers or concurrency." },
	{ "oldest_ready", METRIC_TIME, true,
	    "longest wait in %q is %v", NULL,
	    "See \"jobqctl queue show %q\", and by \"jobqctl job show ID\" why one "
	    "of its jobs does not run." },
	{ "failure_rate", METRIC_SHARE, true,
	    "failure rate of %q is %v", NULL,
	    "See \"jobqctl dead list --queue %q --group\" and \"jobqctl tail %q\" "
	    "for what fails." },
	{ "error_count", METRIC_COUNT, true,
	    "number of failed attempts of %q is %v", NULL,
	    "See \"jobqctl tail %q\" for what fails." },
	{ "retries", METRIC_COUNT, true,
	    "number of retrying jobs of %q is %v", NULL,
	    "See \"jobqctl jobs --queue %q --state retrying\"." },
	{ "run_time_avg", METRIC_TIME, true,
	    "average run time of %q is %v", NULL,
	    "What its jobs talk to may be slow: see \"jobqctl jobs --queue %q "
	    "--state running\"." },
	{ "dead_letters", METRIC_COUNT, true,
	    "number of unreviewed dead letters of %q is %v", NULL,
	    "See \"jobqctl dead list --queue %q --group\", then retry, review or "
	    "delete them." },
	{ "dead_letters_new", METRIC_COUNT, true,
	    "number of new dead letters of %q is %v", NULL,
	    "See \"jobqctl dead list --queue %q --group\" for what they died of." },
	{ "stalled", METRIC_COUNT, true,
	    "number of stalled jobs of %q is %v", NULL,
	    "A node or worker has stopped: see \"jobqctl status\" and \"jobqctl "
	    "queue show %q\"; lost jobs run again by themselves." },
	{ "paused", METRIC_COUNT, true,
	    "%q is paused", "%q is no longer paused",
	    "\"jobqctl queue show %q\" says by whom and why; \"jobqctl queue resume "
	    "%q\" lets it go on." },
	{ "workers", METRIC_COUNT, true,
	    "number of workers of %q is %v", NULL,
	    "See \"jobqctl status\" for its nodes, and their logs for why the "
	    "workers of %q do not start." },
	{ "unserved", METRIC_COUNT, true,
	    "number of jobs in %q, which no node serves, is %v", NULL,
	    "Start a node that serves it, or \"jobqctl queue clear %q\" and "
	    "\"jobqctl queue remove %q\"." },
	{ "node_down", METRIC_COUNT, false,
	    "number of silent nodes is %v", NULL,
	    "See \"jobqctl status\", and start the node again; its jobs run "
	    "elsewhere." },
	{ "database_down", METRIC_COUNT, false,
	    "the database is not there", "the database is back",
	    "Look whether the server of database.url runs and can be reached from "
	    "this node." },
	{ "schedule_late", METRIC_TIME, true,
	    "a schedule of %q is late by %v", "the schedules of %q are in time",
	    "See \"jobqctl schedule list\", and \"jobqctl status\" whether a node "
	    "has a scheduler." },
	{ "oldest_snapshot_age", METRIC_TIME, false,
	    "age of the oldest snapshot is %v", NULL,
	    "A transaction is open for long, so nothing can be vacuumed: end it, or "
	    "SELECT pg_terminate_backend(pid)." },
	{ "table_size", METRIC_SIZE, false,
	    "size of the tables is %v", NULL,
	    "See \"jobqctl queue list\" for what is kept, and shorten the keep: of "
	    "its queues." },
};
#define METRIC_COUNT_ALL (sizeof(metrics) / sizeof(*metrics))

const char *const metric_names[] = { "backlog", "oldest_ready", "failure_rate",
    "error_count", "retries", "run_time_avg", "dead_letters",
    "dead_letters_new", "stalled", "paused", "workers", "unserved",
    "node_down", "database_down", "schedule_late", "oldest_snapshot_age",
    "table_size", NULL };

static void format_count(char *, size_t, int64_t);
static void format_time(char *, size_t, double seconds);

const struct metric *
metric_at(int index)
{
	return &metrics[index];
}

const struct metric *
metric_find(const char *name)
{
	for (size_t i = 0; i < METRIC_COUNT_ALL; i++)
		if (strcmp(metrics[i].name, name) == 0)
			return &metrics[i];
	return NULL;
}

const char *
metric_kind_name(enum metric_kind kind)
{
	static const char *const names[] = { "count", "share", "time", "size" };

	return names[kind];
}

const char *
metric_kind_form(enum metric_kind kind)
{
	static const char *const forms[] = { "a number, as 1000",
	    "a percentage, as 10%", "a duration, as 30s", "a size, as 10GiB" };

	return forms[kind];
}

static int
parse_count(const char *text, double *out)
{
	const char *p = text;

	while (isdigit((unsigned char)*p))
		p++;
	if (*p != '\0' || p == text || p - text > COUNT_DIGITS)
		return -1;
	*out = (double)strtoll(text, NULL, 10);
	return 0;
}

int
metric_parse(enum metric_kind kind, const char *text, double *out)
{
	int64_t n;

	switch (kind) {
	case METRIC_COUNT:
		return parse_count(text, out);
	case METRIC_SHARE:
		return units_percent(text, out);
	case METRIC_TIME:
		if (units_duration_ms(text, &n) < 0)
			return -1;
		*out = (double)n / 1000;
		return 0;
	case METRIC_SIZE:
		if (units_size(text, &n) < 0)
			return -1;
		*out = (double)n;
		return 0;
	}
	return -1;
}

char *
metric_format(char buf[METRIC_TEXT_MAX], enum metric_kind kind, double value)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	size_t unit = 0;

	/* The casts are defined then, and nobody reads more. */
	if (isnan(value) || value < 0)
		value = 0;
	if (value > 1e15)
		value = 1e15;
	switch (kind) {
	case METRIC_COUNT:
		format_count(buf, METRIC_TEXT_MAX, (int64_t)(value + 0.5));
		break;
	case METRIC_SHARE:
		snprintf(buf, METRIC_TEXT_MAX, "%.4g %%", value * 100);
		break;
	case METRIC_TIME:
		format_time(buf, METRIC_TEXT_MAX, value);
		break;
	case METRIC_SIZE:
		while (value >= 1024 && unit < 4) {
			value /= 1024;
			unit++;
		}
		snprintf(buf, METRIC_TEXT_MAX, "%.4g %s", value, units[unit]);
		break;
	}
	return buf;
}

/* With a comma before each three digits. */
static void
format_count(char *buf, size_t size, int64_t n)
{
	char digits[24];
	size_t len, used = 0;

	snprintf(digits, sizeof(digits), "%" PRId64, n);
	len = strlen(digits);
	for (size_t i = 0; i < len && used + 2 < size; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			buf[used++] = ',';
		buf[used++] = digits[i];
	}
	buf[used] = '\0';
}

/* In the unit that leaves two or three digits. */
static void
format_time(char *buf, size_t size, double s)
{
	if (s < 1)
		snprintf(buf, size, "%.0f ms", s * 1000);
	else if (s < 120)
		snprintf(buf, size, "%.3g s", s);
	else if (s < 7200)
		snprintf(buf, size, "%.0f min", s / 60);
	else if (s < 172800)
		snprintf(buf, size, "%.0f h", s / 3600);
	else
		snprintf(buf, size, "%.0f days", s / 86400);
}

void
metric_phrase(struct buf *b, const char *phrase, const char *queue,
    const char *value)
{
	for (const char *p = phrase; *p != '\0'; p++) {
		if (p[0] == '%' && p[1] == 'q') {
			buf_str(b, queue);
			p++;
		} else if (p[0] == '%' && p[1] == 'v') {
			buf_str(b, value);
			p++;
		} else {
			buf_char(b, *p);
		}
	}
}
