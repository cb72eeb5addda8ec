# A budget for the size of the tables (monitor.keep_size): what is finished goes
# before its time, oldest first, with a line in the log and in the audit; what
# is not finished, and dead letters nobody has reviewed, stay. S2-51, S2-52,
# S4-43, S4-48, S3-52, S1-29
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Jobqd;
use Test::More;

# what is deleted counts until a vacuum has given it back
my $pg = Jobqd::Postgres->new(settings => { autovacuum_naptime => '1s' });
my $dir = temp_directory();
my $config = <<"YAML";
handlers: {null: {driver: noop}}
queues:
  work: {handler: null, workers: 2, concurrency: 50, retry: {attempts: 1}}
  held: {handler: null, workers: 1}
monitor: {interval: 300ms, health_file: "$dir/health.json", keep_size: SIZE}
YAML
my $d = Jobqd::Daemon->new(pg => $pg, config => $config =~ s/SIZE/0/r);
$d->start;

sub state { return $pg->query("SELECT state FROM jobq.jobs WHERE id = $_[0]") }
sub bytes { return $pg->query('SELECT jobq.bytes()') }
sub problems { return join "\n", @{ JSON::PP->new->decode(slurp("$dir/health.json") || '{}')->{problems} || [] } }
# That many jobs of a kilobyte that does not compress, by themselves.
sub fill {
	my ($queue, $n) = @_;
	$pg->query("SELECT count(jobq.enqueue('$queue', data => jsonb_build_object('x', k.x))) FROM generate_series(1, $n) i, "
	    . 'LATERAL (SELECT string_agg(md5(random()::text), \'\') AS x FROM generate_series(1, 32 + i * 0)) k');
}
sub done { return $pg->query("SELECT count(*) FROM jobq.attempts WHERE queue = 'work' AND outcome = 'completed'") }

my $scheduled = $pg->query("SELECT jobq.enqueue('work', delay => '1 day')");
my ($dead, $seen) = map { $pg->query("SELECT jobq.enqueue('work', data => '{\"fail\": \"error\"}')") } 1 .. 2;
wait_for { state($dead) eq 'dead' && state($seen) eq 'dead' } 'dead letters';
$pg->query("SELECT jobq.review($seen, 'me', 'seen')");
fill('work', 12000);
wait_for { done() == 12000 } 'the jobs';
my $before = bytes();
my $limit = int($before / 2);
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'completed'"), 12000, 'all are kept while there is room';
unlike problems(), qr/^size:/m, 'and nothing is to be said';

my $from = $d->log_size;
$d->configure($config =~ s/SIZE/$limit/r);
$d->signal('HUP');
my $line = $d->wait_log(qr/dropped partition \d+, \d+ of its jobs stay; gone before their time/, $from);
like $line, qr/monitor\b.*: work 1200\d \(\d+ \w+\)/, 'the log says how many jobs of which queue went, and how large they were (S4-48)';
wait_for { bytes() <= $limit } 'the tables to be smaller';
pass sprintf 'from %.1f to %.1f MB, of %.1f', $before / 1e6, bytes() / 1e6, $limit / 1e6;
is state($scheduled), 'scheduled', 'what is not finished stays';
is state($dead), 'dead', '… and the dead letter that nobody has reviewed';
is state($seen), '', 'the reviewed one is gone (S3-52)';
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'completed'"), 0, 'the completed ones, too';
is $pg->query("SELECT string_agg(detail::jsonb ->> 'early', ' ') FROM jobq.audit WHERE action = 'drop' AND target = 'partition 1'"), 'true', 'the audit has it';
cmp_ok $pg->query("SELECT (detail::jsonb #>> '{jobs,work}')::int FROM jobq.audit WHERE action = 'drop' AND target = 'partition 1'"), '>=', 12000, '… with how many';
wait_for { problems() !~ /^size:/m } 'the problem to be over';
is $pg->query("SELECT count(*) FROM jobq.attempts WHERE outcome = 'completed'"), 12000, 'their history is kept while there is room for it';

# less room: history goes
sub room { my ($n) = @_; $from = $d->log_size; $d->configure($config =~ s/SIZE/$n/r); $d->signal('HUP'); $d->wait_log(qr/: reload(?:ed)?\b/, $from) }
room(bytes() - 100_000);
like $d->wait_log(qr/dropped the history of partition \d+ before its time/, $from), qr/: work 1200\d \(\d+ \w+\)/, 'with less room it goes first';

cmp_ok $pg->query("SELECT (detail::jsonb ->> 'bytes')::bigint FROM jobq.audit WHERE action = 'drop' AND target = 'history of partition 1'"), '>', 100000, '… and the audit has it';
is $pg->query("SELECT count(*) FROM jobq.attempts WHERE outcome = 'completed'"), 0, 'it is gone';
room($limit);

# what waits takes more: that is said, and nothing is lost
$pg->query("SELECT jobq.pause('held')");
fill('held', int(1.3 * $limit / 1100));
wait_for { problems() =~ /^size: .*more than monitor.keep_size .*nothing finished is left/m } 'the health file to say so', 60;
pass 'when nothing is left that could go, the health file says so';
like $d->wait_log(qr/problem what="size: /, $from), qr/ warn /, '… and the log';
is $pg->query("SELECT ready FROM jobq.queues WHERE name = 'held'"), int(1.3 * $limit / 1100), 'jobs that wait are never removed';
is state($dead), 'dead', 'nor is the dead letter';
$pg->query("SELECT jobq.resume('held')");
wait_for { $pg->query("SELECT ready + running FROM jobq.queues WHERE name = 'held'") == 0 } 'they are run';
wait_for { bytes() <= $limit } 'there is room again', 60;
pass 'when they are done they go';
is $d->stop, 0, 'stops with status 0';
done_testing;
