# Where very much is kept there are not more and more partitions, nor one that
# holds most of it: beyond ten, the next begins when this one is a growing part of all.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More;

my $pg = schema();
queues($pg, work => {});
sub live { return $pg->query("SELECT count(*) FROM jobq.part WHERE state = 'live'") }
# about so many times 6 kB
sub enqueue {
	$pg->query("SELECT jobq.enqueue_many('work', (SELECT jsonb_agg(jsonb_build_object('data', jsonb_build_object('x', (SELECT string_agg(md5(format('%s %s', i, k)), '')
	    FROM generate_series(1, 50) k)))) FROM generate_series(1, 4 * $_[0]) i))");
}
# "" or that the current partition is full, however young it is
sub cut { return $pg->query('SELECT jobq.part_cut(1)') }
sub next_part { maintain_until { $pg->query('SELECT count(*) FROM jobq.part WHERE lo > (SELECT last_value FROM jobq.job_id)') } $pg }

next_part(), enqueue(100), cut() for 1 .. 8;
next_part();
is live(), 10, 'ten partitions of the same size, of which one is empty, and the next';
enqueue(30);
like cut(), qr/^partition 9 is full/, 'a small one is followed by the next when it is as old or as large as it may be';
for ([ 10, 30, 100, 'an eleventh is not before it is an eighth of all', '… but then' ],
    [ 11, 150, 250, 'a twelfth is not before it is two eighths', '… but then' ],
    [ 12, 400, 500, 'a thirteenth is not before it is three', '… but then, so that no number is the last' ]) {
	my ($part, $few, $more, $not, $then) = @$_;
	next_part();
	enqueue($few);
	is cut(), '', $not;
	enqueue($more);
	like cut(), qr/^partition $part is full/, $then;
}
is live(), 13, 'that many are there';
is $pg->query("SELECT count(*) FROM jobq.job j WHERE j.id < 9000000000"), 4 * 830, 'with their jobs';
done_testing;
