# Schedules and workflows over HTTP: looking, making, changing, running, pausing;
# when an expression fires (S1-16, S1-32 to S1-36, S1-62, S2-12, S3-24 to S3-27,
# S3-38, S3-43, S3-44, S3-63, S3-64, S3-65).
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
    [qw(eye viewer * eye-secret)], [qw(acme admin acme acme-secret)]);
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers: {null: {driver: noop}}
retry: {once: {attempts: 1}}
queues: {work: {handler: null, workers: 2, retry: once}}
schedules:
  nightly: {cron: "30 2 * * *", timezone: Australia/Sydney, queue: work, type: night, description: "Daily at 2:30"}
  skipped: {cron: "30 2 * * *", timezone: Australia/Sydney, dst: skip, queue: work}
  theirs: {every: 1h, queue: work, tenant: acme}
workflows:
  signup:
    steps:
      create: {queue: work, type: create}
      greet: {queue: work, type: greet, after: [create]}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens, rate_limit: 10000/s}
YAML
$d->start;
my ($boss, $ops, $eye, $acme) = map { Api->new("127.0.0.1:$port", "$_-secret") } qw(boss ops eye acme);
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
sub schedule { return $eye->get("/v1/schedules/$_[0]")->{json} }
sub state { return $pg->query("SELECT state FROM jobq.jobs WHERE id = $_[0]") }

#
# looking
#
my $r = $eye->get('/v1/schedules');
is_deeply [ map { $_->{name} } @{ $r->{json}{items} } ], [ qw(nightly skipped theirs) ], 'GET /v1/schedules (S1-33, S3-24)';
my @columns = split /\n/, $pg->query("SELECT attname FROM pg_attribute WHERE attrelid = 'jobq.schedules'::regclass AND attnum > 0");
is_deeply [ grep { !exists $r->{json}{items}[0]{$_} } @columns ], [], "… the view's columns are its keys";
is $r->{json}{items}[0]{description}, 'Daily at 2:30', '… with what it is for';
my ($page) = $eye->get('/v1/schedules?limit=2')->{json};
is_deeply [ map { $_->{name} } @{ $eye->get("/v1/schedules?limit=2&cursor=$page->{next_cursor}")->{json}{items} } ], [ 'theirs' ], '… by pages';
wait_for { schedule('nightly')->{next_run} } 'it has its next run';
my $runs = schedule('nightly')->{next_runs};
is scalar(@$runs), 5, 'one, with its next five runs';
is scalar(grep { /T02:30:00\+1[01]:00$/ } @$runs), 5, "… in its own time: $runs->[0]";
my ($status, $out) = run_program([ jobqctl_program(), 'schedule', 'explain', '30 2 * * *', '--tz', 'Australia/Sydney', '--count', '400', '--json' ]);
is_deeply $eye->get('/v1/schedules/nightly?count=400')->{json}{next_runs}, $Api::json->decode($out), '… 400 of them are what the scheduler fires at';
($status, $out) = run_program([ jobqctl_program(), 'schedule', 'explain', '30 2 * * *', '--tz', 'Australia/Sydney', '--dst', 'skip', '--count', '400', '--json' ]);
is_deeply $eye->get('/v1/schedules/skipped?count=400')->{json}{next_runs}, $Api::json->decode($out), '… also with another rule for the change of the clocks';
is $eye->get('/v1/schedules/nowhere')->{status}, 404, 'one that is not there: 404';

#
# when an expression fires
#
is_deeply $eye->get('/v1/schedules/explain?cron=0+9+1+*+*&timezone=Europe/Berlin&count=3&from=2026-02-20T00:00:00Z')->{json},
    { items => [ qw(2026-03-01T09:00:00+01:00 2026-04-01T09:00:00+02:00 2026-05-01T09:00:00+02:00) ], never_again => $false }, 'explain';
is_deeply $eye->get('/v1/schedules/explain?every=90s&count=2&from=2026-01-01T00:00:00Z')->{json}{items},
    [ qw(2026-01-01T00:01:30+00:00 2026-01-01T00:03:00+00:00) ], '… a duration';
is_deeply $eye->get('/v1/schedules/explain?cron=0+0+30+2+*')->{json}, { items => [], never_again => $true }, '… one that never fires';
for ([ 'cron=61+*+*+*+*', 'cron' ], [ 'cron=nonsense', 'cron' ], [ 'every=soon', 'every' ], [ 'every=10ms', 'every' ], [ 'every=1+1+1+1+1', 'every' ],
    [ 'cron=@daily&timezone=Europe/Berln', 'timezone' ], [ '', 'cron' ], [ 'cron=@daily&every=1h', 'cron' ], [ 'cron=@daily&count=1001', 'count' ]) {
	$r = $eye->get("/v1/schedules/explain?$_->[0]");
	utf8::encode(my $said = $r->{json}{detail});
	is "$r->{status} $r->{json}{field}", "422 $_->[1]", "explain?$_->[0]: $said";
}

#
# making, changing, removing
#
is $ops->post('/v1/schedules', { name => 'new', every => '1h', queue => 'work' })->{status}, 403, 'an operator makes none: 403';
is $acme->post('/v1/schedules', { name => 'new', every => '1h', queue => 'work' })->{status}, 403, "nor a tenant's admin";
$r = $boss->post('/v1/schedules', { name => 'new', cron => '0 0 * * *', timezone => 'Asia/Tokyo', queue => 'work', type => 'a',
	data => { a => undef, b => [1, { c => undef }] }, priority => 'high', enabled => $true, overlap => 'skip', requires_env => [ 'HOME' ], jitter => '1s' });
is "$r->{status} $r->{headers}{location}", '201 /v1/schedules/new', 'made (S1-32)';
is_deeply [ @{ $r->{json} }{qw(spec timezone origin overlap priority)} ], [ '0 0 * * *', 'Asia/Tokyo', 'sql', 'skip', 3 ], '… as it was said (S1-12)';
is_deeply $r->{json}{data}, { a => undef, b => [1, { c => undef }] }, '… with the data, nulls and all';
is $pg->query("SELECT count(*) FROM jobq.audit WHERE actor = 'boss' AND action = 'put' AND target = 'schedule new'"), 1, '… and an audit row';
wait_for { my $n = schedule('new')->{next_runs}; $n && @$n == 5 && $n->[4] =~ /T00:00:00\+09:00$/ } 'a scheduler has taken it up';
is $boss->post('/v1/schedules', { name => 'new', every => '1h', queue => 'work' })->{status}, 409, 'made twice: 409';
$r = $boss->put('/v1/schedules/new', { every => '1h', queue => 'work', data => {} });
is "$r->{status} $r->{json}{spec} $r->{json}{overlap}", '200 1h allow', 'PUT replaces it, the rest is default (S1-34, S1-16)';
$r = $boss->put('/v1/schedules/other', { at => '2099-01-01T00:00:00Z', queue => 'work', description => 'once' });
is "$r->{status} $r->{json}{spec}", '201 2099-01-01T00:00:00.000Z', 'PUT makes one, too: once (S2-12, S3-64)';
is scalar(@{ schedule('other')->{next_runs} }), 1, '… which runs once';
is scalar(@{ $eye->get('/v1/schedules?origin=sql')->{json}{items} }), 2, 'both are there';
$r = $boss->put('/v1/schedules/ending', { cron => '0 0 * * *', ends => '2099-01-01T00:00:00Z', starts => '2098-12-30T00:00:00Z', queue => 'work' });
wait_for { @{ schedule('ending')->{next_runs} || [] } } 'one that starts and ends has been taken up';
is scalar(@{ schedule('ending')->{next_runs} }), 3, '… and runs no more than that (S3-65)';
for ([ { cron => '61 * * * *', queue => 'work' }, qr/minute "61"/ ], [ { every => '1h' }, qr/queue is missing/ ], [ { queue => 'work' }, qr/one of cron, every and at/ ],
    [ { every => '1h', queue => 'nowhere' }, qr/no queue "nowhere"/ ], [ { every => '1h', queue => 'work', timezone => 'Mars/X' }, qr/no time zone/ ],
    [ { every => '1h', queue => 'work', evry => 1 }, qr/did you mean "every"/ ], [ { every => '1h', queue => 'work', overlap => 'x' }, qr/none of/ ],
    [ { every => '1h', queue => 'work', priority => 'urgent' }, qr/urgent/ ], [ { every => '1h', queue => 'work', data => [1] }, qr/data is an array, not an object/ ]) {
	$r = $boss->put('/v1/schedules/wrong', $_->[0]);
	is $r->{status}, 422, 'PUT of ' . $Api::json->encode($_->[0]) . ': 422';
	like $r->{json}{detail}, $_->[1], '… and why';
}
$r = $boss->put('/v1/schedules/wrong', { every => '1h', queue => 'work', only_if => 'select true' });
is "$r->{status} $r->{json}{field}", '403 only_if', 'SQL is not taken: 403';
$pg->query(q{SELECT jobq.schedule_put('new', '{"every": "1h", "queue": "work", "only_if": "select true"}')});
is $boss->put('/v1/schedules/new', { every => '2h', queue => 'work' })->{json}{only_if}, 'select true', 'what somebody gave by SQL stays';
is $boss->put('/v1/schedules/new', { every => '3h', queue => 'work', only_if => 'select true' })->{status}, 200, '… said again or not';
is $boss->put('/v1/schedules/nightly', { every => '1h', queue => 'work' })->{status}, 409, 'one of the configuration is not replaced: 409';
is $boss->delete('/v1/schedules/nightly')->{status}, 409, '… nor removed';
is $boss->delete('/v1/schedules/other')->{status}, 204, 'one made at run time is (S1-35)';
is $boss->delete('/v1/schedules/other')->{status}, 404, '… once';
is $boss->put('/v1/schedules/a%20b', { every => '1h', queue => 'work' })->{status}, 422, 'a name that is none: 422';

#
# running and pausing
#
is $eye->post('/v1/schedules/nightly/run')->{status}, 403, 'a viewer runs nothing: 403';
$r = $ops->post('/v1/schedules/nightly/run');
is scalar(@{ $r->{json}{jobs} }), 1, 'run now';
wait_for { state($r->{json}{jobs}[0]) eq 'completed' } 'its job has completed';
is_deeply [ map { "$_->{job_id} $_->{state}" } @{ schedule('nightly')->{runs} } ], [ "$r->{json}{jobs}[0] completed" ], '… and is its last run (S3-26)';
# S3-38
is $ops->post('/v1/schedules/nowhere/run')->{status}, 404, 'one that is not there: 404';
$r = $ops->post('/v1/schedules/nightly/pause');
is_deeply [ $r->{status}, @{ $r->{json} }{qw(paused next_run)} ], [ 200, $true, undef ], 'pause: it has no next run (S3-27)';
is_deeply schedule('nightly')->{next_runs}, [], '… none at all';
is $ops->post('/v1/schedules/nightly/resume')->{json}{paused}, $false, 'resume (S3-27)';
wait_for { schedule('nightly')->{next_run} } 'it has one again';
is $pg->query("SELECT string_agg(action, ' ' ORDER BY at) FROM jobq.audit WHERE actor = 'ops' AND target = 'schedule nightly'"), 'run pause resume', '… all in the audit';

# a tenant's own
is_deeply [ map { $_->{name} } @{ $acme->get('/v1/schedules')->{json}{items} } ], [ 'theirs' ], "a tenant's token sees its own";
is $acme->get('/v1/schedules/nightly')->{status}, 404, "… not another's";
is $acme->post('/v1/schedules/theirs/run')->{status}, 403, '… and runs none';

#
# workflows
#
my $ok = $pg->query(q{SELECT jobq.workflow('signup', '{}', tenant => 'acme')});
my $bad = $pg->query(q{SELECT jobq.workflow('signup', '{"fail": "error", "message": "no"}')});
wait_for { $eye->get("/v1/workflows/$ok")->{json}{state} eq 'completed' && $eye->get("/v1/workflows/$bad")->{json}{state} eq 'failed' } 'one has completed, one failed';
is_deeply [ map { $_->{id} } @{ $eye->get('/v1/workflows')->{json}{items} } ], [ $bad, $ok ], 'GET /v1/workflows, the newest first';
is_deeply [ map { $_->{id} } @{ $eye->get('/v1/workflows?state=failed&name=signup')->{json}{items} } ], [ $bad ], '… in a state';
is_deeply { map { $_ => $eye->get("/v1/workflows/$bad")->{json}{steps}{$_}{state} } qw(create greet) }, { create => 'dead', greet => 'cancelled' }, 'one, with its steps';
is $eye->get("/v1/workflows/$bad")->{json}{failed_step}, 'create', '… and which failed';
is $ops->post("/v1/workflows/$ok/cancel")->{status}, 409, 'one that has ended is not cancelled: 409';
is $ops->post("/v1/workflows/$ok/retry")->{status}, 409, '… nor taken up again';
is $ops->post("/v1/workflows/$bad/retry")->{json}{state}, 'running', 'one that failed is';
is $ops->post('/v1/workflows/999/cancel')->{status}, 404, 'one that is not there: 404';
$pg->query("SELECT jobq.pause('work')");
my $open = $pg->query("SELECT jobq.workflow('signup')");
is $ops->post("/v1/workflows/$open/cancel")->{json}{state}, 'cancelled', 'one that runs is cancelled';
is_deeply [ map { $_->{id} } @{ $acme->get('/v1/workflows')->{json}{items} } ], [ $ok ], "a tenant's token sees its own";
is $acme->get("/v1/workflows/$bad")->{status}, 404, "… not another's";
done_testing;
