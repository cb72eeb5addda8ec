/*
 * The health file: see health.h.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/when.h"
#include "base/xalloc.h"
#include "monitor/health.h"

#define DISK_LOW (INT64_C(1) << 30)	/* less is said */
#define CLOCK_FAR INT64_C(2000000)	/* so is more than this */

static void put_database(struct buf *, const struct health *);
static void put_problems(struct buf *, const struct health *);
static void put_string(struct buf *, const char *);
static int write_all(int fd, const char *data, size_t len);

bool
health_good(const struct health *h)
{
	return h->database_up && h->no_workers == NULL;
}

void
health_problems(struct buf *b, const struct health *h)
{
	if (!h->database_up)
		buf_str(b, "database: it is not there\n");
	if (h->no_workers != NULL)
		buf_printf(b, "workers: none in %s\n", h->no_workers);
	if (h->clock_ahead_us > CLOCK_FAR || h->clock_ahead_us < -CLOCK_FAR)
		buf_printf(b, "clock: this host's is %" PRId64 " s %s the "
		    "database's; have both synchronised (NTP)\n",
		    (int64_t)(h->clock_ahead_us < 0 ? -h->clock_ahead_us :
		    h->clock_ahead_us) / 1000000,
		    h->clock_ahead_us < 0 ? "behind" : "ahead of");
	if (h->disk_free >= 0 && h->disk_free < DISK_LOW)
		buf_printf(b, "disk: %" PRId64 " MiB are left for the "
		    "database; make room, or set monitor.keep_size\n",
		    h->disk_free >> 20);
	if (h->problems != NULL)
		buf_str(b, h->problems);
}

const char *
health_problem(const char **problems, size_t *len, size_t *subject)
{
	const char *line = *problems;

	if (line == NULL || *line == '\0')
		return NULL;
	*len = strcspn(line, "\n");
	*subject = strcspn(line, ":\n");
	*problems = line + *len + (line[*len] == '\n');
	return line;
}

void
health_json(struct buf *b, const struct health *h)
{
	char at[WHEN_TEXT_MAX];

	buf_printf(b, "{\"healthy\":%s,\"at\":\"%s\",",
	    health_good(h) ? "true" : "false", when_text(at, h->at));
	put_database(b, h);
	buf_printf(b, ",\"queues\":%s", h->queues != NULL ? h->queues : "{}");
	if (h->dead_letters >= 0)
		buf_printf(b, ",\"dead_letters\":%" PRId64, h->dead_letters);
	else
		buf_str(b, ",\"dead_letters\":null");
	buf_printf(b, ",\"schedules\":%s",
	    h->schedules != NULL ? h->schedules : "{}");
	buf_printf(b, ",\"alerts\":%s", h->alerts != NULL ? h->alerts : "[]");
	buf_str(b, ",\"problems\":[");
	put_problems(b, h);
	buf_str(b, "]}\n");
}

static void
put_problems(struct buf *b, const struct health *h)
{
	struct buf lines = { 0 };
	const char *rest, *line, *comma = "";
	size_t len, subject;

	health_problems(&lines, h);
	rest = lines.data;
	while ((line = health_problem(&rest, &len, &subject)) != NULL) {
		buf_str(b, comma);
		buf_json(b, line, len);
		comma = ",";
	}
	buf_clear(&lines);
}

static void
put_database(struct buf *b, const struct health *h)
{
	buf_printf(b, "\"database\":{\"up\":%s,\"error\":",
	    h->database_up ? "true" : "false");
	put_string(b, h->database_error);
	buf_str(b, ",\"version\":");
	put_string(b, h->database_version);
	if (h->database_latency_us >= 0)
		buf_printf(b, ",\"latency_ms\":%" PRId64 ".%03d",
		    h->database_latency_us / 1000,
		    (int)(h->database_latency_us % 1000));
	else
		buf_str(b, ",\"latency_ms\":null");
	if (h->disk_free >= 0)
		buf_printf(b, ",\"disk_free\":%" PRId64, h->disk_free);
	buf_char(b, '}');
}

static void
put_string(struct buf *b, const char *s)
{
	if (s != NULL)
		buf_json(b, s, strlen(s));
	else
		buf_str(b, "null");
}

int64_t
health_disk_free(const char *directory)
{
	struct statvfs st;

	if (statvfs(directory, &st) < 0)
		return -1;
	return (int64_t)st.f_bavail * (int64_t)st.f_frsize;
}

int
health_write(const char *path, const struct buf *b, struct err *e)
{
	char *temporary = xasprintf("%s.%ld", path, (long)getpid());
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC |
	    O_NOFOLLOW, 0644);
	int result = -1;

	if (fd < 0) {
		err_errno(e, "cannot create %s", temporary);
		free(temporary);
		return -1;
	}
	/* Readable whatever the umask says. */
	if (write_all(fd, b->data, b->len) < 0 || fchmod(fd, 0644) < 0)
		err_errno(e, "cannot write %s", temporary);
	else if (rename(temporary, path) < 0)
		err_errno(e, "cannot rename %s to %s", temporary, path);
	else
		result = 0;
	close(fd);
	if (result < 0)
		unlink(temporary);
	free(temporary);
	return result;
}

static int
write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);
		if (n < 0)
			return -1;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}
