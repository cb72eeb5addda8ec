# What a job costs that runs in a program of the driver worker, beside one that
# does nothing in the worker itself.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More tests => 4;
use Time::HiRes qw(time);

my $jobs = 10_000;
my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $program = spew("$dir/program.pl", <<'PERL');
$| = 1;
while (<STDIN>) {
	if (/^\{"job":\{"id":(\d+)/) { print "{\"done\":{\"id\":$1}}\n" }
	elsif (/^\{"hello"/) { print "{\"ready\":{}}\n" }
	elsif (/^\{"quit"/) { exit }
}
PERL
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers:
  app: {driver: worker, argv: [perl, $program], in_flight: 20}
  null: {driver: noop}
queues:
  app: {handler: app, workers: 2, concurrency: 20}
  null: {handler: null, workers: 2, concurrency: 20}
log: {file: stderr, level: warn}
YAML
$d->start(ready => 0);
wait_for { eval { $pg->query('select count(*) from jobq.queues where served') == 2 } } 'the queues to be served';
my %took;
for my $queue (qw(null app)) {
	my $id = $pg->query("select jobq.enqueue('$queue')");	# the program is there
	wait_for { $pg->query("select state from jobq.jobs where id = $id") eq 'completed' } 'the first job';
	$pg->query("select jobq.pause('$queue')");
	$pg->query("select count(jobq.enqueue('$queue')) from generate_series(1, $jobs)");
	my $since = time;
	$pg->query("select jobq.resume('$queue')");
	wait_for { $pg->query("select completed from jobq.queues where name = '$queue'") == $jobs + 1 } "the jobs of $queue";
	$took{$queue} = time - $since;
	pass sprintf '%s: %d jobs in %.2f s, %d a second', $queue, $jobs, $took{$queue}, $jobs / $took{$queue};
}
is $pg->query("select count(*) from jobq.attempts where outcome <> 'completed'"), 0, 'each at its first attempt';
my ($cost) = (1e6 * ($took{app} - $took{null}) / $jobs);
cmp_ok $took{app}, '<', 60 * $took{null} + 30, sprintf 'a program costs %d µs more a job', $cost;
