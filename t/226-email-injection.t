# Whatever strings a job's data has in whatever member: the mail goes to whom
# it was meant for and to nobody else, is one mail, and has no header that
# nobody asked for. A real Postfix and npm's smtp-server are those who look.
# S4-14
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
plan tests => 3;

my $dir = temp_directory();
chmod 0755, $dir;
my $json = JSON::PP->new->utf8->canonical;

# 500 cases: a string of such pieces, in one member.
my @pieces = ("\r\n", "\n", "\r", "\x01", "\t", ' ', '>', '<', '"', '\\', ',', ';', ':', '@', '.', '(', '%0d%0a', 'a', 'ü', "\x{1f69a}",
	"\x{2028}", "\xc2\x85", "\x{feff}", '=', '=?UTF-8?Q?=0D=0ABcc:_evil@x.example?=', "> \r\nRCPT TO:<evil\@x.example>\r\n",
	"\r\nBcc: evil\@x.example", "\r\nBcc: evil\@x.example\r\n\r\nevil", "\r\n.\r\nMAIL FROM:<evil\@x.example>\r\n", "\n.\n", "\r.\r", "\n.\r\n",
	"\r\n.\n", '; filename="evil"', "''", "evil\@x.example", '<evil@x.example>', "\r\nRSET\r\n", 'x' x 1000);
my @members = qw(to_name to_address cc_name bcc_address from_name from_address reply_to subject text html
	header_name header_value filename type content_id attached importance);
srand 41;
sub piece { return $pieces[ rand @pieces ] }

sub mail_with {
	my ($id, $member, $evil) = @_;
	my %data = (to => "ok$id\@x.example", subject => 's', text => "t\n", headers => { 'X-Case' => "c$id" });
	my %attached = (filename => 'f.bin', text => 'x');
	if ($member eq 'to_name') { $data{to} = [ "$evil <ok$id\@x.example>" ] }
	elsif ($member eq 'to_address') { $data{to} = [ "ok$id$evil\@x.example" ] }
	elsif ($member eq 'cc_name') { $data{cc} = [ "\"$evil\" <ok$id\@x.example>" ] }
	elsif ($member eq 'bcc_address') { $data{bcc} = [ "ok$id\@x.example$evil" ] }
	elsif ($member eq 'from_name') { $data{from} = "$evil <noreply\@x.example>" }
	elsif ($member eq 'from_address') { $data{from} = "noreply\@x.example$evil" }
	elsif ($member eq 'reply_to') { $data{reply_to} = [ "$evil <reply\@x.example>" ] }
	elsif ($member eq 'header_name') { $data{headers}{"X-$evil"} = 'v' }
	elsif ($member eq 'header_value') { $data{headers}{'X-Value'} = $evil }
	elsif ($member =~ /^(?:filename|type|content_id)$/) { $attached{$member} = $evil }
	elsif ($member eq 'attached') { $attached{text} = $evil }
	else { $data{$member} = $evil }
	$data{attachments} = [ \%attached ] if $member =~ /^(?:filename|type|content_id|attached)$/;
	return \%data;
}

my (@jobs, @cases);
for my $id (1 .. 500) {
	my $member = $members[ $id % @members ];
	my $evil = decode_utf8(join '', map { my $p = piece(); utf8::is_utf8($p) ? encode_utf8($p) : $p } 0 .. rand 4);
	$cases[$id] = { member => $member, evil => $evil };
	push @jobs, { job => { id => $id, data => mail_with($id, $member, $evil) } };
}

sub deliver {
	my ($port) = @_;
	spew("$dir/conf.yml", "handlers: {mail: {driver: email, from: noreply\@x.example, server: \"smtp://127.0.0.1:$port\"}}\nqueues: {mail: {handler: mail}}\n");
	my ($status, $out, $err) = run_program([ $runner, "$dir/conf.yml", 'mail' ], in => join '', map { $json->encode($_) . "\n" } @jobs);
	diag $err if $status != 0;
	return grep { $_ } map { $json->decode($_)->{result} } split /\n/, $out;
}

# What came, by case: {envelope, headers}, against what became of the jobs.
sub compare {
	my ($results, @came) = @_;
	my %known = map { $_ => 1 } qw(from to cc reply-to subject date message-id mime-version content-type
		content-transfer-encoding content-disposition content-id importance x-case x-value);
	my (%came, @bad);
	push @{ $came{ $_->{case} // 'none' } }, $_ for @came;
	my $refused = grep { $_->{class} eq 'validation' } @$results;
	for my $r (@$results) {
		my $case = $cases[ $r->{id} ];
		my @mails = @{ delete $came{"c$r->{id}"} || [] };
		my @envelope = sort map { @{ $_->{envelope} } } @mails;
		my @wanted = $r->{class} eq '' ? sort keys %{ $r->{result}{recipients} } : ();
		my @foreign = grep { !$known{$_} && !($case->{member} eq 'header_name' && /^x-/) } map { @{ $_->{headers} } } @mails;
		my @evil = grep { /evil/ && !($case->{member} eq 'to_address' && /^ok\d+/) } @envelope;
		next if $r->{class} =~ /^(?:|validation)$/ && "@envelope" eq "@wanted" && @mails == (@wanted ? 1 : 0) && !@foreign && !@evil;
		push @bad, "$r->{id} $case->{member} " . $json->encode([ $case->{evil}, $r->{class}, $r->{message}, \@wanted, \@envelope, \@foreign ]);
	}
	push @bad, 'a mail that nobody sent: ' . $json->encode($_) for map { @$_ } values %came;
	diag join "\n", @bad[ 0 .. ($#bad < 9 ? $#bad : 9) ] if @bad;
	return sprintf '%d of %d refused, %d wrong', $refused, scalar @$results, scalar @bad;
}

# Some of them do no harm, and are to arrive.
# S4-14, S1-55
sub well { my ($text, $who) = @_; like $text, qr/^[123]\d\d of 500 refused, 0 wrong\z/, "$who: $text" }

# Postfix, which hands all it has understood to the next server.
my $postfix_dir = '/usr/lib/postfix/sbin';
SKIP: {
	skip 'needs root and Postfix (apt-get install postfix)', 1 unless $> == 0 && -x "$postfix_dir/smtpd" && defined getpwnam 'postfix';
	my $pf = "$dir/postfix";
	mkdir $_, 0755 for $pf, map { "$pf/$_" } qw(conf queue data sink);
	chown scalar getpwnam('postfix'), -1, "$pf/data";
	my ($port, $sink_port) = (free_port(), free_port());
	spew("$pf/conf/main.cf", <<"CF");
compatibility_level = 3.6
queue_directory = $pf/queue
data_directory = $pf/data
command_directory = /usr/sbin
daemon_directory = $postfix_dir
maillog_file = $pf/log
maillog_file_prefixes = /
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = test.example
mydestination =
local_recipient_maps =
alias_maps =
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:$sink_port
smtp_host_lookup = native
smtpd_relay_restrictions = permit_mynetworks, reject
CF
	spew("$pf/conf/master.cf", "127.0.0.1:$port inet n - n - - smtpd\npostlog unix-dgram n - n - 1 postlogd\n"
	    . join '', map { "$_\n" } 'pickup unix n - n 60 1 pickup', 'qmgr unix n - n 300 1 qmgr',
	    'rewrite unix - - n - - trivial-rewrite', (map { "$_ unix - - n - 0 bounce" } qw(bounce defer trace)),
	    (map { "$_ unix - - n - - $_" } qw(smtp error retry)), 'cleanup unix n - n - 0 cleanup',
	    'anvil unix - - n - 1 anvil', 'scache unix - - n - 1 scache',
	    'proxymap unix - - n - - proxymap', 'tlsmgr unix - - n 1000? 1 tlsmgr');
	background([ 'python3', source_directory() . '/t/smtp_server.py', $sink_port, "$pf/came" ], log => "$pf/sink.log");
	wait_port($sink_port);
	skip 'Postfix does not start here', 1 if system("postfix -c $pf/conf start >$pf/start.log 2>&1") != 0;
	Jobqd::at_end(sub { system("postfix -c $pf/conf stop >/dev/null 2>&1") });
	wait_port($port);
	my @results = deliver($port);
	wait_for { `find $pf/queue/active $pf/queue/incoming $pf/queue/maildrop -type f 2>/dev/null` eq '' } 'Postfix has relayed all';
	my $n = 0;
	for my $m (grep { exists $_->{mail} } json_lines("$pf/came")) {
		spew(sprintf('%s/sink/%04d', $pf, ++$n), encode_utf8(join '', (map { "X-Rcpt-Args: <$_>\n" } @{ $m->{rcpt} }), $m->{mail} =~ s/\r\n/\n/gr));
	}
	my ($status, $out) = run_program([ 'python3', source_directory() . '/t/mails.py', "$pf/sink" ]);
	my @came = map { $json->decode($_) } split /\n/, $out;
	# What is not ours.
	for my $m (@came) {
		$m->{headers} = [ grep { !/^(?:received|x-rcpt-args)$/ } map { lc } @{ $m->{headers} } ];
		$m->{envelope} = [ map { /<(.*)>/ ? $1 : $_ } @{ $m->{envelope} } ];
	}
	well(compare(\@results, @came), 'Postfix');
}

my $npm = temp_directory();
my ($no_npm) = run_program([ 'sh', '-c', "cd $npm && npm install --silent --no-audit --no-fund smtp-server\@3 mailparser\@3" ]);
SKIP: {
	skip 'npm cannot install smtp-server and mailparser here', 2 if $no_npm;
	local $ENV{NODE_PATH} = "$npm/node_modules";
	my $port = free_port();
	background([ 'node', source_directory() . '/t/mail_npm.js', 'serve', $port ], log => "$npm/log");
	wait_port($port);
	my @results = deliver($port);
	my $sent = grep { $_->{class} eq '' } @results;
	wait_for { (() = slurp("$npm/log") =~ /\n/g) >= $sent } 'all mails';
	well(compare(\@results, json_lines("$npm/log")), 'smtp-server and mailparser');

	my $out = qx(python3 @{[source_directory()]}/t/mime_oracle.py $build/t/unit/mail_text 1500 3 @{[source_directory()]}/t/mail_npm.js 2>&1);
	like $out, qr/^1500 compared, 0 differ$/m, '1500 random mails are read by mailparser as they were meant' or diag substr $out, -4000;
}
