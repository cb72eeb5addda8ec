# A transaction over a queue that somebody leaves open: the queue's jobs that run
# are none the worse, and other queues, timers and schedules do not know of it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $config = <<'YAML';
handlers: {null: {driver: noop}}
queues:
  work: {handler: null, workers: 1, concurrency: 10, lease: 5s}
  other: {handler: null, workers: 1, concurrency: 10}
  keyed: {handler: null, workers: 1, concurrency: 10, concurrency_key: data.k}
schedules:
  each-second: {every: 1s, queue: other, type: scheduled}
YAML
my $d = Jobqd::Daemon->new(pg => $pg, config => $config);
$d->start;
sub state { return $pg->query("SELECT state FROM jobq.jobs WHERE id = $_[0]") }
sub put { return $pg->query("SELECT jobq.enqueue($_[0])") }
sub runs { my $id = put(@_); wait_for { state($id) eq 'running' } 'a job to run'; return $id }

my $brief = runs(q{'work', data => '{"sleep_ms": 3000}'});
my $long = runs(q{'work', data => '{"sleep_ms": 600000}'});
my $waits = put(q{'work', delay => '1 h'});
my $from = $d->log_size;
my $session = $pg->session;
$session->query('BEGIN');
is $session->query("SELECT jobq.clear('work')"), 1, 'somebody clears a queue, and does not commit';
my $held = put(q{'work'});
for my $call ("'other'", "'other', delay => '1 second'") {
	my $id = put($call);
	wait_for { state($id) eq 'completed' } 'a job of another queue';
	pass "a job of another queue is run: $call";
}
my $count = sub { $pg->query(q{SELECT count(*) FROM jobq.jobs WHERE type = 'scheduled' AND state = 'completed'}) };
my $n = $count->();
wait_for { $count->() > $n } 'a schedule';
pass 'schedules are fired';
wait_for { state($brief) eq 'completed' } 'the end of a job';
pass 'a job of the queue that has run has ended';
$d->wait_log(qr/nothing is claimed.*queue=work/, $from);
pass 'the log says why none begins';
$pg->query("SELECT jobq.cancel($long)");
wait_for { state($long) eq 'cancelled' } 'a job to stop';
pass 'one that runs can be cancelled';
is state($held), 'ready', 'what came meanwhile waits';

$session->query('ROLLBACK');
wait_for { state($held) eq 'completed' } 'the job that waited';
is state($waits), 'scheduled', 'nothing was cleared';
unlike $d->log($from), qr/database is away|handed back|lost/, 'no connection was given up, no lease lost';

# somebody ends one job in a transaction, and goes on for long
my %ends = (
	'SELECT jobq.cancel(%d)' => 'cancelled',
	'SELECT jobq.delete(%d)' => '',
	q{SELECT jobq.complete(%1$d, (SELECT pool || '.' || batch || '.1' FROM jobq.claim WHERE %1$d = any (jobs)), '{}')} => 'completed',
);
for my $sql (sort keys %ends) {
	my $runs = $sql =~ /complete/;
	$pg->query("SELECT jobq.pause('work')") if !$runs;
	my @jobs = map { put(sprintf q('work', data => '{"sleep_ms": %d}'), $runs ? 4000 : 0) } 1 .. 20;
	wait_for { state($jobs[0]) eq 'running' } 'it to run' if $runs;
	$from = $d->log_size;
	$session->query('BEGIN');
	is $session->query(sprintf $sql, $jobs[0]), "t", sprintf $sql, 0;
	$pg->query("SELECT jobq.resume('work')") if !$runs;
	wait_for { !grep { state($_) ne 'completed' } @jobs[1 .. 19] } 'others';
	pass '… and others that ran beside it have ended';
	$d->wait_log(qr/the end of a job waits for a transaction.* id=$jobs[0]\b/, $from);
	my $next = put(q{'work'});
	wait_for { state($next) eq 'completed' } 'another';
	pass '… the log tells of it, and another runs';
	$session->query('COMMIT');
	wait_for { state($jobs[0]) eq $ends{$sql} } 'its end';
	pass '… whose end is the one that was committed';
	unlike $d->log($from), qr/database is away/, '… no connection was given up';
}

# a job that waits behind a busy key is cancelled so
my $first = runs(q{'keyed', data => '{"k": 1, "sleep_ms": 1000}'});
my @behind = map { put(q{'keyed', data => '{"k": 1}'}) } 1 .. 2;
wait_for { $pg->query('SELECT count(*) FROM jobq.parked') == 2 } 'two that wait for the key';
$session->query('BEGIN');
is $session->query("SELECT jobq.cancel($behind[0])"), 't', 'one behind a busy key is cancelled';
wait_for { state($first) eq 'completed' } 'the key to be free';
my $same = put(q{'keyed', data => '{"k": 2}'});
wait_for { state($same) eq 'completed' } 'one of another key';
pass '… others of the queue are run meanwhile';
$session->query('COMMIT');
wait_for { state($behind[1]) eq 'completed' } 'the next of the key';
pass '… and then the next of the key';

# a reload that changes what somebody is just pausing waits for him, and says so
sub grow {	# a queue's workers
	$from = $d->log_size;
	$config =~ s/^(  $_[0]: .*)workers: 1/$1workers: 2/m or die;
	$d->configure($config);
	$d->signal('HUP');
}
$session->query('BEGIN');
$session->query("SELECT jobq.pause('work')");
grow('other');
$d->wait_log(qr/: reloaded /, $from);
pass 'a reload that changes another queue does not wait for who is just pausing one';
grow('work');
$d->wait_log(qr/setup \[\d+\]: waiting for a transaction/, $from);
pass 'one that changes it does, and says so';
$session->query('ROLLBACK');
$d->wait_log(qr/: reloaded /, $from);
unlike $d->log($from), qr/database is away/, '… meanwhile nobody thinks that the database is away';

is $d->stop, 0, 'stops with status 0';
done_testing;
