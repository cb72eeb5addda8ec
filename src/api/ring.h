/*
 * The last events, numbered, for as many readers as like: each has its own
 * place in it and takes what it wants. Pure: no sockets, no database.
 */
#ifndef API_RING_H
#define API_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define RING_NAME_MAX 40	/* of a ring, with the NUL */

enum ring_kind {
	RING_JOB, RING_QUEUE, RING_ALERT, RING_SCHEDULE,
	RING_SKIPPED,		/* goes with jobs */
	RING_KINDS
};

struct ring_event {
	enum ring_kind kind;
	int64_t job;			/* 0: none */
	/* NULL: none */
	const char *queue, *type, *state, *tenant;
	const char *data;		/* JSON, one line */
};

/* What a reader wants. Texts are borrowed; NULL: whatever it is. */
struct ring_filter {
	unsigned kinds;			/* a bit each, 1 << kind */
	const char *queue, *state;	/* or several, with a comma between them */
	const char *type;
	int64_t job;			/* 0: any */
	const char *tenant;		/* to see this one's jobs and nothing else */
};

struct ring;

/* With room for so many events, and so many bytes of them. name: part of the
 * events' ids, so that one of another ring is not taken for one of this. */
struct ring *ring_new(const char *name, size_t events_max, size_t bytes_max);
void ring_free(struct ring *);

/* Copied; the oldest ones make room for it. */
void ring_add(struct ring *, const struct ring_event *);
uint64_t ring_first(const struct ring *);	/* the oldest that is still there, or … */
uint64_t ring_next(const struct ring *);	/* the number that the next one will have */

/* RING_KINDS: there is none of that name. */
enum ring_kind ring_kind(const char *name);
/* A list "job,queue" as bits of kinds; 0: a name of it is none. */
unsigned ring_kinds(const char *list);
bool ring_wants(const struct ring_filter *, const struct ring_event *);

/*
 * Text of server-sent events for a reader that stands at *place: those it wants,
 * up to about `most` bytes; *place moves on. -1: what it should have next is not
 * there any more.
 */
int ring_read(const struct ring *, uint64_t *place, const struct ring_filter *,
    size_t most, struct buf *);
/* "id: …" that says up to this place all is told. */
void ring_put_id(const struct ring *, uint64_t place, struct buf *);
/* The place behind the event of an id. False: it is none of this ring's. */
bool ring_find(const struct ring *, const char *id, uint64_t *place);

#endif
