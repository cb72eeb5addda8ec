/*
 * Users: who this process is, and giving up root for good.
 */
#ifndef OS_PRIV_H
#define OS_PRIV_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/err.h"

struct identity {
	char name[64];
	uid_t uid;
	gid_t gid;
};

/* group: "" for the user's own. ERR_CONFIG: there is no such user or group. */
int priv_find(const char *user, const char *group, struct identity *, struct err *e);
/* The owner of a file. */
int priv_owner(const char *path, struct identity *, struct err *e);
/* Whether that user, with its groups, may read what stat() has told of. */
bool priv_may_read(const struct identity *, const struct stat *);
/* Become that user, with its groups, for good. Only root can. */
int priv_drop(const struct identity *, struct err *e);

#endif
