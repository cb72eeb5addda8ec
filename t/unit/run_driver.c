/*
 * A leader for tests: runs one worker of a queue without a database or a
 * master.
 *
 *	run_driver FILE QUEUE [SLOT]
 *
 * takes one command a line on standard input and prints what the worker says,
 * one JSON object a line:
 *
 *	{"job":{"id":1,"type":"t","data":{…},"attempt":1,"timeout_ms":0,"tenant":"…"}}
 *	{"cancel":{"id":1,"attempt":1,"timeout":true}}
 *	{"hangup":{}}		as if the leader had died
 *
 * The end of the input lets the worker leave.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "conf/conf.h"
#include "core/jtext.h"
#include "core/msg.h"
#include "driver/driver.h"
#include "os/chan.h"
#include "os/loop.h"
#include "os/proc.h"
#include "worker/worker.h"

#define POOL 7

struct leader {
	struct loop *loop;
	struct chan *worker;
	struct watch *input;
	struct buf in;
	bool input_over;
};

static void
print_result(struct msg_reader *r, int64_t id, int64_t attempt)
{
	struct run_result result;
	struct buf b = { .len = 0 };
	int64_t run_us;

	msg_get_i64(r);			/* when it ended */
	run_us = msg_get_i64(r);
	if (msg_get_result(r, &result) < 0)
		fatal("malformed result", "id=%lld", (long long)id);
	buf_printf(&b, "{\"result\":{\"id\":%" PRId64 ",\"attempt\":%" PRId64
	    ",\"class\":\"%s\",\"message\":", id, attempt,
	    job_class_name(result.class));
	if (result.message != NULL)
		buf_json(&b, result.message, strlen(result.message));
	else
		buf_str(&b, "null");
	buf_printf(&b, ",\"retry_after_ms\":%" PRId64 ",\"exit_status\":%d,"
	    "\"signal\":%d,\"cpu_ms\":%" PRId64 ",\"max_rss_kb\":%" PRId64
	    ",\"run_us\":%" PRId64 ",\"result\":%s}}", result.retry_after_ms,
	    result.exit_status, result.signal, result.cpu_ms,
	    result.max_rss_kb, run_us, result.result ? result.result : "null");
	puts(b.data);
	buf_clear(&b);
	run_result_clear(&result);
}

static void
print_text(const char *what, struct msg_reader *r, int64_t id)
{
	int64_t pct = strcmp(what, "progress") == 0 ? msg_get_i64(r) : 0;
	char *text = msg_get_str(r);
	struct buf b = { .len = 0 };

	buf_printf(&b, "{\"%s\":{\"id\":%" PRId64 ",\"pct\":%" PRId64
	    ",\"text\":", what, id, pct);
	if (text != NULL)
		buf_json(&b, text, strlen(text));
	else
		buf_str(&b, "null");
	buf_str(&b, "}}");
	puts(b.data);
	buf_clear(&b);
	free(text);
}

static void
on_message(struct chan *c, uint32_t type, const void *body, size_t len, int fd,
    void *arg)
{
	struct msg_reader r;
	int64_t id, attempt;

	(void)c;
	(void)fd;
	(void)arg;
	msg_read(&r, body, len);
	id = msg_get_i64(&r);
	if (type == MSG_HELLO) {
		printf("{\"hello\":{\"pid\":%" PRId64 "}}\n", id);
		fflush(stdout);
		return;
	}
	attempt = msg_get_i64(&r);
	if (type == MSG_STARTED)
		printf("{\"started\":{\"id\":%" PRId64 "}}\n", id);
	else if (type == MSG_PROGRESS)
		print_text("progress", &r, id);
	else if (type == MSG_OUTPUT)
		print_text("output", &r, id);
	else if (type == MSG_RESULT)
		print_result(&r, id, attempt);
	fflush(stdout);
}

static void
on_closed(struct chan *c, const char *reason, void *arg)
{
	struct leader *l = arg;

	(void)reason;
	chan_free(c);
	l->worker = NULL;
	loop_stop(l->loop);
}

static int64_t
get_int(const json_t *map, const char *key, int64_t otherwise)
{
	const json_t *v = json_object_get(map, key);

	return v ? json_integer_value(v) : otherwise;
}

static void
send_job(struct leader *l, const char *line, const json_t *o)
{
	const char *type = json_string_value(json_object_get(o, "type"));
	const char *tenant = json_string_value(json_object_get(o, "tenant"));
	size_t len = 0, inner = 0;
	const char *text = jtext_member(line, "job", &len);
	const char *data = jtext_member(text, "data", &inner);
	struct job job = {
		.id = get_int(o, "id", 1), .batch = 1,
		.attempt = (int)get_int(o, "attempt", 1),
		.timeout_ms = (int)get_int(o, "timeout_ms", 0),
		.priority = 5, .type = xstrdup(type ? type : ""),
		.data = data ? xstrndup(data, inner) : xstrdup("{}"),
		.tenant = xstrdup(tenant),
	};
	struct buf b = { .len = 0 };

	msg_put_job(&b, &job, POOL);
	chan_send(l->worker, MSG_JOB, b.data, b.len, -1);
	buf_clear(&b);
	job_clear(&job);
}

static void
send_cancel(struct leader *l, const json_t *o)
{
	struct buf b = { .len = 0 };

	msg_put_i64(&b, get_int(o, "id", 1));
	msg_put_i64(&b, get_int(o, "attempt", 1));
	msg_put_u32(&b, json_is_true(json_object_get(o, "timeout")) ?
	    CLASS_TIMEOUT : CLASS_NONE);
	chan_send(l->worker, MSG_CANCEL, b.data, b.len, -1);
	buf_clear(&b);
}

static void
command(struct leader *l, const char *line)
{
	json_error_t why;
	json_t *all = json_loads(line, JSON_DECODE_INT_AS_REAL, &why), *o;

	json_decref(all);
	all = json_loads(line, 0, &why);
	if (all == NULL)
		fatal("not a command", "line=%s why=%s", line, why.text);
	if ((o = json_object_get(all, "job")) != NULL)
		send_job(l, line, o);
	else if ((o = json_object_get(all, "cancel")) != NULL)
		send_cancel(l, o);
	else if (json_object_get(all, "hangup") != NULL) {
		chan_free(l->worker);
		l->worker = NULL;
		loop_stop(l->loop);
	}
	json_decref(all);
}

static void
on_input(int fd, unsigned what, void *arg)
{
	struct leader *l = arg;
	char data[65536], *newline;
	ssize_t n = read(fd, data, sizeof(data));

	(void)what;
	if (n <= 0) {
		l->input_over = true;
		watch_free(l->input);
		l->input = NULL;
		if (l->worker != NULL)
			chan_send(l->worker, MSG_LEAVE, NULL, 0, -1);
		return;
	}
	buf_put(&l->in, data, (size_t)n);
	while (l->worker != NULL && l->in.len > 0 &&
	    (newline = memchr(l->in.data, '\n', l->in.len)) != NULL) {
		*newline = '\0';
		if (l->in.data[0] != '\0')
			command(l, l->in.data);
		buf_drop(&l->in, (size_t)(newline + 1 - l->in.data));
	}
}

static int
print_exit(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	printf("{\"exit\":{\"status\":%d,\"signal\":%d}}\n",
	    WIFEXITED(status) ? WEXITSTATUS(status) : -1,
	    WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	return 0;
}

static void
check_driver(const char *name, const struct node *options,
    struct conf_sink *sink)
{
	const struct driver *d = driver_find(name);

	if (d != NULL)
		d->check(options, sink);
}

int
main(int argc, char **argv)
{
	static const struct conf_drivers drivers = { driver_names, check_driver };
	static const struct chan_ops ops = { on_message, on_closed };
	struct leader l = { .loop = NULL };
	const struct queue_conf *queue;
	struct conf *conf;
	char *complaints = NULL;
	int fds[2];
	struct err e;
	struct stat st;
	pid_t pid;

	proc_title_init(argc, argv);
	if (argc < 3)
		fatal("usage: run_driver FILE QUEUE", "given=%d", argc - 1);
	conf = conf_load(argv[1], &drivers, &complaints);
	if (conf == NULL) {
		fputs(complaints, stderr);
		return 2;
	}
	queue = conf_queue(conf, argv[2]);
	if (queue == NULL)
		fatal("no such queue", "queue=%s", argv[2]);
	if (log_open("stderr", conf->log.level, conf->log.format, &e) < 0 ||
	    proc_pair(fds, &e) < 0)
		fatal("cannot start", "reason=%s", e.msg);
	signal(SIGPIPE, SIG_IGN);
	l.loop = loop_new();
	pid = proc_fork(l.loop, fds[1], -1, &e);
	if (pid < 0)
		fatal("cannot fork", "reason=%s", e.msg);
	if (pid == 0)
		exit(worker_main(conf, queue, argc > 3 ? atoi(argv[3]) : 0));
	close(fds[1]);
	l.worker = chan_new(l.loop, fds[0], &ops, &l);
	/* A file cannot be waited for, and need not be. */
	if (fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode))
		while (!l.input_over)
			on_input(STDIN_FILENO, LOOP_READ, &l);
	else
		l.input = watch_new(l.loop, STDIN_FILENO, LOOP_READ, on_input, &l);
	loop_run(l.loop);
	watch_free(l.input);
	buf_clear(&l.in);
	loop_free(l.loop);
	conf_free(conf);
	return print_exit(pid);
}
