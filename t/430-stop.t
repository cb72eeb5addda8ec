# A graceful stop: what has not begun goes back at once, what runs may finish
# for shutdown_timeout, the rest is stopped and runs again under the same
# attempt number, charged with nothing.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 11;

my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, name => 'first', config => <<'YAML');
daemon: {node: first, pid_file: "", shutdown_timeout: 1500ms}
handlers:
  null: {driver: noop}
  deaf: {driver: exec, argv: [sh, -c, "trap '' TERM; sleep 622; sleep 622"]}
retry: {default: {attempts: 1}}
queues:
  work: {handler: null, workers: 3, concurrency: 1, cancel: {grace: 500ms}}
  deaf: {handler: deaf, workers: 1, cancel: {grace: 500ms}}
YAML
{
	my $text = slurp($d->{conf});
	$text =~ s/pid_file: ""/pid_file: $d->{dir}\/jobqd.pid/;
	spew($d->{conf}, $text);
}
$d->start;

my $deaf = $pg->query("SELECT jobq.enqueue('deaf')");
my $long = $pg->query("SELECT jobq.enqueue('work', 'long', '{\"sleep_ms\": 600000}')");
my $short = $pg->query("SELECT jobq.enqueue('work', 'short', '{\"sleep_ms\": 700}')");
$pg->query("SELECT count(jobq.enqueue('work', 'more', '{\"sleep_ms\": 30}')) FROM generate_series(1, 300)");
wait_for { $d->pids(qr{worker work/\d job $long}) && $d->pids(qr{worker work/\d job $short})
	&& $d->pids(qr{worker deaf/0 job $deaf}) } 'all to run';
my @tree = process_tree($d->{pid});
is $d->stop, 0, 'jobqd ends well';
is $pg->query("SELECT state FROM jobq.jobs WHERE id = $short"), 'completed', 'what ends in time is completed (S1-17, S1-19)';
is $pg->query("SELECT state, attempt FROM jobq.jobs WHERE id = $long"), 'ready|0', 'what does not is handed back';
is $pg->query("SELECT state, attempt FROM jobq.jobs WHERE id = $deaf"), 'ready|0', 'also when it had to be killed';
is $pg->query("SELECT count(*) FROM jobq.attempts WHERE outcome <> 'completed'"), 0, 'no attempt was charged';
is $pg->query("SELECT count(*) FROM jobq.lease"), 0, 'no lease is left';
is $pg->query("SELECT count(*) FROM jobq.pool"), 0, 'nor a pool';
is_deeply [ grep { kill 0, $_ and slurp("/proc/$_/stat") !~ /^\d+ \(.*\) Z/s } @tree ], [], 'nor a process';

# Another node goes on where this one stopped.
my $e = Jobqd::Daemon->new(pg => $pg, name => 'second', config => <<'YAML');
handlers: {null: {driver: noop}}
queues:   {work: {handler: null, workers: 3, concurrency: 1}}
YAML
$e->start;
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = 'more' AND state = 'completed'") == 300 } 'the others';
is $pg->query("SELECT count(*), max(t.attempt) FROM jobq.attempts t JOIN jobq.jobs j ON j.id = t.job_id WHERE j.type = 'more'"),
    '300|1', 'what was handed back ran once, under its first number';
wait_for { $pg->query("SELECT state, node FROM jobq.jobs WHERE id = $long") eq 'running|second' } 'the long one';
is $pg->query("SELECT attempt FROM jobq.jobs WHERE id = $long"), 1, 'the long one runs again as attempt 1';
$pg->query("SELECT jobq.cancel($long)");
is $e->stop, 0, 'the second ends well';
