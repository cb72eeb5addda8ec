# jobqctl doctor: finds what is wrong, says what to do, and works when the
# database, the daemon or the configuration does not.
# S2-57 S1-60 S1-45
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $json = JSON::PP->new->utf8;
my $d = Jobqd::Daemon->new(pg => $pg, config => "handlers: {null: {driver: noop}}\n");
my $dir = $d->{dir};
my $text = <<"YAML";
log: {file: $dir/main.log}
handlers: {null: {driver: noop}}
queues:
  work: {handler: null, workers: 2, log: $dir/work.log}
  off:  {handler: null, enabled: false}
YAML
$d->configure($text);
$d->{log} = "$dir/main.log";

# The findings of a call: its exit status, and [level, finding, advice] of each
# subject, several joined.
sub doctor {
	my (@args) = @_;
	my ($status, $out, $err) = run_program([ jobqctl_program(), '-c', $d->{conf}, 'doctor', '--json', @args ]);
	my $list = eval { $json->decode($out) } or die "no JSON: $out$err";
	my %by;
	for my $f (@$list) {
		my $s = $by{ $f->{subject} } //= { level => 'ok', finding => '', advice => '' };
		$s->{level} = $f->{level} if $f->{level} eq 'bad' || ($f->{level} eq 'warn' && $s->{level} ne 'bad');
		$s->{finding} .= "$f->{finding}\n";
		$s->{advice} .= "$f->{advice}\n" if defined $f->{advice};
	}
	return ($status, \%by);
}
sub found {
	my ($by, $subject, $level, $finding, $advice, $what) = @_;
	my $f = $by->{$subject} || { level => 'none', finding => '', advice => '' };
	is $f->{level}, $level, "$what: $subject is $level" or diag explain $by;
	like $f->{finding}, $finding, '… ' . ($f->{finding} =~ s/\n.*//sr);
	like $f->{advice}, $advice, '… with advice' if $advice;
}

#----------------------------------------------------------------------
# All is well.

$d->start;
my ($status, $by);
wait_for {
	($status, $by) = doctor();
	($by->{health}{level} // '') eq 'ok' && $by->{processes}{level} eq 'ok' && $by->{workers}{level} eq 'ok';
} 'the first health file';
is $status, 0, 'exit 0 when nothing is bad (S2-57)';
found($by, 'configuration', 'ok', qr/\Q$d->{conf}\E: 2 queues, 0 schedules/, undef, 'well');
found($by, 'daemon', 'ok', qr/process $d->{pid}\b/, undef, 'well');
found($by, 'processes', 'ok', qr/1 leaders, 2 workers, scheduler, monitor/, undef, 'well');
found($by, 'log', 'ok', qr{main\.log\n.*work\.log}s, undef, 'well');
found($by, 'room', 'ok', qr/left in/, undef, 'well');
found($by, 'limits', 'ok', qr/open files a process/, undef, 'well');
found($by, 'time zones', 'ok', qr/version \d{4}\w+ /, undef, 'well');
found($by, 'database', 'ok', qr/jobq on PostgreSQL 1\d\.\d/, undef, 'well');
found($by, 'schema', 'ok', qr/jobq, version \d/, undef, 'well');
found($by, 'clock', 'ok', qr/\d\.\d{3} s (?:ahead of|behind) this machine's/, undef, 'well: S1-60');
found($by, 'workers', 'ok', qr/./, undef, 'well');
found($by, 'version', 'ok', qr/libpq \d.*libyaml \d.*libevent \d/, undef, 'well');
found($by, 'role', 'warn', qr/jobq is a superuser/, qr/ordinary role/, 'the tests\' own role');

my ($human, $out);
($human, $out) = $d->ctl('doctor');
is $human, 0, 'for a person';
like $out, qr/^ok    daemon         process \d+$/m, 'a line each';
like $out, qr/^warn  role +jobq is a superuser.*\n +-> give jobqd an ordinary role/m, 'advice below it';
like $out, qr/^0 bad, \d+ to look at$/m, 'and the sum';

#----------------------------------------------------------------------
# The database.

$pg->query('CREATE ROLE plain LOGIN; GRANT CONNECT ON DATABASE jobq TO plain; GRANT USAGE ON SCHEMA jobq TO plain');
(my $url = $pg->url) =~ s/user=jobq/user=plain/;
(undef, $by) = doctor('--database', $url);
found($by, 'role', 'ok', qr/plain/, undef, 'an ordinary role');
ok !$by->{daemon}, '--database looks at the database alone';

# A clock of its own, found before the server's.
for ([ 5, 'warn', 0 ], [ 300, 'bad', 1 ], [ -5, 'warn', 0 ]) {
	my ($ahead, $level, $exit) = @$_;
	$pg->query("CREATE SCHEMA IF NOT EXISTS fake; CREATE OR REPLACE FUNCTION fake.clock_timestamp() RETURNS timestamptz "
	    . "LANGUAGE sql AS 'SELECT pg_catalog.clock_timestamp() + interval ''$ahead s'''");
	($status, $by) = doctor('--database', $pg->url . '&options=-csearch_path%3Dfake,pg_catalog');
	my ($seconds, $side) = (abs $ahead, $ahead < 0 ? 'behind' : 'ahead of');
	$seconds--, $seconds = "(?:$seconds\\.9\\d\\d|" . abs($ahead) . '\.\d\d\d)';
	found($by, 'clock', $level, qr/is $seconds s $side/, qr/NTP/, "a clock $ahead s off (S1-60)");
	is $status, $exit, "… exit $exit";
}
$pg->query('DROP SCHEMA fake CASCADE');

# What jobq.checkup() finds is passed on.
$pg->query(<<'SQL');
ALTER FUNCTION jobq.checkup RENAME TO checkup_kept;
CREATE FUNCTION jobq.checkup(client_pid int DEFAULT NULL) RETURNS TABLE (subject text, level text, finding text, advice text) LANGUAGE sql AS
$$VALUES ('queue', 'ok', 'all are served', null), ('snapshot', 'warn', E'one is held by "psql"\n\x1b[31m', 'end it'), ('lease', 'bad', 'lost', '')$$;
SQL
($status, $by) = doctor();
is $status, 1, 'a bad finding of the database: exit 1';
found($by, 'queue', 'ok', qr/^all are served$/, undef, 'jobq.checkup()');
found($by, 'snapshot', 'warn', qr/^one is held by "psql"\n\x1b\[31m$/, qr/^end it$/, 'jobq.checkup()');
found($by, 'lease', 'bad', qr/^lost$/, undef, 'jobq.checkup()');
(undef, $out) = $d->ctl('doctor');
like $out, qr/^warn  snapshot       one is held by "psql"\\n\\x1b\[31m$/m, 'escaped for a person';
$pg->query('DROP FUNCTION jobq.checkup; ALTER FUNCTION jobq.checkup_kept RENAME TO checkup');

# On the way to another machine.
SKIP: {
	my ($address) = grep { /^\d+\.\d+\.\d+\.\d+$/ && !/^127\./ } split ' ', `hostname -I 2>/dev/null`;
	my ($missing) = run_program([ 'openssl', 'version' ]);
	skip 'no address but loopback, or no openssl', 6 if !$address || $missing;
	my $port = free_port();
	my $far = Jobqd::Postgres->new(start => 0, settings => { listen_addresses => $address, port => $port, ssl => 'on' });
	my $data = "$far->{dir}/data";
	my ($made, undef, $err) = run_program([ 'openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', 2, '-subj', '/CN=test',
		'-keyout', "$data/server.key", '-out', "$data/server.crt" ]);
	is $made, 0, 'a certificate' or diag $err;
	chmod 0600, "$data/server.key";
	chown((stat $data)[ 4, 5 ], "$data/server.key", "$data/server.crt");
	spew("$data/pg_hba.conf", slurp("$data/pg_hba.conf") . "host all all $address/32 trust\n");
	local $ENV{PGPORT} = $port;
	$far->start;
	my $there = "host=$address port=$port user=jobq dbname=postgres";
	(undef, $by) = doctor('--database', "$there sslmode=disable");
	found($by, 'encryption', 'warn', qr/what goes to the database at \Q$address\E can be read on the way/, qr/sslmode=verify-full/, 'in the open');
	(undef, $by) = doctor('--database', "$there sslmode=require");
	found($by, 'encryption', 'ok', qr/^TLSv1\.\d to \Q$address\E$/, undef, 'by TLS');
	$far->stop;
}

#----------------------------------------------------------------------
# The daemon's processes and files.

my ($worker) = $d->pids(qr/^jobqd: worker work/);
my ($monitor) = $d->pids(qr/^jobqd: monitor/);
my ($sched) = $d->pids(qr/^jobqd: scheduler/);
$d->signal('STOP');
kill 'KILL', $worker;
wait_for { !alive($worker) } 'the worker to die';
($status, $by) = doctor();
found($by, 'processes', 'warn', qr/the queue work has 1 of its 2 workers/, qr/the log says why/, 'a worker is missing');
kill 'STOP', $monitor;
my $long_ago = time - 3600;
utime $long_ago, $long_ago, "$dir/health.json";
($status, $by) = doctor();
found($by, 'health', 'bad', qr/was not written for 36\d\d s/, qr/monitor/, 'the monitor does nothing');
is $status, 1, '… exit 1';
spew("$dir/health.json", '{"healthy": false, "problems": ["no workers in: work"]}');
($status, $by) = doctor();
found($by, 'health', 'bad', qr/^no workers in: work$/, qr/jobqctl status/, 'what the health file says');
kill 'STOP', $sched;
$pg->query("UPDATE jobq.node SET version = '0.0.1'");
($status, $by) = doctor();
found($by, 'daemon', 'warn', qr/is jobqd 0\.0\.1, and this is jobqctl \d/, qr/same version/, 'another version');
kill 'CONT', $sched, $monitor, $d->{pid};
wait_for { (undef, $by) = doctor(); $by->{processes}{level} eq 'ok' } 'the worker to be back';
pass 'well again';

rename "$dir/work.log", "$dir/work.log.1" or die $!;
(undef, $by) = doctor();
found($by, 'log', 'warn', qr/does not write to \Q$dir\E\/work\.log/, qr/jobqd -s reopen/, 'rotated, and the daemon was not told');
run_program([ jobqd_program(), '-s', 'reopen', '-c', $d->{conf} ]);
wait_for { (undef, $by) = doctor(); $by->{log}{level} eq 'ok' } 'the new file';
pass 'reopened';

# The configuration was changed, and not loaded.
$d->configure($text =~ s/enabled: false/workers: 1/r =~ s{\Q$dir/work.log}{$dir/none/work.log}r);
($status, $by) = doctor();
found($by, 'processes', 'bad', qr/the queue off has no leader/, qr/was it reloaded/, 'a queue that is not served');
found($by, 'log', 'bad', qr/cannot open \S+\/none\/work\.log again: No such file/, qr/give the directory/, 'no directory');

# Limits.
$d->configure($text =~ s/workers: 2/concurrency: 1000/r);
is $d->stop, 0, 'exit 0';
$d->{wrap} = [ 'sh', '-c', 'ulimit -n 300; exec "$0" "$@"' ];
$d->start;
($status, $by) = doctor();
found($by, 'limits', 'bad', qr/300 open files a process are allowed, and the queues need up to 2\d\d\d/, qr/LimitNOFILE/, 'a low limit');
is $d->stop, 0, 'exit 0';

# A program that was replaced while it runs.
run_program([ 'cp', jobqd_program(), "$dir/jobqd" ]);
$d->{wrap} = [ 'sh', '-c', 'shift; exec "$0" "$@"', "$dir/jobqd" ];
$d->configure($text);
$d->start;
unlink "$dir/jobqd";
(undef, $by) = doctor();
found($by, 'daemon', 'warn', qr/runs a program that was replaced/, qr/restart/, 'an upgrade without a restart');
delete $d->{wrap};
is $d->stop, 0, 'exit 0';
$d->start;

# A full file system.
SKIP: {
	my @in = ('unshare', '-m', 'sh', '-c', 'mount -t tmpfs -o size=10m none "$1" && head -c 8000000 /dev/zero >"$1/fill" && shift && exec "$@"', 'sh', "$dir/full");
	mkdir "$dir/full";
	my ($can) = run_program([ @in, 'true' ]);
	skip 'no file system can be made here', 3 if $can != 0;
	$d->configure($text . "monitor: {health_file: $dir/full/health.json}\n");
	(undef, my $json_text) = run_program([ @in, jobqctl_program(), '-c', $d->{conf}, 'doctor', '--json' ]);
	my ($room) = grep { $_->{subject} eq 'room' && $_->{finding} =~ m{/full} } @{ $json->decode($json_text) };
	is $room->{level}, 'bad', 'a full file system';
	like $room->{finding}, qr/\/full has \d+MiB left/, "… $room->{finding}";
	is $room->{advice}, 'make room', '… with advice';
	$d->configure($text);
}

# A directory that the daemon's user may not write to.
SKIP: {
	my $user = server_user() or skip 'not root', 3;
	my $closed = temp_directory();
	chmod 0755, $closed;
	$d->configure("daemon: {user: $user, group: \"\", pid_file: $dir/jobqd.pid}\n" . $text =~ s{\Q$dir/work.log}{$closed/work.log}r);
	(undef, $by) = doctor();
	found($by, 'log', 'bad', qr/jobqd cannot open \Q$closed\E\/work\.log again: Permission denied/, qr/daemon\.user/, 'root\'s directory');
	$d->configure($text);
}

#----------------------------------------------------------------------
# One of the three is not there.

$pg->stop('immediate');
($status, $by) = doctor();
is $status, 1, 'no database: exit 1 (S1-45)';
found($by, 'database', 'bad', qr/No such file|refused|connect/, qr/start it/, 'no database');
found($by, 'daemon', 'ok', qr/process/, undef, 'no database');
found($by, 'configuration', 'ok', qr/2 queues/, undef, 'no database');
$pg->start;
is $d->stop, 0, 'exit 0';
($status, $by) = doctor();
is $status, 1, 'no daemon: exit 1';
found($by, 'daemon', 'bad', qr/is not running/, qr/start it/, 'no daemon');
found($by, 'schema', 'ok', qr/version/, undef, 'no daemon');
spew("$dir/jobqd.pid", "1\n");
(undef, $by) = doctor();
found($by, 'daemon', 'bad', qr/nobody holds the pid file/, qr/start it/, 'a pid file that was left');

$pg->query('UPDATE jobq.meta SET schema_version = 99');
(undef, $by) = doctor();
found($by, 'schema', 'bad', qr/version 99/, qr/migrate/, 'a newer schema');
$pg->query('DROP SCHEMA jobq CASCADE');
($status, $by) = doctor();
found($by, 'schema', 'bad', qr/not there/, qr/migrate/, 'no schema');

$d->configure($text . "monitor: {interval: soon}\nqueues2: {}\n");
($status, $by) = doctor();
is $status, 1, 'a wrong configuration: exit 1';
found($by, 'configuration', 'bad', qr/\Q$d->{conf}\E:\d+:\d+: .*soon.*\n\Q$d->{conf}\E:\d+:\d+: /, qr/jobqd -t/, 'wrong');
ok !$by->{database}, '… and nothing else is known';
(undef, $by) = doctor('--database', $pg->url);
found($by, 'database', 'ok', qr/PostgreSQL/, undef, '… but by --database');
(undef, $by) = doctor('-c', "$dir/none.yml");
found($by, 'configuration', 'bad', qr/none\.yml/, qr/jobqd -t/, 'no configuration');
done_testing;
