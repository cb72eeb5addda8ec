-- Workers elsewhere that fetch jobs over HTTP. Each job is a lease of its own: a
-- row of `pull` says whose it is and up to when. For the claims a node has one
-- pool a queue, which is no process and is never reaped: it outlives jobqd, so
-- that who works on a job does not notice a restart.

-- The pool of a node for the pull workers of a queue.
create function jobq.pull_pool(q jobq.queue, node text) returns bigint
language plpgsql as $$
declare
	n smallint := jobq.node_id(node);
	p bigint;
begin
	update jobq.pool k set seen = clock_timestamp(),
	    oldest_batch = coalesce((select min(u.batch) from jobq.pull u where u.pool = k.id),
	        (jobq.last_claim(q.id)).batch + 1, 1)
	where k.queue = q.id and k.node = n and k.pull and k.seen < clock_timestamp() - interval '1 second'
	returning k.id into p;
	if not found then
		select k.id into p from jobq.pool k where k.queue = q.id and k.node = n and k.pull;
	end if;
	if not found then
		insert into jobq.pool (queue, node, pid, oldest_batch, lease_ms, pull)
		values (q.id, n, 0, coalesce((jobq.last_claim(q.id)).batch, 0) + 1, 3155760000000, true)
		returning id into p;
	end if;
	return p;
end
$$;

-- Lease jobs of a queue to workers that wait for some, the first one first; one
-- call at a time of a node and queue. Must be alone in its transaction.
--   workers, wants, leases_ms  of each its name, how many it takes, and for how
--                              long it promises to renew (null: the queue's lease)
--   timeouts                   of the queue's types in ms, of all others as ""
--   grace_ms                   after which a job whose time is over is taken away
-- Returns a row for each job, with its place in workers and what the worker gets
-- to see. Where a limit has a min_gap a worker gets one job, not to be told of
-- for start_ms. A row without a job: there may be more then.
create function jobq.pull_claim(queue text, node text, workers text[], wants int[], leases_ms bigint[],
    timeouts jsonb, grace_ms bigint, max_attempts int)
returns table (worker int, id bigint, attempt int, job text, start_ms bigint, pool bigint, charged int, crashes int,
    own_attempts int)
language plpgsql as $$
#variable_conflict use_column
declare
	q jobq.queue := jobq.queue_get(queue);
	p bigint := jobq.pull_pool(q, node);
	n int := (select sum(w) from unnest(wants) w);
	held int := 0;
	keys text[];
	gate bigint;
	probes boolean := false;
	c record;
	moment timestamptz;
	ends timestamptz;
	got int := 0;
begin
	if q.limited or q.keyed then
		-- who ends a job says what it frees under the same lock
		perform from jobq.pool k where k.id = p for update;
		select count(*), array_agg(k.key) filter (where k.key is not null) into held, keys
		from jobq.pull k where k.pool = p;
		if exists (select from jobq.queue_limit u join jobq.limit_state s on s.id = u.limit_id
		    where u.queue = q.id and s.min_gap_ms > 0) then
			wants := array_fill(1, array[cardinality(wants)]);
			n := cardinality(wants);
		end if;
	end if;
	select b.wait_ms, coalesce(b.wait_ms = 0, false) into gate, probes from jobq.pull_gate(p, q.id) b;
	if gate > 0 then
		start_ms := gate;
		return next;
		return;
	elsif probes then
		n := 1;
	end if;
	worker := 1;
	for c in select * from jobq.claim(p, q.id, n, held, keys) loop
		start_ms := c.start_ms;
		if c.id is null then
			worker := null;
			id := null;
			return next;
			exit;
		end if;
		moment := clock_timestamp();
		if q.expire_ms > 0 and c.attempt = 1 and c.late_ms > q.expire_ms then
			perform jobq.finish(p, array[c.id], array[c.attempt], array[3], array[6],
			    array[format('not started within %s ms of its time', q.expire_ms)], null, null,
			    array[0], array[0], null, null, null, null, null, null);
			continue;
		end if;
		while got >= wants[worker] loop
			worker := worker + 1;
			got := 0;
		end loop;
		got := got + 1;
		ends := moment + jobq.ms(coalesce(c.timeout_ms, (timeouts ->> c.type)::bigint, (timeouts ->> '')::bigint));
		insert into jobq.pull as k (job, attempt, pool, batch, worker, at, lease_ms, until, deadline, grace_ms,
		    charged, crashes, max_attempts, key, probe)
		values (c.id, c.attempt, p, c.batch, workers[worker], moment, coalesce(leases_ms[worker], q.lease_ms),
		    least(moment + jobq.ms(coalesce(leases_ms[worker], q.lease_ms)), ends + jobq.ms(grace_ms)), ends, grace_ms,
		    coalesce(c.charged, 0), coalesce(c.crashes, 0), coalesce(c.max_attempts, 0), c.key, probes)
		-- a crash of the server may have lost the claim and not this
		on conflict on constraint pull_pkey do update
		set pool = excluded.pool, batch = excluded.batch, worker = excluded.worker, at = excluded.at,
		    lease_ms = excluded.lease_ms, until = excluded.until, deadline = excluded.deadline,
		    probe = excluded.probe;
		id := c.id;
		attempt := c.attempt;
		pool := p;
		charged := coalesce(c.charged, 0);
		crashes := coalesce(c.crashes, 0);
		own_attempts := coalesce(c.max_attempts, 0);
		job := json_build_object('id', c.id, 'token', concat_ws('.', p, c.batch, c.attempt),
		    'type', c.type, 'data', c.data::json, 'attempt', c.attempt,
		    'max_attempts', coalesce(c.max_attempts, pull_claim.max_attempts), 'tenant', c.tenant,
		    'deadline', ends, 'lease_until', (select k.until from jobq.pull k
		        where k.job = c.id and k.attempt = c.attempt));
		return next;
		probes := false;
	end loop;
	if probes then		-- there was none to try it with
		perform jobq.breaker_set(p, q.id, '', 'passes', true, null, null, null, null);
	end if;
end
$$;

-- May jobs of this queue be taken, as far as its circuit breaker goes? Null: it
-- is closed; 0: one, as the probe, which is granted here; else not for so long.
create function jobq.pull_gate(pool bigint, queue_id smallint, out wait_ms bigint)
language plpgsql as $$
declare
	b jobq.breaker;
begin
	select * into b from jobq.breaker k
	where k.queue = queue_id and k.destination = '' and k.gate and k.state <> 'closed';
	if not found then
		return;
	elsif jobq.breaker_is_free(b) or b.prober = pull_gate.pool
	    and not exists (select from jobq.pull k where k.pool = pull_gate.pool and k.probe) then
		perform jobq.breaker_set(pool, queue_id, '', 'asks', true, null, null, null, null);
		wait_ms := case when exists (select from jobq.breaker k where k.queue = queue_id
		    and k.destination = '' and k.prober = pull_gate.pool) then 0 else 1000 end;
	else
		wait_ms := greatest(1000, ceil(extract(epoch from b.until - clock_timestamp()) * 1000));
	end if;
end
$$;

-- The lease of a token. P0002: there is no such job; 55000: it is somebody else's
-- by now, or has ended. Locked until the transaction ends.
create function jobq.pull_lease(id bigint, token text) returns jobq.pull
language plpgsql as $$
declare
	t bigint[];
	l jobq.pull;
begin
	if token is null or token !~ '^[0-9]{1,18}[.][0-9]{1,18}[.][0-9]{1,5}$' then
		raise exception 'the token is not one of jobqd' using errcode = '22023', column = 'token',
		    hint = 'Pass the token of the job as the lease gave it.';
	end if;
	t := string_to_array(token, '.')::bigint[];
	select * into l from jobq.pull k
	where k.job = id and k.attempt = t[3] and k.pool = t[1] and k.batch = t[2]
	    and not exists (select from jobq.attempt a where a.job = k.job and a.attempt = k.attempt offset 0)
	for update;
	if found then
		return l;
	elsif jobq.final_outcome(id) is null then
		raise exception 'there is no job %', id using errcode = 'P0002';
	end if;
	raise exception 'job % is not leased with this token any more', id using errcode = '55000',
	    hint = 'It was not renewed in time, or has ended; another run of it may be under way. Drop it.';
end
$$;

-- How long a leased job has been running, in microseconds.
create function jobq.pull_ran_us(l jobq.pull) returns bigint
language sql as $$
	select greatest(0, jobq.us(clock_timestamp()) - jobq.us(l.at))
$$;

-- Has somebody asked to stop this run?
create function jobq.pull_is_cancelled(l jobq.pull) returns boolean
language sql stable as $$
	select exists (select from jobq.cancel_request c where c.job = l.job and c.attempt = l.attempt)
$$;

-- What a lease freed where limits or keys are: the pool's load is told at once,
-- and who waits for it.
create function jobq.pull_freed(pool bigint) returns void
language plpgsql as $$
declare
	q jobq.queue;
	l jobq.limit_state;
begin
	select * into q from jobq.queue k
	where k.id = (select p.queue from jobq.pool p where p.id = pull_freed.pool) and (k.limited or k.keyed);
	if not found then
		return;
	end if;
	perform from jobq.pool k where k.id = pull_freed.pool for update;
	update jobq.pool_load k set held = u.held, keys = u.keys
	from (select count(*) as held, coalesce(array_agg(s.key) filter (where s.key is not null), '{}') as keys
	    from jobq.pull s where s.pool = pull_freed.pool) u
	where k.pool = pull_freed.pool;
	for l in select * from jobq.limits_of(q.id) loop
		if l.awaited then
			update jobq.limit_state s set awaited = false where s.id = l.id;
			perform jobq.rouse(k.name)
			from jobq.queue_limit u join jobq.queue k on k.id = u.queue where u.limit_id = l.id;
		end if;
	end loop;
	if q.keyed then
		perform jobq.rouse(q.name);
	end if;
end
$$;

-- A leased attempt ended; the arguments are as finish() has them. False: it was
-- not the lease's any more.
create function jobq.pull_end(pool bigint, job bigint, attempt int, outcome int, class int, error text,
    result text, delay_ms bigint) returns boolean
language plpgsql as $$
declare
	l jobq.pull;
	refused boolean;
begin
	delete from jobq.pull k
	where k.job = pull_end.job and k.attempt = pull_end.attempt and k.pool = pull_end.pool
	returning * into l;
	if not found then
		return false;
	end if;
	refused := exists (select from jobq.finish(pool, array[job], array[attempt], array[outcome], array[class],
	    array[error], array[result], array[delay_ms],
	    array[jobq.pull_ran_us(l)], array[0], null, null, null, null, null, null));
	if l.probe then
		perform jobq.breaker_set(pool, p.queue, '', case when outcome in (4, 5) then 'passes'
		        when outcome = 1 then 'closes' else 'reopens' end,
		    true, null, null, b.open_ms, error)
		from jobq.pool p join jobq.breaker b on b.queue = p.queue and b.destination = '' where p.id = pull_end.pool;
	end if;
	perform jobq.pull_freed(pool);
	return not refused;
end
$$;

-- Leases handed back: the jobs run again, under the same number.
create function jobq.pull_release(jobs bigint[], attempts int[]) returns int
language plpgsql as $$
declare
	p bigint;
	n int := 0;
begin
	for p, jobs, attempts in
		with d as (
			delete from jobq.pull k using unnest(jobs, attempts) u(job, attempt)
			where k.job = u.job and k.attempt = u.attempt
			returning k.pool, k.job, k.attempt
		)
		select d.pool, array_agg(d.job order by d.job), array_agg(d.attempt::int order by d.job) from d group by d.pool
	loop
		n := n + jobq.release(p, jobs, attempts);
		perform jobq.pull_freed(p);
	end loop;
	return n;
end
$$;

-- The leases that were not renewed, some hundred of them; what is left of leases whose
-- attempts ended otherwise goes. Whoever decides what is to become of them
-- says so by pull_end().
create function jobq.pull_overdue() returns table (pool bigint, job bigint, attempt int, queue text, type text,
    worker text, timed_out boolean, cancelled boolean, charged int, crashes int, max_attempts int)
language plpgsql as $$
#variable_conflict use_column
declare
	p bigint;
begin
	for p in
		with d as (
			delete from jobq.pull k
			where k.until < clock_timestamp() and exists (select from jobq.attempt a
			    where a.job = k.job and a.attempt = k.attempt offset 0)
			returning k.pool
		)
		select distinct d.pool from d
	loop
		perform jobq.pull_freed(p);
	end loop;
	return query
	select k.pool, k.job, k.attempt::int, q.name,
	    coalesce((select j.type from jobq.job j where j.id = k.job), ''), k.worker, k.deadline < clock_timestamp(),
	    jobq.pull_is_cancelled(k), k.charged, k.crashes, k.max_attempts
	from jobq.pull k join jobq.pool p on p.id = k.pool join jobq.queue q on q.id = p.queue
	where greatest(k.until, pg_postmaster_start_time() + jobq.ms(k.lease_ms)) < clock_timestamp()
	order by k.until limit 500;
end
$$;

-- What the routes of the API call.

-- A run goes on: its lease begins anew, but for one that is to stop.
create function jobq.api_pull_renew(id bigint, token text, lease interval default null)
returns table (status int, body text)
language plpgsql as $$
declare
	l jobq.pull := jobq.pull_lease(id, token);
	ms bigint := coalesce(extract(epoch from lease) * 1000, l.lease_ms);
	why text := case when jobq.pull_is_cancelled(l) then 'cancelled' when l.deadline < clock_timestamp() then 'timeout' end;
begin
	if lease not between interval '1 second' and interval '1 hour' then
		raise exception 'lease is no duration from 1s to 1h' using errcode = '22023';
	elsif why is null then
		update jobq.pull k set lease_ms = ms,
		    until = least(clock_timestamp() + jobq.ms(ms), k.deadline + jobq.ms(k.grace_ms))
		where k.job = l.job and k.attempt = l.attempt returning k.until into l.until;
	end if;
	return query select 200, json_build_object('cancelled', why is not null, 'reason', why,
	    'lease_until', l.until, 'deadline', l.deadline)::text;
end
$$;

create function jobq.api_pull_complete(id bigint, token text, result jsonb)
returns table (status int, body text, queue text, type text, run_us bigint)
language plpgsql as $$
declare
	l jobq.pull := jobq.pull_lease(id, token);
begin
	if octet_length(result::text) > 1048576 then
		raise exception 'the result has more than 1 MiB' using errcode = '54000',
		    hint = 'Store large things elsewhere and return where.';
	end if;
	perform jobq.pull_end(l.pool, l.job, l.attempt, 1, 0, null, result::text, null);
	return query select 200, json_build_object('id', api_pull_complete.id, 'state', 'completed')::text,
	    q.name, coalesce(j.type, ''), jobq.pull_ran_us(l)
	from jobq.pool p join jobq.queue q on q.id = p.queue left join jobq.job j on j.id = l.job
	where p.id = l.pool;
end
$$;

-- What decides whether a run that failed is followed by another.
create function jobq.pull_failing(id bigint, token text)
returns table (pool bigint, attempt int, queue text, cancelled boolean, charged int, crashes int, max_attempts int,
    type text, run_us bigint)
language sql as $$
	select l.pool, l.attempt::int, q.name, jobq.pull_is_cancelled(l), l.charged, l.crashes, l.max_attempts,
	    coalesce(j.type, ''), jobq.pull_ran_us(l)
	from jobq.pull_lease(id, token) l
	join jobq.pool p on p.id = l.pool join jobq.queue q on q.id = p.queue
	left join jobq.job j on j.id = l.job
$$;

-- … and that it was so decided.
create function jobq.api_pull_fail(pool bigint, id bigint, attempt int, outcome int, class int, error text,
    delay_ms bigint) returns table (status int, body text)
language plpgsql as $$
begin
	if not jobq.pull_end(pool, id, attempt, outcome, class, error, null, delay_ms) then
		raise exception 'job % is not leased with this token any more', id using errcode = '55000',
		    hint = 'It was not renewed in time, or has ended; another run of it may be under way. Drop it.';
	end if;
	return query select 200, json_build_object('id', id,
	    'state', case outcome when 2 then 'retrying' when 3 then 'dead' else 'cancelled' end,
	    'run_at', (select t.run_at from jobq.timer t where t.job = api_pull_fail.id))::text;
end
$$;

create function jobq.api_pull_release(id bigint, token text) returns table (status int, body text)
language plpgsql as $$
declare
	l jobq.pull := jobq.pull_lease(id, token);
begin
	perform jobq.pull_release(array[l.job], array[l.attempt::int]);
	return query select 200, json_build_object('id', id, 'state', 'ready')::text;
end
$$;

create function jobq.api_pull_progress(id bigint, token text, pct int, note text)
returns table (status int, body text)
language plpgsql as $$
declare
	l jobq.pull := jobq.pull_lease(id, token);
begin
	if octet_length(note) > 16384 then
		raise exception 'the note has % bytes, 16384 are allowed', octet_length(note)
		using errcode = '54000', hint = 'Store large things elsewhere and note where.';
	end if;
	perform jobq.progress_set(array[l.job], array[l.attempt::int], array[pct], array[note]);
	return query select 200, json_build_object('cancelled', jobq.pull_is_cancelled(l))::text;
end
$$;

-- Keep lines that a run printed, of each attempt the last 64 KiB.
create function jobq.api_pull_log(id bigint, token text, text text)
returns table (status int, body text)
language plpgsql as $$
declare
	l jobq.pull := jobq.pull_lease(id, token);
	most constant int := 65536;
begin
	perform jobq.output_add(l.job, l.attempt, right(text, most));
	delete from jobq.output o
	using (select k.part, sum(octet_length(k.text)) over (order by k.part desc) as so_far
	    from jobq.output k where k.job = l.job and k.attempt = l.attempt) k
	where o.job = l.job and o.attempt = l.attempt and o.part = k.part and k.so_far > most
	    and k.part < (select max(m.part) from jobq.output m where m.job = l.job and m.attempt = l.attempt);
	return query select 200, json_build_object('cancelled', jobq.pull_is_cancelled(l))::text;
end
$$;
