# Who may use the API: tokens, the admin key, cookies, roles, limits (S1-45, S2-34,
# S3-37, S4-20).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Digest::SHA qw(sha256_hex);
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $port = free_port();
my $tokens = "$dir/tokens";
# Tokens of tenants are for a role that row-level security applies to.
$pg->query('CREATE ROLE app LOGIN; GRANT CREATE ON DATABASE jobq TO app');
my $url = $pg->url =~ s/user=\w+/user=app/r;
my @tokens = ([qw(eye viewer * eye)], [qw(app producer * app)], [qw(ops operator * ops)], [qw(root admin * root)],
	[qw(acme operator acme acme)], [qw(ops operator * ops-new)]);
sub config {
	my ($more) = @_;
	return <<"YAML";
handlers: {null: {driver: noop}}
queues: {work: {handler: null, workers: 1}}
database: {url: "$url"}
api: {listen: "127.0.0.1:$port"$more}
YAML
}
my $d = Jobqd::Daemon->new(pg => $pg, config => config(''));
sub check { my @r = run_program([jobqd_program(), '-t', '-c', $d->{conf}]); return wantarray ? @r : $r[0] }
sub api { my ($token, @more) = @_; return Api->new("127.0.0.1:$port", $token, @more) }

#
# the file
#
for my $case (
	['ops admin *', 1, 1, 'four words'], ["ops admin * " . 'x' x 64, 1, 13, 'hexadecimal'],
	["ops chief * " . sha256_hex('x'), 1, 5, 'viewer, producer, operator or admin'],
	["# comment\n\n  o\$s admin * " . sha256_hex('x'), 3, 3, 'letters, digits'],
	["ops admin * " . sha256_hex('x') . ' more', 1, 1, 'four words'],
) {
	my ($text, $line, $column, $says) = @$case;
	spew($tokens, "$text\n");
	chmod 0600, $tokens;
	$d->configure(config(", tokens_file: $tokens"));
	my ($status, undef, $err) = check();
	is $status, 1, '-t refuses: ' . $err =~ s/\n//gr;
	like $err, qr/^\Q$tokens:$line:$column: \E.*\Q$says\E/m, '… at its place';
}
Api::tokens($tokens, @tokens);
is check(), 0, 'a good file';
for my $mode (0644, 0640, 0660) {
	chmod $mode, $tokens;
	my ($status, undef, $err) = check();
	is $status, 1, sprintf 'mode %04o is refused', $mode;
	like $err, qr/^\Q$d->{conf}\E:\d+:\d+: .*chmod 600/m, '… with what to do';
}
$d->configure(config(", tokens_file: $dir/none"));
like +(check())[2], qr/none: No such file/, 'a file that is not there';
spew("$dir/key", "key-of-the-admin\n");
$d->configure(config(", admin_key: a, admin_key_file: $dir/key"));
is check(), 1, 'two admin keys are one too many';

#
# none at all
#
$d->configure(config(''));
$d->start;
my $r = api(undef)->get('/v1/jobs');
is $r->{status}, 401, 'no token is configured: 401';
like $r->{detail}, qr/jobqctl token new/, '… says how to make one: ' . $r->{detail};
is api(undef)->get('/healthz')->{status}, 200, 'probes are open';

#
# jobqctl token new
#
my ($status, $out) = run_program([jobqctl_program(), qw(token new boss admin)]);
my ($fresh, $line) = split /\n/, $out;
is $status, 0, 'jobqctl token new';
is $line, "boss admin * " . sha256_hex($fresh), '… prints a token and its line';
($status, $out) = run_program([jobqctl_program(), qw(--json token new boss viewer acme)]);
my $made = JSON::PP->new->decode($out);
is $made->{line}, "boss viewer acme " . sha256_hex($made->{token}), '… in JSON';
isnt $made->{token}, $fresh, '… another one each time';
is +(run_program([jobqctl_program(), qw(token new boss chief)]))[0], 2, 'an unknown role: 2';

#
# a reload takes them
#
Api::tokens($tokens, @tokens);
open my $fh, '>>', $tokens; print $fh "$line\n"; close $fh;
$d->configure(config(", tokens_file: $tokens, admin_key_file: $dir/key, rate_limit: 10000/s"));
sub reload { my $from = $d->log_size; $d->signal('HUP'); $d->wait_log(qr/reload(?:ed| done| finished)?\b/, $from); }
reload();
wait_for { (api($fresh)->get('/v1/session') || { status => 0 })->{status} == 200 } 'the tokens to be taken';
is_deeply api($fresh)->get('/v1/session')->{json}, { name => 'boss', role => 'admin', tenant => undef }, 'a reload takes the file';
is_deeply api('acme')->get('/v1/session')->{json}, { name => 'acme', role => 'operator', tenant => 'acme' }, 'one that is bound to a tenant';
is api($_)->get('/v1/session')->{json}{name}, 'ops', "$_: several tokens may share a name" for qw(ops ops-new);
# S2-32, S2-50
is api(undef, headers => { 'X-Admin-Key' => 'key-of-the-admin' })->get('/v1/session')->{json}{role}, 'admin', 'the admin key';
is api(undef, headers => { 'X-Admin-Key' => 'key' })->get('/v1/session')->{status}, 401, '… a wrong one';

#
# what is refused, and how
#
for my $wrong (undef, 'nobody', '', 'eye ', 'EYE', 'x' x 2000) {
	my $what = defined $wrong ? '"' . substr($wrong, 0, 10) . '"' : 'none';
	$r = $wrong && $wrong eq 'eye ' ? api('eyee')->get('/v1/jobs') : api($wrong)->get('/v1/jobs');
	is $r->{status}, 401, "token $what: 401 (S3-34)";
	like $r->{headers}{'www-authenticate'}, qr/^Bearer/, '… asks for one';
	is $r->{headers}{'content-type'}, 'application/problem+json', '… as a problem document';
	unlike $r->{body}, qr/nobody|xxxx/, '… that does not repeat it (S3-39)';
}
is api(undef, headers => { Authorization => 'Basic ZXllOg==' })->get('/v1/jobs')->{status}, 401, 'Basic: 401';
is api(undef, headers => { Authorization => 'bearer eye' })->get('/v1/jobs')->{status}, 200, 'the scheme has no case';
my %may = (eye => 1, app => 2, ops => 3, root => 4);
my @asks = (['GET', '/v1/jobs', 1], ['POST', '/v1/jobs', 2], ['POST', '/v1/jobs/1/cancel', 3]);
for my $ask (@asks) {
	my ($method, $path, $least) = @$ask;
	for my $token (sort keys %may) {
		$r = api($token)->request($method, $path, $method eq 'POST' ? (json => {}) : ());
		my $refused = $may{$token} < $least;
		is $r->{status} == 403 ? 1 : 0, $refused ? 1 : 0, "$method $path by $token: $r->{status}";
		like $r->{detail}, qr/needs the role/, '… says which role' if $refused;
	}
}
for my $h (qw(x-content-type-options cache-control referrer-policy)) {
	ok api('eye')->get('/v1/jobs')->{headers}{$h}, "$h is there";
}
ok !exists api('eye', headers => { Origin => 'http://evil.example' })->get('/v1/jobs')->{headers}{'access-control-allow-origin'},
    'nothing is said to other origins';

$r = api('acme')->post('/v1/jobs', { queue => 'work', delay => 3600 });
is $r->{status}, 201, 'a tenant\'s token enqueues';
is api('root')->get("/v1/jobs/$r->{json}{id}")->{json}{tenant}, 'acme', '… for its tenant';
is api('acme')->post('/v1/jobs', { queue => 'work', tenant => 'other' })->{status}, 403, '… and for no other';
my $other = api('root')->post('/v1/jobs', { queue => 'work', delay => 3600, tenant => 'other' })->{json}{id};
is api('acme')->get("/v1/jobs/$other")->{status}, 404, "another tenant's job is not there";
is api('acme')->post("/v1/jobs/$other/cancel")->{status}, 404, '… to be cancelled';
is_deeply [map { $_->{tenant} } @{ api('acme')->get('/v1/jobs')->{json}{items} }], ['acme'], '… in the list';
is api('acme')->get('/v1/jobs?tenant=other')->{status}, 403, '… or to be asked for';
is_deeply api('acme')->post('/v1/jobs/delete', { ids => [$other], confirm => JSON::PP::true })->{json},
    { dry_run => JSON::PP::false, done => 0, refused => 0, more => JSON::PP::false }, '… or among many';

#
# cookies
#
my $host = "127.0.0.1:$port";
my $web = api(undef, headers => { Host => $host });
$r = $web->post('/v1/session', { token => 'ops' });
is $r->{status}, 204, 'login by the token in the body';
my $cookie = $r->{headers}{'set-cookie'};
like $cookie, qr/^jobqd=[^;]+; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/, '… gives a cookie for twelve hours (S4-20)';
is $web->post('/v1/session', { token => 'wrong' })->{status}, 401, '… by a wrong one: 401';
is api('ops')->post('/v1/session')->{status}, 204, '… by Authorization';
is $web->post('/v1/session', { token => 'ops' }, headers => { Origin => 'http://evil.example' })->{status}, 403, '… not from another page';
my ($jar) = $cookie =~ /^(jobqd=[^;]+)/;
sub page { my (%h) = @_; return api(undef, headers => { Host => $host, Cookie => "a=b; $jar", %h }) }
is page()->get('/v1/session')->{json}{name}, 'ops', 'the cookie is as good as the token';
my %ours = (Origin => "http://$host", 'X-Requested-With' => 'jobqd');
is page()->post('/v1/jobs', { queue => 'work' })->{status}, 403, 'a POST with it alone: 403';
is page(Origin => 'http://evil.example', 'X-Requested-With' => 'jobqd')->post('/v1/jobs', { queue => 'work' })->{status}, 403, '… from another page: 403';
is page(Origin => "http://$host")->post('/v1/jobs', { queue => 'work' })->{status}, 403, '… without X-Requested-With: 403';
is page(%ours)->post('/v1/jobs', { queue => 'work' })->{status}, 201, '… from ours: 201';
is api(undef, headers => { Cookie => $jar =~ s/\d/9/r })->get('/v1/session')->{status}, 401, 'a cookie that was changed: 401';
is api(undef, headers => { Cookie => substr $jar, 0, -1 })->get('/v1/session')->{status}, 401, '… or cut: 401';
like $web->delete('/v1/session')->{headers}{'set-cookie'}, qr/^jobqd=; Path=\/; Max-Age=0/, 'logout takes it away';
my $age = 0;
wait_for { $age = () = slurp($d->{log}) =~ /reload/g } 'reloads in the log';
my ($before) = $d->pids(qr/^jobqd: api$/);
spew("$tokens.add", ''); Api::tokens($tokens, @tokens, [qw(new viewer * new)]);
reload();
wait_for { (api('new')->get('/v1/session') || { status => 0 })->{status} == 200 } 'a token that was added';
is page()->get('/v1/session')->{status}, 200, 'a cookie survives a reload';
Api::tokens($tokens, grep { $_->[3] ne 'ops' } @tokens);
reload();
wait_for { (api('ops')->get('/v1/session') || { status => 0 })->{status} == 401 } 'a token that was removed';
is page()->get('/v1/session')->{status}, 401, '… and its cookie ends with it';

#
# limits
#
$d->configure(config(", tokens_file: $tokens, rate_limit: 5/m"));
reload();
wait_for { (api(undef, headers => { 'X-Admin-Key' => 'key-of-the-admin' })->get('/v1/session') || { status => 0 })->{status} == 401 } 'the limit';
my @status = map { api('eye')->get('/v1/session')->{status} } 1 .. 7;
is_deeply \@status, [(200) x 5, 429, 429], 'five a minute, the rest is 429 (S3-37)';
$r = api('eye')->get('/v1/session');
like $r->{headers}{'retry-after'}, qr/^\d+$/, '… with Retry-After: ' . $r->{headers}{'retry-after'};
is api('app')->get('/v1/session')->{status}, 200, 'each token by itself';
@status = map { api("guess-$_")->get('/v1/session')->{status} } 1 .. 30;
is $status[-1], 429, 'whoever guesses tokens is told to wait';
is $status[0], 401, '… after some';
is api('root')->get('/v1/session')->{status}, 200, '… and a good token from there is served';

unlike slurp($d->{log}), qr/key-of-the-admin|jobq_[0-9a-f]/, 'no secret is in the log';
is api(undef)->get('/metrics')->{status}, 200, 'metrics are open';
done_testing;
