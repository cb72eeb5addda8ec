# Alerts on real daemons: they start, are told once, and end; hysteresis and
# "for"; acknowledging, silencing, reminding and escalating; limits changed at
# run time; two nodes, of which one dies. S1-46, S1-66, S2-45, S3-57
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new(settings => { track_functions => 'pl' });
my $dir = temp_directory();
# what a channel is sent, in one write
spew("$dir/take", "#!/bin/sh\nx=\$(cat)\nprintf '%s\\n' \"\$x\" >> \$1\n");
chmod 0755, "$dir/take";
my $config = <<"YAML";
handlers: {null: {driver: noop}}
monitor: {interval: 1s, health_file: "$dir/health.json"}
channels:
  chat: {exec: ["$dir/take", "$dir/chat"]}
  page: {exec: ["$dir/take", "$dir/page"]}
queues:
  work: {handler: null, lease: 3s}
  more: {handler: null, lease: 3s}
alerts:
  backlog: {metric: backlog, queues: [work], above: 3, clear: 1, notify: [chat]}
  paused:  {metric: paused, queues: [more], above: 0, for: 3s, notify: [chat], repeat: 2s, escalate: {after: 1s, notify: [page]}}
  lost:    {metric: unserved, above: 0, notify: [chat]}
  nodes:   {metric: node_down, above: 0, severity: critical, notify: [chat]}
  retries: {metric: retries, above: 0}
  old:     {metric: oldest_ready, above: 2s, notify: [chat]}
  size:    {metric: table_size, above: 1TiB}
YAML
my $d = Jobqd::Daemon->new(pg => $pg, config => $config);
$d->start;

my $json = JSON::PP->new->utf8;
sub ctl { my ($s, $out, $err) = $d->ctl(@_); return wantarray ? ($s, $out, $err) : $out }
sub state_of { my ($name, $queue) = @_; return $pg->query("SELECT coalesce((SELECT state FROM jobq.alerts WHERE name = '$name'" . ($queue ? " AND queue = '$queue'" : '') . " AND state <> 'ended'), '')") }
# what was sent of an alert: "channel event", in order
sub sent { return $pg->query("SELECT coalesce(string_agg(n.channel || ' ' || n.event, ', ' ORDER BY n.id), '') FROM jobq.alert_notice n JOIN jobq.alert a ON a.id = n.alert WHERE a.name = '$_[0]' AND n.sent_at IS NOT NULL") }
sub forget { $pg->query('DELETE FROM jobq.alert WHERE ended_at IS NOT NULL') }
sub looks { return $pg->query("SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE funcname = 'alert_look'") }
# until the alerts have been looked at twice more
sub look_again { my $n = looks(); wait_for { looks() > $n + 1 } 'another look' }

# it starts
$pg->query("SELECT jobq.pause('work', 'for the test')");
look_again();
is state_of('backlog'), '', 'nothing fires';
my $from = time;
$pg->query("SELECT jobq.enqueue('work') FROM generate_series(1, 5)");
wait_for { state_of('backlog') eq 'firing' } 'the backlog';
pass sprintf 'a backlog is reported after %.1f s', time - $from;
like $d->wait_log(qr/alert fires/), qr/warn.*alert=backlog queue=work severity=warning reason="?backlog of work is 5 \(above 3\)/, '… in the log';
wait_for { sent('backlog') eq 'chat fires' } 'the notice';
my ($m) = grep { $_->{alert} eq 'backlog' } json_lines("$dir/chat");
# S1-51, S1-66, S3-57: who is told what.
is_deeply { map { $_ => $m->{$_} } qw(event alert queue state severity metric value limit threshold message node) },
    { event => 'started', alert => 'backlog', queue => 'work', state => 'firing', severity => 'warning', metric => 'backlog',
	value => 5, limit => 3, threshold => 'above 3', message => 'backlog of work is 5 (above 3)', node => 'node' }, '… has all members';
like $m->{advice}, qr/jobqctl queue show work/, '… and what to do';
my ($list) = @{ $json->decode(scalar ctl('alert', 'list', '--json')) };
is_deeply { map { $_ => $list->{$_} } qw(name queue state value threshold message) },
    { name => 'backlog', queue => 'work', state => 'firing', value => 5, threshold => 'above 3', message => $m->{message} }, 'alert list --json';
like ctl('alert', 'list'), qr/backlog\s+work\s+firing\s+warning\s.*backlog of work is 5/, 'alert list';
like ctl('status'), qr/alerts: .*backlog \(work\)/, 'status';
wait_for { my $h = eval { $json->decode(slurp("$dir/health.json")) }; $h && grep { $_->{name} eq 'backlog' } @{ $h->{alerts} } } 'the health file to have it';
wait_for { state_of('old') eq 'firing' } 'the oldest ready job';
like ctl('alert', 'show', 'old'), qr/longest wait in work is/, 'oldest_ready: how long a job waits (S0-75)';

# more of the same is no news, nor is a little less
$pg->query("SELECT jobq.enqueue('work') FROM generate_series(1, 5)");
look_again();
is $pg->query("SELECT value FROM jobq.alerts WHERE name = 'backlog'"), 10, 'the value is the newest';
$pg->query("SELECT jobq.cancel(id) FROM (SELECT id FROM jobq.jobs WHERE state = 'ready' ORDER BY id LIMIT 8) k");
look_again();
is state_of('backlog'), 'firing', 'at 2, below the limit and above clear, it goes on';
$pg->query("SELECT jobq.clear('work')");
wait_for { state_of('backlog') eq '' } 'the backlog to end';
wait_for { sent('backlog') eq 'chat fires, chat ends' } 'the notice of the end';
pass 'one message when it starts, one when it ends';
$d->wait_log(qr/info.*alert ended alert=backlog queue=work/);
like ctl('alert', 'list'), qr/no alerts/, 'nothing fires';
like ctl('alert', 'list', '--all'), qr/backlog\s+work\s+ended/, '… and what did is still to be seen';

# for, escalation, reminders, acknowledgement
$pg->query("SELECT jobq.pause('more', 'for the test')");
wait_for { $pg->query("SELECT count(*) FROM jobq.alert WHERE name = 'paused'") == 1 } 'the pause to be seen';
is state_of('paused'), '', 'not paused for long enough';
wait_for { state_of('paused') eq 'firing' } 'the paused queue';
cmp_ok $pg->query("SELECT round(extract(epoch FROM fired_at - since), 1) FROM jobq.alert WHERE name = 'paused'"), '>=', 3, 'it fires when it has been so for 3 s';
wait_for { sent('paused') =~ /^chat fires, page escalates, chat reminds, chat reminds/ } 'escalation and reminders';
pass 'escalated once, reminded of again and again (S1-66)';
my ($status, $out, $err) = ctl('alert', 'ack', 'paused', '--queue', 'more', '--by', 'ann', '--notes', 'on it');
is "$status $out", "0 alert paused of queue more: acknowledged\n", 'alert ack';
wait_for { $pg->query("SELECT count(*) FROM jobq.alert_notice WHERE sent_at IS NULL") == 0 } 'what is on its way';
my $before = sent('paused');
my $looks = looks();
$pg->query('SELECT pg_sleep(4)');
cmp_ok looks() - $looks, '<=', 8, sprintf 'acknowledged: %d looks in 4 s', looks() - $looks;
is sent('paused'), $before, 'acknowledged: no more reminders';
is state_of('paused'), 'acknowledged', '… and the state says so';
like ctl('alert', 'show', 'paused'), qr/more\s+acknowledged\s.*ann/, 'alert show';
$pg->query("SELECT jobq.resume('more')");
wait_for { sent('paused') =~ /chat ends/ && sent('paused') =~ /page ends/ } 'the end, for both channels';
pass 'who was told that it fires is told of its end';

# silence
is +(ctl('alert', 'silence', 'backlog', '--for', '1h', '--reason', 'import'))[0], 0, 'alert silence, before it fires';
forget();
$pg->query("SELECT jobq.enqueue('work') FROM generate_series(1, 5)");
wait_for { state_of('backlog') eq 'silenced' } 'the silenced backlog';
look_again();
is sent('backlog'), '', 'nothing is said';
like ctl('alert', 'show', 'backlog'), qr/import/, '… alert show says why';
is ctl('alert', 'unsilence', 'backlog'), "alert backlog: no longer silenced\n", 'alert unsilence';
wait_for { sent('backlog') eq 'chat tells' } 'the notice';
pass 'what still fires is said then';
is +(ctl('alert', 'unsilence', 'backlog'))[0], 3, 'no such silence: exit 3';

# limits at run time
is ctl('alert', 'set', 'backlog', 'above=2000', 'for=1m'), "alert backlog: changed\n", 'alert set';
wait_for { state_of('backlog') eq '' } 'the backlog to be none any more';
pass 'S2-45 a limit that was raised ends the alert';
like ctl('alert', 'show', 'backlog'), qr/above\s+2000\s+/, '… alert show tells what was changed';
sub reload { my ($text) = @_; my $at = $d->log_size; $d->configure($text); $d->signal('HUP'); $d->wait_log(qr/reloaded/, $at); look_again() }
reload($config =~ s/size:    .*\n//r);
like ctl('alert', 'rules'), qr/backlog\s+backlog\s+above 2000\s+1m/, 'it lasts over a reload';
unlike ctl('alert', 'rules'), qr/^size/m, '… by which another rule has gone';
is state_of('backlog'), '', '… still nothing fires';
reload($config =~ s/above: 3, clear: 1/above: 4, clear: 1/r);
wait_for { state_of('backlog') eq 'firing' } 'the limit of the file';
pass 'until the file says something else of the alert';
ctl('alert', 'set', 'backlog', 'above=20');
wait_for { state_of('backlog') eq '' } 'the changed limit';
is ctl('alert', 'reset', 'backlog'), "alert backlog: as the configuration says\n", 'alert reset';
wait_for { state_of('backlog') eq 'firing' } 'the limit of the file, again';

# mistakes
for my $case ([ 3, 'ack', 'backlgo' ], [ 3, 'ack', 'size' ], [ 3, 'show', 'nothing' ], [ 3, 'set', 'bcklog', 'above=1' ],
	[ 2, 'silence', 'backlog' ], [ 2, 'silence', '--for', '1h' ], [ 2, 'silence', 'backlog', '--for', 'soon' ], [ 2, 'set', 'backlog', 'above' ],
	[ 1, 'set', 'backlog', 'above=many' ], [ 1, 'set', 'backlog', 'color=red' ], [ 3, 'reset', 'x' ], [ 3, 'silence', 'x', '--for', '1h' ])
{
	my ($want, @words) = @$case;
	my ($s, undef, $e) = ctl('alert', @words);
	is $s, $want, "alert @words: exit $want";
	like $e, qr/^jobqctl: .*\n/, '… and why';
}
like +(ctl('alert', 'show', 'backlgo'))[2], qr/did you mean backlog\?/, 'the nearest name';

# two nodes: each change once
my $b = Jobqd::Daemon->new(pg => $pg, name => 'other', config => $config =~ s/above: 3, clear: 1/above: 4, clear: 1/r);
$b->start;
$pg->query("SELECT jobq.clear('work')");
wait_for { state_of('backlog') eq '' } 'the end';
wait_for { $pg->query("SELECT count(*) FROM jobq.alert_notice WHERE sent_at IS NULL") == 0 } 'what is on its way';
forget();
for my $round (1 .. 2) {
	$pg->query("SELECT jobq.enqueue('work') FROM generate_series(1, 5)");
	wait_for { state_of('backlog') eq 'firing' } 'the backlog';
	$pg->query("SELECT jobq.clear('work')");
	wait_for { state_of('backlog') eq '' } 'its end';
}
wait_for { sent('backlog') eq 'chat fires, chat ends, chat fires, chat ends' } 'all notices';
pass 'with two nodes each start and end is told once';
my $count = sub { return $pg->query("SELECT coalesce((SELECT calls FROM pg_stat_user_functions WHERE funcname = '$_[0]'), 0)") };
$from = time;
my ($l0, $v0) = ($count->('alert_look'), $count->('alert_values'));
wait_for { $count->('alert_values') >= $v0 + 8 } 'eight looks';
my ($l1, $v1) = ($count->('alert_look'), $count->('alert_values'));
cmp_ok $l1 - $l0, '<=', 3 * ($v1 - $v0), sprintf 'in %.1f s two nodes called %d times, of which %d looked at the values (interval 1 s)', time - $from, $l1 - $l0, $v1 - $v0;

# the one that looks dies in the middle
my %node = (node => $d, other => $b);
$pg->query("SELECT jobq.enqueue('work') FROM generate_series(1, 5)");
wait_for { state_of('backlog') eq 'firing' } 'the backlog';
wait_for { $pg->query("SELECT count(*) FROM jobq.alert_notice WHERE sent_at IS NULL") == 0 } 'what is on its way';
my $leads = $pg->query("SELECT node FROM jobq.leader WHERE role = 'alerts'");
my ($dead, $left) = $leads eq 'node' ? ($d, $b) : ($b, $d);
$dead->vanish;
$d = $left;
# as if it had died before it sent what it had stored
$pg->query("UPDATE jobq.alert_notice SET sent_at = NULL WHERE id = (SELECT max(id) FROM jobq.alert_notice)");
$from = time;
wait_for { $pg->query("SELECT node FROM jobq.leader WHERE role = 'alerts' AND until > now()") eq $left->{name} } 'the other one to take over';
pass sprintf 'another node looks after %.1f s', time - $from;
wait_for { sent('backlog') =~ /(?:chat fires, chat ends, ){2}chat fires$/ } 'the notice that was left';
is state_of('backlog'), 'firing', 'the alert goes on, and what was not sent is sent';
$pg->query("SELECT jobq.clear('work')");
wait_for { sent('backlog') =~ /chat fires, chat ends$/ } 'its end';
is sent('backlog'), join(', ', ('chat fires, chat ends') x 3), 'nothing lost, nothing doubled';
wait_for { state_of('nodes') eq 'firing' } 'the dead node', 90;
like $pg->query("SELECT message FROM jobq.alerts WHERE name = 'nodes'"), qr/number of silent nodes is 1 \(above 0\)/, 'node_down: the dead node is an alert';
$dead->start;
wait_for { state_of('nodes') eq '' } 'the node to be back';
pass '… until it is back';

# a queue that nobody serves any more
$pg->query("SELECT jobq.enqueue('more', delay => '1 hour')");
for my $node ($d, $dead) {
	my $at = $node->log_size;
	$node->configure($config =~ s/  more: .*\n//r =~ s/  paused: .*\n//r);
	$node->signal('HUP');
	$node->wait_log(qr/reloaded/, $at);
}
wait_for { state_of('lost', 'more') eq 'firing' } 'the queue that nobody serves';
pass 'unserved: jobs that no node will run';
$pg->query("SELECT jobq.clear('more')");
wait_for { state_of('lost', 'more') eq '' } 'its end';
is $_->stop, 0, 'stops with status 0' for $d, $dead;
like $pg->query("SELECT string_agg(DISTINCT action, ' ' ORDER BY action) FROM jobq.audit WHERE target LIKE 'alert %' AND actor !~ '^node '"), qr/^acknowledge reset set silence unsilence$/, 'the audit has what people did';
done_testing;
