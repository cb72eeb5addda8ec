# What the driver http sends: query, JSON, text, forms, parts, with templates of the
# handler; and the signatures while a secret is changed. S0-13 S2-9 S4-17 S4-51
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Jobqd;
use HttpJobs;
use Digest::SHA qw(hmac_sha256_hex);
use JSON::PP;
use MIME::Base64;
use Test::More;

my ($port, $requests) = hostile();
my $base = "http://127.0.0.1:$port/status/200";
my $json = JSON::PP->new->utf8->canonical;

# Run one job, and the request that came of it; undef for none.
sub sent {
	my ($handler, @data) = @_;
	spew($requests, '') if -e $requests;
	my $r = run_jobs("allow_private: true, $handler", ref $data[0] ? @data : job(7, @data));
	my ($got) = json_lines($requests);
	$got = { line => '', body => '', headers => {} } unless $got;
	return { %$got, body => decode_base64($got->{body}), result => $r->{7} };
}
sub target { my ($got) = @_; return (split ' ', $got->{line})[1] || $got->{result}{message} }

# Parameters of the query.
is target(sent('', url => $base, query => { a => 'b c&d=e', n => 5, list => [ 1, 'x' ], none => undef, yes => JSON::PP::true, "\x{fc}" => '' })),
    '/status/200?a=b%20c%26d%3De&list=1&list=x&n=5&yes=true&%C3%BC=', 'query of the data';
is target(sent("url: \"$base?x=1\", query: {v: 2, since: \"{{data.since}}\", keep: me}", since => 'a/b', query => { v => 3 }, payload => {})),
    '/status/200?x=1&v=3&since=a%2Fb&keep=me', '… behind that of the URL, in place of the handler\'s of the same name';
is target(sent('', url => "$base?#part", query => { a => 1 })), '/status/200?a=1', '… and before a fragment';
is sent('', url => $base, query => { a => {} })->{result}{message}, 'query: "a" needs a text, a number, true or false, or a list of those', '… which is checked';

# JSON and text with templates.
{
	my $got = sent("url: \"$base\", payload: {text: \"{{data.who}} says \\\"{{data.what}}\\\"\", id: \"{{job.id}}\", deep: [{n: 5, yes: true, none: null}]}",
	    who => "\"q\" \\ \n\x{fc}", what => { a => 1 });
	is_deeply $json->decode($got->{body}), { text => "\"q\" \\ \n\x{fc} says \"{\"a\": 1}\"" =~ s/\Q"a": 1\E/"a":1/r, id => '7', deep => [ { n => 5, yes => JSON::PP::true, none => undef } ] },
	    'a payload of the handler: whatever is put in stays within its text' or diag $got->{body};
	is $got->{headers}{'content-type'}, 'application/json', '… sent as JSON';
	$got = sent("url: \"$base\", body: \"<a>{{data.x}}</a>\", headers: {Content-Type: text/xml}", x => 'y', payload => { not => 'this' });
	is_deeply [ $got->{body}, $got->{headers}{'content-type'} ], [ '<a>y</a>', 'text/xml' ], 'a text of the handler wins over what the data brings';
	is sent("url: \"$base\", body: \"{{data.none}}\"", x => 1)->{result}{class}, 'validation', 'what is missing makes no request';
	$got = sent("url: \"$base\"", form => 'signed', upload => 'x', kind => 'plain');
	like $got->{result}{message}, qr/form: needs to be an object/, 'a form that is none';
	$got = sent("url: \"$base\"", query => 'all', upload => 'x', save_to => 'y', multi => 'z');
	is_deeply $json->decode($got->{body}), { query => 'all', upload => 'x', save_to => 'y', multi => 'z' }, 'data that is sent itself may have such members';
}

# Forms.
{
	my $got = sent('', url => $base, form => { user => 'a b', password => 'p&=%' });
	is_deeply [ $got->{body}, $got->{headers}{'content-type'} ], [ 'password=p%26%3D%25&user=a%20b', 'application/x-www-form-urlencoded' ], 'a form';
	$got = sent("url: \"$base\", form: {grant: \"{{data.grant}}\", n: 5}", grant => "x&y=z", form => { n => 6 });
	is $got->{body}, 'grant=x%26y%3Dz&n=6', 'a form of the handler, and of the data';
	is sent('', url => $base, form => {})->{body}, '', 'an empty one';
	my $r = run_jobs('allow_private: true', job(1, url => $base, form => { a => 1 }, payload => {}), job(2, url => $base, form => { a => 1 }, body => 'x'),
	    job(3, url => $base, form => []), job(4, url => $base, multipart => { a => { text => 'x', content => 'eA==' } }), job(5, url => $base, multipart => { a => { content => '%' } }),
	    job(6, url => $base, multipart => { a => { text => 'x', type => "a/b\r\nX: y" } }), job(7, url => $base, multipart => { a => { path => '/etc/passwd' } }));
	is classes($r, 1 .. 7), join(' ', ('validation') x 7), 'what contradicts itself makes no request';
	like $r->{7}{message}, qr/no directory/, '… nor does a file, where there is no directory for them';
}

# Parts, as Python's parser of mail sees them.
{
	my $got = sent('', url => $base, multipart => { text => "\x{fc}ber", n => [ 1, 2 ], pic => { content => encode_base64("\0\1\2\xff"), type => 'image/png', filename => "a\"b\r\n.png" }, note => { text => 'x', filename => 'n.txt', type => 'text/plain' } });
	spew("$requests.part", "Content-Type: $got->{headers}{'content-type'}\r\n\r\n$got->{body}");
	my (undef, $out, $err) = run_program([ 'python3', '-c', <<'PY', "$requests.part" ]);
import email.policy, email.parser, json, sys
m = email.parser.BytesParser(policy=email.policy.HTTP).parse(open(sys.argv[1], "rb"))
print(json.dumps([[p.get_param("name", header="content-disposition"), p.get_filename(), p["content-type"], list(p.get_payload(decode=True))] for p in m.iter_parts()] + [[str(d) for d in m.defects]]))
PY
	my $want = [ [ 'n', undef, undef, [ ord '1' ] ], [ 'n', undef, undef, [ ord '2' ] ], [ 'note', 'n.txt', 'text/plain', [ ord 'x' ] ], [ 'pic', 'a%22b%0D%0A.png', 'image/png', [ 0, 1, 2, 255 ] ],
	    [ 'text', undef, undef, [ 0xc3, 0xbc, map { ord } qw(b e r) ] ], [] ];
	my $parts = eval { $json->decode($out) } || [];
	is_deeply [ (sort { "$a->[0]@{$a->[3]}" cmp "$b->[0]@{$b->[3]}" } @$parts[ 0 .. $#$parts - 1 ]), $parts->[-1] ], $want, 'parts of every kind' or diag $out, $err;
	is $got->{headers}{'content-length'}, length $got->{body}, '… with a length';
}

# While a secret is changed.
my ($old, $new) = map { 'whsec_' . encode_base64("$_ secret of the test suite", '') } qw(old new);
my %by;
$by{handler} = sent("sign: {secret: [\"$new\", \"$old\"]}", url => $base, payload => { n => 1 });
spew("$requests.secrets", "$new\n$old\n");
$by{file} = sent("sign: {secret_file: \"$requests.secrets\"}", url => $base, payload => { n => 2 });
$by{data} = sent('', url => $base, payload => { n => 3 }, secret => [ $new, $old ]);
$by{template} = sent('sign: {secret: "{{data.keys}}"}', url => $base, payload => { n => 4 }, keys => [ $new, $old ]);
$by{text} = sent('', url => $base, payload => { n => 5 }, secret => "$new $old");
$by{form} = sent('', url => $base, form => { n => 5 }, secret => [ $new, $old ]);
$by{parts} = sent('', url => $base, multipart => { n => 5 }, secret => [ $new, $old ]);
is join(' ', map { scalar(split ' ', $by{$_}{headers}{'webhook-signature'} || '') } sort keys %by), '2 2 2 2 2 2 2', 'two secrets, two signatures: ' . join ', ', sort keys %by;
my $got = sent('sign: {scheme: timestamped-hmac, secret: "{{data.keys}}"}', url => $base, payload => { n => 4 }, keys => [ 'one', 'two' ]);
is $got->{headers}{'x-webhook-signature'}, hmac_sha256_hex("$got->{headers}{'x-webhook-timestamp'}.$got->{body}", 'one'), 'timestamped-hmac has room for the first (S0-13, S4-51)';
my $r = run_jobs('allow_private: true', job(1, url => $base, payload => {}, secret => []), job(2, url => $base, payload => {}, secret => [ $new, 5 ]), job(3, url => $base, payload => {}, secret => [ $new, 'whsec_%' ]),
    job(4, url => $base, payload => {}, secret => [ ($new) x 11 ]), job(5, url => $base, payload => {}, secret => [ $new, '' ]));
is classes($r, 1 .. 5), 'completed validation validation validation validation', 'an empty list signs nothing; one that is bad in part makes no request';
$r = run_jobs('allow_private: true, sign: {secret_file: /nonexistent/secret}', job(1, url => $base, payload => {}, secret => $new));
is $r->{1}{class}, 'error', 'without the secret of the handler nothing goes out' or diag explain $r->{1};
SKIP: {
	my $dir = temp_directory();
	my ($no_npm) = run_program([ 'sh', '-c', "cd $dir && npm install --silent --no-audit --no-fund standardwebhooks" ]);
	skip 'npm cannot install standardwebhooks here', 2 if $no_npm;
	spew("$dir/all.json", $json->encode([ map { { body => $_->{body}, headers => $_->{headers} } } values %by ]));
	spew("$dir/verify.js", <<'JS');
const {Webhook} = require("standardwebhooks");
const all = JSON.parse(require("fs").readFileSync(process.argv[2], "utf8"));
const wants = (secret, r) => { try { new Webhook(secret).verify(r.body, r.headers); return true; } catch (e) { return e.name === "SyntaxError"; } };
console.log(process.argv.slice(3).map(secret => all.filter(r => wants(secret, r)).length).join(" "));
JS
	my $other = 'whsec_' . encode_base64('another secret', '');
	my (undef, $out, $err) = run_program([ 'node', "$dir/verify.js", "$dir/all.json", $new, $old, $other ]);
	is $out, "7 7 0\n", "npm's standardwebhooks: all verify by the new secret and by the old one, none by another" or diag $err;
}

# What -T shows.
{
	my $dir = temp_directory();
	spew("$dir/jobqd.yml", "database: {url: \"postgresql:///x\"}\nhandlers: {hook: {driver: http, sign: {secret: [\"$new\", \"$old\"]}}}\nqueues: {q: {handler: hook}}\n");
	my ($status, $out, $err) = run_program([ jobqd_program(), '-T', '-c', "$dir/jobqd.yml" ]);
	ok $status == 0 && $out =~ /\*\*\*/ && $out !~ /\Q$new\E|\Q$old\E/, 'jobqd -T shows none of a list of secrets' or diag $out, $err;
}
done_testing;
