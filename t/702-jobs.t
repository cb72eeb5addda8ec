# Jobs over HTTP: enqueueing and looking (S3-24, S3-25).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $port = free_port();
Api::tokens("$dir/tokens", [qw(ops admin * ops-secret)], [qw(app producer * app-secret)], [qw(eye viewer * eye-secret)]);
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers: {null: {driver: noop}}
queues: {work: {handler: null, workers: 2}, later: {handler: null, workers: 1}}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens, rate_limit: 10000/s}
YAML
$d->start;
my ($ops, $app, $eye) = map { Api->new("127.0.0.1:$port", $_) } qw(ops-secret app-secret eye-secret);
my $nobody = Api->new("127.0.0.1:$port");

my $r = $app->post('/v1/jobs', { queue => 'later', type => 't', data => { a => 1 }, delay => '1h', priority => 3,
	tags => ['x', 'y"{'], tenant => 'acme' });
is $r->{status}, 201, 'a job is enqueued';
is $r->{json}{state}, 'scheduled', '… and scheduled';
my $id = $r->{json}{id};
is $r->{headers}{location}, "/v1/jobs/$id", '… with its place';
$r = $eye->get("/v1/jobs/$id");
is $r->{status}, 200, 'GET of it';
is $r->{json}{id}, $id, '… its id';
is_deeply $r->{json}{data}, { a => 1 }, '… its data';
is_deeply [@{$r->{json}}{qw(queue type state priority tenant)}, @{$r->{json}{tags}}], [qw(later t scheduled 3 acme x y"{)], '… all that was said';
like $r->{json}{why}, qr/\w/, '… and why it does not run: ' . $r->{json}{why};
is $eye->get('/v1/jobs/999999')->{status}, 404, 'one that is not there: 404';
is $eye->get('/v1/jobs/abc')->{status}, 404, 'an id that is none: 404';
is $nobody->get("/v1/jobs/$id")->{status}, 401, 'without a token: 401';
is $eye->post('/v1/jobs', { queue => 'work' })->{status}, 403, 'a viewer may not enqueue: 403';
$r = $app->post('/v1/jobs', { queue => 'work', dealy => 1 });
is "$r->{status} $r->{json}{field}", '422 dealy', 'an unknown member: 422';
like $r->{json}{detail}, qr/did you mean "delay"/, '… with the nearest: ' . $r->{json}{detail};
$r = $app->post('/v1/jobs', { queue => 'nowhere' });
is "$r->{status} $r->{json}{field}", '422 queue', 'an unknown queue: ' . $r->{json}{detail};
is $eye->get('/v1/openapi.json')->{json}{openapi}, '3.1.0', 'openapi.json';
done_testing;
