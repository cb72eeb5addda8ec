# A partition goes while somebody has taken an id of it: what that transaction
# enqueues is there when it commits, whenever that is.
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
sub parts { return $pg->query("SELECT string_agg(id || state, ' ' ORDER BY id) FROM jobq.part") }
sub part_of { return $pg->query("SELECT id FROM jobq.part WHERE $_[0] >= lo AND $_[0] < hi") }
# Let ids go on in the next partition, and the time of this one be over.
sub cut {
	$pg->query("SELECT jobq.enqueue('work', 't', jsonb_build_object('x', repeat(md5(i::text), 50))) FROM generate_series(1, 200) i");
	finish_ok($pg, $pool, claim($pg, $pool, $q, 1000));
	$pg->query("UPDATE jobq.part SET made_at = now() - interval '5 hours'");
	my $id = $pg->query('SELECT last_value FROM jobq.job_id');
	maintain_until { part_of($pg->query('SELECT last_value FROM jobq.job_id')) != part_of($id) } $pg;
	$pg->query("UPDATE jobq.attempt SET finished_at = finished_at - interval '25 hours';
	    UPDATE jobq.part SET cut_at = cut_at - interval '25 hours', checked_at = NULL");
	return part_of($id);
}

# between the look at what must stay and the lock
lock_gate($pg);
my ($gate, $dropper) = map { $pg->session } 1 .. 2;
sub drop_while {
	my ($what) = @_;
	$gate->query('SELECT pg_advisory_lock(4711)');
	$dropper->send("SELECT coalesce(jobq.part_drop(), 'not now')");
	wait_for { $pg->query("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%part_drop()%'
	    AND pid <> pg_backend_pid() AND (state = 'idle' OR wait_event_type = 'Lock')") } 'the look at what must stay';
	$what->();
	$gate->query('SELECT pg_advisory_unlock(4711)');
	return $dropper->answer;
}

my $producer = $pg->session;
my $late = $producer->query("BEGIN; SELECT jobq.enqueue('work')");
my $part = cut();
is part_of($late), $part, 'a job is enqueued in a partition whose time is over before its transaction ends';
my $said = drop_while(sub { $producer->query('COMMIT') });
is state($pg, $late), 'ready', '… and not lost when that ends just then';
is $said, 'not now', '… for the partition waits for it';
like drop_while(sub { }), qr/^dropped partition $part, 1 of its jobs stay/, '… and goes next time';
is state($pg, $late), 'ready', '… without that job';
is join(' ', claim($pg, $pool, $q)), "$late:1", '… which is run';

# who has an id only: a key that another has just taken is waited for
my $other = $pg->session;
$other->query("BEGIN; SELECT jobq.enqueue('work', unique_key => 'one')");
$producer->send("SELECT jobq.enqueue('work', unique_key => 'one')");
wait_for { $pg->query("SELECT count(*) FROM pg_locks WHERE NOT granted") } 'the second to wait for the first';
$part = cut();
is drop_while(sub { $other->query('ROLLBACK'); $late = $producer->answer }), 'not now', 'a partition waits for one that has an id of it only';
is part_of($late), $part, '… whose job is one of that partition';
is state($pg, $late), 'ready', '… and not lost';

# nor does one go that a prepared transaction has ids of
$late = $producer->query("BEGIN; SELECT jobq.enqueue('work')");
$part = cut();
$producer->query("PREPARE TRANSACTION 'late'");
is drop_while(sub { }), 'not now', 'a partition waits for a prepared transaction';
$pg->stop;
$pg->start;
($gate, $dropper) = map { $pg->session } 1 .. 2;
is drop_while(sub { $pg->query("COMMIT PREPARED 'late'") }), 'not now', '… also when the server has been started anew';
is state($pg, $late), 'ready', '… and its job is there';
maintain_until { parts() !~ /\b${part}live/ } $pg;
is state($pg, $late), 'ready', '… and stays when the partition goes';
done_testing;
