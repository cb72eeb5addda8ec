# Workflows by SQL alone: lists of jobs, batches, failures that are allowed,
# cancel and retry, what is wrong with a definition, and that each step starts
# once whoever ends its parents. S1-58 batches, S1-64 dependencies, S1-72
# workflows, S3-70 conditions, S3-71 parents and children, S3-72 bulk, S3-73
# templates, S3-74 groups.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Jobqd;
use Schema;
use Test::More;
use Time::HiRes qw(time);

my $pg = schema();
my $db = $pg->session;
$db->query('SET jit = off');	# as jobqd has it
my $json = JSON::PP->new->canonical->allow_nonref;
sub quoted { return "'" . ($_[0] =~ s/'/''/gr) . "'" }
sub define {
	my (%workflows) = @_;
	$db->query('SELECT jobq.register(' . quoted($json->encode({ node => 'test',
	    queues => [ map { { name => $_ } } qw(work mail) ], workflows => \%workflows })) . ')');
}
define(
	report => { steps => {
		list => { queue => 'work', type => 'list' },
		each => { queue => 'work', type => '{{item.kind}}', after => ['list'], for_each => 'result.list.rows',
			tenant => '{{item.tenant}}', priority => 2,
			data => { n => '{{index}}', who => '{{item.who}}', all => '{{data.all}}', text => 'Nr. {{index}} {{item.who}}' } },
		sum => { queue => 'work', type => 'sum', after => ['each'],
			data => { parts => '{{result.each}}', first => '{{result.each.0}}', of => '{{count.each.total}}', at => '{{now}}',
				me => '{{workflow.name}}' } } },
		on_failure => { queue => 'mail', type => 'sorry', tenant => '{{data.tenant}}', priority => 1 } },
	plain => { steps => { each => { queue => 'work', for_each => '{{data.items}}' }, end => { queue => 'mail', after => ['each'] } } },
	lenient => { steps => { try => { queue => 'work', allow_failure => JSON::PP::true }, tries => { queue => 'work', type => 'tries',
		for_each => 'data.n', allow_failure => JSON::PP::true },
		good => { queue => 'work', type => 'good', after => ['try'], if => '!count.try.failed' },
		then => { queue => 'work', type => 'then', after => [ 'try', 'tries' ],
			data => { failed => '{{count.tries.failed}}', of => '{{count.tries.total}}', results => '{{result.tries}}', one => '{{result.try}}' } } } },
	slow => { steps => { a => { queue => 'work', type => 'a' },
		b => { queue => 'work', type => 'b', after => ['a'], delay => '1 hour', timeout => '5 s', max_attempts => 7, key => 'k{{data.id}}' },
		c => { queue => 'work', type => 'c', after => ['b'] } } },
	big => { steps => { first => { queue => 'work', type => 'first' },
		big => { queue => 'work', type => 'big', after => ['first'], data => { x => '{{data.x}}{{data.x}}' } } },
		on_failure => { queue => 'mail', type => 'undo' } },
);
my ($pool, $q) = pool($pg, 'work');
my ($mail_pool, $mail) = pool($pg, 'mail');

sub flow { my ($name, $data, $more) = @_; return $db->query("SELECT jobq.workflow('$name', " . quoted($json->encode($data)) . ($more || '') . ')') }
sub row { return $json->decode($db->query("SELECT row_to_json(w) FROM (SELECT id, name, state, steps, failed_step, error, on_failure_job FROM jobq.workflows WHERE id = $_[0]) w")) }
sub steps { my $s = row($_[0])->{steps}; return join ', ', map { "$_ $s->{$_}{state}" } sort keys %$s }
sub job { return $json->decode($db->query("SELECT row_to_json(j) FROM jobq.jobs j WHERE id = $_[0]")) }
# Run what is ready in a queue, each job by its type: a result, or {dead: error}.
sub run_all {
	my ($on, %result) = @_;
	my @ran;
	while (my @leases = claim($db, $pool, $q)) {
		for my $lease (@leases) {
			my ($id) = split /:/, $lease;
			my $j = job($id);
			my $r = $result{ $j->{type} };
			$r = $r->($j) if ref $r eq 'CODE';
			if (ref $r eq 'HASH' && exists $r->{dead}) {
				finish_failed($on, $pool, $lease, 3, error => $r->{dead});
			} else {
				$on->query("SELECT jobq.finish_ok($pool, '{$id}', '{" . (split /:/, $lease)[1] . "}', ARRAY["
				    . quoted($json->encode($r)) . "], '{0}', '{0}', '{0}')");
			}
			push @ran, $j;
		}
	}
	return @ran;
}
sub mails {
	my @leases = claim($db, $mail_pool, $mail);
	my @jobs = map { job((split /:/)[0]) } @leases;
	finish_ok($db, $mail_pool, @leases) if @leases;
	return @jobs;
}
sub nothing_left { is $db->query('SELECT (SELECT count(*) FROM jobq.blocked) + (SELECT count(*) FROM jobq.waits) + (SELECT count(*) FROM jobq.unsettled)'), 0, "nothing is left behind ($_[0])" }

#
# One job for each element of a list, and what comes after all of them
#
my @rows = map { { who => $_, kind => 'one', tenant => "t-$_" } } qw(ann bob cem);
my $w = flow('report', { all => JSON::PP::true });
my @ran = run_all($db, list => { rows => \@rows }, one => sub { { did => $_[0]{data}{who} } }, sum => undef);
is join(' ', map { $_->{type} } @ran), 'list one one one sum', 'for_each makes a job of each element, and what is after it waits for all (S1-72, S3-71)';
is_deeply $ran[2]{data}, { n => 1, who => 'bob', all => JSON::PP::true, text => 'Nr. 1 bob' }, '{{item}}, {{index}} and {{data}}';
is "$ran[2]{tenant} $ran[2]{priority}", 't-bob 2', 'options of a step are templates too';
is_deeply $ran[4]{data}{parts}, [ map { { did => $_ } } qw(ann bob cem) ], 'the result of a list is that of its jobs, in its order';
is_deeply $ran[4]{data}{first}, { did => 'ann' }, '… each by its index';
is "$ran[4]{data}{of} $ran[4]{data}{me}", '3 report', '{{count}} and {{workflow}}';
like $ran[4]{data}{at}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, '{{now}}';
is row($w)->{state}, 'completed', 'the workflow completes';
is_deeply row($w)->{steps}{each}, { job_id => undef, state => 'completed', jobs => 3, completed => 3, failed => 0 }, 'the view counts the jobs of a list';
is $ran[1]{workflow}, $w, 'the jobs say whose they are';

$w = flow('plain', { items => [ { to => 'a' }, 7 ] }, ", tenant => 'acme'");
is_deeply [ map { $_->{data} } run_all($db, '' => undef) ], [ { to => 'a' }, { item => 7 } ], 'without data: the element, or {"item": …}';
is_deeply [ map { $_->{tenant} } mails() ], ['acme'], 'the tenant of the workflow is that of its jobs';
$w = flow('plain', { items => [] });
is steps($w), 'each completed, end ready', 'an empty list is done at once';
mails();
my (undef, undef, $err) = $pg->try_query("SELECT jobq.workflow('plain', '{\"items\":{}}')");
like $err, qr/for_each: data\.items is object, not an array/, 'what is no list is an error of the caller at the start';
is $db->query("SELECT count(*) FROM jobq.workflows WHERE state = 'running'"), 0, '… and nothing is stored';
$w = flow('report', { tenant => 'z' });
run_all($db, list => { rows => 5 });
is row($w)->{state} . ': ' . row($w)->{error}, 'failed: for_each: result.list.rows is number, not an array', '… later on the step is dead, with the reason';
my ($sorry) = mails();
is "$sorry->{type} $sorry->{tenant} $sorry->{priority} $sorry->{data}{failed_step} $sorry->{id}", "sorry z 1 each " . row($w)->{on_failure_job}, '… and on_failure runs, with options of its own';
$w = flow('plain', { items => [ (1) x 10000 ] });
is $db->query("SELECT steps #>> '{each,jobs}' FROM jobq.workflows WHERE id = $w"), 10000, 'ten thousand elements are fine';
$db->query("SELECT jobq.workflow_cancel($w)");
like +($pg->try_query("SELECT jobq.workflow('plain', '" . $json->encode({ items => [ (1) x 10001 ] }) . "')"))[2],
    qr/for_each: 10001 elements, 10000 are allowed/, '… and no more';
is $db->query("SELECT count(*) FROM jobq.jobs WHERE state NOT IN ('completed', 'cancelled', 'dead')"), 0, 'cancelled with all its jobs';

# one of a list dies
$w = flow('report', {});
@ran = run_all($db, list => { rows => [ @rows, { kind => 'bad' }, @rows ] }, one => 1, bad => { dead => 'no bread' });
is row($w)->{state} . ' ' . row($w)->{failed_step} . ' ' . row($w)->{error}, 'failed each no bread', 'one of a list that dies fails the workflow';
is_deeply row($w)->{steps}{each}, { job_id => undef, state => 'dead', jobs => 7, completed => 6, failed => 1 }, '… the others were running and have completed';
mails();
$db->query("SELECT jobq.workflow_retry($w)");
is_deeply [ map { $_->{type} . $_->{attempt} } run_all($db, bad => 2, sum => 3) ], [ 'bad2', 'sum1' ], 'retry: the dead job runs again, then what waited for it';
is row($w)->{state}, 'completed', '… and the workflow completes';

#
# Failures that are allowed; a batch
#
$w = flow('lenient', { n => [ 1, 0, 2 ] });
@ran = run_all($db, '' => { dead => 'never mind' }, tries => sub { $_[0]{data}{item} ? $_[0]{data}{item} : { dead => 'zero' } }, then => undef);
is_deeply $ran[-1]{data}, { failed => 1, of => 3, results => [ 1, undef, 2 ], one => undef }, 'allow_failure: the workflow goes on, and can tell how many failed (S3-70)';
is row($w)->{state} . ': ' . steps($w), 'completed: good skipped, then completed, tries dead, try dead', '… by an `if` too';

sub batch { my ($jobs, $rest) = @_; return $db->query("SELECT jobq.batch('work', " . quoted($json->encode($jobs)) . ', ' . ($rest || '') . ')') }
my $callbacks = q('{"queue":"mail","type":"all","data":{"x":"{{no template}}"},"priority":0}', '{"queue":"mail","type":"fine"}');
$w = batch([ { type => 'one' }, { type => 'two', data => { a => 1 }, priority => 1 }, { type => 'one', delay => '1 ms' } ], $callbacks);
$db->query('SELECT * FROM jobq.due(100)');
wait_for { run_all($db, one => 1, two => { dead => 'x' }); $db->query('SELECT * FROM jobq.due(100)'); row($w)->{steps}{on_complete}{job_id} } 'the batch';
my @mails = mails();
is_deeply [ map { [ $_->{type}, $_->{data} ] } @mails ],
    [ [ 'all', { x => '{{no template}}', batch => { id => $w + 0, total => 3, completed => 2, failed => 1 } } ] ],
    'a batch calls back once all jobs have ended, with the counts; its data is taken literally (S1-58, S3-74)';
is row($w)->{state} . ' ' . row($w)->{name} . ' ' . steps($w), 'completed batch jobs dead, on_complete completed, on_success skipped', 'on_success is for none that failed';
$w = batch([ map { { type => 'one' } } 1 .. 3 ], $callbacks);
is scalar(mails()), 0, 'nothing before the end';
run_all($db, one => 1);
is join(' ', sort map { "$_->{type} $_->{data}{batch}{completed}" } mails()), 'all 3 fine 3', 'all completed: both callbacks';
$w = batch([], $callbacks);
is join(' ', sort map { $_->{type} } mails()), 'all fine', 'an empty batch is done at once';
for ([ q('[{"typ":1}]'), '', qr/job 1 has an unknown member "typ"/ ], [ "'{}'", '', qr/jobs is no array/ ], [ "'[]'", q(, '[]'), qr/on_complete or its data is no object/ ],
    [ q('[{}]'), q(, '{"queue":"nowhere"}'), qr/step "on_complete": there is no queue "nowhere"/ ], [ q('[{}]'), q(, '{"tag":1}'), qr/there is no "tag" of a step/ ]) {
	my (undef, undef, $said) = $pg->try_query("SELECT jobq.batch('work', $_->[0]$_->[1])");
	like $said, $_->[2], "batch($_->[0]$_->[1]) is refused";
}
is scalar(claim($db, $pool, $q)), 0, '… and enqueues nothing';
$w = $db->query(q(SELECT jobq.batch('work', '[{"type":"u","unique_key":"k"},{"type":"u","unique_key":"k"}]', '{"queue":"mail"}')));
run_all($db, u => 1);
is mails() . ' ' . row($w)->{steps}{jobs}{completed}, '1 2', 'two that are one job by a unique key end together';
nothing_left('batches');

#
# Options of a step; cancel; retry
#
$w = flow('slow', { id => 5 });
run_all($db, a => 'done');
my $b = job(row($w)->{steps}{b}{job_id});
is "$b->{state} $b->{max_attempts} $b->{key}", 'scheduled 7 k5', "a step's delay, attempts and key";
is $db->query("SELECT timeout_ms FROM jobq.job WHERE id = $b->{id}"), 5000, '… and timeout';
is $db->query("SELECT jobq.workflow_cancel($w)"), 't', 'a workflow is cancelled';
is row($w)->{state} . ': ' . steps($w), 'cancelled: a completed, b cancelled, c cancelled', '… with all that has not ended';
like row($w)->{error}, qr/^cancelled by /, '… by whom';
is $db->query("SELECT jobq.workflow_cancel($w)") . $db->query('SELECT jobq.workflow_cancel(999999)'), 'ff', '… once';
is $db->query("SELECT jobq.workflow_retry($w)"), 't', 'retry of a cancelled one';
isnt row($w)->{steps}{b}{job_id}, $b->{id}, '… makes the cancelled job anew';
is row($w)->{state} . ': ' . steps($w), 'running: a completed, b scheduled, c waiting', '… what has completed stays';
$db->query('SELECT jobq.cancel(' . row($w)->{steps}{b}{job_id} . ')');
is row($w)->{state}, 'cancelled', 'a cancelled job cancels the workflow';
is $db->query("SELECT jobq.workflow_retry($w)"), 't', '… which can be taken up';
$db->query("SELECT jobq.workflow_cancel($w)");

$w = flow('slow', {});
my ($lease) = claim($db, $pool, $q);
$db->query("SELECT jobq.workflow_cancel($w)");
is steps($w), 'a running, b cancelled, c cancelled', 'a running job is asked to stop';
my ($status, undef, $said) = $pg->try_query("SELECT jobq.workflow_retry($w)");
like $said, qr/has jobs that still run.*HINT/s, '… and no retry before it has';
finish_failed($db, $pool, $lease, 4);
is steps($w), 'a cancelled, b cancelled, c cancelled', 'it has stopped';
is $db->query("SELECT jobq.workflow_retry($w)"), 't', '… now';
run_all($db, a => { dead => 'broken' });
my $a = row($w)->{steps}{a}{job_id};
is row($w)->{state}, 'failed', 'it fails';
is $db->query("SELECT jobq.retry($a)"), 't', 'retry of the dead job itself';
is row($w)->{state} . ': ' . steps($w), 'running: a ready, b waiting, c waiting', '… lets the workflow go on';
run_all($db, a => 1);
like steps($w), qr/b scheduled/, '… to the next step';
$db->query("SELECT jobq.workflow_cancel($w)");
is $db->query("SELECT count(*) FROM jobq.audit WHERE target = 'workflow $w'"), 4, 'the audit knows of it';

# the dead job is retried while another one still runs
$w = flow('plain', { items => [ 1, 2 ] });
my ($dead, $runs) = claim($db, $pool, $q);
finish_failed($db, $pool, $dead, 3);
is $db->query('SELECT jobq.retry(' . ($dead =~ s/:.*//r) . ')') . row($w)->{state}, 'tfailed', 'a dead job can be retried when its workflow cannot go on yet';
finish_failed($db, $pool, $runs, 4);
is $db->query("SELECT jobq.workflow_retry($w)"), 't', '… which it can later';
is_deeply [ sort map { "$_->{data}{item}:$_->{attempt}" } run_all($db, '' => 1) ], [ '1:2', '2:1' ], '… with the one that was retried and the one that was stopped';
is scalar(mails()), 1, '… and then what comes after them';

# a list that was cancelled in the middle
$w = flow('plain', { items => [ 1 .. 4 ] });
my @leases = claim($db, $pool, $q, 2);
finish_ok($db, $pool, @leases);
$db->query("SELECT jobq.workflow_cancel($w)");
is_deeply row($w)->{steps}{each}, { job_id => undef, state => 'cancelled', jobs => 4, completed => 2, failed => 2 }, 'a list cancelled half way';
$db->query("SELECT jobq.workflow_retry($w)");
is_deeply [ map { $_->{data}{item} } run_all($db, '' => 1) ], [ 3, 4 ], '… goes on with the rest';
is scalar(mails()), 1, '… and then what comes after it';
# a batch too
$w = batch([ map { { type => 'one', data => { n => $_ } } } 1 .. 3 ], $callbacks);
finish_ok($db, $pool, claim($db, $pool, $q, 1));
$db->query("SELECT jobq.workflow_cancel($w)");
is scalar(mails()), 0, 'a cancelled batch calls nobody';
$db->query("SELECT jobq.workflow_retry($w)");
is_deeply [ map { $_->{data}{n} } run_all($db, one => 1) ], [ 2, 3 ], '… goes on with the rest when it is retried';
is scalar(mails()), 2, '… and then it does';

# on_failure that cannot be enqueued, data that comes out too large
$w = flow('big', { x => 'y' x 60000 });
$db->query("UPDATE jobq.workflow_run SET on_failure = on_failure || '{\"tag\":1}' WHERE id = $w");
run_all($db, first => 1);
like row($w)->{state} . ' ' . row($w)->{error}, qr/^failed data has \d+ bytes, queue "work" takes 102400\non_failure: .*unknown member "tag"/, 'what cannot be enqueued fails the workflow, not the end of the job before';
nothing_left('cancel and retry');

#
# What is wrong with a definition is an error of workflow(), and nothing is stored
#
my %good = (queue => 'work');
for (
	[ { a => { %good, after => ['nosuch'] } }, qr/workflow "wrong", step "a": it comes after "nosuch", and there is no such step\n.*The steps are: a, zero\./s ],
	[ { a => { %good, after => ['b'] }, b => { %good, after => ['a'] } }, qr/comes after itself/ ],
	[ { a => { %good, after => ['a'] } }, qr/comes after itself/ ],
	[ { a => { queue => 'nowhere' } }, qr/step "a": there is no queue "nowhere"\n.*The queues are: mail, work/s ],
	[ { a => {} }, qr/there is no queue "NULL"/ ],
	[ { a => { %good, data => { x => [ { y => 'is {{result.nosuch.x}}' } ] } } }, qr/\Q{{result.nosuch.x}}: "nosuch" is no step that it comes after/ ],
	[ { a => { %good, data => { x => '{{result.b}}' } }, b => {%good} }, qr/\Q{{result.b}}: "b" is no step/ ],
	[ { a => { %good, if => 'result.b' }, b => {%good} }, qr/"b" is no step/ ],
	[ { a => { %good, for_each => '{{count.b}}' }, b => {%good} }, qr/"b" is no step/ ],
	[ { a => { %good, data => { x => '{{result}}' } } }, qr/of which step/ ],
	[ { a => { %good, data => { x => '{{item.x}}' } } }, qr/\Q{{item.x}}: there is no such value/ ],
	[ { a => { %good, data => { x => '{{dat.x}}' } } }, qr/there is no such value/ ],
	[ { a => { %good, data => { x => '{{data..x}}' } } }, qr/there is no such value/ ],
	[ { a => { %good, data => { x => '{{data.x' } } }, qr/without "\}\}"/ ],
	[ { a => { %good, nonsense => 1 } }, qr/there is no "nonsense" of a step/ ],
	[ {}, qr/has no steps/ ],
) {
	define(wrong => { steps => { zero => {%good}, %{ $_->[0] } } }) if %{ $_->[0] };
	define(wrong => { steps => {} }) unless %{ $_->[0] };
	my ($rc, undef, $text) = $pg->try_query('\set VERBOSITY verbose' . "\nSELECT jobq.workflow('wrong')");
	like $text, $_->[1], ($text =~ /ERROR: *\S+ *(.*)/)[0];
	like $text, qr/ERROR:\s+22023/, '… 22023';
}
is scalar(claim($db, $pool, $q)), 0, 'none of them has enqueued a thing';
is $db->query("SELECT count(*) FROM jobq.workflow_run WHERE name = 'wrong'"), 0, '… or is there';
define(deep => { steps => { a => {%good}, b => { %good, after => ['a'] }, c => { %good, after => ['b'], data => { x => '{{result.a}}{{count.b.total}}' } } } });
$w = flow('deep', {});
run_all($db, '' => 4);
is row($w)->{state}, 'completed', 'a step may use those before the ones before it';

#
# Parents that end at the same time; ends that found the workflow locked
#
define(join => { steps => { (map { ("p$_" => {%good}) } 1 .. 2), end => { queue => 'mail', after => [ 'p1', 'p2' ] } } },
	fan => { steps => { each => { %good, type => 'x', for_each => 'data.items' }, end => { queue => 'mail', after => ['each'], data => { sum => '{{result.each}}' } } } });
my @s = map { $pg->session } 1 .. 2;
$w = flow('join', {});
@leases = claim($db, $pool, $q);
$_->query('BEGIN') for @s;
finish_ok($s[$_], $pool, $leases[$_]) for 0, 1;
is $s[1]->query('SELECT count(*) FROM jobq.unsettled'), 1, 'an end that found the workflow locked is noted';
$_->query('COMMIT') for @s;
$db->query('SELECT * FROM jobq.due(100)');
is scalar(mails()), 1, 'two parents that end at the same moment start the next step once';
is row($w)->{state}, 'completed', '… and the workflow completes';
# the history has the end when it is noted at last
$w = flow('fan', { items => [1] });
($lease) = claim($db, $pool, $q);
$s[0]->query('BEGIN');
$s[0]->query("SELECT FROM jobq.workflow_run WHERE id = $w FOR UPDATE");
my ($id) = split /:/, $lease;
$db->query("SELECT jobq.finish_ok($pool, '{$id}', '{1}', ARRAY['\"kept\"'], '{0}', '{0}', '{0}')");
$s[0]->query('COMMIT');
$db->query("BEGIN; INSERT INTO jobq.history SELECT * FROM jobq.attempt WHERE job = $id; DELETE FROM jobq.attempt WHERE job = $id; DELETE FROM jobq.job WHERE id = $id; COMMIT");
$db->query('SELECT * FROM jobq.due(100)');
is_deeply [ map { $_->{data}{sum} } mails() ], [ ['kept'] ], 'a job that retention has removed still counts, with its result';
nothing_left('at the same moment');

#
# A thousand, ended by two sessions at once
#
my $from = time;
$w = flow('fan', { items => [ 1 .. 1000 ] });
my $started = time - $from;
my @all = claim($db, $pool, $q, 1000);
is scalar(@all), 1000, sprintf 'a thousand jobs of one step, enqueued in %.2f s', $started;
$from = time;
while (@all) {
	my @parts = map { [ splice @all, 0, 25 ] } @s;
	for my $i (0 .. $#s) {
		next unless @{ $parts[$i] };
		my $ids = join ',', map { s/:.*//r } @{ $parts[$i] };
		my $ones = join ',', map { 1 } @{ $parts[$i] };
		my $zeros = $ones =~ tr/1/0/r;
		$s[$i]->send("SELECT count(*) FROM jobq.finish_ok($pool, '{$ids}', '{$ones}', ARRAY(SELECT unnest('{$ids}'::text[])), '{$zeros}', '{$zeros}', '{$zeros}');\n");
	}
	$_->answer for @s;
}
my $took = time - $from;
wait_for { $db->query('SELECT * FROM jobq.due(100)'); row($w)->{steps}{end}{job_id} } 'the step after them';
my ($end) = mails();
is scalar(@{ $end->{data}{sum} }), 1000, sprintf 'all ended in %.2f s, %.2f ms a job; the next step has all results', $took, $took;
is $db->query("SELECT count(*) FROM jobq.step_job WHERE workflow = $w AND step = 'end'"), 1, '… and started once';
nothing_left('a thousand');

#
# The partition of its ended jobs is dropped while a workflow runs
#
define(long => { steps => { a => { %good, type => 'a' }, each => { %good, type => 'x', after => ['a'], for_each => 'data.items' },
	end => { queue => 'mail', after => ['each'], data => { a => '{{result.a}}', each => '{{result.each}}' } } } });
my $parts = sub { $db->query("SELECT string_agg(id || state, ' ' ORDER BY id) FROM jobq.part") };
$w = flow('long', { items => [ 1, 2, 3 ] });
($lease) = claim($db, $pool, $q);
$db->query("SELECT jobq.finish_ok($pool, '{" . (split /:/, $lease)[0] . "}', '{1}', ARRAY['\"first\"'], '{0}', '{0}', '{0}')");
@leases = claim($db, $pool, $q);
my $finish = sub { my ($n) = @_; $db->query("SELECT jobq.finish_ok($pool, '{" . (split /:/, $leases[$n])[0] . "}', '{1}', '{$n}', '{0}', '{0}', '{0}')") };
$finish->(0);
$db->query('DELETE FROM jobq.history');	# what was put there by hand
$db->query("UPDATE jobq.part SET made_at = now() - interval '5 hours'");
maintain_until { $parts->() =~ /3live/ } $pg;
$db->query("UPDATE jobq.part SET cut_at = now() - interval '25 hours' WHERE id = 1; UPDATE jobq.attempt SET finished_at = finished_at - interval '25 hours'");
maintain_until { $parts->() =~ /1history/ } $pg;
is $db->query("SELECT count(*) FROM jobq.job WHERE id = " . (split /:/, $leases[0])[0]), 0, 'the jobs that had ended are gone';
$finish->($_) for 1, 2;
is_deeply [ map { $_->{data} } mails() ], [ { a => 'first', each => [ 0, 1, 2 ] } ], '… and the step after the rest has the results of all';
is row($w)->{state}, 'completed', 'retention breaks no workflow';
done_testing;
