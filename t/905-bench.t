# The benchmarks: every command runs and says what it measured (how fast, is for
# nobody to assert here), and one that is interrupted or cannot begin leaves nothing.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP ();
use Test::More;

my $bench = source_directory() . '/contrib/bench/bench';
my $decoder = JSON::PP->new;

# The smallest that means something: arguments, and how many lines they make.
my %small = (
	drain    => [ 'jobs=500', 3 ],
	backlog  => [ 'jobs=500', 1 ],
	steady   => [ 'seconds=1', 2 ],
	snapshot => [ 'seconds=1', 4 ],
	enqueue  => [ 'jobs=500', 4 ],
	latency  => [ 'seconds=1', 'queues=2', 7 ],
	producers => [ 'jobs=1000', 3 ],
	policies => [ 'jobs=500', 6 ],
	growth   => [ 'axes=workers,history', 'max=1', 'jobs=500', 2 ],
	mixed    => [ 'large=100', 3 ],
	webhooks => [ 'webhooks=20', 'delay_ms=10', 4 ],
	mails    => [ 'mails=20', 2 ],
	crash    => [ 'runs=1', 3 ],
	api      => [ 'seconds=1', 6 ],
	idle     => [ 'seconds=1', 4 ],
	chaos    => [ 'scenario=chaos_pg_backend_kill', 1 ],
);
# Elsewhere: cost is a step of contrib/check.sh, peers needs programs from the net.
my %elsewhere = map { $_ => 1 } qw(cost peers all);

my ($status, $out, $err) = run_program([ $bench, 'help' ]);
is $status, 0, 'help';
my @commands = grep { !$elsewhere{$_} } $out =~ /^  (\w+) /mg;
is_deeply [ sort @commands ], [ sort keys %small ], '… has these commands, and no others';

for my $command (@commands) {
	my @arguments = @{ $small{$command} };
	my $lines = pop @arguments;
	($status, $out, $err) = run_program([ $bench, '--json', $command, @arguments ]);
	is $status, 0, "$command @arguments" or diag $err;
	my @results = map { $decoder->decode($_) } split /\n/, $out;
	is @results, $lines, '… lines';
	is_deeply [ grep { !length $_->{name} || !length $_->{unit} || $_->{value} !~ /^[0-9.e+-]+$/ || ($_->{limit} // 1) <= 0 } @results ], [],
	    '… each has a name, a number and a unit';
}

#
# What cannot be done
#

($status, undef, $err) = run_program([ $bench, 'nonsense' ]);
is $status, 2, 'a command that there is not';
like $err, qr/^bench: there is no command nonsense\n/, '… is said';

($status, undef, $err) = run_program([ $bench, 'drain' ], env => { PG_BINDIR => '/nowhere' });
isnt $status, 0, 'no PostgreSQL';
is $err, "PostgreSQL's server is missing in /nowhere: apt-get install postgresql\n", '… and what to install';

# The pids and the directory of one that has come as far as its measure.
sub begun {
	my ($pid) = @_;
	my $data;
	wait_for {
		my @tree = process_tree($pid);
		($data) = map { process_title($_) =~ m{-D (/\S+)/data} } @tree;
		$data && grep { process_title($_) =~ m{/load steady } } @tree;
	} 'the load';
	return ($data, process_tree($pid));
}

for my $signal (qw(INT TERM PIPE)) {
	pipe my $reader, my $writer or die "pipe: $!\n";
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		open STDOUT, '>&', $writer;
		open STDERR, '>&', $writer;
		close $reader;
		exec $bench, 'steady', 'seconds=60' or POSIX::_exit(127);
	}
	close $writer;
	my ($directory, @tree) = begun($pid);
	ok -d $directory && @tree > 5, "a run in $directory";
	close $reader if $signal eq 'PIPE';	# nobody hears what it says at its end
	kill $signal, $pid;
	waitpid $pid, 0;
	is $? >> 8, 1, "… is interrupted by SIG$signal";
	wait_for { !alive(@tree) } 'its processes to be gone';
	ok !-e $directory, '… and leaves no process and no directory';
}

done_testing;
