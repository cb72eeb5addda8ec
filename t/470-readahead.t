# Jobs that were sent ahead to a worker because runs were short do not wait
# there when one turns out long: they are asked back and run elsewhere. Large
# ones are leased few at once, so that nobody needs room for a thousand of them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 8;

my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
daemon: {node: node, pid_file: "PIDFILE", shutdown_timeout: 500ms}
handlers:
  null:  {driver: noop}
  shell: {driver: exec, argv: [sh, -c, "read line; case $line in *long*) sleep 633;; esac"]}
queues:
  null:  {handler: null, workers: 2, concurrency: 1}
  shell: {handler: shell, workers: 2}
  large: {handler: null, workers: 2, concurrency: 50, max_payload: 2MiB}
YAML
{
	my $text = slurp($d->{conf});
	$text =~ s/PIDFILE/$d->{dir}\/jobqd.pid/;
	spew($d->{conf}, $text);
}
$d->start;

my $done = sub {
	return $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = '$_[0]' AND type = '$_[1]' AND state = 'completed'");
};
my %long = (null => '{"sleep_ms": 600000}', shell => '{"long": true}');
for my $queue (sort keys %long) {
	$pg->query("SELECT count(jobq.enqueue('$queue', 'warm', '{\"sleep_ms\": 1}')) FROM generate_series(1, 200)");
	wait_for { $done->($queue, 'warm') == 200 } 'short runs';
	$pg->query("BEGIN;
		SELECT count(jobq.enqueue('$queue', 'short', '{\"sleep_ms\": 1}')) FROM generate_series(1, 20);
		SELECT jobq.enqueue('$queue', 'long', '$long{$queue}');
		SELECT count(jobq.enqueue('$queue', 'short', '{\"sleep_ms\": 1}')) FROM generate_series(1, 60);
		COMMIT;");
	wait_for { $done->($queue, 'short') == 80 } 'what came after the long job';
	is $pg->query("SELECT state FROM jobq.jobs WHERE queue = '$queue' AND type = 'long'"), 'running',
	    "$queue: the long job still runs";
	is $pg->query("SELECT count(*), max(a.attempt) FROM jobq.attempts a JOIN jobq.jobs j ON j.id = a.job_id
		WHERE j.queue = '$queue'"), '280|1', "$queue: the others ran once (S3-7)";
}
my $largest_claim = sub {
	my ($jobs, $data) = @_;
	my $from = $pg->query("SELECT coalesce(max(c.batch), 0) FROM jobq.claim c JOIN jobq.queue q ON q.id = c.queue WHERE q.name = 'large'");
	$pg->query("SELECT jobq.pause('large')");
	$pg->query("SELECT count(jobq.enqueue('large', '$data', jsonb_build_object('x', repeat('x', $data)))) FROM generate_series(1, $jobs)");
	$pg->query("SELECT jobq.resume('large')");
	wait_for { $done->('large', $data) == $jobs } "jobs of $data bytes";
	return $pg->query("SELECT max(cardinality(c.jobs)) FROM jobq.claim c
		JOIN jobq.queue q ON q.id = c.queue WHERE q.name = 'large' AND c.batch > $from");
};
cmp_ok $largest_claim->(100, 1_000_000), '<=', 8, 'jobs of a megabyte are claimed by eight at most';
cmp_ok $largest_claim->(1000, 10), '>', 8, '… small ones after them together again';
is $d->stop, 0, 'jobqd ends well';
is $pg->query("SELECT count(*), max(attempt) FROM jobq.jobs WHERE type = 'long' AND state = 'ready'"), '2|0',
    'the long ones are handed back';
