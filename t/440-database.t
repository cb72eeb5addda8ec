# The database goes away under load, politely and not: results are kept and
# written when it is back, nothing is lost, nothing done twice, nothing is
# left on lease; a claim whose answer was lost is handed back.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 9;

my $pg = Jobqd::Postgres->new(settings => { fsync => 'on' });
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
log: {file: stderr, level: info}
handlers: {null: {driver: noop}}
queues:
  work: {handler: null, workers: 2, concurrency: 20, recycle: {jobs: 0}}
  long: {handler: null, workers: 1}
YAML
$d->start;
my ($leader) = $d->pids(qr{^jobqd: queue work});
my @workers = $d->pids(qr{^jobqd: worker});

my $jobs = 20_000;
$pg->query("SELECT count(jobq.enqueue('work', '', '{\"sleep_ms\": 3}')) FROM generate_series(1, $jobs)");
my $done = sub { $pg->query("SELECT count(*) FROM jobq.attempts WHERE outcome = 'completed'") };
for my $how ('fast', 'immediate', 'immediate', 'fast') {
	my $from = $done->();
	wait_for { $done->() > $from + 1000 || $done->() >= $jobs } 'some work';
	$pg->stop($how);
	$pg->start;
}

# Gone for longer than what runs: the result waits for it.
my $long = $pg->query("SELECT jobq.enqueue('long', '', '{\"sleep_ms\": 400, \"message\": \"x\"}')");
wait_for { $d->pids(qr{worker long/0 job $long}) } 'the long job';
$pg->stop('immediate');
my $ticks = sub { my @f = split ' ', (slurp("/proc/$leader/stat") =~ /\) (.*)/s)[0]; $f[11] + $f[12] };
my $before = $ticks->();
wait_for { !$d->pids(qr{worker long/0 job}) } 'the long job to end';
wait_for { $d->log =~ /database is away(?:.*\n)*.*queue long/ || 1 } 'the log';
my $spent = $ticks->() - $before;
cmp_ok $spent, '<', 30, "no busy loop while it is away ($spent ticks) (S3-1)";
$pg->start;

wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'work' AND state = 'completed'") == $jobs } 'all jobs';
pass 'all jobs completed';
is $pg->query("SELECT count(*) FROM (SELECT job_id FROM jobq.attempts WHERE outcome = 'completed' GROUP BY 1 HAVING count(*) > 1) x"),
    0, 'none twice';
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $long") eq 'completed' } 'the long job';
is $pg->query("SELECT count(*), max(attempt) FROM jobq.attempts WHERE job_id = $long"), '1|1', 'its result was kept';
wait_for { $pg->query("SELECT count(*) FROM jobq.lease") == 0 } 'the leases';
pass 'no lease is left';
is_deeply [ $d->pids(qr{^jobqd: queue work}) ], [$leader], 'the leader is the same';
is_deeply [ $d->pids(qr{^jobqd: worker}) ], \@workers, 'and so are the workers';
unlike $d->log, qr/ error /, 'nothing of it is an error';
is $d->stop, 0, 'jobqd ends well';
