# Workflows by two nodes on one database: the onboarding of a tenant (S4-5,
# S4-18), chains (S3-69), conditions (S3-70), parents and children (S3-71), bulk
# (S3-72), templates (S3-73), groups (S3-74); each step starts once while
# leaders are killed, a node vanishes and the server crashes.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $mails = temp_directory();
my $config = <<"YAML";
retry: {three: {attempts: 3, backoff: fixed, base: 100ms, jitter: 0%}, once: {attempts: 1}}
handlers:
  null: {driver: noop}
  mailer: {driver: email, server: "file:$mails", from: "noreply\@example.com"}
  # fails twice, as a flaky service does, and answers the same however often it is asked
  create: {driver: exec, argv: [sh, -c, 'test "\$2" = 3 || exit 75; printf "{\\"org\\":\\"org-%s\\"}\\n" "\$1"', create, "{{data.organizationName}}", "{{job.attempt}}"]}
  link:   {driver: exec, argv: [sh, -c, 'test "\$1" != cus_bad || exit 65; echo "\\"\$1 of \$2\\""', link, "{{data.customer}}", "{{data.org}}"]}
  undo:   {driver: exec, argv: [sh, -c, 'echo "\\"undo of \$1\\""', undo, "{{data.failed_step}}"]}
  list:   {driver: exec, argv: [sh, -c, 'printf "["; for i in \$(seq 1 "\$1"); do printf "%s{\\"n\\":%s}" "\$sep" \$i; sep=,; done; echo "]"', list, "{{data.n}}"]}
  square: {driver: exec, argv: [sh, -c, 'echo \$((\$1 * \$1))', square, "{{data.n}}"]}
  path:   {driver: exec, argv: [sh, -c, 'echo "\\"\$1\\""', path, "{{job.queue}} {{job.type}} {{job.tenant}}"]}
queues:
  onboarding: {types: {create_org: create, link_billing: link, undo: undo}, retry: three}
  email: {handler: mailer}
  lists: {types: {list: list, square: square, path: path}, workers: 2}
  work: {handler: null, workers: 2, concurrency: 20, retry: once}
  other: {handler: null, workers: 1, concurrency: 20}
workflows:
  tenant-onboarding:
    steps:
      create:  {queue: onboarding, type: create_org}
      billing: {queue: onboarding, type: link_billing, after: [create], if: "data.stripeCustomerId",
        data: {customer: "{{data.stripeCustomerId}}", org: "{{result.create.org}}"}}
      welcome: {queue: email, type: email_notification, after: [create, billing],
        data: {to: "{{data.adminEmail}}", subject: "Welcome, {{data.adminName}}", text: "Your organisation is {{result.create.org}}, {{data.tier}}. {{result.billing}}"}}
    on_failure: {queue: onboarding, type: undo}
  squares:
    steps:
      list:   {queue: lists, type: list}
      square: {queue: lists, type: square, after: [list], for_each: result.list}
      path:   {queue: lists, type: path, after: [square], tenant: t-1, data: {of: "{{result.square}}"}}
  storm:
    steps:
      first: {queue: work, type: first}
      many:  {queue: work, type: many, after: [first], for_each: data.items}
      more:  {queue: other, type: more, after: [first], for_each: data.items}
      last:  {queue: other, type: last, after: [many, more], data: {of: "{{count.many.total}}"}}
YAML
my %node = map { $_ => Jobqd::Daemon->new(pg => $pg, name => $_, config => $config) } qw(a b);
$_->start for values %node;
my $ctl = sub {
	my ($status, $out, $err) = $node{a}->ctl(@_);
	is $status, 0, join ' ', 'jobqctl', map { length > 40 ? substr($_, 0, 40) . '…' : $_ } @_ or diag $err;
	return $out;
};
my $json = sub { decode_json($ctl->('--json', @_)) };
my $state = sub { $pg->query("SELECT state FROM jobq.workflows WHERE id = $_[0]") };
my $steps = sub { $pg->query("SELECT string_agg(key || ' ' || (value ->> 'state'), ', ' ORDER BY key) FROM jobq.workflows, jsonb_each(steps) WHERE id = $_[0]") };
my $ended = sub { my ($w, $s) = @_; wait_for { $state->($w) eq $s } "workflow $w to be $s"; };

# the onboarding of a tenant
my %tenant = (organizationName => 'acme', adminEmail => 'ann@example.com', adminName => 'Ann', tier => 'pro', stripeCustomerId => 'cus_1');
my $w = $json->('workflow', 'run', 'tenant-onboarding', encode_json(\%tenant), '--tenant', 'acme')->{id};
$ended->($w, 'completed');
is $steps->($w), 'billing completed, create completed, welcome completed', 'S4-5: a tenant is on board';
is $pg->query("SELECT attempt || ' ' || (result ->> 'org') FROM jobq.jobs WHERE workflow = $w AND type = 'create_org'"), '3 org-acme', '… its first step took three attempts';
my ($mail) = map { slurp($_) } glob "$mails/*.eml";
like $mail, qr/^To: ann\@example\.com/mi, '… the welcome goes to the administrator (S4-18)';
like $mail, qr/Your organisation is org-acme, pro\. cus_1 of org-acme/, '… and tells what the steps before have found';
is $pg->query("SELECT count(*) FILTER (WHERE tenant = 'acme') || ' of ' || count(*) FROM jobq.jobs WHERE workflow = $w"), '3 of 3', '… all jobs are the tenant\'s';
delete $tenant{stripeCustomerId};
$w = $json->('workflow', 'run', 'tenant-onboarding', encode_json(\%tenant))->{id};
$ended->($w, 'completed');
is $steps->($w), 'billing skipped, create completed, welcome completed', 'S3-70: without a customer the step is skipped';
$tenant{stripeCustomerId} = 'cus_bad';
$w = $json->('workflow', 'run', 'tenant-onboarding', encode_json(\%tenant))->{id};
$ended->($w, 'failed');
my $show = $json->('workflow', 'show', $w);
is "$show->{failed_step}: $show->{steps}{welcome}{state}", 'billing: cancelled', 'a step that dies fails it and cancels what is later';
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $show->{on_failure_job}") eq 'completed' } 'the undo';
is $pg->query("SELECT result #>> '{}' FROM jobq.jobs WHERE id = $show->{on_failure_job}"), 'undo of billing', '… on_failure is told which';
like $ctl->('workflow', 'show', $w), qr/failed step +billing.*step +state +job.*create +completed +\d+/s, 'a person is shown the same';
like $ctl->('workflow', 'list', '--state', 'failed'), qr/^ *$w +tenant-onboarding +failed/m, 'the list has it';
is_deeply [ map { $_->{id} } @{ $json->('workflow', 'list', '-n', 1) } ], [$w], '… also as JSON, so many';
for ([ [qw(workflow run nosuch)], 1, qr/no workflow "nosuch"/ ], [ [qw(workflow show 99999)], 3, qr/no workflow 99999/ ], [ [qw(workflow cancel 99999)], 3, qr/no workflow/ ],
	[ [ 'workflow', 'cancel', $w ], 1, qr/is failed; only a running one/ ], [ [qw(workflow list --state dead)], 2, qr/no state dead/ ], [ [qw(workflow retry x)], 2, qr/"x" is no id/ ]) {
	my ($status, undef, $err) = $node{a}->ctl(@{ $_->[0] });
	is $status, $_->[1], "@{$_->[0]}: exit $_->[1]";
	like $err, $_->[2], '… and says why';
}

# lists: a job of each element of an earlier result; then all their results
$w = $json->('workflow', 'run', 'squares', '{"n": 12}')->{id};
$ended->($w, 'completed');
is $pg->query("SELECT data ->> 'of' FROM jobq.jobs WHERE workflow = $w AND type = 'path'"), '[' . join(', ', map { $_ * $_ } 1 .. 12) . ']', 'S3-71: children of a job, whose results come together in order';
is $pg->query("SELECT result #>> '{}' FROM jobq.jobs WHERE workflow = $w AND type = 'path'"), 'lists path t-1', '{{job.…}} in the texts of a handler';

# a group with a callback; a chain by `after`
$w = $pg->query(q(SELECT jobq.batch('work', (SELECT jsonb_agg(jsonb_build_object('data', CASE WHEN i = 3 THEN '{"fail":"validation"}' ELSE '{}' END::jsonb))
    FROM generate_series(1, 200) i), '{"queue":"other","type":"all_done"}', '{"queue":"other","type":"all_good"}')));
$ended->($w, 'completed');
is $pg->query("SELECT string_agg(type || ' ' || (data -> 'batch')::text, ',') FROM jobq.jobs WHERE workflow = $w AND queue = 'other'"),
    qq(all_done {"id": $w, "total": 200, "failed": 1, "completed": 199}), 'S3-72, S3-74: a group of 200 and what is told of its end';
my $id = $pg->query(q(SELECT jobq.enqueue('work', 'c', after => ARRAY[jobq.enqueue('other', 'b', after => ARRAY[jobq.enqueue('work', 'a')])])));
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") eq 'completed' } 'the chain';
is $pg->query("SELECT string_agg(type, '' ORDER BY started_at) FROM jobq.jobs WHERE type IN ('a', 'b', 'c')"), 'abc', 'S3-69: a chain runs in its order (S1-72, S2-64)';

# cancel and retry
$w = $json->('workflow', 'run', 'storm', '{"items": [1, 2, 3], "sleep_ms": 600000}')->{id};
wait_for { $steps->($w) =~ /first running/ } 'the first step';
is $json->('workflow', 'cancel', $w)->{state}, 'cancelled', 'cancelled';
wait_for { $steps->($w) eq 'first cancelled, last cancelled, many cancelled, more cancelled' } 'the running job to stop';
is $json->('workflow', 'retry', $w)->{state}, 'running', 'retried';
wait_for { $steps->($w) =~ /first running/ } 'the first step again';
$ctl->('workflow', 'cancel', $w);

# a thousand, by two queues on two nodes
my $items = '[' . join(',', map { '{}' } 1 .. 1000) . ']';
my $begun = time;
$w = $pg->query(qq(SELECT jobq.workflow('storm', '{"items": $items}')));
$ended->($w, 'completed');
is $pg->query("SELECT sum((value ->> 'completed')::int) FROM jobq.workflows, jsonb_each(steps) WHERE id = $w AND value ? 'jobs'"), 2000,
    sprintf 'two lists of a thousand ended, and the step after both ran, within %d s', time - $begun + 1;

# each step once, whatever is killed
my @storm = map { $pg->query(qq(SELECT jobq.workflow('storm', '{"items": [{"sleep_ms": 20},{},{},{"sleep_ms": 50},{},{},{},{}]}'))) } 1 .. 40;
for my $round (1 .. 6) {
	my $d = $node{ $round % 2 ? 'a' : 'b' };
	kill 'KILL', $d->pids($round % 3 ? qr/^jobqd: queue (?:work|other)/ : qr/^jobqd: (?:worker|scheduler)/);
	my $done = $pg->query("SELECT count(*) FROM jobq.workflow_run WHERE name = 'storm' AND state = 'completed'");
	wait_for { $pg->query("SELECT count(*) FROM jobq.workflow_run WHERE name = 'storm' AND state <> 'running'") > $done || !$pg->query("SELECT count(*) FROM jobq.workflow_run WHERE state = 'running'") } 'progress';
	if ($round == 3) {
		push @storm, map { $pg->query(qq(SELECT jobq.workflow('storm', '{"items": [{},{},{}]}'))) } 1 .. 20;
		$pg->stop('immediate');
		$pg->start;
	}
	push @storm, map { $pg->query(qq(SELECT jobq.workflow('storm', '{"items": [{},{}]}'))) } 1 .. 5;
}
$node{b}->vanish;
my $list = join ',', @storm;
wait_for { !$pg->query("SELECT count(*) FROM jobq.workflow_run WHERE id IN ($list) AND state = 'running'") } 'all to end';
is $pg->query("SELECT count(*) FROM jobq.workflow_run WHERE id IN ($list) AND state = 'completed'"), scalar(@storm), scalar(@storm) . ' workflows completed through kills of leaders, workers, a node and the server';
is $pg->query("SELECT count(*) FROM jobq.step_job WHERE workflow IN ($list)"),
    $pg->query("SELECT sum(2 + 2 * jsonb_array_length(data -> 'items')) FROM jobq.workflow_run WHERE id IN ($list)"), 'each step started once';
is $pg->query("SELECT count(*) FROM jobq.job j WHERE j.type IN ('first', 'many', 'more', 'last') AND NOT EXISTS (SELECT FROM jobq.step_job k WHERE k.job = j.id) AND j.id > (SELECT min(k.job) FROM jobq.step_job k WHERE k.workflow IN ($list))"), 0, '… no job of them is one too many';
is $pg->query('SELECT (SELECT count(*) FROM jobq.waits) + (SELECT count(*) FROM jobq.unsettled)'), 0, '… and nothing is left behind';

# what -t says
spew("$mails/bad.yml", $config =~ s/result\.create\.org/result.creat.org/r);
my ($status, undef, $err) = run_program([ jobqd_program(), '-t', '-c', "$mails/bad.yml" ]);
is $status, 1, 'a path to a step that is not there is an error of jobqd -t';
like $err, qr/^\Q$mails\E\/bad\.yml:\d+:\d+: \{\{result\.creat\.org\}\}: there is no step "creat" \(did you mean "create"\?\)$/m, '… with its place';
($status, undef, $err) = run_program([ jobqd_program(), '-t', '-c', source_directory() . '/etc/examples/workflows.yml' ]);
is $status, 0, 'the sample is right' or diag $err;
done_testing;
