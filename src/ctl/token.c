/*
 * jobqctl token: who may use the API. Needs no database, and no configuration.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/out.h"

int
token_new(struct ctl *ctl, const struct args *a)
{
	const char *name = a->operands[0];
	const char *tenant = a->count > 2 ? a->operands[2] : "*";
	enum role role = role_find(a->operands[1]);
	char token[TOKEN_TEXT_MAX], *line;
	struct buf json = { 0 };
	const char *wrong;

	if ((wrong = token_check_name(name)) != NULL ||
	    (strcmp(tenant, "*") != 0 && (wrong = token_check_tenant(tenant)) != NULL))
		return ctl_misuse("token new: %s", wrong);
	if (role == ROLE_NONE)
		return ctl_misuse("token new: there is no role \"%s\"; they are viewer, "
		    "producer, operator and admin", a->operands[1]);
	line = token_make(name, role, tenant, token);
	if (ctl->json) {
		buf_printf(&json, "{\"token\":\"%s\",\"line\":", token);
		buf_json(&json, line, strlen(line));
		buf_str(&json, "}");
		out_json_value(json.data);
		putchar('\n');
		buf_clear(&json);
	} else {
		out_line("%s", token);
		out_line("%s", line);
	}
	free(line);
	explicit_bzero(token, sizeof(token));
	return CTL_DONE;
}
