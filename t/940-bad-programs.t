# Programs that answer nonsense, flood their output, close their pipes, never
# read, leave daemons behind or will not stop: only that attempt fails, its
# neighbours and the worker pool go on. S1-49 S1-56 S1-57
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More;

my %program = (
	good     => [ 'echo "{\"fine\": true}"', 'completed', '' ],
	nonsense => [ 'echo "{\"fine\": tru"; echo \'{"progress": 7}\' >&3; echo garbage >&3', 'completed', '' ],
	binary   => [ 'head -c 5000 /dev/urandom; exit 3', 'dead', 'error' ],
	flood    => [ 'head -c 30000000 /dev/zero | tr "\\\\0" x; exit 1', 'dead', 'error' ],
	closed   => [ 'exec <&- >&- 2>&- 3>&-; exit 75', 'dead', 'network' ],
	deaf     => [ 'exec <&-; exit 65', 'dead', 'validation' ],
	killed   => [ 'kill -9 $$', 'dead', 'crash' ],
	stubborn => [ 'trap "" TERM; while :; do sleep 1; done', 'dead', 'timeout' ],
	daemon   => [ '(setsid sh -c "trap \"\" TERM; sleep 777" >/dev/null 2>&1 &); exit 0', 'completed', '' ],
	login    => [ 'exit 77', 'dead', 'auth' ],
	missing  => [ undef, 'dead', 'error' ],
	# an endless progress stream, and one line that never ends
	chatter  => [ 'head -c 3000000 /dev/zero | tr "\\\\0" y >&3; i=0; while test $i -lt 2000; do echo "{\"progress\":{\"pct\":$i,\"note\":\"n\"}}" >&3; i=$((i+1)); done', 'completed', '' ],
);
plan tests => 3 * keys(%program) + 5;

my $json = JSON::PP->new;
my ($handlers, $types) = ('', '');
for my $name (sort keys %program) {
	my $script = $program{$name}[0];
	my $argv = defined $script ? $json->encode([ 'sh', '-c', $script ]) : '[/nonexistent/program]';
	$handlers .= "  $name: {driver: exec, argv: $argv}\n";
	$types .= "      $name: $name\n";
}
my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
retry: {once: {attempts: 1, max_crashes: 1}}
handlers:
$handlers
queues:
  bad:
    retry: once
    workers: 2
    timeout: 2s
    cancel: {signal: TERM, grace: 500ms}
    max_payload: 2MiB
    types:
$types
YAML
$d->start;
my $big = '"' . ('z' x 1_000_000) . '"';
my %id;
for my $name (sort keys %program) {
	$id{$name} = $pg->query("SELECT jobq.enqueue('bad', '$name', '{\"filler\": $big}')");
}
my $last = $pg->query("SELECT jobq.enqueue('bad', 'good')");
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state IN ('completed', 'dead')") == 1 + keys %program } 'all to end';

for my $name (sort keys %program) {
	my ($state, $class, $error) = split /\|/, $pg->query("SELECT state, coalesce(error_class, ''), coalesce(error, '') FROM jobq.jobs WHERE id = $id{$name}"), 3;
	is $state, $program{$name}[1], "$name ends $state";
	is $class, $program{$name}[2], "$name: class (S1-49, S1-56)";
	if ($program{$name}[1] eq 'dead') {
		isnt $error, '', "$name: its error says: " . substr($error, 0, 100);
	} else {
		is $error, '', "$name: no error";
	}
}
is $pg->query("SELECT result ->> 'fine' FROM jobq.jobs WHERE id = $id{good}"), 'true', "a program's last line is the result";
is $pg->query("SELECT state FROM jobq.jobs WHERE id = $last"), 'completed', 'a neighbour behind all of them completed (S1-56)';
is_deeply [ grep { process_title($_) =~ /sleep 777|while :/ } map { m{/proc/(\d+)} } glob '/proc/[0-9]*' ], [],
    'no daemon and no stubborn program is left (S1-57)';
wait_for { $d->pids(qr{^jobqd: worker bad/}) == 2 } 'the pool at its size';
my ($status, $out) = $d->ctl('job', 'log', $id{flood});
is $status, 0, 'the flooding program has a log';
cmp_ok length($out), '<=', 160_000, '… of bounded length: ' . length($out);
