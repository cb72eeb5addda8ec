# jobqctl queue pause, resume, drain, clear, clean, remove, and two nodes on one
# database that obey them. S2-27 … S2-29, S3-28, S3-32, S3-58, S4-26, S4-43
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new(settings => { jit => 'off' });
my $yaml = "handlers: {null: {driver: noop}}\nqueues: {work: {handler: null, retry: {attempts: 1}}, other: {handler: null}}\n";
my @nodes = map { Jobqd::Daemon->new(pg => $pg, name => $_, config => $yaml)->start } qw(one two);
my $d = $nodes[0];
my $ok = sub {
	my ($status, $out, $err) = $d->ctl(@_);
	is $status, 0, "@_" or diag $err;
	return $out;
};
my $json = sub { decode_json($ok->('--json', @_)) };
my $refused = sub {
	my ($status, $text, @words) = @_;
	my @got = $d->ctl(@words);
	is $got[0], $status, "@words: exit $status";
	like $got[2], $text, '… and says why';
};
sub count { my ($state, $queue) = @_; return $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = '$state' AND queue = '" . ($queue // 'work') . "'") }
sub idle { return $pg->query("SELECT count(*) FROM jobq.lease") == 0 }
sub enqueue { my ($n, $args) = @_; $pg->query("SELECT count(jobq.enqueue('work'" . ($args ? ", $args" : '') . ")) FROM generate_series(1, $n)") }

# both nodes work, and neither when one is told to pause
enqueue(200, q{data => '{"sleep_ms": 5}'});
wait_for { count('completed') == 200 } 'the jobs';
is $pg->query('SELECT count(DISTINCT node) FROM jobq.attempts'), 2, 'two nodes serve the queue (S1-41, S1-74)';
enqueue(500, q{data => '{"sleep_ms": 20}'});
$pg->query("SELECT jobq.pause('work', 'for the test')");
# what had been claimed by then, or was just being claimed, runs to its end;
# nothing is claimed from then on
wait_for { idle() } 'what runs to end';
my $claimed = "SELECT max(batch) FROM jobq.claim c JOIN jobq.queue q ON q.id = c.queue WHERE q.name = 'work' AND cardinality(c.jobs) > 0";
my $claims = $pg->query($claimed);
my $left = count('ready');
cmp_ok $left, '>', 0, "paused in the midst: $left of 500 wait";
enqueue(1);
my $from = time;
wait_for { time - $from > 1.2 || $pg->query($claimed) > $claims } 'a moment';
is count('ready'), $left + 1, '… on both nodes, and what comes waits as well';
is $pg->query($claimed), $claims, '… nothing was claimed after the pause (S2-27, S3-28, S3-58)';
is $_->stop, 0, "$_->{name} stops" for @nodes;
$_->start for @nodes;
is count('ready'), $left + 1, 'it outlives the restart of both';
$ok->('enqueue', 'other');
wait_for { count('completed', 'other') == 1 } 'another queue goes on';
$pg->stop;
$pg->start;
wait_for { $pg->query("SELECT count(*) FROM jobq.nodes WHERE alive") == 2 } 'the nodes to be back';
$ok->('enqueue', 'other');
wait_for { count('completed', 'other') == 2 } 'work of another queue';
is count('ready'), $left + 1, '… and that of the database';
my $shown = $json->('queue', 'show', 'work');
is_deeply [ @$shown{qw(paused pause_reason holds)}, scalar @{ $shown->{held} } ], [ JSON::PP::true(), 'for the test', 0, 1 ], 'queue show --json';
$from = time;
is $ok->('queue', 'resume', 'work'), "queue work: resumed\n", 'resume';
$ok->('queue', 'drain', 'work');
is count('completed'), 701, sprintf 'all run, in %.1f s', time - $from;

# a pause with an end
is $ok->('queue', 'pause', 'work', '--for', '1500ms', '--reason', 'short'), "queue work: paused\n", 'pause --for';
my ($until) = $pg->query("SELECT extract(epoch FROM paused_until) FROM jobq.queue WHERE name = 'work'");
my $waiting = $json->('enqueue', 'work')->{id};
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $waiting") eq 'completed' } 'it to end';
my $late = $pg->query("SELECT round(extract(epoch FROM started_at) - $until, 3) FROM jobq.jobs WHERE id = $waiting");
cmp_ok $late, '>', -0.1, "a job that waited starts when it has ended, after $late s";
is $pg->query("SELECT paused OR paused_until IS NOT NULL FROM jobq.queues WHERE name = 'work'"), 'f', '… which is over';
is $pg->query("SELECT action FROM jobq.audit WHERE target = 'queue work' ORDER BY at DESC LIMIT 1"), 'resume', '… and in the audit';

# how it is said
is $ok->('queue', 'pause', 'work', '--type', 'mail', '--tenant', 'a"b', '--until', '2999-01-01T00:00:00Z', '--reason', 'why'), qq(queue work, type mail, tenant a"b: paused\n), 'a type and tenant';
is_deeply $json->('queue', 'pause', 'work', '--tenant', 'a"b'), { name => 'work', tenant => 'a"b', paused => JSON::PP::true() }, '… as JSON';
is $ok->('queue', 'pause', '--all', '--tenant', 'acme'), "all queues, tenant acme: paused\n", 'of all queues';
my $list = $json->('queue', 'list');
is_deeply { map { $_->{name} => $_->{holds} } @$list }, { work => 3, other => 1 }, 'queue list --json';
like $ok->('queue', 'list'), qr/^other +partly paused .*^work +partly paused /ms, 'queue list';
like $ok->('status'), qr/^other .* partly paused$/m, '… and status';
my $show = $ok->('queue', 'show', 'work');
like $show, qr/^state +partly paused\n.*^paused +type +tenant +by +at +until +reason\n/ms, 'queue show';
like $show, qr/^of the queue +mail +a"b +\S+ +\S+Z +2999-01-01T00:00:00.000Z +why$/m, '… with what, until when and why';
like $show, qr/^all queues +acme /m, '… also of all queues';
is_deeply [ map { [ @$_{qw(queue type tenant)} ] } sort { ($a->{queue} // '') cmp ($b->{queue} // '') } @{ $json->('queue', 'show', 'other')->{held} } ], [ [ undef, undef, 'acme' ] ], '… and of another';
my $held = $json->('enqueue', 'other', '--in', '1h')->{id};
$ok->('queue', 'drain', 'other');
for ([ 'work', '--type', 'mail', '--tenant', 'a"b' ], [ 'work', '--tenant', 'a"b' ], [ '--all', '--tenant', 'acme' ]) {
	$ok->('queue', 'resume', @$_);
}
is $pg->query('SELECT count(*) FROM jobq.holds'), 0, 'all is resumed';
is $ok->('queue', 'pause', '--all'), "all queues: paused\n", 'everything';
is $pg->query('SELECT bool_and(paused) FROM jobq.queues'), 't', '… is paused';
$waiting = $json->('enqueue', 'work')->{id};
$refused->(1, qr/queue work is paused.*queue resume work/, 'queue', 'drain', 'work');
$ok->('queue', 'resume', '--all');
$ok->('queue', 'drain', 'work');
is $pg->query("SELECT state FROM jobq.jobs WHERE id = $waiting"), 'completed', '… and resumed';
$refused->(2, qr/NAME of a queue, or --all/, 'queue', $_) for qw(pause resume);
$refused->(2, qr/NAME of a queue, or --all/, 'queue', 'pause', 'work', '--all');
$refused->(2, qr/not both/, 'queue', 'pause', 'work', '--for', '1h', '--until', '2999-01-01');
$refused->(2, qr/"soon" is no duration/, 'queue', 'pause', 'work', '--for', 'soon');
$refused->(1, qr/has passed/, 'queue', 'pause', 'work', '--until', '2001-01-01');
$refused->(1, qr/soon/, 'queue', 'pause', 'work', '--until', 'soon');
$refused->(3, qr/did you mean work/, 'queue', $_, 'wrok') for qw(pause resume);
is $pg->query('SELECT count(*) FROM jobq.holds'), 0, 'none of these paused anything';

# clear
$ok->('queue', 'pause', 'work');
enqueue(2300, q{type => 'many', delay => CASE WHEN generate_series % 10 = 0 THEN interval '1 h' END});
enqueue(3, q{type => 'few', tenant => 'acme'});
my @cleared = run_program([ jobqctl_program(), '-c', $d->{conf}, qw(queue clear work) ], in => "n\n");
is $cleared[0], 1, 'clear, answered no (S2-29)';
like $cleared[2], qr/^cancel 2303 waiting jobs of queue work\? \[y\/N\] .*nothing was done/s, '… asks';
is count('cancelled'), 0, '… and does nothing';
$refused->(1, qr/nothing was done/, 'queue', 'clear', 'work');
@cleared = run_program([ jobqctl_program(), '-c', $d->{conf}, qw(queue clear work --type few) ], in => "y\n");
is "@cleared[0, 1]", "0 queue work: 3 jobs cancelled\n", 'clear of a type, answered yes';
is $ok->('queue', 'clear', 'work', '--state', 'scheduled', '--yes'), "queue work: 230 jobs cancelled\n", '… of a state';
is_deeply $json->('queue', 'clear', 'work', '--yes'), { name => 'work', cancelled => 2070 }, '… of all';
is count('cancelled'), 2303, 'they are cancelled';
is $ok->('queue', 'clear', 'work'), "queue work: 0 jobs cancelled\n", 'nothing is left, nothing is asked';
is $pg->query("SELECT count(*) || ' ' || sum(split_part(detail, ' ', 1)::int) FROM jobq.audit WHERE action = 'clear'"), '5 2303', 'in transactions of a thousand, each in the audit';
$refused->(3, qr/did you mean work/, qw(queue clear wrok --yes));
$refused->(1, qr/running do not wait/, qw(queue clear work --state running --yes));
$ok->('queue', 'resume', 'work');
$ok->('queue', 'drain', 'work');
is $pg->query("SELECT count(*) FROM jobq.attempts a JOIN jobq.jobs j ON j.id = a.job_id WHERE j.type IN ('many', 'few') AND a.outcome <> 'cancelled'"), 0, 'none of them ran';

# a hundred thousand, while a queue beside works
$ok->('queue', 'pause', 'work');
$pg->query("SELECT count(*) FROM (SELECT jobq.enqueue_many('work', (SELECT jsonb_agg('{\"type\":\"heap\"}'::jsonb) FROM generate_series(1, 10000))) FROM generate_series(1, 10)) x");
my $beside = $pg->session;
$beside->send('DO $$ BEGIN FOR i IN 1 .. 100 LOOP PERFORM jobq.enqueue(\'other\', \'beside\'); COMMIT; PERFORM pg_sleep(0.02); END LOOP; END $$');
$from = time;
is $ok->('queue', 'clear', 'work', '--yes'), "queue work: 100000 jobs cancelled\n", 'a hundred thousand';
my $took = time - $from;
is $beside->answer, '', 'producers beside it';
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = 'beside' AND state = 'completed'") == 100 } 'their jobs';
my $slow = $pg->query("SELECT round(max(extract(epoch FROM started_at - created_at)), 3) FROM jobq.jobs WHERE type = 'beside'");
is $pg->query("SELECT count(*) FROM jobq.queue q, jobq.open_turns(q.id) WHERE q.name = 'work'"), 0, 'no claim has to pass them over';
pass sprintf 'cleared 100000 jobs in %.1f s; 100 jobs of another queue waited %s s at most', $took, $slow;
$ok->('queue', 'resume', 'work');

# clean
my $dead = $json->('enqueue', 'work', '{"fail": "error"}')->{id};
wait_for { count('dead') == 1 } 'a dead letter';
my $completed = count('completed');
is $ok->(qw(queue clean work --state completed --older-than 1d)), "queue work: 0 jobs removed\n", 'clean: nothing is a day old';
# S3-32, S4-26, S4-43
is $ok->(qw(queue clean work --state completed --older-than 0)), "queue work: $completed jobs removed\n", '… all of them';
is_deeply $json->(qw(queue clean work --state dead --older-than 0s)), { name => 'work', removed => 1 }, '… dead ones, as JSON';
is $ok->(qw(queue clean work --state cancelled --older-than 0)), "queue work: 102303 jobs removed\n", '… and many';
is $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'work'"), 0, 'the queue is empty';
is $pg->query("SELECT completed + dead + cancelled FROM jobq.queues WHERE name = 'work'"), 0, '… and counted so';
is $pg->query("SELECT count(*) FROM jobq.attempts WHERE job_id = $dead"), 1, '… the attempts stay';
$refused->(2, qr/--state and --older-than/, qw(queue clean work --state dead));
$refused->(2, qr/"old" is no duration/, qw(queue clean work --state dead --older-than old));
$refused->(1, qr/ready have not ended/, qw(queue clean work --state ready --older-than 0));
$refused->(3, qr/no queue nothing/, qw(queue clean nothing --state dead --older-than 0));

# remove
$refused->(3, qr/did you mean other/, qw(queue remove othr --yes));
$refused->(1, qr/queue "other" is served.*configuration of every node/s, qw(queue remove other --yes));
for (@nodes) {
	$_->configure($yaml =~ s/, other: \{handler: null\}//r);
	kill 'HUP', $_->{pid};
}
wait_for { $pg->query("SELECT count(*) FROM jobq.serves s JOIN jobq.queue q ON q.id = s.queue WHERE q.name = 'other'") == 0
	&& $pg->query("SELECT count(*) FROM jobq.pool p JOIN jobq.queue q ON q.id = p.queue WHERE q.name = 'other'") == 0 } 'the nodes to let go of it';
$refused->(1, qr/has unfinished jobs/, qw(queue remove other --yes));
$refused->(1, qr/nothing was done/, qw(queue remove other));
$ok->(qw(queue clear other --yes));
is $ok->(qw(queue remove other --yes)), "queue other: removed\n", 'cleared and served by nobody, it is removed';
is_deeply [ map { $_->{name} } @{ $json->('queue', 'list') } ], ['work'], '… and gone';
is $_->stop, 0, "$_->{name} ends well" for @nodes;
done_testing;
