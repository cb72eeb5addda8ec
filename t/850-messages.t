# etc/examples/messages.yml does what it says, with the payloads of the system
# that it describes: every queue, type and schedule, what a message becomes when
# its service fails, what administrators do about it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Digest::SHA qw(hmac_sha256 sha256_hex);
use Example;
use Jobqd;
use List::Util qw(max);
use MIME::Base64 qw(encode_base64 decode_base64);
use Test::More;

my $pg = Jobqd::Postgres->new;
$pg->query($_, 'postgres') for 'CREATE ROLE fleetadmin LOGIN', 'CREATE DATABASE fleetdb OWNER fleetadmin';
@$pg{qw(user database)} = qw(fleetadmin fleetdb);
my $dir = temp_directory();
my ($mail, $files) = ("$dir/mail", "$dir/attachments");
mkdir $_ for $mail, $files;
my @always = ([ 'POST', '^/ops$', [ {} ] ], [ 'POST', '^/token$', [ map { { json => { access_token => "token-$_", expires_in => 3600 } } } 1 .. 50 ] ]);
my @fine = ('.*', '', [ { status => 201, json => { id => 'x' } } ]);
my $web = service(@always, [ 'POST', '/messages$', [ { status => 201, json => { id => 'm1' } } ] ], [ 'POST', '^/push$', [ {} ] ]);
my $key = encode_base64('a key of webhooks', '');
my $api_port = free_port();
delete @ENV{ grep { /^(?:DB_|QUEUE_|MESSAGES_|GRAPH_|PUSH_|MAIL_|OPS_|CLEAN_|ADMIN_KEY)/ } keys %ENV };
my $example = example('messages.yml');
pass 'S2-49 S2-50: with no variable set, too';
%ENV = (%ENV,
	DB_HOST => $pg->{dir}, 	ADMIN_KEY => 'your-secure-admin-key', QUEUE_ARCHIVE_HOURS => 48, QUEUE_DELETE_DAYS => 14, QUEUE_MONITOR_INTERVAL => 1,
	MESSAGES_USER => scalar getpwuid $>, MESSAGES_GROUP => scalar getgrgid $) + 0, MESSAGES_RUN => $dir,
	MESSAGES_API => "127.0.0.1:$api_port", MESSAGES_PROGRAMS => source_directory() . '/etc/examples', JOBQD_CLIENTS => source_directory() . '/contrib/clients',
	ATTACHMENTS => $files, ALLOW_PRIVATE => 'true', WEBHOOK_SECRET => "whsec_$key", MAIL_SERVER => "file:$mail",
	GRAPH_URL => $web->url('/v1.0'), GRAPH_TOKEN_URL => $web->url('/token'),
	PUSH_URL => $web->url('/push'), PUSH_TOKEN => 'push-token', OPS_WEBHOOK => $web->url('/ops'));

# Its settings, as jobqd understands them.
my (undef, $effective) = run_program([ jobqd_program(), '-T', '-c', $example ]);
like $effective, qr/^  interval: (?:1s|1000ms)$/m, 'S2-53: QUEUE_MONITOR_INTERVAL';
like $effective, qr/^  statistics: 5m$/m, 'S2-36: statistics every five minutes';
like $effective, qr/^  report: "?0 0 \* \* \*"?$/m, 'S2-38: a report at midnight';
my $kept = () = $effective =~ /completed: 2d$/mg;
is $kept, 8, 'S2-51: QUEUE_ARCHIVE_HOURS, of all eight queues';
$kept = () = $effective =~ /history: (?:14d|2w)$/mg;
is $kept, 8, 'S2-52: QUEUE_DELETE_DAYS';
{
	local @ENV{qw(QUEUE_ARCHIVE_HOURS QUEUE_DELETE_DAYS QUEUE_MONITOR_INTERVAL)};
	(undef, my $default) = run_program([ jobqd_program(), '-T', '-c', $example ]);
	like $default, qr/^  interval: 1m\n.*completed: 1d\n.*history: (?:7d|1w)\n/ms, 'S2-37 S2-51 S2-52 S2-53: a minute, 24 hours and 7 days by default';
}

# The schema from one file, by psql; then the office's own tables.
my ($status, $sql) = run_program([ jobqctl_program(), '-c', $example, 'migrate', '--print' ]);
is $status, 0, 'jobqctl migrate --print';
$pg->query($sql);
$pg->query(slurp(source_directory() . '/etc/examples/messages.sql'));
pass 'S2-48: the schema is one SQL file, which psql loads';
is $pg->query(<<'SQL'), 8, 'S2-46: the eight tables of the system are there, as tables or views';
SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') AND relname IN
('job_tracking', 'queue_statistics', 'dead_letter_queue', 'rate_limit_tracking', 'scheduled_jobs', 'queue_alerts', 'webhook_events', 'sync_history')
SQL
my $d = Jobqd::Daemon->new(pg => $pg, config => slurp($example))->start;
watch_delays($pg);
is $pg->query("SELECT string_agg(name, ' ' ORDER BY name COLLATE \"C\") FROM jobq.queues WHERE served AND name !~ '[()]'"),
    'attachments notifications outlook-inbound outlook-outbound sync teams-inbound teams-outbound webhooks', 'S2-2 S2-3 S2-4: the queues are served';
my $api = Api->new("127.0.0.1:$api_port", undef, headers => { 'X-Admin-Key' => 'your-secure-admin-key' });

#
# What goes out
#
my $teams = { chatId => 'chat-id', content => 'Hello from Fleet System!', contentType => 'text', importance => 'high' };
my $id = enqueue($pg, 'teams-outbound', 'message', $teams, priority => 3);
job_is($pg, $id, 'completed', 'S2-7: a Teams message');
my ($sent) = $web->requests(qr{^POST /v1.0/chats/chat-id/messages});
is_deeply $Example::json->decode($sent->{body}), { body => { contentType => 'text', content => 'Hello from Fleet System!' }, importance => 'high' }, '… has arrived, in the form of Graph';
is $sent->{headers}{authorization}, 'Bearer token-1', '… with the token of the service';
is $web->requests(qr{^POST /token}), 1, '… which was fetched once';
my $body = ($web->requests(qr{^POST /token}))[0]{body};
like $body, qr/grant_type=client_credentials.*scope=https%3A%2F%2Fgraph\.microsoft\.com%2F\.default/, '… with its scope';

$id = enqueue($pg, 'outlook-outbound', 'email', { to => ['user@example.com'], subject => 'Important Update', body => '<h1>Hello!</h1><p>This is an important update.</p>',
	bodyType => 'html', importance => 'high' }, priority => 5);
job_is($pg, $id, 'completed', 'S2-8: an Outlook mail');
my ($letter) = mails($mail);
like $letter, qr/^To: .*user\@example\.com$/m, '… to its recipient';
like $letter, qr/^Subject: Important Update$/m, '… with its subject';
like $letter, qr/^Importance: high$/mi, '… its importance';
like $letter, qr{Content-Type: text/html.*<h1>Hello!</h1><p>This is an important update\.</p>}s, '… and its HTML';

my $push = { userId => 'user-123', title => 'Geofence', body => 'Van 7 has left the depot' };
job_is($pg, enqueue($pg, 'notifications', 'push', $push), 'completed', 'S2-2: a push notification');
($sent) = $web->requests(qr{^POST /push});
is $sent->{headers}{authorization}, 'Bearer push-token', '… with its token';

#
# What comes in: by the hook, then stored once
#
sub hook {
	my ($source, $event, $body) = @_;
	my $at = time;
	my $sign = 'v1,' . encode_base64(hmac_sha256("$event.$at.$body", decode_base64($key)), '');
	return Api->new("127.0.0.1:$api_port")->post("/v1/hooks/$source", $body, headers => { 'Content-Type' => 'application/json',
		'webhook-id' => $event, 'webhook-timestamp' => $at, 'webhook-signature' => $sign });
}
for my $source (qw(teams outlook)) {
	my $r = hook($source, "webhook-$source", qq({"type": "message.received", "messageId": "in-$source", "from": "ann", "subject": "S", "content": "Where is van 7?"}));
	is $r->{status}, 202, "S2-10: a webhook of $source is taken";
	my $job = job_is($pg, $r->{json}{id}, 'completed', '… and processed');
	is_deeply [ sort keys %{ $job->{data} } ], [qw(data eventType receivedAt source webhookId)], '… as {webhookId, source, eventType, data, receivedAt}';
	wait_for { $pg->query("SELECT count(*) FROM message WHERE id = 'in-$source'") eq '1' } 'the message';
	is $pg->query("SELECT channel, sender, content FROM message WHERE id = 'in-$source'"), "$source-inbound|ann|Where is van 7?", "S2-3: … what it brought went through $source-inbound";
	is hook($source, "webhook-$source", '{"type": "message.received"}')->{json}{id}, $r->{json}{id}, '… and the same once more is that event';
	job_is($pg, enqueue($pg, "$source-inbound", 'message', { messageId => "in-$source", content => 'again' }), 'completed', 'S2-55: the message once more');
	is $pg->query("SELECT content FROM message WHERE id = 'in-$source'"), 'Where is van 7?', '… changes nothing';
}
$id = enqueue($pg, 'webhooks', 'event', { webhookId => 'webhook-123', source => 'teams', eventType => 'presence.changed', data => { who => 'ann' }, receivedAt => '2025-11-16T00:00:00Z' });
job_is($pg, $id, 'completed', 'S2-10: an event that the application enqueues itself');
is $pg->query("SELECT source, event_type, data->>'who' FROM webhook_event WHERE id = 'webhook-123'"), 'teams|presence.changed|ann', '… is noted';
is $pg->query("SELECT count(*) FROM webhook_events WHERE processed AND webhook_id LIKE 'webhook-%'"), 4, 'S2-46: webhook_events has what came by the hooks, and duplicates';

#
# Files
#
my $pdf = "%PDF-1.7\n" . 'x' x 1023991;
spew("$files/document.pdf", $pdf);
my $file = { fileId => 'file-123', fileName => 'document.pdf', fileSize => 1024000, contentType => 'application/pdf', operation => 'upload', source => 'teams' };
$web->rules(@always, [ 'PUT', '^/v1.0/drive/items/file-123/content$', [ { status => 201 } ] ],
	[ 'GET', '^/v1.0/drive/items/file-9/content$', [ { text => 'a picture' } ] ], [ 'GET', '^/v1.0/drive/items/busy/content$', [ { status => 429, headers => { 'Retry-After' => 7 } } ] ]);
my $job = job_is($pg, enqueue($pg, 'attachments', 'upload', $file), 'completed', 'S2-9: an upload');
is $job->{result}{status}, 201, '… is taken';
my ($put) = $web->requests(qr{^PUT });
is "$put->{length} $put->{sha256}", '1024000 ' . sha256_hex($pdf), '… has arrived, byte by byte';
is $put->{headers}{'content-type'}, 'application/pdf', '… with its type';
job_is($pg, enqueue($pg, 'attachments', 'download', { %$file, fileId => 'file-9', fileName => 'picture.png', fileSize => 9, operation => 'download' }), 'completed', 'S2-9: a download');
is slurp("$files/picture.png"), 'a picture', '… is there';
$job = job_is($pg, enqueue($pg, 'attachments', 'download', { %$file, fileName => '../../etc/x', operation => 'download' }), 'dead', 'a name that leads elsewhere');
is $job->{error_class}, 'validation', '… is refused';
is_deeply [ delays($pg, enqueue($pg, 'attachments', 'download', { %$file, fileId => 'busy', fileName => 'busy', operation => 'download' })) ],
    [ 7, 7, 7, 8, 16 ], 'S2-16: a file that the service does not give yet is asked for when it says';
is join(' ', map { s{.*/}{}r } glob "$files/*"), 'document.pdf picture.png', '… and none of them leaves anything behind';

#
# Synchronisation, with the state of the run before
#
sub page { my ($n, %links) = @_; return { json => { value => [ map { { id => "sync-$_", sender => 'bob', content => "it's $_" } } 1 .. $n ], map { ("\@odata.$_" => $links{$_}) } keys %links } } }
$web->rules(@always, [ 'GET', '^/v1.0/teams/team-456/messages/delta$', [ page(2, nextLink => $web->url('/v1.0/page2')) ] ],
	[ 'GET', '^/v1.0/page2', [ page(5, deltaLink => $web->url('/v1.0/since')) ] ], [ 'GET', '^/v1.0/since', [ page(6, deltaLink => $web->url('/v1.0/since2')) ] ]);
my $sync = { resourceType => 'messages', userId => 'user-123', teamId => 'team-456', fullSync => JSON::PP::false };
$job = job_is($pg, enqueue($pg, 'sync', 'sync', $sync), 'completed', 'S2-11: a synchronisation');
is_deeply $job->{result}, { fetched => 7, new => 5 }, '… of two pages';
is $pg->query("SELECT content FROM message WHERE id = 'sync-5'"), "it's 5", '… which are stored';
$job = job_is($pg, enqueue($pg, 'sync', 'sync', $sync), 'completed', '… the next one');
is_deeply $job->{result}, { fetched => 6, new => 1 }, '… goes on where that one ended';
$job = job_is($pg, enqueue($pg, 'sync', 'sync', { %$sync, fullSync => JSON::PP::true }), 'completed', '… and a full one');
is $job->{result}{fetched}, 7, '… begins anew';
$web->rules(@always, [ 'GET', '^/v1.0/users/user-123/events/delta$', [ { status => 503, headers => { 'Retry-After' => 9 } } ] ]);
is_deeply [ delays($pg, enqueue($pg, 'sync', 'sync', { resourceType => 'events', userId => 'user-123' })) ], [ 9, 9, 9, 9, 16 ], 'S2-16: … and one that the service puts off comes when it says';
is $pg->query('SELECT string_agg(fetched::text, \' \' ORDER BY id) FROM sync_history'), '7 6 7', 'S2-46: sync_history tells of them';

#
# Times, keys, priorities
#
$id = enqueue($pg, 'teams-outbound', 'message', $teams, run_at => "'2035-12-01T10:00:00Z'");
is $pg->query("SELECT status, scheduled_for AT TIME ZONE 'UTC' FROM scheduled_jobs WHERE name = '$id'"), 'pending|2035-12-01 10:00:00', 'S2-12: a job at a time of its own waits for it';
$id = enqueue($pg, 'outlook-outbound', 'email', { to => 'a@example.com', subject => 'later', body => 'x' }, delay => "3600000 * interval '1 ms'");
is $pg->query("SELECT round(extract(epoch FROM run_at - created_at)) FROM jobq.jobs WHERE id = $id"), 3600, 'S2-13: … or for 3600000 ms';
$pg->query("SELECT jobq.pause('sync', 'to look')");
$id = enqueue($pg, 'sync', 'sync', $sync, unique_key => "'sync-messages-user-123'");
is enqueue($pg, 'sync', 'sync', $sync, unique_key => "'sync-messages-user-123'"), $id, 'S2-14: a singleton key makes one job of two';
is $pg->query("SELECT jobq.cancel($id)"), 't', '(cancelled)';
my %priority = (critical => 1, high => 3, normal => 5, low => 8, very_low => 10);
my %made = map { $_ => ($d->ctl('enqueue', 'sync', 'sync', '{}', '--priority', $_))[1] + 0 } sort { $priority{$b} <=> $priority{$a} } keys %priority;
is $pg->query("SELECT string_agg(priority::text, ' ' ORDER BY id) FROM jobq.jobs WHERE id IN (" . join(',', values %made) . ')'), '10 8 5 3 1', 'S2-15: the five priorities';
$pg->query("SELECT jobq.resume('sync')");
ended($pg, $_) for values %made;
# Workers that take them at once may begin in another order.
is $pg->query("SELECT string_agg(j.priority::text, ' ' ORDER BY c.batch, u.n) FROM jobq.claim c, unnest(c.jobs) WITH ORDINALITY u(id, n) JOIN jobq.jobs j USING (id) WHERE j.id IN (" . join(',', values %made) . ')'),
    '1 3 5 8 10', '… of which the smaller number is taken first';

#
# What fails, by class
#
sub chat { my ($chat) = @_; return enqueue($pg, 'teams-outbound', 'message', { %$teams, chatId => $chat }) }
$web->rules(@always, [ 'POST', 'chats/down', [ { status => 503 } ] ], [ 'POST', 'chats/busy', [ { status => 429, headers => { 'Retry-After' => 7 } } ] ],
	[ 'POST', 'chats/hurried', [ { status => 429 } ] ], [ 'POST', 'chats/bad', [ { status => 400, text => 'no such chat' } ] ], [ 'POST', 'chats/expired', [ { status => 401 }, { status => 201 } ] ],
	[ 'POST', 'chats/forbidden', [ { status => 403 } ] ], [ 'POST', 'chats/reset', [ { status => 429, headers => { 'Retry-After' => 7 } } ] ]);
$id = chat('down');
is_deeply [ delays($pg, $id) ], [ 1, 2, 4, 8, 16 ], 'S2-17: a network error is tried again after 1, 2, 4, 8 and 16 s';
$job = job_is($pg, $id, 'dead', '… five times, then it is a dead letter');
is $job->{error_class}, 'network', '… of class network';
is_deeply [ delays($pg, chat('busy')) ], [ 7, 7, 7, 8, 16 ], 'S2-16: a rate limit: after what the service says at least, and five times';
is_deeply [ delays($pg, chat('hurried')) ], [ 1, 2, 4, 8, 16 ], '… exponential where it says nothing';
is_deeply [ delays($pg, $id = chat('forbidden')) ], [1], 'S2-18: a refused token is tried again once';
is ended($pg, $id)->{error_class}, 'auth', '… of class auth';
$id = chat('expired');
job_is($pg, $id, 'completed', 'S2-18: … which helps when it had expired');
my @asked = map { $_->{headers}{authorization} } $web->requests(qr{chats/expired});
isnt $asked[0], $asked[1], '… since the second attempt has another token';
$id = chat('bad');
$job = job_is($pg, $id, 'dead', 'S2-19: what the service calls wrong is a dead letter at once');
is "$job->{attempt} $job->{error_class}", '1 validation', '… after one attempt';
my $wrong = enqueue($pg, 'teams-outbound', 'message', { content => 'to nobody' });
$job = job_is($pg, $wrong, 'dead', 'S2-19: … and so is data without what it needs');
is "$job->{attempt} $job->{error_class}", '1 validation', '… which asks nobody';

#
# What an administrator does, by X-Admin-Key
#
is +(Api->new("127.0.0.1:$api_port")->get('/v1/stats'))->{status}, 401, 'S2-32: without the key nothing is told';
is +(Api->new("127.0.0.1:$api_port", undef, headers => { 'X-Admin-Key' => 'x' })->post('/v1/queues/sync/pause', {}))->{status}, 401, '… nor with a wrong one';
my $r = $api->get('/v1/stats');
is $r->{status}, 200, 'S2-22: the statistics';
my ($row) = grep { $_->{name} eq 'teams-outbound' } @{ $r->{json}{items} || $r->{json}{queues} };
ok $row->{open}, 'S2-21: … tell that the queue runs';
is ref $row->{window}, 'HASH', '… its failure rate and processing time' or diag explain $row;
ok defined $row->{window}{failure_rate}, sprintf '… a failure rate of %s', $row->{window}{failure_rate} // '?';
cmp_ok $r->{json}{dead_letters}, '>=', 5, '… and how many dead letters there are';
is $api->get('/readyz')->{status}, 200, 'S2-21: healthy';
is $api->get('/v1/metrics?range=24h')->{status}, 200, 'S2-23: the metrics of 24 hours';
$r = $api->post('/v1/queues/teams-outbound/pause', { reason => 'Teams is down' });
is $r->{status}, 200, 'S2-27: pause' or diag $r->{body};
$id = chat('later');
$r = $api->get('/v1/jobs?queue=teams-outbound&state=ready&limit=50');
is_deeply [ map { $_->{id} } @{ $r->{json}{items} } ], [$id], 'S2-24 S2-27: the pending jobs: it waits';
$r = $api->get('/v1/dead-letters?queue=teams-outbound');
is scalar @{ $r->{json}{items} }, 6, 'S2-25: the failed ones of the queue';
$web->rules(@always, \@fine);
$r = $api->post('/v1/queues/teams-outbound/resume', {});
is $r->{status}, 200, 'S2-28: resume';
job_is($pg, $id, 'completed', '… and it runs');
$r = $api->post("/v1/dead-letters/$wrong/review", { reviewed_by => 'admin@example.com', notes => 'Fixed upstream API issue' });
is $r->{status}, 200, 'S2-31: a review';
is $pg->query("SELECT reviewed_by, resolution_notes FROM dead_letter_queue WHERE job_id = $wrong"), 'admin@example.com|Fixed upstream API issue', '… is noted';
my $open = $api->get('/v1/dead-letters?queue=teams-outbound&reviewed=false')->{json}{items};
is scalar @$open, 5, 'S2-26: the others are not reviewed';
my ($bad) = map { $_->{job_id} } grep { $_->{error_class} eq 'validation' } @$open;
is $api->post("/v1/jobs/$bad/retry", {})->{status}, 200, 'S2-20 S2-30: one is tried again by its id';
job_is($pg, $bad, 'completed', '… and now it is done');
is $pg->query("SELECT count(*) > 0 FROM (SELECT error_message FROM job_tracking WHERE status = 'failed' GROUP BY error_message HAVING count(*) > 1) t"), 't', 'S2-58: error patterns are found in job_tracking';
$r = $api->post('/v1/dead-letters/retry', { queue => 'teams-outbound', reviewed => JSON::PP::false });
is $r->{json}{retried}, 4, 'S2-59: the rest of them again, when the service is mended' or diag $r->{body};
wait_for { $pg->query("SELECT count(*) FROM dead_letter_queue WHERE queue_name = 'teams-outbound' AND NOT reviewed") eq '0' } 'the others';
$pg->query("SELECT jobq.pause('notifications', 'to clear it')");
enqueue($pg, 'notifications', 'push', $push) for 1 .. 3;
is $api->delete('/v1/queues/notifications/jobs')->{status}, 422, 'S2-29: a queue is not cleared without confirm=yes';
is $pg->query("SELECT ready FROM jobq.queues WHERE name = 'notifications'"), 3, '… and has its jobs';
is $api->delete('/v1/queues/notifications/jobs?confirm=yes')->{status}, 200, '… and with it';
is $pg->query("SELECT ready FROM jobq.queues WHERE name = 'notifications'"), 0, '… it is';
$pg->query("SELECT jobq.resume('notifications')");

#
# Limits
#
is $pg->query("SELECT string_agg(service || ' ' || coalesce(max_requests, 0) || ' ' || coalesce(window_ms, 0) || ' ' || coalesce(max_concurrent, 0), ', ' ORDER BY service) FROM rate_limit_tracking"),
    'attachments 0 0 5, outlook-api 10000 600000 0, teams-api 50 1000 0', 'S2-33 S2-34 S2-35: the three limits';
my $from = $pg->query("SELECT max(id) FROM jobq.job");
$pg->query("SELECT jobq.enqueue_many('teams-outbound', (SELECT jsonb_agg('{\"data\": {\"chatId\": \"many\", \"content\": \"x\", \"contentType\": \"text\", \"importance\": \"low\"}}'::jsonb) FROM generate_series(1, 220)))");
wait_for { $pg->query("SELECT count(*) FROM jobq.attempts WHERE job_id > $from AND outcome = 'completed'") >= 220 } '220 messages';
my $span = $pg->query("SELECT round(extract(epoch FROM max(started_at) - min(started_at)), 2) FROM jobq.attempts WHERE job_id > $from");
# fifty at once, and the others fifty a second; a slow machine may begin late
cmp_ok $span, '>=', 3, "S2-33: 220 messages that are there at once start within $span s, not before 3.4 but for a late first one";
$web->rules(@always, [ 'PUT', '^/v1.0/drive/items/', [ { status => 201, delay => 0.5 } ] ]);
my @uploads = map { enqueue($pg, 'attachments', 'upload', { %$file, fileId => "file-$_" }) } 1 .. 12;
job_is($pg, $_, 'completed', 'an upload') for @uploads;
# As the service sees it: when an attempt began and ended is told by clocks that may
# be some milliseconds off.
my $most = max(map { $_->{flying} } grep { $_->{path} =~ m{/file-\d+/content$} } $web->requests(qr{^PUT /v1.0/drive/items/}));
cmp_ok $most, '<=', 5, "S2-35: of twelve uploads $most go at a time";

#
# Schedules, alerts
#
is $pg->query("SELECT string_agg(name || ' ' || spec || CASE name WHEN 'clean-jobs' THEN to_char(next_run AT TIME ZONE 'UTC', ' Dy HH24:MI') ELSE to_char(next_run AT TIME ZONE 'UTC', ' HH24:MI') END, ', ' ORDER BY name) FROM jobq.schedules"),
    'clean-jobs 0 3 * * 0 Sun 03:00, clean-statistics 0 2 * * * 02:00', 'S2-39 S2-40 S2-63: daily at two, Sundays at three';
$pg->query("UPDATE sync_history SET at = now() - interval '31 days' WHERE id = 1");
is_deeply [ map { $_->{state} } schedule_runs($pg, $d, 'clean-statistics') ], ['completed'], 'S2-39: old statistics';
is $pg->query('SELECT count(*) FROM sync_history'), 2, '… are gone, new ones are not';
is_deeply [ map { $_->{state} } schedule_runs($pg, $d, 'clean-jobs') ], ['completed'], 'S2-40: old jobs';
cmp_ok $pg->query('SELECT count(*) FROM dead_letter_queue'), '>', 0, '… and new ones are not';
is $pg->query("SELECT string_agg(name || ' ' || coalesce(above, below), ', ' ORDER BY name) FROM jobq.alert_rules"),
    'backlog 1000, database 0, dead-letters 50, failure-rate 10%, processing-time 60000ms', 'S2-41 S2-42 S2-43 S2-44: the thresholds (t/555-alerts-of-seeds.t has them fire)';
$pg->query("SELECT jobq.enqueue_many('teams-outbound', (SELECT jsonb_agg('{\"data\": {}}'::jsonb) FROM generate_series(1, 51)))");
wait_for { $pg->query("SELECT count(*) FROM queue_alerts WHERE alert_type = 'dead-letters' AND active") eq '1' } 'the alert';
wait_for { grep { /^Subject: \[jobqd\].*dead letters of teams-outbound/m } mails($mail) } 'its mail';
wait_for { grep { $_->{body} =~ /dead letters of teams-outbound/ } $web->requests(qr{^POST /ops}) } 'its webhook';
pass 'S2-44 S2-60 S2-62: 51 dead letters are an alert, in queue_alerts, by mail and by webhook';
is +($d->ctl('alert', 'set', 'backlog', 'above=2000'))[0], 0, 'S2-45: a threshold is changed while it runs';
is +($d->ctl('alert', 'set', 'failure-rate', 'above=15%'))[0], 0, '… and another one';
is $pg->query("SELECT string_agg(above::text, ' ' ORDER BY name) FROM jobq.alert_rules WHERE name IN ('backlog', 'failure-rate')"), '2000 15%', '… to 2000 and 15 %';

my (undef, $doctor) = $d->ctl('doctor');
like $doctor, qr/$_/, "S2-57: jobqctl doctor looks at: $_" for qw(database workers scheduler);

#
# A restart loses nothing; mail by SMTP; the database is away
#
$pg->query("SELECT jobq.pause('outlook-outbound', 'the server moves')");
$id = enqueue($pg, 'outlook-outbound', 'email', { to => ['user@example.com'], subject => 'Important Update', body => 'over a restart' });
is $d->stop, 0, 'stops with status 0';
my $smtp = free_port();
background([ 'python3', source_directory() . '/t/smtp_server.py', $smtp, "$dir/sessions" ], log => "$dir/smtp.log");
wait_port($smtp);
$ENV{MAIL_SERVER} = "smtp://127.0.0.1:$smtp";
$d->start;
is $pg->query("SELECT status FROM job_tracking WHERE job_id = $id"), 'pending', 'S2-54: what waited waits, over a restart';
$pg->query("SELECT jobq.resume('outlook-outbound')");
job_is($pg, $id, 'completed', '… and is sent');
is_deeply [ delays($pg, enqueue($pg, 'outlook-outbound', 'email', { to => 'defer@example.com', subject => 's', body => 'b' })) ], [ 1, 2, 4, 8, 16 ], 'S2-17: mail that the server does not take now';
$job = job_is($pg, enqueue($pg, 'outlook-outbound', 'email', { to => 'refuse@example.com', subject => 's', body => 'b' }), 'dead', 'S2-19: mail that it refuses');
is "$job->{attempt} $job->{error_class}", '1 validation', '… is not tried again';

my $spool = "$dir/spool";
my @script = ('sh', source_directory() . '/etc/examples/enqueue_or_spool.sh', $spool);
my %environment = (env => { JOBQCTL => jobqctl_program(), JOBQD_CONF => $d->{conf} });
my @late = ('outlook-outbound', 'email', 'mail-4711', '{"to": "late@example.com", "subject": "kept", "body": "a b\\nc"}');
$pg->stop('immediate');
($status) = run_program([ @script, @late ], %environment);
is $status, 0, 'S2-56: while the database is away a job is kept';
($status) = run_program([@script], %environment);
is $status, 1, '… and stays so as long as it is';
$pg->start;
wait_for { $api->get('/readyz')->{status} == 200 } 'the daemon to find its database';
($status, undef, my $err) = run_program([@script], %environment);
is $status, 0, '… then it is enqueued' or diag $err;
is -s $spool, 0, '… and kept no longer';
$id = $pg->query("SELECT max(id) FROM jobq.jobs WHERE unique_key = 'mail-4711'");
job_is($pg, $id, 'completed', '… and done');
is $d->stop, 0, 'stops with status 0';
my @letters = map { $_->{mail} // () } json_lines("$dir/sessions");
is scalar(grep { /^Subject: kept\r$/m && /a b\r\nc/ } @letters), 1, '… once, as it was';
is scalar(grep { /over a restart/ } @letters), 1, 'S2-54: and the one before once';
done_testing;
