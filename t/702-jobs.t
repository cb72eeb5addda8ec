# Jobs over HTTP: enqueueing, looking, acting (S0-49, S2-24, S2-30, S3-24, S3-25,
# S3-33, S4-22, S4-23, S4-24, S4-25, S4-27).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $port = free_port();
Api::tokens("$dir/tokens", [qw(ops operator * ops-secret)], [qw(app producer * app-secret)], [qw(eye viewer * eye-secret)]);
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers: {null: {driver: noop}, cat: {driver: exec, argv: [/bin/cat]}}
retry: {once: {attempts: 1}}
queues:
  work: {handler: null, workers: 2, retry: once}
  later: {handler: null, workers: 1, max_payload: 1KiB}
  cat: {handler: cat, workers: 1}
workflows: {flow: {steps: {one: {queue: work, type: one}, two: {queue: work, type: two, after: [one]}}}}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens, rate_limit: 10000/s}
YAML
$d->start;
my ($ops, $app, $eye) = map { Api->new("127.0.0.1:$port", $_) } qw(ops-secret app-secret eye-secret);
my $r;

sub state_of { my ($id, $state) = @_; wait_for { ($eye->get("/v1/jobs/$id")->{json}{state} // '') eq $state } "job $id is $state" }
sub problem { my ($r) = @_; return join ' ', $r->{status}, $r->{json}{field} // '-' }

#
# one job
#
$r = $app->post('/v1/jobs', { queue => 'later', type => 't', data => { a => 1 }, delay => '1h', priority => 3,
	tags => ['x', 'y"{'], tenant => 'acme', unique_key => 'u', key => 'k', timeout => 2.5, max_attempts => 7 });
is $r->{status}, 201, 'a job is enqueued (S1-23, S4-27)';
is $r->{json}{state}, 'scheduled', '… and scheduled';
my $id = $r->{json}{id};
is $r->{headers}{location}, "/v1/jobs/$id", '… with its place';
$r = $eye->get("/v1/jobs/$id");
is $r->{status}, 200, 'GET of it';
is_deeply [@{ $r->{json} }{qw(id queue type state priority tenant unique_key key max_attempts data)}, $r->{json}{tags}],
    [$id, qw(later t scheduled 3 acme u k 7), { a => 1 }, ['x', 'y"{']], '… has all that was said (S1-1, S1-24, S3-25, S4-23)';
like $r->{json}{why}, qr/due at/, '… and why it does not run: ' . $r->{json}{why};
is $pg->query("SELECT timeout_ms FROM jobq.job WHERE id = $id"), 2500, '… a number as duration is seconds';
$r = $app->post('/v1/jobs', { queue => 'later', unique_key => 'u', tenant => 'acme' });
is "$r->{status} $r->{json}{id}", "200 $id", 'a unique key that is taken: 200 with the job that has it';
for my $name (qw(tags after data type run_at)) {
	is $app->post('/v1/jobs', { queue => 'later', delay => 3600, $name => undef })->{status}, 201, "$name: null is as if it were not there";
}
$r = $app->post('/v1/jobs', '{"queue":"later","delay":"1 day","data":{"big":123456789012345678901234567890.10,"e":1e300}}');
like $eye->get("/v1/jobs/$r->{json}{id}")->{body}, qr/"big": 123456789012345678901234567890\.10/, 'no digit of a number is lost';
$r = $app->post('/v1/jobs', { queue => 'work', after => [$id] });
is $r->{json}{state}, 'blocked', 'a job that waits for another is blocked';
$r = $app->post('/v1/jobs', { queue => 'cat', data => { hello => 'there' } });
state_of($r->{json}{id}, 'completed');
my $j = $eye->get("/v1/jobs/$r->{json}{id}")->{json};
is_deeply $j->{result}, { hello => 'there' }, 'a result';
my $a = $eye->get("/v1/jobs/$r->{json}{id}/attempts")->{json};
is_deeply [map { [@$_{qw(attempt outcome)}] } @{ $a->{items} }], [[1, 'completed']], 'its attempts (S1-24)';
$a = $eye->get("/v1/jobs/$r->{json}{id}/log")->{json};
like $a->{items}[0]{text}, qr/hello/, 'its log';

#
# what is refused names the field
#
for my $bad (
	['{"queue":"nowhere"}', '422 queue'], ['{}', '422 queue'], ['{"queue":1}', '422 queue'], ['{"queue":""}', '422 queue'],
	['{"queue":"later","dealy":1}', '422 dealy'], ['{"queue":"later","data":[]}', '422 data'],
	['{"queue":"later","priority":100}', '422 priority'], ['{"queue":"later","priority":1.5}', '422 priority'],
	['{"queue":"later","priority":99999999999999999999}', '422 priority'], ['{"queue":"later","priority":"3"}', '422 priority'],
	['{"queue":"later","run_at":"tomorrow"}', '422 run_at'], ['{"queue":"later","run_at":"2026-01-01T00:00:00"}', '422 run_at'],
	['{"queue":"later","delay":"soon"}', '422 delay'], ['{"queue":"later","delay":-1}', '422 delay'],
	['{"queue":"later","delay":"1m","run_at":"2030-01-01T00:00:00Z"}', '422 run_at'],
	['{"queue":"later","max_attempts":0}', '422 max_attempts'], ['{"queue":"later","timeout":0}', '422 timeout'],
	['{"queue":"later","tags":"x"}', '422 tags'], ['{"queue":"later","tags":[1]}', '422 tags'],
	['{"queue":"later","after":[0]}', '422 after'], ['{"queue":"later","after":[999999]}', '422 after'],
	['{"queue":"later","after":["1"]}', '422 after'],
	['{"queue":"later","data":{"x":"' . 'x' x 2000 . '"}}', '413 data'],
	['{"queue":"later","type":"' . 'x' x 256 . '"}', '422 type'],
	['{"queue":"later","data":{"x":1e999999}}', '422 -'],
) {
	my ($body, $want) = @$bad;
	$r = $app->post('/v1/jobs', $body);
	# S1-55, S3-38: types and sizes are checked.
	is problem($r), $want, "$want: " . $r->{detail};
}
$r = $app->post('/v1/jobs', { queue => 'later', dealy => 1 });
like $r->{detail}, qr/did you mean "delay"/, 'the nearest name is told';
is problem($eye->get('/v1/jobs?stat=ready')), '422 stat', 'an unknown parameter of a query';
is problem($eye->get('/v1/jobs?state=redy')), '422 state', 'an unknown state';
is problem($eye->get('/v1/jobs?limit=0')), '422 limit', 'a limit out of range';
is problem($eye->get('/v1/jobs?limit=5&limit=6')), '422 limit', 'a parameter twice';
is problem($eye->get('/v1/jobs?cursor=xyz')), '422 cursor', 'a cursor that is none';
is problem($eye->get('/v1/jobs?queue=nowhere')), '422 queue', 'a queue that is not there';
is $eye->get('/v1/jobs?queue=%ff')->{status}, 400, 'a query that is no UTF-8';
is $eye->get('/v1/jobs?queue=%00')->{status}, 400, '… or has a NUL';
is $eye->get("/v1/jobs/$_")->{status}, 404, "/v1/jobs/$_ is not there" for qw(0 -1 abc 999999 99999999999999999999 1x);

#
# many
#
my @jobs = map { { type => 'many', data => { n => $_ } } } 1 .. 5000;
my $from = time;
$r = $app->post('/v1/jobs/batch', { queue => 'later', jobs => [map { { %$_, delay => '1h' } } @jobs[0 .. 9]] });
is "$r->{status} " . @{ $r->{json}{ids} }, '201 10', 'a batch';
$from = time;
$r = $app->post('/v1/jobs/batch', { queue => 'work', jobs => \@jobs });
my $took = time - $from;
# S1-58, S3-72
is "$r->{status} " . @{ $r->{json}{ids} }, '201 5000', sprintf '5,000 jobs in one batch: %.0f jobs/s', 5000 / $took;
my $n = $pg->query('SELECT count(*) FROM jobq.job');
$r = $app->post('/v1/jobs/batch', { queue => 'work', jobs => [{ type => 'x' }, { typ => 'x' }] });
is $r->{status}, 422, 'one wrong job: ' . $r->{detail};
is $pg->query('SELECT count(*) FROM jobq.job'), $n, '… and nothing is enqueued';
is problem($app->post('/v1/jobs/batch', { queue => 'work', jobs => [({}) x 10001] })), '422 jobs', 'too many in one batch';

#
# acting
#
$r = $app->post('/v1/jobs', { queue => 'work', data => { fail => 'error', message => 'no' } });
my $dead = $r->{json}{id};
state_of($dead, 'dead');
is $app->post("/v1/jobs/$dead/retry")->{status}, 403, 'a producer may not retry';
$r = $ops->post("/v1/jobs/$dead/retry", { data => { ok => 1 } });
is $r->{status}, 200, 'a dead job is retried, with other data (S0-49, S1-27, S2-30, S4-24)';
state_of($dead, 'completed');
is $ops->post("/v1/jobs/$dead/$_")->{status}, 409, "$_ of one that has ended: 409" for qw(retry cancel);
is $ops->post("/v1/jobs/999999/$_")->{status}, 404, "$_ of none: 404" for qw(retry cancel);
is $ops->delete('/v1/jobs/999999')->{status}, 404, 'DELETE of none: 404';
is $ops->request('PATCH', "/v1/jobs/$dead", json => { data => {} })->{status}, 409, 'PATCH of one that has ended: 409';
is $ops->request('PATCH', "/v1/jobs/$id", json => { data => { b => 2 } })->{status}, 200, 'PATCH of one that waits';
is_deeply $eye->get("/v1/jobs/$id")->{json}{data}, { b => 2 }, '… which has other data now';
is problem($ops->request('PATCH', "/v1/jobs/$id", json => {})), '422 data', '… and none is refused';
$r = $ops->post("/v1/jobs/$id/cancel");
# S1-26
is "$r->{status} $r->{json}{state}", '200 cancelled', 'cancel';
# S4-25
is $ops->delete("/v1/jobs/$id")->{status}, 204, 'DELETE';
is $eye->get("/v1/jobs/$id")->{status}, 404, '… and it is gone';
my $running = $app->post('/v1/jobs', { queue => 'work', data => { sleep_ms => 60000 } })->{json}{id};
state_of($running, 'running');
is $ops->delete("/v1/jobs/$running")->{status}, 409, 'DELETE of one that runs: 409';
is $ops->post("/v1/jobs/$running/cancel")->{status}, 200, '… which can be cancelled';
state_of($running, 'cancelled');

#
# bulk
#
is problem($ops->post('/v1/jobs/cancel', {})), '422 -', 'which jobs must be said';
$r = $ops->post('/v1/jobs/cancel', { queue => 'later', type => 'many' });
is_deeply [@{ $r->{json} }{qw(dry_run count)}], [JSON::PP::true, 10], 'without confirm it is a dry run that counts (S3-72)';
is scalar @{ $eye->get('/v1/jobs?queue=later&type=many&state=scheduled')->{json}{items} }, 10, '… and does nothing';
$r = $ops->post('/v1/jobs/cancel', { queue => 'later', type => 'many', data => { n => '3' }, confirm => JSON::PP::true });
is $r->{json}{done}, 1, 'by a member of data';
$r = $ops->post('/v1/jobs/cancel', { queue => 'later', type => 'many', limit => 5, confirm => JSON::PP::true });
is_deeply [@{ $r->{json} }{qw(done more)}], [5, JSON::PP::true], 'so many at most, and more to come';
$r = $ops->post('/v1/jobs/cancel', { queue => 'later', type => 'many', confirm => JSON::PP::true });
is_deeply [@{ $r->{json} }{qw(done more)}], [4, JSON::PP::false], '… the rest';
is problem($ops->post('/v1/jobs/retry', { state => 'ready' })), '422 state', 'a state that cannot be retried';
my @dead = map { $app->post('/v1/jobs', { queue => 'work', type => 'bad', data => { fail => 'error' } })->{json}{id} } 1 .. 3;
state_of($_, 'dead') for @dead;
is $ops->post('/v1/jobs/retry', { ids => [@dead[0, 1]], confirm => JSON::PP::true })->{json}{done}, 2, 'retry by ids';
state_of($_, 'dead') for @dead;
is_deeply $ops->post('/v1/jobs/delete', { ids => [@dead, 999999] })->{json}, { dry_run => JSON::PP::true, count => 3, exact => JSON::PP::true },
    'a dry run by ids';
$r = $ops->post('/v1/jobs/retry', { ids => \@dead, limit => 2, confirm => JSON::PP::true });
is_deeply [@{ $r->{json} }{qw(done more)}], [2, JSON::PP::true], '… and no more than the limit';
state_of($_, 'dead') for @dead;
is $ops->post('/v1/jobs/delete', { ids => \@dead, type => 'other', confirm => JSON::PP::true })->{json}{done}, 0, 'ids that the rest of the filter does not fit';
is $ops->post('/v1/jobs/delete', { type => 'bad', state => 'dead', confirm => JSON::PP::true })->{json}{done}, 3, 'delete';

#
# workflows
#
$r = $app->post('/v1/workflows/flow', { data => { x => 1 } });
is "$r->{status} $r->{json}{state}", '201 running', 'a workflow is started';
is $app->post('/v1/workflows/none')->{status}, 404, 'one that is not there: 404';
done_testing;
