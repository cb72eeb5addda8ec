/*
 * The driver email: composes a mail from a job's data and hands it to an SMTP
 * server, or writes it to a directory. Blocking: one mail at a time.
 *
 * A server answers for each recipient by himself. What it said is kept as the
 * attempt's result:
 *
 *	{"message_id": "<…>", "response": "250 …", "ambiguous": true,
 *	 "recipients": {"a@b.example":
 *	    {"state": "accepted" | "refused" | "deferred", "code": 250, "text": "…"}}}
 *
 * response is the server's last word to a mail that it took; ambiguous is there
 * when it had the mail and said no more.
 *
 * Those who were deferred (4xx) are tried again by the next attempt, and only
 * they: it reads the result of the attempt before. When nobody is left to
 * try, the job is completed if anybody has the mail, else it was not
 * deliverable (validation).
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "conf/conf.h"
#include "core/template.h"
#include "driver/drivers.h"
#include "driver/email/letter.h"
#include "driver/email/mail.h"
#include "driver/email/sasl.h"
#include "os/loop.h"

#define WAIT_MS 60000		/* the longest, for whatever */
#define CONNECTION_MAILS 100
#define CONNECTION_IDLE_MS 30000
/* A run ends so long before its time, by itself, and so knows what it did. */
#define MARGIN_MS 500
#define FILE_SCHEME "file:"
#define SERVER "smtp://localhost:25"

static const char *const tls_names[] = {
	"off", "opportunistic", "required", NULL
};
static const char *const wait_names[MAIL_WAITS + 1] = {
	[MAIL_CONNECT] = "connect", [MAIL_GREETING] = "greeting",
	[MAIL_COMMAND] = "command", [MAIL_DATA] = "data",
	[MAIL_TRANSFER] = "transfer", [MAIL_END] = "end", NULL
};
static const char *const state_names[] = {
	[RECIPIENT_OPEN] = "deferred",
	[RECIPIENT_ACCEPTED] = "accepted",
	[RECIPIENT_DEFERRED] = "deferred",
	[RECIPIENT_REFUSED] = "refused",
};

/* Opened once in a worker. */
struct email {
	char destination[BREAKER_NAME_MAX + 1];
	struct letter_options options;
	struct addr return_path;	/* of the envelope; no address: the mail's from */
	const char *directory;		/* NULL: a server */
	struct mail_server server;
	struct timer *idle;		/* then the connection is ended */
};

/* A job's mail and those it goes to. */
struct delivery {
	struct run *run;
	struct letter letter;
	struct recipient *recipients;	/* as many as the letter has */
	size_t n;
};

/*
 * Options
 */

static void
complain(struct conf_sink *sink, const struct node *options, const char *key,
    const char *why)
{
	const struct node_entry *at = node_entry(options, key);

	conf_complain(sink, at ? at->file : options->file,
	    at ? at->line : options->line, at ? at->column : options->column,
	    "%s: %s", key, why);
}

static void
check_server(const struct node *options, struct conf_sink *sink)
{
	struct mail_server server = { .host = NULL };
	const char *url = SERVER;
	struct err e;

	node_str(options, "server", &url, sink);
	if (strncmp(url, FILE_SCHEME, strlen(FILE_SCHEME)) == 0) {
		if (url[strlen(FILE_SCHEME)] != '/')
			complain(sink, options, "server",
			    "file: needs an absolute path");
		return;
	}
	if (mail_parse_server(url, &server, &e) < 0)
		complain(sink, options, "server", e.msg);
	free(server.host);
	free(server.port);
}

static void
check_address(const struct node *options, const char *key,
    struct conf_sink *sink)
{
	struct addr one = { .name = NULL };
	const char *text = "";
	struct err e;

	node_str(options, key, &text, sink);
	if (text[0] != '\0' && addr_parse(text, &one, &e) < 0)
		complain(sink, options, key, e.msg);
	addr_clear(&one);
}

static void
check_addresses(const struct node *options, struct conf_sink *sink)
{
	struct addrs list = { .n = 0 };
	const char *text = "";
	struct err e;

	check_address(options, "from", sink);
	check_address(options, "return_path", sink);
	node_str(options, "reply_to", &text, sink);
	if (addrs_parse(text, &list, &e) < 0)
		complain(sink, options, "reply_to", e.msg);
	addrs_clear(&list);
}

static void
check_template(const struct node *options, const char *key,
    struct conf_sink *sink)
{
	const char *text = "";
	struct err e;

	node_str(options, key, &text, sink);
	if (template_check(text, &e) < 0)
		complain(sink, options, key, e.msg);
}

static void
check_wait(const struct node *map, const char *key, struct conf_sink *sink)
{
	int64_t ms = WAIT_MS;

	node_duration_ms(map, key, &ms, sink);
	if (ms < 100 || ms > 600000)
		complain(sink, map, key, "100ms to 10m");
}

static void
check_waits(const struct node *options, struct conf_sink *sink)
{
	const struct node *waits = node_get(options, "timeouts");

	check_wait(options, "timeout", sink);
	if (waits == NULL)
		return;
	if (waits->kind != NODE_MAP) {
		complain(sink, options, "timeouts", "needs a map");
		return;
	}
	node_known_keys(waits, wait_names, sink);
	for (size_t i = 0; i < MAIL_WAITS; i++)
		check_wait(waits, wait_names[i], sink);
}

static void
check_login(const struct node *options, struct conf_sink *sink)
{
	const char *user = "";
	int choice;

	node_str(options, "user", &user, sink);
	node_choice(options, "auth", sasl_names, &choice, sink);
	if (user[0] == '\0' && node_get(options, "auth") != NULL)
		complain(sink, options, "auth", "needs user");
}

static void
check(const struct node *options, struct conf_sink *sink)
{
	static const char *const keys[] = {
		"driver", "server", "from", "force_from", "reply_to",
		"return_path", "tls",
		"tls_name", "ca_file", "user", "password", "password_file",
		"auth", "attachments_dir", "hostname", "timeout", "timeouts",
		"connection_mails", "connection_idle", "subject", "text",
		"html", NULL
	};
	const char *text = NULL;
	bool yes = false;
	int64_t number = 0;
	int choice;

	node_known_keys(options, keys, sink);
	check_server(options, sink);
	check_addresses(options, sink);
	node_bool(options, "force_from", &yes, sink);
	if (yes && node_get(options, "from") == NULL)
		complain(sink, options, "force_from", "needs from");
	node_choice(options, "tls", tls_names, &choice, sink);
	check_login(options, sink);
	node_str(options, "ca_file", &text, sink);
	node_str(options, "tls_name", &text, sink);
	text = NULL;
	node_str(options, "hostname", &text, sink);
	if (text != NULL && strspn(text, "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-[]:") < strlen(text))
		complain(sink, options, "hostname", "is no host's name");
	check_template(options, "subject", sink);
	check_template(options, "text", sink);
	check_template(options, "html", sink);
	check_waits(options, sink);
	node_int(options, "connection_mails", 1, 1000000, &number, sink);
	node_duration_ms(options, "connection_idle", &number, sink);
	text = "/";
	node_str(options, "attachments_dir", &text, sink);
	if (text[0] != '/' && text[0] != '\0')
		complain(sink, options, "attachments_dir",
		    "needs an absolute path");
}

static bool
destination(const struct node *options, char *name, size_t size)
{
	struct mail_server server = { .host = NULL };
	const char *url = SERVER;
	bool known;

	node_str(options, "server", &url, NULL);
	if (strncmp(url, FILE_SCHEME, strlen(FILE_SCHEME)) == 0)
		known = strlcpy(name, url, size) < size;
	else
		known = mail_parse_server(url, &server, NULL) == 0 &&
		    (size_t)snprintf(name, size, "%s://%s:%s",
		    server.implicit ? "smtps" : "smtp", server.host,
		    server.port) < size;
	free(server.host);
	free(server.port);
	return known;
}

static void
open_waits(struct mail_server *s, const struct node *options)
{
	const struct node *waits = node_get(options, "timeouts");
	int64_t all = WAIT_MS;

	node_duration_ms(options, "timeout", &all, NULL);
	for (size_t i = 0; i < MAIL_WAITS; i++) {
		int64_t ms = all;

		node_duration_ms(waits, wait_names[i], &ms, NULL);
		s->wait[i] = ms * MONO_MS;
	}
}

static int
open_server(struct email *m, const struct node *options, const char *url,
    struct err *e)
{
	struct mail_server *s = &m->server;
	int64_t idle_ms = CONNECTION_IDLE_MS;
	const char *user = "";
	int tls = MAIL_TLS_OPPORTUNISTIC;

	if (mail_parse_server(url, s, e) < 0)
		return -1;
	s->options = options;
	s->mails_max = CONNECTION_MAILS;
	node_choice(options, "tls", tls_names, &tls, NULL);
	node_choice(options, "auth", sasl_names, &s->auth, NULL);
	node_str(options, "user", &user, NULL);
	node_str(options, "hostname", &s->hostname, NULL);
	node_str(options, "ca_file", &s->ca_file, NULL);
	node_str(options, "tls_name", &s->tls_name, NULL);
	node_int(options, "connection_mails", 1, 1000000, &s->mails_max, NULL);
	node_duration_ms(options, "connection_idle", &idle_ms, NULL);
	s->tls = (enum mail_tls)tls;
	s->user = user[0] != '\0' ? user : NULL;
	s->idle_max = idle_ms * MONO_MS;
	open_waits(s, options);
	return mail_open(s, e);
}

static void
on_idle(void *arg)
{
	struct email *m = arg;

	mail_hang_up(&m->server);
}

static int
open_email(struct driver_ctx *ctx, struct err *e)
{
	const struct node *options = ctx->handler->options;
	struct email *m = xcalloc(1, sizeof(*m));
	const char *url = SERVER, *return_path = "";

	m->options = (struct letter_options){
		.from = "", .reply_to = "", .attachments_dir = "",
		.subject = "", .text = "", .html = "", .queue = ctx->queue->name,
	};
	node_str(options, "from", &m->options.from, NULL);
	node_bool(options, "force_from", &m->options.force_from, NULL);
	node_str(options, "reply_to", &m->options.reply_to, NULL);
	node_str(options, "attachments_dir", &m->options.attachments_dir, NULL);
	node_str(options, "return_path", &return_path, NULL);
	if (*return_path != '\0' && addr_parse(return_path, &m->return_path, e) < 0) {
		free(m);
		return -1;
	}
	node_str(options, "subject", &m->options.subject, NULL);
	node_str(options, "text", &m->options.text, NULL);
	node_str(options, "html", &m->options.html, NULL);
	node_str(options, "server", &url, NULL);
	if (!destination(options, m->destination, sizeof(m->destination)))
		m->destination[0] = '\0';
	ctx->state = m;
	if (strncmp(url, FILE_SCHEME, strlen(FILE_SCHEME)) == 0) {
		m->directory = url + strlen(FILE_SCHEME);
		return 0;
	}
	if (open_server(m, options, url, e) < 0) {
		mail_close(&m->server);
		addr_clear(&m->return_path);
		free(m);
		return -1;
	}
	m->idle = timer_new(ctx->loop, on_idle, m);
	return 0;
}

static void
close_email(struct driver_ctx *ctx)
{
	struct email *m = ctx->state;

	if (m->directory == NULL) {
		timer_free(m->idle);
		mail_close(&m->server);
	}
	addr_clear(&m->return_path);
	free(m);
	ctx->state = NULL;
}

/*
 * Recipients, from one attempt to the next
 */

static void
delivery_clear(struct delivery *d)
{
	for (size_t i = 0; i < d->n; i++)
		free(d->recipients[i].text);
	free(d->recipients);
	letter_clear(&d->letter);
}

static void
recall(struct recipient *r, const json_t *before)
{
	const char *state = json_string_value(json_object_get(before, "state"));
	const char *text = json_string_value(json_object_get(before, "text"));

	if (state == NULL)
		return;
	if (strcmp(state, "accepted") == 0)
		r->state = RECIPIENT_ACCEPTED;
	else if (strcmp(state, "refused") == 0)
		r->state = RECIPIENT_REFUSED;
	else
		return;
	r->code = (int)json_integer_value(json_object_get(before, "code"));
	r->text = xstrdup(text);
}

/* Who needs no other try. -1 with e when that cannot be learnt. */
static int
recall_all(struct delivery *d, struct err *e)
{
	json_t *result, *before;
	char *text;

	if (run_previous(d->run, &text, e) < 0)
		return -1;
	if (text == NULL)
		return 0;
	result = json_loads(text, 0, NULL);
	before = json_object_get(result, "recipients");
	for (size_t i = 0; i < d->n; i++)
		recall(&d->recipients[i], json_object_get(before,
		    d->recipients[i].address));
	json_decref(result);
	free(text);
	return 0;
}

static size_t
count(const struct delivery *d, enum recipient_state state)
{
	size_t n = 0;

	for (size_t i = 0; i < d->n; i++)
		n += d->recipients[i].state == state;
	return n;
}

static char *
make_result(const struct delivery *d, const struct mail_end *end)
{
	const char *id = d->letter.mail.message_id;
	struct buf b = { .len = 0 };

	buf_str(&b, "{\"message_id\": ");
	buf_json(&b, id, strlen(id));
	if (end->class == CLASS_NONE && end->answer[0] == '2') {
		buf_str(&b, ", \"response\": ");
		buf_json(&b, end->answer, strlen(end->answer));
	}
	if (end->ambiguous)
		buf_str(&b, ", \"ambiguous\": true");
	buf_str(&b, ", \"recipients\": {");
	for (size_t i = 0; i < d->n; i++) {
		const struct recipient *r = &d->recipients[i];

		buf_str(&b, i > 0 ? ", " : "");
		buf_json(&b, r->address, strlen(r->address));
		buf_printf(&b, ": {\"state\": \"%s\"", state_names[r->state]);
		if (r->code > 0)
			buf_printf(&b, ", \"code\": %d", r->code);
		if (r->text != NULL) {
			buf_str(&b, ", \"text\": ");
			buf_json(&b, r->text, strlen(r->text));
		}
		buf_char(&b, '}');
	}
	buf_str(&b, "}}");
	return buf_detach(&b);
}

/* "2 of 5 recipients refused, b@x: 550 no such user" */
static char *
recipients_message(const struct delivery *d, enum recipient_state state,
    const char *what)
{
	for (size_t i = 0; i < d->n; i++) {
		const struct recipient *r = &d->recipients[i];

		if (r->state == state && r->code > 0)
			return xasprintf("%zu of %zu recipients %s, %s: %d %s",
			    count(d, state), d->n, what, r->address, r->code,
			    r->text ? r->text : "");
	}
	return xasprintf("%zu of %zu recipients %s", count(d, state), d->n, what);
}

static void
end_delivery(struct delivery *d, const struct mail_end *end)
{
	struct run_result r;

	run_result_init(&r);
	for (size_t i = 0; i < d->n; i++)
		if (d->recipients[i].state == RECIPIENT_OPEN)
			d->recipients[i].state = RECIPIENT_DEFERRED;
	if (end->class != CLASS_NONE) {
		r.class = end->class;
		r.message = xstrdup(end->message);
	} else if (count(d, RECIPIENT_DEFERRED) > 0) {
		r.class = CLASS_NETWORK;
		r.message = recipients_message(d, RECIPIENT_DEFERRED, "deferred");
	} else if (count(d, RECIPIENT_ACCEPTED) == 0) {
		r.class = CLASS_VALIDATION;
		r.message = recipients_message(d, RECIPIENT_REFUSED, "refused");
	}
	r.result = make_result(d, end);
	run_end(d->run, &r);
}

/* Whom a server tells that a mail did not come through. */
static const struct addr *
sender_of(const struct delivery *d, const struct email *m)
{
	return m->return_path.address ? &m->return_path : &d->letter.mail.from;
}

/*
 * To a directory
 */

static int
write_all(int fd, const struct buf *b)
{
	size_t done = 0;

	while (done < b->len) {
		ssize_t n = write(fd, b->data + done, b->len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		done += (size_t)n;
	}
	return fsync(fd);
}

/* Who it goes to is nowhere else in the file: bcc is no header. */
static void
put_envelope(struct buf *b, const struct delivery *d, const struct addr *sender)
{
	buf_printf(b, "X-Envelope-From: <%s>\r\n", sender->address);
	for (size_t i = 0; i < d->n; i++)
		if (d->recipients[i].state == RECIPIENT_OPEN)
			buf_printf(b, "X-Envelope-To: <%s>\r\n",
			    d->recipients[i].address);
}

static int
write_file(int dir, const char *name, const struct buf *b)
{
	char temporary[80];
	int fd, rc;

	snprintf(temporary, sizeof(temporary), ".%s.tmp", name);
	fd = openat(dir, temporary,
	    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -1;
	rc = write_all(fd, b);
	if (close(fd) < 0 || rc < 0 ||
	    renameat(dir, temporary, dir, name) < 0 || fsync(dir) < 0) {
		rc = errno;
		unlinkat(dir, temporary, 0);
		errno = rc;
		return -1;
	}
	return 0;
}

/* The job's own, and of no job of another database; the same when the attempt
 * is made again, so that its mail takes the place of the first. */
static void
make_name(const struct delivery *d, char *name, size_t size)
{
	const char *digest = strchr(d->letter.mail.message_id, '.') + 1;

	snprintf(name, size, "%" PRId64 "-%d-%.8s.eml", d->run->job->id,
	    d->run->job->attempt, digest);
}

static void
deliver_to_file(struct delivery *d, const struct email *m,
    const struct buf *text, struct mail_end *end)
{
	const char *directory = m->directory;
	struct buf all = { .len = 0 };
	char name[64];
	int dir, rc = -1;

	make_name(d, name, sizeof(name));
	put_envelope(&all, d, sender_of(d, m));
	buf_put(&all, text->data, text->len);
	mkdir(directory, 0755);		/* if it is not there */
	dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0) {
		rc = write_file(dir, name, &all);
		int saved = errno;
		close(dir);
		errno = saved;
	}
	buf_clear(&all);
	end->class = CLASS_NONE;
	if (rc < 0) {
		end->class = errno == ENOSPC || errno == EDQUOT ? CLASS_RESOURCE :
		    CLASS_ERROR;
		snprintf(end->message, sizeof(end->message),
		    "cannot write %s/%s: %s", directory, name, strerror(errno));
		return;
	}
	for (size_t i = 0; i < d->n; i++)
		if (d->recipients[i].state == RECIPIENT_OPEN)
			d->recipients[i].state = RECIPIENT_ACCEPTED;
}

/*
 * A job
 */

static void
deliver_to_server(struct delivery *d, struct email *m, const struct buf *text,
    struct mail_end *end)
{
	int64_t ms = d->run->timeout_ms;
	mono_t over = mono_now() + ms * MONO_MS;
	const struct addr *sender = sender_of(d, m);
	struct mail_order order = {
		.from = sender->address,
		.recipients = d->recipients, .n = d->n, .message = text,
		.utf8 = d->letter.beyond_ascii || !addr_is_ascii(sender),
		.deadline = ms > 4 * MARGIN_MS ? over - MARGIN_MS * MONO_MS : over,
	};

	timer_stop(m->idle);
	mail_send(&m->server, &order, end);
	/* As the leader would say, which may not have come to it yet. */
	if (end->class == CLASS_NETWORK && mono_now() >= over)
		end->class = CLASS_TIMEOUT;
	if (mail_is_connected(&m->server))
		timer_set(m->idle, m->server.idle_max);
}

static void
deliver(struct delivery *d, struct email *m)
{
	struct mail_end end = { .class = CLASS_NONE };
	struct buf text = { .len = 0 };

	if (count(d, RECIPIENT_OPEN) > 0) {
		mime_build(&d->letter.mail, &text);
		if (m->directory != NULL)
			deliver_to_file(d, m, &text, &end);
		else
			deliver_to_server(d, m, &text, &end);
		buf_clear(&text);
	}
	end_delivery(d, &end);
}

static void
run_email(struct driver_ctx *ctx, struct run *run)
{
	struct email *m = ctx->state;
	struct delivery d = { .run = run };
	struct err e = { .code = ERR_NONE };

	if (letter_read(&d.letter, &m->options, run->job, time(NULL), &e) < 0) {
		delivery_clear(&d);
		run_fail(run, CLASS_VALIDATION, "%s", e.msg);
		return;
	}
	d.n = d.letter.recipients.n;
	d.recipients = xcalloc(d.n, sizeof(*d.recipients));
	for (size_t i = 0; i < d.n; i++)
		d.recipients[i].address = d.letter.recipients.v[i].address;
	if (m->destination[0] != '\0' && !run_goes_to(run, m->destination))
		run_defer(run);
	else if (recall_all(&d, &e) < 0)
		run_fail(run, CLASS_NETWORK, "cannot learn who has the mail "
		    "from an earlier attempt: %s", e.msg);
	else
		deliver(&d, m);
	delivery_clear(&d);
}

const struct driver driver_email = {
	.name = "email",
	.check = check,
	.open = open_email,
	.run = run_email,
	.close = close_email,
	.destination = destination,
};
