/*
 * What channels are sent: JSON that a parser takes, whatever the texts are,
 * and nothing in it that a chat would act on.
 */
#include "unit.h"

#include <jansson.h>

#include "driver/notice.h"

static char *addresses[] = { "a@example.com", "Ops <b@example.com>" };
static char *argv[] = { "/bin/page" };

static const struct notice hostile = {
	.subject = "queue \"a\\b\" \n <!channel> *bold* \xff \xc3\xa9",
	.text = "one & <@U1|you>\nsecond\tline \x01 [x](http://e)\n\nlast",
	.html = "<p>\xe2\x82\xac</p>",
	.json = "{\"queue\": \"a<b\", \"value\": 12.50, \"text\": \"own\", \"in\": {\"x\": [1, \"}\"]}}",
	.kind = NOTICE_CRITICAL,
};

static json_t *
data_of(const struct channel_conf *c, const char *url, const bool *settled,
    const struct notice *n)
{
	struct buf b = { 0 };
	json_t *data;

	notice_data(&b, c, url, settled, n);
	data = json_loads(b.data, JSON_REJECT_DUPLICATES, NULL);
	if (data == NULL)
		fail_msg("no JSON: %s", b.data);
	buf_clear(&b);
	return data;
}

static const char *
text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	assert_non_null(text);
	return text;
}

static void
test_notice_mail(void **state)
{
	const struct channel_conf c = { .name = "ops", .email = addresses,
	    .nemail = 2, .webhook = "", .webhook_file = "" };
	const bool settled[] = { true, false };
	json_t *data = data_of(&c, NULL, NULL, &hostile);

	(void)state;
	assert_int_equal(json_array_size(json_object_get(data, "to")), 2);
	assert_string_equal(text_of(data, "subject"),
	    "queue \"a\\b\"   <!channel> *bold* ? \xc3\xa9");
	assert_string_equal(text_of(data, "text"), hostile.text);
	assert_string_equal(text_of(data, "html"), hostile.html);
	assert_string_equal(text_of(data, "importance"), "high");
	assert_string_equal(text_of(json_object_get(data, "headers"),
	    "Auto-Submitted"), "auto-generated");
	json_decref(data);
	data = data_of(&c, NULL, settled, &hostile);
	assert_int_equal(json_array_size(json_object_get(data, "to")), 1);
	assert_string_equal(json_string_value(json_array_get(
	    json_object_get(data, "to"), 0)), addresses[1]);
	json_decref(data);
}

static void
test_notice_generic(void **state)
{
	const struct channel_conf program = { .name = "page", .exec = argv,
	    .nexec = 1, .webhook = "", .webhook_file = "" };
	const struct channel_conf hook = { .name = "hook",
	    .webhook = "https://example.com/x", .webhook_file = "" };
	struct notice plain = { .subject = "s", .text = "t" };
	json_t *data = data_of(&program, NULL, NULL, &hostile), *payload;

	(void)state;
	assert_string_equal(text_of(data, "kind"), "critical");
	assert_string_equal(text_of(data, "text"), "own");
	assert_string_equal(text_of(data, "queue"), "a<b");
	assert_int_equal(json_object_size(data), 6);
	json_decref(data);
	data = data_of(&program, NULL, NULL, &plain);
	assert_int_equal(json_object_size(data), 3);
	assert_string_equal(text_of(data, "kind"), "info");
	json_decref(data);
	data = data_of(&hook, NULL, NULL, &hostile);
	assert_null(json_object_get(data, "url"));
	assert_string_equal(text_of(data, "eventType"), "notice.critical");
	payload = json_object_get(data, "payload");
	assert_string_equal(text_of(payload, "queue"), "a<b");
	assert_true(json_real_value(json_object_get(payload, "value")) == 12.5);
	json_decref(data);
	data = data_of(&hook, "https://example.com/y", NULL, &plain);
	assert_string_equal(text_of(data, "url"), "https://example.com/y");
	json_decref(data);
}

static void
test_notice_slack(void **state)
{
	const struct channel_conf c = { .name = "chat", .webhook_file = "",
	    .webhook = "https://hooks.slack.com/services/T/B/x" };
	json_t *data = data_of(&c, NULL, NULL, &hostile);
	const json_t *payload = json_object_get(data, "payload");
	const json_t *attachment = json_array_get(json_object_get(payload,
	    "attachments"), 0);

	(void)state;
	assert_string_equal(text_of(payload, "text"),
	    "queue \"a\\b\"   &lt;!channel&gt; *bold* ? \xc3\xa9");
	assert_true(json_is_false(json_object_get(payload, "mrkdwn")));
	assert_string_equal(text_of(attachment, "color"), "#c62828");
	assert_string_equal(text_of(attachment, "text"),
	    "one &amp; &lt;@U1|you&gt;\nsecond\tline \x01 [x](http://e)\n\nlast");
	json_decref(data);
}

static void
test_notice_teams(void **state)
{
	const struct channel_conf c = { .name = "chat", .webhook_file = "/f",
	    .webhook = "" };
	char *large = malloc(100001);
	struct notice n = hostile;
	json_t *data = data_of(&c, "https://x.webhook.office.com/y", NULL, &n);
	const json_t *payload = json_object_get(data, "payload"), *card, *body;

	(void)state;
	assert_string_equal(text_of(payload, "type"), "message");
	card = json_array_get(json_object_get(payload, "attachments"), 0);
	assert_string_equal(text_of(card, "contentType"),
	    "application/vnd.microsoft.card.adaptive");
	body = json_object_get(json_object_get(card, "content"), "body");
	/* The subject, and each line. */
	assert_int_equal(json_array_size(body), 5);
	assert_string_equal(text_of(json_array_get(body, 0), "style"), "attention");
	assert_string_equal(text_of(json_array_get(json_object_get(
	    json_array_get(body, 4), "inlines"), 0), "text"), "last");
	json_decref(data);
	/* Never more than is taken, nor half a character. */
	for (int i = 0; i < 100000; i += 2)
		memcpy(large + i, "\xc3\xa9", 2);
	large[100000] = '\0';
	n.text = large;
	struct buf b = { 0 };
	notice_data(&b, &c, "https://x.logic.azure.com/y", NULL, &n);
	data = json_loads(b.data, 0, NULL);
	assert_non_null(data);
	payload = json_object_get(data, "payload");
	assert_true(json_dumpb(payload, NULL, 0, JSON_COMPACT) < 28000);
	assert_null(strstr(b.data, "\xef\xbf\xbd"));
	assert_null(strstr(b.data, "\\ufffd"));
	json_decref(data);
	buf_clear(&b);
	free(large);
}

static void
test_notice_format(void **state)
{
	static const struct {
		const char *url;
		enum channel_format format;
	} cases[] = {
		{ "https://hooks.slack.com/services/a", FORMAT_SLACK },
		{ "https://HOOKS.slack.com:443/services/a", FORMAT_SLACK },
		{ "https://hooks.slack.com.example.com/a", FORMAT_GENERIC },
		{ "https://evilhooks.slack.com/a", FORMAT_GENERIC },
		{ "https://acme.webhook.office.com/webhookb2/a", FORMAT_TEAMS },
		{ "https://prod-1.westeurope.logic.azure.com:443/w", FORMAT_TEAMS },
		{ "https://example.com/?hooks.slack.com", FORMAT_GENERIC },
		{ "***", FORMAT_GENERIC },
	};
	struct channel_conf c = { .name = "c" };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(notice_format(&c, cases[i].url), cases[i].format);
	c.format = FORMAT_SLACK;
	assert_int_equal(notice_format(&c, "https://example.com/"), FORMAT_SLACK);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notice_mail),
		cmocka_unit_test(test_notice_generic),
		cmocka_unit_test(test_notice_slack),
		cmocka_unit_test(test_notice_teams),
		cmocka_unit_test(test_notice_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
