/*
 * Formats of reports: what writes tables, row after row, in memory that does
 * not grow with them.
 */
#ifndef DRIVER_TABLE_H
#define DRIVER_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/total.h"
#include "db/session.h"
#include "driver/output.h"

#define TABLE_COLUMNS_MAX 500

struct table_column {
	char *name, *title;
	enum value_kind kind;
	bool summed;
	struct total total;
};

/* Of a chart: for each text of one column the sum of another one. */
#define CHART_BARS_MAX 30
struct chart {
	int label, value;		/* columns; -1: no chart */
	struct {
		char *text;
		struct total total;
	} bars[CHART_BARS_MAX + 1];	/* the last one: all that have no own */
	int nbars;
};

struct table {
	const char *name;		/* of the report */
	const char *title;
	struct table_column *columns;
	int ncolumns;
	bool any_total;
	int64_t nrows;			/* so far */
	struct chart chart;
};

struct value {
	const char *text;		/* NULL: null */
	size_t len;
};

struct writer;

struct writer_options {
	const char *directory;		/* for what must wait on disk */
	bool bom;			/* csv begins with a mark of UTF-8 */
};

struct format {
	const char *name;		/* and extension */
	const char *type;		/* of its content */
	const char *package;		/* it needs a library; NULL: not */
	bool present;			/* in this build */
	bool many;			/* a file may have several tables */
	struct writer *(*open)(struct output *, const struct writer_options *);
	/* The next table, whose columns are known. */
	int (*begin)(struct writer *, const struct table *, struct err *);
	int (*row)(struct writer *, const struct table *, const struct value *,
	    struct err *);
	/* After the last row of the table. 1: call again, *pct of it is done. */
	int (*end)(struct writer *, const struct table *, int *pct, struct err *);
	/* After the last table. */
	int (*close)(struct writer *, struct err *);
	void (*free)(struct writer *);
	const char *(*library)(void);	/* and its version; NULL: none */
};

extern const struct format format_csv, format_json, format_ndjson, format_xlsx,
    format_pdf;

/* All there are, NULL at the end, also those that this build lacks. */
extern const struct format *const formats[];
/* By its name, also "excel", in any case; NULL: there is none. */
const struct format *format_find(const char *name);

/* A text that a spreadsheet would take for a formula. */
bool value_is_formula(const struct value *);

#endif
