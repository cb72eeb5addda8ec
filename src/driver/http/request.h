/*
 * The HTTP request of a job: from the handler's options and the job's data to
 * the bytes to send, everything checked. Pure; knows nothing of curl.
 *
 * The handler's url and method win over the data's, and so does what it sends:
 * one of payload, body, form, multipart, upload. Headers and query of both are
 * sent, the data's in place of the handler's of the same name. Data that has one
 * of payload, body, form, multipart, secret, or is about files (upload, save_to)
 * where the handler has a directory for them, is an envelope around what to
 * send; else, when the url is the handler's, the data itself is the payload.
 */
#ifndef DRIVER_REQUEST_H
#define DRIVER_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "conf/node.h"
#include "core/job.h"
#include "driver/http/form.h"
#include "driver/strings.h"

#define REQUEST_URL_MAX 8192
#define REQUEST_HEADERS_MAX 100
#define REQUEST_HEADER_MAX 8192		/* bytes of one */

struct request {
	char *url;
	char *method;			/* upper case */
	struct strings headers;		/* "Name: value" */
	char *body;			/* NULL: none */
	size_t body_len;
	struct pieces pieces;		/* in place of body, when one is a file */
	char *save_to;			/* where the answer goes; NULL: nowhere */
};

/* Complaints about what of a handler's options makes its requests. */
void request_check(const struct node *options, struct conf_sink *);

/*
 *   secrets	the handler's of sign, as they were configured or read from their
 *		file, with NULL at the end; NULL: none
 *   queue	its name, for templates, as is
 *   now	seconds since the epoch, also for the signature
 * -1 with e: what is wrong with the data (class validation). Clear in either case.
 */
int request_make(struct request *, const struct node *options,
    char *const *secrets, const struct job *, const char *queue, int64_t now,
    struct err *e);
void request_clear(struct request *);

/* "https://host.name", for messages: nothing of the URL that may be secret. */
void request_where(const char *url, char *buf, size_t size);

/*
 * The same as a name, one for all spellings: lower case, with the port. False:
 * it does not fit, or is no such URL.
 */
bool request_destination(const char *url, char *buf, size_t size);
/* … of a handler: false when its url depends on the job. */
bool request_fixed_destination(const struct node *options, char *buf,
    size_t size);

#endif
