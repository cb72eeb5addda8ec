# The driver http in a daemon: webhooks and attachments as the seeds describe their
# queues; how long Retry-After may make us wait; a worker that is killed while it
# saves, a job that is cancelled; a secret that is changed by a reload.
# S0-9 S0-12 S0-13 S0-54 S2-9 S2-35 S4-4 S4-33 S4-51
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use HttpJobs;
use Digest::SHA qw(hmac_sha256_hex sha256_hex);
use MIME::Base64;
use Test::More;

my ($port, $requests) = hostile();
my $base = "http://127.0.0.1:$port";
my $pg = Jobqd::Postgres->new;
my $files = temp_directory();
chmod 0777, $files;
spew("$pg->{dir}/secret", "first secret\n");
chmod 0644, "$pg->{dir}/secret";
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
limits: {attachments: {concurrency: 5, min_gap: 200ms}}
retry:
  webhooks: {attempts: 5, backoff: exponential, base: 10s, factor: 2, max: 1h, jitter: 0, on: {rate_limit: {respect_retry_after: true}}}
  soon: {attempts: 3, backoff: fixed, base: 50ms, jitter: 0}
handlers:
  webhook: {driver: http, allow_private: true, sign: {scheme: timestamped-hmac, secret_file: $pg->{dir}/secret}}
  attachment: {driver: http, allow_private: true, directory: $files}
queues:
  webhook-delivery: {handler: webhook, concurrency: 10, timeout: 10s, retry: webhooks, poll: 50ms}
  attachments: {handler: attachment, concurrency: 10, timeout: 60s, expire: 4h, priority: low, retry: soon, limits: [attachments], poll: 50ms}
YAML
$d->start;
(undef, my $out, my $err) = run_program([ jobqd_program(), '-V' ]);
plan skip_all => 'this build has no driver http' if "$out$err" !~ /http/;

sub enqueue { my ($queue, $data) = @_; return $pg->query("SELECT jobq.enqueue('$queue', 'event.happened', '$data')") }
sub webhook { return enqueue('webhook-delivery', qq({"url": "$base/$_[0]", "eventType": "vehicle.moved", "payload": {"path": "$_[0]"}})) }
sub attachment { my ($n, $to) = @_; return enqueue('attachments', qq({"url": "$base/bytes/$n/length/slow", "save_to": "$to", "operation": "download", "fileName": "$to"})) }
sub state { return $pg->query("SELECT state FROM jobq.jobs WHERE id = $_[0]") }
sub parts { return map { s{.*/}{}r } glob "$files/.j*" }

# When a webhook is tried again.
{
	my %id = map { $_ => webhook($_) } 'status/500', 'status/429/99999999', 'status/503/Thu,_01_Jan_2099_00:00:00_GMT', 'status/429/3600', 'status/429', 'status/503/soon', 'status/404', 'status/200';
	wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'webhook-delivery' AND state IN ('retrying', 'completed', 'dead')") == keys %id } 'the first attempts';
	my %delay = map { $_ => $pg->query("SELECT round(extract(epoch FROM j.run_at - a.finished_at)) FROM jobq.jobs j JOIN jobq.attempts a ON a.job_id = j.id WHERE j.id = $id{$_}") } keys %id;
	is state($id{'status/200'}), 'completed', 'delivered';
	is state($id{'status/404'}), 'dead', 'refused: to the dead letters';
	for my $case ([ 'status/500', 10 ], [ 'status/429', 10 ], [ 'status/503/soon', 10 ], [ 'status/429/3600', 3600 ], [ 'status/429/99999999', 86400 ], [ 'status/503/Thu,_01_Jan_2099_00:00:00_GMT', 86400 ]) {
		my ($path, $want) = @$case;
		ok abs($delay{$path} - $want) <= 5, "$path: again after $delay{$path} s (S4-4, S4-33)";
	}
	my ($got) = grep { $_->{line} =~ m{/status/200} } json_lines($requests);
	my $h = $got->{headers};
	is_deeply [ @$h{qw(x-event-type x-event-id)} ], [ 'vehicle.moved', $id{'status/200'} ], 'X-Event-Type and X-Event-Id (S0-12, S0-13)';
	is $h->{'x-webhook-signature'}, hmac_sha256_hex("$h->{'x-webhook-timestamp'}." . decode_base64($got->{body}), 'first secret'), 'X-Webhook-Signature over timestamp.payload (S0-13, S4-51)';
}

# The secret of the file is changed.
{
	spew("$pg->{dir}/secret", "second secret\nfirst secret\n");
	my $from = $d->log_size;
	$d->signal('HUP');
	$d->wait_log(qr/\breload/, $from);
	my $signed = 'first secret';
	wait_for {
		my $id = webhook('status/200');
		wait_for { state($id) eq 'completed' } 'a webhook after the reload';
		my $h = (json_lines($requests))[-1];
		$signed = 'second secret' if $h->{headers}{'x-webhook-signature'} eq hmac_sha256_hex("$h->{headers}{'x-webhook-timestamp'}." . decode_base64($h->{body}), 'second secret');
		$signed eq 'second secret';
	} 'the new secret';
	is $signed, 'second secret', 'a reload: signed by the new secret';
}

# Attachments: what is about them in the view, five at a time.
{
	my @ids = map { attachment(1_500_000, "all/$_.bin") } 1 .. 8;
	wait_for { $pg->query("SELECT progress_note FROM jobq.jobs WHERE id = ANY('{@{[ join ',', @ids ]}}') AND progress_note LIKE '% of %' LIMIT 1") || $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'attachments' AND state = 'completed'") == 8 } 'a report of progress';
	wait_for { $pg->query("SELECT count(*) FROM jobq.jobs WHERE queue = 'attachments' AND state = 'completed'") == 8 } 'eight attachments';
	is scalar(grep { -s "$files/all/$_.bin" == 1_500_000 } 1 .. 8), 8, 'eight attachments are there (S0-9, S2-9)';
	my $most = $pg->query("SELECT max(n) FROM (SELECT (SELECT count(*) FROM jobq.attempts b WHERE b.job_id = ANY('{@{[ join ',', @ids ]}}') AND b.started_at <= a.started_at AND b.finished_at > a.started_at) n FROM jobq.attempts a WHERE a.job_id = ANY('{@{[ join ',', @ids ]}}')) s");
	cmp_ok $most, '<=', 5, "never more than five at a time ($most) (S0-54, S2-35)";
	is $pg->query("SELECT result->>'bytes' FROM jobq.jobs WHERE id = $ids[0]"), 1_500_000, 'the result has the size';
}

# Cancelled, and killed, in the middle.
{
	my $id = attachment(100_000_000, 'cancelled.bin');
	wait_for { $pg->query("SELECT progress_note FROM jobq.jobs WHERE id = $id") =~ /^\d+ of 100000000 bytes$/ } 'the download to be on its way';
	is scalar(parts()), 1, 'while it comes it has a name of its own: ' . join ' ', parts();
	$pg->query("SELECT jobq.cancel($id)");
	wait_for { state($id) eq 'cancelled' } 'it to be cancelled';
	wait_for { !parts() } 'what there was of it to be removed';
	ok !-e "$files/cancelled.bin", 'cancelled: nothing is left';

	spew("$files/killed.bin", 'old');
	chmod 0666, "$files/killed.bin";
	$id = attachment(10_000_000, 'killed.bin');
	wait_for { $pg->query("SELECT progress_note FROM jobq.jobs WHERE id = $id") =~ /^\d+ of / } 'the download to be on its way';
	my ($worker) = $d->pids(qr{worker attachments/});
	kill 'KILL', $worker;
	wait_for { $pg->query("SELECT count(*) FROM jobq.attempts WHERE job_id = $id") >= 1 } 'its end to be known';
	is slurp("$files/killed.bin"), 'old', 'killed: the old file is still there';
	wait_for { state($id) =~ /completed|dead/ } 'the next attempt';
	is state($id), 'completed', '… and the next attempt saves it all';
	is sha256_hex(slurp("$files/killed.bin")), sha256_hex(substr((join '', map { chr } 0 .. 255) x 39063, 0, 10_000_000)), '… as it was sent';
	is join(' ', parts()), '', '… and what the worker had left is gone';
}
done_testing;
