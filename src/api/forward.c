/*
 * Clients behind proxies: see forward.h. A field grows to the right, so it is
 * read from its right end, and no further than to the first hop that is not
 * ours: what stands before that, anybody may have written.
 */
#include "config.h"

#include <string.h>
#include <strings.h>

#include "api/forward.h"

#define HOPS_MAX 64		/* no more of them are looked at */

bool
forward_is_trusted(const struct forward_options *o, const struct address *a)
{
	for (size_t i = 0; i < o->ntrusted; i++)
		if (network_has(&o->trusted[i], a))
			return true;
	return false;
}

struct span {
	const char *at;
	size_t len;
};

static struct span
trim(struct span s)
{
	while (s.len > 0 && (*s.at == ' ' || *s.at == '\t'))
		s.at++, s.len--;
	while (s.len > 0 && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* Split off what is before the next c that is not within quotes. */
static struct span
next(struct span *rest, char c)
{
	struct span got = *rest;
	bool quoted = false;
	size_t i;

	for (i = 0; i < rest->len && (quoted || rest->at[i] != c); i++)
		if (rest->at[i] == '"')
			quoted = !quoted;
		else if (quoted && rest->at[i] == '\\' && i + 1 < rest->len)
			i++;
	got.len = i;
	if (i < rest->len)
		i++;
	rest->at += i;
	rest->len -= i;
	return trim(got);
}

/* The value of a parameter of one element of Forwarded, without its quotes. */
static struct span
parameter(struct span element, const char *name)
{
	size_t len = strlen(name);

	while (element.len > 0) {
		struct span p = next(&element, ';');

		if (p.len > len && p.at[len] == '=' &&
		    strncasecmp(p.at, name, len) == 0) {
			p.at += len + 1;
			p.len -= len + 1;
			if (p.len >= 2 && *p.at == '"' && p.at[p.len - 1] == '"') {
				p.at++;
				p.len -= 2;
			}
			return p;
		}
	}
	return (struct span){ 0 };
}

/* 192.0.2.1, 2001:db8::1, [2001:db8::1], each also with a port; not what hides
 * who it is. */
static bool
read_hop(struct span s, struct address *a)
{
	char text[ADDRESS_MAX];
	const char *end = NULL;

	if (s.len > 0 && *s.at == '[') {
		end = memchr(s.at, ']', s.len);
		if (end == NULL)
			return false;
		s.at++;
	} else if (s.len > 0 && memchr(s.at, '.', s.len) != NULL) {
		end = memchr(s.at, ':', s.len);
		/* ::ffff:192.0.2.1 has more than one, and no port. */
		if (end != NULL && memchr(end + 1, ':', s.len - (size_t)(end + 1 - s.at)))
			end = NULL;
	}
	if (end != NULL)
		s.len = (size_t)(end - s.at);
	if (s.len == 0 || s.len >= sizeof(text))
		return false;
	memcpy(text, s.at, s.len);
	text[s.len] = '\0';
	return address_parse(text, a);
}

/* The hops that the fields of that name tell, the nearest to us last. */
static size_t
collect(const struct http_request *r, const char *name, struct span hops[HOPS_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < r->nfields; i++) {
		struct span rest;

		if (strcmp(r->fields[i].name, name) != 0)
			continue;
		rest = (struct span){ r->fields[i].value, strlen(r->fields[i].value) };
		while (rest.len > 0) {
			if (n == HOPS_MAX)
				memmove(hops, hops + 1, --n * sizeof(*hops));
			hops[n++] = next(&rest, ',');
		}
	}
	return n;
}

static bool
is_https(struct span proto)
{
	return proto.len == 5 && strncasecmp(proto.at, "https", 5) == 0;
}

struct address
forward_client(const struct forward_options *o, const struct http_request *r,
    const struct address *peer, bool *is_secure)
{
	bool standard = o->field == FORWARD_STANDARD;
	struct span hops[HOPS_MAX];
	struct address a = *peer, before;
	const char *proto = http_field(r, "x-forwarded-proto");
	size_t n;

	if (!forward_is_trusted(o, peer))
		return a;
	n = collect(r, standard ? "forwarded" : "x-forwarded-for", hops);
	if (standard && n > 0 && parameter(hops[n - 1], "proto").len > 0)
		*is_secure = is_https(parameter(hops[n - 1], "proto"));
	else if (!standard && proto != NULL)
		*is_secure = is_https((struct span){ proto, strlen(proto) });
	while (n > 0 && forward_is_trusted(o, &a)) {
		n--;
		if (!read_hop(standard ? parameter(hops[n], "for") : hops[n], &before))
			break;
		a = before;
	}
	return a;
}
