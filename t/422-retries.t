# Retries: each policy's delays as its formula says, whatever failed and
# whoever said how long to wait; on two nodes that share a queue.
#
# A delay is what the database was told: the time of the next attempt less the
# end of the one that failed, exact to the millisecond. A retry by hand takes
# the place of the wait, so that 625 seconds cost none.
#
# S0-4 S0-46 S0-47 S0-48 S0-51 S1-20 S1-21 S1-22 S2-16 S2-17 S2-18 S2-19 S2-20
# S3-4 S4-32 S4-33
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use List::Util qw(max min sum);
use Test::More;

# What answers /STATUS/RETRY-AFTER, and an OAuth server whose tokens are taken
# back by /revoke; /hold/N answers once /release/N was called.
my ($port, $dir) = (free_port(), temp_directory());
Jobqd::background([ 'python3', '-c', <<'PY', $port, "$dir/requests" ], log => "$dir/server.log");
import email.utils, http.server, json, socketserver, sys, threading, time, urllib.parse
out, lock, held = open(sys.argv[2], "a", buffering=1), threading.Lock(), {}
good, given = set(), 0
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        global given
        self.rfile.read(int(self.headers.get("content-length", 0)))
        part = self.path.split("/")[1:]
        token, status, headers, answer = self.headers.get("authorization", "-").split()[-1], 200, {}, {}
        with lock:
            hold = held.setdefault(part[-1], threading.Event())
            if part[0] == "token":
                given += 1
                token = "t%d" % given
                good.add(token)
                answer = {"access_token": token, "expires_in": 3600}
            elif part[0] == "revoke":
                good.clear()
            elif part[0] == "guarded" and token not in good:
                status = int(part[1])
        if part[0] == "release":
            hold.set()
        elif part[0] == "hold":
            out.write(json.dumps(["held", part[-1]]) + "\n")
            hold.wait()
        elif part[0].isdigit():
            status = int(part[0])
            after = urllib.parse.unquote(part[1]) if len(part) > 1 else ""
            if after.startswith("+"):
                after = email.utils.formatdate(int(time.time()) + int(after[1:]), usegmt=True)
            if after != "":
                headers["Retry-After"] = after
        out.write(json.dumps([self.path, token, status]) + "\n")
        text = json.dumps(answer).encode()
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k, v)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *a): pass
class S(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads, request_queue_size = True, 100
S(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
PY
wait_port($port);
my $base = "http://127.0.0.1:$port";
sub call { system('curl', '-sf', '-o', '/dev/null', '-X', 'POST', "$base/$_[0]") == 0 or die "curl: $?\n" }
my $seen = sub { my ($path) = @_; return grep { $_->[0] eq $path } json_lines("$dir/requests") };

my $pg = Jobqd::Postgres->new;
my $config = <<"YAML";
handlers:
  null: {driver: noop}
  call: {driver: http, allow_private: true}
  sure: {driver: http, allow_private: true, auth: {oauth2: {token_url: "$base/token", client_id: me, client_secret: word}}}
retry:
  graph:                                # S2-16 … S2-19
    attempts: 6
    backoff: [1s, 2s, 4s, 8s, 16s]
    jitter: 0%
    on:
      rate_limit: {attempts: 6, backoff: exponential, base: 1s, factor: 2, max: 1h}
      auth:       {attempts: 2, backoff: fixed, base: 4s}
  crashes: {attempts: 20, backoff: fixed, base: 50ms, jitter: 0%, max_crashes: 2}
queues:
  s0:      {handler: null, retry: {attempts: 9, backoff: exponential, base: 1000ms, factor: 2, max: 60000ms, jitter: 0%}}
  s0-mail: {handler: null, retry: {attempts: 3, backoff: exponential, base: 2000ms, jitter: 0%}}
  s1:      {handler: null, retry: {retries: 3, backoff: polynomial, base: 1s, exponent: 2, jitter: 0%}}
  s2:      {handler: null, retry: graph}
  s3:      {handler: null, retry: {retries: 2, base: 2s, jitter: 0%}}
  s4:      {handler: null, retry: {attempts: 5, backoff: exponential, base: 5s, factor: 5, max: 1h, jitter: 0%}}
  s4-hook: {handler: null, retry: {attempts: 5, backoff: exponential, base: 10s, factor: 5, max: 1h, jitter: 0%}}
  lines:   {handler: null, retry: {attempts: 5, backoff: linear, base: 7s, jitter: 0%}}
  fixed:   {handler: null, retry: {attempts: 4, backoff: fixed, base: 90s, jitter: 0%}}
  spread:  {handler: null, concurrency: 50, retry: {attempts: 2, backoff: fixed, base: 100s, jitter: 20%}}
  calls:   {handler: call, workers: 1, concurrency: 20, retry: graph}
  sure:    {handler: sure, workers: 2, concurrency: 1, retry: graph}
  real:    {handler: null, workers: 1, concurrency: 10, retry: {attempts: 6, backoff: [100ms, 200ms, 400ms, 300ms, 50ms], jitter: 0%}}
  crashes: {handler: null, workers: 1, concurrency: 10, retry: crashes}
YAML
my $d = Jobqd::Daemon->new(pg => $pg, config => $config, name => 'one');
$d->start;

my $state = sub { $pg->query("SELECT state FROM jobq.jobs WHERE id = $_[0]") };
my $add = sub {
	my ($queue, $data, $more) = @_;
	return $pg->query("SELECT jobq.enqueue('$queue', 'try', '$data'" . ($more ? ", $more" : '') . ')');
};

# What was written down as the time of the next attempt, each time.
$pg->query(<<'SQL');
CREATE TABLE waited (job bigint, attempt int, run_at timestamptz);
CREATE FUNCTION note_wait() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO waited VALUES (new.job, new.attempt - 1, new.run_at); RETURN NULL; END $$;
CREATE TRIGGER note_wait AFTER INSERT ON jobq.timer FOR EACH ROW EXECUTE FUNCTION note_wait();
CREATE VIEW delays AS SELECT a.*, round(extract(epoch FROM w.run_at - a.finished_at) * 1000, 3) AS ms
FROM waited w JOIN jobq.attempts a ON a.job_id = w.job AND a.attempt = w.attempt;
SQL

# Let a job run until it is dead: the delays it was given, in milliseconds.
sub delays {
	my ($id) = @_;
	wait_for {
		$pg->query("SELECT jobq.retry(id) FROM jobq.jobs WHERE id = $id AND state = 'retrying'
		    AND run_at > clock_timestamp() + interval '100 ms'");
		$state->($id) eq 'dead';
	} "job $id";
	return split /\n/, $pg->query("SELECT ms FROM delays WHERE job_id = $id ORDER BY attempt");
}

sub delays_are {
	my ($what, $id, @want) = @_;
	my @have = delays($id);
	my $off = @have == @want ? max(0, map { abs($have[$_] - $want[$_]) } 0 .. $#want) : 1e9;
	cmp_ok $off, '<=', 1, sprintf '%s: wanted %s, found %s', $what, map { @$_ ? "@$_ ms" : 'none' } \@want, \@have;
}
my $fails = '{"fail": "network"}';

# The five seeds.
delays_are 'S0-46 base 1 s, factor 2, at most 60 s', $add->('s0', $fails), 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000;
delays_are 'S0-4 base 2 s', $add->('s0-mail', $fails), 2000, 4000;
delays_are 'S1-20 squares', $add->('s1', $fails), 1000, 4000, 9000;
delays_are 'S2-17 network', $add->('s2', $fails), 1000, 2000, 4000, 8000, 16000;
delays_are 'S2-16 rate limit', $add->('s2', '{"fail": "rate_limit"}'), 1000, 2000, 4000, 8000, 16000;
delays_are 'S2-18 authentication: once more', $add->('s2', '{"fail": "auth"}'), 4000;
my $invalid = $add->('s2', '{"fail": "validation", "message": "no such chat"}');
delays_are 'S2-19 validation: not again', $invalid;
is $pg->query("SELECT error_class, error, attempts FROM jobq.dead_letters WHERE job_id = $invalid"), 'validation|no such chat|1',
    '… but straight to the dead letters';
delays_are 'S3-4 three times from 2 s', my $s3 = $add->('s3', $fails), 2000, 4000;
delays_are 'S4-32 by five', $add->('s4', $fails), 5000, 25000, 125000, 625000;
delays_are 'S4-33 webhooks from 10 s', $add->('s4-hook', $fails), 10000, 50000, 250000, 1250000;
delays_are 'linear', $add->('lines', $fails), 7000, 14000, 21000, 28000;
delays_are 'fixed', $add->('fixed', $fails), 90000, 90000, 90000;
delays_are 'S1-21 attempts of a job itself, more', $add->('s3', $fails, 'max_attempts => 5'), 2000, 4000, 8000, 16000;
delays_are 'S1-21 and less', $add->('s0', $fails, 'max_attempts => 2'), 1000;
delays_are 'S1-22 a rule bounds a job\'s own', $add->('s2', '{"fail": "auth"}', 'max_attempts => 5'), 4000;

# By hand: S0-48 S2-20.
is $pg->query("SELECT jobq.retry($s3)"), 't', 'S2-20 a dead job is retried by hand';
delays_are '… with all its attempts and delays anew', $s3, 2000, 4000, 2000, 4000;
is $pg->query("SELECT attempt FROM jobq.jobs WHERE id = $s3"), 6, '… which go on counting';

# Jitter: S0-51.
{
	$pg->query("SELECT count(jobq.enqueue('spread', 'try', '$fails')) FROM generate_series(1, 300)");
	wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'spread' AND state = 'retrying'") == 300 } '300 failures';
	my @s = sort { $a <=> $b } split /\n/, $pg->query(<<'SQL');
SELECT ms / 1000 FROM delays WHERE queue = 'spread' AND attempt = 1
SQL
	my $text = sprintf 'least %.2f s, mean %.2f s, most %.2f s', $s[0], sum(@s) / @s, $s[-1];
	ok $s[0] >= 80 && $s[-1] <= 120.001, "S0-51 a delay of 100 s with 20 % of jitter: $text";
	ok $s[0] < 85 && $s[-1] > 115 && abs(sum(@s) / @s - 100) < 4, '… all over that range';
}

# What the other side asks for: S2-16.
{
	my %want = (429 => 1000, '429/30' => 30_000, '429/0' => 1000, '429/nonsense' => 1000, '429/%2B120' => 120_000,
		'503/45' => 45_000, '503/%2B90' => 90_000, '429/%2B-50' => 1000, '429/999999' => 86_400_000,
		'429/99999999999999999999' => 86_400_000);
	my %job = map { $_ => $add->('calls', qq({"url": "$base/$_", "payload": {}})) } keys %want;
	for my $path (sort keys %want) {
		my ($class, $ms) = split /\|/, wait_for {
			$pg->query("SELECT class, ms FROM delays WHERE job_id = $job{$path} AND attempt = 1")
		} $path;
		# a date has whole seconds, and the clock goes on while the answer travels
		my $early = $path =~ /%2B\d/ ? 2000 : 1;
		ok $class eq 'rate_limit' && $ms <= $want{$path} + 1 && $ms >= $want{$path} - $early,
		    "S2-16 Retry-After: HTTP $path: wanted $want{$path}, found $ms ms";
	}
	# The larger of the two: the back-off has outgrown what was asked for.
	my $id = $add->('calls', qq({"url": "$base/429/3", "payload": {}}));
	delays_are 'S2-16 the larger of Retry-After 3 s and the back-off', $id, 3000, 3000, 4000, 8000, 16000;
	delays_are 'a 503 that names no time is one of the network', $add->('calls', qq({"url": "$base/503", "payload": {}})), 1000, 2000, 4000, 8000, 16000;
	delays_are 'what names a time without being a rate limit', $add->('calls', qq({"url": "$base/500/77", "payload": {}})), 1000, 2000, 4000, 8000, 16000;
}

# S2-18: another worker's token may be as stale as the one that was refused.
# P holds the first token while Q, with the second, is refused; then Q is kept
# busy and P let go, so that the retry meets the first.
for my $status (401, 403) {
	my $hold = sub { $add->('sure', qq({"url": "$base/hold/$status-$_[0]", "payload": {}})) };
	my $held = sub { my ($n) = @_; grep { $_->[0] eq 'held' && $_->[1] eq "$status-$n" } json_lines("$dir/requests") };
	my $path = "/guarded/$status";
	my $p = $hold->(1);
	wait_for { $held->(1) } 'the first worker to be busy';
	my $warm = $add->('sure', qq({"url": "$base$path", "payload": {}}));
	wait_for { $state->($warm) eq 'completed' } 'the second worker to have a token';
	call('revoke');
	my $id = $add->('sure', qq({"url": "$base$path", "payload": {}}));
	wait_for { $state->($id) eq 'retrying' } 'the refusal';
	my $q = $hold->(2);
	wait_for { $held->(2) } 'the second worker to be busy';
	call("release/$status-1");
	wait_for { $state->($id) =~ /completed|dead/ } 'the second attempt';
	is $pg->query("SELECT string_agg(outcome || coalesce(' ' || class, ''), ', ' ORDER BY attempt) FROM jobq.attempts WHERE job_id = $id"),
	    'failed auth, completed', "S2-18 HTTP $status: once more with a new token, in another worker";
	isnt $pg->query("SELECT worker FROM jobq.attempts WHERE job_id = $id AND attempt = 1"),
	    $pg->query("SELECT worker FROM jobq.attempts WHERE job_id = $id AND attempt = 2"), '… it was another';
	my @tokens = map { $_->[1] } $seen->($path);
	is scalar(@tokens), 3, "… by the requests with @tokens";
	isnt $tokens[1], $tokens[2], '… not with the one that was refused';
	call("release/$status-2");
	wait_for { $state->($p) eq 'completed' && $state->($q) eq 'completed' } 'the others';
}

# Two nodes: the delays are waited for, wherever the next attempt runs.
my $two = Jobqd::Daemon->new(pg => $pg, config => $config, name => 'two');
$two->start;
{
	my @want = (100, 200, 400, 300, 50);
	$pg->query("SELECT count(jobq.enqueue('real', 'try', '{\"fail\": \"network\", \"sleep_ms\": 30}')) FROM generate_series(1, 60)");
	wait_for { $pg->query("SELECT count(*) FROM jobq.dead_letters WHERE queue = 'real'") == 60 } 'sixty jobs to die';
	my $waits = <<'SQL';
SELECT a.attempt, extract(epoch FROM b.started_at - a.finished_at) * 1000 AS ms, a.node <> b.node AS moved, a.job_id
FROM jobq.attempts a JOIN jobq.attempts b ON b.job_id = a.job_id AND b.attempt = a.attempt + 1 AND a.queue = 'real'
SQL
	for my $n (1 .. @want) {
		my ($count, $least, $middle, $most) = split /\|/, $pg->query("SELECT count(*), round(min(ms), 1),
		    round((percentile_cont(0.5) WITHIN GROUP (ORDER BY ms))::numeric, 1), round(max(ms), 1) FROM ($waits) w WHERE attempt = $n");
		# started_at and finished_at are reckoned back from when they were told
		ok $count == 60 && $least >= $want[$n - 1] - 5,
		    "two nodes: after attempt $n wanted $want[$n - 1] ms, waited $least, $middle, $most ms (least, median, most)";
	}
	my ($moved, $stayed, $both) = split /\|/, $pg->query("SELECT count(*) FILTER (WHERE moved), count(*) FILTER (WHERE NOT moved),
	    count(DISTINCT job_id) FILTER (WHERE moved) FROM ($waits) w");
	ok $moved > 0 && $stayed > 0, "attempts alternate freely: $moved moved to the other node, $stayed stayed; $both jobs ran on both";
	# S3-59
	is $pg->query("SELECT count(*), min(attempts), max(attempts) FROM jobq.dead_letters WHERE queue = 'real'"), '60|6|6', '… each job was run six times';
	is $pg->query("SELECT count(*) FROM (SELECT FROM jobq.attempts WHERE queue = 'real' GROUP BY job_id, attempt HAVING count(*) > 1) t"), 0, '… none twice';
}

# Crashes are counted apart, and whoever crashed runs alone, on any node.
{
	my @mates = split /\n/, $pg->query("SELECT jobq.enqueue('crashes', 'mate', '{\"sleep_ms\": 300}') FROM generate_series(1, 20)");
	my $id = $add->('crashes', '{"sleep_ms": 100, "crash": true}');
	wait_for { $state->($id) eq 'dead' } 'the crasher';
	wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = 'mate' AND state = 'completed'") == 20 } 'its mates';
	is $pg->query("SELECT count(*) FROM jobq.attempts WHERE job_id = $id AND class = 'crash'"), 2, 'two crashes are enough, of twenty attempts';
	is $pg->query("SELECT count(*) FROM jobq.attempts WHERE job_id <> $id AND queue = 'crashes' AND class = 'crash'"), 0, 'nobody else is blamed';
	is $pg->query(<<"SQL"), 0, 'with nobody beside it in its worker, the second time';
SELECT count(*) FROM jobq.attempts a JOIN jobq.attempts b ON b.queue = a.queue AND b.job_id <> a.job_id AND b.node = a.node
    AND b.started_at < a.finished_at - interval '20 ms' AND b.finished_at > a.started_at + interval '20 ms'
WHERE a.job_id = $id AND a.attempt = (SELECT max(attempt) FROM jobq.attempts WHERE job_id = $id)
SQL
}
is $_->stop, 0, "$_->{name} ends well" for $two, $d;
done_testing;
