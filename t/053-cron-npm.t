# Cron expressions fire when npm's cron-parser and croner say, in UTC and in
# time zones, for thousands of random ones. What is left out, and why, is said
# in t/cron_npm_oracle.py.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $build = $ENV{JOBQD_BUILDDIR} || '.';
my $program = "$build/t/unit/cron_next";

plan skip_all => "no $program: build the check programs first" unless -x $program;
plan skip_all => 'python3-croniter is not installed, or time zones are not'
    if system("python3 -c 'import croniter, zoneinfo; zoneinfo.ZoneInfo(\"Europe/Berlin\")' >/dev/null 2>&1") != 0;
plan tests => 4;

my $dir = temp_directory();
my ($no_npm) = run_program([ 'sh', '-c', "cd $dir && npm install --silent --no-audit --no-fund cron-parser\@5 croner\@11" ]);
SKIP: {
	skip 'npm cannot install cron-parser and croner here', 4 if $no_npm;
	for (['cron-parser', 4000], ['croner', 3000]) {
		my ($package, $count) = @$_;
		local $ENV{NODE_PATH} = "$dir/node_modules";
		my $out = qx(python3 @{[source_directory()]}/t/cron_npm_oracle.py $program $package $count 1 2>&1);
		my ($compared, $differ) = $out =~ /^(\d+) compared, .* (\d+) differ$/m;
		is $differ, 0, sprintf '%s: %d compared, 0 differ', $package, $compared // 0 or diag substr $out, 0, 4000;
		cmp_ok $compared // 0, '>', 2000, '… which were enough';
	}
}
