# A claim is made and its answer lost with the connection: nobody knows of
# those leases, though the pool lives. They are found and handed back.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 4;

my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
handlers: {null: {driver: noop}}
queues:   {work: {handler: null, workers: 2}}
YAML
$d->start;
my ($pool, $queue) = split /\|/, $pg->query('SELECT id, queue FROM jobq.pool');

# The leader's claims take long enough to be interrupted; in its place
# another session makes the claim whose answer the leader never sees.
$pg->query(<<'SQL');
CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF current_setting('application_name') LIKE 'jobqd queue%' THEN
		PERFORM pg_sleep(600);
	END IF;
	RETURN new;
END $$;
CREATE TRIGGER slow BEFORE INSERT ON jobq.claim FOR EACH ROW EXECUTE FUNCTION public.slow();
SELECT count(jobq.enqueue('work')) FROM generate_series(1, 7);
SQL
my $waiting = "FROM pg_stat_activity WHERE application_name = 'jobqd queue work' AND wait_event = 'PgSleep'";
wait_for { $pg->query("SELECT count(*) $waiting") == 1 } 'a claim on the wire';
is $pg->query(<<"SQL"), "t\n7", 'a claim that the leader does not hear of';
SELECT pg_terminate_backend(pid) $waiting;
SELECT count(*) FROM jobq.claim($pool, ${queue}::smallint, 100);
DROP TRIGGER slow ON jobq.claim;
SQL
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'completed'") == 7 } 'the jobs';
is $pg->query('SELECT count(*), max(attempt) FROM jobq.attempts'), '7|1', 'they ran once, under their first number';
is $pg->query('SELECT count(*) FROM jobq.pool WHERE id = ' . $pool), 1, 'the pool is still the same';
is $d->stop, 0, 'jobqd ends well';
