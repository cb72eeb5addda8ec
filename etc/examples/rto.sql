-- The tables of rto.yml with a few rows:
--
--	psql -d rto -f rto.sql

BEGIN;

CREATE TABLE staff (
	id		int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	xero_id		text NOT NULL UNIQUE,
	name		text NOT NULL,
	email		text NOT NULL,
	active		boolean NOT NULL DEFAULT true
);
-- Professional development, what each has to have done by when.
CREATE TABLE pd_activity (
	id		int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	staff_id	int NOT NULL REFERENCES staff,
	title		text NOT NULL,
	due_on		date NOT NULL,
	completed_on	date,
	reminded_on	date
);
CREATE TABLE credential (
	id		int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	staff_id	int NOT NULL REFERENCES staff,
	name		text NOT NULL,
	expires_on	date NOT NULL,
	alerted_on	date
);
CREATE TABLE policy (
	id		int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	title		text NOT NULL,
	owner_email	text NOT NULL,
	review_on	date NOT NULL,
	reminded_on	date
);
CREATE TABLE complaint (
	id		int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	student		text NOT NULL,
	subject		text NOT NULL,
	received_at	timestamptz NOT NULL DEFAULT now(),
	sla		interval NOT NULL DEFAULT '10 days',
	resolved_at	timestamptz,
	escalated_at	timestamptz
);
CREATE TABLE onboarding_task (
	id		int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	staff_id	int NOT NULL REFERENCES staff,
	task		text NOT NULL,
	due_on		date NOT NULL,
	done_on		date,
	reminded_on	date
);
CREATE TABLE enrolment (
	id		text PRIMARY KEY,
	student		text NOT NULL,
	unit		text NOT NULL,
	status		text NOT NULL,
	synced_at	timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE feedback (
	id		int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	text		text NOT NULL,
	received_at	timestamptz NOT NULL DEFAULT now(),
	sentiment	text,
	themes		text[],
	analysed_at	timestamptz
);

INSERT INTO staff (xero_id, name, email) VALUES
	('x1', 'Ada', 'ada@rto.example'), ('x2', 'Bo', 'bo@rto.example'), ('x3', 'Cy', 'cy@rto.example');
INSERT INTO pd_activity (staff_id, title, due_on, completed_on) VALUES
	(1, 'Assessment design', current_date + 5, NULL),
	(1, 'First aid', current_date + 3, current_date - 1), (2, 'Moderation', current_date + 90, NULL);
INSERT INTO credential (staff_id, name, expires_on) VALUES
	(2, 'Working with children', current_date + 20), (2, 'TAE40122', current_date + 400),
	(3, 'White card', current_date - 2);
INSERT INTO policy (title, owner_email, review_on) VALUES
	('Complaints and appeals', 'quality@rto.example', current_date + 10),
	('Privacy', 'quality@rto.example', current_date + 200);
INSERT INTO complaint (student, subject, received_at, resolved_at) VALUES
	('Eve', 'a result is wrong', now() - interval '12 days', NULL),
	('Finn', 'the room is cold', now() - interval '2 days', NULL),
	('Gus', 'no answer', now() - interval '30 days', now() - interval '15 days');
INSERT INTO onboarding_task (staff_id, task, due_on, done_on) VALUES
	(3, 'Sign the code of conduct', current_date - 3, NULL),
	(3, 'Induction', current_date - 3, current_date - 4), (2, 'Meet the team', current_date + 3, NULL);
INSERT INTO feedback (text) VALUES
	('The trainer was great'), ('It''s too fast, and the room is cold');

COMMIT;
