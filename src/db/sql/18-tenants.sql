-- Tenants. A session that has set jobq.tenant sees and changes what is of that
-- tenant and nothing else: by row-level security, forced on the owner too. Where
-- it is '' or not set there is no fence: jobqd's own sessions, and applications,
-- which are trusted, since who may run SQL may also set this.
--
-- Rows that have no tenant are their job's or workflow's. No fence is around turn
-- and claim, which are on every job's way and in no view, nor around what the
-- queues share.

create function jobq.tenant() returns text
language sql stable parallel safe
return coalesce(current_setting('jobq.tenant', true), '');

-- Is there such a job, or workflow, for this session? A call for each row, not a
-- sub-select, which would count in every plan whether there is a fence or not.
create function jobq.sees(job bigint) returns boolean
language plpgsql stable parallel safe cost 1 as $$
begin
	return exists (select from jobq.job j where j.id operator(pg_catalog.=) sees.job);
end
$$;

create function jobq.sees_workflow(id bigint) returns boolean
language plpgsql stable parallel safe cost 1 as $$
begin
	return exists (select from jobq.workflow_run w where w.id operator(pg_catalog.=) sees_workflow.id);
end
$$;

-- Whose a new job or workflow is: in a fence its own, whatever was said.
create function jobq.own_tenant(tenant text) returns text
language plpgsql stable as $$
begin
	if jobq.tenant() = '' or own_tenant.tenant = jobq.tenant() then
		return tenant;
	elsif tenant is null then
		return jobq.tenant();
	end if;
	raise exception 'tenant "%" is another one', left(tenant, 63) using errcode = '42501',
	    hint = format('This session is bound to tenant "%s".', jobq.tenant());
end
$$;

-- An error in a fence: what follows concerns everybody.
create function jobq.need_all_tenants() returns void
language plpgsql stable as $$
begin
	if jobq.tenant() <> '' then
		raise exception 'this is not of one tenant alone' using errcode = '42501',
		    hint = format('This session is bound to tenant "%s".', jobq.tenant());
	end if;
end
$$;

-- In a policy what comes first is found out once a statement, so that no row of a
-- session without a fence costs more than to look at that. Jobs may be added
-- freely, since even that would be three per cent of enqueue(), which asks
-- own_tenant(); and so may what belongs to a job or workflow that was looked at.
do $$
declare
	k record;
	name text;
begin
	for k in select * from (values
		('{change,uniq,workflow_run,schedule,statistic}'::text[], 'tenant = (select jobq.tenant())', false),
		('{job,audit}', 'tenant = (select jobq.tenant())', true),
		('{attempt,history,timer,blocked,dead,progress,output,cancel_request,parked,key_kept,worker}', 'jobq.sees(job)', true),
		('{step,step_job}', 'jobq.sees_workflow(workflow)', true),
		-- told of all tenants together
		('{depth,statistic_error,breaker}', 'false', true)
	) k(tables, own, adds)
	loop
		foreach name in array k.tables loop
			execute format('alter table jobq.%I enable row level security, force row level security', name);
			-- "or" would be something to look at for finding out the partition
			execute format('create policy tenant on jobq.%I using (case when (select jobq.tenant() = '''') then true else %s end)',
			    name, k.own);
			if k.adds then
				execute format('create policy added on jobq.%I for insert with check (true)', name);
			end if;
		end loop;
	end loop;
end
$$;

-- Why the fence does not hold for this session; null: it does.
create function jobq.fence_broken() returns text
language sql stable as $$
	select coalesce(
	    (select format('the role "%s" is %s', r.rolname, case when r.rolsuper then 'a superuser' else 'exempt from row-level security (BYPASSRLS)' end)
	        from pg_roles r where r.rolname = current_user and (r.rolsuper or r.rolbypassrls)),
	    (select format('row-level security is off for the table "%s"', c.relname)
	        from pg_policy p join pg_class c on c.oid = p.polrelid
	        where p.polname = 'tenant' and c.relnamespace = 'jobq'::regnamespace
	            and not (c.relrowsecurity and c.relforcerowsecurity) limit 1),
	    (select 'the table "job" has no policy' where not exists (select from pg_policy p
	        where p.polname = 'tenant' and p.polrelid = 'jobq.job'::regclass)))
$$;
