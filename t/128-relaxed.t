# Fast queues beside durable ones: how durable a job is, is its transaction's
# affair. With synchronous_commit off enqueueing waits for no disk, and what a
# crash of the server may lose is only what was enqueued so, in its last moments.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Schema;
use Test::More;
use Time::HiRes qw(time);

# Nothing but commits writes the log out, not even after a while.
my $pg = schema(fsync => 'on', wal_writer_delay => '10s', bgwriter_lru_maxpages => 0, autovacuum => 'off');
queues($pg, fast => {}, durable => {});
my $session = $pg->session;
my %put = (
	fast => q{BEGIN; SET LOCAL synchronous_commit = off; SELECT jobq.enqueue('fast'); COMMIT},
	durable => q{SELECT jobq.enqueue('durable')},
);
sub flushed { return $session->query('SELECT pg_current_wal_flush_lsn()') }

# How often the disk is waited for. What is counted is told with a delay, unless asked for.
my (%syncs, %took);
for my $queue (sort keys %put) {
	my $count = sub { $session->query('SELECT pg_stat_force_next_flush()'); return $session->query('SELECT wal_sync FROM pg_stat_wal') };
	my ($from, $begin) = ($count->(), time);
	$session->query($put{$queue}) for 1 .. 200;
	$took{$queue} = time - $begin;
	$syncs{$queue} = $count->() - $from;
}
cmp_ok $syncs{durable}, '>=', 200, "200 durable jobs, each by itself: the disk is waited for $syncs{durable} times";
cmp_ok $syncs{fast}, '<', 20, sprintf 'S0-19: 200 relaxed ones: %d times, %.1f times as fast', $syncs{fast}, $took{durable} / $took{fast};

# There at once; and on disk with the next durable one, whoever's.
my $before = flushed();
$session->query($put{fast});
is $pg->query("SELECT ready FROM jobq.queues WHERE name = 'fast'"), 201, 'a relaxed job is there at once, for everybody';
is flushed(), $before, '… and on no disk yet';
$session->query($put{durable});
isnt flushed(), $before, 'a durable one is';
$session->query($put{fast}) for 1 .. 5;

# The server crashes in that moment.
$session->close;
$pg->stop('immediate');
$pg->start;
is $pg->query("SELECT ready FROM jobq.queues WHERE name = 'durable'"), 201, 'after a crash of the server all durable jobs are there';
my $left = $pg->query("SELECT ready FROM jobq.queues WHERE name = 'fast'");
cmp_ok $left, '>=', 201, '… and the relaxed ones that were before them';
cmp_ok $left, '<', 206, 206 - $left . ' relaxed jobs of the last moment are lost, as was accepted';
my ($pool, $q) = pool($pg, 'fast');
is scalar(claim_ids($pg, $pool, $q, 500)), $left, 'the others are run';
done_testing;
