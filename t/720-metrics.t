# Metrics: the counters are exact, both forms are what their readers take, and
# nothing goes back when processes die and configurations change (S1-18, S1-42,
# S1-43, S1-44, S3-48, S3-49).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Http;
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $port = free_port();
my $config = <<"YAML";
handlers: {null: {driver: noop}}
queues:
  work:  {handler: null, workers: 2, retry: {attempts: 2, backoff: fixed, base: 0s, jitter: 0%}}
  other: {handler: null, workers: 1}
  typed: {types: {greeting: null}}
schedules: {yearly: {cron: "0 0 1 1 *", queue: other}}
alerts: {held: {metric: paused, queues: [typed], above: 0}}
api: {listen: "127.0.0.1:$port"}
YAML
my $d = Jobqd::Daemon->new(pg => $pg, config => $config);
$d->start;
our $http = Http->new("127.0.0.1:$port");

# name{labels} => value of a scrape.
sub scrape {
	my (%headers) = @_;
	my $r = $http->get('/metrics', %headers);
	die "no metrics\n" unless $r && $r->{status} == 200;
	my %v = map { /^([^#].*) (\S+)$/ ? ($1 => $2) : () } split /\n/, $r->{body};
	return wantarray ? ($r, \%v) : \%v;
}
sub value { return scrape()->{ $_[0] } }
sub finished { return "jobqd_jobs_finished_total{queue=\"$_[0]\",type=\"$_[1]\",outcome=\"$_[2]\"}" }
sub wait_value {
	my ($name, $expected) = @_;
	my $got;
	wait_for { $got = value($name); defined $got && $got == $expected } "$name to be $expected";
	is $got, $expected, $name;
}

#
# counts
#
$pg->query("SELECT jobq.enqueue('work', 'mail') FROM generate_series(1, 300)");
$pg->query("SELECT jobq.enqueue('work', 'mail', '{\"fail\": \"error\"}') FROM generate_series(1, 7)");
$pg->query("SELECT jobq.enqueue('other', 'nap', '{\"sleep_ms\": 60}') FROM generate_series(1, 3)");
wait_value(finished('work', 'mail', 'completed'), 300);
wait_value(finished('work', 'mail', 'failed'), 7);
wait_value(finished('work', 'mail', 'dead'), 7);
wait_value(finished('other', 'nap', 'completed'), 3);
my $v = scrape();
is $v->{ finished('work', 'mail', 'lost') }, 0, 'an outcome that was none yet is 0';
is $v->{'jobqd_job_run_seconds_count{queue="work"}'}, 314, 'every run is in the histogram (S0-72)';
is $v->{'jobqd_job_run_seconds_bucket{queue="other",le="0.05"}'}, 0, 'naps are longer than 50 ms';
is $v->{'jobqd_job_run_seconds_count{queue="other"}'}, 3, '… and all of them are there';
cmp_ok $v->{'jobqd_job_run_seconds_sum{queue="other"}'}, '>=', 3 * 0.05, '… with their time (S1-18)';
wait_value('jobqd_job_wait_seconds_count{queue="other"}', 3);
wait_for { value('jobqd_job_wait_seconds_count{queue="work"}') >= 200 } 'waits of the other queue';
$v = scrape();
cmp_ok abs($v->{'jobqd_job_wait_seconds_count{queue="work"}'} - 307), '<=', 107,
    "waits, by a job of each claim: $v->{'jobqd_job_wait_seconds_count{queue=\"work\"}'} of 307 first runs";
is $v->{ finished('typed', 'greeting', 'dead') }, 0, 'a type of the configuration is told before it has come';
is $v->{'jobqd_lease_lost_total'}, 0, 'no lease was lost';
wait_value('jobqd_workers{queue="work",state="idle"}', 2);

# What comes from the database, a second old at most.
# S1-42, S3-49: how many wait, run, have ended.
wait_value('jobqd_jobs{queue="work",state="completed"}', 300);
wait_value('jobqd_jobs{queue="work",state="dead"}', 7);
wait_value('jobqd_dead_letters{queue="work"}', 7);
$pg->query("SELECT jobq.pause('other', 'for the test')");
$pg->query("SELECT jobq.enqueue('other', 'nap') FROM generate_series(1, 5)");
wait_value('jobqd_jobs{queue="other",state="ready"}', 5);
wait_value('jobqd_queue_paused{queue="other"}', 1);
wait_for { value('jobqd_oldest_ready_seconds{queue="other"}') > 0 } 'the oldest ready job to age';
pass 'jobqd_oldest_ready_seconds';
is value('jobqd_oldest_ready_seconds{queue="work"}'), 0, '… is 0 where there is none';
is value('jobqd_queue_served{queue="work"}'), 1, 'the queue is served';
is value('jobqd_schedule_late_seconds{schedule="yearly"}'), 0, 'a schedule that is not late';
is value('jobqd_schedule_missed_total{schedule="yearly"}'), 0, '… and missed nothing (S1-44)';
is int value('jobqd_schedule_next_run_timestamp_seconds{schedule="yearly"}'),
    $pg->query("SELECT extract(epoch FROM next_run)::bigint FROM jobq.schedules WHERE name = 'yearly'"), '… and when it runs next';
# twice, since one that has ended is remembered
for (1, 2) {
	$pg->query("SELECT jobq.pause('typed')");
	wait_value('jobqd_alert_firing{alert="held",queue="typed"}', 1);
	$pg->query("SELECT jobq.resume('typed')");
	wait_value('jobqd_alert_firing{alert="held",queue="typed"}', 0);
}
my $session = $pg->session;
$session->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM jobq.queue');
wait_for { value('jobqd_oldest_snapshot_seconds') >= 1 } 'a snapshot that is held to be seen';
pass 'jobqd_oldest_snapshot_seconds (S3-48)';
$session->close;
is value('jobqd_database_up'), 1, 'the database is up (S1-45, S3-48)';
cmp_ok value('jobqd_gauges_age_seconds'), '<', 60, 'the age of these values';
$pg->query("SELECT jobq.resume('other')");


# Somebody takes the pool for dead while a job of it runs.
my $long = $pg->query("SELECT jobq.enqueue('work', 'long', '{\"sleep_ms\": 600000}')");
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $long") eq 'running' } 'a long job to run';
wait_value('jobqd_workers{queue="work",state="busy"}', 1);
$pg->query("SELECT jobq.reap(p.id) FROM jobq.pool p JOIN jobq.queue q ON q.id = p.queue WHERE q.name = 'work'");
wait_value('jobqd_lease_lost_total', 1);
wait_for { $pg->query("SELECT attempt FROM jobq.jobs WHERE id = $long AND state = 'running'") eq '2' } 'it to run again';
$pg->query("SELECT jobq.cancel($long)");
wait_value(finished('work', 'long', 'cancelled'), 1);

#
# the reader's side
#
# Queues' and types' names with everything in them.
my @hostile = ("quote\" back\\slash \nnewline", "\x{1F600} \x{202E}", "{a=\"b\"} 1", '', "tab\t# HELP x", 'x' x 255, 'other');
for my $type (@hostile) {
	(my $sql = $type) =~ s/'/''/g;
	utf8::encode($sql);
	$pg->query("SELECT jobq.enqueue('other', '$sql')");
}
$pg->query("SELECT jobq.enqueue('other', 'type-' || n) FROM generate_series(1, 200) n");
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'other' AND state = 'completed'") == 215 } 'all types';
my $total = sub {
	my $v = scrape();
	my $n = 0;
	$n += $v->{$_} for grep { /^jobqd_jobs_finished_total\{queue="other",.*outcome="completed"\}/ } keys %$v;
	return $n;
};
wait_for { $total->() == 215 } 'all types to be counted';
pass 'every job of every type is counted';
my ($plain, $series) = scrape();
my $types = grep { /^jobqd_jobs_finished_total\{queue="other",.*outcome="completed"\}/ } keys %$series;
is $types, 65, 'types are bounded: 64 by name, one for the others';
is $plain->{headers}{'content-type'}, 'text/plain; version=0.0.4; charset=utf-8', 'the form of Prometheus';
my ($open) = scrape(Accept => 'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1');
is $open->{headers}{'content-type'}, 'application/openmetrics-text; version=1.0.0; charset=utf-8', 'the form of OpenMetrics, to who wants it';
for my $accept ('text/plain', '*/*', 'application/openmetrics-text;q=0.1, text/plain', 'application/openmetrics-text;q=0, text/plain;q=0.5') {
	my ($r) = scrape(Accept => $accept);
	like $r->{headers}{'content-type'}, qr{^text/plain}, "… and not for Accept: $accept";
}
SKIP: {
	my ($status) = run_program([ 'promtool', '--version' ]);
	skip 'promtool is missing', 2 if $status;
	my ($lint, $out, $err) = run_program([ 'promtool', 'check', 'metrics' ], in => $plain->{body});
	is $lint, 0, 'promtool check metrics (S0-58)' or diag $out, $err;
	is "$out$err", '', '… has nothing to say';
}
SKIP: {
	my ($status) = run_program([ 'python3', '-c', 'import prometheus_client.openmetrics.parser' ]);
	skip 'python3-prometheus-client is missing', 6 if $status;
	for ([ 'openmetrics.parser', $open->{body} ], [ 'parser', $plain->{body} ]) {
		my ($parser, $text) = @$_;
		my ($rc, $out, $err) = run_program([ 'python3', '-c', <<"PY" ], in => $text);
import sys
from prometheus_client.$parser import text_string_to_metric_families as parse
text = sys.stdin.buffer.read().decode('utf-8')
types = set()
n = 0
for family in parse(text):
    assert family.documentation, family.name
    for s in family.samples:
        n += 1
        if s.name == 'jobqd_jobs_finished_total' and s.labels['queue'] == 'other':
            types.add(s.labels['type'])
for t in ('quote" back\\\\slash \\nnewline', '\\U0001F600 \\u202E', '{a="b"} 1', '', 'tab\\t# HELP x', 'x' * 255, 'other'):
    assert t in types, repr(t)
print(n)
PY
		is $rc, 0, "prometheus_client.$parser reads it" or diag $err;
		cmp_ok $out, '>', 300, '… ' . ($out + 0) . ' samples' if $rc == 0;
		pass '… all types as they were enqueued' if $rc == 0;
	}
}

#
# nothing goes back
#
my %before;
sub counters {
	my $v = scrape();
	return { map { $_ => $v->{$_} } grep { /(_total|_count|_sum|_bucket)(\{|$)/ } keys %$v };
}
sub none_went_back {
	my ($what) = @_;
	my $now = counters();
	my @back = grep { !defined $now->{$_} || $now->{$_} < $before{$_} } sort keys %before;
	is_deeply \@back, [], "$what: none of " . keys(%before) . ' counters went back';
	%before = %$now;
}
%before = %{ counters() };
kill 'KILL', $d->pids(qr/^jobqd: worker work/);
wait_for { 2 == (my @w = $d->pids(qr/^jobqd: worker work/)) } 'the workers to be back';
none_went_back('workers killed');
for my $process ('queue work', 'monitor', 'api') {
	my ($pid) = $d->pids(qr/^jobqd: $process\b/);
	kill 'KILL', $pid;
	wait_for { my ($p) = $d->pids(qr/^jobqd: $process\b/); $p && $p != $pid && $http->get('/healthz') } "another $process";
	wait_for { defined value('jobqd_schedule_missed_total{schedule="yearly"}') } 'the gauges to be back';
	none_went_back("$process killed");
}
sub reload {
	my ($text) = @_;
	my $from = $d->log_size;
	$d->configure($text);
	$d->signal('HUP');
	$d->wait_log(qr/: reloaded /, $from);
}
(my $more = $config) =~ s/^(\s+)other: .*/$1other: {handler: null, workers: 3}\n$1new:   {handler: null}/m;
reload($more);
$pg->query("SELECT jobq.enqueue('new', 'first')");
wait_value(finished('new', 'first', 'completed'), 1);
wait_value('jobqd_workers{queue="other",state="idle"}', 3);
none_went_back('a queue changed, another one new');
reload($config);
wait_value('jobqd_workers{queue="new",state="idle"}', 0);
none_went_back('a queue gone');
reload($more);
$pg->query("SELECT jobq.enqueue('new', 'first')");
wait_value(finished('new', 'first', 'completed'), 2);
none_went_back('… and back: it goes on counting');

#
# without the database
#
$pg->stop('immediate');
wait_value('jobqd_database_up', 0);
$v = scrape();
is scalar(grep { /^jobqd_jobs\{/ } keys %$v), 0, 'what is not known is not told';
is $v->{ finished('new', 'first', 'completed') }, 2, '… what was counted is';
$pg->start;
wait_value('jobqd_database_up', 1);
wait_for { defined value('jobqd_schedule_missed_total{schedule="yearly"}') } 'all to be known again';
pass 'and all is back with it';

#
# the processes
#
$v = scrape();
cmp_ok $v->{'process_cpu_seconds_total'}, '>', 0, "CPU seconds of all: $v->{'process_cpu_seconds_total'}";
cmp_ok $v->{'process_resident_memory_bytes'}, '>', 1 << 20, 'resident memory of all (S1-43)';
cmp_ok abs($v->{'process_start_time_seconds'} - (stat "/proc/$d->{pid}")[9]), '<', 60, 'when the master was started (S1-18)';
cmp_ok $v->{'process_open_fds'}, '>', 5, 'descriptors' if $> == 0 || defined $v->{'process_open_fds'};
#
# two nodes: each counts its own, and both know the whole
#
my $port2 = free_port();
my $d2 = Jobqd::Daemon->new(pg => $pg, name => 'two', config => $more =~ s/:$port"/:$port2"/r);
$d2->start;
my $http2 = Http->new("127.0.0.1:$port2");
sub both {
	my ($name) = @_;
	my @values = (value($name));
	{
		local $http = $http2;
		push @values, value($name);
	}
	return @values;
}
my ($waits) = both('jobqd_job_wait_seconds_count{queue="work"}');
my $jobs = 0;
my @counts;
wait_for {
	$pg->query("SELECT jobq.enqueue('work', 'both', '{\"sleep_ms\": 5}') FROM generate_series(1, 40)");
	$jobs += 40;
	@counts = map { $_ // 0 } both(finished('work', 'both', 'completed'));
	$counts[0] && $counts[1];
} 'both to have done some';
wait_for { @counts = both(finished('work', 'both', 'completed')); $counts[0] + $counts[1] == $jobs } 'both to have done all';
pass "$jobs jobs, $counts[0] by one and $counts[1] by the other";
my @waited;
wait_for { @waited = both('jobqd_job_wait_seconds_count{queue="work"}'); $waited[0] - $waits >= $counts[0] && $waited[1] >= $counts[1] } 'the waits of both';
is $waited[0] - $waits + $waited[1], $jobs, 'a wait counts where the job was taken';
wait_for { my @c = both('jobqd_jobs{queue="work",state="completed"}'); defined $c[0] && defined $c[1] && $c[0] == $c[1] && $c[0] >= 300 + $jobs } 'both to know the whole';
pass 'both tell of the whole cluster';
is $d2->stop, 0, 'exit 0';
$v = scrape();
my ($build) = grep { /^jobqd_build_info/ } keys %$v;
like $build, qr/^jobqd_build_info\{version="[\d.]+\S*",node="node"\}$/, 'the version and the node';
is $d->stop, 0, 'exit 0';
done_testing;
