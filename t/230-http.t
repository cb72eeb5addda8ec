# The driver http: what arrives, how it is signed, what answers mean, where
# it refuses to go.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More;

my $runner = ($ENV{JOBQD_BUILDDIR} || '.') . '/t/unit/run_driver';
plan skip_all => "no $runner: build the check programs" unless -x $runner;

my $dir = temp_directory();
my $json = JSON::PP->new->utf8->canonical;
my $secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
my ($port, $requests) = receiver($secret);
my $base = "http://127.0.0.1:$port";

# Run jobs, hashes or lines of JSON as they are, with a handler (YAML text).
sub run_jobs {
	my ($handler, @jobs) = @_;
	spew("$dir/conf.yml", "handlers: {hook: {driver: http, $handler}}\n"
	    . "queues: {hooks: {handler: hook, concurrency: 400}}\n");
	my ($status, $out, $err) = run_program([ $runner, "$dir/conf.yml", 'hooks' ],
	    in => join '', map { (ref $_ ? $json->encode({ job => $_ }) : $_) . "\n" } @jobs);
	diag $err if $status != 0;
	plan skip_all => 'this build has no driver http' if $err =~ /no driver "http"/;
	my %result;
	for my $line (split /\n/, $out) {
		my $o = $json->decode($line);
		$result{ $o->{result}{id} } = $o->{result} if $o->{result};
		$result{exit} = $o->{exit} if $o->{exit};
	}
	return \%result;
}

sub job { my ($id, %data) = @_; return { id => $id, type => 'some.event', data => \%data } }
sub classes { my ($r, @ids) = @_; return join ' ', map { $r->{$_}{class} || 'completed' } @ids }
sub requests_to { my ($path) = @_; return grep { $_->{path} eq $path } json_lines($requests) }

# The bytes of the payload, as they stand in the data; both schemes.
{
	my $payload = '{"n": 12345678901234567890.50, "e": 1e2, "s": "\u00fc <>&é", "o": {"b": [1,  2], "a": "}\"{"}}';
	my $line = sub { qq({"job":{"id":$_[0],"type":"some.event","data":{"url":"$base/ok/$_[0]","payload": $payload ,"eventType":"vehicle.moved","secret":"$secret"}}}) };
	my $r = run_jobs('allow_private: true', $line->(1));
	is classes($r, 1), 'completed', 'a webhook' or diag $r->{1}{message};
	is $r->{1}{result}{status}, 200, '… its answer is the result';
	my ($got) = requests_to('/ok/1');
	is $got->{body}, do { utf8::decode(my $p = $payload); $p }, 'the payload arrives byte by byte';
	ok $got->{standard}, 'standard-webhooks is the default, and verifies';
	is $got->{headers}{'webhook-id'}, '1', '… with the id of the job';
	is_deeply [ @{ $got->{headers} }{qw(x-event-type x-event-id content-type)} ],
	    [ 'vehicle.moved', '1', 'application/json' ], 'headers of the event';
	ok !exists $got->{headers}{expect}, 'no Expect';

	$r = run_jobs('allow_private: true, sign: {scheme: timestamped-hmac, secret: "{{data.secret}}"}', $line->(2));
	($got) = requests_to('/ok/2');
	ok $got->{timestamped} && !exists $got->{standard}, 'timestamped-hmac verifies';
	spew("$dir/secret", "$secret\n");
	$r = run_jobs("allow_private: true, sign: {scheme: standard-webhooks, secret_file: $dir/secret}",
	    job(3, url => "$base/ok/3", body => "text \x{263a}"));
	($got) = requests_to('/ok/3');
	ok $got->{standard}, 'a secret from a file';
	is $got->{body}, "text \x{263a}", 'a body of text';
	is $got->{headers}{'x-event-type'}, 'some.event', 'the type of the job where data names no event';
	$r = run_jobs('allow_private: true, sign: {scheme: standard-webhooks, secret: "{{data.secret}}"}',
	    job(4, url => "$base/ok/4", payload => {}), job(5, url => "$base/ok/5", payload => {}, secret => ''),
	    job(6, url => "$base/ok/6", payload => {}, secret => 'whsec_%%%'));
	is classes($r, 4 .. 6), 'validation validation validation', 'nothing goes out unsigned where it is to be signed';
	$r = run_jobs("allow_private: true", job(7, url => "$base/ok/7", payload => { a => 1 }, secret => "whsec_AAAA $secret"));
	($got) = requests_to('/ok/7');
	is scalar(split ' ', $got->{headers}{'webhook-signature'}), 2, 'two secrets, two signatures';
	ok $got->{standard}, '… one of which verifies';
}

# Data as the payload of a handler with a url; headers, methods, credentials.
{
	my $r = run_jobs(qq(allow_private: true, url: "$base/ok/{{data.kind}}", headers: {X-A: handler, X-B: handler}, auth: {bearer: tok}),
	    job(1, kind => 'push', title => 'hello'), job(2, kind => 'env', payload => { x => 1 }, headers => { 'x-b' => 'data' }),
	    job(3, kind => 'steal', payload => {}, headers => { Authorization => 'Bearer other' }), job(4, kind => "a\nb"));
	is classes($r, 1 .. 4), 'completed completed validation validation', 'a handler with a url';
	my ($push) = requests_to('/ok/push');
	is_deeply $json->decode($push->{body}), { kind => 'push', title => 'hello' }, 'the data is the payload';
	is $push->{headers}{authorization}, 'Bearer tok', 'bearer';
	my ($env) = requests_to('/ok/env');
	is_deeply [ @{ $env->{headers} }{qw(x-a x-b)} ], [qw(handler data)], 'headers of the handler and of the data';
	run_jobs(qq(allow_private: true, url: "$base/ok/basic", auth: {basic: {user: u, password: "p:w"}}), job(1));
	is + (requests_to('/ok/basic'))[0]{headers}{authorization}, 'Basic dTpwOnc=', 'basic';
}

# What answers mean.
{
	my %want = (200 => 'completed', 204 => 'completed', 301 => 'validation', 302 => 'validation', 400 => 'validation',
		401 => 'auth', 403 => 'auth', 404 => 'validation', 408 => 'network', 409 => 'validation', 410 => 'validation',
		422 => 'validation', 425 => 'network', 429 => 'rate_limit', 500 => 'network', 502 => 'network', 503 => 'network', 504 => 'network');
	my $r = run_jobs('allow_private: true', map { job($_ + 0, url => "$base/fail/$_", payload => {}) } grep { $_ != 204 } keys %want);
	my $empty = fork_server(sub { print { $_[0] } "HTTP/1.1 204 No Content\r\n\r\n" });
	$r->{204} = run_jobs('allow_private: true', job(204, url => "http://127.0.0.1:$empty/", payload => {}))->{204};
	is_deeply { map { $_ => classes($r, $_) } keys %want }, \%want, 'classes of answers';
	like $r->{404}{message}, qr{^http://127\.0\.0\.1:$port: HTTP 404}, 'the message names the host and the status';
	my $date = do { my @t = gmtime(time + 100); sprintf '%s, %02d %s %d %02d:%02d:%02d GMT', (qw(Sun Mon Tue Wed Thu Fri Sat))[ $t[6] ],
	    $t[3], (qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec))[ $t[4] ], $t[5] + 1900, @t[ 2, 1, 0 ] };
	my $dated = fork_server(sub { print { $_[0] } "HTTP/1.1 503 Busy\r\nRetry-After: $date\r\nContent-Length: 0\r\n\r\n" });
	$r = run_jobs('allow_private: true', job(1, url => "$base/retry-after/503/30", payload => {}),
	    job(2, url => "$base/retry-after/429/30", payload => {}), job(3, url => "$base/retry-after/503/soon", payload => {}),
	    job(4, url => "http://127.0.0.1:$dated/", payload => {}));
	is classes($r, 1 .. 4), 'rate_limit rate_limit network rate_limit', 'with Retry-After';
	is join(' ', map { $r->{$_}{retry_after_ms} } 1 .. 3), '30000 30000 -1', '… in seconds';
	cmp_ok abs($r->{4}{retry_after_ms} - 100_000), '<', 30_000, '… or a date';
}

# Where it does not get through.
{
	my $closed = free_port();
	require IO::Socket::INET;
	my $mute = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5) or die;
	my $rude = fork_server(sub { print { $_[0] } "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort" });
	my $flood = fork_server(sub { my ($c) = @_; print $c "HTTP/1.1 200 OK\r\n\r\n"; while (print $c 'x' x 65536) { } });
	my $junk = fork_server(sub { print { $_[0] } "I am no web server\r\n\r\n" });
	my $r = run_jobs('allow_private: true, timeout: 700ms',
	    job(1, url => "http://127.0.0.1:$closed/", payload => {}), job(2, url => "http://127.0.0.1:" . $mute->sockport . '/', payload => {}),
	    job(3, url => "http://127.0.0.1:$rude/", payload => {}), job(4, url => "http://127.0.0.1:$flood/", payload => {}),
	    job(5, url => "http://nowhere.invalid/", payload => {}), job(6, url => "https://127.0.0.1:$port/", payload => {}),
	    job(7, url => "http://127.0.0.1:$junk/", payload => {}));
	is classes($r, 1 .. 7), 'network timeout network completed network network network', 'refused, mute, cut off, endless, unknown, no TLS, no HTTP';
	is length($r->{4}{result}{body}), 4096, 'of an endless answer little is kept';
	is_deeply $r->{exit}, { status => 0, signal => 0 }, 'the worker is fine';
}

sub fork_server {
	my ($serve) = @_;
	require IO::Socket::INET;
	my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5) or die;
	my $port = $listen->sockport;

	my $pid = fork // die;
	if ($pid == 0) {
		$SIG{PIPE} = 'IGNORE';
		while (my $c = $listen->accept) {
			$c->autoflush(1);
			sysread $c, my $in, 65536;
			$serve->($c);
			close $c;
		}
		POSIX::_exit(0);
	}
	Jobqd::at_end(sub { kill 'KILL', $pid; waitpid $pid, 0 });
	return $port;
}

# What no request is made of.
{
	my $r = run_jobs('allow_private: true',
	    job(1, url => "$base/a\r\nX: y", payload => {}), job(2, url => "$base/a b", payload => {}), job(3, url => 'file:///etc/passwd', payload => {}),
	    job(4, url => 'gopher://127.0.0.1/', payload => {}), job(5, payload => {}), job(6, url => "$base/x", payload => {}, headers => { 'X-A' => "a\r\nb: c" }),
	    job(7, url => "$base/x", payload => {}, headers => { "X-A\r\nB" => 'c' }), job(8, url => "$base/x", payload => {}, headers => { 'Content-Length' => '1' }),
	    job(9, url => "$base/x", payload => {}, headers => { 'Transfer-Encoding' => 'chunked' }), job(10, url => "$base/x", payload => {}, method => "GET / HTTP/1.1\r\n"),
	    job(11, url => "$base/x", payload => {}, eventType => "a\r\nb", secret => 's'), job(12, url => "$base/x", payload => 'text'),
	    job(13, url => "$base/x", payload => {}, body => 'both'), job(14, url => 7, payload => {}), job(15, url => "$base/x", payload => {}, headers => [1]));
	is classes($r, 1 .. 15), join(' ', ('validation') x 15), 'bad data makes no request' or diag explain $r;
	is scalar(requests_to('/x')), 0, '… none at all';
}

# Private addresses, in every spelling; and no proxy of the environment.
{
	my @hosts = ("127.0.0.1:$port", "localhost:$port", "2130706433:$port", "0x7f.1:$port", "017700000001:$port", "127.1:$port", "[::1]:$port", "[::ffff:127.0.0.1]:$port",
		'0.0.0.0', '10.1.2.3', '172.16.0.1', '192.168.1.1', '169.254.169.254', '100.64.0.1', '[fe80::1]', '[fd00::1]', '[::]', '224.0.0.1', '[ff02::1]',
		'[64:ff9b::7f00:1]', '[2002:7f00:1::]', '[::ffff:169.254.169.254]');
	my $r = run_jobs('timeout: 5s', map { job($_ + 1, url => "http://$hosts[$_]/private", payload => {}) } 0 .. $#hosts);
	my @through = grep { $r->{ $_ + 1 }{class} ne 'validation' || $r->{ $_ + 1 }{message} !~ /private address/ } 0 .. $#hosts;
	# A machine without IPv6 does not come to the question there.
	@through = grep { !($hosts[$_] =~ /^\[/ && $r->{ $_ + 1 }{class} eq 'network') } @through;
	is join(' ', map { "$hosts[$_]: $r->{$_ + 1}{class} $r->{$_ + 1}{message}" } @through), '', 'private addresses are refused';
	is scalar(requests_to('/private')), 0, '… and hear nothing';
	local $ENV{http_proxy} = $base;
	local $ENV{ALL_PROXY} = $base;
	$r = run_jobs('timeout: 5s', job(1, url => "http://127.0.0.1:$port/proxied", payload => {}));
	like $r->{1}{message}, qr/private address/, 'a proxy of the environment is not used';
}

# OAuth: one token for many, another after 401.
{
	my $tokens = free_port();
	background([ 'python3', '-c', <<'PY', $tokens, "$dir/oauth" ], log => "$dir/oauth.log");
import base64, http.server, json, sys, socketserver
port, path = int(sys.argv[1]), sys.argv[2]
out, given = open(path, "a", buffering=1), 0
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        global given
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        auth = self.headers.get("authorization", "")
        code, answer = 200, {}
        if self.path == "/token":
            given += 1
            if auth != "Basic " + base64.b64encode(b"me:word").decode() or "client_credentials" not in body:
                code = 401
            answer = {"access_token": "t%d" % given, "expires_in": 3600}
        elif auth != "Bearer t%d" % given or self.path == "/expire":
            code, given = 401, given + (self.path != "/expire") * 0
        out.write(json.dumps([self.path, auth, code]) + "\n")
        text = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *a): pass
class S(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads, request_queue_size = True, 100
S(("127.0.0.1", port), H).serve_forever()
PY
	wait_port($tokens);
	my $auth = sub { "allow_private: true, auth: {oauth2: {token_url: \"http://127.0.0.1:$tokens/token\", client_id: me, client_secret: $_[0], scope: a b}}" };
	my $r = run_jobs($auth->('word'), map { job($_, url => "http://127.0.0.1:$tokens/call", payload => {}) } 1 .. 20);
	is scalar(grep { $r->{$_}{class} eq '' } 1 .. 20), 20, 'twenty calls with OAuth' or diag explain $r->{1};
	is scalar(grep { $_->[0] eq '/token' } json_lines("$dir/oauth")), 1, '… for one token';
	$r = run_jobs($auth->('wrong'), job(1, url => "http://127.0.0.1:$tokens/call", payload => {}));
	is $r->{1}{class}, 'auth', 'no token: auth';
	like $r->{1}{message}, qr{no token from http://127\.0\.0\.1:$tokens/token: HTTP 401}, '… and from where';
	# One after the other: the second finds no token and fetches another.
	spew("$dir/oauth", '');
	spew("$dir/serial.yml", "handlers: {hook: {driver: http, " . $auth->('word') . "}}\nqueues: {hooks: {handler: hook, concurrency: 1}}\n");
	run_program([ $runner, "$dir/serial.yml", 'hooks' ],
	    in => join '', map { $json->encode({ job => job($_->[0], url => "http://127.0.0.1:$tokens/$_->[1]", payload => {}) }) . "\n" } [ 1, 'expire' ], [ 2, 'call' ]);
	is join(' ', map { "$_->[0]=$_->[2]" } json_lines("$dir/oauth")), '/token=200 /expire=401 /token=200 /call=200', 'a token that was refused is fetched again';
}

# Hundreds at once in one process.
{
	my $r = run_jobs('allow_private: true', map { job($_, url => "$base/slow/$_", payload => { n => $_ }) } 1 .. 400);
	is scalar(grep { $r->{$_}{class} eq '' } 1 .. 400), 400, '400 at once';
	my %seen;
	$seen{ $_->{path} }++ for json_lines($requests);
	is scalar(grep { ($seen{"/slow/$_"} || 0) == 1 } 1 .. 400), 400, '… each of them once';
}
done_testing;
