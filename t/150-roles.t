# The schema is made by an ordinary role; three roles have their rights and no more.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More;

my $pg = Jobqd::Postgres->new;
$pg->query("CREATE ROLE owner LOGIN; GRANT CREATE ON DATABASE jobq TO owner; CREATE ROLE stranger LOGIN");
my @files = grep { !/95-roles/ } sort glob source_directory() . '/src/db/sql/*.sql';
my $as_owner = $pg->url =~ s/user=jobq/user=owner/r;
my ($status, undef, $error) = run_program([ 'psql', '-Xq', '-1', '-v', 'ON_ERROR_STOP=1', map({ ('-f', $_) } @files), $as_owner ]);
is $status, 0, 'an ordinary role makes the schema' or diag $error;
$pg->query(slurp(source_directory() . '/src/db/sql/95-roles.sql')) for 1 .. 2;
pass 'the roles are made, and made again';
$pg->query("CREATE ROLE p LOGIN IN ROLE jobq_producer; CREATE ROLE r LOGIN IN ROLE jobq_reader; CREATE ROLE a LOGIN IN ROLE jobq_admin");

sub as { my ($role, $sql) = @_; return (run_program([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-c', $sql, $pg->url =~ s/user=jobq/user=$role/r ]))[ 0, 1, 2 ] }
sub may { my ($role, $sql) = @_; my ($s, $out, $err) = as($role, $sql); is $s, 0, "$role may: $sql" or diag $err; chomp $out; return $out }
sub may_not { my ($role, $sql) = @_; like +(as($role, $sql))[2], qr/permission denied/, "$role may not: $sql" }

may('owner', q{SELECT jobq.register('{"node":"n","queues":[{"name":"work"}],"schedules":[{"name":"s","queue":"work","spec":"1h"}],"workflows":{"w":{"steps":{"a":{"queue":"work"}}}}}'), jobq.reseat(), jobq.maintain()});
may('owner', q{SELECT * FROM jobq.tick('n', 'i', 1000, '{1}', 10)});
my $id = may('p', q{SELECT jobq.enqueue('work', unique_key => 'k')});
may('p', q{SELECT jobq.enqueue_many('work', '[{"delay":"1 hour"}]')});
may('p', qq{SELECT jobq.enqueue('work', after => '{$id}')});
may('p', q{SELECT jobq.workflow('w')});
may('p', q{SELECT jobq.batch('work', '[]')});
may_not('p', $_) for 'SELECT * FROM jobq.jobs', 'SELECT * FROM jobq.job', 'SELECT jobq.cancel(1)', "SELECT jobq.pause('work')",
    'SELECT * FROM jobq.claim(1, 1::smallint, 1)', "INSERT INTO jobq.turn VALUES ('1', 1, 0, 1, 1, 1)", "SELECT jobq.enqueue_object('work', '{}', 'x')";
may('r', "SELECT count(*) FROM jobq.$_") for qw(jobs attempts queues dead_letters dead_groups holds schedules workers nodes workflows limits alerts alert_rules silences statistics audit);
is may('r', 'SELECT ready FROM jobq.queues'), 2, 'the reader sees the numbers';
may_not('r', $_) for "SELECT jobq.enqueue('work')", 'SELECT jobq.cancel(1)', 'SELECT * FROM jobq.uniq', 'SELECT jobq.reap(1)';
may('a', "SELECT jobq.pause('work', 'why'), jobq.resume('work'), jobq.cancel($id), jobq.retry($id), jobq.delete($id), jobq.schedule_pause('s'), jobq.schedule_resume('s'), jobq.schedule_run('s'), jobq.retry_dead('{$id}'), jobq.delete_dead('{$id}'), jobq.review($id, 'x'), jobq.why($id)");
may('a', "SELECT jobq.alert_silence('*', now() + interval '1 hour'), jobq.alert_unsilence('*')");
is may('a', "SELECT DISTINCT actor FROM jobq.audit WHERE actor <> 'node n'"), 'a', 'the audit names who acted';
may_not('a', $_) for 'SELECT jobq.reap(1)', 'DELETE FROM jobq.job', 'SELECT jobq.maintain()';
may_not('stranger', $_) for "SELECT jobq.enqueue('work')", 'SELECT * FROM jobq.queues';
# what a caller puts in the way is not found: before each operator of PostgreSQL,
# and what else enqueue() could take from there, stands one that fails
$pg->query('CREATE SCHEMA trap AUTHORIZATION p; GRANT USAGE ON SCHEMA trap TO PUBLIC');	# else the owner does not see it
may('p', <<'SQL');
DO $do$
DECLARE
	sprung text := 'LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION ''trapped''; END $$';
	f record;
BEGIN
	FOR f IN SELECT o.oprname AS name, format_type(o.oprleft, null) AS l, format_type(o.oprright, null) AS r, o.oprresult::regtype AS result
	FROM pg_operator o
	WHERE o.oprname IN ('=', '<>', '<', '<=', '>', '>=', '-', '+', '*', '%', '&', '|', '>>', '<<', '||')
	    AND 0 <> ALL (ARRAY[o.oprleft, o.oprright]) AND NOT EXISTS (SELECT FROM pg_type t
	        WHERE t.oid IN (o.oprleft, o.oprright) AND (t.typtype = 'p' OR t.typname IN ('char', 'name')))
	LOOP
		EXECUTE format('CREATE FUNCTION trap.%I(%s, %s) RETURNS %s %s', 'op' || f.name, f.l, f.r, f.result, sprung);
		EXECUTE format('CREATE OPERATOR trap.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = trap.%I)', f.name, f.l, f.r, 'op' || f.name);
	END LOOP;
	FOR f IN SELECT * FROM (VALUES
		('num_nonnulls(int, timestamptz, interval, text, int, interval, text[], bigint[], text)', 'int'),
		('jsonb_typeof(jsonb)', 'text'), ('octet_length(text)', 'int'), ('nextval(regclass)', 'bigint'),
		('clock_timestamp()', 'timestamptz'), ('pg_sequence_last_value(regclass)', 'bigint'),
		('pg_notify(text, text)', 'void'), ('cardinality(text[])', 'int')) f(name, result)
	LOOP
		EXECUTE format('CREATE FUNCTION trap.%s RETURNS %s %s', f.name, f.result, sprung);
	END LOOP;
END
$do$;
CREATE TABLE trap.queue (x int);
CREATE DOMAIN trap.text AS pg_catalog.text CHECK (value IS NULL);
CREATE DOMAIN trap.jsonb AS pg_catalog.jsonb CHECK (value IS NULL);
SQL
my $trapped = 'CREATE TEMP TABLE queue (x int); CREATE TEMP TABLE uniq (x int); SET search_path = trap, jobq, pg_temp, pg_catalog;';
like +(as('p', "$trapped SELECT nextval('jobq.job_id')"))[2], qr/trapped/, 'a trap that works';
$pg->query('SELECT setval(\'jobq.sleepers\', 9223372036854775807)');
like +(as('p', "$trapped SELECT jobq.$_"))[1], qr/^\d+$/m, "functions ignore the caller's search path: $_"
    for "enqueue('work')", "enqueue('work', 't', '{\"a\":1}', tenant => 't')", "enqueue('work', key => 'k', tags => '{a}', delay => '1 s')",
    "enqueue_many('work', '[{}]')", "enqueue_many('work', '[{\"delay\":\"1 s\"}]')", "workflow('w')";
done_testing;
