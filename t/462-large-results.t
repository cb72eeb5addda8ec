# Results that have come together while the database was slow are stored some
# megabytes at a time, whatever their number.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More tests => 4;

my $pg = Jobqd::Postgres->new;
my $gate = temp_directory() . '/gate';
my $d = Jobqd::Daemon->new(pg => $pg, config => <<YAML);
handlers:
  large:
    driver: exec
    argv: [sh, -c, 'until [ -e $gate ]; do sleep 0.05; done; printf "{\\"text\\": \\"%0500000d\\"}\\\\n" 0']
queues:
  work: {handler: large, workers: 40}
YAML
$d->start;
$pg->query("SELECT count(jobq.enqueue('work')) FROM generate_series(1, 40)");
wait_for { scalar(grep { process_title($_) =~ /printf/ } process_tree($d->{pid})) == 40 } 'all of them to run';

my ($backend) = $pg->query("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'jobqd%work%'");
like $backend, qr/^\d+$/, 'the leader has a connection';
kill STOP => $backend;
spew($gate, '');
wait_for { !grep { process_title($_) =~ /printf/ } process_tree($d->{pid}) } 'all of them to end';
kill CONT => $backend;
wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE state = 'completed'") == 40 } 'all results';
is $pg->query("SELECT count(*) FROM jobq.attempts WHERE length(result ->> 'text') = 500000"), 40, 'all are stored';
cmp_ok $pg->query("SELECT max(n) FROM (SELECT count(*) AS n FROM jobq.attempt GROUP BY xmin::text) k"), '<=', 18,
    'no more than eight megabytes and one at once';
is $d->stop, 0, 'jobqd ends well';
