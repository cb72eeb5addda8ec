# The monitor: the health file through good and bad times, jobs of pools that
# are gone, workers that outlive their leader.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Jobqd;
use Test::More tests => 32;

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $file = "$dir/health.json";
my $head = <<"YAML";
handlers: {null: {driver: noop}}
monitor: {interval: 500ms, health_file: "$file", statistics: 1s, report: "* * * * * *"}
queues:
  short: {handler: null, workers: 1, lease: 3s, retry: {attempts: 1}}
YAML
my $long = "  long: {handler: null, workers: 2, lease: 3s, timeout: 1h}\n";
my $schedules = "schedules:\n  hourly: {every: 1h, queue: short, type: hourly}\n";
my $d = Jobqd::Daemon->new(pg => $pg, config => $head . $long . $schedules);

sub health {
	my $text = slurp($file);
	return $text eq '' ? {} : JSON::PP->new->utf8->decode($text);
}
sub state { return $pg->query("SELECT state FROM jobq.jobs WHERE id = $_[0]") }

#
# the health file
#
$d->start;
wait_for { health()->{queues}{long}{workers} } 'the health file to show workers';
my $h = health();
ok $h->{healthy}, 'healthy';
like $h->{at}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/, 'at';
is_deeply [ sort keys %$h ], [ sort qw(healthy at database queues dead_letters schedules alerts problems) ], 'its members (S2-37, S3-6)';
ok $h->{database}{up}, 'the database is up';
is_deeply [ sort keys %{ $h->{queues} } ], [qw(long short)], 'every queue';
is_deeply [ sort keys %{ $h->{queues}{long} } ], [ sort qw(ready running failure_rate run_avg_ms workers paused) ],
    'what is told of a queue';
is $h->{queues}{long}{workers}, 2, 'its workers';
is $h->{dead_letters}, 0, 'no dead letters';
ok exists $h->{schedules}{hourly}{next_run}, 'the schedules';
is_deeply $h->{alerts}, [], 'no alerts';
is sprintf('%o', (stat $file)[2] & 07777), '644', 'everybody may read it';
is_deeply [ map { s{.*/}{}r } glob "$dir/*" ], ['health.json'], 'nothing else is left there';

$pg->query("SELECT jobq.enqueue('short', data => '{\"fail\": \"error\"}')");
$pg->query("SELECT jobq.enqueue('short')");
$pg->query("SELECT jobq.pause('long', 'for the test')");
$pg->query("SELECT jobq.enqueue('long')") for 1 .. 3;
wait_for { my $q = health()->{queues}; $q->{short}{failure_rate} && $q->{long}{ready} == 3 } 'the health file to see them';
$h = health();
is $h->{queues}{short}{failure_rate}, 0.5, 'half of the runs have failed';
ok $h->{queues}{long}{paused}, 'a paused queue';
is $h->{dead_letters}, 1, 'a dead letter';
$pg->query("SELECT jobq.resume('long')");
like $d->wait_log(qr/report hours=24 queue=short completed=1 /), qr/ dead=1 cancelled=0 lost=0 /, 'the report';
wait_for { $pg->query("SELECT coalesce(sum(completed + failed), 0) FROM jobq.statistics WHERE queue = 'short'") == 2 } 'the statistics';
pass 'the statistics';

#
# the database goes and comes
#
my $from = $d->log_size;
$pg->stop('immediate');
wait_for { !health()->{healthy} } 'the health file to say that the database is gone';
ok !health()->{database}{up}, 'the database is not up';
isnt health()->{database}{error}, undef, '… and why';
my $before = health()->{at};
wait_for { health()->{at} ne $before } 'the file to be written again';
pass 'it goes on to be written';
$pg->start;
wait_for { health()->{healthy} } 'the health file to recover';
my @lines = grep { /monitor\b.*database is away/ } split /\n/, $d->log($from);
is scalar @lines, 1, 'one line when it goes';
like $d->wait_log(qr/monitor\b.*database is back/, $from), qr/info/, '… and one when it is back (S1-45, S3-1)';

#
# a leader dies: its workers finish what they have
#
my $id = $pg->query("SELECT jobq.enqueue('long', data => '{\"sleep_ms\": 6000}')");
wait_for { state($id) eq 'running' } 'the long job to run';
kill 'KILL', $d->pids(qr/^jobqd: queue long\b/);
wait_for { state($id) =~ /completed|dead/ } 'the long job to end';
is $pg->query("SELECT string_agg(attempt || ' ' || outcome, ', ') FROM jobq.attempts WHERE job_id = $id"), '1 completed',
    'a job that outlives its leader and its lease is kept, and done once (S1-75)';
$d->wait_log(qr/pool of a dead leader closed/, $from);
pass 'when its last worker is gone its pool is closed';
wait_for { health()->{queues}{long}{workers} == 2 } 'the workers to be back';

#
# a whole node is gone without a word
#
$id = $pg->query("SELECT jobq.enqueue('long', data => '{\"sleep_ms\": 600000}')");
wait_for { state($id) eq 'running' } 'the endless job to run';
$d->vanish;
wait_for { !$d->running } 'the node to die';
is state($id), 'running', 'its job still counts as running';
my $other = Jobqd::Daemon->new(pg => $pg, name => 'other', config => $head);
$other->start;
my $line = $other->wait_log(qr/a pool has not renewed its leases.* queue=long jobs=1/);
like $line, qr/node=node/, 'the monitor of another node finds the lost lease';
wait_for { state($id) eq 'ready' } 'the job to be ready again';
is $pg->query("SELECT outcome || ' ' || class FROM jobq.attempts WHERE job_id = $id"), 'lost lost', 'the attempt is lost';
is $pg->query("SELECT jobq.cancel($id)"), 't', 'the job is there to be cancelled';

#
# no directory for the file
#
$from = $other->log_size;
$other->configure($head =~ s{\Q$file\E}{$dir/none/health.json}r);
$other->signal('HUP');
$other->wait_log(qr/no health file.*No such file or directory/, $from);
pass 'a directory that is not there is said';
$pg->query("SELECT jobq.enqueue('short')");
my $beat = $pg->query("SELECT seen FROM jobq.nodes WHERE name = 'other'");
wait_for { $pg->query("SELECT seen FROM jobq.nodes WHERE name = 'other'") ne $beat } 'another beat';
@lines = grep { /no health file/ } split /\n/, $other->log($from);
is scalar @lines, 1, '… once';
ok !-e "$dir/none", 'it is not made';
is $other->stop, 0, 'stops with status 0';
