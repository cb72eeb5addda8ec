-- What "jobqctl top" shows. It is asked every second, so nothing of it depends
-- on how many jobs there are: what is many is estimated.

-- How much of a table is to be read so that it is no more than 256 pages, and for a
-- tenant, whose rows have to be looked up, 32: a percentage for tablesample.
create function jobq.sample_of(name regclass) returns float8
language sql stable as $$
	select least(100, 100 * case when jobq.tenant() = '' then 256.0 else 32.0 end * current_setting('block_size')::int / greatest(1, pg_relation_size(name)))::float8
$$;

-- How the queues stand (or one of them), a row each: ready is counted up to
-- about `most` jobs; exact tells whether that was all of them. What waits for a
-- time or another job, and the dead letters, are counted in a sample when they
-- are many.
create function jobq.depths_about(most int, wanted smallint default null)
returns table (queue smallint, ready bigint, exact boolean, oldest_ready_at timestamptz, running bigint,
    scheduled bigint, retrying bigint, blocked bigint, dead bigint, workers bigint, busy bigint)
language plpgsql stable set jit = off as $$
#variable_conflict use_column
declare
	timers float8 := jobq.sample_of('jobq.timer');
	waiters float8 := jobq.sample_of('jobq.blocked');
	letters float8 := jobq.sample_of('jobq.dead');
begin
	return query
	select q.id, r.ready, r.exact, r.oldest_ready_at, coalesce(l.n, 0), coalesce(t.scheduled, 0),
	    coalesce(t.retrying, 0), coalesce(b.n, 0), coalesce(d.n, 0), coalesce(w.workers, 0), coalesce(w.busy, 0)
	from jobq.queue q
	left join lateral jobq.ready_about(q.id, most) r on true
	left join (select k.queue, count(*) as n from jobq.lease k group by 1) l on l.queue = q.id
	left join (
		select k.queue, round(count(*) filter (where k.attempt = 1) * 100 / timers)::bigint as scheduled,
		    round(count(*) filter (where k.attempt > 1) * 100 / timers)::bigint as retrying
		from jobq.timer k tablesample system (timers) group by 1) t on t.queue = q.id
	left join (
		select k.queue, round(count(*) * 100 / waiters)::bigint as n
		from jobq.blocked k tablesample system (waiters) group by 1) b on b.queue = q.id
	left join (
		select k.queue, round(count(*) * 100 / letters)::bigint as n
		from jobq.dead k tablesample system (letters) join jobq.queue o on o.id = k.queue
		where k.died_at > now() - jobq.ms(o.keep_dead_ms) group by 1) d on d.queue = q.id
	left join (
		select p.queue, count(*) as workers, count(*) filter (where k.job is not null) as busy
		from jobq.worker k join jobq.pool p on p.id = k.pool group by 1) w on w.queue = q.id
	where wanted is null or q.id = wanted;
end
$$;

-- Everything of the moment: at, queues, workers (200 at most), nodes, alerts.
-- completed and failed are counted from since on, to five minutes: what grows
-- between two calls is what ended between them. estimated: ready is.
create function jobq.top(since timestamptz) returns jsonb
language plpgsql stable set jit = off as $$
declare
	from_ timestamptz := jobq.five_minutes(since);
	queues jsonb;
	workers jsonb;
begin
	perform jobq.need_all_tenants();
	select coalesce(jsonb_agg(jsonb_build_object('name', q.name, 'paused', q.paused, 'pause_reason', q.pause_reason,
	    'holds', (select count(*) from jobq.hold h where h.queue in (0, q.id)),
	    'served', exists (select from jobq.serves s join jobq.node n on n.id = s.node
	        where s.queue = q.id and n.seen > now() - interval '1 minute'),
	    'ready', r.ready, 'estimated', not r.exact, 'running', r.running,
	    'retrying', r.retrying, 'scheduled', r.scheduled, 'dead', r.dead,
	    'oldest_ready_ms', (extract(epoch from clock_timestamp() - r.oldest_ready_at) * 1000)::bigint,
	    'workers', r.workers, 'busy', r.busy,
	    'completed', coalesce(e.completed, 0), 'failed', coalesce(e.failed, 0)) order by q.name), '[]')
	into queues
	from jobq.queue q
	join jobq.depths_about(1000) r on r.queue = q.id
	left join (
		select k.queue, sum(k.completed)::bigint as completed, sum(k.failed + k.dead)::bigint as failed
		from (
			select a.queue, a.completed, a.failed, a.dead from jobq.total a where a.at >= from_
			union all
			select a.queue, a.completed, a.failed, a.dead from jobq.tally a where a.at >= from_
		) k group by 1) e on e.queue = q.id;
	select coalesce(jsonb_agg(jsonb_build_object('node', w.node, 'queue', w.queue, 'worker', w.worker,
	    'state', w.state, 'job_id', w.job_id, 'type', j.type,
	    'since_ms', (extract(epoch from clock_timestamp() - w.since) * 1000)::bigint)
	    order by w.job_id is null, w.since, w.worker), '[]')
	into workers
	from (select * from jobq.workers k order by k.job_id is null, k.since limit 200) w
	left join lateral (select k.type from jobq.job k where k.id = w.job_id limit 1) j on true;
	return jsonb_build_object('at', clock_timestamp(), 'database', current_database(), 'queues', queues,
	    'workers', workers,
	    'nodes', (select coalesce(jsonb_agg(jsonb_build_object('name', n.name, 'version', n.version,
	        'alive', n.alive, 'seen', n.seen) order by n.name), '[]') from jobq.nodes n),
	    'alerts', (select coalesce(jsonb_agg(jsonb_build_object('name', a.name, 'queue', a.queue, 'state', a.state,
	        'value', a.value, 'since', a.since) order by a.name, a.queue), '[]')
	        from jobq.alerts a where a.state <> 'ended'));
end
$$;

-- More of one queue: which jobs run, what failed last (given up, or to be tried
-- again), and its types in the last hour. null: there is no such queue.
create function jobq.top_queue(name text) returns jsonb
language sql stable set jit = off as $$
	select jobq.need_all_tenants();
	select jsonb_build_object(
	'jobs', (
		select coalesce(jsonb_agg(jsonb_build_object('job_id', l.job, 'attempt', l.attempt, 'type', j.type,
		    'tenant', j.tenant, 'for_ms', (extract(epoch from clock_timestamp() - l.at) * 1000)::bigint,
		    'progress', p.pct, 'progress_note', p.note, 'worker', w.slot) order by l.at, l.job), '[]')
		from (select * from jobq.lease k where k.queue = q.id order by k.at limit 20) l
		left join lateral (select * from jobq.job k where k.id = l.job limit 1) j on true
		left join jobq.progress p on p.job = l.job and p.attempt >= l.attempt
		left join jobq.worker w on w.pool = l.pool and w.job = l.job),
	'failures', (
		select coalesce(jsonb_agg(jsonb_build_object('job_id', a.job, 'type', j.type, 'at', a.finished_at,
		    'state', f.state, 'class', nullif(jobq.class_name(a.class), ''), 'error', left(a.error, 500))
		    order by a.finished_at desc), '[]')
		from (
			(select d.job, d.attempt, 'dead' as state from jobq.dead d
			where d.queue = q.id order by d.died_at desc limit 10)
			union all
			(select t.job, (t.attempt - 1)::smallint, 'retrying'
			from (select k.job, k.queue, k.attempt from jobq.timer k order by k.run_at limit 1000) t
			where t.queue = q.id and t.attempt > 1 limit 10)
		) f
		join lateral (select * from jobq.attempt k where k.job = f.job and k.attempt = f.attempt
		    and k.outcome in (2, 3) limit 1) a on true
		left join lateral (select * from jobq.job k where k.id = f.job limit 1) j on true),
	'types', (
		select coalesce(jsonb_agg(jsonb_build_object('type', s.type, 'completed', s.completed, 'failed', s.failed,
		    'run_p50_ms', s.run_p50_ms, 'run_p95_ms', s.run_p95_ms) order by s.completed + s.failed desc), '[]')
		from (
			select k.type, sum(k.completed)::bigint as completed, sum(k.failed + k.dead)::bigint as failed,
			    jobq.quantile(jobq.histogram_sum(k.runs), 0.5, max(k.run_max_ms)) as run_p50_ms,
			    jobq.quantile(jobq.histogram_sum(k.runs), 0.95, max(k.run_max_ms)) as run_p95_ms
			from jobq.statistic k where k.at > now() - interval '1 hour' and k.queue = q.name
			group by 1 order by 2 + 3 desc limit 10
		) s))
	from jobq.queue q where q.name = top_queue.name
$$;
