/*
 * Retry policies and scales of priorities: what the table of keys alone
 * cannot say of them.
 */
#include "config.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "conf/parts.h"
#include "core/job.h"
#include "core/units.h"

#define MINUTE_MS INT64_C(60000)
#define ATTEMPTS_MAX 1000

static const char *const shapes[] = { "fixed", "linear", "exponential",
    "polynomial", NULL };

/* Of one class of failure: nothing has a default, it is the policy's. */
static void rule_read_shape(struct key_reader *, const struct node_entry *,
    void *);
static void rule_read_respect(struct key_reader *, const struct node_entry *,
    void *);
static void rule_read_retries(struct key_reader *, const struct node_entry *,
    void *);
static void rule_dump_shape(struct dump *, const struct key *, const void *);
static void rule_dump_respect(struct dump *, const struct key *, const void *);

#define R(m) offsetof(struct class_rule, m)
static const struct key rule_keys[] = {
	{ "attempts", KEY_INT, R(attempts), .min = 1, .max = ATTEMPTS_MAX },
	{ "retries", KEY_CUSTOM, .read = rule_read_retries },
	{ "backoff", KEY_CUSTOM, .read = rule_read_shape,
	    .dump = rule_dump_shape },
	{ "base", KEY_DURATION, R(backoff.base_ms), .max = BACKOFF_DELAY_MAX_MS },
	{ "factor", KEY_REAL, R(backoff.factor), .min = 1, .max = 1000 },
	{ "exponent", KEY_REAL, R(backoff.exponent), .max = 10 },
	{ "max", KEY_DURATION, R(backoff.max_ms), .max = BACKOFF_DELAY_MAX_MS },
	{ "jitter", KEY_PERCENT, R(backoff.jitter) },
	{ "respect_retry_after", KEY_CUSTOM, .read = rule_read_respect,
	    .dump = rule_dump_respect },
	{ .name = NULL }
};

static const struct {
	const char *name;
	bool large_first;
	struct { const char *name; int number; } names[5];
} builtin_scales[] = {
	{ "default", false, { { "critical", 1 }, { "high", 3 },
	    { "normal", 5 }, { "low", 8 }, { "very_low", 10 } } },
	{ "fleettracker", true, { { "low", 1 }, { "normal", 5 },
	    { "high", 10 }, { "critical", 20 } } },
	{ "rto", false, { { "critical", 1 }, { "high", 5 },
	    { "normal", 10 }, { "low", 15 } } },
	{ "hse", false, { { "critical", 1 }, { "high", 2 },
	    { "normal", 3 }, { "low", 4 }, { "very_low", 5 } } },
};

/* The other way to count: without the first run. */
static void
read_retries(struct key_reader *r, const struct node_entry *entry, int *attempts)
{
	struct key kind = { "retries", KEY_INT, .max = ATTEMPTS_MAX - 1 };
	int retries;

	if (entry != NULL && key_read_scalar(&kind, entry, &retries, r->sink))
		*attempts = retries + 1;
}

void
policy_read_retries(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	read_retries(r, entry, &((struct retry_policy *)target)->attempts);
}

static void
rule_read_retries(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	read_retries(r, entry, &((struct class_rule *)target)->attempts);
}

static void
read_delays(struct key_reader *r, const struct node *list, struct backoff *b)
{
	struct key one = { "backoff", KEY_DURATION, .min = 0,
	    .max = BACKOFF_DELAY_MAX_MS };

	b->shape = BACKOFF_LIST;
	b->ndelays = 0;
	for (size_t i = 0; i < list->count && i < BACKOFF_LIST_MAX; i++)
		if (key_read_scalar(&one, &list->entries[i],
		    &b->delays_ms[b->ndelays], r->sink))
			b->ndelays++;
}

static void
read_shape(struct key_reader *r, const struct node_entry *entry,
    struct backoff *b)
{
	struct key kind = { "backoff", KEY_CHOICE, .names = shapes };
	int shape = (int)b->shape;

	if (entry->value->kind != NODE_LIST) {
		if (key_read_scalar(&kind, entry, &shape, r->sink))
			b->shape = (enum backoff_shape)shape;
		return;
	}
	if (entry->value->count == 0 ||
	    entry->value->count > BACKOFF_LIST_MAX)
		conf_complain(r->sink, entry->file, entry->line, entry->column,
		    "backoff: a list has 1 to %d delays", BACKOFF_LIST_MAX);
	read_delays(r, entry->value, b);
}

void
policy_read_shape(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	struct retry_policy *policy = target;

	policy->backoff.shape = BACKOFF_EXPONENTIAL;
	for (size_t i = 0; i < CLASS_COUNT; i++)
		policy->on[i].respect_retry_after = -1;
	if (entry != NULL)
		read_shape(r, entry, &policy->backoff);
}

/* Delays that are written out one by one are meant as they are; the others
 * grow and need a bound. */
static int64_t
default_max(const struct backoff *b)
{
	return b->shape == BACKOFF_LIST || b->shape == BACKOFF_FIXED ?
	    0 : MINUTE_MS;
}

void
policy_read_max(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	struct backoff *b = &((struct retry_policy *)target)->backoff;
	struct key kind = { "max", KEY_DURATION, .max = BACKOFF_DELAY_MAX_MS };

	b->max_ms = default_max(b);
	if (entry != NULL)
		key_read_scalar(&kind, entry, &b->max_ms, r->sink);
}

static void
rule_read_shape(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	struct class_rule *rule = target;

	if (entry == NULL)
		return;
	read_shape(r, entry, &rule->backoff);
	rule->backoff.max_ms = default_max(&rule->backoff);
}

static void
rule_read_respect(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	struct key kind = { "respect_retry_after", KEY_BOOL };
	struct class_rule *rule = target;
	bool flag;

	if (entry != NULL && key_read_scalar(&kind, entry, &flag, r->sink))
		rule->respect_retry_after = flag;
}

/*
 * What contradicts itself
 */

static void
complain_at(struct conf_sink *sink, const struct node_entry *at,
    const char *text)
{
	conf_complain(sink, at->file, at->line, at->column, "%s", text);
}

static void
check_counts(struct key_reader *r, const struct node *map)
{
	const struct node_entry *retries = node_entry(map, "retries");

	if (retries != NULL && node_entry(map, "attempts") != NULL)
		complain_at(r->sink, retries, "retries: there is attempts, "
		    "too, which is one more; one of them is enough");
}

/* No delay that is written may be longer than the longest. */
static void
check_max(struct key_reader *r, const struct node_entry *entry,
    const struct backoff *b)
{
	const struct node_entry *at = node_entry(entry->value, "max");
	char longest[UNITS_TEXT_MAX], max[UNITS_TEXT_MAX];
	bool list = b->shape == BACKOFF_LIST;
	int64_t ms = list ? 0 : b->base_ms;

	for (size_t i = 0; list && i < b->ndelays; i++)
		if (b->delays_ms[i] > ms)
			ms = b->delays_ms[i];
	if (b->max_ms == 0 || ms <= b->max_ms)
		return;
	if (at == NULL)
		at = entry;
	units_format_duration(longest, sizeof(longest), ms);
	units_format_duration(max, sizeof(max), b->max_ms);
	conf_complain(r->sink, at->file, at->line, at->column,
	    "max: %s is %s, above max, %s; write a larger max",
	    list ? "a delay of backoff" : "base", longest, max);
}

/* The first key that says how long to wait; NULL: none does. */
static const struct node_entry *
delay_key(const struct node *rule)
{
	static const char *const keys[] = { "backoff", "base", "factor",
	    "exponent", "max", "jitter" };
	const struct node_entry *entry = NULL;

	for (size_t i = 0; entry == NULL && i < sizeof(keys) / sizeof(*keys); i++)
		entry = node_entry(rule, keys[i]);
	return entry;
}

static void
check_rule(struct key_reader *r, const struct node_entry *entry,
    const struct class_rule *rule, enum job_class class)
{
	const struct node_entry *delay = delay_key(entry->value);
	bool once = rule->attempts == 1 ||
	    (rule->attempts == 0 && class == CLASS_VALIDATION);

	check_counts(r, entry->value);
	if (delay != NULL)
		check_max(r, entry, &rule->backoff);
	/* Of what jobqd sees itself nobody says when to come again. */
	if (rule->respect_retry_after == 1 && (class == CLASS_TIMEOUT ||
	    class == CLASS_RESOURCE || class == CLASS_CRASH))
		conf_complain(r->sink, entry->file, entry->line, entry->column,
		    "%s: respect_retry_after is for failures that the other "
		    "side tells of, such as rate_limit", entry->key);
	if (once && delay != NULL)
		conf_complain(r->sink, delay->file, delay->line, delay->column,
		    "%s: failures of class %s are not tried again; write "
		    "attempts: 2 or more", delay->key, entry->key);
}

/* A list of delays in a policy that has no second attempt of any class. */
static void
check_list(struct key_reader *r, const struct node *map,
    const struct retry_policy *policy)
{
	const struct node_entry *list = node_entry(map, "backoff");
	bool once = policy->attempts == 1;

	for (int c = 0; c < CLASS_COUNT; c++)
		once &= policy->on[c].attempts <= 1;
	if (once && list != NULL && policy->backoff.shape == BACKOFF_LIST)
		complain_at(r->sink, list, "backoff: there are delays and only "
		    "one attempt; write attempts: 2 or more");
}

void
policy_finish(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	const struct retry_policy *policy = target;

	if (entry->value->kind != NODE_MAP)
		return;
	check_counts(r, entry->value);
	check_max(r, entry, &policy->backoff);
	check_list(r, entry->value, policy);
}

void
policy_read_on(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	struct retry_policy *policy = target;
	const char *names[CLASS_COUNT];
	const struct node *map = entry ? entry->value : NULL;
	size_t count = 0;

	if (map == NULL || node_is_empty(map))
		return;
	if (map->kind != NODE_MAP) {
		conf_complain(r->sink, entry->file, entry->line, entry->column,
		    "on: needs a map of classes");
		return;
	}
	for (int c = CLASS_NONE + 1; c < CLASS_LOST; c++)
		names[count++] = job_class_name((enum job_class)c);
	for (size_t i = 0; i < map->count; i++) {
		const struct node_entry *one = &map->entries[i];
		struct class_rule *rule;
		enum job_class class;

		if (job_class_parse(one->key, &class) != 0) {
			key_complain_name(r->sink, one, "there is no class",
			    one->key, names, count);
			continue;
		}
		if (class == CLASS_LOST) {
			conf_complain(r->sink, one->file, one->line,
			    one->column, "lost: what was lost charges nothing "
			    "and runs again at once; it has no rule");
			continue;
		}
		rule = &policy->on[class];
		rule->backoff = policy->backoff;
		rule->has_backoff = delay_key(one->value) != NULL;
		keys_read(r, rule_keys, one, rule);
		check_rule(r, one, rule, class);
	}
}

static void
dump_shape(struct dump *d, const struct backoff *b)
{
	char *texts[BACKOFF_LIST_MAX];

	if (b->shape != BACKOFF_LIST) {
		dump_text(d, "backoff", shapes[b->shape]);
		return;
	}
	for (size_t i = 0; i < b->ndelays; i++) {
		texts[i] = xmalloc(UNITS_TEXT_MAX);
		units_format_duration(texts[i], UNITS_TEXT_MAX,
		    b->delays_ms[i]);
	}
	dump_words(d, "backoff", texts, b->ndelays);
	for (size_t i = 0; i < b->ndelays; i++)
		free(texts[i]);
}

void
policy_dump_shape(struct dump *d, const struct key *key, const void *target)
{
	(void)key;
	dump_shape(d, &((const struct retry_policy *)target)->backoff);
}

void
policy_dump_max(struct dump *d, const struct key *key, const void *target)
{
	char text[UNITS_TEXT_MAX];

	units_format_duration(text, sizeof(text),
	    ((const struct retry_policy *)target)->backoff.max_ms);
	dump_raw(d, key->name, text);
}

static void
rule_dump_shape(struct dump *d, const struct key *key, const void *target)
{
	(void)key;
	dump_shape(d, &((const struct class_rule *)target)->backoff);
}

static void
rule_dump_respect(struct dump *d, const struct key *key, const void *target)
{
	const struct class_rule *rule = target;

	if (rule->respect_retry_after >= 0)
		dump_raw(d, key->name,
		    rule->respect_retry_after ? "true" : "false");
}

static bool
rule_is_set(const struct class_rule *rule)
{
	return rule->attempts > 0 || rule->has_backoff ||
	    rule->respect_retry_after >= 0;
}

/* A rule's keys but those that are the policy's. */
static void
dump_rule(struct dump *d, const struct class_rule *rule)
{
	for (const struct key *key = rule_keys; key->name != NULL; key++) {
		bool attempts = strcmp(key->name, "attempts") == 0;
		struct key alone[2] = { *key, { .name = NULL } };

		if (attempts ? rule->attempts == 0 : !rule->has_backoff &&
		    strcmp(key->name, "respect_retry_after") != 0)
			continue;
		dump_keys(d, alone, rule);
	}
}

void
policy_dump_on(struct dump *d, const struct key *key, const void *target)
{
	const struct retry_policy *policy = target;
	bool any = false;

	for (int c = 0; c < CLASS_COUNT; c++)
		any |= rule_is_set(&policy->on[c]);
	if (!any) {
		dump_raw(d, key->name, "{}");
		return;
	}
	dump_open(d, key->name);
	for (int c = 0; c < CLASS_COUNT; c++) {
		if (!rule_is_set(&policy->on[c]))
			continue;
		dump_open(d, job_class_name((enum job_class)c));
		dump_rule(d, &policy->on[c]);
		dump_close(d);
	}
	dump_close(d);
}

void
policies_add_default(struct conf *conf)
{
	struct key_reader r = { .conf = conf,
	    .place = "retry.default", .file = "" };
	struct retry_policy *policy;

	for (size_t i = 0; i < conf->npolicies; i++)
		if (strcmp(conf->policies[i].name, "default") == 0)
			return;
	conf->policies = xreallocarray(conf->policies, conf->npolicies + 1,
	    sizeof(*conf->policies));
	policy = &conf->policies[conf->npolicies++];
	memset(policy, 0, sizeof(*policy));
	policy->name = xstrdup("default");
	keys_read(&r, policy_keys, NULL, policy);
}

void
scale_read_names(struct key_reader *r, const struct node_entry *entry,
    void *target)
{
	struct priority_scale *scale = target;
	const struct node *map = entry ? entry->value : NULL;

	if (map == NULL || node_is_empty(map))
		return;
	if (map->kind != NODE_MAP) {
		conf_complain(r->sink, entry->file, entry->line, entry->column,
		    "names: needs a map of names and numbers");
		return;
	}
	scale->names = xcalloc(map->count, sizeof(*scale->names));
	for (size_t i = 0; i < map->count; i++) {
		const struct node_entry *one = &map->entries[i];
		struct key kind = { one->key, KEY_INT, .min = PRIORITY_MIN,
		    .max = PRIORITY_MAX };
		const char *why = check_name(one->key);

		if (why != NULL)
			conf_complain(r->sink, one->file, one->line,
			    one->column, "\"%s\": %s", one->key, why);
		scale->names[i].name = xstrdup(one->key);
		key_read_scalar(&kind, one, &scale->names[i].number, r->sink);
	}
	scale->nnames = map->count;
}

void
scale_dump_names(struct dump *d, const struct key *key, const void *target)
{
	const struct priority_scale *scale = target;
	char number[16];

	if (scale->nnames == 0) {
		dump_raw(d, key->name, "{}");
		return;
	}
	dump_open(d, key->name);
	for (size_t i = 0; i < scale->nnames; i++) {
		snprintf(number, sizeof(number), "%d", scale->names[i].number);
		dump_raw(d, scale->names[i].name, number);
	}
	dump_close(d);
}

void
scale_free_names(void *target)
{
	struct priority_scale *scale = target;

	for (size_t i = 0; i < scale->nnames; i++)
		free(scale->names[i].name);
	free(scale->names);
}

static bool
has_scale(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->nscales; i++)
		if (strcmp(conf->scales[i].name, name) == 0)
			return true;
	return false;
}

void
scales_add_builtin(struct conf *conf)
{
	const size_t count = sizeof(builtin_scales) / sizeof(*builtin_scales);

	conf->scales = xreallocarray(conf->scales, conf->nscales + count,
	    sizeof(*conf->scales));
	for (size_t i = 0; i < count; i++) {
		struct priority_scale *s = &conf->scales[conf->nscales];

		if (has_scale(conf, builtin_scales[i].name))
			continue;
		conf->nscales++;
		memset(s, 0, sizeof(*s));
		s->name = xstrdup(builtin_scales[i].name);
		s->large_first = builtin_scales[i].large_first;
		s->names = xcalloc(5, sizeof(*s->names));
		for (size_t n = 0; n < 5 &&
		    builtin_scales[i].names[n].name != NULL; n++) {
			s->names[n].name =
			    xstrdup(builtin_scales[i].names[n].name);
			s->names[n].number = builtin_scales[i].names[n].number;
			s->nnames++;
		}
	}
}

int
scale_priority(const struct priority_scale *scale, const char *text)
{
	struct node value = { .kind = NODE_SCALAR, .text = (char *)text };
	struct node_entry entry = { .value = &value };
	struct key kind = { "", KEY_INT, .min = PRIORITY_MIN,
	    .max = PRIORITY_MAX };
	int number = -1;

	for (size_t i = 0; i < scale->nnames && number < 0; i++)
		if (strcmp(scale->names[i].name, text) == 0)
			number = scale->names[i].number;
	if (number < 0 && !key_read_scalar(&kind, &entry, &number, NULL))
		return -1;
	return scale->large_first ? PRIORITY_MAX - number : number;
}
