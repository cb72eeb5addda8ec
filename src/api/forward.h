/*
 * Who a request is from when proxies are between. Pure.
 */
#ifndef API_FORWARD_H
#define API_FORWARD_H

#include "api/http.h"
#include "os/address.h"

/* The field in which the proxies say who they have it from; each of them adds
 * to the one that is named here, and any client may send the other. */
enum forward_field { FORWARD_X, FORWARD_STANDARD };

struct forward_options {
	const struct network *trusted;	/* proxies that say the truth */
	size_t ntrusted;
	enum forward_field field;
};

bool forward_is_trusted(const struct forward_options *, const struct address *);
/*
 * The client's address: the last one that no trusted proxy has, of the peer's
 * and those that X-Forwarded-For or Forwarded tell. is_secure: whether the
 * client's own connection had TLS, as a trusted peer says; left alone when it
 * does not say.
 */
struct address forward_client(const struct forward_options *,
    const struct http_request *, const struct address *peer, bool *is_secure);

#endif
