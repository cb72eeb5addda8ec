# The start: the pid file's lock, detaching, what the service manager is told,
# a start that fails, and the rotation of logs.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Toy;
use Fcntl qw(:flock);
use IO::Select;
use Socket;
use Test::More;

my $queues = "handlers: {null: {driver: noop}}\nqueues:\n  a: {handler: null, workers: 1}\n";

# One master for each pid file.
{
	my $d = Toy->new(config => $queues);
	$d->start;
	chomp(my $pid = slurp("$d->{dir}/jobqd.pid"));
	is $pid, $d->{pid}, 'the pid file holds the pid';
	my ($status, $out, $err) = run_program([ Toy::program(), $d->{conf} ], env => { TOY => $d->{toy} });
	is $status, 1, 'a second one exits 1';
	like $err, qr/already running as process $pid/, 'and says who is there';
	$d->stop('KILL');
	ok -e "$d->{dir}/jobqd.pid", 'a killed master leaves its pid file';
	$d->start;
	chomp($pid = slurp("$d->{dir}/jobqd.pid"));
	is $pid, $d->{pid}, 'which is nobody\'s, so the next one takes it';
	is $d->stop, 0, 'exit 0';
	ok !-e "$d->{dir}/jobqd.pid", 'and removes it';
}

# -d returns when the daemon is ready, and its error text when it does not get so.
{
	my $d = Toy->new(config => '');
	$d->configure("$queues" . "log: {file: $d->{dir}/file.log, level: debug}\n");
	my ($status, $out, $err) = run_program([ Toy::program(), $d->{conf}, '-d' ], env => { TOY => $d->{toy} });
	is $status, 0, '-d: exit 0';
	is $out, '', 'nothing on stdout';
	like slurp("$d->{dir}/file.log"), qr/: ready /, 'and the daemon is ready by then';
	chomp(my $pid = slurp("$d->{dir}/jobqd.pid"));
	isnt((stat "/proc/$pid")[0], undef, 'it runs');
	like slurp("/proc/$pid/stat"), qr/\) \S \d+ $pid $pid /, 'in a session of its own, as its leader';
	is readlink("/proc/$pid/fd/0"), '/dev/null', 'with nothing to read from';
	for my $fd (1, 2) {
		is readlink("/proc/$pid/fd/$fd"), "$d->{dir}/file.log", "descriptor $fd is the log (S0-56)";
	}
	my ($second, undef, $why) = run_program([ Toy::program(), $d->{conf}, '-d' ], env => { TOY => $d->{toy} });
	is $second, 1, 'a second -d: exit 1';
	like $why, qr/already running/, 'with the reason on stderr';

	# Rotation: everybody writes to the new file, nobody holds the old one.
	rename "$d->{dir}/file.log", "$d->{dir}/file.log.1";
	kill 'USR1', $pid;
	wait_for { -s "$d->{dir}/file.log" } 'the new log';
	wait_for {
		!grep { (readlink($_) // '') =~ /file\.log\.1$/ } glob "/proc/$pid/fd/*"
	} 'the master to leave the old log';
	kill 'TERM', $pid;
	wait_for { slurp("$d->{dir}/file.log") =~ /stopped status=0/ } 'it to stop';

	$d->does(setup => 'exit 2');
	($status, $out, $err) = run_program([ Toy::program(), $d->{conf}, '-d' ], env => { TOY => $d->{toy} });
	is $status, 1, '-d: exit 1 when the start fails';
	like $err, qr/toy setup fails/, 'with the child\'s reason';
	like $err, qr/start failed/, 'and the master\'s';
}

# A start that cannot succeed, in the foreground.
{
	my $d = Toy->new(config => $queues);
	$d->does(setup => 'exit 2');
	$d->start(ready => 0);
	wait_for { !$d->running } 'it to give up';
	is $d->{status} >> 8, 1, 'setup exits 2: exit 1';
	$d->does(setup => 'exit 1');
	$d->start(ready => 0);
	$d->wait_log(qr/setup failed .*again_ms=160/);
	ok $d->running, 'setup exits 1: tried again, ever more slowly';
	$d->does(setup => '');
	$d->wait_log(qr/: ready\b/);
	$d->stop;

	# What keeps a start from getting anywhere can be mended by a reload.
	$d->does(setup => 'hang');
	my $from = $d->log_size;
	my $heard = length $d->heard;
	$d->start(ready => 0);
	wait_for { substr($d->heard, $heard) =~ /^setup$/m } 'the setup to know that it hangs';
	$d->does(setup => '');
	$d->configure("${queues}  b: {handler: null, workers: 2}\n");
	$d->signal('HUP');
	$d->wait_log(qr/: ready queues=2 workers=3/, $from);
	$d->stop;
	$d->does('pool.b' => 'exit 2');
	$from = $d->log_size;
	$d->start(ready => 0);
	$d->wait_log(qr/process refuses to run/, $from);
	unlike $d->log($from), qr/: ready\b/, 'not ready without one of the queues';
	$d->does('pool.b' => '');
	$d->signal('HUP');
	$d->wait_log(qr/: ready queues=2 workers=3/, $from);
	$d->signal('USR2');
	$d->wait_log(qr/signal ignored signal=USR2/, $from);
	is $d->stop, 0, 'exit 0';

	$d->configure($queues . "daemon: {pid_file: $d->{dir}/none/jobqd.pid}\n");
	$d->start(ready => 0);
	wait_for { !$d->running } 'it to give up';
	is $d->{status} >> 8, 1, 'a pid file that cannot be: exit 1';
	like $d->log, qr{cannot open the pid file $d->{dir}/none/jobqd\.pid: No such file}, 'it says which and why';
	$d->configure($queues . "log: {file: $d->{dir}/none/log}\n");
	$d->start(ready => 0);
	wait_for { !$d->running } 'it to give up';
	is $d->{status} >> 8, 1, 'a log that cannot be: exit 1';
	like $d->log, qr{cannot open the log file $d->{dir}/none/log: No such file}, 'it says which and why';
	SKIP: {
		skip 'not root', 2 if $> != 0;
		$d->configure($queues . "daemon: {pid_file: $d->{dir}/pid, user: no-such-user}\n");
		$d->start(ready => 0);
		wait_for { !$d->running } 'it to give up';
		is $d->{status} >> 8, 1, 'an unknown user: exit 1';
		like $d->log, qr/daemon\.user: there is no user no-such-user/, 'it says whom';
	}
}

# Root is given up for good.
SKIP: {
	skip 'not root', 3 if $> != 0;
	my $user = Jobqd::server_user();
	my (undef, undef, $uid, $gid) = getpwnam $user;
	my $d = Toy->new(config => $queues);
	chmod 0777, $d->{toy};
	$d->configure($queues . "daemon: {pid_file: $d->{dir}/jobqd.pid, user: $user, group: \"\"}\n");
	$d->start;
	for my $pid ($d->{pid}, $d->pids(qr/^jobqd: worker/)) {
		like slurp("/proc/$pid/status"), qr/^Uid:\t$uid\t$uid\t$uid\t$uid$/m, "process $pid is $user";
	}
	$d->stop;
	ok !-s "$d->{dir}/jobqd.pid", 'the pid file is empty or gone, though its directory is root\'s';
}

# The service manager.
{
	my $d = Toy->new(config => $queues);
	my $path = "$d->{dir}/notify";
	socket my $s, AF_UNIX, SOCK_DGRAM, 0 or die "socket: $!";
	bind $s, sockaddr_un($path) or die "bind: $!";
	chmod 0777, $path;
	my $told = '';
	my $hear = sub {
		my ($pattern, $what) = @_;
		wait_for {
			while (IO::Select->new($s)->can_read(0)) {
				recv $s, my $text, 4096, 0;
				$told .= "$text\n";
			}
			$told =~ $pattern;
		} $what;
	};
	$d->start(env => { NOTIFY_SOCKET => $path, WATCHDOG_USEC => 200000 });
	$hear->(qr/^READY=1\nSTATUS=1 queues, 1 workers$/m, 'READY=1');
	$hear->(qr/WATCHDOG=1\n(?s:.*)WATCHDOG=1\n/, 'WATCHDOG=1, again and again');
	my ($worker) = $d->pids(qr/^jobqd: worker/);
	$told = '';
	$d->signal('HUP');
	$hear->(qr/^RELOADING=1\nMONOTONIC_USEC=\d+$/m, 'RELOADING=1');
	$hear->(qr/^READY=1$/m, 'READY=1 after a reload');
	$d->signal('TERM');
	$hear->(qr/^STOPPING=1$/m, 'STOPPING=1');
	$d->stop;
	pass 'the service manager is told';
}
done_testing;
