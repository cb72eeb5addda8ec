# Reports of very many rows: a million of csv and 200,000 of xlsx and pdf
# (REPORT_ROWS says how many of all) in a worker that stays below 64 MiB. A row
# has seven columns of texts, numbers and instants. S4-46 S1-56
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use POSIX ();
use Test::More;
use Time::HiRes qw(time);

my ($status, $version) = run_program([ jobqd_program(), '-V' ]);
my $dir = temp_directory();
my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers:
  report:
    driver: report
    directory: $dir/reports
    reports:
      trips:
        title: Trips
        query: "SELECT i AS id, 'Vehicle ' || i % 500 AS vehicle, md5(i::text) AS hash, i * 1.25 AS km, now() - i * interval '1 s' AS at, i % 7 = 0 AS night, 'region ' || i % 20 AS region FROM generate_series(1, (\$1->>'rows')::int) i"
        totals: [km]
        chart: {label: region, value: km}
queues:
  csv:  {handler: report, timeout: 30m}
  xlsx: {handler: report, timeout: 30m}
  pdf:  {handler: report, timeout: 30m}
YAML
$d->start;

my %rows = (csv => 1_000_000, xlsx => 200_000, pdf => 200_000);
for my $format (split " ", $ENV{REPORT_FORMATS} || "csv xlsx pdf") {
	my $rows = $ENV{REPORT_ROWS} || $rows{$format};
	SKIP: {
		skip "this build has no $format", 2 if $format eq 'xlsx' && $version !~ /libxlsxwriter/ || $format eq 'pdf' && $version !~ /cairo/;
		my $begin = time;
		my $id = $pg->query(qq(SELECT jobq.enqueue('$format', '', '{"format": "$format", "rows": $rows}')));
		wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") =~ /^(?:completed|dead)$/ } "the $format", 1200;
		my $job = decode_json($pg->query("SELECT row_to_json(j) FROM jobq.jobs j WHERE id = $id"));
		# S4-46: what is large is no data of a job.
		is $job->{result}{rows}, $rows, sprintf('%s of %d rows: %.1f MB in %.1f s', $format, $rows, ($job->{result}{bytes} || 0) / 1e6, time - $begin)
		    or diag $job->{error};
		my ($worker) = $d->pids(qr/worker $format/);
		SKIP: {
			skip 'memory is not as usual in a sanitizer build', 1 if $version =~ /sanitize/;
			my ($peak) = slurp("/proc/$worker/status") =~ /^VmHWM:\s+(\d+) kB/m;
			my @stat = split ' ', slurp("/proc/$worker/stat") =~ s/^.*\) //sr;
			cmp_ok $peak, '<', 64 * 1024, sprintf('… by a worker of at most %.1f MiB in %.1f s of CPU',
			    $peak / 1024, ($stat[11] + $stat[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK()));
		}
		unlink $job->{result}{file};
	}
}
done_testing;
