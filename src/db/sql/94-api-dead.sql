-- Dead letters, for the HTTP API.

-- The dead letter that is the n-th before this one, whosever it is; null: there
-- are not so many.
create function jobq.api_dead_edge(before bigint, n int) returns bigint
language plpgsql stable as $$
declare
	mine text := jobq.api_unbind();
	edge bigint;
begin
	select d.job into edge from jobq.dead d where d.job < before order by d.job desc offset n limit 1;
	perform jobq.api_bind(mine);
	return edge;
end
$$;

-- The newest jobs first. Of very many a request looks at 200,000, of a tenant's
-- among these at 10,000, since each job has to be looked up: a page may have less
-- than it was asked for, and still be followed by another.
create function jobq.api_dead_letters(reviewed boolean, queue text, type text, tenant text, fingerprint text,
    class text, max int, cursor text) returns json
language plpgsql stable
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
declare
	before bigint := coalesce((jobq.api_place(cursor, 1))[1]::bigint, 9223372036854775807);
	edge bigint;
	items json;
	n int;
	lowest bigint;
begin
	if queue is not null then
		perform jobq.queue_get(queue);
	end if;
	perform jobq.own_tenant(tenant);
	edge := jobq.api_dead_edge(before, case when jobq.api_tenant() is null then 200000 else 10000 end);
	select json_agg(k order by k.job_id desc), count(*), min(k.job_id) into items, n, lowest
	from (
		select * from jobq.dead_letters d
		where d.job_id < before and d.job_id >= coalesce(edge, 0)
		    and (api_dead_letters.reviewed is null or (d.reviewed_at is not null) = api_dead_letters.reviewed)
		    and (api_dead_letters.queue is null or d.queue = api_dead_letters.queue)
		    and (api_dead_letters.type is null or d.type = api_dead_letters.type)
		    and (api_dead_letters.fingerprint is null or d.fingerprint = api_dead_letters.fingerprint)
		    and (api_dead_letters.class is null or d.error_class = api_dead_letters.class)
		    and (api_dead_letters.tenant is null or d.tenant = api_dead_letters.tenant)
		order by d.job_id desc limit max
	) k;
	return jobq.api_list(items, jobq.api_cursor(case when n = max then lowest else edge end::text));
end
$$;

-- By reason, the one that came last first; reviewed: all of them. For a tenant
-- these are reasons of the newest 10,000, since each job has to be looked up.
create function jobq.api_dead_groups(reviewed boolean, queue text, type text, max int) returns json
language plpgsql stable set jit = off as $$
declare
	edge bigint := coalesce(jobq.api_dead_edge(9223372036854775807, 10000), 0);
begin
	return jobq.api_list((
		select json_agg(k order by k.last_died_at desc)
		from (
			select g.fingerprint, q.name as queue, j.type, nullif(jobq.class_name(g.class), '') as error_class,
			    a.error, g.count, g.reviewed, g.first_died_at, g.last_died_at, g.last_job_id
			from (
				select d.queue, d.fingerprint, d.class, count(*) as count, count(d.reviewed_at) as reviewed,
				    min(d.died_at) as first_died_at, max(d.died_at) as last_died_at, max(d.job) as last_job_id
				from (select * from jobq.dead l where jobq.api_tenant() is null or l.job > edge) d join jobq.queue o on o.id = d.queue
				where d.died_at > now() - jobq.ms(o.keep_dead_ms)
				    and (api_dead_groups.queue is null or o.name = api_dead_groups.queue)
				group by d.queue, d.fingerprint, d.class
			) g
			join jobq.queue q on q.id = g.queue
			join lateral (select * from jobq.job l where l.id = g.last_job_id limit 1) j on true
			left join lateral (select * from jobq.attempt l where l.job = g.last_job_id and l.outcome = 3 limit 1) a on true
			where (api_dead_groups.type is null or j.type = api_dead_groups.type)
			    and (api_dead_groups.reviewed is null or (g.reviewed = g.count) = api_dead_groups.reviewed)
			order by g.last_died_at desc limit max
		) k));
end
$$;

-- One, with how its attempts ended.
create function jobq.api_dead_letter(id bigint) returns json
language plpgsql stable as $$
declare
	row jsonb;
begin
	select to_jsonb(d) || jsonb_build_object('history', (
	    select coalesce(jsonb_agg(to_jsonb(a) - '{job_id,queue,result}'::text[] order by a.attempt), '[]')
	    from jobq.attempts a where a.job_id = d.job_id))
	into row
	from jobq.dead_letters d where d.job_id = id;
	if row is null then
		perform jobq.api_refuse('P0002', format('job %s is no dead letter', id),
		    format('/v1/jobs/%s tells what it is.', id));
	end if;
	return row;
end
$$;

create function jobq.api_dead_retry(id bigint, data jsonb) returns json
language plpgsql as $$
begin
	perform jobq.api_dead_letter(id);
	if not jobq.retry(id, data) then
		perform jobq.api_refuse('55000', format('job %s is no dead letter any more', id));
	end if;
	return json_build_object('id', id, 'retried', 1);
end
$$;

create function jobq.api_dead_review(id bigint, reviewed_by text, notes text) returns json
language plpgsql as $$
begin
	perform jobq.api_dead_letter(id);
	perform jobq.review(id, coalesce(reviewed_by, ''), coalesce(notes, ''));
	return jobq.api_dead_letter(id);
end
$$;

create function jobq.api_dead_delete(id bigint) returns void
language plpgsql as $$
begin
	perform jobq.api_dead_letter(id);
	perform jobq.delete(id);
end
$$;

-- The dead letters that many things are to be done to, some hundred a row, the
-- oldest first. What they are is to be said, or that all are meant.
create function jobq.api_dead_plan("all" boolean, reviewed boolean, queue text, type text, tenant text,
    fingerprint text, class text) returns setof bigint[]
language plpgsql stable set jit = off as $$
begin
	if num_nonnulls(reviewed, queue, type, tenant, fingerprint, class) = 0 and not coalesce("all", false) then
		perform jobq.api_refuse('22023', 'which dead letters is not said',
		    'Give queue, type, tenant, fingerprint, class or reviewed; or "all": true.', 'all');
	elsif queue is not null then
		perform jobq.queue_get(queue);
	end if;
	perform jobq.own_tenant(tenant);
	return query
	select array_agg(t.job_id order by t.job_id)
	from (
		select d.job_id, (row_number() over (order by d.job_id) - 1) / 500 as piece
		from jobq.dead_letters d
		where (api_dead_plan.reviewed is null or (d.reviewed_at is not null) = api_dead_plan.reviewed)
		    and (api_dead_plan.queue is null or d.queue = api_dead_plan.queue)
		    and (api_dead_plan.type is null or d.type = api_dead_plan.type)
		    and (api_dead_plan.fingerprint is null or d.fingerprint = api_dead_plan.fingerprint)
		    and (api_dead_plan.class is null or d.error_class = api_dead_plan.class)
		    and (api_dead_plan.tenant is null or d.tenant = api_dead_plan.tenant)
	) t
	group by t.piece order by t.piece;
end
$$;

-- Run some of them again, with a rate so many a second, behind the `before` ones.
-- reasons: why twenty of those that stay do so.
create function jobq.api_dead_retry_some(ids bigint[], before bigint, rate int, out done int, out refused int, out reasons json)
language sql as $$
	select count(*) filter (where r.refused is null), count(r.refused),
	    json_agg(json_build_object('id', r.job_id, 'reason', r.refused)) filter (where r.refused is not null and r.n <= 20)
	from (
		select k.*, row_number() over (partition by k.refused is null order by k.job_id) as n
		from jobq.retry_dead(ids, rate, clock_timestamp() + before / rate::float8 * interval '1 second') k
	) r
$$;
