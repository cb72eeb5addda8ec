-- What there is: for "jobqctl inventory".

-- All that the database knows of: arrays of objects by section. types: those
-- of which attempts ended while statistics are kept, and those of schedules.
create function jobq.inventory() returns jsonb
language sql stable set jit = off as $$
	select jsonb_build_object(
	'nodes', (
		select coalesce(jsonb_agg(jsonb_build_object('name', n.name, 'version', n.version, 'alive', n.alive,
		    'queues', to_jsonb(n.queues)) order by n.name), '[]')
		from jobq.nodes n where jobq.tenant() = ''),
	'queues', (
		select coalesce(jsonb_agg(jsonb_build_object('name', q.name, 'enabled', q.enabled, 'workers', q.workers,
		    'priority', case when q.large_first then 99 - q.priority else q.priority end, 'attempts', q.max_attempts,
		    'expire_ms', q.expire_ms, 'limits', (
			select coalesce(jsonb_agg(l.name order by l.name), '[]')
			from jobq.queue_limit k join jobq.limit_state l on l.id = k.limit_id where k.queue = q.id),
		    'paused', q.paused, 'served', exists (
			select from jobq.serves s join jobq.node n on n.id = s.node
			where s.queue = q.id and n.seen > now() - interval '1 minute')) order by q.name), '[]')
		from jobq.queue q),
	'types', (
		select coalesce(jsonb_agg(jsonb_build_object('name', t.queue || '/' || t.type, 'queue', t.queue, 'type', t.type)
		    order by t.queue, t.type), '[]')
		from (
			select s.queue, s.type from jobq.statistic s where s.type <> '' group by 1, 2
			union
			select s.queue, s.type from jobq.schedules s where s.type <> ''
		) t),
	'schedules', (
		select coalesce(jsonb_agg(jsonb_build_object('name', s.name, 'queue', s.queue, 'type', s.type, 'spec', s.spec,
		    'timezone', s.timezone, 'enabled', s.enabled, 'paused', s.paused, 'served', s.served, 'origin', s.origin)
		    order by s.name), '[]')
		from jobq.schedules s),
	'workers', (
		select coalesce(jsonb_agg(jsonb_build_object('name', w.worker, 'node', w.node, 'queue', w.queue,
		    'state', w.state) order by w.node, w.queue, length(w.worker), w.worker), '[]')
		from jobq.workers w where jobq.tenant() = ''),
	'limits', (
		select coalesce(jsonb_agg(jsonb_build_object('name', l.name, 'rate', l.rate, 'period_ms', l.period_ms,
		    'concurrency', l.concurrency, 'min_gap_ms', l.min_gap_ms) order by l.name), '[]')
		from jobq.limits l),
	'workflows', (
		select coalesce(jsonb_agg(jsonb_build_object('name', w.name, 'steps', (
			select coalesce(jsonb_agg(k order by k), '[]') from jsonb_object_keys(w.definition -> 'steps') k))
		    order by w.name), '[]')
		from jobq.workflow_def w))
$$;
