/*
 * The local clock: runs on while the machine is suspended, so a lease that
 * ended during the nap is seen to have ended.
 */
#include "config.h"

#include <time.h>

#include "base/mono.h"

mono_t
mono_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (mono_t)ts.tv_sec * MONO_SECOND + ts.tv_nsec / 1000;
}

void
mono_sleep(mono_t time)
{
	struct timespec ts = {
		.tv_sec = time / MONO_SECOND,
		.tv_nsec = (long)(time % MONO_SECOND) * 1000,
	};

	nanosleep(&ts, NULL);
}
