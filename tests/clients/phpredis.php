<?php
// phpredis, and its cluster class.

if (!extension_loaded('redis')) {
    exit(0);
}

$port = (int) $argv[1];
const SCRIPT = "return redis.call('get', KEYS[1])";

function expect($got, $wanted): void
{
    if ($got !== $wanted) {
        throw new Exception(json_encode($got) . ' is not ' . json_encode($wanted));
    }
}

// Runs each check; `yes`, or what went wrong.
function run(string $name, callable $make, bool $cluster): void
{
    global $port;
    $client = $make();
    $tag = str_replace(' ', '-', $name);
    $checks = [
        'get/set' => function () use ($client, $tag) {
            $client->set($tag, '1');
            expect($client->get($tag), '1');
        },
        'transaction' => function () use ($client, $tag) {
            $done = $client->multi()->set("{{$tag}}:a", 1)->incr("{{$tag}}:a")->exec();
            expect($done, [true, 2]);
        },
        'blocking pop' => function () use ($client, $tag) {
            $client->rPush("$tag:list", 'x');
            expect($client->blPop(["$tag:list"], 5), ["$tag:list", 'x']);
        },
        'pub/sub' => function () use ($client, $make, $tag, $port) {
            // subscribe() only ends with its callback, so another process says something, until PUBLISH says that
            // somebody has heard it.
            $say = sprintf(
                '%s -r %s',
                escapeshellarg(PHP_BINARY),
                escapeshellarg(
                    '$c = new Redis(); $c->connect("127.0.0.1", ' . $port . ');'
                    . ' for ($n = 0; $n < 1000 && $c->publish("' . $tag . '", "hi") == 0; $n++) { usleep(10000); }'
                )
            );
            $process = proc_open($say, [], $pipes);
            $listener = $make();
            $heard = null;
            // Nothing but silence ends subscribe().
            $listener->setOption(Redis::OPT_READ_TIMEOUT, 2);
            try {
                $listener->subscribe([$tag], function ($of, $channel, $text) use (&$heard) {
                    $heard = $text;
                });
            } catch (RedisException | RedisClusterException $silence) {
            }
            proc_close($process);
            expect($heard, 'hi');
        },
        'script' => function () use ($client, $tag) {
            $seen = $client->eval(SCRIPT, [$tag], 1);
            // What a node refuses is no exception here, only false.
            if ($seen === false) {
                throw new Exception($client->getLastError());
            }
            expect($seen, '1');
        },
    ];
    if (!$cluster) {
        $checks['pipeline'] = function () use ($client, $tag) {
            $pipe = $client->pipeline();
            for ($n = 0; $n < 200; $n++) {
                $pipe->set("$tag:$n", $n);
            }
            expect($pipe->exec(), array_fill(0, 200, true));
        };
        $checks['scan'] = function () use ($client, $tag) {
            $found = [];
            $cursor = null;
            while (($keys = $client->scan($cursor, "$tag:*", 1000)) !== false) {
                foreach ($keys as $key) {
                    $found[$key] = true;
                }
            }
            if (count($found) < 200) {
                throw new Exception(count($found) . ' keys');
            }
        };
    }
    $seen = [];
    foreach ($checks as $check => $what) {
        try {
            $what();
            $seen[$check] = 'yes';
        } catch (Throwable $error) {
            $seen[$check] = get_class($error) . ': ' . $error->getMessage();
        }
    }
    echo json_encode(['client' => $name, 'version' => phpversion('redis'), 'checks' => $seen]), "\n";
}

run('phpredis', function () use ($port) {
    $client = new Redis();
    $client->connect('127.0.0.1', $port);
    return $client;
}, false);
run('phpredis cluster', fn () => new RedisCluster(null, ["127.0.0.1:$port"]), true);
