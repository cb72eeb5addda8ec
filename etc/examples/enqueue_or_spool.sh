#!/bin/sh
# Enqueue a job, or keep it in a file while the database is out of reach:
#
#	enqueue_or_spool.sh SPOOL QUEUE TYPE KEY JSON
#	enqueue_or_spool.sh SPOOL		enqueue what was kept; for cron
#
# KEY is what the job is about, as in mail-4711. It is the job's unique key, so
# that one whose answer was lost is not there twice while the first one waits.
set -u
spool=${1:?usage: $0 spool [queue type key json]}
jobqctl=${JOBQCTL:-jobqctl}

enqueue() {
	"$jobqctl" enqueue "$1" "$2" "$4" --unique "$3"
}

if [ $# -eq 5 ]; then
	shift
	enqueue "$@" && exit
	# One line a job: no value but the JSON has a blank, and none a line end.
	line="$1 $2 $3 $(printf %s "$4" | tr '\n' ' ')"
	exec flock "$spool.lock" sh -c 'printf "%s\n" "$1" >>"$0" && sync "$0"' "$spool" "$line"
fi

exec 9>"$spool.lock"
flock 9
[ -s "$spool" ] || exit 0
: >"$spool.left"
while read -r queue type key json; do
	enqueue "$queue" "$type" "$key" "$json" </dev/null >/dev/null ||
		printf '%s %s %s %s\n' "$queue" "$type" "$key" "$json" >>"$spool.left"
done <"$spool"
mv "$spool.left" "$spool"
[ ! -s "$spool" ]
