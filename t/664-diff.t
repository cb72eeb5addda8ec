# jobqctl diff: what a reload would do, by what a running
# jobqd told the database.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
spew("$dir/token", "t0ken-one\n");
my $config = <<"YAML";
retry: {short: {attempts: 2}}
limits: {slow: {rate: 5/s}}
handlers:
  null: {driver: noop}
  hook: {driver: http, url: "https://example.com/", auth: {bearer_file: $dir/token}}
  other: {driver: http, url: "https://example.com/", auth: {bearer: pa55word}}
queues:
  a.dotted: {handler: null, workers: 2}
  post: {handler: hook}
  more: {handler: other, retry: short, limits: [slow]}
  off: {handler: null, enabled: false}
schedules:
  nightly: {cron: "0 2 * * *", queue: a.dotted}
  hourly: {cron: "0 * * * *", queue: a.dotted}
YAML
my $d = Jobqd::Daemon->new(pg => $pg, config => $config);
my ($status, $out, $err) = $d->ctl('migrate');
is $status, 0, 'the schema is there' or diag $err;
($status, $out, $err) = $d->ctl('diff');
is $status, 2, 'where no jobqd has run: exit 2';
like $err, qr/no node node has run with this database|no jobqd has run/, '… there is nothing to compare with';
$d->start;

# Exit 0: nothing; a table of one item for one change.
sub diff {
	my ($yaml, @more) = @_;
	my $was = slurp($d->{conf});
	$d->configure($yaml) if defined $yaml;
	rename $d->{conf}, "$dir/next.yml" if defined $yaml;
	spew($d->{conf}, $was);
	my ($s, $o, $e) = $d->ctl('diff', '--json', defined $yaml ? "$dir/next.yml" : ());
	cmp_ok $s, '<', 2, 'diff' or diag $e;
	unlike $o, qr/pa55word|pa55two|t0ken-/, '… shows no secret';
	my $all = decode_json($o);
	is $s, scalar @{ $all->{items} } ? 1 : 0, '… exits 1 when there is a change, else 0';
	return $all;
}
sub items { return [ map { join ' ', grep { length } @$_{qw(kind name action)} } @{ $_[0]{items} } ] }

is_deeply items(diff()), [], 'the configuration that runs';
($status, $out) = $d->ctl('diff');
like $out, qr/^node node, as it runs since \S+Z, and \S+\na reload would change nothing$/, '… says so';
is_deeply items(diff($config)), [], 'the same in another file';
is_deeply items(diff("# a comment\n$config")), [], 'what is no setting is no change';
is_deeply items(diff($config =~ s/workers: 2/workers: 2, timeout: 60s/r)), [], 'nor is a default that is written down';

my %cases = (
	'workers' => [ $config =~ s/workers: 2/workers: 5/r, ['queue a.dotted restart'] ],
	'a setting' => [ $config =~ s/workers: 2/workers: 2, timeout: 5s/r, ['queue a.dotted restart'] ],
	'a new queue' => [ $config =~ s/(  off: )/  new: {handler: null, workers: 3}\n$1/r, ['queue new start'] ],
	'a queue that goes' => [ $config =~ s/  post: .*\n//r, ['queue post stop'] ],
	'one that is disabled' => [ $config =~ s/(post: \{handler: hook)/$1, enabled: false/r, ['queue post stop'] ],
	'one that is enabled' => [ $config =~ s/, enabled: false//r, ['queue off start'] ],
	'a handler' => [ $config =~ s/(bearer: pa55word\})/$1, method: PUT/r, ['queue more restart', 'handler other change'] ],
	'a secret' => [ $config =~ s/pa55word/pa55two/r, ['queue more restart'] ],
	'a retry policy' => [ $config =~ s/attempts: 2/attempts: 4/r, ['queue more restart', 'retry short change'] ],
	'a limit' => [ $config =~ s|5/s|6/s|r, ['queue more restart', 'limit slow change'] ],
	'schedules' => [ $config =~ s/0 2/0 3/r =~ s/hourly: /daily: /r,
		[ 'schedule daily add', 'schedule hourly remove', 'schedule nightly change' ] ],
	'the level of the log' => [ "$config\nlog: {file: stderr, level: info}\n",
		[ 'queue a.dotted restart', 'queue more restart', 'queue post restart', 'log change' ] ],
	'the monitor' => [ "$config\nmonitor: {interval: 3s, health_file: $d->{dir}/health.json}\n", ['monitor change'] ],
);
for my $name (sort keys %cases) {
	my $all = diff($cases{$name}[0]);
	is_deeply [ sort @{ items($all) } ], [ sort @{ $cases{$name}[1] } ], "changed: $name";
	is_deeply $all->{needs_restart}, [], '… which a reload takes';
}
my ($item) = @{ diff($cases{workers}[0])->{items} };
is_deeply [ @$item{qw(workers_before workers changes)} ], [ 2, 5, [ { key => 'workers', from => '2', to => '5' } ] ], 'from and to';
($item) = grep { $_->{kind} eq 'queue' } @{ diff($cases{'a handler'}[0])->{items} };
is_deeply $item->{because}, ['handler other'], 'what else is the reason';
($item) = @{ diff($cases{'a secret'}[0])->{items} };
like $item->{because}[0], qr/a secret/, 'a secret is named as such';

# A file of secrets that has another content.
spew("$dir/token", "t0ken-two\n");
is_deeply items(diff()), ['queue post restart'], 'what a file of secrets holds';
spew("$dir/token", "t0ken-one\n");

# What a reload refuses.
my $all = diff("$config\ndaemon: {node: node, pid_file: $dir/elsewhere.pid, shutdown_timeout: 10s}\n");
is_deeply $all->{needs_restart}, ['daemon.pid_file'], 'a key that needs a restart';
($status, $out) = $d->ctl('diff', "$dir/next.yml");
like $out, qr/^a reload would be refused: these need a restart: daemon\.pid_file$/m, '… is told';

# What it said comes true.
my $next = $config =~ s/workers: 2/workers: 1/r =~ s/  post: .*\n/  late: {handler: null}\n/r;
$all = diff($next);
my $from = $d->log_size;
$d->configure($next);
$d->signal('HUP');
$d->wait_log(qr/: reloaded /, $from);
my %told = map { ($_->{name} => $_->{action}) } grep { $_->{kind} eq 'queue' } @{ $all->{items} };
my %did;
my %words = (added => 'start', changed => 'restart', removed => 'stop');
my $log = $d->log($from);
$did{$2} = $words{$1} while $log =~ /: queue (added|changed|removed) queue=(\S+)/g;
is_deeply \%did, \%told, 'the reload did to the queues what was told: ' . join(', ', map { "$_ $told{$_}" } sort keys %told);
is_deeply items(diff()), [], 'then nothing is left to change';

# A jobqd that is gone has left word; a broken file and a wrong node are trouble.
$d->stop;
$pg->query("UPDATE jobq.node SET seen = now() - interval '1 hour'");
ok !diff()->{alive}, 'what ran last, when nothing runs';
spew("$dir/bad.yml", "queues: {x: {handler: nobody}}\n");
($status, $out, $err) = $d->ctl('diff', "$dir/bad.yml");
is $status, 2, 'a file with mistakes: exit 2';
like $err, qr/^\Q$dir\E\/bad\.yml:1:\d+: /, '… by place';
$d->configure("$config\ndaemon: {node: elsewhere, pid_file: $d->{dir}/jobqd.pid}\n");
($status, $out, $err) = $d->ctl('diff');
is $status, 2, 'another node: exit 2';
like $err, qr/no node elsewhere has run with this database, but node/, '… which there are';
unlike $pg->query('SELECT config FROM jobq.running'), qr/pa55word|pa55two|t0ken-/, 'what the database keeps has no secret in it';
done_testing;
