# What the death of a worker means for its jobs: one that was alone is charged
# with a crash and dies at max_crashes; those that were with others run again
# alone and uncharged; what had not begun runs as if nothing had been.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 14;

my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
handlers: {null: {driver: noop}}
retry: {default: {attempts: 20, backoff: fixed, base: 50ms, jitter: 0%, max_crashes: 2}}
queues:
  single: {handler: null, workers: 1, concurrency: 1}
  mates:  {handler: null, workers: 1, concurrency: 10}
YAML
$d->start;

# Alone in its worker.
my $poison = $pg->query("SELECT jobq.enqueue('single', 'poison', '{\"crash\": true}')");
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $poison") eq 'dead' } 'the poison job';
is $pg->query("SELECT count(*), bool_and(class = 'crash'), bool_and(signal = 9) FROM jobq.attempts WHERE job_id = $poison"),
    '2|t|t', 'a job that crashes is dead at max_crashes (S1-50)';
is $pg->query("SELECT error_class FROM jobq.jobs WHERE id = $poison"), 'crash', 'of class crash';
like $pg->query("SELECT error FROM jobq.dead_letters WHERE job_id = $poison"), qr/worker process died.*signal 9/,
    'and the dead letter says how';

# Among others.
my @innocent = split /\n/, $pg->query(
	"SELECT jobq.enqueue('mates', 'innocent', '{\"sleep_ms\": 3000}') FROM generate_series(1, 5)");
wait_for { $pg->query("SELECT count(*) FROM jobq.lease") == 5 } 'the innocent to run';
my $crasher = $pg->query("SELECT jobq.enqueue('mates', 'crasher', '{\"crash\": true}')");
my $others = join ',', @innocent;
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $crasher") eq 'dead' } 'the crasher';
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE id IN ($others) AND state = 'completed'") == 5 } 'the innocent';
is $pg->query("SELECT count(*) FROM jobq.attempts WHERE job_id = $crasher AND outcome = 'lost'"), 1,
    'the crasher is not blamed while others might be';
is $pg->query("SELECT count(*) FROM jobq.attempts WHERE job_id = $crasher AND class = 'crash'"), 2,
    'alone it is';
is $pg->query("SELECT count(*) FROM jobq.attempts WHERE job_id IN ($others) AND outcome NOT IN ('completed', 'lost')"), 0,
    'the innocent are charged nothing';
is $pg->query("SELECT min(attempt), max(attempt) FROM jobq.jobs WHERE id IN ($others)"), '2|2', 'and ran twice';
is $pg->query("SELECT count(*) FROM jobq.attempts a JOIN jobq.attempts b ON a.job_id < b.job_id AND a.attempt = 2
	AND b.attempt >= 2 AND a.started_at < b.finished_at - interval '20 ms' AND b.started_at < a.finished_at - interval '20 ms'
	WHERE a.job_id IN ($others, $crasher) AND b.job_id IN ($others, $crasher)"), 0, 'the second time each of them alone';

# Killed from outside, with jobs that wait in its socket.
$pg->query("SELECT count(jobq.enqueue('single')) FROM generate_series(1, 50)");
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'single' AND state = 'completed'") == 50 } 'short runs';
my $long = $pg->query("SELECT jobq.enqueue('single', 'long', '{\"sleep_ms\": 60000}')");
$pg->query("SELECT count(jobq.enqueue('single', 'behind')) FROM generate_series(1, 20)");
my ($pid) = @{ (wait_for { my @p = $d->pids(qr{worker single/0 job $long}); @p ? \@p : undef } 'the long job')  };
kill 'KILL', $pid;
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = 'behind' AND state = 'completed'") == 20
	|| $pg->query("SELECT state FROM jobq.jobs WHERE id = $long") eq 'running' } 'what waited behind';
wait_for { $pg->query("SELECT count(*) FROM jobq.attempts WHERE job_id = $long AND class = 'crash'") == 1 } 'the crash';
pass 'the running job is charged with the death of its worker';
my ($again) = @{ (wait_for { my @p = $d->pids(qr{worker single/0 job $long}); @p ? \@p : undef } 'the long job again')  };
isnt $again, $pid, 'another worker took its place';
ok $pg->query("SELECT jobq.cancel($long)") eq 't', 'cancelled while it runs';
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $long") eq 'cancelled' } 'the cancel';
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = 'behind' AND state = 'completed'") == 20 } 'the rest';
is $pg->query("SELECT count(*) FROM jobq.attempts t JOIN jobq.jobs j ON j.id = t.job_id WHERE j.type = 'behind'"), 20,
    'what had not begun ran once, under its first number';
is $pg->query("SELECT count(*) FROM jobq.lease"), 0, 'no lease is left';
is $d->stop, 0, 'jobqd ends well';
