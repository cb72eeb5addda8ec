# How fast: draining, producing and consuming, enqueueing, latency.
package Bench::Speed;

use strict;
use warnings;

use Bench;
use Jobqd;

# What the seeds ask for: drain S1-37 (500 jobs a minute a worker), S1-41; enqueue
# and latency S1-38 (under 5 ms; a status under 1 ms: a job of a drain takes less).
our %commands = (
	drain    => { order => 1, run => \&drain, does => 'a backlog of no-op jobs through one worker process' },
	backlog  => { order => 2, run => \&backlog, does => 'the same out of ten times as many' },
	steady   => { order => 3, run => \&steady, does => 'produce and consume together' },
	snapshot => { order => 4, run => \&snapshot, does => 'the same beside an open snapshot' },
	enqueue  => { order => 5, run => \&enqueue, does => 'one at a time, and many' },
	policies => { order => 7, run => \&policies, does => 'the drain of queues with a limit, a key, shares, a breaker' },
	latency  => { order => 6, run => \&latency, does => 'from the call of enqueue to the start of the handler' },
	producers => { order => 8, run => \&producers, does => 'single jobs by several connections, while they run' },
);

my $noop = <<'YAML';
handlers: {null: {driver: noop}}
queues:
  work: {handler: null, workers: 1, concurrency: 50}
YAML

# The rows alone, in a database of their own on the same server.
sub limit {
	my ($pg, $what, @args) = @_;
	$pg->query('DROP DATABASE IF EXISTS rows');
	$pg->query('CREATE DATABASE rows TEMPLATE template0');
	my $url = $pg->url('rows');
	my ($status, undef, $err) = run_program([ jobqctl_program(), '--database', $url, 'migrate' ]);
	die "migrate: $err\n" if $status;
	my @lines;
	Bench::lines_of(sub { push @lines, $_[0] }, 'limit', $what, $url, @args);
	$pg->query('DROP DATABASE rows');
	return @lines;
}

# A queue that is full, its daemon ready and the queue paused.
sub full {
	my ($jobs, %o) = @_;
	my ($pg, $d) = Bench::stack($o{config} || $noop);
	$pg->query("SELECT jobq.pause('work')");
	seed($pg, 'work', $jobs, batch => 5000, bytes => $o{bytes} || 200);
	settle($pg);
	return ($pg, $d);
}

sub drain {
	my $jobs = option('jobs');
	my ($pg, $d) = full($jobs);
	my $cost = cost_of($pg, $d, sub { drained($pg, 'work', $jobs) });
	my ($rows) = limit($pg, 'drain', "jobs=$jobs", 'batch=500');
	result(name => "drain of @{[number($jobs)]}", value => $jobs / $cost->{value}, unit => 'jobs/s',
	    limit => $rows->{jobs} / $rows->{seconds});
	result(name => '… CPU per 100,000', value => ($cost->{daemon} + $cost->{server}) * 100_000 / $jobs, unit => 's',
	    note => sprintf 'jobqd %.2f, PostgreSQL %.2f', map { $cost->{$_} * 100_000 / $jobs } qw(daemon server));
	result(name => '… WAL a job, claim and end', value => $cost->{wal} / $jobs, unit => 'bytes');
	$d->stop;
	$pg->stop;
	return;
}

sub backlog {
	my $jobs = 10 * option('jobs');
	my %rate;
	for my $n (option('jobs'), $jobs) {
		my ($pg, $d) = full($n);
		$rate{$n} = $n / drained($pg, 'work', $n);
		$d->stop;
		$pg->stop;
	}
	result(name => "drain of @{[number($jobs)]}", value => $rate{$jobs}, unit => 'jobs/s',
	    note => sprintf '%.0f %% of the rate from %s, %s', 100 * $rate{$jobs} / $rate{ option('jobs') }, number(option('jobs')), number($rate{ option('jobs') }));
	return;
}

# Each of them alone and all together, beside a queue that has none, wide
# enough to hold nothing back: what it costs to ask.
sub policies {
	my $jobs = option('jobs');
	my @kinds = ([ none => '' ], [ limit => 'limits: [wide]' ], [ key => 'concurrency_key: data.user' ],
		[ fair => 'fair: data.kind' ], [ breaker => 'breaker: on' ]);
	my $plain;
	for my $kind (@kinds, [ all => join ', ', grep { length } map { $_->[1] } @kinds ]) {
		my ($name, $keys) = @$kind;
		my ($pg, $d) = full($jobs, config => <<"YAML");
handlers: {null: {driver: noop}}
limits: {wide: {rate: 10000000/s, concurrency: 100000}}
queues: {work: {handler: null, workers: 1, concurrency: 50@{[ $keys ? ", $keys" : '' ]}}}
YAML
		my $rate = $jobs / drained($pg, 'work', $jobs);
		$plain //= $rate;
		result(name => $name eq 'none' ? 'drain of a plain queue' : "… with $name", value => $rate, unit => 'jobs/s',
		    $name eq 'none' ? () : (limit => $plain, note => 'the limit is the plain queue'));
		$d->stop;
		$pg->stop;
	}
	return;
}

# The rates of the windows of a steady run.
sub windows {
	my ($pg, $seconds, $window) = @_;
	my @rates;
	Bench::load_lines(sub { push @rates, $_[0]{rate} }, 'steady', $pg, 'work', "seconds=$seconds", "window=$window");
	return @rates;
}

sub average {
	my $sum = 0;
	$sum += $_ for @_;
	return $sum / @_;
}

# A daemon, and tables that are not empty.
sub warm {
	my ($pg, $d) = Bench::stack($noop);
	seed($pg, 'work', 20_000);
	settle($pg);
	return ($pg, $d);
}

sub steady {
	my $seconds = option('seconds');
	my ($pg, $d) = warm();
	my $cost = cost_of($pg, $d, sub { average(windows($pg, $seconds, 5)) });
	$d->stop;
	my @limit = limit($pg, 'steady', 'seconds=10', 'window=5');
	result(name => 'produce and consume together', value => $cost->{value}, unit => 'jobs/s', limit => average(map { $_->{rate} } @limit));
	result(name => '… WAL a job, whole life', value => $cost->{wal} / ($cost->{value} * $seconds), unit => 'bytes');
	$pg->stop;
	return;
}

# Rows of the claims' path that vacuum may not remove yet.
sub dead_rows {
	my ($pg) = @_;
	return $pg->query(q{SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables WHERE relname ~ '^(job|turn|claim|attempt)_[0-9d]'});
}

# Twice the same run, so that both meet full buffers and checkpoints at the
# same age: without and with a snapshot held from its begin to its end.
sub snapshot {
	my $seconds = option('seconds');
	my (@clean, @held, $dead);
	for my $run (\@clean, \@held) {
		my ($pg, $d) = warm();
		my $session = $pg->session;
		$session->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class; SELECT txid_current()')
		    if $run == \@held;
		@$run = windows($pg, $seconds, 10);
		$dead = dead_rows($pg);
		$session->close;
		$d->stop;
		$pg->stop;
	}
	result(name => "beside a snapshot, $seconds s", value => average(@held), unit => 'jobs/s', limit => average(@clean),
	    note => 'the limit is the same run without', clean => \@clean, held => \@held);
	result(name => "… $_->[0] 10 s", value => $held[ $_->[1] ], unit => 'jobs/s', limit => $clean[ $_->[1] ])
	    for [ first => 0 ], [ last => -1 ];
	result(name => '… dead rows on the path of claims', value => $dead, unit => 'rows');
	return;
}

sub enqueue {
	my ($pg, $d) = Bench::stack("handlers: {null: {driver: noop}}\nqueues: {work: {handler: null}}\n");
	$pg->query("SELECT jobq.pause('work')");
	seed($pg, 'work', 20_000);
	settle($pg);
	my $one = load_json('one', $pg, 'work', 'jobs=3000');
	result(name => 'enqueue, one a transaction', value => 1e6 / $one->{enqueue_us}, unit => 'jobs/s',
	    limit => 1e6 / $one->{insert_us});
	result(name => '… beside an INSERT that tells no id', value => 1e6 / $one->{enqueue_us}, unit => 'jobs/s',
	    limit => 1e6 / $one->{insert_telling_nothing_us});
	settle($pg);
	my $many = load_json('many', $pg, 'work', 'jobs=' . option('jobs'), 'batch=5000');
	my ($rows) = limit($pg, 'many', 'jobs=' . option('jobs'), 'batch=5000');
	result(name => 'enqueue_many of 5,000', value => $many->{jobs} / $many->{seconds}, unit => 'jobs/s',
	    limit => $rows->{jobs} / $rows->{seconds});
	settle($pg);
	my $two = load_json('many', $pg, 'work', 'jobs=' . option('jobs'), 'batch=5000', 'producers=2');
	result(name => '… by two connections at once', value => $two->{jobs} / $two->{seconds}, unit => 'jobs/s');
	$d->stop;
	$pg->stop;
	return;
}

# Jobs one by one, each call in its own transaction; the limit: into a queue that
# is paused. Who notifies commits alone, so this is where it would show.
sub producers {
	my ($pg, $d) = Bench::stack($noop);
	my $jobs = 16 * int(option('jobs') / 160);	# each has as many
	for my $n (1, 4, 16) {
		my @args = ($pg, 'work', "jobs=$jobs", 'batch=1', "producers=$n");
		my $rate = sub { my $many = load_json('many', @args); $many->{jobs} / $many->{seconds} };
		$pg->query("SELECT jobq.pause('work')");
		my $limit = $rate->();
		drained($pg, 'work', $jobs);
		result(name => "single jobs by $n, that run meanwhile", value => $rate->(), unit => 'jobs/s', limit => $limit);
		settle($pg);
	}
	$d->stop;
	$pg->stop;
	return;
}

sub latency {
	my @load = ('rate=50', 'seconds=' . option('seconds'));
	my $queues = option('queues');
	my ($pg, $d) = Bench::stack($noop);
	my $l = load_json('latency', $pg, 'work', @load);
	$d->stop;
	my ($rows) = limit($pg, 'latency', @load);
	$pg->stop;
	result(name => "latency at 50/s, $_", value => $l->{ $_ . '_ms' }, unit => 'ms', limit => $rows->{ $_ . '_ms' }) for qw(p50 p95 p99 max);
	result(name => "… of the limit's p50 the INSERT", value => $rows->{insert_p50_ms}, unit => 'ms');
	($pg, $d) = Bench::stack($noop . join '', map { "  q$_: {handler: null, workers: 1}\n" } 1 .. $queues);
	$l = load_json('latency', $pg, 'work', @load);
	result(name => "… beside $queues queues that sleep, $_", value => $l->{ $_ . '_ms' }, unit => 'ms') for qw(p50 p99);
	$d->stop;
	$pg->stop;
	return;
}

1;
