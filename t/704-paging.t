# Lists of jobs over HTTP: filters, counts, and pages that neither repeat nor leave
# out a job while rows come, move and go (S2-24, S3-24, S3-33, S4-22).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $port = free_port();
Api::tokens("$dir/tokens", [qw(ops operator * ops)]);
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers: {null: {driver: noop}}
retry: {once: {attempts: 1}}
queues: {work: {handler: null, workers: 2, retry: once}, later: {handler: null, workers: 1}, off: {handler: null, enabled: false}}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens, rate_limit: 100000/s}
YAML
$d->start;
my $api = Api->new("127.0.0.1:$port", 'ops');

# All pages: their items, after calling something between two of them.
sub pages {
	my ($query, $between) = @_;
	my (@items, $cursor, $n);
	do {
		my $r = $api->get("/v1/jobs?$query" . (defined $cursor ? "&cursor=$cursor" : ''));
		die "$r->{status} $r->{body}\n" unless $r->{status} == 200;
		push @items, @{ $r->{json}{items} };
		$cursor = $r->{json}{next_cursor};
		$between->(++$n) if $between;
	} while (defined $cursor);
	return @items;
}
sub ids { return map { $_->{id} } @_ }

#
# filters
#
$pg->query("SELECT jobq.enqueue('off', 't' || i % 3, jsonb_build_object('n', i, 'user', jsonb_build_object('id', 'u' || i % 10)),
    tenant => 'x' || i % 2, tags => array['g' || i % 5, 'all']) FROM generate_series(1, 300) i");
my @all = pages('queue=off&limit=1000');
is scalar(@all), 300, 'all of a queue (S1-25, S2-24, S3-24, S3-33, S4-22)';
is_deeply [ids(@all)], [sort { $b <=> $a } ids(@all)], 'the newest first';
for my $case (
	['type=t1', sub { $_[0]{type} eq 't1' }], ['tenant=x0', sub { $_[0]{tenant} eq 'x0' }],
	['tag=g3', sub { grep { $_ eq 'g3' } @{ $_[0]{tags} } }], ['tag=all', sub { 1 }], ['tag=none', sub { 0 }],
	['data.n=77', sub { $_[0]{data}{n} == 77 }], ['data.user.id=u4', sub { $_[0]{data}{user}{id} eq 'u4' }],
	['data.user.id=u4&type=t2', sub { $_[0]{data}{user}{id} eq 'u4' && $_[0]{type} eq 't2' }],
	['state=ready', sub { 1 }], ['state=dead', sub { 0 }],
	['data.n=%27%3B--', sub { 0 }], ['type=t%25', sub { 0 }], ['data.%27%29=1', sub { 0 }],
) {
	my ($query, $fits) = @$case;
	for my $limit (7, 1000) {
		is_deeply [ids(pages("queue=off&limit=$limit&$query"))], [ids(grep { $fits->($_) } @all)], "$query by $limit (S1-25, S2-24, S4-22, S4-46)";
	}
	my $r = $api->get("/v1/jobs?queue=off&limit=1&count=yes&$query");
	is_deeply [@{ $r->{json} }{qw(count exact)}], [scalar(grep { $fits->($_) } @all), JSON::PP::true], '… counted';
}
my $middle = $all[150]{created_at} =~ s/\+/%2B/r;
is scalar(pages("queue=off&since=$middle")) + scalar(pages("queue=off&until=$middle")), 300, 'since and until are two halves';
my $big = $api->post('/v1/jobs', { queue => 'off', data => { text => 'x' x 5000 } })->{json}{id};
my ($item) = @{ $api->get('/v1/jobs?queue=off&limit=1')->{json}{items} };
is_deeply [$item->{id}, $item->{data}, $item->{omitted}], [$big, undef, ['data']], 'large data is not in the list, which says so (S4-46)';

#
# while rows move
#
$pg->query("SELECT jobq.enqueue('later', delay => '1 hour') FROM generate_series(1, 500)");
my %stay = map { $_ => 1 } split /\n/, $pg->query("SELECT id FROM jobq.jobs WHERE queue = 'later' AND id % 3 <> 0");
my @seen = ids(pages('queue=later&limit=20', sub {
	$api->post('/v1/jobs/batch', { queue => 'later', jobs => [map { { delay => '1h' } } 1 .. 7] });
	$pg->query("SELECT jobq.delete(id) FROM (SELECT id FROM jobq.jobs WHERE queue = 'later' AND id % 3 = 0 ORDER BY random() LIMIT 5) k");
	$pg->query("SELECT jobq.cancel(id) FROM (SELECT id FROM jobq.jobs WHERE queue = 'later' AND state = 'scheduled' AND id % 3 = 1 ORDER BY random() LIMIT 5) k");
}));
my %seen;
$seen{$_}++ for @seen;
is scalar(grep { $_ > 1 } values %seen), 0, sprintf 'no job is there twice (%d seen)', scalar @seen;
is scalar(grep { !$seen{$_} } keys %stay), 0, 'and none that stays is left out';
# … and from ready over running to completed.
my @made = @{ $api->post('/v1/jobs/batch', { queue => 'work', jobs => [map { { data => { sleep_ms => 1 } } } 1 .. 2000] })->{json}{ids} };
my ($rounds, %twice) = (0);
do {
	%seen = ();
	$seen{$_}++ for ids(pages('queue=work&limit=100'));
	$twice{$_}++ for grep { $seen{$_} > 1 } keys %seen;
	$twice{$_}++ for grep { !$seen{$_} } @made;
	$rounds++;
	%seen = ();
	$seen{$_}++ for ids(pages('queue=work&limit=100&state=completed'));
	$twice{$_}++ for grep { $seen{$_} > 1 } keys %seen;
} until (scalar(keys %seen) == 2000 || $rounds > 300);
is scalar(keys %seen), 2000, "all completed in the end, after $rounds times through the list";
is scalar(keys %twice), 0, 'and never one twice or missing';

#
# many
#
$pg->query("INSERT INTO jobq.job (id, queue, lane, created_at, type, data) SELECT nextval('jobq.job_id'), q.id, 1280, now(),
    CASE WHEN g % 10000 = 7 THEN 'rare' ELSE 'common' END, jsonb_build_object('n', g) FROM generate_series(1, 200000) g, jobq.queue q WHERE q.name = 'off'");
for my $query ('', 'type=rare', 'data.n=5', 'state=ready', 'state=completed', 'state=dead', 'queue=later', 'count=yes', 'type=none') {
	my $from = time;
	my $r = $api->get("/v1/jobs?limit=50&$query");
	is $r->{status}, 200, sprintf 'with 200,000 more jobs: "%s" has %d in %.0f ms', $query, scalar @{ $r->{json}{items} }, 1000 * (time - $from);
}
is scalar(pages('type=rare')), 20, 'a few among many are all found';
my $r = $api->get('/v1/jobs?count=yes&limit=1');
is_deeply [@{ $r->{json} }{qw(count exact)}], [10000, JSON::PP::false], 'a count ends at 10,000, and says so';
done_testing;
