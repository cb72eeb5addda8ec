-- What people do to jobs and queues.

-- Cancel a job: one that waits ends at once; one that runs is asked to stop.
-- True in both cases; false when it has ended or there is none.
create function jobq.cancel(id bigint) returns boolean
language plpgsql as $$
declare
	was jsonb := jobq.job_state(id);
begin
	if not jobq.stop(id) then
		return false;
	end if;
	perform jobq.audit_add('cancel', 'job ' || id, '', was, jobq.job_state(id)
	    || case when was ->> 'state' = 'running' then '{"asked_to_stop": true}' else '{}' end::jsonb);
	return true;
end
$$;

-- The same as a part of something else.
create function jobq.stop(id bigint) returns boolean
language plpgsql as $$
declare
	j jobq.job;
	l record;
	n smallint;
	over boolean;
	timed boolean;
begin
	select * into j from jobq.job k where k.id = stop.id;
	if not found then
		return false;
	end if;
	loop
		-- one look: what ends in between must not count as an attempt before
		select coalesce(max(a.attempt), 0) + 1, coalesce(bool_or(a.outcome in (1, 3, 4, 6)), false)
		into n, over from jobq.attempt a where a.job = j.id;
		if over then
			return false;
		end if;
		select k.pool, k.attempt into l from jobq.lease k where k.queue = j.queue and k.job = j.id
		order by k.attempt desc limit 1;
		if found and l.attempt = n then
			insert into jobq.cancel_request as c (job, attempt, queue, pool, by)
			values (j.id, n, j.queue, l.pool, jobq.actor())
			on conflict (job, attempt) do update set pool = excluded.pool, at = excluded.at;
			perform pg_notify('jobq', '*cancel');
			return true;
		end if;
		if jobq.end_waiting(j.id, n, j.queue, format('cancelled by %s', jobq.actor())) then
			exit;
		end if;		-- its attempt ended in this moment: look again
	end loop;
	delete from jobq.timer t where t.job = j.id;
	timed := found;
	delete from jobq.blocked b where b.job = j.id;
	if found then
		delete from jobq.waits w where w.job = j.id;
	elsif not timed then
		-- it was ready: a claim may take it in this moment
		insert into jobq.cancel_request (job, attempt, queue, by)
		values (j.id, n, j.queue, jobq.actor()) on conflict do nothing;
		perform pg_notify('jobq', '*cancel');
	end if;
	perform jobq.ended(array[j.id]);
	return true;
end
$$;

-- Run a dead job again: its attempts go on counting, and the policy's are
-- granted anew, and a workflow that failed by it goes on, if it can. A job that
-- waits for its next attempt has it now. With data
-- given the job has that from now on, and the audit has what it was. False:
-- it is in no such state. 23505: its unique key is another job's by now.
create function jobq.retry(id bigint, data jsonb default null) returns boolean
language plpgsql as $$
declare
	a jobq.attempt;
	refused text;
begin
	if not jobq.hold_part(id) then
		raise exception 'job % is just being moved to another partition', id
		using errcode = '55006', hint = 'Try again in some seconds.';
	end if;
	select * into a from jobq.attempt k where k.job = retry.id
	order by k.attempt desc limit 1 for update;
	if a.outcome = 3 then
		if data is not null then
			perform jobq.edit(id, data);
		end if;
		select r.refused into refused from jobq.retry_dead(array[id]) r;
		if refused is not null then
			raise exception 'job %: %', id, refused
			using errcode = '23505', hint = 'Cancel or await that job first.';
		end if;
		return found;
	elsif a.outcome is distinct from 2 then
		return false;
	end if;
	with d as (delete from jobq.timer t where t.job = retry.id returning t.attempt)
	select d.attempt into a.attempt from d;
	if not found then
		return false;
	end if;
	if data is not null then
		perform jobq.edit(id, data);
	end if;
	perform jobq.put_turn(j.id, j.queue, j.lane, null, a.attempt), jobq.nudge(q.id, q.name)
	from jobq.job j join jobq.queue q on q.id = j.queue where j.id = retry.id;
	perform jobq.audit_add('retry', 'job ' || id, '', '{"state": "retrying"}', '{"state": "ready"}');
	return true;
end
$$;

-- Give a job that waits other data, checked as enqueue() does. Keys that its
-- data said are what the new data says. The audit has both.
create function jobq.edit(id bigint, data jsonb) returns void
language plpgsql as $$
declare
	j jobq.job;
	q jobq.queue;
	was jsonb;
	own text;
	owner bigint;
begin
	select * into j from jobq.job k where k.id = edit.id for update;
	select * into q from jobq.queue k where k.id = j.queue;
	perform jobq.check_data(q, data);
	was := j.data;
	j.data := data;
	own := j.unique_key;
	if own = jobq.part_of(q.unique_path, was, j.tenant) then
		j.unique_key := jobq.part_of(q.unique_path, data, j.tenant);
	end if;
	if j.key = left(jobq.part_of(q.key_path, was, j.tenant), 255) then
		j.key := left(jobq.part_of(q.key_path, data, j.tenant), 255);
	end if;
	update jobq.job k set data = j.data, unique_key = j.unique_key, key = j.key where k.id = j.id;
	if j.unique_key is distinct from own then
		perform jobq.free_keys(array[j.id]);
		owner := case when j.unique_key is not null then jobq.take_key(q.id, q.unique_ms, j.unique_key, j.tenant, j.id) end;
		if owner <> j.id then
			raise exception 'job %: its new unique key is that of job %', j.id, owner
			using errcode = '23505', hint = 'Cancel or await that job first.';
		end if;
	end if;
	perform jobq.audit_add('edit', 'job ' || id, '', jsonb_build_object('data', was), jsonb_build_object('data', data));
end
$$;

-- Run dead letters again, at once, or from run_at on, at so many a second:
-- each has its time from here on, so nobody needs to go on with it. Ids of
-- other jobs are passed over. Returns a row for each dead letter: null, or
-- why it stays one. Many are best taken some hundred at a time.
create function jobq.retry_dead(ids bigint[], rate float8 default null, run_at timestamptz default null)
returns table (job_id bigint, refused text)
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_generic_plan set jit = off as $$
#variable_conflict use_column
declare
	dead bigint[];
	bad bigint[] := '{}';
	owners bigint[] := '{}';
	owner bigint;
	k record;
	first timestamptz := coalesce(jobq.run_time(retry_dead.run_at, null), case when rate is not null then clock_timestamp() end);
begin
	if rate <= 0 or rate > 1e6 or rate = 'NaN' then
		raise exception 'rate % is not in 0 … 1000000 a second', rate using errcode = '22023';
	end if;
	-- in the order of ids, so that two who do this never wait in a circle
	dead := array(select a.job from jobq.attempt a where a.job = any (ids) and a.outcome = 3
	    order by a.job for update);
	-- whoever just removed one has let us wait, and is seen from here on
	dead := array(select d from unnest(dead) d where exists (select from jobq.job j where j.id = d) order by d);
	if exists (select from unnest(dead) d where not jobq.hold_part(d)) then
		raise exception 'some of the jobs are just being moved to another partition'
		using errcode = '55006', hint = 'Try again in some seconds.';
	end if;
	for k in
		select j.id, j.queue, j.unique_key, j.tenant, q.unique_ms from unnest(dead) d,
		lateral (select * from jobq.job j where j.id = d and j.unique_key is not null limit 1) j
		join jobq.queue q on q.id = j.queue order by j.id
	loop
		owner := jobq.take_key(k.queue, k.unique_ms, k.unique_key, k.tenant, k.id);
		if owner <> k.id then
			bad := bad || k.id;
			owners := owners || owner;
		end if;
	end loop;
	dead := array(select d from unnest(dead) d where d <> all (bad) order by d);
	update jobq.attempt a set outcome = 2, granted = true
	where a.job = any (dead) and a.outcome = 3;
	delete from jobq.dead d where d.job = any (dead);
	perform jobq.put_turn(j.id, j.queue, j.lane, j.due, j.attempt)
	from (
		select j.id, j.queue, j.lane, (a.attempt + 1)::smallint as attempt,
		    first + coalesce((d.n - 1) / rate, 0) * interval '1 second' as due
		from unnest(dead) with ordinality d(job, n),
		lateral (select * from jobq.job j where j.id = d.job limit 1) j,
		lateral (select max(a.attempt) as attempt from jobq.attempt a where a.job = d.job) a
		order by d.n offset 0
	) j;
	perform jobq.event_add(t.queue, 'retrying', t.job, (t.attempt - 1)::smallint)
	from jobq.timer t where t.job = any (dead);
	perform jobq.nudge(q.id, q.name) from jobq.queue q
	where q.id in (select j.queue from unnest(dead) d, lateral (select * from jobq.job j where j.id = d limit 1) j);
	insert into jobq.audit (action, target, detail, before, after)
	select 'retry', 'job ' || d.job, coalesce('due ' || t.run_at, ''), '{"state": "dead"}',
	    jsonb_build_object('state', case when t.job is null then 'ready' else 'retrying' end)
	from unnest(dead) d(job) left join jobq.timer t on t.job = d.job order by d.job;
	perform jobq.workflow_rejoin(d) from unnest(dead) d
	where exists (select from jobq.step_job k where k.job = d);
	return query
	select d, null::text from unnest(dead) d
	union all
	select b.job, format('its unique key is now that of job %s', b.owner) from unnest(bad, owners) b(job, owner)
	order by 1;
end
$$;

-- Delete dead letters; ids of other jobs are passed over. Returns how many.
create function jobq.delete_dead(ids bigint[]) returns int
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_generic_plan set jit = off as $$
declare
	dead bigint[] := array(select a.job from jobq.attempt a where a.job = any (ids) and a.outcome = 3
	    order by a.job for update);
begin
	return count(*) filter (where jobq.delete(d)) from unnest(dead) d;
end
$$;

-- Look over dead letters: who, and what was found. Returns how many.
create function jobq.review_dead(ids bigint[], reviewed_by text, notes text default '') returns int
language plpgsql as $$
declare
	n int;
begin
	if octet_length(reviewed_by) > 255 or octet_length(notes) > 10000 then
		raise exception 'reviewed_by or notes are too long' using errcode = '54000',
		    hint = 'Limits: reviewed_by 255 bytes, notes 10000.';
	end if;
	with o as (
		select d.job, case when d.reviewed_at is not null then jsonb_build_object(
		    'reviewed_by', d.reviewed_by, 'notes', d.notes) end as old
		from jobq.dead d where d.job = any (ids) order by d.job for update
	), u as (
		update jobq.dead d set reviewed_by = coalesce(nullif(review_dead.reviewed_by, ''), jobq.actor()),
		    reviewed_at = clock_timestamp(), notes = review_dead.notes
		from o where d.job = o.job
		returning d.job, o.old, jsonb_build_object('reviewed_by', d.reviewed_by, 'notes', d.notes) as new
	)
	insert into jobq.audit (action, target, before, after)
	select 'review', 'job ' || u.job, jobq.audited(u.old), jobq.audited(u.new)
	from u order by u.job;
	get diagnostics n = row_count;
	return n;
end
$$;

-- The same for one. False: it is none.
create function jobq.review(id bigint, reviewed_by text, notes text default '') returns boolean
language sql as $$
	select jobq.review_dead(array[id], reviewed_by, notes) = 1
$$;

-- Remove a job and what it left, at any time but while it runs (55006). What
-- waits for it is cancelled. False: there is none.
create function jobq.delete(id bigint) returns boolean
language plpgsql as $$
declare
	j jobq.job;
	n smallint;
	o smallint;
	was jsonb := jobq.job_state(id, true);
begin
	select * into j from jobq.job k where k.id = delete.id;
	if not found then
		return false;
	end if;
	if not jobq.hold_part(j.id) then
		raise exception 'job % is just being moved to another partition', j.id
		using errcode = '55006', hint = 'Try again in some seconds.';
	end if;
	if exists (select from jobq.lease l where l.queue = j.queue and l.job = j.id) then
		raise exception 'job % is running', j.id
		using errcode = '55006', hint = 'Cancel it first.';
	end if;
	perform jobq.event_add(j.queue, 'deleted', j.id);
	-- one row stays: without the job it refuses whoever has just claimed it
	o := jobq.final_outcome(j.id);
	select coalesce(max(a.attempt), 0) + case o when 0 then 1 else 0 end
	into n from jobq.attempt a where a.job = j.id;
	insert into jobq.attempt as a (job, attempt, queue, outcome, finished_at)
	values (j.id, n, j.queue, 6, clock_timestamp())
	on conflict on constraint attempt_pkey do update
	set outcome = 6, error = null, result = null;
	delete from jobq.attempt a where a.job = j.id and a.attempt < n;
	insert into jobq.tally (queue, at, completed, cancelled)
	select j.queue, a.finished_at, -(o = 1)::int, -(o = 4)::int
	from jobq.attempt a where a.job = j.id and a.attempt = n and o in (1, 4);
	delete from jobq.timer t where t.job = j.id;
	delete from jobq.parked p where p.job = j.id;
	delete from jobq.key_kept k where k.job = j.id;
	delete from jobq.blocked b where b.job = j.id;
	delete from jobq.waits w where w.job = j.id;
	delete from jobq.dead d where d.job = j.id;
	delete from jobq.progress p where p.job = j.id;
	delete from jobq.output o where o.job = j.id;
	delete from jobq.uniq u where u.job = j.id;
	delete from jobq.job k where k.id = j.id;
	perform jobq.settle(array(select distinct w.parent from jobq.waits w where w.parent = j.id));
	perform jobq.audit_add('delete', 'job ' || j.id, concat_ws(', ', 'queue ' || (select q.name from jobq.queue q
	    where q.id = j.queue), 'type ' || nullif(j.type, ''), coalesce(jobq.outcome_name(o), 'not finished')), was);
	return true;
end
$$;

-- Keep the partition of a job from being removed until this transaction ends;
-- false: it is just being removed.
create function jobq.hold_part(job bigint) returns boolean
language sql as $$
	select coalesce((select pg_try_advisory_xact_lock_shared(jobq.claim_lock(), jobq.part_lock(p.id))
	    from jobq.part p where hold_part.job >= p.lo and hold_part.job < p.hi), true)
$$;

-- Stop handing out jobs of a queue, or of all ('*'), or of a type or a tenant
-- of it; running ones go on. until: it is resumed by itself then.
create function jobq.pause(queue text, reason text default '', until timestamptz default null,
    type text default null, tenant text default null) returns void
language plpgsql as $$
declare
	q smallint := jobq.queue_or_all(queue);
	was jsonb := jobq.pause_state(q, type, tenant);
begin
	perform jobq.need_all_tenants();
	if until = 'infinity' then
		until := null;
	elsif until <= clock_timestamp() then
		raise exception 'until % has passed', until using errcode = '22023';
	end if;
	reason := coalesce(reason, '');
	if num_nonnulls(type, tenant) > 0 then
		insert into jobq.hold as h (queue, type, tenant, reason, by, until)
		values (q, pause.type, pause.tenant, pause.reason, jobq.actor(), pause.until)
		on conflict on constraint hold_one do update
		set reason = excluded.reason, by = excluded.by, at = excluded.at, until = excluded.until;
	else
		update jobq.queue k set paused = true, pause_reason = pause.reason, paused_by = jobq.actor(),
		    paused_at = clock_timestamp(), paused_until = pause.until
		where q in (0, k.id);
		perform pg_notify('jobq', '*pause');	-- the leaders' logs have it
	end if;
	perform jobq.audit_add('pause', jobq.part_of_queue(queue, type, tenant),
	    concat_ws(', ', nullif(reason, ''), 'until ' || until), was, jobq.pause_state(q, type, tenant));
	if until is not null then
		perform jobq.due_at(until);
	end if;
end
$$;

-- Hand out again what pause() of the same arguments stopped.
create function jobq.resume(queue text, type text default null, tenant text default null) returns void
language plpgsql as $$
declare
	q smallint := jobq.queue_or_all(queue);
	was jsonb := jobq.pause_state(q, type, tenant);
begin
	perform jobq.need_all_tenants();
	if num_nonnulls(type, tenant) > 0 then
		delete from jobq.hold h where h.queue = q
		    and (h.type, h.tenant) is not distinct from (resume.type, resume.tenant);
	else
		update jobq.queue k set paused = false, pause_reason = null, paused_by = null,
		    paused_at = null, paused_until = null
		where q in (0, k.id) and k.paused;
	end if;
	if found then
		perform jobq.audit_add('resume', jobq.part_of_queue(queue, type, tenant), '', was, jobq.pause_state(q, type, tenant));
	end if;
	perform jobq.unpark_held(q);
end
$$;

-- Jobs of a queue (0: of any) that were held back may run: those that were
-- parked meanwhile have their turns again, and its leaders look.
create function jobq.unpark_held(queue_id smallint) returns void
language plpgsql as $$
begin
	with d as (
		delete from jobq.parked p using jobq.job j
		where queue_id in (0, p.queue) and p.key is null and j.id = p.job
		    and not jobq.is_held(p.queue, j.type, j.tenant)
		returning p.*
	)
	insert into jobq.turn (job, slot, queue, lane, attempt)
	select d.job, jobq.fact('jobq.turn_slot'), d.queue, d.lane, d.attempt from d order by d.place;
	perform pg_notify('jobq', k.name) from jobq.queue k
	where queue_id in (0, k.id) and not k.paused;
	-- who saw it paused may still commit jobs that nobody is told of
	perform pg_notify('jobq', '*awake');
	perform pg_notify('jobq', '*pause');
end
$$;

-- End the pauses whose time is over. Returns when to come again (µs since the
-- epoch): when the next one's is, or soon for one that somebody is just about to
-- change; null: no other ends by itself.
create function jobq.end_pauses() returns bigint
language plpgsql as $$
declare
	began timestamptz := clock_timestamp();
	again timestamptz;
	p record;
begin
	for p in
		select k.name as queue, null as type, null as tenant, k.paused_until as until
		from jobq.queue k where k.paused_until is not null
		union all
		select coalesce(k.name, '*'), h.type, h.tenant, h.until
		from jobq.hold h left join jobq.queue k on k.id = h.queue where h.until is not null
		order by until
	loop
		if p.until > began then
			again := least(again, p.until);
			exit;
		elsif not jobq.end_pause(p.queue, p.type, p.tenant) then
			again := began + interval '1 second';
		end if;
	end loop;
	return jobq.us(again);
end
$$;

-- Resume this if its pause has ended. False: somebody has it locked, or a job
-- that it held back, and perhaps for long.
create function jobq.end_pause(queue text, type text, tenant text) returns boolean
language plpgsql
set lock_timeout = '100ms' as $$
declare
	q smallint := jobq.queue_or_all(queue);
begin
	if num_nonnulls(type, tenant) > 0 then
		perform from jobq.hold h where h.queue = q and h.until <= clock_timestamp()
		    and (h.type, h.tenant) is not distinct from (end_pause.type, end_pause.tenant) for update nowait;
	else
		perform from jobq.queue k where k.id = q and k.paused_until <= clock_timestamp() for update nowait;
	end if;
	if found then
		perform jobq.resume(queue, type, tenant);
	end if;
	return true;
exception when lock_not_available then
	return false;
end
$$;

-- The id of a queue; 0 for '*', all of them.
create function jobq.queue_or_all(queue text) returns smallint
language plpgsql stable as $$
begin
	return case when queue = '*' then 0 else (jobq.queue_get(queue)).id end;
end
$$;

-- What is paused of what pause() of these arguments pauses; null: nothing.
create function jobq.pause_state(queue_id smallint, type text, tenant text) returns jsonb
language sql stable as $$
	select jsonb_object_agg(k.name, jsonb_build_object('reason', k.pause_reason, 'by', k.paused_by, 'until', k.paused_until))
	from jobq.queue k where queue_id in (0, k.id) and k.paused and num_nonnulls(type, tenant) = 0
	having count(*) > 0
	union all
	select jsonb_build_object('reason', h.reason, 'by', h.by, 'until', h.until)
	from jobq.hold h where h.queue = queue_id and num_nonnulls(pause_state.type, pause_state.tenant) > 0
	    and (h.type, h.tenant) is not distinct from (pause_state.type, pause_state.tenant)
$$;

-- What the audit calls the part of a queue that has this type and tenant.
create function jobq.part_of_queue(queue text, type text, tenant text) returns text
language sql immutable as $$
	select case queue when '*' then 'all queues' else 'queue ' || queue end
	    || coalesce(' type ' || type, '') || coalesce(' tenant ' || tenant, '')
$$;

-- The jobs that clear() is to cancel, a thousand a row.
create function jobq.clear_plan(queue text, type text default null, tenant text default null,
    state text default null) returns setof bigint[]
language plpgsql stable as $$
declare
	q jobq.queue := jobq.queue_get(queue);
begin
	if state <> all ('{scheduled,blocked,ready,retrying}') then
		raise exception 'jobs that are % do not wait', state using errcode = '22023',
		    hint = 'Jobs that wait are scheduled, blocked, ready or retrying.';
	end if;
	return query
	select array_agg(t.job order by t.job)
	from (
		select w.job, (row_number() over (order by w.job) - 1) / 1000 as piece
		from jobq.waiting(q.id) w
		where (clear_plan.state is null or w.state = clear_plan.state)
		    and (num_nonnulls(clear_plan.type, clear_plan.tenant) = 0 or exists (
		        select from jobq.job j where j.id = w.job and j.type = coalesce(clear_plan.type, j.type)
		            and j.tenant is not distinct from coalesce(clear_plan.tenant, j.tenant)))
	) t
	group by t.piece order by t.piece;
end
$$;

-- Cancel those of these jobs of a queue that still wait. Returns how many. The
-- queue's claims stand still meanwhile, so none of them can start. Must run in
-- a transaction of level READ COMMITTED, which sees the claims before it.
create function jobq.clear_jobs(queue text, jobs bigint[]) returns int
language plpgsql
set lock_timeout = '5s' as $$
declare
	q jobq.queue := jobq.queue_get(queue);
	gone bigint[];
begin
	if current_setting('transaction_isolation') <> 'read committed' then
		raise exception 'clear needs the isolation level READ COMMITTED' using errcode = '25001';
	end if;
	perform pg_advisory_xact_lock(jobq.claim_lock(), q.id);
	with w as (
		select j.id, coalesce(a.attempt, 0) + 1 as attempt
		from unnest(jobs) u(id)
		cross join lateral (select * from jobq.job k where k.id = u.id limit 1) j
		left join lateral (select * from jobq.attempt k where k.job = j.id order by k.attempt desc limit 1) a on true
		where j.queue = q.id and coalesce(a.outcome, 5) in (2, 5)
		    and j.id not in (select l.job from jobq.lease l where l.queue = q.id)
	), i as (
		insert into jobq.attempt (job, attempt, queue, outcome, finished_at, error)
		select w.id, w.attempt, q.id, 4, clock_timestamp(), format('cleared by %s', jobq.actor()) from w
		on conflict do nothing
		returning job
	)
	select array_agg(i.job) into gone from i;
	if gone is null then
		return 0;
	end if;
	perform jobq.withdraw(q.id, (select max(g) from unnest(gone) g));
	perform jobq.event_add(q.id, 'cancelled');
	insert into jobq.tally (queue, cancelled) values (q.id, cardinality(gone));
	delete from jobq.timer t where t.job = any (gone);
	delete from jobq.parked p where p.job = any (gone);
	delete from jobq.key_kept k where k.job = any (gone);
	with b as (delete from jobq.blocked b where b.job = any (gone) returning b.job, b.waits_for)
	delete from jobq.waits w using b where w.job = b.job and w.parent = any (b.waits_for);
	perform jobq.ended(gone);
	perform jobq.pass_over(q.id, 1000000);
	perform jobq.audit_add('clear', 'queue ' || q.name, cardinality(gone) || ' jobs', null,
	    jsonb_build_object('cancelled', cardinality(gone)));
	return cardinality(gone);
end
$$;

-- Cancel everything of a queue that waits, or of it what is of a type, a
-- tenant, or in a state: scheduled, blocked, ready or retrying. Returns how
-- many. No job of the queue starts until the caller's transaction ends; for
-- many jobs, call clear_jobs() with each row of clear_plan() in its own.
create function jobq.clear(queue text, type text default null, tenant text default null,
    state text default null) returns int
language sql as $$
	select coalesce(sum(jobq.clear_jobs(queue, p)), 0)::int
	from jobq.clear_plan(queue, type, tenant, state) p
$$;

-- The jobs that clean() is to remove, a thousand a row.
create function jobq.clean_plan(queue text, state text, older_than interval) returns setof bigint[]
language plpgsql stable as $$
declare
	q jobq.queue := jobq.queue_get(queue);
	o smallint := case state when 'completed' then 1 when 'dead' then 3 when 'cancelled' then 4 end;
begin
	if o is null then
		raise exception 'jobs that are % have not ended', coalesce(state, 'NULL') using errcode = '22023',
		    hint = 'Jobs that ended are completed, dead or cancelled.';
	elsif older_than is null or older_than < interval '0' then
		raise exception 'older_than % is no time', coalesce(older_than::text, 'NULL') using errcode = '22023',
		    hint = 'Give an interval, e.g. 1 day.';
	end if;
	return query
	select array_agg(t.job order by t.job)
	from (
		select a.job, (row_number() over (order by a.job) - 1) / 1000 as piece
		from jobq.attempt a
		where a.queue = q.id and a.outcome = o and a.finished_at <= clock_timestamp() - older_than
		    and exists (select from jobq.job j where j.id = a.job)
	) t
	group by t.piece order by t.piece;
end
$$;

-- Remove those of these jobs of a queue that have ended. Returns how many.
create function jobq.clean_jobs(queue text, jobs bigint[]) returns int
language plpgsql as $$
declare
	q jobq.queue := jobq.queue_get(queue);
	gone bigint[];
begin
	-- no partition of them is just being removed, and nobody retries one
	gone := array(select a.job from jobq.attempt a
	    where a.job = any (jobs) and a.queue = q.id and a.outcome in (1, 3, 4) and jobq.hold_part(a.job)
	    order by a.job for update of a);
	-- in one statement: what is a tenant's is so by the job
	with d as (
		delete from jobq.job j where j.id = any (gone) returning j.id
	), t as (
		insert into jobq.tally (queue, at, completed, cancelled)
		select q.id, min(a.finished_at), -count(*) filter (where a.outcome = 1), -count(*) filter (where a.outcome = 4)
		from d join jobq.attempt a on a.job = d.id and a.outcome in (1, 4)
		group by jobq.five_minutes(a.finished_at)
	), l as (
		delete from jobq.dead l using d where l.job = d.id
	), p as (
		delete from jobq.progress p using d where p.job = d.id
	), o as (
		delete from jobq.output o using d where o.job = d.id
	)
	select array_agg(d.id) into gone from d;
	if gone is null then
		return 0;
	end if;
	perform jobq.event_add(q.id, 'deleted');
	perform jobq.audit_add('clean', 'queue ' || q.name, cardinality(gone) || ' jobs', null,
	    jsonb_build_object('removed', cardinality(gone)));
	return cardinality(gone);
end
$$;

-- Remove the jobs of a queue that are completed, dead or cancelled, those that
-- ended longer than this ago; their attempts stay, as history. Returns how
-- many. For many jobs, call clean_jobs() with each row of clean_plan().
create function jobq.clean(queue text, state text, older_than interval) returns int
language sql as $$
	select coalesce(sum(jobq.clean_jobs(queue, p)), 0)::int
	from jobq.clean_plan(queue, state, older_than) p
$$;

-- Remove a queue that no node serves and that has no unfinished job.
create function jobq.queue_remove(queue text) returns void
language plpgsql as $$
declare
	q jobq.queue := jobq.queue_get(queue);
	was jsonb := jobq.configured() -> ('queue ' || queue);
begin
	perform jobq.need_all_tenants();
	if exists (select from jobq.serves s join jobq.node n on n.id = s.node
	    where s.queue = q.id and n.seen > clock_timestamp() - interval '1 minute') then
		raise exception 'queue "%" is served', q.name using errcode = '55006',
		    hint = 'Take it out of the configuration of every node first.';
	end if;
	perform jobq.reap(p.id) from jobq.pool p where p.queue = q.id;
	if exists (select from jobq.waiting(q.id)) then
		raise exception 'queue "%" has unfinished jobs', q.name using errcode = '55006',
		    hint = 'Clear it first.';
	end if;
	delete from jobq.schedule s where s.queue = q.id;
	delete from jobq.hold h where h.queue = q.id;
	delete from jobq.uniq u where u.queue = q.id;
	delete from jobq.queue k where k.id = q.id;
	insert into jobq.removed (id, name) values (q.id, q.name);
	perform jobq.audit_add('remove', 'queue ' || q.name, '', was);
end
$$;

-- The jobs of a queue that have not been claimed: those with an open turn, a
-- timer, or others to wait for.
create function jobq.waiting(queue_id smallint) returns table (job bigint, state text)
language sql stable as $$
	select o.job, 'ready' from jobq.open_turns(queue_id) o
	where not exists (select from jobq.attempt a where a.job = o.job and a.attempt = o.attempt offset 0)
	    and exists (select from jobq.job j where j.id = o.job)
	union all select t.job, case when t.attempt > 1 then 'retrying' else 'scheduled' end
	from jobq.timer t where t.queue = queue_id
	union all select b.job, 'blocked' from jobq.blocked b where b.queue = queue_id
$$;

-- How many those are; ready ones are an estimate above 20,000.
create function jobq.waiting_about(queue_id smallint) returns bigint
language sql stable as $$
	select (jobq.ready_about(queue_id, 20000)).ready
	    + (select count(*) from jobq.timer t where t.queue = queue_id)
	    + (select count(*) from jobq.blocked b where b.queue = queue_id)
$$;
