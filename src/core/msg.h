/*
 * The messages between processes, and how their bodies are laid out: values
 * in order, integers in the machine's byte order (both ends are one binary),
 * strings as a 32-bit length and bytes, NULL as length 0xffffffff. A reader
 * checks every length; after a short or malformed value it is `bad` and
 * returns zeros.
 *
 * master ⇄ child, on descriptor 3 of the child:
 *	READY	←				it serves; once
 *	STOP	→	i64 ms			drain and exit 0; after ms, take jobs back and exit
 *	PING	→				is the loop alive?
 *	PONG	←				it is
 * master ⇄ leader; SPAWN, SPAWNED, KILL and EXITED also with the monitor, whose
 * workers bring notices to channels:
 *	POOL	←	i64 pool		its id in the database
 *	SPAWN	←	u32 slot		wants a worker in that slot
 *	SPAWNED	→	u32 slot, i64 pid	with the worker's channel as descriptor
 *	KILL	←	u32 slot, i64 pid, i64 signal
 *						if that pid is still that slot's
 *	EXITED	→	u32 slot, i64 pid, i64 wait status, i64 cpu_ms, i64 max_rss_kb
 *	SIZE	→	u32 workers		how many it may have now (reloads overlap)
 *	WAKE	→	u32 looked		there may be something to lease; who looked
 *						found it, so nobody may have told of it
 *	HEARD	→	str payload		the database notified, of something else;
 *						also to the monitor
 *	LOOKING	→	u32 yes			somebody listens, and looks for idle queues:
 *						from now on, or not any more, and then it
 *						polls; also to the api and the monitor
 * leader → master → scheduler:
 *	IDLE		str queue, u32 idle	whether to look for it; to the scheduler also
 *		i64 pool			whose lease it is to renew meanwhile
 * api → master → scheduler:
 *	PULLS		str queue, u32 waits	whether workers elsewhere wait for jobs of it;
 *						"": of any queue, 0
 * scheduler → master:
 *	LOOKING		u32 yes			as above
 *	HEARD		str payload		as above
 *	FOUND		str queue, u32 looked, u32 pulled
 *						may have ready jobs: WAKE its leader, and tell
 *						the api when workers elsewhere wait
 * master → api:
 *	FOUND		str queue
 * master → monitor:
 *	ORPHANED	i64 pool		its leader died; keep its leases while its
 *						workers finish …
 *	GONE		i64 pool		… and now nobody is left of it: reap
 * leader or monitor ⇄ worker, on descriptor 3 of the worker; about one job, but for HELLO,
 * LEAVE and SHUT, and then with i64 id, i64 attempt in front:
 *	HELLO	←	i64 pid, u32 jobs it runs at once, u32 of WORKER_…,
 *		str destination			ready for jobs; where all of them go, if
 *						that is one place
 *	JOB	→	msg_put_job()		without id and attempt in front
 *	STARTED	←				the driver has it; left out when it ended at once
 *	PROGRESS ←	i64 pct, str note	pct -1: the note alone
 *	OUTPUT	←	str text		to be kept with the attempt
 *	RESULT	←	i64 ended, by mono_now(), i64 run_us, msg_put_result(),
 *		str destination			NULL: it has no name, or it got nowhere
 *	DEFERRED ←	str destination		it would go there, which is shut:
 *						nothing was done
 *	CANCEL	→	u32 class		CLASS_TIMEOUT, or CLASS_NONE for a wish
 *	RECALL	→				give it back if it has not begun …
 *	RETURNED ←				… here it is; one that has begun goes on
 *	LEAVE	→				finish what you have and exit 0
 *	SHUT	→	u32 n, n × str destination
 *						no job is to go there, but for a probe; all of
 *						them, in the order of strcmp()
 */
#ifndef CORE_MSG_H
#define CORE_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "core/job.h"

enum msg_type {
	MSG_READY = 1, MSG_STOP, MSG_PING, MSG_PONG,
	MSG_POOL, MSG_SPAWN, MSG_SPAWNED, MSG_KILL, MSG_EXITED, MSG_SIZE,
	MSG_WAKE, MSG_HEARD, MSG_LOOKING,
	MSG_FOUND, MSG_IDLE, MSG_PULLS, MSG_ORPHANED, MSG_GONE,
	MSG_HELLO, MSG_JOB, MSG_STARTED, MSG_PROGRESS, MSG_OUTPUT, MSG_RESULT,
	MSG_CANCEL, MSG_LEAVE, MSG_RECALL, MSG_RETURNED, MSG_DEFERRED, MSG_SHUT,
};

/* Of HELLO. */
#define WORKER_HEARS 1u		/* it listens while it runs */
#define WORKER_KEEPS 2u		/* its programs live as long as it does */

struct msg_reader {
	const char *p;
	size_t left;
	bool bad;
};

void msg_put_u32(struct buf *, uint32_t);
void msg_put_i64(struct buf *, int64_t);
void msg_put_str(struct buf *, const char *s);		/* NULL allowed */
void msg_put_bytes(struct buf *, const void *, size_t);

void msg_read(struct msg_reader *, const void *body, size_t len);
uint32_t msg_get_u32(struct msg_reader *);
int64_t msg_get_i64(struct msg_reader *);
char *msg_get_str(struct msg_reader *);			/* new, or NULL; refuses a NUL inside */
/* The same; a longer one is bad. */
char *msg_get_short(struct msg_reader *, size_t max);
/* An i64; outside of the range: bad and 0. */
int64_t msg_get_range(struct msg_reader *, int64_t min, int64_t max);
bool msg_end(const struct msg_reader *);		/* all read and nothing bad */

/*
 * A job with the pool that leased it. The reader's job owns its strings, for
 * job_clear(). On failure (-1) it is all zeros and pool is untouched.
 */
void msg_put_job(struct buf *, const struct job *, int64_t pool);
int msg_get_job(struct msg_reader *, struct job *, int64_t *pool);
/*
 * How a run ended; the sender has made it fit by run_result_bound(). The reader
 * checks the ranges of all numbers and both lengths, and cleans the texts; on
 * failure (-1) the result is as run_result_init() makes it.
 */
void msg_put_result(struct buf *, const struct run_result *);
int msg_get_result(struct msg_reader *, struct run_result *);

#endif
