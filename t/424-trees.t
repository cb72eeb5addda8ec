# The end of a program is that of its whole process tree: what it daemonised,
# and what forks as fast as it can; in a control group of its own where the
# system lets jobqd have one, and without.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Cwd qw(abs_path);
use Test::More;

my $bomb = abs_path($ENV{JOBQD_BUILDDIR} || '.') . '/t/unit/fork_bomb';
plan skip_all => "no $bomb: build the check programs" unless -x $bomb;

# They end by themselves after 20 seconds: before that it was us.
my $life = 20;
my %program = (
	daemons => qq([sh, -c, "trap '' TERM HUP; for i in 1 2 3; do (setsid sh -c 'trap \\"\\" TERM; (sleep 4242.$$ & sleep 4242.$$ &) & sleep 4242.$$' &) ; done; sleep 4242.$$; sleep 4242.$$"]),
	grow => qq([$bomb, grow, "100"]),
	'grow-away' => qq([$bomb, grow, "50", away]),
	comets => qq([$bomb, comets, "10"]),
	'comets-away' => qq([$bomb, comets, "10", away]),
);
my $pg = Jobqd::Postgres->new;
my $config = "handlers:\n  groups: {driver: exec, argv: [grep, '^0:', /proc/self/cgroup]}\n"
    . join('', map { "  $_: {driver: exec, argv: $program{$_}}\n" } sort keys %program)
    . "retry: {default: {attempts: 1}}\nqueues:\n  groups: {handler: groups}\n"
    . join '', map { "  $_: {handler: $_, workers: 1, timeout: 1500ms, cancel: {grace: 300ms}}\n" } sort keys %program;

sub left { return grep { process_title($_) =~ m{^(?:\Q$bomb\E |(?:sh -c .*)?sleep 4242\.$$)}s } map { m{/(\d+)$} } glob '/proc/[0-9]*' }

# Returns the control group of its programs, "" for none.
sub try_daemon {
	my ($how, @wrap) = @_;
	my $d = Jobqd::Daemon->new(pg => $pg, config => $config, name => $how, wrap => \@wrap);
	my $state = sub { $pg->query("SELECT state FROM jobq.jobs WHERE id = $_[0]") };
	$d->start;
	my $id = $pg->query("SELECT jobq.enqueue('groups')");
	wait_for { $state->($id) =~ /completed|dead/ } 'a look';
	my ($group) = ($pg->query("SELECT text FROM jobq.output WHERE job = $id") =~ m{^0::(/\S*jobqd-\d+-\d+)$}m);
	diag $how, ': ', $group ? "the control group $group" : 'no control group';
	for my $queue (sort keys %program) {
		my ($most, $id) = (0, $pg->query("SELECT jobq.enqueue('$queue')"));
		wait_for {
			my $n = left();
			$most = $n if $n > $most;
			$state->($id) eq 'dead';
		} $queue;
		my $dying = left();	# killed, and not yet run to its end
		my $left = eval { wait_for { !left() } 'the rest' } ? 0 : left();
		my ($class, $ms) = split /\|/, $pg->query("SELECT class, extract(epoch FROM finished_at - started_at) * 1000 FROM jobq.attempts WHERE job_id = $id");
		ok $class eq 'timeout' && $ms < 1000 * $life / 2,
		    sprintf '%s: %s: %d processes seen; gone %.0f ms after the time-out, of which the grace is 300', $how, $queue, $most, $ms - 1500;
		is $left, 0, "… nothing is left of it ($dying were dying when it was told) (S1-56)";
	}

	# The worker goes first: what it leaves is the master's.
	for my $queue (sort keys %program) {
		my $id = $pg->query("SELECT jobq.enqueue('$queue', timeout => '1 h')");
		wait_for { left() > 0 } $queue;
		my ($worker) = $d->pids(qr{worker $queue/0});
		kill 'KILL', $worker;
		wait_for { !left() } 'the tree to go', $life / 2;
		wait_for { $state->($id) eq 'dead' } 'the crash';
		pass "$how: $queue: its worker is killed, and the tree goes with it";
	}
	is $d->stop, 0, 'jobqd ends well';
	return $group || '';
}

my $group = try_daemon('first');
if ($group) {
	my ($mount) = map { /^\S+ \S+ \S+ \S+ (\S+) .* - cgroup2 / ? $1 : () } split /\n/, slurp('/proc/self/mountinfo');
	my ($parent) = $group =~ m{^(.*)/};
	is_deeply [ glob "$mount$parent/jobqd-*" ], [ grep { !m{$group$} && -d "/proc/" . (m{jobqd-(\d+)-})[0] } glob "$mount$parent/jobqd-*" ],
	    'no group is left of it';
	my @wrap = ('unshare', '-m', 'sh', '-c', "mount -t tmpfs -o ro none $mount && exec \"\$0\" \"\$@\"");
	if (system(@wrap, 'true') == 0) {
		is try_daemon('groupless', @wrap), '', 'no control group is to be had there';
	} else {
		diag 'not tried without a control group: unshare does not work here';
	}
}
done_testing;
