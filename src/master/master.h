/*
 * The master: the parent of all of jobqd's processes. See master.c.
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include "conf/conf.h"

/* How a child process begins; main.c fills in the table, so that the master
 * includes none of them. */
struct master_entries {
	int (*setup)(const struct conf *);
	int (*pool)(const struct conf *, const struct queue_conf *);
	int (*worker)(const struct conf *, const struct queue_conf *, int index);
	int (*sched)(const struct conf *);
	int (*monitor)(const struct conf *);
	int (*api)(const struct conf *);
};

struct master_options {
	const struct master_entries *entries;
	const struct conf_drivers *drivers;	/* for a reload's conf_load() */
	bool detach;		/* -d */
	bool dev;		/* --dev: say on stderr what there is, before anything else */
	int64_t ping_ms;	/* 0: 10 s; a process that misses three is killed */
	int64_t backoff_ms;	/* 0: 1 s; doubling to its sixtyfold */
};

/* Takes the configuration. Returns jobqd's exit status. */
int master_main(struct conf *, const struct master_options *);
/* jobqd -s reload|quit|stop|reopen: send it and return. ERR_CONFIG: no such name. */
int master_signal(const struct conf *, const char *name, struct err *e);

#endif
