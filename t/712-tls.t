# TLS: which files are taken, what is spoken, and that neither slow, broken nor
# hostile handshakes hold anybody up (S1-54, S3-39, S4-49).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Http;
use IO::Select;
use IPC::Open2;
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my $dir = temp_directory();
my $port = free_port();
my $base = "handlers: {null: {driver: noop}}\nqueues: {work: {handler: null, workers: 2, max_payload: 3MiB, enabled: false}}\n";

# A certificate of our own authority, valid for days.
sub openssl {
	my ($status, $out, $err) = run_program([ 'openssl', @_ ]);
	die "openssl @_: $err" if $status != 0;
	return $out;
}
sub certify {
	my ($name, $days, @key) = @_;
	openssl('req', '-newkey', @key, '-nodes', '-keyout', "$dir/$name.key", '-out', "$dir/$name.csr", '-subj', "/CN=$name");
	spew("$dir/$name.ext", "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
	openssl('x509', '-req', '-in', "$dir/$name.csr", '-CA', "$dir/ca.crt", '-CAkey', "$dir/ca.key", '-CAcreateserial', '-days', $days,
	    '-extfile', "$dir/$name.ext", '-out', "$dir/$name.crt");
	chmod 0600, "$dir/$name.key";
}
my @ec = ('ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1');
openssl('req', '-x509', '-newkey', @ec, '-nodes', '-keyout', "$dir/ca.key", '-out', "$dir/ca.crt", '-subj', '/CN=authority', '-days', 30);
certify('one', 30, @ec);
certify('two', 3, @ec);
certify('rsa', 30, 'rsa:2048');
sub use_pair { my ($crt, $key) = @_; return "api: {listen: \"127.0.0.1:$port\", max_body: 3MiB, admin_key: adminkey, tls: {cert: $crt, key: $key}}\n" }

#
# files
#
spew("$dir/junk", "no certificate\n");
spew("$dir/locked.key", openssl('pkey', '-in', "$dir/one.key", '-aes128', '-passout', 'pass:x'));
chmod 0600, "$dir/locked.key", "$dir/junk";
spew("$dir/open.key", slurp("$dir/one.key"));
chmod 0644, "$dir/open.key";
sub check {
	my ($api) = @_;
	spew("$dir/check.yml", $base . $api);
	my ($status, $out, $err) = run_program([ jobqd_program(), '-t', '-c', "$dir/check.yml" ]);
	return $status == 0 ? 'ok' : $err =~ s{^\Q$dir\E/check\.yml:}{}r =~ s/\Q$dir\E\///gr;
}
my @files = (
	[ 'one.crt', 'one.key', qr/^ok$/, 'a pair' ],
	[ 'rsa.crt', 'rsa.key', qr/^ok$/, 'a pair of RSA' ],
	[ 'none.crt', 'one.key', qr/^3:\d+: cert: cannot read the certificate none\.crt: No such file or directory$/, 'no certificate' ],
	[ 'one.crt', 'none.key', qr/^3:\d+: key: cannot read the key none\.key: No such file or directory$/, 'no key' ],
	[ 'junk', 'one.key', qr/^3:\d+: cert: cannot use the certificate junk: no start line$/, 'a certificate that is none' ],
	[ 'one.crt', 'junk', qr/^3:\d+: key: cannot use the key junk: \w/, 'a key that is none' ],
	[ 'one.crt', 'two.key', qr/^3:\d+: key: the key two\.key is not that of the certificate one\.crt$/, 'a key of another certificate' ],
	[ 'one.crt', 'rsa.key', qr/^3:\d+: key: the key rsa\.key is not that of the certificate one\.crt$/, '… of another kind' ],
	[ 'one.crt', 'locked.key', qr/^3:\d+: key: cannot use the key locked\.key: \w/, 'a key with a passphrase' ],
	[ 'one.crt', 'open.key', qr/^3:\d+: key: the key open\.key has permissions 644: .*chmod 0600/, 'a key that all may read' ],
);
like check(use_pair("$dir/$_->[0]", "$dir/$_->[1]")), $_->[2], "-t: $_->[3]" for @files;
like check("api: {listen: off, tls: {key: $dir/one.key}}\n"), qr/^3:20: tls: a certificate needs its key/, '-t: a key alone';

#
# what is spoken
#
my $pg = Jobqd::Postgres->new;
sub install { my ($name) = @_; spew("$dir/live.$_", slurp("$dir/$name.$_")) for qw(crt key); chmod 0600, "$dir/live.key" }
install('one');
my $d = Jobqd::Daemon->new(pg => $pg, config => $base . use_pair("$dir/live.crt", "$dir/live.key"));
$d->start;
my $url = "https://localhost:$port";
sub curl { my ($status, $out, $err) = run_program([ 'curl', '-sS', '--cacert', "$dir/ca.crt", @_ ]); return $status == 0 ? $out : "failed: $err" }
my $answer = curl('-i', "$url/healthz");
like $answer, qr{^HTTP/1\.1 200 OK\r\n}, 'curl trusts it (S1-54)';
like $answer, qr/^Strict-Transport-Security: max-age=\d{7,}/m, '… and is told to come by TLS only';
like curl('--tls-max', '1.2', "$url/healthz"), qr/alive/, 'TLS 1.2';
like curl('--tlsv1.3', "$url/healthz"), qr/alive/, 'TLS 1.3';
like curl('--http2', '-o', '/dev/null', '-w', '%{http_version}', "$url/healthz"), qr/^1\.1$/, 'who offers HTTP/2 too gets HTTP/1.1';

# s_client, which ends when it is connected; options last.
sub hello {
	my ($status, $out, $err) = run_program([ 'openssl', 's_client', '-connect', "localhost:$port", '-CAfile', "$dir/ca.crt", @_ ]);
	return $out . $err;
}
like hello('-alpn', 'h2,http/1.1'), qr/^ALPN protocol: http\/1\.1$/m, 'ALPN: http/1.1';
like hello('-alpn', 'h2'), qr/alert no application protocol/, '… and nothing else';
like hello(), qr/Verify return code: 0 \(ok\)/, 'the certificate verifies';
for my $old (qw(-tls1 -tls1_1)) {
	unlike hello($old, '-cipher', 'ALL:@SECLEVEL=0'), qr/^ {4}Cipher +: (?!0000)\w/m, "$old is refused";
}
unlike hello('-tls1_2', '-cipher', $_), qr/^New, TLSv1.2, Cipher is \w/m, "TLS 1.2 with $_ is refused" for qw(AES128-GCM-SHA256 ECDHE-ECDSA-AES128-SHA);
like hello('-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-GCM-SHA256'), qr/Cipher is ECDHE-ECDSA-AES128-GCM-SHA256/, '… with a good one not';

# Sessions are resumed, by a ticket.
for my $version (qw(-tls1_2 -tls1_3)) {
	my $s = Http::tls_socket("127.0.0.1:$port", $version, '-sess_out', "$dir/session");
	my $c = bless { socket => $s, in => '' }, 'Http::Connection';
	$c->send("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	is $c->answer->{status}, 200, "$version: a session";
	wait_for { -s "$dir/session" } 'the session to be saved';
	like hello($version, '-sess_in', "$dir/session"), qr/^Reused, TLSv/m, '… is resumed';
	unlink "$dir/session";
}

my $plain = Http->new("127.0.0.1:$port");
my $r = $plain->get('/healthz');
is $r->{status}, 400, 'plain HTTP: 400';
like $r->{body}, qr{this port speaks TLS: the address begins with https://}, '… that says why';
ok !$r->{headers}{'strict-transport-security'}, '… and nothing of TLS';

my $http = Http->new("tls:127.0.0.1:$port");
my $c = $http->connect;
$c->send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" x 200);
is scalar(grep { $c->answer->{status} == 200 } 1 .. 200), 200, 'two hundred pipelined requests';
$c->send("GET /healthz HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
is $c->answer->{status}, 100, 'Expect: 100-continue';
$c->send('abc');
is $c->answer->{status}, 200, '… and the answer';
# One record that has a head, the next one its rest and another request.
$c->send($_) for "GET /heal", "thz HTTP/1.1\r\nHost: a\r\n\r\nGET /nowhere HTTP/1.1\r\n", "Host: a\r\n\r\n";
is join(' ', map { $c->answer->{status} } 1 .. 2), '200 404', 'requests across records';

# Bodies of 1 MiB there and back, by records of OpenSSL's, in one chunk and in many.
my $large = join '', map { chr(97 + rand 26) } 1 .. 1 << 20;
for my $chunked (0, 1) {
	my $body = "{\"queue\":\"work\",\"data\":{\"text\":\"$large\"}}";
	my $c = $http->connect;
	$c->send("POST /v1/jobs HTTP/1.1\r\nHost: a\r\nX-Admin-Key: adminkey\r\n"
	    . ($chunked ? "Transfer-Encoding: chunked\r\n\r\n" . join('', map { sprintf("%x\r\n", length) . "$_\r\n" } $body =~ /(.{1,9999})/gs) . "0\r\n\r\n"
		: 'Content-Length: ' . length($body) . "\r\n\r\n$body"));
	my $r = $c->answer;
	is $r->{status}, 201, 'a body of 1 MiB' . ($chunked ? ' in chunks' : '');
	my ($id) = $r->{body} =~ /"id"\s*:\s*(\d+)/;
	$c->send("GET /v1/jobs/$id HTTP/1.1\r\nHost: a\r\nX-Admin-Key: adminkey\r\n\r\n" x 2);
	is scalar(grep { index($c->answer->{body}, $large) > 0 } 1, 2), 2, '… and back, twice';
}

# A stream, whose client has sent a part of a record: that is nothing to do.
my $stream = <<'PY';
import socket, ssl, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 30)
got, out = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = ssl._create_unverified_context().wrap_bio(got, out)
def until(step):
    while True:
        try:
            result = step()
            s.sendall(out.read())
            return result
        except ssl.SSLWantReadError:
            s.sendall(out.read())
            got.write(s.recv(65536))
until(tls.do_handshake)
tls.write(b"GET /v1/events HTTP/1.1\r\nHost: a\r\nX-Admin-Key: adminkey\r\n\r\n")
s.sendall(out.read())
text = b""
while b"text/event-stream" not in text:
    text += until(lambda: tls.read(65536))
s.sendall(b"\x17\x03\x03")
s.settimeout(60)
print("begun", flush=True)
while b"event: job" not in text:
    text += until(lambda: tls.read(65536))
print("event", flush=True)
PY
my ($streams) = $d->pids(qr/^jobqd: api$/);
sub ticks { my @f = split ' ', (slurp("/proc/$_[0]/stat") =~ /^\d+ \(.*\) (.*)/s)[0]; return $f[11] + $f[12] }
open my $said, '-|', 'python3', '-c', $stream, $port or die "python3: $!\n";
is scalar(<$said>), "begun\n", 'a stream by TLS';
my $ticks = ticks($streams);
select undef, undef, undef, 1.5;
$ticks = ticks($streams) - $ticks;
cmp_ok $ticks, '<', 15, "… costs nothing while nothing happens, also with half a record: $ticks ticks";
$pg->query("SELECT jobq.enqueue('work')");
is scalar(<$said>), "event\n", '… and brings what happens';
close $said;

# The end is said, so that nobody can cut an answer short.
my $ends = <<'PY';
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
s = context.wrap_socket(socket.create_connection(("localhost", int(sys.argv[1])), 30), server_hostname="localhost", suppress_ragged_eofs=False)
s.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
while s.recv(65536):
    pass
print("said")
PY
is ((run_program([ 'python3', '-c', $ends, $port, "$dir/ca.crt" ]))[1], "said\n", 'the end of the connection is said');

# New keys in the midst of it; a new handshake is refused.
sub interactive {
	my ($letter, $expect, @options) = @_;
	my $pid = open2(my $out, my $in, 'sh', '-c', 'exec openssl s_client "$@" 2>&1', 's_client', '-connect', "localhost:$port", @options);
	$in->autoflush(1);
	my $text = '';
	my $until = sub {
		my ($pattern) = @_;
		wait_for {
			return 1 if $text =~ $pattern;
			return 0 unless IO::Select->new($out)->can_read(0.1);
			sysread($out, $text, 65536, length $text) or die "s_client has ended:\n$text";
			$text =~ $pattern;
		} "s_client to say $pattern";
	};
	eval {
		$until->(qr/^ *Verify return code.*\n/m);
		print $in "$letter\n";
		$until->($expect);
		print $in "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
		$until->(qr/"alive"/);
	};
	my $why = $@;
	kill 'KILL', $pid;
	waitpid $pid, 0;
	return $why =~ /^s_client has ended/ ? 'ended' : $why || 'goes on';
}
is interactive('K', qr/KEYUPDATE/, '-tls1_3'), 'goes on', 'an update of the keys on both sides';
is interactive('k', qr/KEYUPDATE/, '-tls1_3'), 'goes on', '… of the client alone';
is interactive('R', qr/RENEGOTIATING/, '-tls1_2'), 'ended', 'a new handshake on the old one is refused';
like curl("$url/healthz"), qr/alive/, '… and others do not notice';

#
# clients that are slow or hostile
#
my ($api) = $d->pids(qr/^jobqd: api$/);
sub descriptors { return scalar(my @fds = glob "/proc/$api/fd/*") }
wait_for { descriptors() <= 20 } 'the connections so far to be gone';
my $at_rest = descriptors();

srand(my $seed = $ENV{SEED} || 712);
for (1 .. 200) {
	my $s = $plain->connect;
	$s->send("\x16" . join '', map { chr rand 256 } 1 .. rand 600);
	$s->close;
}
like curl("$url/healthz"), qr/alive/, "200 handshakes of noise (SEED=$seed)";

# The first bytes of a true handshake, and then nothing.
my $first = pack 'C*', 0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3;
sub median { my @t = sort { $a <=> $b } @_; return $t[ @t / 2 ] }
sub timed { my $began = time; curl("$url/healthz") =~ /alive/ or die; return time - $began }
my $alone = median(map { timed() } 1 .. 15);
my $began = time;
my @slow = map { my $s = $plain->connect or die; $s->send($first) if $_ % 2; $s } 1 .. 400;
my $beside = median(map { timed() } 1 .. 15);
pass sprintf('beside 400 handshakes that do not go on: %.1f ms, alone %.1f ms, ratio %.2f', 1000 * $beside, 1000 * $alone, $beside / $alone);
cmp_ok $beside, '<', 10 * $alone + 0.5, '… which hold nobody up';
my $ended = wait_for { !grep { !$_->ended(0) } @slow[0, 1, -1] } 'them to be closed';
cmp_ok time - $began, '>=', 9, sprintf('they are closed, after %.1f s', time - $began);

# Handshakes that are done, and then nothing, or half a request, or an end of it.
@slow = map { $http->connect } 1 .. 10;
$slow[$_]->send("GET /healthz HTTP/1.1\r\n") for 0 .. 4;
$slow[$_]->{socket}->shutdown(1) for 5, 6;
$r = eval { $slow[0]->answer };
is $r && $r->{status}, 408, 'half a request: 408';
wait_for { descriptors() <= $at_rest } 'all of them to be gone';
pass 'no descriptor is left of them';

#
# reload
#
sub subject { return hello() =~ /^subject=CN = (\w+)/m ? $1 : '' }
sub reload {
	my ($what) = @_;
	my $from = $d->log_size;
	$d->signal('HUP');
	return $d->wait_log($what, $from);
}
is subject(), 'one', 'the first certificate';
reload(qr/reload.*changed=nothing/);
pass 'a reload with the same files changes nothing';
my $old = $http->connect;
$old->send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /heal");
is $old->answer->{status}, 200, 'a client in the middle of a request';
install('two');
my $from = $d->log_size;
reload(qr/: reloaded /);
is subject(), 'two', 'another certificate after a reload';
like $d->wait_log(qr/the certificate expires/, $from), qr/days=[23]\b/, '… which is warned of, as it ends soon';
$old->send("thz HTTP/1.1\r\nHost: a\r\n\r\n");
is $old->answer->{status}, 200, '… and the client has its answer';
spew("$dir/live.key", slurp("$dir/one.key"));
like reload(qr/reload refused/), qr/key: the key \S+ is not that of the certificate/, 'a key that does not fit: refused';
is subject(), 'two', '… and all stays';

is $d->stop, 0, 'exit 0';
done_testing;
