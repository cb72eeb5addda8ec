# A queue's schema: jobs whose data is otherwise fail before their handler is
# begun, and their neighbours do not.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers:
  touch: {driver: exec, argv: [touch, "$dir/{{data.name}}"]}
queues:
  work: {handler: touch, workers: 1, schema: {name: string, count: "integer?"}}
  retried: {handler: touch, workers: 1, schema: {name: string}, retry: {attempts: 3, backoff: fixed, base: 10ms, on: {validation: {attempts: 2}}}}
YAML
$d->start;
my @id = map { $pg->query("SELECT jobq.enqueue('work', data => '$_')") } '{"name": "a", "count": 3}', '{"name": 7}', '{}', '{"name": "b", "count": "many"}',
    '{"name": "c", "count": null, "more": {}}';
my $again = $pg->query("SELECT jobq.enqueue('retried')");
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state IN ('completed', 'dead')") == 6 } 'the jobs';
is $pg->query("SELECT string_agg(state, ' ' ORDER BY id) FROM jobq.jobs WHERE queue = 'work'"), 'completed dead dead dead completed', 'those that fit are run (S1-55)';
is_deeply [ sort map { s{.*/}{}r } glob "$dir/*" ], [qw(a c)], '… and no other reaches its handler (S1-55)';
is $pg->query("SELECT string_agg(error_class || ': ' || error, E'\\n' ORDER BY id) FROM jobq.jobs WHERE queue = 'work' AND state = 'dead'"), <<'TEXT' =~ s/\n\z//r, 'their errors say what is wrong';
validation: data.name is of type integer; the queue's schema asks for string
validation: data.name is missing; the queue's schema asks for string
validation: data.count is of type string; the queue's schema asks for integer
TEXT
is $pg->query("SELECT attempt FROM jobq.jobs WHERE id = $again"), 2, 'a policy may say that it is tried again';
is $d->stop, 0, 'stops with status 0';
done_testing;
