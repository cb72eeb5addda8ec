# Every endpoint that the API says it has, with every kind of caller: who may is
# let through, who may not is refused and changes nothing, nobody sees or touches
# anything of another tenant, and what was changed is told by the audit
# (S1-53, S1-54, S2-32, S3-34, S3-39, S3-40, S4-49, S4-50).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Api;
use Http;
use Jobqd;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time);

# The interface: method, path, least role, and whether a token that is bound to a
# tenant may (undef: as the API says itself). What else the API has must not be
# less strict than what it is next to: see "more than the interface" below.
my @interface = map { [ split ' ' ] } grep { /\S/ } split /\n/, <<'TABLE';
POST   /v1/jobs                   producer  own
POST   /v1/jobs/batch             producer  own
POST   /v1/workflows/{}           producer  own
GET    /v1/jobs                   viewer    own
GET    /v1/jobs/{}                viewer    own
GET    /v1/jobs/{}/attempts       viewer    own
GET    /v1/jobs/{}/log            viewer    own
GET    /v1/queues                 viewer    own
GET    /v1/queues/{}              viewer    own
GET    /v1/dead-letters           viewer    own
GET    /v1/schedules              viewer
GET    /v1/schedules/{}           viewer
GET    /v1/workers                viewer    no
GET    /v1/nodes                  viewer    no
GET    /v1/stats                  viewer    own
GET    /v1/metrics                viewer    own
GET    /v1/history                viewer    own
GET    /v1/inventory              viewer    own
GET    /v1/alerts                 viewer
GET    /v1/events                 viewer    own
POST   /v1/jobs/{}/retry          operator  own
POST   /v1/jobs/{}/cancel         operator  own
DELETE /v1/jobs/{}                operator  own
POST   /v1/queues/{}/pause        operator  no
POST   /v1/queues/{}/resume       operator  no
POST   /v1/dead-letters/{}/retry  operator  own
POST   /v1/dead-letters/{}/review operator  own
POST   /v1/dead-letters/retry     operator  own
POST   /v1/schedules/{}/run       operator  no
POST   /v1/schedules/{}/pause     operator  no
POST   /v1/schedules/{}/resume    operator  no
POST   /v1/queues/{}/drain        admin     no
POST   /v1/queues/{}/clean        admin     no
DELETE /v1/queues/{}/jobs         admin     no
POST   /v1/schedules              admin     no
PUT    /v1/schedules/{}           admin     no
DELETE /v1/schedules/{}           admin     no
PUT    /v1/alerts/{}              admin     no
GET    /v1/audit                  admin     no
POST   /v1/queues/{}/lease        operator
POST   /v1/jobs/{}/renew          operator
POST   /v1/jobs/{}/complete       operator
POST   /v1/jobs/{}/fail           operator
POST   /v1/hooks/{}               none      own
GET    /healthz                   none      own
GET    /readyz                    none      own
GET    /metrics                   none      own
GET    /                          none      own
GET    /v1/openapi.json           none      own
TABLE
my %rank = (none => 0, viewer => 1, producer => 2, operator => 3, admin => 4);

# Passes when there are none, and else shows the first ones.
sub none {
	my ($list, $what) = @_;
	is scalar(@$list), 0, $what or diag map { '  ' . substr($_, 0, 400) . "\n" } @$list > 40 ? (@$list[ 0 .. 39 ], '…') : @$list;
}

#
# one daemon, two tenants
#
my $pg = Jobqd::Postgres->new;
my $dir = temp_directory();
my $port = free_port();
my @roles = qw(viewer producer operator admin);
my @tokens = map { my $role = $_; map { [ "$role-" . ($_ eq '*' ? 'any' : $_), $role, $_, "$role-$_-secret" ] } qw(* acme zebra) } @roles;
Api::tokens("$dir/tokens", @tokens);
my $d = Jobqd::Daemon->new(pg => $pg, config => <<"YAML");
handlers: {null: {driver: noop}, sh: {driver: exec, argv: [sh, -c, "cat; exit 1"]}}
retry: {once: {attempts: 1}}
queues:
  work: {handler: null, workers: 2, retry: once}
  shell: {handler: sh, workers: 2, retry: once}
  parked: {handler: null, workers: 1}
  spare: {handler: null, workers: 1}
  pulled: {workers: 0, retry: once}
schedules: {nightly: {cron: "0 3 * * *", queue: parked, type: tidy}}
workflows: {flow: {steps: {one: {queue: parked, type: one}, two: {queue: parked, type: two, after: [one]}}}}
alerts: {backlog: {metric: backlog, above: 100000}}
hooks: {in: {queue: parked, type: in, verify: {scheme: standard-webhooks, secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}}
monitor: {interval: 500ms, statistics: 1s, health_file: ""}
api: {listen: "127.0.0.1:$port", tokens_file: $dir/tokens, admin_key: the-admin-key, rate_limit: 100000/s, trusted_proxies: [127.0.0.1]}
YAML
$d->start;
$pg->query("SELECT jobq.pause('parked', 'for the test')");


# Jobs of a tenant, in all of which its name stands wherever something can be
# said, and a word that nobody else ever says. They are used up one by one.
my %word = (acme => 'gnu', zebra => 'quagga');
my %pool;
sub fill {
	my ($tenant, $n, @only) = @_;
	my $text = "$tenant $word{$tenant}";
	my %jobs = (
		dead => [ work => { fail => 'error', message => "$text went wrong" } ],
		failed => [ shell => { note => $text } ],
		completed => [ work => { note => $text } ],
		ready => [ parked => { note => $text } ],
		bulk => [ work => { fail => 'error', message => "$text went wrong" } ],
	);
	for my $state (@only ? @only : (sort(keys %jobs), 'workflow')) {
		if ($state eq 'workflow') {
			push @{ $pool{$tenant}{workflow} }, split /\n/, $pg->query("SELECT jobq.workflow('flow', '{\"note\": \"$text\"}', '$tenant') FROM generate_series(1, $n)");
			next;
		}
		my ($queue, $data) = @{ $jobs{$state} };
		my $job = $Api::json->encode({ type => $state eq 'bulk' ? 'bulk' : "${tenant}_type", data => $data, tenant => $tenant, tags => ["$tenant-tag"] });
		push @{ $pool{$tenant}{$state} }, split /\n/, $pg->query("SELECT jobq.enqueue_many('$queue', jsonb_agg('$job'::jsonb || "
		    . "jsonb_build_object('unique_key', '$text ' || gen_random_uuid(), 'key', '$text'))) FROM generate_series(1, $n)");
	}
	wait_for {
		$pg->query("SELECT count(*) FROM jobq.jobs WHERE tenant = '$tenant' AND queue IN ('work', 'shell') AND state NOT IN ('dead', 'completed')") == 0;
	} "the jobs of $tenant to end";
}

#
# the endpoints
#
my $anybody = Api->new("127.0.0.1:$port");
my $openapi = $anybody->get('/v1/openapi.json')->{json};
my @routes;
for my $path (sort keys %{ $openapi->{paths} }) {
	for my $method (sort keys %{ $openapi->{paths}{$path} }) {
		my $o = $openapi->{paths}{$path}{$method};
		(my $shape = $path) =~ s/\{\w+\}/{}/g;
		push @routes, { name => uc($method) . " $shape", method => uc $method, path => $path, role => $o->{'x-role'}, tenant => $o->{'x-tenant'} ? 1 : 0,
			query => [ grep { ($_->{in} // '') eq 'query' } @{ $o->{parameters} } ],
			body => ($o->{requestBody} || {})->{content}{'application/json'}{schema} };
	}
}
my %served = map { $_->{name} => $_ } @routes;
my (@missing, @differs);
my %named;
for (@interface) {
	my ($method, $path, $role, $tenant) = @$_;
	$named{"$method $path"} = 1;
	my $r = $served{"$method $path"};
	if (!$r) { push @missing, "$method $path"; next }
	push @differs, "$method $path: $r->{role}, not $role" if $r->{role} ne $role;
	push @differs, "$method $path: for tenants" if defined $tenant && $r->{tenant} != ($tenant eq 'own');
	# What is expected is what the interface says.
	$r->{role} = $role;
	$r->{tenant} = $tenant eq 'own' ? 1 : 0 if defined $tenant;
}
none \@missing, 'endpoints: ' . @routes . ', all of the interface among them (' . @interface . ')';
none \@differs, '… with the roles that it names';
# More than the interface: nothing is changed by a viewer, or without a token but
# to log in; and what is one tenant's business only is not what configures.
my @lax = map { $_->{name} } grep { !$named{ $_->{name} } && $_->{path} ne '/v1/session' && ($_->{role} eq 'none' || ($_->{method} ne 'GET' && $rank{ $_->{role} } < 2)) } @routes;
none \@lax, '… and of the others none changes anything for a viewer, or is open';
my @shared = map { $_->{name} } grep { $_->{method} ne 'GET' && $_->{tenant} && $_->{path} =~ m{^/v1/(queues|schedules|alerts|nodes|workers)\b} } @routes;
none \@shared, '… nor lets a token of one tenant change what all share';

# A request that is well-formed, for a target of that tenant.
my $n = 0;
sub text_of {
	my ($name, $schema, $tenant) = @_;
	my %fixed = (queue => 'parked', jobs => [ {} ], cron => $schema->{in_query} ? '0+4+*+*+*' : '0 4 * * *', spec => '0 4 * * *', expression => '0 4 * * *', every => '1h', name => "s-$n", data => {},
		reviewed_by => 'somebody', by => 'somebody', confirm => ($schema->{type} // '') eq 'boolean' ? JSON::PP::true : 'yes', for => '1h', token => 'none', pct => 10, class => 'error', message => 'a message', above => 5,
		ids => [ $pool{$tenant}{ready}[0] ], type => 'bulk', lines => ['a line'], line => 'a line', text => 'a line', result => {});
	return $fixed{$name} if exists $fixed{$name};
	return $schema->{enum}[0] if $schema->{enum};
	my $type = ref $schema->{type} ? $schema->{type}[0] : $schema->{type} // 'object';
	return $type eq 'integer' || $type eq 'number' ? $schema->{minimum} // 1 : $type eq 'boolean' ? JSON::PP::true : $type eq 'array' ? [] : $type eq 'object' ? {}
	    : ($schema->{format} // '') eq 'date-time' ? '2030-01-01T00:00:00Z' : 'x';
}
sub fresh {	# one of the pool, or for a look only, any
	my ($tenant, $state, $look) = @_;
	my $jobs = $pool{$tenant}{$state};
	return $jobs->[-1] if $look;
	fill($tenant, 20, $state) if @$jobs < 3;
	return shift @$jobs;
}
sub target {
	my ($r, $tenant, $look) = @_;
	$n++;
	my $path = $r->{path};
	$look ||= $r->{method} eq 'GET';
	if ($path =~ m{^/v1/jobs/\{}) {
		my $state = $r->{method} eq 'GET' ? 'failed' : $path =~ m{/retry$} || $r->{method} eq 'PATCH' ? 'dead' : 'ready';
		my $id = fresh($tenant, $state, $look);
		$path =~ s/\{\w+\}/$id/;
	} elsif ($path =~ m{^/v1/dead-letters/\{}) {
		my $id = fresh($tenant, 'dead', $look);
		$path =~ s/\{\w+\}/$id/;
	} elsif ($path =~ m{^/v1/workflows/\{} && $r->{name} ne 'POST /v1/workflows/{}') {
		my $id = fresh($tenant, 'workflow', $look);
		$path =~ s/\{\w+\}/$id/;
	}
	my %shared = (workflows => 'flow', queues => 'spare', schedules => $r->{method} =~ /^(PUT|DELETE)$/ ? "s-$n" : 'nightly', alerts => 'backlog', hooks => 'in');
	$path =~ s|^(/v1/(\w[\w-]*))/\{\w+\}|"$1/" . ($shared{$2} // 'x')|e;
	my @query = map { "$_->{name}=" . text_of($_->{name}, { %{ $_->{schema} }, in_query => 1 }, $tenant) } grep { $_->{required} || $_->{name} =~ /^(confirm|cron)$/ } @{ $r->{query} };
	push @query, 'type=bulk' if $r->{name} eq 'DELETE /v1/dead-letters';
	$path .= '?' . join('&', @query) if @query;
	my $body;
	if (my $s = $r->{body}) {
		my %wanted = map { $_ => 1 } @{ $s->{required} || [] };
		my $p = $s->{properties};
		$wanted{type} = 1 if $path =~ m{^/v1/(jobs|dead-letters)/(retry|cancel|delete|review)$};
		$wanted{$_} = 1 for grep { $p->{$_} } qw(reviewed_by by confirm cron above pct), $path =~ m{/silence$} ? 'for' : (), $path =~ m{schedules} ? 'queue' : ();
		$body = { map { $_ => text_of($_, $p->{$_}, $tenant) } grep { $p->{$_} && $wanted{$_} } keys %$p };
		delete $body->{every} if $body->{cron};
	}
	return ($path, $body);
}

# Who calls. Each request has an address of its own, as a proxy would tell it.
my @callers = (
	{ name => 'nobody', role => 'none', headers => {} },
	{ name => 'a wrong token', role => 'none', headers => { Authorization => 'Bearer wrong' } },
	{ name => 'a wrong admin key', role => 'none', headers => { 'X-Admin-Key' => 'wrong' } },
	{ name => 'a wrong cookie', role => 'none', headers => { Cookie => 'jobqd=9999999999.' . '0' x 64 } },
	(map { { name => $_->[0], role => $_->[1], tenant => $_->[2] eq '*' ? undef : $_->[2], headers => { Authorization => "Bearer $_->[3]" } } } @tokens),
	{ name => 'the admin key', role => 'admin', headers => { 'X-Admin-Key' => 'the-admin-key' } },
);
for my $who (grep { /^(admin|viewer|operator)-(any|acme)$/ } map { $_->{name} } @callers) {
	my ($c) = grep { $_->{name} eq $who } @callers;
	my $cookie = $anybody->request('POST', '/v1/session', headers => $c->{headers})->{headers}{'set-cookie'} =~ /^(jobqd=[^;]+)/ ? $1 : die "no cookie\n";
	push @callers, { %$c, name => "$who by cookie", headers => { Cookie => $cookie, Origin => 'http://test', 'X-Requested-With' => 'jobqd' } },
	    { %$c, name => "$who by cookie, from elsewhere", foreign => 1, headers => { Cookie => $cookie, Origin => 'http://elsewhere', 'X-Requested-With' => 'jobqd' } };
}
my ($requests, $address) = (0, '');
sub call {
	my ($c, $method, $path, $body) = @_;
	$requests++;
	$address = '203.0.' . int($requests / 250) . '.' . (1 + $requests % 250);
	my $r = $anybody->request($method, $path, headers => { %{ $c->{headers} }, 'X-Forwarded-For' => $address }, defined $body ? (json => $body) : ());
	return $r;
}
sub everything { my ($r) = @_; return join "\n", $r->{status}, (map { "$_: $r->{headers}{$_}" } sort keys %{ $r->{headers} }), $r->{body} // '' }

# The status of who may not, undef for who may.
sub refusal {
	my ($c, $r) = @_;
	return undef if $r->{role} eq 'none';
	return 401 if $c->{role} eq 'none';
	return 403 if $c->{foreign} && $r->{method} ne 'GET';
	return 403 if $rank{ $c->{role} } < $rank{ $r->{role} };
	return 403 if defined $c->{tenant} && !$r->{tenant};
	return undef;
}
# What a tenant, or all, have in the database.
sub standing {
	my ($where) = @_;
	return $pg->query(<<"SQL");
SELECT (SELECT count(*) || ' ' || md5(string_agg(concat_ws(' ', id, state, attempt, data, tags, priority, run_at), ',' ORDER BY id)) FROM jobq.jobs WHERE $where)
    || (SELECT ' ' || md5(string_agg(concat_ws(' ', job_id, reviewed_by, notes), ',' ORDER BY job_id)) FROM jobq.dead_letters WHERE job_id IN (SELECT id FROM jobq.jobs WHERE $where))
SQL
}
sub shared { return $pg->query("SELECT (SELECT md5(string_agg(concat_ws(' ', name, paused), ',' ORDER BY name)) FROM jobq.queues) || (SELECT md5(string_agg(concat_ws(' ', name, enabled, paused, spec), ',' ORDER BY name)) FROM jobq.schedules)") }
# Streams have no end; they are looked at by themselves.
my @plain = grep { $_->{path} ne '/v1/events' && $_->{path} ne '/v1/session' } @routes;

#
# what another tenant does is not seen
#
fill('acme', 30);
my ($acme) = grep { $_->{name} eq 'admin-acme' } @callers;
my @looks = grep { $_->{method} eq 'GET' && $_->{tenant} && $_->{role} ne 'none' } @plain;
sub leaves {	# path => value of a JSON document
	my ($at, $v, $out) = @_;
	if (ref $v eq 'HASH') { leaves("$at.$_", $v->{$_}, $out) for keys %$v }
	elsif (ref $v eq 'ARRAY') { $out->{"$at.#"} = @$v; leaves("$at.$_", $v->[$_], $out) for 0 .. $#$v }
	else { $out->{$at} = defined $v ? "$v" : 'null' }
	return $out;
}
sub look {
	my %seen;
	for my $r (@looks) {
		my ($path) = target($r, 'acme');
		my $got = call($acme, 'GET', $path);
		my $leaves = leaves('', $got->{json}, {});
		$seen{"$r->{name} $_"} = $leaves->{$_} for keys %$leaves;
	}
	return \%seen;
}
sub taken { my ($tenant) = @_; return $pg->query("SELECT count(*) FROM jobq.statistics WHERE tenant = '$tenant'") }
wait_for { taken('acme') } 'the statistics of acme';
# What changes by itself is left out: times, and what is counted per second.
my ($one, $two, $three, $piece);
do {
	$piece = int(time / 300);	# of the statistics: when it ends they tell of another one
	wait_for { $one = look(); select undef, undef, undef, 1.1; $two = look(); keys %$one == keys %$two } 'the view of acme to stand still';
	fill('zebra', 30);
	wait_for { taken('zebra') } 'the statistics of zebra';
	$three = look();
} until $piece == int(time / 300);
my @steady = grep { defined $two->{$_} && $one->{$_} eq $two->{$_} } keys %$one;
my %changed = map { $_ => "$two->{$_} → " . ($three->{$_} // 'gone') } grep { ($three->{$_} // '') ne $two->{$_} } @steady;
$changed{$_} = "new: $three->{$_}" for grep { !exists $one->{$_} && !exists $two->{$_} } keys %$three;
delete $changed{$_} for grep { /\.(at|from|to|since|until|now|generated_at|next_run|last_run|per_second)$/ } keys %changed;
none [ map { "$_: $changed{$_}" } sort keys %changed ],
    'values that acme sees in ' . @looks . ' endpoints: ' . keys(%$three) . ', changed by what zebra did: ' . keys %changed;

#
# who may not
#
my ($before, $before_shared) = (standing('true'), shared());
my (@wrong, $refused, $cells);
for my $c (@callers) {
	for my $r (@plain) {
		my $expected = refusal($c, $r) // next;
		my ($path, $body) = target($r, $c->{tenant} // 'acme', 1);
		my $got = call($c, $r->{method}, $path, $body);
		$refused++;
		push @wrong, "$c->{name}: $r->{name}: $got->{status}, not $expected" if $got->{status} != $expected;
		push @wrong, "$c->{name}: $r->{name}: the refusal tells more than that" if $got->{body} =~ /gnu|quagga/ || ($got->{headers}{'content-type'} // '') ne 'application/problem+json';
	}
}
none \@wrong, "endpoints x callers (" . @plain . ' x ' . @callers . "): refused: $refused, all as the interface says";
# S1-53, S2-32, S3-34, S4-49: who may not changes nothing.
is standing('true'), $before, '… and no job has changed';
is shared(), $before_shared, '… nor a queue or schedule';

#
# tenants
#
@wrong = ();
my (@leaks, $foreign, $own, %ghost);
$before = standing("tenant = 'zebra'");
for my $c (grep { ($_->{tenant} // '') eq 'acme' } @callers) {
	for my $r (grep { !defined refusal($c, $_) } @plain) {
		my ($path, $body) = target($r, 'acme');
		my $got = call($c, $r->{method}, $path, $body);
		$own++;
		push @wrong, "$c->{name}: $r->{name}: $got->{status} $got->{body}" if $got->{status} >= 500 || $got->{status} =~ /^(401|403|429)$/ && $r->{role} ne 'none';
		push @leaks, "$c->{name}: $r->{name} $path: " . substr($got->{body}, 0, 300) if $r->{role} ne 'none' && everything($got) =~ /zebra|quagga/;
		# Another's, which is as if it were not there.
		if ($path ne (my $theirs = (target($r, 'zebra', 1))[0]) && $r->{path} =~ m{^/v1/(jobs|dead-letters|workflows)/\{} && $r->{name} ne 'POST /v1/workflows/{}') {
			my $got = call($c, $r->{method}, $theirs, $body);
			my ($id) = $theirs =~ m{/(\d+)};
			my $none = call($c, $r->{method}, $theirs =~ s{/\d+}{/999999999999}r, $body);
			$foreign++;
			push @wrong, "$c->{name}: $r->{name} of another: $got->{status} $got->{body}" if $got->{status} != 404;
			push @leaks, "$c->{name}: $r->{name} of another: $got->{body}" if everything($got) =~ /zebra|quagga/;
			push @leaks, "$c->{name}: $r->{name} tells another's from none: $got->{body} $none->{body}" if ($got->{body} =~ s/\b$id\b/ID/gr) ne ($none->{body} =~ s/\b999999999999\b/ID/gr);
		}
		# Another's by name.
		if (grep { $_->{name} eq 'tenant' } @{ $r->{query} }) {
			my ($theirs, $nobodys) = map { my $name = $_; my $p = $path; $p .= ($p =~ /\?/ ? '&' : '?') . "tenant=$name"; call($c, $r->{method}, $p, $body) } qw(zebra ghost);
			$foreign++;
			push @leaks, "$c->{name}: $r->{name} of tenant zebra: $theirs->{body}" if $theirs->{body} =~ /quagga/ || ($theirs->{body} =~ s/zebra/X/gr) ne ($nobodys->{body} =~ s/ghost/X/gr);
		}
		if ($r->{body} && $r->{body}{properties}{tenant}) {
			# To make something for it is refused; where it only chooses, nothing is there.
			my ($theirs, $nobodys) = map { call($c, $r->{method}, $path, { %$body, tenant => $_ }) } qw(zebra ghost);
			$foreign++;
			push @wrong, "$c->{name}: $r->{name} for tenant zebra: $theirs->{status}" if $theirs->{status} !~ /^(200|403|404|422)$/;
			push @leaks, "$c->{name}: $r->{name} of tenant zebra: $theirs->{body}"
			    if $theirs->{body} =~ /quagga/ || ($theirs->{body} =~ s/zebra/X/gr) ne ($nobodys->{body} =~ s/ghost/X/gr);
		}
	}
}
none \@wrong, "requests of a tenant's tokens: $own, let through; for another's: $foreign, refused";
none \@leaks, 'leaks: ' . @leaks;
# S1-53, S4-50: nor does another tenant.
is standing("tenant = 'zebra'"), $before, '… and nothing of the other has changed';

# What happens, as it happens.
my $events = Http->new("127.0.0.1:$port")->connect;
$events->send("GET /v1/events HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer viewer-acme-secret\r\n\r\n");
wait_for { $events->more(1); $events->{in} =~ /\r\n\r\n/ } 'the stream to begin';
fill('zebra', 3, $_) for qw(bulk completed ready);
fill('acme', 1, 'completed');
my $last = $pool{acme}{completed}[-1];
wait_for { $events->more(1); $events->{in} =~ /\b$last\b/ } 'the event of acme';
my @others = grep { $events->{in} =~ /\b$_\b/ } map { @{ $pool{zebra}{$_} }[ -3 .. -1 ] } qw(bulk completed ready);
is "@others " . ($events->{in} =~ /zebra|quagga/ ? 'zebra' : ''), ' ', 'events: of its own jobs only, ' . length($events->{in}) . ' bytes of them';
$events->close;

#
# who may
#
# What is needed for a thing to be done, not only allowed.
sub prepare {
	my ($r, $c, $path, $body) = @_;
	if ($r->{path} =~ m{^/v1/jobs/\{\w+\}/(renew|complete|fail|release|progress|log)$} && $r->{method} eq 'POST') {
		$pg->query("SELECT jobq.enqueue('pulled')");
		my $job = call($c, 'POST', '/v1/queues/pulled/lease', { wait => '10s' })->{json}{jobs}[0];
		$path =~ s{/\d+/}{/$job->{id}/};
		$body->{token} = $job->{token};
	} elsif ($r->{name} eq 'DELETE /v1/schedules/{}') {
		call($c, 'PUT', $path, { cron => '0 4 * * *', queue => 'parked' })->{status} =~ /^2/ or die "no schedule\n";
	} elsif ($r->{name} eq 'POST /v1/jobs/cancel') {
		$pg->query("SELECT jobq.enqueue('parked', 'bulk')");
	} elsif ($r->{path} =~ m{^/v1/(jobs|dead-letters)(/(retry|cancel|delete|review))?$}) {
		fill('acme', 1, 'bulk');
	} elsif ($path =~ m{^/v1/queues/spare/(jobs|clean)}) {
		my $id = $pg->query("SELECT jobq.enqueue('spare')");
		wait_for { $pg->query("SELECT state FROM jobq.jobs WHERE id = $id") eq 'completed' } 'a job to have ended';
		$pg->query("SELECT jobq.enqueue('spare', delay => '1h')");
		$body->{state} = 'completed' if $body;
	}
	return ($path, $body);
}
# These answer that it cannot be so: the queue is served, the workflow has not
# failed, the alert does not fire, a webhook is not signed.
my %cannot = ('POST /v1/alerts/{}/ack' => 409, 'DELETE /v1/queues/{}' => 409, 'POST /v1/workflows/{}/retry' => 409, 'POST /v1/hooks/{}' => 401);
# Jobs tell themselves who they are of and which worker has run them.
my %in_jobs = map { $_ => 1 } 'POST /v1/jobs', 'POST /v1/jobs/batch', 'POST /v1/workflows/{}', 'POST /v1/queues/{}/lease', 'POST /v1/queues/{}/drain',
    map { "POST /v1/jobs/{}/$_" } qw(renew complete fail release progress log);

@wrong = ();
my (@silent, @undone, $through, $told);
for my $c (grep { !defined $_->{tenant} || $_->{tenant} eq 'zebra' } @callers) {
	for my $r (grep { !defined refusal($c, $_) } @plain) {
		my ($path, $body) = target($r, $c->{tenant} // 'acme');
		my $strict = $c->{name} eq 'admin-any';
		($path, $body) = prepare($r, $c, $path, $body) if $strict;
		my $got = call($c, $r->{method}, $path, $body);
		$through++;
		push @wrong, "$c->{name}: $r->{name} $path: $got->{status} $got->{body}" if $got->{status} >= 500 || $got->{status} =~ /^(401|403|429)$/ && $r->{role} ne 'none';
		next unless $strict;
		push @undone, "$r->{name}: $got->{status} $got->{body}" if $got->{status} !~ /^2/ && $got->{status} != ($cannot{ $r->{name} } || 0);
		next if $r->{method} eq 'GET' || $in_jobs{ $r->{name} } || $got->{status} !~ /^2/;
		$told++;
		push @silent, $r->{name} if $pg->query("SELECT count(*) FROM jobq.audit WHERE actor = '$c->{name}' AND source = '$address'") == 0;
	}
}
# S1-53, S3-34
none \@wrong, "who may is let through: $through";
none \@undone, '… and what an admin may is done';
# S1-53, S1-54, S3-40
none \@silent, "what was changed is told by the audit, with the token's name and the address: endpoints: $told";

is $requests > 2000, 1, "requests: $requests";
is $d->stop, 0, 'exit 0';
done_testing;
