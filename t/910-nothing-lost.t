# No job lost, none claimed twice: a dozen producers in slow, interleaved,
# partly and wholly rolled-back transactions for a minute, one transaction of
# 100,000 jobs that is open all that time and commits after it, three leaders
# on one database. The ledger is a table written in the same transactions.
# S2-54 S1-52
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 8;
use Time::HiRes qw(time sleep);

my $seconds = $ENV{JOBQD_TEST_SECONDS} || 60;	# how long the producers produce
my $late_jobs = 100_000;

my $pg = Jobqd::Postgres->new(settings => { shared_buffers => '256MB' });
my @nodes = map {
	Jobqd::Daemon->new(pg => $pg, name => $_, config => <<'YAML')
log: {file: stderr, level: info}
handlers: {null: {driver: noop}}
queues: {work: {handler: null, workers: 1, concurrency: 50}}
YAML
} qw(one two three);
$_->start for @nodes;
$pg->query('CREATE TABLE ledger (id bigint)');

my $late = $pg->session;
$late->query("BEGIN; INSERT INTO ledger SELECT jobq.enqueue('work', 'late', jsonb_build_object('n', i)) FROM generate_series(1, $late_jobs) i");

# One transaction a line: some slow, a fifth rolled back, some with a
# savepoint of which a part is taken back, several priorities.
my $transaction = <<'SQL';
DO $$
DECLARE
	dice float := random();
BEGIN
	INSERT INTO ledger SELECT jobq.enqueue('work', 'mixed', '{}', (ARRAY[1, 5, 8])[1 + floor(random() * 3)::int])
	FROM generate_series(1, 1 + floor(random() * 5)::int);
	PERFORM pg_sleep(random() * 0.06);
	BEGIN
		INSERT INTO ledger SELECT jobq.enqueue('work', 'inner');
		IF dice < 0.5 THEN RAISE EXCEPTION 'take this part back'; END IF;
	EXCEPTION WHEN raise_exception THEN
		NULL;
	END;
	INSERT INTO ledger SELECT jobq.enqueue('work', 'mixed');
	IF dice > 0.8 THEN RAISE EXCEPTION 'and all of this'; END IF;
END $$;
SQL
my $dir = temp_directory();
spew("$dir/transaction", $transaction);
my @producers = map {
	Jobqd::background([ 'sh', '-c', 'while ! test -e "$0/enough"; do i=0; while test $i -lt 20; do cat "$0/transaction"; i=$((i+1)); done; done | psql -XAtq "$1" >/dev/null 2>&1',
		$dir, $pg->url ])
} 1 .. 12;

my $end = time + $seconds;
wait_for { time > $end } 'the producers\' minute', $seconds + 10;
spew("$dir/enough", '');
waitpid $_, 0 for @producers;
my $mixed = $pg->query('SELECT count(*) FROM ledger');
cmp_ok $mixed, '>', 1000, "the producers committed $mixed jobs";
is $pg->query("SELECT count(*) FROM ledger l JOIN jobq.jobs j USING (id) WHERE j.type = 'late'"), 0, 'the late ones are not there yet';

wait_for { $pg->query(<<'SQL') == 0 } 'the mixed jobs', 60;
SELECT count(*) FROM ledger l WHERE NOT EXISTS (SELECT FROM jobq.attempts a WHERE a.job_id = l.id)
SQL
$late->query('COMMIT');
wait_for { $pg->query('SELECT count(*) FROM jobq.attempts') >= $mixed + $late_jobs } 'the late jobs', 120;

is $pg->query('SELECT count(*) FROM ledger'), $mixed + $late_jobs, 'the ledger has all of them';
is $pg->query("SELECT count(*) FROM ledger l LEFT JOIN jobq.jobs j USING (id) WHERE j.state IS DISTINCT FROM 'completed'"), 0,
    'every committed job is completed (S2-54)';
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE id NOT IN (SELECT id FROM ledger)"), 0, 'and no other job is there';
is $pg->query("SELECT count(*) FROM jobq.attempts WHERE attempt <> 1 OR outcome <> 'completed'"), 0, 'each with one attempt';
# S1-52
is $pg->query(<<'SQL'), 0, 'no job was claimed twice';
SELECT count(*) FROM (SELECT job, attempt FROM jobq.claim, unnest(jobs, attempts) u(job, attempt)
	GROUP BY 1, 2 HAVING count(*) > 1) twice
SQL
my $shares = $pg->query('SELECT count(DISTINCT node) FROM jobq.attempts');
# S1-74
is $shares, 3, 'all three leaders had a share';
