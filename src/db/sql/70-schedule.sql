-- Schedules and what a node registers.

-- A node tells what it is configured to serve. config:
--   {"node": name, "instance": …, "version": …,
--    "queues": [{"name", "workers", "priority", "large_first", "max_payload", "max_attempts",
--      "unique", "unique_until_ms", "unique_conflict", "key", "per_key", "fair", "weights", "ageing_ms",
--      "limits": [name, …], "lease_ms", "expire_ms", "enabled", "breaker",
--      "keep": {"completed_ms", "dead_ms", "cancelled_ms", "history_ms"}}],
--    "limits": [{"name", "rate", "period_ms", "concurrency", "min_gap_ms"}],
--    "schedules": [{"name", "queue", "type", "data", "spec", "timezone", "overlap",
--      "enabled", "description"}],
--    "workflows": {name: definition}}
-- Queues, schedules and workflows that are no longer there stay, not served.
create function jobq.register(config jsonb) returns void
language plpgsql as $$
declare
	n smallint := jobq.node_id(config ->> 'node');
begin
	update jobq.node k set instance = coalesce(config ->> 'instance', k.instance),
	    version = coalesce(config ->> 'version', k.version), seen = clock_timestamp()
	where k.id = n;
	insert into jobq.queue as q (name, enabled, workers, priority, large_first, max_payload, max_attempts,
	    unique_path, unique_ms, unique_conflict, key_path, per_key, keyed, fair_path, fair_weights, age_ms, limited,
	    lease_ms, expire_ms,
	    keep_completed_ms, keep_dead_ms, keep_cancelled_ms, keep_history_ms)
	select c ->> 'name', coalesce((c ->> 'enabled')::boolean, true),
	    coalesce((c ->> 'workers')::int, 1), coalesce((c ->> 'priority')::int, 5),
	    coalesce((c ->> 'large_first')::boolean, false),
	    coalesce((c ->> 'max_payload')::bigint, 102400), coalesce((c ->> 'max_attempts')::int, 3),
	    coalesce(c ->> 'unique', ''), coalesce((c ->> 'unique_until_ms')::bigint, -1),
	    coalesce(c ->> 'unique_conflict', 'existing'),
	    coalesce(c ->> 'key', ''), coalesce((c ->> 'per_key')::int, 1), coalesce(c ->> 'key', '') <> '',
	    coalesce(c ->> 'fair', ''), coalesce(c -> 'weights', '{}'), coalesce((c ->> 'ageing_ms')::bigint, 0),
	    coalesce(jsonb_array_length(c -> 'limits'), 0) > 0, coalesce((c ->> 'lease_ms')::bigint, 30000),
	    coalesce((c ->> 'expire_ms')::bigint, 0),
	    coalesce((c #>> '{keep,completed_ms}')::bigint, 86400000),
	    coalesce((c #>> '{keep,dead_ms}')::bigint, 7776000000),
	    coalesce((c #>> '{keep,cancelled_ms}')::bigint, 86400000),
	    coalesce((c #>> '{keep,history_ms}')::bigint, 7776000000)
	from jsonb_array_elements(coalesce(config -> 'queues', '[]')) c
	order by c ->> 'name'
	on conflict (name) do update
	set enabled = excluded.enabled, workers = excluded.workers,
	    priority = excluded.priority, large_first = excluded.large_first,
	    max_payload = excluded.max_payload, max_attempts = excluded.max_attempts,
	    unique_path = excluded.unique_path, unique_ms = excluded.unique_ms,
	    unique_conflict = excluded.unique_conflict,
	    key_path = excluded.key_path, per_key = excluded.per_key, keyed = q.keyed or excluded.keyed,
	    fair_path = excluded.fair_path, fair_weights = excluded.fair_weights, age_ms = excluded.age_ms,
	    limited = excluded.limited, lease_ms = excluded.lease_ms, expire_ms = excluded.expire_ms,
	    keep_completed_ms = excluded.keep_completed_ms, keep_dead_ms = excluded.keep_dead_ms,
	    keep_cancelled_ms = excluded.keep_cancelled_ms, keep_history_ms = excluded.keep_history_ms;
	insert into jobq.limit_state as s (name, rate, period_ms, concurrency, min_gap_ms)
	select l ->> 'name', coalesce((l ->> 'rate')::int, 0), coalesce((l ->> 'period_ms')::bigint, 0),
	    coalesce((l ->> 'concurrency')::int, 0), coalesce((l ->> 'min_gap_ms')::bigint, 0)
	from jsonb_array_elements(coalesce(config -> 'limits', '[]')) l
	order by l ->> 'name'
	on conflict (name) do update
	set rate = excluded.rate, concurrency = excluded.concurrency, min_gap_ms = excluded.min_gap_ms,
	    period_ms = excluded.period_ms,
	    -- steps of another length count for nothing
	    used = case when s.period_ms = excluded.period_ms then s.used else '{}' end
	where (s.rate, s.period_ms, s.concurrency, s.min_gap_ms)
	    is distinct from (excluded.rate, excluded.period_ms, excluded.concurrency, excluded.min_gap_ms);
	delete from jobq.queue_limit k using jobq.queue q, jsonb_array_elements(coalesce(config -> 'queues', '[]')) c
	where k.queue = q.id and q.name = c ->> 'name';
	insert into jobq.queue_limit (queue, limit_id)
	select distinct q.id, l.id
	from jsonb_array_elements(coalesce(config -> 'queues', '[]')) c
	cross join lateral jsonb_array_elements_text(coalesce(c -> 'limits', '[]')) u(name)
	join jobq.queue q on q.name = c ->> 'name' join jobq.limit_state l on l.name = u.name;
	update jobq.fair_share f set weight = coalesce((q.fair_weights ->> f.value)::smallint, 1)
	from jobq.queue q
	where q.id = f.queue and f.weight <> coalesce((q.fair_weights ->> f.value)::smallint, 1);
	perform jobq.breaker_off(q.id) from jobq.queue q
	where q.id in (select b.queue from jobq.breaker b) and q.name in (
	    select c ->> 'name' from jsonb_array_elements(coalesce(config -> 'queues', '[]')) c
	    where not coalesce((c ->> 'breaker')::boolean, false));
	delete from jobq.serves s where s.node = n;
	insert into jobq.serves (node, queue)
	select n, q.id from jobq.queue q
	where q.name in (select c ->> 'name' from jsonb_array_elements(coalesce(config -> 'queues', '[]')) c
	    where coalesce((c ->> 'enabled')::boolean, true))
	on conflict do nothing;
	update jobq.schedule s set served = false, next_run = null
	where s.served and s.name not in (
	    select c ->> 'name' from jsonb_array_elements(coalesce(config -> 'schedules', '[]')) c);
	insert into jobq.schedule as s (name, queue, type, data, spec, timezone, overlap, enabled, description)
	select c ->> 'name', (jobq.queue_get(c ->> 'queue')).id, coalesce(c ->> 'type', ''),
	    coalesce(c -> 'data', '{}'), c ->> 'spec', coalesce(c ->> 'timezone', 'UTC'),
	    coalesce(c ->> 'overlap', 'allow'), coalesce((c ->> 'enabled')::boolean, true),
	    coalesce(c ->> 'description', '')
	from jsonb_array_elements(coalesce(config -> 'schedules', '[]')) c
	order by c ->> 'name'
	on conflict (name) do update
	set queue = excluded.queue, type = excluded.type, data = excluded.data, spec = excluded.spec,
	    timezone = excluded.timezone, overlap = excluded.overlap, enabled = excluded.enabled,
	    description = excluded.description, served = true,
	    next_run = case when s.spec = excluded.spec then s.next_run end,
	    -- what has changed begins now, and has missed nothing
	    last_nominal = case when s.spec = excluded.spec and s.enabled >= excluded.enabled
	        then s.last_nominal else greatest(s.last_nominal, clock_timestamp()) end;
	insert into jobq.workflow_def as w (name, definition)
	select d.key, d.value from jsonb_each(coalesce(config -> 'workflows', '{}')) d
	on conflict (name) do update set definition = excluded.definition, registered_at = now()
	where w.definition is distinct from excluded.definition;
end
$$;

-- A node is alive: once a while, well within a minute.
create function jobq.node_beat(name text, instance text default '', version text default '') returns void
language sql as $$
	insert into jobq.node as n (name, instance, version)
	values (name, instance, version)
	on conflict on constraint node_name_key do update
	set instance = excluded.instance, version = excluded.version, seen = clock_timestamp(),
	    started_at = case when n.instance = excluded.instance then n.started_at else now() end
$$;

-- Where schedules stand: the last instant each has dealt with (µs since the
-- epoch). One more row, without a name, says until when a scheduler
-- of the cluster has been there (covered_us).
create function jobq.schedule_state(names text[])
returns table (name text, last_us bigint, covered_us bigint)
language sql stable as $$
	select s.name, jobq.us(s.last_nominal), null::bigint
	from jobq.schedule s where s.name = any (names)
	union all
	select null, null, jobq.us(max(l.until)) from jobq.leader l where l.role = 'scheduler'
$$;

-- Fire a schedule for an instant: enqueue its job with run_at = instant, each
-- instant at most once, in order. Returns the job's id; null when the instant
-- or a later one was dealt with already, the schedule is paused or disabled,
-- or overlap: skip finds the last job of it still live.
--   next_run  the instant after this one, for the view
create function jobq.schedule_fire(name text, instant timestamptz, queue text, type text,
    data jsonb, next_run timestamptz default null) returns bigint
language plpgsql as $$
declare
	s jobq.schedule;
	made bigint;
	live boolean;
begin
	select * into s from jobq.schedule k where k.name = schedule_fire.name for update;
	if not found or s.last_nominal >= instant then
		return null;
	end if;
	live := s.overlap <> 'allow' and s.last_job is not null
	    and jobq.final_outcome(s.last_job) is not distinct from 0::smallint;
	if s.enabled and not s.paused and not (live and s.overlap = 'skip') then
		if live then	-- replace
			perform jobq.stop(s.last_job);
		end if;
		made := jobq.enqueue(queue, type, data, run_at => instant);
	end if;
	update jobq.schedule k set last_nominal = instant, next_run = schedule_fire.next_run,
	    last_job = coalesce(made, k.last_job),
	    last_run = case when made is null then k.last_run else instant end,
	    lateness_ms = case when made is null then k.lateness_ms
	        else greatest(0, extract(epoch from clock_timestamp() - instant) * 1000)::bigint end
	where k.name = s.name;
	return made;
end
$$;

-- Instants up to `until` are given up; so many they were.
create function jobq.schedule_skip(name text, until timestamptz, missed bigint) returns void
language sql as $$
	update jobq.schedule s set last_nominal = schedule_skip.until, missed = s.missed + schedule_skip.missed
	where s.name = schedule_skip.name and s.last_nominal < schedule_skip.until
$$;

-- Say when schedules fire next, for the view.
create function jobq.schedule_next(names text[], next_runs timestamptz[]) returns void
language sql as $$
	update jobq.schedule s set next_run = u.next_run
	from unnest(names, next_runs) u(name, next_run)
	where s.name = u.name and s.next_run is distinct from u.next_run
$$;

-- Run a schedule now, whatever it says of the time. Returns the job's id.
create function jobq.schedule_run(name text) returns bigint
language plpgsql as $$
declare
	s jobq.schedule;
begin
	select * into s from jobq.schedule k where k.name = schedule_run.name;
	if not found then
		raise exception 'there is no schedule "%"', name using errcode = '22023';
	end if;
	perform jobq.audit_add('run', 'schedule ' || name);
	return jobq.enqueue((select q.name from jobq.queue q where q.id = s.queue), s.type, s.data);
end
$$;

create function jobq.schedule_pause(name text) returns void
language plpgsql as $$
begin
	update jobq.schedule k set paused = true where k.name = schedule_pause.name;
	if not found then
		raise exception 'there is no schedule "%"', name using errcode = '22023';
	end if;
	perform jobq.audit_add('pause', 'schedule ' || name);
end
$$;

-- Instants that passed meanwhile are not made up for.
create function jobq.schedule_resume(name text) returns void
language plpgsql as $$
begin
	update jobq.schedule k set paused = false,
	    last_nominal = case when k.paused then greatest(k.last_nominal, clock_timestamp()) else k.last_nominal end
	where k.name = schedule_resume.name;
	if not found then
		raise exception 'there is no schedule "%"', name using errcode = '22023';
	end if;
	perform jobq.audit_add('resume', 'schedule ' || name);
end
$$;
