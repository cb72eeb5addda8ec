-- Schedules made at run time: what a definition may say. A scheduler reads it by
-- the code that reads the configuration; what that would not take is refused here.

-- What is wrong with a cron expression; null: nothing. The twin of
-- core/cron.c, which knows what it means; t/516 compares the two.
create function jobq.cron_error(cron text) returns text
language plpgsql immutable as $$
declare
	names constant text[] := '{second,minute,hour,day of month,month,day of week}';
	lowest constant int[] := '{0,0,0,1,1,0}';
	highest constant int[] := '{59,59,23,31,12,7}';
	months constant text := 'jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec';
	days constant text := 'sun|mon|tue|wed|thu|fri|sat';
	fields text[];
	words text[];
	item text;
	value text;
	m text[];
	low int;
	high int;
	k int;
begin
	if octet_length(cron) > 1024 then
		return 'a cron expression has at most 1024 bytes';
	elsif cron ~ '[^ -~\t]' then
		return 'there is a character that no cron expression has';
	end if;
	cron := lower(btrim(cron, E' \t'));
	if cron ~ '^@' then
		return case when cron not in ('@yearly', '@annually', '@monthly', '@weekly', '@daily', '@midnight', '@hourly')
		    then format('%s: no such word; try one like @daily', left(cron, 20)) end;
	end if;
	fields := regexp_split_to_array(cron, '[ \t]+');
	if cardinality(fields) not in (5, 6) then
		return 'a cron expression has 5 fields (minute hour day-of-month month day-of-week), or 6 with the second first';
	end if;
	for i in 1 .. cardinality(fields) loop
		k := 6 - cardinality(fields) + i;
		words := string_to_array(case k when 5 then months when 6 then days end, '|');
		value := concat_ws('|', '[0-9]{1,4}', array_to_string(words, '|'));
		foreach item in array string_to_array(fields[i], ',') loop
			continue when k = 4 and item in ('l', 'lw');
			m := regexp_match(item, format('^(?:[*?]|(%s)(?:-(%1$s))?)(?:/([0-9]{1,4})|([lw])|#([0-9]{1,4}))?$', value));
			if m is null or m[3]::int = 0 or coalesce(m[4], m[5]) is not null and (m[1] is null or m[2] is not null)
			    or m[4] = 'w' and k <> 4 or coalesce(nullif(m[4], 'w'), m[5]) is not null and k <> 6
			    or m[5]::int not between 1 and 5 then
				return format('%s "%s" cannot be read', names[k], item);
			end if;
			low := coalesce(array_position(words, m[1]) - 1 + lowest[k], m[1]::int);
			high := coalesce(array_position(words, m[2]) - 1 + lowest[k], m[2]::int, low);
			if least(low, high) < lowest[k] or greatest(low, high) > highest[k] then
				return format('%s "%s" is not in %s-%s', names[k], item, lowest[k], highest[k]);
			end if;
			-- Sunday begins the week and ends it
			if k = 6 and high = 0 then
				high := 7;
			end if;
			if k = 6 and low = 7 and m[2] is not null and high < 7 then
				low := 0;
			end if;
			if low > high then
				return format('%s "%s": the range runs backwards; write it as two, like 22-23,0-2', names[k], item);
			end if;
		end loop;
	end loop;
	return null;
end
$$;

-- A duration of the configuration, like 30s or 1d, in milliseconds; null: it is none.
create function jobq.duration_ms(text text) returns bigint
language sql immutable as $$
	select case when n <= 36525 * 86400000::numeric then n::bigint end
	from (select case when duration_ms.text = '0' then 0 else m[1]::numeric * case m[2] when 'ms' then 1 when 's' then 1000
	        when 'm' then 60000 when 'h' then 3600000 when 'd' then 86400000 when 'w' then 604800000 end end
	    from (select regexp_match(duration_ms.text, '^([0-9]+)(ms|s|m|h|d|w)$')) r(m)) d(n)
$$;

-- An instant like 2026-12-01T10:00:00Z as such in UTC, a local time of the zone
-- when it has no offset; null: it is none.
create function jobq.instant_text(text text, zone text) returns text
language plpgsql stable as $$
declare
	t timestamptz;
begin
	if text !~ '^[0-9]{4}(-[0-9]{2}){2}[Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?([Zz]|[+-][0-9]{2}:[0-5][0-9])?$' then
		return null;
	end if;
	t := case when text ~ '([Zz]|[+-][0-9]{2}:[0-9]{2})$' then upper(text)::timestamptz
	    else upper(text)::timestamp at time zone zone end;
	return case when t > 'epoch' then to_char(t at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') end;
exception when datetime_field_overflow or invalid_datetime_format then
	return null;
end
$$;

-- A priority as schedules name it: a number, or a name of the usual scale.
create function jobq.priority_number(q jobq.queue, text text) returns int
language plpgsql immutable as $$
declare
	n int := case text when 'critical' then 1 when 'high' then 3 when 'normal' then 5 when 'low' then 8
	    when 'very_low' then 10 end;
begin
	if n is not null then
		return case when q.large_first then 99 - n else n end;
	elsif text ~ '^[0-9]{1,2}$' then
		return text::int;
	elsif text is null then
		return null;
	end if;
	raise exception 'priority "%" is neither in 0 … 99 nor critical, high, normal, low or very_low', left(text, 63)
	using errcode = '22023';
end
$$;

-- Check a definition. Returns it as it is kept: without what is null, with its
-- zone, and instants in UTC.
create function jobq.schedule_check(name text, definition jsonb) returns jsonb
language plpgsql as $$
declare
	kinds constant jsonb := '{"cron": "string", "every": "string", "at": "string", "timezone": "string",
	    "dst": "string", "starts": "string", "ends": "string", "queue": "string", "type": "string",
	    "data": "object", "priority": "string or number", "tenant": "string", "enabled": "boolean",
	    "description": "string", "overlap": "string", "catch_up": "string", "catch_up_window": "string",
	    "jitter": "string", "only_if": "string", "for_each": "string", "requires_env": "array"}';
	words constant jsonb := '{"overlap": ["allow", "skip", "replace"], "catch_up": ["none", "last", "all"],
	    "dst": ["standard", "skip", "clock"]}';
	longest constant jsonb := '{"every": 366, "catch_up_window": 366, "jitter": 1}';	-- in days
	zone text;
	d jsonb;
	k text;
	v text;
	bad text;
	tip text := 'See schedules in jobqd.yml(5).';
begin
	if jsonb_typeof(definition) is distinct from 'object' then
		raise exception 'schedule "%": the definition is no object', name using errcode = '22023',
		    hint = 'Give one like {"every": "5m", "queue": "work"}.';
	elsif octet_length((definition - 'data')::text) > 65536 then
		raise exception 'schedule "%": the definition has more than 65536 bytes', name using errcode = '54000';
	end if;
	select coalesce(jsonb_object_agg(e.key, e.value), '{}') into d from jsonb_each(definition) e
	where e.value <> 'null' and e.value <> '""';
	zone := coalesce(d ->> 'timezone', 'UTC');
	for k, v in select e.key, e.value from jsonb_each_text(d) e loop
		if not kinds ? k then
			bad := format('unknown key "%s"', left(k, 63));
			tip := 'Keys are ' || (select string_agg(e, ', ') from jsonb_object_keys(kinds) e) || '.';
		elsif strpos(kinds ->> k, jsonb_typeof(d -> k)) = 0 then
			bad := format('%s is no %s', k, kinds ->> k);
		elsif jsonb_typeof(d -> k) = 'string' and v ~ '[\u007f-\u009f\ufeff\ufffe\uffff]' then
			bad := format('%s has a control character', k);
		elsif words ? k and not words -> k ? v then
			bad := format('%s "%s" is none of %s', k, left(v, 63), (select string_agg(w, ', ') from jsonb_array_elements_text(words -> k) w));
		elsif longest ? k and coalesce(jobq.duration_ms(v) not between case k when 'every' then 1000 else 0 end
		    and (longest ->> k)::int * 86400000::bigint, true) then
			bad := format('%s "%s" is no duration such as 30s, 5m or 1h, of at most %sd%s', k, left(v, 63), longest ->> k,
			    case k when 'every' then ' and at least 1s' else '' end);
		elsif k = 'cron' and jobq.cron_error(v) is not null then
			bad := format('cron "%s": %s', left(v, 100), jobq.cron_error(v));
		elsif k = 'timezone' and v <> 'UTC' and not exists (select from pg_timezone_names z where z.name = v) then
			bad := format('there is no time zone "%s"', left(v, 63));
			tip := 'Write one like UTC or Europe/Berlin; the view pg_timezone_names has all.';
		elsif k in ('type', 'tenant') and octet_length(v) > 255 then
			bad := format('%s has more than 255 bytes', k);
		elsif k = 'requires_env' and exists (select from jsonb_array_elements(d -> k) e
		    where jsonb_typeof(e) <> 'string' or e = '""') then
			bad := 'requires_env is no array of names';
		end if;
		exit when bad is not null;
	end loop;
	foreach k in array '{at,starts,ends}'::text[] loop
		exit when bad is not null;
		if d ? k then
			v := jobq.instant_text(d ->> k, zone);
			if v is null then
				bad := format('%s "%s" is no instant such as 2026-12-01T10:00:00Z', k, left(d ->> k, 63));
			end if;
			d := jsonb_set(d, array[k], to_jsonb(coalesce(v, '')));
		end if;
	end loop;
	if bad is not null then
		null;
	elsif num_nonnulls(d -> 'cron', d -> 'every', d -> 'at') <> 1 then
		bad := 'one of cron, every and at is needed, and no more';
	elsif not d ? 'queue' then
		bad := 'there is no queue';
	elsif d ->> 'ends' <= d ->> 'starts' then
		bad := 'it ends before it starts';
	elsif d ?| '{only_if,for_each}' and not pg_has_role(session_user, current_user, 'usage') then
		raise exception 'schedule "%": its SQL would run as %', name, current_user using errcode = '42501',
		    hint = format('Only who has the role %s may give only_if and for_each; or put the schedule in the configuration file.', current_user);
	else
		bad := coalesce('only_if: ' || jobq.sql_error(jobq.condition_sql(d ->> 'only_if')),
		    'for_each: ' || jobq.sql_error(jobq.rows_sql(d ->> 'for_each')));
	end if;
	if bad is not null then
		raise exception 'schedule "%": %', name, bad using errcode = '22023', hint = tip;
	end if;
	return d || jsonb_build_object('timezone', zone);
end
$$;

-- Why a statement cannot be run; null: it can, as far as that is known before.
create function jobq.sql_error(sql text) returns text
language plpgsql
set search_path from current as $$
begin
	if sql is not null then
		execute 'explain ' || sql;
	end if;
	return null;
exception when others then
	return sqlerrm;
end
$$;

-- What of a definition says when it fires.
create function jobq.schedule_times(definition jsonb) returns jsonb
language sql immutable as $$
	select jsonb_object_agg(e.key, e.value) from jsonb_each(definition) e
	where e.key in ('cron', 'every', 'at', 'timezone', 'dst', 'starts', 'ends', 'enabled')
$$;

-- Make a schedule, or replace the one of the name that was made so. definition:
-- an object of the keys that a schedule of the configuration has; what is not
-- said is its default, whatever it was before. One that says other times than
-- before begins now, and has missed nothing.
create function jobq.schedule_put(name text, definition jsonb) returns void
language plpgsql as $$
declare
	d jsonb;
	old jobq.schedule;
	q jobq.queue;
	every interval;
	next timestamptz;
	same boolean;
	change bigint;
begin
	perform jobq.need_all_tenants();
	if name is null or name !~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$' then
		raise exception '"%" is no name of a schedule', coalesce(left(name, 100), 'NULL') using errcode = '22023',
		    hint = 'A name is 1 to 63 letters, digits and _ . -, the first a letter or digit.';
	end if;
	d := jobq.schedule_check(name, definition);
	q := jobq.queue_get(d ->> 'queue');
	perform jobq.check_data(q, coalesce(d -> 'data', '{}'));
	select * into old from jobq.schedule k where k.name = schedule_put.name for update;
	if old.definition = d then
		return;
	end if;
	same := coalesce(jobq.schedule_times(old.definition) = jobq.schedule_times(d), false);
	-- of what is not as simple the schedulers tell
	if not d ?| '{starts,requires_env}' then
		every := jobq.ms(jobq.duration_ms(d ->> 'every'));
		next := coalesce((d ->> 'at')::timestamptz, date_bin(every, clock_timestamp(), 'epoch') + every);
	end if;
	change := jobq.schedules_changed();
	insert into jobq.schedule as s (name, origin, definition, revision, queue, type, data, priority, tenant, spec,
	    timezone, overlap, only_if, for_each, jitter_ms, description, enabled, next_run)
	values (schedule_put.name, 'sql', d, change, q.id, coalesce(d ->> 'type', ''), coalesce(d -> 'data', '{}'),
	    jobq.priority_number(q, d ->> 'priority'), d ->> 'tenant', coalesce(d ->> 'cron', d ->> 'every', d ->> 'at'),
	    d ->> 'timezone', coalesce(d ->> 'overlap', 'allow'), coalesce(d ->> 'only_if', ''),
	    coalesce(d ->> 'for_each', ''), coalesce(jobq.duration_ms(d ->> 'jitter'), 0),
	    coalesce(d ->> 'description', ''), coalesce((d ->> 'enabled')::boolean, true),
	    case when next > clock_timestamp() then next end)
	on conflict on constraint schedule_pkey do update
	set origin = 'sql', definition = excluded.definition, revision = excluded.revision, queue = excluded.queue,
	    type = excluded.type, data = excluded.data, priority = excluded.priority, tenant = excluded.tenant,
	    spec = excluded.spec, timezone = excluded.timezone, overlap = excluded.overlap,
	    only_if = excluded.only_if, for_each = excluded.for_each, jitter_ms = excluded.jitter_ms,
	    description = excluded.description, enabled = excluded.enabled, error = null,
	    changed_at = clock_timestamp(), next_run = case when same then s.next_run else excluded.next_run end,
	    last_nominal = case when same then s.last_nominal else greatest(s.last_nominal, clock_timestamp()) end
	where s.origin = 'sql' or not (select v.served from jobq.schedules v where v.name = s.name);
	if not found then
		raise exception 'schedule "%" is one of the configuration', name using errcode = '55006',
		    hint = 'Change it there, or give this one another name.';
	end if;
	perform jobq.audit_add('put', 'schedule ' || name, '', old.definition, d);
end
$$;

-- Remove a schedule that was made at run time, or that is in no configuration
-- any more. Its jobs stay.
create function jobq.schedule_remove(name text) returns void
language plpgsql as $$
declare
	s jobq.schedule := jobq.schedule_get(name);
	was jsonb := coalesce(s.definition, jobq.configured() -> ('schedule ' || name));
begin
	perform jobq.need_all_tenants();
	if exists (select from jobq.schedules v where v.name = schedule_remove.name and v.origin = 'file' and v.served) then
		raise exception 'schedule "%" is one of the configuration', name using errcode = '55006',
		    hint = 'Take it out there; to stop it for a while, pause it.';
	end if;
	delete from jobq.schedule k where k.name = schedule_remove.name;
	perform jobq.schedules_changed();
	perform jobq.audit_add('remove', 'schedule ' || name, '', was);
end
$$;
