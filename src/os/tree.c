/*
 * Directories: see tree.h.
 */
#include "config.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/xalloc.h"
#include "os/tree.h"

#define TREE_FDS 16

int
tree_make(const char *path, mode_t mode, struct err *e)
{
	char *copy = xstrdup(path), *slash = copy;
	int rc = 0;

	while (rc == 0 && (slash = strchr(slash + 1, '/')) != NULL) {
		*slash = '\0';
		if (mkdir(copy, 0755) != 0 && errno != EEXIST)
			rc = err_errno(e, "cannot make the directory %s", copy);
		*slash = '/';
	}
	if (rc == 0 && mkdir(copy, mode) != 0 && errno != EEXIST)
		rc = err_errno(e, "cannot make the directory %s", copy);
	free(copy);
	return rc;
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

int
tree_remove(const char *path, struct err *e)
{
	if (nftw(path, remove_one, TREE_FDS, FTW_DEPTH | FTW_PHYS) == 0 ||
	    errno == ENOENT)
		return 0;
	return err_errno(e, "cannot remove %s", path);
}
