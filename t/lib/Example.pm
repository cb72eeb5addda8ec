# For tests of examples that set their database up themselves: what System.pm has, as
# functions of it; and a web service that answers as it is told.
#
#	my $web = Example::Service->new(['POST', '^/send', [{ status => 503 }, { status => 201 }]]);
#	my $job = ended($pg, $id);
#	is_deeply [delays($pg, $id)], [1, 2, 4];
package Example;

use strict;
use warnings;

use Exporter qw(import);
use Jobqd;
use JSON::PP ();
use System;
use Test::More;

our @EXPORT = qw(example enqueue ended job_is watch_delays delays schedule_runs mails service);
our $json = JSON::PP->new->utf8->canonical->allow_nonref;

# The path of an example, after jobqd has checked it.
sub example {
	my ($name) = @_;
	my $path = source_directory() . "/etc/examples/$name";
	my ($status, undef, $err) = run_program([ jobqd_program(), '-t', '-c', $path ]);
	is $status, 0, "$name passes -t" or diag $err;
	return $path;
}

sub system_of { return bless { pg => $_[0] }, 'System' }

# Enqueue, with more arguments of jobq.enqueue() as SQL, and return the id.
sub enqueue {
	my ($pg, $queue, $type, $data, %more) = @_;
	return system_of($pg)->enqueue($queue, $type, $data, join ', ', map { "$_ => $more{$_}" } sort keys %more);
}

# The job's row when it has ended.
sub ended { my ($pg, $id) = @_; return scalar system_of($pg)->ended($id) }

# That it ends so; returns its row.
sub job_is {
	my ($pg, $id, $state, $name) = @_;
	my $job = ended($pg, $id);
	is $job->{state}, $state, $name or diag $job->{error} // '(no error)';
	return $job;
}

# From now on it is written down what is stored as the time of a next attempt.
sub watch_delays { system_of($_[0])->note_delays }

# Let a job fail until it has ended: the delays that it was given before its next
# attempts, in seconds. It is not waited for them.
sub delays { my ($pg, $id) = @_; return map { $_ / 1000 } system_of($pg)->delays($id) }

# Run a schedule by hand; the rows of its jobs when they have ended.
sub schedule_runs {
	my ($pg, $d, $name) = @_;
	my ($status, $out, $err) = $d->ctl('schedule', 'run', $name);
	is $status, 0, "schedule run $name" or diag $err;
	return map { ended($pg, $_) } split /\n/, $out;
}

# The files of mails in a directory, as text with unfolded headers and without
# soft line ends.
sub mails {
	my ($dir) = @_;
	return map { s/\r\n/\n/gr =~ s/\n[ \t]+/ /gr =~ s/=\n//gr } map { slurp($_) } sort glob "$dir/*.eml";
}

sub service { return Example::Service->new(@_) }

#----------------------------------------------------------------------
package Example::Service;

use strict;
use warnings;

sub new {
	my ($class, @rules) = @_;
	my $dir = Jobqd::temp_directory();
	my $self = bless { dir => $dir, port => Jobqd::free_port() }, $class;
	$self->rules(@rules);
	Jobqd::background([ 'python3', Jobqd::source_directory() . '/t/answers.py', $self->{port}, "$dir/requests", "$dir/rules" ], log => "$dir/log");
	Jobqd::wait_port($self->{port});
	return $self;
}

sub url { return "http://127.0.0.1:$_[0]{port}$_[1]" }

# What it answers from now on.
sub rules {
	my ($self, @rules) = @_;
	Jobqd::spew("$self->{dir}/rules.new", $Example::json->encode(\@rules));
	rename "$self->{dir}/rules.new", "$self->{dir}/rules" or die "$self->{dir}/rules: $!\n";
}

# The requests whose method and path match.
sub requests {
	my ($self, $pattern) = @_;
	return grep { "$_->{method} $_->{path}" =~ $pattern } Jobqd::json_lines("$self->{dir}/requests");
}

1;
