/*
 * Envelopes and base64: S1-54. One envelope was made by another implementation
 * (AESGCM of Python's cryptography).
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "core/base64.h"
#include "core/seal.h"

static struct keyring ring;

static void
add(const char *id, const char *base64)
{
	struct seal_key key;

	assert_int_equal(seal_key_parse(&key, id, base64), 0);
	keyring_add(&ring, &key);
}

static int
set_up(void **state)
{
	(void)state;
	memset(&ring, 0, sizeof(ring));
	add("new", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
	add("old", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	free(ring.keys);
	return 0;
}

static enum unsealed
take_out(const char *json, const char *queue, const char *field, struct buf *out)
{
	struct err e;

	buf_reset(out);
	return unseal(&ring, queue, field, json, out, &e);
}

static void
test_base64_both_ways(void **state)
{
	static const struct { const char *plain, *base64; } known[] = {
		{ "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" },
	};
	static const char *const wrong[] = {
		"Zg=", "Zg", "Z===", "====", "Zh==", "Zm9=", "Zg==Zg==", "Zm 9",
		"Zm9\n", "Zm9-", "=Zm9", "Z=m9", "Zm9v====",
	};
	struct buf b = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		buf_reset(&b);
		base64_encode(&b, known[i].plain, strlen(known[i].plain));
		assert_int_equal(b.len, strlen(known[i].base64));
		assert_memory_equal(b.data, known[i].base64, b.len);
		buf_reset(&b);
		assert_int_equal(base64_decode(&b, known[i].base64,
		    strlen(known[i].base64)), 0);
		assert_string_equal(b.data, known[i].plain);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		buf_reset(&b);
		buf_str(&b, "kept");
		if (base64_decode(&b, wrong[i], strlen(wrong[i])) == 0)
			fail_msg("\"%s\" was taken", wrong[i]);
		assert_string_equal(b.data, "kept");
	}
	buf_clear(&b);
}

/* Made elsewhere, with the nonce 0 … 11. */
static void
test_seal_known(void **state)
{
	static const char made[] = "{\"$enc\": {\"c\": \"PCC/eaSL4CGvBdK7g9hKXbDmtwTAS29MCFXVty1cMZB8DuCDFmLFzfsl/X673cxOdA==\", \"k\": \"new\", "
	    "\"n\": \"AAECAwQFBgcICQoL\", \"v\": 1}}";
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(take_out(made, "payroll", "data", &out), UNSEALED);
	assert_string_equal(out.data, "{\"iban\":\"DE02120300000000202051\"}");
	buf_clear(&out);
}

static void
test_seal_and_back(void **state)
{
	char *text = malloc(70000);
	struct buf in = { 0 }, again = { 0 }, out = { 0 };
	struct err e;

	(void)state;
	memset(text, 'x', 70000);
	for (size_t len = 0; len < 70000; len = len * 3 + 1) {
		buf_reset(&in);
		assert_int_equal(seal(&ring, "q", "data", text, len, &in, &e), 0);
		assert_true(in.len <= len * 4 / 3 + SEAL_FRAME_MAX);
		assert_true(seal_is(in.data));
		assert_int_equal(take_out(in.data, "q", "data", &out), UNSEALED);
		assert_int_equal(out.len, len);
		assert_memory_equal(out.data, text, len);
		assert_int_equal(out.data[len], '\0');
	}
	buf_reset(&in);
	assert_int_equal(seal(&ring, "q", "data", "same", 4, &in, &e), 0);
	assert_int_equal(seal(&ring, "q", "data", "same", 4, &again, &e), 0);
	assert_string_not_equal(in.data, again.data);
	free(text);
	buf_clear(&in);
	buf_clear(&again);
	buf_clear(&out);
}

/* Whatever is changed in it, one byte at a time, by any bit. */
static void
test_seal_tampered(void **state)
{
	struct buf in = { 0 }, out = { 0 };
	struct err e;
	size_t tried = 0;

	(void)state;
	assert_int_equal(seal(&ring, "q", "data", "{\"a\":1}", 7, &in, &e), 0);
	for (size_t i = 0; i < in.len; i++)
		for (int bit = 0; bit < 8; bit++) {
			char was = in.data[i];
			enum unsealed got;

			in.data[i] = (char)(was ^ 1 << bit);
			got = take_out(in.data, "q", "data", &out);
			if (got == UNSEALED)
				fail_msg("byte %zu, bit %d: %s", i, bit, in.data);
			assert_int_equal(out.len, 0);
			in.data[i] = was;
			tried++;
		}
	for (size_t len = 0; len < in.len; len++) {
		char *cut = strndup(in.data, len);

		assert_int_not_equal(take_out(cut, "q", "data", &out), UNSEALED);
		free(cut);
		tried++;
	}
	print_message("%zu changed envelopes, none was taken\n", tried);
	assert_int_equal(take_out(in.data, "q", "data", &out), UNSEALED);
	buf_clear(&in);
	buf_clear(&out);
}

static void
test_seal_bound(void **state)
{
	static const char other[] = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
	struct keyring wrong = { 0 };
	struct seal_key key;
	struct buf in = { 0 }, out = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(seal(&ring, "q", "data", "{}", 2, &in, &e), 0);
	assert_int_equal(take_out(in.data, "p", "data", &out), UNSEAL_BROKEN);
	assert_int_equal(take_out(in.data, "q", "result", &out), UNSEAL_BROKEN);
	assert_int_equal(seal_key_parse(&key, "other", other), 0);
	keyring_add(&wrong, &key);
	assert_int_equal(unseal(&wrong, "q", "data", in.data, &out, &e),
	    UNSEAL_NO_KEY);
	assert_string_equal(e.msg, "there is no key \"new\"");
	assert_int_equal(seal_key_parse(&key, "new", other), 0);
	keyring_add(&wrong, &key);
	assert_int_equal(unseal(&wrong, "q", "data", in.data, &out, &e),
	    UNSEAL_BROKEN);
	assert_int_equal(out.len, 0);
	/* Of another key, under its name. */
	memcpy(strstr(in.data, "\"new\""), "\"old\"", 5);
	assert_int_equal(take_out(in.data, "q", "data", &out), UNSEAL_BROKEN);
	free(wrong.keys);
	buf_clear(&in);
	buf_clear(&out);
}

/* One of the old keys decrypts. */
static void
test_seal_rotation(void **state)
{
	struct keyring old = { .keys = ring.keys + 1, .count = 1 };
	struct buf in = { 0 }, out = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(seal(&old, "q", "data", "{}", 2, &in, &e), 0);
	assert_non_null(strstr(in.data, "\"k\":\"old\""));
	assert_int_equal(take_out(in.data, "q", "data", &out), UNSEALED);
	buf_clear(&in);
	buf_clear(&out);
}

static void
test_seal_malformed(void **state)
{
	static const char *const wrong[] = {
		"", "{", "[]", "{}", "null", "\"$enc\"", "{\"$enc\"", "{\"$enc\":",
		"{\"$enc\":{}}", "{\"$enc\":[]}", "{\"$enc\":null}", "{\"$enc\":{\"v\":1}}",
		"{\"$enc\":{\"v\":1,\"k\":\"new\",\"n\":\"AAECAwQFBgcICQoL\",\"c\":\"\"}}",
		"{\"$enc\":{\"v\":1,\"k\":\"new\",\"n\":\"AAECAwQFBgcICQoL\",\"c\":\"AAAA\"}}",
		"{\"$enc\":{\"v\":1,\"k\":\"new\",\"n\":\"\",\"c\":\"AAECAwQFBgcICQoLDA0ODw==\"}}",
		"{\"$enc\":{\"v\":1,\"k\":\"\",\"n\":\"AAECAwQFBgcICQoL\",\"c\":\"AAECAwQFBgcICQoLDA0ODw==\"}}",
		"{\"$enc\":{\"v\":1,\"k\":\"a b\",\"n\":\"AAECAwQFBgcICQoL\",\"c\":\"AAECAwQFBgcICQoLDA0ODw==\"}}",
		"{\"$enc\":{\"v\":2,\"k\":\"new\",\"n\":\"AAECAwQFBgcICQoL\",\"c\":\"AAECAwQFBgcICQoLDA0ODw==\"}}",
		"{\"$enc\":{\"k\":\"new\",\"k\":\"new\",\"n\":\"AAECAwQFBgcICQoL\",\"c\":\"AAECAwQFBgcICQoLDA0ODw==\"}}",
		"{\"$enc\":{\"v\":1,\"k\":\"new\",\"c\":\"AAEC\",\"c\":\"AAECAwQFBgcICQoLDA0ODw==\"}}",
		"{\"$enc\":{\"v\":1,\"k\":7,\"n\":\"AAECAwQFBgcICQoL\",\"c\":\"AAECAwQFBgcICQoLDA0ODw==\"}}",
		"{\"$enc\":{\"v\":1,\"k\":\"new\",\"n\":\"AAECAwQFBgcICQoL\",\"c\":\"AAECAwQFBgcICQoLDA0ODw==\",\"x\":1}}",
		"{\"$enc\":{\"v\":1,\"k\":\"new\",\"n\":\"AAECAwQFBgcICQoL\",\"c\":\"AAECAwQFBgcICQoLDA0ODw==\"},\"x\":1}",
		"{\"x\":1,\"$enc\":{\"v\":1,\"k\":\"new\",\"n\":\"AAECAwQFBgcICQoL\",\"c\":\"AAECAwQFBgcICQoLDA0ODw==\"}}",
	};
	struct buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		if (take_out(wrong[i], "q", "data", &out) != UNSEAL_BROKEN)
			fail_msg("%s", wrong[i]);
	assert_false(seal_is("{\"a\":{\"$enc\":{}}}"));
	assert_true(seal_is("{\"a\":1, \"$enc\":{}}"));
	buf_clear(&out);
}

/* Pieces of envelopes in any order: nothing but a refusal. */
static void
test_seal_fuzz(void **state)
{
	static const char *const pieces[] = {
		"{", "}", "[", "]", "\"", ",", ":", "\\", " ", "\"$enc\"", "\"v\":1",
		"\"k\":\"new\"", "\"n\":\"AAECAwQFBgcICQoL\"",
		"\"c\":\"AAECAwQFBgcICQoLDA0ODw==\"", "{\"$enc\":{", "}}", "1", "\xff",
	};
	const size_t n = sizeof(pieces) / sizeof(*pieces);
	struct buf in = { 0 }, out = { 0 };

	(void)state;
	srandom(20261126);
	for (int i = 0; i < 200000; i++) {
		buf_reset(&in);
		buf_put(&in, "", 0);
		for (long k = random() % 12; k >= 0; k--)
			buf_str(&in, pieces[(size_t)random() % n]);
		seal_is(in.data);
		assert_int_not_equal(take_out(in.data, "q", "data", &out), UNSEALED);
	}
	buf_clear(&in);
	buf_clear(&out);
}

static void
test_seal_keys(void **state)
{
	struct seal_key key;

	(void)state;
	assert_null(seal_check_id("2026-11.a_B"));
	assert_non_null(seal_check_id(""));
	assert_non_null(seal_check_id("a b"));
	assert_non_null(seal_check_id("0123456789012345678901234567890123456789"
	    "0123456789012345678901234"));
	assert_int_equal(seal_key_parse(&key, "a", ""), -1);
	assert_int_equal(seal_key_parse(&key, "a", "AAAA"), -1);
	assert_int_equal(seal_key_parse(&key, "a",
	    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gAAAA"), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64_both_ways),
		cmocka_unit_test(test_seal_known),
		cmocka_unit_test(test_seal_and_back),
		cmocka_unit_test(test_seal_tampered),
		cmocka_unit_test(test_seal_bound),
		cmocka_unit_test(test_seal_rotation),
		cmocka_unit_test(test_seal_malformed),
		cmocka_unit_test(test_seal_fuzz),
		cmocka_unit_test(test_seal_keys),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
