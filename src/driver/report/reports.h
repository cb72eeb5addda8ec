/*
 * The reports of a handler, as the configuration describes them. Pure.
 */
#ifndef DRIVER_REPORTS_H
#define DRIVER_REPORTS_H

#include <jansson.h>

#include "conf/node.h"
#include "driver/report/table.h"

#define REPORTS_MAX 1000

struct report {
	const char *name, *title, *query;
	const struct node *columns;	/* names and titles; NULL: none */
	const struct node *totals;	/* names of columns; NULL: none */
	const struct node *parameters;	/* names and types; NULL: none */
	const char *label, *value;	/* of the chart, columns; "" : no chart */
};

/* Complain of what is wrong with reports: in the options. */
void reports_check(const struct node *options, struct conf_sink *);
/* False: there is no such report. */
bool reports_find(const struct node *options, const char *name, struct report *);
/* The name of the only one there is; NULL: there are more. */
const char *reports_only(const struct node *options);

/* Whether the data has what the report needs, by itself or in filters. */
int report_parameters(const struct report *, const json_t *data, struct err *e);

/*
 * The table that the report is of a query with these columns; -1 with e when
 * the configuration names others. Clear it in either case.
 */
int report_table(const struct report *, const struct session_row *head,
    struct table *, struct err *e);
/* Count the values of a row. */
void report_count(struct table *, const struct value *);
void report_table_clear(struct table *);

#endif
