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

-- What the reason of a failure has in common with others of its kind: one
-- line of it, without what differs from job to job. What stands in quotes,
-- addresses, dates, ids, paths and numbers become #, and so does a list of
-- them. Of a trace the line that counts is the last one in Python, else the
-- first. Numbers that say what kind of failure it is, like the 404 of HTTP or
-- the status of a program, are put behind.
create function jobq.error_pattern(error text) returns text
language plpgsql immutable parallel safe
set standard_conforming_strings = on as $$	-- whatever who reads a view has set
declare
	line text := (array_remove(regexp_split_to_array(left(error, 4000), '\s*[\r\n]+\s*'), ''))[1];
	codes text;
	rule text[];
	rules constant text[] := array[
		-- quoted; an apostrophe inside a word is none
		['"(?:[^"\\]|\\.)*(?:"|$)|„[^“”]*[“”]|“[^”]*”|«[^»]*»|‘[^’]*’|`[^`'']*[`'']|(?<!\w)''[^'']*''(?!\w)', '#'],
		['\m[a-z][a-z0-9+.-]*://[^\s<>(){}\[\],;]+', '#'],
		['[a-z0-9._%+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)*', '#'],
		-- instants
		['\m\d{4}-\d\d-\d\d(?:[t ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?(?:z|utc|gmt|[+-]\d\d:?\d\d)\M)?)?', '#'],
		['\m(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? )?(?:\d{1,2} )?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]* \d{1,4}(?:,? \d{4})?(?: \d\d:\d\d(?::\d\d)?)?(?: ?(?:z|utc|gmt|[+-]\d{4})\M)?', '#'],
		['\m[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\M', '#'],
		-- of machines: IPv4, IPv6 and MAC, names
		['\m\d{1,3}(?:\.\d{1,3}){3}(?:[:/]\d+)?\M', '#'],
		['\[?(?:\m[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){1,6}:[0-9a-f]{1,4}|(?<![\w:])::[0-9a-f]{1,4}\M(?::\d+)?)(?:\.\d+){0,3}(?:%\w+)?(?:\]:\d+|\])?', '#'],
		['\m(?:[a-z0-9_-]+\.)+(?:com|net|org|edu|gov|info|io|dev|app|cloud|ai|eu|de|uk|fr|nl|ch|ca|jp|local|internal|lan|corp|test|example|invalid|localdomain)(?![\w(]|\.\w)(?::\d+)?|\mlocalhost\M(?::\d+)?', '#'],
		-- of files, with line and column
		['\m[a-z]:\\[^\s:*?"<>|,;]*(?::\d+){0,2}', '#'],
		['(?<![\w/#])(?:~|\.{1,2})?/[\w.@%+~=-]+(?:/[\w.@%+~=-]*)*(?::\d+){0,2}', '#'],
		['\m[\w.@-]+(?:/[\w.@-]+)*/[\w@-]*\.[a-z]\w*(?::\d+){0,2}|\m[\w.@-]+(?:/[\w.@-]+){2,}(?::\d+){0,2}', '#'],
		-- hexadecimal, and other ids that mix letters and digits
		['\m0x[0-9a-f]+\M|\m(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{6,}\M', '#'],
		['\m(?=[\w-]{12,})[a-z_-]*\d+[a-z_-]+\d[\w-]*', '#'],
		['\d+(?:[.,]\d+)*', '#'],
		['(?<![\w#])[-+]#', '#'],
		['#(?:\s*(?:[,;|]|and|or)\s*#)+', '#'],
		['\s+', ' ']
	];
begin
	if line like 'Traceback (most recent call last)%' then
		line := (regexp_match(rtrim(left(error, 4000), E' \t\r\n'), '[^\r\n]*$'))[1];
	end if;
	line := coalesce(left(line, 1000), '');
	select string_agg(concat(m[1], m[2], m[3]), ' ') into codes from (
		select regexp_matches(line, '\m(?:http(?:/[\d.]+)?|status|(?:exit|error|reply|response|return|status)[ _-]?(?:code|status)|code|signal|errno|smtp)["'']?[ :=(\[]{1,3}(\d{1,3})\M(?!\.\d)'
		    '|\msqlstate["'']?[ :=(\[]{1,3}(\w{5})\M|\m(ora-\d{5}|e\d{4,5})\M', 'gi')
		union all	-- the reply of a server
		select regexp_matches(line, '(?:^|: )([2-5]\d\d)(?=[ -](?:[A-Z]|[245]\.\d))', 'g')
	) c(m);
	-- an id of small and capital letters and digits
	line := lower(regexp_replace(line, '\m(?=\w*[a-z])(?=\w*[A-Z])(?=\w*\d)[\w-]{12,}', '#', 'g'));
	foreach rule slice 1 in array rules loop
		line := regexp_replace(line, rule[1], rule[2], 'g');
	end loop;
	return concat_ws(' ', btrim(left(line, 400)), lower(codes));
end
$$;

-- Reasons that two failures are one: type, class and what their errors have in
-- common.
create function jobq.fingerprint(type text, class smallint, error text) returns text
language sql immutable parallel safe as $$
	select left(md5(type || '/' || class || '/' || jobq.error_pattern(error)), 12)
$$;

-- Is the data an envelope, as jobqd.yml(5) describes it under ENCRYPTED JOBS? What is
-- in it only those know who have the key.
create function jobq.is_sealed(data jsonb) returns boolean
language sql immutable parallel safe as $$
	select data - '$enc' = '{}' and data #> '{$enc,v}' = '1' and data -> '$enc' ?& '{k,n,c}'
	    and (data -> '$enc') - '{v,k,n,c}'::text[] = '{}'
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
