# Progress, partial results and the history of attempts, on the real thing:
# class, duration, exit status, signal, processor time and memory, as far as
# they can be known. S4-9, S4-42.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
chmod 0777, $dir;
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
retry: {once: {attempts: 1}, twice: {attempts: 2, backoff: fixed, base: 20ms, jitter: 0%, on: {validation: {attempts: 2}}}}
handlers:
  null: {driver: noop}
  sh: {driver: exec, argv: [sh, -c, "{{data.sh}}"], env: {DIR: $dir}}
queues:
  sh: {handler: sh, retry: once, cancel: {grace: 500ms}}
  twice: {handler: sh, retry: twice, timeout: 10m}
  null: {handler: null, retry: once}
  slow: {handler: sh, retry: once, timeout: 300ms, cancel: {grace: 300ms}}
YAML
$d->start;
my $json = JSON::PP->new->canonical;
my $put = sub { my ($queue, $sh) = @_; my (undef, $id) = $d->ctl('enqueue', $queue, $json->encode({ sh => $sh })); chomp $id; return $id };
my $q1 = sub { return $pg->query("SELECT $_[0]") };
my $ended = sub { my ($id) = @_; wait_for { $q1->("state FROM jobq.jobs WHERE id = $id") =~ /completed|dead|cancelled/ } "job $id"; return $id };
my $attempts = sub {
	my ($status, $out, $err) = $d->ctl('--json', 'job', 'show', $ended->($_[0]));
	return map { $_->{took_ms} = 0 + $q1->("extract(epoch FROM finished_at - started_at) * 1000 FROM jobq.attempts WHERE job_id = $_[0] AND attempt = $_->{attempt}"); $_ }
	    @{ decode_json($out)->{attempts} };
};
my $short = sub { my ($a) = @_; return join ' ', map { $_ // '-' } @$a{qw(attempt outcome class exit_status signal)} };

# what is known of a program
my $burn = $put->('sh', 'i=0; while test $i -lt 60000; do i=$((i + 1)); done; echo done');
my ($a) = $attempts->($burn);
is $short->($a), '1 completed - 0 -', 'a program that completes: exit status 0';
# S0-74, S1-43, S1-59: what an attempt has used.
cmp_ok $a->{cpu_ms}, '>', 0, "… its processor time: $a->{cpu_ms} ms";
cmp_ok $a->{cpu_ms}, '<=', $a->{took_ms} + 50, "… no more than it took: $a->{took_ms} ms";
cmp_ok $a->{max_rss_kb}, '>', 300, "… its memory: $a->{max_rss_kb} KiB";
is "$a->{node} $a->{worker}", 'node sh/0', '… where it ran';
my ($more) = $attempts->($put->('sh', 'x=$(head -c 30000000 /dev/zero | tr "\\0" x); echo ${#x} >/dev/null'));
cmp_ok $more->{max_rss_kb}, '>', $a->{max_rss_kb} + 20_000, "a program that takes 30 MB more: $more->{max_rss_kb} KiB";
is $short->($attempts->($put->('sh', 'exit 65'))), '1 dead validation 65 -', 'a program that fails: its exit status';
is $short->($attempts->($put->('sh', 'kill -SEGV $$'))), '1 dead crash - 11', 'a program that crashes: its signal';
($a) = $attempts->($put->('slow', 'sleep 60'));
is $short->($a), '1 dead timeout - 15', 'one that is stopped at its time-out: by which signal';
cmp_ok $a->{took_ms}, '>=', 290, "… after its time: $a->{took_ms} ms";
ok defined $a->{cpu_ms} && defined $a->{max_rss_kb}, '… and its processor time and memory';
is $short->($attempts->($put->('slow', 'trap "" TERM; while :; do sleep 1; done'))), '1 dead timeout - 9', 'one that will not stop: it was killed, with its worker';
my $victim = $put->('sh', 'touch $DIR/runs; sleep 60');
wait_for { -e "$dir/runs" } 'the job to run';
$d->ctl('job', 'cancel', $victim);
is $short->($attempts->($victim)), '1 cancelled - - 15', 'one that is cancelled: by which signal';

# inside a worker nothing of that can be told of one job
(undef, my $noop) = $d->ctl('enqueue', 'null', '{"sleep_ms": 500}');
chomp $noop;
($a) = $attempts->($noop);
is $short->($a) . ' ' . ($a->{cpu_ms} // '-') . ' ' . ($a->{max_rss_kb} // '-'), '1 completed - - - - -', 'one inside a worker: no status, no processor time of its own';
cmp_ok $a->{took_ms}, '>', 0, "… but how long it took: $a->{took_ms} ms";
# … but when the worker goes down with it
(undef, my $crash) = $d->ctl('enqueue', 'null', '{"crash": true}');
chomp $crash;
my @all = $attempts->($crash);
like $short->($all[-1]), qr/^\d dead crash - \d+$/, 'one that takes its worker along: the worker\'s signal';
ok defined $all[-1]{cpu_ms} && $all[-1]{max_rss_kb} > 0, '… and what the worker had used';

# two attempts, as a person sees them
my $two = $put->('twice', 'echo try $JOBQ_ATTEMPT; seq 1 50; echo no >&2; test $JOBQ_ATTEMPT = 2 || exit 75');
is join(', ', map { $short->($_) } $attempts->($two)), '1 failed network 75 -, 2 completed - 0 -', 'each attempt by itself (S0-74, S1-47)';
my (undef, $out) = $d->ctl('job', 'show', $two);
like $out, qr/^attempt +outcome +class +started_at +took_ms +exit +signal +cpu_ms +max_rss_kb +node +worker +error\n +1 +failed +network +\S+Z +\d+ +75 +\d+ +\d+ +node +twice\/0 +exit status 75: no\n +2 +completed +\S+Z +\d+ +0 +\d+ +\d+ +node +twice\/0 *$/m, 'job show has a table of them'
    or diag $out;
like $out, qr/^output of attempt 2, its end \("jobqctl job log $two" has all\):\n(?:\d+\n)+--- standard error ---\nno\n\z/m, '… and the end of what the last one wrote';
unlike $out, qr/^try 2$/m, '… not all of it';
(undef, $out) = $d->ctl('job', 'log', $two);
like $out, qr/^output of attempt 1:\ntry 1\n.*^output of attempt 2:\ntry 2\n1\n2\n/ms, '… which job log has, of each';

# progress
my $say = '{"progress":{"pct":40,"note":{"rows":2,"last":"b"}}}';
my $run = $put->('twice', "echo '$say' >&3; until test -e \$DIR/go\$JOBQ_ATTEMPT; do sleep 0.02; done; exit \$((JOBQ_ATTEMPT == 1))");
my $row = sub { return $q1->("concat_ws('|', state, attempt, coalesce(progress::text, '-'), coalesce(progress_note, '-')) FROM jobq.jobs WHERE id = $run") };
my $is = sub { my ($want, $what) = @_; my $got; ok eval { wait_for { ($got = $row->()) eq $want } $what }, $what or diag $got };
$is->('running|1|40|{"last":"b","rows":2}' =~ s/\{.*/{"rows":2,"last":"b"}/r, 'progress and partial results, while it runs (S4-9, S4-42)');
is $q1->("progress_note::jsonb ->> 'last' FROM jobq.jobs WHERE id = $run"), 'b', '… as JSON';
(undef, $out) = $d->ctl('job', 'show', $run);
like $out, qr/^progress +40 %\nprogress note +\{"rows":2,"last":"b"\}$/m, '… shown';
is $q1->("jobq.progress($run, 60)"), 't', 'progress by SQL';
$is->('running|1|60|{"rows":2,"last":"b"}', '… leaves the note');
is $q1->("jobq.progress($run, NULL, 'later')"), 't', 'a note alone';
$is->('running|1|60|later', '… leaves the number');
$pg->query("UPDATE jobq.progress SET note = 'of the first attempt' WHERE job = $run");
spew("$dir/go1", '');
$is->('running|2|40|{"rows":2,"last":"b"}', 'the next attempt says its own');
$pg->query("UPDATE jobq.progress SET attempt = 1 WHERE job = $run");
is $row->(), 'running|2|-|-', '… and is not shown what another one said';
is $q1->("jobq.progress($run, 90)"), 't', '… until it says something';
is $row->(), 'running|2|90|-', '… of its own';
spew("$dir/go2", '');
$ended->($run);
is $row->(), 'completed|2|90|-', 'the last word remains';
is $q1->("jobq.progress($run, 95)"), 'f', 'after its end nothing counts';
is $row->(), 'completed|2|90|-', '… and nothing changes';
is $q1->('jobq.progress(99999, 5)'), 'f', 'of no job';
is $q1->('count(*) FROM jobq.progress WHERE job = 99999'), 0, '… nothing is kept';
like +($pg->try_query("\\set VERBOSITY verbose\nSELECT jobq.progress($run, 101)"))[2], qr/22023/, 'more than all';
like +($pg->try_query("\\set VERBOSITY verbose\nSELECT jobq.progress($run, 1, repeat('x', 17000))"))[2], qr/54000/, 'a note that is too long';
done_testing;
