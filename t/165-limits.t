# Named limits by SQL alone: what a claim may take, whoever else takes.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Schema;
use Test::More;

my $pg = schema();

# (jobs it got, milliseconds to wait or undef)
sub take {
	my ($pool, $q, $n, $held) = @_;
	my @rows = map { [ split /\|/, $_, -1 ] } split /\n/, $pg->query(
	    "SELECT id || ':' || attempt, start_ms FROM jobq.claim($pool, $q\::smallint, $n, " . ($held // 0) . ')');
	my $wait = @rows && $rows[-1][0] eq '' ? (pop @rows)->[1] : undef;
	return ([ map { $_->[0] } @rows ], $wait, [ map { $_->[1] } @rows ]);
}

sub register {
	my ($limits, %queues) = @_;
	my $json = encode_json({ node => 'test', limits => $limits,
		queues => [ map { { name => $_, %{ $queues{$_} } } } sort keys %queues ] });
	$pg->query("SELECT jobq.register('$json')");
}
sub enqueue { my ($queue, $n) = @_; $pg->query("SELECT count(jobq.enqueue('$queue')) FROM generate_series(1, $n)") }

register([ { name => 'five', concurrency => 5 }, { name => 'often', rate => 100, period_ms => 3600000 },
	{ name => 'apart', min_gap_ms => 40 }, { name => 'far', min_gap_ms => 5000 }, { name => 'long', rate => 100, period_ms => 3600000 } ],
    a => { limits => ['five'] }, b => { limits => ['five'] }, r => { limits => ['often'] },
    g => { limits => ['apart'] }, far => { limits => ['far'] }, both => { limits => [ 'long', 'five' ] }, free => {});
my ($a, $qa) = pool($pg, 'a');
my ($a2) = pool($pg, 'a', 'other');
my ($b, $qb) = pool($pg, 'b');

# concurrency, shared by queues and nodes: S0-55.
enqueue($_, 20) for qw(a b);
my ($one, $wait) = take($a, $qa, 3);
is scalar(@$one), 3, 'as many as it asked for';
is $wait, undef, '… and nothing holds it back';
my ($two) = take($b, $qb, 10);
is scalar(@$two), 2, 'another queue gets what is left';
($two, $wait) = take($a2, $qa, 10);
is scalar(@$two), 0, 'another node nothing';
cmp_ok $wait, '>', 0, '… and is told to wait';
my $listener = $pg->session;
$listener->query('LISTEN jobq');
finish_ok($pg, $a, @$one[ 0, 1 ]);
take($a, $qa, 0 + 1, 1) for 1;
is $pg->query("SELECT sum(held) FROM jobq.pool_load"), 4, 'the pool tells what it has, and takes one more';
like $listener->query('SELECT 1'), qr/1/, 'listening';
($two) = take($a2, $qa, 10);
is scalar(@$two), 1, 'what has ended is free for everybody';
is $pg->query('SELECT sum(held) FROM jobq.pool_load'), 5, 'five in all';
$pg->query("SELECT jobq.reap($a2)");
($two) = take($b, $qb, 10, 2);
is scalar(@$two), 1, 'a pool that is reaped has none any more';

# a rate: in any period, not by periods. Time passes in steps of a hundredth
my ($r, $qr) = pool($pg, 'r');
$pg->query("SELECT jobq.enqueue_many('r', (SELECT jsonb_agg('{}'::jsonb) FROM generate_series(1, 1300)))");
my $session = $pg->session;
my @starts;
for (1 .. 1030) {
	my $asks = 1 + int rand 40;
	push @starts, $session->query("SELECT count(id) FROM jobq.claim($r, $qr\::smallint, $asks); "
	    . "UPDATE jobq.limit_state SET step = step - 1 WHERE name = 'often'");
}
my ($most, $all) = (0, 0);
for my $i (0 .. $#starts) {
	my $n = 0;
	$n += $_ for @starts[ $i .. ($i + 101 < $#starts ? $i + 101 : $#starts) ];
	$most = $n if $n > $most;
	$all += $starts[$i];
}
cmp_ok $most, '<=', 100, "at most 100 in a period, in any window of 102 steps: $most";
cmp_ok $all, '>=', 97 * 10.3, sprintf('… and nearly as many: %.1f %% of the rate', $all / 10.3);
my (undef, $next) = take($r, $qr, 500);
cmp_ok $next, '>', 0, '… then it is to wait';
cmp_ok $next, '<=', 3600000, '… no longer than a period';

# apart: leased a little ahead, each with its time
my ($g, $qg) = pool($pg, 'g');
enqueue('g', 10);
my ($got, $more, $at) = take($g, $qg, 10);
is "@$at", '0 40 80', 'a gap: the next ones at their times';
cmp_ok $more, '>', 0, '… and the others later';
my ($far, $qfar) = pool($pg, 'far');
enqueue('far', 10);
($got) = take($far, $qfar, 10);
is scalar(@$got), 1, 'a long gap: one';
($got, $more) = take($far, $qfar, 10);
is scalar(@$got), 0, '… and not the next';
cmp_ok $more, '>', 3000, '… before its time';

# two limits: the tighter one counts, and both are charged
my ($p, $qp) = pool($pg, 'both');
$pg->query("SELECT jobq.reap($_)") for $a, $b;
enqueue('both', 200);
($got) = take($p, $qp, 100);
is scalar(@$got), 5, 'the tighter of two limits';
is $pg->query("SELECT (SELECT sum(u) FROM unnest(used) u) FROM jobq.limit_state WHERE name = 'long'"), 5, '… and the other is charged as much';

# a queue without limits is asked for nothing
my ($f, $qf) = pool($pg, 'free');
enqueue('free', 3);
($got, $wait) = take($f, $qf, 10);
is scalar(@$got), 3, 'a queue without limits';
is $pg->query("SELECT count(*) FROM jobq.pool_load WHERE pool = $f"), 0, '… leaves no trace';

# a limit that changes or goes
register([ { name => 'five', concurrency => 7 }, { name => 'long', rate => 100, period_ms => 3600000 } ],
    both => { limits => ['five'] }, r => {});
($got) = take($p, $qp, 100, 5);
is scalar(@$got), 2, 'a limit that was raised';
($got, $wait) = take($r, $qr, 50);
is scalar(@$got), 50, 'a queue that has lost its limit';
done_testing;
