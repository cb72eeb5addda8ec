/*
 * What jobqctl prints: tables and fields for a person, JSON for a program.
 * Text of jobs comes from strangers, so nothing in it reaches the terminal
 * that could steer it: control and direction characters are shown escaped.
 */
#ifndef CTL_OUT_H
#define CTL_OUT_H

#include <stdbool.h>
#include <stdio.h>

#include "base/buf.h"
#include "db/pgsync.h"

/* Append text with what could steer a terminal as \n, \x1b, \u202e; with
 * lines set, line ends and tabs stay. What is no UTF-8 becomes \xNN. */
void out_escape(struct buf *, const char *text, bool lines);

/* The text alone, escaped, as it is in lines; ends with a line end. */
void out_text(FILE *, const char *text);
/* The same to standard output, of printf()'s words. */
void out_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * All rows as a table: the columns' names as headings, numbers to the right.
 * On a terminal the last column is cut to its width. empty is what is said
 * when there is no row.
 */
void out_table(PGresult *, const char *empty);

/* Lines "name  value" of one row; a column that is NULL or empty is left
 * out, and underscores in names become spaces. */
void out_fields(PGresult *, int row);

/* Column 0 holds JSON text: all rows as an array, or one row as it is. */
void out_json_list(PGresult *);
void out_json_value(const char *json);

#endif
