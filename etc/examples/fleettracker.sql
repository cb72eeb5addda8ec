-- Sample tables of a fleet tracking service, for fleettracker.yml: two companies
-- with their vehicles, drivers, trips and positions. For a database to try it in:
--
--	createdb fleettracker && psql -f fleettracker.sql fleettracker
BEGIN;

CREATE TABLE company (
	id text PRIMARY KEY,
	name text NOT NULL,
	manager_email text NOT NULL,
	billing_email text NOT NULL,
	rate_per_km numeric NOT NULL
);
CREATE TABLE vehicle (
	id text PRIMARY KEY,
	company text NOT NULL REFERENCES company,
	plate text NOT NULL,
	status text NOT NULL DEFAULT 'active',
	serviced_on date NOT NULL,
	service_every int NOT NULL DEFAULT 180	-- days
);
CREATE TABLE driver (
	id int PRIMARY KEY,
	company text NOT NULL REFERENCES company,
	name text NOT NULL,
	score int NOT NULL DEFAULT 100
);
CREATE TABLE trip (
	id int PRIMARY KEY,
	vehicle text NOT NULL REFERENCES vehicle,
	driver int NOT NULL REFERENCES driver,
	started_at timestamptz NOT NULL,
	km numeric NOT NULL,
	litres numeric NOT NULL
);
CREATE INDEX ON trip (started_at);
CREATE TABLE maintenance_log (
	vehicle text NOT NULL REFERENCES vehicle,
	kind text NOT NULL,
	done_on date NOT NULL,
	cost numeric NOT NULL
);
-- One that is open for each vehicle and kind: to ask again changes nothing.
CREATE TABLE reminder (
	vehicle text NOT NULL REFERENCES vehicle,
	kind text NOT NULL,
	job bigint NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	done_at timestamptz
);
CREATE UNIQUE INDEX ON reminder (vehicle, kind) WHERE done_at IS NULL;

CREATE TABLE gps_track (vehicle text NOT NULL, at timestamptz NOT NULL, lat float8 NOT NULL,
	lon float8 NOT NULL);
CREATE INDEX ON gps_track (at);
CREATE TABLE audit_log (at timestamptz NOT NULL, actor text NOT NULL, action text NOT NULL);
CREATE INDEX ON audit_log (at);
CREATE TABLE driver_event (
	id int PRIMARY KEY,
	driver int NOT NULL REFERENCES driver,
	at timestamptz NOT NULL,
	kind text NOT NULL,
	processed_at timestamptz
);
CREATE INDEX ON driver_event (at);
-- Nobody asks for what is younger to be deleted, except by mistake.
CREATE DOMAIN days_to_keep AS int NOT NULL CHECK (VALUE >= 7);

CREATE TABLE geofence (name text PRIMARY KEY, company text NOT NULL REFERENCES company,
	area box NOT NULL);
CREATE TABLE geofence_violation (
	geofence text NOT NULL REFERENCES geofence,
	vehicle text NOT NULL,
	at timestamptz NOT NULL,
	PRIMARY KEY (geofence, vehicle, at)
);
CREATE TABLE invoice (
	id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	company text NOT NULL REFERENCES company,
	month date NOT NULL,
	km numeric NOT NULL,
	total numeric NOT NULL,
	paid_at timestamptz,
	UNIQUE (company, month)
);

INSERT INTO company VALUES
	('acme', 'Acme Transport', 'manager@acme.example', 'billing@acme.example', 0.45),
	('borealis', 'Borealis', 'manager@borealis.example', 'billing@borealis.example', 0.50);
-- Every sixth is due for its service.
INSERT INTO vehicle (id, company, plate, serviced_on)
SELECT 'vehicle-' || i, CASE WHEN i % 3 = 0 THEN 'borealis' ELSE 'acme' END, 'FT-' || 100 + i,
	current_date - CASE WHEN i % 6 = 0 THEN 179 ELSE 30 END
FROM generate_series(1, 12) i;
INSERT INTO driver (id, company, name)
SELECT i, CASE WHEN i % 3 = 0 THEN 'borealis' ELSE 'acme' END,
	(ARRAY['Zoë', 'Ömer', 'Łukasz', 'Anne'])[1 + i % 4] || ' ' || i
FROM generate_series(1, 12) i;
-- Four a day: the whole of January 2024, and the last 60 days.
INSERT INTO trip (id, vehicle, driver, started_at, km, litres)
SELECT i, 'vehicle-' || 1 + i % 12, 1 + i % 12,
	CASE WHEN i <= 124 THEN '2024-01-01 08:00Z'::timestamptz + (i - 1) / 4 * interval '1 day'
	ELSE date_trunc('day', now()) - (i - 125) / 4 * interval '1 day' END, 50, 4
FROM generate_series(1, 124 + 240) i;
INSERT INTO maintenance_log
SELECT 'vehicle-' || i, 'oil change', '2024-01-10'::date + i, 120 FROM generate_series(1, 12) i;
-- One an hour, for 100 days.
INSERT INTO gps_track
SELECT 'vehicle-' || 1 + i % 12, now() - i * interval '1 hour', 52 + (i % 10) * 0.1, 13
FROM generate_series(1, 2400) i;
INSERT INTO audit_log
SELECT now() - i * interval '1 day', 'ann', 'logged in' FROM generate_series(1, 400) i;
INSERT INTO driver_event (id, driver, at, kind)
SELECT i, 1 + i % 12, now() - i * interval '1 day', (ARRAY['speeding', 'hard braking'])[1 + i % 2]
FROM generate_series(1, 120) i;
INSERT INTO geofence VALUES ('yard', 'acme', box(point(51, 12), point(52.85, 14)));

COMMIT;
