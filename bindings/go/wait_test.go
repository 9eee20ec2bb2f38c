package lockfolder

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// tickets returns how many claimants stand in line.
func tickets(path string) int {
	names, _ := os.ReadDir(filepath.Join(path, ".lockfolder", "queue"))
	return len(names)
}

func waitForTickets(t *testing.T, path string, number int) {
	t.Helper()
	for deadline := patient(t); tickets(path) != number; time.Sleep(time.Millisecond) {
		if deadline.Err() != nil {
			t.Fatalf("%d stand in line, not %d", tickets(path), number)
		}
	}
}

func threads(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/task")
	check(t, err)
	return len(names)
}

// The waits begin one after another: many calls into C at the same moment, however short, make the runtime start threads. It also
// starts a few of its own.
func TestManyWaitsOccupyNoThread(t *testing.T) {
	const number, few = 200, 50
	path := t.TempDir()
	holder := open(t, path)
	check(t, holder.TryLock())
	before := threads(t)
	cancelled, cancel := context.WithCancel(context.Background())
	inside := 0
	ended := make(chan error, number)
	for n := 0; n < number; n++ {
		folder, ctx := open(t, path), patient(t)
		if n%2 == 0 {
			ctx = cancelled
		}
		go func() {
			err := folder.Lock(ctx)
			if err == nil {
				inside++
				err = folder.Unlock()
			}
			ended <- err
		}()
		waitForTickets(t, path, n+1)
	}
	now := threads(t)
	t.Logf("%d waits: %d threads before, %d now", number, before, now)
	if now > before+few {
		t.Error("the waits have threads")
	}
	cancel()
	for n := 0; n < number/2; n++ {
		is(t, <-ended, ErrCancelled, context.Canceled)
	}
	if left := tickets(path); left != number/2 {
		t.Errorf("%d tickets of %d waits", left, number/2)
	}
	check(t, holder.Unlock())
	for n := 0; n < number/2; n++ {
		check(t, <-ended)
	}
	if inside != number/2 || tickets(path) != 0 {
		t.Errorf("%d had the lock, %d tickets are left", inside, tickets(path))
	}
}

func TestACancelledWaitLeavesNoTicket(t *testing.T) {
	path := t.TempDir()
	child := holder(t, path)
	folder := open(t, path)
	for n := 0; n < 20; n++ {
		ctx, cancel := context.WithCancel(context.Background())
		locked := make(chan error)
		go func() { locked <- folder.Lock(ctx) }()
		waitForTickets(t, path, 1)
		cancel()
		err := <-locked
		is(t, err, ErrCancelled, context.Canceled)
		if tickets(path) != 0 {
			t.Fatal("a ticket is left")
		}
	}
	child.Process.Kill()
	check(t, folder.Lock(patient(t)))
}

// The holder unlocks and the context ends at the same moment: the lock is either held, or it is free.
func TestACancellationAtTheMomentOfTheLock(t *testing.T) {
	path := t.TempDir()
	holder, folder := open(t, path), open(t, path)
	for n := 0; n < 100; n++ {
		check(t, holder.TryLock())
		ctx, cancel := context.WithCancel(context.Background())
		locked := make(chan error)
		go func() { locked <- folder.Lock(ctx) }()
		waitForTickets(t, path, 1)
		go cancel()
		check(t, holder.Unlock())
		if err := <-locked; err == nil {
			check(t, folder.Unlock())
		} else {
			is(t, err, ErrCancelled)
			is(t, folder.Holds(), ErrNotHeld)
		}
		if bids, err := folder.Bids(); err != nil || len(bids) != 0 || tickets(path) != 0 {
			t.Fatal(bids, err, tickets(path))
		}
	}
}
