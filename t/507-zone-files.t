# The files of time zones: what jobqd -t says without them and of bad ones, and
# that a reload takes new ones. S1-62
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use File::Copy;
use Test::More;

plan skip_all => 'no time zones: install tzdata' unless -r '/usr/share/zoneinfo/Asia/Tokyo';
plan tests => 14;

my $dir = temp_directory();
my $config = <<'YAML';
handlers: {null: {driver: noop}}
queues:
  work: {handler: null, workers: 1}
schedules:
  daily: {cron: "0 9 * * *", timezone: Our/Office, queue: work}
YAML
sub check {
	my ($text) = @_;
	my ($status, undef, $err) = run_program([ jobqd_program(), '-t', '-c', spew("$dir/check.yml", $text) ]);
	return "$status $err";
}

{
	local $ENV{TZDIR} = "$dir/none";
	is check($config), "1 $dir/check.yml:5:30: timezone: \"Our/Office\": no such time zone, as there are none in "
	    . "$dir/none; install the package tzdata or write UTC\n", 'without any zones';
	like check($config =~ s{Our/Office}{UTC}r), qr/^0 /, '… UTC is there';
}

$ENV{TZDIR} = "$dir/zones";
mkdir $_ for "$dir/zones", "$dir/zones/Our";
spew("$dir/zones/Our/Office", "TZif but no more of it");
is check($config), "1 $dir/check.yml:5:30: timezone: \"Our/Office\": $dir/zones/Our/Office: not a usable time zone file: "
    . "it does not begin like one (TZif)\n", 'a file that is none';
spew("$dir/zones/Our/Office", 'x' x 100_000);
like check($config), qr/5:30: .*not a usable time zone file: it is too large$/m, '… a large one';
copy('/usr/share/zoneinfo/Europe/Berlin', "$dir/zones/Our/Office") or die;
like check($config), qr/^0 /, 'a good one';
is check($config =~ s{Our/Office}{our/offce}r), "1 $dir/check.yml:5:30: timezone: \"our/offce\": "
    . "no such time zone (did you mean \"Our/Office\"?)\n", 'the nearest name';
like check($config =~ s{Our/Office}{../zones/Our/Office}r), qr/5:30: .*no such time zone/, 'no way out of the directory';
like check($config . "daemon: {timezone: office}\n"), qr/6:10: .*did you mean "Our\/Office"/, "the daemon's, by its last word";

my $pg = Jobqd::Postgres->new;
my $d = Jobqd::Daemon->new(pg => $pg, config => $config);
$d->start;
sub hour { return $pg->query("SELECT to_char(next_run AT TIME ZONE '$_[0]', 'HH24:MI') FROM jobq.schedules WHERE next_run IS NOT NULL") }
wait_for { hour('Europe/Berlin') eq '09:00' } 'the next run';
pass 'nine o\'clock in Berlin (S1-62)';
my $from = $d->log_size;
$d->signal('HUP');
like $d->wait_log(qr/: reload/, $from), qr/: reload changed=nothing/, 'a reload without a change';

copy('/usr/share/zoneinfo/Asia/Tokyo', "$dir/zones/Our/New") or die;
rename "$dir/zones/Our/New", "$dir/zones/Our/Office" or die;
$from = $d->log_size;
$d->signal('HUP');
unlike $d->wait_log(qr/: reload/, $from), qr/: reload changed=nothing/, 'a reload with a new file';
wait_for { hour('Asia/Tokyo') eq '09:00' } 'the next run by the new one';
pass '… nine o\'clock in Tokyo';

# A file that has become bad stops no reload's old state.
spew("$dir/zones/Our/Office", 'no more');
$from = $d->log_size;
$d->signal('HUP');
like $d->wait_log(qr/Our\/Office/, $from), qr/not a usable time zone file/, 'a bad one is refused';
is hour('Asia/Tokyo'), '09:00', '… and all stays as it was';
$d->stop;
