/*
 * The log: see log.h.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/utf8.h"
#include "base/xalloc.h"

#define RECORD_MAX 4095
#define VALUE_MAX 2048
#define OWN_FD 16		/* the lowest of an own log: os/proc.c */

static struct {
	char *target;			/* NULL: stderr */
	enum log_level level;
	enum log_format format;
	int fd;
	bool to_syslog;
	bool stdio;			/* 1 and 2 are the log's file too */
	int echo;			/* -1: none */
	char process[128];
	unsigned long dropped;		/* records that could not be written */
} sink = { .level = LOG_LEVEL_INFO, .fd = STDERR_FILENO, .echo = -1,
	.process = "jobqd" };

/* A signal handler reads these: in a child the array stays as it is. */
static struct own {
	char *path;
	int fd;				/* -1: closed */
	bool used;			/* by this process */
	unsigned long dropped;
} *owns;
static size_t nowns;

static struct route {
	char *key, *value;
	struct own *to;
} *routes;
static size_t nroutes;
static struct own *own;			/* of this process; NULL: the log */

static const char *const level_names[] = { "error", "warn", "info", "debug" };

struct record {
	char text[RECORD_MAX + 2];
	size_t len, event;		/* where the event begins */
	struct own *to;			/* NULL: the log */
};

static size_t
room(const struct record *r)
{
	return RECORD_MAX - 2 - r->len;		/* "}" and the newline */
}

/* As much as there is room for, never half a character. */
static void
put(struct record *r, const char *s, size_t len)
{
	if (len > room(r)) {
		len = room(r);
		while (len > 0 && ((unsigned char)s[len] & 0xc0) == 0x80)
			len--;
	}
	memcpy(r->text + r->len, s, len);
	r->len += len;
}

static void
put_str(struct record *r, const char *s)
{
	put(r, s, strlen(s));
}

/*
 * A string in quotes, good as JSON; text that is no UTF-8 was cleaned before.
 * Cut where it must be, but always closed; needs room for two bytes.
 */
static void
put_quoted(struct record *r, const char *s)
{
	const char *end = s + strlen(s);

	put_str(r, "\"");
	while (s < end) {
		unsigned char c = (unsigned char)*s;
		size_t len = utf8_length(s, (size_t)(end - s));
		char esc[8];

		if (len == 0)
			len = 1;
		if (c == '"' || c == '\\')
			snprintf(esc, sizeof(esc), "\\%c", c);
		else if (c == '\n')
			snprintf(esc, sizeof(esc), "\\n");
		else if (c < 0x20 || c == 0x7f)
			snprintf(esc, sizeof(esc), "\\u%04x", c);
		else
			snprintf(esc, sizeof(esc), "%.*s", (int)len, s);
		if (strlen(esc) >= room(r))
			break;
		put_str(r, esc);
		s += len;
	}
	put_str(r, "\"");
}

static bool
needs_quotes(const char *s)
{
	if (*s == '\0')
		return true;
	for (; *s != '\0'; s++)
		if ((unsigned char)*s <= ' ' || *s == '"' || *s == '\\' || *s == 0x7f)
			return true;
	return false;
}

static void
put_value(struct record *r, char *value, bool number)
{
	utf8_clean(value, strlen(value));
	if (number || (sink.format == LOG_TEXT && !needs_quotes(value)))
		put_str(r, value);
	else
		put_quoted(r, value);
}

/*
 * One conversion: *fmt is at its '%' and is left behind it. The values are
 * taken here, because an argument list handed to vsnprintf cannot be read on.
 */
static bool
convert(char *value, const char **fmt, va_list *ap)
{
	const char *p = *fmt + 1;
	int precision = 6, longs = 0;
	bool number = true;

	if (*p == '.') {
		precision = 0;
		for (p++; *p >= '0' && *p <= '9'; p++)
			precision = precision * 10 + (*p - '0');
	}
	for (; *p == 'l' || *p == 'z' || *p == 'j'; p++)
		longs += *p == 'l' ? 1 : 2;
	switch (*p) {
	case 's': {
		const char *s = va_arg(*ap, const char *);
		bool null = s == NULL && sink.format == LOG_JSON;

		snprintf(value, VALUE_MAX, "%s", null ? "null" : s ? s : "-");
		number = null;
		break;
	}
	case 'c':
		snprintf(value, VALUE_MAX, "%c", va_arg(*ap, int));
		number = false;
		break;
	case 'd':
		snprintf(value, VALUE_MAX, "%lld", longs == 0 ? va_arg(*ap, int) :
		    longs == 1 ? va_arg(*ap, long) : va_arg(*ap, long long));
		break;
	case 'u':
		snprintf(value, VALUE_MAX, "%llu", longs == 0 ? va_arg(*ap, unsigned) :
		    longs == 1 ? va_arg(*ap, unsigned long) :
		    va_arg(*ap, unsigned long long));
		break;
	case 'x':
		snprintf(value, VALUE_MAX, "0x%x", va_arg(*ap, unsigned));
		number = false;
		break;
	case 'f': {
		double d = va_arg(*ap, double);

		snprintf(value, VALUE_MAX, "%.*f", precision, d);
		number = d - d == 0;	/* JSON has no nan and no inf */
		break;
	}
	default:
		abort();	/* a conversion log.h does not promise */
	}
	*fmt = p + 1;
	return number;
}

/* A key of put_head(): an object has it once. */
static bool
is_taken(const char *key, size_t len)
{
	static const char *const taken[] = { "at", "level", "process", "pid",
	    "event" };

	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		if (strlen(taken[i]) == len && memcmp(taken[i], key, len) == 0)
			return true;
	return false;
}

/* Where the record goes, if what it says of the key decides it. */
static void
choose(struct record *r, const char *key, size_t len, const char *value)
{
	for (size_t i = 0; i < nroutes; i++)
		if (strncmp(routes[i].key, key, len) == 0 &&
		    routes[i].key[len] == '\0' &&
		    strcmp(routes[i].value, value) == 0) {
			r->to = routes[i].to;
			return;
		}
}

static void
put_values(struct record *r, const char *fmt, va_list *ap)
{
	char value[VALUE_MAX];

	while (*fmt != '\0') {
		const char *key = fmt, *equals = strchr(fmt, '=');
		size_t len = equals ? (size_t)(equals - fmt) : 0;
		bool number;

		if (equals == NULL || equals[1] != '%')
			abort();
		fmt = equals + 1;
		number = convert(value, &fmt, ap);
		if (nroutes > 0 && !number)
			choose(r, key, len, value);
		/* Whole or not at all, but for strings, which can be cut. */
		if (room(r) < len + 10 + (number ? strlen(value) : 0))
			return;
		put_str(r, sink.format != LOG_JSON ? " " :
		    is_taken(key, len) ? ",\"its_" : ",\"");
		put(r, key, len);
		put_str(r, sink.format == LOG_JSON ? "\":" : "=");
		put_value(r, value, number);
		if (*fmt == ' ')
			fmt++;
	}
}

static void
put_head(struct record *r, enum log_level level, const char *event)
{
	struct timespec now;
	struct tm tm;
	char head[256], at[48];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(at + strlen(at), sizeof(at) - strlen(at), ".%03dZ",
	    (int)(now.tv_nsec / 1000000));
	if (sink.format == LOG_JSON) {
		snprintf(head, sizeof(head),
		    "{\"at\":\"%s\",\"level\":\"%s\",\"process\":\"%s\",\"pid\":%d,\"event\":",
		    at, level_names[level], sink.process, (int)getpid());
		put_str(r, head);
		put_quoted(r, event);
		return;
	}
	snprintf(head, sizeof(head), "%s %-5s %s [%d]: ", at,
	    level_names[level], sink.process, (int)getpid());
	put_str(r, head);
	r->event = r->len;
	put_str(r, event);
}

/* That records could not be written, in the next one that perhaps can. */
static void
put_lost(struct record *r, unsigned long *dropped)
{
	char lost[64];

	snprintf(lost, sizeof(lost), sink.format == LOG_JSON ?
	    ",\"records_lost\":%lu" : " records_lost=%lu", *dropped);
	if (*dropped == 0 || strlen(lost) > room(r))
		return;
	*dropped = 0;
	put_str(r, lost);
}

static int
open_file(const char *path, struct err *e)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);

	if (fd < 0)
		return err_errno(e, "cannot open the log file %s", path);
	return fd;
}

static void
use_fd(int fd)
{
	if (sink.fd > STDERR_FILENO)
		close(sink.fd);
	sink.fd = fd;
}

/* The number stays, so that what was told to children stays true. */
static int
open_again(const char *path, int number, struct err *e)
{
	int fd = open_file(path, e);

	if (fd < 0)
		return -1;
	dup3(fd, number, O_CLOEXEC);
	close(fd);
	return 0;
}

/* One write, of the whole line. */
static void
write_line(int fd, const struct record *r, unsigned long *dropped)
{
	ssize_t n;

	do
		n = write(fd, r->text, r->len + 1);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		(*dropped)++;		/* a full disk stops no job */
}

static void
emit(enum log_level level, struct record *r)
{
	static const int priorities[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

	if (sink.format == LOG_JSON)
		r->text[r->len++] = '}';
	r->text[r->len] = '\n';
	r->text[r->len + 1] = '\0';
	if (sink.echo >= 0 && level <= LOG_LEVEL_WARN)
		write_line(sink.echo, r, &(unsigned long){ 0 });
	if (r->to != NULL) {
		write_line(r->to->fd, r, &r->to->dropped);
		if (level > LOG_LEVEL_WARN)
			return;
	}
	if (!sink.to_syslog)
		write_line(sink.fd, r, &sink.dropped);
	else if (sink.format == LOG_JSON)
		syslog(priorities[level], "%s", r->text);
	else	/* which has the time and the level by itself */
		syslog(priorities[level], "%s: %s", sink.process,
		    r->text + r->event);
}

static void
record(enum log_level level, const char *event, const char *fmt, va_list *ap)
{
	struct record r = { .to = own };
	int saved = errno;

	put_head(&r, level, event);
	put_values(&r, fmt, ap);
	put_lost(&r, r.to != NULL ? &r.to->dropped : &sink.dropped);
	emit(level, &r);
	errno = saved;
}

static bool
is_file(const char *target)
{
	return strcmp(target, "syslog") != 0 && strcmp(target, "stderr") != 0;
}

int
log_open(const char *target, enum log_level level, enum log_format format,
    struct err *e)
{
	bool to_syslog = strcmp(target, "syslog") == 0;
	int fd = STDERR_FILENO;
	char *copy = NULL;

	if (is_file(target)) {
		if ((fd = open_file(target, e)) < 0)
			return -1;
		copy = strdup(target);
	}
	if (to_syslog)
		openlog("jobqd", LOG_PID, LOG_DAEMON);
	use_fd(fd);
	if (sink.stdio && fd > STDERR_FILENO) {
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
	}
	free(sink.target);
	sink.target = copy;
	sink.to_syslog = to_syslog;
	sink.level = level;
	sink.format = format;
	return 0;
}

int
log_check(const char *target, struct err *e)
{
	int fd;

	if (!is_file(target))
		return 0;
	if ((fd = open_file(target, e)) < 0)
		return -1;
	close(fd);
	return 0;
}

int
log_reopen(struct err *e)
{
	int status = 0;

	if (sink.target != NULL && open_again(sink.target, sink.fd, e) != 0)
		status = -1;
	if (sink.target != NULL && status == 0 && sink.stdio) {
		dup2(sink.fd, STDOUT_FILENO);
		dup2(sink.fd, STDERR_FILENO);
	}
	for (size_t i = 0; i < nowns; i++)
		if (owns[i].fd >= 0 && open_again(owns[i].path, owns[i].fd,
		    status == 0 ? e : NULL) != 0)
			status = -1;
	return status;
}

static struct own *
own_at(const char *path)
{
	for (size_t i = 0; i < nowns; i++)
		if (owns[i].fd >= 0 && strcmp(owns[i].path, path) == 0)
			return &owns[i];
	return NULL;
}

int
log_own_open(const char *path, struct err *e)
{
	int fd, high;

	if (own_at(path) != NULL)
		return 0;
	if ((fd = open_file(path, e)) < 0)
		return -1;
	high = fcntl(fd, F_DUPFD_CLOEXEC, OWN_FD);
	if (high < 0)
		err_errno(e, "cannot keep the log file %s", path);
	close(fd);
	if (high < 0)
		return -1;
	owns = xreallocarray(owns, nowns + 1, sizeof(*owns));
	owns[nowns++] = (struct own){ .path = xstrdup(path), .fd = high };
	return 0;
}

void
log_own_close(const char *path)
{
	struct own *o = own_at(path);

	if (o == NULL)
		return;
	close(o->fd);
	free(o->path);
	*o = owns[--nowns];
}

int
log_own_fd(size_t n)
{
	return n < nowns ? owns[n].fd : -1;
}

void
log_own(const char *path)
{
	struct own *o = own_at(path);

	if (o == NULL)
		return;
	o->used = true;
	own = o;
}

void
log_route(const char *key, const char *value, const char *path)
{
	struct own *to = own_at(path);

	if (to == NULL)
		return;
	to->used = true;
	routes = xreallocarray(routes, nroutes + 1, sizeof(*routes));
	routes[nroutes++] = (struct route){ .key = xstrdup(key),
	    .value = xstrdup(value), .to = to };
}

void
log_own_settled(void)
{
	for (size_t i = 0; i < nowns; i++) {
		int fd = owns[i].fd;

		if (fd < 0 || owns[i].used)
			continue;
		owns[i].fd = -1;	/* first: a signal may ask to reopen it */
		close(fd);
	}
}

void
log_set_level(enum log_level level)
{
	sink.level = level;
}

void
log_process(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sink.process, sizeof(sink.process), fmt, ap);
	va_end(ap);
}

void
log_moved(int fd)
{
	sink.echo = -1;
	if (sink.to_syslog) {
		/* Its socket's number may belong to something else by now. */
		closelog();
		openlog("jobqd", LOG_PID, LOG_DAEMON);
	}
	if (fd < 0)
		return;
	sink.fd = fd;
	sink.stdio = true;
}

void
log_echo(int fd)
{
	sink.echo = fd;
}

int
log_fd(void)
{
	return sink.to_syslog ? -1 : sink.fd;
}

bool
log_would(enum log_level level)
{
	return level <= sink.level;
}

#define LOG_FUNCTION(name, level)					\
void									\
name(const char *event, const char *fmt, ...)				\
{									\
	va_list ap;							\
									\
	if (!log_would(level))						\
		return;							\
	va_start(ap, fmt);						\
	record(level, event, fmt, &ap);					\
	va_end(ap);							\
}

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)

_Noreturn void
fatal(const char *event, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	record(LOG_LEVEL_ERROR, event, fmt, &ap);
	va_end(ap);
	_exit(1);
}
