# Schedules by SQL alone: firing with overlap, only_if, for_each, and what is
# counted; making, replacing and removing them at run time; which are late.
# S0-28, S0-67 conditions, S0-70, S4-53 a job for each row with its tenant,
# S1-16, S1-32, S1-34, S1-35 schedules at run time, S1-12 what a schedule has.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Jobqd;
use Schema;
use Test::More;

my $pg = schema();
my $db = $pg->session;
my $json = JSON::PP->new->canonical->allow_nonref;
sub quoted { return "'" . ($_[0] =~ s/'/''/gr) . "'" }
sub q1 { return $db->query("SELECT $_[0]") }
sub register {
	my (%schedules) = @_;
	return $db->query('SELECT jobq.register(' . quoted($json->encode({ node => 'test',
	    queues => [ { name => 'work' }, { name => 'large', large_first => JSON::PP::true }, { name => 'small', max_payload => 20 },
	        { name => 'once', unique => 'data.id' } ],
	    schedules => [ map { { name => $_, queue => 'work', spec => '1h', %{ $schedules{$_} } } } sort keys %schedules ] })) . ')');
}
sub column { my ($name, $what) = @_; return q1("$what FROM jobq.schedules WHERE name = '$name'") }

# Fire one for an instant so many hours ahead: "outcome jobs reason".
my $hour = 0;
sub fire {
	my ($name, $at, $revision) = @_;
	$at = ++$hour unless defined $at;
	$revision = q1("revision FROM jobq.schedule WHERE name = '$name'") unless defined $revision;
	$revision = 0 if $revision eq '';
	my $t = "date_trunc('hour', now()) + interval '$at h'";
	return q1("concat_ws(' ', outcome, jobs, reason) FROM jobq.schedule_fire('{$name}', ARRAY[$t], ARRAY[$t], "
	    . "ARRAY[$t + interval '1 h'], '{$revision}')");
}
sub error_of { my ($sql) = @_; my $out = $db->query($sql); return $out =~ /^ERROR:\s+(.*)/m ? $1 : "none: $out" }

register(plain => { type => 'p', data => { a => 1 }, priority => 2, tenant => 'acme' },
	skip => { overlap => 'skip' }, replace => { overlap => 'replace' }, off => { enabled => JSON::PP::false },
	asked => { only_if => 'select n > 0 from flag' }, each => { type => 'e', data => { a => 1, b => 1 }, overlap => 'skip',
	    for_each => "select i as b, 'tenant' || i as tenant, null as c from generate_series(1, (select n from flag)) i -- all" },
	big => { queue => 'small', for_each => "select repeat('x', i * 10) as x from generate_series(1, 3) i" },
	writes => { only_if => "select nextval('jobq.job_id') > 0", for_each => '' },
	unique => { queue => 'once', data => { id => 1 } }, sneaks => { for_each => 'select * from sneak()' }, many => { for_each => 'select i from generate_series(1, 100001) i' });
$pg->query('CREATE TABLE flag (n int); INSERT INTO flag VALUES (0); CREATE FUNCTION sneak() RETURNS SETOF flag '
    . "LANGUAGE sql AS 'DELETE FROM flag RETURNING *'");

# an instant
is fire('plain', 1), 'fired 1', 'an instant makes a job';
is fire('plain', 1), 'done 0', '… once';
is fire('plain', 0), 'done 0', '… and none before it any more';
# S1-12: all that a schedule has.
is q1("concat_ws(' ', type, data, priority, tenant, run_at = date_trunc('hour', now()) + interval '1 h') FROM jobq.jobs"),
    'p {"a": 1} 2 acme t', '… with all that the schedule says';
is column('plain', "concat_ws(' ', fired, skipped, failed, last_jobs, last_outcome, next_run - last_run)"), '1 0 0 1 scheduled 01:00:00',
    'the view counts it';
is fire('off'), 'held 0', 'a disabled schedule makes none';
is fire('none'), 'gone 0', 'one that is not there';
is fire('plain', undef, 7), 'stale 0', 'another definition than the caller knows';
q1("jobq.schedule_pause('plain')");
is fire('plain'), 'held 0', 'a paused one makes none';
is column('plain', 'next_run'), '', '… and has no next instant';
q1("jobq.schedule_resume('plain')");
$hour = 10;

# the last run is still live
is fire('skip'), 'fired 1', 'overlap: skip, first';
is fire('skip'), 'skipped 0 overlap', '… the next one';
is column('skip', 'skipped'), 1, '… counted';
q1('jobq.cancel(' . column('skip', 'last_job_id') . ')');
is fire('skip'), 'fired 1', '… until the job has ended';
is fire('replace'), 'fired 1', 'overlap: replace, first';
my $first = column('replace', 'last_job_id');
is fire('replace'), 'fired 1', '… the next one';
is state($pg, $first), 'cancelled', '… cancels the one before';

# only_if: false, null, true, an error
is fire('asked'), 'skipped 0 only_if', 'only_if: false (S0-28, S0-67, S1-63, S3-70)';
$pg->query('UPDATE flag SET n = null');
is fire('asked'), 'skipped 0 only_if', 'only_if: null';
$pg->query('UPDATE flag SET n = 2');
is fire('asked'), 'fired 1', 'only_if: true';
$pg->query('ALTER TABLE flag RENAME TO gone');
like fire('asked'), qr/^failed 0 relation "flag" does not exist/, 'only_if: an error';
like column('asked', "concat_ws(' ', fired, skipped, failed, last_error, last_error_at > now() - interval '1 h')"),
    qr/^1 2 1 relation "flag" does not exist t$/, '… is counted, and kept';
$pg->query('ALTER TABLE gone RENAME TO flag');
like fire('writes'), qr/^failed 0 cannot execute nextval\(\) in a read-only transaction/, 'it may only read';
like fire('sneaks'), qr/^failed 0 cannot execute DELETE in a read-only transaction/, '… nor may for_each write';
is q1('count(*) FROM flag'), 1, '… and nothing is written';
$db->query('BEGIN; SET LOCAL statement_timeout = 200');
$pg->query("UPDATE jobq.schedule SET only_if = 'select pg_sleep(60) is not null' WHERE name = 'writes'");
like fire('writes'), qr/^failed 0 canceling statement due to statement timeout/, 'one that takes too long has failed';
$db->query('COMMIT');
is column('writes', 'failed'), 2, '… and is counted';

# for_each
is fire('each'), 'fired 2', 'for_each: a job for each row (S0-68, S4-53)';
is q1("string_agg(tenant || data, ' ' ORDER BY id) FROM jobq.jobs WHERE type = 'e'"),
    'tenant1{"a": 1, "b": 1, "c": null} tenant2{"a": 1, "b": 2, "c": null}', '… with its columns and its tenant (S0-68, S0-70)';
is column('each', "concat_ws(' ', last_jobs, last_outcome)"), '2 running', '… all of them its last jobs';
my ($one, $two) = split /\n/, q1("id FROM jobq.jobs WHERE type = 'e' ORDER BY id");
q1("jobq.cancel($one)");
is fire('each'), 'skipped 0 overlap', 'overlap: as long as any of them lives';
q1("jobq.cancel($two)");
is column('each', 'last_outcome'), 'cancelled', 'what became of them';
$pg->query('UPDATE flag SET n = 0');
is fire('each'), 'fired 0', 'no row, no job';
$pg->query('UPDATE flag SET n = 5000');
is fire('each'), 'fired 5000', 'thousands in one transaction';
like fire('big'), qr/^failed 0 data has \d+ bytes/, 'all or none';
is q1("count(*) FROM jobq.jobs WHERE queue = 'small'"), 0, '… none';
like fire('many'), qr/^failed 0 for_each gives more than 100000 rows/, 'not without a limit';

# many at once: what is wrong with one is not the others'
is $db->query("SELECT string_agg(n || outcome, ' ' ORDER BY n) FROM jobq.schedule_fire('{plain,none,big,asked}', "
    . "array_fill(now() + interval '99 h', '{4}'), array_fill(now() + interval '99 h', '{4}'), array_fill(null::timestamptz, '{4}'), '{0,0,0,0}')"),
    '1fired 2gone 3failed 4fired', 'four in one statement';
is column('plain', 'next_run'), '', 'a schedule that never fires again';

# who holds up one holds up no other
my $holder = $pg->session;
$holder->query("BEGIN; SELECT jobq.schedule_pause('plain')");
my $pair = "array_fill(now() + interval '100 h', '{2}'), array_fill(now() + interval '100 h', '{2}'), array_fill(null::timestamptz, '{2}'), '{0,0}'";
is $db->query("SELECT string_agg(n || outcome, ' ' ORDER BY n) FROM jobq.schedule_fire('{plain,asked}', $pair)"), '1busy 2fired',
    'one that somebody is just changing is left for later';
$holder->query("ROLLBACK; BEGIN; SELECT jobq.enqueue('once', data => '{\"id\": 1}')");
is $db->query("SELECT string_agg(n || outcome || coalesce(' ' || reason, ''), ', ' ORDER BY n) FROM jobq.schedule_fire('{plain,unique}', $pair)"),
    '1fired, 2busy canceling statement due to lock timeout', '… and one whose unique key is just being taken';
$holder->query('ROLLBACK');
is fire('unique', 100), 'fired 1', '… until then';

# by hand
is q1("count(*) FROM jobq.schedule_run('each')"), 5000, 'run now: for_each too';
my ($run) = split /\n/, q1("jobq.schedule_run('off')");
is column('off', 'last_job_id'), $run, '… also one that is disabled';
is q1("concat_ws(' ', action, target, detail) FROM jobq.audit WHERE target = 'schedule off' AND action <> 'register'"), "run schedule off job $run", '… which the audit has';
$pg->query('UPDATE flag SET n = 1');
$db->query("BEGIN; SET LOCAL search_path = ''");
is q1("count(*) FROM jobq.schedule_run('each')"), 1, '… whatever the search path of who calls';
$db->query('COMMIT');
like error_of("SELECT jobq.schedule_run('nope')"), qr/there is no schedule "nope"/, 'no such schedule';

# made at run time
sub put { my ($name, %d) = @_; return error_of('SELECT jobq.schedule_put(' . quoted($name) . ', ' . quoted($json->encode(\%d)) . ')') }
like put('mine', every => '5m', queue => 'work', data => { x => 1 }, description => 'of mine'), qr/^none/, 'put';
is column('mine', "concat_ws(' ', origin, spec, timezone, enabled, description, data, next_run > now(), next_run <= now() + interval '5 min')"),
    'sql 5m UTC t of mine {"x": 1} t t', '… it is in the view, with its next instant (S1-16, S1-32)';
my $version = q1('jobq.schedules_version()');
my $audit = q1('count(*) FROM jobq.audit');
like put('mine', every => '5m', queue => 'work', data => { x => 1 }, description => 'of mine'), qr/^none/, 'the same again';
is q1('jobq.schedules_version()'), $version, '… changes nothing';
is q1('count(*) FROM jobq.audit'), $audit, '… not even the audit';
my $stood = q1("last_nominal FROM jobq.schedule WHERE name = 'mine'");
put('mine', every => '5m', queue => 'large', priority => 'high');
is column('mine', "concat_ws(' ', queue, data, priority, description)"), 'large {} 96 ', 'replaced: all of it (S1-34)';
is q1("last_nominal FROM jobq.schedule WHERE name = 'mine'"), $stood, '… the same times go on';
isnt q1('jobq.schedules_version()'), $version, '… and schedulers learn of it';
put('mine', every => '6m', queue => 'work');
isnt q1("last_nominal FROM jobq.schedule WHERE name = 'mine'"), $stood, 'other times begin now';
is q1("count(*) FROM jobq.audit WHERE action = 'put' AND target = 'schedule mine'"), 3, 'the audit has each';
put('once', at => '2098-12-01T10:00:00+02:00', queue => 'work');
is column('once', 'next_run'), q1("'2098-12-01T08:00:00Z'::timestamptz"), 'at: with its instant (S3-64)';
put('once', at => '2098-12-01T10:00', timezone => 'Europe/Berlin', queue => 'work');
is column('once', 'spec'), '2098-12-01T09:00:00.000Z', '… in its zone';
like put('plain', every => '1h', queue => 'work'), qr/"plain" is one of the configuration/, 'one of the configuration is not replaced';
like error_of("SELECT jobq.schedule_remove('plain')"), qr/"plain" is one of the configuration/, '… nor removed';
like error_of("SELECT jobq.schedule_remove('nope')"), qr/there is no schedule/, 'what is not there cannot be removed';

# two transactions that end in the other order
my $other = $pg->session;
$db->query('BEGIN');
put('early', every => '1h', queue => 'work');
$other->query("SELECT jobq.schedule_put('late', '{\"every\":\"1h\",\"queue\":\"work\"}')");
$version = $other->query('SELECT jobq.schedules_version()');
$db->query('COMMIT');
isnt q1('jobq.schedules_version()'), $version, 'a change that is committed late is not overlooked';
put("x$_", every => '1h', queue => 'work') for 1 .. 30;
cmp_ok q1('count(*) FROM jobq.schedule_change'), '<', 30, 'old changes go';
q1("jobq.schedule_remove('x1')");
is column('x1', 'count(*)'), 0, 'removed';

# the configuration takes precedence, and leaves it when it goes
register(plain => {}, mine => { spec => '2h' });
is column('mine', "concat_ws(' ', origin, spec, served)"), 'file 2h t', 'a name of the configuration takes precedence';
is fire('mine', 200), 'fired 1', '… and is fired as such';
is column('each', "concat_ws(' ', served, next_run)"), 'f', 'one that has gone from there is not served';
like put('each', every => '1h', queue => 'work'), qr/^none/, '… and may be made anew';
is column('each', "concat_ws(' ', origin, served)"), 'sql t', '… at run time';
like error_of("SELECT jobq.schedule_remove('skip')"), qr/^none/, '… or removed (S1-35)';

# what is wrong is refused
$pg->query('CREATE TABLE users (org int)');
for (
	[ {}, qr/one of cron, every and at is needed/ ],
	[ { every => '1h', cron => '* * * * *' }, qr/one of cron, every and at is needed/ ],
	[ { every => '1h', evry => 1 }, qr/unknown key "evry"/ ],
	[ { every => 30 }, qr/every is no string/ ],
	[ { every => '30' }, qr/every "30" is no duration/ ],
	[ { every => '999ms' }, qr/every "999ms" is no duration .* at least 1s/ ],
	[ { every => '367d' }, qr/of at most 366d/ ],
	[ { every => '99999999999999999999w' }, qr/is no duration/ ],
	[ { every => '1h', jitter => '25h' }, qr/jitter "25h" .* at most 1d/ ],
	[ { cron => '61 * * * *' }, qr/cron "61 \* \* \* \*": minute "61" is not in 0-59/ ],
	[ { cron => '@reboot' }, qr/no such word/ ],
	[ { cron => "* * * * \x01" }, qr/a character/ ],
	[ { cron => '* * * *' }, qr/5 fields/ ],
	[ { at => 'tomorrow' }, qr/at "tomorrow" is no instant/ ],
	[ { at => '2026-02-30T10:00:00Z' }, qr/is no instant/ ],
	[ { at => '2026-02-03T24:00:00Z' }, qr/is no instant/ ],
	[ { every => '1h', starts => '2030-01-01T00:00:00Z', ends => '2029-01-01T00:00:00Z' }, qr/ends before it starts/ ],
	[ { every => '1h', timezone => 'Europe/Berlino' }, qr/no time zone "Europe\/Berlino"/ ],
	[ { every => '1h', timezone => 'europe/berlin' }, qr/no time zone/ ],
	[ { every => '1h', overlap => 'never' }, qr/overlap "never" is none of allow, skip, replace/ ],
	[ { every => '1h', catch_up => 'some' }, qr/catch_up "some" is none/ ],
	[ { every => '1h', enabled => 'true' }, qr/enabled is no boolean/ ],
	[ { every => '1h', data => [] }, qr/data is no object/ ],
	[ { every => '1h', data => { x => 'y' x 200000 } }, qr/data has \d+ bytes/ ],
	[ { every => '1h', description => 'y' x 70000 }, qr/more than 65536 bytes/ ],
	[ { every => '1h', type => 'y' x 256 }, qr/type has more than 255 bytes/ ],
	[ { every => '1h', type => "a\x{7f}" }, qr/control character/ ],
	[ { every => '1h', priority => 100 }, qr/priority "100"/ ],
	[ { every => '1h', priority => 'urgent' }, qr/priority "urgent"/ ],
	[ { every => '1h', requires_env => 'HOME' }, qr/requires_env is no array/ ],
	[ { every => '1h', requires_env => [1] }, qr/requires_env is no array of names/ ],
	[ { every => '1h', only_if => 'select org from nowhere' }, qr/only_if: relation "nowhere" does not exist/ ],
	[ { every => '1h', only_if => 'maybe(' }, qr/only_if: syntax error/ ],
	[ { every => '1h', for_each => 'delete from users returning *' }, qr/for_each: / ],
) {
	my ($d, $why) = @$_;
	like put('bad', queue => 'work', %$d), $why, 'refused: ' . substr $json->encode($d), 0, 80;
}
like put('bad', every => '1h'), qr/there is no queue/, 'refused: no queue';
like put('bad', every => '1h', queue => 'wrok'), qr/there is no queue "wrok"/, 'refused: another queue';
like put($_, every => '1h', queue => 'work'), qr/is no name of a schedule/, "refused: the name \"$_\"" for '', 'a b', '-x', 'x' x 64, "a\tb";
like error_of("SELECT jobq.schedule_put('bad', '$_')"), qr/the definition is no object/, "refused: $_" for '[]', 'null', '"x"';
is column('bad', 'count(*)'), 0, 'nothing of it is kept';
like put('good', cron => '0 0 * * MON', queue => 'work', timezone => 'Australia/Sydney', dst => 'skip', catch_up => 'all',
    catch_up_window => '1d', jitter => '10s', starts => '2026-01-01T00:00:00Z', ends => '2090-01-01T00:00:00Z', overlap => 'skip',
    only_if => 'exists (select from users) -- any', for_each => 'select org, org::text as tenant from users;', requires_env => ['HOME'],
    priority => 1, tenant => undef, type => '', enabled => JSON::PP::true), qr/^none/, 'every key at once';

# who may
$pg->query(slurp(source_directory() . '/src/db/sql/95-roles.sql'));
$pg->query('CREATE ROLE a LOGIN IN ROLE jobq_admin');
my ($status, undef, $err) = run_program([ 'psql', '-XAtqc', q{SELECT jobq.schedule_put('as', '{"every":"1h","queue":"work"}'), jobq.schedule_run('as'), jobq.schedule_remove('as')}, $pg->url =~ s/user=jobq/user=a/r ]);
is $status, 0, 'jobq_admin makes schedules' or diag $err;
(undef, undef, $err) = run_program([ 'psql', '-XAtqc', q{SELECT jobq.schedule_put('as', '{"every":"1h","queue":"work","only_if":"true"}')}, $pg->url =~ s/user=jobq/user=a/r ]);
like $err, qr/its SQL would run as jobq/, '… but not with SQL that runs as jobqd';

# which are late
my $late = "string_agg(name || ' ' || round(seconds / 60), ', ' ORDER BY name) FROM jobq.schedule_late() WHERE seconds > 30";
$db->query('DELETE FROM jobq.schedule');
is q1($late), '', 'none is late';
register(due => {}, soon => {}, held => {}, off => { enabled => JSON::PP::false }, spread => { jitter_ms => 3600000 }, left => {});
$db->query("UPDATE jobq.schedule SET next_run = now() - interval '10 min', last_nominal = now() - interval '1 h', paused = name = 'held'");
$db->query("UPDATE jobq.schedule SET next_run = now() + interval '10 min' WHERE name = 'soon'");
register(map { $_ => {} } qw(due soon held spread));
$db->query("UPDATE jobq.schedule SET jitter_ms = 3600000 WHERE name = 'spread'");
is q1($late), 'due 10', 'those whose instant passed, but for jitter; not what is in no configuration any more';
$db->query("UPDATE jobq.node SET seen = now() - interval '1 h'");
is q1($late), 'due 10', '… but what only a dead node has';
$db->query("SELECT * FROM jobq.schedule_fire('{due}', ARRAY[now()], ARRAY[now()], ARRAY[now() + interval '1 h'], '{0}')");
is q1($late), '', '… until it is fired';
put('broken', every => '1h', queue => 'work');
$db->query("SELECT jobq.schedule_unread('{broken}', '{a later version}'); UPDATE jobq.schedule SET changed_at = now() - interval '5 min' WHERE name = 'broken'");
put('unseen', cron => '0 0 1 1 *', queue => 'work');
$db->query("UPDATE jobq.schedule SET changed_at = now() - interval '5 min' WHERE name = 'unseen'");
is q1($late), 'broken 5, unseen 5', '… what cannot be read, and what no scheduler has seen';
is column('broken', 'error'), 'a later version', '… the view says why';
q1("jobq.lead('scheduler', 'n', 'i', 1000)");
is q1($late), 'broken 5', '… unless there is one by now';
done_testing;
