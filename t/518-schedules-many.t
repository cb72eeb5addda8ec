# A thousand schedules: how late they are fired, counted to the commit by the
# database's clock, and what that costs the scheduler and the database.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use POSIX ();
use Test::More;

my $pg = Jobqd::Postgres->new(settings => { track_commit_timestamp => 'on', shared_preload_libraries => 'pg_stat_statements' });
$pg->query('CREATE EXTENSION pg_stat_statements');
sub spec {
	my ($i) = @_;
	return $i % 20 == 0 ? 'cron: "*/' . ($i % 3 + 2) . ' * * * * *"' : 'every: ' . ($i % 10 + 1) . 's';
}
my $config = "handlers: {null: {driver: noop}}\nqueues: {work: {handler: null, workers: 2, concurrency: 100}}\nlog: {file: stderr, level: info}\nschedules:\n"
    . join '', map { "  f$_: {" . spec($_) . ", queue: work, type: t}\n" } 1 .. 500;
my $d = Jobqd::Daemon->new(pg => $pg, config => $config);
$d->start;
$pg->query(join ';', map { "SELECT jobq.schedule_put('s$_', '{" . (spec($_) =~ s/^(\w+): "?([^"]*)"?$/"$1": "$2"/r) . ", \"queue\": \"work\", \"type\": \"t\"}')" } 1 .. 500);
wait_for { $pg->query('SELECT count(*) FROM jobq.schedules WHERE fired > 2') == 1000 } 'each of a thousand to fire', 120;
pass '500 of the configuration and 500 made at run time';

# a while of it
my ($scheduler) = $d->pids(qr/^jobqd: scheduler/);
sub cpu { my @f = split ' ', slurp("/proc/$scheduler/stat") =~ s/^.*\) //sr; return ($f[11] + $f[12]) / POSIX::sysconf(&POSIX::_SC_CLK_TCK) }
$pg->query('SELECT pg_stat_statements_reset()');
my ($from, $cpu) = ($pg->query('SELECT clock_timestamp()'), cpu());
my $fired = "SELECT sum(fired) FROM jobq.schedule";
my $before = $pg->query($fired);
wait_for { $pg->query("SELECT clock_timestamp() > '$from'::timestamptz + interval '20 s'") eq 't' } '20 s';
my $n = $pg->query($fired) - $before;
$cpu = cpu() - $cpu;
my ($calls, $ms) = split /\|/, $pg->query("SELECT calls, round(total_exec_time) FROM pg_stat_statements WHERE query LIKE '%schedule_fire(%' AND toplevel ORDER BY calls DESC LIMIT 1");
my ($median, $p99, $count) = split /\|/, $pg->query(<<"SQL");
SELECT round(1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY late)), round(1000 * percentile_cont(0.99) WITHIN GROUP (ORDER BY late)), count(*)
FROM (SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - run_at) AS late FROM jobq.job WHERE run_at > '$from') j
SQL
cmp_ok $n, '>', 1000, "$n firings";
cmp_ok $median, '<', 1000, "late by $median ms at the median, $p99 ms at the 99th percentile, of $count jobs (S1-44)";
cmp_ok $calls, '<', $n / 2, sprintf '%d statements, %.1f firings each, %.3f ms of the server a firing', $calls, $n / $calls, $ms / $n;
cmp_ok $cpu, '<', 10, sprintf 'the scheduler: %.2f s of CPU in 20 s, %.3f ms a firing', $cpu, 1000 * $cpu / $n;
is $pg->query("SELECT count(*) FROM (SELECT name FROM jobq.schedule_late() WHERE seconds > 5) l"), 0, 'none is late';
is $pg->query(<<"SQL"), 0, 'none is fired twice';
SELECT sum(n) - (SELECT sum(fired) FROM jobq.schedule) FROM (SELECT count(*) AS n FROM jobq.job WHERE type = 't') j
SQL
is $d->stop, 0, 'stops with status 0';
done_testing;
