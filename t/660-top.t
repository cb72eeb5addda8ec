# jobqctl top, on a terminal of its own: what it shows, its keys, another size,
# signals, texts that would steer the terminal, a database that goes away; and
# as lines and JSON. That it asks cheaply with many jobs is counted, not timed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use IO::Handle;
use JSON::PP;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $gate = temp_directory();
chmod 0777, $gate;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
retry: {once: {attempts: 1}}
handlers:
  null: {driver: noop}
  gate: {driver: exec, argv: [sh, -c, "until test -e $gate/open; do sleep 0.02; done"]}
queues:
  alpha: {handler: null, retry: once}
  gate: {handler: gate, workers: 2}
  zulu: {handler: null, retry: once, priority: low}
YAML
$d->start;

# A program on a terminal. ->frame is what the last drawing shows, a line a row.
package Screen {
	sub new {
		my ($class, $rows, $columns, %o) = @_;
		my $dir = Jobqd::temp_directory();
		my $self = bless { dir => $dir }, $class;
		pipe my $read, my $write or die "pipe: $!\n";
		my $pid = fork // die "fork: $!\n";
		if ($pid == 0) {
			open STDIN, '<&', $read;
			open STDERR, '>>', "$dir/helper";
			close $write;
			delete $ENV{NO_COLOR};
			%ENV = (%ENV, TERM => 'xterm', LC_ALL => 'C.UTF-8', %{ $o{env} || {} });
			exec 'python3', Jobqd::source_directory() . '/t/terminal.py', $rows, $columns, $dir,
			    Jobqd::jobqctl_program(), '-c', $d->{conf}, 'top', '--interval', '200ms', @{ $o{args} || [] }
			    or POSIX::_exit(127);
		}
		close $read;
		$write->autoflush(1);
		@$self{qw(pid in)} = ($pid, $write);
		return $self;
	}
	sub key { my ($self, $keys) = @_; $self->tell('key ' . unpack 'H*', $keys) }
	sub tell { my ($self, $line) = @_; print { $self->{in} } "$line\n" }
	sub raw { return Jobqd::slurp("$_[0]{dir}/screen") }

	sub frame {
		my ($self) = @_;
		my @drawn = split /\e\[H/, $self->raw;
		return '' if @drawn < 3;
		my $text = $drawn[-2];	# the last one may still be on its way
		$text =~ s/\e\[[0-9;]*[mKJ]//g;
		$text =~ s/ +\r?$//mg;
		$text =~ s/\r//g;
		return $text;
	}
	sub shows {
		my ($self, $pattern, $what) = @_;
		my $ok = eval { Jobqd::wait_for { $self->frame =~ $pattern } $what; 1 };
		return Test::More::pass($what) if $ok;
		die "$what: not shown:\n" . $self->frame . Jobqd::slurp("$self->{dir}/helper") . "\n";
	}
	sub status {
		my ($self) = @_;
		Jobqd::wait_for { -e "$self->{dir}/status" } 'the program to end';
		close $self->{in};
		waitpid $self->{pid}, 0;
		return Jobqd::slurp("$self->{dir}/status");
	}
	sub DESTROY { local $?; close $_[0]{in} if $_[0]{in}; }
}
package main;

$pg->query("SELECT jobq.enqueue('gate', 'film', tenant => 'acme') FROM generate_series(1, 5)");
$pg->query(qq{SELECT jobq.enqueue('alpha', E'evil\\x1b]0;owned\\x07\\u202e\\u009b2J', '{"fail": "validation", "message": "\\u001b[2J\\u001b]52;c;eA==\\u0007gone"}')});
wait_for { $pg->query("SELECT count(*) FROM jobq.workers WHERE state = 'busy'") == 2
    && $pg->query('SELECT count(*) FROM jobq.dead_letters') == 1 } 'the jobs to run, and one to die';

# What it shows.
my $s = Screen->new(40, 160);
$s->shows(qr/^jobq  \d\d:\d\d:\d\d UTC  ready 3  running 2  dead 1  done 0\.0\/s/m, 'the sums');
$s->shows(qr/^nodes: node  workers: 4, 2 busy$/m, 'nodes and workers');
$s->shows(qr/^gate +3 +2 +0 +0 +0 +0\.0 +0\.0 +\d+\w+ +2\/2/m, 'a queue: ready, running, retrying, scheduled, dead, rates, oldest, workers');
$s->shows(qr/^gate\/[01] +node +busy +\d+ +\d+\w* +film$/m, 'a worker, busy with what');
$s->shows(qr/^q quit .* s sort \(name\)$/m, 'the keys');
like $s->raw, qr/\e\[\?1049h/, 'it takes the other screen';
is scalar(split /\n/, $s->frame), 40, 'every row is drawn';
$pg->query("INSERT INTO jobq.alert (name, queue, node, metric, fired_at, value) VALUES ('backlog', 'gate', 'node', 'backlog', now(), 3)");
$s->shows(qr/^alerts: backlog \(gate\)$/m, 'an alert that fires');

# Jobs end: rates and the sparkline.
$pg->query("SELECT jobq.enqueue('zulu') FROM generate_series(1, 2000)");
$s->shows(qr/^throughput .*[▁▂▃▄▅▆▇█].* up to [1-9][\d.]*\/s$/m, 'throughput, as a line of sparks');
$s->shows(qr/^zulu .*[▁▂▃▄▅▆▇█]/m, '… of a queue');

# Keys: the cursor, sorting, help.
sub chosen { my ($row) = ($s->raw =~ /.*\e\[7m(\w+)/s); return $row // '' }
wait_for { chosen() eq 'alpha' } 'the cursor on the first queue';
$s->key('j');
wait_for { chosen() eq 'gate' } 'j';
$s->key("\e[B");
wait_for { chosen() eq 'zulu' } 'the arrow down';
$s->key('j');
$s->key('k');
wait_for { chosen() eq 'gate' } 'k, from the last one';
$s->key("\eOA");
wait_for { chosen() eq 'alpha' } 'the arrow up, as applications have it';
$s->key('G');
wait_for { chosen() eq 'zulu' } 'G';
$s->key('g');
wait_for { chosen() eq 'alpha' } 'g';
pass 'the cursor goes where the keys say';
$s->key('s');
$s->shows(qr/s sort \(ready\)/, 's sorts by ready');
$s->shows(qr/^gate .*^alpha .*^zulu /ms, '… the most first');
$s->key('s') for 1 .. 6;
$s->shows(qr/sort \(name\)/, '… and by name again');
$s->key('?');
$s->shows(qr/^  Enter +look into the queue/m, '? helps');
$s->key('?');

# Looking into a queue; hostile texts.
$s->shows(qr/^alpha /m, '… and no more');
$s->key("\r");
$s->shows(qr/^ failed job  when .*^ +\d+  \d\d:\d\d:\d\d  dead +validation +\\x1b\[2J\\x1b\]52;c;eA==\\x07gone$/ms,
    'Enter: what failed last, its error escaped');
$s->key('j');
$s->shows(qr/^running job .*^ +\d+ +1 +\d+\w+  film  tenant acme$/ms, 'the next one: what runs');
$s->key("\e");
$s->shows(qr/^zulu /m, 'Esc goes back');
unlike $s->raw, qr/\e\]|\x{07}|\e\[2J.*\e\[2J|\xe2\x80\xae|\xc2\x9b/s, 'nothing of the jobs\' texts steered the terminal';

# Pausing asks.
$s->key('p');
$s->shows(qr/^pause queue gate\? y or n$/m, 'p asks');
$s->key('n');
$s->shows(qr/^q quit /m, 'n takes it back');
is $pg->query("SELECT paused FROM jobq.queues WHERE name = 'gate'"), 'f', '… and pauses nothing';
$s->key('p');
$s->shows(qr/^pause queue gate\?/m, 'again');
$s->key('y');
$s->shows(qr/^gate .* paused: by jobqctl top/m, 'y pauses it');
my $who = getpwuid $>;
is $pg->query("SELECT actor FROM jobq.audit WHERE action = 'pause'"), $who, '… in the name of who calls';
$s->key('p');
$s->shows(qr/^resume queue gate\?/m, 'p on a paused one');
$s->key('y');
wait_for { $pg->query("SELECT paused FROM jobq.queues WHERE name = 'gate'") eq 'f' } 'it to be resumed';
pass 'y resumes it';

# Another size.
$pg->query("SELECT jobq.pause('zulu', 'for the test')");
$s->tell('size 24 80');
$s->shows(qr/^zulu  P +0 .* 0\/1  paused/m, 'in 80 columns: all columns, and that one is paused');
$pg->query("SELECT jobq.resume('zulu')");
$s->tell('size 10 60');
wait_for { my $f = $s->frame; (split /\n/, $f) == 10 && !grep { length > 60 } map { utf8::decode(my $c = $_); $c } split /\n/, $f } 'a smaller screen';
pass 'a smaller screen: ten rows of sixty columns at most';
$s->tell('size 3 8');
wait_for { (split /\n/, $s->frame) == 3 } 'a tiny screen';
$s->tell('size 40 160');
wait_for { (split /\n/, $s->frame) == 40 } 'the large one again';

# Stopped and continued.
$s->tell('signal TSTP');
wait_for { -e "$s->{dir}/stopped" } 'it to stop';
is slurp("$s->{dir}/stopped"), 'same', 'TSTP: the terminal is as it was';
like $s->raw, qr/\e\[\?1049l(?!.*\e\[\?1049h)/s, '… with its own screen';
$s->tell('signal CONT');
wait_for { $s->raw =~ /.*\e\[\?1049l.*\e\[\?1049h.*\e\[H/s } 'it to draw again';
pass 'CONT: it draws again';

# The database goes and comes.
$pg->stop('immediate');
$s->shows(qr/^no database, trying again: \w/m, 'a lost database is told');
$s->shows(qr/^gate /m, '… what was known stays');
$s->key('p');
$pg->start;
wait_for { my $f = $s->frame; $f =~ /^gate /m && $f !~ /no database/ } 'it to be connected again';
pass 'it connects again by itself';
$s->key('q');
is $s->status, 'exit 0 same', 'q quits, and the terminal is as it was';
like $s->raw, qr/\e\[\?25h\e\[\?1049l$/, '… with its cursor and screen';

# However it ends, the terminal is given back.
for my $signal (qw(TERM INT HUP SEGV ABRT QUIT)) {
	my $t = Screen->new(24, 80);
	$t->shows(qr/^alpha /m, "running, then $signal");
	$t->tell("signal $signal");
	my %number = (TERM => 15, INT => 2, HUP => 1, SEGV => 11, ABRT => 6, QUIT => 3);
	is $t->status, "signal $number{$signal} same", '… ends it, and the terminal is as it was';
	like $t->raw, qr/\e\[\?25h\e\[\?1049l$/, '… with its cursor and screen';
}

# Without UTF-8, without colours.
my $plain = Screen->new(24, 160, env => { LC_ALL => 'C', NO_COLOR => '1' });
$plain->shows(qr/done [\d.]+\/s/, 'in a locale without UTF-8');
$pg->query("SELECT jobq.enqueue('zulu', 'Größe') FROM generate_series(1, 2000)");
$plain->shows(qr/^throughput .*[.:=+*#@-].* up to/m, 'sparks in ASCII');
unlike $plain->raw, qr/[^\x00-\x7f]/, '… and nothing else than ASCII';
unlike $plain->raw, qr/\e\[[0-9;]*3[0-7]m/, 'NO_COLOR: no colours';
$plain->key('q');
is $plain->status, 'exit 0 same', '… and it quits';

# Lines, when nobody looks; JSON.
my ($status, $out, $err) = $d->ctl('top', '--count', '2', '--interval', '200ms');
is $status, 0, 'without a terminal';
my @blocks = split /\n\n/, $out;
is scalar @blocks, 2, '… a block a refresh';
like $blocks[0], qr/done -\/s.*^gate +\d/ms, '… the first without rates';
like $blocks[1], qr/done [\d.]+\/s/, '… the second with them';
unlike $out, qr/\e/, '… and no sequences';
($status, $out) = $d->ctl('top', '--json', '--count', '2', '--interval', '200ms');
my @objects = map { decode_json($_) } split /\n/, $out;
is scalar @objects, 2, 'JSON: an object a refresh';
is_deeply [ map { $_->{name} } @{ $objects[1]{queues} } ], [qw(alpha gate zulu)], '… with the queues';
is $objects[0]{queues}[0]{completed_per_second}, undef, '… first without rates';
ok defined $objects[1]{queues}[0]{completed_per_second}, '… then with them';
$d->ctl('migrate', '--roles');
$pg->query('CREATE ROLE looker LOGIN; GRANT jobq_reader TO looker');
(my $as = $pg->url) =~ s/user=jobq/user=looker/;
is + (run_program([ jobqctl_program(), '--database', $as, @$_ ]))[0], 0, "a reader may $_->[0]"
    for [ 'top', '--count', '1' ], ['inventory'], [ 'worker', 'list' ];
is_deeply [ sort keys %{ $objects[0] } ], [qw(alerts at database nodes queues workers)], '… and all the rest';
for my $case ([ '--interval', '10ms' ], [ '--interval', 'x' ], [ '--count', '0' ]) {
	is + ($d->ctl('top', @$case))[0], 2, "@$case: exit 2";
}
spew("$gate/open", '');
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state IN ('ready', 'running')") == 0 } 'the jobs to end';

# With many jobs: the estimate is near, and what is read does not grow with them.
$d->stop;
my $blocks = sub {
	my $plan = $pg->query("SET jit = off; SELECT jobq.top(now()); EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT jobq.top(now())");
	$plan =~ s/^.*?(?=^\[)//ms;
	my $p = decode_json($plan)->[0]{Plan};
	return $p->{'Shared Hit Blocks'} + $p->{'Shared Read Blocks'};
};
$pg->query("SELECT count(*) FROM (SELECT jobq.enqueue_many('alpha', (SELECT jsonb_agg('{}'::jsonb) FROM generate_series(1, 5000)))"
    . ' FROM generate_series(1, 2)) x');
my $few = $blocks->();
$pg->query("SELECT count(*) FROM (SELECT jobq.enqueue_many('alpha', (SELECT jsonb_agg('{}'::jsonb) FROM generate_series(1, 10000)))"
    . ' FROM generate_series(1, 9)) x');
my $many = $blocks->();
cmp_ok $many, '<', $few * 1.5 + 200, "a refresh reads $few blocks with 10,000 jobs that wait, $many with 100,000";
my $ready = decode_json(($d->ctl('top', '--json', '--count', '1'))[1])->{queues}[0];
ok $ready->{estimated}, 'so many are estimated';
cmp_ok abs($ready->{ready} - 100_000), '<', 5_000, "… as $ready->{ready}, which are 100,000";
done_testing;
