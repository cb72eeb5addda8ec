# Whatever somebody has set for the database or its role: sessions of jobqd have
# what their statements rely on, and applications keep what is theirs.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my %unusual = (
	'default_transaction_isolation' => 'serializable',
	'default_transaction_deferrable' => 'on',
	'statement_timeout' => '300ms',
	'lock_timeout' => '1ms',
	'idle_in_transaction_session_timeout' => '300ms',
	'idle_session_timeout' => '400ms',
	'standard_conforming_strings' => 'off',
	'array_nulls' => 'off',
	'plpgsql.extra_errors' => 'all',
	'plpgsql.variable_conflict' => 'error',
	'search_path' => 'nowhere',
	'transform_null_equals' => 'on',
	'"DateStyle"' => 'German',
	'"IntervalStyle"' => 'sql_standard',
	'"TimeZone"' => 'Asia/Kathmandu',
	'bytea_output' => 'escape',
	'client_encoding' => 'latin1',
	'enable_indexscan' => 'off',
	'enable_partition_pruning' => 'off',
);
my $pg = Jobqd::Postgres->new;
$pg->query("ALTER DATABASE jobq SET $_ = '$unusual{$_}'") for sort keys %unusual;

my ($status, $script) = run_program([ jobqctl_program(), '--schema', 'jobq', 'migrate', '--print' ]);
is $status, 0, 'the schema as a script';
unlike $pg->query($script =~ s/COMMIT;\s*$/ROLLBACK;/r), qr/ERROR/, '… which such a session takes';

my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
handlers:
  null: {driver: noop}
  false: {driver: exec, argv: [/bin/false]}
retry: {quick: {attempts: 2, backoff: fixed, base: 100ms}}
queues:
  work: {handler: null, workers: 1, concurrency: 20}
  keyed: {handler: null, workers: 1, concurrency_key: data.k}
  bad: {handler: false, workers: 1, retry: quick}
schedules:
  each-second: {cron: "* * * * * *", timezone: Europe/Berlin, queue: work, type: scheduled}
workflows:
  flow: {steps: {a: {queue: work}, b: {queue: work, after: [a]}}}
YAML
$d->start;
pass 'the schema is made, and the daemon starts';
sub q1 { return $pg->query("SELECT $_[0]") }
my %wants = (
	'work' => 'completed',
	"work', data => '{\"x\": \"ä\"}" => 'completed',
	"work', delay => '300 ms" => 'completed',
	"keyed', data => '{\"k\": 1}" => 'completed',
	"work', tags => '{a,b}', tenant => 't" => 'completed',
	'bad' => 'dead',
);
for my $call (sort keys %wants) {
	my $id = q1("jobq.enqueue('$call')");
	wait_for { q1("state FROM jobq.jobs WHERE id = $id") eq $wants{$call} } "the end of '$call'";
	pass "enqueue('$call'): $wants{$call}";
}
my $many = q1(q{string_agg(id::text, ',') FROM jobq.enqueue_many('work', '[{"type": "m"}, {"type": "n", "delay": "200 ms"}]') id});
my $after = q1("jobq.enqueue('work', after => array[$many])");
my $flow = q1("jobq.workflow('flow')");
wait_for { q1("state FROM jobq.jobs WHERE id = $after") eq 'completed' } 'a job after others';
wait_for { q1("state FROM jobq.workflows WHERE id = $flow") eq 'completed' } 'a workflow';
wait_for { q1("count(*) FROM jobq.jobs WHERE type = 'scheduled' AND state = 'completed'") > 0 } 'a schedule';
pass 'many, after others, a workflow, a schedule';
for my $command ([qw(status)], [qw(jobs)], [qw(dead list)], [qw(schedule list)]) {
	my ($status, undef, $err) = run_program([ jobqctl_program(), '--database', $pg->url, @$command ]);
	is "$status $err", '0 ', "jobqctl @$command";
}
my $waits = q1("jobq.enqueue('work', delay => '1 h')");
($status) = run_program([ jobqctl_program(), '-c', $d->{conf}, qw(queue clear work --yes) ]);
is $status . q1("state FROM jobq.jobs WHERE id = $waits"), '0cancelled', 'jobqctl queue clear';
is q1("current_setting('default_transaction_isolation')"), 'serializable', 'an application keeps what is set for it';
is q1(q{jobq.complete(1, '1.1.1')}), 'f', '… and its token is read as one, whatever a backslash is to it';
is q1(q{jobq.schedule_put('once', '{"at": "2100-01-01T10:00:00.5Z", "queue": "work"}')}), '', '… an instant';
is q1(q{jobq.error_pattern('no answer after 12.5 s (status 504)')}), 'no answer after # s (status #) 504', '… the kind of an error';
is join("\n", grep { !/runs as root|durability|job (failed|dead)/ } $d->log =~ /^.* (?:warn|error) .*$/mg), '', 'no warning, no error in the log';
is $d->stop, 0, 'stops with status 0';
done_testing;
