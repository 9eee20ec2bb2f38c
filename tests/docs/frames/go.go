package main

import (
	"context"
	"log"
	"os"

	"lockfolder"
)

func copyFiles(ctx context.Context) error { return ctx.Err() }

// A snippet may declare these three itself, as most do with folder.
func snippet(ctx context.Context, path string, folder *lockfolder.Folder) error {
	{
		SNIPPET
	}
	return nil
}

// The snippet gets a folder that is locked, and the path of another.
func main() {
	ctx := context.Background()
	folder, err := lockfolder.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if err := folder.Lock(ctx); err != nil {
		log.Fatal(err)
	}
	if err := snippet(ctx, os.Args[1]+".other", folder); err != nil {
		log.Fatal(err)
	}
}
