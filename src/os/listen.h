/*
 * Sockets that listen: HOST:PORT, [ADDRESS]:PORT, *:PORT (every address), or
 * unix:PATH. Made by the master, before it gives up root; a child accepts.
 */
#ifndef OS_LISTEN_H
#define OS_LISTEN_H

#include <sys/types.h>

#include "base/err.h"
#include "os/address.h"

struct listener;

/*
 * Bind and listen. mode: the permissions of a unix socket, which is made
 * anew when nobody answers at the one that is there. Looking up a host's name
 * blocks; of its addresses one is taken, of IPv4 if there is any. ERR_BUSY:
 * the address is another's.
 */
struct listener *listener_open(const char *address, mode_t mode, struct err *e);
/* Closes it, and removes a unix socket that is still ours. NULL is fine. */
void listener_free(struct listener *);
int listener_fd(const struct listener *);	/* non-blocking, stays ours */
/* Give a unix socket to the user this process is going to be. */
int listener_chown(const struct listener *, uid_t, gid_t, struct err *e);

/* What is wrong with the text of an address, or NULL. */
const char *listener_check(const char *address);

/* A port of 127.0.0.1 that is free just now: the wanted one if it is, else any;
 * 0: none. */
int listen_free_port(int wanted);

/* Accept one: a non-blocking, close-on-exec descriptor, or -1 with errno. from:
 * who it is. */
int listen_accept(int fd, struct address *from);

#endif
