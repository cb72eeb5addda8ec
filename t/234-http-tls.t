# The driver http and TLS: servers are verified, always; handlers may have a
# certificate of their own; HTTP/2 where the server speaks it. S0-12
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use HttpJobs;
use Test::More;

for (qw(node openssl)) {
	plan skip_all => "$_ is missing" if (run_program([ 'sh', '-c', "command -v $_" ]))[0];
}
my $dir = temp_directory();

# A certificate by the authority, or by itself. Options of openssl x509.
sub certificate {
	my ($name, $subject, %o) = @_;
	my $by = $o{by} || 'ca';
	spew("$dir/$name.ext", $o{names} ? "subjectAltName=$o{names}\n" : "basicConstraints=critical,CA:TRUE\n");
	my @sign = $by eq $name ? ('-signkey', "$dir/$name.key") : ('-CA', "$dir/$by.pem", '-CAkey', "$dir/$by.key", '-CAcreateserial');
	for my $command ([ qw(openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj), $subject, '-keyout', "$dir/$name.key", '-out', "$dir/$name.csr" ],
	    [ qw(openssl x509 -req -in), "$dir/$name.csr", @sign, '-extfile', "$dir/$name.ext", '-out', "$dir/$name.pem", '-days', $o{days} || 2 ]) {
		my ($status, undef, $err) = run_program($command);
		die "@$command: $err" if $status;
	}
	chmod 0600, "$dir/$name.key";
	return;
}
certificate('ca', '/CN=The authority', by => 'ca');
certificate('other', '/CN=Another authority', by => 'other');
certificate('good', '/CN=127.0.0.1', names => 'IP:127.0.0.1,DNS:localhost');
certificate('wrong', '/CN=example.com', names => 'DNS:example.com');
certificate('self', '/CN=127.0.0.1', by => 'self', names => 'IP:127.0.0.1');
certificate('foreign', '/CN=127.0.0.1', by => 'other', names => 'IP:127.0.0.1');
certificate('client', '/CN=jobqd of the fleet', names => 'DNS:client');
certificate('stranger', '/CN=nobody', by => 'other', names => 'DNS:stranger');
# Of the past: openssl x509 takes no dates, but a negative number of days.
certificate('expired', '/CN=127.0.0.1', names => 'IP:127.0.0.1', days => -1);

my %port = map { $_ => free_port() } qw(good wrong self foreign expired mutual h2);
background([ 'node', source_directory() . '/t/tls_server.js', $dir, "$dir/requests", map { $port{$_} => { mutual => 'good,mutual', h2 => 'good,h2' }->{$_} || $_ } sort keys %port ],
	log => "$dir/servers.log");
wait_port($_) for values %port;
sub requests { return -e "$dir/requests" ? json_lines("$dir/requests") : () }
my $ca = "allow_private: true, ca_file: $dir/ca.pem";

# Who is at the other end.
{
	my @all = sort grep { $_ ne 'mutual' } keys %port;
	my $r = run_jobs($ca, map { job($_ + 1, url => "https://127.0.0.1:$port{$all[$_]}/$all[$_]", payload => {}) } 0 .. $#all);
	is_deeply { map { $all[$_] => classes($r, $_ + 1) } 0 .. $#all }, { expired => 'network', foreign => 'network', good => 'completed', h2 => 'completed', self => 'network', wrong => 'network' },
	    'only who has a certificate that is valid, of that name, and by somebody we trust' or diag explain $r;
	my %message = map { $all[$_] => $r->{ $_ + 1 }{message} || '' } 0 .. $#all;
	like $message{expired}, qr/certificate has expired/, "expired: $message{expired}";
	like $message{self}, qr/self.signed/, "self-signed: $message{self}";
	like $message{wrong}, qr/no alternative certificate subject name matches/, "wrong name: $message{wrong}";
	like $message{foreign}, qr/unable to get local issuer/, "foreign: $message{foreign}";
	is join(' ', sort map { $_->{path} } requests()), '/good /h2', 'nobody else has heard what was to be sent';
	$r = run_jobs('allow_private: true', job(1, url => "https://127.0.0.1:$port{good}/", payload => {}));
	is classes($r, 1), 'network', 'the system does not trust our authority';
	$r = run_jobs($ca, job(1, url => "https://localhost:$port{good}/name", payload => {}));
	is classes($r, 1), 'completed', 'by name';
}

# Who we are.
{
	my %by = (
		none => run_jobs($ca, job(1, url => "https://127.0.0.1:$port{mutual}/none", payload => {})),
		stranger => run_jobs("$ca, tls: {cert: $dir/stranger.pem, key: $dir/stranger.key}", job(1, url => "https://127.0.0.1:$port{mutual}/stranger", payload => {})),
		client => run_jobs("$ca, tls: {cert: $dir/client.pem, key: $dir/client.key}", job(1, url => "https://127.0.0.1:$port{mutual}/client", payload => {})),
	);
	is_deeply { map { $_ => classes($by{$_}, 1) } keys %by }, { none => 'network', stranger => 'network', client => 'completed' }, 'a server that wants a certificate' or diag explain \%by;
	is_deeply [ map { $_->{who} } grep { $_->{path} eq '/client' } requests() ], ['jobqd of the fleet'], '… sees ours (S0-12)';
}

# What -t says of the files.
{
	my $check = sub {
		spew("$dir/jobqd.yml", "handlers:\n  hook: {driver: http, $_[0]}\nqueues: {q: {handler: hook}}\n");
		my (undef, undef, $err) = run_program([ jobqd_program(), '-t', '-c', "$dir/jobqd.yml" ]);
		return $err =~ s/\Q$dir\E\/?//gr;
	};
	is $check->("ca_file: $dir/ca.pem, tls: {cert: $dir/client.pem, key: $dir/client.key}"), '', 'jobqd -t: good ones';
	is $check->("ca_file: $dir/none.pem"), "jobqd.yml:2:24: ca_file: cannot read none.pem: No such file or directory\n", '… none';
	like $check->("ca_file: $dir/ca.key"), qr/^jobqd.yml:2:24: ca_file: no certificates in ca.key: /, '… no certificates';
	is $check->("tls: {cert: $dir/client.pem, key: $dir/good.key}"), 'jobqd.yml:2:' . (30 + length "cert: $dir/client.pem, ") . ": key: the key good.key is not that of the certificate client.pem\n", '… of another';
	like $check->("tls: {cert: $dir/client.pem}"), qr/^jobqd.yml:2:24: tls: needs a map \{cert, key\}, two files/, '… one of them';
	chmod 0644, "$dir/client.key";
	like $check->("tls: {cert: $dir/client.pem, key: $dir/client.key}"), qr/key: the key client.key has permissions 644/, '… that everybody may read';
	chmod 0600, "$dir/client.key";
}

# Many at once: HTTP/2 shares connections, HTTP/1.1 uses them again.
{
	my $r = run_jobs($ca, map { job($_, url => "https://127.0.0.1:$port{h2}/two/$_", payload => {}) } 1 .. 100);
	is scalar(grep { $r->{$_} && $r->{$_}{class} eq '' } 1 .. 100), 100, '100 at once to a server of HTTP/2';
	my @got = grep { $_->{path} =~ m{^/two} } requests();
	my %connection = map { $_->{connection} => 1 } @got;
	is join(' ', keys %{ { map { $_->{version} => 1 } @got } }), '2.0', '… which is spoken';
	cmp_ok scalar(keys %connection), '<=', 3, '… by ' . keys(%connection) . ' connections';
	$r = run_jobs($ca, map { job($_, url => "https://127.0.0.1:$port{h2}/more/$_", payload => {}) } 1 .. 300);
	@got = grep { $_->{path} =~ m{^/more} } requests();
	%connection = map { $_->{connection} => 1 } @got;
	is scalar(grep { $r->{$_} && $r->{$_}{class} eq '' } 1 .. 300), 300, '300 at once, of which 100 have room on a connection (' . keys(%connection) . ' were made)';
	is scalar(@got), 300, '… each of them once';
	local $HttpJobs::queue = 'concurrency: 4';
	run_jobs($ca, map { job($_, url => "https://127.0.0.1:$port{good}/one/$_", payload => {}) } 1 .. 40);
	@got = grep { $_->{path} =~ m{^/one} } requests();
	%connection = map { $_->{connection} => 1 } @got;
	is scalar(@got), 40, '40, four at once, to one of HTTP/1.1';
	cmp_ok scalar(keys %connection), '<=', 4, '… by ' . keys(%connection) . ' connections';
}
done_testing;
