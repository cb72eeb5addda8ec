/*
 * Jobs that programs of the driver worker put into queues, by a session with the
 * database, one order after the other. An order is a transaction: jobs, and, if
 * asked, the end of the job that they come from, so that there is neither without
 * the other. An empty one only waits for those before it.
 */
#ifndef DRIVER_ORDERS_H
#define DRIVER_ORDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/job.h"
#include "driver/strings.h"
#include "os/loop.h"

struct orders;
struct order;

struct order_end {
	enum job_class class;		/* CLASS_NONE: it is done */
	const char *message;		/* one line */
	int64_t id;			/* of the job that was put in last */
};
typedef void order_fn(const struct order_end *, void *arg);

struct orders *orders_new(struct loop *, const char *url, const char *schema);
void orders_free(struct orders *);	/* those that are left end as lost */
bool orders_empty(const struct orders *);
size_t orders_bytes(const struct orders *);	/* of their jobs */

/*
 *   jobs	taken: a queue and an object of enqueue_object()'s members, and so on
 *   job	that it completes, 0: none; with token and result, which are copied
 *   fn		called once from the loop, unless the order is dropped
 */
struct order *orders_add(struct orders *, struct strings *jobs, int64_t job,
    const char *token, const char *result, order_fn *fn, void *arg);
/* fn is not called; one that has begun may be done all the same. */
void orders_drop(struct order *);

#endif
