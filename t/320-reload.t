# Reload by generations: what did not change is left alone, what is wrong is
# refused as a whole, old and new together are never too many, and a storm of
# reloads gains no descriptor.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Toy;
use Test::More;

sub config {
	my (%queues) = @_;
	return "handlers: {null: {driver: noop}}\nqueues:\n" . join '', map {
		"  $_: {handler: null, $queues{$_}, cancel: {grace: 1s}}\n"
	} sort keys %queues;
}

my $d = Toy->new(config => config(a => 'workers: 2', b => 'workers: 2'));
$d->start;
$d->wait_pids(qr/^jobqd: worker/, 4);

# Reload and wait for what the log says of it.
sub reload {
	my ($pattern) = @_;
	my $from = $d->log_size;
	$d->signal('HUP');
	return $d->wait_log($pattern, $from);
}

# Wait until there is one generation: these workers of each queue, one leader
# each, and one of each of the others, which have come since the last reload.
sub settle {
	my (%workers) = @_;
	my %want = ('scheduler' => 1, 'monitor' => 1, 'master' => 1);
	for my $queue (keys %workers) {
		$want{"queue $queue"} = 1;
		$want{"worker $queue"} = $workers{$queue};
	}
	wait_for {
		my %p = $d->processes;
		my %have;
		$have{ /^jobqd: (\w+(?: [a-z](?![a-z]))?)/ ? $1 : $_ }++ for values %p;
		my ($since) = $d->log =~ /.*: reloaded generation=(.*)/s;
		join(',', map { "$_=$have{$_}" } sort keys %have) eq join(',', map { "$_=$want{$_}" } sort keys %want)
		    && $since =~ /ready name=scheduler/ && $since =~ /ready name=monitor/;
	} 'one generation';
}

my @before = $d->pids(qr/^jobqd: /);
reload(qr/: reload changed=nothing/);
is_deeply [ $d->pids(qr/^jobqd: /) ], \@before, 'nothing changed, nothing is disturbed';

# One queue changes, one comes.
my @a = $d->pids(qr/^jobqd: (queue|worker) a/);
my @b = $d->pids(qr/^jobqd: (queue|worker) b/);
$d->configure(config(a => 'workers: 2', b => 'workers: 3', c => 'workers: 1'));
reload(qr/: reloaded generation=/);
wait_for { my %p = $d->processes; !grep { exists $p{$_} } @b } 'the old generation to drain';
$d->wait_pids(qr/^jobqd: worker b/, 3);
$d->wait_pids(qr/^jobqd: worker c/, 1);
is_deeply [ $d->pids(qr/^jobqd: (queue|worker) a/) ], \@a, 'the unchanged queue kept its processes (S0-20)';
# S0-73, S1-59: more workers for a queue, by a reload.
like $d->log, qr/queue changed queue=b/, 'the log names the changed queue';
like $d->log, qr/queue added queue=c/, 'and the new one';

# One goes.
$d->configure(config(a => 'workers: 2', b => 'workers: 3'));
reload(qr/queue removed queue=c/);
wait_for { !$d->count(qr/^jobqd: (queue|worker) c/) } 'the removed queue to go';

# A broken file: every mistake is named, everything stays.
settle(a => 2, b => 3);
@before = $d->pids(qr/^jobqd: /);
my $from = $d->log_size;
$d->configure("handlers: {null: {driver: noop}}\nqueues:\n  a: {handler: nul, workes: 2}\n");
reload(qr/reload refused reason=.*jobqd\.yml:3:/);
wait_for { 2 <= (() = $d->log($from) =~ /reload refused reason=.*:3:\d+:/g) } 'both mistakes';
is_deeply [ $d->pids(qr/^jobqd: /) ], \@before, 'a broken file disturbs nothing';

# Keys that only a restart can change.
$d->configure(config(a => 'workers: 2', b => 'workers: 3')
    . "daemon: {node: node, pid_file: $d->{dir}/other.pid, shutdown_timeout: 10s}\n");
like reload(qr/reload refused/), qr/need a restart: .*pid_file/, 'a change that needs a restart is refused';
is_deeply [ $d->pids(qr/^jobqd: /) ], \@before, 'and disturbs nothing';

# A setup that fails.
$d->does(setup => 'exit 2');
$d->configure(config(a => 'workers: 1', b => 'workers: 3'));
like reload(qr/reload refused/), qr/status 2/, 'a database that refuses the new configuration';
is_deeply [ $d->pids(qr/^jobqd: /) ], \@before, 'the old one goes on';
$d->does(setup => '');
reload(qr/: reloaded generation=/);
$d->wait_pids(qr/^jobqd: worker a/, 1);

# Old ones that linger take room from the new: never more than the size.
$d->does('worker.b' => 'linger');
spew("$d->{toy}/linger", '');
my %old = map { $_ => 1 } $d->pids(qr/^jobqd: worker b/);
$d->configure(config(a => 'workers: 1', b => 'workers: 4'));
reload(qr/: reloaded generation=/);
wait_for { my @p = $d->pids(qr/^jobqd: worker b/); @p == 4 && !grep { $old{$_} } @p } 'four new workers';
my %lingering = map { $_ => 1 } $d->pids(qr/^jobqd: worker b/);
settle(a => 1, b => 4);
my ($leader) = $d->pids(qr/^jobqd: queue b/);
kill 'KILL', $leader;
wait_for { my @p = $d->pids(qr/^jobqd: queue b/); @p == 1 && $p[0] != $leader } 'a new leader';
$d->configure(config(a => 'workers: 1', b => 'workers: 2'));
reload(qr/: reloaded generation=/);
is_deeply { map { $_ => 1 } $d->pids(qr/^jobqd: worker b/) }, \%lingering, 'four linger, none is added';
$d->does('worker.b' => '');
unlink "$d->{toy}/linger";
wait_for { my @p = $d->pids(qr/^jobqd: worker b/); @p == 2 && !grep { $lingering{$_} } @p } 'two fresh ones';

# A second request while one is at work is remembered, once.
$d->does(setup => 'hang');
$d->configure(config(a => 'workers: 2', b => 'workers: 2'));
$from = $d->log_size;
my $heard = length $d->heard;
$d->signal('HUP');
wait_for { substr($d->heard, $heard) =~ /^setup$/m } 'the setup to know that it hangs';
$d->signal('HUP');
$d->wait_log(qr/reload remembered/, $from);
$d->does(setup => '');
kill 'KILL', $d->wait_pids(qr/^jobqd: setup/, 1);
$d->wait_log(qr/reload refused.*signal 9/, $from);
$d->wait_log(qr/: reloaded generation=/, $from);
pass 'the remembered reload is done afterwards';

# A storm: with changes, without, and broken ones.
settle(a => 2, b => 2);
my @fds = $d->descriptors;
my $storm = $ENV{JOBQD_TEST_RELOADS} || 200;
for my $n (1 .. $storm) {
	if ($n % 5 == 0) {
		$d->configure("queues: [\n");
	} else {
		$d->configure(config(a => 'workers: ' . (1 + $n % 3), b => 'workers: 2'));
	}
	$d->signal('HUP');
	$n % 7 == 0 and wait_for { $d->running } 'it to be there';
}
$d->configure(config(a => 'workers: 2', b => 'workers: 2'));
$from = $d->log_size;
wait_for {
	$d->signal('HUP');
	$d->log($from) =~ /: reload changed=nothing/
} 'the storm to settle';
settle(a => 2, b => 2);
wait_for { scalar(my @now = $d->descriptors) == @fds } 'as many descriptors as before';
pass "no descriptor gained by $storm reloads";

# Drain, and back.
$d->signal('WINCH');
$d->wait_log(qr/: drained/);
is $d->count(qr/^jobqd: (queue|worker)/), 0, 'drained: no leader, no worker';
ok $d->count(qr/^jobqd: scheduler/), 'but it stays up';
$d->signal('HUP');
$d->wait_pids(qr/^jobqd: worker/, 4);
pass 'a reload brings the queues back';
is $d->stop, 0, 'exit 0';
done_testing;
