# Includes go down the layers, never up or across; each third-party library
# has one home. See HACKING, "Layers".
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use File::Find;
use Test::More;

my %level = (
	base => 0, os => 1, core => 2, conf => 3, db => 4, driver => 5,
	master => 6, pool => 6, worker => 6, sched => 6, monitor => 6, api => 6, ctl => 6,
);
# What may also be seen sideways or is kept from a process that may go down.
my %forbidden = ('master' => { db => 1, driver => 1 }, 'pool' => { driver => 1 }, 'api' => { driver => 1 });
my %home = (
	qr{^libpq}            => qr{^db/},
	qr{^event}            => qr{^os/},
	qr{^yaml\.h}          => qr{^conf/},
	qr{^curl/}            => qr{^driver/http/},
	qr{^libesmtp|^auth-client} => qr{^driver/email/},
	qr{^openssl/}         => qr{^driver/|^core/|^os/tls},
	qr{^xlsxwriter}       => qr{^driver/report/xlsx},
	qr{^pango/|^cairo}    => qr{^driver/report/pdf},
	qr{^archive}          => qr{^driver/output},
	qr{^seccomp\.h}       => qr{^os/filter},
);

my $src = source_directory() . '/src';
my @files;
find({ no_chdir => 1, wanted => sub { push @files, $_ if /\.[ch]$/ } }, $src);
cmp_ok scalar(@files), '>', 20, 'there are sources to look at';

my (@wrong, @stray, @late_config);
for my $file (sort @files) {
	(my $name = $file) =~ s{^\Q$src\E/}{};
	my ($from) = $name =~ m{^(\w+)/};
	my $text = slurp($file);
	my @includes = $text =~ /^\s*#\s*include\s+["<]([^">]+)[">]/mg;
	push @late_config, $name if $name =~ /\.c$/ && $name !~ m{^(?:db/sqltext|api/uitext)\.c$} && ($includes[0] // '') ne 'config.h';
	for my $include (@includes) {
		for my $library (keys %home) {
			push @stray, "$name includes $include"
			    if $include =~ /$library/ && $name !~ $home{$library};
		}
		my ($to) = $include =~ m{^(\w+)/} or next;
		next unless defined $from && exists $level{$to};
		next if $from eq $to;
		push @wrong, "$name includes $include"
		    if !exists $level{$from} || $level{$to} >= $level{$from} || $forbidden{$from}{$to};
	}
}
is_deeply \@wrong, [], 'no include goes up or across';
is_deeply \@stray, [], 'each library is included in its home only';
is_deeply \@late_config, [], 'config.h comes first in every source';

my @forks = grep { slurp("$src/$_") =~ /\b(?:v?fork|posix_spawnp?)\s*\(/ }
    map { s{^\Q$src\E/}{}r } sort @files;
is_deeply \@forks, [qw(os/proc.c os/spawn.c)], 'processes are made in two places';

# Columns as an editor counts them: characters, tabs to the next eighth.
sub columns {
	my ($line) = @_;
	utf8::decode($line);
	1 while $line =~ s/^([^\t]*)\t/$1 . ' ' x (8 - length($1) % 8)/e;
	return length $line;
}
my @wide;
for my $file (grep { !m{db/sqltext\.c$|api/uitext\.c$} } sort @files) {
	my $n = 0;
	for (split /\n/, slurp($file)) {
		$n++;
		push @wide, "$file:$n" if columns($_) > 100;
	}
}
is_deeply \@wide, [], 'lines fit in 100 columns';

my @long = grep { my $n = () = slurp($_) =~ /\n/g; $n > 900 } @files;
is_deeply \@long, [], 'no file outgrew its room';
done_testing;
