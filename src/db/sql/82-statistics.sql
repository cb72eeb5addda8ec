-- Statistics: how many of which type ended how, how long they waited and ran.

-- Take the statistics of the attempts that ended since the last time (at most
-- `window` ago) into the table statistic, one row for each queue, type and
-- tenant. Above 200,000 attempts a sample stands for all. Returns the rows.
create function jobq.statistics_take("window" interval) returns int
language plpgsql as $$
declare
	till timestamptz := clock_timestamp();
	since timestamptz := greatest(till - "window", (select max(s.at) from jobq.statistic s));
	every bigint;
	n int;
begin
	select greatest(1, coalesce(sum(t.completed + t.failed + t.dead), 0) / 200000) into every
	from (select completed, failed, dead, at from jobq.tally
	    union all select completed, failed, dead, at from jobq.total) t
	where t.at > since - interval '5 minutes';
	insert into jobq.statistic (at, queue, type, tenant, completed, failed,
	    wait_p50_ms, wait_p99_ms, run_p50_ms, run_p99_ms, ready)
	select till, q.name, j.type, j.tenant, every * count(*) filter (where a.outcome = 1),
	    every * count(*) filter (where a.outcome in (2, 3)),
	    percentile_disc(0.5) within group (order by w.wait), percentile_disc(0.99) within group (order by w.wait),
	    percentile_disc(0.5) within group (order by w.run), percentile_disc(0.99) within group (order by w.run),
	    max(r.ready)
	from jobq.attempt a
	join jobq.job j on j.id = a.job
	join jobq.queue q on q.id = a.queue
	join (select k.id, (jobq.ready_of(k.id)).ready from jobq.queue k) r on r.id = q.id,
	lateral (select greatest(0, extract(epoch from a.started_at - coalesce(j.run_at, j.created_at)) * 1000)::bigint as wait,
	    greatest(0, extract(epoch from a.finished_at - a.started_at) * 1000)::bigint as run) w
	where a.finished_at > since and a.finished_at <= till and a.outcome in (1, 2, 3)
	    and a.job % every = 0
	group by q.name, j.type, j.tenant;
	get diagnostics n = row_count;
	return n;
end
$$;
