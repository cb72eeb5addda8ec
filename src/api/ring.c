/*
 * Events in memory: see ring.h. Numbers begin with 1 and are never used again.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/ring.h"
#include "base/xalloc.h"

struct slot {
	struct ring_event event;
	char *texts;		/* all of its texts */
	size_t bytes;
};

struct ring {
	char name[RING_NAME_MAX];
	struct slot *slots;
	size_t events_max, bytes_max, bytes;
	uint64_t first, next;
};

static const char *const names[RING_KINDS] = {
	[RING_JOB] = "job", [RING_QUEUE] = "queue", [RING_ALERT] = "alert",
	[RING_SCHEDULE] = "schedule", [RING_SKIPPED] = "skipped",
};

struct ring *
ring_new(const char *name, size_t events_max, size_t bytes_max)
{
	struct ring *r = xcalloc(1, sizeof(*r));

	snprintf(r->name, sizeof(r->name), "%s", name);
	r->slots = xcalloc(events_max, sizeof(*r->slots));
	r->events_max = events_max;
	r->bytes_max = bytes_max;
	r->first = r->next = 1;
	return r;
}

static struct slot *
slot_of(const struct ring *r, uint64_t n)
{
	return &r->slots[n % r->events_max];
}

static void
drop_first(struct ring *r)
{
	struct slot *s = slot_of(r, r->first++);

	r->bytes -= s->bytes;
	free(s->texts);
	*s = (struct slot){ 0 };
}

void
ring_free(struct ring *r)
{
	if (r == NULL)
		return;
	while (r->first < r->next)
		drop_first(r);
	free(r->slots);
	free(r);
}

void
ring_add(struct ring *r, const struct ring_event *e)
{
	const char *const from[] = { e->queue, e->type, e->state, e->tenant, e->data };
	const char *to[5] = { NULL };
	struct buf texts = { 0 };
	struct slot *s;

	for (size_t i = 0; i < 5; i++)
		if (from[i] != NULL)
			buf_put(&texts, from[i], strlen(from[i]) + 1);
	while (r->first < r->next && (r->next - r->first >= r->events_max ||
	    r->bytes + texts.len > r->bytes_max))
		drop_first(r);
	s = slot_of(r, r->next++);
	s->bytes = texts.len;
	r->bytes += s->bytes;
	s->texts = buf_detach(&texts);
	for (size_t i = 0, at = 0; i < 5; i++)
		if (from[i] != NULL) {
			to[i] = s->texts + at;
			at += strlen(to[i]) + 1;
		}
	s->event = (struct ring_event){ e->kind, e->job, to[0], to[1], to[2],
		to[3], to[4] };
}

uint64_t
ring_first(const struct ring *r)
{
	return r->first;
}

uint64_t
ring_next(const struct ring *r)
{
	return r->next;
}

static enum ring_kind
kind_of(const char *name, size_t len)
{
	size_t i = 0;

	while (i < RING_KINDS && (strlen(names[i]) != len ||
	    memcmp(names[i], name, len) != 0))
		i++;
	return (enum ring_kind)i;
}

enum ring_kind
ring_kind(const char *name)
{
	return kind_of(name, strlen(name));
}

unsigned
ring_kinds(const char *list)
{
	unsigned kinds = 0;
	size_t len;

	for (; ; list += len + 1) {
		enum ring_kind kind;

		len = strcspn(list, ",");
		kind = kind_of(list, len);
		if (kind >= RING_SKIPPED)
			return 0;
		kinds |= 1u << kind;
		if (list[len] == '\0')
			return kinds;
	}
}

/* Is it one of the list's, or is there no list? */
static bool
is_in(const char *list, const char *word)
{
	size_t len;

	if (list == NULL)
		return true;
	if (word == NULL)
		return false;
	for (; ; list += len + 1) {
		len = strcspn(list, ",");
		if (strlen(word) == len && memcmp(word, list, len) == 0)
			return true;
		if (list[len] == '\0')
			return false;
	}
}

/* Who wants certain jobs wants nothing else. */
static bool
wants_jobs(const struct ring_filter *f)
{
	return f->type != NULL || f->state != NULL || f->job != 0 || f->tenant != NULL;
}

bool
ring_wants(const struct ring_filter *f, const struct ring_event *e)
{
	if (e->kind == RING_SKIPPED)
		return (f->kinds & 1u << RING_JOB) && (e->queue == NULL ||
		    is_in(f->queue, e->queue));
	if (!(f->kinds & 1u << e->kind) || !is_in(f->queue, e->queue))
		return false;
	if (e->kind != RING_JOB)
		return !wants_jobs(f);
	return is_in(f->state, e->state) && (f->job == 0 || f->job == e->job) &&
	    (f->type == NULL || (e->type != NULL && strcmp(f->type, e->type) == 0)) &&
	    (f->tenant == NULL || (e->tenant != NULL &&
	    strcmp(f->tenant, e->tenant) == 0));
}

int
ring_read(const struct ring *r, uint64_t *place, const struct ring_filter *f,
    size_t most, struct buf *out)
{
	if (*place < r->first)
		return -1;
	for (; *place < r->next && out->len < most; ++*place) {
		const struct ring_event *e = &slot_of(r, *place)->event;

		if (!ring_wants(f, e))
			continue;
		buf_printf(out, "id: %s-%" PRIu64 "\nevent: %s\ndata: ", r->name,
		    *place, names[e->kind]);
		/* Of jobs that are not its own a tenant is not to hear. */
		buf_str(out, e->kind == RING_SKIPPED && f->tenant != NULL ? "{}" :
		    e->data);
		buf_str(out, "\n\n");
	}
	return 0;
}

void
ring_put_id(const struct ring *r, uint64_t place, struct buf *out)
{
	buf_printf(out, "id: %s-%" PRIu64 "\n", r->name, place - 1);
}

bool
ring_find(const struct ring *r, const char *id, uint64_t *place)
{
	size_t len = strlen(r->name);
	unsigned long long n;
	char *end;

	if (strncmp(id, r->name, len) != 0 || id[len] != '-' ||
	    id[len + 1] < '0' || id[len + 1] > '9')
		return false;
	errno = 0;
	n = strtoull(id + len + 1, &end, 10);
	if (errno != 0 || *end != '\0' || n >= r->next || n + 1 < r->first)
		return false;
	*place = n + 1;
	return true;
}
