/*
 * The words behind a command: see args.h.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "core/near.h"
#include "ctl/args.h"

static const struct option options[] = {
	{ "config", 'c', "FILE", "the configuration to find the database in" },
	{ "database", 0, "URL", "the database itself; no configuration is read" },
	{ "schema", 0, "NAME", "its schema, when that is not jobq" },
	{ "json", 0, NULL, "JSON for a program instead of text" },
	{ "help", 'h', NULL, "how to call the command" },
	{ "version", 'V', NULL, "the version" },
	{ "in", 0, "DURATION", "not before this time has passed: 30s, 5m, 1d" },
	{ "at", 0, "TIME", "at this time, not before: 2026-12-01T10:00:00Z" },
	{ "cron", 0, "CRON", "at the times of this expression: '0 2 * * *'" },
	{ "every", 0, "DURATION", "so often: 30s, 5m, 1d" },
	{ "overlap", 0, "RULE", "what a run that still lives does: allow, skip, replace" },
	{ "priority", 0, "P", "a number, or critical, high, normal, low, very_low" },
	{ "unique", 0, "KEY", "only if no live job of the queue has this key" },
	{ "key", 0, "KEY", "its concurrency key" },
	{ "tenant", 0, "TENANT", "the tenant" },
	{ "tag", 0, "TAG", "a tag; enqueue takes several" },
	{ "wait", 0, NULL, "wait for its end and print its result" },
	{ "queue", 0, "QUEUE", "of this queue" },
	{ "state", 0, "STATE", "only in this state" },
	{ "type", 0, "TYPE", "of this type" },
	{ "limit", 'n', "N", "at most so many" },
	{ "all", 0, NULL, "all of them" },
	{ "for", 0, "DURATION", "until so much time has passed" },
	{ "until", 0, "TIME", "until this time: 2026-12-01T10:00:00Z" },
	{ "older-than", 0, "DURATION", "only what ended longer than this ago" },
	{ "yes", 0, NULL, "do not ask" },
	{ "fingerprint", 0, "F", "only those that died of this reason" },
	{ "reviewed", 0, "yes|no", "only those somebody has reviewed, or nobody" },
	{ "group", 0, NULL, "one line for each reason" },
	{ "rate", 0, "RATE", "so many in a time: 50/s, 1000/10m" },
	{ "data", 0, "JSON|-", "with this data; - reads standard input" },
	{ "decrypt", 0, NULL, "what is encrypted is shown as it was, by the configuration's keys" },
	{ "by", 0, "WHO", "who it is; else the user who calls" },
	{ "notes", 0, "TEXT", "what was found" },
	{ "reason", 0, "TEXT", "why, for those who look" },
	{ "timeout", 0, "DURATION", "give up waiting after this time" },
	{ "tz", 0, "ZONE", "the time zone, as in Europe/Berlin; else UTC" },
	{ "count", 0, "N", "so many instants, or refreshes" },
	{ "from", 0, "TIME", "instants after this one" },
	{ "dst", 0, "RULE", "what a change of the clocks does: standard, skip or clock" },
	{ "edges", 0, NULL, "also tell of the next changes of the clocks, on standard error" },
	{ "print", 0, NULL, "print the SQL instead of running it" },
	{ "roles", 0, NULL, "also create jobq_producer, jobq_reader, jobq_admin" },
	{ "interval", 0, "DURATION", "a refresh so often: 500ms, 2s" },
	{ "compare", 0, "FILE", "with this inventory, made by --json" },
	{ "follow", 'f', NULL, "go on as the log grows" },
	{ "lines", 'n', "N", "so many from before; 20" },
	{ "level", 0, "LEVEL", "only error, warn, info or debug, and worse" },
	{ "schedule", 0, "NAME", "only of this schedule" },
	{ "target", 0, "WHAT", "only of this: 'job 42', 'queue email'" },
	{ "actor", 0, "WHO", "only what this one did" },
	{ "action", 0, "WORD", "only this: cancel, retry, pause" },
	{ "since", 0, "TIME", "not before this time: 2026-12-01T10:00:00Z" },
	{ "growth", 0, "FACTOR", "as if so many times as much came; 1" },
	{ "head", 0, "HASH", "and an entry has this hash, which the log told" },
};
#define OPTION_COUNT (sizeof(options) / sizeof(*options))

const char args_common[] = "config database schema json help version";

static const struct option *find(const char *word, const char *allowed,
    const char **value, struct err *e);
static int unknown(const char *name, size_t len, const char *allowed,
    struct err *e);
static bool listed(const char *list, const char *name, size_t len);

int
args_parse(struct args *a, int argc, char **argv, const char *allowed,
    struct err *e)
{
	bool ended = false;

	memset(a, 0, sizeof(*a));
	if (argc > ARGS_MAX)
		return err_set(e, "too many words: at most %d", ARGS_MAX);
	for (int i = 0; i < argc; i++) {
		const char *word = argv[i], *value = NULL;
		const struct option *o;

		if (ended || word[0] != '-' || word[1] == '\0') {
			a->operands[a->count++] = word;
			continue;
		}
		if (strcmp(word, "--") == 0) {
			ended = true;
			continue;
		}
		if ((o = find(word, allowed, &value, e)) == NULL)
			return -1;
		if (o->value == NULL && value != NULL)
			return err_set(e, "--%s takes no value", o->name);
		if (o->value != NULL && value == NULL && ++i < argc)
			value = argv[i];
		if (o->value != NULL && value == NULL)
			return err_set(e, "--%s needs a value: %s", o->name,
			    o->value);
		a->given[a->given_count].option = o;
		a->given[a->given_count++].value = value;
	}
	return 0;
}

bool
args_has(const struct args *a, const char *name)
{
	for (int i = 0; i < a->given_count; i++)
		if (strcmp(a->given[i].option->name, name) == 0)
			return true;
	return false;
}

const char *
args_get(const struct args *a, const char *name)
{
	const char *value = NULL, *next;

	for (int n = 0; (next = args_nth(a, name, n)) != NULL; n++)
		value = next;
	return value;
}

const char *
args_nth(const struct args *a, const char *name, int n)
{
	for (int i = 0; i < a->given_count; i++)
		if (strcmp(a->given[i].option->name, name) == 0 && n-- == 0)
			return a->given[i].value;
	return NULL;
}

int
args_number(const struct args *a, const char *name, long min, long max,
    long *out, struct err *e)
{
	const char *text = args_get(a, name), *reason;
	long n;

	if (text == NULL)
		return 0;
	n = (long)strtonum(text, min, max, &reason);
	if (reason != NULL)
		return err_set(e, "--%s \"%s\" is no number from %ld to %ld",
		    name, text, min, max);
	*out = n;
	return 0;
}

const struct option *
args_option(const char *name, size_t len)
{
	for (size_t i = 0; i < OPTION_COUNT; i++)
		if (strlen(options[i].name) == len &&
		    memcmp(options[i].name, name, len) == 0)
			return &options[i];
	return NULL;
}

const struct option *
args_letter(char letter, const char *allowed)
{
	const struct option *o = NULL;

	for (size_t i = 0; letter != '\0' && i < OPTION_COUNT; i++)
		if (options[i].letter == letter && (o == NULL ||
		    (allowed != NULL && listed(allowed, options[i].name,
		    strlen(options[i].name)))))
			o = &options[i];
	return o;
}

/* --name, --name=value, -x, -xvalue. */
static const struct option *
find(const char *word, const char *allowed, const char **value, struct err *e)
{
	const struct option *o = NULL;
	const char *name = word + 2;
	size_t len = strcspn(name, "=");

	if (word[1] == '-') {
		o = args_option(name, len);
		if (name[len] == '=')
			*value = name + len + 1;
	} else {
		o = args_letter(word[1], allowed);
		if (word[2] != '\0')
			*value = word + 2;
		name = word;
		len = strlen(word);
	}
	if (o != NULL && (allowed == NULL ||
	    listed(args_common, o->name, strlen(o->name)) ||
	    listed(allowed, o->name, strlen(o->name))))
		return o;
	unknown(name, len, allowed, e);
	return NULL;
}

static int
unknown(const char *name, size_t len, const char *allowed, struct err *e)
{
	const char *names[OPTION_COUNT], *near;
	char typed[64];
	size_t count = 0;

	if (*name == '-')
		return err_set(e, "no option %.*s here", (int)len, name);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const char *n = options[i].name;

		if (allowed == NULL || listed(allowed, n, strlen(n)) ||
		    listed(args_common, n, strlen(n)))
			names[count++] = n;
	}
	strlcpy(typed, name, len < sizeof(typed) ? len + 1 : sizeof(typed));
	near = near_name(typed, names, count);
	if (near != NULL && strcmp(near, typed) != 0)
		return err_set(e, "no option --%s here; did you mean --%s?",
		    typed, near);
	return err_set(e, "no option --%s here", typed);
}

static bool
listed(const char *list, const char *name, size_t len)
{
	while (*list != '\0') {
		size_t n = strcspn(list, " ");

		if (n == len && memcmp(list, name, len) == 0)
			return true;
		list += n;
		list += strspn(list, " ");
	}
	return false;
}
