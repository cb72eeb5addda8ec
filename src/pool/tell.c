/*
 * What the log is told of jobs and workers. A line for each completed job would
 * cost more than the job: those are of the level debug. What fails has a line
 * each, until a receiver that is down makes thousands of them: of one kind ten
 * are told in a second, and from then on, until they have become few, only their
 * number, every ten seconds. At debug everything is told.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "core/outcome.h"
#include "pool/leader.h"

#define KINDS 64		/* kept apart; more of them share */
#define BURST 10		/* lines of a kind in a second */
#define EVERY (10 * MONO_SECOND)	/* a line about what is only counted */

struct kind {
	const char *event;		/* NULL: none yet */
	uint32_t hash;			/* of all that makes the kind */
	enum log_level level;
	bool storm;			/* only counted */
	mono_t since;			/* when the count began */
	unsigned count;			/* of lines or, in a storm, of none */
	enum job_class class;		/* of one that was counted, … */
	char *type, *text;
};

struct told {
	struct kind kinds[KINDS];
	unsigned storms;
};

void
tell_init(struct pool *pool)
{
	pool->told = xcalloc(1, sizeof(*pool->told));
}

static uint32_t
hash(uint32_t h, const char *text)
{
	for (; *text != '\0'; text++)
		h = (h ^ (unsigned char)*text) * 16777619u;
	return h;
}

/* Begin a count; in a storm, of what is like this one. */
static void
begin(struct kind *k, const struct lease *l, const char *text, mono_t now)
{
	k->since = now;
	k->count = 0;
	free(k->type);
	free(k->text);
	k->type = xstrdup(l != NULL ? l->job.type : NULL);
	k->text = xstrdup(text);
	k->class = l != NULL ? l->result.class : CLASS_NONE;
}

static struct kind *
kind_of(struct told *told, const char *event, const struct lease *l)
{
	uint32_t h = hash(2166136261u, event);
	struct kind *k;

	if (l != NULL)
		h = hash((h ^ l->result.class) * 16777619u, l->job.type);
	k = &told->kinds[h % KINDS];
	if (k->event == NULL || (k->hash != h && !k->storm)) {
		k->event = event;
		k->hash = h;
		k->since = 0;
	}
	return k;
}

bool
tell_alone(struct pool *pool, enum log_level level, const char *event,
    const struct lease *l, const char *text)
{
	mono_t now;
	struct kind *k;

	if (!log_would(level) || log_would(LOG_LEVEL_DEBUG))
		return log_would(level);
	now = mono_now();
	k = kind_of(pool->told, event, l);
	if (!k->storm && now - k->since > MONO_SECOND) {
		k->since = now;
		k->count = 0;
	}
	if (!k->storm && k->count < BURST) {
		k->count++;
		return true;
	}
	if (!k->storm || k->count == 0)
		begin(k, l, text, now);
	if (!k->storm)
		pool->told->storms++;
	k->storm = true;
	k->level = level;
	k->count++;
	return false;
}

#define MORE "what=%s queue=%s type=%s class=%s count=%u in_ms=%lld error=%s"

static void
tell_number(const struct pool *pool, const struct kind *k, mono_t now)
{
	const char *class = k->class == CLASS_NONE ? NULL :
	    job_class_name(k->class);
	long long ms = (now - k->since) / MONO_MS;

	if (k->count == 0)
		return;
	if (k->level <= LOG_LEVEL_WARN)
		log_warn("more of the same", MORE, k->event, pool->queue->name,
		    k->type, class, k->count, ms, k->text);
	else
		log_info("more of the same", MORE, k->event, pool->queue->name,
		    k->type, class, k->count, ms, k->text);
}

/* Few again: the next one has a line. */
static void
look_at(struct told *told, const struct pool *pool, struct kind *k, mono_t now)
{
	if (!k->storm || now - k->since < EVERY)
		return;
	tell_number(pool, k, now);
	if (k->count < BURST) {
		k->storm = false;
		told->storms--;
	}
	k->since = now;
	k->count = 0;
}

void
tell_tick(struct pool *pool)
{
	mono_t now = mono_now();

	for (int i = 0; i < KINDS && pool->told->storms > 0; i++)
		look_at(pool->told, pool, &pool->told->kinds[i], now);
}

void
tell_clear(struct pool *pool)
{
	mono_t now = mono_now();

	for (int i = 0; i < KINDS; i++) {
		struct kind *k = &pool->told->kinds[i];

		if (k->storm)
			tell_number(pool, k, now);
		free(k->type);
		free(k->text);
	}
	free(pool->told);
}

/*
 * Jobs
 */

void
tell_started(const struct pool *pool, const struct lease *l)
{
	log_debug("job started",
	    "id=%lld queue=%s type=%s tenant=%s attempt=%d worker=%d",
	    (long long)l->job.id, pool->queue->name, l->job.type,
	    l->job.tenant, l->job.attempt, l->slot->index);
}

#define RUN "id=%lld queue=%s type=%s tenant=%s attempt=%d worker=%d " \
	"duration_ms=%.1f"
#define RUN_OF(pool, l) (long long)(l)->job.id, (pool)->queue->name, \
	(l)->job.type, (l)->job.tenant, (l)->job.attempt, (l)->worker, \
	(double)(l)->run_us / 1000

void
tell_ended(struct pool *pool, const struct lease *l, const struct decision *d)
{
	const char *message = l->result.message;
	const char *class = job_class_name(l->result.class);

	switch (d->outcome) {
	case OUTCOME_COMPLETED:
		log_debug("job completed", RUN, RUN_OF(pool, l));
		break;
	case OUTCOME_CANCELLED:
		if (tell_alone(pool, LOG_LEVEL_INFO, "job cancelled", l, NULL))
			log_info("job cancelled", RUN, RUN_OF(pool, l));
		break;
	case OUTCOME_FAILED:
		if (tell_alone(pool, LOG_LEVEL_INFO, "job failed", l, message))
			log_info("job failed", RUN " class=%s failures=%d "
			    "allowed=%d retry_ms=%lld reason=%s error=%s",
			    RUN_OF(pool, l), class, d->failures, d->allowed,
			    (long long)d->delay_ms, d->reason, message);
		break;
	case OUTCOME_LOST:
		if (tell_alone(pool, LOG_LEVEL_INFO, "job lost", l, message))
			log_info("job lost", RUN " retry_ms=%lld reason=%s "
			    "error=%s", RUN_OF(pool, l), (long long)d->delay_ms,
			    d->reason, message);
		break;
	case OUTCOME_DEAD:
		if (tell_alone(pool, LOG_LEVEL_WARN, "job dead", l, message))
			log_warn("job dead", RUN " class=%s failures=%d "
			    "allowed=%d reason=%s error=%s", RUN_OF(pool, l),
			    class, d->failures, d->allowed, d->reason, message);
		break;
	}
}
