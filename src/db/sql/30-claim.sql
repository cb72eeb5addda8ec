-- Claiming: a pool takes a batch of turns by moving its queue's cursors.
--
-- Turns are read in the order (xid, job). A transaction that is still running
-- when a cursor passes its xid is kept in `waiting`; when it has ended, its
-- rows, if any, are taken from behind the cursor (`late`). All is seen through
-- one snapshot, taken first: rows of transactions it does not show are left
-- alone even where a later statement could see them.
--
-- Plans must be good with any statistics, also with those of an empty table:
-- the settings leave nothing but the indexes, and `offset 0` keeps a look-up
-- by key from becoming a join. take() and what it calls have those of claim()
-- and look(), which alone may call it: to set one takes a microsecond.
--
-- With one job a claim costs what its statements cost to begin, a dozen
-- microseconds each and as much for every partition that they open; so there are
-- few, and look-ups of jobs say the bounds of the ids, too: a plan leaves out what is
-- outside of parameters when it begins, but not what the rows of a join will ask for.

-- The locks of this schema are (claim_lock(), n), n being
--   a queue's id     its claims, and what must not run beside them
--   0                statistics_take()
--   -1               who sleeps
--   -2               maintain()
--   -3               turns are being copied; shared: somebody removes one
--   -1000 less …     limits: limit_lock()
--   -100000 less …   partitions: part_lock()
create function jobq.claim_lock() returns int
language sql immutable parallel safe as $$ select hashtext('jobq') $$;

create function jobq.part_lock(id int) returns int
language sql immutable parallel safe as $$ select -100000 - id $$;

-- Where the claims of a queue stand, and what the next one takes.
create type jobq.cursors as (
	snapshot pg_snapshot,
	lanes smallint[],		-- in their order; of each the last turn taken:
	xid xid8[],
	job bigint[],
	late_lane smallint[],
	late_xid xid8[],
	late_job bigint[],
	taken bigint[],			-- the jobs taken …
	attempts smallint[],		-- … and which attempt each is
	keys text[],			-- their concurrency keys, where the queue has any
	served smallint,		-- the lane of the last one
	more int			-- lanes that have more than was to be taken of each
);

-- The lanes with their cursors in their order.
create function jobq.in_order(c inout jobq.cursors)
language plpgsql as $$
begin
	select array_agg(l.lane order by l.lane), array_agg(l.xid order by l.lane), array_agg(l.job order by l.lane)
	into c.lanes, c.xid, c.job
	from unnest(c.lanes, c.xid, c.job) l(lane, xid, job);
end
$$;

-- The lanes in which a queue has turns, with those of c that are known
-- already. Nobody registers a lane: the gaps between the known ones are looked
-- into.
create function jobq.find_lanes(c inout jobq.cursors, queue_id smallint)
language plpgsql as $$
declare
	found_lanes smallint[];
begin
	loop
		select array_agg(t.lane) into found_lanes
		from unnest((-1)::smallint || c.lanes, c.lanes || 32767::smallint) gap(low, high),
		lateral (
			select t.lane from jobq.turn t
			where t.queue = queue_id and t.lane > gap.low and t.lane < gap.high
			order by t.lane limit 1
		) t;
		exit when found_lanes is null;
		c.lanes := c.lanes || found_lanes;
		c.xid := c.xid || array_fill('0'::xid8, array[cardinality(found_lanes)]);
		c.job := c.job || array_fill(0::bigint, array[cardinality(found_lanes)]);
		c := jobq.in_order(c);
	end loop;
end
$$;

-- Take up to n turns of a queue: the lanes in their order, of each first what
-- came late. What is to be read is a list of ranges, each from behind a turn on:
-- they are read in one statement, since to begin one costs more than to take a
-- job. Mostly these are one for each lane up to the next one that is known, which
-- also finds the lanes between them; else each is of one lane up to a transaction
-- (a scan that ends there needs the lane to be one).
--   share      at most so many of each lane, times its weight; null: n
--   low, high  of these lanes only, as far as they are known, which all are
--              after a call with n = 0; in the order of their priorities, and
--              of each priority those behind `after` first
--   keyed      with the keys that the turns have
create function jobq.take(last jobq.claim, queue_id smallint, n int, share int default null,
    low smallint default null, high smallint default null, after smallint default null,
    keyed boolean default false) returns jobq.cursors
language plpgsql as $$
declare
	forever constant xid8 := '18446744073709551615';
	c jobq.cursors;
	lane smallint[];	-- the ranges
	from_xid xid8[];
	from_job bigint[];
	till xid8[];
	most int[];		-- to be taken of each
	lane_of smallint[];	-- of what was taken, and the range it is of
	xids xid8[];
	range int[];
	l int;
	final int;
	sorted boolean := true;
begin
	c.snapshot := pg_current_snapshot();
	c.lanes := coalesce(last.lanes, '{}');
	c.xid := coalesce(last.cursor_xid, '{}');
	c.job := coalesce(last.cursor_job, '{}');
	c.late_lane := coalesce(last.late_lane, '{}');
	c.late_xid := coalesce(last.late_xid, '{}');
	c.late_job := coalesce(last.late_job, '{}');
	if cardinality(last.waiting) > 0 then
		-- what a cursor had passed and has ended since: to be read from its start
		select c.late_lane || coalesce(array_agg(l.lane), '{}'),
		    c.late_xid || coalesce(array_agg(w.xid), '{}'),
		    c.late_job || coalesce(array_agg(0::bigint), '{}')
		into c.late_lane, c.late_xid, c.late_job
		from unnest(last.waiting) w(xid), unnest(c.lanes, c.xid) l(lane, xid)
		where w.xid < l.xid and pg_visible_in_snapshot(w.xid, c.snapshot);
	end if;
	if c.late_lane = '{}' and low is null and n > 0 then
		select array_agg(r.job), array_agg(r.attempt), array_agg(r.lane), array_agg(r.xid), array_agg(r.i),
		    array_agg(r.key) filter (where keyed)
		into c.taken, c.attempts, lane_of, xids, range, c.keys
		from (
			select t.job, t.attempt, t.lane, t.xid, t.key, u.i
			from unnest((-1)::smallint || c.lanes, '0'::xid8 || c.xid, 0::bigint || c.job, c.lanes || 32767::smallint)
			    with ordinality u(lane, xid, job, next, i),
			lateral (
				-- a row may be there twice: maintain() copies what an old slot still has
				select distinct on (t.lane, t.xid, t.job) t.lane, t.xid, t.job, t.attempt, t.key from jobq.turn t
				where t.queue = queue_id and (t.lane, t.xid, t.job) > (u.lane, u.xid, u.job)
				    and t.lane < u.next and pg_visible_in_snapshot(t.xid, c.snapshot)
				order by t.lane, t.xid, t.job limit n
			) t
			limit n
		) r;
	else
		if low is null then
			c := jobq.find_lanes(c, queue_id);
		end if;
		select coalesce(array_agg(r.lane order by r.rank), '{}'), array_agg(r.xid order by r.rank),
		    array_agg(r.job order by r.rank), array_agg(r.till order by r.rank),
		    case when take.share is not null then array_agg(least(n, take.share * r.weight) order by r.rank) end
		into lane, from_xid, from_job, till, most
		from (
			select k.*, row_number() over (order by k.lane / 256, k.lane <= after, k.lane, k.xid) as rank,
			    coalesce((select max(s.weight) from jobq.fair_share s
			        where take.share is not null and s.queue = queue_id and s.share = k.lane % 256), 1) as weight
			from (
				select u.lane, u.xid, u.job, u.xid as till
				from unnest(c.late_lane, c.late_xid, c.late_job) u(lane, xid, job)
				union all
				select u.lane, u.xid, u.job, forever from unnest(c.lanes, c.xid, c.job) u(lane, xid, job)
			) k
			where low is null or k.lane between low and high
		) r;
		select array_agg(r.job), array_agg(r.attempt), array_agg(r.lane), array_agg(r.xid), array_agg(r.i),
		    array_agg(r.key) filter (where keyed)
		into c.taken, c.attempts, lane_of, xids, range, c.keys
		from (
			select t.job, t.attempt, u.lane, t.xid, t.key, u.i
			from unnest(lane, from_xid, from_job, till, most) with ordinality u(lane, xid, job, till, most, i),
			lateral (
				select distinct on (t.xid, t.job) t.xid, t.job, t.attempt, t.key from jobq.turn t
				where t.queue = queue_id and t.lane = u.lane
				    and (t.xid, t.job) > (u.xid, u.job) and t.xid <= u.till
				    and pg_visible_in_snapshot(t.xid, c.snapshot)
				order by t.xid, t.job limit coalesce(u.most, n)
			) t
			limit n
		) r;
	end if;
	final := coalesce(cardinality(range), 0);
	if share is not null then
		c.served := lane_of[final];
		c.more := (select count(*) from unnest(most) with ordinality u(most, i)
		    where cardinality(array_positions(range, u.i::int)) = u.most);
	end if;
	if c.late_lane <> '{}' then
		-- of what came late remains what was not read to its end
		select coalesce(array_agg(u.lane), '{}'), coalesce(array_agg(u.xid), '{}'), coalesce(array_agg(u.job), '{}')
		into c.late_lane, c.late_xid, c.late_job
		from (
			select k.lane, k.xid, k.job
			from unnest(c.late_lane, c.late_xid, c.late_job) k(lane, xid, job)
			where k.lane not between low and high
			union all
			select k.lane, k.till, case when k.at <> '{}' then c.taken[k.at[cardinality(k.at)]] else k.job end
			from (
				select r.*, array_positions(range, r.i::int) as at
				from unnest(lane, from_job, till, most) with ordinality r(lane, job, till, most, i)
			) k
			where k.till < forever and (cardinality(k.at) = coalesce(k.most, n)
			    or (final = n and k.i >= coalesce(range[final], 0)))
		) u;
	end if;
	-- a lane's turns are together, those that came late first
	while final > 0 loop
		if coalesce(till[range[final]], forever) = forever then
			l := array_position(c.lanes, lane_of[final]);
			if l is null then
				l := cardinality(c.lanes) + 1;
				c.lanes[l] := lane_of[final];
				sorted := false;
			end if;
			c.xid[l] := xids[final];
			c.job[l] := c.taken[final];
		end if;
		final := array_position(lane_of, lane_of[final]) - 1;
	end loop;
	if not sorted then
		c := jobq.in_order(c);
	end if;
	return c;
end
$$;

-- The transactions that were running when the cursors passed them.
create function jobq.passed_by(c jobq.cursors) returns xid8[]
language plpgsql as $$
begin
	return case when pg_snapshot_xmin(c.snapshot) = pg_snapshot_xmax(c.snapshot) then '{}'
	    else array(select x from pg_snapshot_xip(c.snapshot) x
	        where x < (select max(m) from unnest(c.xid) m)) end;
end
$$;

-- The last claim of a queue: nulls when there is none.
create function jobq.last_claim(queue_id smallint) returns jobq.claim
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan set jit = off as $$
declare
	last jobq.claim;
begin
	select * into last from jobq.claim c
	where c.queue = queue_id order by c.batch desc limit 1;
	return last;
end
$$;

-- Append a claim: what was taken, where the cursors are now, and what is known
-- of the queue, for good or only unless a change is open.
create function jobq.add_claim(last jobq.claim, c jobq.cursors, queue_id smallint, pool bigint,
    known bigint default null, settled boolean default null, withdrawn_to bigint default null) returns bigint
language plpgsql as $$
declare
	b bigint := coalesce(last.batch, 0) + 1;
	passed xid8[] := '{}';
begin
	if pg_snapshot_xmin(c.snapshot) < pg_snapshot_xmax(c.snapshot) then
		passed := jobq.passed_by(c);
	end if;
	insert into jobq.claim (slot, queue, batch, pool, jobs, attempts, lanes,
	    cursor_xid, cursor_job, waiting, late_lane, late_xid, late_job, served, known, known_by, withdrawn_to)
	values (jobq.fact('jobq.claim_slot'), queue_id, b, add_claim.pool, coalesce(c.taken, '{}'),
	    coalesce(c.attempts, '{}'), c.lanes, c.xid, c.job, passed, c.late_lane, c.late_xid, c.late_job, c.served,
	    add_claim.known, case when known is not null and settled is not true then pg_current_xact_id() end,
	    case when known is not null then add_claim.withdrawn_to end);
	return b;
end
$$;

-- Move a queue's cursors up to the next turn of an attempt that has not ended, in
-- up to so many steps, of a thousand turns where there is room: a claim takes
-- only as many as it wants. The caller has locked the claims.
create function jobq.pass_over(queue_id smallint, steps int) returns void
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off set jit = off set plan_cache_mode = force_generic_plan as $$
declare
	last jobq.claim;
	c jobq.cursors;
	n int := 1000;
begin
	for i in 1 .. steps loop
		last := jobq.last_claim(queue_id);
		c := jobq.take(last, queue_id, n);
		exit when c.taken is null;
		if exists (select from unnest(c.taken, c.attempts) t(job, attempt)
		    where not exists (select from jobq.attempt a
		        where a.job = t.job and a.attempt = t.attempt offset 0)) then
			exit when n = 1;
			n := n / 10;
			continue;
		end if;
		c.taken := '{}';
		c.attempts := '{}';
		perform jobq.add_claim(last, c, queue_id, 0);
	end loop;
end
$$;

-- What a claim has found out of its queue and its pool is true for the next one,
-- too, until somebody changes it, who counts that here. He does so before he
-- commits, so who finds the number moved cannot be too late; but one who finds it
-- where it was may have been too early, if a change that had counted already is
-- open still. Therefore a claim stores its own id with what it has found: once that
-- is behind a snapshot, so is the change, and what this shows is final.
create function jobq.count_change() returns trigger
language plpgsql as $$
begin
	perform nextval('jobq.changes');
	return null;
end
$$;
create trigger counted after insert or update or delete on jobq.queue for each row execute function jobq.count_change();
create trigger counted after insert or update or delete on jobq.hold for each row execute function jobq.count_change();
create trigger counted after insert on jobq.withdrawn for each row execute function jobq.count_change();
create trigger counted after delete on jobq.pool for each row execute function jobq.count_change();

-- Lease up to n jobs of a queue to a pool: the most urgent, oldest first.
-- Returns none when the queue is paused or the pool is not registered (any
-- more). Must be alone in its transaction, of level READ COMMITTED. Error 55P03
-- when a transaction that cleared jobs of the queue is left open: what its caller
-- sends after it must not wait for that.
--   held, keys  what the pool has on lease that has not ended, and their
--               concurrency keys (null: none has one)
-- What most jobs have no value of is null, which costs nothing on the way:
--   charged, crashes  ended attempts that count, and crashes among them
--   alone             to be run with no other job in its worker
--   max_attempts, timeout_ms  null: the policy's, the queue's
--   late_ms           since its time; only where the queue has an expire
--   key               of concurrency; only where the queue has such jobs
--   start_ms          not to be started earlier. In a row without a job: there
--                     may be more then, when a limit allows it
create function jobq.claim(pool bigint, queue_id smallint, n int, held int default 0,
    keys text[] default null)
returns table (batch bigint, id bigint, attempt int, charged int, crashes int,
    alone boolean, type text, data text, priority int, max_attempts int,
    timeout_ms int, tenant text, has_unique boolean, late_ms bigint, key text, start_ms bigint)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off set jit = off set lock_timeout = '1s'
set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
	last jobq.claim;
	c jobq.cursors;
	b bigint;
	current smallint;
	changes bigint;
	known bigint;		-- the number of changes, of a plain queue: none of the next four
	until_started boolean;
	expires boolean;
	keyed boolean;
	special boolean;
	settled boolean := true;	-- no change was open that would make it another
	withdrawn_to bigint;
	low bigint;		-- no job taken is outside these
	high bigint;
	room jobq.allowance;
	took int := 0;
	taken_keys text[] := '{}';
	got int := 0;
	more boolean := true;	-- not all was looked at
begin
	if current_setting('transaction_isolation') <> 'read committed' then
		raise exception 'claim needs the isolation level READ COMMITTED' using errcode = '25001',
		    hint = 'Behind a pooler: ALTER ROLE … SET default_transaction_isolation = ''read committed''.';
	end if;
	-- a claim that a crash of the server loses is only a claim made again
	perform set_config('synchronous_commit', 'off', true), pg_advisory_xact_lock(jobq.claim_lock(), queue_id);
	-- A claim goes to the current slot, which was empty when it became that:
	-- if one of the queue is there, none that is elsewhere came later.
	current := jobq.fact('jobq.claim_slot');
	changes := jobq.fact('jobq.changes');
	select * into last from jobq.claim k
	where k.slot = current and k.queue = claim.queue_id order by k.batch desc limit 1;
	if not found then
		last := jobq.last_claim(queue_id);
	end if;
	if last.known = changes and last.pool = pool and last.known_by is null
	    and pg_relation_size('jobq.withdrawn') > 0 then	-- a crash has emptied it: that is not counted
		known := changes;
		withdrawn_to := last.withdrawn_to;
	else
		select q.unique_ms = -2, q.expire_ms > 0, q.keyed, q.limited or q.keyed or q.fair_path <> ''
		        or q.age_ms > 0 or exists (select from jobq.hold),
		    (select max(w.job) from jobq.withdrawn w where w.queue = claim.queue_id),
		    last.known = changes and last.pool = p.id and last.known_by < pg_snapshot_xmin(pg_current_snapshot())
		into until_started, expires, keyed, special, withdrawn_to, settled
		from jobq.queue q join jobq.pool p on p.id = claim.pool and p.queue = q.id
		where q.id = claim.queue_id and not q.paused;
		if not found or n < 1 then
			return;
		end if;
		if withdrawn_to is null then
			withdrawn_to := 9223372036854775807;
			perform jobq.withdraw(queue_id, withdrawn_to);
		elsif not (until_started or expires or special) then
			known := changes;
		end if;
	end if;
	n := least(n, 10000);
	if special then
		room := jobq.limits_allow(pool, queue_id, n, held);
		n := room.n;
	end if;
	for rounds in 1 .. 10 loop
		exit when n < 1;
		if rounds > 1 then
			last := jobq.last_claim(queue_id);
		end if;
		if special then
			-- what may not run is passed over; in larger steps where what then is
			-- too many is parked, and found again
			c := jobq.take_special(last, pool, queue_id, n, keys || taken_keys,
			    case when keyed then greatest(n, least(1000, n << rounds - 1)) else n end);
		else
			c := jobq.take(last, queue_id, n);
		end if;
		if c.taken is null then
			-- keep the list of what to wait for short while the queue is idle
			if cardinality(last.waiting) > 0 or cardinality(last.late_xid) > 0 then
				perform jobq.add_claim(last, c, queue_id, pool, known, settled, withdrawn_to);
			end if;
			more := false;
			exit;
		end if;
		low := c.taken[1];
		high := low;
		if cardinality(c.taken) > 1 then
			select min(t), max(t) into low, high from unnest(c.taken) t;
		end if;
		if withdrawn_to >= any (c.taken) then
			select array_agg(t.job order by t.n), array_agg(t.attempt order by t.n)
			into c.taken, c.attempts
			from unnest(c.taken, c.attempts) with ordinality t(job, attempt, n)
			where not exists (select from jobq.attempt a
			    where a.job = t.job and a.attempt = t.attempt and a.job between low and high offset 0);
		end if;
		b := jobq.add_claim(last, c, queue_id, pool, known, settled, withdrawn_to);
		if c.taken is null then		-- and there may be very many more of them
			perform jobq.pass_over(queue_id, 100);
			continue;
		end if;
		if until_started then
			delete from jobq.uniq u where u.job = any (c.taken) and u.until is null;
		end if;
		return query
		select b, j.id, t.attempt::int, (j.h).charged, (j.h).crashes, (j.h).alone, j.type, j.data::text,
		    (j.lane / 256)::int, j.max_attempts, j.timeout_ms, j.tenant,
		    case when j.unique_key is not null then true end,
		    case when expires then greatest(0, (extract(epoch from
		        clock_timestamp() - coalesce(j.run_at, j.created_at)) * 1000)::bigint) end,
		    case when keyed then j.key end,
		    case when room.gap_ms > 0 then room.start_ms + room.gap_ms * (took + t.n - 1) end
		from unnest(c.taken, c.attempts) with ordinality t(job, attempt, n),
		lateral (	-- in the order of what was taken: there is no other way than a loop
			select k.*, case when t.attempt > 1 then jobq.charges(k.id) end as h
			from jobq.job k where k.id = t.job and k.id between low and high limit 1
		) j;
		get diagnostics got = row_count;
		n := n - got;
		if special then
			took := took + got;
			taken_keys := taken_keys || array_remove(c.keys, null);
			more := c.more > 0;
			exit when not more;
		else
			exit when got > 0;	-- else all of them had been deleted: the next ones
		end if;
	end loop;
	if special then
		start_ms := jobq.limits_charge(pool, queue_id, room, held + took, keys || taken_keys, took);
	end if;
	if n > 0 and more and (special or got = 0) then
		start_ms := 0;
	end if;
	if start_ms is not null then
		return next;
	end if;
end
$$;

-- Turns of jobs of a queue up to this one may be of attempts that have ended,
-- or will have before they are claimed: see the table. Said of all jobs there
-- are now, so that one row is enough for many.
create function jobq.withdraw(queue_id smallint, job bigint) returns void
language sql as $$
	insert into jobq.withdrawn (queue, job)
	select queue_id, coalesce(jobq.fact('jobq.job_id'), 0)
	where not exists (select from jobq.withdrawn w where w.queue = queue_id and w.job >= withdraw.job)
$$;

-- What a job's ended attempts count: failures that are charged, crashes among
-- them, since it was last granted more; and whether it must run alone next.
create type jobq.charged as (charged int, crashes int, alone boolean);
create function jobq.charges(job bigint) returns jobq.charged
language plpgsql stable as $$
declare
	c jobq.charged;
begin
	select count(*) filter (where a.outcome = 2 and not a.fresh),
	    count(*) filter (where a.outcome = 2 and a.class = 8 and not a.fresh),
	    coalesce(bool_or(a.outcome = 2 and a.class = 8), false)
	        or coalesce((array_agg(a.alone order by a.attempt desc))[1], false)
	into c
	from (
		select a.*, a.attempt <= coalesce(max(a.attempt) filter (where a.granted) over (), 0) as fresh
		from jobq.attempt a where a.job = charges.job
	) a;
	return c;
end
$$;

-- The lanes of a queue in which there are turns, and up to where each is claimed.
create function jobq.open_lanes(queue_id smallint, last jobq.claim)
returns table (lane smallint, xid xid8, job bigint)
language plpgsql as $$	-- keeps its plan
begin
	return query
	with recursive lanes as (
		(select t.lane from jobq.turn t where t.queue = queue_id order by t.lane limit 1)
		union all
		select (select t.lane from jobq.turn t where t.queue = queue_id and t.lane > p.lane
		    order by t.lane limit 1)
		from lanes p where p.lane is not null
	)
	select k.lane, coalesce(c.xid, '0'::xid8), coalesce(c.job, 0)
	from lanes k left join unnest((last).lanes, (last).cursor_xid, (last).cursor_job) c(lane, xid, job)
	    on c.lane = k.lane
	where k.lane is not null order by k.lane;
end
$$;

-- Up to which job ends are to be looked for among the turns of a queue.
create function jobq.withdrawn_to(queue_id smallint) returns bigint
language sql stable as $$
	select coalesce(max(w.job), 9223372036854775807) from jobq.withdrawn w where w.queue = queue_id
$$;

-- Turns of a queue that nobody has claimed, in order of their lanes. Turns of
-- jobs that were cancelled or deleted meanwhile are among them. Not stable: a
-- slot that is emptied while a statement waits for its lock is empty for older
-- snapshots too, which do not show where its turns have gone.
create function jobq.open_turns(queue_id smallint)
returns table (lane smallint, xid xid8, job bigint, attempt smallint)
language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	last jobq.claim := jobq.last_claim(queue_id);
	l record;
begin
	for l in select * from jobq.open_lanes(queue_id, last) loop
		return query
		select distinct on (t.xid, t.job) t.lane, t.xid, t.job, t.attempt from jobq.turn t
		where t.queue = queue_id and t.lane = l.lane and (t.xid, t.job) > (l.xid, l.job)
		order by t.xid, t.job;
		if cardinality(last.waiting) > 0 or cardinality(last.late_xid) > 0 then
			return query
			select distinct on (t.xid, t.job) t.lane, t.xid, t.job, t.attempt
			from (
				select w.xid, 0::bigint as job from unnest(last.waiting) w(xid) where w.xid < l.xid
				union all
				select u.xid, u.job from unnest(last.late_lane, last.late_xid, last.late_job) u(lane, xid, job)
				where u.lane = l.lane
			) h, lateral (
				select * from jobq.turn k where k.queue = queue_id and k.lane = l.lane
				    and k.xid = h.xid and k.job > h.job
			) t
			order by t.xid, t.job;
		end if;
	end loop;
	return query
	select p.lane, '0'::xid8, p.job, p.attempt from jobq.parked p
	where p.queue = queue_id order by p.place;
end
$$;

-- How many jobs of a queue are ready, and since when the oldest of them is.
-- As in a claim, ends are looked for up to the last job that was withdrawn only.
create function jobq.ready_of(queue_id smallint, out ready bigint, out oldest_ready_at timestamptz)
language sql stable as $$
	select count(*), (
		select min(coalesce(j.run_at, j.created_at))
		from jobq.job j where j.id = any ((array_agg(o.job))[1:50]))
	from jobq.open_turns(queue_id) o
	where (o.job > (select jobq.withdrawn_to(queue_id))
	        or not exists (select from jobq.attempt a where a.job = o.job and a.attempt = o.attempt offset 0))
	    and ((select jobq.tenant() = '') or jobq.sees(o.job))
$$;

-- As ready_of(), but it counts about `most` jobs only; exact tells whether
-- that was all of them. How many come behind those of a lane is guessed from
-- how far their ids are apart.
create function jobq.ready_about(queue_id smallint, most int, out ready bigint, out exact boolean,
    out oldest_ready_at timestamptz)
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
	last jobq.claim := jobq.last_claim(queue_id);
	gone bigint := jobq.withdrawn_to(queue_id);
	newest bigint;
	held bigint;
	l record;
	s record;
begin
	ready := 0;
	exact := true;
	for l in select * from jobq.open_lanes(queue_id, last) loop
		select count(*) as seen, min(t.job) as low, max(t.job) as high,
		    array_agg(t.job) filter (where t.open) as jobs, count(*) filter (where t.open) as open
		into s
		from (
			select u.job, u.job > gone or not exists (select from jobq.attempt a
			    where a.job = u.job and a.attempt = u.attempt offset 0) as open
			from (
				select k.xid, k.job, k.attempt from jobq.turn k
				where k.queue = queue_id and k.lane = l.lane and (k.xid, k.job) > (l.xid, l.job)
				order by k.xid, k.job limit most
			) u
			union all
			select u.job, not exists (select from jobq.attempt a
			    where a.job = u.job and a.attempt = u.attempt offset 0)
			from (
				select w.xid, 0::bigint as job from unnest(last.waiting) w(xid) where w.xid < l.xid
				union all
				select h.xid, h.job from unnest(last.late_lane, last.late_xid, last.late_job) h(lane, xid, job)
				where h.lane = l.lane
			) h, lateral (
				select k.job, k.attempt from jobq.turn k where k.queue = queue_id and k.lane = l.lane
				    and k.xid = h.xid and k.job > h.job order by k.job limit most
			) u
		) t;
		continue when s.seen = 0;
		oldest_ready_at := least(oldest_ready_at, (
			select min(coalesce(j.run_at, j.created_at)) from jobq.job j where j.id = any (s.jobs[1:50])));
		ready := ready + s.open;
		continue when s.seen < most;
		exact := false;
		select k.job into newest from jobq.turn k
		where k.queue = queue_id and k.lane = l.lane order by k.xid desc, k.job desc limit 1;
		ready := ready + (greatest(0, newest - s.high) * (s.open::float8 / (s.high - s.low + 1)))::bigint;
		most := greatest(most / 2, 20);
	end loop;
	select count(*) into held from (select from jobq.parked p where p.queue = queue_id limit most) k;
	ready := ready + held;
	exact := exact and held < most;
end
$$;
