# Jobs of the driver http, run by one worker without a database.
#
#	my $r = run_jobs('allow_private: true', job(1, url => $url, payload => {}));
#	is $r->{1}{class}, 'network';
package HttpJobs;

use strict;
use warnings;

use Exporter qw(import);
use IO::Handle;
use JSON::PP;
use Jobqd;
use POSIX qw(WNOHANG);
use Test::More ();

our @EXPORT = qw(run_jobs job classes hostile is_small);

my $runner = ($ENV{JOBQD_BUILDDIR} || '.') . '/t/unit/run_driver';
my $json = JSON::PP->new->utf8->canonical;
my $dir;

# Run jobs, hashes or lines of JSON as they are, with a handler (YAML text);
# the results by their ids, and of the worker what else it said, and the most
# memory that it had. Options of the queue in $HttpJobs::queue.
our $queue = 'concurrency: 400';

sub run_jobs {
	my ($handler, @jobs) = @_;
	Test::More::plan(skip_all => "no $runner: build the check programs") unless -x $runner;
	$dir ||= temp_directory();
	spew("$dir/conf.yml", "handlers: {hook: {driver: http, $handler}}\nqueues: {hooks: {handler: hook, $queue}}\n");
	my ($out, $err, $peak) = ("$dir/out", "$dir/err", 0);
	unlink $out, $err;
	pipe my $from, my $to or die "pipe: $!\n";
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		close $to;
		open STDIN, '<&', $from;
		open STDOUT, '>', $out;
		open STDERR, '>', $err;
		exec { $runner } $runner, "$dir/conf.yml", 'hooks' or POSIX::_exit(127);
	}
	close $from;
	local $SIG{PIPE} = 'IGNORE';
	$to->autoflush(1);
	print $to map { (ref $_ ? $json->encode({ job => $_ }) : $_) . "\n" } @jobs;
	# It stays until its input ends, and can be looked at.
	my $gone = 0;
	wait_for {
		$gone = waitpid($pid, WNOHANG) == $pid;
		my $text = slurp($out);
		$gone || (() = $text =~ /^\{"result"/mg) >= @jobs;
	} 'the jobs to end';
	my ($worker) = slurp($out) =~ /"hello":\{"pid":(\d+)/;
	($peak) = slurp("/proc/$worker/status") =~ /^VmHWM:\s+(\d+)/m if $worker && !$gone;
	close $to;
	waitpid $pid, 0 unless $gone;
	my $status = $? >> 8;
	($out, $err) = (slurp($out), slurp($err));
	Test::More::diag($err) if $status != 0;
	Test::More::plan(skip_all => 'this build has no driver http') if $err =~ /no driver "http"/;
	my %result = (log => $err, output => $out, peak_kb => $peak);
	for my $line (split /\n/, $out) {
		my $o = $json->decode($line);
		$result{ $o->{result}{id} } = $o->{result} if $o->{result};
		$result{exit} = $o->{exit} if $o->{exit};
		push @{ $result{progress}{ $o->{progress}{id} } }, $o->{progress} if $o->{progress};
	}
	my $exit = $result{exit} || { status => -1, signal => 0 };
	Test::More::fail("the worker ended with status $exit->{status}, signal $exit->{signal}: $err")
	    if $exit->{status} || $exit->{signal};
	return \%result;
}

sub job { my ($id, %data) = @_; return { id => $id, type => 'some.event', data => \%data } }
sub classes { my ($r, @ids) = @_; return join ' ', map { $r->{$_} ? $r->{$_}{class} || 'completed' : 'no result' } @ids }

# That a worker never had more memory than is promised.
sub is_small {
	my ($r, $what) = @_;
	SKIP: {
		Test::More::skip('memory is not as usual in a sanitizer build', 1) if (run_program([ jobqd_program(), '-V' ]))[1] =~ /sanitizers/;
		Test::More::ok($r->{peak_kb} && $r->{peak_kb} < 60 << 10, sprintf "$what in %.1f MiB", $r->{peak_kb} / 1024);
	}
	return;
}

# t/hostile.py: a server that does whatever is asked for in the path. Its port,
# and the file where it writes a JSON line a request.
sub hostile {
	my (@argv) = @_;
	my ($port, $where) = (free_port(), temp_directory());
	background([ 'python3', source_directory() . '/t/hostile.py', $port, "$where/requests", @argv ], log => "$where/log");
	wait_port($port);
	return ($port, "$where/requests");
}

1;
