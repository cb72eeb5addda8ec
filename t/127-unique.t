# Unique keys by SQL alone: how long a key is taken, what becomes of the job
# that has it, and what a transaction that commits late finds. S1-57, S4-44
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP ();
use Schema;
use Test::More;

my $pg = schema(jit => 'off');
my $db = $pg->session;
my (%pool, %q);
for my $until (['done', -1], ['started', -2], ['window', 600000]) {
	queues($pg, map { ("$until->[0]-$_" => { unique_until_ms => $until->[1], unique_conflict => $_ }) } qw(existing replace move));
	($pool{"$until->[0]-$_"}, $q{"$until->[0]-$_"}) = pool($pg, "$until->[0]-$_") for qw(existing replace move);
}
queues($pg, big => { large_first => JSON::PP::true(), unique_conflict => 'replace' });
sub q1 { return $db->query('SELECT ' . $_[0]) }
sub put { my ($queue, $args, $on) = @_; return ($on || $db)->query("SELECT jobq.enqueue('$queue', unique_key => 'k'" . ($args ? ", $args" : '') . ')') }
sub take { my ($queue, $on) = @_; return claim($on || $db, $pool{$queue}, $q{$queue}) }
sub done { my ($queue, @leases) = @_; return finish_ok($db, $pool{$queue}, @leases) }
sub live { return q1("count(*) FROM jobq.jobs WHERE queue = '$_[0]' AND state NOT IN ('completed', 'dead', 'cancelled')") }
sub tidy {
	for my $queue (keys %q) {
		done($queue, $_) for take($queue);
		$pg->query("SELECT jobq.cancel(id) FROM jobq.jobs WHERE queue = '$queue' AND state NOT IN ('completed', 'dead', 'cancelled')");
	}
	$pg->query('DELETE FROM jobq.uniq');
}

# how a key becomes free
for my $conflict (qw(existing replace move)) {
	my $queue = "done-$conflict";
	my %end = (
		completed => sub { done($queue, take($queue)) },
		dead => sub { finish_failed($db, $pool{$queue}, $_, 3) for take($queue) },
		expired => sub { finish_failed($db, $pool{$queue}, $_, 3, class => 6, error => 'expired') for take($queue) },
		cancelled => sub { q1("jobq.cancel($_[0])") },
		stopped => sub { my @l = take($queue); q1("jobq.cancel($_[0])"); finish_failed($db, $pool{$queue}, $_, 4) for @l },
		deleted => sub { q1("jobq.delete($_[0])") },
		cleared => sub { q1("jobq.clear('$queue')") },
	);
	for my $how (sort keys %end) {
		my $id = put($queue);
		is put($queue), $id, "$queue: taken (S2-14, S4-44)";
		$end{$how}->($id);
		my $next = put($queue);
		isnt $next, $id, "… until it is $how (S1-57)";
		q1("jobq.delete($next)");
	}
	my $id = put($queue);
	finish_failed($db, $pool{$queue}, $_, 2, delay => 3600000) for take($queue);
	is put($queue), $id, "$queue: taken while it waits for its next attempt";
	is state($db, $id), 'retrying', '… which stays where it is';
	is q1("count(*) FROM jobq.timer WHERE job = $id AND run_at > now() + '50 min'"), 1, '… and when';
	q1("jobq.cancel($id)");
	$id = put("started-$conflict");
	is put("started-$conflict"), $id, "started-$conflict: taken while it waits";
	my ($lease) = take("started-$conflict");
	my $next = put("started-$conflict");
	isnt $next, $id, '… and free when it is claimed';
	is put("started-$conflict"), $next, '… for one';
	done("started-$conflict", $lease);
	is put("started-$conflict"), $next, '… and the end of the first frees nothing';
	$id = put("window-$conflict");
	done("window-$conflict", take("window-$conflict"));
	is put("window-$conflict"), $id, "window-$conflict: taken after the end";
	is live("window-$conflict"), 0, '… nothing is enqueued';
	$pg->query("UPDATE jobq.uniq SET until = clock_timestamp() WHERE job = $id");
	isnt put("window-$conflict"), $id, '… and free when its time is over';
}
tidy();

# existing: nothing changes
my $id = put('done-existing', q{data => '{"n": 1}', delay => '1 hour'});
is put('done-existing', q{data => '{"n": 2}', delay => '2 hours', priority => 1}), $id, 'existing: the id';
is q1("data::text || ' ' || priority || ' ' || (run_at < now() + '90 min') FROM jobq.jobs WHERE id = $id"), '{"n": 1} 5 true', '… and all as it was';

# replace
my $all = q{'loud', data => '{"n": 2}', priority => 2, max_attempts => 7, timeout => '9 s', tags => '{a,b}', key => 'c'};
my $shown = q{concat_ws('|', state, type, data, priority, tenant, max_attempts, tags, key, attempt)};
sub replace { my ($queue, $more) = @_; return q1("jobq.enqueue('$queue', $all, unique_key => 'k'" . ($more // '') . ')') }
$id = put('done-replace', q{data => '{"n": 1}', delay => '1 hour'});
is replace('done-replace', ", delay => '2 hours'"), $id, 'replace: the same id';
is q1("$shown FROM jobq.jobs WHERE id = $id"), 'scheduled|loud|{"n": 2}|2|7|{a,b}|c|0', '… of a job that is as the new one';
is q1("run_at > now() + '110 min' FROM jobq.jobs WHERE id = $id"), 't', '… also its time';
is q1("timeout_ms FROM jobq.job WHERE id = $id"), 9000, '… and its time-out';
is_deeply [ take('done-replace') ], [], '… which is not now';
put('done-replace', q{data => '{"n": 3}'});
is q1("$shown FROM jobq.jobs WHERE id = $id"), 'ready|{"n": 3}|5|3|0' =~ s/ready\|/ready||/r, 'without a delay it is ready';
put('done-replace', q{data => '{"n": 4}'});
is q1('count(*) FROM jobq.turn WHERE job = ' . $id), 1, 'ready: the turn it has is as good';
my $other = q1("jobq.enqueue('done-replace', 'other', priority => 3)");
put('done-replace', q{data => '{"n": 5}', priority => 1});
is_deeply [ q1("string_agg(id || ':' || attempt || data, ' ') FROM jobq.claim($pool{'done-replace'}, $q{'done-replace'}::smallint, 1)") ],
    [ qq($id:1{"n": 5}) ], '… but not with another priority: now it is before another, once, as attempt 1';
is put('done-replace', q{data => '{"n": 6}'}), $id, 'running: as existing';
is q1("data FROM jobq.jobs WHERE id = $id"), '{"n": 5}', '… with the data it runs with';
is_deeply [ done('done-replace', "$id:1") ], ["$id:1"], '… and its end is accepted';
is_deeply [ take('done-replace') ], ["$other:1"], '… nothing of it is left';
$id = put('done-replace', q{data => '{"n": 1}'});
put('done-replace', q{data => '{"n": 2}', delay => '1 hour'});
is q1("state || attempt || data::text FROM jobq.jobs WHERE id = $id"), 'scheduled0{"n": 2}', 'ready, and then later';
is_deeply [ take('done-replace') ], [], '… is not now';
is q1("ready || ' ' || scheduled || ' ' || retrying FROM jobq.queues WHERE name = 'done-replace'"), '0 1 0', '… and counted so';
q1("jobq.cancel($id)");
my $parent = q1("jobq.enqueue('done-existing', delay => '1 hour')");
$id = put('done-replace', qq{after => '{$parent}', data => '{"n": 1}'});
put('done-replace', q{data => '{"n": 2}', priority => 7});
is q1("state || data::text || priority FROM jobq.jobs WHERE id = $id"), 'blocked{"n": 2}7', 'blocked: waits as before';
$pg->query("UPDATE jobq.timer SET run_at = now() WHERE job = $parent; SELECT jobq.due(9)");
done('done-existing', grep { /^$parent:/ } take('done-existing'));
is q1("state || data::text FROM jobq.jobs WHERE id = $id"), 'ready{"n": 2}', '… and then is ready';
is_deeply [ take('done-replace') ], ["$id:1"], '… once';
done('done-replace', "$id:1");
$id = put('done-replace', q{data => '{"n": 1}'});
take('done-replace');
q1("jobq.release($pool{'done-replace'}, '{$id}', '{1}')");
put('done-replace', q{data => '{"n": 2}', priority => 9});
is q1("state || data::text || priority FROM jobq.jobs WHERE id = $id"), 'ready{"n": 2}9', 'handed back: has not begun';
is_deeply [ take('done-replace') ], ["$id:1"], '… and is there once';
done('done-replace', "$id:1");
put('big', q{priority => 10});
put('big', q{priority => 90});
is q1("priority FROM jobq.jobs WHERE queue = 'big'"), 90, 'on a scale that runs the other way';
is q1(q{count(*) || ' ' || count(DISTINCT e) FROM jobq.enqueue_many('done-replace', '[{"unique_key":"m","data":{"n":1}},{"unique_key":"m","data":{"n":2}},{"unique_key":"m","data":{"n":3}}]') e}),
    '3 1', 'many at once: the id of one';
is q1("count(*) || max(data::text) FROM jobq.jobs WHERE unique_key = 'm'"), '1{"n": 3}', '… which is as the last';
tidy();

# move
$id = put('done-move', q{data => '{"n": 1}', delay => '1 hour', priority => 2});
is put('done-move', q{data => '{"n": 2}', delay => '3 hours', priority => 7}), $id, 'move: the same id';
is q1("state || data::text || priority || ' ' || (run_at > now() + '2 hours') FROM jobq.jobs WHERE id = $id"), 'scheduled{"n": 1}2 true', '… later, and else as it was';
my $listener = $pg->session;
$listener->query('LISTEN jobq');
put('done-move', q{delay => '30 min'});
like $listener->query('SELECT 1'), qr/\*due/, 'sooner: the scheduler is told';
put('done-move');
is state($db, $id), 'ready', 'without a delay it is ready';
put('done-move');
is q1("count(*) FROM jobq.turn WHERE job = $id"), 1, '… and stays so';
put('done-move', q{delay => '1 hour'});
is state($db, $id) . take('done-move'), 'scheduled0', 'and back';
put('done-move');
is_deeply [ take('done-move') ], ["$id:1"], '… it is claimed once, as attempt 1';
put('done-move', q{delay => '1 hour'});
is state($db, $id), 'running', 'running: as existing';
tidy();

# a transaction that commits late
my $late = $pg->session;
for my $queue ('done-replace', 'done-move', 'started-replace', 'started-move', 'started-existing') {
	my ($until, $conflict) = split /-/, $queue;
	# … while the job waits: claims go on, and nothing waits for the transaction
	my $id = put($queue, q{data => '{"n": 1}'});
	my $beside = q1("jobq.enqueue('$queue', 'beside', priority => 1)");
	$late->query('BEGIN');
	is put($queue, q{data => '{"n": 2}', priority => 3}, $late), $id, "$queue: a transaction that stays open gets the id";
	is q1("data FROM jobq.jobs WHERE id = $id"), '{"n": 1}', '… and changes nothing yet';
	is q1("id FROM jobq.claim($pool{$queue}, $q{$queue}::smallint, 1)"), $beside, '… nor holds up claims';
	$late->query('COMMIT');
	is q1("count(*) || min(data->>'n') FROM jobq.jobs WHERE unique_key = 'k' AND queue = '$queue' AND state = 'ready'"),
	    $conflict eq 'replace' ? '12' : '11', '… but when it commits';
	# … after the job was claimed
	$late->query('BEGIN');
	put($queue, q{data => '{"n": 3}'}, $late);
	is_deeply [ take($queue) ], ["$id:1"], 'it is claimed before the commit';
	$late->query('COMMIT');
	my $new = q1("string_agg(id || data::text, ' ') FROM jobq.jobs WHERE queue = '$queue' AND state = 'ready'");
	if ($until eq 'done') {
		is $new, '', '… so it is as existing';
	} else {
		like $new, qr/^\d+\{"n": 3\}$/, '… so there is another, and no data is lost';
		unlike $new, qr/^$id\{/, '… by another id';
	}
	done($queue, "$id:1", "$beside:1", take($queue));
	# … after the job has ended
	$id = put($queue, q{data => '{"n": 1}'});
	$late->query('BEGIN');
	put($queue, q{data => '{"n": 4}'}, $late);
	done($queue, take($queue));
	$late->query('COMMIT');
	is q1("string_agg(data::text, ' ') FROM jobq.jobs WHERE queue = '$queue' AND state = 'ready'"), '{"n": 4}', '… and when it has ended';
	done($queue, take($queue));
	# … or never
	$id = put($queue, q{data => '{"n": 1}'});
	$late->query('BEGIN');
	put($queue, q{data => '{"n": 5}', priority => 1}, $late);
	$late->query('ROLLBACK');
	is q1("string_agg(id || data::text, ' ') FROM jobq.jobs WHERE queue = '$queue' AND state = 'ready'"), qq($id\{"n": 1}), 'a rollback changes nothing';
	$late->query('BEGIN; SAVEPOINT a');
	put($queue, q{data => '{"n": 6}'}, $late);
	$late->query('ROLLBACK TO a; COMMIT');
	is q1("string_agg(id || data::text, ' ') FROM jobq.jobs WHERE queue = '$queue' AND state = 'ready'"), qq($id\{"n": 1}), '… nor of a part';
	done($queue, take($queue));
}
tidy();
$id = put('done-existing');
$late->query('BEGIN');
put('done-existing', undef, $late);
done('done-existing', take('done-existing'));
$late->query('COMMIT');
is live('done-existing'), 0, 'until done, existing: what was there counts';
$id = put('started-move', q{delay => '1 hour'});
$late->query('BEGIN');
put('started-move', q{delay => '2 hours'}, $late);
q1("jobq.cancel($id)");
$late->query('COMMIT');
is q1("count(*) FROM jobq.jobs WHERE queue = 'started-move' AND state = 'scheduled' AND id > $id AND run_at > now() + '90 min'"), 1, 'cancelled meanwhile: another, for its time';
tidy();

# a key that was waited for
queues($pg, brief => { unique_until_ms => 2000 });
$late->query(q{BEGIN; SELECT jobq.enqueue('brief', unique_key => 'k')});
$db->send(q{SELECT jobq.enqueue('brief', unique_key => 'k')});
wait_for { $pg->query("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND clock_timestamp() > query_start + interval '2.1 s'") == 1 } 'a session that waits';
$late->query('ROLLBACK');
$id = $db->answer;
is put('brief'), $id, 'a time begins when the key is had, however long that was waited for';

# prepared transactions, and other isolation levels
$id = put('done-replace', q{data => '{"n": 1}'});
$late->query(q{BEGIN; SELECT jobq.enqueue('done-replace', data => '{"n": 2}', unique_key => 'k'); PREPARE TRANSACTION 'p'});
is q1("data FROM jobq.jobs WHERE id = $id"), '{"n": 1}', 'prepared: not yet';
$pg->query("COMMIT PREPARED 'p'");
is q1("data FROM jobq.jobs WHERE id = $id"), '{"n": 2}', '… and committed';
like +($pg->try_query("\\set VERBOSITY verbose\nBEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT jobq.enqueue('done-replace', unique_key => 'k');\nCOMMIT"))[2],
    qr/25001: to replace job $id, .*HINT:  Enqueue in such a transaction/s, 'REPEATABLE READ cannot replace, and is told so';
$id = put('started-existing');
is $pg->query("BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT jobq.enqueue('started-existing', unique_key => 'k');\nCOMMIT"), $id, '… but find what exists';
is q1('count(*) FROM jobq.change'), 0, 'nothing is left of the changes';

# beside maintenance: turns are copied while they are taken back
tidy();
$pg->query("SELECT count(jobq.enqueue('done-move', unique_key => 'm' || n)) FROM generate_series(1, 3000) n");
my $mover = $pg->session;
$mover->send("DO \$\$ BEGIN FOR n IN 1 .. 3000 LOOP PERFORM jobq.enqueue('done-move', unique_key => 'm' || n, delay => '1 hour'); COMMIT; END LOOP; END \$\$");
my $emptied = 0;
wait_for {
	$emptied += grep { /emptied turn slot/ } split /\n/, $pg->query('SELECT jobq.maintain()');
	q1("count(*) FROM jobq.timer") == 3000;
} 'all to be moved';
is $mover->answer, '', 'turns are taken back while slots are emptied';
$emptied += grep { /emptied turn slot/ } maintain_until { q1("count(*) FROM jobq.open_turns($q{'done-move'}::smallint)") == 0 } $pg;
is_deeply [ take('done-move') ], [], "… and none is left ($emptied slots)";
done_testing;
