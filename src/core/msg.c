/*
 * Bodies of the messages between processes: see msg.h.
 */
#include "config.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "base/xalloc.h"
#include "core/msg.h"

#define STR_NULL UINT32_MAX
#define ATTEMPT_MAX INT16_MAX	/* a smallint in the schema */
#define SIGNAL_MAX 64
/* In the place of a result's class: none, and it is stored already; lost, and
 * to be run alone. */
#define SETTLED (CLASS_COUNT + 1)
#define LOST_ALONE (CLASS_COUNT + 2)

void
msg_put_u32(struct buf *b, uint32_t value)
{
	buf_put(b, &value, sizeof(value));
}

void
msg_put_i64(struct buf *b, int64_t value)
{
	buf_put(b, &value, sizeof(value));
}

void
msg_put_str(struct buf *b, const char *s)
{
	if (s == NULL)
		msg_put_u32(b, STR_NULL);
	else
		msg_put_bytes(b, s, strlen(s));
}

void
msg_put_bytes(struct buf *b, const void *data, size_t len)
{
	assert(len < STR_NULL);
	msg_put_u32(b, (uint32_t)len);
	buf_put(b, data, len);
}

void
msg_read(struct msg_reader *r, const void *body, size_t len)
{
	r->p = body;
	r->left = len;
	r->bad = false;
}

/* The next len bytes, or NULL and bad for ever. */
static const char *
take(struct msg_reader *r, size_t len)
{
	const char *p = r->p;

	if (r->bad || len > r->left) {
		r->bad = true;
		return NULL;
	}
	r->p += len;
	r->left -= len;
	return p;
}

uint32_t
msg_get_u32(struct msg_reader *r)
{
	const char *p = take(r, sizeof(uint32_t));
	uint32_t value = 0;

	if (p != NULL)
		memcpy(&value, p, sizeof(value));
	return value;
}

int64_t
msg_get_i64(struct msg_reader *r)
{
	const char *p = take(r, sizeof(int64_t));
	int64_t value = 0;

	if (p != NULL)
		memcpy(&value, p, sizeof(value));
	return value;
}

char *
msg_get_str(struct msg_reader *r)
{
	uint32_t len = msg_get_u32(r);
	const char *p;

	if (r->bad || len == STR_NULL)
		return NULL;
	p = take(r, len);
	if (p != NULL && memchr(p, '\0', len) != NULL)
		r->bad = true;
	if (r->bad)
		return NULL;
	return xstrndup(p, len);
}

char *
msg_get_short(struct msg_reader *r, size_t max)
{
	char *s = msg_get_str(r);

	if (s == NULL || strlen(s) <= max)
		return s;
	r->bad = true;
	free(s);
	return NULL;
}

bool
msg_end(const struct msg_reader *r)
{
	return !r->bad && r->left == 0;
}

int64_t
msg_get_range(struct msg_reader *r, int64_t min, int64_t max)
{
	int64_t value = msg_get_i64(r);

	if (!r->bad && (value < min || value > max))
		r->bad = true;
	return r->bad ? 0 : value;
}

static char *
get_present_str(struct msg_reader *r)
{
	char *s = msg_get_str(r);

	if (s == NULL)
		r->bad = true;
	return s;
}

void
msg_put_job(struct buf *b, const struct job *job, int64_t pool)
{
	msg_put_i64(b, pool);
	msg_put_i64(b, job->id);
	msg_put_i64(b, job->batch);
	msg_put_i64(b, job->attempt);
	msg_put_i64(b, job->charged);
	msg_put_i64(b, job->crashes);
	msg_put_i64(b, job->alone);
	msg_put_i64(b, job->has_unique);
	msg_put_i64(b, job->probe);
	msg_put_i64(b, job->priority);
	msg_put_i64(b, job->max_attempts);
	msg_put_i64(b, job->timeout_ms);
	msg_put_i64(b, job->late_ms);
	msg_put_str(b, job->type);
	msg_put_str(b, job->data);
	msg_put_str(b, job->tenant);
}

int
msg_get_job(struct msg_reader *r, struct job *job, int64_t *pool)
{
	int64_t from;

	memset(job, 0, sizeof(*job));
	from = msg_get_range(r, 1, INT64_MAX);
	job->id = msg_get_range(r, 1, INT64_MAX);
	job->batch = msg_get_range(r, 0, INT64_MAX);
	job->attempt = (int)msg_get_range(r, 1, ATTEMPT_MAX);
	job->charged = (int)msg_get_range(r, 0, ATTEMPT_MAX);
	job->crashes = (int)msg_get_range(r, 0, ATTEMPT_MAX);
	job->alone = msg_get_range(r, 0, 1) != 0;
	job->has_unique = msg_get_range(r, 0, 1) != 0;
	job->probe = msg_get_range(r, 0, 1) != 0;
	job->priority = (int)msg_get_range(r, PRIORITY_MIN, PRIORITY_MAX);
	job->max_attempts = (int)msg_get_range(r, 0, INT_MAX);
	job->timeout_ms = (int)msg_get_range(r, 0, INT_MAX);
	job->late_ms = msg_get_i64(r);
	job->type = get_present_str(r);
	job->data = get_present_str(r);
	job->tenant = msg_get_str(r);
	if (r->bad) {
		job_clear(job);
		return -1;
	}
	*pool = from;
	return 0;
}

void
msg_put_result(struct buf *b, const struct run_result *result)
{
	msg_put_i64(b, result->settled ? SETTLED : result->alone ? LOST_ALONE :
	    (int)result->class);
	msg_put_str(b, result->message);
	msg_put_str(b, result->result);
	msg_put_i64(b, result->retry_after_ms);
	msg_put_i64(b, result->exit_status);
	msg_put_i64(b, result->signal);
	msg_put_i64(b, result->cpu_ms);
	msg_put_i64(b, result->max_rss_kb);
}

/* A string that the sender had to bound; cleaned, since the sender is not
 * trusted to have done so. */
static char *
get_bounded_str(struct msg_reader *r, size_t max)
{
	char *s = msg_get_short(r, max);

	if (s != NULL)
		utf8_clean(s, strlen(s));
	return s;
}

int
msg_get_result(struct msg_reader *r, struct run_result *result)
{
	int class;

	run_result_init(result);
	class = (int)msg_get_range(r, 0, LOST_ALONE);
	result->settled = class == SETTLED;
	result->alone = class == LOST_ALONE;
	if (class == CLASS_COUNT)
		r->bad = true;
	result->class = result->settled ? CLASS_NONE : result->alone ?
	    CLASS_LOST : (enum job_class)class;
	result->message = get_bounded_str(r, RESULT_MESSAGE_MAX);
	result->result = get_bounded_str(r, RESULT_MAX);
	result->retry_after_ms = msg_get_range(r, -1, INT64_MAX);
	result->exit_status = (int)msg_get_range(r, -1, 255);
	result->signal = (int)msg_get_range(r, 0, SIGNAL_MAX);
	result->cpu_ms = msg_get_range(r, -1, INT64_MAX);
	result->max_rss_kb = msg_get_range(r, -1, INT64_MAX);
	if (r->bad) {
		run_result_clear(result);
		return -1;
	}
	return 0;
}
