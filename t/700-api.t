# The api process: where it listens, what it answers, and that neither its
# death nor a reload costs a client anything (S1-45, S2-57, S3-6).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Http;
use Jobqd;
use JSON::PP ();
use Test::More;

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $port = free_port();
my $base = <<'YAML';
handlers: {null: {driver: noop}}
queues: {work: {handler: null, workers: 2, timeout: 1h, cancel: {grace: 1s}}}
YAML
sub with { return $base . "api: {listen: \"$_[0]\"" . ($_[1] || '') . "}\n" }
sub json { return JSON::PP->new->utf8->decode($_[0]) }

my $d = Jobqd::Daemon->new(pg => $pg, config => with("127.0.0.1:$port"));
$d->start;
my $http = Http->new("127.0.0.1:$port");

#
# answers
#
is scalar(my @p = $d->pids(qr/^jobqd: api$/)), 1, 'one process for it (S2-1)';
my $r = $http->get('/healthz');
is $r->{status}, 200, '/healthz';
is $r->{headers}{'content-type'}, 'application/json', '… is JSON';
like $r->{headers}{date}, qr/^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/, '… has a date';
is $r->{headers}{'cache-control'}, 'no-store', '… is not to be stored';
is $r->{headers}{connection}, 'close', '… and closes as it was asked';
wait_for { $r = $http->get('/readyz'); $r->{status} == 200 && json($r->{body})->{queues} } 'the health in /readyz';
is json($r->{body})->{healthy}, JSON::PP::true, '/readyz has what the health file has (S1-45, S2-21, S3-6)';
is $http->get('/metrics')->{status}, 200, '/metrics';

my $c = $http->connect;
$c->send("HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
$r = $c->answer('HEAD');
is $r->{status}, 200, 'HEAD';
cmp_ok $r->{headers}{'content-length'}, '>', 0, '… with the length that GET has';
$c->send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
is $c->answer->{status}, 200, '… and the same connection goes on';

$r = $http->get('/nowhere?x=<&>');
is $r->{status}, 404, 'a path that is not there';
is $r->{headers}{'content-type'}, 'application/problem+json', '… a problem document';
is_deeply json($r->{body}), { type => 'about:blank', title => 'Not Found', status => 404, detail => 'there is no /nowhere' }, '… as of RFC 9457 (S3-36)';
for my $method (qw(POST PUT DELETE OPTIONS TRACE FROB)) {
	$r = $http->request('/metrics', method => $method);
	is "$r->{status} $r->{headers}{allow}", '405 GET, HEAD', "$method: 405 with what is allowed";
}
$r = $http->request('/metrics', method => 'POST', body => 'x' x 1000);
is $r->{status}, 405, '… also with a body, which is not waited for';

# Several requests at once are answered in their order.
$c = $http->connect;
$c->send(join '', map { "GET $_ HTTP/1.1\r\nHost: a\r\n\r\n" } qw(/healthz /nowhere /readyz /healthz));
is join(' ', map { $c->answer->{status} } 1 .. 4), '200 404 200 200', 'pipelined requests';
$c->send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" x 200);
is scalar(grep { $c->answer->{status} == 200 } 1 .. 200), 200, '… two hundred of them';
# A GET with a body is read to its end, however it comes.
$c->send("GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
is join(' ', map { $c->answer->{status} } 1 .. 2), '200 404', 'a body that is not asked for';
$c->send("GET /healthz HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
is $c->answer->{status}, 100, 'Expect: 100-continue';
$c->send('abc');
is $c->answer->{status}, 200, '… and then the answer';
$c->send("POST /nowhere HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
is $c->answer->{status}, 404, '… or the refusal instead of it';
$c = $http->connect;
$c->send("GET /healthz HTTP/1.0\r\n\r\n");
$r = $c->answer;
is "$r->{status} $r->{headers}{connection}", '200 close', 'HTTP/1.0 closes';
ok $c->ended, '… and does';
$c = $http->connect;
$c->send("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
is $c->answer->{headers}{connection}, 'keep-alive', '… unless it asks for more';

#
# the process dies: the socket is the master's
#
my ($api) = $d->pids(qr/^jobqd: api$/);
my $from = $d->log_size;
kill 'STOP', $api;	# what connects now waits in the socket
my $waiting = $http->connect;
ok $waiting && $waiting->send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"), 'a client connects and asks';
kill 'KILL', $api;
is $waiting->answer->{status}, 200, 'the next process answers it';
my ($next) = $d->pids(qr/^jobqd: api$/);
isnt $next, $api, '… which is another one';
like $d->wait_log(qr/process failed.*name=api/, $from), qr/signal 9/, '… and the log says why';

#
# reload
#
$c = $http->connect;
$c->send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /heal");
is $c->answer->{status}, 200, 'a client in the middle of a request';
($api) = $d->pids(qr/^jobqd: api$/);
sub reload {
	my ($text, $what) = @_;
	my $from = $d->log_size;
	$d->configure($text);
	$d->signal('HUP');
	return $d->wait_log($what, $from);
}
(my $more = with("127.0.0.1:$port")) =~ s/workers: 2/workers: 3/;
reload($more, qr/: reloaded /);
$c->send("thz HTTP/1.1\r\nHost: a\r\n\r\n");
$r = $c->answer;
is $r->{status}, 200, '… gets its answer from the process that is about to go';
is $r->{headers}{connection}, 'close', '… which says so';
is $http->get('/healthz')->{status}, 200, 'others are with the new one';

# Reload upon reload, and a client that never stops asking.
my $asker = fork // die "fork: $!\n";
if ($asker == 0) {
	my ($n, $bad) = (0, 0);
	until (-e "$dir/enough") {
		my $r = eval { $http->get('/healthz') };
		$n++;
		$bad++ unless $r && $r->{status} == 200;
	}
	spew("$dir/asked", "$n $bad");
	POSIX::_exit(0);
}
for my $n (1 .. 15) {
	(my $text = with("127.0.0.1:$port")) =~ s/workers: 2/'workers: ' . (3 - $n % 2)/e;
	reload($text, qr/: reloaded /);
}
spew("$dir/enough", '');
waitpid $asker, 0;
my ($asked, $bad) = split ' ', slurp("$dir/asked");
is $bad, 0, "15 reloads, $asked requests meanwhile, without an answer: $bad";

# Another address: the new one first, the old one gone.
my $other = free_port();
reload(with("127.0.0.1:$other"), qr/: reloaded /);
is(Http->new("127.0.0.1:$other")->get('/healthz')->{status}, 200, 'another port');
wait_for { !$http->connect } 'the old one to be closed';
pass 'the old one is closed';
# One that is not to be had: all stays.
my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die;
my $line = reload(with('127.0.0.1:' . $taken->sockport), qr/reload refused/);
like $line, qr/api\.listen: cannot listen on 127\.0\.0\.1:\d+: Address already in use/, 'an address of somebody else: refused';
is(Http->new("127.0.0.1:$other")->get('/healthz')->{status}, 200, '… and all stays');
# A unix socket.
my $path = "$d->{dir}/api.sock";
chmod 0777, $d->{dir};
reload($base . "api: {listen: \"unix:$path\"}\n", qr/: reloaded /);
my $unix = Http->new("unix:$path");
is $unix->get('/healthz')->{status}, 200, 'a unix socket';
is sprintf('%o', (stat $path)[2] & 07777), '660', '… with its permissions';
# Off, and on again.
reload(with('off'), qr/: reloaded /);
wait_for { !$d->pids(qr/^jobqd: api$/) } 'the api to go';
ok !-e $path, 'off: no process, and no socket';
reload(with("127.0.0.1:$port"), qr/: reloaded /);
is $http->get('/healthz')->{status}, 200, '… and on again';
is $d->stop, 0, 'exit 0';

#
# at the start
#
$d->configure(with('127.0.0.1:' . $taken->sockport));
$from = $d->log_size;
$d->start(ready => 0);
wait_for { !$d->running } 'it to give up';
is $d->{status} >> 8, 1, 'an address in use at the start: exit 1';
my @errors = grep { / error / } split /\n/, $d->log($from);
is scalar(@errors), 1, '… with one line';
like $errors[0], qr/start failed reason="api\.listen: cannot listen on 127\.0\.0\.1:\d+: Address already in use"/, '… that says which';
# A socket that was left behind, and one that somebody answers at.
$d->configure($base . "api: {listen: \"unix:$path\", socket_mode: \"0600\"}\n");
$d->start;
kill 'KILL', $d->{pid}, process_tree($d->{pid});
wait_for { !$d->running } 'it to be gone';
ok -S $path, 'a killed jobqd leaves its socket';
$d->start;
is $unix->get('/healthz')->{status}, 200, '… which the next one replaces';
is sprintf('%o', (stat $path)[2] & 07777), '600', '… with other permissions';
my $second = Jobqd::Daemon->new(pg => $pg, name => 'second', config => $base . "api: {listen: \"unix:$path\"}\n");
$second->start(ready => 0);
wait_for { !$second->running } 'the second to give up';
like $second->log, qr/cannot listen on unix:\S+: Address already in use/, 'one that is in use is not taken';
is $unix->get('/healthz')->{status}, 200, '… from whoever has it';
$d->stop;
ok !-e $path, 'a stop removes it';

#
# privileges: what only root may bind is bound before they are given up
#
SKIP: {
	my $user = server_user();
	(my $first) = slurp('/proc/sys/net/ipv4/ip_unprivileged_port_start') =~ /(\d+)/;
	my ($low, $lower) = grep { IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $_, Listen => 1) } 600 .. 700;
	skip 'not root, or every port is anybody\'s', 6 unless $user && defined $first && $first > 700 && $lower;
	my $as = "daemon: {node: node, user: $user, group: \"\", pid_file: $d->{dir}/jobqd.pid, shutdown_timeout: 10s}\n"
	    . "monitor: {interval: 1s, health_file: \"\"}\n";
	$d->configure($as . with("127.0.0.1:$low"));
	$from = $d->log_size;
	$d->start;
	is(Http->new("127.0.0.1:$low")->get('/healthz')->{status}, 200, "port $low, as user $user");
	my ($pid) = $d->pids(qr/^jobqd: api$/);
	is getpwuid((stat "/proc/$pid")[4]), $user, '… which the api is';
	like reload($as . with("127.0.0.1:$lower"), qr/reload refused/), qr/cannot listen on 127\.0\.0\.1:$lower: Permission denied/,
	    'another such port by a reload: refused';
	is(Http->new("127.0.0.1:$low")->get('/healthz')->{status}, 200, '… and all stays');
	$d->stop;
	my $rooms = temp_directory();
	$d->configure($as . $base . "api: {listen: \"unix:$rooms/s\"}\n");
	$d->start;
	is getpwuid((stat "$rooms/s")[4]), $user, 'a unix socket in a directory of root belongs to the user';
	is(Http->new("unix:$rooms/s")->get('/readyz')->{status}, 200, '… and answers');
	$d->stop;
}

#
# readiness
#
sub readiness {
	my $r = $http->get('/readyz') or return 'nobody';
	return $r->{status} == 200 ? 'ready' : json($r->{body})->{detail};
}
$pg->stop;
$d->configure(with("127.0.0.1:$port"));
$d->start(ready => 0);
wait_for { readiness() =~ /^starting/ } 'an api before there is a database';
is $http->get('/healthz')->{status}, 200, 'alive before it is ready';
$r = $http->get('/readyz');
is "$r->{status} $r->{headers}{'content-type'}", '503 application/problem+json', 'not ready before there is a database';
$pg->start;
wait_for { readiness() eq 'ready' } 'it to be ready';
pass 'ready';
$pg->stop('immediate');
wait_for { readiness() eq 'the database is away' } 'the database to be missed';
is $http->get('/healthz')->{status}, 200, 'not ready without the database, but alive';
$pg->start;
wait_for { readiness() eq 'ready' } 'it to be ready again';
$pg->query("SELECT jobq.enqueue('work', data => '{\"sleep_ms\": 600000}')");
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'running'") } 'a job to run';
$d->signal('WINCH');
wait_for { readiness() =~ /^draining/ } 'it to drain';
pass 'draining is not ready';
$d->signal('HUP');
wait_for { readiness() eq 'ready' } 'it to be back';
pass 'a reload brings it back';
$pg->query("SELECT jobq.enqueue('work', data => '{\"sleep_ms\": 600000}')");
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'running'") == 2 } 'another job to run';
$d->signal('TERM');
wait_for { readiness() eq 'stopping' } 'it to say that it stops';
pass 'stopping is not ready, and is said until the end';
is $d->stop('QUIT'), 0, 'exit 0';
done_testing;
