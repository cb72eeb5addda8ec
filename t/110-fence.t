# Who may end an attempt: exactly one, whatever is claimed twice, taken away,
# given back or lost.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More tests => 63;

my $pg = schema();
queues($pg, work => { lease_ms => 1000 });
my ($pool, $q) = pool($pg, 'work');
sub put { return $pg->query("SELECT jobq.enqueue('work'" . ($_[0] || '') . ')') }
sub row { return $pg->query("SELECT outcome FROM jobq.attempts WHERE job_id = $_[0] AND attempt = $_[1]") }

# a claim that a crash of the server lost: the same attempt is handed out twice
my $id = put();
is_deeply [ claim($pg, $pool, $q) ], ["$id:1"], 'claimed';
$pg->query("DELETE FROM jobq.claim");	# as if it had never been written
my ($pool2) = pool($pg, 'work');
is_deeply [ claim($pg, $pool2, $q) ], ["$id:1"], 'a claim that was lost is made again, under the same number';
is_deeply [ finish_ok($pg, $pool2, "$id:1") ], ["$id:1"], 'the first end is accepted';
is_deeply [ finish_ok($pg, $pool, "$id:1") ], [], '… and no second one';
is finish_failed($pg, $pool, "$id:1", 2), 0, '… of any kind';
is state($pg, $id), 'completed', '… nor does it change anything';

# two ends at the same moment
$id = put();
claim($pg, $pool, $q);
my ($one, $two) = map { $pg->session } 1 .. 2;
$one->query('BEGIN');
is_deeply [ finish_ok($one, $pool, "$id:1") ], ["$id:1"], 'an end in an open transaction';
$two->send("SELECT job FROM jobq.finish_ok($pool, '{$id}', '{1}', NULL, '{0}', '{0}', '{0}')");
$one->query('COMMIT');
is $two->answer, $id, '… wins over one that waits for it, which is refused';

# a batch of which some are no longer ours
my @ids = map { put() } 1 .. 4;
my @got = claim($pg, $pool, $q);
finish_ok($pg, $pool2, $got[1]);
is_deeply [ sort(finish_ok($pg, $pool, @got)) ], [ sort @got[ 0, 2, 3 ] ], 'of a batch those that are ours';

# handed back, and then ended all the same by who had it
$id = put();
claim($pg, $pool, $q);
is $pg->query("SELECT jobq.release($pool, '{$id}', '{1}')"), 1, 'a job handed back';
is_deeply [ finish_ok($pg, $pool, "$id:1") ], ["$id:1"], '… and ended by a worker that did not know';
is_deeply [ claim($pg, $pool, $q) ], [], '… is not run again';

# lost with its claim in a crash of the server, which empties the unlogged table
$id = put();
claim($pg, $pool, $q);
$pg->query("DELETE FROM jobq.claim WHERE batch = (SELECT max(batch) FROM jobq.claim); TRUNCATE jobq.withdrawn");
is_deeply [ finish_ok($pg, $pool, "$id:1") ], ["$id:1"], 'a job whose claim was lost is ended by who has it';
is_deeply [ claim($pg, $pool2, $q) ], [], '… and is not run again';

# failed, again at once, again later, dead
$id = put();
is_deeply [ claim($pg, $pool, $q) ], ["$id:1"], 'the first attempt';
ok finish_failed($pg, $pool, "$id:1", 2, error => 'no luck', class => 5), 'fails';
is_deeply [ claim($pg, $pool, $q) ], ["$id:2"], 'the second follows at once';
is $pg->query("SELECT error || ' ' || error_class || ' ' || attempt FROM jobq.jobs WHERE id = $id"), 'no luck network 2',
    'the job shows the last error while it runs again';
ok finish_failed($pg, $pool, "$id:2", 2, delay => 3600_000), 'fails with a delay';
is state($pg, $id), 'retrying', 'waits for its third attempt';
is_deeply [ claim($pg, $pool, $q) ], [], '… which is not there yet';
is $pg->query("SELECT jobq.retry($id)"), 't', 'somebody wants it now';
is_deeply [ claim($pg, $pool, $q) ], ["$id:3"], '… and has it';
is $pg->query("SELECT charged || ' ' || crashes || ' ' || alone FROM jobq.charges($id)"), '2 0 false', 'two failures are charged';
ok finish_failed($pg, $pool, "$id:3", 3, error => 'gave up after 17 tries'), 'the last one';
is state($pg, $id), 'dead', 'it is dead';
is $pg->query("SELECT error || ' ' || attempts FROM jobq.dead_letters WHERE job_id = $id"), 'gave up after 17 tries 3', '… and a dead letter';

# crashes
$id = put();
claim($pg, $pool, $q);
finish_failed($pg, $pool, "$id:1", 5, class => 9, alone => 1);
is $pg->query("SELECT id || ' ' || attempt || ' ' || charged || ' ' || alone FROM jobq.claim($pool, $q\::smallint, 1)"),
    "$id 2 0 true", 'lost beside a crash: the next number, uncharged, alone';
finish_failed($pg, $pool, "$id:2", 2, class => 8);
is $pg->query("SELECT id || ' ' || attempt || ' ' || charged || ' ' || crashes || ' ' || alone FROM jobq.claim($pool, $q\::smallint, 1)"),
    "$id 3 1 1 true", 'a crash is charged, and the job stays alone';
finish_ok($pg, $pool, "$id:3");

# given back
$id = put();
claim($pg, $pool, $q);
is $pg->query("SELECT jobq.release($pool, '{$id}', '{1}')"), 1, 'given back';
is state($pg, $id), 'ready', '… it is ready';
is $pg->query("SELECT jobq.release($pool, '{$id}', '{1}')"), 0, '… only once';
is_deeply [ claim($pg, $pool, $q) ], ["$id:1"], '… and claimed again under the same number, by the same pool';
is state($pg, $id), 'running', 'which runs it now';
$pg->query("SELECT jobq.release($pool, '{$id}', '{1}')");
is_deeply [ claim($pg, $pool2, $q) ], ["$id:1"], '… or by another';
my $mine = put();
claim($pg, $pool, $q);

# a pool is gone
is $pg->query("SELECT jobq.reap($pool)"), 1, 'reap takes what the pool has, not what it gave back';
is row($mine, 1), 'lost', 'its attempt is lost';
is state($pg, $id), 'running', '… the other pool runs on';
is $pg->query("SELECT jobq.reap($pool)"), 0, 'a second reap finds nothing';
is_deeply [ claim($pg, $pool, $q) ], [], 'a reaped pool gets no jobs';
is $pg->query("SELECT alive FROM jobq.beat($pool, NULL, '{}', '{}', '{}', '{}', '{}', '{}')"), 'f', '… and is told';
is_deeply [ finish_ok($pg, $pool, "$mine:1") ], [], '… and its results are void';
is_deeply [ claim($pg, $pool2, $q) ], ["$mine:2"], 'the job has its next turn';
is $pg->query("SELECT charged FROM jobq.charges($mine)"), 0, '… uncharged';

# stale pools; a claim counts as a sign of life
($pool) = pool($pg, 'work', 'far');
$id = put();
claim($pg, $pool, $q);
$pg->query("UPDATE jobq.pool SET seen = now() - interval '1 hour' WHERE id = $pool");
is $pg->query("SELECT count(*) FROM jobq.reap_stale() WHERE pool = $pool"), 0, 'who has just claimed is not stale';
my $stale;
wait_for { $stale = $pg->query("SELECT node || ' ' || queue || ' ' || jobs FROM jobq.reap_stale() WHERE pool = $pool") } 'the pool to be stale';
is $stale, 'far work 1', 'who says nothing for the lease is reaped';
is_deeply [ grep { $_ eq "$id:2" } claim($pg, (pool($pg, 'work'))[0], $q) ], ["$id:2"], '… and its jobs go on';

# a claim runs beside a reap: one of the two has the job
($pool) = pool($pg, 'work');
put() for 1 .. 5;
$one->query('BEGIN');
claim($one, $pool, $q);
$two->send("SELECT jobq.reap($pool)");
$one->query('COMMIT');
is $two->answer, 5, 'a reap waits for a claim, and takes what it took';

# the handler's own transaction
($pool) = pool($pg, 'work');
@got = claim($pg, $pool, $q);
my $batch = $pg->query("SELECT max(batch) FROM jobq.claim WHERE pool = $pool");
my ($job, $attempt) = split /:/, $got[0];
$pg->query('CREATE TABLE effect (job bigint)');
is $pg->query("BEGIN; INSERT INTO effect VALUES ($job); SELECT jobq.complete($job, '$pool.$batch.$attempt', '{\"a\":1}'); COMMIT"), 't',
    'complete with the effects in one transaction (S1-52)';
is_deeply [ finish_ok($pg, $pool, $got[0]) ], [], '… after which no other end counts';
is $pg->query("SELECT jobq.complete($job, '$pool.$batch.$attempt', '{}') OR jobq.complete($job + 1, '$pool.999.1', '{}')"), 'f',
    'a token that is not (or no longer) the job\'s completes nothing';

# a pool goes by the lease it was opened with, whatever a reload has made of it
($pool) = pool($pg, 'work', 'old');
$pg->query("UPDATE jobq.pool SET seen = now() - interval '5 seconds', lease_ms = 30000 WHERE id = $pool; UPDATE jobq.queue SET lease_ms = 1000 WHERE name = 'work'");
is $pg->query("SELECT count(*) FROM jobq.reap_stale() WHERE pool = $pool"), 0, 'a shorter lease is for pools to come';

# a queue whose claims somebody has locked, and does not commit
queues($pg, work => { lease_ms => 1000 }, other => { lease_ms => 1000 });
($pool, $q) = pool($pg, 'work', 'first');
my ($elsewhere) = pool($pg, 'other', 'second');
put();
$one->query('BEGIN');
my ($theirs, $ours) = map { put() } 1 .. 2;
claim($pg, $pool, $q, 100);
$one->query("SELECT jobq.finish_ok($pool, '{$theirs}', '{1}', null, '{1}', '{1}', '{0}')");
my $ends = "SELECT * FROM jobq.finish_ok($pool, '{$ours,$theirs}', '{1,1}', null, '{1,1}', '{1,1}', '{0,0}')";
like $pg->session->query("\\set VERBOSITY verbose\n$ends"), qr/ERROR:  55P03/, 'nor does an end wait for another one of the same attempt';
is $pg->query("SELECT job FROM jobq.ended_elsewhere('{$ours,$theirs}', '{1,1}')"), $theirs, '… and which of them it is can be asked';
is $pg->query("SELECT count(*) FROM jobq.attempt WHERE job = $ours"), 0, '… without a trace';
put();
is $one->query("SELECT jobq.clear('work') > 0"), 't', 'cleared, and left open';
like $pg->session->query("\\set VERBOSITY verbose\nSELECT * FROM jobq.claim($pool, $q\::smallint, 1)"), qr/ERROR:  55P03/, 'a claim does not wait for it for long';
$pg->query("UPDATE jobq.pool SET seen = now() - interval '1 hour' WHERE id IN ($pool, $elsewhere)");
is $pg->query('SELECT queue FROM jobq.reap_stale()'), 'other', 'pools of other queues are reaped';
$one->query('ROLLBACK');
is $pg->query('SELECT DISTINCT queue FROM jobq.reap_stale()'), 'work', '… and later that of the queue';

# a pool is gone while somebody ends a job of it, and does not commit
($pool, $q) = pool($pg, 'work', 'third');
($theirs, $ours) = map { put() } 1 .. 2;
claim($pg, $pool, $q, 100);
$one->query('BEGIN');
$one->query("SELECT jobq.finish_ok($pool, '{$theirs}', '{1}', null, '{1}', '{1}', '{0}')");
$pg->query("SELECT jobq.reap($pool)");
is row($ours, 1), 'lost', 'the others of a pool are taken from it';
is $pg->query("SELECT count(*) FROM jobq.pool WHERE id = $pool"), 1, '… which stays for the one that is just being ended';
$one->query('ROLLBACK');
is $pg->query("SELECT jobq.reap($pool)"), 1, '… and taken later, should it not have ended';
is $pg->query("SELECT count(*) FROM jobq.pool WHERE id = $pool"), 0, '… with the pool';
