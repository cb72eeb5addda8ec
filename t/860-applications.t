# What applications make of jobqd around their queues: ids of their own, something
# else to do after the third failure, what cannot wait done at once when it cannot
# be enqueued, and one webhook for each subscriber inside the request.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
handlers:
  null: {driver: noop}
  renew: {driver: exec, argv: [sh, -c, 'exit $0', "{{data.exit}}"]}
retry: {quick: {attempts: 5, backoff: fixed, base: 10ms, jitter: 0%}}
queues:
  work: {types: {renew: renew, recreate: null, export: null, letter: null, incident.created: null}, workers: 2, retry: quick, max_payload: 1KiB}
workflows:
  renewal:
    steps:
      renew: {queue: work, type: renew, max_attempts: 3, data: {exit: "{{data.exit}}", id: "{{data.id}}"}}
    on_failure: {queue: work, type: recreate}
YAML
{
	local @ENV{qw(REDIS_HOST QUEUE_REDIS_PORT)} = ('nowhere', 6379);
	$d->start;
}
sub q1 { return $pg->query("SELECT $_[0]") }
sub done { my ($w) = @_; wait_for { q1("state FROM jobq.workflows WHERE id = $w") ne 'running' } 'the workflow'; return q1("state FROM jobq.workflows WHERE id = $w") }

# What other systems' variables say of Redis is not for jobqd.
{
	my $effective = sub { my ($s, $out, $err) = run_program([ jobqd_program(), '-T', '-c', $d->{conf} ], env => {@_}); return "$s$out$err" };
	is $effective->(map { ("${_}HOST" => 'nowhere', "${_}PORT" => 'x', "${_}PASSWORD" => "\$\{x", "${_}DB" => -1, "${_}URL" => 'redis://nowhere') } qw(REDIS_ QUEUE_REDIS_)),
	    $effective->(), 'S0-63, S3-53, S4-10: variables of Redis change nothing';
	my @said = $d->log =~ /uses no Redis (.*)/g;
	is "@said", 'variables="REDIS_HOST QUEUE_REDIS_PORT" set=database.url', '… and one warning tells of them';
}

# An id that the application has made: it finds the job, and makes no second one.
my $id = q1("jobq.enqueue('work', 'export', unique_key => 'job_1234567890', tags => '{job_1234567890}', delay => '1 hour')");
is q1("jobq.enqueue('work', 'export', unique_key => 'job_1234567890')"), $id, 'S1-4: "job_1234567890" is as good as an id: once';
my ($status, $out) = $d->ctl('jobs', '--tag', 'job_1234567890', '--json');
is_deeply [ map { $_->{id} } @{ decode_json($out) } ], [$id], '… and finds its job';

# Names of another system: a view has them, and its words for states.
$pg->query(<<'SQL');
CREATE VIEW tracker_job AS
SELECT id, type, data, priority, CASE state WHEN 'running' THEN 'processing' WHEN 'dead' THEN 'failed'
    WHEN 'completed' THEN state WHEN 'retrying' THEN state WHEN 'cancelled' THEN state ELSE 'pending' END AS status, created_at, started_at,
    finished_at AS completed_at, greatest(attempt - 1, 0) AS retry_count, max_attempts - 1 AS max_retries, error, result, tenant AS company_id,
    data ->> 'user_id' AS user_id, tags
FROM jobq.jobs
SQL
my @words = map { q1("jobq.enqueue('work', 'export', '{\"user_id\": \"u-7\"}', tenant => 'c-1', max_attempts => 4, tags => '{t}'$_)") } '', ", delay => '1 hour'";
wait_for { q1("state FROM jobq.jobs WHERE id = $words[0]") eq 'completed' } 'one to complete';
my $row = decode_json(q1("row_to_json(j) FROM tracker_job j WHERE id = $words[0]"));
is_deeply [ sort keys %$row ], [ sort qw(id type data priority status created_at started_at completed_at retry_count max_retries error result company_id user_id tags) ],
    'S1-1: a job by the names that another system has for it';
is_deeply [ @$row{qw(status retry_count max_retries company_id user_id)} ], [ 'completed', 0, 3, 'c-1', 'u-7' ], '… and what they say';
q1("jobq.cancel($words[1])");
is q1("string_agg(status, ' ' ORDER BY id) FROM tracker_job"), 'pending completed cancelled', 'S1-2: … the states, too';

# The third failure calls for something else.
my $bad = q1(q{jobq.workflow('renewal', '{"exit": "69", "id": "sub-1"}')});
is done($bad), 'failed', 'a renewal that fails';
is q1("attempt FROM jobq.jobs WHERE workflow = $bad AND type = 'renew'"), 3, '… three times';
my $recreate = q1("on_failure_job FROM jobq.workflows WHERE id = $bad");
wait_for { q1("state FROM jobq.jobs WHERE id = $recreate") eq 'completed' } 'what comes after';
is q1("type || ' ' || (data->>'id') || ' ' || (data->>'failed_step') FROM jobq.jobs WHERE id = $recreate"), 'recreate sub-1 renew', 'S0-50: … is made anew, knowing which';
my $good = q1(q{jobq.workflow('renewal', '{"exit": "0", "id": "sub-2"}')});
is done($good), 'completed', 'one that does not fail';
is q1("on_failure_job IS NULL FROM jobq.workflows WHERE id = $good"), 't', '… is not';

# What cannot be enqueued is done at once, in the same transaction.
$pg->query(<<'SQL');
CREATE TABLE sent (letter jsonb, how text);
CREATE FUNCTION send(letter jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM jobq.enqueue('work', 'letter', letter);
	RETURN 'later';
EXCEPTION WHEN OTHERS THEN
	INSERT INTO sent VALUES (letter, SQLSTATE);
	RETURN 'at once';
END
$$;
SQL
is q1(q{send('{"to": "a"}')}), 'later', 'a letter that can be enqueued is';
is q1(q{send(jsonb_build_object('to', repeat('x', 2000)))}), 'at once', 'S1-51: one that cannot is sent at once';
is q1("count(*) || how FROM sent GROUP BY how"), '154000', '… and the transaction goes on';

# One job for each subscriber, or none, with the request that is the reason.
$pg->query(q{CREATE TABLE subscriber (url text); INSERT INTO subscriber SELECT 'https://example.com/' || i FROM generate_series(1, 7) i; CREATE TABLE incident (id int PRIMARY KEY)});
my $request = q{BEGIN; INSERT INTO incident VALUES (1); SELECT count(jobq.enqueue('work', 'incident.created', jsonb_build_object('url', url), unique_key => 'incident-1 ' || url)) FROM subscriber; COMMIT};
is $pg->query($request), 7, 'S4-54: a job for each of seven subscribers';
isnt +($pg->try_query($request))[0], 0, 'the same request again fails, as the incident is there';
is q1("count(*) FROM jobq.jobs WHERE type = 'incident.created'"), 7, '… and has made no job';
is $d->stop, 0, 'stops with status 0';
done_testing;
