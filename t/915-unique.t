# Unique keys under fifty sessions that enqueue the same ones at the same time,
# in every mode, also in transactions that last or roll back, while a daemon
# runs the jobs: never two live jobs of a key, and nothing asked for is lost.
# S1-57, S4-44, S2-55, S3-10
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my $sessions = 50;
my $rounds = 24;
my $window_ms = 1500;
my $pg = Jobqd::Postgres->new(settings => { jit => 'off', max_connections => 120, track_commit_timestamp => 'on' });
my %until = (done => 'done', started => 'started', window => "${window_ms}ms");
my @queues = map { my $u = $_; map { "$u-$_" } qw(existing replace move) } sort keys %until;
my $d = Jobqd::Daemon->new(pg => $pg, config => "log: {file: stderr, level: info}\nhandlers: {null: {driver: noop}}\nqueues:\n"
    . join('', map { my ($u, $c) = split /-/; "  $_: {handler: null, concurrency: 5, unique_until: $until{$u}, unique_conflict: $c}\n" } @queues));
$d->start;

$pg->query(<<'SQL');
CREATE TABLE calls (queue text, key text, n int, id bigint, t0 timestamptz, delay interval);
CREATE INDEX ON calls (id);
CREATE TABLE seen (queue text, key text, n bigint);
CREATE TABLE looks (n int, over boolean);
INSERT INTO looks VALUES (0, false);
-- what is enqueued, and when that was asked for; many: through enqueue_many()
CREATE FUNCTION call(queue text, key text, n int, delay interval, priority int, many boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	t timestamptz := clock_timestamp();
	id bigint;
BEGIN
	IF many THEN
		id := (SELECT e FROM jobq.enqueue_many(queue, jsonb_build_array(jsonb_build_object('type', 't' || priority,
		    'data', jsonb_build_object('sleep_ms', 15, 'n', n), 'unique_key', key, 'delay', delay, 'priority', priority))) e);
	ELSE
		id := jobq.enqueue(queue, 't' || priority, jsonb_build_object('sleep_ms', 15, 'n', n),
		    unique_key => key, delay => delay, priority => priority);
	END IF;
	INSERT INTO calls VALUES (queue, key, n, id, t, delay);
END $$;
-- looks, each through one snapshot, for keys with more than one job that is
-- live (that has not begun, where the key is taken until then) until it is over
CREATE PROCEDURE observe() LANGUAGE plpgsql AS $$
DECLARE
	mine int := 0;
BEGIN
	LOOP
		INSERT INTO seen
		SELECT q.name, j.unique_key, count(*)
		FROM jobq.job j JOIN jobq.queue q ON q.id = j.queue
		WHERE q.unique_ms < 0 AND NOT EXISTS (SELECT FROM jobq.attempt a WHERE a.job = j.id AND a.outcome IN (1, 3, 4, 6))
		    AND (q.unique_ms = -1 OR NOT EXISTS (SELECT FROM jobq.lease l WHERE l.job = j.id)
		        AND NOT EXISTS (SELECT FROM jobq.attempt a WHERE a.job = j.id))
		GROUP BY 1, 2 HAVING count(*) > 1;
		mine := mine + 1;
		COMMIT;
		EXIT WHEN (SELECT over FROM looks);
		PERFORM pg_sleep(0.002);
	END LOOP;
	UPDATE looks SET n = n + mine;
END $$;
SQL

# the scripts of the sessions
srand 41;
my $n = 0;
my ($transactions, $back, $long) = (0, 0, 0);
my @scripts = map {
	join '', map {
		my $queue = $queues[rand @queues];
		my @keys = map { 'k' . int rand 3 } 1;
		# several keys in one order, where nothing is enqueued at the commit
		@keys = qw(k0 k1 k2) if $queue =~ /^(?:done|window)-existing/ && rand() < 0.3;
		my ($is_back, $is_long) = (rand() < 0.2, rand() < 0.1);
		$transactions++;
		$back++ if $is_back;
		$long++ if $is_long;
		"BEGIN;\n" . join('', map {
			my $delay = $queue =~ /move/ ? 0.2 + rand 0.3 : rand() < 0.5 ? undef : rand 0.3;
			sprintf "SELECT call('%s', '%s', %d, %s, %d, %s);\n", $queue, $_, ++$n,
			    defined $delay ? sprintf("'%.3f s'", $delay) : 'NULL', 1 + int rand 4, rand() < 0.2 ? 'true' : 'false';
		} @keys) . ($is_long ? "SELECT pg_sleep(0.3);\n" : '') . ($is_back ? "ROLLBACK;\n" : "COMMIT;\n");
	} 1 .. $rounds;
} 1 .. $sessions;

my $began = time;
my @observers = map { $pg->session } 1 .. 2;
$_->send('CALL observe()') for @observers;
my @all = map { $pg->session } 1 .. $sessions;
$_->query('SELECT 1') for @all;
$all[$_]->send($scripts[$_]) for 0 .. $#all;
my @errors = grep { /ERROR/ } map { $_->answer } @all;
is_deeply \@errors, [], sprintf '%d sessions, %d transactions in %.1f s, %d of them rolled back, %d lasting', $sessions, $transactions, time - $began, $back, $long;
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state <> 'completed'") == 0 } 'all jobs to be completed';
$pg->query('UPDATE looks SET over = true');
is join('', map { $_->answer } @observers), '', 'observers';
my $calls = $pg->query('SELECT count(*) FROM calls');
my $jobs = $pg->query('SELECT count(*) FROM jobq.job');
my $looks = $pg->query('SELECT n FROM looks');
# S1-57, S2-55, S3-10, S4-44
is $pg->query('SELECT count(*) FROM seen'), 0, "$calls calls gave $jobs jobs, never two live of a key in $looks looks";
cmp_ok $jobs, '<', $calls, 'most found what existed';
cmp_ok $looks, '>', 20, 'somebody looked';

is $pg->query("SELECT count(*) FROM calls c WHERE NOT EXISTS (SELECT FROM jobq.job j JOIN jobq.queue q ON q.id = j.queue "
    . 'WHERE j.id = c.id AND q.name = c.queue AND j.unique_key = c.key)'), 0, 'each call got the id of a job of its key';
is $pg->query("SELECT count(*) FROM jobq.job j WHERE NOT EXISTS (SELECT FROM calls c WHERE c.n = (j.data->>'n')::int)"), 0,
    '… that is as somebody wanted who committed';
is $pg->query('SELECT count(*) FROM jobq.attempts a WHERE attempt > 1') . ($d->log =~ /lease lost/ ? 'lost' : ''), 0, 'each job ran once';
is $pg->query('SELECT count(*) FROM jobq.uniq WHERE until IS NULL'), 0, 'no key is left taken';
is $pg->query('SELECT count(*) FROM jobq.change'), 0, 'nor a change undone';
is $pg->query(q{SELECT count(*) FROM (SELECT j.created_at, lag(a.finished_at) OVER (PARTITION BY j.queue, j.unique_key ORDER BY j.created_at) AS before
    FROM jobq.job j JOIN jobq.queue q ON q.id = j.queue JOIN jobq.attempt a ON a.job = j.id WHERE q.unique_ms = -1) x WHERE created_at < before}), 0,
    'until done: each came after the end of the one before';
is $pg->query(qq{SELECT count(*) FROM (SELECT j.created_at, lag(least(j.created_at, (SELECT min(c.t0) FROM calls c WHERE c.id = j.id))) OVER (PARTITION BY j.queue, j.unique_key ORDER BY j.created_at) AS before
    FROM jobq.job j JOIN jobq.queue q ON q.id = j.queue WHERE q.unique_ms > 0) x WHERE created_at < before + interval '$window_ms ms'}), 0,
    "for a time: each came $window_ms ms after the one before was asked for";

# what was committed last is what ran last, where no run excuses from another
my $last = q{SELECT DISTINCT ON (c.queue, c.key) c.* FROM calls c WHERE c.queue ~ '%s' ORDER BY c.queue, c.key, pg_xact_commit_timestamp(c.xmin) DESC};
my $latest = q{LATERAL (SELECT j.data, a.started_at, j.id FROM jobq.job j JOIN jobq.queue q ON q.id = j.queue JOIN jobq.attempt a ON a.job = j.id
    WHERE q.name = l.queue AND j.unique_key = l.key ORDER BY j.id DESC LIMIT 1) r};
is $pg->query("SELECT count(*) FROM (" . sprintf($last, '^started-replace') . ") l, $latest WHERE r.data->>'n' <> l.n::text"), 0,
    'until started, replace: the last that was committed ran last, of ' . $pg->query("SELECT count(DISTINCT key) FROM calls WHERE queue = 'started-replace'") . ' keys';
is $pg->query("SELECT count(*) FROM (" . sprintf($last, '^started-') . ") l, $latest WHERE r.started_at < l.t0"), 0,
    'until started: after each call there was a run';
is $pg->query("SELECT count(*) FROM (" . sprintf($last, '^started-move') . ") l, $latest WHERE r.started_at < l.t0 + l.delay"), 0,
    '… and with move when its time had come';
my $moved = $pg->query("SELECT count(*) FROM calls c JOIN jobq.job j ON j.id = c.id WHERE c.queue ~ '-move' AND j.data->>'n' <> c.n::text");
my $replaced = $pg->query("SELECT count(*) FROM calls c JOIN jobq.job j ON j.id = c.id WHERE c.queue ~ '-replace' AND (j.data->>'n')::int <> c.n");
cmp_ok $moved, '>', 0, "$moved calls moved a job or found it running, $replaced were replaced or found it so";
is $d->stop, 0, 'jobqd ends well';
done_testing;
