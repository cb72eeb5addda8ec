-- The ends of attempts. Inserting the row of (job, attempt) is the fence: of
-- all who say how an attempt ended the first is accepted, and whoever comes
-- later gets nothing back.

-- Attempts of a pool that completed, without anything special about them.
--   results        JSON texts or nulls; null: none has one
--   run_us         how long each ran; ago_us: how long ago that ended
--   keyed          one of them at least has a unique key
-- Returns those that were not accepted. A result that jsonb refuses is an
-- error (22P02, 22P05, 22003) and nothing is stored; so is one of them that
-- somebody else is just ending (55P03), see ended_elsewhere().
create function jobq.finish_ok(pool bigint, jobs bigint[], attempts int[], results text[],
    run_us bigint[], ago_us bigint[], workers int[], keyed boolean default true)
returns table (job bigint, attempt int)
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_generic_plan set jit = off set lock_timeout = '500ms' as $$
#variable_conflict use_column
declare
	p jobq.pool;
	now_s float8 := extract(epoch from clock_timestamp());
	stored boolean := false;
begin
	select * into p from jobq.pool k where k.id = finish_ok.pool;
	if found then
		-- "on conflict" looks first, which costs as much as to insert: that is for
		-- when one of them turns out to be somebody else's already
		begin
			insert into jobq.attempt (job, attempt, queue, outcome, worker, node, started_at, finished_at, pool, result)
			select jobs[i], attempts[i], p.queue, 1, workers[i], p.node,
			    to_timestamp(now_s - (ago_us[i] + run_us[i]) / 1e6::float8),
			    to_timestamp(now_s - ago_us[i] / 1e6::float8), finish_ok.pool, results[i]::jsonb
			from generate_series(1, cardinality(jobs)) i;
			stored := true;
		exception when unique_violation then
			null;
		end;
	end if;
	if not stored then
		return query select f.job, f.attempt from jobq.finish(pool, jobs, attempts,
		    array_fill(1, array[cardinality(jobs)]), null, null, results, null, run_us, ago_us, workers,
		    null, null, null, null, null) f;
		return;
	end if;
	insert into jobq.tally (queue, completed) values (p.queue, cardinality(jobs));
	if keyed then
		perform jobq.free_keys(jobs);
	end if;
	perform jobq.settle_after(jobs);
end
$$;

-- Attempts of a pool that ended in any way. Arrays of the same length, or
-- null where nobody has such a value.
--   outcomes   1 completed, 2 failed, 3 dead, 4 cancelled, 5 lost
--   classes    why (0: nothing failed)
--   delays_ms  for failed and lost: when the next attempt may run, from the end
--              of this one, however late that is told
--   alone      for lost: another job may have crashed their worker
-- Returns those that were not accepted. Error 55P03 as finish_ok()'s.
create function jobq.finish(pool bigint, jobs bigint[], attempts int[], outcomes int[],
    classes int[], errors text[], results text[], delays_ms bigint[], run_us bigint[],
    ago_us bigint[], workers int[], exit_statuses int[], signals int[], cpu_ms bigint[],
    rss_kb bigint[], alone boolean[])
returns table (job bigint, attempt int)
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_generic_plan set jit = off set lock_timeout = '500ms' as $$
#variable_conflict use_column
declare
	p jobq.pool;
	now_s float8 := extract(epoch from clock_timestamp());
	n int := cardinality(jobs);
	queues smallint[];	-- the pool's; where that is not known any more each job's
	done bigint[];
	nums smallint[];
	mine int[];		-- the places in the arrays of those that were accepted
	low bigint;		-- no job is outside these
	high bigint;
begin
	select * into p from jobq.pool k where k.id = finish.pool;
	if found then
		queues := array[p.queue];
	else
		queues := array(select (select j.queue from jobq.job j where j.id = jobs[i]) from generate_series(1, n) i);
	end if;
	with a as (
		insert into jobq.attempt (job, attempt, queue, outcome, class, worker, node, signal,
		    exit_status, started_at, finished_at, pool, cpu_ms, max_rss_kb, alone, error, result)
		select jobs[i], attempts[i], coalesce(p.queue, queues[i], 0),
		    outcomes[i], coalesce(classes[i], 0), workers[i], p.node, nullif(signals[i], 0),
		    nullif(exit_statuses[i], -1), to_timestamp(now_s - (ago_us[i] + run_us[i]) / 1e6::float8),
		    to_timestamp(now_s - ago_us[i] / 1e6::float8), finish.pool,
		    nullif(cpu_ms[i], -1), nullif(rss_kb[i], -1), nullif(finish.alone[i], false), errors[i], results[i]::jsonb
		from generate_series(1, n) i
		where outcomes[i] between 1 and 5
		on conflict do nothing
		returning job, attempt
	)
	select array_agg(a.job), array_agg(a.attempt) into done, nums from a;
	if cardinality(done) = n then
		mine := array(select generate_series(1, n));
	else
		mine := array(select i from generate_series(1, n) i where exists (
		    select from unnest(done, nums) d(job, attempt) where d.job = jobs[i] and d.attempt = attempts[i]));
		return query select jobs[i], attempts[i] from generate_series(1, n) i where i <> all (mine);
		if mine = '{}' then
			return;
		end if;
	end if;
	insert into jobq.tally (queue, completed, failed, dead, cancelled, lost)
	select coalesce(p.queue, 0), count(*) filter (where outcomes[i] = 1), count(*) filter (where outcomes[i] = 2),
	    count(*) filter (where outcomes[i] = 3), count(*) filter (where outcomes[i] = 4),
	    count(*) filter (where outcomes[i] = 5)
	from unnest(mine) i;
	if outcomes && '{2,3,5}' then
		select min(j), max(j) into low, high from unnest(jobs) j;
	end if;
	if outcomes && '{2,5}' then
		perform case when exists (select from jobq.cancel_request c where c.job = j.id)
		    then jobq.stop_waiting(j.id, (attempts[i] + 1)::smallint, j.queue)
		    else jobq.put_turn(j.id, j.queue, j.lane,
		        case when delays_ms[i] > 0
		            then to_timestamp(now_s - ago_us[i] / 1e6::float8) + jobq.ms(delays_ms[i]) end,
		        (attempts[i] + 1)::smallint) end
		from unnest(mine) i,
		lateral (select * from jobq.job j where j.id = jobs[i] and j.id between low and high limit 1) j
		where outcomes[i] in (2, 5);
		perform jobq.keep_keys(array(select jobs[i] from unnest(mine) i where outcomes[i] in (2, 5)));
		perform jobq.nudge(q.id, q.name) from jobq.queue q
		where q.id = any (queues) and exists (select from unnest(mine) i
		    -- due by now, which put_turn() looked at before us
		    where outcomes[i] in (2, 5) and to_timestamp(now_s - ago_us[i] / 1e6::float8)
		        + jobq.ms(coalesce(delays_ms[i], 0)) <= clock_timestamp());
	end if;
	if 3 = any (outcomes) then
		insert into jobq.dead (job, queue, attempt, class, fingerprint, died_at)
		select j.id, j.queue, attempts[i], coalesce(classes[i], 0),
		    jobq.fingerprint(j.type, coalesce(classes[i], 0)::smallint, errors[i]),
		    to_timestamp(now_s - ago_us[i] / 1e6::float8)
		from unnest(mine) i,
		lateral (select * from jobq.job j where j.id = jobs[i] and j.id between low and high limit 1) j
		where outcomes[i] = 3
		on conflict do nothing;
	end if;
	if outcomes && '{1,3,4}' then
		perform jobq.ended(array(select jobs[i] from unnest(mine) i where outcomes[i] in (1, 3, 4)));
	end if;
end
$$;

-- Those of these attempts that somebody else is just ending (a cancel, a delete, a
-- complete), in a transaction that is open: who ends them, too, would have to wait
-- for that. Each is tried, and taken back.
create function jobq.ended_elsewhere(jobs bigint[], attempts int[]) returns table (job bigint, attempt int)
language plpgsql
set lock_timeout = '1ms' as $$
#variable_conflict use_column
begin
	for i in 1 .. cardinality(jobs) loop
		begin
			insert into jobq.attempt (job, attempt, queue, outcome, finished_at)
			values (jobs[i], attempts[i], 0, 5, clock_timestamp());
			raise unique_violation;
		exception
			when unique_violation then null;
			when lock_not_available then
				job := jobs[i];
				attempt := attempts[i];
				return next;
		end;
	end loop;
end
$$;

-- What follows from the end of jobs: their unique keys are free, and whoever
-- waits for them goes on. Costs two look-ups a job when there is neither.
-- settle_after() needs its settings, or those of finish_ok().
create function jobq.ended(jobs bigint[]) returns void
language plpgsql
set enable_seqscan = off set plan_cache_mode = force_generic_plan set jit = off as $$
begin
	perform jobq.free_keys(jobs);
	perform jobq.settle_after(jobs);
end
$$;

create function jobq.free_keys(jobs bigint[]) returns void
language plpgsql
set enable_seqscan = off set plan_cache_mode = force_generic_plan set jit = off as $$
begin
	delete from jobq.uniq u where u.job = any (jobs) and u.until is null;
end
$$;

create function jobq.settle_after(jobs bigint[]) returns void
language plpgsql as $$
begin
	if exists (select from jobq.waits w where w.parent = any (jobs)) then
		perform jobq.settle(array(select distinct w.parent from jobq.waits w where w.parent = any (jobs)));
	end if;
end
$$;

-- These jobs have ended: release the jobs that waited for them and no longer
-- wait for another; cancel those of which one has not completed; take the
-- workflows further. What another transaction is just releasing is noted for
-- sweep(), since that one may fail, or not see our end. hurry: it comes as
-- soon as this one has committed, else with its next round.
create function jobq.settle(parents bigint[], hurry boolean default true) returns void
language plpgsql as $$
declare
	b jobq.blocked;
	w bigint;
	outs smallint[];
	cancelled bigint[];
	passed bigint[];	-- blocked jobs and workflows that nobody else had locked
begin
	while cardinality(parents) > 0 loop
		cancelled := '{}';
		passed := '{}';
		for b in
			select k.* from jobq.blocked k
			where k.job = any (array(select t.job from jobq.waits t
			    where t.parent = any (parents) and t.job > 0))
			order by k.job for update skip locked
		loop
			passed := passed || b.job;
			-- nothing is known of one that is gone, or another tenant's: that is for sweep()
			outs := array(select coalesce(jobq.final_outcome(p), (jobq.tenant() = '')::int::smallint)
			    from unnest(b.waits_for) p);
			if outs && '{3,4,6}' then
				if jobq.end_waiting(b.job, 1::smallint, b.queue, format('job %s, which it waited for, ended %s',
				    (select u.p from unnest(b.waits_for, outs) u(p, o) where u.o in (3, 4, 6) limit 1),
				    (select jobq.outcome_name(o) from unnest(outs) o where o in (3, 4, 6) limit 1))) then
					cancelled := cancelled || b.job;
				end if;
			elsif 0 = any (outs) then
				continue;
			else
				perform jobq.put_turn(b.job, b.queue, b.lane, b.run_at, 1::smallint);
				perform jobq.nudge(q.id, q.name) from jobq.queue q where q.id = b.queue;
			end if;
			delete from jobq.blocked k where k.job = b.job;
			delete from jobq.waits t where t.job = b.job and t.parent = any (b.waits_for);
		end loop;
		for w in
			select r.id from jobq.workflow_run r
			where r.id = any (array(select t.workflow from jobq.waits t
			    where t.parent = any (parents) and t.workflow > 0))
			order by r.id for update skip locked
		loop
			passed := passed || -w;
			perform jobq.workflow_go(w, parents);
		end loop;
		insert into jobq.unsettled (parent)
		select distinct t.parent from jobq.waits t
		where t.parent = any (parents) and (
		    t.job > 0 and t.job <> all (passed) and exists (select from jobq.blocked k where k.job = t.job)
		    or t.workflow > 0 and -t.workflow <> all (passed)
		        and exists (select from jobq.workflow_run r where r.id = t.workflow))
		on conflict do nothing;
		if found and hurry then
			perform pg_notify('jobq', '*due');
		end if;
		parents := cancelled;
	end loop;
end
$$;

-- End a job that waits, as cancelled, under the number its attempt would have
-- had. False when that number has ended already.
create function jobq.end_waiting(job bigint, attempt smallint, queue_id smallint, why text)
returns boolean
language plpgsql as $$
begin
	insert into jobq.attempt (job, attempt, queue, outcome, finished_at, error)
	values (end_waiting.job, end_waiting.attempt, queue_id, 4, clock_timestamp(), why)
	on conflict do nothing;
	if not found then
		return false;
	end if;
	perform jobq.withdraw(queue_id, job);
	perform jobq.event_add(queue_id, 'cancelled', job, attempt);
	insert into jobq.tally (queue, cancelled) values (queue_id, 1);
	delete from jobq.uniq u where u.job = end_waiting.job and u.until is null;
	delete from jobq.parked p where p.job = end_waiting.job;
	delete from jobq.key_kept k where k.job = end_waiting.job;
	return true;
end
$$;

-- The same for one that somebody asked to stop, with what follows from it.
create function jobq.stop_waiting(job bigint, attempt smallint, queue_id smallint) returns void
language plpgsql as $$
begin
	if jobq.end_waiting(job, attempt, queue_id, 'cancelled by '
	    || coalesce((select c.by from jobq.cancel_request c where c.job = stop_waiting.job limit 1), 'nobody')) then
		perform jobq.ended(array[job]);
	end if;
end
$$;

-- Settle what settle() could not, and find waits whose parent has ended
-- without its end seeing them (both transactions were open at the same time).
-- For these it looks at n rows a call and goes round all of them.
create function jobq.sweep(n int) returns int
language plpgsql
set enable_seqscan = off set plan_cache_mode = force_generic_plan set jit = off as $$
declare
	start bigint := jobq.fact('jobq.sweep_at');
	parents bigint[];
	over bigint[];
begin
	select array_agg(t.parent) into parents
	from (select w.parent from jobq.waits w where w.parent >= start order by w.parent limit n) t;
	if start > 0 and coalesce(cardinality(parents), 0) < n then
		perform setval('jobq.sweep_at', 0);
	elsif cardinality(parents) = n then
		-- further than the first: one parent may have more than n waiting
		perform setval('jobq.sweep_at', greatest(parents[n], start + 1));
	end if;
	select array_agg(p) into over from (select distinct unnest(parents) p) d
	where jobq.final_outcome(p) is distinct from 0;
	with d as (
		delete from jobq.unsettled returning parent
	)
	select over || array_agg(d.parent) into over from d;
	perform jobq.settle(over, false);
	return coalesce(cardinality(over), 0);
end
$$;

-- Complete a job inside the handler's own transaction, so that its effects
-- and its end are one. token: as given to the handler, POOL.BATCH.ATTEMPT.
-- False: the job is no longer that handler's; roll back.
create function jobq.complete(id bigint, token text, result jsonb default null) returns boolean
language plpgsql as $$
declare
	t bigint[];
	p jobq.pool;
begin
	if token !~ '^[0-9]{1,18}[.][0-9]{1,18}[.][0-9]{1,5}$' then
		raise exception 'the token is not one of jobqd' using errcode = '22023',
		    hint = 'Pass the token of the job as it was given to the handler.';
	end if;
	t := string_to_array(token, '.')::bigint[];
	select * into p from jobq.pool k where k.id = t[1];
	if not found or not jobq.holds(p, complete.id, t[3]::smallint, t[2]) or not jobq.sees(complete.id) then
		return false;
	end if;
	insert into jobq.attempt (job, attempt, queue, outcome, node, started_at, finished_at, pool, result)
	select complete.id, t[3], p.queue, 1, p.node,
	    coalesce((select c.at from jobq.claim c where c.queue = p.queue and c.batch = t[2]), clock_timestamp()),
	    clock_timestamp(), p.id, complete.result
	on conflict do nothing;
	if not found then
		return false;
	end if;
	insert into jobq.tally (queue, completed) values (p.queue, 1);
	perform jobq.ended(array[complete.id]);
	return true;
end
$$;

-- Has the pool this attempt of this job on lease, from that batch?
create function jobq.holds(p jobq.pool, job bigint, attempt smallint, batch bigint) returns boolean
language sql stable as $$
	select (exists (
		select from jobq.claim c, unnest(c.jobs, c.attempts) u(job, attempt)
		where c.queue = p.queue and c.batch = holds.batch and c.pool = p.id
		    and u.job = holds.job and u.attempt = holds.attempt)
	    or exists (
		select from jobq.held h where h.pool = p.id and h.job = holds.job
		    and h.attempt = holds.attempt and h.batch = holds.batch))
	    and not exists (
		select from jobq.released r where r.pool = p.id and r.job = holds.job
		    and r.attempt = holds.attempt and r.batch >= holds.batch)
	    and not exists (
		select from jobq.attempt a where a.job = holds.job and a.attempt = holds.attempt)
$$;
