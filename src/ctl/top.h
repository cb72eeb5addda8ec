/*
 * jobqctl top: what it knows, which top.c finds out and topview.c shows.
 */
#ifndef CTL_TOP_H
#define CTL_TOP_H

#include <stdbool.h>
#include <jansson.h>

#include "base/mono.h"
#include "ctl/ctl.h"

#define TOP_HISTORY 60		/* refreshes that a sparkline can show */

/* How fast jobs of a queue (name "" : all) end, by two answers. */
struct rate {
	char *name;
	bool known;			/* there were two */
	json_int_t last_completed, last_failed;
	double completed, failed;	/* a second */
	double history[TOP_HISTORY];	/* of completed, the newest last */
	int count;
};

enum top_sort { SORT_NAME, SORT_READY, SORT_RUNNING, SORT_DONE, SORT_FAILED,
	SORT_DEAD, SORT_OLDEST, SORT_COUNT };
extern const char *const top_sorts[SORT_COUNT];

struct top {
	struct ctl *ctl;
	int64_t interval_ms;
	json_t *now;			/* the last answer of top(); NULL: none yet */
	json_t *more;			/* … of top_queue(), of the open queue; NULL */
	mono_t answered;		/* when now came */
	struct rate *rates;
	size_t nrates;
	enum top_sort sort;
	char chosen[64];		/* the queue the cursor is on */
	char open[64];			/* the one that is looked into; "" : none */
	bool help;
	char question[160];		/* to be answered by y or n; "" : none */
	char said[400];			/* what there is to say once; "" */
	char away[400];			/* why there is no database; "" */
};

/* The queues in the order they are shown; a new array of borrowed ones. */
json_t **top_sorted(const struct top *, size_t *count);
const struct rate *top_rate(const struct top *, const char *name);
json_int_t top_number(json_t *object, const char *key);
const char *top_text(json_t *object, const char *key);	/* "" : not there */

void topview_draw(const struct top *);		/* on the screen */
void topview_print(const struct top *);		/* as lines, once */

#endif
