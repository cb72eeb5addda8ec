-- What each node runs: for "jobqctl diff".

create function jobq.running_hash(salt uuid, digest text) returns text
language sql immutable as $$
	select encode(sha256(convert_to(salt || digest, 'UTF8')), 'hex')
$$;

-- A node says what it was configured with: the configuration as "jobqd -T"
-- prints it, and digests, which know of secrets too. What is kept of a digest
-- is a hash with a salt, from which no secret can be looked up.
create function jobq.running_put(node text, config text, digests jsonb) returns void
language sql as $$
	with salt as materialized (select gen_random_uuid() as salt)
	insert into jobq.running as r (node, version, config, salt, digests)
	select n.id, n.version, running_put.config, s.salt,
	    (select jsonb_object_agg(d.key, jobq.running_hash(s.salt, d.value)) from jsonb_each_text(running_put.digests) d)
	from jobq.node n, salt s where n.name = running_put.node
	on conflict on constraint running_pkey do update
	set at = clock_timestamp(), version = excluded.version, config = excluded.config, salt = excluded.salt,
	    digests = excluded.digests
$$;

-- Which of these digests are those of what the node runs: names and true or
-- false, of those that it has, too. No row: it never told.
create function jobq.running_same(node text, digests jsonb)
returns table (at timestamptz, version text, alive boolean, config text, same jsonb)
language sql stable as $$
	select r.at, r.version, n.seen > now() - interval '1 minute', r.config,
	    (select jsonb_object_agg(d.key, jobq.running_hash(r.salt, d.value) = r.digests ->> d.key)
	    from jsonb_each_text(running_same.digests) d where r.digests ? d.key)
	from jobq.running r join jobq.node n on n.id = r.node
	where n.name = running_same.node
$$;
