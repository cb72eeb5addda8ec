# Live events: each change of a state is seen by a reader of server-sent events,
# in order; it goes on where it was after a disconnect, is told to load anew when
# it cannot, and sees what its token and its filter let it see (S1-45, S2-57).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Jobqd;
use POSIX ();
use Sse;
use Test::More;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $port = free_port();
my $address = "127.0.0.1:$port";
Api::tokens("$dir/tokens", [qw(eye viewer * eye-secret)], [qw(acme viewer acme acme-secret)]);
my $config = <<"YAML";
handlers: {null: {driver: noop}}
retry: {default: {attempts: 2, backoff: fixed, base: 300ms, jitter: 0%}}
queues: {work: {handler: null, workers: 2}, other: {handler: null, workers: 1}}
api: {listen: "$address", tokens_file: $dir/tokens, rate_limit: 10000/s}
YAML
my $d = Jobqd::Daemon->new(pg => $pg, config => $config);
$d->start;
my $eye = Api->new($address, 'eye-secret');

sub mkfifo { return POSIX::mkfifo("$_[0]/request", 0600) }
sub listen_to { my ($query, %o) = @_; my $s = Sse->new($address, "/v1/events$query", $o{token} || 'eye-secret', %o); return $s->head }
sub enqueue { my ($queue, %o) = @_; return $pg->query("SELECT jobq.enqueue('$queue'" . join('', map { ", $_ => '$o{$_}'" } sort keys %o) . ')') }
sub states { my ($id, @e) = @_; return join ' ', map { $_->{data}{state} } grep { $_->{event} eq 'job' && $_->{data}{id} == $id } @e }
sub ended { my ($id) = @_; return sub { $_->{event} eq 'job' && $_->{data}{id} == $id && $_->{data}{state} =~ /^(completed|dead|cancelled)$/ } }

# who may, and what is no filter
is $pg->query(q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'jobqd events'}), 0, 'nobody listens: no connection';
my $nobody = Api->new($address);
is $nobody->get('/v1/events')->{status}, 401, 'without a token: 401';
for my $bad ('events=jobs', 'events=job,', 'state=red', 'job=x', 'queues=a') {
	my $r = $eye->get("/v1/events?$bad");
	is $r->{status}, 422, "422: $bad: $r->{json}{detail}";
}
my $r = $eye->request('HEAD', '/v1/events');
is "$r->{status} $r->{headers}{'content-type'}", '200 text/event-stream', 'HEAD';
is $eye->post('/v1/events', {})->{status}, 405, 'POST: 405';

# each change of a state
my $all = listen_to('');
is $all->{status}, 200, 'a stream';
is_deeply [ @{ $all->{headers} }{qw(content-type cache-control transfer-encoding x-accel-buffering)} ],
    [ 'text/event-stream', 'no-store', 'chunked', 'no' ], '… as a browser and a proxy want it';
my %own = (acme => listen_to('', token => 'acme-secret'), other => listen_to('?queue=other'), dead => listen_to('?state=dead,cancelled'),
	queue => listen_to('?events=queue'), type => listen_to('?type=t&events=job'), quiet => listen_to('?job=999999999'));
my $old = Sse->new($address, '/v1/events', 'eye-secret', version => '1.0')->head;
is $old->{headers}{'transfer-encoding'}, undef, 'HTTP/1.0 has no chunks';

my $id = enqueue('work', type => 't');
my @e = $all->until(ended($id));
# S2-66
is states($id, @e), 'ready running completed', 'a job';
my ($ready, $running) = grep { $_->{data}{id} == $id } @e;
is_deeply [ map { $_->{data}{attempt} } $ready, $running ], [ 0, 1 ], '… with its attempts';
is_deeply [ sort keys %{ $ready->{data} } ], [qw(at attempt id queue state tenant type)], '… and what it is';
is $all->{retry}, 2000, 'a reader is told when to come back';
my $fails = enqueue('work', data => '{"fail":"network"}', tenant => 'acme');
@e = $all->until(ended($fails));
is states($fails, @e), 'ready running retrying ready running dead', 'one that fails';
is +(grep { $_->{data}{state} eq 'retrying' } @e)[0]{data}{error_class}, 'network', '… and why';
my $later = enqueue('work', delay => '1 hour', tenant => 'rival');
my $after = enqueue('other', after => "{$later}", type => 't');
$all->until(sub { $_->{data}{id} == $after });
$pg->query("SELECT jobq.cancel($later)");
@e = $all->until(ended($after));
is states($later, @e), 'cancelled', 'a scheduled job that is cancelled';
is states($after, @e), 'cancelled', '… and what waited for it';
$pg->query("SELECT jobq.pause('work', 'a pause')");
($r) = grep { $_->{event} eq 'queue' } $all->until(sub { $_->{event} eq 'queue' });
is_deeply [ @{ $r->{data} }{qw(queue paused pause_reason)} ], [ 'work', JSON::PP::true, 'a pause' ], 'a queue is paused';
my $held = enqueue('work', tenant => 'acme');
$pg->query("SELECT jobq.resume('work')");
@e = $all->until(ended($held));
is states($held, @e), 'ready running completed', 'what it held runs when it goes on';
push @e, $all->until(sub { $_->{event} eq 'queue' }) unless grep { $_->{event} eq 'queue' } @e;
is join(' ', map { "$_->{data}{queue} $_->{data}{paused}" } grep { $_->{event} eq 'queue' } @e), 'work 0', '… which is told';
$pg->query("INSERT INTO jobq.alert (name, queue, node, metric, value, fired_at) VALUES ('slow', 'work', 'n', 'run_time_avg', 70, now())");
$r = ($all->until(sub { $_->{event} eq 'alert' }))[-1];
is_deeply [ @{ $r->{data} }{qw(name queue state value)} ], [qw(slow work firing 70)], 'an alert';

# what the others have seen of it
my $last = enqueue('work', type => 't', tenant => 'acme');
$all->until(ended($last));
@e = $own{acme}->until(ended($last));
is join(' ', map { "$_->{event} $_->{data}{id} $_->{data}{state}" } @e),
    join(' ', map({ "job $fails $_" } qw(ready running retrying ready running dead)), map { ("job $_ ready", "job $_ running", "job $_ completed") } $held, $last),
    'a tenant\'s token sees its own jobs and nothing else';
my $o = enqueue('other');
@e = $own{other}->until(ended($o));
is join(' ', map { "$_->{event} $_->{data}{queue}" } grep { $_->{event} ne 'queue' } @e), join(' ', ('job other') x @e), 'queue=other';
is states($after, @e), 'blocked cancelled', '… all of it';
$pg->query("SELECT jobq.pause('other')");
my $c = enqueue('other');
$pg->query("SELECT jobq.cancel($c)");
@e = $own{dead}->until(ended($c));
is join(' ', map { "$_->{data}{id} $_->{data}{state}" } @e), "$fails dead $later cancelled $after cancelled $c cancelled", 'state=dead,cancelled';
@e = $own{queue}->until(sub { $_->{data}{queue} eq 'other' && $_->{data}{paused} });
is join(' ', map { "$_->{event} $_->{data}{queue} $_->{data}{paused}" } grep { $_->{event} ne 'skipped' } @e), 'queue work 1 queue work 0 queue other 1', 'events=queue';
my $t = enqueue('work', type => 't');
@e = $own{type}->until(ended($t));
is join(' ', map { $_->{data}{type} } @e), join(' ', ('t') x @e), 'type=t';
is states($id, @e), 'ready running completed', '… all of it';
@e = $old->until(ended($t));
is states($id, @e), 'ready running completed', 'HTTP/1.0 has seen all';
$old->close;

# how soon
$all->until(ended($t));
my @ms;
for (1 .. 9) {
	my $began = time;
	my $job = enqueue('work');
	$all->until(ended($job));
	push @ms, 1000 * (time - $began);
}
@ms = sort { $a <=> $b } @ms;
cmp_ok $ms[4], '<', 60_000, sprintf 'from before a job is enqueued until its end is told: median %.0f ms, at most %.0f', @ms[ 4, 8 ];

# a reader that was away
$all->close;
my @missed = map { enqueue('work') } 1 .. 5;
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE id >= $missed[0] AND state = 'completed'") == 5 } 'the jobs';
$own{quiet}->beats(1);	# the others are told meanwhile
for my $how ([ last => $all->{id} ], []) {
	my $back = @$how ? listen_to('', @$how) : listen_to("?last_event_id=$all->{id}");
	@e = $back->until(ended($missed[4]));
	push @e, $back->until(ended($_)) for grep { states($_, @e) !~ /completed/ } @missed;
	is join(',', map { states($_, @e) } @missed), join(',', ('ready running completed') x 5), 'a reader that comes back has what it missed';
	is scalar(grep { $_->{event} eq 'job' && $_->{data}{id} < $missed[0] } @e), 0, '… and nothing twice';
	is scalar(grep { $_->{event} =~ /reset|skipped/ } @e), 0, '… and need not load anew';
	$back->close;
}
for my $bad ('x', 'x-1', $all->{id} =~ s/-\d+$/-999999/r) {
	my $s = listen_to('', last => $bad);
	is $s->next->{event}, 'reset', "an id of elsewhere: reset ($bad)";
	$s->close;
}

# it lasts: longer than an answer may take to be written
my @quiet = $own{quiet}->beats(3);
is $own{quiet}{ended}, undef, 'a stream with nothing to tell is kept, with signs of life';
is scalar(@quiet), 0, '… that are no events';

# a reload, the end of the process, a restart
my $stream = listen_to('');
$d->stop;
1 while $stream->next;
is $stream->{ended}, 'well', 'a stop ends a stream as it should';
$d->start;
my $again = listen_to('', last => $stream->{id});
is $again->next->{event}, 'reset', 'after a restart a reader is told to load anew';
my $new = enqueue('work');
is states($new, $again->until(ended($new))), 'ready running completed', '… and goes on';
my ($api) = $d->pids(qr/^jobqd: api$/);
kill 'KILL', $api;
1 while $again->next;
is $again->{ended}, 'cut', 'its process is killed';
wait_for { my ($p) = $d->pids(qr/^jobqd: api$/); $p && $p != $api } 'another api';
my $third = wait_for { my $s = eval { listen_to('', last => $again->{id}) }; $s && $s->{status} == 200 && $s } 'a stream of the next one';
is $third->next->{event}, 'reset', '… the next one says so, too';

# without the database
$pg->stop;
my $beats = $third->{beats};
$pg->start;
$new = wait_for { eval { enqueue('work') } } 'the database again';
@e = $third->until(ended($new));
is states($new, @e), 'ready running completed', 'a stream outlives the absence of the database';
$third->close;

# nobody listens, and the database is away
$d->stop;
$d->start;
$pg->stop;
my $leaves = Sse->new($address, '/v1/events', 'eye-secret');
my $waits = Sse->new($address, '/v1/events', 'eye-secret');
$leaves->close;
$waits->head;
is "$waits->{status} " . ($waits->{headers}{'retry-after'} // ''), '503 5', 'no database: 503, and when to try again';
$pg->start;
my $patient = wait_for { my $s = eval { listen_to('') }; $s && $s->{status} == 200 && $s } 'a stream';
$new = wait_for { eval { enqueue('work') } } 'the database again';
is states($new, $patient->until(ended($new))), 'ready running completed', '… which is there when the database is';
$patient->close;

# by TLS
system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout $dir/key -out $dir/crt -subj /CN=localhost -days 2 2>/dev/null") == 0
    or die "no openssl\n";
chmod 0600, "$dir/key";
$d->stop;
$d->configure($config =~ s/rate_limit/tls: {cert: "$dir\/crt", key: "$dir\/key"}, rate_limit/r);
$d->start;
background([ 'sh', '-c', "exec openssl s_client -quiet -connect $address -CAfile $dir/crt < $dir/request > $dir/events 2>/dev/null" ])
    if mkfifo($dir);
open my $request, '>', "$dir/request" or die;
print $request "GET /v1/events HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer eye-secret\r\n\r\n";
$request->flush;
wait_for { slurp("$dir/events") =~ /^retry:/m } 'a stream';
$new = enqueue('work');
wait_for { slurp("$dir/events") =~ /"id": $new,[^\n]*"completed"/ } 'the end of the job';
like slurp("$dir/events"), qr/^HTTP\/1\.1 200 OK\r\n.*"id": $new,[^\n]*"ready".*"id": $new,[^\n]*"running".*"id": $new,[^\n]*"completed"/s, 'events by TLS';
CORE::close $request;
done_testing;
