-- The report: which of the monitors of a cluster sends it.

-- Take the report of that instant, or without one the newest that was begun,
-- for five minutes; the same node may prolong that, another one may take what
-- was not done in time.
--   ours      it is the caller's
--   again_ms  when to ask again, as long as another has it; null: it is done
--   at        its instant
create function jobq.report_take(instant timestamptz, by text, out ours boolean, out again_ms bigint,
    out at timestamptz)
language plpgsql as $$
declare
	hold constant interval := '5 minutes';
	now_ timestamptz := clock_timestamp();
	until_ timestamptz;
begin
	update jobq.reported r set at = coalesce(instant, r.at), node = by, until = now_ + hold
	where r.at < instant
	    or (r.at = coalesce(instant, r.at) and r.until < 'infinity' and (r.until < now_ or r.node = by)
	        and r.at > now_ - interval '1 day')
	returning r.at into at;
	if at is null and instant is not null then
		insert into jobq.reported as r (at, node, until) values (instant, by, now_ + hold)
		on conflict do nothing returning r.at into at;
	end if;
	ours := at is not null;
	if not ours then
		select r.at, r.until into at, until_ from jobq.reported r;
		again_ms := case when until_ < 'infinity' then 1000 + greatest(0, extract(epoch from until_ - now_) * 1000) end;
	end if;
end
$$;

-- Everybody has it who could be reached.
create function jobq.report_done(instant timestamptz) returns void
language sql as $$
	update jobq.reported r set until = 'infinity' where r.at = instant
$$;
