# Circuit breakers in SQL: who is granted the probe, what becomes of jobs that
# wait, and of what comes too late. S4-45
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Jobqd;
use Schema;
use Test::More;

my $pg = schema();
queues($pg, work => { breaker => JSON::PP::true() }, other => {});
my ($a, $q) = pool($pg, 'work', 'a');
my ($b) = pool($pg, 'work', 'b');
my $d = 'http://dead.example:80';

# What a leader says: opens, closes, reopens, passes, asks.
sub set {
	my ($pool, $change, %o) = @_;
	my ($name, $gate, $open) = ($o{name} // $d, $o{gate} ? 'true' : 'false', $o{open} // 60000);
	$pg->query("SELECT jobq.breaker_set($pool, $q\::smallint, '$name', '$change', $gate, 12, 20, $open, " . ($o{error} ? "'$o{error}'" : 'NULL') . ')');
}
sub look { return $pg->query("SELECT destination, half_open, ours FROM jobq.breaker_look($_[0], $q\::smallint)") }
sub row { return $pg->query("SELECT state, coalesce(prober::text, '-') FROM jobq.breaker WHERE destination = '" . ($_[0] // $d) . "'") }
sub over { $pg->query("UPDATE jobq.breaker SET until = clock_timestamp() - interval '1 ms' WHERE destination = '" . ($_[0] // $d) . "'") }
# Defer leases "id:attempt" to a destination: what is to run after all.
sub defer {
	my ($pool, @leases) = @_;
	my $jobs = join ',', map { (split /:/)[0] } @leases;
	my $attempts = join ',', map { (split /:/)[1] } @leases;
	my $names = join ',', map { qq("$d") } @leases;
	return $pg->query("SELECT job, probe FROM jobq.breaker_defer($pool, '{$jobs}', '{$attempts}', '{$names}')");
}
sub waiting { return $pg->query("SELECT count(*) FROM jobq.timer WHERE destination = '$d'") }
sub enqueue { return $pg->query("SELECT jobq.enqueue('work') FROM generate_series(1, $_[0])") =~ /\d+/g }

# Opening: the first one counts.
is look($a), '', 'nothing is open';
set($a, 'opens', error => 'refused');
set($b, 'opens', error => 'too late');
is $pg->query('SELECT queue, destination, state, failures, of, last_error FROM jobq.breakers'), "work|$d|open|12|20|refused", 'opened once (S4-45)';
is look($b), "$d|f|f", 'another pool of the queue sees it';
set($b, $_) for qw(closes reopens passes asks);
is row(), 'open|-', 'who does not make the probe changes nothing; while it is open there is none';

# Jobs that are for it are handed back, uncharged, and wait.
my @jobs = enqueue(5);
my @leases = claim($pg, $a, $q);
is scalar(@leases), 5, 'five jobs on lease';
is defer($a, @leases), '', 'all of them wait';
is waiting(), 5, '… as timers';
is $pg->query('SELECT count(*) FROM jobq.lease'), 0, '… not on lease any more';
is $pg->query('SELECT count(*) FROM jobq.attempt'), 0, '… and nothing is charged';
is join(' ', map { state($pg, $_) } @jobs), join(' ', ('scheduled') x 5), '… scheduled';
is $pg->query("SELECT bool_and(run_at > b.until) FROM jobq.timer t JOIN jobq.breaker b USING (destination)"), 't', '… not before it may be tried';
is_deeply [ claim($pg, $a, $q) ], [], '… and not claimed';
is defer($a, @leases), '', 'said twice since an answer was lost';
is waiting(), 5, '… is said once';
like $pg->query("SELECT jobq.breaker_why($q\::smallint, $jobs[0])"), qr/^the circuit breaker of \Q$d\E is open until \S+ \S+ after 12 of 20 attempts failed: refused$/, 'why';
is $pg->query("SELECT jobq.cancel($jobs[4])"), 't', 'one is cancelled';
is state($pg, $jobs[4]), 'cancelled', '… at once';

# The time is over: one is called, and whoever has it makes the probe.
over();
is $pg->query('SELECT state FROM jobq.breakers'), 'half-open', 'half-open by its time';
is $pg->query(join ';', map { "SELECT destination, half_open, ours FROM jobq.breaker_look($_, $q\::smallint)" } $b, $a), "$d|t|f\n$d|t|f", 'two looks';
is waiting(), 3, '… call one of those that wait';
$pg->query('UPDATE jobq.breaker SET called_at = called_at - interval $$2 s$$');
look($a);
is waiting(), 2, '… and another one when that one has not come for a while';
my ($probe) = claim($pg, $b, $q, 1);
my ($one) = enqueue(1);
@leases = claim($pg, $a, $q);
is defer($b, $probe), (split /:/, $probe)[0] . '|t', 'it is granted the probe';
is row(), "half-open|$b", '… by the row';
is defer($a, @leases), '', 'jobs of another pool are not';
is waiting(), 4, '… and wait';
is look($b), "$d|t|t", 'its pool knows whose it is';
set($a, 'closes');
set($a, 'asks');
is row(), "half-open|$b", 'nobody else decides';

# It fails; the next time the pool that makes the probe is gone.
finish_failed($pg, $b, $probe, 3);
set($b, 'reopens', error => 'refused again');
is row(), 'open|-', 'it failed: open again';
is $pg->query('SELECT last_error, failures FROM jobq.breakers'), 'refused again|12', '… for the newest reason';
is look($a), "$d|f|f", '… for its time';
over();
look($a);
is waiting(), 3, 'the next is called';
$pg->query('UPDATE jobq.breaker SET called_at = called_at + interval $$1 h$$');
($probe) = claim($pg, $b, $q);
is defer($b, $probe), (split /:/, $probe)[0] . '|t', '… by one pool';
$pg->query("SELECT jobq.reap($b)");
is look($a), "$d|t|f", 'which is gone then';
@leases = claim($pg, $a, $q);
is scalar(@leases), 1, 'its job is taken by another';
is defer($a, @leases), (split /:/, $leases[0])[0] . '|t', '… and is the probe again';

# A turn that was passed on, and a success: all that wait are called.
set($a, 'passes');
is row(), 'half-open|-', 'passed on';
is defer($a, @leases), (split /:/, $leases[0])[0] . '|t', '… and granted again';
finish_ok($pg, $a, @leases);
set($a, 'closes');
is row(), 'closed|-', 'closed';
is waiting(), 0, 'nobody waits any more';
is scalar(@leases = claim($pg, $a, $q)), 3, '… all have their turn';
is defer($a, $leases[0]), (split /:/, $leases[0])[0] . '|f', 'who comes late to wait for it is told to run';
is look($a), '', 'nothing is open';
is scalar(finish_ok($pg, $a, @leases)), 3, 'done';
is $pg->query("SELECT string_agg(attempt::text, ' ') FROM jobq.attempt WHERE job = $one"), 1, '… by its first attempt, though it was handed back meanwhile';

# The gate of a queue: asked for.
set($a, 'opens', name => '', gate => 1, error => 'down');
($one) = enqueue(1);
is $pg->query("SELECT destination IS NULL, waiting FROM jobq.breakers WHERE state = 'open'"), 't|1', 'a gate has no name here, and what is ready waits for it';
like $pg->query("SELECT jobq.breaker_why($q\::smallint, $one)"), qr/^the circuit breaker of its queue is open until/, 'why';
set($a, 'asks', name => '');
is row(''), 'open|-', 'asked for too early';
over('');
my ($c) = pool($pg, 'work', 'c');
my @sessions = map { $pg->session } $a, $c;
$_->query('SELECT 1') for @sessions;
$sessions[0]->send("SELECT jobq.breaker_set($a, $q\::smallint, '', 'asks', true, 0, 0, 1000, NULL)");
$sessions[1]->send("SELECT jobq.breaker_set($c, $q\::smallint, '', 'asks', true, 0, 0, 1000, NULL)");
$_->answer for @sessions;
like row(''), qr/^half-open\|(?:$a|$c)$/, 'asked for by two at once: one has it';
is scalar(() = join("\n", look($a), look($c)) =~ /\|t\|t/g), 1, '… and one knows so';

# What was the queue's only destination is one of several by another configuration.
set($a, 'opens', gate => 1, error => 'x');
@leases = claim($pg, $a, $q);
is defer($a, @leases), '', 'a gate that is one no more: jobs wait for it all the same';
over();
look($c);
is waiting(), 0, '… and are called';
@leases = claim($pg, $a, $q);
defer($a, @leases);
finish_ok($pg, $a, @leases);
set($a, 'closes');

# No breaker any more; and what is old goes.
set($a, 'opens', error => 'x');
enqueue(1);
@leases = claim($pg, $a, $q);
defer($a, @leases);
is waiting(), 1, 'one waits';
queues($pg, work => {}, other => {});
is waiting(), 0, 'a queue without breakers has nobody wait';
is $pg->query('SELECT count(*) FROM jobq.breaker'), 0, '… and none';
is scalar(claim($pg, $a, $q)), 1, '… but a turn';
set($a, 'opens', name => "http://h$_:80") for 1 .. 3;
$pg->query(q{UPDATE jobq.breaker SET since = now() - interval '2 days', until = now() - interval '2 days'});
set($a, 'opens', name => 'http://h4:80');
is $pg->query('SELECT string_agg(destination, $$ $$) FROM jobq.breaker'), 'http://h4:80', 'those that nobody goes to are forgotten after a day';
done_testing;
