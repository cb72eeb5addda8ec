/*
 * Delivery of one mail by libesmtp: see mail.h.
 *
 * libesmtp connects by itself, without a time-out, and speaks no TLS from the
 * first byte. So the connection is made here, and handed over by a detour:
 * libesmtp is told to connect to a socket that listens on loopback in this
 * process (the door), which the kernel completes at once; the moment it has
 * connected it calls back, and its descriptor is replaced by ours.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stddef.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <auth-client.h>
#include <libesmtp.h>

#include "base/mono.h"
#include "base/utf8.h"
#include "base/xalloc.h"
#include "driver/mail.h"
#include "driver/tunnel.h"

#define TEXT_MAX 500		/* of an answer */
#define FD_SEARCH 4096
#define DOOR_WAIT_MS 1000	/* for the kernel, on loopback */
#define REPLY_AMBIGUOUS 354	/* the server has it all, and said no more */

/* One session, while it lasts. */
struct session {
	const struct mail_server *server;
	int fd;				/* our connection, until it is handed over */
	int door;
	bool handed_over;
	const struct buf *message;
	size_t given;			/* of the message */
	bool auth_refused;
	bool in_auth;			/* AUTH was the last command */
	int reply;			/* the last answer's code */
	char text[TEXT_MAX + 1];	/* and text */
};

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

/* The certificate is checked by OpenSSL itself, its host name included, while
 * hands are shaken: only where TLS is required, else anybody could say none. */
static int
set_verification(const struct mail_server *s, SSL_CTX *ctx, struct err *e)
{
	X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);
	unsigned char ip[sizeof(struct in6_addr)];
	bool is_ip = inet_pton(AF_INET, s->host, ip) == 1 ||
	    inet_pton(AF_INET6, s->host, ip) == 1;

	if (s->ca_file != NULL ?
	    SSL_CTX_load_verify_locations(ctx, s->ca_file, NULL) != 1 :
	    SSL_CTX_set_default_verify_paths(ctx) != 1)
		return tls_error(s->ca_file ? s->ca_file :
		    "the system's certificates", e);
	if ((is_ip ? X509_VERIFY_PARAM_set1_ip_asc(param, s->host) :
	    X509_VERIFY_PARAM_set1_host(param, s->host, 0)) != 1)
		return tls_error("host name", e);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	return 0;
}

int
mail_open(struct mail_server *s, struct err *e)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	auth_client_init();
	if (ctx == NULL)
		return tls_error("TLS", e);
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	/* With TLS 1.3 a server sends tickets after the handshake; libesmtp
	 * takes them for the answer to a command it has not sent yet, and
	 * waits. The tunnel of smtps does not mind. */
	if (!s->implicit)
		SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
	if ((s->implicit || s->tls == MAIL_TLS_REQUIRED) &&
	    set_verification(s, ctx, e) < 0) {
		SSL_CTX_free(ctx);
		return -1;
	}
	s->ctx = ctx;
	return 0;
}

void
mail_close(struct mail_server *s)
{
	SSL_CTX_free(s->ctx);
	if (s->password != NULL)
		explicit_bzero(s->password, strlen(s->password));
	free(s->host);
	free(s->port);
	free(s->user);
	free(s->password);
	free(s->hostname);
	memset(s, 0, sizeof(*s));
	auth_client_exit();
}

/*
 * The connection
 */

/* Connected within the time, or -1: errno. */
static int
connect_in_time(const struct addrinfo *to, mono_t until)
{
	int fd = socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC |
	    SOCK_NONBLOCK, to->ai_protocol);
	int problem = 0;
	socklen_t len = sizeof(problem);
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	if (fd < 0)
		return -1;
	/* The last command of a batch would wait for the answer to the first. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
		return fd;
	if (errno == EINPROGRESS) {
		mono_t left = until - mono_now();
		int n = poll(&p, 1, left > 0 ? (int)(left / MONO_MS) : 0);

		if (n == 0)
			problem = ETIMEDOUT;
		else if (n < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem,
		    &len) < 0)
			problem = errno;
	} else {
		problem = errno;
	}
	if (problem == 0)
		return fd;
	close(fd);
	errno = problem;
	return -1;
}

/* Each address gets its share of the time, so that one that is dead leaves
 * some to the next. */
static int
dial(const struct mail_server *s, int wait_ms, struct err *e)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM,
	}, *all, *a;
	mono_t end = mono_now() + wait_ms * MONO_MS;
	int fd = -1, left = 0, rc;

	rc = getaddrinfo(s->host, s->port, &hints, &all);
	if (rc != 0)
		return err_set(e, "cannot find %s: %s", s->host,
		    rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
	for (a = all; a != NULL; a = a->ai_next)
		left++;
	errno = ETIMEDOUT;
	for (a = all; a != NULL && fd < 0; a = a->ai_next, left--) {
		mono_t now = mono_now();

		if (now >= end)
			break;
		fd = connect_in_time(a, now + (end - now) / left);
	}
	rc = errno;
	freeaddrinfo(all);
	errno = rc;
	if (fd < 0)
		return err_errno(e, "cannot connect to %s port %s", s->host,
		    s->port);
	return fd;
}

/* A socket on loopback that takes one connection. */
static int
open_door(char *hostport, size_t size, struct err *e)
{
	struct sockaddr_in at = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(fd, 1) < 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &len) < 0) {
		err_errno(e, "no socket on loopback");
		if (fd >= 0)
			close(fd);
		return -1;
	}
	snprintf(hostport, size, "127.0.0.1:%d", ntohs(at.sin_port));
	return fd;
}

static bool
is_bound_to(int fd, const struct sockaddr_in *who)
{
	struct sockaddr_in own;
	socklen_t len = sizeof(own);

	return getsockname(fd, (struct sockaddr *)&own, &len) == 0 &&
	    len == sizeof(own) && own.sin_family == AF_INET &&
	    own.sin_port == who->sin_port &&
	    own.sin_addr.s_addr == who->sin_addr.s_addr;
}

/* libesmtp has just connected to the door: our connection takes the place of
 * its descriptor, which is the one with the other end's address. */
static void
hand_over(struct session *s)
{
	struct sockaddr_in who;
	socklen_t len = sizeof(who);
	struct pollfd arrived = { .fd = s->door, .events = POLLIN };
	int other;

	/* connect() can return a moment before the listening side knows. */
	if (s->handed_over || poll(&arrived, 1, DOOR_WAIT_MS) != 1)
		return;
	other = accept4(s->door, (struct sockaddr *)&who, &len, SOCK_CLOEXEC);
	if (other < 0)
		return;
	for (int fd = 0; fd < FD_SEARCH; fd++)
		if (fd != other && is_bound_to(fd, &who)) {
			dup3(s->fd, fd, O_CLOEXEC);
			s->handed_over = true;
			break;
		}
	close(other);
	close(s->fd);
	s->fd = -1;
}

/*
 * What libesmtp calls
 */

static void
on_event(smtp_session_t session, int event, void *arg, ...)
{
	struct session *s = arg;
	va_list ap;
	int *ok = NULL;

	(void)session;
	va_start(ap, arg);
	switch (event) {
	case SMTP_EV_CONNECT:
		hand_over(s);
		break;
	case SMTP_EV_INVALID_PEER_CERTIFICATE:
		(void)va_arg(ap, long);
		ok = va_arg(ap, int *);
		break;
	case SMTP_EV_WEAK_CIPHER:
		(void)va_arg(ap, int);
		break;
	case SMTP_EV_NO_PEER_CERTIFICATE:
	case SMTP_EV_WRONG_PEER_CERTIFICATE:
	case SMTP_EV_NO_CLIENT_CERTIFICATE:
		ok = va_arg(ap, int *);
		break;
	}
	va_end(ap);
	/* It compares with the door's name; OpenSSL has compared with the
	 * server's, where that was wanted. */
	if (ok != NULL)
		*ok = 1;
}

/* The conversation, line by line: for what libesmtp does not tell. */
static void
on_line(const char *line, int len, int writing, void *arg)
{
	struct session *s = arg;
	size_t n = (size_t)(len > 0 ? len : 0);

	if (writing == SMTP_CB_HEADERS)
		return;
	if (writing) {
		if (n >= 5 && strncasecmp(line, "AUTH ", 5) == 0)
			s->in_auth = true;
		else if (n >= 5 && strncasecmp(line, "MAIL ", 5) == 0)
			s->in_auth = false;
		return;
	}
	while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
		n--;
	if (n < 3)
		return;
	s->reply = atoi(line);
	if (s->in_auth && s->reply >= 500)
		s->auth_refused = true;
	if (n > TEXT_MAX)
		n = TEXT_MAX;
	memcpy(s->text, line, n);
	s->text[n] = '\0';
	utf8_clean(s->text, n);
}

static const char *
on_message(void **ctx, int *len, void *arg)
{
	struct session *s = arg;
	size_t left;
	const char *from;

	(void)ctx;
	if (len == NULL) {
		s->given = 0;		/* from the start, please */
		return NULL;
	}
	left = s->message->len - s->given;
	if (left > 65536)
		left = 65536;
	from = s->message->data + s->given;
	s->given += left;
	*len = (int)left;
	return from;
}

static int
on_auth(auth_client_request_t request, char **result, int fields, void *arg)
{
	const struct mail_server *server = arg;

	for (int i = 0; i < fields; i++)
		if (request[i].flags & AUTH_PASS)
			result[i] = server->password ? server->password :
			    (char *)(uintptr_t)"";
		else if (request[i].flags & AUTH_USER)
			result[i] = server->user;
		else
			result[i] = (char *)(uintptr_t)"";
	return 1;
}

/*
 * A session
 */

/* All five, or one of them waits for minutes. */
static void
set_timeouts(smtp_session_t session, int ms)
{
	static const int phases[] = {
		Timeout_GREETING, Timeout_ENVELOPE, Timeout_DATA,
		Timeout_TRANSFER, Timeout_DATA2,
	};

	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++)
		smtp_set_timeout(session,
		    phases[i] | Timeout_OVERRIDE_RFC2822_MINIMUM, ms);
}

static auth_context_t
set_auth(smtp_session_t session, const struct mail_server *server)
{
	auth_context_t auth;

	if (server->user == NULL || (auth = auth_create_context()) == NULL)
		return NULL;
	auth_set_mechanism_flags(auth, AUTH_PLUGIN_PLAIN, 0);
	auth_set_interact_cb(auth, on_auth, (void *)(uintptr_t)server);
	smtp_auth_set_context(session, auth);
	return auth;
}

static void
set_tls(smtp_session_t session, const struct mail_server *server)
{
	enum starttls_option how = Starttls_DISABLED;

	if (!server->implicit && server->tls == MAIL_TLS_REQUIRED)
		how = Starttls_REQUIRED;
	else if (!server->implicit && server->tls == MAIL_TLS_OPPORTUNISTIC)
		/* A password never goes out in the clear unless tls is off. */
		how = server->user ? Starttls_REQUIRED : Starttls_ENABLED;
	smtp_starttls_enable(session, how);
	smtp_starttls_set_ctx(session, server->ctx);
}

/* An answer's text on one line; new, NULL: it has none. */
static char *
reply_text(const smtp_status_t *status)
{
	char *text = status->text ? xstrndup(status->text, TEXT_MAX) : NULL;
	size_t len = text ? strlen(text) : 0;

	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		text[--len] = '\0';
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ')
			text[i] = ' ';
	if (text != NULL)
		utf8_clean(text, len);
	return text;
}

static void
read_recipient(struct recipient *r, smtp_recipient_t from)
{
	const smtp_status_t *status = smtp_recipient_status(from);

	r->code = status->code;
	free(r->text);
	r->text = reply_text(status);
	if (r->code >= 500)
		r->state = RECIPIENT_REFUSED;
	else if (r->code >= 400)
		r->state = RECIPIENT_DEFERRED;
	else if (r->code >= 200 && r->code <= 299)
		r->state = RECIPIENT_ACCEPTED;	/* if the mail is */
}

static int
end_with(struct mail_end *end, enum job_class class, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(end->message, sizeof(end->message), fmt, ap);
	va_end(ap);
	end->class = class;
	return -1;
}

static enum job_class
class_of_reply(const struct session *s, int code)
{
	if (s->auth_refused || code == 530 || code == 534 || code == 535 ||
	    code == 538)
		return CLASS_AUTH;
	return code >= 500 ? CLASS_VALIDATION : CLASS_NETWORK;
}

static void
end_refused(const struct session *s, const char *what,
    const smtp_status_t *status, struct mail_end *end)
{
	char *text = reply_text(status);

	end_with(end, class_of_reply(s, status->code), "%s refused the %s: %d %s",
	    s->server->host, what, status->code, text ? text : "");
	free(text);
}

/* The session ended before the mail was handed in: why. */
static void
explain_failure(const struct session *s, struct mail_end *end)
{
	int number = smtp_errno();
	char text[256];

	if (s->auth_refused) {
		end_with(end, CLASS_AUTH, "%s: authentication refused: %s",
		    s->server->host, s->text);
	} else if (!s->handed_over) {
		end_with(end, CLASS_NETWORK, "%s: the connection could not be "
		    "handed over", s->server->host);
	} else if (number == SMTP_ERR_EXTENSION_NOT_AVAILABLE) {
		end_with(end, CLASS_NETWORK, "%s: STARTTLS is not offered; the "
		    "handler's tls, or its password, needs it", s->server->host);
	} else if (s->reply >= 400) {
		/* Not about this mail: it may be better later. */
		end_with(end, CLASS_NETWORK, "%s: %s", s->server->host, s->text);
	} else {
		smtp_strerror(number, text, sizeof(text));
		end_with(end, CLASS_NETWORK, "%s: %s%s%s", s->server->host, text,
		    s->text[0] ? ", after: " : "", s->text);
	}
}

/* Whether the server has refused each of them, for now or for ever. */
static bool
all_refused(const struct recipient *r, size_t n, const bool *tried)
{
	for (size_t i = 0; i < n; i++)
		if (tried[i] && (r[i].state == RECIPIENT_OPEN ||
		    r[i].state == RECIPIENT_ACCEPTED))
			return false;
	return true;
}

/* Nobody has it: those who were to get it are open for another attempt. */
static void
undo_accepted(struct recipient *r, size_t n, const bool *tried)
{
	for (size_t i = 0; i < n; i++)
		if (tried[i] && r[i].state == RECIPIENT_ACCEPTED)
			r[i].state = RECIPIENT_DEFERRED;
}

static void
judge(const struct session *s, smtp_message_t message, struct recipient *r,
    size_t n, const bool *tried, struct mail_end *end)
{
	const smtp_status_t *sender = smtp_reverse_path_status(message);
	const smtp_status_t *transfer = smtp_message_transfer_status(message);

	if (transfer->code >= 200 && transfer->code <= 299)
		return;
	if (all_refused(r, n, tried))
		return;			/* the recipients say it all */
	if (sender->code >= 400)
		end_refused(s, "sender", sender, end);
	else if (transfer->code == REPLY_AMBIGUOUS)
		end_with(end, CLASS_NETWORK, "%s did not confirm that it has the "
		    "mail; the next attempt may deliver it twice, under the same "
		    "Message-ID", s->server->host);
	else if (transfer->code >= 400)
		end_refused(s, "mail", transfer, end);
	else
		explain_failure(s, end);
	undo_accepted(r, n, tried);
}

static void
converse(struct session *s, const char *hostport, const char *from,
    struct recipient *r, size_t n, int phase_ms, struct mail_end *end)
{
	smtp_session_t session = smtp_create_session();
	smtp_message_t message = smtp_add_message(session);
	smtp_recipient_t *handles = xcalloc(n, sizeof(smtp_recipient_t));
	bool *tried = xcalloc(n, sizeof(bool));
	auth_context_t auth = set_auth(session, s->server);

	smtp_set_server(session, hostport);
	if (s->server->hostname != NULL)
		smtp_set_hostname(session, s->server->hostname);
	set_timeouts(session, phase_ms);
	set_tls(session, s->server);
	smtp_set_eventcb(session, on_event, s);
	smtp_set_monitorcb(session, on_line, s, 0);
	smtp_set_reverse_path(message, from);
	smtp_set_messagecb(message, on_message, s);
	smtp_size_set_estimate(message, s->message->len);
	for (size_t i = 0; i < n; i++) {
		tried[i] = r[i].state == RECIPIENT_OPEN;
		if (tried[i])
			handles[i] = smtp_add_recipient(message, r[i].address);
	}
	smtp_start_session(session);
	for (size_t i = 0; i < n; i++)
		if (tried[i])
			read_recipient(&r[i], handles[i]);
	judge(s, message, r, n, tried, end);
	smtp_destroy_session(session);
	if (auth != NULL)
		auth_destroy_context(auth);
	free(handles);
	free(tried);
}

void
mail_send(const struct mail_server *server, const char *from,
    struct recipient *r, size_t n, const struct buf *message, int phase_ms,
    struct mail_end *end)
{
	struct session s = {
		.server = server, .fd = -1, .door = -1, .message = message,
	};
	struct tunnel tunnel = { .pid = -1 };
	struct err e = { .code = ERR_NONE };
	char hostport[32];

	end->class = CLASS_NONE;
	end->message[0] = '\0';
	s.fd = dial(server, phase_ms, &e);
	if (s.fd >= 0 && server->implicit)
		s.fd = tunnel_open(&tunnel, server->ctx, server->host, s.fd,
		    phase_ms, &e);
	if (s.fd >= 0)
		s.door = open_door(hostport, sizeof(hostport), &e);
	if (s.door >= 0)
		converse(&s, hostport, from, r, n, phase_ms, end);
	else
		end_with(end, CLASS_NETWORK, "%s", e.msg);
	if (s.fd >= 0)
		close(s.fd);
	if (s.door >= 0)
		close(s.door);
	tunnel_close(&tunnel);
}
