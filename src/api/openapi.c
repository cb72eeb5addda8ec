/*
 * OpenAPI 3.1 from the tables of routes.
 */
#include "config.h"

#include <ctype.h>
#include <string.h>

#include "api/route.h"

static void
put_string(struct buf *b, const char *text)
{
	buf_json(b, text, strlen(text));
}

/* "name":"text" */
static void
put_pair(struct buf *b, const char *name, const char *text)
{
	put_string(b, name);
	buf_char(b, ':');
	put_string(b, text);
}

/*
 * Parameters
 */

static void
put_range(struct buf *b, const struct param *p, const char *min, const char *max)
{
	if (p->min != 0 || p->max != 0)
		buf_printf(b, ",\"%s\":%lld,\"%s\":%lld", min, (long long)p->min,
		    max, (long long)p->max);
}

static void
put_words(struct buf *b, const char *words)
{
	buf_str(b, ",\"enum\":[");
	for (const char *p = words; *p != '\0'; p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");

		buf_str(b, p > words ? "," : "");
		buf_json(b, p, n);
		p += n;
	}
	buf_char(b, ']');
}

/* described: it tells itself what the parameter is. */
static void
put_schema(struct buf *b, const struct param *p, bool described)
{
	static const char *const types[] = {
		[PARAM_TEXT] = "\"type\":\"string\"",
		[PARAM_ID] = "\"type\":\"integer\",\"format\":\"int64\",\"minimum\":1",
		[PARAM_INTEGER] = "\"type\":\"integer\"",
		[PARAM_BOOLEAN] = "\"type\":\"boolean\"",
		[PARAM_WORD] = "\"type\":\"string\"",
		[PARAM_INSTANT] = "\"type\":\"string\",\"format\":\"date-time\"",
		[PARAM_DURATION] = "\"type\":[\"string\",\"number\"]",
		[PARAM_OBJECT] = "\"type\":\"object\"",
		[PARAM_ARRAY] = "\"type\":\"array\",\"items\":{}",
		[PARAM_JSON] = "",
		[PARAM_TEXTS] = "\"type\":\"array\",\"items\":{\"type\":\"string\"}",
		[PARAM_IDS] = "\"type\":\"array\",\"items\":"
		    "{\"type\":\"integer\",\"format\":\"int64\"}",
		[PARAM_FIELDS] = "\"type\":\"object\","
		    "\"additionalProperties\":{\"type\":\"string\"}",
	};
	bool one = p->type == PARAM_TEXTS && p->in == IN_QUERY;
	const char *type = one ? types[PARAM_TEXT] : types[p->type];

	buf_char(b, '{');
	if (described) {
		put_pair(b, "description", p->about ? p->about : p->name);
		buf_str(b, *type != '\0' ? "," : "");
	}
	buf_str(b, type);
	switch (p->type) {
	case PARAM_TEXT:
		put_range(b, p, "minLength", "maxLength");
		break;
	case PARAM_INTEGER:
		put_range(b, p, "minimum", "maximum");
		break;
	case PARAM_ARRAY:
		put_range(b, p, "minItems", "maxItems");
		break;
	case PARAM_WORD:
		put_words(b, p->words);
		break;
	default:
		break;
	}
	if (p->def != NULL && (p->type == PARAM_INTEGER || p->type == PARAM_BOOLEAN))
		buf_printf(b, ",\"default\":%s", p->def);
	else if (p->def != NULL && (p->type == PARAM_TEXT || p->type == PARAM_WORD)) {
		buf_char(b, ',');
		put_pair(b, "default", p->def);
	}
	buf_char(b, '}');
}

static void
put_parameters(struct buf *b, const struct route *r)
{
	bool first = true;

	buf_str(b, "\"parameters\":[");
	for (size_t i = 0; i < route_params(r); i++) {
		const struct param *p = &r->params[i];

		if (p->in == IN_BODY)
			continue;
		buf_str(b, first ? "{" : ",{");
		first = false;
		put_pair(b, "name", p->name);
		buf_printf(b, ",\"in\":\"%s\",\"required\":%s,", p->in == IN_PATH ?
		    "path" : "query", p->in == IN_PATH || p->required ? "true" : "false");
		put_pair(b, "description", p->about ? p->about : p->name);
		if (p->type == PARAM_FIELDS)
			buf_str(b, ",\"style\":\"deepObject\",\"explode\":true");
		buf_str(b, ",\"schema\":");
		put_schema(b, p, false);
		buf_char(b, '}');
	}
	if (r->creates) {
		buf_str(b, first ? "" : ",");
		buf_str(b, "{\"$ref\":\"#/components/parameters/IdempotencyKey\"}");
	}
	buf_str(b, "],");
}

static void
put_body(struct buf *b, const struct route *r)
{
	bool first = true, required = false;

	if (r->raw) {
		buf_str(b, "\"requestBody\":{\"content\":"
		    "{\"application/octet-stream\":{\"schema\":{}}}},");
		return;
	}
	for (size_t i = 0; i < route_params(r); i++) {
		const struct param *p = &r->params[i];

		if (p->in != IN_BODY)
			continue;
		if (first)
			buf_str(b, "\"requestBody\":{\"content\":{\"application/json\":"
			    "{\"schema\":{\"type\":\"object\",\"additionalProperties\":false,"
			    "\"properties\":{");
		buf_str(b, first ? "" : ",");
		first = false;
		required |= p->required;
		put_string(b, p->name);
		buf_char(b, ':');
		put_schema(b, p, true);
	}
	if (first)
		return;
	buf_str(b, "},\"required\":[");
	first = true;
	for (size_t i = 0; i < route_params(r); i++) {
		if (r->params[i].in != IN_BODY || !r->params[i].required)
			continue;
		buf_str(b, first ? "" : ",");
		first = false;
		put_string(b, r->params[i].name);
	}
	buf_printf(b, "]}}},\"required\":%s},", required ? "true" : "false");
}

/*
 * Routes
 */

/* "get_v1_jobs_id": of the method and the path. */
static void
put_operation_id(struct buf *b, const struct route *r)
{
	buf_str(b, "\"operationId\":\"");
	for (const char *p = r->method; *p != '\0'; p++)
		buf_char(b, (char)tolower((unsigned char)*p));
	for (const char *p = r->path; *p != '\0'; p++)
		if (isalnum((unsigned char)*p))
			buf_char(b, *p);
		else if (isalnum((unsigned char)p[1]))
			buf_char(b, '_');
	buf_str(b, "\",");
}

static void
put_responses(struct buf *b, const struct route *r)
{
	int status = r->status > 0 ? r->status : 200;

	buf_printf(b, "\"responses\":{\"%d\":{\"description\":\"Done\"", status);
	if (status != 204) {
		buf_str(b, ",\"content\":{");
		put_string(b, r->type ? r->type : "application/json");
		buf_str(b, ":{\"schema\":{}}}");
	}
	buf_str(b, "},");
	if (r->role > ROLE_NONE)
		buf_str(b, "\"401\":{\"$ref\":\"#/components/responses/Problem\"},"
		    "\"403\":{\"$ref\":\"#/components/responses/Problem\"},"
		    "\"429\":{\"$ref\":\"#/components/responses/Problem\"},");
	buf_str(b, "\"default\":{\"$ref\":\"#/components/responses/Problem\"}}");
}

static void
put_operation(struct buf *b, const struct route *r)
{
	buf_char(b, '"');
	for (const char *p = r->method; *p != '\0'; p++)
		buf_char(b, (char)tolower((unsigned char)*p));
	buf_str(b, "\":{");
	put_operation_id(b, r);
	put_pair(b, "summary", r->about);
	buf_str(b, ",\"tags\":[");
	put_string(b, r->tag);
	buf_str(b, "],");
	put_parameters(b, r);
	put_body(b, r);
	if (r->role == ROLE_NONE)
		buf_str(b, "\"security\":[],");
	buf_printf(b, "\"x-role\":\"%s\",\"x-tenant\":%s,",
	    r->role == ROLE_NONE ? "none" : role_names[r->role],
	    r->tenants || r->role == ROLE_NONE ? "true" : "false");
	put_responses(b, r);
	buf_char(b, '}');
}

/* Is this the first of the tables with its path? Then what of the others has it. */
static bool
is_first(const struct route *wanted)
{
	for (size_t i = 0; route_tables[i] != NULL; i++)
		for (const struct route *r = route_tables[i]; r->path != NULL; r++)
			if (strcmp(r->path, wanted->path) == 0)
				return r == wanted;
	return false;
}

static void
put_path(struct buf *b, const struct route *first)
{
	put_string(b, first->path);
	buf_str(b, ":{");
	for (size_t i = 0; route_tables[i] != NULL; i++)
		for (const struct route *r = route_tables[i]; r->path != NULL; r++) {
			if (strcmp(r->path, first->path) != 0)
				continue;
			buf_str(b, r == first ? "" : ",");
			put_operation(b, r);
		}
	buf_char(b, '}');
}

/* The tags, each once. */
static void
put_tags(struct buf *b)
{
	struct buf seen = { 0 };

	buf_str(&seen, " ");
	buf_str(b, ",\"tags\":[");
	for (size_t i = 0; route_tables[i] != NULL; i++)
		for (const struct route *r = route_tables[i]; r->path != NULL; r++) {
			struct buf word = { 0 };

			buf_printf(&word, " %s ", r->tag);
			if (strstr(seen.data, word.data) == NULL) {
				buf_str(b, seen.len > 1 ? ",{" : "{");
				put_pair(b, "name", r->tag);
				buf_char(b, '}');
				buf_str(&seen, word.data + 1);
			}
			buf_clear(&word);
		}
	buf_char(b, ']');
	buf_clear(&seen);
}

void
openapi_text(struct buf *b, const char *version)
{
	bool first = true;

	buf_str(b, "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"jobqd\","
	    "\"description\":\"Jobs, queues, schedules and what became of them. jobqd-api(7) "
	    "says it in words.\",\"license\":{\"name\":\"BSD 2-Clause\","
	    "\"identifier\":\"BSD-2-Clause\"},");
	put_pair(b, "version", version);
	buf_str(b, "},\"servers\":[{\"url\":\"/\"}],"
	    "\"security\":[{\"bearer\":[]},{\"adminKey\":[]},{\"cookie\":[]}]");
	put_tags(b);
	buf_str(b, ",\"paths\":{");
	for (size_t i = 0; route_tables[i] != NULL; i++)
		for (const struct route *r = route_tables[i]; r->path != NULL; r++) {
			if (!is_first(r))
				continue;
			buf_str(b, first ? "" : ",");
			first = false;
			put_path(b, r);
		}
	buf_str(b, "},\"components\":{\"securitySchemes\":{"
	    "\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\"},"
	    "\"adminKey\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"X-Admin-Key\"},"
	    "\"cookie\":{\"type\":\"apiKey\",\"in\":\"cookie\",\"name\":\"jobqd\"}},"
	    "\"parameters\":{\"IdempotencyKey\":{\"name\":\"Idempotency-Key\",\"in\":\"header\","
	    "\"required\":false,\"description\":\"The same key and body again within a day: the "
	    "same answer, and nothing is done twice\",\"schema\":{\"type\":\"string\","
	    "\"minLength\":1,\"maxLength\":255}}},"
	    "\"schemas\":{\"Problem\":{\"type\":\"object\",\"required\":[\"type\",\"title\","
	    "\"status\",\"detail\"],\"properties\":{\"type\":{\"type\":\"string\"},"
	    "\"title\":{\"type\":\"string\"},\"status\":{\"type\":\"integer\"},"
	    "\"detail\":{\"type\":\"string\"},\"field\":{\"type\":\"string\","
	    "\"description\":\"the parameter that is wrong\"}}}},"
	    "\"responses\":{\"Problem\":{\"description\":\"A problem (RFC 9457)\","
	    "\"content\":{\"application/problem+json\":{\"schema\":"
	    "{\"$ref\":\"#/components/schemas/Problem\"}}}}}}}\n");
}
