# Webhooks that others send become jobs: who sent them, once for each event, and
# what the job's data is (S0-10, S2-10, S4-51).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Digest::SHA qw(hmac_sha256 hmac_sha256_hex);
use Jobqd;
use MIME::Base64 qw(encode_base64 decode_base64);
use Test::More;

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $port = free_port();
my $key = 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
spew("$dir/secrets", "old-and-known\nin-a-file\n");
Api::tokens("$dir/tokens", [qw(ops admin * ops-secret)]);
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers: {null: {driver: noop}}
queues: {webhooks: {handler: null, workers: 1, max_payload: 64KiB}}
hooks:
  standard: {queue: webhooks, type: event, verify: {secret: "whsec_$key", secrets: ["whsec_bmV3IG9uZSBoZXJl"]}}
  stamped: {queue: webhooks, verify: {scheme: timestamped-hmac, secret_file: $dir/secrets, tolerance: 1m}, event_id: "body:event.id"}
  github: {queue: webhooks, type: push, tenant: acme, verify: {scheme: github, secret: "It's a Secret to Everybody"}}
  graph: {queue: webhooks, verify: {scheme: microsoft-graph, secret: client-state}, event_id: "body:value.0.id"}
  gitlab: {queue: webhooks, verify: {scheme: token, header: x-gitlab-token, secret: lab}}
  bearer: {queue: webhooks, verify: {scheme: token, secret: lab}}
  open: {queue: webhooks, verify: {scheme: none}, payload: event, event_id: "header:x-event-id"}
monitor: {health_file: ""}
api: {trusted_proxies: [127.0.0.1], listen: "127.0.0.1:$port", tokens_file: $dir/tokens, max_body: 128KiB, rate_limit: 100000/s}
YAML
$d->start;
$pg->query("SELECT jobq.pause('webhooks')");
my $http = Api->new("127.0.0.1:$port");
# Each from an address of its own, but for those that say otherwise.
my $from = 0;
sub post {
	my ($hook, $body, %headers) = @_;
	return $http->post("/v1/hooks/$hook", $body, headers => { 'Content-Type' => 'application/json', 'X-Forwarded-For' => '10.1.1.' . ++$from, %headers });
}
sub data_of { return $Api::json->decode($pg->query("SELECT data FROM jobq.jobs WHERE id = $_[0]")) }
sub events { return $pg->query("SELECT count(*) FROM jobq.webhook_events WHERE hook = '$_[0]'") }

#
# Standard Webhooks
#
sub standard {
	my ($body, %o) = @_;
	my ($id, $at) = ($o{id} // 'msg_1', $o{at} // time);
	my $sign = sub { 'v1,' . encode_base64(hmac_sha256("$id.$at.$body", decode_base64($_[0])), '') };
	my $prefix = $o{prefix} // 'webhook';
	return ("$prefix-id" => $id, "$prefix-timestamp" => $at, "$prefix-signature" => $o{signature} // join ' ', map { $sign->($_) } @{ $o{keys} || [$key] });
}
my $body = '{"type":"invoice.paid","data":{"n":1.50}}';
my $r = post('standard', $body, standard($body), Authorization => 'Bearer x', Cookie => 'a=b', 'X-Twice' => 'one');
is $r->{status}, 202, 'a signed webhook is taken (S0-10)';
my $id = $r->{json}{id};
is $pg->query("SELECT queue || type FROM jobq.jobs WHERE id = $id"), 'webhooksevent', '… and is a job of its queue and type';
my $data = data_of($id);
is_deeply [sort keys %$data], [qw(body headers)], '… with headers and body';
is $pg->query("SELECT data #>> '{body,data,n}' FROM jobq.jobs WHERE id = $id"), '1.50', '… the body as it came';
is $data->{headers}{'webhook-id'}, 'msg_1', '… the headers';
is_deeply [grep { exists $data->{headers}{$_} } qw(authorization cookie)], [], '… but for those with secrets';
$r = post('standard', $body, standard($body));
is "$r->{status} $r->{json}{id}", "200 $id", 'the same once more makes no job';
$r = post('standard', $body, standard($body, prefix => 'svix'));
is "$r->{status} $r->{json}{id}", "200 $id", '… nor by its other name';
is $pg->query("SELECT string_agg(concat_ws(' ', event_id, verified, job_id, duplicate_of), ', ' ORDER BY id) FROM jobq.webhook_events"), "msg_1 t $id, msg_1 t $id 1, msg_1 t $id 1", 'the view webhook_events has it all';
for ([id => 'msg_2', keys => ['bmV3IG9uZSBoZXJl']], [id => 'msg_3', keys => ['AAAA', $key]]) {
	is post('standard', $body, standard($body, @$_))->{status}, 202, 'any secret and any signature that fits will do';
}
my @bad = (
	['of another body', "$body ", standard($body, id => 'x')],
	['with another secret', $body, standard($body, id => 'x', keys => ['AAAA'])],
	['too old', $body, standard($body, id => 'x', at => time - 400)],
	['from the future', $body, standard($body, id => 'x', at => time + 400)],
	['with no signature', $body, standard($body, id => 'x', signature => '')],
	['with a wrong one', $body, standard($body, id => 'x', signature => 'v1,AAAA')],
	['with no time', $body, standard($body, id => 'x', at => '')],
	['with no headers', $body],
);
my %said;
for (@bad) {
	my ($what, $b, %h) = @$_;
	delete @h{ grep { $h{$_} eq '' } keys %h };
	my $r = post('standard', $b, %h);
	is $r->{status}, 401, "one $what is refused";
	$said{ $r->{body} }++;
}
is scalar(keys %said), 1, '… and is not told why';
is events('standard'), 5, '… and leaves nothing behind';
$r = post('standard', '{"a":', standard('{"a":', id => 'y'));
is $r->{status}, 400, 'JSON that is none';
$r = post('standard', 'x' x 70000, standard('x' x 70000, id => 'z'), 'Content-Type' => 'text/plain');
is $r->{status}, 413, 'one that is larger than the queue takes';
is post('standard', 'x' x 140000, standard('x' x 140000, id => 'z'))->{status}, 413, '… or the API';
is events('standard'), 5, '… leaves nothing behind, so that it may come again';
is post('nowhere', $body)->{status}, 404, 'a hook that is not there';
is $http->get('/v1/hooks/standard')->{status}, 405, 'GET of a hook';

# what another implementation signs
SKIP: {
	my $npm = temp_directory();
	my ($no_npm) = run_program(['sh', '-c', "cd $npm && npm install --silent --no-audit --no-fund standardwebhooks"]);
	skip 'npm cannot install standardwebhooks here', 1 if $no_npm;
	my $js = "const {Webhook} = require(process.argv[1]); const t = new Date(); console.log(Math.floor(t / 1000) + ' ' + new Webhook('whsec_$key').sign('msg_npm', t, process.argv[2]))";
	my ($status, $out, $err) = run_program(['node', '-e', $js, "$npm/node_modules/standardwebhooks", $body]);
	my ($at, $signature) = $out =~ /^(\d+) (\S+)/ or die "node: $out$err";
	is post('standard', $body, standard($body, id => 'msg_npm', at => $at, signature => $signature))->{status}, 202, 'what standardwebhooks of npm signs is taken';
}

#
# HMAC with a timestamp (S4-51)
#
sub stamped { my ($body, $secret, $at) = @_; return ('X-Webhook-Timestamp' => $at //= time, 'X-Webhook-Signature' => hmac_sha256_hex("$at.$body", $secret)) }
$body = '{"event": {"id": 7}, "list": [1]}';
is post('stamped', $body, stamped($body, 'in-a-file'))->{status}, 202, 'timestamped-hmac, by a secret of a file';
is post('stamped', $body, stamped($body, 'old-and-known'))->{status}, 200, '… and by another of its lines, a duplicate';
is post('stamped', $body, stamped($body, 'guessed'))->{status}, 401, '… but by no other';
is post('stamped', $body, stamped($body, 'in-a-file', time - 70))->{status}, 401, '… and not past the tolerance';
is post('stamped', '{}', stamped('{}', 'in-a-file'))->{status}, 400, 'an event without its id';
is post('stamped', 'id', stamped('id', 'in-a-file'), 'Content-Type' => 'text/plain')->{status}, 400, '… or with nowhere to look for one';
my @python = ('python3', '-c', "import hmac,hashlib,time,sys\nt=str(int(time.time()))\nprint(t, hmac.new(b'in-a-file', (t+'.'+sys.argv[1]).encode(), hashlib.sha256).hexdigest())");
my (undef, $signed) = run_program([@python, '{"event":{"id":"p"}}']);
my ($at, $hex) = split ' ', $signed;
is post('stamped', '{"event":{"id":"p"}}', 'X-Webhook-Timestamp' => $at, 'X-Webhook-Signature' => $hex)->{status}, 202, 'signed by Python';

#
# GitHub: the example of its documentation
#
my @github = ('X-Hub-Signature-256' => 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17', 'Content-Type' => 'text/plain');
$r = post('github', 'Hello, World!', @github, 'X-GitHub-Delivery' => 'd1', 'X-GitHub-Event' => 'push');
is $r->{status}, 202, 'GitHub\'s example';
is data_of($r->{json}{id})->{body}, 'Hello, World!', '… whose body is no JSON: its text';
is $pg->query("SELECT tenant FROM jobq.jobs WHERE id = $r->{json}{id}"), 'acme', '… for the hook\'s tenant';
is post('github', 'Hello, World?', @github, 'X-GitHub-Delivery' => 'd2')->{status}, 401, '… changed';
is post('github', 'Hello, World!', @github)->{status}, 400, '… without its id';
$r = post('github', 'Hello, World!', @github, 'X-GitHub-Event' => 'ping');
is "$r->{status} " . events('github'), '200 1', 'a ping is answered and is no event';

#
# Microsoft Graph
#
$r = $http->post('/v1/hooks/graph?validationToken=Validation%3A+Testing%20%3Ca%3E', '');
is "$r->{status} $r->{headers}{'content-type'} $r->{body}", '200 text/plain; charset=utf-8 Validation: Testing <a>', 'the question when somebody subscribes is answered';
is $r->{headers}{'x-content-type-options'}, 'nosniff', '… as nothing but text';
sub graph { return $Api::json->encode({ value => [map { { id => $_->[0], clientState => $_->[1], changeType => 'created' } } @_] }) }
is post('graph', graph(['n1', 'client-state'], ['n2', 'client-state']))->{status}, 202, 'notifications with the client state';
is post('graph', graph(['n1', 'client-state']))->{status}, 200, '… the same again';
is post('graph', $_)->{status}, 401, '… refused: ' . substr $_, 0, 60
    for graph(['n3', 'client-state'], ['n4', 'wrong']), graph(), '{}', '{"value":[{"id":"n5"}]}', '{"value":["client-state"]}', 'text', '';

#
# tokens, and nothing at all
#
is post('gitlab', '{}', 'X-Gitlab-Token' => 'lab')->{status}, 202, 'a token in a header';
is post('gitlab', '{}', 'X-Gitlab-Token' => 'lax')->{status}, 401, '… a wrong one';
$r = post('gitlab', '{}', 'X-Gitlab-Token' => 'lab');
is $r->{status}, 202, '… without an id of the event each is one';
ok !exists data_of($r->{json}{id})->{headers}{'x-gitlab-token'}, '… and the token does not become data';
is post('bearer', '{}', Authorization => 'Bearer lab')->{status}, 202, 'a bearer token';
is post('bearer', '{}', Authorization => 'Basic lab')->{status}, 401, '… nothing else';
$r = post('open', '{"a": 1}', 'X-Event-Id' => 'e1', 'X-Event-Type' => 'thing.made');
is $r->{status}, 202, 'a hook with scheme: none takes everything';
$data = data_of($r->{json}{id});
like delete $data->{receivedAt}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'S2-10: the shape with receivedAt';
is_deeply $data, { webhookId => 'e1', source => 'open', eventType => 'thing.made', data => { a => 1 } }, '… webhookId, source, eventType, data';
is $pg->query("SELECT DISTINCT verified FROM jobq.webhook_events WHERE hook = 'open'"), 'f', '… which nothing has verified';
for (["\xff\xfe\x00", 'data_base64', '//4A'], ["\xff", 'data_base64', '/w=='], ['', 'data', undef], ['a=b&c', 'data', 'a=b&c']) {
	my ($bytes, $name, $is) = @$_;
	$r = post('open', $bytes, 'X-Event-Id' => 'e' . unpack('H*', $bytes), 'Content-Type' => 'application/octet-stream');
	my $got = data_of($r->{json}{id});
	ok exists $got->{$name}, sprintf 'a body of %d bytes that is no JSON: %s', length $bytes, $name;
	is $got->{$name}, $is, '… as it came';
}

#
# two hundred of one event at once
#
my @c = map { $http->{http}->connect } 1 .. 200;
my $text = '{"n":1}';
$_->send("POST /v1/hooks/open HTTP/1.1\r\nHost: a\r\nX-Event-Id: once\r\nContent-Type: application/json\r\nContent-Length: " . length($text) . "\r\n\r\n$text") for @c;
my (%status, %ids);
for (map { $_->answer } @c) {
	$status{ $_->{status} }++;
	$ids{ $Api::json->decode($_->{body})->{id} // 'none' }++;
}
is_deeply \%status, { 200 => 199, 202 => 1 }, 'of two hundred deliveries of one event at once one is taken';
is scalar(keys %ids), 1, '… and all name its job';
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE data ->> 'webhookId' = 'once'"), 1, '… of which there is one';

# who tries too often
my @tries = map { post('gitlab', '{}', 'X-Gitlab-Token' => "guess $_", 'X-Forwarded-For' => '10.2.2.2') } 1 .. 40;
is $tries[0]{status}, 401, 'whoever guesses is refused';
my ($late) = grep { $_->{status} == 429 } @tries;
ok $late, '… and soon told to wait: ' . ($late ? $late->{json}{detail} : 'no');
ok $late && $late->{headers}{'retry-after'}, '… and for how long';
is post('gitlab', '{}', 'X-Gitlab-Token' => 'lab', 'X-Forwarded-For' => '10.2.2.2')->{status}, 202, '… while who has the secret is let in';
is $pg->query("SELECT address FROM jobq.webhook_events ORDER BY id DESC LIMIT 1"), '10.2.2.2', 'webhook_events has the address';
cmp_ok scalar(() = $d->log =~ /webhook refused hook=gitlab/g), '<', 20, 'the log has a line a second at most';

# other secrets by a reload, of the configuration and of a file
my $config = slurp($d->{conf});
spew("$dir/secrets", "third\n");
$d->signal('HUP');
wait_for { post('stamped', '{"event":{"id":"r"}}', stamped('{"event":{"id":"r"}}', 'third'))->{status} =~ /^20/ } 'the file\'s new secret';
is post('stamped', '{}', stamped('{}', 'in-a-file'))->{status}, 401, 'a reload takes another secret of a file, and the old one goes';
spew($d->{conf}, $config =~ s/secret: lab}/secret: newer}/gr);
$d->signal('HUP');
wait_for { post('bearer', '{}', Authorization => 'Bearer newer')->{status} == 202 } 'the new secret';
is post('bearer', '{}', Authorization => 'Bearer lab')->{status}, 401, '… and another one of the configuration';
spew("$dir/secrets", "\n");
my ($no, undef, $complaint) = run_program([jobqd_program(), '-t', '-c', $d->{conf}]);
is $no, 1, 'a file without a secret is an error of -t';
like $complaint, qr/jobqd\.yml:\d+:\d+: secret_file: .*is empty/, '… with its place';
spew($d->{conf}, $config =~ s/secret: lab}/secret_file: \/nowhere}/gr);
(undef, undef, $complaint) = run_program([jobqd_program(), '-t', '-c', $d->{conf}]);
like $complaint, qr/secret_file: cannot read \/nowhere/, '… and so is none';
spew($d->{conf}, $config);
spew("$dir/secrets", "third\n");

# kept for seven days
$pg->query("UPDATE jobq.webhook_event SET received_at = now() - interval '8 days' WHERE hook = 'graph'; SELECT jobq.sweep_out()");
is events('graph'), 0, 'events are forgotten after seven days';
cmp_ok events('open'), '>', 200, '… and not before';

my ($status, $out) = run_program([jobqd_program(), '-T', '-c', $d->{conf}]);
like $out, qr/gitlab:.*secret: "\*\*\*"/s, 'jobqd -T has the hooks';
unlike $out, qr/\Q$key\E|\blab\b|client-state|Everybody|bmV3/, '… and shows no secret';
done_testing;
