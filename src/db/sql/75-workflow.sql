-- Workflows: steps that become jobs when those they come after are done.
--
-- A step is one job, or a list of jobs (for_each, a batch). Its jobs' ends are
-- noted in step_job, with the results, so that nothing of a workflow depends
-- on how long jobs are kept. Whoever takes a workflow further has its row
-- locked: each step starts once. An end that finds it locked by another
-- transaction is left to that of the sweep (settle, unsettled).

-- Start a workflow of the configuration. Returns its id, as in the view
-- workflows. tenant: whose its jobs are, unless a step says so.
create function jobq.workflow(name text, data jsonb default '{}', tenant text default null) returns bigint
language plpgsql as $$
declare
	d jsonb;
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
	return jobq.workflow_start(name, d, data, tenant);
end
$$;

-- Enqueue many jobs of a queue, and when all have ended a job that hears of it:
--   jobs         as enqueue_many() takes them; none is fine
--   on_complete  enqueued when all have ended, however: an object of enqueue()'s
--                arguments with `queue`, else the batch's
--   on_success   … when all have completed, not otherwise
-- To the data of both a member "batch" is added: {"id", "total", "completed",
-- "failed"}. Returns the batch's id: it is a workflow, of the steps jobs,
-- on_complete and on_success.
create function jobq.batch(queue text, jobs jsonb, on_complete jsonb default null,
    on_success jsonb default null, name text default 'batch', tenant text default null) returns bigint
language plpgsql as $$
declare
	steps jsonb := jsonb_build_object('jobs', jsonb_build_object('queue', queue, 'allow_failure', true));
	me bigint;
	c record;
begin
	if jobs is null or jsonb_typeof(jobs) <> 'array' then
		raise exception 'jobs is no array' using errcode = '22023',
		    hint = 'Give [{"type": …, "data": {…}}, …].';
	end if;
	for c in select * from (values ('on_complete', on_complete, null), ('on_success', on_success, '!count.jobs.failed'))
	    k(name, job, condition) where job is not null
	loop
		if jsonb_typeof(c.job) <> 'object' or jsonb_typeof(coalesce(c.job -> 'data', '{}')) <> 'object' then
			raise exception '% or its data is no object', c.name using errcode = '22023',
			    hint = 'Give {"queue": …, "type": …, "data": {…}}.';
		end if;
		steps := steps || jsonb_build_object(c.name, jsonb_build_object('queue', queue) || (c.job - 'data')
		    || jsonb_strip_nulls(jsonb_build_object('after', '["jobs"]'::jsonb, 'if', c.condition))
		    || jsonb_build_object('literal', coalesce(c.job -> 'data', '{}')));
	end loop;
	me := jobq.workflow_start(coalesce(name, 'batch'), jsonb_build_object('steps', steps), '{}', tenant, jobs);
	return me;
end
$$;

-- Check a definition, store a run of it and begin. jobs: those of the step
-- `jobs`, when this is a batch. What is wrong already at the beginning, also
-- with the first jobs, is the caller's error, and nothing is stored.
create function jobq.workflow_start(name text, d jsonb, data jsonb, tenant text, jobs jsonb default null)
returns bigint
language plpgsql as $$
declare
	w jobq.workflow_run;
begin
	if octet_length(tenant) > 255 or octet_length(name) > 255 then
		raise exception 'the name or the tenant is too long' using errcode = '54000',
		    hint = 'Both have 255 bytes at most.';
	end if;
	tenant := jobq.own_tenant(tenant);
	perform jobq.workflow_check(name, d);
	insert into jobq.workflow_run (name, data, tenant, on_failure)
	values (workflow_start.name, workflow_start.data, workflow_start.tenant, d -> 'on_failure')
	returning * into w;
	insert into jobq.step (workflow, name, after, allow_failure, list, definition)
	select w.id, s.key, coalesce(jobq.texts(s.value -> 'after'), '{}'),
	    coalesce((s.value ->> 'allow_failure')::boolean, false),
	    s.value ? 'for_each' or jobs is not null and s.key = 'jobs', s.value
	from jsonb_each(d -> 'steps') s;
	if jobs is not null then
		perform jobq.step_enqueue(w.id, 'jobs', d #>> '{steps,jobs,queue}', jobs);
	end if;
	perform jobq.workflow_go(w.id);
	return w.id;
end
$$;

-- Is this a definition that can run? Raises when not: members and queues that
-- are unknown, steps that wait for themselves, paths to steps that do not come
-- before.
create function jobq.workflow_check(name text, d jsonb) returns void
language plpgsql as $$
declare
	s record;
	k text;
	path text[];
	before jsonb;		-- step → {a step it comes after, however far: true}
begin
	if coalesce(jsonb_typeof(d -> 'steps'), '') <> 'object' or d -> 'steps' = '{}' then
		raise exception 'workflow "%" has no steps', name using errcode = '22023';
	end if;
	with recursive r(step, earlier) as (
		select e.key, a.name from jsonb_each(d -> 'steps') e, unnest(jobq.texts(e.value -> 'after')) a(name)
		union
		select r.step, a.name from r, unnest(jobq.texts(d -> 'steps' -> r.earlier -> 'after')) a(name)
	)
	select coalesce(jsonb_object_agg(g.step, g.names), '{}') into before
	from (select r.step, jsonb_object_agg(r.earlier, true) as names from r group by 1) g;
	for s in
		select key, value from jsonb_each(d -> 'steps')
		union all select 'on_failure', d -> 'on_failure' where jsonb_typeof(d -> 'on_failure') = 'object'
	loop
		begin
			perform jobq.queue_get(s.value ->> 'queue');
			select o into k from jsonb_object_keys(s.value) o
			where o <> all ('{queue,after,if,for_each,allow_failure,data,literal,type,priority,delay,tenant,
			    max_attempts,timeout,tags,key,unique_key}');
			if found then
				raise exception 'there is no "%" of a step', left(k, 63) using errcode = '22023',
				    hint = 'See workflows in jobqd.yml(5).';
			end if;
			select o into k from jsonb_object_keys(before -> s.key) o where not (d -> 'steps') ? o limit 1;
			if found then
				raise exception 'it comes after "%", and there is no such step', left(k, 63)
				using errcode = '22023', hint = format('The steps are: %s.',
				    (select string_agg(o, ', ' order by o) from jsonb_object_keys(d -> 'steps') o));
			elsif before -> s.key ? s.key then
				raise exception 'it comes after itself' using errcode = '22023',
				    hint = 'Look at its `after`, and theirs.';
			end if;
			for path in
				select string_to_array(p, '.') from jobq.template_paths(s.value - '{after,if,for_each,literal}'::text[]) p
				union all select string_to_array(jobq.bare_path(ltrim(jobq.bare_path(s.value ->> o), '!')), '.')
				from unnest('{if,for_each}'::text[]) o where s.value ? o
			loop
				if '' = any (path) or path = '{}'
				    or path[1] <> all ('{data,result,count,workflow,now}'::text[]
				        || case when s.value ? 'for_each' then '{item,index}'::text[] else '{}' end) then
					raise exception '{{%}}: there is no such value', array_to_string(path, '.')
					using errcode = '22023', hint = 'A path is like data.x, result.STEP.x, count.STEP.failed, '
					    'workflow.id or now, and item.x in a step with for_each.';
				elsif path[1] in ('result', 'count') and path[2] is not null
				    and not coalesce(before -> s.key, '{}') ? path[2] then
					raise exception '{{%}}: "%" is no step that it comes after', array_to_string(path, '.'), path[2]
					using errcode = '22023', hint = 'Name the step in its `after`, or in that of one before.';
				elsif path[1] in ('result', 'count') and path[2] is null then
					raise exception '{{%}}: of which step?', path[1]
					using errcode = '22023', hint = 'Name one, as in result.STEP.x.';
				end if;
			end loop;
		exception when data_exception then
			declare
				what text := sqlerrm;
				tip text;
			begin
				get stacked diagnostics tip = pg_exception_hint;
				raise exception 'workflow "%", step "%": %', name, s.key, what using errcode = '22023', hint = tip;
			end;
		end;
	end loop;
end
$$;

-- Take a workflow as far as it goes: note the jobs that have ended, start the
-- steps whose turn it is, end it.
--   parents   the jobs that may have ended; null: look at all, and let errors
--             of the steps that start be the caller's
create function jobq.workflow_go(id bigint, parents bigint[] default null) returns void
language plpgsql as $$
declare
	w jobq.workflow_run;
	s jobq.step;
begin
	select * into w from jobq.workflow_run r where r.id = workflow_go.id for update;
	if not jobq.workflow_note(w.id, parents) and parents is not null or w.state <> 'running' then
		return;
	end if;
	loop
		select * into s from jobq.step k
		where k.workflow = w.id and k.state in ('dead', 'cancelled') and not k.allow_failure
		order by k.state desc, k.name limit 1;
		if found then
			perform jobq.workflow_stop(w, s);
			return;
		end if;
		select * into s from jobq.step k
		where k.workflow = w.id and k.state = 'waiting'
		    and not exists (select from jobq.step b where b.workflow = w.id and b.name = any (k.after)
		        and b.state in ('waiting', 'active'))
		order by k.name limit 1;
		exit when not found;
		perform jobq.step_start(w, s, parents is null);
	end loop;
	if not exists (select from jobq.step k where k.workflow = w.id and k.state in ('waiting', 'active')) then
		update jobq.workflow_run r set state = 'completed', finished_at = clock_timestamp()
		where r.id = w.id;
	end if;
end
$$;

-- Note the jobs that have ended. True: a step has ended by that.
create function jobq.workflow_note(id bigint, parents bigint[]) returns boolean
language plpgsql as $$
declare
	ended boolean := false;
	c record;
begin
	for c in
		with e as materialized (
			-- nothing is known of one that is gone, or another tenant's
			select k.step, k.n, k.job, coalesce(jobq.final_outcome(k.job),
			    case when jobq.tenant() <> '' then 0 end) as outcome
			from jobq.step_job k
			where k.workflow = workflow_note.id and k.state = 'active'
			    and (parents is null or k.job = any (parents))
		), d as (
			delete from jobq.waits t using e
			where t.parent = e.job and t.job = 0 and t.workflow = workflow_note.id
			    and e.outcome is distinct from 0
		), u as (
			update jobq.step_job k
			set state = case e.outcome when 1 then 'completed' when 3 then 'dead' else 'cancelled' end,
			    result = case e.outcome when 1 then jobq.job_result(e.job) end
			from e
			where k.workflow = workflow_note.id and k.step = e.step and k.n = e.n
			    and e.outcome is distinct from 0
			returning k.step, k.state
		)
		select u.step, count(*) as ended, count(*) filter (where u.state = 'completed') as completed,
		    max(u.state) filter (where u.state <> 'completed') as worst
		from u group by u.step
	loop
		update jobq.step s
		set open = s.open - c.ended, completed = s.completed + c.completed,
		    state = case when s.state <> 'active' then s.state
		        when c.worst is not null and not s.allow_failure then c.worst
		        when s.open > c.ended then 'active'
		        when s.completed + c.completed = s.total then 'completed'
		        else 'dead' end
		where s.workflow = workflow_note.id and s.name = c.step
		returning s.state <> 'active' or ended into ended;
	end loop;
	return ended;
end
$$;

-- The result of a job that has completed, kept with it or in the history.
create function jobq.job_result(job bigint) returns jsonb
language plpgsql stable as $$
declare
	r jsonb;
begin
	select a.result into r from jobq.attempt a where a.job = job_result.job and a.outcome = 1 limit 1;
	if not found then
		select h.result into r from jobq.history h where h.job = job_result.job and h.outcome = 1 limit 1;
	end if;
	return r;
end
$$;

-- What a path in a step's definition may begin with: data, workflow, now, the
-- counts of jobs of the steps that have ended, and the results of those that
-- the definition names. The result of a list is that of each of its jobs.
create function jobq.step_context(w jobq.workflow_run, d jsonb) returns jsonb
language sql as $$
	select jsonb_build_object('data', w.data, 'now', jobq.rfc3339(clock_timestamp()),
	    'workflow', jsonb_build_object('id', w.id, 'name', w.name),
	    'count', coalesce(jsonb_object_agg(k.name, jsonb_build_object('total', k.total,
	        'completed', k.completed, 'failed', k.total - k.completed)), '{}'),
	    'result', coalesce(jsonb_object_agg(k.name, case when k.list then
	            (select coalesce(jsonb_agg(e.result order by e.n), '[]') from jobq.step_job e
	                where e.workflow = w.id and e.step = k.name)
	        else (select coalesce(e.result, 'null') from jobq.step_job e
	                where e.workflow = w.id and e.step = k.name) end)
	        filter (where k.state <> 'skipped' and position('result.' || k.name in d::text) > 0), '{}'))
	from jobq.step k
	where k.workflow = w.id and k.state not in ('waiting', 'active')
$$;

-- Start a step, or skip it when its `if` says so. One that cannot start (its
-- data came out too large, say) counts as dead; loud: it is an error.
create function jobq.step_start(w jobq.workflow_run, s jobq.step, loud boolean) returns void
language plpgsql as $$
declare
	context jsonb;
begin
	begin
		context := jobq.step_context(w, s.definition);
		if s.definition ? 'if' and not jobq.truth(s.definition ->> 'if', context) then
			update jobq.step k set state = 'skipped' where k.workflow = w.id and k.name = s.name;
			return;
		end if;
		perform jobq.step_enqueue(w.id, s.name, s.definition ->> 'queue', jobq.step_jobs(w, s, context));
	exception when data_exception or program_limit_exceeded then
		if loud then
			raise;
		end if;
		update jobq.step k set state = 'dead', error = left(sqlerrm, 4096)
		where k.workflow = w.id and k.name = s.name;
	end;
end
$$;

-- The jobs of a step, as enqueue_many() takes them.
create function jobq.step_jobs(w jobq.workflow_run, s jobq.step, context jsonb) returns jsonb
language plpgsql as $$
declare
	d jsonb := s.definition - '{queue,after,if,for_each,allow_failure,data,literal}'::text[];
	list jsonb;
begin
	if w.tenant is not null and not d ? 'tenant' then
		d := d || jsonb_build_object('tenant', w.tenant);
	end if;
	if not s.list then
		return jsonb_build_array(jobq.fill(d, context) || jsonb_build_object('data',
		    case when s.definition ? 'literal' then s.definition -> 'literal'
		        || jsonb_build_object('batch', jsonb_build_object('id', w.id) || (context #> '{count,jobs}'))
		    when s.definition ? 'data' then jobq.fill(s.definition -> 'data', context)
		    else w.data end));
	end if;
	list := jobq.template_value(jobq.bare_path(s.definition ->> 'for_each'), context);
	if coalesce(jsonb_typeof(list), 'null') <> 'array' then
		raise exception 'for_each: % is %, not an array', jobq.bare_path(s.definition ->> 'for_each'),
		    coalesce(jsonb_typeof(list), 'missing')
		using errcode = '22023', hint = 'Where it may be missing, say so by an `if`.';
	elsif jsonb_array_length(list) > 10000 then
		raise exception 'for_each: % elements, 10000 are allowed', jsonb_array_length(list)
		using errcode = '54000', hint = 'Let each job deal with more of them.';
	end if;
	return (select coalesce(jsonb_agg(jobq.fill(d, context, l.this) || jsonb_build_object('data',
	        case when s.definition ? 'data' then jobq.fill(s.definition -> 'data', context, l.this)
	        when jsonb_typeof(e.value) = 'object' then e.value
	        else jsonb_build_object('item', e.value) end) order by e.n), '[]')
	    from jsonb_array_elements(list) with ordinality e(value, n),
	    lateral (select jsonb_build_object('item', e.value, 'index', e.n - 1) as this) l);
end
$$;

-- Enqueue the jobs of a step, which is active from now on; done when there are
-- none.
create function jobq.step_enqueue(w bigint, step text, queue text, jobs jsonb) returns void
language plpgsql as $$
declare
	ids bigint[] := array(select jobq.enqueue_many(queue, jobs));
begin
	insert into jobq.step_job (workflow, step, n, job)
	select w, step_enqueue.step, i, ids[i] from generate_series(1, cardinality(ids)) i;
	-- two may be one job, by a unique key
	insert into jobq.waits (parent, workflow) select unnest(ids), w on conflict do nothing;
	update jobq.step k
	set state = case when ids = '{}' then 'completed' else 'active' end,
	    total = cardinality(ids), open = cardinality(ids), completed = 0, error = null
	where k.workflow = w and k.name = step_enqueue.step;
end
$$;

-- A step ended dead or cancelled: cancel the others, and when it was dead
-- enqueue the workflow's on_failure.
create function jobq.workflow_stop(w jobq.workflow_run, s jobq.step) returns void
language plpgsql as $$
declare
	reason text := coalesce(s.error, (
	    select (select a.error from jobq.attempt a where a.job = k.job order by a.attempt desc limit 1)
	    from jobq.step_job k where k.workflow = w.id and k.step = s.name and k.state = s.state
	    order by k.n limit 1), '');
	undo bigint;
begin
	perform jobq.workflow_end(w.id, case s.state when 'dead' then 'failed' else 'cancelled' end, s.name, reason);
	if s.state <> 'dead' or w.on_failure is null or w.on_failure = 'null' then
		return;
	end if;
	begin
		undo := jobq.enqueue_object(w.on_failure ->> 'queue',
		    jsonb_strip_nulls(jsonb_build_object('tenant', w.tenant))
		    || jobq.fill(w.on_failure - '{queue,data}'::text[], jobq.step_context(w, w.on_failure))
		    || jsonb_build_object('data', w.data || jsonb_build_object('failed_step', s.name, 'error', reason)),
		    'on_failure');
		update jobq.workflow_run r set on_failure_job = undo where r.id = w.id;
	exception when data_exception or program_limit_exceeded then
		update jobq.workflow_run r set error = left(r.error || E'\non_failure: ' || sqlerrm, 8192)
		where r.id = w.id;
	end;
end
$$;

-- End a workflow early: steps that wait and jobs that have not ended are cancelled.
create function jobq.workflow_end(id bigint, state text, failed_step text, error text) returns void
language plpgsql as $$
declare
	open bigint[] := array(select distinct k.job from jobq.step_job k
	    where k.workflow = workflow_end.id and k.state = 'active');
	j bigint;
begin
	update jobq.workflow_run r
	set state = workflow_end.state, failed_step = workflow_end.failed_step,
	    error = workflow_end.error, finished_at = clock_timestamp()
	where r.id = workflow_end.id;
	update jobq.step k set state = 'cancelled' where k.workflow = workflow_end.id and k.state = 'waiting';
	-- nobody is to hear of each: all are noted at once
	delete from jobq.waits t
	where t.parent = any (open) and t.job = 0 and t.workflow = workflow_end.id;
	foreach j in array open loop
		perform jobq.stop(j);
	end loop;
	perform jobq.workflow_note(id, null);
	insert into jobq.waits (parent, workflow)
	select distinct k.job, k.workflow from jobq.step_job k
	where k.workflow = workflow_end.id and k.state = 'active'
	on conflict do nothing;
end
$$;

-- Cancel a workflow that runs, with all its jobs; running ones are asked to
-- stop. on_failure is not for that. False: it has ended, or there is none.
create function jobq.workflow_cancel(id bigint) returns boolean
language plpgsql as $$
begin
	perform from jobq.workflow_run r where r.id = workflow_cancel.id and r.state = 'running' for update;
	if not found then
		return false;
	end if;
	perform jobq.workflow_end(id, 'cancelled', null, 'cancelled by ' || jobq.actor());
	perform jobq.audit_add('cancel', 'workflow ' || id, '', '{"state": "running"}', '{"state": "cancelled"}');
	return true;
end
$$;

-- Take up a failed or cancelled workflow where it stood: jobs that are dead
-- run again, cancelled ones are made anew, cancelled steps wait again. What
-- has completed stays so, and a step that is allowed to fail as it was once
-- another has begun after it. False: it is in no such state. 55006: a job of it
-- still runs, or is needed and no longer kept.
create function jobq.workflow_retry(id bigint) returns boolean
language plpgsql as $$
declare
	k record;
	again bigint;
	was text;
begin
	select r.state into was from jobq.workflow_run r
	where r.id = workflow_retry.id and r.state in ('failed', 'cancelled') for update;
	if not found then
		return false;
	end if;
	perform jobq.workflow_note(id, null);
	if exists (select from jobq.step_job j where j.workflow = workflow_retry.id and j.state = 'active') then
		raise exception 'workflow % has jobs that still run', id
		using errcode = '55006', hint = 'They have been asked to stop: try again when they have.';
	end if;
	update jobq.workflow_run r set state = 'running', failed_step = null, error = null, finished_at = null
	where r.id = workflow_retry.id;
	for k in
		select j.*, s.list, s.definition ->> 'queue' as queue
		from jobq.step_job j join jobq.step s on s.workflow = j.workflow and s.name = j.step
		where j.workflow = workflow_retry.id and j.state in ('dead', 'cancelled')
		    and (not s.allow_failure or j.state = 'cancelled' and not exists (
		        select from jobq.step b where b.workflow = s.workflow and s.name = any (b.after)
		            and (b.total > 0 or b.state = 'skipped')))
		order by j.step, j.n
	loop
		if k.state = 'dead' and (jobq.retry(k.job) or jobq.final_outcome(k.job) in (0, 1)) then
			again := k.job;		-- or somebody has retried it already
		elsif k.list then
			again := jobq.enqueue_again(k.job);
			if again is null then
				raise exception 'job % of the step "%" is no longer kept', k.job, k.step
				using errcode = '55006', hint = 'Start the workflow anew.';
			end if;
		else
			delete from jobq.step_job j where j.workflow = k.workflow and j.step = k.step;
			update jobq.step s set state = 'waiting', total = 0, open = 0
			where s.workflow = k.workflow and s.name = k.step;
			continue;
		end if;
		update jobq.step_job j set state = 'active', job = again
		where j.workflow = k.workflow and j.step = k.step and j.n = k.n;
		insert into jobq.waits (parent, workflow) values (again, k.workflow) on conflict do nothing;
		update jobq.step s set state = 'active', open = s.open + 1
		where s.workflow = k.workflow and s.name = k.step;
	end loop;
	update jobq.step s set state = 'waiting', error = null
	where s.workflow = workflow_retry.id and s.state in ('dead', 'cancelled') and s.total = 0;
	perform jobq.audit_add('retry', 'workflow ' || id, '', jsonb_build_object('state', was), '{"state": "running"}');
	perform jobq.workflow_go(id);
	return true;
end
$$;

-- A copy of a job that was cancelled, to run now; null: it is not kept any more.
create function jobq.enqueue_again(job bigint) returns bigint
language sql as $$
	select jobq.enqueue_job(q.name, j.type, j.data,
	    case when q.large_first then 99 - j.lane / 256 else j.lane / 256 end, null, null, j.unique_key, j.tenant,
	    j.max_attempts, jobq.ms(j.timeout_ms), j.tags, null, j.key)
	from jobq.job j join jobq.queue q on q.id = j.queue where j.id = enqueue_again.job
$$;

-- A dead job was retried: when a workflow failed by it, that goes on too,
-- unless it cannot yet.
create function jobq.workflow_rejoin(job bigint) returns void
language plpgsql as $$
begin
	perform jobq.workflow_retry(w.id)
	from jobq.step_job k
	join jobq.step s on s.workflow = k.workflow and s.name = k.step and not s.allow_failure
	join jobq.workflow_run w on w.id = k.workflow and w.state = 'failed'
	where k.job = workflow_rejoin.job and k.state = 'dead';
exception when object_in_use then
	null;
end
$$;
