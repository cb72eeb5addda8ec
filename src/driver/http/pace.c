/*
 * Slow start: see pace.h.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "driver/http/pace.h"

struct pace_host {
	char *name;
	int limit;			/* of those that count; at least 1 */
	bool failed;			/* and has not answered well often enough since */
	int in_flight;			/* all that went and are not over */
	int connecting;			/* those of them that are not connected */
	int waiting;
	TAILQ_ENTRY(pace_host) link;	/* of its bucket */
	TAILQ_ENTRY(pace_host) of_idle;
};

void
pace_init(struct pace *p, int max)
{
	*p = (struct pace){ .max = max };
	TAILQ_INIT(&p->waiting);
	TAILQ_INIT(&p->idle);
	for (size_t i = 0; i < sizeof(p->buckets) / sizeof(p->buckets[0]); i++)
		TAILQ_INIT(&p->buckets[i]);
}

static struct pace_hosts *
bucket_of(struct pace *p, const char *name)
{
	uint32_t hash = 2166136261u;	/* FNV-1a */

	for (; *name != '\0'; name++)
		hash = (hash ^ (unsigned char)*name) * 16777619u;
	return &p->buckets[hash % (sizeof(p->buckets) / sizeof(p->buckets[0]))];
}

static bool
is_idle(const struct pace_host *h)
{
	return h->in_flight == 0 && h->waiting == 0;
}

static void
forget(struct pace *p, struct pace_host *h)
{
	TAILQ_REMOVE(&p->idle, h, of_idle);
	p->nidle--;
	TAILQ_REMOVE(bucket_of(p, h->name), h, link);
	free(h->name);
	free(h);
}

void
pace_clear(struct pace *p)
{
	struct pace_host *h;

	while ((h = TAILQ_FIRST(&p->idle)) != NULL)
		forget(p, h);
}

/* The destination of that name, which is idle no longer. */
static struct pace_host *
find(struct pace *p, const char *name)
{
	struct pace_hosts *bucket = bucket_of(p, name);
	struct pace_host *h;

	TAILQ_FOREACH(h, bucket, link)
		if (strcmp(h->name, name) == 0)
			break;
	if (h == NULL) {
		h = xcalloc(1, sizeof(*h));
		h->name = xstrdup(name);
		h->limit = 1;
		TAILQ_INSERT_HEAD(bucket, h, link);
	} else if (is_idle(h)) {
		TAILQ_REMOVE(&p->idle, h, of_idle);
		p->nidle--;
	}
	return h;
}

static bool
has_room(const struct pace *p, const struct pace_host *h)
{
	return h->limit >= p->max ||
	    (h->failed ? h->in_flight : h->connecting) < h->limit;
}

static void
go(struct pace_ticket *t)
{
	t->host->in_flight++;
	t->host->connecting++;
}

bool
pace_enter(struct pace *p, struct pace_ticket *t, const char *name, mono_t now,
    mono_t patience)
{
	struct pace_host *h = find(p, name);

	*t = (struct pace_ticket){ .host = h };
	/* Not before those who came earlier. */
	if (h->waiting == 0 && has_room(p, h)) {
		go(t);
		return true;
	}
	t->waiting = true;
	t->until = now + patience;
	h->waiting++;
	TAILQ_INSERT_TAIL(&p->waiting, t, link);
	return false;
}

void
pace_connected(struct pace *p, struct pace_ticket *t)
{
	struct pace_host *h = t->host;

	if (h == NULL || t->connected)
		return;
	t->connected = true;
	h->connecting--;
	if (!h->failed && h->limit < p->max)
		h->limit++;
}

static void
stop_waiting(struct pace *p, struct pace_ticket *t)
{
	TAILQ_REMOVE(&p->waiting, t, link);
	t->waiting = false;
	t->host->waiting--;
}

static void
learn(struct pace *p, struct pace_host *h, enum pace_end end)
{
	if (end == PACE_BAD) {
		h->failed = true;
		h->limit = (h->limit < p->max ? h->limit : p->max) / 2;
		if (h->limit < 1)
			h->limit = 1;
	} else if (end == PACE_GOOD && h->failed && ++h->limit >= p->max) {
		h->failed = false;
	}
}

void
pace_leave(struct pace *p, struct pace_ticket *t, enum pace_end end)
{
	struct pace_host *h = t->host;

	if (h == NULL)
		return;
	if (t->waiting) {
		stop_waiting(p, t);
	} else {
		h->in_flight--;
		h->connecting -= !t->connected;
		learn(p, h, end);
	}
	t->host = NULL;
	if (!is_idle(h))
		return;
	TAILQ_INSERT_TAIL(&p->idle, h, of_idle);
	if (++p->nidle > PACE_HOSTS_MAX)
		forget(p, TAILQ_FIRST(&p->idle));
}

struct pace_ticket *
pace_next(struct pace *p, mono_t now)
{
	struct pace_ticket *t;

	TAILQ_FOREACH(t, &p->waiting, link)
		if (has_room(p, t->host) || t->until <= now)
			break;
	if (t != NULL) {
		stop_waiting(p, t);
		go(t);
	}
	return t;
}

mono_t
pace_due(const struct pace *p)
{
	mono_t due = PACE_NEVER;
	struct pace_ticket *t;

	TAILQ_FOREACH(t, &p->waiting, link)
		if (t->until < due)
			due = t->until;
	return due;
}
