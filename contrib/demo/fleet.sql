-- The office's own tables, as small as the demo needs them.
BEGIN;
CREATE TABLE vehicle (id int PRIMARY KEY, plate text NOT NULL, price numeric NOT NULL);
CREATE TABLE driver (id int PRIMARY KEY, name text NOT NULL, email text NOT NULL);
CREATE TABLE trip (
	id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	vehicle int NOT NULL REFERENCES vehicle,
	driver int NOT NULL REFERENCES driver,
	day date NOT NULL,
	km numeric NOT NULL,
	hours numeric NOT NULL,
	earned numeric NOT NULL
);
CREATE TABLE subscriber (id int PRIMARY KEY, scheme text NOT NULL, path text NOT NULL, secret text NOT NULL);

INSERT INTO vehicle
SELECT i, 'FL-' || 1000 + i, 20000 + i * 731 % 9000 FROM generate_series(1, 24) i;
INSERT INTO driver
SELECT i, 'Driver ' || i || ' Müller-Ørsted', 'driver' || i || '@example.com'
FROM generate_series(1, 150) i;
INSERT INTO trip (vehicle, driver, day, km, hours, earned)
SELECT 1 + i % 24, 1 + i % 150, current_date - i % 30, 20 + i % 300, 1 + i % 9, 30 + i % 170
FROM generate_series(1, 6000) i;
-- Half of the subscribers check X-Webhook-Signature, half use a Standard
-- Webhooks library; three are being restarted just now.
INSERT INTO subscriber
SELECT i, CASE WHEN i % 2 = 0 THEN 'webhook-standard' ELSE 'webhook' END,
	CASE WHEN i % 50 = 0 THEN 'flaky' ELSE 'events' END,
	CASE WHEN i % 2 = 0 THEN 'whsec_' || encode(sha256(('s' || i)::bytea), 'base64')
	ELSE md5('secret ' || i) END
FROM generate_series(1, 150) i;

CREATE MATERIALIZED VIEW vw_asset_daily_utilization AS
SELECT vehicle, day, sum(hours) AS hours, round(sum(hours) / 24 * 100, 1) AS percent
FROM trip GROUP BY vehicle, day WITH NO DATA;
CREATE MATERIALIZED VIEW vw_asset_roi_summary AS
SELECT v.id AS vehicle, v.plate, sum(t.earned) AS earned, round(sum(t.earned) / v.price * 100, 2) AS roi
FROM vehicle v JOIN trip t ON t.vehicle = v.id GROUP BY v.id WITH NO DATA;
COMMIT;
