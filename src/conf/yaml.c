/*
 * YAML files to a tree of nodes. Only what a configuration needs: no aliases,
 * no tags, one document a file; depth, size and number of files are capped.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <yaml.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/xalloc.h"
#include "conf/conf.h"
#include "conf/expand.h"
#include "conf/yaml.h"

/* One file on the way from the main one to the one being read. */
struct opened {
	const struct opened *by;	/* the file that includes this one */
	dev_t dev;
	ino_t ino;
	int depth;
};

struct reader {
	struct tree *tree;
	struct conf_sink *sink;
	size_t file_bytes;
	size_t scalar_bytes;
	bool literal;		/* variables are not replaced */
	bool broken;		/* the tree is incomplete */
};

struct document {
	struct reader *r;
	const char *file;
	yaml_parser_t parser;
};

static struct node *read_file(struct reader *, const char *path,
    const struct node_entry *from, const struct opened *by);
static int slurp(const char *path, struct buf *, struct stat *, struct err *);
static bool is_loop(const struct opened *, const struct stat *);
static struct node *parse(struct reader *, const char *file, const struct buf *);
static struct node *build_root(struct document *);
static struct node *build(struct document *, yaml_event_t *, int depth);
static struct node *build_scalar(struct document *, const yaml_event_t *);
static bool build_list(struct document *, struct node *, int depth);
static bool build_map(struct document *, struct node *, int depth);
static bool build_value(struct document *, struct node_entry *, int depth);
static bool next_event(struct document *, yaml_event_t *);
static void complain_syntax(struct document *);
static void refuse_extras(struct document *, const yaml_event_t *);
static struct node *node_new(struct document *, enum node_kind,
    const yaml_mark_t *);
static struct node_entry *add_entry(struct node *);
static void include_all(struct reader *, struct node *root,
    const struct opened *);
static void include_pattern(struct reader *, struct node *root,
    const struct node_entry *, const struct opened *);
static char *relative_to(const char *file, const char *pattern);
static void merge(struct node *root, struct node *sub);
static void merge_entry(struct node *root, struct node_entry *);
static void complain_twice(struct conf_sink *, const struct node *);
static int by_key(const void *, const void *);

static void
broken(struct reader *r, const char *file, const yaml_mark_t *mark,
    const char *why)
{
	conf_complain(r->sink, file, (int)mark->line + 1, (int)mark->column + 1,
	    "%s", why);
	r->broken = true;
}

static void
node_free(struct node *n)
{
	if (n == NULL)
		return;
	for (size_t i = 0; i < n->count; i++) {
		free(n->entries[i].key);
		node_free(n->entries[i].value);
	}
	free(n->entries);
	if (n->text != NULL)
		explicit_bzero(n->text, strlen(n->text));
	free(n->text);
	free(n);
}

void
tree_read(struct tree *tree, const char *path, struct conf_sink *sink)
{
	struct reader r = { .tree = tree, .sink = sink };

	memset(tree, 0, sizeof(*tree));
	sink_file(sink, path);
	tree->root = read_file(&r, path, NULL, NULL);
	if (tree->root == NULL)
		return;
	complain_twice(sink, tree->root);
	for (size_t i = 0; i < tree->root->count; i++)
		complain_twice(sink, tree->root->entries[i].value);
	if (r.broken) {
		node_free(tree->root);
		tree->root = NULL;
	}
}

void
tree_parse(struct tree *tree, const char *file, const char *text,
    struct conf_sink *sink)
{
	struct reader r = { .tree = tree, .sink = sink, .literal = true };
	struct buf b = { 0 };

	tree->files = xcalloc(1, sizeof(*tree->files));
	tree->files[0] = xstrdup(file);
	tree->nfiles = 1;
	buf_str(&b, text);
	tree->root = parse(&r, tree->files[0], &b);
	buf_clear(&b);
	if (tree->root != NULL)
		complain_twice(sink, tree->root);
}

void
tree_free(struct tree *tree)
{
	node_free(tree->root);
	for (size_t i = 0; i < tree->nfiles; i++)
		free(tree->files[i]);
	free(tree->files);
	memset(tree, 0, sizeof(*tree));
}

/* from: the include that names the file; NULL for the main one. */
static struct node *
read_file(struct reader *r, const char *path, const struct node_entry *from,
    const struct opened *by)
{
	struct tree *tree = r->tree;
	const char *file = from ? from->file : path;
	int line = from ? from->line : 1, column = from ? from->column : 1;
	struct opened me = { .by = by, .depth = by ? by->depth + 1 : 0 };
	struct buf text = { 0 };
	struct node *root = NULL;
	struct err e;
	struct stat st;

	if (slurp(path, &text, &st, &e) != 0) {
		conf_complain(r->sink, file, line, column, "%s", e.msg);
	} else if (is_loop(by, &st)) {
		conf_complain(r->sink, file, line, column,
		    "%s includes itself", path);
	} else if (tree->nfiles == TREE_FILES_MAX ||
	    r->file_bytes + text.len > TREE_TOTAL_MAX ||
	    me.depth > TREE_INCLUDE_MAX) {
		conf_complain(r->sink, file, line, column,
		    "%s: too much to include: at most %d files, %d deep, "
		    "%u MiB", path, TREE_FILES_MAX, TREE_INCLUDE_MAX,
		    TREE_TOTAL_MAX >> 20);
	} else {
		me.dev = st.st_dev;
		me.ino = st.st_ino;
		r->file_bytes += text.len;
		tree->files = xreallocarray(tree->files, tree->nfiles + 1,
		    sizeof(*tree->files));
		file = tree->files[tree->nfiles++] = xstrdup(path);
		sink_file(r->sink, file);
		root = parse(r, file, &text);
	}
	buf_clear(&text);
	if (root == NULL) {
		r->broken = true;
		return NULL;
	}
	complain_twice(r->sink, root);
	include_all(r, root, &me);
	return root;
}

static int
slurp(const char *path, struct buf *text, struct stat *st, struct err *e)
{
	char chunk[16384];
	ssize_t n;
	int fd;

	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return err_errno(e, "cannot open %s", path);
	if (fstat(fd, st) != 0) {
		err_errno(e, "cannot read %s", path);
		close(fd);
		return -1;
	}
	while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			err_errno(e, "cannot read %s", path);
			break;
		}
		buf_put(text, chunk, (size_t)n);
		if (text->len > TREE_FILE_MAX) {
			err_set(e, "%s is larger than %u KiB", path,
			    TREE_FILE_MAX >> 10);
			n = -1;
			break;
		}
	}
	close(fd);
	return n == 0 ? 0 : -1;
}

static bool
is_loop(const struct opened *o, const struct stat *st)
{
	/* What is no regular file (a pipe) cannot be read twice anyway. */
	for (; o != NULL && S_ISREG(st->st_mode); o = o->by)
		if (o->dev == st->st_dev && o->ino == st->st_ino)
			return true;
	return false;
}

/* The file's map; NULL when it is no YAML or no map. */
static struct node *
parse(struct reader *r, const char *file, const struct buf *text)
{
	struct document d = { .r = r, .file = file };
	struct node *root;

	if (!yaml_parser_initialize(&d.parser)) {
		conf_complain(r->sink, file, 1, 1, "out of memory");
		return NULL;
	}
	yaml_parser_set_input_string(&d.parser,
	    (const unsigned char *)(text->data ? text->data : ""), text->len);
	root = build_root(&d);
	yaml_parser_delete(&d.parser);
	return root;
}

static struct node *
build_root(struct document *d)
{
	yaml_mark_t start = { 0 };
	struct node *root = NULL;
	yaml_event_t event;
	bool done = false;

	while (!done) {
		if (!next_event(d, &event)) {
			node_free(root);
			return NULL;
		}
		if (event.type == YAML_STREAM_END_EVENT) {
			done = true;
		} else if (event.type == YAML_DOCUMENT_START_EVENT &&
		    root != NULL) {
			broken(d->r, d->file, &event.start_mark,
			    "a second document; only one is allowed in a file");
			done = true;
		} else if (event.type != YAML_STREAM_START_EVENT &&
		    event.type != YAML_DOCUMENT_START_EVENT &&
		    event.type != YAML_DOCUMENT_END_EVENT) {
			root = build(d, &event, 0);
			if (root == NULL)
				done = true;
		}
		yaml_event_delete(&event);
	}
	if (root == NULL && !d->r->broken)
		return node_new(d, NODE_MAP, &start);	/* an empty file */
	if (root != NULL && root->kind == NODE_SCALAR && !root->quoted &&
	    *root->text == '\0')
		root->kind = NODE_MAP;
	if (root != NULL && root->kind != NODE_MAP) {
		conf_complain(d->r->sink, root->file, root->line, root->column,
		    "the file is no map of sections (\"queues:\" and so on)");
		node_free(root);
		root = NULL;
	}
	return root;
}

/* The node that begins with this event; NULL: complained, no use to go on. */
static struct node *
build(struct document *d, yaml_event_t *event, int depth)
{
	struct node *n;
	bool good = true;

	if (depth > TREE_DEPTH_MAX) {
		broken(d->r, d->file, &event->start_mark, "nested too deeply");
		return NULL;
	}
	refuse_extras(d, event);
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return build_scalar(d, event);
	case YAML_SEQUENCE_START_EVENT:
		n = node_new(d, NODE_LIST, &event->start_mark);
		good = build_list(d, n, depth);
		break;
	case YAML_MAPPING_START_EVENT:
		n = node_new(d, NODE_MAP, &event->start_mark);
		good = build_map(d, n, depth);
		break;
	default:	/* an alias, already complained of */
		n = node_new(d, NODE_SCALAR, &event->start_mark);
		n->text = xstrdup("");
		n->broken = true;
	}
	if (!good) {
		node_free(n);
		return NULL;
	}
	return n;
}

static struct node *
build_scalar(struct document *d, const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;
	struct node *n = node_new(d, NODE_SCALAR, &event->start_mark);
	struct buf out = { 0 };
	struct err e;

	buf_put(&out, "", 0);
	n->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	n->broken = strlen(text) != event->data.scalar.length;
	if (n->broken)
		err_set(&e, "a NUL character cannot be used");
	else if (d->r->literal)
		buf_str(&out, text);
	else
		n->broken = expand(&out, text, &e) != 0;
	if (n->broken) {
		conf_complain(d->r->sink, n->file, n->line, n->column, "%s",
		    e.msg);
		buf_reset(&out);
	}
	d->r->scalar_bytes += out.len;
	n->text = buf_detach(&out);
	if (d->r->scalar_bytes > TREE_TOTAL_MAX) {
		broken(d->r, d->file, &event->start_mark,
		    "too much text once the variables are in");
		node_free(n);
		return NULL;
	}
	return n;
}

static bool
build_list(struct document *d, struct node *list, int depth)
{
	for (;;) {
		struct node_entry *entry;
		yaml_event_t event;
		bool good;

		if (!next_event(d, &event))
			return false;
		if (event.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&event);
			return true;
		}
		entry = add_entry(list);
		entry->value = build(d, &event, depth + 1);
		good = entry->value != NULL;
		if (good) {
			entry->file = entry->value->file;
			entry->line = entry->value->line;
			entry->column = entry->value->column;
		}
		yaml_event_delete(&event);
		if (!good)
			return false;
	}
}

static bool
build_map(struct document *d, struct node *map, int depth)
{
	for (;;) {
		struct node_entry *entry, none = { 0 };
		struct node *key;
		yaml_event_t event;
		bool good;

		if (!next_event(d, &event))
			return false;
		if (event.type == YAML_MAPPING_END_EVENT) {
			yaml_event_delete(&event);
			/* Of the first two levels other files may add to:
			 * looked at when all are together. */
			if (depth > 1)
				complain_twice(d->r->sink, map);
			return true;
		}
		key = build(d, &event, depth + 1);
		yaml_event_delete(&event);
		if (key == NULL)
			return false;
		entry = key->kind == NODE_SCALAR ? add_entry(map) : &none;
		entry->file = key->file;
		entry->line = key->line;
		entry->column = key->column;
		if (key->kind == NODE_SCALAR)
			entry->key = xstrdup(key->text);
		else
			conf_complain(d->r->sink, key->file, key->line,
			    key->column, "a key must be a word");
		node_free(key);
		good = build_value(d, entry, depth + 1);
		node_free(none.value);
		if (!good)
			return false;
	}
}

static bool
build_value(struct document *d, struct node_entry *entry, int depth)
{
	yaml_event_t event;

	if (!next_event(d, &event))
		return false;
	entry->value = build(d, &event, depth);
	yaml_event_delete(&event);
	return entry->value != NULL;
}

static bool
next_event(struct document *d, yaml_event_t *event)
{
	if (yaml_parser_parse(&d->parser, event))
		return true;
	complain_syntax(d);
	return false;
}

static void
complain_syntax(struct document *d)
{
	const yaml_parser_t *p = &d->parser;
	const yaml_mark_t *mark = &p->problem_mark;
	const char *problem = p->problem ? p->problem : "no YAML";
	char why[512];

	if (p->error == YAML_READER_ERROR)
		/* Only an offset is known of a byte that is no character. */
		snprintf(why, sizeof(why), "%s (byte %zu of the file)", problem,
		    p->problem_offset);
	else if (p->context != NULL)
		snprintf(why, sizeof(why), "%s, %s that began on line %zu",
		    problem, p->context, p->context_mark.line + 1);
	else
		snprintf(why, sizeof(why), "%s", problem);
	if (strstr(why, "cannot start any token") != NULL)
		strncat(why, "; indent with spaces, and quote a text that "
		    "begins with @ ` or %", sizeof(why) - strlen(why) - 1);
	broken(d->r, d->file, p->error == YAML_READER_ERROR ? &p->mark : mark,
	    why);
}

static void
refuse_extras(struct document *d, const yaml_event_t *event)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;
	const char *what = NULL;

	if (event->type == YAML_SCALAR_EVENT) {
		anchor = event->data.scalar.anchor;
		tag = event->data.scalar.tag;
	} else if (event->type == YAML_SEQUENCE_START_EVENT) {
		anchor = event->data.sequence_start.anchor;
		tag = event->data.sequence_start.tag;
	} else if (event->type == YAML_MAPPING_START_EVENT) {
		anchor = event->data.mapping_start.anchor;
		tag = event->data.mapping_start.tag;
	}
	if (event->type == YAML_ALIAS_EVENT || anchor != NULL)
		what = "anchors and aliases (& and *) are not supported; "
		    "quote a text that begins so";
	else if (tag != NULL)
		what = "tags (!) are not supported; "
		    "quote a text that begins so";
	if (what != NULL)
		conf_complain(d->r->sink, d->file,
		    (int)event->start_mark.line + 1,
		    (int)event->start_mark.column + 1, "%s", what);
}

static struct node *
node_new(struct document *d, enum node_kind kind, const yaml_mark_t *mark)
{
	struct node *n = xcalloc(1, sizeof(*n));

	n->kind = kind;
	n->file = d->file;
	n->line = (int)mark->line + 1;
	n->column = (int)mark->column + 1;
	return n;
}

static struct node_entry *
add_entry(struct node *n)
{
	/* Room grows by doubling: at each power of two. */
	if ((n->count & (n->count - 1)) == 0)
		n->entries = xreallocarray(n->entries,
		    n->count ? n->count * 2 : 1, sizeof(*n->entries));
	memset(&n->entries[n->count], 0, sizeof(*n->entries));
	return &n->entries[n->count++];
}

static void
include_all(struct reader *r, struct node *root, const struct opened *me)
{
	const struct node_entry *entry = node_entry(root, "include");
	struct node *value;

	if (entry == NULL)
		return;
	/* The entries move when others are merged in; the value does not. */
	value = entry->value;
	if (value->kind == NODE_SCALAR) {
		struct node_entry one = *entry;

		include_pattern(r, root, &one, me);
	} else if (value->kind == NODE_LIST) {
		for (size_t i = 0; i < value->count; i++)
			include_pattern(r, root, &value->entries[i], me);
	} else
		conf_complain(r->sink, entry->file, entry->line, entry->column,
		    "include: needs a path, or a list of paths");
}

static void
include_pattern(struct reader *r, struct node *root,
    const struct node_entry *entry, const struct opened *me)
{
	const struct node *value = entry->value;
	glob_t found = { 0 };
	char *pattern;

	if (value->kind != NODE_SCALAR || *value->text == '\0') {
		conf_complain(r->sink, entry->file, entry->line, entry->column,
		    "include: needs a path, or a list of paths");
		return;
	}
	pattern = relative_to(entry->file, value->text);
	/* Nothing found is fine for a pattern (an empty conf.d), not for a
	 * name: GLOB_NOMAGIC gives the name itself, and opening it tells. */
	if (glob(pattern, GLOB_NOMAGIC, NULL, &found) == 0)
		for (size_t i = 0; i < found.gl_pathc; i++) {
			struct node *sub = read_file(r, found.gl_pathv[i],
			    entry, me);

			if (sub != NULL)
				merge(root, sub);
		}
	globfree(&found);
	free(pattern);
}

static char *
relative_to(const char *file, const char *pattern)
{
	const char *slash = strrchr(file, '/');

	if (*pattern == '/' || slash == NULL)
		return xstrdup(pattern);
	return xasprintf("%.*s%s", (int)(slash - file + 1), file, pattern);
}

/* Add what sub has to root, by section; takes sub. */
static void
merge(struct node *root, struct node *sub)
{
	for (size_t i = 0; i < sub->count; i++)
		if (strcmp(sub->entries[i].key, "include") != 0)
			merge_entry(root, &sub->entries[i]);
	node_free(sub);
}

static void
merge_entry(struct node *root, struct node_entry *from)
{
	struct node_entry *to = NULL;

	for (size_t i = 0; i < root->count && to == NULL; i++)
		if (strcmp(root->entries[i].key, from->key) == 0)
			to = &root->entries[i];
	if (to != NULL && from->value->kind == NODE_SCALAR &&
	    *from->value->text == '\0')
		return;		/* an empty section adds nothing */
	if (to == NULL || to->value->kind != NODE_MAP ||
	    from->value->kind != NODE_MAP) {
		if (to != NULL && to->value->kind == NODE_SCALAR &&
		    *to->value->text == '\0') {
			node_free(to->value);
			free(to->key);
		} else
			to = add_entry(root);
		*to = *from;
		from->key = NULL;
		from->value = NULL;
		return;
	}
	for (size_t i = 0; i < from->value->count; i++) {
		*add_entry(to->value) = from->value->entries[i];
		from->value->entries[i].key = NULL;
		from->value->entries[i].value = NULL;
	}
}

static void
complain_twice(struct conf_sink *sink, const struct node *map)
{
	const struct node_entry **sorted;

	if (map->kind != NODE_MAP || map->count < 2)
		return;
	sorted = xcalloc(map->count, sizeof(*sorted));
	for (size_t i = 0; i < map->count; i++)
		sorted[i] = &map->entries[i];
	qsort(sorted, map->count, sizeof(*sorted), by_key);
	for (size_t i = 1; i < map->count; i++)
		if (strcmp(sorted[i - 1]->key, sorted[i]->key) == 0)
			conf_complain(sink, sorted[i]->file, sorted[i]->line,
			    sorted[i]->column, "\"%s\" is already at %s:%d",
			    sorted[i]->key, sorted[i - 1]->file,
			    sorted[i - 1]->line);
	free(sorted);
}

/* Equal keys in the order of the file: entries lie in an array. */
static int
by_key(const void *va, const void *vb)
{
	const struct node_entry *const *a = va, *const *b = vb;
	int order = strcmp((*a)->key, (*b)->key);

	if (order != 0)
		return order;
	return *a < *b ? -1 : *a > *b;
}

const char *
conf_library(void)
{
	static char text[32];

	snprintf(text, sizeof(text), "libyaml %s", yaml_get_version_string());
	return text;
}
