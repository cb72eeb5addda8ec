# The fleet office's example: passes the check, has the numbers it is known
# for, and follows its environment. S0-1 … S0-20, S0-24 … S0-44, S0-64 … S0-67
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $fleet = source_directory() . '/etc/examples/fleet.yml';
delete @ENV{ grep { /^(?:DB_|ENABLE_|FLEET_|MAIL_|TZ$)|CRON|SYNC|WEBHOOK|MAINTENANCE/ } keys %ENV };

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
	email => { timeout => '1m', priority => 2, attempts => 3, base => '2s' },
	notification => { timeout => '1m', attempts => 3, base => '2s' },
	report => { timeout => '5m', priority => 3, lease => '30s', attempts => 3, base => '2s' },
	'teams-outbound' => { priority => 3, expire => '1h', attempts => 5 },
	'outlook-outbound' => { priority => 5, expire => '2h', attempts => 5 },
	attachments => { priority => 8, expire => '4h', attempts => 3 },
	webhooks => { priority => 3, expire => '30m', attempts => 3 },
	sync => { priority => 8, expire => '1h', attempts => 3 },
	'webhook-delivery' => { concurrency => 10, timeout => '10s' },
	maintenance => {}, metrics => {},
);
my %have = map { /^queues\.([^.]+)\./ ? ($1 => 1) : () } keys %$c;
is_deeply [ sort keys %have ], [ sort keys %queues ], 'eleven queues';
my %priority = (critical => 1, high => 3, normal => 5, low => 8, very_low => 10);
for my $queue (sort keys %queues) {
	my %want = %{ $queues{$queue} };
	my $policy = $c->{"queues.$queue.retry"};
	for my $key (sort keys %want) {
		my $is = $key =~ /^(?:attempts|base)$/ ? $c->{"retry.$policy.$key"} : $c->{"queues.$queue.$key"};
		$is = $priority{$is} if exists $priority{$is};
		is $is, $want{$key}, "$queue: $key";
	}
}
is $c->{'queues.sync.keep.completed'}, '1d', 'completed jobs are kept a day';
is $c->{'queues.sync.keep.history'}, '1w', '… their history a week';
is $c->{'monitor.interval'}, '1m', 'the monitor looks every minute';

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
	USE_WEBHOOK_FALLBACK => 'false', DB_HOST => 'db.example.com', DB_NAME => 'other',
	MAIL_SERVER => 'file:/tmp/mail',
);
my $e = $effective->(%changed);
for my $name (sort keys %schedules) {
	my ($cron, $variable, $enable) = @{ $schedules{$name} };
	is $c->{"schedules.$name.cron"}, $cron, "$name: its cron";
	is $c->{"schedules.$name.enabled"}, 'true', '… on';
	is $e->{"schedules.$name.cron"}, '7 * * * *', "… changed by $variable" if $variable;
	is $e->{"schedules.$name.enabled"}, 'false', "… off by $enable" if $enable;
}
is $c->{'schedules.telematics-ingestion.every'}, '60s', 'ingestion every minute';
is $e->{'schedules.teams-sync.cron'}, '*/15 * * * * *', 'TEAMS_SYNC_INTERVAL_SECONDS';
is $e->{'schedules.outlook-sync.cron'}, '*/7 * * * *', 'OUTLOOK_SYNC_INTERVAL_MINUTES';
is $c->{'schedules.maintenance-scheduler.timezone'}, 'UTC', 'UTC';
is $e->{'schedules.maintenance-scheduler.timezone'}, 'Australia/Sydney', '… or TZ';
is $c->{'schedules.maintenance-scheduler.data.days_ahead'}, 1, 'one day ahead';
is $e->{'schedules.maintenance-scheduler.data.days_ahead'}, 4, '… or MAINTENANCE_DAYS_AHEAD';
is $c->{'schedules.webhook-renewal.data.threshold_hours'}, 12, 'threshold of renewal';
is $e->{'schedules.webhook-renewal.data.threshold_hours'}, 6, '… or WEBHOOK_RENEWAL_THRESHOLD_HOURS';
is $c->{'schedules.teams-sync.data.webhook_fallback'}, 'true', 'feature flag';
is $e->{'schedules.teams-sync.data.webhook_fallback'}, 'false', '… or USE_WEBHOOK_FALLBACK';
like $c->{'schedules.teams-sync.only_if'}, qr/^.?not true or not exists .*queue = 'webhooks' and outcome = 'completed'/s, 'S0-28: no sync while webhooks do it';
like $e->{'schedules.teams-sync.only_if'}, qr/^.?not false or/, '… but without the fallback, always';
is $c->{"schedules.$_.log"}, "/var/log/jobqd/$_.log", "S0-59: $_ has a log of its own"
    for qw(teams-sync report-scheduler alert-checker outlook-sync scheduling-reminders);
like $c->{'database.url'}, qr/host=fleet-postgres-service port=5432 dbname=fleetdb user=fleetadmin/, 'the database';
like $e->{'database.url'}, qr/host=db\.example\.com port=5432 dbname=other/, '… of the environment';
is $e->{'handlers.mailer.server'}, 'file:/tmp/mail', 'mail as files in development';
is $c->{'limits.teams-api.rate'}, '50/s', 'limit of the Teams API';
is $c->{'limits.outlook-api.min_gap'}, '60ms', '… of the Outlook API';
is $c->{'alerts.failures.above'}, '5%', 'S0-71 an alert from 5 % failures on';
done_testing;
