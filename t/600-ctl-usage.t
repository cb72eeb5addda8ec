# jobqctl without a database: help, mistakes in the call, clear errors, the
# manual, and schedule explain.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use JSON::PP;
use Test::More;

my $dir = temp_directory();
my $ctl = sub { run_program([ jobqctl_program(), @_ ], env => { JOBQD_CONF => "$dir/none.yml" }) };
my $one_line = sub { my ($text) = @_; return ($text =~ tr/\n//) == 1 };

# Help lists every command; the manual has each, and each option.
my ($status, $out, $err) = $ctl->('help');
is $status, 0, 'help';
is $err, '', '… on standard output';
my @commands = $out =~ /^  ([a-z]+(?: [a-z]+)?)(?= |$)/mg;
@commands = grep { !/^(?:c|json)$/ } @commands;
cmp_ok scalar(@commands), '>=', 20, 'it lists the commands';
my $manual = slurp(source_directory() . '/man/jobqctl.1');
(my $words = $manual) =~ s/\\\(aq|\\e//g;
my (@no_command, @no_option, %seen);
for my $command (@commands) {
	push @no_command, $command unless $words =~ /\bCm \Q$command\E\b/;
	(my $s, my $text) = $ctl->('help', split / /, $command);
	is $s, 0, "help $command";
	like $text, qr/^usage: jobqctl \Q$command\E/, '… says how to call it';
	for my $option ($text =~ /--([a-z]+)/g) {
		push @no_option, "$command --$option" if !$seen{$option}++ && $words !~ /Fl -\Q$option\E\b/;
	}
}
is_deeply \@no_command, [], 'every command is in the manual';
is_deeply \@no_option, [], 'every option is in the manual';
($status, $out) = $ctl->('--version');
is $status, 0, '--version';
like $out, qr/^jobqctl \d+\.\d+/, '… tells it';
($status, $out) = $ctl->('enqueue', '--help');
is $status, 0, 'COMMAND --help';
like $out, qr/--priority/, '… has its options';

# Mistakes: exit 2, and what was probably meant.
for my $case (
	[ [], qr/no command/ ],
	[ ['statsu'], qr/did you mean status\?/ ],
	[ [ 'job', 'shwo', '1' ], qr/did you mean job show\?/ ],
	[ ['queue'], qr/queue what\?/ ],
	[ [ 'jobs', '--quue', 'x' ], qr/did you mean --queue\?/ ],
	[ [ 'status', '--wait' ], qr/no option --wait/ ],
	[ [ 'jobs', '--state' ], qr/--state needs a value/ ],
	[ [ 'jobs', '--state', 'done' ], qr/no state done/ ],
	[ [ 'jobs', '--limit', '0' ], qr/no number from 1/ ],
	[ [ 'job', 'show' ], qr/usage: jobqctl job show ID/ ],
	[ [ 'job', 'show', 'x' ], qr/"x" is no id/ ],
	[ [ 'job', 'show', '99999999999999999999' ], qr/is no id/ ],
	[ [ 'enqueue', 'q', '--in', 'soon' ], qr/no duration/ ],
	[ [ 'enqueue', 'q', '--in', '1m', '--at', '2030-01-01' ], qr/two times/ ],
	[ [ 'enqueue', 'q', '--priority', 'urgent' ], qr/critical, high/ ],
	[ [ 'enqueue', 'q', 'type', 'no json' ], qr/no JSON object/ ],
	[ [ 'dead', 'retry' ], qr/one by its ID, or many by --all/ ],
	[ [ 'dead', 'delete' ], qr/one by its ID, or many by --all/ ],
	[ [ 'dead', 'review', '1', '--queue', 'q' ], qr/not both/ ],
	[ [ 'dead', 'list', '--reviewed', 'maybe' ], qr/yes or no, not "maybe"/ ],
	[ [ 'dead', 'list', '--group', '--tenant', 't' ], qr/a group is of all tenants/ ],
	[ [ 'dead', 'retry', '--all', '--data', '{}' ], qr/--data is for one job/ ],
	[ [ 'dead', 'retry', '--all', '--rate', 'fast' ], qr/no rate such as 50\/s/ ],
	[ [ 'dead', 'retry', '1', '--all' ], qr/not both/ ],
	[ [ 'queue', 'drain', 'q', '--timeout', 'x' ], qr/no duration/ ],
) {
	my ($args, $want) = @$case;
	($status, $out, $err) = $ctl->(@$args);
	is $status, 2, "@$args: exit 2";
	like $err, $want, '… and why';
	is $out, '', '… not on standard output';
}

# No configuration, no database: one line, exit 1, with what to do.
($status, $out, $err) = $ctl->('status');
is $status, 1, 'no configuration';
like $err, qr/\Q$dir\E\/none\.yml.*--database/s, '… names the file and the way out';
my $port = free_port();
for my $url ("postgresql://127.0.0.1:$port/nowhere", "host=$dir dbname=nowhere") {
	($status, $out, $err) = $ctl->('--database', $url, 'status');
	is $status, 1, "no database at $url";
	like $err, qr/^jobqctl: cannot reach the database at \S+nowhere: .*is it running\? see --database$/, '… says so';
	ok $one_line->($err), '… in one line';
}
($status, $out, $err) = $ctl->('--database', "postgresql://somebody:secret\@127.0.0.1:$port/x", 'status');
unlike $err, qr/secret/, 'a password is not shown';
spew("$dir/some.yml", "database: {url: \"postgresql://127.0.0.1:$port/nowhere\"}\n"
    . "handlers: {null: {driver: noop}}\nqueues: {q: {handler: null}}\n");
($status, $out, $err) = $ctl->('-c', "$dir/some.yml", 'queue', 'list');
is $status, 1, 'the configured database is not there';
like $err, qr/see database\.url in \Q$dir\E\/some\.yml$/, '… and where it is configured';
spew("$dir/bad.yml", "databse: {}\n");
($status, $out, $err) = $ctl->('-c', "$dir/bad.yml", 'status');
is $status, 1, 'a broken configuration';
like $err, qr/^\Q$dir\E\/bad\.yml:1:1: .*database/m, '… is told by place';

# schedule explain
($status, $out) = $ctl->('schedule', 'explain', '0 2 * * *', '--count', '2', '--from', '2026-11-21T10:00:00Z');
is $out, "2026-11-22T02:00:00+00:00\n2026-11-23T02:00:00+00:00\n", 'explain';
($status, $out) = $ctl->('schedule', 'explain', '*/30 * * * * *', '--from', '2026-11-21T12:00:00+02:00');
is $out, join('', map { "2026-11-21T10:0$_+00:00\n" } qw(0:30 1:00 1:30 2:00 2:30)), 'six fields, an offset, five by default';
($status, $out) = $ctl->('--json', 'schedule', 'explain', '@hourly', '--count', '1', '--from', '2026-11-21T10:00:00Z');
is_deeply decode_json($out), ['2026-11-21T11:00:00+00:00'], '… as JSON';
($status, $out, $err) = $ctl->('schedule', 'explain', '0 0 30 2 *');
is $status, 1, 'an expression that never fires';
like $err, qr/never fires/, '… says so';
($status, $out, $err) = $ctl->('schedule', 'explain', '61 * * * *');
is $status, 1, 'a wrong expression';
like $err, qr/^jobqctl: schedule explain: .*61/, '… says what is wrong';

# migrate --print needs no database either.
($status, $out) = $ctl->('--schema', 'work', 'migrate', '--print');
is $status, 0, 'migrate --print';
like $out, qr/create schema.*\bwork\b/i, '… for another schema';
unlike $out, qr/\bjobq\.job\b/, '… throughout';
done_testing;
