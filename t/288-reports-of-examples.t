# etc/examples/reports.yml does what it says: S1-6 (report_generation), S1-7
# (data_export), S1-8 (maintenance_reminder), S1-9 (data_cleanup), S0-31, S0-39,
# S4-16, S4-19.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More;

my ($status, $version) = run_program([ jobqd_program(), '-V' ]);
plan skip_all => 'this build has no xlsx, pdf or email'
    unless $version =~ /libxlsxwriter/ && $version =~ /cairo/ && $version =~ /^drivers:.*email/m;
my $dir = temp_directory();
my $pg = Jobqd::Postgres->new;
$pg->query(<<'SQL');
CREATE TABLE vehicle (id int primary key, plate text, region text);
INSERT INTO vehicle SELECT i, 'AB ' || i, 'region ' || i % 3 FROM generate_series(1, 12) i;
CREATE TABLE trip (id int primary key, vehicle int, at timestamptz, km numeric(8,1));
INSERT INTO trip SELECT i, 1 + i % 12, '2026-01-01'::timestamptz + i * interval '1 day', 10.5 FROM generate_series(1, 240) i;
CREATE TABLE gps_track (at timestamptz);
INSERT INTO gps_track SELECT now() - i * interval '1 hour' FROM generate_series(1, 24 * 100) i;
CREATE TABLE audit_log (at timestamptz);
CREATE TABLE reminder (vehicle int, kind text, job bigint);
CREATE MATERIALIZED VIEW vehicle_totals AS SELECT vehicle, sum(km) AS km FROM trip GROUP BY vehicle;
CREATE UNIQUE INDEX ON vehicle_totals (vehicle);
SQL
my %environment = (FLEET_RUN => $dir, DATABASE_URL => $pg->url, REPORT_DIRECTORY => "$dir/reports", MAIL_SERVER => "file:$dir/mail");
mkdir "$dir/mail";
my $d = do {
	local @ENV{ keys %environment } = values %environment;
	my $text = slurp(source_directory() . '/etc/examples/reports.yml');
	$text =~ s/^daemon:.*\n//m;	# the test's own
	$text =~ s/^monitor:.*\n//m;
	Jobqd::Daemon->new(pg => $pg, config => $text)->start;
};

sub run {
	my ($queue, $type, $data) = @_;
	my $id = $pg->query("SELECT jobq.enqueue('$queue', '$type', '" . JSON::PP->new->encode($data) . "')");
	wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") =~ /^(?:completed|dead)$/ } "the $type";
	my $job = decode_json($pg->query("SELECT row_to_json(j) FROM jobq.jobs j WHERE id = $id"));
	is $job->{state}, 'completed', $type or diag $job->{error};
	return $job;
}

my $r = run('reports', 'report_generation', { report_type => 'fleet_summary', format => 'pdf', start_date => '2026-02-01', end_date => '2026-02-28', notifyEmail => 'office@example.com' })->{result};
is $r->{rows}, 12, 'S1-6: a report';
my $text = (run_program([ 'pdftotext', '-layout', $r->{file}, '-' ]))[1];
like $text, qr/Fleet summary.*Total +28 +294\.0/s, '… of a period, with its totals';
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $r->{mail_job}") eq 'completed' } 'the mail';
my ($mail) = glob "$dir/mail/*.eml";
like slurp($mail), qr/^Subject: Fleet summary/m, 'S4-19: … and its mail';

$r = run('reports', 'data_export', { entities => [qw(vehicles trips)], format => 'xlsx', filters => { from => '2026-08-01' } })->{result};
is_deeply $r->{entities}, { vehicles => 12, trips => 29 }, 'S1-7 S4-16: an export of two entities, filtered';
$r = run('upkeep', 'data_cleanup', { cleanup_type => 'gps_tracks', older_than_days => 90 })->{result};
cmp_ok abs($r->{count} - 240), '<', 5, "S1-9: $r->{count} old rows are deleted";
$pg->query("INSERT INTO trip VALUES (1000, 1, now(), 1)");
run('upkeep', 'daily_metrics', {});
is $pg->query('SELECT sum(km) FROM vehicle_totals'), '2521.0', 'S0-39: a view is refreshed';
my $job = run('upkeep', 'maintenance_reminder', { vehicle_id => 7, maintenance_type => 'oil' });
is $pg->query('SELECT * FROM reminder'), "7|oil|$job->{id}", 'S1-8: a reminder, once';
done_testing;
