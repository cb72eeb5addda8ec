/*
 * The database for the api: a few connections, made when somebody asks and
 * closed when nobody has for a while, so that an API that only serves probes
 * costs the database nothing. Each exchange has a statement at a time, and its
 * own transaction.
 */
#ifndef API_ASK_H
#define API_ASK_H

#include "api/server.h"
#include "conf/conf.h"
#include "db/pg.h"
#include "os/loop.h"

struct asker;

/* conf is borrowed. */
struct asker *asker_new(struct loop *, const struct conf *);
/* What was asked and is not answered ends as when the database is away. */
void asker_free(struct asker *);

/* Ends the exchange, now or later; res is borrowed, and no error. */
typedef void ask_fn(struct exchange *, const PGresult *res, void *arg);

/*
 * Run a statement for the exchange. In its transaction jobq.actor, jobq.from
 * and jobq.tenant say who calls. An error, of whatever kind, the exchange is
 * ended with, as a problem document; else it is answer's to end. sql is a
 * constant (it names the schema jobq); parameters are copied.
 */
void ask(struct exchange *, const char *sql, int nparams,
    const char *const *params, ask_fn *answer, void *arg);

/* Of the process, for whoever waits before it asks again. */
struct loop *ask_loop(const struct exchange *);
const struct conf *ask_conf(const struct exchange *);

#endif
