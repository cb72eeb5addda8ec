# The same request again: Idempotency-Key (S1-45).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Http;
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $port = free_port();
Api::tokens("$dir/tokens", [qw(app producer * app)], [qw(app producer * app-new)], [qw(other producer * other)], [qw(ops operator * ops)]);
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers: {null: {driver: noop}}
queues: {work: {handler: null, enabled: false}}
workflows: {flow: {steps: {one: {queue: work}}}}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens, rate_limit: 10000/s}
YAML
$d->start;
my ($app, $new, $other, $ops) = map { Api->new("127.0.0.1:$port", $_) } qw(app app-new other ops);
sub count { return $pg->query('SELECT count(*) FROM jobq.job') }
sub put { my ($api, $key, $body, $path) = @_; return $api->post($path || '/v1/jobs', $body, headers => { 'Idempotency-Key' => $key }) }

my $job = { queue => 'work', type => 't', data => { "it's" => '$1 %1$L %s \\' }, tags => ['a,b', 'c"d', "e'f"], priority => 2 };
my $first = put($app, 'k1', $job);
is $first->{status}, 201, 'the first time';
my $again = put($app, 'k1', $job);
is_deeply [@$again{qw(status body)}, $again->{headers}{location}], [@$first{qw(status body)}, $first->{headers}{location}], 'again: the same answer';
is count(), 1, '… and one job (S1-57)';
my $j = $app->get("/v1/jobs/$first->{json}{id}")->{json};
is_deeply [@$j{qw(type data priority tags)}], [@$job{qw(type data priority tags)}], '… which is as it was sent';
is put($new, 'k1', $job)->{json}{id}, $first->{json}{id}, 'another token of that name: the same';
isnt put($other, 'k1', $job)->{json}{id}, $first->{json}{id}, 'somebody else: a job of its own';
my $r = put($app, 'k1', { %$job, priority => 3 });
is "$r->{status} $r->{json}{field}", '422 Idempotency-Key', 'another body: 422';
$r = put($app, 'k1', { queue => 'work', jobs => [{}] }, '/v1/jobs/batch');
is $r->{status}, 422, '… another path, too';
is put($app, 'x' x 256, $job)->{status}, 422, 'a key of 256 bytes: 422';
is put($app, '', $job)->{status}, 422, 'an empty one: 422';
is count(), 2, 'none of these made a job';

$r = put($app, 'bad', { queue => 'work', priority => 1, after => [12345] });
is $r->{status}, 422, 'one that is refused';
is put($app, 'bad', { queue => 'work', priority => 1 })->{status}, 201, '… is not kept: mended, it is done';

my $batch = { queue => 'work', jobs => [map { { type => "b$_" } } 1 .. 50] };
my $n = count();
is_deeply put($app, 'b', $batch, '/v1/jobs/batch')->{json}, put($app, 'b', $batch, '/v1/jobs/batch')->{json}, 'a batch';
is count() - $n, 50, '… once';
is_deeply put($app, 'w', {}, '/v1/workflows/flow')->{json}, put($app, 'w', {}, '/v1/workflows/flow')->{json}, 'a workflow';
is $pg->query('SELECT count(*) FROM jobq.workflow_run'), 1, '… once';

# Many at once.
$n = count();
sub begin {
	my ($key) = @_;
	my $c = Http->new("127.0.0.1:$port")->connect;
	my $body = '{"queue":"work"}';
	$c->send("POST /v1/jobs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer app\r\nIdempotency-Key: $key\r\n"
	    . 'Content-Length: ' . length($body) . "\r\n\r\n$body");
	return $c;
}
my @racers = map { begin('race') } 1 .. 20;
my @answers = map { my $r = $_->answer; "$r->{status} " . ($r->{body} =~ /"id" ?: ?(\d+)/ ? $1 : '') } @racers;
my %made = map { $_ => 1 } grep { /^201/ } @answers;
is count() - $n, 1, 'twenty at once make one job';
is scalar(keys %made), 1, '… which all that were answered 201 have';
is scalar(grep { !/^(?:201|409) / } @answers), 0, '… the others were told 409: ' . scalar(grep { /^409/ } @answers);

# While the first is under way.
my $session = $pg->session;
$session->query('BEGIN');
$session->query('LOCK TABLE jobq.request IN EXCLUSIVE MODE');
my $slow = begin('slow');
wait_for { $pg->query("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'jobqd api'") } 'the first to wait';
$r = put($app, 'slow', { queue => 'work' });
is $r->{status}, 409, 'while the first is under way: 409';
$session->query('COMMIT');
is $slow->answer->{status}, 201, 'the first is done';
is put($app, 'slow', { queue => 'work' })->{status}, 201, '… then the same answer';

# After a day.
$pg->query("UPDATE jobq.request SET at = at - interval '25 hours' WHERE key = 'k1'");
isnt put($app, 'k1', $job)->{json}{id}, $first->{json}{id}, 'after a day the key is a new one';
$pg->query("UPDATE jobq.request SET at = at - interval '25 hours' WHERE key = 'k1'");
wait_for { !$pg->query("SELECT count(*) FROM jobq.request WHERE key = 'k1'") } 'what is older to be removed';
pass 'and what is older goes by itself';
done_testing;
