# jobqd's command line, without a database: options, checks, signals.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $dir = temp_directory();
my $conf = "$dir/jobqd.yml";
my $good = <<"YAML";
daemon: {pid_file: $dir/jobqd.pid, shutdown_timeout: 2s}
database: {url: "postgresql://user:secret\@localhost/jobq"}
handlers: {null: {driver: noop}}
queues:
  work: {handler: null, workers: 3}
YAML
my $bad = $good . "  mail: {handler: nul, workrs: 3}\n";

sub jobqd { return run_program([ jobqd_program(), @_ ]) }

my ($status, $out, $err) = jobqd('-h');
is $status, 0, '-h: exit 0';
like $out, qr/^usage: jobqd /, '-h: usage on stdout';
like $out, qr/^ +-$_ /m, "-h names -$_" for qw(c d t T s V h);

($status, $out, $err) = jobqd('-V');
is $status, 0, '-V: exit 0';
like $out, qr/^jobqd \d+\.\d+\.\d+$/m, '-V: version';
like $out, qr/^drivers: .*noop/m, '-V: drivers';
like $out, qr/libevent \d.*libpq \d.*libyaml \d/, '-V: libraries';

for my $wrong ([ '-x' ], [ '-c' ], [ 'file' ], [ '--dev', '-d' ], [ '--dev', 'a', 'b' ]) {
	($status, $out, $err) = jobqd(@$wrong);
	is $status, 2, "@$wrong: exit 2";
	like $err, qr/usage: jobqd/, "@$wrong: usage on stderr";
	is $out, '', "@$wrong: nothing on stdout";
}

spew($conf, $good);
($status, $out, $err) = jobqd('-t', '-c', $conf);
is $status, 0, '-t: exit 0';
like $out, qr/\Q$conf\E syntax is ok/, '-t: says so';
is $err, '', '-t: no complaint';
($status, $out, $err) = run_program([ jobqd_program(), '-t' ], env => { JOBQD_CONF => $conf });
is $status, 0, 'JOBQD_CONF names the configuration';

spew($conf, $bad);
($status, $out, $err) = jobqd('-t', '-c', $conf);
is $status, 1, '-t of a bad one: exit 1';
my @lines = split /\n/, $err;
is scalar(@lines), 2, 'a line for each mistake';
like $_, qr/^\Q$conf\E:6:\d+: /, 'with its place' for @lines;
like $err, qr/workers/, 'and the nearest name';
for my $option ('-T', '-d') {
	($status, $out, $err) = jobqd($option, '-c', $conf);
	is $status, 1, "$option of a bad one: exit 1";
	like $err, qr/^\Q$conf\E:6:/, "$option: the same complaints";
}
($status, $out, $err) = jobqd('-c', "$dir/none.yml");
is $status, 1, 'no configuration: exit 1';
like $err, qr/none\.yml/, 'which names it';

spew($conf, $good);
($status, $out, $err) = jobqd('-T', '-c', $conf);
is $status, 0, '-T: exit 0';
like $out, qr/shutdown_timeout: 2s/, 'what is set';
like $out, qr/concurrency: 1\b/, 'what is not';
unlike $out, qr/secret/, 'and no secret';
spew("$dir/dumped.yml", $out);
is((jobqd('-t', '-c', "$dir/dumped.yml"))[0], 0, 'it passes -t');
is((jobqd('-T', '-c', "$dir/dumped.yml"))[1], $out, 'and is the same again');

for my $name (qw(reload quit stop reopen)) {
	($status, $out, $err) = jobqd('-s', $name, '-c', $conf);
	is $status, 1, "-s $name without a daemon: exit 1";
	like $err, qr/^jobqd: jobqd is not running: .*jobqd\.pid/, 'one clear line';
}
spew("$dir/jobqd.pid", "1\n");
($status, $out, $err) = jobqd('-s', 'stop', '-c', $conf);
is $status, 1, 'a pid file that nobody holds: exit 1';
like $err, qr/nobody holds the pid file/, 'process 1 is left in peace';
($status, $out, $err) = jobqd('-s', 'explode', '-c', $conf);
is $status, 2, 'an unknown signal: exit 2';
like $err, qr/reload, quit, stop or reopen/, 'with those there are';
done_testing;
