# What the benchmarks share: a PostgreSQL with the settings of a real one, a
# jobqd on it, what it all costs, and how results are printed.
package Bench;

use strict;
use warnings;

use Exporter qw(import);
use FindBin;
use lib "$FindBin::RealBin/../../t/lib";
use Jobqd;
use JSON::PP ();
use POSIX ();
use Time::HiRes qw(time);

our @EXPORT = qw(option number server stack load_json load_lines result note cost_of settle seed drained);

$Jobqd::show_stopped = 0;
our %options = (json => 0, jobs => 100_000, seconds => 30, queues => 40, large => 6_000);
my $json = JSON::PP->new->canonical;

# Durable, as in production; the sizes are those that a machine with 24 GiB would get.
our %settings = (
	fsync => 'on', synchronous_commit => 'on', shared_buffers => '1GB', max_wal_size => '4GB',
	wal_compression => 'on', max_connections => 200,
);

sub option { return $options{ $_[0] } }

# 1234567 → 1,234,567; small ones with the digits that matter.
sub number {
	my ($n) = @_;
	return '-' unless defined $n;
	my $text = abs $n >= 100 || $n == int $n ? sprintf '%.0f', $n : abs $n >= 1 ? sprintf '%.2f', $n : sprintf '%.3g', $n;
	1 while $text =~ s/^(-?\d+)(\d{3})/$1,$2/;
	return $text;
}

# Print one measure. name, value, unit; optional: limit (what the same rows
# allow by themselves, same unit), goal (text), and more for the JSON.
sub result {
	my (%r) = @_;
	$r{ratio} = $r{value} / $r{limit} if $r{limit};
	if (option('json')) {
		print $json->encode(\%r), "\n";
	} else {
		my $more = () = $r{name} =~ /[\x80-\xbf]/g;	# bytes that are no column
		printf "%-*s %12s %-8s", 34 + $more, $r{name}, number($r{value}), $r{unit};
		printf "  limit %10s  %3.0f %%", number($r{limit}), 100 * $r{ratio} if $r{limit};
		print "  ($r{note})" if $r{note};
		print "\n";
	}
	STDOUT->flush;
	return $r{value};
}

sub note { print STDERR "# @_\n" }

# A fresh PostgreSQL.
sub server {
	my (%o) = @_;
	return Jobqd::Postgres->new(fresh => 1, settings => { %settings, %o });
}

# A fresh PostgreSQL and a jobqd with this configuration on it, ready.
sub stack {
	my ($config, %o) = @_;
	my $pg = $o{pg} || server();
	my $d = Jobqd::Daemon->new(pg => $pg, name => $o{name} || 'bench', config => $config
	    . "\nlog: {file: stderr, level: info}\n"
	    . "monitor: {interval: 60s, health_file: \"\"}\n");
	$d->start;
	return ($pg, $d);
}

# How to run one of the programs in C beside this.
sub tool {
	my ($name, @args) = @_;
	my $program = ($ENV{JOBQD_BUILDDIR} || '.') . "/contrib/bench/$name";
	die "$program is missing: run the benchmarks by `make bench`\n" unless -x $program;
	return ($program, @args);
}

# Run it, and give each line that it prints to a function.
sub lines_of {
	my ($each, $name, @args) = @_;
	my $pid = open my $out, '-|', tool($name, @args) or die "$name: $!\n";
	while (my $line = <$out>) { $each->($json->decode($line)) }
	close $out or die "$name $args[0] failed\n";
	return;
}

# Run the load program on a server.
sub load_lines {
	my ($each, $command, $pg, @args) = @_;
	lines_of($each, 'load', $command, $pg->url, @args);
	return;
}

# The same: its last line.
sub load_json {
	my (@args) = @_;
	my $last;
	load_lines(sub { $last = $_[0] }, @args);
	return $last;
}

# Statistics and a checkpoint, so that no measure pays for what was before it.
sub settle {
	my ($pg) = @_;
	$pg->query('VACUUM ANALYZE');
	$pg->query('CHECKPOINT');
	return;
}

# Enqueue jobs that do nothing.
sub seed {
	my ($pg, $queue, $jobs, %o) = @_;
	return load_json('many', $pg, $queue, "jobs=$jobs", map { "$_=$o{$_}" } sort keys %o);
}

# How many attempts have completed, by jobqd's own books.
sub completed {
	my ($pg) = @_;
	return $pg->query('SELECT coalesce(sum(n), 0) FROM (SELECT sum(completed) n FROM jobq.tally UNION ALL SELECT sum(completed) FROM jobq.total) t');
}

# Resume queues (names with commas between) and wait until so many more jobs
# have completed, or died; returns the seconds that took. The waiting is one
# session that sleeps in the server.
sub drained {
	my ($pg, $queues, $jobs) = @_;
	my $sql = <<"SQL";
do \$\$
declare
	before bigint;
	have bigint;
	gives_up timestamptz := clock_timestamp() + interval '10 minutes';
begin
	select coalesce(sum(n), 0) into before from (select sum(completed + dead) n from jobq.tally union all select sum(completed + dead) from jobq.total) t;
	perform jobq.resume(q) from unnest(string_to_array('$queues', ',')) q;
	commit;
	perform set_config('bench.from', extract(epoch from clock_timestamp())::text, false);
	loop
		select coalesce(sum(n), 0) into have from (select sum(completed + dead) n from jobq.tally union all select sum(completed + dead) from jobq.total) t;
		exit when have >= before + $jobs;
		if clock_timestamp() > gives_up then
			raise exception 'only % of $jobs jobs were done in 10 minutes', have - before;
		end if;
		commit;
		perform pg_sleep(0.02);
	end loop;
end
\$\$;
select extract(epoch from clock_timestamp()) - current_setting('bench.from')::float8;
SQL
	return $pg->query($sql);
}

# CPU seconds, of a process and what it waited for.
sub cpu_of {
	my ($pid) = @_;
	my @f = split ' ', (slurp("/proc/$pid/stat") =~ /^\d+ \(.*\) (.*)/s)[0] // return 0;
	return ($f[11] + $f[12] + $f[13] + $f[14]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

sub cpu_of_tree {
	my ($root) = @_;
	my $sum = 0;
	$sum += cpu_of($_) for $root, process_tree($root);
	return $sum;
}

# Memory of processes in KiB, what they share divided among them.
sub pss_of {
	my $sum = 0;
	for my $pid (@_) {
		$sum += $1 if slurp("/proc/$pid/smaps_rollup") =~ /^Pss:\s+(\d+)/m;
	}
	return $sum;
}

# Run code and see what it costs: seconds of CPU of the daemon and of the
# server, bytes of WAL, transactions, and what the code returned.
sub cost_of {
	my ($pg, $d, $code) = @_;
	my $look = sub {
		my ($wal, $commits) = split /\|/, $pg->query('SELECT pg_current_wal_insert_lsn() - \'0/0\', (SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database)');
		return { daemon => cpu_of_tree($d->{pid}), server => cpu_of_tree($pg->{pid}), wal => $wal, transactions => $commits, at => time };
	};
	my $before = $look->();
	my $value = $code->();
	my $after = $look->();
	return { value => $value, map { ($_ => $after->{$_} - $before->{$_}) } keys %$before };
}

1;
