/*
 * Single values: from text to what the table of keys says, and back.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/xalloc.h"
#include "conf/instant.h"
#include "conf/keys.h"
#include "core/units.h"

static const struct {
	const char *name;
	int number;
} signals[] = {
	{ "TERM", SIGTERM }, { "INT", SIGINT }, { "QUIT", SIGQUIT },
	{ "HUP", SIGHUP }, { "USR1", SIGUSR1 }, { "USR2", SIGUSR2 },
	{ "KILL", SIGKILL },
};

static bool
read_integer(const char *text, int64_t *out)
{
	char *end;
	long long n;

	if (!isdigit((unsigned char)*text) && *text != '-')
		return false;
	errno = 0;
	n = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0')
		return false;
	*out = n;
	return true;
}

/* 12, 0.5: digits and a point, whatever the locale. */
static bool
read_real(const char *text, double *out)
{
	double value = 0, unit = 1;
	const char *p = text;

	while (isdigit((unsigned char)*p))
		value = value * 10 + (*p++ - '0');
	if (p == text || p - text > 15)
		return false;
	if (*p == '.') {
		const char *fraction = ++p;

		while (isdigit((unsigned char)*p))
			value += (*p++ - '0') * (unit /= 10);
		if (p == fraction || p - fraction > 9)
			return false;
	}
	*out = value;
	return *p == '\0';
}

static bool
read_bool(const char *text, bool *out)
{
	static const char *const yes[] = { "true", "yes", "on", "1" };
	static const char *const no[] = { "false", "no", "off", "0" };

	for (size_t i = 0; i < 4; i++) {
		if (strcasecmp(text, yes[i]) == 0) {
			*out = true;
			return true;
		}
		if (strcasecmp(text, no[i]) == 0) {
			*out = false;
			return true;
		}
	}
	return false;
}

static bool
read_signal(const char *text, int *out)
{
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		if (strcasecmp(text, signals[i].name) == 0) {
			*out = signals[i].number;
			return true;
		}
	return false;
}

static size_t
count_names(const char *const *names)
{
	size_t n = 0;

	while (names[n] != NULL)
		n++;
	return n;
}

static bool
in_range(const struct key *key, int64_t n)
{
	return (key->min == 0 && key->max == 0) ||
	    (n >= key->min && n <= key->max);
}

static void
complain_range(const struct key *key, const struct node_entry *entry,
    const char *text, struct conf_sink *sink)
{
	char min[UNITS_TEXT_MAX] = "", max[UNITS_TEXT_MAX] = "";
	const char *what = "a whole number";
	bool ranged = key->min != 0 || key->max != 0;

	if (key->type == KEY_DURATION) {
		what = "a duration like 500ms, 30s, 5m, 1h or 1d";
		units_format_duration(min, sizeof(min), key->min);
		units_format_duration(max, sizeof(max), key->max);
	} else if (key->type == KEY_SIZE) {
		what = "a size like 4096, 100KiB or 1MiB";
		units_format_size(min, sizeof(min), key->min);
		units_format_size(max, sizeof(max), key->max);
	} else {
		if (key->type == KEY_REAL)
			what = "a number";
		snprintf(min, sizeof(min), "%lld", (long long)key->min);
		snprintf(max, sizeof(max), "%lld", (long long)key->max);
	}
	if (ranged)
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "%s: \"%.100s\" is not %s from %s to %s", key->name, text,
		    what, min, max);
	else
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "%s: \"%.100s\" is not %s", key->name, text, what);
}

static bool
read_number(const struct key *key, const struct node_entry *entry,
    const char *text, void *out, struct conf_sink *sink)
{
	int64_t n = 0;
	double real = 0;
	bool good;

	switch (key->type) {
	case KEY_DURATION:
		good = units_duration_ms(text, &n) == 0;
		break;
	case KEY_SIZE:
		good = units_size(text, &n) == 0;
		break;
	case KEY_REAL:
		good = read_real(text, &real);
		n = (int64_t)real;
		if (n == key->max && real > (double)n)
			n++;
		break;
	default:
		good = read_integer(text, &n);
	}
	if (!good || !in_range(key, n)) {
		complain_range(key, entry, text, sink);
		return false;
	}
	if (key->type == KEY_INT) {
		int small = (int)n;

		memcpy(out, &small, sizeof(small));
	} else if (key->type == KEY_REAL)
		memcpy(out, &real, sizeof(real));
	else
		memcpy(out, &n, sizeof(n));
	return true;
}

static bool
read_choice(const struct key *key, const struct node_entry *entry,
    const char *text, void *out, struct conf_sink *sink)
{
	size_t count = count_names(key->names);
	struct buf all = { 0 };

	for (size_t i = 0; i < count; i++) {
		int index = (int)i;
		bool flag = i == 1;

		if (strcmp(text, key->names[i]) != 0) {
			buf_printf(&all, "%s%s", i == 0 ? "" :
			    i + 1 == count ? " or " : ", ", key->names[i]);
			continue;
		}
		if (key->type == KEY_FLAG)
			memcpy(out, &flag, sizeof(flag));
		else
			memcpy(out, &index, sizeof(index));
		buf_clear(&all);
		return true;
	}
	conf_complain(sink, entry->file, entry->line, entry->column,
	    "%s: \"%.100s\" is not %s", key->name, text, all.data);
	buf_clear(&all);
	return false;
}

static bool
read_text(const struct key *key, const struct node_entry *entry,
    const char *text, void *out, struct conf_sink *sink)
{
	const char *why = key->check ? key->check(text) : NULL;
	char *copy, *old;

	if (why != NULL) {
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "%s: \"%.100s\": %s", key->name,
		    key->flags & (KEY_SECRET | KEY_URL) ? "***" : text, why);
		return false;
	}
	copy = xstrdup(text);
	memcpy(&old, out, sizeof(old));
	free(old);
	memcpy(out, &copy, sizeof(copy));
	return true;
}

/* Types whose form is all that can be wrong; NULL: fine. */
static const char *
read_form(const struct key *key, const char *text, void *out)
{
	int64_t pair[2] = { 0, 0 };
	double fraction;
	int number;
	bool flag;

	switch (key->type) {
	case KEY_BOOL:
		if (!read_bool(text, &flag))
			return "true or false (yes, no, on, off, 1, 0)";
		memcpy(out, &flag, sizeof(flag));
		break;
	case KEY_RATE:
		if (*text != '\0' && units_rate(text, &pair[0], &pair[1]) != 0)
			return "a rate like 50/s or 10000/10m";
		memcpy(out, pair, sizeof(pair));
		break;
	case KEY_PERCENT:
		if (units_percent(text, &fraction) != 0)
			return "a percentage from 0% to 100%";
		memcpy(out, &fraction, sizeof(fraction));
		break;
	case KEY_SIGNAL:
		if (!read_signal(text, &number))
			return "TERM, INT, QUIT, HUP, USR1, USR2 or KILL";
		memcpy(out, &number, sizeof(number));
		break;
	default:
		if (*text != '\0' && instant_parse(text, &pair[0]) != 0)
			return "an instant like 2026-12-01T10:00:00Z";
		memcpy(out, pair, sizeof(*pair));
	}
	return NULL;
}

bool
key_read_scalar(const struct key *key, const struct node_entry *entry,
    void *out, struct conf_sink *sink)
{
	const struct node *value = entry->value;
	const char *expected;

	if (value->kind != NODE_SCALAR) {
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "%s: needs a single value, not a %s", key->name,
		    value->kind == NODE_MAP ? "map" : "list");
		return false;
	}
	if (value->broken)
		return false;
	switch (key->type) {
	case KEY_TEXT:
		return read_text(key, entry, value->text, out, sink);
	case KEY_CHOICE:
	case KEY_FLAG:
		return read_choice(key, entry, value->text, out, sink);
	case KEY_INT:
	case KEY_LONG:
	case KEY_REAL:
	case KEY_DURATION:
	case KEY_SIZE:
		return read_number(key, entry, value->text, out, sink);
	default:
		expected = read_form(key, value->text, out);
	}
	if (expected != NULL)
		conf_complain(sink, entry->file, entry->line, entry->column,
		    "%s: \"%.100s\" is not %s", key->name, value->text,
		    expected);
	return expected == NULL;
}

static void
format_number(const struct key *key, const void *at, struct buf *out)
{
	char text[UNITS_TEXT_MAX];
	double real;
	int64_t n[2] = { 0, 0 };

	if (key->type == KEY_PERCENT || key->type == KEY_REAL)
		memcpy(&real, at, sizeof(real));
	else
		memcpy(n, at, key->type == KEY_RATE ? sizeof(n) : sizeof(*n));
	switch (key->type) {
	case KEY_DURATION:
		units_format_duration(text, sizeof(text), n[0]);
		break;
	case KEY_SIZE:
		units_format_size(text, sizeof(text), n[0]);
		break;
	case KEY_RATE:
		*text = '\0';
		if (n[0] > 0)
			units_format_rate(text, sizeof(text), n[0], n[1]);
		break;
	case KEY_PERCENT:
		units_format_percent(text, sizeof(text), real);
		break;
	case KEY_REAL:
		snprintf(text, sizeof(text), "%.12g", real);
		break;
	case KEY_INSTANT:
		*text = '\0';
		if (n[0] != 0)
			instant_format(text, sizeof(text), n[0]);
		break;
	default:
		snprintf(text, sizeof(text), "%lld", (long long)n[0]);
	}
	buf_str(out, text);
}

void
key_format(const struct key *key, const void *at, struct buf *out)
{
	char *text;
	bool flag;
	int n;

	buf_put(out, "", 0);
	switch (key->type) {
	case KEY_TEXT:
		memcpy(&text, at, sizeof(text));
		buf_str(out, text ? text : "");
		return;
	case KEY_BOOL:
	case KEY_FLAG:
		memcpy(&flag, at, sizeof(flag));
		buf_str(out, key->type == KEY_FLAG ? key->names[flag] :
		    flag ? "true" : "false");
		return;
	case KEY_INT:
	case KEY_CHOICE:
	case KEY_SIGNAL:
		memcpy(&n, at, sizeof(n));
		if (key->type == KEY_INT)
			buf_printf(out, "%d", n);
		else if (key->type == KEY_CHOICE)
			buf_str(out, key->names[n]);
		for (size_t i = 0; key->type == KEY_SIGNAL &&
		    i < sizeof(signals) / sizeof(*signals); i++)
			if (signals[i].number == n)
				buf_str(out, signals[i].name);
		return;
	default:
		format_number(key, at, out);
	}
}
