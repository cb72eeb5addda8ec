# The description of the API that it gives itself: OpenAPI 3.1 as a common
# checker reads it, and one entry for every route (S3-35).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Http;
use Jobqd;
use JSON::PP ();
use Test::More;

my $port = free_port();
my $dir = temp_directory();
my $d = Jobqd::Daemon->new(pg => Jobqd::Postgres->new, config => <<"YAML");
handlers: {null: {driver: noop}}
queues: {work: {handler: null}}
api: {listen: "127.0.0.1:$port"}
YAML
$d->start;
my $r = Http->new("127.0.0.1:$port")->get('/v1/openapi.json');
is $r->{status}, 200, '/v1/openapi.json';
is $r->{headers}{'content-type'}, 'application/json', '… is JSON';
my $api = JSON::PP->new->utf8->decode($r->{body});
is $api->{openapi}, '3.1.0', '… of OpenAPI 3.1';

my (@ids, @bad);
for my $path (sort keys %{ $api->{paths} }) {
	for my $method (sort keys %{ $api->{paths}{$path} }) {
		my $o = $api->{paths}{$path}{$method};
		push @ids, $o->{operationId};
		my %in_path = map { $_->{name} => 1 } grep { ($_->{in} // '') eq 'path' } @{ $o->{parameters} };
		my %wanted = map { $_ => 1 } $path =~ /\{(\w+)\}/g;
		push @bad, "$method $path: its parameters" if join(' ', sort keys %in_path) ne join(' ', sort keys %wanted);
		push @bad, "$method $path: x-role" if ($o->{'x-role'} // '') !~ /^(none|viewer|producer|operator|admin)$/;
		push @bad, "$method $path: x-tenant" if !JSON::PP::is_bool($o->{'x-tenant'});
		push @bad, "$method $path: no words" unless length $o->{summary};
		push @bad, "$method $path: open, and says that it is not" if $o->{'x-role'} eq 'none' && !$o->{security};
		push @bad, "$method $path: a parameter without words" if grep { !$_->{'$ref'} && !length($_->{description} // '') } @{ $o->{parameters} };
	}
}
# S3-35
is_deeply \@bad, [], 'operations: ' . @ids . ', each with role, tenants and words';
my %seen;
is_deeply [ grep { $seen{$_}++ } @ids ], [], '… and a name of its own';

SKIP: {
	my ($no_npm) = run_program([ 'sh', '-c', "cd $dir && npm install --silent --no-audit --no-fund \@redocly/cli\@2.77.0" ]);
	skip 'npm cannot install @redocly/cli here', 1 if $no_npm;
	spew("$dir/openapi.json", $r->{body});
	my ($status, $out, $err) = run_program([ "$dir/node_modules/.bin/redocly", 'lint', '--extends', 'recommended',
		'--skip-rule', 'tag-description', '--skip-rule', 'operation-4xx-response', '--format', 'json', "$dir/openapi.json" ],
	    env => { REDOCLY_TELEMETRY => 'off', CI => 1, HOME => $dir });
	my $found = eval { JSON::PP->new->utf8->decode($out)->{problems} } or die "redocly: $out$err";
	is_deeply [ map { "$_->{severity} $_->{ruleId} $_->{location}[0]{pointer}: $_->{message}" } @$found ], [], 'redocly lint: 0 errors, 0 warnings';
}
is $d->stop, 0, 'exit 0';
done_testing;
