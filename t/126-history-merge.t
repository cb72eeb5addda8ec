# However long the history is kept it has few partitions: neighbours are merged,
# and no attempt is missing, there twice or kept longer by that.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Schema;
use Test::More;

my $pg = schema();
queues($pg, work => {}, other => {});
sub one { return $pg->query("SELECT $_[0]") }
sub histories { return one("count(*) FROM jobq.part WHERE state = 'history'") }
sub attempts { return one("count(*) || ' ' || md5(string_agg(a::text, ' ' ORDER BY job_id, attempt)) FROM jobq.attempts a" . ($_[0] || '')) }
sub tables { return one("count(*) FROM pg_class c WHERE c.relnamespace = 'jobq'::regnamespace AND c.relkind = 'r' AND c.relname ~ '^attempt_'") }

# Partitions of history, each of $n attempts, two a job, cut four hours after the one before; the
# last one now. They follow those there are.
my $parts = 0;
sub grow {
	my ($count, $n) = @_;
	$pg->query(<<"SQL");
DO \$do\$
DECLARE
	i int;
	low bigint;
BEGIN
	UPDATE jobq.part SET cut_at = cut_at - $count * interval '4 hours' WHERE state = 'history';
	FOR i IN $parts + 1 .. $parts + $count LOOP
		low := (i + 10) * 1000000000::bigint;
		EXECUTE format('CREATE TABLE jobq.attempt_%1\$s (LIKE jobq.attempt INCLUDING ALL);
		    ALTER TABLE jobq.attempt_%1\$s ADD CONSTRAINT attempt_ids CHECK (job >= %2\$s AND job < %3\$s);
		    ALTER TABLE jobq.history ATTACH PARTITION jobq.attempt_%1\$s FOR VALUES FROM (%2\$s) TO (%3\$s)', 1000 + i, low, low + 1000000000);
		INSERT INTO jobq.part (id, lo, hi, state, cut_at, gone)
		VALUES (1000 + i, low, low + 1000000000, 'history', now() - ($parts + $count - i) * interval '4 hours', '{"work": 3, "other": 1}');
		INSERT INTO jobq.history (job, attempt, queue, outcome, worker, node, started_at, finished_at)
		SELECT low + k / 2, 1 + k % 2, 1, 2 - k % 2, 0, 1, now(), now() FROM generate_series(0, $n - 1) k;
	END LOOP;
END
\$do\$
SQL
	$parts += $count;
	return;
}
# Merge until they are few.
sub merge { one('jobq.history_copy()'), one('jobq.history_merge()') while histories() > 128 }

grow(128, 20);
my $all = attempts();
like $all, qr/^2560 /, '128 partitions of history';
one('jobq.maintain()') for 1 .. 12;
is histories(), 128, '… are few enough';
grow(8, 20);
$all = attempts();
my $reader = $pg->session;
$reader->query('BEGIN; SELECT count(*) FROM jobq.history');
unlike join(' ', map { one('jobq.maintain()') } 1 .. 12), qr/merged/, 'of more, eight are not merged while somebody reads them';
is $pg->query("SET lock_timeout = '500ms'; SELECT count(*) FROM jobq.attempts"), 2720, '… and nobody waits';
$reader->query('COMMIT');
my @lines = maintain_until { histories() <= 128 } $pg;
is scalar(grep { /^merged the history of partitions \d+ to \d+ \(\d+ kB\)$/ } @lines), 2, '… but then, until they are few';
is attempts(), $all, 'all attempts are there, once';
is one("string_agg(DISTINCT gone::text, ' ') FROM jobq.part WHERE hi - lo > 1000000000"), '{"work": 24, "other": 8}', '… and how many jobs they were of';
is one("count(*) FROM (SELECT lo, lag(hi) OVER (ORDER BY lo) AS before FROM jobq.part WHERE state = 'history') k WHERE lo <> before"), 0, '… without a gap';
my $once = attempts(" WHERE job_id = 11000000003");
like $once, qr/^2 /, 'those of one job are found';

# equals are merged, not the same one again and again
grow(7, 20), merge() for 1 .. 40;
my $most = one("max(n) FROM (SELECT count(*) AS n FROM jobq.history GROUP BY tableoid) k");
cmp_ok $most, '<=', 64 * 20, "416 partitions are few, and none is huge ($most attempts)";
cmp_ok one("max(hi - lo) / 1000000000 FROM jobq.part WHERE state = 'history'"), '<=', 90 * 6 / 8, '… nor longer than an eighth of the time';
is attempts(' WHERE job_id = 11000000003'), $once, 'those of one job are what they were';

# large ones, bit by bit, while a job of theirs is removed
$pg->query("DELETE FROM jobq.part WHERE state = 'history'; TRUNCATE jobq.history");
$pg->query("DROP TABLE " . join ', ', split /\n/, one("c.oid::regclass FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'jobq.history'::regclass AND c.relname <> 'history_default'"));
grow(121, 0);
$pg->query("UPDATE jobq.part SET cut_at = now() - interval '85 days' WHERE state = 'history'");
grow(8, 17_000);
one("jobq.history_copy('0')");
is one('count(*) FROM jobq.attempt_merge'), 100_000, 'large ones are copied bit by bit';
is one('jobq.history_merge()'), '', '… and nothing is merged before all is';
my $from = one('min(lo) FROM jobq.part WHERE merging');
$pg->query("INSERT INTO jobq.job_default (id, queue, lane, created_at, type, data) VALUES ($from + 900000, 1, 1280, now(), '', '{}')");
$pg->query("INSERT INTO jobq.attempt_default (job, attempt, queue, outcome, finished_at) VALUES ($from + 900000, 1, 1, 1, now() - interval '10 days')");
one('jobq.default_clean(1000)');
is one("count(*) FROM jobq.job_default"), 1, 'a job whose partition is just being merged is not removed';
$all = attempts();
like join(' ', maintain_until { histories() <= 128 } $pg), qr/merged/, '… and goes on with the rest';
maintain_until { one('count(*) FROM jobq.job_default') == 0 } $pg;
is attempts(), $all, '… but then, and its attempt is with the others';

# the time of one that is being merged is over, and there is no room
grow(8, 20);
one('jobq.history_copy()');
my $merging = one("min(id) FROM jobq.part WHERE merging");
like $merging, qr/^\d+$/, 'again some are being merged';
$pg->query("UPDATE jobq.part SET cut_at = now() - interval '91 days' WHERE id <= $merging AND state = 'history'");
1 while one('jobq.history_drop()');
is one("count(*) FROM jobq.part WHERE id <= $merging AND state = 'history'"), 0, 'what is over goes, though it is being merged';
is one("count(*) FROM jobq.history WHERE job < (SELECT min(lo) FROM jobq.part WHERE state = 'history')"), 0, '… with all its attempts';
grow(8, 20);
merge();
is one("count(*) FROM jobq.history WHERE job < (SELECT min(lo) FROM jobq.part WHERE state = 'history')"), 0, '… and does not come back';
is tables(), one('count(*) FROM jobq.part') + 1 + (one('count(*) FROM jobq.part WHERE merging') > 0), 'no table is left over';
done_testing;
