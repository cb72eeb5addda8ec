# contrib/prometheus and contrib/grafana: the rules are rules, they say what
# they are meant to say of made-up nodes, every query can be parsed, and every
# metric they name is one that a real jobqd has.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Http;
use Jobqd;
use JSON::PP ();
use Test::More;

my $prometheus = source_directory() . '/contrib/prometheus';
my $dashboard = JSON::PP->new->utf8->decode(slurp(source_directory() . '/contrib/grafana/jobqd.json'));
my @panels = grep { $_->{type} ne 'row' } @{ $dashboard->{panels} };
my @queries = map { my $p = $_; map { [ $p->{title}, $_->{expr} ] } @{ $p->{targets} } } @panels;
cmp_ok scalar(@queries), '>', 20, scalar(@queries) . ' queries of ' . @panels . ' panels';

# Panels lie beside each other, each has its own number.
my (%seen, @overlap);
for my $p (@{ $dashboard->{panels} }) {
	push @overlap, "id $p->{id}" if $seen{$p->{id}}++;
	my $g = $p->{gridPos};
	for my $x ($g->{x} .. $g->{x} + $g->{w} - 1) {
		push @overlap, "$p->{title}: column $x" if $x > 23;
		for my $y ($g->{y} .. $g->{y} + $g->{h} - 1) {
			push @overlap, $p->{title} if $seen{"$x,$y"}++;
		}
	}
}
is_deeply \@overlap, [], 'the panels do not overlap';

# What a real one has.
my $pg = Jobqd::Postgres->new;
my $port = free_port();
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers: {null: {driver: noop}}
queues: {work: {handler: null}}
schedules: {hourly: {every: 1h, queue: work}}
api: {listen: "127.0.0.1:$port"}
YAML
$d->start;
$pg->query("SELECT jobq.enqueue('work', 'mail')");
my %real;
wait_for {
	my $r = Http->new("127.0.0.1:$port")->get('/metrics');
	%real = (up => 1, map { $_ => 1 } $r->{body} =~ /^(?:# TYPE )?([a-z_]+)[ {]/mg);
	$real{jobqd_jobs_finished_total} && $real{jobqd_schedule_late_seconds};
} 'a scrape with all';
$d->stop;
my $rules = slurp("$prometheus/jobqd.rules.yml");
my %recorded = map { $_ => 1 } $rules =~ /record: (\S+)/g;
my @texts = map { s/^\s*#.*$//mgr } $rules, slurp("$prometheus/jobqd.alerts.yml");
my @unknown;
for my $text (map({ $_->[1] } @queries), map({ /expr: *(?:\|\n)?((?:.|\n {10})*)/g } @texts)) {
	(my $bare = $text) =~ s/"[^"]*"//g;
	while ($bare =~ /\b((?:jobqd|process)[a-z0-9_:]+|up)\b(?!:)/g) {
		push @unknown, $1 unless $real{$1} || $recorded{$1};
	}
}
is_deeply \@unknown, [], 'every metric named there is one that jobqd has';
my $named = join ' ', map { $_->[1] } @queries;
my @unseen = grep { !/^(?:jobqd_build_info|jobqd_gauges_age_seconds|jobqd_queue_\w+|process_\w+)$/ && index($named, $_) < 0 }
    grep { /^jobqd_/ && !/_(?:sum|count)$/ } keys %real;
@unseen = grep { my $n = $_; !grep { $_ eq "${n}_bucket" } keys %real } @unseen;
is_deeply \@unseen, [], 'every metric is on the dashboard';

my ($status) = run_program([ 'promtool', '--version' ]);
SKIP: {
	skip 'promtool is missing: apt-get install prometheus', 4 if $status;
	my @run;
	@run = run_program([ 'promtool', 'check', 'rules', "$prometheus/jobqd.rules.yml", "$prometheus/jobqd.alerts.yml" ]);
	is $run[0], 0, 'promtool check rules' or diag @run[1, 2];
	@run = run_program([ 'promtool', 'test', 'rules', "$prometheus/jobqd.test.yml" ]);
	is $run[0], 0, 'promtool test rules' or diag @run[1, 2];
	my $cases = slurp("$prometheus/jobqd.test.yml");
	my @untested = grep { $cases !~ /alertname: \Q$_\E\n +exp_alerts:\n/ } $texts[1] =~ /alert: (\S+)/g;
	is_deeply \@untested, [], 'every alert rule has a case in which it fires';
	# A query of the dashboard as the rule of a file is a query that parses.
	my $dir = temp_directory();
	my $n = 0;
	my $json = JSON::PP->new->canonical;
	spew("$dir/queries.yml", $json->encode({ groups => [ { name => 'dashboard', rules => [ map {
		(my $expr = $_->[1]) =~ s/\$__rate_interval/5m/g;
		$expr =~ s/\$(?:job|queue)/.*/g;
		{ record => 'query_' . ++$n, expr => $expr };
	} @queries ] } ] }));
	@run = run_program([ 'promtool', 'check', 'rules', '--lint=none', "$dir/queries.yml" ]);
	is $run[0], 0, "promtool takes $n queries of the dashboard" or diag @run[1, 2];
}
done_testing;
