/*
 * Files that a configuration names, and that the daemon is going to open: what
 * is wrong with them. Apart from reading the configuration, which also those do
 * who may not see them.
 */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/xalloc.h"
#include "conf/parts.h"
#include "os/priv.h"
#include "os/tls.h"

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

int
conf_files(struct conf *conf, char **complaints)
{
	struct conf_sink sink = { 0 };
	struct buf stamps = { 0 };
	int rc = 0;

	*complaints = NULL;
	check_tls(conf, &sink);
	read_tokens(conf, &sink);
	put_stamp(conf->api.tls_cert, &stamps);
	put_stamp(conf->api.tls_key, &stamps);
	put_tokens(conf, &stamps);
	conf->files_digest = dump_hash(&stamps);
	buf_clear(&stamps);
	if (sink.count > 0) {
		*complaints = sink_text(&sink);
		rc = -1;
	}
	sink_clear(&sink);
	return rc;
}
