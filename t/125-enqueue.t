# What enqueue takes and what it refuses: with a SQLSTATE, a hint, and nothing stored.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use JSON::PP ();
use Test::More;

my $pg = schema();
queues($pg, work => { max_payload => 1000 }, big => { large_first => JSON::PP::true(), priority => 49 },
    mail => { unique => 'data.message_id' }, once => { unique_until_ms => 60000 },
    start => { unique_until_ms => -2 });
sub put { my ($args) = @_; return $pg->query("SELECT jobq.enqueue($args)") }

sub refused {
	my ($args, $state, $text, $hint) = @_;
	my (undef, undef, $error) = $pg->try_query("\\set VERBOSITY verbose\nSELECT jobq.enqueue($args)");
	like $error, qr/ERROR:  $state: .*$text/, "refused: $args";
	like $error, qr/HINT:  .*$hint/, '… with a hint' if defined $hint;
}

refused(q{'nothing'}, '22023', 'no queue "nothing"', 'The queues are: big, mail, once, start, work');
refused(q{NULL}, '22023', 'no queue "NULL"', 'big');
refused(q{'work', data => NULL}, '22023', 'data is null, not an object', 'JSON object');
refused(qq{'work', data => '$_'}, '22023', 'not an object', 'JSON object') for '[]', '1', '"a"', 'null', 'true';
refused(q{'work', data => jsonb_build_object('x', repeat('x', 1000))}, '54000', 'has 10\d\d bytes, queue "work" takes 1000', 'reference');
refused(q{'work', data => '{"n": 1e131071}'}, '54000', 'has 1310\d\d bytes', 'reference');
refused(q{'work', data => '{"n": 1e131072}'}, '22003', '');
refused(q{'work', data => '{"n": "\u0000"}'}, '22P05', '');
refused(q{'work', data => '{"n": "\ud800"}'}, '22P02', '');
refused(q{'work', priority => 100}, '22023', 'priority 100 is not in 0 … 99', 'Lower runs first');
refused(q{'work', priority => -1}, '22023', 'priority -1');
refused(q{'work', run_at => now(), delay => '1 s'}, '22023', 'both given', 'one');
refused(q{'work', run_at => 'infinity'}, '22023', 'out of range', '9999');
refused(q{'work', max_attempts => 0}, '22023', 'max_attempts 0');
refused(q{'work', timeout => '0 s'}, '22023', 'not positive');
refused(q{'work', after => '{77}'}, '22023', 'no job 77', 'ids that enqueue');
refused(q{'work', after => '{NULL}'}, '22023', 'no job NULL');
refused(q{'work', unique_key => repeat('x', 1025)}, '54000', '1025 bytes', 'hash');
refused(q{'work', type => repeat('x', 300)}, '54000', 'too long', 'Limits');
for my $many ('{}', 'null', '[1]', '[{}, [], {}]', '["type"]', '[null]', '[{"typ": "x"}]', '[{"tags": "x"}]', '[{"data": 1}]', '[{}, {"priority": 200}]') {
	like +($pg->try_query("\\set VERBOSITY verbose\nSELECT jobq.enqueue_many('work', '$many')"))[2], qr/ERROR:  22023/, "refused: many $many";
}
is $pg->query('SELECT (SELECT count(*) FROM jobq.job) + (SELECT count(*) FROM jobq.turn) + (SELECT count(*) FROM jobq.timer) + (SELECT count(*) FROM jobq.uniq)'),
    0, 'nothing is stored (S1-55)';

# what is stored is what was given
my $id = put(q{'work', 'greet', '{"to":"Ünal \" \\\\ x"}', priority => 3, delay => '1 hour', tenant => 'acme', max_attempts => 7, timeout => '90 s', tags => '{a,"b c"}', key => 'k', unique_key => 'u'});
is $pg->query("SELECT concat_ws('|', state, queue, type, data, priority, tenant, max_attempts, tags, key, unique_key, attempt, run_at > now() + interval '59 min') FROM jobq.jobs WHERE id = $id"),
    'scheduled|work|greet|{"to": "Ünal \" \\\\ x"}|3|acme|7|{a,"b c"}|k|u|0|t', 'every argument arrives (S0-14, S1-58)';
is put(q{'work', run_at => now() - interval '1 day'}), $id + 1, 'a run_at of the past';
is state($pg, $id + 1), 'ready', '… is at once';
my @many = split /\n/, $pg->query(q{SELECT jobq.enqueue_many('work', '[{"type":"a","data":{"n":1}},{"priority":1,"tags":["x"],"delay":"1 hour"},{}]')});
is $pg->query("SELECT string_agg(type || state || priority, ' ' ORDER BY id) FROM jobq.jobs WHERE id IN (" . join(',', @many) . ')'), 'aready5 scheduled1 ready5', 'many at once (S1-58)';
# … and when all are plain, by one statement
my $plain = sub {
	my ($queue, $jobs) = @_;
	my $ids = join ',', split /\n/, $pg->query("SELECT jobq.enqueue_many('$queue', '$jobs')");
	return $pg->query("SELECT string_agg(concat_ws(',', type, priority, tenant, key, data), ' ' ORDER BY n) FROM unnest('{$ids}'::bigint[]) WITH ORDINALITY m(id, n) JOIN jobq.jobs USING (id)");
};
is $plain->('work', '[{"type":"a","data":{"n":1},"tenant":"t","key":"k"},{"type":"b","priority":1},{"data":{}},{"type":null,"priority":null}]'),
    'a,5,t,k,{"n": 1} b,1,{} ,5,{} ,5,{}', 'plain jobs together';
is $plain->('big', '[{"type":"a","priority":99},{"type":"b","priority":0},{"type":"c"}]'), 'a,99,{} b,0,{} c,50,{}', '… by the scale of their queue';
is $pg->query(q{SELECT count(*) FROM jobq.turn t JOIN jobq.jobs j ON j.id = t.job WHERE j.queue = 'big' AND t.lane <> 256 * (99 - j.priority)}), 0, '… in their lanes';
is $pg->query(q{SELECT count(*) FROM jobq.enqueue_many('work', '[]')}), 0, 'none at all';
my $jobs = $pg->query('SELECT count(*) FROM jobq.job');
for my $bad (['{"data":{"x":"' . 'x' x 1000 . '"}}', '54000'], ['{"type":"' . 'x' x 256 . '"}', '54000'], ['{"tenant":"' . 'x' x 256 . '"}', '54000'],
    ['{"priority":100}', '22023'], ['{"data":[]}', '22023'], ['{"data":null}', '22023']) {
	like +($pg->try_query("\\set VERBOSITY verbose\nSELECT jobq.enqueue_many('work', '[{}, $bad->[0]]')"))[2], qr/ERROR:  $bad->[1]/, 'refused among plain ones: ' . substr($bad->[0], 0, 30);
	my ($data) = $bad->[0] =~ /^\{"data":(.*)\}$/ or next;
	like +($pg->try_query("\\set VERBOSITY verbose\nSELECT jobq.enqueue('work', 'a', '$data')"))[2], qr/ERROR:  $bad->[1]/, '… and alone';
}
is $pg->query('SELECT count(*) FROM jobq.job'), $jobs, '… and nothing of it is stored';
$pg->query("SELECT jobq.delete(id) FROM jobq.jobs WHERE queue = 'big'");
put(q{'big', priority => 10}); put(q{'big', priority => 90}); put(q{'big'});
my ($pool, $q) = pool($pg, 'big');
is $pg->query("SELECT string_agg(j.priority::text, ' ' ORDER BY n) FROM jobq.claim($pool, $q\::smallint, 9) WITH ORDINALITY c(batch, id, attempt, charged, crashes, alone, type, data, priority, max_attempts, timeout_ms, tenant, has_unique, late_ms, key, start_ms, n) JOIN jobq.jobs j USING (id)"), '90 50 10', 'a scale on which the larger runs first';

is $pg->query("SELECT max_attempts || coalesce(timeout_ms::text, ' none') FROM jobq.job WHERE id = " . put(q{'work', max_attempts => 2, key => 'plain'})), '2 none', 'attempts are limited without a timeout';

# unique keys
is put(q{'work', unique_key => 'u', tenant => 'acme'}), $id, 'a key that is taken gives the id of the job that has it (S2-14)';
isnt put(q{'work', unique_key => 'u', tenant => 'other'}), $id, '… of its tenant only';
isnt put(q{'mail', unique_key => 'u', tenant => 'acme'}), $id, '… in its queue only';
my $mail = put(q{'mail', data => '{"message_id": "<1>"}'});
is put(q{'mail', data => '{"message_id": "<1>"}'}), $mail, 'the key that the queue takes from the data';
isnt put(q{'mail', data => '{}'}), put(q{'mail', data => '{}'}), '… or none';
($pool, $q) = pool($pg, 'mail');
finish_ok($pg, $pool, claim($pg, $pool, $q));
isnt put(q{'mail', data => '{"message_id": "<1>"}'}), $mail, 'until done: free after the end';
my $once = put(q{'once', unique_key => 'k'});
($pool, $q) = pool($pg, 'once');
finish_ok($pg, $pool, claim($pg, $pool, $q));
is put(q{'once', unique_key => 'k'}), $once, 'for a time: not free after the end (S2-14)';
$pg->query("UPDATE jobq.uniq SET until = now() - interval '1 s' WHERE key = 'k'");
isnt put(q{'once', unique_key => 'k'}), $once, '… but when the time is over';
my $start = put(q{'start', unique_key => 'k'});
is put(q{'start', unique_key => 'k'}), $start, 'until started: taken while it waits';
($pool, $q) = pool($pg, 'start');
claim($pg, $pool, $q);
isnt put(q{'start', unique_key => 'k'}), $start, '… and free when it is claimed';
is $pg->query("SELECT jobq.cancel($id)"), 't', 'a cancelled job';
isnt put(q{'work', unique_key => 'u'}), $id, '… frees its key';

# many sessions with one key
my @sessions = map { $pg->session } 1 .. 6;
$_->query('BEGIN') for @sessions[ 0, 1 ];
my $first = $sessions[0]->query(q{SELECT jobq.enqueue('work', unique_key => 'race')});
$_->send(q{SELECT jobq.enqueue('work', unique_key => 'race')}) for @sessions[ 1 .. 5 ];
$sessions[0]->query('COMMIT');
is_deeply [ map { $_->answer } @sessions[ 1 .. 5 ] ], [ ($first) x 5 ], 'sessions that race for a key get one job';
$sessions[1]->query('COMMIT');
$sessions[0]->query('BEGIN');
$first = $sessions[0]->query(q{SELECT jobq.enqueue('work', unique_key => 'gone')});
$_->send(q{SELECT jobq.enqueue('work', unique_key => 'gone')}) for @sessions[ 1 .. 5 ];
$sessions[0]->query('ROLLBACK');
my %won = map { $_->answer => 1 } @sessions[ 1 .. 5 ];
is scalar(keys %won), 1, '… also when the first rolls back';
ok !$won{$first}, '… and then another';
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE unique_key = 'gone'"), 1, '… there is one';

# waking sleepers
my $listener = $pg->session;
$listener->query('LISTEN jobq');
put(q{'work'});
unlike $listener->query('SELECT 1'), qr/notification/, 'no notification while nobody sleeps';
$pg->query("SELECT jobq.sleep(id) FROM jobq.queue WHERE name = 'work'");
put(q{'work'});
like $listener->query('SELECT 1'), qr/notification "jobq" with payload "work"/, '… but when a leader does';
$pg->query("SELECT jobq.pause('work')");
put(q{'work'});
unlike $listener->query('SELECT 1'), qr/payload "work"/, '… and the queue is not paused';
$pg->query("SELECT jobq.resume('work')");
like $listener->query('SELECT 1'), qr/notification "jobq" with payload "work".*notification "jobq" with payload "\*awake"/s,
    '… and when it is resumed, the schedulers too';
$pg->query("SELECT jobq.wake(id) FROM jobq.queue WHERE name = 'work'");
put(q{'work'});
unlike $listener->query('SELECT 1'), qr/notification/, '… until it wakes';
done_testing;
