# The example of a fleet tracking service does what it says: etc/examples/
# fleettracker.yml and fleettracker.sql, with a mail server beside it. Every type
# of job with its own data, every schedule, and what happens when it goes wrong.
#
# What an alert on the absence of the database does (S1-46) is in t/557, of
# workers in t/555; encryption in all of its parts (S1-54) in t/254.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use System;
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my (undef, $version) = run_program([ jobqd_program(), '-V' ]);
plan skip_all => 'this build has no xlsx or email' unless $version =~ /libxlsxwriter/ && $version =~ /^drivers:.*email/m;
delete @ENV{ grep { /^(?:TRACKER_|MAIL_|ENABLE_|FLEET_|ADMIN_EMAIL|GPS_)|SCHEDULE/ } keys %ENV };

my $dir = temp_directory();
my $port = free_port();
my (undef, $key) = run_program([ jobqctl_program(), 'key', 'new' ]);
spew("$dir/keys", $key);
chmod 0600, "$dir/keys";
my ($user, $group) = (scalar getpwuid $>, scalar getgrgid $) + 0);
my $e = System->new('fleettracker', env => sub {
	my ($e) = @_;
	return (TRACKER_RUN => $dir, TRACKER_USER => $user, TRACKER_GROUP => $group, DATABASE_URL => $e->{url},
		MAIL_SERVER => $e->mail_server, TRACKER_REPORTS => "$dir/reports", TRACKER_EXPORTS => "$dir/exports",
		TRACKER_MONITOR_INTERVAL => '1s', TRACKER_API => "127.0.0.1:$port", HOSTNAME => 'tracker', TRACKER_KEYS => "$dir/keys",
		TRACKER_TOKENS => Api::tokens("$dir/tokens", [qw(ops admin * ops-secret)], [qw(acme operator acme acme-secret)]));
});
$e->start;
my $d = $e->{daemon};
my ($ops, $acme) = (Api->new("127.0.0.1:$port", 'ops-secret'), Api->new("127.0.0.1:$port", 'acme-secret'));
my $csv = sub { return map { [ split /,/ ] } split /\r?\n/, slurp($_[0]) };

is scalar($d->pids(qr/^jobqd: worker jobs/)), 5, 'S1-17 five jobs at a time';
{
	my (undef, $out) = run_program([ jobqd_program(), '-T', '-c', $d->{conf} ]);
	my ($jobs) = $out =~ /^  jobs:\n((?:    .*\n)+)/m;
	like $jobs, qr/^    poll: 1s$/m, 'S1-17 a look a second';
	like $jobs, qr/^    timeout: 5m$/m, '… five minutes for a job';
	like $out, qr/^  shutdown_timeout: 30s$/m, '… thirty seconds to stop';
}

#
# mail: S1-5
#
my $job = $e->run('jobs', 'email_notification',
	{ to => 'user@example.com', subject => 'Fleet Update', body => 'Your fleet status has been updated' });
my $mail = $e->mail('S1-5 to the user', sub { $_->{to} eq 'user@example.com' });
is "$mail->{subject}|" . ($mail->{plain} =~ s/\n$//r), 'Fleet Update|Your fleet status has been updated', '… with what was to be said';

# a password reset, which nobody else reads: S1-54
my $reset = $ops->post('/v1/jobs', { queue => 'confidential', type => 'email_notification',
	data => { to => 'ann@example.com', subject => 'Password reset', body => 'Your code is k7Tz-99' } })->{json}{id};
is $e->ended($reset)->{state}, 'completed', 'S1-54 a confidential job is done';
$mail = $e->mail('S1-54 of the code', sub { $_->{to} eq 'ann@example.com' });
like $mail->{plain}, qr/^Your code is k7Tz-99$/m, '… as it was said';
my $dump = $e->{pg}->dump('--data-only');
unlike $dump, qr/k7Tz|Password reset/, '… but is nowhere in the database';
like $dump, qr/Fleet Update/, '… unlike others';
my ($shown, $text) = $d->ctl('job', 'show', $reset, '--decrypt');
like $text, qr/k7Tz-99/, '… and is shown to who has the key';

#
# reports: S1-6
#
my %period = (start_date => '2024-01-01', end_date => '2024-01-31');
$job = $e->run('jobs', 'report_generation', { report_type => 'fleet_summary', %period });
my @rows = $csv->($job->{result}{file});
is_deeply $rows[0], [ 'Vehicle', 'Company', 'Trips', '"Distance', ' km"' ], 'S1-6 fleet_summary';
my ($trips, $km) = (0, 0);
($trips, $km) = ($trips + $_->[2], $km + $_->[3]) for @rows[1 .. 12];
is "$trips $km", '124 6200', '… the trips of that month and no others';
$job = $e->run('jobs', 'report_generation', { report_type => 'driver_performance', %period });
is scalar(@rows = $csv->($job->{result}{file})), 13, 'S1-6 driver_performance: a row for each';
like slurp($job->{result}{file}), qr/^Łukasz 6,100,1[01],\d+(?:\.\d+)?,10\r?$/m, '… with trips and events';
$job = $e->run('jobs', 'report_generation', { report_type => 'fuel_consumption', %period });
is_deeply [ map { $_->[-1] } ($csv->($job->{result}{file}))[1, 12] ], [ '8.0', '8.0' ], 'S1-6 fuel_consumption: litres for 100 km';
$job = $e->run('jobs', 'report_generation', { report_type => 'maintenance', %period });
like slurp($job->{result}{file}), qr/^FT-101,oil change,2024-01-11,120,\d{4}-/m, 'S1-6 maintenance: the log and what is next';

#
# exports: S1-7
#
my %lines = (vehicles => 12, drivers => 12, trips => 364, gps_tracks => 2400);
for my $what (sort keys %lines) {
	$job = $e->run('jobs', 'data_export', { export_type => $what, format => 'csv' });
	is scalar($csv->($job->{result}{file})), $lines{$what} + 1, "S1-7 $what as csv: $lines{$what} rows";
}
$job = $e->run('jobs', 'data_export', { export_type => 'vehicles', format => 'json' });
is $Api::json->decode(slurp($job->{result}{file}))->[11]{plate}, 'FT-109', 'S1-7 as json';
$job = $e->run('jobs', 'data_export', { export_type => 'trips', format => 'xlsx' });
my (undef, $sheet) = run_program([ 'python3', '-c', 'import sys, zipfile; print(zipfile.ZipFile(sys.argv[1]).read("xl/worksheets/sheet1.xml"))',
	$job->{result}{file} ]);
is scalar(() = $sheet =~ /<row /g), 365, 'S1-7 as xlsx';
$job = $e->ended($e->enqueue('jobs', 'data_export', { export_type => 'vehicles', format => 'pdf' }));
is "$job->{state} $job->{error_class} $job->{attempt}", 'dead validation 1', 'S1-7 S1-49 another format is wrong data, and not tried again';

#
# maintenance reminders: S1-8
#
my %reminder = (vehicle_id => 'vehicle-3', maintenance_type => 'routine_check');
$job = $e->run('jobs', 'maintenance_reminder', \%reminder);
is $e->ask('SELECT vehicle, kind, job FROM reminder'), "vehicle-3|routine_check|$job->{id}", 'S1-8 a reminder';
$mail = $e->mail('S1-8 of the reminder', sub { $_->{subject} eq 'Maintenance due: FT-103' });
is $mail->{to}, 'manager@borealis.example', "… to the manager of the vehicle's company";
$e->run('jobs', 'maintenance_reminder', \%reminder);
is $e->ask('SELECT count(*) FROM reminder'), 1, 'S1-57 asked again it is still one: the job can be repeated';
is $e->ask(q(SELECT count(*) FROM jobq.jobs WHERE type = 'email_notification' AND 'maintenance' = ANY(tags))), 1, '… and one mail';
$job = $e->ended($e->enqueue('jobs', 'maintenance_reminder', { %reminder, vehicle_id => 'vehicle-uuid' }));
is "$job->{state} $job->{error_class} $job->{attempt}", 'dead validation 1', 'S1-8 S1-49 a vehicle that is unknown is wrong data';
is $e->ask("SELECT count(*) FROM jobq.jobs WHERE workflow IS NULL AND state NOT IN ('completed', 'dead')"), 0, '… which leaves nothing behind';

#
# cleaning up: S1-9, S1-58
#
for ([ gps_tracks => 'gps_track', 90, 240 ], [ audit_logs => 'audit_log', 90, 310 ], [ driver_events => 'driver_event', 90, 30 ]) {
	my ($kind, $table, $days, $old) = @$_;
	my $young = $e->ask("SELECT count(*) FROM $table WHERE at > now() - interval '$days days'");
	$job = $e->run('jobs', 'data_cleanup', { cleanup_type => $kind, older_than_days => $days });
	cmp_ok abs($job->{result}{count} - $old), '<=', 1, "S1-9 $kind: $job->{result}{count} old rows are deleted";
	cmp_ok abs($e->ask("SELECT count(*) FROM $table") - $young), '<=', 1, '… and the others are there';
}
$e->ask("INSERT INTO gps_track SELECT 'x', now() - interval '1 year', 0, 0 FROM generate_series(1, 22000)");
$job = $e->run('jobs', 'data_cleanup', { cleanup_type => 'gps_tracks', older_than_days => 90 });
is $job->{result}{count}, 22000, 'S1-58 many rows';
like $job->{progress_note}, qr/^\d+ rows/, "… in batches: $job->{progress_note}";
for my $bad ({ cleanup_type => 'gps_tracks', older_than_days => -1 }, { cleanup_type => 'gps_tracks', older_than_days => 'all' },
    { cleanup_type => 'vehicle; DROP TABLE vehicle', older_than_days => 90 }, { cleanup_type => 'gps_tracks' }) {
	$job = $e->ended($e->enqueue('jobs', 'data_cleanup', $bad));
	is "$job->{state} $job->{error_class}", 'dead validation', "S1-55 refused: $job->{error}";
}
cmp_ok $e->ask('SELECT count(*) FROM gps_track'), '>', 2100, '… and nothing is deleted';

#
# what the other services hand over: S1-11, S1-52
#
$job = $e->run('jobs', 'invoice_generation', { month => '2024-01' });
is $e->ask('SELECT company, km, total FROM invoice ORDER BY 1'), "acme|4150|1867.50\nborealis|2050|1025.00", 'S1-11 invoices';
is $e->run('jobs', 'invoice_generation', { month => '2024-01' })->{result}{count}, 0, 'S1-52 … once for each month, however often';
my $invoice = $e->ask("SELECT id FROM invoice WHERE company = 'acme'");
$e->run('jobs', 'payment_notification', { invoice_id => $invoice });
$mail = $e->mail('S1-11 payment notification', sub { $_->{subject} eq "Invoice $invoice is paid" });
is "$mail->{to}|" . ($mail->{plain} =~ s/\n$//r), 'billing@acme.example|Thank you: 1867.50 received for January 2024.', '… to the right one';
$job = $e->run('jobs', 'financial_report', { report_type => 'financial', %period, format => 'csv' });
like slurp($job->{result}{file}), qr/Acme Transport,2024-01-01,4150,1867.50,\d{4}-/, 'S1-11 financial report';
$job = $e->run('jobs', 'bulk_vehicle_operation', { vehicle_ids => [qw(vehicle-1 vehicle-2 vehicle-99)], status => 'retired' });
is $e->ask("SELECT string_agg(id, ' ' ORDER BY id) FROM vehicle WHERE status = 'retired'"), 'vehicle-1 vehicle-2', 'S1-11 S1-58 many vehicles at once';
$e->run('jobs', 'driver_event_processing', {});
is $e->ask('SELECT min(score), max(score), count(*) FILTER (WHERE score < 100) FROM driver'), '84|86|12', 'S1-11 driver events are counted';
is $e->run('jobs', 'driver_event_processing', {})->{result}{count}, 0, '… once';
$job = $e->run('jobs', 'location_history_export', { vehicle_id => 'vehicle-7', format => 'ndjson' });
cmp_ok abs(180 - (() = slurp($job->{result}{file}) =~ /"lat"/g)), '<=', 1, 'S1-11 location history of a vehicle';
$job = $e->ended($e->enqueue('jobs', 'location_history_export', { format => 'csv' }));
like $job->{error}, qr/vehicle_id/, 'S1-55 … which has to be named: ' . $job->{error};
$job = $e->run('jobs', 'geofence_violation_processing', { hours => 24 });
is $e->ask('SELECT DISTINCT geofence FROM geofence_violation'), 'yard', "S1-11 $job->{result}{count} positions outside the geofence";
$job = $e->ended($e->enqueue('jobs', 'mine_bitcoins', {}));
is "$job->{state} $job->{error_class}", 'dead validation', "S1-10 a type without a handler: $job->{error}";

#
# schedules: S1-13 S1-15
#
is $e->ask("SELECT string_agg(name || ' ' || spec || ' ' || type, ', ' ORDER BY name) FROM jobq.schedules WHERE enabled"),
    'data-cleanup @daily data_cleanup, fleet-report @monthly report_generation, maintenance-check @weekly maintenance_reminder',
    'S1-15 three schedules are there from the start';
$e->ask("INSERT INTO gps_track SELECT 'x', now() - interval '91 days', 0, 0 FROM generate_series(1, 50)");
$job = $e->fire('data-cleanup');
is $job->{result}{count}, 50, 'S1-15 daily: tracks older than 90 days go';
is $job->{priority}, 1, 'S1-3 … with low priority, 1 on this scale';
$job = $e->fire('maintenance-check');
is $e->ask("SELECT string_agg(vehicle, ' ' ORDER BY vehicle) FROM reminder WHERE job = $job->{id}"), 'vehicle-12 vehicle-6',
    'S1-15 weekly: those that are due are found';
$e->mail('S1-15 of a vehicle that is due', sub { $_->{subject} eq 'Maintenance due: FT-112' });
$job = $e->fire('fleet-report');
is $job->{result}{rows}, 12, 'S1-15 monthly: the summary of the fleet';
$mail = $e->mail('S1-15 of the report', sub { $_->{to} eq 'office@example.com' });
is $mail->{attachments}[0][2], slurp($job->{result}{file}), '… with the report in it';

#
# what is said of a job, and by what names: S1-1 S1-2 S1-23 … S1-29
#
$e->mail_server_down;
my $from = time;
my $r = $ops->post('/v1/jobs', { queue => 'jobs', type => 'email_notification', priority => 5, max_attempts => 4, tags => [qw(test notification)],
	tenant => 'acme', data => { to => 'user@example.com', subject => 'Test Email', body => 'This is a test email' } });
is "$r->{status} $r->{json}{state}", '201 ready', 'S1-23 a job is enqueued over HTTP';
my $id = $r->{json}{id};
is_deeply [ $e->delays($id) ], [ 1000, 4000, 9000 ], 'S1-20 S1-21 the mail server is down: tried again after 1, 4 and 9 seconds';
$r = $ops->get("/v1/jobs/$id")->{json};
is_deeply [ @$r{qw(type state priority attempt max_attempts tenant error_class)} ], [ 'email_notification', 'dead', 5, 4, 4, 'acme', 'network' ],
    'S1-1 S1-24 what it is, and how it ended: failed, no retries left';
is_deeply $r->{tags}, [qw(test notification)], '… its tags';
is_deeply [ map { exists $r->{$_} ? 1 : 0 } qw(id data created_at started_at finished_at error result) ], [ (1) x 7 ], '… and the rest';
$r = $ops->get("/v1/jobs/$id/attempts")->{json};
is_deeply [ map { "$_->{attempt} $_->{outcome} $_->{class}" } @{ $r->{items} } ], [ (map { "$_ failed network" } 1 .. 3), '4 dead network' ],
    'S1-47 each attempt with its reason: ' . $r->{items}[0]{error};
like $d->log, qr/job failed id=$id .* attempt=2 .* duration_ms=[\d.]+ class=network .* retry_ms=4000 /, 'S1-47 … also in the log';
my $less = $e->enqueue('jobs', 'email_notification', { to => 'a@example.com', subject => 'x', body => 'x' }, 'max_attempts => 2');
is_deeply [ $e->delays($less) ], [ 1000 ], 'S1-21 fewer retries for one job';
my @retrying = map { $e->enqueue('jobs', 'email_notification', { to => "user$_\@example.com", subject => 'x', body => 'x' },
	"tags => '{outage}'") } 1 .. 3;
wait_for { $e->ask("SELECT count(*) FROM jobq.jobs WHERE id IN (" . join(',', @retrying) . ") AND attempt > 0") == 3 } 'three to fail';
$r = $ops->get('/v1/jobs?state=dead&limit=50')->{json}{items};
is scalar(grep { $_->{id} == $id || $_->{id} == $less } @$r), 2, 'S1-25 jobs by state';
$e->mail_server;
is $ops->post("/v1/jobs/$id/retry")->{status}, 200, 'S1-27 a failed job is reset';
is $e->ended($id)->{state}, 'completed', '… and done, now that the server is back';
$e->mail('S1-27 of that job', sub { $_->{subject} eq 'Test Email' });
is join(' ', map { $_->{state} } $e->ended(@retrying)), 'completed completed completed', 'S1-75 the others have come through the outage by themselves';

# the mail server says no
$job = $e->ended($e->enqueue('jobs', 'email_notification', { to => 'refuse@example.com', subject => 'x', body => 'x' }));
is "$job->{state} $job->{error_class} $job->{attempt}", 'dead validation 1', "S1-22 S1-49 a mailbox that is not there is not tried again: $job->{error}";
$job = $e->ended($e->enqueue('jobs', 'email_notification', { to => 'deferonce@example.com', subject => 'x', body => 'x' }));
is "$job->{state} $job->{attempt}", 'completed 2', 'S1-22 … one that is busy is';

# cancelled before it begins, removed
$r = $ops->post('/v1/jobs', { queue => 'jobs', type => 'data_cleanup', delay => '1h', data => { cleanup_type => 'gps_tracks', older_than_days => 90 } });
is $ops->post("/v1/jobs/$r->{json}{id}/cancel")->{json}{state}, 'cancelled', 'S1-2 S1-26 cancelled before it has begun';
my $stats = $ops->get('/v1/queues/jobs')->{json};
is $stats->{$_}, $e->ask("SELECT count(*) FROM jobq.jobs WHERE queue = 'jobs' AND state = '$_'"), "S1-28 S1-42 how many are $_: $stats->{$_}"
    for qw(ready running completed dead cancelled);
$r = $ops->post('/v1/queues/jobs/clean', { state => 'cancelled', older_than => '1ms' });
is "$r->{status} $r->{json}{removed}", '200 1', 'S1-29 what is older is cleaned up' or diag $r->{body};

#
# priorities: the larger number goes first, S1-3
#
$ops->post('/v1/queues/jobs/pause', { reason => 'test' });
for (1 .. 10) {
	for my $p ([ low => 1 ], [ normal => 5 ], [ high => 10 ], [ critical => 20 ]) {
		$e->enqueue('jobs', 'data_cleanup', { cleanup_type => 'audit_logs', older_than_days => 300 }, "priority => $p->[1], tags => '{order,$p->[0]}'");
	}
}
is $ops->get('/v1/queues/jobs')->{json}{paused}, JSON::PP::true, 'the queue is paused';
is $e->ask("SELECT count(*) FROM jobq.jobs WHERE 'order' = ANY(tags) AND state = 'ready'"), 40, '… and jobs wait';
$ops->post('/v1/queues/jobs/resume');
wait_for { $e->ask("SELECT count(*) FROM jobq.jobs WHERE 'order' = ANY(tags) AND state = 'completed'") == 40 } 'them to be done';
my @places = split /\n/, $e->ask("SELECT tags[2], round(avg(place), 1) FROM (SELECT tags, row_number() OVER (ORDER BY started_at) AS place
    FROM jobq.jobs WHERE 'order' = ANY(tags)) j GROUP BY 1 ORDER BY 2");
is join(' ', map { s/\|.*//r } @places), 'critical high normal low', "S1-3 critical 20, high 10, normal 5, low 1; their places on average: @places";

#
# jobs that belong together: S1-37 S1-57 S1-64
#
my ($twice, $again) = map { $e->enqueue('jobs', 'data_export', { export_type => 'trips', format => 'csv' }, "unique_key => 'trips of today', delay => '1 s'") } 1, 2;
is $again, $twice, 'S1-57 an operation with an identifier of its own is one job, however often it is asked for';
my $first = $e->enqueue('jobs', 'invoice_generation', { month => '2023-12' }, "delay => '1 s'");
my $then = $e->enqueue('jobs', 'financial_report', { report_type => 'financial', format => 'csv' }, "after => ARRAY[$first]");
is $e->job($then)->{state}, 'blocked', 'S1-64 a report that waits for the invoices';
$e->ended($first, $then);
is $e->ask("SELECT a.finished_at <= b.started_at FROM jobq.jobs a, jobq.jobs b WHERE a.id = $first AND b.id = $then"), 't', '… begins when they are there';
is $e->ended($twice)->{state}, 'completed', '… and the export is done';
$from = time;
$e->ask(q(SELECT count(jobq.enqueue('jobs', 'bulk_vehicle_operation', '{"vehicle_ids": ["vehicle-4"], "status": "active"}', tags => '{bulk}')) FROM generate_series(1, 500)));
wait_for { $e->ask("SELECT count(*) FROM jobq.jobs WHERE 'bulk' = ANY(tags) AND state = 'completed'") == 500 } '500 jobs';
pass sprintf 'S1-37 %.0f jobs a minute for each of the five workers', 500 / 5 / (time - $from) * 60;

#
# companies are kept apart: S1-53
#
is $acme->get("/v1/jobs/$id")->{status}, 200, "S1-53 a company's token sees its own job";
$r = $ops->post('/v1/jobs', { queue => 'jobs', tenant => 'borealis', type => 'data_export', data => { export_type => 'vehicles', format => 'csv' } });
is $acme->get("/v1/jobs/$r->{json}{id}")->{status}, 404, '… and no other';
$e->ended($r->{json}{id});
$r = $acme->post('/v1/jobs', { queue => 'jobs', type => 'data_export', data => { export_type => 'vehicles', format => 'csv' } });
$job = $e->ended($r->{json}{id});
is "$job->{tenant} $job->{result}{rows}", 'acme 8', 'S1-53 … and its export has its own vehicles alone';

#
# schedules at run time: S1-14 S1-16 S1-32 … S1-36
#
$r = $ops->post('/v1/schedules', { name => 'daily-report', queue => 'jobs', type => 'report_generation', cron => '@daily', priority => 5,
	enabled => JSON::PP::true, data => { report_type => 'fleet_summary', %period } });
is $r->{status}, 201, 'S1-32 a schedule is made' or diag $r->{body};
$r = $ops->get('/v1/schedules')->{json}{items};
my ($made) = grep { $_->{name} eq 'daily-report' } @$r;
is scalar(@$r) . " $made->{spec} $made->{type}", '4 @daily report_generation', 'S1-33 they are listed';
wait_for { $ops->get('/v1/schedules/daily-report')->{json}{next_run} } 'its next run';
like $ops->get('/v1/schedules/daily-report')->{json}{next_run}, qr/T00:00:00/, 'S1-12 with the next run';
for my $every (qw(1h 30m 1d 1w)) {
	$r = $ops->put('/v1/schedules/daily-report', { queue => 'jobs', type => 'report_generation', every => $every, data => { report_type => 'fleet_summary' } });
	is $r->{status}, 200, "S1-14 S1-34 changed to every $every" or diag $r->{body};
}
$e->fire('daily-report');
$ops->post('/v1/schedules/daily-report/pause');
is_deeply [ map { scalar @$_ } [ grep { $_->{enabled} && !$_->{paused} } @{ $ops->get('/v1/schedules')->{json}{items} } ], $ops->get('/v1/schedules')->{json}{items} ],
    [ 3, 4 ], 'S1-36 three of four are active';
is $ops->delete('/v1/schedules/daily-report')->{status}, 204, 'S1-35 it is deleted';
is scalar(@{ $ops->get('/v1/schedules')->{json}{items} }), 3, '… and gone';

#
# workers: S1-18 S1-30 S1-31 S1-43
#
my $workers = [ grep { $_->{queue} eq 'jobs' } @{ $ops->get('/v1/workers')->{json}{items} } ];
is scalar(@$workers), 5, 'S1-31 five workers are there';
cmp_ok((sort { $b <=> $a } map { $_->{rss_kb} } @$workers)[0], '>', 0, 'S1-43 with what they use');
my $load = 0;
$load += $_->{jobs} for @$workers;
cmp_ok $load, '>', 20, "S1-18 S1-30 … and the $load jobs they have run";
my $all = $ops->get('/v1/stats')->{json};
my ($figures) = map { $_->{window} } grep { $_->{name} eq 'jobs' } @{ $all->{items} };
is $figures->{completed}, $e->ask("SELECT count(*) FROM jobq.attempts WHERE outcome = 'completed' AND queue = 'jobs'"), "S1-18 S1-30 $figures->{completed} have succeeded";
is $figures->{failed} + $figures->{dead}, $e->ask("SELECT count(*) FROM jobq.attempts WHERE outcome IN ('failed', 'dead') AND queue = 'jobs'"),
    "S1-18 S1-30 $figures->{failed} were tried again, $figures->{dead} given up";
is $all->{total}{window}{success_rate}, $e->ask("SELECT round(count(*) FILTER (WHERE outcome = 'completed')::numeric / count(*), 4)
    FROM jobq.attempts WHERE outcome IN ('completed', 'failed', 'dead')"), 'S1-31 the rate of success';
is_deeply [ @{ $all->{schedules} }{qw(total active)} ], [ 3, 3 ], 'S1-36 schedules: how many, how many are active';

#
# alerts: S1-46
#
$e->enqueue('jobs', 'data_cleanup', { cleanup_type => 'nothing', older_than_days => 90 }) for 1 .. 60;
$mail = $e->mail('S1-46 more than 20 % fail', sub { $_->{to} eq 'admin@example.com' && $_->{subject} =~ /failure rate of jobs is [\d.]+ % \(above 20 %\)/ });
$e->ask("SELECT jobq.pause('jobs', 'test')");
$e->ask(q(SELECT count(jobq.enqueue('jobs', 'data_cleanup', '{"cleanup_type": "audit_logs", "older_than_days": 300}')) FROM generate_series(1, 101)));
$mail = $e->mail('S1-46 more than 100 wait', sub { $_->{to} eq 'admin@example.com' && $_->{subject} =~ /backlog of jobs is 1\d\d \(above 100\)/ });	# and some that are tried again
$e->ask("SELECT jobq.resume('jobs')");
wait_for { $e->ask("SELECT ready + running FROM jobq.queues WHERE name = 'jobs'") eq '0' } 'the queue to be empty';

#
# stopping: S1-19
#
$e->ask("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN PERFORM pg_sleep(2); RETURN new; END \$\$;
    CREATE TRIGGER slow BEFORE INSERT ON reminder FOR EACH ROW EXECUTE FUNCTION slow()");
$id = $e->enqueue('jobs', 'maintenance_reminder', { vehicle_id => 'vehicle-5', maintenance_type => 'brakes' });
wait_for { $e->job($id)->{state} eq 'running' } 'it to run';
$from = time;
is $d->stop, 0, 'S1-19 stops';
is $e->job($id)->{state}, 'completed', sprintf 'S1-19 … when the running job is done, after %.1f s', time - $from;
is $e->ask("SELECT count(*) FROM reminder WHERE vehicle = 'vehicle-5'"), 1, '… with its effect';
$id = $e->enqueue('jobs', 'data_cleanup', { cleanup_type => 'audit_logs', older_than_days => 300 });
$e->start;
is $e->ended($id)->{state}, 'completed', 'S1-41 what was enqueued meanwhile is done after the start';
is $d->stop, 0, 'stops with status 0';
done_testing;
