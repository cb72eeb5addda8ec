/*
 * Notices between the monitor, a master and workers that are played here: what
 * is asked for and said, in which order, and what becomes of failures.
 */
#include "unit.h"

#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "core/msg.h"
#include "monitor/notify.h"
#include "os/chan.h"
#include "os/proc.h"

#define PATIENCE (20 * MONO_SECOND)
#define PID 4711

static char *addresses[] = { "a@example.com", "b@example.com" };
static char *argv[] = { "/bin/page" };
static struct channel_conf channels[] = {
	{ .name = "chat", .webhook = "https://example.com/x", .webhook_file = "",
	    .timeout_ms = 1000 },
	{ .name = "mail", .webhook = "", .webhook_file = "", .email = addresses,
	    .nemail = 2, .timeout_ms = 30000 },
	{ .name = "page", .webhook = "", .webhook_file = "", .exec = argv,
	    .nexec = 1, .timeout_ms = 30000 },
};

/* A message that came, from the monitor to its master or to a worker. */
struct heard {
	uint32_t type;
	char *body;
	size_t len;
};

struct end {
	struct chan *chan;
	struct heard heard[1000];
	size_t n, seen;
	bool closed;
};

static struct conf conf;
static struct service service;
static struct notify *notify;
static struct end master, worker;
static struct timer *timeout;
static char ends[2000];		/* of done(): "+" or "-" and the reason, a line each */
static bool left;

static void
hear(struct chan *c, uint32_t type, const void *body, size_t len, int fd, void *arg)
{
	struct end *e = arg;
	struct heard *h = &e->heard[e->n++];

	(void)c;
	assert_int_equal(fd, -1);
	*h = (struct heard){ .type = type, .len = len, .body = xmalloc(len + 1) };
	memcpy(h->body, body, len);
	loop_stop(service.loop);
}

static void
closed(struct chan *c, const char *reason, void *arg)
{
	struct end *e = arg;

	(void)reason;
	chan_free(c);
	e->chan = NULL;
	e->closed = true;
	loop_stop(service.loop);
}

static const struct chan_ops ops = { hear, closed };

static void
ignore(struct chan *c, uint32_t type, const void *body, size_t len, int fd, void *arg)
{
	(void)c, (void)type, (void)body, (void)len, (void)fd, (void)arg;
}

static void
stop_loop(void *arg)
{
	loop_stop(arg);
}

static void
on_timeout(void *arg)
{
	(void)arg;
	fail_msg("nothing came; done so far: %s", ends);
}

static void
done(const char *error, void *arg)
{
	size_t len = strlen(ends);

	snprintf(ends + len, sizeof(ends) - len, "%s%s%s\n", (char *)arg,
	    error ? "-" : "+", error ? error : "");
}

static void
gone(void *arg)
{
	(void)arg;
	left = true;
	loop_stop(service.loop);
}

static void
drop(struct end *e)
{
	for (size_t i = 0; i < e->n; i++)
		free(e->heard[i].body);
	chan_free(e->chan);
	*e = (struct end){ .chan = NULL };
}

static int
begin(void **state)
{
	static const struct chan_ops nothing = { ignore, closed };
	int fds[2];
	struct err e;

	(void)state;
	conf = (struct conf){ .read = { .channels = channels, .nchannels = 3 } };
	service = (struct service){ .conf = &conf, .loop = loop_new() };
	if (proc_pair(fds, &e) != 0)
		return -1;
	service.master = chan_new(service.loop, fds[0], &nothing, NULL);
	master.chan = chan_new(service.loop, fds[1], &ops, &master);
	timeout = timer_new(service.loop, on_timeout, NULL);
	notify = notify_new(&conf, &service);
	ends[0] = '\0';
	left = false;
	return 0;
}

static int
end(void **state)
{
	(void)state;
	notify_free(notify);
	timer_free(timeout);
	drop(&master);
	drop(&worker);
	chan_free(service.master);
	loop_free(service.loop);
	return 0;
}

/* The next message of an end. */
static struct msg_reader
next(struct end *e, uint32_t type)
{
	struct msg_reader r;
	struct heard *h;

	timer_set(timeout, PATIENCE);
	while (e->seen == e->n)
		loop_run(service.loop);
	h = &e->heard[e->seen++];
	if (h->type != type)
		fail_msg("message %u, not %u", h->type, type);
	msg_read(&r, h->body, h->len);
	return r;
}

/* Give all a chance to say something, which they do not. */
static void
settle(void)
{
	for (int i = 0; i < 5; i++) {
		struct timer *t = timer_new(service.loop,
		    stop_loop, service.loop);

		timer_set(t, 0);
		loop_run(service.loop);
		timer_free(t);
	}
}

static void
send_notice(const char *channel, const char *subject)
{
	struct notice n = { .subject = subject, .text = "text" };

	notify_send(notify, channel, &n, done, (void *)subject);
}

/* A worker is asked for, comes, and says hello. */
static void
give_worker(uint32_t slot)
{
	struct msg_reader r = next(&master, MSG_SPAWN);
	struct buf b = { 0 };
	struct err e;
	int fds[2];

	assert_int_equal(msg_get_u32(&r), slot);
	assert_true(msg_end(&r));
	drop(&worker);
	assert_int_equal(proc_pair(fds, &e), 0);
	worker.chan = chan_new(service.loop, fds[0], &ops, &worker);
	msg_put_u32(&b, slot);
	msg_put_i64(&b, PID);
	msg_read(&r, b.data, b.len);
	assert_true(notify_message(notify, MSG_SPAWNED, &r, fds[1]));
	buf_reset(&b);
	msg_put_i64(&b, PID);
	msg_put_u32(&b, 1);
	msg_put_u32(&b, 1);
	msg_put_str(&b, NULL);
	chan_send(worker.chan, MSG_HELLO, b.data, b.len, -1);
	buf_clear(&b);
}

/* It has ended, as the master sees it. */
static void
bury(uint32_t slot, int status)
{
	struct msg_reader r;
	struct buf b = { 0 };

	chan_free(worker.chan);
	worker.chan = NULL;
	settle();
	msg_put_u32(&b, slot);
	msg_put_i64(&b, PID);
	msg_put_i64(&b, status);
	msg_put_i64(&b, 1);
	msg_put_i64(&b, 1);
	msg_read(&r, b.data, b.len);
	assert_true(notify_message(notify, MSG_EXITED, &r, -1));
	buf_clear(&b);
}

/* The job that the worker gets; its data has this text. */
static int64_t
get_job(const char *type, const char *text)
{
	struct msg_reader r = next(&worker, MSG_JOB);
	struct job job;
	int64_t pool, id;

	assert_int_equal(msg_get_job(&r, &job, &pool), 0);
	assert_true(msg_end(&r));
	assert_string_equal(job.type, type);
	assert_int_equal(job.attempt, 1);
	if (strstr(job.data, text) == NULL)
		fail_msg("%s is not in %s", text, job.data);
	id = job.id;
	job_clear(&job);
	return id;
}

static void
answer(int64_t id, enum job_class class, const char *message, const char *result)
{
	struct run_result r;
	struct buf b = { 0 };

	run_result_init(&r);
	r.class = class;
	r.message = xstrdup(message);
	r.result = xstrdup(result);
	msg_put_i64(&b, id);
	msg_put_i64(&b, 1);
	msg_put_i64(&b, mono_now());
	msg_put_i64(&b, 1000);
	msg_put_result(&b, &r);
	msg_put_str(&b, NULL);
	chan_send(worker.chan, MSG_RESULT, b.data, b.len, -1);
	run_result_clear(&r);
	buf_clear(&b);
}

static void
wait_ends(const char *expected)
{
	timer_set(timeout, PATIENCE);
	while (strlen(ends) < strlen(expected)) {
		struct timer *t = timer_new(service.loop,
		    stop_loop, service.loop);

		timer_set(t, 10 * MONO_MS);
		loop_run(service.loop);
		timer_free(t);
	}
	assert_string_equal(ends, expected);
}

static void
test_notify_order(void **state)
{
	int64_t id;

	(void)state;
	send_notice("chat", "one");
	send_notice("chat", "two");
	give_worker(0);
	id = get_job("chat", "\"one\"");
	settle();
	assert_int_equal(worker.seen, worker.n);	/* one at a time */
	answer(id, CLASS_NONE, NULL, NULL);
	answer(get_job("chat", "\"two\""), CLASS_NONE, NULL, NULL);
	wait_ends("one+\ntwo+\n");
	/* The next one finds the worker there; another channel has another. */
	send_notice("chat", "three");
	answer(get_job("chat", "\"three\""), CLASS_NONE, NULL, NULL);
	wait_ends("one+\ntwo+\nthree+\n");
	send_notice("page", "four");
	give_worker(2);
	answer(get_job("page", "\"four\""), CLASS_NONE, NULL, NULL);
	wait_ends("one+\ntwo+\nthree+\nfour+\n");
}

static void
test_notify_no_channel(void **state)
{
	(void)state;
	send_notice("nobody", "x");
	assert_string_equal(ends, "x-there is no such channel\n");
}

static void
test_notify_again(void **state)
{
	mono_t from;
	int64_t id;

	(void)state;
	send_notice("chat", "one");
	send_notice("chat", "two");
	give_worker(0);
	id = get_job("chat", "\"one\"");
	from = mono_now();
	answer(id, CLASS_NETWORK, "no route", NULL);
	assert_int_equal(get_job("chat", "\"one\""), id);	/* the same id */
	assert_true(mono_now() - from > 1500 * MONO_MS);	/* after 2 s, less a fifth */
	answer(id, CLASS_NONE, NULL, NULL);
	/* What will not get better is not tried again. */
	answer(get_job("chat", "\"two\""), CLASS_VALIDATION, "HTTP 404", NULL);
	wait_ends("one+\ntwo-HTTP 404\n");
}

static void
test_notify_errors_few(void **state)
{
	int64_t id;

	(void)state;
	send_notice("page", "one");
	give_worker(2);
	id = get_job("page", "one");
	answer(id, CLASS_ERROR, "exit status 1", NULL);
	answer(get_job("page", "one"), CLASS_ERROR, "exit status 1", NULL);
	answer(get_job("page", "one"), CLASS_ERROR, "exit status 1", NULL);
	wait_ends("one-exit status 1\n");
}

static void
test_notify_recipients(void **state)
{
	(void)state;
	send_notice("mail", "one");
	give_worker(1);
	answer(get_job("mail", "\"to\":[\"a@example.com\",\"b@example.com\"]"),
	    CLASS_NETWORK, "deferred", "{\"recipients\":{\"a@example.com\":"
	    "{\"state\":\"accepted\"},\"b@example.com\":{\"state\":\"deferred\"}}}");
	answer(get_job("mail", "\"to\":[\"b@example.com\"]"), CLASS_NONE, NULL, NULL);
	wait_ends("one+\n");
}

static void
test_notify_worker_dies(void **state)
{
	int64_t id;

	(void)state;
	send_notice("chat", "one");
	give_worker(0);
	id = get_job("chat", "one");
	bury(0, SIGSEGV);
	next(&master, MSG_KILL);	/* it could have lived without its channel */
	give_worker(0);
	assert_int_equal(get_job("chat", "one"), id);
	answer(id, CLASS_NONE, NULL, NULL);
	wait_ends("one+\n");
}

/* Too slow: asked to end, then killed, then another worker tries it. */
static void
test_notify_too_slow(void **state)
{
	struct msg_reader r;
	int64_t id;

	(void)state;
	send_notice("chat", "one");
	give_worker(0);
	id = get_job("chat", "one");
	r = next(&worker, MSG_CANCEL);
	assert_int_equal(msg_get_i64(&r), id);
	next(&master, MSG_KILL);
	bury(0, SIGKILL);
	give_worker(0);
	answer(get_job("chat", "one"), CLASS_NONE, NULL, NULL);
	wait_ends("one+\n");
}

static void
test_notify_nonsense(void **state)
{
	struct msg_reader r;
	struct buf b = { 0 };

	(void)state;
	send_notice("chat", "one");
	give_worker(0);
	answer(get_job("chat", "one") + 1, CLASS_NONE, NULL, NULL);
	r = next(&master, MSG_KILL);
	assert_int_equal(msg_get_u32(&r), 0);
	assert_int_equal(msg_get_i64(&r), PID);
	assert_int_equal(msg_get_i64(&r), SIGKILL);
	bury(0, SIGKILL);
	give_worker(0);
	get_job("chat", "one");
	assert_string_equal(ends, "");
	/* Nor is the master believed. */
	msg_put_u32(&b, 3);
	msg_put_i64(&b, PID);
	msg_read(&r, b.data, b.len);
	assert_false(notify_message(notify, MSG_SPAWNED, &r, -1));
	assert_false(notify_message(notify, MSG_EXITED, &r, -1));
	assert_false(notify_message(notify, MSG_WAKE, &r, -1));
	buf_clear(&b);
}

/* The oldest make room, but not the one that is on its way. */
static void
test_notify_bounded(void **state)
{
	(void)state;
	send_notice("chat", "first");
	give_worker(0);
	get_job("chat", "first");
	send_notice("chat", "second");
	for (int i = 0; i < 298; i++)
		send_notice(i % 2 ? "page" : "mail", "more");
	assert_string_equal(ends, "");
	send_notice("chat", "last");
	assert_string_equal(ends, "second-too many notices wait\n");
}

static void
test_notify_stop(void **state)
{
	int64_t id;

	(void)state;
	notify_stop(notify, 0, gone, NULL);
	timer_set(timeout, PATIENCE);
	while (!left)
		loop_run(service.loop);		/* nothing to do */
	left = false;
	end(state);
	begin(state);
	send_notice("chat", "one");
	send_notice("chat", "two");
	send_notice("chat", "three");
	give_worker(0);
	id = get_job("chat", "one");
	answer(id, CLASS_NETWORK, "no route", NULL);
	settle();
	/* It would be tried again in two seconds; now is now. */
	notify_stop(notify, 500, gone, NULL);
	assert_int_equal(get_job("chat", "one"), id);
	answer(id, CLASS_NETWORK, "no route", NULL);
	answer(get_job("chat", "two"), CLASS_NONE, NULL, NULL);
	get_job("chat", "three");		/* … which never ends */
	timer_set(timeout, PATIENCE);
	while (!left)
		loop_run(service.loop);
	assert_string_equal(ends, "one-no route\ntwo+\nthree-the monitor stops\n");
}

int
main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_notify_order),
		TEST(test_notify_no_channel),
		TEST(test_notify_again),
		TEST(test_notify_errors_few),
		TEST(test_notify_recipients),
		TEST(test_notify_worker_dies),
		TEST(test_notify_too_slow),
		TEST(test_notify_nonsense),
		TEST(test_notify_bounded),
		TEST(test_notify_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
