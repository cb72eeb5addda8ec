# Workers are replaced by number of jobs and by memory, one at a time; one that
# has run nothing is not: the next would be as large.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 6;

my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
handlers: {null: {driver: noop}}
queues:
  count:  {handler: null, workers: 1, recycle: {jobs: 2}}
  memory: {handler: null, workers: 2, recycle: {rss: 1MiB}}
YAML
$d->start;
sub run {
	my ($queue) = @_;
	my $id = $pg->query("SELECT jobq.enqueue('$queue')");
	wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") eq 'completed' } "a job of $queue";
}
my ($first) = $d->pids(qr{^jobqd: worker count/0});
run('count') for 1 .. 2;
like $d->wait_log(qr/worker is replaced .*reason=jobs/), qr/ pid=$first reason=jobs jobs=2 /, 'after its jobs';
wait_for { my @p = $d->pids(qr{^jobqd: worker count/0}); @p && $p[0] != $first } 'another worker';
run('count');
pass 'another takes its place';

for my $round (1 .. 3) {
	my $from = $d->log_size;
	run('memory');
	like $d->wait_log(qr/worker is replaced .*reason=rss/, $from), qr/ jobs=1 /, "for its memory, $round";
}
unlike $d->log, qr/worker is replaced .*jobs=0/, 'never one that has done nothing';
