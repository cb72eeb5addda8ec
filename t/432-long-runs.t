# Runs that take much longer than a lease: it is renewed for as long as they last,
# and nobody takes them away; meanwhile other queues, and the other jobs of the
# same one, go on as if they were not there.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new;
my $config = <<'YAML';
log: {file: stderr, level: info}
handlers:
  null: {driver: noop}
  sleep: {driver: exec, argv: [sleep, "{{data.seconds}}"]}
queues:
  report: {handler: sleep, workers: 1, lease: 4s, timeout: 5m}
  mixed: {handler: null, workers: 1, concurrency: 5, lease: 4s, timeout: 5m}
  low: {handler: null, workers: 2, priority: low, timeout: 1h, cancel: {grace: 1s}}
  medium: {handler: null, workers: 1, priority: normal}
  high: {handler: null, workers: 1, priority: high}
YAML
my %node = map { $_ => Jobqd::Daemon->new(pg => $pg, name => $_, config => $config) } qw(a b);
$_->start for values %node;
sub q1 { return $pg->query("SELECT $_[0]") }

# Much longer than the lease, with another node that would take it.
my $program = q1(q{jobq.enqueue('report', data => '{"seconds": "20"}')});
my $inside = q1(q{jobq.enqueue('mixed', 'long', '{"sleep_ms": 20000}')});
wait_for { q1("count(*) FROM jobq.jobs WHERE id IN ($program, $inside) AND state = 'running'") == 2 } 'both to run';

# A long job in a worker blocks none of its neighbours.
my $begin = time;
q1(q{count(jobq.enqueue('mixed', 'short', '{"sleep_ms": 10}')) FROM generate_series(1, 200)});
wait_for { q1("count(*) FROM jobq.jobs WHERE type = 'short' AND state = 'completed'") == 200 } 'what came after the long one';
is q1("state FROM jobq.jobs WHERE id = $inside"), 'running', sprintf 'S3-7: 200 short jobs done in %.1f s beside a long one, which still runs', time - $begin;

# Queues by class: what piles up in a low one delays no other.
q1(q{count(jobq.enqueue('low', data => '{"sleep_ms": 600000}')) FROM generate_series(1, 5000)});
wait_for { q1("running FROM jobq.queues WHERE name = 'low'") >= 4 } 'all workers of the low queue to be busy';
for my $queue (qw(high medium)) {
	my $id = q1("jobq.enqueue('$queue')");
	wait_for { q1("state FROM jobq.jobs WHERE id = $id") eq 'completed' } "a job of the queue $queue";
	my $waits = q1("ready FROM jobq.queues WHERE name = 'low'");
	cmp_ok $waits, '>', 4000, sprintf 'S2-6: behind %d jobs of the low queue one of %s starts after %s ms', $waits, $queue,
	    q1("round(1000 * extract(epoch FROM started_at - created_at)) FROM jobq.jobs WHERE id = $id");
}

wait_for { q1("count(*) FROM jobq.jobs WHERE id IN ($program, $inside) AND state = 'completed'") == 2 } 'both to end';
is q1("string_agg(attempt || ' ' || outcome || ' ' || (finished_at - started_at >= interval '19.9 s'), ', ') FROM jobq.attempts WHERE job_id IN ($program, $inside)"),
    '1 completed true, 1 completed true', 'S0-5, S0-6, S1-40: two runs of 20 s with leases of 4 s, each by its only attempt';
unlike $_->log, qr/leases? lost|has not renewed/, "$_->{name}: no lease was lost" for values %node;
$pg->query(q{SELECT jobq.clear('low'); SELECT jobq.cancel(id) FROM jobq.jobs WHERE queue = 'low' AND state = 'running'});
is $_->stop, 0, "$_->{name} ends well" for values %node;
done_testing;
