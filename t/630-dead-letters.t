# The dead-letter desk with jobqctl and a real daemon: groups by reason, review
# with name and notes, retry of one with other data, of many, at a rate, delete,
# all of it audited; and a hundred thousand at once. S0-48, S2-26, S2-31, S2-59,
# S3-31.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use POSIX ();
use Test::More;
use Time::HiRes qw(time);

my $many = $ENV{JOBQD_DEAD_LETTERS} || 100_000;
my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
log: {file: stderr, level: info}
retry: {once: {attempts: 1}}
handlers: {null: {driver: noop}}
queues:
  work: {handler: null, retry: once}
  other: {handler: null, retry: once}
  huge: {handler: null, retry: once}
  busy: {handler: null}
YAML
$d->start;
my $ok = sub {
	my ($status, $out, $err) = $d->ctl(@_);
	is "$status $err", '0 ', "jobqctl @_";
	return $out;
};
my $json = sub { decode_json($ok->('--json', @_)) };
my $q1 = sub { return $pg->query("SELECT $_[0]") };
my $put = sub {
	my ($queue, $message, $class, @more) = @_;
	my (undef, $out) = $d->ctl('enqueue', $queue, 'mail', encode_json({ fail => $class, message => $message }), @more);
	chomp $out;
	return $out;
};
my $dead = sub { my $n = @_; my $in = join ',', @_; wait_for { $q1->("count(*) FROM jobq.dead_letters WHERE job_id IN ($in)") == $n } 'dead letters' };
my $audit = sub { $q1->("coalesce(string_agg(actor || ' ' || action, ', ' ORDER BY at), '') FROM jobq.audit WHERE target = 'job $_[0]'") };
my $me = getpwuid $>;

# what there is
my @timeouts = map { $put->('work', "no answer of 10.0.0.$_ in ${_}0 ms", 'network', '--tenant', "t$_") } 1 .. 3;
my @unknown = map { $put->('work', "user \"u$_\" is unknown", 'validation') } 1 .. 2;
my $other = $put->('other', 'no answer of 10.0.0.9 in 90 ms', 'network');
$dead->(@timeouts, @unknown, $other);
my $groups = $json->('dead', 'list', '--group');
is_deeply [ sort map { "$_->{queue} $_->{type} $_->{error_class} $_->{count}/$_->{reviewed}" } @$groups ],
    [ 'other mail network 1/0', 'work mail network 3/0', 'work mail validation 2/0' ], 'by reason: how many of each';
my ($group) = grep { $_->{count} == 3 } @$groups;
is $group->{error}, 'no answer of 10.0.0.3 in 30 ms', '… with the error of the newest';
my $print = $group->{fingerprint};
like $ok->('dead', 'list', '--group', '--queue', 'work'), qr/^fingerprint +queue +type +count +reviewed +first +last +class +error\n(?:\w{12} +work .*\n){2}\z/, '… as a table';
for my $case ([ [ '--fingerprint', $print ], @timeouts, $other ], [ [ '--fingerprint', $print, '--queue', 'work' ], @timeouts ], [ [ '--tenant', 't2' ], $timeouts[1] ],
    [ [ '--queue', 'work', '--type', 'nothing' ] ], [ [ '--reviewed', 'yes' ] ], [ [ '--reviewed', 'no' ], @timeouts, @unknown, $other ]) {
	my ($filter, @want) = @$case;
	is_deeply [ map { $_->{job_id} } @{ $json->('dead', 'list', @$filter) } ], [ sort { $b <=> $a } @want ], "… those, newest first";
}

# review
is_deeply $json->('dead', 'review', $unknown[0], '--by', 'ann', '--notes', 'a typing error'), { reviewed => 1, refused => 0 }, 'one is reviewed (S2-31)';
my $shown = $json->('dead', 'show', $unknown[0]);
is "$shown->{reviewed_by}: $shown->{notes}", 'ann: a typing error', '… by whom, what was found';
like $ok->('dead', 'show', $unknown[0]), qr/^reviewed by +ann\nreviewed at +\S+Z\nnotes +a typing error$/ms, '… shown';
is $ok->('dead', 'review', '--fingerprint', $print, '--queue', 'work', '--notes', 'the relay was away'), "3 dead letters reviewed\n", 'all of a group are';
is $q1->("string_agg(DISTINCT reviewed_by || ' ' || notes, ',') FROM jobq.dead_letters WHERE fingerprint = '$print' AND reviewed_at IS NOT NULL"), "$me the relay was away", '… by who calls';
is_deeply [ map { $_->{job_id} } @{ $json->('dead', 'list', '--reviewed', 'no') } ], [ $other, $unknown[1] ], 'what is left to look at';
is_deeply [ map { "$_->{count}" } @{ $json->('dead', 'list', '--group', '--reviewed', 'yes') } ], ['3'], '… and which groups are done';
my ($status, $out, $err) = $d->ctl('dead', 'review', 99999);
is $status, 3, 'none is reviewed';
like $err, qr/job 99999 is no dead letter/, '… says so';

# one, with other data
$ok->('dead', 'retry', $unknown[0], '--data', '{"to": "ann"}');
wait_for { $q1->("state FROM jobq.jobs WHERE id = $unknown[0]") eq 'completed' } 'the mended job';
is $q1->("data FROM jobq.jobs WHERE id = $unknown[0]"), '{"to": "ann"}', 'a job whose mistake was mended completes (S0-48, S2-59, S3-31)';
is $audit->($unknown[0]), "$me review, $me edit, $me retry", 'the audit has each';
is $q1->("before #>> '{data,message}' FROM jobq.audit WHERE target = 'job $unknown[0]' AND action = 'edit'"), 'user "u1" is unknown', '… and the old data';
like $ok->('job', 'show', $unknown[0]), qr/review by $me\n.*edit by $me\n.*retry by $me\n/, '… shown with the job';
($status, undef, $err) = run_program([ jobqctl_program(), '-c', $d->{conf}, 'job', 'retry', $unknown[1], '--data', '-' ], in => '{"to": ');
is $status, 1, 'data that is none is refused';
($status, undef, $err) = $d->ctl('dead', 'retry', $unknown[1], '--data', '');
is $status, 1, '… nothing as well';
like $err, qr/^jobqctl: the data is empty/, '… and says so';
($status, undef, $err) = run_program([ jobqctl_program(), '-c', $d->{conf}, 'job', 'retry', $unknown[1], '--data', '-' ], in => '{"to": "bob"}');
is $status, 0, '… good data from standard input is not' or diag $err;
wait_for { $q1->("state FROM jobq.jobs WHERE id = $unknown[1]") eq 'completed' } 'the other one';

# many, at a rate: each has its time at once
my $before = time;
is_deeply $json->('dead', 'retry', '--fingerprint', $print, '--queue', 'work', '--rate', '3/h'), { retried => 3, refused => 0 }, 'three an hour';
is $q1->("string_agg(state || ' ' || round(extract(epoch FROM run_at - created_at) / 1200), ', ' ORDER BY id) FROM jobq.jobs WHERE id IN ($timeouts[1], $timeouts[2])"),
    'retrying 1, retrying 2', '… twenty minutes apart';
$dead->($timeouts[0]);
is $q1->("attempts || coalesce(reviewed_by, ' nobody') FROM jobq.dead_letters WHERE job_id = $timeouts[0]"), '2 nobody', '… the first at once, which died again, and is unseen';
$d->stop;
$d->start;
is $q1->("count(*) FROM jobq.jobs WHERE id IN ($timeouts[1], $timeouts[2]) AND state = 'retrying'"), 2, 'a restart loses none';
$ok->('job', 'retry', $timeouts[1]);
$dead->($timeouts[1]);

# delete
is $ok->('dead', 'delete', $timeouts[0]), "1 dead letter deleted\n", 'one is deleted';
($status) = $d->ctl('job', 'show', $timeouts[0]);
is $status, 3, '… and gone';
is $ok->('dead', 'delete', '--queue', 'work'), "1 dead letter deleted\n", 'those of a queue are (S3-31)';
is_deeply [ map { $_->{job_id} } @{ $json->('dead', 'list') } ], [$other], '… and no other';
like $audit->($timeouts[1]), qr/^$me review, $me retry, $me retry, $me delete$/, 'the audit remains';
($status, $out, $err) = $d->ctl('dead', 'delete', '--queue', 'wrok');
is $status, 3, 'of no queue';
like $err, qr/no queue wrok; did you mean work\?/, '… and the nearest';

# those whose unique key is another's are named, not all of them
my $nasty = "%s%n\nx";
my @keyed = map { $put->('other', 'x', 'error', '--unique', $nasty . $_) } 1 .. 25;
$dead->(@keyed);
$q1->("count(jobq.enqueue('other', unique_key => unique_key, delay => '1 hour')) FROM jobq.jobs WHERE id IN (" . join(',', @keyed) . ')');
($status, $out, $err) = $d->ctl('--json', 'dead', 'retry', '--queue', 'other', '--type', 'mail');
is_deeply [ $status, decode_json($out) ], [ 1, { retried => 1, refused => 25 } ], 'those whose key is taken stay';
like $err, qr/\A(?:jobqctl: job \d+: its unique key is now that of job \d+\n){20}jobqctl: … and others\n\z/, '… twenty are named' or diag $err;

# very many, while the daemon works: batches that hold up nobody
$pg->query(<<"SQL");
CREATE TEMP TABLE j AS SELECT nextval('jobq.job_id') AS id FROM generate_series(1, $many);
INSERT INTO jobq.job (id, queue, lane, created_at, type, data) SELECT j.id, q.id, q.lane, now(), 'mail', '{}' FROM j, jobq.queue q WHERE q.name = 'huge';
INSERT INTO jobq.attempt (job, attempt, queue, outcome, class, finished_at, error) SELECT j.id, 1, q.id, 3, 5, now(), 'away' FROM j, jobq.queue q WHERE q.name = 'huge';
INSERT INTO jobq.dead (job, queue, attempt, class, fingerprint, died_at) SELECT j.id, q.id, 1, 5, 'abc', now() FROM j, jobq.queue q WHERE q.name = 'huge';
ANALYZE;
CREATE TABLE public.writers (xid xid8);
CREATE FUNCTION public.writer() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN INSERT INTO public.writers VALUES (pg_current_xact_id()); RETURN NULL; END \$\$;
CREATE TRIGGER writer AFTER INSERT ON jobq.audit FOR EACH STATEMENT EXECUTE FUNCTION public.writer();
SQL
my $groups_ms = time;
is $q1->("count FROM jobq.dead_groups WHERE queue = 'huge'"), $many, sprintf '%d dead letters are a group, in %.0f ms', $many, 1000 * (time - $groups_ms);
my $begin = time;
my $pid = fork // die;
if ($pid == 0) {
	open STDOUT, '>', "$d->{dir}/retry.out";
	open STDERR, '>&', \*STDOUT;
	exec jobqctl_program(), '-c', $d->{conf}, 'dead', 'retry', '--queue', 'huge' or POSIX::_exit(127);
}
my ($longest, $slowest, $n, $done) = (0, 0, 0, 0);
until ($done) {
	$done = waitpid($pid, POSIX::WNOHANG()) == $pid;
	my $sent = time;
	my $probe = $q1->("jobq.enqueue('busy')");
	wait_for { $q1->("state FROM jobq.jobs WHERE id = $probe") eq 'completed' } 'a job of another queue';
	my $took = time - $sent;
	$slowest = $took if $took > $slowest;
	$n++;
	my $age = $q1->("coalesce(max(extract(epoch FROM now() - xact_start)), 0) FROM pg_stat_activity WHERE application_name LIKE 'jobqctl%'");
	$longest = $age if $age > $longest;
}
is $?, 0, sprintf '%d are retried in %.1f s', $many, time - $begin;
is slurp("$d->{dir}/retry.out"), "$many dead letters retried\n", '… all of them';
cmp_ok $n, '>', 0, sprintf '%d jobs of another queue were done meanwhile, the slowest in %.0f ms', $n, 1000 * $slowest;
my $batches = $q1->('count(DISTINCT xid) FROM public.writers');
cmp_ok $batches, '>=', $many / 1000, sprintf 'in %d transactions, the longest seen of %.0f ms', $batches, 1000 * $longest;
wait_for { $q1->("count(*) FROM jobq.attempt a JOIN jobq.queue q ON q.id = a.queue WHERE q.name = 'huge' AND a.outcome = 1") == $many } 'all of them to be done', 300;
pass sprintf '… and all are done %.1f s after the command began', time - $begin;

# who is stopped half way goes on with the same command
$pg->query(<<"SQL");
UPDATE jobq.attempt SET outcome = 3 WHERE outcome = 1 AND queue = (SELECT id FROM jobq.queue WHERE name = 'huge');
INSERT INTO jobq.dead (job, queue, attempt, class, fingerprint, died_at)
SELECT a.job, a.queue, a.attempt, 5, 'abc', now() FROM jobq.attempt a WHERE a.outcome = 3 AND a.queue = (SELECT id FROM jobq.queue WHERE name = 'huge');
SQL
$ok->('queue', 'pause', 'huge');
$pid = fork // die;
if ($pid == 0) {
	open STDOUT, '>', '/dev/null';
	exec jobqctl_program(), '-c', $d->{conf}, 'dead', 'retry', '--queue', 'huge', '--rate', '1000/h' or POSIX::_exit(127);
}
my $left;
wait_for { ($left = $q1->("dead FROM jobq.queues WHERE name = 'huge'")) < $many } 'the first batches';
kill 'KILL', $pid;
waitpid $pid, 0;
wait_for { $q1->("count(*) FROM pg_stat_activity WHERE application_name LIKE 'jobqctl%'") == 0 } 'its server process to have ended, with what it was doing';
$left = $q1->("dead FROM jobq.queues WHERE name = 'huge'");
is $q1->("(SELECT count(*) FROM jobq.timer t JOIN jobq.queue q ON q.id = t.queue WHERE q.name = 'huge') + ready FROM jobq.queues WHERE name = 'huge'"), $many - $left,
    sprintf 'killed half way: of %d, %d have their time and %d are dead letters', $many, $many - $left, $left;
is_deeply $json->('dead', 'retry', '--queue', 'huge', '--rate', '1000/h'), { retried => 0 + $left, refused => 0 }, 'the same command does the rest' if $left > 0;
is $q1->("dead FROM jobq.queues WHERE name = 'huge'"), 0, 'none is left';
done_testing;
