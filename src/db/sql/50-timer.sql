-- Time: timers that become turns, leaders that sleep and are woken, and the
-- one active scheduler.

-- Make turns of up to n timers that are due. Also resolves waits that slipped
-- through (sweep). Returns how many, and when the next is due (µs since the
-- epoch; null: none known), which is also what *due notifications go by.
--
-- Moved timers leave dead entries at the head of the index, which stay while
-- anybody holds a snapshot. So a call starts where the last one ended, less a
-- minute for transactions that commit late; once a minute from the beginning.
create function jobq.due(n int) returns table (moved int, next_due_us bigint)
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_generic_plan set jit = off as $$
declare
	now_us bigint := jobq.us(clock_timestamp());
	full_pass boolean := jobq.fact('jobq.due_full') < now_us - 60000000;
	low timestamptz := '-infinity';
	latest timestamptz;
	queues smallint[];
begin
	if full_pass then
		perform setval('jobq.due_full', now_us);
	else
		low := jobq.at_us(jobq.fact('jobq.due_low') - 60000000);
	end if;
	with d as (
		delete from jobq.timer t
		where t.job = any (array(
			select k.job from jobq.timer k
			where k.run_at >= low and k.run_at <= clock_timestamp()
			order by k.run_at limit n for update skip locked))
		returning t.job, t.queue, t.lane, t.attempt, t.run_at
	), i as (
		insert into jobq.turn (job, slot, queue, lane, attempt)
		select d.job, s.last_value, d.queue, d.lane, d.attempt from d, jobq.turn_slot s
		order by d.run_at, d.job
	)
	select count(*), max(d.run_at), array_agg(distinct d.queue) into moved, latest, queues from d;
	perform jobq.nudge(q.id, q.name) from jobq.queue q where q.id = any (queues);
	perform setval('jobq.due_low', case when moved = n then jobq.us(latest) else now_us end)
	where moved > 0 or full_pass;
	if exists (select from jobq.waits) then
		perform jobq.sweep(500);
	end if;
	select jobq.us(t.run_at) into next_due_us from jobq.timer t
	where t.run_at >= low order by t.run_at limit 1;
	if coalesce(next_due_us, 9223372036854775807) <> jobq.fact('jobq.next_due') then
		perform setval('jobq.next_due', coalesce(next_due_us, 9223372036854775807));
	end if;
	return next;
end
$$;

-- The scheduler's one statement a second: take or keep the lease of the role
-- for ttl_ms, move what is due (only who has the lease), and look at queues
-- whose leaders are idle; now and then renew their pools for them.
create function jobq.tick(node text, instance text, ttl_ms int, queue_ids smallint[], due_n int,
    pools bigint[] default null)
returns table (leader boolean, now_us bigint, moved int, next_due_us bigint, found smallint[])
language plpgsql as $$
begin
	leader := jobq.lead('scheduler', node, instance, ttl_ms);
	moved := 0;
	if leader then
		select d.moved, d.next_due_us into moved, next_due_us from jobq.due(due_n) d;
	end if;
	if pools is not null then
		perform jobq.keep(pools);
	end if;
	return query select leader, jobq.us(clock_timestamp()), moved, next_due_us,
	    array(select jobq.look(queue_ids));
end
$$;

-- Hold a role of which there is one, until ttl_ms from now; true: it is ours.
-- Writes only when it is free or half of our time is over.
create function jobq.lead(role text, node text, instance text, ttl_ms int) returns boolean
language plpgsql as $$
declare
	l jobq.leader;
begin
	select * into l from jobq.leader k where k.role = lead.role;
	if found and l.until > clock_timestamp() then
		if (l.node, l.instance) is distinct from (lead.node, lead.instance) then
			return false;
		elsif l.until > clock_timestamp() + jobq.ms(ttl_ms / 2) then
			return true;
		end if;
	end if;
	insert into jobq.leader as k (role, node, instance, until)
	values (lead.role, lead.node, lead.instance, clock_timestamp() + jobq.ms(ttl_ms))
	on conflict on constraint leader_pkey do update
	set node = excluded.node, instance = excluded.instance, until = excluded.until
	where (k.node, k.instance) = (excluded.node, excluded.instance) or k.until <= clock_timestamp();
	return found;
end
$$;

-- The scheduler gives its role up, so that another takes it at once. When
-- it ended is kept: the next one needs to know since when nobody was there.
create function jobq.resign(node text, instance text) returns void
language sql as $$
	update jobq.leader l set until = least(l.until, clock_timestamp())
	where l.role = 'scheduler' and l.node = resign.node and l.instance = resign.instance
$$;

-- A leader of the queue sleeps: enqueue is to notify. Read before the commit
-- of who enqueues, so look again after 5, 20 and 100 ms.
create function jobq.sleep(queue_id smallint) returns boolean
language plpgsql as $$
declare
	mask bigint;
begin
	perform pg_advisory_xact_lock(jobq.claim_lock(), -1);
	mask := jobq.fact('jobq.sleepers') - 1;
	if mask >> (queue_id % 62) & 1 = 0 then
		perform setval('jobq.sleepers', (mask | (1::bigint << (queue_id % 62))) + 1);
	end if;
	return true;
end
$$;

-- It is awake again.
create function jobq.wake(queue_id smallint) returns void
language plpgsql as $$
declare
	mask bigint;
begin
	perform pg_advisory_xact_lock(jobq.claim_lock(), -1);
	mask := jobq.fact('jobq.sleepers') - 1;
	if mask >> (queue_id % 62) & 1 = 1 then
		perform setval('jobq.sleepers', (mask & ~(1::bigint << (queue_id % 62))) + 1);
	end if;
end
$$;
