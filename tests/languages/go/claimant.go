// A claimant in Go: see ../README.md.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"lockfolder"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "go:", err)
		os.Exit(1)
	}
}

func violation(what string) {
	fmt.Fprintln(os.Stderr, "go: VIOLATION:", what)
	os.Exit(3)
}

func work(token uint64) {
	me := strconv.Itoa(os.Getpid())
	if os.Symlink(me, "inside") != nil {
		if os.Rename("inside", fmt.Sprintf("found/%d", token)) != nil || os.Symlink(me, "inside") != nil {
			violation("another is inside")
		}
	}
	log, err := os.OpenFile("log", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	must(err)
	_, err = fmt.Fprintf(log, "go %s %d\n", me, token)
	must(err)
	must(log.Close())
	time.Sleep(2 * time.Millisecond)
	if there, _ := os.Readlink("inside"); there != me || os.Remove("inside") != nil {
		violation("another was inside")
	}
}

func main() {
	if len(os.Args) != 3 {
		os.Exit(2)
	}
	must(os.Chdir(os.Args[2]))
	folder, err := lockfolder.Open(os.Args[1])
	must(err)
	defer folder.Close()
	for {
		if _, err := os.Stat("stop"); err == nil {
			return
		}
		must(folder.Lock(context.Background()))
		token, err := folder.Fence()
		must(err)
		work(token)
		must(folder.Unlock())
	}
}
