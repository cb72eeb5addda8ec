# Workers for jobqd in shell: the protocol of jobqd-worker(7).
#
#	. ./jobqd_worker.sh
#
#	job_resize() {			# jobs of type "resize"; data on standard input
#		url=$(jq -er .url) || jobqd_fail validation 'data lacks url'
#		jobqd_progress 50 'half of it'
#		curl -fsS -o /tmp/image "$url" || exit 69
#		echo '{"width": 640}'	# the last line, if it is JSON, is the result
#	}
#
#	jobqd_run
#
# In the configuration: handlers: {app: {driver: worker, argv: [sh, app.sh]}}, and
# workers: N in the queue for so many at a time: one job runs after the other, so
# in_flight is to be left at 1. A function runs in a subshell; its name is job_ and
# the type, in which what is neither letter nor digit becomes _, and job_default
# runs all others. It has JOBQ_ID, JOBQ_TOKEN, JOBQ_QUEUE, JOBQ_TYPE, JOBQ_ATTEMPT
# and JOBQ_TENANT, and its exit status means what it means with the driver exec: 65
# and 78 validation, 69 and 75 network, 77 auth. When the job is to stop, TERM goes
# to all that it has started, until it has ended. Other lines on standard output are in the job's log,
# as is standard error. Needs jq and ps. A program for each job that is not short is
# simpler with the driver exec.
#
# Put this file beside your program; it may be changed and used for any purpose.

# One message to jobqd: a jq program and its arguments.
jobqd_say() { jq -cn "$@" >&8; }

# jobqd_progress PCT [NOTE]: how far it is, 0 to 100, and a word on it.
jobqd_progress() {
	jobqd_say --argjson id "$JOBQ_ID" --arg pct "$1" --arg note "${2-}" \
		'{progress: ({id: $id} + if $pct == "" then {} else {pct: ($pct | tonumber)} end
			+ if $note == "" then {} else {note: $note} end)}'
}

# jobqd_log TEXT: lines to be kept with this job.
jobqd_log() {
	jobqd_say --argjson id "$JOBQ_ID" --arg text "$1" \
		'$text | split("\n")[] | {log: {id: $id, line: .}}'
}

# jobqd_enqueue QUEUE [TYPE [DATA [MORE]]]: puts in a job, if and when this one is
# done. MORE is an object of the other arguments of jobq.enqueue().
jobqd_enqueue() {
	printf '%s\n' "${3:-"{}"}" "${4:-"{}"}" | jq -cs --argjson id "$JOBQ_ID" \
		--arg queue "$1" --arg type "${2-}" \
		'{enqueue: (.[1] + {id: $id, queue: $queue, type: $type, data: .[0]})}' >&8
}

# jobqd_fail CLASS MESSAGE [SECONDS]: fails the job and ends it. The class is one
# of error, validation, rate_limit, auth, network, timeout and resource; the
# seconds are when to try again at the earliest.
jobqd_fail() {
	jobqd_say --argjson id "$JOBQ_ID" --arg class "$1" --arg message "${2-}" \
		--arg after "${3-}" '{fail: ({id: $id, class: $class, message: $message}
			+ if $after == "" then {} else {retry_after: ($after | tonumber)} end)}'
	exit "$jobqd_said"
}
jobqd_said=199			# an exit status that nobody else has

# jobqd_run: serves until jobqd says quit and the last job has ended.
jobqd_run() {
	exec 8>&1 1>&2
	command -v jq >/dev/null || { echo 'jobqd_worker.sh needs jq' >&2; exit 1; }
	jobqd_pid=
	while IFS= read -r jobqd_line; do
		case $jobqd_line in
		'{"hello":'*)
			JOBQ_QUEUE=$(printf '%s\n' "$jobqd_line" | jq -r '.hello.queue // ""')
			export JOBQ_QUEUE
			jobqd_say '{ready: {}}' ;;
		'{"job":'*)
			[ -z "$jobqd_pid" ] || wait "$jobqd_pid"
			jobqd_job & jobqd_pid=$! ;;
		'{"cancel":'*)
			# There is one job at a time: who else could be meant?
			[ -z "$jobqd_pid" ] || jobqd_stop "$jobqd_pid" & ;;
		'{"quit":'*)
			break ;;
		esac
	done
	wait
}

# All that a process has started gets TERM, again each half second, since it may
# just have begun to start something; it itself is to tell the end.
jobqd_stop() {
	jobqd_times=0
	while [ $jobqd_times -lt 20 ]; do
		case $(ps -o stat= -p "$1") in ''|Z*) return ;; esac
		kill -TERM $(ps -A -o pid= -o ppid= | awk -v root="$1" '
			{ parent[$1] = $2 }
			END {
				for (pid in parent) {
					for (p = pid; p in parent && p != root && p > 1; p = parent[p])
						;
					if (p == root && pid != root)
						print pid
				}
			}') 2>/dev/null
		jobqd_times=$((jobqd_times + 1))
		sleep 0.5
	done
}

# One job, in a subshell: its function, in another, and what it is to jobqd.
jobqd_job() {
	trap '' TERM
	eval "$(printf '%s\n' "$jobqd_line" | jq -r '.job | @sh "JOBQ_ID=\(.id)
		JOBQ_TOKEN=\(.token // "") JOBQ_TYPE=\(.type // "")
		JOBQ_ATTEMPT=\(.attempt // 1) JOBQ_TENANT=\(.tenant // "")"')"
	export JOBQ_ID JOBQ_TOKEN JOBQ_TYPE JOBQ_ATTEMPT JOBQ_TENANT
	jobqd_function=job_$(printf %s "$JOBQ_TYPE" | LC_ALL=C tr -c 'A-Za-z0-9' _)
	command -v "$jobqd_function" >/dev/null || jobqd_function=job_default
	if command -v "$jobqd_function" >/dev/null; then
		jobqd_out=$(printf '%s\n' "$jobqd_line" | jq -c .job.data |
			(trap - TERM; "$jobqd_function"))
		jobqd_status=$?
	else
		(jobqd_fail validation "no function for type $JOBQ_TYPE")
		return
	fi
	if [ $jobqd_status -eq 0 ]; then
		jobqd_done
		return
	fi
	[ -z "$jobqd_out" ] || printf '%s\n' "$jobqd_out"
	case $jobqd_status in
	"$jobqd_said") return ;;
	65|78) jobqd_class=validation ;;
	69|75) jobqd_class=network ;;
	77) jobqd_class=auth ;;
	*) jobqd_class=error ;;
	esac
	jobqd_message="exit status $jobqd_status"
	[ $jobqd_status -ne 143 ] || jobqd_message=cancelled
	(jobqd_fail "$jobqd_class" "$jobqd_message")
}

# The result is the last line, if it is JSON; the lines before it are log.
jobqd_done() {
	jobqd_last=$(printf '%s\n' "$jobqd_out" | sed -n '$p')
	jobqd_result=$(printf '%s\n' "$jobqd_last" | jq -c . 2>/dev/null) || jobqd_result=
	if [ -n "$jobqd_result" ]; then
		printf '%s\n' "$jobqd_out" | sed '$d'
		printf '{"done":{"id":%s,"result":%s}}\n' "$JOBQ_ID" "$jobqd_result" >&8
	else
		[ -z "$jobqd_out" ] || printf '%s\n' "$jobqd_out"
		printf '{"done":{"id":%s}}\n' "$JOBQ_ID" >&8
	fi
}
