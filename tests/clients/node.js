// ioredis and node-redis: the plain and the cluster classes, both protocols where there are two.
'use strict';

const port = Number(process.argv[2]);
const script = "return redis.call('get', KEYS[1])";

function load(name) {
  try {
    return { library: require(name), version: require(`${name}/package.json`).version };
  } catch {
    return null;
  }
}

function expect(got, wanted) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${a} is not ${b}`);
}

function within(promise, what) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`no ${what} within 5 s`)), 5000).unref();
  });
  return Promise.race([promise, late]);
}

async function run(client, version, checks) {
  const seen = {};
  for (const [name, check] of Object.entries(checks)) {
    try {
      await within(check(), name);
      seen[name] = 'yes';
    } catch (error) {
      seen[name] = String(error.message ?? error);
    }
  }
  console.log(JSON.stringify({ client, version, checks: seen }));
}

async function ioredis(Redis, version) {
  const plain = () => new Redis(port);
  const cluster = () => new Redis.Cluster([{ host: '127.0.0.1', port }]);
  for (const [name, make] of [['ioredis', plain], ['ioredis cluster', cluster]]) {
    const client = make();
    const tag = name.replace(' ', '-');
    const checks = {
      'get/set': async () => {
        await client.set(tag, '1');
        expect(await client.get(tag), '1');
      },
      pipeline: async () => {
        const pipeline = client.pipeline();
        // The cluster class wants the keys of a pipeline on one node of its map: there is one.
        for (let n = 0; n < 200; n++) pipeline.set(`{${tag}}:${n}`, n);
        expect((await pipeline.exec()).filter(([error]) => error), []);
      },
      transaction: async () => {
        const done = await client.multi().set(`{${tag}}:a`, 1).incr(`{${tag}}:a`).exec();
        expect(done, [[null, 'OK'], [null, 2]]);
      },
      'blocking pop': async () => {
        await client.rpush(`${tag}:list`, 'x');
        expect(await client.blpop(`${tag}:list`, 5), [`${tag}:list`, 'x']);
      },
      'pub/sub': async () => {
        const listener = make();
        const message = new Promise((resolve) => listener.on('message', (_, text) => resolve(text)));
        await listener.subscribe(tag);
        await client.publish(tag, 'hi');
        expect(await message, 'hi');
        listener.disconnect();
      },
      script: async () => expect(await client.eval(script, 1, tag), '1'),
    };
    if (name === 'ioredis') {
      checks.scan = async () => {
        const found = new Set();
        for await (const keys of client.scanStream({ match: `{${tag}}:*`, count: 1000 })) {
          keys.forEach((key) => found.add(key));
        }
        if (found.size < 200) throw new Error(`${found.size} keys`);
      };
    }
    await run(name, version, checks);
    client.disconnect();
  }
}

async function nodeRedis({ createClient, createCluster }, version) {
  for (const RESP of [2, 3]) {
    const url = `redis://127.0.0.1:${port}`;
    const plain = () => createClient({ url, RESP });
    const cluster = () => createCluster({ rootNodes: [{ url }], defaults: { RESP } });
    for (const [kind, make] of [['', plain], [' cluster', cluster]]) {
      const name = `node-redis${kind}, RESP${RESP}`;
      const client = await make().connect();
      const tag = `node-redis${kind.trim()}${RESP}`;
      const checks = {
        'get/set': async () => {
          await client.set(tag, '1');
          expect(await client.get(tag), '1');
        },
        transaction: async () => {
          const done = await client.multi().set(`{${tag}}:a`, '1').incr(`{${tag}}:a`).exec();
          expect(done, ['OK', 2]);
        },
        pipeline: async () => {
          const all = [];
          for (let n = 0; n < 200; n++) all.push(client.set(`${tag}:${n}`, String(n)));
          expect((await Promise.all(all)).every((reply) => reply === 'OK'), true);
        },
        'blocking pop': async () => {
          await client.rPush(`${tag}:list`, 'x');
          expect((await client.blPop(`${tag}:list`, 5)).element, 'x');
        },
        'pub/sub': async () => {
          const listener = await make().connect();
          let hear;
          const message = new Promise((resolve) => { hear = resolve; });
          await listener.subscribe(tag, hear);
          await client.publish(tag, 'hi');
          expect(await message, 'hi');
          await listener.close();
        },
        script: async () => {
          expect(await client.eval(script, { keys: [tag], arguments: [] }), '1');
        },
      };
      if (kind === '') {
        checks.scan = async () => {
          const found = new Set();
          for await (const keys of client.scanIterator({ MATCH: `${tag}:*`, COUNT: 1000 })) {
            keys.forEach((key) => found.add(key));
          }
          if (found.size < 200) throw new Error(`${found.size} keys`);
        };
      }
      await run(name, version, checks);
      await client.close();
    }
  }
}

(async () => {
  const [io, node] = [load('ioredis'), load('redis')];
  if (io) await ioredis(io.library, io.version);
  if (node) await nodeRedis(node.library, node.version);
  process.exit(0);
})();
