# What a job costs, in numbers that do not depend on what else the machine
# does: instructions (counted by valgrind), statements, bytes of WAL. Compared
# with cost.expected beside ./bench: more than a tenth above is an error.
#
# The SQL runs in a server without others, `postgres --single`, in batches of
# one size, as an ordinary role, which row-level security holds for; the daemon's
# own part is the slope between two drains.
package Bench::Cost;

use strict;
use warnings;

use List::Util qw(min);

use Bench;
use Jobqd;

our %commands = (
	cost => { order => 20, run => \&cost, does => 'instructions, statements and WAL of a job, beside what is expected' },
);

my $expected = source_directory() . '/contrib/bench/cost.expected';
my $tolerance = 0.10;
my $n = 5_000;		# jobs of each measure by SQL
my $batch = 500;
my $single = 500;	# of those one by one

# 200 bytes of data, as the other benchmarks have.
my $data = q{jsonb_build_object('user', i, 'kind', 'mail', 'blob', md5(i::text) || md5((i * 7)::text) || md5((i * 13)::text) || md5((i * 31)::text))};

# Each in a transaction of its own; more: further arguments.
sub enqueues {
	my ($more) = @_;
	return "do \$\$ declare d jsonb; begin for i in 1 .. $n loop d := $data; perform jobq.enqueue('work', 'mail', d$more); commit; end loop; end \$\$";
}

# Claims of so many jobs and ends of them, each in a transaction of its own.
sub runs {
	my ($jobs, $batch, $end) = @_;
	return <<"SQL" =~ s/\s+/ /gr;
do \$\$ declare
	p record; jobs bigint[]; n int := 0; k int[];
begin
	select * into p from jobq.pool_open('work', 'cost', 1); commit;
	while n < $jobs loop
		select array_agg(c.id) into jobs from (select * from jobq.claim(p.pool, p.queue_id, $batch)) c; commit;
		k := array[cardinality(jobs)];
		n := n + k[1];
		$end commit;
	end loop;
end \$\$
SQL
}

my %scripts = (
	'nothing' => 'select 1',
	'enqueue' => enqueues(''),
	'enqueue with a priority' => enqueues(', priority => 3'),
	'enqueue with delay and key' => enqueues(", delay => '1 hour', unique_key => i::text"),
	'enqueue_many' => "do \$\$ declare d jsonb; begin select jsonb_agg(jsonb_build_object('type', 'mail', 'data', $data)) into d from generate_series(1, $batch) i; for i in 1 .. $n / $batch loop perform count(*) from jobq.enqueue_many('work', d); commit; end loop; end \$\$",
	'claim and end' => runs($n, $batch, <<'SQL'),
perform from jobq.finish_ok(p.pool, jobs, array_fill(1, k), null, array_fill(9::bigint, k), array_fill(9::bigint, k),
    array_fill(0, k), false);
SQL
	'claim and end one by one' => runs($single, 1, <<'SQL'),
perform from jobq.finish_ok(p.pool, jobs, '{1}', null, '{9}', '{9}', '{0}', false);
SQL
	'claim and fail one by one' => runs($single, 1, <<'SQL'),
perform from jobq.finish(p.pool, jobs, '{1}', '{2}', '{1}', '{went wrong}', null, '{3600000}', '{9}', '{9}', '{0}', '{-1}',
    '{0}', '{-1}', '{-1}', '{f}');
SQL
);

# Instructions that a program under valgrind took, by its own log.
sub collected {
	my $sum = 0;
	for my $file (@_) {
		$sum += $1 if slurp($file) =~ /Collected : (\d+)/;
	}
	return $sum;
}

sub valgrind {
	my ($log) = @_;
	return ('valgrind', '--tool=callgrind', '--callgrind-out-file=/dev/null', "--log-file=$log");
}

# One script in a single-user server: its instructions.
sub single {
	my ($pg, $name) = @_;
	my $log = "$pg->{dir}/valgrind";
	spew("$pg->{dir}/script", "set role plain\n$scripts{$name}\n");
	my $status = $pg->run_as("$pg->{dir}/single.log", 'sh', '-c', 'exec "$@" <"$0"', "$pg->{dir}/script",
	    valgrind($log), Jobqd::Postgres::bindir() . '/postgres', '--single', '-D', "$pg->{dir}/data",
	    map({ ('-c', "$_=$Bench::settings{$_}") } sort keys %Bench::settings), 'jobq');
	my $out = slurp("$pg->{dir}/single.log");
	die "bench: '$name' failed in a single-user server:\n$out" if $status || $out =~ /ERROR|FATAL/;
	return collected($log);
}

sub by_sql {
	my ($costs) = @_;
	my $pg = server();
	$pg->query('CREATE ROLE plain LOGIN; GRANT CREATE ON DATABASE jobq TO plain');
	my ($status, undef, $err) = run_program([ jobqctl_program(), '--database', $pg->url =~ s/user=jobq/user=plain/r, 'migrate' ]);
	die "migrate: $err\n" if $status;
	$pg->query(q{SELECT jobq.register('{"node": "cost", "queues": [{"name": "work"}]}')});
	# as many partitions as there are after some days
	$pg->query(q{SELECT setval('jobq.job_id', (SELECT max(lo) FROM jobq.part)); SELECT jobq.part_make()}) for 1 .. 7;
	# the first claim of a queue after a crash looks at all jobs there are
	$pg->query(q{SELECT * FROM jobq.pool_open('work', 'cost', 1); SELECT * FROM jobq.claim(1, 1::smallint, 1)});
	seed($pg, 'work', 1000);	# no table is empty
	$pg->query('VACUUM ANALYZE');
	$pg->stop;
	single($pg, 'nothing');		# recovers nothing, but warms what is on the disk
	my $nothing = single($pg, 'nothing');
	for my $name ('enqueue', 'enqueue_many', 'claim and end', 'enqueue with a priority', 'enqueue with delay and key',
	    'claim and end one by one', 'claim and fail one by one') {
		$costs->{"$name, instructions of PostgreSQL"} = (single($pg, $name) - $nothing) / ($name =~ /one by one/ ? $single : $n);
	}
	return;
}

my $config = <<'YAML';
handlers: {null: {driver: noop}}
queues:   {work: {handler: null, workers: 1, concurrency: 500, recycle: {jobs: 0}}}
log:      {file: stderr, level: info}
monitor:  {interval: 1h, health_file: ""}
YAML

# A drain of so many jobs by a daemon under valgrind: its instructions.
sub drain_of {
	my ($jobs) = @_;
	my $dir = temp_directory();
	my $pg = server();
	my $d = Jobqd::Daemon->new(pg => $pg, name => 'cost', config => $config, wrap => [ valgrind("$dir/%p"), '--trace-children=yes' ]);
	$d->start;
	$pg->query("SELECT jobq.pause('work')");
	seed($pg, 'work', $jobs, batch => 5000);
	settle($pg);
	drained($pg, 'work', $jobs);
	$d->stop;
	$pg->stop;
	return collected(glob "$dir/*");
}

# What the server counts while a daemon drains at full speed. How claims and ends
# interleave is a matter of the moment, and can only add to both: the least
# of some drains is what they need.
sub drains {
	my ($costs) = @_;
	my $jobs = 30_000;
	my $pg = server(shared_preload_libraries => 'pg_stat_statements');
	$pg->query('CREATE EXTENSION pg_stat_statements', 'jobq');
	my $d = Jobqd::Daemon->new(pg => $pg, name => 'cost', config => $config);
	$d->start;
	my (@statements, @wal);
	for (1 .. 7) {
		$pg->query("SELECT jobq.pause('work')");
		seed($pg, 'work', $jobs, batch => 5000);
		settle($pg);
		$pg->query('SELECT pg_stat_statements_reset()');
		my $wal = $pg->query("SELECT pg_current_wal_insert_lsn() - '0/0'");
		drained($pg, 'work', $jobs);
		push @wal, $pg->query("SELECT pg_current_wal_insert_lsn() - '0/0'") - $wal;
		push @statements, $pg->query(q{SELECT sum(calls) FROM pg_stat_statements WHERE query ~ '(claim|finish|finish_ok|release)\\(\\$1'});
	}
	$d->stop;
	$pg->stop;
	$costs->{'claim and end, bytes of WAL'} = min(@wal) / $jobs;
	$costs->{'claim and end, statements of 1,000 jobs'} = 1000 * min(@statements) / $jobs;
	return;
}

sub enqueue_wal {
	my ($costs) = @_;
	my ($pg, $d) = Bench::stack("handlers: {null: {driver: noop}}\nqueues: {work: {handler: null, enabled: false}}\n");
	seed($pg, 'work', 20_000);
	settle($pg);
	for my $how ('enqueue', 'enqueue_many') {
		my $wal = $pg->query("SELECT pg_current_wal_insert_lsn() - '0/0'");
		$pg->query($scripts{$how});
		$costs->{"$how, bytes of WAL"} = ($pg->query("SELECT pg_current_wal_insert_lsn() - '0/0'") - $wal) / $n;
	}
	$d->stop;
	$pg->stop;
	return;
}

sub read_expected {
	my %expected;
	for my $line (split /\n/, slurp($expected)) {
		$expected{$2} = $1 if $line =~ /^([\d.]+)\s+(.+)$/;
	}
	return \%expected;
}

sub cost {
	system('command -v valgrind >/dev/null') == 0 or die "bench: valgrind is missing: apt-get install valgrind\n";
	my %costs;
	by_sql(\%costs);
	enqueue_wal(\%costs);
	drains(\%costs);
	my ($few, $many) = map { drain_of($_) } 10_000, 30_000;
	$costs{'run, instructions of jobqd'} = ($many - $few) / 20_000;
	my $expected_of = read_expected();
	my @grown;
	for my $name (sort keys %costs) {
		my $expect = $expected_of->{$name};
		result(name => $name, value => $costs{$name}, unit => '', note => $expect ? sprintf('expected %s, %+.1f %%', number($expect), 100 * ($costs{$name} / $expect - 1)) : 'not expected');
		push @grown, $name if !$expect || $costs{$name} > $expect * (1 + $tolerance);
	}
	if (option('write')) {
		spew($expected, join '', "# What a job costs: `make bench-cost` compares, bench cost write=1 writes.\n",
		    map { sprintf "%.1f\t%s\n", $costs{$_}, $_ } sort keys %costs);
		return;
	}
	return unless @grown;
	die "bench: a job costs more than is expected (contrib/bench/cost.expected): ", join('; ', @grown), "\n";
}

1;
