# jobqctl completion: the shells' own part in real shells, the answers, and that
# every command of the interface is there.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $dir = temp_directory();
my $port = free_port();
spew("$dir/jobqd.yml", <<"YAML");
database: {url: "postgresql://127.0.0.1:$port/nowhere"}
handlers: {null: {driver: noop}}
queues: {email: {handler: null}, enquiries: {handler: null}, work: {handler: null}}
schedules: {nightly: {cron: "0 2 * * *", queue: work}}
workflows: {onboarding: {steps: {first: {queue: work}}}}
channels: {ops: {exec: ["true"]}}
YAML

sub answers {
	my (@words) = @_;
	my ($status, $out, $err) = run_program([ jobqctl_program(), 'complete', @words ],
	    env => { JOBQD_CONF => "$dir/jobqd.yml" });
	is $status, 0, "complete @words" or diag $err;
	is $err, '', '… in silence';
	return join ' ', map { (split /\t/)[0] } split /\n/, $out;
}

# Commands: those that help lists, which the manual has (t/600), and those
# that the interface names.
my ($status, $out) = run_program([ jobqctl_program(), 'help' ]);
my @commands = grep { !/^(?:c|json)$/ } $out =~ /^  ([a-z]+(?: [a-z]+)?)(?= |$)/mg;
my %first = map { (split / /)[0] => 1 } @commands;
is answers(''), join(' ', 'help', do { my %s; grep { !$s{$_}++ } map { (split / /)[0] } @commands }), 'every command is offered';
for my $group (sort keys %first) {
	my @second = map { /^\Q$group\E (\w+)$/ ? $1 : () } @commands;
	is answers($group, ''), join(' ', @second), "every command of $group" if @second;
}
my %there = map { $_ => 1 } @commands;
my $named = <<'END';	# of the interface
status top doctor tail inventory migrate diff enqueue jobs
job: show retry cancel delete log
queue: list show pause resume drain clear clean remove
dead: list show retry review delete
schedule: list next run pause resume explain
worker: list
alert: list ack silence set
END
for (split /\n/, $named =~ s/\s*#.*//r) {
	my ($group, $words) = /^(\w+): (.*)/ ? ("$1 ", $2) : ('', $_);
	ok $there{"$group$_"}, "jobqctl $group$_" for split / /, $words;
}

# Options and operands.
is answers('que'), 'queue', 'the beginning of a word';
like answers('queue', 'pause', '-'), qr/^--all --type .*--json/, 'options of a command, and of all';
is answers('queue', 'pause', '--ty'), '--type', '… by their beginning';
is answers('--j'), '--json', 'options before a command';
is answers('--json', 'queue', 'sh'), 'show', 'a command behind one';
is answers('--schema', 'queue', 'sta'), 'status', 'the value of an option is no command';
is answers('jobs', '--queue', 'e'), 'email enquiries', 'queues, of the configuration though there is no database';
is answers('jobs', '--queue', '=', 'wo'), 'work', '… as bash takes --queue=wo apart';
is answers('enqueue', 'w'), 'work', 'a queue as an operand';
is answers('queue', 'show', 'ema'), 'email', '… of a group';
is answers('schedule', 'run', ''), 'nightly', 'a schedule';
is answers('workflow', 'run', ''), 'onboarding', 'a workflow';
is answers('channel', 'test', ''), 'ops', 'a channel';
is answers('jobs', '--state', 're'), 'ready retrying', 'states';
is answers('dead', 'list', '--reviewed', ''), 'yes no', 'the words of an option';
is answers('completion', ''), 'bash zsh fish', '… and of an operand';
is answers('help', 'queue', 'dr'), 'drain', 'help of a command';
is answers('diff', ''), ':files', 'files are the shell\'s';
is answers('job', 'show', ''), '', 'an id is nobody\'s';
is answers('nonsense', ''), '', 'an unknown command';
is answers(('x') x 200), '', 'too many words';

# Names that only a database knows; a hostile one is none.
my $pg = Jobqd::Postgres->new;
spew("$dir/other.yml", "database: {url: \"" . $pg->url . "\"}\nhandlers: {null: {driver: noop}}\n"
    . "queues: {here: {handler: null}}\n");
my ($s, undef, $err) = run_program([ jobqctl_program(), '-c', "$dir/other.yml", 'migrate' ]);
is $s, 0, 'a database' or diag $err;
$pg->query("SELECT jobq.register('{\"node\": \"far\", \"queues\": [{\"name\": \"there\"}]}')");
$pg->query("INSERT INTO jobq.schedule (name, queue, spec) SELECT n, 1, '1h' FROM unnest(ARRAY['late', E'evil\\x1b[2J']) n");
is answers('-c', "$dir/other.yml", 'queue', 'show', ''), 'here there', 'queues of the database';
is answers('--database', $pg->url, 'queue', 'show', ''), 'here there', '… by the database alone';
is answers('-c', "$dir/other.yml", 'schedule', 'run', ''), 'late', 'a name with escapes is not offered';

# The scripts, in the shells themselves.
for my $shell (qw(bash zsh fish)) {
	my ($st, $script, $e) = run_program([ jobqctl_program(), 'completion', $shell ]);
	is $st, 0, "completion $shell";
	spew("$dir/$shell", $script);
}
is + (run_program([ jobqctl_program(), 'completion', 'csh' ]))[0], 2, 'no other shell';
my $bin = jobqctl_program();
my %env = (JOBQD_CONF => "$dir/jobqd.yml", HOME => $dir);

sub in_shell {
	my ($shell, @argv) = @_;
	my ($st, $o, $e) = run_program([ $shell, @argv ], env => \%env);
	is $e, '', "$shell complains of nothing";
	return join ' ', sort split /\s+/, $o =~ s/\t.*$//mgr;
}
my $ask = sub { my (@w) = @_; "COMP_WORDS=($bin @w); COMP_CWORD=" . @w . "; _jobqctl $bin; printf '%s\\n' \"\${COMPREPLY[@]}\"" };
is in_shell('bash', '--norc', '-c', "source $dir/bash; " . $ask->('queue', 'pa')), 'pause', 'bash: a command';
is in_shell('bash', '--norc', '-c', "source $dir/bash; " . $ask->('jobs', '--queue', "''")), 'email enquiries work', 'bash: names';
like in_shell('bash', '--norc', '-c', "source $dir/bash; complete -p jobqctl"), qr/-F.*_jobqctl/, 'bash: it is registered';
SKIP: {
	skip 'zsh is missing', 4 if (run_program([ 'zsh', '-fc', ':' ]))[0] != 0;
	# what _describe would be given
	my $fake = "compdef() { registered=\$1 }; _describe() { print -l -- \$found }; source $dir/zsh;";
	like in_shell('zsh', '-fc', "$fake words=($bin queue pa); CURRENT=3; _jobqctl"), qr/\bpause:start\b/, 'zsh: a command with what it does';
	like in_shell('zsh', '-fc', "$fake words=($bin jobs --queue ''); CURRENT=4; _jobqctl"), qr/^email: enquiries: work:$/, 'zsh: names';
}
SKIP: {
	skip 'fish is missing', 4 if (run_program([ 'fish', '-N', '-c', 'true' ], env => \%env))[0] != 0;
	my $path = $bin =~ s{/[^/]+$}{}r;
	is in_shell('fish', '-N', '-c', "set PATH $path \$PATH; source $dir/fish; complete -C 'jobqctl queue pa'"), 'pause', 'fish: a command';
	is in_shell('fish', '-N', '-c', "set PATH $path \$PATH; source $dir/fish; complete -C 'jobqctl jobs --queue e'"), 'email enquiries', 'fish: names';
}
done_testing;
