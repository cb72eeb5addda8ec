# How fast: draining, producing and consuming, enqueueing, latency.
package Bench::Speed;

use strict;
use warnings;

use Bench;
use Jobqd;

our %commands = (
	drain    => { order => 1, run => \&drain, does => 'a backlog of no-op jobs through one worker process' },
	steady   => { order => 3, run => \&steady, does => 'produce and consume together' },
	enqueue  => { order => 5, run => \&enqueue, does => 'one at a time, and many' },
	latency  => { order => 6, run => \&latency, does => 'from the call of enqueue to the start of the handler' },
);

my $noop = <<'YAML';
handlers: {null: {driver: noop}}
queues:   {work: {handler: null, workers: 1, concurrency: 50}}
YAML

# The rows alone, in a database of their own on the same server.
sub rows {
	my ($pg, @args) = @_;
	$pg->query('DROP DATABASE IF EXISTS rows');
	$pg->query('CREATE DATABASE rows TEMPLATE template0');
	my $url = $pg->url('rows');
	my ($status, undef, $err) = run_program([ jobqctl_program(), '--database', $url, 'migrate' ]);
	die "migrate: $err\n" if $status;
	my @lines;
	Bench::load_lines(sub { push @lines, $_[0] }, 'rows', $url, @args);
	$pg->query('DROP DATABASE rows');
	return @lines;
}

sub drain {
	my $jobs = option('jobs');
	my ($pg, $d) = Bench::stack($noop);
	$pg->query("SELECT jobq.pause('work')");
	seed($pg, 'work', $jobs, batch => 5000);
	settle($pg);
	my $cost = cost_of($pg, $d, sub { drained($pg, 'work', $jobs) });
	my ($rows) = rows($pg, 'drain', "jobs=$jobs", 'batch=500');
	result(name => "drain of @{[number($jobs)]}", value => $jobs / $cost->{value}, unit => 'jobs/s',
	    limit => $rows->{jobs} / $rows->{seconds});
	result(name => '… CPU per 100,000', value => ($cost->{daemon} + $cost->{server}) * 100_000 / $jobs, unit => 's',
	    note => sprintf 'jobqd %.2f, PostgreSQL %.2f', map { $cost->{$_} * 100_000 / $jobs } qw(daemon server));
	result(name => '… WAL a job, claim and end', value => $cost->{wal} / $jobs, unit => 'bytes');
	$d->stop;
	$pg->stop;
	return;
}

sub steady {
	my $seconds = option('seconds');
	my ($pg, $d) = Bench::stack($noop);
	seed($pg, 'work', 20_000);	# statistics of tables that are not empty
	settle($pg);
	my @windows;
	my $cost = cost_of($pg, $d, sub {
		Bench::load_lines(sub { push @windows, $_[0] }, 'steady', $pg, 'work', "seconds=$seconds", 'window=5');
		return 0;
	});
	my $rate = 0;
	$rate += $_->{rate} / @windows for @windows;
	$d->stop;
	my @limit = rows($pg, 'steady', "seconds=10", 'window=5');
	result(name => 'produce and consume together', value => $rate, unit => 'jobs/s', limit => $limit[-1]{rate});
	result(name => '… WAL a job, whole life', value => $cost->{wal} / ($rate * $seconds), unit => 'bytes');
	$pg->stop;
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
	settle($pg);
	my $many = load_json('many', $pg, 'work', 'jobs=' . option('jobs'), 'batch=5000');
	my ($rows) = rows($pg, 'many', 'jobs=' . option('jobs'), 'batch=5000');
	result(name => 'enqueue_many of 5,000', value => $many->{jobs} / $many->{seconds}, unit => 'jobs/s',
	    limit => $rows->{jobs} / $rows->{seconds});
	$d->stop;
	$pg->stop;
	return;
}

sub latency {
	my ($pg, $d) = Bench::stack($noop);
	my $l = load_json('latency', $pg, 'work', 'rate=50', 'seconds=' . option('seconds'));
	result(name => "latency at 50/s, $_", value => $l->{ $_ . '_ms' }, unit => 'ms') for qw(p50 p95 p99 max);
	$d->stop;
	$pg->stop;
	return;
}

1;
