# The real daemon on a real database: every signal, by kill and by -s, jobs
# running all the while.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
handlers: {null: {driver: noop}}
queues:
  work:  {handler: null, workers: 2, cancel: {grace: 500ms}, timeout: 1h}
  other: {handler: null, workers: 1}
YAML

sub jobqd { return run_program([ jobqd_program(), @_, '-c', $d->{conf} ]) }
sub state_of { return $pg->query("SELECT state FROM jobq.jobs WHERE id = $_[0]") }
sub enqueue {
	my ($queue, $data) = @_;
	return $pg->query("SELECT jobq.enqueue('$queue', data => '$data')");
}
sub wait_state {
	my ($id, $state) = @_;
	wait_for { state_of($id) eq $state } "job $id to be $state";
	pass "job $id is $state";
}

$d->start;
wait_state(enqueue('work', '{}'), 'completed');

# Reload by -s: the unchanged queue's job runs on in the same process.
my $long = enqueue('other', '{"sleep_ms": 60000}');
wait_state($long, 'running');
my @other = $d->pids(qr/^jobqd: (queue|worker) other/);
(my $text = slurp($d->{conf})) =~ s/work:  \{handler: null, workers: 2/work:  {handler: null, workers: 3/ or die;
spew($d->{conf}, $text);
my $from = $d->log_size;
is((jobqd('-s', 'reload'))[0], 0, '-s reload: exit 0');
$d->wait_log(qr/: reloaded /, $from);
wait_for { 3 == (my @w = $d->pids(qr/^jobqd: worker work/)) } 'three workers';
is_deeply [ $d->pids(qr/^jobqd: (queue|worker) other/) ], \@other, 'the other queue is left alone';
is state_of($long), 'running', 'and so is its job';
wait_state(enqueue('work', '{}'), 'completed');

# A broken file.
my @all = $d->pids(qr/^jobqd: /);
spew($d->{conf}, "$text\nquers: {}\n");
$from = $d->log_size;
$d->signal('HUP');
like $d->wait_log(qr/reload refused/, $from), qr/quers.*queues/, 'the mistake and the nearest name';
is_deeply [ $d->pids(qr/^jobqd: /) ], \@all, 'everything stays';
spew($d->{conf}, $text);

# Logs.
$from = $d->log_size;
is((jobqd('-s', 'reopen'))[0], 0, '-s reopen: exit 0');
$d->wait_log(qr/: logs reopened/, $from);

# Drain, and back.
wait_for { 4 == (my @w = $d->pids(qr/^jobqd: worker/)) } 'four workers';
$pg->query("SELECT jobq.cancel($long)");
wait_state($long, 'cancelled');
my $short = enqueue('work', '{"sleep_ms": 1500}');
wait_state($short, 'running');
$from = $d->log_size;
$d->signal('WINCH');
$d->wait_log(qr/: drained/, $from);
is state_of($short), 'completed', 'a drain waits for what runs';
my $later = enqueue('work', '{}');
is state_of($later), 'ready', 'and starts nothing';
is((jobqd('-s', 'reload'))[0], 0, '-s reload brings it back');
wait_state($later, 'completed');

# The end, graceful: what runs longer than shutdown_timeout is handed back.
(my $quick = $text) =~ s/shutdown_timeout: 10s/shutdown_timeout: 1s/ or die;
spew($d->{conf}, $quick);
$from = $d->log_size;
$d->signal('HUP');
$d->wait_log(qr/: reloaded /, $from);
$short = enqueue('work', '{"sleep_ms": 300}');
$long = enqueue('work', '{"sleep_ms": 600000}');
wait_state($long, 'running');
is((jobqd('-s', 'quit'))[0], 0, '-s quit: exit 0');
wait_for { !$d->running } 'it to stop';
is $d->{status}, 0, 'and jobqd too';
is state_of($short), 'completed', 'the short job was finished (S1-19)';
is state_of($long), 'ready', 'the long one was handed back';
unlike $d->log($from), qr/too long/, 'nobody had to be killed';

# At once; the next one takes over what ran.
$d->start;
wait_state($long, 'running');
is $pg->query("SELECT attempt FROM jobq.jobs WHERE id = $long"), 1, 'under its old number (S1-41)';
@all = process_tree($d->{pid});
is((jobqd('-s', 'stop'))[0], 0, '-s stop: exit 0');
wait_for { !$d->running } 'it to stop';
is $d->{status}, 0, 'and jobqd too';
wait_for { !alive(@all) } 'all of it to be gone', 2;

# A database that is not there is waited for; a wrong one is not.
$pg->stop;
$from = $d->log_size;
$d->start(ready => 0);
$d->wait_log(qr/setup \[\d+\]: waiting for the database/, $from);
ok $d->running, 'it waits';
$pg->start;
$d->wait_log(qr/: ready\b/, $from);
$d->stop;
(my $wrong = $quick) =~ s{postgresql:///jobq}{postgresql:///nodatabase} or die;
spew($d->{conf}, $wrong);
$from = $d->log_size;
$d->start(ready => 0);
wait_for { !$d->running } 'it to give up';
is $d->{status} >> 8, 1, 'a wrong database: exit 1';
like $d->log($from), qr/nodatabase/, 'which the log names';
done_testing;
