// Redigo, the version that Debian packages.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/gomodule/redigo/redis"
)

const tag = "redigo"

// The same of what a command was answered.
func expectReply(got, wanted interface{}, err error) error {
	if err != nil {
		return err
	}
	return expect(got, wanted)
}

func setAndGet(client redis.Conn) error {
	if _, err := client.Do("SET", tag, 1); err != nil {
		return err
	}
	got, err := redis.String(client.Do("GET", tag))
	return expectReply(got, "1", err)
}

func pipeline(client redis.Conn) error {
	for n := 0; n < 200; n++ {
		if err := client.Send("SET", fmt.Sprintf("%s:%d", tag, n), n); err != nil {
			return err
		}
	}
	replies, err := redis.Strings(client.Do(""))
	return expectReply(len(replies), 200, err)
}

func transaction(client redis.Conn) error {
	key := "{" + tag + "}:a"
	for _, command := range [][]interface{}{{"MULTI"}, {"SET", key, 1}, {"INCR", key}} {
		if err := client.Send(command[0].(string), command[1:]...); err != nil {
			return err
		}
	}
	done, err := redis.Values(client.Do("EXEC"))
	return expectReply(done, []interface{}{"OK", 2}, err)
}

func blockingPop(client redis.Conn) error {
	if _, err := client.Do("RPUSH", tag+":list", "x"); err != nil {
		return err
	}
	pair, err := redis.Strings(client.Do("BLPOP", tag+":list", 5))
	return expectReply(pair, []string{tag + ":list", "x"}, err)
}

func publishSubscribe(client redis.Conn) error {
	connection, err := redis.Dial("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		return err
	}
	listener := redis.PubSubConn{Conn: connection}
	defer listener.Close()
	if err := listener.Subscribe(tag); err != nil {
		return err
	}
	if _, ok := listener.ReceiveWithTimeout(5 * time.Second).(redis.Subscription); !ok {
		return fmt.Errorf("no subscription")
	}
	if _, err := client.Do("PUBLISH", tag, "hi"); err != nil {
		return err
	}
	heard := listener.ReceiveWithTimeout(5 * time.Second)
	message, ok := heard.(redis.Message)
	if !ok {
		return fmt.Errorf("%v is no message", heard)
	}
	return expect(string(message.Data), "hi")
}

func script(client redis.Conn) error {
	get := redis.NewScript(1, "return redis.call('get', KEYS[1])")
	got, err := redis.String(get.Do(client, tag))
	return expectReply(got, "1", err)
}

func scan(client redis.Conn) error {
	found := map[string]bool{}
	for cursor := 0; ; {
		page, err := redis.Values(client.Do("SCAN", cursor, "MATCH", tag+":*", "COUNT", 1000))
		if err != nil {
			return err
		}
		var keys []string
		if _, err := redis.Scan(page, &cursor, &keys); err != nil {
			return err
		}
		for _, key := range keys {
			found[key] = true
		}
		if cursor == 0 {
			break
		}
	}
	return expect(len(found) >= 200, true)
}

func main() {
	client, err := redis.Dial("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		panic(err)
	}
	report("redigo", []check{
		{"get/set", func() error { return setAndGet(client) }},
		{"pipeline", func() error { return pipeline(client) }},
		{"transaction", func() error { return transaction(client) }},
		{"blocking pop", func() error { return blockingPop(client) }},
		{"pub/sub", func() error { return publishSubscribe(client) }},
		{"script", func() error { return script(client) }},
		{"scan", func() error { return scan(client) }},
	})
}
