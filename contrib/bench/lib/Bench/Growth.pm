# What grows with what: the rate of a drain against workers, queues, nodes,
# payload, backlog and history, each alone; a table, and a picture on request.
package Bench::Growth;

use strict;
use warnings;

use Bench;
use Jobqd;

our %commands = (
	growth => { order => 10, run => \&growth, does => 'a drain against workers, queues, nodes, payload, backlog, history' },
	mixed  => { order => 11, run => \&mixed, does => 'small jobs beside large ones, and beside long ones' },
);

# What is varied, its values, and how it is said.
my @axes = (
	{ name => 'workers', values => [ 1, 4, 16, 64 ] },
	{ name => 'queues',  values => [ 1, 10, 50, 200 ] },
	{ name => 'nodes',   values => [ 1, 2, 4 ] },
	{ name => 'payload', values => [ 100, 1024, 10_240, 102_000 ], unit => 'bytes' },
	{ name => 'backlog', values => [ 1000, 10_000, 100_000, 1_000_000, 10_000_000 ], unit => 'jobs' },
	{ name => 'history', values => [ 0, 100_000, 1_000_000, 10_000_000 ], unit => 'jobs' },
);

# Ended jobs, as a drain would have left them.
my $past = <<'SQL';
with j as (
	insert into jobq.job (id, queue, lane, created_at, type, data)
	select nextval('jobq.job_id'), q.id, q.lane, now() - interval '1 hour', 'mail', '{"kind": "mail"}'
	from jobq.queue q, generate_series(1, %d) where q.name = 'work0'
	returning id, queue
)
insert into jobq.attempt (job, attempt, queue, outcome, worker, node, started_at, finished_at)
select id, 1, queue, 1, 0, 1, now() - interval '1 hour', now() - interval '1 hour' from j
SQL

sub point {
	my (%o) = (workers => 1, queues => 1, nodes => 1, payload => 200, backlog => option('jobs'), history => 0, @_);
	# as much as fits a minute: large ones are fewer
	my $jobs = $o{payload} > 20_000 ? 2000 : $o{payload} > 2000 ? 20_000 : $o{backlog};
	my @names = map { "work$_" } 0 .. $o{queues} - 1;
	my $config = "handlers: {null: {driver: noop}}\nqueues:\n" . join '', map {
		"  $_: {handler: null, workers: $o{workers}, concurrency: 50, max_payload: 200KiB}\n" } @names;
	# a connection for each leader, and some for others
	my ($pg, @nodes) = Bench::stack($config, name => 'node0', pg => server(max_connections => 2 * @names + 100));
	push @nodes, (Bench::stack($config, pg => $pg, name => "node$_"))[1] for 1 .. $o{nodes} - 1;
	$pg->query("SELECT jobq.pause(q) FROM unnest('{@{[join ',', @names]}}'::text[]) q");
	$pg->query(sprintf $past, $o{history}) if $o{history};
	my $each = int $jobs / @names;
	seed($pg, $_, $each, batch => 1000, bytes => $o{payload}) for @names;
	settle($pg);
	my $rate = $each * @names / drained($pg, join(',', @names), $each * @names);
	$_->stop for @nodes;
	$pg->stop;
	return $rate;
}

sub growth {
	my $max = option('max') // 1_000_000;
	my %wanted = map { $_ => 1 } split /,/, option('axes') // join ',', map { $_->{name} } @axes;
	my @series;
	for my $axis (grep { $wanted{ $_->{name} } } @axes) {
		my @points;
		for my $value (grep { $_ <= $max } @{ $axis->{values} }) {
			my $rate = point($axis->{name} => $value);
			push @points, [ $value, $rate ];
			result(name => "$axis->{name} @{[number($value)]}" . ($axis->{unit} ? " $axis->{unit}" : ''), value => $rate, unit => 'jobs/s',
			    axis => $axis->{name}, at => $value);
		}
		push @series, { %$axis, points => \@points };
	}
	spew(option('picture'), picture(@series)) if option('picture');
	return;
}

# The series side by side, each on its own scale of values and all on one of rates.
sub picture {
	my (@series) = @_;
	my ($width, $height, $left, $top) = (150, 180, 60, 30);
	my ($most) = sort { $b <=> $a } map { $_->[1] } map { @{ $_->{points} } } @series;
	my $step = 10 ** int(log($most) / log 10);
	my $svg = sprintf qq{<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">\n<rect width="100%%" height="100%%" fill="white"/>\n},
	    $left + @series * $width + 10, $height + $top + 60;
	my $y = sub { $top + $height - $height * $_[0] / $most };
	for (my $rate = 0; $rate <= $most; $rate += $step / 2) {
		$svg .= sprintf qq{<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>\n},
		    $left, $left + @series * $width, $y->($rate), $y->($rate), $left - 6, $y->($rate) + 4, number($rate);
	}
	for my $n (0 .. $#series) {
		my @points = @{ $series[$n]{points} };
		my $x = sub { $left + $n * $width + ($width - 20) * ($_[0] + 0.5) / @points };
		$svg .= sprintf qq{<text x="%.1f" y="%d" text-anchor="middle" font-weight="bold">%s</text>\n<polyline fill="none" stroke="#336791" stroke-width="2" points="%s"/>\n},
		    $left + ($n + 0.45) * $width, $top - 12, $series[$n]{name}, join ' ', map { sprintf '%.1f,%.1f', $x->($_), $y->($points[$_][1]) } 0 .. $#points;
		$svg .= sprintf qq{<circle cx="%.1f" cy="%.1f" r="3" fill="#336791"/><text x="%.1f" y="%d" text-anchor="middle" font-size="9">%s</text>\n},
		    $x->($_), $y->($points[$_][1]), $x->($_), $top + $height + 16 + 12 * ($_ % 2), short($points[$_][0]) for 0 .. $#points;
	}
	return $svg . qq{<text x="4" y="14">jobs/s</text>\n</svg>\n};
}

sub short {
	my ($n) = @_;
	return $n >= 1_000_000 ? $n / 1_000_000 . 'M' : $n >= 1000 ? int($n / 1000) . 'k' : $n;
}

# Small jobs alone; while a queue of large ones is drained; and behind a
# queue that runs long jobs, whose claims may take no more than they can begin.
sub mixed {
	my ($pg, $d) = Bench::stack(<<'YAML');
handlers: {null: {driver: noop}}
queues:
  small: {handler: null, workers: 1, concurrency: 50}
  large: {handler: null, workers: 1, concurrency: 50, max_payload: 200KiB}
  long:  {handler: null, workers: 4}
YAML
	$pg->query("SELECT jobq.pause(q) FROM unnest('{small,large,long}'::text[]) q");
	my %probe;
	seed($pg, 'small', 1000);
	settle($pg);
	drained($pg, 'small', 1000);
	$probe{alone} = load_json('latency', $pg, 'small', 'rate=50', 'seconds=10');
	seed($pg, 'large', option('large'), bytes => 100_000, batch => 100);	# three seconds of work
	$pg->query("SELECT jobq.resume('large')");
	$probe{'beside large ones'} = load_json('latency', $pg, 'small', 'rate=50', 'seconds=3');
	result(name => "small jobs $_, p50", value => $probe{$_}{p50_ms}, unit => 'ms', note => "p99 $probe{$_}{p99_ms}") for sort keys %probe;
	$pg->query(q{SELECT jobq.enqueue_many('long', (SELECT jsonb_agg('{"data": {"sleep_ms": 60000}}'::jsonb) FROM generate_series(1, 1000)))});
	$pg->query("SELECT jobq.resume('long')");
	wait_for { $pg->query("SELECT count(*) FROM jobq.workers WHERE queue = 'long' AND state = 'busy'") == 4 } 'the long jobs';
	result(name => 'claimed of 1,000 long jobs by 4 workers', value => $pg->query("SELECT count(*) FROM jobq.lease l JOIN jobq.queue q ON q.id = l.queue WHERE q.name = 'long'"), unit => 'jobs');
	$d->kill_all;
	$pg->stop;
	return;
}

1;
