-- Named limits, which queues and nodes share: how many jobs may be started in
-- any period, how many may run at a time, how long apart they start.
--
-- They are asked and charged by a claim, for all that it takes at once. A
-- limit is locked until the claim's transaction ends (limit_lock()), after the
-- queue, and several in the order of their ids.
--
-- A period is counted in 100 steps. Of the newest 103 steps together no more may
-- start than the rate allows: a job that is taken in one step is started in it
-- or in the two after it, so whatever window of a period one looks through, it
-- shows at most the starts of 103 steps. That reaches 100/103 of the rate.

create function jobq.limit_lock(id smallint) returns int
language sql immutable parallel safe as $$ select -1000 - id $$;

-- What a claim may take: n jobs, to be started gap_ms apart, the first after
-- start_ms; wait_ms: when there may be more than n (null: n is all that was
-- asked for); awaits: n is bound by how many run at a time.
create type jobq.allowance as (
	n int,
	wait_ms bigint,
	gap_ms bigint,
	start_ms bigint,
	awaits boolean
);

-- The limits of a queue, locked.
create function jobq.limits_of(queue_id smallint) returns setof jobq.limit_state
language plpgsql as $$
declare
	one smallint;
begin
	for one in select l.limit_id from jobq.queue_limit l where l.queue = queue_id order by 1 loop
		perform pg_advisory_xact_lock(jobq.claim_lock(), jobq.limit_lock(one));
		return query select * from jobq.limit_state s where s.id = one;
	end loop;
end
$$;

-- How long a step of a limit is, in microseconds, and which one it is now.
create function jobq.step_us(l jobq.limit_state) returns bigint
language sql immutable parallel safe as $$
	select greatest(1, l.period_ms * 10)
$$;

create function jobq.step_now(l jobq.limit_state) returns bigint
language sql as $$
	select jobq.us(clock_timestamp()) / jobq.step_us(l)
$$;

-- The starts of the 103 steps up to this one, oldest first.
create function jobq.steps(l jobq.limit_state, now bigint) returns int[]
language plpgsql immutable as $$
declare
	passed bigint := now - l.step;
begin
	if passed < 0 or passed >= 103 or cardinality(l.used) <> 103 then
		return array_fill(0, array[103]);
	end if;
	return l.used[passed + 1:103] || array_fill(0, array[passed::int]);
end
$$;

-- How many of n jobs a pool may take now. It has `held` on lease.
create function jobq.limits_allow(pool bigint, queue_id smallint, n int, held int)
returns jobq.allowance
language plpgsql as $$
declare
	-- what is started by min_gap is leased so long before
	ahead constant bigint := 100;
	a jobq.allowance;
	l jobq.limit_state;
	used int[];
	step bigint;
	free bigint;
	wait bigint;
begin
	a.n := n;
	a.gap_ms := 0;
	a.start_ms := 0;
	for l in select * from jobq.limits_of(queue_id) loop
		if l.rate > 0 then
			step := jobq.step_now(l);
			used := jobq.steps(l, step);
			free := l.rate - (select sum(u) from unnest(used) u);
			if free < a.n then
				a.n := greatest(free, 0);
				a.awaits := false;
				-- until the oldest step that has any is one too old
				wait := (select min(i) from unnest(used) with ordinality u(starts, i) where starts > 0);
				a.wait_ms := ((step + coalesce(wait, 1)) * jobq.step_us(l) - jobq.us(clock_timestamp())) / 1000 + 1;
			end if;
		end if;
		if l.concurrency > 0 then
			free := l.concurrency - held - (
				select coalesce(sum(p.held), 0)
				from jobq.queue_limit k join jobq.pool_load p on p.queue = k.queue
				where k.limit_id = l.id and p.pool <> limits_allow.pool);
			if free < a.n then
				a.n := greatest(free, 0);
				a.awaits := true;
				a.wait_ms := 1000;	-- or when somebody else has less
			end if;
		end if;
		if l.min_gap_ms > 0 then
			a.gap_ms := greatest(a.gap_ms, l.min_gap_ms);
			a.start_ms := greatest(a.start_ms, ceil(extract(epoch from l.next_at - clock_timestamp()) * 1000)::bigint);
		end if;
	end loop;
	if a.gap_ms > 0 then
		free := greatest(0, (ahead - a.start_ms + a.gap_ms) / a.gap_ms);
		if free < a.n then
			a.n := free;
			a.awaits := false;
			a.wait_ms := greatest(1, a.start_ms + free * a.gap_ms - ahead);
		end if;
	end if;
	return a;
end
$$;

-- Charge what a claim has taken, got jobs, and keep what the pool has on lease
-- now, with their concurrency keys. Returns in how many milliseconds there may
-- be more, when a limit held this claim back; else null.
create function jobq.limits_charge(pool bigint, queue_id smallint, a jobq.allowance, held int,
    keys text[], got int) returns bigint
language plpgsql as $$
declare
	q jobq.queue;
	l jobq.limit_state;
	had int;
	counts int[];
	this_step bigint;
	waits boolean := a.wait_ms is not null and got >= a.n;
begin
	select * into q from jobq.queue k where k.id = queue_id;
	if not q.limited and not q.keyed then
		return null;
	end if;
	select p.held into had from jobq.pool_load p where p.pool = limits_charge.pool;
	insert into jobq.pool_load as p (pool, queue, held, keys)
	values (limits_charge.pool, queue_id, limits_charge.held, coalesce(limits_charge.keys, '{}'))
	on conflict on constraint pool_load_pkey do update set held = excluded.held, keys = excluded.keys
	where (p.held, p.keys) is distinct from (excluded.held, excluded.keys);
	for l in select * from jobq.limits_of(queue_id) loop
		if got > 0 and (l.rate > 0 or l.min_gap_ms > 0) then
			this_step := jobq.step_now(l);
			counts := jobq.steps(l, this_step);
			counts[103] := counts[103] + got;
			update jobq.limit_state s set step = this_step, used = counts,
			    next_at = clock_timestamp() + jobq.ms(a.start_ms + a.gap_ms * got)
			where s.id = l.id;
		end if;
		if l.concurrency > 0 and l.awaited and had > held then
			update jobq.limit_state s set awaited = false where s.id = l.id;
			perform jobq.rouse(k.name)
			from jobq.queue_limit u join jobq.queue k on k.id = u.queue where u.limit_id = l.id;
		elsif l.concurrency > 0 and not l.awaited and waits and a.awaits then
			update jobq.limit_state s set awaited = true where s.id = l.id;
		end if;
	end loop;
	return case when waits then a.wait_ms end;
end
$$;
