# The driver sql on a real database: data never becomes text of a statement,
# rows become the result within bounds, classes by SQLSTATE, time-outs and
# cancels reach the server, clean-ups go in batches with progress.
# Proves S0-39 (refresh of materialised views), S1-9 (data_cleanup), S1-49
# (classes of errors), S1-52 (transactional operations), S4-42 (progress).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More;

my $json = JSON::PP->new->canonical;
my $pg = Jobqd::Postgres->new;
$pg->query('CREATE DATABASE other', 'postgres');
$pg->query(<<'SQL', 'other');
CREATE TABLE place (name text);
INSERT INTO place VALUES ('elsewhere');
SQL
$pg->query(<<'SQL');
CREATE ROLE reader;
CREATE TABLE asset (id int primary key, name text, cost numeric(10,2), sold boolean, extra jsonb, at timestamptz);
INSERT INTO asset VALUES (1, 'Van "O''Brien"', 100.50, true, '{"a": [1, 2]}', '2026-01-02T03:04:05Z'), (2, 'Truck', 'NaN', null, null, null);
CREATE MATERIALIZED VIEW vw_asset_roi_summary AS SELECT id, cost FROM asset;
CREATE UNIQUE INDEX ON vw_asset_roi_summary (id);
CREATE MATERIALIZED VIEW vw_asset_daily_utilization AS SELECT count(*) n FROM asset;
CREATE TABLE gps_tracks (id bigserial, at timestamptz);
CREATE TABLE audit_logs (id bigserial, at timestamptz);
INSERT INTO gps_tracks (at) SELECT now() - (i % 200) * interval '1 day' FROM generate_series(1, 20000) i;
INSERT INTO audit_logs (at) SELECT now() - interval '400 days' FROM generate_series(1, 10);
CREATE TABLE seen (what text, job bigint, type text, unique (what));
CREATE TABLE flips (n int);
INSERT INTO flips VALUES (0);
CREATE SEQUENCE tries;
CREATE FUNCTION purge(n bigint) RETURNS bigint LANGUAGE sql AS $$
	WITH d AS (DELETE FROM audit_logs WHERE id IN (SELECT id FROM audit_logs LIMIT n) RETURNING 1) SELECT count(*) FROM d $$;
CREATE FUNCTION raise_state(state text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
	RAISE EXCEPTION 'state %', state USING errcode = state; END $$;
CREATE FUNCTION passing() RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE n bigint := nextval('tries'); BEGIN
	IF n < 3 THEN RAISE EXCEPTION 'conflict' USING errcode = '40001'; END IF; RETURN n; END $$;
SQL

my $other = $pg->url('other');
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
retry: {default: {attempts: 1}}
handlers:
  rows:     {driver: sql, statement: "SELECT * FROM asset WHERE name = \$1->>'name' OR \$1->>'name' IS NULL ORDER BY id"}
  job:      {driver: sql, statement: "INSERT INTO seen VALUES (\$1->>'what', (\$2->>'id')::bigint, \$2->>'type') RETURNING what, job"}
  many:     {driver: sql, max_rows: 5, statement: "SELECT i FROM generate_series(1, 1000) i"}
  wide:     {driver: sql, max_rows: 1000, statement: "SELECT i, repeat('x', 10000) t FROM generate_series(1, 1000) i"}
  refresh:  {driver: sql, statements: [REFRESH MATERIALIZED VIEW CONCURRENTLY vw_asset_roi_summary, REFRESH MATERIALIZED VIEW vw_asset_daily_utilization]}
  both:     {driver: sql, statements: ["INSERT INTO seen VALUES ('half')", "SELECT 1/0"]}
  vacuum:   {driver: sql, autocommit: yes, statements: [VACUUM gps_tracks, "SELECT 1 AS one"]}
  states:   {driver: sql, statement: "SELECT raise_state(\$1->>'state')"}
  bad:      {driver: sql, statement: "SELECT * FROM no_such_table"}
  sleep:    {driver: sql, statement: "SELECT pg_sleep(600)"}
  poor:     {driver: sql, role: reader, statement: "SELECT * FROM asset"}
  who:      {driver: sql, role: reader, statement: "SELECT current_user::text AS who"}
  owner:    {driver: sql, statement: "SELECT current_user::text AS who"}
  cleanup:
    driver: sql
    choose: "{{data.cleanup_type}}"
    batch: {limit: 1000, pause: 5ms}
    statements:
      gps_tracks: "DELETE FROM gps_tracks WHERE id IN (SELECT id FROM gps_tracks WHERE at < now() - (\$1->>'older_than_days')::int * interval '1 day' LIMIT \$3)"
      audit_logs: "SELECT purge(\$3)"
  endless:  {driver: sql, batch: {pause: 20ms}, statement: "UPDATE flips SET n = n + 1"}
  passing:  {driver: sql, statement: "SELECT passing() AS n"}
  elsewhere: {driver: sql, url: "$other", statement: "SELECT name FROM place"}
  nowhere:  {driver: sql, url: "postgresql:///none?host=/nonexistent", statement: "SELECT 1"}
  copy:     {driver: sql, statement: "COPY asset TO STDOUT"}
queues:
  sql:
    types: {rows: rows, job: job, many: many, wide: wide, refresh: refresh, both: both, vacuum: vacuum, states: states, bad: bad,
      poor: poor, who: who, owner: owner, data_cleanup: cleanup, passing: passing, elsewhere: elsewhere, nowhere: nowhere, copy: copy}
    workers: 1
  slow:   {types: {sleep: {handler: sleep, timeout: 1s}, wait: sleep, endless: endless}, workers: 1, cancel: {grace: 20s}}
YAML
$d->start;

sub enqueue {
	my ($queue, $type, $data) = @_;
	(my $text = $json->encode($data || {})) =~ s/'/''/g;
	return $pg->query("SELECT jobq.enqueue('$queue', '$type', '$text')");
}

sub ended {
	my ($id) = @_;
	wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") =~ /^(?:completed|dead|cancelled)$/ } "job $id";
	return $json->decode($pg->query("SELECT row_to_json(j) FROM jobq.jobs j WHERE id = $id"));
}

sub run { return ended(enqueue('sql', @_)) }

# Rows and their types.
{
	my $job = run('rows', { name => undef });
	is $job->{state}, 'completed', 'a statement with rows' or diag $job->{error};
	is $job->{result}{count}, 2, '… how many';
	my ($van, $truck) = @{ $job->{result}{rows} };
	is_deeply [ @$van{qw(id name cost extra)} ], [ 1, q(Van "O'Brien"), 100.5, { a => [ 1, 2 ] } ], '… numbers, texts, JSON';
	ok $van->{sold} && ref $van->{sold}, '… a boolean';
	is $truck->{cost}, 'NaN', '… a number that JSON has not is a text';
	is $truck->{sold}, undef, '… null';
	like $pg->query("SELECT result::text FROM jobq.jobs WHERE id = $job->{id}"), qr/"cost": 100\.50/, '… to the digit';

	$job = run('rows', { name => q(x' OR true; DROP TABLE asset; --) });
	is_deeply $job->{result}, { rows => [], count => 0 }, 'data is data: no rows, and no harm (S1-55)';
	is $pg->query('SELECT count(*) FROM asset'), 2, '… the table is there';

	$job = run('many');
	is_deeply [ scalar @{ $job->{result}{rows} }, $job->{result}{count}, !!$job->{result}{truncated} ], [ 5, 1000, 1 ],
	    'rows in the result are bounded by max_rows, the count is of all';
	$job = run('wide');
	ok $job->{state} eq 'completed' && $job->{result}{truncated} && @{ $job->{result}{rows} } > 50,
	    'bytes are bounded: ' . @{ $job->{result}{rows} } . ' of 1000 rows';

	$job = run('job', { what => 'one' });
	is_deeply $job->{result}{rows}, [ { what => 'one', job => $job->{id} + 0 } ], '$2 is the job';
	is $pg->query("SELECT type FROM seen WHERE what = 'one'"), 'job', '… with its type';
}

# More than one statement.
{
	$pg->query("INSERT INTO asset (id, cost) VALUES (3, 3)");
	my $job = run('refresh');
	is $job->{state}, 'completed', 'S0-39: materialised views are refreshed' or diag $job->{error};
	is $pg->query('SELECT (SELECT count(*) FROM vw_asset_roi_summary), (SELECT n FROM vw_asset_daily_utilization)'), '3|3', '… both';
	$job = run('both');
	is $job->{error_class}, 'validation', 'a second statement fails';
	is $pg->query("SELECT count(*) FROM seen WHERE what = 'half'"), 0, '… and the first has not been (S1-52)';
	$job = run('vacuum');
	is $job->{state}, 'completed', 'autocommit runs what no transaction may' or diag $job->{error};
}

# Classes, by SQLSTATE.
{
	my %class = ('22003' => 'validation', '23505' => 'validation', '28000' => 'auth', '42501' => 'auth', '53100' => 'resource',
		'40001' => 'error', P0001 => 'error', '08001' => 'network', '57P03' => 'network');
	for my $state (sort keys %class) {
		my $job = run('states', { state => $state });
		is $job->{error_class}, $class{$state}, "SQLSTATE $state (S1-49)";
		like $job->{error}, qr/state \Q$state\E/, '… with the server\'s words' if $state eq '22003';
	}
	like run('bad')->{error}, qr/no_such_table/, 'a table that is missing is named';
	is run('nowhere')->{error_class}, 'network', 'no database there';
	is run('copy')->{error_class}, 'error', 'COPY to the client is refused';
	is run('owner')->{result}{rows}[0]{who}, 'jobq', '… and the next job runs';
	is run('poor')->{error_class}, 'auth', 'role: what it may not';
	is run('who')->{result}{rows}[0]{who}, 'reader', '… who it is';
	is run('owner')->{result}{rows}[0]{who}, 'jobq', '… and only there';
	my $job = run('passing');
	is_deeply [ $job->{state}, $job->{attempt}, $job->{result}{rows}[0]{n} ], [ 'completed', 1, 3 ],
	    'a serialization failure is tried again at once, in the same attempt';
	is run('elsewhere')->{result}{rows}[0]{name}, 'elsewhere', 'a database of its own';
}

# Clean-ups in batches.
{
	my $old = $pg->query("SELECT count(*) FROM gps_tracks WHERE at < now() - 90 * interval '1 day'");
	my $job = run('data_cleanup', { cleanup_type => 'gps_tracks', older_than_days => 90 });
	is $job->{result}{count}, $old, "S1-9: $old old rows are deleted" or diag $job->{error};
	is $pg->query("SELECT count(*) FROM gps_tracks WHERE at < now() - 90 * interval '1 day'"), 0, '… all of them';
	$job = run('data_cleanup', { cleanup_type => 'audit_logs' });
	is $job->{result}{count}, 10, 'a function says how many it has done';
	$job = run('data_cleanup', { cleanup_type => 'pg_class' });
	is_deeply [ @$job{qw(error_class error)} ], [ 'validation', 'there is no statement "pg_class"' ],
	    'a statement that is not there';
}

# Time-outs and cancels reach the server.
sub sleepers { return $pg->query("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(600)%' AND state = 'active'") }
{
	my $job = ended(enqueue('slow', 'sleep'));
	is $job->{error_class}, 'timeout', 'a time-out';
	wait_for { sleepers() == 0 } 'the statement to be stopped';
	my $id = enqueue('slow', 'wait');
	wait_for { sleepers() == 1 } 'a statement that takes long';
	my ($worker) = $d->pids(qr/worker slow/);
	$pg->query("SELECT jobq.cancel($id)");
	is ended($id)->{state}, 'cancelled', 'a cancel';
	wait_for { sleepers() == 0 } 'the statement to be stopped';
	is(($d->pids(qr/worker slow/))[0], $worker, '… by the worker itself, which goes on');
	$id = enqueue('slow', 'endless');
	my $note = wait_for { $pg->query("SELECT progress_note FROM jobq.jobs WHERE id = $id AND progress_note ~ '[0-9]'") } 'progress';
	like $note, qr/^\d+ rows$/, "S4-42: progress of batches: $note";
	$pg->query("SELECT jobq.cancel($id)");
	is ended($id)->{state}, 'cancelled', 'a cancel between batches';
	is(($d->pids(qr/worker slow/))[0], $worker, '… and the worker goes on');

	# A worker that is killed does not leave its statement behind.
	$id = enqueue('slow', 'wait');
	wait_for { sleepers() == 1 } 'a statement again';
	kill 'KILL', $worker;
	wait_for { sleepers() == 0 || $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") eq 'dead' } 'the server to notice';
	wait_for { sleepers() == 0 } 'the statement to be gone';
	pass 'the statement of a worker that was killed ends';
}

# One connection for all jobs of a handler, and another after the server was away.
{
	my $pids = sub { return $pg->query("SELECT count(DISTINCT pid) FROM pg_stat_activity WHERE application_name = 'jobqd sql' AND query !~ 'sleep|flips'") };
	my $before = $pids->();
	run('owner') for 1 .. 20;
	is $pids->(), $before, 'a worker keeps its connection';
	$pg->query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'jobqd sql'");
	is run('owner')->{state}, 'completed', '… and makes another when it was lost';
}
done_testing;
