-- What the monitor tells: the health file, what an operator should look at,
-- the daily report.

-- The state of these queues as JSON for the health file. dead_letters: those
-- nobody has reviewed. no_workers: which of the queues should have workers
-- and have none, with commas between; null: all have. ready, running: of them
-- all. problems: what checkup() finds, a line each: its subject, a colon and
-- the text; null: nothing. (Queues without workers are in no_workers, and clocks
-- are compared by who knows when it asked.)
create function jobq.health(names text[], client_pid int default null, notified boolean default null, out queues text, out schedules text, out alerts text,
    out dead_letters bigint, out no_workers text, out ready bigint, out running bigint, out problems text)
language plpgsql stable set jit = off as $$
begin
	select coalesce(jsonb_object_agg(q.name, jsonb_build_object('ready', q.ready,
	        'running', q.running, 'failure_rate', f.rate, 'run_avg_ms', r.run,
	        'workers', q.workers, 'paused', q.paused)), '{}'),
	    string_agg(q.name, ', ' order by q.name) filter (where q.workers = 0 and k.workers > 0 and not q.paused),
	    coalesce(sum(q.ready), 0), coalesce(sum(q.running), 0)
	into queues, no_workers, ready, running
	from jobq.queues_about q
	join jobq.queue k on k.name = q.name
	left join lateral jobq.lately(k.id, interval '5 minutes') f on true
	left join lateral jobq.run_avg_ms(k.id, interval '5 minutes') r(run) on true
	where q.name = any (names);
	select coalesce(jsonb_object_agg(s.name, jsonb_build_object('last_run', s.last_run,
	    'next_run', s.next_run, 'lateness_ms', s.lateness_ms, 'missed', s.missed,
	    'enabled', s.enabled, 'paused', s.paused)), '{}') into schedules
	from jobq.schedules s where s.served;
	select coalesce(jsonb_agg(jsonb_build_object('name', a.name, 'queue', a.queue, 'state', a.state,
	    'value', a.value, 'since', a.since)), '[]') into alerts
	from jobq.alerts a where a.state <> 'ended';
	select count(*) into dead_letters from jobq.dead d join jobq.queue q on q.id = d.queue
	where d.reviewed_at is null and d.died_at > now() - jobq.ms(q.keep_dead_ms);
	select string_agg(translate(format('%s: %s; %s', c.subject, c.finding, c.advice), E'\r\n', '  '), E'\n') into problems
	from jobq.checkup(null, client_pid, notified) c where c.level <> 'ok' and c.subject <> 'workers';
end
$$;

-- What there is to say of a part of the whole. level: ok, warn (look at it),
-- bad (jobs are not done as they should be). advice: what to do; '' when ok.
create type jobq.finding as (subject text, level text, finding text, advice text);

create function jobq.check_server() returns setof jobq.finding
language plpgsql stable as $$
declare
	used int := (select count(*) from pg_stat_activity a where a.backend_type = 'client backend');
	most int := current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int;
	ids bigint := (select age(d.datfrozenxid) from pg_database d where d.datname = current_database());
begin
	if pg_is_in_recovery() then
		return next ('database', 'bad', 'it is a standby, which takes no jobs',
		    'name the primary in database.url, or several hosts and target_session_attrs=read-write')::jobq.finding;
	elsif current_setting('default_transaction_read_only')::boolean then
		return next ('database', 'bad', 'default_transaction_read_only is on for this role or database',
		    'set it off')::jobq.finding;
	elsif ids > 1500000000 then
		return next ('database', 'bad', format('transaction ids run out: the oldest is %s old', ids),
		    'see that autovacuum is on and nothing holds it back; run VACUUM (FREEZE) in this database')::jobq.finding;
	elsif not (current_setting('autovacuum')::boolean and current_setting('track_counts')::boolean) then
		return next ('database', 'warn', 'autovacuum is off', 'set autovacuum and track_counts on')::jobq.finding;
	elsif used >= most * 0.9 then
		return next ('database', 'warn', format('%s of %s connections are in use', used, most),
		    'raise max_connections, or put a pooler before what uses most')::jobq.finding;
	else
		return next ('database', 'ok', format('PostgreSQL %s, %s of %s connections in use',
		    current_setting('server_version'), used, most), '')::jobq.finding;
	end if;
end
$$;

-- A job is as safe as a commit.
create function jobq.check_durability() returns setof jobq.finding
language plpgsql stable as $$
declare
	off text := concat_ws(', ', case when not current_setting('fsync')::boolean then 'fsync' end,
	    case when not current_setting('full_page_writes')::boolean then 'full_page_writes' end,
	    case when current_setting('synchronous_commit') = 'off' then 'synchronous_commit' end);
begin
	if off <> '' then
		return next ('durability', 'warn', format('off in the database: %s; jobs can be lost when it crashes', off),
		    'set it on')::jobq.finding;
	else
		return next ('durability', 'ok', 'fsync, full_page_writes and synchronous_commit are on', '')::jobq.finding;
	end if;
end
$$;

create function jobq.check_clock(host timestamptz) returns setof jobq.finding
language plpgsql stable as $$
declare
	ahead float8 := extract(epoch from host - clock_timestamp());
begin
	if abs(ahead) > 2 then
		return next ('clock', 'warn', format('this host''s is %s s %s the database''s', round(abs(ahead)::numeric, 1),
		    case when ahead > 0 then 'ahead of' else 'behind' end),
		    'have both synchronised (NTP); jobs go by the database''s, logs by this one')::jobq.finding;
	elsif ahead is not null then
		return next ('clock', 'ok', format('this host and the database agree to %s ms',
		    ceil(abs(ahead) * 1000)::bigint), '')::jobq.finding;
	end if;
end
$$;

-- What is between the caller and the server.
create function jobq.check_way(client_pid int, notified boolean) returns setof jobq.finding
language plpgsql stable as $$
declare
	pooled boolean := client_pid <> pg_backend_pid();
begin
	if not notified then
		return next ('notifications', 'warn', case when pooled then 'they do not come through the pooler'
		    else 'they do not arrive' end || '; work is found by looking only, later',
		    'a pooler of transactions (PgBouncer) needs database.pooler: transaction')::jobq.finding;
	elsif pooled and notified is null then
		return next ('notifications', 'warn', 'a pooler stands before the database (PgBouncer?)',
		    'unless it pools whole sessions, set database.pooler: transaction')::jobq.finding;
	elsif notified then
		return next ('notifications', 'ok', case when pooled then 'they arrive, through a pooler of sessions'
		    else 'they arrive' end, '')::jobq.finding;
	end if;
end
$$;

-- Queues that have not the workers they should, or nobody at all.
create function jobq.check_workers() returns setof jobq.finding
language plpgsql stable as $$
declare
	none text;
	few text;
	left_alone text;
	total bigint;
begin
	select string_agg(k.name, ', ' order by k.name) filter (where k.wanted > 0 and k.alive = 0 and not k.paused),
	    string_agg(format('%s %s of %s', k.name, k.alive, k.wanted), ', ' order by k.name)
	        filter (where k.nodes > 0 and k.alive > 0 and k.alive < k.wanted),
	    string_agg(k.name, ', ' order by k.name) filter (where k.nodes = 0 and jobq.waiting_about(k.id) > 0),
	    sum(k.alive)
	into none, few, left_alone, total
	from (
		select q.id, q.name, q.paused, s.nodes, s.nodes * q.workers as wanted,
		    (select count(*) from jobq.pool p join jobq.worker w on w.pool = p.id where p.queue = q.id) as alive
		from jobq.queue q,
		lateral (
			-- a node that has just come has none yet
			select count(*) as nodes from jobq.serves v join jobq.node n on n.id = v.node
			where v.queue = q.id and n.seen > now() - interval '1 minute'
			    and greatest(n.started_at, q.created_at) < now() - interval '30 seconds'
			    or v.queue = q.id and exists (select from jobq.pool p where p.node = n.id and p.queue = q.id)
		) s
	) k;
	if none is not null then
		return next ('workers', 'bad', format('no workers in: %s', none),
		    'see the log of the nodes that serve them')::jobq.finding;
	end if;
	if left_alone is not null then
		return next ('queues', 'warn', format('jobs wait in queues that no node serves: %s', left_alone),
		    'start a node that serves them, or "jobqctl queue clear" and "queue remove"')::jobq.finding;
	end if;
	if few is not null then
		return next ('workers', 'warn', format('fewer than wanted: %s', few),
		    'see the log of the nodes that serve them')::jobq.finding;
	elsif none is null then
		return next ('workers', 'ok', format('%s alive, in all queues that are served', coalesce(total, 0)), '')::jobq.finding;
	end if;
end
$$;

create function jobq.check_leases() returns setof jobq.finding
language plpgsql stable as $$
declare
	late text;
	oldest interval;
begin
	select string_agg(format('%s on %s for %s s', q.name, n.name,
	        round(extract(epoch from p.age))), ', ' order by p.age desc)
	        filter (where p.age > jobq.ms(p.lease_ms) and not exists (select from jobq.claim c
	            where c.queue = p.queue and c.pool = p.id and c.batch >= p.oldest_batch
	                and c.at > clock_timestamp() - jobq.ms(p.lease_ms))),
	    max(p.age)
	into late, oldest
	from (select k.*, clock_timestamp() - greatest(k.seen, pg_postmaster_start_time()) as age from jobq.pool k
	    where not k.pull) p
	join jobq.queue q on q.id = p.queue join jobq.node n on n.id = p.node;
	if late is not null then
		return next ('leases', 'bad', format('not renewed: %s', left(late, 400)),
		    'if the node is gone their jobs run again elsewhere; else see its log')::jobq.finding;
	elsif oldest is not null then
		return next ('leases', 'ok', format('the oldest was renewed %s s ago',
		    greatest(0, round(extract(epoch from oldest)))), '')::jobq.finding;
	else
		return next ('leases', 'ok', 'nobody has any', '')::jobq.finding;
	end if;
end
$$;

-- Late is what should have run ten seconds ago.
create function jobq.check_schedules() returns setof jobq.finding
language plpgsql stable as $$
declare
	late text;
	n bigint;
	chief text := (select l.node from jobq.leader l where l.role = 'scheduler' and l.until > clock_timestamp());
begin
	select string_agg(format('%s by %s s', l.name, round(l.seconds)), ', ' order by l.seconds desc)
	    filter (where l.seconds > 10), count(*)
	into late, n
	from jobq.schedules s left join jobq.schedule_late() l on l.name = s.name
	where s.enabled and not s.paused;
	if chief is null
	    and exists (select from jobq.node k
	        where k.seen > now() - interval '30 seconds' and k.started_at < now() - interval '10 seconds')
	    and not exists (select from jobq.leader l
	        where l.role = 'scheduler' and l.until > clock_timestamp() - interval '10 seconds') then
		return next ('scheduler', 'bad', 'none leads: nothing that waits for its time is run',
		    'see the log of the schedulers')::jobq.finding;
	elsif late is not null then
		return next ('scheduler', 'bad', format('schedules are late: %s', left(late, 400)),
		    format('see the log of the scheduler of %s', chief))::jobq.finding;
	else
		return next ('scheduler', 'ok', format('%s leads, %s schedules', coalesce(chief, 'none'), n), '')::jobq.finding;
	end if;
end
$$;

create function jobq.check_snapshots(longest interval default '10 minutes') returns setof jobq.finding
language plpgsql stable as $$
declare
	s record;
begin
	select *, clock_timestamp() - k.since as age into s
	from jobq.snapshots() k order by k.since nulls last, k.ids desc limit 1;
	if s.age > longest or s.age is null and s.ids > 1000000 then
		return next ('snapshots', 'warn', format('%s %s; nothing that became dead since then can be removed, the tables grow',
		    s.who, coalesce('is open for ' || jobq.said(s.age), format('holds what is %s transactions old', s.ids))),
		    s.advice)::jobq.finding;
	else
		return next ('snapshots', 'ok', format('the oldest transaction is %s old', coalesce(jobq.said(s.age), '0 s')), '')::jobq.finding;
	end if;
end
$$;

create function jobq.check_size() returns setof jobq.finding
language plpgsql stable as $$
declare
	bytes bigint := jobq.bytes();
	most bigint := (select m.keep_size from jobq.meta m);
	a_day numeric;
	told text;
	stuck text;
begin
	-- of the last week, once there is half a day of it
	select regr_slope(s.bytes, extract(epoch from s.at) / 86400)::numeric into a_day
	from jobq.size s where s.at > now() - interval '7 days' having count(*) >= 12;
	told := format('the tables take %s', pg_size_pretty(bytes)) || coalesce(', ' ||
	    case when a_day < 0 then '' else '+' end || pg_size_pretty(a_day) || ' a day', '');
	select string_agg(p.id::text, ', ' order by p.id) into stuck
	from jobq.part p where p.state = 'history' and p.cut_at < now() - interval '1 day'
	    - (select jobq.ms(max(q.keep_history_ms)) from jobq.queue q);
	if most > 0 and bytes > most then
		return next ('size', 'warn', format('%s, more than monitor.keep_size (%s)%s', told, pg_size_pretty(most),
		    case when exists (select from jobq.part p where p.state = 'history'
		            or p.cut_at is not null and coalesce(p.checked_at, '-infinity') < now() - interval '10 minutes')
		        then '' else ', and nothing finished is left to remove' end),
		    'raise it, or look for what piles up: jobs that wait, dead letters nobody has reviewed')::jobq.finding;
	elsif stuck is not null then
		return next ('size', 'warn', format('%s; history of partition %s should be gone, and somebody reads it all the time', told, stuck),
		    'look for long queries of the view attempts')::jobq.finding;
	else
		return next ('size', 'ok', told || '; how much the disk has left cannot be seen from here', '')::jobq.finding;
	end if;
end
$$;

-- Look at everything that jobqd depends on. Each part is a function above that
-- says what it finds, in a row at least, if it can know; all cost few look-ups.
--   host_clock  the caller's clock (null: unknown, as below)
--   client_pid  the server process that the caller's library thinks it talks to
--   notified    a notification that the caller sent was heard
create function jobq.checkup(host_clock timestamptz default null, client_pid int default null,
    notified boolean default null)
returns table (subject text, level text, finding text, advice text)
language sql stable as $$
	select jobq.need_all_tenants();
	select * from jobq.check_server()
	union all select * from jobq.check_durability()
	union all select * from jobq.check_clock(host_clock)
	union all select * from jobq.check_way(client_pid, notified)
	union all select * from jobq.check_workers()
	union all select * from jobq.check_leases()
	union all select * from jobq.check_schedules()
	union all select * from jobq.check_snapshots()
	union all select * from jobq.check_size()
$$;

-- How a queue's attempts ended in the last while (to five minutes), and the
-- share of them that failed.
create function jobq.lately(queue_id smallint, "window" interval, out completed bigint,
    out failed bigint, out dead bigint, out cancelled bigint, out lost bigint, out rate float8)
language sql stable as $$
	select coalesce(sum(t.completed), 0)::bigint, coalesce(sum(t.failed), 0)::bigint,
	    coalesce(sum(t.dead), 0)::bigint, coalesce(sum(t.cancelled), 0)::bigint,
	    coalesce(sum(t.lost), 0)::bigint,
	    coalesce(round(sum(t.failed + t.dead) / nullif(sum(t.completed + t.failed + t.dead), 0)::numeric, 4), 0)::float8
	from (
		select * from jobq.total union all
		select queue, at, completed, failed, dead, cancelled, lost from jobq.tally
	) t
	where t.queue = queue_id and t.at > jobq.five_minutes(now() - "window")
$$;

-- How long the latest attempts of a queue ran, on average; of the last 1000.
create function jobq.run_avg_ms(queue_id smallint, "window" interval) returns bigint
language sql stable as $$
	select (avg(extract(epoch from a.finished_at - a.started_at)) * 1000)::bigint
	from (
		select k.started_at, k.finished_at from jobq.claim c, unnest(c.jobs, c.attempts) u(job, attempt)
		join jobq.attempt k on k.job = u.job and k.attempt = u.attempt
		where c.queue = queue_id and c.batch > (jobq.last_claim(queue_id)).batch - 100
		    and k.outcome in (1, 2, 3) and k.finished_at > now() - "window"
		limit 1000
	) a
$$;

-- A line for each queue about the last while.
create function jobq.report("window" interval)
returns table (queue text, completed bigint, failed bigint, dead bigint, cancelled bigint,
    lost bigint, ready bigint, dead_letters bigint, run_avg_ms bigint)
language sql stable as $$
	select jobq.need_all_tenants();
	select q.name, t.completed, t.failed, t.dead, t.cancelled, t.lost, q.ready, q.dead, r.run
	from jobq.queues q
	join jobq.queue k on k.name = q.name
	left join lateral jobq.lately(k.id, "window") t on true
	left join lateral jobq.run_avg_ms(k.id, "window") r(run) on true
	order by q.name
$$;

-- How attempts ended from since on, until `until`: from the statistics, where
-- they were taken, after that from the counts that they are taken from. Both
-- are pieces of some minutes, so it is right to the length of one.
create function jobq.ends(since timestamptz, until timestamptz)
returns table (at timestamptz, queue text, completed bigint, failed bigint, dead bigint, cancelled bigint, lost bigint)
language sql stable as $$
	select s.at, s.queue, s.completed, s.failed, s.dead, s.cancelled, s.lost
	from jobq.statistic s
	where s.level = any (jobq.levels(1)) and s.at >= since and s.at < until
	union all
	select t.at, q.name, t.completed, t.failed, t.dead, t.cancelled, t.lost
	from (
		select * from jobq.total union all
		select queue, at, completed, failed, dead, cancelled, lost from jobq.tally
	) t
	join jobq.queue q on q.id = t.queue
	where t.at >= greatest(since, (select s.at from jobq.statistics_at s)) and t.at < until
$$;

create function jobq.ends_by_queue(since timestamptz, until timestamptz)
returns table (queue text, completed bigint, failed bigint, dead bigint, cancelled bigint, lost bigint, rate float8)
language sql stable as $$
	select e.queue, sum(e.completed)::bigint, sum(e.failed)::bigint, sum(e.dead)::bigint, sum(e.cancelled)::bigint,
	    sum(e.lost)::bigint, round(sum(e.failed + e.dead) / nullif(sum(e.completed + e.failed + e.dead), 0), 4)::float8
	from jobq.ends(since, until) e group by e.queue
$$;

-- All that a report of the last while tells, most important things first:
--   since, until
--   queues         name, completed, failed (and tried again), dead, cancelled,
--                  lost, failure_rate, wait_p50_ms p95 p99, run_avg_ms p50 p95
--                  p99, ready, oldest_ready_ms, dead_letters (nobody has
--                  reviewed), before: completed, failed, dead, failure_rate
--                  of the while before
--   types          the ten with most attempts: queue, type, completed, failed,
--                  dead, failure_rate, run_p50_ms, run_p95_ms
--   errors         the ten most frequent: queue, type, class, fingerprint,
--                  error, count
--   schedules      that missed an instant at any time or are late: name, queue,
--                  last_run, next_run, lateness_ms, missed
--   dead_letters   nobody has reviewed
--   series         at, completed, failed: of each hour; of days beyond four
create function jobq.report_json("window" interval default '1 day') returns jsonb
language plpgsql stable set jit = off as $$
declare
	till timestamptz := clock_timestamp();
	since timestamptz := jobq.five_minutes(till - "window");
	step interval := case when "window" > '4 days' then '1 day' else '1 hour' end;
begin
	perform jobq.need_all_tenants();
	return jsonb_build_object('since', since, 'until', till, 'step', extract(epoch from step)::int,
	    'queues', jobq.report_queues(since, till), 'types', jobq.report_types(since),
	    'errors', (
		select coalesce(jsonb_agg(e order by e.count desc, e.queue, e.fingerprint), '[]')
		from (
			select k.queue, k.type, k.class, k.fingerprint, max(k.error) as error, sum(k.count)::bigint as count
			from jobq.errors k where k.at >= since
			group by 1, 2, 3, 4 order by 6 desc limit 10
		) e),
	    'schedules', (
		select coalesce(jsonb_agg(jsonb_build_object('name', s.name, 'queue', s.queue, 'last_run', s.last_run,
		    'next_run', s.next_run, 'lateness_ms', s.lateness_ms, 'missed', s.missed) order by s.name), '[]')
		from jobq.schedules s
		where s.served and (s.missed > 0 or s.lateness_ms > 10000
		    or s.name in (select l.name from jobq.schedule_late() l where l.seconds > 10))),
	    'dead_letters', (select count(*) from jobq.dead_letters d where d.reviewed_at is null),
	    'series', (
		select coalesce(jsonb_agg(jsonb_build_object('at', t.at, 'completed', coalesce(e.completed, 0),
		    'failed', coalesce(e.failed, 0)) order by t.at), '[]')
		from generate_series(since, till - interval '1 microsecond', step) t(at)
		left join (
			select date_bin(step, k.at, since) as at, sum(k.completed)::bigint as completed,
			    sum(k.failed + k.dead)::bigint as failed
			from jobq.ends(since, till) k group by 1
		) e on e.at = t.at));
end
$$;

create function jobq.report_queues(since timestamptz, till timestamptz) returns jsonb
language sql stable as $$
	select coalesce(jsonb_agg(jsonb_build_object('name', q.name,
	    'completed', coalesce(e.completed, 0), 'failed', coalesce(e.failed, 0), 'dead', coalesce(e.dead, 0),
	    'cancelled', coalesce(e.cancelled, 0), 'lost', coalesce(e.lost, 0), 'failure_rate', coalesce(e.rate, 0),
	    'wait_p50_ms', jobq.quantile(s.waits, 0.5, s.wait_max_ms),
	    'wait_p95_ms', jobq.quantile(s.waits, 0.95, s.wait_max_ms),
	    'wait_p99_ms', jobq.quantile(s.waits, 0.99, s.wait_max_ms),
	    'run_avg_ms', round(s.run_ms / nullif(jobq.histogram_count(s.runs), 0))::bigint,
	    'run_p50_ms', jobq.quantile(s.runs, 0.5, s.run_max_ms),
	    'run_p95_ms', jobq.quantile(s.runs, 0.95, s.run_max_ms),
	    'run_p99_ms', jobq.quantile(s.runs, 0.99, s.run_max_ms),
	    'ready', q.ready, 'oldest_ready_ms', (extract(epoch from till - q.oldest_ready_at) * 1000)::bigint,
	    'dead_letters', (select count(*) from jobq.dead_letters d where d.queue = q.name and d.reviewed_at is null),
	    'before', jsonb_build_object('completed', coalesce(b.completed, 0), 'failed', coalesce(b.failed, 0),
	        'dead', coalesce(b.dead, 0), 'failure_rate', coalesce(b.rate, 0))) order by q.name), '[]')
	from jobq.queues q
	left join jobq.ends_by_queue(since, till) e on e.queue = q.name
	left join jobq.ends_by_queue(since - (till - since), since) b on b.queue = q.name
	left join (
		select k.queue, jobq.histogram_sum(k.waits) as waits, max(k.wait_max_ms) as wait_max_ms,
		    jobq.histogram_sum(k.runs) as runs, sum(k.run_ms) as run_ms, max(k.run_max_ms) as run_max_ms
		from jobq.statistic k where k.level = any (jobq.levels(1)) and k.at >= since group by 1
	) s on s.queue = q.name
$$;

create function jobq.report_types(since timestamptz) returns jsonb
language sql stable as $$
	select coalesce(jsonb_agg(jsonb_build_object('queue', t.queue, 'type', t.type, 'completed', t.completed,
	    'failed', t.failed, 'dead', t.dead, 'failure_rate', round((t.failed + t.dead) / t.all_of_them, 4),
	    'run_p50_ms', jobq.quantile(t.runs, 0.5, t.run_max_ms),
	    'run_p95_ms', jobq.quantile(t.runs, 0.95, t.run_max_ms)) order by t.all_of_them desc), '[]')
	from (
		select s.queue, s.type, sum(s.completed) as completed, sum(s.failed) as failed, sum(s.dead) as dead,
		    sum(s.completed + s.failed + s.dead) as all_of_them,
		    jobq.histogram_sum(s.runs) as runs, max(s.run_max_ms) as run_max_ms
		from jobq.statistic s where s.level = any (jobq.levels(2)) and s.at >= since
		group by 1, 2 having sum(s.completed + s.failed + s.dead) > 0 order by 6 desc limit 10
	) t
$$;
