# What PostgreSQL refuses to store sinks nobody else: the job that brought it
# ends without its result, the others of its batch with theirs.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 8;

my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
handlers:
  bad:  {driver: exec, argv: [printf, '%s\n', '{"text": "refused"}']}
  good: {driver: exec, argv: [printf, '%s\n', '{"text": "fine"}']}
queues:
  work: {workers: 4, types: {bad: bad, good: good}}
YAML
$d->start;
my ($leader) = $d->pids(qr{^jobqd: queue work});

# Stands for whatever of the server's rules no check before it knows of.
$pg->query(<<'SQL');
CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF new.result->>'text' = 'refused' THEN
		RAISE 'not this one' USING errcode = '22P05';
	END IF;
	RETURN new;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON jobq.attempt FOR EACH ROW EXECUTE FUNCTION public.refuse();
SELECT count(jobq.enqueue('work', (array['good', 'bad', 'good'])[1 + i % 3])) FROM generate_series(1, 90) i;
SQL
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'completed'") == 90 } 'all jobs';
pass 'all of them completed';
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = 'good' AND result = '{\"text\": \"fine\"}'"), 60, 'the good ones with their result';
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = 'bad' AND result IS NULL"), 30, 'the others without';
is $pg->query("SELECT count(*) FROM jobq.attempts a JOIN jobq.jobs j ON j.id = a.job_id
	WHERE j.type = 'bad' AND a.error ~ '^the result could not be stored: .*not this one'"), 30, 'and a note of why';
is $pg->query("SELECT count(*) FROM jobq.attempts"), 90, 'each ran once';
is $pg->query("SELECT count(*) FROM jobq.lease"), 0, 'no lease is left';
is +($d->pids(qr{^jobqd: queue work}))[0], $leader, 'the leader went on';
is $d->stop, 0, 'jobqd ends well';
