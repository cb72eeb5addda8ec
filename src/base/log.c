/*
 * The log: see log.h.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
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

#define RECORD_MAX 4095
#define VALUE_MAX 2048

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

static volatile sig_atomic_t reopen_wanted;

static const char *const level_names[] = { "error", "warn", "info", "debug" };

struct record {
	char text[RECORD_MAX + 2];
	size_t len;
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

		snprintf(value, VALUE_MAX, "%s", s ? s : "-");
		number = false;
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
		/* Whole or not at all, but for strings, which can be cut. */
		if (room(r) < len + 6 + (number ? strlen(value) : 0))
			return;
		put_str(r, sink.format == LOG_JSON ? ",\"" : " ");
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
	if (sink.to_syslog)
		snprintf(head, sizeof(head), "%s: ", sink.process);
	else
		snprintf(head, sizeof(head), "%s %-5s %s [%d]: ", at,
		    level_names[level], sink.process, (int)getpid());
	put_str(r, head);
	put_str(r, event);
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

static void
reopen(void)
{
	int fd;

	reopen_wanted = 0;
	if (sink.target == NULL || (fd = open_file(sink.target, NULL)) < 0)
		return;
	/* The number stays, so that what was told to children stays true. */
	dup3(fd, sink.fd, O_CLOEXEC);
	if (sink.stdio) {
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
	}
	close(fd);
}

static void
emit(enum log_level level, struct record *r)
{
	static const int priorities[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
	ssize_t n;

	if (sink.format == LOG_JSON)
		r->text[r->len++] = '}';
	r->text[r->len] = '\n';
	r->text[r->len + 1] = '\0';
	if (sink.echo >= 0 && level <= LOG_LEVEL_WARN)
		n = write(sink.echo, r->text, r->len + 1);
	if (sink.to_syslog) {
		syslog(priorities[level], "%s", r->text);
		return;
	}
	do
		n = write(sink.fd, r->text, r->len + 1);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		sink.dropped++;		/* a full disk stops no job */
}

static void
record(enum log_level level, const char *event, const char *fmt, va_list *ap)
{
	struct record r = { .len = 0 };
	int saved = errno;

	if (reopen_wanted)
		reopen();
	put_head(&r, level, event);
	if (sink.dropped > 0 && !sink.to_syslog) {
		unsigned long dropped = sink.dropped;
		char lost[64];

		sink.dropped = 0;
		snprintf(lost, sizeof(lost), sink.format == LOG_JSON ?
		    ",\"records_lost\":%lu" : " records_lost=%lu", dropped);
		put_str(&r, lost);
	}
	put_values(&r, fmt, ap);
	emit(level, &r);
	errno = saved;
}

int
log_open(const char *target, enum log_level level, enum log_format format,
    struct err *e)
{
	bool to_syslog = strcmp(target, "syslog") == 0;
	int fd = STDERR_FILENO;
	char *copy = NULL;

	if (!to_syslog && strcmp(target, "stderr") != 0) {
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

void
log_reopen(void)
{
	reopen_wanted = 1;
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
