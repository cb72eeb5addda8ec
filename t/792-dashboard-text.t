# Nothing that is stored becomes markup in the dashboard, or runs: 200 strings
# that would, in every field that somebody else can fill, looked at in every
# view, without the policy that forbids it anyhow (S2-61, S3-42, S4-20).
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
handlers:
  null: {driver: noop}
  talk: {driver: exec, argv: [sh, -c, 'head -c 100000 | tee /dev/stderr; exit 65']}
retry: {once: {attempts: 1}}
queues:
  work: {handler: null, workers: 2, retry: once}
  mail: {handler: null}
  talk: {handler: talk, workers: 2, retry: once}
alerts:
  dead: {metric: dead_letters, above: 0}
workflows:
  onboard: {steps: {create: {queue: work, type: create}}}
monitor: {interval: 500ms, statistics: 1s, health_file: ""}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens, rate_limit: 10000/s}
YAML
$d->start;

my $n = 0;
my @bad = map { my $text = $_; map { (my $t = $text) =~ s/HIT/'window.hit=' . ++$n/ge; $t } 1 .. 8 } (
	'<script>HIT</script>', '"><script>HIT</script>', '<img src=x onerror=HIT>', '\'"><img src=x onerror="HIT">', '<svg onload=HIT>', '<svg/onload=HIT//',
	'javascript:HIT', '<a href="javascript:HIT">x</a>', '<iframe srcdoc="<script>parent.HIT</script>"></iframe>', '<body onload=HIT>', '${HIT}', '{{HIT}}',
	'<input autofocus onfocus=HIT>', '<details open ontoggle=HIT>x</details>', '</title><script>HIT</script>', '</textarea><script>HIT</script>',
	'<!--<img src="--><img src=x onerror=HIT//">', '<math><mtext><table><mglyph><style><img src=x onerror=HIT>', '<form action="javascript:HIT"><button>x</button></form>',
	'<object data="javascript:HIT"></object>', '\');HIT;//', '";HIT;//', '<style>@import "//evil.example/HIT"</style>', '<link rel=stylesheet href="//evil.example/?HIT">',
	'&lt;script&gt;HIT&lt;/script&gt;',
);
is scalar(@bad), 200, '200 strings that would run, ask for something or change the page';
my $array = 'ARRAY[' . join(',', map { (my $t = $_) =~ s/'/''/g; "'$t'" } @bad) . ']';

#
# into every field
#
$pg->query(<<"SQL");
CREATE TABLE bad AS SELECT t, i FROM unnest($array) WITH ORDINALITY u(t, i);
SELECT jobq.enqueue('work', left(t, 255), jsonb_build_object('fail', 'validation', 'message', t, t, jsonb_build_array(t)), tenant => left(t, 63),
    tags => ARRAY[left(t, 63)], unique_key => t, key => t) FROM bad;
SELECT jobq.enqueue('talk', left(t, 255), jsonb_build_object(t, t)) FROM bad WHERE i % 10 = 0;
SELECT jobq.enqueue('mail', left(t, 255), jsonb_build_object(t, t), tenant => left(t, 63), run_at => now() + interval '1 day') FROM bad;
SELECT jobq.schedule_put('s' || i, jsonb_build_object('every', '10h', 'queue', 'work', 'type', t, 'description', t, 'data', jsonb_build_object(t, t)))
FROM bad WHERE i % 8 = 1;
SELECT jobq.pause('mail', t) FROM bad WHERE i = 1;
SELECT jobq.pause('mail', t, type => t, tenant => left(t, 63)) FROM bad WHERE i % 8 = 2;
SELECT jobq.workflow('onboard', jsonb_build_object(t, t)) FROM bad WHERE i % 8 = 3;
SQL
wait_for { $pg->query('SELECT count(*) FROM jobq.dead_letters') == 220 } '220 dead letters';
wait_for { $pg->query('SELECT count(*) FROM jobq.alerts') > 0 } 'an alert';
$pg->query(<<'SQL');
SELECT jobq.review(d.job_id, left(t, 63), t) FROM jobq.dead_letters d JOIN jobq.jobs j ON j.id = d.job_id JOIN bad ON t = j.unique_key WHERE d.queue = 'work';
SELECT jobq.alert_ack('dead', NULL, left(t, 63), t) FROM bad WHERE i = 17;
SELECT jobq.alert_silence('dead', now() + interval '1 hour', NULL, t) FROM bad WHERE i = 25;
SQL
my @dead = split /\n/, $pg->query("SELECT job_id FROM jobq.dead_letters WHERE queue = 'work' ORDER BY 1");
my @talked = split /\n/, $pg->query("SELECT job_id FROM jobq.dead_letters WHERE queue = 'talk' ORDER BY 1");
my @flows = split /\n/, $pg->query('SELECT id FROM jobq.workflows ORDER BY 1');

#
# in every view
#
my $page = Dashboard->new($browser, $base);
$page->call('Page.setBypassCSP', { enabled => JSON::PP::true });
$page->login('token-of-anna');
# What none of its own views has.
my $foreign = "(document.querySelectorAll('img, iframe, object, embed, math, #main form[action], script:not(body > script), body link, style:not(head > style), "
    . "[onerror], [onload], [onfocus], [ontoggle]').length + [...document.links].filter(a => a.protocol === 'javascript:').length + (window.hit ? 1000 : 0))";
my ($looked, $found, $shown) = (0, 0, 0);
sub look { $looked++; $found += $page->js($foreign); $shown += $page->js("(document.querySelector('#main').innerText.match(/window.hit=/g) || []).length") }
for my $view ('overview', 'queues', 'queues/mail', 'queues/work', 'dead', 'history', 'schedules', (map { "schedules/s" . (8 * $_ + 1) } 0 .. 24), (map { "schedules/s" . (8 * $_ + 1) . '/edit' } 0 .. 24),
    'workflows', (map { "workflows/$_" } @flows), 'alerts', 'audit', 'workers', 'jobs?queue=mail', map { "jobs/$_" } @dead, @talked) {
	$page->go("#/$view");
	look();
}
# Page after page of the lists.
for my $list ('jobs', 'dead', 'history', 'audit') {
	$page->go("#/$list");
	for (1 .. 20) {
		look();
		last unless $page->has_button('Next page');
		$page->moved(Dashboard::button('Next page') . '.click()');
	}
}
# Dialogs that show and take them.
for my $id (@dead[map { $_ * 8 } 0 .. 24]) {
	$page->go("#/jobs/$id");
	$page->press('Edit data');
	$page->asked;
	look();
	$page->press('Cancel', 'dialog');
}
# A filter of its own, and the address.
for my $i (map { $_ * 8 } 0 .. 24) {
	$page->go('#/overview');
	$page->key('/');
	$page->type("type:\"$bad[$i]\"");
	$page->moved("document.querySelector('#search').requestSubmit()");
	look();
}
cmp_ok $shown, '>', 5000, "200 strings in every field, $looked views: shown $shown times";
is $found, 0, '… and never as markup';
is $page->js('window.hit === undefined'), JSON::PP::true, '… none has run';
is $page->{dialogs}, 0, '… none has opened a dialog';
is_deeply [ grep { !/^\Q$base\E\/|^data:image/ } @{ $page->{requests} } ], [], '… none has asked for anything';
is_deeply $page->{trouble}, [], '… and the console has nothing to say';
$page->go("#/jobs/$dead[0]");
ok $page->has($bad[0]), 'they are shown as they are (S2-61)';
done_testing;
