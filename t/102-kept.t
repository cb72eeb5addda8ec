# What a claim keeps of its queue for the next one is never out of date: not
# beside a change that is open while claims go on, and not after a crash.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More;

my $pg = schema();
queues($pg, work => {}, other => {});
my ($pool, $q) = pool($pg, 'work');
my ($leader, $changer) = map { $pg->session } 1 .. 2;
sub enqueue { return $pg->query("SELECT jobq.enqueue('work', type => 't'" . ($_[0] // '') . ')') }

# The last claim: settled (the next one does not look), unsure, or nothing was kept.
sub kept {
	return $pg->query('SELECT CASE WHEN known IS DISTINCT FROM c.last_value THEN $$nothing$$ WHEN known_by IS NULL THEN $$settled$$'
	    . " ELSE 'unsure' END FROM jobq.claim, jobq.changes c WHERE queue = $q ORDER BY batch DESC LIMIT 1");
}

sub claim_one {
	my $job = enqueue();
	my @got = claim($leader, $pool, $q);
	finish_ok($leader, $pool, @got) if @got;
	return "@got" eq "$job:1";
}

# Until nothing is looked up any more.
sub settle {
	for (1 .. 5) {
		claim_one() or return 'a claim found nothing';
		return 1 if kept() eq 'settled';
	}
	return kept();
}

is settle(), 1, 'a claim knows what the last one found';
claim_one();
is kept(), 'settled', '… and so on';

# sql: the change; back: what ends it; then: what claims are to see of it
my @changes = (
	{ name => 'pause of the queue', sql => "SELECT jobq.pause('work')", back => "SELECT jobq.resume('work')",
	    then => sub { enqueue(); return claim($leader, $pool, $q) == 0 } },
	{ name => 'pause of a type', sql => "SELECT jobq.pause('work', type => 't')", back => "SELECT jobq.resume('work', type => 't')",
	    then => sub { enqueue(); return claim($leader, $pool, $q) == 0 } },
	{ name => 'pause of a tenant everywhere', sql => "SELECT jobq.pause('*', tenant => 'a')",
	    back => "SELECT jobq.resume('*', tenant => 'a')",
	    then => sub { enqueue(", tenant => 'a'"); return claim($leader, $pool, $q) == 0 } },
	{ name => 'first concurrency key', sql => "SELECT jobq.enqueue('work', key => 'k')",
	    back => "UPDATE jobq.queue SET keyed = false",
	    then => sub { enqueue(", key => 'k'"); return claim($leader, $pool, $q) == 1 } },
	{ name => 'registration with an expire', back => q{SELECT jobq.register('{"node": "test", "queues": [{"name": "work"}, {"name": "other"}]}')},
	    sql => q{SELECT jobq.register('{"node": "test", "queues": [{"name": "work", "expire_ms": 1000000}, {"name": "other"}]}')},
	    then => sub { enqueue(); return $leader->query("SELECT late_ms IS NOT NULL FROM jobq.claim($pool, $q\::smallint, 100)") eq 't' } },
	{ name => 'registration with a limit', back => q{SELECT jobq.register('{"node": "test", "queues": [{"name": "work"}, {"name": "other"}]}')},
	    sql => q{SELECT jobq.register('{"node": "test", "limits": [{"name": "l", "concurrency": 1}], "queues": [{"name": "work", "limits": ["l"]}, {"name": "other"}]}')},
	    then => sub { enqueue(); enqueue(); return $leader->query("SELECT count(id) FROM jobq.claim($pool, $q\::smallint, 100)") == 1 } },
);

# What is left of the last change is taken.
sub clear {
	while (my @got = claim($leader, $pool, $q)) { finish_ok($leader, $pool, @got) }
}

for my $change (@changes) {
	my $name = $change->{name};
	$changer->query("BEGIN; $change->{sql}");
	ok claim_one(), "$name, open: a claim sees nothing of it" for 1 .. 3;
	is kept(), 'unsure', '… and each looks again';
	$changer->query('COMMIT');
	ok $change->{then}->(), '… committed: the next one does';
	unlike kept(), qr/settled/, '… and none is sure of what has been';
	$changer->query($change->{back});
	clear();
	is settle(), 1, '… ended: known again';
	$changer->query("BEGIN; $change->{sql}; ROLLBACK");
	is settle(), 1, '… rolled back: known again';
}

# a job that is cancelled while it waits, behind claims that look for no such
{
	my $job = enqueue(", priority => 9");
	$changer->query("BEGIN; SELECT jobq.cancel($job)");
	my $first = enqueue(", priority => 1");
	is join(' ', claim($leader, $pool, $q, 1)), "$first:1", 'cancel, open: another job is claimed';
	$changer->query('COMMIT');
	is join(' ', claim($leader, $pool, $q)), '', '… committed: it is not claimed';
	is settle(), 1, '… known again';
}

# a change of another queue's that has counted before, and one that is open for long
{
	$changer->query("BEGIN; SELECT jobq.pause('other')");
	claim_one() for 1 .. 2;
	my $third = $pg->session;
	$third->query("BEGIN; SELECT jobq.pause('work')");
	claim_one() for 1 .. 2;
	$changer->query('ROLLBACK');
	ok claim_one(), 'two changes open, one ended' for 1 .. 3;
	is kept(), 'unsure', '… the other keeps claims looking';
	$third->query('COMMIT');
	enqueue();
	is scalar(claim($leader, $pool, $q)), 0, '… and is seen';
	$pg->query("SELECT jobq.resume('work')");
	clear();
	is settle(), 1, 'known again';
}

# two pools of a queue look each time, and neither believes the other
{
	my ($second) = pool($pg, 'work');
	enqueue();
	is scalar(claim($leader, $second, $q)), 1, 'another pool claims';
	isnt kept(), 'settled', '… and has looked whether it is one';
	$pg->query("SELECT jobq.pool_close($second)");
	clear();
	is settle(), 1, 'it is gone, the first one knows again';
	is scalar(claim($leader, $second, $q)), 0, '… and the gone one gets nothing';
	enqueue();
	is scalar(claim($leader, $second, $q)), 0, '… also of what there is';
	clear();
}

# a pool that was reaped right after it knew everything
{
	is settle(), 1, 'known';
	$pg->query("SELECT jobq.reap($pool)");
	enqueue();
	is scalar(claim($leader, $pool, $q)), 0, 'a pool that was reaped claims nothing';
	($pool) = pool($pg, 'work');
	clear();
	is settle(), 1, 'the next one knows again';
}

# A crash empties `withdrawn`, loses claims, and whoever has the jobs may still
# end them. Even if all counting was written, it is seen.
{
	my $job = enqueue();
	is kept(), 'settled', 'known';
	my $number = $pg->query('SELECT last_value FROM jobq.changes');
	$_->close for $leader, $changer;
	$pg->stop('immediate');
	$pg->start;
	$leader = $pg->session;
	$pg->query("SELECT setval('jobq.changes', $number)");
	# its lost claim's pool ends it
	$pg->query("INSERT INTO jobq.attempt (job, attempt, queue, outcome, finished_at) VALUES ($job, 1, $q, 1, now())");
	is join(' ', claim($leader, $pool, $q)), '', 'after a crash ends are looked for again';
	is settle(), 1, '… known again';
}

done_testing;
