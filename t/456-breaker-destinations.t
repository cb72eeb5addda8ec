# Circuit breakers of destinations: one webhook receiver of ten is dead, and
# jobs for it wait while the others go on; two nodes; a mail server that is
# down. S4-45
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new;
my ($port, $requests) = receiver('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw');
my $dead = free_port();
my $mail = free_port();
my $open = 3;
my $config = <<"YAML";
handlers:
  hook: {driver: http, allow_private: true, connect_timeout: 2s}
  fixed: {driver: http, allow_private: true, url: "http://127.0.0.1:$dead/{{data.path}}"}
  mailer: {driver: email, from: noreply\@example.com, server: "smtp://127.0.0.1:$mail", tls: off}
retry: {often: {attempts: 50, backoff: fixed, base: 20ms, jitter: 0}}
queues:
  hooks: {handler: hook, concurrency: 10, poll: 100ms, retry: often, breaker: {failures: 50%, of: 6, open: ${open}s}}
  fixed: {handler: fixed, concurrency: 4, poll: 100ms, retry: often, breaker: {failures: 50%, of: 6, open: ${open}s}}
  mail: {handler: mailer, workers: 2, poll: 100ms, retry: often, breaker: {failures: 50%, of: 6, open: ${open}s}}
YAML
my $d = Jobqd::Daemon->new(pg => $pg, name => 'one', config => $config);
$d->start;
(undef, my $out, my $err) = run_program([ jobqd_program(), '-V' ]);
plan skip_all => 'this build has no driver http or email' if "$out$err" !~ /http/ || "$out$err" !~ /email/;

my $dead_name = "http://127.0.0.1:$dead";
sub enqueue_to { my ($p, $n) = @_; return map { $pg->query("SELECT jobq.enqueue('hooks', 'event', jsonb_build_object('url', 'http://127.0.0.1:$p/ok/' || i, 'payload', '{}'::jsonb)) FROM generate_series(1, $n) i") =~ /\d+/g } 1 }
sub ids { return "ANY('{" . join(',', @_) . "}')" }
sub attempts_of { return $pg->query('SELECT count(*) FROM jobq.attempt WHERE job = ' . ids(@_)) }
sub charged_most { return $pg->query('SELECT max(attempt) FROM jobq.attempt WHERE job = ' . ids(@_)) }
sub breaker { my ($queue) = @_; return $pg->query("SELECT state FROM jobq.breakers WHERE queue = '$queue'") }
sub span { my ($queue) = @_; return split /\|/, $pg->query("SELECT extract(epoch FROM since), extract(epoch FROM until) FROM jobq.breakers WHERE queue = '$queue'") }
sub states { return $pg->query('SELECT string_agg(DISTINCT state, \' \' ORDER BY state) FROM jobq.jobs WHERE id = ' . ids(@_)) }
sub begun { my ($from, $to, @ids) = @_; return $pg->query("SELECT count(*) FROM jobq.attempt WHERE started_at > to_timestamp($from) AND started_at < to_timestamp($to) AND job = " . ids(@ids)) }

# One dead of ten: the address is the same, so nine ports of live receivers.
my @live = ($port, map { (receiver('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'))[0] } 1 .. 8);
my $alone = time;
my @before = map { enqueue_to($_, 100) } @live;
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'completed' AND id = " . ids(@before)) == 900 } 'jobs for the nine';
$alone = time - $alone;
my @lost = enqueue_to($dead, 1000);
wait_for { breaker('hooks') ne '' } 'the breaker of the dead one to open';
is $pg->query('SELECT DISTINCT destination FROM jobq.breakers'), $dead_name, 'the dead destination has a breaker that opened';
my $began = time;
my @fine = map { enqueue_to($_, 100) } @live;
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'completed' AND id = " . ids(@fine)) == 900 } 'jobs for the nine others';
my $took = time - $began;
is attempts_of(@fine), 900, sprintf 'nine live destinations of ten: 900 jobs in %.1f s beside 1,000 for the dead one (without those %.1f s)', $took, $alone;
wait_for { $pg->query("SELECT count(*) FROM jobq.timer WHERE destination = '$dead_name'") + 20 > 1000 } 'jobs for the dead one to wait';
is states(@lost) =~ /^(?:retrying )?scheduled$|^retrying$/ ? 1 : 0, 1, 'they wait as scheduled or retrying (' . states(@lost) . ')';
my $waiting = $pg->query('SELECT waiting FROM jobq.breakers');
cmp_ok $waiting, '>', 900, "$waiting wait for the breaker, by the view";
my $why = $pg->query("SELECT jobq.breaker_why(queue, job) FROM jobq.timer WHERE destination = '$dead_name' LIMIT 1");
like $why, qr{^the circuit breaker of \Q$dead_name\E is (?:open until|half-open).* after \d of 6 attempts failed: .*connect}, 'why';
is $pg->query("SELECT jobq.breaker_why((SELECT id FROM jobq.queue WHERE name = 'hooks'), $fine[0])"), '', '… and nothing of jobs that go elsewhere';
my $used = attempts_of(@lost);
cmp_ok $used, '<=', 30, "$used attempts of the 1,000 jobs for the dead one were made and charged before it opened";

# Over three probes: each costs one attempt, and the others are left alone.
my $mark = $d->log_size;
my ($first) = span('hooks');
my $probes = sub { my @all = $d->log =~ /breaker stays open\b.*?queue=hooks/g; return scalar @all };
my $was = $probes->();
wait_for { $probes->() >= $was + 3 } 'three probes';
my ($since) = span('hooks');
my $tried = begun($first + 0.5, $since + 0.5, @lost);
cmp_ok $tried, '<=', 4, sprintf '3 probes that failed in %.1f s: %d attempts of 1,000 jobs', $since - $first, $tried;
cmp_ok $tried, '>=', 2, '… which are the probes';
my $more = () = $d->log($mark) =~ /job deferred/g;
cmp_ok $more, '<=', 50, "… and $more jobs went through a worker to be handed back meanwhile";
my ($stopped) = $pg->query("SELECT job FROM jobq.timer WHERE destination = '$dead_name' LIMIT 1");
is $pg->query("SELECT jobq.cancel($stopped)"), 't', 'a job that waits can be cancelled';
is states($stopped), 'cancelled', '… at once';

# A second node obeys at once, also for its first job.
my $other = Jobqd::Daemon->new(pg => $pg, name => 'two', config => $config);
$other->start;
wait_for { $pg->query("SELECT count(DISTINCT node) FROM jobq.workers WHERE queue = 'hooks' AND state = 'idle'") == 2 } 'the second node';
wait_for { my (undef, $u) = span('hooks'); breaker('hooks') eq 'open' && $u - time > $open - 1 } 'it to be open for a while';
my (undef, $until) = span('hooks');
my @extra = enqueue_to($dead, 50);
wait_for { $pg->query("SELECT count(*) FROM jobq.timer WHERE destination = '$dead_name' AND job = " . ids(@extra)) == 50 } 'they wait as well';
is attempts_of(@extra), 0, 'two nodes: 50 more jobs wait without an attempt';
cmp_ok scalar(() = $other->log =~ /job deferred/g) + scalar(() = $d->log =~ /job deferred/g), '>', 0, '… refused by the workers of both';

# It comes back: the probe succeeds, and all the rest is called at once.
my $pid = background([ 'python3', source_directory() . '/t/receiver.py', $dead, "$pg->{dir}-revived", 'whsec_AAAA' ], log => "$d->{dir}/revived.log");
wait_port($dead);
@lost = grep { $_ != $stopped } @lost, @extra;
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'completed' AND id = " . ids(@lost)) == @lost } 'all jobs for the one that was dead';
is breaker('hooks'), 'closed', 'alive again: closed (S4-45)';
my ($closed) = span('hooks');
my $last = $pg->query('SELECT extract(epoch FROM max(finished_at)) FROM jobq.attempt WHERE job = ' . ids(@lost));
pass sprintf '%d jobs done %.1f s after it closed', scalar(@lost), $last - $closed;
is $pg->query('SELECT count(*) FROM jobq.timer WHERE destination IS NOT NULL'), 0, '… and nothing waits';
unlink "$pg->{dir}-revived";
$other->stop;

# A handler whose url is fixed: the queue waits, and its jobs stay where they are.
kill 'KILL', $pid;
waitpid $pid, 0;
my @fixed = $pg->query("SELECT jobq.enqueue('fixed', 'event', jsonb_build_object('path', i::text)) FROM generate_series(1, 200) i") =~ /\d+/g;
wait_for { breaker('fixed') eq 'open' } 'the breaker of the fixed url';
is $pg->query("SELECT destination FROM jobq.breakers WHERE queue = 'fixed'"), $dead_name, 'one fixed url: the breaker has its name';
(undef, $until) = span('fixed');
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'running' AND queue = 'fixed'") == 0 } 'what runs to end';
my $n = attempts_of(@fixed);
cmp_ok $n, '<=', 6 + 4 + 20, "$n attempts of 200 jobs before it opened";
is $pg->query("SELECT count(*) FROM jobq.timer WHERE destination IS NOT NULL"), 0, '… and the queue itself waits, not its jobs one by one';

# Mail: the server of the handler.
my @mails = $pg->query("SELECT jobq.enqueue('mail', 'note', jsonb_build_object('to', 'user' || i || '\@x.example', 'subject', 's', 'text', 't')) FROM generate_series(1, 60) i") =~ /\d+/g;
wait_for { breaker('mail') eq 'open' } 'the breaker of the mail server';
is $pg->query("SELECT destination FROM jobq.breakers WHERE queue = 'mail'"), "smtp://127.0.0.1:$mail", 'the mail server is down: its breaker is open';
($since, $until) = span('mail');
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'running' AND queue = 'mail'") == 0 } 'what runs to end';
$n = attempts_of(@mails);
wait_for { time > $until } 'its time to be over';
my $mailed = begun($since + 0.2, $until, @mails);
is $mailed, 0, sprintf '%d attempts to mail, then %d in the %d s it was open', $n, $mailed, $open;
my ($sink) = grep { -x } '/usr/sbin/smtp-sink', '/usr/lib/postfix/sbin/smtp-sink';
SKIP: {
	skip 'smtp-sink (package postfix) is missing', 2 unless $sink;
	background([ $sink, ($> == 0 ? ('-u', 'nobody') : ()), "127.0.0.1:$mail", 100 ], log => "$d->{dir}/sink.log");
	wait_port($mail);
	wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'completed' AND id = " . ids(@mails)) == 60 } 'all mails';
	is breaker('mail'), 'closed', 'smtp-sink is there: closed, and 60 mails of 60 are out';
	is $pg->query('SELECT count(*) FROM jobq.attempt WHERE class <> 0 AND job = ' . ids(@mails) . " AND started_at > (SELECT since FROM jobq.breakers WHERE queue = 'mail')"), 0,
	    '… none failed after that';
}
done_testing;
