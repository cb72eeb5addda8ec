# Requests that could be read in two ways, for tests of whoever reads them:
#
#	for (hostile('/first', '/second')) { my ($what, $text, $status) = @$_; … }
#
# Each has the path of the first request, and hidden behind it the second. The
# status is what a strict server answers.
package Hostile;

use strict;
use warnings;

use Exporter qw(import);
our @EXPORT = qw(hostile);

sub hostile {
	my ($first, $second) = @_;
	my $hidden = "GET $second HTTP/1.1\r\nHost: a\r\n\r\n";
	my $get = "GET $first HTTP/1.1\r\nHost: a\r\n";
	my $length = length $hidden;
	my $hex = sprintf '%x', $length;
	my @all = (
		[ 'CL + TE', "${get}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" ],
		[ 'CL of all + TE', $get . 'Content-Length: ' . ($length + 5) . "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" ],
		[ 'TE + CL', "${get}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" ],
		[ 'two differing Content-Length', "${get}Content-Length: 0\r\nContent-Length: $length\r\n\r\n" ],
		[ '… the other way round', "${get}Content-Length: $length\r\nContent-Length: 0\r\n\r\n" ],
		[ 'two equal Content-Length', "${get}Content-Length: 0\r\nContent-Length: 0\r\n\r\n" ],
		[ 'a list of Content-Length', "${get}Content-Length: 0, $length\r\n\r\n" ],
		[ 'Content-Length: +5', "${get}Content-Length: +5\r\n\r\nhello" ],
		[ 'Content-Length: 0x0', "${get}Content-Length: 0x0\r\n\r\n" ],
		[ 'Content-Length with a tab inside', "${get}Content-Length: 1\t0\r\n\r\n" ],
		[ 'Content-Length with a blank before the colon', "${get}Content-Length : $length\r\n\r\n" ],
		[ 'Content-Length of -1', "${get}Content-Length: -1\r\n\r\n" ],
		[ 'Content-Length with a vertical tab', "${get}Content-Length:\x0b$length\r\n\r\n" ],
		[ 'Content_Length', "${get}Content_Length: $length\r\nContent-Length: +0\r\n\r\n" ],
		[ 'Transfer-Encoding: xchunked', "${get}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" ],
		[ 'Transfer-Encoding: chunked, identity', "${get}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" ],
		[ 'Transfer-Encoding: identity, chunked', "${get}Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" ],
		[ 'Transfer-Encoding with a space', "${get}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" ],
		[ 'Transfer-Encoding with a tab before its value', "${get}Transfer-Encoding:\tx\tchunked\r\n\r\n0\r\n\r\n" ],
		[ 'Transfer-Encoding with a vertical tab', "${get}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n" ],
		[ 'Transfer-Encoding in quotes', "${get}Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n" ],
		[ 'Transfer-Encoding twice', "${get}Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" ],
		[ 'Transfer-Encoding on a folded line', "${get}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" ],
		[ 'Transfer-Encoding with HTTP/1.0', "GET $first HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" ],
		[ 'obs-fold', "${get}X: 1\r\n Transfer-Encoding: chunked\r\n\r\n" ],
		[ 'bare LF', "GET $first HTTP/1.1\nHost: a\n\n" ],
		[ 'one bare LF', "GET $first HTTP/1.1\r\nHost: a\nX: b\r\n\r\n" ],
		[ 'a length behind a bare LF', "GET $first HTTP/1.1\r\nHost: a\r\nX: b\nContent-Length: $length\r\n\r\n" ],
		[ 'bare CR', "GET $first HTTP/1.1\r\nHost: a\rX: b\r\n\r\n" ],
		[ 'a length behind a bare CR', "${get}X: b\rContent-Length: $length\r\n\r\n" ],
		[ 'NUL in a field', "${get}X: a\0b\r\n\r\n" ],
		[ 'a control character', "${get}X: \x0b\r\n\r\n" ],
		[ 'two Hosts', "${get}Host: b\r\n\r\n" ],
		[ 'no Host', "GET $first HTTP/1.1\r\n\r\n" ],
		[ 'a field without a name', "${get}: a\r\n\r\n" ],
		[ 'a blank in a name', "${get}Content Length: 5\r\n\r\nhello" ],
		[ 'chunk size 0x5', "${get}Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n" ],
		[ 'chunk size with a sign', "${get}Transfer-Encoding: chunked\r\n\r\n-1\r\n" ],
		[ 'chunk size too large', "${get}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" ],
		[ 'chunk size that wraps around', "${get}Transfer-Encoding: chunked\r\n\r\n100000000000000$hex\r\n" ],
		[ 'chunk longer than its size', "${get}Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n" ],
		[ 'chunk lines with bare LF', "${get}Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n" ],
		[ 'a chunk extension with a bare LF', "${get}Transfer-Encoding: chunked\r\n\r\n1;\nx\r\na\r\n0\r\n\r\n" ],
		[ 'a trailer', "${get}Transfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: x\r\n\r\n" ],
		[ 'a trailer with a length', "${get}Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: $length\r\n\r\n" ],
		[ '%00 in the path', "GET $first%00 HTTP/1.1\r\nHost: a\r\n\r\n" ],
		[ 'CR LF in the path', "GET /q%0d%0aX: HTTP/1.1\r\nHost: a\r\n\r\n" ],
		[ 'an encoded slash', "GET /a%2f$first HTTP/1.1\r\nHost: a\r\n\r\n" ],
		[ 'two blanks in the request line', "GET  $first HTTP/1.1\r\nHost: a\r\n\r\n" ],
		[ 'HTTP/0.9', "GET $first\r\n\r\n" ],
		[ 'TLS', "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" ],
		[ 'a body too large', "${get}Content-Length: 4097\r\n\r\n", 413 ],
		[ 'a body far too large', "${get}Content-Length: 999999999999999999\r\n\r\n", 413 ],
		[ 'chunks too large', "${get}Transfer-Encoding: chunked\r\n\r\n1001\r\n", 413 ],
		[ 'many chunks', "${get}Transfer-Encoding: chunked\r\n\r\n" . "400\r\n" . 'x' x 1024 . "\r\n400\r\n" . 'x' x 1024 . "\r\n800\r\n" . 'x' x 2048 . "\r\n1\r\n", 413 ],
		[ 'a head beyond 16 KiB', $get . 'X: ' . 'x' x 16384 . "\r\n\r\n", 431 ],
		[ 'an endless line', 'G' x 20000, 431 ],
		[ 'too many fields', $get . "X: 1\r\n" x 100 . "\r\n", 431 ],
		[ 'HTTP/2', "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505 ],
		[ 'an expectation', "${get}Expect: the-unexpected\r\n\r\n", 417 ],
	);
	return map { [ $_->[0], "$_->[1]$hidden", $_->[2] || 400 ] } @all;
}

1;
