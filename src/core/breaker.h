/*
 * A circuit breaker: when the attempts that end keep failing, whom they talk
 * to is left alone for a while, and then tried with one job. Pure: the clock
 * is passed in, and what other nodes know comes by breaker_told().
 *
 *	closed     attempts run; when `of` of them have ended since it closed, and
 *	           `need` of the last `of` failed, it opens
 *	open       none is made, for a time
 *	half-open  then one at a time, the probe, and one in the whole cluster: who
 *	           makes it was granted that by the database. Its success closes
 *	           the breaker, its failure opens it again
 */
#ifndef CORE_BREAKER_H
#define CORE_BREAKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mono.h"
#include "core/job.h"

#define BREAKER_NAME_MAX 255	/* bytes of a destination's name */

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };
const char *breaker_state_name(enum breaker_state);

/* What the end of an attempt says of the other side. */
enum breaker_sign {
	BREAKER_SILENT,		/* nothing */
	BREAKER_ANSWERED,	/* it is there, and refused this job for what it is */
	BREAKER_GOOD,
	BREAKER_BAD,
};

/* What the database is to be told of a breaker. */
enum breaker_change {
	BREAKER_SAME,
	BREAKER_OPENS,		/* closed → open */
	BREAKER_CLOSES,		/* half-open → closed */
	BREAKER_REOPENS,	/* half-open → open */
	BREAKER_PASSES,		/* half-open, and the next job is the probe */
	BREAKER_ASKS,		/* nothing: for the probe */
};

/* Whether a job may run. */
enum breaker_leave {
	BREAKER_RUN,
	BREAKER_PROBE,		/* one, as the probe: breaker_probe() when it is found */
	BREAKER_ASK,		/* the probe is to be had: ask the database for it */
	BREAKER_WAIT,
};

struct breaker {
	unsigned char *ring;	/* bits of the last `of` attempts: failed */
	size_t of, need;
	size_t seen, failed;	/* in the ring */
	size_t next;		/* place in it */
	bool last_failed;
	enum breaker_state state;
	mono_t until;		/* of open; a half-open one that is not ours: ask again then */
	bool ours;		/* half-open: the probe was granted to us … */
	bool probing;		/* … and is on its way */
};

/* share: 0 … 1, of the last `of` (at least 1). The ring is made when needed. */
void breaker_init(struct breaker *, double share, int of);
void breaker_clear(struct breaker *);

/*
 *   named	the driver said where the run went, so whoever answers there did
 * Network, time-outs, rate limits, exhausted resources and errors without a
 * better name are BAD. Validation and auth are about the job: ANSWERED when
 * named, else SILENT, as is what ended by no fault of the other side (crash,
 * lost).
 */
enum breaker_sign breaker_sign(enum job_class, bool named);

/*
 * An attempt has ended.
 *   probe	it was the one that breaker_probe() stands for; of all others that
 *		end while the breaker is not closed nothing is learnt
 *   open_ms	how long it is to be open, when it is
 */
enum breaker_change breaker_ended(struct breaker *, enum breaker_sign, bool probe,
    mono_t now, int64_t open_ms);

enum breaker_leave breaker_leave(const struct breaker *, mono_t now);
void breaker_asked(struct breaker *, mono_t now);	/* not again for a second */
void breaker_probe(struct breaker *);			/* it is on its way */

/*
 * What the database knows, which is what counts.
 *   until	local time until which it is open; of no use for other states
 *   ours	half-open: our probe
 * Returns whether the state is another now.
 */
bool breaker_told(struct breaker *, enum breaker_state, mono_t until, bool ours);

#endif
