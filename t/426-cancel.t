# Cancels: of a job in every state, by either of two nodes, whichever of them
# runs it and with whichever driver; what is stored of it; and thousands of
# them against jobs that are just being run.
# S1-2 S1-26 S1-49
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

# A mail server and a web server that never answer.
my ($mail, $web, $dir) = (free_port(), free_port(), temp_directory());
background([ 'python3', source_directory() . '/t/smtp_server.py', $mail, "$dir/mails", 'stall', 'greeting' ]);
background([ 'python3', '-c', <<'PY', $web ]);
import socket, sys
s, kept = socket.create_server(("127.0.0.1", int(sys.argv[1]))), []
while True:
    kept.append(s.accept())
PY
wait_port($_) for $mail, $web;

my $pg = Jobqd::Postgres->new;
my $config = <<"YAML";
handlers:
  null: {driver: noop}
  mail: {driver: email, server: "smtp://127.0.0.1:$mail", from: noreply\@example.com, tls: off}
  call: {driver: http, url: "http://127.0.0.1:$web/", allow_private: true}
  soft: {driver: exec, argv: [sleep, "5555.$$"]}
  hard: {driver: exec, argv: [sh, -c, "trap '' TERM; (setsid sleep 5555.$$ &) ; sleep 5555.$$; sleep 5555.$$"]}
retry: {default: {attempts: 2, backoff: fixed, base: 1h, jitter: 0%}}
queues:
  noop:  {handler: null, workers: 1, concurrency: 20}
  email: {handler: mail, workers: 1, cancel: {grace: 300ms}}
  http:  {handler: call, workers: 1, concurrency: 5}
  soft:  {handler: soft, workers: 1, cancel: {grace: 30s}}
  hard:  {handler: hard, workers: 1, cancel: {grace: 300ms}}
  busy:  {handler: null, workers: 2, concurrency: 20}
  lost:  {handler: null, workers: 1, lease: 2s}
YAML
my %node = map { $_ => Jobqd::Daemon->new(pg => $pg, name => $_, config => $config) } qw(one two);
my %other = (one => 'two', two => 'one');
$_->start for @node{qw(one two)};

my %payload = (
	noop => '{"sleep_ms": 600000}', email => '{"to": "a@example.com", "subject": "x", "text": "x"}',
	http => '{"payload": {}}', soft => '{}', hard => '{}',
);
my $add = sub {
	my ($queue, $data, $more) = @_;
	return $pg->query("SELECT jobq.enqueue('$queue', 'try', '$data'" . ($more ? ", $more" : '') . ')');
};
my $state = sub { $pg->query("SELECT state FROM jobq.jobs WHERE id = $_[0]") };
my $ends = sub { $pg->query("SELECT coalesce(string_agg(outcome || coalesce(' ' || class, ''), ', ' ORDER BY attempt), '') FROM jobq.attempts WHERE job_id = $_[0]") };
my $cancel = sub {
	my ($name, $id) = @_;
	my ($status, $out, $err) = $node{$name}->ctl('job', 'cancel', $id);
	return $status;
};
my $mine = sub { scalar grep { process_title($_) =~ /^sleep 5555\.$$/ } map { m{/(\d+)$} } glob '/proc/[0-9]*' };

# Running, with each driver.
for my $queue (qw(noop email http soft hard)) {
	for my $by (qw(same other)) {
		my $id = $add->($queue, $payload{$queue});
		wait_for { $state->($id) eq 'running' && $pg->query("SELECT node FROM jobq.jobs WHERE id = $id") } $queue;
		wait_for { map { $_->pids(qr{worker $queue/0 job $id }) } values %node } 'its worker';
		my $runs = $pg->query("SELECT node FROM jobq.jobs WHERE id = $id");
		my $who = $by eq 'same' ? $runs : $other{$runs};
		my $begin = time;
		is $cancel->($who, $id), 0, "$queue: running on $runs, cancelled by $who";
		wait_for { $state->($id) eq 'cancelled' } "the cancel of $queue";
		# S1-2, S1-26: cancelled while it runs.
		is $ends->($id), 'cancelled', sprintf '… one attempt, cancelled, no class, after %.0f ms', (time - $begin) * 1000;
		is $cancel->($who, $id), 1, '… only once';
	}
}
is $mine->(), 0, 'no program is left';

# The same by their time: that is another outcome.
for my $queue (qw(noop email http hard)) {
	my $id = $add->($queue, $payload{$queue}, "timeout => '500 ms'");
	wait_for { $state->($id) eq 'retrying' } "the time-out of $queue";
	is $ends->($id), 'failed timeout', "$queue: out of time: failed, of class timeout";
	is $cancel->('two', $id), 0, '… and cancelled while it waits for the next attempt';
	is $state->($id) . ': ' . $ends->($id), 'cancelled: failed timeout, cancelled', '… at once, under the next number';
}
is $mine->(), 0, 'no program is left';

# Waiting in one way or another.
my %waiting = (
	scheduled => sub { $add->('noop', '{}', "delay => '1 h'") },
	blocked => sub { my $first = $add->('noop', '{}', "delay => '1 h'"); $add->('noop', '{}', "after => ARRAY[$first]::bigint[]") },
	ready => sub { $pg->query("SELECT jobq.pause('noop')"); $add->('noop', '{}') },
	retrying => sub { my $id = $add->('busy', '{"fail": "network"}'); wait_for { $state->($id) eq 'retrying' } 'the failure'; $id },
);
for my $what (sort keys %waiting) {
	for my $by (qw(one two)) {
		my $id = $waiting{$what}->();
		is $state->($id), $what, "$what: waits";
		is $cancel->($by, $id), 0, "… cancelled by $by";
		is $state->($id), 'cancelled', '… at once';
		# S1-2, S1-26, S4-25: cancelled before it runs.
		like $pg->query("SELECT error FROM jobq.jobs WHERE id = $id"), qr/^cancelled by \w/, '… which tells by whom';
		is $pg->query("SELECT jobq.retry($id)"), 'f', '… and is final';
	}
}
$pg->query("SELECT jobq.resume('noop')");
my $done = $add->('noop', '{}');
my $dead = $add->('noop', '{"fail": "validation"}');
wait_for { $state->($done) eq 'completed' && $state->($dead) eq 'dead' } 'two ends';
is $cancel->('one', $done), 1, 'what is completed is not cancelled';
is $cancel->('two', $dead), 1, 'nor what is dead';
is $cancel->('two', 999999), 3, 'nor what is not there';
is $pg->query("SELECT count(*) FROM jobq.audit WHERE action = 'cancel'"), 22, 'each cancel is in the audit, and nothing else';

# In a storm: each of them ends once, as one or the other, and who was told
# that there is nothing to cancel was told so of a job that completed.
{
	$pg->query("SELECT jobq.pause('busy')");
	my @ids = split /\n/, $pg->query("SELECT jobq.enqueue('busy', 'storm', '{\"sleep_ms\": 20}') FROM generate_series(1, 4000)");
	$pg->query('CREATE TABLE asked (id bigint, yes boolean)');
	# from the end and the middle of the queue on, ten at a time
	my @tens = map { my $n = 10 * $_; "INSERT INTO asked SELECT id, jobq.cancel(id) FROM unnest('{" . join(',', @ids[$n .. $n + 9]) . "}'::bigint[]) id;" } 0 .. $#ids / 10;
	my @sessions = map { $pg->session } 1 .. 2;
	$pg->query("SELECT jobq.resume('busy')");
	$sessions[0]->send(join "\n", reverse @tens[200 .. 399]);
	$sessions[1]->send(join "\n", @tens[0 .. 199]);
	$_->answer for @sessions;
	wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = 'storm' AND state IN ('completed', 'cancelled')") == 4000 } 'the storm to end';
	my ($cancelled, $late) = split /\|/, $pg->query("SELECT count(*) FILTER (WHERE j.state = 'cancelled'), count(*) FILTER (WHERE j.state = 'completed' AND a.yes)
	    FROM jobq.jobs j JOIN asked a USING (id)");
	ok $cancelled > 0, "of 4000 jobs $cancelled were cancelled; $late were asked to stop and completed first";
	is $pg->query("SELECT count(*) FROM jobq.jobs j JOIN asked a USING (id) WHERE j.state = 'cancelled' AND NOT a.yes"), 0, 'no job was cancelled by nobody';
	is $pg->query("SELECT count(*), count(*) FILTER (WHERE a.outcome IN ('completed', 'cancelled')) FROM jobq.attempts a JOIN asked k ON k.id = a.job_id"),
	    '4000|4000', 'each has one end';
	wait_for { $pg->query('SELECT count(*) FROM jobq.lease') == 0 } 'the leases to end';
	is $pg->query("SELECT sum(ready + running + retrying + scheduled) FROM jobq.queues WHERE name = 'busy'"), 0, 'nothing is left of it';
}

# The node that runs it is gone, and nobody knows yet.
{
	my $id = $add->('lost', '{"sleep_ms": 600000}');
	wait_for { $state->($id) eq 'running' } 'the last one';
	my $runs = wait_for { $pg->query("SELECT node FROM jobq.jobs WHERE id = $id") } 'its node';
	$node{$runs}->vanish;
	is $cancel->($other{$runs}, $id), 0, "cancelled while its node, $runs, is gone";
	wait_for { $state->($id) eq 'cancelled' } 'the cancel';
	is $ends->($id), 'lost lost, cancelled', '… it does not run again on the other';
	is $node{ $other{$runs} }->stop, 0, 'the other ends well';
}
done_testing;
