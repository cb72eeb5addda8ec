# A whole system of etc/examples, running as it is: its configuration with its environment,
# its sample tables, and a mail server.
#
#	my $e = System->new('fleettracker', env => { TRACKER_RUN => $dir, … });
#	my $job = $e->run('jobs', 'data_cleanup', { … });	# completed, else it fails
#	my ($mail) = $e->mails(sub { $_->{to} eq 'ann@example.com' });
package System;

use strict;
use warnings;

use Jobqd;
use JSON::PP ();
use Test::More ();

my $json = JSON::PP->new->canonical;	# texts, not bytes
my $bytes = JSON::PP->new->utf8;

# Options: env => {NAME => value}, of everything from here on; a code reference
# makes the values once the database is there: env => sub { my ($pg) = @_; … }.
# replace => sub { of the text of the configuration }, where no variable does.
sub new {
	my ($class, $name, %o) = @_;
	my $examples = Jobqd::source_directory() . '/etc/examples';
	my $pg = Jobqd::Postgres->new;
	my $self = bless { name => $name, pg => $pg, dir => Jobqd::temp_directory(), read => {} }, $class;
	# An ordinary role owns the tables and the schema, as it should be.
	$self->{url} = $pg->ordinary_url;
	$pg->query("GRANT CREATE ON SCHEMA public TO ordinary; SET ROLE ordinary;\n"
	    . 'SET client_min_messages = warning; ' . Jobqd::slurp("$examples/$name.sql"));
	my %env = ref $o{env} eq 'CODE' ? $o{env}->($self) : %{ $o{env} || {} };
	$ENV{$_} = $env{$_} for keys %env;
	my $text = Jobqd::slurp("$examples/$name.yml");
	$text = $o{replace}->($text) if $o{replace};
	$self->{daemon} = Jobqd::Daemon->new(pg => $pg, config => $text);
	my ($status, undef, $err) = Jobqd::run_program([ Jobqd::jobqd_program(), '-t', '-c', $self->{daemon}{conf} ]);
	Test::More::is($status, 0, "$name.yml passes -t") or Test::More::diag($err);
	return $self;
}

# Start it, and note from now on when each job is to run again.
sub start {
	my ($self) = @_;
	$self->{daemon}->start;
	$self->note_delays unless $self->{notes}++;
	return $self;
}

sub note_delays {
	my ($self) = @_;
	$self->ask(<<'SQL');
CREATE TABLE public.waited (job bigint, attempt int, run_at timestamptz);
CREATE FUNCTION public.note_wait() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
    $$ BEGIN INSERT INTO public.waited VALUES (new.job, new.attempt - 1, new.run_at); RETURN NULL; END $$;
CREATE TRIGGER note_wait AFTER INSERT ON jobq.timer FOR EACH ROW EXECUTE FUNCTION public.note_wait();
SQL
}

# SQL, as the superuser; by one session as long as the server runs, since a test
# asks a thousand times.
sub ask {
	my ($self, $sql) = @_;
	my $pg = $self->{pg};
	if (!$pg->{asked} || $pg->{asked_pid} != ($pg->{pid} || 0)) {
		$pg->{asked} = $pg->session;
		$pg->{asked_pid} = $pg->{pid} || 0;
		$pg->{asked}->query('SET client_min_messages = warning');
	}
	my $out = $pg->{asked}->query($sql);
	die "$out\n-- in: $sql\n" if $out =~ /^(?:ERROR|FATAL|psql: error|connection to server.*lost)/mi;
	return $out;
}

# A value as a text of SQL.
sub quoted {
	my ($value) = @_;
	my $text = ref $value ? $json->encode($value) : $value;
	utf8::encode($text) if utf8::is_utf8($text);
	return "'" . ($text =~ s/'/''/gr) . "'";
}

# more: further arguments of enqueue(), as SQL.
sub enqueue {
	my ($self, $queue, $type, $data, $more) = @_;
	return $self->ask("SELECT jobq.enqueue('$queue', '$type', " . quoted($data || {}) . ($more ? ", $more" : '') . ')');
}

sub job { my ($self, $id) = @_; return $bytes->decode($self->ask("SELECT row_to_json(j) FROM jobq.jobs j WHERE id = $id")) }

# Wait until jobs have ended; what they are then.
sub ended {
	my ($self, @ids) = @_;
	my $list = join ',', @ids;
	Jobqd::wait_for {
		$self->ask("SELECT count(*) FROM jobq.jobs WHERE id IN ($list) AND state IN ('completed', 'dead', 'cancelled')") == @ids
	} "the end of $list";
	my @jobs = map { $self->job($_) } @ids;
	return wantarray ? @jobs : $jobs[0];
}

sub run {
	my ($self, $queue, $type, $data, $more) = @_;
	my $job = $self->ended($self->enqueue($queue, $type, $data, $more));
	Test::More::is($job->{state}, 'completed', "$type is done") or Test::More::diag($job->{error});
	return $job;
}

# Run a schedule now: its jobs, when they have completed.
sub fire {
	my ($self, $name) = @_;
	my ($status, $out, $err) = $self->{daemon}->ctl('schedule', 'run', $name, '--json');
	Test::More::is($status, 0, "schedule run $name") or Test::More::diag($err);
	my @jobs = $self->ended(@{ $bytes->decode($out)->{jobs} });
	Test::More::is(join(' ', map { $_->{state} } @jobs), join(' ', ('completed') x @jobs), '… and its jobs are done')
	    or Test::More::diag($bytes->encode([ map { $_->{error} } @jobs ]));
	return wantarray ? @jobs : $jobs[0];
}

# The delays that a job was given between its attempts, in milliseconds, once it
# has ended; nobody waits for them.
sub delays {
	my ($self, $id) = @_;
	Jobqd::wait_for {
		$self->ask("SELECT jobq.retry(id) FROM jobq.jobs WHERE id = $id AND state = 'retrying'
		    AND run_at > clock_timestamp() + interval '100 ms'");
		$self->job($id)->{state} =~ /^(?:dead|completed)$/;
	} "the end of $id";
	return split /\n/, $self->ask("SELECT round(extract(epoch FROM w.run_at - a.finished_at) * 1000)
	    FROM public.waited w JOIN jobq.attempts a ON a.job_id = w.job AND a.attempt = w.attempt WHERE w.job = $id ORDER BY a.attempt");
}

# Mail, by t/smtp_server.py or as files: where it comes to.
sub mail_server {
	my ($self) = @_;
	$self->{smtp_port} ||= Jobqd::free_port();
	$self->{smtp} = Jobqd::background([ 'python3', Jobqd::source_directory() . '/t/smtp_server.py', $self->{smtp_port},
	    "$self->{dir}/sessions" ], log => "$self->{dir}/smtp.log");
	Jobqd::wait_port($self->{smtp_port});
	return "smtp://127.0.0.1:$self->{smtp_port}";
}

sub mail_server_down {
	my ($self) = @_;
	my $pid = delete $self->{smtp};
	kill 'KILL', $pid;
	waitpid $pid, 0;
}

# All that it has got and that the condition (of $_) holds for, as t/mails.py
# reads them.
sub mails {
	my ($self, $wanted) = @_;
	my $dir = "$self->{dir}/mails";
	mkdir $dir;
	my @all = map { ref $_->{mail} ? @{ $_->{mail} } : defined $_->{mail} ? $_->{mail} : () } Jobqd::json_lines("$self->{dir}/sessions");
	for my $n (($self->{written} || 0) .. $#all) {
		# what the server has read as Latin-1 are bytes
		Jobqd::spew(sprintf('%s/%06d.eml', $dir, $n), $all[$n]);
	}
	$self->{written} = @all;
	my (undef, $out) = Jobqd::run_program([ 'python3', Jobqd::source_directory() . '/t/mails.py', $dir ]);
	return grep { !$wanted || $wanted->() } map { $bytes->decode($_) } split /\n/, $out;
}

# Wait for one of them.
sub mail {
	my ($self, $what, $wanted) = @_;
	my @found;
	Jobqd::wait_for { @found = $self->mails($wanted) } "the mail: $what";
	Test::More::pass("the mail: $what");
	return $found[-1];
}

1;
