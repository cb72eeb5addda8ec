-- What the functions behind the routes of the HTTP API share. They are the
-- api process's alone and return JSON; lists are {"items": […], "next_cursor": …}.
-- What they raise becomes a problem document: P0002 is a 404, class 55 and
-- 23505 a 409, class 22 a 422 that names the column as the field.

-- Whom the caller is bound to; null: nobody. What is fenced (18-tenants) is not
-- asked for here again.
create function jobq.api_tenant() returns text
language sql stable as $$
	select nullif(jobq.tenant(), '')
$$;

-- Look at what is of all tenants, and be bound as before again: for what says
-- nothing of anybody, like how far to look back. Returns whom it was bound to.
-- (The "set" of a function would need a right that the owner has not.)
create function jobq.api_unbind() returns text
language plpgsql stable as $$
declare
	mine text := jobq.api_tenant();
begin
	perform set_config('jobq.tenant', '', true);
	return mine;
end
$$;

create function jobq.api_bind(mine text) returns void
language sql stable as $$
	select set_config('jobq.tenant', coalesce(mine, ''), true)
$$;

create function jobq.api_refuse(code text, message text, hint text default '', field text default '') returns void
language plpgsql as $$
begin
	raise exception '%', message using errcode = code, hint = hint, column = field;
end
$$;

-- Where a list goes on, as text that nobody is to read; null: nowhere.
create function jobq.api_cursor(variadic place text[]) returns text
language sql immutable as $$
	select rtrim(translate(encode(convert_to(to_json(place)::text, 'UTF8'), 'base64'), E'+/\n', '-_'), '=')
	where place[1] is not null
$$;

-- The n places of such a text; null: none was given.
create function jobq.api_place(cursor text, n int) returns text[]
language plpgsql immutable as $$
declare
	place text[];
begin
	if cursor is null then
		return null;
	end if;
	select array_agg(e order by k) into place
	from json_array_elements_text(convert_from(decode(translate(cursor, '-_', '+/')
	    || repeat('=', -length(cursor) & 3), 'base64'), 'UTF8')::json) with ordinality t(e, k);
	if cardinality(place) is distinct from n then
		raise data_exception;
	end if;
	return place;
exception when data_exception then
	raise exception 'the cursor is none of this list' using errcode = '22023', column = 'cursor',
	    hint = 'Give next_cursor as it was answered, or begin without one.';
end
$$;

create function jobq.api_list(items json, next_cursor text default null) returns json
language sql immutable as $$
	select json_build_object('items', coalesce(items, '[]'), 'next_cursor', next_cursor)
$$;

-- The row of a queue that a path names.
create function jobq.api_queue_get(queue text) returns jobq.queue
language plpgsql stable as $$
declare
	tip text;
begin
	return jobq.queue_get(queue);
exception when invalid_parameter_value then
	get stacked diagnostics tip = pg_exception_hint;
	raise exception '%', sqlerrm using errcode = 'P0002', hint = tip;
end
$$;
