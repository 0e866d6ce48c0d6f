"""redis-py: both protocols, blocking and asyncio, the plain and the cluster class."""

import asyncio
import json
import sys

try:
    import redis
    import redis.asyncio
    from redis.asyncio.cluster import RedisCluster as AsyncCluster
    from redis.cluster import RedisCluster
except ImportError:
    sys.exit(0)

PORT = int(sys.argv[1])
SCRIPT = "return redis.call('get', KEYS[1])"


def report(client, checks):
    print(json.dumps({"client": client, "version": redis.__version__, "checks": checks}))


def attempt(checks, name, check):
    try:
        check()
        checks[name] = "yes"
    except Exception as error:  # Whatever went wrong is what the table shows.
        checks[name] = f"{type(error).__name__}: {error}"


async def attempt_async(checks, name, check):
    try:
        await check()
        checks[name] = "yes"
    except Exception as error:
        checks[name] = f"{type(error).__name__}: {error}"


def expect(got, wanted):
    assert got == wanted, f"{got!r} is not {wanted!r}"


def heard(message, wanted):
    expect(message and message["data"], wanted)


def run(name, client, cluster):
    checks = {}
    tag = name.replace(" ", "-")

    def get_set():
        client.set(tag, "1")
        expect(client.get(tag), b"1")

    def pipeline():
        pipe = client.pipeline() if cluster else client.pipeline(transaction=False)
        for number in range(200):
            pipe.set(f"{tag}:{number}", number)
        expect(pipe.execute(), [True] * 200)

    def transaction():
        pipe = client.pipeline(transaction=True)
        pipe.set(f"{{{tag}}}:a", 1)
        pipe.incr(f"{{{tag}}}:a")
        expect(pipe.execute()[1], 2)

    def blocking():
        client.rpush(f"{tag}:list", "x")
        expect(client.blpop([f"{tag}:list"], 5)[1], b"x")

    def pubsub():
        with client.pubsub() as listener:
            listener.subscribe(tag)
            heard(listener.get_message(timeout=5), 1)
            client.publish(tag, "hi")
            heard(listener.get_message(timeout=5), b"hi")

    def script():
        expect(client.eval(SCRIPT, 1, tag), b"1")

    def scan():
        found = set(client.scan_iter(match=f"{tag}:*", count=1000))
        assert len(found) >= 200, len(found)

    for check, what in [("get/set", get_set), ("pipeline", pipeline), ("transaction", transaction),
                        ("blocking pop", blocking), ("pub/sub", pubsub), ("script", script),
                        ("scan", scan)]:
        attempt(checks, check, what)
    client.close()
    report(name, checks)


async def run_async(name, client, cluster):
    checks = {}
    tag = name.replace(" ", "-")

    async def get_set():
        await client.set(tag, "1")
        expect(await client.get(tag), b"1")

    async def pipeline():
        pipe = client.pipeline() if cluster else client.pipeline(transaction=False)
        for number in range(200):
            pipe.set(f"{tag}:{number}", number)
        expect(await pipe.execute(), [True] * 200)

    async def blocking():
        await client.rpush(f"{tag}:list", "x")
        expect((await client.blpop([f"{tag}:list"], 5))[1], b"x")

    async def transaction():
        pipe = client.pipeline(transaction=True)
        pipe.set(f"{{{tag}}}:a", 1)
        pipe.incr(f"{{{tag}}}:a")
        expect((await pipe.execute())[1], 2)

    async def pubsub():
        async with client.pubsub() as listener:
            await listener.subscribe(tag)
            heard(await listener.get_message(timeout=5), 1)
            await client.publish(tag, "hi")
            heard(await listener.get_message(timeout=5), b"hi")

    async def script():
        expect(await client.eval(SCRIPT, 1, tag), b"1")

    async def scan():
        found = {key async for key in client.scan_iter(match=f"{tag}:*", count=1000)}
        assert len(found) >= 200, len(found)

    todo = [("get/set", get_set), ("pipeline", pipeline), ("blocking pop", blocking),
            ("script", script), ("scan", scan)]
    if not cluster:
        todo += [("transaction", transaction), ("pub/sub", pubsub)]
    for check, what in todo:
        await attempt_async(checks, check, what)
    await client.aclose()
    report(name, checks)


for protocol in (2, 3):
    where = {"host": "127.0.0.1", "port": PORT, "protocol": protocol}
    run(f"redis-py, RESP{protocol}", redis.Redis(**where), False)
    run(f"redis-py cluster, RESP{protocol}", RedisCluster(**where), True)

    async def both(where=where, protocol=protocol):
        await run_async(f"redis-py asyncio, RESP{protocol}", redis.asyncio.Redis(**where), False)
        await run_async(f"redis-py asyncio cluster, RESP{protocol}", AsyncCluster(**where), True)

    asyncio.run(both())
