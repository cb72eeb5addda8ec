# What jobqd sends all the time is parsed and planned once a connection, and
# again when the server has come to see it otherwise.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new(settings => { log_min_duration_statement => 0, log_line_prefix => '%p:' });
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
handlers: {null: {driver: noop}}
monitor: {interval: 1h, health_file: ""}
queues:
  work: {handler: null, workers: 1}
YAML
$d->start;

sub run {
	my ($n) = @_;
	for (1 .. $n) {
		my $id = $pg->query(q{SELECT jobq.enqueue('work')});
		wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") eq 'completed' } 'a job';
	}
}

sub pid { return $pg->query(qq{SELECT pid FROM pg_stat_activity WHERE application_name = '$_[0]'}) }

# How often a session has done so with the statements that call a function.
sub count {
	my ($what, $pid, $function) = @_;
	my @lines = slurp("$pg->{dir}/postgres.log") =~ /^$pid:LOG:  duration: [\d.]+ ms  $what (\S+): [^\n]*\b$function\(/mg;
	return wantarray ? @lines : scalar @lines;
}

my $leader = pid('jobqd queue work');
run(10);
for my $function (qw(claim finish_ok)) {
	cmp_ok scalar count('execute', $leader, $function), '>=', 10, "$function() is called for each job";
	is count('parse', $leader, $function), 1, '… and parsed once';
	unlike join(' ', count('execute', $leader, $function)), qr/unnamed/, '… before its first call';
}
my $scheduler = pid('jobqd scheduler');
wait_for { count('execute', $scheduler, 'tick') >= 3 } 'three ticks';
is count('parse', $scheduler, 'tick'), 1, 'so is tick()';
is count('parse', pid('jobqd monitor'), 'node_beat'), 1, 'and the beat of a node';

$pg->query(<<'SQL');
DO $$ declare text text := replace(pg_get_functiondef('jobq.tick'::regproc), 'moved integer', 'moved bigint');
begin
	drop function jobq.tick;
	execute text;
end $$
SQL
my $ticks = count('execute', $scheduler, 'tick');
wait_for {
	$pg->query("NOTIFY jobq, '*schedules'");
	count('execute', $scheduler, 'tick') > $ticks + 1;
} 'ticks with a result of another type';
is scalar(() = slurp("$pg->{dir}/postgres.log") =~ /^$scheduler:ERROR:  cached plan must not change result type/mg), 1,
    'a statement whose result has changed fails once';
is count('parse', $scheduler, 'tick'), 2, '… and is prepared anew';

$pg->query("SELECT pg_terminate_backend($leader)");
wait_for { my $p = pid('jobqd queue work'); $p && $p != $leader && ($leader = $p) } 'another connection';
run(3);
is count('parse', $leader, 'claim'), 1, 'a new connection has its own';

$d->stop;
done_testing;
