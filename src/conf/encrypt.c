/*
 * The encryption of a queue's jobs: its file of keys, and what it forbids.
 *
 * The file has a key a line, KEY BASE64; the first encrypts, all decrypt.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "conf/parts.h"

#define KEYS_MAX 1000		/* of a file */

struct key_line {
	const char *path;
	int number;
	struct conf_sink *sink;
};

/* What was written is in no message: it may be a key, in the wrong place. */
static void
complain_line(const struct key_line *l, const char *what)
{
	conf_complain(l->sink, l->path, l->number, 1, "%s", what);
}

static void
read_key(const struct key_line *l, char *text, struct keyring *r)
{
	struct seal_key key;
	const char *wrong;
	char *id, *base64;

	text[strcspn(text, "#\r")] = '\0';
	while ((id = strsep(&text, " \t")) != NULL && *id == '\0')
		;
	if (id == NULL)
		return;
	while ((base64 = strsep(&text, " \t")) != NULL && *base64 == '\0')
		;
	if (base64 == NULL || (text != NULL && text[strspn(text, " \t")] != '\0'))
		complain_line(l, "a key is KEY BASE64: two words (\"jobqctl key new\" "
		    "prints such a line)");
	else if ((wrong = seal_check_id(id)) != NULL)
		complain_line(l, wrong);
	else if (keyring_find(r, id) != NULL)
		complain_line(l, "the file has a key of that name already");
	else if (r->count == KEYS_MAX)
		complain_line(l, "a file has at most 1000 keys");
	else if (seal_key_parse(&key, id, base64) < 0)
		complain_line(l, "the second word is the base64 of 32 bytes");
	else
		keyring_add(r, &key);
	explicit_bzero(&key, sizeof(key));
}

struct keyring *
keyfile_read(const char *path, const struct node_entry *at,
    struct conf_sink *sink)
{
	struct key_line l = { .path = path, .sink = sink };
	size_t before = sink->count;
	char *text = private_text(path, at, sink), *rest = text, *line;
	struct keyring *r = xcalloc(1, sizeof(*r));

	while (rest != NULL && (line = strsep(&rest, "\n")) != NULL) {
		size_t len = strlen(line);

		l.number++;
		read_key(&l, line, r);
		explicit_bzero(line, len);
	}
	free(text);
	if (text != NULL && sink->count == before && r->count == 0)
		conf_complain(sink, at->file, at->line, at->column,
		    "%s: there is no key in %s", at->key, path);
	if (sink->count == before)
		return r;
	keyring_free(r);
	return NULL;
}

const struct node_entry *
encrypt_key_file(const struct conf *conf, const struct queue_conf *q)
{
	const struct node *map = node_get(node_get(node_get(conf->root, "queues"),
	    q->name), "encrypt");

	return *q->encrypt.key_file == '\0' ? NULL : node_entry(map, "key_file");
}

struct keyring *
conf_keyring(const struct conf *conf, const struct queue_conf *q,
    char **complaints)
{
	const struct node_entry *at = encrypt_key_file(conf, q);
	struct conf_sink sink = { 0 };
	struct keyring *r;

	*complaints = NULL;
	if (at == NULL)
		return NULL;
	r = keyfile_read(q->encrypt.key_file, at, &sink);
	if (r == NULL)
		*complaints = sink_text(&sink);
	sink_clear(&sink);
	return r;
}

static const struct keyring *
keys_of_queue(const struct conf *conf, const char *name)
{
	const struct queue_conf *q = conf ? conf_queue(conf, name) : NULL;

	return q != NULL ? q->encrypt.keys : NULL;
}

int
conf_seal_data(const struct conf *conf, const char *queue, char **json,
    struct err *e)
{
	const struct keyring *r = keys_of_queue(conf, queue);

	return r == NULL ? 0 : seal_data(r, queue, json, e);
}

int
conf_seal_job(const struct conf *conf, const char *queue, char **json,
    struct err *e)
{
	const struct keyring *r = keys_of_queue(conf, queue);

	return r == NULL ? 0 : seal_job(r, queue, json, e);
}

int
conf_seal_jobs(const struct conf *conf, const char *queue, char **json,
    struct err *e)
{
	const struct keyring *r = keys_of_queue(conf, queue);

	return r == NULL ? 0 : seal_jobs(r, queue, json, e);
}

/* The database would have to look into the data. */
static void
check_path_key(const struct node_entry *queue, const char *key,
    const char *path, struct conf_sink *sink)
{
	const struct node_entry *at = node_entry(queue->value, key);

	if (at != NULL && *path != '\0' && strcmp(path, "tenant") != 0)
		conf_complain(sink, at->file, at->line, at->column,
		    "%s: nothing can be read of data that is encrypted; whoever "
		    "enqueues can give the job a key of its own", key);
}

void
encrypt_check_queue(const struct queue_conf *q, const struct node_entry *entry,
    struct conf_sink *sink)
{
	const struct node_entry *at = node_entry(entry->value, "encrypt");

	if (at != NULL && at->value->kind == NODE_MAP && at->value->count > 0 &&
	    node_entry(at->value, "key_file") == NULL)
		conf_complain(sink, at->file, at->line, at->column,
		    "encrypt: needs key_file:");
	if (at == NULL || *q->encrypt.key_file == '\0')
		return;
	check_path_key(entry, "concurrency_key", q->concurrency_key, sink);
	check_path_key(entry, "fair", q->fair, sink);
	check_path_key(entry, "unique", q->unique, sink);
}

void
encrypt_check_data(const struct queue_conf *q, const struct node_entry *at,
    const char *key, struct conf_sink *sink)
{
	const struct node_entry *by = node_entry(at->value, key);

	if (q == NULL || by == NULL || *q->encrypt.key_file == '\0' ||
	    !q->encrypt.required || (by->value->kind == NODE_MAP &&
	    (by->value->count == 0 || node_get(by->value, "$enc") != NULL)))
		return;
	conf_complain(sink, by->file, by->line, by->column, "%s: the queue %s "
	    "takes only data that is encrypted; its key encrypt can say "
	    "required: false", key, q->name);
}
