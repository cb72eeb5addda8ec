/*
 * Circuit breakers: see breaker.h.
 */
#include "config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "core/breaker.h"

#define ASK_AGAIN MONO_SECOND

const char *
breaker_state_name(enum breaker_state state)
{
	static const char *const names[] = {
		[BREAKER_CLOSED] = "closed", [BREAKER_OPEN] = "open",
		[BREAKER_HALF_OPEN] = "half-open",
	};

	return names[state];
}

void
breaker_init(struct breaker *b, double share, int of)
{
	memset(b, 0, sizeof(*b));
	b->of = of < 1 ? 1 : (size_t)of;
	/* A share that is not exact in binary must not ask for one more. */
	b->need = (size_t)ceil(share * (double)b->of - 1e-6);
	if (b->need < 1)
		b->need = 1;
	if (b->need > b->of)
		b->need = b->of;
}

void
breaker_clear(struct breaker *b)
{
	free(b->ring);
	b->ring = NULL;
}

enum breaker_sign
breaker_sign(enum job_class class, bool named)
{
	switch (class) {
	case CLASS_NONE:
		return BREAKER_GOOD;
	case CLASS_ERROR:
	case CLASS_RATE_LIMIT:
	case CLASS_NETWORK:
	case CLASS_TIMEOUT:
	case CLASS_RESOURCE:
		return BREAKER_BAD;
	case CLASS_VALIDATION:
	case CLASS_AUTH:
		return named ? BREAKER_ANSWERED : BREAKER_SILENT;
	default:
		return BREAKER_SILENT;
	}
}

/* What was counted before it opened says nothing of the time after. */
static void
close_it(struct breaker *b)
{
	b->state = BREAKER_CLOSED;
	b->seen = b->failed = b->next = 0;
	b->last_failed = b->ours = b->probing = false;
}

static void
open_it(struct breaker *b, mono_t until)
{
	b->state = BREAKER_OPEN;
	b->until = until;
	b->ours = b->probing = false;
}

static void
count(struct breaker *b, bool failed)
{
	unsigned char bit = (unsigned char)(1u << (b->next % 8)), *at;

	if (b->ring == NULL)
		b->ring = xcalloc((b->of + 7) / 8, 1);
	at = &b->ring[b->next / 8];
	if (b->seen == b->of)
		b->failed -= (*at & bit) != 0;
	else
		b->seen++;
	*at = (unsigned char)(failed ? *at | bit : *at & ~bit);
	b->failed += failed;
	b->next = (b->next + 1) % b->of;
	b->last_failed = failed;
}

static enum breaker_change
probe_ended(struct breaker *b, enum breaker_sign sign, mono_t until)
{
	switch (sign) {
	case BREAKER_BAD:
		open_it(b, until);
		return BREAKER_REOPENS;
	case BREAKER_SILENT:
		b->ours = b->probing = false;
		b->until = 0;
		return BREAKER_PASSES;
	default:
		close_it(b);
		return BREAKER_CLOSES;
	}
}

enum breaker_change
breaker_ended(struct breaker *b, enum breaker_sign sign, bool probe, mono_t now,
    int64_t open_ms)
{
	mono_t until = now + open_ms * MONO_MS;

	if (b->state != BREAKER_CLOSED)
		return probe && b->probing ? probe_ended(b, sign, until) :
		    BREAKER_SAME;
	if (sign != BREAKER_GOOD && sign != BREAKER_BAD)
		return BREAKER_SAME;
	count(b, sign == BREAKER_BAD);
	if (b->seen < b->of || b->failed < b->need)
		return BREAKER_SAME;
	open_it(b, until);
	return BREAKER_OPENS;
}

enum breaker_leave
breaker_leave(const struct breaker *b, mono_t now)
{
	if (b->state == BREAKER_CLOSED)
		return BREAKER_RUN;
	if (b->state == BREAKER_HALF_OPEN && b->ours)
		return b->probing ? BREAKER_WAIT : BREAKER_PROBE;
	return now < b->until ? BREAKER_WAIT : BREAKER_ASK;
}

void
breaker_asked(struct breaker *b, mono_t now)
{
	b->until = now + ASK_AGAIN;
}

void
breaker_probe(struct breaker *b)
{
	b->probing = true;
}

bool
breaker_told(struct breaker *b, enum breaker_state state, mono_t until, bool ours)
{
	bool other = b->state != state || b->ours != ours;

	if (state == BREAKER_CLOSED) {
		if (other)
			close_it(b);
	} else if (state == BREAKER_OPEN) {
		open_it(b, until);
	} else {
		if (b->state != BREAKER_HALF_OPEN)
			b->until = 0;
		b->state = BREAKER_HALF_OPEN;
		b->ours = ours;
		b->probing &= ours;
	}
	return other;
}
