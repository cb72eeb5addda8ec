# No process holds a descriptor that is not its own, no program inherits one,
# and none is gained by reloads of a working daemon.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $port = free_port();
my $text = <<"YAML";
handlers:
  null: {driver: noop}
  list: {driver: exec, argv: [/bin/sh, -c, 'cd /proc/self/fd && echo "[\\"\$(echo *)\\"]"']}
queues:
  work: {handler: null, workers: 2}
  list: {handler: list, workers: 1}
api: {listen: "127.0.0.1:$port"}
YAML
my $d = Jobqd::Daemon->new(pg => $pg, config => $text);
$d->start;

sub targets {
	my ($pid) = @_;
	my %t;
	for my $fd (glob "/proc/$pid/fd/*") {
		my $target = readlink $fd // next;
		(my $n = $fd) =~ s{.*/}{};
		$target =~ s/:\[\d+\]//;
		$t{$n} = $target;
	}
	return %t;
}

my $id = $pg->query("SELECT jobq.enqueue('work')");
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'completed'") == 1 } 'a job';
my %titles = $d->processes;
for my $pid (sort { $a <=> $b } keys %titles) {
	my %t = targets($pid);
	is $t{0}, '/dev/null', "$titles{$pid}: 0 is the null device";
	is $t{$_}, $d->{log}, "$titles{$pid}: $_ is the log" for 1, 2;
	next if $pid == $d->{pid};
	is $t{3}, 'socket', "$titles{$pid}: 3 is its channel";
	my @pidfile = grep { $t{$_} =~ /jobqd\.pid/ } keys %t;
	is "@pidfile", '', "$titles{$pid}: no pid file";
	next unless $titles{$pid} =~ /worker/;
	my @sockets = grep { $t{$_} eq 'socket' && $_ > 3 } keys %t;
	cmp_ok scalar(@sockets), '<=', 2, "$titles{$pid}: no socket but its loop's own";
}

# The socket that listens is the master's and, as descriptor 5, the api's.
my ($inode) = map { (split ' ')[9] } grep { (split ' ')[1] =~ sprintf(':%04X$', $port) && (split ' ')[3] eq '0A' }
    split /\n/, slurp('/proc/net/tcp');
my @holders = grep { my $pid = $_; grep { (readlink($_) // '') eq "socket:[$inode]" } glob "/proc/$pid/fd/*" } keys %titles;
is_deeply [ sort map { $titles{$_} =~ s/ \(.*//r } @holders ], [ 'jobqd: api', 'jobqd: master' ], 'who has the socket that listens';
my ($api) = $d->pids(qr/^jobqd: api$/);
is readlink("/proc/$api/fd/5"), "socket:[$inode]", '… the api as its descriptor 5';

# A program: the null device or pipes as 0 to 2, progress as 3, and what the
# shell opens to list them.
$id = $pg->query("SELECT jobq.enqueue('list')");
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") =~ /completed|dead/ } 'the program';
my $list = $pg->query("SELECT result ->> 0 FROM jobq.jobs WHERE id = $id");
like $list, qr/^0 1 2 3( \d+)?$/, 'a program has four descriptors and no other';

# A hundred reloads with a change each, while jobs run.
my ($leader) = $d->pids(qr/^jobqd: queue list/);
my %before = map { $_ => scalar(my @f = glob "/proc/$_/fd/*") } $d->{pid}, $leader;
for my $n (1 .. 100) {
	my $from = $d->log_size;
	(my $changed = $text) =~ s/workers: 2/'workers: ' . (2 + $n % 2)/e;
	$d->configure($changed);
	$pg->query("SELECT jobq.enqueue('work') FROM generate_series(1, 5)") if $n % 10 == 0;
	$d->signal('HUP');
	$d->wait_log(qr/: reloaded /, $from);
}
$d->configure($text);
$d->signal('HUP');
wait_for { 2 == (my @w = $d->pids(qr/^jobqd: worker work/)) } 'the last generation';
wait_for { 1 == (my @l = $d->pids(qr/^jobqd: queue work/)) } 'the others to go';
is_deeply [ $d->pids(qr/^jobqd: queue list/) ], [$leader], 'the unchanged leader is still the same';
for my $pid (sort keys %before) {
	wait_for { $before{$pid} == (my @f = glob "/proc/$pid/fd/*") } "the descriptors of $titles{$pid} to be as many as before";
	pass "$titles{$pid}: $before{$pid} descriptors, as before";
}
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state <> 'completed'") == 0 } 'all jobs';
pass 'and no job was lost';
is $d->stop, 0, 'exit 0';
done_testing;
