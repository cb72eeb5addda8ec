# A pool that was taken for dead while it lives: what it runs is stopped, what
# it says is not believed, the jobs run again, and it goes on with a new lease.
# A leader that dies: its workers complete what they run themselves.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 14;

my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
handlers: {null: {driver: noop}}
queues:
  work: {handler: null, workers: 2, concurrency: 5, lease: 3s, cancel: {grace: 1s}}
YAML
$d->start;

my @ids = split /\n/, $pg->query("SELECT jobq.enqueue('work', 'long', '{\"sleep_ms\": 600000}') FROM generate_series(1, 6)");
my $ids = join ',', @ids;
wait_for { $pg->query("SELECT count(*) FROM jobq.lease") == 6 } 'the leases';
my $pool = $pg->query("SELECT id FROM jobq.pool");
my @workers = $d->pids(qr{^jobqd: worker});
is $pg->query("SELECT jobq.reap($pool)"), 6, 'the pool is declared dead';
wait_for { $d->log =~ /leases lost/ } 'the leader to hear of it';
wait_for { $pg->query("SELECT count(*) FROM jobq.lease WHERE attempt = 2") == 6 } 'the jobs to run again';
pass 'its jobs run again, as attempt 2';
isnt $pg->query("SELECT id FROM jobq.pool"), $pool, 'under a new lease';
is $pg->query("SELECT count(*), string_agg(DISTINCT outcome, ',') FROM jobq.attempts WHERE job_id IN ($ids)"), '6|lost',
    'nothing else was written of the first runs';
is_deeply [ $d->pids(qr{^jobqd: worker}) ], \@workers, 'no worker had to die for it';
$pg->query("SELECT jobq.cancel(id) FROM jobq.jobs WHERE id IN ($ids)");
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE id IN ($ids) AND state = 'cancelled'") == 6 } 'the cancels';
pass 'the second runs are its own again';

# One attempt is ended by somebody else; the late result changes nothing.
my $taken = $pg->query("SELECT jobq.enqueue('work', 'taken', '{\"sleep_ms\": 4000}')");
wait_for { $pg->query("SELECT count(*) FROM jobq.lease WHERE job = $taken") == 1 } 'the lease';
$pg->query("INSERT INTO jobq.attempt (job, attempt, queue, outcome, finished_at, error)
	SELECT id, 1, (SELECT id FROM jobq.queue), 4, now(), 'by another' FROM jobq.jobs WHERE id = $taken");
wait_for { $d->log =~ /lease lost id=$taken / } 'the result to be refused';
is $pg->query("SELECT outcome, error FROM jobq.attempts WHERE job_id = $taken"), 'cancelled|by another', 'the first end counts';

# A dead leader.
my @running = split /\n/, $pg->query("SELECT jobq.enqueue('work', 'orphan', '{\"sleep_ms\": 4000}') FROM generate_series(1, 8)");
wait_for { $pg->query("SELECT count(*) FROM jobq.lease") == 8 } 'the leases';
my ($leader) = $d->pids(qr{^jobqd: queue work});
kill 'KILL', $leader;
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = 'orphan' AND state = 'completed'") == 8 } 'the orphans';
is $pg->query("SELECT count(*) FROM jobq.attempts t JOIN jobq.jobs j ON j.id = t.job_id WHERE j.type = 'orphan' AND t.outcome = 'completed'"),
    8, 'each of them completed once';
is $pg->query("SELECT count(*) FROM jobq.attempts t JOIN jobq.jobs j ON j.id = t.job_id
	WHERE j.type = 'orphan' AND t.outcome NOT IN ('completed', 'lost')"), 0, 'and charged with nothing';
wait_for { $d->pids(qr{^jobqd: worker work}) == 2 && $d->pids(qr{^jobqd: queue work}) == 1 } 'the pool at its size';
pass 'the pool is back at its size';
my $next = $pg->query("SELECT jobq.enqueue('work')");
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $next") eq 'completed' } 'the next job';
pass 'and works';

# Told to go: the same, in good order.
$pg->query("SELECT jobq.enqueue('work', 'left', '{\"sleep_ms\": 1000}') FROM generate_series(1, 15)");
wait_for { $pg->query("SELECT count(*) FROM jobq.lease") >= 10 } 'the leases';
kill 'TERM', $d->pids(qr{^jobqd: queue work});
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = 'left' AND state = 'completed'") == 15 } 'all of them';
is $pg->query("SELECT count(*) FROM jobq.attempts t JOIN jobq.jobs j ON j.id = t.job_id
	WHERE j.type = 'left' AND t.outcome NOT IN ('completed', 'lost')"), 0, 'a leader that is told to go harms nothing';
wait_for { $pg->query("SELECT count(*) FROM jobq.lease") == 0 } 'the leases to go';
pass 'no lease is left';
is $d->stop, 0, 'jobqd ends well';
