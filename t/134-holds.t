# Pauses of queues, types and tenants, and their end; clearing and cleaning.
# S2-27 … S2-29, S3-28, S3-32, S3-52, S3-58, S4-26, S4-43, S1-29
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More;

my $pg = schema(jit => 'off');
queues($pg, work => {}, other => {});
my ($pool, $q) = pool($pg, 'work');
my ($other_pool, $other) = pool($pg, 'other');
my $db = $pg->session;
sub q1 { return $db->query('SELECT ' . $_[0]) }
sub put { return q1("jobq.enqueue('" . ($_[1] // 'work') . "'" . ($_[0] ? ", $_[0]" : '') . ')') }
sub refused { my ($call, $state, $text) = @_; like $db->query("\\set VERBOSITY verbose\nSELECT $call"), qr/ERROR:  $state: .*$text/, "refused: $call" }
my $holds = "string_agg(concat_ws(',', coalesce(queue, 'all'), coalesce(type, '-'), coalesce(tenant, '-'), reason, by, until IS NOT NULL), ' ' ORDER BY queue, type, tenant) FROM jobq.holds";
sub audit { return q1("string_agg(actor || ':' || action || ':' || target || ':' || detail, '; ' ORDER BY at) FROM jobq.audit WHERE action <> 'register'") }
sub tick { return q1("$_[0] FROM jobq.tick('a', 'x', 60000, '{}', 100)") }

# pause and resume
$db->query("SET jobq.actor = 'ann'");
q1("jobq.pause('work', 'broken')");
is q1("paused || pause_reason || paused_by || (paused_at > now() - '1 min'::interval) || (paused_until IS NULL) FROM jobq.queues WHERE name = 'work'"), 'truebrokenanntruetrue', 'paused: why, by whom, since when';
put();
# S2-27, S3-28, S3-58
is_deeply [ claim($db, $pool, $q) ], [], '… nothing is claimed';
q1("jobq.pause('work', 'still')");
is q1($holds), 'work,-,-,still,ann,f', '… again, for another reason';
q1("jobq.resume('work')");
is scalar(finish_ok($db, $pool, claim($db, $pool, $q))), 1, 'resumed';
q1("jobq.resume('work')");
is audit(), 'ann:pause:queue work:broken; ann:pause:queue work:still; ann:resume:queue work:', 'the audit has it, once where nothing changed (S3-40)';
refused(q{jobq.pause('none')}, '22023', 'no queue "none"');
refused(q{jobq.resume('none')}, '22023', 'no queue "none"');
refused(q{jobq.pause('work', until => now() - interval '1 s')}, '22023', 'has passed');
refused(q{jobq.pause('work', until => '-infinity')}, '22023', 'has passed');

# types and tenants
q1(q{jobq.pause('work', 'slow', type => 'mail')});
q1(q{jobq.pause('work', tenant => 'acme')});
q1(q{jobq.pause('work', type => 'mail', tenant => 'acme', until => 'infinity')});
q1(q{jobq.pause('*', 'import', type => '', tenant => 'acme')});
q1(q{jobq.pause('*', tenant => 'acme')});
my $five = 'work,mail,acme,,ann,f work,mail,-,slow,ann,f work,-,acme,,ann,f all,,acme,import,ann,f all,-,acme,,ann,f';
is q1($holds), $five, 'types and tenants, also of all queues';
is q1("string_agg(name || paused || holds, ' ' ORDER BY name) FROM jobq.queues"), 'otherfalse2 workfalse5', '… and which queues have some';
q1(q{jobq.pause('*', 'import', type => '', tenant => 'acme')});
is q1('count(*) FROM jobq.hold'), 5, 'each is there once';
q1(q{jobq.resume('work')});
q1(q{jobq.resume('*')});
is q1($holds), $five, 'a resumed queue keeps them';
q1(q{jobq.resume('work', type => 'mail')});
is q1($holds), $five =~ s/work,mail,-,slow,ann,f //r, 'resumed one by one';
my $listener = $pg->session;
$listener->query('LISTEN jobq');
q1(q{jobq.resume('*', tenant => 'acme')});
like $listener->query('SELECT 1'), qr/"other".*"work".*"\*awake"|"work".*"other".*"\*awake"/s, 'all queues are woken';
q1(q{jobq.resume('work', tenant => 'acme')});
my $heard = $listener->query('SELECT 1');
like $heard, qr/"work".*"\*awake"/s, 'one is woken';
unlike $heard, qr/"other"/, '… alone';
q1(q{jobq.resume('work', type => 'mail', tenant => 'acme')});
q1(q{jobq.resume('*', type => '', tenant => 'acme')});
is q1('count(*) FROM jobq.holds'), 0, 'none is left';
is q1("target FROM jobq.audit ORDER BY at DESC LIMIT 1"), 'all queues type  tenant acme', 'the audit tells which';
q1(q{jobq.pause('*', 'deploy')});
is q1("bool_and(paused) FROM jobq.queues"), 't', 'everything';
q1(q{jobq.resume('other')});
is q1("string_agg(name, ' ') FROM jobq.queues WHERE paused"), 'work', '… and one of it again';
q1(q{jobq.resume('*')});
is q1("bool_or(paused) FROM jobq.queues"), 'f', '… and all';

# until
tick('moved');
$listener->query('SELECT 1');
q1(q{jobq.pause('work', until => now() + interval '1 hour')});
like $listener->query('SELECT 1'), qr/\*due/, 'a pause that ends: the scheduler is told';
is tick("abs(next_due_us / 1000000 - extract(epoch FROM now()) - 3600) < 30"), 't', '… and comes for it';
q1(q{jobq.pause('other', until => now() + interval '400 ms', type => 'x')});
q1(q{jobq.pause('*', until => now() + interval '500 ms', tenant => 'y')});
q1(q{jobq.pause('other', until => now() + interval '600 ms')});
is q1("leader FROM jobq.tick('b', 'y', 60000, '{}', 100)"), 'f', 'who does not lead';
is q1('count(*) FROM jobq.holds'), 4, '… ends none';
wait_for { tick('moved'); q1('count(*) FROM jobq.holds') == 1 } 'three pauses to end';
like audit(), qr/(?:; \w+:resume:(?:queue other|queue other type x|all queues tenant y):){3}$/, '… as if resumed';
is tick("abs(next_due_us / 1000000 - extract(epoch FROM now()) - 3600) < 30"), 't', '… and the next is waited for';
q1(q{jobq.pause('work')});
is tick('next_due_us'), '', 'until somebody takes it back: for nothing';
is q1('paused FROM jobq.queues WHERE name = \'work\''), 't', '… it lasts';
q1(q{jobq.resume('work')});

# somebody is just about to change one that ends: nothing else waits for that
my $later = "now() + interval '1 hour'";
q1(qq{jobq.pause('work', until => now() + interval '100 ms')});
q1(qq{jobq.pause('other', until => now() + interval '200 ms', type => 'x')});
q1(qq{jobq.pause('other', until => now() + interval '300 ms')});
my $timer = q1(q{jobq.enqueue('work', delay => '300 ms')});
my $changes = $pg->session;
$changes->query(qq{BEGIN; SELECT jobq.pause('work', until => $later); SELECT jobq.pause('other', until => $later, type => 'x')});
$pg->query('SELECT pg_sleep(0.4)');
$db->query("SET lock_timeout = '5s'");
like tick('moved || $$ $$ || (next_due_us > now_us)'), qr/^1 true$/, 'a tick moves a timer, and comes again for the pauses';
$db->query("RESET lock_timeout");
is q1(q{paused FROM jobq.queues WHERE name = 'other'}), 'f', '… and ends one after them';
$changes->query('COMMIT');
tick('moved');
is q1("count(*) FROM jobq.holds WHERE until > now()"), 2, 'what was prolonged goes on';
q1(qq{jobq.resume('work')});
q1(qq{jobq.resume('other', type => 'x')});
q1("jobq.cancel($timer)");

# clear
my %id = (running => put(q{type => 'a', unique_key => 'r'}));
is_deeply [ claim($db, $pool, $q) ], ["$id{running}:1"], 'one runs';
$id{retrying} = put(q{type => 'a', tenant => 't'});
finish_failed($db, $pool, $_, 2, delay => 3600000) for claim($db, $pool, $q);
$id{scheduled} = put(q{type => 'a', delay => '1 h', unique_key => 's'});
$id{blocked} = put(qq{type => 'b', after => '{$id{scheduled},$id{running}}'});
$id{child} = put(qq{after => '{$id{running}}'}, 'other');
$id{ready} = put(q{type => 'b', tenant => 't', unique_key => 'k'});
$id{'ready2'} = put(q{type => 'a'});
my $states = "string_agg(state, ' ' ORDER BY id) FROM jobq.jobs WHERE id >= $id{running}";
is q1($states), 'running retrying scheduled blocked blocked ready ready', 'jobs in every state';
refused(q{jobq.clear('none')}, '22023', 'no queue "none"');
refused(q{jobq.clear('work', state => 'running')}, '22023', 'running do not wait');
is q1(q{jobq.clear('work', state => 'retrying', type => 'b')}), 0, 'clear: of that there is nothing';
is q1(q{jobq.clear('work', type => 'b', tenant => 't')}), 1, '… of a type and a tenant';
is q1($states), 'running retrying scheduled blocked blocked cancelled ready', '… one';
isnt put(q{unique_key => 'k', delay => '1 h', type => 'new'}), $id{ready}, '… which frees its key';
is q1(q{jobq.clear('work', type => 'new', state => 'scheduled')}), 1, '… of a state';
is q1(q{jobq.clear('work', tenant => 't')}), 1, '… of a tenant';
is q1("error FROM jobq.jobs WHERE id = $id{retrying}"), 'cleared by ann', '… by whom';
is q1("count(*) FROM jobq.clear_plan('work')"), 1, 'the plan of a few jobs is one piece';
is q1("jobq.clear_jobs('other', p) FROM jobq.clear_plan('work') p"), 0, '… which is not for another queue';
is q1("jobq.clear_jobs('work', ARRAY[$id{running}, $id{ready}, 999999])"), 0, '… and nothing that runs, has ended, or is not there';
is q1("jobq.clear('work')"), 3, 'all that waits (S2-29, S3-32)';
is q1($states), 'running cancelled cancelled cancelled blocked cancelled cancelled cancelled', '… and not what runs, nor what waits for that';
is_deeply [ claim($db, $pool, $q) ], [], '… is claimed no more';
is q1('(SELECT count(*) FROM jobq.timer) + (SELECT count(*) FROM jobq.waits WHERE job <> ' . $id{child} . ")"), 0, '… nor waits for anything';
is q1("string_agg(key, ' ') FROM jobq.uniq"), 'r', '… nor has a key';
is q1("string_agg(detail, ' ' ORDER BY at) FROM jobq.audit WHERE action = 'clear' AND target = 'queue work' AND actor = 'ann'"), '1 jobs 1 jobs 1 jobs 3 jobs', 'the audit has the numbers';
finish_ok($db, $pool, "$id{running}:1");
is state($db, $id{child}), 'ready', 'what waited for the running one goes on';
# … beside a claim that is under way
my $ready = put();
my $claim = $pg->session;
$claim->query('BEGIN');
is_deeply [ claim($claim, $pool, $q) ], ["$ready:1"], 'a claim is under way';
$db->send("SELECT jobq.clear('work')");
wait_for { $pg->query("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'") == 1 } 'clear to wait for it';
$claim->query('COMMIT');
is $db->answer, 0, '… has it, and clear leaves it alone';
is state($db, $ready), 'running', '… running';
is_deeply [ finish_ok($db, $pool, "$ready:1") ], ["$ready:1"], '… to its end';
# … and what waits for what was cleared, elsewhere
$id{parent} = put(q{delay => '1 h'});
$id{child} = put(qq{after => '{$id{parent}}'}, 'other');
q1("jobq.clear('work')");
is state($db, $id{child}), 'cancelled', 'a job in another queue that waited for a cleared one is cancelled';
$pg->query("SELECT count(jobq.enqueue('work')) FROM generate_series(1, 2500)");
is q1("string_agg(cardinality(p)::text, ' ') FROM jobq.clear_plan('work') p"), '1000 1000 500', 'many are cleared in pieces';
is q1("jobq.clear('work')"), 2500, '… or all at once';
is q1("count(*) FROM jobq.open_turns($q\::smallint)"), 0, '… and no claim has to look at them';
$pg->query("SELECT count(jobq.enqueue('work', CASE WHEN n = 1234 THEN 'keep' ELSE 'drop' END)) FROM generate_series(1, 2345) n");
is q1("jobq.clear('work', type => 'drop')"), 2344, 'all but one';
is q1("count(*) FROM jobq.open_turns($q\::smallint)"), 2345 - 1233, '… what is before it no claim looks at';
finish_ok($db, $pool, claim($db, $pool, $q));
is_deeply [ claim($db, $pool, $q) ], [], '… and it is claimed alone';
put();
like $db->query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT jobq.clear('work'); ROLLBACK"), qr/25001: .*READ COMMITTED/, 'not in a transaction that sees no claims';
is q1("jobq.clear('work')"), 1, '… but in another';
is q1("ready || ' ' || cancelled FROM jobq.queues WHERE name = 'work'"), '0 ' . q1("count(*) FROM jobq.jobs WHERE state = 'cancelled' AND queue = 'work'"), 'the counts agree';

# clean
$db->query("DELETE FROM jobq.uniq");
$id{done} = put(q{unique_key => 'gone', type => 'd'});
$id{dead} = put();
claim($db, $pool, $q);
q1("jobq.output_add($id{done}, 1, 'text'); SELECT jobq.progress($id{done}, 50)");
finish_ok($db, $pool, "$id{done}:1");
finish_failed($db, $pool, "$id{dead}:1", 3);
$id{wait} = put(q{delay => '1 h'});
refused(q{jobq.clean('work', 'ready', '1 h')}, '22023', 'ready have not ended');
refused(q{jobq.clean('work', NULL, '1 h')}, '22023', 'NULL have not ended');
refused(q{jobq.clean('work', 'dead', '-1 h')}, '22023', 'is no time');
refused(q{jobq.clean('none', 'dead', '1 h')}, '22023', 'no queue "none"');
is q1(q{jobq.clean('work', 'completed', '1 h')}), 0, 'clean: nothing is that old (S1-29, S4-26)';
my $counts = "completed || ' ' || dead || ' ' || (cancelled > 0) FROM jobq.queues WHERE name = 'work'";
is q1($counts), q1("count(*) FROM jobq.jobs WHERE state = 'completed' AND queue = 'work'") . ' 1 true', 'before';
my $completed = q1("count(*) FROM jobq.jobs WHERE state = 'completed' AND queue = 'work'");
is q1("jobq.clean_jobs('work', ARRAY[$id{wait}, 999999])"), 0, 'what has not ended is left alone';
is q1(q{jobq.clean('work', 'completed', '0')}), $completed, 'completed ones';
is q1($counts), '0 1 true', '… are counted no more';
is q1("(SELECT count(*) FROM jobq.jobs WHERE id = $id{done}) + (SELECT count(*) FROM jobq.output) + (SELECT count(*) FROM jobq.progress)"), 0, '… and leave nothing';
is q1("outcome FROM jobq.attempts WHERE job_id = $id{done}"), 'completed', '… but their attempts';
is q1(q{jobq.clean('work', 'completed', '0')}), 0, '… once';
is q1("jobq.clean('work', 'dead', '0')"), 1, 'dead ones (S3-52, S4-43)';
is q1('count(*) FROM jobq.dead'), 0, '… are no dead letters any more';
is q1("jobq.retry($id{dead})"), 'f', '… nor can be retried';
cmp_ok q1("jobq.clean('work', 'cancelled', '0')"), '>', 2500, 'cancelled ones';
is q1("string_agg(state, ' ') FROM jobq.jobs WHERE queue = 'work'"), 'scheduled', 'what waits is left';
is q1($counts), '0 0 false', '… and what is counted is so';
my $child = put("after => '{$id{done}}'");
is state($db, $child), 'ready', 'a job can still wait for one that is removed, and it has completed';
# … beside a retry
$id{dead} = put(q{type => 'x'});
finish_failed($db, $pool, $_, 3) for claim($db, $pool, $q);
$claim->query("BEGIN; SELECT jobq.retry($id{dead})");
$db->send("SELECT jobq.clean('work', 'dead', '0')");
wait_for { $pg->query("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'transactionid'") == 1 } 'clean to wait for it';
$claim->query('COMMIT');
is $db->answer, 1, 'a dead job that is retried just then is left alone';
is state($db, $id{dead}), 'ready', '… and runs again';
finish_failed($db, $pool, $_, 3) for claim($db, $pool, $q);
$claim->query("BEGIN; SELECT jobq.clean('work', 'dead', '0')");
$db->send("SELECT jobq.retry($id{dead})");
wait_for { $pg->query("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'transactionid'") == 1 } 'retry to wait for it';
$claim->query('COMMIT');
is $db->answer, 'f', '… and the other way round, the retry';

# remove
like +($pg->try_query("SELECT jobq.queue_remove('other')"))[2], qr/is served/, 'a served queue is not removed';
$pg->query("DELETE FROM jobq.serves");
put('', 'other');
claim($db, $other_pool, $other);
like +($pg->try_query("SELECT jobq.queue_remove('other')"))[2], qr/has unfinished jobs.*HINT:  Clear/s, 'nor one with unfinished jobs, of which one ran on a node that is gone';
is q1("count(*) FROM jobq.pool WHERE id = $other_pool"), 1, '… nothing is done';
q1(q{jobq.pause('other', type => 'x')});
$pg->query("SELECT jobq.reap($other_pool); SELECT jobq.clear('other'); SELECT jobq.queue_remove('other')");
is q1("count(*) FROM jobq.queues WHERE name = 'other'") + q1('count(*) FROM jobq.hold'), 0, 'cleared, it is, with its pauses';

# … while somebody enqueues, who has not committed yet
for my $case (['one', 'one', ''], ['two', qr/^two-\d+$/, 'two']) {
	my ($name, $after, $made) = @$case;
	queues($pg, $name => {});
	$pg->query('DELETE FROM jobq.serves');
	$claim->query('BEGIN');
	my $id = $claim->query("SELECT jobq.enqueue('$name')");
	$pg->query("SELECT jobq.queue_remove('$name')");
	queues($pg, $made => {}) if $made;
	unlike $pg->query('SELECT * FROM jobq.maintain()'), qr/there again/, 'a queue is removed';
	$claim->query('COMMIT');
	like join("\n", maintain_until { q1("state FROM jobq.jobs WHERE id = $id") } $pg), qr/there again.*: queue $name/,
	    'it comes back with the job of a transaction that was open then';
	like q1("queue FROM jobq.jobs WHERE id = $id"), qr/^$after$/, $made ? '… beside one that was made meanwhile' : '… under its name';
	my ($pool_again, $again) = pool($pg, q1("queue FROM jobq.jobs WHERE id = $id"));
	is join(' ', claim($db, $pool_again, $again)), "$id:1", '… and is run';
}
done_testing;
