# Behind PgBouncer in transaction mode (pooler: transaction): nothing of a
# session is relied on, all that notifications make sooner is found by looking.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new(settings => { log_statement => 'none' });
my $url = $pg->pooler(3);
plan skip_all => 'pgbouncer is missing: apt-get install pgbouncer' unless $url;

my %config = (
	url => "database: {url: \"$url\", pooler: transaction}\n",
	queues => <<'YAML');
handlers:
  null: {driver: noop}
  sh: {driver: exec, argv: [/bin/sh, -c, "{{data.run}}"]}
queues:
  work: {handler: null, workers: 2, concurrency: 10, poll: 200ms}
  slow: {handler: null, workers: 1, poll: 200ms}
  programs: {handler: sh, workers: 1, poll: 200ms}
schedules:
  often: {every: 1s, queue: slow, type: tick}
YAML
my @nodes = map { Jobqd::Daemon->new(pg => $pg, name => $_, config => $config{queues} . $config{url}) } qw(a b);
$_->start for @nodes;
pass 'two nodes become ready: the schema is made through the pooler';

# two dozen connections of jobqd share three of the server's
cmp_ok $pg->query("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"),
    '<=', 3, 'more connections than the pooler has';

my $jobs = 3000;
$pg->query("SELECT count(jobq.enqueue('work')) FROM generate_series(1, $jobs)");
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'work' AND state = 'completed'") == $jobs } 'all jobs';
is $pg->query("SELECT count(*) FROM jobq.attempts WHERE job_id IN (SELECT id FROM jobq.jobs WHERE queue = 'work')"),
    $jobs, 'every job is run once';

# idle queues, timers, retries, priorities, dependants
my $id = $pg->query("SELECT jobq.enqueue('work')");
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") eq 'completed' } 'a job for an idle queue';
my $later = $pg->query("SELECT jobq.enqueue('work', delay => '700 ms')");
my $child = $pg->query("SELECT jobq.enqueue('work', after => '{$later}')");
my $again = $pg->query(q{SELECT jobq.enqueue('work', data => '{"fail": "network"}', max_attempts => 2)});
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $child") eq 'completed' } 'a timer and its dependant';
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $again") eq 'dead' } 'a retry';
is $pg->query("SELECT attempt FROM jobq.jobs WHERE id = $again"), 2, 'timers, dependants and retries';

# a running job is cancelled without a notification
my $long = $pg->query(q{SELECT jobq.enqueue('programs', data => '{"run": "echo hello; exec sleep 60"}')});
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $long") eq 'running' } 'a long job';
is $pg->query("SELECT jobq.cancel($long)"), 't', 'asked to stop';
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $long") eq 'cancelled' } 'it to stop';
pass 'a running job is cancelled';

# a schedule, each instant once, and takeover
my $fired = q{SELECT count(*) FROM jobq.jobs WHERE type = 'tick'};
wait_for { $pg->query($fired) >= 2 } 'the schedule';
my ($leading) = grep { $_->pids(qr/^jobqd: scheduler \(leader\)/) } @nodes;
ok $leading, 'one node schedules';
my ($other) = grep { $_ != $leading } @nodes;
is $leading->stop, 0, 'it ends well';
my $before = $pg->query($fired);
wait_for { $pg->query($fired) > $before } 'the other to take over';
is $pg->query("SELECT count(*) - count(DISTINCT run_at) FROM jobq.jobs WHERE type = 'tick'"), 0, 'no instant twice';

# one that is made at run time, whose SQL has a time limit
$pg->query(q{SELECT jobq.schedule_put('asked', '{"every": "1s", "queue": "slow", "type": "asked", "only_if": "select true"}')});
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = 'asked'") >= 2 } 'a schedule made at run time';
is join(' ', map { (run_program([ 'psql', '-XAtqc', 'SHOW statement_timeout', $url ]))[1] } 1 .. 5),
    "0\n 0\n 0\n 0\n 0\n", '… and the limit is left in no session';

is join(' ', map { (run_program([ 'psql', '-XAtqc', 'SELECT count(*) FROM pg_prepared_statements', $url ]))[1] } 1 .. 5),
    "0\n 0\n 0\n 0\n 0\n", '… nor is a prepared statement';

# jobqctl goes through it too
my ($status, $out, $err) = $other->ctl('enqueue', 'work', '--wait');
is $status, 0, "jobqctl enqueue --wait" or diag $err;
($status, $out, $err) = $other->ctl('status');
is $status, 0, 'jobqctl status' or diag $err;

is $pg->query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 0, 'no lock is left in a session';
unlike $other->log, qr/ error /, 'no errors';
is $other->stop, 0, 'jobqd ends well';
done_testing;
