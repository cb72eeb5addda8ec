/*
 * What jobqctl doctor finds: doctor.c asks the configuration and the database,
 * host.c looks at this machine.
 */
#ifndef CTL_DOCTOR_H
#define CTL_DOCTOR_H

#include "ctl/ctl.h"

enum finding { FOUND_OK, FOUND_WARN, FOUND_BAD };

struct doctor {
	struct ctl *ctl;
	struct buf json;		/* the elements of the array */
	int counts[FOUND_BAD + 1];
	char *version;			/* what this node's jobqd says of itself; NULL: unknown */
};

/*
 * A line of the report.
 *	subject	a word: "database"
 *	advice	what to do; NULL: nothing
 */
void doctor_say(struct doctor *, enum finding, const char *subject,
    const char *advice, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* The daemon of the configuration, its processes, files and limits. */
void host_look(struct doctor *);

#endif
