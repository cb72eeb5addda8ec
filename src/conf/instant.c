/*
 * Instants as they are written: see instant.h.
 */
#include "config.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "conf/instant.h"
#include "core/calendar.h"

static int
digits(const char **p, int count, int *out)
{
	*out = 0;
	for (int i = 0; i < count; i++, (*p)++) {
		if (!isdigit((unsigned char)**p))
			return -1;
		*out = *out * 10 + (**p - '0');
	}
	return 0;
}

static int
literal(const char **p, const char *any)
{
	if (**p == '\0' || strchr(any, **p) == NULL)
		return -1;
	(*p)++;
	return 0;
}

/* ".5" to 500; nothing there is 0. */
static int
fraction(const char **p)
{
	int ms = 0, weight = 100;

	if (**p != '.')
		return 0;
	(*p)++;
	if (!isdigit((unsigned char)**p))
		return -1;
	for (; isdigit((unsigned char)**p); (*p)++, weight /= 10)
		ms += (**p - '0') * weight;
	return ms;
}

/* "Z" or "+01:00", in minutes; nothing there is 0. */
static int
offset(const char **p, int *minutes)
{
	int sign = **p == '-' ? -1 : 1, h, m;

	*minutes = 0;
	if (**p == '\0' || literal(p, "Zz") == 0)
		return 0;
	if (literal(p, "+-") != 0 || digits(p, 2, &h) != 0 ||
	    literal(p, ":") != 0 || digits(p, 2, &m) != 0 || h > 23 || m > 59)
		return -1;
	*minutes = sign * (h * 60 + m);
	return 0;
}

int
instant_parse(const char *text, int64_t *ms)
{
	int year, month, day, hour, minute, second = 0, milli = 0, east;
	const char *p = text;
	int64_t result;

	if (digits(&p, 4, &year) != 0 || literal(&p, "-") != 0 ||
	    digits(&p, 2, &month) != 0 || literal(&p, "-") != 0 ||
	    digits(&p, 2, &day) != 0 || literal(&p, "Tt ") != 0 ||
	    digits(&p, 2, &hour) != 0 || literal(&p, ":") != 0 ||
	    digits(&p, 2, &minute) != 0)
		return -1;
	if (*p == ':' && (p++, digits(&p, 2, &second) != 0 ||
	    (milli = fraction(&p)) < 0))
		return -1;
	if (offset(&p, &east) != 0 || *p != '\0')
		return -1;
	if (year < 1970 || month < 1 || month > 12 || day < 1 ||
	    day > calendar_month_length(year, month) || hour > 23 ||
	    minute > 59 || second > 59)
		return -1;
	result = ((calendar_day(year, month, day) * 24 + hour) * 60 + minute -
	    east) * 60000LL + second * 1000LL + milli;
	if (result < 0)
		return -1;
	*ms = result;
	return 0;
}

bool
instant_is_local(const char *text)
{
	/* Behind the date: 2026-12-01 */
	return strlen(text) > 10 && strpbrk(text + 10, "Zz+-") == NULL;
}

void
instant_format(char *buf, size_t size, int64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	size_t len;

	gmtime_r(&seconds, &tm);
	len = strftime(buf, size, "%Y-%m-%dT%H:%M:%S", &tm);
	if (ms % 1000 != 0)
		snprintf(buf + len, size - len, ".%03dZ", (int)(ms % 1000));
	else
		snprintf(buf + len, size - len, "Z");
}
