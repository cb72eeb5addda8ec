/*
 * What a queue's `schema` asks of its jobs' data: {to: string, count: integer?},
 * members and their types, with a question mark behind those that may be missing
 * or null.
 */
#ifndef CONF_SHAPE_H
#define CONF_SHAPE_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/node.h"

/* Complains of types that there are not. schema: NULL: none. */
void shape_check(const struct node *schema, struct conf_sink *);

/*
 * Whether data, a JSON object as PostgreSQL prints it, is as the schema asks.
 * False: why has the first thing that is not, one line.
 */
bool shape_fits(const struct node *schema, const char *data, char *why,
    size_t size);

#endif
