/*
 * A notice, and what of it a channel is sent: the data of the job that its
 * driver runs. Pure.
 */
#ifndef DRIVER_NOTICE_H
#define DRIVER_NOTICE_H

#include <stdbool.h>

#include "base/buf.h"
#include "conf/conf.h"

/* What a channel gets: mail subject, text and html (NULL: none); a program the
 * json on stdin; a webhook the json, or what its format makes of subject and
 * text. */
struct notice {
	const char *subject;		/* one line */
	const char *text;
	const char *html;
	const char *json;		/* one object; NULL: {} */
	enum { NOTICE_INFO, NOTICE_WARNING, NOTICE_CRITICAL, NOTICE_ENDED } kind;
};

/*
 * Append the job's data, an object.
 *   url	where a webhook goes whose handler does not know it; NULL: it does
 *   settled	of each address of email:, whether it needs none; NULL: all do
 *
 * Programs and generic webhooks get json with subject, text and kind ("info",
 * "warning", "critical", "ended") in front of its members, where it has none
 * of that name. What a chat could take for its own marks is taken from the
 * texts; what is longer than it takes is cut.
 */
void notice_data(struct buf *, const struct channel_conf *, const char *url,
    const bool *settled, const struct notice *);

/* How a webhook wants it: what the channel says, else what the host is known
 * for. */
enum channel_format notice_format(const struct channel_conf *, const char *url);

#endif
