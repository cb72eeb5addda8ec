/*
 * Instants as text: see when.h.
 */
#include "config.h"

#include <stdio.h>
#include <time.h>

#include "base/when.h"

#define YEAR_0 INT64_C(-62167219200)
#define YEAR_9999_END INT64_C(253402300799)

char *
when_text(char buf[WHEN_TEXT_MAX], dbtime_us at)
{
	int64_t second = at / 1000000, us = at % 1000000;
	struct tm tm;

	if (us < 0) {
		us += 1000000;
		second--;
	}
	if (second < YEAR_0)
		second = YEAR_0;
	if (second > YEAR_9999_END)
		second = YEAR_9999_END;
	gmtime_r(&(time_t){ second }, &tm);
	int len = snprintf(buf, WHEN_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d",
	    tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
	    tm.tm_min, tm.tm_sec);

	if (us != 0) {
		len += snprintf(buf + len, WHEN_TEXT_MAX - (size_t)len, ".%06d",
		    (int)us);
		while (buf[len - 1] == '0')
			len--;
	}
	buf[len] = 'Z';
	buf[len + 1] = '\0';
	return buf;
}
