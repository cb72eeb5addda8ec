/*
 * Durations, sizes, rates and percentages: see units.h.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/units.h"

struct unit {
	const char *name;
	int64_t worth;
};

/* Largest first: the writers take the first that divides. */
static const struct unit durations[] = {
	{ "w", 7LL * 24 * 3600 * 1000 },
	{ "d", 24LL * 3600 * 1000 },
	{ "h", 3600LL * 1000 },
	{ "m", 60LL * 1000 },
	{ "s", 1000 },
	{ "ms", 1 },
	{ NULL, 0 },
};

static const struct unit sizes[] = {
	{ "TiB", 1LL << 40 },
	{ "GiB", 1LL << 30 },
	{ "MiB", 1LL << 20 },
	{ "KiB", 1LL << 10 },
	{ "", 1 },
	{ NULL, 0 },
};

/* Digits, at least one; *text is left behind them. */
static int
number(const char **text, int64_t *out)
{
	const char *p = *text;
	int64_t value = 0;

	if (*p < '0' || *p > '9')
		return -1;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, *p - '0', &value))
			return -1;
	*text = p;
	*out = value;
	return 0;
}

/* count of the unit called name, which ends the text. */
static int
in_units(const struct unit *units, const char *name, int64_t count,
    int64_t *out)
{
	int64_t value;

	for (; units->name != NULL; units++)
		if (strcmp(units->name, name) == 0) {
			if (__builtin_mul_overflow(count, units->worth, &value))
				return -1;
			*out = value;
			return 0;
		}
	return -1;
}

int
units_duration_ms(const char *text, int64_t *out)
{
	int64_t value;

	if (strcmp(text, "0") == 0) {
		*out = 0;
		return 0;
	}
	if (number(&text, &value) != 0 ||
	    in_units(durations, text, value, &value) != 0 ||
	    value > UNITS_DURATION_MAX_MS)
		return -1;
	*out = value;
	return 0;
}

int
units_size(const char *text, int64_t *out)
{
	int64_t value;

	if (number(&text, &value) != 0)
		return -1;
	return in_units(sizes, text, value, out);
}

int
units_rate(const char *text, int64_t *count, int64_t *period_ms)
{
	int64_t n, period = 1;

	if (number(&text, &n) != 0 || n < 1 || *text++ != '/')
		return -1;
	if (*text >= '0' && *text <= '9' && number(&text, &period) != 0)
		return -1;
	if (in_units(durations, text, period, &period) != 0 ||
	    period < 1 || period > UNITS_DURATION_MAX_MS)
		return -1;
	*count = n;
	*period_ms = period;
	return 0;
}

/* By hand, because strtod() takes exponents, "inf" and the locale's comma. */
int
units_percent(const char *text, double *out)
{
	int64_t whole, millionths = 0;

	if (strcmp(text, "0") == 0) {
		*out = 0;
		return 0;
	}
	if (number(&text, &whole) != 0 || whole > 100)
		return -1;
	if (*text == '.') {
		const char *decimals = ++text;

		if (number(&text, &millionths) != 0 || text - decimals > 6)
			return -1;
		for (long n = text - decimals; n < 6; n++)
			millionths *= 10;
	}
	if (strcmp(text, "%") != 0 || (whole == 100 && millionths > 0))
		return -1;
	*out = ((double)whole * 1e6 + (double)millionths) / 1e8;
	return 0;
}

static void
format(char *buf, size_t size, const struct unit *units, int64_t value)
{
	while (value % units->worth != 0)
		units++;
	snprintf(buf, size, "%" PRId64 "%s", value / units->worth, units->name);
}

void
units_format_duration(char *buf, size_t size, int64_t ms)
{
	if (ms <= 0)
		snprintf(buf, size, "0");
	else
		format(buf, size, durations, ms);
}

void
units_format_size(char *buf, size_t size, int64_t bytes)
{
	if (bytes <= 0)
		snprintf(buf, size, "0");
	else
		format(buf, size, sizes, bytes);
}

void
units_format_rate(char *buf, size_t size, int64_t count, int64_t period_ms)
{
	char period[UNITS_TEXT_MAX];
	const char *shown = period;

	units_format_duration(period, sizeof(period), period_ms);
	if (period[0] == '1' && (period[1] < '0' || period[1] > '9'))
		shown++;	/* "50/s", not "50/1s" */
	snprintf(buf, size, "%" PRId64 "/%s", count, shown);
}

void
units_format_percent(char *buf, size_t size, double fraction)
{
	/* In range, so the cast is defined; not-a-number fails both tests. */
	int64_t millionths = fraction >= 1 ? 100000000 :
	    fraction > 0 ? (int64_t)(fraction * 1e8 + 0.5) : 0;
	int64_t decimals = millionths % 1000000;
	int width = 6;

	if (decimals == 0) {
		snprintf(buf, size, "%" PRId64 "%%", millionths / 1000000);
		return;
	}
	for (; decimals % 10 == 0; decimals /= 10)
		width--;
	snprintf(buf, size, "%" PRId64 ".%0*" PRId64 "%%", millionths / 1000000,
	    width, decimals);
}
