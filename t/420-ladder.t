# Time-outs, cancels and expiry: the cancel ladder from the polite word to the
# end of the whole process tree; the outcome is the reason, not the signal.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 16;

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
chmod 0777, $dir;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers:
  null:   {driver: noop}
  polite: {driver: exec, argv: [sh, -c, "trap 'echo bye > $dir/polite; exit 0' TERM; sleep 600 & wait"]}
  deaf:   {driver: exec, argv: [sh, -c, "trap '' TERM; (setsid sleep 611 &); sleep 611; sleep 611"]}
retry: {default: {attempts: 2, backoff: fixed, base: 50ms, jitter: 0%}}
queues:
  quick:  {handler: null, workers: 1, timeout: 300ms, cancel: {grace: 300ms}}
  polite: {handler: polite, workers: 1, timeout: 500ms, cancel: {grace: 30s}}
  deaf:   {handler: deaf, workers: 1, timeout: 500ms, cancel: {grace: 300ms}}
  wished: {handler: deaf, workers: 1, timeout: 1h, cancel: {grace: 300ms}}
  late:   {handler: null, workers: 1, expire: 100ms}
YAML
$d->start;

my $state = sub { $pg->query("SELECT state FROM jobq.jobs WHERE id = $_[0]") };

my $slow = $pg->query("SELECT jobq.enqueue('quick', 'slow', '{\"sleep_ms\": 60000}')");
my $own = $pg->query("SELECT jobq.enqueue('quick', 'own', '{\"sleep_ms\": 900}', timeout => '20 s')");
my $polite = $pg->query("SELECT jobq.enqueue('polite')");
my $deaf = $pg->query("SELECT jobq.enqueue('deaf', max_attempts => 1)");
my $wished = $pg->query("SELECT jobq.enqueue('wished')");

wait_for { $state->($slow) eq 'dead' } 'the slow job';
is $pg->query("SELECT string_agg(outcome || ' ' || class, ', ' ORDER BY attempt) FROM jobq.attempts WHERE job_id = $slow"),
    'failed timeout, dead timeout', 'a run that takes too long ends as timeout, each time (S0-15, S1-49)';
like $pg->query("SELECT error FROM jobq.jobs WHERE id = $slow"), qr/^not done within 300 ms/, 'and says so';
wait_for { $state->($own) eq 'completed' } 'the one with a time-out of its own';
pass 'the time-out of a job itself counts more than its queue\'s';

wait_for { $state->($polite) eq 'dead' } 'the polite program';
is slurp("$dir/polite"), "bye\n", 'a program is asked first';
is $pg->query("SELECT DISTINCT class FROM jobq.attempts WHERE job_id = $polite"), 'timeout',
    'that it exits with 0 then is no completion';
wait_for { $state->($deaf) eq 'dead' } 'the deaf program';
is $pg->query("SELECT class FROM jobq.attempts WHERE job_id = $deaf"), 'timeout', 'one that does not listen is killed, class timeout (S1-57)';

wait_for { scalar(grep { process_title($_) eq 'sleep 611' } process_tree($d->{pid})) == 2 } 'the other deaf program and its daemon';
is $pg->query("SELECT jobq.cancel($wished)"), 't', 'asked to stop';
wait_for { $state->($wished) eq 'cancelled' } 'the cancel';
is $pg->query("SELECT outcome, class FROM jobq.attempts WHERE job_id = $wished"), 'cancelled|', 'one attempt, cancelled';
wait_for { !grep { process_title($_) eq 'sleep 611' } process_tree($d->{pid}) } 'the tree to go';
pass 'nothing of its process tree is left';

# Not started in time.
$pg->query("SELECT jobq.pause('late')");
my $late = $pg->query("SELECT jobq.enqueue('late')");
wait_for { $pg->query("SELECT clock_timestamp() > created_at + interval '150 ms' FROM jobq.jobs WHERE id = $late") eq 't' } 'it to be late';
$pg->query("SELECT jobq.resume('late')");
wait_for { $state->($late) eq 'dead' } 'the late job';
is $pg->query("SELECT outcome, class FROM jobq.attempts WHERE job_id = $late"), 'dead|timeout', 'a job past its time is not run (S0-15)';
like $pg->query("SELECT error FROM jobq.jobs WHERE id = $late"), qr/^not started within 100 ms/, 'and says so';

is $pg->query("SELECT jobq.retry($late)"), 't', 'retried by hand';
wait_for { $state->($late) eq 'completed' } 'its second run';
pass 'it is run, late as it is';

# Cancelled while it waits behind others.
my @ids = split /\n/, $pg->query("SELECT jobq.enqueue('wished') FROM generate_series(1, 5)");
wait_for { $state->($ids[0]) eq 'running' } 'the first';
is $pg->query("SELECT count(*) FILTER (WHERE jobq.cancel(id)) FROM unnest('{$ids[1],$ids[2],$ids[3],$ids[4]}'::bigint[]) id"), 4,
    'jobs that wait are cancelled';
$pg->query("SELECT jobq.cancel($ids[0])");
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'cancelled' AND id IN (" . join(',', @ids) . ')') == 5 } 'all five';
pass 'and the running one after them';
is $d->stop, 0, 'jobqd ends well';
