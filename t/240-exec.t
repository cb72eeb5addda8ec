# The driver exec: what a program is given, what is taken from it, and that
# nothing of it survives.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Runner;
use Test::More;
use Time::HiRes qw(time);

my $runner = runner_program();
plan skip_all => "no $runner: build the check programs" unless -x $runner;
plan tests => 65;

my $dir = temp_directory();
my $json = JSON::PP->new->utf8->canonical;

# A queue whose handler runs the shell text in data.sh.
sub configure {
	my (%o) = @_;
	my $env = $o{env} || '{}';
	my $argv = $o{argv} || '[sh, -c, "{{data.sh}}", "{{data.word}}"]';
	return spew("$dir/conf.yml", <<"YAML");
handlers: {program: {driver: exec, argv: $argv, env: $env @{[ $o{handler} ? ", $o{handler}" : '' ]}}}
queues: {programs: {handler: program, cancel: {signal: @{[ $o{signal} || 'TERM' ]}, grace: 1s} @{[ $o{queue} ? ", $o{queue}" : '' ]}}}
YAML
}

sub job { my ($id, $sh, %data) = @_; return { id => $id, type => 'a type', data => { word => '', %data, sh => $sh } } }

sub run_jobs { return run_jobs_of("$dir/conf.yml", 'programs', @_) }
sub talk { return talk_to("$dir/conf.yml", 'programs', "$dir/log") }

# What it is given.
{
	configure(env => '{LANG: C, GREETING: "hello {{data.word}}"}');
	local $ENV{PGPASSWORD} = 'secret of the daemon';
	my $r = run_jobs({ %{ job(42, 'cat; env; echo "[$0]"', word => 'a b "$(id)"; \'') }, attempt => 3, tenant => 'acme' },
	    job(43, 'readlink /proc/self/fd/0 | sed s/:.*//; ls /proc/self/fd | tr "\n" " "; echo; ps -o pid=,pgid=,sid= -p $$; pwd; grep -E "^Sig(Blk|Ign|Cgt)" /proc/self/status'),
	    job(44, 'trap "" PIPE; exec 0<&-; echo fine'), job(45, 'sleep 0.1; echo "{\"late\": true}"', big => 'x' x 90_000));
	is classes($r, 42 .. 45), 'completed completed completed completed', 'programs run';
	my $out = $r->{output}{42};
	my ($first) = $out =~ /^(.*)\n/;
	is $json->decode($first)->{word}, 'a b "$(id)"; \'', 'the data is on its stdin, as JSON';
	like $out, qr/^$_$/m, $_ for 'JOBQ_ID=42', 'JOBQ_ATTEMPT=3', 'JOBQ_TENANT=acme', 'JOBQ_QUEUE=programs', 'JOBQ_TYPE=a type', 'JOBQ_TOKEN=7\.1\.3', 'LANG=C';
	like $out, qr/^GREETING=hello a b "\$\(id\)"; '$/m, 'templates in the environment';
	like $out, qr/^\[a b "\$\(id\)"; '\]$/m, 'templates in the arguments, read by no shell';
	unlike $out, qr/PGPASSWORD/, 'nothing of the daemon\'s environment that it need not have';
	like $r->{output}{43}, qr/^pipe\n0 1 2 3 (\d+ )?/, 'descriptors 0 to 3 (and that of ls), no other';
	unlike $r->{output}{43}, qr/^0 1 2 3 \d+ \d/m, '… really';
	my ($pid, $group, $session) = $r->{output}{43} =~ /^\s*(\d+)\s+(\d+)\s+(\d+)$/m;
	is "$group $session", "$pid $pid", 'its own group and session';
	like $r->{output}{43}, qr/^\/$/m, 'its directory is /';
# 32 and 33 are the C library's own; a test runner may have them ignored
	like $r->{output}{43}, qr/SigBlk:\s0+\nSigIgn:\s0{7}[01][08]0{7}\n/, 'no signal is blocked or ignored';
	is_deeply $r->{45}{result}, { late => JSON::PP::true }, 'it need not read what it is given';
	configure(handler => "directory: $dir");
	is run_jobs(job(1, 'pwd'))->{output}{1}, "$dir\n", 'a directory of the configuration';

	configure(handler => 'env_prefix: D_', env => '{D_ENV: own}');
	my $env = run_jobs(job(1, 'env', word => "two\nlines", n => 1.5, on => JSON::PP::true, none => undef, list => [1],
		'a-b' => 'x', 'é' => 'x', 'A=B' => 'x', long => 'x' x 70_000))->{output}{1};
	like $env, qr/^D_WORD=two\nlines$/m, 'members of the data as variables';
	like $env, qr/^D_N=1\.5$/m, '… numbers';
	like $env, qr/^D_ON=true$/m, '… truth';
	like $env, qr/^D_NONE=$/m, '… nothing';
	unlike $env, qr/^D_(?:LIST|A|LONG|B)\b|=x$/m, '… not what no variable can be';
	like $env, qr/^D_ENV=own$/m, '… beside those of the configuration';
}

# What is taken from it.
{
	configure();
	my $r = run_jobs(job(1, 'echo one; echo two >&2; echo "{\"a\": 12345678901234567890.5}"'), job(2, 'echo "{\"a\": "'), job(3, 'echo 1; echo; echo " "'),
	    job(4, 'echo "{\"a\":\"\\u0000\"}"'), job(5, ':'), job(6, 'echo " [1, 2] "; echo "x" >&2'), job(7, 'echo "{\"a\":1e999}"'), job(8, 'printf "\\377\\000bytes\\n{\"ok\":1}"'));
	is classes($r, 1 .. 8), join(' ', ('completed') x 8), 'whatever it says';
	like $r->{1}{result}{a}, qr/^1\.2345678901234/, 'the last line is the result';
	is $r->{$_}{result}, undef, "no result: job $_" for 2, 4, 5, 7;
	is_deeply [ @$r{3, 6} ]->[0]{result}, 1, 'blank lines behind it do not count';
	is_deeply $r->{6}{result}, [ 1, 2 ], 'a list';
	is_deeply $r->{8}{result}, { ok => 1 }, 'bytes that are no text';
	like $r->{output}{8}, qr/^\?\?bytes$/m, '… are kept as what can be stored';
	is $r->{output}{1}, "one\n{\"a\": 12345678901234567890.5}\n--- standard error ---\ntwo\n", 'both outputs are kept';
	my $busy = run_jobs(job(1, '(setsid sh -c "while :; do :; done" &) ; sleep 1'))->{1};
	cmp_ok $busy->{cpu_ms}, '>', 50, "processor time of what a program left behind: $busy->{cpu_ms} ms";
	cmp_ok $r->{1}{cpu_ms}, '>=', 0, 'processor time';
	cmp_ok $r->{1}{max_rss_kb}, '>', 100, 'memory';
}

# Floods.
{
	my $r = run_jobs(job(1, 'yes out | head -c 30000000; yes err | head -c 3000000 >&2; echo; echo "{\"done\":1}"'), job(2, 'head -c 30000000 /dev/zero'),
	    job(3, 'yes "{\"progress\":{\"pct\":1}}" | head -c 3000000 >&3; head -c 300000 /dev/zero >&3; echo "{\"progress\":{\"pct\":99,\"note\":\"end\"}}" >&3'));
	is classes($r, 1 .. 3), 'completed completed completed', 'floods of output';
	is_deeply $r->{1}{result}, { done => 1 }, '… do not hide the result';
	cmp_ok length $r->{output}{1}, '<', 140_000, '… and little of them is kept';
	like $r->{output}{1}, qr/^\[\d+ bytes before this are not kept\]\n/, '… which is told';
	cmp_ok scalar(@{ $r->{progress} }), '<', 200, 'floods of progress come as a few messages';
	is_deeply $r->{progress}[-1], [ 3, 1, undef ], '… in bounded lines' or diag explain $r->{progress}[-1];
}

# Progress.
{
	my $r = run_jobs(job(1, 'echo "{\"progress\":{\"pct\":40,\"note\":\"half\"}}" >&3; echo junk >&3; echo "{}" >&3; echo "{\"progress\":{\"pct\":400}}" >&3; sleep 0.4; echo "{\"progress\":{\"note\":\"later\"}}" >&3'));
	is_deeply $r->{progress}, [ [ 1, 40, 'half' ], [ 1, -1, 'later' ] ], 'progress on descriptor 3';
	is scalar(() = $r->{log} =~ /progress not understood/g), 1, 'what is none is logged once';
	$r = run_jobs(job(1, 'echo "{\"progress\":{\"pct\":5,\"note\":{\"rows\":12345678901,\"rate\":0.1,\"of\":[null,\"e\"]}}}" >&3'),
	    job(2, 'printf "{\"progress\":{\"note\":[\"%s\"]}}\n" "$(head -c 17000 /dev/zero | tr "\\0" x)" >&3; echo "{\"progress\":{\"note\":7}}" >&3'));
	is_deeply $r->{progress}, [ [ 1, 5, '{"rows":12345678901,"rate":0.1,"of":[null,"e"]}' ], [ 2, -1, '7' ] ],
	    'a note may be JSON: partial results, whole or not at all' or diag explain $r->{progress};
}

# How it ends.
{
	my %want = (0 => 'completed', 1 => 'error', 2 => 'error', 65 => 'validation', 69 => 'network', 75 => 'network', 77 => 'auth', 78 => 'validation', 127 => 'error');
	my $r = run_jobs(map { job($_ + 1000, "echo why$_ >&2; exit $_") } keys %want);
	is_deeply { map { $_ => classes($r, $_ + 1000) } keys %want }, \%want, 'exit statuses';
	is $r->{1065}{message}, 'exit status 65: why65', 'the last line of stderr is in the message';
	is $r->{1065}{exit_status}, 65, '… and the status is kept';
	is run_jobs(job(1, 'printf "a\\000b\\377c" >&2; exit 1'))->{1}{message}, 'exit status 1: a?b?c', '… also of a line with a NUL and no UTF-8';
	$r = run_jobs(job(1, 'kill -SEGV $$'), job(2, 'kill -KILL $$'), { id => 3, data => { sh => 'x' } });
	is classes($r, 1 .. 3), 'crash crash validation', 'killed, killed, and data that lacks a word';
	is join(' ', map { $r->{$_}{signal} } 1, 2), '11 9', '… with the signal';
	configure(argv => '[/nonexistent/program]');
	like run_jobs(job(1, ''))->{1}{message}, qr{^/nonexistent/program: cannot execute it: No such file}, 'no program';
	configure(argv => '[nonexistent-program]');
	like run_jobs(job(1, ''))->{1}{message}, qr{^there is no program "nonexistent-program" in }, 'none in PATH';
	configure(queue => 'sandbox: {cpu_time: 1s, files: 32, processes: 0, memory: 0, network: true, user: ""}');
	$r = run_jobs(job(1, 'while :; do :; done'), job(2, 'ulimit -n'));
	is $r->{1}{class}, 'resource', 'out of processor time: resource (S1-49, S1-57)';
	is $r->{2}{result}, 32, 'a limit of files (S1-57)';
}

# Nothing survives.
{
	configure();
	my $mark = "jobqd-left-$$";
	my $r = run_jobs(job(1, "(setsid sh -c 'exec -a $mark sleep 1000' 2>/dev/null || setsid sleep 1000.$$ >/dev/null 2>&1 &) ; sleep 1000.$$ & (sleep 1000.$$ & sleep 1000.$$ &) & echo 1"));
	is classes($r, 1), 'completed', 'a program that leaves others behind, with its pipes open';
	is scalar(grep { process_title($_) =~ /1000\.$$|$mark/ } map { m{/(\d+)$} } glob '/proc/[0-9]*'), 0, '… leaves none (S1-57)';
}

# The cancel ladder's first rung; and what becomes of a worker's programs.
{
	my $w = talk();
	$w->{until}('hello');
	$w->{say}({ job => job(1, 'trap "echo got it; exit 7" TERM; echo ready; echo "{\"progress\":{\"pct\":1}}" >&3; while :; do sleep 0.05; done') });
	$w->{until}('progress');
	$w->{say}({ cancel => { id => 1, timeout => JSON::PP::true } });
	$w->{until}('result');
	$w->{say}({ job => job(2, 'echo "{\"progress\":{\"pct\":2}}" >&3; exec sleep 1000') });
	$w->{until}('progress');
	$w->{say}({ job => job(3, 'echo never') });
	$w->{say}({ cancel => { id => 3 } });
	$w->{say}({ cancel => { id => 2 } });
	my $all = $w->{end}->();
	like "$all->{1}{exit_status} $all->{output}{1}", qr/^7 ready\ngot it\n/, 'the signal reaches the program, its words are kept';
	is $all->{2}{signal}, 15, 'one that does not care dies of it';
	is $all->{3}{message}, 'stopped before it began', 'one that waits never runs';

	$w = talk();
	my $worker = $w->{until}('hello')->{pid};
	$w->{say}({ job => job(1, "echo '{\"progress\":{\"pct\":2}}' >&3; setsid sleep 2000.$$ & sleep 2000.$$") });
	$w->{until}('progress');
	kill 'TERM', $worker;
	is $w->{end}->()->{exit}{signal}, 15, 'a worker that is told to leave at once';
	is scalar(grep { process_title($_) =~ /2000\.$$/ } map { m{/(\d+)$} } glob '/proc/[0-9]*'), 0, '… takes what it started with it';
}
