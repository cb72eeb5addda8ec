/*
 * Logging in by SASL: see sasl.h.
 */
#include "config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <auth-client.h>

#include "base/xalloc.h"
#include "core/base64.h"
#include "driver/email/sasl.h"

#define CHALLENGE_MAX 12288		/* bytes of base64: RFC 4954 */

enum { ANY, PLAIN, LOGIN, CRAM_MD5, XOAUTH2 };

const char *const sasl_names[] = {
	[ANY] = "auto", [PLAIN] = "plain", [LOGIN] = "login",
	[CRAM_MD5] = "cram-md5", [XOAUTH2] = "xoauth2", NULL
};

struct sasl {
	int mechanism;
	const char *user, *password;
	auth_context_t library;		/* NULL: of XOAUTH2 */
};

void
sasl_init(void)
{
	auth_client_init();
}

void
sasl_exit(void)
{
	auth_client_exit();
}

static bool
is_offered(const char *list, const char *name)
{
	size_t len = strlen(name);

	while (*list != '\0') {
		size_t n = strcspn(list, " ");

		if (n == len && strncasecmp(list, name, len) == 0)
			return true;
		list += n + strspn(list + n, " ");
	}
	return false;
}

static int
on_question(auth_client_request_t request, char **result, int fields, void *arg)
{
	const struct sasl *s = arg;

	for (int i = 0; i < fields; i++) {
		const char *answer = "";

		if (request[i].flags & AUTH_PASS)
			answer = s->password;
		else if (request[i].flags & AUTH_USER)
			answer = s->user;
		result[i] = (char *)(uintptr_t)answer;
	}
	return 1;
}

/* The library knows the mechanism, whose code it loads. */
static bool
library_knows(struct sasl *s)
{
	s->library = auth_create_context();
	if (s->library == NULL)
		return false;
	/* Whether a password may go out is the connection's question. */
	auth_set_mechanism_flags(s->library, AUTH_PLUGIN_PLAIN, 0);
	auth_set_interact_cb(s->library, on_question, s);
	if (auth_set_mechanism(s->library, sasl_mechanism(s)))
		return true;
	/* Its file is sasl-crammd5, which is not found by the name. */
	if (s->mechanism == CRAM_MD5 && auth_set_mechanism(s->library, "CRAMMD5"))
		return true;
	auth_destroy_context(s->library);
	s->library = NULL;
	return false;
}

struct sasl *
sasl_new(int wanted, const char *offered, const char *user,
    const char *password, struct err *e)
{
	struct sasl *s = xcalloc(1, sizeof(*s));
	bool known = true;

	s->user = user;
	s->password = password;
	/* A token is told from a password by nothing, so it is asked for. */
	for (int m = PLAIN; m <= XOAUTH2; m++) {
		if ((wanted == ANY ? m == XOAUTH2 : m != wanted) ||
		    !is_offered(offered, sasl_names[m]))
			continue;
		s->mechanism = m;
		known = m == XOAUTH2 || library_knows(s);
		if (known)
			return s;
	}
	free(s);
	if (!known)
		err_set(e, "libesmtp's plug-ins are not installed");
	else if (offered[0] == '\0')
		err_set(e, "the server offers no authentication");
	else if (wanted == ANY)
		err_set(e, "the server offers %.200s, of which none is known",
		    offered);
	else
		err_set(e, "the server offers %.200s, and not %s", offered,
		    sasl_names[wanted]);
	return NULL;
}

void
sasl_free(struct sasl *s)
{
	if (s == NULL)
		return;
	if (s->library != NULL)
		auth_destroy_context(s->library);
	free(s);
}

const char *
sasl_mechanism(const struct sasl *s)
{
	static const char *const names[] = {
		[PLAIN] = "PLAIN", [LOGIN] = "LOGIN", [CRAM_MD5] = "CRAM-MD5",
		[XOAUTH2] = "XOAUTH2",
	};

	return names[s->mechanism];
}

static char *
encode(const char *data, size_t len)
{
	struct buf text = { 0 };

	base64_encode(&text, data, len);
	return buf_detach(&text);
}

/* The second question is why the token was refused; the answer to it is
 * nothing, and the refusal follows. */
static char *
respond_xoauth2(const struct sasl *s, const char *challenge)
{
	char *text, *coded;

	if (challenge != NULL)
		return xstrdup("");
	text = xasprintf("user=%s\001auth=Bearer %s\001\001", s->user,
	    s->password);
	coded = encode(text, strlen(text));
	explicit_bzero(text, strlen(text));
	free(text);
	return coded;
}

char *
sasl_respond(struct sasl *s, const char *challenge, struct err *e)
{
	struct buf question = { 0 };
	const char *answer;
	size_t size;
	int len;

	if (s->library == NULL)
		return respond_xoauth2(s, challenge);
	if (challenge != NULL && ((size = strlen(challenge)) > CHALLENGE_MAX ||
	    base64_decode(&question, challenge, size) < 0)) {
		buf_clear(&question);
		err_set(e, "the server's question is no base64");
		return NULL;
	}
	len = (int)question.len;
	answer = auth_response(s->library, challenge == NULL ? NULL :
	    question.len > 0 ? question.data : "", &len);
	buf_clear(&question);
	if (answer == NULL && challenge != NULL)
		err_set(e, "nothing to answer to the server's question");
	return answer ? encode(answer, (size_t)len) : NULL;
}
