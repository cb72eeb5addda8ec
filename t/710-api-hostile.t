# Hostile clients: whatever could be read in two ways is refused and the
# connection closed, what was smuggled behind it is never answered, slow ones
# are gone in time, and others do not notice any of it; and that a master which
# hangs is noticed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Hostile;
use Http;
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new;
my $port = free_port();
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers: {null: {driver: noop}}
queues: {work: {handler: null}}
api: {listen: "127.0.0.1:$port", max_body: 64KiB}
YAML
$d->start;
my $http = Http->new("127.0.0.1:$port");
my ($api) = $d->pids(qr/^jobqd: api$/);

sub resident { return slurp("/proc/$_[0]/status") =~ /^VmRSS:\s+(\d+)/m ? $1 / 1024 : 0 }
$http->get('/metrics') for 1 .. 10;
my $resident = resident($api);

# What is hidden behind each: had it been answered, there would be a second answer.
my $second = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
my @hostile = hostile('/healthz', '/healthz');
my $smuggled = 0;
for (@hostile) {
	my ($what, $text, $status) = @$_;
	my $c = $http->connect;
	$c->send($text);
	my $r = eval { $c->answer };
	is $r && $r->{status}, $status, "$what: $status";
	is $r && $r->{headers}{connection}, 'close', '… and the connection is closed'
	    or next;
	$c->{socket}->shutdown(1);
	my $more;
	1 while $more = $c->more(10);
	$smuggled++ if $c->{in} ne '' || !defined $more;
}
is $smuggled, 0, 'vectors: ' . @hostile . ', second requests answered: 0';

# Chance: pieces of requests in any order. Each is answered as HTTP or closed.
srand(my $seed = $ENV{SEED} || 8787);
my @pieces = (map({ split /(?<=\n)/, $_->[1] } @hostile), $second x 5, "\r\n", "\r", "\n", "\0", ' ', ':', '0', "\xff" x 9);
my ($answers, $closed) = (0, 0);
for (1 .. 400) {
	my $c = $http->connect;
	$c->send(join '', map { $pieces[rand @pieces] } 1 .. 1 + rand 12);
	$c->{socket}->shutdown(1);
	while (my $r = $c->answer) { $answers++ }
	$closed++;
}
is $closed, 400, "by chance (SEED=$seed): $answers answers on $closed connections";

# Sent a byte at a time it is the same.
my $c = $http->connect;
$c->send($_) for split //, "GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\n\r\n";
is $c->answer->{status}, 200, 'byte by byte';

# Two thousand clients that never finish: those who do are answered meanwhile.
my @slow;
for (1 .. 2000) {
	my $c = $http->connect or last;
	$c->send("GET /healthz HTTP/1.1\r\nHost: a\r\nX-$_: ");
	push @slow, $c;
	# a few that read nothing, and a few that send nothing
	$c->send("a\r\n\r\n" . $second x 20) if $_ % 100 == 0;
}
cmp_ok scalar(@slow), '==', 2000, 'slow clients: ' . @slow;
my @times;
for (1 .. 50) {
	my $began = time;
	my $r = $http->get('/healthz');
	push @times, time - $began if $r && $r->{status} == 200;
	my $slow = $slow[ rand @slow ];
	$slow->send('x');
}
@times = sort { $a <=> $b } @times;
is scalar(@times), 50, sprintf('all others are answered, median %.1f ms, the slowest %.1f ms', 1000 * $times[25], 1000 * $times[49]);
my @fds = glob "/proc/$api/fd/*";
cmp_ok scalar(@fds), '<=', 1032, 'connections are bounded: ' . @fds . ' descriptors';

# Meanwhile the master hangs, which is told below.
my $hung = time;
$d->signal('STOP');

# A drip of bytes does not buy time: ten seconds for a head, from its start.
undef @slow;
my $drip = $http->connect;
my $began = time;
$drip->send('GET /healthz HTTP/1.1');
wait_for { my $more = $drip->more(0.5); $drip->send("\r\nX: 1") unless defined $more; defined $more } 'the head to take too long';
my $r = eval { $drip->answer };
is $r && $r->{status}, 408, sprintf('a head that drips is cut off, after %.1f s', time - $began);
cmp_ok time - $began, '>=', 9, '… not before its time';
ok $drip->ended(10), '… and closed';

# Memory: what two thousand of them cost is given back, or was never taken.
SKIP: {
	skip 'sanitizers keep what is freed', 1 if (run_program([ jobqd_program(), '-V' ]))[1] =~ /sanitizers/;
	my $grown = resident($api) - $resident;
	cmp_ok $grown, '<', 8, sprintf('the process has grown by %.1f MB', $grown);
}

# Alive is a jobqd whose master is; it says so every ten seconds.
wait_for { my $r = $http->get('/healthz'); $r && $r->{status} == 503 } 'the master to be missed';
cmp_ok time - $hung, '>=', 25, sprintf('a master that hangs is told by /healthz after %.0f s', time - $hung);
$d->signal('CONT');
wait_for { my $r = $http->get('/healthz'); $r && $r->{status} == 200 } 'the master to be back';
pass '… and its return';
is_deeply [ $d->pids(qr/^jobqd: api$/) ], [$api], 'the process has survived all of it';
is $d->stop, 0, 'exit 0';
done_testing;
