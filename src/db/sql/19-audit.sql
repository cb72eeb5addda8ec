-- The audit: who did what, when and from where, and how it was before and after.
--
-- Each entry has a hash of itself and of the entry before it, so that none can be
-- changed or taken out without a trace. It gets it when it comes into the chain,
-- which is later: whoever cancels a job in a long transaction would keep all others
-- from doing anything if the chain was made by them, and a snapshot of level
-- REPEATABLE READ does not even see the last entry. The monitor does it, and
-- audit_verify(), in the order of ids, for what has committed by then. The last
-- hash is also in a row of its own, and once an hour in the log, where no session
-- of the database can change it.

-- Where the session comes from: what it says (set jobq.from), else its address.
create function jobq.source() returns text
language sql stable as $$
	select coalesce(nullif(current_setting('jobq.from', true), ''), host(inet_client_addr()), 'local')
$$;

-- A value without what should be nobody's to read: the members that are called
-- like secrets.
create function jobq.redacted(v jsonb, depth int default 0) returns jsonb
language plpgsql immutable parallel safe as $$
declare
	secret constant text := 'passw|secret|token|authorization|api_?key|private_?key|credential|cookie';
begin
	if v is null or v::text !~* secret then
		return v;
	elsif depth > 30 then
		return '"***"';
	elsif jsonb_typeof(v) = 'object' then
		return (select jsonb_object_agg(m.key, case when replace(m.key, '-', '_') ~* secret
		        and jsonb_typeof(m.value) not in ('null', 'boolean') then '"***"' else jobq.redacted(m.value, depth + 1) end)
		    from jsonb_each(v) m);
	elsif jsonb_typeof(v) = 'array' then
		return (select jsonb_agg(jobq.redacted(e.value, depth + 1) order by e.n)
		    from jsonb_array_elements(v) with ordinality e(value, n));
	end if;
	return v;
end
$$;

-- … as the audit keeps it: 64 KiB at most, of more than that only how much it was.
create function jobq.audited(v jsonb) returns jsonb
language sql immutable parallel safe as $$
	select case when octet_length(v::text) > 65536
	    then jsonb_build_object('omitted_bytes', octet_length(v::text),
	        'sha256', encode(sha256(convert_to(v::text, 'UTF8')), 'hex'))
	    else jobq.redacted(v) end
$$;

alter table jobq.audit alter column actor set default jobq.actor(),
	alter column source set default jobq.source(),
	alter column tenant set default nullif(jobq.tenant(), '');

create function jobq.audit_add(action text, target text, detail text default '', before jsonb default null,
    after jsonb default null) returns void
language sql as $$
	insert into jobq.audit (action, target, detail, before, after)
	values (action, target, coalesce(detail, ''), jobq.audited(before), jobq.audited(after))
$$;

-- The hash of an entry that comes after one with that hash.
create function jobq.audit_hash(previous bytea, a jobq.audit) returns bytea
language sql immutable parallel safe as $$
	select sha256(previous || convert_to(jsonb_build_array(a.seq, a.id, (extract(epoch from a.at) * 1000000)::bigint,
	    a.actor, a.action, a.target, a.detail, a.source, a.tenant, a.before, a.after)::text, 'UTF8'))
$$;

-- Take up to n new entries (null: all) into the chain. Returns how many. Whoever
-- else does it meanwhile is waited for.
create function jobq.audit_seal(n int default null) returns bigint
language plpgsql as $$
declare
	c jobq.audit_chain;
	a jobq.audit;
	first bigint;
begin
	if not exists (select from jobq.audit k where k.seq is null) then
		return 0;
	end if;
	select * into c from jobq.audit_chain for update;
	first := c.seq;
	for a in select * from jobq.audit k where k.seq is null order by k.id limit n loop
		c.seq := c.seq + 1;
		a.seq := c.seq;
		c.hash := jobq.audit_hash(c.hash, a);
		update jobq.audit k set seq = c.seq, hash = c.hash where k.id = a.id;
	end loop;
	update jobq.audit_chain k set seq = c.seq, hash = c.hash;
	return c.seq - first;
end
$$;

-- Is the chain whole? Looks at every entry; what is new comes into the chain first.
--   head     a hash that was seen before, in the log: an entry must have it
--   checked  so many entries; head_hash: of the last one
--   problem  what is wrong with the first one that is not right, whose number in
--            the chain is seq (id: of the row); null: nothing
create function jobq.audit_verify(head text default null, out checked bigint, out head_hash text,
    out seq bigint, out id bigint, out problem text)
language plpgsql as $$
declare
	c jobq.audit_chain;
	k record;
begin
	perform jobq.need_all_tenants(), jobq.audit_seal();
	select * into c from jobq.audit_chain for share;
	head_hash := encode(c.hash, 'hex');
	select count(*) into checked from jobq.audit a where a.seq > c.base_seq;
	select e.seq, e.id, e.before_seq into k
	from (
		select a.seq, a.id, a.hash, lag(a.seq, 1, c.base_seq) over w as before_seq,
		    jobq.audit_hash(lag(a.hash, 1, c.base_hash) over w, a) as right_hash
		from jobq.audit a where a.seq > c.base_seq window w as (order by a.seq)
	) e
	where e.seq <> e.before_seq + 1 or e.hash is distinct from e.right_hash order by e.seq limit 1;
	if found then
		seq := k.seq;
		id := k.id;
		problem := case when k.seq > k.before_seq + 1
		    then format('%s before it %s missing', case k.seq - k.before_seq - 1 when 1 then 'the entry' else k.seq - k.before_seq - 1 || ' entries' end,
		        case k.seq - k.before_seq - 1 when 1 then 'is' else 'are' end)
		    else 'it is not what it was when it came into the chain' end;
		return;
	end if;
	select a.seq, a.id, a.hash into k from jobq.audit a where a.seq > c.base_seq order by a.seq desc limit 1;
	if coalesce(k.seq, c.base_seq) <> c.seq then
		seq := c.seq;
		problem := format('%s at the end %s missing', case c.seq - coalesce(k.seq, c.base_seq) when 1 then 'the entry'
		    else c.seq - coalesce(k.seq, c.base_seq) || ' entries' end,
		    case c.seq - coalesce(k.seq, c.base_seq) when 1 then 'is' else 'are' end);
	elsif coalesce(k.hash, c.base_hash) <> c.hash then
		seq := c.seq;
		id := k.id;
		problem := 'the hash of the last entry is not the one that was noted';
	elsif head is not null and lower(head) <> encode(c.base_hash, 'hex') and not exists (
	    select from jobq.audit a where a.seq > c.base_seq and encode(a.hash, 'hex') = lower(head)) then
		problem := 'no entry has the hash that was given: it is too old, or the chain was made anew';
	end if;
end
$$;

-- Nothing is changed, and nothing taken out but from the beginning: see audit_forget().
create function jobq.audit_kept() returns trigger
language plpgsql as $$
begin
	if tg_op = 'UPDATE' then
		if old.seq is null and new.seq is not null
		    and to_jsonb(new) - '{seq,hash}'::text[] = to_jsonb(old) - '{seq,hash}'::text[] then
			return new;
		end if;
	elsif tg_op = 'DELETE' then
		if old.seq <= (select c.base_seq from jobq.audit_chain c) then
			return old;
		end if;
	end if;
	raise exception 'the audit is only added to' using errcode = '55000',
	    hint = 'What is older than a year goes by itself.';
end
$$;
create trigger kept before update or delete on jobq.audit for each row execute function jobq.audit_kept();
create trigger kept_whole before truncate on jobq.audit for each statement execute function jobq.audit_kept();

-- Let go what is older than that, from the beginning of the chain, at most 10,000
-- entries; the hash of the last of them is kept, which the rest goes on from.
create function jobq.audit_forget(age interval) returns void
language plpgsql as $$
declare
	c jobq.audit_chain;
	last bigint;
begin
	select * into c from jobq.audit_chain;
	select coalesce(min(o.seq) filter (where o.at >= now() - age) - 1, max(o.seq)) into last
	from (select a.seq, a.at from jobq.audit a where a.seq > c.base_seq order by a.seq limit 10000) o;
	if last > c.base_seq then
		update jobq.audit_chain k set base_seq = last,
		    base_hash = (select a.hash from jobq.audit a where a.seq = last) where k.base_seq = c.base_seq;
		delete from jobq.audit a where a.seq <= last;
	end if;
end
$$;

-- A line for the log, once an hour where there is something new: the last hash.
create function jobq.audit_head() returns text
language sql as $$
	update jobq.audit_chain c set told_at = now(), told_seq = c.seq
	where c.told_at < now() - interval '1 hour' and c.told_seq <> c.seq
	returning format('the audit has %s entries, the last one with the hash %s', c.seq - c.base_seq, encode(c.hash, 'hex'))
$$;

-- Settings, for what has changed of them: "queue NAME" and such → an object.
create function jobq.configured() returns jsonb
language plpgsql stable as $$
begin
	return (select coalesce(jsonb_object_agg(s.target, s.is), '{}') from (
		select 'queue ' || q.name as target, to_jsonb(q) - '{id,name,paused,pause_reason,paused_by,paused_at,
		    paused_until,created_at,keyed,lane,plain,limited}'::text[] || jsonb_build_object('limits',
		    array(select l.name from jobq.queue_limit k join jobq.limit_state l on l.id = k.limit_id
		        where k.queue = q.id order by 1)) as is
		from jobq.queue q
		union all
		select 'limit ' || l.name, jsonb_build_object('rate', l.rate, 'period_ms', l.period_ms,
		    'concurrency', l.concurrency, 'min_gap_ms', l.min_gap_ms) from jobq.limit_state l
		union all
		select 'schedule ' || s.name, jsonb_build_object('queue', q.name, 'type', s.type, 'data', s.data, 'priority', s.priority,
		    'tenant', s.tenant, 'spec', s.spec, 'timezone', s.timezone, 'overlap', s.overlap, 'only_if', s.only_if,
		    'for_each', s.for_each, 'jitter_ms', s.jitter_ms, 'enabled', s.enabled, 'description', s.description)
		from jobq.schedule s join jobq.queue q on q.id = s.queue where s.origin = 'file'
		union all
		select 'workflow ' || w.name, w.definition from jobq.workflow_def w
		union all
		select 'alert ' || r.name, r.definition from jobq.alert_rule r
	) s);
end
$$;

-- The audit of what has changed between two of these, by whom: of what was there
-- before and is still only the members that differ.
create function jobq.audit_configured(was jsonb, "is" jsonb, who text) returns void
language sql as $$
	insert into jobq.audit (actor, action, target, before, after)
	select who, case when c.was is null then 'register' when c.is is null then 'unregister' else 'configure' end, c.target,
	    jobq.audited(case when c.is is null then c.was else
	        (select jsonb_object_agg(m.key, m.value) from jsonb_each(c.was) m where m.value is distinct from c.is -> m.key) end),
	    jobq.audited(case when c.was is null then c.is else
	        (select jsonb_object_agg(m.key, m.value) from jsonb_each(c.is) m where m.value is distinct from c.was -> m.key) end)
	from (
		select coalesce(w.key, i.key) as target, w.value as was, i.value as is
		from jsonb_each(audit_configured.was) w full join jsonb_each(audit_configured.is) i on i.key = w.key
	) c
	where c.was is distinct from c.is order by c.target
$$;

-- What the audit says of a job; null: there is none.
create function jobq.job_state(id bigint, "all" boolean default false) returns jsonb
language plpgsql stable as $$
begin
	return (select jsonb_build_object('state', j.state) || case when "all" then jsonb_strip_nulls(jsonb_build_object(
	        'queue', j.queue, 'type', j.type, 'tenant', j.tenant, 'attempt', j.attempt, 'error', left(j.error, 1000)))
	        || jsonb_build_object('data', j.data) else '{}' end
	    from jobq.jobs j where j.id = job_state.id);
end
$$;
