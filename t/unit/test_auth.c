/*
 * driver/auth: a token of OAuth's client credentials, from answers as servers
 * give them.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "driver/auth.h"

static int
take(struct auth *a, const char *answer)
{
	struct err e;

	return auth_take_token(a, answer, strlen(answer), &e);
}

static void
test_auth_without_token_is_ready(void **state)
{
	struct auth none = { .kind = AUTH_NONE }, basic = { .kind = AUTH_BASIC };

	(void)state;
	assert_true(auth_is_ready(&none));
	assert_true(auth_is_ready(&basic));
}

static void
test_auth_token_is_kept_until_its_end(void **state)
{
	struct auth a = { .kind = AUTH_OAUTH2 };

	(void)state;
	assert_false(auth_is_ready(&a));
	assert_int_equal(take(&a, "{\"access_token\": \"abc\", \"expires_in\": 3600}"), 0);
	assert_string_equal(a.bearer, "abc");
	assert_true(auth_is_ready(&a));
	/* Renewed before its end, and at most a day is believed. */
	assert_true(a.token_until < mono_now() + 3600 * MONO_SECOND);
	assert_int_equal(take(&a, "{\"access_token\": \"d\", \"expires_in\": 1e30}"), 0);
	assert_true(a.token_until < mono_now() + 86400 * MONO_SECOND);
	a.token_until = 1;
	assert_false(auth_is_ready(&a));
	auth_drop_token(&a);
	assert_null(a.bearer);
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
	auth_drop_token(&a);
	assert_string_equal(a.bearer, "fixed");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_auth_without_token_is_ready),
		cmocka_unit_test(test_auth_token_is_kept_until_its_end),
		cmocka_unit_test(test_auth_answers_without_a_token),
		cmocka_unit_test(test_auth_bearer_of_the_options_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
