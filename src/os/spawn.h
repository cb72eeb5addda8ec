/*
 * Programs: the only place that starts somebody else's. For workers (the
 * driver exec), and whoever else needs one.
 *
 * A program leads a session and a process group of its own, has default
 * signals and none blocked, no descriptor but 0 to 3, exactly the environment
 * given, and is killed when the process that started it dies. Where the system
 * lets us, it is in a control group with all that it starts (os/cgroup.h).
 */
#ifndef OS_SPAWN_H
#define OS_SPAWN_H

#include <sys/resource.h>
#include <sys/types.h>

#include <stdbool.h>

#include "base/err.h"

struct sock_fprog;

#define SPAWN_LIMITS 8
#define SPAWN_GROUPS 64
#define SPAWN_PATH "/usr/local/bin:/usr/bin:/bin"	/* where there is no PATH */

/* What a program may not do; zeroed: as the process that starts it. */
struct spawn_limits {
	struct {
		int resource;		/* RLIMIT_… */
		rlim_t value;
	} limits[SPAWN_LIMITS];
	int nlimits;
	bool user;			/* become uid, gid, groups */
	uid_t uid;
	gid_t gid;
	gid_t groups[SPAWN_GROUPS];
	int ngroups;
	bool first_killed;		/* when memory is short, before others */
	bool no_network;		/* an empty network of its own */
	bool no_privileges;		/* set-uid programs give none */
	bool few_capabilities;		/* as root: those about files and users */
	/* With no_privileges only; owned by who made them. */
	bool has_rules;
	int rules;			/* os/landlock.h */
	const struct sock_fprog *filter;	/* os/filter.h; NULL: none */
	bool filter_refuses_network;	/* so an empty one is welcome, no must */
};

struct spawn {
	const char *path;		/* of the program, see spawn_find() */
	char *const *argv;		/* NULL at the end; never read by a shell */
	char *const *envp;
	const char *directory;		/* NULL: stay */
	int fds[4];			/* become 0 … 3; -1: the null device, for 3 none */
	const struct spawn_limits *limits;	/* NULL: none */
};

/*
 * Start it. Returns the pid when the program runs (its exec succeeded), or -1
 * with e: ERR_CONFIG when it cannot be run as it is (missing, no permission, no
 * program, arguments too long), ERR_BUSY when the system is short of something.
 * Blocks until the exec. The caller keeps its descriptors and reaps the pid.
 */
pid_t spawn_start(const struct spawn *, struct err *e);

/*
 * Where a program is: itself when it has a slash, else the first executable
 * file of that name in PATH of envp. New string; NULL with e.
 */
char *spawn_find(const char *name, char *const *envp, struct err *e);

/* Fill in user, uid, gid and groups. -1 with e: no such user, or not root. */
int spawn_user(struct spawn_limits *, const char *name, struct err *e);

#endif
