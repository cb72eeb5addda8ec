/*
 * os/loop: watches, timers, signals, and leaving a parent's loop.
 */
#include "config.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/loop.h"

struct probe {
	struct loop *loop;
	struct watch *watch;
	struct timer *timer;
	int fired;
	char order[16];
};

static void
stop_fn(void *arg)
{
	struct probe *p = arg;

	p->fired++;
	loop_stop(p->loop);
}

static void
test_loop_timer_fires_once(void **state)
{
	struct probe p = { .loop = loop_new() };
	struct timer *t = timer_new(p.loop, stop_fn, &p);
	mono_t before = mono_now();

	(void)state;
	assert_false(timer_pending(t));
	timer_set(t, 5 * MONO_MS);
	assert_true(timer_pending(t));
	loop_run(p.loop);
	assert_int_equal(p.fired, 1);
	assert_false(timer_pending(t));
	assert_true(mono_now() - before >= 4 * MONO_MS);
	timer_free(t);
	timer_free(NULL);
	loop_free(p.loop);
	loop_free(NULL);
}

static void
note_a(void *arg)
{
	strcat(((struct probe *)arg)->order, "a");
}

static void
note_b(void *arg)
{
	strcat(((struct probe *)arg)->order, "b");
}

static void
test_loop_timers_in_order_moved_and_stopped(void **state)
{
	struct probe p = { .loop = loop_new() };
	struct timer *a = timer_new(p.loop, note_a, &p);
	struct timer *b = timer_new(p.loop, note_b, &p);
	struct timer *never = timer_new(p.loop, note_a, &p);
	struct timer *end = timer_new(p.loop, stop_fn, &p);

	(void)state;
	timer_set(a, 1 * MONO_MS);
	timer_set(a, 20 * MONO_MS);
	timer_set(b, 10 * MONO_MS);
	timer_set(never, 5 * MONO_MS);
	timer_stop(never);
	timer_set(end, 40 * MONO_MS);
	loop_run(p.loop);
	assert_string_equal(p.order, "ba");
	timer_free(a);
	timer_free(b);
	timer_free(never);
	timer_free(end);
	loop_free(p.loop);
}

static void
free_self(void *arg)
{
	struct probe *p = arg;

	timer_free(p->timer);
	p->timer = NULL;
	stop_fn(p);
}

static void
test_loop_timer_frees_itself(void **state)
{
	struct probe p = { .loop = loop_new() };

	(void)state;
	p.timer = timer_new(p.loop, free_self, &p);
	timer_set(p.timer, 0);
	loop_run(p.loop);
	assert_int_equal(p.fired, 1);
	loop_free(p.loop);
}

static void
readable(int fd, unsigned what, void *arg)
{
	struct probe *p = arg;
	char c;

	assert_int_equal(what, LOOP_READ);
	assert_int_equal(read(fd, &c, 1), 1);
	p->fired++;
	if (c != 'z')
		return;
	watch_free(p->watch);
	p->watch = NULL;
	loop_stop(p->loop);
}

static void
test_loop_watch_is_level_triggered(void **state)
{
	struct probe p = { .loop = loop_new() };
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	p.watch = watch_new(p.loop, fds[0], 0, readable, &p);
	assert_int_equal(write(fds[1], "xyz", 3), 3);
	watch_set(p.watch, LOOP_READ);
	loop_run(p.loop);
	assert_int_equal(p.fired, 3);
	close(fds[0]);
	close(fds[1]);
	loop_free(p.loop);
}

static void
writable(int fd, unsigned what, void *arg)
{
	struct probe *p = arg;

	(void)fd;
	assert_int_equal(what, LOOP_WRITE);
	watch_set(p->watch, 0);
	stop_fn(p);
}

static void
test_loop_watch_for_nothing_is_quiet(void **state)
{
	struct probe p = { .loop = loop_new() };
	struct timer *t = timer_new(p.loop, stop_fn, &p);
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	p.watch = watch_new(p.loop, fds[1], LOOP_WRITE, writable, &p);
	loop_run(p.loop);
	assert_int_equal(p.fired, 1);
	timer_set(t, 10 * MONO_MS);
	loop_run(p.loop);
	assert_int_equal(p.fired, 2);	/* the timer, not the watch */
	watch_free(p.watch);
	watch_free(NULL);
	timer_free(t);
	close(fds[0]);
	close(fds[1]);
	loop_free(p.loop);
}

static void
on_signal(int signo, void *arg)
{
	struct probe *p = arg;

	assert_int_equal(signo, SIGUSR2);
	stop_fn(p);
}

static void
raise_it(void *arg)
{
	(void)arg;
	kill(getpid(), SIGUSR2);
}

static void
test_loop_signal_is_called_from_the_loop(void **state)
{
	struct probe p = { .loop = loop_new() };
	struct timer *t = timer_new(p.loop, raise_it, &p);

	(void)state;
	loop_signal(p.loop, SIGUSR2, on_signal, &p);
	timer_set(t, 0);
	loop_run(p.loop);
	assert_int_equal(p.fired, 1);
	timer_free(t);
	loop_free(p.loop);
}

/* What a child does to its copy must not be felt by the parent. */
static void
test_loop_forked_leaves_the_parents_alone(void **state)
{
	struct probe p = { .loop = loop_new() };
	int fds[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	p.watch = watch_new(p.loop, fds[0], LOOP_READ, readable, &p);
	loop_signal(p.loop, SIGUSR2, on_signal, &p);
	if ((pid = fork()) == 0) {
		loop_forked(p.loop);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(write(fds[1], "z", 1), 1);
	loop_run(p.loop);
	assert_int_equal(p.fired, 1);
	kill(getpid(), SIGUSR2);
	loop_run(p.loop);
	assert_int_equal(p.fired, 2);
	close(fds[0]);
	close(fds[1]);
	loop_free(p.loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loop_timer_fires_once),
		cmocka_unit_test(test_loop_timers_in_order_moved_and_stopped),
		cmocka_unit_test(test_loop_timer_frees_itself),
		cmocka_unit_test(test_loop_watch_is_level_triggered),
		cmocka_unit_test(test_loop_watch_for_nothing_is_quiet),
		cmocka_unit_test(test_loop_signal_is_called_from_the_loop),
		cmocka_unit_test(test_loop_forked_leaves_the_parents_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
