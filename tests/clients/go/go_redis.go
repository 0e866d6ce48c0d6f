// go-redis, the version that Debian packages.
package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"gopkg.in/redis.v5"
)

const tag = "go-redis"

func setAndGet(client *redis.Client) error {
	if err := client.Set(tag, 1, 0).Err(); err != nil {
		return err
	}
	got, err := client.Get(tag).Result()
	if err != nil {
		return err
	}
	return expect(got, "1")
}

func pipeline(client *redis.Client) error {
	replies, err := client.Pipelined(func(pipe *redis.Pipeline) error {
		for n := 0; n < 200; n++ {
			pipe.Set(fmt.Sprintf("%s:%d", tag, n), n, 0)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return expect(len(replies), 200)
}

func transaction(client *redis.Client) error {
	key := "{" + tag + "}:a"
	var sum *redis.IntCmd
	increment := func(tx *redis.Tx) error {
		_, err := tx.Pipelined(func(pipe *redis.Pipeline) error {
			pipe.Set(key, 1, 0)
			sum = pipe.Incr(key)
			return nil
		})
		return err
	}
	if err := client.Watch(increment, key); err != nil {
		return err
	}
	return expect(sum.Val(), 2)
}

func blockingPop(client *redis.Client) error {
	if err := client.RPush(tag+":list", "x").Err(); err != nil {
		return err
	}
	pair, err := client.BLPop(5*time.Second, tag+":list").Result()
	if err != nil {
		return err
	}
	return expect(pair, []string{tag + ":list", "x"})
}

func publishSubscribe(client *redis.Client) error {
	listener, err := client.Subscribe(tag)
	if err != nil {
		return err
	}
	defer listener.Close()
	if _, err := listener.ReceiveTimeout(5 * time.Second); err != nil {
		return err
	}
	if err := client.Publish(tag, "hi").Err(); err != nil {
		return err
	}
	heard, err := listener.ReceiveTimeout(5 * time.Second)
	if err != nil {
		return err
	}
	message, ok := heard.(*redis.Message)
	if !ok {
		return fmt.Errorf("%v is no message", heard)
	}
	return expect(message.Payload, "hi")
}

func script(client *redis.Client) error {
	get := redis.NewScript("return redis.call('get', KEYS[1])")
	got, err := get.Run(client, []string{tag}).Result()
	if err != nil {
		return err
	}
	return expect(got, "1")
}

func scan(client *redis.Client) error {
	found := map[string]bool{}
	keys := client.Scan(0, tag+":*", 1000).Iterator()
	for keys.Next() {
		found[keys.Val()] = true
	}
	if err := keys.Err(); err != nil {
		return err
	}
	if len(found) < 200 {
		return errors.New(fmt.Sprint(len(found), " keys"))
	}
	return nil
}

func main() {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + os.Args[1]})
	report("go-redis", []check{
		{"get/set", func() error { return setAndGet(client) }},
		{"pipeline", func() error { return pipeline(client) }},
		{"transaction", func() error { return transaction(client) }},
		{"blocking pop", func() error { return blockingPop(client) }},
		{"pub/sub", func() error { return publishSubscribe(client) }},
		{"script", func() error { return script(client) }},
		{"scan", func() error { return scan(client) }},
	})
}
