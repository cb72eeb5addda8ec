/*
 * The filter of system calls: see filter.h. libseccomp knows the numbers and
 * writes the program; what it wrote is kept, since between fork and exec it may
 * not be called.
 */
#include "config.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef HAVE_SECCOMP
#include <sched.h>
#include <seccomp.h>
#endif

#include "base/xalloc.h"
#include "os/filter.h"

int
filter_enter(const struct sock_fprog *f)
{
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, f, 0, 0);
}

void
filter_clear(struct sock_fprog *f)
{
	free(f->filter);
	*f = (struct sock_fprog){ 0 };
}

#ifndef HAVE_SECCOMP

bool
filter_possible(void)
{
	return false;
}

int
filter_make(struct sock_fprog *f, bool network, struct err *e)
{
	*f = (struct sock_fprog){ 0 };
	(void)network;
	return err_code(e, ERR_CONFIG, "this build has no seccomp");
}

#else

#define NEW_NAMESPACES (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | \
    CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

/* By name, for a library or a machine that knows only some of them. */
static const char *const refused[] = {
	/* other processes */
	"ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd",
	"process_madvise", "kcmp", "move_pages", "migrate_pages",
	/* mounts, roots and namespaces */
	"mount", "umount", "umount2", "mount_setattr", "move_mount", "open_tree",
	"fsopen", "fsmount", "fsconfig", "fspick", "pivot_root", "chroot",
	"unshare", "setns", "open_by_handle_at", "quotactl", "quotactl_fd",
	/* the kernel itself */
	"init_module", "finit_module", "delete_module", "create_module",
	"query_module", "get_kernel_syms", "kexec_load", "kexec_file_load",
	"bpf", "perf_event_open", "userfaultfd", "io_uring_setup",
	"io_uring_enter", "io_uring_register", "lookup_dcookie", "syslog",
	"fanotify_init", "nfsservctl", "_sysctl", "sysfs", "uselib", "ustat",
	"iopl", "ioperm", "vm86", "vm86old", "modify_ldt", "vmsplice",
	"set_mempolicy_home_node", "acct",
	/* keys */
	"add_key", "request_key", "keyctl",
	/* the machine */
	"reboot", "swapon", "swapoff", "sethostname", "setdomainname",
	"settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "stime",
	"vhangup", NULL
};

bool
filter_possible(void)
{
	/* EFAULT: it would have looked at a filter, had there been one. */
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) < 0 &&
	    errno == EFAULT;
}

/* Its own 32-bit programs run as well, under the same rules. */
static int
add_sisters(scmp_filter_ctx ctx)
{
	switch (seccomp_arch_native()) {
	case SCMP_ARCH_X86_64:
		return seccomp_arch_add(ctx, SCMP_ARCH_X86);
	case SCMP_ARCH_AARCH64:
		return seccomp_arch_add(ctx, SCMP_ARCH_ARM);
	default:
		return 0;
	}
}

static int
refuse(scmp_filter_ctx ctx, const char *name, int error)
{
	int number = seccomp_syscall_resolve_name(name);

	return number == __NR_SCMP_ERROR ? 0 :
	    seccomp_rule_add(ctx, SCMP_ACT_ERRNO((uint16_t)error), number, 0);
}

static int
add_rules(scmp_filter_ctx ctx, bool network)
{
	int rc = 0;

	for (const char *const *name = refused; rc == 0 && *name != NULL; name++)
		rc = refuse(ctx, *name, EPERM);
	/* One rule a flag: any of them is one too many. */
	for (uint64_t flag = 1; rc == 0 && flag <= NEW_NAMESPACES; flag <<= 1)
		if (flag & NEW_NAMESPACES)
			rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM),
			    SCMP_SYS(clone), 1,
			    SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag));
	/* Its flags lie where no filter sees them; who gets this error, as the C
	 * library, falls back to clone(). */
	if (rc == 0)
		rc = refuse(ctx, "clone3", ENOSYS);
	/* Typing into a terminal that somebody else reads. */
	if (rc == 0)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM),
		    SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu,
		    TIOCSTI));
	if (rc == 0 && !network)
		rc = refuse(ctx, "socket", EACCES);
	return rc;
}

/* Into memory: the library only writes to a descriptor. -1: errno. */
static int
export(scmp_filter_ctx ctx, struct sock_fprog *f)
{
	int fd = memfd_create("filter", MFD_CLOEXEC), rc = -1;
	struct stat st;

	if (fd < 0)
		return -1;
	if (seccomp_export_bpf(ctx, fd) == 0 && fstat(fd, &st) == 0 &&
	    st.st_size > 0 && (size_t)st.st_size / sizeof(*f->filter) <= BPF_MAXINSNS) {
		f->len = (unsigned short)((size_t)st.st_size / sizeof(*f->filter));
		f->filter = xcalloc(f->len, sizeof(*f->filter));
		if (pread(fd, f->filter, (size_t)st.st_size, 0) == st.st_size)
			rc = 0;
	}
	close(fd);
	return rc;
}

int
filter_make(struct sock_fprog *f, bool network, struct err *e)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int rc;

	*f = (struct sock_fprog){ 0 };
	if (ctx == NULL)
		return err_code(e, ERR_BUSY, "no memory for a filter of system calls");
	/* A tree and no list: some ten comparisons for each call. */
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	rc = add_sisters(ctx);
	if (rc == 0)
		rc = add_rules(ctx, network);
	if (rc < 0)
		err_code(e, ERR_CONFIG, "no filter of system calls: %s",
		    strerror(-rc));
	else if ((rc = export(ctx, f)) < 0)
		err_errno(e, "no filter of system calls");
	seccomp_release(ctx);
	if (rc < 0)
		filter_clear(f);
	return rc < 0 ? -1 : 0;
}

#endif
