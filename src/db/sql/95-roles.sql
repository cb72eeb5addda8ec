-- Three group roles, made on request (jobqctl migrate --roles), for people
-- and programs other than jobqd: grant them to login roles. Making them needs
-- CREATEROLE; where they exist already it is enough to own the schema.
--   jobq_producer  enqueue, enqueue_many, batch, workflow, and nothing else
--   jobq_reader    the views
--   jobq_admin     both, and what people do to jobs, queues and schedules
do $$
declare
	r text;
	f regprocedure;
begin
	foreach r in array '{jobq_producer,jobq_reader,jobq_admin}'::text[] loop
		if not exists (select from pg_roles where rolname = r) then
			execute format('create role %I nologin', r);
		end if;
	end loop;
	for f, r in
		select p.oid::regprocedure, unnest(g.roles)
		from pg_proc p
		join (values
			('{jobq_producer,jobq_admin}'::text[], '{enqueue,enqueue_many,batch,workflow}'::text[]),
			('{jobq_reader,jobq_admin}', '{outcome_name,class_name,ms,ready_of,why,us,steps,step_now,step_us,
			    schedule_outcome,quantile,histogram_count,class_counts,bucket_edge,levels,statistics_range,
			    checkup,report,report_json,inventory,top,top_queue,tenant,sees,sees_workflow,ended_share,audit_verify,
			    capacity,retry_half,retry_compare}'),
			('{jobq_admin}', '{workflow_cancel,workflow_retry,cancel,retry,delete,pause,resume,clear,clear_plan,
			    clear_jobs,clean,clean_plan,clean_jobs,queue_remove,progress,complete,review,review_dead,
			    retry_dead,delete_dead,schedule_run,schedule_pause,schedule_resume,schedule_put,schedule_remove,
			    alert_ack,alert_silence,alert_unsilence,alert_set,alert_reset,statistics_take}')
		) g(roles, names) on p.proname = any (g.names)
		where p.pronamespace = 'jobq'::regnamespace
	loop
		execute format('grant execute on function %s to %I', f, r);
	end loop;
end
$$;

grant usage on schema jobq to jobq_producer, jobq_reader, jobq_admin;

grant select on jobq.jobs, jobq.attempts, jobq.queues, jobq.holds, jobq.dead_letters, jobq.dead_groups, jobq.schedules,
	jobq.workers, jobq.breakers, jobq.nodes, jobq.workflows, jobq.limits, jobq.alerts, jobq.alert_rules, jobq.silences,
	jobq.statistics, jobq.errors, jobq.audit, jobq.webhook_events,
	jobq.encryption_keys
to jobq_reader, jobq_admin;
-- what "jobqctl job show" and "job log" tell beyond the views
grant select on jobq.job, jobq.attempt, jobq.output, jobq.cancel_request
to jobq_reader, jobq_admin;
