/*
 * Prints when cron expressions fire, for comparing with other programs. Each
 * line of standard input: AFTER COUNT ZONE RULE EXPRESSION, where RULE is
 * standard, skip or clock; the answer: up to COUNT instants in seconds since
 * the epoch, or "error: …".
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "conf/zones.h"
#include "core/cron.h"

static void
answer(const char *line)
{
	const struct zone *zone;
	int dst = 0;
	char name[101], rule[10];
	struct err e = { 0 };
	struct cron c;
	int64_t t;
	int count, at = 0;

	if (sscanf(line, "%" SCNd64 " %d %100s %9s %n", &t, &count, name, rule,
	    &at) < 4 || at == 0)
		printf("error: not AFTER COUNT ZONE RULE EXPRESSION");
	else if (zones_find(name, &zone, &e) != 0 ||
	    cron_parse(&c, line + at, &e) != 0)
		printf("error: %s", e.msg);
	else {
		while (strcmp(rule, cron_dst_names[dst]) != 0 &&
		    cron_dst_names[dst + 1] != NULL)
			dst++;
		for (int n = 0; n < count && (t = cron_next(&c, zone,
		    (enum cron_dst)dst, t)) >= 0; n++)
			printf("%s%" PRId64, n > 0 ? " " : "", t);
	}
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
