#include "unit.h"

#include <limits.h>

#include "base/xalloc.h"
#include "core/msg.h"

static struct job
sample_job(void)
{
	return (struct job){
		.id = 42, .batch = 7, .attempt = 3, .charged = 2, .crashes = 1,
		.alone = true, .has_unique = true, .probe = true, .priority = 5,
		.max_attempts = 4, .timeout_ms = 1500, .late_ms = -3,
		.type = (char *)"email_notification",
		.data = (char *)"{\"to\":\"a@example.com\"}",
		.tenant = (char *)"acme",
	};
}

static struct run_result
sample_result(void)
{
	return (struct run_result){
		.class = CLASS_NETWORK, .message = (char *)"connection reset",
		.result = (char *)"{\"sent\":1}", .retry_after_ms = 30000,
		.exit_status = 69, .signal = 15, .cpu_ms = 12,
		.max_rss_kb = 4096,
	};
}

static void
test_msg_values_round_trip(void **state)
{
	struct buf b = { 0 };
	struct msg_reader r;
	char *s;

	(void)state;
	msg_put_u32(&b, 0);
	msg_put_u32(&b, UINT32_MAX);
	msg_put_i64(&b, INT64_MIN);
	msg_put_i64(&b, INT64_MAX);
	msg_put_str(&b, "caf\xc3\xa9");
	msg_put_str(&b, "");
	msg_put_str(&b, NULL);
	msg_put_bytes(&b, "abcdef", 3);
	msg_put_bytes(&b, NULL, 0);
	msg_read(&r, b.data, b.len);
	assert_int_equal(msg_get_u32(&r), 0);
	assert_int_equal(msg_get_u32(&r), UINT32_MAX);
	assert_true(msg_get_i64(&r) == INT64_MIN);
	assert_true(msg_get_i64(&r) == INT64_MAX);
	s = msg_get_str(&r);
	assert_string_equal(s, "caf\xc3\xa9");
	free(s);
	s = msg_get_str(&r);
	assert_string_equal(s, "");
	free(s);
	assert_null(msg_get_str(&r));
	assert_false(r.bad);
	assert_false(msg_end(&r));
	s = msg_get_str(&r);
	assert_string_equal(s, "abc");
	free(s);
	s = msg_get_str(&r);
	assert_string_equal(s, "");
	free(s);
	assert_true(msg_end(&r));
	buf_clear(&b);
}

static void
test_msg_empty_body(void **state)
{
	struct msg_reader r;

	(void)state;
	msg_read(&r, NULL, 0);
	assert_true(msg_end(&r));
	assert_int_equal(msg_get_u32(&r), 0);
	assert_true(r.bad);
	assert_false(msg_end(&r));
}

/* Once bad, always bad: what follows is not read as if nothing were amiss. */
static void
test_msg_bad_stays_bad(void **state)
{
	struct buf b = { 0 };
	struct msg_reader r;

	(void)state;
	msg_put_u32(&b, 6);
	buf_str(&b, "abc");
	msg_put_u32(&b, 1);
	msg_read(&r, b.data, 7);
	assert_null(msg_get_str(&r));
	assert_true(r.bad);
	assert_int_equal(msg_get_u32(&r), 0);
	assert_true(msg_get_i64(&r) == 0);
	assert_null(msg_get_str(&r));
	assert_false(msg_end(&r));
	buf_clear(&b);
}

static void
test_msg_refuses_nul_in_strings(void **state)
{
	struct buf b = { 0 };
	struct msg_reader r;

	(void)state;
	msg_put_bytes(&b, "a\0b", 3);
	msg_read(&r, b.data, b.len);
	assert_null(msg_get_str(&r));
	assert_true(r.bad);
	buf_clear(&b);
}

static void
test_msg_short_strings(void **state)
{
	struct buf b = { 0 };
	struct msg_reader r;
	char *s;

	(void)state;
	msg_put_str(&b, "abc");
	msg_put_str(&b, NULL);
	msg_put_str(&b, "abcd");
	msg_read(&r, b.data, b.len);
	s = msg_get_short(&r, 3);
	assert_string_equal(s, "abc");
	free(s);
	assert_null(msg_get_short(&r, 3));
	assert_false(r.bad);
	assert_null(msg_get_short(&r, 3));
	assert_true(r.bad);
	buf_clear(&b);
}

static void
test_msg_ranges(void **state)
{
	struct buf b = { 0 };
	struct msg_reader r;

	(void)state;
	msg_put_i64(&b, 5);
	msg_put_i64(&b, 11);
	msg_put_i64(&b, 5);
	msg_read(&r, b.data, b.len);
	assert_int_equal(msg_get_range(&r, 0, 10), 5);
	assert_int_equal(msg_get_range(&r, 0, 10), 0);
	assert_true(r.bad);
	assert_int_equal(msg_get_range(&r, 1, 10), 0);
	buf_clear(&b);
}

static void
test_msg_job_round_trip(void **state)
{
	struct job sent = sample_job(), got;
	struct buf b = { 0 };
	struct msg_reader r;
	int64_t pool = 0;

	(void)state;
	msg_put_job(&b, &sent, 99);
	msg_read(&r, b.data, b.len);
	assert_int_equal(msg_get_job(&r, &got, &pool), 0);
	assert_true(msg_end(&r));
	assert_int_equal(pool, 99);
	assert_int_equal(got.id, sent.id);
	assert_int_equal(got.batch, sent.batch);
	assert_int_equal(got.attempt, sent.attempt);
	assert_int_equal(got.charged, sent.charged);
	assert_int_equal(got.crashes, sent.crashes);
	assert_true(got.alone && got.has_unique && got.probe);
	assert_int_equal(got.priority, sent.priority);
	assert_int_equal(got.max_attempts, sent.max_attempts);
	assert_int_equal(got.timeout_ms, sent.timeout_ms);
	assert_int_equal(got.late_ms, sent.late_ms);
	assert_string_equal(got.type, sent.type);
	assert_string_equal(got.data, sent.data);
	assert_string_equal(got.tenant, sent.tenant);
	job_clear(&got);
	buf_clear(&b);
}

static int
pass_job(const struct job *job, int64_t pool)
{
	struct buf b = { 0 };
	struct msg_reader r;
	struct job got;
	int64_t from = -5;
	int rc;

	msg_put_job(&b, job, pool);
	msg_read(&r, b.data, b.len);
	rc = msg_get_job(&r, &got, &from);
	if (rc != 0) {
		struct job zeros = { 0 };

		assert_memory_equal(&got, &zeros, sizeof(got));
		assert_int_equal(from, -5);
	}
	job_clear(&got);
	buf_clear(&b);
	return rc;
}

static void
test_msg_job_ranges(void **state)
{
	struct job job;

	(void)state;
#define GOOD(member, value) (job = sample_job(), job.member = (value), \
	assert_int_equal(pass_job(&job, 1), 0))
#define BAD(member, value) (job = sample_job(), job.member = (value), \
	assert_int_equal(pass_job(&job, 1), -1))
	GOOD(tenant, NULL);
	GOOD(type, (char *)"");
	GOOD(id, INT64_MAX);
	GOOD(attempt, INT16_MAX);
	GOOD(priority, PRIORITY_MIN);
	GOOD(priority, PRIORITY_MAX);
	GOOD(max_attempts, INT_MAX);
	GOOD(timeout_ms, 0);
	BAD(id, 0);
	BAD(id, -1);
	BAD(batch, -1);
	BAD(attempt, 0);
	BAD(attempt, INT16_MAX + 1);
	BAD(charged, -1);
	BAD(crashes, INT_MAX);
	BAD(priority, PRIORITY_MAX + 1);
	BAD(priority, -1);
	BAD(max_attempts, -1);
	BAD(timeout_ms, INT_MIN);
	BAD(type, NULL);
	BAD(data, NULL);
#undef GOOD
#undef BAD
	job = sample_job();
	assert_int_equal(pass_job(&job, 0), -1);
}

static void
test_msg_result_round_trip(void **state)
{
	struct run_result sent = sample_result(), got;
	struct buf b = { 0 };
	struct msg_reader r;

	(void)state;
	msg_put_result(&b, &sent);
	run_result_init(&sent);
	msg_put_result(&b, &sent);
	msg_read(&r, b.data, b.len);
	assert_int_equal(msg_get_result(&r, &got), 0);
	assert_int_equal(got.class, CLASS_NETWORK);
	assert_string_equal(got.message, "connection reset");
	assert_string_equal(got.result, "{\"sent\":1}");
	assert_int_equal(got.retry_after_ms, 30000);
	assert_int_equal(got.exit_status, 69);
	assert_int_equal(got.signal, 15);
	assert_int_equal(got.cpu_ms, 12);
	assert_int_equal(got.max_rss_kb, 4096);
	run_result_clear(&got);
	assert_int_equal(msg_get_result(&r, &got), 0);
	assert_int_equal(got.class, CLASS_NONE);
	assert_null(got.message);
	assert_null(got.result);
	assert_int_equal(got.retry_after_ms, -1);
	assert_false(got.settled);
	assert_true(msg_end(&r));
	buf_reset(&b);
	sent.settled = true;
	msg_put_result(&b, &sent);
	msg_read(&r, b.data, b.len);
	assert_int_equal(msg_get_result(&r, &got), 0);
	assert_true(got.settled);
	assert_int_equal(got.class, CLASS_NONE);
	assert_false(got.alone);
	buf_reset(&b);
	run_result_init(&sent);
	sent.class = CLASS_LOST;
	sent.alone = true;
	msg_put_result(&b, &sent);
	msg_read(&r, b.data, b.len);
	assert_int_equal(msg_get_result(&r, &got), 0);
	assert_true(got.alone);
	assert_int_equal(got.class, CLASS_LOST);
	assert_false(got.settled);
	buf_clear(&b);
}

static int
pass_result(const struct run_result *result, struct run_result *got)
{
	struct buf b = { 0 };
	struct msg_reader r;
	int rc;

	msg_put_result(&b, result);
	msg_read(&r, b.data, b.len);
	rc = msg_get_result(&r, got);
	buf_clear(&b);
	return rc;
}

static void
test_msg_result_ranges(void **state)
{
	struct run_result result, got;

	(void)state;
#define BAD(member, value) (result = sample_result(), result.member = (value), \
	assert_int_equal(pass_result(&result, &got), -1), \
	assert_int_equal(got.class, CLASS_NONE), assert_null(got.message))
	BAD(class, (enum job_class)CLASS_COUNT);
	BAD(class, (enum job_class)-1);
	BAD(retry_after_ms, -2);
	BAD(exit_status, 256);
	BAD(exit_status, -2);
	BAD(signal, 65);
	BAD(signal, -1);
	BAD(cpu_ms, -2);
	BAD(max_rss_kb, INT64_MIN);
#undef BAD
}

static void
test_msg_result_lengths(void **state)
{
	struct run_result result = sample_result(), got;
	char *text = xcalloc(RESULT_MAX + 2, 1);

	(void)state;
	memset(text, 'x', RESULT_MESSAGE_MAX + 1);
	result.message = text;
	assert_int_equal(pass_result(&result, &got), -1);
	text[RESULT_MESSAGE_MAX] = '\0';
	assert_int_equal(pass_result(&result, &got), 0);
	run_result_clear(&got);

	result = sample_result();
	memset(text, '1', RESULT_MAX + 1);
	result.result = text;
	assert_int_equal(pass_result(&result, &got), -1);
	text[RESULT_MAX] = '\0';
	assert_int_equal(pass_result(&result, &got), 0);
	run_result_clear(&got);
	free(text);
}

static void
test_msg_result_is_cleaned(void **state)
{
	struct run_result result = sample_result(), got;

	(void)state;
	result.message = (char *)"a\xff";
	assert_int_equal(pass_result(&result, &got), 0);
	assert_string_equal(got.message, "a?");
	run_result_clear(&got);
}

static void
read_both(const char *body, size_t len)
{
	char *copy = exact(body, len, false);
	struct run_result result;
	struct msg_reader r;
	struct job job;
	int64_t pool;

	msg_read(&r, copy, len);
	if (msg_get_job(&r, &job, &pool) == 0) {
		assert_true(job.attempt >= 1 && job.id >= 1 && pool >= 1);
		assert_non_null(job.type);
		assert_non_null(job.data);
	}
	job_clear(&job);
	msg_read(&r, copy, len);
	if (msg_get_result(&r, &result) == 0)
		assert_in_range(result.class, 0, CLASS_COUNT - 1);
	run_result_clear(&result);
	free(copy);
}

static void
test_msg_cut_bodies(void **state)
{
	struct run_result result = sample_result(), got;
	struct job job = sample_job(), taken;
	struct buf a = { 0 }, b = { 0 };
	struct msg_reader r;
	int64_t pool;

	(void)state;
	msg_put_job(&a, &job, 1);
	msg_put_result(&b, &result);
	for (size_t len = 0; len < a.len; len++) {
		char *copy = exact(a.data, len, false);

		msg_read(&r, copy, len);
		assert_int_equal(msg_get_job(&r, &taken, &pool), -1);
		assert_null(taken.type);
		free(copy);
	}
	for (size_t len = 0; len < b.len; len++) {
		char *copy = exact(b.data, len, false);

		msg_read(&r, copy, len);
		assert_int_equal(msg_get_result(&r, &got), -1);
		assert_null(got.message);
		free(copy);
	}
	buf_clear(&a);
	buf_clear(&b);
}

static void
test_msg_mutated_bodies(void **state)
{
	struct run_result result = sample_result();
	struct job job = sample_job();
	struct buf b = { 0 };
	uint64_t seed = 2;
	char body[512];

	(void)state;
	for (int i = 0; i < 100000; i++) {
		buf_reset(&b);
		if (i % 2)
			msg_put_job(&b, &job, 1);
		else
			msg_put_result(&b, &result);
		assert_true(b.len < sizeof(body));
		memcpy(body, b.data, b.len);
		read_both(body, mutate(body, b.len, sizeof(body),
		    "\x01\x04\x7f\x80\xff", &seed));
	}
	buf_clear(&b);
}

/* Lengths and numbers at their edges, put anywhere. */
static void
test_msg_edge_values_anywhere(void **state)
{
	static const uint32_t edges[] = {
		0, 1, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff,
	};
	struct run_result result = sample_result();
	struct job job = sample_job();
	struct buf b = { 0 };

	(void)state;
	for (int kind = 0; kind < 2; kind++) {
		buf_reset(&b);
		if (kind)
			msg_put_job(&b, &job, 1);
		else
			msg_put_result(&b, &result);
		for (size_t at = 0; at + 4 <= b.len; at++)
			for (size_t n = 0; n < 6; n++) {
				char *copy = exact(b.data, b.len, false);

				memcpy(copy + at, &edges[n], 4);
				read_both(copy, b.len);
				free(copy);
			}
	}
	buf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_msg_values_round_trip),
		cmocka_unit_test(test_msg_empty_body),
		cmocka_unit_test(test_msg_bad_stays_bad),
		cmocka_unit_test(test_msg_refuses_nul_in_strings),
		cmocka_unit_test(test_msg_short_strings),
		cmocka_unit_test(test_msg_ranges),
		cmocka_unit_test(test_msg_job_round_trip),
		cmocka_unit_test(test_msg_job_ranges),
		cmocka_unit_test(test_msg_result_round_trip),
		cmocka_unit_test(test_msg_result_ranges),
		cmocka_unit_test(test_msg_result_lengths),
		cmocka_unit_test(test_msg_result_is_cleaned),
		cmocka_unit_test(test_msg_cut_bodies),
		cmocka_unit_test(test_msg_mutated_bodies),
		cmocka_unit_test(test_msg_edge_values_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
