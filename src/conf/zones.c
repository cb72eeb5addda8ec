/*
 * Time zones by name: see zones.h.
 */
#include "config.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "conf/zones.h"
#include "core/near.h"

#define DIRECTORY "/usr/share/zoneinfo"
#define NAME_LEN_MAX 100
#define DEPTH_MAX 3		/* America/Argentina/Ushuaia */
#define NAMES_MAX 5000		/* there are 600 */

/* What was read; kept, since configurations point to it. */
static struct known {
	char *path;
	struct stat st;
	struct zone *zone;
} *known;
static size_t nknown;

/* All names there are, for a wrong one; read when the first is. */
static char **names;
static size_t nnames;

static int read_zone(const char *path, struct stat *, struct zone **,
    struct err *);
static int no_such(const char *name, struct err *);
static void list_names(const char *below, int depth);
static int compare(const void *, const void *);

static const char *
directory(void)
{
	const char *dir = getenv("TZDIR");

	return dir != NULL && *dir == '/' ? dir : DIRECTORY;
}

/* Words with / between, none of which begins with a dot: no way out of the
 * directory. */
static bool
is_name(const char *name)
{
	const char *p = name;

	if (strlen(name) > NAME_LEN_MAX)
		return false;
	do {
		if (!isalnum((unsigned char)*p))
			return false;
		while (isalnum((unsigned char)*p) ||
		    (*p != '\0' && strchr("_+-.", *p) != NULL))
			p++;
	} while (*p++ == '/');
	return p[-1] == '\0';
}

static bool
same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	    a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	    a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

int
zones_find(const char *name, const struct zone **zone, struct err *e)
{
	struct zone *fresh = NULL;
	struct stat st;
	char *path;
	int got;

	if (strcmp(name, "UTC") == 0) {
		*zone = NULL;
		return 0;
	}
	if (!is_name(name))
		return no_such(name, e);
	path = xasprintf("%s/%s", directory(), name);
	if (stat(path, &st) == 0)
		for (size_t i = nknown; i > 0; i--)
			if (strcmp(known[i - 1].path, path) == 0 &&
			    same_file(&known[i - 1].st, &st)) {
				*zone = known[i - 1].zone;
				free(path);
				return 0;
			}
	got = read_zone(path, &st, &fresh, e);
	if (got <= 0) {
		free(path);
		return got == 0 ? no_such(name, e) : -1;
	}
	known = xreallocarray(known, nknown + 1, sizeof(*known));
	known[nknown++] = (struct known){ path, st, fresh };
	*zone = fresh;
	return 0;
}

/* 1: read; 0: there is none; -1: with e. */
static int
read_zone(const char *path, struct stat *st, struct zone **zone, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	unsigned char *bytes;
	ssize_t len, got = 0;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (fd < 0)
		return err_errno(e, "%s", path);
	if (fstat(fd, st) != 0 || !S_ISREG(st->st_mode)) {
		close(fd);
		return 0;
	}
	bytes = xmalloc(ZONE_FILE_MAX + 1);
	for (len = 0; len <= ZONE_FILE_MAX; len += got)
		if ((got = read(fd, bytes + len,
		    (size_t)(ZONE_FILE_MAX + 1 - len))) <= 0)
			break;
	if (got < 0)
		err_errno(e, "%s", path);
	else if ((*zone = zone_new(bytes, (size_t)len, e)) == NULL)
		err_prepend(e, "%s", path);
	close(fd);
	free(bytes);
	return *zone != NULL ? 1 : -1;
}

/*
 * Names that are wrong
 */

/* The one of its last word, as in "berlin", or the nearest by letters. */
static const char *
nearest(const char *name)
{
	for (size_t i = 0; i < nnames; i++) {
		const char *slash = strrchr(names[i], '/');

		if (slash != NULL && strcasecmp(slash + 1, name) == 0)
			return names[i];
	}
	return near_name(name, (const char *const *)names, nnames);
}

static int
no_such(const char *name, struct err *e)
{
	const char *near;

	if (nnames == 0) {
		list_names("", 1);
		if (nnames > 0)
			qsort(names, nnames, sizeof(*names), compare);
	}
	if (nnames == 0)
		return err_set(e, "no such time zone, as there are none in %s; "
		    "install the package tzdata or write UTC", directory());
	if ((near = nearest(name)) != NULL)
		return err_set(e, "no such time zone (did you mean \"%s\"?)",
		    near);
	return err_set(e, "no such time zone; "
	    "write one like UTC or Europe/Berlin");
}

/* Zones begin with a capital, and so do their directories; other files that
 * lie there do not. */
static void
list_names(const char *below, int depth)
{
	char *path = xasprintf("%s/%s", directory(), below);
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir != NULL && nnames < NAMES_MAX &&
	    (entry = readdir(dir)) != NULL) {
		char *name, *full;
		struct stat st;

		if (!isupper((unsigned char)*entry->d_name))
			continue;
		name = xasprintf("%s%s%s", below, *below ? "/" : "",
		    entry->d_name);
		full = xasprintf("%s/%s", directory(), name);
		if (stat(full, &st) != 0)
			st.st_mode = 0;
		if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
			list_names(name, depth + 1);
		if (S_ISREG(st.st_mode) && is_name(name)) {
			names = xreallocarray(names, nnames + 1,
			    sizeof(*names));
			names[nnames++] = name;
		} else
			free(name);
		free(full);
	}
	if (dir != NULL)
		closedir(dir);
	free(path);
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}
