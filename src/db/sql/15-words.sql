-- The words of the domain, and small helpers everything else uses.

-- The name of an outcome, of a class ('' for none).
create function jobq.outcome_name(o smallint) returns text
language sql immutable parallel safe as $$
	select (array['completed', 'failed', 'dead', 'cancelled', 'lost', 'deleted'])[o]
$$;

create function jobq.class_name(c smallint) returns text
language sql immutable parallel safe as $$
	select coalesce((array['error', 'validation', 'rate_limit', 'auth',
	    'network', 'timeout', 'resource', 'crash', 'lost'])[c], '')
$$;

-- Milliseconds as an interval; microseconds since the epoch and back.
create function jobq.ms(n bigint) returns interval
language sql immutable parallel safe as $$
	select n * interval '1 millisecond'
$$;

create function jobq.us(t timestamptz) returns bigint
language sql stable parallel safe as $$
	select (extract(epoch from t) * 1000000)::bigint
$$;

create function jobq.at_us(us bigint) returns timestamptz
language sql immutable parallel safe as $$
	select timestamptz 'epoch' + us * interval '1 microsecond'
$$;

-- Who acts, for the audit: what the session says (set jobq.actor), else its role.
create function jobq.actor() returns text
language sql stable as $$
	select coalesce(nullif(current_setting('jobq.actor', true), ''), session_user)
$$;

create function jobq.audit_add(action text, target text, detail text default '')
returns void language sql as $$
	insert into jobq.audit (actor, action, target, detail)
	values (jobq.actor(), action, target, coalesce(detail, ''))
$$;

-- What a dotted path finds below an object: 'data.user.id' in {"data":…}.
-- Null when there is nothing.
create function jobq.lookup(context jsonb, path text) returns jsonb
language sql immutable parallel safe as $$
	select context #> string_to_array(btrim(path), '.')
$$;

-- Reasons that two failures are one: type, class, and the error with its
-- numbers, quoted parts and addresses taken out.
create function jobq.fingerprint(type text, class smallint, error text) returns text
language sql immutable parallel safe as $$
	select left(md5(type || '/' || class || '/' || regexp_replace(
	    left(coalesce(error, ''), 400),
	    '"[^"]*"|''[^'']*''|[0-9a-f]{8,}|[0-9]+', '#', 'g')), 12)
$$;

-- The row of a queue; an unknown name is an error that shows the known ones.
create function jobq.queue_get(queue text) returns jobq.queue
language plpgsql stable as $$
declare
	q jobq.queue;
	names text;
begin
	select * into q from jobq.queue k where k.name = queue_get.queue;
	if found then
		return q;
	end if;
	select string_agg(k.name, ', ' order by k.name) into names
	from (select name from jobq.queue order by name limit 20) k;
	raise exception 'there is no queue "%"', coalesce(left(queue, 63), 'NULL')
	using errcode = '22023',
	    hint = case when names is null then 'No queue is registered yet: start jobqd or run jobqctl migrate.'
	        else format('The queues are: %s.', names) end;
end
$$;

-- How a job ended: 1 completed, 3 dead, 4 cancelled, 6 deleted; 0: it has not
-- yet; null: nothing is known of it any more (or it never was).
create function jobq.final_outcome(job bigint) returns smallint
language plpgsql stable as $$
declare
	o smallint;
begin
	select a.outcome into o from jobq.attempt a
	where a.job = final_outcome.job order by a.attempt desc limit 1;
	if o in (1, 3, 4, 6) then
		return o;
	elsif exists (select from jobq.job j where j.id = final_outcome.job) then
		return 0;
	end if;
	select h.outcome into o from jobq.history h
	where h.job = final_outcome.job order by h.attempt desc limit 1;
	return o;
end
$$;

-- The piece of five minutes that an instant is in.
create function jobq.five_minutes(t timestamptz) returns timestamptz
language sql immutable parallel safe as $$
	select date_bin('5 minutes', t, '2000-01-01 00:00 UTC')
$$;
