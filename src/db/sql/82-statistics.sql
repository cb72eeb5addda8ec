-- Statistics: of each piece of time how the attempts of each queue, type and
-- tenant ended, how long they waited and ran, what went wrong.
--
-- A histogram is an array with an element for each bucket that is not empty:
-- 512 × how many + the bucket. Bucket 0 is less than a millisecond, bucket n
-- from 1.1^(n-1) to 1.1^n of them, so what is read from it is right to five per
-- cent. They can be added: a day's is the sum of its pieces'.

-- Where a bucket begins.
create function jobq.bucket_edge(bucket int) returns float8
language sql immutable parallel safe as $$
	select case when bucket < 1 then 0 else 1.1::float8 ^ (bucket - 1) end
$$;

-- Of all but the first, for width_bucket(ms, buckets()).
create function jobq.buckets() returns float8[]
language sql immutable parallel safe as $$
	select array_agg(jobq.bucket_edge(n) order by n) from generate_series(1, 400) n
$$;

-- One element a bucket, in order, of elements in any order.
create function jobq.histogram(elements bigint[]) returns bigint[]
language sql immutable parallel safe as $$
	select coalesce(array_agg(u.n << 9 | u.bucket order by u.bucket), '{}')
	from (select e & 511 as bucket, sum(e >> 9)::bigint as n from unnest(elements) e group by 1) u
$$;

create function jobq.histogram_count(h bigint[]) returns bigint
language sql immutable parallel safe as $$
	select coalesce(sum(e >> 9), 0)::bigint from unnest(h) e
$$;

create function jobq.histogram_add(sums bigint[], h bigint[]) returns bigint[]
language plpgsql immutable parallel safe as $$
declare
	e bigint;
begin
	if cardinality(sums) = 0 then
		sums := array_fill(0::bigint, array[512]);
	end if;
	foreach e in array h loop
		sums[(e & 511) + 1] := sums[(e & 511) + 1] + (e >> 9);
	end loop;
	return sums;
end
$$;

create function jobq.histogram_end(sums bigint[]) returns bigint[]
language sql immutable parallel safe as $$
	select coalesce(array_agg(u.n << 9 | u.i - 1 order by u.i), '{}')
	from unnest(sums) with ordinality u(n, i) where u.n > 0
$$;

create aggregate jobq.histogram_sum(bigint[]) (
	sfunc = jobq.histogram_add, stype = bigint[], initcond = '{}',
	finalfunc = jobq.histogram_end, parallel = safe
);

-- The value, in milliseconds, that this part (0.99) of them do not exceed;
-- none does the largest, if it is known. Null: there are none.
create function jobq.quantile(h bigint[], part float8, largest float8 default null) returns bigint
language sql immutable parallel safe as $$
	select round(least(largest, jobq.bucket_edge(u.bucket)
	    + (jobq.bucket_edge(u.bucket + 1) - jobq.bucket_edge(u.bucket)) * (part * u.total - (u.upto - u.n)) / u.n))::bigint
	from (
		select (e & 511)::int as bucket, (e >> 9)::float8 as n, sum(e >> 9) over (order by e & 511)::float8 as upto,
		    sum(e >> 9) over ()::float8 as total
		from unnest(h) e
	) u
	where u.upto >= part * u.total order by u.bucket limit 1
$$;

-- How many of each class, as an object.
create function jobq.class_counts(h bigint[]) returns jsonb
language sql immutable parallel safe as $$
	select coalesce(jsonb_object_agg(jobq.class_name((e & 511)::smallint), e >> 9), '{}') from unnest(h) e
$$;

-- Bytes of all tables and indexes of the schema.
create function jobq.bytes() returns bigint
language sql stable as $$
	select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
	from pg_class c where c.relnamespace = 'jobq'::regnamespace and c.relkind = 'r'
$$;

-- Take the statistics of the pieces of time that are over: they follow each
-- other, and end on multiples of `span`. One in the cluster does it, whoever
-- else calls finds it done. What is told more than five seconds after its end
-- may be missing. Above 200,000 attempts a sample stands for all; of types and
-- tenants the 300 busiest have rows of their own, the others are their queue's
-- type '*'.
--   rows      so many were made
--   again_ms  when to call again; 0: there is more, which would take longer
--             than one call should
create function jobq.statistics_take(span interval, out rows int, out again_ms bigint)
language plpgsql as $$
declare
	late constant interval := '5 s';
	origin constant timestamptz := '2000-01-01 00:00 UTC';
	began timestamptz := clock_timestamp();
	latest timestamptz := date_bin(span, began - late, origin);	-- pieces until then are over
	since timestamptz;
	till timestamptz;
begin
	perform jobq.need_all_tenants();
	rows := 0;
	again_ms := 1 + extract(epoch from latest + span + late - began) * 1000;
	if not pg_try_advisory_xact_lock(jobq.claim_lock(), 0) then
		return;
	end if;
	since := (select s.at from jobq.statistics_at s);
	if since = 'epoch' then
		since := latest - span;
	end if;
	loop
		till := date_bin(span, since, origin) + span;
		exit when till > latest;
		if clock_timestamp() > began + interval '2 s' then
			again_ms := 0;
			exit;
		end if;
		rows := rows + jobq.statistics_piece(since, till);
		if till = latest then
			insert into jobq.depth (at, span, queue, ready, running, scheduled, retrying, blocked, dead, oldest_ready_ms)
			select since, till - since, q.name, q.ready, q.running, q.scheduled, q.retrying, q.blocked, q.dead,
			    (extract(epoch from began - q.oldest_ready_at) * 1000)::bigint
			from jobq.queues_about q;
		end if;
		perform jobq.statistics_thin();
		-- when nobody was there for long, nothing happened in most of that time
		since := greatest(till, latest - greatest(12 * span, interval '1 hour'));
	end loop;
	insert into jobq.size (at, bytes)
	select k.at, jobq.bytes() from date_bin('1 hour', began, origin) k(at)
	where not exists (select from jobq.size s where s.at = k.at);
	update jobq.statistics_at s set at = since where s.at < since;
end
$$;

-- Of the attempts that ended from since until till: each is read once, and its
-- job looked up, however many there are and whatever is known of the tables.
create function jobq.statistics_piece(since timestamptz, till timestamptz) returns int
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
declare
	every bigint;		-- of so many jobs one is looked at
	rows jobq.statistic[];
	failures bigint;
begin
	select greatest(1, sum(t.completed + t.failed + t.dead) / 200000)
	into every
	from (
		select completed, failed, dead from jobq.tally k where k.at >= since and k.at < till
		union all
		select completed, failed, dead from jobq.total k where k.at > since - interval '5 minutes' and k.at < till
	) t;
	every := coalesce(every, 1);
	with ended as (
		select a.queue, a.outcome, case when a.outcome in (2, 3, 5) then a.class else 0 end as class,
		    coalesce(j.type, '') as type, j.tenant,
		    case when a.attempt = 1 and a.outcome < 4 and a.started_at is not null and j.id is not null
		        then 1000 * greatest(0, date_part('epoch', a.started_at - coalesce(j.run_at, j.created_at))) end as wait,
		    case when a.outcome < 4 and a.started_at is not null
		        then 1000 * greatest(0, date_part('epoch', a.finished_at - a.started_at)) end as run
		from (
			select k.job, k.attempt, k.queue, k.outcome, k.class, k.started_at, k.finished_at from jobq.attempt k
			where k.finished_at >= since and k.finished_at < till and k.outcome < 6 and k.job % every = 0
			union all
			select k.job, k.attempt, k.queue, k.outcome, k.class, k.started_at, k.finished_at from jobq.history k
			where k.finished_at >= since and k.finished_at < till and k.outcome < 6 and k.job % every = 0
		) a
		left join jobq.job j on j.id = a.job
	), cells as (
		select e.queue, e.type, e.tenant, e.outcome, e.class, width_bucket(e.wait, jobq.buckets()) as waited,
		    width_bucket(e.run, jobq.buckets()) as ran,
		    every * count(*) as n, every * sum(e.wait) as wait, max(e.wait) as wait_max,
		    every * sum(e.run) as run, max(e.run) as run_max
		from ended e group by 1, 2, 3, 4, 5, 6, 7
	), ranked as (
		select w.*, dense_rank() over (order by w.weight desc, w.queue, w.type, w.tenant) as place
		from (select c.*, sum(c.n) over (partition by c.queue, c.type, c.tenant) as weight from cells c) w
	)
	-- in the order of the table's columns
	select array_agg((since, till - since, t.*, null)::jobq.statistic) into rows
	from (
		select q.name, case when r.place <= 300 then r.type else '*' end, case when r.place <= 300 then r.tenant end,
		    coalesce(sum(r.n) filter (where r.outcome = 1), 0), coalesce(sum(r.n) filter (where r.outcome = 2), 0),
		    coalesce(sum(r.n) filter (where r.outcome = 3), 0), coalesce(sum(r.n) filter (where r.outcome = 4), 0),
		    coalesce(sum(r.n) filter (where r.outcome = 5), 0),
		    jobq.histogram(array_agg(r.n << 9 | r.class) filter (where r.class > 0)),
		    jobq.histogram(array_agg(r.n << 9 | r.waited) filter (where r.waited is not null)),
		    coalesce(sum(r.wait), 0), max(r.wait_max),
		    jobq.histogram(array_agg(r.n << 9 | r.ran) filter (where r.ran is not null)),
		    coalesce(sum(r.run), 0), max(r.run_max)
		from ranked r join jobq.queue q on q.id = r.queue
		group by 1, 2, 3
	) t;
	select sum(r.failed + r.dead) into failures from unnest(rows) r;
	if failures > 0 then
		perform jobq.statistics_errors(since, till, greatest(1, failures / 200));
	end if;
	return jobq.statistics_add(rows);
end
$$;

-- The levels of rows that count as one of these (their sum).
create function jobq.levels(wanted int) returns smallint[]
language sql immutable parallel safe as $$
	select array_agg(n::smallint) from generate_series(1, 7) n where n & wanted > 0
$$;

-- Keep rows of one piece, each of another queue, type and tenant, and their
-- sums by type and queue where these are more than one. Returns how many.
create function jobq.statistics_add(rows jobq.statistic[]) returns int
language plpgsql as $$
declare
	n int;
begin
	insert into jobq.statistic (at, span, queue, type, tenant, completed, failed, dead, cancelled, lost,
	    classes, waits, wait_ms, wait_max_ms, runs, run_ms, run_max_ms, level)
	select l.at, l.span, l.queue, coalesce(l.type, ''), l.tenant, l.completed, l.failed, l.dead, l.cancelled, l.lost,
	    l.classes, l.waits, l.wait_ms, l.wait_max_ms, l.runs, l.run_ms, l.run_max_ms,
	    l.level + case when l.level = 4 and l.tenants = 1 then 2 else 0 end
	        + case when l.level > 1 and l.types = 1 and (l.level = 2 or l.tenants = 1) then 1 else 0 end
	from (
		select k.*, count(*) filter (where k.level = 4) over (partition by k.queue, k.type) as tenants,
		    count(*) filter (where k.level = 2) over (partition by k.queue) as types
		from (
			select case grouping(r.type, r.tenant) when 0 then 4 when 1 then 2 else 1 end as level,
			    r.at, r.span, r.queue, r.type, r.tenant,
			    sum(r.completed) as completed, sum(r.failed) as failed, sum(r.dead) as dead,
			    sum(r.cancelled) as cancelled, sum(r.lost) as lost,
			    jobq.histogram_sum(r.classes) as classes, jobq.histogram_sum(r.waits) as waits,
			    sum(r.wait_ms) as wait_ms, max(r.wait_max_ms) as wait_max_ms,
			    jobq.histogram_sum(r.runs) as runs, sum(r.run_ms) as run_ms, max(r.run_max_ms) as run_max_ms
			from unnest(rows) r
			group by grouping sets ((r.at, r.span, r.queue, r.type, r.tenant), (r.at, r.span, r.queue, r.type),
			    (r.at, r.span, r.queue))
		) k
	) l
	where l.level = 4 or l.level = 2 and l.tenants > 1 or l.level = 1 and l.types > 1;
	get diagnostics n = row_count;
	return n;
end
$$;

-- Why attempts failed in that time, the 100 reasons that were most frequent:
-- of one in `every` jobs.
create function jobq.statistics_errors(since timestamptz, till timestamptz, every bigint) returns void
language sql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
	insert into jobq.statistic_error (at, queue, type, class, fingerprint, count, error)
	select since, q.name, e.type, e.class, jobq.fingerprint(e.type, e.class, e.error) as print,
	    every * sum(e.n), left(min(e.error), 500)
	from (
		select a.queue, coalesce(j.type, '') as type, a.class, left(a.error, 4000) as error, count(*) as n
		from jobq.attempt a left join jobq.job j on j.id = a.job
		where a.finished_at >= since and a.finished_at < till and a.outcome in (2, 3) and a.job % every = 0
		group by 1, 2, 3, 4
	) e
	join jobq.queue q on q.id = e.queue
	group by q.name, e.type, e.class, print
	order by 6 desc limit 100
$$;

-- Sum up an hour of pieces that are older than a week, the oldest.
create function jobq.statistics_thin() returns void
language plpgsql as $$
declare
	hour timestamptz;
	rows jobq.statistic[];
begin
	select date_bin('1 hour', min(t.at), '2000-01-01 00:00 UTC') into hour
	from (
		(select s.at from jobq.statistic s where s.span < '1 hour' order by s.at limit 1)
		union all
		(select d.at from jobq.depth d where d.span < '1 hour' order by d.at limit 1)
	) t;
	if hour is null or hour + interval '1 hour' > now() - interval '7 days' then
		return;
	end if;
	with d as (
		delete from jobq.statistic s
		where s.at >= hour and s.at < hour + interval '1 hour' and s.span < '1 hour' returning *
	)
	select array_agg((hour, '1 hour', t.*, null)::jobq.statistic) into rows
	from (
		select d.queue, d.type, d.tenant, sum(d.completed), sum(d.failed), sum(d.dead), sum(d.cancelled), sum(d.lost),
		    jobq.histogram_sum(d.classes), jobq.histogram_sum(d.waits), sum(d.wait_ms), max(d.wait_max_ms),
		    jobq.histogram_sum(d.runs), sum(d.run_ms), max(d.run_max_ms)
		from d where d.level = any (jobq.levels(4))
		group by 1, 2, 3
	) t;
	perform jobq.statistics_add(rows);
	-- the most of that hour: what a chart of a month is looked at for
	with d as (
		delete from jobq.depth k
		where k.at >= hour and k.at < hour + interval '1 hour' and k.span < '1 hour' returning *
	)
	insert into jobq.depth (at, span, queue, ready, running, scheduled, retrying, blocked, dead, oldest_ready_ms)
	select hour, '1 hour', d.queue, max(d.ready), max(d.running), max(d.scheduled), max(d.retrying),
	    max(d.blocked), max(d.dead), max(d.oldest_ready_ms)
	from d group by d.queue
	on conflict do nothing;
end
$$;

-- The statistics from since until `until`, a row a step, for charts; of a
-- queue, a type, a tenant (null: of all together), or a row each of them with
-- `by`: queue, type or tenant, as `name`. Steps begin on multiples of their
-- length and are never shorter than the longest piece among them (an hour,
-- after a week). What a row has not (there were no jobs; nobody counts what is
-- ready by type) is null.
--   per_second    attempts that ended
--   failed        … and did not complete; dead: … for good
--   errors        how many of each class
create function jobq.statistics_range(since timestamptz, until timestamptz default now(),
    step interval default '5 minutes', queue text default null, type text default null,
    tenant text default null, by text default '')
returns table (at timestamptz, name text, completed bigint, failed bigint, dead bigint, cancelled bigint,
    lost bigint, per_second float8, failure_rate float8,
    wait_avg_ms bigint, wait_p50_ms bigint, wait_p95_ms bigint, wait_p99_ms bigint, wait_max_ms bigint,
    run_avg_ms bigint, run_p50_ms bigint, run_p95_ms bigint, run_p99_ms bigint, run_max_ms bigint,
    errors jsonb, ready bigint, running bigint, oldest_ready_ms bigint)
language plpgsql stable set jit = off as $$
#variable_conflict use_column
declare
	origin constant timestamptz := '2000-01-01 00:00 UTC';
	levels smallint[] := jobq.levels(case when tenant is not null or by = 'tenant' or jobq.tenant() <> '' then 4
	    when type is not null or by = 'type' then 2 else 1 end);
begin
	if by not in ('', 'queue', 'type', 'tenant') then
		raise exception 'statistics by "%"', left(by, 63) using errcode = '22023',
		    hint = 'by is queue, type or tenant.';
	elsif not step > '0' or extract(year from step) <> 0 or extract(month from step) <> 0 then
		raise exception 'a step of %', step using errcode = '22023',
		    hint = 'A step is some seconds, minutes, hours or days.';
	end if;
	step := greatest(step, (select max(s.span) from jobq.depth s
	    where s.at >= date_bin(step, since, origin) and s.at < until));
	if extract(epoch from until - since) / extract(epoch from step) > 20000 then
		raise exception 'more than 20000 steps' using errcode = '54000', hint = 'Take longer ones.';
	end if;
	return query
	with pieces as (
		select date_bin(step, s.at, origin) as at,
		    case statistics_range.by when 'queue' then s.queue when 'type' then s.type when 'tenant' then s.tenant end as name,
		    s.completed, s.failed + s.dead as failed, s.dead, s.cancelled, s.lost,
		    s.classes, s.waits, s.wait_ms, s.wait_max_ms, s.runs, s.run_ms, s.run_max_ms
		from jobq.statistic s
		where s.level = any (levels) and s.at >= date_bin(step, since, origin) and s.at < until
		    and (statistics_range.queue is null or s.queue = statistics_range.queue)
		    and (statistics_range.type is null or s.type = statistics_range.type)
		    and (statistics_range.tenant is null or s.tenant = statistics_range.tenant)
	), sums as (
		select p.at, p.name, sum(p.completed)::bigint as completed, sum(p.failed)::bigint as failed,
		    sum(p.dead)::bigint as dead, sum(p.cancelled)::bigint as cancelled, sum(p.lost)::bigint as lost,
		    jobq.histogram_sum(p.classes) as classes, jobq.histogram_sum(p.waits) as waits,
		    sum(p.wait_ms) as wait_ms, max(p.wait_max_ms) as wait_max_ms,
		    jobq.histogram_sum(p.runs) as runs, sum(p.run_ms) as run_ms, max(p.run_max_ms) as run_max_ms
		from pieces p group by p.at, p.name
	), depths as (
		select d.at, d.name, max(d.ready)::bigint as ready, max(d.running)::bigint as running, max(d.oldest) as oldest
		from (
			select date_bin(step, k.at, origin) as at, case by when 'queue' then k.queue end as name,
			    sum(k.ready) as ready, sum(k.running) as running, max(k.oldest_ready_ms) as oldest
			from jobq.depth k
			where k.at >= date_bin(step, since, origin) and k.at < until
			    and statistics_range.by in ('', 'queue') and statistics_range.type is null and statistics_range.tenant is null
			    and (statistics_range.queue is null or k.queue = statistics_range.queue)
			group by k.at, 2
		) d group by d.at, d.name
	), names as (
		select s.name from sums s union select d.name from depths d
		union select null where statistics_range.by = ''
	)
	select t.at, n.name, coalesce(s.completed, 0), coalesce(s.failed, 0), coalesce(s.dead, 0),
	    coalesce(s.cancelled, 0), coalesce(s.lost, 0),
	    coalesce(s.completed + s.failed, 0) / extract(epoch from step)::float8,
	    round(s.failed / nullif(s.completed + s.failed, 0)::numeric, 4)::float8,
	    round(s.wait_ms / nullif(jobq.histogram_count(s.waits), 0))::bigint,
	    jobq.quantile(s.waits, 0.5, s.wait_max_ms), jobq.quantile(s.waits, 0.95, s.wait_max_ms),
	    jobq.quantile(s.waits, 0.99, s.wait_max_ms), round(s.wait_max_ms)::bigint,
	    round(s.run_ms / nullif(jobq.histogram_count(s.runs), 0))::bigint,
	    jobq.quantile(s.runs, 0.5, s.run_max_ms), jobq.quantile(s.runs, 0.95, s.run_max_ms),
	    jobq.quantile(s.runs, 0.99, s.run_max_ms), round(s.run_max_ms)::bigint,
	    coalesce(jobq.class_counts(s.classes), '{}'), d.ready, d.running, d.oldest
	from generate_series(date_bin(step, since, origin), until - interval '1 microsecond', step) t(at)
	cross join names n
	left join sums s on s.at = t.at and s.name is not distinct from n.name
	left join depths d on d.at = t.at and d.name is not distinct from n.name
	order by t.at, n.name;
end
$$;

-- What in a fence stands for the totals of a queue: how many of the tenant's
-- jobs ended how, of the statistics and, since these were taken, the attempts.
create function jobq.ended_share(queue text) returns table (at timestamptz, completed bigint, cancelled bigint)
language plpgsql stable
set jit = off as $$
#variable_conflict use_column
declare
	since timestamptz := (select s.at from jobq.statistics_at s);
begin
	return query
	select s.at, sum(s.completed)::bigint, sum(s.cancelled)::bigint from jobq.statistic s
	where s.level = any (jobq.levels(4)) and s.queue = ended_share.queue and s.at < since
	group by s.at
	union all
	select jobq.five_minutes(a.finished_at), count(*) filter (where a.outcome = 1), count(*) filter (where a.outcome = 4)
	from jobq.attempt a
	where a.queue = (select q.id from jobq.queue q where q.name = ended_share.queue)
	    and a.finished_at >= since and a.outcome in (1, 4)
	group by 1;
end
$$;
