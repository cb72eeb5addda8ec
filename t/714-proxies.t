# Behind nginx and HAProxy, with the sample configurations as they are: kept
# connections, bodies, who a client is, and that no hostile request makes proxy
# and API disagree about where a request ends (reliability of the edge; S1-54).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Hostile;
use Http;
use IO::Socket::UNIX;
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my %program = map { my $p = $_; $p => grep { -x } map { "$_/$p" } split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin' } qw(nginx haproxy);
plan skip_all => 'neither nginx nor haproxy is installed' unless grep { defined } values %program;

my $dir = temp_directory();
chmod 0755, $dir;
my $port = free_port();
my $pg = Jobqd::Postgres->new;
Api::tokens("$dir/tokens", [qw(eye viewer * secret)]);
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers: {null: {driver: noop}}
queues: {work: {handler: null}}
api: {listen: "127.0.0.1:$port", trusted_proxies: [127.0.0.1], max_body: 2MiB, tokens_file: $dir/tokens}
YAML
$d->start;
my ($status, $out, $err) = run_program([ 'openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
    '-keyout', "$dir/jobs.key", '-out', "$dir/jobs.crt", '-subj', '/CN=jobs.example.com', '-addext', 'subjectAltName=DNS:localhost', '-days', '3' ]);
is $status, 0, 'a certificate' or diag $err;
spew("$dir/jobs.pem", slurp("$dir/jobs.crt") . slurp("$dir/jobs.key"));

# Clients come by another address than the proxies, if this machine has one.
my ($own) = grep { /^\d+\.\d+\.\d+\.\d+$/ && !/^127\./ } split ' ', (run_program([ 'hostname', '-I' ]))[1];
my $host = $own || '127.0.0.1';

# A sample with the places of this machine put in: each of them stands there.
sub place {
	my ($sample, %places) = @_;
	my $text = slurp(source_directory() . "/contrib/$sample");
	for my $old (sort keys %places) {
		die "contrib/$sample has no $old\n" unless $text =~ s/\Q$old\E/$places{$old}/g;
	}
	return $text;
}

# What proxies have sent on, a line each: the path, how often it was tried, and
# the status that the API gave.
my %proxy = (
	nginx => {
		name => 'nginx',
		start => sub {
			my ($self) = @_;
			spew("$dir/jobs.conf", place('nginx.conf', '127.0.0.1:8787' => "127.0.0.1:$port", 'listen 443' => "listen 127.0.0.1:$self->{plain}; listen $host:$self->{port}",
			    '/etc/ssl/certs/jobs.example.com.pem' => "$dir/jobs.crt", '/etc/ssl/private/jobs.example.com.key' => "$dir/jobs.key"));
			spew("$dir/nginx.conf", <<"CONF");
daemon off; master_process off; pid $dir/nginx.pid; error_log $dir/nginx.err;
events { worker_connections 512; }
http {
	log_format sent '\$request_uri \$upstream_status';
	access_log $dir/nginx.log sent;
	client_body_temp_path $dir/b; proxy_temp_path $dir/p; fastcgi_temp_path $dir/f; uwsgi_temp_path $dir/u; scgi_temp_path $dir/s;
	include $dir/jobs.conf;
}
CONF
			background([ $program{nginx}, '-e', "$dir/nginx.err", '-c', "$dir/nginx.conf" ], log => "$dir/nginx.out");
		},
		sent => sub {
			map { my ($path, $upstream) = /^(\S*) (.*)$/ or die "nginx: $_\n"; map { $path } grep { $_ ne '-' } split /[ ,:]+/, $upstream } split /\n/, $_[0];
		},
	},
	haproxy => {
		name => 'HAProxy',
		start => sub {
			my ($self) = @_;
			# By one thread: of two that log to standard output at once, HAProxy drops a line.
			spew("$dir/haproxy.cfg", place('haproxy.cfg', '127.0.0.1:8787' => "127.0.0.1:$port", 'bind :443' => "bind 127.0.0.1:$self->{plain}\n\tbind $host:$self->{port}",
			    '/etc/haproxy/jobs.example.com.pem' => "$dir/jobs.pem", 'log /dev/log local0' => "log stdout format raw local0\n\tnbthread 1"));
			background([ $program{haproxy}, '-db', '-f', "$dir/haproxy.cfg" ], log => "$dir/haproxy.log");
		},
		# … frontend backend/server Tq/Tw/Tc/Tr/Tt status … "GET /path HTTP/1.1"
		sent => sub {
			map { m{ jobqd/here \S+ (\d+) .*"\S+ (\S+)[^"]*"$} && $1 >= 100 ? $2 : () } grep { / jobs~? / } split /\n/, $_[0];
		},
	},
);

sub seen { map { m{ request from=\S+ method=\S+ path="?([^ "]+)} ? $1 : () } grep { !m{path=/(?:readyz|v1/events)} } split /\n/, $_[0] }
sub median { my @t = sort { $a <=> $b } @_; return $t[ @t / 2 ] }

for my $name (qw(nginx haproxy)) {
	my $p = $proxy{$name};
	SKIP: {
		skip "$name is not installed", 1 unless $program{$name};
		through($p, "$dir/$name.log");
	}
}
unlike(Http->new("127.0.0.1:$port")->request('/v1/session', method => 'POST', headers => { Authorization => 'Bearer secret' })->{headers}{'set-cookie'},
    qr/Secure/, 'without proxy and TLS a cookie is for any connection');
is $d->stop, 0, 'exit 0';
done_testing;

sub through {
	my ($p, $log) = @_;
	my $name = $p->{name};
	$p->{$_} = free_port() for qw(port plain);	# with TLS, as in the sample, and without
	$p->{start}->($p);
	wait_port($p->{plain});
	my $http = Http->new("tls:$host:$p->{port}");
	wait_for { my $r = eval { $http->get('/healthz') }; $r && $r->{status} == 200 } "$name to serve";

	# The requests of a stretch: as the proxy has sent them on, and as the API
	# has seen them. What the proxy has not written yet is waited for.
	my ($api_from, $proxy_from) = ($d->log_size, 0);
	my $stretch = sub {
		my (@seen, @sent);
		eval { wait_for {
			@seen = seen($d->log($api_from));
			# a stream's end is told by each in its own time
			@sent = grep { !m{^/v1/events} } $p->{sent}->(substr slurp($log), $proxy_from);
			@sent >= @seen;
		} 'the log', 5 };
		($api_from, $proxy_from) = ($d->log_size, -s $log);
		return \@sent, \@seen;
	};

	#
	# ordinary requests
	#
	my $r = $http->get('/healthz');
	is $r->{status}, 200, "$name: a request";
	ok $r->{headers}{'strict-transport-security'}, '… by TLS only (S1-54)';
	my $c = $http->connect;
	$c->send("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
	my $head = $c->answer('HEAD');
	is $head->{status}, 200, '… HEAD';
	$c->send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
	is $c->answer->{status}, 200, '… and the connection goes on';
	$c->send("GET /healthz HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
	$r = $c->answer;
	$c->send('abc');
	$r = $c->answer if $r->{status} == 100;
	is $r->{status}, 200, '… 100-continue';
	$c->send("GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n");
	is $c->answer->{status}, 200, '… a body in chunks';
	$r = $http->request('/nowhere', method => 'POST', body => 'x' x 1_000_000);
	is $r->{status}, 404, '… a body that nobody wants';
	is $http->get('/healthz')->{status}, 200, '… and the next request';
	my ($got) = run_program([ 'curl', '-sSfk', '--http2', '-o', "$dir/out", '-w', '%{http_version}', map { "https://$host:$p->{port}/healthz?$_" } 1 .. 3 ]);
	is $got, 0, '… HTTP/2 on the outside';

	# A browser's: good for TLS alone, and for pages of this very host.
	my %login = (Authorization => 'Bearer secret', Host => 'jobs.example.com:8443', Origin => 'https://jobs.example.com:8443');
	$r = $http->request('/v1/session', method => 'POST', headers => \%login);
	is $r->{status}, 204, '… a cookie';
	like $r->{headers}{'set-cookie'}, qr/; Secure/, '… for TLS only';
	is $http->request('/v1/session', method => 'POST', headers => { %login, Origin => 'https://elsewhere.example.com' })->{status}, 403,
	    '… not for a page of elsewhere';

	# Who the client is: what it says itself does not count.
	my $from = $d->log_size;
	$http->get('/metrics', 'X-Forwarded-For' => '203.0.113.9', Forwarded => 'for=203.0.113.9');
	SKIP: {
		skip 'this machine has no address but its loopback', 1 unless $own;
		like $d->wait_log(qr/path=\/metrics/, $from), qr/from=\Q$own\E /, '… from its own address';
	}

	# Events come when they happen: nothing on the way keeps them.
	$c = $http->connect;
	$c->send("GET /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer secret\r\n\r\n");
	wait_for { $c->more(1); $c->{in} =~ /\r\n\r\n/ } 'the stream to begin';
	like $c->{in}, qr{^HTTP/1\.1 200 .*^Content-Type: text/event-stream}msi, '… a stream of events';
	my $began = time;
	my $id = $pg->query("SELECT jobq.enqueue('work')");
	wait_for { $c->more(1); $c->{in} =~ /"id" ?: ?$id\b/ } 'the event';
	pass sprintf '… which come as they happen, this one after %.2f s', time - $began;
	$c->close;

	#
	# many, over few connections
	#
	$stretch->();
	my @clients = map { $http->connect } 1 .. 8;
	$from = $d->log_size;
	my $answered = 0;
	$began = time;
	for (1 .. 125) {
		# five at a time on each
		$_->send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" x 5) for @clients;
		for my $c (@clients) { $answered += $c->answer->{status} == 200 for 1 .. 5 }
	}
	my $took = time - $began;
	$_->close for @clients;
	is $answered, 5000, sprintf '%s: 5,000 requests, %.0f a second', $name, 5000 / $took;
	my ($sent, $seen) = $stretch->();
	is scalar(@$seen), scalar(@$sent), '… as many as it has sent on: ' . @$sent;
	# The API tells of a connection at its end.
	my $ended = () = $d->log($from) =~ /connection ended .*requests=(?!1\b)\d+/g;
	cmp_ok $ended, '<', 50, "… connections to the API that have ended meanwhile: $ended";

	#
	# hostile ones
	#
	my ($smuggled, $n, $passed) = (0, 0, 0);
	$http = Http->new("127.0.0.1:$p->{plain}");
	$api_from = $d->log_size;
	$proxy_from = -s $log || 0;
	for (hostile('/healthz', '/metrics')) {
		my ($what, $text) = @$_;
		my $c = $http->connect;
		$c->send($text);
		# Until it is closed, or nothing more comes; the proxy logs at the end.
		1 while $c->more(0.4);
		$c->close;
		$n++;
		my ($sent, $seen) = $stretch->();
		$passed += @$sent;
		# What the API has refused has no path.
		next if @$sent == @$seen && !grep { $seen->[$_] ne '-' && $seen->[$_] ne $sent->[$_] } 0 .. $#$sent;
		$smuggled++;
		diag "$name, $what: sent on (@$sent), seen (@$seen)";
	}
	is $smuggled, 0, "$name: hostile requests: $n, sent on by it: $passed, about whose end the two disagree: $smuggled";
	$r = $http->get('/healthz');
	is $r->{status}, 200, '… and it goes on';
}
