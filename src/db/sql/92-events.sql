-- Live events: what has happened since somebody last looked, for as long as
-- somebody looks. The api asks once a second, however many clients it has; when
-- it has none, nothing is asked, and nothing is written for it.
--
-- A look goes from one snapshot to the next, so that a transaction that commits
-- late is told then, and none twice. Each change of a job's state is read where
-- it stands in any case, and only its newest part:
--
--	scheduled, blocked	job, by ids: those above the highest one that was
--				seen, and in the gaps below
--	ready			turn, by transaction ids
--	running			claim, whose batches of a queue commit in order
--	how a run ended		attempt, of the runs that were told and have not
--				ended
--	ended while it waited	event, which is written only while somebody listens
--
-- What a look is to go on with is in its cursor, which nobody else reads:
--
--	snapshot	that everything before was told of
--	top		the highest id of a job that was seen
--	gaps, aging	ids below it that were not seen, and may still be: of
--			transactions that run, or were rolled back
--	mark, marked	aging are gaps from before this transaction, and instant
--	claims		the last batch of each queue
--	jobs, attempts,	the runs that have not ended: four arrays
--	pools, batches
--	queues, alerts,	as they were told
--	schedules

create type jobq.happening as (
	at timestamptz,		-- null: not known
	job bigint,
	rank int,		-- in the order of the states of a job: 8 × attempt and so on
	attempt smallint,	-- as the view jobs has it in this state
	state text,
	queue smallint,
	type text,		-- of the job, if that may be gone, and its tenant
	tenant text,
	more jsonb		-- members of the event
);

-- Keep for who listens that a job that waits is in this state from now on, or,
-- without a job, that many are.
create function jobq.event_add(queue_id smallint, state text, job bigint default null,
    attempt smallint default 0) returns void
language plpgsql as $$
begin
	if jobq.fact('jobq.listened') > jobq.us(clock_timestamp()) then
		insert into jobq.event (queue, job, attempt, type, tenant, state)
		select queue_id, event_add.job, event_add.attempt, j.type, j.tenant, event_add.state
		from (select) one left join jobq.job j on j.id = event_add.job;
	end if;
end
$$;

-- Somebody listens, for a minute at least; what was told is removed.
create function jobq.events_listen() returns void
language plpgsql as $$
declare
	now_us bigint := jobq.us(clock_timestamp());
begin
	if jobq.fact('jobq.listened') < now_us + 30000000 then
		perform setval('jobq.listened', now_us + 60000000);
		delete from jobq.event e where e.at < clock_timestamp() - interval '1 minute';
	end if;
end
$$;

-- A cursor of the moment: as if everything had been told.
create function jobq.events_cursor() returns jsonb
language plpgsql stable
set enable_seqscan = off set jit = off as $$
declare
	s pg_snapshot := pg_current_snapshot();
	top bigint := coalesce((select j.id from jobq.job j order by j.id desc limit 1), 0);
	runs jsonb;
begin
	select jsonb_build_object('jobs', coalesce(array_agg(l.job)::text, '{}'), 'attempts', coalesce(array_agg(l.attempt)::text, '{}'),
	    'pools', coalesce(array_agg(l.pool)::text, '{}'), 'batches', coalesce(array_agg(l.batch)::text, '{}'))
	into runs from (select * from jobq.lease limit jobq.events_runs()) l;
	return runs || jsonb_build_object('snapshot', s, 'top', top,
	    -- who has one of the last ids may still be at work
	    'gaps', int8multirange(int8range(greatest(1, top - 1000), top + 1))
	        - coalesce((select range_agg(int8range(j.id, j.id, '[]')) from jobq.job j where j.id >= top - 1000), '{}'),
	    'aging', '{}', 'mark', pg_snapshot_xmax(s), 'marked', jobq.us(clock_timestamp()),
	    'claims', coalesce((select jsonb_object_agg(q.id, coalesce((jobq.last_claim(q.id)).batch, 0)) from jobq.queue q), '{}'),
	    'queues', jobq.events_queues(), 'alerts', jobq.events_alerts(array[]::bigint[]),
	    'schedules', jobq.events_schedules());
end
$$;

-- Of so many runs at most the ends are told.
create function jobq.events_runs() returns int
language sql immutable parallel safe as $$ select 20000 $$;

-- What an event of a queue tells, but for the counts, as name → object.
create function jobq.events_queues() returns jsonb
language sql stable as $$
	select coalesce(jsonb_object_agg(q.name, jsonb_build_object('paused', q.paused, 'pause_reason', q.pause_reason,
	    'holds', (select count(*) from jobq.hold h where h.queue in (0, q.id)))), '{}')
	from jobq.queue q
$$;

-- The alerts that have begun and not ended, as id → object, and of those that
-- have ended these.
create function jobq.events_alerts(ended bigint[]) returns jsonb
language sql stable as $$
	select coalesce(jsonb_object_agg(a.id, jsonb_build_object('name', a.name, 'queue', nullif(a.queue, ''),
	    'state', case when a.ended_at is not null then 'ended' when s.silenced then 'silenced'
	        when a.acknowledged_by is not null then 'acknowledged' else 'firing' end,
	    'severity', a.severity, 'value', a.value, 'since', a.since)), '{}')
	from jobq.alert a
	cross join lateral (select exists (select from jobq.silence k where k.name in ('*', a.name)
	    and k.queue in ('', a.queue) and k.until > now()) as silenced) s
	where a.fired_at is not null and (a.ended_at is null or a.id = any (ended))
$$;

-- What events of schedules tell, as name → object; of up to 300, since with more
-- something happens all the time.
create function jobq.events_schedules() returns jsonb
language sql stable as $$
	select case when count(*) between 1 and 300 then jsonb_object_agg(s.name, jsonb_build_object('name', s.name,
	    'queue', q.name, 'enabled', s.enabled, 'paused', s.paused, 'last_run', s.last_run, 'next_run', s.next_run,
	    'last_job_id', s.last_jobs[cardinality(s.last_jobs)])) else '{}' end
	from (select * from jobq.schedule limit 301) s join jobq.queue q on q.id = s.queue
$$;

-- The turns that have come since a snapshot, at most so many.
create function jobq.events_turns(since pg_snapshot, s pg_snapshot, most int)
returns table (queue smallint, job bigint, attempt smallint)
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off set jit = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
	return query
	with recursive lanes as (
		(select t.queue, t.lane from jobq.turn t order by t.queue, t.lane limit 1)
		union all
		select k.queue, k.lane from lanes l, lateral (
			select t.queue, t.lane from jobq.turn t
			where (t.queue, t.lane) > (l.queue, l.lane)
			order by t.queue, t.lane limit 1) k
	)
	-- twice what maintain() has copied
	select distinct l.queue, t.job, t.attempt
	from lanes l, lateral (
		(select t.job, t.attempt from jobq.turn t
		where t.queue = l.queue and t.lane = l.lane and t.xid >= pg_snapshot_xmax(since)
		order by t.xid, t.job limit most)
		union all
		select t.job, t.attempt from pg_snapshot_xip(since) x, lateral (
			select * from jobq.turn t
			where t.queue = l.queue and t.lane = l.lane and t.xid = x
			order by t.job limit most) t
		where pg_visible_in_snapshot(x, s)
	) t
	limit most;
end
$$;

-- How a queue stands, as its event has it.
create function jobq.events_queue(name text, told jsonb) returns jsonb
language plpgsql stable as $$
declare
	q smallint := (select k.id from jobq.queue k where k.name = events_queue.name);
	r record;
begin
	if q is null then
		return jsonb_build_object('queue', name, 'removed', true);
	end if;
	select * into r from jobq.ready_about(q, 1000);
	return jsonb_build_object('queue', name, 'ready', r.ready, 'estimated', not r.exact,
	    'running', (select count(*) from jobq.lease l where l.queue = q)) || told;
end
$$;

-- What has happened since the cursor (null: nothing yet), in order, and in the
-- last row, as event `cursor`, what to go on with.
--   event   job, queue, alert, schedule; skipped: too much has happened at once (more than
--           `most` of one kind), so that jobs (of the queue, null: of any) are
--           not told of one by one, and whoever shows them must look anew
--   queue, type, state, tenant, job   what the event is of; null: nothing
create function jobq.events_since(cursor jsonb, most int default 1000)
returns table (event text, queue text, type text, state text, tenant text, job bigint, data jsonb)
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off set jit = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
	s pg_snapshot := pg_current_snapshot();
	since pg_snapshot := cursor ->> 'snapshot';
	gaps int8multirange := cursor ->> 'gaps';
	aging int8multirange := cursor ->> 'aging';
	seen int8multirange;
	low bigint := cursor ->> 'top';
	top bigint;
	n bigint[] := '{}';	-- how many of each kind
	told jobq.happening[] := '{}';
	more jobq.happening[];
	runs jsonb;
	back bigint[];		-- jobs that were claimed and given back, to be ready
	many smallint[];	-- queues of which much happened
	queues jsonb := jobq.events_queues();
	alerts jsonb;
	schedules jsonb := jobq.events_schedules();
	over boolean;
begin
	if cursor is null then
		event := 'cursor';
		data := jobq.events_cursor();
		return next;
		return;
	end if;

	-- jobs that were made to wait
	select n || count(*), greatest(low, max(j.id)), coalesce(range_agg(int8range(j.id, j.id, '[]')), '{}'),
	    array_agg((j.created_at, j.id, 0, 0, j.state, j.queue, null, null, jsonb_build_object('run_at', coalesce(j.due, j.run_at)))
	        ::jobq.happening) filter (where j.state is not null)
	into n, top, seen, more
	from (
		select k.*, t.run_at as due, case when b.job is not null then 'blocked'
		    -- or it has its turn already
		    when t.job is not null or k.after is null and k.run_at > k.created_at then 'scheduled' end as state
		from (
			select k.* from unnest(gaps + aging + int8multirange(int8range(low, 9223372036854775807, '()'))) r(ids),
			lateral (select * from jobq.job j where j.id >= lower(r.ids) and j.id < upper(r.ids)
			    order by j.id limit most + 1) k
			limit most + 1
		) k
		left join lateral (select * from jobq.timer t where t.job = k.id and t.attempt = 1
		    and num_nonnulls(k.run_at, k.after) > 0 limit 1) t on true
		left join lateral (select * from jobq.blocked b where b.job = k.id and k.after is not null limit 1) b on true
	) j;
	told := told || more;
	gaps := gaps + int8multirange(int8range(low, top, '(]')) - seen;
	aging := aging - seen;
	n := n || (select count(*) from unnest(gaps + aging)) / 10;
	-- a job's id may be taken a moment before its transaction has one
	if pg_snapshot_xmin(s) >= (cursor ->> 'mark')::xid8
	    and jobq.us(clock_timestamp()) > (cursor ->> 'marked')::bigint + 10000000 then
		cursor := cursor || jsonb_build_object('mark', pg_snapshot_xmax(s), 'marked', jobq.us(clock_timestamp()));
		aging := gaps;
		gaps := '{}';
	end if;

	-- jobs that are ready
	select n || count(*), array_agg((null, t.job, 8 * t.attempt + 1, t.attempt - 1, 'ready', t.queue, null, null, '{}')::jobq.happening)
	into n, more
	from jobq.events_turns(since, s, most + 1) t;
	told := told || more;

	-- runs that began, ended, or were given back and wait; of one that was claimed
	-- twice, since the server had crashed, the second counts
	with claimed as materialized (
		select c.queue, c.pool, c.batch, c.at, u.job, u.attempt
		from jobq.queue q
		cross join lateral (select coalesce((jobq.last_claim(q.id)).batch, 0) as batch offset 0) l
		cross join lateral (
			select * from jobq.claim k
			where k.queue = q.id and k.batch > least(l.batch, coalesce((cursor #>> array['claims', q.id::text])::bigint, 0))
			order by k.batch limit most + 1) c
		cross join unnest(c.jobs, c.attempts) u(job, attempt)
		limit most + 1
	), r as (
		select distinct on (k.job, k.attempt) k.* from (
			select c.job, c.attempt, c.pool, c.batch from claimed c
			union all
			select * from unnest((cursor ->> 'jobs')::bigint[], (cursor ->> 'attempts')::smallint[],
			    (cursor ->> 'pools')::bigint[], (cursor ->> 'batches')::bigint[])
		) k
		order by k.job, k.attempt, k.batch desc
	), e as materialized (
		select r.*, a.queue, a.outcome, a.class, a.finished_at, a.outcome in (4, 6) and a.pool is null as waited,
		    x.job is not null as back, t.run_at, coalesce(a.queue, t.queue) as queue_id
		from r
		left join lateral (select * from jobq.attempt k where k.job = r.job and k.attempt = r.attempt limit 1) a on true
		left join lateral (select * from jobq.released k where a.job is null and k.pool = r.pool and k.job = r.job
		    and k.attempt = r.attempt and k.batch >= r.batch limit 1) x on true
		left join lateral (select * from jobq.timer k where k.job = r.job
		    and (x.job is not null or a.outcome in (2, 5)) limit 1) t on true
	)
	select n || array[(select count(*) from claimed), count(*) filter (where e.outcome is null and not e.back) * most / jobq.events_runs()],
	    array_agg((e.finished_at, e.job, 8 * e.attempt + 3, case when e.back then e.attempt - 1 else e.attempt end,
	        case e.outcome when 1 then 'completed' when 3 then 'dead' when 4 then 'cancelled' when 6 then 'deleted'
	            else case when e.back and e.attempt = 1 then 'scheduled' else 'retrying' end end,
	        e.queue_id, null, null, jsonb_strip_nulls(jsonb_build_object(
	            'error_class', nullif(jobq.class_name(e.class), ''), 'run_at', e.run_at)))::jobq.happening)
	        filter (where e.outcome is not null and not e.waited or e.back and e.run_at is not null)
	    || (select array_agg((c.at, c.job, 8 * c.attempt + 2, c.attempt, 'running', c.queue, null, null, '{}')::jobq.happening) from claimed c),
	    array_agg(e.job) filter (where e.back and e.run_at is null),
	    jsonb_build_object('jobs', coalesce((array_agg(e.job) filter (where e.outcome is null and not e.back))::text, '{}'),
	        'attempts', coalesce((array_agg(e.attempt) filter (where e.outcome is null and not e.back))::text, '{}'),
	        'pools', coalesce((array_agg(e.pool) filter (where e.outcome is null and not e.back))::text, '{}'),
	        'batches', coalesce((array_agg(e.batch) filter (where e.outcome is null and not e.back))::text, '{}'))
	into n, more, back, runs
	from e;
	told := told || more;

	-- jobs that ended, or were given more time, while they waited
	select n || count(*), array_agg((e.at, e.job, 8 * e.attempt + 4, e.attempt, e.state, e.queue, e.type, e.tenant, '{}')
	        ::jobq.happening) filter (where e.job is not null),
	    coalesce(array_agg(distinct e.queue) filter (where e.job is null), '{}')
	into n, more, many
	from (select * from jobq.event e where not pg_visible_in_snapshot(e.xid, since) limit most + 1) e;
	told := told || more;

	-- … or the cluster is another one, brought back from an earlier time
	over := most < any (n) or pg_snapshot_xmax(s) < pg_snapshot_xmax(since);
	if over then
		return query select 'skipped', null, null, null, null, null::bigint, '{}'::jsonb;
		many := many || array(select distinct t.queue from unnest(told) t);
	else
		return query
		select 'job', q.name, t.type, t.state, t.tenant, t.job, jsonb_build_object('id', t.job, 'queue', q.name,
		    'type', t.type, 'state', t.state, 'tenant', t.tenant, 'attempt', t.attempt,
		    'at', coalesce(t.at, t.no_later, clock_timestamp())) || t.more
		from (	-- no_later: than what came after it
			select t.*, min(t.at) over (partition by t.job order by t.rank desc rows unbounded preceding) as no_later
			from (
				select coalesce(t.at, case when t.rank = 9 and num_nonnulls(j.run_at, j.after) = 0 then j.created_at end) as at,
				    t.rank + case when t.state = 'ready' and t.job = any (back) then 4 else 0 end as rank,
				    coalesce(t.type, j.type) as type, coalesce(t.tenant, j.tenant) as tenant,
				    t.job, t.attempt, t.state, t.queue, t.more
				from unnest(told) t
				left join lateral (select * from jobq.job j where j.id = t.job limit 1) j on true
			) t
		) t
		left join jobq.queue q on q.id = t.queue
		order by coalesce(t.no_later, clock_timestamp()), t.rank, t.job;
		return query
		select 'skipped', q.name, null, null, null, null::bigint, jsonb_build_object('queue', q.name)
		from jobq.queue q where q.id = any (many);
	end if;

	return query
	select 'queue', k.name, null, null, null, null::bigint, jobq.events_queue(k.name, queues -> k.name)
	from (
		select coalesce(a.key, b.key) as name
		from jsonb_each(queues) a full join jsonb_each(cursor -> 'queues') b on a.key = b.key
		where a.value is distinct from b.value
		union
		select q.name from jobq.queue q where q.id = any (many)
	) k order by k.name;

	alerts := jobq.events_alerts(array(select k::bigint from jsonb_object_keys(cursor -> 'alerts') k));
	return query
	select 'alert', a.value ->> 'queue', null, a.value ->> 'state', null, null::bigint, a.value
	from jsonb_each(alerts) a
	where a.value ->> 'state' is distinct from cursor #>> array['alerts', a.key, 'state']
	order by a.value ->> 'since', a.key;

	return query
	select 'schedule', s.value ->> 'queue', null, null, null, null::bigint, s.value
	from jsonb_each(schedules) s
	where s.value is distinct from cursor -> 'schedules' -> s.key
	order by s.value ->> 'last_run', s.key;

	event := 'cursor';
	data := case when over then jobq.events_cursor() else cursor || runs || jsonb_build_object('snapshot', s, 'top', top,
	    'gaps', gaps, 'aging', aging, 'queues', queues, 'schedules', schedules,
	    'claims', coalesce((select jsonb_object_agg(q.id, coalesce((jobq.last_claim(q.id)).batch, 0)) from jobq.queue q), '{}'),
	    'alerts', coalesce((select jsonb_object_agg(a.key, a.value) from jsonb_each(alerts) a where a.value ->> 'state' <> 'ended'), '{}')) end;
	return next;
end
$$;
