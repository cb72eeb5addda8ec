/*
 * The effective configuration as YAML, and the digests of its parts, which
 * are made of the same text.
 */
#include "config.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/utf8.h"
#include "base/xalloc.h"
#include "conf/dump.h"
#include "conf/expand.h"
#include "conf/parts.h"

#define SECRET_FILE_MAX 65536

static void put_indent(struct dump *);
static void put_key(struct dump *, const char *key);
static void put_text(struct dump *, const char *text);
static void put_quoted(struct buf *, const char *text);
static void put_value(struct dump *, const char *key, const struct node *);
static void put_scalar(struct dump *, const char *key, const struct node *);
static bool is_plain(const char *text);
static void mask_url(struct buf *, const char *text);
static bool is_name(char);
static bool may_hold_secret(const char *text);
static void dump_named(struct dump *, const struct key *, const void *at);
static void digest_queue(const struct conf *, struct queue_conf *,
    const struct buf *shared);
static void put_secret_files(struct buf *, const struct node *);
static void dump_clear(struct dump *);

void
conf_dump(const struct conf *conf, FILE *f)
{
	struct buf out = { 0 };
	struct dump d = { .out = &out };

	dump_keys(&d, conf_keys, conf);
	fwrite(out.data, 1, out.len, f);
	buf_clear(&out);
	dump_clear(&d);
}

/* "key:" alone, then a value or deeper lines follow. */
static void
dump_key(struct dump *d, const char *key)
{
	put_indent(d);
	put_key(d, key);
}

void
dump_open(struct dump *d, const char *key)
{
	dump_key(d, key);
	buf_char(d->out, '\n');
	d->indent++;
}

void
dump_close(struct dump *d)
{
	d->indent--;
}

void
dump_raw(struct dump *d, const char *key, const char *text)
{
	dump_key(d, key);
	if (is_plain(text) || strcmp(text, "{}") == 0)
		buf_printf(d->out, " %s\n", text);
	else {
		buf_char(d->out, ' ');
		put_quoted(d->out, text);
		buf_char(d->out, '\n');
	}
}

void
dump_text(struct dump *d, const char *key, const char *text)
{
	dump_key(d, key);
	buf_char(d->out, ' ');
	put_text(d, text);
	buf_char(d->out, '\n');
}

void
dump_words(struct dump *d, const char *key, char *const *words, size_t count)
{
	dump_key(d, key);
	buf_str(d->out, " [");
	for (size_t i = 0; i < count; i++) {
		buf_str(d->out, i > 0 ? ", " : "");
		put_text(d, words[i]);
	}
	buf_str(d->out, "]\n");
}

void
dump_node(struct dump *d, const char *key, const struct node *n)
{
	dump_key(d, key);
	put_value(d, key, n);
}

/* A list or map goes deeper, below its key or dash. */
static void
put_value(struct dump *d, const char *key, const struct node *n)
{
	if (n->kind == NODE_SCALAR) {
		if (!node_is_empty(n))
			buf_char(d->out, ' ');
		put_scalar(d, key, n);
		buf_char(d->out, '\n');
		return;
	}
	if (n->count == 0) {
		buf_str(d->out, n->kind == NODE_MAP ? " {}\n" : " []\n");
		return;
	}
	buf_char(d->out, '\n');
	d->indent++;
	for (size_t i = 0; i < n->count; i++) {
		const struct node_entry *entry = &n->entries[i];

		put_indent(d);
		if (n->kind == NODE_MAP)
			put_key(d, entry->key);
		else
			buf_char(d->out, '-');
		put_value(d, n->kind == NODE_MAP ? entry->key : key,
		    entry->value);
	}
	d->indent--;
}

static bool
is_template(const char *text)
{
	size_t len = strlen(text);

	return strncmp(text, "{{", 2) == 0 && len > 4 &&
	    strcmp(text + len - 2, "}}") == 0;
}

/* Of OAuth 2.0: in which part of a request they are. */
static bool
says_where(const char *key, const char *text)
{
	return strcmp(key, "credentials") == 0 &&
	    (strcmp(text, "header") == 0 || strcmp(text, "body") == 0);
}

static void
put_scalar(struct dump *d, const char *key, const struct node *n)
{
	struct buf masked = { 0 };
	const char *text = n->text;

	/* Also one that is a list of words, as libpq takes it. */
	if (!d->reveal && strcmp(key, "url") == 0) {
		mask_url(&masked, text);
		text = masked.data;
	}
	if (!d->reveal && *text != '\0' && conf_names_secret(key) &&
	    !is_template(text) && !says_where(key, text))
		put_text(d, "***");
	else if (!n->quoted && node_literal(text) != NULL)
		buf_str(d->out, text);
	else
		put_text(d, text);
	buf_clear(&masked);
}

/* Not to be taken for a number, true, or null when it is read. */
static void
put_text(struct dump *d, const char *text)
{
	struct buf masked = { 0 };

	if (!d->reveal && may_hold_secret(text)) {
		mask_url(&masked, text);
		text = masked.data;
	}
	if (is_plain(text) && node_literal(text) == NULL)
		buf_str(d->out, text);
	else
		put_quoted(d->out, text);
	buf_clear(&masked);
}

static bool
is_plain(const char *text)
{
	const char *p = text;

	if (*p == '\0' || (!isalnum((unsigned char)*p) && *p != '/' &&
	    *p != '_' && !(*p == '-' && isdigit((unsigned char)p[1]))))
		return false;
	while (isalnum((unsigned char)*p) || (*p != '\0' &&
	    strchr("/_.-+%@", *p) != NULL))
		p++;
	return *p == '\0';
}

/* In double quotes: what YAML would not take, or would fold, is escaped. */
static void
put_quoted(struct buf *out, const char *text)
{
	struct buf escaped = { 0 };
	const char *p;
	size_t n;

	expand_escape(&escaped, text);
	buf_char(out, '"');
	for (p = escaped.data; p != NULL && *p != '\0'; p += n) {
		const unsigned char *u = (const unsigned char *)p;

		n = utf8_length(p, strlen(p));
		if (n == 0)
			n = 1;	/* does not happen: it was read as UTF-8 */
		if (*p == '"' || *p == '\\')
			buf_printf(out, "\\%c", *p);
		else if (*p == '\n')
			buf_str(out, "\\n");
		else if (*u < ' ' || *u == 0x7f)
			buf_printf(out, "\\x%02x", *u);
		else if (n == 2 && u[0] == 0xc2 && u[1] < 0xa0)
			buf_printf(out, "\\x%02x", u[1]);
		else if (n == 3 && u[0] == 0xe2 && u[1] == 0x80 &&
		    (u[2] == 0xa8 || u[2] == 0xa9))
			buf_printf(out, "\\u20%02x", u[2] - 0x80);
		else if (n == 3 && u[0] == 0xef && (u[1] == 0xbb ||
		    u[1] == 0xbf))
			buf_printf(out, "\\u%04x", ((u[0] & 0xf) << 12) |
			    ((u[1] & 0x3f) << 6) | (u[2] & 0x3f));
		else
			buf_put(out, p, n);
	}
	buf_char(out, '"');
	buf_clear(&escaped);
}

static void
put_indent(struct dump *d)
{
	for (int i = 0; i < d->indent; i++)
		buf_str(d->out, "  ");
}

static void
put_key(struct dump *d, const char *key)
{
	if (is_plain(key))
		buf_str(d->out, key);
	else
		put_quoted(d->out, key);
	buf_char(d->out, ':');
}

static bool
ends_in(const char *key, const char *end)
{
	size_t len = strlen(key), n = strlen(end);

	return len >= n && strcasecmp(key + len - n, end) == 0;
}

/* Whether what stands under this key is to be kept from people's eyes. */
bool
conf_names_secret(const char *key)
{
	static const char *const words[] = { "password", "passwd", "secret",
	    "token", "bearer", "credential", "authorization", "cookie",
	    "api_key", "api-key", "apikey", "admin_key", "access_key",
	    "private_key" };
	static const char *const harmless[] = { "_file", "_url", "_id", "_dir" };
	/* Of variables: STRIPE_KEY, DB_PASS. */
	static const char *const ends[] = { "_key", "-key", "_pass", "_pwd", "_pw",
	    "_dsn", "signature" };

	for (size_t i = 0; i < sizeof(harmless) / sizeof(*harmless); i++)
		if (ends_in(key, harmless[i]))
			return false;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strcasestr(key, words[i]) != NULL)
			return true;
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		if (ends_in(key, ends[i]))
			return true;
	return false;
}

/* Does the name before an = say that what follows is secret? */
static bool
is_secret_parameter(const char *name, size_t len)
{
	char *copy = xstrndup(name, len);
	bool secret = conf_names_secret(copy) || strcmp(copy, "sig") == 0 ||
	    strcmp(copy, "key") == 0;

	free(copy);
	return secret;
}

/* Where a value ends. A quoted one may hold blanks: 'it''s \' one' */
static const char *
value_end(const char *p)
{
	if (*p != '\'')
		return p + strcspn(p, " &");
	for (p++; *p != '\0' && *p != '\''; p++)
		if (*p == '\\' && p[1] != '\0')
			p++;
	return *p == '\0' ? p : p + 1;
}

/* scheme://user:PASSWORD@host?token=TOKEN and password=PASSWORD. */
static void
mask_url(struct buf *out, const char *text)
{
	const char *p = text, *host, *end, *at, *colon, *name;

	buf_put(out, "", 0);
	if ((host = strstr(p, "://")) != NULL) {
		host += 3;
		end = host + strcspn(host, "/?# ");
		colon = memchr(host, ':', (size_t)(end - host));
		at = memrchr(host, '@', (size_t)(end - host));
		if (colon != NULL && at != NULL && colon < at) {
			buf_put(out, p, (size_t)(colon - p) + 1);
			buf_str(out, "***");
			p = at;
		}
	}
	while ((at = strchr(p, '=')) != NULL) {
		for (name = at; name > p && is_name(name[-1]); name--)
			;
		at++;
		buf_put(out, p, (size_t)(at - p));
		p = at;
		if (!is_secret_parameter(name, (size_t)(at - 1 - name)) ||
		    *p == '\0' || strncmp(p, "{{", 2) == 0)
			continue;
		buf_str(out, "***");
		p = value_end(p);
	}
	buf_str(out, p);
}

static bool
is_name(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-';
}

/* An address, a list of words as libpq takes it, or an option --token=TOKEN. */
static bool
may_hold_secret(const char *text)
{
	const char *p = text;

	while (is_name(*p))
		p++;
	return (p > text && *p == '=') || strstr(text, "://") != NULL;
}

static void
wipe(struct buf *b)
{
	if (b->data != NULL)
		explicit_bzero(b->data, b->len);
	buf_clear(b);
}

static bool
is_default(const struct key *key, const void *at)
{
	struct buf text = { 0 };
	size_t count;
	bool same;

	if (key->type == KEY_WORDS) {
		memcpy(&count, (const char *)at + sizeof(char **),
		    sizeof(count));
		return count == 0;
	}
	if (key->type == KEY_MAP)	/* on_failure */
		return *((const struct step_conf *)at)->queue == '\0';
	key_format(key, at, &text);
	same = strcmp(text.data, key->def) == 0;
	buf_clear(&text);
	return same;
}

static void
dump_one(struct dump *d, const struct key *key, const void *at)
{
	struct buf masked = { 0 };
	const char *text;

	buf_reset(&d->value);
	key_format(key, at, &d->value);
	text = d->value.data;
	if (!d->reveal && (key->flags & KEY_SECRET) && *text != '\0') {
		text = "***";
	} else if (!d->reveal && (key->flags & KEY_URL)) {
		mask_url(&masked, text);
		text = masked.data;
	}
	if (key->type == KEY_TEXT)
		dump_text(d, key->name, text);
	else
		dump_raw(d, key->name, text);
	buf_clear(&masked);
}

/* Wipe and free what a dump kept; not its out. */
static void
dump_clear(struct dump *d)
{
	wipe(&d->value);
}

void
dump_keys(struct dump *d, const struct key *keys, const void *target)
{
	for (const struct key *key = keys; key->name != NULL; key++) {
		const char *at = (const char *)target + key->offset;
		const struct node *n;
		char *const *words;
		size_t count;

		if ((key->flags & KEY_RESULT) || (key->type == KEY_CUSTOM &&
		    key->dump == NULL))
			continue;
		if (key->type == KEY_CUSTOM) {
			key->dump(d, key, target);
		} else if (key->type == KEY_NODE) {
			memcpy(&n, at, sizeof(n));
			if (n != NULL)
				dump_node(d, key->name, n);
			else if (!(key->flags & KEY_QUIET))
				dump_raw(d, key->name, "{}");
		} else if ((key->flags & KEY_QUIET) && is_default(key, at)) {
			continue;
		} else if (key->type == KEY_WORDS) {
			memcpy(&words, at, sizeof(words));
			memcpy(&count, at + sizeof(words), sizeof(count));
			if (!d->reveal && (key->flags & KEY_SECRET) && count > 0)
				dump_words(d, key->name, (char *[]){ (char *)"***" }, 1);
			else
				dump_words(d, key->name, words, count);
		} else if (key->type == KEY_MAP) {
			dump_open(d, key->name);
			dump_keys(d, key->table, at);
			dump_close(d);
		} else if (key->type == KEY_NAMED) {
			dump_named(d, key, at);
		} else
			dump_one(d, key, at);
	}
}

static void
dump_named(struct dump *d, const struct key *key, const void *at)
{
	const char *array, *name;
	size_t count;

	memcpy(&array, at, sizeof(array));
	memcpy(&count, (const char *)at + sizeof(array), sizeof(count));
	if (count == 0) {
		dump_raw(d, key->name, "{}");
		return;
	}
	dump_open(d, key->name);
	for (size_t i = 0; i < count; i++) {
		const char *element = array + i * key->size;

		memcpy(&name, element, sizeof(name));
		if (key->dump != NULL) {
			key->dump(d, key, element);
			continue;
		}
		dump_open(d, name);
		dump_keys(d, key->table, element);
		dump_close(d);
	}
	dump_close(d);
}

/* FNV-1a. */
uint64_t
dump_hash(const struct buf *b)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < b->len; i++)
		h = (h ^ (unsigned char)b->data[i]) * UINT64_C(0x100000001b3);
	return h;
}

void
conf_digests(struct conf *conf)
{
	struct buf shared = { 0 }, whole = { 0 };
	struct dump d = { .out = &shared, .reveal = true };

	dump_text(&d, "node", conf->daemon.node);
	for (const struct key *key = conf_keys; key->name != NULL; key++) {
		struct key alone[2] = { *key, { .name = NULL } };

		if (strcmp(key->name, "database") == 0 ||
		    strcmp(key->name, "log") == 0)
			dump_keys(&d, alone, conf);
	}
	conf->shared_digest = dump_hash(&shared);
	d.out = &whole;
	dump_keys(&d, conf_keys, conf);
	put_secret_files(&whole, conf->root);
	conf->whole_digest = dump_hash(&whole);
	dump_clear(&d);
	for (size_t i = 0; i < conf->nqueues; i++)
		digest_queue(conf, &conf->queues[i], &shared);
	if (conf->notices != NULL)
		digest_queue(conf, conf->notices, &shared);
	wipe(&shared);
	wipe(&whole);
}

static void
digest_queue(const struct conf *conf, struct queue_conf *q,
    const struct buf *shared)
{
	struct buf b = { 0 };
	struct dump d = { .out = &b, .reveal = true };

	buf_put(&b, shared->data, shared->len);
	dump_keys(&d, keys_of("queues"), q);
	dump_keys(&d, policy_keys, q->retry);
	if (q->against != NULL)
		dump_keys(&d, policy_keys, q->against);
	buf_printf(&b, "%d\n", q->priority);
	for (size_t i = 0; i < q->ntypes; i++) {
		dump_node(&d, q->types[i].handler->name,
		    q->types[i].handler->options);
		put_secret_files(&b, q->types[i].handler->options);
	}
	if (q == conf->notices)
		put_secret_files(&b, conf->channels);
	else
		put_secret_files(&b, node_get(node_get(conf->root, "queues"), q->name));
	for (size_t i = 0; i < conf->nlimits; i++)
		for (size_t n = 0; n < q->nlimits; n++)
			if (strcmp(q->limits[n], conf->limits[i].name) == 0)
				buf_put(&b, &conf->limits[i].rate_count,
				    sizeof(struct limit_conf) -
				    sizeof(char *));
	/* Its leader writes the lines of their jobs. */
	for (size_t i = 0; i < conf->nschedules; i++) {
		const struct schedule_conf *s = &conf->schedules[i];

		if (*s->log != '\0' && strcmp(s->queue, q->name) == 0)
			buf_printf(&b, "%s\n%s\n", s->type, s->log);
	}
	q->digest = dump_hash(&b);
	dump_clear(&d);
	wipe(&b);
}

/* What is in a file that a key names by …_file counts as configuration: a
 * password that was changed there is taken by a reload. */
static void
put_secret_files(struct buf *b, const struct node *n)
{
	for (size_t i = 0; i < n->count; i++) {
		const struct node_entry *entry = &n->entries[i];
		size_t len = entry->key ? strlen(entry->key) : 0;
		char chunk[4096];
		struct stat st;
		ssize_t got;
		int fd;

		put_secret_files(b, entry->value);
		if (len < 5 || strcmp(entry->key + len - 5, "_file") != 0 ||
		    entry->value->kind != NODE_SCALAR ||
		    strcmp(entry->key, "pid_file") == 0 ||
		    strcmp(entry->key, "health_file") == 0)
			continue;	/* those two are jobqd's to write */
		fd = open(entry->value->text, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0)
			continue;
		if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
		    st.st_size <= SECRET_FILE_MAX)
			while ((got = read(fd, chunk, sizeof(chunk))) > 0)
				buf_put(b, chunk, (size_t)got);
		close(fd);
	}
}
