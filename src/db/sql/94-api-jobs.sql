-- What the API asks of jobs. Each function returns JSON as text, the views'
-- column names as keys; they are the owner's alone.

-- A job as the view has it, and why it does not run. Null: there is none.
create function jobq.api_job(id bigint) returns text
language sql stable as $$
	select row_to_json(k)::text
	from (select j.*, jobq.why(j.id) as why from jobq.jobs j where j.id = api_job.id) k
$$;

-- Enqueue: see enqueue(). 200 when the unique key was taken, and it is that job.
create function jobq.api_enqueue(queue text, type text, data jsonb, priority int, run_at timestamptz,
    delay interval, unique_key text, tenant text, max_attempts int, timeout interval, tags text[],
    after bigint[], key text, out status int, out body text, out location text)
language plpgsql as $$
declare
	me bigint;
begin
	me := jobq.enqueue(queue, coalesce(type, ''), data, priority, run_at, delay, unique_key, tenant,
	    max_attempts, timeout, tags, after, key);
	status := case when exists (select from jobq.job j where j.id = me
	    and j.xmin::text::bigint = pg_current_xact_id()::text::bigint % 4294967296) then 201 else 200 end;
	select json_build_object('id', j.id, 'state', j.state)::text into body from jobq.jobs j where j.id = me;
	location := '/v1/jobs/' || me;
end
$$;
