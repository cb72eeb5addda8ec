# Schedules made, changed and removed while two nodes run: taken up without a
# restart and fired once, whichever leads; conditions and rows on the real
# scheduler; what jobqctl says. S1-16, S1-32 … S1-36 schedules at run time,
# S0-28, S0-67 conditions, S0-30 required variables, S0-70, S4-53 rows.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new;
$pg->query('CREATE TABLE flag (n int); INSERT INTO flag VALUES (0)');
my $config = <<'YAML';
handlers: {null: {driver: noop}}
queues:
  work: {handler: null, workers: 2}
  slow: {handler: null, workers: 1, cancel: {grace: 1s}}
schedules:
  beat: {every: 1s, queue: work, type: beat}
  asked: {every: 1s, queue: work, type: asked, only_if: select n > 0 from flag}
  each: {every: 1s, queue: work, type: each, for_each: "select i, 't' || i as tenant from generate_series(1, 3) i"}
  broken: {every: 1s, queue: work, type: broken, only_if: select x from nowhere}
  needs: {every: 1s, queue: work, type: needs, requires_env: [JOBQD_TEST_NO_SUCH_VARIABLE]}
YAML
delete $ENV{JOBQD_TEST_NO_SUCH_VARIABLE};
$ENV{JOBQD_TEST_SECRET} = 'secret';
my %node = map { $_ => Jobqd::Daemon->new(pg => $pg, name => $_, config => $config) } qw(a b);
my $d = $node{a};
# one that was made long before the first scheduler came
is +($d->ctl('migrate'))[0], 0, 'the schema';
$pg->query("UPDATE jobq.schedule SET last_nominal = now() - interval '30 min' WHERE name = 'beat'");
my $start = $pg->query('SELECT now()');
$_->start for values %node;

sub leader {
	my @found = grep { $_->running && (() = $_->pids(qr/^jobqd: scheduler \(leader\)$/)) } values %node;
	return @found == 1 ? $found[0] : undef;
}
sub count { return $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = '$_[0]'") }
sub column { return $pg->query("SELECT $_[1] FROM jobq.schedules WHERE name = '$_[0]'") }
sub ok_ctl {
	my ($status, $out, $err) = $d->ctl(@_);
	is $status, 0, join ' ', 'jobqctl', @_ or diag $err;
	return $out;
}
sub once {
	my ($type) = @_;
	is $pg->query("SELECT count(*) - count(DISTINCT (run_at, tenant, data)) FROM jobq.jobs WHERE type = '$type'"), 0, "$type: each instant once";
}
wait_for { leader() } 'a scheduler to lead';

wait_for { count('beat') >= 2 } 'the first instants';
is $pg->query("SELECT min(run_at) > '$start'::timestamptz - interval '2 s' FROM jobq.jobs WHERE type = 'beat'"), 't',
    'of the instants before the first scheduler those are made up for that catch_up says';
cmp_ok column('beat', 'missed'), '>', 1000, '… and the others counted as missed';

# put: both kinds in one list, taken up at once
my $t = time;
is ok_ctl('schedule', 'put', 'mine', '--every', '1s', '--queue', 'work', '--type', 'mine', '--data', '{"from": "${JOBQD_TEST_SECRET}"}'), "schedule mine: put\n", 'put says so (S1-16)';
wait_for { count('mine') >= 2 } 'a schedule made at run time to fire twice';
diag sprintf 'two jobs %.1f s after it was put', time - $t;
like leader()->log, qr/schedule registered schedule=mine spec=1s queue=work/, 'the log says so';
is $pg->query("SELECT DISTINCT data->>'from' FROM jobq.jobs WHERE type = 'mine'"), '${JOBQD_TEST_SECRET}', 'its texts are taken as they are';
my $list = decode_json(ok_ctl('--json', 'schedule', 'list'));
is_deeply [ map { "$_->{name} $_->{origin}" } @$list ], [ 'asked file', 'beat file', 'broken file', 'each file', 'mine sql', 'needs file' ], 'one list of all (S1-33)';
ok_ctl('schedule', 'put', 'spread', '{"every": "1s", "queue": "work", "type": "spread", "jitter": "900ms"}');
ok_ctl('schedule', 'put', 'yearly', '{"cron": "@yearly", "queue": "work", "type": "y", "catch_up": "none", "description": "a year"}');
wait_for { column('yearly', "next_run = date_trunc('year', now() at time zone 'UTC' + interval '1 year') at time zone 'UTC'") eq 't' } 'its next instant';
pass 'cron: the next instant is in the view';
like ok_ctl('schedule', 'show', 'yearly'), qr/^origin +made at run time\n.*^description +a year\n.*^spec +\@yearly\n.*^next run +\d+-01-01T00:00:00/ms, 'show';
is decode_json(ok_ctl('--json', 'schedule', 'show', 'yearly'))->{spec}, '@yearly', '… as JSON';
like ok_ctl('schedule', 'next', 'yearly'), qr/-01-01T00:00:00\.000Z +yearly/, 'next';

# zones
for (
	[ '30 2 * * *', 'Europe/Berlin', 'standard' ], [ '0 3 29 2 *', 'Australia/Lord_Howe', 'skip' ],
	[ '*/7 1-3 * * sun#1', 'America/New_York', 'clock' ], [ '0 0 L * *', 'Asia/Kathmandu', 'standard' ],
) {
	my ($cron, $zone, $dst) = @$_;
	my ($status, $next) = $d->ctl('schedule', 'explain', $cron, '--tz', $zone, '--dst', $dst, '--count', 1);
	SKIP: {
		skip 'no time zones but UTC', 2 if $status;
		ok_ctl('schedule', 'put', 'zone', qq({"cron": "$cron", "timezone": "$zone", "dst": "$dst", "queue": "work"}));
		wait_for { column('zone', "next_run = '$next'") eq 't' } "the next instant in $zone";
		pass "$cron in $zone: $next" =~ s/\n//r;
	}
}

# replaced: the old times end at once
ok_ctl('schedule', 'put', 'mine', '--cron', '0 0 1 1 *', '--queue', 'work', '--type', 'mine');
my $n = count('mine');
wait_for { column('mine', "next_run > now() + interval '2 s' or extract(doy from now()) in (1, 365, 366)") eq 't' } 'the new times to be known';
my $beats = count('beat');
wait_for { count('beat') >= $beats + 4 } 'others to fire';
cmp_ok count('mine'), '<=', $n + 1, 'a schedule that was replaced fires at its new times only (S1-34)';
ok_ctl('schedule', 'put', 'mine', '--every', '1s', '--queue', 'work', '--type', 'mine');
wait_for { count('mine') >= $n + 3 } 'it to fire again';
once('mine');

# paused, resumed
ok_ctl('schedule', 'pause', 'mine');
my $at = $pg->query('SELECT clock_timestamp()');
leader()->wait_log(qr/schedule paused schedule=mine/);
like ok_ctl('schedule', 'list'), qr/^mine +paused /m, 'paused: the list says so';
is column('mine', 'next_run'), '', '… and it has no next instant';
$beats = count('beat');
wait_for { count('beat') >= $beats + 3 } 'others to fire';
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = 'mine' AND run_at > '$at'"), 0, 'no job while it is paused (S3-27, S3-58)';
my $resumed = ok_ctl('schedule', 'resume', 'mine');
is $resumed, "schedule mine: resumed\n", 'resumed';
leader()->wait_log(qr/schedule resumed schedule=mine/);
$n = count('mine');
wait_for { count('mine') > $n } 'it to go on';

# run now
like ok_ctl('schedule', 'run', 'yearly'), qr/^\d+\n$/, 'run: the id of its job (S3-26, S3-56)';
is scalar(@{ decode_json(ok_ctl('--json', 'schedule', 'run', 'each'))->{jobs} }), 3, '… of all of them';
is $pg->query("SELECT count(*) FROM jobq.audit WHERE action = 'run'"), 2, '… which the audit has';
wait_for { column('yearly', 'last_outcome') eq 'completed' } 'its outcome';
pass 'what became of it is in the view';

# errors and exit statuses
for (
	[ 3, qr/no schedule yearl; did you mean yearly\?/, 'show', 'yearl' ],
	[ 3, qr/no schedule yearl/, 'run', 'yearl' ], [ 3, qr/no schedule yearl/, 'pause', 'yearl' ], [ 3, qr/no schedule yearl/, 'remove', 'yearl' ],
	[ 1, qr/beat" is one of the configuration/, 'remove', 'beat' ],
	[ 1, qr/beat" is one of the configuration/, 'put', 'beat', '--every', '1h', '--queue', 'work' ],
	[ 1, qr/cron "\* \* \*": .*5 fields/, 'put', 'bad', '--cron', '* * *', '--queue', 'work' ],
	[ 1, qr/there is no queue "wrok"/, 'put', 'bad', '--every', '1h', '--queue', 'wrok' ],
	[ 1, qr/invalid input syntax for type json/, 'put', 'bad', '{', '--every', '1h' ],
	[ 1, qr/one of cron, every and at/, 'put', 'bad', '{"every": "1h"}', '--cron', '@daily', '--queue', 'work' ],
	[ 2, qr/standard input cannot be both/, 'put', 'bad', '-', '--data', '-' ],
) {
	my ($want, $why, @args) = @$_;
	my ($status, $out, $err) = $d->ctl('schedule', @args);
	is $status, $want, "exit $want: schedule @args";
	like $err, $why, '… and why';
}

# conditions
my $log = leader()->log;
like $log, qr/schedule skipped schedule=asked reason=only_if/, 'only_if: skipped, which the log says once (S0-28)';
is scalar(() = $log =~ /info .*schedule skipped schedule=asked/g), 1, '… and no more';
is count('asked'), 0, '… without a job';
cmp_ok column('asked', 'skipped'), '>', 2, '… and counted';
$pg->query('UPDATE flag SET n = 1');
wait_for { count('asked') >= 2 } 'only_if: true';
like leader()->log, qr/error .*schedule failed schedule=broken reason="relation \\"nowhere\\" does not exist"/, 'an error is logged (S1-50)';
cmp_ok column('broken', 'failed'), '>', 2, '… counted';
is column('broken', 'last_error'), 'relation "nowhere" does not exist', '… and kept';
is count('broken'), 0, '… without a job';
wait_for { $pg->query("SELECT count(DISTINCT run_at) FROM jobq.jobs WHERE type = 'each'") >= 4 } 'rows';
is $pg->query("SELECT count(*) FROM (SELECT run_at FROM jobq.jobs WHERE type = 'each' AND run_at = date_trunc('second', run_at) "
    . "GROUP BY run_at HAVING string_agg(tenant || data, ' ' ORDER BY id) <> 't1{\"i\": 1} t2{\"i\": 2} t3{\"i\": 3}')t"), 0, 'for_each: a job for each row and instant';
is count('needs'), 0, 'requires_env: no job without it (S0-30)';
is $pg->query("SELECT string_agg(name, ' ') FROM jobq.schedule_late() WHERE seconds > 10"), '', 'none is late';

# SQL that hangs holds up nobody else, not even while its statement is limited
ok_ctl('schedule', 'put', 'hangs', '{"every": "1s", "queue": "work", "only_if": "select pg_sleep(60) is null"}');
wait_for { $pg->query("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%schedule_fire%' AND wait_event = 'PgSleep'") >= 1 } 'it to hang';
my $least = $pg->query("SELECT max(run_at) FROM jobq.jobs WHERE type = 'beat'");
wait_for { column('hangs', 'failed') >= 1 } 'it to be given up';
is column('hangs', 'last_error'), 'canceling statement due to statement timeout', 'SQL that takes too long is given up';
cmp_ok $pg->query("SELECT max(created_at - run_at) < interval '4 s' FROM jobq.jobs WHERE type = 'beat' AND run_at > '$least'"), 'eq', 't',
    '… and the others were fired meanwhile';
is ok_ctl('schedule', 'remove', 'hangs'), "schedule hangs: removed\n", 'removed';
leader()->wait_log(qr/schedule removed schedule=hangs/);

# overlap, on real jobs
ok_ctl('schedule', 'put', 'skips', '{"every": "1s", "queue": "slow", "type": "skips", "overlap": "skip", "data": {"sleep_ms": 2500}}');
wait_for { count('skips') >= 3 } 'overlap: skip';
is $pg->query(<<'SQL'), 0, 'a run is skipped while the last one lives';
SELECT count(*) FROM (SELECT created_at, lag(finished_at) OVER (ORDER BY id) AS before FROM jobq.jobs WHERE type = 'skips') s
WHERE before > created_at
SQL
ok_ctl('schedule', 'remove', 'skips');
ok_ctl('schedule', 'put', 'replaces', '{"every": "1s", "queue": "slow", "type": "replaces", "overlap": "replace", "data": {"sleep_ms": 30000}}');
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = 'replaces' AND state = 'cancelled'") >= 2 } 'overlap: replace';
pass 'the last run is cancelled for the new one';
ok_ctl('schedule', 'remove', 'replaces');

# a transaction that is left open over one holds up nothing else
my $session = $pg->session;
$session->query("BEGIN; SELECT jobq.schedule_pause('mine')");
$n = count('mine');
$beats = count('beat');
wait_for { count('beat') >= $beats + 5 } 'the others to go on';
cmp_ok count('mine'), '<=', $n + 1, 'a schedule that somebody is just changing waits for it';
$session->query('ROLLBACK');
wait_for { count('mine') >= $n + 5 } 'it to go on';
$session->close;

# a definition that this version cannot read
$pg->query("BEGIN; SELECT jobq.schedule_put('later', '{\"every\": \"1h\", \"queue\": \"work\"}'); UPDATE jobq.schedule SET definition = definition || '{\"moon\": \"full\"}' WHERE name = 'later'; COMMIT");
wait_for { column('later', 'error') =~ /moon/ } 'the error to be in the view';
like ok_ctl('schedule', 'list'), qr/^later +unreadable/m, '… and in the list';
like leader()->log, qr/schedule cannot be read schedule=later reason=.*moon/, '… and in the log (S1-50)';
$beats = count('beat');
wait_for { count('beat') >= $beats + 2 } 'the others to go on';
$pg->query("SELECT jobq.schedule_put('later', '{\"every\": \"1s\", \"queue\": \"work\", \"type\": \"later\"}')");
wait_for { count('later') >= 2 } 'it to be mended';
is column('later', 'error'), '', '… then it is fired';

# jitter: the jobs are late by different times, and have their instants
wait_for { count('spread') >= 8 } 'jitter';
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = 'spread' AND run_at <> date_trunc('second', run_at)"), 0, 'jitter: a job has its instant';
cmp_ok $pg->query("SELECT max(created_at - run_at) - min(created_at - run_at) > interval '100 ms' FROM jobq.jobs WHERE type = 'spread'"), 'eq', 't',
    '… and comes some time after it';

# the configuration of one node takes the name, and leaves it
sub reload {
	my $from = $d->log_size;
	$d->configure($_[0]);
	$d->signal('HUP');
	$d->wait_log(qr/scheduler initialized/, $from);
}
reload("$config  mine: {every: 1s, queue: work, type: mine}\n");
is column('mine', 'origin'), 'file', 'a name of the configuration takes precedence';
$node{b}->wait_log(qr/schedule removed schedule=mine/);
$n = count('mine');
wait_for { count('mine') >= $n + 4 } 'it to be fired as such';
reload($config);
like ok_ctl('schedule', 'list'), qr/^mine +not served/m, 'gone from there: not served';
$n = count('beat');
wait_for { count('beat') >= $n + 3 } 'it to be missed';
is $pg->query("SELECT count(*) FROM jobq.schedule_late() WHERE name = 'mine'"), 0, '… and not late for ever';
ok_ctl('schedule', 'remove', 'mine');
ok_ctl('schedule', 'put', 'mine', '--every', '1s', '--queue', 'work', '--type', 'mine');
$n = count('mine');
wait_for { count('mine') >= $n + 2 } 'it to be made anew';
once($_) for qw(mine spread);

# the leader's node dies
my $dead = leader();
my ($other) = grep { $_ != $dead } values %node;
$dead->vanish;
wait_for { !$dead->running } 'the node to die';
$n = count('mine');
$beats = count('beat');
$d = $other;
wait_for { count('mine') >= $n + 8 && count('beat') >= $beats + 8 } 'the other to go on';
once($_) for qw(beat mine asked each later);
for my $type (qw(beat later)) {
	is $pg->query("SELECT count(*) - extract(epoch FROM max(run_at) - min(run_at)) - 1 FROM jobq.jobs WHERE type = '$type'")+ 0, 0, "$type: no instant was missed";
}
is $d->stop, 0, 'stops with status 0';
done_testing;
