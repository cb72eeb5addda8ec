# A job of the driver sql that completes in its own transaction: its effects
# are there exactly once, whoever is killed where. Workers, leaders and server
# processes are killed while 3,000 jobs run, each in a transaction that takes
# a moment to commit. S1-52 S1-57 S2-54 S2-55
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;
use Time::HiRes qw(sleep);

my $pg = Jobqd::Postgres->new;
$pg->query(<<'SQL');
CREATE ROLE clerk;
CREATE TABLE ledger (job bigint, attempt int);
CREATE TABLE plain (job bigint);
GRANT INSERT, SELECT ON ledger TO clerk;
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(random() * 0.01); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON ledger DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle();
SQL
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
log: {file: stderr, level: info}
retry: {default: {attempts: 1000, backoff: fixed, base: 10ms, jitter: 0, max_crashes: 1000}}
handlers:
  once: {driver: sql, transactional: true, role: clerk, statement: "INSERT INTO ledger SELECT ($2->>'id')::bigint, ($2->>'attempt')::int RETURNING job"}
  fault: {driver: sql, transactional: true, statements: ["INSERT INTO ledger SELECT ($2->>'id')::bigint", "SELECT 1 / ($1->>'by')::int"]}
  gone: {driver: sql, transactional: true, statements: ["INSERT INTO plain SELECT ($2->>'id')::bigint", "SELECT pg_sleep(($1->>'s')::float)"]}
queues:
  once:  {handler: once, workers: 4, lease: 3s}
  fault: {handler: fault, workers: 1, retry: {attempts: 1}}
  gone:  {handler: gone, workers: 1}
YAML
$d->start;

# How it is in peace.
my $n = 100;
$pg->query("SELECT count(jobq.enqueue('once')) FROM generate_series(1, $n)");
my $completed = sub { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'once' AND state = 'completed'") };
wait_for { $completed->() == $n } 'jobs in peace';
is $pg->query('SELECT count(*), count(DISTINCT job) FROM ledger'), "$n|$n", "$n jobs, $n effects (S2-55)";
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'once' AND result->>'count' = '1' AND (result->'rows'->0->>'job')::bigint = id"), $n,
    '… with their results';
unlike $d->log, qr/lease lost/, '… and their leader knows that they are completed';

# Neither the effects nor the end, when it fails.
my $id = $pg->query(q(SELECT jobq.enqueue('fault', '', '{"by": 0}')));
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") eq 'dead' } 'a job that fails';
is $pg->query("SELECT count(*) FROM ledger WHERE job = $id"), 0, 'a job that fails has no effect';

# A job that is taken away while its statement runs: its transaction may not commit.
$id = $pg->query(q(SELECT jobq.enqueue('gone', '', '{"s": 600}')));
my $busy = sub { $pg->query("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(%' AND state = 'active'") };
wait_for { $busy->() } 'its statement';
$pg->query("SELECT jobq.cancel($id)");
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") eq 'cancelled' && !$busy->() } 'its end';
is $pg->query('SELECT count(*) FROM plain'), 0, 'a job that was cancelled has no effect';

# In war.
my $jobs = 3000;
my %kills = (worker => 0, leader => 0, backend => 0);
$pg->query("SELECT count(jobq.enqueue('once')) FROM generate_series(1, $jobs)");
my @order = qw(worker backend worker worker backend worker leader worker backend worker);
my $turn = 0;
while ($completed->() < $n + $jobs) {
	my $victim = $order[$turn++ % @order];
	# each further one is missed for twice as long: the master waits before it starts another
	$victim = 'worker' if $victim eq 'leader' && $kills{leader} == 5;
	if ($victim eq 'backend') {
		$kills{backend} += $pg->query("SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity WHERE application_name = 'jobqd sql' ORDER BY random() LIMIT 1) x");
	} else {
		my @pids = $d->pids($victim eq 'worker' ? qr/^jobqd: worker once/ : qr/^jobqd: queue once/);
		kill 'KILL', $pids[ rand @pids ] and $kills{$victim}++ if @pids;
	}
	sleep rand 0.2;
	die "this takes too long\n" if $turn > 2000;
}
cmp_ok $kills{$_}, '>', 0, "kill -9 of a $_: $kills{$_} times" for sort keys %kills;
is $pg->query("SELECT count(DISTINCT job) FROM ledger"), $n + $jobs, 'every job has had its effect';
# S1-52, S1-57, S2-54: exactly once.
is $pg->query("SELECT count(*) FROM ledger"), $n + $jobs, '… exactly once' or
    diag $pg->query("SELECT job, array_agg(attempt) FROM ledger GROUP BY 1 HAVING count(*) > 1 LIMIT 5");
is $pg->query("SELECT count(*) FROM ledger l WHERE NOT EXISTS (SELECT FROM jobq.attempts a WHERE a.job_id = l.job AND a.attempt = l.attempt AND a.outcome = 'completed')"),
    0, '… by the very attempt that completed it';
my $again = $pg->query("SELECT count(*) FROM jobq.attempts a JOIN jobq.jobs j ON j.id = a.job_id WHERE j.queue = 'once' AND outcome <> 'completed'");
cmp_ok $again, '>', 0, "$again attempts ended otherwise";
done_testing;
