/*
 * jobqd --dev: a directory with everything in it, from nothing.
 */
#ifndef MASTER_DEV_H
#define MASTER_DEV_H

#include <stdbool.h>

#include "base/err.h"
#include "conf/conf.h"

struct dev {
	char *directory;
	char *path;		/* its jobqd.yml */
	bool ours;		/* a fresh one, to be removed at the end */
};

/* directory: NULL for a fresh temporary one. A jobqd.yml that is there stays;
 * a new one shows each of the drivers. */
int dev_prepare(struct dev *, const char *directory,
    const struct conf_drivers *, struct err *e);
void dev_clear(struct dev *);
/* The first lines on stderr: where to look, by which token. */
void dev_say(const struct conf *);

#endif
