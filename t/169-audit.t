# The audit: whatever people change is in it once, with who, from where, before and
# after; nothing can be changed in it or taken out without a trace. S0-57, S1-54, S3-40.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Schema;
use Test::More;

my $pg = schema(owner => 'owner');
{
	local $pg->{user};
	$pg->query(slurp(source_directory() . '/src/db/sql/95-roles.sql'));
}
my $json = JSON::PP->new->canonical;
sub q1 { return $pg->query("SELECT $_[0]") }
sub act { return $pg->query("SET jobq.actor = 'ann'; SELECT set_config('jobq.from', '192.0.2.7', false); SELECT $_[0]") }
sub register { my ($max) = @_; $pg->query(qq[SELECT jobq.register('{"node": "n", "queues": [{"name": "work", "max_attempts": $max}, {"name": "old"}],
    "schedules": [{"name": "s", "queue": "work", "spec": "1h"}], "limits": [{"name": "l", "rate": 5, "period_ms": 1000}],
    "alerts": [{"name": "a", "metric": "backlog", "kind": "count", "severity": "warning", "above": "5", "window": "5m", "for": "0", "repeat": "0", "escalate_after": "0", "min_jobs": 0, "queues": [], "notify": [], "escalate_notify": []}],
    "workflows": {"w": {"steps": {"one": {"queue": "work"}}}}}')]) }

# what a node registers
register(3);
is q1("string_agg(action || ' ' || target, ', ' ORDER BY id) FROM jobq.audit"),
    'register alert a, register limit l, register queue old, register queue work, register schedule s, register workflow w', 'what a node brings is in the audit';
register(3);
is q1('count(*) FROM jobq.audit'), 6, '… once';
register(5);
is q1("concat_ws(' ', actor, action, target, before, after) FROM jobq.audit ORDER BY id DESC LIMIT 1"),
    'node n configure queue work {"max_attempts": 3} {"max_attempts": 5}', 'a setting that a reload has changed: who, and what was before (S0-57)';
is q1('count(*) FROM jobq.audit'), 7, '… and nothing else';

# every function of people that changes something leaves one entry
my ($pool, $q) = pool($pg, 'work', 'n');
my $put = sub { return q1("jobq.enqueue('work', 't', '{\"password\": \"p4ss\", \"n\": 1}'" . ($_[0] // '') . ')') };
my $dead = sub { my $id = $put->(); finish_failed($pg, $pool, $_, 3) for claim($pg, $pool, $q); return $id };
$pg->query("UPDATE jobq.node SET seen = 'epoch'; INSERT INTO jobq.alert (name, node, metric, queue, fired_at) VALUES ('a', 'n', 'backlog', 'work', now())");
my $failed = sub { my $w = q1("jobq.workflow('w')"); $pg->query("SELECT jobq.workflow_cancel($w)"); return $w };
my @waits = (", delay => '1 hour'");
my %does = (	# name → what to call, and what the entry says
	cancel => [ sub { 'jobq.cancel(' . $put->(@waits) . ')' }, 'cancel job', '{"state": "scheduled"}', '{"state": "cancelled"}' ],
	retry => [ sub { 'jobq.retry(' . $dead->() . ')' }, 'retry job', '{"state": "dead"}', '{"state": "ready"}' ],
	retry_dead => [ sub { "jobq.retry_dead('{" . $dead->() . "}', run_at => now() + interval '1 hour')" }, 'retry job', '{"state": "dead"}', '{"state": "retrying"}' ],
	delete => [ sub { 'jobq.delete(' . $put->(@waits) . ')' }, 'delete job', qr/"state": "scheduled"/, 'null' ],
	delete_dead => [ sub { "jobq.delete_dead('{" . $dead->() . "}')" }, 'delete job', qr/"data": \{"n": 1, "password": "\*\*\*"\}.*"state": "dead"/, 'null' ],
	review => [ sub { 'jobq.review(' . $dead->() . ", 'bob', 'seen')" }, 'review job', 'null', '{"notes": "seen", "reviewed_by": "bob"}' ],
	review_dead => [ sub { "jobq.review_dead('{" . $dead->() . "}', 'bob')" }, 'review job', 'null', qr/bob/ ],
	pause => [ sub { "jobq.pause('work', 'why')" }, 'pause queue work', 'null', '{"work": {"by": "ann", "until": null, "reason": "why"}}' ],
	resume => [ sub { "jobq.resume('work')" }, 'resume queue work', qr/"why"/, 'null' ],
	clear_jobs => [ sub { "jobq.clear_jobs('work', '{" . $put->(@waits) . "}')" }, 'clear queue work', 'null', '{"cancelled": 1}' ],
	clear => [ sub { $put->(@waits); "jobq.clear('work', state => 'scheduled')" }, 'clear queue work', 'null', qr/cancelled/ ],
	clean_jobs => [ sub { "jobq.clean_jobs('work', '{" . $dead->() . "}')" }, 'clean queue work', 'null', '{"removed": 1}' ],
	clean => [ sub { $dead->(); "jobq.clean('work', 'dead', '0')" }, 'clean queue work', 'null', qr/removed/ ],
	queue_remove => [ sub { $pg->query("DELETE FROM jobq.serves"); "jobq.queue_remove('old')" }, 'remove queue old', qr/max_payload/, 'null' ],
	schedule_run => [ sub { "jobq.schedule_run('s')" }, 'run schedule s', 'null', qr/"jobs": 1/ ],
	schedule_pause => [ sub { "jobq.schedule_pause('s')" }, 'pause schedule s', '{"paused": false}', '{"paused": true}' ],
	schedule_resume => [ sub { "jobq.schedule_resume('s')" }, 'resume schedule s', '{"paused": true}', '{"paused": false}' ],
	schedule_put => [ sub { q{jobq.schedule_put('mine', '{"every": "1h", "queue": "work", "data": {"apiKey": "k"}}')} }, 'put schedule mine', 'null', qr/"apiKey": "\*\*\*"/ ],
	schedule_remove => [ sub { q1(q{jobq.schedule_put('rid', '{"every": "1h", "queue": "work"}')}); "jobq.schedule_remove('rid')" }, 'remove schedule rid', qr/"every": "1h"/, 'null' ],
	alert_ack => [ sub { "jobq.alert_ack('a')" }, 'acknowledge alert a', '{"acknowledged_by": {"work": null}}', '{"acknowledged_by": "ann"}' ],
	alert_silence => [ sub { "jobq.alert_silence('a', '2900-01-01Z')" }, 'silence alert a', 'null', qr/"until": "2900/ ],
	alert_unsilence => [ sub { q1("jobq.alert_silence('a', '2900-01-01Z', 'work')"); "jobq.alert_unsilence('a', 'work')" }, 'unsilence alert a', qr/"until": "2900/, 'null' ],
	alert_set => [ sub { q{jobq.alert_set('a', '{"above": "9"}')} }, 'set alert a', '{}', '{"above": "9"}' ],
	alert_reset => [ sub { q1(q{jobq.alert_set('a', '{"above": "8"}')}); "jobq.alert_reset('a')" }, 'reset alert a', '{"above": "8"}', '{}' ],
	workflow_cancel => [ sub { 'jobq.workflow_cancel(' . q1("jobq.workflow('w')") . ')' }, 'cancel workflow', '{"state": "running"}', '{"state": "cancelled"}' ],
	workflow_retry => [ sub { 'jobq.workflow_retry(' . $failed->() . ')' }, 'retry workflow', '{"state": "cancelled"}', '{"state": "running"}' ],
);
# those that only read, and what jobs and their handlers do, which the jobs tell themselves
my %quiet = map { $_ => 1 } qw(enqueue enqueue_many batch workflow progress complete clear_plan clean_plan statistics_take);
my @functions = split /\n/, $pg->query(q{SELECT DISTINCT p.proname FROM pg_proc p WHERE pronamespace = 'jobq'::regnamespace
    AND has_function_privilege('jobq_admin', oid, 'execute') AND NOT has_function_privilege('jobq_reader', oid, 'execute') ORDER BY 1});
is_deeply [ grep { !$does{$_} && !$quiet{$_} } @functions ], [], 'all ' . @functions . ' functions of those who do more than read are looked at here';
my @wrong;
for my $name (sort keys %does) {
	my ($make, $target, $before, $after) = @{ $does{$name} };
	my $call = $make->();
	my $from = q1('coalesce(max(id), 0) FROM jobq.audit');
	act($call);
	my @entries = map { $json->decode($_) } split /\n/, $pg->query("SELECT jsonb_build_object('what', action || ' ' || target, 'actor', actor, 'source', source, 'before', coalesce(before, 'null')::text, 'after', coalesce(after, 'null')::text) FROM jobq.audit WHERE id > $from ORDER BY id");
	my $e = $entries[0] || {};
	my $is = sub { my ($got, $want) = @_; return ref $want ? $got =~ $want : $got eq $want };
	push @wrong, "$call: " . $json->encode(\@entries) unless @entries == 1 && $e->{what} =~ /^\Q$target\E/
	    && $e->{actor} eq 'ann' && $e->{source} eq '192.0.2.7' && $is->($e->{before}, $before) && $is->($e->{after}, $after);
}
is_deeply \@wrong, [], 'each of ' . keys(%does) . ' leaves one entry: who, what, from where, before and after: S3-40';
is q1("count(*) FROM jobq.audit a WHERE a::text ~ 'p4ss'"), 0, 'no secret is in it';
my $long = $put->(", delay => '1 hour'");
is $pg->query("SELECT jobq.cancel($long); SELECT source FROM jobq.audit ORDER BY id DESC LIMIT 1"), "t\nlocal", 'who says nothing comes from where the session does';
is length(q1("jobq.audited(jsonb_build_object('a', repeat('x', 100000)))")) < 200, 1, 'what is too large is told by its size';
is q1(q{jobq.redacted('[{"Authorization": "x", "a": {"client_secret": {"b": 1}, "token": null, "X-Api-Key": "k", "c": "token"}}]')}),
    '[{"a": {"c": "token", "token": null, "X-Api-Key": "***", "client_secret": "***"}, "Authorization": "***"}]', 'secrets are found by their names, however deep';

# the chain
my $verify = sub { return q1("concat_ws('|', checked, coalesce(problem, 'whole'), seq) FROM jobq.audit_verify(" . ($_[0] // '') . ')') };
my $count = q1('count(*) FROM jobq.audit');
is $verify->(), "$count|whole", "the chain has all $count entries (S1-54)";
my $head = q1('head_hash FROM jobq.audit_verify()');
like $head, qr/^[0-9a-f]{64}$/, '… and a head';
my @ids = map { $put->(", delay => '1 hour'") } 1 .. 50;
my @sessions = map { $pg->session } @ids;
$_->send('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1') for @sessions;
$_->answer for @sessions;
$sessions[$_]->send("SELECT jobq.cancel($ids[$_])") for 0 .. $#ids;
is join('', map { $_->answer } @sessions), 't' x 50, '50 sessions at once, in transactions that stay open: nobody waits for another';
is $verify->(), "$count|whole", '… and none of it is there yet';
$sessions[$_]->send('COMMIT') for reverse 10 .. 49;
$sessions[$_]->answer for reverse 10 .. 49;
is $verify->("'$head'"), ($count + 40) . '|whole', 'as they commit they come into the chain';
$sessions[$_]->query($_ < 5 ? 'COMMIT' : 'ROLLBACK') for 0 .. 9;
is $verify->("'$head'"), ($count + 45) . '|whole', '… also the late ones, and not what was undone';
my @both = map { $pg->session } 1 .. 4;
act("jobq.alert_set('a', '{\"above\": \"$_\"}')") for 1 .. 5;
$_->send("SELECT jobq.audit_seal()") for @both;
is eval { my $n = 0; $n += $_->answer for @both; $n }, 5, 'four who extend it at once do it once';
is $verify->(), ($count + 50) . '|whole', '… and right';
like $pg->query("UPDATE jobq.audit_chain SET told_at = now() - interval '2 hours'; SELECT * FROM jobq.maintain()"), qr/^the audit has \d+ entries, the last one with the hash [0-9a-f]{64}$/m, 'the log has the head';
unlike $pg->query("SELECT * FROM jobq.maintain()"), qr/the audit has/, '… once an hour';
$count += 50;

# it is only added to
for my $sql ("UPDATE jobq.audit SET actor = 'nobody' WHERE seq = 3", 'DELETE FROM jobq.audit WHERE seq = 3', 'TRUNCATE jobq.audit', "UPDATE jobq.audit SET seq = 999999 WHERE seq = 3") {
	like +($pg->try_query($sql))[2], qr/the audit is only added to/, "refused: $sql";
}
# … unless somebody sees to that: then it shows. Each in a transaction that is undone
sub tampered { my ($sql, $head) = @_; return ($pg->query("BEGIN; ALTER TABLE jobq.audit DISABLE TRIGGER USER; $sql; SELECT concat_ws('|', seq, id, problem) FROM jobq.audit_verify(" . ($head // '') . '); ROLLBACK')) }
my ($s, $id) = split /\|/, q1("seq || '|' || id FROM jobq.audit ORDER BY seq OFFSET 20 LIMIT 1");
my $next = q1("id FROM jobq.audit WHERE seq = $s + 1");
my $was = 'it is not what it was when it came into the chain';
is tampered("UPDATE jobq.audit SET $_ WHERE seq = $s"), "$s|$id|$was", "an entry is changed: $_"
    for "actor = 'mallory'", "detail = detail || ' '", "before = '{}'", "after = null, tenant = 'x'", "at = at + interval '1 microsecond'", "source = 'elsewhere'";
is tampered("UPDATE jobq.audit a SET actor = 'mallory', hash = jobq.audit_hash((SELECT p.hash FROM jobq.audit p WHERE p.seq = $s - 1), (a.at, 'mallory', a.action, a.target, a.detail, a.source, a.tenant, a.before, a.after, a.id, a.seq, null)::jobq.audit) WHERE seq = $s"),
    ($s + 1) . "|$next|$was", '… and its hash with it: then the next one tells';
is tampered("DELETE FROM jobq.audit WHERE seq = $s"), ($s + 1) . "|$next|the entry before it is missing", 'one is taken out';
is tampered("DELETE FROM jobq.audit WHERE seq > $count - 3"), "$count|3 entries at the end are missing", 'the end is cut off';
is tampered("DELETE FROM jobq.audit"), "$count|$count entries at the end are missing", 'all of it';
is tampered("DELETE FROM jobq.audit WHERE seq > $count - 3; UPDATE jobq.audit_chain SET seq = $count - 3, hash = (SELECT hash FROM jobq.audit WHERE seq = $count - 3)", q{'} . q1("encode(hash, 'hex') FROM jobq.audit_chain") . q{'}),
    'no entry has the hash that was given: it is too old, or the chain was made anew', '… with the note of it: a head from the log tells';
is $verify->(), "$count|whole", 'and all is as it was';

# by jobqctl
sub ctl { return run_program([ jobqctl_program(), '--database', $pg->url, @_ ]) }
my ($status, $out, $err) = ctl('audit', 'verify', '--head', $head);
is $status, 0, 'jobqctl audit verify';
like $out, qr/^the audit is whole: $count entries checked, head [0-9a-f]{64}$/, '… says so';
($status, $out) = ctl('audit', 'list', '--actor', 'ann', '--action', 'set', '--since', '2020-01-01T00:00:00Z', '--json');
is scalar(@{ $json->decode($out) }), 6, 'jobqctl audit list, by who and what';
is $json->decode($out)->[0]{source}, '192.0.2.7', '… with where from';
($status, $out) = ctl('audit', 'list', '--target', "job $long");
like $out, qr/local\s+cancel\s+job $long\s.*scheduled.*cancelled/, '… and by target, for a person';
($status, $out) = ctl('audit', 'list', '--target', 'job 0');
is $status, 0, 'nothing of that name is no failure';
$pg->query("ALTER TABLE jobq.audit DISABLE TRIGGER USER; UPDATE jobq.audit SET actor = 'mallory' WHERE seq = $s");
($status, $out, $err) = ctl('audit', 'verify');
is $status, 1, 'verify fails when one entry was changed';
like $err, qr/entry $s of $count \(id $id\): $was/, '… and names it';
$pg->query("UPDATE jobq.audit SET actor = 'ann' WHERE seq = $s");

# what is old goes, and the rest can still be verified
my $restore = q1("actor FROM jobq.audit WHERE seq = $s");
$pg->query('ALTER TABLE jobq.audit ENABLE TRIGGER USER');
my $half = q1("extract(epoch FROM now() - at) FROM jobq.audit WHERE seq = $s + 5");
$pg->query("SELECT jobq.audit_forget(interval '1 second' * $half)");
cmp_ok q1('min(seq) FROM jobq.audit'), '>', 1, 'the oldest entries go';
is q1('problem FROM jobq.audit_verify()'), '', '… and the rest is whole: the hash before it was kept';
is tampered("DELETE FROM jobq.audit WHERE seq = (SELECT min(seq) FROM jobq.audit)") =~ /the entry before it is missing$/, 1, '… one more cannot go unseen';
done_testing;
