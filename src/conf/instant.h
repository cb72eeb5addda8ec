/*
 * Instants as they are written: RFC 3339, without the C library's zones. For
 * conf/ and what reads times from people.
 */
#ifndef CONF_INSTANT_H
#define CONF_INSTANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * "2026-12-01T10:00:00Z", "2026-12-01T11:00:00.5+01:00": ms since the epoch,
 * from 1970 on; -1: malformed. Seconds may be left out. So may the offset: then
 * it is a local time of somewhere, and *ms what it would be in UTC.
 */
int instant_parse(const char *text, int64_t *ms);
/* Whether the offset was left out; of a text that could be parsed. */
bool instant_is_local(const char *text);
/* In UTC; needs 32 bytes. */
void instant_format(char *buf, size_t size, int64_t ms);

#endif
