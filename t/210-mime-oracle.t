# The mails that the driver email makes are read by Python's email package,
# which is not ours: subjects, names, texts, attachments come back exactly.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use Test::More;

my $build = $ENV{JOBQD_BUILDDIR} || '.';
my $program = "$build/t/unit/mail_text";

plan skip_all => "no $program: build the check programs, with the email driver" unless -x $program;
plan tests => 3;

for my $seed (1 .. 2) {
	my $out = qx(python3 @{[source_directory()]}/t/mime_oracle.py $program 1500 $seed 2>&1);
	like $out, qr/^1500 compared, 0 differ$/m, "1500 mails, seed $seed"
	    or diag substr($out, -4000);
}

# What no mail may be made of.
my @refused = (
	q({"to":"a@b\r\nRCPT TO:<c@d>","subject":"s","text":"t"}),
	q({"to":"A\r\nBcc: c@d <a@b>","subject":"s","text":"t"}),
	q({"to":"a@b","subject":"s\nBcc: c@d","text":"t"}),
	q({"to":"a@b","subject":"s","text":"t","headers":{"X-A":"v\r\nBcc: c@d"}}),
	q({"to":"a@b","subject":"s","text":"t","headers":{"X-A\r\nBcc":"c@d"}}),
	q({"to":"a@b","subject":"s","text":"t","headers":{"Bcc":"c@d"}}),
	q({"to":"a@b","from":"a@b>\r\nDATA","subject":"s","text":"t"}),
	q({"to":"a@b","subject":"s","attachments":[{"filename":"f\r\nX: y","text":"t"}]}),
	q({"to":"a@b","subject":"s","attachments":[{"filename":"f","type":"a/b\r\nX: y","text":"t"}]}),
	q({"to":"a@b","subject":"s","attachments":[{"filename":"f","content":"%%%"}]}),
	q({"to":"a@b","subject":"s","attachments":[{"filename":"../f","text":"t"}]}),
	q({"to":"a@b","subject":"s","attachments":[{"path":"/etc/passwd"}]}),
	q({"to":"a b@c","text":"t"}), q({"to":"<a@b","text":"t"}), q({"to":"a@b,","text":"t"}),
	q({"to":"","text":"t"}), q({"to":[],"text":"t"}), q({"to":[7],"text":"t"}), q({"to":"a@-b","text":"t"}),
	q({"to":"a@b","subject":7,"text":"t"}), q({"to":"a@b"}), q({"text":"t"}), q([]), q({),
);
my ($status, $out) = run_program([$program], in => join '', map { "$_\n" } @refused);
is scalar(grep { /^\{"error":/ } split /\n/, $out), scalar @refused, 'bad input makes no mail' or diag $out;
