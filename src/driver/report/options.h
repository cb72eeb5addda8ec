/*
 * The options of the handlers of reports.
 */
#ifndef DRIVER_REPORT_OPTIONS_H
#define DRIVER_REPORT_OPTIONS_H

#include "conf/node.h"
#include "driver/report/reports.h"

#define REPORT_FORMATS_MAX 8

struct report_options {
	const char *directory;		/* all texts are the options' */
	const char *role;		/* of the queries; "": the connection's */
	const char *mail_queue;		/* "": no mails */
	const char *mail_type;
	const char *link_base;		/* "": no links */
	int64_t keep_ms, max_size;
	int64_t attach_max;		/* the largest file that is put into a mail */
	struct writer_options writer;
	bool allowed[REPORT_FORMATS_MAX];	/* by the index of formats[] */
};

/* Complain of what is wrong with them. */
void report_options_check(const struct node *options, struct conf_sink *);
void report_options_read(struct report_options *, const struct node *options);

#endif
