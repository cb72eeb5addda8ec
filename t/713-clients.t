# Who a client is, how many connections it may have, and that slow ones hold
# nobody up (S4-49, S1-54).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Http;
use IO::Socket::INET;
use IO::Socket::IP;
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new;
my $port = free_port();
my $base = "handlers: {null: {driver: noop}}\nqueues: {work: {handler: null}}\n";
sub with { return "${base}api: {listen: \"$_[0]\", $_[1]}\n" }
my $d = Jobqd::Daemon->new(pg => $pg, config => with("*:$port", 'connections_per_address: 5'));
$d->start;
my $http = Http->new("127.0.0.1:$port");

# Who the log says that a request is from.
sub from_of {
	my ($how, %headers) = @_;
	my $from = $d->log_size;
	my $r = (ref $how ? $how : Http->new($how))->get('/healthz', %headers);
	die "no answer\n" unless $r && $r->{status} == 200;
	return $d->wait_log(qr/debug api .*: request from=/, $from) =~ /from=(\S+)/ ? $1 : '';
}
sub reload {
	my ($config) = @_;
	my $from = $d->log_size;
	$d->configure($config);
	$d->signal('HUP');
	$d->wait_log(qr/: reloaded /, $from);
}

#
# addresses
#
is from_of($http), '127.0.0.1', 'an address of IPv4, on a socket that takes both';
SKIP: {
	my $six = IO::Socket::IP->new(PeerHost => '::1', PeerPort => $port) or skip 'no IPv6', 1;
	my $from = $d->log_size;
	my $c = bless { socket => $six, in => '' }, 'Http::Connection';
	$c->send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
	$c->answer;
	like $d->wait_log(qr/: request from=/, $from), qr/from=::1 /, 'an address of IPv6';
}
is from_of($http, 'X-Forwarded-For' => '203.0.113.9'), '127.0.0.1', 'who trusts no proxy is not told other ones';

# This machine by an address that is not its loopback.
my ($own) = grep { /^\d+\.\d+\.\d+\.\d+$/ && !/^127\./ } split ' ', (run_program([ 'hostname', '-I' ]))[1];
SKIP: {
	skip 'this machine has no address but its loopback', 9 unless $own;
	my $outside = Http->new("$own:$port");
	is from_of($outside), $own, 'another address';
	my @idle = map { my $c = $outside->connect; $c->send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"); $c->answer; $c } 1 .. 5;
	my $more = $outside->connect;
	$more->send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
	is $more->answer->{status}, 200, 'one too many takes the place of an idle one of the same address';
	ok $idle[0]->ended(10), '… the one that was idle for longest';
	is scalar(grep { defined $_->ended(0) && $_->ended(0) } @idle[ 1 .. 4 ]), 0, '… the others stay';
	@idle = ();
	$more->close;
	# Connections that are at work cannot give way.
	my @busy = map { $outside->connect } 1 .. 5;
	for (@busy) {
		$_->send("GET /healthz HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n");
		$_->answer;
		$_->send('abc');
	}
	ok $outside->connect->ended(10), 'beside five that are at work the next one is closed';
	is $http->get('/healthz')->{status}, 200, '… but not those of others';
	my $began = time;
	my $flood = 0;
	for (1 .. 500) { my $c = $outside->connect or next; $flood++; push @idle, $c }
	my $r = $http->get('/healthz');
	is $r->{status}, 200, sprintf('a flood of %d from there: others are answered, all in %.1f s', $flood, time - $began);
	$_->send('defghij') for @busy;
	is scalar(grep { (eval { $_->answer->{status} } || 0) == 200 } @busy), 5, '… and so are those that were at work';
	@idle = @busy = ();
	reload(with("*:$port", 'connections_per_address: 0'));
	@idle = map { $outside->connect } 1 .. 50;
	$_->send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n") for @idle;
	is scalar(grep { $_->answer->{status} == 200 } @idle), 50, '0: no limit';
}
# Loopback and unix sockets stand for many.
my $path = "$d->{dir}/api.sock";
chmod 0755, $d->{dir};
reload(with("*:$port", 'connections_per_address: 5'));
my @local = map { $http->connect } 1 .. 50;
$_->send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n") for @local;
is scalar(grep { $_->answer->{status} == 200 } @local), 50, 'this machine itself has no limit of its own';
@local = ();

#
# proxies
#
reload(with("*:$port", 'connections_per_address: 5, trusted_proxies: [127.0.0.1, 10.0.0.0/8]'));
is from_of($http), '127.0.0.1', 'a proxy that says nothing';
is from_of($http, 'X-Forwarded-For' => '203.0.113.9'), '203.0.113.9', 'a proxy that says who it is';
is from_of($http, 'X-Forwarded-For' => '1.2.3.4, 203.0.113.9, 10.2.3.4'), '203.0.113.9', '… of several the last that is not ours';
is from_of($http, 'X-Forwarded-For' => "x'); drop table jobq.job --"), '127.0.0.1', '… or nonsense';
is from_of($http, Forwarded => 'for=203.0.113.9'), '127.0.0.1', '… or in the field that is not agreed on';
reload(with("unix:$path", 'trusted_proxies: [unix], forwarded: forwarded'));
my $unix = Http->new("unix:$path");
is from_of($unix), 'unix', 'by a unix socket';
is from_of($unix, Forwarded => 'for="[2001:db8::9]:80";proto=https, for=10.2.3.4'), '10.2.3.4', '… of which only itself is trusted';
is from_of($unix, Forwarded => 'for="[2001:db8::9]:80";proto=https'), '2001:db8::9', '… and who it says';
is from_of($unix, 'X-Forwarded-For' => '203.0.113.9'), 'unix', '… in the agreed field';

#
# slow clients
#
reload(with("127.0.0.1:$port", 'connections_per_address: 5'));
sub median {
	my @t;
	for (1 .. 100) { my $began = time; $http->get('/healthz')->{status} == 200 or die; push @t, time - $began }
	return (sort { $a <=> $b } @t)[50];
}
my $alone = median();
my @slow = map { my $c = $http->connect; $c->send("GET /healthz HTTP/1.1\r\nHost: a\r\nX-$_: "); $c } 1 .. 500;
my $dripping = fork // die "fork: $!\n";
if ($dripping == 0) {	# a byte to each, all the time
	while (1) { $_->send('x') for @slow; select undef, undef, undef, 0.05 }
}
my $beside = median();
kill 'KILL', $dripping;
waitpid $dripping, 0;
pass sprintf('beside 500 clients that drip: %.2f ms, alone %.2f ms, ratio %.2f', 1000 * $beside, 1000 * $alone, $beside / $alone);
cmp_ok $beside, '<', 20 * $alone + 0.2, '… which hold nobody up';

is $d->stop, 0, 'exit 0';
done_testing;
