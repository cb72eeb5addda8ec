-- Enqueueing: the producers' interface, inside the caller's own transaction.

-- Does a leader of this queue sleep? mask: sleepers.last_value.
create function jobq.is_asleep(queue_id smallint, mask bigint) returns boolean
language sql immutable parallel safe
return mask & jobq.sleep_bit(queue_id) <> 0;

-- Wake the leaders of a queue, if one of them sleeps. The mask is read before
-- the caller commits, so a leader that falls asleep meanwhile is missed: it
-- looks again soon.
create function jobq.nudge(queue_id smallint, queue text) returns void
language plpgsql as $$
begin
	if jobq.is_asleep(queue_id, jobq.fact('jobq.sleepers')) then
		perform jobq.rouse(queue);
	end if;
end
$$;

-- Wake the leaders of a queue, unless it is paused: there is nothing for them
-- to do until resume() wakes them.
create function jobq.rouse(queue text) returns void
language plpgsql as $$
begin
	perform pg_notify('jobq', k.name) from jobq.queue k where k.name = rouse.queue and not k.paused;
end
$$;

-- Give a job its chance to run: a turn, or a timer when it is for later.
create function jobq.put_turn(job bigint, queue_id smallint, lane smallint,
    run_at timestamptz, attempt smallint) returns void
language plpgsql as $$
begin
	if run_at is null or run_at <= clock_timestamp() then
		insert into jobq.turn (job, slot, queue, lane, attempt)
		select put_turn.job, last_value, queue_id, put_turn.lane, put_turn.attempt
		from jobq.turn_slot;
		return;
	end if;
	insert into jobq.timer (job, run_at, queue, lane, attempt)
	values (put_turn.job, put_turn.run_at, queue_id, put_turn.lane, put_turn.attempt);
	perform jobq.due_at(run_at);
end
$$;

-- There is something for the scheduler at this time: wake it if it sleeps longer.
create function jobq.due_at(t timestamptz) returns void
language plpgsql as $$
begin
	if jobq.us(t) < jobq.fact('jobq.next_due') then
		perform pg_notify('jobq', '*due');
	end if;
end
$$;

-- The lane of a priority as producers write it, in a queue with this lane for
-- jobs that name none. Null: there is no such priority.
create function jobq.lane(own smallint, large_first boolean, priority int) returns smallint
language sql immutable parallel safe
return case when priority is null then own
    when priority between 0 and 99 then 256 * case when large_first then 99 - priority else priority end end;

-- What a queue tells its jobs apart by: tenant, or a member of the data like
-- data.user.id; null: this one has none, or path is ''. (A function in SQL would
-- be planned again in every call of enqueue().)
create function jobq.part_of(path text, data jsonb, tenant text) returns text
language plpgsql immutable parallel safe as $$
begin
	return case when path = 'tenant' then tenant
	    when path <> '' then data #>> (string_to_array(path, '.'))[2:] end;
end
$$;

-- The number of the share that a job of a fair queue belongs to, 1 … 255, by
-- the value that tells its jobs apart; 0 for those that have none. Each value
-- has one of its own as long as there are so many.
create function jobq.share_of(q jobq.queue, value text) returns smallint
language plpgsql as $$
declare
	n smallint;
begin
	if value is null then
		return 0;
	end if;
	value := left(value, 255);
	select s.share into n from jobq.fair_share s
	where s.queue = q.id and s.value = share_of.value order by s.share limit 1;
	if not found then
		n := nextval('jobq.next_share') % 255 + 1;
		select coalesce(min(k), n) into n from generate_series(1, 255) k
		where not exists (select from jobq.fair_share s where s.queue = q.id and s.share = k);
		insert into jobq.fair_share (queue, value, share, weight)
		values (q.id, share_of.value, n, coalesce((q.fair_weights ->> value)::smallint, 1));
	end if;
	return n;
end
$$;

-- Is the data what a job may have? Raises when not.
create function jobq.check_data(q jobq.queue, data jsonb) returns void
language plpgsql immutable as $$
begin
	if data is null or jsonb_typeof(data) <> 'object' then
		raise exception 'data is %, not an object',
		    coalesce(nullif(jsonb_typeof(data), 'null'), 'null')
		using errcode = '22023', hint = 'Give a JSON object, e.g. {"to": "a@example.com"}.';
	end if;
	-- the text is what travels and what its reader must hold: 1e131071 is short only as jsonb
	if octet_length(data::text) > q.max_payload then
		raise exception 'data has % bytes, queue "%" takes %', octet_length(data::text), q.name, q.max_payload
		using errcode = '54000',
		    hint = 'Store large things elsewhere and pass a reference, or raise max_payload of the queue.';
	end if;
	if q.sealed and data <> '{}' and jobq.is_sealed(data) is not true then
		raise exception 'data is not encrypted, queue "%" takes nothing else', q.name using errcode = '22023',
		    hint = 'Encrypt it as jobqd.yml(5) says, or enqueue by the API or jobqctl, which do that.';
	end if;
end
$$;

-- Are these what a job may have? Raises when not.
create function jobq.check_words(type text, tenant text, key text, tags text[]) returns void
language plpgsql immutable as $$
begin
	if octet_length(type) > 255 or octet_length(tenant) > 255 or octet_length(key) > 1024
	    or cardinality(tags) > 100 or octet_length(array_to_string(tags, ',')) > 4096 then
		raise exception 'type, tenant, key or tags are too long' using errcode = '54000',
		    hint = 'Limits: type and tenant 255 bytes, key 1024, 100 tags of 4096 bytes together.';
	end if;
end
$$;

-- When a job may run at the earliest, of which one may be given.
create function jobq.run_time(run_at timestamptz, delay interval) returns timestamptz
language plpgsql as $$
begin
	if delay is not null then
		if run_at is not null then
			raise exception 'run_at and delay are both given' using errcode = '22023',
			    hint = 'Give one of them.';
		end if;
		run_at := clock_timestamp() + delay;
	end if;
	if not isfinite(run_at) or run_at > timestamptz '9999-01-01 00:00 UTC' then
		raise exception 'run_at % is out of range', run_at using errcode = '22023',
		    hint = 'Give an instant before the year 9999.';
	end if;
	return run_at;
end
$$;

-- Check what a job says of its attempts; returns its timeout in milliseconds,
-- null when it says none.
create function jobq.attempt_limits(max_attempts int, timeout interval) returns bigint
language plpgsql immutable as $$
declare
	ms bigint := case when timeout is not null then least(extract(epoch from timeout) * 1000, 2147483647) end;
begin
	if max_attempts < 1 or max_attempts > 30000 then
		raise exception 'max_attempts % is not in 1 … 30000', max_attempts using errcode = '22023';
	end if;
	if ms < 1 then
		raise exception 'timeout % is not positive', timeout using errcode = '22023';
	end if;
	return ms;
end
$$;

-- Take a unique key for a job. Null: it is the job's now; else who has it.
-- Waits for a transaction that is just taking the same key.
create function jobq.take_key(queue_id smallint, unique_ms bigint, key text, tenant text,
    job bigint) returns bigint
language plpgsql as $$
declare
	owner bigint;
	asked timestamptz;
	lasts interval := case when unique_ms >= 0 then jobq.ms(unique_ms) end;
begin
	if octet_length(key) > 1024 then
		raise exception 'the unique key has % bytes, 1024 are allowed', octet_length(key)
		using errcode = '54000', hint = 'Use a hash of it.';
	end if;
	loop
		asked := clock_timestamp();
		insert into jobq.uniq (queue, key, tenant, job, until)
		values (queue_id, take_key.key, take_key.tenant, take_key.job, asked + lasts)
		on conflict do nothing;
		if found then
			if lasts is not null and clock_timestamp() > asked + interval '100 ms' then
				-- its time begins now, and not before somebody was waited for
				update jobq.uniq u set until = clock_timestamp() + lasts
				where u.queue = queue_id and u.key = take_key.key and u.tenant is not distinct from take_key.tenant;
			end if;
			return null;
		end if;
		-- only read: a lock on the row would hold up the end of that job
		-- for as long as the caller's transaction lasts
		select u.job into owner from jobq.uniq u
		where u.queue = queue_id and u.key = take_key.key and u.tenant is not distinct from take_key.tenant
		    and (u.until is null or u.until > clock_timestamp());
		if found then
			return owner;
		end if;
		update jobq.uniq u set job = take_key.job, until = clock_timestamp() + lasts
		where u.queue = queue_id and u.key = take_key.key and u.tenant is not distinct from take_key.tenant
		    and u.until <= clock_timestamp();
		if found then
			return null;
		end if;		-- it ended in between: again
	end loop;
end
$$;

-- Has a job begun, or ended without that? One that was handed back has not.
create function jobq.has_begun(queue_id smallint, job bigint) returns boolean
language plpgsql stable as $$
begin
	return exists (select from jobq.attempt a where a.job = has_begun.job)
	    or not exists (select from jobq.job j where j.id = has_begun.job)
	    or exists (select from jobq.lease l where l.queue = queue_id and l.job = has_begun.job);
end
$$;

create function jobq.has_key(queue_id smallint, key text, job bigint) returns boolean
language plpgsql stable as $$
begin
	return exists (select from jobq.uniq u where u.queue = queue_id and u.key = has_key.key
	    and u.job = has_key.job and (u.until is null or u.until > clock_timestamp()));
end
$$;

-- A transaction that enqueued what was there already commits: do to that job
-- what the queue's unique_conflict says, unless it has begun meanwhile. This
-- late, because a claim may take the job for as long as the transaction lasts,
-- and neither may wait for the other.
--
-- If its key is free by now, since it was taken until the job starts, or the
-- job has ended, the other job is enqueued after all: no run has seen its data,
-- nor what else the transaction did.
create function jobq.change_made() returns trigger
language plpgsql as $$
declare
	q jobq.queue;
	made boolean;
begin
	delete from jobq.change c where c.id = new.id;
	select * into q from jobq.queue k where k.id = new.queue;
	if current_setting('transaction_isolation') <> 'read committed' then
		if q.unique_conflict = 'existing' then
			return null;	-- what has begun meanwhile is not to be seen
		end if;
		raise exception 'to % job %, which has the unique key, needs the isolation level READ COMMITTED',
		    q.unique_conflict, new.job using errcode = '25001',
		    hint = 'Enqueue in such a transaction, or set unique_conflict of the queue to existing.';
	end if;
	for i in 1 .. 10 loop
		made := jobq.change_job(q, new);
		exit when made is not null;
	end loop;
	if not made and not jobq.has_key(q.id, new.unique_key, new.job) then
		perform jobq.enqueue_job(q.name, new.type, new.data,
		    case when q.large_first then 99 - new.lane / 256 else new.lane / 256 end, new.run_at, null,
		    new.unique_key, new.tenant, new.max_attempts, jobq.ms(new.timeout_ms), new.tags, new.after, new.key);
	end if;
	return null;
end
$$;
create constraint trigger made after insert on jobq.change
deferrable initially deferred for each row execute function jobq.change_made();

-- Change a job that has not begun into c, or only its time. What it waits for
-- is kept from going on: its timer, its row of blocked, or the claims of its
-- queue. False: it has begun. Null: it went on in this moment, look again.
create function jobq.change_job(q jobq.queue, c jobq.change) returns boolean
language plpgsql as $$
declare
	j jobq.job;
	t jobq.timer;
	stays boolean;
begin
	if q.unique_conflict <> 'existing' then
		select * into t from jobq.timer k where k.job = c.job for update;
		if found then
			if t.attempt > 1 then
				return false;
			end if;
			j := jobq.change_row(q, c);
			if c.run_at > clock_timestamp() then
				update jobq.timer k set run_at = c.run_at, lane = j.lane where k.job = c.job;
				perform jobq.due_at(c.run_at);
			else
				delete from jobq.timer k where k.job = c.job;
				perform jobq.put_turn(j.id, q.id, j.lane, null, t.attempt);
				perform jobq.nudge(q.id, q.name);
			end if;
			return true;
		end if;
		delete from jobq.parked p where p.job = c.job and p.attempt = 1;
		if found then
			j := jobq.change_row(q, c);
			perform jobq.put_turn(j.id, q.id, j.lane, c.run_at, 1::smallint);
			perform jobq.nudge(q.id, q.name);
			return true;
		end if;
		perform from jobq.blocked b where b.job = c.job for update;
		if found then
			j := jobq.change_row(q, c);
			update jobq.blocked b set lane = j.lane, run_at = j.run_at where b.job = c.job;
			return true;
		end if;
	end if;

	stays := jobq.keeps_turn(q, c);
	if not stays then
		perform pg_advisory_xact_lock_shared(jobq.claim_lock(), -3);
	end if;
	perform pg_advisory_xact_lock_shared(jobq.claim_lock(), q.id);
	if jobq.has_begun(q.id, c.job) then
		return false;
	elsif stays and not jobq.keeps_turn(q, c) then
		return null;
	elsif not stays then
		delete from jobq.turn k where k.queue = q.id and k.job = c.job;
		if not found then
			return null;
		end if;
		j := jobq.change_row(q, c);
		perform jobq.put_turn(j.id, q.id, j.lane, c.run_at, 1::smallint);
		perform jobq.nudge(q.id, q.name);
	elsif q.unique_conflict = 'replace' then
		perform jobq.change_row(q, c);
	end if;
	return true;
end
$$;

-- Is a job that is ready as well served by the turn it has?
create function jobq.keeps_turn(q jobq.queue, c jobq.change) returns boolean
language sql stable as $$
	select q.unique_conflict = 'existing' or coalesce(c.run_at <= clock_timestamp(), true)
	    and not exists (select from jobq.timer t where t.job = c.job)
	    and not exists (select from jobq.blocked b where b.job = c.job)
	    and (q.unique_conflict = 'move' or exists (
	        select from jobq.job j where j.id = c.job and (j.lane, j.type, j.tenant, j.key)
	            is not distinct from (c.lane, c.type, c.tenant, c.key)))
$$;

-- The row of a job changed into c, or only its time; the caller has locked it.
create function jobq.change_row(q jobq.queue, c jobq.change) returns jobq.job
language plpgsql as $$
declare
	j jobq.job;
begin
	if q.unique_conflict = 'move' then
		update jobq.job k set run_at = coalesce(c.run_at, clock_timestamp())
		where k.id = c.job returning * into j;
	else
		update jobq.job k set lane = c.lane, max_attempts = c.max_attempts,
		    timeout_ms = c.timeout_ms, run_at = coalesce(c.run_at, clock_timestamp()),
		    type = c.type, data = c.data, tenant = c.tenant, tags = c.tags, key = c.key
		where k.id = c.job returning * into j;
	end if;
	return j;
end
$$;

-- Look at the jobs a new one is to wait for: null when all have completed
-- (nothing to wait for), else whether one of them ended otherwise.
create function jobq.check_after(parents bigint[]) returns boolean
language plpgsql as $$
declare
	p bigint;
	o smallint;
	waiting boolean := false;
begin
	if cardinality(parents) > 1000 then
		raise exception 'a job can wait for 1000 others, not %', cardinality(parents)
		using errcode = '54000';
	end if;
	foreach p in array parents loop
		o := jobq.final_outcome(p);
		if o is null and (p is null or p > (select last_value from jobq.job_id) or p < 1
		    or jobq.tenant() <> '') then	-- or it is another tenant's
			raise exception 'after: there is no job %', coalesce(p::text, 'NULL')
			using errcode = '22023', hint = 'Give ids that enqueue has returned.';
		elsif o in (3, 4, 6) then
			return true;
		elsif o = 0 then
			waiting := true;
		end if;		-- gone with its history: it had ended long ago
	end loop;
	return case when waiting then false end;
end
$$;

-- Enqueue a job, in the caller's transaction. Returns its id, or that of the
-- job which has the unique key; see change_made() for what becomes of that one.
--   priority      lower runs first; null: the queue's
--   run_at/delay  not before; one of them
--   after         ids of jobs that must have completed before; if one ends
--                 dead or cancelled, this one is cancelled
-- Errors: 22023 unknown queue, data no object, a value out of its range;
-- 54000 something too large. Nothing is stored then.
--
-- Most jobs have a type and data and nothing else: they go straight in. Each
-- function and operator here is looked up anew in every transaction, so there
-- are few: {} is in objects only, and who has long names pays for both checks. This
-- runs with the owner's rights and its caller's search path, since to set one
-- costs a tenth of it all: so everything here is named with its schema,
-- operators and types too.
create function jobq.enqueue(queue text, type text default '', data jsonb default '{}',
    priority int default null, run_at timestamptz default null, delay interval default null,
    unique_key text default null, tenant text default null, max_attempts int default null,
    timeout interval default null, tags text[] default null, after bigint[] default null,
    key text default null) returns bigint
language plpgsql as $$
declare
	queue_id smallint;
	my_lane smallint;
	room bigint;
	wake_bit bigint;
	me bigint;
begin
	if pg_catalog.num_nonnulls(priority, run_at, delay, unique_key, max_attempts, timeout, tags, after, key,
	    pg_catalog.current_setting('jobq.tenant', true)) OPERATOR(pg_catalog.=) 0 then
		select k.id, k.lane, k.max_payload, k.wake_bit into queue_id, my_lane, room, wake_bit
		from jobq.queue k where k.name OPERATOR(pg_catalog.=) enqueue.queue and k.plain;
		if data OPERATOR(pg_catalog.@>) '{}'
		    and pg_catalog.octet_length(data::pg_catalog.text) OPERATOR(pg_catalog.<=) room
		    and pg_catalog.octet_length(type OPERATOR(pg_catalog.||) coalesce(tenant, '')) OPERATOR(pg_catalog.<=) 255 then
			me := pg_catalog.nextval('jobq.job_id');
			with j as (	-- one statement: an insert of its own costs a thirtieth more
				insert into jobq.job (id, queue, lane, created_at, type, data, tenant)
				values (me, queue_id, my_lane, pg_catalog.clock_timestamp(),
				    enqueue.type, enqueue.data, enqueue.tenant)
			)
			insert into jobq.turn (job, slot, queue, lane, attempt)
			values (me, pg_catalog.pg_sequence_last_value('jobq.turn_slot'), queue_id, my_lane, 1);
			-- after the inserts, which gave us a transaction id: tick() counts on
			-- those of a later one to see who sleeps
			if pg_catalog.pg_sequence_last_value('jobq.sleepers') OPERATOR(pg_catalog.&) wake_bit
			    OPERATOR(pg_catalog.<>) 0 then
				perform pg_catalog.pg_notify('jobq', queue);
			end if;
			return me;
		end if;
	end if;
	return jobq.enqueue_job(queue, type, data, priority, run_at, delay, unique_key, tenant,
	    max_attempts, timeout, tags, after, key);
end
$$;

-- enqueue() for jobs of any kind. What a function would do for nothing is found
-- out before it is called: a call costs as much as ten operators, and one that
-- is given the queue's row as much as an insert.
create function jobq.enqueue_job(queue text, type text, data jsonb, priority int, run_at timestamptz,
    delay interval, unique_key text, tenant text, max_attempts int, timeout interval, tags text[],
    after bigint[], key text) returns bigint
language plpgsql as $$
declare
	q jobq.queue;
	me bigint;
	owner bigint;
	my_lane smallint;
	limit_ms bigint;
	broken boolean;		-- null: nothing to wait for
	at_once boolean := true;
begin
	select * into q from jobq.queue k where k.name = enqueue_job.queue;
	if not found then
		perform jobq.queue_get(queue);		-- which says what there is
	end if;
	if jobq.tenant() <> '' then
		tenant := jobq.own_tenant(tenant);
	end if;
	if (data @> '{}' and octet_length(data::text) <= q.max_payload and not q.sealed) is not true then
		perform jobq.check_data(q, data);
	end if;
	if octet_length(type) > 255 or num_nonnulls(tenant, key, tags) > 0 then
		perform jobq.check_words(type, tenant, key, tags);
	end if;
	if num_nonnulls(run_at, delay) > 0 then
		run_at := jobq.run_time(run_at, delay);
		at_once := run_at <= clock_timestamp();
	end if;
	if num_nonnulls(max_attempts, timeout) > 0 then
		limit_ms := jobq.attempt_limits(max_attempts, timeout);
	end if;
	my_lane := jobq.lane(q.lane, q.large_first, priority);
	if my_lane is null then
		raise exception 'priority % is not in 0 … 99', priority using errcode = '22023',
		    hint = 'Lower runs first: critical 1, high 3, normal 5, low 8, very_low 10.';
	end if;
	if not q.plain then
		if unique_key is null and q.unique_path <> '' then
			unique_key := jobq.part_of(q.unique_path, data, tenant);
		end if;
		if key is null and q.key_path <> '' then
			key := left(jobq.part_of(q.key_path, data, tenant), 255);
		end if;
		if q.fair_path <> '' then
			my_lane := my_lane + jobq.share_of(q, jobq.part_of(q.fair_path, data, tenant));
		end if;
	end if;
	if key is not null and not q.keyed then
		update jobq.queue k set keyed = true where k.id = q.id and not k.keyed;
	end if;

	me := nextval('jobq.job_id');
	if unique_key is not null then
		loop
			owner := jobq.take_key(q.id, q.unique_ms, unique_key, tenant, me);
			exit when owner is null;
			if jobq.has_begun(q.id, owner) then
				if jobq.has_key(q.id, unique_key, owner) then
					return owner;
				end if;
				continue;	-- it was free from then on
			end if;
			if q.unique_conflict <> 'existing' or q.unique_ms = -2 then
				insert into jobq.change (id, queue, lane, max_attempts, timeout_ms, created_at,
				    run_at, type, data, tenant, tags, unique_key, key, after, job)
				values (me, q.id, my_lane, enqueue_job.max_attempts, limit_ms,
				    clock_timestamp(), enqueue_job.run_at, coalesce(enqueue_job.type, ''), enqueue_job.data,
				    enqueue_job.tenant, enqueue_job.tags, enqueue_job.unique_key, enqueue_job.key,
				    enqueue_job.after, owner);
			end if;
			return owner;
		end loop;
	end if;
	if after is not null then
		broken := jobq.check_after(after);
		at_once := at_once and broken is null;
		after := nullif(after, '{}');
	end if;
	insert into jobq.job (id, queue, lane, max_attempts, timeout_ms, created_at,
	    run_at, type, data, tenant, tags, unique_key, key, after)
	values (me, q.id, my_lane, enqueue_job.max_attempts, limit_ms,
	    clock_timestamp(), enqueue_job.run_at, coalesce(enqueue_job.type, ''), enqueue_job.data,
	    enqueue_job.tenant, enqueue_job.tags, enqueue_job.unique_key, enqueue_job.key,
	    enqueue_job.after);
	if at_once then
		insert into jobq.turn (job, slot, queue, lane, attempt, key)
		values (me, jobq.fact('jobq.turn_slot'), q.id, my_lane, 1, coalesce(key, case when q.keyed then '' end));
		if jobq.fact('jobq.sleepers') & q.wake_bit <> 0 then
			perform pg_notify('jobq', queue);
		end if;
		return me;
	end if;
	if broken is not null then
		-- a parent that ends while this transaction is open does not see
		-- these rows: sweep() finds them
		insert into jobq.blocked (job, queue, lane, run_at, waits_for)
		values (me, q.id, my_lane, enqueue_job.run_at, enqueue_job.after);
		insert into jobq.waits (parent, job)
		select distinct p, me from unnest(enqueue_job.after) p;
		if broken then
			perform jobq.settle(after);
		end if;
	else
		insert into jobq.timer (job, run_at, queue, lane, attempt)
		values (me, enqueue_job.run_at, q.id, my_lane, 1);
		perform jobq.due_at(run_at);
	end if;
	return me;
end
$$;

-- Enqueue many jobs of a queue: an array of objects whose members are
-- enqueue()'s arguments. All or none; returns the ids in order.
--
-- Jobs of which none asks for more than a lane and a key go in together, by one
-- statement; else each goes by itself, which is also how errors are found. (To
-- plan that statement for each call would take as long as a batch of ten.)
create function jobq.enqueue_many(queue text, jobs jsonb) returns setof bigint
language plpgsql
set plan_cache_mode = force_generic_plan as $$
declare
	q jobq.queue := jobq.queue_get(queue);
	-- to read a variable costs half of what a record's field does, for each job
	queue_id smallint := q.id;
	room bigint := q.max_payload;
	key_path text := nullif(q.key_path, '');
	no_key text := case when q.keyed then '' end;
	my_lane smallint := q.lane;
	large_first boolean := q.large_first;
	shares jsonb;
	j jsonb;
	n int := 0;
begin
	if jobs is null or jsonb_typeof(jobs) <> 'array' then
		raise exception 'jobs is no array' using errcode = '22023',
		    hint = 'Give [{"type": …, "data": {…}}, …].';
	end if;
	if jobq.tenant() <> '' then
		select coalesce(jsonb_agg(case when jsonb_typeof(e.value) = 'object' then e.value || jsonb_build_object(
		    'tenant', jobq.own_tenant(e.value ->> 'tenant')) else e.value end order by e.n), '[]') into jobs
		from jsonb_array_elements(jobs) with ordinality e(value, n);
	end if;
	if q.unique_path = '' and not q.sealed then
		if q.fair_path <> '' then
			select jsonb_object_agg(v.value, jobq.share_of(q, v.value)) into shares
			from (select distinct jobq.part_of(q.fair_path, e -> 'data', e ->> 'tenant') as value
			    from jsonb_array_elements(jobs) e) v
			where v.value is not null;
		end if;
		return query
		with e as materialized (
			select nextval('jobq.job_id') as id, coalesce(e.type, '') as type,
			    coalesce(e.data, '{}') as data, e.tenant,
			    coalesce(e.key, case when key_path is not null and e.plain then
			        left(jobq.part_of(key_path, e.data, e.tenant), 255) end) as key,
			    case when e.plain then jobq.lane(my_lane, large_first, e.priority::int)
			        + case when shares is null then 0 else coalesce((shares ->> jobq.part_of(q.fair_path, e.data, e.tenant))::int, 0) end end as lane
			from (
				-- plain: enqueue() would take it, and it asks for nothing else
				select e.*, coalesce(
				    (e.rest is null or e.rest - '{priority,tenant}'::text[] - case when q.keyed then 'key' else '' end = '{}'
				        and coalesce(e.priority ~ '^[0-9]{1,2}$', true)
				        and coalesce(octet_length(e.tenant) <= 255, true)
				        and coalesce(octet_length(e.key) <= 255, true))
				    and coalesce(e.data @> '{}' and octet_length(e.data::text) <= room, e.data is null)
				    and coalesce(octet_length(e.type) <= 255, true), false) as plain
				from (
					select e.type, e.data, e.rest, e.rest ->> 'priority' as priority,
					    e.rest ->> 'tenant' as tenant, e.rest ->> 'key' as key
					from (
						select e ->> 'type' as type, e -> 'data' as data,
						    case when e @> '{}' then nullif(e - '{type,data}'::text[], '{}') else '[]' end as rest
						from jsonb_array_elements(jobs) e offset 0	-- each is looked into once
					) e offset 0
				) e offset 0
			) e
		), every as materialized (
			select count(e.lane) = count(*) as plain from e
		), i as (
			insert into jobq.job (id, queue, lane, created_at, type, data, tenant, key)
			select e.id, queue_id, e.lane, clock_timestamp(), e.type, e.data, e.tenant, e.key from e
			where (select plain from every)
		)
		insert into jobq.turn (job, slot, queue, lane, attempt, key)
		select e.id, k.last_value, queue_id, e.lane, 1, coalesce(e.key, no_key)
		from jobq.turn_slot k, e
		where (select plain from every)
		returning job;
		if found then
			perform jobq.nudge(q.id, q.name);
			return;
		end if;
	end if;
	for j in select value from jsonb_array_elements(jobs) loop
		n := n + 1;
		return next jobq.enqueue_object(queue, j, format('job %s', n));
	end loop;
end
$$;

-- Enqueue one job whose arguments are the members of an object; what: how
-- errors call it.
create function jobq.enqueue_object(queue text, j jsonb, what text) returns bigint
language plpgsql as $$
declare
	odd text;
begin
	if jsonb_typeof(j) <> 'object' then
		raise exception '% is no object', what using errcode = '22023';
	end if;
	select k into odd from jsonb_object_keys(j) k
	where k <> all ('{type,data,priority,run_at,delay,unique_key,tenant,max_attempts,timeout,tags,after,key}')
	limit 1;
	if found then
		raise exception '% has an unknown member "%"', what, left(odd, 63) using errcode = '22023',
		    hint = 'Members are type, data, priority, run_at, delay, unique_key, tenant, max_attempts, timeout, tags, after, key.';
	end if;
	return jobq.enqueue(queue,
	    type => coalesce(j ->> 'type', ''),
	    data => case when j ? 'data' then j -> 'data' else '{}' end,
	    priority => (j ->> 'priority')::int,
	    run_at => (j ->> 'run_at')::timestamptz,
	    delay => (j ->> 'delay')::interval,
	    unique_key => j ->> 'unique_key',
	    tenant => j ->> 'tenant',
	    max_attempts => (j ->> 'max_attempts')::int,
	    timeout => (j ->> 'timeout')::interval,
	    tags => jobq.texts(j -> 'tags'),
	    after => jobq.texts(j -> 'after')::bigint[],
	    key => j ->> 'key');
end
$$;

-- The elements of a JSON array as texts; null for null.
create function jobq.texts(a jsonb) returns text[]
language plpgsql immutable as $$
begin
	if a is null or jsonb_typeof(a) = 'null' then
		return null;
	elsif jsonb_typeof(a) <> 'array' then
		raise exception 'tags and after are arrays' using errcode = '22023';
	end if;
	return array(select jsonb_array_elements_text(a));
end
$$;
