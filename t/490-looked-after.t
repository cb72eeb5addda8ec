# A scheduler that becomes ready while leaders still look for the last time
# before they are idle: each goes to sleep in a way that somebody wakes it.
# Nobody notifies here, so that only the looks are left.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 3;

my $pg = Jobqd::Postgres->new;
my @queues = map { "q$_" } 1 .. 15;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
database: {url: "@{[$pg->url]}", pooler: transaction}
handlers: {null: {driver: noop}}
queues: {@{[join ', ', map { "$_: {handler: null, workers: 1, poll: 200ms}" } @queues]}}
YAML
for my $round (1 .. 3) {
	$d->start;
	$pg->query('SELECT jobq.enqueue(name) FROM jobq.queue');
	my $left = q{SELECT count(*) FROM jobq.jobs WHERE state <> 'completed'};
	eval { wait_for { $pg->query($left) == 0 } 'a job of each queue', 20 };
	is $pg->query($left), 0, "every queue runs its job, round $round";
	$d->stop;
}
