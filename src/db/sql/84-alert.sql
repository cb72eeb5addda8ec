-- Alerts: what they watch, how they stand, and what is still to be said. One
-- monitor of the cluster holds the role 'alerts'; it looks (alert_look), decides
-- by its own arithmetic, and stores what has changed with the notices to send in
-- one transaction (alert_store), so that another one goes on where it stood.

-- An amount as the configuration writes it: a count, a share (10%), a time (in
-- seconds), a size (in bytes). Null: it is none of that kind.
create function jobq.amount(text text, kind text) returns float8
language sql immutable parallel safe as $$
	select case
	    when kind = 'count' and text ~ '^[0-9]{1,15}$' then text::float8
	    when kind = 'share' and (text = '0' or text ~ '^([0-9]{1,2}(\.[0-9]{1,6})?|100(\.0{1,6})?)%$')
	        then (rtrim(text, '%')::numeric / 100)::float8
	    when kind = 'time' and (text = '0' or text ~ '^[0-9]{1,13}(ms|s|m|h|d|w)$')
	        then nullif(least((substring(text, '^[0-9]+')::numeric * case ltrim(text, '0123456789')
	            when 'ms' then 0.001 when 'm' then 60 when 'h' then 3600 when 'd' then 86400
	            when 'w' then 604800 else 1 end)::float8, 3155760001), 3155760001)	-- a hundred years
	    when kind = 'size' and text ~ '^[0-9]{1,15}(KiB|MiB|GiB|TiB)?$'
	        then substring(text, '^[0-9]+')::float8 * case ltrim(text, '0123456789')
	            when 'KiB' then 1024 when 'MiB' then 1048576 when 'GiB' then 1073741824
	            when 'TiB' then 1099511627776 else 1 end
	end
$$;

-- The rules as they are in force: the configuration's, and over it what
-- alert_set() has changed. Amounts are as they are written. The clear of the
-- configuration is for its limit, and goes when that is changed.
create view jobq.alert_rules as
	select r.name, k.d ->> 'metric' as metric, k.d ->> 'kind' as kind, k.d ->> 'severity' as severity,
	    case when jsonb_array_length(k.d -> 'queues') > 0
	        then array(select jsonb_array_elements_text(k.d -> 'queues')) end as queues,
	    k.d ->> 'above' as above, k.d ->> 'below' as below,
	    case when not r.changes ?| '{above,below}' or r.changes ? 'clear' then k.d ->> 'clear' end as clear,
	    k.d ->> 'window' as "window", k.d ->> 'for' as "for", (k.d ->> 'min_jobs')::bigint as min_jobs,
	    array(select jsonb_array_elements_text(k.d -> 'notify')) as notify,
	    k.d ->> 'repeat' as repeat, k.d ->> 'escalate_after' as escalate_after,
	    array(select jsonb_array_elements_text(k.d -> 'escalate_notify')) as escalate_notify,
	    nullif(r.changes, '{}') as changes, r.changed_by, r.changed_at
	from jobq.alert_rule r, lateral (select r.definition || r.changes) k(d);

-- A node tells the rules of its file: config -> 'alerts', an array of objects
-- with "name" and the members that the view alert_rules has. Rules that this
-- node had told before, or a node that is gone, and that are no longer there,
-- end, and so do their alerts, without a word. What somebody changed at run time
-- stays until the file says something else of that rule.
create function jobq.alert_register(config jsonb, node_id smallint) returns void
language plpgsql as $$
declare
	r record;
begin
	for r in
		select k.name, k.changes from jobq.alert_rule k
		join jsonb_array_elements(coalesce(config -> 'alerts', '[]')) c on c ->> 'name' = k.name
		where k.changes <> '{}' and k.definition is distinct from c - 'name'
		order by k.name
	loop
		perform jobq.audit_add('reset', 'alert ' || r.name, 'the configuration has changed', r.changes, '{}');
	end loop;
	insert into jobq.alert_rule as k (name, definition, node)
	select c ->> 'name', c - 'name', node_id
	from jsonb_array_elements(coalesce(config -> 'alerts', '[]')) c
	where not exists (select from jobq.alert_rule o
	    where (o.name, o.definition, o.node) = (c ->> 'name', c - 'name', node_id))
	order by c ->> 'name'
	on conflict (name) do update
	set node = excluded.node, definition = excluded.definition,
	    changes = case when k.definition = excluded.definition then k.changes else '{}' end;
	delete from jobq.alert_rule k
	where (k.node = node_id or not exists (select from jobq.node n
	        where n.id = k.node and n.seen > clock_timestamp() - interval '1 minute'))
	    and k.name not in (select c ->> 'name' from jsonb_array_elements(coalesce(config -> 'alerts', '[]')) c);
	delete from jobq.alert a where a.fired_at is null
	    and not exists (select from jobq.alert_rule k where k.name = a.name);
	update jobq.alert a set ended_at = clock_timestamp()
	where a.ended_at is null and not exists (select from jobq.alert_rule k where k.name = a.name);
	update jobq.queue q set longest_ms = (c ->> 'longest_ms')::bigint
	from jsonb_array_elements(coalesce(config -> 'queues', '[]')) c
	where q.name = c ->> 'name' and q.longest_ms <> (c ->> 'longest_ms')::bigint;
end
$$;

-- How many attempts of each queue ended how since the last call. The tally is
-- summed up into pieces of five minutes, so what is new is how much more these
-- are now; a row for each queue of which something has ended.
create function jobq.alert_count_take() returns void
language plpgsql as $$
declare
	moment timestamptz := clock_timestamp();
	-- who commits late has an instant of a little before
	piece timestamptz := jobq.five_minutes(moment - interval '1 minute');
begin
	with last as materialized (
		select q.id as queue, jobq.five_minutes(coalesce(k.at, moment) - interval '1 minute') as base,
		    coalesce(k.sum_completed, 0) as completed, coalesce(k.sum_failed, 0) as failed,
		    coalesce(k.sum_lost, 0) as lost
		from jobq.queue q
		left join lateral (select * from jobq.alert_count c where c.queue = q.id order by c.at desc limit 1) k on true
	), ended as (
		select t.queue, t.at, t.completed, t.failed + t.dead as failed, t.lost
		from last l, lateral (select * from jobq.total k where k.queue = l.queue and k.at >= l.base) t
		union all
		select t.queue, t.at, t.completed, t.failed + t.dead, t.lost
		from last l join jobq.tally t on t.queue = l.queue and t.at >= l.base
	), sums as (
		select queue, sum(completed) as completed, sum(failed) as failed, sum(lost) as lost,
		    coalesce(sum(completed) filter (where at >= piece), 0) as piece_completed,
		    coalesce(sum(failed) filter (where at >= piece), 0) as piece_failed,
		    coalesce(sum(lost) filter (where at >= piece), 0) as piece_lost
		from ended group by queue
	)
	insert into jobq.alert_count (queue, at, completed, failed, lost, sum_completed, sum_failed, sum_lost)
	select s.queue, moment, greatest(0, s.completed - l.completed), greatest(0, s.failed - l.failed),
	    greatest(0, s.lost - l.lost), s.piece_completed, s.piece_failed, s.piece_lost
	from sums s join last l on l.queue = s.queue
	where (s.completed, s.failed, s.lost) is distinct from (l.completed, l.failed, l.lost);
	-- the last one of a queue is what the next is counted from
	delete from jobq.alert_count c
	where c.at < moment - (select greatest(max(jobq.amount(r."window", 'time')), 300) * interval '1 second'
	        from jobq.alert_rules r)
	    and c.at < (select max(k.at) from jobq.alert_count k where k.queue = c.queue);
end
$$;

-- The values of all rules, a row for each rule and queue ('' where the metric
-- has none); null: there is none. Only metrics that a rule has are looked for.
--   sample  of how many attempts it is, where it is of attempts
--   detail  which ones, for people
create function jobq.alert_values()
returns table (name text, queue text, value float8, sample bigint, detail text)
language plpgsql set jit = off as $$
#variable_conflict use_column
declare
	wanted text[] := array(select distinct r.metric from jobq.alert_rules r);
	moment timestamptz := clock_timestamp();
begin
	if wanted && '{backlog,oldest_ready}' then
		return query
		with w as materialized (
			select q.name, o.ready, o.oldest_ready_at from jobq.queue q, lateral jobq.ready_about(q.id, 20000) o
		)
		select r.name, w.name, case r.metric when 'backlog' then w.ready::float8
		        else coalesce(extract(epoch from moment - w.oldest_ready_at), 0)::float8 end,
		    null::bigint, null::text
		from jobq.alert_rules r join w on r.queues is null or w.name = any (r.queues)
		where r.metric in ('backlog', 'oldest_ready');
	end if;
	if wanted && '{failure_rate,error_count,run_time_avg,stalled}' then
		perform jobq.alert_count_take();
		return query
		select r.name, q.name, case r.metric
		        when 'failure_rate' then c.failed / nullif(c.completed + c.failed, 0)::float8
		        when 'error_count' then c.failed::float8
		        when 'run_time_avg' then jobq.run_avg_ms(q.id, r.back) / 1000.0::float8
		        else (c.lost + coalesce(n.jobs, 0))::float8 end,
		    case when r.metric <> 'stalled' then c.completed + c.failed end,
		    case when r.metric in ('failure_rate', 'error_count')
		        then format('%s of %s attempts failed', c.failed, c.completed + c.failed) end
		from (select k.*, jobq.amount(k."window", 'time') * interval '1 second' as back from jobq.alert_rules k
		    where k.metric in ('failure_rate', 'error_count', 'run_time_avg', 'stalled')) r
		join jobq.queue q on r.queues is null or q.name = any (r.queues)
		left join jobq.stalled_now() n on n.queue = q.id and 'stalled' = any (wanted)
		cross join lateral (
			select coalesce(sum(k.completed), 0)::bigint as completed, coalesce(sum(k.failed), 0)::bigint as failed,
			    coalesce(sum(k.lost), 0)::bigint as lost
			from jobq.alert_count k where k.queue = q.id and k.at > moment - r.back
		) c;
	end if;
	if wanted && '{retries}' then
		return query
		select r.name, q.name, (select count(*) from jobq.timer t where t.queue = q.id and t.attempt > 1)::float8,
		    null::bigint, null::text
		from jobq.alert_rules r join jobq.queue q on r.queues is null or q.name = any (r.queues)
		where r.metric = 'retries';
	end if;
	if wanted && '{dead_letters,dead_letters_new}' then
		return query
		select r.name, q.name, count(d.job)::float8, null::bigint, null::text
		from jobq.alert_rules r
		join jobq.queue q on r.queues is null or q.name = any (r.queues)
		left join jobq.dead d on d.queue = q.id and d.died_at > moment - jobq.ms(q.keep_dead_ms)
		    and case r.metric when 'dead_letters' then d.reviewed_at is null
		        else d.died_at > moment - jobq.amount(r."window", 'time') * interval '1 second' end
		where r.metric in ('dead_letters', 'dead_letters_new')
		group by r.name, q.name;
	end if;
	if wanted && '{paused}' then
		return query
		select r.name, q.name, q.paused::int::float8, null::bigint,
		    concat_ws(': ', 'by ' || q.paused_by, nullif(q.pause_reason, ''))
		from jobq.alert_rules r join jobq.queue q on r.queues is null or q.name = any (r.queues)
		where r.metric = 'paused';
	end if;
	-- those of a node that has just begun, or read its file again, are on their way
	if wanted && '{workers}' then
		return query
		select r.name, q.name, count(w.pid)::float8, null::bigint, null::text
		from jobq.alert_rules r
		join jobq.queue q on q.enabled and q.workers > 0 and (r.queues is null or q.name = any (r.queues))
		    and exists (select from jobq.serves s where s.queue = q.id)
		    and (not exists (select from jobq.serves s where s.queue = q.id and s.at > moment - interval '15 seconds')
		        or exists (select from jobq.alert a where a.name = r.name and a.queue = q.name and a.ended_at is null))
		left join jobq.pool p on p.queue = q.id
		left join jobq.worker w on w.pool = p.id
		where r.metric = 'workers'
		group by r.name, q.name;
	end if;
	if wanted && '{unserved}' then
		return query
		select r.name, q.name, case when exists (select from jobq.serves s join jobq.node n on n.id = s.node
		        where s.queue = q.id and n.seen > moment - interval '1 minute') then 0
		    else jobq.waiting_about(q.id) end::float8, null::bigint, null::text
		from jobq.alert_rules r join jobq.queue q on q.enabled and (r.queues is null or q.name = any (r.queues))
		where r.metric = 'unserved';
	end if;
	if wanted && '{node_down}' then
		return query
		select r.name, '', count(n.id)::float8, null::bigint, string_agg(n.name, ', ' order by n.name)
		from jobq.alert_rules r
		left join jobq.node n on n.seen between moment - interval '1 day' and moment - interval '30 seconds'
		where r.metric = 'node_down' group by r.name;
	end if;
	if wanted && '{schedule_late}' then
		return query
		select r.name, q.name, coalesce(max(l.seconds), 0), null::bigint,
		    string_agg(l.name, ', ' order by l.seconds desc) filter (where l.seconds > 1)
		from jobq.alert_rules r
		join jobq.queue q on r.queues is null or q.name = any (r.queues)
		join jobq.schedule s on s.queue = q.id
		left join jobq.schedule_late() l on l.name = s.name
		where r.metric = 'schedule_late'
		group by r.name, q.name;
	end if;
	if wanted && '{oldest_snapshot_age}' then
		return query
		select r.name, '', coalesce(extract(epoch from moment - o.since), 0)::float8, null::bigint, o.who
		from jobq.alert_rules r
		left join (select * from jobq.snapshots() k where k.since is not null order by k.since limit 1) o on true
		where r.metric = 'oldest_snapshot_age';
	end if;
	if wanted && '{table_size}' then
		return query
		select r.name, '', jobq.bytes()::float8, null::bigint, null::text
		from jobq.alert_rules r where r.metric = 'table_size';
	end if;
	return query
	select r.name, '', 0::float8, null::bigint, null::text from jobq.alert_rules r where r.metric = 'database_down';
end
$$;

-- The queues with jobs that are leased to who does not renew, or that run for
-- longer than they may, stopping included.
create function jobq.stalled_now(out queue smallint, out jobs bigint) returns setof record
language sql stable as $$
	select k.queue, count(*)
	from (
		select p.queue
		from jobq.pool p join jobq.lease l on l.pool = p.id
		where greatest(p.seen, pg_postmaster_start_time()) < clock_timestamp() - jobq.ms(p.lease_ms)
		    and l.at < clock_timestamp() - jobq.ms(p.lease_ms)
		union all
		select p.queue
		from jobq.pool p
		join jobq.queue q on q.id = p.queue and q.longest_ms > 0
		join jobq.worker w on w.pool = p.id and w.job is not null
		join lateral (select k.timeout_ms from jobq.job k where k.id = w.job limit 1) j on true
		where w.since < clock_timestamp() - jobq.ms(coalesce(j.timeout_ms, 0) + q.longest_ms)
		    and greatest(p.seen, pg_postmaster_start_time()) >= clock_timestamp() - jobq.ms(p.lease_ms)
	) k group by k.queue
$$;

-- One look. The first row says whether this node holds the role (leader), how
-- long another one does (wait_us; the caller's own: 0), how many notices are due
-- to be sent (due), and what time it is. The others, without a leader only those
-- of the metric database_down, are the rules and queues that are not well, with
-- what is known of their alert; since_us null: nothing is. All live alerts get
-- their newest value.
create function jobq.alert_look(node text, instance text, ttl_ms int)
returns table (leader boolean, wait_us bigint, due bigint, now_us bigint,
    name text, queue text, metric text, severity text, over boolean, "limit" float8, clear float8,
    min_jobs bigint, for_us bigint, repeat_us bigint, escalate_us bigint,
    value float8, sample bigint, detail text, silenced boolean, acknowledged boolean,
    since_us bigint, fired_us bigint, told_us bigint, escalated boolean)
language plpgsql set jit = off as $$
#variable_conflict use_column
declare
	ours boolean := jobq.lead('alerts', node, instance, ttl_ms);
	v record;
begin
	leader := ours;
	now_us := jobq.us(clock_timestamp());
	wait_us := case when ours then 0 else (select greatest(0, jobq.us(l.until) - now_us)
	    from jobq.leader l where l.role = 'alerts') end;
	due := case when ours then (select count(*) from jobq.alert_notice n
	    where n.sent_at is null and n.error is null and n.due <= clock_timestamp()) else 0 end;
	return next;
	return query
	with r as materialized (
		select k.*, coalesce(jobq.amount(k.above, k.kind), jobq.amount(k.below, k.kind)) as bound,
		    k.above is not null as over, jobq.amount(k.clear, k.kind) as well
		from jobq.alert_rules k where ours or k.metric = 'database_down'
	), v as materialized (
		select * from jobq.alert_values() k where ours
		union all
		select r.name, '', 0, null, null from r where not ours
	), a as materialized (
		select * from jobq.alert k where k.ended_at is null and ours
	), u as (
		update jobq.alert k set value = v.value from v
		where k.name = v.name and k.queue = v.queue and k.ended_at is null and ours and k.value is distinct from v.value
	)
	select ours, 0::bigint, 0::bigint, now_us, r.name, coalesce(v.queue, a.queue), r.metric, r.severity, r.over, r.bound,
	    -- a clear that was changed may be past the limit
	    case when r.over then least(r.well, r.bound) else greatest(r.well, r.bound) end,
	    r.min_jobs, (1e6 * jobq.amount(r."for", 'time'))::bigint, (1e6 * jobq.amount(r.repeat, 'time'))::bigint,
	    case when cardinality(r.escalate_notify) > 0 then (1e6 * jobq.amount(r.escalate_after, 'time'))::bigint else 0 end,
	    v.value, v.sample, v.detail,
	    exists (select from jobq.silence s where s.name in ('*', r.name) and s.queue in ('', coalesce(v.queue, a.queue))
	        and s.until > clock_timestamp()),
	    a.acknowledged_by is not null, jobq.us(a.since), jobq.us(a.fired_at), jobq.us(a.told_at), a.escalated_at is not null
	from v full join a on a.name = v.name and a.queue = v.queue
	join r on r.name = coalesce(v.name, a.name)
	where a.id is not null or r.metric = 'database_down'
	    or case when r.over then v.value > r.bound else v.value < r.bound end;
end
$$;

-- The end of the quiet hours that are now; null: there are none. quiet as in
-- "22:00-07:00", in a time zone.
create function jobq.quiet_end(quiet text, zone text, at timestamptz default clock_timestamp()) returns timestamptz
language plpgsql stable as $$
declare
	begins time := split_part(quiet, '-', 1)::time;
	ends time := split_part(quiet, '-', 2)::time;
	local timestamp;
begin
	local := at at time zone zone;
	if (begins <= ends and local::time >= begins and local::time < ends)
	    or (begins > ends and (local::time >= begins or local::time < ends)) then
		return (local::date + ends + case when local::time < ends then interval '0' else interval '1 day' end) at time zone zone;
	end if;
	return null;
exception when invalid_parameter_value then
	return null;	-- no such zone here: better told by night than never
end
$$;

-- Store what a look has led to, if this node still holds the role, else return
-- null. Each change is of one alert:
--   event   breaks, mends, fires, tells, reminds, escalates, ends
--   tell    a notice is due, to the channels of the rule; below critical not
--           before the quiet hours are over
-- Returns how many notices are due now.
create function jobq.alert_store(node text, instance text, names text[], queues text[], events text[],
    tells boolean[], "values" float8[], metrics text[], severities text[], thresholds text[], messages text[],
    subjects text[], texts text[], datas text[], quiet text, zone text) returns bigint
language plpgsql as $$
#variable_conflict use_column
declare
	c record;
	a jobq.alert;
	moment timestamptz := clock_timestamp();
begin
	perform from jobq.leader l
	where l.role = 'alerts' and l.node = alert_store.node and l.instance = alert_store.instance and l.until > moment
	for update;
	if not found then
		return null;
	end if;
	for c in
		select * from unnest(names, queues, events, tells, alert_store."values", metrics, severities, thresholds,
		    messages, subjects, texts, datas)
		    u(name, queue, event, tell, value, metric, severity, threshold, message, subject, text, data)
	loop
		if c.event in ('breaks', 'fires') then
			insert into jobq.alert (name, queue, node, metric, since)
			values (c.name, c.queue, alert_store.node, c.metric, moment)
			on conflict (name, queue) where ended_at is null do nothing;
		end if;
		if c.event = 'mends' then
			delete from jobq.alert k
			where k.name = c.name and k.queue = c.queue and k.ended_at is null and k.fired_at is null;
			continue;
		end if;
		update jobq.alert k
		set node = alert_store.node, value = coalesce(c.value, k.value), severity = c.severity,
		    threshold = c.threshold,
		    message = case when c.event = 'ends' then k.message else coalesce(c.message, k.message) end,
		    fired_at = case when c.event = 'fires' then moment else k.fired_at end,
		    told_at = case when c.tell and c.event <> 'ends' then moment else k.told_at end,
		    escalated_at = case when c.event = 'escalates' then moment else k.escalated_at end,
		    ended_at = case when c.event = 'ends' then moment end
		where k.name = c.name and k.queue = c.queue and k.ended_at is null
		returning * into a;
		if found and c.tell then
			perform jobq.alert_tell(a, c.event, c.subject, c.text, c.data::jsonb, case when c.severity = 'critical'
			    or quiet = '' then moment else coalesce(jobq.quiet_end(quiet, zone, moment), moment) end);
		end if;
	end loop;
	delete from jobq.alert k where k.ended_at < moment - interval '90 days';
	return (select count(*) from jobq.alert_notice n where n.sent_at is null and n.error is null and n.due <= moment);
end
$$;

-- Put notices of an alert up to be sent, one for each of its channels: those of
-- its rule, or for its end those that were to hear of it before. What waits
-- for the end of quiet hours is never more than one for a channel, and when the
-- alert ends, only that is said.
create function jobq.alert_tell(a jobq.alert, event text, subject text, text text, data jsonb, due timestamptz) returns void
language plpgsql as $$
declare
	told text[];
begin
	if event = 'ends' then
		told := array(select distinct n.channel from jobq.alert_notice n where n.alert = a.id);
		delete from jobq.alert_notice n
		where n.alert = a.id and n.sent_at is null and n.error is null and n.due > clock_timestamp();
	else
		select case when event = 'escalates' then r.escalate_notify else r.notify end into told
		from jobq.alert_rules r where r.name = a.name;
	end if;
	insert into jobq.alert_notice (alert, event, channel, due, severity, subject, text, data)
	select a.id, alert_tell.event, c.channel, alert_tell.due, a.severity, alert_tell.subject, alert_tell.text, alert_tell.data
	from unnest(told) c(channel)
	where not exists (select from jobq.alert_notice n where n.alert = a.id and n.channel = c.channel
	    and n.sent_at is null and n.error is null and n.due > clock_timestamp());
end
$$;

-- The notices that are due and that nobody has sent, at most a hundred.
create function jobq.alert_notices()
returns table (id bigint, channel text, event text, severity text, subject text, text text, data text)
language sql stable as $$
	select n.id, n.channel, n.event, n.severity, n.subject, n.text, n.data::text
	from jobq.alert_notice n
	where n.sent_at is null and n.error is null and n.due <= clock_timestamp()
	order by n.id limit 100
$$;

-- These are delivered, or given up with an error.
create function jobq.alert_sent(ids bigint[], errors text[]) returns void
language sql as $$
	with s as (
		update jobq.alert_notice n
		set sent_at = case when u.error is null then clock_timestamp() end, error = u.error
		from unnest(ids, errors) u(id, error) where n.id = u.id
		returning n.alert, n.sent_at
	)
	update jobq.alert a set last_sent = greatest(a.last_sent, k.sent_at)
	from (select s.alert, max(s.sent_at) as sent_at from s group by s.alert) k
	where a.id = k.alert and k.sent_at is not null
$$;

-- What a node has seen by itself while the database was away: alerts that have
-- ended, with how long ago (µs) they began and ended. told: it was said.
create function jobq.alert_note(node text, names text[], metrics text[], severities text[], thresholds text[],
    messages text[], begun_us bigint[], ended_us bigint[], told boolean[]) returns void
language sql as $$
	insert into jobq.alert (name, node, metric, severity, threshold, message, value, since, fired_at, told_at, last_sent, ended_at)
	select u.name, alert_note.node, u.metric, u.severity, u.threshold, u.message, 1,
	    now() - u.begun * interval '1 microsecond', now() - u.begun * interval '1 microsecond',
	    case when u.told then now() - u.ended * interval '1 microsecond' end,
	    case when u.told then now() - u.ended * interval '1 microsecond' end,
	    now() - u.ended * interval '1 microsecond'
	from unnest(names, metrics, severities, thresholds, messages, begun_us, ended_us, told)
	    u(name, metric, severity, threshold, message, begun, ended, told)
$$;

-- The rule of that name; an unknown one is an error that shows the known ones.
create function jobq.alert_rule_get(name text) returns jobq.alert_rule
language plpgsql as $$
declare
	r jobq.alert_rule;
	names text;
begin
	select * into r from jobq.alert_rule k where k.name = alert_rule_get.name for update;
	if found then
		return r;
	end if;
	select string_agg(k.name, ', ' order by k.name) into names
	from (select k.name from jobq.alert_rule k order by k.name limit 20) k;
	raise exception 'there is no alert "%"', coalesce(left(name, 63), 'NULL')
	using errcode = '22023', hint = case when names is null then 'The configuration has no alerts.'
	    else format('The alerts are: %s.', names) end;
end
$$;

-- Somebody takes on what fires of this name (and queue; null: of any): no more
-- reminders, and no escalation. Returns how many alerts these were.
create function jobq.alert_ack(name text, queue text default null, by text default null, note text default '') returns int
language plpgsql as $$
declare
	n int;
	was jsonb;
begin
	perform jobq.need_all_tenants(), jobq.alert_rule_get(name);
	select jsonb_object_agg(a.queue, a.acknowledged_by) into was from jobq.alert a
	where a.name = alert_ack.name and a.queue = coalesce(alert_ack.queue, a.queue)
	    and a.ended_at is null and a.fired_at is not null;
	update jobq.alert a
	set acknowledged_by = coalesce(alert_ack.by, jobq.actor()), acknowledged_at = clock_timestamp()
	where a.name = alert_ack.name and a.queue = coalesce(alert_ack.queue, a.queue)
	    and a.ended_at is null and a.fired_at is not null;
	get diagnostics n = row_count;
	if n > 0 then
		perform jobq.audit_add('acknowledge', 'alert ' || name, concat_ws(': ', coalesce(alert_ack.by, jobq.actor()),
		    'queue ' || queue, nullif(note, '')), jsonb_build_object('acknowledged_by', was),
		    jsonb_build_object('acknowledged_by', coalesce(alert_ack.by, jobq.actor())));
	end if;
	return n;
end
$$;

-- Say nothing of the alerts of this name ('*': of all) and queue (null: of any)
-- until then, whether they fire now or not.
create function jobq.alert_silence(name text, until timestamptz, queue text default null,
    reason text default '', by text default null) returns void
language plpgsql as $$
declare
	was jsonb := (select to_jsonb(s) - 'at' from jobq.silence s where s.name = alert_silence.name
	    and s.queue = coalesce(alert_silence.queue, '') and s.until > clock_timestamp());
begin
	perform jobq.need_all_tenants();
	if name <> '*' then
		perform jobq.alert_rule_get(name);
	end if;
	if until is null or until <= clock_timestamp() then
		raise exception 'a silence ends in the future, not at %', coalesce(until::text, 'null') using errcode = '22023';
	end if;
	delete from jobq.silence s where s.until <= clock_timestamp();
	insert into jobq.silence as s (name, queue, until, by, reason)
	values (alert_silence.name, coalesce(alert_silence.queue, ''), alert_silence.until,
	    coalesce(alert_silence.by, jobq.actor()), coalesce(alert_silence.reason, ''))
	on conflict on constraint silence_pkey do update
	set until = excluded.until, by = excluded.by, reason = excluded.reason, at = excluded.at;
	perform jobq.audit_add('silence', 'alert ' || name, concat_ws(': ', 'until ' || jobq.said(until), 'queue ' || queue,
	    nullif(reason, '')), was, (select to_jsonb(s) - 'at' from jobq.silence s
	        where s.name = alert_silence.name and s.queue = coalesce(alert_silence.queue, '')));
end
$$;

-- End the silence of the same name and queue; false: there is none.
create function jobq.alert_unsilence(name text, queue text default null) returns boolean
language plpgsql as $$
declare
	was jsonb;
begin
	perform jobq.need_all_tenants();
	delete from jobq.silence s
	where s.name = alert_unsilence.name and s.queue = coalesce(alert_unsilence.queue, '') and s.until > clock_timestamp()
	returning to_jsonb(s) - 'at' into was;
	if not found then
		return false;
	end if;
	perform jobq.audit_add('unsilence', 'alert ' || name, coalesce('queue ' || queue, ''), was);
	return true;
end
$$;

-- Change a rule at run time: {"above": "2000", "for": "1m"}; what is null is the
-- configuration's again. It lasts, over restarts, until alert_reset() or until
-- the configuration says something else of the rule. Returns all changes.
create function jobq.alert_set(name text, changes jsonb) returns jsonb
language plpgsql as $$
declare
	r jobq.alert_rule := jobq.alert_rule_get(name);
	kind text := r.definition ->> 'kind';
	was jsonb := r.changes;
	c record;
	want text;
begin
	perform jobq.need_all_tenants();
	if jsonb_typeof(changes) is distinct from 'object' then
		raise exception 'changes is no object' using errcode = '22023', hint = 'As in {"above": "2000", "for": "1m"}.';
	end if;
	for c in select k.key, k.value, changes ->> k.key as text from jsonb_each(changes) k order by k.key loop
		continue when c.text is null and c.key in ('above', 'below', 'clear', 'for', 'window', 'min_jobs', 'severity', 'repeat');
		want := case
		    when c.key in ('above', 'below', 'clear') then
		        case when c.key <> 'clear' and r.definition ->> c.key is null then format('%s has no "%s"', name, c.key)
		            when jobq.amount(c.text, kind) is null then format('needs %s', case kind when 'count' then 'a number, as 1000'
		                when 'share' then 'a percentage, as 10%' when 'time' then 'a duration, as 30s' else 'a size, as 10GiB' end) end
		    when c.key in ('for', 'window', 'repeat') then
		        case when jobq.amount(c.text, 'time') is null or jobq.amount(c.text, 'time') > case c.key when 'repeat' then 2592000 else 86400 end
		                or (c.key = 'window' and jobq.amount(c.text, 'time') < 1)
		            then case c.key when 'window' then 'needs a duration from 1s to 1d' when 'for' then 'needs a duration up to 1d'
		                else 'needs a duration up to 30d' end end
		    when c.key = 'min_jobs' then case when c.text !~ '^[0-9]{1,9}$' then 'needs a number up to 999999999' end
		    when c.key = 'severity' then case when c.text not in ('info', 'warning', 'critical') then 'is not info, warning or critical' end
		    else 'is none of above, below, clear, for, window, min_jobs, severity, repeat' end;
		if want is not null then
			raise exception 'alert "%": %: "%" %', name, left(c.key, 30), left(coalesce(c.text, 'null'), 60), want using errcode = '22023';
		end if;
	end loop;
	-- as texts, like the configuration's; null takes a change back
	select coalesce(jsonb_object_agg(k.key, k.value) filter (where k.value is not null), '{}') into r.changes
	from (select key, value from jsonb_each_text(r.changes) o where not changes ? o.key
	    union all select key, value from jsonb_each_text(changes)) k;
	update jobq.alert_rule k set changes = r.changes,
	    changed_by = case when r.changes <> '{}' then jobq.actor() end,
	    changed_at = case when r.changes <> '{}' then clock_timestamp() end
	where k.name = r.name;
	perform jobq.audit_add('set', 'alert ' || name, changes::text, was, r.changes);
	return r.changes;
end
$$;

-- The configuration's values again. False: nothing was changed.
create function jobq.alert_reset(name text) returns boolean
language plpgsql as $$
declare
	r jobq.alert_rule := jobq.alert_rule_get(name);
begin
	perform jobq.need_all_tenants();
	if r.changes = '{}' then
		return false;
	end if;
	update jobq.alert_rule k set changes = '{}', changed_by = null, changed_at = null where k.name = r.name;
	perform jobq.audit_add('reset', 'alert ' || name, r.changes::text, r.changes, '{}');
	return true;
end
$$;
