# A backlog is drained exactly, by read-ahead and without, while producers add
# to it; an idle queue starts a job at once; priorities run in order.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 15;

my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
log: {file: stderr, level: info}
handlers: {null: {driver: noop}}
queues:
  tiny: {handler: null, workers: 2}
  many: {handler: null, workers: 2, concurrency: 20}
  one:  {handler: null, workers: 1, concurrency: 1, poll: 1h, lease: 3s}
YAML

my $backlog = 10_000;
$d->start;
$pg->query("SELECT jobq.pause(q) FROM unnest('{tiny,one}'::text[]) q");
$pg->query("SELECT count(jobq.enqueue('tiny')) FROM generate_series(1, $backlog)");
$pg->query("SELECT jobq.resume('tiny')");

my $done = sub {
	my ($queue) = @_;
	return $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = '$queue' AND state = 'completed'");
};
for (1 .. 20) {
	$pg->query("SELECT count(jobq.enqueue('tiny')) FROM generate_series(1, 100)");
}
wait_for { $done->('tiny') == $backlog + 2000 } 'the backlog';
pass 'everything ran';
is $pg->query("SELECT count(*), max(attempt) FROM jobq.attempts"), ($backlog + 2000) . '|1', 'each job once';
is $pg->query("SELECT count(*) FROM jobq.attempts WHERE finished_at < started_at OR node <> 'node' OR worker IS NULL"),
    0, 'times, node and worker are plausible';
is $pg->query("SELECT count(DISTINCT worker) FROM jobq.attempts"), 2, 'both workers took part (S1-74)';

# Many at once in one worker.
$pg->query("SELECT count(jobq.enqueue('many', '', '{\"sleep_ms\": 100000}')) FROM generate_series(1, 50)");
wait_for { $pg->query("SELECT count(*) FROM jobq.lease") == 40 } 'the leases';
my @busy = wait_for {
	my @t = grep { / jobs$/ } map { process_title($_) } $d->pids(qr{^jobqd: worker many/});
	@t == 2 ? \@t : undef;
} 'titles that count';
is_deeply [ sort map { /(\d+) jobs$/ } @{ $busy[0] } ], [ 20, 20 ], 'each worker runs as many as it may (S1-17)';
wait_for { grep { $_ eq 'jobqd: queue many 2/2 running' } map { process_title($_) } $d->pids(qr{queue many}) }
    'the title of the leader';
pass 'the title of the leader';
wait_for { $pg->query("SELECT count(*) FROM jobq.workers WHERE queue = 'many' AND state = 'busy' AND job_id IS NOT NULL") == 2 }
    'the view of workers';
pass 'the view of workers';
$pg->query("SELECT jobq.cancel(id) FROM jobq.jobs WHERE queue = 'many'");
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'many' AND state = 'cancelled'") == 50 } 'the cancels';
pass 'all of them cancelled, begun or not';

# Priorities, and a queue that is asleep and polls once an hour.
my @ids = map { $pg->query("SELECT jobq.enqueue('one', priority => $_)") } 8, 5, 1, 5;
$pg->query("SELECT jobq.resume('one')");
wait_for { $done->('one') == 4 } 'the four jobs';
is $pg->query("SELECT string_agg(job_id::text, ' ' ORDER BY started_at, job_id) FROM jobq.attempts WHERE job_id >= $ids[0]"),
    join(' ', @ids[2, 1, 3, 0]), 'the most urgent first (S0-14, S1-51, S2-15)';
for my $n (5 .. 7) {
	$pg->query("SELECT jobq.enqueue('one')");
	wait_for { $done->('one') == $n } "job $n";
}
pass 'a queue that polls once an hour hears of its jobs (S1-17)';
is $pg->query("SELECT count(*) FROM jobq.lease"), 0, 'no lease is left';

# A pool whose leader sleeps is renewed by the scheduler, for longer than a lease.
my $slept = $pg->query("SELECT p.seen FROM jobq.pool p JOIN jobq.queue q ON q.id = p.queue WHERE q.name = 'one'");
wait_for { $pg->query("SELECT p.seen > '$slept'::timestamptz + interval '7 s' FROM jobq.pool p JOIN jobq.queue q ON q.id = p.queue WHERE q.name = 'one'") eq 't' }
    'the sleeping pool to be renewed';
unlike $d->log, qr/leases lost/, 'a pool that sleeps is not given up';
is $pg->query("SELECT count(*) FROM jobq.workers WHERE state <> 'idle'"), 0, 'and its workers are seen to be idle';
is $d->stop, 0, 'jobqd ends well';
is $pg->query("SELECT count(*) FROM jobq.pool"), 0, 'the pools are closed';
