# Retention by the monitor: a partition whose jobs are over goes as a whole,
# what must stay is moved on, the attempts become history and go later.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 15;

my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
handlers: {null: {driver: noop}}
queues:
  work: {handler: null, workers: 2, retry: {attempts: 1},
    keep: {completed: 2s, cancelled: 2s, dead: 90d, history: 1h}}
monitor: {interval: 300ms, health_file: ""}
YAML
$d->start;

sub state { return $pg->query("SELECT state FROM jobq.jobs WHERE id = $_[0]") }

my $dead = $pg->query("SELECT jobq.enqueue('work', data => '{\"fail\": \"error\"}')");
my $later = $pg->query("SELECT jobq.enqueue('work', 'later', delay => '1 day')");
my $cancelled = $pg->query("SELECT jobq.enqueue('work', delay => '1 day')");
$pg->query("SELECT jobq.cancel($cancelled)");
$pg->query("SELECT count(*) FROM (SELECT jobq.enqueue('work', data => jsonb_build_object('n', n, 'fill', repeat('x', 200))) "
    . "FROM generate_series(1, 500) n) e");
wait_for { $pg->query("SELECT count(*) FROM jobq.attempts WHERE outcome = 'completed'") == 500 } 'the jobs to run';
wait_for { state($dead) eq 'dead' } 'one to die';
is $pg->query('SELECT count(*) FROM jobq.part WHERE state = \'live\''), 2, 'a partition in use and one ahead';

# a day has passed since the partition was begun
$pg->query("UPDATE jobq.part SET made_at = now() - interval '1 day' WHERE id = 1");
like $d->wait_log(qr/partition 1 is full/), qr/monitor\b.*maintenance/, 'ids go on in the next partition';
cmp_ok $pg->query("SELECT jobq.enqueue('work')"), '>=', 1_000_000_000, 'new jobs are there';
like $d->wait_log(qr/dropped partition 1,/), qr/\b2 of .*jobs/, 'the old one is dropped, but for two jobs (S2-40)';

is $pg->query("SELECT to_regclass('jobq.job_1')"), '', 'its table is gone';
is state($dead), 'dead', 'the dead letter is still there';
is state($later), 'scheduled', '… and the job that is scheduled';
is state($cancelled), '', 'the cancelled one is not';
is $pg->query("SELECT count(*) FROM jobq.attempts WHERE outcome = 'completed' AND job_id < 1000000000"), 500,
    'the attempts of the others are history';
$pg->query("UPDATE jobq.timer SET run_at = now() WHERE job = $later");
wait_for { $pg->query("SELECT outcome FROM jobq.attempts WHERE job_id = $later") eq 'completed' } 'the scheduled job to run';
pass 'a job that outlived its partition runs';
is $pg->query("SELECT jobq.retry($dead)"), 't', 'a dead letter that did can be retried';

# two hours later
$pg->query("UPDATE jobq.part SET cut_at = cut_at - interval '2 hours' WHERE id = 1");
like $d->wait_log(qr/dropped the history of partition 1/), qr/maintenance/, 'history goes when its time is over (S0-17, S2-52)';
sub audit { return $pg->query("SELECT actor || ' ' || detail FROM jobq.audit WHERE action = 'drop' AND target = '$_[0]'") }
like audit('partition 1'), qr/^jobq \{"jobs": \{"work": 501\}, "stay": 2, "bytes": \d+, "early": false\}/, 'the audit tells what went';
like audit('history of partition 1'), qr/^jobq \{"jobs": \{"work": 501\}, "bytes": \d+, "early": false\}/, '… and its history';
is $d->stop, 0, 'stops with status 0';
