# HUP under load, 100 times, a fifth of them with a broken file: no job
# disturbed, no descriptor gained, the last good configuration in force.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 7;

my $pg = Jobqd::Postgres->new;
my $config = sub {
	my ($workers, $extra) = @_;
	return <<"YAML";
log: {file: stderr, level: info}
handlers: {null: {driver: noop}}
queues:
  work: {handler: null, workers: $workers, concurrency: 2}
$extra
YAML
};
my $d = Jobqd::Daemon->new(pg => $pg, config => $config->(2, ''));
$d->start;

# Descriptors of all processes of a settled daemon.
my $descriptors = sub {
	my $n = 0;
	for my $pid (keys %{ { $d->processes } }) {
		my @fds = glob "/proc/$pid/fd/*";
		$n += @fds;
	}
	return $n;
};
my $settled = sub {
	my ($workers) = @_;
	wait_for { $d->pids(qr{^jobqd: worker work/}) == $workers && $d->pids(qr{^jobqd: queue}) == 1
		&& $d->pids(qr{setup}) == 0 && $d->pids(qr{^jobqd: scheduler}) == 1 && $d->pids(qr{^jobqd: monitor}) == 1 } 'the daemon to settle';
};
$settled->(2);
my $before = $descriptors->();
my @master_before = glob "/proc/$d->{pid}/fd/*";

my $dir = temp_directory();
my $load = Jobqd::background([ 'sh', '-c', <<'SH', $dir, $pg->url ]);
while ! test -e "$0/enough"; do
	echo "SELECT count(jobq.enqueue('work', '', '{\"sleep_ms\": 5}')) FROM generate_series(1, 20);"
	sleep 0.05
done | psql -XAtq "$1" >/dev/null
SH

my ($good, $bad) = (0, 0);
for my $i (1 .. 100) {
	my $from = $d->log_size;
	if ($i % 5 == 0) {
		$d->configure($config->(2, "  broken: {handler: nulll}\n"));
		$d->signal('HUP');
		$d->wait_log(qr/jobqd\.yml:\d+:\d+: .*null/, $from);
		$bad++;
	} else {
		$d->configure($config->(2 + $i % 2, $i % 3 ? '' : "  other: {handler: null}\n"));
		$d->signal('HUP');
		$d->wait_log(qr/: reload(ed| changed)\b/, $from);
		$good++;
	}
}
is $good, 80, '80 reloads were done';
is $bad, 20, '20 broken files were refused with their place';
$d->configure($config->(2, ''));
my $from = $d->log_size;
$d->signal('HUP');
$d->wait_log(qr/: reload(ed| changed)\b/, $from);
spew("$dir/enough", '');
waitpid $load, 0;
my $total = $pg->query('SELECT count(*) FROM jobq.jobs');
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'completed'") == $total } 'the jobs';
cmp_ok $total, '>', 100, "$total jobs went through meanwhile";
is $pg->query("SELECT count(*) FROM jobq.attempts WHERE outcome <> 'completed'"), 0, 'no attempt was disturbed';
$settled->(2);
wait_for { $descriptors->() <= $before } 'the descriptors of old generations to be closed';
pass 'no descriptor gained in all processes';
my @master_after = glob "/proc/$d->{pid}/fd/*";
is scalar(@master_after), scalar(@master_before), 'nor in the master';
is $d->stop, 0, 'and it stops well';
