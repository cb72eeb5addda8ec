/*
 * jobqctl tail: the end of the daemon's log, and what comes after it. The
 * file is followed by inode: when another one stands at its path, the rest
 * of the old one is read first.
 */
#include "config.h"

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mono.h"
#include "ctl/ctl.h"
#include "ctl/out.h"

#define LOOK_BACK (4L << 20)	/* bytes from the end searched for lines */
#define LINE_LIMIT 65536	/* a longer line is cut into several */
#define LOOK_EVERY (200 * MONO_MS)

struct follower {
	struct ctl *ctl;
	const char *path;
	const char *queue;	/* NULL: all lines */
	int fd;
	struct buf line;	/* what was read of a line without its end yet */
	char **last;		/* the last lines, a ring; NULL: print at once */
	size_t room, count;
};

static const char *log_path(struct ctl *);
static int open_log(struct follower *);
static void read_on(struct follower *);
static void take(struct follower *, const char *data, size_t len);
static void take_line(struct follower *);
static void print_last(struct follower *);
static void print_line(const struct follower *, const char *line);
static int follow(struct follower *);
static bool replaced(const struct follower *);
static bool is_about(const char *line, const char *queue);
static bool json_is_about(const char *line, const char *queue);
static bool process_is(const char *process, const char *queue);

int
tail_run(struct ctl *ctl, const struct args *a)
{
	struct follower f = { .ctl = ctl, .fd = -1 };
	long lines = 20;
	struct err e;
	int status = CTL_DONE;

	if (args_number(a, "limit", 0, 100000, &lines, &e) < 0)
		return ctl_misuse("tail: %s", e.msg);
	if (ctl_configure(ctl) < 0)
		return CTL_FAILED;
	f.queue = a->count > 0 ? a->operands[0] : NULL;
	if (f.queue != NULL && conf_queue(ctl->conf, f.queue) == NULL)
		return ctl_missing("no queue %s in %s", f.queue,
		    ctl->conf_path);
	if ((f.path = log_path(ctl)) == NULL)
		return CTL_FAILED;
	if (open_log(&f) < 0)
		return ctl_fail("cannot open the log %s: %s", f.path,
		    strerror(errno));
	f.room = (size_t)lines;
	f.last = calloc(f.room + 1, sizeof(*f.last));
	if (f.last == NULL)
		return ctl_fail("no memory");
	read_on(&f);
	print_last(&f);
	if (args_has(a, "follow"))
		status = follow(&f);
	close(f.fd);
	buf_clear(&f.line);
	return status;
}

/* NULL: said why there is none. */
static const char *
log_path(struct ctl *ctl)
{
	const char *file = ctl->conf->log.file;

	if (strcmp(file, "stderr") == 0 || strcmp(file, "syslog") == 0) {
		ctl_fail("the log goes to %s, no file to follow; see log.file in "
		    "%s, or use journalctl -u jobqd", file, ctl->conf_path);
		return NULL;
	}
	return file;
}

/* Begin near the end, at the beginning of a line. */
static int
open_log(struct follower *f)
{
	struct stat st;
	char c;

	f->fd = open(f->path, O_RDONLY | O_CLOEXEC);
	if (f->fd < 0 || fstat(f->fd, &st) < 0)
		return -1;
	if (st.st_size > LOOK_BACK) {
		lseek(f->fd, st.st_size - LOOK_BACK, SEEK_SET);
		while (read(f->fd, &c, 1) == 1 && c != '\n')
			;
	}
	return 0;
}

static void
read_on(struct follower *f)
{
	char chunk[65536];
	ssize_t n;

	while ((n = read(f->fd, chunk, sizeof(chunk))) > 0)
		take(f, chunk, (size_t)n);
}

static void
take(struct follower *f, const char *data, size_t len)
{
	while (len > 0) {
		const char *end = memchr(data, '\n', len);
		size_t n = end == NULL ? len : (size_t)(end - data);

		buf_put(&f->line, data, n);
		if (end != NULL || f->line.len > LINE_LIMIT)
			take_line(f);
		if (end != NULL)
			n++;
		data += n;
		len -= n;
	}
}

static void
take_line(struct follower *f)
{
	const char *line = f->line.data == NULL ? "" : f->line.data;

	if (f->queue == NULL || is_about(line, f->queue)) {
		if (f->last == NULL) {
			print_line(f, line);
		} else if (f->room > 0) {
			char **slot = &f->last[f->count++ % f->room];

			free(*slot);
			*slot = strdup(line);
		}
	}
	buf_reset(&f->line);
}

static void
print_last(struct follower *f)
{
	size_t first = f->count > f->room ? f->count - f->room : 0;

	for (size_t i = first; i < f->count; i++) {
		char *line = f->last[i % f->room];

		if (line != NULL)
			print_line(f, line);
		free(line);
	}
	free(f->last);
	f->last = NULL;
	fflush(stdout);
}

static void
print_line(const struct follower *f, const char *line)
{
	struct buf b = { 0 };

	if (!f->ctl->json) {
		out_text(stdout, line);
		return;
	}
	if (*line == '{') {
		out_json_value(line);
		putchar('\n');
		return;
	}
	buf_str(&b, "{\"line\":");
	buf_json(&b, line, strlen(line));
	buf_str(&b, "}\n");
	out_json_value(b.data);
	buf_clear(&b);
}

static int
follow(struct follower *f)
{
	for (;;) {
		bool gone = replaced(f);

		read_on(f);
		if (gone) {
			int fd = open(f->path, O_RDONLY | O_CLOEXEC);

			if (f->line.len > 0)
				take_line(f);
			if (fd >= 0) {
				close(f->fd);
				f->fd = fd;
				read_on(f);
			}
		}
		if (fflush(stdout) != 0)
			return CTL_FAILED;
		mono_sleep(LOOK_EVERY);
	}
}

/* Another file stands at the path. One that was cut is read from its
 * beginning. Nothing at the path: a rotation has not made the new one yet. */
static bool
replaced(const struct follower *f)
{
	struct stat at_path, ours;

	if (fstat(f->fd, &ours) == 0 &&
	    ours.st_size < lseek(f->fd, 0, SEEK_CUR))
		lseek(f->fd, 0, SEEK_SET);
	return stat(f->path, &at_path) == 0 &&
	    (at_path.st_ino != ours.st_ino || at_path.st_dev != ours.st_dev);
}

/*
 * A record of the queue's own processes ("queue email", "worker email/2"), or
 * one that names it as queue=email.
 */
static bool
is_about(const char *line, const char *queue)
{
	char value[128];
	const char *p, *end;

	if (*line == '{')
		return json_is_about(line, queue);
	p = line + strcspn(line, " ");
	p += strspn(p, " ");
	p += strcspn(p, " ");
	p += strspn(p, " ");
	if ((end = strstr(p, " [")) != NULL) {
		snprintf(value, sizeof(value), "%.*s", (int)(end - p), p);
		if (process_is(value, queue))
			return true;
	}
	snprintf(value, sizeof(value), " queue=%s", queue);
	p = strstr(line, value);
	return p != NULL && (p[strlen(value)] == '\0' || p[strlen(value)] == ' ');
}

static bool
json_is_about(const char *line, const char *queue)
{
	json_t *record = json_loads(line, 0, NULL);
	const char *process, *named;
	bool about;

	if (record == NULL)
		return false;
	process = json_string_value(json_object_get(record, "process"));
	named = json_string_value(json_object_get(record, "queue"));
	about = (named != NULL && strcmp(named, queue) == 0) ||
	    (process != NULL && process_is(process, queue));
	json_decref(record);
	return about;
}

static bool
process_is(const char *process, const char *queue)
{
	size_t len = strlen(queue);

	if (strncmp(process, "queue ", 6) == 0)
		return strcmp(process + 6, queue) == 0;
	return strncmp(process, "worker ", 7) == 0 &&
	    strncmp(process + 7, queue, len) == 0 && process[7 + len] == '/';
}
