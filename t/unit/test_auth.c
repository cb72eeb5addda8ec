/*
 * driver/auth: a token of OAuth's client credentials, from answers as servers
 * give them.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/http/auth.h"

static int
take(struct auth *a, const char *answer)
{
	struct err e;

	return auth_take_token(a, answer, strlen(answer), 1000, &e);
}

static void
test_auth_without_token_is_ready(void **state)
{
	struct auth none = { .kind = AUTH_NONE }, basic = { .kind = AUTH_BASIC };

	(void)state;
	assert_true(auth_is_ready(&none, 5));
	assert_true(auth_is_ready(&basic, 5));
}

static void
test_auth_token_is_kept_until_its_end(void **state)
{
	struct auth a = { .kind = AUTH_OAUTH2 };

	(void)state;
	assert_false(auth_is_ready(&a, 0));
	assert_int_equal(take(&a, "{\"access_token\": \"abc\", \"expires_in\": 3600}"), 0);
	assert_string_equal(a.bearer, "abc");
	assert_true(auth_is_ready(&a, 0));
	/* Renewed before its end, and at most a day is believed. */
	assert_true(a.token_until < mono_now() + 3600 * MONO_SECOND);
	assert_int_equal(take(&a, "{\"access_token\": \"d\", \"expires_in\": 1e30}"), 0);
	assert_true(a.token_until < mono_now() + 86400 * MONO_SECOND);
	a.token_until = 1;
	assert_false(auth_is_ready(&a, 0));
	assert_null(a.bearer);
	auth_close(&a);
}

static void
test_auth_token_that_was_refused(void **state)
{
	struct auth a = { .kind = AUTH_OAUTH2 };
	const char *answer = "{\"access_token\": \"abc\"}";

	(void)state;
	assert_int_equal(take(&a, answer), 0);
	auth_refuse_token(&a, 900);	/* that was the one before */
	assert_true(auth_is_ready(&a, 0));
	auth_refuse_token(&a, 1000);
	assert_false(auth_is_ready(&a, 0));
	assert_null(a.bearer);

	/* Another worker may have been refused since. */
	assert_int_equal(take(&a, answer), 0);
	assert_true(auth_is_ready(&a, 1000));
	assert_false(auth_is_ready(&a, 1001));
	auth_close(&a);
}

static void
write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* A token in a file is somebody else's to renew. */
static void
test_auth_bearer_of_a_file_is_read_again(void **state)
{
	char path[] = "/tmp/test_auth.XXXXXX";
	struct node value = { .kind = NODE_SCALAR, .text = path };
	struct node_entry entry = { .key = (char *)"bearer_file",
	    .file = "x.yml", .value = &value };
	struct node map = { .kind = NODE_MAP, .entries = &entry, .count = 1 };
	struct auth a = { .kind = AUTH_NONE };
	struct err e;

	(void)state;
	close(mkstemp(path));
	write_file(path, "one\n");
	assert_int_equal(auth_open(&a, &map, &e), 0);
	write_file(path, "two\n");
	assert_true(auth_is_ready(&a, 0));
	assert_string_equal(a.bearer, "one");
	auth_refuse_token(&a, a.token_at);
	assert_true(auth_is_ready(&a, 0));
	assert_string_equal(a.bearer, "two");
	write_file(path, "three\n");
	assert_true(auth_is_ready(&a, mono_now()));
	assert_string_equal(a.bearer, "three");
	unlink(path);
	assert_true(auth_is_ready(&a, mono_now()));
	assert_string_equal(a.bearer, "three");
	auth_close(&a);
}

static void
test_auth_answers_without_a_token(void **state)
{
	static const char *const bad[] = {
		"", "no JSON", "[]", "{}", "{\"access_token\": 7}",
		"{\"access_token\": \"\"}", "{\"access_token\": \"a b\"}",
		"{\"access_token\": \"a\\r\\nX-Injected: 1\"}",
	};
	struct auth a = { .kind = AUTH_OAUTH2 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(take(&a, bad[i]), -1);
		assert_null(a.bearer);
	}
	auth_close(&a);
}

static void
test_auth_bearer_of_the_options_stays(void **state)
{
	char token[] = "fixed";
	struct auth a = { .kind = AUTH_BEARER, .bearer = token };

	(void)state;
	auth_refuse_token(&a, 0);
	assert_true(auth_is_ready(&a, 0));
	assert_string_equal(a.bearer, "fixed");
}

static struct node
scalar(const char *text)
{
	return (struct node){ .kind = NODE_SCALAR, .text = (char *)(uintptr_t)text };
}

static struct node_entry
entry(const char *key, struct node *value)
{
	return (struct node_entry){ .key = (char *)(uintptr_t)key, .value = value };
}

static void
test_auth_form_for_a_token(void **state)
{
	struct node scope = scalar("a b"), audience = scalar("https://x/?y&z");
	struct node_entry more[] = { entry("audience", &audience) };
	struct node params = { .kind = NODE_MAP, .entries = more, .count = 1 };
	struct node_entry all[] = { entry("scope", &scope), entry("params", &params) };
	struct node oauth2 = { .kind = NODE_MAP, .entries = all, .count = 2 };
	char user[] = "me", password[] = "w&rd";
	struct auth a = { .kind = AUTH_OAUTH2, .oauth2 = &oauth2, .user = user,
	    .password = password };
	struct buf b = { .len = 0 };

	(void)state;
	auth_token_form(&a, &b);
	assert_string_equal(b.data, "grant_type=client_credentials&scope=a%20b"
	    "&audience=https%3A%2F%2Fx%2F%3Fy%26z");
	buf_reset(&b);
	a.in_body = true;
	oauth2.count = 1;
	auth_token_form(&a, &b);
	assert_string_equal(b.data, "grant_type=client_credentials&scope=a%20b"
	    "&client_id=me&client_secret=w%26rd");
	buf_clear(&b);
}

static void
test_auth_error_of_a_token(void **state)
{
	static const struct {
		const char *answer, *word;
	} cases[] = {
		{ "{\"error\": \"invalid_client\", \"error_description\": \"x\"}", "invalid_client" },
		{ "{\"error\": \"bad\\r\\nX: y\"}", "bad" }, { "{\"error\": {}}", "" },
		{ "{\"error\": \"<b>\"}", "" }, { "[]", "" }, { "", "" },
		{ "{\"error\": \"longer_than_there_is_room\"}", "longer_than_the" },
	};
	char word[16];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auth_token_error(cases[i].answer, strlen(cases[i].answer), word,
		    sizeof(word));
		assert_string_equal(word, cases[i].word);
	}
}

static void
test_auth_mask(void **state)
{
	char user[] = "user", password[] = "password", bearer[] = "tokens";
	char text[] = "tokens password tokenstoken ok dXNlcjp3 tokens";
	char pair[] = "dXNlcjp3", none[] = "ab abab";
	struct auth a = { .kind = AUTH_BASIC, .user = user, .password = password,
	    .bearer = bearer, .pair = pair };

	(void)state;
	auth_mask(&a, text, strlen(text));
	assert_string_equal(text, "****** ******** ******token ok ******** ******");
	auth_mask_secret("ab", none, strlen(none));
	assert_string_equal(none, "ab abab");
	auth_mask_secret(NULL, none, strlen(none));
	auth_mask(&a, NULL, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_auth_without_token_is_ready),
		cmocka_unit_test(test_auth_token_is_kept_until_its_end),
		cmocka_unit_test(test_auth_token_that_was_refused),
		cmocka_unit_test(test_auth_bearer_of_a_file_is_read_again),
		cmocka_unit_test(test_auth_answers_without_a_token),
		cmocka_unit_test(test_auth_bearer_of_the_options_stays),
		cmocka_unit_test(test_auth_form_for_a_token),
		cmocka_unit_test(test_auth_error_of_a_token),
		cmocka_unit_test(test_auth_mask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
