#!/bin/sh
# See jobqd work: builds it, starts it with the fleet office's configuration
# (etc/examples/fleet.yml) on a PostgreSQL of its own, and sends it a few
# hundred jobs, mails, webhooks, thumbnails and a nightly refresh, by plain SQL
# in one transaction. Then it stays up for you to look around.
#
#	sh contrib/demo.sh [--once] [DIRECTORY]
#
#	--once		end when all jobs are done: exit 0 if everything arrived as
#			it was sent, else 1
#	DIRECTORY	work there and leave it behind (default: a temporary one,
#			removed at the end)
#
# For Debian 12, as root or as an ordinary user; installs the packages that
# are missing (with sudo) and touches nothing else outside its directory.
set -eu
umask 022

top=$(cd "$(dirname "$0")/.." && pwd)
once=false work=
for argument; do
	case $argument in
	--once)	once=true ;;
	-*)	echo "usage: sh contrib/demo.sh [--once] [DIRECTORY]" >&2; exit 2 ;;
	*)	work=$argument ;;
	esac
done

daemon='' receiver='' keep=false
step() { printf '%-10s %s\n' "$1" "$2"; }
fail() { echo "demo: $*" >&2; exit 1; }

# stop PID SIGNAL: and wait until it is gone.
stop() {
	[ -n "$1" ] && kill -s "$2" "$1" 2>/dev/null || return 0
	wait "$1" 2>/dev/null || :
}

clean_up() {
	status=$?
	trap '' INT TERM HUP
	trap - EXIT
	stop "$receiver" TERM
	stop "$daemon" TERM
	if $keep; then
		echo "left behind: $work"
	elif [ -n "$work" ]; then
		rm -rf "$work"
	fi
	exit $status
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

#--- packages and build -----------------------------------------------------

sh "$top/contrib/packages.sh" build || exit 1

if [ -n "$work" ]; then
	keep=true
	mkdir -p "$work"
	work=$(cd "$work" && pwd)
	[ -z "$(ls -A "$work")" ] || [ -e "$work/demo.sh.was.here" ] ||
		fail "$work is not empty; name a new directory"
	rm -rf "$work/source" "$work/state" "$work/run"
	: >"$work/demo.sh.was.here"
else
	work=$(mktemp -d /tmp/jobqd-demo.XXXXXX)
fi
chmod 755 "$work"
source=$work/source build=$work/build state=$work/state run=$work/run

# A copy of the sources, so that the checkout stays as it is; without what an
# earlier build inside it may have left.
step build "jobqd in $build, about half a minute"
mkdir -p "$source" "$build"
(cd "$top" && tar -cf - --exclude=./.git --exclude=./autom4te.cache \
	--exclude='*.o' --exclude='*.a' --exclude=./config.status \
	--exclude=./Makefile --exclude=./src/config.h --exclude=.deps .) |
	tar -xf - -C "$source" --no-same-owner
chmod -R u+w "$source"
(
	cd "$source" && ./autogen.sh &&
	cd "$build" && "$source/configure" --without-tests -q &&
	make -j"$(nproc)" all
) >"$work/build.log" 2>&1 || {
	tail -n 20 "$work/build.log" >&2
	keep=true
	fail "the build failed; all of it is in $work/build.log"
}

#--- a fleet office ---------------------------------------------------------

# As root the servers run as an ordinary user that Debian has.
FLEET_USER=$(id -un)
if [ "$(id -u)" = 0 ]; then
	FLEET_USER=postgres
	id "$FLEET_USER" >/dev/null 2>&1 || FLEET_USER=nobody
fi
mkdir -p "$run" "$state" "$state/mail" "$state/pictures" "$state/thumbnails" "$state/exports"

cat >"$work/environment" <<END
export TZ=UTC PYTHONDONTWRITEBYTECODE=1
export FLEET_USER='$FLEET_USER' FLEET_GROUP='$(id -gn "$FLEET_USER")'
export FLEET_RUN='$run' FLEET_LOG='$run/jobqd.log' FLEET_LOGS='$run'
export FLEET_STATE='$state' FLEET_PROGRAMS='$source/etc/examples'
export PYTHONPATH='$source/etc/examples'
export ENABLE_TEAMS_SYNC=false ENABLE_OUTLOOK_SYNC=false ENABLE_WEBHOOK_RENEWAL=false
export DB_HOST='$run/postgres' DB_PORT=5432
export DB_NAME=jobq DB_USER=jobq DB_PASSWORD=
export MAIL_SERVER='file:$state/mail' FLEET_API=off WEBHOOK_ALLOW_PRIVATE=true
END
. "$work/environment"
# The fleet's own configuration, but for where its database is. It stands where
# jobqd --dev looks for one.
sed "s|^  url: .*|  embedded: $run/postgres|" "$source/etc/examples/fleet.yml" >"$run/jobqd.yml"
cat >"$work/jobqctl" <<END
#!/bin/sh
. '$work/environment'
exec '$build/jobqctl' -c '$run/jobqd.yml' "\$@"
END
chmod 755 "$work/jobqctl"

python3 "$source/contrib/demo/pictures.py" "$state/pictures" 24
for i in $(seq 40); do
	echo "export $i" >"$state/exports/old-$i.csv"
	touch -d '45 days ago' "$state/exports/old-$i.csv"
done
for i in $(seq 10); do echo "export $i" >"$state/exports/new-$i.csv"; done
[ "$(id -u)" != 0 ] || chown -R "$FLEET_USER" "$run" "$state"

#--- start ------------------------------------------------------------------

step start "jobqd --dev with etc/examples/fleet.yml, on a PostgreSQL of its own"
"$build/jobqd" -t -c "$run/jobqd.yml" >"$work/check.log" 2>&1 || {
	cat "$work/check.log" >&2
	fail "the configuration is wrong"
}
"$build/jobqd" --dev "$run" >"$work/start.log" 2>&1 &
daemon=$!

# until_true SECONDS COMMAND…: poll it, as long as jobqd lives.
until_true() {
	deadline=$(($(date +%s) + $1)); shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -le "$deadline" ] && kill -0 "$daemon" 2>/dev/null || return 1
		sleep 0.2
	done
}
sql() { psql -XAtq -v ON_ERROR_STOP=1 "$database" "$@"; }

database="host=$DB_HOST port=$DB_PORT dbname=$DB_NAME user=$DB_USER"
until_true 120 grep -q ': ready' "$FLEET_LOG" || {
	cat "$work/start.log" "$FLEET_LOG" 2>/dev/null | tail -n 20 >&2
	fail "jobqd did not get ready"
}

sql -f "$source/etc/examples/fleet.sql" >/dev/null
sql -c 'SELECT json_object_agg(id, secret) FROM subscriber' >"$state/secrets.json"
python3 "$source/contrib/demo/receiver.py" "$state" >"$run/receiver.log" 2>&1 &
receiver=$!
until_true 20 test -s "$state/port" || fail "the receiver did not start: $(tail -n 1 "$run/receiver.log")"

#--- work -------------------------------------------------------------------

counts=$(sql -F ' ' -v receiver="http://127.0.0.1:$(cat "$state/port")" -f "$source/contrib/demo/enqueue.sql")
set -- $counts
step enqueue "$1 mails, $2 webhooks, $3 thumbnails, a nightly refresh and a cleanup,"
step '' "by psql in one transaction"

finished() {
	[ "$(sql -c "SELECT count(*) FILTER (WHERE state NOT IN ('completed', 'dead', 'cancelled'))
		FROM jobq.jobs WHERE 'demo' = ANY(tags)")" = 0 ]
}
step wait "until all of them are done"
done=true
until_true 180 finished || done=false

printf '\n$ jobqctl status\n'
"$work/jobqctl" status
echo
echo verify
sql -c "SELECT json_build_object('id', id, 'type', type, 'state', state, 'data', data, 'result', result)
	FROM jobq.jobs WHERE 'demo' = ANY(tags) ORDER BY id" >"$state/sent.jsonl"
python3 "$source/contrib/demo/verify.py" "$state" || done=false
if ! $done; then
	echo "  the last lines of the log:"
	tail -n 5 "$FLEET_LOG"
fi
if $once; then
	$done || exit 1
	exit 0
fi

#--- look around ------------------------------------------------------------

repeated=$(sql -c "SELECT coalesce(max(job_id), 1) FROM jobq.attempts WHERE outcome = 'failed'")
cat <<END

Look around, in another terminal:

  mails          $state/mail
  thumbnails     $state/thumbnails
  log            $FLEET_LOG
  command line   $work/jobqctl status
                 $work/jobqctl job show $repeated     a delivery that was repeated
                 $work/jobqctl schedule next
  enqueue more   $work/jobqctl enqueue report report_generation '{"report_type": "fleet_summary"}' --wait
  database       psql '$database'
                 SELECT jobq.enqueue('email', data => '{"to": "you@example.com", "subject": "Hello", "text": "Hello"}');

Ctrl-C ends the demo$($keep || echo ' and removes all of it').
END
wait "$daemon" || fail "jobqd ended: $(tail -n 1 "$FLEET_LOG")"
daemon=
