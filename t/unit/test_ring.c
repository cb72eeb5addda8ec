/*
 * The ring of events: what a reader gets, by its place and its filter.
 */
#include "unit.h"

#include "api/ring.h"

static const struct ring_filter everything = {
	.kinds = 1u << RING_JOB | 1u << RING_QUEUE | 1u << RING_ALERT,
};

static void
add(struct ring *r, int64_t job, const char *queue, const char *tenant)
{
	char data[64];

	snprintf(data, sizeof(data), "{\"id\":%lld}", (long long)job);
	ring_add(r, &(struct ring_event){ RING_JOB, job, queue, "t", "ready", tenant, data });
}

static char *
read_all(const struct ring *r, uint64_t *place, const struct ring_filter *f)
{
	struct buf out = { 0 };

	assert_int_equal(ring_read(r, place, f, SIZE_MAX, &out), 0);
	return buf_detach(&out);
}

static void
expect(const struct ring *r, uint64_t place, const struct ring_filter *f,
    const char *text)
{
	char *got = read_all(r, &place, f);

	assert_string_equal(got, text);
	assert_int_equal(place, ring_next(r));
	free(got);
}

static void
test_ring_reads_in_order(void **state)
{
	struct ring *r = ring_new("a", 10, 10000);
	uint64_t place = 1;
	char *got;

	(void)state;
	add(r, 7, "work", NULL);
	ring_add(r, &(struct ring_event){ RING_QUEUE, .queue = "work", .data = "{}" });
	expect(r, 1, &everything, "id: a-1\nevent: job\ndata: {\"id\":7}\n\n"
	    "id: a-2\nevent: queue\ndata: {}\n\n");
	got = read_all(r, &place, &everything);
	free(got);
	assert_int_equal(place, 3);
	expect(r, place, &everything, "");
	add(r, 8, "work", NULL);
	expect(r, place, &everything, "id: a-3\nevent: job\ndata: {\"id\":8}\n\n");
	ring_free(r);
}

static void
test_ring_stops_where_there_is_enough(void **state)
{
	struct ring *r = ring_new("a", 100, 10000);
	struct buf out = { 0 };
	uint64_t place = 1;

	(void)state;
	for (int i = 1; i <= 50; i++)
		add(r, i, "work", NULL);
	assert_int_equal(ring_read(r, &place, &everything, 100, &out), 0);
	assert_true(out.len >= 100 && out.len < 200);
	assert_true(place > 1 && place < 10);
	buf_clear(&out);
	ring_free(r);
}

static void
test_ring_forgets_the_oldest(void **state)
{
	struct ring *r = ring_new("a", 10, 10000);
	struct buf out = { 0 };
	uint64_t place = 1;

	(void)state;
	for (int i = 1; i <= 1000; i++)
		add(r, i, "work", NULL);
	assert_int_equal(ring_next(r), 1001);
	assert_int_equal(ring_first(r), 991);
	assert_int_equal(ring_read(r, &place, &everything, 1, &out), -1);
	assert_int_equal(place, 1);
	ring_free(r);

	/* bytes count, too */
	r = ring_new("a", 1000, 200);
	for (int i = 1; i <= 1000; i++)
		add(r, i, "work", NULL);
	assert_true(ring_next(r) - ring_first(r) >= 5);
	assert_true(ring_next(r) - ring_first(r) <= 20);
	/* one that is larger than all there may be is still told */
	{
		char *large = calloc(1, 1001);

		memset(large, 'x', 1000);
		ring_add(r, &(struct ring_event){ RING_JOB, .data = large });
		free(large);
	}
	assert_int_equal(ring_next(r) - ring_first(r), 1);
	ring_free(r);
	buf_clear(&out);
}

static void
test_ring_filters(void **state)
{
	static const struct ring_event job = { RING_JOB, 7, "work", "mail", "ready",
		"acme", "{}" };
	static const struct ring_event queue = { RING_QUEUE, .queue = "work", .data = "{}" };
	static const struct ring_event alert = { RING_ALERT, .state = "firing", .data = "{}" };
	static const struct ring_event skipped = { RING_SKIPPED, .data = "{\"queue\":1}" };
	static const struct ring_event part = { RING_SKIPPED, .queue = "work", .data = "{}" };
	struct ring_filter f = everything;

	(void)state;
	assert_true(ring_wants(&f, &job) && ring_wants(&f, &queue) &&
	    ring_wants(&f, &alert) && ring_wants(&f, &skipped));
	f.queue = "a,work";
	assert_true(ring_wants(&f, &job) && ring_wants(&f, &queue) &&
	    ring_wants(&f, &skipped) && ring_wants(&f, &part));
	assert_false(ring_wants(&f, &alert));
	f.queue = "wor,workk";
	assert_false(ring_wants(&f, &job) || ring_wants(&f, &queue) || ring_wants(&f, &part));
	assert_true(ring_wants(&f, &skipped));
	f = everything;
	f.state = "dead,ready";
	assert_true(ring_wants(&f, &job));
	assert_false(ring_wants(&f, &queue) || ring_wants(&f, &alert));
	f.state = "read";
	assert_false(ring_wants(&f, &job));
	f = everything;
	f.type = "mail";
	assert_true(ring_wants(&f, &job));
	f.type = "mai";
	assert_false(ring_wants(&f, &job));
	f = everything;
	f.job = 7;
	assert_true(ring_wants(&f, &job));
	assert_false(ring_wants(&f, &queue));
	f.job = 8;
	assert_false(ring_wants(&f, &job));
	f = everything;
	f.kinds = 1u << RING_QUEUE;
	assert_true(ring_wants(&f, &queue));
	assert_false(ring_wants(&f, &job) || ring_wants(&f, &skipped));
}

static void
test_ring_tenant_sees_its_own(void **state)
{
	struct ring *r = ring_new("a", 10, 10000);
	struct ring_filter f = everything;

	(void)state;
	f.tenant = "acme";
	add(r, 1, "work", "acme");
	add(r, 2, "work", NULL);
	add(r, 3, "work", "other");
	ring_add(r, &(struct ring_event){ RING_QUEUE, .queue = "work", .data = "{}" });
	ring_add(r, &(struct ring_event){ RING_ALERT, .data = "{}" });
	ring_add(r, &(struct ring_event){ RING_SKIPPED, .data = "{\"queue\":\"work\"}" });
	expect(r, 1, &f, "id: a-1\nevent: job\ndata: {\"id\":1}\n\n"
	    "id: a-6\nevent: skipped\ndata: {}\n\n");
	ring_free(r);
}

static void
test_ring_ids(void **state)
{
	static const char *const bad[] = { "", "a", "a-", "b-5", "aa-5", "a-5x", "a-21",
		"a-9", "a--1", "a- 5", "a-99999999999999999999999", "-5" };
	struct ring *r = ring_new("a", 10, 10000);
	struct buf out = { 0 };
	uint64_t place;

	(void)state;
	assert_true(ring_find(r, "a-0", &place));
	assert_int_equal(place, 1);
	for (int i = 1; i <= 20; i++)
		add(r, i, "work", NULL);
	assert_true(ring_find(r, "a-10", &place));
	assert_int_equal(place, 11);
	assert_true(ring_find(r, "a-20", &place));
	assert_int_equal(place, 21);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(ring_find(r, bad[i], &place));
	ring_put_id(r, 21, &out);
	assert_string_equal(out.data, "id: a-20\n");
	buf_clear(&out);
	ring_free(r);
}

static void
test_ring_kinds(void **state)
{
	(void)state;
	assert_int_equal(ring_kinds("job"), 1u << RING_JOB);
	assert_int_equal(ring_kinds("alert,queue"), 1u << RING_QUEUE | 1u << RING_ALERT);
	assert_int_equal(ring_kinds("job,schedule"), 1u << RING_JOB | 1u << RING_SCHEDULE);
	assert_int_equal(ring_kind("alert"), RING_ALERT);
	assert_int_equal(ring_kind("alerts"), RING_KINDS);
	assert_int_equal(ring_kinds("job,"), 0);
	assert_int_equal(ring_kinds(""), 0);
	assert_int_equal(ring_kinds("skipped"), 0);
	assert_int_equal(ring_kinds("jobs"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ring_reads_in_order),
		cmocka_unit_test(test_ring_stops_where_there_is_enough),
		cmocka_unit_test(test_ring_forgets_the_oldest),
		cmocka_unit_test(test_ring_filters),
		cmocka_unit_test(test_ring_tenant_sees_its_own),
		cmocka_unit_test(test_ring_ids),
		cmocka_unit_test(test_ring_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
