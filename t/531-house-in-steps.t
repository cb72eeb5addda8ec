# The house is kept in two statements: nobody waits for what the first has removed
# while the second takes its time.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
handlers: {null: {driver: noop}}
queues:
  work: {handler: null}
monitor: {interval: 300ms, health_file: ""}
YAML
$d->start;

# The copying of history takes as long as we like.
my $gate = $pg->session;
$gate->query('SELECT pg_advisory_lock(4711)');
$pg->query(q{CREATE OR REPLACE FUNCTION jobq.history_copy(longest interval DEFAULT '2 s') RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN PERFORM set_config('lock_timeout', '0', true); PERFORM pg_advisory_xact_lock(4711); END $$});
sub copies { return $pg->query("SELECT max(xact_start) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%maintain%'
    AND pid <> pg_backend_pid()") }
wait_for { copies() } 'the monitor to copy';
$pg->query("INSERT INTO jobq.uniq (queue, key, job, until) SELECT id, 'expired', 1, now() - interval '1 hour' FROM jobq.queue");
my $began = copies();
$gate->query('SELECT pg_advisory_unlock(4711); SELECT pg_advisory_lock(4711)');
wait_for { my $again = copies(); $again && $again ne $began } 'the monitor to copy again, after it has looked for keys whose time is over';
is $pg->query("SET lock_timeout = '2s'; SELECT count(jobq.enqueue('work', unique_key => 'expired'))"), 1,
    'a key whose time is over is taken while the house is kept';
$gate->query('SELECT pg_advisory_unlock(4711)');
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'completed'") == 1 } 'the job to run';
is $d->stop, 0, 'stops with status 0';
done_testing;
