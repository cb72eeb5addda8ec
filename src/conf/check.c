/*
 * What can be wrong with a text of the configuration, by itself.
 */
#include "config.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "conf/parts.h"
#include "conf/zones.h"
#include "core/cron.h"
#include "os/address.h"
#include "os/listen.h"

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyz0123456789_.-"
#define UPPER_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

const char *
check_not_empty(const char *text)
{
	return *text == '\0' ? "must not be empty" : NULL;
}

const char *
check_own_log(const char *text)
{
	return strcmp(text, "stderr") == 0 || strcmp(text, "syslog") == 0 ?
	    "needs the path of a file; without one it is log.file" : NULL;
}

const char *
check_name(const char *text)
{
	if (!isalnum((unsigned char)*text) ||
	    text[strspn(text, NAME_CHARS UPPER_CHARS)] != '\0' ||
	    strlen(text) > 63)
		return "a name is 1 to 63 letters, digits and _ . -, "
		    "the first a letter or digit";
	return NULL;
}

/* A step's: without the dots of the paths that name it. */
const char *
check_step_name(const char *text)
{
	return strchr(text, '.') != NULL ? "a step's name has no dot" :
	    check_name(text);
}

const char *
check_queue_name(const char *text)
{
	if (!islower((unsigned char)*text) ||
	    text[strspn(text, NAME_CHARS)] != '\0' || strlen(text) > 63)
		return "a queue's name is 1 to 63 lower-case letters, digits "
		    "and _ . -, the first a letter";
	return NULL;
}

const char *
check_node_name(const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++)
		if (!isgraph((unsigned char)text[i]))
			return "a node's name has no blanks and only ASCII";
	return len == 0 || len > 255 ?
	    "a node's name has 1 to 255 characters" : NULL;
}

const char *
check_timezone(const char *text)
{
	static struct err e;
	const struct zone *zone;

	return zones_find(text, &zone, &e) == 0 ? NULL : e.msg;
}

const char *
check_database(const char *text)
{
	if (strncmp(text, "postgresql://", 13) == 0 ||
	    strncmp(text, "postgres://", 11) == 0 || strchr(text, '=') != NULL)
		return NULL;
	return "needs a form like postgresql://user@host/database or "
	    "host=... dbname=...";
}

const char *
check_schema(const char *text)
{
	static const char chars[] = "abcdefghijklmnopqrstuvwxyz0123456789_";

	if ((!islower((unsigned char)*text) && *text != '_') ||
	    text[strspn(text, chars)] != '\0' || strlen(text) > 48 ||
	    strncmp(text, "pg_", 3) == 0)
		return "a schema's name is 1 to 48 lower-case letters, digits "
		    "and _, and begins neither with a digit nor with pg_";
	return NULL;
}

const char *
check_socket_directory(const char *text)
{
	/* /.s.PGSQL.5432.lock must fit in what the system allows a socket. */
	if (*text != '\0' && (*text != '/' || strlen(text) > 85))
		return "needs an absolute path of at most 85 bytes, "
		    "because a socket lies in it";
	return NULL;
}

const char *
check_absolute(const char *text)
{
	return *text == '/' ? NULL : "needs an absolute path";
}

const char *
check_listen(const char *text)
{
	return strcmp(text, "off") == 0 ? NULL : listener_check(text);
}

const char *
check_mode(const char *text)
{
	size_t len = strlen(text);

	if (len < 3 || len > 4 || text[strspn(text, "01234567")] != '\0' ||
	    (len == 4 && *text != '0'))
		return "needs permissions in octal, like 0660";
	return NULL;
}

const char *
check_network(const char *text)
{
	return network_parse(text, NULL);
}

const char *
check_cron(const char *text)
{
	static struct err e;
	struct cron cron;

	if (*text == '\0' || cron_parse(&cron, text, &e) == 0)
		return NULL;
	return e.msg;
}

const char *
check_path(const char *text)
{
	const char *p = text + 5;

	if (*text == '\0')
		return NULL;
	if (strncmp(text, "data.", 5) != 0 || strlen(text) > 200 ||
	    p[strspn(p, NAME_CHARS UPPER_CHARS)] != '\0' || *p == '\0' ||
	    *p == '.' || p[strlen(p) - 1] == '.' || strstr(p, "..") != NULL)
		return "needs a member of the job's data, like data.account_id";
	return NULL;
}

const char *
check_path_or_tenant(const char *text)
{
	if (strcmp(text, "tenant") == 0 || check_path(text) == NULL)
		return NULL;
	return "needs tenant, or a member of the job's data, "
	    "like data.account_id";
}

const char *
check_header(const char *text)
{
	if (check_name(text) == NULL && strpbrk(text, UPPER_CHARS) == NULL)
		return NULL;
	return "needs the name of a header, in small letters";
}

const char *
check_event_part(const char *text)
{
	const char *p = text + 5;

	if (*text == '\0' || (strncmp(text, "header:", 7) == 0 &&
	    check_header(text + 7) == NULL) ||
	    (strncmp(text, "body:", 5) == 0 && strlen(p) <= 200 && *p != '\0' &&
	    p[strspn(p, NAME_CHARS UPPER_CHARS)] == '\0' && *p != '.' &&
	    p[strlen(p) - 1] != '.' && strstr(p, "..") == NULL))
		return NULL;
	return "needs header:NAME, in small letters, or body:PATH, like "
	    "header:webhook-id or body:data.id";
}

const char *
check_webhook(const char *text)
{
	if (*text == '\0' || strcmp(text, "***") == 0 ||
	    strncmp(text, "https://", 8) == 0 ||
	    strncmp(text, "http://", 7) == 0)
		return NULL;
	return "needs an address that begins with https:// or http://";
}

/* What is wrong in it otherwise, the driver tells. */
const char *
check_mail_address(const char *text)
{
	const char *at = strrchr(text, '@');

	if (at == NULL || at == text || at[1] == '\0' ||
	    text[strcspn(text, "\r\n\t,")] != '\0')
		return "needs an address like ops@example.com";
	return NULL;
}

/* HH:MM at p, of a day. */
static bool
is_time(const char *p)
{
	return isdigit((unsigned char)p[0]) && isdigit((unsigned char)p[1]) &&
	    p[2] == ':' && isdigit((unsigned char)p[3]) &&
	    isdigit((unsigned char)p[4]) && p[3] < '6' &&
	    (p[0] - '0') * 10 + p[1] - '0' < 24;
}

const char *
check_quiet(const char *text)
{
	if (*text == '\0' || (strlen(text) == 11 && is_time(text) &&
	    text[5] == '-' && is_time(text + 6) &&
	    strncmp(text, text + 6, 5) != 0))
		return NULL;
	return "needs two different times of the day, as 22:00-07:00";
}
