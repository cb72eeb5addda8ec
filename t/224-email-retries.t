# Mails through all their attempts, with the real daemon: only who was
# deferred is tried again, under the same Message-ID; no mail is lost and none
# arrives twice while the server closes, refuses and takes leave.
# S0-1 S0-45 S1-5 S4-1 S4-14
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More tests => 20;

my $dir = temp_directory();
my @servers = (
	fine => [], shaky => [ 'drop', 'mail', 'times', 40, 'leave', 7 ], lossy => [ 'drop', 'end', 'times', 1 ],
	drops => [ 'say', 'greeting', '421 4.3.2 too busy', 'times', 3 ], short => []);
my @names = grep { !ref } @servers;
my %options = @servers;
background([ 'python3', source_directory() . '/t/smtp_server.py', map { ('--', 0, "$dir/$_", @{ $options{$_} }) } @names ], log => "$dir/ports");
my %port;
wait_for { @port{@names} = -e "$dir/ports" ? split /\n/, slurp("$dir/ports") : (); defined $port{ $names[-1] } } 'the servers';

my $handlers = join '', map { "  $_: {driver: email, from: \"Fleet <fleet\@x.example>\", server: \"smtp://127.0.0.1:$port{$_}\"" . ($_ eq 'short' ? ', connection_idle: 200ms' : '') . "}\n" } sort keys %port;
my $queues = join '', map { "  $_: {handler: $_, workers: 2, retry: quick, breaker: off}\n" } sort keys %port;
my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
retry:
  quick: {attempts: 5, backoff: fixed, base: 200ms, jitter: 0%}
handlers:
$handlers
queues:
$queues
YAML
$d->start;

sub enqueue { my ($queue, %data) = @_; return $pg->query("SELECT jobq.enqueue('$queue', 'mail', \$json\$" . encode_json({ subject => 's', text => 't', %data }) . "\$json\$)") }
sub ended { my (@ids) = @_; my $ids = join ', ', @ids; wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE id IN ($ids) AND state IN ('completed', 'dead')") == @ids } "jobs $ids" }
sub job { my ($id, $column) = @_; return $pg->query("SELECT $column FROM jobq.jobs WHERE id = $id") }
sub mails { my ($name) = @_; return grep { exists $_->{mail} } json_lines("$dir/$name") }
sub message_id { return $_[0]{mail} =~ /^Message-ID: (<\S+>)\r?$/m ? $1 : '' }

# One is fine, one is deferred once, one refused.
{
	my $id = enqueue('fine', to => [ 'good@x.example', 'deferonce@x.example' ], bcc => 'refuse@x.example',
		headers => { 'List-Unsubscribe' => '<https://x.example/u?id=' . 'a' x 100 . '>', 'List-Unsubscribe-Post' => 'List-Unsubscribe=One-Click' });
	my $all = enqueue('fine', to => 'refuse@x.example');
	ended($id, $all);
	is job($id, 'state'), 'completed', 'a job is completed when nobody is left to try and anybody has the mail';
	is job($id, 'attempt'), 2, '… at the second attempt';
	my @mails = grep { $_->{mail} =~ /^Subject: s/m } mails('fine');
	is_deeply [ map { $_->{rcpt} } @mails ], [ ['good@x.example'], ['deferonce@x.example'] ], '… which went to the deferred one alone (S1-22)';
	is message_id($mails[1]), message_id($mails[0]), '… under the same Message-ID';
	is_deeply [ map { job($id, "result->'recipients'->'$_\@x.example'->>'state'") } qw(good deferonce refuse) ],
	    [qw(accepted accepted refused)], '… and the result has all three';
	like job($id, "result->>'response'"), qr/^250 2\.0\.0 queued/, '… and what the server said';
	is $pg->query("SELECT string_agg(coalesce(class, 'completed'), ' ' ORDER BY attempt) FROM jobq.attempts WHERE job_id = $id"), 'network completed', '… and each attempt its class';
	like $mails[0]{mail}, qr/^List-Unsubscribe: <https:\S+>\r?$/m, 'List-Unsubscribe goes out as it is';
	like $mails[0]{mail}, qr/^List-Unsubscribe-Post: List-Unsubscribe=One-Click\r?$/m, '… and its -Post';
	is job($all, 'state'), 'dead', 'nobody at all takes it: dead';
	is job($all, 'error_class || attempt'), 'validation1', '… at once, of class validation';
}

# The answer to the whole mail is lost: once more, and it says so.
{
	my $id = enqueue('lossy', to => 'a@x.example');
	ended($id);
	is job($id, "state || ' ' || attempt"), 'completed 2', 'no answer to the mail: it is sent again';
	my @all = json_lines("$dir/lossy");
	is_deeply [ map { message_id({ mail => $_->{mail} // $_->{unconfirmed} // '' }) } @all ], [ (message_id($all[1])) x 2 ], '… under the same Message-ID';
	like $pg->query("SELECT error FROM jobq.attempts WHERE job_id = $id AND attempt = 1"), qr/did not confirm .*may deliver it twice/, '… which the first attempt has said';
}

# A server that sends away: no job is lost.
{
	my @ids = map { enqueue('drops', to => "d$_\@x.example") } 1 .. 4;
	ended(@ids);
	is join(' ', map { job($_, 'state') } @ids), 'completed completed completed completed', '421 at the greeting: tried again';
}

# 200 mails to one that closes after every seventh, and forty times at MAIL.
{
	$pg->query("SELECT jobq.enqueue('shaky', 'mail', jsonb_build_object('to', 'm' || i || '\@x.example', 'subject', 's', 'text', 't')) FROM generate_series(1, 200) i");
	wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'shaky' AND state IN ('completed', 'dead')") == 200 } '200 mails';
	is $pg->query("SELECT string_agg(DISTINCT state, ' ') FROM jobq.jobs WHERE queue = 'shaky'"), 'completed', '200 mails to a server that drops connections: all completed';
	my @rcpt = map { @{ $_->{rcpt} } } mails('shaky');
	is scalar @rcpt, 200, '… 200 arrived';
	is_deeply [ sort @rcpt ], [ sort map { "m$_\@x.example" } 1 .. 200 ], '… each once (S1-5, S4-14)';
	my $failed = $pg->query("SELECT count(*) FROM jobq.attempts a JOIN jobq.jobs j ON j.id = a.job_id WHERE j.queue = 'shaky' AND a.class = 'network'");
	cmp_ok $failed, '<=', 40, "… with $failed attempts that failed, no more than were dropped";
}
# A connection that is not used is given back.
{
	ended(enqueue('short', to => 'a@x.example'));
	wait_for { grep { "@{ $_->{commands} }" eq 'QUIT' } json_lines("$dir/short") } 'the end of a connection';
	pass 'a connection is ended by QUIT when nobody has used it for connection_idle';
}
$d->stop;
