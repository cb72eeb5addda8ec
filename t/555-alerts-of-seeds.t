# The alerts of etc/examples/alerts.yml, which have the limits that the five
# descriptions of jobqd's first users name: each is made to fire, and told by
# mail, mended, and told again. S0-71, S1-46, S2-41, S2-42, S2-43, S2-44, S3-50,
# S4-37, S4-38, S4-39, S4-40, S2-62, S3-66, S3-68
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my ($mails, $pages) = ("$dir/mails", "$dir/pages");
mkdir $mails;
spew("$dir/page", "#!/bin/sh\ncat >> $pages\n");
chmod 0755, "$dir/page";
%ENV = (%ENV, ALERT_INTERVAL => '1s', LEASE => '3s', MAIL_SERVER => "file:$mails", PAGE_PROGRAM => "$dir/page",
	STALLED_FOR => '2s', STALLED_WINDOW => '10s', PAUSED_FOR => '2s', DATABASE_FOR => '2s', MISSED_ABOVE => '3s', PINNED_ABOVE => '3s');
my $sample = slurp(source_directory() . '/etc/examples/alerts.yml');
my ($status, $out, $err) = run_program([ jobqd_program(), '-t', '-c', source_directory() . '/etc/examples/alerts.yml' ]);
is $status, 0, 'the sample passes -t' or diag $err;
# on this database, and with something that runs by the clock all the time
(my $config = $sample) =~ s/^database:\n.*\n//m;
$config =~ s/^(  interval: .*)\n/$1\n  health_file: ""\n/m;
$config =~ s/^(  nightly: .*)\n/$1\n  ticking: {every: 1s, queue: reports, type: tick}\n/m;
my $d = Jobqd::Daemon->new(pg => $pg, config => $config);
$d->start;

sub firing { my ($name, $queue) = @_; return $pg->query("SELECT count(*) FROM jobq.alerts WHERE name = '$name' AND queue IS NOT DISTINCT FROM " . (defined $queue ? "'$queue'" : 'NULL') . " AND state <> 'ended'") }
sub ended { my ($name, $queue) = @_; return $pg->query("SELECT count(*) FROM jobq.alerts WHERE name = '$name' AND queue IS NOT DISTINCT FROM " . (defined $queue ? "'$queue'" : 'NULL') . " AND state = 'ended'") }
# the subjects of all mails
sub subjects { return map { my $m = slurp($_); $m =~ /^Subject: (.*(?:\r?\n[ \t].*)*)/m ? $1 =~ s/\r?\n[ \t]/ /gr : () } glob "$mails/*.eml" }
sub mailed { my ($like) = @_; return scalar grep { /$like/ } subjects() }

# what: name, queue, items of the seeds, a mail's words, code that makes the
# fault and code that mends it. What is made at $from is looked for after that.
sub fault {
	my ($items, $name, $queue, $words, $make, $mend) = @_;
	my $of = $name . (defined $queue ? " of $queue" : '');
	my $from = time;
	$make->() if $make;
	$from = time if $make;
	wait_for { firing($name, $queue) } "$of to fire";
	my $after = time - $from;
	wait_for { mailed(qr/^\[jobqd\] $words/) } "the mail of $of";
	pass sprintf '%s: %s fires after %.1f s, and is told', $items, $of, $after;
	return unless $mend;
	mend($name, $queue, $words =~ s/ \\\(.*//r, $mend);
}
sub mend {
	my ($name, $queue, $words, $mend) = @_;
	my $of = $name . (defined $queue ? " of $queue" : '');
	$mend->() if $mend;
	wait_for { !firing($name, $queue) && ended($name, $queue) } "$of to end";
	wait_for { mailed(qr/^\[jobqd\] ended: $words/) } "the mail of the end of $of";
	pass "… $of ends, and is told";
}
sub enqueue { my ($queue, $n, $data) = @_; $pg->query("SELECT count(jobq.enqueue('$queue', data => '" . ($data || '{}') . "')) FROM generate_series(1, $n)") }
sub failing { my ($queue, $n) = @_; enqueue($queue, $n, '{"fail": "error"}') }
sub idle { my ($queue) = @_; wait_for { $pg->query("SELECT ready + running + retrying FROM jobq.queues WHERE name = '$queue'") eq '0' } "$queue to be empty" }

# a queue is paused, and jobs pile up: 100 of email, 1000 elsewhere
fault('S3-50 queue paused', 'paused', 'email', 'email is paused', sub { $pg->query("SELECT jobq.pause('email', 'test')") });
fault('S1-46 S4-37 backlog above 100', 'backlog-email', 'email', 'backlog of email is 101 \(above 100\)', sub { enqueue('email', 101) });
is firing('backlog', 'email'), 0, 'which is no backlog of the other rule';
$pg->query("SELECT jobq.pause('sync', 'test')");
fault('S2-41 backlog above 1000', 'backlog', 'sync', 'backlog of sync is 1,001 \(above 1,000\)', sub { enqueue('sync', 1001) });
$pg->query("SELECT jobq.resume('email'), jobq.resume('sync')");
mend('paused', 'email', 'email is no longer paused');
mend('backlog-email', 'email', 'backlog of email is \d+');
mend('backlog', 'sync', 'backlog of sync is \d+');
idle($_) for qw(email sync);

# attempts fail: 101 of email were fine
fault('S0-71 failures above 5 %', 'failures-some', 'email', 'failure rate of email is [\d.]+ % \(above 5 %\)', sub { failing('email', 7) });
is firing('failures', 'email'), 0, 'not above 10 %';
fault('S2-42 S3-50 S4-38 failures above 10 %', 'failures', 'email', 'failure rate of email is [\d.]+ % \(above 10 %\)', sub { failing('email', 8) });
is firing('failures-many', 'email'), 0, 'not above 20 %';
fault('S1-46 failures above 20 %', 'failures-many', 'email', 'failure rate of email is [\d.]+ % \(above 20 %\)', sub { failing('email', 30) });
wait_for { slurp($pages) =~ /"alert":\s*"failures-many"/ } 'the page';
pass 'S2-62 S3-68 critical: a program is told as well';
enqueue('email', 1000);
mend($_, 'email', 'failure rate of email is [\d.]+ %') for qw(failures-many failures failures-some);

# 51 dead letters
fault('S2-44 dead letters above 50', 'dead', 'sync', 'number of unreviewed dead letters of sync is \d+ \(above 50\)', sub { failing('sync', 51) });
fault('S3-50 dead letters become more', 'dead-growth', 'sync', 'number of new dead letters of sync is \d+ \(above 20\)');
mend('dead', 'sync', 'number of unreviewed dead letters of sync is \d+', sub { $d->ctl('dead', 'review', '--all', '--queue', 'sync') });
mend('dead-growth', 'sync', 'number of new dead letters of sync is \d+', sub { $d->ctl('dead', 'delete', '--all', '--queue', 'sync') });

# jobs that take more than a minute: as if they had begun so long ago
fault('S2-43 average above 60000 ms', 'slow', 'email', 'average run time of email is [\d.]+ (?:ms|s|min) \(above 60 s\)',
	sub { $pg->query("UPDATE jobq.attempt SET started_at = finished_at - interval '75 s' WHERE queue = (SELECT id FROM jobq.queue WHERE name = 'email')") },
	sub { $pg->query("UPDATE jobq.attempt SET started_at = finished_at - interval '50 ms' WHERE queue = (SELECT id FROM jobq.queue WHERE name = 'email')") });

# a node dies with a job, and with all workers of its queue
my $other = Jobqd::Daemon->new(pg => $pg, name => 'other', config => <<"YAML");
handlers: {null: {driver: noop}}
monitor: {interval: 1h, health_file: ""}
queues: {lonely: {handler: null, lease: 3s, timeout: 1h}}
YAML
$other->start;
$pg->query("SELECT jobq.enqueue('lonely', data => '{\"sleep_ms\": 600000}')");
wait_for { $pg->query("SELECT running FROM jobq.queues WHERE name = 'lonely'") eq '1' } 'the job to run';
$pg->query("UPDATE jobq.serves SET at = now() - interval '1 minute'");	# it has been there for long
fault('S4-39 stalled', 'stalled', 'lonely', 'number of stalled jobs of lonely is 1 \(above 0\)', sub { $other->vanish; wait_for { !$other->running } 'the node to die' });
fault('S1-46 worker unavailable', 'no-workers', 'lonely', 'number of workers of lonely is 0 \(below 1\)');
$other->start;
mend('no-workers', 'lonely', 'number of workers of lonely is 1');
mend('stalled', 'lonely', 'number of stalled jobs of lonely is 0');

is $other->stop, 0, 'the other node stops';

# the scheduler hangs
my ($scheduler) = $d->pids(qr/^jobqd: scheduler/);
fault('schedule stuck', 'missed', 'reports', 'a schedule of reports is late by', sub { kill 'STOP', $scheduler });
mend('missed', 'reports', 'the schedules of reports are in time', sub { kill 'CONT', $scheduler });

# a transaction that is left open
my $session = $pg->session;
fault('a forgotten transaction', 'pinned', undef, 'age of the oldest snapshot is', sub { $session->query('BEGIN; SELECT pg_current_xact_id()') },
	sub { $session->query('ROLLBACK') });
$session->close;

# the database
my $stopped = time;
$pg->stop('immediate');
wait_for { mailed(qr/^\[jobqd\] the database is not there/) } 'the mail that the database is gone';
pass sprintf 'S1-46 S3-50 S4-40 store connection: told %.1f s after the database has stopped', time - $stopped;
wait_for { slurp($pages) =~ /"alert":\s*"database"/ } 'the page';
$pg->start;
wait_for { mailed(qr/^\[jobqd\] ended: the database is back/) } 'the mail that it is back';
wait_for { ended('database') } 'the outage to be stored';
pass '… and is back, and known';

# each once
my %rows = map { split /\|/ } split /\n/, $pg->query('SELECT name, count(*) FROM jobq.alerts GROUP BY name');
my $double = $pg->query(q{SELECT coalesce(string_agg(a.name || ' ' || n.channel || ' ' || n.event, ', '), '') FROM (SELECT alert, channel, event FROM jobq.alert_notice GROUP BY 1, 2, 3 HAVING count(*) > 1) n JOIN jobq.alert a ON a.id = n.alert});
is $double, '', 'nothing was told twice';
my @never = grep { !$rows{$_} } $sample =~ /^  ([\w-]+): +\{metric:/mg;
is_deeply \@never, [], 'every alert of the sample has fired: ' . join(' ', map { "$_ $rows{$_}" } sort keys %rows);
is $d->stop, 0, 'stops with status 0';
done_testing;
