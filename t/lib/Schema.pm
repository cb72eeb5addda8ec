# The schema alone, for tests of the SQL: no daemon, only sessions.
package Schema;

use strict;
use warnings;

use Exporter qw(import);
use Jobqd;

our @EXPORT = qw(schema queues claim claim_ids finish_ok finish_failed pool maintain_until state lock_gate);

# A PostgreSQL with the schema in it. Settings as Jobqd::Postgres has them; and
# owner => the ordinary role that owns the schema and connects, from then on.
sub schema {
	my (%settings) = @_;
	my $owner = delete $settings{owner};
	my $pg = Jobqd::Postgres->new(settings => { max_prepared_transactions => 10, %settings });
	if ($owner) {
		$pg->query("CREATE ROLE $owner LOGIN; GRANT CREATE ON DATABASE jobq TO $owner");
		$pg->{user} = $owner;
	}
	load($pg);
	return $pg;
}

sub load {
	my ($pg, $database) = @_;
	my @files = grep { !/95-roles/ } sort glob source_directory() . '/src/db/sql/*.sql';
	die "no schema files\n" unless @files;
	$pg->query(join("\n", 'SET client_min_messages = warning; BEGIN;', (map { slurp($_) } @files), 'COMMIT;'), $database);
}

# Register queues: name => {options of register}.
sub queues {
	my ($pg, %q) = @_;
	require JSON::PP;
	my $json = JSON::PP->new->canonical->encode({ node => 'test',
		queues => [ map { { name => $_, %{ $q{$_} } } } sort keys %q ] });
	$json =~ s/'/''/g;
	$pg->query("SELECT jobq.register('$json')");
}

# Open a pool on a queue: (its id, the queue's).
sub pool {
	my ($pg, $queue, $node) = @_;
	return split /\|/, $pg->query("SELECT * FROM jobq.pool_open('$queue', '" . ($node || 'test') . "', $$)");
}

# "id:attempt" of what a claim gets, in its order. Through a session or a server.
sub claim {
	my ($on, $pool, $queue, $n) = @_;
	return split /\n/, $on->query(
	    "SELECT id || ':' || attempt FROM jobq.claim($pool, $queue\::smallint, " . ($n || 100) . ')');
}

sub claim_ids { return map { s/:.*//r } claim(@_) }

# Complete "id:attempt" …; returns the accepted ones.
sub finish_ok {
	my ($on, $pool, @leases) = @_;
	my $jobs = join ',', map { (split /:/)[0] } @leases;
	my $attempts = join ',', map { (split /:/)[1] } @leases;
	my $zeros = join ',', map { 0 } @leases;
	my %refused = map { $_ => 1 } split /\n/, $on->query("SELECT job || ':' || attempt FROM jobq.finish_ok("
	    . "$pool, '{$jobs}', '{$attempts}', NULL, '{$zeros}', '{$zeros}', '{$zeros}')");
	return grep { !$refused{$_} } @leases;
}

# End one with an outcome (2 failed, 3 dead, 4 cancelled, 5 lost); options
# class, delay (ms), error, alone. True when it was accepted.
sub finish_failed {
	my ($on, $pool, $lease, $outcome, %o) = @_;
	my ($job, $attempt) = split /:/, $lease;
	my ($class, $delay, $error) = ($o{class} // 1, $o{delay} // 0, $o{error} // 'it failed');
	my $alone = $o{alone} ? 'true' : 'false';
	return 1 - $on->query("SELECT count(*) FROM jobq.finish($pool, '{$job}', '{$attempt}', '{$outcome}', "
	    . "'{$class}', ARRAY['$error'], NULL, '{$delay}', '{1000}', '{0}', '{0}', '{-1}', '{0}', '{-1}', "
	    . "'{-1}', '{$alone}')");
}

sub state {
	my ($pg, $id) = @_;
	return $pg->query("SELECT state FROM jobq.jobs WHERE id = $id");
}

# Make try_lock() wait while somebody has (4711) locked: the moment between what it
# is called after and the lock, as long as a test likes.
sub lock_gate {
	my ($pg) = @_;
	$pg->query('ALTER FUNCTION jobq.try_lock RENAME TO lock_at_once');
	$pg->query('CREATE FUNCTION jobq.try_lock(patient interval, variadic tables text[]) RETURNS boolean LANGUAGE plpgsql AS
	    $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN jobq.lock_at_once(patient, variadic tables); END $$');
}

# Call maintain() until the condition holds; returns all its lines.
sub maintain_until (&$) {
	my ($condition, $pg) = @_;
	my @lines;
	wait_for {
		push @lines, split /\n/, $pg->query('SELECT * FROM jobq.maintain()');
		$condition->();
	} 'maintenance';
	return @lines;
}

1;
