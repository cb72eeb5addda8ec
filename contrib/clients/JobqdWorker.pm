# Workers for jobqd in Perl: the protocol of jobqd-worker(7).
#
#	use JobqdWorker;
#
#	my $worker = JobqdWorker->new;
#	$worker->handle(resize => sub {
#		my ($job) = @_;
#		$job->fail('data lacks url', class => 'validation') unless $job->{data}{url};
#		$job->progress(50, 'half of it');
#		return { width => 640 };	# the result, any JSON
#	});
#	$worker->run;
#
# In the configuration: handlers: {app: {driver: worker, argv: [perl, app.pl]}}, and
# workers: N in the queue for so many at a time: one job runs after the other, so
# in_flight is best left at 1. That a job is to stop is seen when it calls check,
# cancelled, progress or log. What a handler dies with fails its job, class error,
# with the trace in the job's log. What is printed to standard output is in the log
# of the job, as is standard error. Needs Perl 5.14 and nothing else; with large
# data, JSON::XS makes it faster.
#
# Put this file beside your program; it may be changed and used for any purpose.
package JobqdWorker;
use strict;
use warnings;
use Carp ();
use IO::Handle;
use JSON::PP ();

my $json = (eval { require JSON::XS; 1 } ? 'JSON::XS' : 'JSON::PP')->new->utf8->allow_nonref->convert_blessed;

sub new {
	my ($class) = @_;
	return bless { handlers => {}, waiting => [], unread => '', queue => '' }, $class;
}

# Runs jobs of this type, '*' those of all others.
sub handle {
	my ($self, $type, $handler) = @_;
	$self->{handlers}{$type} = $handler;
	return $self;
}

# Puts in a job at once, whatever becomes of that which runs. more: the other
# arguments of jobq.enqueue(), as priority, delay or unique_key.
sub enqueue {
	my ($self, $queue, $type, $data, %more) = @_;
	$self->say({ enqueue => { %more, queue => $queue, type => $type // '', data => $data || {} } });
}

# Serves until jobqd says quit, and returns when all jobs have ended.
sub run {
	my ($self) = @_;
	# Whatever prints, and what it starts.
	open $self->{out}, '>&', \*STDOUT or die "standard output: $!\n";
	open STDOUT, '>&', \*STDERR or die "standard error: $!\n";
	binmode $self->{out};
	STDOUT->autoflush(1);
	while (!$self->{over} || @{ $self->{waiting} }) {
		$self->poll(@{ $self->{waiting} } ? 0 : undef);
		$self->_work(shift @{ $self->{waiting} }) if @{ $self->{waiting} };
	}
}

# What jobqd has said meanwhile; waits so many seconds, undef for ever.
sub poll {
	my ($self, $seconds) = @_;
	my $in = '';
	vec($in, fileno(STDIN), 1) = 1;
	while (!$self->{over} && select(my $ready = $in, undef, undef, $seconds) > 0) {
		my $n = sysread STDIN, $self->{unread}, 1 << 16, length $self->{unread};
		next if !defined $n && $!{EINTR};
		$self->{over} = 1 unless $n;
		while ((my $end = index $self->{unread}, "\n") >= 0) {
			my $line = substr $self->{unread}, 0, $end + 1, '';
			$self->_take($json->decode($line));
			$seconds = 0;
		}
	}
}

sub say {
	my ($self, $message) = @_;
	my $text = $json->encode($message) . "\n";
	my $at = 0;
	while ($at < length $text) {
		my $n = syswrite $self->{out}, $text, length($text) - $at, $at;
		die "jobqd is gone: $!\n" unless defined $n || $!{EINTR};
		$at += $n // 0;
	}
}

sub _take {
	my ($self, $message) = @_;
	if (my $hello = $message->{hello}) {
		$self->{queue} = $hello->{queue};
		$self->say({ ready => {} });
	} elsif (my $job = $message->{job}) {
		push @{ $self->{waiting} }, bless { %$job, queue => $self->{queue}, worker => $self }, 'JobqdWorker::Job';
	} elsif (my $cancel = $message->{cancel}) {
		$_->{stop} = 1 for grep { $_->{id} == $cancel->{id} } @{ $self->{waiting} }, $self->{running} || ();
	} elsif ($message->{quit}) {
		$self->{over} = 1;
	}
}

sub _work {
	my ($self, $job) = @_;
	my $handler = $self->{handlers}{ $job->{type} } || $self->{handlers}{'*'};
	my ($said, $trace);
	local $self->{running} = $job;
	my $ok = eval {
		local $SIG{__DIE__} = sub { $trace = ref $_[0] ? undef : Carp::longmess($_[0]) };
		$job->fail("no handler for type $job->{type}", class => 'validation') unless $handler;
		$job->fail('cancelled') if $job->{stop};
		my $result = $handler->($job);
		$self->say({ done => { id => $job->{id}, defined $result ? (result => $result) : () } });
		1;
	};
	return if $ok;
	my $error = $@;
	if (ref $error && eval { $error->isa('JobqdWorker::Fail') }) {
		$self->say({ fail => { %$error, id => $job->{id} } });
	} else {
		$job->log($trace // "$error");
		(my $message = "$error") =~ s/\s+\z//;
		$self->say({ fail => { id => $job->{id}, class => 'error', message => $message } });
	}
}

# One attempt of one job: its members are id, token, queue, type, data, attempt,
# max_attempts, tenant, deadline.
package JobqdWorker::Job;
use strict;
use warnings;

# Fails it, and does not return. Options: class, one of error, validation,
# rate_limit, auth, network, timeout and resource; retry_after, seconds.
sub fail {
	my ($self, $message, %o) = @_;
	die bless { class => 'error', %o, message => $message }, 'JobqdWorker::Fail';
}

# Somebody wants it to stop, or its time is over.
sub cancelled {
	my ($self) = @_;
	$self->{worker}->poll(0);
	return $self->{stop};
}

# Ends it then: call it now and then.
sub check {
	my ($self) = @_;
	$self->fail('cancelled') if $self->cancelled;
}

# How far it is, 0 to 100, and a word on it or partial results.
sub progress {
	my ($self, $pct, $note) = @_;
	$self->{worker}->say({ progress => { id => $self->{id}, defined $pct ? (pct => $pct + 0) : (), defined $note ? (note => $note) : () } });
	$self->{worker}->poll(0);
}

# Lines to be kept with this job alone.
sub log {
	my ($self, $text) = @_;
	$self->{worker}->say({ log => { id => $self->{id}, line => $_ } }) for split /\n/, $text;
	$self->{worker}->poll(0);
}

# Puts in a job, if and when this one is done.
sub enqueue {
	my ($self, $queue, $type, $data, %more) = @_;
	$self->{worker}->enqueue($queue, $type, $data, %more, id => $self->{id});
}

1;
