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

-- How attempts ended from since on, until `until`: from the statistics, where
-- they were taken, after that from the counts that they are taken from. Both
-- are pieces of some minutes, so it is right to the length of one.
create function jobq.ends(since timestamptz, until timestamptz)
returns table (at timestamptz, queue text, completed bigint, failed bigint, dead bigint, cancelled bigint, lost bigint)
language sql stable as $$
	select s.at, s.queue, s.completed, s.failed, s.dead, s.cancelled, s.lost
	from jobq.statistic s
	where s.at >= since and s.at < until
	union all
	select t.at, q.name, t.completed, t.failed, t.dead, t.cancelled, t.lost
	from (
		select * from jobq.total union all
		select queue, at, completed, failed, dead, cancelled, lost from jobq.tally
	) t
	join jobq.queue q on q.id = t.queue
	where t.at >= greatest(since, jobq.at_us(jobq.fact('jobq.statistics_at'))) and t.at < until
$$;

create function jobq.ends_by_queue(since timestamptz, until timestamptz)
returns table (queue text, completed bigint, failed bigint, dead bigint, cancelled bigint, lost bigint, rate float8)
language sql stable as $$
	select e.queue, sum(e.completed)::bigint, sum(e.failed)::bigint, sum(e.dead)::bigint, sum(e.cancelled)::bigint,
	    sum(e.lost)::bigint, round(sum(e.failed + e.dead) / nullif(sum(e.completed + e.failed + e.dead), 0), 4)::float8
	from jobq.ends(since, until) e group by e.queue
$$;

-- All that a report of the last while tells, most important things first:
--   since, until
--   queues         name, completed, failed (and tried again), dead, cancelled,
--                  lost, failure_rate, wait_p50_ms p95 p99, run_avg_ms p50 p95
--                  p99, ready, oldest_ready_ms, dead_letters (nobody has
--                  reviewed), before: completed, failed, dead, failure_rate
--                  of the while before
--   types          the ten with most attempts: queue, type, completed, failed,
--                  dead, failure_rate, run_p50_ms, run_p95_ms
--   errors         the ten most frequent: queue, type, class, fingerprint,
--                  error, count
--   schedules      that missed an instant at any time or are late: name, queue,
--                  last_run, next_run, lateness_ms, missed
--   dead_letters   nobody has reviewed
--   series         at, completed, failed: of each hour; of days beyond four
create function jobq.report_json("window" interval default '1 day') returns jsonb
language plpgsql stable set jit = off as $$
declare
	till timestamptz := clock_timestamp();
	since timestamptz := jobq.five_minutes(till - "window");
	step interval := case when "window" > '4 days' then '1 day' else '1 hour' end;
begin
	return jsonb_build_object('since', since, 'until', till, 'step', extract(epoch from step)::int,
	    'queues', jobq.report_queues(since, till), 'types', jobq.report_types(since),
	    'errors', (
		select coalesce(jsonb_agg(e order by e.count desc, e.queue, e.fingerprint), '[]')
		from (
			select k.queue, k.type, k.class, k.fingerprint, max(k.error) as error, sum(k.count)::bigint as count
			from jobq.errors k where k.at >= since
			group by 1, 2, 3, 4 order by 6 desc limit 10
		) e),
	    'schedules', (
		select coalesce(jsonb_agg(jsonb_build_object('name', s.name, 'queue', s.queue, 'last_run', s.last_run,
		    'next_run', s.next_run, 'lateness_ms', s.lateness_ms, 'missed', s.missed) order by s.name), '[]')
		from jobq.schedules s
		where s.served and (s.missed > 0 or s.lateness_ms > 10000
		    or s.enabled and not s.paused and s.next_run < till - interval '10 seconds')),
	    'dead_letters', (select count(*) from jobq.dead_letters d where d.reviewed_at is null),
	    'series', (
		select coalesce(jsonb_agg(jsonb_build_object('at', t.at, 'completed', coalesce(e.completed, 0),
		    'failed', coalesce(e.failed, 0)) order by t.at), '[]')
		from generate_series(since, till - interval '1 microsecond', step) t(at)
		left join (
			select date_bin(step, k.at, since) as at, sum(k.completed)::bigint as completed,
			    sum(k.failed + k.dead)::bigint as failed
			from jobq.ends(since, till) k group by 1
		) e on e.at = t.at));
end
$$;

create function jobq.report_queues(since timestamptz, till timestamptz) returns jsonb
language sql stable as $$
	select coalesce(jsonb_agg(jsonb_build_object('name', q.name,
	    'completed', coalesce(e.completed, 0), 'failed', coalesce(e.failed, 0), 'dead', coalesce(e.dead, 0),
	    'cancelled', coalesce(e.cancelled, 0), 'lost', coalesce(e.lost, 0), 'failure_rate', coalesce(e.rate, 0),
	    'wait_p50_ms', jobq.quantile(s.waits, 0.5, s.wait_max_ms),
	    'wait_p95_ms', jobq.quantile(s.waits, 0.95, s.wait_max_ms),
	    'wait_p99_ms', jobq.quantile(s.waits, 0.99, s.wait_max_ms),
	    'run_avg_ms', round(s.run_ms / nullif(jobq.histogram_count(s.runs), 0))::bigint,
	    'run_p50_ms', jobq.quantile(s.runs, 0.5, s.run_max_ms),
	    'run_p95_ms', jobq.quantile(s.runs, 0.95, s.run_max_ms),
	    'run_p99_ms', jobq.quantile(s.runs, 0.99, s.run_max_ms),
	    'ready', q.ready, 'oldest_ready_ms', (extract(epoch from till - q.oldest_ready_at) * 1000)::bigint,
	    'dead_letters', (select count(*) from jobq.dead_letters d where d.queue = q.name and d.reviewed_at is null),
	    'before', jsonb_build_object('completed', coalesce(b.completed, 0), 'failed', coalesce(b.failed, 0),
	        'dead', coalesce(b.dead, 0), 'failure_rate', coalesce(b.rate, 0))) order by q.name), '[]')
	from jobq.queues q
	left join jobq.ends_by_queue(since, till) e on e.queue = q.name
	left join jobq.ends_by_queue(since - (till - since), since) b on b.queue = q.name
	left join (
		select k.queue, jobq.histogram_sum(k.waits) as waits, max(k.wait_max_ms) as wait_max_ms,
		    jobq.histogram_sum(k.runs) as runs, sum(k.run_ms) as run_ms, max(k.run_max_ms) as run_max_ms
		from jobq.statistic k where k.at >= since group by 1
	) s on s.queue = q.name
$$;

create function jobq.report_types(since timestamptz) returns jsonb
language sql stable as $$
	select coalesce(jsonb_agg(jsonb_build_object('queue', t.queue, 'type', t.type, 'completed', t.completed,
	    'failed', t.failed, 'dead', t.dead, 'failure_rate', round((t.failed + t.dead) / t.all_of_them, 4),
	    'run_p50_ms', jobq.quantile(t.runs, 0.5, t.run_max_ms),
	    'run_p95_ms', jobq.quantile(t.runs, 0.95, t.run_max_ms)) order by t.all_of_them desc), '[]')
	from (
		select s.queue, s.type, sum(s.completed) as completed, sum(s.failed) as failed, sum(s.dead) as dead,
		    sum(s.completed + s.failed + s.dead) as all_of_them,
		    jobq.histogram_sum(s.runs) as runs, max(s.run_max_ms) as run_max_ms
		from jobq.statistic s where s.at >= since
		group by 1, 2 having sum(s.completed + s.failed + s.dead) > 0 order by 6 desc limit 10
	) t
$$;
