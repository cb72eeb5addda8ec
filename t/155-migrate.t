# jobqctl migrate: the schema under a lock, of any name, by an ordinary role;
# printed; refused when it is newer than the program.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 16;

my $pg = Jobqd::Postgres->new;
$pg->query('CREATE ROLE owner LOGIN; GRANT CREATE ON DATABASE jobq TO owner');
my $url = $pg->url =~ s/user=jobq/user=owner/r;
my $dir = temp_directory();
sub config {
	my ($schema) = @_;
	return spew("$dir/$schema.yml", "database: {url: \"$url\", schema: $schema}\n"
	    . "handlers: {null: {driver: noop}}\nqueues: {work: {handler: null, keep: {completed: 1h}, retry: {attempts: 7}}}\n"
	    . "schedules: {tick: {every: 1h, queue: work, data: {a: \"b\\\"c\"}}}\n");
}
sub migrate { my ($schema, @more) = @_; return run_program([ jobqctl_program(), '-c', config($schema), 'migrate', @more ]) }

# three at once
my @pids = map { background([ jobqctl_program(), '-c', config('jobq'), 'migrate' ], log => "$dir/$_.log") } 1 .. 3;
wait_for { $pg->query("SELECT to_regclass('jobq.meta') IS NOT NULL") eq 't' } 'the schema';
wait_for { !grep { process_title($_) } @pids } 'all three';
is join('', map { slurp("$dir/$_.log") } 1 .. 3) =~ /error|fail/i ? 1 : 0, 0, 'several at once do not disturb each other'
    or diag map { slurp("$dir/$_.log") } 1 .. 3;
is $pg->query('SELECT count(*) FROM jobq.meta'), 1, 'the schema was made once';
is $pg->query(q{SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'jobq'::regnamespace AND relkind IN ('r', 'p') AND relname IN ('job', 'meta', 'schedule')}),
    'job meta schedule', 'S2-47: jobs, the version, schedules';
my ($status, undef, $error) = migrate('jobq');
is $status, 0, 'again: nothing to do' or diag $error;
is $pg->query('SELECT name FROM jobq.queues'), 'work', 'the queues are registered';
is $pg->query('SELECT max_attempts FROM jobq.queue'), 7, '… with their policy';
is $pg->query("SELECT data ->> 'a' FROM jobq.schedules"), 'b"c', '… and the schedules with their data';

# another name, beside it
is +(migrate('other_1'))[0], 0, 'a schema of another name';
is $pg->query("SELECT other_1.enqueue('work') + (SELECT count(*) FROM jobq.job)"), 1, '… is apart';
is $pg->query("SELECT count(*) FROM pg_proc p WHERE pronamespace = 'other_1'::regnamespace AND prosrc ~ '\\mjobq\\M'"), 0, '… and never speaks of the first';

# printed
my (undef, $sql) = migrate('third', '--print');
my ($printed, undef, $psql_error) = run_program([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', '-', $url ], in => $sql);
is $printed, 0, 'what --print prints makes a schema (S2-48)' or diag $psql_error;
is +(migrate('third'))[0], 0, '… that a migrate finds current';

# an encoding that cannot hold what jobs say
$pg->query("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' OWNER owner");
(my $latin = $url) =~ s{/jobq\?}{/latin?};
($status, undef, $error) = run_program([ jobqctl_program(), '--database', $latin, '--schema', 'jobq', 'migrate' ]);
is $status, 1, 'a database of another encoding is refused';
like $error, qr/"latin" has the encoding LATIN1.*createdb .*-E UTF8/, '… and the error says what to do';

# a newer one, and one without rights
$pg->query('UPDATE jobq.meta SET schema_version = 99');
like +(migrate('jobq'))[2], qr/version 99 and this jobqd knows \d+: install a newer jobqd/, 'a newer schema is left alone';
$pg->query('REVOKE CREATE ON DATABASE jobq FROM owner; REVOKE CREATE ON DATABASE jobq FROM PUBLIC');
like +(migrate('fourth'))[2], qr/fourth.*permission denied/, 'without the right to make one: a clear error';
