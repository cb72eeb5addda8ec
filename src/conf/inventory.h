/*
 * All there is, as JSON: arrays of objects by section, of what a configuration
 * says, and of what the database knows beside that (jobq.inventory()). An entry
 * of any section has a name.
 */
#ifndef CONF_INVENTORY_H
#define CONF_INVENTORY_H

#include <jansson.h>
#include <stdbool.h>

#include "conf/conf.h"

/* In the order they are shown; a name of NULL ends them. */
struct inventory_section {
	const char *name;
	bool moment;	/* what is there at the moment: only counted to compare */
};
extern const struct inventory_section inventory_sections[];

/* What the configuration says; NULL: none is known, and the sections are empty. */
json_t *inventory_new(const struct conf *);

/* Add what was found in the database. known: what should be in the configuration
 * is in it already, and what is not is told as such. found is changed. */
void inventory_add(json_t *all, json_t *found, bool known);

/* Say in `counts` how many there are of each; workers as they are configured,
 * whether they run or not. */
void inventory_count(json_t *all);

/* The entry of that name in a list; NULL: there is none. */
json_t *inventory_find(json_t *list, const char *name);

#endif
