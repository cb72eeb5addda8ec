/*
 * jobqctl tail: the end of the daemon's log, or of one that a queue or a
 * schedule has of its own, and what comes after it. The file is followed by
 * inode. When another one stands at its path, the old one is read on for a
 * while, because the daemon's processes change over one after the other. One
 * that is shorter than what was read, or has something else in that place, was
 * cut (logrotate's copytruncate) and is read from its beginning.
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
#define LOOK_FAR (64L << 20)	/* … that are to be about something */
#define LINE_LIMIT 65536	/* a longer line is cut into several */
#define MARK 128		/* bytes before the place that are compared */
#define LOOK_EVERY (200 * MONO_MS)
#define OLD_FOR (5 * MONO_SECOND)	/* a replaced file is still written to */

struct source {
	int fd;			/* -1: none */
	off_t at;
	char mark[MARK];	/* what was read last */
	size_t marked;
	struct buf line;	/* what was read of a line without its end yet */
};

struct follower {
	struct ctl *ctl;
	const char *path;
	const char *queue, *schedule;	/* NULL: all lines */
	int level;		/* the least grave one that is shown */
	bool colour;
	struct source now, before;
	mono_t replaced;	/* when before was */
	char **last;		/* the last lines, a ring; NULL: print at once */
	size_t room, count;
};

/* Text and JSON records alike, as far as they are looked at. */
struct seen {
	int level;		/* -1: no record */
	bool about;
};

static const char *const levels[] = { "error", "warn", "info", "debug" };

static int choose(struct follower *, const struct args *);
static const char *log_path(const struct follower *);
static int begin(struct follower *, bool wait);
static void read_on(struct follower *, struct source *);
static bool was_cut(const struct source *);
static void take(struct follower *, struct source *, const char *data, size_t len);
static void take_line(struct follower *, struct source *);
static void leave(struct follower *, struct source *);
static void print_last(struct follower *);
static void print_line(const struct follower *, const char *line);
static int follow(struct follower *);
static void look_for_another(struct follower *);
static int level_of(const char *name, size_t len);
static struct seen look_at(const struct follower *, const char *line);
static bool process_is(const char *process, const char *queue);

int
tail_run(struct ctl *ctl, const struct args *a)
{
	struct follower f = { .ctl = ctl, .now.fd = -1, .before.fd = -1,
		.level = LOG_LEVEL_DEBUG };
	bool on = args_has(a, "follow");
	long lines = 20;
	struct err e;
	int status;

	if (args_number(a, "lines", 0, 100000, &lines, &e) < 0)
		return ctl_misuse("tail: %s", e.msg);
	if ((status = choose(&f, a)) != CTL_DONE ||
	    (status = begin(&f, on)) != CTL_DONE)
		return status;
	f.room = (size_t)lines;
	f.last = calloc(f.room + 1, sizeof(*f.last));
	if (f.last == NULL)
		return ctl_fail("no memory");
	read_on(&f, &f.now);
	print_last(&f);
	if (on)
		status = follow(&f);
	leave(&f, &f.before);
	leave(&f, &f.now);
	return status;
}

/* What is to be seen, and in which file. */
static int
choose(struct follower *f, const struct args *a)
{
	const char *level = args_get(a, "level"), *term = getenv("TERM");
	struct ctl *ctl = f->ctl;
	size_t n = 0;

	if (level != NULL && (f->level = level_of(level, strlen(level))) < 0)
		return ctl_misuse("tail: --level \"%s\" is not error, warn, "
		    "info or debug", level);
	if (ctl_configure(ctl) < 0)
		return CTL_FAILED;
	f->queue = a->count > 0 ? a->operands[0] : NULL;
	f->schedule = args_get(a, "schedule");
	if (f->queue != NULL && conf_queue(ctl->conf, f->queue) == NULL)
		return ctl_missing("no queue %s in %s", f->queue,
		    ctl->conf_path);
	while (f->schedule != NULL && n < ctl->conf->nschedules &&
	    strcmp(ctl->conf->schedules[n].name, f->schedule) != 0)
		n++;
	if (f->schedule != NULL && n == ctl->conf->nschedules)
		return ctl_missing("no schedule %s in %s", f->schedule,
		    ctl->conf_path);
	f->colour = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL &&
	    term != NULL && strcmp(term, "dumb") != 0;
	f->path = log_path(f);
	if (f->schedule != NULL && *ctl->conf->schedules[n].log != '\0') {
		/* All that is in there is about it. */
		f->path = ctl->conf->schedules[n].log;
		f->schedule = NULL;
	}
	if (strcmp(f->path, "stderr") != 0 && strcmp(f->path, "syslog") != 0)
		return CTL_DONE;
	return ctl_fail("the log goes to %s, no file to follow; set log.file in "
	    "%s, or use journalctl -u jobqd", f->path, ctl->conf_path);
}

static const char *
log_path(const struct follower *f)
{
	const struct conf *conf = f->ctl->conf;
	const struct queue_conf *queue = f->queue != NULL ?
	    conf_queue(conf, f->queue) : NULL;

	return queue != NULL && *queue->log != '\0' ? queue->log :
	    conf->log.file;
}

/* Near the end, at the beginning of a line. */
static int
begin(struct follower *f, bool wait)
{
	long back = f->queue != NULL || f->schedule != NULL ||
	    f->level < LOG_LEVEL_DEBUG ? LOOK_FAR : LOOK_BACK;
	struct source *s = &f->now;
	struct stat st;
	char c;

	s->fd = open(f->path, O_RDONLY | O_CLOEXEC);
	if (s->fd < 0 && errno == ENOENT && wait) {
		fprintf(stderr, "jobqctl: there is no %s yet\n", f->path);
		return CTL_DONE;
	}
	if (s->fd < 0 || fstat(s->fd, &st) < 0)
		return ctl_fail("cannot open the log %s: %s", f->path,
		    strerror(errno));
	if (st.st_size > back)
		for (s->at = st.st_size - back; pread(s->fd, &c, 1, s->at++) == 1;)
			if (c == '\n')
				break;
	return CTL_DONE;
}

static void
read_on(struct follower *f, struct source *s)
{
	char chunk[65536];
	ssize_t n;

	if (s->fd < 0)
		return;
	if (was_cut(s)) {
		s->at = 0;
		s->marked = 0;
		buf_reset(&s->line);
	}
	while ((n = pread(s->fd, chunk, sizeof(chunk), s->at)) > 0) {
		s->at += n;
		s->marked = (size_t)n < MARK ? (size_t)n : MARK;
		memcpy(s->mark, chunk + n - s->marked, s->marked);
		take(f, s, chunk, (size_t)n);
	}
}

static bool
was_cut(const struct source *s)
{
	char there[MARK];

	return s->marked > 0 && (pread(s->fd, there, s->marked,
	    s->at - (off_t)s->marked) != (ssize_t)s->marked ||
	    memcmp(there, s->mark, s->marked) != 0);
}

static void
take(struct follower *f, struct source *s, const char *data, size_t len)
{
	while (len > 0) {
		const char *end = memchr(data, '\n', len);
		size_t n = end == NULL ? len : (size_t)(end - data);

		buf_put(&s->line, data, n);
		if (end != NULL || s->line.len > LINE_LIMIT)
			take_line(f, s);
		if (end != NULL)
			n++;
		data += n;
		len -= n;
	}
}

static void
take_line(struct follower *f, struct source *s)
{
	const char *line = s->line.data == NULL ? "" : s->line.data;
	struct seen seen = look_at(f, line);

	if (seen.about && seen.level <= f->level) {
		if (f->last == NULL) {
			print_line(f, line);
		} else if (f->room > 0) {
			char **slot = &f->last[f->count++ % f->room];

			free(*slot);
			*slot = strdup(line);
		}
	}
	buf_reset(&s->line);
}

/* What it has of a line may be all there will ever be. */
static void
leave(struct follower *f, struct source *s)
{
	if (s->fd < 0)
		return;
	read_on(f, s);
	if (s->line.len > 0)
		take_line(f, s);
	close(s->fd);
	s->fd = -1;
	buf_clear(&s->line);
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
print_coloured(const struct follower *f, const char *line)
{
	static const char *const colours[] = { "31", "33", NULL, "2" };
	int level = f->colour ? look_at(f, line).level : -1;
	const char *colour = level < 0 ? NULL : colours[level];

	if (colour != NULL)
		printf("\x1b[%sm", colour);
	out_text(stdout, line);
	if (colour != NULL)
		fputs("\x1b[0m", stdout);
}

static void
print_line(const struct follower *f, const char *line)
{
	struct buf b = { 0 };

	if (!f->ctl->json) {
		print_coloured(f, line);
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
		look_for_another(f);
		read_on(f, &f->before);
		read_on(f, &f->now);
		if (f->before.fd >= 0 && mono_now() - f->replaced > OLD_FOR)
			leave(f, &f->before);
		if (fflush(stdout) != 0)
			return CTL_FAILED;
		mono_sleep(LOOK_EVERY);
	}
}

/* Nothing at the path: a rotation has not made the new one yet. */
static void
look_for_another(struct follower *f)
{
	struct stat there, ours;
	int fd;

	if (stat(f->path, &there) != 0 || (f->now.fd >= 0 &&
	    fstat(f->now.fd, &ours) == 0 && there.st_ino == ours.st_ino &&
	    there.st_dev == ours.st_dev))
		return;
	fd = open(f->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	leave(f, &f->before);
	f->before = f->now;
	f->now = (struct source){ .fd = fd };
	f->replaced = mono_now();
}

/*
 * A record is about a queue when it is of the queue's own processes ("queue
 * email", "worker email/2") or names it as queue=email; about a schedule when
 * it names that. What is no record, a library's word, is about nothing.
 */

static int
level_of(const char *name, size_t len)
{
	for (int i = 0; i <= LOG_LEVEL_DEBUG; i++)
		if (strlen(levels[i]) == len && memcmp(levels[i], name, len) == 0)
			return i;
	return -1;
}

static bool
text_names(const char *line, const char *key, const char *name)
{
	char value[128];
	size_t len = (size_t)snprintf(value, sizeof(value), " %s=%s", key, name);

	for (const char *p = line; (p = strstr(p, value)) != NULL; p += len)
		if (p[len] == '\0' || p[len] == ' ')
			return true;
	return false;
}

static struct seen
look_at_text(const struct follower *f, const char *line)
{
	const char *p = line + strcspn(line, " "), *end;
	struct seen seen = { .level = -1 };
	char process[128] = "";
	size_t len;

	p += strspn(p, " ");
	len = strcspn(p, " ");
	seen.level = level_of(p, len);
	p += len;
	p += strspn(p, " ");
	if (seen.level >= 0 && (end = strstr(p, " [")) != NULL)
		snprintf(process, sizeof(process), "%.*s", (int)(end - p), p);
	if (f->queue != NULL && !process_is(process, f->queue) &&
	    !text_names(line, "queue", f->queue))
		return seen;
	seen.about = f->schedule == NULL ||
	    text_names(line, "schedule", f->schedule);
	return seen;
}

static bool
json_names(const json_t *record, const char *key, const char *name)
{
	const char *value = json_string_value(json_object_get(record, key));

	return value != NULL && strcmp(value, name) == 0;
}

static struct seen
look_at_json(const struct follower *f, json_t *record)
{
	const char *level = json_string_value(json_object_get(record, "level"));
	const char *process = json_string_value(json_object_get(record,
	    "process"));
	struct seen seen = { .level = -1 };

	if (level != NULL)
		seen.level = level_of(level, strlen(level));
	seen.about = (f->queue == NULL ||
	    json_names(record, "queue", f->queue) ||
	    (process != NULL && process_is(process, f->queue))) &&
	    (f->schedule == NULL || json_names(record, "schedule", f->schedule));
	return seen;
}

static struct seen
look_at(const struct follower *f, const char *line)
{
	json_t *record = *line == '{' ? json_loads(line, 0, NULL) : NULL;
	struct seen seen;

	if (record == NULL)
		return look_at_text(f, line);
	seen = look_at_json(f, record);
	json_decref(record);
	return seen;
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
