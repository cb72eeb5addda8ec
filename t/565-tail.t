# jobqctl tail: the right lines, and each of them once, whatever becomes of the
# file: renamed, cut, removed, not there yet; with logrotate(8) itself. And the
# rotation that is shipped, contrib/jobqd.logrotate.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Jobqd;
use Test::More;

my $dir = temp_directory();
my $log = "$dir/jobqd.log";
my $user = server_user() // getpwuid $>;
my $group = getgrgid((getpwnam $user)[3]);
chown +(getpwnam $user)[ 2, 3 ], $dir if $> == 0;

sub configure {
	my ($format, $file) = @_;
	spew("$dir/jobqd.yml", "log: {file: " . ($file // $log) . ", format: $format}\n" . <<"YAML");
handlers: {null: {driver: noop}}
queues:
  email: {handler: null}
  em:    {handler: null}
  own:   {handler: null, log: $dir/own.log}
schedules:
  mine:  {cron: "0 * * * *", queue: email, type: t, log: $dir/mine.log}
  other: {cron: "0 * * * *", queue: email, type: u}
YAML
}
sub ctl { return run_program([ jobqctl_program(), '-c', "$dir/jobqd.yml", @_ ], env => { NO_COLOR => 1 }) }
sub append {
	my ($file, @lines) = @_;
	open my $fh, '>>:raw', $file or die "$file: $!\n";
	syswrite $fh, join '', map { "$_\n" } @lines;
	close $fh;
}
my $count = 0;
sub record {
	my ($process, $values, $level) = @_;
	return sprintf '2026-11-26T10:00:00.%03dZ %-5s %s [42]: something n=%d%s', $count % 1000, $level // 'info', $process, ++$count, $values ? " $values" : '';
}

#----------------------------------------------------------------------
# Which lines.

configure('text');
append($log, record('master'), record('queue email'), record('queue em'), record('worker email/3', '', 'warn'),
    record('scheduler', 'schedule=other queue=email'), record('master', 'queue=email', 'error'), record('worker em/1'),
    record('queue own', '', 'debug'), record('master', 'queue=email2'), 'libfoo: no memory');
append("$dir/own.log", record('queue own'), record('worker own/1'));
append("$dir/mine.log", record('scheduler', 'schedule=mine'), record('queue email', 'type=t'));
my $numbers = sub { join ' ', map { /n=(\d+)/ ? $1 : /libfoo/ ? 'x' : () } split /\n/, $_[0] };
for (
	[ 'all', '1 2 3 4 5 6 7 8 9 x' ],
	[ 'the last two', '9 x', '-n', '2' ],
	[ 'the last two', '9 x', '--lines', '2' ],
	[ 'of a queue', '2 4 5 6', 'email' ],
	[ 'of another', '3 7', 'em' ],
	[ 'the last one of a queue', '6', 'email', '-n', 1 ],
	[ 'of a queue with a log of its own', '10 11', 'own' ],
	[ 'of a schedule', '5', '--schedule', 'other' ],
	[ 'of a schedule with a log of its own', '12 13', '--schedule', 'mine' ],
	[ 'warnings and errors', '4 6 x', '--level', 'warn' ],
	[ 'errors of a queue', '6', 'email', '--level', 'error' ],
) {
	my ($what, $want, @args) = @$_;
	my ($status, $out, $err) = ctl('tail', @args);
	is $numbers->($out), $want, "$what: tail @args" or diag $err;
}
my @wrong = ([ 3, qr/no queue none/, 'none' ], [ 3, qr/no schedule none/, '--schedule', 'none' ], [ 2, qr/--level "loud"/, '--level', 'loud' ],
	[ 2, qr/no number/, '--lines', 'x' ]);
for (@wrong) {
	my ($want, $pattern, @args) = @$_;
	my ($status, $out, $err) = ctl('tail', @args);
	is $status, $want, "tail @args: exit $want";
	like $err, $pattern, '… and why';
}
for my $target (qw(stderr syslog)) {
	configure('text', $target);
	my ($status, undef, $err) = ctl('tail');
	is $status, 1, "a log that goes to $target";
	like $err, qr/goes to $target, no file to follow; set log\.file in \S+, or use journalctl/, '… what to do instead';
	is $numbers->((ctl('tail', 'own'))[1]), '10 11', '… but a log of its own is a file';
}

#----------------------------------------------------------------------
# JSON logs: the same choices.

configure('json');
my $json = JSON::PP->new->utf8->canonical;
my $n = 100;
unlink $log;
append($log, map { $json->encode({ at => '2026-11-26T10:00:00.000Z', pid => 42, event => 'something', n => ++$n, %$_ }) }
	{ level => 'info', process => 'queue email' }, { level => 'warn', process => 'worker email/0' },
	{ level => 'error', process => 'master', queue => 'email' }, { level => 'info', process => 'queue em', error => 'queue=email' },
	{ level => 'info', process => 'scheduler', schedule => 'other' });
my $of = sub { join ' ', map { /"n":(\d+)/ ? $1 : () } split /\n/, $_[0] };
is $of->((ctl('tail', 'email'))[1]), '101 102 103', 'JSON: of a queue';
is $of->((ctl('tail', '--level', 'warn'))[1]), '102 103', '… of a level';
is $of->((ctl('tail', '--schedule', 'other'))[1]), '105', '… of a schedule';
my @objects = map { $json->decode($_) } split /\n/, (ctl('tail', '--json'))[1];
is scalar(@objects), 5, '--json of JSON: the objects themselves';
configure('text');
append("$dir/own.log", "queue \e[31mred");
@objects = map { $json->decode($_) } split /\n/, (ctl('tail', 'own', '--json', '-n', 1))[1];
like $objects[0]{line}, qr/n=11/, '--json of text: an object a line';

#----------------------------------------------------------------------
# Colours: on a terminal only.

append("$dir/own.log", record('queue own', "text=\e[32m", 'error'), record('queue own', '', 'warn'));
unlike +(ctl('tail', 'own'))[1], qr/\x1b/, 'no colour into a pipe, nor what steers a terminal';
SKIP: {
	my ($missing) = run_program([ 'script', '--version' ]);
	skip 'script(1) is missing', 2 if $missing == 127;
	my $command = jobqctl_program() . " -c $dir/jobqd.yml tail own";
	my ($status, $out) = run_program([ 'env', 'TERM=xterm', 'script', '-qec', $command, '/dev/null' ]);
	like $out, qr/\x1b\[31m[^\n]*error queue own[^\n]*\\x1b\[32m/, 'on a terminal errors are red';
	($status, $out) = run_program([ 'env', 'TERM=xterm', 'NO_COLOR=1', 'script', '-qec', $command, '/dev/null' ]);
	unlike $out, qr/\x1b\[31m/, '… unless NO_COLOR is set';
}

#----------------------------------------------------------------------
# Following: every line once, in whatever way the file is rotated.

my $out = "$dir/tail.out";
unlink $log;
my $tail = background([ jobqctl_program(), '-c', "$dir/jobqd.yml", 'tail', '-f', '-n', '0' ], log => $out);
wait_for { slurp($out) =~ /there is no \Q$log\E yet/ } 'tail to wait';
pass 'a log that is not there yet is waited for';
my $written = 0;
sub write_some { my ($file, $times) = @_; append($file, record("master", 'w=' . ++$written)) for 1 .. $times }
sub all_seen {
	my ($what) = @_;
	my @seen;
	eval { wait_for { @seen = slurp($out) =~ / w=(\d+)\b/g; @seen >= $written } $what, 20; 1 };
	is_deeply [ sort { $a <=> $b } @seen ], [ 1 .. $written ], "$what: all of $written lines, each once";
}
write_some($log, 5);
all_seen('when it comes');

# Renamed; who writes changes over later.
rename $log, "$log.1";
write_some("$log.1", 3);
all_seen('renamed, and none at its place');
write_some($log, 3);
write_some("$log.1", 3);
all_seen('the old one is written to for a while');
rename $log, "$log.2";
write_some($log, 2);
all_seen('renamed again, soon after');
write_some("$log.2", 2);
rename $log, "$log.3";
write_some($log, 2);
all_seen('three files in a moment');

# Removed and made anew.
unlink $log;
write_some($log, 4);
all_seen('removed and made anew');

# Cut, and written to again at once, perhaps past the place where it was.
truncate $log, 0;
write_some($log, 3);
all_seen('cut');
my $size = -s $log;
open my $fh, '+<', $log or die $!;
truncate $fh, 0;
syswrite $fh, join '', map { record('master', 'w=' . ++$written) . "\n" } 1 .. 20;
cmp_ok -s $log, '>', $size, 'cut and longer than before';
close $fh;
all_seen('cut and longer than before');

# A line in two pieces.
open $fh, '>>', $log or die $!;
syswrite $fh, '2026-11-26T10:00:00.000Z info  master [42]: something ';
write_some("$dir/nothing", 0);
select undef, undef, undef, 0.3;
syswrite $fh, 'w=' . ++$written . "\n";
close $fh;
all_seen('a line in two pieces');

#----------------------------------------------------------------------
# logrotate itself.
SKIP: {
	my ($rotate) = grep { -x } map { "$_/logrotate" } split(/:/, $ENV{PATH}), '/usr/sbin';
	skip 'logrotate is missing', 1 unless $rotate;
	my $su = $> == 0 ? "su $user $group" : '';
	my $run = sub {
		my ($text, @options) = @_;
		spew("$dir/rotate.conf", $text);
		chmod 0644, "$dir/rotate.conf";
		return run_program([ $rotate, '-s', "$dir/rotate.state", @options, "$dir/rotate.conf" ]);
	};
	for my $how ('nocreate', 'create 0640', 'copytruncate') {
		my ($status, undef, $err) = $run->("$log {\n\t$su\n\trotate 3\n\t$how\n}\n", '-f');
		is $status, 0, "logrotate with $how" or diag $err;
		write_some($log, 4);
		all_seen($how);
	}

	# The one that is shipped, on a running daemon whose logs it knows.
	my $pg = Jobqd::Postgres->new;
	my $d = Jobqd::Daemon->new(pg => $pg, config => "handlers: {null: {driver: noop}}\n");
	chown +(getpwnam $user)[ 2, 3 ], $d->{dir} if $> == 0;
	$d->configure(<<"YAML");
daemon: {user: $user, group: $group, node: node, pid_file: $d->{dir}/jobqd.pid, shutdown_timeout: 10s}
log: {file: $d->{dir}/main.log}
handlers: {null: {driver: noop}}
queues: {work: {handler: null, log: $d->{dir}/work.log}}
monitor: {health_file: $d->{dir}/health.json}
YAML
	$d->{log} = "$d->{dir}/main.log";
	$d->start;
	my $text = slurp(source_directory() . '/contrib/jobqd.logrotate');
	my ($status, undef, $err) = run_program([ $rotate, '-d', source_directory() . '/contrib/jobqd.logrotate' ]);
	my @errors = grep { /^error:/ && !/unknown (?:user|group)|, skipping/ } split /\n/, $err;
	is_deeply \@errors, [], 'logrotate -d has nothing to complain of in contrib/jobqd.logrotate, but perhaps of its user';
	$text =~ s{/var/log/jobqd}{$d->{dir}}g;
	$text =~ s{/run/jobqd/}{$d->{dir}/}g;
	$text =~ s{su jobqd jobqd}{$su};
	($status, undef, $err) = $run->($text, '-d');
	is $status, 0, '… nor of the paths of this test' or diag $err;
	like $err, qr/considering log \Q$d->{dir}\E\/work\.log/, 'a queue\'s own log is among them';
	($status, undef, $err) = $run->($text, '-f');
	is $status, 0, 'logrotate -f' or diag $err;
	wait_for { -s "$d->{dir}/main.log" && -e "$d->{dir}/work.log" } 'the new files';
	ok -s "$d->{dir}/$_.log.1", "$_.log was rotated" for qw(main work);
	$d->wait_log(qr/logs reopened/);
	$pg->query(q(SELECT jobq.enqueue('work', 'x', '{"fail": "validation"}')));
	wait_for { slurp("$d->{dir}/work.log") =~ /job dead/ } 'a line in the new file';
	pass 'and the daemon writes to the new ones';
	($status, undef, $err) = $run->($text, '-f');
	is $status, 0, 'again' or diag $err;
	ok -e "$d->{dir}/main.log.2.gz", 'the older one is compressed';
	is $d->stop, 0, 'exit 0';
}
kill 'TERM', $tail;
done_testing;
