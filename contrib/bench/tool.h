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

void sort_numbers(double *values, size_t n);
/* q from 0, the least, to 1. */
double quantile(const double *sorted, size_t n, double q);

/* Arguments NAME=NUMBER; fail() for a name that is not there. */
struct number_option {
	const char *name;
	long *value;
};

void set_options(char **args, const struct number_option *, size_t n);

/* Run the command of this name; fail() when there is none. */
struct command {
	const char *name;
	void (*run)(void);
};

void run_command(const char *name, const struct command *, size_t n);

#endif
