/*
 * The file of tokens: what is read, where complaints are, and that whatever
 * bytes it has are read to their end.
 */
#include "unit.h"

#include <sys/stat.h>

#include "confs.h"

#define HEX "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

/* The complaints about a file with that text and mode; "" : none. */
static char *
complaints_of(const char *text, mode_t mode, struct conf **conf)
{
	char *complaints;

	unlink("tokens");
	confs_write("tokens", text);
	assert_int_equal(chmod("tokens", mode), 0);
	*conf = confs_load("api: {tokens_file: tokens}\n");
	if (conf_files(*conf, &complaints) == 0) {
		assert_null(complaints);
		return strdup("");
	}
	return complaints;
}

static void
test_tokens_read(void **state)
{
	struct conf *conf;
	char *complaints = complaints_of("# who\n\n  ops\tadmin * " HEX " # comment\r\n"
	    "a.b@c-d_9 viewer acme " HEX, 0600, &conf);

	(void)state;
	assert_string_equal(complaints, "");
	assert_int_equal(conf->api.ntokens, 2);
	assert_string_equal(conf->api.tokens[0].name, "ops");
	assert_int_equal(conf->api.tokens[0].role, ROLE_ADMIN);
	assert_null(conf->api.tokens[0].tenant);
	assert_int_equal(conf->api.tokens[0].digest[0], 0x9f);
	assert_int_equal(conf->api.tokens[1].role, ROLE_VIEWER);
	assert_string_equal(conf->api.tokens[1].tenant, "acme");
	conf_free(conf);
	free(complaints);
}

static void
test_tokens_complaints(void **state)
{
	static const struct { const char *text, *says; mode_t mode; } cases[] = {
		{ "ops admin *", "tokens:1:1: a token is", 0600 },
		{ "\n ops admin * " HEX " x", "tokens:2:2: a token is", 0600 },
		{ "ops boss * " HEX, "tokens:1:5: the role is", 0600 },
		{ "o/s admin * " HEX, "tokens:1:1: a name has", 0600 },
		{ "ops admin \x80 " HEX, "tokens:1:11: a tenant is", 0600 },
		{ "ops admin * " HEX "0", "tokens:1:13: the last word", 0600 },
		{ "ops admin * secret", "tokens:1:13: the last word", 0600 },
		{ "ops admin * " HEX, "x.yml:1:7: tokens_file: cannot use tokens", 0640 },
		{ "ops admin * " HEX, "x.yml:1:7: tokens_file: cannot use tokens", 0602 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct conf *conf;
		char *complaints = complaints_of(cases[i].text, cases[i].mode, &conf);

		if (strncmp(complaints, cases[i].says, strlen(cases[i].says)) != 0)
			fail_msg("%s: %s", cases[i].text, complaints);
		assert_null(strstr(complaints, "secret"));
		conf_free(conf);
		free(complaints);
	}
}

static void
test_tokens_admin_key(void **state)
{
	unsigned char digest[DIGEST_SIZE];
	char *complaints;
	struct conf *conf;

	(void)state;
	confs_write("key", "secret\nmore\n");
	digest_sha256(digest, "secret", 6);
	for (int i = 0; i < 2; i++) {
		conf = confs_load(i == 0 ? "api: {admin_key: secret}\n" :
		    "api: {admin_key_file: key}\n");
		assert_int_equal(conf->api.ntokens, 0);
		assert_int_equal(conf_files(conf, &complaints), 0);
		assert_int_equal(conf->api.ntokens, 1);
		assert_string_equal(conf->api.tokens[0].name, "admin");
		assert_int_equal(conf->api.tokens[0].role, ROLE_ADMIN);
		assert_true(digest_equal(conf->api.tokens[0].digest, digest));
		conf_free(conf);
	}
}

/* A new one is good for the line that it comes with. */
static void
test_tokens_make(void **state)
{
	char token[TOKEN_TEXT_MAX], other[TOKEN_TEXT_MAX], *line, *complaints;
	unsigned char digest[DIGEST_SIZE];
	struct conf *conf;

	(void)state;
	free(token_make("x", ROLE_VIEWER, "*", other));
	line = token_make("ops", ROLE_OPERATOR, "acme", token);
	assert_string_not_equal(token, other);
	complaints = complaints_of(line, 0600, &conf);
	assert_string_equal(complaints, "");
	digest_sha256(digest, token, strlen(token));
	assert_true(digest_equal(conf->api.tokens[0].digest, digest));
	assert_int_equal(conf->api.tokens[0].role, ROLE_OPERATOR);
	free(complaints);
	conf_free(conf);
	complaints = complaints_of(token, 0600, &conf);
	assert_string_not_equal(complaints, "");
	free(complaints);
	conf_free(conf);
	free(line);
}

static void
test_tokens_mutations(void **state)
{
	uint64_t random = 1;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		char text[300] = "# c\nops admin * " HEX "\n\nacme viewer acme " HEX " # x\n";
		struct conf *conf;
		char *complaints;
		size_t len = mutate(text, strlen(text), sizeof(text) - 1, " \t\n#*ab09.", &random);

		text[len] = '\0';
		complaints = complaints_of(text, 0600, &conf);
		assert_true(*complaints != '\0' || conf->api.ntokens <= 4);
		free(complaints);
		conf_free(conf);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tokens_read),
		cmocka_unit_test(test_tokens_complaints),
		cmocka_unit_test(test_tokens_admin_key),
		cmocka_unit_test(test_tokens_make),
		cmocka_unit_test(test_tokens_mutations),
	};

	return cmocka_run_group_tests(tests, confs_setup, confs_teardown);
}
