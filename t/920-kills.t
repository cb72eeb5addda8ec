# kill -9 of workers, of the leader, of the scheduler and of the monitor while
# 20,000 jobs run: none lost, no completion accepted twice, the pool back at
# its size; then of the master: nothing survives two seconds later, and a
# restart finishes the work. S1-41 S1-50 S1-75
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 12;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
log: {file: stderr, level: info}
handlers:
  null: {driver: noop}
  shell: {driver: exec, argv: [sh, -c, "(setsid sleep 300 &) ; sleep 300"]}
retry: {default: {attempts: 50, backoff: fixed, base: 100ms, max_crashes: 50}}
queues:
  work: {handler: null, workers: 3, lease: 3s}
  tree: {handler: shell, workers: 2, lease: 3s}
YAML
$d->start;

my %kills = map { $_ => 0 } qw(worker leader scheduler monitor);
my %pattern = (worker => qr{^jobqd: worker work/}, leader => qr{^jobqd: queue work},
	scheduler => qr{^jobqd: scheduler}, monitor => qr{^jobqd: monitor});
my @order = ((('worker') x 4, 'leader', 'worker', 'scheduler', 'worker', 'monitor') x 2);
my $jobs = 20_000;
my $part = int $jobs / (@order + 2);
my $enqueue = sub { $pg->query("SELECT count(jobq.enqueue('work', '', jsonb_build_object('sleep_ms', (i % 4)))) FROM generate_series(1, $_[0]) i") };
my $done = sub { $pg->query("SELECT count(*) FROM jobq.attempts WHERE outcome = 'completed'") };
$enqueue->($jobs - $part * @order);
for my $i (0 .. $#order) {
	my $victim = $order[$i];
	$enqueue->($part);
	wait_for { $done->() >= $i * $part } 'the next part of the work';
	my @pids = wait_for { my @p = $d->pids($pattern{$victim}); @p ? \@p : undef } "a $victim to kill";
	kill 'KILL', $pids[0][ rand @{ $pids[0] } ] and $kills{$victim}++;
}
cmp_ok $kills{$_}, '>=', 1, "kill -9 of a $_ ($kills{$_} times)" for sort keys %kills;

wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'work' AND state = 'completed'") == $jobs } 'all jobs', 120;
pass "all $jobs jobs completed (S1-41, S1-50, S1-75)";
is $pg->query("SELECT count(*) FROM (SELECT job_id FROM jobq.attempts WHERE outcome = 'completed' GROUP BY 1 HAVING count(*) > 1) x"),
    0, 'no completion was accepted twice';
my $repeated = $pg->query("SELECT count(*) FROM jobq.attempts WHERE outcome <> 'completed'");
note "$repeated attempts ended without a result";
wait_for { $d->pids(qr{^jobqd: worker work/}) == 3 && $d->pids($pattern{leader}) == 1
	&& $d->pids($pattern{scheduler}) == 1 && $d->pids($pattern{monitor}) == 1 } 'the pool at its size';
pass 'the pool is back at its size';

# The master, with programs running that daemonised their children.
$pg->query("SELECT jobq.enqueue('tree') FROM generate_series(1, 2); SELECT jobq.enqueue('work', '', '{\"sleep_ms\": 3}') FROM generate_series(1, 3000)");
wait_for { scalar(grep { process_title($_) eq 'sleep 300' } process_tree($d->{pid})) == 4 } 'the programs and their daemons';
my @tree = process_tree($d->{pid});
cmp_ok scalar(@tree), '>=', 4 + 4 + 4, 'a tree of processes is there';
kill 'KILL', $d->{pid};
my $killed = time;
wait_for { !$d->running } 'the master to be gone';
wait_for { !grep { kill 0, $_ and slurp("/proc/$_/stat") !~ /^\d+ \(.*\) Z/s } @tree } 'its descendants to go', 10;
pass sprintf('nothing survived, %.2f s later', time - $killed);
is $pg->query("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'jobqd%'"), 0, 'no connection is left'
    or diag $pg->query("SELECT application_name, state FROM pg_stat_activity");

$d->start;
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'work' AND state = 'completed'") == $jobs + 3000 } 'the rest';
pass 'a restart finished the work (S1-41, S1-52)';
is $pg->query("SELECT count(*) FROM (SELECT job_id FROM jobq.attempts WHERE outcome = 'completed' GROUP BY 1 HAVING count(*) > 1) x"),
    0, 'and again no completion was accepted twice';
