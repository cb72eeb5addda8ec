-- Who may do what. Nobody but the schema's owner (jobqd's role), until the
-- roles of 95-roles are made; what these may call runs with the owner's
-- rights, and finds nothing of a caller's making in its search path; enqueue()
-- has the caller's, and names all that it uses.

revoke all on all functions in schema jobq from public;

do $$
declare
	f regprocedure;
begin
	for f in
		select p.oid::regprocedure from pg_proc p
		where p.pronamespace = 'jobq'::regnamespace and p.proname in ('enqueue_job', 'enqueue_many', 'change_made',
		    'workflow', 'batch', 'workflow_cancel', 'workflow_retry', 'cancel', 'retry', 'delete', 'pause', 'resume', 'clear', 'clear_plan',
		    'clear_jobs', 'clean', 'clean_plan', 'clean_jobs', 'queue_remove',
		    'progress', 'complete', 'review', 'review_dead', 'retry_dead', 'delete_dead', 'schedule_run', 'schedule_pause',
		    'schedule_resume', 'schedule_put', 'schedule_remove', 'schedule_outcome', 'ready_of', 'why',
		    'statistics_take', 'statistics_range', 'checkup', 'report', 'report_json',
		    'alert_ack', 'alert_silence', 'alert_unsilence', 'alert_set', 'alert_reset',
		    'inventory', 'top', 'top_queue', 'ended_share', 'audit_verify', 'capacity', 'retry_compare')
	loop
		execute format('alter function %s security definer set search_path = pg_catalog, pg_temp', f);
	end loop;
end
$$;
alter function jobq.enqueue security definer;
alter function jobq.sees security definer;
alter function jobq.sees_workflow security definer;
