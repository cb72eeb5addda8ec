# jobqctl inventory: all there is, as a report (S0-22) and as JSON (S0-22), with
# counts (S0-21), and how it differs from another one (S0-23).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More;

my $dir = temp_directory();
my $ctl = sub { run_program([ jobqctl_program(), @_ ], env => { DB_HOST => '127.0.0.1', DB_PORT => free_port() }) };

# Of a configuration alone: the fleet's, with the numbers its report tells.
my $fleet = source_directory() . '/etc/examples/fleet.yml';
my ($status, $out, $err) = $ctl->('-c', $fleet, 'inventory', '--json');
is $status, 0, 'an inventory without a database';
like $err, qr/cannot reach the database.*\n.*of the configuration alone$/, '… says that it is one';
my $all = decode_json($out);
is $all->{database}, undef, '… and so does the JSON';
is $all->{counts}{queues}, 11, 'S0-21 11 queues';
cmp_ok $all->{counts}{types}, '>=', 16, "S0-21 $all->{counts}{types} job types";
cmp_ok $all->{counts}{schedules}, '>=', 8, "S0-21 $all->{counts}{schedules} schedules";
cmp_ok $all->{counts}{workers}, '>=', 4, "S0-21 $all->{counts}{workers} workers";
cmp_ok $all->{counts}{handlers}, '>=', 3, "S0-21 $all->{counts}{handlers} handlers (processors)";
is $all->{counts}{$_}, scalar @{ $all->{$_} }, "the count of $_ is that of the list" for qw(queues types schedules handlers limits);
my %queue = map { $_->{name} => $_ } @{ $all->{queues} };
is_deeply [ @{ $queue{'teams-outbound'} }{qw(attempts expire_ms limits)} ], [ 5, 3600000, ['teams-api'] ], 'a queue with what it is told';
my ($thumb) = grep { $_->{name} eq 'attachments/thumbnail' } @{ $all->{types} };
# S1-69, S1-10
is_deeply [ @$thumb{qw(queue type handler driver)} ], [qw(attachments thumbnail thumbnail exec)], 'a type with its handler (S4-9)';

# S0-23: the baseline of the report, numbers alone.
my $types = $all->{counts}{types};
spew("$dir/phase0.json", '{"counts": {"queues": 4, "types": 8}}');
($status, $out, $err) = $ctl->('-c', $fleet, 'inventory', '--compare', "$dir/phase0.json");
is $status, 1, 'compared with a baseline: it differs';
like $out, qr/^queues +4 +11 +\+175 %$/m, 'S0-23 4 to 11 queues is +175 %';
my $more = sprintf '%.0f', ($types - 8) / 8 * 100;
like $out, qr/^types +8 +$types +\+$more %$/m, "S0-23 8 to $types types is +$more %";

# Of a system that runs.
my $pg = Jobqd::Postgres->new;
my $config = <<'YAML';
retry: {once: {attempts: 1}}
limits: {slow: {rate: 5/s}}
handlers:
  null: {driver: noop}
  hook: {driver: http, url: "https://somebody:pa55word@example.com/", auth: {bearer: s3cret-token}}
queues:
  work: {workers: 2, types: {refresh: null, create: null, look: null}}
  post: {handler: hook, limits: [slow], enabled: false}
schedules:
  nightly: {cron: "0 2 * * *", queue: work, type: refresh, description: "every night"}
channels: {chat: {webhook: "https://example.com/s3cret-path"}}
alerts: {dead: {metric: dead_letters, above: 50, notify: [chat]}}
workflows: {onboarding: {steps: {first: {queue: work, type: create}, second: {queue: work, type: refresh, after: [first]}}}}
YAML
my $d = Jobqd::Daemon->new(pg => $pg, config => $config);
$d->start;
wait_for { $pg->query('SELECT count(*) FROM jobq.workers') == 2 } 'the workers to be known';
$pg->query("SELECT jobq.schedule_put('by-hand', '{\"every\": \"1h\", \"queue\": \"work\", \"type\": \"look\"}')");

sub inventory {
	my ($s, $o, $e) = $d->ctl('inventory', '--json', @_);
	is $s, 0, "inventory --json @_" or diag $e;
	return decode_json($o);
}
$all = inventory();
is $all->{database}, 'jobq', 'with the database';
is_deeply $all->{counts}, { queues => 2, types => 3, schedules => 2, handlers => 2, workers => 2, limits => 1,
	retry => 2, workflows => 1, hooks => 0, channels => 1, alerts => 1, nodes => 1 }, 'the counts';
%queue = map { $_->{name} => $_ } @{ $all->{queues} };
is_deeply [ map { $_ ? 1 : 0 } @{ $queue{work} }{qw(configured served paused enabled)} ], [ 1, 1, 0, 1 ], 'a queue that is served';
ok !$queue{post}{enabled} && !$queue{post}{served}, 'one that is not';
my ($by_hand) = grep { $_->{name} eq 'by-hand' } @{ $all->{schedules} };
ok $by_hand && !$by_hand->{configured} && $by_hand->{origin} eq 'sql', 'a schedule that is in no configuration';
is_deeply [ sort map { $_->{name} } @{ $all->{types} } ], [qw(work/create work/look work/refresh)], 'types of schedules and workflows, too';
is_deeply [ sort map { $_->{name} } @{ $all->{workers} } ], [qw(work/0 work/1)], 'the workers that run';
is_deeply $all->{workflows}[0]{steps}, [qw(first second)], 'the steps of a workflow';
is $all->{nodes}[0]{name}, 'node', 'the nodes';
unlike encode_json($all), qr/s3cret|pa55word/, 'no secret is in it';
($status, $out) = $d->ctl('inventory');
is $status, 0, 'S0-22 a report for a person';
like $out, qr/^queues +2\n.*^schedules +2\n.*^workers +2\n.*^schedules\n  .*nightly  .*spec="0 2 \* \* \*".*description="every night"/ms, '… with counts and lists';
unlike $out, qr/s3cret|pa55word/, '… without secrets';

# By the database alone.
($status, $out) = run_program([ jobqctl_program(), '--database', $pg->url, 'inventory', '--json' ]);
my $plain = decode_json($out);
is_deeply [ @{ $plain->{counts} }{qw(queues schedules workflows handlers)} ], [ 2, 2, 1, 0 ], 'by the database alone';

# Compared: with itself, with what has changed since, with somebody's own list.
spew("$dir/before.json", encode_json($all));
($status, $out) = $d->ctl('inventory', '--compare', "$dir/before.json");
is $status, 0, 'compared with itself: exit 0';
like $out, qr/^nothing differs from/m, '… and says so';
$pg->query("SELECT jobq.pause('work')");
is + ($d->ctl('inventory', '--compare', "$dir/before.json"))[0], 0, 'what passes makes no difference';
$d->configure($config =~ s/workers: 2/workers: 3/r =~ s/(post: .*)/$1\n  more: {handler: null}/r);
$d->signal('HUP');
$d->wait_log(qr/: reloaded /);
($status, $out) = $d->ctl('inventory', '--compare', "$dir/before.json");
is $status, 1, 'after a change: exit 1';
like $out, qr/^queues +2 +3 +\+50 %$/m, '… in numbers';
like $out, qr/^queues added: more$/m, '… what was added';
like $out, qr/^queues different: work workers: 2 -> 3$/m, '… what is different';
($status, $out) = $d->ctl('inventory', '--compare', "$dir/before.json", '--json');
is $status, 1, '… as JSON';
my $diff = decode_json($out);
is_deeply $diff->{queues}, { added => ['more'], different => { work => { workers => { before => 2, now => 3 } } } }, '… the same';
ok $diff->{different}, '… and that it is different';
spew("$dir/own.json", '{"queues": ["work", "lost"], "schedules": {"nightly": {"spec": "0 3 * * *"}}, "notes": [1, null]}');
($status, $out) = $d->ctl('inventory', '--compare', "$dir/own.json");
is $status, 1, 'a list that somebody wrote';
like $out, qr/^queues missing: lost$/m, '… what is missing';
like $out, qr/^schedules different: nightly spec: "0 3 \* \* \*" -> "0 2 \* \* \*"$/m, '… what it says of an entry';

# Files that are none: exit 2, as of diff.
for my $case ([ 'nothing', undef, qr/cannot open/ ], [ 'no JSON', '{"queues": [', qr/bad\.json:1:\d+: .*inventory --?json|bad\.json:1/ ],
    [ 'an array', '[]', qr/no inventory/ ], [ 'an empty file', '', qr/bad\.json/ ]) {
	unlink "$dir/bad.json";
	spew("$dir/bad.json", $case->[1]) if defined $case->[1];
	($status, $out, $err) = $d->ctl('inventory', '--compare', "$dir/bad.json");
	is $status, 2, "compared with $case->[0]: exit 2";
	like $err, $case->[2], '… and why';
}
done_testing;
