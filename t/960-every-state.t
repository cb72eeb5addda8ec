# Every state a job can have, and every change of it, is visible with
# jobqctl job show and in the views. S1-2 S4-41 S4-42
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
chmod 0777, $dir;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
retry:
  slow: {attempts: 2, backoff: fixed, base: 1h, jitter: 0%}
  twice: {attempts: 2, backoff: fixed, base: 50ms, jitter: 0%}
handlers:
  null: {driver: noop}
  gate: {driver: exec, argv: [sh, -c, "echo '{\\"progress\\":{\\"pct\\":40,\\"note\\":\\"half way\\"}}' >&3; while ! test -e $dir/open; do sleep 0.05; done"]}
queues:
  slow: {handler: null, retry: slow}
  twice: {handler: null, retry: twice}
  gate: {handler: gate, cancel: {signal: TERM, grace: 1s}}
  idle: {handler: null}
YAML
$d->start;
my $enqueue = sub { $pg->query("SELECT jobq.enqueue($_[0])") };
my $show = sub {
	my ($status, $out, $err) = $d->ctl('--json', 'job', 'show', $_[0]);
	is $status, 0, "job show $_[0]" or diag $err;
	return decode_json($out);
};
my $state = sub { $pg->query("SELECT state FROM jobq.jobs WHERE id = $_[0]") };
my $reaches = sub {
	my ($id, $want) = @_;
	wait_for { $state->($id) eq $want } "job $id to be $want, it is " . $state->($id);
	is $show->($id)->{state}, $want, "shown as $want (S1-2, S4-41)";
};

$reaches->($enqueue->("'slow', delay => '1 hour'"), 'scheduled');
$reaches->($enqueue->("'slow', data => '{\"fail\": \"error\", \"message\": \"once\"}'"), 'retrying');
my $parent = $enqueue->("'gate'");
my $child = $enqueue->("'idle', after => ARRAY[$parent]");
$reaches->($child, 'blocked');
$reaches->($parent, 'running');
wait_for { ($show->($parent)->{progress} // '') eq '40' } 'progress';
is $show->($parent)->{progress_note}, 'half way', 'progress is seen while it runs (S4-42)';
$pg->query("SELECT jobq.pause('idle', 'for the test')");
my $waits = $enqueue->("'idle'");
$reaches->($waits, 'ready');
my ($status, $out) = $d->ctl('job', 'cancel', $waits);
is $status, 0, 'cancel of a waiting job';
$reaches->($waits, 'cancelled');
$pg->query("SELECT jobq.resume('idle')");
spew("$dir/open", '');
$reaches->($parent, 'completed');
$reaches->($child, 'completed');
unlink "$dir/open";

my $dead = $enqueue->("'twice', data => '{\"fail\": \"network\", \"message\": \"no route\"}'");
$reaches->($dead, 'dead');
my $shown = $show->($dead);
is $shown->{attempt}, 2, 'two attempts';
is $shown->{error_class}, 'network', 'its class';
like $shown->{error}, qr/no route/, 'its error';
is $pg->query("SELECT string_agg(attempt || ' ' || outcome || ' ' || class, ', ' ORDER BY attempt) FROM jobq.attempts WHERE job_id = $dead"),
    '1 failed network, 2 dead network', 'both attempts are in the history';
is $pg->query("SELECT count(*) FROM jobq.dead_letters WHERE job_id = $dead"), 1, 'it is a dead letter (S0-47)';
($status) = $d->ctl('dead', 'retry', $dead);
is $status, 0, 'retry of the dead letter';
wait_for { $pg->query("SELECT count(*) FROM jobq.attempts WHERE job_id = $dead") == 4 } 'two more attempts';
$reaches->($dead, 'dead');
is $show->($dead)->{attempt}, 4, 'it went on counting';

my $runs = $enqueue->("'gate'");
$reaches->($runs, 'running');
($status) = $d->ctl('job', 'cancel', $runs);
is $status, 0, 'cancel of a running job';
$reaches->($runs, 'cancelled');
($status) = $d->ctl('job', 'delete', $runs);
is $status, 0, 'delete';
($status) = $d->ctl('job', 'show', $runs);
is $status, 3, 'a deleted job is not found';
($status, $out) = $d->ctl('job', 'show', $dead);
like $out, qr/no route/, 'the readable form has the error';
like $out, qr/dead/, '… and the state';
done_testing;
