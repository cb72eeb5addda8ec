# etc/examples/hse.yml does what it says, with the payloads of the system that it
# describes: every queue, type, workflow and schedule, for tenants that do not see
# one another.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Digest::SHA qw(hmac_sha256_hex);
use Example;
use Jobqd;
use Test::More;

my (undef, $version) = run_program([ jobqd_program(), '-V' ]);
plan skip_all => 'this build has no pdf, zip or email'
    unless $version =~ /cairo/ && $version =~ /libarchive/ && $version =~ /^drivers:.*email/m;
my $pg = Jobqd::Postgres->new;
$pg->query($_, 'postgres') for 'CREATE ROLE hse LOGIN', 'CREATE DATABASE hse OWNER hse';
@$pg{qw(user database)} = qw(hse hse);
my $dir = temp_directory();
my $mail = "$dir/mail";
mkdir $mail;
my $api_port = free_port();
my $web = service([ 'POST', '^/(?:webhook|a|b)$', [ {} ] ], [ 'POST', '^/down', [ { status => 503 } ] ]);
delete @ENV{ grep { /^(?:QUEUE_|HSE_|MAIL_|REPORT_|BREAKER_|OPS_|WEEKLY_|DATABASE_URL|WEBHOOK_)/ } keys %ENV };
my $example = example('hse.yml');
%ENV = (%ENV, DATABASE_URL => $pg->url, HSE_USER => scalar getpwuid $>, HSE_GROUP => scalar getgrgid $) + 0, HSE_RUN => $dir, HSE_INTERVAL => '1s',
	HSE_API => "127.0.0.1:$api_port", MAIL_SERVER => "file:$mail", REPORT_DIRECTORY => "$dir/reports", WEBHOOK_ALLOW_PRIVATE => 'true', BREAKER_OF => 6, BREAKER_OPEN => '3s',
	HSE_TOKENS => Api::tokens("$dir/tokens", [qw(boss admin * boss-secret)], [qw(northern operator org-123 northern-secret)], [qw(harbour operator org-456 harbour-secret)]));

# Its settings, as jobqd understands them.
sub effective { return (run_program([ jobqd_program(), '-T', '-c', $example ]))[1] }
sub queue { my ($text, $name) = @_; return $text =~ /^queues:.*?^  \Q$name\E:\n(.*?)^  \S/ms ? $1 : '' }
my $text = effective();
my %want = (email => 'email|30s|2|5', reports => 'default|5m|3|5', 'data-exports' => 'exports|10m|4|5', webhooks => 'webhooks|30s|3|1', 'tenant-onboarding' => 'default|1m|2|5', cleanup => 'default|1h|5|1');
my %item = (email => 'S4-1', reports => 'S4-2', 'data-exports' => 'S4-3', webhooks => 'S4-4', 'tenant-onboarding' => 'S4-5', cleanup => 'S4-6');
my %named = (critical => 1, high => 2, normal => 3, low => 4, very_low => 5);
for my $name (sort keys %want) {
	my $q = queue($text, $name);
	my ($retry, $timeout, $priority, $workers) = map { $q =~ /^    $_: (\S+)/m ? $1 : '' } qw(retry timeout priority workers);
	is "$retry|$timeout|" . ($named{$priority} // $priority) . "|$workers", $want{$name}, "$item{$name} S4-7: $name: policy, time-out, priority, workers";
	like $q, qr/completed: 1d\n +dead: (?:7d|1w)$/m, 'S4-8 S4-43: … kept a day, dead a week';
}
like queue($text, 'webhooks'), qr/^    concurrency: 5$/m, 'S4-11: five webhooks at a time';
for my $n (2, 10) {
	local $ENV{QUEUE_CONCURRENCY} = $n;
	my $with = effective();
	like queue($with, 'webhooks'), qr/^    concurrency: $n$/m, "S4-11 S4-47: QUEUE_CONCURRENCY=$n";
	like queue($with, 'email'), qr/^    workers: $n$/m, '… is of all';
}
{
	local @ENV{qw(QUEUE_MAX_RETRIES QUEUE_BACKOFF_DELAY)} = (7, 250);
	like effective(), qr/^  default:\n    attempts: 7\n.*?base: 250ms/ms, 'S4-12 S4-13: QUEUE_MAX_RETRIES and QUEUE_BACKOFF_DELAY';
}

$pg->query(slurp(source_directory() . '/etc/examples/hse.sql'));
my $d = Jobqd::Daemon->new(pg => $pg, config => slurp($example));
# Its log is JSON.
sub start {
	my $from = $d->log_size;
	$d->start(ready => 0);
	$d->wait_log(qr/"event":"ready"/, $from);
}
start();
watch_delays($pg);
my %of = map { $_ => Api->new("127.0.0.1:$api_port", "$_-secret") } qw(boss northern harbour);

# By its typed route there, POST /v1/jobs here: returns the id.
sub post_job {
	my ($who, $queue, $type, $data, %more) = @_;
	my $r = $of{$who}->post('/v1/jobs', { queue => $queue, type => $type, data => $data, %more });
	is $r->{status}, 201, "POST of $who to $queue" or diag $r->{body};
	return $r->{json}{id};
}
sub read_json { return $Example::json->decode(slurp($_[0])) }

#
# Mail
#
my $id = post_job('northern', 'email', 'test', { to => 'user@example.com', subject => 'Test Email', html => '<p>Hello!</p>', text => 'Hello!', from => 'noreply@hse.digital' }, priority => 2);
my $job = job_is($pg, $id, 'completed', 'S4-14 S4-27: a mail');
is "$job->{priority} $job->{tenant}", '2 org-123', 'S4-7: … of the priority that it says, and of the tenant';
my ($letter) = mails($mail);
like $letter, qr/^From: noreply\@hse\.digital$/m, '… from whom it says';
like $letter, qr{multipart/alternative.*\nHello!\n.*<p>Hello!</p>}s, '… with its text and HTML';

#
# Reports and exports, with the mail to who asked
#
my $report = { type => 'audits', organizationId => 'org-123', filters => { status => 'Completed' }, format => 'json', userId => 'user-123', notifyEmail => 'user@example.com' };
$job = job_is($pg, post_job('northern', 'reports', 'audits', $report), 'completed', 'S4-15 S4-28: a report as JSON');
is_deeply [ map { $_->{id} + 0 } @{ read_json($job->{result}{file}) } ], [ 1, 3 ], '… has the completed audits of this organisation alone';
job_is($pg, $job->{result}{mail_job}, 'completed', 'S4-19: … its mail');
ok scalar(grep { /^Subject: Audits/m && /^To: .*user\@example\.com/m } mails($mail)), '… tells who asked';
is $pg->query("SELECT tenant FROM jobq.jobs WHERE id = $job->{result}{mail_job}"), 'org-123', '… and is of the tenant, too';
for (['incidents', 'csv', qr/^id,station,severity.*a rail has cracked/s], ['work-permits', 'csv', qr/hot work/], ['audits', 'csv', qr/Central,Completed,92\.5/], ['compliance', 'csv', qr/^Yard,North,1,78\.0,1,0/m]) {
	my ($type, $format, $like) = @$_;
	$job = job_is($pg, enqueue($pg, 'reports', $type, { %$report, type => $type, format => $format, filters => {} }), 'completed', "S4-15: $type as $format");
	like slurp($job->{result}{file}) =~ s/\r//gr, $like, '… has what it should';
	unlike slurp($job->{result}{file}), qr/quay|diving/i, '… and nothing of another organisation';
}
$job = job_is($pg, enqueue($pg, 'reports', 'audits', { type => 'audits', format => 'csv' }), 'dead', 'a report of no organisation');
is "$job->{error_class} $job->{attempt}", 'validation 1', '… is refused at once';

my $export = { organizationId => 'org-123', entities => [qw(stations audits incidents work-permits contractors users)], format => 'json', userId => 'user-123', notifyEmail => 'user@example.com' };
$job = job_is($pg, post_job('northern', 'data-exports', 'export', $export), 'completed', 'S4-16 S4-29: an export of six entities');
is_deeply $job->{result}{entities}, { stations => 2, audits => 3, incidents => 2, 'work-permits' => 1, contractors => 1, users => 2 }, '… with the rows of this organisation';
my (undef, $files) = run_program([ 'python3', '-c', 'import json, sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); print(json.dumps({n: json.loads(z.read(n)) for n in z.namelist()}))', $job->{result}{file} ]);
$files = $Example::json->decode($files);
is join(' ', sort keys %$files), 'audits.json contractors.json incidents.json stations.json users.json work-permits.json', '… a file each';
is $files->{'contractors.json'}[0]{name}, 'Weld & Sons', '… of what is there';
job_is($pg, $job->{result}{mail_job}, 'completed', 'S4-19: … and its mail');

#
# Webhooks, signed
#
my $hook = { url => $web->url('/webhook'), payload => { event => 'incident.created', data => { id => 7 } }, secret => 'webhook-secret', eventType => 'incident.created', organizationId => 'org-123' };
$id = post_job('northern', 'webhooks', 'incident.created', $hook);
job_is($pg, $id, 'completed', 'S4-17 S4-30: a webhook');
my ($got) = $web->requests(qr{^POST /webhook});
is_deeply $Example::json->decode($got->{body}), $hook->{payload}, '… brings its payload';
is $got->{headers}{'x-webhook-signature'}, hmac_sha256_hex("$got->{headers}{'x-webhook-timestamp'}.$got->{body}", 'webhook-secret'), 'S4-51: … signed: HMAC-SHA-256 over timestamp.payload, in hex';
is "$got->{headers}{'x-event-type'} $got->{headers}{'x-event-id'}", "incident.created $id", '… with type and id of the event';

#
# Onboarding
#
my $onboard = { organizationName => 'Acme Corp', adminEmail => 'admin@acme.com', adminName => 'John Doe', tier => 'professional', stripeCustomerId => 'cus_123', stripeSubscriptionId => 'sub_123' };
sub workflow_ends {
	my ($id) = @_;
	wait_for { $pg->query("SELECT state FROM jobq.workflows WHERE id = $id") ne 'running' } 'the workflow';
	return $pg->query("SELECT state FROM jobq.workflows WHERE id = $id");
}
my $r = $of{boss}->post('/v1/workflows/tenant-onboarding', { data => $onboard });
is $r->{status}, 201, 'S4-18 S4-31: onboarding of a tenant' or diag $r->{body};
is workflow_ends($r->{json}{id}), 'completed', 'S4-5: … is done';
my $org = $pg->query("SELECT id FROM organization WHERE name = 'Acme Corp' AND tier = 'professional' AND stripe_customer_id = 'cus_123' AND stripe_subscription_id = 'sub_123'");
like $org, qr/^org-\d+$/, '… there is an organisation with its customer and subscription';
is $pg->query("SELECT organization_id, role FROM app_user WHERE email = 'admin\@acme.com' AND name = 'John Doe'"), "$org|admin", '… its administrator';
my ($welcome) = grep { /^Subject: Welcome to HSE\.Digital, John Doe$/m } mails($mail);
like $welcome // '', qr{Acme Corp is ready: https://app\.hse\.digital/$org}, '… and a welcome mail';
# A step that runs again finds what it has made.
my $create = $pg->query("SELECT (steps->'create'->>'job_id')::bigint FROM jobq.workflows WHERE id = $r->{json}{id}");
$id = $pg->query("SELECT jobq.enqueue('tenant-onboarding', 'create_organization', data) FROM jobq.jobs WHERE id = $create");
$job = job_is($pg, $id, 'completed', 'S4-5 S4-44: its first step once more');
is $job->{result}{rows}[0]{id}, $org, '… finds the same organisation';
is $pg->query("SELECT count(*) FROM organization WHERE name = 'Acme Corp'"), 1, '… and makes no other';
# Without a subscription; and what cannot be is undone.
$id = $pg->query("SELECT jobq.workflow('tenant-onboarding', '{\"organizationName\": \"Free Inc\", \"adminEmail\": \"a\@free.example\", \"adminName\": \"A\", \"tier\": \"free\"}')");
is workflow_ends($id), 'completed', 'one that does not pay';
is $pg->query("SELECT steps->'billing'->>'state' FROM jobq.workflows WHERE id = $id"), 'skipped', '… needs no billing';
$id = $pg->query("SELECT jobq.workflow('tenant-onboarding', '{\"organizationName\": \"Thief Ltd\", \"adminEmail\": \"t\@thief.example\", \"adminName\": \"T\", \"stripeCustomerId\": \"cus_123\"}')");
is workflow_ends($id), 'failed', 'one with the customer of another';
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = (SELECT on_failure_job FROM jobq.workflows WHERE id = $id)") eq 'completed' } 'the undo';
is $pg->query("SELECT (SELECT count(*) FROM organization WHERE name = 'Thief Ltd') + (SELECT count(*) FROM app_user WHERE email = 't\@thief.example')"), 0, '… leaves nothing behind';

#
# What an application does inside a request
#
$pg->query("BEGIN; SELECT sign_up('org-123', 'gone\@northern.example', 'Gone'); ROLLBACK");
my $user = $pg->query("SELECT sign_up('org-123', 'new\@northern.example', 'Dan <b>')");
$id = $pg->query("SELECT id FROM jobq.jobs WHERE unique_key = 'welcome-$user'");
job_is($pg, $id, 'completed', 'S4-52: a sign-up enqueues its welcome mail');
like join('', mails($mail)), qr{Welcome Dan <b>!.*<h1>Welcome Dan &lt;b>!</h1>}s, '… which arrives';
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE data->>'to' = 'gone\@northern.example'"), 0, '… and one that was rolled back does not';
$pg->query("INSERT INTO webhook (organization_id, url, secret, events) VALUES ('org-123', '" . $web->url('/a') . "', 'sa', '{incident.created}'), ('org-123', '" . $web->url('/b') . "', 'sb', '{incident.created,audit.closed}'),
	('org-123', '" . $web->url('/not') . "', 'sc', '{audit.closed}'), ('org-456', '" . $web->url('/not') . "', 'sd', '{incident.created}')");
$pg->query("SELECT report_incident(2, 'high', 'signal failure')");
wait_for { $web->requests(qr{^POST /[ab]$}) == 2 } 'the webhooks';
my @got = sort { $a->{path} cmp $b->{path} } $web->requests(qr{^POST /[ab]$});
is_deeply [ map { $_->{headers}{'x-webhook-signature'} } @got ], [ map { my ($g, $s) = @$_; hmac_sha256_hex("$g->{headers}{'x-webhook-timestamp'}.$g->{body}", $s) } [ $got[0], 'sa' ], [ $got[1], 'sb' ] ],
    'S4-54: an incident enqueues a webhook for each subscriber of its organisation, each signed with its own secret';
is $Example::json->decode($got[0]{body})->{data}{description}, 'signal failure', '… with the incident';
is $web->requests(qr{^POST /not}), 0, '… and nobody else hears of it';

#
# Schedules
#
my @jobs = schedule_runs($pg, $d, 'weekly-compliance');
is join(' ', map { "$_->{tenant}:$_->{state}" } @jobs), join(' ', map { "$_:completed" } split /\n/, $pg->query('SELECT id FROM organization ORDER BY id')), 'S4-53: a compliance report for each organisation';
my ($northern) = grep { $_->{tenant} eq 'org-123' } @jobs;
my (undef, $pdf) = run_program([ 'pdftotext', '-layout', $northern->{result}{file}, '-' ]);
like $pdf, qr/Compliance.*Central +North +1 +92\.5.*Yard +North +1 +78\.0 +2/s, '… as PDF, with its figures';
unlike $pdf, qr/Quay/, '… of its own stations';
job_is($pg, $northern->{result}{mail_job}, 'completed', '… by mail');
ok scalar(grep { /^To: .*admin\@northern\.example/m && /^Subject: Compliance/m } mails($mail)), '… to its administrator';
is $pg->query("SELECT spec || to_char(next_run AT TIME ZONE 'UTC', ' Dy HH24:MI') FROM jobq.schedules WHERE name = 'weekly-compliance'"), '0 0 * * 0 Sun 00:00', '… on Sundays';
$pg->query("INSERT INTO session SELECT 's' || i, 1, now() + (i - 6000) * interval '1 minute' FROM generate_series(1, 12000) i; INSERT INTO activity SELECT now() - i * interval '1 day' FROM generate_series(1, 100) i");
is_deeply [ map { "$_->{state} $_->{result}{count}" } schedule_runs($pg, $d, 'expired-sessions') ], ['completed 6000'], 'S4-6: sessions that have ended are removed, in batches';
is $pg->query('SELECT count(*) FROM session'), 6000, '… and no others';
is_deeply [ map { "$_->{state} $_->{result}{count}" } schedule_runs($pg, $d, 'old-activity') ], ['completed 11'], 'S4-6: … and what users did long ago' or diag $pg->query('SELECT count(*) FROM activity');

#
# What fails
#
$web->rules([ 'POST', '^/gone', [ { status => 410 } ] ], [ 'POST', '^/down', [ { status => 503 } ] ], [ 'POST', '', [ {} ] ]);
$id = enqueue($pg, 'webhooks', 'x', { %$hook, url => $web->url('/gone') });
is_deeply [ delays($pg, $id) ], [], 'S4-33: a webhook that is refused is dead at once';
my @dead = (delays($pg, $id = enqueue($pg, 'webhooks', 'x', { %$hook, url => 'http://127.0.0.1:' . free_port() . '/' })));
is_deeply \@dead, [ 10, 50, 250, 1250 ], 'S4-4 S4-33: a subscriber that is down: five attempts, 10 s the first delay';
# A mail server that is not there; at first, jobs wait for 5 s and so on.
is $d->stop, 0, 'stops with status 0';
$ENV{MAIL_SERVER} = 'smtp://127.0.0.1:' . free_port();
start();
my $failing = enqueue($pg, 'email', 'test', { to => 'user@example.com', subject => 's', text => 't' });
is_deeply [ delays($pg, $failing) ], [ 5, 25, 125, 625 ], 'S4-32 S4-1: five attempts: at once, then after 5, 25, 125 and 625 s';
# A table that is away.
$pg->query('ALTER TABLE audit RENAME TO audit_away');
is_deeply [ delays($pg, enqueue($pg, 'reports', 'audits', $report)) ], [ 5, 25 ], 'S4-2: a report has three attempts';
is_deeply [ delays($pg, enqueue($pg, 'data-exports', 'export', $export)) ], [5], 'S4-3: an export has two';
$pg->query('ALTER TABLE audit_away RENAME TO audit');
$pg->query('ALTER TABLE organization RENAME TO organization_away');
$id = enqueue($pg, 'tenant-onboarding', 'create_organization', { organizationName => 'X', adminEmail => 'x@x.example', onboarding => 99999 });
is_deeply [ delays($pg, $id) ], [ 5, 25 ], 'S4-5: a step of the onboarding has three';
$pg->query('ALTER TABLE organization_away RENAME TO organization');
$r = $of{boss}->post("/v1/jobs/$id/retry", {});
is $r->{status}, 200, 'S4-24: it is tried again';
job_is($pg, $id, 'completed', '… when it can be');
# The breaker of a subscriber.
$pg->query("SELECT jobq.enqueue('webhooks', data => '" . $Example::json->encode({ %$hook, url => $web->url('/down') }) . "') FROM generate_series(1, 6)");
wait_for { $pg->query("SELECT count(*) FROM jobq.breakers WHERE queue = 'webhooks' AND state = 'open'") eq '1' } 'the breaker to open';
my $waits = enqueue($pg, 'webhooks', 'x', { %$hook, url => $web->url('/waits') });
my $goes = enqueue($pg, 'webhooks', 'x', { %$hook, url => $web->url('/goes') =~ s/127\.0\.0\.1/localhost/r });
is ended($pg, $goes)->{state}, 'completed', 'S4-45: while a subscriber is down the jobs of others go on';
$web->rules([ 'POST', '', [ {} ] ]);
$job = job_is($pg, $waits, 'completed', '… and its own wait, until it is back');
is $job->{attempt}, 1, '… at the cost of no attempt';

#
# The log: a line for each step of a job, as JSON
#
my @log = map { $Example::json->decode($_) } grep { /^\{/ } split /\n/, $d->log;
my ($done) = grep { $_->{event} eq 'job completed' && $_->{queue} eq 'email' } @log;
ok $done->{id} && $done->{duration_ms} > 0, 'S4-34: completed: {id, queue, duration_ms}' or diag explain $done;
ok scalar(grep { $_->{event} eq 'job started' && $_->{id} == $done->{id} } @log), '… and started';
my ($failed) = grep { $_->{event} eq 'job dead' && $_->{id} == $failing } @log;
is "$failed->{queue} $failed->{attempt} $failed->{class}", 'email 5 network', '… dead: {queue, attempt, class}';
ok $failed->{error}, "… and error: $failed->{error}";
my %started = map { $_->{process} => 1 } grep { $_->{event} eq 'worker started' } @log;
is scalar(grep { $started{"queue $_"} } keys %want), 6, 'S4-35: each queue says that its workers have started';

#
# Tenants
#
is +(Api->new("127.0.0.1:$api_port"))->get('/v1/jobs')->{status}, 401, 'S4-49: without a token nothing is told';
my $theirs = post_job('harbour', 'email', 'test', { to => 'a@harbour.example', subject => 's', text => 't' }, delay => '1h');
is $of{northern}->get("/v1/jobs/$theirs")->{status}, 404, "S4-50: another tenant's job is not there";
is $of{northern}->delete("/v1/jobs/$theirs")->{status}, 404, '… nor to be removed';
is $of{northern}->post('/v1/jobs', { queue => 'email', data => { to => 'a@example.com', subject => 's' }, tenant => 'org-456' })->{status}, 403, '… nor to be made';
$r = $of{harbour}->get('/v1/jobs?limit=1000');
is_deeply [ grep { $_ ne 'org-456' } map { $_->{tenant} // 'none' } @{ $r->{json}{items} } ], [], '… lists have its own jobs alone, ' . scalar @{ $r->{json}{items} };
$r = $of{harbour}->get("/v1/jobs/$theirs");
is $r->{json}{state}, 'scheduled', 'S4-23: its own it sees';
is $of{harbour}->delete("/v1/jobs/$theirs")->{status}, 204, 'S4-25: … and removes';
$r = $of{boss}->get('/v1/stats');
my ($row) = grep { $_->{name} eq 'email' } @{ $r->{json}{items} };
ok !(grep { !defined $row->{$_} } qw(ready running completed dead scheduled retrying total open)), 'S4-21 S4-36: the statistics of each queue';
$r = $of{boss}->get('/v1/jobs?queue=webhooks&state=dead&limit=50');
is scalar @{ $r->{json}{items} }, 2, 'S4-22: the failed jobs of a queue';
like $of{boss}->get('/')->{body}, qr/<title>/, 'S4-20: the dashboard';
my $many = $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'email' AND state = 'completed'");
cmp_ok $many, '>', 5, 'mails are done';
is_deeply $of{boss}->post('/v1/queues/email/clean', { state => 'completed', older_than => '1h' })->{json}, { removed => 0 }, 'S4-26: none is an hour old';
is_deeply $of{boss}->post('/v1/queues/email/clean', { state => 'completed', older_than => '0s' })->{json}, { removed => $many + 0 }, "… and without a grace $many go";
$r = $of{boss}->post('/v1/jobs', { queue => 'email', data => { to => 'a@example.com', subject => 'x' x 110000 } });
is $r->{status}, 413, 'S4-46: more than 100 KiB of data is refused';

is $pg->query("SELECT string_agg(name || ' ' || above, ', ' ORDER BY name) FROM jobq.alert_rules"), 'database 0, failure-rate 10%, queue-depth 100, stalled 0',
    'S4-37 S4-38 S4-39 S4-40: the alerts (t/555-alerts-of-seeds.t has them fire)';
$pg->query("SELECT jobq.pause('webhooks', 'to look'), jobq.enqueue_many('webhooks', (SELECT jsonb_agg('{}'::jsonb) FROM generate_series(1, 101)))");
wait_for { $pg->query("SELECT count(*) FROM jobq.alerts WHERE name = 'queue-depth' AND queue = 'webhooks' AND state = 'firing'") eq '1' } 'the alert';
pass 'S4-37: 101 jobs that wait are an alert';
cmp_ok $pg->query("SELECT jobq.clear('webhooks')"), '>=', 101, 'and are cleared';
is $d->stop, 0, 'stops with status 0';
done_testing;
