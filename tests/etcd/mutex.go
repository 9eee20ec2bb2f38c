// A claimant that locks by the Mutex of etcd's own Go client, again and again, until it is killed.
//
//	mutex ENDPOINT PREFIX REFEREE NAME
//
// It tells the referee of contest.py when it has the lock. Its token is the create revision of its key.
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"math/rand"
	"net"
	"os"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	endpoint, prefix, referee, name := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	ctx := context.Background()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 10 * time.Second})
	must(err)
	session, err := concurrency.NewSession(client, concurrency.WithTTL(5))
	must(err)
	whistle, err := net.Dial("unix", referee)
	must(err)
	answers := bufio.NewReader(whistle)
	say := func(what string, token int64) {
		_, err := fmt.Fprintln(whistle, what, name, token)
		must(err)
		_, err = answers.ReadString('\n')
		must(err)
	}
	random := rand.New(rand.NewSource(int64(os.Getpid())))
	pause := func() { time.Sleep(time.Duration(random.Intn(50)) * time.Millisecond) }
	mutex := concurrency.NewMutex(session, prefix)
	for {
		must(mutex.Lock(ctx))
		answer, err := client.Get(ctx, mutex.Key())
		must(err)
		token := answer.Kvs[0].CreateRevision
		say("enter", token)
		pause()
		say("leave", token)
		must(mutex.Unlock(ctx))
		pause()
	}
}
