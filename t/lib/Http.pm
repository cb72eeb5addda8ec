# HTTP by hand, for tests that send what no library would: a connection is a
# socket, an answer is read byte by byte as its own head says.
#
#	my $http = Http->new("127.0.0.1:$port");	# or unix:PATH, or tls:127.0.0.1:PORT
#	my $r = $http->get('/readyz');			# {status, reason, headers, body}
#	my $c = $http->connect; $c->send("GET / HTTP/1.1\r\n…"); my $r = $c->answer;
package Http;

use strict;
use warnings;

use IO::Socket::INET;
use POSIX ();
use IO::Socket::UNIX;
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);

sub new {
	my ($class, $address) = @_;
	return bless { address => $address }, $class;
}

# undef when nobody listens.
sub connect {
	my ($self) = @_;
	my $socket = $self->{address} =~ /^tls:(.*)/ ? tls_socket($1)
	    : $self->{address} =~ /^unix:(.*)/ ? IO::Socket::UNIX->new(Peer => $1)
	    : IO::Socket::INET->new(PeerAddr => $self->{address}, Timeout => 10);
	return undef unless $socket;
	$socket->blocking(1);
	return bless { socket => $socket, in => '' }, 'Http::Connection';
}

# One end of a pair whose other end a program of OpenSSL has, which speaks TLS.
# Options are s_client's.
sub tls_socket {
	my ($address, @options) = @_;
	my ($ours, $theirs) = IO::Socket->socketpair(AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "socketpair: $!\n";
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		# Nobody waits for it: it goes when either end is closed.
		POSIX::_exit(0) if fork;
		close $ours;
		open STDIN, '<&', $theirs;
		open STDOUT, '>&', $theirs;
		open STDERR, '>', '/dev/null';
		exec 'openssl', 's_client', '-quiet', '-connect', $address, @options or POSIX::_exit(127);
	}
	waitpid $pid, 0;
	return $ours;
}

# One request on a connection of its own; undef when there is none to be had.
# Options: method, headers => {…}, body.
sub request {
	my ($self, $path, %o) = @_;
	my $c = $self->connect or return undef;
	my %h = (Host => 'test', Connection => 'close', %{ $o{headers} || {} });
	$h{'Content-Length'} = length $o{body} if defined $o{body};
	my $method = $o{method} || 'GET';
	$c->send("$method $path HTTP/1.1\r\n" . join('', map { "$_: $h{$_}\r\n" } sort keys %h)
	    . "\r\n" . (defined $o{body} ? $o{body} : ''));
	return $c->answer($method);
}

sub get { my ($self, $path, %headers) = @_; return $self->request($path, headers => \%headers) }

#----------------------------------------------------------------------
package Http::Connection;

use strict;
use warnings;

use IO::Select;
use Time::HiRes qw(time);

# False when the other side has closed.
sub send {
	my ($self, $text) = @_;
	local $SIG{PIPE} = 'IGNORE';
	while (length $text) {
		my $n = syswrite $self->{socket}, $text;
		return 0 unless $n;
		substr $text, 0, $n, '';
	}
	return 1;
}

# Read more: 1, 0 at the end, undef when nothing comes for so many seconds.
sub more {
	my ($self, $seconds) = @_;
	my $end = time + (defined $seconds ? $seconds : $Jobqd::deadline);
	return undef unless IO::Select->new($self->{socket})->can_read($end - time);
	my $n = sysread $self->{socket}, $self->{in}, 65536, length $self->{in};
	return $n ? 1 : 0;
}

# The next answer, undef when the connection ends without one. Dies when it
# is none.
sub answer {
	my ($self, $method) = @_;
	until ($self->{in} =~ /\r\n\r\n/) {
		my $more = $self->more;
		die "no answer\n" unless defined $more;
		return undef unless $more;
	}
	$self->{in} =~ s/^HTTP\/1\.1 (\d\d\d) ([^\r\n]*)\r\n((?:[^\r\n]+\r\n)*)\r\n// or die "no answer: $self->{in}\n";
	my %r = (status => $1, reason => $2);
	for my $line (split /\r\n/, $3) {
		$line =~ /^([A-Za-z-]+): (.*)$/ or die "no field: $line\n";
		$r{headers}{ lc $1 } = $2;
	}
	return \%r if $r{status} == 100;
	my $length = $r{status} =~ /^[23]04$/ ? 0 : $r{headers}{'content-length'};
	die "no length\n" unless defined $length;
	$length = 0 if ($method || '') eq 'HEAD';
	while (length $self->{in} < $length) {
		$self->more or die "the answer is cut off\n";
	}
	$r{body} = substr $self->{in}, 0, $length, '';
	return \%r;
}

# Has the other side closed, with nothing more to say, within so many seconds?
sub ended {
	my ($self, $seconds) = @_;
	my $more = $self->more($seconds);
	return defined $more && !$more && $self->{in} eq '';
}

sub close { close $_[0]{socket} }

1;
