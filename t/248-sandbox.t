# The sandbox of programs: hostile ones meet its limits, fail with the right
# class and leave nothing, and their neighbours go on. S1-49 and S1-56: resource
# limits, sandboxed execution. As root, and as an ordinary user.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Cwd qw(abs_path);
use JSON::PP;
use Test::More;

my $build = abs_path($ENV{JOBQD_BUILDDIR} || '.');
my $runner = "$build/t/unit/run_driver";
plan skip_all => "no $runner: build the check programs" unless -x $runner;

my $dir = temp_directory();
chmod 0755, $dir;
my $json = JSON::PP->new->utf8->canonical;
my $mark = "77$$";	# of sleeps that are ours

# What this kernel and this build have, as jobqctl says it.
spew("$dir/all.yml", "handlers: {n: {driver: noop}}\nqueues: {q: {handler: n, sandbox: {isolate: true, write: [/dev/null]}}}\n");
my (undef, $doctor) = run_program([ jobqctl_program(), '-c', "$dir/all.yml", 'doctor' ]);
my ($lacks) = $doctor =~ /(missing: .*)/;
diag "sandbox: $lacks" if $lacks;
like $doctor, qr/sandbox.*(?:can do all of it|missing: )/, 'jobqctl doctor says what the system has for sandboxes';
my $has_landlock = ($lacks || '') !~ /Landlock \(/;
my $has_signals = ($lacks || '') !~ /Landlock/;
my $has_seccomp = ($lacks || '') !~ /seccomp/;

my ($who, @as);
sub work_dir { return "$dir/" . ($who =~ s/\W/-/gr) }

# Run shell texts, each as a job of a queue with this sandbox; by id from 1.
sub box {
	my ($sandbox, @texts) = @_;
	my $work = work_dir();
	my $conf = spew("$work/conf.yml", <<"YAML");
handlers: {program: {driver: exec, argv: [sh, -c, "{{data.sh}}"], directory: $work, env: {W: $work, RUNNER: $runner}}}
queues: {programs: {handler: program, cancel: {grace: 1s}, sandbox: {$sandbox}}}
YAML
	chmod 0644, $conf;
	my $id = 0;
	my ($status, $out, $err) = run_program([ @as, $runner, $conf, 'programs' ], env => { TMPDIR => "$work/tmp" },
	    in => join '', map { $json->encode({ job => { id => ++$id, type => 't', attempt => 1, data => { sh => $_ } } }) . "\n" } @texts);
	diag $err if $status != 0;
	my %r;
	for my $o (map { $json->decode($_) } split /\n/, $out) {
		my ($kind) = keys %$o;
		$r{ $o->{result}{id} } = { %{ $r{ $o->{result}{id} } || {} }, %{ $o->{result} } } if $kind eq 'result';
		$r{ $o->{output}{id} }{text} .= $o->{output}{text} if $kind eq 'output';
	}
	return \%r;
}

sub failed_by {
	my ($r, $key, $what) = @_;
	# S1-49, S1-56: a limit was met, and which.
	ok +($r->{class} || '') eq 'resource' && $r->{message} =~ /^sandbox\.$key: /,
	    sprintf "%s: %s: class resource (%s; %.1f s)", $who, $what, $r->{message} // '', ($r->{run_us} || 0) / 1e6 or diag explain $r;
}

sub left { return grep { process_title($_) =~ /sleep $mark/ } map { m{/(\d+)$} } glob '/proc/[0-9]*' }

sub limits {
	my $r = box('memory: 64MiB, cpu_time: 1s, processes: 20, files: 40, file_size: 1MiB, isolate: true',
	    'exec python3 -c "x = []' . "\nwhile 1: x.append(bytearray(1000000))\"",
	    'while :; do :; done',
	    'for i in 1 2 3; do (while :; do :; done) & done; wait',
	    "for i in \$(seq 60); do sleep $mark & done; wait",
	    'python3 -c "' . "import os, time\nl = []\ntry:\n while 1: l.append(os.open('/dev/null', 0))\nfinally: time.sleep(3)\"",
	    'head -c 5000000 /dev/zero > "$TMPDIR/full"', 'exec head -c 5000000 /dev/zero > "$TMPDIR/full"',
	    'for i in 1 2 3; do python3 -c "' . "import time\nx = bytearray(40000000)\ntime.sleep(60)\" & done; wait",
	    'trap "" XCPU; while :; do :; done', 'echo "{\"well\": true}"',
	    'exec python3 -c "' . "import sys\nx = bytearray(55000000)\nsys.exit(75)\"");
	failed_by($r->{1}, 'memory', 'a memory hog');
	failed_by($r->{2}, 'cpu_time', 'a spinner');
	failed_by($r->{3}, 'cpu_time', '… one that has children spin');
	failed_by($r->{4}, 'processes', 'too many processes');
	failed_by($r->{5}, 'files', 'too many open files');
	failed_by($r->{$_}, 'file_size', 'too large a file') for 6, 7;
	failed_by($r->{8}, 'memory', 'memory of three processes together');
	failed_by($r->{9}, 'cpu_time', 'a spinner that ignores the signal is killed');
	is $r->{11}{class}, 'network', "$who: a program near its limit that says why it fails is believed" or diag explain $r->{11};
	is_deeply $r->{10}{result}, { well => JSON::PP::true }, "$who: the next job of the same worker goes well";
	is scalar(left()), 0, "$who: nothing of them is left (S1-56, S1-57)";
	is_deeply [ glob work_dir() . '/tmp/*' ], [], "$who: … no temporary file either";
	$r = box('memory: 48MiB', 'python3 -c "' . "import mmap, time\nf = open('big', 'rb')\nm = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\nn = sum(m[i] for i in range(0, len(m), 4096))\ntime.sleep(1)\nprint(len(m))\"")
	    if spew(work_dir() . '/big', 'x' x 150_000_000);
	is $r->{1}{result}, 150_000_000, "$who: a file that is mapped is no memory" or diag explain $r;
	$r = box('memory: 400MiB', 'node -e "console.log(JSON.stringify({ok: 1}))"') if `node -v 2>&1` =~ /^v/;
	is_deeply $r->{1}{result}, { ok => 1 }, "$who: a runtime that reserves far more addresses than it uses memory" if $r->{1} && !$r->{2};
}

# What cannot fork any more ends; something stays of each, so that this one does
# not burn out before anybody has looked.
my $bomb = "f() { sleep $mark & f | f & }; f; sleep 60";

# A fork bomb, from which the ordinary user's limit protects the machine as well.
sub bomb {
	my $r = box('processes: 30, cpu_time: 20s', $bomb, "$build/t/unit/fork_bomb grow 50 away", 'echo 1');
	failed_by($r->{1}, '(?:processes|cpu_time)', 'a fork bomb');
	failed_by($r->{2}, '(?:processes|cpu_time)', '… one in sessions of its own');
	is $r->{3}{result}, 1, "$who: … and the worker goes on";
	is scalar(left()), 0, "$who: … nothing is left";
}

sub scratch {
	my $work = work_dir();
	spew("$work/precious", 'precious');
	my $r = box('isolate: true',
	    'echo "{\"tmp\":\"$TMPDIR\",\"mode\":\"$(stat -c %a "$TMPDIR")\"}"',
	    'cd "$TMPDIR"; ln -s "$W" link; ln -s "$W/precious" file; mkdir -p a/b; ln -s "$W" a/b/link; chmod 0 a/b; chmod 0 a; touch .0 ./--; mkfifo p; echo 1',
	    "cd \"\$TMPDIR\"; (setsid sh -c 'while :; do mkdir -p \"\$TMPDIR/again/x\" 2>/dev/null; done; sleep $mark' &); sleep 0.2; echo 1");
	my ($tmp) = $r->{1}{result}{tmp};
	like $tmp, qr{^\Q$work\E/tmp/}, "$who: a private TMPDIR, below that of the daemon";
	is $r->{1}{result}{mode}, '700', '… for nobody else';
	is join(' ', map { $r->{$_}{result} // 'none' } 2, 3), '1 1', '… whatever lies in it' or diag explain $r;
	ok !-e $tmp, '… is gone after the run';
	is_deeply [ glob "$work/tmp/*" ], [], '… with all that was in it';
	is slurp("$work/precious"), 'precious', '… and nothing that it pointed to';
	is scalar(left()), 0, "$who: who would make files for ever is gone too";
}

sub files {
SKIP: {
	my $work = work_dir();
	skip "$lacks", 5 unless $has_landlock;
	mkdir "$work/$_" and chmod 0777, "$work/$_" for 'in', 'out', 'other';
	spew("$work/$_/x", $_) for 'in', 'other';
	chmod 0666, "$work/$_/x" for 'in', 'other';
	my $try = 'for f in in other; do cat "$W/$f/x" >/dev/null 2>&1 && echo "read $f"; done; cat "$W/conf.yml" >/dev/null 2>&1 && echo read conf;'
	    . 'for f in in out other tmp; do (echo > "$W/$f/y") 2>/dev/null && echo "write $f"; done; (echo > "$TMPDIR/y") && echo write own;'
	    . '(echo >> "$W/other/x") 2>/dev/null && echo append other; mv "$W/other/x" "$W/out/" 2>/dev/null && echo move;'
	    . 'python3 -c "import json, ssl" && echo python; (cd "$W/other" && ls >/dev/null 2>&1 && echo list other); : > /dev/null && echo null; rm -f "$W"/*/y 2>/dev/null; true';
	chmod 0777, "$work/tmp";
	my $said = sub { return join ', ', sort split /\n/, $_[0]{1}{text} // '' };
	is $said->(box("read: [$work/in], write: [$work/out]", $try)), 'null, python, read in, write out, write own', "$who: files: only what may be read and written";
	is $said->(box("write: [$work/out]", $try)), 'list other, null, python, read conf, read in, read other, write out, write own', "$who: … only what may be written";
	is $said->(box('write: [/dev/null]', $try)), 'list other, null, python, read conf, read in, read other, write own', "$who: … nothing at all";
	my $read = $said->(box("read: [$work/in]", $try));
	like $read, qr/read in/, "$who: … only what may be read";
	unlike $read, qr/read (?:conf|other)|list/, "$who: … the configuration is not";
	like box("read: [$work/missing]", 'echo 1')->{1}{message}, qr{missing: No such file}, "$who: a path that is not there is told";
	}
}

# A program that is kept for many jobs has the same limits, for as long as it lives.
sub kept {
	my $work = work_dir();
	spew("$work/kept.py", <<'PY');
import json, os, sys
for line in sys.stdin:
    m = json.loads(line)
    if "hello" in m:
        print(json.dumps({"ready": {}}), flush=True)
    elif "job" in m:
        out = {"id": m["job"]["id"]}
        if m["job"]["data"]["do"] == "hog":
            x = []
            while True:
                x.append(bytearray(1000000))
        if m["job"]["data"]["do"] == "look":
            try:
                open(m["job"]["data"]["path"]).read()
                out["result"] = "read"
            except PermissionError:
                out["result"] = os.environ["TMPDIR"]
        print(json.dumps({"done": out}), flush=True)
PY
	chmod 0644, "$work/kept.py";
	my $conf = spew("$work/kept.yml", <<"YAML");
handlers: {kept: {driver: worker, argv: [python3, $work/kept.py], env: {PATH: '/usr/bin:/bin'}}}
queues: {programs: {handler: kept, sandbox: {isolate: true, memory: 64MiB@{[ $has_landlock ? ", read: [$work/kept.py]" : '' ]}}}}
YAML
	chmod 0644, $conf;
	my @jobs = map { { id => $_->[0], type => 't', attempt => 1, data => { do => $_->[1], path => "$work/kept.yml" } } } [ 1, 'look' ], [ 2, 'look' ], [ 3, 'hog' ], [ 4, 'look' ];
	my ($status, $out, $err) = run_program([ @as, $runner, $conf, 'programs' ], env => { TMPDIR => "$work/tmp" }, in => join '', map { $json->encode({ job => $_ }) . "\n" } @jobs);
	my %r = map { $_->{id} => $_ } map { $json->decode($_)->{result} || () } split /\n/, $out;
	ok $r{3} && $r{3}{class} eq 'resource' && $r{3}{message} =~ /sandbox\.memory: /, "$who: driver worker: a hog of memory: class resource (" . ($r{3}{message} // '') . ')' or diag $out, $err;
SKIP: {
		skip "$lacks", 2 unless $has_landlock;
		like $r{$_}{result} // '', qr{^\Q$work\E/tmp/}, "$who: … job $_ reads no configuration, and has a TMPDIR" for 1, 4;
	}
	is_deeply [ glob "$work/tmp/jobqd-*" ], [], "$who: … which is gone";
}

# What attacks the daemon and its other programs.
sub neighbours {
	my $victim = background([ 'sleep', "8$mark" ], as => [ @as ]);
	my $tracer = 'import ctypes, os, sys; l = ctypes.CDLL(None, use_errno=True); pid = int(sys.argv[1]); '
	    . 'print(\"traced\" if l.ptrace(16, pid, 0, 0) == 0 else \"not traced\")';
	my $text = "kill -0 $victim 2>/dev/null && echo signalled; kill -0 \$PPID 2>/dev/null && echo signalled parent; "
	    . "python3 -c \"$tracer\" $victim; cat /proc/$victim/environ >/dev/null 2>&1 && echo environ; cat /proc/\$PPID/environ >/dev/null 2>&1 && echo environ of parent; "
	    . "kill -KILL $victim 2>/dev/null; kill -KILL \$PPID 2>/dev/null; echo alive";
SKIP: {
		skip "$lacks", 2 unless $has_seccomp && $has_signals;
		my $r = box('isolate: true', $text, 'echo 1');
		is $r->{1}{text}, "not traced\nalive\n", "$who: neither signalled, traced nor looked into: a neighbour and the worker" or diag explain $r;
		is $r->{2}{result}, 1, "$who: … the worker goes on";
	}
	ok kill(0, $victim), "$who: … the neighbour too";
}

sub calls {
SKIP: {
	skip "$lacks", 5 unless $has_seccomp;
	my $try = 'unshare -U true 2>/dev/null && echo user namespace; unshare -r true 2>/dev/null && echo root; mount -t tmpfs x /mnt 2>/dev/null && echo mount;'
	    . 'chroot / true 2>/dev/null && echo chroot; hostname jobqd-test 2>/dev/null && echo hostname; mknod "$TMPDIR/d" b 8 0 2>/dev/null && echo device;'
	    . 'sh -c "echo child" | cat; grep -E "NoNewPrivs" /proc/self/status';
	my $r = box('isolate: true', $try, 'python3 -c "' . "import threading, subprocess, multiprocessing as m\nt = threading.Thread(target=print, args=('thread',)); t.start(); t.join()\nprint(subprocess.run(['echo', 'sub'], capture_output=True, text=True).stdout, end='')\n\"");
	is $r->{1}{text}, "child\nNoNewPrivs:\t1\n", "$who: system calls that no job needs are refused" or diag explain $r;
	is $r->{2}{text}, "thread\nsub\n", "$who: … threads and programs are not";
	$try = 'python3 -c "' . "import socket\nfor f in socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK:\n try: socket.socket(f); print('socket', f)\n except OSError: pass\na, b = socket.socketpair(); a.send(b'pair'); print(b.recv(9).decode())\"; ls /sys/class/net >/dev/null; echo end";
	is box('network: false', $try)->{1}{text}, "pair\nend\n", "$who: without network there is no socket to be had";
	$r = box('files: 100', 'grep NoNewPrivs /proc/self/status; ulimit -c; cat /proc/self/oom_score_adj');
	is $r->{1}{text}, "NoNewPrivs:\t1\n0\n500\n", "$who: no set-user-ID program gives anything, no core is dumped, who is killed first";
	}
	my ($fds) = box('isolate: true, files: 64', 'ls /proc/self/fd | tr "\n" " "')->{1}{text};
	like $fds, qr/^0 1 2 3 (?:\d+ )?$/, "$who: no descriptor of the worker's";
}

for my $user ($> == 0 ? ('root', 'ordinary user') : ('ordinary user')) {
	$who = $user;
	@as = $> == 0 && $user ne 'root' ? ('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups') : ();
	mkdir $_ and chmod 0777, $_ for work_dir(), work_dir() . '/tmp';
	if (@as && system(@as, 'test', '-x', $runner) != 0) {
		diag "an ordinary user cannot run $runner: not tested";
		next;
	}
	limits();
	bomb() unless $user eq 'root';	# nothing but a control group would hold it
	scratch();
	files();
	kept();
	neighbours();
	calls();
}

# Another user, which needs root.
SKIP: {
	skip 'needs root', 3 unless $> == 0;
	($who, @as) = ('root');
	my $r = box('user: nobody, isolate: true, processes: 30', 'id -un; stat -c %U "$TMPDIR"; echo > "$TMPDIR/x"; cat /etc/shadow 2>/dev/null; setpriv --reuid=0 true 2>/dev/null && echo root again; true',
	    $bomb, 'echo 1');
	is $r->{1}{text}, "nobody\nnobody\n", 'another user, for good, with a TMPDIR of its own';
	failed_by($r->{2}, 'processes', 'a fork bomb of another user');
	is_deeply [ glob work_dir() . '/tmp/jobqd-*' ], [], '… nothing is left';
	like box('user: no-such-user', 'echo 1')->{1}{message}, qr/there is no user no-such-user/, 'no such user';
}

# In the whole daemon: the secrets of its configuration and the database are out
# of reach, and while one queue attacks, the other works.
SKIP: {
	skip $lacks, 4 if $lacks;
	my $pg = Jobqd::Postgres->new;
	my $secret = "a-secret-$$";
	my $socket = ($pg->url =~ m{host=([^&\s]+)})[0] // '';
	local $ENV{JOBQD_TEST_SECRET} = $secret;
	my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers:
  attack: {driver: exec, argv: [sh, -c, "{{data.sh}}"]}
  good: {driver: exec, argv: [sh, -c, 'echo "{\\"pid\\": \$PPID}"']}
retry: {default: {attempts: 1}}
queues:
  attack: {handler: attack, workers: 2, sandbox: {isolate: true, read: [/srv], write: [/dev/null], network: false, memory: 64MiB, cpu_time: 2s, processes: 40, files: 64, file_size: 1MiB}}
  good: {handler: good, workers: 1}
YAML
	$d->start;
	my $master = $d->{pid};
	my @texts = (
		"cat $d->{conf} 2>&1; cat /proc/$master/environ 2>&1; cat /proc/\$PPID/environ 2>&1; env",
		"psql '" . $pg->url . "' -c 'select 1' 2>&1; python3 -c 'import socket; socket.socket(socket.AF_UNIX)' 2>&1 | tail -1",
		"for p in $master \$PPID \$(ps -o pid= --ppid $master); do kill -KILL \$p; done; echo done",
		"echo > $d->{conf}; rm -f $d->{conf}; echo > $d->{log}; echo > /tmp/jobqd-$mark; echo done",
		'while :; do :; done',
		'python3 -c "x = []' . "\nwhile 1: x.append(bytearray(1000000))\"",
		"(setsid sh -c '(trap \"\" TERM HUP; exec sleep $mark) &' &); (sleep $mark &) ; echo done",
	);
	my @ids = map { $pg->query('SELECT jobq.enqueue(\'attack\', data => jsonb_build_object(\'sh\', convert_from(decode(\'' . unpack('H*', $_) . '\', \'hex\'), \'UTF8\')))') } @texts;
	$pg->query("SELECT jobq.enqueue('good') FROM generate_series(1, 50)");
	wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state NOT IN ('completed', 'dead')") == 0 } 'all jobs', 90;
	is $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'good' AND state = 'completed'"), 50, 'the neighbours of seven attacks complete (S1-56)';
	is $pg->query("SELECT count(DISTINCT result->>'pid') FROM jobq.jobs WHERE queue = 'good'"), 1, '… in one worker, which nobody killed';
	is $pg->query("SELECT string_agg(coalesce(error_class, 'completed'), ' ' ORDER BY id) FROM jobq.jobs WHERE queue = 'attack'"),
	    'completed completed completed completed resource resource completed', '… the attacks are told apart'
	    or diag $pg->query("SELECT string_agg(id || ': ' || coalesce(error, ''), E'\\n' ORDER BY id) FROM jobq.jobs WHERE queue = 'attack'");
	my $text = $pg->query('SELECT string_agg(text, E\'\\n\') FROM jobq.output');
	unlike $text, qr/\Q$secret\E|handlers:/, 'no secret of the configuration or of the environment is read';
	unlike $text, qr/1 row/, 'the database is not reached';
	like $text, qr/Permission denied/, '… which their programs were told';
	ok -s $d->{conf} && !-e "/tmp/jobqd-$mark", 'nothing was written';
	is scalar(left()), 0, 'nothing of what was daemonised is left';
	ok kill(0, $master), 'the master is the same';
	is $d->stop, 0, 'jobqd ends well';
	is_deeply [ grep { (stat)[4] == $> && -d } glob(($ENV{TMPDIR} || '/tmp') . "/jobqd-scratch-*/*") ], [], 'no temporary directory of a run is left';
}
done_testing;
