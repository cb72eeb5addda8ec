# Programs of the driver worker are killed at random while they run a thousand
# jobs, ten at a time in each: nothing is lost, nothing completes twice. S1-57
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More tests => 8;
use Time::HiRes qw(time sleep);

my $jobs = 1000;
my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
chmod 0777, $dir;
my $python = 'python3, -S, ' . source_directory() . '/t/worker_program.py';
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
retry: {again: {attempts: 1000, max_crashes: 0, backoff: fixed, base: 0, jitter: 0%}}
handlers:
  app: {driver: worker, argv: [$python], in_flight: 10}
  null: {driver: noop}
queues:
  many: {handler: app, workers: 2, concurrency: 10, retry: again}
  children: {handler: null}
YAML
$d->start;
# Each takes a little while, leaves a trace, and has one job come out of its end;
# every fiftieth kills its program once, with what else that has in flight.
my @do = ([ 'later', 0.02, [ 'file', "$dir/runs", '@id' ],
    [ 'say', '{"enqueue":{"queue":"children","data":{"of":@id},"id":@id}}' ], [ 'say', '{"done":{"id":@id}}' ] ]);
my @kill = ([ 'sh', "mkdir $dir/killer-\@id 2>/dev/null && kill -9 \@pid; true" ]);
my ($peaceful, $killing) = map { JSON::PP->new->utf8->encode({ do => $_ }) } \@do, [ @kill, @do ];
$pg->query("select count(jobq.enqueue('many', 't', case n % 50 when 7 then '$killing' else '$peaceful' end::jsonb)) from generate_series(1, $jobs) n");

my ($kills, $next, $since) = (0, 0, time);
wait_for {
	if (time >= $next) {
		my @programs = grep { process_title($_) =~ /worker_program/ } process_tree($d->{pid});
		$kills += kill 'KILL', $programs[ rand @programs ] if @programs;
		$next = time + 0.2 + rand 0.4;
	}
	$pg->query("select count(*) from jobq.jobs where queue = 'many' and state in ('completed', 'dead', 'cancelled')") == $jobs;
} 'all jobs to end', 240;
my $took = time - $since;
my $killers = () = glob "$dir/killer-*";
cmp_ok $killers + $kills, '>', $jobs / 50, sprintf '%d programs were killed, %d more in any state, in %.1f s', $killers, $kills, $took;
is $pg->query("select count(*) from jobq.jobs where queue = 'many' and state = 'completed'"), $jobs, "all $jobs jobs have completed (S1-57, S1-75)";
is $pg->query("select count(*) from (select job_id from jobq.attempts a join jobq.jobs j on j.id = a.job_id where j.queue = 'many' and a.outcome = 'completed' group by 1 having count(*) > 1) t"), 0, 'none twice';
is $pg->query("select count(*) || ' ' || count(distinct data ->> 'of') from jobq.jobs where queue = 'children'"), "$jobs $jobs", 'each has put in one job, with its end';
my %runs;
$runs{$_}++ for split /\n/, slurp("$dir/runs");
is scalar(keys %runs), $jobs, 'each has run';
my ($lost, $crashed) = split /\|/, $pg->query("select count(*) filter (where a.outcome = 'lost'), count(*) filter (where a.class = 'crash') from jobq.attempts a join jobq.jobs j on j.id = a.job_id where j.queue = 'many'");
cmp_ok $lost, '>', 0, "$lost attempts were lost, uncharged; $crashed of jobs alone with a program crashed";
my $more = 0;
$more += $_ - 1 for values %runs;
cmp_ok $more, '<=', $lost + $crashed, "$more runs more than jobs, each of an attempt that was lost or crashed";
is $pg->query("select string_agg(distinct class || ': ' || error, '; ') from jobq.attempts where class not in ('lost', 'crash') and error <> 'its program was not ready: killed by SIGKILL'"), '',
    'nothing failed for another reason';
