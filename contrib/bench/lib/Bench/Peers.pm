# Other job systems beside jobqd: the same measures on the same machine, each
# on a fresh server with the same settings. peers/README.md says how a peer
# is run; this is what asks, times and prints.
package Bench::Peers;

use strict;
use warnings;

use Bench;
use Bench::Peers::Process;
use File::Copy ();
use File::Path ();
use Jobqd;
use List::Util ();

our %commands = (
	# No order: `bench all` is jobqd alone.
	peers => { order => 0, run => \&peers, does => 'beside it: pg-boss, graphile-worker, BullMQ, Sidekiq' },
);

# batch: what its bulk call takes best.
my %peers = (
	pgboss   => { name => 'pg-boss',         server => 'PostgreSQL', program => 'run.mjs',    batch => 5000 },
	graphile => { name => 'graphile-worker', server => 'PostgreSQL', program => 'run.mjs',    batch => 20_000 },
	bullmq   => { name => 'BullMQ',          server => 'Redis',      program => 'run.mjs',    batch => 1000 },
	sidekiq  => { name => 'Sidekiq',         server => 'Redis',      program => 'sidekiq.rb', batch => 1000 },
);
my @peers = qw(pgboss graphile bullmq sidekiq);
my @measures = qw(drain backlog steady snapshot latency one many);

my $backlog = 10_000;	# that a steady producer holds
my $window = 5;		# seconds, of a steady run
my $warm = 20_000;	# jobs before a measure: no table is empty
my $probes = 50;	# a second, for the latency

# The names that an option lists, all by default.
sub chosen {
	my ($option, @known) = @_;
	my @names = split /,/, option($option) // join ',', @known;
	for my $name (@names) {
		die "bench: $option=$name: choose of " . join(',', @known) . "\n" unless grep { $_ eq $name } @known;
	}
	return @names;
}

sub peers {
	my @chosen = chosen('peers', @peers);
	my @wanted = chosen('measures', @measures);
	needed(@chosen);
	for my $measure (@wanted) {
		my @mine = Bench::Peers::Jobqd->$measure;
		report('jobqd', $_) for @mine;
		for my $key (@chosen) {
			if ($measure eq 'snapshot' && $peers{$key}{server} eq 'Redis') {
				note("snapshot: Redis has none to hold: not for $peers{$key}{name}");
				next;
			}
			my $peer = Bench::Peers::Other->new($peers{$key}, $key, $measure);
			my @theirs = $peer->$measure;
			$peer->stop;
			report($peers{$key}{name}, $theirs[$_], $mine[$_]) for 0 .. $#theirs;
		}
	}
	return;
}

# One figure of one system, and how many times it jobqd's is.
sub report {
	my ($who, $figure, $mine) = @_;
	my %r = (%$figure, name => "$figure->{name}: $who", peer => $who);
	$r{note} = join ', ', grep { defined } $r{note},
	    $mine ? sprintf 'jobqd/peer %.2f', $r{times} = $mine->{value} / $r{value} : undef;
	result(%r);
	return;
}

# The figures of each measure, in order, the same for all systems.

sub rate_figure {
	my ($name, $jobs, $seconds) = @_;
	return { name => $name, value => $jobs / $seconds, unit => 'jobs/s' };
}

sub drain_figures {
	my ($jobs, $cost) = @_;
	my ($own, $server) = map { $cost->{$_} * 100_000 / $jobs } qw(daemon server);
	return (
		rate_figure('drain of ' . number($jobs), $jobs, $cost->{value}),
		{ name => '… CPU per 100,000', value => $own + $server, unit => 's', note => sprintf 'own %.2f, server %.2f', $own, $server },
	);
}

sub backlog_figures {
	my ($jobs, $seconds) = @_;
	return rate_figure('first of ' . number(10 * $jobs), $jobs, $seconds);
}

sub steady_figures {
	my ($measure, @rates) = @_;
	return (
		{ name => $measure eq 'snapshot' ? 'beside a snapshot' : 'steady', value => List::Util::sum(@rates) / @rates, unit => 'jobs/s' },
		{ name => "… first $window s", value => $rates[0],  unit => 'jobs/s' },
		{ name => "… last $window s",  value => $rates[-1], unit => 'jobs/s' },
	);
}

sub latency_figures {
	my ($p50, $p99) = @_;
	return map { { name => "latency at $probes/s, $_->[0]", value => $_->[1], unit => 'ms' } } [ p50 => $p50 ], [ p99 => $p99 ];
}

sub one_figures { return rate_figure('enqueue one', 1000, $_[0]) }	# the median call, in ms

sub many_figures {
	my ($jobs, $seconds, $batch) = @_;
	return { %{ rate_figure('enqueue many', $jobs, $seconds) }, note => number($batch) . ' a call' };
}

# The oldest snapshot of a database that has one, held until it is closed.
sub held_snapshot {
	my ($pg) = @_;
	my $session = $pg->session;
	$session->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class; SELECT txid_current()');
	return $session;
}

#----------------------------------------------------------------------
# What has to be installed

my $here = source_directory() . '/contrib/bench/peers';
my $cache;

sub in_path {
	my ($program) = @_;
	return List::Util::first { -x } map { "$_/$program" } split /:/, $ENV{PATH};
}

sub need {
	my ($program, $packages) = @_;
	die "bench: $program is missing: apt-get install $packages (or sh contrib/packages.sh bench)\n" unless in_path($program);
	return;
}

sub needed {
	my @chosen = map { $peers{$_} } @_;
	need('redis-server', 'redis-server') if grep { $_->{server} eq 'Redis' } @chosen;
	need('sidekiq', 'ruby-sidekiq') if grep { $_->{program} =~ /rb$/ } @chosen;
	if (grep { $_->{program} =~ /mjs$/ } @chosen) {
		need('npm', in_path('node') ? 'npm' : 'nodejs npm');
		install();
	}
	return;
}

# The packages that package-lock.json names, once; Node's modules are looked
# for beside the file that imports them, so ours go there as well.
sub install {
	my $base = $ENV{XDG_CACHE_HOME} || ($ENV{HOME} || '/tmp') . '/.cache';
	$cache = "$base/jobqd-bench-peers";
	File::Path::make_path($cache);
	copy($_, $cache) for glob "$here/*.mjs";
	return if slurp("$cache/installed") eq slurp("$here/package-lock.json");

	note("installing npm packages into $cache");
	copy("$here/$_", $cache) for qw(package.json package-lock.json);
	# Node of these packages runs them, whichever runs npm.
	my ($status, $out, $err) = run_program([ 'npm', 'ci', '--prefix', $cache, qw(--ignore-scripts --no-audit --no-fund --loglevel=error) ]);
	if ($status) {
		my ($why) = "$err$out" =~ /^npm (?:error|ERR!) (?!code|syscall|errno)(.+)/m;
		die 'bench: npm ci failed: ' . ($why // "status $status") . "\n";
	}
	copy("$here/package-lock.json", "$cache/installed");
	return;
}

sub copy {
	my ($from, $to) = @_;
	File::Copy::copy($from, $to) or die "bench: copying $from to $to: $!\n";
	return;
}

sub node {
	my ($own) = glob "$cache/node_modules/node-linux-*/bin/node";
	return $own || 'node';
}

sub argv {
	my ($peer, $key, $role, @args) = @_;
	return ('ruby', "$here/$peer->{program}", $role, @args) if $peer->{program} =~ /rb$/;
	return (node(), "$cache/$peer->{program}", $key, $role, @args);
}

#----------------------------------------------------------------------
# jobqd, as one of them.
package Bench::Peers::Jobqd;

use Bench;

my $noop = <<'YAML';
handlers: {null: {driver: noop}}
queues:   {work: {handler: null, workers: 1, concurrency: 50}}
YAML

# Run code on a fresh server and jobqd.
sub with_stack {
	my ($code) = @_;
	my ($pg, $d) = Bench::stack($noop);
	my @figures = $code->($pg, $d);
	$d->stop;
	$pg->stop;
	return @figures;
}

sub paused {
	my ($pg, $jobs) = @_;
	$pg->query("SELECT jobq.pause('work')");
	seed($pg, 'work', $jobs, batch => 5000);
	settle($pg);
	return;
}

sub drain {
	my $jobs = option('jobs');
	return with_stack(sub {
		my ($pg, $d) = @_;
		paused($pg, $jobs);
		return Bench::Peers::drain_figures($jobs, cost_of($pg, $d, sub { drained($pg, 'work', $jobs) }));
	});
}

sub backlog {
	my $jobs = option('jobs');
	return with_stack(sub {
		my ($pg) = @_;
		paused($pg, 10 * $jobs);
		return Bench::Peers::backlog_figures($jobs, drained($pg, 'work', $jobs));
	});
}

sub produce_and_consume {
	my ($pg, $measure) = @_;
	my @rates;
	seed($pg, 'work', $warm);
	settle($pg);
	my $held = $measure eq 'snapshot' && Bench::Peers::held_snapshot($pg);
	load_lines(sub { push @rates, $_[0]{rate} }, 'steady', $pg, 'work', 'seconds=' . option('seconds'),
	    "window=$window", "backlog=$backlog", 'batch=1000');
	$held->close if $held;
	return Bench::Peers::steady_figures($measure, @rates);
}

sub steady   { return with_stack(sub { produce_and_consume($_[0], 'steady') }) }
sub snapshot { return with_stack(sub { produce_and_consume($_[0], 'snapshot') }) }

sub latency {
	return with_stack(sub {
		my $l = load_json('latency', $_[0], 'work', "rate=$probes", 'seconds=' . option('seconds'));
		return Bench::Peers::latency_figures($l->{p50_ms}, $l->{p99_ms});
	});
}

sub one {
	return with_stack(sub {
		my ($pg) = @_;
		paused($pg, $warm);
		return Bench::Peers::one_figures(load_json('one', $pg, 'work', 'jobs=3000')->{enqueue_us} / 1000);
	});
}

sub many {
	return with_stack(sub {
		my ($pg) = @_;
		paused($pg, $warm);
		my $many = seed($pg, 'work', option('jobs'), batch => 5000);
		return Bench::Peers::many_figures($many->{jobs}, $many->{seconds}, 5000);
	});
}

#----------------------------------------------------------------------
# A peer with a fresh server for one measure.
package Bench::Peers::Other;

use Bench qw(option);
use Time::HiRes qw(time sleep);

sub new {
	my ($class, $peer, $key, $measure) = @_;
	my $self = bless { peer => $peer, key => $key, measure => $measure }, $class;
	if ($peer->{server} eq 'Redis') {
		$self->{server} = Bench::Peers::Redis->new;
		$self->{env} = { REDIS_SOCKET => $self->{server}{socket} };
	} else {
		my $pg = $self->{server} = Bench::server();
		$self->{env} = { PGHOST => $pg->{dir}, PGUSER => 'jobq', PGDATABASE => $pg->{database} };
	}
	$self->role('setup')->ended;
	return $self;
}

sub stop {
	my ($self) = @_;
	$self->{server}->stop;
	return;
}

# A process in a role, running.
sub role {
	my ($self, $role, @args) = @_;
	return Bench::Peers::Process->new("$self->{peer}{name}: $role", $self->{env},
	    Bench::Peers::argv($self->{peer}, $self->{key}, $role, "for=$self->{measure}", @args));
}

# The same, up and connected.
sub ready {
	my ($self, @args) = @_;
	my $process = $self->role(@args);
	$process->await('ready');
	return $process;
}

sub settle {
	my ($self) = @_;
	$self->{peer}{server} eq 'Redis' ? $self->{server}->rewrite : Bench::settle($self->{server});
	return;
}

# Jobs that wait, as if they had been there for long.
sub seed {
	my ($self, $jobs) = @_;
	my $producer = $self->ready('produce', "batch=$self->{peer}{batch}");
	$producer->tell($jobs);
	$producer->await('made');
	$producer->ended;
	$self->settle;
	return;
}

sub drain {
	my ($self) = @_;
	my $jobs = option('jobs');
	$self->seed($jobs);
	my $worker = $self->ready('work');
	my $empty = $self->ready('empty');
	my %cpu = (daemon => -Bench::cpu_of_tree($worker->{pid}), server => -Bench::cpu_of_tree($self->{server}{pid}));
	my $start = time;
	$worker->tell('go');
	$worker->await('done', $jobs);
	$empty->tell('go');
	$empty->await('empty');
	my $seconds = time - $start;
	$cpu{daemon} += Bench::cpu_of_tree($worker->{pid});
	$cpu{server} += Bench::cpu_of_tree($self->{server}{pid});
	$_->ended for $worker, $empty;
	return Bench::Peers::drain_figures($jobs, { %cpu, value => $seconds });
}

sub backlog {
	my ($self) = @_;
	my $jobs = option('jobs');
	$self->seed(10 * $jobs);
	my $worker = $self->ready('work');
	my $start = time;
	$worker->tell('go');
	my $done = $worker->await('done', $jobs)->{done};
	my $seconds = time - $start;
	$worker->ended;
	return Bench::Peers::backlog_figures($jobs, $seconds * $jobs / $done);
}

# Jobs a second, by windows. The producer is told how far to go by what the
# worker has done.
sub produce_and_consume {
	my ($self) = @_;
	my $producer = $self->ready('produce', 'batch=1000');
	my $worker = $self->ready('work');
	my ($windows, @rates) = int(option('seconds') / $window) || 1;
	$producer->tell($warm);
	$worker->tell('go');
	my $done = my $counted = $worker->await('done', $warm)->{done};
	$self->settle;
	my $held = $self->{measure} eq 'snapshot' && Bench::Peers::held_snapshot($self->{server});
	my $from = time;
	$producer->tell($done + $backlog);
	while (@rates < $windows) {
		my (undef, $said) = Bench::Peers::Process::heard($producer, $worker);
		if (defined $said->{done}) {
			$done = $said->{done};
			$producer->tell(1000 * int(($done + $backlog) / 1000));
		}
		my $now = time;
		next if $now - $from < $window;
		push @rates, ($done - $counted) / ($now - $from);
		($from, $counted) = ($now, $done);
	}
	$_->ended for $producer, $worker;
	$held->close if $held;
	return Bench::Peers::steady_figures($self->{measure}, @rates);
}

sub steady   { return $_[0]->produce_and_consume }
sub snapshot { return $_[0]->produce_and_consume }

# The first second's jobs are not counted: the programs are still being
# compiled then.
sub latency {
	my ($self) = @_;
	my $jobs = $probes * option('seconds');
	my $worker = $self->ready('work');
	my $producer = $self->ready('produce', 'batch=1', "rate=$probes");
	$worker->tell('go');
	sleep 2;
	$producer->tell($probes + $jobs);
	my @ms;
	while (@ms < $probes + $jobs) {
		my (undef, $said) = Bench::Peers::Process::heard($producer, $worker);
		push @ms, @{ $said->{ms} || [] };
	}
	$_->ended for $producer, $worker;
	@ms = sort { $a <=> $b } @ms[$probes .. $#ms];
	return Bench::Peers::latency_figures(map { $ms[ int($_ * $#ms) ] } 0.5, 0.99);
}

sub one {
	my ($self) = @_;
	my $producer = $self->ready('produce', 'batch=1');
	my $said;
	for my $total (500, 3500) {	# the first to warm up
		$producer->tell($total);
		$said = $producer->await('made', $total);
	}
	$producer->ended;
	return Bench::Peers::one_figures($said->{call_ms});
}

sub many {
	my ($self) = @_;
	my $jobs = option('jobs');
	my $batch = $self->{peer}{batch};
	my $producer = $self->ready('produce', "batch=$batch");
	$producer->tell($warm);
	$producer->await('made', $warm);
	$self->settle;
	my $start = time;
	$producer->tell($warm + $jobs);
	$producer->await('made', $warm + $jobs);
	my $seconds = time - $start;
	$producer->ended;
	return Bench::Peers::many_figures($jobs, $seconds, $batch);
}

1;
