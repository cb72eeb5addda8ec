/*
 * The board, also between processes: nothing that was counted is missing, and
 * a page is read whole while another process replaces it.
 */
#include "unit.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/board.h"

static void
test_board_without_one(void **state)
{
	struct buf b = { 0 };

	(void)state;
	assert_int_equal(board_add("a"), 0);
	assert_int_equal(board_seat_take("a"), 0);
	board_finished(board_queue("a"), "t", BOARD_COMPLETED);
	board_ran(board_queue("a"), 1);
	board_set_state(BOARD_READY);
	assert_int_equal(board_state(), BOARD_STARTING);
	assert_int_equal(board_publish(BOARD_HEALTH, "x", 1, NULL), 0);
	assert_int_equal(board_read(BOARD_HEALTH, &b), -1);
	assert_int_equal(board_count(), 0);
	buf_clear(&b);
}

static const struct board_type *
type_named(const struct board_queue *q, const char *name)
{
	for (int i = 0; i < BOARD_TYPES; i++)
		if (q->types[i].named && strcmp(q->types[i].name, name) == 0)
			return &q->types[i];
	return NULL;
}

#define CHILDREN 4
#define EACH 20000

/* Several leaders of one queue, which meet the same new types at once. */
static void
test_board_counts_of_processes_add_up(void **state)
{
	struct board_queue *q;
	uint64_t sum = 0, runs = 0;

	(void)state;
	assert_int_equal(board_add("busy"), 0);
	assert_int_equal(board_add("busy"), 0);
	q = board_queue("busy");
	for (int i = 0; i < CHILDREN; i++)
		if (fork() == 0) {
			for (int k = 0; k < EACH; k++) {
				char type[32];

				snprintf(type, sizeof(type), "type-%d", k % 10);
				board_finished(q, type, BOARD_COMPLETED);
				board_ran(q, k);
			}
			_exit(0);
		}
	for (int i = 0; i < CHILDREN; i++)
		wait(NULL);
	for (int i = 0; i < 10; i++) {
		char type[32];

		snprintf(type, sizeof(type), "type-%d", i);
		assert_non_null(type_named(q, type));
		sum += type_named(q, type)->finished[BOARD_COMPLETED];
	}
	sum += q->other.finished[BOARD_COMPLETED];
	assert_int_equal(sum, CHILDREN * EACH);
	/* While a name was written by another, a few counted there. */
	assert_true(q->other.finished[BOARD_COMPLETED] < CHILDREN * EACH / 100);
	for (int i = 0; i <= BOARD_BOUNDS; i++)
		runs += q->run.counts[i];
	assert_int_equal(runs, CHILDREN * EACH);
	assert_int_equal(q->run.sum_us, CHILDREN * ((uint64_t)EACH * (EACH - 1) / 2));
}

static void
test_board_types_are_bounded(void **state)
{
	struct board_queue *q;
	char type[400];
	int named = 0;

	(void)state;
	board_add("many");
	q = board_queue("many");
	board_finished(q, BOARD_OTHER, BOARD_DEAD);
	assert_int_equal(q->other.finished[BOARD_DEAD], 1);
	for (int i = 0; i < 1000; i++) {
		snprintf(type, sizeof(type), "%d", i);
		board_finished(q, type, BOARD_FAILED);
		board_finished(q, type, BOARD_FAILED);
	}
	for (int i = 0; i < BOARD_TYPES; i++) {
		named += q->types[i].named;
		assert_int_equal(q->types[i].finished[BOARD_FAILED], 2);
	}
	assert_int_equal(named, BOARD_TYPES);
	assert_int_equal(q->other.finished[BOARD_FAILED], 2 * (1000 - BOARD_TYPES));
	board_add("told");
	board_expect("told", "mail");
	assert_int_equal(type_named(board_queue("told"), "mail")->finished[0], 0);
	/* Types by turns, the one without a name after the others, too. */
	board_add("turns");
	q = board_queue("turns");
	for (int i = 0; i < 30; i++)
		board_finished(q, i % 3 == 0 ? "a" : i % 3 == 1 ? BOARD_OTHER : "",
		    BOARD_LOST);
	assert_int_equal(type_named(q, "a")->finished[BOARD_LOST], 10);
	assert_int_equal(type_named(q, "")->finished[BOARD_LOST], 10);
	assert_int_equal(q->other.finished[BOARD_LOST], 10);
	/* One that is too long for its place is no other's. */
	board_add("long");
	q = board_queue("long");
	memset(type, 'x', sizeof(type) - 1);
	type[sizeof(type) - 1] = '\0';
	board_finished(q, type, BOARD_COMPLETED);
	board_finished(q, "", BOARD_COMPLETED);
	assert_int_equal(type_named(q, "")->finished[BOARD_COMPLETED], 1);
}

static void
test_board_buckets(void **state)
{
	struct board_queue *q;

	(void)state;
	board_add("slow");
	q = board_queue("slow");
	board_ran(q, 1000);		/* up to and with a millisecond */
	board_ran(q, 1001);
	board_ran(q, INT64_C(3600000001));
	board_ran(q, -5);		/* a clock that was set back */
	assert_int_equal(q->run.counts[0], 2);
	assert_int_equal(q->run.counts[1], 1);
	assert_int_equal(q->run.counts[BOARD_BOUNDS], 1);
	board_waited(q, 2000000, 7);
	assert_int_equal(q->wait.sum_us, 14000000);
}

static void
test_board_seats(void **state)
{
	const uint32_t mine[BOARD_WORKER_STATES] = { 0, 3, 2, 0 };
	uint64_t n[BOARD_WORKER_STATES];
	size_t queue = 0;
	int old, new;

	(void)state;
	board_add("seated");
	while (strcmp(board_at(queue)->name, "seated") != 0)
		queue++;
	assert_int_equal(board_seat_take("no such queue"), 0);
	old = board_seat_take("seated");
	new = board_seat_take("seated");
	assert_true(old > 0 && new > 0 && old != new);
	for (int seat = old;; seat = new) {
		if (fork() == 0) {
			board_enter(seat);
			board_seat_workers(mine);
			_exit(0);
		}
		wait(NULL);
		if (seat == new)
			break;
	}
	board_count_workers(queue, n);
	assert_int_equal(n[BOARD_WORKER_IDLE], 6);
	assert_int_equal(n[BOARD_WORKER_BUSY], 4);
	board_seat_leave(old);
	board_count_workers(queue, n);
	assert_int_equal(n[BOARD_WORKER_IDLE], 3);
	/* Whoever gets the seat next begins with nothing. */
	assert_int_equal(board_seat_take("seated"), old);
	board_count_workers(queue, n);
	assert_int_equal(n[BOARD_WORKER_IDLE], 3);
	board_seat_leave(old);
	board_seat_leave(new);
}

static void
test_board_pages_are_whole(void **state)
{
	struct buf b = { 0 };
	pid_t writer;
	struct err e;

	(void)state;
	assert_int_equal(board_read(BOARD_HEALTH, &b), -1);
	assert_int_equal(board_publish(BOARD_HEALTH, "{}", 2, &e), 0);
	assert_true(board_read(BOARD_HEALTH, &b) >= 0);
	assert_string_equal(b.data, "{}");
	if ((writer = fork()) == 0)
		for (char c = 'a';; c = c == 'z' ? 'a' : (char)(c + 1)) {
			static char text[10000];
			size_t len = 1 + (size_t)(c - 'a') * 300;

			memset(text, c, len);
			board_publish(BOARD_HEALTH, text, len, NULL);
			usleep(10);
		}
	for (int i = 0; i < 20000; i++) {
		if (board_read(BOARD_HEALTH, &b) < 0 || b.data[0] == '{')
			continue;
		assert_int_equal(b.len, 1 + (size_t)(b.data[0] - 'a') * 300);
		assert_int_equal(strspn(b.data, (char[]){ b.data[0], '\0' }), b.len);
	}
	kill(writer, SIGKILL);
	waitpid(writer, NULL, 0);
	/* One that is too large leaves nothing old behind. */
	assert_int_equal(board_publish(BOARD_HEALTH, b.data, BOARD_PAGE_MAX + 1, &e), -1);
	assert_true(board_read(BOARD_HEALTH, &b) >= 0);
	assert_int_equal(b.len, 0);
	buf_clear(&b);
}

static void
test_board_cpu_never_goes_back(void **state)
{
	(void)state;
	assert_int_equal(board_cpu_us(100), 100);
	assert_int_equal(board_cpu_us(90), 100);
	assert_int_equal(board_cpu_us(110), 110);
}

static void
test_board_is_bounded(void **state)
{
	char name[32];
	int added = 0;

	(void)state;
	for (int i = 0; i < 2 * BOARD_MORE_QUEUES; i++) {
		snprintf(name, sizeof(name), "q%d", i);
		added += board_add(name) == 0;
	}
	assert_true(added < 2 * BOARD_MORE_QUEUES && added > BOARD_MORE_QUEUES / 2);
	assert_int_equal(board_add("q0"), 0);
	/* What has no place is counted nowhere, and harms nobody. */
	board_finished(board_queue("no place"), "t", BOARD_COMPLETED);
	assert_null(type_named(board_queue("q0"), "t"));
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
	const struct CMUnitTest without[] = {
		cmocka_unit_test(test_board_without_one),
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_board_counts_of_processes_add_up),
		cmocka_unit_test(test_board_types_are_bounded),
		cmocka_unit_test(test_board_buckets),
		cmocka_unit_test(test_board_seats),
		cmocka_unit_test(test_board_pages_are_whole),
		cmocka_unit_test(test_board_cpu_never_goes_back),
		cmocka_unit_test(test_board_is_bounded),
	};

	return cmocka_run_group_tests(without, NULL, NULL) +
	    cmocka_run_group_tests(tests, make, NULL);
}
