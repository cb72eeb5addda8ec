# The fleet office's example: passes the check, has the numbers it is known
# for, and follows its environment. That it does what it says is in t/840.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $fleet = source_directory() . '/etc/examples/fleet.yml';
delete @ENV{ grep { /^(?:DB_|ENABLE_|FLEET_|MAIL_|QUEUE_|GRAPH_|TZ$)|CRON|SYNC|WEBHOOK|MAINTENANCE/ } keys %ENV };

# The effective configuration, as {section => {name => {key => value}}}; the
# dump is block style, two blanks a level.
my $effective = sub {
	my (%env) = @_;
	my ($status, $out, $err) = run_program([ jobqd_program(), '-T', '-c', $fleet ], env => \%env);
	is $status, 0, '-T' or diag $err;
	my (%conf, @path);
	for my $line (split /\n/, $out) {
		my ($blanks, $key, $value) = $line =~ /^( *)"?([^":]+(?::[^\s":]+)*)"?:(?: (.*))?$/ or next;
		splice @path, length($blanks) / 2;
		push @path, $key;
		next unless defined $value;
		$value =~ s/^"(.*)"$/$1/;
		$conf{ join '.', @path } = $value;
	}
	return \%conf;
};

my ($status, $out, $err) = run_program([ jobqd_program(), '-t', '-c', $fleet ]);
is $status, 0, 'the example passes -t' or diag $err;
my $c = $effective->();

my %queues = (
	email => { item => 'S0-1', timeout => '1m', priority => 'normal', priority_scale => 'office', attempts => 3, base => '2s', factor => 2 },
	notification => { item => 'S0-2', timeout => '1m', attempts => 3, base => '2s' },
	report => { item => 'S0-3', timeout => '5m', priority => 'low', priority_scale => 'office', lease => '30s', attempts => 3, base => '2s' },
	'teams-outbound' => { item => 'S0-7', priority => 'high', expire => '1h', attempts => 5, base => '1s', max => '1m', factor => 2 },
	'outlook-outbound' => { item => 'S0-8', priority => 'normal', expire => '2h', attempts => 5, base => '1s' },
	attachments => { item => 'S0-9', priority => 'low', expire => '4h', attempts => 3, base => '1s' },
	webhooks => { item => 'S0-10', priority => 'high', expire => '30m', attempts => 3, base => '1s' },
	sync => { item => 'S0-11', priority => 'low', expire => '1h', attempts => 3, base => '1s' },
	'webhook-delivery' => { item => 'S0-12', concurrency => 10, timeout => '10s' },
	'teams-inbound' => { item => 'S2-3', priority => 'normal' }, 'outlook-inbound' => { item => 'S2-3', priority => 'normal' },
);
my %have = map { /^queues\.([^.]+)\./ ? ($1 => 1) : () } keys %$c;
is_deeply [ sort keys %have ], [ sort keys %queues ], 'S0-20 S0-21 eleven queues, each for one concern';
is "@{$c}{map { qq(priority_scales.office.names.$_) } qw(high normal low)}", '1 2 3', 'S0-1 S0-3 S0-14 mail is 2 (normal), reports are 3 (low) of the office';
for my $queue (sort keys %queues) {
	my %want = %{ $queues{$queue} };
	my $item = delete $want{item};
	my $policy = $c->{"queues.$queue.retry"};
	for my $key (sort keys %want) {
		my $is = $key =~ /^(?:attempts|base|factor|max)$/ ? $c->{"retry.$policy.$key"} : $c->{"queues.$queue.$key"};
		is $is, $want{$key}, "$item $queue: $key $want{$key}";
	}
	is $c->{"queues.$queue.lease"}, '30s', "S0-5 S0-6 $queue: a lease of thirty seconds, whatever a job may take";
}
is $c->{'queues.sync.keep.completed'}, '1d', 'S0-16 completed jobs are kept a day';
is $c->{'queues.sync.keep.history'}, '1w', 'S0-17 … their history a week';
is $c->{'monitor.interval'}, '1m', 'S0-18 the monitor looks every minute';

my %item = ('maintenance-scheduler' => 'S0-24', 'teams-sync' => 'S0-27', 'telematics-sync' => 'S0-29', 'report-scheduler' => 'S0-31',
	'alert-checker' => 'S0-34', 'outlook-sync' => 'S0-35', 'webhook-renewal' => 'S0-36', 'scheduling-reminders' => 'S0-37',
	'daily-metrics' => 'S0-39', 'driver-safety-scores' => 'S0-42', 'push-notification-scheduler' => 'S0-43', cleanup => 'S0-38');
my %schedules = (
	'maintenance-scheduler' => [ '0 * * * *', 'MAINTENANCE_CRON_SCHEDULE', 'ENABLE_MAINTENANCE_SCHEDULER' ],
	'teams-sync' => [ '*/30 * * * * *', undef, 'ENABLE_TEAMS_SYNC' ],
	'telematics-sync' => [ '*/5 * * * *', 'TELEMATICS_CRON_SCHEDULE', 'ENABLE_TELEMATICS_SYNC' ],
	'report-scheduler' => [ '0 * * * *', 'REPORT_SCHEDULER_CRON', 'ENABLE_REPORT_SCHEDULER' ],
	'alert-checker' => [ '*/5 * * * *', 'ALERT_CHECKER_CRON_SCHEDULE', 'ENABLE_ALERT_CHECKER' ],
	'outlook-sync' => [ '*/2 * * * *', undef, 'ENABLE_OUTLOOK_SYNC' ],
	'webhook-renewal' => [ '0 * * * *', 'WEBHOOK_RENEWAL_CRON_SCHEDULE', 'ENABLE_WEBHOOK_RENEWAL' ],
	'scheduling-reminders' => [ '*/15 * * * *', 'SCHEDULING_REMINDERS_CRON', 'ENABLE_SCHEDULING_REMINDERS' ],
	'daily-metrics' => [ '0 2 * * *', 'DAILY_METRICS_CRON', 'ENABLE_DAILY_METRICS' ],
	'driver-safety-scores' => [ '0 2 * * *', 'DRIVER_SAFETY_CRON', 'ENABLE_DRIVER_SAFETY_SCORES' ],
	'push-notification-scheduler' => [ '* * * * *', 'PUSH_NOTIFICATION_CRON', 'ENABLE_PUSH_NOTIFICATIONS' ],
	cleanup => [ '30 3 * * *', 'CLEANUP_CRON', 'ENABLE_CLEANUP' ],
);
my %changed = (
	(map { ($_->[1] => '7 * * * *') } grep { defined $_->[1] } values %schedules),
	(map { ($_->[2] => 'false') } grep { defined $_->[2] } values %schedules),
	TEAMS_SYNC_INTERVAL_SECONDS => 15, OUTLOOK_SYNC_INTERVAL_MINUTES => 7,
	MAINTENANCE_DAYS_AHEAD => 4, WEBHOOK_RENEWAL_THRESHOLD_HOURS => 6, TZ => 'Australia/Sydney',
	USE_WEBHOOK_FALLBACK => 'false', SKIP_SYNC_NO_USERS => 'true', ENABLE_AI_EMAIL_CATEGORIZATION => 'false', ENABLE_RECEIPT_PARSING => 'false',
	QUEUE_ARCHIVE_HOURS => 12, QUEUE_DELETE_DAYS => 3, QUEUE_MONITOR_INTERVAL => 30, DB_PORT => 6543, DB_USER => 'me', DB_PASSWORD => 'se cret', DB_HOST => 'db.example.com', DB_NAME => 'other',
	MAIL_SERVER => 'file:/tmp/mail',
);
my $e = $effective->(%changed);
for my $name (sort keys %schedules) {
	my ($cron, $variable, $enable) = @{ $schedules{$name} };
	is $c->{"schedules.$name.cron"}, $cron, "$item{$name} $name: its cron";
	is $c->{"schedules.$name.enabled"}, 'true', '… on';
	is $e->{"schedules.$name.cron"}, '7 * * * *', "S0-66 … changed by $variable" if $variable;
	is $e->{"schedules.$name.enabled"}, 'false', "S0-38 S0-65 … off by $enable" if $enable;
}
is $c->{'schedules.telematics-ingestion.every'}, '60s', 'S0-41 ingestion every minute';
is $e->{'schedules.teams-sync.cron'}, '*/15 * * * * *', 'S0-27 TEAMS_SYNC_INTERVAL_SECONDS';
is $e->{'schedules.outlook-sync.cron'}, '*/7 * * * *', 'S0-35 OUTLOOK_SYNC_INTERVAL_MINUTES';
is $c->{'schedules.maintenance-scheduler.timezone'}, 'UTC', 'S0-25 UTC';
is $e->{'schedules.maintenance-scheduler.timezone'}, 'Australia/Sydney', '… or TZ';
is $c->{'schedules.maintenance-scheduler.data.days_ahead'}, 1, 'S0-26 one day ahead';
is $e->{'schedules.maintenance-scheduler.data.days_ahead'}, 4, '… or MAINTENANCE_DAYS_AHEAD';
is $c->{'schedules.webhook-renewal.data.threshold_hours'}, 12, 'S0-36 threshold of renewal';
is $e->{'schedules.webhook-renewal.data.threshold_hours'}, 6, '… or WEBHOOK_RENEWAL_THRESHOLD_HOURS';
like $c->{'schedules.teams-sync.only_if'}, qr/^\W*not true or not exists .*incoming_event.*not false or exists/s, 'S0-28: no sync while webhooks do it';
like $e->{'schedules.teams-sync.only_if'}, qr/^\W*not false or .*not true or exists/s, 'S0-67 … but without the fallback, always; and only with mailboxes';
is "@{$e}{map { qq(schedules.outlook-sync.data.$_) } qw(categorize parse_receipts)}", 'false false', 'S0-67 feature flags';
is $c->{"schedules.$_.log"}, "/var/log/jobqd/$_.log", "S0-59: $_ has a log of its own"
    for qw(teams-sync report-scheduler alert-checker outlook-sync scheduling-reminders);
like $c->{'database.url'}, qr/host=fleet-postgres-service port=5432 dbname=fleetdb user=fleetadmin/, 'the database';
like $e->{'database.url'}, qr/host=db\.example\.com port=6543 dbname=other user=me/, 'S0-64 … of the environment';
is "@{$e}{qw(queues.sync.keep.completed queues.sync.keep.history monitor.interval)}", '12h 3d 30s', '… and how long things are kept';
is $e->{'handlers.mailer.server'}, 'file:/tmp/mail', 'mail as files in development';
is "@{$c}{map { qq(limits.teams-api.$_) } qw(rate concurrency min_gap)}", '50/s 10 20ms', 'S0-52 limits of the Teams API';
is "@{$c}{map { qq(limits.outlook-api.$_) } qw(rate concurrency min_gap)}", '10000/10m 20 60ms', 'S0-53 … of the Outlook API';
is "@{$c}{map { qq(limits.attachments.$_) } qw(concurrency min_gap)}", '5 200ms', 'S0-54 … of files';
is $c->{'alerts.failures.above'}, '5%', 'S0-71 an alert from 5 % failures on';
done_testing;
