# jobqctl schedule explain: zones, both edges of daylight saving, durations,
# and what is wrong with a call. Needs no database.
# S0-25, S1-61, S1-62, S3-11 … S3-14
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More;

my $ctl = jobqctl_program();
plan skip_all => 'no time zones: install tzdata' unless -r '/usr/share/zoneinfo/Australia/Sydney';
delete @ENV{qw(TZ TZDIR)};

sub explain_ { return run_program([ $ctl, 'schedule', 'explain', @_ ]) }
# Lines of stdout, given that it went well and said nothing else.
sub instants {
	my ($status, $out, $err) = explain_(@_);
	return "status $status, $err" if $status != 0 || $err ne '';
	return join ' ', split /\n/, $out;
}
my @sydney = ('--tz', 'Australia/Sydney');

# S3-13, S3-14 on the night when 2:00 becomes 3:00 …: S1-62, S3-11.
is instants('0 2 * * *', @sydney, '--count', 3, '--from', '2026-10-02T12:00:00'),
    '2026-10-03T02:00:00+10:00 2026-10-04T03:00:00+11:00 2026-10-05T02:00:00+11:00', 'Sydney, forward: 2:00 runs right after the gap';
is instants('0 3 * * *', @sydney, '--count', 3, '--from', '2026-10-02T12:00:00'),
    '2026-10-03T03:00:00+10:00 2026-10-04T03:00:00+11:00 2026-10-05T03:00:00+11:00', '… 3:00 runs at 3:00';
is instants('30 2 * * *', @sydney, '--count', 2, '--from', '2026-10-03T12:00:00'),
    '2026-10-04T03:00:00+11:00 2026-10-05T02:30:00+11:00', '… and so does 2:30';
is instants('0 2 * * *', @sydney, '--count', 1, '--from', '2026-10-03T12:00:00', '--dst', 'skip'),
    '2026-10-05T02:00:00+11:00', '… --dst skip: not at all';
# … and when 3:00 becomes 2:00.
is instants('0 2 * * *', @sydney, '--count', 3, '--from', '2027-04-02T12:00:00'),
    '2027-04-03T02:00:00+11:00 2027-04-04T02:00:00+11:00 2027-04-05T02:00:00+10:00', 'Sydney, back: 2:00 runs the first time only';
is instants('0 3 * * *', @sydney, '--count', 3, '--from', '2027-04-02T12:00:00'),
    '2027-04-03T03:00:00+11:00 2027-04-04T03:00:00+10:00 2027-04-05T03:00:00+10:00', '… 3:00 once';
is instants('0 2 * * *', @sydney, '--count', 3, '--from', '2027-04-03T12:00:00', '--dst', 'clock'),
    '2027-04-04T02:00:00+11:00 2027-04-04T02:00:00+10:00 2027-04-05T02:00:00+10:00', '… --dst clock: both times';
is instants('*/30 * * * *', @sydney, '--count', 5, '--from', '2027-04-04T01:30:00'),
    '2027-04-04T02:00:00+11:00 2027-04-04T02:30:00+11:00 2027-04-04T02:00:00+10:00 2027-04-04T02:30:00+10:00 2027-04-04T03:00:00+10:00',
    '… every half hour goes on';

is instants('0 9 * * *', '--tz', 'Asia/Kathmandu', '--count', 1, '--from', '2026-11-21T10:00:00Z'),
    '2026-11-22T09:00:00+05:45', 'an offset of quarters of an hour';
is instants('0 0 1 1 *', '--tz', 'America/St_Johns', '--count', 1, '--from', '2026-11-21T10:00:00Z'),
    '2027-01-01T00:00:00-03:30', 'a negative one';
is instants('0 12 1 1 *', '--tz', 'Africa/Monrovia', '--count', 1, '--from', '1970-12-01T00:00:00Z'),
    '1971-01-01T12:00:30-00:44', 'one with seconds, in 1971, by the minute';
is instants('0 2 * * *', @sydney, '--count', 1, '--from', '2026-11-21T10:00'), '2026-11-22T02:00:00+11:00', '--from without seconds';
is instants('0 2 * * *', @sydney, '--count', 1, '--from', '2026-11-21T10:00:00+01:00'), '2026-11-22T02:00:00+11:00', '… with an offset';
is instants('0 2 * * *', '--count', 1, '--from', '1970-01-01T00:00:00Z'), '1970-01-01T02:00:00+00:00', '… at the epoch';
my ($status, $out, $err) = explain_('0 2 * * *', '--count', 1);
like $out, qr/^\d{4}-\d\d-\d\dT02:00:00\+00:00$/, 'from now, in UTC';

is instants('30s', '--count', 3, '--from', '2026-11-21T10:00:10Z'),
    '2026-11-21T10:00:30+00:00 2026-11-21T10:01:00+00:00 2026-11-21T10:01:30+00:00', 'a duration';
is instants('every 1h', @sydney, '--count', 3, '--from', '2026-10-04T01:00:00'),
    '2026-10-04T03:00:00+11:00 2026-10-04T04:00:00+11:00 2026-10-04T05:00:00+11:00', '… in real time';
is instants('1d', '--count', 1, '--from', '2026-11-21T10:00:00Z'), '2026-11-22T00:00:00+00:00', '… of a day';
is instants('1w', '--count', 2, '--from', '2026-11-21T10:00:00Z'), '2026-11-26T00:00:00+00:00 2026-12-03T00:00:00+00:00', '… of a week';
is instants('1500ms', '--count', 2, '--from', '2026-11-21T10:00:00Z'), '2026-11-21T10:00:01.500+00:00 2026-11-21T10:00:03+00:00', '… of a fraction';

# The notation of the seeds: S0-27, S1-13, S1-14, S1-61, S2-63, S3-19 … S3-22; S0-32 daily,
# weekly, monthly, quarterly; S2-38, S2-40.
my $from = '2026-11-21T10:00:00Z';	# a Saturday
for (
	[ '@hourly', '2026-11-21T11:00:00+00:00' ], [ '@daily', '2026-11-22T00:00:00+00:00' ],
	[ '@midnight', '2026-11-22T00:00:00+00:00' ], [ '@weekly', '2026-11-22T00:00:00+00:00' ],
	[ '@monthly', '2026-12-01T00:00:00+00:00' ], [ '@yearly', '2027-01-01T00:00:00+00:00' ],
	[ '@annually', '2027-01-01T00:00:00+00:00' ], [ '*/30 * * * * *', '2026-11-21T10:00:30+00:00' ],
	[ '0 8 * * MON', '2026-11-23T08:00:00+00:00' ], [ '0 8 * jan-mar/2 ?', '2027-01-01T08:00:00+00:00' ],
	[ '0 8 L * *', '2026-11-30T08:00:00+00:00' ], [ '0 8 LW * *', '2026-11-30T08:00:00+00:00' ],
	[ '0 8 28W * ?', '2026-11-27T08:00:00+00:00' ], [ '0 8 * * 5L', '2026-11-27T08:00:00+00:00' ],
	[ '0 8 ? * mon#4', '2026-11-23T08:00:00+00:00' ], [ '0 8 1,15 * 1', '2026-11-23T08:00:00+00:00' ],
	[ '5/15 10 * * *', '2026-11-21T10:05:00+00:00' ], [ '15-45/15 10 * * *', '2026-11-21T10:15:00+00:00' ],
	[ '30m', '2026-11-21T10:30:00+00:00' ], [ '0 9 1 */3 *', '2027-01-01T09:00:00+00:00' ],
	[ '0 9 1 * *', '2026-12-01T09:00:00+00:00' ], [ '0 */2 * * *', '2026-11-21T12:00:00+00:00' ],
	[ '30 9 * * *', '2026-11-22T09:30:00+00:00' ], [ '0 0 * * 0', '2026-11-22T00:00:00+00:00' ],
) {
	is instants($_->[0], '--count', 1, '--from', $from), $_->[1], $_->[0];
}

($status, $out, $err) = explain_('30 2 * * *', @sydney, '--count', 1, '--from', '2026-10-01T12:00', '--edges');
is $out, "2026-10-02T02:30:00+10:00\n", '--edges: the same on stdout';
is $err, "2026-10-04T03:00:00+11:00: the clocks go forward from 02:00:00; fires at 2026-10-04T03:00:00+11:00\n"
    . "2027-04-04T02:00:00+10:00: the clocks go back from 03:00:00; fires at 2027-04-04T02:30:00+11:00\n", '… the changes on stderr';
($status, $out, $err) = explain_('*/10 * * * *', @sydney, '--count', 1, '--from', '2027-04-01T12:00', '--edges');
like $err, qr/^2027-04-04T02:00:00\+10:00: .*; fires at (?:\S+ ){4}\.\.\.$/m, '… of many, some';
(undef, undef, $err) = explain_('0 12 * * *', @sydney, '--count', 1, '--from', '2027-04-01T12:00', '--edges');
like $err, qr/fires at none of these/, '… or none';
(undef, undef, $err) = explain_('0 12 * * *', '--count', 1, '--edges');
is $err, "no change of the clocks is known\n", '… UTC has none';

($status, $out) = explain_('0 2 * * *', @sydney, '--count', 2, '--from', '2026-10-03T12:00:00', '--json');
is_deeply decode_json($out), [ '2026-10-04T03:00:00+11:00', '2026-10-05T02:00:00+11:00' ], '--json';
($status, $out, $err) = explain_('0 0 30 2 *', @sydney, '--json');
is_deeply [ $status, decode_json($out) ], [ 1, [] ], 'one that never fires';
is $err, "jobqctl: 0 0 30 2 * never fires\n", '… says so';

for (
	[ [ '0 2 * * *', '--tz', 'Australia/Sidney' ], 2, qr/--tz "Australia\/Sidney": no such time zone \(did you mean "Australia\/Sydney"\?\)/ ],
	[ [ '0 2 * * *', '--tz', '../../../etc/passwd' ], 2, qr/no such time zone/ ],
	[ [ '0 2 * * *', '--dst', 'summer' ], 2, qr/--dst "summer" is not standard, skip or clock/ ],
	[ [ '0 2 * * *', '--from', 'tomorrow' ], 2, qr/--from "tomorrow" is no time such as 2026-12-01T10:00:00Z/ ],
	[ [ '0 2 * * *', '--count', '1001' ], 2, qr/1000/ ],
	[ ['0 2 * *'], 1, qr/too few fields/ ], [ ['@reboot'], 1, qr/names no time/ ], [ ['5ms'], 1, qr/neither a cron expression nor a duration/ ],
	[ [''], 1, qr/no fields/ ],
) {
	my ($args, $expected, $message) = @$_;
	($status, $out, $err) = explain_(@$args);
	is $status, $expected, "status of @$args";
	like $err, qr/^jobqctl: schedule explain: .*$message/, '… and why';
}
done_testing;
