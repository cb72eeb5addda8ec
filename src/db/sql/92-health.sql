-- What the monitor tells: the health file and the daily report.

-- The state of these queues as JSON for the health file. dead_letters: those
-- nobody has reviewed. no_workers: which of the queues should have workers
-- and have none, with commas between; null: all have.
create function jobq.health(names text[], out queues text, out schedules text, out alerts text,
    out dead_letters bigint, out no_workers text)
language plpgsql stable set jit = off as $$
begin
	select coalesce(jsonb_object_agg(q.name, jsonb_build_object('ready', q.ready,
	        'running', q.running, 'failure_rate', f.rate, 'run_avg_ms', r.run,
	        'workers', q.workers, 'paused', q.paused)), '{}'),
	    string_agg(q.name, ', ' order by q.name) filter (where q.workers = 0 and not q.paused)
	into queues, no_workers
	from jobq.queues q
	join jobq.queue k on k.name = q.name
	left join lateral jobq.lately(k.id, interval '5 minutes') f on true
	left join lateral jobq.run_avg_ms(k.id, interval '5 minutes') r(run) on true
	where q.name = any (names);
	select coalesce(jsonb_object_agg(s.name, jsonb_build_object('last_run', s.last_run,
	    'next_run', s.next_run, 'lateness_ms', s.lateness_ms, 'missed', s.missed,
	    'enabled', s.enabled, 'paused', s.paused)), '{}') into schedules
	from jobq.schedules s where s.served;
	select coalesce(jsonb_agg(jsonb_build_object('name', a.name, 'queue', a.queue, 'state', a.state,
	    'value', a.value, 'since', a.since)), '[]') into alerts
	from jobq.alerts a where a.state <> 'ended';
	select count(*) into dead_letters from jobq.dead_letters d where d.reviewed_at is null;
end
$$;

-- How a queue's attempts ended in the last while (to five minutes), and the
-- share of them that failed.
create function jobq.lately(queue_id smallint, "window" interval, out completed bigint,
    out failed bigint, out dead bigint, out cancelled bigint, out lost bigint, out rate float8)
language sql stable as $$
	select coalesce(sum(t.completed), 0)::bigint, coalesce(sum(t.failed), 0)::bigint,
	    coalesce(sum(t.dead), 0)::bigint, coalesce(sum(t.cancelled), 0)::bigint,
	    coalesce(sum(t.lost), 0)::bigint,
	    coalesce(round(sum(t.failed + t.dead) / nullif(sum(t.completed + t.failed + t.dead), 0)::numeric, 4), 0)::float8
	from (
		select * from jobq.total union all
		select queue, at, completed, failed, dead, cancelled, lost from jobq.tally
	) t
	where t.queue = queue_id and t.at > jobq.five_minutes(now() - "window")
$$;

-- How long the latest attempts of a queue ran, on average; of the last 1000.
create function jobq.run_avg_ms(queue_id smallint, "window" interval) returns bigint
language sql stable as $$
	select (avg(extract(epoch from a.finished_at - a.started_at)) * 1000)::bigint
	from (
		select k.started_at, k.finished_at from jobq.claim c, unnest(c.jobs, c.attempts) u(job, attempt)
		join jobq.attempt k on k.job = u.job and k.attempt = u.attempt
		where c.queue = queue_id and c.batch > (jobq.last_claim(queue_id)).batch - 100
		    and k.outcome in (1, 2, 3) and k.finished_at > now() - "window"
		limit 1000
	) a
$$;

-- A line for each queue about the last while.
create function jobq.report("window" interval)
returns table (queue text, completed bigint, failed bigint, dead bigint, cancelled bigint,
    lost bigint, ready bigint, dead_letters bigint, run_avg_ms bigint)
language sql stable as $$
	select q.name, t.completed, t.failed, t.dead, t.cancelled, t.lost, q.ready, q.dead, r.run
	from jobq.queues q
	join jobq.queue k on k.name = q.name
	left join lateral jobq.lately(k.id, "window") t on true
	left join lateral jobq.run_avg_ms(k.id, "window") r(run) on true
	order by q.name
$$;
