# Tenants in the database: with jobq.tenant set a session sees and changes what is
# of that tenant only, in every table, view and function there is; the owner too,
# who is an ordinary role. S4-50, S0-70.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More;

my $pg = schema(owner => 'owner');
{
	local $pg->{user};	# making roles is for a superuser
	$pg->query(slurp(source_directory() . '/src/db/sql/95-roles.sql'));
	$pg->query('CREATE ROLE reader LOGIN IN ROLE jobq_reader; CREATE ROLE admin LOGIN IN ROLE jobq_admin; CREATE ROLE exempt LOGIN BYPASSRLS IN ROLE owner');
}
$pg->query(q{SELECT jobq.register('{"node": "n", "queues": [{"name": "work"}, {"name": "keyed", "key": "data.k"}, {"name": "never"}],
    "schedules": [{"name": "s-acme", "queue": "work", "spec": "1h", "tenant": "acme"}, {"name": "s-beta", "queue": "work", "spec": "1h", "tenant": "beta"}],
    "alerts": [{"name": "a", "metric": "backlog", "kind": "count", "severity": "warning", "above": "5", "window": "5m", "for": "0", "repeat": "0", "escalate_after": "0", "min_jobs": 0, "queues": [], "notify": [], "escalate_notify": []}],
    "workflows": {"w": {"steps": {"one": {"queue": "work"}, "two": {"queue": "work", "after": ["one"]}}}}}')});
my ($pool, $q) = pool($pg, 'work', 'n');
my ($keys, $k) = pool($pg, 'keyed', 'n');
$pg->query("SELECT jobq.statistics_take('1 second')");	# they begin here

# sql in a session that is bound to a tenant
sub in { my ($tenant, $sql) = @_; return $pg->query("SET jit = off; SET jobq.tenant = '$tenant'; $sql") }
sub refused { my ($tenant, $sql) = @_; my (undef, $out, $err) = $pg->try_query("\\set VERBOSITY verbose\nSET jobq.tenant = '$tenant'; $sql"); return $err =~ /ERROR:  (\w+):/ ? $1 : "no error: $out" }

# the same of each tenant: a job in every state, and everything that can be about one;
# whatever is text says whose it is
my %job;
for my $t ('acme', 'beta') {
	my $put = sub { my ($name, $more) = @_; $job{$t}{$name} = $pg->query("SELECT jobq.enqueue('work', 'type-$t', '{\"of\": \"secret-$t\"}', tenant => '$t', tags => '{tag-$t}'$more)") };
	$put->($_, '') for 'completed', 'dead', 'retrying';
	my @lease = claim($pg, $pool, $q, 3);
	finish_ok($pg, $pool, $lease[0]);
	finish_failed($pg, $pool, $lease[1], 3, error => "secret-$t fell over");
	finish_failed($pg, $pool, $lease[2], 2, error => "secret-$t stumbled", delay => 3600000);
	$put->('running', '');
	claim($pg, $pool, $q, 1);
	$pg->query("SELECT jobq.progress($job{$t}{running}, 5, 'secret-$t'), jobq.output_add($job{$t}{running}, 1, 'secret-$t')");
	$pg->query("SELECT jobq.beat($pool, null, '{0}', '{1}', '{running}', '{$job{$t}{running}}', '{0}', '{1}')");
	$put->('scheduled', ", delay => '1 hour', unique_key => 'same'");
	$put->('blocked', ", after => '{$job{$t}{scheduled}}'");
	$put->('cancelled', '');
	$pg->query("SET jobq.actor = 'secret-$t'; SELECT jobq.cancel($job{$t}{cancelled}), jobq.cancel($job{$t}{running}), jobq.review($job{$t}{dead}, 'secret-$t', 'secret-$t')");
	$job{$t}{workflow} = $pg->query("SELECT jobq.workflow('w', '{\"of\": \"secret-$t\"}', '$t')");
	$job{$t}{gone} = $pg->query("SELECT jobq.enqueue('never', 'type-$t', tenant => '$t')");
	$pg->query("SELECT jobq.enqueue('keyed', 'type-$t', '{\"k\": \"secret-$t\"}', tenant => '$t') FROM generate_series(1, 2)");
	claim($pg, $keys, $k, 9);	# the second one is parked
	$pg->query("SELECT jobq.pause('work', 'secret-$t', tenant => '$t')");
	$pg->query("UPDATE jobq.schedule SET description = 'secret-$t' WHERE tenant = '$t'");
	$put->('ready', '');
}
wait_for { $pg->query("SELECT jobq.statistics_take('1 second'); SELECT count(DISTINCT tenant) FROM jobq.statistic WHERE tenant IS NOT NULL") =~ /^2$/m } 'the statistics';
my %other = (acme => 'beta', beta => 'acme');
my %ids = map { my $t = $_; ($t => join ',', $pg->query("SELECT string_agg(id::text, ',') FROM jobq.jobs WHERE tenant = '$t'")) } keys %job;

# every table: no fence is around what is shared, or on every job's way
my @tables = split /\n/, $pg->query(q{SELECT relname FROM pg_class WHERE relnamespace = 'jobq'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY 1});
my %shown = map { $_ => 1 } 'turn', 'hold', 'pool_load', 'fair_share';	# keys on a job's way, and what is paused
my $fenced = $pg->query(q{SELECT count(*) FROM pg_class WHERE relnamespace = 'jobq'::regnamespace AND relrowsecurity AND relforcerowsecurity});
my (%mine, %foreign);
for my $t (keys %other) {
	for my $row (split /\n/, in($t, join ' UNION ALL ', map {
	    "SELECT '$_', count(*) FILTER (WHERE x::text ~ 'secret-$other{$t}|type-$other{$t}'), count(*) FILTER (WHERE x::text ~ 'secret-$t|type-$t') FROM jobq.$_ x" } @tables)) {
		my ($table, $foreign, $mine) = split /\|/, $row;
		$foreign{$table} += $foreign;
		$mine{$table} += $mine;
	}
}
is_deeply [ grep { $foreign{$_} && !$shown{$_} } @tables ], [], sprintf('of %d tables, %d of them fenced, none shows a row of another tenant: S4-50', scalar @tables, $fenced);
cmp_ok scalar(grep { $mine{$_} } @tables), '>=', 10, '… and ' . scalar(grep { $mine{$_} } @tables) . ' show those of the own one';

# every view, also by who only reads
my @views = split /\n/, $pg->query(q{SELECT relname FROM pg_class WHERE relnamespace = 'jobq'::regnamespace AND relkind = 'v' ORDER BY 1});
my %columns;	# that have ids of jobs
for (split /\n/, $pg->query(q{SELECT c.relname || ' ' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'jobq'::regnamespace AND c.relkind = 'v' AND a.attname IN ('id', 'job_id', 'job', 'last_job_id')})) {
	my ($view, $column) = split;
	push @{ $columns{$view} }, $column;
}
for my $t (keys %other) {
	my @bad = split /\n/, in($t, join ' UNION ALL ', map {
		my $view = $_;
		my $of = $view eq 'workflows' ? "id = $job{$other{$t}}{workflow}" : join ' OR ', 'false', map { "$_ IN ($ids{$other{$t}})" } @{ $columns{$view} };
		"SELECT '$view' FROM jobq.$view x WHERE x::text ~ 'secret-$other{$t}|type-$other{$t}' OR $of";
	} @views);
	is_deeply \@bad, [], "$t: of " . @views . ' views none shows a row of another tenant';
	is in($t, "SELECT string_agg(DISTINCT state, ' ' ORDER BY state) FROM jobq.jobs WHERE tenant = '$t' AND queue = 'work'"), 'blocked cancelled completed dead ready retrying running scheduled', '… its own jobs are there';
	is in($t, 'SELECT count(*) FROM jobq.jobs') - $pg->query("SELECT count(*) FROM jobq.jobs WHERE tenant = '$t'"), 0, '… all of them, and no others';
	is in($t, "SELECT concat_ws(' ', scheduled, blocked, running, retrying, completed, dead, cancelled) FROM jobq.queues WHERE name = 'work'"), '1 1 1 1 1 1 1', '… a queue is counted so';
	is in($t, "SELECT count(*) || ' ' || sum(completed) FROM jobq.statistics WHERE queue = 'work' AND completed > 0"), '1 1', '… and so are the statistics';
	is in($t, "SELECT sum(completed) FROM jobq.statistics_range(now() - interval '1 minute')"), 1, '… and their sums';
	is in($t, 'SELECT string_agg(name, $$ $$) FROM jobq.schedules'), "s-$t", '… its schedule (S0-70)';
	is in($t, 'SELECT count(*) || max(tenant) FROM jobq.workflows'), "1$t", '… its workflow';
	is in($t, 'SELECT string_agg(tenant, $$ $$) FROM jobq.holds'), $t, '… what is held of it';
	is in($t, "SELECT ready FROM jobq.queues WHERE name = 'work'") + 0, in($t, "SELECT count(*) FROM jobq.jobs WHERE state = 'ready' AND queue = 'work'"), '… and what is ready';
}
is in('nobody', "SELECT sum(completed + dead + ready + running + scheduled) FROM jobq.queues") + in('nobody', 'SELECT count(*) FROM jobq.jobs'), 0, 'who has nothing sees nothing';
my ($reader) = run_program([ 'psql', '-XAtqc', "SET jobq.tenant = 'acme'; SELECT 1 / (count(*) = count(*) FILTER (WHERE tenant = 'acme') AND count(*) > 3)::int FROM jobq.jobs", $pg->url =~ s/user=owner/user=reader/r ]);
is $reader, 0, 'a role that reads is fenced as well';

# every function that people have: with what is another's it finds nothing,
# changes nothing, or refuses
my %b = %{ $job{beta} };
my $all = join ',', grep { defined } @b{qw(completed dead retrying running scheduled blocked ready)};
my %call = (
	cancel => [ map { [ "jobq.cancel($b{$_})", 'f' ] } 'ready', 'running', 'scheduled' ],
	retry => [ map({ [ "jobq.retry($b{$_})", 'f' ] } 'dead', 'retrying'), [ "jobq.retry($b{dead}, '{}')", 'f' ] ],
	delete => [ map { [ "jobq.delete($b{$_})", 'f' ] } 'ready', 'dead', 'completed' ],
	review => [ [ "jobq.review($b{dead}, 'x')", 'f' ] ],
	review_dead => [ [ "jobq.review_dead('{$all}', 'x')", 0 ] ],
	retry_dead => [ [ "count(*) FROM jobq.retry_dead('{$all}')", 0 ] ],
	delete_dead => [ [ "jobq.delete_dead('{$all}')", 0 ] ],
	progress => [ [ "jobq.progress($b{running}, 9)", 'f' ] ],
	complete => [ [ "jobq.complete($b{running}, (SELECT format('%s.%s.%s', pool, batch, attempt) FROM jobq.lease WHERE job = $b{running}))", 'f' ],
	    map { [ "count(*) FROM generate_series(1, 20) i WHERE jobq.complete($b{running}, format('$pool.%s.1', i))", 0 ] } 1 ],
	why => [ [ "jobq.why($b{dead}) ~ 'there is no job' AND jobq.why($b{running}) ~ 'there is no job'", 't' ] ],
	workflow_cancel => [ [ "jobq.workflow_cancel($b{workflow})", 'f' ] ],
	workflow_retry => [ [ "jobq.workflow_retry($b{workflow})", 'f' ] ],
	enqueue => [ map({ [ $_, '42501' ] } "jobq.enqueue('work', tenant => 'beta')", "jobq.enqueue('work', tenant => 'beta', delay => '1 hour')"), [ "jobq.enqueue('work', after => '{$b{scheduled}}')", '22023' ] ],
	enqueue_many => [ [ q{count(*) FROM jobq.enqueue_many('work', '[{}, {"tenant": "beta"}]')}, '42501' ] ],
	workflow => [ [ "jobq.workflow('w', '{}', 'beta')", '42501' ] ],
	batch => [ [ "jobq.batch('work', '[]', tenant => 'beta')", '42501' ], [ q{jobq.batch('work', '[{"tenant": "beta"}]')}, '42501' ] ],
	clear => [ [ "jobq.clear('never')", 1 ] ],	# its own one
	clear_plan => [ [ "count(*) FROM jobq.clear_plan('never')", 0 ] ],
	clear_jobs => [ [ "jobq.clear_jobs('work', '{$all}')", 0 ] ],
	clean => [ [ "jobq.clean('never', 'completed', '0')", 0 ] ],
	clean_plan => [ [ "count(*) FROM jobq.clean_plan('work', 'dead', '0') u WHERE u && '{$all}'", 0 ] ],
	clean_jobs => [ [ "jobq.clean_jobs('work', '{$all}')", 0 ] ],
	inventory => [ [ "jobq.inventory()::text ~ 'beta|\"node\"'", 'f' ] ],
	ready_of => [ [ "ready FROM jobq.ready_of((SELECT id FROM jobq.queue WHERE name = 'never'))", 0 ] ],	# after clear
	ended_share => [ [ "sum(completed) FROM jobq.ended_share('work')", 1 ] ],
	statistics_range => [ [ "coalesce(sum(completed), 0) FROM jobq.statistics_range(now() - interval '1 minute', tenant => 'beta')", 0 ] ],
	schedule_outcome => [ [ "coalesce(jobq.schedule_outcome('{$b{dead}}'), 'unknown')", 'unknown' ] ],
	sees => [ [ "jobq.sees($b{ready})", 'f' ] ],
	sees_workflow => [ [ "jobq.sees_workflow($b{workflow})", 'f' ] ],
	tenant => [ [ 'jobq.tenant()', 'acme' ] ],
	map({ $_->[0] => [ [ "jobq.$_->[0]($_->[1])", '42501' ] ] } [ 'pause', "'work'" ], [ 'resume', "'work'" ], [ 'queue_remove', "'never'" ],
	    [ 'schedule_run', "'s-acme'" ], [ 'schedule_pause', "'s-acme'" ], [ 'schedule_resume', "'s-acme'" ], [ 'schedule_remove', "'s-acme'" ],
	    [ 'schedule_put', q{'new', '{"every": "1h", "queue": "work"}'} ], [ 'alert_ack', "'a'" ], [ 'alert_silence', "'a', now() + interval '1 hour'" ],
	    [ 'alert_unsilence', "'a'" ], [ 'alert_set', q{'a', '{"above": "9"}'} ], [ 'alert_reset', "'a'" ], [ 'statistics_take', "'1 minute'" ],
	    [ 'audit_verify', '' ], [ 'capacity', '' ], [ 'retry_compare', "'work'" ], [ 'checkup', '' ], [ 'report', "'1 day'" ], [ 'report_json', '' ], [ 'top', 'now()' ], [ 'top_queue', "'work'" ]),
);
# of values alone
my %pure = map { $_ => 1 } qw(outcome_name class_name ms us steps step_now step_us quantile histogram_count class_counts bucket_edge levels retry_half);
my @functions = split /\n/, $pg->query(q{SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'jobq'::regnamespace AND has_function_privilege('jobq_admin', oid, 'execute') ORDER BY 1});
is_deeply [ grep { !$call{$_} && !$pure{$_} } @functions ], [], 'all ' . @functions . ' functions of people are looked at here';
my $sum = "SELECT md5(string_agg(x::text, ',' ORDER BY id)) FROM (SELECT id, state, priority, data, error, attempt, progress, progress_note, run_at FROM jobq.jobs WHERE tenant = 'beta') x";
my $was = $pg->query($sum);
my @wrong;
my $calls = 0;
for my $name (sort keys %call) {
	for my $c (@{ $call{$name} }) {
		$calls++;
		my $got = $c->[1] =~ /^\d{5}$/ ? refused('acme', "SELECT $c->[0]") : eval { in('acme', "SELECT $c->[0]") } // $@;
		push @wrong, "$c->[0] gives $got, not $c->[1]" if $got ne $c->[1];
	}
}
is_deeply \@wrong, [], "$calls calls with what is another tenant's: nothing is found, or refused";
is $pg->query($sum), $was, '… and nothing of that tenant has changed';
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE tenant = 'beta' AND id NOT IN ($ids{beta})"), 0, '… nor has it more';

# what a tenant does with its own
my %own = %{ $job{acme} };
for my $sql ("jobq.enqueue('work')", "jobq.enqueue('work', delay => '1 hour')", "jobq.enqueue('work', tenant => 'acme')") {
	my $id = in('acme', "SELECT $sql");
	is $pg->query("SELECT tenant FROM jobq.jobs WHERE id = $id"), 'acme', "$sql: is the tenant's";
}
is in('acme', q{SELECT string_agg(DISTINCT tenant, ' ') FROM jobq.jobs WHERE id IN (SELECT jobq.enqueue_many('work', '[{}, {"data": {"n": 1}}, {"delay": "1 hour"}]'))}), '', 'not seen by the statement that makes them';
is $pg->query(q{SELECT string_agg(DISTINCT coalesce(tenant, 'none'), ' ') FROM jobq.jobs WHERE id > } . $pg->query('SELECT max(id) - 3 FROM jobq.jobs')), 'acme', 'many at once are the tenant\'s';
my $w = in('acme', "SELECT jobq.workflow('w')");
is $pg->query("SELECT w.tenant || ' ' || j.tenant FROM jobq.workflows w JOIN jobq.jobs j ON j.workflow = w.id WHERE w.id = $w"), 'acme acme', 'a workflow, and its jobs';
my @same = map { in($_, "SELECT jobq.enqueue('work', unique_key => 'same')") } 'acme', 'beta', 'acme';
is "$same[0] $same[1]", "$own{scheduled} $b{scheduled}", 'a unique key of each tenant is another one';
isnt $pg->query("SELECT jobq.enqueue('work', unique_key => 'same')"), $same[0], '… and so is that of no tenant';
is in('acme', "SELECT jobq.cancel($own{ready})") . in('acme', "SELECT jobq.retry($own{retrying})") . in('acme', "SELECT count(*) FROM jobq.retry_dead('{$own{dead}}')"), 'tt1', 'it cancels and retries its own';
is in('acme', "SELECT jobq.delete($own{completed})") . $pg->query("SELECT count(*) FROM jobq.jobs WHERE id = $own{completed}"), 't0', '… and deletes';
is in('acme', "SELECT jobq.cancel($own{scheduled})") . $pg->query("SELECT state FROM jobq.jobs WHERE id = $own{blocked}"), 'tcancelled', '… and what waits for a cancelled one is cancelled';
is $pg->query("SELECT completed FROM jobq.queues WHERE name = 'work'"), 1, 'the totals know of the deleted one';
my $beta = $pg->query("SELECT count(*) FROM jobq.jobs WHERE tenant = 'beta' AND state IN ('ready', 'scheduled', 'blocked', 'retrying')");
cmp_ok in('acme', "SELECT jobq.clear('work')"), '>', 3, 'it clears its share of a queue';
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE tenant = 'beta' AND state IN ('ready', 'scheduled', 'blocked', 'retrying')"), $beta, '… and of no other';
is in('acme', "SELECT jobq.clean('work', 'cancelled', '0')"), $pg->query("SELECT count(*) FROM jobq.attempt a WHERE outcome = 4 AND queue = $q AND NOT EXISTS (SELECT FROM jobq.job j WHERE j.id = a.job)"), '… and cleans it';

# a job that waits for two, one of which is another's: the end of the first is not enough
my ($a, $f) = map { $pg->query("SELECT jobq.enqueue('never', tenant => '$_', delay => '1 hour')") } 'acme', 'beta';
my $both = $pg->query("SELECT jobq.enqueue('never', tenant => 'acme', after => '{$a,$f}')");
my ($never, $n) = pool($pg, 'never', 'n');
$pg->query("UPDATE jobq.timer SET run_at = now() WHERE job = $a; SELECT * FROM jobq.due(10)");
claim($pg, $never, $n, 10);
my $token = $pg->query("SELECT format('%s.%s.%s', pool, batch, attempt) FROM jobq.lease WHERE job = $a");
is in('acme', "SELECT jobq.complete($a, '$token')") . state($pg, $both), 'tblocked', 'a job that waits for another tenant\'s still waits';
$pg->query("SELECT jobq.cancel($f)");
is state($pg, $both), 'cancelled', '… until that has ended';

# one session for one tenant after the other: nothing of a plan or a setting stays
my $session = $pg->session;
my $bad = 0;
for my $i (1 .. 30) {
	my $t = $i % 3 ? $i % 2 ? 'acme' : 'beta' : '';
	$session->query('BEGIN');
	$session->query("SELECT set_config('jobq.tenant', '$t', true)");
	my $seen = $session->query(q{SELECT string_agg(DISTINCT tenant, ' ' ORDER BY tenant) FROM jobq.jobs WHERE tenant IS NOT NULL});
	$bad++ if $seen ne ($t || 'acme beta');
	$session->query('COMMIT');
}
is $bad, 0, 'a connection serves one tenant after the other, 30 transactions';

# whether the fence holds
is $pg->query('SELECT jobq.fence_broken()'), '', 'the fence holds for the owner';
like as('exempt', 'SELECT jobq.fence_broken()'), qr/role "exempt" is exempt from row-level security/, '… not for BYPASSRLS';
like as('jobq', 'SELECT jobq.fence_broken()'), qr/role "jobq" is a superuser/, '… nor for a superuser';
$pg->query('ALTER TABLE jobq.dead NO FORCE ROW LEVEL SECURITY');
like $pg->query('SELECT jobq.fence_broken()'), qr/off for the table "dead"/, '… nor where somebody has taken it down';
done_testing;

sub as {
	my ($role, $sql) = @_;
	return (run_program([ 'psql', '-XAtqc', ($role eq 'exempt' ? 'SET search_path = public; ' : '') . $sql, $pg->url =~ s/user=owner/user=$role/r ]))[1];
}
