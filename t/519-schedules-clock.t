# Clocks and deaths: the database's clock is stepped, a scheduler that was stopped
# for a while goes on where it stood, and after kill -9 of its node, or of itself
# while it fires, another takes over, with no instant missed or doubled. S1-44
# schedule accuracy.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my ($faketime) = grep { -e } glob '/usr/lib/*/faketime/libfaketime.so.1';
my $pg = Jobqd::Postgres->new;
my $config = <<'YAML';
handlers: {null: {driver: noop}}
queues: {work: {handler: null, workers: 1}}
schedules:
  every: {every: 1s, queue: work, type: every, catch_up: all}
  cron: {cron: "* * * * * *", queue: work, type: cron, catch_up: all}
  rows: {every: 1s, queue: work, type: rows, catch_up: all, for_each: "select i from generate_series(1, 300) i"}
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

# the database's clock is stepped: forward is a downtime, which is made up for;
# backward the instants come again, and are not fired again
SKIP: {
	skip 'libfaketime is not installed', 4 unless $faketime;
	my $clock = temp_directory() . '/clock';
	spew($clock, '+0');
	my $stepped = Jobqd::Postgres->new(start => 0);
	$stepped->{as} = [ @{ $stepped->{as} || [] }, 'env', "LD_PRELOAD=$faketime", "FAKETIME_TIMESTAMP_FILE=$clock",
	    map { "$_=1" } qw(FAKETIME_NO_CACHE FAKETIME_DONT_FAKE_MONOTONIC DONT_FAKE_MONOTONIC NO_FAKE_STAT) ];
	$stepped->start;
	$stepped->query('CREATE DATABASE jobq', 'postgres');
	my $d = Jobqd::Daemon->new(pg => $stepped, name => 'stepped', config => $config);
	$d->start;
	my $cron = "SELECT count(*) FROM jobq.jobs WHERE type = 'cron'";
	my $come = sub { my ($n) = @_; my $from = $stepped->query($cron); wait_for { $stepped->query($cron) >= $from + $n } "$n instants" };
	$come->(3);
	spew($clock, '+30');
	$come->(31);
	spew($clock, '+25');
	$come->(3);
	for my $type (qw(every cron)) {
		is $stepped->query("SELECT count(*) - count(DISTINCT run_at) FROM jobq.jobs WHERE type = '$type'"), 0, "the database's clock is stepped: $type: no instant twice";
		is $stepped->query("SELECT count(*) - extract(epoch FROM max(run_at) - min(run_at)) - 1 FROM jobq.jobs WHERE type = '$type'") + 0, 0, '… and none missed';
	}
	$d->stop;
}

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
	cmp_ok $late, '<', 10, "the leader's node is dead: instants late by $late s at most (S1-44, S3-54)";
	$dead->start;
	more(2);
}
check('two nodes that died');
# in the middle of a firing as well
for (1 .. 6) {
	my ($pid) = map { $_->pids(qr/^jobqd: scheduler \(leader\)$/) } grep { $_->running } values %node;
	wait_for { $pg->query("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%schedule_fire(%' AND pid <> pg_backend_pid()") } 'a firing';
	kill 'KILL', $pid if $pid;
	more(2);
	wait_for { grep { leads($_) } values %node } 'one to lead';
}
is $pg->query("SELECT count(*) FROM (SELECT run_at FROM jobq.jobs WHERE type = 'rows' GROUP BY run_at HAVING count(*) <> 300) r"), 0,
    'killed while it fires: all jobs of an instant or none (S1-44, S1-75)';
is $pg->query("SELECT count(DISTINCT run_at) - extract(epoch FROM max(run_at) - min(run_at)) - 1 FROM jobq.jobs WHERE type = 'rows'") + 0, 0,
    '… and no instant is missed';
is $_->stop, 0, 'stops with status 0' for values %node;
done_testing;
