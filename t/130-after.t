# Jobs that wait for others, and workflows.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More;

my $pg = schema();
$pg->query(<<'SQL');
SELECT jobq.register('{"node":"test","queues":[{"name":"work"}],"workflows":{
 "onboard":{"steps":{
   "create":{"queue":"work","type":"create"},
   "billing":{"queue":"work","type":"billing","after":["create"],"if":"data.stripe"},
   "never":{"queue":"work","type":"never","after":["create"],"if":"!data.admin"},
   "welcome":{"queue":"work","type":"mail","after":["create","billing","never"],
     "data":{"to":"{{data.admin}}","org":"{{result.create.org}}","text":"Org {{ result.create.org }} of {{data.admin}}{{data.none}}","list":["{{data.n}}",1],"nothing":"{{data.none}}"}}},
  "on_failure":{"queue":"work","type":"undo"}}}}')
SQL
my ($pool, $q) = pool($pg, 'work');
sub put { return $pg->query("SELECT jobq.enqueue('work'" . ($_[0] || '') . ')') }
sub after { return put(", after => '{" . join(',', @_) . "}'") }

my @p = map { put() } 1 .. 2;
my $child = after(@p);
my $grandchild = after($child);
is state($pg, $child), 'blocked', 'a job waits for two (S1-64, S2-64, S3-71)';
my @got = claim($pg, $pool, $q);
is_deeply \@got, [ map { "$_:1" } @p ], 'and is not claimed';
finish_ok($pg, $pool, $got[0]);
is state($pg, $child), 'blocked', 'one has completed (S0-75)';
finish_ok($pg, $pool, $got[1]);
is state($pg, $child), 'ready', 'both have';
finish_ok($pg, $pool, claim($pg, $pool, $q));
is state($pg, $grandchild), 'ready', 'and so on';
finish_ok($pg, $pool, claim($pg, $pool, $q));
is state($pg, after(@p)), 'ready', 'after what has completed already: at once';
is state($pg, put(", after => '{$p[0]}', delay => '1 hour'")), 'scheduled', '… or at its time';
finish_ok($pg, $pool, claim($pg, $pool, $q));

# a parent that fails, dies, is cancelled, is deleted
for my $end (qw(dead cancelled deleted)) {
	my $parent = put();
	my ($c1, $c2) = (after($parent), undef);
	$c2 = after($c1);
	if ($end eq 'dead') {
		my ($lease) = claim($pg, $pool, $q);
		finish_failed($pg, $pool, $lease, 2);
		is state($pg, $c1), 'blocked', 'a failed attempt is no end';
		finish_failed($pg, $pool, (claim($pg, $pool, $q))[0], 3);
	} else {
		$pg->query('SELECT jobq.' . ($end eq 'deleted' ? 'delete' : 'cancel') . "($parent)");
	}
	is state($pg, $c1), 'cancelled', "after one that ends $end: cancelled";
	like $pg->query("SELECT error FROM jobq.jobs WHERE id = $c1"), qr/job $parent, which it waited for, ended $end/, '… and says why';
	is state($pg, $c2), 'cancelled', '… and what waits for that';
	is state($pg, after($c1)), 'cancelled', '… and what comes later';
}

# a parent that ends while the child's transaction is open, and the other way round
my ($one, $two) = map { $pg->session } 1 .. 2;
my $parent = put();
@got = claim($pg, $pool, $q);
$one->query('BEGIN');
my $c = $one->query("SELECT jobq.enqueue('work', after => '{$parent}')");
finish_ok($pg, $pool, @got);
$one->query('COMMIT');
is state($pg, $c), 'blocked', 'the end could not see the child';
$pg->query('SELECT * FROM jobq.due(100)');
is state($pg, $c), 'ready', '… the sweep does';
finish_ok($pg, $pool, claim($pg, $pool, $q));
$parent = put();
@got = claim($pg, $pool, $q);
$two->query('BEGIN');
finish_ok($two, $pool, @got);
$c = after($parent);
$two->query('COMMIT');
is state($pg, $c), 'blocked', 'the child could not see the end';
$pg->query('SELECT * FROM jobq.due(100)');
is state($pg, $c), 'ready', '… the sweep does';
finish_ok($pg, $pool, claim($pg, $pool, $q));
# two parents that end at the same moment
@p = map { put() } 1 .. 2;
$c = after(@p);
@got = claim($pg, $pool, $q);
$_->query('BEGIN') for $one, $two;
finish_ok($one, $pool, $got[0]);
finish_ok($two, $pool, $got[1]);
$_->query('COMMIT') for $one, $two;
$pg->query('SELECT * FROM jobq.due(100)');
is state($pg, $c), 'ready', 'two parents that end at the same moment';
is_deeply [ claim($pg, $pool, $q) ], ["$c:1"], '… make one turn';
finish_ok($pg, $pool, "$c:1");
is $pg->query('SELECT (SELECT count(*) FROM jobq.blocked) + (SELECT count(*) FROM jobq.waits)'), 0, 'nothing is left behind';

# workflows
sub flow { return $pg->query("SELECT jobq.workflow('onboard', '$_[0]')") }
sub flow_state { return $pg->query("SELECT state FROM jobq.workflows WHERE id = $_[0]") }
sub steps { return $pg->query("SELECT string_agg(key || ' ' || (value ->> 'state'), ', ' ORDER BY key) FROM jobq.workflows, jsonb_each(steps) WHERE id = $_[0]") }
sub job_of { return $pg->query("SELECT steps #>> '{$_[1],job_id}' FROM jobq.workflows WHERE id = $_[0]") }
sub run_step {
	my ($result) = @_;
	my ($lease) = claim($pg, $pool, $q, 1) or return;
	my ($id) = split /:/, $lease;
	$pg->query("SELECT jobq.finish_ok($pool, '{$id}', '{1}', ARRAY['$result'], '{0}', '{0}', '{0}')");
	return $pg->query("SELECT type FROM jobq.jobs WHERE id = $id");
}
my $w = flow('{"admin":"a@x","n":7,"stripe":"cus_1"}');
is steps($w), 'billing waiting, create ready, never waiting, welcome waiting', 'a workflow begins with its first steps';
is $pg->query("SELECT workflow FROM jobq.jobs WHERE id = " . job_of($w, 'create')), $w, 'its jobs say whose they are';
is run_step('{"org":{"id":5}}'), 'create', 'the first step';
is steps($w), 'billing ready, create completed, never skipped, welcome waiting', 'the next are started or skipped';
is run_step('{}'), 'billing', 'the second';
is $pg->query('SELECT data FROM jobq.jobs WHERE id = ' . job_of($w, 'welcome')),
    '{"to": "a@x", "org": {"id": 5}, "list": [7, 1], "text": "Org {\"id\": 5} of a@x", "nothing": null}', 'placeholders keep their types (S1-71)';
is run_step('null'), 'mail', 'the last';
is flow_state($w), 'completed', 'the workflow has completed';

$w = flow('{"admin":"a@x"}');
run_step('{"org":1}');
is steps($w), 'billing skipped, create completed, never skipped, welcome ready', 'a skipped step counts as done (S1-63, S3-70)';
run_step('{}');
is flow_state($w), 'completed', '… and the workflow completes';

$w = flow('{"admin":"a@x","stripe":1}');
finish_failed($pg, $pool, (claim($pg, $pool, $q))[0], 3, error => 'no org');
is flow_state($w), 'failed', 'a dead step fails the workflow';
is steps($w), 'billing cancelled, create dead, never cancelled, welcome cancelled', '… the others are cancelled';
is $pg->query("SELECT data::jsonb FROM jobq.claim($pool, $q\::smallint, 9) WHERE type = 'undo'"),
    '{"admin": "a@x", "error": "no org", "stripe": 1, "failed_step": "create"}', '… and on_failure is told';
$w = flow('{}');
$pg->query('SELECT jobq.cancel(' . job_of($w, 'create') . ')');
is flow_state($w), 'cancelled', 'a cancelled step cancels the workflow';
like +($pg->try_query("SELECT jobq.workflow('onbord')"))[2], qr/no workflow "onbord".*HINT:  The workflows are: onboard/s, 'an unknown one is an error with the known ones';
done_testing;
