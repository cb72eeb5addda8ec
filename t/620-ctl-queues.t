# jobqctl on queues, dead letters, schedules and the log, with a real daemon.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More;
use Time::HiRes qw(sleep);

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
chmod 0777, $dir;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
log: {file: $dir/jobqd.log, level: info}
retry: {once: {attempts: 1}}
handlers:
  null: {driver: noop}
  gate: {driver: exec, argv: [sh, -c, "until test -e $dir/open; do sleep 0.02; done"]}
queues:
  work: {handler: null, retry: once}
  gate: {handler: gate, workers: 2}
  other: {handler: null, retry: once}
schedules:
  nightly: {cron: "0 2 * * *", queue: work, type: refresh}
  yearly: {cron: "0 0 1 1 *", queue: other}
YAML
$d->start(ready => 0);
wait_for { slurp("$dir/jobqd.log") =~ /: ready\b/ } 'jobqd to be ready';

my $ok = sub {
	my ($status, $out, $err) = $d->ctl(@_);
	is $status, 0, "@_" or diag $err;
	return $out;
};
my $json = sub { decode_json($ok->('--json', @_)) };
my $columns = sub {
	[ split /\n/, $pg->query("SELECT attname FROM pg_attribute WHERE attrelid = 'jobq.$_[0]'::regclass"
	    . ' AND attnum > 0 AND NOT attisdropped ORDER BY attname') ]
};
my ($status, $out, $err);

# status and queues
wait_for { $pg->query('SELECT count(*) FROM jobq.workers') == 4 } 'the workers to be known';
like $ok->('status'), qr/^jobqd runs on node: 4 workers.*^queue +ready.*^gate .*^work .*^schedules: 2, next nightly at /ms, 'status';
my $s = $json->('status');
is_deeply [ map { $_->{name} } @{ $s->{queues} } ], [qw(gate other work)], 'status as JSON: queues (S1-60)';
is scalar(@{ $s->{schedules} }), 2, '… schedules';
is $s->{nodes}[0]{name}, 'node', '… nodes';
my $list = $json->('queue', 'list');
is_deeply [ sort keys %{ $list->[0] } ], $columns->('queues'), 'queue list has the keys of the view';
is $json->('queue', 'show', 'gate')->{name}, 'gate', 'queue show';
is scalar(() = $ok->('queue', 'show', 'gate') =~ m{^node +gate/\d }mg), 2, '… with its workers';
is_deeply [ map { $_->{worker} } @{ $json->('worker', 'list') } ], [qw(gate/0 gate/1 other/0 work/0)], 'worker list';
is_deeply [ sort keys %{ $json->('worker', 'list', '--queue', 'work')->[0] } ], $columns->('workers'), '… of one queue, with the keys of the view';
like $ok->('worker', 'list'), qr{^node +gate/0 +\d+ +idle}m, '… as a table';
is + ($d->ctl('worker', 'list', '--queue', 'gaet'))[0], 3, '… of no queue';
($status, $out, $err) = $d->ctl('queue', 'show', 'gaet');
is $status, 3, 'no such queue';
like $err, qr/did you mean gate\?/, '… and the nearest';

# pause and resume
is $ok->('queue', 'pause', 'work', '--reason', 'for the test'), "queue work: paused\n", 'pause';
is $json->('queue', 'show', 'work')->{pause_reason}, 'for the test', '… with the reason';
like $ok->('status'), qr/paused: for the test/, '… and seen';
my $waiting = $json->('enqueue', 'work')->{id};
($status, $out, $err) = $d->ctl('queue', 'drain', 'work');
is $status, 1, 'a paused queue cannot be drained';
like $err, qr/is paused.*queue resume work/, '… and says what to do';
is $pg->query("SELECT state FROM jobq.jobs WHERE id = $waiting"), 'ready', 'its job waits';
$ok->('queue', 'resume', 'work');

# drain
is $ok->('queue', 'drain', 'work'), "queue work: drained\n", 'drain';
is $pg->query("SELECT state FROM jobq.jobs WHERE id = $waiting"), 'completed', '… waited for the job';
$ok->('enqueue', 'gate') for 1 .. 3;
($status, $out, $err) = $d->ctl('queue', 'drain', 'gate', '--timeout', '300ms');
is $status, 1, 'drain with a time-out';
like $err, qr/not drained after 300ms: \d ready, \d running/, '… tells what is left';
spew("$dir/open", '');
$ok->('queue', 'drain', 'gate');
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'gate' AND state = 'completed'"), 3, 'drained';

# dead letters
my $fail = '{"fail": "error", "message": "broken"}';
my @dead = map { $json->('enqueue', 'work', 'kind', $fail)->{id} } 1 .. 3;
my $unique = $json->('enqueue', 'other', $fail, '--unique', 'k')->{id};
wait_for { $pg->query('SELECT count(*) FROM jobq.dead_letters') == 4 } 'four dead letters';
$list = $json->('dead', 'list', '--queue', 'work');
is_deeply [ map { $_->{job_id} } @$list ], [ reverse @dead ], 'dead list, newest first';
is_deeply [ sort keys %{ $list->[0] } ], $columns->('dead_letters'), '… with the keys of the view';
like $ok->('dead', 'show', $dead[0]), qr/^error +broken$/m, 'dead show';
like $ok->('status'), qr/dead letters: 4/, 'status counts them';
($status) = $d->ctl('dead', 'show', $waiting);
is $status, 3, 'no dead letter';
is_deeply $json->('dead', 'retry', $dead[0]), { retried => 1, refused => 0 }, 'dead retry ID';
wait_for { $pg->query("SELECT attempts FROM jobq.dead_letters WHERE job_id = $dead[0]") eq '2' } 'it to die again';
is_deeply $json->('dead', 'retry', '--queue', 'work'), { retried => 3, refused => 0 }, 'dead retry --queue';
wait_for { $pg->query("SELECT count(*) FROM jobq.dead_letters WHERE queue = 'work'") == 3 } 'all to die again';
my $holder = $json->('enqueue', 'other', '--unique', 'k', '--in', '1h')->{id};
isnt $holder, $unique, 'the key of a dead job is free';
($status, $out, $err) = $d->ctl('dead', 'retry', '--all');
is $status, 1, 'dead retry --all with one that cannot';
is $out, "3 dead letters retried\n", '… retries the others';
like $err, qr/job $unique: .*unique key/, '… and names the one';

# schedules
$list = $json->('schedule', 'list');
is_deeply [ map { $_->{name} } @$list ], [qw(nightly yearly)], 'schedule list';
is_deeply [ sort keys %{ $list->[0] } ], $columns->('schedules'), '… with the keys of the view';
like $ok->('schedule', 'next'), qr/T02:00:00\.000Z +nightly .*\n.*-01-01T00:00:00\.000Z +yearly /, 'schedule next, soonest first';
($status) = $d->ctl('schedule', 'next', 'none');
is $status, 3, 'no such schedule';

# the log
like $ok->('tail', '-n', '1000'), qr/: ready\b/, 'tail';
is $ok->('tail', '-n', '1') =~ tr/\n//, 1, 'tail -n 1';
$out = $ok->('tail', 'gate', '-n', '1000');
ok $out ne '' && !grep({ !/gate/ } split /\n/, $out), 'tail QUEUE: only of that queue';
($status, $out, $err) = $d->ctl('tail', 'none');
is $status, 3, 'tail of no queue';
my $pid = fork // die;
if ($pid == 0) {
	open STDOUT, '>', "$dir/tail.out";
	exec jobqctl_program(), '-c', $d->{conf}, 'tail', '-f', '-n', '1' or POSIX::_exit(127);
}
wait_for { -s "$dir/tail.out" } 'tail -f to begin';
my $say = sub {
	open my $fh, '>>', "$dir/jobqd.log" or die;
	syswrite $fh, "2026-11-21T10:00:00.000Z info  master [1]: $_[0]\n";
};
$say->('first \o/');
wait_for { slurp("$dir/tail.out") =~ /first/ } 'a line that comes later';
rename "$dir/jobqd.log", "$dir/jobqd.log.1";
spew("$dir/jobqd.log", '');
$say->("second \e[31m");
wait_for { slurp("$dir/tail.out") =~ /second/ } 'a line of the new file';
like slurp("$dir/tail.out"), qr/second \\x1b\[31m/, 'what steers a terminal is escaped';
kill 'INT', $pid;
waitpid $pid, 0;

# the schema
like $ok->('migrate'), qr/^schema jobq is at version \d+/, 'migrate of a current schema';
$ok->('migrate', '--roles');
is $pg->query("SELECT count(*) FROM pg_roles WHERE rolname IN ('jobq_producer', 'jobq_reader', 'jobq_admin')"), 3, 'migrate --roles';
for my $command ('status', 'jobs', 'queue list', 'queue show work', 'dead list', 'dead list --group', 'schedule list', "job show $dead[0]",
    "job log $dead[0]") {
	($status, undef, $err) = run_program([ jobqctl_program(), '-c', $d->{conf}, split / /, $command ],
	    env => { PGOPTIONS => '-c role=jobq_reader' });
	is $status, 0, "a reader may: $command" or diag $err;
}
for my $command ('queue pause work', 'queue resume work', "job cancel $holder", "job delete $holder", 'enqueue work') {
	($status, undef, $err) = run_program([ jobqctl_program(), '-c', $d->{conf}, split / /, $command ],
	    env => { PGOPTIONS => '-c role=jobq_reader' });
	is $status, 1, "a reader may not: $command";
	like $err, qr/permission denied/, '… and is told so';
	($status, undef, $err) = run_program([ jobqctl_program(), '-c', $d->{conf}, split / /, $command ],
	    env => { PGOPTIONS => '-c role=jobq_admin' });
	is $status, 0, "an administrator may: $command" or diag $err;
}
$pg->query('CREATE DATABASE empty', 'postgres');
my @empty = (jobqctl_program(), '--database', $pg->url('empty'));
($status, $out, $err) = run_program([ @empty, 'status' ]);
is $status, 1, 'a database without the schema';
like $err, qr/there is no schema jobq in database empty.*jobqctl migrate/, '… and what to do';
(undef, my $sql) = run_program([ @empty, '--schema', 'work', 'migrate', '--print' ]);
($status, undef, $err) = $pg->try_query($sql, 'empty');
is $status, 0, 'the printed SQL makes a schema' or diag $err;
($status, $out, $err) = run_program([ @empty, '--schema', 'work', 'queue', 'list' ]);
is $out, "no queues\n", '… that works under another name' or diag $err;
done_testing;
