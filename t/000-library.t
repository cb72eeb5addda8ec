# The test library itself: a PostgreSQL, interleaved sessions, waiting.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 6;

my $pg = Jobqd::Postgres->new;
is $pg->query('SELECT 6*7'), '42', 'a query is answered';
my ($status, undef, $error) = $pg->try_query('SELECT nothing');
isnt $status, 0, 'an error is a status';
like $error, qr/column "nothing" does not exist/, '… and its text';

$pg->query('CREATE TABLE seen (n int)');
my $a = $pg->session;
my $b = $pg->session;
$a->query('BEGIN; INSERT INTO seen VALUES (1)');
is $b->query('SELECT count(*) FROM seen'), '0', 'an open transaction is not seen by another session';
$a->query('COMMIT');
is $b->query('SELECT count(*) FROM seen'), '1', '… until it commits';
ok !eval { wait_for { 0 } 'never', 0.05; 1 }, 'waiting ends at its deadline';
