# What shall be, by what was: how many workers a queue needs (jobqctl capacity),
# and which of two retry policies does better, each tried by half of the jobs
# (retry_against, jobqctl queue compare).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $json = JSON::PP->new->utf8;
my $config = <<"YAML";
handlers:
  null: {driver: noop}
  third: {driver: exec, argv: [sh, -c, 'test \$JOBQ_ATTEMPT -ge 3']}	# the third time it works
  never: {driver: exec, argv: [sh, -c, 'exit 1']}
retry:
  short: {attempts: 2, backoff: fixed, base: 1ms, jitter: 0%}
  long: {attempts: 4, backoff: fixed, base: 1ms, jitter: 0%}
queues:
  tried: {handler: third, workers: 3, retry: short, retry_against: long}
  alike: {handler: third, workers: 3, retry: short}
  few: {handler: never, workers: 1, retry: short, retry_against: long}
  work: {handler: null, workers: 4, concurrency: 5}
  idle: {handler: null, workers: 1}
YAML
my $d = Jobqd::Daemon->new(pg => $pg, config => $config);
$d->start;
sub q1 { return $pg->query("SELECT $_[0]") }
sub ctl_json { my ($s, $out, $err) = $d->ctl(@_, '--json'); is $s, 0, "jobqctl @_" or diag $err; return $json->decode($out) }

#
# two policies: S2-65, S0-74
#
my %n = (tried => 300, alike => 300, few => 10);
$pg->query("SELECT jobq.enqueue('$_') FROM generate_series(1, $n{$_})") for sort keys %n;
wait_for { q1("count(*) FROM jobq.jobs WHERE state IN ('completed', 'dead')") == 610 } 'all jobs to end';

# Which half a job is in is said twice, in C and in SQL: they say the same.
is $pg->query(<<'SQL'), 'false dead 2, true completed 3', 'each job has the policy of its half, to the end';
SELECT string_agg(DISTINCT jobq.retry_half(id)::text || ' ' || state || ' ' || attempt, ', ') FROM jobq.jobs WHERE queue = 'tried'
SQL
my @tried = @{ ctl_json('queue', 'compare', 'tried') };
is_deeply [ map { $_->{policy} } @tried ], [qw(retry retry_against)], 'a row for each policy';
is $tried[0]{jobs} + $tried[1]{jobs}, 300, '… and each job in one of them';
cmp_ok abs($tried[0]{jobs} - 150), '<', 60, "… about half in each: $tried[0]{jobs} and $tried[1]{jobs}";
is_deeply [ map { [ @$_{qw(recovered share attempts)} ] } @tried ], [ [ 0, 0, 2 ], [ $tried[1]{jobs}, 1, 3 ] ], '… what became of them';
ok $tried[0]{high} < $tried[1]{low} && $tried[0]{low} == 0 && $tried[1]{high} == 1, "… and how sure that is: at most $tried[0]{high}, at least $tried[1]{low}";
cmp_ok $tried[1]{after_p95_ms}, '>=', $tried[1]{after_p50_ms}, "… after $tried[1]{after_p50_ms} ms in the middle";
is $_->{verdict}, 'retry_against recovers more', 'S2-65: the one that does better is told' for @tried;
is $_->{verdict}, 'no difference that is more than chance', '… and without two policies there is no difference' for @{ ctl_json('queue', 'compare', 'alike') };
is $_->{verdict}, 'too few jobs to tell', '… nor of a few jobs' for @{ ctl_json('queue', 'compare', 'few') };
is_deeply [ map { $_->{jobs} } @{ ctl_json('queue', 'compare', 'idle') } ], [ 0, 0 ], '… nor of none';
is_deeply [ map { $_->{jobs} } @{ ctl_json('queue', 'compare', 'tried', '--since', '2099-01-01T00:00:00Z') } ], [ 0, 0 ], '… nor of the future';
my ($status, $out, $err) = $d->ctl('queue', 'compare', 'tried');
like $out, qr/^policy +jobs .*\n *retry +\d+ +0 +.*\n *retry_against +\d+ .*recovers more$/m, 'for a person';
($status, undef, $err) = $d->ctl('queue', 'compare', 'treid');
is $status, 3, 'an unknown queue: exit 3';
like $err, qr/did you mean tried\?/, '… and the nearest';

# Near each other, and what the formulas say: 90 and 80 of 100 are chance by a
# hair (z = 1.98 is not), 90 and 82 are.
for my $case ([ 80, 'retry recovers more' ], [ 82, 'no difference that is more than chance' ]) {
	my ($of, $verdict) = @$case;
	$pg->query(<<"SQL");
BEGIN; DELETE FROM jobq.attempt WHERE queue = (SELECT id FROM jobq.queue WHERE name = 'idle');
INSERT INTO jobq.attempt (job, attempt, queue, outcome, class, started_at, finished_at)
SELECT j.id, a, (SELECT id FROM jobq.queue WHERE name = 'idle'), CASE a WHEN 1 THEN 2 WHEN 2 THEN CASE WHEN j.n <= CASE WHEN j.half THEN $of ELSE 90 END THEN 1 ELSE 3 END END, 5, now(), now() + a * interval '1 second'
FROM (SELECT i AS id, jobq.retry_half(i) AS half, row_number() OVER (PARTITION BY jobq.retry_half(i)) AS n FROM generate_series(100001, 101000) i) j, generate_series(1, 2) a WHERE j.n <= 100;
COMMIT;
SQL
	is q1("string_agg(recovered || ' of ' || jobs || ' ' || verdict, ', ' ORDER BY policy) FROM jobq.retry_compare('idle')"), "90 of 100 $verdict, $of of 100 $verdict", "90 and $of of 100: $verdict";
	is q1("low || ' ' || high || ' ' || after_p50_ms FROM jobq.retry_compare('idle') WHERE policy = 'retry'"), '0.8256 0.9448 1000', '… Wilson\'s interval';
}

# A name that is none.
spew("$dir/bad.yml", $config =~ s/retry_against: long\}/retry_against: lonf}/r);
($status, undef, $err) = run_program([ jobqd_program(), '-t', '-c', "$dir/bad.yml" ]);
like "$status $err", qr{^1 \Q$dir\E/bad\.yml:9:\d+: retry_against: there is no policy "lonf" \(did you mean "long"\?\)$}m, 'a policy that is not there is an error of -t';

# What is enqueued in turns is in both halves alike, whatever the turn's length.
is q1("count(*) FROM (SELECT turn, id % turn AS place, avg(jobq.retry_half(id)::int) AS part FROM generate_series(1, 20000) id, generate_series(1, 12) turn GROUP BY 1, 2) t
    WHERE part NOT BETWEEN 0.42 AND 0.58"), 0, 'turns of 1 to 12 jobs are spread over both halves';

#
# capacity: S1-68, S1-59, S0-73
#
wait_for { q1("rows FROM jobq.statistics_take('5 minutes')"); q1('count(*) FROM jobq.depth') > 0 } 'what waits to be counted';
$pg->query(<<'SQL');
DELETE FROM jobq.statistic;
INSERT INTO jobq.statistic (at, span, queue, type, completed, failed, dead, cancelled, lost, classes, waits, wait_ms, wait_max_ms, runs, run_ms, run_max_ms, level)
SELECT date_bin('5 minutes', now(), '2000-01-01Z') - i * interval '5 minutes', '5 minutes', 'work', '', n, 0, 0, 0, 0, '{}', jobq.histogram(ARRAY[512 * n + 30::bigint]), 20 * n, 20,
    jobq.histogram(ARRAY[512 * n + 70::bigint]), 1000 * n, 1000, 7
FROM (VALUES (1, 300::bigint), (2, 3000), (3, 600)) v(i, n)
SQL
my %capacity = map { $_->{queue} => $_ } @{ ctl_json('capacity', '--since', '2000-01-01T00:00:00Z') };
is_deeply [ @{ $capacity{work} }{qw(slots per_second_peak run_avg_ms busy_peak utilization slots_wanted)} ], [ 20, 10, 1000, 10, 0.5, 15 ],
    'S1-68: ten jobs of a second each second, 20 slots: half of them in use, 15 would be enough';
is_deeply [ @{ $capacity{idle} }{qw(slots busy_peak slots_wanted)} ], [ 1, 0, 0 ], '… and none for what has nothing to do';
%capacity = map { $_->{queue} => $_ } @{ ctl_json('capacity', '--growth', '3') };
is $capacity{work}{slots_wanted}, 43, '… of three times as much: 43';
is q1("slots_wanted FROM jobq.capacity(growth => 3, target => 1) WHERE queue = 'work'"), 30, '… and 30, were there no reserve';
like(($d->ctl('capacity'))[1], qr/^queue +slots +per_second .*\n(?:.*\n)*work +20 .* 15$/m, 'for a person');
like +($pg->try_query("SELECT * FROM jobq.capacity(growth => $_->[0], target => $_->[1])"))[2], qr/$_->[2]/, "refused: $_->[2]"
    for [ 0, 1, 'a growth of 0' ], [ "'NaN'", 1, 'a growth of NaN' ], [ 1, 0, 'a target of 0' ], [ 1, 1.1, 'a target of 1.1' ];
# as it really was
$pg->query("DELETE FROM jobq.statistic; SELECT jobq.enqueue('work', data => '{\"sleep_ms\": 50}') FROM generate_series(1, 40)");
wait_for { q1("count(*) FROM jobq.jobs WHERE queue = 'work' AND state = 'completed'") == 40 } 'forty naps';
wait_for { q1("rows FROM jobq.statistics_take('1 second')"); q1("coalesce(sum(completed), 0) FROM jobq.statistics WHERE queue = 'work'") == 40 } 'the statistics to have them';
my $was = q1("run_avg_ms || ' ' || slots_wanted FROM jobq.capacity() WHERE queue = 'work'");
like $was, qr/^(?:[5-9]\d|\d{3}) 1$/, "40 naps of 50 ms: $was";
is $d->stop, 0, 'stops with status 0';
done_testing;
