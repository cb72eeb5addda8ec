/*
 * Sending notices: see notify.h.
 *
 * An outlet is a channel with its worker, in the slot of the channel's number.
 * A notice is run as a job of the channel's type: of its id, always the first
 * attempt, since what a further one needs to know is known here. Whoever gets
 * it twice can tell by the id, which stays the same.
 */
#include "config.h"

#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "core/backoff.h"
#include "core/breaker.h"
#include "driver/notice.h"
#include "monitor/notify.h"
#include "os/chan.h"

#define WAITING_MAX 300			/* notices, of all channels together */
#define KEEP (3600 * MONO_SECOND)
#define ERRORS_MAX 3			/* tries that failed for a reason that rarely ends */
#define SLACK MONO_SECOND		/* beyond its timeout: drivers end by themselves */
#define GRACE (2 * MONO_SECOND)		/* of a cancel; then it is killed */
#define MOVE_TIMEOUT (30 * MONO_SECOND)	/* to start, to leave */
#define DRAIN (2 * MONO_SECOND)		/* of the channel of a reaped worker */
#define IDLE (60 * MONO_SECOND)		/* then a worker leaves */
#define LOOK (60 * MONO_SECOND)		/* for what has become too old, without a worker */

/* A notice on its way to one channel. */
struct letter {
	TAILQ_ENTRY(letter) link;
	int64_t id;
	struct notice notice;		/* its texts are owned */
	bool *settled;			/* of each address; NULL: of all none is */
	int tries;			/* begun */
	mono_t until;			/* given up then */
	mono_t not_before;
	void (*done)(const char *error, void *arg);
	void *arg;
};
TAILQ_HEAD(letters, letter);

/* Of its worker. The later ones are on their way to another state. */
enum outlet_state { OUTLET_DOWN, OUTLET_ASKED, OUTLET_READY, OUTLET_STARTING,
    OUTLET_LEAVING, OUTLET_KILLED };

struct outlet {
	struct notify *notify;
	const struct channel_conf *conf;
	size_t slot;
	char *url;			/* what webhook_file says, NULL: nothing yet */
	enum outlet_state state;
	pid_t pid;
	struct chan *chan;		/* NULL: none, or at its end */
	bool exited;			/* reaped; the channel is not yet at its end */
	int status;			/* of wait, once exited */
	struct letters letters;
	bool running;			/* the first of them is with the worker */
	bool cancelled;			/* … and was asked to end */
	struct timer *timer;		/* the next thing to happen without a message */
};

struct notify {
	const struct conf *conf;
	struct service *service;
	struct outlet *outlets;		/* as conf->read.channels */
	size_t noutlets;
	size_t waiting;			/* letters */
	int64_t last_id;
	bool stopping;
	struct timer *stop;		/* when the rest is given up; also: nothing is left */
	void (*left)(void *);
	void *left_arg;
	struct buf body;		/* of the message being made */
};

static const struct backoff backoff = {
	.shape = BACKOFF_EXPONENTIAL, .base_ms = 2000, .factor = 2,
	.max_ms = 300000, .jitter = 0.2,
};

static void pump(struct outlet *);
static void on_message(struct chan *, uint32_t, const void *, size_t, int, void *);
static void on_closed(struct chan *, const char *, void *);
static void on_timer(void *);
static void on_stop(void *);

static const struct chan_ops worker_ops = { on_message, on_closed };

struct notify *
notify_new(const struct conf *conf, struct service *service)
{
	struct notify *n = xcalloc(1, sizeof(*n));

	n->conf = conf;
	n->service = service;
	n->noutlets = conf->read.nchannels;
	n->outlets = xcalloc(n->noutlets, sizeof(*n->outlets));
	n->stop = timer_new(service->loop, on_stop, n);
	for (size_t i = 0; i < n->noutlets; i++) {
		struct outlet *o = &n->outlets[i];

		o->notify = n;
		o->conf = &conf->read.channels[i];
		o->slot = i;
		o->timer = timer_new(service->loop, on_timer, o);
		TAILQ_INIT(&o->letters);
	}
	return n;
}

/*
 * Letters
 */

static void
letter_free(struct outlet *o, struct letter *l)
{
	TAILQ_REMOVE(&o->letters, l, link);
	o->notify->waiting--;
	free((char *)l->notice.subject);
	free((char *)l->notice.text);
	free((char *)l->notice.html);
	free((char *)l->notice.json);
	free(l->settled);
	free(l);
}

/* It has reached the channel (error NULL), or never will. */
static void
letter_end(struct outlet *o, struct letter *l, const char *error)
{
	void (*done)(const char *, void *) = l->done;
	void *arg = l->arg;

	if (error == NULL)
		log_info("notice delivered", "channel=%s subject=%s tries=%d",
		    o->conf->name, l->notice.subject, l->tries);
	else
		log_error("notice given up", "channel=%s subject=%s tries=%d "
		    "reason=%s", o->conf->name, l->notice.subject, l->tries,
		    error);
	letter_free(o, l);
	if (done != NULL)
		done(error, arg);
	if (o->notify->stopping && o->notify->waiting == 0)
		timer_set(o->notify->stop, 0);
}

/* What cannot be kept any more: the oldest that no worker has. */
static void
make_room(struct notify *n)
{
	struct outlet *from = NULL;
	struct letter *oldest = NULL;

	for (size_t i = 0; i < n->noutlets; i++) {
		struct outlet *o = &n->outlets[i];
		struct letter *l = TAILQ_FIRST(&o->letters);

		if (l != NULL && o->running)
			l = TAILQ_NEXT(l, link);
		if (l != NULL && (oldest == NULL || l->id < oldest->id)) {
			oldest = l;
			from = o;
		}
	}
	if (oldest != NULL)
		letter_end(from, oldest, "too many notices wait");
}

/* Never the same twice on a host, whatever restarts. */
static int64_t
new_id(struct notify *n)
{
	struct timespec ts;
	int64_t id;

	clock_gettime(CLOCK_REALTIME, &ts);
	id = (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
	n->last_id = id > n->last_id ? id : n->last_id + 1;
	return n->last_id;
}

static struct outlet *
find_outlet(struct notify *n, const char *channel)
{
	for (size_t i = 0; i < n->noutlets; i++)
		if (strcmp(n->outlets[i].conf->name, channel) == 0)
			return &n->outlets[i];
	return NULL;
}

void
notify_send(struct notify *n, const char *channel, const struct notice *notice,
    void (*done)(const char *error, void *arg), void *arg)
{
	struct outlet *o = find_outlet(n, channel);
	struct letter *l;

	if (o == NULL) {
		log_error("notice given up", "channel=%s subject=%s tries=%d "
		    "reason=%s", channel, notice->subject, 0,
		    "there is no such channel");
		if (done != NULL)
			done("there is no such channel", arg);
		return;
	}
	if (n->waiting >= WAITING_MAX)
		make_room(n);
	l = xcalloc(1, sizeof(*l));
	l->id = new_id(n);
	l->notice = (struct notice){ .subject = xstrdup(notice->subject),
	    .text = xstrdup(notice->text), .html = xstrdup(notice->html),
	    .json = xstrdup(notice->json), .kind = notice->kind };
	l->until = mono_now() + KEEP;
	l->done = done;
	l->arg = arg;
	TAILQ_INSERT_TAIL(&o->letters, l, link);
	n->waiting++;
	pump(o);
}

/*
 * The worker
 */

static void
tell_master(struct outlet *o, enum msg_type type)
{
	struct notify *n = o->notify;

	if (n->service->master != NULL)
		chan_send(n->service->master, type, n->body.data, n->body.len,
		    -1);
	buf_reset(&n->body);
}

static void
ask_for_worker(struct outlet *o)
{
	msg_put_u32(&o->notify->body, (uint32_t)o->slot);
	tell_master(o, MSG_SPAWN);
	o->state = OUTLET_ASKED;
}

static void
kill_worker(struct outlet *o)
{
	struct buf *b = &o->notify->body;

	msg_put_u32(b, (uint32_t)o->slot);
	msg_put_i64(b, o->pid);
	msg_put_i64(b, SIGKILL);
	tell_master(o, MSG_KILL);
	o->state = OUTLET_KILLED;
}

static void
distrust(struct outlet *o, const char *what)
{
	log_error("worker sent nonsense", "channel=%s pid=%d message=%s",
	    o->conf->name, (int)o->pid, what);
	kill_worker(o);
}

static void
leave(struct outlet *o)
{
	if (o->chan != NULL)
		chan_send(o->chan, MSG_LEAVE, NULL, 0, -1);
	o->state = OUTLET_LEAVING;
	timer_set(o->timer, MOVE_TIMEOUT);
}

/* Where the channel's webhook is, if its handler does not know: false, and the
 * letter fails. */
static bool
know_url(struct outlet *o)
{
	const struct node *map;

	if (*o->conf->webhook_file == '\0' || o->url != NULL)
		return true;
	map = node_get(o->notify->conf->channels, o->conf->name);
	o->url = node_secret(map, "webhook", NULL);
	return o->url != NULL;
}

static void
send_letter(struct outlet *o, struct letter *l)
{
	struct buf data = { 0 }, *b = &o->notify->body;
	struct job job = { .id = l->id, .attempt = 1, .type = o->conf->name };

	notice_data(&data, o->conf, o->url, l->settled, &l->notice);
	job.data = data.data;
	msg_put_job(b, &job, 1);
	chan_send(o->chan, MSG_JOB, b->data, b->len, -1);
	buf_reset(b);
	buf_clear(&data);
	o->running = true;
	o->cancelled = false;
	l->tries++;
	timer_set(o->timer, o->conf->timeout_ms * MONO_MS + SLACK);
}

/* Some failures do not go away by themselves, and some do so rarely. */
static bool
worth_another_try(const struct letter *l, enum job_class class)
{
	switch (class) {
	case CLASS_VALIDATION:
	case CLASS_AUTH:
		return false;
	case CLASS_NETWORK:
	case CLASS_RATE_LIMIT:
	case CLASS_TIMEOUT:
		return true;
	default:
		return l->tries < ERRORS_MAX;
	}
}

/* One try has failed; the letter is the first of its outlet. */
static void
letter_failed(struct outlet *o, enum job_class class, const char *reason,
    int64_t retry_after_ms)
{
	struct letter *l = TAILQ_FIRST(&o->letters);
	mono_t now = mono_now();
	int64_t delay = backoff_delay_ms(&backoff, l->tries,
	    (double)arc4random() / 4294967296.0);

	o->running = false;
	if (delay < retry_after_ms)
		delay = retry_after_ms;
	if (o->notify->stopping || !worth_another_try(l, class) ||
	    delay > (l->until - now) / MONO_MS) {
		letter_end(o, l, reason);
		return;
	}
	l->not_before = now + delay * MONO_MS;
	log_warn("notice not delivered, will be tried again", "channel=%s "
	    "subject=%s tries=%d again_ms=%lld reason=%s", o->conf->name,
	    l->notice.subject, l->tries, (long long)delay, reason);
}

static struct letter *
find_expired(const struct outlet *o)
{
	struct letter *l;
	mono_t now = mono_now();

	TAILQ_FOREACH(l, &o->letters, link)
		if (l->until <= now)
			return l;
	return NULL;
}

/* Nothing runs: begin what can begin, or see to it that it will. */
static void
pump(struct outlet *o)
{
	struct letter *l;
	mono_t now = mono_now();

	if (o->running || o->state > OUTLET_READY)
		return;
	while ((l = find_expired(o)) != NULL)
		letter_end(o, l, "it could not be delivered for too long");
	l = TAILQ_FIRST(&o->letters);
	if (l == NULL) {
		timer_set(o->timer, IDLE);
	} else if (l->not_before > now) {
		timer_set(o->timer, l->not_before - now);
	} else if (o->state != OUTLET_READY) {
		if (o->state == OUTLET_DOWN)
			ask_for_worker(o);
		timer_set(o->timer, LOOK);
	} else if (know_url(o)) {
		send_letter(o, l);
	} else {
		l->tries++;
		letter_failed(o, CLASS_ERROR,
		    "webhook_file cannot be read, or is empty", -1);
		pump(o);
	}
}

/* The worker is no more, and all it said is read. */
static void
gone(struct outlet *o)
{
	char reason[64];

	timer_stop(o->timer);
	chan_free(o->chan);
	o->chan = NULL;
	o->pid = 0;
	o->exited = false;
	o->state = OUTLET_DOWN;
	if (o->running) {
		if (o->cancelled)
			strlcpy(reason, "it took too long", sizeof(reason));
		else if (WIFSIGNALED(o->status))
			snprintf(reason, sizeof(reason),
			    "its worker died of signal %d", WTERMSIG(o->status));
		else
			strlcpy(reason, "its worker died", sizeof(reason));
		letter_failed(o, o->cancelled ? CLASS_TIMEOUT : CLASS_CRASH,
		    reason, -1);
	}
	pump(o);
}

static void
on_timer(void *arg)
{
	struct outlet *o = arg;
	struct buf *b = &o->notify->body;

	if (o->exited) {
		gone(o);	/* somebody else holds its end of the channel */
	} else if (o->state == OUTLET_STARTING || o->state == OUTLET_LEAVING) {
		log_error("worker is stuck", "channel=%s pid=%d",
		    o->conf->name, (int)o->pid);
		kill_worker(o);
	} else if (o->running && o->state == OUTLET_READY) {
		if (o->cancelled) {
			kill_worker(o);
			return;
		}
		o->cancelled = true;
		msg_put_i64(b, TAILQ_FIRST(&o->letters)->id);
		msg_put_i64(b, 1);
		msg_put_u32(b, CLASS_TIMEOUT);
		chan_send(o->chan, MSG_CANCEL, b->data, b->len, -1);
		buf_reset(b);
		timer_set(o->timer, GRACE);
	} else if (o->state == OUTLET_READY && TAILQ_EMPTY(&o->letters)) {
		leave(o);
	} else {
		pump(o);
	}
}

/*
 * What a worker says
 */

static void
on_hello(struct outlet *o, struct msg_reader *r)
{
	char *destination;

	msg_get_i64(r);
	msg_get_u32(r);
	msg_get_u32(r);
	destination = msg_get_short(r, BREAKER_NAME_MAX);
	free(destination);
	if (!msg_end(r)) {
		distrust(o, "HELLO");
	} else if (o->state == OUTLET_STARTING) {
		timer_stop(o->timer);
		o->state = OUTLET_READY;
		pump(o);
	}
}

/*
 * A mail may have reached some of its recipients: they are not to get it
 * twice, and of those who will never get it the log tells here. Data from
 * outside; what is not understood counts as not settled.
 */
static void
settle(struct outlet *o, struct letter *l, const char *result)
{
	json_t *all = json_loads(result, 0, NULL);
	const json_t *recipients = json_object_get(all, "recipients");

	if (l->settled == NULL)
		l->settled = xcalloc(o->conf->nemail, sizeof(*l->settled));
	for (size_t i = 0; i < o->conf->nemail; i++) {
		const json_t *one = json_object_get(recipients,
		    o->conf->email[i]);
		const char *state = json_string_value(json_object_get(one,
		    "state"));
		const char *text = json_string_value(json_object_get(one,
		    "text"));

		if (state == NULL || l->settled[i])
			continue;
		l->settled[i] = strcmp(state, "deferred") != 0;
		if (strcmp(state, "refused") == 0)
			log_error("notice refused by a recipient's server",
			    "channel=%s subject=%s recipient=%s reason=%s",
			    o->conf->name, l->notice.subject,
			    o->conf->email[i], text);
	}
	json_decref(all);
}

static void
on_result(struct outlet *o, struct msg_reader *r)
{
	struct letter *l = TAILQ_FIRST(&o->letters);
	int64_t id = msg_get_i64(r), attempt = msg_get_i64(r);
	struct run_result result;
	char *destination;
	bool fine;

	run_result_init(&result);
	msg_get_i64(r);			/* when it ended */
	msg_get_i64(r);			/* how long it took */
	fine = msg_get_result(r, &result) == 0;
	destination = msg_get_short(r, BREAKER_NAME_MAX);
	free(destination);
	if (!fine || !msg_end(r) || !o->running || id != l->id || attempt != 1) {
		run_result_clear(&result);
		distrust(o, "RESULT");
		return;
	}
	timer_stop(o->timer);
	o->running = false;
	if (o->conf->nemail > 0 && result.result != NULL)
		settle(o, l, result.result);
	if (result.class == CLASS_NONE)
		letter_end(o, l, NULL);
	else if (o->cancelled)
		letter_failed(o, CLASS_TIMEOUT, "it took too long", -1);
	else
		letter_failed(o, result.class, result.message != NULL ?
		    result.message : job_class_name(result.class),
		    result.retry_after_ms);
	run_result_clear(&result);
	pump(o);
}

static void
on_message(struct chan *c, uint32_t type, const void *body, size_t len, int fd,
    void *arg)
{
	struct outlet *o = arg;
	struct msg_reader r;

	(void)c;
	if (fd >= 0)
		close(fd);
	if (o->state == OUTLET_KILLED)
		return;
	msg_read(&r, body, len);
	if (type == MSG_HELLO)
		on_hello(o, &r);
	else if (type == MSG_RESULT)
		on_result(o, &r);
	else if (type != MSG_STARTED && type != MSG_PROGRESS &&
	    type != MSG_OUTPUT)
		distrust(o, "unknown");
}

static void
on_closed(struct chan *c, const char *reason, void *arg)
{
	struct outlet *o = arg;

	(void)reason;
	chan_free(c);
	o->chan = NULL;
	if (o->exited)
		gone(o);
	else if (o->state == OUTLET_STARTING || o->state == OUTLET_READY)
		kill_worker(o);		/* dead as a rule: EXITED follows */
}

/*
 * The master
 */

static bool
on_spawned(struct notify *n, struct msg_reader *r, int fd)
{
	uint32_t slot = msg_get_u32(r);
	int64_t pid = msg_get_i64(r);
	struct outlet *o;

	if (!msg_end(r) || fd < 0 || slot >= n->noutlets ||
	    n->outlets[slot].state != OUTLET_ASKED) {
		if (fd >= 0)
			close(fd);	/* which is how the worker hears of it */
		return false;
	}
	o = &n->outlets[slot];
	o->pid = (pid_t)pid;
	o->exited = false;
	o->chan = chan_new(n->service->loop, fd, &worker_ops, o);
	o->state = OUTLET_STARTING;
	timer_set(o->timer, MOVE_TIMEOUT);
	return true;
}

static bool
on_exited(struct notify *n, struct msg_reader *r)
{
	uint32_t slot = msg_get_u32(r);
	int64_t pid = msg_get_i64(r), status = msg_get_i64(r);
	struct outlet *o;

	msg_get_i64(r);
	msg_get_i64(r);
	if (!msg_end(r) || slot >= n->noutlets)
		return false;
	o = &n->outlets[slot];
	if (o->pid == 0 || o->pid != pid)
		return true;
	o->exited = true;
	o->status = (int)status;
	if (o->chan == NULL)
		gone(o);
	else
		timer_set(o->timer, DRAIN);
	return true;
}

bool
notify_message(struct notify *n, uint32_t type, struct msg_reader *r, int fd)
{
	if (type == MSG_SPAWNED)
		return on_spawned(n, r, fd);
	if (fd >= 0)
		close(fd);
	return type == MSG_EXITED && on_exited(n, r);
}

/*
 * The end
 */

static void
give_up_all(struct notify *n, const char *reason)
{
	for (size_t i = 0; i < n->noutlets; i++) {
		struct outlet *o = &n->outlets[i];

		if (o->running && o->chan != NULL)
			kill_worker(o);
		o->running = false;
		while (!TAILQ_EMPTY(&o->letters))
			letter_end(o, TAILQ_FIRST(&o->letters), reason);
	}
}

static void
on_stop(void *arg)
{
	struct notify *n = arg;

	give_up_all(n, "the monitor stops");
	timer_stop(n->stop);
	n->left(n->left_arg);
}

void
notify_stop(struct notify *n, int64_t ms, void (*left)(void *), void *arg)
{
	n->stopping = true;
	n->left = left;
	n->left_arg = arg;
	timer_set(n->stop, n->waiting > 0 ? ms * MONO_MS : 0);
	for (size_t i = 0; i < n->noutlets; i++) {
		struct letter *l;

		TAILQ_FOREACH(l, &n->outlets[i].letters, link)
			l->not_before = 0;
		pump(&n->outlets[i]);
	}
}

void
notify_free(struct notify *n)
{
	if (n == NULL)
		return;
	for (size_t i = 0; i < n->noutlets; i++) {
		struct letter *l;

		TAILQ_FOREACH(l, &n->outlets[i].letters, link)
			l->done = NULL;
	}
	give_up_all(n, "the monitor ends");
	for (size_t i = 0; i < n->noutlets; i++) {
		struct outlet *o = &n->outlets[i];

		if (o->state == OUTLET_READY || o->state == OUTLET_STARTING)
			leave(o);
		if (o->chan != NULL)
			chan_flush(o->chan);
		chan_free(o->chan);
		timer_free(o->timer);
		if (o->url != NULL)
			explicit_bzero(o->url, strlen(o->url));
		free(o->url);
	}
	timer_free(n->stop);
	free(n->outlets);
	buf_clear(&n->body);
	free(n);
}
