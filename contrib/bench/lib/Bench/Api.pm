# The API: enqueueing over HTTP, and what a request costs by itself.
package Bench::Api;

use strict;
use warnings;

use Bench;
use Jobqd;
use JSON::PP ();

our %commands = (
	api => { order => 14, run => \&api, does => 'enqueueing over HTTP, single jobs and batches; requests a second beside nginx' },
);

my $json = JSON::PP->new->canonical;

# Run the client: what it tells. One request is sent again and again.
sub requests {
	my ($port, $method, $path, $body, @options) = @_;
	my $dir = temp_directory();
	spew("$dir/request", "$method $path HTTP/1.1\r\nHost: bench\r\nX-Admin-Key: key\r\n"
	    . (defined $body ? 'Content-Length: ' . length($body) . "\r\n\r\n$body" : "\r\n"));
	my ($status, $out, $err) = run_program([ Bench::tool('request', $port, "$dir/request", @options) ]);
	die "$method $path: $err" if $status != 0;
	my $r = $json->decode($out);
	die "$method $path: $r->{bad} answers of $r->{requests} were no 2xx\n" if $r->{bad};
	return $r;
}

# What nginx makes of a file as small as that answer, with one process.
sub nginx {
	my ($text, @options) = @_;
	my ($program) = grep { -x } map { "$_/nginx" } split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin';
	return undef unless $program;
	my $dir = temp_directory();
	my $port = free_port();
	chmod 0755, $dir;
	spew("$dir/healthz", $text);
	spew("$dir/nginx.conf", <<"CONF");
daemon off; master_process off; pid $dir/pid; error_log $dir/log;
events { worker_connections 1024; }
http {
	access_log off; keepalive_requests 100000000; sendfile on; tcp_nodelay on;
	client_body_temp_path $dir/b; proxy_temp_path $dir/p; fastcgi_temp_path $dir/f; uwsgi_temp_path $dir/u; scgi_temp_path $dir/s;
	server { listen 127.0.0.1:$port; root $dir; }
}
CONF
	background([ $program, '-e', "$dir/log", '-c', "$dir/nginx.conf" ], log => "$dir/out");
	wait_port($port);
	return requests($port, 'GET', '/healthz', undef, @options)->{rate};
}

sub api {
	my $seconds = option('seconds');
	my $short = $seconds < 10 ? $seconds : 10;
	my $port = free_port();
	my ($pg, $d) = Bench::stack(<<"YAML");
handlers: {null: {driver: noop}}
queues: {work: {handler: null, workers: 1}}
api: {listen: "127.0.0.1:$port", admin_key: key, rate_limit: 1000000/s}
YAML
	my $data = { to => 'someone@example.com', subject => 'x' x 40, text => 'y' x 200 };
	my $job = $json->encode({ queue => 'work', type => 'mail', data => $data });
	requests($port, 'POST', '/v1/jobs', $job, 'seconds=2', 'clients=4');	# first connections and plans
	settle($pg);
	my $rate = option('rate') || 200;
	my $r = requests($port, 'POST', '/v1/jobs', $job, "seconds=$seconds", "rate=$rate", 'clients=16');
	result(name => "POST /v1/jobs, $rate a second: p50", value => $r->{p50_ms}, unit => 'ms', requests => $r->{requests});
	result(name => '… p99', value => $r->{p99_ms}, unit => 'ms', goal => '< 5');
	$r = requests($port, 'POST', '/v1/jobs', $job, "seconds=$short", 'clients=16');
	result(name => 'POST /v1/jobs, as fast as 16 can', value => $r->{rate}, unit => 'jobs/s');
	my $many = 500;
	my $batch = $json->encode({ queue => 'work', jobs => [ map { { type => 'mail', data => $data } } 1 .. $many ] });
	$pg->query("SELECT jobq.pause('work')");
	$r = requests($port, 'POST', '/v1/jobs/batch', $batch, "seconds=$short", 'clients=2');
	result(name => "POST /v1/jobs/batch, $many each", value => $r->{rate} * $many, unit => 'jobs/s', goal => '>= 5000');
	my $id = $pg->query('SELECT max(id) FROM jobq.job');
	$r = requests($port, 'GET', "/v1/jobs/$id", undef, "seconds=$short", 'clients=16');
	result(name => 'GET /v1/jobs/{id}', value => $r->{rate}, unit => 'a second', p99_ms => $r->{p99_ms});
	my @options = ("seconds=$short", 'clients=16');
	$r = requests($port, 'GET', '/healthz', undef, @options);
	result(name => 'GET /healthz', value => $r->{rate}, unit => 'a second',
	    limit => nginx("{\"status\":\"alive\"}\n", @options), note => 'limit: nginx, one process, a file of that size');
	$d->stop;
}

1;
