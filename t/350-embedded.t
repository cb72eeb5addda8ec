# A PostgreSQL of our own: made from nothing, supervised, stopped last.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Http;
use Jobqd;
use Test::More;

my $dir = temp_directory();
my $count = 0;

# A jobqd --dev, spoken to as its user does: by its first lines.
sub dev {
	my (@args) = @_;
	my $log = "$dir/log." . ++$count;
	my $pid = background([ jobqd_program(), '--dev', @args ], log => $log);
	my $self = { pid => $pid, log => $log };
	wait_for { slurp($log) =~ /: ready\b/ || waitpid($pid, 1) > 0 } 'it to be ready';
	return $self;
}

sub lines { return split /\n/, slurp($_[0]{log}) }

sub psql {
	my ($d, $sql) = @_;
	my ($line) = grep { /^psql / } lines($d);
	my ($status, $out, $err) = run_program([ 'sh', '-c', "$line -XAtq -v ON_ERROR_STOP=1" ], in => $sql);
	die "$line: $err" if $status;
	chomp $out;
	return $out;
}

sub end {
	my ($d, $signal) = @_;
	my @all = process_tree($d->{pid});
	kill $signal || 'TERM', $d->{pid};
	wait_for { waitpid($d->{pid}, 1) > 0 } 'it to stop';
	my $status = $?;
	return ($status, scalar(alive(@all)));
}

# In a fresh directory, which goes with it.
{
	my $d = dev();
	my @lines = lines($d);
	my ($conf) = $lines[0] =~ m{(/tmp/jobqd-dev-\w+/jobqd\.yml)};
	ok $conf && -f $conf, 'the first line names the configuration';
	my @urls = grep { m{^http://} } @lines[1 .. 3];
	is scalar(@urls), 3, 'then come three addresses';
	is(Http->new($urls[0] =~ m{//([^/]+)})->get('/readyz')->{status}, 200, '… at which it answers');
	my ($token) = $lines[4] =~ /^token (jobq_\w+)$/;
	ok $token, 'a token';
	like(Http->new($urls[0] =~ m{//([^/]+)})->get('/v1/session', Authorization => "Bearer $token")->{body},
	    qr/"role":"admin"/, "… which is good");
	like $lines[5], qr/^psql "[^"]+"$/, 'and a psql command line';
	is psql($d, 'SELECT 1'), 1, 'which works as it stands';
	is psql($d, 'SELECT rolsuper FROM pg_roles WHERE rolname = current_user'), 'f', 'not as a superuser';
	is psql($d, 'SHOW listen_addresses'), '', 'and not over the network';
	(my $socket = $conf) =~ s{jobqd\.yml$}{postgres/.s.PGSQL.5432};
	is sprintf('%o', (stat $socket)[2] & 0777), '700', 'its socket is its user\'s alone';
	my $id = psql($d, "SELECT jobq.enqueue('programs', data => '{\"say\": \"hello\"}')");
	wait_for { psql($d, "SELECT state FROM jobq.jobs WHERE id = $id") eq 'completed' } 'the job';
	is psql($d, "SELECT result ->> 'SAY' FROM jobq.jobs WHERE id = $id"), 'HELLO', 'a program has run';
	is((run_program([ jobqd_program(), '-t', '-c', $conf ]))[0], 0, 'the configuration passes -t');
	wait_for { slurp($conf =~ s{jobqd\.yml$}{health.json}r) =~ /"database":\{"up":true,[^}]*"disk_free":\d+\}/ } 'the health file';
	pass 'the health file tells how much the disk of it has left';

	# Its PostgreSQL dies: started again, and jobs go on.
	my ($postmaster) = grep { process_title($_) =~ m{/postgres -D } } process_tree($d->{pid});
	kill 'KILL', $postmaster;
	wait_for { 2 <= (() = slurp($d->{log}) =~ /postgres ready/g) } 'another PostgreSQL';
	$id = wait_for { eval { psql($d, "SELECT jobq.enqueue('programs')") } } 'it to take a job';
	wait_for { psql($d, "SELECT state FROM jobq.jobs WHERE id = $id") eq 'completed' } 'the job after that';
	pass 'a dead PostgreSQL is started again';

	my ($status, $left) = end($d);
	is $status, 0, 'exit 0';
	is $left, 0, 'nobody is left';
	(my $gone = $conf) =~ s{/jobqd.yml}{};
	ok !-e $gone, 'nor its directory';
	unlike slurp($d->{log}), qr/takes too long/, 'PostgreSQL stopped in order';
}

# In a directory of somebody's, which stays; stopped hard and started again.
{
	my $home = "$dir/home";
	my $d = dev($home);
	my $id = psql($d, "SELECT jobq.enqueue('default')");
	wait_for { psql($d, "SELECT state FROM jobq.jobs WHERE id = $id") eq 'completed' } 'the job';
	my @all = process_tree($d->{pid});
	kill 'KILL', $d->{pid};
	waitpid $d->{pid}, 0;
	wait_for { !alive(@all) } 'all of it to go', 2;
	pass 'kill -9 of the master: nobody is left, PostgreSQL neither';
	$d = dev($home);
	is psql($d, "SELECT state FROM jobq.jobs WHERE id = $id"), 'completed', 'the same database again';
	my ($status, $left) = end($d, 'QUIT');
	is $status, 0, 'QUIT: exit 0';
	is $left, 0, 'QUIT: nobody is left';
	ok -e "$home/jobqd.yml", 'the directory stays';

	# A cluster that was not finished is made anew.
	rename "$home/postgres/data", "$home/postgres/data.new" or die;
	$d = dev($home);
	is psql($d, 'SELECT count(*) FROM jobq.jobs'), 0, 'half a cluster is thrown away';
	($status, $left) = end($d, 'INT');
	is $status, 0, 'INT: exit 0';
	is $left, 0, 'INT: nobody is left';
}
done_testing;
