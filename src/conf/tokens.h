/*
 * The file of api.tokens_file: who may use the API. One token a line,
 *
 *	NAME ROLE TENANT|* SHA-256 of the token in hexadecimal
 *
 * so the tokens themselves are nowhere. Several may share a name, while one
 * takes the place of another. # begins a comment.
 */
#ifndef CONF_TOKENS_H
#define CONF_TOKENS_H

#include <stddef.h>

#include "core/digest.h"

/* Each may what those before it may. */
enum role { ROLE_NONE, ROLE_VIEWER, ROLE_PRODUCER, ROLE_OPERATOR, ROLE_ADMIN };
extern const char *const role_names[];	/* "", "viewer" …, NULL at the end */
/* ROLE_NONE: there is no such role. */
enum role role_find(const char *name);

#define TOKEN_NAME_MAX 64	/* bytes of a name, letters, digits and _.@- */
#define TOKEN_TENANT_MAX 255

struct token {
	char *name;
	enum role role;
	char *tenant;		/* NULL: any */
	unsigned char digest[DIGEST_SIZE];
};

struct conf_sink;
struct node_entry;

/*
 * What is in the file, appended to the array. What is wrong with it is
 * complained of at its own lines, and that it cannot be read at `entry`.
 */
void tokens_read(const char *path, const struct node_entry *, struct conf_sink *,
    struct token **tokens, size_t *count);
void tokens_free(struct token *, size_t count);

/*
 * A new token, and its line for the file (without its end), which the caller
 * frees. The token is random, has letters, digits and _, and cannot be taken
 * for a digest.
 */
#define TOKEN_TEXT_MAX 64
char *token_make(const char *name, enum role, const char *tenant,
    char token[TOKEN_TEXT_MAX]);

/* What is wrong with the words of a token's line; NULL: nothing. */
const char *token_check_name(const char *name);
const char *token_check_tenant(const char *tenant);

#endif
