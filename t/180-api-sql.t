# What the API asks the database for queues, dead letters, history and
# statistics, by SQL alone: pages that are whole, a tenant's share, and that a
# million jobs make none of it slow (S2-21, S2-22, S2-26, S3-29, S3-30, S4-21, S4-46).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP ();
use Schema;
use Test::More;
use Time::HiRes qw(time);

my $pg = schema(owner => 'owner');
queues($pg, mail => {}, slow => {}, work => {});
my %id = map { split /\|/ } split /\n/, $pg->query('SELECT name, id FROM jobq.queue');
my $s = $pg->session;
sub ask { return JSON::PP->new->decode(scalar $s->query("SELECT jobq.api_$_[0]")) }

# All pages of a list: the call with CURSOR in it.
sub pages {
	my ($call, $most) = @_;
	my ($cursor, @items) = ('NULL');
	for (1 .. ($most || 100)) {
		my $list = ask($call =~ s/CURSOR/$cursor/r);
		push @items, @{ $list->{items} };
		return @items unless defined $list->{next_cursor};
		$cursor = "'$list->{next_cursor}'";
	}
	return @items;
}

#
# a small world, exactly
#
my ($pool, $q) = pool($pg, 'work');
$pg->query("SELECT jobq.enqueue('work', 't' || i % 2, tenant => CASE WHEN i % 4 = 0 THEN 'acme' END) FROM generate_series(1, 40) i");
finish_ok($pg, $pool, claim($pg, $pool, $q, 10));
finish_failed($pg, $pool, $_, 3, error => 'no such thing: ' . (split /:/)[0]) for claim($pg, $pool, $q, 10);
$pg->query("SELECT jobq.enqueue('work', delay => '1 hour', tenant => 'acme') FROM generate_series(1, 3)");
my $work = ask("queue('work')");
is_deeply [ @{$work}{qw(completed dead ready scheduled running estimated)} ], [ 10, 10, 20, 3, 0, JSON::PP::false ], 'a queue, counted (S2-22, S4-21)';
my ($view) = JSON::PP->new->decode($pg->query("SELECT row_to_json(q) FROM jobq.queues q WHERE name = 'work'"));
is_deeply [ map { $work->{$_} } sort keys %$view ], [ map { $view->{$_} } sort keys %$view ], '… as the view has it, key by key';
is_deeply [ map { $_->{name} } pages('queues(1, CURSOR)') ], [ qw(mail slow work) ], 'queues, page by page';
is_deeply [ map { $_->{job_id} } pages('dead_letters(NULL, NULL, NULL, NULL, NULL, NULL, 3, CURSOR)') ],
    [ reverse split /\n/, $pg->query('SELECT job_id FROM jobq.dead_letters ORDER BY job_id') ], 'dead letters, page by page';
is scalar(pages("dead_letters(NULL, NULL, 't1', NULL, NULL, NULL, 3, CURSOR)")), 5, '… of a type';
is scalar(pages("dead_letters(true, NULL, NULL, NULL, NULL, NULL, 3, CURSOR)")), 0, '… reviewed ones';
my @groups = @{ ask('dead_groups(NULL, NULL, NULL, 50)')->{items} };
is_deeply [ sort map { "$_->{type} $_->{count}" } @groups ], [ 't0 5', 't1 5' ], '… by reason';
is_deeply [ map { "$_->{id} $_->{attempt}" } pages('history(NULL, NULL, NULL, NULL, NULL, NULL, 7, CURSOR)') ],
    [ split /\n/, $pg->query("SELECT job_id || ' ' || attempt FROM jobq.attempts ORDER BY finished_at DESC, job_id DESC") ], 'the history, page by page';
is scalar(pages("history('work', 't0', NULL, 'dead', NULL, NULL, 2, CURSOR)")), 5, '… with a filter';
my $stats = ask('stats(NULL)');
is_deeply [ @{ $stats->{total} }{qw(completed dead ready total)}, $stats->{total}{window}{failure_rate}, $stats->{dead_letters}{unreviewed} ],
    [ 10, 10, 20, 43, 0.5, 10 ], 'statistics of all';
like $s->query("SELECT jobq.api_queues(1, 'nonsense')"), qr/the cursor is none of this list/, 'a cursor of somebody else is refused';
like $s->query("SELECT jobq.api_queues(1, jobq.api_cursor('a', 'b'))"), qr/the cursor is none of this list/, '… also one of another list';
like $s->query("SELECT jobq.api_queue('werk')"), qr/there is no queue "werk".*HINT.*mail, slow, work/s, 'an unknown queue';
like $s->query('SELECT jobq.api_dead_letter(1)'), qr/is no dead letter/, 'no dead letter';
like $s->query('SELECT * FROM jobq.api_dead_plan(NULL, NULL, NULL, NULL, NULL, NULL, NULL)'), qr/which dead letters is not said/, 'all of them are not meant by saying nothing';

# a tenant's share
$s->query("SET jobq.tenant = 'acme'");
$work = ask("queue('work')");
is_deeply [ @{$work}{qw(dead ready scheduled)} ], [ 3, 5, 3 ], 'a tenant sees its share of a queue';
is_deeply [ grep { exists $work->{$_} } qw(settings limits breakers) ], [], '… and nothing of the configuration';
is scalar(pages('dead_letters(NULL, NULL, NULL, NULL, NULL, NULL, 2, CURSOR)')), 3, '… of the dead letters';
is_deeply [ map { $_->{count} } @{ ask('dead_groups(NULL, NULL, NULL, 50)')->{items} } ], [ 3 ], '… of the groups';
is scalar(pages('history(NULL, NULL, NULL, NULL, NULL, NULL, 2, CURSOR)')), 5, '… of the history';
is ask('stats(NULL)')->{dead_letters}{total}, 3, '… of the statistics';
my ($foreign) = split /\n/, $pg->query("SELECT job_id FROM jobq.dead_letters WHERE tenant IS NULL");
like $s->query("SELECT jobq.api_dead_letter($foreign)"), qr/is no dead letter/, "another's dead letter is none";
like $s->query("SELECT jobq.api_dead_retry($foreign, NULL)"), qr/is no dead letter/, '… and is not retried';
is $s->query('SELECT sum(cardinality(p)) FROM jobq.api_dead_plan(true, NULL, NULL, NULL, NULL, NULL, NULL) p'), 3, '… and all of them are the own ones';
$s->query("RESET jobq.tenant");

#
# a million ready, a million that ended, of which 250,000 are dead letters
#
$pg->query(<<"SQL");
DO \$\$ BEGIN PERFORM setval('jobq.job_id', 1000); END \$\$;
INSERT INTO jobq.job (id, queue, lane, created_at, type, data, tenant)
SELECT nextval('jobq.job_id'), CASE WHEN i <= 1000000 THEN $id{mail} ELSE $id{slow} END, 1280, now() - interval '1 day' + (i - 1) % 1000000 * interval '80 ms',
    't' || i % 5, '{}', CASE WHEN i % 1000 = 0 THEN 'rare' ELSE 'often' END FROM generate_series(1, 2000000) i;
INSERT INTO jobq.turn (job, slot, queue, lane, attempt) SELECT id, 0, queue, lane, 1 FROM jobq.job WHERE queue = $id{mail};
INSERT INTO jobq.attempt (job, attempt, queue, outcome, class, worker, started_at, finished_at, error)
SELECT id, 1, queue, CASE WHEN id % 4 = 0 THEN 3 ELSE 1 END, (id % 4 = 0)::int, 0, created_at, created_at + interval '1 s',
    CASE WHEN id % 4 = 0 THEN 'boom' END FROM jobq.job WHERE queue = $id{slow};
INSERT INTO jobq.dead (job, queue, attempt, class, fingerprint, died_at)
SELECT job, queue, 1, 1, 'f' || job / 4 % 7, finished_at FROM jobq.attempt WHERE queue = $id{slow} AND outcome = 3;
INSERT INTO jobq.total (queue, at, completed, dead)
SELECT queue, jobq.five_minutes(finished_at), count(*) FILTER (WHERE outcome = 1), count(*) FILTER (WHERE outcome = 3)
FROM jobq.attempt WHERE queue = $id{slow} GROUP BY 1, 2;
UPDATE jobq.part SET made_at = now() - interval '2 days';
SQL
$pg->query('SET client_min_messages = error; VACUUM ANALYZE');

sub timed {
	my ($call, $what) = @_;
	my $began = time;
	my $answer = ask($call);
	return ($answer, sprintf '%s: %d ms', $what, 1000 * (time - $began));
}
sub near { my ($is, $want, $part) = @_; return abs($is - $want) <= $part * $want }
ask('queues(50, NULL)');	# the first call of a session plans
my ($a, $said) = timed('queues(50, NULL)', 'all queues with 1,000,000 jobs ready and 250,000 dead letters');
my %of = map { $_->{name} => $_ } @{ $a->{items} };
ok near($of{mail}{ready}, 1e6, 0.02) && near($of{slow}{dead}, 250000, 0.4) && near($of{slow}{completed}, 750000, 0.02), $said;
ok $of{mail}{estimated} && !$of{work}{estimated}, '… what is estimated says so';
($a, $said) = timed('dead_letters(NULL, NULL, NULL, NULL, NULL, NULL, 50, NULL)', 'a page of dead letters');
is scalar(@{ $a->{items} }), 50, $said;
($a, $said) = timed("dead_letters(NULL, NULL, NULL, 'rare', NULL, NULL, 50, NULL)", '… of a tenant that is rare');
is scalar(@{ $a->{items} }), 50, $said;
($a, $said) = timed("dead_letters(true, NULL, NULL, NULL, NULL, NULL, 50, NULL)", '… that are not there: some of it, and where it goes on');
ok !@{ $a->{items} } && $a->{next_cursor}, $said;
($a, $said) = timed('dead_groups(NULL, NULL, NULL, 50)', 'groups of dead letters');
is scalar(grep { $_->{queue} eq 'slow' } @{ $a->{items} }), 7, $said;
($a, $said) = timed('stats(NULL)', 'statistics of all');
ok near($a->{total}{ready}, 1e6, 0.02), $said;
($a, $said) = timed("history('slow', NULL, NULL, NULL, NULL, NULL, 50, NULL)", 'a page of history of 1,000,000');
is scalar(@{ $a->{items} }), 50, $said;
my $first = $pg->query("SELECT max(job) FROM jobq.attempt WHERE queue = $id{slow}");
is $a->{items}[0]{id}, $first, '… the last one first';
($a, $said) = timed("history('slow', 't3', NULL, 'dead', NULL, NULL, 50, NULL)", '… of a type and a state');
is scalar(grep { $_->{type} eq 't3' && $_->{state} eq 'dead' } @{ $a->{items} }), 50, $said;
my @long = pages("history('slow', NULL, NULL, NULL, now() - interval '3 hours', NULL, 500, CURSOR)", 5);
is scalar(keys %{ { map { $_->{id} => 1 } @long } }), 2500, '… five pages without one twice';
is_deeply [ map { $_->{id} } @long ], [ split /\n/, $pg->query("SELECT job FROM jobq.attempt WHERE queue = $id{slow} AND finished_at > now() - interval '3 hours' ORDER BY finished_at DESC, job DESC LIMIT 2500") ], '… nor one left out';
$s->query("SET jobq.tenant = 'rare'");
($a, $said) = timed('queues(50, NULL)', "a tenant's share of the queues");
%of = map { $_->{name} => $_ } @{ $a->{items} };
ok near($of{mail}{ready}, 1000, 0.5), $said;
done_testing;
