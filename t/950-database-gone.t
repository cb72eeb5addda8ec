# The database gone: no crash, no busy loop, finished results kept and written
# when it is back, producers' accepted jobs all there. S1-46 S3-50 S4-40
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 12;

my $pg = Jobqd::Postgres->new(settings => { fsync => 'on' });
my $dir = temp_directory();
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
log: {file: stderr, level: info}
handlers:
  null: {driver: noop}
  gate: {driver: exec, argv: [sh, -c, "echo ran >> $dir/ran; while ! test -e $dir/open; do sleep 0.05; done; echo '{\\"n\\": 1}'"]}
queues:
  work: {handler: null, workers: 2}
  gate: {handler: gate, workers: 2}
YAML
chmod 0777, $dir;
$d->start;
$pg->query("SELECT jobq.enqueue('gate') FROM generate_series(1, 2)");
wait_for { slurp("$dir/ran") eq "ran\nran\n" } 'two programs to run';
my $ours = sub { my %p = $d->processes; delete @p{grep { $p{$_} !~ /^jobqd:/ } keys %p}; return %p };
my %before = $ours->();

$pg->stop('immediate');
$d->wait_log(qr/database/);
spew("$dir/open", '');		# they finish while there is no database

# Processor time of all processes while it is away, in ticks.
my $ticks = sub {
	my $sum = 0;
	for my $pid ($d->{pid}, process_tree($d->{pid})) {
		my @f = split ' ', (slurp("/proc/$pid/stat") =~ /\) (.*)/s)[0] // '';
		$sum += $f[11] + $f[12] if @f > 12;
	}
	return $sum;
};
my $used = $ticks->();
wait_for { slurp("$d->{dir}/health.json") =~ /"healthy":\s*false/ } 'the health file to tell';
my $from = $d->log_size;
my $looks = 0;
wait_for { ++$looks > 40 } 'some time without a database';
cmp_ok $ticks->() - $used, '<', 150, 'no busy loop';
my $lines = () = $d->log($from) =~ /\n/g;
cmp_ok $lines, '<', 60, "and no flood of log lines ($lines)";
my %during = $ours->();
is scalar(grep { exists $during{$_} } keys %before), scalar(keys %before), 'no process went away';

$pg->start;
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'gate' AND state = 'completed'") == 2 } 'the kept results';
pass 'results finished meanwhile were written (S1-50, S3-1)';
is slurp("$dir/ran"), "ran\nran\n", 'without running the programs again';
is $pg->query("SELECT count(*) FROM jobq.attempts WHERE outcome <> 'completed'"), 0, 'each at its first attempt';
wait_for { slurp("$d->{dir}/health.json") =~ /"healthy":\s*true/ } 'health to come back';
pass 'healthy again';

# Now many times under load, with every id that a producer was told kept.
my @told;
for my $round (1 .. 5) {
	for (1 .. 30) {
		my ($status, $out) = $pg->try_query("SELECT jobq.enqueue('work', '', '{\"sleep_ms\": 2}') FROM generate_series(1, 10)");
		push @told, split /\n/, $out if $status == 0;
	}
	$pg->stop('immediate');
	$pg->start;
}
cmp_ok scalar(@told), '>=', 1000, scalar(@told) . ' jobs were accepted over five crashes';
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'work' AND state <> 'completed'") == 0 } 'the work';
my %there = map { $_ => 1 } split /\n/, $pg->query("SELECT id FROM jobq.jobs WHERE queue = 'work' AND state = 'completed'");
is scalar(grep { !$there{$_} } @told), 0, 'every accepted job is completed (S2-54)';
is $pg->query("SELECT count(*) FROM (SELECT job_id FROM jobq.attempts WHERE outcome = 'completed' GROUP BY 1 HAVING count(*) > 1) x"),
    0, 'no completion twice';
my %after = $ours->();
is scalar(grep { exists $after{$_} } keys %before), scalar(keys %before), 'still the same processes';
is $d->stop, 0, 'and it stops well';
