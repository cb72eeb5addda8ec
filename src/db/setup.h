/*
 * The one-shot child that brings the schema up to date and registers the
 * configuration's queues and schedules before anything else starts, and
 * again at each reload. It waits for a database that is not there yet.
 */
#ifndef DB_SETUP_H
#define DB_SETUP_H

#include "conf/conf.h"

/* Exit status: 0 done, 1 try again, 2 wrong database, role, password or schema version. */
int setup_main(const struct conf *);

#endif
