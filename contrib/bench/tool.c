#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool.h"

void
fail(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, why);
	exit(1);
}

double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void
sleep_until(double at)
{
	double left = at - now();

	if (left > 0)
		sleep_ms(left * 1000);
}

void
sleep_ms(double ms)
{
	struct timespec ts = { (time_t)(ms / 1000), 0 };

	ts.tv_nsec = (long)((ms - (double)ts.tv_sec * 1000) * 1e6);
	nanosleep(&ts, NULL);
}

void *
allocate(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (p == NULL)
		fail("memory", "none left");
	return p;
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void
sort_numbers(double *values, size_t n)
{
	qsort(values, n, sizeof(*values), by_value);
}

double
quantile(const double *sorted, size_t n, double q)
{
	return n > 0 ? sorted[(size_t)(q * (double)(n - 1))] : 0;
}

static void
set_option(char *text, const struct number_option *options, size_t n)
{
	char *value = strchr(text, '=');

	if (value == NULL)
		fail(text, "not NAME=NUMBER");
	*value++ = '\0';
	for (size_t i = 0; i < n; i++)
		if (strcmp(options[i].name, text) == 0) {
			*options[i].value = strtol(value, NULL, 10);
			return;
		}
	fail(text, "no such option");
}

void
set_options(char **args, const struct number_option *options, size_t n)
{
	for (; *args != NULL; args++)
		set_option(*args, options, n);
}

void
run_command(const char *name, const struct command *commands, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(name, commands[i].name) == 0) {
			commands[i].run();
			return;
		}
	fail(name, "no such command");
}
