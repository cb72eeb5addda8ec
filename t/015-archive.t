# A release archive holds what the repository holds and what autotools make of
# it, and nothing that a build left lying in either directory.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use File::Find;
use Test::More;

my $source = source_directory();
plan skip_all => 'needs the repository and git'
    unless -e "$source/.git" && system('git --version >/dev/null 2>&1') == 0;

# Programs of the benches are built on demand, a build may have some of them.
my $build = $ENV{JOBQD_BUILDDIR} || '.';
delete @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS)};
is system("make -s -C $build contrib/bench/load >/dev/null 2>&1"), 0, 'a program outside src is built';

my $directory = temp_directory();
my $made = `make -s -C $build distdir distdir=$directory/archive 2>&1`;
is $?, 0, 'the archive is made' or diag $made;

my %archive;
find({ no_chdir => 1, wanted => sub { $archive{s{^\Q$directory\E/archive/}{}r} = 1 if -f } }, "$directory/archive");
my %repository = map { $_ => 1 } split /\n/, `git -c safe.directory='*' -C $source ls-files --cached --others --exclude-standard`;
my $of_autotools = qr{^(?:configure|aclocal\.m4|Makefile\.in|src/config\.h\.in|build-aux/.*)$};
my $of_repository = qr{^\.(?:ci/|gitignore)};

is_deeply [grep { !$repository{$_} && !/$of_autotools/ } sort keys %archive], [], 'nothing is in it that was built';
is_deeply [grep { !$archive{$_} && !/$of_repository/ } sort keys %repository], [], 'nothing is missing';

done_testing;
