# What the monitor finds wrong: each in the health file and the log while it
# lasts, and in jobq.checkup(). S1-45, S2-21, S2-37, S2-57, S3-6, S3-48
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP ();
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new(settings => { fsync => 'on', max_prepared_transactions => 2 });
my $dir = temp_directory();
sub config {
	my ($file, $more) = @_;
	return <<"YAML" . ($more // '');
handlers: {null: {driver: noop}}
queues:
  work: {handler: null, workers: 2, lease: 5s}
schedules:
  hourly: {every: 1h, queue: work, type: tick}
monitor: {interval: 300ms, health_file: "$dir/$file"}
YAML
}
my $d = Jobqd::Daemon->new(pg => $pg, config => config('health.json'));
$d->start;

sub health { return JSON::PP->new->decode(slurp("$dir/" . ($_[0] // 'health.json')) || '{}') }
sub problem { my ($subject, $file) = @_; return (grep { /^\Q$subject\E: / } @{ health($file)->{problems} || [] })[0] // '' }
sub check { my ($what, $args) = @_; return $pg->query("SELECT level || ' ' || finding || '|' || advice FROM jobq.checkup(" . ($args // '') . ") WHERE subject = '$what'") }
# A problem comes, is told once in the log, and goes.
sub comes { my ($subject, $re) = @_; wait_for { problem($subject) =~ $re } "the problem $subject"; like problem($subject), $re, "the health file has: $subject" }
sub goes { my ($subject) = @_; wait_for { problem($subject) eq '' } "$subject to be well again"; pass "… and not when it is over" }

wait_for { my $h = health(); $h->{healthy} && $h->{queues}{work}{workers} == 2 } 'it to be healthy';
wait_for { !@{ health()->{problems} } } 'no problems';
pass 'nothing is wrong';
like $d->wait_log(qr/monitor\b.*: health healthy=true ready=0 running=0 dead_letters=0 problems=-$/m), qr/ info /, 'one line in the log sums it up (S1-48)';
wait_for {
	$pg->query("SELECT string_agg(subject, ' ') FROM jobq.checkup() WHERE level = 'ok'") eq 'database durability workers leases scheduler snapshots size'
} 'all to be well';
pass 'each part is well (S2-37, S2-57, S3-6)';

# durability
my $from = $d->log_size;
$pg->query($_) for 'ALTER SYSTEM SET full_page_writes = off', 'SELECT pg_reload_conf()';
comes('durability', qr/off in the database: full_page_writes; .*set it on/);
ok health()->{healthy}, '… which makes nobody unhealthy';
like $d->wait_log(qr/: problem what="durability: /, $from), qr/ warn /, '… and the log';
like $d->wait_log(qr/: health healthy=true .*problems=durability/, $from), qr/ info /, '… the line that sums it up names it';
$pg->query($_) for 'ALTER SYSTEM RESET full_page_writes', 'SELECT pg_reload_conf()';
goes('durability');
$d->wait_log(qr/: problem over subject=durability/, $from);
is scalar(() = $d->log($from) =~ /: problem what="durability/g), 1, 'it was told once';

# autovacuum
$pg->query($_) for 'ALTER SYSTEM SET autovacuum = off', 'SELECT pg_reload_conf()';
comes('database', qr/autovacuum is off/);
$pg->query($_) for 'ALTER SYSTEM RESET autovacuum', 'SELECT pg_reload_conf()';
goes('database');

# a schedule that nobody fires
$pg->query("UPDATE jobq.schedule SET next_run = now() - interval '90 seconds'");
# S1-45: schedules are fired.
comes('scheduler', qr/schedules are late: hourly by 9\d s/);
$pg->query("UPDATE jobq.schedule SET next_run = now() + interval '1 hour'");
goes('scheduler');

# a queue nobody serves
$pg->query(q{SELECT jobq.register('{"node": "ghost", "queues": [{"name": "lonely"}]}'); UPDATE jobq.node SET seen = '2020-01-01' WHERE name = 'ghost'});
is check('queues'), '', 'a queue that nobody serves is nothing';
$pg->query("SELECT jobq.enqueue('lonely')");
# S1-45: queues are worked at.
comes('queues', qr/jobs wait in queues that no node serves: lonely/);
$pg->query("SELECT jobq.clear('lonely')");
goes('queues');

# workers
like check('workers'), qr/^ok 2 alive/, 'all workers are there (S1-45, S2-21, S2-57)';
$pg->query("UPDATE jobq.queue SET workers = 5 WHERE name = 'work'");
like check('workers'), qr/^warn fewer than wanted: work 2 of 5\|/, '… or fewer than wanted';
$pg->query("UPDATE jobq.queue SET workers = 2 WHERE name = 'work'");

# clocks, and what is between
like check('clock', "now() + interval '1 minute'"), qr/^warn .*(59|60)\.\d s ahead of/, 'a clock that is wrong';
like check('clock', "clock_timestamp()"), qr/^ok .* agree to \d+ ms/, '… or right';
like check('notifications', 'null, pg_backend_pid(), true'), qr/^ok they arrive\|/, 'notifications arrive';
like check('notifications', 'null, pg_backend_pid(), false'), qr/^warn they do not arrive; .*pooler: transaction/, '… or not';
like check('notifications', 'null, 1'), qr/^warn a pooler stands before/, 'a pooler is seen';
like check('notifications', 'null, 1, true'), qr/^ok .*a pooler of sessions/, '… and told apart';

# old transactions
my $session = $pg->session;
$session->query("SET application_name = 'reporter'; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM jobq.job");
my $pid = $session->query('SELECT pg_backend_pid()');
like $pg->query("SELECT * FROM jobq.check_snapshots('0')"), qr/snapshots\|warn\|a transaction of process $pid \(reporter, user jobq\) is open for .*pg_terminate_backend\($pid\)/,
    'an old transaction is named';
like check('snapshots'), qr/^ok/, '… when it is old';
$session->query('COMMIT');
$pg->query("BEGIN; UPDATE jobq.schedule SET missed = missed; PREPARE TRANSACTION 'forgotten'");
like $pg->query("SELECT * FROM jobq.check_snapshots('0')"), qr/snapshots\|warn\|the prepared transaction "forgotten"/, 'so is a prepared one';
$pg->query("ROLLBACK PREPARED 'forgotten'");

# growth
like check('size'), qr/^ok the tables take [\d.]+ \w+; how much/, 'the size';
$pg->query("TRUNCATE jobq.size; INSERT INTO jobq.size SELECT date_trunc('hour', now()) - i * interval '1 hour', 1000000000 - i * 100 * 1048576::bigint / 24 FROM generate_series(0, 48) i");
like check('size'), qr/, \+(99|100|101) MB a day/, '… and how fast it grows (S3-48)';

# a pooler of transactions that nobody has told of
SKIP: {
	my $address = $pg->pooler(5);
	skip 'pgbouncer is missing: apt-get install pgbouncer', 2 unless $address;
	my $url = "database: {url: \"$address\"";
	my $pooled = Jobqd::Daemon->new(pg => $pg, name => 'pooled', config => config('pooled.json', "$url}\n"));
	$pooled->start;
	wait_for { problem('notifications', 'pooled.json') =~ /do not come through the pooler.*database.pooler: transaction/ } 'the pooler to be seen', 60;
	pass 'PgBouncer in between is recognised';
	$from = $pooled->log_size;
	$pooled->stop;
	$pooled->configure(config('pooled.json', "$url, pooler: transaction}\n"));
	$pooled->start;
	$pooled->wait_log(qr/: health healthy=true .*problems=-$/m, $from);
	is problem('notifications', 'pooled.json'), '', '… and all is well when it is configured';
	$pooled->stop;
}

# a host whose clock is wrong
SKIP: {
	my ($faketime) = glob '/usr/lib/*/faketime/libfaketime.so.1';
	skip 'libfaketime is missing: apt-get install libfaketime', 2 unless $faketime;
	my $early = Jobqd::Daemon->new(pg => $pg, name => 'early', config => config('early.json'), wrap => [ 'env', "LD_PRELOAD=$faketime",
	    'FAKETIME=+90', map { "$_=1" } qw(FAKETIME_DONT_FAKE_MONOTONIC DONT_FAKE_MONOTONIC NO_FAKE_STAT) ]);
	$early->start;
	wait_for { problem('clock', 'early.json') ne '' } 'the clock to be noticed';
	like problem('clock', 'early.json'), qr/^clock: this host's is (89|90) s ahead of the database's; have/, 'a wrong clock of a host';
	is problem('clock'), '', '… which is no problem of another';
	$early->stop;
}

# the whole node goes without a word
$d->vanish;
# another one's may be named before: what PgBouncer refused above could be its end
wait_for { check('leases') =~ /^bad not renewed: (?:.*, )?work on node for \d+ s\|/ } 'the lease to be missed';
pass 'leases that are not renewed';
wait_for { check('scheduler') =~ /^bad none leads/ } 'the scheduler to be missed';
pass 'no scheduler';
done_testing;
