/*
 * The api process: see api.c.
 */
#ifndef API_API_H
#define API_API_H

#include "conf/conf.h"

/* Runs in a child of the master, channel on descriptor 3, the listening socket
 * on 5; returns the exit status. */
int api_main(const struct conf *);

#endif
