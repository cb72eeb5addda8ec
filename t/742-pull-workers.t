# Workers elsewhere that are programs of their own, in another language: what
# becomes of their jobs when they or jobqd die.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my $jobs = 1000;
my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $port = free_port();
Api::tokens("$dir/tokens", map { [$_, 'operator', '*', "$_-secret"] } qw(mercury venus mars));
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
retry: {quick: {attempts: 3, backoff: fixed, base: 100ms, jitter: 0%}}
queues: {pull: {workers: 0, lease: 3s, retry: quick}, remote: {workers: 0, retry: quick}}
monitor: {health_file: ""}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens, rate_limit: 100000/s}
YAML
$d->start;
sub worker {
	my ($name, @options) = @_;
	return background(['python3', source_directory() . '/t/pull_worker.py', $port, "$name-secret", 'pull', "$dir/$name", @options], log => "$dir/errors");
}
sub lines { return map { split /\n/, slurp("$dir/$_") } qw(mercury venus mars) }
sub completed { return $pg->query(q{SELECT count(*) FROM jobq.jobs WHERE state = 'completed'}) }

# one that dies with what it has
my $victim = worker('mars', '--hang', '--max', 5);
$pg->query("SELECT jobq.enqueue('pull', 't', jsonb_build_object('n', n)) FROM generate_series(1, 5) n");
wait_for { slurp("$dir/mars") =~ /hangs (\d+)/ } 'a worker to take jobs';
is $pg->query("SELECT count(*) FROM jobq.workers WHERE worker = 'mars'"), 5, 'a worker has five jobs';
kill 'KILL', $victim;
my $from = time;

# a thousand, by three; jobqd is restarted meanwhile
$pg->query("SELECT jobq.enqueue_many('pull', (SELECT jsonb_agg(jsonb_build_object('data',
    CASE WHEN n % 100 = 0 THEN jsonb_build_object('n', n, 'fail', 'network', 'until', 2) ELSE jsonb_build_object('n', n) END))
    FROM generate_series(6, $jobs) n))");
my @pids = (worker('mercury'), worker('venus', '--max', 3), worker('mars'));
wait_for { completed() > 200 } 'the first of them';
is $d->stop, 0, 'jobqd stops while they work';
$d->start;
wait_for { completed() >= 600 } 'more of them';
kill 'KILL', (my @api = $d->pids(qr/^jobqd: api$/));
wait_for { completed() == $jobs } 'all of them', 120;
my $seconds = time - $from;
pass sprintf '%d jobs are done by three programs, across a restart, in %.1f s', $jobs, $seconds;
is $pg->query("SELECT count(*) FROM jobq.attempts WHERE outcome = 'lost' AND job_id <= 5"), 5, 'those of the one that was killed ran again';
is $pg->query("SELECT string_agg(DISTINCT attempt::text, ' ') FROM jobq.attempts WHERE outcome = 'failed'"), '1', 'those that failed once were tried again';
is $pg->query("SELECT count(DISTINCT (result ->> 'n')::int) FROM jobq.attempts WHERE outcome = 'completed'"), $jobs, 'each is completed with its own result (S1-41)';
is $pg->query("SELECT count(*) FROM (SELECT FROM jobq.attempts WHERE outcome = 'completed' GROUP BY job_id HAVING count(*) > 1) k"), 0, '… once';
my %did;
$did{$_}++ for map { /^(done|late|failed|error)/ ? $1 : () } lines();
diag explain \%did if $did{error};
is $did{error} // 0, 0, "what they saw: $did{done} done, " . ($did{late} // 0) . " late, $did{failed} failed";
wait_for { $pg->query('SELECT count(*) FROM jobq.pull') == 0 } 'the leases to be gone';
pass 'nothing is left of the leases';
kill 'KILL', @pids;

# the sample
my $sample = background(['env', "JOBQD_URL=http://127.0.0.1:$port", 'JOBQD_TOKEN=venus-secret', 'python3', source_directory() . '/etc/examples/pull_worker.py', 'remote'], log => "$dir/sample");
my @ids = map { $pg->query("SELECT jobq.enqueue('remote', 't', '{\"name\": \"n$_\"}')") } 1 .. 3;
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'remote' AND state = 'completed'") == 3 } 'the sample\'s jobs';
is $pg->query("SELECT string_agg(result ->> 'hello', ' ' ORDER BY id) FROM jobq.jobs WHERE queue = 'remote'"), 'n1 n2 n3', 'the sample works';
my $long = $pg->query("SELECT jobq.enqueue('remote', 't', '{\"seconds\": 300}')");
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $long") eq 'running' } 'a long job';
$pg->query("SELECT jobq.cancel($long)");
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $long") eq 'cancelled' } 'its cancel';
is $pg->query("SELECT error FROM jobq.jobs WHERE id = $long"), 'stopped', '… and stops when it is told to';
kill 'TERM', $sample;
wait_for { !alive($sample) } 'the sample to end';
pass '… and ends when it is asked to';
is slurp("$dir/sample"), '', '… without a complaint';
done_testing;
