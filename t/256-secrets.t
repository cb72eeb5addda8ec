# Secrets are seen by nobody (S1-54, S2-50, S3-39, S0-64): a configuration with
# one in every place that may have one, given as it is, by a variable of the
# environment and by a file, does real work, fails, crashes and is reloaded; then
# none of them is in anything that people or other programs get to see.
#
# Deliberately they are
#   - in the configuration, the files it names, and the environment of jobqd's
#     own processes, where ${NAME} takes them from: those that its user may read;
#   - in the environment that the handler of a program gives it, and that alone;
#   - where they are for: with the servers that jobqd talks to.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Digest::SHA qw(hmac_sha256_hex);
use Jobqd;
use MIME::Base64 qw(encode_base64);
use Test::More;

plan skip_all => 'this build lacks the drivers email and http'
    if (run_program([ jobqd_program(), '-V' ]))[1] !~ /^drivers: email http/m;

my $mark = 'zq9';	# every secret begins with it
my $dir = temp_directory();
my ($receiver) = receiver('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw');
my ($smtp, $oauth, $closed) = (free_port(), free_port(), free_port());
my $json = $Api::json;

# Each secret once for a form: name => value.
my %secrets;
sub secret {
	my ($form, $name) = @_;
	return $secrets{$form}{$name} //= "$mark$form$name" . join '', map { ('a' .. 'z')[ rand 26 ] } 1 .. 12;
}
# KEY: VALUE, KEY: "${NAME}" or KEY_file: PATH
sub given {
	my ($form, $key, $name, $front, $end) = @_;
	my $value = ($front // '') . secret($form, $name) . ($end // '');
	return "$key: \"$value\"" if $form eq 'literal';
	if ($form eq 'env') {
		$ENV{"ZQ_\U$name"} = $value;
		return "$key: \"\${ZQ_\U$name\E}\"";
	}
	spew("$dir/$name.secret", "$value\n");
	return "${key}_file: $dir/$name.secret";
}
# For what has no key of a file's name.
sub inline {
	my ($form, $name, $front, $end) = @_;
	my $value = ($front // '') . secret($form, $name) . ($end // '');
	return $value if $form ne 'env';
	$ENV{"ZQ_\U$name"} = secret($form, $name);
	return ($front // '') . "\${ZQ_\U$name\E}" . ($end // '');
}

spew("$dir/oauth.py", <<'PY');
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", "0")))
        text = json.dumps({"access_token": sys.argv[2], "token_type": "bearer", "expires_in": 3600}).encode() if self.path == "/token" else b"{}"
        self.send_response(200 if self.path == "/token" else 403)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
PY
background([ 'python3', "$dir/oauth.py", $oauth, secret('peer', 'accesstoken') ], log => "$dir/oauth.log");
my $password = secret('peer', 'mailpassword');
background([ 'python3', source_directory() . '/t/smtp_server.py', $smtp, "$dir/sessions", 'auth', 'user', $password ], log => "$dir/smtp.log");
wait_port($_) for $oauth, $smtp;

# Programs tell of all the environment that they have.
mkdir "$dir/env";
chmod 0777, "$dir/env";
spew("$dir/program", <<"SH");
#!/bin/sh
tr '\\0' '\\n' </proc/self/environ >$dir/env/\$JOBQ_ID.\$JOBQ_ATTEMPT
tr '\\0' ' ' </proc/\$PPID/cmdline >$dir/env/title.\$JOBQ_ID.\$JOBQ_ATTEMPT
case \$JOBQ_TYPE in
fail) echo failing >&2; exit 1;;
crash) kill -9 \$PPID; exit 1;;
esac
echo '{"fine": true}'
SH
chmod 0755, "$dir/program";

my $pg;
sub config {
	my ($form, $port, $more) = @_;
	my $g = sub { given($form, @_) };
	my $i = sub { inline($form, @_) };
	my $http = sub { "{driver: http, url: \"http://127.0.0.1:$_[0]\", allow_private: true, $_[1]}" };
	my $host = $pg->{dir};
	my $sql = sub { $form eq 'file' ? given($form, 'url', $_[0], "postgresql://$_[1]:", "@/jobq?host=$host") : 'url: "' . inline($form, $_[0], "postgresql://$_[1]:", "@/jobq?host=$host") . '"' };
	# a file of passwords for libpq
	spew("$dir/pgpass", "*:*:*:*:" . secret($form, 'dbpassword') . "\n") && chmod 0600, "$dir/pgpass";
	my $url = $form eq 'file' ? "postgresql:///jobq?host=$host&user=ordinary&passfile=$dir/pgpass"
	    : $i->('dbpassword', 'postgresql://ordinary:', "@/jobq?host=$host");
	spew("$dir/keys", 'k1 ' . ($secrets{$form}{aeskey} //= encode_base64("$mark$form" . 'k' x (29 - length $form), '')) . "\n");
	chmod 0600, "$dir/keys";
	Api::tokens("$dir/tokens", [ qw(ops admin *), secret($form, 'opstoken') ], [ qw(see viewer *), secret($form, 'viewertoken') ]);
	my $right = $form eq 'literal' ? "password: \"$password\"" : $form eq 'env' ? ($ENV{ZQ_MAILPASSWORD} = $password, 'password: "${ZQ_MAILPASSWORD}"')[1]
	    : (spew("$dir/mail.secret", "$password\n"), "password_file: $dir/mail.secret")[1];
	my $mailer = "driver: email, server: \"smtp://127.0.0.1:$smtp\", from: \"a\@example.com\", tls: off, user: user";
	return <<"YAML";
handlers:
  mail: {$mailer, $right}
  mailwrong: {$mailer, @{[ $g->('password', 'wrongpassword') ]}}
  bearer: @{[ $http->("$receiver/ok", 'auth: {' . $g->('bearer', 'bearer') . '}') ]}
  refused: @{[ $http->("$receiver/fail/401", 'auth: {' . $g->('bearer', 'refusedbearer') . '}') ]}
  closed: @{[ $http->("$closed/x", 'auth: {' . $g->('bearer', 'closedbearer') . '}') ]}
  basic: @{[ $http->("$receiver/ok", 'auth: {basic: {user: me, ' . $g->('password', 'basic') . '}}') ]}
  oauth: @{[ $http->("$oauth/call", "auth: {oauth2: {token_url: \"http://127.0.0.1:$oauth/token\", client_id: me, credentials: body, " . $g->('client_secret', 'oauthsecret') . '}}') ]}
  sign: @{[ $http->("$receiver/ok", 'sign: {' . $g->('secret', 'signsecret') . '}') ]}
  stamp: @{[ $http->("$receiver/ok", 'sign: {scheme: timestamped-hmac, ' . $g->('secret', 'stampsecret') . '}') ]}
  header: @{[ $http->("$receiver/ok?access_token=" . $i->('urltoken') . '&sig=' . $i->('urlsig'), 'headers: {X-Auth-Key: "' . $i->('authkey') . '", Authorization: "' . $i->('authheader', 'Bearer ') . '", X-Api-Key: "' . $i->('apikey') . '"}') ]}
  rows: {driver: sql, @{[ $sql->('sqlpassword', 'jobq') ]}, statement: SELECT 1}
  lost: {driver: sql, @{[ $sql->('lostpassword', 'nobody_there') ]}, statement: SELECT 1}
  program: {driver: exec, argv: ["$dir/program"], env: {API_TOKEN: "@{[ $i->('envtoken') ]}", DB_PASSWORD: "@{[ $i->('envpassword') ]}", STRIPE_KEY: "@{[ $i->('envkey') ]}", DATABASE_URL: "@{[ $i->('envurl', 'mysql://a:', '@h/d') ]}", DB: "@{[ $i->('envwords', 'user=a password=') ]} host=h"}}
retry: {default: {attempts: 2, backoff: fixed, base: 10ms}}
queues:
  work:
    workers: 2
    types: {mail: mail, mailwrong: mailwrong, bearer: bearer, refused: refused, closed: closed, basic: basic, oauth: oauth, sign: sign, stamp: stamp,
      header: header, rows: rows, lost: lost, program: program, fail: program, crash: program}
  sealed: {handler: program, encrypt: {key_file: $dir/keys}}
  webhooks: {handler: program}
hooks: {in: {queue: webhooks, verify: {scheme: timestamped-hmac, @{[ $g->('secret', 'hooksecret') ]}, secrets: ["@{[ $i->('oldhook') ]}"]}}}
channels:
  page: {@{[ $g->('webhook', 'channel', "http://127.0.0.1:$receiver/ok/") ]}, allow_private: true, headers: {Authorization: "@{[ $i->('channelheader', 'Bearer ') ]}"}, sign: {@{[ $g->('secret', 'channelsign') ]}}}
  away: {@{[ $g->('webhook', 'away', "http://127.0.0.1:$closed/") ]}, allow_private: true}
alerts: {letters: {metric: dead_letters, above: 0, notify: [page, away]}}
monitor: {interval: 1s, health_file: $dir/health.json}
database: {url: "$url"}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens, @{[ $g->('admin_key', 'adminkey') ]}, rate_limit: 10000/s}
@{[ $more // '' ]}
YAML
}

# Nothing of what was gathered has a secret in it.
sub clean {
	my ($form, $gathered) = @_;
	my $all = join '|', map { quotemeta } map { values %$_ } values %secrets;
	for my $where (sort keys %$gathered) {
		my $text = $gathered->{$where};
		if ($text =~ /(?:$all|\Q$mark\E)/i) {
			my @lines = grep { /(?:$all|\Q$mark\E)/i } split /\n/, $text;
			fail "$form: $where has no secret";
			diag map { s/^.*?(.{0,200}(?:$all|\Q$mark\E).{0,60}).*$/$1/ir . "\n" } @lines > 5 ? @lines[ 0 .. 4 ] : @lines;
		} else {
			cmp_ok length $text, '>', 0, "$form: $where has no secret (" . length($text) . ' bytes) (S1-54, S3-39)';
		}
	}
}

for my $form (qw(literal env file)) {
	my $port = free_port();
	delete @ENV{ grep { /^ZQ_/ } keys %ENV };
	# All statements, with what they are given, are in the server's log.
	$pg = Jobqd::Postgres->new(settings => { log_statement => 'all', log_min_error_statement => 'error' });
	my $config;
	$pg->ordinary_url;
	$config = config($form, $port);
	my $d = Jobqd::Daemon->new(pg => $pg, config => $config);
	$d->start;
	my $listener = $pg->session;
	$listener->query('LISTEN jobq');
	my ($ops, $see) = map { Api->new("127.0.0.1:$port", secret($form, $_)) } qw(opstoken viewertoken);

	#
	# Work, that goes well and that does not
	#
	my %id = map { $_ => $pg->query("SELECT jobq.enqueue('work', '$_', '{\"to\": [\"b\@example.com\"], \"subject\": \"s\", \"text\": \"t\"}')") }
	    qw(mail mailwrong sign stamp header rows lost program fail crash);
	$id{$_} = $pg->query("SELECT jobq.enqueue('work', '$_', '{\"payload\": {\"a\": 1}}')") for qw(bearer refused closed basic oauth);
	my $sealed = $ops->post('/v1/jobs', { queue => 'sealed', data => { a => 1 } })->{json}{id};
	my %hook = map { $_ => do {
		my ($body, $at) = ('{"n": 1}', time);
		Api->new("127.0.0.1:$port")->post('/v1/hooks/in', $body, headers => { 'Content-Type' => 'application/json', 'X-Webhook-Timestamp' => $at,
		    'X-Webhook-Signature' => hmac_sha256_hex("$at.$body", $_ eq 'wrong' ? "${mark}wrong" : secret($form, $_)) })->{status};
	} } qw(hooksecret oldhook wrong);
	is_deeply \%hook, { hooksecret => 202, oldhook => 202, wrong => 401 }, "$form: webhooks by either secret, and by none";
	is $ops->get('/v1/queues')->{status}, 200, "$form: a token";
	is(Api->new("127.0.0.1:$port", undef, headers => { 'X-Admin-Key' => secret($form, 'adminkey') })->get('/v1/audit')->{status}, 200, "$form: the admin key (S2-50)");
	is(Api->new("127.0.0.1:$port", "${mark}nobody")->get("/v1/queues?token=${mark}query")->{status}, 401, "$form: a token that nobody has");
	is(Api->new("127.0.0.1:$port", undef, headers => { 'X-Admin-Key' => "${mark}nobody" })->get('/v1/queues')->{status}, 401, "$form: such a key");
	wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state NOT IN ('completed', 'dead')") == 0 } "$form: the jobs";
	is $pg->query("SELECT string_agg(type || ' ' || state, ', ' ORDER BY type) FROM jobq.jobs WHERE queue = 'work'"),
	    'basic completed, bearer completed, closed dead, crash dead, fail dead, header completed, lost dead, mail completed, mailwrong dead, oauth dead, '
	    . 'program completed, refused dead, rows completed, sign completed, stamp completed', "$form: what the jobs became"
	    or diag $pg->query("SELECT type, state, error_class, error FROM jobq.jobs WHERE state = 'dead'");
	is $pg->query("SELECT state FROM jobq.jobs WHERE id = $sealed"), 'completed', "$form: … and the encrypted one";
	wait_for { $d->log =~ /channel=away/ && slurp("$dir/health.json") =~ /letters/ } "$form: notices, of which one does not arrive";

	# A reload that is refused, and one that changes every secret's queue.
	my $from = $d->log_size;
	$d->configure($config . "handlers: {more: {driver: http, auth: {bearer: [\"${mark}list\"]}}}\n");
	$d->signal('HUP');
	$d->wait_log(qr/reload refused/, $from);
	my ($status, $diff) = $d->ctl('diff');
	$from = $d->log_size;
	$d->configure(config($form, $port) =~ s/workers: 2/workers: 1/r);
	my (undef, $difference) = $d->ctl('diff');
	$d->signal('HUP');
	$d->wait_log(qr/reloaded|reload done|: ready/, $from);
	# A leader that is killed.
	my $leader;
	wait_for { ($leader) = $d->pids(qr/^jobqd: queue work/) } "$form: a leader";
	$from = $d->log_size;
	kill 'KILL', $leader;
	wait_for { my @now = $d->pids(qr/^jobqd: queue work/); @now && $now[0] != $leader } "$form: another leader";
	my $last = $pg->query("SELECT jobq.enqueue('work', 'program')");
	wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $last") eq 'completed' } "$form: a job after all that";

	#
	# What there is to see
	#
	my %seen = (log => $d->log, 'the health file' => slurp("$dir/health.json"), 'jobqctl diff' => $diff . $difference . ' ');
	my $activity = $pg->query('SELECT * FROM pg_stat_activity') . $pg->query('SELECT * FROM pg_settings');
	$seen{'pg_stat_activity'} = $activity;
	$seen{'every table'} = $pg->dump('--inserts');
	$seen{'notifications'} = $listener->query('SELECT 1');
	my %titles = $d->processes;
	cmp_ok scalar(keys %titles), '>', 8, "$form: " . keys(%titles) . ' processes';
	$seen{'titles of processes'} = join '', map { slurp("/proc/$_/cmdline") . slurp("/proc/$_/comm") } keys %titles;
	$seen{'titles of workers'} = join '', map { slurp($_) } glob "$dir/env/title.*";
	$seen{'environment of the processes'} = join '', map { slurp("/proc/$_/environ") } keys %titles if $form ne 'env';

	# Programs see what their handler gives them, and no more.
	my $given = join '|', map { secret($form, $_) } qw(envtoken envpassword envkey envurl envwords);
	my $environment = join '', map { slurp($_) } glob "$dir/env/[0-9]*";
	is scalar(() = $environment =~ /^API_TOKEN=\Q@{[ secret($form, 'envtoken') ]}\E$/mg) >= 4, 1, "$form: programs have the variables of their handler";
	$seen{'environment of programs, else'} = $environment =~ s/$given/-/gr;
	unlink glob "$dir/env/*";

	# The commands.
	($status, my $effective) = run_program([ jobqd_program(), '-T', '-c', $d->{conf} ]);
	is $status, 0, "$form: jobqd -T";
	$seen{'jobqd -T'} = $effective;
	spew("$dir/effective.yml", $effective);
	is +(run_program([ jobqd_program(), '-t', '-c', "$dir/effective.yml" ]))[0], 0, "$form: … passes -t" or diag +(run_program([ jobqd_program(), '-t', '-c', "$dir/effective.yml" ]))[2];
	my @commands = ([qw(status)], [qw(doctor)], [qw(inventory)], [qw(jobs)], [qw(queue list)], [qw(queue show work)], [qw(dead list)], [qw(dead list --group)],
	    [qw(worker list)], [qw(alert list)], [qw(alert rules)], [qw(alert show letters)], [qw(schedule list)], [qw(audit list)], [qw(key list)], [qw(tail --lines 1000)],
	    [qw(top --count 1)], [qw(channel test page)], [qw(channel test away)], [qw(migrate)], [qw(complete jobqctl channel test)],
	    (map { ([ 'job', 'show', $_ ], [ 'job', 'log', $_ ]) } @id{qw(mailwrong refused closed lost header program)}, $sealed));
	for my $c (@commands) {
		for my $option ($c->[0] =~ /^(?:top|tail|complete)$/ ? () : ('--json'), ()) {
			my (undef, $out, $err) = $d->ctl($option, @$c);
			$seen{"jobqctl $c->[0]"} .= $out . $err;
		}
		my (undef, $out, $err) = $d->ctl(@$c);
		$seen{"jobqctl $c->[0]"} .= $out . $err . "\n";
	}
	# By a URL with a password, from which nothing is to be repeated.
	my ($bad, undef, $said) = run_program([ jobqctl_program(), '--database', "postgresql://no_such_role:${mark}x@/jobq?host=$pg->{dir}", 'status' ]);
	is $bad, 1, "$form: a role that is not there";
	$seen{'a refused connection'} = $said;
	$seen{'a refused address'} = (run_program([ jobqctl_program(), '--database', "postgresql://a:${mark}x@[::1/jobq", 'status' ]))[2]
	    . (run_program([ jobqctl_program(), '--database', "host=nowhere.invalid passwort=${mark}x", 'status' ]))[2];

	# All that the API answers to who asks.
	my $routes = $ops->get('/v1/openapi.json')->{json}{paths};
	my $asked = 0;
	for my $path (sort keys %$routes) {
		next unless $routes->{$path}{get};
		next if $path =~ m{/events$};
		for my $id ($path =~ /\{id\}/ ? values %id : ('work')) {
			(my $real = $path) =~ s/\{id\}/$id/;
			$real =~ s/\{\w+\}/work/g;
			for my $who ($ops, $see) {
				my $r = $who->get($real);
				$seen{'the API'} .= $r->{body} . join ' ', %{ $r->{headers} };
				$asked++;
			}
		}
	}
	cmp_ok $asked, '>', 60, "$form: $asked answers of the API";
	my $page = $ops->get('/');
	$seen{'the dashboard'} = $page->{body} . join ' ', %{ $page->{headers} };
	$seen{'metrics'} = $ops->get('/metrics')->{body};
	$seen{'a refused client'} = join '', map { $_->{body} . join ' ', %{ $_->{headers} } } Api->new("127.0.0.1:$port", "${mark}nobody")->get('/v1/queues'),
	    Api->new("127.0.0.1:$port", "${mark}nobody")->post('/v1/jobs', "{\"queue\": \"work\", \"data\": $mark}"),
	    $see->post('/v1/jobs', { queue => 'work' });
	is $d->stop, 0, "$form: stops with status 0";
	$seen{'log'} = $d->log;
	$listener->close;
	# What was typed here is in it; what jobqd has said is all the rest.
	$seen{"the server's log"} = slurp("$pg->{dir}/postgres.log");
	clean($form, \%seen);
	$pg->stop;
}

#
# Mistakes next to a secret: told without it
#
my @wrong = (
	[ 'a list for a password', "handlers: {m: {driver: email, server: \"smtp://h\", from: \"a\@b.example\", user: u, password: [${mark}a]}}" ],
	[ 'a secret twice', "handlers: {m: {driver: http, sign: {secret: ${mark}a, secret_file: /dev/null}}}" ],
	[ 'a secret that is none', "handlers: {m: {driver: http, sign: {secret: \"whsec_${mark}!\"}}}\nhooks: {h: {queue: q, verify: {secret: \"whsec_${mark}!\"}}}" ],
	[ 'an address with a password', "handlers: {m: {driver: email, server: \"smtp://u:${mark}a\@h\", from: \"a\@b.example\"}}" ],
	[ 'an URL of HTTP with a password', "handlers: {m: {driver: http, url: \"ftp://u:${mark}a\@h/\"}}" ],
	[ 'a webhook that is no URL', "channels: {c: {webhook: \"hooks.example.com/${mark}a\"}}" ],
	[ 'the file of a secret that is not there', "handlers: {m: {driver: http, url: \"https://h/\", auth: {bearer_file: /nowhere/b}, headers: {X: \"${mark}a\"}}}" ],
	[ 'two kinds of authorisation', "handlers: {m: {driver: http, auth: {bearer: ${mark}a, basic: {user: u, password: ${mark}b}}}}" ],
	[ 'a header with a line end', "handlers: {m: {driver: http, headers: {Authorization: \"Bearer ${mark}a\\nX: y\"}}}" ],
	[ 'a map for an admin key', "api: {admin_key: {a: ${mark}a}}" ],
	[ 'secrets that are no list', "hooks: {h: {queue: q, verify: {secrets: {a: ${mark}a}}}}" ],
);
for my $w (@wrong) {
	spew("$dir/wrong.yml", "$w->[1]\n");
	my ($status, $out, $err) = run_program([ jobqd_program(), '-t', '-c', "$dir/wrong.yml" ]);
	is $status, 1, "$w->[0] is a mistake";
	unlike $out . $err, qr/\Q$mark\E/, '… and told without it (S3-39)' or diag $err;
}
# What is wrong with the address of a database is found when it is used.
for my $url ("postgresql://u:${mark}a\@[::1/x", "postgresql//u:${mark}a\@h/x", "host=h password=my ${mark}a") {
	spew("$dir/wrong.yml", "daemon: {pid_file: $dir/pid}\napi: {listen: off}\nhandlers: {null: {driver: noop}}\nqueues: {q: {handler: null}}\ndatabase: {url: \"$url\"}\n");
	my ($status, $out, $err) = run_program([ jobqd_program(), '-c', "$dir/wrong.yml" ]);
	is $status, 1, 'an address that is none: ' . $url =~ s/$mark.*//r;
	unlike $out . $err, qr/\Q$mark\E/, '… is not repeated' or diag $err;
}
my @words = ("${mark}token ops admin *", "ops admin * ${mark}token", "ops ${mark}token * " . '0' x 64);
for my $line (@words) {
	spew("$dir/tokens.wrong", "$line\n");
	chmod 0600, "$dir/tokens.wrong";
	spew("$dir/wrong.yml", "daemon: {user: @{[ (getpwuid($>))[0] ]}, group: @{[ (getgrgid($)+0))[0] ]}}\napi: {tokens_file: $dir/tokens.wrong}\n");
	my ($status, $out, $err) = run_program([ jobqd_program(), '-t', '-c', "$dir/wrong.yml" ]);
	is $status, 1, 'a token where another word should be';
	unlike $out . $err, qr/\Q$mark\E/, '… is not repeated' or diag $err;
}
done_testing;
