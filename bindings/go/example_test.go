package lockfolder_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"lockfolder"
)

func Example() {
	path, err := os.MkdirTemp("", "lockfolder")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(path)

	folder, err := lockfolder.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer folder.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := folder.Lock(ctx); err != nil {
		log.Fatal(err) // the text names the holder
	}
	defer folder.Unlock()
	fmt.Println("nobody else is here")

	another, err := lockfolder.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer another.Close()
	if err := another.TryLock(); errors.Is(err, lockfolder.ErrBusy) {
		fmt.Println("busy")
	}
	// Output:
	// nobody else is here
	// busy
}
