/*
 * Delivery of mails by SMTP: see mail.h.
 *
 * A transaction goes out in batches where the server takes commands ahead
 * (PIPELINING, RFC 2920), DATA with the last recipients; without, each command
 * waits for the answer to the one before. A connection that was kept may have
 * been closed meanwhile, which only its use tells: before the server has said
 * anything to a mail, that mail is tried once more over a new one.
 */
#include "config.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include "base/xalloc.h"
#include "driver/email/mail.h"
#include "driver/email/reply.h"
#include "driver/email/sasl.h"
#include "driver/email/stream.h"

#define BATCH 50		/* commands ahead; their answers fit any socket's buffer */
#define GOODBYE (500 * MONO_MS)	/* for the answer to QUIT */
#define LAST_WORD (100 * MONO_MS) /* of a server that has closed on us */

/* A connection, from one mail to the next. */
struct mail_link {
	SSL_CTX *ctx;
	struct stream stream;
	bool tls_failed;	/* of the last handshake: next time without, if it may */
	struct offers offers;	/* of the server */
	int64_t mails;		/* begun over it */
	bool dirty;		/* a transaction was left in its middle */
	mono_t idle_since;
};

/* One delivery. */
struct talk {
	struct mail_server *server;
	struct mail_link *link;
	const struct mail_order *order;
	struct mail_end *end;
	size_t *tried;		/* indices of the recipients of this transaction */
	size_t ntried;
	bool answered;		/* the server has said something to MAIL */
};

/* How a step went. */
enum { GONE = -1, FINE = 0, REFUSED = 1 };

/*
 * The server's name
 */

int
mail_parse_server(const char *url, struct mail_server *s, struct err *e)
{
	const char *host, *port, *end;
	size_t len;

	s->implicit = strncasecmp(url, "smtps://", 8) == 0;
	if (!s->implicit && strncasecmp(url, "smtp://", 7) != 0)
		return err_set(e, "needs smtp://HOST[:PORT], smtps://HOST[:PORT] "
		    "or file:DIR");
	host = strstr(url, "://") + 3;
	end = host + strcspn(host, "/");
	if (*host == '[') {
		const char *close = memchr(host, ']', (size_t)(end - host));

		if (close == NULL)
			return err_set(e, "[ without ]");
		host++;
		len = (size_t)(close - host);
		port = close + 1;
	} else {
		len = strcspn(host, ":/");
		port = host + len;
	}
	if (len == 0 || len > 253 || (*port != ':' && *port != '\0' && *port != '/') ||
	    (*end == '/' && end[1] != '\0') ||
	    strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	    "0123456789.-_:") < len)
		return err_set(e, "needs smtp://HOST[:PORT]");
	if (*port == ':') {
		char *stop;
		long number = strtol(++port, &stop, 10);

		if (stop == port || stop != end || number < 1 || number > 65535)
			return err_set(e, "the port needs a number up to 65535");
		s->port = xstrndup(port, (size_t)(stop - port));
	} else {
		s->port = xstrdup(s->implicit ? "465" : "25");
	}
	s->host = xstrndup(host, len);
	return 0;
}

/*
 * What all sessions share
 */

static int
tls_error(const char *what, struct err *e)
{
	unsigned long code = ERR_get_error();
	char text[256] = "no reason given";

	if (code != 0)
		ERR_error_string_n(code, text, sizeof(text));
	ERR_clear_error();
	return err_set(e, "%s: %s", what, text);
}

static const char *
tls_name(const struct mail_server *s)
{
	return s->tls_name ? s->tls_name : s->host;
}

/* The certificate is checked by OpenSSL itself, its host name included, while
 * hands are shaken: only where TLS is required, else anybody could say none. */
static int
set_verification(const struct mail_server *s, SSL_CTX *ctx, struct err *e)
{
	X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);
	const char *name = tls_name(s);
	unsigned char ip[sizeof(struct in6_addr)];
	bool is_ip = inet_pton(AF_INET, name, ip) == 1 ||
	    inet_pton(AF_INET6, name, ip) == 1;

	if (s->ca_file != NULL ?
	    SSL_CTX_load_verify_locations(ctx, s->ca_file, NULL) != 1 :
	    SSL_CTX_set_default_verify_paths(ctx) != 1)
		return tls_error(s->ca_file ? s->ca_file :
		    "the system's certificates", e);
	if ((is_ip ? X509_VERIFY_PARAM_set1_ip_asc(param, name) :
	    X509_VERIFY_PARAM_set1_host(param, name, 0)) != 1)
		return tls_error("host name", e);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	return 0;
}

int
mail_open(struct mail_server *s, struct err *e)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (ctx == NULL)
		return tls_error("TLS", e);
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	if ((s->implicit || s->tls == MAIL_TLS_REQUIRED) &&
	    set_verification(s, ctx, e) < 0) {
		SSL_CTX_free(ctx);
		return -1;
	}
	sasl_init();
	s->link = xcalloc(1, sizeof(*s->link));
	s->link->ctx = ctx;
	stream_init(&s->link->stream);
	return 0;
}

void
mail_close(struct mail_server *s)
{
	if (s->link != NULL) {
		mail_hang_up(s);
		SSL_CTX_free(s->link->ctx);
		free(s->link);
		sasl_exit();
	}
	free(s->host);
	free(s->port);
	memset(s, 0, sizeof(*s));
}

/*
 * Ends
 */

static int
end_with(struct talk *t, enum job_class class, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(t->end->message, sizeof(t->end->message), fmt, ap);
	va_end(ap);
	t->end->class = class;
	return GONE;
}

static enum job_class
class_of_code(int code)
{
	if (code == 530 || code == 534 || code == 535 || code == 538)
		return CLASS_AUTH;
	return code >= 500 ? CLASS_VALIDATION : CLASS_NETWORK;
}

static int
end_refused(struct talk *t, const char *what, const struct reply *r)
{
	end_with(t, class_of_code(r->code), "%s refused the %s: %d %s",
	    t->server->host, what, r->code, r->text);
	return REFUSED;
}

/* The connection is of no use any more. */
static int
end_gone(struct talk *t, const char *when, const struct err *e)
{
	stream_close(&t->link->stream, false);
	return end_with(t, CLASS_NETWORK, "%s: %s: %s", t->server->host, when,
	    e->msg);
}

/* As the server itself says. */
static int
end_leaving(struct talk *t, const struct reply *r)
{
	stream_close(&t->link->stream, false);
	return end_with(t, CLASS_NETWORK, "%s: %d %s", t->server->host, r->code,
	    r->text);
}

/*
 * Commands and answers
 */

/* With offers, the answer to EHLO. */
static int
read_reply(struct stream *s, mono_t until, struct reply *r,
    struct offers *offers, struct err *e)
{
	char line[2048];
	int more;

	memset(r, 0, sizeof(*r));
	do {
		if (stream_line(s, line, sizeof(line), until, e) < 0)
			return -1;
		more = reply_add(r, line, e);
		if (more >= 0 && offers != NULL)
			offers_add(offers, line);
	} while (more > 0);
	return more;
}

static mono_t
end_of(const struct talk *t, enum mail_wait wait)
{
	mono_t end = mono_now() + t->server->wait[wait];

	return end < t->order->deadline ? end : t->order->deadline;
}

static int
hear(struct talk *t, enum mail_wait wait, struct reply *r, struct err *e)
{
	if (read_reply(&t->link->stream, end_of(t, wait), r, NULL, e) < 0)
		return -1;
	snprintf(t->end->answer, sizeof(t->end->answer), "%d %s", r->code,
	    r->text);
	return 0;
}

static int
put(struct talk *t, const char *data, size_t len, struct err *e)
{
	return stream_put(&t->link->stream, data, len,
	    t->server->wait[MAIL_TRANSFER], t->order->deadline, e);
}

static int
flush(struct talk *t, struct err *e)
{
	return stream_flush(&t->link->stream, t->server->wait[MAIL_TRANSFER],
	    t->order->deadline, e);
}

/* One command, and its answer. */
static int
command(struct talk *t, const char *line, struct reply *r, struct err *e)
{
	return put(t, line, strlen(line), e) < 0 || put(t, "\r\n", 2, e) < 0 ||
	    flush(t, e) < 0 || hear(t, MAIL_COMMAND, r, e) < 0 ? -1 : 0;
}

/*
 * The beginning of a session
 */

/* What we call ourselves: a name with a dot, else our address. */
static void
own_name(const struct talk *t, char *name, size_t size)
{
	struct sockaddr_storage at;
	socklen_t len = sizeof(at);
	struct utsname machine;
	char ip[INET6_ADDRSTRLEN] = "127.0.0.1";

	if (t->server->hostname != NULL) {
		strlcpy(name, t->server->hostname, size);
		return;
	}
	if (uname(&machine) == 0 && strchr(machine.nodename, '.') != NULL) {
		strlcpy(name, machine.nodename, size);
		return;
	}
	memset(&at, 0, sizeof(at));
	getsockname(t->link->stream.fd, (struct sockaddr *)&at, &len);
	if (at.ss_family == AF_INET6)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&at)->sin6_addr, ip,
		    sizeof(ip));
	else if (at.ss_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)&at)->sin_addr, ip,
		    sizeof(ip));
	snprintf(name, size, at.ss_family == AF_INET6 ? "[IPv6:%s]" : "[%s]", ip);
}

/* EHLO, or HELO with a server that does not know it. */
static int
greet(struct talk *t)
{
	struct mail_link *link = t->link;
	char name[256], line[300];
	struct reply r;
	struct err e;

	memset(&link->offers, 0, sizeof(link->offers));
	own_name(t, name, sizeof(name));
	snprintf(line, sizeof(line), "EHLO %s\r\n", name);
	if (put(t, line, strlen(line), &e) < 0 || flush(t, &e) < 0 ||
	    read_reply(&link->stream, end_of(t, MAIL_COMMAND), &r, &link->offers,
	    &e) < 0)
		return end_gone(t, "EHLO", &e);
	if (r.code >= 500) {
		memset(&link->offers, 0, sizeof(link->offers));
		snprintf(line, sizeof(line), "HELO %s", name);
		if (command(t, line, &r, &e) < 0)
			return end_gone(t, "HELO", &e);
	}
	if (r.code < 200 || r.code > 299)
		return end_with(t, CLASS_NETWORK, "%s: EHLO: %d %s",
		    t->server->host, r.code, r.text);
	return FINE;
}

static int
shake_hands(struct talk *t)
{
	struct err e;

	if (stream_start_tls(&t->link->stream, t->link->ctx, tls_name(t->server),
	    end_of(t, MAIL_CONNECT), &e) == 0)
		return FINE;
	t->link->tls_failed = true;
	stream_close(&t->link->stream, false);
	return end_with(t, CLASS_NETWORK, "%s: %s", t->server->host, e.msg);
}

/* Whether a connection without TLS will do, if it must. A password never goes
 * out in the clear unless tls is off. */
static bool
may_be_plain(const struct mail_server *s)
{
	return s->tls == MAIL_TLS_OFF ||
	    (s->tls == MAIL_TLS_OPPORTUNISTIC && s->user == NULL);
}

static int
start_tls(struct talk *t)
{
	struct reply r;
	struct err e;
	int rc;

	if (command(t, "STARTTLS", &r, &e) < 0)
		return end_gone(t, "STARTTLS", &e);
	if (r.code != 220)
		return may_be_plain(t->server) ? FINE :
		    end_with(t, CLASS_NETWORK, "%s: STARTTLS: %d %s",
		    t->server->host, r.code, r.text);
	/* What came before the handshake could be anybody's. */
	if (stream_has_news(&t->link->stream))
		return end_with(t, CLASS_NETWORK, "%s: STARTTLS: bytes before "
		    "the handshake", t->server->host);
	rc = shake_hands(t);
	return rc == FINE ? greet(t) : rc;
}

static int
log_in(struct talk *t)
{
	char *password = node_secret(t->server->options, "password", NULL);
	struct err e = { .code = ERR_NONE };
	struct sasl *sasl = sasl_new(t->server->auth, t->link->offers.auth,
	    t->server->user, password ? password : "", &e);
	struct reply r = { .code = 0 };
	int rc = FINE;

	if (sasl == NULL)
		rc = end_with(t, CLASS_AUTH, "%s: %s", t->server->host, e.msg);
	for (bool first = true; rc == FINE && (first || r.code == 334);
	    first = false) {
		char *answer = sasl_respond(sasl, first ? NULL : r.text, &e);
		char *line;

		if (e.code != ERR_NONE) {
			rc = end_with(t, CLASS_AUTH, "%s: authentication: %s",
			    t->server->host, e.msg);
			break;
		}
		line = first ? xasprintf("AUTH %s%s%s", sasl_mechanism(sasl),
		    answer && *answer ? " " : "", answer ? answer : "") :
		    xstrdup(answer);
		if (command(t, line, &r, &e) < 0)
			rc = end_gone(t, "AUTH", &e);
		explicit_bzero(line, strlen(line));
		free(line);
		if (answer != NULL)
			explicit_bzero(answer, strlen(answer));
		free(answer);
	}
	if (rc == FINE && r.code != 235)
		rc = end_with(t, r.code >= 500 ? CLASS_AUTH : CLASS_NETWORK,
		    "%s: authentication refused: %d %s", t->server->host, r.code,
		    r.text);
	sasl_free(sasl);
	if (password != NULL)
		explicit_bzero(password, strlen(password));
	free(password);
	return rc;
}

static int
introduce(struct talk *t, bool tls)
{
	const struct mail_server *s = t->server;
	struct reply r;
	struct err e;

	if (s->implicit && shake_hands(t) != FINE)
		return GONE;
	if (hear(t, MAIL_GREETING, &r, &e) < 0)
		return end_gone(t, "no greeting", &e);
	if (r.code != 220)
		return end_with(t, CLASS_NETWORK, "%s: %d %s", s->host, r.code,
		    r.text);
	if (greet(t) != FINE)
		return GONE;
	if (!s->implicit && t->link->offers.starttls && tls) {
		if (start_tls(t) != FINE)
			return GONE;
	}
	if (t->link->stream.ssl == NULL && !s->implicit && !may_be_plain(s))
		return end_with(t, CLASS_NETWORK, "%s: STARTTLS is not offered; "
		    "the handler's tls, or its password, needs it", s->host);
	return s->user != NULL ? log_in(t) : FINE;
}

/* Connect and come so far that a mail can follow. */
static int
begin(struct talk *t)
{
	struct mail_link *link = t->link;
	const struct mail_server *s = t->server;
	bool tls = s->tls != MAIL_TLS_OFF;
	struct err e;

	for (;;) {
		link->mails = 0;
		link->dirty = link->tls_failed = false;
		if (stream_connect(&link->stream, s->host, s->port,
		    end_of(t, MAIL_CONNECT), &e) < 0)
			return end_with(t, CLASS_NETWORK, "%s", e.msg);
		if (introduce(t, tls) == FINE)
			return FINE;
		mail_hang_up(t->server);
		/* Encrypted if it can be; so one that cannot is no obstacle. */
		if (!link->tls_failed || s->implicit || !may_be_plain(s) || !tls)
			return GONE;
		tls = false;
		t->end->class = CLASS_NONE;
	}
}

/*
 * A transaction: MAIL, RCPT for each, DATA, the mail
 */

/* The k-th command of it. */
static int
put_step(struct talk *t, size_t k, struct err *e)
{
	const struct mail_order *o = t->order;
	char line[600], size[40] = "";

	if (t->link->offers.sizes)
		snprintf(size, sizeof(size), " SIZE=%zu", o->message->len);
	if (k == 0)
		snprintf(line, sizeof(line), "MAIL FROM:<%s>%s%s\r\n", o->from, size,
		    o->utf8 ? " BODY=8BITMIME SMTPUTF8" : "");
	else if (k <= t->ntried)
		snprintf(line, sizeof(line), "RCPT TO:<%s>\r\n",
		    o->recipients[t->tried[k - 1]].address);
	else
		strlcpy(line, "DATA\r\n", sizeof(line));
	return put(t, line, strlen(line), e);
}

static bool
take_recipient(struct recipient *r, const struct reply *reply)
{
	r->code = reply->code;
	free(r->text);
	r->text = xstrdup(reply->text);
	r->state = reply->code < 300 ? RECIPIENT_ACCEPTED :
	    reply->code < 500 ? RECIPIENT_DEFERRED : RECIPIENT_REFUSED;
	return r->state == RECIPIENT_ACCEPTED;
}

/*
 * The envelope. FINE: the server waits for the mail; REFUSED: it does not
 * want it, and either a recipient or the end says why.
 */
static int
send_envelope(struct talk *t)
{
	size_t steps = t->ntried + 2, accepted = 0;
	size_t window = t->link->offers.pipelining ? BATCH : 1;
	struct reply r = { .code = 0 };
	struct err e;
	int rc = FINE;

	for (size_t k = 0, next; k < steps && rc == FINE; k = next) {
		next = k + window < steps ? k + window : steps;
		if (k == steps - 1 && accepted == 0)
			return REFUSED;
		for (size_t i = k; i < next; i++)
			if (put_step(t, i, &e) < 0)
				return end_gone(t, "envelope", &e);
		if (flush(t, &e) < 0)
			return end_gone(t, "envelope", &e);
		for (; k < next; k++) {
			if (hear(t, k == steps - 1 ? MAIL_DATA : MAIL_COMMAND, &r,
			    &e) < 0)
				return end_gone(t, k == 0 ? "MAIL" :
				    k == steps - 1 ? "DATA" : "RCPT", &e);
			t->answered = k > 0 || r.code != 421;
			/* Not about the mail: it leaves. */
			if (r.code == 421)
				return end_leaving(t, &r);
			if (k == 0 && r.code >= 300)
				rc = end_refused(t, "sender", &r);
			else if (k > 0 && k < steps - 1 && rc == FINE)
				accepted += take_recipient(&t->order->recipients[
				    t->tried[k - 1]], &r);
		}
	}
	if (r.code == 354 && accepted > 0)
		return FINE;
	if (rc == FINE && accepted > 0)
		return end_refused(t, "mail", &r);
	/* It waits for a mail of which it has refused all there is to it; an empty
	 * one would end that, and might be delivered. */
	if (r.code == 354)
		stream_close(&t->link->stream, false);
	return REFUSED;
}

/* A dot more where a line begins with one. */
static int
put_message(struct talk *t, struct err *e)
{
	const char *from = t->order->message->data;
	const char *end = from + t->order->message->len, *dot;

	while ((dot = memmem(from, (size_t)(end - from), "\r\n.", 3)) != NULL) {
		dot += 2;
		if (put(t, from, (size_t)(dot - from), e) < 0 ||
		    put(t, "..", 2, e) < 0)
			return -1;
		from = dot + 1;
	}
	return put(t, from, (size_t)(end - from), e) < 0 || flush(t, e) < 0 ?
	    -1 : 0;
}

/* It has closed in the midst of a mail; it may have said why. */
static int
end_in_transfer(struct talk *t, struct err *e)
{
	struct reply r;
	struct err none;

	if (read_reply(&t->link->stream, mono_now() + LAST_WORD, &r, NULL,
	    &none) < 0 || r.code < 400)
		return end_gone(t, "sending the mail", e);
	stream_close(&t->link->stream, false);
	end_refused(t, "mail", &r);
	return GONE;
}

static int
send_message(struct talk *t)
{
	struct reply r;
	struct err e;

	/* The last line by itself: without it there is no mail, whatever the
	 * server has got. */
	if (put_message(t, &e) < 0)
		return end_in_transfer(t, &e);
	if (put(t, ".\r\n", 3, &e) < 0 || flush(t, &e) < 0)
		return end_in_transfer(t, &e);
	if (hear(t, MAIL_END, &r, &e) < 0) {
		stream_close(&t->link->stream, false);
		t->end->ambiguous = true;
		return end_with(t, CLASS_NETWORK, "%s did not confirm that it "
		    "has the mail (%s); the next attempt may deliver it twice, "
		    "under the same Message-ID", t->server->host, e.msg);
	}
	t->link->dirty = false;
	return r.code < 300 ? FINE : end_refused(t, "mail", &r);
}

/* Nobody has it: those who were to get it are open for another attempt. */
static void
undo_accepted(struct talk *t)
{
	for (size_t i = 0; i < t->ntried; i++) {
		struct recipient *r = &t->order->recipients[t->tried[i]];

		if (r->state != RECIPIENT_ACCEPTED)
			continue;
		r->state = RECIPIENT_DEFERRED;
		r->code = 0;
		free(r->text);
		r->text = NULL;
	}
}

static int
transact(struct talk *t)
{
	int rc;

	t->ntried = 0;
	for (size_t i = 0; i < t->order->n; i++)
		if (t->order->recipients[i].state == RECIPIENT_OPEN)
			t->tried[t->ntried++] = i;
	t->link->mails++;
	t->link->dirty = true;
	rc = send_envelope(t);
	if (rc == FINE)
		rc = send_message(t);
	if (rc != FINE)
		undo_accepted(t);
	return rc;
}

/* "Too many for one transaction": they get one of their own. */
static bool
open_again(struct talk *t)
{
	bool any = false;

	for (size_t i = 0; i < t->ntried; i++) {
		struct recipient *r = &t->order->recipients[t->tried[i]];

		if (r->state != RECIPIENT_DEFERRED || r->code != 452 ||
		    strncmp(r->text, "4.5.3", 5) != 0)
			continue;
		r->state = RECIPIENT_OPEN;
		any = true;
	}
	return any;
}

/*
 * The connection, from one mail to the next
 */

bool
mail_is_connected(const struct mail_server *s)
{
	return s->link != NULL && s->link->stream.fd >= 0;
}

void
mail_hang_up(struct mail_server *s)
{
	struct stream *stream = &s->link->stream;
	mono_t until = mono_now() + GOODBYE;
	struct reply r;
	struct err e;

	if (stream->fd < 0)
		return;
	buf_reset(&stream->out);
	if (!stream_has_news(stream) &&
	    stream_put(stream, "QUIT\r\n", 6, GOODBYE, until, &e) == 0 &&
	    stream_flush(stream, GOODBYE, until, &e) == 0)
		read_reply(stream, until, &r, NULL, &e);
	stream_close(stream, true);
}

/* Whether the connection of the mail before can take this one. */
static bool
reuse(struct talk *t)
{
	struct mail_link *link = t->link;
	struct reply r;
	struct err e;

	if (link->stream.fd < 0)
		return false;
	/* A server that has something to say says that it leaves. */
	if (link->mails >= t->server->mails_max ||
	    mono_now() - link->idle_since >= t->server->idle_max ||
	    stream_has_news(&link->stream)) {
		mail_hang_up(t->server);
		return false;
	}
	if (link->dirty && (command(t, "RSET", &r, &e) < 0 || r.code != 250)) {
		stream_close(&link->stream, false);
		return false;
	}
	return true;
}

/* What this server does not take, so that it need not be asked. */
static bool
is_beyond_server(struct talk *t)
{
	size_t size = t->order->message->len, max = t->link->offers.size_max;

	if (max > 0 && size > max)
		end_with(t, CLASS_VALIDATION, "the mail has %zu bytes, %s takes "
		    "%zu", size, t->server->host, max);
	else if (t->order->utf8 && !t->link->offers.utf8)
		end_with(t, CLASS_VALIDATION, "%s takes no addresses beyond ASCII "
		    "(SMTPUTF8); a domain can be written as xn--…",
		    t->server->host);
	return t->end->class != CLASS_NONE;
}

static void
deliver(struct talk *t)
{
	for (bool again = true;; again = false) {
		bool reused = reuse(t);
		int rc;

		if (!reused && begin(t) != FINE)
			return;
		if (is_beyond_server(t))
			return;
		do
			rc = transact(t);
		while (rc == FINE && open_again(t));
		if (rc != GONE || t->answered || !reused || !again)
			return;
		/* It was closed while nobody used it. */
		t->end->class = CLASS_NONE;
	}
}

void
mail_send(struct mail_server *server, const struct mail_order *order,
    struct mail_end *end)
{
	struct talk t = {
		.server = server, .link = server->link, .order = order,
		.end = end, .tried = xcalloc(order->n, sizeof(size_t)),
	};

	memset(end, 0, sizeof(*end));
	end->class = CLASS_NONE;
	deliver(&t);
	free(t.tried);
	t.link->idle_since = mono_now();
	if (t.link->mails >= server->mails_max)
		mail_hang_up(server);
}
