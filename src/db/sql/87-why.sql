-- Why a job does not run, or what became of it, in one sentence for a person.
--
-- Each cause is a function of the job and its queue that says its sentence, or
-- null when it is not the cause; why() asks them in their order. Another cause
-- is another function and a line there. All are a few look-ups by key, and no
-- more than a thousand turns are looked at.

create function jobq.why(id bigint) returns text
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off set jit = off as $$
declare
	j jobq.job;
	q jobq.queue;
	own text;	-- what holds this job
	all_of_it text;	-- what holds all its queue, or the likes of it
begin
	select * into j from jobq.job k where k.id = why.id;
	if not found then
		return jobq.why_gone(id);
	end if;
	select * into q from jobq.queue k where k.id = j.queue;
	own := coalesce(
	    jobq.why_ended(j, q),
	    jobq.why_running(j, q));
	if own is not null then
		return own;
	end if;
	own := coalesce(
	    jobq.why_blocked(j, q),
	    jobq.breaker_why(j.queue, j.id),
	    jobq.why_later(j, q),
	    jobq.why_held(j, q),
	    jobq.why_key(j, q));
	all_of_it := coalesce(
	    jobq.why_paused(j, q),
	    jobq.why_not_served(j, q),
	    jobq.why_no_workers(j, q),
	    jobq.why_limit(j, q));
	return coalesce(nullif(concat_ws('; and ', own, all_of_it), ''),
	    jobq.why_behind(j, q));
end
$$;

-- An instant and a length of time as people read them.
create function jobq.said(t timestamptz) returns text
language sql immutable as $$
	select to_char(t at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
$$;

create function jobq.said(i interval) returns text
language sql immutable as $$
	select case when s < 1 then round(s * 1000) || ' ms'
	    when s < 100 then round(s) || ' s'
	    when s < 6000 then round(s / 60) || ' min'
	    when s < 172800 then round(s / 3600) || ' h'
	    else round(s / 86400) || ' days' end
	from (select greatest(0, extract(epoch from i))) k(s)
$$;

-- There is no such job, or only its history is left.
create function jobq.why_gone(id bigint) returns text
language plpgsql stable as $$
declare
	a record;
begin
	select * into a from (
		(select k.outcome, k.finished_at from jobq.attempt k where k.job = id order by k.attempt desc limit 1)
		union all
		(select k.outcome, k.finished_at from jobq.history k where k.job = id order by k.attempt desc limit 1)
	) k limit 1;
	if not found then
		return format('there is no job %s%s', id, case
		    when id between 1 and (select last_value from jobq.job_id) then ' any more, or its id was not used' end);
	elsif a.outcome = 6 then
		return format('deleted at %s%s', jobq.said(a.finished_at), (select ' by ' || k.actor
		    from jobq.audit k where k.target = 'job ' || why_gone.id and k.action = 'delete' order by k.at desc limit 1));
	end if;
	return format('%s at %s; it was kept for as long as its queue keeps such jobs, and only its attempts are left',
	    jobq.outcome_name(a.outcome), jobq.said(a.finished_at));
end
$$;

create function jobq.why_ended(j jobq.job, q jobq.queue) returns text
language plpgsql stable as $$
declare
	a jobq.attempt;
begin
	select * into a from jobq.attempt k where k.job = j.id order by k.attempt desc limit 1;
	case a.outcome
	when 1 then
		return format('completed at %s, in attempt %s', jobq.said(a.finished_at), a.attempt);
	when 3 then
		return format('dead since %s, after attempt %s%s: %s', jobq.said(a.finished_at), a.attempt,
		    case when a.class = 2 then ', as a validation error is not tried again'
		        when a.class = 6 and a.worker is null then ', as it had expired'
		        when a.class = 8 then ', as it crashed too often or had no attempt left'
		        else ', as it had no attempt left' end,
		    concat_ws(': ', nullif(jobq.class_name(a.class), ''), a.error));
	when 4 then
		return format('cancelled at %s%s%s', jobq.said(a.finished_at), ' by ' || coalesce(
		    case when a.error like 'cancelled by %' then substr(a.error, 14) end,
		    (select c.by from jobq.cancel_request c where c.job = j.id limit 1),
		    (select k.actor from jobq.audit k where k.target = 'job ' || j.id and k.action = 'cancel'
		        order by k.at desc limit 1)),
		    case when a.error not like 'cancelled by %' then ': ' || a.error end);
	else
		return null;
	end case;
end
$$;

create function jobq.why_running(j jobq.job, q jobq.queue) returns text
language plpgsql stable as $$
declare
	l record;
begin
	select k.attempt, k.at, p.seen, p.lease_ms, n.name as node, w.slot, u.worker as elsewhere, c.by as asked_by, c.at as asked_at into l
	from jobq.lease k
	join jobq.pool p on p.id = k.pool
	join jobq.node n on n.id = p.node
	left join jobq.worker w on w.pool = k.pool and w.job = k.job
	left join jobq.pull u on u.job = k.job and u.attempt = k.attempt
	left join jobq.cancel_request c on c.job = k.job and c.attempt = k.attempt
	where k.queue = j.queue and k.job = j.id
	order by k.attempt desc limit 1;
	if not found then
		return null;
	end if;
	return concat(
	    case when l.elsewhere is not null then
	        format('with the worker %s since %s, attempt %s, who fetched it from node %s', l.elsewhere,
	            jobq.said(l.at), l.attempt, l.node)
	    when l.slot is not null then
	        format('running since %s on node %s, worker %s/%s, attempt %s', jobq.said(l.at), l.node, q.name, l.slot, l.attempt)
	    else
	        format('with node %s since %s, attempt %s: one of its workers runs it, or will next',
	            l.node, jobq.said(l.at), l.attempt) end,
	    '; asked to stop by ' || l.asked_by || ' at ' || jobq.said(l.asked_at),
	    case when greatest(l.seen, l.at) < clock_timestamp() - jobq.ms(l.lease_ms) then
	        format('; but nothing was heard of that node since %s, and the job is about to be taken away from it',
	            jobq.said(greatest(l.seen, l.at))) end);
end
$$;

create function jobq.why_blocked(j jobq.job, q jobq.queue) returns text
language plpgsql stable as $$
declare
	b jobq.blocked;
	live bigint[];
begin
	select * into b from jobq.blocked k where k.job = j.id;
	if not found then
		return null;
	end if;
	live := array(select distinct p from unnest(b.waits_for) p where jobq.final_outcome(p) = 0 order by p);
	if live = '{}' then
		return 'what it waited for has ended, which is noticed in a moment';
	end if;
	return format('waits for %s %s%s%s', case when cardinality(live) > 1 then 'jobs' else 'job' end,
	    array_to_string(live[1:5], ', '),
	    case when cardinality(live) > 5 then format(' and %s more', cardinality(live) - 5) end,
	    case when b.run_at > clock_timestamp() then ', and is not due until ' || jobq.said(b.run_at) end);
end
$$;

-- It waits for its time: scheduled, or for its next attempt.
create function jobq.why_later(j jobq.job, q jobq.queue) returns text
language plpgsql stable as $$
declare
	t jobq.timer;
	a jobq.attempt;
	due text;
begin
	select * into t from jobq.timer k where k.job = j.id;
	if not found then
		return null;
	elsif t.run_at > clock_timestamp() then
		due := format('due at %s, in %s', jobq.said(t.run_at), jobq.said(t.run_at - clock_timestamp()));
	else
		due := format('due since %s, and %s', jobq.said(t.run_at), case
		    when exists (select from jobq.leader k where k.role = 'scheduler' and k.until > clock_timestamp())
		    then 'is made ready in a moment' else 'no scheduler is alive to make it ready' end);
	end if;
	if t.attempt = 1 then
		return 'scheduled: ' || due;
	end if;
	select * into a from jobq.attempt k where k.job = j.id and k.attempt = t.attempt - 1;
	if a.granted then
		return 'a dead letter that was retried: ' || due;
	end if;
	return format('attempt %s %s at %s (%s), and the next one is %s', a.attempt, jobq.outcome_name(a.outcome),
	    jobq.said(a.finished_at), concat_ws(': ', nullif(jobq.class_name(a.class), ''), left(a.error, 200)), due);
end
$$;

create function jobq.why_paused(j jobq.job, q jobq.queue) returns text
language sql stable as $$
	select format('queue "%s" is paused%s%s%s', q.name, ' by ' || q.paused_by,
	    ' since ' || jobq.said(q.paused_at), ': ' || nullif(q.pause_reason, ''))
	where q.paused
$$;

-- Its type or tenant is.
create function jobq.why_held(j jobq.job, q jobq.queue) returns text
language sql stable as $$
	select format('%s of %s is paused by %s since %s%s%s',
	    concat_ws(' of ', 'type "' || h.type || '"', 'tenant "' || h.tenant || '"'),
	    case h.queue when 0 then 'all queues' else format('queue "%s"', q.name) end,
	    h.by, jobq.said(h.at), ' until ' || jobq.said(h.until), ': ' || nullif(h.reason, ''))
	from jobq.hold h
	where h.queue in (0, q.id) and (h.type is null or h.type = j.type)
	    and (h.tenant is null or h.tenant = j.tenant)
	limit 1
$$;

-- As many of its concurrency key run as may, or others of the key go first.
create function jobq.why_key(j jobq.job, q jobq.queue) returns text
language plpgsql stable as $$
declare
	k bigint;
	my_place bigint;
	running bigint[];
begin
	if j.key is null then
		return null;
	end if;
	select t.job into k from jobq.key_kept t where t.queue = q.id and t.key = j.key and t.job <> j.id;
	if found then
		return format('its key "%s" is kept by job %s, which is before it and will be tried again', j.key, k);
	end if;
	running := array(select l.job from jobq.lease l,
	    lateral (select * from jobq.job i where i.id = l.job limit 1) i
	    where l.queue = q.id and i.key = j.key order by l.job);
	if cardinality(running) >= q.per_key then
		return format('its key "%s" is held by job%s %s, of which %s may run at a time', j.key,
		    case when cardinality(running) > 1 then 's' end, array_to_string(running[1:5], ', '), q.per_key);
	end if;
	select p.place into my_place from jobq.parked p where p.job = j.id;
	select p.job into k from jobq.parked p
	where p.queue = q.id and p.key = j.key and p.place < my_place order by p.place limit 1;
	if found then
		return format('job %s has the same key "%s" and goes first', k, j.key);
	end if;
	return null;
end
$$;

-- A limit of its queue lets no more start now.
create function jobq.why_limit(j jobq.job, q jobq.queue) returns text
language plpgsql stable as $$
declare
	l record;
begin
	select * into l from jobq.limits k
	where q.limited and q.name = any (k.queues) and ((k.rate > 0 and k.started >= k.rate)
	    or (k.concurrency > 0 and k.running >= k.concurrency)) limit 1;
	if not found then
		return null;
	elsif l.rate > 0 and l.started >= l.rate then
		return format('limit "%s" lets %s start in %s, and so many have', l.name, l.rate,
		    jobq.said(jobq.ms(l.period_ms)));
	end if;
	return format('limit "%s" lets %s run at a time, and so many do', l.name, l.concurrency);
end
$$;

create function jobq.why_not_served(j jobq.job, q jobq.queue) returns text
language plpgsql stable as $$
declare
	n jobq.node;
begin
	select k.* into n from jobq.serves s join jobq.node k on k.id = s.node
	where s.queue = q.id order by k.seen desc limit 1;
	if not found then
		return format(case when q.enabled
		    then 'no node serves queue "%s": it is in the configuration of none'
		    else 'queue "%s" is disabled in the configuration' end, q.name);
	elsif n.seen <= clock_timestamp() - interval '1 minute' then
		return format('no node that serves queue "%s" is alive: %s was last seen at %s', q.name, n.name, jobq.said(n.seen));
	end if;
	return null;
end
$$;

create function jobq.why_no_workers(j jobq.job, q jobq.queue) returns text
language sql stable as $$
	select format('queue "%s" has no workers at the moment, though node %s serves it', q.name, (
		select k.name from jobq.serves s join jobq.node k on k.id = s.node
		where s.queue = q.id order by k.seen desc limit 1))
	where q.workers > 0 and not exists (select from jobq.pool p where p.queue = q.id
	    and (p.opened_at > clock_timestamp() - interval '5 seconds'	-- it has not told of them yet
	        or exists (select from jobq.worker w where w.pool = p.id)))
$$;

-- It is ready: how many are before it, as a claim would take them now. Turns
-- of jobs that were cancelled meanwhile are there and do not count.
create function jobq.why_behind(j jobq.job, q jobq.queue) returns text
language plpgsql stable as $$
declare
	most constant int := 1000;
	c jobq.cursors := jobq.take(jobq.last_claim(q.id), q.id, most);
	place int := array_position(c.taken, j.id);
	n int;
	workers int;
	busy int;
begin
	select count(*) into n from unnest(c.taken[:coalesce(place, most + 1) - 1], c.attempts) t(job, attempt)
	where t.job is not null and not exists (
	    select from jobq.attempt a where a.job = t.job and a.attempt = t.attempt offset 0);
	select count(*), count(*) filter (where w.state <> 'idle') into workers, busy
	from jobq.pool p join jobq.worker w on w.pool = p.id where p.queue = q.id;
	return format('ready: %s, %s', case
	    when place is null and coalesce(cardinality(c.taken), 0) < most then format('it is just being claimed from queue "%s"', q.name)
	    when place is not null and n = 0 then format('the next of queue "%s"', q.name)
	    else format('behind %s %s of queue "%s"%s', n, case n when 1 then 'job' else 'jobs' end, q.name,
	        case when place is null then ' or more' end) end,
	    case when q.workers = 0 then 'whose workers are elsewhere, and ask for jobs'
	        when workers = 0 then 'whose workers are starting'
	        when busy < workers then format('of whose %s workers %s are busy', workers, busy)
	        else format('whose %s busy', case workers when 1 then 'worker is' else workers || ' workers are all' end) end);
end
$$;
