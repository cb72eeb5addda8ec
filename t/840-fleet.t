# The example of a fleet management office does what it says: etc/examples/
# fleet.yml, fleet.sql and its programs, with the services around it. Every type
# of job with its own data, every schedule, and what happens when it goes wrong.
#
# This is the end-to-end test of workflows that S0-76 asks for. Its numbers are looked at in t/640, that its schedules fire when they should in
# t/505, its inventory (S0-21, S0-22, S0-23) in t/662.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use System;
use Jobqd;
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(time);

my (undef, $version) = run_program([ jobqd_program(), '-V' ]);
plan skip_all => 'this build has no xlsx, pdf, email or http'
    unless $version =~ /libxlsxwriter/ && $version =~ /cairo/ && $version =~ /^drivers:.*email.*http/m;
delete @ENV{ grep { /^(?:DB_|ENABLE_|FLEET_|MAIL_|OUTLOOK_|QUEUE_|GRAPH_|SAMSARA_|PUSH_|TZ$|ADMIN_)|CRON|SYNC|WEBHOOK|MAINTENANCE/ } keys %ENV };

my $dir = temp_directory();
mkdir "$dir/$_" for qw(pictures thumbnails exports files);
my ($user, $group) = (scalar getpwuid $>, scalar getgrgid $) + 0);
my ($port, $services) = (free_port(), free_port());
Jobqd::background([ 'python3', source_directory() . '/t/fleet_services.py', $services, "$dir/asked" ], log => "$dir/services.log");
wait_port($services);
my $secret = 'whsec_' . 'c2VjcmV0LW9mLXRoZS10ZXN0LXN1aXRlIQ==';
my ($receiver, $received) = receiver($secret);
# Copies, since Python leaves compiled ones beside them.
my $programs = temp_directory();
spew($programs . '/' . (m{([^/]+)$})[0], slurp($_)) for glob source_directory() . '/etc/examples/*.py';

my $e = System->new('fleet', env => sub {
	my ($e) = @_;
	my $mail = $e->mail_server;
	return (DB_HOST => $e->{pg}{dir}, DB_NAME => 'jobq', DB_USER => 'ordinary', FLEET_USER => $user, FLEET_GROUP => $group,
		FLEET_RUN => $dir, FLEET_LOGS => $dir, FLEET_STATE => $dir, FLEET_PROGRAMS => $programs, FLEET_API => "127.0.0.1:$port",
		HOSTNAME => 'office', ADMIN_KEY => 'admin-key', MAIL_SERVER => $mail, OUTLOOK_SERVER => $mail, OUTLOOK_TLS => 'off',
		QUEUE_MONITOR_INTERVAL => 1, GRAPH_URL => "http://127.0.0.1:$services/graph", GRAPH_TOKEN_URL => "http://127.0.0.1:$services/token",
		PUSH_URL => "http://127.0.0.1:$services/push", PUSH_TOKEN => 'push-token', SAMSARA_URL => "http://127.0.0.1:$services/samsara",
		SAMSARA_API_TOKEN => 'samsara-token', FILES_URL => "http://127.0.0.1:$services/files", FILES_TOKEN => 'files-token', ALLOW_PRIVATE => 'true', WEBHOOK_ALLOW_PRIVATE => 'true', WEBHOOK_SECRET => $secret,
		TEAMS_SYNC_INTERVAL_SECONDS => 2);
});
# Nothing runs by the clock but what the test runs: until they are paused no
# minute ends, which is when they fire.
wait_for { time % 60 < 50 } 'the next minute';
$e->start;
my $d = $e->{daemon};
$e->ask('SELECT jobq.schedule_pause(name) FROM jobq.schedules');
my $admin = Api->new("127.0.0.1:$port", undef, headers => { 'X-Admin-Key' => 'admin-key' });
my %pids = map { $_ => 1 } $d->pids(qr/^jobqd: worker/);

sub control { Api->new("127.0.0.1:$services")->post('/control', { times => 1000000, @_ }) }
# What was asked for by then: of a method, with a path like that.
sub asked { my ($method, $path) = @_; return grep { $_->{method} eq $method && $_->{path} =~ $path } json_lines("$dir/asked") }
sub of_json { my ($text) = @_; utf8::encode($text); return $Api::json->decode($text) }
sub body { return of_json($_[0]{body}) }
sub near {	# within twenty percent of jitter
	my ($what, $have, @want) = @_;
	ok @$have == @want && !(grep { $have->[$_] < 0.8 * $want[$_] - 1 || $have->[$_] > 1.2 * $want[$_] + 1 } 0 .. $#want), "$what: @$have ms";
}
my ($job, $mail, $r);

#
# mail: S0-1
#
$job = $e->run('email', 'email_notification', { to => 'ann@example.com', subject => 'Your trip', text => "Thank you.\n" });
is $job->{priority}, 2, 'S0-1 S0-14 priority 2';
$mail = $e->mail('S0-1 to Ann', sub { $_->{to} eq 'ann@example.com' });
is "$mail->{from}|$mail->{subject}|" . ($mail->{plain} =~ s/\n$//r), 'Fleet Office <fleet@example.com>|Your trip|Thank you.', '… as it was said';

#
# push notifications: S0-2 S0-43
#
for my $priority (1, 8) {
	$job = $e->run('notification', 'push', { device => "device-$priority", title => 'Hello', body => "of $priority" }, "priority => $priority");
	is $job->{priority}, $priority, 'S0-2 S0-14 the priority is that of the job';
}
is_deeply [ map { "$_->{to} $_->{notification}{body}" } map { body($_) } asked(POST => qr{^/push$}) ], [ 'device-1 of 1', 'device-8 of 8' ], 'S0-2 S0-45 the devices are told';
$e->ask("UPDATE push_message SET send_at = now() - interval '1 minute' WHERE id = 2");
$job = $e->fire('push-notification-scheduler');
is $job->{result}{count}, 1, 'S0-43 the one whose time has come';
$r = $e->ended($job->{result}{rows}[0]{job});
is "$r->{state} $r->{priority} $r->{tenant}", 'completed 1 south', '… with its priority and tenant';
is + (map { body($_)->{notification}{title} } asked(POST => qr{^/push$}))[-1], 'Road closed', '… is sent';
is $e->fire('push-notification-scheduler')->{result}{count}, 0, '… once';

#
# reports: S0-3 S0-31 S0-32 S0-33
#
my %magic = (csv => qr/^Vehicle,Of,Trips/, excel => qr/^PK/, pdf => qr/^%PDF/);
for my $format (sort keys %magic) {
	$job = $e->run('report', 'report_generation', { report_type => 'fleet_summary', format => $format });
	like slurp($job->{result}{file}), $magic{$format}, "S0-33 a report as $format";
	is "$job->{result}{rows} $job->{priority}", '24 3', 'S0-3 … of all vehicles, with priority 3';
}
$e->ask("UPDATE report_schedule SET next_run = date_trunc('second', now()) - interval '1 minute'");
my %before = map { split /\|/ } split /\n/, $e->ask('SELECT every, next_run FROM report_schedule');
$job = $e->fire('report-scheduler');
is $job->{result}{count}, 5, 'S0-31 reports that are due';
my @reports = $e->ended(map { $_->{job} } @{ $job->{result}{rows} });
is join(' ', map { $_->{state} } @reports), join(' ', ('completed') x 5), '… are made';
for my $every (qw(daily weekly monthly quarterly custom)) {
	$mail = $e->mail("S0-31 S0-32 the $every report", sub { $_->{to} eq "$every\@example.com" });
	like $mail->{attachments}[0][2], qr/^(?:Vehicle|PK|%PDF)/, '… with the file';
}
is $e->ask(q(SELECT string_agg(every || ' ' || CASE every WHEN 'daily' THEN next_run = last_run + interval '1 day' WHEN 'weekly' THEN next_run = last_run + interval '7 days'
    WHEN 'monthly' THEN next_run = last_run + interval '1 month' WHEN 'quarterly' THEN next_run = last_run + interval '3 months'
    ELSE next_run = last_run + interval '3 days' END, ' ' ORDER BY id) FROM report_schedule)),
    'daily true weekly true monthly true quarterly true custom true', 'S0-32 each is due again when it should be';
is $e->fire('report-scheduler')->{result}{count}, 0, '… and not before';

#
# Teams: S0-7
#
$job = $e->run('teams-outbound', 'message', { chatId => '19:yard', content => "Hello from \"Fleet\" – \x{dc}", contentType => 'text', importance => 'high' });
is $job->{priority}, 3, 'S0-7 S0-14 priority high';
my ($sent) = asked(POST => qr{^/graph/chats/19(?::|%3A)yard/messages$});
is_deeply body($sent), { body => { contentType => 'text', content => "Hello from \"Fleet\" – \x{dc}" }, importance => 'high' }, 'S0-7 a message is sent as Graph wants it';
$job = $e->ended($e->enqueue('teams-outbound', 'message', { content => 'to nobody' }));
is "$job->{state} $job->{error_class} $job->{attempt}", 'dead validation 1', "… one to nobody is not: $job->{error}";

#
# Outlook: S0-8
#
$job = $e->run('outlook-outbound', 'mail', { to => ['user@example.com'], subject => 'Important Update',
	body => '<h1>Hello!</h1><p>This is an important update.</p>', bodyType => 'html', importance => 'high' });
is $job->{priority}, 5, 'S0-8 priority normal';
$mail = $e->mail('S0-8 of Outlook', sub { $_->{subject} eq 'Important Update' });
is "$mail->{to}|" . ($mail->{html} =~ s/\n$//r), 'user@example.com|<h1>Hello!</h1><p>This is an important update.</p>', '… in HTML';

#
# files: S0-9 S0-54
#
run_program([ 'python3', source_directory() . '/contrib/demo/pictures.py', "$dir/pictures", 12 ], env => { PYTHONPATH => $programs });
my ($first) = glob "$dir/pictures/*.png";
my @thumbs = map { $e->enqueue('attachments', 'thumbnail', { picture => m{([^/]+)$} ? $1 : die, width => 96 }) } glob "$dir/pictures/*.png";
is join(' ', map { $_->{state} } $e->ended(@thumbs)), join(' ', ('completed') x 12), 'S0-9 thumbnails are made';
is scalar(() = glob "$dir/thumbnails/*.png"), 12, '… and are there';
my $list = join ',', @thumbs;
cmp_ok $e->ask("SELECT extract(epoch FROM max(started_at) - min(started_at)) FROM jobq.jobs WHERE id IN ($list)"), '>', 2,
    'S0-54 … twelve do not start within eleven gaps of 200 ms';
# One that claims to be 20000 pixels wide and high, and one that is none.
spew("$dir/pictures/huge.png", "\x89PNG\r\n\x1a\n" . join '', map { pack('N', length($_) - 4) . $_ . pack('N', 0) } 'IHDR' . pack('NNCCCCC', 20000, 20000, 8, 2, 0, 0, 0));
spew("$dir/pictures/text.png", 'GIF89a');
for my $picture (qw(huge.png text.png ../asked)) {
	$job = $e->ended($e->enqueue('attachments', 'thumbnail', { picture => $picture, width => 96 }));
	is "$job->{state} $job->{error_class} $job->{attempt}", 'dead validation 1', "S0-9 a picture that is none is not tried again: $job->{error}";
}
# One that is small as a file and in what it claims, and 700 MB when it is unpacked.
run_program([ 'python3', '-c', <<'PY', "$dir/pictures/bomb.png" ]);
import struct, sys, zlib
pack = zlib.compressobj(1)
rows = b"".join(pack.compress(bytes(1000000)) for _ in range(700)) + pack.flush()
with open(sys.argv[1], "wb") as f:
    f.write(b"\x89PNG\r\n\x1a\n")
    for kind, body in ((b"IHDR", struct.pack(">IIBBBBB", 100, 100, 8, 2, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b"")):
        f.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
PY
$job = $e->ended($e->enqueue('attachments', 'thumbnail', { picture => 'bomb.png', width => 96 }, 'max_attempts => 1'));
is "$job->{state} $job->{error_class}", 'dead resource', "S1-56 one that needs more memory than it may have: $job->{error}";
is $e->ask("SELECT DISTINCT priority FROM jobq.jobs WHERE id IN ($list)"), 8, 'S0-9 priority low';
my $bytes = join '', map { chr } map { $_ % 256 } 1 .. 1024000;
spew("$dir/files/document.pdf", $bytes);
my %file = (fileId => 'file-123', fileName => 'document.pdf', fileSize => 1024000, contentType => 'application/pdf', operation => 'upload', source => 'teams');
$job = $e->run('attachments', 'upload', \%file);
my ($put) = asked(PUT => qr{^/files/file-123$});
is "$put->{type} $put->{length}", 'application/pdf 1024000', 'S0-9 a file is uploaded';
$job = $e->run('attachments', 'download', { %file, fileName => 'in/copy.pdf', operation => 'download' });
ok slurp("$dir/files/in/copy.pdf") eq $bytes, 'S0-9 and downloaded, to the byte';
for my $bad ({ %file, fileName => 'nowhere.pdf' }, { %file, fileName => '../asked' }) {
	$job = $e->ended($e->enqueue('attachments', 'upload', $bad));
	is "$job->{state} $job->{error_class}", 'dead validation', "S0-9 one that is not there: $job->{error}";
}
spew("$dir/exports/$_.csv", $_) for qw(old new);
utime 1, time - 45 * 86400, "$dir/exports/old.csv";
$job = $e->fire('cleanup');
is join(' ', map { m{([^/]+)$} } glob "$dir/exports/*"), 'new.csv', 'exported files that nobody fetched are removed, others stay';

#
# webhooks in: S0-10
#
my %event = (webhookId => 'webhook-123', source => 'teams', eventType => 'message.received', receivedAt => '2026-01-01T08:00:00Z',
	data => { messageId => 'message-1', from => "Zo\x{eb}", content => 'Where are you?' });
$job = $e->run('webhooks', 'event', \%event) for 1, 2;
is $e->ask("SELECT count(*) FROM incoming_event WHERE id = 'webhook-123'"), 1, 'S0-10 an event that comes twice is noted once';
wait_for { $e->ask("SELECT count(*) FROM message WHERE id = 'message-1'") } 'the message';
is $e->ask("SELECT channel, sender, content FROM message WHERE id = 'message-1'"), 'teams|Zoë|Where are you?', '… and its message is where it belongs';
is $job->{priority}, 3, 'S0-10 priority high';
{
	require Digest::SHA;
	require MIME::Base64;
	my $body = $Api::json->encode({ type => 'message.received', messageId => 'message-2', subject => 'Offer', from => 'a@example.com' });
	my ($id, $at) = ('evt-2', int time);
	my $sign = MIME::Base64::encode_base64(Digest::SHA::hmac_sha256("$id.$at.$body", MIME::Base64::decode_base64($secret =~ s/^whsec_//r)), '');
	my $hook = Api->new("127.0.0.1:$port");
	my %h = ('webhook-id' => $id, 'webhook-timestamp' => $at, 'webhook-signature' => "v1,$sign", 'Content-Type' => 'application/json');
	$r = $hook->post('/v1/hooks/outlook', $body, headers => \%h);
	like $r->{status}, qr/^20/, 'S0-10 a webhook by HTTP' or diag $r->{body};
	wait_for { $e->ask("SELECT count(*) FROM message WHERE id = 'message-2' AND channel = 'outlook'") } 'its message';
	is $hook->post('/v1/hooks/outlook', "$body ", headers => \%h)->{status}, 401, '… one whose signature is wrong is refused';
}

#
# subscriptions: S0-36 S0-50
#
control(match => '/graph/subscriptions/sub-lost', status => 503);
$e->fire('webhook-renewal');
is $e->ask("SELECT count(*) FROM subscription WHERE id = 'sub-old'"), 0, 'S0-36 what has expired and is not critical goes';
wait_for { $e->ask("SELECT string_agg(state, ' ') FROM jobq.workflows WHERE name = 'subscription-renewal'") =~ /^(?:completed failed|failed completed)$/ } 'both renewals to end';
is $e->ask("SELECT state, expires_at > now() + interval '2 days' FROM subscription WHERE id = 'sub-soon'"), 'active|t', 'S0-36 what expires within the threshold is renewed';
my @renewals = asked(PATCH => qr{^/graph/subscriptions/sub-lost$});
is scalar(@renewals), 3, 'S0-50 a renewal fails three times';
like body($renewals[0])->{expirationDateTime}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, '… that asked for the right thing';
wait_for { $e->ask("SELECT count(*) FROM subscription WHERE id = 'sub-new'") } 'it to be made anew';
is $e->ask("SELECT service, state, resource FROM subscription WHERE id = 'sub-new'"), 'outlook|active|me/messages', 'S0-50 … and the critical subscription is made anew';
is body((asked(POST => qr{^/graph/subscriptions$}))[0])->{resource}, 'me/messages', '… of the same resource';
is $e->ask("SELECT count(*) FROM subscription WHERE id IN ('sub-lost', 'sub-late')"), 1, '… while those that have time are left alone';

#
# synchronisation: S0-11 S0-27 S0-28 S0-35 S0-29
#
# What it has done before it was paused is undone.
wait_for { $e->ask("SELECT ready + running + retrying FROM jobq.queues WHERE name = 'sync'") eq '0' } 'no synchronisation to run';
$e->ask("DELETE FROM message WHERE id ~ '^(chat|mail)-'; DELETE FROM sync_state");
$job = $e->fire('teams-sync');
is_deeply $job->{result}, { fetched => 3, new => 3 }, 'S0-28 the first time all messages come, by pages';
is $job->{priority}, 8, 'S0-11 priority low';
is $e->ask("SELECT content FROM message WHERE id = 'chat-2'"), "Message 2: \t\"quoted\" \\ and ünïcode", '… to the letter';
is_deeply $e->fire('teams-sync')->{result}, { fetched => 1, new => 1 }, 'S0-28 the next time what is new since then';
$job = $e->fire('outlook-sync');
is_deeply $job->{result}, { Inbox => { fetched => 3, new => 3 }, map { $_ => { fetched => 0, new => 0 } } qw(Sent Drafts) }, 'S0-35 three folders';
is $e->ask("SELECT string_agg(concat_ws(' ', id, category, amount), ', ' ORDER BY id) FROM message WHERE id LIKE 'mail-%'"),
    'mail-1 finance 129.50, mail-2 maintenance, mail-3 other', 'S0-35 … categorised, with the sum of the receipt';
is $e->fire('outlook-sync')->{result}{Inbox}{fetched}, 0, '… and only what is new';
# By itself, when the webhooks are silent: S0-28.
my $syncs = "SELECT count(*) FROM jobq.jobs WHERE type = 'teams_sync'";
my $had = $e->ask($syncs);
$e->ask("UPDATE incoming_event SET received_at = now()");
$d->ctl('schedule', 'resume', 'teams-sync');
my $skipped = $e->ask("SELECT skipped FROM jobq.schedules WHERE name = 'teams-sync'");
wait_for { $e->ask("SELECT skipped FROM jobq.schedules WHERE name = 'teams-sync'") >= $skipped + 2 } 'two instants to be skipped';
is $e->ask($syncs), $had, 'S0-28 while the webhooks are healthy no synchronisation runs';
$e->ask("UPDATE incoming_event SET received_at = now() - interval '6 minutes'");
wait_for { $e->ask($syncs) >= $had + 2 } 'two synchronisations';
pass 'S0-27 S0-28 when they are silent it runs, every two seconds as TEAMS_SYNC_INTERVAL_SECONDS says';
$d->ctl('schedule', 'pause', 'teams-sync');
like slurp("$dir/teams-sync.log"), qr/schedule=teams-sync.*skipped|skipped.*schedule=teams-sync/, 'S0-59 its log tells so' or diag slurp("$dir/teams-sync.log");

$job = $e->fire('telematics-sync');
is_deeply $job->{result}, { vehicles => 2, positions => 3, safety_events => 1 }, 'S0-29 vehicles, positions and safety events';
is $e->ask("SELECT string_agg(plate, ' ' ORDER BY id) FROM vehicle WHERE id < 3"), 'NEW-1 NEW-2', '… the vehicles as they are there';
is_deeply $e->fire('telematics-sync')->{result}, { positions => 3, safety_events => 0 }, 'S0-29 the vehicles are asked for once a day, and no event is there twice';
$e->ask("UPDATE sync_state SET synced_at = now() - interval '25 hours' WHERE resource = 'samsara/vehicles'");
is $e->fire('telematics-sync')->{result}{vehicles}, 2, '… and again the day after';
$job = $e->fire('telematics-ingestion');
is $e->ask('SELECT count(*) FROM track_in'), 0, "S0-41 $job->{result}{count} positions are taken in";
is $e->ask('SELECT count(*) FROM track WHERE lat = 52.5'), 1203, '… each once';

#
# figures: S0-39 S0-42 S0-70
#
$e->ask("INSERT INTO trip (vehicle, driver, day, km, hours, earned) VALUES (1, 1, current_date + 1, 10, 2.4, 1000)");
is $e->ask("SELECT count(*) FROM vw_asset_daily_utilization WHERE day = current_date + 1"), 0, 'before the refresh';
my $roi = $e->ask('SELECT earned FROM vw_asset_roi_summary WHERE vehicle = 1');
$job = $e->fire('daily-metrics');
is $e->ask("SELECT percent FROM vw_asset_daily_utilization WHERE day = current_date + 1"), '10.0', 'S0-39 vw_asset_daily_utilization is refreshed';
is $e->ask('SELECT earned FROM vw_asset_roi_summary WHERE vehicle = 1'), $roi + 1000, 'S0-39 and vw_asset_roi_summary';
my @scores = $e->fire('driver-safety-scores');
is_deeply [ sort map { $_->{tenant} } @scores ], [qw(north south)], 'S0-70 a job for each tenant';
is $e->ask('SELECT count(*), min(score), max(score) FROM safety_score'), '150|70|100', 'S0-42 a score for every driver';
$e->fire('driver-safety-scores');
is $e->ask('SELECT count(*) FROM safety_score'), 150, '… one a day, however often it runs';
for my $report (qw(utilization return_on_investment driver_safety maintenance)) {
	is $e->run('report', 'report_generation', { report_type => $report, format => 'csv' })->{state}, 'completed', "S0-3 the report $report";
}

#
# maintenance, checks, reminders: S0-26 S0-34 S0-37 S0-68
#
$job = $e->fire('maintenance-scheduler');
is $e->ask('SELECT string_agg(vehicle::text, $$ $$ ORDER BY vehicle) FROM work_order'), '1 2 3', 'S0-26 work orders for what is due within a day';
is_deeply { map { $_->{tenant} => $_->{work_orders} } @{ $job->{result}{rows} } }, { north => 2, south => 1 }, 'S0-68 one run for all tenants';
$mail = $e->mail('S0-26 the manager is told', sub { $_->{to} eq 'north@example.com' && $_->{subject} eq '2 new work orders' });
like $mail->{plain}, qr/^FL-1003: service on \d{4}-\d\d-\d\d\nNEW-1: service on/, '… of what';
is $e->ask("SELECT metrics->>'work_orders' FROM audit_log WHERE job = $job->{id}"), 3, 'S0-26 S0-57 and it is in the audit table';
is $e->fire('maintenance-scheduler')->{result}{count}, 0, '… once';
$e->ask('UPDATE vehicle SET next_service_on = current_date + 2 WHERE id = 4');
is $e->run('notification', 'maintenance_check', { days_ahead => 2 })->{result}{count}, 1, 'S0-26 further ahead, as MAINTENANCE_DAYS_AHEAD says';

$job = $e->fire('alert-checker');
is $e->ask('SELECT string_agg(DISTINCT kind, $$, $$ ORDER BY kind) FROM warning'), 'certification expires, critical incident, fuel anomaly, '
    . 'geofence violation, insurance expires, maintenance due, overdue task', 'S0-34 the seven checks find what is wrong';
$mail = $e->mail('S0-34 of an incident', sub { $_->{to} eq 'south@example.com' && $_->{plain} =~ /critical incident: FL-1004, Collision on the A7/ });
like $mail->{plain}, qr/^fuel anomaly: FL-1008, 19\.0 l for 100 km$/m, '… with the rest';
is $e->fire('alert-checker')->{result}{count}, 0, '… which is told once';

$job = $e->fire('scheduling-reminders');
is_deeply { map { $_->{what} => $_->{hours} } @{ $job->{result}{rows} } },
    { 'reservation 1' => 1, 'reservation 2' => 24, 'reservation 3' => 24, 'appointment 1' => 24 }, 'S0-37 reminders a day and an hour before';
$mail = $e->mail('S0-37 of a reservation', sub { $_->{to} eq 'driver1@example.com' });
is $mail->{subject}, 'In 1 hours: NEW-1', '… in an hour';
like $e->mail('S0-37 of an appointment', sub { $_->{to} eq 'driver12@example.com' })->{plain}, qr/appointment 1 of FL-1012, Garage Wei\x{df}/, '… with its place';
is scalar($e->mails(sub { $_->{to} eq 'driver9@example.com' })), 0, 'S0-37 who wants none gets none';
is $e->ask("SELECT subject FROM warning WHERE kind = 'double booking'"), 'NEW-2', 'S0-37 a double booking is found';
is $e->fire('scheduling-reminders')->{result}{count}, 0, '… and nobody is reminded twice';

#
# webhooks out: S0-12 S0-13
#
for my $kind ([ webhook => 'timestamped', 'x-webhook-signature' ], [ 'webhook-standard' => 'standard', 'webhook-signature' ]) {
	my ($type, $verified, $header) = @$kind;
	$job = $e->run('webhook-delivery', $type, { url => "http://127.0.0.1:$receiver/ok/$type", eventType => 'trip.completed', secret => $secret,
		payload => { trip => 7, note => "\x{fc} \"x\"" } });
	my ($got) = grep { $_->{path} eq "/ok/$type" } json_lines($received);
	ok $got->{$verified}, "S0-13 $header verifies";
	is "$got->{headers}{'x-event-type'} $got->{headers}{'x-event-id'}", "trip.completed $job->{id}", 'S0-13 … beside X-Event-Type and X-Event-Id';
	is_deeply of_json($got->{body}), { trip => 7, note => "\x{fc} \"x\"" }, '… and what was to be said';
}
control(match => '/slow', sleep => 0.5);
my @many = split /\n/, $e->ask("SELECT jobq.enqueue('webhook-delivery', 'webhook', jsonb_build_object('url', 'http://127.0.0.1:$services/slow/' || i,
    'secret', '$secret', 'eventType', 'x', 'payload', jsonb_build_object('n', i))) FROM generate_series(1, 40) i");
is join(' ', map { $_->{state} } $e->ended(@many)), join(' ', ('completed') x 40), 'S0-12 forty deliveries';
is max(map { $_->{flying} } asked(POST => qr{^/slow/})), 10, 'S0-12 … ten at a time';
control(match => '/never', sleep => 20);
$job = $e->ended($e->enqueue('webhook-delivery', 'webhook', { url => "http://127.0.0.1:$services/never", secret => $secret, eventType => 'x', payload => {} }, 'max_attempts => 1'));
my $took = $e->ask("SELECT extract(epoch FROM finished_at - started_at) FROM jobq.attempts WHERE job_id = $job->{id}");
is $job->{state} . ' ' . ($job->{error_class} =~ /^(?:timeout|network)$/ ? 1 : 0), 'dead 1', "S0-12 a subscriber that does not answer: $job->{error}";
cmp_ok $took, '>=', 9.9, sprintf 'S0-12 S0-15 … is given up after ten seconds: %.1f', $took;

#
# limits: S0-52 S0-53 S0-55
#
my %message = (chatId => '19:yard', content => 'x', contentType => 'text', importance => 'normal');
my @messages = split /\n/, $e->ask("SELECT jobq.enqueue('teams-outbound', 'message', " . System::quoted(\%message) . ') FROM generate_series(1, 60)');
is join(' ', map { $_->{state} } $e->ended(@messages)), join(' ', ('completed') x 60), 'sixty messages to Teams';
$list = join ',', @messages;
cmp_ok $e->ask("SELECT extract(epoch FROM max(started_at) - min(started_at)) FROM jobq.jobs WHERE id IN ($list)"), '>', 1, 'S0-52 … no two within 20 ms';
cmp_ok max(map { $_->{flying} } asked(POST => qr{/chats/})), '<=', 10, 'S0-52 … and no more than ten at a time';
$r = $admin->get('/v1/limits')->{json}{items};
is_deeply [ sort map { $_->{name} } @$r ], [qw(attachments outlook-api teams-api)], 'S0-55 limits have names';

#
# when it goes wrong: S0-4 S0-7 S0-46 S0-47 S0-48 S0-51
#
control(match => '/push', status => 503);
my $push = $e->enqueue('notification', 'push', { device => 'd', title => 't', body => 'b' });
near 'S0-2 S0-4 S0-51 push is down: three attempts, from two seconds on', [ $e->delays($push) ], 2000, 4000;
is $e->ask("SELECT queue, error_class, attempts FROM jobq.dead_letters WHERE job_id = $push"), 'notification|network|3', 'S0-47 … then it is a dead letter';
control(match => '/graph/chats/', status => 500);
my $teams = $e->enqueue('teams-outbound', 'message', \%message);
near 'S0-7 S0-46 Teams is down: five attempts, from one second on', [ $e->delays($teams) ], 1000, 2000, 4000, 8000;
control(match => '/graph/chats/', status => 429, headers => { 'Retry-After' => '7' }, times => 1);
my $asked = $e->enqueue('teams-outbound', 'message', \%message);
my @waited = $e->delays($asked);
cmp_ok $waited[0], '>=', 7000, "S0-52 when Teams asks for patience it gets it: $waited[0] ms";
is $e->job($asked)->{state}, 'completed', '… and the message goes out';
control(match => $_, times => 0) for '/push', '/graph/chats/';
is $e->ask("SELECT jobq.retry($push)"), 't', 'S0-48 a dead letter is tried again by hand';
is $e->ended($push)->{state}, 'completed', '… and done';
is $admin->post("/v1/jobs/$teams/retry")->{status}, 200, 'S0-49 over HTTP, too';
is $e->ended($teams)->{state}, 'completed', '… and done';
$job = $e->ended($e->enqueue('outlook-outbound', 'mail', { to => 'refuse@example.com', subject => 'x', body => 'x' }));
is "$job->{state} $job->{attempt}", 'dead 1', 'an address that is not there is not tried again';
$e->mail_server_down;
my $late = $e->enqueue('email', 'email_notification', { to => 'late@example.com', subject => 'Late', text => 'x' });
near 'S0-1 S0-4 the mail server is down', [ $e->delays($late) ], 2000, 4000;
$e->mail_server;
$admin->post("/v1/dead-letters/$late/retry");
is $e->ended($late)->{state}, 'completed', '… and back';

# too late to be of use: S0-7 … S0-11 S0-15
for my $x ([ 'teams-outbound', 'message', '1 hour', 'S0-7' ], [ 'outlook-outbound', 'mail', '2 hours', 'S0-8' ], [ attachments => 'thumbnail', '4 hours', 'S0-9' ],
    [ webhooks => 'event', '30 minutes', 'S0-10' ], [ sync => 'teams_sync', '1 hour', 'S0-11' ]) {
	my ($queue, $type, $after, $item) = @$x;
	$job = $e->ended($e->enqueue($queue, $type, \%message, "run_at => now() - interval '$after' - interval '1 minute'"));
	is "$job->{state} $job->{error_class}", 'dead timeout', "$item S0-15 $queue: what could not start for $after is given up: $job->{error}";
}

# the administrators are told: S0-29 S0-71
control(match => '/samsara/', status => 500);
$e->delays($e->enqueue('sync', 'telematics_sync', {}));
$e->mail('S0-29 telematics failed', sub { $_->{to} eq 'admin@example.com' && $_->{subject} =~ /new dead letters of sync is \d+ \(above 0\)/ });
control(match => '/samsara/', times => 0);
$e->enqueue('notification', 'maintenance_check', { days_ahead => 'soon' }) for 1 .. 30;
$e->mail('S0-71 more than 5 % fail', sub { $_->{to} eq 'admin@example.com' && $_->{subject} =~ /failure rate of notification is [\d.]+ % \(above 5 %\)/ });

#
# pausing, looking, stopping
#
$admin->post('/v1/queues/email/pause', { reason => 'test' });
my $waiting = $e->enqueue('email', 'email_notification', { to => 'paused@example.com', subject => 'x', text => 'x' });
is $admin->get('/v1/queues/email')->{json}{ready}, 1, 'a queue that is paused keeps its jobs';
$admin->post('/v1/queues/email/resume');
is $e->ended($waiting)->{state}, 'completed', '… until it goes on';
$r = $admin->get('/v1/stats')->{json};
is_deeply [ map { $_->{name} } @{ $r->{items} } ], [ sort qw(attachments email notification outlook-inbound outlook-outbound report sync teams-inbound teams-outbound
	webhook-delivery webhooks) ], 'S0-60 how the queues are';
is scalar(grep { !$_->{open} } @{ $r->{items} }), 0, 'S0-60 … served and open';
$r = $admin->get('/v1/jobs?state=dead&queue=teams-outbound')->{json}{items};
is_deeply [ map { $_->{error_class} } @$r ], [qw(timeout validation)], 'S0-61 how jobs are';
$r = $admin->get('/v1/workers')->{json}{items};
is scalar(@$r), 23, 'S0-62 how the workers are';
is $admin->get('/v1/queues', headers => { 'X-Admin-Key' => 'guess' })->{status}, 401, '… for those who have the key';
is scalar(grep { $pids{$_} } $d->pids(qr/^jobqd: worker/)), 23, 'S0-44 the workers are still those of the start';
like $d->log, qr/job dead id=\d+ queue=\S+ type=\S+ .*class=/, 'S0-56 what failed is in the log';
$e->ended($e->enqueue('notification', 'push', { device => 1 }, "tenant => 'north', max_attempts => 1, priority => 7, timeout => interval '30 s'"));
control(match => '/push', status => 400, times => 1);
$job = $e->ended($e->enqueue('notification', 'push', { device => 'd' }, "tenant => 'north'"));
like $d->log, qr/job dead id=$job->{id} .*tenant=north/, 'S0-69 … with its tenant';

control(match => '/graph/chats/getAllMessages', sleep => 2);
my $running = $e->enqueue('sync', 'teams_sync', {});
wait_for { $e->job($running)->{state} eq 'running' } 'a synchronisation to run';
is $d->stop, 0, 'stops';
is $e->job($running)->{state}, 'completed', '… when what runs is done';

#
# without what a schedule needs: S0-30
#
delete $ENV{SAMSARA_API_TOKEN};
$ENV{TELEMATICS_CRON_SCHEDULE} = '* * * * * *';
my $at = $d->log_size;
$d->start;
$d->ctl('schedule', 'resume', 'telematics-sync');
like $d->wait_log(qr/SAMSARA_API_TOKEN/, $at), qr/telematics-sync/, 'S0-30 without SAMSARA_API_TOKEN the schedule does not run, and says so';
is $d->stop, 0, 'stops with status 0';
done_testing;
