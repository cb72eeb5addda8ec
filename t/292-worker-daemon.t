# The driver worker with a real leader and database: deaths and who is charged,
# jobs that programs enqueue, completions of their own, output while it runs,
# memory, leaving. S1-56 S1-57
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

my $pg = Jobqd::Postgres->new;
my $json = JSON::PP->new->utf8->canonical;
my $dir = temp_directory();
chmod 0777, $dir;
my $python = 'python3, -S, ' . source_directory() . '/t/worker_program.py';
my $config = <<"YAML";
retry: {quick: {attempts: 3, max_crashes: 2, backoff: fixed, base: 0, jitter: 0%, on: {validation: {attempts: 1}}}}
handlers:
  app: {driver: worker, argv: [$python], in_flight: 10}
  told: {driver: worker, argv: [$python, heard=$dir/heard]}
  sh: {driver: exec, argv: [sh, -c, "{{data.sh}}"]}
  null: {driver: noop}
queues:
  many: {handler: app, concurrency: 20, retry: quick, timeout: 20s, cancel: {grace: 500ms}}
  one: {handler: app, retry: quick, timeout: 20s, cancel: {grace: 500ms}}
  told: {handler: told, recycle: {jobs: 2}}
  large: {handler: app, recycle: {rss: 100MiB}}
  programs: {handler: sh, retry: quick}
  children: {handler: null}
YAML
my $d = Jobqd::Daemon->new(pg => $pg, config => $config);
$d->start;

sub quoted { my ($text) = @_; $text =~ s/'/''/g; return "'$text'" }
sub enqueue {
	my ($queue, @steps) = @_;
	return $pg->query("select jobq.enqueue('$queue', 't', " . quoted($json->encode({ do => [@steps] })) . ')');
}
sub done { return [ 'say', '{"done":{"id":@id}}' ] }
sub says { my ($message) = @_; return [ 'say', $json->encode($message) =~ s/"\@id"/\@id/r ] }
sub state { my ($id) = @_; return $pg->query("select state from jobq.jobs where id = $id") }
sub ended { my @ids = @_; my $all = join ',', @ids; wait_for { $pg->query("select count(*) from jobq.jobs where id in ($all) and state in ('completed', 'dead', 'cancelled')") == @ids } "jobs $all to end" }
sub attempts { my ($id) = @_; return $pg->query("select coalesce(string_agg(attempt || ':' || outcome || coalesce('/' || nullif(class, ''), ''), ' ' order by attempt), '') from jobq.attempts where job_id = $id") }
sub children { my ($like) = @_; return $pg->query("select count(*) from jobq.jobs where queue = 'children' and type like '$like'") }
sub wait_title { my ($like) = @_; wait_for { $d->pids($like) } "a process $like"; return }

# Who is charged with a death.
{
	my @others = map { enqueue('many', [ 'file', "$dir/runs", '@id' ], [ 'later', 1.5, done() ]) } 1 .. 4;
	wait_for { -e "$dir/runs" && (() = slurp("$dir/runs") =~ /\n/g) == 4 } 'four jobs to be in flight';
	my $bad = enqueue('many', [ 'die', 9 ]);
	ended(@others, $bad);
	is attempts($bad), '1:lost/lost 2:failed/crash 3:dead/crash', 'a job that kills its program: lost with others, then charged alone (S1-56)';
	is attempts($_), '1:lost/lost 2:completed', "… job $_ of the others is not" for @others;
	is $pg->query("select error from jobq.jobs where id = $bad"), 'its program ended: killed by SIGKILL', '… with the reason';
	is $pg->query("select signal from jobq.attempts where job_id = $bad and attempt = 3"), '9', '… and the signal';

	@others = map { enqueue('many', [ 'file', "$dir/runs2", '@id' ], [ 'later', 3, done() ]) } 1 .. 3;
	wait_for { -e "$dir/runs2" && (() = slurp("$dir/runs2") =~ /\n/g) == 3 } 'three jobs to be in flight';
	my $hung = $pg->query(q{select jobq.enqueue('many', 't', '{"do": [["later", 1000]]}', timeout => '500ms', max_attempts => 1)});
	ended($hung, @others);
	is attempts($hung), '1:dead/timeout', 'a job that does not heed its cancel has timed out';
	is attempts($_), '1:lost/lost 2:completed', "… job $_ beside it is not charged" for @others;
}

# What programs enqueue.
{
	my $id = enqueue('one', [ 'say', '{"enqueue":{"queue":"children","type":"with","data":{"n":1},"priority":3,"id":@id}}' ],
	    [ 'say', '{"enqueue":{"queue":"children","type":"with","tags":["a"],"id":@id}}' ], [ 'say', '{"done":{"id":@id,"result":5}}' ]);
	ended($id);
	is children('with') . ' ' . $pg->query("select result from jobq.jobs where id = $id"), '2 5', 'jobs of a job are there with its end';
	is $pg->query("select string_agg(priority || ' ' || coalesce(tags::text, ''), ', ' order by id) from jobq.jobs where queue = 'children' and type = 'with'"),
	    '3 , 5 {a}', '… with their members';
	is attempts($id), '1:completed', '… in one attempt';
	$id = enqueue('one', [ 'say', '{"enqueue":{"queue":"children","type":"failed","id":@id}}' ], [ 'say', '{"fail":{"id":@id,"class":"validation"}}' ]);
	ended($id);
	is children('failed'), 0, '… not if it fails';
	$id = enqueue('one', [ 'say', '{"enqueue":{"queue":"children","type":"half","id":@id}}' ], [ 'say', '{"enqueue":{"queue":"nowhere","id":@id}}' ], done());
	ended($id);
	is attempts($id) . ' ' . children('half'), '1:dead/validation 0', '… all or none, and then the job fails';
	like $pg->query("select error from jobq.jobs where id = $id"), qr/nowhere/, '… which says why';
	$id = enqueue('one', [ 'say', '{"enqueue":{"queue":"children","type":"taken","id":@id}}' ], [ 'sh', qq{psql -qXd '@{[ $pg->url ]}' -c "select jobq.complete(\@id, '\@token')" >/dev/null} ], done());
	ended($id);
	is children('taken'), 0, '… nor if the job is no longer its';

	$id = enqueue('one', [ 'say', '{"enqueue":{"queue":"children","type":"atonce"}}' ], [ 'later', 1000 ]);
	wait_for { children('atonce') == 1 } 'a job that a program enqueues by itself';
	is state($id), 'running', 'one of the program itself is there at once';
	$pg->query("select jobq.cancel($id)");
	ended($id);
	my $before = children('before');
	my @ids = map { enqueue('many', map({ [ 'say', '{"enqueue":{"queue":"children","type":"before","data":{"of":@id}}}' ] } 1 .. 5), done()) } 1 .. 50;
	ended(@ids);
	is children('before') - $before, 250, '… before any job completes that is done afterwards';
	is $pg->query('select count(*) from jobq.attempts where job_id in (' . join(',', @ids) . ") and outcome <> 'completed'"), 0, '… all at the first attempt';
	is $pg->query("select count(*) from jobq.jobs p join jobq.jobs c on c.queue = 'children' and c.type = 'before' and (c.data ->> 'of')::bigint = p.id where p.id in ("
	    . join(',', @ids) . ') and c.created_at > p.finished_at'), 0, '… none later than that';
	$id = enqueue('one', [ 'say', '{"enqueue":{"queue":"nowhere"}}' ], done());
	ended($id);
	is attempts($id), '1:dead/validation', 'nobody asked for an answer: the job cannot complete without it';

	$id = enqueue('told', [ 'say', '{"enqueue":{"queue":"children","type":"answered","ref":"a \"ref\""}}' ], [ 'say', '{"enqueue":{"queue":"nowhere","ref":"b"}}' ], done());
	ended($id);
	wait_for { slurp("$dir/heard") =~ /enqueued.*enqueued/s } 'two answers';
	my @answers = map { $_->{enqueued} || () } map { $json->decode($_) } split /\n/, slurp("$dir/heard");
	is_deeply [ $answers[0]{ref}, $answers[0]{id} ], [ 'a "ref"', $pg->query("select id from jobq.jobs where type = 'answered'") ], 'an answer: the id';
	like $answers[1]{error}, qr/nowhere/, '… or why there is none';
	is state($id), 'completed', '… and then it is the program\'s business';
}

# Exactly once, by the program itself.
{
	$pg->query('create table effect (job bigint)');
	my $sql = qq{psql -qXd '@{[ $pg->url ]}' -c "begin; insert into effect values (\@id); select jobq.complete(\@id, '\@token', '{\\"own\\": 1}'); commit" >/dev/null};
	my $id = enqueue('one', [ 'sh', $sql ], [ 'say', '{"done":{"id":@id,"result":{"own":2}}}' ]);
	my $sh = qq{psql -qXd '@{[ $pg->url ]}' -c "begin; insert into effect values (\$JOBQ_ID); select jobq.complete(\$JOBQ_ID, '\$JOBQ_TOKEN'); commit" >/dev/null; kill -9 \$\$};
	my $program = $pg->query("select jobq.enqueue('programs', 't', jsonb_build_object('sh', " . quoted($sh) . '))');
	ended($id, $program);
	is $pg->query("select result from jobq.jobs where id = $id"), '{"own": 1}', 'a program completes its job in its own transaction (S1-52)';
	is attempts($id), '1:completed', '… and what it says then is not stored';
	is attempts($program), '1:completed', '… also one that is started for the job, whatever becomes of it';
	unlike $d->log, qr/lease lost id=(?:$id|$program) /, '… of which their leaders know';
	is $pg->query("select string_agg(n::text, ' ') from (select count(*) n from effect group by job) e"), '1 1', '… each effect once';
}

# Its output, and what it used.
{
	my $id = enqueue('one', [ 'err', 'to be seen' ], [ 'say', '{"log":{"id":@id,"line":"a line"}}' ], [ 'spin', 0.1 ], [ 'await' ], [ 'err', 'last' ], [ 'say', '{"fail":{"id":@id}}' ]);
	my $log = sub { my (undef, $out) = $d->ctl('job', 'log', $_[0]); return $out };
	wait_for { $log->($id) =~ /to be seen\na line/ } 'the log of a job that runs';
	is state($id), 'running', 'jobqctl job log shows what a job wrote while it runs';
	$pg->query("select jobq.cancel($id)");
	ended($id);
	like $log->($id), qr/to be seen\na line\nlast/, '… and all of it at the end';
	my $program = $pg->query(qq{select jobq.enqueue('programs', 't', jsonb_build_object('sh', 'echo seen; while ! test -e $dir/go; do sleep 0.05; done; (i=0; while test \$i -lt 30000; do i=\$((i+1)); done); echo last'))});
	wait_for { $log->($program) =~ /seen/ } 'the log of a program that runs';
	is state($program), 'running', '… also of a program for each job';
	spew("$dir/go", '');
	ended($program);
	like $log->($program), qr/seen\nlast/, '… and all of it at the end';
	my ($cpu, $rss) = split /\|/, $pg->query("select cpu_ms, max_rss_kb from jobq.attempts where job_id = $program");
	cmp_ok $cpu, '>', 0, "processor time of a program and its children: $cpu ms";
	cmp_ok $rss, '>', 500, "… and memory: $rss KiB";
	$id = enqueue('one', [ 'spin', 0.1 ], done());
	ended($id);
	($cpu, $rss) = split /\|/, $pg->query("select cpu_ms, max_rss_kb from jobq.attempts where job_id = $id");
	cmp_ok $cpu, '>=', 90, "… of a job of a program that is kept: $cpu ms";
	cmp_ok $rss, '>', 1000, "… $rss KiB";
}

# A worker is replaced, by number of jobs and by what its program takes.
{
	my $from = $d->log_size;
	my $old = enqueue('told');
	ended($old);
	$d->wait_log(qr/queue told .*worker is replaced .*reason=jobs/, $from);
	my $new = enqueue('told');
	ended($new);
	my @pids = map { $pg->query("select result ->> 'pid' from jobq.jobs where id = $_") } $old, $new;
	isnt $pids[0], $pids[1], 'a worker that is replaced has a new program';
	wait_for { !-e "/proc/$pids[0]" } 'the old one to be gone';
	like slurp("$dir/heard"), qr/\{"quit":\{\}\}/, '… and the old one was told to quit';
	unlike $d->log($from), qr/told.*worker (?:killed|died)/, '… and neither is killed';
	$from = $d->log_size;
	my $id = enqueue('large', [ 'grow', 150 ], done());
	ended($id);
	my $line = $d->wait_log(qr/worker is replaced .*reason=rss/, $from);
	my ($kb) = $line =~ /rss_kb=(\d+)/;
	cmp_ok $kb, '>=', 100 * 1024, "the program's memory counts: $kb KiB";	# it may still have been growing
}

# The leader dies; the master stops; a reload changes the queue.
{
	my $id = enqueue('one', [ 'file', "$dir/leader", 'x' ], [ 'later', 2, done() ]);
	wait_for { -e "$dir/leader" } 'the job to run';
	kill 'KILL', $d->pids(qr/^jobqd: queue one\b/);
	ended($id);
	is attempts($id) . ' ' . slurp("$dir/leader"), "1:completed x\n", 'a job whose leader dies is completed, once';
	wait_title(qr/^jobqd: queue one\b/);

	my $hung = $pg->query("select jobq.enqueue('one', 't', " . quoted($json->encode({ do => [ [ 'file', "$dir/hung", 'x' ], [ 'later', 1000 ] ] })) . ", timeout => '3 s', max_attempts => 1)");
	wait_for { -e "$dir/hung" } 'the next one to run';
	kill 'KILL', $d->pids(qr/^jobqd: queue one\b/);
	ended($hung);
	is attempts($hung), '1:dead/timeout', 'one that hangs when its leader dies is stopped by its worker';
	wait_title(qr/^jobqd: queue one\b/);

	$id = enqueue('many', [ 'file', "$dir/reload", 'x' ], [ 'later', 2, done() ]);
	wait_for { -e "$dir/reload" } 'the job to run';
	my $from = $d->log_size;
	$d->configure($config =~ s/in_flight: 10/in_flight: 9/r);
	$d->signal('HUP');
	my $next = enqueue('many', done());
	ended($id, $next);
	is attempts($id) . ' ' . slurp("$dir/reload"), "1:completed x\n", 'a reload lets a job finish in the old program';
	$id = enqueue('many', [ 'file', "$dir/stop", 'x' ], [ 'await' ], [ 'say', '{"fail":{"id":@id,"message":"stopped"}}' ]);
	wait_for { -e "$dir/stop" } 'the job to run';
	my $quick = enqueue('many', done());
	ended($quick);
	my @left = grep { process_title($_) =~ /worker_program/ } process_tree($d->{pid});
	cmp_ok scalar(@left), '>', 0, 'there are programs';
	$d->stop;
	is attempts($id) . ' ' . state($id), ' ready', 'a job that runs when jobqd stops is handed back';
	is scalar(grep { -e "/proc/$_" } @left), 0, '… and no program is left (S1-57)';
}
done_testing;
