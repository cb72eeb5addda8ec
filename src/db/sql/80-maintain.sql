-- Keeping house. The monitor calls maintain() each interval. Nothing here
-- holds a lock that others wait for for longer than it takes to change a few
-- rows of the catalog, or waits for one unless whoever has it is sure to end
-- soon: what cannot be had is left for the next time. A dump that runs for an
-- hour costs disk, and nothing else.

-- How many ids a partition spans.
create function jobq.part_width() returns bigint
language sql immutable parallel safe as $$ select 1000000000::bigint $$;

-- Who else has a lock of one of these tables.
create function jobq.lockers(tables text[]) returns text[]
language sql as $$
	select array_agg(l.virtualtransaction) from pg_locks l
	where l.relation = any (array(select format('jobq.%I', t)::regclass from unnest(tables) t)) and l.granted
	    and l.pid is distinct from pg_backend_pid()
$$;

-- Lock tables exclusively, in this order, as soon as nobody else has anything to
-- do with them. Where there is always somebody, since transactions overlap, a
-- lock is waited for, and others wait behind us: not before all who had one at
-- first have ended, which tells how long that takes at the most. False: they
-- have not within the time to be patient.
create function jobq.try_lock(patient interval, variadic tables text[]) returns boolean
language plpgsql as $$
declare
	lock text := format('lock table %s in access exclusive mode',
	    (select string_agg(format('only jobq.%I', t), ', ') from unnest(tables) t));
	first text[];
	began timestamptz := clock_timestamp();
	pause float8 := 0.002;
begin
	loop
		begin
			execute lock || ' nowait';
			return true;
		exception when lock_not_available then
			null;
		end;
		first := coalesce(first, jobq.lockers(tables));
		perform pg_sleep(pause);
		pause := least(1.5 * pause, 0.05);
		exit when not coalesce(first && jobq.lockers(tables), false);
		if clock_timestamp() > began + patient then
			return false;
		end if;
	end loop;
	perform set_config('lock_timeout', (10 + 2000 * extract(epoch from clock_timestamp() - began))::int::text, true);
	execute lock;
	return true;
exception when lock_not_available or deadlock_detected then
	return false;
end
$$;

-- Make the partition of ids that follows the last one, unless one is ready.
-- The default partition is locked for a moment, since it might hold such ids.
-- Null: not now.
create function jobq.part_make() returns text
language plpgsql as $$
declare
	n int;
	low bigint;
	high bigint;
	t text;
begin
	select coalesce(max(p.id), 0) + 1, coalesce(max(p.hi), 1) into n, low from jobq.part p;
	high := (low / jobq.part_width() + 1) * jobq.part_width();
	if exists (select from jobq.part p where p.lo > (select last_value from jobq.job_id)) then
		return null;
	end if;
	if not jobq.try_lock('0.5 s', 'attempt_default', 'job_default') then
		return null;
	end if;
	foreach t in array '{job,attempt}'::text[] loop
		execute format('create table jobq.%I (like jobq.%I including all)', t || '_' || n, t);
		if t = 'attempt' then
			-- says what the bounds say, so that attaching it to history reads no row
			execute format('alter table jobq.attempt_%s add constraint attempt_ids check (job >= %s and job < %s)',
			    n, low, high);
		end if;
		execute format('alter table jobq.%I attach partition jobq.%I for values from (%s) to (%s)',
		    t, t || '_' || n, low, high);
	end loop;
	insert into jobq.part (id, lo, hi) values (n, low, high);
	return format('made partition %s for the ids from %s', n, low);
end
$$;

-- The open transactions that have taken ids of jobs: nextval() locks its
-- sequence until their ends.
create function jobq.writers() returns setof text
language sql as $$
	select l.virtualtransaction from pg_locks l
	where l.relation = 'jobq.job_id'::regclass and l.mode = 'RowExclusiveLock'
$$;

-- Let new jobs get ids of the next partition, when the current one is large
-- (1 GB, or an eighth of all that may be kept) or old (a sixth of the shortest
-- time completed jobs are kept). Each partition costs every claim some
-- microseconds: where more than ten are kept they must be a growing part of all,
-- so that there are hardly ever more than seventeen, however much is kept.
create function jobq.part_cut(keep_size bigint default 0) returns text
language plpgsql as $$
declare
	at bigint := (select last_value from jobq.job_id);
	p jobq.part;
	next jobq.part;
	size bigint;
	live int;
	kept bigint;
	large bigint := least(1073741824, nullif(keep_size, 0) / 8);
	age interval := (select greatest(jobq.ms(min(q.keep_completed_ms) / 6), '1 minute') from jobq.queue q);
begin
	select * into p from jobq.part k where k.state = 'live' and at >= k.lo and at < k.hi;
	if not found then
		select * into next from jobq.part k where k.lo > at order by k.lo limit 1;
		if found then
			perform setval('jobq.job_id', next.lo, false);
			return format('ids go on at %s', next.lo);
		end if;
		return null;
	end if;
	select * into next from jobq.part k where k.lo >= p.hi order by k.lo limit 1;
	if not found then
		return null;	-- none made yet
	end if;
	select count(*), sum(s.bytes), sum(s.bytes) filter (where s.id = p.id) into live, kept, size
	from (
		select k.id, pg_table_size(format('jobq.job_%s', k.id)) + pg_table_size(format('jobq.attempt_%s', k.id)) as bytes
		from jobq.part k where k.state = 'live'
	) s;
	if size < greatest(65536, kept / 8 * (live - 10)) or (size < large and clock_timestamp() < p.made_at + age) then
		return null;
	end if;
	perform setval('jobq.job_id', next.lo, false);
	update jobq.part k set cut_at = clock_timestamp(), writers = array(select jobq.writers())
	where k.id = p.id;
	update jobq.part k set made_at = clock_timestamp() where k.id = next.id;
	return format('partition %s is full (%s), ids go on at %s', p.id, pg_size_pretty(size), next.lo);
end
$$;

-- The jobs of a partition that must stay: not finished, or kept longer. early:
-- there is no room, only what is not finished and what is dead and nobody has
-- reviewed must stay.
create function jobq.part_keepers(part_id int, early boolean) returns bigint[]
language plpgsql as $$
declare
	keep bigint[];
begin
	execute format($q$
		select array_agg(j.id)
		from jobq.job_%1$s j
		join jobq.queue q on q.id = j.queue
		left join jobq.attempt_%1$s a on a.job = j.id and a.outcome in (1, 3, 4, 6)
		where case a.outcome
		    when 1 then not $1 and a.finished_at > now() - jobq.ms(q.keep_completed_ms)
		    when 3 then a.finished_at > now() - jobq.ms(q.keep_dead_ms) and not ($1 and jobq.is_reviewed(j.id))
		    when 4 then not $1 and a.finished_at > now() - jobq.ms(q.keep_cancelled_ms)
		    when 6 then false
		    else true end$q$, part_id) using early into keep;
	return coalesce(keep, '{}');
end
$$;

-- How many jobs of each queue a partition has beside these.
create function jobq.part_counts(part_id int, keep bigint[]) returns jsonb
language plpgsql as $$
declare
	counts jsonb;
begin
	execute format($q$
		select jsonb_object_agg(q.name, k.n - coalesce(s.n, 0))
		from (select j.queue, count(*) as n from jobq.job_%1$s j group by j.queue) k
		join jobq.queue q on q.id = k.queue
		left join (select j.queue, count(*) as n from unnest($1) u(id) join jobq.job_%1$s j on j.id = u.id
		    group by j.queue) s on s.queue = k.queue
		where k.n > coalesce(s.n, 0)$q$, part_id) using keep into counts;
	return coalesce(counts, '{}');
end
$$;

create function jobq.is_reviewed(job bigint) returns boolean
language sql stable as $$
	select exists (select from jobq.dead d where d.job = is_reviewed.job and d.reviewed_at is not null)
$$;

-- "work 980, email 3" of {"work": 980, "email": 3}; "nothing" of {}.
create function jobq.counts_text(counts jsonb) returns text
language sql immutable as $$
	select coalesce(string_agg(c.key || ' ' || c.value, ', ' order by c.key), 'nothing') from jsonb_each_text(counts) c
$$;

-- Remove the oldest partition of jobs whose time is over: the few that must
-- stay go to the default partition, the ended attempts become history, and
-- the rest is dropped as a whole. Null: nothing to do, or not now. A
-- partition of which more than 20,000 must stay, since to move so many keeps all
-- others waiting for a third of a second, is left until they are fewer, or until
-- partitions pile up: then five times as many are better moved than all kept,
-- and a million at last, before the disk is full.
-- One of which an open transaction may have ids is left until that has ended,
-- since what it enqueues is not seen by the look at what must stay. (A prepared
-- transaction that a restart of the server has found is -1/… from then on.)
-- early: there is no room, so whatever its time says.
create function jobq.part_drop(early boolean default false) returns text
language plpgsql as $$
declare
	p jobq.part;
	keep bigint[];
	went jsonb;
	size bigint;
	live int := (select count(*) from jobq.part k where k.state = 'live');
	most int := case when live > 12 then 1000000 when live > 6 then 100000 else 20000 end;
	shortest interval := (select case when early then '0' else
	    jobq.ms(least(min(q.keep_completed_ms), min(q.keep_cancelled_ms))) end from jobq.queue q);
begin
	select * into p from jobq.part k
	where k.state = 'live' and k.cut_at <= now() - shortest
	    and coalesce(k.checked_at, '-infinity') <= now() - case when early then '5 minutes' else least(shortest / 10, '10 minutes') end
	    and not exists (select from jobq.writers() w where w = any (k.writers) or w like '-1/%')
	order by k.checked_at nulls first, k.id limit 1;
	-- nobody may bring a dead job of it back from here on
	if not found or not pg_try_advisory_xact_lock(jobq.claim_lock(), jobq.part_lock(p.id)) then
		return null;
	end if;
	keep := jobq.part_keepers(p.id, early);
	if cardinality(keep) > most then
		update jobq.part k set checked_at = clock_timestamp() where k.id = p.id;
		return null;
	end if;
	went := jobq.part_counts(p.id, keep);
	-- nor is somebody just reviewing one
	perform from jobq.dead o where o.job >= p.lo and o.job < p.hi and o.job <> all (keep) for update nowait;
	-- these may be as many as the jobs: not under the lock, though they are gone if
	-- it is not to be had
	delete from jobq.output o where o.job >= p.lo and o.job < p.hi and o.job <> all (keep);
	delete from jobq.progress o where o.job >= p.lo and o.job < p.hi and o.job <> all (keep);
	-- who writes an end looks at the job then; few go the other way
	if not jobq.try_lock('0.5 s', 'attempt', 'history', 'job', 'attempt_default', 'history_default',
	    'job_default', 'attempt_' || p.id, 'job_' || p.id) then
		return null;
	end if;
	size := pg_total_relation_size(format('jobq.job_%s', p.id));
	execute format('alter table jobq.job detach partition jobq.job_%s', p.id);
	execute format('alter table jobq.attempt detach partition jobq.attempt_%s', p.id);
	execute format('insert into jobq.job select j.* from unnest($1) k join jobq.job_%s j on j.id = k', p.id) using keep;
	execute format('with d as (delete from jobq.attempt_%s where job = any ($1) returning *)
	    insert into jobq.attempt select * from d', p.id) using keep;
	execute format('alter table jobq.history attach partition jobq.attempt_%s for values from (%s) to (%s)',
	    p.id, p.lo, p.hi);
	execute format('drop table jobq.job_%s', p.id);
	update jobq.part k set state = 'history', gone = went where k.id = p.id;
	delete from jobq.dead o where o.job >= p.lo and o.job < p.hi and o.job <> all (keep);
	perform jobq.audit_add('drop', 'partition ' || p.id, jsonb_build_object('jobs', went, 'stay', cardinality(keep),
	    'bytes', size, 'early', early)::text);
	return format('dropped partition %s, %s of its jobs stay; gone %s: %s (%s)', p.id, cardinality(keep),
	    case when early then 'before their time' else 'are' end, jobq.counts_text(went), pg_size_pretty(size));
end
$$;

-- Drop the oldest partition of history that no queue wants kept, though it is
-- just being merged with others: that begins anew, then. early: there is no room,
-- so whatever they want.
create function jobq.history_drop(early boolean default false) returns text
language plpgsql as $$
declare
	p jobq.part;
	size bigint;
	longest interval := (select jobq.ms(max(q.keep_history_ms)) from jobq.queue q);
begin
	select * into p from jobq.part k
	where k.state = 'history' and (early or k.cut_at < now() - longest) order by k.id limit 1;
	if not found or not jobq.try_lock('0.5 s', 'history', 'history_default', 'attempt_' || p.id) then
		return null;
	end if;
	size := pg_total_relation_size(format('jobq.attempt_%s', p.id));
	if p.merging then
		drop table jobq.attempt_merge;
		update jobq.part k set merging = false where k.merging;
	end if;
	execute format('drop table jobq.attempt_%s', p.id);
	delete from jobq.part k where k.id = p.id;
	perform jobq.audit_add('drop', 'history of partition ' || p.id, jsonb_build_object('jobs', p.gone,
	    'bytes', size, 'early', early)::text);
	return format('dropped the history of partition %s%s, of jobs of: %s (%s)', p.id,
	    case when early then ' before its time' end, jobq.counts_text(p.gone), pg_size_pretty(size));
end
$$;

-- Whoever asks for attempts by time looks into each partition of history, and
-- locks three relations for each; with thousands the server has no room for so
-- many locks. So there are some 128, however long they are kept: when there are more,
-- eight neighbours of about the same size (none is more than half of them all),
-- the smallest such, are copied into one, but for what will be gone soon, and what
-- would keep its oldest for more than an eighth of the time longer. Of 500 that
-- would be there each attempt is copied once in its life, of 3000 twice.
--
-- This is what is still to be copied, up to n attempts.
create function jobq.history_rest(n int) returns setof jobq.history
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off as $$
declare
	low bigint;
	high bigint;
	last record;
begin
	select min(k.lo), max(k.hi) into low, high from jobq.part k where k.merging;
	select g.job, g.attempt into last from jobq.attempt_merge g order by g.job desc, g.attempt desc limit 1;
	return query execute format($q$
		select * from jobq.history h
		where h.job >= %1$s and h.job < %2$s and (h.job, h.attempt) > (%1$s, %3$s::smallint)
		order by h.job, h.attempt limit %4$s$q$, coalesce(last.job, low), high, coalesce(last.attempt, 0), n);
end
$$;

-- Copy for so long. Nobody waits for it, and nothing is written to history but by
-- maintain(), which leaves these ids alone meanwhile.
create function jobq.history_copy(longest interval default '2 s') returns void
language plpgsql as $$
declare
	began timestamptz := clock_timestamp();
	kept interval := (select jobq.ms(max(q.keep_history_ms)) from jobq.queue q);
	low bigint;
	high bigint;
	copied int;
begin
	if not exists (select from jobq.part k where k.merging) then
		select w.lo, w.high into low, high
		from (
			select k.lo, last_value(k.hi) over eight as high, sum(k.hi - k.lo) over eight as ids, count(*) over eight as parts,
			    k.cut_at, last_value(k.cut_at) over eight as till, count(*) over () as all_parts,
			    max(k.bytes) over eight as most, sum(k.bytes) over eight as bytes
			from (select *, pg_relation_size(format('jobq.attempt_%s', p.id)) as bytes
			    from jobq.part p where p.state = 'history') k
			window eight as (order by k.lo rows between current row and 7 following)
		) w
		where w.all_parts > 128 and w.parts = 8 and w.ids = w.high - w.lo and w.most <= w.bytes / 2
		    and w.till - w.cut_at <= kept / 8 and w.cut_at > now() - 0.9 * kept
		order by w.bytes limit 1;
		if not found then
			return;
		end if;
		update jobq.part k set merging = true where k.lo >= low and k.hi <= high;
		create table jobq.attempt_merge (like jobq.attempt including all);
		execute format('alter table jobq.attempt_merge add constraint attempt_ids check (job >= %s and job < %s)', low, high);
	end if;
	loop
		insert into jobq.attempt_merge select * from jobq.history_rest(100000);
		get diagnostics copied = row_count;
		exit when copied < 100000 or clock_timestamp() > began + longest;
	end loop;
end
$$;

-- Put what has been copied in place of those it was copied from, when it is all.
create function jobq.history_merge() returns text
language plpgsql as $$
declare
	ids int[];
	low bigint;
	high bigint;
	id int;
begin
	select array_agg(k.id order by k.lo), min(k.lo), max(k.hi) into ids, low, high from jobq.part k where k.merging;
	if ids is null or exists (select from jobq.history_rest(1)) or not jobq.try_lock('0.5 s',
	    variadic array['history', 'history_default'] || array(select format('attempt_%s', i) from unnest(ids) i)) then
		return null;
	end if;
	foreach id in array ids loop
		execute format('drop table jobq.attempt_%s', id);
	end loop;
	execute format('alter table jobq.attempt_merge rename to attempt_%s', ids[1]);
	execute format('alter table jobq.history attach partition jobq.attempt_%s for values from (%s) to (%s)', ids[1], low, high);
	update jobq.part k set hi = high, merging = false, cut_at = s.cut_at, gone = s.gone
	from (
		select (select max(p.cut_at) from jobq.part p where p.merging) as cut_at, coalesce(jsonb_object_agg(c.key, c.n), '{}') as gone
		from (select e.key, sum(e.value::bigint) as n from jobq.part p, jsonb_each_text(p.gone) e
		    where p.merging group by e.key) c
	) s where k.id = ids[1];
	delete from jobq.part k where k.merging;
	return format('merged the history of partitions %s to %s (%s)', ids[1], id,
	    pg_size_pretty(pg_total_relation_size(format('jobq.attempt_%s', ids[1]))));
end
$$;

-- Remove what is over among the jobs that outlived their partitions, at most
-- n; their attempts become history, and old history goes. What somebody is just
-- retrying, reviewing or removing is left to him. early: there is no room, as
-- for part_keepers().
create function jobq.default_clean(n int, early boolean default false) returns text
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
declare
	gone bigint[];
	letters bigint[];
begin
	gone := array(
		select j.id
		from jobq.queue q
		cross join lateral (values (1, q.keep_completed_ms), (3, q.keep_dead_ms), (4, q.keep_cancelled_ms)) k(outcome, ms)
		join jobq.attempt_default a on a.queue = q.id and a.outcome = k.outcome
		    and a.finished_at <= now() - case when early then '0 s' else jobq.ms(k.ms) end
		join jobq.job_default j on j.id = a.job
		where (a.outcome <> 3 or a.finished_at <= now() - jobq.ms(k.ms) or jobq.is_reviewed(j.id))
		    and not exists (select from jobq.part p where p.merging and j.id >= p.lo and j.id < p.hi)
		limit n for update of j, a skip locked);
	letters := array(select d.job from jobq.dead d where d.job = any (gone) for update skip locked);
	gone := array(select g from unnest(gone) g
	    where g = any (letters) or not exists (select from jobq.dead d where d.job = g));
	delete from jobq.history_default h using jobq.queue q
	where q.id = h.queue and h.finished_at <= now() - case when early then '0 s' else jobq.ms(q.keep_history_ms) end;
	if gone = '{}' then
		return null;
	end if;
	delete from jobq.dead d where d.job = any (letters);
	delete from jobq.output o where o.job = any (gone);
	delete from jobq.progress o where o.job = any (gone);
	delete from jobq.job_default j where j.id = any (gone);
	with d as (delete from jobq.attempt_default a where a.job = any (gone) returning *)
	insert into jobq.history select * from d on conflict do nothing;
	perform jobq.audit_add('drop', 'default partition', jsonb_build_object('count', cardinality(gone), 'early', early)::text);
	return format('removed %s jobs that had outlived their partitions', cardinality(gone));
end
$$;

-- Up to n turns of a slot that are still to be claimed; with `since` only
-- those that snapshot does not show.
create function jobq.slot_turns(slot int, since pg_snapshot, n int)
returns table (xid xid8, job bigint, queue smallint, lane smallint, attempt smallint)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
begin
	return query execute format($q$
		with recursive lanes as (
			(select t.queue, t.lane from jobq.turn_%1$s t order by t.queue, t.lane limit 1)
			union all
			select k.queue, k.lane from lanes l, lateral (
				select t.queue, t.lane from jobq.turn_%1$s t
				where (t.queue, t.lane) > (l.queue, l.lane)
				order by t.queue, t.lane limit 1) k
		)
		select t.xid, t.job, l.queue, l.lane, t.attempt
		from lanes l
		cross join lateral jobq.last_claim(l.queue) c
		left join lateral (
			select u.xid, u.job from unnest(c.lanes, c.cursor_xid, c.cursor_job) u(lane, xid, job)
			where u.lane = l.lane
		) p on true
		cross join lateral (
			select k.xid, k.job, k.attempt from jobq.turn_%1$s k
			where k.queue = l.queue and k.lane = l.lane
			    and (k.xid, k.job) > (coalesce(p.xid, '0'), coalesce(p.job, 0)) and k.xid >= $1
			union all
			select k.xid, k.job, k.attempt
			from (
				select w.xid, 0::bigint as job from unnest(c.waiting) w(xid) where w.xid < p.xid
				union all
				select u.xid, u.job from unnest(c.late_lane, c.late_xid, c.late_job) u(lane, xid, job)
				where u.lane = l.lane
			) h, lateral (
				select * from jobq.turn_%1$s m
				where m.queue = l.queue and m.lane = l.lane and m.xid = h.xid and m.job > h.job
			) k
		) t
		where $2 is null or not pg_visible_in_snapshot(t.xid, $2)
		limit $3$q$, slot)
	using coalesce(pg_snapshot_xmin(since), '0'), since, n;
end
$$;

-- Empty a slot of turn. Turns of it that are still to be claimed are copied
-- to the current slot first, just as they are: a claim takes a turn once,
-- however often it is there. They hold nothing up, and keep their places.
-- Null: more than n turns are open (n null: however many). Error 55P03: busy; the
-- copies are undone.
create function jobq.turn_empty(slot int, n int) returns text
language plpgsql as $$
declare
	s pg_snapshot := pg_current_snapshot();
	copied bigint;
begin
	if (select count(*) from jobq.slot_turns(slot, null, n + 1)) > n then
		return null;
	end if;
	perform pg_advisory_xact_lock(jobq.claim_lock(), -3);
	insert into jobq.turn (xid, job, slot, queue, lane, attempt)
	select t.xid, t.job, k.last_value, t.queue, t.lane, t.attempt
	from jobq.slot_turns(turn_empty.slot, null, null) t, jobq.turn_slot k
	where pg_visible_in_snapshot(t.xid, s);
	get diagnostics copied = row_count;
	if not jobq.try_lock('50 ms', 'turn_' || slot)
	    or exists (select from jobq.slot_turns(turn_empty.slot, s, 1)) then
		raise exception 'not now' using errcode = '55P03';
	end if;
	execute format('truncate jobq.turn_%s', slot);
	return format('emptied turn slot %s%s', slot,
	    case when copied > 0 then format(', %s turns moved on', copied) else '' end);
end
$$;

-- Empty the other slot of turn, and let new turns go there when there is
-- something in the current one. If much of it is still to be claimed, that
-- waits until the current one is twice as large: what is copied is never more
-- than half of what has come meanwhile, and two slots are enough. (Each costs
-- every claim as much as ten jobs.)
create function jobq.turn_rotate() returns text
language plpgsql as $$
declare
	current int := jobq.fact('jobq.turn_slot');
	other int := 1 - current;
	size bigint := pg_relation_size(format('jobq.turn_%s', current));
	rest bigint := pg_relation_size(format('jobq.turn_%s', other));
	line text;
begin
	if rest > 0 then
		line := jobq.turn_empty(other, case when size < greatest(8388608, 2 * rest) then 20000 end);
		if line is null then
			return null;
		end if;
	end if;
	if size >= 131072 then
		perform setval('jobq.turn_slot', other);
	end if;
	return line;
end
$$;

-- The same for claims.
create function jobq.claim_rotate() returns text
language plpgsql as $$
declare
	current int := jobq.fact('jobq.claim_slot');
	other int := 1 - current;
	line text;
begin
	if pg_relation_size(format('jobq.claim_%s', other)) > 0 then
		line := jobq.claim_empty(other);
		if line is null then
			return null;
		end if;
	end if;
	if pg_relation_size(format('jobq.claim_%s', current)) >= 131072 then
		perform setval('jobq.claim_slot', other);
	end if;
	return line;
end
$$;

-- Empty a slot of claim: the last claim of a queue is repeated in the current
-- slot, and open ones go to `held`. Nobody claims of these queues meanwhile.
-- Error 55P03: busy.
create function jobq.claim_empty(slot int) returns text
language plpgsql as $$
declare
	q smallint;
	last jobq.claim;
	queues smallint[];
	late boolean;
begin
	execute format('select array_agg(distinct queue) from jobq.claim_%s', slot) into queues;
	foreach q in array coalesce(queues, '{}') loop
		if not pg_try_advisory_xact_lock(jobq.claim_lock(), q) then
			raise exception 'not now' using errcode = '55P03';
		end if;
		last := jobq.last_claim(q);
		if last.slot = claim_empty.slot then
			-- a lane of which no turn is left need not be remembered
			insert into jobq.claim
			select jobq.fact('jobq.claim_slot'), last.queue, last.batch + 1, 0, last.at, '{}', '{}',
			    coalesce(array_agg(l.lane), '{}'), coalesce(array_agg(l.xid), '{}'),
			    coalesce(array_agg(l.job), '{}'), last.waiting, last.late_lane, last.late_xid, last.late_job
			from unnest(last.lanes, last.cursor_xid, last.cursor_job) l(lane, xid, job)
			where exists (select from jobq.turn t where t.queue = q and t.lane = l.lane);
			-- and the number of a share of which none is left goes to another value
			delete from jobq.fair_share s
			where s.queue = q and not exists (
				select from unnest(last.lanes) l, jobq.turn t
				where l % 256 = s.share and t.queue = q and t.lane = l);
		end if;
		execute format($q$
			insert into jobq.held (pool, job, attempt, batch, at)
			select l.pool, l.job, l.attempt, l.batch, l.at
			from jobq.lease l join jobq.claim_%s c on c.queue = l.queue and c.batch = l.batch
			where l.queue = $1 on conflict do nothing$q$, slot) using q;
	end loop;
	if jobq.try_lock('50 ms', 'claim_' || slot) then
		-- a claim that began before the slots changed may have come since
		execute format('select exists (select from jobq.claim_%s c where c.queue <> all ($1))', slot)
		into late using coalesce(queues, '{}');
	end if;
	if late is distinct from false then
		raise exception 'not now' using errcode = '55P03';
	end if;
	execute format('truncate jobq.claim_%s', slot);
	return format('emptied claim slot %s', slot);
end
$$;

-- Who keeps vacuum from removing what is dead, and slots of turn and claim from
-- being emptied: since when (null: not known), for how many transactions, and
-- what to do about it. What other roles do is told in transaction ids only,
-- unless we may see it (pg_read_all_stats).
create function jobq.snapshots()
returns table (since timestamptz, ids int, who text, advice text)
language sql stable as $$
	select a.xact_start, greatest(age(a.backend_xmin), age(a.backend_xid)), format('a transaction of process %s (%s, user %s)',
	    a.pid, coalesce(nullif(a.application_name, ''), 'no name'), a.usename),
	    format('end it: select pg_terminate_backend(%s)', a.pid)
	from pg_stat_activity a
	where a.backend_type not in ('walsender', 'autovacuum worker') and (a.backend_xmin is not null or a.backend_xid is not null)
	    and a.pid <> pg_backend_pid() and a.datname = current_database()
	union all
	select p.prepared, age(p.transaction), format('the prepared transaction "%s" of %s', p.gid, p.owner),
	    'end it: commit prepared or rollback prepared'
	from pg_prepared_xacts p where p.database = current_database()
	union all
	select null, greatest(age(r.xmin), age(r.catalog_xmin)), format('the replication slot "%s"%s', r.slot_name,
	    case when not r.active then ', which nobody uses,' else '' end),
	    case when r.active then 'see whether its standby is behind, or has long queries (hot_standby_feedback)'
	        else 'drop it: select pg_drop_replication_slot(…)' end
	from pg_replication_slots r where r.xmin is not null
	union all
	select null, age(a.backend_xmin), format('the standby "%s"', a.application_name),
	    'see whether it has long queries (hot_standby_feedback)'
	from pg_stat_activity a where a.backend_type = 'walsender' and a.backend_xmin is not null
$$;

-- Sum the tally up into pieces of five minutes.
create function jobq.tally_fold() returns void
language sql as $$
	with d as (
		delete from jobq.tally returning *
	)
	insert into jobq.total as t (queue, at, completed, failed, dead, cancelled, lost)
	select queue, jobq.five_minutes(at), sum(completed), sum(failed), sum(dead), sum(cancelled), sum(lost)
	from d group by 1, 2
	on conflict (queue, at) do update
	set completed = t.completed + excluded.completed, failed = t.failed + excluded.failed,
	    dead = t.dead + excluded.dead, cancelled = t.cancelled + excluded.cancelled,
	    lost = t.lost + excluded.lost
$$;

-- A queue that was removed while a transaction was open which enqueues into it is
-- there again when that has committed, under another name if somebody has made
-- one of its name meanwhile.
create function jobq.queues_restore() returns text
language plpgsql as $$
declare
	names text;
begin
	delete from jobq.removed r where r.at < clock_timestamp() - interval '7 days';
	with r as (
		delete from jobq.removed r where exists (select from jobq.waiting(r.id)) returning r.id, r.name
	), i as (
		insert into jobq.queue (id, name)
		select r.id, case when exists (select from jobq.queue q where q.name = r.name)
		    then left(r.name, 57) || '-' || r.id else r.name end from r
		returning name
	)
	select string_agg(i.name, ', ' order by i.name) into names from i;
	return 'there again, since jobs were just being enqueued when it was removed: queue ' || names;
end
$$;

-- Small things whose time is over.
create function jobq.sweep_out() returns void
language plpgsql as $$
begin
	delete from jobq.uniq u where u.ctid = any (array(
	    select k.ctid from jobq.uniq k where k.until <= clock_timestamp() for update skip locked));
	delete from jobq.held h where exists (select from jobq.attempt a
	    where a.job = h.job and a.attempt = h.attempt)
	    or not exists (select from jobq.pool p where p.id = h.pool);
	delete from jobq.cancel_request c where c.at < clock_timestamp() - interval '1 minute'
	    and (c.pool is null or exists (select from jobq.attempt a
	        where a.job = c.job and a.attempt = c.attempt));
	delete from jobq.released r where not exists (select from jobq.pool p
	    where p.id = r.pool and p.oldest_batch <= r.batch);
	delete from jobq.withdrawn w where w.job < (select max(k.job) from jobq.withdrawn k where k.queue = w.queue);
	delete from jobq.total t using jobq.queue q where q.id = t.queue
	    and t.at < now() - jobq.ms(greatest(q.keep_completed_ms, q.keep_cancelled_ms, 604800000));
	delete from jobq.statistic s where s.level = any (jobq.levels(7)) and s.at < now() - interval '1 year';
	delete from jobq.statistic_error e where e.at < now() - interval '30 days';
	delete from jobq.depth d where d.at < now() - interval '1 year';
	delete from jobq.size s where s.at < now() - interval '90 days';
	delete from jobq.request r where r.at < now() - interval '1 day';
	delete from jobq.workflow_run w where w.state <> 'running' and w.finished_at < now() - interval '90 days';
	delete from jobq.webhook_event e where e.received_at < now() - interval '7 days';
	delete from jobq.pool p where p.pull and p.seen < now() - interval '1 day'
	    and not exists (select from jobq.pull u where u.pool = p.id);
	delete from jobq.node n where n.seen < now() - interval '30 days'
	    and not exists (select from jobq.pool p where p.node = n.id);
end
$$;

-- Do one of these things. Null: nothing was to be said, or somebody who has a
-- transaction open has what it needs; next time, then.
create function jobq.try_to(call text) returns text
language plpgsql as $$
declare
	line text;
begin
	execute 'select jobq.' || call into line;
	return nullif(line, '');
exception when lock_not_available then
	return null;
end
$$;

-- Of these calls one, the first that has something to say. They are begun with
-- another one each time, so that none has to stand back for ever.
create function jobq.try_one(variadic calls text[]) returns text
language plpgsql as $$
declare
	first bigint := nextval('jobq.round');
	line text;
begin
	for i in 0 .. cardinality(calls) - 1 loop
		line := jobq.try_to(calls[1 + (first + i) % cardinality(calls)]);
		exit when line is not null;
	end loop;
	return line;
end
$$;

-- One round of all this; the lines are for the log. One at a time in the
-- cluster; whoever else calls it returns at once. Of what locks a table
-- exclusively only one thing is done, and last: the lock goes with the end of
-- this statement, and no work comes after it.
--   keep_size  as many bytes may all be; when it is more the oldest that is
--              finished goes before its time. 0: as many as there are
--   step       1: the small things, 2: what takes its time; each of these in a
--              statement of its own, so that nobody waits during the second for a
--              row that the first removes. Null: both
create function jobq.maintain(keep_size bigint default 0, step int default null) returns setof text
language plpgsql
set lock_timeout = '0.1s' as $$
declare
	call text;
	line text;
	early boolean := keep_size > 0 and jobq.bytes() > keep_size;
begin
	if not pg_try_advisory_xact_lock(jobq.claim_lock(), -2) then
		return;
	end if;
	if step is distinct from 2 then
		update jobq.meta set last_xid = pg_current_xact_id(), keep_size = maintain.keep_size;
		-- autovacuum leaves small tables alone, and then a view is thought so
		-- costly that it is compiled, which takes a second
		analyze (skip_locked) jobq.queue, jobq.node, jobq.serves, jobq.pool, jobq.worker, jobq.held, jobq.released,
		    jobq.withdrawn;
		foreach call in array array['sweep_out()', 'tally_fold()', 'audit_seal(20000)', 'audit_forget(''1 year'')'] loop
			perform jobq.try_to(call);
		end loop;
		if exists (select from jobq.waits) then
			perform jobq.try_to('sweep(10000)');
		end if;
		foreach call in array array['audit_head()', 'queues_restore()', format('default_clean(10000, %L)', early),
		    format('part_cut(%s)', keep_size)] loop
			line := jobq.try_to(call);
			if line is not null then
				return next line;
			end if;
		end loop;
	end if;
	if step is distinct from 1 then
		line := null;
		if early then
			line := coalesce(jobq.try_to('history_drop(true)'), jobq.try_to('part_drop(true)'));
		else
			perform jobq.try_to('history_copy()');
		end if;
		line := coalesce(line, jobq.try_one('part_make()', 'turn_rotate()', 'claim_rotate()', 'part_drop()', 'history_drop()',
		    'history_merge()'));
		if line is not null then
			return next line;
		end if;
	end if;
end
$$;

-- The first partitions: one for now, one ahead.
do $$ begin
	perform jobq.part_make();
	perform jobq.part_make();
end $$;
