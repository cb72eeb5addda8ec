/*
 * Progress of programs: see progress.h.
 */
#include "config.h"

#include <stdlib.h>

#include "driver/progress.h"

#define PROGRESS_EVERY (MONO_SECOND / 5)
#define NOTHING (-2)

static void
on_tell(void *arg)
{
	progress_tell(arg);
}

void
progress_init(struct progress *p, struct run *run)
{
	*p = (struct progress){ .run = run, .pct = NOTHING };
}

void
progress_tell(struct progress *p)
{
	if (p->pct == NOTHING)
		return;
	run_progress(p->run, p->pct, p->note);
	p->pct = NOTHING;
	p->told = mono_now();
}

void
progress_take(struct progress *p, int pct, char *note)
{
	mono_t since = mono_now() - p->told;

	p->pct = pct;
	free(p->note);
	p->note = note;
	if (since >= PROGRESS_EVERY) {
		progress_tell(p);
		return;
	}
	if (p->tell == NULL)
		p->tell = timer_new(p->run->ctx->loop, on_tell, p);
	if (!timer_pending(p->tell))
		timer_set(p->tell, PROGRESS_EVERY - since);
}

void
progress_clear(struct progress *p)
{
	timer_free(p->tell);
	free(p->note);
	*p = (struct progress){ .pct = NOTHING };
}
