# What the database says at start: a wrong name, role, password or right ends
# jobqd with one clear line and status 1; one that is not there is waited for.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
$pg->query(q{CREATE ROLE weak LOGIN; CREATE ROLE secret LOGIN PASSWORD 'right'});
my $hba = slurp("$pg->{dir}/data/pg_hba.conf");
spew("$pg->{dir}/data/pg_hba.conf", "local all secret scram-sha-256\n$hba");
$pg->query('SELECT pg_reload_conf()');
my $queues = "handlers: {null: {driver: noop}}\nqueues: {work: {handler: null}}\n";
my $d = Jobqd::Daemon->new(pg => $pg, config => $queues);

sub refused {
	my ($url, $why, $what, $more) = @_;
	$more //= '';
	$d->configure($queues . "database: {url: \"$url\"$more}\n");
	my $from = $d->log_size;
	$d->start(ready => 0);
	wait_for { !$d->running } "the end with $what";
	is $d->{status} >> 8, 1, "$what: exit 1";
	my @errors = grep { / error setup / } split /\n/, $d->log($from);
	is scalar(@errors), 1, '… after one line';
	like $errors[0], $why, '… that says why';
	unlike $errors[0], qr/wrong-password/, '… and no secret';
}
my $at = "host=$pg->{dir}";
refused("postgresql:///nodb?$at&user=jobq", qr/database .*nodb.* does not exist/, 'a wrong database');
refused("postgresql:///jobq?$at&user=who", qr/role .*who.* does not exist/, 'a wrong role');
refused("postgresql://secret:wrong-password@/jobq?$at", qr/password authentication failed for user/, 'a wrong password');
refused("postgresql:///jobq?$at&user=secret", qr/no password supplied/, 'no password');
refused("postgresql:///jobq?$at&user=weak", qr/permission denied for database jobq/, 'a role that may not make the schema');
refused("postgresql:///jobq?$at&user=jobq", qr/run .*jobqctl migrate/, 'no schema, and none to be made', ', migrate: manual');
is $pg->query(q{SELECT count(*) FROM pg_namespace WHERE nspname = 'jobq'}), 0, 'nothing was made';

$d->configure($queues . 'database: {url: "' . $pg->url . "\"}\n");
$d->start;
is $d->stop, 0, 'the right one';
refused("postgresql:///jobq?$at&user=weak", qr/permission denied for schema jobq/, 'a role that may not use the schema');

# not there: one line, no busy loop, ready when it comes
$pg->stop;
$d->configure($queues . 'database: {url: "' . $pg->url . "\"}\n");
my $from = $d->log_size;
$d->start(ready => 0);
$d->wait_log(qr/waiting for the database/, $from);
my ($status) = run_program([ jobqd_program(), '-s', 'reload', '-c', $d->{conf} ]);
is $status, 0, 'the master waits and can be spoken to';
$d->wait_log(qr/waiting for the database(?:.*)/, $from);
unlike $d->log($from), qr/: ready /, 'it is not ready';
$pg->start;
$d->wait_log(qr/: ready /, $from);
is $d->stop, 0, 'and ready when it is there (S3-1)';
done_testing;
