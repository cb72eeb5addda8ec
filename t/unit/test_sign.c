#include "unit.h"

#include "driver/sign.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sign_standard_example),
		cmocka_unit_test(test_sign_standard_secrets),
		cmocka_unit_test(test_sign_timestamped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
