# How the dashboard looks: on a phone, to axe-core in light and dark, and with a
# million jobs in the database (S3-46, S2-61).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Browser;
use Dashboard;
use Jobqd;
use JSON::PP ();
use Test::More;

my $browser = Browser->new or plan skip_all => Browser::missing();
my $port = free_port();
my $base = "http://127.0.0.1:$port";
my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
Api::tokens("$dir/tokens", [ 'anna', 'admin', '*', 'token-of-anna' ]);
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers: {null: {driver: noop}}
retry: {once: {attempts: 1}}
limits: {slow: {rate: 100/s, concurrency: 5}}
queues:
  work: {handler: null, workers: 2, retry: once}
  a-queue-with-a-long-name-that-does-not-fit-on-a-phone: {handler: null, limits: [slow]}
schedules:
  nightly: {cron: "30 2 * * *", timezone: Europe/Berlin, queue: work, type: tidy, description: "Tidies up"}
alerts: {dead: {metric: dead_letters, above: 0}}
workflows:
  onboard: {steps: {create: {queue: work, type: create}, welcome: {queue: work, type: welcome, after: [create]}}}
monitor: {interval: 500ms, statistics: 1s, health_file: ""}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens, rate_limit: 10000/s}
YAML
$d->start;
my $long = 'w' x 200;
$pg->query(<<"SQL");
SELECT jobq.enqueue('work', '$long', '{"fail": "network", "message": "$long", "key": "$long"}', tags => ARRAY[left('$long', 60)], tenant => left('$long', 60)) FROM generate_series(1, 5);
SELECT jobq.enqueue('work', 'welcome', '{"sleep_ms": 20}') FROM generate_series(1, 100);
SELECT jobq.enqueue('a-queue-with-a-long-name-that-does-not-fit-on-a-phone', 'nap', '{"sleep_ms": 600000}');
SELECT jobq.pause('a-queue-with-a-long-name-that-does-not-fit-on-a-phone', 'because of $long');
SELECT jobq.schedule_put('weekly', '{"cron": "0 8 * * 1", "queue": "work", "type": "digest"}');
SQL
my $flow = $pg->query("SELECT jobq.workflow('onboard', '{\"name\": \"Acme\"}')");
wait_for { $pg->query("SELECT (SELECT count(*) FROM jobq.dead_letters), (SELECT state FROM jobq.workflows)") eq '5|completed' } 'the jobs';
$pg->query("SELECT jobq.pause('work', 'no more of these', type => '$long')");
wait_for { $pg->query("SELECT count(*) FROM jobq.alerts") > 0 } 'an alert';
wait_for { $pg->query("SELECT coalesce(sum(completed), 0) FROM jobq.statistics") > 0 } 'statistics';
my ($dead) = $pg->query('SELECT min(job_id) FROM jobq.dead_letters');

my @views = ('overview', 'queues', 'queues/work', 'queues/a-queue-with-a-long-name-that-does-not-fit-on-a-phone', 'jobs', 'jobs?state=dead&queue=work', "jobs/$dead", 'history', 'dead',
    'schedules', 'schedules/nightly', 'schedules/weekly/edit', 'new-schedule', 'workflows', "workflows/$flow", 'workers', 'alerts', 'audit', 'nowhere');

#
# a phone
#
my $phone = Dashboard->new($browser, $base, width => 390, height => 844, mobile => 1)->login('token-of-anna');
my @wide;
for my $view (@views) {
	$phone->go("#/$view");
	my $width = $phone->js('document.documentElement.scrollWidth');
	push @wide, "$view: $width" if $width > 390;
}
# S3-46
is_deeply \@wide, [], 'a width of 390 is enough for ' . @views . ' views';
$phone->go('#/queues');
is $phone->js("getComputedStyle(document.querySelector('tbody td')).display"), 'block', '… where rows are cards';
cmp_ok $phone->js("Math.min(...[...document.querySelectorAll('#main button')].map(b => b.getBoundingClientRect().height))"), '>=', 24, '… and buttons are for fingers';
$phone->press('Pause');
cmp_ok $phone->js("document.querySelector('dialog').getBoundingClientRect().right"), '<=', 390, '… dialogs fit';
$phone->press('Cancel', 'dialog');

#
# colours
#
my $dark = Dashboard->new($browser, $base, dark => 1)->login('token-of-anna');
my $light = Dashboard->new($browser, $base)->login('token-of-anna');
sub ground { return $_[0]->js('getComputedStyle(document.body).backgroundColor') }
my ($night, $day) = (ground($dark), ground($light));
isnt $night, $day, "light and dark are the system's: $day, $night";
$light->press('Auto', 'header');
$light->press('Light', 'header');
is ground($light), $night, '… until somebody says otherwise';
$light->visit("$base/");
$light->settle;
is ground($light), $night, '… which is kept';
$light->press('Dark', 'header');
is ground($light), $day, '… and back';

#
# axe-core
#
SKIP: {
	my ($no_npm) = run_program([ 'sh', '-c', "cd $dir && npm install --silent --no-audit --no-fund axe-core\@4" ]);
	my $axe = slurp("$dir/node_modules/axe-core/axe.min.js");
	utf8::decode($axe);
	skip 'npm cannot install axe-core here', 4 if $no_npm || $axe eq '';
	my $form = Dashboard->new($browser, $base);
	$form->asks_for_token;
	for ([ 'the log-in', $form ], [ 'light', $light ], [ 'dark', $dark ], [ 'a phone', $phone ]) {
		my ($how, $page) = @$_;
		$page->js("$axe; 0");
		my @serious;
		for my $view ($page == $form ? undef : @views) {
			$page->go("#/$view") if defined $view;
			push @serious, map { ($view // '') . ": $_" } @{ $page->js("axe.run(document, { resultTypes: ['violations'] }).then(r => r.violations"
			    . ".filter(v => v.impact === 'serious' || v.impact === 'critical').map(v => v.id + ' ' + v.nodes.slice(0, 3).map(n => n.target.join(' ')).join(', ')))") };
		}
		is_deeply \@serious, [], "axe-core has nothing serious to say of $how";
	}
}

#
# a million jobs
#
$pg->query("SELECT jobq.pause('work', 'a million')");
my $begin = time;
$pg->query(<<"SQL") for 1 .. 20;
SELECT count(*) FROM jobq.enqueue_many('work', (SELECT jsonb_agg(jsonb_build_object('type', 'bulk', 'data', jsonb_build_object('n', i))) FROM generate_series(1, 50000) i))
SQL
note sprintf 'enqueued in %.0f s', time - $begin;
cmp_ok $pg->query("SELECT ready FROM jobq.queues WHERE name = 'work'"), '>=', 1_000_000, 'a million jobs are ready';
for my $view ('overview', 'queues', 'jobs', 'jobs?queue=work&state=ready', 'jobs?data.n=4711', 'dead', 'history') {
	$light->visit('about:blank');
	$light->visit("$base/#/$view");
	my $paint = $light->wait("performance.getEntriesByName('first-contentful-paint')[0]?.startTime", 'the first paint');
	$light->settle("$view of a million jobs");
	my $last = $light->js("Math.max(...performance.getEntriesByType('resource').map(r => r.responseEnd))");
	ok !$light->js("document.querySelector('#main > .banner[role=alert]') !== null"), sprintf '%s: first paint after %d ms, all its data after %d ms', $view, $paint, $last;
	cmp_ok $paint, '<', 5000, '… which does not wait for data' if $view eq 'overview';
}
done_testing;
