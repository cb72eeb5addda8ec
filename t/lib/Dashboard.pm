# A page of the dashboard, and what a person does there.
#
#	my $page = Dashboard->new($browser, "http://127.0.0.1:$port", width => 390);
#	$page->login($token);
#	$page->go('#/queues/mail');
#	$page->press('Pause');
#	$page->fill(reason => 'too hot');
#	$page->press('Pause', 'dialog');
#	ok $page->shows('too hot');
package Dashboard;

use strict;
use warnings;

use Browser;
use JSON::PP ();
use Test::More ();

our @ISA = 'Browser::Page';

my $json = JSON::PP->new->allow_nonref;
# Texts of the tests are bytes of UTF-8.
sub quoted { my ($text) = @_; utf8::decode($text); return $json->encode($text) }

my $settled = "document.querySelector('#main h1') !== null && document.querySelector('#main[aria-busy]') === null";

sub new {
	my ($class, $browser, $base, %o) = @_;
	my $self = bless $browser->page(%o), $class;
	$self->{base} = $base;
	return $self;
}

sub asks_for_token {
	my ($self) = @_;
	$self->visit("$self->{base}/");
	$self->wait("document.querySelector('input[name=token]') !== null", 'the form of the token');
}

# Type a token; what comes of it is not waited for.
sub try_token {
	my ($self, $token) = @_;
	$self->js("document.querySelector('input[name=token]').select()");
	$self->type($token);
	$self->key('Enter');
}

sub login {
	my ($self, $token) = @_;
	$self->asks_for_token;
	$self->try_token($token);
	$self->settle('to be logged in');
	return $self;
}

# Wait until a view is shown.
sub settle { my ($self, $what) = @_; $self->wait("document.querySelector('#nav a') !== null && $settled", $what || 'a view') }

# To a view, as by its address, or by what a click leads to.
sub go {
	my ($self, $hash) = @_;
	$self->moved('location.hash = ' . quoted($hash)) unless $self->js('location.hash') eq $hash;
	$self->settle("the view $hash");
}
sub moved {
	my ($self, $do) = @_;
	$self->js("new Promise(done => { addEventListener('hashchange', () => done(), { once: true }); $do })");
	$self->settle('the next view');
}

# Is this view shown, or soon?
sub is_at {
	my ($self, $hash) = @_;
	(my $title = $hash) =~ s{^#/|\?.*}{}g;
	$title =~ s{/}{ }g;
	return eval { $self->wait('location.hash === ' . quoted($hash) . ' && document.title === ' . quoted("$title · jobqd") . " && $settled", $hash); 1 }
	    || (Test::More::diag($@), 0)[1];
}

sub text { return $_[0]->js("document.querySelector('#main').innerText") }
sub has { my ($self, $text) = @_; return $self->js("document.querySelector('#main').innerText.includes(" . quoted($text) . ')') }
sub shows {
	my ($self, $text, $seconds) = @_;
	return eval { $self->wait("document.querySelector('#main').innerText.includes(" . quoted($text) . ')', $text, $seconds); 1 }
	    || (Test::More::diag($@), 0)[1];
}

# A button or a link by its text, within what the selector finds.
sub button {
	my ($name, $within) = @_;
	$within ||= '#main';
	return "[...document.querySelectorAll(" . quoted("$within button, $within a") . ")].find(b => b.textContent === " . quoted($name) . ' && !b.disabled)';
}
sub press {
	my ($self, $name, $within) = @_;
	$self->wait(button($name, $within) . ' !== undefined', "the button $name");
	$self->js(button($name, $within) . '.click()');
}
sub has_button { my ($self, $name) = @_; return $self->js(button($name) . ' !== undefined') }
# The texts of all buttons that do something.
sub buttons { return $_[0]->js("[...document.querySelectorAll('#main button')].map(b => b.textContent).filter(t => t !== 'Filter').join(', ')") }
sub places { return $_[0]->js("[...document.querySelectorAll('#nav a')].map(a => a.hash.slice(2)).join(' ')") }

# The question that is asked.
sub asked { return $_[0]->wait("document.querySelector('dialog[open]')?.innerText", 'a question') }
# Instead of what is in a field.
sub fill {
	my ($self, $name, $text) = @_;
	my $field = "document.querySelector('dialog[open] [name=$name], #main [name=$name]')";
	$self->wait("$field !== null", "the field $name");
	$self->js("$field.focus(); $field.select()");
	$self->type($text);
}

1;
