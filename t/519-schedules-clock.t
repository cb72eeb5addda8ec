# Clocks and deaths: what the host's clock says does not matter, a scheduler that
# was stopped for a while goes on where it stood, and after kill -9 of its node
# another takes over, with no instant missed or doubled. S1-44 schedule accuracy,
# S1-60 clocks.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;
use Time::HiRes qw(time sleep);

my ($faketime) = grep { -e } glob '/usr/lib/*/faketime/libfaketime.so.1';
my $pg = Jobqd::Postgres->new;
my $config = <<'YAML';
handlers: {null: {driver: noop}}
queues: {work: {handler: null, workers: 1}}
schedules:
  every: {every: 1s, queue: work, type: every, catch_up: all}
  cron: {cron: "* * * * * *", queue: work, type: cron, catch_up: all}
YAML
sub check {
	my ($what) = @_;
	for my $type (qw(every cron)) {
		is $pg->query(<<"SQL"), 't', "$what: $type: each instant once";
SELECT count(*) = count(DISTINCT run_at) AND count(*) = extract(epoch FROM max(run_at) - min(run_at)) + 1
FROM jobq.jobs WHERE type = '$type'
SQL
	}
}
sub count { return $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = 'cron'") }
sub more { my ($n) = @_; my $from = count(); wait_for { count() >= $from + $n } "$n more instants" }
sub latest { return $pg->query("SELECT round(extract(epoch FROM max(created_at - run_at))::numeric, 1) FROM jobq.jobs WHERE run_at > '$_[0]'") }

# the host's clock is wrong: by two days, and jumps
SKIP: {
	skip 'libfaketime is not installed', 5 unless $faketime;
	my $clock = temp_directory() . '/clock';
	spew($clock, '+2d');
	my %env = (LD_PRELOAD => $faketime, FAKETIME_TIMESTAMP_FILE => $clock, FAKETIME_NO_CACHE => 1, FAKETIME_DONT_FAKE_MONOTONIC => 1);
	my $d = Jobqd::Daemon->new(pg => $pg, name => 'wrong', config => $config,
	    wrap => [ 'env', map { "$_=$env{$_}" } sort keys %env ]);
	$d->start;
	wait_for { count() >= 3 } 'instants';
	like $d->log, qr/schedule registered/, 'a node whose clock is wrong by two days';
	my $from = $pg->query('SELECT now()');
	for my $jump (qw(-1d +3d +0)) {
		spew($clock, $jump);
		more(3);
	}
	check('a clock that jumps');
	cmp_ok latest($from), '<', 5, 'late by ' . latest($from) . ' s at most';
	is $d->stop, 0, 'stops';
}
$pg->query('DELETE FROM jobq.schedule; TRUNCATE jobq.job') if $faketime;

# stopped as a machine is by suspension
my %node = map { $_ => Jobqd::Daemon->new(pg => $pg, name => $_, config => $config) } qw(a b);
$node{a}->start;
wait_for { count() >= 3 } 'instants';
my ($scheduler) = $node{a}->pids(qr/^jobqd: scheduler/);
kill 'STOP', $scheduler;
my $stopped = $pg->query('SELECT clock_timestamp()');
wait_for { $pg->query("SELECT clock_timestamp() > '$stopped'::timestamptz + interval '6 s'") eq 't' } 'six seconds';
kill 'CONT', $scheduler;
more(8);
check('stopped for six seconds');
is $pg->query('SELECT sum(missed) FROM jobq.schedules'), 0, '… and none is counted as missed';

# another takes over
$node{b}->start;
more(2);
sub leads { my ($n) = @_; return $n->running && (() = $n->pids(qr/^jobqd: scheduler \(leader\)$/)) }
for (1 .. 2) {
	my ($dead) = grep { leads($_) } values %node or die "nobody leads\n";
	my ($other) = grep { $_ != $dead } values %node;
	my $at = $pg->query('SELECT clock_timestamp()');
	$dead->vanish;
	wait_for { !$dead->running } 'the node to die';
	wait_for { leads($other) } 'the other to lead';
	more(4);
	my $late = latest($at);
	cmp_ok $late, '<', 10, "the leader's node is dead: instants late by $late s at most";
	$dead->start;
	more(2);
}
check('two nodes that died');
is $_->stop, 0, 'stops with status 0' for values %node;
done_testing;
