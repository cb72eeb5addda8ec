# A cron expression that SQL takes is one that the scheduler reads, and the
# other way round: jobq.cron_error() against the parser of core/cron.c, for random
# and for mutated expressions. S1-61.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More;

my $program = ($ENV{JOBQD_BUILDDIR} || '.') . '/t/unit/cron_next';
plan skip_all => "no $program: build the check programs first" unless -x $program;
plan tests => 4;

srand 5;
sub any { return $_[ rand @_ ] }
my @months = qw(jan feb mar apr may jun jul aug sep oct nov dec);
my @days = qw(sun mon tue wed thu fri sat);
my @ranges = ([ 0, 59 ], [ 0, 59 ], [ 0, 23 ], [ 1, 31 ], [ 1, 12 ], [ 0, 7 ]);
sub value {
	my ($k) = @_;
	my ($low, $high) = @{ $ranges[$k] };
	return any(@months) if $k == 4 && rand() < 0.3;
	return any(map { rand() < 0.5 ? $_ : uc } @days) if $k == 5 && rand() < 0.3;
	return sprintf any('%d', '%d', '%d', '%02d', '%04d', '%05d'), $low + int(rand($high - $low + 1)) + (rand() < 0.05 ? any(-1, 1, 60) : 0);
}
sub item {
	my ($k) = @_;
	my $r = rand;
	return any('L', 'l', 'LW', 'lW', value(3) . 'W', 'L-3', '15w') if $k == 3 && $r < 0.2;
	return any(value(5) . 'L', value(5) . '#' . int(rand 7), value(5) . '#0' . int(rand 6), 'L') if $k == 5 && $r < 0.2;
	my $text = any('*', '?', value($k), value($k), value($k) . '-' . value($k));
	$text .= '/' . any(0, 1, 2, 5, 15, 61, '007', '9999', '10000') if rand() < 0.2;
	return $text;
}
sub expression {
	return any(qw(@yearly @Annually @monthly @weekly @DAILY @midnight @hourly @reboot @every @ @hourlyx)) . any('', '', ' ', ' x') if rand() < 0.03;
	my @kinds = any([ 1 .. 5 ], [ 1 .. 5 ], [ 1 .. 5 ], [ 0 .. 5 ], [ 0 .. 5 ], [ 1 .. 4 ], [ 0 .. 5, 5 ]);
	my @fields = map { my $k = $_; join ',', map { item($k) } 0 .. any(0, 0, 0, 1, 2) } map { @$_ } @kinds;
	return any('', '', ' ', "\t") . join(any(' ', ' ', '  ', "\t"), @fields) . any('', '', ' ');
}
sub mutated {
	my ($text) = @_;
	for (0 .. rand 2) {
		my $at = int rand(length($text) + 1);
		my $r = rand;
		if ($r < 0.4) { substr $text, $at, 0, any(split //, "0123456789*?/,-#LWlw@ abcjfmnosutehdirgvy\tx;+.%") }
		elsif ($r < 0.7 && $at < length $text) { substr $text, $at, 1, '' }
		elsif ($at < length $text) { substr $text, $at, 1, any(split //, "0123456789*?/,-#LW sunfri") }
	}
	return $text;
}

# One with only correct pieces, so that enough are taken.
sub fair {
	my @fields = map {
		my ($low, $high) = @{ $ranges[$_] };
		my @v = sort { $a <=> $b } map { $low + int rand($high - $low + 1) } 1, 2;
		any('*', '?', $v[0], "$v[0]-$v[1]", "$v[0],$v[1]", "*/$v[1]" =~ s{/0$}{/1}r, "$v[0]/5");
	} any(0, 1) .. 5;
	return join ' ', @fields;
}
my @texts = map { my $t = any(\&expression, \&expression, \&fair)->(); ($t, mutated($t), mutated(fair())) } 1 .. 7000;
# the parser's next instant comes behind the expression's number
my $dir = temp_directory();
my ($head) = grep { qx(printf '%s* * * * *\n' '$_' | $program) !~ /^error/ } '0 0 UTC standard ', '0 0 ';
spew("$dir/in", join '', map { "$head$_\n" } @texts);
my @c = split /\n/, qx($program < $dir/in), -1;
pop @c;
is scalar(@c), scalar(@texts), scalar(@texts) . ' expressions';

my $pg = schema();
spew("$dir/copy", join '', map { s/\\/\\\\/gr =~ s/\t/\\t/gr . "\n" } @texts);
$pg->query("CREATE TABLE texts (n serial, cron text, error text);\n\\copy texts (cron) from '$dir/copy'\nUPDATE texts SET error = jobq.cron_error(cron)");
my @sql = split /\n/, $pg->query("SELECT coalesce(error, '') FROM texts ORDER BY n"), -1;
is scalar(@sql), scalar(@texts), '… by both';
my @differ = grep { ($c[$_] =~ /^error/ ? 1 : 0) != ($sql[$_] ne '' ? 1 : 0) } 0 .. $#texts;
# S1-61, S2-63
is scalar(@differ), 0, 'both take the same' or diag map { "\"$texts[$_]\": C says \"$c[$_]\", SQL says \"$sql[$_]\"\n" } @differ[0 .. (@differ < 20 ? $#differ : 19)];
my $taken = grep { $_ eq '' } @sql;
cmp_ok $taken, '>', @texts / 10, "$taken taken, " . (@texts - $taken) . ' refused';
