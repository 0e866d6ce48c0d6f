# redis-rb, and its cluster class.

require 'json'
begin
  require 'redis'
rescue LoadError
  exit 0
end

PORT = ARGV.fetch(0).to_i
SCRIPT = "return redis.call('get', KEYS[1])".freeze

def expect(got, wanted)
  raise "#{got.inspect} is not #{wanted.inspect}" unless got == wanted
end

# Each check by name: `yes`, or what went wrong.
def attempt(seen, name)
  yield
  seen[name] = 'yes'
rescue StandardError => e
  seen[name] = "#{e.class}: #{e.message}"
end

# A message heard on a connection of its own.
def heard(listener, sender, tag)
  messages = Queue.new
  ready = Queue.new
  thread = Thread.new do
    listener.subscribe(tag) do |on|
      on.subscribe { ready.push(true) }
      on.message do |_, text|
        messages.push(text)
        listener.unsubscribe(tag)
      end
    end
  end
  ready.pop
  sender.publish(tag, 'hi')
  thread.join(5) or raise 'no message within 5 s'
  messages.pop
end

def run(name, cluster)
  make = lambda do
    cluster ? Redis.new(cluster: ["redis://127.0.0.1:#{PORT}"]) : Redis.new(host: '127.0.0.1', port: PORT)
  end
  client = make.call
  tag = name.tr(' ', '-')
  seen = {}
  attempt(seen, 'get/set') do
    client.set(tag, '1')
    expect(client.get(tag), '1')
  end
  attempt(seen, 'pipeline') do
    done = client.pipelined { |pipe| 200.times { |n| pipe.set("{#{tag}}:#{n}", n) } }
    expect(done, ['OK'] * 200)
  end
  attempt(seen, 'transaction') do
    done = client.multi do |multi|
      multi.set("{#{tag}}:a", 1)
      multi.incr("{#{tag}}:a")
    end
    expect(done, ['OK', 2])
  end
  attempt(seen, 'blocking pop') do
    client.rpush("#{tag}:list", 'x')
    expect(client.blpop("#{tag}:list", timeout: 5), ["#{tag}:list", 'x'])
  end
  attempt(seen, 'pub/sub') { expect(heard(make.call, client, tag), 'hi') }
  attempt(seen, 'script') { expect(client.eval(SCRIPT, keys: [tag]), '1') }
  attempt(seen, 'scan') do
    found = client.scan_each(match: "{#{tag}}:*", count: 1000).to_a.uniq
    raise "#{found.size} keys" if found.size < 200
  end
  puts JSON.generate(client: name, version: Redis::VERSION, checks: seen)
end

run('redis-rb', false)
run('redis-rb cluster', true)
