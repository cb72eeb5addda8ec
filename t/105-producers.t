# A dozen producers with slow, interleaved, nested and rolled-back
# transactions, three pools claiming all the time, housekeeping beside it:
# every committed job is claimed and completed exactly once.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More tests => 7;

my $pg = schema();
queues($pg, work => {});
my ($producers, $rounds) = (12, 40);
my $dir = temp_directory();

# A producer: transactions of 0 to 20 ms with 1 to 8 jobs, of different
# priorities; a fifth rolled back, a third with savepoints.
srand 42;
my (@pids, $committed);
for my $p (1 .. $producers) {
	my $sql = '';
	for (1 .. $rounds) {
		my ($jobs, $end) = (1 + int rand 8, rand() < 0.2 ? 'ROLLBACK' : 'COMMIT');
		$sql .= "BEGIN;\n";
		for my $n (1 .. $jobs) {
			my $priority = (1, 5, 5, 8)[ rand 4 ];
			my $undone = rand() < 0.1;
			$sql .= "SAVEPOINT s;\n" if $undone || rand() < 0.2;
			$sql .= "SELECT jobq.enqueue('work', data => '{\"p\":$p}', priority => $priority) \\g /dev/null\n";
			$sql .= "ROLLBACK TO s;\n" if $undone;
			$sql .= sprintf "SELECT pg_sleep(%.4f) \\g /dev/null\n", rand 0.004 if rand() < 0.6;
			$committed++ if $end eq 'COMMIT' && !$undone;
		}
		$sql .= "$end;\n";
	}
	spew("$dir/$p.sql", $sql);
	push @pids, background([ 'psql', '-XAtq', '-f', "$dir/$p.sql", $pg->url ], log => "$dir/$p.log");
}

# Pools in turn, in three sessions, so that their claims interleave.
my @pools = map { [ pool($pg, 'work'), $pg->session ] } 1 .. 3;
my (%claimed, %accepted, $housekeeping);
my %alive = map { $_ => 1 } @pids;
my $empty = 0;
wait_for {
	for (keys %alive) {
		delete $alive{$_} unless kill(0, $_) && process_title($_);
	}
	my $any = 0;
	for (@pools) {
		my ($pool, $q, $session) = @$_;
		my @got = claim($session, $pool, $q, 1 + int rand 40) or next;
		$any = 1;
		$claimed{$_}++ for @got;
		$accepted{$_}++ for finish_ok($session, $pool, @got);
	}
	if (rand() < 0.1) {
		$pg->query('SELECT * FROM jobq.maintain()');
		$housekeeping++;
	}
	$empty = !%alive && !$any ? $empty + 1 : 0;
	$empty > 3;
} 'all jobs to be claimed', 300;

ok $housekeeping, 'housekeeping ran beside it';
is scalar(keys %claimed), $committed, "all $committed committed jobs were claimed (S2-54)";
is_deeply [ grep { $_ != 1 } values %claimed ], [], '… none twice';
is scalar(keys %accepted), $committed, '… and all completed';
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'completed'"), $committed, 'the view says so';
is $pg->query("SELECT completed || ' ' || ready || ' ' || running FROM jobq.queues"), "$committed 0 0", '… and the counts of the queue';
is $pg->query("SELECT sum(n_tup_upd + n_tup_del) FROM pg_stat_user_tables "
    . "WHERE relname ~ '^(job|turn|claim|attempt)_'"), 0, 'nothing on the way of a job is updated or deleted';
