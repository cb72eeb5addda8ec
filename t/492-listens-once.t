# One session of a node listens, and the master passes on what it hears: jobs,
# cancels and pauses. What was notified while it did not is not lost, also where
# nobody looks for minutes otherwise; and while it does, nobody needs to.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new(settings => { log_statement => 'all' });
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
handlers: {null: {driver: noop}}
monitor: {interval: 1s, health_file: ""}
queues:
  work: {handler: null, workers: 1, concurrency: 20, lease: 1h, poll: 10m}
  slow: {handler: null, workers: 1, concurrency: 20, lease: 1h, poll: 10m}
  wide: {handler: null, workers: 1, concurrency: 1000, lease: 1h, poll: 10m}
  more: {handler: null, workers: 1, lease: 1h, poll: 10m}
YAML
$d->start;
my $asleep = q{SELECT bool_and(jobq.is_asleep(q.id, jobq.fact('jobq.sleepers'))) FROM jobq.queue q};
sub asleep { wait_for { $pg->query($asleep) eq 't' } 'the leaders to sleep' }
asleep();
my $listens = () = slurp("$pg->{dir}/postgres.log") =~ /: LISTEN /gi;
is $listens, 1, 'one session listens for seven processes and four queues';

my $state = sub { $pg->query("SELECT state FROM jobq.jobs WHERE id = $_[0]") };
my $runs = sub {
	my $id = $pg->query(q{SELECT jobq.enqueue('slow', data => '{"sleep_ms": 600000}')});
	wait_for { $state->($id) eq 'running' } 'a job to run';
	return $id;
};
my $scheduler = sub { ($d->pids(qr/scheduler/))[0] };

# what happens in the meantime, and how it becomes known
my %gap = (
	map({ my $name = $_; ("whose session \"$name\" was ended" => [
		sub {}, sub { $pg->query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '$name'; $_[0]") },
	]) } 'jobqd scheduler', 'jobqd scheduler listens'),
	'that was killed' => [
		sub { kill 'STOP', $_[0] }, sub { my $out = $pg->query($_[0]); kill 'KILL', $scheduler->(); $out },
	],
);
for my $what (sort keys %gap) {
	my ($before, $while) = @{ $gap{$what} };
	my $id = $runs->();
	asleep();
	my $from = $d->log_size;
	$before->($scheduler->());
	my $new = $while->("SELECT jobq.cancel($id); SELECT jobq.pause('more', 'test'); SELECT jobq.enqueue('work')") =~ s/.*\n//sr;
	wait_for { $state->($id) eq 'cancelled' } 'the job to be cancelled';
	pass "a scheduler $what: a running job is cancelled";
	wait_for { $state->($new) eq 'completed' } 'the job to run';
	pass '… a new one is run';
	$d->wait_log(qr/queue is paused.*queue=more/, $from);
	pass '… and the leader of a queue that was paused knows it';
	$pg->query("SELECT jobq.resume('more')");
	$d->wait_log(qr/queue goes on.*queue=more/, $from);
	pass '… as that it was resumed';
}

# the scheduler's statement waits for a lock, and hears all the same
asleep();
my $locker = $pg->session;
$locker->query('BEGIN; LOCK jobq.leader IN ACCESS EXCLUSIVE MODE');
wait_for { $pg->query(q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'jobqd scheduler' AND wait_event_type = 'Lock'}) == 1 } 'a tick that waits';
my $meanwhile = $pg->query(q{SELECT jobq.enqueue('work')});
wait_for { $state->($meanwhile) eq 'completed' } 'a job';
is $pg->query(q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'jobqd scheduler' AND wait_event_type = 'Lock'}), 1,
    'a job is run while a tick waits for a lock';
$locker->query('COMMIT');

# while a leader is told of each job, it claims no more often than there are jobs
asleep();
my $claims = sub { scalar(() = slurp("$pg->{dir}/postgres.log") =~ /: select .*\bclaim\(\$1/gi) };
my $settled = sub { my $n = $claims->(); select undef, undef, undef, 0.5; return $n == $claims->() };
wait_for { $settled->() } 'the last look of the leaders';
my $before = $claims->();
for (1 .. 10) {
	my $id = $pg->query(q{SELECT jobq.enqueue('work')});
	wait_for { $state->($id) eq 'completed' } 'a job';
}
wait_for { $settled->() } 'the last claim';
my $made = $claims->() - $before;
ok $made >= 10 && $made < 16, "$made claims for ten jobs";

# one that is told very often says that it is awake, and looks until it is over
my $ids = $pg->query('SELECT last_value FROM jobq.job_id');
background([ 'psql', '-Xqc', q{DO $$ BEGIN FOR i IN 1 .. 4000 LOOP PERFORM jobq.enqueue('wide'); COMMIT; END LOOP; END $$}, $pg->url ]);
wait_for { $pg->query($asleep) eq 'f' } 'the leader to be awake';
pass 'a leader that is told of 4,000 jobs one by one is awake';
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE id > $ids AND state = 'completed'") == 4000 } 'the jobs', 120;
asleep();
pass '… until they have run';

# a bit that somebody else has cleared is set again, as soon as a look finds what was not told
$pg->query("SELECT setval('jobq.sleepers', 0)");
my $quiet = $pg->query(q{SELECT jobq.enqueue('work')});
wait_for { $state->($quiet) eq 'completed' } 'a job nobody was told of';
wait_for { $pg->query(q{SELECT jobq.is_asleep(q.id, jobq.fact('jobq.sleepers')) FROM jobq.queue q WHERE name = 'work'}) eq 't' } 'the bit';
pass 'a leader that was not told says again that it sleeps';

# the monitor hears by it that notifications arrive: what one round notified, the next knows
my $from = $d->log_size;
wait_for { (() = $d->log($from) =~ /health healthy=/g) > 3 } 'rounds of the monitor';
unlike $d->log($from), qr/notifications/, 'notifications arrive';
is $d->stop, 0, 'stops with status 0';
done_testing;
