/*
 * Read-ahead by the length of recent runs and the size of recent jobs: see window.h.
 */
#include "config.h"

#include "pool/window.h"

#define SEEN_ENOUGH 4		/* runs before anything is believed */

/*
 * Up at once, down slowly: what waits in a worker's socket waits behind a
 * long run without being able to go elsewhere, so one long run among short
 * ones ends reading ahead for a while; and one large job makes claims small.
 */
static void
follow(int64_t *estimate, int64_t seen)
{
	if (seen < 0)
		seen = 0;
	if (seen > *estimate)
		*estimate = seen;
	else
		*estimate -= (*estimate - seen + 7) / 8;
}

void
window_note(struct window *w, int64_t run_us)
{
	follow(&w->estimate_us, run_us);
	if (w->seen < SEEN_ENOUGH)
		w->seen++;
}

void
window_note_bytes(struct window *w, int64_t bytes)
{
	follow(&w->bytes, bytes);
}

int
window_fit(const struct window *w, int jobs)
{
	int64_t most = w->bytes > 0 ? WINDOW_BYTES / w->bytes : jobs;

	if (most < 1)
		most = 1;
	return most < jobs ? (int)most : jobs;
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
	return window_fit(w, ahead < WINDOW_AHEAD_MAX ? (int)ahead : WINDOW_AHEAD_MAX);
}
