# The API and its database: no connection while nobody asks, 503 while it is
# away, and what a reload or the end of a connection does to a request (S2-57, S1-45).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Http;
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $port = free_port();
Api::tokens("$dir/tokens", [qw(ops operator * ops)]);
sub config { return <<"YAML" }
handlers: {null: {driver: noop}}
queues: {work: {handler: null, enabled: false}}
log: {file: stderr, level: $_[0]}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens, rate_limit: 10000/s}
YAML
my $d = Jobqd::Daemon->new(pg => $pg, config => config('debug'));
$d->start;
my $api = Api->new("127.0.0.1:$port", 'ops');
my $is_api = "application_name = 'jobqd api'";
sub connections { return $pg->query("SELECT count(*) FROM pg_stat_activity WHERE $is_api") }

is $api->get('/metrics')->{status}, 200, 'metrics';
is connections(), 0, 'no connection while nobody asks for jobs';
my $id = $api->post('/v1/jobs', { queue => 'work' })->{json}{id};
is connections(), 1, 'one when somebody does';
is $pg->query("SELECT actor FROM jobq.audit WHERE target = 'job $id'"), '', 'enqueueing is no act of a person';
$api->post("/v1/jobs/$id/cancel");
is $pg->query("SELECT actor FROM jobq.audit WHERE target = 'job $id'"), 'ops', 'the audit has the name of the token';

# Requests that are slow: others go by other connections, and there are four.
my $session = $pg->session;
$session->query('BEGIN');
$session->query('LOCK TABLE jobq.progress IN ACCESS EXCLUSIVE MODE');
sub begin {
	my ($path) = @_;
	my $c = Http->new("127.0.0.1:$port")->connect;
	$c->send("GET $path HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ops\r\n\r\n");
	return $c;
}
my @slow = map { begin("/v1/jobs/$id") } 1 .. 3;
wait_for { $pg->query("SELECT count(*) FROM pg_stat_activity WHERE $is_api AND wait_event_type = 'Lock'") == 3 } 'three to wait';
is $api->post('/v1/jobs/batch', { queue => 'work', jobs => [{}] })->{status}, 201, 'beside three that wait for a lock another is served';
push @slow, map { begin("/v1/jobs/$id") } 1 .. 9;
wait_for { $pg->query("SELECT count(*) FROM pg_stat_activity WHERE $is_api AND wait_event_type = 'Lock'") == 4 } 'four to wait';
is connections(), 4, 'there are never more than four connections';
is $api->get('/healthz')->{status}, 200, 'and what needs none is served';
$session->query('COMMIT');
is_deeply [map { $_->answer->{status} } @slow], [(200) x 12], 'then all are answered, in turn';

# A connection that ends under a request.
$session->query('BEGIN');
$session->query('LOCK TABLE jobq.progress IN ACCESS EXCLUSIVE MODE');
my $lost = begin("/v1/jobs/$id");
wait_for { $pg->query("SELECT count(*) FROM pg_stat_activity WHERE $is_api AND wait_event_type = 'Lock'") } 'one to wait';
$pg->query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE $is_api AND wait_event_type = 'Lock'");
my $r = $lost->answer;
is $r->{status}, 503, 'its connection is ended: 503';
ok $r->{headers}{'retry-after'}, '… with Retry-After';
$session->query('COMMIT');
$session->close;
my $again = wait_for { my $r = $api->get("/v1/jobs/$id"); $r->{status} == 200 && $r } 'the next one to be served';
is $again->{json}{id}, $id, 'and the next one is served';

# A reload lets what is at work be done.
$session = $pg->session;
$session->query('BEGIN');
$session->query('LOCK TABLE jobq.progress IN ACCESS EXCLUSIVE MODE');
my $over = begin("/v1/jobs/$id");
wait_for { $pg->query("SELECT count(*) FROM pg_stat_activity WHERE $is_api AND wait_event_type = 'Lock'") } 'one to wait';
my ($old) = $d->pids(qr/^jobqd: api$/);
$d->configure(config('info'));
$d->signal('HUP');
wait_for { my @p = grep { $_ != $old } $d->pids(qr/^jobqd: api$/); scalar @p } 'a new process';
wait_for { my $r = $api->post('/v1/jobs/batch', { queue => 'work', jobs => [{}] }); $r && $r->{status} == 201 } 'the new one to serve';
$session->query('COMMIT');
is $over->answer->{status}, 200, 'a request that was at work over a reload is answered by the old process';
$session->close;
wait_for { !alive($old) } 'the old one to leave';

# The database goes, and comes back.
$pg->stop;
$r = wait_for { my $r = $api->get("/v1/jobs/$id"); $r->{status} == 503 && $r } 'the loss';
is $r->{headers}{'content-type'}, 'application/problem+json', 'the database is away: 503, a problem document: ' . $r->{detail};
ok $r->{headers}{'retry-after'}, '… with Retry-After';
is $api->get($_)->{status}, 200, "$_ is served" for qw(/healthz /metrics /v1/openapi.json /v1/session);
is $api->get('/readyz')->{status}, 503, '/readyz tells it';
my $from = time;
my %status;
$status{ $api->get("/v1/jobs/$id")->{status} }++ for 1 .. 50;
is_deeply \%status, { 503 => 50 }, sprintf 'fifty more are told at once: %.0f ms each', 20 * (time - $from);
$pg->start;
wait_for { $api->get("/v1/jobs/$id")->{status} == 200 } 'it to be back';
pass 'it is back';
done_testing;
