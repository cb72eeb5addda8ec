# Files that the driver http sends and saves: as they are, whole or not at all, below
# a directory and nowhere else, of any size in little memory. S0-9 S2-9 S2-35
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use HttpJobs;
use Digest::SHA qw(sha256_hex);
use MIME::Base64;
use Test::More;
use Time::HiRes qw(time);

my ($port, $requests) = hostile();
my $base = "http://127.0.0.1:$port";
my $dir = temp_directory();
mkdir "$dir/$_" for qw(files outside);
my $with = "allow_private: true, directory: $dir/files";
my $pattern = join '', map { chr } 0 .. 255;
spew("$dir/outside/secret", 'do not read');
spew("$dir/files/plan.pdf", $pattern x 5);
spew("$dir/files/empty", '');
symlink "$dir/outside", "$dir/files/away";
symlink 'plan.pdf', "$dir/files/link";
sub left_over { return grep { !/plan|empty|away|link|big|saved/ } map { s{.*/}{}r } glob "$dir/files/* $dir/files/.j*" }

# Saved.
{
	my $r = run_jobs("$with, keep_headers: [content-type]", job(1, url => "$base/bytes/1000", save_to => 'saved/2026/11/a.pdf'), job(2, url => "$base/bytes/700000/chunked", save_to => "saved/\x{fc}.pdf"),
	    job(3, url => "$base/status/204", save_to => 'saved/none'), job(4, url => "$base/gzip/good", save_to => 'saved/as-it-is'));
	is classes($r, 1 .. 4), 'completed completed completed completed', 'downloads' or diag explain $r;
	is_deeply $r->{1}{result}, { status => 200, file => 'saved/2026/11/a.pdf', bytes => 1000, type => 'application/pdf', headers => { 'content-type' => 'application/pdf; x=y' } },
	    'the result says where, and what it is';
	is slurp("$dir/files/saved/2026/11/a.pdf"), substr($pattern x 4, 0, 1000), 'the file is what was sent (S0-9, S2-9)';
	is sha256_hex(slurp("$dir/files/saved/\xc3\xbc.pdf")), sha256_hex(substr($pattern x 3000, 0, 700_000)), '… in chunks, too';
	is -s "$dir/files/saved/none", 0, '… and nothing is an empty file';
	is substr(slurp("$dir/files/saved/as-it-is"), 0, 2), "\x1f\x8b", 'what is compressed is saved as it is';
	is((stat "$dir/files/saved/2026/11/a.pdf")[2] & 0007, 0, 'others may not read it');
	is join(' ', map { (split ' ', $_->{line})[0] } json_lines($requests)), 'GET GET GET GET', 'a download is a GET';
}

# Not at all.
{
	spew("$dir/files/saved/old", 'old');
	spew("$dir/files/.jobqd-1-1.part", 'of a worker that was killed');
	my %path = (1 => 'bytes/1000000/length/cut', 2 => 'bytes/1000000/chunked/cut', 3 => 'status/404', 4 => 'status/500', 5 => 'reset_late', 6 => 'bytes/20000000', 7 => 'bytes/20000000/chunked', 8 => 'body_endless');
	my $r = run_jobs("$with, max_size: 10MiB", map { my $one = job($_ + 0, url => "$base/$path{$_}", save_to => "saved/old"); $one->{attempt} = 2; $one } sort keys %path);
	is classes($r, 1 .. 8), 'network network validation network network validation validation validation', 'what is cut, refused or too large';
	is slurp("$dir/files/saved/old"), 'old', '… leaves the file that is there';
	like $r->{$_}{message}, qr/more than max_size, 10485760 bytes/, "$path{$_}: the message" for 6 .. 8;
	spew("$dir/files/.jobqd-9-1.part", 'of a worker that was killed');
	$r = run_jobs($with, { %{ job(9, url => "$base/bytes/10", save_to => 'saved-old') }, attempt => 2 });
	is -s "$dir/files/saved-old", 10, 'another attempt';
	unlink "$dir/files/.jobqd-1-1.part";	# in another directory than that of job 1
	is join(' ', left_over()), '', '… removes what the one before has left';
}

# Nowhere else.
{
	my @bad = ('', '/etc/x', '../outside/x', 'a/../../outside/x', '.hidden', 'a/.ssh/x', 'a//b', 'a/', '.', 'x' x 256, ('x' x 200 . '/') x 6 . 'y', "a/\n/..");
	my $r = run_jobs($with, (map { job($_ + 1, url => "$base/bytes/10", save_to => $bad[$_]) } 0 .. $#bad), job(100, url => "$base/bytes/10", save_to => 'away/x'), job(101, url => "$base/bytes/10", save_to => 'plan.pdf/x'),
	    job(102, url => "$base/bytes/10", save_to => 5));
	is classes($r, 1 .. @bad), join(' ', ('validation') x @bad), 'paths that lead out of the directory, or are none' or diag explain $r;
	is classes($r, 100, 101), 'resource resource', 'a link, a file in the way';
	is join(' ', map { s{.*/}{}r } glob "$dir/outside/*"), 'secret', 'nothing got out';
	run_jobs($with, job(1, url => "$base/bytes/10", save_to => 'link'));
	ok !-l "$dir/files/link" && -s "$dir/files/plan.pdf" == 1280, 'a link of that name is replaced, not followed';
	$r = run_jobs('allow_private: true', job(1, url => "$base/bytes/10", save_to => 'x'), job(2, url => "$base/bytes/10", upload => 'x'));
	is classes($r, 1, 2), 'validation validation', 'without a directory there are no files';
	$r = run_jobs("allow_private: true, directory: $dir/none", job(1, url => "$base/bytes/10", save_to => 'x'), job(2, url => "$base/bytes/10", upload => 'x'));
	is classes($r, 1, 2), 'resource validation', '… nor in one that is not there';
}

# Sent.
{
	spew($requests, '');
	symlink 'plan.pdf', "$dir/files/link2";
	my @bad = ('', 'none', '../outside/secret', 'away/secret', 'link2', '/etc/passwd', 'saved', "plan.pdf/");
	my $r = run_jobs("$with, headers: {Content-Type: \"{{data.contentType}}\"}", job(1, url => "$base/status/200", upload => 'plan.pdf', contentType => 'application/pdf'),
	    job(2, url => "$base/status/200", upload => 'empty', method => 'POST', contentType => 'text/plain'), map { job($_ + 3, url => "$base/status/200", upload => $bad[$_], contentType => 'a/b') } 0 .. $#bad);
	is classes($r, 1 .. @bad + 2), join(' ', 'completed', 'completed', ('validation') x @bad), 'uploads, and what is none' or diag explain $r;
	my %got = map { ((split ' ', $_->{line})[0] => $_) } json_lines($requests);
	is_deeply [ $got{PUT}{headers}{'content-type'}, decode_base64($got{PUT}{body}) ], [ 'application/pdf', $pattern x 5 ], 'a file is put, with its type (S0-9, S2-9)';
	is_deeply [ @{ $got{POST} }{qw(bytes)}, $got{POST}{headers}{'content-length'} ], [ 0, 0 ], '… or posted, though it is empty';
	is scalar(keys %got), 2, '… and nobody hears of the others';
	spew($requests, '');
	$r = run_jobs($with, job(1, url => "$base/status/200", multipart => { before => 'x', file => { path => 'plan.pdf', type => 'application/pdf' }, more => [ { path => 'plan.pdf', filename => 'again.pdf' }, { path => 'empty' } ] }),
	    job(2, url => "$base/status/200", multipart => { a => { path => 'plan.pdf' } }, secret => 'x'), job(3, url => "$base/status/200", upload => 'plan.pdf', secret => 'x'));
	is classes($r, 1 .. 3), 'completed validation validation', 'files as parts; what is not signed is not sent' or diag explain $r;
	my ($parts) = json_lines($requests);
	my $body = decode_base64($parts->{body});
	is scalar(() = $body =~ /\Q$pattern\E/g), 10, '… both of them whole';
	like $body, qr/name="file"; filename="plan.pdf"\r\nContent-Type: application\/pdf\r\n\r\n.*name="more"; filename="again.pdf"\r\nContent-Type: application\/octet-stream\r\n/s, '… with their names and types';
	$r = run_jobs("$with, url: \"$base/status/200\", upload: \"{{data.file}}\", method: POST", job(1, file => 'plan.pdf'), job(2, file => '../outside/secret'));
	is classes($r, 1, 2), 'completed validation', 'a path of the handler, filled in';
	# An answer that comes before all is sent.
	truncate_to("$dir/files/big", 64 << 20);
	my $early = run_jobs($with, job(1, url => "http://127.0.0.1:" . early(), upload => 'big'));
	like $early->{1}{class}, qr/^(?:validation|network)$/, "an upload that is refused at once: $early->{1}{class}";
}

sub truncate_to { my ($path, $size) = @_; spew($path, ''); truncate $path, $size or die "$path: $!"; return }

# Refuses by the head alone.
sub early {
	require IO::Socket::INET;
	my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5) or die;
	my $pid = fork // die;
	if ($pid == 0) {
		while (my $c = $listen->accept) {
			sysread $c, my $in, 4096;
			syswrite $c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
			shutdown $c, 1;
			1 while sysread $c, $in, 1 << 20;
		}
		POSIX::_exit(0);
	}
	Jobqd::at_end(sub { kill 'KILL', $pid; waitpid $pid, 0 });
	return $listen->sockport . '/';
}

# Large ones.
{
	my $gib = 1 << 30;
	truncate_to("$dir/files/big", $gib);
	spew($requests, '');
	local $HttpJobs::queue = 'concurrency: 400, timeout: 10m';
	my $began = time;
	my $r = run_jobs("$with, max_size: 2GiB", job(1, url => "$base/bytes/$gib", save_to => 'big-saved'));
	my $took = time - $began;
	is $r->{1}{result}{bytes}, $gib, sprintf 'a download of 1 GiB in %.1f s', $took;
	is_small($r, '…');
	is -s "$dir/files/big-saved", $gib, '… is there as a whole';
	unlink "$dir/files/big-saved";
	$began = time;
	$r = run_jobs($with, job(1, url => "$base/status/200", upload => 'big'));
	my ($got) = json_lines($requests) ? (json_lines($requests))[-1] : {};
	is $got->{bytes}, $gib, sprintf 'an upload of 1 GiB in %.1f s', time - $began;
	is_small($r, '…');
	$r = run_jobs($with, job(1, url => "$base/bytes/8000000/length/slow", save_to => 'saved/slow'));
	my @told = @{ $r->{progress}{1} || [] };
	cmp_ok scalar(@told), '>=', 1, scalar(@told) . ' reports of progress' or diag explain $r;
	is scalar(grep { $_->{text} =~ /^\d+ of 8000000 bytes$/ && $_->{pct} >= 0 && $_->{pct} <= 100 } @told), scalar(@told), "… such as \"$told[0]{text}\", $told[0]{pct} %";
}
is join(' ', left_over()), '', 'nothing is left over';
done_testing;
