/*
 * Webhooks that others send: POST /v1/hooks/NAME. Who sent one is looked at here,
 * before the database hears of it; then it becomes a job, once for each event.
 */
#ifndef API_HOOK_H
#define API_HOOK_H

#include "api/route.h"
#include "conf/conf.h"

extern const struct route hook_routes[];

/* Both are borrowed. One of a process. */
void hooks_open(const struct conf *, struct callers *);
void hooks_close(void);

#endif
