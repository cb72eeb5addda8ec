# The master and its processes: what dies is replaced, what hangs is killed,
# what fails again and again is started ever more slowly, and nothing that a
# worker left behind survives it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Toy;
use Test::More;

my $config = <<'YAML';
handlers: {null: {driver: noop}}
queues:
  a: {handler: null, workers: 3, cancel: {grace: 1s}}
  b: {handler: null, workers: 2, cancel: {grace: 1s}}
YAML

my $d = Toy->new(config => $config);
$d->start;
my %titles = $d->processes;
is $titles{ $d->{pid} }, "jobqd: master ($d->{conf})", "the master's title";
$d->wait_pids(qr/^jobqd: worker [ab]\/\d$/, 5);
%titles = $d->processes;
is_deeply [ sort grep { !/master/ } values %titles ],
    [ 'jobqd: monitor', 'jobqd: queue a', 'jobqd: queue b', 'jobqd: scheduler',
	map({ "jobqd: worker a/$_" } 0 .. 2), map({ "jobqd: worker b/$_" } 0 .. 1) ], 'all others';

# Descriptors: 0 1 2 and the channel, in every process; none of the master's.
for my $pid (grep { $titles{$_} =~ /worker/ } keys %titles) {
	is join(' ', $d->descriptors($pid)), '0 1 2 3', "descriptors of $titles{$pid}";
}
my ($leader) = $d->pids(qr/^jobqd: queue a/);
ok !(grep { readlink("/proc/$leader/fd/$_") =~ /jobqd\.pid/ } $d->descriptors($leader)),
    'no child holds the pid file';

# Hints find their way: IDLE to the scheduler, FOUND back as WAKE; what it heard, to all.
wait_for { $d->heard =~ /^sched idle a 1$/m && $d->heard =~ /^pool\.a wake 1$/m } 'a hint from the scheduler';
for my $who ('pool.a', 'pool.b', 'monitor') {
	wait_for { $d->heard =~ /^$who heard \*toy$/m } "what the scheduler heard to come to $who";
}
# S2-1: the parts of the service, and what they say to each other.
like $d->heard, qr/^pool\.a looking 1$/m, 'leaders know that somebody looks';

# A worker dies: the same slot again, at once, and nothing of it is left.
$d->does('worker.b' => 'brood');
my ($victim) = $d->pids(qr/^jobqd: worker b\/1/);
kill 'KILL', $victim;
my ($mother) = wait_for { my @p = grep { $_ != $victim } $d->pids(qr/^jobqd: worker b\/1$/); $p[0] } 'its successor';
my @brood = $d->wait_pids(qr/^brood/, 3);
$d->does('worker.b' => '');
kill 'KILL', $mother;
wait_for { !alive(@brood) } 'the brood to be killed with its mother';
$d->wait_pids(qr/^jobqd: worker b\//, 2);
pass 'and the worker is back (S0-44, S1-50)';

# A hundred more, all at once: none missing in the end.
for (1 .. 20) {
	kill 'KILL', $d->pids(qr/^jobqd: worker/);
}
$d->wait_pids(qr/^jobqd: worker/, 5);

# A leader dies: its workers finish first, and the new one waits for room.
$d->does('worker.a' => 'linger');
spew("$d->{toy}/linger", '');
kill 'KILL', $d->pids(qr/^jobqd: worker a/);
wait_for { my %p = $d->processes; 3 == grep { $p{$_} =~ /worker a/ && $_ } keys %p } 'lingering workers';
my @old = $d->wait_pids(qr/^jobqd: worker a/, 3);
my $from = length $d->heard;
($leader) = $d->pids(qr/^jobqd: queue a/);
kill 'KILL', $leader;
wait_for { my ($p) = $d->pids(qr/^jobqd: queue a/); $p && $p != $leader } 'a new leader';
wait_for { substr($d->heard, $from) =~ /^pool\.a size 0$/m } 'the new leader to hear of no room';
is_deeply [ $d->pids(qr/^jobqd: worker a/) ], \@old, 'the old workers finish, no others are made';
like substr($d->heard, $from), qr/^monitor orphaned$/m, 'the monitor keeps their leases';
unlike substr($d->heard, $from), qr/^monitor gone$/m, 'and does not take them back yet';
$d->does('worker.a' => '');
unlink "$d->{toy}/linger";
wait_for { substr($d->heard, $from) =~ /^monitor gone$/m } 'the monitor to hear that they have gone';
wait_for { substr($d->heard, $from) =~ /^pool\.a size 3$/m } 'room for the new ones';
$d->wait_pids(qr/^jobqd: worker a/, 3);

# One that answers no PING is killed and replaced.
$d->does(sched => 'deaf');
my ($sched) = $d->pids(qr/^jobqd: scheduler/);
kill 'KILL', $sched;
$d->wait_log(qr/process hangs name=scheduler/);
$d->does(sched => '');
wait_for { $d->log =~ /process hangs.*process ready name=scheduler/s } 'a scheduler that answers';
like $d->heard, qr/^pool\.a looking 0$/m, 'leaders heard that nobody looked';

# One that answers late is not relied on meanwhile.
$d->does(sched => 'dozes');
$from = $d->log_size;
my $said = length $d->heard;
kill 'KILL', $d->pids(qr/^jobqd: scheduler/);
wait_for { join('', substr($d->heard, $said) =~ /^pool\.a looking (.)$/mg) =~ /^0101/ } 'leaders to hear of the next one that it looks, not, and does again';
unlike $d->log($from), qr/process hangs/, 'nobody looks while one answers late';
$d->does(sched => '');

# One that fails at once, again and again, is started ever more slowly.
$d->does('pool.b' => 'exit 1');
$from = $d->log_size;
kill 'KILL', $d->pids(qr/^jobqd: queue b/);
$d->wait_log(qr/process failed name="queue b".* again_ms=320/, $from);
my @delays = $d->log($from) =~ /process failed name="queue b".* again_ms=(\d+)/g;
is "@delays[0 .. 4]", '20 40 80 160 320', 'delays double';
$d->does('pool.b' => '');
$d->wait_pids(qr/^jobqd: worker b/, 2);

# Status 2 means: not again with this configuration.
$d->does('pool.b' => 'exit 2');
kill 'KILL', $d->pids(qr/^jobqd: queue b/);
$d->wait_log(qr/process refuses to run name="queue b"/);
is $d->count(qr/^jobqd: queue b/), 0, 'it stays away';
$d->does('pool.b' => '');

# A worker that gives up at once is slowed down, but not the others.
$from = $d->log_size;
$d->does('worker.a' => 'exit 1');
($victim) = $d->pids(qr/^jobqd: worker a\/2/);
kill 'KILL', $victim;
$d->wait_log(qr/worker failed name="?worker a\/2.* again_ms=80/, $from);
is $d->count(qr/^jobqd: worker a\/[01]/), 2, 'the other slots work on';
$d->does('worker.a' => '');
$d->wait_pids(qr/^jobqd: worker a/, 3);

# Nonsense on a channel costs the one who says it.
$d->does('monitor' => 'chatter');
kill 'KILL', $d->pids(qr/^jobqd: monitor/);
$d->wait_log(qr/process speaks nonsense name=monitor/);
$d->does('monitor' => '');
$d->wait_pids(qr/^jobqd: monitor/, 1);

# The master itself: with it goes everybody.
my @all = process_tree($d->{pid});
kill 'KILL', $d->{pid};
wait_for { !alive(@all) } 'all others to go', 2;
pass 'kill -9 of the master leaves nobody after two seconds';
$d->running;
done_testing;
