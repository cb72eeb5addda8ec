/*
 * Landlock: see landlock.h. The C library has no functions for it, and a
 * system's headers may be older than its kernel.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/landlock.h"

#define EXECUTE (1ull << 0)
#define WRITE_FILE (1ull << 1)
#define READ_FILE (1ull << 2)
#define READ_DIR (1ull << 3)
#define REMOVE_DIR (1ull << 4)
#define REMOVE_FILE (1ull << 5)
#define MAKE_CHAR (1ull << 6)
#define MAKE_DIR (1ull << 7)
#define MAKE_REG (1ull << 8)
#define MAKE_SOCK (1ull << 9)
#define MAKE_FIFO (1ull << 10)
#define MAKE_BLOCK (1ull << 11)
#define MAKE_SYM (1ull << 12)
#define REFER (1ull << 13)
#define TRUNCATE (1ull << 14)
#define IOCTL_DEV (1ull << 15)

#define READING (EXECUTE | READ_FILE | READ_DIR)
#define WRITING (WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | \
    MAKE_SOCK | MAKE_FIFO | MAKE_SYM | TRUNCATE | IOCTL_DEV)
#define DEVICES (MAKE_CHAR | MAKE_BLOCK)
#define OF_A_FILE (EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV)

#define SCOPE_ABSTRACT_SOCKETS (1ull << 0)
#define SCOPE_SIGNALS (1ull << 1)

#define RULE_BENEATH 1
#define ASK_VERSION 1u

struct ruleset {
	uint64_t files, network, scopes;
};

struct beneath {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

/* What hardly a program can do without; not all of it is on every system. */
static const char *const system_read[] = {
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/proc",
	"/sys/devices/system/cpu", "/etc/ld.so.cache", "/etc/ld.so.preload",
	"/etc/alternatives", "/etc/localtime", "/etc/passwd", "/etc/group",
	"/etc/nsswitch.conf", "/etc/hosts", "/etc/host.conf", "/etc/resolv.conf",
	"/etc/gai.conf", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", NULL
};
static const char *const system_write[] = {
	"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom",
	NULL
};

int
landlock_version(void)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, ASK_VERSION);

	return version > 0 ? (int)version : 0;
}

/* What a kernel of this version knows, of what we would like. */
static uint64_t
known(int version, uint64_t rights)
{
	if (version < LANDLOCK_MOVES)
		rights &= ~REFER;
	if (version < LANDLOCK_TRUNCATE)
		rights &= ~TRUNCATE;
	if (version < LANDLOCK_DEVICES)
		rights &= ~IOCTL_DEV;
	return rights;
}

/* 1: there is no such file, or it is out of our own reach. */
static int
allow(int rules, const char *path, uint64_t rights, struct err *e)
{
	struct beneath rule = { .parent = open(path, O_PATH | O_CLOEXEC) };
	struct stat st;
	int rc;

	if (rule.parent < 0) {
		err_errno(e, "sandbox: %s", path);
		return 1;
	}
	if (fstat(rule.parent, &st) == 0 && !S_ISDIR(st.st_mode))
		rights &= OF_A_FILE;
	rule.allowed = rights;
	rc = rights == 0 ? 0 : (int)syscall(SYS_landlock_add_rule, rules,
	    RULE_BENEATH, &rule, 0);
	if (rc < 0)
		err_errno(e, "sandbox: no rule for %s", path);
	close(rule.parent);
	return rc;
}

static int
allow_system(int rules, uint64_t handled, struct err *e)
{
	for (const char *const *p = system_read; *p != NULL; p++)
		if (allow(rules, *p, READING & handled, e) < 0)
			return -1;
	for (const char *const *p = system_write; *p != NULL; p++)
		if (allow(rules, *p, (READING | WRITING) & handled, e) < 0)
			return -1;
	return 0;
}

static int
allow_paths(int rules, const struct landlock_paths *p, uint64_t handled,
    struct err *e)
{
	uint64_t all = (READING | WRITING | REFER) & handled;

	for (size_t i = 0; i < p->nread; i++)
		if (allow(rules, p->read[i], READING & handled, e) != 0)
			return -1;
	for (size_t i = 0; i < p->nwrite; i++)
		if (allow(rules, p->write[i], all, e) != 0)
			return -1;
	if (p->scratch != NULL && allow(rules, p->scratch, all, e) != 0)
		return -1;
	/* Unless it is allowed, nothing moves from directory to directory. */
	return p->nwrite > 0 ? 0 : allow(rules, "/", REFER & handled, e);
}

int
landlock_rules(const struct landlock_paths *p, struct err *e)
{
	int version = landlock_version(), rules;
	struct ruleset set = { .files = DEVICES | REFER };

	if (version < LANDLOCK_FILES)
		return err_code(e, ERR_CONFIG, "sandbox: this kernel has no "
		    "Landlock to enforce read and write");
	if (p->nread > 0)
		set.files |= READING;
	if (p->nwrite > 0)
		set.files |= WRITING;
	set.files = known(version, set.files);
	if (version >= LANDLOCK_SIGNALS)
		set.scopes = SCOPE_SIGNALS | SCOPE_ABSTRACT_SOCKETS;
	/* An older kernel takes a longer struct whose rest is zero. */
	rules = (int)syscall(SYS_landlock_create_ruleset, &set, sizeof(set), 0);
	if (rules < 0)
		return err_errno(e, "sandbox: no Landlock rules");
	if (allow_system(rules, set.files, e) < 0 ||
	    allow_paths(rules, p, set.files, e) < 0) {
		close(rules);
		return -1;
	}
	return rules;
}

int
landlock_enter(int rules)
{
	return (int)syscall(SYS_landlock_restrict_self, rules, 0);
}
