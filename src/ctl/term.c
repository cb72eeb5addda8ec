/*
 * A terminal as a screen: see term.h.
 */
#include "config.h"

#include <sys/ioctl.h>

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include "ctl/out.h"
#include "ctl/term.h"

#define ESCAPE_MS 50		/* after it alone, an escape is a key */
#define ROWS_MAX 500
#define COLUMNS_MAX 500

/* The alternate screen, without a cursor; and back. */
#define ENTER "\033[?1049h\033[?25l\033[2J"
#define LEAVE "\033[0m\033[?25h\033[?1049l"

static struct {
	struct termios before, during;
	sigset_t blocked, waiting;	/* the masks outside of a wait, and in it */
	int rows, columns;
	bool utf8, colour;
	char keys[64];			/* read and not told yet */
	size_t nkeys;
	struct buf frame;
	int row;
} term;
static volatile sig_atomic_t is_open;
static volatile sig_atomic_t got_size, got_stop, got_end;

static void take(void);
static void give_back(void);
static void measure(void);
static void suspend(void);
static void on_signal(int sig);
static void on_crash(int sig);
static void set_handler(int sig, void (*handler)(int), int flags);
static int next_key(void);
static int sequence(size_t *used);
static void put_clipped(const char *text, size_t columns, size_t *used);

bool
term_usable(void)
{
	const char *kind = getenv("TERM");

	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && kind != NULL &&
	    *kind != '\0' && strcmp(kind, "dumb") != 0;
}

int
term_open(struct err *e)
{
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT,
	    SIGQUIT };
	static const int taken[] = { SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGWINCH };
	const char *none = getenv("NO_COLOR");

	if (tcgetattr(STDIN_FILENO, &term.before) != 0)
		return err_set(e, "cannot use the terminal: %s", strerror(errno));
	setlocale(LC_CTYPE, "");
	term.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	term.colour = none == NULL || *none == '\0';
	term.during = term.before;
	term.during.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	term.during.c_iflag &= ~(tcflag_t)(ICRNL | IXON);
	term.during.c_cc[VMIN] = 1;
	term.during.c_cc[VTIME] = 0;
	sigemptyset(&term.blocked);
	for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++)
		sigaddset(&term.blocked, taken[i]);
	sigprocmask(SIG_BLOCK, &term.blocked, &term.waiting);
	for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++) {
		sigdelset(&term.waiting, taken[i]);
		set_handler(taken[i], on_signal, 0);
	}
	for (size_t i = 0; i < sizeof(crashes) / sizeof(*crashes); i++)
		set_handler(crashes[i], on_crash, (int)SA_RESETHAND);
	atexit(term_close);
	take();
	return 0;
}

void
term_close(void)
{
	if (!is_open)
		return;
	give_back();
	buf_clear(&term.frame);
	sigprocmask(SIG_UNBLOCK, &term.blocked, NULL);
}

void
term_die(void)
{
	int sig = got_end;

	give_back();
	if (sig == 0)
		return;
	set_handler(sig, SIG_DFL, 0);
	sigprocmask(SIG_UNBLOCK, &term.blocked, NULL);
	raise(sig);
}

int
term_rows(void)
{
	return term.rows;
}

int
term_columns(void)
{
	return term.columns;
}

bool
term_utf8(void)
{
	return term.utf8;
}

bool
term_colour(void)
{
	return term.colour;
}

int
term_wait(int fd, mono_t deadline)
{
	for (;;) {
		struct pollfd p[] = {
			{ .fd = STDIN_FILENO, .events = POLLIN },
			{ .fd = fd, .events = POLLIN },
		};
		mono_t left = deadline - mono_now();
		bool escape = term.nkeys > 0;	/* one, of which more may come */
		struct timespec t;
		ssize_t n;
		int key;

		if ((key = next_key()) != 0)
			return key;
		if (left < 0)
			left = 0;
		if (escape && left > ESCAPE_MS * MONO_MS)
			left = ESCAPE_MS * MONO_MS;
		t.tv_sec = left / MONO_SECOND;
		t.tv_nsec = left % MONO_SECOND * (1000000000 / MONO_SECOND);
		n = ppoll(p, 2, &t, &term.waiting);
		if (got_end)
			return TERM_END;
		if (got_stop) {
			suspend();
			return TERM_CHANGED;
		}
		if (got_size) {
			measure();
			return TERM_CHANGED;
		}
		if (n > 0 && p[0].revents != 0) {
			n = read(STDIN_FILENO, term.keys + term.nkeys,
			    sizeof(term.keys) - term.nkeys);
			if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
				return TERM_END;
			term.nkeys += n > 0 ? (size_t)n : 0;
		} else if (n > 0) {
			return TERM_READABLE;
		} else if (n == 0 && escape) {
			term.nkeys = 0;
			return TERM_ESCAPE;
		} else if (n == 0) {
			return TERM_TIME;
		}
	}
}

/* 0: there is none, or only the beginning of one. */
static int
next_key(void)
{
	size_t used = 1;
	int key;

	if (term.nkeys == 0)
		return 0;
	key = (unsigned char)term.keys[0];
	if (key == '\033' && (key = sequence(&used)) == 0) {
		/* A sequence that is longer than any is none. */
		if (term.nkeys == sizeof(term.keys))
			term.nkeys = 0;
		return 0;
	}
	term.nkeys -= used;
	memmove(term.keys, term.keys + used, term.nkeys);
	return key == '\r' ? '\n' : key == 0x7f ? '\b' : key;
}

/* What a terminal sends for keys that are no characters. An unknown one is
 * 0x80, which nobody knows. */
static int
sequence(size_t *used)
{
	static const struct {
		char text[4];
		int key;
	} known[] = {
		{ "A", TERM_UP }, { "B", TERM_DOWN }, { "C", TERM_RIGHT },
		{ "D", TERM_LEFT }, { "H", TERM_HOME }, { "F", TERM_LAST },
		{ "1~", TERM_HOME }, { "4~", TERM_LAST },
		{ "7~", TERM_HOME }, { "8~", TERM_LAST },
		{ "5~", TERM_PAGE_UP }, { "6~", TERM_PAGE_DOWN },
	};
	size_t i = 2, len;

	if (term.nkeys == 1)
		return 0;
	if (term.keys[1] == '\033' || (term.keys[1] != '[' &&
	    term.keys[1] != 'O'))
		return TERM_ESCAPE;	/* and the next one is another key */
	while (i < term.nkeys && (term.keys[i] < '@' || term.keys[i] > '~'))
		i++;
	if (i == term.nkeys)
		return 0;
	*used = i + 1;
	len = i - 1;
	for (size_t k = 0; k < sizeof(known) / sizeof(*known); k++)
		if (strlen(known[k].text) == len &&
		    memcmp(known[k].text, term.keys + 2, len) == 0)
			return known[k].key;
	return 0x80;
}

static void
put_raw(const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDOUT_FILENO, data, len);

		if (n < 0 && errno != EINTR)
			return;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
}

static void
take(void)
{
	tcsetattr(STDIN_FILENO, TCSADRAIN, &term.during);
	is_open = 1;
	put_raw(ENTER, sizeof(ENTER) - 1);
	measure();
}

/* Also called while the program crashes: nothing that may not be then. */
static void
give_back(void)
{
	if (!is_open)
		return;
	is_open = 0;
	put_raw(LEAVE, sizeof(LEAVE) - 1);
	tcsetattr(STDIN_FILENO, TCSANOW, &term.before);
}

static void
measure(void)
{
	struct winsize w = { 0 };

	got_size = 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0 || w.ws_row == 0 ||
	    w.ws_col == 0) {
		w.ws_row = 24;
		w.ws_col = 80;
	}
	term.rows = w.ws_row < ROWS_MAX ? w.ws_row : ROWS_MAX;
	term.columns = w.ws_col < COLUMNS_MAX ? w.ws_col : COLUMNS_MAX;
}

/* As if we did not take the signal: the shell has the terminal until CONT. */
static void
suspend(void)
{
	sigset_t stop;

	got_stop = 0;
	give_back();
	sigemptyset(&stop);
	sigaddset(&stop, SIGTSTP);
	set_handler(SIGTSTP, SIG_DFL, 0);
	raise(SIGTSTP);
	sigprocmask(SIG_UNBLOCK, &stop, NULL);	/* here it stops */
	sigprocmask(SIG_BLOCK, &stop, NULL);
	set_handler(SIGTSTP, on_signal, 0);
	take();
}

static void
on_signal(int sig)
{
	if (sig == SIGWINCH)
		got_size = 1;
	else if (sig == SIGTSTP)
		got_stop = 1;
	else
		got_end = sig;
}

static void
on_crash(int sig)
{
	give_back();
	raise(sig);	/* the default now; acts when this returns */
}

static void
set_handler(int sig, void (*handler)(int), int flags)
{
	struct sigaction a = { .sa_handler = handler, .sa_flags = flags };

	sigemptyset(&a.sa_mask);
	sigaction(sig, &a, NULL);
}

void
term_begin(void)
{
	buf_reset(&term.frame);
	buf_str(&term.frame, "\033[H");
	term.row = 0;
}

void
term_line(enum term_style style, const char *text)
{
	static const char *const starts[] = { "", "\033[1m", "\033[7m",
	    "\033[1;31m", "\033[2m" };
	struct buf clean = { 0 };
	size_t used = 0;
	bool styled = style != TERM_PLAIN &&
	    (term.colour || style == TERM_BOLD || style == TERM_CHOSEN);

	if (term.row >= term.rows)
		return;
	if (term.row++ > 0)
		buf_str(&term.frame, "\r\n");
	if (styled)
		buf_str(&term.frame, starts[style]);
	out_escape(&clean, text, false);
	put_clipped(clean.data == NULL ? "" : clean.data,
	    (size_t)term.columns, &used);
	if (style == TERM_CHOSEN)
		for (; used < (size_t)term.columns; used++)
			buf_char(&term.frame, ' ');
	buf_clear(&clean);
	if (styled)
		buf_str(&term.frame, "\033[0m");
	if (used < (size_t)term.columns)
		buf_str(&term.frame, "\033[K");
}

/* What was escaped is UTF-8 without control characters. */
static void
put_clipped(const char *text, size_t columns, size_t *used)
{
	size_t left = strlen(text);
	mbstate_t state = { 0 };

	while (left > 0) {
		wchar_t c;
		size_t n = term.utf8 ? mbrtowc(&c, text, left, &state) : 1;
		int width = 1;

		if (n == 0 || n > left)
			return;
		if (term.utf8)
			width = wcwidth(c);
		if (width > 0 && *used + (size_t)width > columns)
			return;
		if (width < 0 || (!term.utf8 && (unsigned char)*text >= 0x80)) {
			/* once for a character, not for each of its bytes */
			if (width >= 0 && ((unsigned char)*text & 0xc0) == 0x80)
				width = 0;
			else if (*used < columns) {
				buf_char(&term.frame, '?');
				width = 1;
			} else {
				return;
			}
		} else {
			buf_put(&term.frame, text, n);
		}
		*used += (size_t)width;
		text += n;
		left -= n;
	}
}

int
term_left(void)
{
	return term.rows - term.row;
}

void
term_at_end(void)
{
	while (term.row < term.rows - 1)
		term_line(TERM_PLAIN, "");
}

void
term_show(void)
{
	/* Not behind a full last line: it would lose its last character. */
	if (term.row < term.rows)
		buf_str(&term.frame, "\033[J");
	put_raw(term.frame.data, term.frame.len);
}
