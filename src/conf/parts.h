/*
 * What the table of keys calls for keys that are more than one value, and
 * what is wrong with texts. Inside conf/ only.
 */
#ifndef CONF_PARTS_H
#define CONF_PARTS_H

#include "conf/dump.h"
#include "conf/keys.h"

/* check.c: what is wrong with a text, or NULL. */
const char *check_not_empty(const char *);
const char *check_own_log(const char *);
const char *check_name(const char *);
const char *check_step_name(const char *);
const char *check_queue_name(const char *);
const char *check_node_name(const char *);
const char *check_timezone(const char *);
const char *check_database(const char *);
const char *check_schema(const char *);
const char *check_socket_directory(const char *);
const char *check_listen(const char *);
const char *check_mode(const char *);
const char *check_network(const char *);
const char *check_absolute(const char *);
const char *check_cron(const char *);
const char *check_path(const char *);
const char *check_path_or_tenant(const char *);
const char *check_event_part(const char *);
const char *check_header(const char *);
const char *check_webhook(const char *);
const char *check_mail_address(const char *);
const char *check_quiet(const char *);

/* policy.c: retry policies and scales of priorities. */
void policy_read_retries(struct key_reader *, const struct node_entry *, void *);
void policy_read_shape(struct key_reader *, const struct node_entry *, void *);
void policy_read_max(struct key_reader *, const struct node_entry *, void *);
void policy_read_on(struct key_reader *, const struct node_entry *, void *);
void policy_dump_shape(struct dump *, const struct key *, const void *);
void policy_dump_max(struct dump *, const struct key *, const void *);
void policy_dump_on(struct dump *, const struct key *, const void *);
/* What contradicts itself in a policy that was read. */
void policy_finish(struct key_reader *, const struct node_entry *, void *);
void policies_add_default(struct conf *);
void scale_read_names(struct key_reader *, const struct node_entry *, void *);
void scale_dump_names(struct dump *, const struct key *, const void *);
void scale_free_names(void *);
void scales_add_builtin(struct conf *);
/* A name of the scale or a number of it, as it is stored; -1: neither. */
int scale_priority(const struct priority_scale *, const char *text);

/* queue.c */
extern const struct key breaker_keys[];
void queue_read_later(struct key_reader *, const struct node_entry *, void *);
void queue_read_retry(struct key_reader *, const struct node_entry *, void *);
void queue_read_until(struct key_reader *, const struct node_entry *, void *);
void queue_read_breaker(struct key_reader *, const struct node_entry *, void *);
void queue_dump_handler(struct dump *, const struct key *, const void *);
void queue_dump_types(struct dump *, const struct key *, const void *);
void queue_dump_retry(struct dump *, const struct key *, const void *);
void queue_dump_until(struct dump *, const struct key *, const void *);
void queue_dump_breaker(struct dump *, const struct key *, const void *);
void queue_free_types(void *);
void queue_free_retry(void *);

/* section.c */
void conf_read_include(struct key_reader *, const struct node_entry *, void *);
void daemon_finish(struct key_reader *, const struct node_entry *, void *);
void database_finish(struct key_reader *, const struct node_entry *, void *);
void api_finish(struct key_reader *, const struct node_entry *, void *);
void limit_finish(struct key_reader *, const struct node_entry *, void *);
void handler_finish(struct key_reader *, const struct node_entry *, void *);
void handler_dump(struct dump *, const struct key *, const void *);
void schedule_read_cron(struct key_reader *, const struct node_entry *, void *);
void schedule_read_every(struct key_reader *, const struct node_entry *, void *);
void schedule_read_at(struct key_reader *, const struct node_entry *, void *);
void schedule_dump_spec(struct dump *, const struct key *, const void *);
void schedule_free_spec(void *);
void schedule_finish(struct key_reader *, const struct node_entry *, void *);

/*
 * link.c: what only all sections together can tell: names that point nowhere,
 * handlers' options, cycles. Sets the pointers between the parts.
 */
void conf_link(struct conf *, const struct conf_drivers *, struct conf_sink *);
/* queue.c: the part of it for one queue. */
void queue_link(struct conf *, struct queue_conf *, const struct node_entry *,
    struct conf_sink *);
/*
 * KEY: there is no WHAT "typed", with the nearest one, at the entry's place.
 * array: count structs of that size that begin with their names.
 */
void complain_missing(struct conf_sink *, const struct node_entry *,
    const char *key, const char *what, const char *typed, const void *array,
    size_t count, size_t size);

/* link.c: that the entry of that name is wrong so. */
void complain_entry(struct conf_sink *, const struct node_entry *,
    const char *why);
/* The queue that the map's key `queue` names, and whether it runs the type. */
void link_job(struct conf *, const char *queue, const char *type,
    const struct node_entry *at, struct conf_sink *);

/* What the map's key `priority` says, on the scale of that queue, which may be
 * NULL; -1: the queue's. */
int link_job_priority(const struct queue_conf *, const char *text,
    const struct node_entry *at, struct conf_sink *);

/* files.c: the secrets that conf_files() has read. */
void secrets_free(struct conf *);

/* encrypt.c: the keys of a queue; what is wrong with them is complained of at their
 * lines, and that they cannot be read at the entry. NULL: that was so. */
struct keyring *keyfile_read(const char *path, const struct node_entry *,
    struct conf_sink *);
const struct node_entry *encrypt_key_file(const struct conf *,
    const struct queue_conf *);		/* NULL: its jobs are not encrypted */
/* What cannot be, since the queue's jobs are encrypted: of its own keys, and of
 * a schedule's, a step's or the like, whose jobs have data of their own. */
void encrypt_check_queue(const struct queue_conf *, const struct node_entry *,
    struct conf_sink *);
void encrypt_check_data(const struct queue_conf *, const struct node_entry *at,
    const char *key, struct conf_sink *);

/*
 * tokens.c: all of a text file that nobody but its owner may read, of 1 MiB at
 * most; NULL: it is complained of at the entry. The caller's to free.
 */
char *private_text(const char *path, const struct node_entry *,
    struct conf_sink *);

/* channel.c: of all of them; makes conf->notices. */
void channels_link(struct conf *, const struct conf_drivers *, struct conf_sink *);
void channels_free(struct conf *);
/* The names under KEY:, from the nodes of list, are those of channels. */
void link_channels(const struct conf *, const struct node *list, const char *key,
    char *const *names, size_t n, struct conf_sink *);

/* workflow.c: of the entry of its name. */
void workflow_link(struct conf *, struct workflow_conf *,
    const struct node_entry *, struct conf_sink *);

#endif
