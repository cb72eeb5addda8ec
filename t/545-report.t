# The daily report: once for all nodes, as mail with charts, as text and JSON;
# whatever jobs are called; also when a node dies on the way.
# S2-38 S3-51 S1-65
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use MIME::QuotedPrint;
use MIME::Base64;
use Test::More;

plan skip_all => 'this build lacks the drivers email and http'
    if (run_program([ jobqd_program(), '-V' ]))[1] !~ /^drivers: email http/m;

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
chmod 0777, $dir;
my $json = JSON::PP->new->utf8;
my ($port, $requests) = receiver('none');

sub config {
	my ($cron, $to, $where) = @_;
	return <<"YAML";
handlers:
  mailer: {driver: email, server: "file:$dir/mail", from: "jobqd\@example.com"}
  null: {driver: noop}
  bad: {driver: exec, argv: [/bin/sh, -c, "echo '<b>not</b> & \\"this\\"' >&2; exit 65"]}
queues:
  work:  {handler: null, workers: 2, retry: {attempts: 2, backoff: fixed, base: 10ms}}
  other: {handler: bad, retry: {attempts: 1}}
  quiet: {handler: null}
channels:
  ops: {email: [ops\@example.com], via: mailer}
  hook: {webhook: "http://127.0.0.1:$port/$where", allow_private: true}
monitor: {interval: 500ms, health_file: $dir/health.json, statistics: 1s, report: "$cron", report_to: [$to]}
YAML
}

# Never by itself in this test, but when the test says so: a report that was
# begun long ago and that nobody has.
my $never = '0 0 1 1 *';
my $d = Jobqd::Daemon->new(pg => $pg, config => config($never, 'ops, hook', 'ok'));
my $other = Jobqd::Daemon->new(pg => $pg, name => 'other', config => config($never, 'ops, hook', 'ok'));
$d->start;
$pg->query("SELECT jobq.enqueue('work', 'welcome') FROM generate_series(1, 40)");
$pg->query("SELECT jobq.enqueue('work', '<script>alert(1)</script>', data => '{\"fail\": \"network\", \"message\": \"<img src=x>\"}') FROM generate_series(1, 3)");
$pg->query("SELECT jobq.enqueue('other', 'import') FROM generate_series(1, 2)");
wait_for { $pg->query("SELECT sum(completed + dead) FROM jobq.queues") == 45 } 'the jobs to end';
wait_for { $pg->query("SELECT coalesce(sum(completed + failed), 0) FROM jobq.statistics") == 48 } 'the statistics of all attempts';

# Every second on two nodes, three times.
$other->start;
$_->configure(config('* * * * * *', 'ops, hook', 'ok')) for $d, $other;
$_->signal('HUP') for $d, $other;
wait_for { json_lines($requests) >= 4 } 'some reports';
$_->configure(config($never, 'ops, hook', 'ok')) for $d, $other;
$_->signal('HUP') for $d, $other;
my %lines;
for my $log (map { $_->log } $d, $other) {
	$lines{$1}++ while $log =~ /^(\S+?)\.\d+Z info  monitor\b.*: report hours=24 queue=work /mg;
}
cmp_ok scalar(keys %lines), '>=', 3, scalar(keys %lines) . ' reports in the logs';
my %sent;
$sent{ $json->decode($_->{body})->{report}{until} }++ for json_lines($requests);
is scalar(grep { $_ > 1 } values %sent), 0, 'none was sent twice';
my @instants = split /\n/, $pg->query('SELECT extract(epoch FROM at)::bigint FROM jobq.reported');
is scalar @instants, 1, 'one row tells of the newest';

# What is in it.
my @all = json_lines($requests);
my $report = $json->decode($all[-1]{body});
is $report->{kind}, 'warning', 'there is something to look at';
my ($work) = grep { $_->{name} eq 'work' } @{ $report->{report}{queues} };
is $work->{completed}, 40, 'JSON: completed (S0-58)';
is $work->{dead}, 3, '… dead';
is $report->{report}{dead_letters}, 5, '… dead letters';
like $report->{text}, qr/^40 completed \(none before\), 3 failed and tried again, 5 dead; 17 % of attempts failed$/m, 'text: the sums';
like $report->{text}, qr/^work: 40 completed/m, '… a queue';
like $report->{text}, qr/^1 other: nothing happened$/m, '… a quiet one';

wait_for { glob "$dir/mail/*.eml" } 'the mail';
my ($file) = reverse sort glob "$dir/mail/*.eml";
my $mail = slurp($file);
like $mail, qr/^Subject: \[jobqd\] Report of \d+ \w+: 40 completed, 3 failed, 5\s+dead/m, 'mail: the subject';
my ($boundary) = $mail =~ /boundary="?([^"\r\n;]+)/;
my %part;
for (split /--\Q$boundary\E/, $mail) {
	my ($head, $body) = split /\r\n\r\n/, $_, 2;
	my ($type) = $head =~ m{Content-Type: text/(\w+)}i or next;
	$part{$type} = $head =~ /quoted-printable/i ? decode_qp($body) : $head =~ /base64/i ? decode_base64($body) : $body;
}
like $part{plain}, qr/^work: 40 completed/m, '… text';
my $html = $part{html};
spew("$ENV{JOBQD_KEEP_HTML}", $html) if $ENV{JOBQD_KEEP_HTML};
like $html, qr{<b>work</b>}, '… HTML with the queue (S2-38)';
like $html, qr{height:\d+px}, '… and a chart';
unlike $html, qr{<script|<img|<b>not|https?:}, '… nothing of the jobs acts, nothing comes from outside';
like $html, qr{&lt;script&gt;alert\(1\)&lt;/script&gt;}, '… the type as text';
like $html, qr{&lt;b&gt;not&lt;/b&gt; &amp; &quot;this&quot;}, '… the error as text';
cmp_ok length $html, '<', 100 << 10, sprintf '… %d bytes', length $html;
my ($status, undef, $err) = run_program([ 'xmllint', '--html', '--noout', '-' ], in => $html);
SKIP: {
	skip 'xmllint is not installed', 1 if $status == 127;
	is $status, 0, '… well formed' or diag $err;
}

#
# who sends it dies on the way: another one takes it
#
$pg->query("UPDATE jobq.reported SET at = date_trunc('second', now()) - interval '1 minute', node = 'gone', until = now() + interval '2 s'");
for ($d, $other) {	# a reload makes them look
	$_->configure(config($never, 'hook', 'ok/taken-over'));
	$_->signal('HUP');
}
wait_for { grep { $_->{path} =~ /taken-over/ } json_lines($requests) } 'another node to send it';
wait_for { $pg->query("SELECT until FROM jobq.reported") eq 'infinity' } 'it to be done';
is scalar(grep { $_->{path} =~ /taken-over/ } json_lines($requests)), 1, 'a report whose node has died is sent by another one, once';
isnt $pg->query('SELECT node FROM jobq.reported'), 'gone', '… which says so';

#
# the database is away when it is due
#
$other->stop;
my $from = $d->log_size;
$d->configure(config('* * * * * *', 'hook', 'fail/500'));
$d->signal('HUP');
$d->wait_log(qr/notice not delivered/, $from);
$pg->stop('immediate');
$d->wait_log(qr/the report waits: the database is not there/, $from);
pass 'the log tells that it waits';
$pg->start;
$d->configure(config($never, 'hook', 'ok/later'));
$d->signal('HUP');
wait_for { grep { $_->{path} =~ /later/ } json_lines($requests) } 'it to be sent later';
pass '… and it is sent when the database is back';

#
# a weekly one is of a week, in the time of the zone
#
$from = $d->log_size;
my $epoch = int(time / 60) * 60;
my @now = gmtime($epoch + 5.5 * 3600);
$pg->query("UPDATE jobq.reported SET at = to_timestamp($epoch), node = 'node', until = now()");
$d->configure(config("$now[1] $now[2] * * $now[6]", 'hook', 'ok/week')
    . "daemon: {node: node, pid_file: $d->{dir}/jobqd.pid, shutdown_timeout: 10s, timezone: Asia/Kolkata}\n");
$d->signal('HUP');
like $d->wait_log(qr/report hours=\d+ queue=work/, $from), qr/hours=168 /, 'the history of a week (S3-51)';
wait_for { grep { $_->{path} =~ /week/ } json_lines($requests) } 'it to be sent';
my ($week) = grep { $_->{path} =~ /week/ } json_lines($requests);
like $json->decode($week->{body})->{text}, qr/^\d+ \w+ \d+ \d\d:\d\d to .* Asia\/Kolkata$/m, '… in the time of the zone';
is $d->stop, 0, 'stops';
done_testing;
