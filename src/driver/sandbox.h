/*
 * A queue's sandbox, in a worker: what the programs of one handler may not do,
 * and that those which try are told from others. For each program, one after
 * the other: sandbox_prepare(), its start, sandbox_watch(), its end and that of
 * all it started, sandbox_judge(), sandbox_release(). With a queue that has no
 * sandbox all of this does nothing.
 *
 * What the kernel enforces for each process, and for a control group where one
 * was delegated to us, it does (spawn.h). The rest, what all processes of a
 * program take together, is looked at a few times a second.
 */
#ifndef DRIVER_SANDBOX_H
#define DRIVER_SANDBOX_H

#include <sys/resource.h>
#include <sys/types.h>

#include "base/err.h"
#include "conf/conf.h"
#include "driver/strings.h"
#include "os/loop.h"
#include "os/spawn.h"

struct sandbox;

/* NULL with e: no such user, or not allowed to become it, or no filter. The
 * queue outlives it. */
struct sandbox *sandbox_new(struct loop *, const struct queue_conf *,
    struct err *e);
/* Kills nothing; what was not released is. */
void sandbox_free(struct sandbox *);

/*
 * For the next program: *limits for spawn_start(), valid until the release;
 * puts its TMPDIR into env. -1 with e (ERR_CONFIG, ERR_BUSY), and then nothing
 * is to be released.
 */
int sandbox_prepare(struct sandbox *, struct strings *env,
    const struct spawn_limits **limits, struct err *e);
void sandbox_watch(struct sandbox *, pid_t);
/*
 * After its end, by wait4(): whether it failed by a limit (class resource),
 * which then is put in front of *message.
 */
bool sandbox_judge(struct sandbox *, int status, const struct rusage *,
    char **message);
void sandbox_release(struct sandbox *);

#endif
