# Concurrency keys by SQL alone: at most so many of a key, in order with one.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More;

my $pg = schema();
queues($pg, one => { key => 'data.k' }, two => { key => 'data.k', per_key => 2 }, by => { key => 'tenant' }, plain => {});

# A leader: it knows what it has.
package Leader {
	sub new {
		my ($class, $queue, $node) = @_;
		my ($pool, $q) = Schema::pool($pg, $queue, $node || 'test');
		return bless { pool => $pool, q => $q, held => {} }, $class;
	}
	sub claim {
		my ($self, $n) = @_;
		my $keys = join ',', grep { length } values %{ $self->{held} };
		my @rows = map { [ split /\|/, $_, -1 ] } split /\n/, $pg->query(
		    "SELECT id || ':' || attempt, key FROM jobq.claim($self->{pool}, $self->{q}\::smallint, " . ($n || 100) . ', '
		    . keys(%{ $self->{held} }) . ", '{$keys}') WHERE id IS NOT NULL");
		$self->{held}{ $_->[0] } = $_->[1] for @rows;
		return map { $_->[0] } @rows;
	}
	sub end {
		my ($self, @leases) = @_;
		Schema::finish_ok($pg, $self->{pool}, @leases);
		delete @{ $self->{held} }{@leases};
	}
	sub fail {
		my ($self, $lease, $outcome, %o) = @_;
		Schema::finish_failed($pg, $self->{pool}, $lease, $outcome, %o);
		delete $self->{held}{$lease};
	}
}
package main;

sub put { my ($queue, $key, $n) = @_; return split /\n/, $pg->query("SELECT jobq.enqueue('$queue', data => '{\"k\":\"$key\"}') FROM generate_series(1, " . ($n || 1) . ')') }
sub first { return map { "$_:1" } @_ }

# one at a time, in order
my @a = put('one', 'a', 4);
my @b = put('one', 'b', 2);
my $l = Leader->new('one');
is_deeply [ $l->claim ], [ first($a[0], $b[0]) ], 'one of each key';
is_deeply [ $l->claim ], [], '… and no more while they run';
is state($pg, $a[1]), 'ready', 'the next is ready';
is $pg->query("SELECT ready FROM jobq.queues WHERE name = 'one'"), 4, '… and counted';
$l->end(first($a[0]));
is_deeply [ $l->claim ], [ first($a[1]) ], 'the next one when it has ended';
my ($late) = put('one', 'a');
$l->end(first($a[1]));
is_deeply [ $l->claim ], [ first($a[2]) ], 'in order: who waited goes before who came';
$l->fail("$a[2]:1", 2, delay => 3600000);
is_deeply [ $l->claim ], [], 'a job that waits for its next attempt keeps its key';
$pg->query("UPDATE jobq.timer SET run_at = now() WHERE job = $a[2]; SELECT setval('jobq.due_full', 0); SELECT jobq.due(10)");
is_deeply [ $l->claim ], ["$a[2]:2"], '… and runs before the others of the key';
$l->fail("$a[2]:2", 3);
is_deeply [ $l->claim ], [ first($a[3]) ], 'a dead one does not';
is $pg->query("SELECT jobq.cancel($late)"), 't', 'a parked job is cancelled';
$l->end(first($a[3]), first($b[0]));
is_deeply [ $l->claim ], [ first($b[1]) ], '… and not run';
is $pg->query('SELECT count(*) FROM jobq.parked'), 0, 'nothing is left';

# two nodes
my $m = Leader->new('one', 'other');
$l->end(first($b[1]));
my @c = put('one', 'c', 3);
is_deeply [ $l->claim ], [ first($c[0]) ], 'one node has the key';
is_deeply [ $m->claim ], [], '… the other not';
my @d = put('one', 'd', 2);
is_deeply [ $m->claim ], [ first($d[0]) ], '… but another key';
$l->end(first($c[0]));
is_deeply [ $l->claim ], [ first($c[1]) ], 'who frees a key may go on with it';
$pg->query("SELECT jobq.reap($l->{pool})");
is_deeply [ $m->claim ], ["$c[1]:2"], 'a pool that is reaped has no keys; its job goes first';
$m->end("$c[1]:2", first($d[0]));
is_deeply [ sort $m->claim ], [ sort(first($c[2], $d[1])) ], '… then the next';
$m->end(first($c[2], $d[1]));

# more than one
my @e = put('two', 'e', 5);
my $t = Leader->new('two');
is_deeply [ $t->claim ], [ first(@e[ 0, 1 ]) ], 'two of a key at a time';
$t->end(first($e[1]));
is_deeply [ $t->claim ], [ first($e[2]) ], '… and one more when one ended';
$t->fail("$e[0]:1", 2, delay => 3600000);
is_deeply [ $t->claim ], [ first($e[3]) ], 'where more than one may run none is kept back for a retry';

# by tenant; a key of its own; jobs without
$pg->query("SELECT jobq.enqueue('by', tenant => 'x'), jobq.enqueue('by', tenant => 'x'), jobq.enqueue('by')");
is scalar(Leader->new('by')->claim), 2, 'by tenant; who has none is not bound';
$pg->query("SELECT jobq.enqueue('plain', key => 'k'), jobq.enqueue('plain', key => 'k'), jobq.enqueue('plain')");
$pg->query(q{SELECT jobq.enqueue_many('plain', '[{"key":"k"},{"key":"j"},{}]')});
is scalar(Leader->new('plain')->claim), 4, 'a key that a job brings counts in any queue';

# one hot key does not stand in the way, however many it has
put('one', 'hot', 3000);
my ($cold) = put('one', 'cold');
my $h = Leader->new('one', 'third');
my @got = $h->claim(10);
is scalar(@got), 2, 'the hot key and the cold one behind it';
is $got[1], "$cold:1", '… in one claim';

# a job that keeps its key for its next attempt, and is one too many when its turn
# is looked at: it goes on, and its key is free after it
queues($pg, again => { key => 'data.k' });
my $w = Leader->new('again');
my ($kept) = put('again', 'kept');
$w->fail($w->claim, 2, delay => 3600000);
put('again', 'busy', 2);
$w->claim(1);
my ($free) = put('again', 'free');
$pg->query("UPDATE jobq.timer SET run_at = now() WHERE job = $kept; SELECT setval('jobq.due_full', 0); SELECT jobq.due(10)");
my ($after) = put('again', 'kept');
is_deeply [ $w->claim(1) ], [ first($free) ], 'one of two that may run';
is_deeply [ $w->claim(1) ], ["$kept:2"], '… the other is parked with the key it keeps, and is next';
$w->end("$kept:2");
is_deeply [ $w->claim(5) ], [ first($after) ], '… then the others of its key';

# held: types and tenants that are paused
$pg->query("SELECT jobq.pause('plain', type => 'bad'), jobq.pause('*', tenant => 'slow')");
my $p = Leader->new('plain', 'fourth');
$p->end($p->claim) for 1 .. 3;
my @h = split /\|/, $pg->query("SELECT jobq.enqueue('plain', 'bad'), jobq.enqueue('plain', 'good'), jobq.enqueue('plain', 'good', tenant => 'slow'), jobq.enqueue('plain', 'good', tenant => 'x')");
is_deeply [ $p->claim ], [ first(@h[ 1, 3 ]) ], 'held types and tenants are passed over';
is state($pg, $h[0]), 'ready', '… and ready';
$pg->query("SELECT jobq.resume('*', tenant => 'slow')");
is_deeply [ $p->claim ], [ first($h[2]) ], '… and its job runs';

# one at a time behind held ones, in a queue without keys
queues($pg, bare => {});
my $bare = Leader->new('bare');
$pg->query("SELECT jobq.pause('bare', type => 'bad')");
my ($bad) = $pg->query("SELECT jobq.enqueue('bare', 'bad') FROM generate_series(1, 3)");
my @good = split /\n/, $pg->query("SELECT jobq.enqueue('bare', 'good') FROM generate_series(1, 3)");
is_deeply [ map { $bare->claim(1) } 1 .. 4 ], [ first(@good) ], 'those behind held ones run, each once';
$pg->query("SELECT jobq.resume('bare', 'bad')");
is scalar($bare->claim), 3, '… and then the held ones';
done_testing;
