# Producers whose transactions overlap, so that there is never a moment without
# one: the house is kept all the same, and none of them fails.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More;

my $pg = schema();
queues($pg, work => {});
my ($pool, $q) = pool($pg, 'work');
my $dir = temp_directory();
spew("$dir/producer", <<'SQL');
begin;
select jobq.enqueue('work', data => jsonb_build_object('x', repeat(md5(random()::text), 4)));
\sleep 30 ms
end;
SQL
my $producers = background([ Jobqd::Postgres::bindir() . '/pgbench', '-n', '-f', "$dir/producer", '-c', 12, '-T', 600,
    '--verbose-errors', $pg->url ], log => "$dir/log");
wait_for { $pg->query('SELECT last_value FROM jobq.job_id') > 300 } 'producers';
is $pg->query("SELECT count(DISTINCT pid) > 1 FROM pg_locks WHERE relation = 'jobq.job'::regclass"), 't', 'several have jobs uncommitted';

finish_ok($pg, $pool, claim($pg, $pool, $q, 250));
$pg->query("UPDATE jobq.part SET made_at = now() - interval '5 hours'");
my $seen = join "\n", maintain_until { $pg->query('SELECT last_value FROM jobq.job_id') > 1e9 } $pg;
like $seen, qr/partition 1 is full/, 'ids go on in the next partition';
$pg->query("UPDATE jobq.attempt SET finished_at = finished_at - interval '25 hours';
    UPDATE jobq.part SET cut_at = cut_at - interval '25 hours' WHERE id = 1");
for my $action (qr/dropped partition 1, \d+ of its jobs stay; gone are: work 250/, qr/made partition 3/,
    qr/emptied turn slot/) {
	wait_for {
		finish_ok($pg, $pool, claim($pg, $pool, $q, 1000));
		$seen .= $pg->query('SELECT * FROM jobq.maintain()') . "\n";
		$seen =~ $action;
	} "$action while they go on", 60;
	like $seen, $action, 'while they go on the house is kept';
}
is kill(0, $producers), 1, 'they do';
kill 'INT', $producers;
waitpid $producers, 0;
unlike slurp("$dir/log"), qr/error|abort/i, 'and none of them has failed';
wait_for { $pg->query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'") == 0 } 'their sessions to end';
is $pg->query('SELECT count(*) FROM jobq.job j WHERE NOT EXISTS (SELECT FROM jobq.attempt a WHERE a.job = j.id)'),
    $pg->query("SELECT count(*) FROM jobq.open_turns($q\::smallint)"), 'no job is without its turn';
done_testing;
