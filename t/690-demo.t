# The demo, as its reader runs it: builds, starts, and everything arrives.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

plan skip_all => 'autoconf is missing' if system('autoreconf --version >/dev/null 2>&1');
my $before = () = glob '/tmp/jobqd-demo.*';
my ($status, $out, $err) = run_program([ 'sh', source_directory() . '/contrib/demo.sh', '--once' ]);
is $status, 0, 'demo.sh --once' or diag "$out\n$err";
# the schedules of the sample send a mail or two of their own, every five minutes
my ($mails) = $out =~ /^queue .*\n(?:.*\n)*email(?: +\d+){5} +(\d+) /m;
cmp_ok $mails // 0, '>=', 150, 'it shows what happened (S0-76)';
like $out, qr/ok +150 of 150 mails/, 'mails';
like $out, qr/ok +75 of 75 webhooks .*X-Webhook-Signature/, 'webhooks, one scheme';
like $out, qr/ok +75 of 75 webhooks .*Standard Webhooks/, '… and the other';
like $out, qr/ok +24 of 24 thumbnails/, 'thumbnails';
unlike $out, qr/BAD/, 'nothing is amiss';
is scalar(() = glob '/tmp/jobqd-demo.*'), $before, 'it cleans up';
done_testing;
