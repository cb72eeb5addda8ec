# How it holds many slow jobs at once, and how soon it is back after a crash.
package Bench::Reaction;

use strict;
use warnings;

use Bench;
use Jobqd;
use Time::HiRes qw(sleep time);

our %commands = (
	webhooks => { order => 12, run => \&webhooks, does => 'signed webhooks to a server that answers after 100 ms' },
	mails    => { order => 12, run => \&mails, does => 'mails by one worker to smtp-sink, connections kept and not' },
	crash    => { order => 13, run => \&crash, does => 'from the death of a worker to the second start of its jobs' },
);

my $runs = 3;		# of each measure; the median counts

sub median {
	my @sorted = sort { $a <=> $b } @_;
	return $sorted[ $#sorted / 2 ];
}

#
# webhooks
#

my $slots = 500;

sub delay_ms { return option('delay_ms') || 100 }

# A server that answers late, on a port of loopback.
sub slow_server {
	my $port = free_port();
	background([ Bench::tool('serve', $port, "delay_ms=" . delay_ms()) ]);
	wait_port($port);
	return $port;
}

# As an application enqueues them: each with its address, event, secret, payload.
sub seed_webhooks {
	my ($pg, $port, $jobs) = @_;
	$pg->query(<<"SQL");
SELECT jobq.enqueue_many('hooks', jsonb_agg(jsonb_build_object('type', 'webhook', 'data', jsonb_build_object(
	'url', 'http://127.0.0.1:$port/hooks/' || i % 100, 'eventType', 'message.received',
	'secret', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
	'payload', jsonb_build_object('message', i, 'from', md5(i::text), 'to', md5(i::text), 'text', repeat(md5(i::text), 5))))))
FROM generate_series(1, $jobs) i;
SQL
	return;
}

# The most that a process ever had in memory, in KiB.
sub peak_of {
	my ($pid) = @_;
	return slurp("/proc/$pid/status") =~ /^VmHWM:\s+(\d+)/m ? $1 : 0;
}

# One drain, by a worker that has not run anything before.
sub drain_webhooks {
	my ($pg, $port, $jobs) = @_;
	my (undef, $d) = Bench::stack(<<"YAML", pg => $pg);
handlers: {hook: {driver: http, sign: {scheme: standard-webhooks, secret: "{{data.secret}}"}, allow_private: true}}
queues:   {hooks: {handler: hook, workers: 1, concurrency: $slots, recycle: {jobs: 0}}}
YAML
	$pg->query("SELECT jobq.pause('hooks')");
	seed_webhooks($pg, $port, $jobs);
	settle($pg);
	my ($worker) = $d->pids(qr{worker hooks/0});
	my $cpu = Bench::cpu_of($worker);
	my $cost = cost_of($pg, $d, sub { drained($pg, 'hooks', $jobs) });
	$cost->{worker} = Bench::cpu_of($worker) - $cpu;
	$cost->{peak} = peak_of($worker);
	$cost->{pss} = Bench::pss_of($d->{pid}, process_tree($d->{pid}));
	my $dead = $pg->query("SELECT count(*) FROM jobq.jobs WHERE state <> 'completed'");
	die "$dead of the webhooks did not arrive\n" if $dead;
	$d->stop;
	return $cost;
}

sub webhooks {
	my $jobs = option('webhooks') || 5_000;
	my $port = slow_server();
	my $pg = Bench::server();
	my @costs = map { drain_webhooks($pg, $port, $jobs) } 1 .. $runs;
	my $middle = sub { my ($key) = @_; median(map { $_->{$key} } @costs) };
	result(name => 'webhooks of ' . delay_ms() . " ms, $slots at once", value => $jobs / $middle->('value'), unit => 'jobs/s',
	    limit => $slots * 1000 / delay_ms(), note => 'limit: nothing but the waiting', goal => '>= 4000');
	result(name => '… the worker\'s peak', value => $middle->('peak') / 1024, unit => 'MiB', goal => '<= 60');
	result(name => '… all processes after it, shared', value => $middle->('pss') / 1024, unit => 'MiB');
	result(name => "… CPU of @{[number($jobs)]}", value => $middle->('daemon') + $middle->('server'), unit => 's',
	    note => sprintf 'worker %.2f, all of jobqd %.2f, PostgreSQL %.2f', map { $middle->($_) } qw(worker daemon server));
	$pg->stop;
	return;
}

#
# mails
#

# One drain of small mails, by one worker.
sub drain_mails {
	my ($pg, $port, $jobs, $more) = @_;
	my (undef, $d) = Bench::stack(<<"YAML", pg => $pg);
handlers: {mail: {driver: email, from: noreply\@example.com, server: "smtp://127.0.0.1:$port"$more}}
queues:   {mail: {handler: mail, workers: 1, recycle: {jobs: 0}}}
YAML
	$pg->query("SELECT jobq.pause('mail')");
	$pg->query(<<"SQL");
SELECT jobq.enqueue_many('mail', jsonb_agg(jsonb_build_object('type', 'mail', 'data', jsonb_build_object(
	'to', 'user' || i || '\@example.com', 'subject', 'mail ' || i, 'text', repeat('hello ', 20)))))
FROM generate_series(1, $jobs) i;
SQL
	settle($pg);
	my $cost = cost_of($pg, $d, sub { drained($pg, 'mail', $jobs) });
	my $dead = $pg->query("SELECT count(*) FROM jobq.jobs WHERE state <> 'completed'");
	die "$dead of the mails did not arrive\n" if $dead;
	$d->stop;
	return $cost->{value};
}

sub mails {
	my $jobs = option('mails') || 5_000;
	my ($sink) = grep { -x } '/usr/sbin/smtp-sink', '/usr/lib/postfix/sbin/smtp-sink';
	die "smtp-sink is missing: apt-get install postfix\n" unless $sink;
	my $port = free_port();
	background([ $sink, ($> == 0 ? ('-u', 'nobody') : ()), "127.0.0.1:$port", 100 ]);
	wait_port($port);
	my $pg = Bench::server();
	for ([ 'mails by one worker', '' ], [ '… a connection for each', ', connection_mails: 1' ]) {
		my ($name, $more) = @$_;
		result(name => $name, value => $jobs / median(map { drain_mails($pg, $port, $jobs, $more) } 1 .. $runs), unit => 'jobs/s');
	}
	$pg->stop;
	return;
}

#
# crash
#

# Start jobs that sleep, kill all workers, and see when the first so many of
# the jobs began anew: milliseconds from before the first signal, in order. The
# start is the one that is stored with the second attempt, which a cancel ends.
sub kill_workers {
	my ($pg, $d, $queue, $jobs, $again) = @_;
	my $ids = join ',', split /\n/, $pg->query(
		"SELECT jobq.enqueue('$queue', 'nap', '{\"sleep_ms\": 60000}') FROM generate_series(1, $jobs)");
	my @pids = $d->pids(qr{worker $queue/});
	my $title = @pids == 1 && $jobs > 1 ? qr{worker $queue/\d+ $jobs jobs} : qr{worker $queue/\d+ job };
	wait_for { $d->pids($title) == @pids } 'the jobs to run';
	# Until the leader is as idle as it gets, and no worker so young that its
	# death would count as that of one which cannot run at all.
	sleep 1.5;
	my $here = join '|', @pids;
	my $at = time;
	kill 'KILL', @pids;
	wait_for { (grep { !/^(?:$here)$/ } $d->pids(qr{worker $queue/\d+ job })) == @pids } 'the jobs to run again';
	# Those that wait for one that runs alone are cancelled before they begin.
	$pg->query("SELECT jobq.cancel(id) FROM unnest(ARRAY[$ids]::bigint[]) id");
	wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE id IN ($ids) AND state = 'cancelled'") == $jobs } 'the cancels';
	my @starts = split /\n/, $pg->query(<<"SQL");
SELECT extract(epoch FROM started_at) FROM jobq.attempts
WHERE job_id IN ($ids) AND attempt = 2 AND worker IS NOT NULL ORDER BY started_at LIMIT $again
SQL
	die "only @{[scalar @starts]} of $again jobs ran again\n" if @starts < $again;
	return map { 1000 * ($_ - $at) } @starts;
}

# A job that was alone is charged with the crash and waits as its policy says:
# here not at all.
sub crash {
	my ($pg, $d) = Bench::stack(<<"YAML");
handlers: {null: {driver: noop}}
retry:    {default: {attempts: 100, backoff: fixed, base: 0s, jitter: 0%, max_crashes: 0}}
queues:
  one:  {handler: null, workers: 1, concurrency: 1}
  many: {handler: null, workers: 1, concurrency: 20}
  team: {handler: null, workers: 20, concurrency: 1}
YAML
	for my $case (
		[ one  => 1,  1,  'crash: its only job again' ],
		[ many => 20, 1,  'crash with 20 jobs: the first again' ],
		[ team => 20, 20, '20 crashes of 1 job: the last again' ],
	) {
		my ($queue, $jobs, $again, $name) = @$case;
		my @ms = map { (kill_workers($pg, $d, $queue, $jobs, $again))[-1] } 1 .. (option('runs') || 5);
		result(name => $name, value => median(@ms), unit => 'ms', goal => '<= 50',
		    note => 'each ' . join ' ', map { sprintf '%.1f', $_ } @ms);
	}
	$d->stop;
	$pg->stop;
	return;
}

1;
