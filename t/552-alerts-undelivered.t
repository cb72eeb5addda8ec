# A channel that does not answer: what is to be said outlives the monitor that
# tried to say it, and the whole daemon, and is said once. S2-62, S3-67
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $port = free_port();		# nobody listens there yet
my $config = <<"YAML";
handlers: {null: {driver: noop}}
daemon: {node: node, pid_file: $dir/jobqd.pid, shutdown_timeout: 2s}
monitor: {interval: 1s, health_file: ""}
channels: {hook: {webhook: "http://127.0.0.1:$port/ok", allow_private: true}}
queues: {work: {handler: null}}
alerts:
  paused: {metric: paused, above: 0, notify: [hook]}
YAML
my $d = Jobqd::Daemon->new(pg => $pg, config => $config);
$d->start;
$pg->query("SELECT jobq.pause('work')");
$d->wait_log(qr/notice not delivered, will be tried again channel=hook/);
my $open = "SELECT count(*) FROM jobq.alert_notice WHERE sent_at IS NULL AND error IS NULL";
is $pg->query($open), 1, 'the notice is not delivered';

my $from = $d->log_size;
$d->configure($config . "  more: {metric: backlog, above: 5}\n");
$d->signal('HUP');
$d->wait_log(qr/reloaded/, $from);
$d->wait_log(qr/notice not delivered, will be tried again channel=hook/, $from);
is $pg->query($open), 1, 'after a reload another monitor goes on trying';
is $d->stop, 0, 'the daemon stops';
is $pg->query($open), 1, 'nobody has given it up (S2-62)';

background([ 'python3', source_directory() . '/t/receiver.py', $port, "$dir/requests", 'secret' ], log => "$dir/log");
wait_port($port);
$d->start;
wait_for { $pg->query($open) == 0 } 'the notice to be delivered';
$pg->query("SELECT jobq.resume('work')");
wait_for { json_lines("$dir/requests") >= 2 } 'the end of the alert';
is_deeply [ map { my $b = JSON::PP->new->decode($_->{body}); "$b->{event} $b->{alert} $b->{queue}" } json_lines("$dir/requests") ],
    [ 'started paused work', 'ended paused work' ], 'started once, ended once';
is $pg->query("SELECT last_sent IS NOT NULL FROM jobq.alerts WHERE name = 'paused'"), 't', 'the alert shows that it was told';
is $d->stop, 0, 'stops with status 0';
done_testing;
