-- Pools: who has which jobs on lease, and what happens when one is gone.

-- A leader registers.
create function jobq.pool_open(queue text, node text, pid int)
returns table (pool bigint, queue_id smallint)
language plpgsql as $$
declare
	q jobq.queue := jobq.queue_get(queue);
	n smallint := jobq.node_id(node);
begin
	insert into jobq.serves (node, queue) values (n, q.id) on conflict do nothing;
	queue_id := q.id;
	insert into jobq.pool (queue, node, pid, oldest_batch, lease_ms)
	values (q.id, n, pool_open.pid, coalesce((jobq.last_claim(q.id)).batch, 0) + 1, q.lease_ms)
	returning id into pool;
	return next;
end
$$;

-- The number of a node; a new name gets one.
create function jobq.node_id(name text) returns smallint
language plpgsql as $$
declare
	n smallint;
begin
	select k.id into n from jobq.node k where k.name = node_id.name;
	if not found then
		insert into jobq.node (name) values (node_id.name)
		on conflict on constraint node_name_key do update set seen = clock_timestamp()
		returning id into n;
	end if;
	return n;
end
$$;

-- What pools have on lease: claimed, not ended, not given back.
create view jobq.lease as
	select c.queue, c.pool, c.batch, c.at, c.job, c.attempt
	from (
		select p.queue, p.id as pool, c.batch, c.at, u.job, u.attempt
		from jobq.pool p,
		lateral (
			select k.* from jobq.claim k
			where k.queue = p.queue and k.batch >= p.oldest_batch and k.pool = p.id
			offset 0	-- by the index of claim, whatever statistics say
		) c,
		unnest(c.jobs, c.attempts) u(job, attempt)
		union
		select p.queue, p.id, h.batch, h.at, h.job, h.attempt
		from jobq.pool p join jobq.held h on h.pool = p.id
	) c
	where not exists (select from jobq.attempt a where a.job = c.job and a.attempt = c.attempt offset 0)
	    and not exists (select from jobq.released r where r.pool = c.pool and r.job = c.job
	        and r.attempt = c.attempt and r.batch >= c.batch offset 0)
	    and ((select jobq.tenant() = '') or jobq.sees(c.job));

-- A sign of life of a pool's leader, with what its workers do. One row at
-- least; rows with a cancel_job name runs somebody asked to stop.
--   oldest_batch  the oldest batch of which a job is still open; null: none
--   alive         false: the pool was reaped, its jobs are others' now
create function jobq.beat(pool bigint, oldest_batch bigint, slots int[], pids int[],
    states text[], jobs bigint[], jobs_done bigint[], rss_kb bigint[])
returns table (alive boolean, cancel_job bigint, cancel_attempt int, paused boolean)
language plpgsql as $$
#variable_conflict use_column
declare
	q smallint;
begin
	update jobq.pool p set seen = clock_timestamp(),
	    oldest_batch = greatest(p.oldest_batch, coalesce(beat.oldest_batch, 0))
	where p.id = beat.pool returning p.queue into q;
	if not found then
		return query select false, null::bigint, null::int, false;
		return;
	end if;
	delete from jobq.worker w where w.pool = beat.pool and w.slot <> all (coalesce(slots, '{}'));
	insert into jobq.worker as w (pool, slot, pid, state, job, jobs, rss_kb)
	select beat.pool, u.slot, u.pid, coalesce(u.state, 'idle'), nullif(u.job, 0), coalesce(u.done, 0), u.rss
	from unnest(slots, pids, states, beat.jobs, jobs_done, beat.rss_kb) u(slot, pid, state, job, done, rss)
	where u.slot is not null
	on conflict (pool, slot) do update
	set pid = excluded.pid, state = excluded.state, job = excluded.job,
	    jobs = excluded.jobs, rss_kb = excluded.rss_kb,
	    since = case when (w.state, w.job) is distinct from (excluded.state, excluded.job)
	        then clock_timestamp() else w.since end
	where (w.pid, w.state, w.job, w.jobs, w.rss_kb) is distinct from
	    (excluded.pid, excluded.state, excluded.job, excluded.jobs, excluded.rss_kb);
	return query
	select true, c.job, c.attempt, k.paused
	from jobq.queue k left join jobq.cancels(beat.pool) c on true
	where k.id = q;
end
$$;

-- Runs of this pool that somebody asked to stop.
create function jobq.cancels(pool bigint) returns table (job bigint, attempt int)
language sql stable as $$
	select c.job, c.attempt::int from jobq.cancel_request c
	where c.pool = cancels.pool
	    and not exists (select from jobq.attempt a where a.job = c.job and a.attempt = c.attempt offset 0)
	union all
	-- waiting jobs that were cancelled while this pool took them
	select c.job, c.attempt::int
	from jobq.pool p join jobq.cancel_request c on c.pool is null and c.queue = p.queue
	where p.id = cancels.pool and c.at > clock_timestamp() - interval '1 minute'
	    and exists (select from jobq.claim k where k.queue = p.queue and k.pool = p.id
	        and k.batch >= p.oldest_batch and c.job = any (k.jobs))
$$;

-- Give back jobs that were claimed and not run (or not to the end): they run
-- again under the same attempt number. Returns how many were still the pool's.
create function jobq.release(pool bigint, jobs bigint[], attempts int[]) returns int
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
declare
	again bigint[];
	nums smallint[];
begin
	select g.again, g.nums into again, nums from jobq.give_back(pool, jobs, attempts) g;
	perform jobq.put_again(again, nums);
	return coalesce(cardinality(again), 0);
end
$$;

-- The pool has these no longer on lease. Returns those that it had; null: none.
-- They need a new turn.
create function jobq.give_back(pool bigint, jobs bigint[], attempts int[],
    out again bigint[], out nums smallint[])
language plpgsql as $$
declare
	q smallint;
	latest bigint;
begin
	select p.queue into q from jobq.pool p where p.id = give_back.pool for share;
	if not found then
		return;		-- reaped: they have their next turn
	end if;
	latest := coalesce((jobq.last_claim(q)).batch, 0);
	with r as (
		insert into jobq.released as r (pool, job, attempt, batch)
		select give_back.pool, u.job, u.attempt, latest
		from unnest(give_back.jobs, give_back.attempts) u(job, attempt)
		where not exists (select from jobq.attempt a where a.job = u.job and a.attempt = u.attempt offset 0)
		on conflict on constraint released_pkey do update set batch = excluded.batch
		where r.batch < excluded.batch
		returning r.job, r.attempt
	)
	select array_agg(r.job), array_agg(r.attempt) into again, nums from r;
end
$$;

-- New turns for attempts that were not run, unless somebody asked to stop them.
create function jobq.put_again(jobs bigint[], attempts smallint[]) returns void
language plpgsql as $$
declare
	t record;
begin
	for t in
		select j.id, j.queue, j.lane, u.attempt,
		    exists (select from jobq.cancel_request c where c.job = j.id) as stop
		from unnest(jobs, attempts) with ordinality u(job, attempt, n),
		lateral (select * from jobq.job j where j.id = u.job limit 1) j
		order by u.n
	loop
		if t.stop then
			perform jobq.stop_waiting(t.id, t.attempt, t.queue);
		else
			-- who had it before may still end it
			perform jobq.withdraw(t.queue, t.id);
			perform jobq.put_turn(t.id, t.queue, t.lane, null, t.attempt);
		end if;
	end loop;
	perform jobq.keep_keys(jobs);
	perform jobq.nudge(q.id, q.name) from jobq.queue q
	where q.id = (select j.queue from jobq.job j where j.id = jobs[1]);
end
$$;

-- A pool is gone: end its open attempts as lost, uncharged, and give the jobs
-- their next turn. Returns how many. Later claims and ends of the pool are void.
-- Jobs that an open transaction is ending, too, are left for the next reap, and the
-- pool with them. Error 55P03 as claim()'s.
create function jobq.reap(pool bigint) returns int
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
set lock_timeout = '1s' as $$
declare
	p jobq.pool;
	lost bigint[];
	nums smallint[];
	left_alone bigint[] := '{}';
begin
	select * into p from jobq.pool k where k.id = reap.pool;
	if not found then
		return 0;
	end if;
	-- no claim of the pool runs beside this, and none comes after
	perform pg_advisory_xact_lock(jobq.claim_lock(), p.queue);
	perform from jobq.pool k where k.id = reap.pool for update;
	if not found then
		return 0;
	end if;
	begin
		select l.lost, l.nums into lost, nums from jobq.lose(p, '{}') l;
	exception when lock_not_available then
		select coalesce(array_agg(e.job), '{}') into left_alone
		from (select array_agg(l.job) as jobs, array_agg(l.attempt::int) as attempts
		    from jobq.lease l where l.pool = reap.pool) k,
		lateral jobq.ended_elsewhere(k.jobs, k.attempts) e;
		select l.lost, l.nums into lost, nums from jobq.lose(p, left_alone) l;
	end;
	if lost is not null then
		insert into jobq.tally (queue, lost) values (p.queue, cardinality(lost));
		perform jobq.put_again(lost, nums);
	end if;
	if left_alone <> '{}' then
		return coalesce(cardinality(lost), 0);
	end if;
	delete from jobq.cancel_request c where c.pool = reap.pool;
	delete from jobq.held h where h.pool = reap.pool;
	delete from jobq.released r where r.pool = reap.pool;
	delete from jobq.pool k where k.id = reap.pool;
	return coalesce(cardinality(lost), 0);
end
$$;

-- End what a pool has on lease as lost, but for these jobs. Returns the jobs and the
-- numbers of their next attempts; nulls: there were none.
create function jobq.lose(p jobq.pool, but_for bigint[], out lost bigint[], out nums smallint[])
language plpgsql as $$
begin
	with a as (
		insert into jobq.attempt (job, attempt, queue, outcome, class, node, started_at,
		    finished_at, pool, error)
		select l.job, l.attempt, l.queue, 5, 9, p.node, l.at, clock_timestamp(), p.id,
		    'its pool is gone'
		from jobq.lease l where l.pool = p.id and l.job <> all (but_for)
		on conflict do nothing
		returning job, attempt
	)
	select array_agg(a.job), array_agg((a.attempt + 1)::smallint) into lost, nums from a;
end
$$;

-- A leader leaves. What it should still have on lease is taken away as reap() does.
create function jobq.pool_close(pool bigint) returns void
language sql as $$
	select jobq.reap(pool)
$$;

-- Reap every pool that gave no sign of life, by a beat or a claim, for as
-- long as its queue's lease (and the server has been up for so long).
create function jobq.reap_stale()
returns table (pool bigint, node text, queue text, jobs int)
language plpgsql as $$
#variable_conflict use_column
declare
	p record;
begin
	for p in
		select k.id, n.name as node, q.name as queue
		from jobq.pool k join jobq.queue q on q.id = k.queue join jobq.node n on n.id = k.node
		where greatest(k.seen, pg_postmaster_start_time()) < clock_timestamp() - jobq.ms(k.lease_ms)
		    and not exists (select from jobq.claim c where c.queue = k.queue and c.pool = k.id
		        and c.batch >= k.oldest_batch and c.at > clock_timestamp() - jobq.ms(k.lease_ms))
		order by k.id
	loop
		pool := p.id;
		node := p.node;
		queue := p.queue;
		begin
			jobs := jobq.reap(p.id);
			return next;
		exception when lock_not_available then
			null;	-- others are not to wait for it
		end;
	end loop;
end
$$;

-- Renew pools for others: of idle leaders, and of those that died and whose
-- workers finish what they have.
create function jobq.keep(pools bigint[]) returns void
language plpgsql as $$	-- a function in SQL would be planned in each call
begin
	update jobq.pool p set seen = clock_timestamp() where p.id = any (pools);
end
$$;

-- Progress of running jobs: the last one counts. pct null or -1, note null:
-- unchanged.
create function jobq.progress_put(jobs bigint[], attempts int[], pcts int[], notes text[]) returns void
language plpgsql as $$	-- keeps its plan
begin
	insert into jobq.progress as p (job, attempt, pct, note)
	select distinct on (u.job) u.job, u.attempt, case when u.pct >= 0 then least(u.pct, 100) end, u.note
	from unnest(jobs, attempts, pcts, notes) with ordinality u(job, attempt, pct, note, n)
	order by u.job, u.n desc
	on conflict (job) do update
	set attempt = excluded.attempt, at = excluded.at,
	    note = coalesce(excluded.note, case when p.attempt = excluded.attempt then p.note end),
	    pct = coalesce(excluded.pct, case when p.attempt = excluded.attempt then p.pct end);
end
$$;

-- The same for those of which nobody else tells in a transaction that is open.
create function jobq.progress_set(jobs bigint[], attempts int[], pcts int[], notes text[]) returns void
language plpgsql
set lock_timeout = '50ms' as $$
begin
	perform jobq.progress_put(jobs, attempts, pcts, notes);
exception when lock_not_available then
	perform set_config('lock_timeout', '1ms', true);
	for i in 1 .. cardinality(jobs) loop
		begin
			perform jobq.progress_put(jobs[i:i], attempts[i:i], pcts[i:i], notes[i:i]);
		exception when lock_not_available then
			null;
		end;
	end loop;
end
$$;

-- Progress of a job, by itself. The note may be JSON: partial results. False,
-- and nothing is kept: the job has ended, or there is none.
create function jobq.progress(id bigint, pct int, note text default null) returns boolean
language plpgsql as $$
begin
	if pct not between 0 and 100 then
		raise exception 'progress % is not in 0 … 100', pct using errcode = '22023';
	elsif octet_length(note) > 16384 then
		raise exception 'the note has % bytes, 16384 are allowed', octet_length(note)
		using errcode = '54000', hint = 'Store large things elsewhere and note where.';
	elsif jobq.final_outcome(id) is distinct from 0 then
		return false;
	end if;
	perform jobq.progress_put(array[id], array[coalesce((select max(a.attempt) from jobq.attempt a
	    where a.job = progress.id), 0) + 1], array[pct], array[note]);
	return true;
end
$$;

-- Keep text that an attempt printed.
create function jobq.output_add(job bigint, attempt int, text text) returns void
language plpgsql as $$	-- keeps its plan
begin
	insert into jobq.output (job, attempt, text) values (output_add.job, output_add.attempt, output_add.text);
end
$$;
