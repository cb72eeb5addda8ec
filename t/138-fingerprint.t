# Failures of one kind have one fingerprint, those of different kinds have not:
# on messages as programs, libraries and servers write them. S2-58, S0-47.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

binmode Test::More->builder->$_, ':utf8' for qw(output failure_output);

# Each list is one kind.
my @kinds = (
	# what jobqd itself says
	[ 'exit status 1: cannot open /var/lib/app/17/a.txt: No such file or directory',
	    'exit status 1: cannot open /srv/app/some-thing/b.csv: No such file or directory' ],
	[ 'exit status 2: cannot open /var/lib/app/17/a.txt: No such file or directory' ],
	[ 'https://hooks.example.com/a/17?t=9: HTTP 500: {"error":"oops","id":17}',
	    'http://10.0.0.9:8080/b: HTTP 500: {"error":"broken","id":9}' ],
	[ 'https://hooks.example.com/a/17: HTTP 503: {"error":"oops","id":17}' ],
	[ '1 of 3 recipients refused, ann@example.com: 550 5.1.1 <ann@example.com>: Recipient address rejected: User unknown',
	    '2 of 17 recipients refused, bob.b+x@mail.example.org: 550 5.1.1 <bob.b+x@mail.example.org>: Recipient address rejected: User unknown' ],
	[ '1 of 3 recipients refused, ann@example.com: 452 4.2.2 <ann@example.com>: Mailbox full' ],
	[ 'its worker process died: signal 9 (Killed)' ],
	[ 'its worker process died: signal 11 (Segmentation fault)' ],
	[ 'not done within 60000 ms', 'not done within 5000 ms' ],
	# the network
	[ 'Could not resolve host: api.teams.example.com', 'Could not resolve host: mail-1.example.org' ],
	[ 'connect ECONNREFUSED 127.0.0.1:5432', 'connect ECONNREFUSED 10.12.0.4:6379',
	    'connect ECONNREFUSED ::1:5432', 'connect ECONNREFUSED fe80::1ff:fe23:4567:890a:5432' ],
	[ 'dial tcp 10.0.0.1:443: i/o timeout', 'dial tcp [2001:db8::7]:443: i/o timeout' ],
	[ 'Failed to connect to db-3.internal port 5432 after 2003 ms: Connection timed out',
	    'Failed to connect to localhost port 80 after 7 ms: Connection timed out' ],
	[ 'getaddrinfo ENOTFOUND graph.example.com', 'getaddrinfo ENOTFOUND login.example.net' ],
	[ 'SSL certificate problem: certificate has expired' ],
	[ 'no route from 3c:52:82:aa:bb:01', 'no route from 3c:52:82:01:02:ff' ],
	# databases
	[ 'ERROR: duplicate key value violates unique constraint "users_email_key" (SQLSTATE 23505)',
	    'ERROR: duplicate key value violates unique constraint "orders_pkey" (SQLSTATE 23505)' ],
	[ 'ERROR: duplicate key value violates unique constraint "users_email_key" (SQLSTATE 23P01)' ],
	[ 'Process 4711 waits for ShareLock on transaction 90871; blocked by process 4712.',
	    'Process 12 waits for ShareLock on transaction 90; blocked by process 14.' ],
	[ 'ORA-00001: unique constraint (APP.PK_7) violated' ],
	[ 'ORA-01017: invalid username/password; logon denied' ],
	[ 'E11000 duplicate key error collection: test.users index: email_1 dup key: { email: "a@example.com" }',
	    'E11000 duplicate key error collection: test.users index: email_1 dup key: { email: "other" }' ],
	# languages
	[ "TypeError: Cannot read properties of undefined (reading 'id')\n    at f (/app/src/a.js:10:5)\n    at g (/app/b.js:1:2)",
	    "TypeError: Cannot read properties of undefined (reading 'name')\n    at h (/app/src/c.js:11:5)" ],
	[ 'java.lang.NullPointerException: account 17 is missing', 'java.lang.NullPointerException: account 18 is missing' ],
	[ 'java.lang.IllegalStateException: account 17 is missing' ],
	[ "Traceback (most recent call last):\n  File \"/a/b.py\", line 3, in f\n    g()\nKeyError: 'user_17'\n",
	    "Traceback (most recent call last):\n  File \"/a/c.py\", line 30, in h\n    k(1)\nKeyError: 'tenant'" ],
	[ "Traceback (most recent call last):\n  File \"/a/b.py\", line 3, in f\n    g()\nValueError: 'user_17'\n" ],
	[ 'panic: runtime error: index out of range [5] with length 3', 'panic: runtime error: index out of range [17] with length 16' ],
	[ 'undefined method `foo\' for nil:NilClass', 'undefined method `bar_2\' for nil:NilClass' ],
	[ 'malloc(): corrupted top size at 0x7ffd3a2b10', 'malloc(): corrupted top size at 0x55e0c1' ],
	[ 'std::bad_alloc' ],
	[ "can't write C:\\Users\\ann\\a.txt: it isn't there", "can't write D:\\b.txt: it isn't there" ],
	[ "lib/app.rb:12: can't do that, it isn't allowed", "lib/some/other.rb:7: can't do that, it isn't allowed" ],
	# ids, times, amounts
	[ 'order 550e8400-e29b-41d4-a716-446655440000 not found', 'order 6BA7B810-9DAD-11D1-80B4-00C04FD430C8 not found' ],
	[ 'no such customer: cus_9s6XKzkNRiz8i3', 'no such customer: cus_NffrFeUfNV2Hib' ],
	[ 'commit 9fceb02 is gone', 'commit 4b825dc642cb6eb9a060e54bf8d69288fbee4904 is gone' ],
	[ 'token expired at 2026-11-26T10:00:00Z', 'token expired at 2026-01-02 03:04:05.678+01:00', 'token expired at Thu, 26 Nov 2026 11:56:50 GMT' ],
	[ 'ids 1, 2 and 3 are invalid', 'ids 17, 4 are invalid', 'ids 5 are invalid' ],
	[ 'balance -12.50 is below 1,000.00', 'balance 3 is below 7' ],
	[ 'worker12 gave up', 'worker7 gave up' ],
	[ 'Benutzer „Jörg“ unbekannt: “x”', 'Benutzer „Jörg“ unbekannt: “another one”' ],
	[ 'expected application/json and/or text/html' ],
	[ 'expected application/xml and/or text/html' ],
	[ "unterminated \"quote of 17 things", "unterminated \"quote" ],
	[ '' ], [ 'error' ], [ 'defaced feedback' ], [ "\n\n  second line counts \n", 'second line counts' ],
);

my $pg = Jobqd::Postgres->new;
my $words = slurp(source_directory() . '/src/db/sql/15-words.sql');
my ($functions) = $words =~ /^(create function jobq\.error_pattern.*?)^-- The row of a queue/ms;
$pg->query("SET check_function_bodies = off; CREATE SCHEMA jobq; $functions");

my $json = JSON::PP->new->utf8->canonical;
sub quoted { my ($text) = @_; $text =~ s/'/''/g; return "'$text'" }
my $list = quoted($json->encode([ map { my $k = $_; map { { kind => $k, error => $_ } } @{ $kinds[$k] } } 0 .. $#kinds ]));
my $got = $json->decode($pg->query(<<"SQL"));
SELECT json_agg(json_build_object('kind', (e ->> 'kind')::int, 'error', e ->> 'error', 'pattern',
    jobq.error_pattern(e ->> 'error'), 'fingerprint', jobq.fingerprint('t', 1::smallint, e ->> 'error')) ORDER BY n)
FROM jsonb_array_elements($list) WITH ORDINALITY x(e, n)
SQL
my (%of_kind, %kind_of);
for my $g (@$got) {
	push @{ $of_kind{ $g->{kind} } }, $g;
	push @{ $kind_of{ $g->{fingerprint} } }, $g;
}
for my $k (0 .. $#kinds) {
	my %patterns = map { $_->{fingerprint} => $_->{pattern} } @{ $of_kind{$k} };
	my ($pattern) = values %patterns;
	is scalar(keys %patterns), 1, 'one kind: ' . ($pattern eq '' ? '(empty)' : $pattern) or diag explain \%patterns;
}
my @mixed = grep { my %k = map { $_->{kind} => 1 } @$_; keys %k > 1 } values %kind_of;
# S0-74, S2-58
is scalar(@mixed), 0, sprintf 'no two of %d kinds are taken for one, of %d messages', scalar @kinds, scalar @$got
    or diag explain \@mixed;

# type and class belong to it
is $pg->query(q{SELECT count(DISTINCT f) FROM (VALUES (jobq.fingerprint('a', 1::smallint, 'x')), (jobq.fingerprint('b', 1::smallint, 'x')), (jobq.fingerprint('a', 5::smallint, 'x'))) v(f)}), 3,
    'type and class count, too';
is $pg->query(q{SELECT jobq.fingerprint('a', 1::smallint, null) = jobq.fingerprint('a', 1::smallint, '')}), 't', 'no error is an empty one';

# hostile text takes no time and does no harm
for my $flood ("'", '"', "'a", '/', '/a', 'a.', '0', '0a', ':', '::', '-', '#', ' ', '@', 'a@', 'http://', '\\\\', '1.', '`', 'a/', "\n", 'é', '0-', 'Jan ') {
	my $begin = time;
	utf8::encode(my $bytes = $flood);
	my $length = length $pg->query('SELECT jobq.error_pattern(repeat(' . quoted($bytes) . ', 4000))');
	cmp_ok $length, '<=', 1000, sprintf 'a flood of %s is a short pattern, in %.0f ms', $flood =~ s/\n/\\n/r, 1000 * (time - $begin);
}
my $begin = time;
$pg->query("SELECT count(jobq.error_pattern(e ->> 'error' || i)) FROM jsonb_array_elements($list) e, generate_series(1, 50) i");
note sprintf 'one costs %.0f µs', 1e6 * (time - $begin) / 50 / @$got;
done_testing;
