# A client of the API, with a token: JSON there and back.
#
#	my $file = Api::tokens("$dir/tokens", [qw(ops admin * secret)], …);
#	my $ops = Api->new("127.0.0.1:$port", 'secret');
#	my $r = $ops->post('/v1/jobs', { queue => 'work' });	# {status, headers, body, json}
package Api;

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use Http;
use Jobqd;
use JSON::PP ();

our $json = JSON::PP->new->utf8->canonical->allow_nonref;

# Write a file of tokens: [name, role, tenant, token] each. Returns its path.
sub tokens {
	my ($path, @tokens) = @_;
	Jobqd::spew("$path.new", join '', map { "$_->[0] $_->[1] $_->[2] " . sha256_hex($_->[3]) . "\n" } @tokens);
	chmod 0600, "$path.new";
	rename "$path.new", $path or die "$path: $!\n";
	return $path;
}

# Options: headers => {…} of every request, instead of a token.
sub new {
	my ($class, $address, $token, %o) = @_;
	my %h = %{ $o{headers} || {} };
	$h{Authorization} = "Bearer $token" if defined $token;
	return bless { http => Http->new($address), headers => \%h }, $class;
}

# Options: headers; body (bytes) or json. The answer is Http's, and json: what
# its body is, when it is JSON; detail: of a problem, as bytes. undef: no connection.
sub request {
	my ($self, $method, $path, %o) = @_;
	my %h = (%{ $self->{headers} }, %{ $o{headers} || {} });
	$o{body} = $json->encode($o{json}) if exists $o{json};
	my $r = $self->{http}->request($path, method => $method, headers => \%h,
	    defined $o{body} ? (body => $o{body}) : ()) or return undef;
	$r->{json} = $json->decode($r->{body})
	    if ($r->{headers}{'content-type'} || '') =~ m{^application/(?:problem\+)?json} && length $r->{body};
	if (ref $r->{json} eq 'HASH' && defined $r->{json}{detail}) {
		utf8::encode($r->{detail} = $r->{json}{detail});
	}
	return $r;
}

sub get    { my ($self, $path, %o) = @_; return $self->request('GET', $path, %o) }
sub delete { my ($self, $path, %o) = @_; return $self->request('DELETE', $path, %o) }

# body: a reference is sent as JSON, a text as it is, undef: none.
sub post {
	my ($self, $path, $body, %o) = @_;
	return $self->request('POST', $path, %o, !defined $body ? () : ref $body ? (json => $body) : (body => $body));
}

sub put {
	my ($self, $path, $body, %o) = @_;
	return $self->request('PUT', $path, %o, ref $body ? (json => $body) : (body => $body));
}

1;
