# Every kind of bad program at once, as neighbours in the same programs: each job
# ends as it deserves, and those that did nothing wrong are not charged with it.
# S1-49 S1-56 S1-57
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use List::Util qw(shuffle);
use Test::More;
use Time::HiRes qw(time);

my $each = 4;
my $mark = 300_000 + $$;
my $done = [ 'say', '{"done":{"id":@id}}' ];
my %kinds = (
	good      => [ [ [ 'later', 0.02, $done ] ], 'completed' ],
	chatty    => [ [ [ 'say', 'Hello!' ], [ 'flood', 2, 500_000 ], [ 'say', '{"news":{}}' ], [ 'later', 0.02, $done ] ], 'completed' ],
	twice     => [ [ $done, $done, [ 'say', '{"fail":{"id":@id}}' ] ], 'completed' ],
	strange   => [ [ [ 'say', '{"done":{"id":999999}}' ], [ 'say', '{"progress":{"id":999999,"pct":5}}' ], $done ], 'completed' ],
	parent    => [ [ [ 'say', '{"enqueue":{"queue":"children","data":{"of":@id},"id":@id}}' ], [ 'later', 0.02, $done ] ], 'completed' ],
	# without its pipes: while such a process has them, no end of `mute` is to be seen
	left      => [ [ [ 'sh', "setsid sleep $mark </dev/null >/dev/null 2>&1 &" ], [ 'fork', $mark ], $done ], 'completed' ],
	polite    => [ [ [ 'say', '{"fail":{"id":@id,"class":"auth","message":"no"}}' ] ], 'auth' ],
	killed    => [ [ [ 'die', 9 ] ], 'crash' ],
	faulty    => [ [ [ 'later', 0.02, [ 'die', 11 ] ] ], 'crash' ],
	left_off  => [ [ [ 'exit', 3 ] ], 'crash' ],
	gone      => [ [ [ 'exit', 0 ] ], 'crash' ],
	malformed => [ [ [ 'say', '{"done":{"id":@id}' ] ], 'error' ],
	nul       => [ [ [ 'say', '{"done":{"id":@id,"result":"\u0000"}}' ] ], 'error' ],
	nameless  => [ [ [ 'say', '{"done":{}}' ] ], 'error' ],
	endless   => [ [ [ 'flood', 1, 3_000_000 ] ], 'resource' ],
	mute      => [ [ [ 'close', 1 ], [ 'later', 1000 ] ], 'error' ],
	hung      => [ [ [ 'later', 1000 ] ], 'timeout' ],
	cut       => [ [ [ 'raw', unpack('H*', '{"done":{"id"') ], [ 'later', 1000 ] ], 'timeout' ],
	heeding   => [ [ [ 'await' ], [ 'say', '{"fail":{"id":@id}}' ] ], 'timeout' ],
	lost_one  => [ [ [ 'say', '{"enqueue":{"queue":"nowhere","id":@id}}' ], $done ], 'validation' ],
);
my @names = sort keys %kinds;
plan tests => @names + 7;

my $pg = Jobqd::Postgres->new;
my $json = JSON::PP->new->utf8;
my $python = 'python3, -S, ' . source_directory() . '/t/worker_program.py, mark=' . $mark;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
retry: {once: {attempts: 1, max_crashes: 1}}
handlers:
  app: {driver: worker, argv: [$python], in_flight: 5}
  null: {driver: noop}
queues:
  bad: {handler: app, workers: 2, concurrency: 8, retry: once, timeout: 60s, cancel: {grace: 300ms}}
  children: {handler: null}
YAML
$d->start;
my @jobs = shuffle((map { ($_) x $each } @names), ('good') x 100);
for my $kind (@jobs) {
	my $data = $json->encode({ do => $kinds{$kind}[0] }) =~ s/'/''/gr;
	# of the others none is to time out, however slow the machine
	my $timeout = $kinds{$kind}[1] eq 'timeout' ? ", timeout => '1.5 s'" : '';
	$pg->query("select jobq.enqueue('bad', '$kind', '$data'$timeout)");
}
my $since = time;
wait_for { $pg->query("select count(*) from jobq.jobs where queue = 'bad' and state in ('completed', 'dead', 'cancelled')") == @jobs } 'all jobs to end', 300;
pass sprintf '%d jobs in %.1f s, for which %d programs ended', scalar(@jobs), time - $since, scalar(() = $d->log =~ /program ended/g);
for my $kind (@names) {
	my $want = $kinds{$kind}[1];
	my $state = $want eq 'completed' ? 'completed|' : "dead|$want";
	is $pg->query("select distinct state, coalesce(error_class, '') from jobq.jobs where queue = 'bad' and type = '$kind'"), $state, "$kind: $want (S1-49)";
}
my $innocent = join ',', map { "'$_'" } grep { $kinds{$_}[1] eq 'completed' } @names;
is $pg->query("select count(*) from jobq.attempts a join jobq.jobs j on j.id = a.job_id where j.queue = 'bad' and j.type in ($innocent) and a.outcome not in ('completed', 'lost')"), 0,
    'those that did nothing wrong are charged with nothing';
is $pg->query("select count(*) from jobq.attempts a join jobq.jobs j on j.id = a.job_id where j.queue = 'bad' and a.outcome in ('failed', 'dead') group by j.id having count(*) > 1"), '',
    'and the others once';
is $pg->query("select count(*) || ' ' || count(distinct data ->> 'of') from jobq.jobs where queue = 'children'"), "$each $each", 'a job that another puts in is there once';
like $d->log, qr/worker started worker=0 .*at_once=5/, 'a worker takes what its program takes at once';
is scalar(() = $d->log =~ /worker died/g), 0, 'no worker had to die (S1-56)';
$d->stop;
is scalar(grep { process_title($_) =~ /^sleep $mark|mark=$mark/ } map { m{/(\d+)$} } glob '/proc/[0-9]*'), 0, 'nothing is left of any program (S1-57)';
