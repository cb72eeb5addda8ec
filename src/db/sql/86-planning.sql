-- What was, to decide what shall be: how many workers a queue needs, and which
-- of two retry policies does better.

-- What the workers of each queue had to do since then, or in seven days: in the
-- mean and in the piece of time with the most (five minutes, an hour of what is
-- older than a week), and how many job slots would be enough.
--   slots         jobs that its live nodes can run at a time
--   busy          slots in use, in the mean; busy_peak: in the busiest piece
--   utilization   busy_peak ÷ slots
--   slots_wanted  so many that the busiest piece, `growth` times as busy, leaves
--                 them in use for this part (target) of the time
create function jobq.capacity(since timestamptz default null, growth float8 default 1, target float8 default 0.7)
returns table (queue text, slots bigint, per_second float8, per_second_peak float8, run_avg_ms bigint,
    busy float8, busy_peak float8, utilization float8, wait_p95_ms_peak bigint, slots_wanted bigint)
language plpgsql stable as $$
#variable_conflict use_column
declare
	pieces constant interval := '5 minutes';
	from_ timestamptz := greatest(coalesce(since, now() - interval '7 days'),
	    (select min(s.at) from jobq.statistic s where s.level = any (jobq.levels(1))));
begin
	perform jobq.need_all_tenants();
	if not (growth > 0 and growth < 1e6) then
		raise exception 'a growth of %', growth using errcode = '22023', hint = '2 is twice as much as there was.';
	elsif not (target > 0 and target <= 1) then
		raise exception 'a target of %', target using errcode = '22023', hint = '0.7 is seventy per cent of the time.';
	end if;
	return query
	with done as (
		select s.name, s.at, s.completed + s.failed as n, s.wait_p95_ms as wait, s.run_avg_ms * (s.completed + s.failed) as ms,
		    extract(epoch from greatest(pieces, lead(s.at) over (partition by s.name order by s.at) - s.at))::float8 as seconds
		from jobq.statistics_range(from_, now(), pieces, by => 'queue') s
	), sums as (
		select d.name, sum(d.n)::float8 / sum(d.seconds) as per_second, max(d.n / d.seconds) as per_second_peak,
		    (sum(d.ms) / nullif(sum(d.n), 0))::bigint as run_avg_ms, coalesce(sum(d.ms), 0) / sum(d.seconds) / 1000 as busy,
		    coalesce(max(d.ms / d.seconds) / 1000, 0)::float8 as busy_peak, max(d.wait) as wait
		from done d group by d.name
	), room as (
		select q.name, q.workers::bigint * q.concurrency * (
			select count(*) from jobq.serves v join jobq.node n on n.id = v.node
			where v.queue = q.id and n.seen > now() - interval '1 minute'
		) as slots
		from jobq.queue q
	)
	select r.name, r.slots, round(s.per_second::numeric, 3)::float8, round(s.per_second_peak::numeric, 3)::float8, s.run_avg_ms,
	    round(s.busy::numeric, 3)::float8, round(s.busy_peak::numeric, 3)::float8,
	    round((s.busy_peak / nullif(r.slots, 0))::numeric, 4)::float8, s.wait,
	    case when s.per_second > 0 then greatest(1, ceil(round((s.busy_peak * growth / target)::numeric, 6)))::bigint else 0 end
	from room r left join sums s on s.name = r.name
	order by r.name;
end
$$;

-- Which half of a queue's jobs this one is in: of the policy `retry` (false), or
-- of `retry_against`. The same as conf_policy() in C.
create function jobq.retry_half(job bigint) returns boolean
language sql immutable parallel safe as $$
	select job % 2147483647 * 1583458089 % 2147483647 / 32768 % 2 <> 0
$$;

-- How the jobs of a queue fared that have failed since then (or in seven days)
-- and have ended, by the policy that they had. Where there is no
-- `retry_against` the halves have the same one, and should not differ.
--   jobs       so many; recovered: of them completed; dead: did not
--   share      that recovered; low, high: where its true value is, with 95 %
--   attempts   of a job, in the mean
--   after_…    from the first failure to the completion
--   verdict    which recovers more, if that is no chance (95 %); of both the same
create function jobq.retry_compare(queue text, since timestamptz default null)
returns table (policy text, jobs bigint, recovered bigint, dead bigint, share float8, low float8, high float8,
    attempts float8, after_p50_ms bigint, after_p95_ms bigint, verdict text)
language plpgsql stable set jit = off as $$
#variable_conflict use_column
declare
	z constant float8 := 1.959964;		-- 95 %
	from_ timestamptz := coalesce(since, now() - interval '7 days');
	q smallint;
begin
	perform jobq.need_all_tenants();
	select k.id into q from jobq.queue k where k.name = retry_compare.queue;
	if q is null then
		raise exception 'there is no queue "%"', left(retry_compare.queue, 63) using errcode = 'P0002';
	end if;
	return query
	with ended as (
		select a.job, count(*) as attempts, min(a.finished_at) filter (where a.outcome in (2, 3)) as failed,
		    max(a.finished_at) filter (where a.outcome = 1) as completed, bool_or(a.outcome = 3) as died
		from (
			select k.job, k.outcome, k.finished_at from jobq.attempt k
			where k.queue = q and k.finished_at >= from_ and k.outcome in (1, 2, 3)
			union all
			select k.job, k.outcome, k.finished_at from jobq.history k
			where k.queue = q and k.finished_at >= from_ and k.outcome in (1, 2, 3)
		) a
		group by a.job
	), halves as (
		select jobq.retry_half(e.job) as half, count(*)::float8 as n, count(e.completed)::float8 as k, avg(e.attempts)::float8 as attempts,
		    percentile_disc(array[0.5, 0.95]) within group (order by extract(epoch from e.completed - e.failed) * 1000)
		        filter (where e.completed is not null) as ms
		from ended e
		where e.failed is not null and (e.died or e.completed is not null)
		group by 1
	), both_ as (
		select h.half, coalesce(t.n, 0) as n, coalesce(t.k, 0) as k, t.attempts, t.ms
		from (values (false), (true)) h(half) left join halves t using (half)
	), test as (
		select min(b.n) as least, sum(b.k) / nullif(sum(b.n), 0) as p, sum(1 / nullif(b.n, 0)) as inverse,
		    sum(case when b.half then b.k else -b.k end / nullif(b.n, 0)) as gain
		from both_ b
	)
	select case when b.half then 'retry_against' else 'retry' end, b.n::bigint, b.k::bigint, (b.n - b.k)::bigint,
	    round((b.k / nullif(b.n, 0))::numeric, 4)::float8,
	    round(((b.k + z * z / 2 - z * sqrt(b.k * (b.n - b.k) / nullif(b.n, 0) + z * z / 4)) / (b.n + z * z))::numeric, 4)::float8,
	    round(((b.k + z * z / 2 + z * sqrt(b.k * (b.n - b.k) / nullif(b.n, 0) + z * z / 4)) / (b.n + z * z))::numeric, 4)::float8,
	    round(b.attempts::numeric, 2)::float8, b.ms[1]::bigint, b.ms[2]::bigint,
	    case when t.least < 30 then 'too few jobs to tell'
	    when abs(t.gain) <= z * sqrt(t.p * (1 - t.p) * t.inverse) then 'no difference that is more than chance'
	    when t.gain > 0 then 'retry_against recovers more' else 'retry recovers more' end
	from both_ b cross join test t
	order by b.half;
end
$$;
