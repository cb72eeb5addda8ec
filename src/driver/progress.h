/*
 * How far a run is, as its program says it: a flood of that goes on as a few
 * messages, of which the last word is never lost.
 */
#ifndef DRIVER_PROGRESS_H
#define DRIVER_PROGRESS_H

#include "base/mono.h"
#include "driver/driver.h"
#include "os/loop.h"

struct progress {
	struct run *run;
	int pct;			/* to be told, -2: nothing is */
	char *note;
	mono_t told;
	struct timer *tell;
};

void progress_init(struct progress *, struct run *);
/* pct -1: the note alone. Takes the note, which may be NULL. */
void progress_take(struct progress *, int pct, char *note);
void progress_tell(struct progress *);		/* now, if there is anything */
void progress_clear(struct progress *);

#endif
