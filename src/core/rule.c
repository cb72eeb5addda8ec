/*
 * When an alert starts and ends: see rule.h.
 */
#include "config.h"

#include <math.h>

#include "core/rule.h"

static bool is_known(const struct rule *, const struct rule_look *);
static bool is_broken(const struct rule *, const struct rule_look *);
static bool is_well(const struct rule *, const struct rule_look *);
static enum rule_event fire(struct rule_state *, const struct rule_look *,
    int64_t now, bool *tell);
static enum rule_event go_on(const struct rule *, struct rule_state *,
    const struct rule_look *, int64_t now);

const char *
rule_event_name(enum rule_event event)
{
	static const char *const names[] = { "same", "breaks", "mends", "fires",
	    "tells", "reminds", "escalates", "ends" };

	return names[event];
}

enum rule_event
rule_step(const struct rule *r, struct rule_state *s,
    const struct rule_look *look, int64_t now, bool *tell)
{
	enum rule_event event;

	*tell = false;
	if (s->firing) {
		if (is_well(r, look)) {
			*tell = s->told && !look->silenced;
			*s = (struct rule_state){ 0 };
			return RULE_ENDS;
		}
		event = go_on(r, s, look, now);
		*tell = event != RULE_SAME;
		return event;
	}
	if (!is_broken(r, look)) {
		event = s->broken ? RULE_MENDS : RULE_SAME;
		*s = (struct rule_state){ 0 };
		return event;
	}
	if (!s->broken) {
		*s = (struct rule_state){ .broken = true, .since = now };
		if (r->for_us > 0)
			return RULE_BREAKS;
	}
	if (now - s->since < r->for_us)
		return RULE_SAME;
	return fire(s, look, now, tell);
}

int64_t
rule_wait(const struct rule *r, const struct rule_state *s,
    const struct rule_look *look, int64_t now)
{
	int64_t at = INT64_MAX;

	if (!s->broken)
		return -1;
	if (!s->firing)
		at = s->since + r->for_us;
	else if (look->silenced || look->acknowledged)
		return -1;
	if (s->firing && r->repeat_us > 0)
		at = s->told_at + r->repeat_us;
	if (s->firing && r->escalate_us > 0 && !s->escalated &&
	    s->fired_at + r->escalate_us < at)
		at = s->fired_at + r->escalate_us;
	if (at == INT64_MAX)
		return -1;
	return at > now ? at - now : 0;
}

static bool
is_known(const struct rule *r, const struct rule_look *look)
{
	return look->known && !isnan(look->value) &&
	    look->sample >= r->min_sample;
}

static bool
is_broken(const struct rule *r, const struct rule_look *look)
{
	return is_known(r, look) && (r->over ? look->value > r->limit :
	    look->value < r->limit);
}

/* Of what is not known nobody can say that it is bad. */
static bool
is_well(const struct rule *r, const struct rule_look *look)
{
	return !is_known(r, look) || (r->over ? look->value <= r->clear :
	    look->value >= r->clear);
}

static enum rule_event
fire(struct rule_state *s, const struct rule_look *look, int64_t now,
    bool *tell)
{
	s->firing = true;
	s->fired_at = now;
	s->told = *tell = !look->silenced;
	if (s->told)
		s->told_at = now;
	return RULE_FIRES;
}

/* It fires: whether there is something more to say. */
static enum rule_event
go_on(const struct rule *r, struct rule_state *s,
    const struct rule_look *look, int64_t now)
{
	enum rule_event event = RULE_SAME;

	if (look->silenced)
		return RULE_SAME;
	if (!s->told)
		event = RULE_TELLS;
	else if (look->acknowledged)
		return RULE_SAME;
	else if (r->escalate_us > 0 && !s->escalated &&
	    now - s->fired_at >= r->escalate_us)
		event = RULE_ESCALATES;
	else if (r->repeat_us > 0 && now - s->told_at >= r->repeat_us)
		event = RULE_REMINDS;
	else
		return RULE_SAME;
	s->told = true;
	s->told_at = now;
	if (event == RULE_ESCALATES)
		s->escalated = true;
	return event;
}
