/*
 * Files that a configuration names, and that the daemon is going to open: what
 * is wrong with them. Apart from reading the configuration, which also those do
 * who may not see them.
 */
#include "config.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/xalloc.h"
#include "conf/parts.h"
#include "core/sign.h"
#include "os/priv.h"
#include "os/tls.h"

#define SECRET_LINE_MAX 4096

/* Root reads all; the user that it becomes may not. */
static const char *
hidden_from_user(const struct conf *conf, const char *path)
{
	struct identity user;
	struct stat st;

	if (geteuid() != 0 || stat(path, &st) != 0 ||
	    priv_find(conf->daemon.user, conf->daemon.group, &user, NULL) != 0 ||
	    priv_may_read(&user, &st))
		return NULL;
	return conf->daemon.user;
}

static void
check_tls(const struct conf *conf, struct conf_sink *sink)
{
	const struct node *map = node_get(node_get(conf->root, "api"), "tls");
	const struct node_entry *cert = node_entry(map, "cert");
	const struct node_entry *key = node_entry(map, "key");
	const struct node_entry *at = cert;
	const char *user;
	struct tls_server *tls;
	struct err e;

	if (cert == NULL || key == NULL || *conf->api.tls_cert == '\0' ||
	    *conf->api.tls_key == '\0')
		return;		/* that, reading has told */
	tls = tls_server_new(conf->api.tls_cert, NULL, &e);
	if (tls != NULL) {
		tls_server_free(tls);
		at = key;
		tls = tls_server_new(conf->api.tls_cert, conf->api.tls_key, &e);
	}
	user = tls != NULL ? hidden_from_user(conf, conf->api.tls_key) : NULL;
	if (user != NULL)
		err_set(&e, "the user %s cannot read the key %s", user,
		    conf->api.tls_key);
	if (tls == NULL || user != NULL)
		conf_complain(sink, at->file, at->line, at->column, "%s: %s",
		    at->key, e.msg);
	tls_server_free(tls);
}

/* What a handler shows its servers, and whom it trusts. */
static void
check_client(const struct conf *conf, const struct node *options,
    struct conf_sink *sink)
{
	const struct node *tls = node_get(options, "tls");
	const struct node_entry *ca = node_entry(options, "ca_file");
	const struct node_entry *cert = node_entry(tls, "cert");
	const struct node_entry *key = node_entry(tls, "key");
	const char *user = NULL;
	struct err e;

	if (ca != NULL && ca->value->kind == NODE_SCALAR &&
	    tls_client_check(NULL, NULL, ca->value->text, &e) < 0)
		conf_complain(sink, ca->file, ca->line, ca->column, "ca_file: %s",
		    e.msg);
	if (cert == NULL || key == NULL)
		return;
	if (tls_client_check(cert->value->text, NULL, NULL, &e) < 0)
		key = cert;
	else if (tls_client_check(cert->value->text, key->value->text, NULL,
	    &e) < 0)
		user = "";
	else if ((user = hidden_from_user(conf, key->value->text)) != NULL)
		err_set(&e, "the user %s cannot read the key %s", user,
		    key->value->text);
	if (key == cert || user != NULL)
		conf_complain(sink, key->file, key->line, key->column, "%s: %s",
		    key->key, e.msg);
}

/* Who may use the API: of the file, and with the admin key. */
static void
read_tokens(struct conf *conf, struct conf_sink *sink)
{
	const struct node *api = node_get(conf->root, "api");
	const struct node_entry *file = node_entry(api, "tokens_file");
	struct token admin = { .role = ROLE_ADMIN };
	const char *user;
	char *key;

	if (file != NULL && *conf->api.tokens_file != '\0') {
		tokens_read(conf->api.tokens_file, file, sink,
		    &conf->api.tokens, &conf->api.ntokens);
		if ((user = hidden_from_user(conf, conf->api.tokens_file)) != NULL)
			conf_complain(sink, file->file, file->line, file->column,
			    "tokens_file: the user %s cannot read %s", user,
			    conf->api.tokens_file);
	}
	if (*conf->api.admin_key == '\0' && *conf->api.admin_key_file == '\0')
		return;
	if ((key = node_secret(api, "admin_key", sink)) == NULL)
		return;
	admin.name = xstrdup("admin");
	digest_sha256(admin.digest, key, strlen(key));
	explicit_bzero(key, strlen(key));
	free(key);
	conf->api.tokens = xreallocarray(conf->api.tokens,
	    conf->api.ntokens + 1, sizeof(admin));
	conf->api.tokens[conf->api.ntokens++] = admin;
}

/* What queues' jobs are encrypted with. */
static void
read_queues(struct conf *conf, struct conf_sink *sink)
{
	for (size_t i = 0; i < conf->nqueues; i++) {
		struct queue_conf *q = &conf->queues[i];
		const struct node_entry *file = encrypt_key_file(conf, q);
		const char *user;

		if (file == NULL)
			continue;
		q->encrypt.keys = keyfile_read(q->encrypt.key_file, file, sink);
		if ((user = hidden_from_user(conf, q->encrypt.key_file)) != NULL)
			conf_complain(sink, file->file, file->line, file->column,
			    "key_file: the user %s cannot read %s", user,
			    q->encrypt.key_file);
	}
}

/*
 * Secrets that drivers, and the monitor of channels, read when they need them:
 * whether they can. Of a program's environment and of headers all names are
 * somebody else's.
 */
static void
check_secrets(const struct conf *conf, const struct node *map,
    struct conf_sink *sink)
{
	static const char *const names[] = { "password", "client_secret",
	    "bearer", "secret", "webhook", "url" };
	enum { SINGLE = 3 };	/* so many of them are never a list or a map */

	for (size_t i = 0; i < map->count; i++) {
		const struct node_entry *entry = &map->entries[i];

		if (entry->value->kind == NODE_MAP &&
		    strcmp(entry->key, "env") != 0 &&
		    strcmp(entry->key, "headers") != 0)
			check_secrets(conf, entry->value, sink);
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char *key = xasprintf("%s_file", names[i]), *secret;
		const struct node_entry *file = node_entry(map, key);
		const struct node *given = node_get(map, names[i]);
		const char *user = NULL;

		free(key);
		if (file == NULL && (i >= SINGLE || given == NULL ||
		    given->kind == NODE_SCALAR))
			continue;
		secret = node_secret(map, names[i], sink);
		if (secret != NULL) {
			user = hidden_from_user(conf, file->value->text);
			explicit_bzero(secret, strlen(secret));
		}
		if (user != NULL)
			conf_complain(sink, file->file, file->line, file->column,
			    "%s: the user %s cannot read %s", file->key, user,
			    file->value->text);
		free(secret);
	}
}

static void
add_key(struct hook_conf *h, const char *text)
{
	if (*text == '\0')
		return;
	h->keys = xreallocarray(h->keys, h->nkeys + 1, sizeof(*h->keys));
	h->keys[h->nkeys++] = xstrdup(text);
}

/* Each line of the file is one. */
static int
read_keys(struct hook_conf *h, struct err *e)
{
	char line[SECRET_LINE_MAX];
	struct buf out = { 0 };
	FILE *f = fopen(h->secret_file, "re");
	size_t before = h->nkeys;
	int rc = 0;

	if (f == NULL)
		return err_set(e, "cannot read %s: %s", h->secret_file,
		    strerror(errno));
	while (rc == 0 && fgets(line, sizeof(line), f) != NULL) {
		line[strcspn(line, "\r\n")] = '\0';
		add_key(h, line);
		if (*line != '\0' && h->scheme == VERIFY_STANDARD)
			rc = sign_standard(line, "id", 0, "", 0, &out, e);
	}
	explicit_bzero(line, sizeof(line));
	fclose(f);
	buf_clear(&out);
	if (rc == 0 && h->nkeys == before)
		return err_set(e, "%s is empty", h->secret_file);
	return rc;
}

/* What signs the webhooks that come in. */
static void
read_hooks(struct conf *conf, struct conf_sink *sink)
{
	for (size_t i = 0; i < conf->read.nhooks; i++) {
		struct hook_conf *h = &conf->read.hooks[i];
		const struct node *verify = node_get(conf->hooks->entries[i].value,
		    "verify");
		const struct node_entry *file = node_entry(verify, "secret_file");
		const char *user;
		struct err e;

		add_key(h, h->secret);
		for (size_t n = 0; n < h->nsecrets; n++)
			add_key(h, h->secrets[n]);
		if (file == NULL || *h->secret_file == '\0')
			continue;
		user = hidden_from_user(conf, h->secret_file);
		if (read_keys(h, &e) < 0)
			conf_complain(sink, file->file, file->line, file->column,
			    "secret_file: %s", e.msg);
		else if (user != NULL)
			conf_complain(sink, file->file, file->line, file->column,
			    "secret_file: the user %s cannot read %s", user,
			    h->secret_file);
	}
}

void
secrets_free(struct conf *conf)
{
	for (size_t i = 0; i < conf->nqueues; i++)
		keyring_free(conf->queues[i].encrypt.keys);
	for (size_t i = 0; i < conf->read.nhooks; i++) {
		struct hook_conf *h = &conf->read.hooks[i];

		for (size_t n = 0; n < h->nkeys; n++) {
			explicit_bzero(h->keys[n], strlen(h->keys[n]));
			free(h->keys[n]);
		}
		free(h->keys);
	}
}

/* What tells that a file is another one, or was written to. */
static void
put_stamp(const char *path, struct buf *b)
{
	struct stat st;

	if (*path != '\0' && stat(path, &st) == 0)
		buf_printf(b, "%s %ju %ju %jd.%09ld\n", path, (uintmax_t)st.st_ino,
		    (uintmax_t)st.st_size, (intmax_t)st.st_mtim.tv_sec,
		    st.st_mtim.tv_nsec);
}

static void
put_tokens(const struct conf *conf, struct buf *b)
{
	for (size_t i = 0; i < conf->api.ntokens; i++) {
		const struct token *t = &conf->api.tokens[i];

		buf_printf(b, "%s %d %s\n", t->name, t->role, t->tenant ? t->tenant : "");
		buf_put(b, t->digest, sizeof(t->digest));
	}
}

static void
put_hooks(const struct conf *conf, struct buf *b)
{
	for (size_t i = 0; i < conf->read.nhooks; i++)
		for (size_t n = 0; n < conf->read.hooks[i].nkeys; n++)
			buf_printf(b, "%s %s\n", conf->read.hooks[i].name,
			    conf->read.hooks[i].keys[n]);
}

int
conf_files(struct conf *conf, char **complaints)
{
	struct conf_sink sink = { 0 };
	struct buf stamps = { 0 };
	int rc = 0;

	*complaints = NULL;
	check_tls(conf, &sink);
	for (size_t i = 0; i < conf->nhandlers; i++)
		check_client(conf, conf->handlers[i].options, &sink);
	read_tokens(conf, &sink);
	read_hooks(conf, &sink);
	read_queues(conf, &sink);
	for (size_t i = 0; i < conf->nhandlers; i++)
		check_secrets(conf, conf->handlers[i].options, &sink);
	if (conf->channels != NULL)
		check_secrets(conf, conf->channels, &sink);
	put_stamp(conf->api.tls_cert, &stamps);
	put_stamp(conf->api.tls_key, &stamps);
	put_tokens(conf, &stamps);
	put_hooks(conf, &stamps);
	conf->files_digest = dump_hash(&stamps);
	if (stamps.len > 0)
		explicit_bzero(stamps.data, stamps.len);
	buf_clear(&stamps);
	if (sink.count > 0) {
		*complaints = sink_text(&sink);
		rc = -1;
	}
	sink_clear(&sink);
	return rc;
}
