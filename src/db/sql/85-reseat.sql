-- Transaction ids belong to a cluster. After a dump was restored elsewhere,
-- the cursors and turns carry ids of another one.

-- If this is not the cluster the schema was last used in, or its transaction
-- ids lie behind: give every unfinished job a fresh turn, let the claims
-- begin anew, and forget the pools. Returns how many jobs; null: all is well.
create function jobq.reseat() returns bigint
language plpgsql as $$
declare
	m jobq.meta;
	system bigint := (select system_identifier from pg_control_system());
	n bigint;
begin
	select * into m from jobq.meta for update;
	if m.system_identifier = system and m.last_xid <= pg_current_xact_id() then
		update jobq.meta set last_xid = pg_current_xact_id();
		return null;
	end if;
	lock table jobq.turn, jobq.claim, jobq.pool, jobq.timer, jobq.blocked in access exclusive mode;
	truncate jobq.turn, jobq.claim;
	delete from jobq.worker;
	delete from jobq.pool;
	delete from jobq.held;
	delete from jobq.released;
	delete from jobq.parked;
	delete from jobq.cancel_request;
	delete from jobq.leader;
	insert into jobq.turn (job, slot, queue, lane, attempt)
	select j.id, s.last_value, j.queue, j.lane,
	    coalesce((select max(a.attempt) from jobq.attempt a where a.job = j.id), 0) + 1
	from jobq.job j, jobq.turn_slot s
	where not exists (select from jobq.attempt a where a.job = j.id and a.outcome in (1, 3, 4, 6))
	    and not exists (select from jobq.timer t where t.job = j.id)
	    and not exists (select from jobq.blocked b where b.job = j.id)
	order by j.id;
	get diagnostics n = row_count;
	perform setval('jobq.sleepers', 0);
	update jobq.meta set system_identifier = system, last_xid = pg_current_xact_id();
	return n;
end
$$;

insert into jobq.meta (schema_version, system_identifier, last_xid)
select 1, system_identifier, pg_current_xact_id() from pg_control_system();
