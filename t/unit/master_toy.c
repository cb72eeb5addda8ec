/*
 * The real master with toy processes, for tests that need no database. What
 * a toy does is read from files in the directory $TOY, by its name (setup,
 * pool, worker, sched, monitor, api; or pool.QUEUE, worker.QUEUE) when it starts:
 *
 *	exit N		leave at once with that status
 *	hang		never READY, and no answer to a PING
 *	deaf		READY, but no answer to a PING
 *	dozes		READY, but no answer to the first one
 *	stubborn	ignores STOP, SIGTERM and the end of its channel
 *	brood		a worker: leaves daemons behind that ignore signals
 *	linger		a worker: when its leader is gone, stays while $TOY/linger is there
 *	chatter		a leader: a message that nobody knows
 *
 * What the master tells them is appended to $TOY/heard, a line each.
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "core/msg.h"
#include "driver/driver.h"
#include "master/master.h"
#include "os/chan.h"
#include "os/loop.h"
#include "os/proc.h"

#define TOY_WORKERS 1000

struct toy {
	struct loop *loop;
	struct chan *master;
	char what[64];
	bool pinged;
	const char *name;
	const struct queue_conf *queue;
	struct chan *workers[TOY_WORKERS];
	int nworkers;
	uint32_t size;
	bool stopping;
};

static bool
does(const struct toy *t, const char *word)
{
	return strncmp(t->what, word, strlen(word)) == 0;
}

static bool
read_what(const char *name, const char *queue, char *what, size_t size)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s%s%s", getenv("TOY"), name,
	    queue ? "." : "", queue ? queue : "");
	if ((f = fopen(path, "re")) == NULL)
		return false;
	if (fgets(what, (int)size, f) == NULL)
		what[0] = '\0';
	fclose(f);
	return true;
}

static void
heard(const char *fmt, ...)
{
	char path[512], line[256];
	va_list ap;
	size_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/heard", getenv("TOY"));
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	n = strlen(line);
	line[n] = '\n';
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, line, n + 1) < 0)
		_exit(1);
	close(fd);
}

static void
send_u32(struct chan *c, enum msg_type type, uint32_t value)
{
	struct buf b = { 0 };

	msg_put_u32(&b, value);
	chan_send(c, type, b.data, b.len, -1);
	buf_clear(&b);
}

static void
maybe_leave(struct toy *t)
{
	if (t->stopping && t->nworkers == 0)
		loop_stop(t->loop);
}

static void
stop(struct toy *t, struct msg_reader *r)
{
	heard("%s stop %lld", t->name, (long long)msg_get_i64(r));
	if (does(t, "stubborn"))
		return;
	t->stopping = true;
	for (int i = 0; i < TOY_WORKERS; i++)
		if (t->workers[i] != NULL)
			chan_send(t->workers[i], MSG_LEAVE, NULL, 0, -1);
	maybe_leave(t);
}

static void
worker_message(struct chan *c, uint32_t type, const void *body, size_t len,
    int fd, void *arg)
{
	(void)c, (void)type, (void)body, (void)len, (void)fd, (void)arg;
}

static void
worker_closed(struct chan *c, const char *reason, void *arg)
{
	struct toy *t = arg;

	(void)reason;
	for (int i = 0; i < TOY_WORKERS; i++)
		if (t->workers[i] == c)
			t->workers[i] = NULL;
	chan_free(c);
}

static const struct chan_ops worker_ops = { worker_message, worker_closed };

static void
resize(struct toy *t, uint32_t size)
{
	heard("pool.%s size %u", t->queue->name, size);
	for (uint32_t i = t->size; i < size; i++)
		send_u32(t->master, MSG_SPAWN, i);
	t->size = size;
}

static void
leader_message(struct toy *t, uint32_t type, struct msg_reader *r, int fd)
{
	uint32_t slot;

	if (type == MSG_SIZE) {
		resize(t, msg_get_u32(r));
	} else if (type == MSG_SPAWNED) {
		slot = msg_get_u32(r);
		t->workers[slot] = chan_new(t->loop, fd, &worker_ops, t);
		t->nworkers++;
	} else if (type == MSG_EXITED) {
		slot = msg_get_u32(r);
		t->nworkers--;
		if (!t->stopping)
			send_u32(t->master, MSG_SPAWN, slot);
		maybe_leave(t);
	} else if (type == MSG_LOOKING) {
		heard("pool.%s looking %u", t->queue->name, msg_get_u32(r));
	} else if (type == MSG_WAKE) {
		heard("pool.%s wake %u", t->queue->name, msg_get_u32(r));
	}
}

/* The scheduler: of a queue's jobs, and of the news that a queue is idle. */
static void
send_found(struct toy *t, const char *queue)
{
	struct buf b = { 0 };

	msg_put_str(&b, queue);
	msg_put_u32(&b, 1);
	msg_put_u32(&b, 1);
	chan_send(t->master, MSG_FOUND, b.data, b.len, -1);
	buf_reset(&b);
	msg_put_str(&b, "*toy");
	chan_send(t->master, MSG_HEARD, b.data, b.len, -1);
	buf_clear(&b);
}

static void
hear(const struct toy *t, struct msg_reader *r)
{
	char *text = msg_get_str(r);

	heard("%s%s%s heard %s", t->name, t->queue ? "." : "",
	    t->queue ? t->queue->name : "", text);
	free(text);
}

static void
on_message(struct chan *c, uint32_t type, const void *body, size_t len, int fd,
    void *arg)
{
	struct toy *t = arg;
	struct msg_reader r;

	msg_read(&r, body, len);
	if (type == MSG_STOP) {
		stop(t, &r);
	} else if (type == MSG_PING) {
		if (!does(t, "deaf") && !does(t, "hang") && (!does(t, "dozes") || t->pinged))
			chan_send(c, MSG_PONG, NULL, 0, -1);
		t->pinged = true;
	} else if (type == MSG_ORPHANED || type == MSG_GONE) {
		heard("monitor %s", type == MSG_GONE ? "gone" : "orphaned");
	} else if (type == MSG_IDLE) {
		char *queue = msg_get_str(&r);

		heard("sched idle %s %u", queue, msg_get_u32(&r));
		send_found(t, queue);
		free(queue);
	} else if (type == MSG_HEARD || type == MSG_FOUND) {
		hear(t, &r);
	} else if (t->queue != NULL) {
		leader_message(t, type, &r, fd);
	}
}

static void
on_closed(struct chan *c, const char *reason, void *arg)
{
	struct toy *t = arg;

	(void)reason;
	chan_free(c);
	t->master = NULL;
	if (!does(t, "stubborn"))
		loop_stop(t->loop);
}

static const struct chan_ops ops = { on_message, on_closed };

static void
introduce(struct toy *t)
{
	struct buf b = { 0 };

	if (t->queue != NULL) {
		msg_put_i64(&b, 1000 + getpid());
		chan_send(t->master, MSG_POOL, b.data, b.len, -1);
		buf_reset(&b);
		msg_put_str(&b, t->queue->name);
		msg_put_u32(&b, 1);
		chan_send(t->master, MSG_IDLE, b.data, b.len, -1);
	}
	if (does(t, "chatter"))
		chan_send(t->master, 999, NULL, 0, -1);
	if (does(t, "hang"))
		pause();
	buf_reset(&b);
	msg_put_str(&b, "");
	chan_send(t->master, MSG_READY, b.data, b.len, -1);
	buf_clear(&b);
	if (strcmp(t->name, "sched") == 0)
		send_u32(t->master, MSG_LOOKING, 1);
}

static void
play(struct toy *t)
{
	if (does(t, "stubborn"))
		signal(SIGTERM, SIG_IGN);
	t->loop = loop_new();
	t->master = chan_new(t->loop, PROC_CHANNEL_FD, &ops, t);
	introduce(t);
	loop_run(t->loop);
	for (int i = 0; i < TOY_WORKERS; i++)
		chan_free(t->workers[i]);
	chan_free(t->master);
	loop_free(t->loop);
}

static int
begin(const char *name, const struct queue_conf *queue)
{
	struct toy *t = xcalloc(1, sizeof(*t));
	int status = 0;

	t->name = name;
	t->queue = queue;
	if (queue == NULL || !read_what(name, queue->name, t->what, sizeof(t->what)))
		read_what(name, NULL, t->what, sizeof(t->what));
	if (does(t, "exit"))
		status = atoi(t->what + 5);
	else
		play(t);
	free(t);
	return status;
}

static int
toy_setup(const struct conf *conf)
{
	char what[64] = "";

	(void)conf;
	read_what("setup", NULL, what, sizeof(what));
	heard("setup");
	if (strncmp(what, "hang", 4) == 0)
		for (;;)
			pause();
	if (strncmp(what, "exit", 4) != 0)
		return 0;
	log_error("toy setup fails", "what=%s", "on request");
	return atoi(what + 5);
}

static int
toy_pool(const struct conf *conf, const struct queue_conf *queue)
{
	(void)conf;
	return begin("pool", queue);
}

static int
toy_sched(const struct conf *conf)
{
	(void)conf;
	return begin("sched", NULL);
}

static int
toy_monitor(const struct conf *conf)
{
	(void)conf;
	return begin("monitor", NULL);
}

static int
toy_api(const struct conf *conf)
{
	(void)conf;
	return begin("api", NULL);
}

/* Sessions of their own, orphaned, deaf: only adoption finds them. */
static void
brood(void)
{
	for (int i = 0; i < 3; i++)
		if (fork() == 0) {
			setsid();
			if (fork() != 0)
				_exit(0);
			signal(SIGTERM, SIG_IGN);
			proc_title("brood");
			for (;;)
				pause();
		}
}

static int
toy_worker(const struct conf *conf, const struct queue_conf *queue, int index)
{
	char what[64] = "", linger[512], c;

	(void)conf;
	(void)index;
	if (!read_what("worker", queue->name, what, sizeof(what)))
		read_what("worker", NULL, what, sizeof(what));
	if (strncmp(what, "exit", 4) == 0)
		return atoi(what + 5);
	if (strncmp(what, "stubborn", 8) == 0)
		signal(SIGTERM, SIG_IGN);
	if (strncmp(what, "brood", 5) == 0)
		brood();
	if (read(PROC_CHANNEL_FD, &c, 1) > 0)
		return 0;	/* LEAVE is all a toy leader sends */
	snprintf(linger, sizeof(linger), "%s/linger", getenv("TOY"));
	while (strncmp(what, "linger", 6) == 0 && access(linger, F_OK) == 0)
		usleep(10000);
	while (strncmp(what, "stubborn", 8) == 0)
		pause();
	return 0;
}

static const char *const *
toy_drivers(void)
{
	static const char *const names[] = { "noop", NULL };

	return names;
}

static void
toy_check(const char *driver, const struct node *options, struct conf_sink *sink)
{
	(void)driver, (void)options, (void)sink;
}

int
main(int argc, char **argv)
{
	static const struct master_entries entries = {
		toy_setup, toy_pool, toy_worker, toy_sched, toy_monitor, toy_api,
	};
	static const struct conf_drivers drivers = { toy_drivers, toy_check };
	struct master_options options = {
		.entries = &entries, .drivers = &drivers,
		.ping_ms = 500, .backoff_ms = 20,
	};
	char *complaints = NULL;
	struct conf *conf;

	if (argc < 2 || getenv("TOY") == NULL) {
		fprintf(stderr, "usage: TOY=DIR master_toy FILE [-d]\n");
		return 2;
	}
	options.detach = argc > 2;
	proc_title_init(argc, argv);
	conf = conf_load(argv[1], &drivers, &complaints);
	if (conf == NULL || conf_files(conf, &complaints) != 0) {
		fputs(complaints, stderr);
		return 1;
	}
	free(complaints);
	return master_main(conf, &options);
}
