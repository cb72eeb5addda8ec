# A reader of server-sent events, as a browser's EventSource is one: events in
# their order, and the id of the last one. Nothing is read before it is asked for.
#
#	my $s = Sse->new("127.0.0.1:$port", '/v1/events', 'token', last => $id);
#	my $e = $s->next;		# {event, data (decoded), id}; undef: the end
#	my @e = $s->until(sub { $_->{data}{state} eq 'completed' });
package Sse;

use strict;
use warnings;

use Http;
use JSON::PP ();
use Jobqd ();

my $json = JSON::PP->new->utf8;

# Options: last (a Last-Event-ID), version (1.0), headers => {…}.
sub new {
	my ($class, $address, $path, $token, %o) = @_;
	my $c = Http->new($address)->connect or return undef;
	my %h = (Host => 'test', Accept => 'text/event-stream', %{ $o{headers} || {} });
	$h{Authorization} = "Bearer $token" if defined $token;
	$h{'Last-Event-ID'} = $o{last} if defined $o{last};
	$c->send("GET $path HTTP/" . ($o{version} || '1.1') . "\r\n" . join('', map { "$_: $h{$_}\r\n" } sort keys %h) . "\r\n");
	my $self = bless { c => $c, text => '', id => '', beats => 0 }, $class;
	return $self;
}

# Read the head of the answer, unless it was.
sub head {
	my ($self) = @_;
	return $self if $self->{status};
	my $c = $self->{c};
	until ($c->{in} =~ /\r\n\r\n/) {
		$c->more or die "no answer\n";
	}
	$c->{in} =~ s/^HTTP\/1\.1 (\d\d\d) ([^\r\n]*)\r\n((?:[^\r\n]+\r\n)*)\r\n// or die "no answer: $c->{in}\n";
	$self->{status} = $1;
	for my $line (split /\r\n/, $3) {
		$line =~ /^([A-Za-z-]+): (.*)$/ or die "no field: $line\n";
		$self->{headers}{ lc $1 } = $2;
	}
	return $self;
}

# Move what has come into text; false: nothing more comes. Dies after so many
# seconds without anything.
sub fill {
	my ($self, $seconds) = @_;
	my $c = $self->head->{c};
	while (1) {
		if (!$self->{headers}{'transfer-encoding'}) {
			$self->{text} .= substr $c->{in}, 0, length $c->{in}, '' and return 1 if length $c->{in};
		} elsif ($c->{in} =~ /^([0-9a-f]+)\r\n/ && length $c->{in} >= length($1) + 4 + hex $1) {
			my $length = hex $1;
			substr $c->{in}, 0, length($1) + 2, '';
			$self->{text} .= substr $c->{in}, 0, $length, '';
			substr($c->{in}, 0, 2, '') eq "\r\n" or die "no chunk\n";
			return 1 if $length;
			$self->{ended} = 'well';
			return 0;
		}
		my $more = $c->more($seconds);
		die "nothing comes\n" unless defined $more;
		unless ($more) {
			$self->{ended} ||= 'cut';
			return 0;
		}
	}
}

# The next event; undef: the stream has ended, see {ended}.
sub next {
	my ($self, $seconds) = @_;
	while (1) {
		while ($self->{text} =~ s/^(.*?)\n\n//s) {
			my (%e, $data);
			for my $line (split /\n/, $1) {
				if ($line =~ /^id: (.*)/) { $self->{id} = $1 }
				elsif ($line =~ /^event: (.*)/) { $e{event} = $1 }
				elsif ($line =~ /^data: (.*)/) { $data = $1 }
				elsif ($line =~ /^retry: (\d+)$/) { $self->{retry} = $1 }
				elsif ($line =~ /^:/) { $self->{beats}++ }
				else { die "no line of an event: $line\n" }
			}
			return { %e, data => $json->decode($data), id => $self->{id} } if defined $data;
			return undef if $self->{wants_beat} && $self->{beats} >= $self->{wants_beat};
		}
		return undef unless $self->fill($seconds);
	}
}

# Events up to the first one for which the code is true, that one included.
sub until {
	my ($self, $code) = @_;
	my @events;
	while (my $e = $self->next) {
		push @events, $e;
		local $_ = $e;
		return @events if $code->();
	}
	die 'the stream has ended after ' . @events . " events\n";
}

# Wait for so many signs of life; returns the events that came meanwhile.
sub beats {
	my ($self, $n) = @_;
	my @events;
	local $self->{wants_beat} = $n;
	while ($self->{beats} < $n) {
		my $e = $self->next;
		push @events, $e if $e;
		last if $self->{ended};
	}
	return @events;
}

sub close { $_[0]{c}->close }

1;
