# What a node costs that has nothing to do: 12 queues of 5 workers each.
package Bench::Idle;

use strict;
use warnings;

use Bench;
use Jobqd;
use Time::HiRes qw(sleep time);

# The memory of all its processes: S1-39.
our %commands = (
	idle => { order => 8, run => \&idle, does => 'what nothing costs: transactions, CPU, memory, wake-ups' },
);

use constant QUEUES  => 12;
use constant WORKERS => 5;
use constant SETTLE  => 15;	# seconds: the first rounds, and beats of new workers

sub config {
	return "handlers: {null: {driver: noop}}\nqueues:\n"
	    . join '', map { "  q$_: {handler: null, workers: @{[WORKERS]}}\n" } 1 .. QUEUES;
}

# By the database's own books, all databases together. Looking costs some,
# too: what two looks in a row differ by.
sub transactions { return $_[0]->query('SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database') }

# Seconds on a processor and how often it was given up, of these processes.
sub used_by {
	my %used = (cpu => 0, wakeups => 0);
	for my $pid (@_) {
		for my $task (glob "/proc/$pid/task/*") {
			$used{cpu} += $1 / 1e9 if slurp("$task/schedstat") =~ /^(\d+)/;
			$used{wakeups} += $1 if slurp("$task/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m;
		}
	}
	return \%used;
}

# Who there is: jobqd's processes, the server's that serve them, its others
# (a session of ours is among those, and ended soon).
sub processes {
	my ($pg, $d) = @_;
	my @backends = split /\n/, $pg->query(q{SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'jobqd%'});
	my %serves = map { $_ => 1 } @backends;
	return (
		jobqd    => [ $d->{pid}, process_tree($d->{pid}) ],
		backends => \@backends,
		server   => [ grep { !$serves{$_} } $pg->{pid}, process_tree($pg->{pid}) ],
	);
}

sub look {
	my ($pg, %processes) = @_;
	return { transactions => transactions($pg), at => time, map { $_ => used_by(@{ $processes{$_} }) } keys %processes };
}

# Every leader sleeps, and says so.
sub asleep {
	my ($pg) = @_;
	return $pg->query('SELECT bool_and(jobq.is_asleep(q.id, m.last_value)) AND count(*) = '
	    . QUEUES . ' FROM jobq.queue q, jobq.sleepers m') eq 't';
}

# The statements, with profile=yes.
sub show_statements {
	my ($pg, $seconds) = @_;
	my @rows = split /\n/, $pg->query(<<'SQL');
SELECT calls, round(total_exec_time::numeric / calls, 3), round(total_plan_time::numeric / calls, 3), toplevel,
    regexp_replace(left(query, 100), '\s+', ' ', 'g')
FROM pg_stat_statements WHERE calls > 0 ORDER BY total_exec_time + total_plan_time DESC LIMIT 40
SQL
	note(sprintf '%8s/s %8s ms + plan %6s ms %s %s', number($_->[0] / $seconds), @$_[1, 2], $_->[3] eq 't' ? ' ' : ' …', $_->[4])
	    for map { [ split /\|/, $_, 5 ] } @rows;
	return;
}

sub measure {
	my ($pg, $d, $seconds) = @_;
	my $profile = (option('profile') // '') eq 'yes';
	$pg->query('CREATE EXTENSION pg_stat_statements') if $profile;
	my %processes = processes($pg, $d);
	my $before = transactions($pg);
	sleep 0.2;	# a session's numbers are there when it has ended
	my $own = transactions($pg) - $before;
	sleep 0.2;
	$pg->query('SELECT pg_stat_statements_reset()') if $profile;
	my $from = look($pg, %processes);
	sleep $seconds;
	my $to = look($pg, %processes);
	my $took = $to->{at} - $from->{at};
	show_statements($pg, $took) if $profile;
	my %now = processes($pg, $d);
	die "idle: processes came or went while it was measured; see the log of jobqd\n"
	    if "@{[sort @{ $now{jobqd} }]}" ne "@{[sort @{ $processes{jobqd} }]}";
	return {
		transactions => ($to->{transactions} - $from->{transactions} - $own) / $took,
		pss          => Bench::pss_of(@{ $processes{jobqd} }) / 1024,
		map {
			my $who = $_;
			($who => { map { $_ => ($to->{$who}{$_} - $from->{$who}{$_}) / $took } qw(cpu wakeups) })
		} keys %processes
	};
}

sub idle {
	-r '/proc/self/schedstat' or die "idle: /proc/self/schedstat is missing: run it on a Linux with CONFIG_SCHED_INFO\n";
	my $profile = (option('profile') // '') eq 'yes';
	my ($pg, $d) = Bench::stack(config(), pg => Bench::server($profile
	    ? (shared_preload_libraries => 'pg_stat_statements', 'pg_stat_statements.track' => 'all', 'pg_stat_statements.track_planning' => 'on')
	    : ()));
	wait_for { asleep($pg) } 'every leader to sleep';
	settle($pg);
	sleep SETTLE;
	# a minute, unless told otherwise: each round of the monitor is in it
	my ($seconds) = map { /^seconds=(\d+)$/ ? $1 : () } @ARGV;
	my $m = measure($pg, $d, $seconds || 60);
	result(name => 'idle: transactions', value => $m->{transactions}, unit => '/s', goal => '<= 1');
	result(name => '… CPU, jobqd and its backends', value => 100 * ($m->{jobqd}{cpu} + $m->{backends}{cpu}), unit => '%', goal => '<= 0.1',
	    note => sprintf 'jobqd %.3f, backends %.3f; the rest of PostgreSQL %.3f', map { 100 * $m->{$_}{cpu} } qw(jobqd backends server));
	result(name => '… wake-ups', value => $m->{jobqd}{wakeups} + $m->{backends}{wakeups}, unit => '/s',
	    note => sprintf 'jobqd %.1f, backends %.1f; the rest of PostgreSQL %.1f', map { $m->{$_}{wakeups} } qw(jobqd backends server));
	result(name => '… memory of jobqd, PSS', value => $m->{pss}, unit => 'MiB', goal => '<= 40');
	$d->stop;
	$pg->stop;
	return;
}

1;
