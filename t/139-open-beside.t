# Each function that applications and people change something with, in a transaction that is left
# open, beside each that jobqd calls: none of these waits for it for longer than
# it has to, or fails, but for those few that must.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More;

my $pg = schema();
my $register = q{jobq.register('{"node": "test", "queues": [{"name": "work"}, {"name": "keyed", "key": "data.k"},
    {"name": "unique", "unique_conflict": "replace"}, {"name": "other"}],
    "schedules": [{"name": "hourly", "queue": "work", "spec": "1h", "priority": 3, "data": {"a": [1, null]}}],
    "workflows": {"flow": {"steps": {"a": {"queue": "work"}, "b": {"queue": "other", "after": ["a"]}}}}, "alerts": [{"name": "backlog", "metric": "backlog",
    "kind": "count", "severity": "warning", "above": "5", "window": "5m", "for": "0", "repeat": "0", "escalate_after": "0",
    "min_jobs": 0, "queues": [], "notify": [], "escalate_notify": []}]}')};
queues($pg, gone => {});
$pg->query("SELECT $register");
my ($pool, $q) = pool($pg, 'work');
my ($keyed_pool, $keyed_q) = pool($pg, 'keyed');
my ($other_pool, $other_q) = pool($pg, 'other');
sub put { return $pg->query("SELECT jobq.enqueue($_[0])") }

# Jobs that outlived their partition and whose time is over, so that maintain()
# has something to do.
my ($done, $dead, $reviewed) = map { put("'work'") } 1 .. 3;
my $cancelled = put(q{'work', delay => '1 day'});
claim($pg, $pool, $q);
finish_ok($pg, $pool, "$done:1");
finish_failed($pg, $pool, "$_:1", 3) for $dead, $reviewed;
$pg->query("SELECT jobq.cancel($cancelled), jobq.review($reviewed, 'me')");
put(q{'other', data => jsonb_build_object('x', repeat(md5(i::text), 50))) FROM generate_series(1, 300) i -- }) =~ /\d/ or die;
maintain_until { $pg->query("UPDATE jobq.part SET made_at = now() - interval '100 days'"); $pg->query('SELECT last_value FROM jobq.job_id') >= 1e9 } $pg;
maintain_until { $pg->query("UPDATE jobq.part SET cut_at = now() - interval '2 days'"); $pg->query('SELECT count(*) FROM jobq.job_default') > 0 } $pg;
$pg->query("UPDATE jobq.attempt SET finished_at = finished_at - interval '100 days'; UPDATE jobq.dead SET died_at = died_at - interval '100 days'");

# … and some of each state.
my $running = put("'work'");
claim($pg, $pool, $q);
my $ready = put("'work'");
my $scheduled = put(q{'work', delay => '1 day'});
my ($blocked, $behind_ready) = map { put("'work', after => '{$_}'") } $running, $ready;
my $owner = put(q{'unique', unique_key => 'mine'});
put(q{'unique', unique_key => 'later', delay => '1 day'});
$pg->query("INSERT INTO jobq.uniq (queue, key, job, until) SELECT id, 'expired', $owner, now() - interval '1 hour' FROM jobq.queue WHERE name = 'unique'");
my ($runs_keyed, $parked) = map { put(q{'keyed', data => '{"k": 1}'}) } 1 .. 2;
claim($pg, $keyed_pool, $keyed_q);
my $batch = $pg->query("SELECT jobq.batch('work', '[{}, {}]')");
$pg->query(q{SELECT jobq.schedule_put('s', '{"every": "1s", "queue": "work"}')});

my @calls = (
	"enqueue('work')", q{enqueue_many('work', '[{}, {}]')}, q{enqueue('keyed', key => 'z')}, "enqueue('work', after => '{$running}')",
	q{enqueue('unique', unique_key => 'new')}, q{enqueue('unique', unique_key => 'expired')},
	q{enqueue('unique', unique_key => 'mine', data => '{"a": 1}')},
	q{enqueue('unique', unique_key => 'later', data => '{"a": 1}'); SET CONSTRAINTS ALL IMMEDIATE},
	"batch('work', '[{}, {}]')", "workflow_cancel($batch)",
	(map { ("cancel($_)", "delete($_)") } $ready, $scheduled, $blocked, $behind_ready, $parked),
	"cancel($running)", "progress($running, 5, 'x')",
	"complete($running, (SELECT pool || '.' || batch || '.1' FROM jobq.lease WHERE job = $running))",
	"retry($dead)", qq{retry($dead, '{"a": 1}')}, "retry($scheduled)", "retry_dead('{$dead,$reviewed}')", "delete_dead('{$dead}')", "delete($done)",
	"review($dead, 'you')", "review($reviewed, 'you')", "clean('work', 'dead', '0')", "clean('work', 'completed', '0')",
	"clear('work')", "clear('other')", "pause('work')", "pause('*')", q{pause('work', until => now() + interval '1 h', type => 't')},
	q{pause('other', until => clock_timestamp() + interval '1 ms')}, "resume('work')", "queue_remove('gone')",
	"schedule_pause('hourly')", "schedule_run('hourly')", "schedule_pause('s')", "schedule_run('s')", q{schedule_put('t', '{"every": "1s", "queue": "work"}')}, "schedule_remove('s')",
	"schedule_resume('hourly')", "workflow('flow')", "workflow_retry($batch)", "alert_ack('backlog')", "alert_reset('backlog')", "alert_unsilence('backlog')",
	q{alert_set('backlog', '{"above": "7"}')}, q{alert_silence('backlog', now() + interval '1 h')},
	'audit_verify()', 'report_json()', "statistics_take('1 day')",
);
my %engine = (
	'maintain' => '* FROM jobq.maintain()', 'maintain, no room' => '* FROM jobq.maintain(1)', register => $register,
	tick => "* FROM jobq.tick('test', 'i', 1000, '{$q,$keyed_q,$other_q}', 1000)", resign => "jobq.resign('test', 'i')",
	fire => q{* FROM jobq.schedule_fire('{s}', array[now()], array[now()], array[now() + interval '1 s'], '{1}')},
	node_beat => q{jobq.node_beat('test', 't', '1')}, statistics => "* FROM jobq.statistics_take('1 day')",
	health => "* FROM jobq.health('{work,keyed}')", gauges => 'count(*) FROM jobq.gauges()',
	alerts => "count(*) FROM jobq.alert_look('test', 'i', 1000)", reap_stale => '* FROM jobq.reap_stale()',
	overdue => 'count(*) FROM jobq.pull_overdue()', report => "* FROM jobq.report_take(now(), 'me')",
	pool_open => q{* FROM jobq.pool_open('work', 'test', 1)}, keep => "jobq.keep('{$pool}')",
	beat => "* FROM jobq.beat($pool, 1, '{0}', '{1}', '{busy}', '{$running}', '{1}', '{1}')", cancels => "* FROM jobq.cancels($pool)",
	progress => "jobq.progress_set('{$running}', '{1}', '{5}', '{x}')", output => "jobq.output_add($running, 1, 'x')",
	breaker => "jobq.breaker_set($pool, $q\::smallint, 'x', 'opens', false, 1, 1, 1000, 'e')",
	'claim of work' => "* FROM jobq.claim($pool, $q\::smallint, 5)", 'claim of other' => "* FROM jobq.claim($other_pool, $other_q\::smallint, 5)",
	'claim of keyed' => "* FROM jobq.claim($keyed_pool, $keyed_q\::smallint, 5)", pull => "* FROM jobq.pull_claim('other', 'test', '{w}', '{1}', '{1000}', '{}', 1000, 3)",
	finish_ok => "* FROM jobq.finish_ok($pool, '{$running}', '{1}', null, '{0}', '{0}', '{0}')",
	finish => "* FROM jobq.finish($pool, '{$running}', '{1}', '{2}', '{1}', '{e}', null, '{0}', '{0}', '{0}', '{0}', '{0}', '{0}', '{0}', '{0}', '{f}')",
	'finish keyed' => "* FROM jobq.finish_ok($keyed_pool, '{$runs_keyed}', '{1}', null, '{0}', '{0}', '{0}')",
	reap => "jobq.reap($pool)", pool_close => "jobq.pool_close($pool)", 'close keyed' => "jobq.pool_close($keyed_pool)",
);
# Those that cannot do without what the transaction has, say so and are tried again.
my %wait = (
	"clear('work')" => ['claim of work', 'pool_close', 'reap'], "clear('other')" => ['claim of other', 'pull'],
	"complete($running" => ['finish', 'finish_ok'],
);

my ($user, $jobqd) = map { $pg->session } 1 .. 2;
$jobqd->query("SET statement_timeout = '5s'");
# Does it do without an error, and is all as it was?
sub goes {
	my ($session, $sql) = @_;
	$session->query("BEGIN; SELECT $sql");
	return $session->query("SELECT 'well'") eq 'well';
}
for my $name (sort keys %engine) {
	ok goes($jobqd, $engine{$name}), "$name, by itself";
	$jobqd->query('ROLLBACK');
}
for my $call (@calls) {
	ok goes($user, "jobq.$call"), "a transaction is open after $call";
	my @fail;
	for my $name (sort keys %engine) {
		push @fail, $name if !goes($jobqd, $engine{$name});
		$jobqd->query('ROLLBACK');
	}
	my ($expected) = grep { index($call, $_) == 0 } sort keys %wait;
	is_deeply \@fail, [ $expected ? sort @{ $wait{$expected} } : () ], '… which stops nothing but what it must';
	$user->query('ROLLBACK');
}

# whoever retries a dead letter at the end of its time has it run
$user->query('BEGIN');
is $user->query("SELECT jobq.retry($dead)"), 't', 'a dead letter whose time is over is retried';
like join("\n", maintain_until { $pg->query("SELECT count(*) FROM jobq.job WHERE id = $done") == 0 } $pg),
    qr/removed \d+ jobs that had outlived/, '… while such jobs are removed';
$user->query('COMMIT');
$pg->query('SELECT * FROM jobq.maintain()') for 1 .. 3;
is state($pg, $dead), 'ready', '… and is there';
ok +(grep { $_ eq "$dead:2" } claim($pg, $pool, $q)), '… and is run';

# what is ready is given another turn, which maintain() must not copy; the rest it does
$user->query("BEGIN; SELECT jobq.enqueue('unique', unique_key => 'mine', priority => 1); SET CONSTRAINTS ALL IMMEDIATE");
is $user->query("SELECT lane / 256 FROM jobq.turn WHERE job = $owner"), 1, 'a transaction is open that has replaced a job that is ready';
put("'work'");
finish_ok($pg, $pool, claim($pg, $pool, $q));
isnt $pg->query('SELECT count(*) FROM jobq.tally'), 0, '… another has ended';
$pg->query('SELECT * FROM jobq.maintain()');
is $pg->query('SELECT count(*) FROM jobq.tally'), 0, '… and the house is kept';
$user->query('ROLLBACK');
done_testing;
