/*
 * The text of the metrics, from a board that is filled in here: both forms,
 * labels with everything in them, buckets that add up.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "api/metrics.h"
#include "os/board.h"

static char *
text(bool openmetrics)
{
	struct buf b = { 0 };

	metrics_text(&b, openmetrics, "n\"1\\\n");
	return buf_detach(&b);
}

static void
expect(const char *all, const char *line)
{
	char whole[600];

	snprintf(whole, sizeof(whole), "\n%s\n", line);
	if (strstr(all, whole) == NULL)
		fail_msg("%s is not in\n%s", line, all);
}

static void
refuse(const char *all, const char *part)
{
	if (strstr(all, part) != NULL)
		fail_msg("%s is in\n%s", part, all);
}

static void
test_metrics_of_an_empty_board(void **state)
{
	char *all = text(false);

	(void)state;
	expect(all, "# TYPE jobqd_jobs_finished_total counter");
	expect(all, "jobqd_lease_lost_total 0");
	refuse(all, "jobqd_database_up");	/* nobody has looked yet */
	free(all);
}

static void
fill(void)
{
	struct board_queue *q;
	struct buf page = { 0 };

	board_add("email");
	q = board_queue("email");
	board_finished(q, "say \"hi\"\\\n", BOARD_COMPLETED);
	board_finished(q, "b\xff" "d", BOARD_DEAD);
	for (int i = 0; i < 100; i++) {
		char type[16];

		snprintf(type, sizeof(type), "t%d", i);
		board_finished(q, type, BOARD_COMPLETED);
	}
	board_ran(q, 800);
	board_ran(q, 2500000);
	board_ran(q, INT64_C(7200000000));
	board_waited(q, 20000, 3);
	board_lease_lost(q, 2);
	board_gauge(&page, GAUGE_DATABASE_UP, NULL, NULL, 1);
	board_gauge(&page, GAUGE_JOBS, "email", "ready", 1234567);
	board_gauge(&page, GAUGE_SCHEDULE_MISSED, "sync", NULL, 4);
	board_gauge(&page, GAUGE_ALERT_FIRING, "backlog", "", 1);
	board_publish(BOARD_GAUGES, page.data, page.len, NULL);
	buf_clear(&page);
}

static void
test_metrics_text(void **state)
{
	char *all;

	(void)state;
	fill();
	all = text(false);
	expect(all, "jobqd_jobs_finished_total{queue=\"email\",type=\"say \\\"hi\\\"\\\\\\n\","
	    "outcome=\"completed\"} 1");
	expect(all, "jobqd_jobs_finished_total{queue=\"email\",type=\"b?d\",outcome=\"dead\"} 1");
	expect(all, "jobqd_jobs_finished_total{queue=\"email\",type=\"b?d\",outcome=\"lost\"} 0");
	expect(all, "jobqd_jobs_finished_total{queue=\"email\",type=\"other\","
	    "outcome=\"completed\"} 38");
	expect(all, "jobqd_job_run_seconds_bucket{queue=\"email\",le=\"0.001\"} 1");
	expect(all, "jobqd_job_run_seconds_bucket{queue=\"email\",le=\"1.0\"} 1");
	expect(all, "jobqd_job_run_seconds_bucket{queue=\"email\",le=\"5.0\"} 2");
	expect(all, "jobqd_job_run_seconds_bucket{queue=\"email\",le=\"3600.0\"} 2");
	expect(all, "jobqd_job_run_seconds_bucket{queue=\"email\",le=\"+Inf\"} 3");
	expect(all, "jobqd_job_run_seconds_sum{queue=\"email\"} 7202.500800");
	expect(all, "jobqd_job_run_seconds_count{queue=\"email\"} 3");
	expect(all, "jobqd_job_wait_seconds_sum{queue=\"email\"} 0.060000");
	expect(all, "jobqd_lease_lost_total 2");
	expect(all, "jobqd_workers{queue=\"email\",state=\"busy\"} 0");
	expect(all, "jobqd_database_up 1");
	expect(all, "jobqd_jobs{queue=\"email\",state=\"ready\"} 1234567");
	expect(all, "# TYPE jobqd_schedule_missed_total counter");
	expect(all, "jobqd_schedule_missed_total{schedule=\"sync\"} 4");
	expect(all, "jobqd_alert_firing{alert=\"backlog\",queue=\"\"} 1");
	expect(all, "# TYPE jobqd_build_info gauge");
	expect(all, "jobqd_build_info{version=\"" PACKAGE_VERSION "\",node=\"n\\\"1\\\\\\n\"} 1");
	expect(all, "# TYPE process_cpu_seconds_total counter");
	refuse(all, "# EOF");
	refuse(all, "# UNIT");
	free(all);
}

static void
test_metrics_openmetrics(void **state)
{
	char *all = text(true);
	static const char eof[] = "\n# EOF\n";

	(void)state;
	expect(all, "# TYPE jobqd_jobs_finished counter");
	expect(all, "jobqd_lease_lost_total 2");
	expect(all, "# UNIT jobqd_job_run_seconds seconds");
	expect(all, "jobqd_build_info{version=\"" PACKAGE_VERSION "\",node=\"n\\\"1\\\\\\n\"} 1");
	refuse(all, "# TYPE jobqd_build_info");
	assert_string_equal(all + strlen(all) - strlen(eof), eof);
	free(all);
}

/* The monitor's page, as one that does not hold what it should. */
static void
test_metrics_without_the_database(void **state)
{
	struct buf page = { 0 };
	char *all;

	(void)state;
	board_gauge(&page, GAUGE_DATABASE_UP, NULL, NULL, 0);
	board_publish(BOARD_GAUGES, page.data, page.len, NULL);
	all = text(false);
	expect(all, "jobqd_database_up 0");
	refuse(all, "jobqd_jobs{");
	expect(all, "jobqd_lease_lost_total 2");
	free(all);
	buf_clear(&page);
}

static int
make(void **state)
{
	(void)state;
	return board_make(1, NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_metrics_of_an_empty_board),
		cmocka_unit_test(test_metrics_text),
		cmocka_unit_test(test_metrics_openmetrics),
		cmocka_unit_test(test_metrics_without_the_database),
	};

	return cmocka_run_group_tests(tests, make, NULL);
}
