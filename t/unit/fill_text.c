/*
 * Templates through core/template, for comparison with those of SQL: reads
 * lines of JSON {"template": text, "context": object} and answers each with
 * the text as JSON, or with "missing" (null, or no such value) or "error".
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/jtext.h"
#include "core/template.h"

int
main(void)
{
	struct buf out = { 0 }, json = { 0 };
	char *line = NULL;
	size_t room = 0;

	while (getline(&line, &room, stdin) > 0) {
		size_t len = 0, text_len;
		const char *value = jtext_member(line, "template", &len);
		char *text = jtext_string(value, len, &text_len), *context;
		struct err e = { 0 };

		value = jtext_member(line, "context", &len);
		context = strndup(value, len);
		buf_reset(&out);
		buf_reset(&json);
		if (template_expand(text, context, TEMPLATE_TEXT, &out, &e) == 0) {
			buf_json(&json, out.data, out.len);
			puts(json.data);
		} else {
			puts(strstr(e.msg, ": is null") != NULL ||
			    strstr(e.msg, "no such value") != NULL ? "missing" :
			    "error");
		}
		free(text);
		free(context);
	}
	free(line);
	buf_clear(&out);
	buf_clear(&json);
	return 0;
}
