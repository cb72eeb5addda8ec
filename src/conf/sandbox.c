/*
 * Of queues' sandboxes, what a table of keys cannot say. The sandbox itself is in
 * driver/sandbox.c.
 */
#include "config.h"

#include "base/buf.h"
#include "conf/conf.h"
#include "os/cgroup.h"
#include "os/filter.h"
#include "os/landlock.h"

bool
sandbox_confines(const struct sandbox_conf *box)
{
	return box->isolate || box->nread > 0 || box->nwrite > 0;
}

bool
sandbox_is_on(const struct sandbox_conf *box)
{
	return box->user[0] != '\0' || box->memory > 0 || box->cpu_ms > 0 ||
	    box->processes > 0 || box->files > 0 || box->file_size > 0 ||
	    !box->network || sandbox_confines(box);
}

static void
lack(struct buf *b, const char *what)
{
	if (b->len > 0)
		buf_str(b, "; ");
	buf_str(b, what);
}

/* What Landlock can do depends on the kernel. */
static void
lack_landlock(struct buf *b, bool confines, bool writes)
{
	int version = landlock_version();

	if (confines && version < LANDLOCK_MOVES)
		lack(b, "Landlock (the kernel has none, or an old one): read and "
		    "write are refused, programs can trace others of their user");
	else if (confines && version < LANDLOCK_SIGNALS)
		lack(b, "Landlock of Linux 6.12: programs can signal others of "
		    "their user");
	if (writes && version >= LANDLOCK_MOVES && version < LANDLOCK_TRUNCATE)
		lack(b, "Landlock of Linux 6.2: files outside write can be made "
		    "empty");
}

char *
sandbox_lacks(const struct conf *conf, unsigned enforced)
{
	bool confines = false, writes = false, filters = false;
	unsigned wanted = 0;
	struct buf b = { .len = 0 };

	for (size_t i = 0; i < conf->nqueues; i++) {
		const struct sandbox_conf *box = &conf->queues[i].box;

		confines |= sandbox_confines(box);
		writes |= box->nwrite > 0;
		filters |= box->isolate || !box->network;
		wanted |= (box->memory > 0 ? CGROUP_MEMORY : 0) |
		    (box->processes > 0 ? CGROUP_PROCESSES : 0);
	}
	lack_landlock(&b, confines, writes);
	if (filters && !filter_possible())
		lack(&b, "seccomp: system calls are not filtered");
	if (wanted & ~enforced & CGROUP_MEMORY)
		lack(&b, "a control group for memory: it is looked at only");
	if (wanted & ~enforced & CGROUP_PROCESSES)
		lack(&b, "a control group for processes: they are looked at only");
	return b.len > 0 ? buf_detach(&b) : NULL;
}
