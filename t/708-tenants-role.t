# A token of a tenant is worth something only where PostgreSQL keeps the tenants
# apart: with a superuser, or BYPASSRLS, jobqd does not start, and takes no reload
# that brings one. S4-50.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Http;
use Jobqd;
use Test::More;

my $pg = Jobqd::Postgres->new;
my $port = free_port();
my $dir = temp_directory();
my $file = "$dir/tokens";
my @all = [qw(ops operator * ops-secret)];
my @bound = (@all, [qw(acme viewer acme acme-secret)]);
$pg->query('CREATE ROLE exempt LOGIN BYPASSRLS; GRANT CREATE ON DATABASE jobq TO exempt');

sub daemon {
	my ($url) = @_;
	return Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers: {null: {driver: noop}}
queues:   {work: {handler: null}}
database: {url: "$url"}
api:      {listen: "127.0.0.1:$port", tokens_file: $file}
YAML
}

for my $case ([ jobq => 'is a superuser' ], [ exempt => 'is exempt from row-level security (BYPASSRLS)' ]) {
	my ($role, $why) = @$case;
	$pg->query('DROP SCHEMA IF EXISTS jobq CASCADE');
	Api::tokens($file, @bound);
	my $d = daemon($pg->url =~ s/user=\w+/user=$role/r);
	$d->start(ready => 0);
	wait_for { !$d->running } 'it to end';
	is $d->{status} >> 8, 1, "$role: exit 1 (S4-50)";
	like $d->log, qr/cannot prepare the database.*tokens of tenants.*the role \\"$role\\" \Q$why\E: connect as an ordinary role/, '… and why';
}
Api::tokens($file, @all);
my $d = daemon($pg->url);
$d->start;
pass 'without such a token a superuser will do';
my $from = $d->log_size;
Api::tokens($file, @bound);
$d->signal('HUP');
like $d->wait_log(qr/is a superuser/, $from), qr/tokens of tenants/, 'a reload that brings one is refused';
is(Api->new("127.0.0.1:$port", 'acme-secret')->get('/v1/jobs')->{status}, 401, '… and its token is none');
is(Api->new("127.0.0.1:$port", 'ops-secret')->get('/v1/jobs')->{status}, 200, '… all goes on as it was');
$d->stop;

$pg->query('DROP SCHEMA jobq CASCADE');
$d = daemon($pg->ordinary_url);
$d->start;
my ($mine, $other) = map { $pg->query("SELECT jobq.enqueue('work', '', '{}', tenant => '$_')") } 'acme', 'other';
my $acme = Api->new("127.0.0.1:$port", 'acme-secret');
is $acme->get("/v1/jobs/$mine")->{status} . $acme->get("/v1/jobs/$other")->{status}, '200404', 'an ordinary role serves tenants';
is $acme->get('/v1/audit')->{status}, 403, 'the audit is not for them';
$d->stop;
done_testing;
