# The manual: mandoc has nothing to complain of, and nothing that a person can
# type or read is missing: options, commands, configuration keys, public
# functions, views and their columns.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $man = source_directory() . '/man';
my @pages = sort glob "$man/*.[1-8]";
cmp_ok scalar(@pages), '>=', 4, 'the pages are there';

# A page as plain words, markup gone.
sub words {
	my ($page) = @_;
	my $text = slurp("$man/$page");
	$text =~ s/^\.\\".*$//mg;
	$text =~ s/\\(?:&|-)/$& eq '\\-' ? '-' : ''/ge;
	return $text;
}

SKIP: {
	my ($missing) = run_program([ 'mandoc', '-V' ]);
	skip 'mandoc is missing', scalar(@pages) if $missing == 127;
	for my $page (@pages) {
		my (undef, $out, $err) = run_program([ 'mandoc', '-Tlint', '-Wstyle', $page ]);
		(my $name = $page) =~ s{.*/}{};
		# what is installed on this machine says nothing of the page
		my @complaints = grep { !/referenced manual not found|outdated mandoc\.db/ } split /\n/, $out . $err;
		is_deeply \@complaints, [], "mandoc -Tlint $name";
	}
}

# Options and commands, from the programs' own help.
sub help_words {
	my ($program, @argv) = @_;
	my (undef, $out, $err) = run_program([ $program, @argv ]);
	return $out . $err;
}
my $help = help_words(jobqd_program(), '-h');
my $page = words('jobqd.8');
for my $option ($help =~ /(?<![\w-])(-[a-zA-Z]|--[a-z]+)\b/g) {
	(my $flag = $option) =~ s/^-//;
	like $page, qr/^\.(?:It|Op|Nm|Ar).*\bFl \Q$flag\E(?:\s|$)|Fl \Q$flag\E\b/m, "jobqd(8) has $option";
}
$help = help_words(jobqctl_program(), 'help');
$page = words('jobqctl.1');
my %seen;
for my $option (grep { !$seen{$_}++ } $help =~ /(?<![\w-])(-[a-zA-Z]|--[a-z-]+)\b/g) {
	(my $flag = $option) =~ s/^-//;
	like $page, qr/Fl \Q$flag\E(?:\s|$)/m, "jobqctl(1) has $option";
}
for my $command (grep { !$seen{$_}++ } map { /^  (\w+)/ ? $1 : () } split /\n/, $help) {
	like $page, qr/\b(?:Cm|Ic|Ar)\b.*\b$command\b/m, "jobqctl(1) has $command";
}

# Every event that the log has for an operator, from the sources.
my %events = map { $_ => 1 } 'job failed', 'job dead', 'job cancelled', 'job lost';
for my $file (map { glob source_directory() . "/src/$_/*.c" }
    qw(master pool sched monitor api worker db driver os)) {
	my $text = slurp($file);
	while ($text =~ /\blog_(?:error|warn|info)\(\s*((?:"[^"]*"\s*)+),/g) {
		$events{join '', $1 =~ /"([^"]*)"/g} = 1;
	}
}
cmp_ok scalar(keys %events), '>', 80, scalar(keys %events) . ' events';
$page = words('jobqd.8');
for my $event (sort keys %events) {
	like $page, qr/^\.(?:It )?Sy \Q$event\E(?: [,.;:])?$/m, "jobqd(8) has \"$event\"";
}

# Every key of the effective configuration of a file that uses everything.
my $dir = temp_directory();
spew("$dir/all.yml", <<'YAML');
retry: {p: {attempts: 2, backoff: exponential, on: {network: {attempts: 3}}}}
limits: {l: {rate: 50/s, concurrency: 10, min_gap: 20ms}}
handlers:
  a: {driver: noop}
  b: {driver: exec, argv: [true], env: {A: b}}
  c: {driver: http}
  d: {driver: email, server: "smtp://localhost:25", from: "a@example.com"}
  e: {driver: sql, statement: SELECT 1, transactional: true, autocommit: false, role: a, max_rows: 1}
  f: {driver: sql, statements: {m: SELECT 1}, choose: "{{data.a}}", url: "postgresql:///a", batch: {limit: 1, pause: 1s}}
  g: {driver: report, directory: /a, reports: {m: {query: SELECT 1, title: m, columns: {s: m}, totals: [s], chart: {label: s, value: s}, parameters: {s: date}}}, formats: [csv], keep: 1d, max_size: 1MiB, bom: true, mail_queue: q, mail_type: m, attach_max: 1KiB, link_base: "https://a", role: a}
queues: {q: {handler: a, retry: p, limits: [l]}}
schedules: {s: {cron: "0 * * * *", queue: q}}
YAML
my ($status, $out, $err) = run_program([ jobqd_program(), '-T', '-c', "$dir/all.yml" ]);
is $status, 0, 'jobqd -T' or diag $err;
$page = words('jobqd.yml.5');
my %own = map { $_ => 1 } qw(p l a b c d e f g m q s A);
my %keys;
$keys{$_} = 1 for grep { !$own{$_} } $out =~ /(?:^|[{,])\s*(?:- )?([a-z_]+):(?=\s|$)/mg;
cmp_ok scalar(keys %keys), '>', 60, scalar(keys %keys) . ' keys';
for my $key (sort keys %keys) {
	like $page, qr/^\.(?:It|Ic|Cm|Va|Li)\b.*(?<![\w-])\Q$key\E(?![\w-])/m, "jobqd.yml(5) has $key";
}

# Public functions and views, from the database.
my $pg = Jobqd::Postgres->new;
spew("$dir/db.yml", "database: {url: \"" . $pg->url . "\"}\nqueues: {q: {handler: a}}\nhandlers: {a: {driver: noop}}\n");
($status, undef, $err) = run_program([ jobqctl_program(), '-c', "$dir/db.yml", 'migrate' ]);
is $status, 0, 'jobqctl migrate' or diag $err;
$page = words('jobqd-sql.7');
my @columns = split /\n/, $pg->query(<<'SQL');
SELECT c.relname || '.' || a.attname
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'jobq'::regnamespace AND c.relkind = 'v'
	AND c.relname NOT IN ('lease', 'queue_counts', 'queues_about')	-- the daemon's own
SQL
cmp_ok scalar(@columns), '>', 80, scalar(@columns) . ' columns of views';
for (@columns) {
	my ($view, $column) = split /\./;
	my ($part) = $page =~ /^\.It Ic \Q$view\E$(.*?)(?=^\.It Ic |^\.El)/ms;
	ok defined $part && $part =~ /\b\Q$column\E\b/, "jobqd-sql(7) has $view.$column";
}

# What anybody but the daemon may call is what the roles may.
($status, undef, $err) = run_program([ jobqctl_program(), '-c', "$dir/db.yml", 'migrate', '--roles' ]);
is $status, 0, 'jobqctl migrate --roles' or diag $err;
my @functions = split /\n/, $pg->query(<<'SQL');
SELECT DISTINCT proname FROM pg_proc
WHERE pronamespace = 'jobq'::regnamespace AND has_function_privilege('jobq_admin', oid, 'EXECUTE')
	AND NOT has_function_privilege('jobq_reader', oid, 'EXECUTE')	-- those are the views' own
SQL
cmp_ok scalar(@functions), '>=', 10, scalar(@functions) . ' functions';
my %named = map { $_ => 1 } @functions;
ok $named{$_}, "jobq.$_() is there" for qw(enqueue enqueue_many workflow cancel retry delete pause resume progress complete);
like $page, qr/^\.(?:It )?(?:Xo\n\.)?F[no] \Q$_\E\b/m, "jobqd-sql(7) has $_()" for @functions;
done_testing;
