# The master with toy processes (t/unit/master_toy): a Jobqd::Daemon that needs
# no database, and whose processes misbehave on request.
#
#	my $d = Toy->new(config => $yaml);
#	$d->does(worker => 'brood');
#	$d->start;
package Toy;

use strict;
use warnings;

use File::Basename qw(dirname);
use Jobqd;
use POSIX ();

our @ISA = ('Jobqd::Daemon');

sub program { return dirname(Jobqd::jobqd_program()) . '/t/unit/master_toy' }

sub new {
	my ($class, %o) = @_;
	my $self = Jobqd::Daemon::new($class, %o);
	$self->{toy} = temp_directory();
	return $self;
}

sub configure {
	my ($self, $yaml) = @_;
	$yaml .= "\ndatabase: {url: \"postgresql:///none\"}\n" unless $yaml =~ /^database:/m;
	return $self->SUPER::configure($yaml);
}

# What a toy does when it starts next; '' for nothing in particular.
sub does {
	my ($self, $name, $what) = @_;
	my $path = "$self->{toy}/$name";
	spew("$path.new", $what);
	rename "$path.new", $path or die "$path: $!\n";
}

sub heard { return slurp("$_[0]{toy}/heard") }

sub start {
	my ($self, %o) = @_;
	my $from = $self->log_size;
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		setpgrp;
		%ENV = (%ENV, TOY => $self->{toy}, %{ $o{env} || {} });
		open STDIN,  '<',  '/dev/null';
		open STDOUT, '>>', $self->{log};
		open STDERR, '>&', \*STDOUT;
		exec program(), $self->{conf}, @{ $o{args} || [] } or POSIX::_exit(127);
	}
	$self->{pid} = $pid;
	$self->wait_log(qr/: ready\b/, $from) unless exists $o{ready} && !$o{ready};
	return $self;
}

# Numbers of the open descriptors of a process.
sub descriptors {
	my ($self, $pid) = @_;
	return sort { $a <=> $b } map { m{/(\d+)$} } glob '/proc/' . ($pid || $self->{pid}) . '/fd/*';
}

sub count { my @pids = $_[0]->pids($_[1]); return scalar @pids }

# Wait until exactly n processes have such a title; their pids.
sub wait_pids {
	my ($self, $pattern, $n) = @_;
	my @pids;
	Jobqd::wait_for { (@pids = $self->pids($pattern)) == $n } "$n processes like $pattern";
	return @pids;
}

1;
