# jobqctl on jobs, with a real daemon: enqueue, jobs, job show|cancel|retry|
# delete|log, and the shape of --json.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
retry:
  once: {attempts: 1}
  twice: {attempts: 2, backoff: fixed, base: 20ms, jitter: 0%}
handlers:
  null: {driver: noop}
  talk: {driver: exec, argv: [sh, -c, "cat; echo; printf 'esc \\033[31m del \\177\\n'; echo 'to stderr' >&2; echo '{\"said\": \"ok\"}'"]}
queues:
  work: {handler: null}
  talk: {handler: talk}
  once: {handler: null, retry: once}
  twice: {handler: null, retry: twice}
YAML
$d->start;

my $ok = sub {
	my ($status, $out, $err) = $d->ctl(@_);
	is $status, 0, "@_" or diag $err;
	return $out;
};
my $json = sub { decode_json($ok->('--json', @_)) };
my $state = sub { $pg->query("SELECT state FROM jobq.jobs WHERE id = $_[0]") };
my $columns = sub {
	[ split /\n/, $pg->query("SELECT attname FROM pg_attribute WHERE attrelid = 'jobq.$_[0]'::regclass"
	    . ' AND attnum > 0 AND NOT attisdropped ORDER BY attname') ]
};

# enqueue
my $id = $ok->('enqueue', 'work');
like $id, qr/^\d+\n$/, 'enqueue prints the id';
# S1-51: who waits for a job has as much as by a call.
is $ok->('enqueue', 'work', 'greet', '{"sleep_ms": 1}', '--wait'), '', '--wait prints nothing when there is no result';
my $all = $json->('enqueue', 'work', 'full', '{"n": 1}', '--in', '1h', '--priority', 'high', '--unique', 'u"1',
    '--key', 'k', '--tenant', 'acme', '--tag', 'a"b', '--tag', 'c,d\\');
is $all->{state}, 'scheduled', '--json has the state (S2-13)';
my $job = $json->('job', 'show', $all->{id});
is $job->{type}, 'full', 'type';
is_deeply $job->{data}, { n => 1 }, 'data';
is $job->{priority}, 3, 'priority by name (S0-14, S2-15)';
is $job->{unique_key}, 'u"1', 'unique key';
is $job->{key}, 'k', 'concurrency key';
is $job->{tenant}, 'acme', 'tenant';
is_deeply $job->{tags}, [ 'a"b', 'c,d\\' ], 'tags, whatever is in them';
is $json->('enqueue', 'work', '--unique', 'u"1', '--tenant', 'acme')->{id}, $all->{id}, 'a taken unique key gives the id of its job';
my $at = $json->('enqueue', 'work', '--at', '2099-12-01T10:00:00Z');
# S2-12
like $json->('job', 'show', $at->{id})->{run_at}, qr/^2099-12-01T10:00:00/, '--at';

my ($status, $out, $err) = run_program([ jobqctl_program(), '-c', $d->{conf}, 'enqueue', 'work', 'stdin', '-', '--json' ],
    in => '{"text": "Grüße \" \\u0041"}');
is $status, 0, 'data from standard input' or diag $err;
is $pg->query('SELECT data->>\'text\' FROM jobq.jobs WHERE id = ' . decode_json($out)->{id}), 'Grüße " A', '… as it was';
for my $bad ('', '[1]', '{"a":', "{\"a\": \"\0\"}", '{"a": "\\u0000"}') {
	($status, $out, $err) = run_program([ jobqctl_program(), '-c', $d->{conf}, 'enqueue', 'work', '-' ], in => $bad);
	is $status, 1, 'refused: ' . ($bad =~ s/\0/NUL/r);
	is $err =~ tr/\n//, 1, '… in one line' or diag $err;
	is $out, '', '… and nothing enqueued';
}
($status, $out, $err) = $d->ctl('enqueue', 'wrok');
is $status, 3, 'no such queue';
like $err, qr/no queue wrok; did you mean work\?/, '… and the nearest';
my $nasty = "'; DROP SCHEMA jobq CASCADE; --";
$ok->('enqueue', 'work', $nasty, '--tenant', $nasty, '--unique', $nasty);
is scalar(@{ $json->('jobs', '--type', $nasty, '--tenant', $nasty) }), 1, 'words are data, never SQL';

# --wait
($status, $out, $err) = $d->ctl('enqueue', 'once', '{"fail": "network", "message": "no\u001b[2J route"}', '--wait');
is $status, 1, '--wait on a job that dies';
like $err, qr/^jobqctl: job \d+ is dead, network: no\\x1b\[2J route$/, '… says why, without steering the terminal';
is_deeply decode_json($ok->('enqueue', 'talk', '--wait')), { said => 'ok' }, 'a result, as JSON';

# what a person sees of a job
my $dead = $pg->query("SELECT max(id) FROM jobq.jobs WHERE queue = 'once'");
$out = $ok->('job', 'show', $dead);
like $out, qr/^state +dead$/m, 'show: state';
like $out, qr/^error class +network$/m, 'show: class';
like $out, qr/Z +running +1 .*\n.*Z +dead +1 .*network: no\\x1b/, 'show: the attempt began and ended';
my $talked = $pg->query("SELECT max(id) FROM jobq.jobs WHERE queue = 'talk'");
$out = $ok->('job', 'log', $talked);
like $out, qr/output of attempt 1:\n/, 'log: heading';
like $out, qr/esc \\x1b\[31m del \\x7f\n/, 'log: control characters are escaped';
like $out, qr/to stderr\n/, 'log: stderr too (S1-47, S1-60)';
like $ok->('job', 'show', $talked), qr/to stderr/, 'show has the output as well';
is $json->('job', 'log', $talked)->[0]{attempt}, 1, 'log as JSON';
my $retried = $json->('enqueue', 'twice', '{"fail": "error", "message": "again"}')->{id};
wait_for { $state->($retried) eq 'dead' } 'the job to die';
my $shown = $json->('job', 'show', $retried);
is_deeply [ map { $_->{state} } @{ $shown->{changes} } ], [ qw(ready running retrying running dead) ], 'every change, in order (S1-60, S4-41)';
is scalar(@{ $shown->{attempts} }), 2, 'both attempts';
is_deeply [ sort keys %{ $shown->{attempts}[0] } ], $columns->('attempts'), 'attempts have the keys of the view';
like $shown->{why}, qr/^dead since .*: error: again$/, 'why';
delete @$shown{qw(attempts changes output why)};
is_deeply [ sort keys %$shown ], $columns->('jobs'), 'a job has the keys of the view';
my $first = $json->('enqueue', 'work', '--in', '200ms')->{id};
my $second = $pg->query("SELECT jobq.enqueue('work', after => ARRAY[$first])");
wait_for { $state->($second) eq 'completed' } 'a job and the one behind it';
is_deeply [ map { $_->{state} } @{ $json->('job', 'show', $first)->{changes} } ],
    [qw(scheduled ready running completed)], 'a scheduled job became ready';
is_deeply [ map { $_->{state} } @{ $json->('job', 'show', $second)->{changes} } ],
    [qw(blocked ready running completed)], 'so did a blocked one';

# jobs
my $list = $json->('jobs', '--queue', 'twice');
is_deeply [ map { $_->{id} } @$list ], [$retried], 'jobs --queue';
is_deeply [ sort keys %{ $list->[0] } ], $columns->('jobs'), '… with the keys of the view';
is scalar(@{ $json->('jobs', '--limit', '3') }), 3, 'jobs --limit';
is_deeply [ map { $_->{id} } @{ $json->('jobs', '--state', 'dead') } ], [ $retried, $dead ], 'jobs --state, newest first';
is_deeply [ map { $_->{id} } @{ $json->('jobs', '--tag', 'a"b') } ], [ $all->{id} ], 'jobs --tag';
is_deeply $json->('jobs', '--type', 'nothing'), [], 'none: an empty array';
like $ok->('jobs', '--type', 'nothing'), qr/^no jobs$/, '… or a word';
like $ok->('jobs', '--state', 'dead'), qr/^ *id +queue +type +state/, 'a table';
($status) = $d->ctl('jobs', '--queue', 'none');
is $status, 3, 'jobs of no queue';

# cancel, retry, delete
is $json->('job', 'cancel', $all->{id})->{state}, 'cancelled', 'cancel (S1-26)';
($status, $out, $err) = $d->ctl('job', 'cancel', $all->{id});
is $status, 1, 'cancel twice';
like $err, qr/is cancelled; it has ended/, '… says why';
$ok->('job', 'retry', $retried);
wait_for { $pg->query("SELECT count(*) FROM jobq.attempts WHERE job_id = $retried") == 4 } 'the retry';
wait_for { $state->($retried) eq 'dead' } 'the job to die again';
like $ok->('job', 'show', $retried), qr/retry by /, 'who retried it is shown';
($status, $out, $err) = $d->ctl('job', 'retry', $all->{id});
is $status, 1, 'retry of a cancelled job';
$ok->('job', 'delete', $retried);
for my $command (qw(show retry cancel delete log)) {
	($status, $out, $err) = $d->ctl('job', $command, $retried);
	is $status, 3, "$command of a deleted job";
	my $more = $command eq 'show' ? qr/: deleted at \S+ by \w+/ : '';
	like $err, qr/^jobqctl: no job $retried$more$/, '… says so';
}
done_testing;
