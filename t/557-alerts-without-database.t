# The database goes: each node tells so by itself, while it is away, and says
# when it is back. S1-46, S3-50, S4-40
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
# what a channel is sent, in one write
spew("$dir/take", "#!/bin/sh\nx=\$(cat)\nprintf '%s\\n' \"\$x\" >> \$1\n");
chmod 0755, "$dir/take";
# an interval so long that nothing here can be due to it
my $config = <<"YAML";
handlers: {null: {driver: noop}}
monitor: {interval: 1h, health_file: "", quiet: "00:00-23:59"}
channels:
  chat: {exec: ["$dir/take", "$dir/chat"]}
  page: {exec: ["$dir/take", "$dir/page"]}
queues: {work: {handler: null}}
alerts:
  database: {metric: database_down, above: 0, for: 3s, severity: critical, notify: [chat], escalate: {after: 3s, notify: [page]}, repeat: 2s}
  paused:   {metric: paused, above: 0, for: 2s}
YAML
my %node = map { $_ => Jobqd::Daemon->new(pg => $pg, name => $_, config => $config) } qw(a b);
$_->start for values %node;
wait_for { $pg->query("SELECT count(*) FROM jobq.leader WHERE role = 'alerts'") == 1 } 'the first look';

# "event node" of what was told by a channel
sub told { my ($channel) = @_; return map { "$_->{event} $_->{node}" } json_lines("$dir/$channel") }
sub heard { my ($channel, $what) = @_; return scalar grep { $_ eq $what } told($channel) }

# away for less than "for"
my %from = map { $_ => $node{$_}->log_size } keys %node;
$pg->stop('immediate');
$_->wait_log(qr/monitor\b.*database is away/, $from{ $_->{name} }) for values %node;
$pg->start;
$_->wait_log(qr/monitor\b.*database is back/, $from{ $_->{name} }) for values %node;

my $stopped = time;
$pg->stop('immediate');
for my $name (sort keys %node) {
	wait_for { heard('chat', "started $name") } "node $name to tell";
	pass sprintf 'node %s tells %.1f s after the database has stopped, 3 s of which it waits', $name, time - $stopped;
}
like $node{a}->wait_log(qr/alert fires/, $from{a}), qr/error.*alert=database .*severity=critical/, 'the log, at error';
my ($m) = grep { $_->{event} eq 'started' } json_lines("$dir/chat");
is $m->{message}, 'the database is not there', 'what it says (S1-46, S4-40)';
isnt $m->{detail}, '', '… and why';
wait_for { heard('page', 'escalated a') && heard('page', 'escalated b') && heard('chat', 'reminder a') } 'escalation and reminder';
pass 'nobody comes: escalated and reminded of, without the database';
is heard('chat', "started $_"), 1, "started once, on node $_" for sort keys %node;

$pg->start;
for my $name (sort keys %node) {
	wait_for { heard('chat', "ended $name") && heard('page', "ended $name") } "node $name to tell the end";
}
pass 'its end is told to who was told before';
my $rows = "SELECT count(*) FROM jobq.alerts WHERE name = 'database' AND state = 'ended'";
wait_for { $pg->query($rows) == 2 } 'what was to be stored';
is $pg->query("SELECT string_agg(node, ' ' ORDER BY node) FROM jobq.alerts WHERE message LIKE 'the database is not there: %' AND severity = 'critical' AND ended_at > since + interval '3 s'"),
    'a b', 'afterwards the database knows of it, from each node';
is heard('chat', "started $_") . heard('chat', "ended $_") . heard('page', "escalated $_"), '111', "node $_ told all of it once" for sort keys %node;
is $pg->query($rows), 2, 'and the short absence was none';

# the look that is due when "for" is over does not wait for the interval
$pg->query("SELECT jobq.pause('work')");
$pg->query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%monitor'");	# they look again
wait_for { $pg->query("SELECT count(*) FROM jobq.alerts WHERE name = 'paused' AND state = 'firing'") == 1 } 'the paused queue';
pass sprintf 'a "for" of 2 s is over after %.1f s, with an interval of 1 h', $pg->query("SELECT extract(epoch FROM fired_at - since) FROM jobq.alert WHERE name = 'paused'");

# changed at run time: what a node has learnt counts while the database is away
my ($status) = $node{a}->ctl('alert', 'set', 'database', 'severity=info', 'for=500ms');
is $status, 0, 'alert set database';
$pg->query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%monitor'");	# they look again
wait_for { $pg->query("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%monitor'") == 2 } 'the monitors to be back';
$from{$_} = $node{$_}->log_size for keys %node;
$pg->query('SELECT pg_sleep(1)');
$pg->stop('immediate');
like $node{a}->wait_log(qr/alert fires/, $from{a}), qr/warn.*severity=info/, 'the changed severity';
$pg->start;
$_->wait_log(qr/alert ended/, $from{ $_->{name} }) for values %node;
is $_->stop, 0, 'stops with status 0' for values %node;
done_testing;
