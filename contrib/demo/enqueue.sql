-- A day at the fleet office, in one transaction: its own rows and the jobs
-- that follow from them exist together or not at all.
BEGIN;

INSERT INTO trip (vehicle, driver, day, km, hours, earned)
SELECT 1 + i % 24, i, current_date, 40, 2, 90 FROM generate_series(1, 150) i;

-- A mail to every driver.
SELECT count(jobq.enqueue('email', 'email_notification', jsonb_build_object(
	'to', email,
	'subject', 'Your trip № ' || id || ' – thank you, ' || name,
	'text', format(E'Dear %s,\n\nyour trip of today is in the books: 40 km, 2 hours, 90 €.\n.\nThe fleet office\n', name)),
	tags => '{demo}')) AS mails
FROM driver;

-- An event to every subscriber, signed with the subscriber's own secret.
SELECT count(jobq.enqueue('webhook-delivery', scheme, jsonb_build_object(
	'url', format('%s/%s/%s', :'receiver', path, id),
	'eventType', 'trip.completed',
	'secret', secret,
	'payload', jsonb_build_object('trip', id, 'km', 40.5, 'driver', 'Müller-Ørsted', 'note', 'a "quoted" \ word'))
	, tags => '{demo}')) AS webhooks
FROM subscriber;

-- A thumbnail of every vehicle's picture.
SELECT count(jobq.enqueue('attachments', 'thumbnail',
	jsonb_build_object('picture', 'car-' || id || '.png', 'width', 96), tags => '{demo}')) AS thumbnails
FROM vehicle;

-- What otherwise runs at night: once now, whoever asks again meanwhile.
SELECT jobq.enqueue('report', 'daily_metrics', unique_key => 'daily', tags => '{demo}') AS refresh;
SELECT jobq.enqueue('attachments', 'cleanup',
	'{"directory": "exports", "older_than_days": 30}', tags => '{demo}') AS cleanup;

COMMIT;
