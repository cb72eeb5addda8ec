# The checklist: every item of the five systems has a test that cites it where it
# is proven; and what would be wrong with the list is found.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $program = "$FindBin::Bin/checklist";
my ($status, $out, $err) = run_program([ $program ]);
is $status, 0, 'every item is proven by the tests that the list names' or diag $err;
is $err, '', '… without a complaint';
my ($all) = $out =~ /^ +all +(.*)$/m;
is scalar(() = $out =~ /^S[0-4]-\d+  /mg), 346, 'items: ' . ($all // 'no summary');
note $out =~ s/.*\n\n//sr;

# The list with something wrong in it.
my $dir = temp_directory();
my $list = slurp("$FindBin::Bin/checklist.txt");
my ($line) = $list =~ /^(S0-46 .*\n)/m;
for my $case (
	[ 'a missing item', $list =~ s/\Q$line\E//r, qr/: S0-46 is missing$/m ],
	[ 'one that is there twice', $list . $line, qr/:\d+: S0-46 is there already, in line \d+$/m ],
	[ 'one that there is not', $list . 'S0-' . "77 | none | t/422-retries.t\n", qr/:\d+: no line of the form ITEM/ ],
	[ 'one without a proof', $list =~ s/^(S0-46 \|.*\|).*/$1/mr, qr/:\d+: no line of the form ITEM.*S0-46 is missing/s ],
	[ 'a test that there is not', $list =~ s{^(S0-46 .*)}{$1 t/999-none.t}mr, qr{:\d+: S0-46: there is no t/999-none\.t$}m ],
	[ 'a test that does not cite it', $list =~ s{^(S0-46 .*)}{$1 t/010-layers.t}mr, qr{:\d+: S0-46: t/010-layers\.t does not cite it below its head$}m ],
) {
	my ($what, $text, $says) = @$case;
	spew("$dir/list", $text);
	($status, undef, $err) = run_program([ $program, "$dir/list" ]);
	is $status, 1, "$what: exit 1";
	like $err, $says, '… and says so';
}
spew("$dir/list", $list =~ s/^(S0-46 \|.*\|).*/$1 does not apply: for the test/mr);
($status, $out) = run_program([ $program, "$dir/list" ]);
is $status, 0, 'one that does not apply';
like $out, qr/^S0-46 .*\n\tdoes not apply: for the test\n/m, '… says why';
like $out, qr/^S0 .* 75 proven, 1 do not apply$/m, '… and is counted apart';
done_testing;
