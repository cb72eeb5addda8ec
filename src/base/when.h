/*
 * Instants as text: "2026-11-21T10:00:00.123456Z", RFC 3339 in UTC, which
 * PostgreSQL reads too. Trailing zeros of the fraction are left out.
 */
#ifndef BASE_WHEN_H
#define BASE_WHEN_H

#include <stddef.h>

#include "base/mono.h"

#define WHEN_TEXT_MAX 32

/* Returns buf, for a caller that prints it at once. Instants outside the
 * years 0 to 9999 come out as the nearest one inside. */
char *when_text(char buf[WHEN_TEXT_MAX], dbtime_us);

#endif
