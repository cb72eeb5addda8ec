/*
 * A mail as text: headers and MIME parts, ASCII only but for addresses that
 * are not (RFC 6532), lines of at most 998 bytes that end in CR LF. Pure: what
 * goes in was checked before.
 */
#ifndef DRIVER_MIME_H
#define DRIVER_MIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "driver/email/addr.h"

struct mail_header {
	char *name;		/* a token */
	char *value;		/* UTF-8 without control characters */
};

struct mail_attachment {
	char *filename;		/* UTF-8 without control characters */
	char *type;		/* "image/png", with parameters or not */
	char *content_id;	/* what the HTML calls it, cid:…; NULL: nothing */
	bool in_place;		/* shown where it is, not offered as a file */
	struct buf content;
};

struct mail {
	struct addr from;
	struct addrs to, cc, reply_to;
	char *subject;		/* UTF-8 without control characters */
	char *text, *html;	/* UTF-8; NULL: not there */
	struct mail_header *headers;
	size_t nheaders;
	struct mail_attachment *attachments;
	size_t nattachments;
	char *message_id;	/* "<…>" */
	int64_t date;		/* seconds since the epoch */
};

void mail_clear(struct mail *);

/* Whether a text may be a header's value, a subject, a file name. */
int mime_is_text(const char *);
/* Whether it is type/subtype, with ASCII parameters or without. */
int mime_is_type(const char *);
/* Whether it may stand between < and > of a Content-ID. */
int mime_is_id(const char *);
/* Whether it may be the name of an additional header: a token that is not
 * one of those that are made here. */
int mime_is_header(const char *);

void mime_build(const struct mail *, struct buf *out);

#endif
