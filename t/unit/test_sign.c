#include "unit.h"

#include "core/sign.h"

/* The example of the Standard Webhooks specification. */
static void
test_sign_standard_example(void **state)
{
	static const char body[] = "{\"test\": 2432232314}";
	struct buf out = { .len = 0 };
	struct err e;

	(void)state;
	assert_int_equal(sign_standard("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	    "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body, strlen(body), &out,
	    &e), 0);
	assert_string_equal(out.data,
	    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
	buf_clear(&out);
}

static void
test_sign_standard_secrets(void **state)
{
	static const char *const bad[] = {
		"", " ", "whsec_%%%", "whsec_A", "whsec_AAA=A", "whsec_AA=",
		"whsec_AAAA whsec_!",
	};
	struct buf one = { .len = 0 }, two = { .len = 0 }, raw = { .len = 0 };
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(sign_standard(bad[i], "1", 1, "x", 1, &one, &e), -1);
		buf_reset(&one);
	}
	/* Padding may be left out; several keys give several signatures. */
	assert_int_equal(sign_standard("whsec_QUI=", "1", 1, "x", 1, &one, &e), 0);
	assert_int_equal(sign_standard("whsec_QUI whsec_AAAA", "1", 1, "x", 1,
	    &two, &e), 0);
	assert_memory_equal(two.data, one.data, one.len);
	assert_int_equal(two.len, 2 * one.len + 1);
	/* The bytes themselves, blanks included. */
	assert_int_equal(sign_standard("AB", "1", 1, "x", 1, &raw, &e), 0);
	assert_string_equal(raw.data, one.data);
	buf_reset(&raw);
	assert_int_equal(sign_standard("a b c", "1", 1, "x", 1, &raw, &e), 0);
	assert_int_equal(raw.len, one.len);
	buf_clear(&one);
	buf_clear(&two);
	buf_clear(&raw);
}

/* printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret */
static void
test_sign_timestamped(void **state)
{
	struct buf out = { .len = 0 };
	struct err e;

	(void)state;
	assert_int_equal(sign_timestamped("secret", 1700000000, "{\"a\":1}", 7,
	    &out, &e), 0);
	assert_string_equal(out.data, 
	    "49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686");
	assert_int_equal(sign_timestamped("", 1, "x", 1, &out, &e), -1);
	buf_clear(&out);
}

/* Headers as "name", "value", …, NULL. */
static const char *
find_header(const void *arg, const char *name)
{
	for (const char *const *h = arg; *h != NULL; h += 2)
		if (strcmp(h[0], name) == 0)
			return h[1];
	return NULL;
}

static bool
verifies(enum verify_scheme scheme, const char *secret, const char *body,
    int64_t now, const char *const *headers)
{
	const char *const secrets[] = { "", "another", secret };
	struct sign_check check = { .scheme = scheme, .secrets = secrets,
	    .nsecrets = 3, .token_header = "authorization", .tolerance = 300 };
	struct signed_request r = { .header = find_header, .arg = headers,
	    .body = body, .len = strlen(body) };

	return sign_verify(&check, &r, now);
}

#define HEADERS(...) (const char *const []){ __VA_ARGS__, NULL }

static void
test_sign_verify_standard(void **state)
{
	static const char secret[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
	static const char body[] = "{\"test\": 2432232314}";
	static const char good[] = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
	static const char two[] = "v1a,AAAA v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
	static const char id[] = "msg_p5jXN8AQM9LWM0D4loKWxJek";
	const struct {
		const char *id, *timestamp, *signature;
		int64_t now;
		bool is;
	} cases[] = {
		{ id, "1614265330", good, 1614265330, true },
		{ id, "1614265330", two, 1614265330, true },
		{ id, "1614265330", good, 1614265330 + 300, true },
		{ id, "1614265330", good, 1614265330 + 301, false },
		{ id, "1614265330", good, 1614265330 - 301, false },
		{ id, "1614265331", good, 1614265330, false },
		{ "msg_other", "1614265330", good, 1614265330, false },
		{ id, "1614265330", "v1,AAAA", 1614265330, false },
		{ id, "1614265330", "", 1614265330, false },
		{ id, "1614265330", good + 3, 1614265330, false },
		{ id, "", good, 1614265330, false },
		{ id, "1614265330x", good, 1614265330, false },
		{ id, "-1614265330", good, 1614265330, false },
		{ id, "99999999999999999999", good, 1614265330, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(verifies(VERIFY_STANDARD, secret, body, cases[i].now,
		    HEADERS("webhook-id", cases[i].id, "webhook-timestamp",
		    cases[i].timestamp, "webhook-signature", cases[i].signature)),
		    cases[i].is);
		assert_int_equal(verifies(VERIFY_STANDARD, secret, body, cases[i].now,
		    HEADERS("svix-id", cases[i].id, "svix-timestamp",
		    cases[i].timestamp, "svix-signature", cases[i].signature)),
		    cases[i].is);
	}
	assert_false(verifies(VERIFY_STANDARD, secret, "{\"test\": 2432232315}",
	    1614265330, HEADERS("webhook-id", id, "webhook-timestamp",
	    "1614265330", "webhook-signature", good)));
	assert_false(verifies(VERIFY_STANDARD, secret, body, 1614265330,
	    HEADERS("webhook-id", id, "webhook-timestamp", "1614265330")));
	assert_false(verifies(VERIFY_STANDARD, secret, body, 1614265330,
	    HEADERS("webhook-signature", good)));
}

static void
test_sign_verify_timestamped(void **state)
{
	static const char hex[] =
	    "49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686";
	char changed[sizeof(hex)], upper[sizeof(hex)], prefixed[80];

	(void)state;
	strcpy(changed, hex);
	changed[10] = changed[10] == '0' ? '1' : '0';
	for (size_t i = 0; i < sizeof(hex); i++)
		upper[i] = hex[i] >= 'a' ? (char)(hex[i] - 32) : hex[i];
	snprintf(prefixed, sizeof(prefixed), "sha256=%s", hex);
#define IS(secret, body, now, timestamp, signature)			\
	verifies(VERIFY_TIMESTAMPED, secret, body, now, HEADERS(		\
	    "x-webhook-timestamp", timestamp, "x-webhook-signature", signature))
	assert_true(IS("secret", "{\"a\":1}", 1700000100, "1700000000", hex));
	assert_true(IS("secret", "{\"a\":1}", 1700000100, "1700000000", upper));
	assert_true(IS("secret", "{\"a\":1}", 1700000100, "1700000000", prefixed));
	assert_false(IS("secret", "{\"a\":1}", 1700000100, "1700000000", changed));
	assert_false(IS("secret", "{\"a\":2}", 1700000100, "1700000000", hex));
	assert_false(IS("Secret", "{\"a\":1}", 1700000100, "1700000000", hex));
	assert_false(IS("secret", "{\"a\":1}", 1700000301, "1700000000", hex));
	assert_false(IS("secret", "{\"a\":1}", 1700000100, "1700000001", hex));
	/* The same instant, written so that something else was signed. */
	assert_false(IS("secret", "{\"a\":1}", 1700000100, "01700000000", hex));
#undef IS
}

/* The example of GitHub's documentation. */
static void
test_sign_verify_github(void **state)
{
	static const char good[] = "sha256="
	    "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
	static const char secret[] = "It's a Secret to Everybody";

	(void)state;
	assert_true(verifies(VERIFY_GITHUB, secret, "Hello, World!", 0,
	    HEADERS("x-hub-signature-256", good)));
	assert_false(verifies(VERIFY_GITHUB, secret, "Hello, World?", 0,
	    HEADERS("x-hub-signature-256", good)));
	assert_false(verifies(VERIFY_GITHUB, "", "Hello, World!", 0,
	    HEADERS("x-hub-signature-256", good)));
	assert_false(verifies(VERIFY_GITHUB, secret, "Hello, World!", 0,
	    HEADERS("x-hub-signature", good)));
}

static void
test_sign_verify_token(void **state)
{
	const char *const secrets[] = { "", "old", "new" };
	struct sign_check check = { .scheme = VERIFY_TOKEN, .secrets = secrets,
	    .nsecrets = 3, .token_header = "x-gitlab-token" };
	struct signed_request r = { .header = find_header, .body = "" };

	(void)state;
	assert_true(verifies(VERIFY_TOKEN, "s", "", 0,
	    HEADERS("authorization", "Bearer s")));
	assert_true(verifies(VERIFY_TOKEN, "s", "", 0,
	    HEADERS("authorization", "bearer another")));
	assert_false(verifies(VERIFY_TOKEN, "s", "", 0,
	    HEADERS("authorization", "s")));
	assert_false(verifies(VERIFY_TOKEN, "s", "", 0,
	    HEADERS("authorization", "Bearer ")));
	r.arg = HEADERS("x-gitlab-token", "old");
	assert_true(sign_verify(&check, &r, 0));
	r.arg = HEADERS("x-gitlab-token", "older");
	assert_false(sign_verify(&check, &r, 0));
	r.arg = HEADERS("x-gitlab-token", "");
	assert_false(sign_verify(&check, &r, 0));
	assert_true(sign_is_secret(&check, "new"));
	assert_false(sign_is_secret(&check, ""));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sign_standard_example),
		cmocka_unit_test(test_sign_standard_secrets),
		cmocka_unit_test(test_sign_timestamped),
		cmocka_unit_test(test_sign_verify_standard),
		cmocka_unit_test(test_sign_verify_timestamped),
		cmocka_unit_test(test_sign_verify_github),
		cmocka_unit_test(test_sign_verify_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
