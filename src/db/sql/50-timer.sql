-- Time: timers that become turns, leaders that sleep and are woken, and the
-- one active scheduler.

-- Make turns of up to n timers that are due. Also resolves waits that slipped
-- through (sweep). Returns how many, and when to come again (µs since the
-- epoch; null: no need to): when the next timer is due, which is also what
-- *due notifications go by, or soon, as long as anything waits for jobs.
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
		low := timestamptz 'epoch' + (jobq.fact('jobq.due_low') - 60000000) * interval '1 microsecond';
	end if;
	moved := 0;
	select jobq.us(t.run_at) into next_due_us from jobq.timer t
	where t.run_at >= low order by t.run_at limit 1;
	if next_due_us <= now_us then
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
		select jobq.us(t.run_at) into next_due_us from jobq.timer t
		where t.run_at >= low order by t.run_at limit 1;
	end if;
	if moved > 0 or full_pass then
		perform setval('jobq.due_low', case when moved = n then jobq.us(latest) else now_us end);
	end if;
	if coalesce(next_due_us, 9223372036854775807) <> jobq.fact('jobq.next_due') then
		perform setval('jobq.next_due', coalesce(next_due_us, 9223372036854775807));
	end if;
	if exists (select from jobq.waits) then
		perform jobq.sweep(500);
		next_due_us := least(next_due_us, now_us + 1000000);
	end if;
	return next;
end
$$;

-- Which of these queues have something to claim and are not paused. A queue
-- costs a probe ahead of each lane's cursor, up to the next lane it knows;
-- only where that finds a turn, or holes are left, a claim is tried.
create function jobq.look(queue_ids smallint[]) returns setof smallint
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off set plan_cache_mode = force_generic_plan set jit = off as $$
declare
	q smallint;
begin
	for q in
		-- a parked job's key may be free though nobody is left to look
		select p.queue from jobq.parked p where p.queue = any (queue_ids) and p.key is not null
		group by p.queue
	loop
		return next q;
	end loop;
	for q in
		select k.id from jobq.queue k
		left join lateral (
			select * from jobq.claim c where c.queue = k.id order by c.batch desc limit 1
		) last on true
		where k.id = any (queue_ids) and not k.paused and (
			cardinality(last.waiting) > 0 or cardinality(last.late_xid) > 0
			or exists (
				select from (
					select -1::smallint as lane, '0'::xid8 as xid, 0::bigint as job
					union all
					select * from unnest(last.lanes, last.cursor_xid, last.cursor_job)
				) l, lateral (
					select from jobq.turn t
					where t.queue = k.id and (t.lane, t.xid, t.job) > (l.lane, l.xid, l.job)
					    and t.lane < coalesce((select min(m) from unnest(last.lanes) m where m > l.lane), 32767)
					limit 1
				) t))
	loop
		if (jobq.take(jobq.last_claim(q), q, 1)).taken is not null then
			return next q;
		end if;
	end loop;
end
$$;

-- The scheduler's statement: take or keep the lease of the role for ttl_ms,
-- move what is due and end pauses (only who has the lease), and look at queues whose leaders
-- are idle; now and then renew their pools for them. Must be alone in its
-- transaction.
--   since     a transaction id: whoever begins from there on finds all these
--             leaders asleep, and notifies what it enqueues. Null: not known,
--             or one of them is awake. In: as it was returned, or null when
--             a leader has come, gone or woken (*awake) meanwhile
--   calm      all transactions before have ended, and are looked through:
--             nothing can become ready that nobody is told of
--   looks     false: it was calm at the last look, and nothing was due by now; spare
--             both if it is still calm and no job waits for others
--   moved     timers; null: what is due was not looked for
--   until_us  when the role is free unless who has it renews it; null: it is ours
--   schedules  another number whenever what schedules there are has changed
create function jobq.tick(node text, instance text, ttl_ms int, queue_ids smallint[], due_n int,
    pools bigint[] default null, inout since bigint default null, looks boolean default true,
    out leader boolean, out now_us bigint, out moved int, out next_due_us bigint, out ready smallint[],
    out until_us bigint, out calm boolean, out schedules bigint)
language plpgsql as $$
declare
	mask bigint := jobq.fact('jobq.sleepers');
	seen pg_snapshot := pg_current_snapshot();	-- after the mask, before the look
begin
	since := case when (select bool_and(jobq.is_asleep(q, mask)) from unnest(queue_ids) q)
	    -- age() counts from the next id to be given, ahead of what a snapshot tells
	    then coalesce(since, pg_snapshot_xmax(seen)::text::bigint + age(pg_snapshot_xmax(seen)::xid)) end;
	calm := coalesce(pg_snapshot_xmin(seen)::text::bigint >= since, false);
	leader := jobq.lead('scheduler', node, instance, ttl_ms);
	looks := looks or not calm;
	if leader and (looks or exists (select from jobq.waits)) then
		select d.moved, d.next_due_us into moved, next_due_us from jobq.due(due_n) d;
		next_due_us := least(next_due_us, jobq.end_pauses());
	elsif not leader then
		select jobq.us(l.until) into until_us from jobq.leader l where l.role = 'scheduler';
	end if;
	if pools is not null then
		perform jobq.keep(pools);
	end if;
	ready := case when looks then array(select jobq.look(queue_ids)) else '{}' end;
	schedules := jobq.schedules_version();
	now_us := jobq.us(clock_timestamp());
end
$$;

-- Hold a role of which there is one, until ttl_ms from now; true: it is ours.
-- Writes only when it is free, or ours for less than five eighths of the time
-- any more: who calls once a second writes every other time, and who calls
-- twice in ttl_ms never lets it lapse.
create function jobq.lead(role text, node text, instance text, ttl_ms int) returns boolean
language plpgsql as $$
declare
	l jobq.leader;
begin
	select * into l from jobq.leader k where k.role = lead.role;
	if found and l.until > clock_timestamp() then
		if (l.node, l.instance) is distinct from (lead.node, lead.instance) then
			return false;
		elsif l.until > clock_timestamp() + jobq.ms(ttl_ms * 5 / 8) then
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
	mask := jobq.fact('jobq.sleepers');
	if not jobq.is_asleep(queue_id, mask) then
		perform setval('jobq.sleepers', mask | jobq.sleep_bit(queue_id));
	end if;
	return true;
end
$$;

-- It is awake again. Another leader whose queue has the same bit may sleep on
-- and is not notified now: its scheduler is told to look for it.
create function jobq.wake(queue_id smallint) returns void
language plpgsql as $$
declare
	mask bigint;
begin
	perform pg_advisory_xact_lock(jobq.claim_lock(), -1);
	mask := jobq.fact('jobq.sleepers');
	if jobq.is_asleep(queue_id, mask) then
		perform setval('jobq.sleepers', mask & ~jobq.sleep_bit(queue_id));
		if (select count(*) from jobq.pool p where jobq.sleep_bit(p.queue) = jobq.sleep_bit(queue_id)) > 1 then
			perform pg_notify('jobq', '*awake');
		end if;
	end if;
end
$$;
