# Time zones change when Python says: every zone of this system from 1970 to
# 2060, and files with random tables and rules.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $build = $ENV{JOBQD_BUILDDIR} || '.';
my $program = "$build/t/unit/zone_spans";

plan skip_all => "no $program: build the check programs first" unless -x $program;
plan skip_all => 'no Python with zoneinfo and time zones'
    if system("python3 -c 'import zoneinfo; zoneinfo.ZoneInfo(\"Europe/Berlin\")' >/dev/null 2>&1") != 0;
plan tests => 2;

my $dir = temp_directory();
my $out = qx(python3 @{[source_directory()]}/t/zone_oracle.py $program $dir 2>&1);
my ($zones, $changes, $differ) = $out =~ /^(\d+) zones, (\d+) changes compared, (\d+) differ$/m;
is $differ, 0, sprintf '%d zones, %d changes, 0 differ', $zones // 0, $changes // 0 or diag substr $out, 0, 4000;
cmp_ok $changes // 0, '>', 10000, 'there was something to compare';
