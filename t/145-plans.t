# The statements of a leader have one plan, whatever the statistics say; they
# leave nothing behind in the session, which may be a pooler's.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More;

# an ordinary owner, whom the policies of the tables hold for
my $pg = schema(owner => 'owner', session_preload_libraries => 'auto_explain', 'auto_explain.log_min_duration' => 0,
    'auto_explain.log_nested_statements' => 'on');
queues($pg, work => {});
my ($pool, $q) = pool($pg, 'work');
my $log = "$pg->{dir}/postgres.log";

sub plans {
	my ($code) = @_;
	my $from = -s $log;
	$code->();
	my $text = substr slurp($log), $from;
	return grep { /turn|claim|attempt|job_/ } grep { /Scan|Join|Sort/ } split /\n/, $text;
}

# a table analysed while empty, and a full one whose statistics say so still
for my $case ('empty', 'full, analysed when empty', 'full and analysed') {
	$pg->query('ANALYZE') if $case eq 'empty' || $case eq 'full and analysed';
	$pg->query("SELECT count(jobq.enqueue('work', priority => i % 3)) FROM generate_series(1, 3000) i") if $case =~ /full,/;
	my $session = $pg->session;
	my @got;
	my @bad = grep { /Seq Scan|Bitmap|Hash Join|Merge Join|Join Filter/ && !/(claim|turn)_slot/ } plans(sub {
		for (1 .. 7) {	# past the point where a generic plan would be chosen
			@got = claim($session, $pool, $q, 10);
			finish_ok($session, $pool, @got) if @got;
			$session->query("SELECT * FROM jobq.look('{$q}')");
			$session->query("SELECT jobq.release($pool, '{1}', '{1}')");
		}
	});
	is_deeply \@bad, [], "tables that are $case: only index scans";
	is scalar(@got), $case eq 'empty' ? 0 : 10, '… and they give what they should';
}

# what a dump brings has no statistics at all
{
	local $pg->{user};
	$pg->query('CREATE DATABASE restored OWNER owner', 'postgres');
}
my ($dumped) = run_program([ 'bash', '-c', 'set -o pipefail; pg_dump --enable-row-security "$1" | psql -qX -v ON_ERROR_STOP=1 "$2"', 'bash', $pg->url, $pg->url('restored') ]);
is $dumped, 0, 'dumped and restored';
is $pg->query(q{SELECT count(*) FROM pg_stats WHERE schemaname = 'jobq'}, 'restored'), 0,
    '… without statistics';
{
	local $pg->{database} = 'restored';
	my $session = $pg->session;
	my @got;
	my @bad = grep { /Seq Scan|Bitmap|Hash Join|Merge Join|Join Filter/ && !/(claim|turn)_slot/ } plans(sub {
		for (1 .. 7) {
			@got = claim($session, $pool, $q, 10);
			finish_ok($session, $pool, @got);
		}
	});
	is_deeply \@bad, [], 'only index scans there, too';
	is scalar(@got), 10, '… and they give what they should';
}

# a partition without any of the jobs is not opened
$pg->query("SELECT setval('jobq.job_id', (SELECT max(lo) FROM jobq.part)); SELECT jobq.part_make()") for 1 .. 7;
for my $outcome (1, 2, 3) {
	my $session = $pg->session;
	my @read = plans(sub {
		for my $lease (claim($session, $pool, $q, 2)) {
			$outcome == 1 ? finish_ok($session, $pool, $lease) : finish_failed($session, $pool, $lease, $outcome);
		}
	});
	is_deeply [ grep { !/^job_1$/ } map { /\bon (job_\w+)/ } @read ], [], "claims and ends of outcome $outcome read one partition";
	ok((grep { /\bon job_1\b/ } @read), '… with the jobs in it');
}

# A view that seems too costly is compiled before it is run, for half a second.
$pg->query('SELECT * FROM jobq.maintain()');
for my $what ('queues', "jobs WHERE id = 1", 'workers') {
	my ($cost) = $pg->query("EXPLAIN SELECT * FROM jobq.$what") =~ /cost=[\d.]+\.\.(\d+)/;
	cmp_ok $cost, '<', 100_000, "the view $what is not thought costly";
}

# nothing is left in the session
my $session = $pg->session;
my $settings = "SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings WHERE name ~ '^enable_|synchronous_commit|plan_cache_mode|jit\$|search_path|lock_timeout'";
my $before = $session->query($settings);
my @got = claim($session, $pool, $q, 10);
finish_ok($session, $pool, @got[ 0 .. 4 ]);
$session->query("SELECT jobq.release($pool, '{" . join(',', map { s/:.*//r } @got[ 5, 6 ]) . "}', '{1,1}')");
$session->query("SELECT jobq.sleep($q\::smallint), jobq.wake($q\::smallint)");
$session->query("SELECT * FROM jobq.tick('a', 'b', 1000, '{$q}', 10)");
$session->query('SELECT * FROM jobq.maintain()');
is $session->query($settings), $before, 'no setting is changed after a statement';
is $session->query('SELECT count(*) FROM pg_locks WHERE locktype = \'advisory\''), 0, 'no lock is held';
is $session->query('SELECT count(*) FROM pg_prepared_statements'), 0, 'no statement is prepared';
is $session->query("BEGIN; SELECT count(*) FROM jobq.claim($pool, $q\::smallint, 1); SHOW synchronous_commit; COMMIT"), "1\noff",
    'a claim does not wait for the disk';
is $session->query('BEGIN; ' . "SELECT count(*) FROM jobq.finish_ok($pool, '{" . ($got[7] =~ s/:.*//r) . "}', '{1}', NULL, '{1}', '{1}', '{0}'); SHOW synchronous_commit; COMMIT"), "0\non",
    '… an end does';
# each statement in a connection of its own, as a pooler may do it
my ($lease) = claim($pg, $pool, $q, 1);
is_deeply [ finish_ok($pg, $pool, $lease) ], [$lease], 'a lease belongs to a pool, not to a connection';
done_testing;
