# etc/examples/rto.yml does what it says: each of its eleven jobs by its schedule,
# what administrators are told of failures, and what they do about them
# (t/505-schedules-of-examples.t has the schedules fire by the clock of Sydney).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Example;
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my (undef, $version) = run_program([ jobqd_program(), '-V' ]);
plan skip_all => 'this build has no pdf or email' unless $version =~ /cairo/ && $version =~ /^drivers:.*email/m;
my $pg = Jobqd::Postgres->new;
$pg->query($_, 'postgres') for 'CREATE ROLE rto LOGIN', 'CREATE DATABASE rto OWNER rto';
@$pg{qw(user database)} = qw(rto rto);
my $dir = temp_directory();
my ($api_port, $smtp) = (free_port(), free_port());
sub page { my ($path, @pages) = @_; my $n = 0; return map { [ 'GET', "^$path\\?page=" . ++$n . '$', [ { json => { items => $_ } } ] ] } @pages, [] }
my @chat = ([ 'POST', '^/chat$', [ {} ] ]);
my @xero = page('/xero/employees', [ { id => 'x1', name => 'Ada', email => 'ada@rto.example' }, { id => 'x2', name => 'Bo Olsen', email => 'bo@rto.example' } ],
	[ { id => 'x3', name => 'Cy', email => 'cy@rto.example' }, { id => 'x9', name => "D'Arcy", email => 'dee@rto.example' } ]);
my $web = service(@chat, @xero);
delete @ENV{ grep { /^(?:RTO_|XERO_|ACCELERATE_|AI_|MAIL_|ADMIN_|CHAT_|SMS_|REPORT_|COMPLIANCE_|DATABASE_URL|ENABLE_|PAUSED_)|_CRON$/ } keys %ENV };
my $example = example('rto.yml');
spew("$dir/sms.sh", "#!/bin/sh\ncat >>$dir/sms\n");
chmod 0755, "$dir/sms.sh";
%ENV = (%ENV, DATABASE_URL => $pg->url, RTO_USER => scalar getpwuid $>, RTO_GROUP => scalar getgrgid $) + 0, RTO_RUN => $dir, RTO_INTERVAL => '1s',
	RTO_API => "127.0.0.1:$api_port", RTO_PROGRAMS => source_directory() . '/etc/examples', MAIL_SERVER => "smtp://127.0.0.1:$smtp", REPORT_DIRECTORY => "$dir/reports",
	RTO_TOKENS => Api::tokens("$dir/tokens", [qw(ann admin * ann-secret)], [qw(bob viewer * bob-secret)]), PAUSED_FOR => '1s', SMS_PROGRAM => "$dir/sms.sh",
	CHAT_WEBHOOK => $web->url('/chat'), CHAT_FORMAT => 'slack', CHAT_ALLOW_PRIVATE => 'true',
	map { ("$$_[0]_URL" => $web->url($$_[1]), "$$_[0]_TOKEN" => "token of $$_[0]") } [qw(XERO /xero)], [qw(ACCELERATE /lms)], [qw(AI /ai)]);
my (undef, $effective) = run_program([ jobqd_program(), '-T', '-c', $example ]);
my ($queue) = $effective =~ /^queues:.*?^  jobs:\n(.*?)^\S/ms;
like $queue, qr/^    lease: 30s$/m, 'S3-8: a lock of 30 seconds';
like $queue, qr/^    timeout: 30s$/m, '… which is the time-out, too';
like $queue, qr/^    workers: 5$/m, 'S3-7: five jobs at a time';
like $queue, qr/^      history: (?:90d|12w6d)$/m, 'S3-5: history of 90 days';

$pg->query(slurp(source_directory() . '/etc/examples/rto.sql'));
my $d = Jobqd::Daemon->new(pg => $pg, config => slurp($example))->start;
watch_delays($pg);
my $ann = Api->new("127.0.0.1:$api_port", 'ann-secret');
my @names = qw(checkIncompleteOnboarding complaintSLA credentialExpiry feedbackAIAnalysis monthlyComplianceReport pdReminders policyReviews retryFailedEmails syncAccelerate syncXero weeklyDigest);
my @log = split /\n/, $d->log;
is scalar(grep { my $name = $_; grep { /schedule registered schedule=$name .*description="\w/ } @log } @names), 11, 'S3-9 S3-23: eleven schedules are registered, each with its words';
my ($xero_at) = grep { $log[$_] =~ /schedule registered/ } 0 .. $#log;
my ($initialized) = grep { $log[$_] =~ /scheduler initialized schedules=11/ } 0 .. $#log;
ok defined $initialized && $initialized > $xero_at, '… and then the scheduler is initialized';
is $pg->query("SELECT string_agg(DISTINCT timezone, ' ') FROM jobq.schedules"), 'Australia/Sydney', 'S3-11: by the clock of Sydney';
is $pg->query("SELECT string_agg(name, ' ') FROM jobq.queues WHERE name !~ '[()]'"), 'jobs', 'S3-2: one queue';

# By its name, as an administrator does: the rows of its jobs, which have ended.
sub trigger {
	my ($name) = @_;
	my $r = $ann->post("/v1/schedules/$name/run", {});
	is $r->{status}, 200, "S3-26 S3-56: trigger $name" or diag $r->{body};
	return @{ $r->{json}{jobs} };
}
sub triggered { my ($name, $what) = @_; my ($id) = trigger($name); return job_is($pg, $id, 'completed', $what) }

#
# What others know
#
my $job = triggered('syncXero', 'S3-13: employees from Xero');
is_deeply $job->{result}, { employees => 4, left => 0 }, '… of all pages';
is $pg->query("SELECT string_agg(name, ', ' ORDER BY xero_id) FROM staff WHERE active"), "Ada, Bo Olsen, Cy, D'Arcy", '… are those of the table';
is +($web->requests(qr{^GET /xero}))[0]{headers}{authorization}, 'Bearer token of XERO', '… asked for with its token';
is triggered('syncXero', 'S3-10: … once more')->{result}{employees}, 4, '… finds the same';
is $pg->query('SELECT count(*) FROM staff'), 4, '… and nobody is there twice';
$web->rules(@chat, page('/lms/enrolments', [ map { { id => "e$_", student => "s$_", unit => 'TAE', status => 'active' } } 1 .. 3 ]));
is triggered('syncAccelerate', 'S3-14: data from Accelerate')->{result}{enrolments}, 3, '… all of it';
is $pg->query("SELECT count(*) FROM enrolment WHERE status = 'active'"), 3, '… is in the table';
$web->rules(@chat, [ 'POST', '^/ai/analyse$', [ { json => { sentiment => 'positive', themes => ['trainer'] } }, { json => { sentiment => 'negative', themes => [ 'pace', 'room' ] } } ] ]);
$job = triggered('feedbackAIAnalysis', 'S3-12: feedback is analysed');
is $job->{result}{analysed}, 2, '… what was not yet';
is $job->{progress}, 100, '… with progress';
is $pg->query("SELECT string_agg(sentiment || ' ' || themes::text, ', ' ORDER BY id) FROM feedback"), 'positive {trainer}, negative {pace,room}', '… and is judged';
is triggered('feedbackAIAnalysis', 'S3-10: … once more')->{result}{analysed}, 0, '… there is nothing left';
is scalar($web->requests(qr{^POST /ai})), 2, '… so nobody is asked';

#
# Who is told of what, while the mail server is down
#
my %notices = (
	pdReminders => [ 'S3-15', 'ada@rto.example', qr/^Assessment design is due on/ ],
	credentialExpiry => [ 'S3-16', 'bo@rto.example', qr/^Working with children expires on/ ],
	policyReviews => [ 'S3-17', 'quality@rto.example', qr/^Review the policy Complaints and appeals/ ],
	complaintSLA => [ 'S3-18', 'admin@rto.example', qr/^Complaint 1 waits longer than promised/ ],
	checkIncompleteOnboarding => [ 'S3-22', 'cy@rto.example', qr/^Your onboarding is not finished/ ],
	weeklyDigest => [ 'S3-19', 'admin@rto.example', qr/^The week to/ ],
);
my %rows = (credentialExpiry => 2);
my @mails;
for my $name (sort keys %notices) {
	my ($item, $to, $subject) = @{ $notices{$name} };
	$job = triggered($name, "$item: $name");
	is $job->{result}{count}, $rows{$name} // 1, '… whom it concerns';
	push @mails, my @new = map { $_->{mail} } @{ $job->{result}{rows} };
	my @told = grep { $_->{to} eq $to } map { $Example::json->decode($pg->query("SELECT data FROM jobq.jobs WHERE id = $_")) } @new;
	is scalar @told, 1, "… $to among them";
	like $told[0]{subject}, $subject, '… by mail';
	next if $name eq 'weeklyDigest';
	is triggered($name, 'S3-10: … once more')->{result}{count}, 0, '… nobody is told again';
}
is $pg->query("SELECT string_agg(DISTINCT priority::text, ' ') FROM jobq.jobs WHERE type = 'email'"), '1 10 15 5', 'S3-3: of the four priorities';
is_deeply [ delays($pg, $mails[0]) ], [ 2, 4 ], 'S3-4: while mail cannot be sent each is tried three times, 2 and 4 s apart';
delays($pg, $_) for @mails;
is $pg->query("SELECT count(*) FROM jobq.dead_letters WHERE type = 'email' AND error_class = 'network'"), @mails, 'S3-4 S3-59: … then it is a dead letter';
# The chat is told of other things, too, and perhaps before.
wait_for { grep { $_->{body} =~ /"text":.*new dead letters of jobs/ } $web->requests(qr{^POST /chat}) } 'the chat to be told';
pass 'S3-4 S3-57 S3-67: and administrators are told, in a chat while mail is down';
# … and by mail when it is there again.
background([ 'python3', source_directory() . '/t/smtp_server.py', $smtp, "$dir/sessions" ], log => "$dir/smtp.log");
wait_port($smtp);
is triggered('retryFailedEmails', 'S3-21: failed mails are retried')->{result}{rows}[0]{retried}, @mails, '… all of them';
job_is($pg, $_, 'completed', '… and this one arrives') for @mails;
# A mail that nobody can take is not among them.
my $refused = enqueue($pg, 'jobs', 'email', { to => 'refuse@rto.example', subject => 's', text => 't' });
job_is($pg, $refused, 'dead', 'a mail that the server refuses');
is triggered('retryFailedEmails', 'S3-21: … of which there are none now')->{result}{rows}[0]{retried}, 0, '… is not retried';

$job = triggered('monthlyComplianceReport', 'S3-20: the compliance report');
my (undef, $pdf) = run_program([ 'pdftotext', '-layout', $job->{result}{file}, '-' ]);
like $pdf, qr/Compliance.*Ada +1 +0 +0.*Bo Olsen +1 +0 +1.*Cy +0 +1 +1.*Total +2 +1 +2/s, '… has its figures';
job_is($pg, $job->{result}{mail_job}, 'completed', '… and goes by mail');

#
# Failures: nothing listens, the token is refused, no answer for too long
#
$web->rules(@chat, [ 'GET', '^/xero/employees', [ { status => 503 } ] ], [ 'GET', '^/lms/enrolments', [ { delay => 120 } ] ]);
my ($slow) = trigger('syncAccelerate');
my $slow_at = time;
my ($down) = trigger('syncXero');
is_deeply [ delays($pg, $down) ], [ 2, 4 ], 'S3-4: a sync that fails is tried after 2 and 4 s';
is $pg->query("SELECT error_class FROM jobq.jobs WHERE id = $down"), 'network', '… of class network';
$web->rules(@chat, [ 'GET', '^/xero/employees', [ { status => 403 } ] ]);
is $ann->post("/v1/dead-letters/$down/retry", {})->{status}, 200, 'S3-31: it is retried by hand';
wait_for { $pg->query("SELECT error_class FROM jobq.jobs WHERE id = $down") eq 'auth' } 'the token to be refused';
$web->rules(@chat, @xero);
job_is($pg, $down, 'completed', '… until it is done');
is triggered('weeklyDigest', 'S3-7: while one job is slow another is done')->{state}, 'completed', '…';
is $pg->query("SELECT state FROM jobq.jobs WHERE id = $slow"), 'running', '… and the slow one still runs';

#
# What administrators do
#
my $bob = Api->new("127.0.0.1:$api_port", 'bob-secret');
is +(Api->new("127.0.0.1:$api_port"))->get('/v1/jobs')->{status}, 401, 'S3-34: without a token nothing is told';
is $bob->post('/v1/schedules/syncXero/run', {})->{status}, 403, '… nor done by who is no administrator';
my $r = $ann->post('/v1/schedules/syncXeroo/run', {});
is "$r->{status} $r->{headers}{'content-type'}", '404 application/problem+json', 'S3-36 S3-38: a name that is none is a problem document';
$r = $ann->get('/v1/jobs?limit=5');
is scalar @{ $r->{json}{items} }, 5, 'S3-24 S3-33: the jobs';
is $ann->get("/v1/jobs/$down")->{json}{state}, 'completed', 'S3-25: one of them';
$r = $ann->get('/v1/history?limit=50');
ok scalar(grep { $_->{type} eq 'syncXero' } @{ $r->{json}{items} }), 'S3-29: the history';
is $ann->get('/v1/metrics')->{status}, 200, 'S3-30: the metrics';
my ($row) = grep { $_->{name} eq 'jobs' } @{ $ann->get('/v1/stats')->{json}{items} };
cmp_ok $row->{completed}, '>', 20, 'S3-49: waiting, active and failed jobs, ' . join ' ', map { "$_=$row->{$_}" } qw(ready running dead);
is $ann->post('/v1/schedules/syncXero/pause', {})->{status}, 200, 'S3-27: a job is paused';
is $pg->query("SELECT paused FROM jobq.schedules WHERE name = 'syncXero'"), 't', '…';
is $ann->post('/v1/schedules/syncXero/resume', {})->{status}, 200, '… and resumed';
is $ann->post('/v1/queues/jobs/pause', { reason => 'a look' })->{status}, 200, 'S3-28 S3-58: the whole queue is paused';
my ($waits) = trigger('weeklyDigest');
wait_for { $pg->query("SELECT count(*) FROM jobq.alerts WHERE name = 'queue-paused' AND state = 'firing'") eq '1' } 'the alert that it is paused';
is $pg->query("SELECT state FROM jobq.jobs WHERE id = $waits"), 'ready', 'S3-50: … its jobs wait, and there is an alert';
is $ann->post('/v1/queues/jobs/resume', {})->{status}, 200, '… and resumed';
job_is($pg, $waits, 'completed', '… and they run');
is scalar @{ $ann->get('/v1/dead-letters')->{json}{items} }, 1, 'S3-31: dead letters are listed';
is $ann->delete("/v1/dead-letters/$refused")->{status}, 204, '… and removed';
is $ann->get("/v1/jobs/$refused")->{status}, 404, '…';
enqueue($pg, 'jobs', 'email', { to => 'refuse@rto.example', subject => $_, text => 't' }) for 1 .. 11;
wait_for { slurp("$dir/sms") =~ /"alert": *"dead-letters"/ } 'the short message';
like slurp("$dir/sms"), qr/unreviewed dead letters of jobs is 1\d/, 'S3-50 S3-68: more than ten dead letters are told by a short message, too';
is +($d->ctl('dead', 'delete', '--all'))[0], 0, 'S3-52: dead letters are cleaned';
is scalar @{ $ann->get('/v1/dead-letters')->{json}{items} }, 0, '…';
cmp_ok $pg->query("SELECT count(*) FROM jobq.audit WHERE actor = 'ann' AND target = 'schedule syncXero'"), '>=', 4, 'S3-40: all of it is in the audit' or diag $pg->query('SELECT actor, action, target FROM jobq.audit');
my $old = $ann->post('/v1/queues/jobs/clean', { state => 'completed', older_than => '0s' })->{json}{removed};
cmp_ok $old, '>', 20, "S3-32: old jobs are cleaned, $old of them";
cmp_ok $pg->query("SELECT count(*) FROM jobq.attempts WHERE queue = 'jobs'"), '>', $old, 'S3-5: … and their history stays';

my $first = "FROM jobq.attempts WHERE job_id = $slow AND attempt = 1";
wait_for { $pg->query("SELECT count(*) $first") eq '1' } 'the slow job to be stopped';
is $pg->query("SELECT class $first"), 'timeout', sprintf 'S3-8: what has not ended after 30 s is stopped (after %.0f s)', $pg->query("SELECT extract(epoch FROM finished_at - started_at) $first");
wait_for { grep { ($_->{mail} // '') =~ /^Subject: \[jobqd\].*dead letters of jobs/m } json_lines("$dir/sessions") } 'the mail to administrators';
is $d->stop, 0, 'S3-1: stops with status 0';
my @letters = map { $_->{mail} // () } json_lines("$dir/sessions");
s/\r\n/\n/g, s/\n[ \t]+/ /g for @letters;
for my $name (sort keys %notices) {
	my ($item, $to, $subject) = @{ $notices{$name} };
	my ($words) = $subject =~ /\^([\w ]+)/;
	my $n = grep { /^To: .*\Q$to\E/m && /^Subject: \Q$words\E/m } @letters;
	# the digest is made anew whenever it is asked for
	cmp_ok $n, $name eq 'weeklyDigest' ? '>=' : '==', 1, "$item: the mail of $name has arrived, once";
}
is scalar(grep { /^To: .*compliance\@rto\.example/m && /^Subject: Compliance$/m } @letters), 1, 'S3-20: the report';
ok scalar(grep { /^To: .*admin\@rto\.example/m && /^Subject: \[jobqd\] .*dead letters of jobs/m } @letters), 'S3-4 S3-57 S3-66: administrators are told of permanent failures by mail';
done_testing;
