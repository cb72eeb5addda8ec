/*
 * When an alert starts and ends, and when something is said of it: a value
 * against a limit, again and again. Pure: the clock is passed in; where the
 * state is kept between two looks is the caller's affair.
 *
 *	well      the value keeps the limit
 *	broken    it does not, for less than the rule's `for`
 *	firing    … for longer; until it is back at `clear`
 */
#ifndef CORE_RULE_H
#define CORE_RULE_H

#include <stdbool.h>
#include <stdint.h>

struct rule {
	bool over;		/* more than limit is too much; else less is too little */
	double limit;
	double clear;		/* well again here; never on the limit's bad side */
	int64_t min_sample;	/* with fewer in the sample nothing is known */
	int64_t for_us;
	int64_t repeat_us;	/* between two messages; 0: one is enough */
	int64_t escalate_us;	/* firing so long and not acknowledged; 0: never */
};

/* What a look has found. */
struct rule_look {
	bool known;		/* there is a value */
	double value;
	int64_t sample;
	bool silenced;		/* nothing is to be said */
	bool acknowledged;	/* somebody is on it */
};

/* Zero: well. Instants are of the clock that rule_step() is given. */
struct rule_state {
	bool broken, firing;	/* firing ones are broken, too */
	bool told;		/* that it fires; told_at: the last message */
	bool escalated;
	int64_t since;		/* broken */
	int64_t fired_at, told_at;
};

enum rule_event {
	RULE_SAME,
	RULE_BREAKS,		/* and does not fire yet */
	RULE_MENDS,		/* … and never did */
	RULE_FIRES,
	RULE_TELLS,		/* fires, and can be told now: it is silenced no more */
	RULE_REMINDS,
	RULE_ESCALATES,
	RULE_ENDS,
};
const char *rule_event_name(enum rule_event);	/* "fires" */

/*
 * Take the state to now. *tell: a message is due (of FIRES: unless silenced; of
 * ENDS: unless silenced, or never told that it fired). Returns what has
 * happened; one thing at a time, so the next look may come upon another.
 */
enum rule_event rule_step(const struct rule *, struct rule_state *,
    const struct rule_look *, int64_t now, bool *tell);

/* After that, and as long as the next look finds the same: how long nothing
 * happens; -1: never does. */
int64_t rule_wait(const struct rule *, const struct rule_state *,
    const struct rule_look *, int64_t now);

#endif
