# Transaction ids belong to a cluster: after a dump is restored in another one
# every unfinished job runs, once.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More tests => 17;

my $old = schema();
$old->query('SELECT pg_current_xact_id()') for 1 .. 200;	# ahead of what a new cluster has
queues($old, work => {});
my ($pool, $q) = pool($old, 'work');
my %id = map { $_ => $old->query("SELECT jobq.enqueue('work', '$_')") } qw(done running retrying dead);
my @got = claim($old, $pool, $q);
finish_ok($old, $pool, $got[0]);
finish_failed($old, $pool, $got[2], 2, delay => 3600_000);
finish_failed($old, $pool, $got[3], 3);
$id{$_} = $old->query("SELECT jobq.enqueue('work', '$_')") for qw(ready second);
$id{scheduled} = $old->query("SELECT jobq.enqueue('work', delay => '1 hour')");
$id{blocked} = $old->query("SELECT jobq.enqueue('work', after => '{$id{ready}}')");
is $old->query('SELECT jobq.reseat() IS NULL'), 't', 'in its own cluster nothing is done';
$old->query('SELECT jobq.maintain()');

my $new = Jobqd::Postgres->new(fresh => 1);
my $dir = temp_directory();
is +(run_program([ 'pg_dump', '-f', "$dir/dump.sql", $old->url ]))[0], 0, 'dumped';
is +(run_program([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/dump.sql", $new->url ]))[0], 0, 'restored elsewhere';
is $new->query('SELECT jobq.reseat()'), 3, 'what was ready or running has a fresh turn';
is $new->query('SELECT jobq.reseat() IS NULL'), 't', '… once';
is $new->query('SELECT count(*) FROM jobq.pool'), 0, 'the pools of before are forgotten';
is_deeply [ map { state($new, $id{$_}) } qw(done running retrying dead ready scheduled blocked) ],
    [qw(completed ready retrying dead ready scheduled blocked)], 'each job is in its state';
($pool, $q) = pool($new, 'work');
is_deeply [ claim($new, $pool, $q) ], [ map { "$id{$_}:1" } qw(running ready second) ], 'they are claimed, oldest first';
is_deeply [ claim($new, $pool, $q) ], [], '… once';
finish_ok($new, $pool, map { "$id{$_}:1" } qw(running ready));
is_deeply [ claim($new, $pool, $q) ], ["$id{blocked}:1"], 'what waited is released';
my $fresh = $new->query("SELECT jobq.enqueue('work')");
cmp_ok $fresh, '>', $id{blocked}, 'ids go on';
is_deeply [ claim($new, $pool, $q) ], ["$fresh:1"], 'new jobs are claimed';
is_deeply [ finish_ok($new, $pool, "$id{done}:1") ], [], 'what had ended has ended';
is $new->query("SELECT jobq.retry($id{dead})"), 't', 'a dead one can be retried';
is_deeply [ claim($new, $pool, $q) ], ["$id{dead}:2"], '… and runs';
$new->query("UPDATE jobq.meta SET last_xid = '99999999999'");
is $new->query('SELECT jobq.reseat()'), 4, 'transaction ids that lie behind are noticed in the same cluster too';
is_deeply [ sort(claim($new, (pool($new, 'work')), 100)) ],
    [ sort("$id{second}:1", "$id{blocked}:1", "$fresh:1", "$id{dead}:2") ], '… and every unfinished job is there again';
