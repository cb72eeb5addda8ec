# The server's machine is lost and its standby, which has a copy of everything
# that was committed, is promoted: jobqd on both nodes, which knows of both servers,
# goes on there; no job that was accepted is lost, none is completed twice. So
# regions are one cluster, with a server that moves: S1-41, S1-73, S1-76.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use File::Path qw(remove_tree);
use Jobqd;
use Test::More;
use Time::HiRes qw(time);

plan skip_all => 'pg_basebackup is missing' unless -x Jobqd::Postgres::bindir() . '/pg_basebackup';

my $near = Jobqd::Postgres->new;
my $far = Jobqd::Postgres->new(start => 0);
remove_tree("$far->{dir}/data");
is $far->run_as("$far->{dir}/backup.log", Jobqd::Postgres::bindir() . '/pg_basebackup', '-D', "$far->{dir}/data", '-d', "host=$near->{dir} user=jobq",
    '-R', '-X', 'stream', '-c', 'fast'), 0, 'a copy of the server' or diag slurp("$far->{dir}/backup.log");
$far->start;
wait_for { $near->query("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", 'postgres') == 1 } 'the standby to follow';
# From here on what is committed is on both.
$near->query($_) for q(ALTER SYSTEM SET synchronous_standby_names = '*'), 'SELECT pg_reload_conf()';
wait_for { $near->query("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'", 'postgres') == 1 } 'the standby to be waited for';

# Both servers, of which the one that takes writes is meant.
my $url = "postgresql:///jobq?host=$near->{dir},$far->{dir}&user=jobq&target_session_attrs=read-write";
my %node = map {
	$_ => Jobqd::Daemon->new(name => $_, config => <<"YAML")
database: {url: "$url"}
log: {file: stderr, level: info}
handlers: {null: {driver: noop}}
queues:
  work: {handler: null, workers: 2, concurrency: 5}
schedules:
  beat: {every: 1s, queue: work, type: beat}
YAML
} qw(sydney dublin);
$_->start for values %node;

# A producer: the ids that it was told are the application's own rows as well.
my @told;
my $produce = sub {
	my ($pg) = @_;
	my ($status, $out) = $pg->try_query(<<'SQL');
CREATE TABLE IF NOT EXISTS ledger (job bigint);
WITH new AS (SELECT jobq.enqueue('work', 'order', '{"sleep_ms": 20}') AS id FROM generate_series(1, 50)), kept AS (INSERT INTO ledger SELECT id FROM new RETURNING job)
SELECT job FROM kept
SQL
	push @told, split /\n/, $out if $status == 0;
};
$produce->($near) for 1 .. 10;
wait_for { $near->query("SELECT count(*) FROM jobq.jobs WHERE type = 'order' AND state = 'completed'") > 100 } 'some of them';
wait_for { $near->query("SELECT count(DISTINCT node) FROM jobq.attempts") == 2 } 'both nodes to work';
$produce->($near) for 1 .. 10;
my $before = $far->query("SELECT count(*) FROM jobq.attempts WHERE outcome = 'completed'");

# The machine is lost. The other one is told to take over.
my $lost = time;
$near->stop('immediate');
is $far->query('SELECT pg_promote()'), 't', 'the standby is promoted';
wait_for { $far->query("SELECT count(*) FROM jobq.attempts WHERE outcome = 'completed'") > $before } 'a job to complete there';
pass sprintf '%d jobs had been told; the first completes on the other server %.1f s after the loss', scalar @told, time - $lost;
$produce->($far) for 1 .. 10;
is scalar @told, 1500, '1,500 jobs were accepted, 500 of them by the new server';

wait_for { $far->query("SELECT count(*) FROM ledger l JOIN jobq.jobs j ON j.id = l.job WHERE j.state = 'completed'") == $far->query('SELECT count(*) FROM ledger') } 'all of them';
my %there = map { $_ => 1 } split /\n/, $far->query("SELECT job FROM ledger l JOIN jobq.jobs j ON j.id = l.job WHERE j.state = 'completed'");
is scalar(grep { !$there{$_} } @told), 0, 'S1-76: every job that was accepted is completed';
is $far->query("SELECT count(*) FROM (SELECT FROM jobq.attempts WHERE outcome = 'completed' GROUP BY job_id HAVING count(*) > 1) t"), 0, '… none of them twice';
my $beats = $far->query("SELECT count(*) FROM jobq.jobs WHERE type = 'beat'");
wait_for { $far->query("SELECT count(*) FROM jobq.jobs WHERE type = 'beat'") > $beats + 2 } 'the schedule to go on';
is $far->query("SELECT count(*) - count(DISTINCT run_at) FROM jobq.jobs WHERE type = 'beat'"), 0, '… the schedule goes on, each instant once';
wait_for {
	$far->query("SELECT jobq.enqueue('work', 'more', '{\"sleep_ms\": 20}') FROM generate_series(1, 20)");
	$far->query("SELECT count(DISTINCT a.node) FROM jobq.attempts a JOIN jobq.jobs j ON j.id = a.job_id WHERE j.type = 'more'") == 2;
} 'both nodes to work with it';
pass 'S1-73: both nodes work with it';
is $_->stop, 0, "$_->{name} ends well" for values %node;
done_testing;
