# The driver report: files of every format opened by other people's programs,
# cells that are no formulas, totals, parameters, several entities in one file,
# mail with the file or a link in the transaction of the completion, names that
# stay in their directory, old files that go.
# Proves S0-31 S0-33 (PDF, Excel, CSV), S1-6 (report_generation), S1-7
# (data_export), S3-20, S4-15 (reports), S4-16 (exports of entities), S4-19
# (notifyEmail), S4-42 (progress), S4-53.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use MIME::Base64;
use Test::More;

my ($status, $version) = run_program([ jobqd_program(), '-V' ]);
my %has = (xlsx => $version =~ /libxlsxwriter/, pdf => $version =~ /cairo/, zip => $version =~ /libarchive/);
my $json = JSON::PP->new->canonical->utf8;
my $dir = temp_directory();
my ($uid, $gid) = (getpwnam(server_user() || getpwuid $>))[ 2, 3 ];
my $pg = Jobqd::Postgres->new(settings => { timezone => 'UTC' });
$pg->query(<<'SQL');
CREATE TABLE asset (id int primary key, name text, cost numeric(12,2), km float8, sold boolean, bought date, seen timestamptz, extra jsonb, region text);
INSERT INTO asset VALUES
	(1, '=HYPERLINK("http://evil")', 100.10, 1.5, true, '2026-01-02', '2026-01-02T03:04:05Z', '{"a": [1, "x"]}', 'north'),
	(2, E'line one\nline "two", three', -50.05, 2, false, '2026-02-03', null, null, 'south'),
	(3, '@cmd', 0.95, null, null, null, null, null, null),
	(4, E'\tTab', null, null, null, null, null, null, 'north'),
	(5, '', 0, null, null, null, null, null, 'north'),
	(6, '-1+1', 0, null, null, null, null, null, 'north'),
	(7, 'Żółć 車両 😀', 12345678901234567.89::numeric % 1e9, 'NaN', null, null, null, null, 'north'),
	(8, '+49 30', 0, null, null, null, null, null, 'east');
CREATE TABLE station AS SELECT i AS id, 'Station ' || i AS name FROM generate_series(1, 20) i;
CREATE TABLE inspection AS SELECT i AS id, 'Audit ' || i AS name, i * 1.5 AS score FROM generate_series(1, 300) i;
CREATE ROLE reader;
SQL

sub conf {
	my ($more) = @_;
	return <<"YAML";
retry: {default: {attempts: 1}}
handlers:
  mailer: {driver: email, server: "file:$dir/mail", from: "reports\@example.com"}
  report:
    driver: report
    directory: $dir/reports
    mail_queue: email
    link_base: "https://files.example.com/r"
    attach_max: 20KiB
    reports:
      fleet_summary:
        title: "Fleet: summary [2026]/1"
        query: "SELECT id, name, cost, km, sold, bought, seen, extra, region FROM asset ORDER BY id"
        columns: {name: Vehicle, cost: "Cost, EUR"}
        totals: [cost]
        chart: {label: region, value: cost}
      stations: {query: "SELECT * FROM station ORDER BY id", title: Stations}
      audits:   {query: "SELECT * FROM inspection WHERE score >= coalesce((\$1->'filters'->>'min')::numeric, 0) ORDER BY id", title: Audits, totals: [score]}
      empty:    {query: "SELECT 1 AS a WHERE false"}
      period:   {query: "SELECT \$1->>'start_date' AS a, \$1->>'note' AS note, \$2->>'type' AS type", parameters: {start_date: date, min: "integer?"}}
      writes:   {query: "DELETE FROM station RETURNING id"}
      broken:   {query: "SELECT 1 / (i - 500) AS x FROM generate_series(1, 1000) i"}
      titles:   {query: "SELECT 1 AS a", columns: {b: B}}
      slow:     {query: "SELECT i, pg_sleep(0.01) FROM generate_series(1, 100000) i"}
      big:      {query: "SELECT i, md5(i::text) AS hash FROM generate_series(1, 3000) i"}
    $more
  plain: {driver: report, directory: $dir/plain, formats: [ndjson, csv], bom: yes, max_size: 10KiB, role: reader, reports: {only: {query: "SELECT i, current_user::text AS who FROM generate_series(1, (\$1->>'n')::int) i"}}}
queues:
  report: {handler: report, workers: 1, timeout: 60s, cancel: {grace: 20s}}
  plain:  {handler: plain, workers: 1}
  email:  {types: {email_notification: mailer}, workers: 1}
YAML
}
for (qw(mail reports plain)) { mkdir "$dir/$_"; chown $uid, $gid, "$dir/$_" if $> == 0 }
my $d = Jobqd::Daemon->new(pg => $pg, config => conf('keep: 7d'));
$d->start;

sub enqueue {
	my ($queue, $data) = @_;
	(my $text = JSON::PP->new->canonical->encode($data)) =~ s/'/''/g;
	return $pg->query("SELECT jobq.enqueue('$queue', '', '$text')");
}

sub ended {
	my ($id) = @_;
	wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") =~ /^(?:completed|dead|cancelled)$/ } "job $id";
	my $job = $json->decode($pg->query("SELECT row_to_json(j) FROM jobq.jobs j WHERE id = $id"));
	diag $job->{error} if $job->{state} eq 'dead' && !$main::expected;
	return $job;
}

sub report { return ended(enqueue('report', {@_}))->{result} }
sub refused { local $main::expected = 1; my $job = ended(enqueue('report', {@_})); return "$job->{error_class}: $job->{error}" }

sub python {
	my ($code, @args) = @_;
	my ($status, $out, $err) = run_program([ 'python3', '-c', $code, @args ]);
	diag $err if $status != 0;
	return $json->decode($out || 'null');
}
sub files { opendir my $h, $_[0] or die; my @all = sort grep { !/^\.\.?$/ } readdir $h; return @all }

# csv, read by Python's own module.
{
	my $r = report(report_type => 'fleet_summary', format => 'csv');
	is_deeply [ @$r{qw(rows format)}, -s $r->{file} ], [ 8, 'csv', $r->{bytes} ], 'S1-6: a csv; the result has file, rows, bytes (S0-33)';
	like $r->{file}, qr{^\Q$dir\E/reports/fleet_summary-\d+-[0-9a-f]{16}\.csv$}, '… under a name that cannot be guessed';
	is $r->{url}, 'https://files.example.com/r/' . ($r->{file} =~ m{([^/]+)$})[0], '… and a link';
	is((stat $r->{file})[2] & 07777, 0640, '… not for everybody');
	my $rows = python('import csv,json,sys; print(json.dumps(list(csv.reader(open(sys.argv[1], newline="", encoding="utf-8"), strict=True))))', $r->{file});
	is_deeply $rows->[0], [ 'id', 'Vehicle', 'Cost, EUR', 'km', 'sold', 'bought', 'seen', 'extra', 'region' ], 'titles of columns';
	is_deeply [ map { $_->[1] } @$rows[ 1 .. 8 ] ],
	    [ q('=HYPERLINK("http://evil")), qq(line one\nline "two", three), q('@cmd), qq('\tTab), '', q('-1+1), "\x{17b}\x{f3}\x{142}\x{107} \x{8eca}\x{4e21} \x{1f600}", q('+49 30) ],
	    'texts: no formulas, quotes and newlines as they are';
	is_deeply [ map { $_->[2] } @$rows[ 1 .. 3 ] ], [ '100.10', '-50.05', '0.95' ], 'numbers to the digit, also negative ones';
	is_deeply [ @{ $rows->[1] }[ 4 .. 7 ] ], [ 'true', '2026-01-02', '2026-01-02 03:04:05+00', '{"a": [1, "x"]}' ], 'booleans, dates, instants, JSON';
	like slurp($r->{file}), qr/^3,'?"?'\@cmd"?,0\.95,,,,,,\r\n/m, 'null is nothing, CRLF';
	like slurp($r->{file}), qr/^5,"",0\.00,/m, 'an empty text is not null';
}

# json and ndjson.
{
	my $r = report(report_type => 'fleet_summary', format => 'json');
	my $rows = $json->decode(slurp($r->{file}));
	is scalar @$rows, 8, 'json: an array';
	is_deeply [ @{ $rows->[0] }{qw(id name cost extra)} ], [ 1, '=HYPERLINK("http://evil")', 100.10, { a => [ 1, 'x' ] } ], '… of objects, texts as they are';
	is $rows->[6]{km}, 'NaN', '… NaN is a text';
	$r = report(export_type => 'audits', format => 'ndjson');
	my @lines = json_lines($r->{file});
	is_deeply [ scalar @lines, $lines[299] ], [ 300, { id => 300, name => 'Audit 300', score => 450 } ], 'S1-7: ndjson, an object a line';
	$r = report(export_type => 'audits', format => 'ndjson', filters => { min => 441 });
	is $r->{rows}, 7, 'S4-15: filters reach the query';
	is_deeply $json->decode(slurp(report(report_type => 'empty', format => 'json')->{file})), [], 'no rows, but JSON';
}

SKIP: {
	skip 'this build has no xlsx', 6 unless $has{xlsx};
	my $r = report(report_type => 'fleet_summary', format => 'Excel');
	my $x = python(<<'PY', $r->{file});
import json, sys, openpyxl
b = openpyxl.load_workbook(sys.argv[1])
s = b.worksheets[0]
print(json.dumps({"names": b.sheetnames, "rows": [[c.value if not hasattr(c.value, "isoformat") else c.value.isoformat() for c in row] for row in s.iter_rows()],
    "types": [[c.data_type for c in row] for row in s.iter_rows()], "frozen": s.freeze_panes}))
PY
	is_deeply $x->{names}, ['Fleet summary 20261'], 'xlsx: the sheet has its title, without what Excel forbids';
	is_deeply [ @{ $x->{rows}[0] }[ 0 .. 2 ], $x->{frozen} ], [ 'id', 'Vehicle', 'Cost, EUR', 'A2' ], 'titles, which stay in sight';
	is_deeply [ map { [ $x->{rows}[$_][1], $x->{types}[$_][1] ] } 1, 3, 6 ],
	    [ [ '=HYPERLINK("http://evil")', 's' ], [ '@cmd', 's' ], [ '-1+1', 's' ] ], 'texts are texts, not formulas';
	is_deeply [ @{ $x->{rows}[1] }[ 0, 2, 5, 6 ], $x->{rows}[1][4] ? 1 : 0 ], [ 1, 100.1, '2026-01-02T00:00:00', '2026-01-02T03:04:05', 1 ], 'numbers, dates, booleans';
	# S0-33: Excel.
	is_deeply [ $x->{rows}[9][0], sprintf '%.2f', $x->{rows}[9][2] ], [ 'Total', '901234618.89' ], 'a total';
	$r = report(entities => [ 'stations', 'audits' ], format => 'xlsx');
	is_deeply python('import json,sys,openpyxl; b = openpyxl.load_workbook(sys.argv[1]); print(json.dumps([[s.title, s.max_row] for s in b]))', $r->{file}),
	    [ [ 'Stations', 21 ], [ 'Audits', 302 ] ], 'S4-16: several entities are sheets of one workbook';
}

SKIP: {
	skip 'this build has no pdf', 8 unless $has{pdf};
	my $r = report(report_type => 'audits', format => 'pdf');
	my ($status, $out) = run_program([ 'qpdf', '--check', $r->{file} ]);
	is $status, 0, 'S0-33: qpdf finds no fault with a pdf' or diag $out;
	my @page = split /\f/, (run_program([ 'pdftotext', '-layout', $r->{file}, '-' ]))[1];
	cmp_ok scalar @page, '>', 3, scalar(@page) . ' pages of 300 rows';
	is scalar(grep { $page[$_] =~ /\bid +name +score\b/ && $page[$_] =~ /^\s*Audits\b/ } 0 .. $#page), scalar @page, 'title and head on every page';
	is scalar(grep { $page[$_] =~ /page @{[ $_ + 1 ]} of @{[ scalar @page ]}\b/ } 0 .. $#page), scalar @page, 'page n of m';
	like $page[-1], qr/Total +67725\.0\b/, 'the total';
	my %seen = map { $_ => 1 } map { /Audit (\d+)\b/g } @page;
	is scalar(keys %seen), 300, 'all rows are there';
	$r = report(report_type => 'fleet_summary', format => 'pdf');
	my $text = (run_program([ 'pdftotext', '-layout', $r->{file}, '-' ]))[1];
	like $text, qr/\bnorth\b.*\bnorth\b +[\d.]+/s, 'a chart: a bar for each region, with its sum';
	is((run_program([ 'qpdf', '--check', report(report_type => 'empty', format => 'pdf')->{file} ]))[0], 0, 'a pdf without rows');
}

SKIP: {
	skip 'this build has no zip', 2 unless $has{zip};
	my $r = report(organizationId => 'o1', entities => [ 'stations', 'audits', 'empty' ], format => 'csv', userId => 'u1');
	is_deeply python(<<'PY', $r->{file}), [ [ 'stations.csv', 21 ], [ 'audits.csv', 301 ], [ 'empty.csv', 1 ] ], 'S4-16: several entities are a zip of files';
import json, sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
print(json.dumps([[n, z.read(n).count(b"\n")] for n in z.namelist()]))
PY
	is_deeply $r->{entities}, { stations => 20, audits => 300, empty => 0 }, '… each with its rows in the result';
}

# What is wrong with a request, or a report.
{
	is refused(report_type => '../../etc/passwd'), 'validation: there is no report "../../etc/passwd"', 'a report that is not there';
	is refused(format => 'csv'), 'validation: report_type, export_type or entities is missing', 'no report';
	is refused(report_type => 'empty', format => 'doc'), 'validation: format: "doc" is none of csv, json, ndjson'
	    . ($has{xlsx} ? ', xlsx' : '') . ($has{pdf} ? ', pdf' : ''), 'a format that is none';
	is refused(entities => [ 'empty', 'empty' ]), 'validation: entities: empty comes twice', 'an entity that comes twice';
	is refused(report_type => 'period'), 'validation: start_date: the report period needs it (date)', 'a parameter that is missing';
	is refused(report_type => 'period', start_date => 'soon'), 'validation: start_date: is no date, as 2026-12-31', '… or no date';
	is refused(report_type => 'period', start_date => '2026-01-01', filters => { min => 'x' }), 'validation: min: is no integer', '… or no integer, also in filters';
	my $r = report(report_type => 'period', start_date => '2026-01-01', note => q{x'); DROP TABLE audit; --});
	like slurp($r->{file}), qr/^2026-01-01,x'\); DROP TABLE audit; --,""\r$/m, 'data is never text of a query (S1-55)';
	like refused(report_type => 'writes'), qr/read-only transaction/, 'a report cannot change anything';
	is $pg->query('SELECT count(*) FROM station'), 20, '… and has not';
	is refused(report_type => 'titles'), 'error: report titles: columns: the query has no column "b"', 'a column that is not there';
	my @before = files("$dir/reports");
	like refused(report_type => 'broken'), qr/^validation: division by zero/, 'a query that fails in the middle';
	is_deeply [ files("$dir/reports") ], \@before, '… leaves no file';
	my $id = enqueue('plain', { n => 3000 });
	local $main::expected = 1;
	my $job = ended($id);
	is_deeply [ $job->{error_class}, [ files("$dir/plain") ] ], [ 'resource', [] ], 'max_size bounds a file, which is gone' or diag $job->{error};
	$r = ended(enqueue('plain', { n => 2 }))->{result};
	is slurp($r->{file}), "\xef\xbb\xbfi,who\r\n1,reader\r\n2,reader\r\n", 'bom, role, the only report and the format csv are defaults';
	is ended(enqueue('plain', { n => 2, format => 'json' }))->{error_class}, 'validation', 'a format that the handler does not allow';
}

# Cancel and progress.
{
	my @before = files("$dir/reports");
	my ($worker) = $d->pids(qr/worker report/);
	my $id = enqueue('report', { report_type => 'slow' });
	wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") eq 'running' } 'a slow report';
	wait_for { files("$dir/reports") > @before } 'its file';
	$pg->query("SELECT jobq.cancel($id)");
	is ended($id)->{state}, 'cancelled', 'a cancel';
	is_deeply [ files("$dir/reports") ], \@before, '… leaves no file';
	is(($d->pids(qr/worker report/))[0], $worker, '… and the worker goes on');
	$id = enqueue('report', { report_type => 'slow', format => 'xlsx' }) if $has{xlsx};
	if ($has{xlsx}) {
		wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") eq 'running' && files("$dir/reports") > @before } 'a slow workbook';
		$pg->query("SELECT jobq.cancel($id)");
		is ended($id)->{state}, 'cancelled', 'a cancel of a workbook';
		is_deeply [ files("$dir/reports") ], \@before, '… leaves no file';
	}
	wait_for { $pg->query("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(0.01)%' AND state = 'active'") eq '1' } 'the query to end';
	$id = enqueue('report', { report_type => 'slow' });
	my $note = wait_for { $pg->query("SELECT progress_note FROM jobq.jobs WHERE id = $id AND progress_note <> ''") } 'progress';
	like $note, qr/^\d+ rows$/, "S4-42: progress: $note";
	# A worker that is killed leaves a file that nobody writes; the next one removes it.
	my ($left) = grep { /^\./ } files("$dir/reports");
	kill 'KILL', $d->pids(qr/worker report/);
	local $main::expected = 1;
	is ended($id)->{error_class}, 'crash', 'a worker that is killed';
	utime time - 60, time - 60, "$dir/reports/$left";
	report(report_type => 'stations');
	wait_for { !-e "$dir/reports/$left" } 'the file to be removed';
	pass '… leaves a file that the next one removes (S1-57)';
}

# Mail.
sub mails { return map { slurp("$dir/mail/$_") } grep { /\.eml$/ } files("$dir/mail") }
{
	my $id = enqueue('report', { report_type => 'stations', format => 'csv', notifyEmail => 'boss@example.com' });
	my $job = ended($id);
	ok $job->{result}{mail_job}, 'S4-19: notifyEmail gives a job of mail';
	is ended($job->{result}{mail_job})->{state}, 'completed', '… which is sent';
	my ($mail) = mails();
	like $mail, qr/^To: .*boss\@example\.com/m, '… to whom it is for (S0-31, S4-19)';
	my ($file) = $mail =~ /filename="?[^"\n]*stations-$id-[^\n]*"?.*?\r?\n\r?\n([A-Za-z0-9+\/=\r\n]+)/s;
	is decode_base64($file || ''), slurp($job->{result}{file}), '… with the file attached';
	is $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'email'"), 1, '… once';
	unlike $d->log, qr/lease lost/, '… and the leader knows of the completion';
	$job = ended(enqueue('report', { report_type => 'big', format => 'csv', notifyEmail => [ 'a@example.com', 'b@example.com' ] }));
	is ended($job->{result}{mail_job})->{state}, 'completed', 'a mail to two';
	my ($data) = $pg->query("SELECT data FROM jobq.jobs WHERE id = $job->{result}{mail_job}");
	like $json->decode($data)->{text}, qr/\Q$job->{result}{url}\E/, 'a large file is a link';
	ok !$json->decode($data)->{attachments}, '… and not attached';
	local $main::expected = 1;
	is ended(enqueue('plain', { n => 1, notifyEmail => 'a@example.com' }))->{error}, 'notifyEmail: the handler plain has no mail_queue:',
	    'a handler that has no queue for mail';
}

# Old files.
{
	my $keep = ended(enqueue('report', { report_type => 'stations' }))->{result}{file};
	my $old = ended(enqueue('report', { report_type => 'stations' }))->{result}{file};
	spew("$dir/reports/somebody-elses.csv", 'x');
	symlink '/etc/passwd', "$dir/reports/link-1-0123456789abcdef.csv";
	utime time - 8 * 86400, time - 8 * 86400, $old, "$dir/reports/somebody-elses.csv";
	$d->stop;
	$d->start;
	report(report_type => 'stations');
	wait_for { !-e $old } 'an old file to be removed';
	ok -e $keep && -e "$dir/reports/somebody-elses.csv" && -l "$dir/reports/link-1-0123456789abcdef.csv", 'old reports go after keep, and nothing else';
}
done_testing;
