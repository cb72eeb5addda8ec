# The circuit breaker of a queue whose jobs name no destination (noop): it
# opens, nothing is tried while it is open, one probe, it closes; two nodes
# share it, and it outlives them. S4-45
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new;
sub config {
	my ($open, $more) = @_;
	return <<"YAML";
handlers: {null: {driver: noop}}
retry: {once: {attempts: 1}}
queues:
  work: {handler: null, workers: 2, poll: 100ms, retry: once, breaker: {failures: 50%, of: 20, open: $open}}
  plain: {handler: null, poll: 100ms, retry: once}
$more
YAML
}
my $d = Jobqd::Daemon->new(pg => $pg, name => 'one', config => config('3s', ''));
$d->start;
my $other = Jobqd::Daemon->new(pg => $pg, name => 'two', config => config('3s', ''));

sub enqueue { my ($n, $data, $queue) = @_; return split /\n/, $pg->query("SELECT jobq.enqueue('" . ($queue || 'work') . "', 't', '$data') FROM generate_series(1, $n)") }
sub attempts { return $pg->query("SELECT count(*) FROM jobq.attempt WHERE outcome <> 6 AND queue = (SELECT id FROM jobq.queue WHERE name = 'work')") }
sub breaker { return $pg->query("SELECT state FROM jobq.breakers WHERE queue = 'work' AND destination IS NULL") }
sub count_state { return $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'work' AND state = '$_[0]'") }
sub opened { my ($from) = @_; return $pg->query("SELECT extract(epoch FROM since), extract(epoch FROM until) FROM jobq.breakers WHERE queue = 'work'") }
# How many attempts began between these instants.
sub begun_between { my ($from, $to) = @_; return $pg->query("SELECT count(*) FROM jobq.attempt WHERE started_at > to_timestamp($from) AND started_at < to_timestamp($to) AND queue = (SELECT id FROM jobq.queue WHERE name = 'work')") }

# How often a probe failed since it opened, at a moment when none is under way,
# and how many attempts were made since the first could be.
my %mark;	# where the nodes' logs were then
sub probes {
	my ($first, @nodes) = @_;
	my ($probes, $tried);
	wait_for {
		my ($state, $until) = split /\|/, $pg->query("SELECT state, extract(epoch FROM until) FROM jobq.breakers WHERE queue = 'work'");
		return 0 if $state ne 'open' || $until < time + 1;
		$probes = () = join('', map { $_->log($mark{$_}) } @nodes) =~ /breaker stays open/g;
		$tried = begun_between($first - 0.1, time);
		$probes > 0 && $until > time;
	} 'a moment between two probes';
	return ($probes, $tried);
}

my $fail = '{"fail": "network", "message": "connection refused", "sleep_ms": 5}';

# What is wrong with the jobs themselves opens nothing.
enqueue(30, '{"fail": "validation"}');
enqueue(30, '{"fail": "auth"}');
wait_for { attempts() == 60 } 'jobs that are at fault themselves';
is breaker(), '', '60 failures of class validation and auth open nothing (S4-45)';
# Nor do too few.
enqueue(15, '{}');
wait_for { attempts() == 75 } 'some that succeed';
enqueue(9, $fail);
wait_for { attempts() == 84 } '9 that fail';
enqueue(1, '{}');
wait_for { attempts() == 85 } 'one that does not';
is breaker(), '', '9 failures of the last 20 are fewer than 50%';

# It opens.
my @failing = enqueue(100, $fail);
wait_for { breaker() eq 'open' } 'the breaker to open';
my ($since, $until) = split /\|/, opened();
wait_for { count_state('running') == 0 } 'what ran to end';
my $before = attempts();
my $failed = $before - 85;
cmp_ok $failed, '<=', 60, "it opened: $failed jobs of 100 failed";
is count_state('ready'), 100 - $failed, 'the others are ready and not run';
is $pg->query("SELECT max(attempt) FROM jobq.jobs WHERE state = 'ready' AND queue = 'work'"), 0, 'no attempt is charged to a job that waits';
like $pg->query("SELECT jobq.breaker_why(q.id, j.id) FROM jobq.jobs j JOIN jobq.queue q ON q.name = j.queue WHERE j.state = 'ready' LIMIT 1"),
    qr/^the circuit breaker of its queue is (?:open until \S+ \S+|half-open, .*) after 1\d of 20 attempts failed: connection refused$/, 'a job that waits says why';
is $pg->query("SELECT of || ' ' || last_error FROM jobq.breakers"), '20 connection refused', 'the view';
my (undef, $shown) = $d->ctl('queue', 'show', 'work');
like $shown, qr/\(all jobs\)\s+(?:open|half-open)\b.*\b20\b.*connection refused/, 'jobqctl queue show';
(undef, $shown) = $d->ctl('status');
like $shown, qr/^breakers: work \((?:open until|half-open)/m, 'jobqctl status';
like slurp($d->{log}), qr/breaker opened\b.*queue=work .*share=[01]\.\d+ failures=1\d of=20 .*connection refused/, 'the log';

# A probe that fails: one attempt, and it is open again.
my ($probes, $tried) = probes($until, $d);
is $tried, $probes, "then $probes probe(s), which failed: $tried attempt(s)";
my $while_open = begun_between($since + 0.2, $until);
# S4-45
is $while_open, 0, sprintf('%d jobs failed, then %d attempts in the %.1f s it was open', $failed, $while_open, $until - $since);

# It closes: the next probe is the first job of the queue, which succeeds.
is $pg->query("SELECT count(*) FROM jobq.queues WHERE name = 'work' AND ready > 0"), 1, 'jobs wait';
$pg->query("SELECT jobq.cancel(id) FROM jobq.jobs WHERE queue = 'work' AND state = 'ready'");
my @good = enqueue(50, '{"sleep_ms": 2}');
wait_for { breaker() eq 'closed' } 'the breaker to close';
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE id = ANY('{" . join(',', @good) . "}') AND state = 'completed' AND attempt = 1") == 50 } 'the rest';
pass 'closed after the probe: 50 jobs completed, each by its first attempt (S4-45)';
like slurp($d->{log}), qr/breaker closed\b.*queue=work/, '… and the log says so';

# Two nodes: what one opens the other obeys, and there is one probe.
$other->start;
wait_for { $pg->query("SELECT count(DISTINCT node) FROM jobq.workers WHERE queue = 'work' AND state = 'idle'") == 2 } 'both nodes';
enqueue(300, $fail);
wait_for { breaker() eq 'open' } 'it to open again';
($since, $until) = split /\|/, opened();
%mark = map { $_ => $_->log_size } $d, $other;
wait_for { count_state('running') == 0 } 'what ran to end';
is begun_between($since + 1, $until), 0, 'a second after it opened neither node begins an attempt';
($probes, $tried) = probes($until, $d, $other);
is $tried, $probes, "two nodes: $probes probe(s), $tried attempt(s)";

# It outlives both.
$d->stop;
$other->stop;
$d->configure(config('20s', ''));
$pg->query("UPDATE jobq.breaker SET state = 'open', until = clock_timestamp() + interval '20 s', prober = NULL");
$before = attempts();
$d->start;
wait_for { $pg->query("SELECT count(*) FROM jobq.workers WHERE queue = 'work' AND state = 'idle'") == 2 } 'the workers';
enqueue(20, '{}', 'plain');
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'plain' AND state = 'completed'") == 20 } 'a queue without one';
is attempts() - $before, 0, 'started again while it is open: no attempt';

# Killed while its probe is on its way: another is made.
$pg->query("SELECT jobq.cancel(id) FROM jobq.jobs WHERE queue = 'work' AND state = 'ready'");
my ($slow) = enqueue(1, '{"sleep_ms": 60000}');
$pg->query("UPDATE jobq.breaker SET until = clock_timestamp()");
$pg->query(q{SELECT pg_notify('jobq', '*breaker work')});
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $slow") eq 'running' } 'the probe to begin';
my @next = enqueue(5, '{}');
is $pg->query('SELECT state FROM jobq.breakers'), 'half-open', 'half-open while the probe runs';
$pg->query("SELECT jobq.cancel($slow)");
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE id = ANY('{" . join(',', @next) . "}') AND state = 'completed'") == 5 } 'the next probe and the rest';
is breaker(), 'closed', 'a probe that was cancelled passes its turn on';

# Taken out of the configuration.
enqueue(40, $fail);
wait_for { breaker() eq 'open' } 'it to open once more';
my $yaml = config('20s', '');
$yaml =~ s/, breaker: \{.*?\}//;
$d->configure($yaml);
$d->signal('HUP');
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'work' AND state IN ('ready', 'running')") == 0 } 'all jobs to run';
is $pg->query('SELECT count(*) FROM jobq.breakers'), 0, 'a queue that has no breaker any more waits for none';
done_testing;
