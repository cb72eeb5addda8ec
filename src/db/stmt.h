/*
 * Statements name the schema by its usual name; this puts the configured one
 * in its place.
 */
#ifndef DB_STMT_H
#define DB_STMT_H

#define SCHEMA_DEFAULT "jobq"

/*
 * sql with every "jobq." that stands at the beginning of a word replaced by
 * schema, quoted as far as it needs to be. Statements are constants of this
 * program and have no such text in their strings. Caller frees.
 */
char *stmt_in_schema(const char *sql, const char *schema);

/* LISTEN on the channel, which is named as the schema is. Caller frees. */
char *stmt_listen(const char *schema);

#endif
