-- Templates: {{path}} in the data of a workflow's steps. The grammar is that
-- of core/template.h: between the braces, without the blanks around it, a path
-- of keys with dots between them, none empty, of at most 256 bytes; in an
-- array a key is an index from 0. Only paths, nothing is executed, and what
-- was filled in is not looked at again. A single brace, or }} by itself,
-- stands for itself.
--
-- Here a value that is missing is null, or nothing within a longer text; in
-- the texts of handlers (core/template) it is an error.

-- The path at the head of a text that begins with {{, and what follows }}.
create function jobq.template_head(template text, out path text, out rest text)
language plpgsql immutable parallel safe as $$
declare
	stop int := strpos(substr(template, 3), '}}');
begin
	path := substr(template, 3, greatest(stop - 1, 0));
	if stop = 0 or octet_length(path) > 256 then
		raise exception '"{{" without "}}" within 256 bytes' using errcode = '22023',
		    hint = 'A template is like {{data.name}}.';
	end if;
	rest := substr(template, stop + 4);
	path := btrim(path, E' \t');
end
$$;

-- The paths in all texts of a template.
create function jobq.template_paths(template jsonb) returns setof text
language plpgsql immutable as $$
declare
	s text;
	h record;
begin
	for s in select t.v #>> '{}' from jsonb_path_query(template, 'strict $.**') t(v)
	    where jsonb_typeof(t.v) = 'string' and position('{{' in t.v #>> '{}') > 0
	loop
		while position('{{' in s) > 0 loop
			select * into h from jobq.template_head(substr(s, position('{{' in s)));
			return next h.path;
			s := h.rest;
		end loop;
	end loop;
end
$$;

-- What a path finds, null when there is nothing. context: an object of what a
-- path may begin with; local: more of that, which goes first.
create function jobq.template_value(path text, context jsonb, local jsonb default '{}') returns jsonb
language plpgsql immutable parallel safe as $$
declare
	keys text[] := string_to_array(path, '.');
	v jsonb := case when local ? keys[1] then local else context end;
	k text;
begin
	if '' = any (keys) then
		raise exception '{{%}}: an empty name beside a dot', path using errcode = '22023',
		    hint = 'A template is like {{data.name}}.';
	elsif keys = '{}' or not v ? keys[1] then
		raise exception '{{%}}: nothing is called "%" here', path, coalesce(keys[1], '')
		using errcode = '22023', hint = format('A path begins with one of: %s.',
		    (select string_agg(o, ', ' order by o) from jsonb_object_keys(context || local) o));
	end if;
	foreach k in array keys loop
		v := case when jsonb_typeof(v) = 'object' then v -> k
		    when jsonb_typeof(v) = 'array' and k ~ '^[0-9]{1,9}$' then v -> k::int end;
		exit when v is null;
	end loop;
	return v;
end
$$;

-- Fill in a template: a text that is nothing but one path becomes the value
-- itself, of its own type; within a longer text the value stands as text.
create function jobq.fill(template jsonb, context jsonb, local jsonb default '{}') returns jsonb
language plpgsql immutable parallel safe as $$
declare
	s text;
	done text := '';
	h record;
begin
	case jsonb_typeof(template)
	when 'object' then
		return (select coalesce(jsonb_object_agg(e.key, jobq.fill(e.value, context, local)), '{}')
		    from jsonb_each(template) e);
	when 'array' then
		return (select coalesce(jsonb_agg(jobq.fill(e.value, context, local) order by e.n), '[]')
		    from jsonb_array_elements(template) with ordinality e(value, n));
	when 'string' then
		s := template #>> '{}';
	else
		return template;
	end case;
	if left(ltrim(s, E' \t\r\n'), 2) = '{{' then
		select * into h from jobq.template_head(ltrim(s, E' \t\r\n'));
		if btrim(h.rest, E' \t\r\n') = '' then
			return coalesce(jobq.template_value(h.path, context, local), 'null');
		end if;
	end if;
	while position('{{' in s) > 0 loop
		select * into h from jobq.template_head(substr(s, position('{{' in s)));
		done := done || left(s, position('{{' in s) - 1)
		    || coalesce(jobq.template_value(h.path, context, local) #>> '{}', '');
		s := h.rest;
		if octet_length(done) > 1048576 then
			raise exception 'a text with its replacements is longer than 1048576 bytes'
			using errcode = '54000';
		end if;
	end loop;
	return to_jsonb(done || s);
end
$$;

-- A path as it stands by itself, in `if` and `for_each`: braces are allowed.
create function jobq.bare_path(path text) returns text
language sql immutable parallel safe as $$
	select btrim(path, E'{} \t')
$$;

-- Is what a path names there, and not null, false, 0, '' or empty? '!path': not so.
create function jobq.truth(condition text, context jsonb) returns boolean
language sql immutable parallel safe as $$
	select (jobq.bare_path(condition) like '!%') <>
	    (coalesce(jobq.template_value(jobq.bare_path(ltrim(jobq.bare_path(condition), '!')), context), 'null')
	        not in ('null', 'false', '0', '""', '[]', '{}'))
$$;

-- An instant as {{now}} shows it.
create function jobq.rfc3339(t timestamptz) returns text
language sql stable parallel safe as $$
	select to_char(t at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
$$;
