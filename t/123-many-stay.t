# A partition of which very many jobs must stay is not moved before it has to be,
# and then none of them is missing.
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
my $done = $pg->query("SELECT jobq.enqueue('work')");
finish_ok($pg, $pool, claim($pg, $pool, $q));
$pg->query(q{SELECT count(*) FROM jobq.enqueue_many('work', (SELECT jsonb_agg('{"delay": "10 days"}'::jsonb) FROM generate_series(1, 20001)))});
# The next partition; the one before is as old as can be.
sub next_part {
	$pg->query("SELECT setval('jobq.job_id', (SELECT min(lo) FROM jobq.part WHERE lo > (SELECT last_value FROM jobq.job_id)), false)");
	maintain_until { $pg->query('SELECT count(*) FROM jobq.part WHERE lo > (SELECT last_value FROM jobq.job_id)') } $pg;
}
next_part();
$pg->query("UPDATE jobq.part SET cut_at = now() - interval '2 days' WHERE id = 1; UPDATE jobq.attempt SET finished_at = finished_at - interval '2 days'");
sub dropped { $pg->query('UPDATE jobq.part SET checked_at = NULL'); return $pg->query('SELECT jobq.part_drop()') }
is dropped(), '', 'a partition of which more than 20,000 must stay is kept';
next_part() while $pg->query("SELECT count(*) FROM jobq.part WHERE state = 'live'") < 7;
like dropped(), qr/^dropped partition 1, 20001 of its jobs stay; gone are: work 1 /, '… until partitions pile up';
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'scheduled'"), 20001, '… they are all there';
is state($pg, $done), '', '… what had ended is not';
done_testing;
