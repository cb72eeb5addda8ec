# What the scheduler's statement sees: which queues have something, whatever
# their lanes; and whether all that is to come will be notified, so that it may
# look less often.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More;

my $pg = schema();
queues($pg, work => {}, other => {}, paused => {});
my ($pool, $q) = pool($pg, 'work');
my (undef, $other) = pool($pg, 'other');
my (undef, $paused) = pool($pg, 'paused');
sub q1 { return $pg->query('SELECT ' . $_[0]) }

# a look finds what a claim would
srand 7;
my @wrong;
for my $round (1 .. 30) {
	my $n = int rand 4;
	$pg->query("SELECT jobq.enqueue('work', priority => " . int(rand 100) . ')') for 1 .. $n;
	claim($pg, $pool, $q, 1 + int rand 4) if rand() < 0.7;
	my $open = q1("count(*) FROM jobq.open_turns($q\::smallint)");
	my $found = q1("count(*) FROM jobq.look('{$q}')");
	push @wrong, "round $round: $found for $open open" if $found != ($open > 0);
}
is_deeply \@wrong, [], 'look: a queue with open turns in any lane, and no other';
1 while claim($pg, $pool, $q, 100);
$pg->query("SELECT jobq.enqueue('paused'), jobq.pause('paused')");
$pg->query("SELECT jobq.enqueue('other')");
is q1("string_agg(q::text, ' ') FROM jobq.look('{$q,$other,$paused}') q"), $other, '… nor one that is paused';
$pg->query('SELECT jobq.cancel(id) FROM jobq.jobs');

# calm
sub tick {
	my ($since, $queues) = @_;
	my @r = split /\|/, $pg->query("SELECT coalesce(since, 0), calm FROM jobq.tick('a', 'x', 60000, "
	    . "'{" . ($queues // $q) . "}', 10, null, " . ($since || 'null') . ')'), -1;
	return wantarray ? @r : $r[1];
}
is_deeply [ tick() ], [ 0, 'f' ], 'a leader is awake: not calm';
my $early = $pg->session;
$early->query('BEGIN');
$early->query("SELECT jobq.enqueue('work')");	# finds it awake
$pg->query("SELECT jobq.sleep($q\::smallint)");
my ($since, $calm) = tick();
cmp_ok $since, '>', 0, 'it sleeps: from some transaction on it is notified';
is $calm, 'f', '… but an earlier one still runs';
is scalar(tick($since)), 'f', '… still';
is_deeply [ tick($since, "$q,$other") ], [ 0, 'f' ], 'another leader is awake';
$early->query('COMMIT');
is_deeply [ tick($since) ], [ $since, 't' ], 'it has ended: calm';
is q1("count(*) FROM jobq.look('{$q}')"), 1, '… and its job is found';
is q1("ready FROM jobq.tick('a', 'x', 60000, '{$q}', 10, null, $since, $_->[0])"), $_->[1], "… by a tick with looks $_->[0]"
    for [ false => '{}' ], [ true => "{$q}" ];
like q1("ready FROM jobq.tick('a', 'x', 60000, '{$q,$other}', 10, null, $since, false)"), qr{\b$q\b}, '… and by any when it is not calm';
is q1("moved FROM jobq.tick('a', 'x', 60000, '{$q}', 10, null, $since, $_->[0])"), $_->[1], "… which $_->[2]"
    for [ false => '', 'looks for nothing that is due' ], [ true => 0, 'does' ];
is q1("moved FROM jobq.tick('a', 'x', 60000, '{$q,$other}', 10, null, $since, false)"), 0, '… as any does when it is not calm';
claim($pg, $pool, $q);
my $late = $pg->session;
$late->query('BEGIN');
$late->query("SELECT jobq.enqueue('work')");
is_deeply [ tick($since) ], [ $since, 't' ], 'a later transaction does not matter: it notifies';
is scalar(tick()), 'f', '… to who does not know better it does';
my $listener = $pg->session;
$listener->query('LISTEN jobq');
$late->query('COMMIT');
like $listener->query('SELECT 1'), qr/"jobq" with payload "work"/, '… which it does';
claim($pg, $pool, $q);
$early->query('BEGIN; SELECT pg_current_xact_id()');
$early->query("PREPARE TRANSACTION 'it'");
is scalar(tick()), 'f', 'a prepared transaction is one that runs';
$pg->query("COMMIT PREPARED 'it'");
is scalar(tick()), 't', '… until it is committed';

# somebody wakes
$pg->query("SELECT jobq.wake($q\::smallint)");
unlike $listener->query('SELECT 1'), qr/\*awake/, 'the only leader of a queue wakes: its own business';
pool($pg, 'work', 'another node');
$pg->query("SELECT jobq.sleep($q\::smallint)");
$pg->query("SELECT jobq.wake($q\::smallint)");
like $listener->query('SELECT 1'), qr/\*awake/, 'one of two wakes: the schedulers are told';
is_deeply [ tick($since) ], [ 0, 'f' ], '… and see it';

# jobs that wait for others are swept once a second
$pg->query("SELECT jobq.sleep($q\::smallint)");
my $parent = q1("jobq.enqueue('work')");
is q1("next_due_us FROM jobq.tick('a', 'x', 60000, '{$q}', 10)"), '', 'no timer is set';
$pg->query("SELECT jobq.enqueue('work', after => '{$parent}')");
cmp_ok q1("next_due_us - now_us FROM jobq.tick('a', 'x', 60000, '{$q}', 10)"), '<=', 1_000_000,
    'a job waits for another: come again soon';
is_deeply [ split /\|/, q1("calm, moved FROM jobq.tick('a', 'x', 60000, '{$q}', 10, null, $since, false)") ], [ 't', 0 ],
    '… however calm it is';
is q1("next_due_us IS NULL AND until_us > now_us FROM jobq.tick('b', 'y', 60000, '{$q}', 10)"), 't',
    'who does not lead learns until when another does';

# whatever makes a job ready notifies who sleeps
1 while claim($pg, $pool, $q, 100);
$pg->query("SELECT jobq.sleep(id) FROM jobq.queue");
$parent = q1("jobq.enqueue('work')");
$pg->query("SELECT jobq.enqueue('other', after => '{$parent}')");
my ($lease) = grep { /^$parent:/ } claim($pg, $pool, $q, 100);
$listener->query('SELECT 1');
finish_ok($pg, $pool, $lease);
like $listener->query('SELECT 1'), qr/payload "other"/, 'a job has what it waited for';
$parent = q1("jobq.enqueue('work')");
claim($pg, $pool, $q, 100);
$listener->query('SELECT 1');
finish_failed($pg, $pool, "$parent:1", 2, delay => 0);
like $listener->query('SELECT 1'), qr/payload "work"/, 'a job runs again at once';
done_testing;
