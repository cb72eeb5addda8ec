/*
 * Read-ahead by the length of recent runs: see window.h.
 */
#include "config.h"

#include "pool/window.h"

#define SEEN_ENOUGH 4		/* runs before anything is believed */

/*
 * Up at once, down slowly: what waits in a worker's socket waits behind a
 * long run without being able to go elsewhere, so one long run among short
 * ones ends reading ahead for a while.
 */
void
window_note(struct window *w, int64_t run_us)
{
	if (run_us < 0)
		run_us = 0;
	if (run_us > w->estimate_us)
		w->estimate_us = run_us;
	else
		w->estimate_us -= (w->estimate_us - run_us + 7) / 8;
	if (w->seen < SEEN_ENOUGH)
		w->seen++;
}

int
window_ahead(const struct window *w, int base)
{
	int64_t estimate = w->estimate_us > 0 ? w->estimate_us : 1;
	int64_t most = w->short_us > 0 ? w->short_us : WINDOW_SHORT_US;
	int64_t ahead;

	if (w->seen < SEEN_ENOUGH || estimate >= most)
		return 0;
	ahead = (int64_t)base * most / estimate;
	return ahead < WINDOW_AHEAD_MAX ? (int)ahead : WINDOW_AHEAD_MAX;
}
