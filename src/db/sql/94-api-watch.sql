-- What there is to watch, for the HTTP API: workers, nodes, statistics, history,
-- alerts.

create function jobq.api_workers(node text, queue text, state text, max int, cursor text) returns json
language plpgsql stable as $$
declare
	after text[] := jobq.api_place(cursor, 5);
	items json;
	n int;
	next text;
begin
	select json_agg(to_jsonb(k) - '{slot,job}'::text[] order by k.node, k.queue, k.slot, k.worker, k.job), count(*),
	    (array_agg(jobq.api_cursor(k.node, k.queue, k.slot::text, k.worker, k.job::text)
	        order by k.node desc, k.queue desc, k.slot desc, k.worker desc, k.job desc))[1]
	into items, n, next
	from (
		select w.* from (
			-- one elsewhere has any name, and a line for each of its jobs
			select s.*, coalesce(substring(s.worker from '/(\d{1,9})$')::int, 0) as slot, coalesce(s.job_id, 0) as job
			from jobq.workers s
		) w
		where (api_workers.node is null or w.node = api_workers.node)
		    and (api_workers.queue is null or w.queue = api_workers.queue)
		    and (api_workers.state is null or w.state = api_workers.state)
		    and (after is null or (w.node, w.queue, w.slot, w.worker, w.job) >
		        (after[1], after[2], after[3]::int, after[4], after[5]::bigint))
		order by w.node, w.queue, w.slot, w.worker, w.job limit max
	) k;
	return jobq.api_list(items, case when n = max then next end);
end
$$;

-- uptime_ms; workers, and how many of them are busy; jobs: that its workers have run.
create function jobq.api_nodes() returns json
language sql stable as $$
	select jobq.api_list(json_agg(to_jsonb(n) || jsonb_build_object(
	    'uptime_ms', case when n.alive then (extract(epoch from now() - n.started_at) * 1000)::bigint end,
	    'workers', coalesce(w.workers, 0), 'busy', coalesce(w.busy, 0), 'jobs', coalesce(w.jobs, 0),
	    'rss_kb', w.rss_kb) order by n.name))
	from jobq.nodes n
	left join (
		select k.node, count(*) as workers, count(k.job_id) as busy, sum(k.jobs)::bigint as jobs, sum(k.rss_kb)::bigint as rss_kb
		from jobq.workers k group by 1
	) w on w.node = n.name
$$;

-- How a queue, or a type or tenant (by), did in the time since: from the
-- statistics, and for queues what has come since these were taken; a tenant's
-- share for who is bound to one.
create function jobq.api_ended(since timestamptz, by text)
returns table (name text, completed bigint, failed bigint, dead bigint, cancelled bigint, lost bigint,
    failure_rate numeric, wait_avg_ms bigint, wait_p50_ms bigint, wait_p95_ms bigint, wait_p99_ms bigint,
    run_avg_ms bigint, run_p50_ms bigint, run_p95_ms bigint, run_p99_ms bigint, run_total_ms bigint)
language sql stable set jit = off as $$
	select t.name, t.completed, t.failed, t.dead, t.cancelled, t.lost,
	    round((t.failed + t.dead) / nullif(t.completed + t.failed + t.dead, 0)::numeric, 4),
	    round(t.wait_ms / nullif(jobq.histogram_count(t.waits), 0))::bigint,
	    jobq.quantile(t.waits, 0.5, t.wait_max_ms), jobq.quantile(t.waits, 0.95, t.wait_max_ms),
	    jobq.quantile(t.waits, 0.99, t.wait_max_ms),
	    round(t.run_ms / nullif(jobq.histogram_count(t.runs), 0))::bigint,
	    jobq.quantile(t.runs, 0.5, t.run_max_ms), jobq.quantile(t.runs, 0.95, t.run_max_ms),
	    jobq.quantile(t.runs, 0.99, t.run_max_ms), round(t.run_ms)::bigint
	from (
		select u.name, sum(u.completed)::bigint as completed, sum(u.failed)::bigint as failed, sum(u.dead)::bigint as dead,
		    sum(u.cancelled)::bigint as cancelled, sum(u.lost)::bigint as lost,
		    jobq.histogram_sum(u.waits) as waits, sum(u.wait_ms) as wait_ms, max(u.wait_max_ms) as wait_max_ms,
		    jobq.histogram_sum(u.runs) as runs, sum(u.run_ms) as run_ms, max(u.run_max_ms) as run_max_ms
		from (
			select case by when 'queue' then s.queue when 'type' then s.type else s.tenant end as name,
			    s.completed, s.failed, s.dead, s.cancelled, s.lost, s.waits, s.wait_ms, s.wait_max_ms,
			    s.runs, s.run_ms, s.run_max_ms
			from jobq.statistic s
			where s.at >= since
			    and s.level = any (jobq.levels(case when jobq.api_tenant() is not null or by = 'tenant' then 4
			        when by = 'type' then 2 else 1 end))
			union all
			select e.queue, e.completed, e.failed, e.dead, e.cancelled, e.lost, '{}', 0, null, '{}', 0, null
			from jobq.ends(greatest(since, (select s.at from jobq.statistics_at s)), 'infinity') e
			where by = 'queue' and jobq.api_tenant() is null
		) u group by u.name
	) t
$$;

-- The statistics of the last while:
--   since, until, by
--   items   by queue: a row each with how it stands (as in /v1/queues) and how it
--           did (window; null: nothing ended); open: it is served and not paused.
--           By type or tenant: how it did.
--   total   of all together: by state, and how all did; run_avg_ms is as of the
--           last statistics
--   dead_letters, unreviewed; schedules: total, active, inactive, next_run
create function jobq.api_stats(range interval, by text default 'queue') returns json
language plpgsql stable set jit = off as $$
declare
	till timestamptz := clock_timestamp();
	since timestamptz := jobq.five_minutes(till - coalesce(range, '1 hour'));
	part float8 := jobq.sample_of('jobq.dead');
	items jsonb;
	total jsonb;
	letters jsonb;
	schedules jsonb;
begin
	if by = 'queue' then
		select jsonb_agg((r - '{paused_by,paused_at,paused_until,holds,last_minutes}'::text[]) || jsonb_build_object(
		    'open', (r ->> 'served')::boolean and not (r ->> 'paused')::boolean,
		    'total', (r ->> 'scheduled')::bigint + (r ->> 'blocked')::bigint + (r ->> 'ready')::bigint
		        + (r ->> 'running')::bigint + (r ->> 'retrying')::bigint + (r ->> 'completed')::bigint
		        + (r ->> 'dead')::bigint + (r ->> 'cancelled')::bigint,
		    'window', to_jsonb(e) - 'name') order by r ->> 'name')
		into items
		from (select k::jsonb as r from jobq.api_queue_rows() k) q
		left join jobq.api_ended(since, 'queue') e on e.name = r ->> 'name';
		select jsonb_object_agg(t.key, t.n) into total
		from (
			select v.key, sum(v.value::text::bigint) as n
			from jsonb_array_elements(items) i, jsonb_each(i) v
			where v.key = any ('{scheduled,blocked,ready,running,retrying,completed,dead,cancelled,total,workers,busy}')
			    and v.value <> 'null'
			group by 1
		) t;
	else
		select jsonb_agg(to_jsonb(e) order by e.completed + e.failed + e.dead desc, e.name) into items
		from (select * from jobq.api_ended(since, by) k
		    order by k.completed + k.failed + k.dead desc, k.name limit 1000) e;
	end if;
	select coalesce(total, '{}') || jsonb_build_object('window', jsonb_build_object('completed', coalesce(sum(e.completed), 0),
	    'failed', coalesce(sum(e.failed), 0), 'dead', coalesce(sum(e.dead), 0), 'cancelled', coalesce(sum(e.cancelled), 0),
	    'lost', coalesce(sum(e.lost), 0),
	    'per_second', round(coalesce(sum(e.completed + e.failed + e.dead), 0) / extract(epoch from till - since), 3),
	    'failure_rate', round(sum(e.failed + e.dead) / nullif(sum(e.completed + e.failed + e.dead), 0), 4),
	    'success_rate', round(sum(e.completed) / nullif(sum(e.completed + e.failed + e.dead), 0), 4),
	    'run_avg_ms', round(sum(e.run_total_ms) / sum(e.run_total_ms / nullif(e.run_avg_ms, 0)::numeric))::bigint))
	into total
	from jobq.api_ended(since, 'queue') e;
	select jsonb_build_object('total', round(count(*) * 100 / part), 'unreviewed',
	    round(count(*) filter (where d.reviewed_at is null) * 100 / part))
	into letters
	from jobq.dead d tablesample system (part) join jobq.queue q on q.id = d.queue
	where d.died_at > now() - jobq.ms(q.keep_dead_ms);
	select jsonb_build_object('total', count(*), 'active', count(*) filter (where k.active),
	    'inactive', count(*) filter (where not k.active), 'next_run', min(k.next_run), 'missed', coalesce(sum(k.missed), 0))
	into schedules
	from (select s.enabled and not s.paused and s.served as active, s.next_run, s.missed
	    from jobq.schedules s) k;
	return json_build_object('since', since, 'until', till, 'by', by, 'items', coalesce(items, '[]'), 'total', total,
	    'dead_letters', letters, 'schedules', schedules);
end
$$;

-- How long the longest piece of statistics of that time is.
create function jobq.api_piece(since timestamptz, until timestamptz) returns interval
language plpgsql stable as $$
declare
	mine text := jobq.api_unbind();
	longest interval;
begin
	select max(d.span) into longest from jobq.depth d where d.at >= since and d.at < until;
	perform jobq.api_bind(mine);
	return longest;
end
$$;

-- Time series: see statistics_range(). step null: one that makes 300 of them at most.
-- What of a step is not known is null.
create function jobq.api_metrics(range interval, since timestamptz, until timestamptz, step interval,
    queue text, type text, tenant text, by text) returns json
language plpgsql stable set jit = off as $$
declare
	most constant int := 2000;
	till timestamptz := coalesce(until, clock_timestamp());
	begun timestamptz := coalesce(since, till - coalesce(range, '1 day'));
	span float8 := extract(epoch from till - begun);
	steps int;
	names int;
	items json;
	shortest interval := jobq.api_piece(begun, till);	-- no step is shorter than that
begin
	if since is not null and range is not null then
		perform jobq.api_refuse('22023', 'range and since do not go together', field => 'range');
	elsif span <= 0 then
		perform jobq.api_refuse('22023', 'since is not before until', field => 'since');
	elsif queue is not null then
		perform jobq.queue_get(queue);
	end if;
	perform jobq.own_tenant(tenant);
	if step is null then
		select k into step
		from unnest('{1 minute,5 minutes,15 minutes,1 hour,6 hours,1 day}'::interval[]) k
		where k >= coalesce(shortest, '0') and (span / extract(epoch from k) <= 300 or k = '1 day') order by k limit 1;
	end if;
	step := greatest(step, shortest);
	steps := ceil(span / extract(epoch from step));
	if steps > most then
		perform jobq.api_refuse('22023', format('that is more than %s steps', most), 'Take longer ones, or a shorter range.', 'step');
	end if;
	-- of what is told apart by name the busiest ones, so that it stays in bounds
	names := greatest(1, 20000 / steps);
	select json_agg(r order by r.at, r.name) into items
	from jobq.statistics_range(begun, till, step, api_metrics.queue, api_metrics.type,
	    api_metrics.tenant, coalesce(api_metrics.by, '')) r
	where api_metrics.by is null or r.name in (
		select e.name from jobq.api_ended(begun, api_metrics.by) e
		order by e.completed + e.failed + e.dead desc, e.name limit names);
	return json_build_object('since', begun, 'until', till, 'step_ms', (extract(epoch from step) * 1000)::bigint, 'by', by, 'items', coalesce(items, '[]'));
end
$$;

-- The reasons for which attempts failed, the most frequent first.
create function jobq.api_errors(range interval, queue text, type text, class text, max int) returns json
language sql stable as $$
	select jobq.api_list(json_agg(e order by e.count desc, e.queue, e.fingerprint))
	from (
		select k.queue, k.type, k.class, k.fingerprint, sum(k.count)::bigint as count, max(k.error) as error,
		    min(k.at) as first_at, max(k.at) as last_at
		from jobq.errors k
		where k.at >= now() - coalesce(range, '1 day')
		    and (api_errors.queue is null or k.queue = api_errors.queue)
		    and (api_errors.type is null or k.type = api_errors.type)
		    and (api_errors.class is null or k.class = api_errors.class)
		group by 1, 2, 3, 4 order by 5 desc limit max
	) e
$$;

-- Attempts that ended a job, or in another way that is asked for, the last ones
-- first; also of jobs that are gone. How far it has to look back for a page it
-- takes from the counts of what ended when; types and tenants it has to look for,
-- and gives up after half a second: then a page has less than it was asked for,
-- and is still followed by another.
create function jobq.api_history(queue text, type text, tenant text, state text, since timestamptz,
    until timestamptz, max int, cursor text) returns json
language plpgsql stable
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
declare
	place text[] := jobq.api_place(cursor, 3);
	began timestamptz := clock_timestamp();
	high timestamptz := coalesce(place[1]::timestamptz, until, began);
	low timestamptz;
	lowest timestamptz := since;
	horizon interval := '1 day';
	want bigint := max * case num_nonnulls(type, tenant, jobq.api_tenant()) when 0 then 1 else 4 end;
	outcomes int[] := case state when 'completed' then '{1}' when 'failed' then '{2}' when 'dead' then '{3}'
	    when 'cancelled' then '{4}' when 'lost' then '{5}' else '{1,3,4}' end;
	queue_id smallint;
	items json;
	n int;
	last text;
begin
	if queue is not null then
		queue_id := (jobq.queue_get(queue)).id;
	end if;
	perform jobq.own_tenant(tenant);
	if lowest is null then
		select least(min(a.made_at), began) - interval '1 minute' into lowest from jobq.part a;
	end if;
	loop
		low := jobq.api_ended_since(high, greatest(lowest, high - horizon), want, queue, outcomes);
		select json_agg(to_jsonb(k) - 'instant' order by k.instant desc, k.id desc, k.attempt desc), count(*),
		    (array_agg(jobq.api_cursor(k.instant::text, k.id::text, k.attempt::text)
		        order by k.instant, k.id, k.attempt))[1]
		into items, n, last
		from (
			select a.job as id, q.name as queue, j.type, jobq.outcome_name(a.outcome) as state, j.tenant, j.tags, a.attempt,
			    nullif(jobq.class_name(a.class), '') as error_class, left(a.error, 2000) as error, a.result,
			    j.created_at, a.started_at, a.finished_at, a.finished_at as instant,
			    (extract(epoch from a.finished_at - a.started_at) * 1000)::bigint as run_ms,
			    n.name as node, q.name || '/' || a.worker as worker
			from (
				select * from jobq.attempt k
				where k.finished_at >= low and k.finished_at <= high and k.outcome = any (outcomes)
				    and (queue_id is null or k.queue = queue_id)
				union all
				select * from jobq.history k
				where k.finished_at >= low and k.finished_at <= high and k.outcome = any (outcomes)
				    and (queue_id is null or k.queue = queue_id)
			) a
			left join lateral (select * from jobq.job k where k.id = a.job limit 1) j on true
			left join jobq.queue q on q.id = a.queue
			left join jobq.node n on n.id = a.node
			where (place is null or (a.finished_at, a.job, a.attempt) < (place[1]::timestamptz, place[2]::bigint, place[3]::smallint))
			    and (api_history.type is null or j.type = api_history.type)
			    and (api_history.tenant is null or j.tenant = api_history.tenant)
			order by a.finished_at desc, a.job desc, a.attempt desc limit max
		) k;
		exit when n = max or low <= lowest;
		if clock_timestamp() > began + interval '500 ms' then
			return jobq.api_list(items, jobq.api_cursor(low::text, '0', '0'));
		end if;
		want := want * 8;
		horizon := horizon * 8;
	end loop;
	return jobq.api_list(items, case when n = max then last end);
end
$$;

-- Since when about so many attempts, whosever they are, ended before `high`, by the
-- counts, and not before `low`.
create function jobq.api_ended_since(high timestamptz, low timestamptz, want bigint, queue text, outcomes int[])
returns timestamptz
language plpgsql stable as $$
declare
	mine text := jobq.api_unbind();
	since timestamptz;
begin
	-- of a piece that has many more the last part will do
	select case when k.n > 20 * want then k.till - (k.till - k.at) * (4 * want / k.n::float8) else k.at end
	into since
	from (
		select e.at, e.n, sum(e.n) over (order by e.at desc) as upto, lag(e.at, 1, high) over (order by e.at desc) as till
		from (
			select p.at, sum(case when 1 = any (outcomes) then p.completed else 0 end
			    + case when 2 = any (outcomes) then p.failed else 0 end + case when 3 = any (outcomes) then p.dead else 0 end
			    + case when 4 = any (outcomes) then p.cancelled else 0 end
			    + case when 5 = any (outcomes) then p.lost else 0 end) as n
			from jobq.ends(low, high) p
			where api_ended_since.queue is null or p.queue = api_ended_since.queue
			group by p.at
		) e
	) k where k.upto >= want order by k.at desc limit 1;
	perform jobq.api_bind(mine);
	return greatest(low, coalesce(since, low));
end
$$;

-- What is paused of which queues.
create function jobq.api_all_holds() returns json
language sql stable as $$
	select jobq.api_list(json_agg(h order by h.at desc)) from jobq.holds h
$$;

-- All there is that the database knows: see inventory(). What of it concerns a
-- tenant, with how many of each, where the caller is bound to one.
create function jobq.api_inventory() returns jsonb
language plpgsql stable as $$
declare
	all_ jsonb := jobq.inventory();
begin
	if jobq.api_tenant() is null then
		return all_;
	end if;
	-- nothing of the configuration
	all_ := jsonb_build_object(
	    'queues', (select coalesce(jsonb_agg(jsonb_build_object('name', q ->> 'name', 'paused', q -> 'paused',
	        'served', q -> 'served')), '[]') from jsonb_array_elements(all_ -> 'queues') q),
	    'types', all_ -> 'types', 'schedules', all_ -> 'schedules', 'workflows', all_ -> 'workflows');
	return all_ || jsonb_build_object('counts', (
	    select jsonb_object_agg(e.key, jsonb_array_length(e.value)) from jsonb_each(all_) e));
end
$$;

-- Alerts, the newest first.
create function jobq.api_alerts(name text, queue text, state text, max int, cursor text) returns json
language plpgsql stable as $$
declare
	place text[] := jobq.api_place(cursor, 3);
	items json;
	n int;
	last text;
begin
	select json_agg(to_jsonb(k) order by k.since desc, k.name, k.queue), count(*),
	    (array_agg(jobq.api_cursor(k.since::text, k.name, coalesce(k.queue, ''))
	        order by k.since, k.name desc, coalesce(k.queue, '') desc))[1]
	into items, n, last
	from (
		select * from jobq.alerts a
		where (api_alerts.name is null or a.name = api_alerts.name)
		    and (api_alerts.queue is null or a.queue = api_alerts.queue)
		    and (api_alerts.state is null or a.state = api_alerts.state
		        or (api_alerts.state = 'live' and a.state <> 'ended'))
		    and (place is null or a.since < place[1]::timestamptz or (a.since = place[1]::timestamptz
		        and (a.name, coalesce(a.queue, '')) > (place[2], place[3])))
		order by a.since desc, a.name, coalesce(a.queue, '') limit max
	) k;
	return jobq.api_list(items, case when n = max then last end);
end
$$;

-- A rule as it is in force, what is live of it, what is silenced, and the last
-- hundred times that it fired.
create function jobq.api_alert(name text) returns jsonb
language plpgsql stable as $$
declare
	row jsonb;
begin
	select to_jsonb(r) || jsonb_build_object(
	    'live', (select coalesce(jsonb_agg(a order by a.queue), '[]') from jobq.alerts a
	        where a.name = r.name and a.state <> 'ended'),
	    'silences', (select coalesce(jsonb_agg(s order by s.until), '[]') from jobq.silences s
	        where coalesce(s.name, r.name) = r.name),
	    'history', (select coalesce(jsonb_agg(h order by h.since desc), '[]')
	        from (select * from jobq.alerts a where a.name = r.name and a.state = 'ended' order by a.since desc limit 100) h))
	into row
	from jobq.alert_rules r where r.name = api_alert.name;
	if row is null then
		perform jobq.api_refuse('P0002', format('there is no alert "%s"', left(name, 63)), '/v1/alert-rules has those there are.');
	end if;
	return row;
end
$$;

create function jobq.api_alert_rules() returns json
language sql stable as $$
	select jobq.api_list(json_agg(r order by r.name)) from jobq.alert_rules r
$$;

-- What is not given stays as it is, a JSON null is the configuration's again.
create function jobq.api_alert_set(name text, above jsonb, below jsonb, clear jsonb, "for" jsonb, "window" jsonb,
    min_jobs jsonb, severity jsonb, repeat jsonb) returns jsonb
language plpgsql as $$
declare
	changes jsonb;
begin
	perform jobq.api_alert(name);
	select jsonb_object_agg(c.key, c.value) into changes
	from (values ('above', above), ('below', below), ('clear', clear), ('for', "for"), ('window', "window"),
	    ('min_jobs', min_jobs), ('severity', severity), ('repeat', repeat)) c(key, value)
	where c.value is not null;
	if changes is null then
		perform jobq.api_refuse('22023', 'there is nothing to change', 'As in {"above": "2000", "for": "1m"}.');
	end if;
	perform jobq.alert_set(name, changes);
	return jobq.api_alert(name);
end
$$;

create function jobq.api_alert_reset(name text) returns jsonb
language plpgsql as $$
begin
	perform jobq.api_alert(name);
	perform jobq.alert_reset(name);
	return jobq.api_alert(name);
end
$$;

create function jobq.api_alert_ack(name text, queue text, note text) returns jsonb
language plpgsql as $$
begin
	perform jobq.api_alert(name);
	if jobq.alert_ack(name, queue, null, coalesce(note, '')) = 0 then
		perform jobq.api_refuse('55000', format('alert "%s" does not fire', name));
	end if;
	return jobq.api_alert(name);
end
$$;

-- name '*': of all alerts.
create function jobq.api_alert_silence(name text, queue text, until timestamptz, span interval, reason text) returns json
language plpgsql as $$
begin
	if name <> '*' then
		perform jobq.api_alert(name);
	end if;
	if num_nonnulls(until, span) <> 1 then
		perform jobq.api_refuse('22023', 'one of for and until is needed', field => 'for');
	end if;
	perform jobq.alert_silence(name, coalesce(until, clock_timestamp() + span), queue, coalesce(reason, ''));
	return jobq.api_silences();
end
$$;

create function jobq.api_alert_unsilence(name text, queue text) returns json
language plpgsql as $$
begin
	if not jobq.alert_unsilence(name, queue) then
		perform jobq.api_refuse('P0002', format('alert "%s"%s is not silenced', left(name, 63),
		    coalesce(format(' of queue "%s"', left(queue, 63)), '')));
	end if;
	return jobq.api_silences();
end
$$;

create function jobq.api_silences() returns json
language sql stable as $$
	select jobq.api_list(json_agg(s order by s.until)) from jobq.silences s
$$;

create function jobq.api_checkup() returns json
language sql stable as $$
	select jobq.api_list(json_agg(c)) from jobq.checkup(clock_timestamp()) c
$$;
