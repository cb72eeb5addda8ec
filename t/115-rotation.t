# Turns and claims go by TRUNCATE: it never waits, nobody waits for it, and
# what is still to be done keeps its place.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More tests => 28;

my $pg = schema();
queues($pg, work => {}, nobody => {}, rare => {});
my ($pool, $q) = pool($pg, 'work');
my ($one, $two) = map { $pg->session } 1 .. 2;
sub many { my ($queue, $n) = @_; return $pg->query("SELECT count(jobq.enqueue('$queue', data => jsonb_build_object('n', i))) FROM generate_series(1, $n) i") }
sub slots { return $pg->query("SELECT string_agg((pg_relation_size('jobq.$_[0]_' || i) > 0)::int::text, '' ORDER BY i) FROM generate_series(0, 1) i") }
sub drain { my ($by, $of) = @_ ? @_ : ($pool, $q); my $n = 0; while (my @got = claim($pg, $by, $of, 1000)) { $n += @got; finish_ok($pg, $by, @got) } return $n }
sub lines { return join "\n", $pg->query('SELECT * FROM jobq.maintain()') }

# an unserved queue's jobs, a hole, and the passed ones of a busy queue share a slot
$pg->query("SELECT jobq.enqueue('nobody', data => jsonb_build_object('n', i), priority => 1 + i % 2) FROM generate_series(1, 5) i");
$one->query('BEGIN');
$one->query("SELECT jobq.enqueue('work', data => '{\"hole\":1}')");
many('work', 5000);
is drain(), 5000, 'a busy queue is drained';
is slots('turn'), '10', 'its turns are in the first slot';
maintain_until { $pg->query('SELECT last_value FROM jobq.turn_slot') != 0 } $pg;
many('work', 10);
is slots('turn'), '11', 'new turns go to another slot';
my $busy = join '', map { lines() } 1 .. 6;
unlike $busy, qr/emptied turn slot 0/, 'a producer that has written to the old slot holds it';
$one->query('COMMIT');
my @lines = maintain_until { slots('turn') eq '01' } $pg;
like "@lines", qr/emptied turn slot 0, 6 turns moved on/, 'then it is emptied, and what is open moves on';
is drain(), 11, 'what was in the hole is claimed, and what is new';
is drain(), 0, '… once';
my ($pool2, $q2) = pool($pg, 'nobody');
is $pg->query("SELECT ready FROM jobq.queues WHERE name = 'nobody'"), 5, 'the queue that nobody served has its jobs';
is $pg->query("SELECT string_agg(data::jsonb ->> 'n', ' ') FROM jobq.claim($pool2, $q2\::smallint, 100)"), '2 4 1 3 5', '… in their order';

# a large backlog is not copied before twice as much has come behind it
many('nobody', 25000);
many('work', 100);
my $current = $pg->query('SELECT last_value FROM jobq.turn_slot');
maintain_until { $pg->query('SELECT last_value FROM jobq.turn_slot') != $current } $pg;
my $size = $pg->query("SELECT pg_relation_size('jobq.turn_$current')");
many('work', 4000);
is drain(), 4100, 'a busy queue beside a large backlog';
unlike join('', map { lines() } 1 .. 10), qr/emptied turn/, '… which is not copied around';
is $pg->query("SELECT pg_relation_size('jobq.turn_$current')"), $size, '… and nothing is added to its slot';
for (1 .. 4) {
	$pg->query("SELECT count(*) FROM jobq.enqueue_many('work', (SELECT jsonb_agg('{}'::jsonb) FROM generate_series(1, 50000)))");
	drain();
}
like join("\n", maintain_until { $pg->query('SELECT last_value FROM jobq.turn_slot') == $current } $pg), qr/emptied turn slot $current, 25000 turns moved on/,
    '… until much more has gone by';
is drain($pool2, $q2), 25000, 'it is all there';

# a dump, or anybody who reads: nothing waits
$one->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
$one->query('SELECT count(*) FROM jobq.turn; SELECT count(*) FROM jobq.claim; SELECT count(*) FROM jobq.job; SELECT count(*) FROM jobq.attempt');
many('work', 6000);
drain();
my $before = slots('turn');
my $answer = $pg->query("SET lock_timeout = '1s'; SET statement_timeout = '30s'; SELECT * FROM jobq.maintain(); SELECT * FROM jobq.maintain(); SELECT * FROM jobq.maintain()");
unlike $answer, qr/emptied/, 'beside an open dump nothing is emptied';
is $pg->query("SET lock_timeout = '1s'; SELECT count(*) FROM jobq.enqueue('work')"), 1, '… and nobody waits';
is drain(), 1, '… claims neither';
$one->query('COMMIT');
like join('', maintain_until { slots('turn') ne $before } $pg), qr/emptied/, 'afterwards it goes on';

# claims: the cursor and open leases survive their slot
my ($long) = map { $pg->query("SELECT jobq.enqueue('work', data => '{\"long\":1}')") } 1;
my @lease = claim($pg, $pool, $q);
$pg->query(<<SQL);
SELECT jobq.enqueue('work') FROM generate_series(1, 1500);
DO \$\$
DECLARE j bigint[];
BEGIN
	LOOP
		SELECT array_agg(id) INTO j FROM jobq.claim($pool, $q\::smallint, 1);
		EXIT WHEN j IS NULL;
		PERFORM jobq.finish_ok($pool, j, '{1}', NULL, '{0}', '{0}', '{0}');
	END LOOP;
END
\$\$
SQL
my $slot = $pg->query('SELECT last_value FROM jobq.claim_slot');
$two->query('BEGIN; SELECT count(*) FROM jobq.claim');
lines() for 1 .. 6;
cmp_ok $pg->query("SELECT pg_relation_size('jobq.claim_$slot')"), '>', 0, 'who reads claims holds them';
$two->query('COMMIT');
like join('', maintain_until { $pg->query("SELECT pg_relation_size('jobq.claim_$slot')") == 0 } $pg), qr/emptied claim slot/, 'an old slot of claims is emptied';
is $pg->query("SELECT count(*) FROM jobq.lease WHERE job = $long"), 1, 'a lease that is still open is kept';
is state($pg, $long), 'running', '… the job runs';
is_deeply [ claim($pg, $pool, $q) ], [], 'the cursor is where it was';
is $pg->query("SELECT jobq.reap($pool)"), 1, '… and the job is taken away with its pool';
($pool) = pool($pg, 'work');
is_deeply [ claim($pg, $pool, $q) ], ["$long:2"], '… and runs again';
finish_ok($pg, $pool, "$long:2");

# a claim that was slow to come, to the slot that was current when it began: just
# when that slot is to be emptied, before it is locked
my ($dropper, $gate) = map { $pg->session } 1 .. 2;
my ($pool3, $q3) = pool($pg, 'rare');
lock_gate($pg);
$slot = $pg->query('SELECT last_value FROM jobq.claim_slot');
$pg->query("SELECT setval('jobq.claim_slot', 1 - $slot)");
$gate->query('SELECT pg_advisory_lock(4711)');
$dropper->send("SELECT jobq.try_to('claim_empty($slot)')");
wait_for { $pg->query("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'") } 'the lock to be tried for';
many('rare', 1);
$pg->query("SELECT setval('jobq.claim_slot', $slot)");
my ($slow) = claim($pg, $pool3, $q3);
$pg->query("SELECT setval('jobq.claim_slot', 1 - $slot)");
$gate->query('SELECT pg_advisory_unlock(4711)');
is $dropper->answer, '', 'a slot that a slow claim has come to is not emptied';
is $pg->query("SELECT job || ':' || attempt FROM jobq.lease WHERE pool = $pool3"), $slow, '… and what it has leased is so';
finish_ok($pg, $pool3, $slow);

# held by a snapshot: no dead rows behind
$pg->query('VACUUM');
is $pg->query("SELECT sum(n_dead_tup) FROM pg_stat_user_tables WHERE relname ~ '^(turn|claim|attempt)_'"), 0, 'no dead rows anywhere on the way of a job';
