/*
 * Telling the service manager, by sd_notify's datagrams, without its library.
 * All of it does nothing when there is no manager to tell.
 */
#ifndef OS_NOTIFY_H
#define OS_NOTIFY_H

#include "base/mono.h"

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and removes them from
 * the environment, so that no child speaks for the daemon. */
void notify_init(void);
/* One or more "NAME=value" lines. */
void notify_manager(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* RELOADING=1 with the time the manager wants next to it. */
void notify_reloading(void);
/* How often WATCHDOG=1 is due; 0: never. */
mono_t notify_watchdog(void);

#endif
