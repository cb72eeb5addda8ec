# Cron expressions fire when another implementation says: python3-croniter,
# for thousands of random expressions of five and six fields.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $build = $ENV{JOBQD_BUILDDIR} || '.';
my $program = "$build/t/unit/cron_next";

plan skip_all => "no $program: build the check programs first" unless -x $program;
plan skip_all => 'python3-croniter is not installed'
    if system("python3 -c 'import croniter' >/dev/null 2>&1") != 0;
plan tests => 3;

for my $seed (1 .. 2) {
	my $out = qx(python3 @{[source_directory()]}/t/cron_oracle.py $program 3000 $seed 2>&1);
	like $out, qr/^3000 compared, 0 differ$/m, "3000 expressions, seed $seed"
	    or diag join "\n", (split /\n/, $out)[-20 .. -1];
}

my $answers = qx(printf '%s\n' '0 3 UTC standard 0 0 30 2 *' '0 2 UTC standard nonsense' 'x' '59 2 UTC standard * * * * * *' | $program);
is $answers, "\nerror: too few fields; a cron expression has 5 (minute hour day-of-month month day-of-week), "
    . "or 6 with the second first\nerror: not AFTER COUNT ZONE RULE EXPRESSION\n60 61\n", 'what never fires, and what is none';
