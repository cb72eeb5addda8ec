# A process that is told lines and says JSON lines; stopped at the end.
package Bench::Peers::Process;

use strict;
use warnings;

use IO::Select;
use JSON::PP ();
use Jobqd;
use POSIX ();
use Time::HiRes ();

my $json = JSON::PP->new;
my $patience = 120;	# seconds without a word

sub new {
	my ($class, $name, $env, @argv) = @_;
	my $log = Jobqd::temp_directory() . '/log';
	pipe my $orders, my $in or die "pipe: $!\n";
	pipe my $out, my $words or die "pipe: $!\n";
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		setpgrp;
		open STDIN,  '<&', $orders;
		open STDOUT, '>&', $words;
		open STDERR, '>>', $log;
		@ENV{ keys %$env } = values %$env;
		exec { $argv[0] } @argv or POSIX::_exit(127);
	}
	$in->autoflush(1);
	my $self = bless { name => $name, pid => $pid, in => $in, out => $out, log => $log, text => '' }, $class;
	Jobqd::at_end(sub { $self->stop });
	return $self;
}

sub tell {
	my ($self, $line) = @_;
	local $SIG{PIPE} = 'IGNORE';	# that it has ended is seen on reading
	print { $self->{in} } "$line\n";
	return;
}

# The next message of any of them: (process, message).
sub heard {
	my (@processes) = @_;
	my %by = map { fileno $_->{out} => $_ } @processes;
	my $end = Time::HiRes::time() + $patience;
	while (1) {
		for my $p (@processes) {
			return ($p, $json->decode($1)) if $p->{text} =~ s/^(\{.*)\n//;
			$p->fail("said: $1") if $p->{text} =~ /^(.+)\n/;
		}
		my @ready = IO::Select->new(map { $_->{out} } @processes)->can_read($end - Time::HiRes::time());
		$processes[-1]->fail("said nothing for $patience s") unless @ready;
		for my $p (map { $by{ fileno $_ } } @ready) {
			sysread $p->{out}, $p->{text}, 65_536, length $p->{text} or $p->fail('has ended');
		}
	}
}

# Wait for a message with this key, and at least this value.
sub await {
	my ($self, $key, $value) = @_;
	while (1) {
		my (undef, $said) = heard($self);
		return $said if defined $said->{$key} && (!defined $value || $said->{$key} >= $value);
	}
}

# Let it end, by the end of its input.
sub ended {
	my ($self) = @_;
	close $self->{in};
	my $end = Time::HiRes::time() + 60;
	Time::HiRes::sleep(0.01) until $self->reaped || Time::HiRes::time() > $end;
	$self->stop;
	$self->fail('failed') if $self->{status};
	return;
}

sub reaped {
	my ($self) = @_;
	return 1 unless $self->{pid};
	return 0 unless waitpid $self->{pid}, POSIX::WNOHANG();
	$self->{status} = $?;
	delete $self->{pid};
	return 1;
}

sub stop {
	my ($self) = @_;
	return if $self->reaped;
	kill 'KILL', $self->{pid};
	waitpid delete $self->{pid}, 0;
	return;
}

sub fail {
	my ($self, $what) = @_;
	my ($why) = grep { /error: |\(\w+Error\)/i } my @lines = grep { /\S/ } split /\n/, Jobqd::slurp($self->{log});
	$why //= $lines[-1];
	die "bench: $self->{name} $what" . (defined $why ? ": $why" : '') . "\n";
}

#----------------------------------------------------------------------
# A fresh Redis: every command goes to a log that is synced once a second, its
# default for such a log.
package Bench::Peers::Redis;

use strict;
use warnings;

sub new {
	my ($class) = @_;
	my $dir = Jobqd::temp_directory();
	my $self = bless { socket => "$dir/redis.sock" }, $class;
	$self->{process} = Bench::Peers::Process->new('redis-server', {}, 'redis-server', '--port', 0,
	    '--unixsocket', $self->{socket}, '--dir', $dir, '--logfile', "$dir/redis.log",
	    '--save', '', '--appendonly', 'yes', '--appendfsync', 'everysec', '--maxmemory-policy', 'noeviction');
	$self->{pid} = $self->{process}{pid};
	Jobqd::wait_for {
		$self->{process}->fail('has ended') if $self->{process}->reaped;
		-S $self->{socket};
	} 'Redis to start';
	return $self;
}

sub command {
	my ($self, @words) = @_;
	my ($status, $out, $err) = Jobqd::run_program([ 'redis-cli', '-s', $self->{socket}, @words ]);
	die "bench: redis-cli @words: $err$out\n" if $status;
	return $out;
}

# A log of what is there now, without what led to it.
sub rewrite {
	my ($self) = @_;
	Jobqd::wait_for {
		$self->command('info', 'persistence') !~ /^aof_rewrite_(in_progress|scheduled):1/m
	} 'a rewrite of the log by Redis itself';
	$self->command('bgrewriteaof');
	Jobqd::wait_for {
		$self->command('info', 'persistence') !~ /^aof_rewrite_(in_progress|scheduled):1/m
	} 'Redis to rewrite its log';
	return;
}

sub stop {
	my ($self) = @_;
	$self->{process}->stop;
	return;
}

1;
