# The driver email against servers that fail at each step in each way: which
# class the attempt has, who has the mail, and that nobody gets it twice.
# A connection is kept for the next mail, as long as it is good.
# S1-5 S4-1 S4-14
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Encode;
use JSON::PP;
use Test::More;

my $build = $ENV{JOBQD_BUILDDIR} || '.';
my $runner = "$build/t/unit/run_driver";
plan skip_all => "no $runner: build the check programs" unless -x $runner;
plan skip_all => 'this build has no driver email' unless -x "$build/t/unit/mail_text";

my $logs = 0;
my $dir = temp_directory();
my $json = JSON::PP->new->utf8->canonical;
my @pem = ("$dir/cert.pem", "$dir/key.pem");
system("openssl req -x509 -newkey rsa:2048 -nodes -keyout $pem[1] -out $pem[0] -days 30 "
    . "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 >/dev/null 2>&1") == 0
    or plan skip_all => 'openssl is missing';

# Cases: {name, server: its options, handler: more of the handler, jobs: their
# data}. All servers are one process, all jobs run in one worker, each case as
# a type of its own. Adds results (of each job) and mails (what the server wrote).
sub run_cases {
	my (@cases) = @_;
	my (@arguments, @jobs, $id, %owner);
	my ($handlers, $types) = ('', '');
	for my $i (0 .. $#cases) {
		my $c = $cases[$i];
		$c->{file} = "$dir/log" . ++$logs;
		push @arguments, (@arguments ? '--' : ()), 0, $c->{file}, @{ $c->{server} } if $c->{server};
	}
	my @servers = grep { $_->{server} } @cases;
	background([ 'python3', source_directory() . '/t/smtp_server.py', @arguments ], log => "$dir/ports" . ++$logs);
	my @ports;
	wait_for { @ports = split /\n/, -e "$dir/ports$logs" ? slurp("$dir/ports$logs") : ''; @ports >= @servers } 'the servers' if @servers;
	$_->{port} = shift @ports for @servers;
	for my $i (0 .. $#cases) {
		my $c = $cases[$i];
		$c->{port} //= $c->{closed};
		my $scheme = grep({ $_ eq 'smtps' } @{ $c->{server} || [] }) ? 'smtps' : 'smtp';
		$handlers .= "  c$i: {driver: email, from: noreply\@example.com, server: \"$scheme://127.0.0.1:$c->{port}\", "
		    . ($c->{handler} || 'timeout: 20s') . "}\n";
		$types .= "c$i: c$i, ";
		for my $data (@{ $c->{jobs} || [ {} ] }) {
			push @jobs, { job => { id => ++$id, type => "c$i", timeout_ms => $c->{time} || 30000,
				data => { to => "a$id\@x.example", subject => "mail $id", text => "text $id", %$data } } };
			$owner{$id} = $c;
		}
	}
	spew("$dir/conf.yml", "handlers:\n${handlers}queues: {mail: {types: {$types}}}\n");
	my ($status, $out, $err) = run_program([ $runner, "$dir/conf.yml", 'mail' ],
	    in => join '', map { $json->encode($_) . "\n" } @jobs);
	for my $line (split /\n/, $out) {
		my $o = $json->decode($line);
		is_deeply $o->{exit}, { status => 0, signal => 0 }, 'the worker lived' or diag $err if $o->{exit};
		push @{ $owner{ $o->{result}{id} }{results} }, $o->{result} if $o->{result};
	}
	for my $c (@cases) {
		$c->{mails} = [ grep { exists $_->{mail} } -e $c->{file} ? json_lines($c->{file}) : () ];
		$c->{result} = $c->{results}[0] || {};
		$c->{class} = $c->{result}{class} || 'completed';
		$c->{state} = join ' ', map { $c->{result}{result}{recipients}{$_}{state} }
		    sort keys %{ $c->{result}{result}{recipients} || {} };
	}
	return @cases;
}

# Each step, each way to fail. What is expected of "drop" holds for silence
# and RST as well.
my @steps = qw(greeting ehlo starttls auth mail rcpt data body end);
my %options = (starttls => [ 'tls', @pem ], auth => [ 'tls', @pem, 'auth', 'user', 'word' ]);
my %handler = (
	starttls => ", tls: required, ca_file: $pem[0]",
	auth => ", tls: required, ca_file: $pem[0], user: user, password: word",
);
my %expected = (    # of "450" and "550"; else network and validation
	'greeting 550' => 'network', 'starttls 550' => 'network', 'auth 550' => 'auth',
);
my @cases;
for my $step (@steps) {
	for my $way ('stall', 'drop', 'reset', '421', '450', '550') {
		# One that does not know EHLO is asked by HELO.
		next if $step eq 'body' && $way =~ /4[25]0|550/ || "$step $way" eq 'ehlo 550';
		push @cases, {
			name => "$step $way", step => $step, way => $way,
			handler => ($way eq 'stall' ? 'timeout: 1s' : 'timeout: 20s') . ($handler{$step} || ''),
			server => [ @{ $options{$step} || [] }, $way =~ /\d/ ? ('say', $step, "$way 4.0.0 told so") : ($way, $step) ],
			jobs => [ { text => $step eq 'body' ? 'long text ' x 700_000 : 'text' } ],
			want => $expected{"$step $way"} || ($way eq '550' ? 'validation' : 'network'),
		};
	}
}
run_cases(@cases);
for my $c (@cases) {
	subtest $c->{name} => sub {
		is $c->{class}, $c->{want}, "class $c->{want}" or diag $c->{result}{message};
		is scalar @{ $c->{mails} }, 0, 'nobody has it';
		is $c->{state}, $c->{step} eq 'rcpt' && $c->{way} eq '550' ? 'refused' : 'deferred', "… $c->{state}";
		like $c->{result}{message}, qr/\b$c->{way}\b/, 'the message has the answer' if $c->{way} =~ /\d/;
		is !!$c->{result}{result}{ambiguous}, !!($c->{step} eq 'end' && $c->{way} !~ /\d/),
		    'ambiguous only when the server had it all and said nothing';
		cmp_ok $c->{result}{run_us}, '<', 20_000_000, 'the worker is free again';
	};
}

# QUIT is nobody's business: the mail has arrived.
run_cases(@cases = map { { name => "quit $_", server => [ /\d/ ? ('say', 'quit', $_) : ($_, 'quit') ],
	handler => 'connection_mails: 1', jobs => [ {}, {} ] } } 'stall', 'drop', 'reset', '421 bye', '500 what');
for my $c (@cases) {
	is_deeply [ map { $_->{class} } @{ $c->{results} } ], [ '', '' ], "$c->{name}: both mails are completed";
	is scalar @{ $c->{mails} }, 2, '… each delivered once';
}

# Nobody takes the connection.
{
	require IO::Socket::INET;
	my $full = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
	my @held = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $full->sockport, Blocking => 0, Timeout => undef) } 1 .. 4;
	my ($silent, $closed) = run_cases({ closed => $full->sockport, handler => 'timeouts: {connect: 300ms}' },
	    { closed => free_port() }, { server => [] });
	is $silent->{class}, 'network', 'a connection that nobody takes: network';
	cmp_ok $silent->{result}{run_us}, '<', 20_000_000, sprintf '… after timeouts.connect of 300 ms (%d ms)', $silent->{result}{run_us} / 1000;
	is $closed->{class}, 'network', 'nobody listens: network';
	like $closed->{result}{message}, qr/cannot connect to 127\.0\.0\.1 port \d+: Connection refused/, '… and where';
}

# Each wait has its own limit, and the job's time is over all of them.
{
	my %waits = (greeting => 'greeting', command => 'rcpt', data => 'data', transfer => 'body', end => 'end');
	run_cases(@cases = (
		(map { { name => $_, server => [ 'stall', $waits{$_} ], handler => "timeout: 60s, timeouts: {$_: 200ms}",
			jobs => [ { text => 'long text ' x 700_000 } ] } } sort keys %waits),
		{ name => 'the job', server => [ 'stall', 'end' ], handler => 'timeout: 60s', time => 1000 }));
	for my $c (@cases) {
		is $c->{class}, $c->{name} eq 'the job' ? 'timeout' : 'network', "the limit of $c->{name}";
		cmp_ok $c->{result}{run_us}, '<', 30_000_000, sprintf '… of 200 ms, not of a minute (%d ms)', $c->{result}{run_us} / 1000;
	}
}

# The connection is kept: as long as it may, and only while it is good.
{
	my $three = [ {}, {}, {} ];
	run_cases(@cases = (
		{ name => 'plain', server => [], jobs => $three, sessions => '1 1 1' },
		{ name => 'TLS', server => [ 'tls', @pem ], jobs => $three, handler => "tls: required, ca_file: $pem[0]", sessions => '1 1 1' },
		{ name => 'smtps', server => [ 'smtps', @pem ], jobs => $three, handler => "ca_file: $pem[0]", sessions => '1 1 1' },
		{ name => 'two mails each', server => [], jobs => $three, handler => 'connection_mails: 2', sessions => '1 1 2' },
		{ name => 'none kept', server => [], jobs => $three, handler => 'connection_idle: 0', sessions => '1 2 3' },
		{ name => 'closed by the server', server => [ 'leave', 1 ], jobs => $three, sessions => '1 2 3' },
		{ name => 'closed by the server, TLS', server => [ 'tls', @pem, 'leave', 1 ], jobs => $three,
			handler => "tls: required, ca_file: $pem[0]", sessions => '1 2 3' },
		{ name => 'after refusals', server => [], sessions => '1 1',
			jobs => [ {}, { to => 'refuse@x.example' }, { from => 'refuse@x.example' }, {} ] },
		{ name => 'after refusals, without PIPELINING', server => ['plain'], sessions => '1 1',
			jobs => [ {}, { to => 'refuse@x.example' }, { from => 'refuse@x.example' }, {} ] },
		{ name => 'HELO', server => [ 'helo', 'plain' ], jobs => $three, sessions => '1 1 1' },
	));
	for my $c (@cases) {
		my $first = $c->{mails}[0]{session} // 0;
		is join(' ', map { $_->{session} - $first + 1 } @{ $c->{mails} }), $c->{sessions}, "connections: $c->{name}";
		is scalar(grep { $_->{class} eq '' } @{ $c->{results} }), scalar @{ $c->{mails} }, '… and every mail once';
	}
	like $cases[1]{mails}[0]{tls}, qr/^TLSv1\.3/, 'STARTTLS goes as far as TLS 1.3';
}

# A kept connection that turns out to be gone, or whose server takes leave,
# costs no attempt; a new one that does so costs one.
{
	run_cases(@cases = map { my $way = $_; { name => $way, jobs => [ {}, {}, {} ],
		server => [ $way =~ /\d/ ? ('say', 'mail', "$way 4.3.2 closing") : ($way, 'mail'), 'times', 1 ] } } 'drop', 'reset', '421');
	for my $c (@cases) {
		is_deeply [ map { $_->{class} } @{ $c->{results} } ], [ 'network', '', '' ], "a new connection, $c->{name} at MAIL: the attempt has failed, the next mails go on";
	}
	my ($kept) = run_cases({ server => ['leave', 2], jobs => [ ({}) x 7 ] });
	is_deeply [ map { $_->{class} } @{ $kept->{results} } ], [ ('') x 7 ], 'a kept one: no attempt fails';
	is join(' ', map { $_->{session} } @{ $kept->{mails} }), join(' ', map { $_ + $kept->{mails}[0]{session} } 0, 0, 1, 1, 2, 2, 3), '… and each mail arrives once (S1-5, S4-14)';
}

# Recipients.
{
	my @many = map { "m$_\@x.example" } 1 .. 333;
	my $to = [ 'good@x.example', 'refuse@x.example', 'defer@x.example' ];
	my ($some, $limit, $plain, $large) = run_cases(
		{ server => [], jobs => [ { to => $to } ] },
		{ server => [ 'limit', 100 ], jobs => [ { to => \@many } ] },
		{ server => ['plain'], jobs => [ { to => \@many }, { to => $to } ] },
		{ server => [ 'size', 20000 ], jobs => [ { text => 'long ' x 10000 }, {} ] });
	is $some->{class}, 'network', 'one of three deferred: network, to be tried again';
	is $some->{state}, 'deferred accepted refused', '… with an answer for each (defer, good, refuse)';
	is_deeply $some->{mails}[0]{rcpt}, ['good@x.example'], '… and one has it';
	is $limit->{class}, 'completed', '333 recipients at a server that takes 100 a mail' or diag $limit->{result}{message};
	is_deeply [ map { scalar @{ $_->{rcpt} } } @{ $limit->{mails} } ], [ 100, 100, 100, 33 ], '… in four mails';
	is_deeply [ map { @{ $_->{rcpt} } } @{ $limit->{mails} } ], \@many, '… each of them once';
	is_deeply $plain->{mails}[0]{rcpt}, \@many, '… or, without PIPELINING, in one';
	is_deeply $plain->{mails}[1]{rcpt}, ['good@x.example'], '… the next one after it';
	is_deeply [ map { $_->{class} } @{ $large->{results} } ], [ 'validation', '' ], 'a mail larger than SIZE is not sent';
	like $large->{result}{message}, qr/the mail has \d+ bytes, 127\.0\.0\.1 takes 20000/, '… and the message says so';
}

# One that takes the mail after it has refused the sender, or everybody.
{
	my ($lax) = run_cases({ server => ['lax'], jobs => [ { to => 'refuse@x.example' }, { from => 'refuse@x.example' }, {} ] });
	is_deeply [ map { $_->{class} } @{ $lax->{results} } ], [ 'validation', 'validation', '' ], 'who refuses and then waits for a mail gets none';
	is scalar @{ $lax->{mails} }, 1, '… not even an empty one';
}

# Nonsense for an answer: the worker lives, and who is said to have a mail has it.
{
	my @noisy = run_cases(map { { server => [ 'noise', $_, 'tls', @pem ], handler => 'timeout: 100ms', jobs => [ ({}) x 100 ] } } 1 .. 3);
	my @results = map { @{ $_->{results} } } @noisy;
	my %has = map { $_ => 1 } map { @{ $_->{rcpt} } } map { @{ $_->{mails} } } @noisy;
	my @done = grep { $_->{class} eq '' } @results;
	is scalar @results, 300, '300 mails to a server of which a fifth is nonsense';
	is_deeply [ grep { !/^(?:|network|validation|auth)$/ } map { $_->{class} } @results ], [], '… each has ended';
	is_deeply [ grep { my ($r) = $_; grep { !$has{$_} } keys %{ $r->{result}{recipients} } } @done ], [],
	    sprintf '… %d of them delivered, which have arrived', scalar @done;
	cmp_ok scalar @done, '>', 5, '… and were enough';
}

# Addresses beyond ASCII: with SMTPUTF8, and to no other server.
{
	my @beyond = map { decode_utf8($_) } 'Jörg <jörg@x.example>', 'info@日本.example', 'дима@x.example';
	my ($takes, $not) = run_cases(map { { server => $_, jobs => [ { to => \@beyond }, { to => 'a@x.example', cc => 'B <b@x.example>' } ] } } [], ['plain']);
	is_deeply $takes->{mails}[0]{rcpt}, [ map { /<(.*)>/ ? $1 : $_ } @beyond ], 'addresses beyond ASCII, with SMTPUTF8' or diag $takes->{result}{message};
	like $takes->{mails}[0]{from}, qr/^MAIL FROM:<\S+> SIZE=\d+ BODY=8BITMIME SMTPUTF8\z/, '… which is said';
	my ($to) = $takes->{mails}[0]{mail} =~ /^To: (.*?)\r?\n\S/ms;
	like $to // '', qr/<j\x{f6}rg\@x\.example>,\r?\n info\@\x{65e5}\x{672c}\.example/, '… and stand in the headers';
	unlike $takes->{mails}[1]{from}, qr/UTF8/, '… other mails go without';
	is_deeply [ map { $_->{class} } @{ $not->{results} } ], [ 'validation', '' ], 'a server without SMTPUTF8: validation';
	like $not->{result}{message}, qr/takes no addresses beyond ASCII/, '… and the message says so';
}

# TLS that is no good: refused where it is required, done without where not.
{
	my ($opportunistic, $required) = run_cases(
		{ server => [ 'tls', @pem, 'handshake' ], handler => 'timeout: 20s' },
		{ server => [ 'tls', @pem, 'handshake' ], handler => "tls: required, ca_file: $pem[0]" });
	is $opportunistic->{class}, 'completed', 'a handshake that fails: without TLS, where tls is opportunistic' or diag $opportunistic->{result}{message};
	is $required->{class}, 'network', '… and not where it is required';
	is scalar @{ $required->{mails} }, 0, '… nothing was sent';
	my ($name, $wrong) = run_cases(
		{ server => [ 'smtps', @pem ], handler => "ca_file: $pem[0], tls_name: localhost" },
		{ server => [ 'smtps', @pem ], handler => "ca_file: $pem[0], tls_name: mail.example.com" });
	is $name->{class}, 'completed', 'tls_name is the name in the certificate';
	like $wrong->{result}{message}, qr/its certificate: hostname mismatch/i, '… and no other will do';
}

# Ways to log in.
for my $way (qw(PLAIN LOGIN CRAM-MD5 XOAUTH2)) {
	local $ENV{AUTH_WAYS} = $way eq 'XOAUTH2' ? 'PLAIN XOAUTH2' : $way;
	spew("$dir/secret", "wörd ~!\n");
	my $auth = $way eq 'XOAUTH2' ? 'auth: xoauth2' : 'auth: auto';
	my ($good, $bad, $other) = run_cases(
		{ server => [ 'auth', 'user', 'wörd ~!' ], handler => "tls: off, $auth, user: user, password_file: $dir/secret" },
		{ server => [ 'auth', 'user', 'wörd ~!' ], handler => "tls: off, $auth, user: user, password: wrong" },
		{ server => [ 'auth', 'user', 'word' ], handler => 'tls: off, user: user, password: word, auth: ' . ($way eq 'LOGIN' ? 'plain' : 'login') });
	is $good->{class}, 'completed', "$way" or diag $good->{result}{message};
	is $good->{mails}[0]{auth}, $way, '… was the way';
	is $bad->{class}, 'auth', '… a wrong password is refused' or diag $bad->{result}{message};
	like $bad->{result}{message}, qr/authentication refused: 535 /, '… and the message says so';
	is $other->{class}, 'auth', '… a way that is not offered';
	like $other->{result}{message}, qr/the server offers .*\Q$way\E, and not /, '… and the message says which are';
}
done_testing;
