# What the system tests share: a private PostgreSQL, a jobqd, and waiting.
#
#	use Jobqd;
#	my $pg = Jobqd::Postgres->new;
#	my $d  = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
#	handlers: {null: {driver: noop}}
#	queues:   {work: {handler: null}}
#	YAML
#	$d->start;
#	my $id = $pg->query("SELECT jobq.enqueue('work')");
#	wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id=$id") eq 'completed' } 'the job';
#
# Every server listens on a unix socket in a temporary directory of its own;
# all of it is stopped by pid and removed at the end, also of a failed test,
# which prints the logs first. Nothing here sleeps for a guessed time: it
# polls a condition until a deadline.
package Jobqd;

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Path qw(remove_tree);
use File::Temp ();
use POSIX ();
use Test::More ();
use Time::HiRes qw(sleep time);

our @EXPORT = qw(wait_for jobqd_program jobqctl_program run_program slurp spew
    temp_directory source_directory process_tree process_title alive server_user free_port
    background wait_port receiver json_lines);

# Seconds a condition may take; generous, because a slow machine is no bug.
our $deadline = $ENV{JOBQD_TEST_DEADLINE} || 60;

my $source = abs_path(dirname(__FILE__) . '/../..');
my $build = abs_path($ENV{JOBQD_BUILDDIR} || '.');
my $main_pid = $$;

# Debian's interpreters before others: they see Debian's packages, and are no
# shell scripts that start another process. And before them psql itself: what
# is in /usr/bin is a script that looks for it, which takes four times as long.
$ENV{PATH} = join ':', eval { Jobqd::Postgres::bindir() } || (), '/usr/bin', $ENV{PATH};
my @cleanup;
our $status = 0;	# the test's exit status, known when it ends
our $show_stopped = 1;	# … when it is not 0: the logs also of daemons that were stopped

sub source_directory { return $source }
sub jobqd_program    { return "$build/jobqd" }
sub jobqctl_program  { return "$build/jobqctl" }

# Poll until the block is true; dies with the description at the deadline.
sub wait_for (&$;$) {
	my ($condition, $what, $seconds) = @_;
	my $end = time + ($seconds || $deadline);
	my $pause = 0.005;
	while (1) {
		my $value = $condition->();
		return $value if $value;
		last if time > $end;
		sleep $pause;
		$pause *= 1.5 if $pause < 0.1;
	}
	die "gave up waiting for $what\n";
}

sub slurp {
	my ($path) = @_;
	open my $fh, '<:raw', $path or return '';
	local $/;
	my $text = <$fh>;
	return defined $text ? $text : '';
}

sub spew {
	my ($path, $text) = @_;
	open my $fh, '>:raw', $path or die "$path: $!\n";
	print $fh $text;
	close $fh or die "$path: $!\n";
	return $path;
}

# A directory that anybody may enter (servers run as another user), removed
# at the end.
sub temp_directory {
	my $dir = File::Temp::tempdir('jobqd-test-XXXXXX', DIR => '/tmp', CLEANUP => 0);
	chmod 0755, $dir;
	at_end(sub { remove_tree($dir) });
	return $dir;
}

# Run code when the test ends, latest first.
sub at_end { push @cleanup, $_[0] }

# Run a program to its end: (exit status, stdout, stderr). Options: in => text.
sub run_program {
	my ($argv, %o) = @_;
	my $dir = File::Temp::tempdir(DIR => '/tmp', CLEANUP => 0);
	spew("$dir/in", defined $o{in} ? $o{in} : '');
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		open STDIN,  '<', "$dir/in";
		open STDOUT, '>', "$dir/out";
		open STDERR, '>', "$dir/err";
		if ($o{env}) { $ENV{$_} = $o{env}{$_} for keys %{ $o{env} } }
		exec { $argv->[0] } @$argv or POSIX::_exit(127);
	}
	waitpid $pid, 0;
	my @result = ($? & 127 ? 128 + ($? & 127) : $? >> 8, slurp("$dir/out"), slurp("$dir/err"));
	remove_tree($dir);
	return @result;
}

# The ordinary user that servers run as when the test runs as root, else undef.
sub server_user {
	return undef if $> != 0;
	for my $name (qw(postgres nobody)) {
		return $name if defined getpwnam $name;
	}
	die "no ordinary user to run PostgreSQL as: create one named postgres\n";
}

# A TCP port on loopback that was free a moment ago.
sub free_port {
	require IO::Socket::INET;
	my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 1)
	    or die "no port: $!\n";
	return $s->sockport;
}

# Start a helper of the test (a receiver, a sink) in the background, stopped at
# the end. Options: log => file, as => ['setpriv', …]. Returns its pid.
sub background {
	my ($argv, %o) = @_;
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		setpgrp;
		open STDIN, '<', '/dev/null';
		if ($o{log}) {
			open STDOUT, '>>', $o{log};
			open STDERR, '>&', \*STDOUT;
		}
		my @all = (@{ $o{as} || [] }, @$argv);
		exec { $all[0] } @all or POSIX::_exit(127);
	}
	at_end(sub { kill 'KILL', $pid; waitpid $pid, 0 });
	return $pid;
}

# Wait until somebody listens on a TCP port of loopback.
sub wait_port {
	my ($port) = @_;
	require IO::Socket::INET;
	wait_for { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) } "port $port";
}

# t/receiver.py on a free port: (port, file of its JSON lines).
sub receiver {
	my ($secret) = @_;
	my $dir = temp_directory();
	my $port = free_port();
	background([ 'python3', "$source/t/receiver.py", $port, "$dir/requests", $secret ], log => "$dir/log");
	wait_port($port);
	return ($port, "$dir/requests");
}

# Each line of a file as JSON.
sub json_lines {
	my ($path) = @_;
	require JSON::PP;
	my $json = JSON::PP->new->utf8;
	return map { $json->decode($_) } split /\n/, slurp($path);
}

# pid => parent's pid of every process.
sub parents {
	my %parent;
	for my $stat (glob '/proc/[0-9]*/stat') {
		my $text = slurp($stat) or next;
		next unless $text =~ /^(\d+) \(.*\) (\S) (\d+)/s;
		next if $2 eq 'Z' || $2 eq 'X';
		$parent{$1} = $3;
	}
	return \%parent;
}

# All live descendants of a process.
sub process_tree {
	my ($root) = @_;
	my $parent = parents();
	my @found = ();
	my @todo = ($root);
	while (defined(my $pid = shift @todo)) {
		my @children = grep { $parent->{$_} == $pid } keys %$parent;
		push @found, @children;
		push @todo, @children;
	}
	return @found;
}

# Those of the pids that still run; a zombie that nobody waited for does not.
sub alive {
	return grep { slurp("/proc/$_/stat") =~ /^\d+ \(.*\) [^ZX]/s } @_;
}

sub process_title {
	my ($pid) = @_;
	my $text = slurp("/proc/$pid/cmdline");
	$text =~ s/\0+$//;
	$text =~ s/\0/ /g;
	return $text;
}

END {
	if ($$ == $main_pid) {
		$SIG{PIPE} = 'IGNORE';	# what is told at the end may have no reader, and is done all the same
		$status = $?;
		for my $code (reverse @cleanup) {
			eval { $code->(); 1 } or warn $@;
		}
		$? = $status;
	}
}
$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP PIPE);

#----------------------------------------------------------------------
package Jobqd::Postgres;

use strict;
use warnings;
use Fcntl ();
use Time::HiRes ();

sub bindir {
	my @found = $ENV{PG_BINDIR} ? ($ENV{PG_BINDIR}) : sort { ($b =~ m{/(\d+)/})[0] <=> ($a =~ m{/(\d+)/})[0] }
	    glob '/usr/lib/postgresql/*/bin';
	return $found[0] if @found && -x "$found[0]/initdb";
	die "PostgreSQL's server is missing" . (@found ? " in $found[0]" : '') . ": apt-get install postgresql\n";
}

# Options: settings => {name => value}; start => 0 to only create it, without a
# database; fresh => 1 for one that is no copy of the template. Connects as the
# superuser jobq, or, from then on, as the role that is in {user}.
sub new {
	my ($class, %o) = @_;
	my $self = bless {
		dir => Jobqd::temp_directory(), database => 'jobq',
		settings => { fsync => 'off', %{ $o{settings} || {} } },
	}, $class;
	my $user = Jobqd::server_user();
	if ($user) {
		my (undef, undef, $uid, $gid) = getpwnam $user;
		chown $uid, $gid, $self->{dir};
		$self->{as} = [ 'setpriv', "--reuid=$uid", "--regid=$gid", '--clear-groups' ];
	}
	Jobqd::at_end(sub {
		kill 'KILL', -$self->{helper} if $self->{helper};	# interrupted: with all its group
		$self->stop('immediate');
	});
	my $started = !exists $o{start} || $o{start};
	if ($started && !$o{fresh}) {
		system('cp', '-a', template(), "$self->{dir}/data") == 0 or die "cannot copy the template of a server\n";
		$self->start;
		return $self;
	}
	$self->initdb;
	if ($started) {
		$self->start;
		$self->query('CREATE DATABASE jobq', 'postgres');
	}
	return $self;
}

sub initdb {
	my ($self) = @_;
	$self->run_as("$self->{dir}/initdb.log", bindir() . '/initdb', '-D', "$self->{dir}/data", '-U', 'jobq',
	    '-A', 'trust', '-N', '-E', 'UTF8', '--locale=C.UTF-8') == 0
	    or die "initdb failed:\n" . Jobqd::slurp("$self->{dir}/initdb.log");
}

# The data directory of a server with an empty database jobq, made once in the
# build directory: a copy takes an eighth of the time. All copies have one
# system identifier.
sub template {
	my ($version) = `${\bindir()}/postgres --version` =~ /([\d.]+)/;
	my $path = "$build/t/server-$version";
	open my $lock, '>', "$path.lock" or die "$path.lock: $!\n";
	flock $lock, Fcntl::LOCK_EX;
	return $path if -d $path;
	my $self = Jobqd::Postgres->new(fresh => 1);
	$self->stop;
	unlink glob "$self->{dir}/data/pg_stat/*";	# or autovacuum has something to do in each copy
	Jobqd::remove_tree("$path.new");	# of one that was interrupted
	system('cp', '-a', "$self->{dir}/data", "$path.new") == 0 && rename "$path.new", $path
	    or die "cannot keep the template of a server\n";
	return $path;
}

sub run_as {
	my ($self, $log, @argv) = @_;
	my $pid = $self->{helper} = $self->spawn_as($log, @argv);
	waitpid $pid, 0;
	delete $self->{helper};
	return $?;
}

sub spawn_as {
	my ($self, $log, @argv) = @_;
	@argv = (@{ $self->{as} }, @argv) if $self->{as};
	my $pid = fork // die "fork: $!\n";
	return $pid if $pid;
	setpgrp;
	chdir '/';
	open STDIN,  '<',  '/dev/null';
	open STDOUT, '>>', $log;
	open STDERR, '>&', \*STDOUT;
	exec { $argv[0] } @argv or POSIX::_exit(127);
}

sub start {
	my ($self) = @_;
	my %s = %{ $self->{settings} };
	$self->{pid} = $self->spawn_as("$self->{dir}/postgres.log", bindir() . '/postgres',
	    '-D', "$self->{dir}/data", '-k', $self->{dir}, '-c', 'listen_addresses=',
	    map { ('-c', "$_=$s{$_}") } sort keys %s);
	Jobqd::wait_for {
		system("PGCONNECT_TIMEOUT=5 psql -XAtqc 'select 1' 'host=$self->{dir} user=jobq dbname=postgres' >/dev/null 2>&1") == 0
	} 'PostgreSQL to start';
}

# mode: fast (default) or immediate.
sub stop {
	my ($self, $mode) = @_;
	my $pid = delete $self->{pid} or return;
	kill(($mode || '') eq 'immediate' ? 'QUIT' : 'INT', $pid);
	waitpid $pid, 0;
}

sub url {
	my ($self, $database) = @_;
	$database ||= $self->{database};
	return "postgresql:///$database?host=$self->{dir}&user=" . ($self->{user} || 'jobq');
}

# The connection string of an ordinary role that may make the schema, as the API
# needs one for tokens of tenants. The superuser goes on seeing everything.
sub ordinary_url {
	my ($self) = @_;
	$self->query(<<'SQL') unless $self->{ordinary}++;
CREATE ROLE ordinary LOGIN;
GRANT CREATE ON DATABASE jobq TO ordinary;
SQL
	return $self->url =~ s/user=\w+/user=ordinary/r;
}

# The connection string of a PgBouncer of transactions before it, with so many
# connections of its own; nothing when there is no pgbouncer.
sub pooler {
	my ($self, $connections) = @_;
	my ($program) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin';
	return unless $program;
	my $dir = Jobqd::temp_directory();
	my $port = Jobqd::free_port();
	Jobqd::spew("$dir/pgbouncer.ini", <<"INI");
[databases]
jobq = host=$self->{dir} dbname=jobq user=jobq
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = $connections
max_client_conn = 100
query_wait_timeout = 20
INI
	Jobqd::background([ $program, "$dir/pgbouncer.ini" ], log => "$dir/log", as => $self->{as});
	Jobqd::wait_port($port);
	return "postgresql://jobq\@127.0.0.1:$port/jobq";
}

# Run SQL, return psql's output (unaligned, tuples only, no newline at the
# end); dies with the server's message.
sub query {
	my ($self, $sql, $database) = @_;
	my ($status, $out, $err) = $self->try_query($sql, $database);
	die "$err\n-- in: $sql\n" if $status != 0;
	return $out;
}

# The same, but returns (status, output, error text).
sub try_query {
	my ($self, $sql, $database) = @_;
	my ($status, $out, $err) = Jobqd::run_program(
	    [ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-f', '-', $self->url($database) ],
	    in => $sql);
	chomp $out;
	return ($status, $out, $err);
}

# What is in the database, by pg_dump, without the random words that frame it.
sub dump {
	my ($self, @options) = @_;
	my ($status, $out, $err) = Jobqd::run_program([ 'pg_dump', @options, $self->url ]);
	die $err if $status != 0;
	return $out =~ s/^\\(?:un)?restrict .*\n//gmr;
}

# A session that stays open, for interleaved transactions.
sub session { return Jobqd::Session->new($_[0]) }

#----------------------------------------------------------------------
package Jobqd::Session;

use strict;
use warnings;
use IPC::Open2;

sub new {
	my ($class, $pg) = @_;
	my $self = bless {}, $class;
	$self->{pid} = open2($self->{out}, $self->{in}, 'sh', '-c',
	    'exec psql -XAtq "$0" 2>&1', $pg->url);
	return $self;
}

# Run SQL and wait for its output. send() and answer() are its two halves.
sub query {
	my ($self, $sql) = @_;
	$self->send($sql);
	return $self->answer;
}

sub send {
	my ($self, $sql) = @_;
	my $mark = '--answered-' . ++$self->{count};
	print { $self->{in} } "$sql\n;\n\\echo $mark\n";
	$self->{in}->flush;
}

sub answer {
	my ($self) = @_;
	my $mark = "--answered-$self->{count}";
	my $text = '';
	while (defined(my $line = readline $self->{out})) {
		chomp $line;
		last if $line eq $mark;
		$text .= "$line\n";
	}
	chomp $text;
	return $text;
}

sub close {
	my ($self) = @_;
	return unless $self->{pid};
	close $self->{in};
	close $self->{out};
	waitpid delete $self->{pid}, 0;
}

sub DESTROY { local $?; $_[0]->close }

#----------------------------------------------------------------------
package Jobqd::Daemon;

use strict;
use warnings;

# Options: pg => Jobqd::Postgres (adds database.url), config => YAML text,
# name => node name, args => [more arguments], wrap => [a program that runs it].
sub new {
	my ($class, %o) = @_;
	my $self = bless { %o, dir => Jobqd::temp_directory() }, $class;
	$self->{name} ||= 'node';
	$self->{conf} = "$self->{dir}/jobqd.yml";
	$self->{log} = "$self->{dir}/jobqd.log";
	$self->configure($o{config});
	Jobqd::at_end(sub {
		my $show = $Jobqd::show_stopped || $self->running;
		$self->kill_all;
		if ($show && ($Jobqd::status || !Test::More->builder->is_passing)) {
			Test::More::diag("--- log of $self->{name}:\n" . Jobqd::slurp($self->{log}));
		}
	});
	return $self;
}

# Write the configuration. Sections that the text does not have are added:
# daemon (pid file, node), database, log, api off, monitor's health file. One with
# tokens connects as an ordinary role.
sub configure {
	my ($self, $yaml) = @_;
	my $text = $yaml;
	$text .= "\ndaemon: {node: $self->{name}, pid_file: $self->{dir}/jobqd.pid, shutdown_timeout: 10s}\n"
	    unless $yaml =~ /^daemon:/m;
	$self->{ordinary} ||= $yaml =~ /tokens_file/;	# from then on: a reload does not change it
	$text .= "database: {url: \"" . ($self->{ordinary} ? $self->{pg}->ordinary_url : $self->{pg}->url) . "\"}\n"
	    if $self->{pg} && $yaml !~ /^database:/m;
	$text .= "log: {file: stderr, level: debug}\n" unless $yaml =~ /^log:/m;
	$text .= "api: {listen: off}\n" unless $yaml =~ /^api:/m;
	$text .= "monitor: {interval: 1s, health_file: $self->{dir}/health.json}\n"
	    unless $yaml =~ /^monitor:/m;
	Jobqd::spew("$self->{conf}.new", $text);
	rename "$self->{conf}.new", $self->{conf} or die "$self->{conf}: $!\n";
}

# Start it and, unless ready => 0, wait until it is ready.
sub start {
	my ($self, %o) = @_;
	my $from = -s $self->{log} || 0;
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		setpgrp;
		open STDIN,  '<',  '/dev/null';
		open STDOUT, '>>', $self->{log};
		open STDERR, '>&', \*STDOUT;
		exec @{ $self->{wrap} || [] }, Jobqd::jobqd_program(), '-c', $self->{conf}, @{ $self->{args} || [] }
		    or POSIX::_exit(127);
	}
	$self->{pid} = $pid;
	$self->wait_log(qr/: ready\b/, $from) unless exists $o{ready} && !$o{ready};
	return $self;
}

# Wait for a line in the log, from an offset on; returns the matched line.
sub wait_log {
	my ($self, $pattern, $from) = @_;
	my $line;
	Jobqd::wait_for {
		die "jobqd has ended:\n" . Jobqd::slurp($self->{log}) if $self->{pid} && !$self->running;
		($line) = grep { $_ =~ $pattern } split /\n/, $self->log($from);
		defined $line;
	} "the log line $pattern";
	return $line;
}

sub log {
	my ($self, $from) = @_;
	my $text = Jobqd::slurp($self->{log});
	return substr $text, $from || 0;
}

sub log_size { return -s $_[0]{log} || 0 }

sub running {
	my ($self) = @_;
	return 0 unless $self->{pid};
	my $got = waitpid $self->{pid}, POSIX::WNOHANG();
	if ($got == $self->{pid}) {
		$self->{status} = $?;
		delete $self->{pid};
		return 0;
	}
	return 1;
}

sub signal {
	my ($self, $name) = @_;
	return kill $name, $self->{pid};
}

# TERM and wait; returns the wait status.
sub stop {
	my ($self, $signal) = @_;
	return $self->{status} unless $self->running;
	$self->signal($signal || 'TERM');
	Jobqd::wait_for { !$self->running } 'jobqd to stop';
	return $self->{status};
}

# pid => title of all of its processes, the master's included.
sub processes {
	my ($self) = @_;
	return map { $_ => Jobqd::process_title($_) } ($self->{pid}, Jobqd::process_tree($self->{pid}));
}

# The pids whose title matches; their number in scalar context.
sub pids {
	my ($self, $pattern) = @_;
	my %p = $self->processes;
	my @found = sort { $a <=> $b } grep { $p{$_} =~ $pattern } keys %p;
	return @found;
}

# As when the power goes: none of its processes sees another one die.
sub vanish {
	my ($self) = @_;
	my @all = ($self->{pid}, Jobqd::process_tree($self->{pid}));
	kill 'STOP', @all;
	kill 'KILL', @all;
}

sub kill_all {
	my ($self) = @_;
	return unless $self->running;
	my @all = ($self->{pid}, Jobqd::process_tree($self->{pid}));
	kill 'TERM', $self->{pid};
	eval { Jobqd::wait_for { !$self->running } 'jobqd to stop', 20; 1 } and return;
	kill 'KILL', @all;
	waitpid $self->{pid}, 0 if $self->{pid};
}

# jobqctl with this configuration: (status, stdout, stderr).
sub ctl {
	my ($self, @args) = @_;
	return Jobqd::run_program([ Jobqd::jobqctl_program(), '-c', $self->{conf}, @args ]);
}

1;
