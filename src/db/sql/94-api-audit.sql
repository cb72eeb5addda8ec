-- The audit for the HTTP API: the newest entries first.
create function jobq.api_audit(actor text, action text, target text, since timestamptz, until timestamptz,
    max int, cursor text) returns json
language plpgsql stable as $$
declare
	place text[] := jobq.api_place(cursor, 1);
	items json;
	n int;
	next text;
begin
	select json_agg(to_jsonb(k) || jsonb_build_object('hash', encode(k.hash, 'hex')) order by k.id desc), count(*),
	    jobq.api_cursor(min(k.id)::text)
	into items, n, next
	from (
		select a.* from jobq.audit a
		where (api_audit.actor is null or a.actor = api_audit.actor)
		    and (api_audit.action is null or a.action = api_audit.action)
		    and (api_audit.target is null or a.target = api_audit.target)
		    and (api_audit.since is null or a.at >= api_audit.since)
		    and (api_audit.until is null or a.at <= api_audit.until)
		    and (place is null or a.id < place[1]::bigint)
		order by a.id desc limit max
	) k;
	return jobq.api_list(items, case when n = max then next end);
end
$$;
