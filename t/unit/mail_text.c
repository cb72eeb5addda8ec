/*
 * What the driver email makes of a job's data: for t/210-mime-oracle.t. Each
 * line of standard input is the data of a job; for each, one JSON line:
 * {"mail":"…","recipients":["…"]} or {"error":"…"}.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "driver/email/letter.h"

static void
answer(struct buf *b, const struct letter *l)
{
	struct buf text = { .len = 0 };

	mime_build(&l->mail, &text);
	buf_str(b, "{\"mail\":");
	buf_json(b, text.data, text.len);
	buf_str(b, ",\"recipients\":[");
	for (size_t i = 0; i < l->recipients.n; i++) {
		const char *address = l->recipients.v[i].address;

		buf_str(b, i > 0 ? "," : "");
		buf_json(b, address, strlen(address));
	}
	buf_str(b, "]}");
	buf_clear(&text);
}

int
main(void)
{
	struct letter_options options = {
		.from = "Sender <sender@example.com>", .reply_to = "",
		.attachments_dir = "", .subject = "", .text = "", .html = "",
		.queue = "mail",
	};
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	while ((n = getline(&line, &size, stdin)) > 0) {
		struct job job = { .id = 42, .attempt = 1 };
		struct buf b = { .len = 0 };
		struct letter l;
		struct err e;

		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		job.data = line;
		job.type = xstrdup("t");
		if (letter_read(&l, &options, &job, 1700000000, &e) < 0) {
			buf_str(&b, "{\"error\":");
			buf_json(&b, e.msg, strlen(e.msg));
			buf_char(&b, '}');
		} else {
			answer(&b, &l);
		}
		puts(b.data);
		letter_clear(&l);
		buf_clear(&b);
		free(job.type);
	}
	free(line);
	return 0;
}
