-- The views: what people and tools read.

-- Every job with its state. By id it is a few look-ups; by state see jobs_in().
create view jobq.jobs as
	select j.id, q.name as queue, j.type,
	    case when a.outcome in (1, 3, 4) then jobq.outcome_name(a.outcome)
	        when l.job is not null then 'running'
	        when b.job is not null then 'blocked'
	        when t.attempt > 1 then 'retrying'
	        when t.job is not null then 'scheduled'
	        else 'ready' end as state,
	    (case when q.large_first then 99 - j.lane / 256 else j.lane / 256 end)::int as priority,
	    j.data, a.result, a.error,
	    nullif(jobq.class_name(a.class), '') as error_class,
	    coalesce(l.attempt, a.attempt, 0)::int as attempt,
	    coalesce(j.max_attempts, q.max_attempts) as max_attempts,
	    p.pct::int as progress, p.note as progress_note,
	    j.tenant, j.tags, j.unique_key, j.key,
	    coalesce(t.run_at, j.run_at, j.created_at) as run_at,
	    j.created_at,
	    coalesce(l.at, a.started_at) as started_at,
	    case when a.outcome in (1, 3, 4) then a.finished_at end as finished_at,
	    n.name as node,
	    coalesce(u.worker, q.name || '/' || coalesce(w.slot, a.worker)) as worker,
	    (select k.workflow from jobq.step_job k where k.job = j.id limit 1) as workflow
	from jobq.job j
	join jobq.queue q on q.id = j.queue
	left join lateral (select * from jobq.attempt k where k.job = j.id
	    order by k.attempt desc limit 1) a on true
	left join jobq.lease l on l.job = j.id
	left join jobq.pool o on o.id = l.pool
	left join jobq.worker w on w.pool = l.pool and w.job = j.id
	left join jobq.pull u on u.job = l.job and u.attempt = l.attempt
	left join jobq.node n on n.id = coalesce(o.node, a.node)
	left join jobq.timer t on t.job = j.id
	left join jobq.blocked b on b.job = j.id
	left join jobq.progress p on p.job = j.id and p.attempt >= coalesce(l.attempt, a.attempt, 1)
	where case a.outcome
	    when 1 then a.finished_at > now() - jobq.ms(q.keep_completed_ms)
	    when 3 then a.finished_at > now() - jobq.ms(q.keep_dead_ms)
	    when 4 then a.finished_at > now() - jobq.ms(q.keep_cancelled_ms)
	    else true end;

-- The ended attempts, also those of jobs that are gone.
create view jobq.attempts as
	select a.job as job_id, a.attempt::int, jobq.outcome_name(a.outcome) as outcome,
	    nullif(jobq.class_name(a.class), '') as class, a.error, a.started_at, a.finished_at,
	    n.name as node, q.name || '/' || a.worker as worker, a.exit_status,
	    a.signal::int, a.cpu_ms, a.max_rss_kb, a.result, q.name as queue
	from (select * from jobq.attempt union all select * from jobq.history) a
	left join jobq.queue q on q.id = a.queue
	left join jobq.node n on n.id = a.node
	where a.outcome < 6;

-- The queues with how many jobs are in which state, but for those that are ready.
create view jobq.queue_counts as
	select q.id as queue, q.name, q.paused, q.pause_reason, q.paused_by, q.paused_at, q.paused_until,
	    exists (select from jobq.serves s join jobq.node n on n.id = s.node
	        where s.queue = q.id and n.seen > now() - interval '1 minute') as served,
	    coalesce(t.scheduled, 0) as scheduled, coalesce(b.blocked, 0) as blocked,
	    coalesce(l.running, 0) as running, coalesce(t.retrying, 0) as retrying,
	    greatest(0, coalesce(c.completed, 0)) as completed, coalesce(d.dead, 0) as dead,
	    greatest(0, coalesce(c.cancelled, 0)) as cancelled, coalesce(w.workers, 0) as workers,
	    (select count(*) from jobq.hold h where h.queue in (0, q.id)
	        and (h.tenant is null or jobq.tenant() in ('', h.tenant))) as holds
	from jobq.queue q
	left join (select queue, count(*) filter (where attempt = 1) as scheduled,
	    count(*) filter (where attempt > 1) as retrying from jobq.timer group by queue) t on t.queue = q.id
	left join (select queue, count(*) as blocked from jobq.blocked group by queue) b on b.queue = q.id
	left join (select queue, count(*) as running from jobq.lease group by queue) l on l.queue = q.id
	left join (select k.queue, count(*) as dead from jobq.dead k join jobq.queue q on q.id = k.queue
	    where k.died_at > now() - jobq.ms(q.keep_dead_ms) group by k.queue) d on d.queue = q.id
	left join (select p.queue, count(*) as workers from jobq.worker k join jobq.pool p on p.id = k.pool
	    group by p.queue) w on w.queue = q.id
	left join lateral (select sum(k.completed) filter (where k.at > now() - jobq.ms(q.keep_completed_ms))::bigint as completed,
	        sum(k.cancelled) filter (where k.at > now() - jobq.ms(q.keep_cancelled_ms))::bigint as cancelled
	    from (select queue, at, completed, cancelled from jobq.total where (select jobq.tenant() = '')
	        union all select queue, at, completed, cancelled from jobq.tally where (select jobq.tenant() = '')
	        union all select q.id, s.* from jobq.ended_share(q.name) s where (select jobq.tenant() <> '')) k
	    where k.queue = q.id) c on true;

-- All of them. Exact, so it takes long beside a large backlog: two seconds a
-- million of ready jobs.
create view jobq.queues as
	select q.name, q.paused, q.pause_reason, q.served, q.scheduled, q.blocked, r.ready, q.running, q.retrying,
	    q.completed, q.dead, q.cancelled, r.oldest_ready_at, q.workers,
	    q.paused_by, q.paused_at, q.paused_until, q.holds
	from jobq.queue_counts q, jobq.ready_of(q.queue) r;

-- The same for the monitor, which asks again and again: ready is an estimate
-- above 20,000, and never a tenant's share.
create view jobq.queues_about as
	select q.name, q.paused, q.pause_reason, q.served, q.scheduled, q.blocked, r.ready, q.running, q.retrying,
	    q.completed, q.dead, q.cancelled, r.oldest_ready_at, q.workers,
	    q.paused_by, q.paused_at, q.paused_until, q.holds
	from jobq.queue_counts q, jobq.ready_about(q.queue, 20000) r;

-- What is paused: queues, and types and tenants of a queue or of all (null).
create view jobq.holds as
	select q.name as queue, null as type, null as tenant, q.pause_reason as reason,
	    q.paused_by as by, q.paused_at as at, q.paused_until as until
	from jobq.queue q where q.paused
	union all
	select q.name, h.type, h.tenant, h.reason, h.by, h.at, h.until
	from jobq.hold h left join jobq.queue q on q.id = h.queue
	where h.tenant is null or jobq.tenant() in ('', h.tenant);

create view jobq.dead_letters as
	select d.job as job_id, q.name as queue, j.type, a.error,
	    nullif(jobq.class_name(d.class), '') as error_class, d.fingerprint,
	    d.attempt::int as attempts, d.died_at, d.reviewed_by, d.reviewed_at, d.notes,
	    j.tenant, j.data
	from jobq.dead d
	join jobq.job j on j.id = d.job
	join jobq.queue q on q.id = d.queue
	left join jobq.attempt a on a.job = d.job and a.attempt = d.attempt
	where d.died_at > now() - jobq.ms(q.keep_dead_ms);

-- The dead letters by reason, with the error of the newest job of each.
create view jobq.dead_groups as
	select g.fingerprint, q.name as queue, j.type, nullif(jobq.class_name(g.class), '') as error_class,
	    a.error, g.count, g.reviewed, g.first_died_at, g.last_died_at, g.last_job_id
	from (
		select d.queue, d.fingerprint, d.class, count(*) as count, count(d.reviewed_at) as reviewed,
		    min(d.died_at) as first_died_at, max(d.died_at) as last_died_at, max(d.job) as last_job_id
		from jobq.dead d join jobq.queue k on k.id = d.queue
		where d.died_at > now() - jobq.ms(k.keep_dead_ms)
		group by d.queue, d.fingerprint, d.class
	) g
	join jobq.queue q on q.id = g.queue
	join lateral (select * from jobq.job k where k.id = g.last_job_id limit 1) j on true
	left join lateral (select * from jobq.attempt k where k.job = g.last_job_id and k.outcome = 3 limit 1) a on true;

-- The schedules of the configuration and those made at run time.
create view jobq.schedules as
	select s.name, q.name as queue, s.type, s.spec, s.timezone, s.enabled, s.paused,
	    s.last_run, case when s.enabled and f.served and not s.paused then s.next_run end as next_run,
	    s.last_jobs[cardinality(s.last_jobs)] as last_job_id, s.lateness_ms, s.missed,
	    f.served, s.description, s.data, s.origin, jobq.schedule_outcome(s.last_jobs) as last_outcome,
	    cardinality(s.last_jobs) as last_jobs, s.fired, s.skipped, s.failed, s.last_error, s.last_error_at,
	    s.overlap, s.only_if, s.for_each, s.priority, s.tenant, s.error, s.changed_at
	from jobq.schedule s join jobq.queue q on q.id = s.queue,
	lateral (select s.origin = 'sql' or exists (select from jobq.fires k join jobq.node n on n.id = k.node
	    where k.schedule = s.name and n.seen > now() - interval '1 minute') as served) f;

create view jobq.workers as
	select n.name as node, q.name as queue, q.name || '/' || w.slot as worker, w.pid, w.state,
	    w.job as job_id, w.since, w.jobs, w.rss_kb
	from jobq.worker w
	join jobq.pool p on p.id = w.pool
	join jobq.queue q on q.id = p.queue
	join jobq.node n on n.id = p.node
	union all	-- those elsewhere, as long as they have a job
	select n.name, q.name, u.worker, null, 'busy', u.job, u.at, null, null
	from jobq.pull u
	join jobq.pool p on p.id = u.pool
	join jobq.queue q on q.id = p.queue
	join jobq.node n on n.id = p.node;

create view jobq.nodes as
	select n.name, n.instance, n.version, n.started_at, n.seen,
	    n.seen > now() - interval '1 minute' as alive,
	    array(select q.name from jobq.serves s join jobq.queue q on q.id = s.queue
	        where s.node = n.id order by q.name) as queues
	from jobq.node n;

-- A step that is a list shows how many jobs it has, not which.
create view jobq.workflows as
	select w.id, w.name, w.state,
	    (select coalesce(jsonb_object_agg(s.name, case when s.list then jsonb_build_object('job_id', null,
	            'state', case s.state when 'active' then 'running' else s.state end, 'jobs', s.total,
	            'completed', s.completed, 'failed', s.total - s.open - s.completed)
	        else jsonb_build_object('job_id', k.job, 'state',
	            coalesce(case when s.state = 'active' then (select j.state from jobq.jobs j where j.id = k.job) end, s.state))
	        end), '{}')
	    from jobq.step s
	    left join jobq.step_job k on k.workflow = s.workflow and k.step = s.name and not s.list
	    where s.workflow = w.id) as steps,
	    w.data, w.tenant, w.failed_step, w.error, w.on_failure_job, w.created_at, w.finished_at
	from jobq.workflow_run w;

-- The named limits: how many were started in the last period, how many are on
-- lease at most; 0 in rate, concurrency, min_gap_ms: not limited.
create view jobq.limits as
	select s.name, s.rate, s.period_ms, s.concurrency, s.min_gap_ms,
	    case when s.rate > 0 then (select sum(u)::int from unnest(jobq.steps(s, jobq.step_now(s))) u) end as started,
	    (select coalesce(sum(p.held), 0)::int from jobq.queue_limit k join jobq.pool_load p on p.queue = k.queue
	        where k.limit_id = s.id) as running,
	    array(select q.name from jobq.queue_limit k join jobq.queue q on q.id = k.queue
	        where k.limit_id = s.id order by 1) as queues
	from jobq.limit_state s;

-- The alerts that have fired, also those that have ended (for 90 days).
create view jobq.alerts as
	select a.name, nullif(a.queue, '') as queue,
	    case when a.ended_at is not null then 'ended' when s.until is not null then 'silenced'
	        when a.acknowledged_by is not null then 'acknowledged' else 'firing' end as state,
	    a.value, a.since, a.acknowledged_by, s.until as silenced_until, a.ended_at,
	    a.severity, a.metric, a.threshold, a.message, a.node, a.acknowledged_at, a.last_sent
	from jobq.alert a
	left join lateral (select max(k.until) as until from jobq.silence k
	    where k.name in ('*', a.name) and k.queue in ('', a.queue) and k.until > now() and a.ended_at is null) s on true
	where a.fired_at is not null;

create view jobq.silences as
	select nullif(s.name, '*') as name, nullif(s.queue, '') as queue, s.until, s.by, s.at, s.reason
	from jobq.silence s where s.until > now();

-- A row for each queue, type and tenant of which attempts ended in the piece of
-- time, or one of a queue where nothing did. failed: and did not complete;
-- dead: of those, for good. ready … are the queue's, at the end of the piece.
create view jobq.statistics as
	select s.at, s.queue, s.type, s.tenant, s.completed, s.failed + s.dead as failed,
	    jobq.quantile(s.waits, 0.5, s.wait_max_ms) as wait_p50_ms, jobq.quantile(s.waits, 0.99, s.wait_max_ms) as wait_p99_ms,
	    jobq.quantile(s.runs, 0.5, s.run_max_ms) as run_p50_ms, jobq.quantile(s.runs, 0.99, s.run_max_ms) as run_p99_ms,
	    d.ready, s.span, s.dead, s.cancelled, s.lost,
	    round(s.wait_ms / nullif(jobq.histogram_count(s.waits), 0))::bigint as wait_avg_ms,
	    jobq.quantile(s.waits, 0.95, s.wait_max_ms) as wait_p95_ms, round(s.wait_max_ms)::bigint as wait_max_ms,
	    round(s.run_ms / nullif(jobq.histogram_count(s.runs), 0))::bigint as run_avg_ms,
	    jobq.quantile(s.runs, 0.95, s.run_max_ms) as run_p95_ms, round(s.run_max_ms)::bigint as run_max_ms,
	    jobq.class_counts(s.classes) as errors,
	    d.running, d.scheduled, d.retrying, d.blocked, d.dead as dead_letters, d.oldest_ready_ms
	from jobq.statistic s left join jobq.depth d on d.at = s.at and d.queue = s.queue
	where s.level = any (jobq.levels(4))
	union all
	select d.at, d.queue, null, null, 0, 0, null, null, null, null, d.ready, d.span, 0, 0, 0, null, null, null,
	    null, null, null, '{}', d.running, d.scheduled, d.retrying, d.blocked, d.dead, d.oldest_ready_ms
	from jobq.depth d
	where not exists (select from jobq.statistic s
	    where s.level = any (jobq.levels(1)) and s.at = d.at and s.queue = d.queue);

-- Why attempts failed, in the same pieces of time: the most frequent reasons.
-- error is one of them; count an estimate where very many failed.
create view jobq.errors as
	select e.at, e.queue, e.type, nullif(jobq.class_name(e.class), '') as class, e.fingerprint, e.count, e.error
	from jobq.statistic_error e;

-- The table audit is read as it is: at, actor, action, target, detail.

-- The keys that data is encrypted with: how many jobs need each. Looks at all
-- jobs of all queues.
create view jobq.encryption_keys as
	select q.name as queue, j.data #>> '{$enc,k}' as key,
	    count(*) filter (where a.outcome is null or a.outcome not in (1, 3, 4, 6)) as unfinished,
	    count(*) filter (where a.outcome = 3) as dead,
	    count(*) filter (where a.outcome in (1, 4, 6)) as ended
	from jobq.job j join jobq.queue q on q.id = j.queue
	    left join lateral (select k.outcome from jobq.attempt k where k.job = j.id
	        order by k.attempt desc limit 1) a on true
	where jobq.is_sealed(j.data)
	group by q.name, j.data #>> '{$enc,k}';
