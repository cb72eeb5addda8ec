/*
 * Destinations that are shut: see shut.h.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "core/breaker.h"
#include "worker/shut.h"

int
shut_read(struct shut *s, struct msg_reader *r)
{
	uint32_t n = msg_get_u32(r);
	char *name;

	shut_clear(s);
	while (n-- > 0 && (name = msg_get_short(r, BREAKER_NAME_MAX)) != NULL) {
		s->names = xreallocarray(s->names, s->count + 1,
		    sizeof(*s->names));
		s->names[s->count++] = name;
	}
	return msg_end(r) ? 0 : -1;
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

bool
shut_has(const struct shut *s, const char *destination)
{
	return s->count > 0 && bsearch(&destination, s->names, s->count,
	    sizeof(*s->names), compare) != NULL;
}

void
shut_clear(struct shut *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->names[i]);
	free(s->names);
	*s = (struct shut){ 0 };
}
