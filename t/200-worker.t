# Workers with a real leader: what they do when it dies, and what a driver
# learns from an earlier attempt.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More;

plan tests => 16;

my $dir = temp_directory();
my $pg = Jobqd::Postgres->new;
my $smtp = free_port();
background([ 'python3', source_directory() . '/t/smtp_server.py', $smtp, "$dir/smtp" ], log => "$dir/smtp.log");
wait_port($smtp);

my $daemon = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
retry: {quick: {attempts: 4, backoff: fixed, base: 100ms, jitter: 0%}}
handlers:
  null: {driver: noop}
  sh:   {driver: exec, argv: [sh, -c, "{{data.sh}}"]}
  mail: {driver: email, server: "smtp://127.0.0.1:$smtp", from: a\@example.com}
queues:
  naps: {handler: null, workers: 2, concurrency: 5}
  programs: {handler: sh, workers: 2}
  mails: {handler: mail, retry: quick}
YAML
$daemon->start;

sub leader {
	my ($queue) = @_;
	my ($pid) = grep { process_title($_) =~ /^jobqd: queue $queue\b/ } process_tree($daemon->{pid});
	return $pid;
}
sub state { my ($id) = @_; return $pg->query("select state from jobq.jobs where id = $id") }
sub attempts { my ($id) = @_; return $pg->query("select coalesce(string_agg(attempt || ':' || outcome, ' ' order by attempt), '') from jobq.attempts where job_id = $id") }

# Titles.
{
	my $id = $pg->query(q(select jobq.enqueue('programs', 'a type', '{"sh": "sleep 30"}')));
	wait_for { grep { process_title($_) =~ m{^jobqd: worker programs/[01] job $id a type$} } process_tree($daemon->{pid}) } 'the title of a busy worker';
	pass 'a busy worker shows its job';
	$pg->query("select jobq.cancel($id)");
	wait_for { state($id) eq 'cancelled' } 'the cancel';
	is attempts($id), '1:cancelled', 'a job that was cancelled while it ran';
	wait_for { 2 == grep { process_title($_) =~ m{^jobqd: worker programs/[01]$} } process_tree($daemon->{pid}) } 'idle titles';
	pass 'idle ones do not';
}

# The leader dies while jobs run: their workers complete them.
{
	my @naps = split /\n/, $pg->query(q(select jobq.enqueue('naps', '', '{"sleep_ms": 1500}') from generate_series(1, 10)));
	my @programs = split /\n/, $pg->query(qq(select jobq.enqueue('programs', '', jsonb_build_object('sh', 'echo x >> $dir/runs; sleep 1.5; echo "{\\"n\\": 1}"')) from generate_series(1, 2)));
	my $all = join ',', @naps, @programs;
	chmod 0777, $dir;
	wait_for { $pg->query("select count(*) from jobq.jobs where id in ($all) and state = 'running'") == 12 && (-s "$dir/runs" || 0) == 4 } 'all of them to run';
	kill 'KILL', leader('naps'), leader('programs');
	wait_for { $pg->query("select count(*) from jobq.jobs where id in ($all) and state = 'completed'") == 12 } 'all of them to be completed';
	is $pg->query("select string_agg(distinct attempt || ':' || outcome, ' ') from jobq.attempts where job_id in ($all)"), '1:completed',
	    'jobs that run when their leader dies are completed by their workers, once';
	# S1-41, S1-75
	is slurp("$dir/runs"), "x\nx\n", '… and not run again';
	is $pg->query("select result->>'n' from jobq.jobs where id = $programs[0]"), '1', '… with their results';
	like slurp($daemon->{log}), qr/completed without the leader/, '… as the log says';
	wait_for { leader('naps') && leader('programs') } 'new leaders';
	my $id = $pg->query(q(select jobq.enqueue('naps')));
	wait_for { state($id) eq 'completed' } 'a job of the new leader';
	pass 'new leaders go on';
}

# Only those recipients are tried again who were deferred.
{
	my $id = $pg->query(q(select jobq.enqueue('mails', '', '{"to": ["good@x.example", "deferonce@x.example", "refuse@x.example"], "subject": "s", "text": "t"}')));
	wait_for { state($id) eq 'completed' } 'the mail';
	is attempts($id), '1:failed 2:completed', 'a mail that was deferred for one recipient';
	my @mails = grep { exists $_->{mail} } json_lines("$dir/smtp");
	is_deeply [ map { $_->{rcpt} } @mails ], [ ['good@x.example'], ['deferonce@x.example'] ], '… goes to nobody twice';
	my $result = JSON::PP->new->utf8->decode($pg->query("select result from jobq.jobs where id = $id"));
	is_deeply { map { $_ => $result->{recipients}{$_}{state} } keys %{ $result->{recipients} } },
	    { 'good@x.example' => 'accepted', 'deferonce@x.example' => 'accepted', 'refuse@x.example' => 'refused' }, '… and the result knows of all';
	my ($one, $two) = map { $_->{mail} =~ /^Message-ID: (.*?)\r$/mi } @mails;
	is $one, $two, '… under one Message-ID';
	$id = $pg->query(q(select jobq.enqueue('mails', '', '{"to": "defer@x.example", "subject": "s", "text": "t"}')));
	wait_for { state($id) eq 'dead' } 'the mail nobody takes';
	is attempts($id), '1:failed 2:failed 3:failed 4:dead', 'one that is deferred for ever';
	is $pg->query("select error_class from jobq.dead_letters where job_id = $id"), 'network', '… dies of it';
}

# A type that has no handler.
{
	$daemon->configure(<<'YAML');
handlers: {null: {driver: noop}}
queues: {typed: {types: {known: null}}}
YAML
	$daemon->stop;
	$daemon->start;
	my $id = $pg->query(q(select jobq.enqueue('typed', 'unknown')));
	wait_for { state($id) eq 'dead' } 'the unknown type';
	is $pg->query("select error_class from jobq.jobs where id = $id"), 'validation', 'a type without a handler: validation (S1-49)';
	like $pg->query("select error from jobq.jobs where id = $id"), qr/queue typed has no handler for jobs of type "unknown"; it has: known/, '… and it is named (S1-10)';
}
