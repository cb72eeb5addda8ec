# "Why does this job not run?": jobq.why() has a sentence for each cause, and
# jobqctl job show says it; first by SQL alone, then on a real daemon.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Schema;
use Test::More;

my $pg = schema();
queues($pg, work => { lease_ms => 600_000 }, paused => {}, later => {}, nowhere => {}, off => { enabled => \0 });
my $T = qr/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/;
sub q1 { return $pg->query('SELECT ' . $_[0]) }
sub why { my ($id, $want, $what) = @_; like q1("jobq.why($id)"), $want, $what }
sub put { return q1("jobq.enqueue('$_[0]'" . ($_[1] ? ", $_[1]" : '') . ')') }

# no node
why(put('off'), qr/^queue "off" is disabled in the configuration$/, 'the queue is disabled');
q1(q{jobq.register('{"node": "test", "queues": [{"name": "work", "lease_ms": 600000}, {"name": "paused"}, {"name": "later"}]}')});
why(put('nowhere'), qr/^no node serves queue "nowhere": it is in the configuration of none$/, 'no node serves the queue');
my $job = put('work');
why($job, qr/^queue "work" has no workers at the moment, though node test serves it$/, 'no workers');
$pg->query("UPDATE jobq.node SET seen = seen - interval '5 minutes'");
why($job, qr/^no node that serves queue "work" is alive: test was last seen at $T$/, 'the node that serves it is not alive');

# a limit, a key, a hold
q1(q{jobq.register('{"node": "test", "limits": [{"name": "few", "concurrency": 1}, {"name": "rare", "rate": 2, "period_ms": 3600000}],
	"queues": [{"name": "few", "limits": ["few"]}, {"name": "rare", "limits": ["rare"]}, {"name": "keyed", "key": "data.k"},
	{"name": "work", "lease_ms": 5000}, {"name": "paused"}, {"name": "later"}]}')});
$pg->query("UPDATE jobq.node SET seen = now() + interval '1 hour'");	# however long this takes
{
	my %pool = map { $_ => [ pool($pg, $_) ] } qw(few rare keyed);
	$pg->query("INSERT INTO jobq.worker (pool, slot, pid, state) SELECT id, 0, 1, 'idle' FROM jobq.pool");
	my %first = map { $_ => put($_, q{data => '{"k":"a"}'}) } qw(few rare keyed);
	put('rare');
	my %next = map { $_ => put($_, q{data => '{"k":"a"}'}) } qw(few rare keyed);
	my $last = put('keyed', q{data => '{"k":"a"}'});
	claim($pg, @{ $pool{$_} }, 10) for qw(few rare keyed);
	why($next{few}, qr/^limit "few" lets 1 run at a time, and so many do$/, 'a limit of how many run');
	why($next{rare}, qr/^limit "rare" lets 2 start in 60 min, and so many have$/, 'a limit of how many start');
	why($next{keyed}, qr/^its key "a" is held by job $first{keyed}, of which 1 may run at a time$/, 'a key that is busy');
	finish_failed($pg, $pool{keyed}[0], "$first{keyed}:1", 2, delay => 3600000);
	why($next{keyed}, qr/^its key "a" is kept by job $first{keyed}, which is before it and will be tried again$/, 'a key that is kept');
	q1("jobq.cancel($first{keyed})");
	why($last, qr/^job $next{keyed} has the same key "a" and goes first$/, 'others of the key');
	q1(q{jobq.pause('keyed', 'why not', type => 'slow')});
	q1(q{jobq.pause('*', tenant => 'acme', until => now() + interval '1 hour')});
	why(put('keyed', q{'slow'}), qr/^type "slow" of queue "keyed" is paused by \S+ since $T: why not$/, 'its type is paused');
	why(put('keyed', q{tenant => 'acme'}), qr/^tenant "acme" of all queues is paused by \S+ since $T until $T$/, 'its tenant is paused');
	q1(q{jobq.resume('*', tenant => 'acme')});
	q1("jobq.reap($pool{$_}[0])") for keys %pool;
}
# ready
my ($pool, $q) = pool($pg, 'work');
$pg->query("UPDATE jobq.pool SET opened_at = now() + interval '1 hour'");
why($job, qr/^ready: the next of queue "work", whose workers are starting$/, 'workers that are starting');
$pg->query("UPDATE jobq.pool SET opened_at = now() - interval '1 minute'");
why($job, qr/^queue "work" has no workers at the moment, though node test serves it$/, '… for long');
q1("count(*) FROM jobq.beat($pool, 1, '{0,1}', '{7,8}', '{idle,busy}', '{NULL,4}', '{0,0}', '{0,0}')");
why($job, qr/^ready: the next of queue "work", of whose 2 workers 1 are busy$/, 'the next one');
my $last = put('work');
why($last, qr/^ready: behind 1 job of queue "work", of whose/, 'behind another (S1-60)');
put('work', 'priority => 1');
q1("count(*) FROM jobq.beat($pool, 1, '{0,1}', '{7,8}', '{busy,busy}', '{3,4}', '{0,0}', '{0,0}')");
why($last, qr/^ready: behind 2 jobs of queue "work", whose 2 workers are all busy$/, 'behind a more urgent one, too; all workers are busy');
q1("count(jobq.enqueue('work', priority => 0)) FROM generate_series(1, 1100)");
why($last, qr/^ready: behind 1000 jobs of queue "work" or more, whose 2 workers are all busy$/, 'behind very many: no more are counted');
my $cost = sub { return ($pg->query("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT jobq.why($last)") =~ /"Shared Hit Blocks": (\d+)/)[0] };
my $few = $cost->();
q1("count(jobq.enqueue('work', priority => 0)) FROM generate_series(1, 10000)");
my $many = $cost->();
cmp_ok $many, '<', 2 * $few, "… at a bounded cost: $few blocks behind 1,100, $many behind 11,100";
q1("jobq.clear('work')");
$job = put('work');
why($job, qr/^ready: the next of queue "work", whose/, 'behind very many that were cleared');
claim($pg, $pool, $q, 20000);
my $empty = $pg->session;	# nothing is written by asking
is $empty->query("BEGIN READ ONLY; SELECT jobq.why($last) ~ '^cancelled'; COMMIT"), 't', 'it only reads';

# paused
$job = put('paused');
$pg->query("SET jobq.actor = 'ann'; SELECT jobq.pause('paused', 'the service is away')");
why($job, qr/^queue "paused" is paused by ann since $T: the service is away$/, 'the queue is paused: by whom, since when, why');
$pg->query("SELECT jobq.pause('paused')");
why($job, qr/^queue "paused" is paused by jobq since $T$/, '… without a reason');
why(put('paused', "delay => '2 hours'"), qr/^scheduled: due at $T, in 2 h; and queue "paused" is paused by/, 'two causes at once');

# what it waits for
my @parents = map { put('later') } 1 .. 7;
$job = put('later', 'after => ARRAY[' . join(',', @parents) . "], delay => '90 s'");
why($job, qr/^waits for jobs @{[ join ', ', @parents[ 0 .. 4 ] ]} and 2 more, and is not due until $T; and queue "later" has no workers/, 'waits for others');
my ($lpool, $lq) = pool($pg, 'later');
finish_ok($pg, $lpool, claim($pg, $lpool, $lq, 6));
why($job, qr/^waits for job $parents[6], and/, 'waits for the last one');
$job = put('later', "after => ARRAY[$parents[6]]");
why($job, qr/^waits for job $parents[6](?:; and queue|$)/, '… at once after it');

# time
$job = put('work', "delay => '30 days'");
why($job, qr/^scheduled: due at $T, in 30 days$/, 'scheduled');
$job = put('work', "delay => '1 hour'");
$pg->query("UPDATE jobq.timer SET run_at = now() - interval '1 second' WHERE job = $job");
why($job, qr/^scheduled: due since $T, and no scheduler is alive to make it ready$/, 'due, without a scheduler');
q1("leader FROM jobq.tick('test', 'i', 60000, '{}', 0)");
why($job, qr/^scheduled: due since $T, and is made ready in a moment$/, '… with one');
q1('moved FROM jobq.due(10)');

# a run
my ($lease) = grep { /^$job:/ } claim($pg, $pool, $q);
why($job, qr/^with node test since $T, attempt 1: one of its workers runs it, or will next$/, 'claimed');
q1("count(*) FROM jobq.beat($pool, 1, '{0}', '{7}', '{busy}', '{$job}', '{0}', '{0}')");
why($job, qr/^running since $T on node test, worker work\/0, attempt 1$/, 'running: since when and where');
$pg->query("SET jobq.actor = 'bob'; SELECT jobq.cancel($job)");
why($job, qr/^running since $T on node test, worker work\/0, attempt 1; asked to stop by bob at $T$/, 'asked to stop');
$pg->query("UPDATE jobq.pool SET seen = seen - interval '1 hour'; UPDATE jobq.claim SET at = at - interval '1 hour'");
why($job, qr/; but nothing was heard of that node since $T, and the job is about to be taken away from it$/, 'its node is silent');
finish_failed($pg, $pool, $lease, 4, error => 'x');
why($job, qr/^cancelled at $T by bob: x$/, 'cancelled while it ran');

# an end
$job = put('work');
finish_failed($pg, $pool, "$job:1", 2, class => 5, error => 'no route', delay => 2500_000) for grep { /^$job:/ } claim($pg, $pool, $q);
why($job, qr/^attempt 1 failed at $T \(network: no route\), and the next one is due at $T, in 4\d min$/, 'waits for its next attempt: why, when');
q1("jobq.retry($job)");
claim($pg, $pool, $q);
finish_failed($pg, $pool, "$job:2", 3, class => 5, error => 'still no route');
why($job, qr/^dead since $T, after attempt 2, as it had no attempt left: network: still no route$/, 'dead: since when, why');
q1("count(*) FROM jobq.retry_dead('{$job}', rate => 1, run_at => now() + interval '10 min')");
why($job, qr/^a dead letter that was retried: due at $T, in \d+ min$/, 'retried at a rate');
q1("jobq.retry($job)");
claim($pg, $pool, $q);
finish_failed($pg, $pool, "$job:3", 3, class => 2, error => 'no such user');
why($job, qr/^dead since $T, after attempt 3, as a validation error is not tried again: validation: no such user$/, 'dead of a validation error');
$job = put('work');
claim($pg, $pool, $q);
finish_failed($pg, $pool, "$job:1", 3, class => 8, error => 'signal 9');
why($job, qr/crashed too often or had no attempt left: crash: signal 9$/, 'dead of crashes');
my $done = put('work');
claim($pg, $pool, $q);
finish_ok($pg, $pool, "$done:1");
why($done, qr/^completed at $T, in attempt 1$/, 'completed');
$job = put('work');
$pg->query("SET jobq.actor = 'ann'; SELECT jobq.cancel($job)");
why($job, qr/^cancelled at $T by ann$/, 'cancelled by somebody');
my $child = put('work', "after => ARRAY[$job]");
why($child, qr/^cancelled at $T: job $job, which it waited for, ended cancelled$/, 'cancelled because of another');

# gone
$pg->query("SET jobq.actor = 'ann'; SELECT jobq.delete($done)");
why($done, qr/^deleted at $T by ann$/, 'deleted');
why(999999, qr/^there is no job 999999$/, 'never there');
why(-1, qr/^there is no job -1$/, '… nor could it be');
is q1('jobq.why(NULL) IS NOT NULL'), 't', 'null';
$pg->query("INSERT INTO jobq.history (job, attempt, queue, outcome, finished_at) VALUES ($child + 1, 1, $q, 1, now()); SELECT setval('jobq.job_id', $child + 2)");
why($child + 1, qr/^completed at $T; it was kept for as long as/, 'only its history is left');
why($child + 2, qr/^there is no job \d+ any more/, 'nothing is left');

# who may ask
$pg->query(slurp(source_directory() . '/src/db/sql/95-roles.sql'));
$pg->query('CREATE ROLE looker LOGIN IN ROLE jobq_reader; CREATE ROLE maker LOGIN IN ROLE jobq_producer');
sub as { my ($role, $sql) = @_; return (run_program([ 'psql', '-XAtq', '-c', $sql, $pg->url =~ s/user=jobq/user=$role/r ]))[ 1, 2 ] }
like +(as('looker', "SELECT jobq.why($job)"))[0], qr/^cancelled/, 'a reader may ask';
like +(as('maker', "SELECT jobq.why($job)"))[1], qr/permission denied/, '… a producer may not';

# on the real thing
$pg->query('CREATE DATABASE live', 'postgres');
my $dir = temp_directory();
chmod 0777, $dir;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
database: {url: "@{[ $pg->url('live') ]}"}
retry: {once: {attempts: 1}, slowly: {attempts: 3, backoff: fixed, base: 1h, jitter: 0%}}
handlers:
  null: {driver: noop}
  gate: {driver: exec, argv: [sh, -c, "until test -e $dir/open; do sleep 0.02; done"]}
queues:
  quick: {handler: null, retry: once}
  slow: {handler: null, retry: slowly}
  gate: {handler: gate, workers: 1}
  late: {handler: null, workers: 1, expire: 50ms}
  off: {handler: null, enabled: false}
YAML
$d->start;
my $ok = sub {
	my ($status, $out, $err) = $d->ctl(@_);
	is $status, 0, "@_" or diag $err;
	return $out;
};
my $put = sub { my $id = $ok->('enqueue', @_); chomp $id; return $id };
my $says = sub {
	my ($id, $want, $what) = @_;
	my $got;
	ok eval { wait_for { (undef, $got) = $d->ctl('job', 'show', $id); $got =~ /^why +$want$/m } $what }, "jobqctl: $what" or diag $got;
	my $why = ($got =~ /^why +(.*)$/m)[0];
	is decode_json($ok->('--json', 'job', 'show', $id))->{why} =~ /^$want$/ ? 1 : 0, 1, '… the same in --json';
};
my $fail = '{"fail": "network", "message": "no route"}';
$says->($put->('off'), qr/queue "off" is disabled in the configuration/, 'a disabled queue');
$says->($put->('quick'), qr/completed at $T, in attempt 1/, 'completed');
$says->($put->('quick', $fail), qr/dead since $T, after attempt 1, as it had no attempt left: network: no route/, 'dead');
$says->($put->('slow', $fail), qr/attempt 1 failed at $T \(network: no route\), and the next one is due at $T, in (?:1 h|60 min|59 min)/, 'retrying');
$says->($put->('quick', '--in', '3h'), qr/scheduled: due at $T, in (?:3 h|180 min)/, 'scheduled');
my $run = $put->('gate');
$says->($run, qr/running since $T on node node, worker gate\/0, attempt 1/, 'running');
my @queued = map { $put->('gate') } 1 .. 3;
$says->($queued[2], qr/(?:ready: (?:behind \d jobs?|the next) of queue "gate", whose worker is busy|with node node since .*)/, 'behind others');
my $after = $pg->query("SELECT jobq.enqueue('quick', after => ARRAY[$queued[2]])", 'live');
$says->($after, qr/waits for job $queued[2]/, 'blocked');
$ok->('queue', 'pause', 'quick', '--reason', 'for the test');
$says->($put->('quick'), qr/queue "quick" is paused by \w+ since $T: for the test/, 'paused');
$says->($after, qr/waits for job $queued[2]; and queue "quick" is paused by .*/, 'blocked and paused');
$ok->('job', 'cancel', $after);
$says->($after, qr/cancelled at $T by \w+/, 'cancelled');
$ok->('queue', 'pause', 'late');
my $late = $put->('late');
$says->($late, qr/queue "late" is paused by .*/, 'paused, and late');
wait_for { $pg->query("SELECT now() > created_at + interval '100 ms' FROM jobq.jobs WHERE id = $late", 'live') eq 't' } 'its time to be over';
$ok->('queue', 'resume', 'late');
$says->($late, qr/dead since $T, after attempt 1, as it had expired: timeout: not started within 50 ms of its time/, 'expired');
$ok->('dead', 'retry', $late);
$says->($late, qr/completed at $T, in attempt 2/, 'an expired one that was retried does not expire again');
spew("$dir/open", '');
my ($status, $out, $err) = $d->ctl('job', 'show', 999);
is $status, 3, 'no such job';
like $err, qr/^jobqctl: no job 999: there is no job 999$/, '… says why() too' or diag $err;
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'running' OR state = 'ready' AND queue = 'gate'", 'live') == 0 } 'the gate to be through';
$d->stop;
my $nobody = $pg->query("SELECT jobq.enqueue('gate')", 'live');
$says->($nobody, qr/queue "gate" has no workers at the moment, though node node serves it/, 'the daemon is stopped');
done_testing;
