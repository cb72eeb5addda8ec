/*
 * A terminal as a screen: taken over, and given back however the program ends.
 * There is one of them. While it is open, signals are taken in term_wait()
 * alone, so nothing else is ever interrupted; those of a crash give the
 * terminal back and then do what they always do.
 */
#ifndef CTL_TERM_H
#define CTL_TERM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mono.h"

/* What term_wait() tells; a key that is a character is that character. */
enum {
	TERM_TIME = 256,	/* the time is up */
	TERM_READABLE,		/* the descriptor is */
	TERM_CHANGED,		/* another size, or it was given away: draw anew */
	TERM_END,		/* a signal says so, or the terminal has gone */
	TERM_UP, TERM_DOWN, TERM_LEFT, TERM_RIGHT, TERM_HOME, TERM_LAST,
	TERM_PAGE_UP, TERM_PAGE_DOWN, TERM_ESCAPE,
};

/* Standard input and output are a terminal that can be one. */
bool term_usable(void);

int term_open(struct err *e);
/* Does nothing when it is not open. */
void term_close(void);
/* After TERM_END: close it and end as the signal would have. */
void term_die(void);

/* Until a key, a signal, something on fd (-1: none), or the deadline. */
int term_wait(int fd, mono_t deadline);

int term_rows(void);
int term_columns(void);
bool term_utf8(void);		/* by the locale */
bool term_colour(void);		/* unless NO_COLOR says no */

/*
 * A frame: lines from the top, then shown at once. The text of a line may be
 * anybody's: what could steer the terminal is escaped, what does not fit is
 * cut off, what it cannot show is '?'.
 */
enum term_style { TERM_PLAIN, TERM_BOLD, TERM_CHOSEN, TERM_WARN, TERM_FAINT };
void term_begin(void);
void term_line(enum term_style, const char *text);
int term_left(void);		/* rows that are still free */
void term_at_end(void);		/* leave all but the last row empty */
void term_show(void);

#endif
