# Statistics: histograms that can be added, taken once in the cluster, summed
# up into hours, kept for a year; ranges for charts; the report.
# S1-18, S1-30, S1-31, S1-42, S1-43, S2-23, S2-36, S2-38, S2-39, S2-58, S3-49,
# S3-60, S3-61, S3-62, S4-36
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $config = <<'YAML';
handlers: {null: {driver: noop}}
retry: {two: {attempts: 2, backoff: fixed, base: 100ms, jitter: 0%}}
queues:
  work: {handler: null, workers: 2, concurrency: 20, retry: two}
  idle: {handler: null, workers: 1}
schedules:
  hourly: {every: 1h, queue: idle, type: tick}
monitor: {interval: 300ms, health_file: "", statistics: 1s}
YAML
my @nodes = map { Jobqd::Daemon->new(pg => $pg, name => $_, config => $config) } qw(a b);
$_->start for @nodes;

#
# histograms
#
is $pg->query('SELECT jobq.histogram(ARRAY[512*3+7, 512*1+2, 512*4+7])'), '{514,3591}', 'one element a bucket, in order';
is $pg->query('SELECT jobq.histogram_sum(h) FROM (VALUES (ARRAY[512*3+7::bigint]), (ARRAY[512*1+2::bigint, 512*4+7])) v(h)'),
    '{514,3591}', 'they are added';
is $pg->query("SELECT jobq.histogram_sum(h), jobq.quantile(jobq.histogram_sum(h), 0.5) FROM (VALUES ('{}'::bigint[])) v(h)"), '{}|', 'also empty ones';
# 20,000 times, log-normal, in 20 pieces: what is read from the sum against what is true
my $far = $pg->query(<<'SQL');
SELECT setseed(0.5);
WITH v AS MATERIALIZED (
	SELECT i % 20 AS piece, exp(5 + 2 * sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random())) AS ms FROM generate_series(1, 20000) i
), p AS (
	SELECT piece, jobq.histogram(array_agg(512 * n + b)) AS h
	FROM (SELECT piece, width_bucket(ms, jobq.buckets()) AS b, count(*) AS n FROM v GROUP BY 1, 2) k GROUP BY 1
), s AS (SELECT jobq.histogram_sum(h) AS h FROM p)
SELECT max(abs(jobq.quantile(s.h, q) - t.ms) / t.ms)
FROM s, (SELECT q, percentile_disc(q) WITHIN GROUP (ORDER BY ms) AS ms FROM v, unnest('{0.5,0.95,0.99}'::float8[]) q GROUP BY q) t
SQL
($far) = $far =~ /(\S+)$/;
cmp_ok $far, '<', 0.06, sprintf 'percentiles of a sum of pieces are wrong by %.1f %%', 100 * $far;

#
# two nodes, pieces of a second
#
$pg->query(<<'SQL');
SELECT jobq.enqueue('work', 'mail', '{"sleep_ms": 40}', tenant => 'acme') FROM generate_series(1, 60);
SELECT jobq.enqueue('work', 'mail', '{"sleep_ms": 80}', tenant => 'other') FROM generate_series(1, 30);
SELECT jobq.enqueue('work', 'sync', jsonb_build_object('fail', 'network', 'message', 'no route to 10.0.0.' || i)) FROM generate_series(1, 5) i;
SQL
my $attempts = 60 + 30 + 2 * 5;
sub taken { return $pg->query("SELECT coalesce(sum(completed + failed), 0) FROM jobq.statistics WHERE queue = 'work'") }
wait_for { $pg->query("SELECT count(*) FROM jobq.attempts WHERE queue = 'work'") == $attempts } 'all attempts';
# what ended last is in a piece that two more have followed
wait_for { $pg->query("SELECT count(DISTINCT at) FROM jobq.statistics WHERE at > (SELECT max(finished_at) FROM jobq.attempts)") >= 2 } 'the statistics';
is taken(), $attempts, 'each attempt counts once, though two nodes take statistics';
is $pg->query("SELECT count(*) FROM (SELECT at, queue FROM jobq.statistics WHERE queue = 'idle' GROUP BY 1, 2 HAVING count(*) > 1) k"), 0,
    'a piece is taken once';
is $pg->query("SELECT sum(completed) || ' ' || sum(failed) || ' ' || sum(dead) FROM jobq.statistics WHERE type = 'sync'"), '0 10 5',
    'failed attempts, and those that were the last (S2-36, S1-18)';
is $pg->query("SELECT sum((errors ->> 'network')::int) FROM jobq.statistics"), 10, 'by class (S0-74)';
is $pg->query("SELECT sum(completed) FROM jobq.statistics WHERE tenant = 'acme'"), 60, 'by tenant (S0-69)';
is $pg->query("SELECT sum(count) || ' ' || count(DISTINCT fingerprint) FROM jobq.errors WHERE queue = 'work' AND type = 'sync' AND class = 'network'"),
    '10 1', 'errors that differ in numbers only are one (S2-58)';
cmp_ok $pg->query("SELECT count(*) FROM jobq.statistics WHERE queue = 'idle' AND ready = 0 AND completed = 0"), '>=', 2,
    'queues where nothing happens have their depth (S1-42)';

# against the attempts themselves
my $range = "jobq.statistics_range(now() - interval '10 minutes', now(), interval '1 day'";
my $true = <<'SQL';
FROM jobq.attempts a JOIN jobq.jobs j ON j.id = a.job_id
SQL
my ($p50, $p99, $max, $avg, $t50, $tmax, $tavg) = split /\|/, $pg->query(<<"SQL");
SELECT r.run_p50_ms, r.run_p99_ms, r.run_max_ms, r.run_avg_ms, t.p50, t.most, t.avg
FROM (SELECT * FROM $range, type => 'mail') WHERE completed > 0) r,
    (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM a.finished_at - a.started_at) * 1000) AS p50,
        max(extract(epoch FROM a.finished_at - a.started_at) * 1000) AS most,
        avg(extract(epoch FROM a.finished_at - a.started_at) * 1000) AS avg $true WHERE j.type = 'mail') t
SQL
cmp_ok abs($p50 - $t50), '<=', 1 + $t50 * 0.06, "run time: median $p50 ms, really $t50 (S0-72, S1-59)";
cmp_ok abs($max - $tmax), '<=', 1, '… the largest is exact';
cmp_ok abs($avg - $tavg), '<=', 1 + $tavg * 0.01, '… and the average (S3-60, S1-18)';
cmp_ok $p99, '<=', $max, '… and no percentile is above the largest';
cmp_ok $pg->query("SELECT wait_p95_ms FROM $range, type => 'mail') WHERE completed > 0"), '>', 0, 'they waited';

# sums by type and by queue are kept where they are of more than one row
is $pg->query("SELECT count(*) || ' ' || count(DISTINCT s) FROM (SELECT sum(completed) AS s FROM jobq.statistic, unnest('{1,2,4}'::int[]) l WHERE level & l > 0 AND queue = 'work' GROUP BY l) k"), '3 1', 'the sums agree';
is $pg->query("SELECT count(*) FROM (SELECT FROM jobq.statistic s, unnest('{1,2,4}'::int[]) l WHERE level & l > 0 GROUP BY at, queue, l, CASE WHEN l > 1 THEN type END, CASE l WHEN 4 THEN tenant END HAVING count(*) > 1) k"), 0, '… and none is there twice';

# a retry has not waited since it was enqueued: only first attempts count
cmp_ok $pg->query("SELECT max(wait_max_ms) FROM $range, type => 'sync')"), '<=',
    $pg->query("SELECT 1 + max(extract(epoch FROM a.started_at - j.created_at) * 1000) $true WHERE j.type = 'sync' AND a.attempt = 1"),
    'how long attempts waited is asked of the first ones';

#
# ranges
#
is $pg->query("SELECT string_agg(name || ' ' || completed, ', ' ORDER BY name) FROM (SELECT name, sum(completed) AS completed FROM $range, by => 'type', queue => 'work') GROUP BY 1) k"),
    'mail 90, sync 0', 'by type';
is $pg->query("SELECT sum(completed) FROM $range, tenant => 'other')"), 30, 'of a tenant';
is $pg->query("SELECT bool_and(failure_rate = 1) FROM $range, type => 'sync') WHERE failed > 0"), 't', 'the failure rate (S3-61, S1-67)';
is $pg->query("SELECT string_agg(DISTINCT name, ' ' ORDER BY name) FROM $range, by => 'queue')"), 'idle work', 'by queue';
is $pg->query("SELECT count(*) || ' ' || count(run_p50_ms) FROM jobq.statistics_range('2020-01-01 00:00Z', '2020-01-01 01:00Z')"), '12 0',
    'steps where nothing was are there (S2-23)';
is $pg->query("SELECT bool_and(ready IS NULL) FROM $range, tenant => 'acme')"), 't', 'nobody knows how many are ready by tenant';
like +($pg->try_query("SELECT * FROM $range, by => 'colour')"))[2], qr/statistics by "colour"/, 'a wrong grouping is said';
like +($pg->try_query("SELECT * FROM jobq.statistics_range('2020-01-01', '2024-01-01', '1 second')"))[2], qr/20000 steps/, 'so are too many steps';
like +($pg->try_query("SELECT * FROM jobq.statistics_range('2020-01-01', '2024-01-01', '-1 hour')"))[2], qr/a step of/, '… and a step backwards';

#
# the report
#
my $report = JSON::PP->new->decode($pg->query('SELECT jobq.report_json()'));
my ($work) = grep { $_->{name} eq 'work' } @{ $report->{queues} };
is_deeply [ @$work{qw(completed failed dead cancelled lost failure_rate)} ], [ 90, 5, 5, 0, 0, 0.1 ], 'the report of a day: a queue (S2-38)';
cmp_ok $work->{run_p95_ms}, '>=', $work->{run_p50_ms}, '… its times';
is $work->{dead_letters}, 5, '… its dead letters';
is $work->{before}{completed}, 0, '… and what the day before was';
is $report->{types}[0]{type}, 'mail', 'the busiest type';
is_deeply [ @{ $report->{errors}[0] }{qw(queue type class count)} ], [ 'work', 'sync', 'network', 10 ], 'the most frequent error';
is $report->{dead_letters}, 5, 'dead letters nobody has reviewed';
my ($completed, $failed) = (0, 0);
$completed += $_->{completed}, $failed += $_->{failed} for @{ $report->{series} };
is "$completed $failed", '90 10', 'the hours add up';
is_deeply $report->{schedules}, [], 'no schedule was late';
$pg->query("UPDATE jobq.schedule SET missed = 3");
is $pg->query("SELECT jobq.report_json('7 days') #>> '{schedules,0,missed}'"), 3, 'one that missed an instant';
is $pg->query("SELECT jobq.report_json('7 days') ->> 'step'"), 86400, 'of a week the days are told';
is $pg->query("SELECT completed || ' ' || failed || ' ' || dead FROM jobq.report('1 day') WHERE queue = 'work'"), '90 5 5', 'a line a queue';
$pg->query("SELECT jobq.clean('work', 'completed', '0 s')");
is $pg->query("SELECT jobq.report_json() #>> '{queues,1,completed}'"), 90, 'jobs that were removed have still been done';

#
# old pieces become hours, and go after a year
#
$_->stop for @nodes;
$pg->query(<<'SQL');
INSERT INTO jobq.statistic (at, span, queue, type, tenant, completed, failed, dead, cancelled, lost,
    classes, waits, wait_ms, wait_max_ms, runs, run_ms, run_max_ms, level)
SELECT date_bin('1 hour', now(), '2000-01-01 00:00Z') - interval '8 days' + i * interval '5 minutes', '5 minutes',
    'work', t, CASE t WHEN 'a' THEN NULL ELSE 'x' END, i, 1, 0, 0, 0, ARRAY[512+5], ARRAY[512*i+20], 7 * i, 7, ARRAY[512*i+i], 2 * i, i, 6
FROM generate_series(1, 11) i, unnest('{a,b}'::text[]) t;
INSERT INTO jobq.depth (at, span, queue, ready, running, scheduled, retrying, blocked, dead)
SELECT date_bin('1 hour', now(), '2000-01-01 00:00Z') - interval '8 days' + i * interval '5 minutes', '5 minutes', 'work', i, 1, 0, 0, 0, 0
FROM generate_series(1, 11) i;
INSERT INTO jobq.statistic (at, span, queue, type, completed, failed, dead, cancelled, lost, classes, waits, wait_ms, runs, run_ms, level)
VALUES (now() - interval '367 days', '1 hour', 'work', 'old', 1, 0, 0, 0, 0, '{}', '{}', 0, '{}', 0, 7);
SQL
my $sums = "SELECT sum(completed), sum(failed), jobq.histogram_sum(waits), jobq.histogram_sum(runs), sum(run_ms), max(run_max_ms) FROM jobq.statistic WHERE level & 4 > 0 AND at < now() - interval '7 days' AND at > now() - interval '9 days'";
my $old = $pg->query($sums);
$pg->query('SELECT jobq.statistics_thin()');
is $pg->query($sums), $old, 'an hour of old pieces is their sum (S3-62, S1-59, S1-67)';
is $pg->query("SELECT count(*) || ' ' || max(span) || ' ' || max(ready) FROM jobq.statistics WHERE at < now() - interval '7 days' AND at > now() - interval '9 days'"),
    '2 01:00:00 11', 'one row each, with the most that was ready';
is $pg->query("SELECT count(*) || ' ' || max(completed) FROM jobq.statistics_range(now() - interval '8 days 2 hours', now() - interval '7 days 20 hours')"),
    '7 132', 'of what is summed up the shortest step is an hour';
is $pg->query("SELECT count(*) FROM jobq.statistic WHERE type = 'old'"), 1, 'a statistic of more than a year ago';
$pg->query('SELECT * FROM jobq.maintain()');
is $pg->query("SELECT count(*) FROM jobq.statistic WHERE type = 'old'"), 0, '… is removed (S2-39)';
cmp_ok $pg->query('SELECT bytes FROM jobq.size'), '>', 0, 'the size of the tables is noted';

#
# nobody was there for a while: the last piece is not lost, the rest is not read
#
$pg->query("UPDATE jobq.statistics_at SET at = now() - interval '1 day'");
is $pg->query("SELECT rows FROM jobq.statistics_take('5 minutes')"), 0, 'the piece that nobody took';
my ($calls, $again) = (1, 0);
while ($again == 0 && $calls < 30) {
	$again = $pg->query("SELECT again_ms FROM jobq.statistics_take('5 minutes')");
	$calls++;
}
cmp_ok $calls, '<=', 15, "a day without anybody takes $calls calls";
cmp_ok $again, '<=', 305_001, '… and then the next comes when it is over';

# who reads while they are taken sees each end once
$pg->query(<<'SQL');
TRUNCATE jobq.depth;
UPDATE jobq.statistics_at SET at = jobq.five_minutes(now()) - interval '10 minutes';
INSERT INTO jobq.total (queue, at, completed) SELECT 1, at, 7 FROM jobq.statistics_at ON CONFLICT DO NOTHING;
SQL
my $ends = "SELECT sum(completed) FROM jobq.ends((SELECT jobq.five_minutes(now()) - interval '10 minutes'), 'infinity')";
my $reader = $pg->session;
my $told = $reader->query("BEGIN ISOLATION LEVEL REPEATABLE READ; $ends");
cmp_ok $told, '>=', 7, 'what has just ended is told';
$pg->query("SELECT jobq.statistics_take('5 minutes')");
is $reader->query($ends), $told, '… also to who began to read before the statistics had it';
$reader->close;

# on demand: in pieces of another length, all that are over
$pg->query("UPDATE jobq.statistics_at SET at = now() - interval '150 seconds'; TRUNCATE jobq.depth");
cmp_ok $pg->query("SELECT again_ms FROM jobq.statistics_take('10 seconds')"), '<=', 10_001, 'statistics on demand';
cmp_ok $pg->query("SELECT extract(epoch FROM now() - (SELECT at FROM jobq.statistics_at))"), '<=', 16, '… up to now';
is $pg->query("SELECT count(*) FROM jobq.depth WHERE span <= '10 seconds'"), 2, '… with the depth of the queues';

# many types: those with most to do are told apart
$pg->query(<<'SQL');
UPDATE jobq.statistics_at SET at = now() - interval '5 minutes';
TRUNCATE jobq.statistic, jobq.depth;
INSERT INTO jobq.job (id, queue, lane, created_at, type, data)
SELECT 500000000 + i, 2, 0, now() - interval '5 minutes', CASE WHEN i % 2 = 0 THEN 'much' ELSE 't' || i END, '{}' FROM generate_series(1, 3000) i;
INSERT INTO jobq.attempt (job, attempt, queue, outcome, started_at, finished_at)
SELECT 500000000 + i, 1, 2, 1, now() - interval '4 minutes', now() - interval '4 minutes' FROM generate_series(1, 3000) i;
SELECT jobq.statistics_piece(now() - interval '5 minutes', now() - interval '3 minutes');
SQL
is $pg->query("SELECT count(*) || ' ' || sum(completed) || ' ' || max(completed) FILTER (WHERE type = 'much') FROM jobq.statistic WHERE level & 4 > 0"), '301 3000 1500',
    'three hundred types have rows of their own';
is $pg->query("SELECT completed FROM jobq.statistic WHERE type = '*'"), 1201, '… and the others one together';

# very many attempts: one in three is looked at
$pg->query(<<'SQL');
TRUNCATE jobq.statistic, jobq.tally, jobq.total;
INSERT INTO jobq.tally (at, queue, completed) VALUES (now() - interval '4 minutes', 2, 600000);
SELECT jobq.statistics_piece(now() - interval '5 minutes', now() - interval '3 minutes');
SQL
my ($all, $much) = split / /, $pg->query("SELECT sum(completed) || ' ' || max(completed) FILTER (WHERE type = 'much') FROM jobq.statistic WHERE level & 4 > 0");
cmp_ok abs($all - 3000), '<=', 30, "a sample stands for all: $all of 3000";
cmp_ok abs($much - 1500), '<=', 30, "… $much of 1500 of a type";
is $pg->query("SELECT sum(jobq.histogram_count(runs)) = sum(completed) FROM jobq.statistic"), 't', '… in the histograms as well';
done_testing;
