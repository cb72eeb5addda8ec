/*
 * Durations, sizes, rates and percentages as people write them. Pure.
 *
 * A value is written without blanks and signs. Every function that reads
 * returns 0, or -1 for what is malformed or too large, and then leaves *out as
 * it was. Every function that writes makes the shortest text that reads back
 * as the same value, and needs UNITS_TEXT_MAX bytes at most.
 */
#ifndef CORE_UNITS_H
#define CORE_UNITS_H

#include <stddef.h>
#include <stdint.h>

#define UNITS_TEXT_MAX 64

/* The longest duration: a hundred years, so that a sum with an instant cannot
 * overflow, not even in microseconds. */
#define UNITS_DURATION_MAX_MS (36525LL * 24 * 3600 * 1000)

/* "500ms" "30s" "5m" "1h" "1d" "1w", or "0": 0 … UNITS_DURATION_MAX_MS. */
int units_duration_ms(const char *text, int64_t *out);

/* "4096" (bytes) "100KiB" "1MiB" "2GiB" "1TiB": 0 … INT64_MAX bytes. */
int units_size(const char *text, int64_t *out);

/* "50/s" "10000/10m": a count from 1 and a period of 1 ms … a hundred years,
 * written as a duration whose number may be left out when it is 1. */
int units_rate(const char *text, int64_t *count, int64_t *period_ms);

/* "20%" "12.5%" (at most six decimals) or "0", as the fraction 0 … 1. */
int units_percent(const char *text, double *out);

/* Negative values are written as 0. */
void units_format_duration(char *buf, size_t size, int64_t ms);
void units_format_size(char *buf, size_t size, int64_t bytes);
void units_format_rate(char *buf, size_t size, int64_t count, int64_t period_ms);
void units_format_percent(char *buf, size_t size, double fraction);

#endif
