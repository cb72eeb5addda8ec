-- Schedules and workflows, for the HTTP API.

create function jobq.api_schedules(queue text, type text, enabled boolean, origin text, max int, cursor text) returns json
language plpgsql stable as $$
declare
	after text := (jobq.api_place(cursor, 1))[1];
	items json;
	n int;
	highest text;
begin
	select json_agg(to_jsonb(k) order by k.name), count(*), max(k.name) into items, n, highest
	from (
		select * from jobq.schedules s
		where (after is null or s.name > after)
		    and (api_schedules.queue is null or s.queue = api_schedules.queue)
		    and (api_schedules.type is null or s.type = api_schedules.type)
		    and (api_schedules.enabled is null or s.enabled = api_schedules.enabled)
		    and (api_schedules.origin is null or s.origin = api_schedules.origin)
		order by s.name limit max
	) k;
	return jobq.api_list(items, case when n = max then jobq.api_cursor(highest) end);
end
$$;

-- The schedule that a path names.
create function jobq.api_schedule_get(name text) returns jobq.schedule
language plpgsql stable as $$
declare
	s jobq.schedule;
begin
	select * into s from jobq.schedule k where k.name = api_schedule_get.name;
	if not found then
		perform jobq.api_refuse('P0002', format('there is no schedule "%s"', left(name, 63)), '/v1/schedules has those there are.');
	end if;
	return s;
end
$$;

-- One, with its definition where it was made at run time, and its last jobs,
-- those of the last run that are known, 20 at most.
create function jobq.api_schedule(name text) returns jsonb
language plpgsql stable set jit = off as $$
declare
	s jobq.schedule := jobq.api_schedule_get(name);
begin
	return (
		select to_jsonb(v) || jsonb_build_object('definition', s.definition, 'jitter_ms', s.jitter_ms, 'runs', (
			select coalesce(jsonb_agg(jsonb_build_object('job_id', u.job, 'state', coalesce(j.state,
			    jobq.outcome_name(jobq.final_outcome(u.job))), 'run_at', j.run_at, 'started_at', j.started_at,
			    'finished_at', j.finished_at, 'error', j.error) order by u.n), '[]')
			from unnest(s.last_jobs[cardinality(s.last_jobs) - 19:]) with ordinality u(job, n)
			left join jobq.jobs j on j.id = u.job))
		from jobq.schedules v where v.name = s.name);
end
$$;

-- Make a schedule, or replace one that was made at run time, as schedule_put()
-- does. SQL is not taken from this side: only_if and for_each stay as they are.
-- made: it was not there before; else with `fresh` it is refused.
create function jobq.api_schedule_put(name text, definition jsonb, fresh boolean, out made boolean, out body jsonb)
language plpgsql as $$
declare
	old jobq.schedule;
	k text;
begin
	select * into old from jobq.schedule s where s.name = api_schedule_put.name;
	made := not found;
	if fresh and not made then
		perform jobq.api_refuse('23505', format('there is a schedule "%s" already', name), 'PUT replaces it.', 'name');
	end if;
	foreach k in array '{only_if,for_each}'::text[] loop
		if not definition ? k and old.definition ? k then
			definition := definition || jsonb_build_object(k, old.definition -> k);
		elsif coalesce(definition ->> k, '') <> coalesce(old.definition ->> k, '') then
			perform jobq.api_refuse('42501', format('%s is SQL, which is not taken by HTTP', k),
			    'Put the schedule in the configuration, or make it by SQL.', k);
		end if;
	end loop;
	perform jobq.schedule_put(name, definition);
	body := jobq.api_schedule(name);
end
$$;

create function jobq.api_schedule_remove(name text) returns void
language plpgsql as $$
begin
	perform jobq.api_schedule_get(name);
	perform jobq.schedule_remove(name);
end
$$;

create function jobq.api_schedule_run(name text) returns json
language plpgsql as $$
begin
	perform jobq.api_schedule_get(name);
	return (select json_build_object('name', name, 'jobs', coalesce(json_agg(j), '[]')) from jobq.schedule_run(name) j);
end
$$;

create function jobq.api_schedule_pause(name text, pause boolean) returns jsonb
language plpgsql as $$
begin
	perform jobq.api_schedule_get(name);
	if pause then
		perform jobq.schedule_pause(name);
	else
		perform jobq.schedule_resume(name);
	end if;
	return jobq.api_schedule(name);
end
$$;

-- Runs of workflows, the newest first. Of very many that a filter leaves out
-- a page may have less than it was asked for.
create function jobq.api_workflows(name text, state text, max int, cursor text) returns json
language plpgsql stable as $$
declare
	before bigint := coalesce((jobq.api_place(cursor, 1))[1]::bigint, 9223372036854775807);
	edge bigint;
	items json;
	n int;
	lowest bigint;
begin
	select w.id into edge from jobq.workflow_run w where w.id < before order by w.id desc offset 50000 limit 1;
	select json_agg(k order by k.id desc), count(*), min(k.id) into items, n, lowest
	from (
		select w.id, w.name, w.state, w.tenant, w.failed_step, w.error, w.on_failure_job, w.created_at, w.finished_at
		from jobq.workflow_run w
		where w.id < before and w.id >= coalesce(edge, 0)
		    and (api_workflows.name is null or w.name = api_workflows.name)
		    and (api_workflows.state is null or w.state = api_workflows.state)
		order by w.id desc limit max
	) k;
	return jobq.api_list(items, jobq.api_cursor(case when n = max then lowest else edge end::text));
end
$$;

create function jobq.api_workflow(id bigint) returns jsonb
language plpgsql stable as $$
declare
	row jsonb;
begin
	select to_jsonb(w) into row from jobq.workflows w
	where w.id = api_workflow.id;
	if row is null then
		perform jobq.api_refuse('P0002', format('there is no workflow %s', id));
	end if;
	return row;
end
$$;

create function jobq.api_workflow_cancel(id bigint) returns jsonb
language plpgsql as $$
begin
	perform jobq.api_workflow(id);
	if not jobq.workflow_cancel(id) then
		perform jobq.api_refuse('55000', format('workflow %s has ended', id));
	end if;
	return jobq.api_workflow(id);
end
$$;

create function jobq.api_workflow_retry(id bigint) returns jsonb
language plpgsql as $$
begin
	perform jobq.api_workflow(id);
	if not jobq.workflow_retry(id) then
		perform jobq.api_refuse('55000', format('workflow %s has not failed', id),
		    'One that failed or was cancelled can be taken up again.');
	end if;
	return jobq.api_workflow(id);
end
$$;
