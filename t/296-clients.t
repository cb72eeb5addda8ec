# The worker libraries of contrib/clients: the same jobs run by each language's, on
# the driver worker of a whole jobqd.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Cwd qw(abs_path);
use JSON::PP;
use Test::More;
binmode Test::More->builder->$_, ':utf8' for qw(output failure_output todo_output);

my $clients = abs_path("$FindBin::Bin/../contrib/clients");
my $dir = temp_directory();
my $json = JSON::PP->new->canonical->allow_nonref;

# The handlers of each, by the same names: see what() below for what they mean.
my %program = (
	python => { run => 'python3', file => 'app.py', needs => [ 'python3', '--version' ], many => 10, text => <<'PY' },
import asyncio, json, os, subprocess, sys, time
sys.path.insert(0, os.environ["CLIENTS"])
from jobqd_worker import Fail, Worker
worker = Worker()

@worker.handler("echo")
def echo(job):
    return job.data["value"]

@worker.handler("fail")
async def fail(job):
    raise Fail(job.data["message"], job.data["class"], job.data.get("after"))

@worker.handler("throw")
def throw(job):
    raise ValueError("bööm")

@worker.handler("noise")
def noise(job):
    print("noise from itself")
    print('{"done":{"id":%d}}' % job.id)
    subprocess.run(["echo", "noise from a child"])
    return 1

@worker.handler("wait")
def wait(job):
    job.log("line one\nline zwö")
    job.progress(40, "half ö")
    for i in range(300):
        job.wait(0.1)

@worker.handler("slow")
def slow(job):
    begin = time.time()
    time.sleep(1)
    return [begin, time.time()]

@worker.handler("slow-async")
async def slow_async(job):
    begin = time.time()
    await asyncio.sleep(1)
    return [begin, time.time()]

@worker.handler("enqueue")
def enqueue(job):
    job.enqueue("sink", "child", {"of": job.id}, priority=7)

@worker.handler("wait-async")
async def wait_async(job):
    job.progress(40, "half ö")
    await asyncio.sleep(30)

@worker.handler()
def other(job):
    return {"type": job.type, "attempt": job.attempt, "tenant": job.tenant, "queue": job.queue}

worker.run()
PY
	node => { run => 'node', file => 'app.js', needs => [ 'node', '-e', 'process.exit(+process.versions.node.split(".")[0] < 16 ? 1 : 0)' ], many => 10, text => <<'JS' },
const { Worker, Fail } = require(process.env.CLIENTS + '/jobqd-worker.js');
const worker = new Worker();
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
worker.handle('echo', (job) => job.data.value);
worker.handle('fail', async (job) => { throw new Fail(job.data.message, job.data.class, job.data.after); });
worker.handle('throw', async () => { throw new Error('bööm'); });
worker.handle('noise', (job) => {
	console.log('noise from itself');
	console.log(`{"done":{"id":${job.id}}}`);
	process.stdout.write('noise from a child\n');
	return 1;
});
worker.handle('wait', async (job) => {
	job.log('line one\nline zwö');
	job.progress(40, 'half ö');
	await new Promise((done, stop) => {
		const timer = setTimeout(done, 30000);
		job.signal.addEventListener('abort', () => { clearTimeout(timer); stop(job.signal.reason); });
	});
});
worker.handle('slow', async () => {
	const begin = Date.now() / 1000;
	await sleep(1000);
	return [begin, Date.now() / 1000];
});
worker.handle('enqueue', (job) => job.enqueue('sink', 'child', { of: job.id }, { priority: 7 }));
worker.handle('*', (job) => ({ type: job.type, attempt: job.attempt, tenant: job.tenant, queue: job.queue }));
worker.run();
setInterval(() => {}, 60000);	// something that would keep it alive
JS
	ruby => { run => 'ruby', file => 'app.rb', needs => [ 'ruby', '--version' ], many => 10, text => <<'RB' },
require "#{ENV['CLIENTS']}/jobqd_worker"
worker = Jobqd::Worker.new
worker.handle('echo') { |job| job.data['value'] }
worker.handle('fail') { |job| raise Jobqd::Fail.new(job.data['message'], job.data['class'], retry_after: job.data['after']) }
worker.handle('throw') { raise ArgumentError, 'bööm' }
worker.handle('noise') do |job|
  puts 'noise from itself'
  puts %({"done":{"id":#{job.id}}})
  system 'echo noise from a child'
  1
end
worker.handle('wait') do |job|
  job.log("line one\nline zwö")
  job.progress(40, 'half ö')
  300.times { job.check; sleep 0.1 }
end
worker.handle('slow') { begun = Time.now.to_f; sleep 1; [begun, Time.now.to_f] }
worker.handle('enqueue') { |job| job.enqueue('sink', 'child', { of: job.id }, priority: 7); nil }
worker.handle { |job| { type: job.type, attempt: job.attempt, tenant: job.tenant, queue: job.queue } }
worker.run
RB
	php => { run => 'php', file => 'app.php', needs => [ 'php', '-r', 'exit(PHP_VERSION_ID < 80000 ? 1 : 0);' ], many => 1, text => <<'PHP' },
<?php
require getenv('CLIENTS') . '/jobqd_worker.php';
use Jobqd\{Fail, Job, Worker};
$worker = new Worker();
$worker->handle('echo', fn (Job $job) => $job->data['value']);
$worker->handle('fail', fn (Job $job) => throw new Fail($job->data['message'], $job->data['class'], $job->data['after'] ?? null));
$worker->handle('throw', fn () => throw new DomainException('bööm'));
$worker->handle('noise', function (Job $job) {
	echo "noise from itself\n", "{\"done\":{\"id\":{$job->id}}}\n";
	passthru('echo noise from a child');
	return 1;
});
$worker->handle('wait', function (Job $job) {
	$job->log("line one\nline zwö");
	$job->progress(40, 'half ö');
	for ($i = 0; $i < 300; $i++) {
		$job->check();
		usleep(100000);
	}
});
$worker->handle('slow', function () { $begin = microtime(true); sleep(1); return [$begin, microtime(true)]; });
$worker->handle('enqueue', function (Job $job) { $job->enqueue('sink', 'child', ['of' => $job->id], ['priority' => 7]); });
$worker->handle('exit', fn () => exit(3));
$worker->handle('*', fn (Job $job) => ['type' => $job->type, 'attempt' => $job->attempt, 'tenant' => $job->tenant, 'queue' => $job->queue]);
$worker->run();
PHP
	perl => { run => $^X, file => 'app.pl', needs => [ $^X, '-e', '1' ], many => 1, text => <<'PL' },
use strict;
use warnings;
use utf8;
use lib $ENV{CLIENTS};
use JobqdWorker;
use Time::HiRes qw(sleep time);
my $worker = JobqdWorker->new;
$worker->handle(echo => sub { $_[0]{data}{value} });
$worker->handle(fail => sub { my ($job) = @_; my $d = $job->{data}; $job->fail($d->{message}, class => $d->{class}, $d->{after} ? (retry_after => $d->{after}) : ()) });
$worker->handle(throw => sub { die "bööm\n" });
$worker->handle(noise => sub { print "noise from itself\n", qq({"done":{"id":$_[0]{id}}}\n); system 'echo noise from a child'; return 1 });
$worker->handle(wait => sub {
	my ($job) = @_;
	$job->log("line one\nline zwö");
	$job->progress(40, 'half ö');
	for (1 .. 300) { $job->check; sleep 0.1 }
});
$worker->handle(slow => sub { my $begin = time; sleep 1; return [ $begin, time ] });
$worker->handle(enqueue => sub { $_[0]->enqueue('sink', 'child', { of => $_[0]{id} }, priority => 7); return });
$worker->handle('*' => sub { my ($job) = @_; return { map { $_ => $job->{$_} } qw(type attempt tenant queue) } });
$worker->run;
PL
	sh => { run => 'sh', file => 'app.sh', needs => [ 'sh', '-c', 'jq --version && ps -A -o pid= -o ppid=' ], many => 1, text => <<'SH' },
. "$CLIENTS/jobqd_worker.sh"
job_echo() { jq -c .value; }
job_fail() { data=$(cat); get() { printf '%s\n' "$data" | jq -r "$1"; }; jobqd_fail "$(get .class)" "$(get .message)" "$(get '.after // ""')"; }
job_throw() { echo bööm >&2; exit 3; }
job_noise() { echo noise from itself; echo "{\"done\":{\"id\":$JOBQ_ID}}"; sh -c 'echo noise from a child'; echo 1; }
job_wait() { jobqd_log 'line one
line zwö'; jobqd_progress 40 'half ö'; sleep 30; }
job_slow() { date +%s.%N; sleep 1; echo "[0, $(date +%s.%N)]"; }
job_enqueue() { jobqd_enqueue sink child "{\"of\": $JOBQ_ID}" '{"priority": 7}'; }
job_default() { jq -cn --arg type "$JOBQ_TYPE" --arg attempt "$JOBQ_ATTEMPT" --arg tenant "$JOBQ_TENANT" --arg queue "$JOBQ_QUEUE" '{type: $type, attempt: ($attempt | tonumber), tenant: (if $tenant == "" then null else $tenant end), queue: $queue}'; }
jobqd_run
SH
);

my @languages = grep { my ($status) = run_program($program{$_}{needs}); $status == 0 } sort keys %program;
my @missing = grep { my $l = $_; !grep { $_ eq $l } @languages } sort keys %program;
for my $l (@languages) {
	my $path = spew("$dir/$program{$l}{file}", '');
	open my $f, '>:utf8', $path or die "$path: $!\n";
	print $f $program{$l}{text};
	close $f;
}
my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => "handlers:\n  nothing: {driver: noop}\n"
    . join('', map { "  $_: {driver: worker, argv: ['$program{$_}{run}', $dir/$program{$_}{file}], env: {CLIENTS: $clients, PYTHONDONTWRITEBYTECODE: '1'}, in_flight: $program{$_}{many}}\n" } @languages)
    . "retry: {default: {attempts: 1}, again: {attempts: 2}}\nqueues:\n  sink: {handler: nothing, workers: 0}\n"
    . join '', map { "  $_: {handler: $_, workers: 1, concurrency: $program{$_}{many}, max_payload: 2MiB, cancel: {grace: 20s}}\n" } @languages);
$d->start;
my $db = $pg->session;

sub sql { my ($text) = @_; $text =~ s/'/''/g; utf8::encode($text); return "'$text'" }
sub enqueue {
	my ($queue, $type, $data, $more) = @_;
	return $db->query("SELECT jobq.enqueue('$queue', '$type', " . sql($json->encode($data)) . ($more || '') . ')');
}
sub job {
	my ($id) = @_;
	my $text = $db->query("SELECT row_to_json(j) FROM (SELECT id, state, result, error, error_class, progress, progress_note, run_at, created_at FROM jobq.jobs WHERE id = $id) j");
	utf8::decode($text);
	return $json->decode($text);
}
sub ended { my ($id, $what) = @_; wait_for { $db->query("SELECT state FROM jobq.jobs WHERE id = $id") =~ /completed|dead|cancelled/ } $what, 60; return job($id) }
sub output { my ($id) = @_; my $text = $db->query("SELECT string_agg(text, '' ORDER BY attempt) FROM jobq.output WHERE job = $id"); utf8::decode($text); return $text }

sub conforms {
	my ($l) = @_;
	my $p = $program{$l};
	my $value = { 'ключ' => [ 1, 2.5, undef, JSON::PP::true, "a\"\\\n\t€ 𝄞", {}, [] ], n => 9007199254740991 };
	my $j = ended(enqueue($l, 'echo', { value => $value }), "$l: done");
	is $j->{state}, 'completed', "$l: done" or diag explain $j;
	my $got = $j->{result};
	# Here an empty object is an empty list.
	$got->{'ключ'}[5] = {} if $l eq 'php' && ref $got eq 'HASH' && ref $got->{'ключ'}[5] eq 'ARRAY';
	is_deeply $got, $value, "$l: … any JSON comes through, and all of Unicode" or diag explain $got;
	is_deeply ended(enqueue($l, 'something else', {}, ", tenant => 'acme'"), "$l: other")->{result},
	    { type => 'something else', attempt => 1, tenant => 'acme', queue => $l }, "$l: what a job is, and a handler for all other types";

	my $megabyte = 'x' x 1_000_000;
	$j = ended(enqueue($l, 'echo', { value => $megabyte }), "$l: a megabyte");
	ok $j->{state} eq 'completed' && $j->{result} eq $megabyte, "$l: a megabyte of data and of result" or diag $j->{state}, ' ', $j->{error} // '';

	for my $class (qw(validation rate_limit auth network timeout resource error)) {
		$j = ended(enqueue($l, 'fail', { message => "wëil $class", class => $class }), "$l: fail");
		is "$j->{error_class} $j->{error}", "$class wëil $class", "$l: fails with class $class";
	}
	my $id = enqueue($l, 'fail', { message => 'later', class => 'rate_limit', after => 600 }, ', max_attempts => 2');
	wait_for { $db->query("SELECT state FROM jobq.jobs WHERE id = $id") =~ /retrying|dead/ } "$l: retry";
	cmp_ok $db->query("SELECT extract(epoch FROM run_at - created_at)::int FROM jobq.jobs WHERE id = $id"), '>=', 590, "$l: … and when to try again";

	$id = enqueue($l, 'throw', {});
	$j = ended($id, "$l: exception");
	is $j->{error_class}, 'error', "$l: an exception fails the job, and not the program";
	like $j->{error}, $l eq 'sh' ? qr/exit status 3/ : qr/bööm/, "$l: … with its message";
	like output($id), qr/bööm/, "$l: … and a trace in its log";

	$id = enqueue($l, 'noise', {});
	$j = ended($id, "$l: noise");
	is "$j->{state} " . $json->encode($j->{result}), 'completed 1', "$l: what is printed breaks nothing";
	my $text = output($id);
	ok $text =~ /noise from itself/ && $text =~ /noise from a child/, "$l: … and is in the job's log" or diag $text;

	for my $type ('wait', $l eq 'python' ? 'wait-async' : ()) {
		$id = enqueue($l, $type, {});
		wait_for { (job($id)->{progress} // 0) == 40 } "$l: progress";
		is job($id)->{progress_note}, 'half ö', "$l: $type: progress, while it runs";
		$db->query("SELECT jobq.cancel($id)");
		is ended($id, "$l: cancel")->{state}, 'cancelled', "$l: … a cancel reaches its handler";
		like output($id), qr/line one\nline zwö/, "$l: … its log is kept" if $type eq 'wait';
	}

	$id = enqueue($l, 'enqueue', {});
	is ended($id, "$l: enqueue")->{state}, 'completed', "$l: puts in a job";
	is $db->query("SELECT type || ' ' || priority FROM jobq.jobs WHERE queue = 'sink' AND (data->>'of')::bigint = $id"), 'child 7', "$l: … which is there";

	for my $type ('slow', $l eq 'python' ? 'slow-async' : ()) {
		my @ids = split /\n/, $db->query("SELECT jobq.enqueue('$l', '$type') FROM generate_series(1, " . ($p->{many} > 1 ? 10 : 2) . ')');
		my @spans = map { ended($_, "$l: slow")->{result} } @ids;
		my $most = 0;
		for my $s (@spans) { my $n = grep { $_->[0] <= $s->[0] && $_->[1] > $s->[0] } @spans; $most = $n if $n > $most }
		if ($p->{many} > 1) { cmp_ok $most, '>', 4, "$l: $type: of ten jobs $most ran at the same time" }
		else { is scalar(grep { ref eq 'ARRAY' } @spans), 2, "$l: $type: one after the other" }
	}
	if ($l eq 'php') {
		is ended(enqueue($l, 'exit', {}), 'exit')->{error}, 'its handler called exit', "$l: exit fails the job";
	}
}

# By itself: messages and members that it does not know, a cancel right behind its
# job, and an end of input without quit.
sub alone {
	my ($l) = @_;
	my $p = $program{$l};
	my $begun = time;
	my @in = ({ hello => { protocol => 1, queue => 'q', in_flight => 3, new => 1 } }, { future => { x => [ 1 ] } }, map({ { job => { id => $_->[0], token => 't', type => $_->[1], data => { value => 'v' },
		attempt => 1, max_attempts => 1, tenant => undef, deadline => '2099-01-01T00:00:00Z', new => {} } } } [ 1, 'echo' ], [ 2, $l eq 'python' ? 'wait-async' : 'wait' ]), { cancel => { id => 2 } }, { cancel => { id => 99 } });
	my ($status, $out, $err) = run_program([ $p->{run}, "$dir/$p->{file}" ], env => { CLIENTS => $clients, PYTHONDONTWRITEBYTECODE => 1 }, in => join '', map { $json->encode($_) . "\n" } @in);
	my @said = map { $json->decode($_) } split /\n/, $out;
	is $status, 0, "$l: an end of input without quit: it leaves" or diag $err;
	is_deeply $said[0], { ready => {} }, "$l: … was ready";
	is_deeply [ grep { $_->{done} } @said ], [ { done => { id => 1, result => 'v' } } ], "$l: … finishes what it has";
	is join(' ', map { $_->{fail}{id} } grep { $_->{fail} } @said), 2, "$l: … and a cancel right behind its job is heard";
	cmp_ok time - $begun, '<', 25, "$l: … before it would have ended";
}

sub leaves {
	my %id = map { $_ => enqueue($_, 'slow', {}) } @languages;
	# a job that is only claimed when jobqd stops goes back
	for my $l (@languages) { wait_for { $d->log =~ /job (started|completed) id=$id{$l} / } "$l: to run" }
	is $d->stop, 0, 'jobqd stops';
	is job($id{$_})->{state}, 'completed', "$_: quit: the job is finished before it leaves" for @languages;
	# but for that whose handler called exit(3)
	is_deeply [ grep { /is no message|not understood|worker killed|program ended/ && !/exit status 3/ } split /\n/, $d->log ], [],
	    'no library said anything wrong, none was killed';
}

for my $l (sort keys %program) {
SKIP: {
		skip "$l is not installed, or too old, or (sh) jq or ps is", 1 if grep { $_ eq $l } @missing;
		alone($l);
		conforms($l);
	}
}
leaves();
done_testing;
