-- Sample tables of a fleet management office, for fleet.yml: two tenants with
-- their vehicles, drivers and trips, what falls due, and who is to be told. For a
-- database to try it in:
--
--	createdb fleetdb && psql -f fleet.sql fleetdb
BEGIN;

CREATE TABLE tenant (id text PRIMARY KEY, name text NOT NULL, manager_email text NOT NULL);
CREATE TABLE vehicle (
	id int PRIMARY KEY,
	tenant text NOT NULL REFERENCES tenant,
	plate text NOT NULL,
	price numeric NOT NULL,
	samsara_id text UNIQUE,
	next_service_on date NOT NULL,
	insured_until date NOT NULL
);
CREATE TABLE driver (
	id int PRIMARY KEY,
	tenant text NOT NULL REFERENCES tenant,
	name text NOT NULL,
	email text NOT NULL,
	certified_until date NOT NULL,
	wants_reminders boolean NOT NULL DEFAULT true
);
CREATE TABLE trip (
	id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	vehicle int NOT NULL REFERENCES vehicle,
	driver int NOT NULL REFERENCES driver,
	day date NOT NULL,
	km numeric NOT NULL,
	hours numeric NOT NULL,
	earned numeric NOT NULL
);
CREATE INDEX ON trip (day);

-- Maintenance, tasks, incidents, fuel and places, and what was found about them.
CREATE TABLE work_order (
	id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	vehicle int NOT NULL REFERENCES vehicle,
	due_on date NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	UNIQUE (vehicle, due_on)
);
CREATE TABLE task (
	id int PRIMARY KEY,
	tenant text NOT NULL REFERENCES tenant,
	title text NOT NULL,
	due_at timestamptz NOT NULL,
	done boolean NOT NULL DEFAULT false
);
CREATE TABLE incident (
	id int PRIMARY KEY,
	vehicle int NOT NULL REFERENCES vehicle,
	severity text NOT NULL,
	what text NOT NULL,
	at timestamptz NOT NULL DEFAULT now(),
	closed boolean NOT NULL DEFAULT false
);
CREATE TABLE fuel_fill (vehicle int NOT NULL REFERENCES vehicle, at timestamptz NOT NULL,
	litres numeric NOT NULL, km numeric NOT NULL);
CREATE TABLE geofence (name text PRIMARY KEY, tenant text NOT NULL REFERENCES tenant,
	area box NOT NULL);
CREATE TABLE warning (
	kind text NOT NULL,
	subject text NOT NULL,
	tenant text NOT NULL REFERENCES tenant,
	detail text NOT NULL,
	found_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (kind, subject)
);
CREATE TABLE audit_log (at timestamptz NOT NULL DEFAULT now(), job bigint NOT NULL,
	what text NOT NULL, metrics jsonb NOT NULL);

-- Telematics: what devices have sent, where vehicles were, how drivers drive.
CREATE TABLE track_in (vehicle int NOT NULL, at timestamptz NOT NULL, lat float8 NOT NULL,
	lon float8 NOT NULL);
CREATE TABLE track (
	vehicle int NOT NULL REFERENCES vehicle,
	at timestamptz NOT NULL,
	lat float8 NOT NULL,
	lon float8 NOT NULL,
	PRIMARY KEY (vehicle, at)
);
CREATE TABLE safety_event (id text PRIMARY KEY, driver int NOT NULL REFERENCES driver,
	kind text NOT NULL, at timestamptz NOT NULL);
CREATE TABLE safety_score (driver int NOT NULL REFERENCES driver, day date NOT NULL,
	score int NOT NULL, PRIMARY KEY (driver, day));

-- What is planned, and of what somebody was reminded.
CREATE TABLE reservation (
	id int PRIMARY KEY,
	vehicle int NOT NULL REFERENCES vehicle,
	driver int NOT NULL REFERENCES driver,
	starts_at timestamptz NOT NULL,
	ends_at timestamptz NOT NULL
);
CREATE TABLE appointment (
	id int PRIMARY KEY,
	vehicle int NOT NULL REFERENCES vehicle,
	driver int NOT NULL REFERENCES driver,
	at timestamptz NOT NULL,
	place text NOT NULL
);
CREATE TABLE reminded (what text NOT NULL, hours int NOT NULL,
	at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (what, hours));
CREATE TABLE push_message (
	id int PRIMARY KEY,
	tenant text NOT NULL REFERENCES tenant,
	device text NOT NULL,
	title text NOT NULL,
	body text NOT NULL,
	priority int NOT NULL DEFAULT 5,
	send_at timestamptz NOT NULL,
	sent_at timestamptz
);
CREATE TABLE report_schedule (
	id int PRIMARY KEY,
	report text NOT NULL,
	format text NOT NULL CHECK (format IN ('pdf', 'excel', 'csv')),
	every text NOT NULL CHECK (every = ANY ('{daily,weekly,monthly,quarterly,custom}')),
	custom interval CHECK ((every = 'custom') = (custom IS NOT NULL)),
	recipients text[] NOT NULL,
	next_run timestamptz NOT NULL,
	last_run timestamptz
);

-- Messages in both directions, up to where they are synchronised, and those who
-- are subscribed to what.
CREATE TABLE mailbox (id text PRIMARY KEY);
CREATE TABLE message (
	id text PRIMARY KEY,
	channel text NOT NULL,
	folder text NOT NULL DEFAULT '',
	sender text,
	subject text,
	content text,
	received_at timestamptz NOT NULL DEFAULT now(),
	category text,
	amount numeric
);
CREATE TABLE sync_state (resource text PRIMARY KEY, link text NOT NULL,
	synced_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE incoming_event (
	id text PRIMARY KEY,
	source text NOT NULL,
	type text NOT NULL,
	data jsonb NOT NULL,
	received_at timestamptz NOT NULL
);
CREATE TABLE subscription (
	id text PRIMARY KEY,
	service text NOT NULL CHECK (service IN ('teams', 'outlook')),
	resource text NOT NULL,
	critical boolean NOT NULL,
	expires_at timestamptz NOT NULL,
	state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'renewing', 'recreating'))
);
CREATE TABLE subscriber (id int PRIMARY KEY, scheme text NOT NULL, path text NOT NULL,
	secret text NOT NULL);

INSERT INTO tenant VALUES ('north', 'North', 'north@example.com'),
	('south', 'Süd', 'south@example.com');
-- Two need a service now, the third tomorrow; the insurance of one runs out.
INSERT INTO vehicle
SELECT i, CASE WHEN i % 2 = 0 THEN 'south' ELSE 'north' END, 'FL-' || 1000 + i,
	20000 + i * 731 % 9000, 'samsara-' || i,
	current_date + CASE i WHEN 1 THEN -1 WHEN 2 THEN 0 WHEN 3 THEN 1 ELSE 30 + i END,
	current_date + CASE i WHEN 5 THEN 10 ELSE 200 END
FROM generate_series(1, 24) i;
INSERT INTO driver
SELECT i, CASE WHEN i % 2 = 0 THEN 'south' ELSE 'north' END, 'Driver ' || i || ' Müller-Ørsted',
	'driver' || i || '@example.com',
	current_date + CASE i WHEN 7 THEN 5 ELSE 300 END, i <> 9
FROM generate_series(1, 150) i;
INSERT INTO trip (vehicle, driver, day, km, hours, earned)
SELECT 1 + i % 24, 1 + i % 150, current_date - i % 30, 20 + i % 300, 1 + i % 9, 30 + i % 170
FROM generate_series(1, 6000) i;
INSERT INTO task VALUES (1, 'north', 'Renew the lease', now() - interval '1 day'),
	(2, 'south', 'Count the tyres', now() + interval '9 days');
INSERT INTO incident (id, vehicle, severity, what) VALUES
	(1, 4, 'critical', 'Collision on the A7'), (2, 6, 'minor', 'A scratch');
INSERT INTO fuel_fill
SELECT v, now() - d * interval '1 day', 40, 500
FROM generate_series(1, 24) v, generate_series(2, 9) d;
INSERT INTO fuel_fill VALUES (8, now() - interval '1 hour', 95, 500);
INSERT INTO geofence VALUES ('yard', 'north', box(point(52, 12), point(53, 14)));
INSERT INTO track VALUES (11, now() - interval '2 minutes', 48.1, 11.5);
INSERT INTO track_in
SELECT 1 + i % 24, now() - i * interval '20 seconds', 52.5, 13
FROM generate_series(1, 1200) i;
INSERT INTO safety_event
SELECT 'event-' || i, 1 + i % 20, 'harsh braking', current_date - interval '12 hours'
FROM generate_series(1, 60) i;
-- One is in half an hour, one in twenty hours, one next week; two want the same
-- vehicle at once.
INSERT INTO reservation VALUES
	(1, 1, 1, now() + interval '30 minutes', now() + interval '2 hours'),
	(2, 2, 2, now() + interval '20 hours', now() + interval '22 hours'),
	(3, 2, 3, now() + interval '21 hours', now() + interval '25 hours'),
	(4, 4, 4, now() + interval '7 days', now() + interval '8 days'),
	(5, 5, 9, now() + interval '45 minutes', now() + interval '3 hours');
INSERT INTO appointment VALUES (1, 12, 12, now() + interval '23 hours', 'Garage Weiß');
INSERT INTO push_message VALUES
	(1, 'north', 'device-1', 'Good morning', 'The yard opens at 7.', 5, now() + interval '1 day'),
	(2, 'south', 'device-2', 'Road closed', 'Take the B3.', 1, now() + interval '1 day');
INSERT INTO report_schedule (id, report, format, every, custom, recipients, next_run)
SELECT i, 'fleet_summary', (ARRAY['pdf', 'excel', 'csv'])[1 + i % 3], every,
	CASE every WHEN 'custom' THEN interval '3 days' END,
	ARRAY[every || '@example.com'], now() + interval '1 day'
FROM unnest('{daily,weekly,monthly,quarterly,custom}'::text[]) WITH ORDINALITY e (every, i);
INSERT INTO mailbox VALUES ('fleet@example.com');
INSERT INTO subscription (id, service, resource, critical, expires_at) VALUES
	('sub-late', 'teams', 'chats/messages', true, now() + interval '20 days'),
	('sub-soon', 'teams', 'chats/getAllMessages', true, now() + interval '6 hours'),
	('sub-lost', 'outlook', 'me/messages', true, now() + interval '6 hours'),
	('sub-old', 'outlook', 'me/events', false, now() - interval '1 hour');
-- Half of the subscribers check X-Webhook-Signature, half use a Standard
-- Webhooks library; three are being restarted just now.
INSERT INTO subscriber
SELECT i, CASE WHEN i % 2 = 0 THEN 'webhook-standard' ELSE 'webhook' END,
	CASE WHEN i % 50 = 0 THEN 'flaky' ELSE 'events' END,
	CASE WHEN i % 2 = 0 THEN 'whsec_' || encode(sha256(('s' || i)::bytea), 'base64')
	ELSE md5('secret ' || i) END
FROM generate_series(1, 150) i;

-- What the dashboards read. Refreshed concurrently, each needs a unique index.
CREATE MATERIALIZED VIEW vw_asset_daily_utilization AS
SELECT vehicle, day, sum(hours) AS hours, round(sum(hours) / 24 * 100, 1) AS percent
FROM trip GROUP BY vehicle, day;
CREATE UNIQUE INDEX ON vw_asset_daily_utilization (vehicle, day);
CREATE MATERIALIZED VIEW vw_asset_roi_summary AS
SELECT v.id AS vehicle, v.plate, sum(t.earned) AS earned,
	round(sum(t.earned) / v.price * 100, 2) AS roi
FROM vehicle v JOIN trip t ON t.vehicle = v.id GROUP BY v.id;
CREATE UNIQUE INDEX ON vw_asset_roi_summary (vehicle);
COMMIT;
