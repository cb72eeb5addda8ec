# The database's clock decides when schedules fire: that of jobqd's machine may
# be wrong, and may jump. S0-24, S1-60, S3-54
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my ($faketime) = glob '/usr/lib/*/faketime/libfaketime.so.1';
plan skip_all => 'libfaketime is not installed' unless $faketime;
plan tests => 9;

my $clock = temp_directory() . '/clock';
sub set_clock {
	spew("$clock.new", "$_[0]\n");
	rename "$clock.new", $clock or die "$clock: $!\n";
}
set_clock('-40d');
my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<'YAML', wrap => [ 'env', "LD_PRELOAD=$faketime",
handlers: {null: {driver: noop}}
queues:
  work: {handler: null, workers: 1}
schedules:
  every: {every: 1s, queue: work, type: every}
  cron: {cron: "* * * * * *", timezone: Pacific/Auckland, queue: work, type: cron}
YAML
    "FAKETIME_TIMESTAMP_FILE=$clock", map { "$_=1" } qw(FAKETIME_NO_CACHE FAKETIME_DONT_FAKE_MONOTONIC DONT_FAKE_MONOTONIC NO_FAKE_STAT) ]);
$d->start;
sub count { return $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = 'cron'") }
sub more {
	my $from = count();
	wait_for { count() >= $from + 4 } 'four more instants';
}
more();
my ($year, $month, $day) = (gmtime(time - 40 * 86400))[5, 4, 3];
my $wrong = sprintf '%04d-%02d-%02d', $year + 1900, $month + 1, $day;
like $d->log, qr/^$wrong/m, 'jobqd believes it is forty days earlier';
for my $jump ('-39d', '-41d', '+400d', '+0') {
	set_clock($jump);
	more();
	pass "its clock jumps to $jump";
}
for my $type (qw(every cron)) {
	is $pg->query(<<"SQL"), 't', "$type: each second made one job, with its own run_at (S3-54)";
SELECT count(*) = count(DISTINCT run_at) AND count(*) = extract(epoch FROM max(run_at) - min(run_at)) + 1
    AND bool_and(run_at = date_trunc('second', run_at))
FROM jobq.jobs WHERE type = '$type'
SQL
	is $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = '$type' AND (created_at < run_at - interval '1 s' OR created_at > run_at + interval '30 s')"),
	    0, '… then, by the database\'s clock';
}
$d->stop;
