# 300 mails and 300 webhooks, enqueued by psql in one transaction, arrive
# exactly as sent: at Postfix's smtp-sink and at an HTTP receiver that
# verifies both signature schemes with code that is not ours.
# S0-12 S0-13 S0-45 S4-14 S4-17 S4-51 S4-52
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Encode;
use JSON::PP;
use Test::More;

my ($sink) = grep { -x } qw(/usr/sbin/smtp-sink /usr/bin/smtp-sink);
plan skip_all => 'smtp-sink is missing: apt-get install postfix' unless $sink;
plan tests => 13;

my $secret = 'whsec_' . 'c2VjcmV0LW9mLXRoZS10ZXN0LXN1aXRlIQ==';
my ($http_port, $requests) = receiver($secret);

my $mail_dir = temp_directory();
my $smtp_port = free_port();
my @as;
if (my $user = server_user()) {
	my (undef, undef, $uid, $gid) = getpwnam $user;
	chown $uid, $gid, $mail_dir;
	@as = ('setpriv', "--reuid=$uid", "--regid=$gid", '--clear-groups');
}
background([ $sink, '-d', "$mail_dir/m.", "127.0.0.1:$smtp_port", '100' ], as => \@as);
wait_port($smtp_port);

my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers:
  mailer: {driver: email, server: "smtp://127.0.0.1:$smtp_port", from: "Fleet Office <noreply\@example.com>", tls: off}
  standard: {driver: http, sign: {scheme: standard-webhooks, secret: "{{data.secret}}"}, allow_private: true}
  stamped: {driver: http, sign: {scheme: timestamped-hmac, secret: "{{data.secret}}"}, allow_private: true}
queues:
  email: {handler: mailer, workers: 3}
  webhook-delivery: {types: {standard: standard, stamped: stamped}, workers: 1, concurrency: 10, timeout: 10s}
YAML
$d->start;

$pg->query(<<"SQL");
BEGIN;
SELECT jobq.enqueue('email', 'email_notification', jsonb_build_object(
	'to', 'user' || i || '\@example.com', 'subject', 'Überprüfung № ' || i || ' – 車両',
	'text', E'Dear user,\\n.a line with a dot\\n..and two\\n\\nFrom here: ' || repeat('é', i) || E'\\n',
	'html', '<p>Number ' || i || ' &amp; so on</p>'))
FROM generate_series(1, 300) i;
SELECT jobq.enqueue('webhook-delivery', CASE WHEN i % 2 = 0 THEN 'standard' ELSE 'stamped' END,
	jsonb_build_object('url', 'http://127.0.0.1:$http_port/ok', 'secret', '$secret',
	'eventType', 'vehicle.moved', 'payload', jsonb_build_object('n', i, 'name', 'Ünit "' || i || '" / \\ ' || chr(128663))))
FROM generate_series(1, 300) i;
COMMIT;
SQL
wait_for {
	$pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'completed'") == 600
	    || $pg->query("SELECT count(*) FROM jobq.jobs WHERE state IN ('dead', 'retrying')") > 0
} 'the 600 jobs';
is $pg->query("SELECT state, count(*) FROM jobq.jobs GROUP BY 1"), 'completed|600', 'all of them completed (S0-40, S0-45, S0-76, S4-52)';
is $pg->query("SELECT count(*) FROM jobq.attempts"), 600, '… at the first attempt';

my ($status, $out) = run_program([ 'python3', source_directory() . '/t/mails.py', $mail_dir ]);
my %mail = map { ($_->{to} => $_) } map { decode_json($_) } split /\n/, $out;
is scalar(keys %mail), 300, '300 mails, one to each';
my (@bad, @defects);
for my $i (1 .. 300) {
	my $m = $mail{"user$i\@example.com"} || {};
	my $text = "Dear user,\n.a line with a dot\n..and two\n\nFrom here: " . ("\x{e9}" x $i) . "\n";
	push @defects, @{ $m->{defects} || [] };
	push @bad, $i unless ($m->{subject} // '') eq "\x{dc}berpr\x{fc}fung \x{2116} $i \x{2013} \x{8eca}\x{4e21}"
	    && ($m->{plain} // '') eq $text && ($m->{html} // '') =~ /^<p>Number $i &amp; so on<\/p>\n?$/
	    && ($m->{from} // '') eq 'Fleet Office <noreply@example.com>';
}
is_deeply \@bad, [], 'subject, text, html and sender are what was sent (S1-5, S4-14)';
is_deeply \@defects, [], "Python's parser has nothing to complain of";
my %ids = map { ($_->{id} => 1) } values %mail;
is scalar(keys %ids), 300, 'each has a Message-ID of its own';
is scalar(grep { @{ $_->{envelope} } == 1 } values %mail), 300, 'each went to one recipient in the envelope';

my @got = json_lines($requests);
is scalar(@got), 300, '300 requests';
is scalar(grep { $_->{standard} } @got), 150, '150 Standard Webhooks signatures verify by Python\'s hmac';
# S0-13, S4-51: X-Webhook-Signature.
is scalar(grep { $_->{timestamped} } @got), 150, '150 timestamped signatures verify by Python\'s hmac';
is scalar(grep { ($_->{headers}{'x-event-type'} // '') eq 'vehicle.moved' && ($_->{headers}{'x-event-id'} // '') =~ /^\d+$/ } @got),
    300, 'each names its event and its id (S0-13)';
my %n = map { my $b = eval { decode_json(Encode::encode_utf8($_->{body})) } || {};
	(($b->{n} // 0) => ($b->{name} // '')) } @got;
is scalar(grep { ($n{$_} // '') eq "\x{dc}nit \"$_\" / \\ \x{1f697}" } 1 .. 300), 300, 'the bodies are what was enqueued (S0-12, S4-17)';

SKIP: {
	my $dir = temp_directory();
	my ($no_npm) = run_program([ 'sh', '-c', "cd $dir && npm install --silent --no-audit --no-fund standardwebhooks" ]);
	skip 'npm cannot install standardwebhooks here', 1 if $no_npm;
	spew("$dir/verify.js", <<'JS');
const {Webhook} = require("standardwebhooks");
const lines = require("fs").readFileSync(process.argv[2], "utf8").trim().split("\n").map(JSON.parse);
let good = 0;
for (const r of lines.filter(r => r.headers["webhook-signature"])) {
	new Webhook(process.argv[3]).verify(r.body, r.headers);
	good++;
}
console.log(good);
JS
	(undef, $out, my $err) = run_program([ 'node', "$dir/verify.js", $requests, $secret ]);
	is $out, "150\n", "… and by npm's standardwebhooks" or diag $err;
}
