# What has happened since the last look: each change of a state once, in order,
# whatever commits when; bounded, and only the newest of the tables is read.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP ();
use Schema;
use Test::More;

my $pg = schema(session_preload_libraries => 'auto_explain', 'auto_explain.log_nested_statements' => 'on',
    'auto_explain.log_analyze' => 'on');
queues($pg, work => {}, other => {}, keyed => { key => 'data.k' });
my ($pool, $q) = pool($pg, 'work');
my ($kpool, $kq) = pool($pg, 'keyed');
my $json = JSON::PP->new->utf8;
my $looker = $pg->session;

# A reader with a cursor of its own.
sub reader { my $r = { cursor => undef }; look($r); return $r }

# What it has not been told yet, as objects; event => … among their members.
sub look {
	my ($r, $most) = @_;
	my $c = defined $r->{cursor} ? "'$r->{cursor}'" : 'NULL';
	my @events;
	for my $line (split /\n/, $looker->query("SELECT to_jsonb(e) FROM jobq.events_since($c, " . ($most || 1000) . ') e')) {
		my $e = eval { $json->decode($line) } or die "$line\n";
		if ($e->{event} eq 'cursor') {
			$r->{cursor} = $json->canonical->encode($e->{data}) =~ s/'/''/gr;
		} else {
			push @events, { %{ $e->{data} }, event => $e->{event} };
		}
	}
	return @events;
}

# "id state attempt" of jobs, other events by name.
sub words {
	return map { $_->{event} eq 'job' ? "$_->{id} $_->{state} $_->{attempt}" : "$_->{event} " . ($_->{queue} // '') } @_;
}
sub told { my ($r, @expected) = @_; my $what = pop @expected; is_deeply [ words(look($r)) ], \@expected, $what }

# each change of a state
my $r = reader();
told($r, 'nothing happened');
is $pg->query('SELECT jobq.fact(\'jobq.listened\')'), 0, 'nobody says that somebody listens …';
$pg->query("SELECT jobq.cancel(jobq.enqueue('other', delay => '1 hour'))");
is $pg->query('SELECT count(*) FROM jobq.event'), 0, '… so nothing is written for it';
$r = reader();
$pg->query('SELECT jobq.events_listen()');
my $id = $pg->query("SELECT jobq.enqueue('work', 'a', tenant => 'acme')");
my ($e) = look($r);
is_deeply [ @$e{qw(id queue type state tenant attempt)} ], [ $id, 'work', 'a', 'ready', 'acme', 0 ], 'a job is ready';
like $e->{at}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/, '… at a time';
my ($l) = claim($pg, $pool, $q);
told($r, "$id running 1", '… runs');
finish_failed($pg, $pool, $l, 2, delay => 50, class => 5);
($e) = look($r);
is_deeply [ @$e{qw(state attempt error_class)} ], [ 'retrying', 1, 'network' ], '… fails';
ok $e->{run_at}, '… and will be tried again at a time';
wait_for { $pg->query('SELECT moved FROM jobq.due(10)') } 'the timer';
told($r, "$id ready 1", '… is ready again');
($l) = claim($pg, $pool, $q);
finish_failed($pg, $pool, $l, 3);
told($r, "$id running 2", "$id dead 2", '… runs and dies between two looks');
$pg->query("SELECT jobq.retry($id)");
($l) = claim($pg, $pool, $q);
told($r, "$id ready 2", "$id running 3", '… is brought back');
finish_ok($pg, $pool, $l);
told($r, "$id completed 3", '… and completes');

my ($s, $blocked) = split /\|/, $pg->query("SELECT s, jobq.enqueue('work', after => array[s]) FROM jobq.enqueue('work', delay => '1 hour') s");
is_deeply [ sort(words(look($r))) ], [ "$s scheduled 0", "$blocked blocked 0" ], 'scheduled and blocked';
$pg->query("SELECT jobq.cancel($s)");
is_deeply [ sort(words(look($r))) ], [ "$s cancelled 1", "$blocked cancelled 1" ], 'cancelled, and what waited for it';
my $c = $pg->query("SELECT jobq.enqueue('work')");
$pg->query("SELECT jobq.cancel($c)");
told($r, "$c ready 0", "$c cancelled 1", 'a ready job is cancelled');
$pg->query("SELECT jobq.delete($c)");
told($r, "$c deleted 0", '… and deleted');
$c = $pg->query("SELECT jobq.enqueue('work', delay => '300 ms')");
wait_for { $pg->query('SELECT moved FROM jobq.due(10)') } 'the timer';
told($r, "$c scheduled 0", "$c ready 0", 'scheduled and due between two looks');
($l) = claim($pg, $pool, $q);
$pg->query("SELECT jobq.release($pool, '{$c}', '{1}')");
told($r, "$c running 1", "$c ready 0", 'handed back');
($l) = claim($pg, $pool, $q);
told($r, "$c running 1", '… and taken again');
$pg->query("SELECT jobq.reap($pool)");
told($r, "$c retrying 1", "$c ready 1", 'lost with its pool');
($pool) = pool($pg, 'work');
($l) = claim($pg, $pool, $q);
$pg->query("SELECT jobq.complete($c, '$pool.' || (SELECT max(batch) FROM jobq.claim WHERE queue = $q) || '.2')");
told($r, "$c running 2", "$c completed 2", 'completed in the handler\'s own transaction');
$c = $pg->query("SELECT jobq.enqueue('keyed', data => '{\"k\":\"x\"}')");
my $k = $pg->query("SELECT jobq.enqueue('keyed', data => '{\"k\":\"x\"}')");
my @k = claim($pg, $kpool, $kq);
told($r, "$c ready 0", "$k ready 0", "$c running 1", 'its key is taken');
finish_ok($pg, $kpool, @k);
claim($pg, $kpool, $kq);
told($r, "$c completed 1", "$k running 1", '… and free');
# a breaker's wait
$pg->query(q{INSERT INTO jobq.breaker (queue, destination, gate, state, since, until, failures, attempts, open_ms)
    SELECT id, 'd', false, 'open', now(), now() + interval '1 hour', 1, 1, 1000 FROM jobq.queue WHERE name = 'work'});
$c = $pg->query("SELECT jobq.enqueue('work')");
claim($pg, $pool, $q);
$pg->query("SELECT * FROM jobq.breaker_defer($pool, '{$c}', '{1}', '{d}')");
told($r, "$c ready 0", "$c running 1", "$c scheduled 0", 'given back to wait for a breaker');

# queues and alerts
$pg->query("SELECT jobq.pause('work', 'why not')");
($e) = look($r);
is_deeply [ @$e{qw(event queue paused pause_reason ready running)} ], [ 'queue', 'work', JSON::PP::true, 'why not', 0, 0 ], 'a queue is paused (S2-66)';
$pg->query("SELECT jobq.resume('work'); SELECT jobq.pause('other', type => 'x')");
($e, my $e2) = look($r);
is_deeply [ map { [ @$_{qw(queue paused holds)} ] } $e, $e2 ], [ [ 'other', JSON::PP::false, 1 ], [ 'work', JSON::PP::false, 0 ] ],
    '… resumed, and a type of another';
$pg->query("INSERT INTO jobq.alert (name, queue, node, metric, value, fired_at) VALUES ('backlog', 'work', 'n', 'backlog', 12, now())");
($e) = look($r);
is_deeply [ @$e{qw(event name queue state value)} ], [ 'alert', 'backlog', 'work', 'firing', 12 ], 'an alert';
$pg->query("UPDATE jobq.alert SET acknowledged_by = 'me', acknowledged_at = now()");
is +(look($r))[0]{state}, 'acknowledged', '… acknowledged';
$pg->query('UPDATE jobq.alert SET ended_at = now()');
is +(look($r))[0]{state}, 'ended', '… ended';
told($r, '… and no more');

# schedules
$pg->query(q{SELECT jobq.schedule_put('nightly', '{"queue": "other", "cron": "0 3 * * *"}')});
($e) = look($r);
is_deeply [ @$e{qw(event name queue enabled paused)} ], [ 'schedule', 'nightly', 'other', JSON::PP::true, JSON::PP::false ], 'a schedule';
$pg->query(q{SELECT jobq.schedule_pause('nightly')});
is +(look($r))[0]{paused}, JSON::PP::true, '… is paused';
my $fired = $pg->query(q{SELECT jobq.schedule_run('nightly')});
my @f = look($r);
is_deeply [ map { $_->{id} } grep { $_->{event} eq 'job' } @f ], [$fired], '… makes a job';
is_deeply [ map { $_->{last_job_id} } grep { $_->{event} eq 'schedule' } @f ], [$fired], '… by hand';

# what commits late
my @late = map { $pg->session } 1 .. 3;
$_->query('BEGIN') for @late;
my $early = $late[0]->query("SELECT jobq.enqueue('work')");
$late[1]->query("SELECT jobq.enqueue('work')");
my $waits = $late[2]->query("SAVEPOINT x; SELECT jobq.enqueue('work', delay => '1 hour')");
$c = $pg->query("SELECT jobq.enqueue('work')");
told($r, "$c ready 0", 'others are told before those that have not committed');
my $late_reader = reader();	# begins while they run
told($_, '… nor the next time') for $r, $late_reader;
$late[1]->query('ROLLBACK');
$late[2]->query('COMMIT');
told($_, "$waits scheduled 0", 'committed late, told late') for $r, $late_reader;
# long after: the gaps of before are forgotten only when nobody can fill them
$_->{cursor} =~ s/"marked":\d+/"marked":1/ for $r, $late_reader;
look($_) for $r, $late_reader;
$_->{cursor} =~ s/"marked":\d+/"marked":1/ for $r, $late_reader;
my $waits2 = $late[0]->query("SELECT jobq.enqueue('work', delay => '1 hour')");
$pg->query("SELECT jobq.cancel(jobq.enqueue('other'))");
look($_) for $r, $late_reader;
$late[0]->query('COMMIT');
is_deeply [ sort(words(look($_))) ], [ sort("$early ready 0", "$waits2 scheduled 0") ], '… however late' for $r, $late_reader;
for (1 .. 3) {
	$r->{cursor} =~ s/"marked":\d+/"marked":1/;
	look($r);
}
is_deeply [ @{ $json->decode($r->{cursor}) }{qw(gaps aging)} ], [ '{}', '{}' ], 'what was rolled back is forgotten';
claim($pg, $pool, $q);
look($r);

# twenty that write at once, with transactions of any length, savepoints and
# rollbacks, and two that run jobs
my $before = $pg->query('SELECT max(id) FROM jobq.job');
my @writers = map { $pg->session } 1 .. 20;
$_->send(<<'SQL') for @writers;
do $$
begin
	for i in 1 .. 50 loop
		for k in 1 .. 1 + (random() * 4)::int loop
			begin
				perform jobq.enqueue('work', delay => case when random() < 0.3 then interval '1 hour' end);
				if random() < 0.2 then raise 'undone'; end if;
			exception when raise_exception then null;
			end;
			perform pg_sleep(random() * 0.01);
		end loop;
		if random() < 0.2 then rollback; else commit; end if;
	end loop;
end
$$
SQL
my @runners = map { $pg->session } 1, 2;
$_->send(<<"SQL") for @runners;
do \$\$
declare
	j bigint[]; a int[]; z int[];
begin
	for i in 1 .. 250 loop
		select array_agg(id), array_agg(attempt), array_agg(0) into j, a, z from jobq.claim($pool, $q\::smallint, 7);
		commit;
		perform pg_sleep(random() * 0.01);
		perform jobq.finish_ok($pool, j, a, null, z::bigint[], z::bigint[], z) where j is not null;
		commit;
		perform pg_sleep(random() * 0.01);
	end loop;
end
\$\$
SQL
my ($looks, @all) = (0);
{
	my $done = 0;
	my $watch = $pg->session;
	until ($done) {
		$done = $watch->query("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query ~ '^do '") == 0;
		push @all, look($r, 100_000);
		$looks++;
	}
}
is join('', map { $_->answer } @writers, @runners), '', 'all have written';
push @all, look($r, 100_000);
my (%of, $order);
for (grep { $_->{event} eq 'job' && $_->{id} > $before } @all) {
	push @{ $of{ $_->{id} } }, $_->{state};
}
my %state = map { split /\|/ } split /\n/, $pg->query("SELECT id, state FROM jobq.jobs WHERE id > $before");
my %path = (ready => 'ready', scheduled => 'scheduled', running => 'ready running', completed => 'ready running completed');
my @wrong = grep { join(' ', @{ $of{$_} || [] }) ne ($state{$_} ? $path{ $state{$_} } : '') } keys %{ { %of, %state } };
is_deeply [ map { "$_ is " . ($state{$_} || 'gone') . ', told: ' . join(' ', @{ $of{$_} || [] }) } @wrong ], [],
    sprintf 'of %d jobs by 20 writers, %d run meanwhile, each change was told once and in order, in %d looks (S1-45)',
    scalar(keys %state), scalar(grep { $_ eq 'completed' } values %state), $looks;
cmp_ok $looks, '>', 2, '… while they wrote';

# too much at once
$r = reader();
$pg->query("SELECT count(jobq.enqueue('other')) FROM generate_series(1, 101)");
my @e = look($r, 100);
is_deeply [ words(@e) ], [ 'skipped ', 'queue other' ], 'more than there is room for: said so, with the counts of the queue';
is $e[1]{ready}, 101 + $pg->query("SELECT ready FROM jobq.queues WHERE name = 'other'") - 101, '… which are right';
my @wait = map { $pg->query("SELECT jobq.enqueue('other')") } 1 .. 2;
told($r, (map { "$_ ready 0" } @wait), 'and then it goes on');
$pg->query("SELECT jobq.clear('other')");
@e = look($r);
is_deeply [ words(@e) ], [ 'skipped other', 'queue other' ], 'a queue that is cleared is told of as one';
is $e[1]{ready}, 0, '… with nothing left';

# a database brought back from a backup
look($r);
$r->{cursor} =~ s/"snapshot":"[^"]*"/"snapshot":"99999999:99999999:"/ or die;
is_deeply [ words(look($r)) ], [ 'skipped ' ], 'a cursor from the future: said so';
my $now = $pg->query("SELECT jobq.enqueue('other')");
told($r, "$now ready 0", '… and it goes on from here');

# with many jobs only the newest of each table is read
$pg->query("SELECT count(*) FROM generate_series(1, 100) i, LATERAL jobq.enqueue_many('other', (SELECT jsonb_agg('{}'::jsonb) FROM generate_series(i, i + 999)))");
my ($opool, $oq) = pool($pg, 'other');
for (1 .. 20) {
	my @l = claim($pg, $opool, $oq, 1000);
	finish_ok($pg, $opool, @l);
}
$pg->query("SELECT count(jobq.enqueue('other', delay => '1 hour')) FROM generate_series(1, 20000)");
$pg->query('ANALYZE');
$r = reader();
my @some = map { $pg->query("SELECT jobq.enqueue('other')") } 1 .. 5;
my @running = claim($pg, $pool, $q, 5);
my $log = "$pg->{dir}/postgres.log";
$looker->query("SET auto_explain.log_min_duration = 0");
my $from = -s $log;
@e = look($r);
$looker->query("SET auto_explain.log_min_duration = -1");
is scalar(grep { $_->{state} eq 'ready' } @e), 5, 'among 120,000 jobs the five new ones are told';
my $plans = substr slurp($log), $from;
my ($most, $line) = (0, '');
while ($plans =~ /^(.*(?:Scan|Filter).*rows=(\d+) loops=(\d+).*)$/gm) {
	($most, $line) = ($2 * $3, $1) if $2 * $3 > $most && $1 !~ /Function Scan/;
}
cmp_ok $most, '<', 200, "… and no step has read more than $most rows:$line";
unlike $plans, qr/Seq Scan on (?:turn|claim|attempt|job|timer|blocked)_?\w* /, '… by indexes alone';
my ($removed) = sort { $b <=> $a } 0, $plans =~ /Rows Removed by \w+(?: Recheck)?: (\d+)/g;
cmp_ok $removed, '<', 200, "… and none has thrown away more than $removed";

done_testing;
