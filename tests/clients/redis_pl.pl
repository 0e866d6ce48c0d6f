# Redis.pm.

use strict;
use warnings;
use JSON::PP;

eval { require Redis; 1 } or exit 0;

my $port = $ARGV[0];
my $tag = 'perl';
my $script = "return redis.call('get', KEYS[1])";
my %seen;

sub expect {
    my ($got, $wanted) = @_;
    my ($a, $b) = map { JSON::PP->new->allow_nonref->encode($_) } $got, $wanted;
    die "$a is not $b\n" if $a ne $b;
}

# Each check by name: `yes`, or what went wrong.
sub attempt {
    my ($name, $check) = @_;
    eval { $check->(); 1 } and return $seen{$name} = 'yes';
    ($seen{$name} = "$@") =~ s/\s+\z//;
}

my $client = Redis->new(server => "127.0.0.1:$port");

attempt('get/set', sub {
    $client->set($tag, 1);
    expect($client->get($tag) . '', '1');
});
attempt('pipeline', sub {
    my $good = 0;
    $client->set("$tag:$_", $_, sub { $good++ if $_[0] eq 'OK' }) for 0 .. 199;
    $client->wait_all_responses;
    expect($good, 200);
});
attempt('transaction', sub {
    $client->multi;
    $client->set("{$tag}:a", 1);
    $client->incr("{$tag}:a");
    my @done = $client->exec;
    expect("@done", 'OK 2');
});
attempt('blocking pop', sub {
    $client->rpush("$tag:list", 'x');
    my @pair = $client->blpop("$tag:list", 5);
    expect("@pair", "$tag:list x");
});
attempt('pub/sub', sub {
    my $listener = Redis->new(server => "127.0.0.1:$port");
    my $heard = '';
    $listener->subscribe($tag, sub { $heard = $_[0] });
    $client->publish($tag, 'hi');
    $listener->wait_for_messages(5);
    expect($heard, 'hi');
});
attempt('script', sub { expect($client->eval($script, 1, $tag) . '', '1') });
attempt('scan', sub {
    my ($cursor, %found) = (0);
    do {
        ($cursor, my $keys) = $client->scan($cursor, 'MATCH', "$tag:*", 'COUNT', 1000);
        @found{@$keys} = ();
    } while ($cursor);
    die keys(%found) . " keys\n" if keys(%found) < 200;
});

print JSON::PP->new->canonical->encode(
    { client => 'Redis.pm', version => "$Redis::VERSION", checks => \%seen }
), "\n";
