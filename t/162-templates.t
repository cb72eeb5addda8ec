# Templates mean the same in handlers (core/template) as in the steps of
# workflows (jobq.fill): the same cases through both. S1-70, S3-73.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Jobqd;
use Schema;
use Test::More;

my $program = ($ENV{JOBQD_BUILDDIR} || '.') . '/t/unit/fill_text';
plan skip_all => "no $program: build the check programs first" unless -x $program;
my $pg = schema();
my $json = JSON::PP->new->canonical->allow_nonref->utf8(0);
sub quoted { return "'" . ($_[0] =~ s/'/''/gr) . "'" }

my $context = <<'END' =~ s/\n//gr;
{"data": {"path": "/srv/a b", "n": 42, "half": 0.5, "tenth": 0.10, "e": 1e5, "small": 1e-7, "neg": -0,
 "big": 123456789012345678901234567890, "yes": true, "none": null, "empty": "", "o": {"k": {"deep": "down"}, "1": "one", "-1": "minus", "a b": 1},
 "list": ["a", {"b": 2}, [], null, [1, [2]]], "tricky": "{{data.path}}", "quote": "caf\u00e9 \"x\"\n\\\t\u2028", "q\"k": 1, "t\\u": 2, "": 3, "é": "accent"},
 "job": {"id": 7, "tenant": null}, "now": "2026-12-01T10:00:00Z"}
END
my @fixed = ('', 'plain', '{data.path} }} { {', '{{data.path}}', '{{ data.n }}{{	data.n	}}', '{{data.half}} {{data.tenth}} {{data.e}} {{data.small}} {{data.neg}} {{data.big}}',
	'{{data.o}}', '{{data.list}}', '{{data.list.0}}{{data.list.1.b}}{{data.list.4.1.0}}', '{{data.list.00}}', '{{data.list.-1}}', '{{data.list.+1}}', '{{data.list. 1}}', '{{data.list.3}}', '{{data.list.9}}',
	'{{data.list.1000000000}}', '{{data.list.99999999999999999999}}', '{{data.o.1}}{{data.o.-1}}{{data.o.a b}}', '{{data.tricky}}', '{{data.quote}}', '{{data.q"k}}', '{{data.t\\u}}', '{{data.é}}',
	'{{data.}}', '{{data..n}}', '{{.data}}', '{{}}', '{{ }}', '{{x}}', '{{datas}}', '{{data', '{{', '{{{data.n}}}', '{{{{data.n}}}}', '{{data.n}', 'a}}{{data.n}}', "{{\ndata.n}}", '{{data.n.x}}', '{{data.none.x}}',
	'{{job.id}} {{now}}', '{{job.tenant}}', '{{data}}', '{{' . ('a' x 300) . '}}', '{{data.' . ('a' x 251) . '}}', '{{data.' . ('a' x 252) . '}}', '{{data.' . ('é' x 126) . '}}', '{{data.none}}{{data');
srand 7;
my @pieces = ('{{', '}}', '{', '}', '.', ' ', "\t", 'data', 'job', 'now', 'list', 'o', 'k', 'n', '0', '1', '4', 'x', 'é', '{{data.', '{{data.list.', '{{data.o.', '}}', '}}', 'data.n', 'quote');
my @random = map { join '', map { $pieces[ rand @pieces ] } 0 .. rand 9 } 1 .. 20000;
my @templates = map { "> $_" } @fixed, @random;

my $dir = temp_directory();
my $values = join ",\n", map { '(' . $_ . ', ' . quoted($templates[$_]) . ')' } 0 .. $#templates;
my @rows = split /\n/, $pg->query(<<"SQL");
CREATE FUNCTION pg_temp.try_fill(t text, c jsonb) RETURNS jsonb LANGUAGE plpgsql AS \$\$
BEGIN
	RETURN jsonb_build_object('is', jobq.fill(to_jsonb(t), c));
EXCEPTION WHEN data_exception THEN
	RETURN '{}';
END \$\$;
CREATE TEMP TABLE c AS SELECT @{[quoted($context)]}::jsonb AS context;
CREATE TEMP TABLE k (n int, t text);
INSERT INTO k VALUES $values;
SELECT jsonb_build_object('template', t, 'context', context)::text || chr(1) || pg_temp.try_fill(t, context)::text FROM k, c ORDER BY n;
SQL
is scalar(@rows), scalar(@templates), scalar(@templates) . ' templates';
spew("$dir/in", join '', map { (split /\x01/)[0] . "\n" } @rows);
my @c = split /\n/, qx($program < $dir/in);
is scalar(@c), scalar(@rows), 'both have answered all';
my (%count, @differ);
for my $i (0 .. $#rows) {
	my $sql = $json->decode((split /\x01/, $rows[$i])[1]);
	my $same = $c[$i] eq 'missing' ? 1 : $c[$i] eq 'error' ? !exists $sql->{is} : exists $sql->{is} && $sql->{is} eq $json->decode($c[$i]);
	$count{ $c[$i] =~ /^(?:missing|error)$/ ? $c[$i] : 'filled' }++;
	push @differ, "$templates[$i]: C $c[$i], SQL " . $json->encode($sql) unless $same;
}
# S1-70, S1-71, S3-73
is scalar(@differ), 0, "they say the same: $count{filled} filled in, $count{missing} missing, $count{error} malformed" or diag join "\n", @differ[0 .. ($#differ < 20 ? $#differ : 20)];
cmp_ok $count{$_}, '>', 200, "enough were $_" for qw(filled error missing);
# what is missing here is nothing there, unless something else is wrong
my $lenient = grep { $c[$_] eq 'missing' && (split /\x01/, $rows[$_])[1] ne '{}' } 0 .. $#rows;
cmp_ok $lenient, '>', 200, "$lenient of what a handler refuses is filled in with nothing in a step";
is $pg->query(q(SELECT jobq.fill('["{{data.n}}", " {{data.none}} ", "{{data.o}}x", 5, {"{{data.n}}": "{{data.list}}"}]', '{"data": {"n": 1, "o": {"a": true}, "list": [null]}}'))),
    '[1, null, "{\"a\": true}x", 5, {"{{data.n}}": [null]}]', 'a text that is one path becomes the value, of its own type; keys are no templates';
done_testing;
