/*
 * What an SMTP server answers, line by line, and what it offers in that to
 * EHLO. Pure.
 */
#ifndef DRIVER_REPLY_H
#define DRIVER_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define REPLY_TEXT_MAX 500	/* bytes that are kept */
#define REPLY_LINES_MAX 200

/* Zeroed before its first line. */
struct reply {
	int code;			/* 200 to 599 */
	int lines;
	char text[REPLY_TEXT_MAX + 1];	/* with blanks between the lines */
};

/*
 * Add a line without its end, "250-text" or "250 text". Returns 1 when more
 * follow, 0 after the last, when the text can be stored and shown: UTF-8
 * without control characters. -1 with e: that is no answer.
 */
int reply_add(struct reply *, const char *line, struct err *e);

/* Zeroed before the first line. */
struct offers {
	bool pipelining, starttls, utf8;
	bool sizes;			/* MAIL may say the size */
	size_t size_max;		/* bytes of a mail, 0: no limit known */
	char auth[256];			/* mechanisms, with blanks between them */
};

/* A line of the answer to EHLO, as for reply_add(). */
void offers_add(struct offers *, const char *line);

#endif
