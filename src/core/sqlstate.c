/*
 * Classes of SQLSTATEs: see sqlstate.h.
 */
#include "config.h"

#include <string.h>

#include "core/sqlstate.h"

/* The longer ones first. */
static const struct {
	const char *prefix;
	enum job_class class;
} classes[] = {
	{ "57014", CLASS_TIMEOUT },
	{ "57P", CLASS_NETWORK },
	{ "42501", CLASS_AUTH },
	{ "25006", CLASS_NETWORK },
	{ "08", CLASS_NETWORK },
	{ "22", CLASS_VALIDATION },
	{ "23", CLASS_VALIDATION },
	{ "28", CLASS_AUTH },
	{ "44", CLASS_VALIDATION },
	{ "53", CLASS_RESOURCE },
	{ "54", CLASS_VALIDATION },
};

enum job_class
sqlstate_class(const char *sqlstate)
{
	if (*sqlstate == '\0')
		return CLASS_NETWORK;
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (strncmp(sqlstate, classes[i].prefix,
		    strlen(classes[i].prefix)) == 0)
			return classes[i].class;
	return CLASS_ERROR;
}

bool
sqlstate_is_passing(const char *sqlstate)
{
	return strncmp(sqlstate, "40", 2) == 0 || strcmp(sqlstate, "55P03") == 0;
}
