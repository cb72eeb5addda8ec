# The dead-letter desk, by SQL: groups by reason, review, retry of one and of
# many, at a rate, with other data, delete; and what the audit says of it.
# S0-47, S0-48, S2-31, S2-59, S3-31.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Schema;
use Test::More;

my $pg = schema();
queues($pg, work => {}, other => {}, keyed => { unique => 'data.id', key => 'data.account', max_payload => 60 });
my %pool = map { $_ => [ pool($pg, $_) ] } qw(work other keyed);
my $json = JSON::PP->new->canonical;
sub q1 { return $pg->query('SELECT ' . $_[0]) }
sub ids { return q1("coalesce(string_agg(job_id::text, ',' ORDER BY job_id), '') FROM jobq.dead_letters" . ($_[0] ? " WHERE $_[0]" : '')) }
sub fails { return ($pg->try_query("\\set VERBOSITY verbose\nSELECT $_[0]"))[2] }

# Jobs that die: of a queue, with arguments of enqueue, of an error.
sub dead {
	my ($queue, $arguments, $error, %o) = @_;
	my $id = q1("jobq.enqueue('$queue'" . ($arguments ? ", $arguments" : '') . ')');
	my ($lease) = grep { /^$id:/ } claim($pg, @{ $pool{$queue} });
	finish_failed($pg, $pool{$queue}[0], $lease, 3, error => $error, %o);
	return $id;
}
sub audit { return q1("coalesce(string_agg(actor || ' ' || action || ' ' || target, '; ' ORDER BY at), '') FROM jobq.audit WHERE target = 'job $_[0]'") }

# groups
my @timeouts = map { dead('work', "'mail', tenant => 't$_'", "no answer of 10.0.0.$_ in $_ ms", class => 5) } 1 .. 3;
my $refused = dead('work', "'mail'", 'user "x" is unknown', class => 2);
my $elsewhere = dead('other', "'mail'", 'no answer of 10.0.0.9 in 9 ms', class => 5);
my $groups = 'concat_ws(\'|\', queue, type, error_class, error, count, reviewed, last_job_id, first_died_at <= last_died_at)';
is q1("string_agg($groups, E'\\n' ORDER BY last_job_id) FROM jobq.dead_groups"), join("\n",
    "work|mail|network|no answer of 10.0.0.3 in 3 ms|3|0|$timeouts[2]|t", "work|mail|validation|user \"x\" is unknown|1|0|$refused|t",
    "other|mail|network|no answer of 10.0.0.9 in 9 ms|1|0|$elsewhere|t"), 'dead letters by reason: a group for each queue, type, class and kind of error (S2-58, S3-59)';
my $print = q1("fingerprint FROM jobq.dead_groups WHERE last_job_id = $timeouts[2]");
is ids("queue = 'work' AND fingerprint = '$print'"), join(',', @timeouts), 'the fingerprint finds the letters of a group';

# review
is q1("jobq.review($timeouts[0], 'ann', 'known')"), 't', 'review of one (S2-31)';
is q1("jobq.review(999, 'ann')"), 'f', '… of none';
is q1("jobq.review_dead(array(SELECT job_id FROM jobq.dead_letters WHERE fingerprint = '$print'), 'bob', 'all of them')"), 4, 'review of all of a kind';
# S2-5: dead letters are for somebody to look at.
is q1("string_agg(DISTINCT reviewed_by || ': ' || notes, ',') FROM jobq.dead_letters WHERE reviewed_at IS NOT NULL"), 'bob: all of them', '… who and what';
is q1("string_agg(count || '/' || reviewed, ' ' ORDER BY last_job_id) FROM jobq.dead_groups"), '3/3 1/0 1/1', '… counted in the groups';
is q1("jobq.review($refused, NULL)"), 't', 'nobody named';
is q1("reviewed_by FROM jobq.dead_letters WHERE job_id = $refused"), 'jobq', '… is who acts';
is_deeply [ map { $json->decode($_) } split /\n/, q1("jsonb_build_object('old', before, 'new', after) FROM jobq.audit WHERE target = 'job $timeouts[0]' ORDER BY at") ],
    [ { old => undef, new => { reviewed_by => 'ann', notes => 'known' } },
      { old => { reviewed_by => 'ann', notes => 'known' }, new => { reviewed_by => 'bob', notes => 'all of them' } } ], 'the audit has what it was and is';
like fails("jobq.review($refused, repeat('x', 300))"), qr/54000/, 'what is too long is refused';

# retry of many
my $completed = q1("jobq.enqueue('work')");
finish_ok($pg, $pool{work}[0], claim($pg, @{ $pool{work} }));
is q1("string_agg(job_id || coalesce(refused, ''), ',') FROM jobq.retry_dead(array(SELECT job_id FROM jobq.dead_letters WHERE tenant IN ('t1', 't2')) || '{$completed, 4711, NULL}'::bigint[])"),
    join(',', @timeouts[ 0, 1 ]), 'retry of many: only the dead ones among the ids';
is_deeply [ claim($pg, @{ $pool{work} }) ], [ map { "$_:2" } @timeouts[ 0, 1 ] ], '… run again, in the order of their ids';
# S0-48, S3-31
is q1("string_agg(charged::text, '') FROM unnest('{$timeouts[0],$timeouts[1]}'::bigint[]) j, jobq.charges(j)"), '00', '… with the policy\'s attempts anew';
is state($pg, $timeouts[2]), 'dead', '… the others stay';
is audit($timeouts[0]), "jobq review job $timeouts[0]; jobq review job $timeouts[0]; jobq retry job $timeouts[0]", 'the audit has each';
is q1("count(*) FROM jobq.retry_dead('{$timeouts[0]}')"), 0, 'one that is not dead any more is passed over';
finish_failed($pg, $pool{work}[0], "$_:2", 3, error => 'again', class => 5) for @timeouts[ 0, 1 ];
is q1("string_agg(attempts || ' ' || coalesce(reviewed_by, 'nobody'), ',') FROM jobq.dead_letters WHERE job_id = $timeouts[0]"), '2 nobody', 'dead again: unseen again';

# two at once, in opposite orders, do not wait for each other for ever
{
	my @s = map { $pg->session } 1, 2;
	my @list = map { dead('work', '', 'x') } 1 .. 12;
	my @orders = (join(',', @list), join(',', reverse @list));
	$s[$_]->send("SELECT count(*) FROM jobq.retry_dead('{$orders[$_]}')") for 0, 1;
	my ($one, $two) = map { $_->answer } @s;
	is join('+', sort { $a <=> $b } $one, $two), '0+12', 'two who retry the same: each is retried once';
	is scalar(claim($pg, @{ $pool{work} })), 12, '… has one turn';
	finish_failed($pg, $pool{work}[0], "$_:2", 3) for @list;
	q1("jobq.delete_dead('{$orders[0]}')");
}

# at a rate
my @many = map { dead('work', '', 'slow') } 1 .. 5;
my $list = join ',', @many;
is q1("count(*) FROM jobq.retry_dead('{$list}', rate => 2, run_at => now() + interval '1 hour')"), 5, 'retry at a rate (S2-59)';
is q1("string_agg(state || round(extract(epoch FROM run_at - (SELECT min(run_at) FROM jobq.jobs WHERE id = $many[0]))::numeric, 1), ' ' ORDER BY id) FROM jobq.jobs WHERE id IN ($list)"),
    'retrying0.0 retrying0.5 retrying1.0 retrying1.5 retrying2.0', '… each has its own time, from the start on';
is ids("job_id IN ($list)"), '', '… and none is a dead letter any more';
is_deeply [ claim($pg, @{ $pool{work} }) ], [], '… none runs before its time';
like q1("detail FROM jobq.audit WHERE target = 'job $many[4]'"), qr/^due \d{4}-/, '… which the audit has, too';
is q1("jobq.retry($many[0])"), 't', 'one of them now';
is_deeply [ claim($pg, @{ $pool{work} }) ], ["$many[0]:2"], '… runs now';
is q1("jobq.cancel($many[1])"), 't', 'one of them cancelled';
is q1("count(*) FROM jobq.timer WHERE job IN ($list)"), 3, '… waits no more';
like fails("jobq.retry_dead('{1}', rate => $_)"), qr/22023/, "no rate: $_" for qw(0 -1 2000000 'NaN');
my $soon = dead('work', '', 'soon');
q1("jobq.retry_dead('{$soon}', rate => 1000)");
wait_for { q1('moved FROM jobq.due(10)'); grep { $_ eq "$soon:2" } claim($pg, @{ $pool{work} }) } 'the first one, at once';
pass 'the first of them runs at once';

# with other data
my $bad = dead('keyed', "data => '{\"id\": 1, \"account\": \"a\", \"to\": \"nobody\"}'", 'no such user', class => 2);
is q1("jobq.retry($bad, '{\"id\": 2, \"account\": \"b\", \"to\": \"ann\"}')"), 't', 'retry with other data';
is q1("data ->> 'to' || unique_key || key FROM jobq.jobs WHERE id = $bad"), 'ann2b', '… which it has now, and the keys that come of it';
is q1("data FROM jobq.claim($pool{keyed}[0], $pool{keyed}[1]::smallint, 1)"), '{"id": 2, "to": "ann", "account": "b"}', '… and its handler gets';
is_deeply $json->decode(q1("jsonb_build_object('old', before -> 'data', 'new', after -> 'data') FROM jobq.audit WHERE target = 'job $bad' AND action = 'edit'")),
    { old => { id => 1, account => 'a', to => 'nobody' }, new => { id => 2, account => 'b', to => 'ann' } }, 'the audit has the old and the new';
is q1("jobq.enqueue('keyed', data => '{\"id\": 2}')"), $bad, 'it holds its new key';
my $one = q1("jobq.enqueue('keyed', data => '{\"id\": 1}')");
isnt $one, $bad, '… and no longer the old one';
claim($pg, @{ $pool{keyed} });
finish_failed($pg, $pool{keyed}[0], "$bad:2", 3);
my $before = q1("count(*) FROM jobq.audit");
like fails("jobq.retry($bad, $_->[0])"), $_->[1], "refused: $_->[2]" for
    [ "'[1]'", qr/22023.*data is array/s, 'no object' ], [ "'null'", qr/22023/, 'JSON\'s null' ],
    [ "jsonb_build_object('to', repeat('x', 60))", qr/54000/, 'too large' ],
    [ "'{\"id\": 1}'", qr/23505.*that of job $one/s, 'a unique key that is taken' ];
is q1("data ->> 'to' FROM jobq.jobs WHERE id = $bad") . q1("count(*) FROM jobq.audit"), "ann$before", '… and nothing has changed';
q1("jobq.enqueue('keyed', data => '{\"id\": 2}', delay => '1 h')");
is q1("count(*) || min(refused) FROM jobq.retry_dead('{$bad,$soon}')") =~ /^1its unique key is now that of job \d+$/ ? 1 : 0, 1, 'one that cannot stays, and why';
is state($pg, $bad), 'dead', '… dead';
my $retrying = q1("jobq.enqueue('work', 'mail', '{\"to\": \"x\"}')");
finish_failed($pg, $pool{work}[0], $_, 2, delay => 3600000) for claim($pg, @{ $pool{work} });
is q1("jobq.retry($retrying, '{\"to\": \"y\"}')"), 't', 'one that waits for its next attempt';
is q1("id || data FROM jobq.claim($pool{work}[0], $pool{work}[1]::smallint, 1)"), $retrying . '{"to": "y"}', '… has other data, too';
is audit($retrying), "jobq edit job $retrying; jobq retry job $retrying", '… and is in the audit';
is q1("jobq.retry($retrying, '{\"to\": \"z\"}')"), 'f', 'one that runs has not';
is q1("data ->> 'to' FROM jobq.jobs WHERE id = $retrying"), 'y', '… its data stays';

# delete
my @gone = map { dead('work', "'mail'", 'x') } 1 .. 3;
is q1('jobq.delete_dead(\'{' . join(',', @gone[ 0, 1 ], $retrying, 4711) . '}\')'), 2, 'delete of many: only the dead ones';
is q1("count(*) FROM jobq.jobs WHERE id IN ($gone[0], $gone[1], $retrying)"), 1, '… are gone';
is q1("detail FROM jobq.audit WHERE target = 'job $gone[0]'"), 'queue work, type mail, dead', 'the audit says what it was';
is state($pg, $gone[2]), 'dead', '… the other is there';

# the numbers agree
is q1('sum(count) FROM jobq.dead_groups'), q1('sum(dead) FROM jobq.queues'), 'as many in groups as in the queues';
# who may
$pg->query(slurp(source_directory() . '/src/db/sql/95-roles.sql'));
$pg->query("CREATE ROLE clerk LOGIN IN ROLE jobq_admin; CREATE ROLE looker LOGIN IN ROLE jobq_reader");
sub as { my ($role, $sql) = @_; return (run_program([ 'psql', '-XAtq', '-c', $sql, $pg->url =~ s/user=jobq/user=$role/r ]))[ 1, 2 ] }
for my $call ("jobq.review_dead('{$gone[2]}', 'clerk')", "jobq.retry_dead('{$gone[2]}')", "jobq.delete_dead('{1}')") {
	is +(as('clerk', "SELECT count(*) FROM (SELECT $call) x"))[1], '', "an administrator may: $call";
	like +(as('looker', "SELECT $call"))[1], qr/permission denied/, '… a reader may not';
}
is q1("string_agg(actor || ' ' || action, ', ' ORDER BY at) FROM jobq.audit WHERE target = 'job $gone[2]'"), 'clerk review, clerk retry', 'the audit names who acted';
like +(as('looker', 'SELECT count(*) FROM jobq.dead_groups'))[0], qr/^\d+$/, 'a reader may look at the groups';
done_testing;
