-- What people do to jobs and queues.

-- Cancel a job: one that waits ends at once; one that runs is asked to stop.
-- True in both cases; false when it has ended or there is none.
create function jobq.cancel(id bigint) returns boolean
language plpgsql as $$
begin
	if not jobq.stop(id) then
		return false;
	end if;
	perform jobq.audit_add('cancel', 'job ' || id);
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
	timed boolean;
begin
	select * into j from jobq.job k where k.id = stop.id;
	if not found then
		return false;
	end if;
	loop
		if jobq.final_outcome(j.id) <> 0 then
			return false;
		end if;
		select coalesce(max(a.attempt), 0) + 1 into n from jobq.attempt a where a.job = j.id;
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
-- granted anew. A job that waits for its next attempt has it now. False: it
-- is in no such state. 23505: its unique key is another job's by now.
create function jobq.retry(id bigint) returns boolean
language plpgsql as $$
declare
	j jobq.job;
	q jobq.queue;
	a jobq.attempt;
	owner bigint;
begin
	select * into j from jobq.job k where k.id = retry.id;
	if not found then
		return false;
	end if;
	if not jobq.hold_part(j.id) then
		raise exception 'job % is just being moved to another partition', j.id
		using errcode = '55006', hint = 'Try again in some seconds.';
	end if;
	select * into q from jobq.queue k where k.id = j.queue;
	select * into a from jobq.attempt k where k.job = j.id
	order by k.attempt desc limit 1 for update;
	if a.outcome = 2 then
		with d as (delete from jobq.timer t where t.job = j.id returning t.attempt)
		select d.attempt into a.attempt from d;
		if not found then
			return false;
		end if;
		perform jobq.put_turn(j.id, j.queue, j.lane, null, a.attempt);
		perform jobq.nudge(q.id, q.name);
		return true;
	elsif a.outcome is distinct from 3 then
		return false;
	end if;
	if j.unique_key is not null then
		owner := jobq.take_key(q, j.unique_key, j.id);
		if owner <> j.id then
			raise exception 'the unique key of job % is now that of job %', j.id, owner
			using errcode = '23505', hint = 'Cancel or await that job first.';
		end if;
	end if;
	update jobq.attempt k set outcome = 2, granted = true
	where k.job = a.job and k.attempt = a.attempt and k.outcome = 3;
	delete from jobq.dead d where d.job = j.id;
	perform jobq.put_turn(j.id, j.queue, j.lane, null, (a.attempt + 1)::smallint);
	perform jobq.nudge(q.id, q.name);
	perform jobq.audit_add('retry', 'job ' || j.id);
	return true;
end
$$;

-- Remove a job and what it left, at any time but while it runs (55006). What
-- waits for it is cancelled. False: there is none.
create function jobq.delete(id bigint) returns boolean
language plpgsql as $$
declare
	j jobq.job;
	n smallint;
	o smallint;
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
	-- one row stays: without the job it refuses whoever has just claimed it
	o := jobq.final_outcome(j.id);
	select coalesce(max(a.attempt), 0) + case o when 0 then 1 else 0 end
	into n from jobq.attempt a where a.job = j.id;
	insert into jobq.attempt as a (job, attempt, queue, outcome, finished_at)
	values (j.id, n, j.queue, 6, clock_timestamp())
	on conflict on constraint attempt_pkey do update
	set outcome = 6, error = null, result = null;
	delete from jobq.attempt a where a.job = j.id and a.attempt < n;
	insert into jobq.total as t (queue, at, completed, cancelled)
	select j.queue, jobq.five_minutes(a.finished_at), -(o = 1)::int, -(o = 4)::int
	from jobq.attempt a where a.job = j.id and a.attempt = n and o in (1, 4)
	on conflict (queue, at) do update
	set completed = t.completed + excluded.completed, cancelled = t.cancelled + excluded.cancelled;
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
	perform jobq.audit_add('delete', 'job ' || j.id);
	return true;
end
$$;

-- Keep the partition of a job from being removed until this transaction ends;
-- false: it is just being removed.
create function jobq.hold_part(job bigint) returns boolean
language sql as $$
	select coalesce((select pg_try_advisory_xact_lock_shared(jobq.claim_lock(), -2 - p.id)
	    from jobq.part p where hold_part.job >= p.lo and hold_part.job < p.hi), true)
$$;

-- Stop handing out jobs of a queue; running ones go on.
create function jobq.pause(queue text, reason text default '') returns void
language plpgsql as $$
declare
	q jobq.queue := jobq.queue_get(queue);
begin
	update jobq.queue k set paused = true, pause_reason = pause.reason,
	    paused_by = jobq.actor(), paused_at = clock_timestamp()
	where k.id = q.id;
	perform jobq.audit_add('pause', 'queue ' || q.name, reason);
end
$$;

create function jobq.resume(queue text) returns void
language plpgsql as $$
declare
	q jobq.queue := jobq.queue_get(queue);
begin
	update jobq.queue k set paused = false, pause_reason = null, paused_by = null, paused_at = null
	where k.id = q.id and k.paused;
	if found then
		perform jobq.audit_add('resume', 'queue ' || q.name);
	end if;
	perform pg_notify('jobq', q.name);
	-- who saw it paused may still commit jobs that nobody is told of
	perform pg_notify('jobq', '*awake');
end
$$;

-- Cancel everything of a queue that waits. Returns how many.
create function jobq.clear(queue text) returns int
language plpgsql as $$
declare
	q jobq.queue := jobq.queue_get(queue);
	j bigint;
	n int := 0;
begin
	for j in select w.job from jobq.waiting(q.id) w loop
		n := n + jobq.stop(j)::int;
	end loop;
	perform jobq.audit_add('clear', 'queue ' || q.name, n || ' jobs');
	return n;
end
$$;

-- Remove a queue that no node serves and that has no unfinished job.
create function jobq.queue_remove(queue text) returns void
language plpgsql as $$
declare
	q jobq.queue := jobq.queue_get(queue);
begin
	if exists (select from jobq.serves s join jobq.node n on n.id = s.node
	    where s.queue = q.id and n.seen > clock_timestamp() - interval '1 minute') then
		raise exception 'queue "%" is served', q.name using errcode = '55006',
		    hint = 'Take it out of the configuration of every node first.';
	elsif exists (select from jobq.waiting(q.id)) then
		raise exception 'queue "%" has unfinished jobs', q.name using errcode = '55006',
		    hint = 'Clear it first.';
	end if;
	perform jobq.reap(p.id) from jobq.pool p where p.queue = q.id;
	delete from jobq.schedule s where s.queue = q.id;
	delete from jobq.queue k where k.id = q.id;
	perform jobq.audit_add('remove', 'queue ' || q.name);
end
$$;

-- The jobs of a queue that have not been claimed: those with an open turn, a
-- timer, or others to wait for.
create function jobq.waiting(queue_id smallint) returns table (job bigint)
language sql stable as $$
	select o.job from jobq.open_turns(queue_id) o
	where not exists (select from jobq.attempt a where a.job = o.job and a.attempt = o.attempt offset 0)
	    and exists (select from jobq.job j where j.id = o.job)
	union all select t.job from jobq.timer t where t.queue = queue_id
	union all select b.job from jobq.blocked b where b.queue = queue_id
$$;

-- Look over a dead letter: who, and what was found.
create function jobq.review(id bigint, reviewed_by text, notes text default '') returns boolean
language plpgsql as $$
begin
	update jobq.dead d set reviewed_by = review.reviewed_by, reviewed_at = clock_timestamp(),
	    notes = review.notes
	where d.job = review.id;
	if not found then
		return false;
	end if;
	perform jobq.audit_add('review', 'job ' || id, notes);
	return true;
end
$$;

-- Retry the dead letters of a queue; type and fingerprint narrow it. Those
-- whose unique key is taken stay. Returns how many.
create function jobq.retry_dead(queue text, type text default null, fingerprint text default null)
returns int
language plpgsql as $$
declare
	q jobq.queue := jobq.queue_get(queue);
	d bigint;
	n int := 0;
begin
	for d in
		select k.job from jobq.dead k join jobq.job j on j.id = k.job
		where k.queue = q.id and (retry_dead.type is null or j.type = retry_dead.type)
		    and (retry_dead.fingerprint is null or k.fingerprint = retry_dead.fingerprint)
		order by k.job
	loop
		begin
			n := n + jobq.retry(d)::int;
		exception when unique_violation then
			null;
		end;
	end loop;
	return n;
end
$$;
