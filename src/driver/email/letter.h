/*
 * From a job's data to a mail and its envelope, everything checked.
 */
#ifndef DRIVER_LETTER_H
#define DRIVER_LETTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/job.h"
#include "driver/email/addr.h"
#include "driver/email/mime.h"

#define LETTER_RECIPIENTS_MAX 1000
#define LETTER_ATTACHMENTS_MAX 100
#define LETTER_HEADERS_MAX 100
#define LETTER_HEADER_MAX 8192		/* bytes of a header, of the subject */
#define LETTER_BYTES_MAX (40u << 20)	/* of all attachments */

struct letter_options {
	const char *from;		/* "" : only the data's */
	bool force_from;		/* the data's from is not looked at */
	const char *reply_to;		/* "" : none, unless the data has one */
	const char *attachments_dir;	/* "" : no attachments by path */
	/* Templates for what the data does not have; "" : none. */
	const char *subject, *text, *html;
	const char *queue;		/* for them */
};

struct letter {
	struct mail mail;
	struct addrs recipients;	/* of to, cc and bcc, each once */
	bool beyond_ascii;		/* some address is, and so the headers are */
};

/*
 *   now	seconds since the epoch, for Date
 * -1 with e: what is wrong with the data (class validation). Clear in either case.
 */
int letter_read(struct letter *, const struct letter_options *,
    const struct job *, int64_t now, struct err *e);
void letter_clear(struct letter *);

#endif
