# The leader of the tests of drivers, t/unit/run_driver: it starts a worker and
# gives it jobs of one queue of a configuration.
package Runner;
use strict;
use warnings;
use Exporter 'import';
use IPC::Open2;
use JSON::PP;
use Jobqd;
use Test::More;

our @EXPORT = qw(runner_program understand run_jobs_of talk_to classes);

my $json = JSON::PP->new->utf8->canonical;

sub runner_program { return ($ENV{JOBQD_BUILDDIR} || '.') . '/t/unit/run_driver' }

# What the worker says: lists by kind, results by id.
sub understand {
	my (@lines) = @_;
	my %all = (progress => [], output => {}, started => []);
	for my $o (map { $json->decode($_) } @lines) {
		my ($kind) = keys %$o;
		if ($kind eq 'result') { $all{ $o->{result}{id} } = $o->{result} }
		elsif ($kind eq 'output') { $all{output}{ $o->{output}{id} } .= $o->{output}{text} }
		elsif ($kind eq 'progress') { push @{ $all{progress} }, [ @{ $o->{progress} }{qw(id pct text)} ] }
		else { $all{$kind} = $o->{$kind} }
	}
	return \%all;
}

# Run jobs, and what it said; in log what was on standard error.
sub run_jobs_of {
	my ($conf, $queue, @jobs) = @_;
	my ($status, $out, $err) = run_program([ runner_program(), $conf, $queue ],
	    in => join '', map { $json->encode({ job => $_ }) . "\n" } @jobs);
	diag $err if $status != 0;
	my $all = understand(split /\n/, $out);
	$all->{log} = $err;
	return $all;
}

# A worker to talk with: commands go in one at a time.
sub talk_to {
	my ($conf, $queue, $log) = @_;
	my $runner = runner_program();
	my $pid = open2(my $out, my $in, 'sh', '-c', "exec $runner $conf $queue 2>>$log");
	$in->autoflush(1);
	my $self = { pid => $pid, in => $in, out => $out, lines => [] };
	$self->{say} = sub { print $in $json->encode($_[0]) . "\n" };
	$self->{until} = sub {
		my ($kind) = @_;
		while (defined(my $line = readline $out)) {
			push @{ $self->{lines} }, $line;
			return $json->decode($line)->{$kind} if $line =~ /^\{"$kind"/;
		}
		die "the worker never said $kind\n";
	};
	$self->{end} = sub {
		close $in;
		push @{ $self->{lines} }, readline $out;
		waitpid $pid, 0;
		return understand(@{ $self->{lines} });
	};
	return $self;
}

sub classes { my ($r, @ids) = @_; return join ' ', map { $r->{$_} ? $r->{$_}{class} || 'completed' : 'none' } @ids }

1;
