/*
 * A request in the making, for the files that make it: request.c where it goes
 * and its headers, content.c what it brings, signing.c its signature.
 */
#ifndef DRIVER_MAKER_H
#define DRIVER_MAKER_H

#include <jansson.h>

#include "core/template.h"
#include "driver/http/request.h"

struct maker {
	struct request *request;
	const struct node *options;
	const struct job *job;
	const char *queue;
	char *const *secrets;		/* the handler's, or NULL */
	json_t *data;			/* the members that are looked at */
	const char *payload;		/* its very bytes, or NULL */
	size_t payload_len;
	bool envelope;			/* not the data itself is sent */
	int content;			/* which of contents is; -1: none */
	struct buf context;		/* for templates; empty until one is filled in */
	int64_t now;
	struct err *e;
};

/*
 * Checks of options
 */

void maker_complain(struct conf_sink *, const struct node_entry *at,
    const char *text);
/* Whether it is a single value, whose templates are good; else complained of. */
bool maker_check_scalar(const struct node_entry *, struct conf_sink *);
bool maker_is_field_value(const char *);
void content_check(const struct node *options, struct conf_sink *);
void signing_check(const struct node_entry *, struct conf_sink *);

/*
 * Making; all give -1 with m->e.
 */

/* A string of the data, NULL: not there; -1 when it is no string. */
int maker_string(struct maker *, const char *key, const char **out);
/* With its templates filled in. */
int maker_expand(struct maker *, const char *text, enum template_use, char **out);
/* An option that is a map or a list, as text. */
int maker_expand_map(struct maker *, const struct node *, char **out);
/* Whether the handler says what it is, or the data, where it may. */
bool maker_gives(const struct maker *, const char *key);
/* In place of the one of that name. */
void maker_put_header(struct maker *, const char *name, const char *value);
bool maker_has_header(struct maker *, const char *name);

/* Which of all contents it is: the handler's, else the data's, or none. */
int content_find(struct maker *);
int content_query(struct maker *);	/* put behind the URL */
/* The method, if nobody says. */
const char *content_method(const struct maker *);
int content_make(struct maker *);
int signing_make(struct maker *);

#endif
