# The schedules of the examples fire, each at its own next instant: the
# database's clock, by which jobqd goes, is put to shortly before it.
# S0-24 … S0-43, S1-13, S1-15, S3-9, S3-11 … S3-23
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use POSIX qw(strftime);
use Test::More;
use Time::HiRes qw(time);
use Time::Local qw(timegm);

my ($faketime) = glob '/usr/lib/*/faketime/libfaketime.so.1';
plan skip_all => 'libfaketime is not installed' unless $faketime;
plan skip_all => 'no time zones: install tzdata' unless -r '/usr/share/zoneinfo/Australia/Sydney';
delete @ENV{ grep { /^(?:DB_|ENABLE_|FLEET_|TRACKER_|RTO_|DATABASE_URL$|MAIL_|TZ|GPS_|REPORT_)|CRON|SYNC|WEBHOOK|MAINTENANCE|SCHEDULE/ } keys %ENV };

my $examples = source_directory() . '/etc/examples';
my ($user, $group) = (scalar getpwuid $>, scalar getgrgid $) + 0);
my $clock = temp_directory() . '/clock';
my $pg = Jobqd::Postgres->new(start => 0);

# The database's clock, for all its processes at once.
sub set_clock {
	my ($t) = @_;
	spew("$clock.new", sprintf "%+.3f\n", $t - time);
	rename "$clock.new", $clock or die "$clock: $!\n";
}
sub instant {
	my ($text) = @_;
	my ($y, $m, $d, $h, $min, $s) = $text =~ /^(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)Z$/ or die "no instant: $text\n";
	return timegm($s, $min, $h, $d, $m - 1, $y);
}

# The server alone has it, from its own user on.
$pg->{as} = [ @{ $pg->{as} || [] }, 'env', "LD_PRELOAD=$faketime", "FAKETIME_TIMESTAMP_FILE=$clock",
    map { "$_=1" } qw(FAKETIME_NO_CACHE FAKETIME_DONT_FAKE_MONOTONIC DONT_FAKE_MONOTONIC NO_FAKE_STAT) ];
set_clock(instant('2026-09-14T00:50:00Z'));
$pg->start;
like $pg->query("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')", 'postgres'), qr/^2026-09-14 00:5/, 'a clock of its own';

# For each: the variables it is started with, and what fires when, in order of
# time; a name with = does not fire again, its last run stays.
my @cases = (
	[ 'fleet', { DB_HOST => $pg->{dir}, DB_NAME => 'fleet', DB_USER => 'jobq', FLEET_USER => $user, FLEET_GROUP => $group,
	    SAMSARA_API_TOKEN => 'x', (map { $_ => 'http://127.0.0.1:1' } qw(GRAPH_URL GRAPH_TOKEN_URL SAMSARA_URL PUSH_URL)) },
	    '2026-09-14T00:50:00Z',
	    [ '2026-09-14T00:50:30Z', 'teams-sync' ],	# S0-27
	    [ '2026-09-14T00:51:00Z', 'push-notification-scheduler', 'telematics-ingestion' ],	# S0-41, S0-43
	    [ '2026-09-14T00:52:00Z', 'outlook-sync' ],	# S0-35
	    [ '2026-09-14T00:55:00Z', 'telematics-sync', 'alert-checker' ],	# S0-29, S0-34
	    [ '2026-09-14T01:00:00Z', 'maintenance-scheduler', 'report-scheduler', 'webhook-renewal', 'scheduling-reminders' ],	# S0-24, S0-31, S0-36, S0-37
	    [ '2026-09-14T02:00:00Z', 'daily-metrics', 'driver-safety-scores' ],	# S0-39, S0-42
	    [ '2026-09-14T03:30:00Z', 'cleanup' ] ],
	[ 'fleettracker', { DATABASE_URL => $pg->url('fleettracker'), TRACKER_USER => $user, TRACKER_GROUP => $group },
	    '2026-10-30T12:00:00Z',	# a Friday
	    [ '2026-10-31T00:00:00Z', 'data-cleanup' ],	# S1-13, S1-15
	    [ '2026-11-01T00:00:00Z', 'maintenance-check', 'fleet-report' ] ],	# S1-13, S1-15
	# Into the night in which 2:00 becomes 3:00 …: S3-11; S3-53: DATABASE_URL.
	[ 'rto', { DATABASE_URL => $pg->url('rto'), RTO_USER => $user, RTO_GROUP => $group, RTO_API => 'off', REPORT_DIRECTORY => temp_directory() },
	    '2027-10-02T13:00:00Z',	# Saturday, 23:00 in Sydney
	    [ '2027-10-02T14:00:00Z', 'retryFailedEmails' ],	# S3-21
	    [ '2027-10-02T15:00:00Z', 'feedbackAIAnalysis' ],	# S3-12
	    [ '2027-10-02T16:00:00Z', 'syncXero', 'syncAccelerate' ],	# S3-13, S3-14
	    [ '2027-10-02T21:00:00Z', 'pdReminders', 'credentialExpiry', 'policyReviews' ],	# S3-15, S3-16, S3-17
	    [ '2027-10-02T22:00:00Z', 'complaintSLA' ],	# S3-18
	    [ '2027-10-02T22:30:00Z', 'checkIncompleteOnboarding' ],	# S3-22
	    [ '2027-10-03T21:00:00Z', 'weeklyDigest' ],	# S3-19
	    [ '2027-10-31T22:00:00Z', 'monthlyComplianceReport' ],	# S3-20
	    # … and the one in which 3:00 becomes 2:00 again.
	    [ '2028-04-01T15:00:00Z', 'syncXero', 'retryFailedEmails' ],
	    [ '2028-04-01T16:00:00Z', 'retryFailedEmails', '=syncXero' ],
	    [ '2028-04-01T17:00:00Z', 'syncAccelerate', '=syncXero' ] ],
);

for my $case (@cases) {
	my ($name, $env, $start, @steps) = @$case;
	local @ENV{ keys %$env } = values %$env;
	# Alone: mail into files, nobody to ask, no address for two nodes to share.
	local @ENV{qw(MAIL_SERVER FLEET_API TRACKER_API RTO_API)} = ('file:' . temp_directory(), ('off') x 3);
	local @ENV{qw(TRACKER_REPORTS TRACKER_EXPORTS)} = (temp_directory()) x 2;
	my ($status, undef, $err) = run_program([ jobqd_program(), '-t', '-c', "$examples/$name.yml" ]);
	is $status, 0, "$name.yml passes -t" or diag $err;

	$pg->query("CREATE DATABASE $name", 'postgres');
	$pg->query('SET client_min_messages = warning; ' . slurp("$examples/$name.sql"), $name) if -e "$examples/$name.sql";
	set_clock(instant($start));
	# Two nodes, of which one leads.
	my @nodes;
	for my $node ("$name-a", "$name-b") {
		local @ENV{qw(FLEET_RUN TRACKER_RUN RTO_RUN FLEET_STATE FLEET_LOGS FLEET_PROGRAMS)} = (temp_directory()) x 6;
		local $ENV{HOSTNAME} = $node;
		my $d = Jobqd::Daemon->new(pg => $pg, name => $node, config => slurp("$examples/$name.yml"));
		push @nodes, $d;
		$d->start;
	}
	$nodes[0]->wait_log(qr/scheduler initialized/);
	my $ask = sub { $pg->query($_[0], $name) };
	my (%seen, $twice);
	for my $step (@steps) {
		my ($at, @names) = @$step;
		set_clock(instant($at) - 1.5);
		# Otherwise its clock is noticed a little later.
		$ask->(q(NOTIFY jobq, '*due'));
		for (@names) {
			my $once = (my $schedule = $_) =~ s/^=//;
			my $row = "FROM jobq.schedules WHERE name = '$schedule'";
			if ($once) {
				is $ask->("SELECT last_run < '$at' $row"), 't', "$name: $schedule not again at $at";
				next;
			}
			wait_for { $ask->("SELECT last_run >= '$at' $row") eq 't' } "$schedule at $at";
			is $ask->("SELECT last_run = '$at' $row"), 't', "$name: $schedule fires at $at, "
			    . $ask->("SELECT lateness_ms || ' ms late' $row");
			is $ask->("SELECT count(*) FROM jobq.jobs j, jobq.schedules s WHERE s.name = '$schedule' "
			    . 'AND j.id = s.last_job_id AND j.type = s.type AND j.queue = s.queue'), 1, '… and made its job';
			$seen{$schedule} = 1;
		}
		$twice += $ask->('SELECT count(*) FROM (SELECT FROM jobq.jobs j JOIN jobq.schedules s ON s.type = j.type AND s.queue = j.queue '
		    . 'GROUP BY j.type, j.tenant, j.run_at HAVING count(*) > 1) t');
	}
	is_deeply [ sort keys %seen ], [ split /\n/, $ask->('SELECT name FROM jobq.schedules ORDER BY name COLLATE "C"') ],
	    "$name: these were all its schedules";
	is $ask->("SELECT count(*) FROM jobq.schedules WHERE description = '' OR NOT enabled"), 0, '… all described, all enabled (S0-38, S3-23)';
	is $twice, 0, '… and no instant made two jobs, on two nodes (S3-54)';
	$_->stop for @nodes;

	# Each has its flag: with all of them off nothing is left.
	my $text = slurp("$examples/$name.yml");
	my @flags = $text =~ /enabled: "\$\{(ENABLE_\w+):-true\}"/g;
	is scalar @flags, scalar keys %seen, "$name: a flag for each";
	local @ENV{@flags} = ('false') x @flags;
	(undef, my $effective) = run_program([ jobqd_program(), '-T', '-c', "$examples/$name.yml" ]);
	my ($schedules) = $effective =~ /^schedules:\n(.*?)^\S/ms;
	my $off = () = $schedules =~ /^    enabled: false$/mg;
	is $off, scalar keys %seen, '… that switches it off (S0-38, S0-65)';
}
done_testing;
