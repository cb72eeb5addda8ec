/*
 * A program that a driver runs in a worker: its pipes on the loop, its end, and
 * the end of all that it has started. The worker is the reaper of its orphans,
 * so when a program ends, everything it left behind is killed, whatever that
 * did to get away; only then are the pipes read to their end, so nobody can hold
 * them open. What belongs to other programs of this worker is spared.
 */
#ifndef DRIVER_PROGRAM_H
#define DRIVER_PROGRAM_H

#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/err.h"
#include "core/job.h"
#include "driver/capture.h"
#include "os/loop.h"
#include "os/spawn.h"

/* Our end of a pipe. */
struct pipe_end {
	int fd;				/* -1: closed */
	struct watch *watch;
};

struct program;

/* Called from the loop, with the owner as arg. */
struct program_ops {
	watch_fn *in;			/* its standard input can take something */
	watch_fn *out, *err;		/* it has written, or an end of that */
	watch_fn *extra;		/* descriptor 3; NULL: it has none */
	/* It is dead, and all of it was read. May clear or start it again. The
	 * processor time is that of all it started, if no other program of this
	 * process ended meanwhile. */
	void (*ended)(void *owner, int status, const struct rusage *);
};

/* Embedded in its owner, who keeps it zeroed before and reads its pipes. */
struct program {
	const struct program_ops *ops;
	void *owner;
	pid_t pid;			/* 0: does not run */
	size_t unread;			/* of what it was told, when it had ended */
	struct rusage before;		/* of this process's dead children, at its start */
	unsigned long ended_before;	/* programs of this process, likewise */
	struct pipe_end in, out, err, extra;
	LIST_ENTRY(program) link;
};

/*
 * Start it. spawn says how; path and fds are filled in here. -1 with e as
 * spawn_start().
 */
int program_start(struct program *, struct loop *, struct spawn *,
    const struct program_ops *, void *owner, struct err *e);
/* To its process group. */
void program_signal(const struct program *, int signo);
void program_kill(const struct program *);
/* Closes what is open; of one that runs nobody hears any more. */
void program_clear(struct program *);

/* Bytes read, 0 at the end, which closes it, -1 when there are none now. */
ssize_t pipe_read(struct pipe_end *, char *data, size_t size);
void pipe_close(struct pipe_end *);

/* The class of a death that nobody wanted: resource, or crash. */
enum job_class program_death_class(int status);

/* "exit status 3: the last line it wrote to stderr"; the caller frees. */
char *program_end_text(int status, const struct capture *err);

#endif
