# What a job takes on disk and what a worker takes in memory, by the payload that
# the fleet tracker's page has; and how many jobs one worker does.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
log: {file: stderr, level: info}
handlers:
  null: {driver: noop}
  program: {driver: exec, argv: [cat]}
queues:
  jobs: {handler: null, workers: 1, concurrency: 5}
  programs: {handler: program, workers: 5}
YAML
$d->start;
sub q1 { return $pg->query("SELECT $_[0]") }
my $n = 20_000;
my $mail = q({"to": "driver@example.com", "subject": "Maintenance of vehicle FT-1042 is due", "body": "Dear driver, the maintenance of your vehicle is due within the next seven days. Please make an appointment with the garage of your depot."});

# Tables and indexes, before and after: what is enqueued, has been done, and is kept with its history.
$pg->query("SELECT jobq.pause('jobs')");
my $before = q1('jobq.bytes()');
$pg->query("SELECT jobq.enqueue_many('jobs', (SELECT jsonb_agg(jsonb_build_object('type', 'email_notification', 'data', '$mail'::jsonb)) FROM generate_series(1, 1000)))") for 1 .. $n / 1000;
my $begin = time;
$pg->query("SELECT jobq.resume('jobs')");
wait_for { q1("ready + running FROM jobq.queues WHERE name = 'jobs'") == 0 } 'all jobs';
my $rate = $n / (time - $begin) * 60;
my $each = (q1('jobq.bytes()') - $before) / $n;
is q1("count(*) FROM jobq.jobs WHERE state = 'completed'"), $n, "$n jobs are done";
cmp_ok $each, '<', 1024, sprintf 'S1-39: a job with %d bytes of data takes %d bytes, in all tables and indexes', length $mail, $each;
cmp_ok $rate, '>', 500, sprintf 'S1-37: one worker does %d jobs a minute', $rate;

# Also workers that start programs, after some hundred of them.
$pg->query("SELECT jobq.enqueue('programs', 'email_notification', '$mail') FROM generate_series(1, 200)");
wait_for { q1("ready + running FROM jobq.queues WHERE name = 'programs'") == 0 } 'programs';
SKIP: {
	skip 'memory is not as usual in a sanitizer build', 2 if (run_program([ jobqd_program(), '-V' ]))[1] =~ /sanitize/;
	my @pss = sort { $a <=> $b } map { slurp("/proc/$_/smaps_rollup") =~ /^Pss: +(\d+) kB/m ? $1 / 1024 : () } $d->pids(qr/^jobqd: worker/);
	is scalar @pss, 6, 'six workers';
	cmp_ok $pss[-1], '<', 10, sprintf 'S1-39: a worker takes %.1f MiB of memory, the largest %.1f', $pss[ @pss / 2 ], $pss[-1];
}
is $d->stop, 0, 'stops with status 0';
done_testing;
