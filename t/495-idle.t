# Two nodes with nothing to do: they ask the database seldom, keep what they
# have, and still are there in time for what nobody announces.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new(settings => { autovacuum => 'off' });
my $config = <<'YAML';
handlers: {null: {driver: noop}}
monitor: {interval: 1h, health_file: ""}
queues:
  work: {handler: null, workers: 1}
  more: {handler: null, workers: 1}
YAML
my %node = map { $_ => Jobqd::Daemon->new(pg => $pg, name => $_, config => $config) } qw(a b);
$_->start for values %node;
sub done { return $pg->query(q{SELECT count(*) FROM jobq.jobs WHERE state = 'completed'}) }
# When the last run of a job began, by the database's clock.
sub begun { return $pg->query('SELECT extract(epoch FROM max(started_at)) FROM jobq.attempts') }
sub asleep { return $pg->query('SELECT bool_and(jobq.is_asleep(q.id, jobq.fact(\'jobq.sleepers\'))) FROM jobq.queue q') eq 't' }
wait_for { asleep() } 'the leaders to sleep';

# Transactions a second, of both, but for the beats that all leaders make
# when something has happened.
my $rate = sub {
	my $sql = 'SELECT sum(xact_commit + xact_rollback), extract(epoch FROM clock_timestamp()) FROM pg_stat_database; SELECT pg_sleep(6)';
	my $look = sub { (split /\|/, (split /\n/, $pg->query($sql))[0]) };
	my ($n, $at) = $look->();
	my ($m, $then) = $look->();
	return ($m - $n) / ($then - $at);
};
my $least = 1e9;
wait_for { my $r = $rate->(); $least = $r if $r < $least; $least < 2.2 } 'quiet', 60;
cmp_ok $least, '<', 2.2, sprintf 'two idle nodes make %.1f transactions a second', $least;

# enqueued when no leader slept, committed when all do
my $session = $pg->session;
$pg->query('SELECT setval(\'jobq.sleepers\', 1)');
$session->query('BEGIN');
$session->query("SELECT jobq.enqueue('work')");
$pg->query("SELECT jobq.sleep(id) FROM jobq.queue; NOTIFY jobq, '*awake'");
$pg->query('SELECT pg_sleep(2)');
is done(), 0, 'a job of an open transaction';
my $from = $session->query('SELECT extract(epoch FROM clock_timestamp())');
$session->query('COMMIT');
wait_for { done() == 1 } 'the job';
pass sprintf 'is run %.2f s after its commit, though nobody was notified', begun() - $from;

# the flag of a queue is cleared by the other node
$pg->query('SELECT jobq.wake(id) FROM jobq.queue');
$from = $pg->query("SELECT jobq.enqueue('more'); SELECT extract(epoch FROM clock_timestamp())") =~ s/.*\n//r;
wait_for { done() == 2 } 'the job';
pass sprintf 'so is one enqueued while the leaders are thought to be awake, after %.2f s', begun() - $from;

# the leading node dies
my ($lead, $next) = sort { $b->pids(qr/scheduler \(leader\)/) <=> $a->pids(qr/scheduler \(leader\)/) } values %node;
$pg->query("SELECT jobq.enqueue('work', delay => '1 second')");
my $at = time;
$lead->vanish;
wait_for { scalar $next->pids(qr/scheduler \(leader\)/) } 'the other scheduler to lead';
pass sprintf 'another scheduler leads after %.1f s', time - $at;
my $leads = $pg->query('SELECT extract(epoch FROM clock_timestamp())');
wait_for { done() == 3 } 'the job that was due meanwhile';
pass sprintf 'what was due meanwhile runs %.2f s later', begun() - $leads;

# the shortest lease
$from = $next->log_size;
$next->configure($config =~ s/workers: 1}/workers: 1, lease: 1s}/gr);
$next->signal('HUP');
$next->wait_log(qr/leader drained/, $from);
$pg->query('SELECT pg_sleep(5)');
unlike $next->log($from), qr/node=@{[$next->{name}]} queue=.*|leases lost/, 'an idle pool is never taken for dead';
is $next->stop, 0, 'stops with status 0';
done_testing;
