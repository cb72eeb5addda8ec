# Alerts, by SQL alone: amounts, rules and what changes them, values, the look
# and the store, quiet hours, silences. S2-45, S4-38
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP ();
use Schema;
use Test::More;

my $pg = schema();
my $json = JSON::PP->new->canonical;
sub q1 { return $pg->query("SELECT $_[0]") }
sub fails { my ($sql, $like, $name) = @_; my ($s, undef, $err) = $pg->try_query("SELECT $sql"); ok $s != 0 && $err =~ $like, $name or diag $err }

# amounts: the same as t/unit/test_metric.c
for (
	[ count => '0', 0 ], [ count => '1000', 1000 ], [ count => '999999999999999', 999999999999999 ],
	map({ [ count => $_ ] } '1000000000000000', '', '-1', '1.5', '1e3', '10%', '10s', ' 1', '0x10'),
	[ share => '15%', 0.15 ], [ share => '12.5%', 0.125 ], [ share => '0', 0 ], [ share => '100%', 1 ],
	[ share => '101%' ], [ share => '0.1' ], [ time => '90s', 90 ], [ time => '500ms', 0.5 ],
	[ time => '1w', 604800 ], [ time => '60000' ], [ time => '9999999999999w' ],
	[ size => '10GiB', 10737418240 ], [ size => '7', 7 ], [ size => '10GB' ])
{
	my ($kind, $text, $value) = @$_;
	is q1("jobq.amount('$text', '$kind')"), $value // '', "$kind \"$text\"";
}

# rules
my %rule = (
	backlog => { metric => 'backlog', kind => 'count', above => '1000', clear => '800', for => '1m' },
	rate => { metric => 'failure_rate', kind => 'share', above => '10%', window => '7m', min_jobs => 4 },
	down => { metric => 'database_down', kind => 'count', above => '0' },
	workers => { metric => 'workers', kind => 'count', below => '1', queues => ['work'] },
);
sub register {
	my ($node, @names) = @_;
	my @alerts = map { { name => $_, window => '5m', for => '0', repeat => '0', escalate_after => '0', min_jobs => 0,
		queues => [], notify => ['ops'], escalate_notify => [], severity => 'warning', %{ $rule{$_} } } } @names;
	my $text = $json->encode({ node => $node, queues => [ map { { name => $_ } } qw(work more) ], alerts => \@alerts });
	return $pg->query("SELECT jobq.register('$text')");
}
sub names { return q1("string_agg(name, ' ' ORDER BY name) FROM jobq.alert_rules") }
register('a', qw(backlog rate down workers));
is names(), 'backlog down rate workers', 'the rules are registered';
register('b');
is names(), 'backlog down rate workers', 'a node without any leaves those of others alone';
register('a', qw(backlog rate down));
is names(), 'backlog down rate', 'one that a node has no more is gone';
register('b', qw(backlog rate down));
register('a');
is names(), 'backlog down rate', '… unless another has it';
$pg->query("UPDATE jobq.node SET seen = now() - interval '2 minutes' WHERE name = 'b'");
register('a');
is names(), '', '… which is there';
register('a', qw(backlog rate down));

# changes at run time
is q1(q{jobq.alert_set('backlog', '{"above": "2000", "for": "0"}')}), '{"for": "0", "above": "2000"}', 'S2-45 a limit is changed';
is q1(q{jobq.alert_set('rate', '{"above": "15%", "min_jobs": 5}')}), '{"above": "15%", "min_jobs": "5"}', 'S2-45 … and a share';
is q1("concat_ws(' ', above, clear, \"for\") FROM jobq.alert_rules WHERE name = 'backlog'"), '2000 0', 'it is in force, without the clear of the old one';
is q1(q{jobq.alert_set('backlog', '{"for": null}')}), '{"above": "2000"}', 'one change is taken back';
register('a', qw(backlog rate down));
is q1("above FROM jobq.alert_rules WHERE name = 'backlog'"), '2000', 'a reload changes nothing of that';
$rule{backlog}{clear} = '700';
register('a', qw(backlog rate down));
is q1("above FROM jobq.alert_rules WHERE name = 'backlog'"), '1000', '… until the file says something else of it';
is q1("above FROM jobq.alert_rules WHERE name = 'rate'"), '15%', '… which leaves the others';
is q1("jobq.alert_reset('rate')::text || jobq.alert_reset('rate')"), 'truefalse', 'reset';
is q1("above FROM jobq.alert_rules WHERE name = 'rate'"), '10%', '… the file again';
is q1("string_agg(action || ' ' || target, ', ' ORDER BY at) FROM jobq.audit WHERE actor !~ '^node '"),
    'set alert backlog, set alert rate, set alert backlog, reset alert backlog, reset alert rate', 'the audit has it all';
fails(q{jobq.alert_set('backlog', '{"above": "many"}')}, qr/above: "many" needs a number/, 'a limit that is none');
fails(q{jobq.alert_set('rate', '{"above": "0.15"}')}, qr/above: "0.15" needs a percentage/, '… of another kind');
fails(q{jobq.alert_set('rate', '{"below": "1%"}')}, qr/rate has no "below"/, 'the other side');
fails(q{jobq.alert_set('rate', '{"window": "0"}')}, qr/window: "0" needs a duration from 1s to 1d/, 'no window');
fails(q{jobq.alert_set('rate', '{"metric": "backlog"}')}, qr/metric: "backlog" is none of above,/, 'an unknown member');
fails(q{jobq.alert_set('rate', '["above"]')}, qr/no object/, 'no object');
fails(q{jobq.alert_set('rat', '{}')}, qr/there is no alert "rat".*The alerts are: backlog, down, rate/s, 'an unknown name');

# a look
sub look {
	my ($node) = @_;
	return map { [ split /\|/, $_, -1 ] } split /\n/, $pg->query(
	    "SELECT leader, coalesce(name, ''), coalesce(queue, ''), value, sample, \"limit\", clear, since_us IS NOT NULL, due FROM jobq.alert_look('$node', 'i', 600000)");
}
my @rows = look('a');
is_deeply [ map { $_->[1] } @rows ], [ '', 'down' ], 'nothing is wrong: one row, and the one of the database';
is $rows[0][0], 't', 'the first who looks has the role';
@rows = look('b');
is_deeply [ map { "$_->[0]$_->[1]" } @rows ], [ 'f', 'fdown' ], '… and another has not';
$pg->query("SELECT count(jobq.enqueue('work')) FROM generate_series(1, 1001)");
@rows = look('a');
is_deeply $rows[1], [ 't', 'backlog', 'work', 1001, '', 1000, 700, 'f', 0 ], 'a backlog';
$pg->query(q{SELECT jobq.alert_set('backlog', '{"above": "600", "clear": "900"}')});
is +(look('a'))[1][6], 600, 'a clear past the limit is the limit';

# failures: the window, whatever is summed up meanwhile
my ($pool, $queue) = pool($pg, 'more');
sub attempts {
	my ($good, $bad) = @_;
	$pg->query("SELECT count(jobq.enqueue('more')) FROM generate_series(1, $good + $bad)");
	my @leases = claim($pg, $pool, $queue, $good + $bad);
	finish_failed($pg, $pool, $_, 3) for splice @leases, 0, $bad;
	finish_ok($pg, $pool, @leases) if @leases;
}
sub rate { return q1("round(value::numeric, 3) || ' of ' || sample FROM jobq.alert_values() WHERE name = 'rate' AND queue = 'more'") }
is rate(), '', 'of no attempts there is no rate';
attempts(6, 2);
is rate(), '0.250 of 8', '2 of 8 have failed';
$pg->query('SELECT jobq.tally_fold()');
is rate(), '0.250 of 8', '… also when they are summed up';
attempts(2, 0);
$pg->query('SELECT jobq.tally_fold()');
attempts(0, 2);
is rate(), '0.333 of 12', '4 of 12';
# as if so much time had passed; by whole pieces
sub later { $pg->query("UPDATE jobq.alert_count SET at = at - interval '$_[0]'; UPDATE jobq.total SET at = at - interval '$_[0]'; UPDATE jobq.tally SET at = at - interval '$_[0]'") }
later('5 minutes');
attempts(1, 0);
is rate(), '0.308 of 13', 'five minutes later they still count, in a window of seven';
later('5 minutes');
is rate(), '0.000 of 1', '… and in ten only what came since';
later('10 minutes');
is rate(), '', '… and then nothing';
attempts(0, 3);
is rate(), '1.000 of 3', 'the next ones are counted once';
is q1("count(*) FROM jobq.alert_count WHERE queue = $queue"), 1, 'nothing older is kept';

# store: what a look has led to
sub store {
	my ($node, $event, %o) = @_;
	my $tell = $o{tell} // 'true';
	my $severity = $o{severity} // 'warning';
	my $quiet = $o{quiet} // '';
	return q1("jobq.alert_store('$node', 'i', '{backlog}', '{work}', '{$event}', '{$tell}', '{1001}', '{backlog}', '{$severity}', "
	    . "ARRAY['above 1,000'], '{a message}', '{a subject}', '{a text}', ARRAY['{\"event\": \"$event\"}'], '$quiet', 'UTC')");
}
sub alert { return q1("coalesce(string_agg(concat_ws(' ', name, queue, state, value, severity, threshold, message), '; ' ORDER BY since), '') FROM jobq.alerts WHERE state <> 'ended'") }
is store('b', 'breaks'), '', 'who has not the role stores nothing';
is store('a', 'breaks', tell => 'false'), 0, 'what is not well is noted';
is alert(), '', '… and is no alert yet';
is store('a', 'mends', tell => 'false'), 0, 'it was nothing';
is q1('count(*) FROM jobq.alert'), 0, '… and is forgotten';
is store('a', 'breaks', tell => 'false') . store('a', 'fires'), '01', 'it fires, and one notice is due';
is alert(), 'backlog work firing 1001 warning above 1,000 a message', 'the alert';
is q1("string_agg(channel || event || subject || text || data, '|') FROM jobq.alert_notices()"), 'opsfiresa subjecta text{"event": "fires"}', 'the notice';
my $id = q1('id FROM jobq.alert_notices()');
q1("jobq.alert_sent('{$id}', '{NULL}')");
is q1('count(*) FROM jobq.alert_notices()'), 0, 'it was sent';
is q1("last_sent IS NOT NULL FROM jobq.alerts"), 't', '… which the alert shows';
is q1("jobq.alert_ack('backlog', 'more')"), 0, 'nothing to acknowledge of another queue';
is q1("jobq.alert_ack('backlog', by => 'ann', note => 'on it')"), 1, 'acknowledged';
is q1("state || acknowledged_by FROM jobq.alerts"), 'acknowledgedann', '… by whom';
q1("jobq.alert_silence('backlog', now() + interval '1 hour', 'work', 'import')");
is q1("state || (silenced_until > now()) FROM jobq.alerts"), 'silencedtrue', 'silenced';
is +(grep { ($_->[1] // '') eq 'backlog' } map { [ split /\|/ ] } split /\n/, $pg->query("SELECT 1, name, silenced, acknowledged FROM jobq.alert_look('a', 'i', 600000)"))[0][2], 't', '… which a look sees';
is q1("jobq.alert_unsilence('backlog')::text || jobq.alert_unsilence('backlog', 'work')"), 'falsetrue', 'the silence is ended';
q1("jobq.alert_silence('*', now() + interval '1 hour')");
is q1("state FROM jobq.alerts"), 'silenced', 'all are silenced';
q1("jobq.alert_unsilence('*')");
fails("jobq.alert_silence('backlog', now() - interval '1 hour')", qr/ends in the future/, 'a silence in the past');
fails("jobq.alert_ack('nothing')", qr/there is no alert "nothing"/, 'an unknown alert');
is store('a', 'ends'), 1, 'it ends, and that is due to be told';
is q1("state || (ended_at IS NOT NULL) FROM jobq.alerts"), 'endedtrue', 'ended';
is q1("string_agg(channel || event, '|') FROM jobq.alert_notices()"), 'opsends', 'the notice of the end';
$pg->query('UPDATE jobq.alert_notice SET sent_at = now()');

# quiet hours
my $quiet = q1("to_char(now() at time zone 'UTC' - interval '1 hour', 'HH24:MI') || to_char(now() at time zone 'UTC' + interval '1 hour', '-HH24:MI')");
is store('a', 'fires', quiet => $quiet, severity => 'critical'), 1, 'critical: also by night';
is store('a', 'ends', quiet => $quiet, severity => 'critical'), 2, '… and its end';
$pg->query('UPDATE jobq.alert_notice SET sent_at = now() WHERE sent_at IS NULL');
is store('a', 'fires', quiet => $quiet), 0, 'a warning waits';
is q1("bool_and(due > now() + interval '50 minutes' AND due <= now() + interval '1 hour') FROM jobq.alert_notice WHERE sent_at IS NULL"), 't', '… for the morning';
is store('a', 'reminds', quiet => $quiet), 0, 'so does a reminder';
is q1('count(*) FROM jobq.alert_notice WHERE sent_at IS NULL'), 1, '… which says nothing new';
is store('a', 'ends', quiet => $quiet), 0, 'it ends by night';
is q1("string_agg(event, ' ') FROM jobq.alert_notice WHERE sent_at IS NULL"), 'ends', 'then the morning hears of that only';
for ([ '22:00-07:00', '2026-11-26 21:59', '' ], [ '22:00-07:00', '2026-11-26 22:00', '2026-11-27 07:00' ],
	[ '22:00-07:00', '2026-11-27 06:59', '2026-11-27 07:00' ], [ '22:00-07:00', '2026-11-27 07:00', '' ],
	[ '12:00-13:30', '2026-11-27 12:30', '2026-11-27 13:30' ], [ '12:00-13:30', '2026-11-27 13:30', '' ])
{
	is q1("to_char(jobq.quiet_end('$_->[0]', 'Europe/Berlin', '$_->[1] Europe/Berlin') at time zone 'Europe/Berlin', 'YYYY-MM-DD HH24:MI')"), $_->[2], "$_->[0] at $_->[1]";
}
is q1("jobq.quiet_end('00:00-23:59', 'Nowhere/Land')"), '', 'an unknown zone has no night';

# a rule that is gone takes its alerts with it
$pg->query('DELETE FROM jobq.alert_notice');
store('a', 'fires');
register('a', qw(rate));
is alert(), '', 'no rule, no alert';
is q1('count(*) FROM jobq.alert_notice WHERE event = \'ends\''), 0, '… and no word of it';

# the outage that a node has seen by itself
q1("jobq.alert_note('a', '{down}', '{database_down}', '{critical}', '{above 0}', '{gone}', '{60000000}', '{20000000}', '{true}')");
is q1("concat_ws(' ', name, queue, state, node, round(extract(epoch from ended_at - since))) FROM jobq.alerts WHERE name = 'down'"), 'down ended a 40', 'an outage is noted';
done_testing;
