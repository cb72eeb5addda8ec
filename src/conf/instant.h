/*
 * Instants as they are written: RFC 3339. Inside conf/ only.
 */
#ifndef CONF_INSTANT_H
#define CONF_INSTANT_H

#include <stddef.h>
#include <stdint.h>

/* "2026-12-01T10:00:00Z", "2026-12-01T11:00:00.5+01:00": ms since the epoch; -1: malformed. */
int instant_parse(const char *text, int64_t *ms);
/* In UTC; needs 32 bytes. */
void instant_format(char *buf, size_t size, int64_t ms);

#endif
