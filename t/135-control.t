# Cancel, retry, delete, pause, dead letters, timers, the scheduler's role.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More;

my $pg = schema();
queues($pg, work => {});
my ($pool, $q) = pool($pg, 'work');
sub put { return $pg->query("SELECT jobq.enqueue('work'" . ($_[0] || '') . ')') }
sub q1 { return $pg->query('SELECT ' . $_[0]) }

# cancel in every state
for (['ready', ''], ['scheduled', ", delay => '1 hour'"]) {
	my $id = put($_->[1]);
	is state($pg, $id), $_->[0], $_->[0];
	is q1("jobq.cancel($id)"), 't', '… is cancelled';
	is state($pg, $id), 'cancelled', '… at once';
	is q1("jobq.cancel($id)"), 'f', '… only once';
}
is_deeply [ claim($pg, $pool, $q) ], [], 'cancelled jobs are not claimed';
is q1('count(*) FROM jobq.timer'), 0, '… and have no timer';
is q1('jobq.cancel(12345)'), 'f', 'there is no such job';
my $id = put();
claim($pg, $pool, $q);
finish_failed($pg, $pool, "$id:1", 2, delay => 60000);
is q1("jobq.cancel($id)"), 't', 'a retrying one is cancelled';
is $pg->query("SELECT string_agg(attempt || outcome, ' ' ORDER BY attempt) FROM jobq.attempts WHERE job_id = $id"), '1failed 2cancelled', '… under the next number';
$id = put();
claim($pg, $pool, $q);
my $listener = $pg->session;
$listener->query('LISTEN jobq');
is q1("jobq.cancel($id)"), 't', 'a running one is asked to stop';
like $listener->query('SELECT 1'), qr/"\*cancel"/, '… its leader is told';
is state($pg, $id), 'running', '… and still runs';
is q1("job || ':' || attempt FROM jobq.cancels($pool) WHERE job = $id"), "$id:1", '… the leader learns which';
is q1("cancel_job || ':' || cancel_attempt FROM jobq.beat($pool, 1, '{0}', '{9}', '{running}', '{$id}', '{4}', '{1000}') WHERE cancel_job = $id"), "$id:1", '… at its beat too';
is q1("node || ' ' || worker || ' ' || state || ' ' || job_id FROM jobq.workers"), "test work/0 running $id", 'the worker is in the view';
finish_failed($pg, $pool, "$id:1", 4);
is state($pg, $id), 'cancelled', 'it has stopped';
is q1("count(*) FROM jobq.cancels($pool) WHERE job = $id"), 0, '… and nobody is asked any more';
# … that fails in that moment, or whose pool is gone
for my $how (qw(finish reap release)) {
	$id = put();
	my ($p) = pool($pg, 'work');
	claim($pg, $p, $q);
	q1("jobq.cancel($id)");
	finish_failed($pg, $p, "$id:1", 2) if $how eq 'finish';
	q1("jobq.reap($p)") if $how eq 'reap';
	q1("jobq.release($p, '{$id}', '{1}')") if $how eq 'release';
	is state($pg, $id), 'cancelled', "a wish to stop outlives $how";
}
# … while a claim is under way
$id = put();
my $one = $pg->session;
$one->query('BEGIN');
is_deeply [ claim($one, $pool, $q) ], ["$id:1"], 'a claim is under way';
is q1("jobq.cancel($id)"), 't', '… while its job is cancelled';
$one->query('COMMIT');
is q1("job || ':' || attempt FROM jobq.cancels($pool) WHERE job = $id"), "$id:1", 'the pool that took it is asked to stop';
is_deeply [ finish_ok($pg, $pool, "$id:1") ], [], '… and the run is refused';

# retry
$id = put(", unique_key => 'k', max_attempts => 1");
claim($pg, $pool, $q);
is q1("jobq.retry($id)"), 'f', 'a running job is not retried';
finish_failed($pg, $pool, "$id:1", 3, error => 'address 10.0.0.7 port 81 refused "x"');
my $other = put();
claim($pg, $pool, $q);
finish_failed($pg, $pool, "$other:1", 3, error => 'address 10.9.0.7 port 9 refused "other"');
is q1('count(DISTINCT fingerprint) FROM jobq.dead_letters'), 1, 'the same failure has the same fingerprint';
is q1("jobq.review($id, 'ann', 'seen')"), 't', 'somebody looks at it';
is q1("reviewed_by || notes FROM jobq.dead_letters WHERE job_id = $id"), 'annseen', '… and says so';
my $taken = put(", unique_key => 'k'");
isnt $taken, $id, 'its key is free';
like +($pg->try_query("\\set VERBOSITY verbose\nSELECT jobq.retry($id)"))[2], qr/23505.*job $taken/, '… so that a retry is refused while another has it';
is q1("string_agg(job_id || coalesce(' ' || refused, ''), ', ') FROM jobq.retry_dead('{$id,$other}')"), "$id its unique key is now that of job $taken, $other",
    'all that can be are retried';
is state($pg, $id), 'dead', '… not this one';
q1("jobq.cancel($taken)");
is q1("jobq.retry($id)"), 't', 'then it is';
is put(", unique_key => 'k'"), $id, '… and has its key again';
is q1("string_agg(id || ' ' || attempt || ' ' || charged, ',') FROM jobq.claim($pool, $q\::smallint, 9) WHERE id = $id"), "$id 2 0", 'attempts go on counting, none is charged';
finish_failed($pg, $pool, "$id:2", 2, delay => 0);
is q1("charged FROM jobq.charges($id)"), 1, '… but those after it';
claim($pg, $pool, $q);
finish_ok($pg, $pool, "$id:3", "$other:2");
is q1("jobq.retry($id)"), 'f', 'a completed job is not retried';

# delete
$id = put();
claim($pg, $pool, $q);
like +($pg->try_query("\\set VERBOSITY verbose\nSELECT jobq.delete($id)"))[2], qr/55006: job $id is running.*HINT:  Cancel/s, 'a running job is not deleted';
finish_ok($pg, $pool, "$id:1");
my $count = q1("completed FROM jobq.queues");
is q1("jobq.delete($id)"), 't', 'a finished one is';
is q1("count(*) FROM jobq.jobs WHERE id = $id") + q1("count(*) FROM jobq.attempts WHERE job_id = $id"), 0, '… with all of it';
is q1("completed FROM jobq.queues"), $count - 1, '… and the count';
is q1("jobq.delete($id)"), 'f', '… once';
$id = put();
$one->query('BEGIN');
claim($one, $pool, $q);
is q1("jobq.delete($id)"), 't', 'one that is just being claimed';
$one->query('COMMIT');
is_deeply [ finish_ok($pg, $pool, "$id:1") ], [], '… leaves nobody an end';
$id = put(", delay => '1 h', unique_key => 'd'");
q1("jobq.delete($id)");
is q1("(SELECT count(*) FROM jobq.timer) + (SELECT count(*) FROM jobq.uniq)"), 0, 'one that waits leaves no timer and no key';

# a queue
put() for 1 .. 3;
put(", delay => '1 h'");
is q1("jobq.clear('work')"), 4, 'clear cancels what waits';
is q1('ready + scheduled FROM jobq.queues'), 0, '… all of it';
like +($pg->try_query("SELECT jobq.queue_remove('work')"))[2], qr/is served/, 'a served queue is not removed';
is q1("string_agg(DISTINCT action, ' ' ORDER BY action) FROM jobq.audit WHERE action <> 'register'"), 'cancel clear delete retry review', 'the audit has it';

# timers
my @timed = map { put(", delay => '" . (0.3 - $_ / 10) . " s'") } 0 .. 2;
my $far = put(", delay => '1 hour'");
my @tick = split /\|/, q1("leader, moved FROM jobq.tick('a', 'x', 60000, '{$q}', 100)");
is $tick[0], 't', 'the first scheduler leads';
is q1("leader FROM jobq.tick('b', 'y', 60000, '{}', 100)"), 'f', '… alone';
my $moved = $tick[1];
wait_for { $moved += q1("moved FROM jobq.tick('a', 'x', 60000, '{$q}', 2)"); $moved == 3 } 'the timers';
is_deeply [ sort { $a <=> $b } claim_ids($pg, $pool, $q) ], \@timed, 'timers become turns';
is q1("abs(next_due_us / 1000000 - extract(epoch FROM run_at)) < 1 FROM jobq.tick('a', 'x', 60000, '{$q}', 2), jobq.jobs WHERE id = $far"), 't', '… and the next one is known';
put(", delay => '2 hours'");
unlike $listener->query('SELECT 1'), qr/\*due/, 'a later one wakes nobody';
put(", delay => '1 minute'");
like $listener->query('SELECT 1'), qr/\*due/, 'an earlier one wakes the scheduler';
$one->query('BEGIN');
$one->query("SELECT jobq.enqueue('work', delay => '10 ms')");
wait_for { q1("moved FROM jobq.due(10)"); q1("clock_timestamp() > run_at + '50 ms' FROM (SELECT now() AS run_at) x") || 1 } 'a moment';
$one->query('COMMIT');
wait_for { q1('moved FROM jobq.due(10)') == 1 } 'a timer that was committed late';
q1("jobq.resign('a', 'x')");
is q1("leader FROM jobq.tick('b', 'y', 100, '{}', 100)"), 't', 'a role given up is another\'s at once';
wait_for { q1("leader FROM jobq.tick('c', 'z', 60000, '{}', 100)") eq 't' } 'a role whose holder is gone';
is q1("leader FROM jobq.tick('b', 'y', 100, '{}', 100)"), 'f', '… is another\'s in time';
done_testing;
