/*
 * What the programs of the benchmarks share. Each is started by ./bench, which
 * reads the JSON on its standard output; a failure is one line that begins with
 * the program's name, and its end.
 */
#ifndef BENCH_TOOL_H
#define BENCH_TOOL_H

#include <stddef.h>

/* Never returns: status 1. */
void fail(const char *what, const char *why) __attribute__((noreturn));

/* Seconds of CLOCK_MONOTONIC, which processes share. */
double now(void);
void sleep_until(double at);
void sleep_ms(double ms);

/* Memory or fail(); zeroed. */
void *allocate(size_t n, size_t size);

/* A value of sorted numbers, q from 0 to 1. */
void sort_numbers(double *values, size_t n);
double quantile(const double *sorted, size_t n, double q);

/* Arguments NAME=NUMBER; fail() for a name that is not there. */
struct number_option {
	const char *name;
	long *value;
};

void set_options(char **args, const struct number_option *, size_t n);

#endif
