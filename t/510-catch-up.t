# What becomes of the instants of a time in which no scheduler was running.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 13;

my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML');
handlers: {null: {driver: noop}}
queues:
  work: {handler: null, workers: 1}
schedules:
  none: {every: 1h, queue: work, type: none, catch_up: none, catch_up_window: 1d}
  last: {every: 1h, queue: work, type: last, catch_up_window: 1d}
  all: {cron: "0 * * * *", queue: work, type: all, catch_up: all, catch_up_window: 1d}
  short: {every: 1h, queue: work, type: short, catch_up: all, catch_up_window: 1ms}
  fresh: {every: 1h, queue: work, type: fresh, catch_up: all, catch_up_window: 1d}
YAML

sub stop_and_pretend {
	my ($hours) = @_;
	$d->stop;
	$pg->query(<<"SQL");
UPDATE jobq.leader SET until = now() - interval '$hours h';
UPDATE jobq.schedule SET last_nominal = date_trunc('hour', now()) - interval '$hours h' WHERE name <> 'fresh';
TRUNCATE marks;
INSERT INTO marks SELECT max(id) FROM jobq.jobs;
SQL
}
sub made {
	my ($type) = @_;
	return $pg->query("SELECT string_agg(extract(epoch FROM date_trunc('hour', now()) - run_at) / 3600 || '', ',' ORDER BY id) "
	    . "FROM jobq.jobs WHERE type = '$type' AND id > coalesce((SELECT max(id) FROM marks), 0)") =~ s/\.0+(?=,|$)//gr;
}

$pg->query('CREATE TABLE marks (id bigint)');
$d->start;
$d->wait_log(qr/scheduler initialized schedules=5/);
is $pg->query('SELECT count(*) FROM jobq.jobs'), 0, 'new schedules have missed nothing';

# A test that crosses the full hour would see one instant more.
wait_for { $pg->query("SELECT extract(minute FROM now()) < 59") eq 't' } 'the next hour', 90;

stop_and_pretend(5);
my $from = $d->log_size;
$d->start;
wait_for { made('all') eq '4,3,2,1,0' } 'the missed instants of catch_up: all';
pass 'catch_up: all makes up for each, oldest first';
wait_for { made('last') ne '' } 'the missed instant of catch_up: last';
is made('last'), '0', 'catch_up: last (the default) for the newest';
is made('none'), '', 'catch_up: none for none';
is made('short'), '', 'nor those that are older than the window';
is made('fresh'), '', 'nor a schedule that is new';
like $d->log($from), qr/schedule missed its time .* schedule=none missed=5/, 'what was passed over is said';
like $d->log($from), qr/schedule missed its time .* schedule=last missed=4/, '… also of those that were made up for';
is $pg->query("SELECT missed FROM jobq.schedules WHERE name = 'none'"), 5, '… and counted in the view (S1-44)';

# a restart that takes no time is no downtime
$d->stop;
$pg->query('TRUNCATE marks; INSERT INTO marks SELECT max(id) FROM jobq.jobs');
$from = $d->log_size;
$d->start;
$d->wait_log(qr/scheduler initialized/, $from);
is made($_), '', "$_: nothing again after a restart" for qw(none last all);
is $d->stop, 0, 'stops with status 0';
