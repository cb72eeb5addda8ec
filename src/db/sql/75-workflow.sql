-- Workflows: steps that become jobs when those they come after are done.

-- Start a workflow. Returns its id, as in the view workflows.
create function jobq.workflow(name text, data jsonb default '{}') returns bigint
language plpgsql as $$
declare
	d jsonb;
	me bigint;
begin
	select w.definition into d from jobq.workflow_def w where w.name = workflow.name;
	if not found then
		raise exception 'there is no workflow "%"', coalesce(left(name, 63), 'NULL') using errcode = '22023',
		    hint = coalesce('The workflows are: ' || (select string_agg(w.name, ', ' order by w.name)
		        from jobq.workflow_def w) || '.', 'None is registered.');
	end if;
	if data is null or jsonb_typeof(data) <> 'object' then
		raise exception 'data is no object' using errcode = '22023',
		    hint = 'Give a JSON object, e.g. {"tenant": "acme"}.';
	end if;
	insert into jobq.workflow_run (name, data, on_failure)
	values (workflow.name, workflow.data, d -> 'on_failure')
	returning id into me;
	insert into jobq.step (workflow, name, after, definition)
	select me, s.key, coalesce(jobq.texts(s.value -> 'after'), '{}'), s.value
	from jsonb_each(d -> 'steps') s;
	perform jobq.workflow_go(me);
	return me;
end
$$;

-- Take a workflow as far as it goes: note the steps whose jobs have ended,
-- start those whose turn it is, end it. The caller has its row, locked.
create function jobq.workflow_go(id bigint) returns void
language plpgsql as $$
declare
	w jobq.workflow_run;
	s jobq.step;
	context jsonb;
begin
	select * into w from jobq.workflow_run r where r.id = workflow_go.id for update;
	perform jobq.workflow_note(w.id);
	if w.state <> 'running' then
		return;
	end if;
	select * into s from jobq.step k
	where k.workflow = w.id and k.state in ('dead', 'cancelled') order by k.state desc, k.name limit 1;
	if found then
		perform jobq.workflow_stop(w, s);
		return;
	end if;
	loop
		select jsonb_build_object('data', w.data, 'result',
		    coalesce(jsonb_object_agg(k.name, coalesce(k.result, 'null')) filter (where k.state = 'completed'), '{}'))
		into context from jobq.step k where k.workflow = w.id;
		select * into s from jobq.step k
		where k.workflow = w.id and k.state = 'waiting'
		    and not exists (select from jobq.step b where b.workflow = w.id and b.name = any (k.after)
		        and b.state not in ('completed', 'skipped'))
		order by k.name limit 1;
		exit when not found;
		perform jobq.step_start(s, context);
	end loop;
	if not exists (select from jobq.step k where k.workflow = w.id
	    and k.state not in ('completed', 'skipped')) then
		update jobq.workflow_run r set state = 'completed', finished_at = clock_timestamp()
		where r.id = w.id;
	end if;
end
$$;

-- Note the active steps whose jobs have ended.
create function jobq.workflow_note(id bigint) returns void
language sql as $$
	with e as (
		select k.name, k.job, jobq.final_outcome(k.job) as outcome
		from jobq.step k where k.workflow = workflow_note.id and k.state = 'active'
	), d as (
		delete from jobq.waits t using e
		where t.parent = e.job and t.job = 0 and t.workflow = workflow_note.id
		    and e.outcome is distinct from 0
	)
	update jobq.step k
	set state = case e.outcome when 1 then 'completed' when 3 then 'dead' else 'cancelled' end,
	    result = (select a.result from jobq.attempt a where a.job = e.job and a.outcome = 1 limit 1)
	from e
	where k.workflow = workflow_note.id and k.name = e.name and e.outcome is distinct from 0
$$;

-- Start a step, or skip it when its `if` says so. Its data is its own with
-- placeholders filled in, else the workflow's. A step that cannot start (its
-- data came out too large, say) counts as dead.
create function jobq.step_start(s jobq.step, context jsonb) returns void
language plpgsql as $$
declare
	j bigint;
	d jsonb := s.definition;
begin
	if d ? 'if' and not jobq.truth(context, d ->> 'if') then
		update jobq.step k set state = 'skipped' where k.workflow = s.workflow and k.name = s.name;
		return;
	end if;
	begin
		j := jobq.enqueue_object(d ->> 'queue', jobq.fill(d - '{queue,after,if,data,unique_key}'::text[], context)
		    || jsonb_build_object('data', coalesce(jobq.fill(d -> 'data', context), context -> 'data')), 'the step ' || s.name);
		insert into jobq.waits (parent, workflow) values (j, s.workflow);
		update jobq.step k set state = 'active', job = j
		where k.workflow = s.workflow and k.name = s.name;
	exception when data_exception or program_limit_exceeded then
		perform jobq.workflow_stop((select r from jobq.workflow_run r where r.id = s.workflow), s, sqlerrm);
	end;
end
$$;

-- A step ended dead or cancelled: cancel the others, and when it was dead
-- enqueue the workflow's on_failure.
create function jobq.workflow_stop(w jobq.workflow_run, s jobq.step, reason text default null) returns void
language plpgsql as $$
declare
	k jobq.step;
	dead boolean := reason is not null or s.state = 'dead';
begin
	reason := coalesce(reason, (select a.error from jobq.attempt a where a.job = s.job
	    order by a.attempt desc limit 1), '');
	update jobq.workflow_run r
	set state = case when dead then 'failed' else 'cancelled' end, failed_step = s.name,
	    error = reason, finished_at = clock_timestamp()
	where r.id = w.id;
	update jobq.step t set state = case when dead and t.name = s.name then 'dead' else 'cancelled' end
	where t.workflow = w.id and t.state = 'waiting';
	for k in select * from jobq.step t where t.workflow = w.id and t.state = 'active' loop
		perform jobq.cancel(k.job);
	end loop;
	perform jobq.workflow_note(w.id);
	if dead and w.on_failure is not null then
		perform jobq.enqueue_object(w.on_failure ->> 'queue',
		    jobq.fill(w.on_failure - '{queue,data}'::text[], jsonb_build_object('data', w.data))
		    || jsonb_build_object('data', w.data || jsonb_build_object('failed_step', s.name, 'error', reason)),
		    'on_failure');
	end if;
end
$$;

-- Is what a path names there, and not null, false, 0, '' or empty? '!path': not so.
create function jobq.truth(context jsonb, condition text) returns boolean
language sql immutable as $$
	select (left(btrim(condition), 1) = '!') <>
	    (coalesce(jobq.lookup(context, ltrim(btrim(condition), '! ')), 'null')
	        not in ('null', 'false', '0', '""', '[]', '{}'))
$$;

-- Fill the placeholders {{path}} in a template: a string that is nothing but
-- one becomes the value itself, of its own type (null when there is none);
-- inside a longer string the value's text. Only paths, nothing is executed,
-- and what was filled in is not looked at again.
create function jobq.fill(template jsonb, context jsonb) returns jsonb
language plpgsql immutable as $$
declare
	s text;
	out text := '';
	part text[];
begin
	case jsonb_typeof(template)
	when 'object' then
		return (select coalesce(jsonb_object_agg(e.key, jobq.fill(e.value, context)), '{}')
		    from jsonb_each(template) e);
	when 'array' then
		return (select coalesce(jsonb_agg(jobq.fill(e.value, context) order by e.n), '[]')
		    from jsonb_array_elements(template) with ordinality e(value, n));
	when 'string' then
		s := template #>> '{}';
	else
		return template;
	end case;
	if s ~ '^\s*\{\{[^{}]*\}\}\s*$' then
		return coalesce(jobq.lookup(context, btrim(s, E' \t\r\n{}')), 'null');
	elsif s !~ '\{\{[^{}]*\}\}' then
		return template;
	end if;
	for part in select regexp_matches(s, '(.*?)(?:\{\{([^{}]*)\}\}|$)', 'gs') loop
		out := out || coalesce(part[1], '') || coalesce(jobq.lookup(context, part[2]) #>> '{}', '');
	end loop;
	return to_jsonb(out);
end
$$;
