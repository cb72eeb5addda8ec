# Bodies that nobody means well by: the answer is a problem document, and the
# process goes on (S2-57, S3-39).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Http;
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $port = free_port();
Api::tokens("$dir/tokens", [qw(root admin * root)]);
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers: {null: {driver: noop}}
queues: {work: {handler: null, enabled: false, max_payload: 1MiB}}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens, rate_limit: 100000/s, max_body: 256KiB}
YAML
$d->start;
my $api = Api->new("127.0.0.1:$port", 'root');
my ($pid) = $d->pids(qr/^jobqd: api$/);

my $deep = sub { my ($n) = @_; '{"queue":"work","data":{"x":' . '[' x $n . ']' x $n . '}}' };
for my $case (
	['{', 400], ['', 422], ['null', 422], ['[]', 422], ['"x"', 422], ['1', 422], ['{"queue":"work"', 400], ['{"queue":"work"}}', 400],
	['{"queue":"work",}', 400], ['{queue:"work"}', 400], ["{'queue':'work'}", 400], ['{"queue":"work"} // x', 400],
	["\xef\xbb\xbf{\"queue\":\"work\"}", 400], ['{"queue":"work","queue":"work"}', 400], ['{"queue":"work","qu\\u0065ue":"work"}', 400],
	['{"queue":"work","data":{"a":1,"a":2}}', 400], ['{"queue":"work","data":{"a":{"b":1,"c":2,"b":3}}}', 400],
	['{"queue":"work","data":{"a":"\\u0000"}}', 400], ["{\"queue\":\"work\",\"data\":{\"a\":\"\0\"}}", 400], ["{\"queue\":\"wo\0rk\"}", 400],
	["{\"queue\":\"work\",\"data\":{\"a\":\"\xff\"}}", 400], ["{\"queue\":\"work\",\"data\":{\"a\":\"\xc0\xaf\"}}", 400],
	["{\"queue\":\"work\",\"data\":{\"a\":\"\xed\xa0\x80\"}}", 400], ['{"queue":"work","data":{"a":"\\ud800"}}', 400],
	['{"queue":"work","data":{"a":"\\udc00\\ud800"}}', 400], ['{"queue":"work","data":{"a":"\\x"}}', 400], ['{"queue":"work","data":{"a":"\\u12"}}', 400],
	["{\"queue\":\"work\",\"data\":{\"a\":\"\n\"}}", 400], ['{"queue":"work","data":{"a":NaN}}', 400], ['{"queue":"work","data":{"a":Infinity}}', 400],
	['{"queue":"work","data":{"a":01}}', 400], ['{"queue":"work","data":{"a":1.}}', 400], ['{"queue":"work","data":{"a":.5}}', 400],
	['{"queue":"work","data":{"a":+1}}', 400], ['{"queue":"work","data":{"a":1e}}', 400], ['{"queue":"work","data":{"a":tru}}', 400],
	['{"queue":"work","data":{"a":1e400000}}', 422], ['{"queue":"work","priority":1e400000}', 422], ['{"queue":"work","priority":' . '9' x 5000 . '}', 422],
	['{"queue":"work","data":{"a":' . '9' x 5000 . '}}', 201], ['{"queue":"work","data":{"a":"\\ud83d\\ude00\\u00e9"}}', 201],
	[$deep->(90), 201], [$deep->(101), 400], [$deep->(100000), 400], ['[' x 200000, 400], ['{"a":' x 40000, 400],
	['{"queue":"work","data":{' . join(',', map { "\"k$_\":1" } 1 .. 20000) . '}}', 201],
	['{"queue":"work","data":{' . join(',', map { '"k' . $_ % 19999 . '":1' } 1 .. 20000) . '}}', 400],
	['{' . join(',', map { "\"k$_\":1" } 1 .. 20000) . '}', 422], ['{"' . 'x' x 100000 . '":1}', 422],
	['{"queue":"work","tags":[' . join(',', ('"x"') x 1001) . ']}', 422], ['{"queue":"work","after":[' . join(',', 1 .. 1001) . ']}', 422],
	['{"queue":"' . 'x' x 100000 . '"}', 422], ['{"queue":"work","data":{"a":"' . 'x' x 300000 . '"}}', 413],
	["{\"queue\":\"work'; DROP TABLE jobq.job; --\"}", 422], ['{"queue":"work","type":"\\u0007\\u001b[31m"}', 201],
) {
	my ($body, $want) = @$case;
	my $r = $api->request('POST', '/v1/jobs', body => $body);
	my $shown = substr $body, 0, 60;
	$shown =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ge;
	is $r->{status}, $want, "$want: $shown" . ($want < 300 ? '' : ' … ' . substr $r->{detail}, 0, 100);
	is $r->{headers}{'content-type'}, 'application/problem+json', '… a problem document' if $want >= 300;
}

# Whatever bytes.
srand 4711;
my %status;
my @pieces = ('{', '}', '[', ']', '"', ':', ',', '\\', '\\u', 'queue', 'work', 'data', '1', '-', 'e5', ' ', "\n", "\xff", "\xc3\xa9", "\0", 'null', 'true', '"queue":"work"');
for (1 .. 500) {
	my $r = $api->request('POST', '/v1/jobs', body => join '', map { $pieces[rand @pieces] } 1 .. 1 + rand 40);
	$status{ $r->{status} }++;
}
# S1-55
is_deeply [grep { !/^(?:201|400|422)$/ } keys %status], [], 'random bodies: ' . join ', ', map { "$status{$_} × $_" } sort keys %status;
%status = ();
for (1 .. 300) {
	my $query = join '', map { ('queue', 'state', '=', '&', '%', '%41', '%ff', '%00', '+', 'a', 'data.', 'limit', '1', '%26')[rand 14] } 1 .. 1 + rand 12;
	my $r = $api->get("/v1/jobs?$query");
	$status{ $r->{status} }++;
}
is_deeply [grep { !/^(?:200|400|422)$/ } keys %status], [], 'random queries: ' . join ', ', map { "$status{$_} × $_" } sort keys %status;

# A chunked body is as good.
my $c = Http->new("127.0.0.1:$port")->connect;
$c->send("POST /v1/jobs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer root\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{\"queue\":\r\n7\r\n\"work\"}\r\n0\r\n\r\n");
is $c->answer->{status}, 201, 'a chunked body';

# The client goes before its answer.
for (1 .. 30) {
	my $gone = Http->new("127.0.0.1:$port")->connect;
	$gone->send("GET /v1/jobs?count=yes HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer root\r\n\r\n");
	$gone->close;
}
is $api->get('/v1/jobs')->{status}, 200, 'clients that go before their answer harm nobody';
is_deeply [$d->pids(qr/^jobqd: api$/)], [$pid], 'the process is the same all along';
unlike slurp($d->{log}), qr/ (?:error|warn) +api /, 'and nothing of it was worth a warning';
done_testing;
