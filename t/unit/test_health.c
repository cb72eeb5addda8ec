#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/health.h"

static json_t *
build(const struct health *h)
{
	struct buf b = { 0 };
	json_error_t e;

	health_json(&b, h);
	assert_int_equal(b.data[b.len - 1], '\n');
	json_t *json = json_loadb(b.data, b.len, JSON_REJECT_DUPLICATES, &e);
	if (json == NULL)
		fail_msg("%s: %s", e.text, b.data);
	buf_clear(&b);
	return json;
}

static struct health
good(void)
{
	return (struct health){
		.at = INT64_C(1795255200000000), .database_up = true,
		.database_version = "15.8", .database_latency_us = 1042,
		.queues = "{\"email\":{\"ready\":1,\"running\":0,"
		    "\"failure_rate\":0.5,\"run_avg_ms\":2,\"workers\":5,"
		    "\"paused\":false}}",
		.schedules = "{\"sync\":{\"missed\":0}}", .alerts = "[]",
		.dead_letters = 3, .disk_free = -1,
	};
}

/* Of its "problems". */
static const char *
problem(json_t *json, size_t i)
{
	return json_string_value(json_array_get(json_object_get(json,
	    "problems"), i));
}

static void
test_health_json_of_a_healthy_node(void **state)
{
	struct health h = good();
	json_t *json = build(&h);

	(void)state;
	assert_true(json_is_true(json_object_get(json, "healthy")));
	assert_string_equal(json_string_value(json_object_get(json, "at")),
	    "2026-11-21T10:00:00Z");
	assert_int_equal(json_integer_value(json_object_get(json,
	    "dead_letters")), 3);
	json_t *database = json_object_get(json, "database");
	assert_true(json_is_true(json_object_get(database, "up")));
	assert_true(json_is_null(json_object_get(database, "error")));
	assert_true(json_real_value(json_object_get(database,
	    "latency_ms")) > 1.0419);
	json_t *email = json_object_get(json_object_get(json, "queues"), "email");
	assert_int_equal(json_integer_value(json_object_get(email, "workers")), 5);
	assert_true(json_is_array(json_object_get(json, "alerts")));
	assert_int_equal(json_array_size(json_object_get(json, "problems")), 0);
	json_decref(json);
}

static void
test_health_json_without_a_database(void **state)
{
	struct health h = { .database_error = "says \"no\"\n\x01",
	    .database_latency_us = -1, .dead_letters = -1, .disk_free = -1 };
	json_t *json = build(&h);

	(void)state;
	assert_true(json_is_false(json_object_get(json, "healthy")));
	json_t *database = json_object_get(json, "database");
	assert_string_equal(json_string_value(json_object_get(database,
	    "error")), "says \"no\"\n\x01");
	assert_true(json_is_null(json_object_get(database, "latency_ms")));
	assert_true(json_is_object(json_object_get(json, "queues")));
	assert_true(json_is_object(json_object_get(json, "schedules")));
	assert_true(json_is_null(json_object_get(json, "dead_letters")));
	assert_int_equal(json_array_size(json_object_get(json, "problems")), 1);
	assert_string_equal(problem(json, 0), "database: it is not there");
	json_decref(json);
}

static void
test_health_json_with_a_queue_without_workers(void **state)
{
	struct health h = good();

	(void)state;
	h.no_workers = "email";
	json_t *json = build(&h);
	assert_true(json_is_false(json_object_get(json, "healthy")));
	assert_string_equal(problem(json, 0), "workers: none in email");
	json_decref(json);
}

static void
test_health_json_with_what_the_database_finds(void **state)
{
	struct health h = good();

	(void)state;
	h.problems = "clock: it is \"late\"; set it\nsize: large; why\n";
	json_t *json = build(&h);
	assert_true(json_is_true(json_object_get(json, "healthy")));
	assert_int_equal(json_array_size(json_object_get(json, "problems")), 2);
	assert_string_equal(problem(json, 0), "clock: it is \"late\"; set it");
	assert_string_equal(problem(json, 1), "size: large; why");
	json_decref(json);
}

static void
test_health_json_with_a_full_disk(void **state)
{
	struct health h = good();

	(void)state;
	h.disk_free = INT64_C(512) << 20;
	json_t *json = build(&h);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(
	    json, "database"), "disk_free")), INT64_C(512) << 20);
	assert_non_null(strstr(problem(json, 0), "disk: 512 MiB are left"));
	json_decref(json);
	h.disk_free = INT64_C(1) << 40;
	json = build(&h);
	assert_int_equal(json_array_size(json_object_get(json, "problems")), 0);
	json_decref(json);
	assert_true(health_disk_free("/") >= 0);
	assert_int_equal(health_disk_free("/none/such"), -1);
}

static void
test_health_json_with_a_wrong_clock(void **state)
{
	static const struct { int64_t ahead_us; const char *text; } clocks[] = {
		{ INT64_C(90500000), "clock: this host's is 90 s ahead of the " },
		{ INT64_C(-3000000), "clock: this host's is 3 s behind the " },
		{ INT64_C(2000000), NULL }, { INT64_C(-2000000), NULL },
	};
	struct health h = good();

	(void)state;
	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		h.clock_ahead_us = clocks[i].ahead_us;
		json_t *json = build(&h);
		if (clocks[i].text != NULL)
			assert_non_null(strstr(problem(json, 0), clocks[i].text));
		else
			assert_null(problem(json, 0));
		json_decref(json);
	}
}

static void
test_health_problem_takes_line_by_line(void **state)
{
	const char *rest = "a: b: c\nno colon", *none = "", *line;
	size_t len, subject;

	(void)state;
	line = health_problem(&rest, &len, &subject);
	assert_memory_equal(line, "a: b: c", len);
	assert_int_equal(len, 7);
	assert_int_equal(subject, 1);
	line = health_problem(&rest, &len, &subject);
	assert_memory_equal(line, "no colon", len);
	assert_int_equal(subject, 8);
	assert_null(health_problem(&rest, &len, &subject));
	assert_null(health_problem(&none, &len, &subject));
	none = NULL;
	assert_null(health_problem(&none, &len, &subject));
}

static void
test_health_write_replaces_the_file(void **state)
{
	char directory[] = "/tmp/test_health.XXXXXX", path[64], text[16];
	struct buf b = { 0 };
	struct stat st;
	struct err e;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/health.json", directory);
	mode_t mask = umask(077);
	buf_str(&b, "first and longer");
	assert_int_equal(health_write(path, &b, &e), 0);
	buf_reset(&b);
	buf_str(&b, "second");
	assert_int_equal(health_write(path, &b, &e), 0);
	umask(mask);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	assert_string_equal(fgets(text, sizeof(text), file), "second");
	fclose(file);
	unlink(path);
	/* and leaves nothing else behind */
	assert_int_equal(rmdir(directory), 0);
	assert_int_equal(health_write(path, &b, &e), -1);
	assert_non_null(strstr(e.msg, "No such file or directory"));
	buf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_health_json_of_a_healthy_node),
		cmocka_unit_test(test_health_json_without_a_database),
		cmocka_unit_test(test_health_json_with_a_queue_without_workers),
		cmocka_unit_test(test_health_json_with_what_the_database_finds),
		cmocka_unit_test(test_health_json_with_a_full_disk),
		cmocka_unit_test(test_health_json_with_a_wrong_clock),
		cmocka_unit_test(test_health_problem_takes_line_by_line),
		cmocka_unit_test(test_health_write_replaces_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
