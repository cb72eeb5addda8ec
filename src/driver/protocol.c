/*
 * Messages of programs: see protocol.h.
 */
#include "config.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "base/when.h"
#include "base/xalloc.h"
#include "core/jcheck.h"
#include "core/jtext.h"
#include "driver/protocol.h"

#define ID_DIGITS 18
#define RETRY_AFTER_MAX 31622400.0	/* seconds, 366 days */

static int read_ready(const char *, struct said *, struct err *);
static int read_progress(const char *, struct said *, struct err *);
static int read_log(const char *, struct said *, struct err *);
static int read_enqueue(const char *, struct said *, struct err *);
static int read_done(const char *, struct said *, struct err *);
static int read_fail(const char *, struct said *, struct err *);

static const struct {
	const char *name;
	enum said_kind kind;
	int (*read)(const char *object, struct said *, struct err *);
} messages[] = {
	{ "done", SAID_DONE, read_done },
	{ "fail", SAID_FAIL, read_fail },
	{ "progress", SAID_PROGRESS, read_progress },
	{ "log", SAID_LOG, read_log },
	{ "enqueue", SAID_ENQUEUE, read_enqueue },
	{ "ready", SAID_READY, read_ready },
};
#define NMESSAGES (sizeof(messages) / sizeof(messages[0]))

void
said_clear(struct said *s)
{
	free(s->text);
	free(s->queue);
	free(s->json);
	memset(s, 0, sizeof(*s));
}

/*
 * Members
 */

/* NULL: not there, or null. */
static const char *
member(const char *object, const char *name, size_t *len)
{
	const char *value = jtext_member(object, name, len);

	return value != NULL && *value == 'n' ? NULL : value;
}

/* A string's bytes, the text of anything else. */
static char *
text_of(const char *object, const char *name)
{
	size_t len = 0;
	const char *value = member(object, name, &len);

	if (value == NULL)
		return NULL;
	return *value == '"' ? jtext_string(value, len, &len) :
	    xstrndup(value, len);
}

/* -1 with e: something else than a job's id. 0 when there is none. */
static int
read_id(const char *object, struct said *s, struct err *e)
{
	size_t len = 0;
	const char *value = member(object, "id", &len);

	if (value == NULL)
		return 0;
	if (len > ID_DIGITS || strspn(value, "0123456789") < len)
		return err_set(e, "its id is not the number of a job");
	s->id = strtoll(value, NULL, 10);
	return 0;
}

static int
need_id(const char *object, struct said *s, struct err *e)
{
	if (read_id(object, s, e) < 0)
		return -1;
	return s->id > 0 ? 0 : err_set(e, "it has no id");
}

static bool
read_number(const char *object, const char *name, double *number)
{
	size_t len = 0;
	const char *value = member(object, name, &len);

	if (value == NULL || strchr("-0123456789", *value) == NULL)
		return false;
	*number = strtod(value, NULL);
	return true;
}

/*
 * Messages
 */

static int
read_ready(const char *object, struct said *s, struct err *e)
{
	(void)object;
	(void)s;
	(void)e;
	return 0;
}

static int
read_progress(const char *object, struct said *s, struct err *e)
{
	size_t len = 0;
	double pct = -1;

	if (read_id(object, s, e) < 0)
		return -1;
	if (member(object, "pct", &len) != NULL &&
	    (!read_number(object, "pct", &pct) || !(pct >= 0 && pct <= 100)))
		return err_set(e, "its pct is no number from 0 to 100");
	s->pct = (int)pct;
	s->text = text_of(object, "note");
	if (s->text == NULL && s->pct < 0)
		return err_set(e, "it has neither pct nor note");
	/* A string is cut later; of other JSON a part would be nothing. */
	if (s->text != NULL && strlen(s->text) > NOTE_MAX &&
	    *member(object, "note", &len) != '"')
		return err_set(e, "its note has more than %d bytes", NOTE_MAX);
	return 0;
}

static int
read_log(const char *object, struct said *s, struct err *e)
{
	if (need_id(object, s, e) < 0)
		return -1;
	s->text = text_of(object, "line");
	return s->text != NULL ? 0 : err_set(e, "it has no line");
}

static int
read_enqueue(const char *object, struct said *s, struct err *e)
{
	if (read_id(object, s, e) < 0)
		return -1;
	s->queue = text_of(object, "queue");
	s->text = text_of(object, "ref");
	s->json = xstrdup(object);
	if (s->queue == NULL)
		return err_set(e, "it has no queue");
	if (s->text != NULL && strlen(s->text) > SAID_REF_MAX)
		return err_set(e, "its ref has more than %d bytes", SAID_REF_MAX);
	return 0;
}

static int
read_done(const char *object, struct said *s, struct err *e)
{
	size_t len = 0;
	const char *result = member(object, "result", &len);

	if (result != NULL)
		s->json = xstrndup(result, len);
	return need_id(object, s, e);
}

/* What only jobqd can say of a job is an error like any other. */
static int
read_fail(const char *object, struct said *s, struct err *e)
{
	char *class = text_of(object, "class");
	double seconds = -1;

	if (class == NULL || job_class_parse(class, &s->class) < 0 ||
	    s->class == CLASS_CRASH || s->class == CLASS_LOST)
		s->class = CLASS_ERROR;
	free(class);
	s->text = text_of(object, "message");
	if (read_number(object, "retry_after", &seconds) && seconds >= 0)
		s->retry_after_ms = llround(fmin(seconds, RETRY_AFTER_MAX) * 1000);
	return need_id(object, s, e);
}

static int
read_message(char *line, struct said *s, struct err *e)
{
	struct jtext_entry one, another;
	const char *at = line;
	char *object;

	if (!jtext_next(&at, &one) || jtext_next(&at, &another))
		return err_set(e, "a message has one member, which is its name");
	s->kind = SAID_UNKNOWN;
	for (size_t i = 0; i < NMESSAGES; i++) {
		if (one.key_len != strlen(messages[i].name) ||
		    memcmp(one.key, messages[i].name, one.key_len) != 0)
			continue;
		if (*one.value != '{')
			return err_set(e, "%s is no object", messages[i].name);
		s->kind = messages[i].kind;
		object = line + (one.value - line);
		object[one.len] = '\0';
		if (messages[i].read(object, s, e) < 0)
			return err_prepend(e, "%s", messages[i].name);
		return 0;
	}
	s->text = xstrndup(one.key, one.key_len);
	return 0;
}

int
said_read(char *line, size_t len, struct said *s, struct err *e)
{
	*s = (struct said){ .pct = -1, .retry_after_ms = -1 };
	utf8_clean(line, len);
	if (line[strspn(line, " \t\r")] != '{') {
		s->text = xstrndup(line, len);
		return 0;
	}
	if (jcheck(line, len, e) < 0)
		return -1;
	if (read_message(line, s, e) < 0) {
		said_clear(s);
		return -1;
	}
	return 0;
}

/*
 * What a program is told
 */

static void
put_string(struct buf *b, const char *text)
{
	if (text != NULL)
		buf_json(b, text, strlen(text));
	else
		buf_str(b, "null");
}

void
tell_hello(struct buf *b, const char *queue, size_t in_flight)
{
	buf_printf(b, "{\"hello\":{\"protocol\":%d,\"queue\":", PROTOCOL_VERSION);
	put_string(b, queue);
	buf_printf(b, ",\"in_flight\":%zu}}\n", in_flight);
}

void
tell_job(struct buf *b, const struct job *job, const char *token,
    int max_attempts, dbtime_us deadline)
{
	char instant[WHEN_TEXT_MAX];

	buf_printf(b, "{\"job\":{\"id\":%" PRId64 ",\"token\":", job->id);
	put_string(b, token);
	buf_str(b, ",\"type\":");
	put_string(b, job->type);
	buf_str(b, ",\"data\":");
	buf_str(b, job->data);
	buf_printf(b, ",\"attempt\":%d,\"max_attempts\":%d,\"tenant\":",
	    job->attempt, max_attempts);
	put_string(b, job->tenant);
	buf_printf(b, ",\"deadline\":\"%s\"}}\n", when_text(instant, deadline));
}

void
tell_cancel(struct buf *b, int64_t id)
{
	buf_printf(b, "{\"cancel\":{\"id\":%" PRId64 "}}\n", id);
}

void
tell_quit(struct buf *b)
{
	buf_str(b, "{\"quit\":{}}\n");
}

void
tell_enqueued(struct buf *b, const char *ref, int64_t id, const char *error)
{
	buf_str(b, "{\"enqueued\":{\"ref\":");
	put_string(b, ref);
	if (error == NULL) {
		buf_printf(b, ",\"id\":%" PRId64 "}}\n", id);
		return;
	}
	buf_str(b, ",\"error\":");
	put_string(b, error);
	buf_str(b, "}}\n");
}
