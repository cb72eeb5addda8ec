-- Queues, for the HTTP API.

-- How many jobs of its tenant the caller has ready in a queue, as ready_about() of
-- all: they are told apart among the first `most`, and what is behind those is
-- estimated by that.
create function jobq.api_ready(queue_id smallint, most int, out ready bigint, out exact boolean, out oldest timestamptz)
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off as $$
declare
	last jobq.claim := jobq.last_claim(queue_id);
	r record;
	seen bigint;
begin
	select count(*), count(j.id), min(coalesce(j.run_at, j.created_at)) into seen, ready, oldest
	from jobq.open_lanes(queue_id, last) l, lateral (
		select k.job, k.attempt from jobq.turn k
		where k.queue = queue_id and k.lane = l.lane and (k.xid, k.job) > (l.xid, l.job)
		order by k.xid, k.job limit most
	) u
	left join lateral (
		select k.id, k.run_at, k.created_at from jobq.job k
		where k.id = u.job
		    and not exists (select from jobq.attempt a where a.job = u.job and a.attempt = u.attempt offset 0) limit 1
	) j on true;
	exact := seen < most;
	if not exact then
		select * into r from jobq.ready_about(queue_id, most);
		ready := round(ready * greatest(r.ready, seen)::float8 / seen);
	end if;
	ready := ready + (select count(*) from jobq.parked p where p.queue = queue_id);
end
$$;

-- How the queues stand, with a bounded look: see depths_about(). Who is bound to a
-- tenant sees its share; of what has ended then the statistics tell.
create function jobq.api_depths(most int, wanted smallint default null)
returns table (queue smallint, ready bigint, exact boolean, oldest_ready_at timestamptz, running bigint,
    scheduled bigint, retrying bigint, blocked bigint, dead bigint, completed bigint, cancelled bigint,
    workers bigint, busy bigint)
language sql stable set jit = off as $$
	select d.queue, coalesce(r.ready, d.ready), coalesce(r.exact, d.exact),
	    case when r.ready is null then d.oldest_ready_at else r.oldest end,
	    d.running, d.scheduled, d.retrying, d.blocked, d.dead,
	    greatest(0, coalesce(e.completed, 0)), greatest(0, coalesce(e.cancelled, 0)),
	    case when jobq.api_tenant() is null then d.workers end, case when jobq.api_tenant() is null then d.busy end
	from jobq.depths_about(most, wanted) d
	join jobq.queue q on q.id = d.queue
	left join lateral jobq.api_ready(q.id, most) r on jobq.api_tenant() is not null
	left join lateral (
		select sum(k.completed) filter (where k.at > now() - jobq.ms(q.keep_completed_ms))::bigint as completed,
		    sum(k.cancelled) filter (where k.at > now() - jobq.ms(q.keep_cancelled_ms))::bigint as cancelled
		from (
			select t.at, t.completed, t.cancelled from jobq.total t where jobq.api_tenant() is null and t.queue = q.id
			union all
			select t.at, t.completed, t.cancelled from jobq.tally t where jobq.api_tenant() is null and t.queue = q.id
			union all
			select s.at, s.completed, s.cancelled from jobq.statistic s
			where jobq.api_tenant() is not null and s.level = any (jobq.levels(4)) and s.queue = q.name
		) k
	) e on true
$$;

-- How attempts ended in the five to ten minutes up to now.
create function jobq.api_last_minutes(queue_id smallint) returns json
language sql stable as $$
	select json_build_object('seconds', round(s.seconds), 'completed', e.completed, 'failed', e.failed,
	    'per_second', round((e.completed + e.failed) / s.seconds, 3),
	    'failure_rate', round(e.failed / nullif(e.completed + e.failed, 0), 4))
	from (select jobq.five_minutes(now() - interval '5 minutes') as since) f,
	lateral (select extract(epoch from now() - f.since) as seconds) s,
	lateral (
		select coalesce(sum(k.completed), 0) as completed, coalesce(sum(k.failed + k.dead), 0) as failed
		from (
			select t.queue, t.at, t.completed, t.failed, t.dead from jobq.total t
			union all
			select t.queue, t.at, t.completed, t.failed, t.dead from jobq.tally t
		) k where k.queue = queue_id and k.at >= f.since
	) e
$$;

-- Rows of the view queues, in a bounded look (estimated: ready is), with
--   busy          workers that run a job
--   last_minutes  seconds, completed, failed (dead included), per_second, failure_rate
-- A tenant sees its share of the jobs, and no workers.
create function jobq.api_queue_rows(wanted smallint default null, after text default null, max int default null)
returns setof json
language sql stable set jit = off as $$
	select row_to_json(r)
	from (
		select q.name, q.paused, q.pause_reason,
		    exists (select from jobq.serves s join jobq.node n on n.id = s.node
		        where s.queue = q.id and n.seen > now() - interval '1 minute') as served,
		    d.scheduled, d.blocked, d.ready, d.running, d.retrying, d.completed, d.dead, d.cancelled,
		    d.oldest_ready_at, d.workers, q.paused_by, q.paused_at, q.paused_until,
		    (select count(*) from jobq.hold h where h.queue in (0, q.id)
		        and (h.tenant is null or jobq.tenant() in ('', h.tenant))) as holds,
		    not d.exact as estimated, d.busy, q.enabled,
		    case when jobq.api_tenant() is null then jobq.api_last_minutes(q.id) end as last_minutes
		from (
			select * from jobq.queue k
			where (wanted is null or k.id = wanted) and (after is null or k.name > after)
			order by k.name limit max
		) q
		join jobq.api_depths(10000, wanted) d on d.queue = q.id
		order by q.name
	) r
$$;

create function jobq.api_queues(max int, cursor text) returns json
language sql stable as $$
	select jobq.api_list(json_agg(r.row order by r.n) filter (where r.n <= max),
	    (array_agg(jobq.api_cursor(r.row ->> 'name')) filter (where r.n = max and r.all_of_them > max))[1])
	from (
		select k as row, row_number() over () as n, count(*) over () as all_of_them
		from jobq.api_queue_rows(null, (jobq.api_place(cursor, 1))[1], max + 1) k
	) r
$$;

-- One, with more of it: what of it is paused (held), its types in the last hour;
-- what is not for tenants: how it is configured, its limits and breakers, and how
-- long its jobs ran of late.
create function jobq.api_queue(queue text) returns json
language plpgsql stable set jit = off as $$
declare
	q jobq.queue := jobq.api_queue_get(queue);
	row jsonb;
begin
	select k::jsonb into row from jobq.api_queue_rows(q.id) k;
	row := row || jsonb_build_object(
	    'held', (select coalesce(jsonb_agg(h order by h.at), '[]') from jobq.holds h
	        where coalesce(h.queue, q.name) = q.name),
	    'types', jobq.api_types(q.name, '1 hour'));
	if jobq.api_tenant() is not null then
		return row;
	end if;
	return row || jsonb_build_object('run_avg_ms', jobq.run_avg_ms(q.id, '1 hour'),
	    'settings', jsonb_build_object('enabled', q.enabled, 'workers', q.workers,
	        'concurrency', q.concurrency, 'timeout_ms', q.timeout_ms,
	        'priority', case when q.large_first then 99 - q.priority else q.priority end,
	        'order', case when q.large_first then 'large_first' else 'small_first' end,
	        'attempts', q.max_attempts, 'max_payload', q.max_payload, 'encrypted', q.sealed,
	        'lease_ms', q.lease_ms,
	        'expire_ms', q.expire_ms, 'unique', q.unique_path, 'unique_conflict', q.unique_conflict,
	        'concurrency_key', q.key_path, 'per_key', q.per_key, 'fair', q.fair_path, 'ageing_ms', q.age_ms,
	        'keep', jsonb_build_object('completed_ms', q.keep_completed_ms, 'dead_ms', q.keep_dead_ms,
	            'cancelled_ms', q.keep_cancelled_ms, 'history_ms', q.keep_history_ms)),
	    'limits', (select coalesce(jsonb_agg(to_jsonb(l) - 'queues' order by l.name), '[]') from jobq.limits l
	        where q.name = any (l.queues)),
	    'breakers', (select coalesce(jsonb_agg(to_jsonb(b) - 'queue' order by b.destination), '[]')
	        from (select * from jobq.breakers k where k.queue = q.name limit 100) b));
end
$$;

-- The types of a queue of which attempts ended in that time, the busiest first.
create function jobq.api_types(queue text, "window" interval) returns jsonb
language sql stable as $$
	select coalesce(jsonb_agg(to_jsonb(s)), '[]')
	from (
		select k.type, sum(k.completed)::bigint as completed, sum(k.failed + k.dead)::bigint as failed,
		    round(sum(k.failed + k.dead) / nullif(sum(k.completed + k.failed + k.dead), 0), 4) as failure_rate,
		    round(sum(k.run_ms) / nullif(sum(jobq.histogram_count(k.runs)), 0)::float8)::bigint as run_avg_ms,
		    jobq.quantile(jobq.histogram_sum(k.runs), 0.5, max(k.run_max_ms)) as run_p50_ms,
		    jobq.quantile(jobq.histogram_sum(k.runs), 0.95, max(k.run_max_ms)) as run_p95_ms
		from jobq.statistic k
		where k.at > now() - "window" and k.queue = api_types.queue
		    and k.level = any (jobq.levels(case when jobq.api_tenant() is null then 2 else 4 end))
		group by 1 order by sum(k.completed + k.failed + k.dead) desc limit 100
	) s
$$;

-- How a queue ('*': each) stands as to pauses, after one was made or ended.
create function jobq.api_holds(queue text) returns json
language sql stable as $$
	select json_build_object('name', queue,
	    'paused', coalesce((select bool_and(q.paused) from jobq.queue q where queue in ('*', q.name)), false),
	    'held', (select coalesce(json_agg(h order by h.at), '[]') from jobq.holds h
	        where queue = '*' or coalesce(h.queue, queue) = queue))
$$;

create function jobq.api_pause(queue text, reason text, until timestamptz, span interval, type text, tenant text) returns json
language plpgsql as $$
begin
	if queue <> '*' then
		perform jobq.api_queue_get(queue);
	end if;
	if num_nonnulls(until, span) > 1 then
		perform jobq.api_refuse('22023', 'until and for do not go together', field => 'for');
	end if;
	perform jobq.pause(queue, reason, coalesce(until, clock_timestamp() + span), type, tenant);
	return jobq.api_holds(queue);
end
$$;

create function jobq.api_resume(queue text, type text, tenant text) returns json
language plpgsql as $$
begin
	if queue <> '*' then
		perform jobq.api_queue_get(queue);
	end if;
	perform jobq.resume(queue, type, tenant);
	return jobq.api_holds(queue);
end
$$;

-- Whether nothing of a queue is ready or running. Refused is what would never
-- come to that.
create function jobq.api_drained(queue text, out drained boolean, out body json)
language plpgsql stable as $$
declare
	q jobq.queue := jobq.api_queue_get(queue);
	d record;
begin
	select * into d from jobq.depths_about(100, q.id);
	drained := d.ready + d.running = 0;
	body := json_build_object('name', q.name, 'drained', drained, 'ready', d.ready, 'running', d.running);
	if drained or d.ready = 0 then
		return;
	elsif q.paused then
		perform jobq.api_refuse('55000', format('queue "%s" is paused, so its jobs do not run', q.name), 'Resume it first.');
	elsif not exists (select from jobq.serves s join jobq.node n on n.id = s.node
	    where s.queue = q.id and n.seen > now() - interval '1 minute') then
		perform jobq.api_refuse('55000', format('no running jobqd serves queue "%s", so its jobs do not run', q.name));
	end if;
end
$$;

-- Which jobs clear() and clean() are to take, as clear_plan() and clean_plan().
create function jobq.api_clear_plan(queue text, type text, tenant text, state text) returns setof bigint[]
language plpgsql stable as $$
begin
	perform jobq.api_queue_get(queue);
	return query select * from jobq.clear_plan(queue, type, tenant, state);
end
$$;

create function jobq.api_clean_plan(queue text, state text, older_than interval) returns setof bigint[]
language plpgsql stable as $$
begin
	perform jobq.api_queue_get(queue);
	return query select * from jobq.clean_plan(queue, state, coalesce(older_than, '0'));
end
$$;

create function jobq.api_queue_remove(queue text) returns void
language plpgsql as $$
begin
	perform jobq.api_queue_get(queue);
	perform jobq.queue_remove(queue);
end
$$;

-- The named limits, and the breakers that have opened.
create function jobq.api_limits() returns json
language sql stable as $$
	select jobq.api_list(json_agg(l order by l.name)) from jobq.limits l
$$;

create function jobq.api_breakers(queue text, state text) returns json
language sql stable as $$
	select jobq.api_list(json_agg(b order by b.queue, b.destination))
	from (select * from jobq.breakers k
	    where (api_breakers.queue is null or k.queue = api_breakers.queue)
	        and (api_breakers.state is null or k.state = api_breakers.state) limit 1000) b
$$;
