# Partitions: made ahead, cut, dropped as a whole; what must stay is moved on,
# attempts become history; retention by queue and state.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More tests => 29;

my $pg = schema();
queues($pg, work => {}, brief => { keep => { completed_ms => 1000, cancelled_ms => 1000, dead_ms => 2000 } });
my ($pool, $q) = pool($pg, 'work');
my ($pool2, $q2) = pool($pg, 'brief');
sub lines { return join "\n", $pg->query('SELECT * FROM jobq.maintain()') }
sub parts { return $pg->query("SELECT string_agg(id || state, ' ' ORDER BY id) FROM jobq.part") }
sub back { my ($when) = @_; $pg->query("UPDATE jobq.attempt SET finished_at = finished_at - interval '$when'; UPDATE jobq.dead SET died_at = died_at - interval '$when'") }

is parts(), '1live 2live', 'one partition for now, one ahead';
my @ids = split /\n/, $pg->query("SELECT jobq.enqueue('work', 't', jsonb_build_object('x', repeat(md5(i::text), 50))) FROM generate_series(1, 1000) i");
my @got = claim($pg, $pool, $q, 990);
finish_ok($pg, $pool, @got[ 0 .. 979 ]);
finish_failed($pg, $pool, $got[980], 3, error => 'dead one');
finish_failed($pg, $pool, $got[981], 2, delay => 86400_000 * 30);
my $dead = $ids[980];
my $retrying = $ids[981];
my ($running, $ready, $scheduled) = ($ids[985], $ids[995],
    $pg->query("SELECT jobq.enqueue('work', 't', delay => '30 days')"));
my $blocked = $pg->query("SELECT jobq.enqueue('work', after => '{$ready}')");
$pg->query("SELECT jobq.output_add($ids[0], 1, 'text'), jobq.progress($running, 50, 'half')");
is $pg->query('SELECT count(DISTINCT tableoid) FROM jobq.job'), 1, 'all in one partition';

# cut by age
unlike lines(), qr/ids go on/, 'a young partition is not cut';
$pg->query("UPDATE jobq.queue SET keep_completed_ms = 86400000, keep_cancelled_ms = 86400000; UPDATE jobq.part SET made_at = now() - interval '5 hours'");
like lines(), qr/partition 1 is full .*ids go on at 1000000000/, 'an old one is';
my $new = $pg->query("SELECT jobq.enqueue('work')");
is $new, 1000000000, 'new jobs get ids of the next';
is state($pg, $new), 'ready', '… as usual';
maintain_until { parts() eq '1live 2live 3live' } $pg;
is parts(), '1live 2live 3live', '… and another is made ahead';

# not yet
unlike join('', map { lines() } 1 .. 5), qr/dropped/, 'a partition is kept for as long as its completed jobs';
$pg->query("UPDATE jobq.part SET cut_at = now() - interval '25 hours' WHERE id = 1");
back('25 hours');
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'completed'"), 0, 'completed jobs are hidden when their time is over (S0-16, S4-43)';

# a dump holds it
my $one = $pg->session;
$one->query('BEGIN; SELECT count(*) FROM jobq.job');
unlike join('', map { lines() } 1 .. 5), qr/dropped/, 'it is not dropped while somebody reads';
is $pg->query("SET lock_timeout = '500ms'; SELECT count(*) FROM jobq.enqueue('work')"), 1, '… and nobody waits';
$one->query('COMMIT');

# gone, but for what must stay
my $lines = join "\n", maintain_until { parts() eq '1history 2live 3live' } $pg;
like $lines, qr/dropped partition 1, 20 of its jobs stay|dropped partition 1, 2\d of its jobs stay/, 'then it is dropped';
is $pg->query('SELECT count(*) FROM jobq.job_default'), 22, 'what is not finished, and the dead one, stays';
is_deeply [ map { state($pg, $_) } $dead, $retrying, $running, $ready, $scheduled, $blocked ],
    [qw(dead retrying running ready scheduled blocked)], '… each in its state';
is $pg->query("SELECT error FROM jobq.dead_letters WHERE job_id = $dead"), 'dead one', 'the dead letter too';
is $pg->query("SELECT count(*) FROM jobq.attempts WHERE outcome = 'completed'"), 980, 'the attempts of the others are history (S0-16)';
is $pg->query("SELECT count(*) FROM jobq.output"), 0, 'what they printed is gone';
is $pg->query("SELECT progress FROM jobq.jobs WHERE id = $running"), 50, 'the progress of a running one is not';
is_deeply [ finish_ok($pg, $pool, "$running:1") ], ["$running:1"], 'a job that was running completes';
is $pg->query("SELECT jobq.retry($dead)"), 't', 'a dead one is retried';
my %next = map { $_ => 1 } claim($pg, $pool, $q, 1000);
ok $next{"$dead:2"} && $next{"$ready:1"}, '… and claimed, as the waiting ones are';
finish_ok($pg, $pool, "$dead:2", "$ready:1");
is join(' ', claim($pg, $pool, $q)), "$blocked:1", 'what waited for one of them is released';

# what outlived its partition goes when its time comes
finish_ok($pg, $pool, "$blocked:1", keys %next);
back('25 hours');
maintain_until { $pg->query('SELECT count(*) FROM jobq.job_default') == 9 } $pg;
is $pg->query("SELECT string_agg(state, ' ' ORDER BY id) FROM jobq.jobs WHERE id IN ($retrying, $scheduled, $dead)"), 'retrying scheduled', 'finished ones that had stayed are removed later';
cmp_ok $pg->query("SELECT count(*) FROM jobq.attempts WHERE job_id = $dead"), '==', 2, '… with their attempts kept';

# history
$pg->query("UPDATE jobq.part SET cut_at = now() - interval '91 days' WHERE id = 1; UPDATE jobq.history SET finished_at = finished_at - interval '91 days'");
maintain_until { parts() eq '2live 3live' } $pg;
is $pg->query("SELECT count(*) FROM jobq.history"), 0, 'history goes when its time is over (S0-17, S3-5)';

# by queue and state, in one partition
my $short = $pg->query("SELECT jobq.enqueue('brief')");
my $dies = $pg->query("SELECT jobq.enqueue('brief')");
my $long = $pg->query("SELECT jobq.enqueue('work')");
finish_ok($pg, $pool2, (grep { /^$short:/ } claim($pg, $pool2, $q2)));
finish_failed($pg, $pool2, "$dies:1", 3);
finish_ok($pg, $pool, claim($pg, $pool, $q));
$pg->query("UPDATE jobq.queue SET keep_completed_ms = 1000, keep_dead_ms = 1000000 WHERE name = 'brief'");
back('2 seconds');
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE id = $short"), 0, 'each queue keeps its own for its own time (S3-52)';
is $pg->query("SELECT string_agg(state, ' ') FROM jobq.jobs WHERE id IN ($dies, $long)"), 'dead completed', '… and each state';

# the thousandth partition has nothing to do with limits
$one->query('BEGIN');
$one->query("SELECT pg_advisory_xact_lock(jobq.claim_lock(), jobq.limit_lock(l::smallint)) FROM generate_series(1, 32767) l");
is $pg->query('BEGIN; INSERT INTO jobq.part (id, lo, hi) SELECT i, i * 1000000000000, i * 1000000000000 + 1 FROM generate_series(900, 5000) i;
    SELECT count(*) FILTER (WHERE jobq.hold_part(lo)) FROM jobq.part WHERE id BETWEEN 900 AND 5000; ROLLBACK') =~ s/\s//gr, 4101,
    'a limit that is locked keeps nobody from a partition';
$one->query('ROLLBACK');

# a disaster: nobody made partitions
$pg->query("SELECT setval('jobq.job_id', 9000000000)");
is state($pg, $pg->query("SELECT jobq.enqueue('work')")), 'ready', 'without a partition the net holds the job';
