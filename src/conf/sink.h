/*
 * Where complaints about a configuration gather, to be shown all at once in
 * the order of their places. Inside conf/ only; others know conf_complain().
 */
#ifndef CONF_SINK_H
#define CONF_SINK_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/node.h"

/* Complaints beyond these are counted, not kept. */
#define SINK_MAX 200

struct complaint {
	size_t file;		/* index in files */
	int line, column;
	size_t turn;		/* of its coming, to keep the order of equals */
	char *text;
};

struct conf_sink {
	char **files;		/* in the order they were read */
	size_t nfiles;
	struct complaint *complaints;
	size_t count;
	size_t beyond;		/* how many were not kept */
};

void sink_clear(struct conf_sink *);
/* The file's place in the order; made known when it is new. */
size_t sink_file(struct conf_sink *, const char *file);
bool sink_is_full(const struct conf_sink *);
/* All complaints as lines, equal ones once; the caller frees. */
char *sink_text(struct conf_sink *);

#endif
