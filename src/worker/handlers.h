/*
 * The handlers of a queue in a worker, one for each type of job: opened at
 * their first job, closed at the end.
 */
#ifndef WORKER_HANDLERS_H
#define WORKER_HANDLERS_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/conf.h"
#include "driver/driver.h"

struct handlers;

/* loop, ops, host are for the drivers; all is borrowed. */
struct handlers *handlers_new(const struct conf *, const struct queue_conf *,
    struct loop *, const struct run_ops *ops, void *host);
void handlers_free(struct handlers *);

/* The index of the entry of types: for this type, -1 if there is none. */
int handlers_find(const struct queue_conf *, const char *type);
/* Opened now if it is not yet. Two types of one handler share it. */
struct driver_ctx *handlers_open(struct handlers *, size_t type, struct err *);

/* Flags that all drivers of the queue have, of DRIVER_MULTIPLEX, DRIVER_ASYNC,
 * and DRIVER_KEEPS if one of them has that. */
unsigned handlers_flags(const struct queue_conf *);
/* Jobs that a worker of the queue runs at once. */
size_t handlers_at_once(const struct queue_conf *);
/* Where all jobs of the queue go; false: it depends, or has no name. */
bool handlers_destination(const struct queue_conf *, char *name, size_t size);

#endif
