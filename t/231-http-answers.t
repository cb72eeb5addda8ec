# The driver http and what servers answer: the class of every status, Retry-After,
# what is kept of an answer, and servers that answer as none should: they end in a
# class, soon, and cost no memory. S0-12 S4-4 S4-45
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use HttpJobs;
use POSIX ();
use Test::More;
use Time::HiRes qw(time);

my ($port, $requests) = hostile();
my $base = "http://127.0.0.1:$port";
my $id = 0;

# Jobs for these paths: path => class, and the results by path.
sub ask {
	my ($handler, @paths) = @_;
	my %id = map { $_ => ++$id } @paths;
	my $r = run_jobs("allow_private: true, $handler", map { job($id{$_}, url => "$base/$_", payload => {}) } @paths);
	my %by = map { $_ => $r->{ $id{$_} } || { class => 'no result' } } @paths;
	return wantarray ? (\%by, $r) : \%by;
}
sub class_of { my ($one) = @_; return $one->{class} || 'completed' }

# The whole table.
{
	my %want = map { $_ => $_ < 300 ? 'completed' : $_ < 400 ? 'validation' : $_ < 500 ? 'validation' : 'network' } 200 .. 206, 226,
	    300 .. 308, 400 .. 418, 421 .. 426, 428, 429, 431, 451, 499, 500 .. 511, 520 .. 527, 599;
	@want{ 401, 403 } = ('auth') x 2;
	@want{ 408, 425 } = ('network') x 2;
	$want{429} = 'rate_limit';
	# Of 100 to 199 there are answers to come; 101 was never asked for.
	my $got = ask('timeout: 20s', map { "status/$_" } sort keys %want);
	is_deeply { map { $_ => class_of($got->{"status/$_"}) } keys %want }, \%want, keys(%want) . ' statuses and their classes';
	is scalar(grep { ($got->{"status/$_"}{result}{status} || 0) == $_ } keys %want), scalar(keys %want), 'the status is in the result, also of what failed';
	$got = ask('timeout: 20s', map { "location/$_" } 301, 302, 303, 307, 308);
	is_deeply [ map { class_of($_) } values %$got ], [ ('validation') x 5 ], 'redirects are not followed';
	like $got->{'location/302'}{message}, qr/redirects are not followed/, '… and the message says so';
	is scalar(grep { $_->{line} =~ m{/status/200 } } json_lines($requests)), 1, '… nobody was there';
}

# Retry-After.
{
	my $in = sub { POSIX::strftime($_[0], gmtime(time + 100)) };
	my %want = (
		'429/30' => [ 'rate_limit', 30 ], '503/30' => [ 'rate_limit', 30 ], '503/0' => [ 'rate_limit', 0 ], '429/soon' => [ 'rate_limit', undef ],
		'503/soon' => [ 'network', undef ], '503/-5' => [ 'network', undef ], '503/1.5' => [ 'network', undef ],
		'503/99999999999999999999' => [ 'rate_limit', 999999999 ], '500/30' => [ 'network', 30 ], '404/30' => [ 'validation', 30 ],
		'503/Thu,_01_Jan_1970_00:00:00_GMT' => [ 'rate_limit', 0 ],
		'503/' . $in->('%a,_%d_%b_%Y_%H:%M:%S_GMT') => [ 'rate_limit', 100 ], '429/' . $in->('%A,_%d-%b-%y_%H:%M:%S_GMT') => [ 'rate_limit', 100 ],
	);
	my $got = ask('timeout: 20s', map { "status/$_" } keys %want);
	for my $path (sort keys %want) {
		my ($one, ($class, $seconds)) = ($got->{"status/$path"}, @{ $want{$path} });
		my $ms = $one->{retry_after_ms};
		ok class_of($one) eq $class && (defined $seconds ? abs($ms - 1000 * $seconds) <= 30_000 && ($seconds == 100 || $ms == 1000 * $seconds) : $ms == -1),
		    "Retry-After: $path" or diag explain $one;
	}
}

# What is kept.
{
	my $got = ask('keep_headers: [ETag, x-request-id, X-None]', 'json', 'json/404', 'interim', 'gzip/good', 'chunks/good');
	is_deeply $got->{json}{result}, { status => 200, body => { id => 7, tags => ['a'] }, headers => { etag => '"e"', 'x-request-id' => 'r1' } },
	    'JSON is kept as JSON, with the headers that are wanted';
	is_deeply $got->{'json/404'}{result}{body}, { id => 7, tags => ['a'] }, '… also of a failure';
	like $got->{'json/404'}{message}, qr/HTTP 404: \{"id": 7/, '… whose message has the beginning';
	is_deeply [ @{ $got->{interim} }{qw(class retry_after_ms)}, $got->{interim}{result}{body} ], [ '', -1, 'done' ], 'interim answers are no answers';
	is $got->{'gzip/good'}{result}{body}, 'unpacked ' x 100, 'gzip';
	is $got->{'chunks/good'}{result}{body}, 'hello', 'chunks with a trailer';
	$got = ask('keep_body: 10', 'json', 'late/0');
	is_deeply $got->{json}{result}, { status => 200, body => '{"id": 7, ', truncated => JSON::PP::true }, 'what is cut is text, and says so';
	$got = ask('keep_body: 0', 'json', 'status/500');
	is_deeply [ $got->{json}{result}, class_of($got->{'status/500'}) ], [ { status => 200, body => '', truncated => JSON::PP::true }, 'network' ], 'nothing is kept';
	$got = ask('keep_body: 100KiB', 'body_endless');
	is length($got->{body_endless}{result}{body}), 102400, 'as much as is wanted';
}

# As no server should.
{
	my %want = (
		reset => 'network', reset_late => 'network', close => 'network', short => 'network', drip => 'timeout', drip_head => 'timeout',
		stall => 'timeout', mute => 'timeout', 'late/20000' => 'timeout', header_endless => 'network', headers_endless => 'network', interim_endless => 'network', switch => 'timeout',
		body_endless => 'completed', 'body_endless_of/404' => 'validation', 'body_endless_of/500' => 'network',
		'chunks/size' => 'network', 'chunks/huge' => 'network', 'chunks/none' => 'network', 'chunks/end' => 'network',
		bad_length => 'network', text => 'network', http09 => 'network', 'status_line/HTTP_1.1_200' => 'network',
		'status_line/HTTP/1.1_2000_OK' => 'network', 'status_line/HTTP/1.1_abc_OK' => 'network', nul => 'network',
		'gzip/bad' => 'network', 'gzip/bomb' => 'completed',
	);
	my $began = time;
	my ($got, $all) = ask('timeout: 6s', sort keys %want);
	# What curl takes and what it refuses here is the same to us: no crash, no hang.
	# S0-12
	is_deeply { map { $_ => class_of($got->{$_}) } keys %want }, \%want, sprintf('%d hostile answers at once, over in %.1f s', scalar(keys %want), time - $began);
	is_deeply $all->{exit}, { status => 0, signal => 0 }, 'the worker is fine';
	is scalar(grep { length($_->{message} || '') > 600 || ($_->{message} || '') =~ /[\r\n\0]/ } values %$got), 0, 'each message is one line, and no long one';
	like $got->{headers_endless}{message}, qr/^\Q$base\E: .*(?:head|Too large|long)/i, 'which says what was wrong' or diag $got->{headers_endless}{message};
	my @big = ask('timeout: 20s', map { ("gzip/bomb?$_", "body_endless?$_", "headers_endless?$_", "interim_endless?$_") } 1 .. 20);
	is scalar(grep { /bomb|body/ && class_of($big[0]{$_}) eq 'completed' } keys %{ $big[0] }), 40, 'eighty endless answers at once';
	is_small($big[1], '…');
}

# Several kinds of patience.
{
	my $got = ask('timeout: 20s, answer_timeout: 1500ms', 'mute', 'late/20000', 'late/1', 'interim', 'body_endless');
	is join(' ', map { class_of($got->{$_}) } 'mute', 'late/20000', 'late/1', 'interim', 'body_endless'), 'timeout timeout completed completed completed', 'answer_timeout';
	is $got->{mute}{message}, "$base: no answer within 1500 ms", '… says so';
	$got = ask('timeout: 4s, answer_timeout: 1500ms', 'drip');
	like $got->{drip}{message}, qr/timed out after \d+ milliseconds/, '… and not of one that has begun: that is for timeout';
	$got = ask('timeout: 20s, stall_timeout: 1s', 'stall', 'mute', 'late/100', 'bytes/200000/length/slow');
	is join(' ', map { class_of($got->{$_}) } 'stall', 'mute', 'late/100', 'bytes/200000/length/slow'), 'timeout timeout completed completed', 'stall_timeout';
}

# Private networks that are allowed.
{
	my %want = ('[127.0.0.0/8]' => 'completed', '[10.0.0.0/8, 127.0.0.1]' => 'completed', '["::1", 10.0.0.0/8]' => 'validation', '[]' => 'validation');
	is_deeply { map { $_ => class_of(run_jobs("allow_networks: $_", job(1, url => "$base/status/200", payload => {}))->{1}) } keys %want }, \%want, 'allow_networks';
	my $r = run_jobs('allow_networks: [127.0.0.0/8], timeout: 3s', job(1, url => 'http://169.254.169.254/latest/meta-data/', payload => {}), job(2, url => "http://[::ffff:127.0.0.1]:$port/status/200", payload => {}));
	is_deeply [ $r->{1}{class}, $r->{1}{message} =~ /private address/ ? 1 : 0 ], [ 'validation', 1 ], '… and no others';
}

# Where nothing answers.
{
	my $closed = free_port();
	my %want = ("http://127.0.0.1:$closed/" => 'network', 'http://nowhere.invalid/' => 'network', 'https://127.0.0.1:' . $port . '/' => 'network',
		'http://255.255.255.255/' => 'network', 'http://[::1]:' . $closed . '/' => 'network', 'http://127.0.0.1:99999/' => 'validation', 'http:///x' => 'validation',
		'http://' . ('a' x 300) . '.invalid/' => 'network', 'http://a b/' => 'validation', 'http://[::1/' => 'validation');
	my @urls = sort keys %want;
	my $r = run_jobs('allow_private: true, timeout: 10s', map { job($_ + 1, url => $urls[$_], payload => {}) } 0 .. $#urls);
	is_deeply { map { $urls[$_] => class_of($r->{ $_ + 1 }) } 0 .. $#urls }, \%want, 'no way to get there, or no such place' or diag explain $r;
}
done_testing;
