# Queues over HTTP: what they are, pausing, draining, clearing, cleaning, removing
# (S0-60, S2-27, S2-28, S2-29, S3-28, S3-32, S4-21, S4-26, S4-43).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Http;
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $port = free_port();
Api::tokens("$dir/tokens", [qw(boss admin * boss-secret)], [qw(ops operator * ops-secret)],
    [qw(eye viewer * eye-secret)], [qw(acme operator acme acme-secret)]);
my $config = <<"YAML";
handlers: {null: {driver: noop}}
limits: {slowly: {rate: 1000/s, concurrency: 50}}
queues:
  bulk: {handler: null, workers: 1}
  later: {handler: null, workers: 1, concurrency: 4, priority: high, limits: [slowly], timeout: 1h}
  old: {handler: null, workers: 1}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens, rate_limit: 10000/s}
YAML
my $d = Jobqd::Daemon->new(pg => $pg, config => $config);
$d->start;
my ($boss, $ops, $eye, $acme) = map { Api->new("127.0.0.1:$port", "$_-secret") } qw(boss ops eye acme);
sub queue { return $eye->get("/v1/queues/$_[0]")->{json} }
sub audited { return $pg->query("SELECT count(*) FROM jobq.audit WHERE actor = '$_[0]' AND action = '$_[1]' AND target = '$_[2]'") }

#
# looking
#
my $r = $eye->get('/v1/queues');
is $r->{status}, 200, 'GET /v1/queues (S0-60, S2-22)';
is_deeply [ map { $_->{name} } @{ $r->{json}{items} } ], [ qw(bulk later old) ], '… has all of them';
my @columns = split /\n/, $pg->query("SELECT attname FROM pg_attribute WHERE attrelid = 'jobq.queues'::regclass AND attnum > 0");
is_deeply [ grep { !exists $r->{json}{items}[0]{$_} } @columns ], [], "… with the view's columns as keys";
my @names;
for (my $cursor = ''; defined $cursor; $cursor = $r->{json}{next_cursor}) {
	$r = $eye->get("/v1/queues?limit=2&cursor=$cursor");
	push @names, map { $_->{name} } @{ $r->{json}{items} };
}
is "@names", 'bulk later old', '… by pages of two';
is $eye->get('/v1/queues?cursor=zzzz')->{json}{field}, 'cursor', '… a cursor that is none: 422 of it';
my $later = queue('later');
is_deeply [ @{ $later->{settings} }{qw(workers concurrency priority attempts timeout_ms)} ], [ 1, 4, 3, 3, 3600000 ], 'one of them, with its settings';
is $later->{limits}[0]{name}, 'slowly', '… and limits';
is $eye->get('/v1/limits')->{json}{items}[0]{rate}, 1000, 'GET /v1/limits';
is_deeply $eye->get('/v1/breakers?state=open')->{json}{items}, [], 'GET /v1/breakers';
$r = $eye->get('/v1/queues/latre');
is $r->{status}, 404, 'one that is not there: 404';
like $r->{json}{detail}, qr/there is no queue "latre".*bulk, later, old/, '… saying which there are';
is $eye->get('/v1/queues/later%00x')->{status}, 400, 'a name with a NUL';
is $eye->get('/v1/queues/' . 'x' x 3000)->{status}, 404, 'a long one';

#
# pausing
#
is $eye->post('/v1/queues/bulk/pause', {})->{status}, 403, 'a viewer may not pause: 403';
is $acme->post('/v1/queues/bulk/pause', {})->{status}, 403, "nor a tenant's operator: it is everybody's";
$r = $ops->post('/v1/queues/bulk/pause', { reason => 'a "look"' });
is_deeply [ $r->{status}, $r->{json}{paused} ], [ 200, JSON::PP::true ], 'pause';
is_deeply [ @{ queue('bulk') }{qw(paused pause_reason paused_by)} ], [ JSON::PP::true, 'a "look"', 'ops' ], '… with the reason, and who';
# S2-27, S3-28
is audited('ops', 'pause', 'queue bulk'), 1, '… and an audit row';
# S2-28, S3-28
is $ops->post('/v1/queues/bulk/resume')->{json}{paused}, JSON::PP::false, 'resume';
is audited('ops', 'resume', 'queue bulk'), 1, '… and an audit row';
$r = $ops->post('/v1/queues/bulk/pause', { type => 'mail', tenant => 'acme', for => '1h' });
is $r->{json}{held}[0]{type}, 'mail', 'pause a type of a tenant for an hour';
ok $r->{json}{held}[0]{until}, '… until when it says';
is scalar(@{ $eye->get('/v1/holds')->{json}{items} }), 1, '… and GET /v1/holds';
is scalar(@{ queue('bulk')->{held} }), 1, '… and the queue';
is $ops->post('/v1/queues/bulk/pause', { for => 60, until => '2099-01-01T00:00:00Z' })->{json}{field}, 'for', 'for and until: 422';
is $ops->post('/v1/queues/bulk/pause', { until => '2001-01-01T00:00:00Z' })->{json}{field}, 'until', 'until what has passed: 422';
$ops->post('/v1/queues/bulk/resume', { type => 'mail', tenant => 'acme' });
is_deeply $eye->get('/v1/holds')->{json}{items}, [], '… resumed by the same';
is $ops->post('/v1/queues/*/pause', {})->{json}{paused}, JSON::PP::true, 'pause all queues';
is scalar(grep { $_->{paused} } @{ $eye->get('/v1/queues')->{json}{items} }), 3, '… and all are';
is $ops->post('/v1/queues/nowhere/pause', {})->{status}, 404, 'pause one that is not there: 404';
is $ops->post('/v1/queues/bulk/pause', { reasn => 'x' })->{json}{field}, 'reasn', 'an unknown member: 422';

#
# draining
#
$pg->query("SELECT jobq.enqueue('bulk') FROM generate_series(1, 5)");
is $ops->post('/v1/queues/bulk/drain')->{status}, 403, 'drain is for admins';
$r = $boss->post('/v1/queues/bulk/drain', { wait => '1s' });
is $r->{status}, 409, 'a paused queue with jobs never drains: 409';
like $r->{json}{detail}, qr/paused/, '… and says why';
$ops->post('/v1/queues/*/resume');
wait_for { $boss->post('/v1/queues/bulk/drain', { wait => '20s' })->{json}{drained} } 'it drains';
is_deeply $boss->post('/v1/queues/bulk/drain')->{json}, { name => 'bulk', drained => JSON::PP::true, ready => 0, running => 0 }, 'drained';
is $boss->post('/v1/queues/bulk/drain', { wait => 'soon' })->{json}{field}, 'wait', 'a wait that is none: 422';
is $boss->post('/v1/queues/nowhere/drain', { wait => '20s' })->{status}, 404, 'a queue that is none: 404';
# It has not come to that when the time is over.
$pg->query(q{SELECT jobq.enqueue('later', data => '{"sleep_ms": 3600000}')});
wait_for { queue('later')->{running} == 1 } 'a long job runs';
is $boss->post('/v1/queues/later/drain', { wait => '600ms' })->{json}{drained}, JSON::PP::false, 'not drained in that time';

#
# cleaning
#
wait_for { queue('bulk')->{completed} == 5 } 'five have completed';
is_deeply $boss->post('/v1/queues/bulk/clean', { state => 'completed', older_than => '1h' })->{json}, { removed => 0 }, 'clean: none is so old';
is_deeply $boss->post('/v1/queues/bulk/clean', { state => 'completed', dry_run => JSON::PP::true })->{json},
    { dry_run => JSON::PP::true, removed => 5 }, '… a dry run says how many';
is_deeply $boss->post('/v1/queues/bulk/clean', { state => 'completed', older_than => '0s' })->{json}, { removed => 5 }, '… and then they go (S1-29, S3-32, S4-26, S4-43)';
is queue('bulk')->{completed}, 0, '… and are gone';
is audited('boss', 'clean', 'queue bulk'), 1, '… with an audit row';
is $boss->post('/v1/queues/bulk/clean', { state => 'ready' })->{json}{field}, 'state', 'jobs that have not ended are not cleaned: 422';
is $boss->post('/v1/queues/bulk/clean', {})->{json}{field}, 'state', 'without a state: 422';

#
# clearing, more than one transaction of it
#
$pg->query("SELECT count(*) FROM jobq.enqueue_many('bulk', (SELECT jsonb_agg(jsonb_build_object('type', 't' || i % 2, 'delay', '1 day')) FROM generate_series(1, 2500) i))");
is $ops->delete('/v1/queues/bulk/jobs?confirm=yes')->{status}, 403, 'clearing is for admins';
$r = $boss->delete('/v1/queues/bulk/jobs');
is "$r->{status} $r->{json}{field}", '422 confirm', 'without confirm=yes: 422 (S2-29)';
is queue('bulk')->{scheduled}, 2500, '… and nothing is done';
is $boss->delete('/v1/queues/bulk/jobs?confirm=no')->{status}, 422, 'confirm=no: 422';
is_deeply $boss->delete('/v1/queues/bulk/jobs?dry_run=true&type=t1')->{json}, { dry_run => JSON::PP::true, cancelled => 1250 }, 'a dry run of a type';
is_deeply $boss->delete('/v1/queues/bulk/jobs?confirm=yes&type=t1')->{json}, { cancelled => 1250 }, '… and that type';
is_deeply $boss->delete('/v1/queues/bulk/jobs?confirm=yes&state=blocked')->{json}, { cancelled => 0 }, '… those of a state';
is_deeply $boss->delete('/v1/queues/bulk/jobs?confirm=yes')->{json}, { cancelled => 1250 }, '… and the others (S2-29)';
is queue('bulk')->{scheduled}, 0, '… all are gone';
is queue('later')->{running}, 1, '… but not what runs elsewhere';
is $boss->delete('/v1/queues/nowhere/jobs?confirm=yes')->{status}, 404, 'of a queue that is none: 404';

# The client leaves while the first thousand are waited for: no more follow.
$pg->query("SELECT count(*) FROM jobq.enqueue_many('bulk', (SELECT jsonb_agg(jsonb_build_object('delay', '1 day')) FROM generate_series(1, 2500) i))");
my ($holder, $looker) = ($pg->session, $pg->session);
$holder->query("SELECT pg_advisory_lock(jobq.claim_lock(), id) FROM jobq.queue WHERE name = 'bulk'");
my $c = Http->new("127.0.0.1:$port")->connect;
my $from = $d->log_size;
$c->send("DELETE /v1/queues/bulk/jobs?confirm=yes HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer boss-secret\r\n\r\n");
wait_for { $looker->query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") > 0 } 'it waits for the queue';
undef $c;
$eye->get('/v1/limits') for 1 .. 2;	# who leaves is heard of before these
$holder->query("SELECT pg_advisory_unlock_all()");
$d->wait_log(qr{request .*method=DELETE path=/v1/queues/bulk/jobs}, $from);
is queue('bulk')->{scheduled}, 1500, 'when the client leaves, no more than one piece is done';
is $boss->delete('/v1/queues/bulk/jobs?confirm=yes')->{json}{cancelled}, 1500, '… and who asks again has the rest';

#
# a tenant
#
$pg->query("SELECT jobq.enqueue('bulk', delay => '1 day', tenant => CASE WHEN i <= 3 THEN 'acme' ELSE 'other' END) FROM generate_series(1, 10) i");
is $acme->get('/v1/queues/bulk')->{json}{scheduled}, 3, "a tenant's token sees its share";
ok !exists $acme->get('/v1/queues/bulk')->{json}{settings}, '… and no settings';
is $acme->get('/v1/limits')->{status}, 403, '… nor limits';

#
# removing
#
is $boss->delete('/v1/queues/old?confirm=yes')->{status}, 409, 'a queue that is served is not removed: 409';
is $boss->delete('/v1/queues/old')->{json}{field}, 'confirm', '… nor without confirm';
$d->configure($config =~ s/^  old.*\n//mr);
$from = $d->log_size;
$d->signal('HUP');
$d->wait_log(qr/: reloaded /, $from);
wait_for { $boss->delete('/v1/queues/old?confirm=yes')->{status} == 204 } 'removed once no node serves it';
is $eye->get('/v1/queues/old')->{status}, 404, '… and gone';
is audited('boss', 'remove', 'queue old'), 1, '… with an audit row';
done_testing;
