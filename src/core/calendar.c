/*
 * The Gregorian calendar: see calendar.h.
 */
#include "config.h"

#include <stdbool.h>

#include "core/calendar.h"

#define EPOCH INT64_C(719162)	/* days from 0001-01-01 to 1970-01-01 */

static bool
leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

int
calendar_month_length(int year, int month)
{
	static const int lengths[] = {
		31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31,
	};

	return lengths[month - 1] + (month == 2 && leap(year));
}

int64_t
calendar_day(int year, int month, int day)
{
	static const int before[] = {
		0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334,
	};
	int64_t y = year - 1;

	return y * 365 + y / 4 - y / 100 + y / 400 - EPOCH +
	    before[month - 1] + (month > 2 && leap(year)) + day - 1;
}

int
calendar_year(int64_t day)
{
	/* By the mean length of a year, so one off at most. */
	int year = 1 + (int)((day + EPOCH) * 400 / 146097);

	if (calendar_day(year, 1, 1) > day)
		return year - 1;
	return calendar_day(year + 1, 1, 1) <= day ? year + 1 : year;
}

int
calendar_weekday(int64_t day)
{
	/* 0001-01-01 was a Monday. */
	return (int)((day + EPOCH + 1) % 7);
}
