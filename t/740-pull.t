# Workers elsewhere fetch jobs over HTTP and have the promises that local ones
# have: leases, fences, retries by the queue's policy, cancels, limits.
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
my $port = free_port();
Api::tokens("$dir/tokens", [qw(ops operator * ops-secret)], [qw(mars operator * mars-secret)],
    [qw(app producer * app-secret)], [qw(acme operator acme acme-secret)]);
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
retry:
  quick: {attempts: 3, backoff: fixed, base: 300ms, jitter: 0%, on: {auth: {attempts: 1}, rate_limit: {respect_retry_after: true}}}
limits: {one: {concurrency: 1}, slow: {min_gap: 200ms}}
handlers: {null: {driver: noop}}
queues:
  pull: {workers: 0, lease: 3s, retry: quick, timeout: 20s}
  fast: {workers: 0, lease: 30s, retry: quick, timeout: 1s, cancel: {grace: 1s}}
  keyed: {workers: 0, concurrency_key: data.k, retry: quick}
  single: {workers: 0, limits: [one]}
  paced: {workers: 0, limits: [slow]}
  fragile: {workers: 0, retry: quick, breaker: {failures: 50%, of: 4, open: 1s}}
  dated: {workers: 0, expire: 1s}
  shaped: {workers: 0, schema: {to: string}}
  both: {handler: null, workers: 1, retry: quick}
monitor: {health_file: "", interval: 5s}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens, rate_limit: 100000/s}
YAML
$d->start;
my ($ops, $mars, $app, $acme) = map { Api->new("127.0.0.1:$port", $_) } qw(ops-secret mars-secret app-secret acme-secret);
sub enqueue { my ($queue, $data) = @_; return $pg->query("SELECT jobq.enqueue('$queue', 't', '" . ($data || '{}') . "')") }
sub state_of { return $pg->query("SELECT state FROM jobq.jobs WHERE id = $_[0]") }
sub plain { my $text = $_[0]{json}{detail}; utf8::encode($text); return $text }
# One job of a queue, or undef.
sub lease {
	my ($queue, %o) = @_;
	my $r = $ops->post("/v1/queues/$queue/lease", { wait => '20s', %o });
	return $r->{status} == 200 ? $r->{json}{jobs}[0] : die "lease: $r->{status} $r->{body}\n";
}
sub about { my ($job, $what, %o) = @_; return $ops->post("/v1/jobs/$job->{id}/$what", { token => $job->{token}, %o }) }

#
# who may, and what is refused
#
ok !$d->pids(qr/^jobqd: queue pull/), 'a queue with workers: 0 has no leader';
is $app->post('/v1/queues/pull/lease', {})->{status}, 403, 'a producer may not lease';
is $acme->post('/v1/queues/pull/lease', {})->{status}, 403, 'nor may a token of one tenant';
is $ops->post('/v1/queues/nowhere/lease', {})->{status}, 404, 'an unknown queue';
for ([{ max => 0 }, 'max'], [{ max => 101 }, 'max'], [{ wait => '2m' }, 'wait'], [{ wait => 'long' }, 'wait'], [{ lease => '10ms' }, 'lease'], [{ wiat => 1 }, 'wiat']) {
	my $r = $ops->post('/v1/queues/pull/lease', $_->[0]);
	is "$r->{status} $r->{json}{field}", "422 $_->[1]", 'refused: ' . plain($r);
}
my $r = $ops->post('/v1/queues/pull/lease', { max => 5 });
is "$r->{status} " . @{ $r->{json}{jobs} }, '200 0', 'nothing is there, and nobody waits';

#
# the life of a job
#
my $id = enqueue('pull', '{"a": [1, "é"]}');
my $job = lease('pull');
is $job->{id}, $id, 'a job is leased';
is_deeply [@$job{qw(type attempt max_attempts tenant)}, $job->{data}], ['t', 1, 3, undef, { a => [1, "\x{e9}"] }], '… with all about it';
like $job->{deadline}, qr/^\d{4}-\d\d-\d\dT/, '… and its deadline';
is state_of($id), 'running', '… and runs';
is $pg->query("SELECT node || ' ' || worker || ' ' || job_id FROM jobq.workers WHERE queue = 'pull'"), "$d->{name} ops $id", 'the view workers has it by its token';
is $pg->query("SELECT worker FROM jobq.jobs WHERE id = $id"), 'ops', '… and so has jobs';
like $pg->query("SELECT jobq.why($id)"), qr/with the worker ops/, 'why: ' . $pg->query("SELECT jobq.why($id)");
$r = about($job, 'renew');
is "$r->{status} $r->{json}{cancelled}", '200 0', 'it is renewed';
is about($job, 'renew', lease => '2h')->{status}, 422, '… but not for two hours';
is about($job, 'progress', pct => 40, note => 'almost')->{status}, 200, 'progress';
is $pg->query("SELECT progress || progress_note FROM jobq.jobs WHERE id = $id"), '40almost', '… is kept';
is about($job, 'log', text => "line\n")->{status}, 200, 'a line of log';
is about($job, 'log', text => 'x' x 65536)->{status}, 200, '… and very many';
is $pg->query("SELECT sum(octet_length(text)) FROM jobq.output WHERE job = $id"), 65536, '… of which the last 64 KiB stay';
for (['1.2.3', 409], ['x', 422], ['999999999999999999999.1.1', 422], [undef, 422]) {
	is $ops->post("/v1/jobs/$id/complete", { token => $_->[0] })->{status}, $_->[1], 'refused: the token ' . ($_->[0] // 'null');
}
is $ops->post('/v1/jobs/99999/complete', { token => '1.2.3' })->{status}, 404, 'a job that is not there';
is about($job, 'complete', result => { big => 'x' x 1048576 })->{status}, 413, 'a result that is too large';
$r = about($job, 'complete', result => { ok => 1 });
is "$r->{status} $r->{json}{state}", '200 completed', 'it completes';
is $pg->query("SELECT state || result::text FROM jobq.jobs WHERE id = $id"), 'completed{"ok": 1}', '… with its result';
$r = about($job, 'complete');
is $r->{status}, 409, '… once: ' . plain($r);
is about($job, 'renew')->{status}, 409, '… and is not renewed any more';
is $pg->query("SELECT count(*) FROM jobq.pull"), 0, 'nothing is left of the lease';

#
# failures
#
$id = enqueue('pull');
$job = lease('pull');
my $from = time;
$r = about($job, 'fail', class => 'network', message => 'no route');
is "$r->{status} $r->{json}{state}", '200 retrying', 'a job that failed is retried';
$job = lease('pull');
is "$job->{id} $job->{attempt}", "$id 2", '… by its policy';
cmp_ok time - $from, '>=', 0.3, sprintf '… after its back-off of 0.3 s: %.2f s', time - $from;
$r = about($job, 'fail', class => 'rate_limit', message => 'busy', retry_after => 1);
$from = time;
$job = lease('pull');
is $job->{attempt}, 3, 'a third time';
cmp_ok time - $from, '>=', 0.9, sprintf '… and not before it was asked to: %.2f s', time - $from;
$r = about($job, 'fail');
is $r->{json}{state}, 'dead', '… then it is a dead letter';
is $pg->query("SELECT string_agg(class || ':' || error, ' ' ORDER BY attempt) FROM jobq.attempts WHERE job_id = $id"), 'network:no route rate_limit:busy error:the worker gave no reason', 'the attempts have what was said';
enqueue('pull');
is about(lease('pull'), 'fail', class => 'auth')->{json}{state}, 'dead', 'a class has its own rule';
is about({ id => $id, token => '1.1.1' }, 'fail')->{status}, 409, 'a wrong token fails nothing';
is about($job, 'fail', class => 'lost')->{status}, 422, 'nobody fails as lost';

#
# cancel, release, late ends
#
$id = enqueue('pull');
$job = lease('pull');
$pg->query("SELECT jobq.cancel($id)");
$r = about($job, 'renew');
is "$r->{json}{cancelled} $r->{json}{reason}", '1 cancelled', 'renewing tells that it is to stop';
is about($job, 'fail', message => 'stopped')->{json}{state}, 'cancelled', '… and then it is cancelled';
$id = enqueue('pull');
$job = lease('pull');
$pg->query("SELECT jobq.cancel($id)");
wait_for { about($job, 'renew'); state_of($id) eq 'cancelled' } 'the lease of one that does not listen';
pass 'one that goes on renewing is cancelled when its lease is over';
$id = enqueue('pull');
$job = lease('pull');
is about($job, 'release')->{status}, 200, 'a job is handed back';
is lease('pull')->{attempt}, 1, '… and runs again under the same number';
is about($job, 'complete')->{status}, 409, 'the token from before is worth nothing';
$job = undef;
wait_for { $job = lease('pull', wait => '5s') } 'the job whose lease ran out';
is "$job->{id} $job->{attempt}", "$id 2", 'a lease that is not renewed is lost, and the job runs again';
is $pg->query("SELECT outcome || ' ' || class || ': ' || error FROM jobq.attempts WHERE job_id = $id"), 'lost lost: the worker ops did not renew its lease', '… uncharged';
is about($job, 'complete')->{status}, 200, '… to its end';
$id = enqueue('fast');
$job = lease('fast');
wait_for { about($job, 'renew'); $pg->query("SELECT count(*) FROM jobq.attempts WHERE job_id = $id") } 'the time-out';
is $pg->query("SELECT outcome || ' ' || class FROM jobq.attempts WHERE job_id = $id"), 'failed timeout', 'who renews for longer than the time-out is timed out, by the policy';
is about($job, 'complete')->{status}, 409, '… and its late end is refused';
$pg->query("SELECT jobq.cancel($id)");
$pg->query('UPDATE jobq.queue SET expire_ms = 1');
$id = enqueue('dated');
$pg->query('SELECT pg_sleep(0.1)');
is lease('dated', wait => 0), undef, 'a job that was not started in its time is given to nobody';
is state_of($id), 'dead', '… and dies';
$pg->query('UPDATE jobq.queue SET expire_ms = 0');
# the handler's own transaction
my $by_sql = $id = enqueue('pull');
$job = lease('pull');
is $pg->query("SELECT jobq.complete($id, '$job->{token}', '{}')"), 't', 'SQL may complete it as well';
is about($job, 'renew')->{status}, 409, '… and then it is done';

#
# pause, limits, keys, breakers
#
$pg->query("SELECT jobq.pause('pull')");
$id = enqueue('pull');
is lease('pull', wait => '300ms'), undef, 'a paused queue gives none';
$pg->query("SELECT jobq.resume('pull')");
is about(lease('pull'), 'complete')->{status}, 200, '… and does so again when it is resumed';
enqueue('single') for 1 .. 3;
$r = $ops->post('/v1/queues/single/lease', { max => 3 });
is scalar @{ $r->{json}{jobs} }, 1, 'a concurrency of 1 gives one job';
is lease('single', wait => '200ms'), undef, '… and no other meanwhile';
about($r->{json}{jobs}[0], 'complete');
$job = lease('single');
ok $job, '… but then';
about($job, 'fail', class => 'validation');
$job = lease('single');
ok $job, '… also when one failed';
about($job, 'complete');
my %key = map { $_ => enqueue('keyed', qq({"k": "$_"})) } qw(a b);
my $a2 = enqueue('keyed', '{"k": "a"}');
$r = $ops->post('/v1/queues/keyed/lease', { max => 3 });
is join(' ', map { $_->{id} } @{ $r->{json}{jobs} }), "$key{a} $key{b}", 'one job of a key at a time';
about($r->{json}{jobs}[0], 'complete');
is lease('keyed')->{id}, $a2, '… the next when it is done';
enqueue('paced') for 1 .. 4;
$from = time;
my @at = map { my $j = lease('paced', max => 4); my $t = time; about($j, 'complete'); $t } 1 .. 4;
my ($least) = sort { $a <=> $b } map { $at[$_] - $at[$_ - 1] } 1 .. 3;
cmp_ok $at[3] - $at[0], '>=', 0.55, sprintf 'min_gap: four jobs start over %.2f s, at least %.2f s apart', $at[3] - $at[0], $least;
enqueue('fragile') for 1 .. 6;
for (1 .. 4) { about(lease('fragile'), 'fail', class => 'network', message => 'down') }
is $pg->query("SELECT state FROM jobq.breakers WHERE queue = 'fragile'"), 'open', 'failures open the circuit breaker';
$from = time;
$job = lease('fragile', max => 5);
ok $job, sprintf 'after %.2f s there is a probe', time - $from;
is lease('fragile', wait => '300ms'), undef, '… one';
about($job, 'complete');
is $pg->query("SELECT state FROM jobq.breakers WHERE queue = 'fragile'"), 'closed', '… that closes it';

#
# beside local workers
#
enqueue('both', '{"sleep_ms": 400}') for 1 .. 12;
my $mine = 0;
while (my $j = lease('both', wait => '100ms')) { $mine += about($j, 'complete')->{status} == 200 }
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'both' AND state = 'completed'") == 12 } 'all of both';
cmp_ok $mine, '>', 0, "a queue has a worker here and one elsewhere, who does $mine of 12";

#
# what /metrics tells
#
my $metrics = $ops->get('/metrics')->{body};
my %ends = map { $_ => $metrics =~ /jobqd_jobs_finished_total\{queue="pull",type="t",outcome="$_"\} (\d+)/ ? $1 : 0 } qw(completed failed dead cancelled lost);
is_deeply \%ends, { map { $_ => $pg->query("SELECT count(*) FROM jobq.attempts WHERE queue = 'pull' AND outcome = '$_' AND worker IS NULL"
    . ($_ eq 'completed' ? " AND job_id <> $by_sql" : '')) } keys %ends }, 'the ends of attempts count in /metrics: ' . join ' ', map { "$_ $ends{$_}" } sort keys %ends;
like $metrics, qr/jobqd_job_run_seconds_count\{queue="pull"\} @{[$ends{completed} + $ends{failed} + $ends{dead}]}\n/, '… and how long they ran';

#
# waiting costs nothing
#
my @waiting = map { Api->new("127.0.0.1:$port", 'ops-secret')->{http}->connect } 1 .. 5;
my $ask = "POST /v1/queues/pull/lease HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ops-secret\r\nContent-Length: 14\r\n\r\n{\"wait\":\"60s\"}";
my $ends_of_leases = do { my $n = () = $d->log =~ m{path=/v1/queues/pull/lease}g; sub { $n + 1 } };
$_->send($ask) for @waiting;
# When the last statement for those who wait began, and whether it has ended.
my $last = sub { $pg->query("SELECT state || ' ' || query_start FROM pg_stat_activity WHERE application_name = 'jobqd api pull'") };
my $still = wait_for {
	my $before = $last->();
	$pg->query('SELECT pg_sleep(5)');
	my $now = $last->();
	$before eq $now && $now =~ /^idle / ? $now : undef;
} 'quiet';
ok $still, 'five clients that wait cost not one statement in five seconds';
$from = time;
$id = enqueue('pull');
my @ready;
wait_for { @ready = grep { my $c = $_; my $bits = ''; vec($bits, fileno($c->{socket}), 1) = 1; select($bits, undef, undef, 0) } @waiting } 'an answer';
is scalar @ready, 1, sprintf 'a job wakes one of them, after %.3f s', time - $from;
$r = $ready[0]->answer;
$job = $Api::json->decode($r->{body})->{jobs}[0];
is $job->{id}, $id, '… and is what it gets';
about($job, 'complete');

# clients that do not wait for their jobs
$waiting[$_]->close for grep { $waiting[$_] != $ready[0] } 0 .. $#waiting;
wait_for { (() = $d->log =~ m{path=/v1/queues/pull/lease}g) >= $ends_of_leases->() + 4 } 'the four others to be gone';
my @new = map { enqueue('pull') } 1 .. 4;
my %got = map { $_->{id} => $_->{attempt} } map { lease('pull') } @new;
is_deeply \%got, { map { $_ => 1 } @new }, 'nothing is leased for clients that went away while they waited';
unlike $d->log, qr/jobs handed back/, '… so that nothing had to be handed back';

# a job that is not as the schema asks reaches nobody
my @shaped = map { enqueue('shaped', $_) } '{"to": 1}', '{"to": "x"}', '{}';
is lease('shaped')->{id}, $shaped[1], 'what the schema refuses is not handed out';
wait_for { state_of($shaped[0]) eq 'dead' } 'the refused one to be dead';
is $pg->query("SELECT error_class || ': ' || error FROM jobq.jobs WHERE id = $shaped[0]"),
    "validation: data.to is of type integer; the queue's schema asks for string", '… and says why it is dead';

is $ops->get('/readyz')->{json}{healthy}, JSON::PP::true, 'a node is healthy though some of its queues have no workers here';
unlike $d->log, qr/workers: none/, '… and complains of none';
done_testing;
