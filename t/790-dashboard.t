# The dashboard, in a real browser: log in, every view with data, what the
# buttons do, changes seen without a reload, the keys, what a role and a tenant
# do not see, and no request to elsewhere (S2-61, S2-66, S3-41, S3-42, S3-43,
# S3-44, S3-45, S3-47, S3-55, S3-56, S3-58, S3-63, S4-20, S4-50).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Browser;
use Dashboard;
use Digest::SHA qw(sha256_base64);
use Http;
use Jobqd;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time);

my $port = free_port();
my $base = "http://127.0.0.1:$port";
my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my %token = map { $_ => "token-of-$_" } qw(anna otto vera tina);
Api::tokens("$dir/tokens", [ 'anna', 'admin', '*', $token{anna} ], [ 'otto', 'operator', '*', $token{otto} ],
    [ 'vera', 'viewer', '*', $token{vera} ], [ 'tina', 'operator', 'acme', $token{tina} ]);
# An ordinary role, which tenants are fenced for.
$pg->query('CREATE ROLE owner LOGIN; GRANT CREATE ON DATABASE jobq TO owner');
my $url = $pg->url =~ s/user=jobq/user=owner/r;
my $config = <<"YAML";
database: {url: "$url"}
handlers:
  null: {driver: noop}
  sh: {driver: exec, argv: [sh, -c, 'echo "a line of the log"; exit 1']}
retry: {once: {attempts: 1}}
queues:
  work: {handler: null, workers: 2, retry: once}
  mail: {handler: null, workers: 1, timeout: 10m, cancel: {grace: 1s}}
  shell: {handler: sh, retry: once}
schedules:
  nightly: {cron: "30 2 * * *", timezone: Europe/Berlin, queue: work, type: tidy, description: "Tidies up"}
alerts:
  dead: {metric: dead_letters, above: 0}
workflows:
  onboard: {steps: {create: {queue: work, type: create}, welcome: {queue: work, type: welcome, after: [create]}}}
monitor: {interval: 500ms, statistics: 1s, health_file: ""}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens, rate_limit: 10000/s}
YAML
my $d = Jobqd::Daemon->new(pg => $pg, config => $config);
$d->start;

#
# the page
#
my $http = Http->new("127.0.0.1:$port");
my $r = $http->get('/');
is $r->{status}, 200, 'there is a page at /';
is $r->{headers}{'content-type'}, 'text/html; charset=utf-8', '… which is HTML';
cmp_ok length $r->{body}, '<', 120 * 1024, sprintf '… of %.1f KiB in all, below 120', length($r->{body}) / 1024;
unlike $r->{body}, qr{(?:src|href)="?(?:https?:)?//}, '… that names nothing elsewhere';
unlike $r->{body}, qr/\s(?:on\w+|style)="/, '… and has no handler and no style in its markup';
my $policy = $r->{headers}{'content-security-policy'};
like $policy, qr/^default-src 'none'; script-src 'sha256-\S+'; style-src 'sha256-\S+'; connect-src 'self';/, 'its policy is strict';
unlike $policy, qr/unsafe|\*|https?:/, '… without exceptions';
for my $element ('style', 'script') {
	my ($text) = $r->{body} =~ m{<$element>(.*?)</$element>}s;
	like $policy, qr/\Q$element-src 'sha256-@{[sha256_base64($text)]}='/, "… and names this $element";
}
is $r->{headers}{'cache-control'}, 'no-cache', 'it is asked for again';
my $same = $http->get('/', 'If-None-Match' => $r->{headers}{etag});
is "$same->{status} " . length($same->{body} // ''), '304 0', '… and sent when it is another';
is $http->get('/', 'If-None-Match' => '"other"')->{status}, 200, '… like now';
is $http->request('/', method => 'HEAD')->{headers}{'content-length'}, length $r->{body}, 'HEAD tells its length';

my $browser = Browser->new or do {
	note Browser::missing();
	SKIP: { skip Browser::missing(), 1 }
	done_testing;
	exit;
};

#
# data
#
my ($dead, $done, $long, $theirs) = map { $pg->query($_) }
    "SELECT jobq.enqueue('work', 'welcome', '{\"fail\": \"validation\", \"message\": \"no such person\", \"user\": 7}', tags => '{urgent}', tenant => 'acme')",
    "SELECT jobq.enqueue('work', 'welcome', '{\"user\": 8}', tenant => 'other')",
    "SELECT jobq.enqueue('mail', 'nap', '{\"sleep_ms\": 600000}')",
    "SELECT jobq.enqueue('work', 'later', '{\"user\": 9}', run_at => now() + interval '1 hour', tenant => 'other')";
my $logged = $pg->query("SELECT jobq.enqueue('shell', 'script')");
my $flow = $pg->query("SELECT jobq.workflow('onboard', '{\"name\": \"Acme\"}')");
$pg->query("SELECT jobq.schedule_put('weekly', '{\"cron\": \"0 8 * * 1\", \"queue\": \"work\", \"type\": \"digest\"}')");
sub state_of { return $pg->query("SELECT state FROM jobq.jobs WHERE id = $_[0]") }
wait_for { state_of($dead) eq 'dead' && state_of($done) eq 'completed' && state_of($long) eq 'running' && state_of($logged) eq 'dead' } 'the jobs';
wait_for { $pg->query("SELECT count(*) FROM jobq.alerts") > 0 } 'an alert';
wait_for { $pg->query("SELECT coalesce(sum(completed), 0) FROM jobq.statistics WHERE queue = 'work'") > 0 } 'statistics';

#
# log in
#
my $page = Dashboard->new($browser, $base);
$page->asks_for_token;
$page->try_token('wrong');
my $said = $page->wait("document.querySelector('.login .bad').textContent", 'the refusal');
pass "a wrong token: $said (S4-20)";
ok $page->js("document.querySelector('#nav').hidden && document.querySelector('#search').hidden"), '… and nothing else is there';
$page->login($token{anna});
is $page->js('document.cookie'), '', 'the cookie is none of the script\'s';
is $page->js('JSON.stringify([Object.keys(localStorage), Object.keys(sessionStorage)])'), '[[],[]]', '… and the token is not kept elsewhere';

#
# every view
#
my @views = (
	[ 'overview', 'Throughput', 'Busy queues', 'no such person', 'running' ],
	[ 'queues', 'work', 'mail', 'active' ], [ 'queues/work', 'Backlog', 'Types, in the last hour', 'welcome', 'Settings' ],
	[ 'jobs', 'welcome', 'urgent', 'no such person', '7 jobs' ], [ 'jobs?state=running', 'nap' ], [ 'jobs?data.user=9', 'later', '1 job' ],
	[ "jobs/$dead", 'no such person', 'validation', 'Attempt 1', '"user": 7', 'acme', 'Retry', 'Edit data', 'Delete' ],
	[ "jobs/$logged", 'a line of the log', 'exit 1' ], [ "jobs/$theirs", 'Why it does not run' ],
	[ 'history', 'no such person', 'completed' ],
	[ 'dead', 'By reason', 'no such person', 'One by one', 'not yet' ],
	[ 'schedules', 'nightly', '30 2 * * *', 'Europe/Berlin', 'Tidies up', 'weekly' ],
	[ 'schedules/nightly', 'Tidies up', 'Next runs' ], [ 'schedules/weekly/edit', 'Next runs', 'Save' ],
	[ 'workflows', 'onboard' ], [ "workflows/$flow", 'create', 'welcome', 'Acme' ],
	[ 'workers', 'node', 'alive', 'mail', 'busy' ], [ 'alerts', 'dead', 'dead_letters', 'above 0' ], [ 'audit', 'schedule' ],
);
for (@views) {
	my ($view, @texts) = @$_;
	$page->go("#/$view");
	my @missing = grep { !$page->shows($_, 20) } @texts;
	is_deeply \@missing, [], "$view: " . join ', ', @texts;
}
# Charts: what they show is also told and can be read.
$page->go('#/overview');
# S3-41, S3-62, S2-61: live figures and their charts.
like $page->js("document.querySelector('svg[role=img]').getAttribute('aria-label')"), qr{^Throughput: completed \d\S*/\w+, at most \d\S*/\w+; failed}, 'a chart tells what it shows';
$page->js("document.querySelector('svg[role=img]').focus()");
$page->key('ArrowLeft');
like $page->js("document.querySelector('figcaption').innerText"), qr/\d\d:\d\d/, '… its points by the arrow keys';
$page->js("document.querySelector('figure summary').click()");
ok $page->wait("document.querySelectorAll('figure tbody tr').length", 'the table of a chart'), '… and as a table';
for my $range (qw(24h 7d 1h)) {
	$page->moved("[...document.querySelectorAll('.title a')].find(a => a.hash.endsWith('range=$range')).click()");
	ok $page->js("document.querySelector('.title [aria-current]').hash.endsWith('range=$range')"), "… over $range";
}

#
# what the buttons do
#
$page->go('#/queues/mail');
$page->press('Pause');
like $page->asked, qr/Pause the queue mail\?.*What runs \(1\)/s, 'a question says what and how many';
$page->fill(reason => 'the provider is down');
$page->press('Pause', 'dialog');
# S3-44, S3-58
ok $page->shows('the provider is down'), 'paused, and the reason is shown';
is $pg->query("SELECT paused, pause_reason, paused_by FROM jobq.queues WHERE name = 'mail'"), 't|the provider is down|anna', '… in the database, and by whom';
$page->press('Resume');
$page->wait(Dashboard::button('Pause') . ' !== undefined', 'the queue to go on');
is $pg->query("SELECT paused FROM jobq.queues WHERE name = 'mail'"), 'f', 'resumed';

$page->go("#/jobs/$long");
$page->press('Cancel');
$page->press('Cancel the job', 'dialog');
wait_for { state_of($long) eq 'cancelled' } 'the job to be cancelled';
ok $page->shows('Attempt 1 cancelled'), 'a job is cancelled';
$page->go("#/jobs/$dead");
$page->press('Edit data');
$page->fill(data => '{"user": ');
$page->press('Save', 'dialog');
like $page->wait("document.querySelector('dialog .bad').textContent", 'the error'), qr/no JSON/, 'what is no JSON is refused, and the dialog stays';
$page->fill(data => '{"user": 77}');
$page->press('Save', 'dialog');
ok $page->shows('"user": 77'), 'its data is changed';
$page->go('#/dead');
$page->press('Review', "#main tr[data-key=\"$dead\"]");
$page->fill(notes => 'called them');
$page->press('Save', 'dialog');
ok $page->shows('called them'), 'a dead letter is reviewed';
is $pg->query("SELECT reviewed_by, notes FROM jobq.dead_letters WHERE job_id = $dead"), 'anna|called them', '… in the database';
$page->go("#/jobs/$dead");
$page->press('Retry');
wait_for { state_of($dead) eq 'completed' } 'the job to be run again';
# S3-42, S3-47
ok $page->shows('Attempt 2 completed'), 'a dead job is retried, and its end is shown';
$page->go('#/dead');
$page->press('Retry all');
like $page->asked, qr/Retry 1 job\?/, 'a group says how many';
$page->press('Retry 1 job', 'dialog');
wait_for { $pg->query("SELECT max(attempt) FROM jobq.attempts WHERE job_id = $logged") == 2 } 'the group to be run again';
pass 'a group is retried';
my $before = $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = 'tidy'");
$page->go('#/schedules');
$page->press('Run now', '#main tr[data-key=nightly]');
$page->press('Run now', 'dialog');
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE type = 'tidy'") == $before + 1 } 'a run';
pass 'a schedule is run now (S3-43, S3-56)';
$page->press('Pause', '#main tr[data-key=nightly]');
wait_for { $pg->query("SELECT paused FROM jobq.schedules WHERE name = 'nightly'") eq 't' } 'its pause';
pass '… and paused (S3-44, S3-58)';
# A new one: the next times while it is typed.
$page->go('#/new-schedule');
$page->fill(rule => '61 * * * *');
$said = $page->wait("document.querySelector('[aria-live=polite] .bad')?.textContent", 'what is wrong with the rule');
pass "a wrong rule: $said";
$page->fill(rule => '0 12 1 1 *');
ok $page->wait("[...document.querySelectorAll('[aria-live=polite] time[data-kind=at]')].filter(t => t.dateTime.endsWith('-01-01T12:00:00.000Z')).length === 5", 'the next five times'),
    'the next five times of a right one';
$page->fill(@$_) for [ name => 'new-year' ], [ queue => 'work' ], [ description => 'Fireworks' ];
$page->press('Save');
ok $page->shows('Fireworks'), 'it is made';
# S3-63
like $pg->query("SELECT spec, queue FROM jobq.schedules WHERE name = 'new-year'"), qr/0 12 1 1 \*.*work/, '… in the database';
$pg->query("SELECT jobq.schedule_put('new-year', definition || '{\"jitter\": \"5m\"}') FROM jobq.schedule WHERE name = 'new-year'");
$page->go('#/schedules/new-year/edit');
$page->fill(description => 'And music');
$page->press('Save');
ok $page->shows('And music'), 'it is changed';
is $pg->query("SELECT definition ->> 'jitter', definition ->> 'cron' FROM jobq.schedule WHERE name = 'new-year'"), '5m|0 12 1 1 *', '… and the rest of it stays';
$page->press('Delete');
$page->press('Delete', 'dialog');
wait_for { $pg->query("SELECT count(*) FROM jobq.schedules WHERE name = 'new-year'") == 0 } 'it to be deleted';
pass '… and deleted';
$page->go('#/alerts');
$page->press('Thresholds');
$page->fill(above => '500');
$page->press('Set', 'dialog');
ok $page->shows('above 500'), 'a threshold is changed';
$page->press('Silence', '#main tr[data-key="rule dead"]');
$page->fill(reason => 'holidays');
$page->press('Silence', 'dialog');
wait_for { $pg->query("SELECT reason FROM jobq.silences") eq 'holidays' } 'the silence';
pass 'an alert is silenced';
$page->go('#/jobs?type=later');
$page->press('Cancel all …');
like $page->asked, qr/Cancel 1 job\?.*type later/s, 'all that were found: how many, and which';
$page->press('Cancel 1 job', 'dialog');
wait_for { state_of($theirs) eq 'cancelled' } 'them to be cancelled';
pass '… are cancelled';
$page->go("#/jobs/$done");
$page->press('Delete');
$page->press('Delete', 'dialog');
wait_for { state_of($done) eq '' } 'it to be deleted';
pass 'a job is deleted';
$page->go('#/queues/work');
$page->press('Clean …');
$page->fill(older_than => '0s');
$page->press('Count them', 'dialog');
$page->wait("document.querySelector('dialog[open] h2').textContent.startsWith('Remove ')", 'how many');
like $page->asked, qr/Remove \d+ jobs of work\?.*They are completed/s, 'what has ended: how many';
$page->press('Cancel', 'dialog');
$pg->query("SELECT jobq.pause('shell'), jobq.enqueue('shell')");
$page->go('#/queues/shell');
$page->press('Clear …');
like $page->asked, qr/Cancel all 1 job that wait/, 'what waits: how many';
$page->fill(name => 'shel');
$page->press('Cancel 1 job', 'dialog');
like $page->wait("document.querySelector('dialog .bad').textContent", 'the refusal'), qr/not its name/, '… and it has to be named';
$page->fill(name => 'shell');
$page->press('Cancel 1 job', 'dialog');
wait_for { $pg->query("SELECT ready FROM jobq.queues WHERE name = 'shell'") == 0 } 'it to be cleared';
pass '… is cancelled';

#
# live
#
$page->go('#/jobs');
ok eval { $page->wait("document.querySelector('#link').textContent === 'live'", 'the stream'); 1 }, 'the page says that it is live';
$page->js('window.before = 1');
my $new = $pg->query("SELECT jobq.enqueue('mail', 'breaking-news', '{\"sleep_ms\": 600000}')");
my $begin = time;
# S2-66, S3-41, S1-65
ok $page->shows('breaking-news'), sprintf 'a new job is seen after %.1f s', time - $begin;
is $page->js('window.before'), 1, '… without a reload';
$page->go("#/jobs/$new");
# S3-42, S3-55
ok $page->shows('Attempt 1 runs'), 'a job that runs';
$pg->query("SELECT jobq.cancel($new)");
ok $page->shows('Attempt 1 cancelled'), '… is seen to be cancelled';
# The process of the API dies, and another comes.
my ($api) = $d->pids(qr/^jobqd: api$/);
kill 'KILL', $api;
wait_for { my ($next) = $d->pids(qr/^jobqd: api$/); $next && $next != $api } 'another api';
ok eval { $page->wait("document.querySelector('#link').textContent === 'live'", 'the stream again'); 1 }, 'the api dies, and another streams on';

#
# keys
#
$page->go('#/overview');
$page->key('g', 'q');
ok $page->is_at('#/queues'), 'g q: the queues';
$page->key('j');
is $page->js('document.activeElement.textContent'), 'mail', 'j: the first row';
$page->key('j');
is $page->js('document.activeElement.textContent'), 'shell', 'j: the second';
$page->key('k', 'Enter');
ok $page->is_at('#/queues/mail'), 'k, Enter: the first one\'s page';
$page->key('/');
is $page->js('document.activeElement.type'), 'search', '/: the field to search';
$page->type('state:completed data.user=77');
$page->key('Enter');
ok $page->is_at('#/jobs?state=completed&data.user=77'), 'words: a list of jobs';
is $page->js("document.querySelectorAll('#main tbody tr').length"), 1, '… of one';
$page->key('/');
$page->type("$dead");
$page->key('Enter');
ok $page->is_at("#/jobs/$dead"), 'a number: that job';
$page->key('?');
like $page->asked, qr/Keys.*find jobs/s, '?: help';
$page->key('Escape');
ok $page->wait("document.querySelector('dialog') === null", 'the help to be gone'), 'Escape: closed';
$page->key('g', 'u');
ok $page->is_at('#/audit'), 'g u: the audit';
for my $view ('nowhere', 'constructor', 'jobs/1/2/3', '%') {
	$page->go("#/$view");
	ok $page->shows('There is no such page'), "an address that there is not: $view";
}
$page->go('#/jobs/999999999');
pass 'a job that is not there: ' . $page->js("document.querySelector('#main .banner').textContent");

# Somebody who goes on before a slow answer is there is not taken back by it.
$page->js(<<'JS');
{
	const swift = fetch;
	let n = 0;
	window.slow = new Promise(done => {
		window.fetch = (...what) => n++ > 0 ? swift(...what) :
		    new Promise(go => setTimeout(go, 1000)).then(() => swift(...what)).finally(() => setTimeout(done));
	});
	location.hash = '#/audit?action=pause';
	setTimeout(() => { location.hash = '#/audit?action=resume'; }, 50);
}
JS
$page->js('window.slow');
ok $page->is_at('#/audit?action=resume') && !$page->has('Loading'), 'a slow answer that is not wanted any more changes nothing';

#
# roles and tenants
#
is $page->places, 'overview queues jobs history dead schedules workflows workers alerts audit', 'an admin has all views';
my $vera = Dashboard->new($browser, $base)->login($token{vera});
is $vera->places, 'overview queues jobs history dead schedules workflows workers alerts', 'a viewer has all but the audit';
for my $view ('queues', 'queues/work', 'jobs', "jobs/$dead", 'dead', 'schedules', 'schedules/weekly', "workflows/$flow", 'alerts') {
	$vera->go("#/$view");
	is $vera->buttons, '', "… and no button in $view";
}
my $tina = Dashboard->new($browser, $base)->login($token{tina});
is $tina->places, 'overview queues jobs history dead schedules workflows', 'a tenant\'s token sees no workers, alerts and audit';
$tina->go('#/jobs');
ok $tina->shows($dead), 'it sees its own jobs';
# S4-50
ok !$tina->has('other') && !$tina->has('breaking-news'), '… and no others';
$tina->go('#/queues');
is $tina->buttons, '', '… and may do nothing to a queue';
$tina->go("#/jobs/$dead");
like $tina->buttons, qr/Delete/, '… but to its jobs';
$tina->go("#/jobs/$long");
like $tina->js("document.querySelector('#main .banner').textContent"), qr/there is no/, 'another\'s job is not there';
$vera->press('Log out', 'header');
$vera->wait("document.querySelector('input[name=token]') !== null", 'the form');
is $vera->js("fetch('v1/jobs').then(r => r.status)"), 401, 'after the log-out the browser is not let in any more';

#
# without the stream, and without jobqd
#
$vera->call('Network.setBlockedURLs', { urls => ['*/v1/events*'] });
$vera->login($token{vera});
$vera->go('#/jobs?type=polled');
is $vera->js("document.querySelector('#link').textContent"), 'every 10 s', 'no stream: the page says so (S3-45)';
$new = $pg->query("SELECT jobq.enqueue('mail', 'polled', run_at => now() + interval '1 hour')");
# S3-45
ok $vera->shows($new), '… and looks again by itself';
$page->go("#/jobs/$new");
$d->stop;
ok eval { $page->wait("document.querySelector('#link').textContent === 'not connected'", 'that it is not there'); 1 }, 'no jobqd: the page says so';
ok $page->has('polled'), '… and what was shown stays';
$d->start;
$pg->query("SELECT jobq.cancel($new)");
ok $page->wait("document.querySelector('input[name=token]') !== null", 'the form'), 'another jobqd, which does not know the cookie: the form';
$page->try_token($token{anna});
$page->settle;
ok $page->is_at("#/jobs/$new") && $page->shows('cancelled'), '… and then the view that there was';
ok eval { $page->wait("document.querySelector('#link').textContent === 'live'", 'the stream'); 1 }, '… and is live';

is_deeply [ map { @{ $_->{trouble} } } $page, $vera, $tina ], [], 'neither console nor policy had anything to say';
is_deeply [ grep { !/^\Q$base\E\/|^data:/ } map { @{ $_->{requests} } } $page, $vera, $tina ], [],
    'nothing was asked for from elsewhere, in ' . @{ $page->{requests} } . ' requests';
done_testing;
