/*
 * jobqctl channel test: send a notice as the monitor would, by the same
 * drivers, here and now. It needs neither the database nor a daemon.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/xalloc.h"
#include "core/near.h"
#include "ctl/ctl.h"
#include "driver/driver.h"
#include "driver/notice.h"
#include "os/loop.h"
#include "os/proc.h"

/* What the driver of a channel is run with, and how that ended. */
struct trial {
	struct loop *loop;
	struct driver_ctx ctx;
	struct job job;
	struct run run;
	struct timer *timeout;
	struct run_result result;
	bool ended;
};

static struct trial *
trial_of(struct run *run)
{
	return run->ctx->host;
}

static void
on_end(struct run *run, struct run_result *result)
{
	struct trial *t = trial_of(run);

	t->result = *result;
	t->ended = true;
	loop_stop(t->loop);
}

static void
on_progress(struct run *run, int pct, const char *note)
{
	(void)run;
	(void)pct;
	(void)note;
}

/* Of a program; its own words may tell what is wrong. */
static void
on_output(struct run *run, const char *text, size_t len)
{
	(void)run;
	fwrite(text, 1, len, stderr);
}

static int
on_previous(struct run *run, char **result, struct err *e)
{
	(void)run;
	(void)e;
	*result = NULL;
	return 0;
}

static bool
on_goes_to(struct run *run, const char *destination)
{
	(void)run;
	(void)destination;
	return true;
}

static const struct run_ops ops = {
	.end = on_end, .progress = on_progress, .output = on_output,
	.previous = on_previous, .goes_to = on_goes_to,
};

/* A driver that multiplexes or runs a program ends it then. */
static void
on_timeout(void *arg)
{
	struct trial *t = arg;

	t->ctx.driver->cancel(&t->ctx, &t->run, CLASS_TIMEOUT);
}

static void
make_data(struct buf *b, const struct ctl *ctl, const struct channel_conf *c,
    const char *url)
{
	char *subject = xasprintf("[jobqd] Test of the channel %s", c->name);
	char *text = xasprintf("Somebody has called \"jobqctl channel test %s\" "
	    "on %s.\nNothing is wrong.\n", c->name, ctl->conf->daemon.node);
	struct notice n = { .subject = subject, .text = text,
	    .json = "{\"test\":true}" };

	notice_data(b, c, url, NULL, &n);
	free(subject);
	free(text);
}

static int
run_trial(struct trial *t, const struct ctl *ctl, const struct type_conf *type,
    struct err *e)
{
	const struct queue_conf *q = ctl->conf->notices;

	t->ctx = (struct driver_ctx){ .handler = type->handler, .queue = q,
	    .driver = driver_find(type->handler->driver), .loop = t->loop,
	    .ops = &ops, .host = t };
	t->run = (struct run){ .ctx = &t->ctx, .job = &t->job,
	    .timeout_ms = type->timeout_ms };
	if (t->ctx.driver->open != NULL && t->ctx.driver->open(&t->ctx, e) < 0)
		return -1;
	t->timeout = timer_new(t->loop, on_timeout, t);
	if (t->ctx.driver->cancel != NULL)
		timer_set(t->timeout, type->timeout_ms * MONO_MS);
	t->ctx.driver->run(&t->ctx, &t->run);
	if (!t->ended)
		loop_run(t->loop);
	timer_free(t->timeout);
	if (t->ctx.driver->close != NULL)
		t->ctx.driver->close(&t->ctx);
	return 0;
}

static int
tell(const struct ctl *ctl, const char *channel, const struct run_result *r)
{
	struct buf b = { 0 };

	if (r->class != CLASS_NONE)
		return ctl_fail("channel %s: %s", channel, r->message);
	if (ctl->json) {
		buf_str(&b, "{\"channel\":");
		buf_json(&b, channel, strlen(channel));
		buf_str(&b, ",\"delivered\":true,\"result\":");
		buf_printf(&b, "%s}", r->result != NULL ? r->result : "null");
		puts(b.data);
	} else {
		printf("channel %s: delivered\n", channel);
	}
	buf_clear(&b);
	return CTL_DONE;
}

static const struct type_conf *
find_channel(const struct conf *conf, const char *name)
{
	const struct queue_conf *q = conf->notices;
	const char **names, *near;

	if (q == NULL) {
		ctl_missing("no channel %s; the configuration has none", name);
		return NULL;
	}
	names = xcalloc(q->ntypes, sizeof(*names));
	for (size_t i = 0; i < q->ntypes; i++) {
		names[i] = q->types[i].type;
		if (strcmp(names[i], name) == 0) {
			free(names);
			return &q->types[i];
		}
	}
	if ((near = near_name(name, names, q->ntypes)) != NULL)
		ctl_missing("no channel %s; did you mean %s?", name, near);
	else
		ctl_missing("no channel %s in %s", name, conf->path);
	free(names);
	return NULL;
}

int
channel_test(struct ctl *ctl, const struct args *args)
{
	const char *name = args->operands[0];
	const struct type_conf *type;
	const struct channel_conf *c;
	struct trial t = { .ended = false };
	struct buf data = { 0 };
	char *url = NULL;
	struct err e;
	int status;

	if (ctl_configure(ctl) < 0)
		return CTL_FAILED;
	if ((type = find_channel(ctl->conf, name)) == NULL)
		return CTL_NOT_FOUND;
	c = conf_channel(ctl->conf, name);
	if (*c->webhook_file != '\0') {
		url = node_secret(node_get(ctl->conf->channels, name),
		    "webhook", NULL);
		if (url == NULL)
			return ctl_fail("channel %s: %s cannot be read, or is "
			    "empty", name, c->webhook_file);
	}
	make_data(&data, ctl, c, url);
	t.job = (struct job){ .id = (int64_t)time(NULL) * 1000000, .attempt = 1,
	    .type = type->type, .data = data.data };
	proc_adopt_orphans();
	t.loop = loop_new();
	if (run_trial(&t, ctl, type, &e) < 0)
		status = ctl_fail("channel %s: %s", name, e.msg);
	else
		status = tell(ctl, name, &t.result);
	loop_free(t.loop);
	if (t.ended)
		run_result_clear(&t.result);
	buf_clear(&data);
	free(url);
	return status;
}
