/*
 * Digests, by the vectors of FIPS 180-4 and RFC 4231.
 */
#include "unit.h"

#include "core/digest.h"

static void
test_digest_vectors(void **state)
{
	unsigned char d[DIGEST_SIZE], again[DIGEST_SIZE];
	char hex[DIGEST_HEX_MAX];

	(void)state;
	digest_sha256(d, "abc", 3);
	assert_string_equal(digest_hex(hex, d),
	    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_int_equal(digest_parse(again, hex), 0);
	assert_true(digest_equal(d, again));
	digest_sha256(d, "", 0);
	assert_string_equal(digest_hex(hex, d),
	    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	assert_false(digest_equal(d, again));
	digest_hmac(d, "Jefe", 4, "what do ya want for nothing?", 28);
	assert_string_equal(digest_hex(hex, d),
	    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

static void
test_digest_parse(void **state)
{
	static const char *const wrong[] = {
		"", "ab", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad0",
		"ga7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		" a7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	};
	unsigned char d[DIGEST_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(digest_parse(d, wrong[i]), -1);
	assert_int_equal(digest_parse(d,
	    "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"), 0);
	assert_int_equal(d[0], 0xba);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_digest_vectors),
		cmocka_unit_test(test_digest_parse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
