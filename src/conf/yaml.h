/*
 * YAML files to a tree of nodes, by libyaml's events. Inside conf/ only.
 */
#ifndef CONF_YAML_H
#define CONF_YAML_H

#include "conf/node.h"
#include "conf/sink.h"

#define TREE_DEPTH_MAX 64
#define TREE_FILE_MAX (1u << 20)	/* bytes of one file */
#define TREE_FILES_MAX 256		/* included ones, in all */
#define TREE_INCLUDE_MAX 8
#define TREE_TOTAL_MAX (8u << 20)	/* bytes of all files, and of all scalars */

struct tree {
	struct node *root;	/* a map; NULL when the tree is incomplete */
	char **files;		/* every file that was read; nodes point at them */
	size_t nfiles;
};

/*
 * Read a file and what its `include:` names, one tree of all. Each mistake is
 * complained of; the tree's root is NULL when one of them leaves too little
 * to go on with (no file, no YAML). Free the tree in either case.
 */
void tree_read(struct tree *, const char *path, struct conf_sink *);
/* A text by itself, as it stands: no variables in it, nothing included. file:
 * what it is called. */
void tree_parse(struct tree *, const char *file, const char *text,
    struct conf_sink *);
void tree_free(struct tree *);

#endif
