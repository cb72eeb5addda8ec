# The driver worker: what its program is told, what is made of what it says, and
# what becomes of its jobs when it is as bad as programs are. S1-56 S1-57
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

my $dir = temp_directory();
my $json = JSON::PP->new->utf8->canonical;
my $program = source_directory() . '/t/worker_program.py';

sub configure {
	my (%o) = @_;
	my $argv = $o{argv} || $json->encode([ 'python3', '-S', $program, @{ $o{options} || [] } ]);
	my $in_flight = $o{in_flight} || 1;
	my $at_once = $o{concurrency} || $in_flight;
	return spew("$dir/conf.yml", <<"YAML");
handlers:
  app: {driver: worker, argv: $argv, in_flight: $in_flight@{[ $o{handler} ? ", $o{handler}" : '' ]}}
  sh: {driver: exec, argv: [sh, -c, "{{data.sh}}"]}
queues: {q: {types: {app: app, sh: sh}, concurrency: $at_once, cancel: {signal: TERM, grace: 1s}}}
YAML
}
# Without exec beside it: that runs one job at a time.
sub configure_many {
	my (%o) = @_;
	configure(in_flight => 10, %o);
	my $text = slurp("$dir/conf.yml");
	$text =~ s/types: \{app: app, sh: sh\}/handler: app/;
	return spew("$dir/conf.yml", $text);
}

sub job { my ($id, @steps) = @_; return { id => $id, type => 'app', data => { do => [@steps] } } }
sub done { return [ 'say', '{"done":{"id":@id}}' ] }

sub run_jobs { return run_jobs_of("$dir/conf.yml", 'q', @_) }
sub talk { return talk_to("$dir/conf.yml", 'q', "$dir/log") }
sub messages { my ($r, $like, @ids) = @_; return scalar grep { ($r->{$_}{message} // '') =~ $like } @ids }
# Processes whose command line has this in it.
sub living { my ($like) = @_; return scalar grep { process_title($_) =~ $like } map { m{/(\d+)$} } glob '/proc/[0-9]*' }

# What it is told.
{
	configure_many(options => ["heard=$dir/heard"], concurrency => 4, handler => 'env: {GREETING: hello}');
	my $r = run_jobs({ %{ job(42, [ 'err', 'x' ], [ 'say', '{"done":{"id":@id,"result":[1.50, 12345678901234567890]}}' ]) },
	    attempt => 3, tenant => 'acme' }, { id => 43, type => 'app', data => { 'é' => "\x{e9}\n" } });
	is classes($r, 42, 43), 'completed completed', 'jobs of a program that is kept';
	my ($hello, @told) = map { $json->decode($_) } split /\n/, slurp("$dir/heard");
	is_deeply $hello, { hello => { protocol => 1, queue => 'q', in_flight => 4 } }, 'hello: the smaller of in_flight and concurrency';
	my $first = $told[0]{job};
	is_deeply [ @$first{qw(id type attempt tenant token max_attempts)} ], [ 42, 'app', 3, 'acme', '7.1.3', 3 ], 'a job';
	like $first->{deadline}, qr/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/, '… with its deadline';
	is_deeply [ @{ $told[1]{job} }{qw(tenant data)} ], [ undef, { 'é' => "\x{e9}\n" } ], '… and another, in one line';
	is_deeply $told[-1], { quit => {} }, 'at the end it is told to quit';
	is_deeply $r->{exit}, { status => 0, signal => 0 }, '… and the worker leaves';
	is $r->{output}{42}, "x\n", 'standard error is kept';
	is $r->{43}{result}{pid} > 0, 1, 'a result';
	like slurp("$dir/heard"), qr/"max_attempts":3/, 'attempts of the policy';
	configure(argv => '[sh, -c, "read h; env >&2; pwd >&2; ls /proc/self/fd >&2; echo {\\"ready\\":{}}; read j; echo {\\"done\\":{\\"id\\":1}}; read q"]',
	    handler => "env: {A: b}, directory: $dir");
	local $ENV{PGPASSWORD} = 'secret of the daemon';
	$r = run_jobs(job(1));
	like $r->{output}{1}, qr/^A=b$/m, 'its environment: that of the configuration';
	like $r->{output}{1}, qr/^JOBQ_QUEUE=q$/m, '… the queue';
	unlike $r->{output}{1}, qr/JOBQ_ID|PGPASSWORD/, '… nothing of a job, or of the daemon';
	like $r->{output}{1}, qr/^\Q$dir\E$/m, 'its directory';
	like $r->{output}{1}, qr/^0\n1\n2\n3\n\z/m, 'descriptors 0 to 2, and that of ls';
}

# What it says.
{
	configure();
	my $r = run_jobs(
	    job(1, [ 'say', '{"fail":{"id":@id,"class":"network","message":"no route","retry_after":30}}' ]),
	    job(2, [ 'say', '{"fail":{"id":@id}}' ]), job(3, [ 'say', '{"fail":{"id":@id,"class":"lost"}}' ]),
	    job(4, [ 'say', '{"progress":{"id":@id,"pct":40,"note":"half"}}' ], [ 'say', '{"log":{"id":@id,"line":"a line"}}' ], done()),
	    job(5, [ 'say', 'printed by mistake' ], [ 'say', '' ], [ 'say', '{"future":{}}' ], [ 'say', '{"ready":{}}' ], [ 'say', '{"done":{"id":99}}' ], done(), done(), [ 'say', '{"progress":{"id":@id,"pct":1}}' ]),
	    job(6, [ 'raw', unpack('H*', "{\"fail\":{\"id\":6,\"message\":\"caf\xe9\"}}\n") ]),
	    job(7, [ 'say', '{"done":{"id":@id,"result":"' . ('y' x 1_100_000) . '"}}' ]),
	    job(8, [ 'raw', unpack('H*', '{"done":{"id"') ], [ 'sleep', 0.1 ], [ 'raw', unpack('H*', ":8}}\n") ]),
	    job(9, map({ [ 'say', '{"progress":{"id":@id,"pct":' . ($_ / 50) . '}}' ] } 1 .. 5000), done()));
	is classes($r, 1 .. 6), 'network error error completed completed error', 'ends of jobs';
	is "$r->{1}{message} $r->{1}{retry_after_ms}", 'no route 30000', 'class, message and retry_after of a failure';
	is $r->{6}{message}, 'caf?', 'bytes that are no text hide nothing';
	is "$r->{7}{class} $r->{8}{class}", 'resource ', 'a result that is too long; a message that comes in pieces';
	is_deeply $r->{progress}[0], [ 4, 40, 'half' ], 'progress';
	is_deeply $r->{progress}[-1], [ 9, 100, undef ], '… of a flood the last';
	cmp_ok scalar(@{ $r->{progress} }), '<', 100, '… as a few messages: ' . @{ $r->{progress} };
	is $r->{output}{4}, "a line\n", 'a line of a job';
	like $r->{output}{5}, qr/\Aprinted by mistake\n/, 'what is printed by mistake is output';
	is scalar(() = $r->{log} =~ /program not understood/g), 1, '… and what means nothing is said in the log once';
	unlike $r->{log}, qr/program ended/, 'one program for all of it';
}

# It breaks the protocol: one job is charged, several are run alone.
{
	my %bad = (
		'a message that is none' => '{"done":{"id":@id}', 'two members' => '{"done":{"id":@id},"log":{}}',
		'no id' => '{"done":{}}', 'an id that is text' => '{"done":{"id":"@id"}}', 'a NUL' => '{"done":{"id":@id,"result":"\u0000"}}',
		'a deep one' => '{"done":{"id":@id,"result":' . '[' x 500 . ']' x 500 . '}}',
	);
	configure();
	my @names = sort keys %bad;
	my $r = run_jobs((map { job($_ + 1, [ 'say', $bad{ $names[$_] } ]), { id => 100 + $_, type => 'app', data => {} } } 0 .. $#names),
	    job(50, [ 'flood', 1, 5_000_000 ]), job(51, done()), job(52, [ 'close', 1 ], [ 'sleep', 1000 ]), job(53, done()));
	is $r->{ $_ + 1 }{class}, 'error', "$names[$_]: $r->{ $_ + 1 }{message}" for 0 .. $#names;
	is classes($r, map { 100 + $_ } 0 .. $#names), join(' ', ('completed') x @names), 'each time the next job has a new program';
	is classes($r, 50, 51), 'resource completed', "a line without an end: $r->{50}{message}";
	is classes($r, 52, 53), 'error completed', 'one that closes its output';
	like $r->{52}{message}, qr/^its program was killed: it has closed its standard output/, '… as the message says';

	configure_many();
	$r = run_jobs((map { job($_, [ 'later', 1000 ]) } 1 .. 3), job(4, [ 'later', 0.3, [ 'say', '{"done":{}}' ] ]));
	is classes($r, 1 .. 4), 'lost lost lost lost', 'with others in flight nobody is charged';
	is messages($r, qr/ended while it ran other jobs, too: done: it has no id/, 1 .. 4), 4, '… and all know why';
}

# It dies.
{
	configure();
	my $r = run_jobs(job(1, [ 'err', 'last words' ], [ 'die', 9 ]), job(2, [ 'exit', 3 ]), job(3, [ 'exit', 0 ]), job(4, done()), job(5, [ 'say', '{"done":{"id":@id}}' ], [ 'die', 9 ]), job(6, done()));
	is classes($r, 1 .. 6), 'crash crash lost completed completed completed', 'killed, exited, left; done before it died counts';
	is $r->{1}{message}, 'its program ended: killed by SIGKILL: last words', '… with its last words';
	is "$r->{1}{signal} $r->{2}{exit_status} $r->{3}{exit_status}", '9 3 0', '… signal and status';
	like $r->{output}{1}, qr/last words/, '… which are in its output';
	configure(options => ['once']);
	$r = run_jobs(map { job($_, done()) } 1 .. 4);
	is classes($r, 1 .. 4), 'completed completed completed completed', 'one that leaves after each job is started again';
	unlike $r->{log}, qr/ended|warn/, '… quietly';
	my $mark = 100_000 + $$;
	configure();
	$r = run_jobs(job(1, [ 'fork', $mark ], [ 'daemon', $mark ], [ 'die', 11 ]), job(2, done()));
	is classes($r, 1, 2), 'crash completed', 'one that leaves others behind, with its pipes open';
	is living(qr/^sleep $mark/), 0, '… and none of them lives (S1-57)';
	configure_many();
	$r = run_jobs((map { job($_, [ 'later', 1000 ]) } 1 .. 5), job(6, [ 'later', 0.3, [ 'die', 9 ] ]));
	is classes($r, 1 .. 6), join(' ', ('lost') x 6), 'it dies with several in flight: nobody is charged (S1-56)';
}

# It does not start.
{
	configure(options => [ 'exit-ready=4', 'start-text=no such module' ]);
	my $r = run_jobs(map { job($_, done()) } 1 .. 2);
	is classes($r, 1, 2), 'error error', 'a program that ends before it is ready';
	is $r->{2}{message}, 'its program was not ready: exit status 4: no such module', '… says why';
	like $r->{output}{1}, qr/no such module/, '… also in the output of the job that waited';
	configure(argv => '[sh, -c, "echo words >&2; kill -9 $$"]');
	$r = run_jobs(map { job($_, done()) } 1 .. 2);
	is $r->{2}{message}, 'its program was not ready: killed by SIGKILL: words', '… or is killed before that';
	is scalar(() = $r->{output}{1} =~ /words/g), 3, '… three times';
	configure(options => ['never-ready'], handler => 'start_timeout: 300ms');
	$r = run_jobs(job(1, done()));
	is "$r->{1}{class}: $r->{1}{message}", 'error: its program was not ready: it was not ready within 300 ms', 'one that is never ready';
	configure(argv => '[/nonexistent/program]');
	like run_jobs(job(1))->{1}{message}, qr{^/nonexistent/program: cannot execute it: No such file}, 'there is none';
	configure_many(options => ['slow-ready=0.3']);
	$r = run_jobs(map { job($_, done()) } 1 .. 20);
	is classes($r, 1 .. 20), join(' ', ('completed') x 20), 'jobs wait for one that is slow to start';
}

# Both directions are full.
{
	configure_many(options => ["heard=$dir/heard2"]);
	my $big = 'z' x 300_000;
	my $r = run_jobs(map { my $j = job($_, [ 'flood', 2, 3_000_000 ], map({ [ 'say', '{"log":{"id":@id,"line":"' . ('l' x 200_000) . '"}}' ] } 1 .. 5), done()); $j->{data}{big} = $big; $j } 1 .. 20);
	is classes($r, 1 .. 20), join(' ', ('completed') x 20), 'floods both ways do not lock';
	cmp_ok length $r->{output}{7}, '<', 150_000, '… and little is kept: ' . length $r->{output}{7};
	configure(options => ['deaf']);
	my $deaf = talk();
	$deaf->{say}({ job => job(1) });
	$deaf->{until}('result');
	my $large = job(2);
	$large->{data}{big} = 'z' x 900_000;
	$deaf->{say}({ job => $large });
	$deaf->{until}('started');
	$deaf->{say}({ cancel => { id => 2, timeout => JSON::PP::true } });
	is $deaf->{until}('result')->{signal}, 9, 'one that does not read is stopped all the same';
	$deaf->{end}->();
}

# The cancel ladder.
{
	configure_many();
	my $w = talk();
	$w->{say}({ job => job(1, ['await'], [ 'say', '{"fail":{"id":@id,"message":"as you wish"}}' ]) });
	$w->{say}({ job => job(2, [ 'say', '{"progress":{"id":@id,"pct":1}}' ], [ 'later', 1, done() ]) });
	$w->{until}('progress');
	$w->{say}({ cancel => { id => 1 } });
	is $w->{until}('result')->{message}, 'as you wish', 'a cancel reaches the job';
	is $w->{until}('result')->{class}, '', '… and no other one';
	$w->{say}({ job => job(3, [ 'err', 'deaf' ], [ 'say', '{"progress":{"id":@id,"pct":2}}' ], [ 'later', 1000 ]) });
	$w->{say}({ job => job(4, [ 'say', '{"progress":{"id":@id,"pct":3}}' ], [ 'later', 1000 ]) });
	$w->{until}('progress') for 1 .. 2;
	my $since = time;
	$w->{say}({ cancel => { id => 3, timeout => JSON::PP::true } });
	$w->{say}({ job => job(5, done()) });
	my $all = $w->{end}->();
	is "$all->{3}{class} $all->{3}{signal}", 'error 9', 'one that does not end has its program killed';
	cmp_ok time - $since, '>=', 0.9, '… after its grace';
	is "$all->{4}{class}: $all->{4}{message}", 'lost: its program was killed because of another job', '… its neighbour is not charged';
	is $all->{5}{class}, '', '… and one that came meanwhile ran';
	configure(options => ['slow-ready=1000']);
	$w = talk();
	$w->{say}({ job => job(1, done()) });
	$w->{until}('started');
	$w->{say}({ cancel => { id => 1 } });
	is $w->{until}('result')->{message}, 'stopped before its program was ready', 'one that waits for its program';
	is_deeply $w->{end}->()->{exit}, { status => 0, signal => 0 }, '… and the worker leaves without it';
	my $mark = 200_000 + $$;
	configure(options => [ 'stubborn', "mark=$mark" ]);
	$w = talk();
	$w->{say}({ job => job(1, [ 'daemon', $mark ], done()) });
	$w->{until}('result');
	is_deeply $w->{end}->()->{exit}, { status => 0, signal => 0 }, 'a program that does not quit is killed';
	is living(qr/^sleep $mark|mark=$mark/), 0, '… with all that it has started';
}

# Beside a program for each job, which leaves it alone.
{
	configure();
	my $r = run_jobs({ id => 1, type => 'app', data => {} }, { id => 2, type => 'sh', data => { sh => '(setsid sleep 1000 &) ; sleep 0.1' } }, { id => 3, type => 'app', data => {} },
	    { id => 4, type => 'sh', data => { sh => 'kill -9 $$' } }, { id => 5, type => 'app', data => {} });
	is classes($r, 1 .. 5), 'completed completed completed crash completed', 'two handlers with programs in one worker';
	is_deeply [ map { $_->{result}{pid} } @$r{3, 5} ], [ ($r->{1}{result}{pid}) x 2 ], '… of which one is kept';
}

# What it used.
{
	configure();
	my $r = run_jobs(job(1, [ 'spin', 0.2 ], done()), job(2, [ 'sleep', 0.1 ], done()), job(3, done()));
	cmp_ok $r->{1}{cpu_ms}, '>=', 190, "processor time of a job: $r->{1}{cpu_ms} ms";
	cmp_ok $r->{2}{cpu_ms}, '<', 150, "… is its own: $r->{2}{cpu_ms} ms";
	cmp_ok $r->{1}{max_rss_kb}, '>', 1000, "memory: $r->{1}{max_rss_kb} KiB";
	configure_many();
	$r = run_jobs(job(1, [ 'later', 0.2, done() ]), job(2, [ 'spin', 0.1 ], done()));
	is "$r->{1}{cpu_ms} $r->{2}{cpu_ms}", '-1 -1', '… of jobs side by side nobody can tell';
}

# The log of a job while it runs.
{
	configure();
	my $w = talk();
	$w->{say}({ job => job(1, [ 'err', 'seen early' ], ['await'], done()) });
	is $w->{until}('output')->{text}, "seen early\n", 'what a job writes is seen while it runs';
	$w->{say}({ cancel => { id => 1 } });
	is $w->{end}->()->{output}{1}, "seen early\n", '… and kept once';
	spew("$dir/conf.yml", "handlers: {sh: {driver: exec, argv: [sh, -c, '{{data.sh}}']}}\nqueues: {q: {handler: sh}}\n");
	$w = talk();
	$w->{say}({ job => { id => 1, type => 'x', data => { sh => "echo out; echo err >&2; while ! test -e $dir/go; do sleep 0.05; done; echo more; echo 7" } } });
	is $w->{until}('output')->{text}, "out\n--- standard error ---\nerr\n", '… also of a program for each job';
	spew("$dir/go", '');
	my $all = $w->{end}->();
	is $all->{output}{1}, "out\n--- standard error ---\nerr\n--- standard output ---\nmore\n7\n", '… the rest at its end';
	is $all->{1}{result}, 7, '… with the result';
}

# What -t says.
{
	my %wrong = (
		'argv: [a, "{{data.x}}"]' => qr/argv: the program is kept for many jobs/, 'argv: [a], env: {A: "{{job.id}}"}' => qr/env: the program is kept/,
		'argv: [a], in_flight: 0' => qr/in_flight/, 'argv: [a], start_timeout: 2h' => qr/start_timeout: from 1ms to 1h/,
		'argv: [a], env_prefix: X_' => qr/env_prefix/, 'in_flight: 3' => qr/argv: needs a list/,
	);
	for my $options (sort keys %wrong) {
		spew("$dir/wrong.yml", "handlers: {app: {driver: worker, $options}}\nqueues: {q: {handler: app}}\n");
		my ($status, undef, $err) = run_program([ jobqd_program(), '-t', '-c', "$dir/wrong.yml" ]);
		like $err, qr/^\Q$dir\E\/wrong\.yml:1:\d+: .*$wrong{$options}/m, "-t refuses $options";
	}
}
done_testing;
