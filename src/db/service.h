/*
 * A child of the master that serves the whole node by one connection to the
 * database: what the scheduler and the monitor have in common. It owns the
 * loop, the channel to the master and the connection, answers PING, ends when
 * the master is gone, and tells the log once of each loss of the database.
 * Who listens has a second connection for it: the server tells a session nothing
 * while it is in a statement, and those may wait for locks.
 */
#ifndef DB_SERVICE_H
#define DB_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "core/msg.h"
#include "db/pg.h"
#include "os/chan.h"
#include "os/loop.h"

struct service_ops {
	const char *name;	/* "monitor": in log, title and pg_stat_activity */
	/* Of the master, but PING and STOP. False: unknown or malformed. */
	bool (*message)(uint32_t type, struct msg_reader *, void *arg);
	/* One that came with a descriptor, which is the callee's. NULL: none does. */
	bool (*descriptor)(uint32_t type, struct msg_reader *, int fd, void *arg);
	void (*stop)(void *arg);	/* STOP; NULL: leave at once */
	void (*up)(void *arg);		/* the connection, also again */
	void (*down)(const char *reason, void *arg);
	/* On the channel named as the schema is. NULL: does not LISTEN. */
	void (*notify)(const char *payload, void *arg);
	void (*hears)(bool yes, void *arg);	/* that it listens from here on, or not */
};

struct service {
	const struct service_ops *ops;
	void *arg;
	const struct conf *conf;
	struct loop *loop;
	struct chan *master;	/* NULL: gone */
	struct pg *pg;
	struct pg *ear;		/* NULL: does not listen, or a pooler lets nobody */
	bool ready;		/* the master knows */
	bool away, deaf;	/* the log knows */
	int64_t stop_ms;	/* what the last STOP granted */
};

/* Nothing is called back before service_run(). conf, ops, arg are borrowed. */
void service_init(struct service *, const struct conf *,
    const struct service_ops *, void *arg);
void service_run(struct service *);	/* until service_leave() */
void service_leave(struct service *);
/* Statements not answered are called back with NULL: the owner's state must
 * still be there, its timers too. */
void service_disconnect(struct service *);
void service_clear(struct service *);	/* after the owner's timers */

void service_ready(struct service *);	/* it serves; told once */
bool service_hears(const struct service *);	/* all there is to hear */

#endif
