# Queues whose jobs are encrypted (S1-54, "Encryption of sensitive payload data"):
# who encrypts, that only the handler sees what was encrypted, keys that change,
# and what is wrong with an envelope or a key.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Digest::SHA qw(hmac_sha256_hex);
use Jobqd;
use MIME::Base64 qw(encode_base64);
use Test::More;

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my ($port, $smtp) = (free_port(), free_port());
my $example = source_directory() . '/etc/examples/encrypt.py';
my $python = (run_program([ 'python3', '-c', 'import cryptography' ]))[0] == 0;

# A file of keys; names with the byte that fills the key.
sub keys_file {
	my ($name, @keys) = @_;
	my $text = "# keys of the test\n\n";
	while (my ($id, $byte) = splice @keys, 0, 2) {
		$text .= "$id  " . encode_base64(chr($byte) x 32, '') . "\t# 32 bytes\n";
	}
	spew("$dir/$name", $text);
	chmod 0600, "$dir/$name";
	return "$dir/$name";
}
my $payroll = keys_file('payroll', 'k1', 1);
my $mails = keys_file('mails', 'm1', 9);

# Nothing of this is to be seen anywhere but in the handlers' files.
my $mark = 'DE02120300000000202051';
spew("$dir/handler", <<"SH");
cat >$dir/data.\$JOBQ_ID
printf '{"progress":{"pct":50,"note":"paying $mark"}}\\n' >&3
echo "error output of $mark" >&2
case \$JOBQ_TYPE in
fail) echo "no account $mark"; exit 65;;
esac
echo '{"paid":"$mark"}'
SH
# What a program of the driver worker enqueues, with its own end.
spew("$dir/app", <<"PY");
import json, sys
for line in sys.stdin:
    said = json.loads(line)
    if "hello" in said:
        print(json.dumps({"ready": {}}), flush=True)
    elif "job" in said:
        job = said["job"]
        print(json.dumps({"enqueue": {"id": job["id"], "queue": "payroll", "type": "app", "data": job["data"]}}), flush=True)
        print(json.dumps({"done": {"id": job["id"], "result": job["data"]}}), flush=True)
PY
mkdir "$dir/reports";
chmod 0777, "$dir/reports";
background([ 'python3', source_directory() . '/t/smtp_server.py', $smtp, "$dir/sessions" ], log => "$dir/smtp.log");
wait_port($smtp);
Api::tokens("$dir/tokens", [qw(ops admin * ops-secret)], [qw(app producer * app-secret)]);
sub config {
	return <<"YAML";
handlers:
  pay: {driver: exec, argv: [sh, "$dir/handler"]}
  ask: {driver: sql, statement: "SELECT \$1->>'iban' AS said", transactional: true}
  app: {driver: worker, argv: [python3, "$dir/app"]}
  report: {driver: report, directory: $dir/reports, reports: {all: {query: "SELECT 'row' AS iban"}}, mail_queue: mails}
  mailer: {driver: email, server: "smtp://127.0.0.1:$smtp", from: noreply\@example.com, tls: off}
retry: {default: {attempts: 2, backoff: fixed, base: 10ms, jitter: 0%}}
queues:
  payroll: {handler: pay, workers: 2, encrypt: {key_file: $payroll}, schema: {iban: "string?", n: "integer?"}}
  soft: {handler: pay, encrypt: {key_file: $payroll, required: false, results: false}}
  mails: {handler: mailer, encrypt: {key_file: $mails}}
  asked: {handler: ask, encrypt: {key_file: $payroll}}
  apps: {handler: app, encrypt: {key_file: $payroll}}
  reports: {handler: report, encrypt: {key_file: $payroll}}
  plain: {handler: pay}
hooks: {bank: {queue: payroll, type: hook, verify: {scheme: github, secret: hook-secret}}}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens}
monitor: {interval: 1s, health_file: $dir/health.json}
YAML
}
my $d = Jobqd::Daemon->new(pg => $pg, config => config());
$d->start;
my $ops = Api->new("127.0.0.1:$port", 'ops-secret');
my $app = Api->new("127.0.0.1:$port", 'app-secret');
my $json = $Api::json;
sub job { return $pg->query("SELECT $_[1] FROM jobq.jobs WHERE id = $_[0]") }
sub wait_end {
	my ($id, $state) = @_;
	wait_for { job($id, 'state') =~ /^(completed|dead)$/ } "job $id to end";
	is job($id, 'state'), $state, "job $id is $state" or diag job($id, 'error');
}
sub seen { return slurp("$dir/data.$_[0]") =~ s/\n\z//r }
sub seal_by_python {
	my ($queue, $text, $file) = @_;
	my ($status, $out, $err) = run_program([ 'python3', $example, 'seal', $file || $payroll, $queue ], in => $text);
	$status == 0 or die $err;
	return $out =~ s/\n\z//r;
}
sub unseal_by_python {
	my ($queue, $part, $envelope) = @_;
	my ($status, $out, $err) = run_program([ 'python3', $example, 'unseal', $payroll, $queue, $part ], in => $envelope);
	return $status == 0 ? $out =~ s/\n\z//r : $err;
}

#
# Who encrypts
#
for my $refused ("jobq.enqueue('payroll', data => '{\"iban\": \"none\"}')", "jobq.enqueue_many('payroll', '[{\"data\": {\"a\": 1}}]')",
    "jobq.enqueue('payroll', data => '{\"\$enc\": {\"v\": 2, \"k\": \"a\", \"n\": \"\", \"c\": \"\"}}')",
    "jobq.enqueue('payroll', data => '{\"\$enc\": {\"v\": 1, \"k\": \"a\", \"n\": \"\", \"c\": \"\"}, \"x\": 1}')") {
	my ($status, undef, $err) = $pg->try_query("SELECT $refused");
	like $err, qr/data is not encrypted, queue "payroll" takes nothing else.*HINT:  Encrypt it/s, 'data that is not encrypted is refused: ' . substr $refused, 0, 60;
}
is $pg->query('SELECT count(*) FROM jobq.job'), 0, '… and nothing is stored (S1-54)';
my $empty = $pg->query("SELECT jobq.enqueue('payroll')");
wait_end($empty, 'completed');
is seen($empty), '{}', 'no data at all is fine';

my $data = { iban => $mark };
my $r = $app->post('/v1/jobs', { queue => 'payroll', type => 'api', data => $data });
is $r->{status}, 201, 'the API encrypts what it is given';
my $first = my $id = $r->{json}{id};
wait_end($id, 'completed');
is_deeply $json->decode(seen($id)), $data, '… and the handler gets it as it was';
$r = $ops->get("/v1/jobs/$id");
is_deeply [ sort keys %{ $r->{json}{data}{'$enc'} } ], [qw(c k n v)], 'the API shows the envelope';
is $r->{json}{data}{'$enc'}{k}, 'k1', '… with the name of its key';
is_deeply [ sort keys %{ $r->{json}{result} } ], ['$enc'], '… and of the result, too';

$r = $app->post('/v1/jobs/batch', { queue => 'payroll', jobs => [ { type => 'batch', data => $data, priority => 1 }, { type => 'batch' }, { data => { n => 7 } } ] });
is $r->{status}, 201, 'also each of many';
my @many = @{ $r->{json}{ids} };
wait_end($_, 'completed') for @many;
is_deeply [ map { $json->decode(seen($_)) } @many ], [ $data, {}, { n => 7 } ], '… all arrive';
$r = $app->post('/v1/jobs/batch', { queue => 'payroll', jobs => [ { data => [] } ] });
is $r->{status}, 422, '… and what is no object is refused as ever';

my $body = '{"event":"' . $mark . '"}';
$r = Api->new("127.0.0.1:$port")->post('/v1/hooks/bank', $body, headers => { 'Content-Type' => 'application/json',
    'X-Hub-Signature-256' => 'sha256=' . hmac_sha256_hex($body, 'hook-secret'), 'X-GitHub-Delivery' => 'd1' });
is $r->{status}, 202, 'a webhook that comes in is encrypted';
wait_end($r->{json}{id}, 'completed');
is $json->decode(seen($r->{json}{id}))->{body}{event}, $mark, '… and arrives';

my ($status, $out, $err) = $d->ctl('enqueue', 'payroll', 'ctl', $json->encode($data), '--wait');
is "$status$err", 0, 'jobqctl enqueue encrypts' or diag $err;
is $out, "{\"paid\": \"$mark\"}\n" =~ s/: /:/r, '… and who waits sees the result, since he has the key';
my $ctl = $pg->query('SELECT max(id) FROM jobq.jobs');
is_deeply $json->decode(seen($ctl)), $data, '… the handler its data';

SKIP: {
	skip "Python's cryptography is not there", 9 unless $python;
	$id = $pg->query("SELECT jobq.enqueue('payroll', 'python', '" . seal_by_python('payroll', "\t{\"iban\": \"$mark\", \"n\": 1}\n") . "')");
	wait_end($id, 'completed');
	is seen($id) =~ s/\s+//gr, "{\"iban\":\"$mark\",\"n\":1}", 'what another implementation has encrypted is read';
	is unseal_by_python('payroll', 'data', job($first, 'data')), "{\"iban\":\"$mark\"}", '… and that reads what jobqd has encrypted';
	is unseal_by_python('payroll', 'result', job($id, 'result')), "{\"paid\":\"$mark\"}", '… also the result';
	like unseal_by_python('payroll', 'data', job($id, 'result')), qr/InvalidTag/, '… which is nothing else';
	$id = $pg->query("SELECT jobq.enqueue('payroll', 'python', '" . seal_by_python('payroll', '["a list"]') . "')");
	wait_end($id, 'dead');
	is job($id, "error_class || ': ' || error"), 'validation: the data cannot be decrypted: what was encrypted is no JSON object', 'what comes out is looked at';
	$id = $pg->query("SELECT jobq.enqueue('payroll', 'python', '" . seal_by_python('payroll', '{"iban": 5}') . "')");
	wait_end($id, 'dead');
	like job($id, 'error'), qr/^data\.iban is of type integer/, '… also by the schema of the queue';
}

#
# Where it is not required
#
$id = $pg->query("SELECT jobq.enqueue('soft', data => '{\"open\": true}')");
wait_end($id, 'completed');
is seen($id), '{"open": true}', 'where that is not required, data may come as it is';
is job($id, 'result'), "{\"paid\": \"$mark\"}", '… and results: false leaves results alone';
$id = $app->post('/v1/jobs', { queue => 'soft', data => $data })->{json}{id};
wait_end($id, 'completed');
like job($id, 'data'), qr/^\{"\$enc"/, '… but the API encrypts it';
is_deeply $json->decode(seen($id)), $data, '… and it arrives';
$pg->query("SELECT jobq.delete(id) FROM jobq.jobs WHERE queue = 'soft'");

#
# Failures
#
$id = $app->post('/v1/jobs', { queue => 'payroll', type => 'fail', data => $data })->{json}{id};
wait_end($id, 'dead');
my $dead = $id;
like job($id, 'error'), qr/^validation \(encrypted\)\n\{"\$enc":\{"v":1,"k":"k1",/, 'what a failure says is encrypted but for its class';
my @others = map { $app->post('/v1/jobs', { queue => 'payroll', type => 'fail', data => { n => $_ } })->{json}{id} } 1 .. 3;
wait_end($_, 'dead') for @others;
is $pg->query("SELECT count(DISTINCT fingerprint) FROM jobq.dead_letters WHERE type = 'fail'"), 1, '… by which dead letters of a kind are found';
like $pg->query("SELECT string_agg(text, '') FROM jobq.output WHERE job = $id"), qr/\A(?:\{"\$enc":\{[^{}]*\}\}\n)+\z/, 'so is what it wrote';
is $pg->query("SELECT count(*) FROM jobq.progress WHERE note LIKE '{\"\$enc\":%'"), $pg->query('SELECT count(*) FROM jobq.progress'), '… and the notes of its progress';

($status, $out) = $d->ctl('job', 'show', $id, '--decrypt');
is $status, 0, 'jobqctl job show --decrypt';
like $out, qr/\{"iban":"$mark"\}.*no account $mark/s, '… shows the data and the error' or diag $out;
like $out, qr/error output of $mark/, '… and the output';
($status, $out) = $d->ctl('job', 'show', $id);
unlike $out, qr/$mark/, '… which it does not without that';
($status, $out) = $d->ctl('job', 'show', $id, '--decrypt', '--json');
my $shown = $json->decode($out);
is_deeply $shown->{data}, $data, '… as JSON';
like $shown->{error}, qr/\Avalidation \(encrypted\)\n.*error output of $mark/s, '… with its error';
($status, $out) = $d->ctl('job', 'log', $id, '--decrypt');
like $out, qr/error output of $mark/, 'jobqctl job log --decrypt';
($status, $out) = $d->ctl('dead', 'show', $id, '--decrypt');
like $out, qr/\{"iban":"$mark"\}/, 'jobqctl dead show --decrypt';
($status, undef, $err) = run_program([ jobqctl_program(), '--database', $pg->url, 'job', 'show', $id, '--decrypt' ]);
is $status, 1, 'without a configuration there is no key';
like $err, qr/there are no keys of the queue payroll/, '… which is said';
($status, $out) = $d->ctl('job', 'retry', $id, '--data', '{"n": 5}');
is $status, 0, 'other data for a job is encrypted as well';
wait_for { slurp("$dir/data.$id") =~ /"n"/ } 'the job to run again';
is seen($id), '{"n": 5}', '… and arrives';
wait_end($id, 'dead');
$r = $ops->request('PATCH', "/v1/jobs/$id", json => { data => { n => 6 } });
is $r->{status}, 200, 'so it is by the API' or diag $r->{body};
is_deeply [ keys %{ $json->decode(job($id, 'data')) } ], ['$enc'], '… for one that stays where it is';
for my $path ("/v1/jobs/$id/retry", "/v1/dead-letters/$id/retry") {
	my $data = { n => length $path };
	unlink "$dir/data.$id";
	is $ops->post($path, { data => $data })->{status}, 200, "… and for one that runs again: $path";
	wait_for { -s "$dir/data.$id" } 'the job to run again';
	is_deeply $json->decode(seen($id)), $data, '… which arrives';
	wait_end($id, 'dead');
}
is $ops->post('/v1/jobs/999999/retry', { data => {} })->{status}, 404, '… while none is none';
$r = $ops->put('/v1/schedules/nightly', { queue => 'payroll', type => 'nightly', every => '1h', data => $data });
is $r->{status}, 201, 'data of a schedule that is made by the API is encrypted' or diag $r->{body};
is $ops->post('/v1/schedules/nightly/run')->{status}, 200, '… which then fires';
my $nightly;
wait_for { $nightly = $pg->query("SELECT min(id) FROM jobq.jobs WHERE type = 'nightly'") } 'its job';
wait_end($nightly, 'completed');
is_deeply $json->decode(seen($nightly)), $data, '… and its data arrives';
($status, undef, $err) = $d->ctl('schedule', 'put', 'weekly', '--queue', 'payroll', '--every', '7d', '--data', $json->encode($data));
is "$status$err", 0, '… as of one that jobqctl makes';
is $pg->query("SELECT count(*) FROM jobq.schedule WHERE name IN ('nightly', 'weekly') AND data ? '\$enc'"), 2, '… in the table';

#
# A result that an earlier attempt left: who has got a mail does not get it again
#
$id = $app->post('/v1/jobs', { queue => 'mails', data => { to => [ 'fine@example.com', 'deferonce@example.com' ], subject => $mark, text => $mark } })->{json}{id};
wait_end($id, 'completed');
is job($id, 'attempt'), 2, 'a mail that one recipient takes later is sent again';
my @rcpt = map { join ',', @{ $_->{rcpt} } } json_lines("$dir/sessions");
is scalar(grep { /fine\@/ } @rcpt), 1, '… to him alone, though its first result is encrypted' or diag explain \@rcpt;

#
# Drivers that store the end themselves, and what they enqueue
#
sub opened { return $json->decode((run_program([ jobqctl_program(), '-c', $d->{conf}, '--json', 'job', 'show', $_[0], '--decrypt' ]))[1])->{result} }
$id = $app->post('/v1/jobs', { queue => 'asked', data => $data })->{json}{id};
wait_end($id, 'completed');
like job($id, 'result'), qr/^\{"\$enc"/, 'a statement that completes its job leaves an encrypted result';
is opened($id)->{rows}[0]{said}, $mark, '… of the data as it was';
$id = $app->post('/v1/jobs', { queue => 'apps', data => $data })->{json}{id};
wait_end($id, 'completed');
like job($id, 'result'), qr/^\{"\$enc"/, 'so does a program that enqueues with its end';
is_deeply opened($id), $data, '… what it said';
my $enqueued = $pg->query("SELECT id FROM jobq.jobs WHERE type = 'app'");
like job($enqueued, 'data'), qr/^\{"\$enc"/, '… and what it enqueues is encrypted';
wait_end($enqueued, 'completed');
is_deeply $json->decode(seen($enqueued)), $data, '… and arrives';
$id = $app->post('/v1/jobs', { queue => 'reports', data => { report_type => 'all', format => 'csv', notifyEmail => 'boss@example.com' } })->{json}{id};
wait_end($id, 'completed');
is opened($id)->{rows}, 1, 'a report';
wait_for { (grep { grep { /boss\@/ } @{ $_->{rcpt} } } json_lines("$dir/sessions")) == 1 } 'its mail';
like $pg->query("SELECT data FROM jobq.jobs WHERE queue = 'mails' ORDER BY id DESC LIMIT 1"), qr/^\{"\$enc"/, '… whose mail is encrypted on its way';

#
# Envelopes that are not right
#
my $sealed = job($first, 'data');
sub enqueue_text { return $pg->query("SELECT jobq.enqueue('$_[0]', data => '$_[1]')") }
sub change {
	my ($text, $code) = @_;
	my $envelope = $json->decode($text);
	$code->($envelope->{'$enc'});
	return $json->encode($envelope);
}
sub refused_as {
	my ($text, $class, $error, $what, $queue) = @_;
	my $id = enqueue_text($queue || 'payroll', $text);
	wait_end($id, 'dead');
	is job($id, 'error_class'), $class, "$what: class $class";
	like job($id, 'error'), $error, '… and says why';
	is seen($id), '', '… its handler is not begun';
	return $id;
}
refused_as(change($sealed, sub { my $c = $_[0]{c}; substr($c, 3, 1) = substr($c, 3, 1) eq 'A' ? 'B' : 'A'; $_[0]{c} = $c }), 'validation', qr/with the key "k1" it does not come out/, 'a changed one');
refused_as(change($sealed, sub { $_[0]{n} = 'AAAAAAAAAAAAAAAA' }), 'validation', qr/does not come out/, 'one with another nonce');
refused_as(job($first, 'result'), 'validation', qr/does not come out/, 'a result as data');
refused_as($sealed, 'validation', qr/encrypted for another queue/, 'one of another queue', 'soft');
refused_as(change($sealed, sub { $_[0]{c} = 'not base64' }), 'validation', qr/it is no envelope/, 'one that is none');
my $lost = refused_as(change($sealed, sub { $_[0]{k} = 'k9' }), 'auth', qr/^the data cannot be decrypted: there is no key "k9"$/, 'one whose key is not there');
is job($lost, 'attempt'), 2, '… which is tried as often as the policy says';

#
# Keys that change
#
my $old = job($first, 'data');
my $waiting = $pg->query("SELECT jobq.pause('payroll')") . enqueue_text('payroll', $old);
my $key_line = (run_program([ jobqctl_program(), 'key', 'new', 'k2' ]))[1];
like $key_line, qr{\Ak2 [A-Za-z0-9+/]{43}=\n\z}, 'jobqctl key new prints a line of the file';
like +(run_program([ jobqctl_program(), 'key', 'new' ]))[1], qr{\A\d{4}-\d\d-\d\d-[0-9a-f]{4} \S{44}\n\z}, '… with a name of its own';
is length +(run_program([ jobqctl_program(), '--json', 'key', 'new', 'x' ]))[1], length(qq({"key":"x","line":"x $key_line"}\n)) - 4, '… or as JSON';
my $before = slurp($payroll);
my $from = $d->log_size;
spew($payroll, "$key_line$before");
$d->signal('HUP');
$d->wait_log(qr/reload/, $from);
wait_for {
	my $id = $app->post('/v1/jobs', { queue => 'payroll', data => {} })->{json}{id};
	job($id, 'data') =~ /"k": "k2"/;
} 'the new key to encrypt';
pass 'after a reload the first key of the file encrypts';
$pg->query("SELECT jobq.resume('payroll')");
wait_end($waiting, 'completed');
is_deeply $json->decode(seen($waiting)), $data, '… and the old one decrypts';
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'payroll' AND state NOT IN ('completed', 'dead')") == 0 } 'all jobs';
($status, $out) = $d->ctl('key', 'list', '--json');
my %use = map { ("$_->{queue} $_->{key}" => $_) } @{ $json->decode($out) };
is_deeply [ map { "$_ $use{$_}{use}" } sort keys %use ], [ (map { ("$_ k1 decrypts", "$_ k2 encrypts") } qw(apps asked)), 'mails m1 encrypts', 'payroll k1 decrypts', 'payroll k2 encrypts', 'payroll k9 missing', 'reports k1 decrypts', 'reports k2 encrypts', 'soft k1 decrypts', 'soft k2 encrypts' ], 'jobqctl key list tells which keys there are';
is $use{'payroll k9'}{dead}, 1, '… and how many jobs need them';
is $use{'payroll k1'}{unfinished}, 0, '… to run';
cmp_ok $use{'payroll k1'}{dead} + $use{'payroll k1'}{ended}, '>', 5, "… or to be read: $use{'payroll k1'}{ended} ended, $use{'payroll k1'}{dead} dead";

# The missing one is brought.
my ($k1) = $before =~ /k1\s+(\S+)/;
my $e9 = $python ? seal_by_python('payroll', '{"n": 9}', keys_file('nine', 'k9', 99)) : undef;
SKIP: {
	skip "Python's cryptography is not there", 2 unless $python;
	my $ninth = enqueue_text('payroll', $e9);
	wait_end($ninth, 'dead');
	spew($payroll, "$key_line$before" . (split /\n/, slurp("$dir/nine"))[2] . "\n");
	$from = $d->log_size;
	$d->signal('HUP');
	$d->wait_log(qr/reload/, $from);
	wait_for {
		$pg->query("SELECT jobq.retry($ninth)") if job($ninth, 'state') eq 'dead';
		job($ninth, 'state') eq 'completed';
	} 'a job whose key is brought';
	is seen($ninth), '{"n": 9}', 'a job whose key was missing runs when it is brought';
}

#
# Nobody else has seen it
#
my %text = (
	'the database' => $pg->dump('--inserts'),
	'the log' => $d->log,
	'the server\'s log' => slurp("$pg->{dir}/postgres.log"),
	'the health file' => slurp("$dir/health.json"),
	'jobqctl' => join('', map { (run_program([ jobqctl_program(), '-c', $d->{conf}, @$_ ]))[1] } [qw(jobs)], [qw(--json jobs)], [qw(dead list)], [qw(dead list --group)],
	    [ qw(job show), $first ], [ qw(job log), $dead ], [qw(audit list)], [qw(--json status)], [qw(worker list)]),
	'the API' => join('', map { $ops->get($_)->{body} // '' } '/v1/jobs?limit=1000', "/v1/jobs/$first", "/v1/jobs/$dead/log", "/v1/jobs/$dead/attempts", '/v1/dead-letters',
	    '/v1/workers', '/v1/history', '/v1/audit', '/v1/inventory', '/v1/queues/payroll', '/v1/metrics?range=24h&step=5m', '/v1/stats', '/metrics'),
);
like $text{'the database'}, qr/\$enc/, 'the dump has the envelopes';
for my $where (sort keys %text) {
	cmp_ok length $text{$where}, '>', 100, "$where: " . length($text{$where}) . ' bytes';
	ok $text{$where} !~ /$mark/, '… in which nothing is readable that was encrypted (S1-54)'
	    or diag map { substr($_, 0, 300) . "\n" } grep { /$mark/ } split /\n/, $text{$where};
	ok $text{$where} !~ /\Q$k1\E/, '… nor any key';
}

#
# A configuration that cannot be
#
sub complaint {
	my ($config, $line) = @_;
	spew("$dir/wrong.yml", "daemon: {user: @{[ (getpwuid($>))[0] ]}, group: @{[ (getgrgid($)+0))[0] ]}}\n$config");
	my ($status, undef, $err) = run_program([ jobqd_program(), '-t', '-c', "$dir/wrong.yml" ]);
	return $err;
}
my $handlers = 'handlers: {null: {driver: noop}}';
sub queue { return "$handlers\nqueues: {q: {handler: null, encrypt: {key_file: $payroll}$_[0]}}\n" }
is complaint(queue('')), '', 'a right configuration';
like complaint(queue(', concurrency_key: data.account')), qr{wrong\.yml:3:\d+: concurrency_key: nothing can be read of data that is encrypted}, 'a concurrency key from the data';
like complaint(queue(', unique: data.id')), qr{wrong\.yml:3:\d+: unique: nothing can be read}, '… a unique key';
like complaint(queue(', fair: data.id')), qr{wrong\.yml:3:\d+: fair: nothing can be read}, '… shares';
is complaint(queue(', fair: tenant, concurrency_key: tenant')), '', '… while the tenant is known';
like complaint("$handlers\nqueues: {q: {handler: null, encrypt: {required: true}}}\n"), qr{wrong\.yml:3:\d+: encrypt: needs key_file:}, 'no key_file';
like complaint(queue('') . "schedules: {s: {every: 1m, queue: q, data: {a: 1}}}\n"), qr{wrong\.yml:4:\d+: data: the queue q takes only data that is encrypted}, 'a schedule with data';
is complaint(queue('') . "schedules: {s: {every: 1m, queue: q}}\n"), '', '… which one without may have';
like complaint(queue('') . "workflows: {w: {steps: {a: {queue: q, data: {b: 1}}}}}\n"), qr{wrong\.yml:4:\d+: data: the queue q takes only}, '… a step of a workflow';
like complaint("$handlers\nqueues: {q: {handler: null, encrypt: {key_file: $payroll, required: false}}}\nworkflows: {w: {steps: {a: {queue: q}, b: {queue: q, after: [a], data: {x: \"{{result.a.x}}\"}}}}}\n"),
    qr/wrong\.yml:4:\d+: \{\{result\.a\.x\}\}: the results of the queue q are encrypted/, '… a step that wants an encrypted result';
my @files = (
	[ 'none', undef, qr{wrong\.yml:3:\d+: key_file: cannot use \S+: No such file} ],
	[ 'blank', "# nothing\n", qr{wrong\.yml:3:\d+: key_file: there is no key in} ],
	[ 'words', "k1\n", qr{words:1:1: a key is KEY BASE64: two words} ],
	[ 'short', "\nk1 AAAA\n", qr{short:2:1: the second word is the base64 of 32 bytes} ],
	[ 'name', "k\@1 $k1\n", qr{name:1:1: a key's name has letters} ],
	[ 'twice', "k1 $k1\nk1 $k1\n", qr{twice:2:1: the file has a key of that name already} ],
);
for my $f (@files) {
	if (defined $f->[1]) {
		spew("$dir/$f->[0]", $f->[1]);
		chmod 0600, "$dir/$f->[0]";
	}
	my $said = complaint("$handlers\nqueues: {q: {handler: null, encrypt: {key_file: $dir/$f->[0]}}}\n");
	like $said, $f->[2], "a file of keys: $f->[0]";
	unlike $said, qr/\Q$k1\E/, '… and no key is in the message';
}
chmod 0640, $payroll;
like complaint(queue('')), qr{wrong\.yml:3:\d+: key_file: cannot use \S+: others than its owner may read or write it: chmod 600 it}, '… one that others may read';
chmod 0600, $payroll;
($status, $out) = run_program([ jobqd_program(), '-T', '-c', $d->{conf} ]);
like $out, qr/encrypt:\n\s+key_file: .*payroll.*\n\s+required: true\n\s+results: true/, '-T shows where the keys are';
unlike $out, qr/\Q$k1\E/, '… and not what they are';
is $d->stop, 0, 'stops with status 0';
done_testing;
