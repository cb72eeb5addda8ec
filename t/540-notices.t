# Notices: what reaches mail, webhooks, chats and programs, what becomes of
# failures, and that they need neither a queue nor the database. The report is
# the notice here.
# S2-62 S3-66 S3-67 S3-68
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => 'this build lacks the drivers email and http'
    if (run_program([ jobqd_program(), '-V' ]))[1] !~ /^drivers: email http/m;

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $user = server_user();
my $json = JSON::PP->new->utf8;
my $secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
my ($port, $requests) = receiver($secret);
my $base = "http://127.0.0.1:$port";
sub requests_to { my ($path) = @_; return grep { $_->{path} =~ /^\Q$path\E/ } json_lines($requests) }

# A pager that is a program: stdin and the environment to files, or what the
# file mode says.
spew("$dir/page", <<"SH");
#!/bin/sh
mode=\$(cat $dir/mode 2>/dev/null)
case "\$mode" in
fail) echo 'no signal' >&2; exit 1;;
hang) exec sleep 600;;
die) kill -9 \$PPID; exit 1;;
esac
cat > $dir/page.stdin.new && mv $dir/page.stdin.new $dir/page.stdin
env > $dir/page.env.new && mv $dir/page.env.new $dir/page.env
echo "\$1" > $dir/page.args
echo called >> $dir/page.calls
SH
chmod 0755, "$dir/page";
chmod 0777, $dir;
spew("$dir/url", "$base/ok/file\n");

my $channels = <<"YAML";
handlers: {mailer: {driver: email, server: "file:$dir/mail", from: "jobqd\@example.com"}, null: {driver: noop}}
queues: {work: {handler: null}}
channels:
  ops:   {email: ["Ops <ops\@example.com>", b\@example.com], via: mailer}
  hook:  {webhook: "$base/ok/hook?s={{data.subject}}", allow_private: true, headers: {X-Team: a}, sign: {secret: "$secret"}}
  slack: {webhook: "$base/ok/slack", allow_private: true, format: slack}
  teams: {webhook: "$base/ok/teams", allow_private: true, format: teams}
  file:  {webhook_file: "$dir/url", allow_private: true}
  page:  {exec: [$dir/page, "{{data.subject}}"], timeout: 2s}
  inner: {webhook: "$base/ok/inner-secret-token"}
  busy:  {webhook: "$base/fail/503/token", allow_private: true, sign: {scheme: timestamped-hmac, secret: x}}
YAML

sub config {
	my ($report_to, $more) = @_;
	return $channels . "monitor: {interval: 1s, health_file: $dir/health.json, report: \"* * * * * *\", "
	    . "report_to: [$report_to]}\n" . ($more || '');
}

#
# jobqctl channel test: no daemon, no database
#
my $d = Jobqd::Daemon->new(pg => $pg, config => config('ops'));
{
	my ($status, $out, $err) = $d->ctl(qw(channel test hook));
	is $status, 0, 'channel test' or diag $err;
	# S1-51: errors are told.
	is $out, "channel hook: delivered\n", '… says so';
	my ($got) = requests_to('/ok/hook');
	like $got->{path}, qr{\?s=%5Bjobqd%5D%20Test%20of%20the%20channel%20hook$}, 'the subject in the address (S3-68: a gateway)';
	ok $got->{standard}, '… signed';
	is $got->{headers}{'x-team'}, 'a', '… with its headers';
	is $got->{headers}{'x-event-type'}, 'notice.info', '… and its type';
	my $body = $json->decode($got->{body});
	is_deeply [ sort keys %$body ], [qw(kind subject test text)], 'the notice as JSON (S2-62)';
	($status, $out, $err) = $d->ctl(qw(channel test page));
	is $status, 0, 'a program' or diag $err;
	is slurp("$dir/page.args"), "[jobqd] Test of the channel page\n", '… its argument';
	($status, $out, $err) = $d->ctl(qw(channel test inner));
	is $status, 1, 'a failure';
	like $err, qr/^jobqctl: channel inner: http:\/\/127\.0\.0\.1:\d+: is at a private address/, '… in one line';
	unlike $err, qr/token/, '… without what is secret';
	($status, $out, $err) = $d->ctl(qw(--json channel test file));
	is $json->decode($out)->{result}{status}, 200, 'a webhook from a file';
	is $status, 0, '… is delivered';
	($status, $out, $err) = $d->ctl(qw(channel test hok));
	is $status, 3, 'no such channel';
	like $err, qr/did you mean hook\?/, '… what was meant';
	spew("$dir/mode", 'hang');
	my $from = time;
	($status, $out, $err) = $d->ctl(qw(channel test page));
	is $status, 1, 'a program that hangs is stopped' or diag $err;
	spew("$dir/mode", '');
	unlink "$dir/page.calls";
}

#
# every kind of channel, by the monitor's own workers
#
$d->configure(config('ops, hook, slack, teams, file, page'));
$d->start;
wait_for { glob "$dir/mail/*.eml" and -s "$dir/page.calls" and requests_to('/ok/teams') and requests_to('/ok/slack') and
    grep { $_->{path} eq '/ok/file' && $_->{body} =~ /report/ } json_lines($requests) } 'every channel to get a notice';
{
	my ($file) = sort glob "$dir/mail/*.eml";
	my $mail = slurp($file);
	like $mail, qr/^X-Envelope-To: <ops\@example\.com>\r\nX-Envelope-To: <b\@example\.com>\r$/m, 'mail to all (S3-66)';
	like $mail, qr/^Subject: \[jobqd\] Report of/m, '… its subject';
	like $mail, qr/^Auto-Submitted: auto-generated\r$/m, '… asks for no answer';
	like $mail, qr{^Content-Type: multipart/alternative}m, '… text and HTML';
	my ($slack) = requests_to('/ok/slack');
	my $body = $json->decode($slack->{body});
	like $body->{text}, qr/^\[jobqd\] Report/, 'Slack (S3-67)';
	like $body->{attachments}[0]{text}, qr/completed/, '… with the text';
	like $body->{attachments}[0]{color}, qr/^#[0-9a-f]{6}$/, '… in a colour';
	my ($teams) = requests_to('/ok/teams');
	my $card = $json->decode($teams->{body})->{attachments}[0]{content};
	is $card->{type}, 'AdaptiveCard', 'Teams';
	like $card->{body}[0]{items}[0]{inlines}[0]{text}, qr/^\[jobqd\] Report/, '… with the subject';
	my $page = $json->decode(slurp("$dir/page.stdin"));
	ok $page->{report}{queues}, 'a program has the JSON (S3-68)';
	my %env = map { split /=/, $_, 2 } split /\n(?=[A-Z_a-z]+=)/, slurp("$dir/page.env");
	is $env{ALERT_KIND}, 'info', '… ALERT_KIND';
	like $env{ALERT_SUBJECT}, qr/^\[jobqd\] Report/, '… ALERT_SUBJECT';
	is $env{JOBQ_TYPE}, 'page', '… and its channel';
	like $d->wait_log(qr/notice delivered channel=teams /), qr/ tries=1/, 'the log tells';
	my %titles = $d->processes;
	my @workers = grep { /^jobqd: worker \(notices\)/ } values %titles;
	cmp_ok scalar(@workers), '>=', 4, 'workers of the monitor: ' . scalar @workers;
}
is $pg->query('SELECT count(*) FROM jobq.jobs'), 0, 'none of it is a job';
is $pg->query("SELECT count(*) FROM jobq.workers WHERE queue <> 'work'"), 0, '… or a worker of a queue';

#
# what does not get through
#
my $from = $d->log_size;
$d->configure(config('inner, busy'));
$d->signal('HUP');
like $d->wait_log(qr/notice given up channel=inner .*private address/, $from), qr/error/, 'what is wrong is given up at once';
my $line = $d->wait_log(qr/notice not delivered, will be tried again channel=busy /, $from);
like $line, qr/warn .* again_ms=\d+ reason="http:\/\/127\.0\.0\.1:$port: HTTP 503/, 'what may get better is tried again';
wait_for { requests_to('/fail/503') >= 2 } 'the second try';
my @tries = requests_to('/fail/503');
like $tries[0]{headers}{'x-event-id'}, qr/^\d{16}$/, 'it has an id';
is $tries[1]{headers}{'x-event-id'}, $tries[0]{headers}{'x-event-id'}, '… the same each time';
unlike $d->log, qr/inner-secret-token|fail\/503\/token/, 'addresses are not logged whole';

# The channel is mended: what nobody got is sent, though no new one is due.
$d->configure(config('busy') =~ s{fail/503/token}{ok/back}r =~ s{"\* \* \* \* \* \*"}{"0 0 1 1 *"}r);
$d->signal('HUP');
wait_for { requests_to('/ok/back') } 'the report that nobody had got';
pass 'a report that was not delivered is sent after a reload';

# A new address in the file is a change for a reload.
$d->configure(config('file') =~ s{"\* \* \* \* \* \*"}{"0 0 1 1 *"}r);
$from = $d->log_size;
$d->signal('HUP');
$d->wait_log(qr/reloaded/, $from);
$from = $d->log_size;
$d->signal('HUP');
$d->wait_log(qr/reload changed=nothing/, $from);
spew("$dir/url", "$base/ok/moved\n");
$d->signal('HUP');
$d->wait_log(qr/reloaded/, $from);
pass 'an address changed in its file is taken by a reload';

#
# a program that fails, hangs, and kills its worker
#
$from = $d->log_size;
spew("$dir/mode", 'fail');
$d->configure(config('page'));
$d->signal('HUP');
like $d->wait_log(qr/notice not delivered.* channel=page /, $from), qr/reason="exit status 1: no signal"/, 'a program fails';
like $d->wait_log(qr/notice given up channel=page /, $from), qr/ tries=3 /, '… three times';
$from = $d->log_size;
spew("$dir/mode", 'hang');
$d->wait_log(qr/notice not delivered.* channel=page .*reason="it took too long/, $from);
pass 'one that hangs is stopped';
is scalar(grep { slurp("/proc/$_/cmdline") =~ /^sleep\0600\0/ } process_tree($d->{pid})), 0, '… for good';
$from = $d->log_size;
spew("$dir/mode", 'die');
$d->wait_log(qr/notice not delivered.* channel=page .*reason="its worker died of signal 9"/, $from);
pass 'a worker that dies is noticed';
spew("$dir/mode", '');
unlink "$dir/page.calls";
wait_for { -s "$dir/page.calls" } 'the next worker to deliver it';
pass '… and replaced';

#
# stop: what waits is tried once more, and the log tells what is lost
#
$from = $d->log_size;
$d->configure(config('busy'));
$d->signal('HUP');
$d->wait_log(qr/notice not delivered.* channel=busy /, $from);
# … and goes on without the database.
$pg->stop('immediate');
$d->wait_log(qr/monitor\b.*database is away/, $from);
my $before = () = requests_to('/fail/503');
wait_for { requests_to('/fail/503') > $before } 'another try';
pass 'notices need no database';
my $began = time;
is $d->stop, 0, 'stops with a notice waiting';
my $took = time - $began;
like $d->log($from), qr/notice given up channel=busy .*HTTP 503/, '… which is told';
ok $took < 10, sprintf '… after one more try (%.1f s)', $took;

#
# the example in the manual of a wrong configuration
#
{
	spew("$dir/bad.yml", $channels . "alerts: {a: {metric: backlog, above: 1, notify: [nobody]}}\n"
	    . "monitor: {report_to: [opss]}\n");
	my ($status, $out, $err) = run_program([ jobqd_program(), '-t', '-c', "$dir/bad.yml" ]);
	is $status, 1, 'names of channels are looked at';
	like $err, qr/bad\.yml:\d+:\d+: notify: there is no channel "nobody"/, '… of alerts';
	like $err, qr/bad\.yml:\d+:\d+: report_to: there is no channel "opss" \(did you mean "ops"\?\)/, '… of the report';
	($status, $out) = run_program([ jobqd_program(), '-T', '-c', $d->{conf} ]);
	is $status, 0, '-T';
	unlike $out, qr/503|whsec/, '… shows neither addresses nor keys';
	spew("$dir/again.yml", $out);
	($status, undef, $err) = run_program([ jobqd_program(), '-t', '-c', "$dir/again.yml" ]);
	is $status, 0, '… and passes -t' or diag $err;
}
done_testing;
