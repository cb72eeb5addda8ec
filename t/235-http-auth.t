# Who the driver http is to its servers: tokens of OAuth, their end and their renewal,
# servers of tokens that fail; and no secret in a log, an error, or a result, though
# the other side sends it back. S0-13 S4-45
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use HttpJobs;
use JSON::PP;
use MIME::Base64;
use Test::More;

my ($port, $requests) = hostile();
my $base = "http://127.0.0.1:$port";
sub oauth { my ($path, $more) = @_; return "allow_private: true, auth: {oauth2: {token_url: \"$base/$path\", client_id: me, client_secret: hidden-word" . ($more || '') . '}}' }
sub asked { my @all = grep { $_->{line} =~ m{ /$_[0]} } json_lines($requests); return @all }

# Of a token.
{
	my $r = run_jobs(oauth('token/3600', ', scope: "a b", params: {audience: "https://x/?y", resource: r}'), map { job($_, url => "$base/guarded", payload => {}) } 1 .. 50);
	is scalar(grep { $r->{$_}{class} eq '' } 1 .. 50), 50, '50 jobs';
	is scalar(asked('token')), 1, '… for one token';
	my ($form) = asked('token');
	is decode_base64($form->{body}), 'grant_type=client_credentials&scope=a%20b&audience=https%3A%2F%2Fx%2F%3Fy&resource=r', 'what is asked for';
	is $form->{headers}{authorization}, 'Basic ' . encode_base64('me:hidden-word', ''), 'who asks';
	$r = run_jobs(oauth('token/3600', ', credentials: body'), job(1, url => "$base/guarded", payload => {}));
	($form) = (asked('token'))[-1];
	is_deeply [ decode_base64($form->{body}), $form->{headers}{authorization} ], [ 'grant_type=client_credentials&client_id=me&client_secret=hidden-word', undef ], '… in the form, where the server wants that';
	is classes($r, 1), 'completed', '… works as well';
}

# Its end.
{
	local $HttpJobs::queue = 'concurrency: 1';
	my $before = asked('token');
	my $r = run_jobs(oauth('token/1'), map { job($_, url => "$base/guarded/700", payload => {}) } 1 .. 3);
	is classes($r, 1 .. 3), 'completed completed completed', 'a token that lives for a second';
	cmp_ok scalar(asked('token')) - $before, '>=', 2, '… is renewed before it ends (' . (asked('token') - $before) . ' tokens for 3 jobs of 0.7 s)';
}

# Its server.
{
	my $closed = free_port();
	my %want = ('token_error/401/invalid_client' => 'auth', 'token_error/400/invalid_scope' => 'auth', 'token_error/403/x' => 'auth', 'token_error/500/server_error' => 'network',
		'token_error/503/x' => 'network', 'token_error/429/slow_down' => 'rate_limit', 'json' => 'auth', 'status/200' => 'auth', 'location/302' => 'auth', 'reset' => 'network', 'text' => 'network', 'body_endless' => 'network');
	my %got = map { $_ => run_jobs(oauth($_), job(1, url => "$base/guarded", payload => {}), job(2, url => "$base/guarded", payload => {})) } keys %want;
	my %class = map { $_ => classes($got{$_}, 1, 2) } keys %got;
	is_deeply \%class, { map { $_ => "$want{$_} $want{$_}" } keys %want }, 'what servers of tokens may say, and how jobs end' or diag explain \%class;
	is $got{'token_error/401/invalid_client'}{1}{message}, "no token from $base/token_error/401/invalid_client: HTTP 401: invalid_client", '… in its own words';
	my $r = run_jobs("allow_private: true, auth: {oauth2: {token_url: \"http://127.0.0.1:$closed/\", client_id: me, client_secret: hidden-word}}", job(1, url => "$base/guarded", payload => {}));
	is classes($r, 1), 'network', 'nobody there';
	$r = run_jobs("auth: {oauth2: {token_url: \"$base/token\", client_id: me, client_secret: hidden-word}}", job(1, url => "$base/guarded", payload => {}));
	is_deeply [ classes($r, 1), $r->{1}{message} =~ /private address/ ? 1 : 0 ], [ 'validation', 1 ], 'at a private address';
	is scalar(grep { /hidden-word/ } map { $_->{1}{message}, $_->{log} } values %got, $r), 0, 'no message has the secret';
}

# With a daemon: a token that is refused is renewed before the next attempt; and the
# other side sends back all it has got.
my $pg = Jobqd::Postgres->new;
spew("$pg->{dir}/token", "bearer-of-a-file\n");
chmod 0644, "$pg->{dir}/token";
my @secrets = qw(hidden-word secret-of-basic bearer-of-options bearer-of-a-file key-of-a-header of-the-data t1secret whsec_c2lnbmluZw);
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
log: {level: debug}
retry: {renew: {attempts: 3, backoff: fixed, base: 10ms, jitter: 0, on: {auth: {attempts: 2}}}, once: {attempts: 1}}
handlers:
  renewed: {driver: http, allow_private: true, auth: {oauth2: {token_url: "$base/token", client_id: me, client_secret: hidden-word}}}
  basic: {driver: http, allow_private: true, auth: {basic: {user: me, password: secret-of-basic}}, keep_headers: [x-echo]}
  bearer: {driver: http, allow_private: true, auth: {bearer: bearer-of-options}, keep_headers: [x-echo], sign: {secret: whsec_c2lnbmluZw==}}
  file: {driver: http, allow_private: true, auth: {bearer_file: $pg->{dir}/token}, headers: {X-Api-Key: key-of-a-header, X-Token: "Token {{data.token}}"}, keep_headers: [x-echo]}
queues:
  renewed: {handler: renewed, concurrency: 1, poll: 50ms, retry: renew}
  echoes: {types: {renewed: renewed, basic: basic, bearer: bearer, file: file}, concurrency: 1, poll: 50ms, retry: once}
YAML
$d->start;
my $id = $pg->query("SELECT jobq.enqueue('renewed', 'x', '{\"url\": \"$base/guarded_later\", \"payload\": {}}')");
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") =~ /completed|dead/ } 'the job whose token is refused';
is $pg->query("SELECT state, attempt FROM jobq.jobs WHERE id = $id"), 'completed|2', 'a token that is refused once: the second attempt has another (S2-18)';
is $pg->query("SELECT outcome || coalesce(':' || nullif(class, ''), '') FROM jobq.attempts WHERE job_id = $id ORDER BY attempt") =~ s/\n/ /gr, 'failed:auth completed', '… after one of class auth';
for my $type (qw(renewed basic bearer file)) {
	$pg->query("SELECT jobq.enqueue('echoes', '$type', '{\"url\": \"$base/$_\", \"payload\": {}, \"token\": \"of-the-data\"}')") for qw(echo echo_with/500 echo_with/404);
}
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'echoes' AND state IN ('completed', 'dead')") == 12 } 'the echoes';
is $pg->query("SELECT string_agg(DISTINCT type || ' ' || state, ', ' ORDER BY type || ' ' || state) FROM jobq.jobs WHERE queue = 'echoes'"),
    join(', ', map { ("$_ completed", "$_ dead") } qw(basic bearer file renewed)), 'servers that send back what they got';
my $stored = $pg->query("SELECT to_jsonb(j) - 'data' FROM jobq.jobs j UNION ALL SELECT to_jsonb(a) FROM jobq.attempts a UNION ALL SELECT to_jsonb(d) - 'data' FROM jobq.dead_letters d");
my $raw = $pg->query('SELECT a::text FROM jobq.attempt a');
my @sent = map { encode_base64($_, '') } ('me:secret-of-basic', 'me:hidden-word');
like $stored, qr/authorization.{1,20}Bearer \*+/s, 'stars stand where the secret was';
for my $secret (@secrets, @sent) {
	ok index($stored . $raw, $secret) < 0 && index($d->log, $secret) < 0, "neither the database nor the log has $secret";
}
my %heard = map { ($_->{headers}{authorization} || '') => 1 } json_lines($requests);
is scalar(grep { $heard{$_} } 'Bearer bearer-of-options', 'Bearer bearer-of-a-file', "Basic $sent[0]"), 3, '… though all of them were sent';
done_testing;
