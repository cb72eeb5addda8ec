/*
 * Sending notices to channels: alerts, the daily report. They never go through
 * a queue or the database: the monitor has workers of its own, which run the
 * same drivers as jobs do (mail, HTTP, a program). A channel has one worker,
 * started for its first notice and sent home after some idle time, so that
 * notices of a channel keep their order and no channel waits for another.
 */
#ifndef MONITOR_NOTIFY_H
#define MONITOR_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/conf.h"
#include "core/msg.h"
#include "db/service.h"
#include "driver/notice.h"

struct notify;

/*
 * To one channel, tried again with back-off for an hour at most; then given up
 * with a log line. The notice is copied. done (may be NULL) is called back
 * once, from the loop, with the error or NULL when it is delivered; never when
 * the notices are freed before that.
 */
void notify_send(struct notify *, const char *channel, const struct notice *,
    void (*done)(const char *error, void *arg), void *arg);

/*
 * The rest is the monitor's. The service is borrowed: its loop, and its channel
 * to the master. notify_free() logs what is lost.
 */
struct notify *notify_new(const struct conf *, struct service *);
void notify_free(struct notify *);
/* SPAWNED (with its descriptor, which it takes) and EXITED; false: malformed. */
bool notify_message(struct notify *, uint32_t type, struct msg_reader *, int fd);
/*
 * Try what there is once more, now, and call back when nothing is left; after
 * ms at the latest, when the rest is given up.
 */
void notify_stop(struct notify *, int64_t ms, void (*left)(void *arg), void *arg);

#endif
