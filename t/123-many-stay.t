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
sub delayed {
	$pg->query(qq{SELECT count(*) FROM jobq.enqueue_many('work', (SELECT jsonb_agg('{"delay": "10 days"}'::jsonb) FROM generate_series(1, $_[0])))});
}
sub next_part {
	$pg->query("SELECT setval('jobq.job_id', (SELECT min(lo) FROM jobq.part WHERE lo > (SELECT last_value FROM jobq.job_id)), false)");
	maintain_until { $pg->query('SELECT count(*) FROM jobq.part WHERE lo > (SELECT last_value FROM jobq.job_id)') } $pg;
}
delayed(20_001);
next_part();
delayed(100_001);
next_part();
$pg->query("UPDATE jobq.part SET cut_at = now() - interval '2 days' WHERE id < 3; UPDATE jobq.attempt SET finished_at = finished_at - interval '2 days'");
# while there are so many partitions
sub dropped {
	next_part() while $pg->query("SELECT count(*) FROM jobq.part WHERE state = 'live'") < $_[0];
	$pg->query('UPDATE jobq.part SET checked_at = NULL');
	return $pg->query('SELECT jobq.part_drop()');
}
is dropped(6), '', 'a partition of which more than 20,000 must stay is kept';
like dropped(7), qr/^dropped partition 1, 20001 of its jobs stay; gone are: work 1 /, '… until partitions pile up';
is dropped(12), '', 'one of which more than 100,000 must stay is kept for longer';
like dropped(13), qr/^dropped partition 2, 100001 of its jobs stay; gone are: nothing /, '… until there are very many';
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'scheduled'"), 120_002, 'they are all there';
is state($pg, $done), '', '… what had ended is not';
done_testing;
