/*
 * Time zones: how far local time is ahead of UTC, and when that changes. Pure:
 * a zone is made of the bytes of a TZif file (RFC 9636); the C library's one
 * zone has no part in it. conf/zones.h finds zones by name.
 *
 * Instants are seconds since the epoch; a local time is one as if its clock
 * showed UTC. NULL is UTC, everywhere.
 */
#ifndef CORE_ZONE_H
#define CORE_ZONE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define ZONE_FILE_MAX 65536	/* bytes; the largest that exist have 4000 */

struct zone;

/* A time in which the offset stays: from <= t < until. */
struct zone_span {
	int64_t from, until;	/* INT64_MIN, INT64_MAX: always */
	int32_t offset;		/* local time less UTC */
	int32_t before;		/* … until `from` */
};

/*
 * A zone of the bytes of a TZif file, version 1 to 4, with the rule at its end
 * for what comes after its last change. NULL with e: malformed, or one that
 * counts leap seconds, which nobody's clock here does.
 */
struct zone *zone_new(const void *bytes, size_t len, struct err *e);
void zone_free(struct zone *);

/* The span around an instant; by a rule only between the years 1 and 9999. */
struct zone_span zone_span(const struct zone *, int64_t t);

/* What the clock shows, and when it does: the first time of two, and for a time
 * that is skipped the instant of the change. */
int64_t zone_to_local(const struct zone *, int64_t t);
int64_t zone_to_utc(const struct zone *, int64_t local);

#endif
