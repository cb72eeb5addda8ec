-- Schedules and what a node registers.

-- A node tells what it is configured to serve. config:
--   {"node": name, "instance": …, "version": …,
--    "queues": [{"name", "workers", "concurrency", "timeout_ms", "priority", "large_first", "max_payload",
--      "max_attempts", "unique", "unique_until_ms", "unique_conflict", "key", "per_key", "fair", "weights",
--      "ageing_ms", "limits": [name, …], "lease_ms", "expire_ms", "enabled", "breaker", "sealed",
--      "keep": {"completed_ms", "dead_ms", "cancelled_ms", "history_ms"}}],
--    "limits": [{"name", "rate", "period_ms", "concurrency", "min_gap_ms"}],
--    "schedules": [{"name", "queue", "type", "data", "priority", "tenant", "spec", "timezone",
--      "overlap", "only_if", "for_each", "jitter_ms", "enabled", "description"}],
--    "workflows": {name: definition}, "alerts": see alert_register()}
-- Queues, schedules and workflows that are no longer there stay, not served. A
-- schedule made at run time gives way to one of the configuration.
create function jobq.register(config jsonb) returns void
language plpgsql
set lock_timeout = '2s' as $$	-- it has rows of the node locked, which beats
declare
	n smallint := jobq.node_id(config ->> 'node');
	was jsonb := jobq.configured();
begin
	update jobq.node k set instance = coalesce(config ->> 'instance', k.instance),
	    version = coalesce(config ->> 'version', k.version), seen = clock_timestamp()
	where k.id = n;
	insert into jobq.queue as q (name, enabled, workers, priority, large_first, max_payload, max_attempts,
	    unique_path, unique_ms, unique_conflict, key_path, per_key, keyed, fair_path, fair_weights, age_ms, limited,
	    lease_ms, expire_ms,
	    keep_completed_ms, keep_dead_ms, keep_cancelled_ms, keep_history_ms, concurrency, timeout_ms, sealed)
	select k.*
	from (
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
		    coalesce((c #>> '{keep,history_ms}')::bigint, 7776000000),
		    coalesce((c ->> 'concurrency')::int, 1), coalesce((c ->> 'timeout_ms')::bigint, 60000),
		    coalesce((c ->> 'sealed')::boolean, false)
		from jsonb_array_elements(coalesce(config -> 'queues', '[]')) c
	) k (name, enabled, workers, priority, large_first, max_payload, max_attempts,
	    unique_path, unique_ms, unique_conflict, key_path, per_key, keyed, fair_path, fair_weights, age_ms, limited,
	    lease_ms, expire_ms,
	    keep_completed_ms, keep_dead_ms, keep_cancelled_ms, keep_history_ms, concurrency, timeout_ms, sealed)
	-- what is as it was is not touched: somebody may have it locked, who is just pausing it
	where not exists (select from jobq.queue o
	    where o.name = k.name and to_jsonb(o) || (to_jsonb(k) - 'keyed') = to_jsonb(o))
	order by k.name
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
	    keep_cancelled_ms = excluded.keep_cancelled_ms, keep_history_ms = excluded.keep_history_ms,
	    concurrency = excluded.concurrency, timeout_ms = excluded.timeout_ms,
	    sealed = excluded.sealed;
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
	insert into jobq.schedule as s (name, queue, type, data, priority, tenant, spec, timezone, overlap,
	    only_if, for_each, jitter_ms, enabled, description)
	select k.*
	from (
		select c ->> 'name', (jobq.queue_get(c ->> 'queue')).id, coalesce(c ->> 'type', ''),
		    coalesce(c -> 'data', '{}'), (c ->> 'priority')::int, c ->> 'tenant', c ->> 'spec',
		    coalesce(c ->> 'timezone', 'UTC'), coalesce(c ->> 'overlap', 'allow'), coalesce(c ->> 'only_if', ''),
		    coalesce(c ->> 'for_each', ''), coalesce((c ->> 'jitter_ms')::bigint, 0),
		    coalesce((c ->> 'enabled')::boolean, true), coalesce(c ->> 'description', '')
		from jsonb_array_elements(coalesce(config -> 'schedules', '[]')) c
	) k (name, queue, type, data, priority, tenant, spec, timezone, overlap,
	    only_if, for_each, jitter_ms, enabled, description)
	where not exists (select from jobq.schedule o
	    where o.name = k.name and o.origin = 'file' and to_jsonb(o) || to_jsonb(k) = to_jsonb(o))
	order by k.name
	on conflict (name) do update
	set origin = 'file', definition = null, revision = 0, error = null,
	    queue = excluded.queue, type = excluded.type, data = excluded.data, priority = excluded.priority,
	    tenant = excluded.tenant, spec = excluded.spec, timezone = excluded.timezone,
	    overlap = excluded.overlap, only_if = excluded.only_if, for_each = excluded.for_each,
	    jitter_ms = excluded.jitter_ms, enabled = excluded.enabled, description = excluded.description,
	    changed_at = clock_timestamp(),
	    next_run = case when (s.spec, s.timezone) = (excluded.spec, excluded.timezone) then s.next_run end,
	    -- what has changed begins now, and has missed nothing
	    last_nominal = case when (s.spec, s.timezone) = (excluded.spec, excluded.timezone)
	        and s.enabled >= excluded.enabled
	        then s.last_nominal else greatest(s.last_nominal, clock_timestamp()) end;
	if found then
		perform jobq.schedules_changed();
	end if;
	delete from jobq.fires f where f.node = n;
	insert into jobq.fires (node, schedule)
	select n, c ->> 'name' from jsonb_array_elements(coalesce(config -> 'schedules', '[]')) c;
	insert into jobq.workflow_def as w (name, definition)
	select d.key, d.value from jsonb_each(coalesce(config -> 'workflows', '{}')) d
	on conflict (name) do update set definition = excluded.definition, registered_at = now()
	where w.definition is distinct from excluded.definition;
	perform jobq.alert_register(config, n);
	perform jobq.audit_configured(was, jobq.configured(), 'node ' || (config ->> 'node'));
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

-- What schedules there are has changed: to be said in the transaction that does
-- so. Returns the number of the change. Schedulers that hear nothing see it at
-- their next tick.
create function jobq.schedules_changed() returns bigint
language sql as $$
	select pg_notify('jobq', '*schedules');
	delete from jobq.schedule_change c
	where c.id in (select k.id from jobq.schedule_change k
	    where k.id < (select max(m.id) - 10 from jobq.schedule_change m) for update skip locked);
	insert into jobq.schedule_change default values returning id
$$;

-- A number that is another one whenever a change has been committed since, in
-- whatever order: it stands for the set of those that are to be seen.
create function jobq.schedules_version() returns bigint
language plpgsql stable as $$	-- keeps its plan, which for a tick is most of it
begin
	return (select coalesce(bit_xor(hashint8extended(c.id, 0)), 0) from jobq.schedule_change c);
end
$$;

-- Where schedules stand, those of the names and, if `whole`, all that were made
-- at run time: the last instant each has dealt with (µs since the epoch), and
-- what is needed to read the latter. One more row, without a name, says until
-- when a scheduler of the cluster has been there (covered_us), and of
-- which schedules_version() all this is.
create function jobq.schedule_state(names text[], whole boolean)
returns table (name text, last_us bigint, covered_us bigint, version bigint, revision bigint,
    definition text, paused boolean, error text)
language sql stable as $$
	select s.name, jobq.us(s.last_nominal), null::bigint, null::bigint, s.revision,
	    case when whole then (s.definition - '{data,description}'::text[])::text end, s.paused, s.error
	from jobq.schedule s where s.name = any (names) or whole and s.origin = 'sql'
	union all
	select null, null, jobq.us(max(l.until)), jobq.schedules_version(), null, null, null, null
	from jobq.leader l where l.role = 'scheduler'
$$;

-- Fire schedules, each for an instant: enqueue its jobs with run_at = instant.
-- Each instant of a schedule is dealt with once and in order, in one
-- transaction with what it makes.
--   dues       when it was to be fired: the instant, and its jitter
--   nexts      the instants after these, for the view
--   revisions  the definitions the caller goes by; 0: the configuration's
-- Returns a row for each:
--   outcome    fired; skipped (reason: only_if or overlap); failed (reason: the
--              error); held: it is paused or disabled; done: this or a later
--              instant was dealt with before; stale: it is another one by now; gone;
--              busy (reason): somebody's transaction is at it, to be tried again
-- Those with SQL of their own should come alone: then it runs before they are locked.
-- Never waits for long: ticks come by the same connection.
create function jobq.schedule_fire(names text[], instants timestamptz[], dues timestamptz[],
    nexts timestamptz[], revisions bigint[])
returns table (n int, outcome text, jobs int, job bigint, late_ms bigint, reason text)
language plpgsql as $$
declare
	outcomes text[] := array_fill('gone'::text, array[cardinality(names)]);
	reasons text[] := array_fill(null::text, array[cardinality(names)]);
	lates bigint[] := array_fill(null::bigint, array[cardinality(names)]);
	mades text[] := array_fill('{}'::text, array[cardinality(names)]);
	p jobq.schedule;
	s jobq.schedule;
	go boolean;
	rows jsonb;
	live bigint[];
	made bigint;
	late bigint;
begin
	perform set_config('lock_timeout', '500', true);
	if cardinality(names) > 1 then
		begin
			for n, made, late in
				select f.n, f.job, f.late_ms from jobq.schedule_fire_plain(names, instants, dues, nexts, revisions) f
			loop
				outcomes[n] := 'fired';
				mades[n] := array[made]::text;
				lates[n] := late;
			end loop;
		exception when query_canceled or others then
			if sqlstate ~ '^(08|53|57|58)' and sqlstate <> '57014' then
				raise;
			end if;
			-- one by one it will be seen whose fault it was
			outcomes := array_fill('gone'::text, array[cardinality(names)]);
		end;
	end if;
	-- all take unique keys in one order
	for n in select k.i from unnest(names, outcomes) with ordinality k(name, outcome, i)
	    where k.outcome = 'gone' order by k.name loop
		go := null;
		rows := null;
		begin
			if cardinality(names) = 1 then
				select * into p from jobq.schedule k where k.name = names[n];
				if p.enabled and not p.paused and p.last_nominal < instants[n] and p.revision = revisions[n]
				    and (p.only_if <> '' or p.for_each <> '') then
					select a.go, a.rows into go, rows from jobq.schedule_ask(p, true) a;
				end if;
			end if;
			select * into s from jobq.schedule k where k.name = names[n] for update skip locked;
			if not found and exists (select from jobq.schedule k where k.name = names[n]) then
				outcomes[n] := 'busy';
				reasons[n] := 'somebody is just changing it';
			end if;
			continue when s is null;
			outcomes[n] := case when s.revision <> revisions[n] then 'stale'
			    when s.last_nominal >= instants[n] then 'done'
			    when s.paused or not s.enabled then 'held'
			    else 'fired' end;
			continue when outcomes[n] <> 'fired';
			if (s.only_if <> '' or s.for_each <> '')
			    and (go is null or (p.only_if, p.for_each) is distinct from (s.only_if, s.for_each)) then
				select a.go, a.rows into go, rows from jobq.schedule_ask(s, true) a;
			end if;
			live := case when s.overlap <> 'allow' then jobq.schedule_live(s.last_jobs) end;
			if not go or s.overlap = 'skip' and live <> '{}' then
				outcomes[n] := 'skipped';
				reasons[n] := case when go is false then 'only_if' else 'overlap' end;
				continue;
			elsif live <> '{}' then
				perform jobq.stop(l) from unnest(live) l;
			end if;
			mades[n] := jobq.schedule_make(s, instants[n], rows)::text;
			lates[n] := greatest(0, extract(epoch from clock_timestamp() - dues[n]) * 1000);
		exception when query_canceled or others then
			-- what is the server's state and passes concerns all; a time-out does not
			if sqlstate ~ '^(08|53|57|58)' and sqlstate <> '57014' then
				raise;
			end if;
			outcomes[n] := case when sqlstate ~ '^40' or sqlstate = '55P03' then 'busy' else 'failed' end;
			reasons[n] := left(sqlerrm, 1000);
			-- the lock went with what was undone
			perform from jobq.schedule k where k.name = names[n] for update skip locked;
			if not found then
				outcomes[n] := 'busy';
			end if;
		end;
	end loop;
	update jobq.schedule k set last_nominal = u.instant, next_run = u.next,
	    fired = k.fired + (u.outcome = 'fired')::int, skipped = k.skipped + (u.outcome = 'skipped')::int,
	    failed = k.failed + (u.outcome = 'failed')::int,
	    last_run = case u.outcome when 'fired' then u.instant else k.last_run end,
	    last_jobs = case u.outcome when 'fired' then u.made::bigint[] else k.last_jobs end,
	    lateness_ms = coalesce(u.late, k.lateness_ms),
	    last_error = case u.outcome when 'failed' then u.reason else k.last_error end,
	    last_error_at = case u.outcome when 'failed' then clock_timestamp() else k.last_error_at end
	from unnest(names, instants, nexts, outcomes, mades, lates, reasons) u(name, instant, next, outcome, made, late, reason)
	where k.name = u.name and u.outcome in ('fired', 'skipped', 'failed', 'held') and k.last_nominal < u.instant;
	return query select u.i::int, u.outcome, cardinality(u.made::bigint[]), (u.made::bigint[])[1], u.late, u.reason
	from unnest(outcomes, mades, lates, reasons) with ordinality u(outcome, made, late, reason, i);
end
$$;

-- Those of them that only enqueue, into queues that ask for nothing more, by one
-- statement: most do, and many fall on the same moment. It deals with them
-- wholly; the others, and any that is locked, are not among its rows.
create function jobq.schedule_fire_plain(names text[], instants timestamptz[], dues timestamptz[],
    nexts timestamptz[], revisions bigint[])
returns table (n int, job bigint, late_ms bigint)
language plpgsql as $$
begin
	return query
	with due as materialized (
		select u.n::int, u.instant, u.next, s.name, s.type, s.data, s.tenant, q.id as queue,
		    q.keyed, jobq.lane(q.lane, q.large_first, s.priority) as lane,
		    greatest(0, extract(epoch from clock_timestamp() - u.due) * 1000)::bigint as late
		from unnest(names, instants, dues, nexts, revisions) with ordinality u(name, instant, due, next, revision, n)
		cross join lateral (
			select k.* from jobq.schedule k
			where k.name = u.name and k.only_if = '' and k.for_each = '' and k.overlap = 'allow'
			    and k.enabled and not k.paused and k.revision = u.revision and k.last_nominal < u.instant
			for update skip locked
		) s
		join jobq.queue q on q.id = s.queue and q.plain and octet_length(s.data::text) <= q.max_payload
	), f as materialized (
		select d.*, nextval('jobq.job_id') as id from due d
	), j as (
		insert into jobq.job (id, queue, lane, created_at, run_at, type, data, tenant)
		select f.id, f.queue, f.lane, clock_timestamp(), f.instant, f.type, f.data, f.tenant from f
	), t as (
		insert into jobq.turn (job, slot, queue, lane, attempt, key)
		select f.id, k.last_value, f.queue, f.lane, 1, case when f.keyed then '' end from jobq.turn_slot k, f
	), u as (
		update jobq.schedule s set last_nominal = f.instant, next_run = f.next, fired = s.fired + 1,
		    last_run = f.instant, last_jobs = array[f.id], lateness_ms = f.late
		from f where s.name = f.name
	)
	select f.n, f.id, f.late from f;
	if found then
		perform jobq.nudge(k.id, k.name) from jobq.queue k
		where k.id in (select s.queue from jobq.schedule s where s.name = any (names));
	end if;
end
$$;

-- Ask a schedule's SQL, as jobqd's role, reading only: whether it is to run
-- (only_if, if wanted), and the rows it is to run for (for_each), an array of
-- objects; null: it has no for_each. Names are found by the search path
-- that the schema's owner had when this was made, whoever calls.
create function jobq.schedule_ask(s jobq.schedule, conditional boolean, out go boolean, out rows jsonb)
language plpgsql
set search_path from current as $$
begin
	go := true;
	begin
		perform set_config('transaction_read_only', 'on', true);
		if conditional and s.only_if <> '' then
			execute jobq.condition_sql(s.only_if) into go;
			go := coalesce(go, false);
		end if;
		if go and s.for_each <> '' then
			execute jobq.rows_sql(s.for_each) into rows;
		end if;
		-- the only way back to writing is to roll back; variables stay
		raise exception using errcode = 'JQ000';
	exception when sqlstate 'JQ000' then
		null;
	end;
	if jsonb_array_length(rows) > 100000 then
		raise exception 'for_each gives more than 100000 rows' using errcode = '54000';
	end if;
end
$$;

-- Text of only_if and for_each as statements. The line end is for a comment at
-- its end; in brackets a query is an expression, too.
create function jobq.condition_sql(sql text) returns text
language sql immutable as $$
	select 'select (' || rtrim(sql, E'; \t\r\n') || E'\n)::boolean'
$$;

create function jobq.rows_sql(sql text) returns text
language sql immutable as $$
	select 'select coalesce(jsonb_agg(to_jsonb(r)), ''[]'') from (select * from (' || rtrim(sql, E'; \t\r\n')
	    || E'\n) q limit 100001) r'
$$;

-- The jobs of a schedule for an instant: one, or one a row, whose columns are
-- added to its data, and whose column tenant is the tenant. Returns their ids.
create function jobq.schedule_make(s jobq.schedule, instant timestamptz, rows jsonb) returns bigint[]
language plpgsql as $$
declare
	queue text := (select q.name from jobq.queue q where q.id = s.queue);
begin
	if rows is null then
		return array[jobq.enqueue(queue, s.type, s.data, priority => s.priority, run_at => instant, tenant => s.tenant)];
	end if;
	return array(select jobq.enqueue(queue, s.type, s.data || (r - 'tenant'), priority => s.priority,
	        run_at => instant, tenant => coalesce(r ->> 'tenant', s.tenant))
	    from jsonb_array_elements(rows) with ordinality e(r, i) order by i);
end
$$;

-- Those of the jobs that have not ended.
create function jobq.schedule_live(jobs bigint[]) returns bigint[]
language sql stable as $$
	select array(select j from unnest(jobs) j where jobq.final_outcome(j) = 0)
$$;

-- What became of the jobs of a firing: the state of one; of several running as
-- long as one has not ended, then dead or cancelled if one is, else completed.
create function jobq.schedule_outcome(jobs bigint[]) returns text
language plpgsql stable as $$
declare
	word text;
begin
	if cardinality(jobs) = 1 then
		select j.state into word from jobq.jobs j where j.id = jobs[1];
		return coalesce(word, jobq.outcome_name(jobq.final_outcome(jobs[1])));
	end if;
	select case when bool_or(o = 0) then 'running' when bool_or(o = 3) then 'dead'
	    when bool_or(o in (4, 6)) then 'cancelled' when count(*) > 0 then 'completed' end into word
	from (select jobq.final_outcome(j) from unnest(jobs) j) k(o);
	return word;
end
$$;

-- What schedulers say beside firing; a row that is locked is left out.

-- Instants of these up to `untils` are given up; so many they were.
create function jobq.schedule_skip(names text[], untils timestamptz[], counts bigint[]) returns void
language sql as $$
	with u as materialized (
		select k.name, u.until, u.n from unnest(names, untils, counts) u(name, until, n)
		join jobq.schedule k on k.name = u.name for update of k skip locked
	)
	update jobq.schedule s set last_nominal = u.until, missed = s.missed + u.n
	from u where s.name = u.name and s.last_nominal < u.until
$$;

-- Say when schedules fire next, for the view.
create function jobq.schedule_next(names text[], next_runs timestamptz[]) returns void
language sql as $$
	with u as materialized (
		select k.name, u.next_run from unnest(names, next_runs) u(name, next_run)
		join jobq.schedule k on k.name = u.name
		where k.next_run is distinct from u.next_run and coalesce(u.next_run > k.last_nominal, true)
		for update of k skip locked
	)
	update jobq.schedule s set next_run = u.next_run
	from u where s.name = u.name
$$;

-- Say which definitions a scheduler cannot read and why, or that it can (null).
create function jobq.schedule_unread(names text[], errors text[]) returns void
language sql as $$
	with u as materialized (
		select k.name, u.error from unnest(names, errors) u(name, error)
		join jobq.schedule k on k.name = u.name
		where k.origin = 'sql' and k.error is distinct from u.error for update of k skip locked
	)
	update jobq.schedule s set error = u.error from u where s.name = u.name
$$;

-- Schedules could not be fired for a reason that passes; they will be.
create function jobq.schedule_delayed(names text[], error text) returns void
language sql as $$
	update jobq.schedule s set last_error = left(schedule_delayed.error, 1000), last_error_at = clock_timestamp()
	where s.name in (select k.name from jobq.schedule k where k.name = any (names) for update skip locked)
$$;

-- The schedules that are late: how long their next instant has passed and they
-- were not fired. Also of those whose nodes are gone, that no scheduler can
-- read, and that none has seen since they were made; but not of those that were
-- taken out of every configuration.
create function jobq.schedule_late(out name text, out seconds float8) returns setof record
language sql stable as $$
	select s.name, extract(epoch from clock_timestamp() - l.since)::float8
	from jobq.schedule s, lateral (
		select case when s.error is not null then s.changed_at
		    when s.next_run is not null then s.next_run + jobq.ms(s.jitter_ms)
		    when s.last_run is null and s.changed_at > (
		        select coalesce(max(k.until), '-infinity') from jobq.leader k where k.role = 'scheduler')
		    then s.changed_at end as since
	) l
	where s.enabled and not s.paused and l.since < clock_timestamp()
	    and (s.origin = 'sql' or exists (select from jobq.fires f where f.schedule = s.name))
$$;

-- Run a schedule now, whatever it says of the time and of only_if. Returns its
-- jobs' ids.
create function jobq.schedule_run(name text) returns setof bigint
language plpgsql as $$
declare
	s jobq.schedule := jobq.schedule_get(name);
	instant timestamptz := clock_timestamp();
	rows jsonb;
	made bigint[];
begin
	perform jobq.need_all_tenants();
	if s.for_each <> '' then
		select a.rows into rows from jobq.schedule_ask(s, false) a;
	end if;
	made := jobq.schedule_make(s, instant, rows);
	update jobq.schedule k set last_run = instant, fired = k.fired + 1,
	    last_jobs = jobq.schedule_live(k.last_jobs) || made
	where k.name = s.name;
	perform jobq.audit_add('run', 'schedule ' || name, case cardinality(made) when 1 then 'job ' || made[1]
	    else cardinality(made) || ' jobs' end, null, jsonb_build_object('jobs', cardinality(made), 'first', made[1]));
	return query select unnest(made);
end
$$;

-- The row of a schedule; an unknown name is an error.
create function jobq.schedule_get(name text) returns jobq.schedule
language plpgsql stable as $$
declare
	s jobq.schedule;
begin
	select * into s from jobq.schedule k where k.name = schedule_get.name;
	if not found then
		raise exception 'there is no schedule "%"', left(name, 63) using errcode = '22023',
		    hint = 'The view schedules has those there are.';
	end if;
	return s;
end
$$;

create function jobq.schedule_pause(name text) returns void
language plpgsql as $$
declare
	s jobq.schedule := jobq.schedule_get(name);
begin
	perform jobq.need_all_tenants();
	update jobq.schedule k set paused = true where k.name = schedule_pause.name;
	perform jobq.schedules_changed();
	perform jobq.audit_add('pause', 'schedule ' || name, '', jsonb_build_object('paused', s.paused), '{"paused": true}');
end
$$;

-- Instants that passed meanwhile are not made up for.
create function jobq.schedule_resume(name text) returns void
language plpgsql as $$
declare
	s jobq.schedule := jobq.schedule_get(name);
begin
	perform jobq.need_all_tenants();
	update jobq.schedule k set paused = false,
	    last_nominal = case when k.paused then greatest(k.last_nominal, clock_timestamp()) else k.last_nominal end
	where k.name = schedule_resume.name;
	perform jobq.schedules_changed();
	perform jobq.audit_add('resume', 'schedule ' || name, '', jsonb_build_object('paused', s.paused), '{"paused": false}');
end
$$;
