# Cron expressions in time zones against a walk minute by minute around every
# change of the clocks from 1970 to 2060, by all three rules. S0-25, S1-62, S3-11
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $build = $ENV{JOBQD_BUILDDIR} || '.';
my $program = "$build/t/unit/cron_next";

plan skip_all => "no $program: build the check programs first" unless -x $program;
plan skip_all => 'no Python with zoneinfo and time zones'
    if system("python3 -c 'import zoneinfo; zoneinfo.ZoneInfo(\"Europe/Berlin\")' >/dev/null 2>&1") != 0;

# Half an hour, a skipped day, changes at midnight, at both ends of Ramadan,
# by odd amounts, and the plain ones.
my %zones = (
	'Australia/Sydney' => 20, 'Australia/Lord_Howe' => 20, 'Pacific/Apia' => 40, 'America/Sao_Paulo' => 20,
	'Asia/Gaza' => 15, 'Africa/Casablanca' => 15, 'Europe/Berlin' => 15, 'America/New_York' => 15,
	'America/Caracas' => 200, 'Antarctica/Troll' => 20, 'Asia/Pyongyang' => 200, 'America/Nuuk' => 15,
);
plan tests => 2 * keys %zones;
for my $zone (sort keys %zones) {
	my $out = qx(python3 @{[source_directory()]}/t/cron_zones_oracle.py $program $zones{$zone} $zone 2>&1);
	my ($compared, $fired, $differ) = $out =~ /^(\d+) compared, (\d+) firings, (\d+) differ$/m;
	# S0-25, S1-62, S3-11
	is $differ, 0, sprintf '%s: %d compared, 0 differ', $zone, $compared // 0
	    or diag substr $out, 0, 4000;
	cmp_ok $fired // 0, '>', ($compared // 0) / 4, sprintf '… with %d firings', $fired // 0;
}
