/*
 * The event loop of one process: descriptors, timers, signals. libevent
 * stays behind this header. A loop is made after the fork by the process that
 * runs it; callbacks never block. A callback may free its own watch or timer.
 */
#ifndef OS_LOOP_H
#define OS_LOOP_H

#include <stdbool.h>

#include "base/mono.h"

struct loop;
struct watch;
struct timer;

#define LOOP_READ 1u
#define LOOP_WRITE 2u

typedef void watch_fn(int fd, unsigned what, void *arg);
typedef void timer_fn(void *arg);
typedef void signal_fn(int signo, void *arg);

struct loop *loop_new(void);
void loop_free(struct loop *);
/* In a child: leave the parent's loop, whose watches and timers are gone. */
void loop_forked(struct loop *);
void loop_run(struct loop *);		/* until loop_stop() */
void loop_stop(struct loop *);		/* from a callback: return when it ends */

/* A watch is level-triggered and does not own fd. what may be 0: nothing yet. */
struct watch *watch_new(struct loop *, int fd, unsigned what, watch_fn *, void *arg);
void watch_set(struct watch *, unsigned what);
/* Call it in the next turn of the loop as if that had happened, once; undone by
 * a watch_set() that changes something. */
void watch_wake(struct watch *, unsigned what);
void watch_free(struct watch *);

/* A timer fires once for each timer_set(), `after` from now (0: next turn of
 * the loop). Setting it again moves it. */
struct timer *timer_new(struct loop *, timer_fn *, void *arg);
void timer_set(struct timer *, mono_t after);
void timer_stop(struct timer *);
bool timer_pending(const struct timer *);
void timer_free(struct timer *);

const char *loop_library(void);		/* its name and version */

/* Called from the loop, not in the handler. Lasts as long as the loop. */
void loop_signal(struct loop *, int signo, signal_fn *, void *arg);

#endif
