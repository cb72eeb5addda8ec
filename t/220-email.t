# The driver email against SMTP servers: Postfix' smtp-sink, and one that
# refuses, stalls, encrypts and wants passwords.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More;

my $runner = ($ENV{JOBQD_BUILDDIR} || '.') . '/t/unit/run_driver';
plan skip_all => "no $runner: build the check programs" unless -x $runner;
plan skip_all => 'this build has no driver email' unless -x ($ENV{JOBQD_BUILDDIR} || '.') . '/t/unit/mail_text';

my $dir = temp_directory();
my $json = JSON::PP->new->utf8->canonical;

# Run jobs (hashes) of a handler (YAML text): a list of their results by id,
# and the status of the worker.
sub run_jobs {
	my ($handler, @jobs) = @_;
	spew("$dir/conf.yml", "handlers: {mail: {driver: email, from: noreply\@example.com, $handler}}\n"
	    . "queues: {mail: {handler: mail}}\n");
	my ($status, $out, $err) = run_program([ $runner, "$dir/conf.yml", 'mail' ],
	    in => join '', map { $json->encode({ job => $_ }) . "\n" } @jobs);
	diag $err if $status != 0;
	my %result;
	for my $line (split /\n/, $out) {
		my $o = $json->decode($line);
		$result{ $o->{result}{id} } = $o->{result} if $o->{result};
		$result{exit} = $o->{exit} if $o->{exit};
	}
	return \%result;
}

sub mail { my ($id, %data) = @_; return { id => $id, data => { subject => "mail $id", text => "text $id\n", %data } } }

sub server {
	my (@options) = @_;
	my $port = free_port();
	my $file = "$dir/smtp-$port";
	background([ 'python3', source_directory() . '/t/smtp_server.py', $port, $file, @options ], log => "$file.log");
	wait_port($port);
	return ($port, $file);
}

# What was said for each mail, once there are so many.
sub mails {
	my ($file, $count) = @_;
	my @all;
	wait_for { @all = grep { $_->{rcpt} } json_lines($file); @all >= $count } "$count mails";
	return @all;
}

sub classes { my ($r, @ids) = @_; return join ' ', map { $r->{$_}{class} || 'completed' } @ids }

# Exactly what was meant, with every recipient's answer.
{
	my ($port, $file) = server();
	my $text = "Grüße\n.\n..two dots\nFrom here\n" . 'x' x 2000 . "\nend";
	utf8::decode($text);
	my $r = run_jobs("server: \"smtp://127.0.0.1:$port\"",
	    mail(1, to => [ 'a@x.example', 'Ü <b@x.example>' ], cc => 'c@x.example', bcc => 'd@x.example', text => $text),
	    mail(2, to => [ 'good@x.example', 'refuse@x.example' ]),
	    mail(3, to => [ 'good@x.example', 'refuse@x.example', 'defer@x.example' ]),
	    mail(4, to => 'refuse@x.example'), mail(5, to => 'defer@x.example'),
	    mail(6, to => 'a@x.example', from => 'refuse@x.example'));
	is classes($r, 1 .. 6), 'completed completed network validation network validation', 'classes';
	is_deeply [ map { $r->{3}{result}{recipients}{"$_\@x.example"}{state} } qw(good refuse defer) ],
	    [qw(accepted refused deferred)], 'each recipient has its own answer';
	is $r->{3}{result}{recipients}{'refuse@x.example'}{code}, 550, '… with its code';
	like $r->{3}{message}, qr/^1 of 3 recipients deferred, defer\@x.example: 451 /, 'the message says who and why';
	like $r->{6}{message}, qr/refused the sender: 550 5.1.8 no such sender\z/, 'a refused sender';
	my @s = mails($file, 6);
	is_deeply $s[0]{rcpt}, [ map { "$_\@x.example" } qw(a b c d) ], 'to, cc and bcc get it';
	unlike $s[0]{mail}, qr/d\@x\.example/, 'bcc is not told';
	spew("$dir/mails/1.eml", $s[0]{mail}) if mkdir "$dir/mails";
	my ($status, $out) = run_program([ 'python3', source_directory() . '/t/mails.py', "$dir/mails" ]);
	my $read = $json->decode($out);
	is $read->{plain} =~ s/\n\z//r, $text, 'the text as it was, dots and all';
	is_deeply $read->{defects}, [], '… and nothing for a parser to complain of';
	is $read->{id}, $r->{1}{result}{message_id}, 'Message-ID is in the result';
	my $again = run_jobs("server: \"smtp://127.0.0.1:$port\"",
	    mail(1, to => [ 'a@x.example', 'Ü <b@x.example>' ], cc => 'c@x.example', bcc => 'd@x.example', text => $text));
	like $again->{1}{result}{message_id}, qr/^<1\.[0-9a-f]{32}\@example\.com>$/, '… in its form';
}

# Nobody there: refused at once, or silent for ever.
{
	my $port = free_port();
	my $r = run_jobs("server: \"smtp://127.0.0.1:$port\"", mail(1, to => 'a@x.example'));
	is $r->{1}{class}, 'network', 'a refused connection: network';
	like $r->{1}{message}, qr/cannot connect to 127\.0\.0\.1 port $port: Connection refused/, '… and where';
	require IO::Socket::INET;
	my $full = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
	my $full_port = $full->sockport;
	my @held = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $full_port, Blocking => 0, Timeout => undef) } 1 .. 4;
	$r = run_jobs("timeout: 500ms, server: \"smtp://127.0.0.1:$full_port\"", mail(1, to => 'a@x.example'));
	is $r->{1}{class}, 'network', 'a connection that nobody takes: network, in time';
}

# TLS and passwords.
SKIP: {
	my $made = system("openssl req -x509 -newkey rsa:2048 -nodes -keyout $dir/key.pem -out $dir/cert.pem -days 30 "
	    . "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 >/dev/null 2>&1");
	skip 'openssl is missing', 14 if $made != 0;
	my @files = ("$dir/cert.pem", "$dir/key.pem");
	my ($port, $file) = server('tls', @files, 'auth', 'user', 'word');
	my $url = "server: \"smtp://127.0.0.1:$port\"";
	my @job = mail(1, to => 'a@x.example');

	my $r = run_jobs("$url, tls: required, ca_file: $files[0], user: user, password: word", @job);
	is classes($r, 1), 'completed', 'STARTTLS, verified, with a password' or diag $r->{1}{message};
	ok((mails($file, 1))[0]{tls}, '… it was encrypted');
	$r = run_jobs("$url, tls: required, user: user, password: word", @job);
	is $r->{1}{class}, 'network', 'a certificate nobody vouches for is refused where TLS is required';
	$r = run_jobs("$url, tls: opportunistic, user: user, password: word", @job);
	is classes($r, 1), 'completed', '… and taken where it is not';
	$r = run_jobs("$url, user: user, password: wrong", @job);
	is $r->{1}{class}, 'auth', 'a wrong password: auth';
	like $r->{1}{message}, qr/535|530/, '… with the answer';
	$r = run_jobs("$url, tls: off", @job);
	is $r->{1}{class}, 'auth', 'no password where one is wanted: auth';

	($port, $file) = server('auth', 'user', 'word');
	$r = run_jobs("server: \"smtp://127.0.0.1:$port\", user: user, password: word", @job);
	is $r->{1}{class}, 'network', 'a password does not go out in the clear';
	like $r->{1}{message}, qr/STARTTLS is not offered/, '… and the message says so';
	$r = run_jobs("server: \"smtp://127.0.0.1:$port\", tls: off, user: user, password: word", @job);
	is classes($r, 1), 'completed', '… unless tls is off';

	($port, $file) = server('smtps', @files);
	$r = run_jobs("server: \"smtps://127.0.0.1:$port\", ca_file: $files[0]", mail(1, to => 'a@x.example', text => 'long ' x 100_000));
	is classes($r, 1), 'completed', 'smtps' or diag $r->{1}{message};
	my ($s) = mails($file, 1);
	ok $s->{tls} && length $s->{mail} > 500_000, '… all of it arrived';
	$r = run_jobs("server: \"smtps://localhost:$port\"", @job);
	like $r->{1}{message}, qr/certificate/, 'smtps verifies';
	($port) = server('stall', 'greeting');
	$r = run_jobs("timeout: 500ms, server: \"smtps://127.0.0.1:$port\"", @job);
	is $r->{1}{class}, 'network', 'no answer to TLS: network, in time';
}

# Lines that begin with dots, as they were: in a mail of less than one write
# and in one of many, the dots at every place in it.
{
	my ($port, $file) = server();
	my $dots = ".\n..\n.a\n...b\n";
	my @texts = ($dots, join('', map { 'x' x $_ . "\n$dots" } map { $_ % 70 } 1 .. 20_000), "a\n.");
	my $r = run_jobs("server: \"smtp://127.0.0.1:$port\"", map { mail($_, to => 'a@x.example', text => $texts[ $_ - 1 ]) } 1 .. @texts);
	is classes($r, 1 .. @texts), 'completed completed completed', 'lines with dots';
	my @got = map { s/.*?\r\n\r\n//sr =~ s/\r\n/\n/gr =~ s/\n*\z//r } map { $_->{mail} // () } mails($file, 3);
	ok $got[$_] eq $texts[$_] =~ s/\n*\z//r, sprintf '… all of %d bytes are there', length $texts[$_] for 0 .. $#texts;
}

# Bounces go elsewhere.
{
	my ($port, $file) = server();
	my $r = run_jobs("return_path: \"Bounces <bounces\@x.example>\", server: \"smtp://127.0.0.1:$port\"", mail(1, to => 'a@x.example'));
	my ($m) = mails($file, 1);
	like $m->{from}, qr/^MAIL FROM:<bounces\@x\.example> /, 'return_path is the sender of the envelope';
	like $m->{mail}, qr/^From: noreply\@example\.com\r?$/m, '… and not of the mail';
}

# Files instead of a server.
{
	my $r = run_jobs("server: \"file:$dir/out\", attachments_dir: $dir/mails",
	    mail(7, to => 'a@x.example', bcc => 'b@x.example', attachments => [ { path => '1.eml' } ]),
	    mail(8, to => 'a@x.example', attachments => [ { path => '../conf.yml' } ]),
	    mail(9, to => 'a@x.example', attachments => [ { path => "$dir/conf.yml" } ]));
	is classes($r, 7, 8, 9), 'completed validation validation', 'file:DIR, and attachments only from below their directory';
	my ($file, @more) = glob "$dir/out/*";
	like $file, qr{/7-1-[0-9a-f]{8}\.eml\z}, 'one file a mail';
	is_deeply [ @more, glob "$dir/out/.*.tmp" ], [], '… nothing else';
	like slurp($file), qr/^X-Envelope-To: <b\@x\.example>\r$/m, '… with its envelope';
	symlink "$dir/conf.yml", "$dir/mails/link";
	$r = run_jobs("server: \"file:$dir/out\", attachments_dir: $dir/mails", mail(9, to => 'a@x.example', attachments => [ { path => 'link' } ]));
	is $r->{9}{class}, 'validation', 'nor through a link';
	is_deeply $r->{exit}, { status => 0, signal => 0 }, 'the worker left in peace';
}

# As those know it who sent by Graph: body, its type, importance.
{
	my $r = run_jobs("server: \"file:$dir/graph\"", { id => 1, data => { to => [ 'a@x.example', 'b@x.example' ], subject => 'S',
		body => '<p>Hi</p>', bodyType => 'html', importance => 'high' } }, { id => 2, data => { to => 'a@x.example', subject => 'S', body => 'Hi' } });
	my ($status, $out) = run_program([ 'python3', source_directory() . '/t/mails.py', "$dir/graph" ]);
	my @read = map { $json->decode($_) } split /\n/, $out;
	is_deeply [ map { [ @$_{qw(to subject plain html)} ] } @read ],
	    [ [ 'a@x.example, b@x.example', 'S', undef, "<p>Hi</p>\n" ], [ 'a@x.example', 'S', "Hi\n", undef ] ], 'body and bodyType: S2-8, S1-5';
	like slurp((glob "$dir/graph/1-*")[0]), qr/^Importance: high\r$/m, '… and importance';
}

# What the data does not say, the handler's templates do.
{
	my $handler = "server: \"file:$dir/templates\", subject: \"Welcome, {{data.name}}\", "
	    . "text: \"Dear {{data.name}},\\n{{job.id}}\\n\", html: \"<p title='{{data.name}}'>{{data.name}}</p>\"";
	my $who = { to => 'a@x.example', name => "Zoë <o'x>" };
	utf8::decode($who->{name});
	my $r = run_jobs($handler, { id => 1, data => $who }, { id => 2, data => { %$who, subject => 'Own', text => 'Own.' } },
	    { id => 3, data => { to => 'a@x.example', text => 'x' } }, { id => 4, data => { %$who, name => "a\nBcc: b\@x.example" } });
	is classes($r, 1 .. 4), 'completed completed validation validation', 'templates of the handler';
	like $r->{3}{message}, qr/^subject of the handler: \{\{data\.name\}\}: no such value/, '… what is missing is said';
	like $r->{4}{message}, qr/has a control character/, '… and no line end becomes a header';
	my ($status, $out) = run_program([ 'python3', source_directory() . '/t/mails.py', "$dir/templates" ]);
	my @read = map { $json->decode($_) } split /\n/, $out;
	is_deeply [ @{ $read[0] }{qw(subject plain html)} ], [ "Welcome, $who->{name}", "Dear $who->{name},\n1\n",
		"<p title='Zo\x{eb} &lt;o&#39;x&gt;'>Zo\x{eb} &lt;o&#39;x&gt;</p>\n" ], '… in HTML a value is text';
	is_deeply [ @{ $read[1] }{qw(subject plain html)} ], [ 'Own', "Own.\n", undef ], '… and what the data says wins';
}

SKIP: {
	my ($sink) = grep { -x } '/usr/sbin/smtp-sink', '/usr/lib/postfix/sbin/smtp-sink';
	skip 'smtp-sink (package postfix) is missing', 2 unless $sink;
	my $port = free_port();
	mkdir "$dir/sink" or die;
	chmod 0777, "$dir/sink";
	background([ $sink, ($> == 0 ? ('-u', 'nobody') : ()), '-d', "$dir/sink/%M.", "127.0.0.1:$port", 100 ], log => "$dir/sink.log");
	wait_port($port);
	my $r = run_jobs("server: \"smtp://127.0.0.1:$port\"", map { mail($_, to => "user$_\@x.example") } 1 .. 100);
	is scalar(grep { $r->{$_}{class} eq '' } 1 .. 100), 100, "a hundred mails to Postfix' smtp-sink";
	my ($status, $out) = run_program([ 'python3', source_directory() . '/t/mails.py', "$dir/sink" ]);
	my %subjects = map { $_->{subject} => 1 } grep { $_->{subject} ne 'None' } map { $json->decode($_) } split /\n/, $out;
	is scalar(keys %subjects), 100, '… each of them once';
}
done_testing;
