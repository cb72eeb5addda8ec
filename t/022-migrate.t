# The manual for those who come from other systems names nothing that is not
# there: routes, views and functions, commands, keys, metrics, log events, examples.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Jobqd;
use Test::More;

my $man = source_directory() . '/man';
my $page = slurp("$man/jobqd-migrate.7");
my ($here) = $page =~ /^\.Ss Words\n(.*)^\.Sh EXAMPLES/ms;
# What is said of jobqd; what stands in .It is of the others.
my @said = map { s/\\&//g; $_ } $here =~ /^\.(?:Ic|Pq Ic) (.*?)(?: [.,;:)])*$/mg;
cmp_ok scalar(@said), '>', 250, scalar(@said) . ' names';

my $pg = Jobqd::Postgres->new;
my $port = free_port();
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML")->start;
handlers: {null: {driver: noop}}
queues: {q: {handler: null}}
schedules: {s: {cron: "0 * * * *", queue: q}}
api: {listen: "127.0.0.1:$port", admin_key: key}
YAML
my $api = Api->new("127.0.0.1:$port", undef, headers => { 'X-Admin-Key' => 'key' });

# Routes, of which some are named without their method, behind another one.
my $openapi = $api->get('/v1/openapi.json')->{json};
my %routes;
for my $path (keys %{ $openapi->{paths} }) {
	(my $plain = $path) =~ s/\{\w+\}/{}/g;
	$routes{ uc($_) . " $plain" } = $routes{$plain} = 1 for grep { /^(?:get|post|put|patch|delete)$/ } keys %{ $openapi->{paths}{$path} };
}
my $n = 0;
for (@said) {
	next unless m{^((?:GET|POST|PUT|PATCH|DELETE) )?(/v1/[^?]*)};
	my ($method, $path) = ($1 // '', $2);
	$path =~ s/\{\w+\}/{}/g;
	$path =~ s{^/v1/workflows/tenant-onboarding$}{/v1/workflows/{}};
	ok $routes{"$method$path"}, "$_";
	$n++;
}
cmp_ok $n, '>', 40, "$n routes";

my %sql = map { $_ => 1 } split /\n/, $pg->query(<<'SQL');
SELECT relname FROM pg_class WHERE relnamespace = 'jobq'::regnamespace AND relkind IN ('r', 'v')
UNION SELECT proname FROM pg_proc WHERE pronamespace = 'jobq'::regnamespace
UNION SELECT 'tenant'
SQL
$n = 0;
for my $name (map { /\bjobq\.(\w+)/g } @said) {
	ok $sql{$name}, "jobq.$name";
	$n++;
}
cmp_ok $n, '>', 25, "$n views and functions";

my (undef, $help) = run_program([ jobqctl_program(), 'help' ]);
for (grep { /^jobqctl / } @said) {
	my ($command) = /^jobqctl ([a-z]+(?: [a-z]+)?)/;
	my ($first) = split / /, $command;
	like $help, qr/^  (?:\Q$command\E|\Q$first\E(?= +(?:\[|[A-Z]|  )))/m, "jobqctl $command";
}

# Keys, with a section before them or alone.
my %pages = map { $_ => slurp("$man/$_") } qw(jobqd.yml.5 jobqd-api.7 jobqd.8);
for (grep { /^(?:keep|daemon|database|api|monitor|log|recycle|encrypt)\.(\w+)/ } @said) {
	my ($key) = /^(\w+\.\w+)/;
	my ($section, $rest) = split /\./, $key;
	like $pages{'jobqd.yml.5'}, qr/^\.It Ic (?:\Q$key\E|\Q$rest\E)\b/m, "jobqd.yml has $key";
}
for (grep { /^jobqd_\w+/ } @said) {
	my ($metric) = /^(\w+)/;
	like $pages{'jobqd-api.7'}, qr/\b$metric\b/, "the metric $metric";
}
like $pages{'jobqd.8'}, qr/^\.(?:It )?Sy \Q$_\E/m, "the log event \"$_\"" for grep { /^(?:job|worker|schedule|scheduler) (?:started|completed|failed|dead|registered|initialized)$/ } @said;
ok -e source_directory() . "/etc/examples/$_", "the example $_" for $page =~ /\b((?:fleet|fleettracker|messages|rto|hse)\.yml|messages\.sql|enqueue_or_spool\.sh)\b/g;
done_testing;
