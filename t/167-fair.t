# Fair queues and ageing by SQL alone.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More;

my $pg = schema();
queues($pg, fair => { fair => 'tenant', weights => { gold => 3 } }, region => { fair => 'data.region' }, aged => { ageing_ms => 60000 });

sub tenants {
	my ($pool, $q, $n) = @_;
	return join ' ', split /\n/, $pg->query("SELECT tenant FROM jobq.claim($pool, $q\::smallint, $n)");
}
sub put { my ($tenant, $n, $priority) = @_; $pg->query("SELECT count(jobq.enqueue('fair', tenant => '$tenant', priority => " . ($priority // 5) . ")) FROM generate_series(1, $n)") }

my ($pool, $q) = pool($pg, 'fair');
put('big', 2000);
put('small', 3);
put('tiny', 1);
is join(' ', sort split / /, tenants($pool, $q, 6)), 'big big big small small tiny', 'round robin, not by who came first';
is tenants($pool, $q, 1), 'small', 'it goes on behind the one that was served last';
is tenants($pool, $q, 1), 'big', '… and round';
put('small', 4);
my %got;
$got{ tenants($pool, $q, 1) }++ for 1 .. 6;
is_deeply \%got, { big => 3, small => 3 }, 'one by one, too';
is scalar(split / /, tenants($pool, $q, 500)), 500, 'one share alone gets all there is room for';
put('gold', 100);
my $many = join ' ', map { tenants($pool, $q, 8) } 1 .. 10;
my $gold = () = $many =~ /gold/g;
is $gold, 60, 'a weight: three of four';
put('urgent', 2, 1);
is tenants($pool, $q, 3) =~ s/ \w+$//r, 'urgent urgent', 'priorities come first';

# many tenants, all with much to do
$pg->query("SELECT jobq.enqueue_many('fair', (SELECT jsonb_agg(jsonb_build_object('tenant', 't' || t)) FROM generate_series(1, 100) t, generate_series(1, 20)))");
my %each;
$each{$_}++ for map { split / /, tenants($pool, $q, 50) } 1 .. 10;
my @n = sort { $a <=> $b } map { $each{"t$_"} || 0 } 1 .. 100;
cmp_ok $n[-1] - $n[0], '<=', 1, "of 100 tenants each gets as much: $n[0] to $n[-1] of 500";

# nothing is lost or given twice, with producers that commit late
my $late = $pg->session;
$late->query("BEGIN; SELECT jobq.enqueue('fair', tenant => 'late')");
my $total = $pg->query("SELECT ready FROM jobq.queues WHERE name = 'fair'");
my $n = 0;
while (my $some = () = tenants($pool, $q, 300) =~ /\w+/g) { $n += $some; $late->query('COMMIT') if $n > 1000 && $late; undef $late if $n > 1000 }
is $n, $total + 1, "all of $total, and the one that came late";
is $pg->query('SELECT count(*) - count(DISTINCT (u.job, u.attempt)) FROM jobq.claim c, unnest(c.jobs, c.attempts) u(job, attempt)'), 0, '… each once';

# shares that have nothing any more are given to others
for my $log (qw(turn claim)) {
	my $old = $pg->query("SELECT last_value FROM jobq.${log}_slot");
	$pg->query("SELECT setval('jobq.${log}_slot', 1 - $old)");
	put('again', 1), tenants($pool, $q, 1) if $log eq 'turn';
	maintain_until { $pg->query("SELECT pg_relation_size('jobq.${log}_$old')") == 0 } $pg;
}
is $pg->query("SELECT string_agg(value, ' ') FROM jobq.fair_share"), 'again', 'a share of which nothing is left is free for another value';

my ($rp, $rq) = pool($pg, 'region');
$pg->query("SELECT jobq.enqueue('region', data => jsonb_build_object('region', r)) FROM unnest('{eu,eu,eu,us}'::text[]) r; SELECT jobq.enqueue('region')");
is $pg->query("SELECT string_agg(coalesce(data::jsonb ->> 'region', '-'), ' ' ORDER BY id) FROM jobq.claim($rp, $rq\::smallint, 3)"), 'eu us -', 'by a member of the data; those without are one more';

# ageing
my ($ap, $aq) = pool($pg, 'aged');
my ($old) = $pg->query("SELECT jobq.enqueue('aged', priority => 9)");
$pg->query("SELECT count(jobq.enqueue('aged', priority => 1)) FROM generate_series(1, 100)");
my @ids = map { claim_ids($pg, $ap, $aq, 1) } 1 .. 8;
ok !grep({ $_ == $old } @ids), 'the urgent ones first';
$pg->query("UPDATE jobq.job SET created_at = now() - interval '2 minutes' WHERE id = $old");
@ids = map { claim_ids($pg, $ap, $aq, 1) } 1 .. 4;
is scalar(grep { $_ == $old } @ids), 1, 'one that has waited long is run among them';
done_testing;
