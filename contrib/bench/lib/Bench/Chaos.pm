# The nine chaos and pressure scenarios of the public harness for PostgreSQL
# job queues (../harness/README.md), in seconds instead of minutes and without
# containers. Each has its own PostgreSQL, one or two nodes of jobqd and a
# load that goes on whatever happens.
package Bench::Chaos;

use strict;
use warnings;

use Bench;
use Jobqd;
use List::Util qw(first max sum0);
use Time::HiRes qw(time);

our %commands = (
	chaos => { order => 30, run => \&chaos, does => 'kills, restarts and pressure: is a job lost, how soon is all well' },
);

# Seconds since the load began; the harness has 30 60 60-240 60-240 for the
# four phases that end there.
my %until = (warmup => 3, baseline => 10, stress => 20, recovery => 28);

# How one is described: what it starts with (nodes, rate in jobs/s, workers a
# node, ms that a job takes: long enough that a kill meets some) and what
# happens: begin at the start of the stress, each at every half second of it,
# half after half of it, end at its end.
my @scenarios = (
	{ name => 'chaos_crash_recovery', nodes => 2, work_ms => 20, begin => \&kill_node, half => \&start_node },
	{ name => 'chaos_postgres_restart', begin => sub { $_[0]{pg}->stop }, half => sub { $_[0]{pg}->start } },
	{ name => 'chaos_repeated_kills', nodes => 2, work_ms => 20, each => \&kill_now_and_then, end => \&start_node },
	{ name => 'chaos_pg_backend_kill', begin => \&open_session, each => \&kill_backends, end => \&close_sessions },
	{ name => 'chaos_pool_exhaustion', begin => \&hold_connections, end => \&release_connections },
	{ name => 'idle_in_tx_saturation', rate => 800, begin => \&hold_transaction, end => \&close_sessions },
	{ name => 'sustained_high_load', rate => 800, begin => \&raise_load },
	{ name => 'active_readers', rate => 800, begin => \&start_readers, end => \&stop_readers },
	{ name => 'event_delivery_burst', rate => 1200, workers => 64, begin => \&raise_load },
);

sub chaos {
	my $wanted = option('scenario');
	my @run = grep { !defined $wanted || $_->{name} eq $wanted } @scenarios;
	if (!@run) {
		print STDERR "bench: there is no scenario $wanted: it is one of @{[map { $_->{name} } @scenarios]}\n";
		exit 2;
	}
	printf "%-24s %6s %6s %6s %8s %5s %6s %8s %8s %7s %6s\n", qw(scenario before during after recovery lost again
	    p99_ms slowest dead errors) unless option('json');
	my @lost;
	for my $scenario (@run) {
		my $r = run_scenario($scenario);
		report($r);
		push @lost, "$r->{lost} of $r->{jobs} jobs in $r->{name}" if $r->{lost};
	}
	return unless @lost;
	print STDERR "bench: lost ", join(', ', @lost), "\n";
	exit 1;
}

# One line: jobs/s before, during and after the stress, and seconds from its
# end until nine tenths of what was before; jobs lost, and given out again;
# the 99th percentile of the wait for a start during the stress, and the time
# that the slowest of all jobs took, in seconds, from enqueueing to its end;
# dead rows at the end of the stress; errors in the logs of jobqd.
sub report {
	my ($r) = @_;
	if (option('json')) {
		result(%$r, value => $r->{during}, unit => 'jobs/s');
	} else {
		printf "%-24s %6.0f %6.0f %6.0f %8s %5d %6d %8.1f %8.2f %7d %6d\n", $r->{name}, @$r{qw(before during after)},
		    defined $r->{recovery} ? sprintf('%.1f', $r->{recovery}) : 'never', @$r{qw(lost again p99_ms slowest dead errors)};
	}
	note($r->{note} =~ s{^ }{}r) if $r->{note};
	STDOUT->flush;
	return;
}

sub run_scenario {
	my ($scenario) = @_;
	my $s = { nodes => 1, rate => 600, workers => 32, work_ms => 1, %$scenario, note => '', offered => [] };
	for (qw(rate work_ms)) { $s->{$_} = option($_) if defined option($_) }
	start($s);
	my $lines = offer($s);
	my $r = { name => $s->{name}, speed($s, $lines), accounts($s), note => $s->{note} };
	$_->running && $_->stop for @{ $s->{daemons} };
	$r->{errors} = grep { /^\S+ error / } map { split /\n/, $_->log } @{ $s->{daemons} };
	unlink $_->{log} for $r->{lost} ? () : @{ $s->{daemons} };
	$s->{pg}->stop;
	return $r;
}

# The harness' own sizes. The lease is shortened as all else is.
sub start {
	my ($s) = @_;
	$s->{pg} = Bench::server(max_connections => 400, shared_buffers => '256MB');
	my $lease = option('lease') || '5s';
	my $config = <<"YAML";
handlers: {null: {driver: noop}}
queues:   {work: {handler: null, workers: 1, concurrency: $s->{workers}, lease: $lease}}
YAML
	for my $name ((qw(a b))[0 .. $s->{nodes} - 1]) {
		my (undef, $d) = Bench::stack($config, pg => $s->{pg}, name => $name);
		push @{ $s->{daemons} }, $d;
	}
	return;
}

# The load from begin to end; its lines are the clock of what happens.
sub offer {
	my ($s) = @_;
	my (@lines, $half);
	my $phase = 'before';
	Bench::load_lines(sub {
		my ($line) = @_;
		return push @{ $s->{offered} }, $line unless defined $line->{at};
		push @lines, $line;
		my $at = $s->{at} = $line->{at};
		if ($phase eq 'before' && $at >= $until{baseline}) {
			$phase = 'stress';
			$s->{began} = time;
			$s->{begin}->($s) if $s->{begin};
		} elsif ($phase eq 'stress' && $at >= $until{stress}) {
			$phase = 'after';
			$s->{end}->($s) if $s->{end};
			$s->{dead} = dead_rows($s);
			$s->{ended} = time;
			$s->{over} //= $at;
		} elsif ($phase eq 'stress') {
			$s->{each}->($s) if $s->{each};
			if ($s->{half} && $at >= ($until{baseline} + $until{stress}) / 2 && !$half++) {
				$s->{half}->($s);
				$s->{over} = $at;
			}
		}
	}, 'offer', $s->{pg}, 'work', "rate=$s->{rate}", "seconds=$until{recovery}", "sleep_ms=$s->{work_ms}", 'bytes=256');
	return \@lines;
}

# There may be no connection left for a moment.
sub dead_rows {
	my ($s) = @_;
	my ($status, $n);
	wait_for {
		($status, $n) = $s->{pg}->try_query("SELECT sum(n_dead_tup) FROM pg_stat_user_tables WHERE schemaname = 'jobq'");
		$status == 0;
	} 'a connection';
	return $n;
}

# How many had completed at a moment, by the last line that knows.
sub completed_at {
	my ($lines, $at) = @_;
	my $line = (grep { $_->{completed} >= 0 && $_->{at} <= $at + 0.1 } @$lines)[-1];
	return ($line->{completed}, $line->{at});
}

# What the harness calls chaos_recovery_time_s: till the rate of a window is
# nine tenths of the one before; here from the moment that the fault is gone.
sub speed {
	my ($s, $lines) = @_;
	my %n = map { $_ => [ completed_at($lines, $until{$_}) ] } keys %until;
	my $rate = sub {
		my ($from, $to) = map { $n{$_} } @_;
		return ($to->[0] - $from->[0]) / max(0.1, $to->[1] - $from->[1]);
	};
	my %r = (before => $rate->('warmup', 'baseline'), during => $rate->('baseline', 'stress'),
	    after => $rate->('stress', 'recovery'));
	my ($count, $at) = completed_at($lines, $s->{over});
	for my $line (grep { $_->{at} > $s->{over} && $_->{completed} >= 0 } @$lines) {
		if ($line->{completed} - $count >= 0.9 * $r{before} * ($line->{at} - $at)) {
			$r{recovery} = $line->{at} - $s->{over};
			last;
		}
		($count, $at) = @$line{qw(completed at)};
	}
	return %r;
}

# Every job that was accepted, and what became of it. The waiting is for as
# long as a lost node's leases last, and some more.
sub accounts {
	my ($s) = @_;
	my $pg = $s->{pg};
	waitpid $_, 0 for @{ $s->{raised} || [] };
	push @{ $s->{offered} }, (json_lines($s->{raised_to}))[-1] if $s->{raised_to};
	eval {
		wait_for { $pg->query("SELECT ready + running + retrying + scheduled FROM jobq.queues WHERE name = 'work'") == 0 } 'the last jobs';
	} or $s->{note} .= ' some jobs were not done a minute after the load;';
	my $accepted = sum0 map { $_->{enqueued} } @{ $s->{offered} };
	my $unsure = sum0 map { $_->{unsure} } @{ $s->{offered} };
	my ($jobs, $done) = split /\|/, $pg->query("SELECT count(*), count(*) FILTER (WHERE state = 'completed') FROM jobq.jobs WHERE queue = 'work'");
	my ($again, $slowest, $p99) = split /\|/, $pg->query(<<"SQL");
SELECT count(*) FILTER (WHERE a.attempt > 1), max(extract(epoch FROM a.finished_at - j.created_at)),
    coalesce(1000 * percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM a.started_at - j.created_at))
        FILTER (WHERE j.created_at BETWEEN to_timestamp($s->{began}) AND to_timestamp($s->{ended})), 0)
FROM jobq.attempts a JOIN jobq.job j ON j.id = a.job_id WHERE a.outcome = 'completed'
SQL
	my $refused = sum0 map { $_->{refused} } @{ $s->{offered} };
	$s->{note} .= sprintf ' %s jobs accepted', number($accepted);
	$s->{note} .= sprintf ', %s not offered or refused', number($refused) if $refused;
	$s->{note} .= ", $unsure without an answer, @{[$jobs - $accepted]} of them stored" if $unsure;
	return (jobs => 0 + $jobs, lost => max(0, $accepted - $jobs) + $jobs - $done, again => 0 + $again,
	    slowest => 0 + $slowest, p99_ms => 0 + $p99, dead => 0 + $s->{dead}, refused => $refused, unsure => $unsure);
}

#----------------------------------------------------------------------
# What happens

# As a container is killed: all of its processes in the same moment.
sub kill_node {
	my ($s) = @_;
	my $d = $s->{daemons}[0];
	return unless $d->running;
	$d->vanish;
	wait_for { !$d->running } 'the end of a killed node';
	return;
}

sub start_node {
	my ($s) = @_;
	$s->{daemons}[0]->start(ready => 0) unless $s->{daemons}[0]->running;
	return;
}

# Every three seconds, and back a second later.
sub kill_now_and_then {
	my ($s) = @_;
	my $part = ($s->{at} - $until{baseline}) / 3;
	my $n = int $part;
	if ($n > ($s->{kills} || 0)) {
		$s->{kills} = $n;
		kill_node($s);
	} elsif ($part - $n > 0.3) {
		start_node($s);
	}
	return;
}

sub open_session {
	my ($s) = @_;
	push @{ $s->{sessions} }, $s->{pg}->session;
	return $s->{sessions}[-1];
}

sub close_sessions {
	my ($s) = @_;
	$_->close for @{ delete $s->{sessions} };
	$s->{note} .= " $s->{killed} connections were terminated;" if defined $s->{killed};
	return;
}

# Each that does something in that moment. The load's own are among them.
sub kill_backends {
	my ($s) = @_;
	$s->{killed} += $s->{sessions}[0]->query("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
	    . " WHERE datname = 'jobq' AND pid <> pg_backend_pid() AND state IN ('active', 'idle in transaction')");
	return;
}

sub hold_connections {
	my ($s) = @_;
	my $says = temp_directory() . '/held';
	$s->{holder} = Jobqd::background([ Bench::tool('load', 'hold', $s->{pg}->url, option('connections') || 300) ], log => $says);
	wait_for { slurp($says) =~ /\n/ } 'the connections';
	$s->{note} .= " $1 connections were held;" if slurp($says) =~ /(\d+)/;
	return;
}

sub release_connections {
	my ($s) = @_;
	kill 'TERM', $s->{holder};
	return;
}

sub hold_transaction {
	my ($s) = @_;
	open_session($s)->query('BEGIN; SELECT pg_current_xact_id()');
	return;
}

# Half as much again, by a second load.
sub raise_load {
	my ($s) = @_;
	$s->{raised_to} = temp_directory() . '/offered';
	push @{ $s->{raised} }, Jobqd::background([ Bench::tool('load', 'offer', $s->{pg}->url, 'work', 'rate=' . $s->{rate} / 2,
	    'seconds=' . ($until{stress} - $until{baseline}), "sleep_ms=$s->{work_ms}", 'bytes=256') ], log => $s->{raised_to});
	return;
}

# Four transactions that look at one snapshot all the time.
sub start_readers {
	my ($s) = @_;
	open_session($s)->send('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM jobq.job \watch 0.1') for 1 .. 4;
	return;
}

sub stop_readers {
	my ($s) = @_;
	kill 'TERM', map { $_->{pid} } @{ $s->{sessions} };
	return close_sessions($s);
}

1;
