# The end: graceful, bounded whatever the processes do, and at once.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Toy;
use Test::More;
use Time::HiRes qw(time);

sub toy {
	my (%does) = @_;
	my $d = Toy->new(config => <<"YAML");
handlers: {null: {driver: noop}}
queues:
  a: {handler: null, workers: 2, cancel: {grace: 500ms}}
  b: {handler: null, workers: 2, cancel: {grace: 1s}}
daemon: {node: node, pid_file: /tmp/jobqd-toy-$$.pid, shutdown_timeout: 1s}
YAML
	$d->does($_ => $does{$_}) for keys %does;
	$d->start;
	$d->wait_pids(qr/^jobqd: worker/, 4);
	return $d;
}

# Stop it by a signal; (wait status, seconds, survivors).
sub end_by {
	my ($d, $signal) = @_;
	my @all = process_tree($d->{pid});
	my $since = time;
	my $status = $d->stop($signal);
	my $took = time - $since;
	return ($status, $took, scalar(alive(@all)));
}

for my $signal (qw(TERM INT)) {
	my $d = toy();
	my ($status, undef, $left) = end_by($d, $signal);
	is $status, 0, "$signal: exit 0 (S3-1)";
	is $left, 0, "$signal: nobody is left";
	my @heard = grep { /stop/ } split /\n/, $d->heard;
	is_deeply [ sort @heard ], [ 'monitor stop 0', 'pool stop 1000', 'pool stop 1000', 'sched stop 0' ],
	    'everybody was asked, the queues with their time';
	is $heard[-1], 'monitor stop 0', 'the monitor last';
	unlike $d->log, qr/ (warn|error) .*(kill|fail|hang)/, 'and nobody had to be killed';
}

# Nobody listens: the bound is shutdown_timeout + longest grace + 2 s. The
# slack is for a slow machine.
{
	my $d = toy(pool => 'stubborn', worker => 'stubborn', sched => 'stubborn', monitor => 'stubborn');
	my ($status, $took, $left) = end_by($d, 'TERM');
	is $status, 0, 'stubborn: exit 0';
	is $left, 0, 'stubborn: nobody is left';
	cmp_ok $took, '<', 4 + 5, 'stubborn: within the bound';
	like $d->log, qr/process killed name="queue a"/, 'the log says who was killed';
}

# Workers without a leader, who know of no shutdown, and stop for SIGTERM.
{
	my $d = toy(worker => 'linger');
	spew("$d->{toy}/linger", '');
	kill 'KILL', $d->pids(qr/^jobqd: queue/);
	$d->wait_log(qr/workers finish without their leader queue=b/);
	my ($status, undef, $left) = end_by($d, 'TERM');
	is $status, 0, 'orphans: exit 0';
	is $left, 0, 'orphans: nobody is left';
}

# At once, also in the middle of a graceful end.
{
	my $d = toy(pool => 'stubborn', worker => 'stubborn');
	my ($status, $took, $left) = end_by($d, 'QUIT');
	is $status, 0, 'QUIT: exit 0';
	is $left, 0, 'QUIT: nobody is left';
	$d = toy(pool => 'stubborn', worker => 'stubborn');
	$d->signal('TERM');
	$d->wait_log(qr/stopping timeout_ms/);
	($status, $took, $left) = end_by($d, 'QUIT');
	is $status, 0, 'TERM, QUIT: exit 0';
	is $left, 0, 'TERM, QUIT: nobody is left';
}

# In the middle of a reload and of a start.
{
	my $d = toy();
	$d->does(setup => 'hang');
	$d->configure("handlers: {null: {driver: noop}}\nqueues:\n  a: {handler: null}\n"
	    . "daemon: {node: node, pid_file: /tmp/jobqd-toy-$$.pid, shutdown_timeout: 1s}\n");
	$d->signal('HUP');
	$d->wait_pids(qr/^jobqd: setup/, 1);
	my ($status, undef, $left) = end_by($d, 'TERM');
	is $status, 0, 'during a reload: exit 0';
	is $left, 0, 'during a reload: nobody is left';
	$d->start(ready => 0);
	$d->wait_pids(qr/^jobqd: setup/, 1);
	($status, undef, $left) = end_by($d, 'TERM');
	is $status, 0, 'during the start: exit 0';
	is $left, 0, 'during the start: nobody is left';
}
ok !-e "/tmp/jobqd-toy-$$.pid", 'the pid file is gone';
done_testing;
