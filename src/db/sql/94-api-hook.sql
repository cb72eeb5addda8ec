-- Webhooks that come in: see api/hook.c, which looks who sent them.

-- Take a webhook: enqueue its job and remember the event, in one transaction;
-- whoever brings the same event meanwhile waits for its end. One that is known
-- already makes no job. 202, or 200 for a known one, with the job's id.
--   event_id  what tells it from others of the hook; null: nothing does
--   verified  by a signature or a secret
create function jobq.api_hook(hook text, queue text, type text, tenant text, event_id text, verified boolean,
    data jsonb) returns table (status int, body text)
language plpgsql as $$
#variable_conflict use_column
declare
	e jobq.webhook_event;
	first jobq.webhook_event;
begin
	insert into jobq.webhook_event as k (hook, event_id, verified, address)
	values (api_hook.hook, api_hook.event_id, api_hook.verified, nullif(current_setting('jobq.from', true), ''))
	on conflict do nothing returning * into e;
	if found then
		update jobq.webhook_event k
		set job = jobq.enqueue(api_hook.queue, api_hook.type, api_hook.data, tenant => nullif(api_hook.tenant, ''))
		where k.id = e.id returning * into e;
		return query select 202, json_build_object('id', e.job, 'duplicate', false)::text;
		return;
	end if;
	select * into first from jobq.webhook_event k
	where k.hook = api_hook.hook and k.event_id = api_hook.event_id and k.duplicate_of is null;
	insert into jobq.webhook_event (hook, event_id, verified, duplicate_of, job, address)
	values (api_hook.hook, api_hook.event_id, api_hook.verified, first.id, first.job,
	    nullif(current_setting('jobq.from', true), ''));
	return query select 200, json_build_object('id', first.job, 'duplicate', true)::text;
end
$$;

-- The webhooks of the last seven days that were let in.
create view jobq.webhook_events as
	select e.id, e.hook, e.event_id, e.received_at, e.verified, e.duplicate_of, e.job as job_id, e.address
	from jobq.webhook_event e;
