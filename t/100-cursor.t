# The cursor and its holes: no job is lost and none is claimed twice, however
# producers' transactions are slow, interleaved, nested, prepared or rolled back.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More tests => 35;

my $pg = schema();
queues($pg, work => {}, other => {});
my ($pool, $q) = pool($pg, 'work');
my ($pool2) = pool($pg, 'work');
sub put { my ($on, $n, $more) = @_; return $on->query("SELECT jobq.enqueue('work', data => jsonb_build_object('n', $n)" . ($more || '') . ')') }

# a hole: the earlier transaction commits after the later one was claimed
my ($one, $two, $three) = map { $pg->session } 1 .. 3;
$one->query('BEGIN');
my $slow = put($one, 1);
my $fast = put($two, 2);
is_deeply [ claim_ids($pg, $pool, $q) ], [$fast], 'a claim does not wait for an open transaction';
is_deeply [ claim_ids($pg, $pool2, $q) ], [], '… nor see it';
$one->query('COMMIT');
is_deeply [ claim_ids($pg, $pool2, $q) ], [$slow], 'what commits behind the cursor is claimed';
is_deeply [ claim_ids($pg, $pool, $q) ], [], '… once';

# rolled back, and interleaved with a claim in the middle
$one->query('BEGIN');
put($one, 3);
$two->query('BEGIN');
my $first = put($two, 4);
my $later = put($three, 5);
is_deeply [ claim_ids($pg, $pool, $q) ], [$later], 'two holes';
my $second = put($two, 6);
$one->query('ROLLBACK');
is_deeply [ claim_ids($pg, $pool, $q) ], [], 'a hole that was rolled back holds nothing';
$two->query('COMMIT');
is_deeply [ sort { $a <=> $b } claim_ids($pg, $pool, $q) ], [ $first, $second ], 'all of a slow transaction, also what came after the claim';

# subtransactions
$one->query('BEGIN');
my @kept = put($one, 7);
$one->query('SAVEPOINT s');
put($one, 8);
$one->query('ROLLBACK TO s');
push @kept, put($one, 9);
$one->query('SAVEPOINT t');
push @kept, put($one, 10);
$one->query('RELEASE t');
my $passed = put($two, 11);
is_deeply [ claim_ids($pg, $pool, $q) ], [$passed], 'a transaction with savepoints is passed';
$one->query('COMMIT');
is_deeply [ claim_ids($pg, $pool, $q) ], \@kept, '… and read to its end, without what it took back';

# a claim inside exception blocks of others: many subtransactions (more than a snapshot lists)
$one->query('BEGIN');
$one->query("DO \$\$ BEGIN FOR i IN 1 .. 100 LOOP BEGIN PERFORM jobq.enqueue('work'); EXCEPTION WHEN division_by_zero THEN END; END LOOP; END \$\$");
$passed = put($two, 12);
is_deeply [ claim_ids($pg, $pool, $q) ], [$passed], 'a transaction with a hundred subtransactions is passed';
$one->query('COMMIT');
is scalar(claim_ids($pg, $pool, $q, 1000)), 100, '… and found';

# prepared transactions
$one->query('BEGIN');
my $prepared = put($one, 13);
$one->query("PREPARE TRANSACTION 'one'");
$passed = put($two, 14);
is_deeply [ claim_ids($pg, $pool, $q) ], [$passed], 'a prepared transaction is passed';
$pg->stop;
$pg->start;
is_deeply [ claim_ids($pg, $pool, $q) ], [], '… also after a restart of the server';
$pg->query("COMMIT PREPARED 'one'");
is_deeply [ claim_ids($pg, $pool, $q) ], [$prepared], '… and found once it is committed';
($one, $two, $three) = map { $pg->session } 1 .. 3;

# a large transaction that commits late is taken in batches
$one->query('BEGIN');
$one->query("SELECT count(jobq.enqueue('work', data => jsonb_build_object('i', i))) FROM generate_series(1, 2500) i");
my $small = put($two, 15);
is_deeply [ claim_ids($pg, $pool, $q) ], [$small], 'a large open transaction is passed';
$one->query('COMMIT');
my (%seen, @sizes);
while (my @ids = claim_ids($pg, $pool, $q, 400)) {
	push @sizes, scalar @ids;
	$seen{$_}++ for @ids;
	put($two, 16) if @sizes == 3;
}
is_deeply [@sizes], [ (400) x 6, 101 ], 'a large late transaction comes in batches, with what is new';
is_deeply [ grep { $_ != 1 } values %seen ], [], '… none of it twice';
cmp_ok $pg->query("SELECT count(*) FROM jobq.lease"), '>=', 2500, 'the leases are in the view';

# lanes
my @low = map { put($pg, $_, ', priority => 8') } 1 .. 3;
my @high = map { put($pg, $_, ', priority => 1') } 1 .. 3;
my @normal = map { put($pg, $_) } 1 .. 3;
is_deeply [ claim_ids($pg, $pool, $q, 5) ], [ @high, @normal[ 0, 1 ] ], 'the lower priority number runs first (S2-15)';
my $urgent = put($pg, 0, ', priority => 0');
is_deeply [ claim_ids($pg, $pool, $q, 3) ], [ $urgent, $normal[2], $low[0] ], 'a new lane comes in at its place';
is_deeply [ claim_ids($pg, $pool, $q) ], [ @low[ 1, 2 ] ], 'lanes that have nothing are passed over';
my $back = put($pg, 0, ', priority => 1');
is_deeply [ claim_ids($pg, $pool, $q) ], [$back], 'a lane that was gone is back';

# a hole in a lane that a busy one starves
$one->query('BEGIN');
my $starved = put($one, 1, ', priority => 9');
my $passing = put($pg, 1, ', priority => 9');
is_deeply [ claim_ids($pg, $pool, $q) ], [$passing], 'a hole in a low lane';
my @busy = map { put($pg, $_, ', priority => 1') } 1 .. 20;
$one->query('COMMIT');
is_deeply [ claim_ids($pg, $pool, $q, 10) ], [ @busy[ 0 .. 9 ] ], '… waits while a higher lane is full';
is_deeply [ claim_ids($pg, $pool, $q, 10) ], [ @busy[ 10 .. 19 ] ], '… as long as that lasts';
is_deeply [ claim_ids($pg, $pool, $q, 10) ], [$starved], '… and is not forgotten';

# At random: lanes that come and go, transactions that end late. Of what is
# committed a claim takes the first in the order of lane, transaction, job.
srand(my $seed = $ENV{SEED} // 1);
my (@open, %ready, @wrong);
my %writer = map { $_ => $pg->session } 1 .. 4;	# the last one commits each job
for my $step (1 .. 400) {
	my $w = 1 + int rand 4;
	if (rand() < 0.3) {
		my $n = 1 + int rand 6;
		my @got = claim_ids($pg, $pool, $q, $n);
		my @due = sort { $ready{$a}[0] <=> $ready{$b}[0] || $ready{$a}[1] <=> $ready{$b}[1] || $a <=> $b } keys %ready;
		splice @due, $n if @due > $n;
		push @wrong, "step $step: @got, not @due" if "@got" ne "@due";
		delete @ready{@got};
	} elsif ($w < 4 && $open[$w] && rand() < 0.3) {
		my $end = rand() < 0.3 ? 'ROLLBACK' : 'COMMIT';
		$writer{$w}->query($end);
		%ready = (%ready, %{ $open[$w] }) if $end eq 'COMMIT';
		delete $open[$w];
	} else {
		my $priority = int rand(rand() < 0.5 ? 3 : 100);
		if ($w < 4 && !$open[$w]) {
			$writer{$w}->query('BEGIN');
			$open[$w] = {};
		}
		my ($job, $xid) = split /\|/, $writer{$w}->query("SELECT jobq.enqueue('work', priority => $priority), pg_current_xact_id()");
		($w < 4 ? $open[$w] : \%ready)->{$job} = [ $priority, $xid ];
	}
}
is_deeply \@wrong, [], "400 steps at random (SEED=$seed)";
$writer{$_}->query('ROLLBACK') for grep { $open[$_] } 1 .. 3;
claim_ids($pg, $pool, $q, 1000);

# an idle queue: the list of what to wait for does not grow, look() sees a hole fill
$one->query('BEGIN');
my $late = put($one, 1);
put($pg, 2);
claim_ids($pg, $pool, $q);
is $pg->query("SELECT count(*) FROM jobq.look('{$q}')"), 0, 'look: nothing, while the transaction is open';
$one->query('COMMIT');
is $pg->query("SELECT count(*) FROM jobq.look('{$q}')"), 1, 'look: something, once it has committed';
is_deeply [ claim_ids($pg, $pool, $q) ], [$late], '… and it is there';
is $pg->query("SELECT cardinality(waiting) FROM jobq.claim WHERE queue = $q ORDER BY batch DESC LIMIT 1"), 0, 'nothing to wait for is left';

# what a claim refuses
like +($pg->try_query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM jobq.claim($pool, $q\::smallint, 1); COMMIT"))[2],
    qr/READ COMMITTED/, 'no claim with a snapshot of before';
$pg->query("SELECT jobq.pause('work', 'test'); SELECT jobq.enqueue('work')");
is_deeply [ claim_ids($pg, $pool, $q) ], [], 'a paused queue hands out nothing';
$pg->query("SELECT jobq.resume('work')");
is scalar(claim_ids($pg, $pool, $q)), 1, '… until it is resumed';

# one worker, one job, behind very many that were cancelled one by one
$pg->query("WITH e AS (SELECT e AS id FROM jobq.enqueue_many('work', (SELECT jsonb_agg('{}'::jsonb) FROM generate_series(1, 30000))) e)
	INSERT INTO jobq.attempt (job, attempt, queue, outcome, finished_at) SELECT e.id, 1, $q, 4, now() FROM e");
my $behind = $pg->query("SELECT jobq.enqueue('work')");
$pg->query("SELECT jobq.withdraw($q\::smallint, $behind)");
is_deeply [ claim_ids($pg, $pool, $q, 1) ], [$behind], 'a job behind 30,000 that were cancelled, in one claim';
