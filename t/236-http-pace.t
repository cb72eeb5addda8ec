# The driver http and how many requests are on their way: hundreds in one process; few
# to a destination that has failed, and more with each good answer; one that does not
# answer holds up nobody else for long. S0-12 S4-45
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use HttpJobs;
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(time);

my ($port, $requests) = hostile();
my $base = "http://127.0.0.1:$port";
sub came { my ($name) = @_; return grep { $_->{line} eq "x /came/$name" } json_lines($requests) }

# 500 in flight in one process.
{
	local $HttpJobs::queue = 'concurrency: 500';
	my $r = run_jobs('allow_private: true', map { job($_, url => "$base/recovers/many/0/4000", payload => { n => $_ }) } 1 .. 500);
	is scalar(grep { $r->{$_}{class} eq '' } 1 .. 500), 500, '500 jobs in one process';
	my $most = max map { $_->{inside} } came('many');
	cmp_ok $most, '>=', 450, "$most of them at the server at once, that answers after 4 s";
	is_small($r, '…');
}

# After a failure: never more at once than one more than good answers since.
{
	local $HttpJobs::queue = 'concurrency: 50, timeout: 60s';
	my $r = run_jobs('allow_private: true', map { job($_, url => "$base/recovers/ill/50/20", payload => {}) } 1 .. 200);
	is scalar(grep { $r->{$_}{class} eq 'network' } 1 .. 200), 50, 'a server that fails 50 times';
	is scalar(grep { $r->{$_}{class} eq '' } 1 .. 200), 150, '… and is well again: 150 jobs';
	my @came = grep { !$_->{bad} } came('ill');
	my @over = grep { $_->{inside} > $_->{well} + 2 } @came;
	is scalar(@over), 0, sprintf '… %d at first, then never more than one more for each good answer (at the 10th: %d, at most %d)', $came[0]{inside}, $came[9]{inside},
	    max map { $_->{inside} } @came;
	cmp_ok $came[0]{inside}, '<=', 2, '… which begins with one';
	$r = run_jobs('allow_private: true, slow_start: off', map { job($_, url => "$base/recovers/off/50/200", payload => {}) } 1 .. 100);
	my $most = max map { $_->{inside} } came('off');
	cmp_ok $most, '>', 40, "slow_start: off, and $most are there at once";
}

# One that never answers, and another: neither is in the other's way, and nobody waits
# for longer than a quarter of its time.
{
	my ($deaf) = hostile();
	local $HttpJobs::queue = 'concurrency: 60, timeout: 8s';
	my $began = time;
	my $r = run_jobs('allow_private: true, timeout: 3s', (map { job($_, url => "http://127.0.0.1:$deaf/mute", payload => {}) } 1 .. 20), map { job($_, url => "$base/status/200", payload => {}) } 21 .. 60);
	is classes($r, 1 .. 20), join(' ', ('timeout') x 20), 'a server that never answers: each job had its own time';
	is classes($r, 21 .. 60), join(' ', ('completed') x 40), '… and another is not held up (S0-12)';
	my $slow = max map { $r->{$_}{run_us} } 21 .. 60;
	my $least = (sort { $a <=> $b } map { $r->{$_}{run_us} } 1 .. 20)[0];
	cmp_ok $slow, '<', $least, sprintf '… at all (%.2f s, when the first was given up after %.2f s)', $slow / 1e6, $least / 1e6;
}

# Cancelled while it waits for its turn, by the leader.
{
	my $pg = Jobqd::Postgres->new;
	my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
retry: {once: {attempts: 1}}
handlers: {hook: {driver: http, allow_private: true}}
queues: {hooks: {handler: hook, concurrency: 20, poll: 50ms, retry: once, timeout: 60s}}
YAML
	$d->start;
	$pg->query("SELECT jobq.enqueue('hooks', 'x', '{\"url\": \"$base/recovers/cancel/20/1\", \"payload\": {}}') FROM generate_series(1, 20)");
	wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'dead'") == 20 } 'twenty failures';
	my @ids = split /\n/, $pg->query("SELECT jobq.enqueue('hooks', 'x', '{\"url\": \"$base/late/15000\", \"payload\": {}}') FROM generate_series(1, 20)");
	wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'running'") == 20 } 'twenty that run';
	$pg->query("SELECT jobq.cancel($_)") for @ids;
	wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'cancelled'") == 20 } 'all to be cancelled', 30;
	pass 'jobs are cancelled while they wait for their turn';
	my $id = $pg->query("SELECT jobq.enqueue('hooks', 'x', '{\"url\": \"$base/status/200\", \"payload\": {}}')");
	wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") eq 'completed' } 'one after them';
	pass '… and the next one is not held up by them';
}
done_testing;
