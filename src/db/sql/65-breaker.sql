-- Circuit breakers: what the leaders of a queue share of them. A leader counts
-- how attempts end, in its memory, and says here when that opens a breaker;
-- all leaders of the queue obey ('*breaker QUEUE' tells them to look). When the
-- time is over one of them is granted the probe, by the row: prober is the pool
-- that makes it, and a pool that is gone makes none.
--
-- A queue whose jobs all go to one place has one breaker (gate): its leaders do
-- not claim. Else each destination has one, and a job for it is known only when
-- it is about to run: it is handed back and waits as a timer that has the
-- destination's name, until the breaker closes.

-- Is the probe of this breaker to be had?
create function jobq.breaker_is_free(b jobq.breaker) returns boolean
language sql stable as $$
	select case b.state when 'open' then b.until <= clock_timestamp()
	    when 'half-open' then not exists (select from jobq.pool p where p.id = b.prober)
	    else false end
$$;

-- A leader tells what has become of a breaker, or asks for the probe. What is
-- not true any more (somebody else was first) changes nothing.
--   change   opens; and of whom makes the probe: closes, reopens, passes (the
--            next job is the probe); asks: for the probe
--   failures of so many attempts: what opened it
create function jobq.breaker_set(pool bigint, queue_id smallint, destination text, change text,
    gate boolean, failures int, attempts int, open_ms bigint, error text) returns void
language plpgsql as $$
declare
	now_is timestamptz := clock_timestamp();
begin
	if change = 'opens' then
		-- those of destinations that nobody goes to any more
		delete from jobq.breaker b where b.queue = queue_id and b.prober is null
		    and b.since < now_is - interval '1 day' and coalesce(b.until, b.since) < now_is - interval '1 day'
		    and not exists (select from jobq.timer t where t.queue = b.queue and t.destination = b.destination);
		insert into jobq.breaker as b (queue, destination, gate, state, since, until, failures, attempts, open_ms, last_error)
		values (queue_id, breaker_set.destination, breaker_set.gate, 'open', now_is, now_is + jobq.ms(open_ms),
		    breaker_set.failures, breaker_set.attempts, breaker_set.open_ms, breaker_set.error)
		on conflict on constraint breaker_pkey do update
		set gate = excluded.gate, state = 'open', since = excluded.since, until = excluded.until,
		    failures = excluded.failures, attempts = excluded.attempts, open_ms = excluded.open_ms,
		    last_error = excluded.last_error
		where b.state = 'closed';
	elsif change = 'asks' then
		update jobq.breaker b set state = 'half-open', prober = breaker_set.pool,
		    since = case when b.state = 'open' then b.until else b.since end
		where b.queue = queue_id and b.destination = breaker_set.destination and jobq.breaker_is_free(b);
		return;		-- nobody has to know at once
	else
		update jobq.breaker b set prober = null, called_at = null,
		    state = case change when 'closes' then 'closed' when 'reopens' then 'open' else b.state end,
		    since = case change when 'passes' then b.since else now_is end,
		    until = case change when 'reopens' then now_is + jobq.ms(breaker_set.open_ms) when 'passes' then b.until end,
		    last_error = coalesce(breaker_set.error, b.last_error)
		where b.queue = queue_id and b.destination = breaker_set.destination
		    and b.state = 'half-open' and b.prober = breaker_set.pool;
	end if;
	if not found then
		return;
	end if;
	if change = 'closes' then
		perform jobq.breaker_call(queue_id, destination, null);
	end if;
	perform pg_notify('jobq', '*breaker ' || q.name) from jobq.queue q where q.id = queue_id;
end
$$;

-- The breakers of a queue that are not closed, for one of its leaders.
--   wait_ms  how long an open one is open
--   ours     the probe is this pool's
-- Where the probe is to be had, one of the jobs that wait for it is called; should
-- that one not come, another one in two seconds.
create function jobq.breaker_look(pool bigint, queue_id smallint)
returns table (destination text, half_open boolean, wait_ms bigint, ours boolean)
language plpgsql as $$
#variable_conflict use_column
declare
	name text;
begin
	for name in
		select b.destination from jobq.breaker b
		where b.queue = queue_id and b.state <> 'closed' and jobq.breaker_is_free(b)
		    and coalesce(b.called_at < clock_timestamp() - interval '2 seconds', true)
		    and exists (select from jobq.timer t where t.queue = queue_id and t.destination = b.destination)
		for update skip locked
	loop
		update jobq.breaker b set called_at = clock_timestamp()
		where b.queue = queue_id and b.destination = name;
		perform jobq.breaker_call(queue_id, name, 1);
	end loop;
	return query
	select b.destination, b.state = 'half-open' or b.until <= clock_timestamp(),
	    greatest(0, ceil(extract(epoch from b.until - clock_timestamp()) * 1000))::bigint,
	    coalesce(b.state = 'half-open' and b.prober = breaker_look.pool, false)
	from jobq.breaker b where b.queue = queue_id and b.state <> 'closed'
	order by b.since limit 1000;
end
$$;

-- Jobs that wait for a destination have their turn now: n of them (null: all).
create function jobq.breaker_call(queue_id smallint, destination text, n int) returns void
language plpgsql
set enable_seqscan = off set jit = off as $$
begin
	with d as (
		delete from jobq.timer t
		where t.job = any (array(
			select k.job from jobq.timer k
			where k.queue = queue_id and k.destination = breaker_call.destination
			order by k.run_at limit n for update skip locked))
		returning t.job, t.queue, t.lane, t.attempt, t.run_at
	)
	insert into jobq.turn (job, slot, queue, lane, attempt)
	select d.job, s.last_value, d.queue, d.lane, d.attempt from d, jobq.turn_slot s
	order by d.run_at, d.job;
	if found then
		perform jobq.nudge(q.id, q.name) from jobq.queue q where q.id = queue_id;
	end if;
end
$$;

-- Jobs of a pool that were not run since the breaker of where they go is not
-- closed: what is to become of them. Returned are those to be run after all,
-- since it is closed meanwhile, or as the probe, which is granted here. The
-- others are given back, uncharged, and wait: until the breaker closes, or one
-- of them is called for the probe. Should nobody call, they come by themselves.
create function jobq.breaker_defer(pool bigint, jobs bigint[], attempts int[], destinations text[])
returns table (job bigint, attempt int, probe boolean)
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
#variable_conflict use_column
declare
	q smallint;
	b jobq.breaker;
	d text;
	mine int[];		-- the places in the arrays of one destination's
	again bigint[];
	nums smallint[];
begin
	select p.queue into q from jobq.pool p where p.id = breaker_defer.pool;
	if not found then
		return;		-- reaped: they have their next turn
	end if;
	for d, mine in
		select u.d, array_agg(u.i::int order by u.i) from unnest(destinations) with ordinality u(d, i)
		group by u.d order by u.d
	loop
		-- nobody closes it in the meantime, who would not see them wait
		select * into b from jobq.breaker k where k.queue = q and k.destination = d for update;
		if not found or b.state = 'closed' then
			return query select jobs[i], attempts[i], false from unnest(mine) i;
			continue;
		end if;
		if jobq.breaker_is_free(b) then
			update jobq.breaker k set state = 'half-open', prober = breaker_defer.pool,
			    since = case when k.state = 'open' then k.until else k.since end
			where k.queue = q and k.destination = d;
			return query select jobs[mine[1]], attempts[mine[1]], true;
			mine := mine[2:];
		end if;
		select g.again, g.nums into again, nums from jobq.give_back(breaker_defer.pool,
		    array(select jobs[i] from unnest(mine) i), array(select attempts[i] from unnest(mine) i)) g;
		-- who had them before may still end them
		perform jobq.withdraw(q, (select max(j) from unnest(again) j)), jobq.keep_keys(again)
		where again is not null;
		insert into jobq.timer (job, run_at, queue, lane, attempt, destination)
		select j.id, greatest(b.until, clock_timestamp()) + least(jobq.ms(9 * b.open_ms),
		    greatest(jobq.ms(b.open_ms), interval '1 hour')), j.queue, j.lane, u.attempt, d
		from unnest(again, nums) u(job, attempt),
		lateral (select * from jobq.job j where j.id = u.job limit 1) j
		where not exists (select from jobq.cancel_request c where c.job = j.id offset 0)
		on conflict do nothing;
		perform jobq.stop_waiting(u.job, u.attempt, q) from unnest(again, nums) u(job, attempt)
		where exists (select from jobq.cancel_request c where c.job = u.job offset 0);
	end loop;
end
$$;

-- A queue has no breakers any more: nobody waits for them.
create function jobq.breaker_off(queue_id smallint) returns void
language plpgsql as $$
begin
	delete from jobq.breaker b where b.queue = queue_id;
	perform jobq.breaker_call(queue_id, d.name, null)
	from (select distinct t.destination as name from jobq.timer t
	    where t.queue = queue_id and t.destination is not null) d;
end
$$;

-- Why a job that waits does so, as far as breakers go; null: not for one.
create function jobq.breaker_why(queue_id smallint, job bigint) returns text
language sql stable as $$
	select format('the circuit breaker of %s is %s after %s of %s attempts failed: %s',
	    case when b.gate then 'its queue' else b.destination end,
	    case when jobq.breaker_is_free(b) or b.state = 'half-open' then 'half-open, so that one job at a time is tried,'
	        else 'open until ' || date_trunc('second', b.until) end,
	    b.failures, b.attempts, coalesce(b.last_error, 'no reason given'))
	from jobq.breaker b
	where b.queue = queue_id and b.state <> 'closed' and (
	    exists (select from jobq.timer t where t.job = breaker_why.job and t.destination = b.destination)
	    or b.gate and not exists (select from jobq.timer t where t.job = breaker_why.job))
	order by b.gate desc limit 1
$$;

-- The breakers that have opened since somebody last looked after them.
--   destination  null: the queue's own
create view jobq.breakers as
	select q.name as queue, nullif(b.destination, '') as destination,
	    case when b.state = 'open' and b.until <= now() then 'half-open' else b.state end as state,
	    case when b.state = 'open' and b.until <= now() then b.until else b.since end as since,
	    b.until, b.failures, b.attempts as of, b.last_error,
	    case when b.state = 'closed' then 0
	        when b.gate then r.ready
	        else (select count(*) from jobq.timer t where t.queue = b.queue and t.destination = b.destination)
	        end as waiting
	from jobq.breaker b join jobq.queue q on q.id = b.queue
	left join lateral jobq.ready_of(b.queue) r on b.gate and b.state <> 'closed';
