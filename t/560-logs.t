# The log: what it says of jobs, in both formats, logs of their own for queues
# and schedules, rotation, storms.
# S0-56 S0-59 S0-69 S1-47 S1-48 S4-34 S4-35
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $json = JSON::PP->new->utf8;
my $text = <<'YAML';
handlers:
  null: {driver: noop}
  talk: {driver: exec, argv: [/bin/sh, -c, "echo nonsense >&3"]}
retry:
  quick: {attempts: 3, backoff: fixed, base: 50ms, jitter: 0%}
queues:
  own:    {handler: null, workers: 2, log: DIR/own.log, retry: quick}
  chatty: {handler: null, log: DIR/chatty.log, log_level: debug, retry: quick}
  plain:  {handler: null, workers: 2, concurrency: 10, retry: quick}
  talk:   {handler: talk, log: DIR/own.log}
  full:   {handler: null, log: /dev/full, retry: quick}
schedules:
  ticks: {cron: "* * * * * *", queue: plain, type: tick, data: {fail: error, message: no tick today}, log: DIR/ticks.log}
  quiet: {cron: "* * * * * *", queue: plain, type: tack}
YAML
my $d = Jobqd::Daemon->new(pg => $pg, config => $text);
my $dir = $d->{dir};

sub configure {
	my ($yaml, %log) = @_;
	$yaml =~ s/DIR/$dir/g;
	my %l = (file => $d->{log}, level => 'info', format => 'text', %log);
	$d->configure($yaml . "log: {file: $l{file}, level: $l{level}, format: $l{format}}\n");
}
sub own { return slurp("$dir/$_[0].log") }
sub enqueue {
	my ($queue, $type, $data, $more) = @_;
	return $pg->query("SELECT jobq.enqueue('$queue', '$type', '" . $json->encode($data) . "'" . ($more || '') . ')');
}
sub state_of { return $pg->query("SELECT state FROM jobq.jobs WHERE id = $_[0]") }
sub wait_state {
	my ($id, $state) = @_;
	wait_for { state_of($id) eq $state } "job $id to be $state";
}
sub line_of {
	my ($file, $pattern) = @_;
	my $line;
	wait_for { ($line) = grep { $_ =~ $pattern } split /\n/, own($file); defined $line } "$pattern in $file";
	return $line;
}

#----------------------------------------------------------------------
# Logs of their own.

configure($text);
$d->start;
line_of('own', qr/info  queue own \[\d+\]: pool opened/);
pass 'the lines of a queue are in its own log: S0-59';
line_of('own', qr/queue own \[\d+\]: worker started worker=$_ pid=\d+/) for 0, 1;
pass 'with each worker that starts: S1-48 S4-35';
unlike $d->log, qr/ info +queue own /, '… and not in the main one';
line_of('ticks', qr/info  scheduler \[\d+\]: schedule registered schedule=ticks /);
my $fired = line_of('ticks', qr/schedule fired schedule=ticks job=\d+/);
my ($job) = $fired =~ /job=(\d+)/;
my $dead = line_of('ticks', qr/queue plain \[\d+\]: job dead id=$job /);
pass 'a schedule\'s log has its firings, and the ends of its jobs: S0-59';
unlike $d->log, qr/(?:registered|fired) schedule=ticks/, '… which are not in the main log';
like $d->log, qr/schedule registered schedule=quiet/, 'one without is in the main log';
like $d->log, qr/warn  queue plain \[\d+\]: job dead id=$job /, 'a warning is in both (S0-56)';

#----------------------------------------------------------------------
# What is said of a job.

my $id = enqueue('chatty', 'greet', { sleep_ms => 20 }, ", tenant => 'acme'");
my $line = line_of('chatty', qr/job completed id=$id /);
like $line, qr/ id=$id queue=chatty type=greet tenant=acme attempt=1 worker=0 duration_ms=[\d.]+$/,
    'a completed job, at debug: queue, type, tenant, attempt, worker, duration: S0-69 S4-34';
line_of('chatty', qr/debug queue chatty \[\d+\]: job started id=$id queue=chatty type=greet tenant=acme attempt=1 worker=0$/);
pass 'log_level: debug of a queue has each start, too';

$id = enqueue('own', 'send', { fail => 'network', message => 'no "route" to host' });
wait_state($id, 'dead');
like line_of('own', qr/job failed id=$id .*attempt=1/),
    qr/ class=network failures=1 allowed=3 retry_ms=50 reason=backoff error="no \\"route\\" to host"$/, 'a failure, when it is tried again and why: S1-47';
like line_of('own', qr/job dead id=$id /), qr/^\S+ warn .* attempt=3 .* failures=3 allowed=3 reason="attempts used up" error=/, 'a death and its reason (S1-47)';
$id = enqueue('own', 'send', { fail => 'rate_limit', retry_after => 3600 });
wait_state($id, 'retrying');
like line_of('own', qr/job failed id=$id /), qr/ class=rate_limit .* retry_ms=3600000 reason=Retry-After /, 'the other side\'s wish as the reason';
$id = enqueue('own', 'send', { fail => 'validation' });
like line_of('own', qr/job dead id=$id /), qr/ failures=1 allowed=1 reason="attempts used up"/, 'validation is not tried again';
$id = enqueue('own', 'send', { crash => JSON::PP::true }, ', max_attempts => 1');
like line_of('own', qr/job dead id=$id /), qr/ class=crash .* error="its worker process (?:died|ended)/, 'a crash (S1-48)';
line_of('own', qr/warn  queue own \[\d+\]: worker died worker=\d/);
pass 'and the worker';

enqueue('talk', 't', {});
line_of('own', qr/warn  worker talk\/0 \[\d+\]: progress not understood/);
pass 'what a worker says of a program is in the log of the queue, which several may share';
my @full = map { enqueue('full', 't', { fail => 'error' }) } 1 .. 20;
wait_state($_, 'dead') for @full;
pass 'a log on a full disk stops no job';

$pg->query("SELECT jobq.pause('own', 'lunch')");
line_of('own', qr/: queue is paused queue=own/);
$pg->query("SELECT jobq.resume('own')");
line_of('own', qr/: queue goes on queue=own/);
pass 'a pause and its end: S1-48';

#----------------------------------------------------------------------
# Descriptors: each process has the logs it writes to, and no other.

my %wants = (
	qr/^jobqd: (?:queue|worker) (?:own|talk)/ => [qw(own)], qr/^jobqd: (?:queue|worker) plain/ => [qw(ticks)],
	qr/^jobqd: scheduler/ => [qw(ticks)], qr/^jobqd: monitor/ => [],
);
sub logs_of {
	my ($pid) = @_;
	my %open = map { (readlink($_) // '') =~ m{^\Q$dir\E/(\w+)\.log( \(deleted\)|\.\d+)?$} ? ($1 . ($2 // '') => 1) : () }
	    glob "/proc/$pid/fd/*";
	delete @open{ grep { /^jobqd/ } keys %open };	# the log, and standard error
	return join ' ', sort keys %open;
}
for my $pattern (sort keys %wants) {
	for my $pid ($d->pids($pattern)) {
		is logs_of($pid), join(' ', @{ $wants{$pattern} }), process_title($pid) . ': logs';
	}
}

#----------------------------------------------------------------------
# Rotation: every process writes to the new files, the idle ones too.

my @files = ($d->{log}, map { "$dir/$_.log" } qw(own chatty ticks));
rename $_, "$_.1" or die "$_: $!\n" for @files;
$d->signal('USR1');
wait_for { @files == grep { -e } @files } 'the new files';
my %titles = $d->processes;
wait_for {
	!grep { (readlink($_) // '') =~ /\.log\.1$/ } map { glob "/proc/$_/fd/*" } grep { $_ != $d->{pid} } keys %titles
} 'nobody to have an old file open';
pass 'after a rotation nobody writes to an old file, idle workers included';
line_of('jobqd', qr/master \[\d+\]: logs reopened/);
$id = enqueue('own', 'send', { fail => 'validation' });
line_of('own', qr/job dead id=$id /);
pass '… but to the new ones';

# A directory that is gone: said, and the old file is written on.
rename "$dir/own.log", "$dir/own.log.2" or die $!;
mkdir "$dir/own.log" or die $!;
my $from = $d->log_size;
$d->signal('USR1');
like $d->wait_log(qr/log not reopened/, $from), qr/error master .*reason="cannot open the log file \Q$dir\E\/own\.log: Is a directory"/,
    'one that cannot be opened again is an error';
$id = enqueue('own', 'send', { fail => 'validation' });
wait_for { slurp("$dir/own.log.2") =~ /job dead id=$id / } 'a line in the old file';
pass '… and the old one is written on';
rmdir "$dir/own.log";
$d->signal('USR1');
wait_for { -e "$dir/own.log" } 'the file';

#----------------------------------------------------------------------
# A reload.

my ($leader) = $d->pids(qr/^jobqd: queue plain/);
(my $changed = $text) =~ s{DIR/own\.log}{DIR/none/own.log};
configure($changed);
$from = $d->log_size;
$d->signal('HUP');
like $d->wait_log(qr/reload refused/, $from), qr/cannot open the log file \Q$dir\E\/none\/own\.log: No such file/, 'a log that cannot be opened refuses a reload';
configure($text, file => "$dir/none/main.log");
$from = $d->log_size;
$d->signal('HUP');
like $d->wait_log(qr/reload refused/, $from), qr/cannot open the log file \Q$dir\E\/none\/main\.log/, 'the main one, too';
is_deeply [ $d->pids(qr/^jobqd: queue plain/) ], [$leader], 'nothing was disturbed';

($changed = $text) =~ s{DIR/ticks\.log}{DIR/tocks.log};
$changed =~ s{DIR/own\.log}{""}g;
configure($changed);
$from = $d->log_size;
$d->signal('HUP');
$d->wait_log(qr/: reloaded /, $from);
line_of('tocks', qr/schedule fired schedule=ticks/);
line_of('tocks', qr/job failed .* type=tick /);
pass 'a schedule\'s log can be changed, for its jobs as well';
$d->wait_log(qr/queue own \[\d+\]: pool opened/, $from);
wait_for { logs_of($d->{pid}) eq 'chatty tocks' } 'the old ones to be closed';
pass 'the master has closed the others';
is $d->stop, 0, 'exit 0';

# A start.
configure($changed =~ s{DIR/tocks}{DIR/none/tocks}r);
$d->start(ready => 0);
wait_for { !$d->running } 'the start to fail';
is $d->{status} >> 8, 1, 'a log that cannot be opened at the start: exit 1';
like $d->log, qr/start failed reason="cannot open the log file \Q$dir\E\/none\/tocks\.log/, '… which says so';
for my $word (qw(stderr syslog)) {
	configure($text =~ s{DIR/own\.log}{$word}gr);
	my ($status, undef, $err) = run_program([ jobqd_program(), '-t', '-c', $d->{conf} ]);
	like $err, qr/:\d+:\d+: log: .*needs the path of a file/, "$word is no log of its own";
}

#----------------------------------------------------------------------
# JSON, from hostile jobs: every line is one object, within its bound.

unlink glob "$dir/*.log";
configure($text, format => 'json');
$d->start(ready => 0);
$d->wait_log(qr/"event":"ready"/);
my @texts = ("a\"b\\c\n\x01\x7f\t", "caf\x{e9} \x{1f600} \x{2028}\x{202e}", 'x' x 5000, "\x{e9}" x 3000, '"' x 4000, "\x{1f600}" x 1023);
my @ids = map { enqueue('own', 'send', { fail => 'validation', message => $_ }) } @texts;
$id = $pg->query("SELECT jobq.enqueue('own', E'ty\"pe\\n\\\\', '{\"fail\": \"validation\"}', tenant => E'ten\\u001bant\"')");
wait_for { my $own = own('own'); !grep { $own !~ /"event":"job dead","id":$_,/ } @ids, $id } 'the ends of the jobs';
my ($lines, $bad, $longest) = (0, 0, 0);
my %record;
for my $file (glob "$dir/*.log") {
	for my $l (split /\n/, slurp($file)) {
		$lines++;
		$longest = length $l if length $l > $longest;
		my $r = eval { $json->decode($l) };
		$bad++, diag($l) unless $r && $r->{at} =~ /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/ && $r->{event} && $r->{process} && $r->{pid};
		$bad++ if $l =~ /[\x00-\x1f\x7f]/;
		$record{ $r->{id} } = $r if $r && $r->{event} eq 'job dead';
	}
}
is $bad, 0, "each of $lines lines is an object, without control characters";
cmp_ok $longest, '<', 4096, "the longest has $longest bytes";
is $record{ $ids[0] }{error}, $texts[0], 'text arrives as it was';
is $record{ $ids[1] }{error}, $texts[1], '… UTF-8, too';
is $record{$id}{type}, "ty\"pe\n\\", '… of a type';
is $record{$id}{tenant}, "ten\e" . 'ant"', '… of a tenant: S0-69';
is_deeply [ @{ $record{ $ids[0] } }{qw(tenant attempt queue class)} ], [ undef, 1, 'own', 'validation' ], 'nothing is null, numbers are numbers';
like $record{ $ids[2] }{error}, qr/^x{1000,}$/, 'long text is cut';
is $d->stop, 0, 'exit 0';

#----------------------------------------------------------------------
# Many jobs: none has a line when all is well, and a storm of failures few.

# So many more attempts that ended so, of the table: without statistics of it
# the view takes its time.
my %before;
sub ended {
	my ($outcome, $count) = @_;
	my $sql = "SELECT count(*) FROM jobq.attempt WHERE outcome = $outcome";
	wait_for { $pg->query($sql) >= $before{$outcome} + $count } "$count jobs to end";
}

unlink glob "$dir/*.log";
configure($text =~ s/^schedules:.*//msr);
$d->start;
%before = map { $_ => $pg->query("SELECT count(*) FROM jobq.attempt WHERE outcome = $_") } 1, 3;
$from = $d->log_size;
$pg->query("SELECT count(*) FROM (SELECT jobq.enqueue('plain') FROM generate_series(1, 5000)) x");
ended(1 => 5000);
my @other = grep { !/ monitor / } split /\n/, $d->log($from);
is_deeply \@other, [], 'completed jobs at info: ' . scalar(@other) . ' lines of 5000';

$from = $d->log_size;
$pg->query("SELECT count(*) FROM (SELECT jobq.enqueue('plain', 'bad', '{\"fail\": \"validation\", \"message\": \"no\"}') FROM generate_series(1, 3000)) x");
ended(3 => 3000);
$id = enqueue('plain', 'other', { fail => 'validation', message => 'another kind' });
$d->wait_log(qr/job dead id=$id /, $from);
pass 'what is of another kind is told meanwhile';
$d->stop;
my $log = $d->log($from);
my $alone = () = $log =~ /: job dead id=\d+ queue=plain type=bad /g;
my $more = 0;
$more += $1 while $log =~ /warn  queue plain \[\d+\]: more of the same what="job dead" queue=plain type=bad class=validation count=(\d+) in_ms=\d+ error=no\n/g;
is $alone + $more, 3000, "3000 failures: $alone lines of their own, $more counted";
cmp_ok $alone, '<=', 100, 'few have a line';

# At debug all are told.
configure($text =~ s/^schedules:.*//msr, level => 'debug');
$d->start;
$from = $d->log_size;
$pg->query("SELECT count(*) FROM (SELECT jobq.enqueue('plain', 'worse', '{\"fail\": \"validation\"}') FROM generate_series(1, 200)) x");
wait_for { 200 == (() = $d->log($from) =~ /: job dead id=\d+ queue=plain type=worse /g) } 'a line for each';
pass 'at debug each has a line';
is $d->stop, 0, 'exit 0';

#----------------------------------------------------------------------
# Started as root, the files are the user's.
SKIP: {
	my $user = server_user() or skip 'not root', 2;
	my $logs = temp_directory();
	my ($uid, $gid) = (getpwnam $user)[ 2, 3 ];
	chown $uid, $gid, $logs;
	my $conf = "daemon: {user: $user, group: \"\", node: node, pid_file: $logs/jobqd.pid, shutdown_timeout: 10s}\n"
	    . "monitor: {health_file: \"\"}\n"
	    . "log: {file: $logs/main.log}\nqueues: {own: {handler: null, log: $logs/own.log}}\nhandlers: {null: {driver: noop}}\n";
	$d->configure($conf);
	$d->{log} = "$logs/main.log";
	$d->start;
	is((stat "$logs/own.log")[4], $uid, 'the file belongs to daemon.user');
	rename "$logs/own.log", "$logs/own.log.1" or die $!;
	$d->signal('USR1');
	wait_for { -e "$logs/own.log" } 'the new file';
	pass 'who can open it again';
	$d->stop;
}
done_testing;
