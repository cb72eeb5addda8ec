/*
 * Users: see priv.h.
 */
#include "config.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/priv.h"

#define GROUPS_MAX 256		/* of a user, that are looked at */

static int
use(const struct passwd *pw, struct identity *who)
{
	strlcpy(who->name, pw->pw_name, sizeof(who->name));
	who->uid = pw->pw_uid;
	who->gid = pw->pw_gid;
	return 0;
}

int
priv_find(const char *user, const char *group, struct identity *who,
    struct err *e)
{
	const struct passwd *pw = getpwnam(user);
	const struct group *gr;

	if (pw == NULL)
		return err_code(e, ERR_CONFIG, "there is no user %s", user);
	use(pw, who);
	if (group[0] == '\0')
		return 0;
	if ((gr = getgrnam(group)) == NULL)
		return err_code(e, ERR_CONFIG, "there is no group %s", group);
	who->gid = gr->gr_gid;
	return 0;
}

int
priv_owner(const char *path, struct identity *who, struct err *e)
{
	const struct passwd *pw;
	struct stat st;

	if (stat(path, &st) != 0)
		return err_errno(e, "cannot look at %s", path);
	if ((pw = getpwuid(st.st_uid)) == NULL)
		return err_set(e, "%s belongs to user id %lu, who has no name",
		    path, (unsigned long)st.st_uid);
	return use(pw, who);
}

bool
priv_may_read(const struct identity *who, const struct stat *st)
{
	gid_t groups[GROUPS_MAX];
	int n = GROUPS_MAX;

	if (who->uid == 0)
		return true;
	if (st->st_uid == who->uid)
		return (st->st_mode & S_IRUSR) != 0;
	if (getgrouplist(who->name, who->gid, groups, &n) < 0)
		n = GROUPS_MAX;
	for (int i = 0; i < n; i++)
		if (groups[i] == st->st_gid)
			return (st->st_mode & S_IRGRP) != 0;
	return (st->st_mode & S_IROTH) != 0;
}

int
priv_drop(const struct identity *who, struct err *e)
{
	if (initgroups(who->name, who->gid) != 0 ||
	    setresgid(who->gid, who->gid, who->gid) != 0 ||
	    setresuid(who->uid, who->uid, who->uid) != 0)
		return err_errno(e, "cannot become user %s", who->name);
	if (who->uid != 0 && setuid(0) == 0)
		return err_set(e, "could become root again after user %s",
		    who->name);
#ifdef SANITIZED
	prctl(PR_SET_DUMPABLE, 1);	/* the leak check attaches to itself */
#endif
	return 0;
}
