/*
 * From a job's data to a mail: see letter.h.
 *
 *	{to, cc, bcc, reply_to: "a@b" | "A <a@b>, c@d" | […], from, subject,
 *	 text, html, headers: {name: value}, importance: low | normal | high,
 *	 attachments: [{filename, type, content (base64) | text | path,
 *	                content_id, inline: true | false}]}
 *
 * body (with bodyType "html" or not) stands for html or text, as several
 * producers know it. Other members are not looked at.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "core/template.h"
#include "driver/below.h"
#include "driver/data.h"
#include "driver/email/letter.h"

/* A letter in the making. */
struct writer {
	struct letter *letter;
	const struct letter_options *options;
	const struct job *job;
	int64_t now;
	const json_t *data;
	size_t bytes;			/* of attachments so far */
	struct err *e;
};

/*
 * Texts and addresses
 */

/* The string of a member, NULL: not there; -1: something else, or a NUL in it. */
static int
get_text(const struct writer *w, const json_t *map, const char *key,
    const char **out)
{
	const json_t *value = json_object_get(map, key);

	*out = NULL;
	if (value == NULL || json_is_null(value))
		return 0;
	if (!json_is_string(value))
		return err_set(w->e, "%s: needs to be text", key);
	*out = json_string_value(value);
	if (strlen(*out) != json_string_length(value))
		return err_set(w->e, "%s: has a NUL", key);
	return 0;
}

/* As get_text(), for what becomes a header. */
static int
get_line(const struct writer *w, const json_t *map, const char *key,
    const char **out)
{
	if (get_text(w, map, key, out) < 0)
		return -1;
	if (*out != NULL && !mime_is_text(*out))
		return err_set(w->e, "%s: has a control character (or a line "
		    "end), which a header cannot have", key);
	if (*out != NULL && strlen(*out) > LETTER_HEADER_MAX)
		return err_set(w->e, "%s: longer than %d bytes", key,
		    LETTER_HEADER_MAX);
	return 0;
}

static int
read_list(const struct writer *w, const json_t *value,
    struct addrs *list)
{
	const json_t *item;
	size_t i;

	if (json_is_string(value))
		return addrs_parse(json_string_value(value), list, w->e);
	if (!json_is_array(value))
		return err_set(w->e, "needs to be text or a list of texts");
	json_array_foreach(value, i, item) {
		struct addr a;

		if (!json_is_string(item))
			return err_set(w->e, "needs to be text or a list of texts");
		if (addr_parse(json_string_value(item), &a, w->e) < 0)
			return -1;
		list->v = xreallocarray(list->v, list->n + 1, sizeof(*list->v));
		list->v[list->n++] = a;
		if (list->n > LETTER_RECIPIENTS_MAX)
			break;
	}
	return 0;
}

static int
get_addresses(const struct writer *w, const char *key, struct addrs *list)
{
	const json_t *value = json_object_get(w->data, key);

	if (value == NULL || json_is_null(value))
		return 0;
	if (json_is_string(value) &&
	    strlen(json_string_value(value)) != json_string_length(value))
		return err_set(w->e, "%s: has a NUL", key);
	if (read_list(w, value, list) < 0)
		return err_prepend(w->e, "%s", key);
	if (list->n > LETTER_RECIPIENTS_MAX)
		return err_set(w->e, "%s: more than %d addresses", key,
		    LETTER_RECIPIENTS_MAX);
	return 0;
}

static void
add_recipients(struct letter *l, const struct addrs *list)
{
	for (size_t i = 0; i < list->n; i++) {
		const char *address = list->v[i].address;
		size_t j = 0;

		while (j < l->recipients.n && strcasecmp(address,
		    l->recipients.v[j].address) != 0)
			j++;
		if (j < l->recipients.n)
			continue;
		l->recipients.v = xreallocarray(l->recipients.v,
		    l->recipients.n + 1, sizeof(*l->recipients.v));
		l->recipients.v[l->recipients.n].name = NULL;
		l->recipients.v[l->recipients.n++].address = xstrdup(address);
	}
}

static int
read_envelope(struct writer *w)
{
	struct letter *l = w->letter;
	struct addrs bcc = { .n = 0 };
	int rc = 0;

	if (get_addresses(w, "to", &l->mail.to) < 0 ||
	    get_addresses(w, "cc", &l->mail.cc) < 0 ||
	    get_addresses(w, "bcc", &bcc) < 0)
		rc = -1;
	add_recipients(l, &l->mail.to);
	add_recipients(l, &l->mail.cc);
	add_recipients(l, &bcc);
	addrs_clear(&bcc);
	if (rc < 0)
		return -1;
	if (l->recipients.n == 0)
		return err_set(w->e, "to: there is no recipient");
	if (l->recipients.n > LETTER_RECIPIENTS_MAX)
		return err_set(w->e, "more than %d recipients",
		    LETTER_RECIPIENTS_MAX);
	return 0;
}

static int
read_sender(struct writer *w)
{
	struct mail *m = &w->letter->mail;
	const char *from = NULL;

	if (!w->options->force_from && get_text(w, w->data, "from", &from) < 0)
		return -1;
	if (from == NULL)
		from = w->options->from;
	if (from[0] == '\0')
		return err_set(w->e, "from: missing in data, and the handler "
		    "has none");
	if (addr_parse(from, &m->from, w->e) < 0)
		return err_prepend(w->e, "from");
	if (get_addresses(w, "reply_to", &m->reply_to) < 0)
		return -1;
	if (m->reply_to.n == 0 && addrs_parse(w->options->reply_to,
	    &m->reply_to, w->e) < 0)
		return err_prepend(w->e, "reply_to of the handler");
	return 0;
}

/* A template of the handler filled in; *out stays NULL where there is none. */
static int
expand(const struct writer *w, const char *key, const char *text,
    enum template_use use, char **out)
{
	struct buf context = { .len = 0 }, b = { .len = 0 };
	int rc;

	if (text[0] == '\0')
		return 0;
	template_context(&context, w->job, w->options->queue, w->now);
	rc = template_expand(text, context.data, use, &b, w->e);
	buf_clear(&context);
	*out = buf_detach(&b);
	return rc < 0 ? err_prepend(w->e, "%s of the handler", key) : 0;
}

/* What the data says of it, or else the handler. */
static int
read_subject(struct writer *w)
{
	struct mail *m = &w->letter->mail;
	const char *subject;

	if (get_line(w, w->data, "subject", &subject) < 0)
		return -1;
	m->subject = xstrdup(subject);
	if (subject == NULL && expand(w, "subject", w->options->subject,
	    TEMPLATE_LINE, &m->subject) < 0)
		return -1;
	if (m->subject == NULL)
		m->subject = xstrdup("");
	if (!mime_is_text(m->subject) || strlen(m->subject) > LETTER_HEADER_MAX)
		return err_set(w->e, "subject of the handler: becomes longer than "
		    "%d bytes, or has a control character", LETTER_HEADER_MAX);
	return 0;
}

static int
read_body(struct writer *w)
{
	struct mail *m = &w->letter->mail;
	const char *text, *html, *body, *type;

	if (get_text(w, w->data, "text", &text) < 0 ||
	    get_text(w, w->data, "html", &html) < 0 ||
	    get_text(w, w->data, "body", &body) < 0 ||
	    get_text(w, w->data, "bodyType", &type) < 0)
		return -1;
	if (body != NULL && type != NULL && strcasecmp(type, "html") == 0)
		html = html ? html : body;
	else if (body != NULL)
		text = text ? text : body;
	m->text = xstrdup(text);
	m->html = xstrdup(html);
	if (text == NULL && html == NULL && (expand(w, "text", w->options->text,
	    TEMPLATE_TEXT, &m->text) < 0 || expand(w, "html", w->options->html,
	    TEMPLATE_HTML, &m->html) < 0))
		return -1;
	if (m->text == NULL && m->html == NULL && json_array_size(
	    json_object_get(w->data, "attachments")) == 0)
		return err_set(w->e, "text, html: neither is there");
	return 0;
}

static void
put_header(struct mail *m, const char *name, const char *value)
{
	m->headers = xreallocarray(m->headers, m->nheaders + 1,
	    sizeof(*m->headers));
	m->headers[m->nheaders].name = xstrdup(name);
	m->headers[m->nheaders++].value = xstrdup(value);
}

static int
read_headers(struct writer *w)
{
	json_t *headers = json_object_get(w->data, "headers"), *value;
	const char *name, *text, *importance;

	if (get_line(w, w->data, "importance", &importance) < 0)
		return -1;
	if (importance != NULL && strcasecmp(importance, "normal") != 0) {
		if (strcasecmp(importance, "low") != 0 &&
		    strcasecmp(importance, "high") != 0)
			return err_set(w->e, "importance: low, normal or high");
		put_header(&w->letter->mail, "Importance", importance);
	}
	if (headers == NULL || json_is_null(headers))
		return 0;
	if (!json_is_object(headers) ||
	    json_object_size(headers) > LETTER_HEADERS_MAX)
		return err_set(w->e, "headers: needs an object of at most %d "
		    "names and texts", LETTER_HEADERS_MAX);
	json_object_foreach(headers, name, value) {
		if (!mime_is_header(name))
			return err_set(w->e, "headers: \"%.70s\" cannot be set",
			    mime_is_text(name) ? name : "?");
		if (get_line(w, headers, name, &text) < 0)
			return err_prepend(w->e, "headers");
		put_header(&w->letter->mail, name, text ? text : "");
	}
	return 0;
}

/*
 * Attachments
 */

static int
count_bytes(struct writer *w, size_t more)
{
	if (more > LETTER_BYTES_MAX - w->bytes)
		return err_set(w->e, "more than %u MiB in all",
		    LETTER_BYTES_MAX >> 20);
	w->bytes += more;
	return 0;
}

static int
open_path(struct writer *w, const char *path)
{
	const char *dir = w->options->attachments_dir;
	int fd;

	if (dir[0] == '\0')
		return err_set(w->e, "path: the handler has no attachments_dir");
	fd = below_open(dir, path, w->e);
	return fd < 0 ? err_prepend(w->e, "path") : fd;
}

static int
read_all(struct writer *w, int fd, struct buf *out)
{
	char data[65536];
	ssize_t n;

	while ((n = read(fd, data, sizeof(data))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(w->e, "path: cannot read");
		if (count_bytes(w, (size_t)n) < 0)
			return -1;
		buf_put(out, data, (size_t)n);
	}
	return 0;
}

static int
read_path(struct writer *w, const char *path, struct mail_attachment *a)
{
	const char *slash = strrchr(path, '/');
	int fd = open_path(w, path), rc;

	if (fd < 0)
		return -1;
	rc = read_all(w, fd, &a->content);
	close(fd);
	if (a->filename == NULL)
		a->filename = xstrdup(slash ? slash + 1 : path);
	return rc;
}

static int
read_content(struct writer *w, const json_t *item, struct mail_attachment *a)
{
	const char *content, *text, *path;

	if (get_text(w, item, "content", &content) < 0 ||
	    get_text(w, item, "text", &text) < 0 ||
	    get_text(w, item, "path", &path) < 0)
		return -1;
	if ((content != NULL) + (text != NULL) + (path != NULL) != 1)
		return err_set(w->e, "needs one of content, text, path");
	if (path != NULL)
		return read_path(w, path, a);
	if (count_bytes(w, strlen(content ? content : text)) < 0)
		return -1;
	if (content != NULL)
		return data_base64(content, &a->content) == 0 ? 0 :
		    err_set(w->e, "content: is no base64");
	buf_str(&a->content, text);
	return 0;
}

/* What a file is, by the end of its name; NULL: not known. */
static const char *
type_of_name(const char *name)
{
	static const char *const types[][2] = {
		{ "csv", "text/csv" }, { "gif", "image/gif" },
		{ "html", "text/html" }, { "ics", "text/calendar" },
		{ "jpeg", "image/jpeg" }, { "jpg", "image/jpeg" },
		{ "json", "application/json" }, { "pdf", "application/pdf" },
		{ "png", "image/png" }, { "svg", "image/svg+xml" },
		{ "txt", "text/plain" }, { "webp", "image/webp" },
		{ "xlsx", "application/vnd.openxmlformats-officedocument."
		    "spreadsheetml.sheet" },
		{ "xml", "application/xml" }, { "zip", "application/zip" },
	};
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && i < sizeof(types) / sizeof(types[0]); i++)
		if (strcasecmp(dot + 1, types[i][0]) == 0)
			return types[i][1];
	return NULL;
}

static void
guess_type(struct mail_attachment *a, bool is_text)
{
	const char *type = type_of_name(a->filename);

	if (type == NULL)
		type = is_text ? "text/plain" : "application/octet-stream";
	a->type = is_text && strncmp(type, "text/", 5) == 0 ?
	    xasprintf("%s; charset=utf-8", type) : xstrdup(type);
}

static int
read_place(const struct writer *w, const json_t *item, struct mail_attachment *a)
{
	const json_t *in_place = json_object_get(item, "inline");
	const char *id;

	if (get_line(w, item, "content_id", &id) < 0)
		return -1;
	if (id != NULL && !mime_is_id(id))
		return err_set(w->e, "content_id: needs letters, digits and "
		    "signs such as . _ - @, at most 200");
	if (in_place != NULL && !json_is_null(in_place) &&
	    !json_is_boolean(in_place))
		return err_set(w->e, "inline: needs true or false");
	a->content_id = xstrdup(id);
	a->in_place = json_is_boolean(in_place) ? json_is_true(in_place) :
	    id != NULL;
	return 0;
}

static int
read_attachment(struct writer *w, const json_t *item, struct mail_attachment *a)
{
	const char *filename, *type;

	if (!json_is_object(item))
		return err_set(w->e, "needs an object");
	if (get_line(w, item, "filename", &filename) < 0 ||
	    get_line(w, item, "type", &type) < 0)
		return -1;
	if (type != NULL && !mime_is_type(type))
		return err_set(w->e, "type: is no media type such as image/png");
	a->filename = xstrdup(filename);
	a->type = xstrdup(type);
	if (read_place(w, item, a) < 0 || read_content(w, item, a) < 0)
		return -1;
	if (a->filename == NULL || a->filename[0] == '\0' ||
	    strlen(a->filename) > 255 || !mime_is_text(a->filename) ||
	    strpbrk(a->filename, "/\\") != NULL)
		return err_set(w->e, "filename: needs a name without slashes");
	if (a->type == NULL)
		guess_type(a, json_is_string(json_object_get(item, "text")));
	return 0;
}

static int
read_attachments(struct writer *w)
{
	struct mail *m = &w->letter->mail;
	const json_t *list = json_object_get(w->data, "attachments"), *item;
	size_t i;

	if (list == NULL || json_is_null(list))
		return 0;
	if (!json_is_array(list) ||
	    json_array_size(list) > LETTER_ATTACHMENTS_MAX)
		return err_set(w->e, "attachments: needs a list of at most %d",
		    LETTER_ATTACHMENTS_MAX);
	m->attachments = xcalloc(json_array_size(list) + 1,
	    sizeof(*m->attachments));
	json_array_foreach(list, i, item)
		if (read_attachment(w, item, &m->attachments[m->nattachments++]) < 0)
			return err_prepend(w->e, "attachments[%zu]", i);
	return 0;
}

/*
 * The same for each attempt of the job, so that a receiver can tell that two
 * copies are one mail; different for each job of each database.
 */
static char *
make_message_id(const struct job *job, const struct addr *from)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	char hex[33];
	struct buf b = { .len = 0 };
	unsigned int n = 0;

	buf_printf(&b, "%" PRId64 "\n%s\n%s", job->id, job->type, job->data);
	EVP_Digest(b.data, b.len, digest, &n, EVP_sha256(), NULL);
	buf_clear(&b);
	for (size_t i = 0; i < 16; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	return xasprintf("<%" PRId64 ".%s@%s>", job->id, hex,
	    addr_is_ascii(from) ? strrchr(from->address, '@') + 1 :
	    "jobqd.invalid");
}

static bool
are_ascii(const struct addrs *list)
{
	for (size_t i = 0; i < list->n; i++)
		if (!addr_is_ascii(&list->v[i]))
			return false;
	return true;
}

int
letter_read(struct letter *l, const struct letter_options *options,
    const struct job *job, int64_t now, struct err *e)
{
	struct writer w = {
		.letter = l, .options = options, .job = job, .now = now, .e = e,
	};
	json_t *data = data_read(job, e);
	int rc;

	memset(l, 0, sizeof(*l));
	if (data == NULL)
		return -1;
	w.data = data;
	rc = read_envelope(&w) < 0 || read_sender(&w) < 0 ||
	    read_subject(&w) < 0 || read_body(&w) < 0 || read_headers(&w) < 0 ||
	    read_attachments(&w) < 0 ? -1 : 0;
	json_decref(data);
	if (rc < 0)
		return -1;
	l->beyond_ascii = !addr_is_ascii(&l->mail.from) ||
	    !are_ascii(&l->recipients) || !are_ascii(&l->mail.reply_to);
	l->mail.date = now;
	l->mail.message_id = make_message_id(job, &l->mail.from);
	return 0;
}

void
letter_clear(struct letter *l)
{
	mail_clear(&l->mail);
	addrs_clear(&l->recipients);
}
