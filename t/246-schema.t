# A queue's schema: jobs whose data is otherwise fail before their handler is
# begun, and their neighbours do not; the API takes none of them.
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
mkdir "$dir/touched";
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers:
  touch: {driver: exec, argv: [touch, "$dir/touched/{{data.name}}"]}
queues:
  work: {handler: touch, workers: 1, schema: {name: string, count: "integer?"}}
  retried: {handler: touch, workers: 1, schema: {name: string}, retry: {attempts: 3, backoff: fixed, base: 10ms, on: {validation: {attempts: 2}}}}
api: {listen: "127.0.0.1:$port", tokens_file: @{[Api::tokens("$dir/tokens", [qw(app producer * app-secret)])]}}
YAML
$d->start;
my @id = map { $pg->query("SELECT jobq.enqueue('work', data => '$_')") } '{"name": "a", "count": 3}', '{"name": 7}', '{}', '{"name": "b", "count": "many"}',
    '{"name": "c", "count": null, "more": {}}';
my $again = $pg->query("SELECT jobq.enqueue('retried')");
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state IN ('completed', 'dead')") == 6 } 'the jobs';
is $pg->query("SELECT string_agg(state, ' ' ORDER BY id) FROM jobq.jobs WHERE queue = 'work'"), 'completed dead dead dead completed', 'those that fit are run (S1-55)';
is_deeply [ sort map { s{.*/}{}r } glob "$dir/touched/*" ], [qw(a c)], '… and no other reaches its handler (S1-55)';
is $pg->query("SELECT string_agg(error_class || ': ' || error, E'\\n' ORDER BY id) FROM jobq.jobs WHERE queue = 'work' AND state = 'dead'"), <<'TEXT' =~ s/\n\z//r, 'their errors say what is wrong';
validation: data.name is of type integer; the queue's schema asks for string
validation: data.name is missing; the queue's schema asks for string
validation: data.count is of type string; the queue's schema asks for integer
TEXT
is $pg->query("SELECT attempt FROM jobq.jobs WHERE id = $again"), 2, 'a policy may say that it is tried again';

# Over HTTP it is told at once.
my $app = Api->new("127.0.0.1:$port", 'app-secret');
my $jobs = $pg->query('SELECT count(*) FROM jobq.job');
for my $case (
	[ '/v1/jobs', '{"queue": "work", "data": {"name": 7}}', 'data', qr/^data\.name is of type integer; the queue's schema asks for string$/ ],
	[ '/v1/jobs', '{"queue": "work"}', 'data', qr/^data\.name is missing/ ],
	[ '/v1/jobs/batch', '{"queue": "work", "jobs": [{"data": {"name": "a"}}, {"data": {"name": "b", "count": [1]}}]}', 'jobs', qr/^job 2: data\.count is of type array/ ],
	[ '/v1/jobs/batch', '{"queue": "work", "jobs": [{}]}', 'jobs', qr/^job 1: data\.name is missing/ ],
	[ '/v1/jobs', '{"queue": "work", "data": []}', 'data', qr/object/ ],
) {
	my $r = $app->post($case->[0], $case->[1]);
	is "$r->{status} $r->{json}{field}", "422 $case->[2]", "POST $case->[0] $case->[1]: 422";
	like $r->{detail}, $case->[3], '… and says why: ' . $r->{detail};
}
is $pg->query('SELECT count(*) FROM jobq.job'), $jobs, 'S4-27 … S4-31: what is not of the type is not enqueued';
is $app->post('/v1/jobs', '{"queue":"work","data":{"name":"x"}}')->{status}, 201, 'what is comes in';
is $app->post('/v1/jobs', "{ \"queue\" : \"work\" ,\n\t\"data\" : { \"na\\u006de\" : \"y\" , \"count\" : 3 } }")->{status}, 201, '… however it is written';
is scalar @{ $app->post('/v1/jobs/batch', { queue => 'work', jobs => [ { data => { name => 'p' } }, { data => { name => 'q', count => undef } } ] })->{json}{ids} }, 2, '… and so do many';
is $d->stop, 0, 'stops with status 0';
done_testing;
