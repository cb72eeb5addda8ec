-- Claims of queues whose jobs are not just the next ones: shares of fair
-- queues, ageing, concurrency keys, and held types and tenants. All of it
-- works on what take() gives; a turn that may not run now is parked, since the
-- cursor has passed it.

-- A claim as it would be with these cursors, for the next take().
create function jobq.advanced(last jobq.claim, c jobq.cursors) returns jobq.claim
language plpgsql as $$
begin
	last.lanes := c.lanes;
	last.cursor_xid := c.xid;
	last.cursor_job := c.job;
	last.waiting := jobq.passed_by(c);
	last.late_lane := c.late_lane;
	last.late_xid := c.late_xid;
	last.late_job := c.late_job;
	return last;
end
$$;

-- Two takes, one after the other, as one.
create function jobq.joined(a jobq.cursors, b jobq.cursors) returns jobq.cursors
language plpgsql immutable as $$
begin
	if a.taken is not null then
		b.taken := a.taken || coalesce(b.taken, '{}');
		b.attempts := a.attempts || coalesce(b.attempts, '{}');
		b.keys := a.keys || b.keys;
		b.served := coalesce(b.served, a.served);
	end if;
	return b;
end
$$;

-- Take up to n turns of a fair queue: the priorities in their order, within
-- each the shares in turns, beginning behind the one that was served last. Each
-- round gives every share as much as there is room for divided by how many had
-- more in the last round.
create function jobq.take_fair(last jobq.claim, queue_id smallint, n int, keyed boolean) returns jobq.cursors
language plpgsql as $$
declare
	all_of jobq.cursors;
	c jobq.cursors;
	low smallint := 0;
	shares int;
	room int := n;
begin
	all_of := jobq.take(last, queue_id, 0);		-- finds the lanes
	loop
		select min(l) / 256 * 256, count(*) filter (where l < min_of * 256 + 256)
		into low, shares
		from unnest(all_of.lanes) l, (select min(m) / 256 as min_of from unnest(all_of.lanes) m where m >= low) p
		where l >= low and p.min_of is not null;
		exit when low is null;
		while room > 0 loop
			c := jobq.take(jobq.advanced(last, all_of), queue_id, room, greatest(1, ceil(room::float8 / shares)::int),
			    low, (low + 255)::smallint, coalesce(all_of.served, last.served, -1::smallint), keyed);
			all_of := jobq.joined(all_of, c);
			room := n - coalesce(cardinality(all_of.taken), 0);
			shares := c.more;
			exit when shares = 0;
		end loop;
		exit when room = 0 or low >= 99 * 256;
		low := low + 256;
	end loop;
	return all_of;
end
$$;

-- Take up to n turns of the lanes below the most urgent one that wait too
-- long, the oldest first.
create function jobq.take_aged(last jobq.claim, queue_id smallint, n int, age_ms bigint, keyed boolean)
returns jobq.cursors
language plpgsql as $$
declare
	all_of jobq.cursors := jobq.take(last, queue_id, 0);	-- finds the lanes
	lane smallint;
begin
	for lane in
		select l.lane
		from unnest(all_of.lanes, all_of.xid, all_of.job) l(lane, xid, job),
		lateral (
			select t.job from jobq.turn t
			where t.queue = queue_id and t.lane = l.lane and (t.xid, t.job) > (l.xid, l.job)
			order by t.xid, t.job limit 1
		) t,
		lateral (select * from jobq.job j where j.id = t.job limit 1) j
		where coalesce(j.run_at, j.created_at) < clock_timestamp() - jobq.ms(age_ms)
		order by coalesce(j.run_at, j.created_at)
	loop
		exit when cardinality(all_of.taken) >= n;
		all_of := jobq.joined(all_of, jobq.take(jobq.advanced(last, all_of), queue_id,
		    n - coalesce(cardinality(all_of.taken), 0), null, lane, lane, null, keyed));
	end loop;
	return all_of;
end
$$;

-- The concurrency keys of a queue that are on lease, with the pool that asks
-- (keys) and with the others; how many of each, where more than one may be.
create function jobq.busy_keys(q jobq.queue, pool bigint, keys text[]) returns jsonb
language plpgsql stable as $$
begin
	keys := coalesce(keys, '{}') || array(select unnest(p.keys) from jobq.pool_load p
	    where p.queue = q.id and p.pool <> busy_keys.pool);
	if q.per_key = 1 then
		return jsonb_object(keys, keys);
	end if;
	return coalesce((select jsonb_object_agg(k.key, k.n)
	    from (select u.key, count(*) as n from unnest(keys) u(key) group by u.key) k), '{}');
end
$$;

create function jobq.busy_of(busy jsonb, key text, per_key int) returns int
language sql immutable as $$
	select case when per_key = 1 then (busy ? key)::int else coalesce((busy ->> key)::int, 0) end
$$;

-- Is a job of this type and tenant held in that queue?
create function jobq.is_held(queue_id smallint, type text, tenant text) returns boolean
language plpgsql stable as $$
begin
	return exists (select from jobq.hold h
	    where h.queue in (queue_id, 0) and (h.type is null or h.type = is_held.type)
	        and (h.tenant is null or h.tenant = is_held.tenant));
end
$$;

-- Up to n of the parked jobs whose keys are free now: of each key the first,
-- and of these those that have waited longest. An empty key is free; one that a
-- job keeps for its next attempt is free for that job alone. One that somebody is
-- just cancelling, and all behind it, stay until that is over.
create function jobq.unpark(q jobq.queue, busy jsonb, n int, out jobs bigint[],
    out attempts smallint[], out keys text[])
language plpgsql as $$
begin
	with recursive k as (
		(select p.key from jobq.parked p where p.queue = q.id and p.key is not null order by p.key limit 1)
		union all
		select (select p.key from jobq.parked p where p.queue = q.id and p.key > k.key order by p.key limit 1)
		from k where k.key is not null
	), h as (
		select p.job, p.lane, p.place
		from k left join jobq.key_kept t on t.queue = q.id and t.key = k.key,
		lateral (select case k.key when '' then n
		    else greatest(0, q.per_key - jobq.busy_of(busy, k.key, q.per_key)) end as room) r,
		lateral (
			(select * from jobq.parked p where t.job is null and p.queue = q.id and p.key = k.key
			order by p.place limit r.room)
			union all
			select * from jobq.parked p where p.job = t.job and p.key = k.key and r.room > 0
		) p
		order by p.lane / 256, p.place limit n
	), d as (
		delete from jobq.parked p where p.job = any (array(
		    select l.job from jobq.parked l where l.job = any (array(select h.job from h))
		    for update skip locked)) returning *
	)
	select array_agg(d.job order by d.place), array_agg(d.attempt order by d.place), array_agg(d.key order by d.place)
	into jobs, attempts, keys from d;
	delete from jobq.key_kept k where k.job = any (jobs);
end
$$;

-- Leave n of what was taken and park the others: types and tenants that are
-- held; jobs whose key is busy, or kept by a job that will be tried again, or
-- for which others wait already; what is too many.
create function jobq.sift(c inout jobq.cursors, q jobq.queue, busy jsonb, n int)
language plpgsql as $$
declare
	any_hold boolean := exists (select from jobq.hold);
	any_parked boolean := exists (select from jobq.parked p where p.queue = q.id and p.key is not null);
	any_kept boolean := exists (select from jobq.key_kept k where k.queue = q.id);
	low bigint;		-- no job taken is outside these
	high bigint;
begin
	if not any_hold and not q.keyed then
		return;
	end if;
	select min(t), max(t) into low, high from unnest(c.taken) t;
	with t as (
		select u.job, u.attempt, u.n, k.key, k.held,
		    row_number() over (partition by k.key collate "C", k.held order by u.n) as place
		from unnest(c.taken, c.attempts, c.keys) with ordinality u(job, attempt, key, n)
		left join lateral (select * from jobq.job j
		    where j.id = u.job and j.id between low and high and (u.key is null or any_hold) limit 1) j on true,
		lateral (select nullif(coalesce(u.key, j.key), '') as key,
		    any_hold and jobq.is_held(q.id, j.type, j.tenant) as held) k
	), d as (
		select t.*, case
		    when t.held then true
		    when t.key is null then false
		    when any_kept and exists (select from jobq.key_kept k where k.job = t.job) then false
		    when any_kept and exists (select from jobq.key_kept k where k.queue = q.id and k.key = t.key) then true
		    when any_parked and exists (select from jobq.parked p where p.queue = q.id and p.key = t.key) then true
		    else jobq.busy_of(busy, t.key, q.per_key) + t.place > q.per_key end as stays
		from t
		order by t.n
	), p as (
		insert into jobq.parked (job, queue, key, lane, attempt)
		select d.job, q.id, case when not d.held then d.key end, j.lane, d.attempt
		from d, lateral (select * from jobq.job j where j.id = d.job and j.id between low and high limit 1) j
		where d.stays order by d.n
		on conflict do nothing
	)
	select coalesce(array_agg(d.job), '{}'), coalesce(array_agg(d.attempt), '{}'), array_agg(d.key)
	into c.taken, c.attempts, c.keys from d where not d.stays;
	if cardinality(c.taken) > n then
		insert into jobq.parked (job, queue, key, lane, attempt)
		select u.job, q.id, coalesce(j.key, ''), j.lane, u.attempt
		from unnest(c.taken[n + 1:], c.attempts[n + 1:]) with ordinality u(job, attempt, n),
		lateral (select * from jobq.job j where j.id = u.job and j.id between low and high limit 1) j
		order by u.n
		on conflict do nothing;
		c.taken := c.taken[:n];
		c.attempts := c.attempts[:n];
		c.keys := c.keys[:n];
	end if;
	if any_kept then
		delete from jobq.key_kept k where k.job = any (array(
		    select l.job from jobq.key_kept l where l.job = any (c.taken) for update skip locked));
	end if;
end
$$;

-- Up to n turns that may run now, of a queue that has any of these. Looks at
-- up to `most` turns of the log; c.more: 1 when there may be others; c.keys:
-- those of what was taken, where the queue has keys.
create function jobq.take_special(last jobq.claim, pool bigint, queue_id smallint, n int, keys text[], most int)
returns jobq.cursors
language plpgsql as $$
declare
	q jobq.queue;
	c jobq.cursors;
	jobs bigint[];		-- unparked
	nums smallint[];
	free_keys text[];
	busy jsonb := '{}';
begin
	select * into q from jobq.queue k where k.id = queue_id;
	if q.keyed then
		busy := jobq.busy_keys(q, pool, keys);
		if exists (select from jobq.parked p where p.queue = q.id and p.key is not null) then
			select * into jobs, nums, free_keys from jobq.unpark(q, busy, n);
		end if;
		if jobs is not null then
			busy := jobq.busy_keys(q, pool, keys || free_keys);
			n := n - cardinality(jobs);
			most := case when n > 0 then most else 0 end;
		end if;
	end if;
	if q.age_ms > 0 and coalesce(last.batch, 0) % 4 = 0 then
		c := jobq.take_aged(last, q.id, most, q.age_ms, q.keyed);
		last := jobq.advanced(last, c);
	end if;
	if q.fair_path <> '' then
		c := jobq.joined(c, jobq.take_fair(last, q.id, most - coalesce(cardinality(c.taken), 0), q.keyed));
	else
		c := jobq.joined(c, jobq.take(last, q.id, most - coalesce(cardinality(c.taken), 0), keyed => q.keyed));
	end if;
	c.more := (most > 0 and cardinality(c.taken) = most)::int;
	if c.taken is not null then
		c := jobq.sift(c, q, busy, n);
	end if;
	if jobs is not null then
		c.taken := jobs || coalesce(c.taken, '{}');
		c.attempts := nums || coalesce(c.attempts, '{}');
		c.keys := free_keys || c.keys;
	end if;
	return c;
end
$$;

-- Jobs that wait for another attempt keep their key where only one of a key
-- may run, so that none overtakes them.
create function jobq.keep_keys(jobs bigint[]) returns void
language plpgsql as $$	-- keeps its plan
begin
	-- else it would open every partition for nothing
	if exists (select from jobq.queue q where q.keyed and q.per_key = 1) then
		insert into jobq.key_kept (queue, key, job)
		select j.queue, j.key, j.id
		from unnest(jobs) u(job), lateral (select * from jobq.job k where k.id = u.job limit 1) j
		join jobq.queue q on q.id = j.queue and q.keyed and q.per_key = 1
		where j.key is not null
		on conflict do nothing;
	end if;
end
$$;
