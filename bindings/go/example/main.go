// Command example waits for the lock of a folder until Ctrl-C, and prints its fencing token.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	"lockfolder"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: example FOLDER")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(path string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	folder, err := lockfolder.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()

	if err := folder.Lock(ctx); err != nil {
		return err
	}
	token, err := folder.Fence()
	if err != nil {
		return err
	}
	fmt.Println("held; fencing token", token)
	return folder.Unlock()
}
