/*
 * Two kinds of time that never meet. Waiting, time-outs and durations are
 * monotonic and local. Facts shared between machines (due times, ends of
 * leases, history) are instants of the database's clock and are compared in
 * SQL only, never with a local clock.
 */
#ifndef BASE_MONO_H
#define BASE_MONO_H

#include <stdint.h>

typedef int64_t mono_t;		/* microseconds of CLOCK_BOOTTIME */
typedef int64_t dbtime_us;	/* microseconds since the epoch, database's clock */

#define MONO_MS INT64_C(1000)
#define MONO_SECOND INT64_C(1000000)

mono_t mono_now(void);

/* Block so long: for processes and programs that have no loop. */
void mono_sleep(mono_t);

#endif
