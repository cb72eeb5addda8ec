/*
 * The file of tokens: see tokens.h.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "base/xalloc.h"
#include "conf/parts.h"
#include "conf/tokens.h"

#define FILE_MAX (1u << 20)
#define WORDS 4
#define TOKEN_RANDOM 24		/* bytes of a new one */

const char *const role_names[] = { "", "viewer", "producer", "operator", "admin",
    NULL };

enum role
role_find(const char *name)
{
	for (enum role r = ROLE_VIEWER; r <= ROLE_ADMIN; r++)
		if (strcmp(role_names[r], name) == 0)
			return r;
	return ROLE_NONE;
}

const char *
token_check_name(const char *name)
{
	if (*name == '\0' || strlen(name) > TOKEN_NAME_MAX ||
	    name[strspn(name, "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.@-")] != '\0')
		return "a name has letters, digits and _ . @ -, at most 64";
	return NULL;
}

const char *
token_check_tenant(const char *tenant)
{
	if (*tenant == '\0' || strlen(tenant) > TOKEN_TENANT_MAX)
		return "a tenant has 1 to 255 bytes; * stands for any";
	for (size_t n; *tenant != '\0'; tenant += n)
		if ((n = utf8_length(tenant, strlen(tenant))) == 0 ||
		    (unsigned char)*tenant <= ' ' || *tenant == 0x7f)
			return "a tenant is UTF-8 without blanks";
	return NULL;
}

struct line {
	const char *path;
	int number;
	struct conf_sink *sink;
	char *words[WORDS];
	int columns[WORDS];
	size_t count;		/* of words; more than WORDS: too many */
};

/* In place. */
static void
split(struct line *l, char *text)
{
	char *p = text;

	text[strcspn(text, "#")] = '\0';
	for (l->count = 0; *(p += strspn(p, " \t\r")) != '\0'; l->count++) {
		if (l->count < WORDS) {
			l->words[l->count] = p;
			l->columns[l->count] = (int)(p - text) + 1;
		}
		p += strcspn(p, " \t\r");
		if (*p != '\0')
			*p++ = '\0';
	}
}

static bool
complain(const struct line *l, size_t word, const char *what)
{
	conf_complain(l->sink, l->path, l->number, l->columns[word], "%s", what);
	return false;
}

/* What was written is in no message: it may be a token, in the wrong place. */
static bool
read_line(const struct line *l, struct token *t)
{
	const char *wrong;

	if (l->count != WORDS)
		return complain(l, 0, "a token is NAME ROLE TENANT|* SHA256: four "
		    "words (\"jobqctl token new\" prints such a line)");
	if ((wrong = token_check_name(l->words[0])) != NULL)
		return complain(l, 0, wrong);
	if ((t->role = role_find(l->words[1])) == ROLE_NONE)
		return complain(l, 1, "the role is viewer, producer, operator or admin");
	if (strcmp(l->words[2], "*") != 0 &&
	    (wrong = token_check_tenant(l->words[2])) != NULL)
		return complain(l, 2, wrong);
	if (digest_parse(t->digest, l->words[3]) < 0)
		return complain(l, 3, "the last word is the SHA-256 of the token, "
		    "64 hexadecimal digits");
	t->name = xstrdup(l->words[0]);
	t->tenant = strcmp(l->words[2], "*") == 0 ? NULL : xstrdup(l->words[2]);
	return true;
}

char *
private_text(const char *path, const struct node_entry *at, struct conf_sink *sink)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	const char *wrong = NULL;
	struct buf text = { 0 };
	struct stat st;
	char chunk[4096];
	ssize_t n = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		wrong = strerror(errno);
	else if (!S_ISREG(st.st_mode))
		wrong = "it is no file";
	else if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		wrong = "others than its owner may read or write it: chmod 600 it";
	while (wrong == NULL && (n = read(fd, chunk, sizeof(chunk))) > 0) {
		buf_put(&text, chunk, (size_t)n);
		if (text.len > FILE_MAX)
			wrong = "it is larger than 1 MiB";
	}
	if (wrong == NULL && n < 0)
		wrong = strerror(errno);
	if (wrong == NULL && text.len > 0 && memchr(text.data, '\0', text.len) != NULL)
		wrong = "it is no text";
	if (fd >= 0)
		close(fd);
	if (wrong == NULL)
		return buf_detach(&text);
	conf_complain(sink, at->file, at->line, at->column,
	    "%s: cannot use %s: %s", at->key, path, wrong);
	if (text.data != NULL)
		explicit_bzero(text.data, text.len);
	buf_clear(&text);
	return NULL;
}

void
tokens_read(const char *path, const struct node_entry *at, struct conf_sink *sink,
    struct token **tokens, size_t *count)
{
	struct line l = { .path = path, .sink = sink };
	char *text = private_text(path, at, sink), *rest = text, *line;

	while (rest != NULL && (line = strsep(&rest, "\n")) != NULL) {
		struct token t = { 0 };

		l.number++;
		split(&l, line);
		if (l.count == 0 || !read_line(&l, &t))
			continue;
		*tokens = xreallocarray(*tokens, *count + 1, sizeof(t));
		(*tokens)[(*count)++] = t;
	}
	free(text);
}

void
tokens_free(struct token *tokens, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(tokens[i].name);
		free(tokens[i].tenant);
	}
	free(tokens);
}

char *
token_make(const char *name, enum role role, const char *tenant,
    char token[TOKEN_TEXT_MAX])
{
	unsigned char random[TOKEN_RANDOM], digest[DIGEST_SIZE];
	char hex[DIGEST_HEX_MAX];
	int n = snprintf(token, TOKEN_TEXT_MAX, "jobq_");

	arc4random_buf(random, sizeof(random));
	for (size_t i = 0; i < sizeof(random); i++)
		n += snprintf(token + n, TOKEN_TEXT_MAX - (size_t)n, "%02x", random[i]);
	explicit_bzero(random, sizeof(random));
	digest_sha256(digest, token, strlen(token));
	return xasprintf("%s %s %s %s", name, role_names[role], tenant,
	    digest_hex(hex, digest));
}
