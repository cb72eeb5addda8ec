# A hundred listeners cost the database what one does, and nobody listening
# nothing; one that does not read is dropped and harms nobody; memory is bounded.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Jobqd;
use Sse;
use Test::More;
use Time::HiRes qw(sleep time);

my $pg = Jobqd::Postgres->new(settings => { shared_preload_libraries => 'pg_stat_statements',
	'pg_stat_statements.track' => 'top' });
$pg->query('CREATE EXTENSION pg_stat_statements');
my $dir = temp_directory();
# A unix socket holds little that is not read yet.
my $address = "unix:$dir/api.sock";
Api::tokens("$dir/tokens", [qw(eye viewer * eye-secret)]);
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers: {null: {driver: noop}}
queues: {work: {handler: null, workers: 2}, shelf: {handler: null, enabled: false}}
api: {listen: "$address", tokens_file: $dir/tokens, rate_limit: 10000/s}
YAML
$d->start;
my ($api) = $d->pids(qr/^jobqd: api$/);

sub listen_to { return Sse->new($address, "/v1/events$_[0]", 'eye-secret')->head }
sub looks { return $pg->query("SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE query LIKE '%events\\_since(\$1, \$2) e%'") }
sub statements { return $pg->query('SELECT sum(calls) FROM pg_stat_statements') }
sub connections { return $pg->query(q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'jobqd events'}) }
sub rss_kb { my ($kb) = slurp("/proc/$api/status") =~ /^VmRSS:\s+(\d+)/m; return $kb }
sub descriptors { return scalar(() = glob "/proc/$api/fd/*") }
# What is asked while a listener gets five jobs, one after another.
sub asked {
	my ($listener) = @_;
	my ($from, $all, $began) = (looks(), statements(), time);
	for (1 .. 5) {
		my $id = $pg->query("SELECT jobq.enqueue('work')");
		$listener->until(sub { $_->{event} eq 'job' && $_->{data}{id} == $id && $_->{data}{state} eq 'completed' });
	}
	my $seconds = time - $began;
	return (looks() - $from, statements() - $all, $seconds);
}

# nobody
my $id = $pg->query("SELECT jobq.enqueue('work')");
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") eq 'completed' } 'a job';
is looks(), 0, 'nobody listens: nothing is asked';
is connections(), 0, '… on no connection';
is $pg->query("SELECT jobq.fact('jobq.listened')"), 0, '… and nothing is written';

# one, and a hundred
my $one = listen_to('');
my ($looks1, $statements1, $seconds1) = asked($one);
my @many = map { listen_to('') } 1 .. 99;
is scalar(grep { $_->{status} == 200 } @many), 99, 'a hundred listen';
my ($looks, $statements, $seconds) = asked($one);
is connections(), 1, 'one connection for all of them';
cmp_ok $looks1, '<=', 4 * $seconds1 + 2, sprintf 'with one listener the database was looked at %d times in %.1f s', $looks1, $seconds1;
cmp_ok $looks, '<=', 4 * $seconds + 2, sprintf 'with a hundred %d times in %.1f s', $looks, $seconds;
cmp_ok $statements / $seconds, '<', 2 * $statements1 / $seconds1 + 5,
    sprintf '… and asked %.1f statements a second in all, not %.1f', $statements / $seconds, $statements1 / $seconds1;
my @ids = map { $pg->query("SELECT jobq.enqueue('work')") } 1 .. 5;
my $seen = 0;
for my $s ($one, @many) {
	my %state;
	my $done = 0;
	until ($done) {
		my $e = $s->next;
		push @{ $state{ $e->{data}{id} } }, $e->{data}{state} if $e->{event} eq 'job';
		$done = 5 == grep { join(' ', @{ $state{$_} || [] }) eq 'ready running completed' } @ids;
	}
	$seen++;
}
is $seen, 100, '… all of whom see all that happens';

# some that do not read, and one that reads slowly
my $before = descriptors();
my $kb = rss_kb();
my @deaf = map { listen_to('') } 1 .. 10;
my ($told, $rounds) = (0, 0);
my $most_kb = $kb;
wait_for {
	$pg->query("SELECT count(jobq.enqueue('shelf', type => repeat('x', 200))) FROM generate_series(1, 900)");
	my @e = $one->until(sub { $_->{event} eq 'job' && ++$told % 900 == 0 });
	$_->until(sub { 1 }) for @many[ 0, 1 ];
	$rounds++;
	my $now = rss_kb();
	$most_kb = $now if $now > $most_kb;
	descriptors() <= $before - 90;
} 'those that do not read to be dropped', 120;
cmp_ok $told, '>=', 900 * $rounds, "one that reads has seen $told events meanwhile, and missed none";
is $one->{ended}, undef, '… and listens on';
SKIP: {
	skip 'sanitizers keep what is freed', 1 if (run_program([ jobqd_program(), '-V' ]))[1] =~ /sanitizers/;
	cmp_ok $most_kb - $kb, '<', 65_536, sprintf 'for %d events and 107 readers that did not read the process grew by %d KiB', $told, $most_kb - $kb;
}
for my $s (@deaf[ 0, 9 ], $many[50]) {
	1 while eval { $s->next };
	ok $s->{ended}, 'one that did not read finds the end';
}
my $next = $pg->query("SELECT jobq.enqueue('work')");
my $back = Sse->new($address, '/v1/events', 'eye-secret', last => $deaf[0]{id})->head;
ok $back->next, '… and may come back';
$_->close for $back, $one, @many, @deaf;

# nobody again
wait_for { connections() == 0 } 'the connection to be closed', 120;
my $from = looks();
$id = $pg->query("SELECT jobq.enqueue('work')");
wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") eq 'completed' } 'a job';
is looks(), $from, 'all have gone: nothing is asked any more';
wait_for { descriptors() <= $before - 90 } 'their descriptors';
pass 'nothing is left of them';
done_testing;
