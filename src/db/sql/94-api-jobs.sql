-- What the HTTP API asks of jobs: see 93-api for what is common to it all.

-- These are in plpgsql since that keeps the plan of a view, which takes longer to
-- make than to run.

-- A job as the view has it, and why it does not run. Null: there is none.
create function jobq.api_job(id bigint) returns json
language plpgsql stable as $$
begin
	return (select row_to_json(k) from (
	    select j.*, jobq.why(j.id) as why from jobq.jobs j where j.id = api_job.id) k);
end
$$;

create function jobq.api_job_exists(id bigint) returns boolean
language plpgsql stable as $$
begin
	return exists (select from jobq.jobs j where j.id = api_job_exists.id);
end
$$;

-- Its ended attempts, the first one first; also of a job that is gone.
create function jobq.api_job_attempts(id bigint) returns json
language plpgsql stable as $$
declare
	items json := (select json_agg(a order by a.attempt) from jobq.attempts a where a.job_id = id);
begin
	return case when items is not null or jobq.api_job_exists(id) then jobq.api_list(items) end;
end
$$;

-- What its attempts wrote, each in one piece.
create function jobq.api_job_log(id bigint) returns json
language plpgsql stable as $$
begin
	return case when jobq.api_job_exists(id) then jobq.api_list((
		select json_agg(json_build_object('attempt', k.attempt, 'at', k.at, 'text', k.text) order by k.attempt)
		from (
			select o.attempt, min(o.at) as at, string_agg(o.text, '' order by o.part) as text
			from jobq.output o where o.job = api_job_log.id group by o.attempt
		) k)) end;
end
$$;

-- What was done to a job, and its state now; 404 when there is none, 409 with
-- the reason when it was refused.
create function jobq.api_job_done(id bigint, done boolean, otherwise text) returns json
language plpgsql as $$
declare
	s text;
begin
	select j.state into s from jobq.jobs j where j.id = api_job_done.id;
	if not found then
		perform jobq.api_refuse('P0002', format('there is no job %s', id));
	elsif not done then
		perform jobq.api_refuse('55000', format('job %s is %s: %s', id, s, otherwise));
	end if;
	return json_build_object('id', id, 'state', s);
end
$$;

create function jobq.api_job_retry(id bigint, data jsonb) returns json
language sql as $$
	select jobq.api_job_done(id, jobq.api_job_exists(id) and jobq.retry(id, data),
	    'only one that is dead or waits for its next attempt can be retried')
$$;

create function jobq.api_job_cancel(id bigint) returns json
language sql as $$
	select jobq.api_job_done(id, jobq.api_job_exists(id) and jobq.cancel(id),
	    'it has ended already')
$$;

create function jobq.api_job_delete(id bigint) returns void
language plpgsql as $$
begin
	if not jobq.api_job_exists(id) or not jobq.delete(id) then
		perform jobq.api_refuse('P0002', format('there is no job %s', id));
	end if;
end
$$;

-- Give a job that waits for a time, for others, or for a person, other data.
-- One that may be claimed in this moment must not change under whoever takes it.
create function jobq.api_job_edit(id bigint, data jsonb) returns json
language plpgsql as $$
begin
	if jobq.api_job_exists(id) then
		perform from jobq.timer t where t.job = api_job_edit.id for update;
		if not found then
			perform from jobq.blocked b where b.job = api_job_edit.id for update;
		end if;
		if not found then
			perform from jobq.attempt a where a.job = api_job_edit.id and a.outcome = 3 for update;
		end if;
		if found then
			perform jobq.edit(id, data);
		end if;
	end if;
	return jobq.api_job_done(id, found, 'only one that is scheduled, blocked, retrying or dead can be changed');
end
$$;

-- Enqueue: see enqueue(). 200 when the unique key was taken, and it is that job.
create function jobq.api_enqueue(queue text, type text, data jsonb, priority int, run_at timestamptz,
    delay interval, unique_key text, tenant text, max_attempts int, timeout interval, tags text[],
    after bigint[], key text, out status int, out body json, out location text)
language plpgsql as $$
declare
	me bigint;
begin
	me := jobq.enqueue(queue, coalesce(type, ''), data, priority, run_at, delay, unique_key, tenant,
	    max_attempts, timeout, tags, after, key);
	status := case when exists (select from jobq.job j where j.id = me
	    and j.xmin::text::bigint = pg_current_xact_id()::text::bigint % 4294967296) then 201 else 200 end;
	-- a job without conditions is ready; the view is five times as much as all else
	if status = 201 and num_nonnulls(run_at, delay, unique_key, after) = 0 then
		body := json_build_object('id', me, 'state', 'ready');
	else
		select json_build_object('id', j.id, 'state', j.state) into body from jobq.jobs j where j.id = me;
	end if;
	location := '/v1/jobs/' || me;
end
$$;

create function jobq.api_enqueue_many(queue text, jobs jsonb) returns json
language sql as $$
	select json_build_object('ids', coalesce(json_agg(e.id order by e.n), '[]'))
	from jobq.enqueue_many(queue, jobs) with ordinality e(id, n)
$$;

create function jobq.api_workflow_start(name text, data jsonb, tenant text, out body json, out location text)
language plpgsql as $$
declare
	me bigint;
begin
	if not exists (select from jobq.workflow_def d where d.name = api_workflow_start.name) then
		perform jobq.api_refuse('P0002', format('there is no workflow "%s"', name));
	end if;
	me := jobq.workflow(name, data, tenant);
	select json_build_object('id', w.id, 'state', w.state) into body from jobq.workflow_run w where w.id = me;
	location := '/v1/workflows/' || me;
end
$$;

--
-- Many jobs
--

-- The condition on jobq.job j that a filter is; fields: path in data → value. Who
-- is bound to a tenant may not name another.
create function jobq.api_filter(queue text, type text, tenant text, tag text, since timestamptz, until timestamptz,
    fields jsonb) returns text
language plpgsql stable as $$
begin
	perform jobq.own_tenant(tenant);
	return concat_ws(' and ', 'true',
	    case when queue is not null then format('j.queue = %s', (jobq.queue_get(queue)).id) end,
	    case when type is not null then format('j.type = %L', type) end,
	    case when tenant is not null then format('j.tenant = %L', tenant) end,
	    case when tag is not null then format('j.tags @> array[%L]', tag) end,
	    case when since is not null then format('j.created_at >= %L', since) end,
	    case when until is not null then format('j.created_at < %L', until) end,
	    (select string_agg(format('j.data #>> string_to_array(%L, ''.'') = %L', k, v), ' and ')
	        from jsonb_each_text(fields) f(k, v)));
end
$$;

-- Up to n jobs below an id that fit, the newest first; next: below which to go
-- on, null: there are no more. A look ends after a second of work, so there may
-- be fewer than n, and more to come. states: null: any.
--
-- Jobs of states that few are in are looked for where those are; of the rest a
-- stretch of ids at a time is looked through, the longer the fewer there fit.
create function jobq.api_find(states text[], filter text, before bigint, n int, out ids bigint[], out next bigint)
language plpgsql stable
set jit = off set enable_seqscan = off as $$
declare
	one constant text := case when cardinality(states) = 1 then states[1] end;
	source constant text := coalesce(case one when 'dead' then '(select d.job as id from jobq.dead d)'
	    when 'scheduled' then '(select t.job as id from jobq.timer t where t.attempt = 1)'
	    when 'retrying' then '(select t.job as id from jobq.timer t where t.attempt > 1)'
	    when 'blocked' then '(select b.job as id from jobq.blocked b)'
	    when 'running' then '(select l.job as id from jobq.lease l)' end, 'jobq.job');
	ended constant text := case
	    when one = 'completed' then 'exists (select from jobq.attempt a where a.job = j.id and a.job >= $1 and a.job < $2 and a.outcome = 1)'
	    when one = 'cancelled' then 'exists (select from jobq.attempt a where a.job = j.id and a.job >= $1 and a.job < $2 and a.outcome = 4)'
	    when not states && '{completed,dead,cancelled}'
	    then 'not exists (select from jobq.attempt a where a.job = j.id and a.job >= $1 and a.job < $2 and a.outcome in (1, 3, 4))'
	    else 'true' end;
	began constant timestamptz := clock_timestamp();
	high bigint := before;
	low bigint;
	seen bigint;
	width int := n + 50;
	found_ids bigint[];
	stretch constant text := format('select min(id), count(*) from (select id from %s s where id < $1 order by id desc limit $2) k',
	    source);
	look constant text := format('select array_agg(id) from (select j.id from %s where j.id >= $1 and j.id < $2 and %s and %s
	    order by j.id desc limit $3) k', case source when 'jobq.job' then 'jobq.job j'
	        else source || ' s join jobq.job j on j.id = s.id and s.id >= $1 and s.id < $2' end, ended, filter);
begin
	ids := '{}';
	loop
		execute stretch into low, seen using high, width;
		exit when seen = 0;
		execute look into found_ids using low, high, n + 50;
		if cardinality(found_ids) = n + 50 then
			low := found_ids[n + 50];
			seen := width;
		end if;
		ids := ids || array(select j.id from jobq.jobs j
		    where j.id >= low and j.id < high and j.id = any (found_ids) and (states is null or j.state = any (states))
		    order by j.id desc limit n - cardinality(ids));
		if cardinality(ids) = n then
			next := ids[n];
			return;
		end if;
		exit when seen < width;
		high := low;
		next := low;
		if clock_timestamp() - began > interval '1 second' then
			return;
		end if;
		width := least(width * 4, 50000);
	end loop;
	next := null;
end
$$;

-- A list of jobs, the newest first. Data and results of more than 4 KiB are not
-- in it: `omitted` names them. count: how many there are, up to 10,000.
create function jobq.api_jobs(queue text, state text, type text, tenant text, tag text, since timestamptz,
    until timestamptz, fields jsonb, max int, cursor text, count boolean) returns json
language plpgsql stable
set jit = off set enable_seqscan = off as $$
declare
	filter text := jobq.api_filter(queue, type, tenant, tag, since, until, fields);
	states text[] := string_to_array(state, ',');
	page record;
	whole record;
	answer jsonb;
	items json;
begin
	select * into page from jobq.api_find(states, filter,
	    coalesce((jobq.api_place(cursor, 1))[1]::bigint, 9223372036854775807), max);
	select json_agg(k order by k.id desc) into items
	from (
		select j.id, j.queue, j.type, j.state, j.priority, case when not b.data then j.data end as data,
		    case when not b.result then j.result end as result, j.error, j.error_class, j.attempt, j.max_attempts,
		    j.progress, j.progress_note, j.tenant, j.tags, j.unique_key, j.key, j.run_at, j.created_at,
		    j.started_at, j.finished_at, j.node, j.worker, j.workflow,
		    array_remove(array[case when b.data then 'data' end, case when b.result then 'result' end], null) as omitted
		from jobq.jobs j,
		lateral (select octet_length(j.data::text) > 4096 as data,
		    coalesce(octet_length(j.result::text) > 4096, false) as result) b
		where j.id = any (page.ids)
	) k;
	if count then
		select * into whole from jobq.api_find(states, filter, 9223372036854775807, 10001);
		return json_build_object('items', coalesce(items, '[]'), 'next_cursor', jobq.api_cursor(page.next::text),
		    'count', least(cardinality(whole.ids), 10000), 'exact', whole.next is null);
	end if;
	return jobq.api_list(items, jobq.api_cursor(page.next::text));
end
$$;

-- Retry, cancel or delete all jobs that fit, the newest first, so many at most,
-- and for five seconds, since others wait for what is locked. Without confirm
-- nothing is done: the answer says how many there are. more: there are some left,
-- ask again.
create function jobq.api_jobs_do(action text, queue text, state text, type text, tenant text, tag text,
    since timestamptz, until timestamptz, fields jsonb, ids bigint[], max int, confirm boolean) returns json
language plpgsql as $$
declare
	able constant text[] := case action when 'retry' then '{dead,retrying}'::text[]
	    when 'cancel' then '{scheduled,blocked,ready,running,retrying}'
	    else '{scheduled,blocked,ready,retrying,completed,dead,cancelled}' end;
	states text[] := string_to_array(state, ',');
	filter text;
	found record;
	done int := 0;
	refused int := 0;
	began constant timestamptz := clock_timestamp();
	more boolean;
	fine boolean;
	id bigint;
begin
	if num_nonnulls(queue, state, type, tenant, tag, since, until, fields, ids) = 0 then
		perform jobq.api_refuse('22023', 'which jobs is not said', 'Give queue, state, type, tag, … or ids.');
	elsif not states <@ able then
		perform jobq.api_refuse('22023', format('jobs that are %s cannot be %s', state,
		    case action when 'retry' then 'retried' when 'cancel' then 'cancelled' else 'deleted' end),
		    format('Those that can are %s.', array_to_string(able, ', ')), 'state');
	end if;
	states := coalesce(states, able);
	filter := jobq.api_filter(queue, type, tenant, tag, since, until, fields);
	if ids is null then
		select * into found from jobq.api_find(states, filter, 9223372036854775807,
		    case when confirm then max else 10001 end);
	else
		execute format('select array(select j.id from jobq.job j where j.id = any ($1) and %s)', filter) into ids using ids;
		ids := array(select j.id from jobq.jobs j where j.id = any (ids) and j.state = any (states) order by j.id desc);
		select case when confirm then ids[:max] else ids end as ids,
		    case when confirm and cardinality(ids) > max then ids[max] end as next into found;
	end if;
	if not confirm then
		return json_build_object('dry_run', true, 'count', least(cardinality(found.ids), 10000),
		    'exact', found.next is null);
	end if;
	more := found.next is not null;
	foreach id in array found.ids loop
		if clock_timestamp() - began > interval '5 seconds' then
			more := true;
			exit;
		end if;
		begin
			fine := case action when 'retry' then jobq.retry(id) when 'cancel' then jobq.cancel(id) else jobq.delete(id) end;
			done := done + fine::int;
			refused := refused + (not fine)::int;
		exception when object_in_use or object_not_in_prerequisite_state or unique_violation then
			refused := refused + 1;		-- it began in this moment, or its key is another's
		end;
	end loop;
	return json_build_object('dry_run', false, 'done', done, 'refused', refused, 'more', more);
end
$$;

--
-- The same request twice
--

-- Do what a statement says, or, when whoever sends this key has done so within
-- a day, give the same answer. 409: the first is under way; 422: that was
-- another request. sql: a format with the parameters as %1$L …; its row has
-- status, body and location, some of them.
create function jobq.api_once(key text, digest bytea, sql text, params text[],
    out status int, out body text, out location text)
language plpgsql as $$
declare
	me constant text := jobq.actor() || ' ' || coalesce(current_setting('jobq.tenant', true), '');
	row jsonb;
	k jobq.request;
begin
	if not pg_try_advisory_xact_lock(hashtextextended(me || ' ' || key, 4711)) then
		perform jobq.api_refuse('55000', 'a request with this Idempotency-Key is under way', 'Try again in a moment.');
	end if;
	select * into k from jobq.request r where r.caller = me and r.key = api_once.key;
	if found and k.at > clock_timestamp() - interval '1 day' then
		if k.digest <> api_once.digest then
			perform jobq.api_refuse('22023', 'this Idempotency-Key was sent with another request',
			    'A key is for one request and its repetitions, for a day.', 'Idempotency-Key');
		end if;
		status := k.status;
		body := k.body;
		location := k.location;
		return;
	end if;
	execute format('select to_jsonb(r) - ''body'', r.body::text from (' || sql || ') r', variadic params) into row, body;
	if row is null then
		perform jobq.api_refuse('P0002', 'there is no such thing');
	end if;
	status := (row ->> 'status')::int;
	location := row ->> 'location';
	delete from jobq.request r where r.caller = me and r.key = api_once.key;
	insert into jobq.request (caller, key, digest, status, body, location)
	values (me, key, digest, status, body, location);
end
$$;
