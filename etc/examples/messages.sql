-- The tables of messages.yml, and views by the names that its system's own tables
-- had, for programs and people that read those. The schema jobq is there before:
--
--	jobqctl -c messages.yml migrate && psql -d fleetdb -f messages.sql

BEGIN;

CREATE TABLE message (
	id		text PRIMARY KEY,
	channel		text NOT NULL,
	sender		text,
	subject		text,
	content		text,
	received_at	timestamptz NOT NULL
);
CREATE TABLE webhook_event (
	id		text PRIMARY KEY,
	source		text NOT NULL,
	event_type	text NOT NULL,
	data		jsonb NOT NULL,
	received_at	timestamptz NOT NULL
);
-- Up to where a resource of a user or team was read.
CREATE TABLE sync_state (
	resource	text,
	owner		text,
	delta		text NOT NULL,
	synced_at	timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (resource, owner)
);
CREATE TABLE sync_history (
	id		bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at		timestamptz NOT NULL DEFAULT now(),
	job		bigint NOT NULL,
	resource	text NOT NULL,
	owner		text NOT NULL,
	full_sync	boolean NOT NULL,
	fetched		int NOT NULL
);

CREATE VIEW job_tracking AS
SELECT id AS job_id, queue AS queue_name, type AS job_type, data AS payload, priority,
	CASE state
	WHEN 'running' THEN 'active'
	WHEN 'dead' THEN 'failed'
	WHEN 'ready' THEN 'pending'
	WHEN 'blocked' THEN 'pending'
	ELSE state END AS status,
	attempt AS attempts, error AS error_message, error_class AS error_type, result,
	created_at, started_at, finished_at AS completed_at
FROM jobq.jobs;

CREATE VIEW queue_statistics AS
SELECT at AS collected_at, queue AS queue_name,
	sum(completed) AS completed_jobs, sum(failed) AS failed_jobs,
	max(ready) AS pending_jobs, max(running) AS active_jobs, max(dead_letters) AS dead_letter_jobs,
	sum(run_avg_ms * (completed + failed)) / nullif(sum(completed + failed), 0)
		AS avg_processing_time_ms,
	sum(failed) / nullif(sum(completed + failed), 0) AS failure_rate
FROM jobq.statistics
GROUP BY at, queue;

CREATE VIEW dead_letter_queue AS
SELECT job_id, queue AS queue_name, type AS job_type, data AS job_data, error AS failure_reason,
	error_class AS failure_type, attempts AS retry_count, died_at AS failed_at,
	reviewed_at IS NOT NULL AS reviewed, reviewed_by, reviewed_at, notes AS resolution_notes
FROM jobq.dead_letters;

CREATE VIEW rate_limit_tracking AS
SELECT name AS service, started AS request_count, rate AS max_requests, period_ms AS window_ms,
	running AS concurrent_requests, concurrency AS max_concurrent
FROM jobq.limits;

-- Jobs that have a time of their own, and schedules with their next one.
CREATE VIEW scheduled_jobs AS
SELECT id::text AS name, queue AS queue_name, data AS payload, run_at AS scheduled_for,
	NULL::text AS cron, 'pending' AS status
FROM jobq.jobs WHERE state = 'scheduled'
UNION ALL
SELECT name, queue, data, next_run, spec,
	CASE WHEN enabled AND NOT paused THEN 'active' ELSE 'inactive' END
FROM jobq.schedules;

CREATE VIEW queue_alerts AS
SELECT name AS alert_type, queue AS queue_name, severity, message, metric,
	value AS current_value, threshold, since AS triggered_at,
	state <> 'ended' AS active, acknowledged_by, ended_at AS resolved_at
FROM jobq.alerts;

CREATE VIEW webhook_events AS
SELECT w.id, w.hook AS source, w.event_id AS webhook_id, e.event_type, e.data AS payload,
	w.received_at, e.id IS NOT NULL AS processed, w.duplicate_of, w.job_id
FROM jobq.webhook_events w LEFT JOIN webhook_event e ON e.id = w.event_id;

COMMIT;
