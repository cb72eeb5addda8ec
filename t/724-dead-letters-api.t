# Dead letters over HTTP: looking, by reason, running again one or many, review,
# deletion, and a tenant's own (S0-48, S0-49, S2-20, S2-25, S2-26, S2-30, S2-31,
# S2-58, S2-59, S3-31, S3-72).
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
Api::tokens("$dir/tokens", [qw(ops operator * ops-secret)], [qw(eye viewer * eye-secret)],
    [qw(acme operator acme acme-secret)]);
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers: {null: {driver: noop}}
retry: {once: {attempts: 1}}
queues: {work: {handler: null, workers: 2, retry: once}, other: {handler: null, workers: 1, retry: once}}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens, rate_limit: 10000/s}
YAML
$d->start;
my ($ops, $eye, $acme) = map { Api->new("127.0.0.1:$port", "$_-secret") } qw(ops eye acme);
my ($true, $false) = (JSON::PP::true, JSON::PP::false);

# 12 of three reasons in two queues, four of them a tenant's.
$pg->query(q{SELECT jobq.enqueue('work', 't1', '{"fail": "network", "message": "no route to 10.0.0.7"}', tenant => CASE WHEN i < 5 THEN 'acme' END) FROM generate_series(1, 6) i});
$pg->query(q{SELECT jobq.enqueue('work', 't2', '{"fail": "error", "message": "boom"}') FROM generate_series(1, 4) i});
$pg->query(q{SELECT jobq.enqueue('other', 't1', '{"fail": "error", "message": "boom"}') FROM generate_series(1, 2) i});
sub letters { my ($r) = @_; return @{ $r->{json}{items} } }
sub count_of { return scalar letters($eye->get("/v1/dead-letters?limit=1000&$_[0]")) }
wait_for { count_of('') == 12 } 'twelve have died';

#
# looking
#
my $r = $eye->get('/v1/dead-letters');
is $r->{status}, 200, 'GET /v1/dead-letters (S2-26)';
my @columns = split /\n/, $pg->query("SELECT attname FROM pg_attribute WHERE attrelid = 'jobq.dead_letters'::regclass AND attnum > 0");
is_deeply [ grep { !exists $r->{json}{items}[0]{$_} } @columns ], [], "… the view's columns are its keys";
my (@ids, $pages);
for (my $cursor = ''; defined $cursor; $cursor = $r->{json}{next_cursor}) {
	$r = $eye->get("/v1/dead-letters?limit=5&cursor=$cursor");
	push @ids, map { $_->{job_id} } letters($r);
	$pages++;
}
is_deeply \@ids, [ sort { $b <=> $a } split /\n/, $pg->query('SELECT job_id FROM jobq.dead_letters') ], "… in $pages pages, each once";
is count_of('queue=other'), 2, 'of a queue';
is count_of('type=t1'), 8, '… of a type';
is count_of('class=network'), 6, '… of a class';
is count_of('tenant=acme'), 4, '… of a tenant';
# S2-26
is count_of('reviewed=false'), 12, '… that nobody has reviewed';
is count_of('reviewed=true'), 0, '… or somebody';
is $eye->get('/v1/dead-letters?queue=nowhere')->{json}{field}, 'queue', '… a queue that is none: 422';
is $eye->get('/v1/dead-letters?limit=0')->{json}{field}, 'limit', '… none at all: 422';
is $eye->get('/v1/dead-letters?limit=1001')->{json}{field}, 'limit', '… too many: 422';
is $eye->get('/v1/dead-letters?reviewed=maybe')->{json}{field}, 'reviewed', '… neither: 422';
is $eye->get('/v1/dead-letters?que=work')->{json}{field}, 'que', '… an unknown parameter: 422';
my @groups = letters($eye->get('/v1/dead-letters/groups'));
is_deeply [ sort map { "$_->{queue} $_->{type} $_->{count}" } @groups ], [ 'other t1 2', 'work t1 6', 'work t2 4' ], 'by reason (S2-58)';
is scalar(letters($eye->get('/v1/dead-letters/groups?queue=other'))), 1, '… of a queue';
my ($network) = map { $_->{fingerprint} } grep { $_->{count} == 6 } @groups;
is count_of("fingerprint=$network"), 6, '… those of one';
$r = $eye->get("/v1/dead-letters/$ids[0]");
is_deeply [ @{ $r->{json} }{qw(job_id queue error)}, $r->{json}{history}[0]{outcome} ], [ $ids[0], 'other', 'boom', 'dead' ], 'one, with how its attempts ended (S2-25)';
is $eye->get('/v1/dead-letters/999999')->{status}, 404, 'one that is none: 404';
is $eye->get('/v1/dead-letters/first')->{status}, 404, 'an id that is none: 404';

#
# review
#
is $eye->post("/v1/dead-letters/$ids[0]/review", {})->{status}, 403, 'a viewer reviews nothing: 403';
$r = $ops->post("/v1/dead-letters/$ids[0]/review", { reviewed_by => 'Ann', notes => 'the disk was "full"' });
is_deeply [ $r->{status}, @{ $r->{json} }{qw(reviewed_by notes)} ], [ 200, 'Ann', 'the disk was "full"' ], 'review of one (S2-31)';
is $ops->post("/v1/dead-letters/$ids[1]/review")->{json}{reviewed_by}, 'ops', '… by who calls';
is count_of('reviewed=true'), 2, '… and two are';
is $ops->post('/v1/dead-letters/999999/review', {})->{status}, 404, '… one that is none: 404';
is $ops->post('/v1/dead-letters/review', { notes => 'x' })->{json}{field}, 'all', 'of many, but which: 422';
is_deeply $ops->post('/v1/dead-letters/review', { fingerprint => $network, dry_run => $true })->{json}, { dry_run => $true, reviewed => 6 }, '… a dry run';
is_deeply $ops->post('/v1/dead-letters/review', { fingerprint => $network, notes => 'known' })->{json}, { reviewed => 6 }, '… of a reason';
is count_of('reviewed=true'), 8, '… and they are';
is $pg->query("SELECT count(*) FROM jobq.audit WHERE action = 'review' AND actor = 'ops'"), 8, '… each with its audit row';

#
# run again
#
is $ops->post("/v1/dead-letters/$ids[0]/retry", { data => {} })->{json}{retried}, 1, 'one runs again, with other data (S0-48, S0-49, S2-20, S2-30)';
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $ids[0]") eq 'completed' } 'and completes';
is $ops->post("/v1/dead-letters/$ids[0]/retry")->{status}, 404, '… and is no dead letter any more';
is $ops->post('/v1/dead-letters/retry', {})->{json}{field}, 'all', 'many, but which: 422';
is_deeply $ops->post('/v1/dead-letters/retry', { queue => 'other', type => 't1', dry_run => $true })->{json}, { dry_run => $true, retried => 1 }, '… a dry run';
is_deeply $ops->post('/v1/dead-letters/retry', { queue => 'other', type => 't1' })->{json}, { retried => 1 }, 'of a queue and type';
wait_for { $pg->query("SELECT attempt FROM jobq.jobs WHERE id = $ids[1]") == 2 && count_of('queue=other') == 1 } 'it has run and died again';
is_deeply $ops->post('/v1/dead-letters/retry', { fingerprint => $network, rate => 1 })->{json}, { retried => 6 }, 'of a reason, one a second (S2-59, S3-72)';
cmp_ok $pg->query("SELECT count(*) FROM jobq.timer WHERE run_at > now() + interval '500 ms'"), '>=', 2, '… they wait for their second';
wait_for { count_of('') == 11 } 'all are dead letters again';
is $ops->post('/v1/dead-letters/retry', { queue => 'nowhere' })->{json}{field}, 'queue', 'of a queue that is none: 422';
# What stays one says why.
$pg->query(q{SELECT jobq.enqueue('work', 'u', '{"fail": "error"}', unique_key => 'k')});
wait_for { count_of('type=u') == 1 } 'one with a unique key has died';
my ($u) = map { $_->{job_id} } letters($eye->get('/v1/dead-letters?type=u'));
$pg->query(q{SELECT jobq.enqueue('work', 'u', delay => '1 day', unique_key => 'k')});
is $ops->post("/v1/dead-letters/$u/retry")->{status}, 409, 'its key is taken again: 409';
$r = $ops->post('/v1/dead-letters/retry', { type => 'u' })->{json};
is_deeply [ @{$r}{qw(retried refused)}, $r->{reasons}[0]{id} ], [ 0, 1, $u ], '… among many: refused';
like $r->{reasons}[0]{reason}, qr/its unique key is now that of job/, '… and why';

#
# a tenant's own
#
is scalar(letters($acme->get('/v1/dead-letters'))), 4, "a tenant's token sees its own";
is_deeply [ map { $_->{count} } letters($acme->get('/v1/dead-letters/groups')) ], [ 4 ], '… by reason, too';
is $acme->get("/v1/dead-letters/$u")->{status}, 404, "another's is not there";
is $acme->post("/v1/dead-letters/$u/review", {})->{status}, 404, '… is not reviewed';
is $acme->delete("/v1/dead-letters/$u")->{status}, 404, '… nor deleted';
is $acme->post('/v1/dead-letters/retry', { tenant => 'other' })->{status}, 403, "… nor are another's asked for";
is $acme->get('/v1/dead-letters?tenant=other')->{status}, 403, '… or listed';
is_deeply $acme->post('/v1/dead-letters/retry', { all => $true, dry_run => $true })->{json}, { dry_run => $true, retried => 4 }, 'all of them are its own';
is_deeply $acme->delete('/v1/dead-letters?all=true&confirm=yes')->{json}, { deleted => 4 }, '… also to delete';
is count_of(''), 8, "… and the others' stay";

#
# deletion
#
is $ops->delete("/v1/dead-letters/$u")->{status}, 204, 'one is deleted (S3-31)';
is $ops->delete("/v1/dead-letters/$u")->{status}, 404, '… once';
is $ops->delete('/v1/dead-letters?queue=work')->{json}{field}, 'confirm', 'many: not without confirm';
is_deeply $ops->delete('/v1/dead-letters?queue=work&dry_run=true')->{json}, { dry_run => $true, deleted => 6 }, '… a dry run';
is_deeply $ops->delete('/v1/dead-letters?queue=work&confirm=yes')->{json}, { deleted => 6 }, '… of a queue';
is count_of(''), 1, '… the rest stays';
done_testing;
