# Limits, concurrency keys and fair queues on two nodes that share one database.
# S0-52 S0-53 S0-54 S0-55 S2-33 S2-34 S2-35
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;
use Time::HiRes qw(time sleep);

my $pg = Jobqd::Postgres->new(settings => { shared_buffers => '256MB' });
# What runs when is told by the jobs themselves, each line by one write: the
# times in the database are as late as the statement that stored them.
my $diary = "$pg->{dir}/diary";
my @nodes = map {
	Jobqd::Daemon->new(pg => $pg, name => $_, config => <<"YAML")
log: {file: stderr, level: info}
handlers:
  null: {driver: noop}
  diary:
    driver: exec
    argv: [sh, -c, 'echo + \$1 \$2 >> $diary; sleep 0.03; echo - \$1 \$2 >> $diary; exit \$3', diary, "{{data.who}}", "{{data.n}}", "{{data.exit}}"]
limits:
  api: {rate: 100/4s}
  three: {concurrency: 3}
  apart: {min_gap: 40ms}
queues:
  rate-a: {handler: null, workers: 2, concurrency: 20, limits: [api]}
  rate-b: {handler: null, workers: 1, concurrency: 20, limits: [api]}
  few-a: {handler: diary, workers: 4, limits: [three]}
  few-b: {handler: diary, workers: 4, limits: [three]}
  gap: {handler: null, workers: 2, concurrency: 5, limits: [apart]}
  key: {handler: diary, workers: 4, concurrency_key: data.who, retry: {attempts: 5, base: 20ms, max: 20ms, jitter: 0%}}
  fair: {handler: null, workers: 2, fair: tenant}
YAML
} qw(one two);
$_->start for @nodes;

sub numbers { return map { [ split /\|/ ] } split /\n/, $pg->query($_[0]) }
sub diary {
	my ($who) = @_;
	open my $fh, '<', $diary or die "$diary: $!";
	return map { /^([+-]) \Q$who\E (\d+)$/ ? { begins => $1 eq '+', n => $2 } : () } <$fh>;
}
sub done {
	my ($queue, $n, $seconds) = @_;
	wait_for { $pg->query("SELECT count(*) FROM jobq.attempts WHERE queue LIKE '$queue' AND outcome IN ('completed', 'dead')") >= $n } "$n jobs of $queue", $seconds || 60;
}

# a rate, shared by two queues and two nodes
$pg->query("SELECT jobq.enqueue_many('rate-$_', (SELECT jsonb_agg('{}'::jsonb) FROM generate_series(1, 250)))") for qw(a b);
done('rate-_', 400);
my @starts = map { $_->[0] } numbers("SELECT extract(epoch FROM started_at) FROM jobq.attempts WHERE queue LIKE 'rate-_' ORDER BY started_at");
my ($most, $from) = (0, 0);
for my $to (0 .. $#starts) {
	$from++ while $starts[$to] - $starts[$from] >= 4;
	$most = $to - $from + 1 if $to - $from + 1 > $most;
}
# S0-52, S0-53, S2-33, S2-34: a rate, over queues and nodes.
cmp_ok $most, '<=', 100, "a rate of 100 in 4 s: at most $most in any window";
my $reached = (@starts - 100) / ($starts[-1] - $starts[0]) / 25 * 100;
cmp_ok $reached, '>=', 95, sprintf('… and %.1f %% of it reached', $reached);
is $pg->query("SELECT count(DISTINCT node) FROM jobq.attempts WHERE queue LIKE 'rate-_'"), 2, '… by both nodes';

# a number at a time
$pg->query("SELECT jobq.enqueue_many('few-$_', (SELECT jsonb_agg(jsonb_build_object('data', jsonb_build_object('who', 'few', 'n', i, 'exit', 0))) FROM generate_series(1, 60) i))") for qw(a b);
done('few-_', 120);
my ($most_at_once, $running) = (0, 0);
for (diary('few')) {
	$running += $_->{begins} ? 1 : -1;
	$most_at_once = $running if $running > $most_at_once;
}
# S0-52 … S0-55, S2-35: a number at a time, over queues and nodes.
is $most_at_once, 3, 'three at a time, over two queues and two nodes, and no fewer';
my ($took) = map { $_->[0] } numbers("SELECT extract(epoch FROM max(finished_at) - min(started_at)) FROM jobq.attempts WHERE queue LIKE 'few-_'");
note sprintf 'its slots were used %.0f %% of the time', 120 * 0.03 / 3 / $took * 100;

# apart
$pg->query("SELECT jobq.enqueue_many('gap', (SELECT jsonb_agg('{}'::jsonb) FROM generate_series(1, 50)))");
done('gap', 50);
# each is planned 40 ms after the one before; a start that is late moves no other
my @apart = map { $_->[0] } numbers("SELECT 1000 * extract(epoch FROM started_at) FROM jobq.attempts WHERE queue = 'gap' ORDER BY started_at");
my @gaps = sort { $a <=> $b } map { $apart[$_] - $apart[ $_ - 1 ] } 1 .. $#apart;
# S0-52 … S0-54: a time between starts.
cmp_ok $apart[-1] - $apart[0], '>=', 40 * $#apart - 200, sprintf('a gap of 40 ms between starts, of two nodes: %d in %.0f ms', scalar @apart, $apart[-1] - $apart[0]);
cmp_ok $gaps[ @gaps / 2 ], '>=', 30, sprintf('… %.1f ms at least, nine of ten over %.1f, %.1f in the middle', $gaps[0], $gaps[ @gaps / 10 ], $gaps[ @gaps / 2 ]);

# keys: one at a time and in order, also over failures; nobody waits for another's key
$pg->query("SELECT jobq.enqueue('key', data => jsonb_build_object('who', 'key-' || a, 'n', i, 'exit', ((a + i) % 7 = 0)::int), max_attempts => 3) FROM generate_series(1, 25) i, generate_series(1, 8) a");
done('key', 200, 120);
my ($overlaps, $disorder) = (0, 0);
for my $key (map { "key-$_" } 1 .. 8) {
	my ($running, $last) = (0, 0);
	for (diary($key)) {
		$running += $_->{begins} ? 1 : -1;
		$overlaps++ if $running > 1;
		$disorder++ if $_->{n} < $last;
		$last = $_->{n};
	}
	is $last, 25, "all of $key";
}
is $overlaps, 0, 'of each key one at a time';
is $disorder, 0, '… in order, also over retries';
is $pg->query("SELECT count(*) FROM jobq.attempts WHERE queue = 'key' AND outcome = 'failed'") > 0, 1, '… of which there were some';
is $pg->query('SELECT count(*) FROM jobq.parked') + $pg->query('SELECT count(*) FROM jobq.key_kept'), 0, 'nothing is left aside';

# fair: a tenant with very much to do, and another
my $big = 1_000_000;
$pg->query("SELECT count(*) FROM (SELECT jobq.enqueue_many('fair', (SELECT jsonb_agg(jsonb_build_object('tenant', 'big', 'data', jsonb_build_object('sleep_ms', 1))) FROM generate_series(1, $big / 20))) FROM generate_series(1, 20)) x");
my @small;
for (1 .. 20) {
	my $id = $pg->query("SELECT jobq.enqueue('fair', tenant => 'small')");
	wait_for { $pg->query("SELECT count(*) FROM jobq.attempts WHERE job_id = $id") } 'the small tenant\'s job';
	push @small, $id;
}
cmp_ok $pg->query("SELECT ready FROM jobq.queues WHERE name = 'fair'"), '>', 0, 'the big tenant still has jobs';
# by order, not by time: a slow machine starts fewer of the others meanwhile
my @before = sort { $a->[0] <=> $b->[0] } numbers("SELECT (SELECT count(*) FROM jobq.attempts o WHERE o.queue = 'fair' AND o.started_at > j.created_at AND o.started_at < a.started_at), "
    . "1000 * extract(epoch FROM a.started_at - j.created_at) FROM jobq.attempts a JOIN jobq.jobs j ON j.id = a.job_id WHERE j.id IN (@{[join ', ', @small]})");
cmp_ok $before[-1][0], '<', 1000, sprintf("of %d jobs of a tenant %d at most begin before the next of another's, %d in the middle (%.0f ms)", $big, $before[-1][0], @{ $before[10] });
done_testing;
