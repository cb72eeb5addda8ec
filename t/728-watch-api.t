# What there is to watch, over HTTP: workers, nodes, statistics, series, history,
# inventory, alerts (S0-21, S0-22, S0-61, S0-62, S0-72, S1-28 to S1-31, S1-36,
# S1-42 to S1-45, S2-21 to S2-23, S2-45, S2-58, S3-29, S3-30, S3-41, S3-47,
# S3-60 to S3-62, S4-21, S4-36, S4-50).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $port = free_port();
Api::tokens("$dir/tokens", [qw(boss admin * boss-secret)], [qw(ops operator * ops-secret)],
    [qw(eye viewer * eye-secret)], [qw(acme operator acme acme-secret)]);
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers: {null: {driver: noop}}
retry: {twice: {attempts: 2, backoff: fixed, base: 100ms, jitter: 0%}}
limits: {slowly: {rate: 1000/s}}
queues:
  work: {handler: null, workers: 3, retry: twice}
  held: {handler: null, workers: 1, limits: [slowly]}
schedules:
  nightly: {cron: "0 2 * * *", queue: work, type: night}
  theirs: {cron: "0 2 * * *", queue: work, type: own, tenant: acme}
workflows:
  one: {steps: {a: {queue: work}}}
monitor: {interval: 1s, health_file: "", statistics: 1s}
alerts:
  backlog: {metric: backlog, above: 1000, for: 0s, severity: warning}
  dead: {metric: dead_letters, above: 1000}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens, rate_limit: 10000/s}
YAML
$d->start;
my ($boss, $ops, $eye, $acme) = map { Api->new("127.0.0.1:$port", "$_-secret") } qw(boss ops eye acme);
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
sub items { return @{ $eye->get($_[0])->{json}{items} } }
sub columns { return split /\n/, $pg->query("SELECT attname FROM pg_attribute WHERE attrelid = 'jobq.$_[0]'::regclass AND attnum > 0") }

# 20 complete (8 of them a tenant's), 5 die at their second attempt.
$pg->query(q{SELECT jobq.enqueue('work', 't' || i % 2, '{"sleep_ms": 20}', tenant => CASE WHEN i <= 8 THEN 'acme' END) FROM generate_series(1, 20) i});
$pg->query(q{SELECT jobq.enqueue('work', 'bad', '{"fail": "network", "message": "no route"}') FROM generate_series(1, 5) i});
wait_for { $pg->query('SELECT count(*) FROM jobq.attempts') == 30 } 'thirty attempts have ended';
wait_for { $pg->query('SELECT coalesce(sum(completed + failed), 0) FROM jobq.statistics') == 30 } 'the statistics have them';

#
# workers and nodes
#
my @workers = items('/v1/workers');
is_deeply [ map { "$_->{node} $_->{worker}" } @workers ], [ 'node held/0', map { "node work/$_" } 0 .. 2 ], 'GET /v1/workers (S0-62, S1-43)';
is_deeply [ grep { !exists $workers[0]{$_} } columns('workers') ], [], "… the view's columns are its keys";
is scalar(items('/v1/workers?queue=work&node=node')), 3, '… of a queue and a node';
my $page = $eye->get('/v1/workers?limit=3')->{json};
is_deeply [ map { $_->{worker} } items("/v1/workers?limit=3&cursor=$page->{next_cursor}") ], [ 'work/2' ], '… by pages';
my ($node) = items('/v1/nodes');
is_deeply [ @{$node}{qw(name alive workers busy)} ], [ "node", $true, 4, 0 ], 'GET /v1/nodes';
# S1-18, S1-30, S1-31: since when and for how long.
ok $node->{uptime_ms} > 0, "… with its uptime: $node->{uptime_ms} ms";
is_deeply [ grep { !exists $node->{$_} } columns('nodes') ], [], "… and the view's columns";

#
# statistics
#
my $r = $eye->get('/v1/stats');
is $r->{status}, 200, 'GET /v1/stats';
my ($work) = grep { $_->{name} eq 'work' } @{ $r->{json}{items} };
is_deeply [ @{$work}{qw(open ready completed dead total)} ], [ $true, 0, 20, 5, 25 ], 'by queue, as it stands (S0-61, S1-28, S2-22, S4-21, S4-36)';
is_deeply [ @{ $work->{window} }{qw(completed failed dead failure_rate)} ], [ 20, 5, 5, 0.3333 ], '… and as it did (S1-30, S1-42, S2-21, S2-22, S4-36)';
ok $work->{window}{run_avg_ms} > 0 && $work->{window}{run_p99_ms} >= $work->{window}{run_p50_ms} && defined $work->{window}{wait_p95_ms}, '… how long jobs waited and ran';
# S1-18, S1-30, S1-31, S1-43: how many, how long, what share of them well.
is_deeply [ @{ $r->{json}{total}{window} }{qw(completed failure_rate success_rate)} ], [ 20, 0.3333, 0.6667 ], 'all together';
cmp_ok $r->{json}{total}{window}{run_avg_ms}, '>', 0, "… how long they ran: $r->{json}{total}{window}{run_avg_ms} ms";
is_deeply [ @{ $r->{json}{total} }{qw(completed dead total workers)} ], [ 20, 5, 25, 4 ], '… by state';
is_deeply $r->{json}{dead_letters}, { total => 5, unreviewed => 5 }, '… dead letters';
is_deeply [ @{ $r->{json}{schedules} }{qw(total active inactive)} ], [ 2, 2, 0 ], '… schedules (S1-36)';
is_deeply { map { $_->{name} => $_->{completed} } items('/v1/stats?by=type') }, { t0 => 10, t1 => 10, bad => 0 }, 'by type';
is_deeply { map { $_->{name} // '' => $_->{completed} } items('/v1/stats?by=tenant') }, { acme => 8, '' => 12 }, 'by tenant';
is $eye->get('/v1/stats?by=colour')->{json}{field}, 'by', 'by something else: 422';
is $eye->get('/v1/stats?range=ages')->{json}{field}, 'range', 'a range that is none: 422';

#
# series
#
sub sum { my ($key, @rows) = @_; my $sum = 0; $sum += $_->{$key} || 0 for @rows; return $sum }
$r = $eye->get('/v1/metrics?range=10m&step=1m');
is_deeply [ $r->{status}, $r->{json}{step_ms} ], [ 200, 60000 ], 'GET /v1/metrics (S2-23, S3-30, S1-59)';
cmp_ok abs(@{ $r->{json}{items} } - 11), '<=', 1, '… a row a step';
# S3-61, S3-62
is_deeply [ map { sum($_, @{ $r->{json}{items} }) } qw(completed failed dead) ], [ 20, 10, 5 ], '… and all is in it';
is_deeply [ grep { !exists $r->{json}{items}[0]{$_} } qw(at wait_p50_ms wait_p99_ms run_p50_ms run_p99_ms ready per_second) ], [], '… with how long it took and what was ready';
is sum('completed', items('/v1/metrics?range=1h&type=t1')), 10, 'of a type';
is sum('completed', items('/v1/metrics?range=1h&tenant=acme')), 8, '… of a tenant';
my %by;
$by{ $_->{name} } += $_->{completed} for items('/v1/metrics?range=1h&by=type');
# S3-60, S3-62: by type, over time.
is_deeply \%by, { t0 => 10, t1 => 10, bad => 0 }, '… by type';
is $eye->get('/v1/metrics?range=24h')->{json}{step_ms}, 300000, 'a day has steps of five minutes';
is $eye->get('/v1/metrics?range=7d')->{json}{step_ms}, 3600000, '… a week of an hour';
is $eye->get('/v1/metrics?range=1h&step=1s')->{json}{field}, 'step', 'more than 2000 steps: 422';
is $eye->get('/v1/metrics?range=1h&since=2026-01-01T00:00:00Z')->{json}{field}, 'range', 'range and since: 422';
is $eye->get('/v1/metrics?queue=nowhere')->{json}{field}, 'queue', 'a queue that is none: 422';
my ($error) = items('/v1/errors');
is_deeply [ @{$error}{qw(queue type class count)} ], [ qw(work bad network 10) ], 'GET /v1/errors';
is scalar(items('/v1/errors?class=timeout')), 0, '… of a class';
# S1-67
is $eye->get('/v1/report?range=1h')->{json}{queues}[1]{completed}, 20, 'GET /v1/report';
like join(' ', map { $_->{subject} } items('/v1/checkup')), qr/database/, 'GET /v1/checkup';

#
# history
#
my @all;
my $pages = 0;
for (my $cursor = ''; defined $cursor; $cursor = $r->{json}{next_cursor}, $pages++) {
	$r = $eye->get("/v1/history?limit=10&cursor=$cursor");
	push @all, map { $_->{id} } @{ $r->{json}{items} };
}
is_deeply \@all, [ split /\n/, $pg->query("SELECT job_id FROM jobq.attempts WHERE outcome <> 'failed' ORDER BY finished_at DESC, job_id DESC") ], "GET /v1/history, in $pages pages (S3-29)";
is scalar(items('/v1/history?state=completed&type=t1')), 10, '… of a state and a type';
is scalar(items('/v1/history?state=failed')), 5, '… attempts that failed';
is scalar(items('/v1/history?tenant=acme')), 8, '… of a tenant';
is scalar(items('/v1/history?until=2001-01-01T00:00:00Z')), 0, '… of a time';
my ($last) = items('/v1/history?state=dead&limit=1');
is_deeply [ @{$last}{qw(queue type state error_class error attempt)} ], [ qw(work bad dead network), 'no route', 2 ], '… and what it tells (S3-29, S3-47)';

#
# inventory
#
my $inventory = $eye->get('/v1/inventory')->{json};
is_deeply [ map { $_->{name} } @{ $inventory->{queues} } ], [ qw(work held) ], 'GET /v1/inventory: queues (S0-21, S0-22)';
is_deeply [ grep { !exists $inventory->{$_} } qw(types schedules handlers workers limits retry workflows hooks channels alerts nodes counts) ], [], "… and all else";
is $inventory->{counts}{workers}, 4, '… counted';
my ($status, $out) = $d->ctl('inventory', '--json');
my $same = $Api::json->decode($out);
delete @{$_}{qw(at configuration)} for $inventory, $same;
is_deeply $inventory, $same, '… as "jobqctl inventory --json" tells it';

#
# alerts
#
is_deeply [ map { $_->{name} } items('/v1/alert-rules') ], [ qw(backlog dead) ], 'GET /v1/alert-rules';
is_deeply [ items('/v1/alerts') ], [], 'GET /v1/alerts: none has fired';
is $ops->put('/v1/alerts/dead', { above => 3 })->{status}, 403, 'an operator changes none: 403';
$r = $boss->put('/v1/alerts/dead', { above => 3, for => '0s' });
is_deeply [ $r->{status}, @{ $r->{json} }{qw(above for changed_by)} ], [ 200, 3, '0s', 'boss' ], 'a rule is changed (S2-45)';
wait_for { items('/v1/alerts?name=dead&state=live') } 'it fires';
my ($alert) = items('/v1/alerts?state=firing&queue=work');
is_deeply [ @{$alert}{qw(name queue state value)} ], [ qw(dead work firing 5) ], '… with its value';
is_deeply [ grep { !exists $alert->{$_} } columns('alerts') ], [], "… and the view's columns";
is $ops->post('/v1/alerts/dead/ack', { note => 'looking' })->{json}{live}[0]{acknowledged_by}, 'ops', 'acknowledged by who calls';
is $ops->post('/v1/alerts/backlog/ack', {})->{status}, 409, '… one that does not fire: 409';
is $ops->post('/v1/alerts/nothing/ack', {})->{status}, 404, '… one that is not there: 404';
$r = $ops->post('/v1/alerts/dead/silence', { for => '1h', reason => 'known' });
is_deeply [ map { @{$_}{qw(name by reason)} } @{ $r->{json}{items} } ], [ qw(dead ops known) ], 'silenced';
is +($eye->get('/v1/alerts/dead')->{json}{live}[0]{state}), 'silenced', '… it is';
is $ops->post('/v1/alerts/dead/silence', {})->{json}{field}, 'for', '… for how long? 422';
is $ops->post('/v1/alerts/*/silence', { until => '2099-01-01T00:00:00Z' })->{status}, 200, 'all are silenced';
is scalar(items('/v1/silences')), 2, 'GET /v1/silences';
is $ops->post('/v1/alerts/*/unsilence')->{status}, 200, '… and no more';
is $ops->post('/v1/alerts/*/unsilence')->{status}, 404, '… once';
is_deeply $ops->post('/v1/alerts/dead/unsilence')->{json}{items}, [], '… nor the one';
for ([ {}, qr/nothing to change/ ], [ { above => 'much' }, qr/needs a number/ ], [ { below => 1 }, qr/has no "below"/ ], [ { abov => 1 }, qr/did you mean "above"/ ],
    [ { severity => 'bad' }, qr/is not info, warning or critical/ ]) {
	$r = $boss->put('/v1/alerts/dead', $_->[0]);
	is $r->{status}, 422, 'PUT of ' . $Api::json->encode($_->[0]) . ': 422';
	like $r->{json}{detail}, $_->[1], '… and why';
}
is $boss->put('/v1/alerts/dead', { above => undef })->{json}{above}, '1000', 'null: as the configuration has it';
wait_for { !items('/v1/alerts?state=live') } 'it has ended';
is scalar(@{ $eye->get('/v1/alerts/dead')->{json}{history} }), 1, '… and is history';
is $boss->post('/v1/alerts/dead/reset')->{json}{changes}, undef, 'nothing of it is changed any more';
is $eye->get('/v1/alerts/nothing')->{status}, 404, 'a rule that is not there: 404';
is $pg->query("SELECT string_agg(actor || ' ' || action, ', ' ORDER BY at) FROM jobq.audit WHERE target = 'alert dead' AND actor !~ '^node '"),
    'boss set, ops acknowledge, ops silence, ops unsilence, boss set, boss reset', 'all of it is in the audit';

#
# a tenant's share
#
$r = $acme->get('/v1/stats')->{json};
is_deeply [ map { $_->{completed} } grep { $_->{name} eq 'work' } @{ $r->{items} } ], [ 8 ], "a tenant's token sees its share of the statistics";
is_deeply [ @{ $r->{total}{window} }{qw(completed dead)}, $r->{dead_letters}{total}, $r->{schedules}{total} ], [ 8, 0, 0, 1 ], '… of all together';
is sum('completed', @{ $acme->get('/v1/metrics?range=1h')->{json}{items} }), 8, '… of the series';
is $acme->get('/v1/metrics?tenant=other')->{status}, 403, "… not another's";
is_deeply [ map { $_->{name} } @{ $acme->get('/v1/stats?by=tenant')->{json}{items} } ], [ 'acme' ], '… nor who else there is';
is scalar(@{ $acme->get('/v1/history?limit=100')->{json}{items} }), 8, '… of the history';
$inventory = $acme->get('/v1/inventory')->{json};
is_deeply [ sort keys %$inventory ], [ qw(counts queues schedules types workflows) ], '… of the inventory';
is_deeply [ map { $_->{name} } @{ $inventory->{types} } ], [ qw(work/own work/t0 work/t1) ], '… its types';
for (qw(workers nodes errors report checkup alerts alert-rules silences limits breakers holds)) {
	is $acme->get("/v1/$_")->{status}, 403, "/v1/$_ is not for tenants: 403";
}
done_testing;
