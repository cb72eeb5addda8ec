# Schedules on two nodes: each instant makes one job, through the death of
# the scheduler that leads, of its whole node, and a reload.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 18;

my $pg = Jobqd::Postgres->new;
my $config = <<'YAML';
handlers: {null: {driver: noop}}
queues:
  work: {handler: null, workers: 1}
schedules:
  each-second: {every: 1s, queue: work, type: every, description: "a sign of life"}
  each-second-cron: {cron: "* * * * * *", queue: work, type: cron, data: {from: cron}}
  off: {every: 1s, queue: work, type: off, enabled: false}
  needs: {every: 1s, queue: work, type: needs, requires_env: [JOBQD_TEST_NO_SUCH_VARIABLE]}
YAML
delete $ENV{JOBQD_TEST_NO_SUCH_VARIABLE};
my %node = map { $_ => Jobqd::Daemon->new(pg => $pg, name => $_,
    config => "$config  only-$_: {every: 1s, queue: work, type: only-$_}\n") } qw(a b);
$_->start for values %node;

# The node whose scheduler leads.
sub leader {
	my @found = grep { $_->running && (() = $_->pids(qr/^jobqd: scheduler \(leader\)$/)) } values %node;
	return @found == 1 ? $found[0] : undef;
}
sub count { return $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = '$_[0]'") }
sub more {
	my ($n) = @_;
	my $from = count('every');
	wait_for { count('every') >= $from + $n } "$n more instants";
}

wait_for { leader() } 'a scheduler to lead';
my $first = leader();
# S3-9 each registration and the end of it; S0-30 what its environment lacks.
for my $line (
	qr/schedule registered schedule=each-second spec=1s queue=work next=\S+ description="a sign of life"/,
	qr/schedule registered schedule=each-second-cron spec="\* \* \* \* \* \*"/,
	qr/schedule disabled schedule=off/,
	qr/schedule does not run: .* schedule=needs variable=JOBQD_TEST_NO_SUCH_VARIABLE/,
	qr/scheduler initialized schedules=3/,
) {
	like $first->log, $line, "logged at start: $line";
}
more(4);
wait_for { count('only-a') >= 4 && count('only-b') >= 4 } 'schedules that only one of the nodes has';
is $pg->query("SELECT count(*) - count(DISTINCT (type, run_at)) FROM jobq.jobs WHERE type LIKE 'only-%'"), 0,
    'a schedule runs whichever node has it and whichever leads';

# the leading scheduler dies; its master starts another
kill 'KILL', $first->pids(qr/^jobqd: scheduler \(leader\)$/);
more(8);
ok leader(), 'after kill -9 of the scheduler another leads';

# a reload on the leading node
my $reloaded = leader() || $first;
my $from = $reloaded->log_size;
$reloaded->configure("$config  later: {every: 1h, queue: work, type: later}\n");
$reloaded->signal('HUP');
$reloaded->wait_log(qr/schedule registered schedule=later/, $from);
more(4);

# the whole node dies
wait_for { leader() } 'a leader';
my $dead = leader();
my ($other) = grep { $_ != $dead } values %node;
$dead->vanish;
wait_for { !$dead->running } 'the node to die';
more(8);
wait_for { (leader() || 0) == $other } 'the other node to lead';
like $other->log, qr/scheduler leads/, 'one line says that it does';
$other->stop;

for my $type (qw(every cron)) {
	is $pg->query(<<"SQL"), 't', "$type: each instant once, with its run_at";
SELECT count(*) = count(DISTINCT run_at)
    AND count(*) = extract(epoch FROM max(run_at) - min(run_at)) + 1
    AND bool_and(run_at = date_trunc('second', run_at))
FROM jobq.jobs WHERE type = '$type'
SQL
}
is count('off'), 0, 'a disabled schedule makes no job (S0-38)';
is count('needs'), 0, 'nor one whose environment is missing (S0-30)';
is $pg->query("SELECT DISTINCT data->>'from' FROM jobq.jobs WHERE type = 'cron'"), 'cron', 'the data is the schedule\'s';
is $pg->query(<<'SQL'), 't', 'the view: last run, next run, last job';
SELECT bool_and(next_run > last_run AND last_run = j.run_at AND NOT paused)
FROM jobq.schedules s JOIN jobq.jobs j ON j.id = s.last_job_id WHERE s.name LIKE 'each%'
SQL
is $pg->query("SELECT spec || ' ' || queue || ' ' || enabled FROM jobq.schedules WHERE name = 'off'"), '1s work false',
    'the view: a disabled one';

# one that is paused makes no job, and none for the time it was paused
$other->start;
$from = count('every');
more(2);
$pg->query("UPDATE jobq.schedule SET paused = true WHERE name = 'each-second'");
my $paused_at = $pg->query("SELECT max(run_at) FROM jobq.jobs WHERE type = 'every'");
my $cron = count('cron');
wait_for { count('cron') > $cron + 4 } 'the other schedule to go on';
cmp_ok $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = 'every' AND run_at > '$paused_at'"), '<=', 1,
    'a paused schedule makes no jobs';
$pg->query("UPDATE jobq.schedule SET paused = false WHERE name = 'each-second'");
more(3);
ok $pg->query("SELECT max(gap) >= interval '3 s' FROM (SELECT run_at - lag(run_at) OVER (ORDER BY run_at) AS gap "
    . "FROM jobq.jobs WHERE type = 'every' AND run_at >= '$paused_at') g") eq 't', '… nor afterwards for then';
is $other->stop, 0, 'stops with status 0';
