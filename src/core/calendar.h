/*
 * The Gregorian calendar, in days since 1970-01-01. Years from 1 on.
 */
#ifndef CORE_CALENDAR_H
#define CORE_CALENDAR_H

#include <stdint.h>

#define CALENDAR_DAY_SECONDS 86400

/* 28 … 31; month from 1. */
int calendar_month_length(int year, int month);

/* The number of a date's day; day from 1, and may lie beyond its month. */
int64_t calendar_day(int year, int month, int day);

/* The year that a day is in. */
int calendar_year(int64_t day);

/* 0, Sunday, … 6. */
int calendar_weekday(int64_t day);

#endif
