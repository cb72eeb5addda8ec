/*
 * Templates: see template.h.
 */
#include "config.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/jtext.h"
#include "core/template.h"

/* What is being filled in. */
struct filler {
	struct buf *out;
	size_t start;			/* where in out it began */
	const char *context;
	enum template_use use;
	struct err *e;
};

bool
template_used(const char *text)
{
	return strstr(text, "{{") != NULL;
}

int
template_next(const char **text, struct template_path *path, struct err *e)
{
	const char *open = strstr(*text, "{{"), *from, *to, *end;

	if (open == NULL)
		return 0;
	from = open + 2;
	end = to = strstr(from, "}}");
	if (end == NULL || (size_t)(end - from) > TEMPLATE_NAME_MAX)
		return err_set(e, "\"{{\" without \"}}\" within %d bytes",
		    TEMPLATE_NAME_MAX);
	while (from < to && (*from == ' ' || *from == '\t'))
		from++;
	while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
		to--;
	path->text = from;
	path->len = (size_t)(to - from);
	*text = end + 2;
	return 1;
}

bool
template_key(struct template_path *path, struct template_path *key)
{
	const char *dot;

	if (path->text == NULL)
		return false;
	dot = memchr(path->text, '.', path->len);
	key->text = path->text;
	key->len = dot ? (size_t)(dot - path->text) : path->len;
	path->text = dot ? dot + 1 : NULL;
	path->len -= dot ? key->len + 1 : path->len;
	return true;
}

static bool
is_one_of(const struct template_path *key, const char *const *names,
    size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(names[i]) == key->len &&
		    memcmp(names[i], key->text, key->len) == 0)
			return true;
	return false;
}

static int
check_keys(const struct template_path *path, struct err *e)
{
	struct template_path rest = *path, key;

	while (template_key(&rest, &key))
		if (key.len == 0 && path->len > 0)
			return err_set(e, "{{%.*s}}: an empty name beside a "
			    "dot", (int)path->len, path->text);
	return 0;
}

int
template_check_path(const struct template_path *path,
    const char *const *roots, size_t count, struct err *e)
{
	struct template_path rest = *path, root;
	struct buf names = { 0 };

	if (check_keys(path, e) < 0)
		return -1;
	template_key(&rest, &root);
	if (is_one_of(&root, roots, count))
		return 0;
	for (size_t i = 0; i < count; i++)
		buf_printf(&names, "%s%s", i > 0 ? ", " : "", roots[i]);
	err_set(e, "{{%.*s}}: a path begins with one of %s, as in {{data.name}}",
	    (int)path->len, path->text, names.data);
	buf_clear(&names);
	return -1;
}

int
template_check(const char *text, struct err *e)
{
	static const char *const roots[] = { "data", "job", "now" };
	struct template_path path;
	int rc;

	while ((rc = template_next(&text, &path, e)) > 0)
		if (template_check_path(&path, roots, 3, e) < 0)
			return -1;
	return rc;
}

static void
put_member(struct buf *out, const char *key, const char *text)
{
	buf_printf(out, "\"%s\":", key);
	if (text != NULL)
		buf_json(out, text, strlen(text));
	else
		buf_str(out, "null");
}

void
template_context(struct buf *out, const struct job *job, const char *queue,
    int64_t now)
{
	time_t t = (time_t)now;
	struct tm tm = { 0 };
	char at[32];

	buf_grow(out, strlen(job->data) + 256);
	gmtime_r(&t, &tm);
	strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", &tm);
	buf_printf(out, "{\"now\":\"%s\",\"job\":{\"id\":%" PRId64 ","
	    "\"attempt\":%d,", at, job->id, job->attempt);
	put_member(out, "queue", queue);
	buf_char(out, ',');
	put_member(out, "type", job->type);
	buf_char(out, ',');
	put_member(out, "tenant", job->tenant);
	buf_str(out, "},\"data\":");
	buf_str(out, job->data);
	buf_char(out, '}');
}

static int
put_bounded(struct filler *f, const char *text, size_t len)
{
	if (len > TEMPLATE_MAX - (f->out->len - f->start))
		return err_set(f->e, "the text with its replacements is longer "
		    "than %u bytes", TEMPLATE_MAX);
	buf_put(f->out, text, len);
	return 0;
}

/* No segment of the path becomes "." or "..", which a client takes out with
 * the one before; behind a "?" they are harmless. */
static bool
is_dots(const struct filler *f, const char *text, size_t len)
{
	return (len == 1 || len == 2) && memcmp(text, "..", len) == 0 &&
	    memchr(f->out->data + f->start, '?', f->out->len - f->start) == NULL;
}

static int
put_encoded(struct filler *f, const struct template_path *path,
    const char *text, size_t len)
{
	if (f->out->len == f->start)
		return put_bounded(f, text, len);
	if (is_dots(f, text, len))
		return err_set(f->e, "{{%.*s}}: is \"%.*s\", which would change "
		    "the path", (int)path->len, path->text, (int)len, text);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		char code[4];

		if (c < 128 && (isalnum(c) || strchr("-._~", c) != NULL))
			snprintf(code, sizeof(code), "%c", c);
		else
			snprintf(code, sizeof(code), "%%%02X", c);
		if (put_bounded(f, code, strlen(code)) < 0)
			return -1;
	}
	return 0;
}

static int
put_json(struct filler *f, const char *text, size_t len)
{
	struct buf b = { 0 };
	int rc;

	buf_json(&b, text, len);
	rc = put_bounded(f, b.data + 1, b.len - 2);
	buf_clear(&b);
	return rc;
}

static int
put_html(struct filler *f, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const char *entity = text[i] == '&' ? "&amp;" :
		    text[i] == '<' ? "&lt;" : text[i] == '>' ? "&gt;" :
		    text[i] == '"' ? "&quot;" : text[i] == '\'' ? "&#39;" : NULL;

		if (put_bounded(f, entity ? entity : text + i,
		    entity ? strlen(entity) : 1) < 0)
			return -1;
	}
	return 0;
}

static bool
has_control(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (iscntrl((unsigned char)text[i]) && text[i] != '\t')
			return true;
	return false;
}

static int
put_text(struct filler *f, const struct template_path *path, const char *text,
    size_t len)
{
	const char *wrong = NULL;

	if (memchr(text, '\0', len) != NULL)
		wrong = "has a NUL character";
	else if ((f->use == TEMPLATE_LINE || f->use == TEMPLATE_URL) &&
	    has_control(text, len))
		wrong = "has a control character";
	else if (f->use == TEMPLATE_FILE && (len == 0 || *text == '.' ||
	    memchr(text, '/', len) != NULL || has_control(text, len)))
		wrong = "cannot be part of a file's name";
	if (wrong != NULL)
		return err_set(f->e, "{{%.*s}}: %s", (int)path->len, path->text,
		    wrong);
	switch (f->use) {
	case TEMPLATE_URL:
		return put_encoded(f, path, text, len);
	case TEMPLATE_JSON:
		return put_json(f, text, len);
	case TEMPLATE_HTML:
		return put_html(f, text, len);
	default:
		return put_bounded(f, text, len);
	}
}

/* What a path finds, and its length; NULL with e. */
static const char *
look_up(const struct filler *f, const struct template_path *path, size_t *len)
{
	struct template_path rest = *path, key;
	const char *value = f->context;
	bool root = true;

	if (check_keys(path, f->e) < 0)
		return NULL;
	while (value != NULL && template_key(&rest, &key)) {
		value = jtext_child(value, key.text, key.len, len);
		if (root && value == NULL) {
			err_set(f->e, "{{%.*s}}: nothing is called \"%.*s\" here",
			    (int)path->len, path->text, (int)key.len, key.text);
			return NULL;
		}
		root = false;
	}
	if (value == NULL)
		err_set(f->e, "{{%.*s}}: no such value in the job's data",
		    (int)path->len, path->text);
	return value;
}

static int
put_value(struct filler *f, const struct template_path *path)
{
	size_t len = 0, text_len = 0;
	const char *value = look_up(f, path, &len);
	char *text;
	int rc;

	if (value == NULL)
		return -1;
	if (*value == 'n')
		return err_set(f->e, "{{%.*s}}: is null", (int)path->len,
		    path->text);
	if (*value != '"')
		return put_text(f, path, value, len);
	text = jtext_string(value, len, &text_len);
	if (text == NULL)
		return err_set(f->e, "{{%.*s}}: cannot be read", (int)path->len,
		    path->text);
	rc = put_text(f, path, text, text_len);
	free(text);
	return rc;
}

static int
fill(struct filler *f, const char *text)
{
	struct template_path path;
	const char *from = text;
	int rc;

	while ((rc = template_next(&text, &path, f->e)) > 0) {
		const char *open = strstr(from, "{{");

		if (put_bounded(f, from, (size_t)(open - from)) < 0 ||
		    put_value(f, &path) < 0)
			return -1;
		from = text;
	}
	return rc < 0 ? -1 : put_bounded(f, from, strlen(from));
}

int
template_expand(const char *text, const char *context, enum template_use use,
    struct buf *out, struct err *e)
{
	struct filler f = {
		.out = out, .start = out->len, .context = context, .use = use,
		.e = e,
	};

	buf_put(out, "", 0);
	if (fill(&f, text) == 0)
		return 0;
	out->len = f.start;
	out->data[f.start] = '\0';
	return -1;
}
