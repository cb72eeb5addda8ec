/*
 * The files of src/db/sql as text, in order; sqltext.c is made from them.
 */
#ifndef DB_SQLTEXT_H
#define DB_SQLTEXT_H

struct sqltext {
	const char *name;		/* "10-tables" */
	const char *const *lines;	/* without their newlines; NULL at the end */
};

/* A NULL name at the end. */
extern const struct sqltext sqltext[];

#endif
