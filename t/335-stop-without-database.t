# Stopping while the database is away: with nothing to write there is nothing
# to wait for; a result that is not written yet is waited for.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 9;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
handlers: {null: {driver: noop}}
queues:   {work: {handler: null, workers: 2}}
YAML
sub start_with {
	my ($job) = @_;
	$d->start;
	my $id = $pg->query("SELECT jobq.enqueue('work', '', '$job')");
	wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") =~ /running|completed/ } 'the job to start';
	return $id;
}

my $id = start_with('{}');
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") eq 'completed' } 'the job';
my $from = $d->log_size;
$pg->stop;
$d->wait_log(qr/queue work.*database is away/, $from);
my $since = time;
is $d->stop, 0, 'nothing to write: exit 0';
cmp_ok time - $since, '<', 5, 'long before shutdown_timeout';
like $d->log($from), qr/info .*queue work.*leases are not given back.*the database is away/, 'the log says what was left';
unlike $d->log($from), qr/process killed/, 'and nobody had to be killed';

# A job that ends while the database is away, back before the time is over.
$pg->start;
$id = start_with('{"sleep_ms": 500}');
$from = $d->log_size;
$pg->stop;
$d->wait_log(qr/queue work.*database is away/, $from);
$d->signal('TERM');
$d->wait_log(qr/queue is draining/, $from);
$d->wait_log(qr/worker left worker=\d+ pid=\d+ jobs=1/, $from);
ok $d->running, 'a result to write: it waits';
$pg->start;
wait_for { !$d->running } 'jobqd to stop';
is $d->{status}, 0, 'then exit 0';
is $pg->query("SELECT state FROM jobq.jobs WHERE id = $id"), 'completed', 'and the result was written';
is $pg->query("SELECT count(*) FROM jobq.attempts WHERE job_id = $id"), 1, 'by the only attempt';
unlike $d->log($from), qr/process killed/, 'nobody had to be killed';
