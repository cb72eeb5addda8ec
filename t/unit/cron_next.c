/*
 * Prints when cron expressions fire, for comparing with other programs. Each
 * line of standard input: AFTER COUNT EXPRESSION; the answer: up to COUNT
 * instants in seconds since the epoch, or "error: …".
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/cron.h"

static void
answer(const char *line)
{
	struct err e = { 0 };
	struct cron c;
	int64_t t;
	int count, at = 0;

	if (sscanf(line, "%" SCNd64 " %d %n", &t, &count, &at) < 2 || at == 0)
		printf("error: not AFTER COUNT EXPRESSION");
	else if (cron_parse(&c, line + at, &e) != 0)
		printf("error: %s", e.msg);
	else
		for (int n = 0; n < count && (t = cron_next_utc(&c, t)) >= 0; n++)
			printf("%s%" PRId64, n > 0 ? " " : "", t);
	putchar('\n');
}

int
main(void)
{
	char line[4096];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		answer(line);
	}
	return 0;
}
