-- What the monitor reads for /metrics.

-- Values of the moment, one a row: which metric, its one or two labels, and
-- the number. monitor/gauges.c knows the names.
create function jobq.gauges() returns table (metric text, a text, b text, value float8)
language plpgsql stable set jit = off as $$	-- keeps its plan
begin
	return query
	with q as materialized (select * from jobq.queues_about)
	select 'jobs', q.name, s.state, s.jobs::float8
	from q, lateral (values ('scheduled', q.scheduled), ('blocked', q.blocked), ('ready', q.ready),
	    ('running', q.running), ('retrying', q.retrying), ('completed', q.completed), ('dead', q.dead),
	    ('cancelled', q.cancelled)) s(state, jobs)
	union all
	select 'oldest_ready', q.name, null,
	    greatest(0, coalesce(extract(epoch from clock_timestamp() - q.oldest_ready_at), 0))::float8 from q
	union all
	select 'paused', q.name, null, q.paused::int from q
	union all
	select 'served', q.name, null, q.served::int from q
	union all
	select 'dead_letters', k.name, null, (select count(*) from jobq.dead d where d.queue = k.id
	    and d.reviewed_at is null and d.died_at > now() - jobq.ms(k.keep_dead_ms))
	from jobq.queue k
	union all
	-- one that has not come yet is late by now; else, as late as the last one was
	select 'schedule_late', s.name, null, greatest(s.lateness_ms / 1000.0, l.seconds)::float8
	from jobq.schedules s left join jobq.schedule_late() l on l.name = s.name
	where s.served and s.enabled and not s.paused
	union all
	select 'schedule_missed', s.name, null, s.missed from jobq.schedules s where s.served
	union all
	select 'schedule_next', s.name, null, extract(epoch from s.next_run)::float8
	from jobq.schedules s where s.served and s.enabled and not s.paused and s.next_run is not null
	union all
	select 'alert_firing', k.name, k.queue, max((k.state <> 'ended')::int) from jobq.alerts k group by k.name, k.queue
	union all
	select 'oldest_snapshot', null, null, coalesce(extract(epoch from clock_timestamp() - min(k.since)), 0)::float8
	from jobq.snapshots() k;
end
$$;

-- How long jobs waited, from their time until this node took them for their
-- first run: a job of each claim that it made after batch `since` of the queue
-- (of up to 500 claims, spread over all of them), and for how many it stands.
-- A row whose wait is null says how far the claims went. since -1: not known,
-- the latest ones.
create function jobq.waits(node text, names text[], since bigint[])
returns table (queue text, batch bigint, wait_us bigint, jobs bigint)
language sql set enable_seqscan = off set jit = off as $$
	select q.name, l.batch, w.wait_us, w.jobs
	from unnest(names, since) u(name, since)
	join jobq.queue q on q.name = u.name
	cross join lateral (select coalesce((jobq.last_claim(q.id)).batch, 0) as batch offset 0) l
	left join lateral (
		select greatest(0, extract(epoch from c.at - coalesce(j.run_at, j.created_at)) * 1000000)::bigint as wait_us,
		    cardinality(c.jobs) * e.every as jobs
		from (select case when u.since < 0 then greatest(0, l.batch - 500) else u.since end as batch) f,
		lateral (select greatest(1, (l.batch - f.batch + 499) / 500) as every) e,
		lateral (select n + floor(random() * e.every)::bigint as batch
		    from generate_series(f.batch + 1, l.batch, e.every) n offset 0) s,
		lateral (select k.*, 1 + (k.batch % greatest(1, cardinality(k.jobs)))::int as i
		    from jobq.claim k where k.queue = q.id and k.batch = s.batch limit 1) c,
		lateral (select j.* from jobq.job j where j.id = c.jobs[c.i] limit 1) j
		where c.attempts[c.i] = 1
		    and c.pool in (select p.id from jobq.pool p join jobq.node n on n.id = p.node where n.name = waits.node)
	) w on true
$$;
