# Workers elsewhere with two nodes, behind a pooler, and without the database.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
Api::tokens("$dir/tokens", [qw(ops operator * ops-secret)]);
my %port = map { $_ => free_port() } qw(a b);
sub config {
	my ($port, %o) = @_;
	return <<"YAML";
retry: {quick: {attempts: 2, backoff: fixed, base: 100ms, jitter: 0%}}
limits: {one: {concurrency: 1}}
queues:
  pull: {workers: 0, lease: 2s, retry: quick}
  single: {workers: 0, limits: [one]}
monitor: {health_file: ""}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens, rate_limit: 100000/s}
YAML
}
my %node = map { $_ => Jobqd::Daemon->new(pg => $pg, name => $_, config => config($port{$_})) } qw(a b);
$_->start for values %node;
my %api = map { $_ => Api->new("127.0.0.1:$port{$_}", 'ops-secret') } qw(a b);
sub enqueue { return $pg->query("SELECT jobq.enqueue('$_[0]')") }
sub lease {
	my ($node, $queue, %o) = @_;
	my $r = $api{$node}->post("/v1/queues/$queue/lease", { wait => '20s', %o });
	return $r->{status} == 200 ? $r->{json}{jobs}[0] : die "lease: $r->{status} $r->{body}\n";
}
sub about { my ($node, $job, $what, %o) = @_; return $api{$node}->post("/v1/jobs/$job->{id}/$what", { token => $job->{token}, %o }) }

my $id = enqueue('pull');
my $job = lease('a', 'pull');
is $pg->query("SELECT node FROM jobq.workers"), 'a', 'a job leased from one node';
is about('b', $job, 'renew')->{status}, 200, '… is renewed by another (S1-73)';
is about('b', $job, 'fail', class => 'network')->{json}{state}, 'retrying', '… and fails there, by the policy';
is lease('b', 'pull')->{attempt}, 2, '… which has its next run';
$pg->query("SELECT jobq.cancel($id)");

# a limit is that of the cluster
enqueue('single') for 1 .. 2;
my $first = lease('a', 'single');
is lease('b', 'single', wait => '500ms'), undef, 'a limit holds for both nodes';
my $waiting = $api{b}{http}->connect;
$waiting->send("POST /v1/queues/single/lease HTTP/1.1\r\nHost: b\r\nAuthorization: Bearer ops-secret\r\nContent-Length: 14\r\n\r\n{\"wait\":\"30s\"}");
$pg->query('SELECT pg_sleep(0.5)');
my $from = time;
is about('a', $first, 'complete')->{status}, 200, '… what one frees';
my $second = $Api::json->decode($waiting->answer->{body})->{jobs}[0];
ok $second, sprintf '… the other gets, after %.2f s', time - $from;
about('b', $second, 'complete');

# a node that is gone
$id = enqueue('pull');
$job = lease('a', 'pull');
$node{a}->vanish;
is about('b', $job, 'renew')->{status}, 200, 'a job of a node that is gone is renewed by the other';
is about('b', $job, 'complete')->{status}, 200, '… and completes';
$id = enqueue('pull');
$job = lease('b', 'pull', lease => '1s');
wait_for { $job = lease('b', 'pull', wait => '2s'); $job && $job->{attempt} == 2 } 'the lost one';
is $job->{id}, $id, 'leases are looked after with one node as well';
about('b', $job, 'complete');

# the database goes away while somebody waits
my $asks = $api{b}{http}->connect;
$asks->send("POST /v1/queues/pull/lease HTTP/1.1\r\nHost: b\r\nAuthorization: Bearer ops-secret\r\nContent-Length: 14\r\n\r\n{\"wait\":\"60s\"}");
$pg->query('SELECT pg_sleep(0.3)');
$pg->stop('immediate');
my $r = $asks->answer;
is "$r->{status} $r->{headers}{'retry-after'}", '503 2', 'who waits is told when the database goes away';
is $api{b}->post('/v1/queues/pull/lease', { wait => '60s' })->{status}, 503, '… and who comes then';
$pg->start;
$id = enqueue('pull');
wait_for { my $l = $api{b}->post('/v1/queues/pull/lease', { wait => '1s' }); $job = $l->{status} == 200 ? $l->{json}{jobs}[0] : undef } 'a job again';
is $job->{id}, $id, 'when it is back there are jobs again';
wait_for { about('b', $job, 'complete')->{status} == 200 } 'it to be completed, as soon as requests have the database again';
pass '… and they complete';
# behind a pooler nobody is notified: the scheduler looks
SKIP: {
	my $url = $pg->pooler(10);
	skip 'pgbouncer is missing: apt-get install pgbouncer', 4 unless $url;
	$node{b}->stop;
	$port{c} = free_port();
	my $c = Jobqd::Daemon->new(pg => $pg, name => 'c', config => config($port{c}) . "database: {url: \"$url\", pooler: transaction}\n");
	$c->start;
	$api{c} = Api->new("127.0.0.1:$port{c}", 'ops-secret');
	my $waits = $api{c}{http}->connect;
	$waits->send("POST /v1/queues/pull/lease HTTP/1.1\r\nHost: c\r\nAuthorization: Bearer ops-secret\r\nContent-Length: 14\r\n\r\n{\"wait\":\"60s\"}");
	$pg->query('SELECT pg_sleep(3)');
	$from = time;
	$id = enqueue('pull');
	$job = $Api::json->decode($waits->answer->{body})->{jobs}[0];
	is $job->{id}, $id, sprintf 'behind a pooler a job comes after %.2f s', time - $from;
	is about('c', $job, 'fail', class => 'network')->{json}{state}, 'retrying', '… and may fail';
	is about('c', lease('c', 'pull'), 'complete')->{status}, 200, '… or complete';
	is $c->stop, 0, 'it stops with status 0';
}
done_testing;
