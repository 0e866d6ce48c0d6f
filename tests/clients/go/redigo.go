// Redigo, the version that Debian packages.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/gomodule/redigo/redis"
)

const tag = "redigo"

// Set by whoever builds it.
var version = "?"

// What was expected and did not come, if that is so.
func expect(got, wanted interface{}, err error) error {
	if err != nil {
		return err
	}
	if fmt.Sprint(got) != fmt.Sprint(wanted) {
		return fmt.Errorf("%v is not %v", got, wanted)
	}
	return nil
}

func setAndGet(client redis.Conn) error {
	if _, err := client.Do("SET", tag, 1); err != nil {
		return err
	}
	got, err := redis.String(client.Do("GET", tag))
	return expect(got, "1", err)
}

func pipeline(client redis.Conn) error {
	for n := 0; n < 200; n++ {
		if err := client.Send("SET", fmt.Sprintf("%s:%d", tag, n), n); err != nil {
			return err
		}
	}
	replies, err := redis.Strings(client.Do(""))
	return expect(len(replies), 200, err)
}

func transaction(client redis.Conn) error {
	key := "{" + tag + "}:a"
	for _, command := range [][]interface{}{{"MULTI"}, {"SET", key, 1}, {"INCR", key}} {
		if err := client.Send(command[0].(string), command[1:]...); err != nil {
			return err
		}
	}
	done, err := redis.Values(client.Do("EXEC"))
	return expect(done, []interface{}{"OK", 2}, err)
}

func blockingPop(client redis.Conn) error {
	if _, err := client.Do("RPUSH", tag+":list", "x"); err != nil {
		return err
	}
	pair, err := redis.Strings(client.Do("BLPOP", tag+":list", 5))
	return expect(pair, []string{tag + ":list", "x"}, err)
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
	return expect(string(message.Data), "hi", nil)
}

func script(client redis.Conn) error {
	get := redis.NewScript(1, "return redis.call('get', KEYS[1])")
	got, err := redis.String(get.Do(client, tag))
	return expect(got, "1", err)
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
	return expect(len(found) >= 200, true, nil)
}

func main() {
	client, err := redis.Dial("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		panic(err)
	}
	seen := map[string]string{}
	for _, check := range []struct {
		name string
		run  func(redis.Conn) error
	}{
		{"get/set", setAndGet},
		{"pipeline", pipeline},
		{"transaction", transaction},
		{"blocking pop", blockingPop},
		{"pub/sub", publishSubscribe},
		{"script", script},
		{"scan", scan},
	} {
		seen[check.name] = "yes"
		if err := check.run(client); err != nil {
			seen[check.name] = err.Error()
		}
	}
	row := map[string]interface{}{"client": "redigo", "version": version, "checks": seen}
	if err := json.NewEncoder(os.Stdout).Encode(row); err != nil {
		panic(err)
	}
}
