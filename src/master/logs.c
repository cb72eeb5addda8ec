/*
 * The logs that queues and schedules have of their own. The master opens them,
 * as root where it was started so, and its children get them by fork: a queue's
 * leader and workers write to the queue's, the scheduler to those of the
 * schedules, and a leader to a schedule's what concerns the schedule's jobs,
 * which it knows by their type.
 */
#include "config.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "master/table.h"

int
logs_open(const struct conf *conf, struct err *e)
{
	const char *path;

	for (size_t i = 0; (path = conf_own_log(conf, i)) != NULL; i++)
		if (*path != '\0' && log_own_open(path, e) != 0)
			return -1;
	return 0;
}

void
logs_chown(uid_t uid, gid_t gid)
{
	int fd;

	for (size_t i = 0; (fd = log_own_fd(i)) >= 0; i++)
		if (fchown(fd, uid, gid) != 0)
			log_warn("log file keeps its owner", "fd=%d", fd);
}

static bool
has(const struct conf *conf, const char *wanted)
{
	const char *path;

	for (size_t i = 0; (path = conf_own_log(conf, i)) != NULL; i++)
		if (strcmp(path, wanted) == 0)
			return true;
	return false;
}

void
logs_drop(const struct conf *conf, const struct conf *kept)
{
	const char *path;

	for (size_t i = 0; (path = conf_own_log(conf, i)) != NULL; i++)
		if (*path != '\0' && !has(kept, path))
			log_own_close(path);
}

void
logs_use(const struct child *c)
{
	const struct conf *conf = c->gen->conf;
	const struct queue_conf *queue = c->queue;

	if (queue != NULL) {
		log_own(queue->log);
		if (queue->log_level > 0)
			log_set_level((enum log_level)(queue->log_level - 1));
	}
	for (size_t i = 0; i < conf->nschedules; i++) {
		const struct schedule_conf *s = &conf->schedules[i];

		if (c->kind == KIND_SCHED)
			log_route("schedule", s->name, s->log);
		else if (queue != NULL && strcmp(queue->name, s->queue) == 0)
			log_route("type", s->type, s->log);
	}
	log_own_settled();
}
