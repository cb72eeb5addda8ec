# A real Chromium without a screen, told what to do through a pipe by the
# DevTools protocol: no driver, no library.
#
#	my $browser = Browser->new or plan skip_all => Browser::missing();
#	my $page = $browser->page(width => 1280);
#	$page->visit("http://127.0.0.1:$port/");
#	$page->wait("document.querySelector('h1')", 'a heading');
#	is $page->js('document.title'), 'jobqd';
#	$page->key('Enter');
#	is_deeply $page->{trouble}, [];		# what the console and the policy said
package Browser;

use strict;
use warnings;

use Encode ();
use IO::Select;
use Jobqd ();
use JSON::PP ();
use MIME::Base64 ();
use POSIX ();
use Time::HiRes qw(time);

my $json = JSON::PP->new->utf8->allow_nonref->canonical;

sub program {
	for my $path ($ENV{CHROMIUM} || (), map { ("/usr/lib/$_/$_", "/usr/bin/$_") } qw(chromium chromium-browser google-chrome)) {
		return $path if -x $path;
	}
	return undef;
}

sub missing { return 'no chromium is installed' }

# undef when there is none.
sub new {
	my ($class) = @_;
	my $program = program() or return undef;
	my $dir = Jobqd::temp_directory();
	pipe my $their_in, my $in or die "pipe: $!\n";
	pipe my $out, my $their_out or die "pipe: $!\n";
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', "$dir/log";
		open STDERR, '>&', \*STDOUT;
		# above 4, so that neither is lost by the other's place
		my ($r, $w) = map { POSIX::dup($_) } POSIX::dup(fileno $their_in), POSIX::dup(fileno $their_out);
		POSIX::dup2($r, 3);
		POSIX::dup2($w, 4);
		$ENV{HOME} = $dir;
		$ENV{TZ} = 'Europe/Berlin';
		# without a limit: it drops changes of the address beyond 200 in ten seconds
		exec $program, '--headless', '--disable-ipc-flooding-protection', '--remote-debugging-pipe', "--user-data-dir=$dir/profile", ($> == 0 ? '--no-sandbox' : ()),
		    qw(--disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking --disable-component-update
		    --disable-sync --disable-extensions --hide-scrollbars --lang=en-GB about:blank)
		    or POSIX::_exit(127);
	}
	close $their_in;
	close $their_out;
	my $self = bless { pid => $pid, in => $in, out => $out, dir => $dir, buffer => '', next => 1, pages => {} }, $class;
	Jobqd::at_end(sub { $self->close });
	$self->call('Browser.getVersion');
	return $self;
}

sub close {
	my ($self) = @_;
	my $pid = delete $self->{pid} or return;
	local $SIG{PIPE} = 'IGNORE';
	eval { $self->post('Browser.close') };
	eval { Jobqd::wait_for { waitpid($pid, POSIX::WNOHANG()) == $pid } 'the browser to end', 10; 1 } and return;
	kill 'KILL', $pid, Jobqd::process_tree($pid);
	waitpid $pid, 0;
}

# Send a command; its number.
sub post {
	my ($self, $method, $params, $session) = @_;
	my $id = $self->{next}++;
	my $text = $json->encode({ id => $id, method => $method, params => $params || {}, $session ? (sessionId => $session) : () }) . "\0";
	while (length $text) {
		my $n = syswrite $self->{in}, $text;
		die "the browser is gone\n" unless $n;
		substr $text, 0, $n, '';
	}
	return $id;
}

# Send a command and wait for its result; dies with its error.
sub call {
	my ($self, $method, $params, $session) = @_;
	my $id = $self->post($method, $params, $session);
	my $end = time + $Jobqd::deadline;
	while (1) {
		my $m = $self->message($end - time) or die "$method: the browser does not answer\n" . Jobqd::slurp("$self->{dir}/log");
		if (defined $m->{id}) {
			next if $m->{id} != $id;
			die "$method: $m->{error}{message}\n" if $m->{error};
			return $m->{result};
		}
	}
}

# The next message; events are noted by their page. undef: none comes.
sub message {
	my ($self, $seconds) = @_;
	my $end = time + $seconds;
	until ($self->{buffer} =~ /\0/) {
		my $left = $end - time;
		return undef if $left <= 0 || !IO::Select->new($self->{out})->can_read($left);
		sysread $self->{out}, $self->{buffer}, 1 << 20, length $self->{buffer} or die "the browser has ended\n" . Jobqd::slurp("$self->{dir}/log");
	}
	my ($text, $rest) = split /\0/, $self->{buffer}, 2;
	$self->{buffer} = $rest;
	my $m = $json->decode($text);
	my $page = $m->{sessionId} && $self->{pages}{ $m->{sessionId} };
	$page->noted($m->{method}, $m->{params}) if $page && $m->{method};
	return $m;
}

# A new page with cookies of its own. Options: width, height, dark, mobile.
sub page {
	my ($self, %o) = @_;
	my $context = $self->call('Target.createBrowserContext')->{browserContextId};
	my $target = $self->call('Target.createTarget', { url => 'about:blank', browserContextId => $context })->{targetId};
	my $session = $self->call('Target.attachToTarget', { targetId => $target, flatten => JSON::PP::true })->{sessionId};
	my $page = bless { browser => $self, session => $session, target => $target, trouble => [], requests => [], dialogs => 0 }, 'Browser::Page';
	$self->{pages}{$session} = $page;
	$page->call("$_.enable") for qw(Page Runtime Log Network);
	$page->look(%o);
	return $page;
}

#----------------------------------------------------------------------
package Browser::Page;

use strict;
use warnings;

sub call {
	my ($self, $method, $params) = @_;
	return $self->{browser}->call($method, $params, $self->{session});
}

sub noted {
	my ($self, $method, $p) = @_;
	if ($method eq 'Network.requestWillBeSent') {
		push @{ $self->{requests} }, $p->{request}{url};
	} elsif ($method eq 'Runtime.exceptionThrown') {
		push @{ $self->{trouble} }, "exception: " . ($p->{exceptionDetails}{exception}{description} || $p->{exceptionDetails}{text});
	} elsif ($method eq 'Runtime.consoleAPICalled') {
		push @{ $self->{trouble} }, "console.$p->{type}: " . join ' ', map { $_->{value} // $_->{description} // '' } @{ $p->{args} };
	} elsif ($method eq 'Log.entryAdded') {
		# An answer that is no success is the page's business, and shown there.
		push @{ $self->{trouble} }, "$p->{entry}{source}: $p->{entry}{text}" unless $p->{entry}{source} eq 'network';
	} elsif ($method eq 'Page.javascriptDialogOpening') {
		$self->{dialogs}++;
		$self->{browser}->post('Page.handleJavaScriptDialog', { accept => JSON::PP::false }, $self->{session});
	}
}

sub look {
	my ($self, %o) = @_;
	$self->call('Emulation.setDeviceMetricsOverride', { width => $o{width} || 1280, height => $o{height} || 900,
	    deviceScaleFactor => 1, mobile => $o{mobile} ? JSON::PP::true : JSON::PP::false });
	$self->call('Emulation.setEmulatedMedia', { features => [ { name => 'prefers-color-scheme', value => $o{dark} ? 'dark' : 'light' } ] });
}

sub visit {
	my ($self, $url) = @_;
	my $result = $self->call('Page.navigate', { url => $url });
	die "$url: $result->{errorText}\n" if $result->{errorText};
	$self->wait("document.readyState === 'complete'", "$url to be loaded");
}

# The value of an expression, when it is a promise of what it becomes.
sub js {
	my ($self, $expression) = @_;
	my $result = $self->call('Runtime.evaluate', { expression => $expression, awaitPromise => JSON::PP::true, returnByValue => JSON::PP::true });
	die "$expression: " . ($result->{exceptionDetails}{exception}{description} || $result->{exceptionDetails}{text}) . "\n" if $result->{exceptionDetails};
	return $result->{result}{value};
}

# Wait until an expression is true; its value.
sub wait {
	my ($self, $expression, $what, $seconds) = @_;
	my $value = eval {
		Jobqd::wait_for { eval { $self->js($expression) } } $what, $seconds;
	};
	die "gave up waiting for $what; there is:\n" . Encode::encode_utf8(eval { $self->js('location.hash + "\n" + document.body.innerText') } || $@) . "\n" if $@;
	return $value;
}

my %codes = (Enter => "\r", Escape => '', Tab => '', ArrowLeft => '', ArrowRight => '');

sub key {
	my ($self, @keys) = @_;
	for my $key (@keys) {
		my $text = exists $codes{$key} ? $codes{$key} : $key;
		my %number = (Enter => 13, Escape => 27, Tab => 9, ArrowLeft => 37, ArrowRight => 39);
		my %common = (key => $key, windowsVirtualKeyCode => $number{$key} || ord uc $key);
		$self->call('Input.dispatchKeyEvent', { %common, type => $text eq '' ? 'rawKeyDown' : 'keyDown', $text eq '' ? () : (text => $text) });
		$self->call('Input.dispatchKeyEvent', { %common, type => 'keyUp' });
	}
}

# Into what has the focus.
sub type { my ($self, $text) = @_; $self->call('Input.insertText', { text => $text }) }

sub screenshot {
	my ($self, $path, %o) = @_;
	my $result = $self->call('Page.captureScreenshot', { format => 'png', captureBeyondViewport => $o{all} ? JSON::PP::true : JSON::PP::false });
	Jobqd::spew($path, MIME::Base64::decode_base64($result->{data}));
}

1;
