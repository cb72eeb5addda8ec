/*
 * Metrics: see metrics.h. jobqd-api(7) has them all with their labels.
 */
#include "config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/metrics.h"
#include "base/utf8.h"
#include "os/board.h"
#include "os/usage.h"

enum type { GAUGE, COUNTER, HISTOGRAM, INFO };

struct family {
	const char *name;	/* without _total and _info */
	enum type type;
	const char *unit;	/* that the name ends with; "": none */
	const char *help;
};

struct text {
	struct buf *b;
	bool openmetrics;
};

/* In the order of enum board_gauge_kind. */
static const struct {
	struct family family;
	const char *a, *b;	/* labels; NULL: none */
} gauges[GAUGE_KINDS] = {
	[GAUGE_DATABASE_UP] = { { "jobqd_database_up", GAUGE, "",
	    "Whether this node reaches its database." }, NULL, NULL },
	[GAUGE_JOBS] = { { "jobqd_jobs", GAUGE, "",
	    "Jobs of the whole cluster by queue and state." }, "queue", "state" },
	[GAUGE_OLDEST_READY] = { { "jobqd_oldest_ready_seconds", GAUGE, "seconds",
	    "How long the oldest ready job has been so; 0 for none." }, "queue", NULL },
	[GAUGE_DEAD_LETTERS] = { { "jobqd_dead_letters", GAUGE, "",
	    "Dead jobs that nobody has reviewed." }, "queue", NULL },
	[GAUGE_QUEUE_PAUSED] = { { "jobqd_queue_paused", GAUGE, "",
	    "Whether the queue is paused." }, "queue", NULL },
	[GAUGE_QUEUE_SERVED] = { { "jobqd_queue_served", GAUGE, "",
	    "Whether a node that is alive serves the queue." }, "queue", NULL },
	[GAUGE_SCHEDULE_LATE] = { { "jobqd_schedule_late_seconds", GAUGE, "seconds",
	    "How late the schedule is, or was at its last run." }, "schedule", NULL },
	[GAUGE_SCHEDULE_MISSED] = { { "jobqd_schedule_missed", COUNTER, "",
	    "Runs that were left out." }, "schedule", NULL },
	[GAUGE_SCHEDULE_NEXT] = { { "jobqd_schedule_next_run_timestamp_seconds", GAUGE,
	    "seconds", "When the schedule runs next, in Unix time." }, "schedule", NULL },
	[GAUGE_ALERT_FIRING] = { { "jobqd_alert_firing", GAUGE, "",
	    "Whether the alert has begun and not ended." }, "alert", "queue" },
	[GAUGE_OLDEST_SNAPSHOT] = { { "jobqd_oldest_snapshot_seconds", GAUGE, "seconds",
	    "Age of the oldest snapshot that holds back the database's vacuum." },
	    NULL, NULL },
};

/*
 * Text
 */

static void
put_family(struct text *t, const struct family *f)
{
	static const char *const types[] = { "gauge", "counter", "histogram", "info" };
	/* The old form has no type info, and the whole name everywhere. */
	const char *end = t->openmetrics ? "" : f->type == COUNTER ? "_total" :
	    f->type == INFO ? "_info" : "";

	buf_printf(t->b, "# HELP %s%s %s\n# TYPE %s%s %s\n", f->name, end, f->help,
	    f->name, end, types[!t->openmetrics && f->type == INFO ? GAUGE : f->type]);
	if (t->openmetrics && *f->unit != '\0')
		buf_printf(t->b, "# UNIT %s %s\n", f->name, f->unit);
}

static void
put_value(struct buf *b, const char *value)
{
	char clean[BOARD_TYPE_MAX];

	strlcpy(clean, value, sizeof(clean));
	utf8_clean(clean, strlen(clean));
	for (const char *p = clean; *p != '\0'; p++)
		if (*p == '\n')
			buf_str(b, "\\n");
		else if (*p == '"' || *p == '\\')
			buf_printf(b, "\\%c", *p);
		else
			buf_char(b, *p);
}

/* NAME{a="…",b="…"}, and a blank. pairs: name, value, …, NULL. */
static void
put_name(struct text *t, const char *name, const char *suffix,
    const char *const *pairs)
{
	buf_printf(t->b, "%s%s", name, suffix);
	for (int i = 0; pairs[i] != NULL; i += 2) {
		buf_printf(t->b, "%c%s=\"", i == 0 ? '{' : ',', pairs[i]);
		put_value(t->b, pairs[i + 1]);
		buf_char(t->b, '"');
	}
	buf_str(t->b, pairs[0] != NULL ? "} " : " ");
}

static void
put_real(struct text *t, double value)
{
	if (isnan(value))
		buf_str(t->b, "NaN\n");
	else if (isinf(value))
		buf_str(t->b, value > 0 ? "+Inf\n" : "-Inf\n");
	else
		buf_printf(t->b, "%.15g\n", value);
}

static void
put_count(struct text *t, uint64_t n)
{
	buf_printf(t->b, "%" PRIu64 "\n", n);
}

static void
put_seconds(struct text *t, uint64_t us)
{
	buf_printf(t->b, "%" PRIu64 ".%06u\n", us / 1000000, (unsigned)(us % 1000000));
}

/*
 * Counters
 */

/* All outcomes of a type that has one, so that its first failure is an
 * increase. */
static void
put_finished(struct text *t, const struct board_queue *q,
    const struct board_type *type, const char *name)
{
	for (int o = 0; o < BOARD_OUTCOMES; o++) {
		uint64_t n = atomic_load(&type->finished[o]);
		const char *pairs[] = { "queue", q->name, "type", name,
		    "outcome", board_outcomes[o], NULL };

		put_name(t, "jobqd_jobs_finished", "_total", pairs);
		put_count(t, n);
	}
}

static void
put_all_finished(struct text *t)
{
	static const struct family family = { "jobqd_jobs_finished", COUNTER, "",
	    "Attempts that ended on this node, by how they did." };

	put_family(t, &family);
	for (size_t i = 0; i < board_count(); i++) {
		const struct board_queue *q = board_at(i);
		uint64_t others = 0;

		for (int k = 0; k < BOARD_TYPES; k++)
			if (atomic_load(&q->types[k].named))
				put_finished(t, q, &q->types[k], q->types[k].name);
		for (int o = 0; o < BOARD_OUTCOMES; o++)
			others += atomic_load(&q->other.finished[o]);
		if (others > 0)
			put_finished(t, q, &q->other, BOARD_OTHER);
	}
}

static void
put_histogram(struct text *t, const char *name, const char *queue,
    const struct board_histogram *h)
{
	uint64_t sum = atomic_load(&h->sum_us), n = 0;
	const char *const labels[] = { "queue", queue, NULL };
	char bound[24];

	for (int i = 0; i <= BOARD_BOUNDS; i++) {
		const char *const pairs[] = { "queue", queue, "le", bound, NULL };

		if (i == BOARD_BOUNDS)
			strlcpy(bound, "+Inf", sizeof(bound));
		else if (board_bounds_us[i] % 1000000 == 0)
			snprintf(bound, sizeof(bound), "%" PRId64 ".0",
			    board_bounds_us[i] / 1000000);
		else
			snprintf(bound, sizeof(bound), "%.15g",
			    (double)board_bounds_us[i] / 1e6);
		n += atomic_load(&h->counts[i]);
		put_name(t, name, "_bucket", pairs);
		put_count(t, n);
	}
	put_name(t, name, "_sum", labels);
	put_seconds(t, sum);
	put_name(t, name, "_count", labels);
	put_count(t, n);
}

static void
put_histograms(struct text *t)
{
	static const struct family run = { "jobqd_job_run_seconds", HISTOGRAM,
	    "seconds", "How long attempts ran on this node." };
	static const struct family wait = { "jobqd_job_wait_seconds", HISTOGRAM,
	    "seconds", "How long jobs waited, from their time to be run until "
	    "this node took them." };

	put_family(t, &run);
	for (size_t i = 0; i < board_count(); i++)
		put_histogram(t, run.name, board_at(i)->name, &board_at(i)->run);
	put_family(t, &wait);
	for (size_t i = 0; i < board_count(); i++)
		put_histogram(t, wait.name, board_at(i)->name, &board_at(i)->wait);
}

static void
put_lease_lost(struct text *t)
{
	static const struct family family = { "jobqd_lease_lost", COUNTER, "",
	    "Leases of this node that somebody took for lost; their jobs ran again." };
	static const char *const none[] = { NULL };
	uint64_t n = 0;

	for (size_t i = 0; i < board_count(); i++)
		n += atomic_load(&board_at(i)->lease_lost);
	put_family(t, &family);
	put_name(t, family.name, "_total", none);
	put_count(t, n);
}

/*
 * Gauges
 */

static void
put_workers(struct text *t)
{
	static const struct family family = { "jobqd_workers", GAUGE, "",
	    "Worker processes of this node by queue and state." };

	put_family(t, &family);
	for (size_t i = 0; i < board_count(); i++) {
		uint64_t n[BOARD_WORKER_STATES];

		board_count_workers(i, n);
		for (int s = 0; s < BOARD_WORKER_STATES; s++) {
			const char *pairs[] = { "queue", board_at(i)->name,
			    "state", board_workers[s], NULL };

			put_name(t, family.name, "", pairs);
			put_count(t, n[s]);
		}
	}
}

static void
put_gauge(struct text *t, const struct board_gauge *g)
{
	const char *a = gauges[g->kind].a, *b = gauges[g->kind].b;
	const char *pairs[] = { a, g->a, b, g->b, NULL };

	put_name(t, gauges[g->kind].family.name,
	    gauges[g->kind].family.type == COUNTER ? "_total" : "", pairs);
	put_real(t, g->value);
}

/* What the monitor has published; nothing, before it has. */
static void
put_gauges(struct text *t)
{
	static const struct family age = { "jobqd_gauges_age_seconds", GAUGE,
	    "seconds", "Age of the values that come from the database." };
	static const char *const none[] = { NULL };
	struct buf page = { 0 };
	mono_t since = board_read(BOARD_GAUGES, &page);
	const struct board_gauge *all = (const void *)page.data;
	size_t n = page.len / sizeof(*all);

	for (int kind = 0; kind < GAUGE_KINDS && since >= 0; kind++) {
		put_family(t, &gauges[kind].family);
		for (size_t i = 0; i < n; i++)
			if (all[i].kind == (enum board_gauge_kind)kind)
				put_gauge(t, &all[i]);
	}
	if (since >= 0) {
		put_family(t, &age);
		put_name(t, age.name, "", none);
		put_seconds(t, (uint64_t)since);
	}
	buf_clear(&page);
}

static void
put_process(struct text *t, const struct family *f, double value)
{
	static const char *const none[] = { NULL };

	put_family(t, f);
	put_name(t, f->name, f->type == COUNTER ? "_total" : "", none);
	put_real(t, value);
}

static void
put_processes(struct text *t)
{
	static const struct family cpu = { "process_cpu_seconds", COUNTER, "seconds",
	    "CPU time of all processes of this jobqd and of their programs." };
	static const struct family resident = { "process_resident_memory_bytes", GAUGE,
	    "bytes", "Resident memory of all processes of this jobqd." };
	static const struct family start = { "process_start_time_seconds", GAUGE,
	    "seconds", "When this jobqd was started, in Unix time." };
	static const struct family fds = { "process_open_fds", GAUGE, "",
	    "Open descriptors of the process that has most of them." };
	static const struct family max = { "process_max_fds", GAUGE, "",
	    "Descriptors that each process may have open." };
	struct usage u;

	if (!usage_read(&u, getppid()))
		return;
	put_process(t, &cpu, (double)board_cpu_us(u.cpu_us) / 1e6);
	put_process(t, &resident, (double)u.resident);
	put_process(t, &start, u.started);
	if (u.most_fds >= 0) {
		put_process(t, &fds, (double)u.most_fds);
		put_process(t, &max, (double)u.max_fds);
	}
}

static void
put_build(struct text *t, const char *node)
{
	static const struct family family = { "jobqd_build", INFO, "",
	    "The version of this jobqd, and the name of its node." };
	const char *pairs[] = { "version", PACKAGE_VERSION, "node", node, NULL };

	put_family(t, &family);
	put_name(t, family.name, "_info", pairs);
	put_count(t, 1);
}

void
metrics_text(struct buf *b, bool openmetrics, const char *node)
{
	struct text t = { b, openmetrics };

	put_build(&t, node);
	put_all_finished(&t);
	put_histograms(&t);
	put_lease_lost(&t);
	put_workers(&t);
	put_gauges(&t);
	put_processes(&t);
	if (openmetrics)
		buf_str(b, "# EOF\n");
}

const char *
metrics_type(bool openmetrics)
{
	return openmetrics ?
	    "application/openmetrics-text; version=1.0.0; charset=utf-8" :
	    "text/plain; version=0.0.4; charset=utf-8";
}
