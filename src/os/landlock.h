/*
 * Landlock: what files a program may reach, enforced by the kernel for it and
 * all it starts, without root and without a way back. A program under such
 * rules also cannot trace, and where the kernel is new enough (Linux 6.12) not
 * signal, processes that are not: jobqd's own and those of other jobs.
 */
#ifndef OS_LANDLOCK_H
#define OS_LANDLOCK_H

#include <stddef.h>

#include "base/err.h"

/* What a version of the interface brought. */
#define LANDLOCK_FILES 1
#define LANDLOCK_MOVES 2	/* below it, no file can change its directory */
#define LANDLOCK_TRUNCATE 3
#define LANDLOCK_DEVICES 5	/* ioctl */
#define LANDLOCK_SIGNALS 6

struct landlock_paths {
	char *const *read;	/* with 0 of them, everything may be read */
	size_t nread;
	char *const *write;	/* and read; with 0 of them, everything written */
	size_t nwrite;
	const char *scratch;	/* may be written as well; NULL: none */
};

/* The version of the interface that this kernel has; 0: none. */
int landlock_version(void);

/*
 * The rules for one program, as a descriptor for landlock_enter(). What the
 * system's own programs need (the libraries, /etc/ld.so.cache, /dev/null and
 * the like) may always be read. -1 with e: no Landlock, or a path that is not
 * there.
 */
int landlock_rules(const struct landlock_paths *, struct err *e);

/* Put this process, which can get no more privileges, under them. Safe between
 * fork and exec. -1: errno. */
int landlock_enter(int rules);

#endif
