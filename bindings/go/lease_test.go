package lockfolder

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

const shortestLease = 5 * time.Second

// share marks a lock folder as one that other hosts use too.
func share(t *testing.T, path string) string {
	t.Helper()
	check(t, os.MkdirAll(filepath.Join(path, ".lockfolder"), 0o777))
	check(t, os.WriteFile(filepath.Join(path, ".lockfolder", "shared"), nil, 0o666))
	return path
}

// holdUntilLost is what the child does. Its last lines say how its work ended.
func holdUntilLost(path string) {
	folder, err := Open(path, Lease(shortestLease))
	if err == nil {
		err = folder.TryLock()
	}
	work, cancel := folder.Context(context.Background())
	defer cancel()
	_, isLeased, _ := folder.ValidFor()
	fmt.Println("held", err, work.Err(), isLeased)
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	select {
	case <-work.Done():
		fmt.Println("lost", work.Err(), causeForTest(work))
	case <-ended:
		fmt.Println("ended", work.Err())
	}
	_, _, err = folder.ValidFor()
	fmt.Println(status(folder.Holds()), status(folder.Renew()), status(err), status(folder.Unlock()), status(folder.Unlock()))
}

// status returns the Status of an error, for a test that reads it as text.
func status(err error) any {
	if e, ok := err.(*Error); ok {
		return e.Status
	}
	return err
}

func TestAHolderThatWasStoppedForTooLongLearnsIt(t *testing.T) {
	path := share(t, t.TempDir())
	child, _, said := start(t, "LOCKFOLDER_TEST_LEASE="+path)
	if line := hear(t, said); line != "held <nil> <nil> true" {
		t.Fatalf("the holder says %q", line)
	}
	check(t, child.Process.Signal(syscall.SIGSTOP))
	time.Sleep(shortestLease * 9 / 10)
	check(t, child.Process.Signal(syscall.SIGCONT))
	if line := hear(t, said); line != "lost context canceled "+lostCause {
		t.Errorf("the holder says %q", line)
	}
	if line := hear(t, said); line != "LF_ERR_LOST LF_ERR_LOST LF_ERR_LOST LF_ERR_LOST LF_ERR_NOT_HELD" {
		t.Errorf("the holder says %q", line)
	}
}

func TestWithoutALeaseNothingIsLost(t *testing.T) {
	child, stdin, said := start(t, "LOCKFOLDER_TEST_LEASE="+t.TempDir())
	if line := hear(t, said); line != "held <nil> <nil> false" {
		t.Fatalf("the holder says %q", line)
	}
	check(t, child.Process.Signal(syscall.SIGSTOP))
	time.Sleep(shortestLease * 9 / 10)
	check(t, child.Process.Signal(syscall.SIGCONT))
	time.Sleep(time.Second) // so that a loss would be seen
	check(t, stdin.Close())
	if line := hear(t, said); line != "ended <nil>" {
		t.Errorf("the holder says %q", line)
	}
	if line := hear(t, said); line != "<nil> <nil> <nil> <nil> LF_ERR_NOT_HELD" {
		t.Errorf("the holder says %q", line)
	}
}

// There is no thread, and the program renews only once. So the lock is lost, although the program is not stopped.
func TestWithoutAThreadTheProgramRenews(t *testing.T) {
	folder := open(t, share(t, t.TempDir()), Lease(shortestLease), NoThread())
	check(t, folder.Lock(patient(t)))
	work, cancel := folder.Context(patient(t))
	defer cancel()
	check(t, folder.Renew())
	left, isLeased, err := folder.ValidFor()
	if err != nil || !isLeased || left < 0 || left > shortestLease*2/3 {
		t.Error(left, isLeased, err)
	}
	<-work.Done()
	is(t, folder.Renew(), ErrLost)
	is(t, folder.Unlock(), ErrLost)
	check(t, folder.Lock(patient(t)))
	again, cancel := folder.Context(context.Background())
	defer cancel()
	check(t, again.Err()) // this lock is another one
	check(t, folder.Unlock())
}

// The library's descriptor is one for all locks of the handle, and here there is none.
func TestALossIsSeenWithoutADescriptor(t *testing.T) {
	folder := open(t, share(t, t.TempDir()), Lease(shortestLease), NoThread())
	check(t, folder.Lock(patient(t)))
	is(t, folder.waitForLoss(nil, nil), ErrLost)
	stop := make(chan struct{})
	close(stop)
	check(t, folder.waitForLoss(nil, stop))
}

func TestAContextEndsWithItsLock(t *testing.T) {
	ends := map[string]func(folder *Folder, cancelParent, cancel context.CancelFunc){
		"unlock": func(folder *Folder, _, _ context.CancelFunc) { check(t, folder.Unlock()) },
		"close":  func(folder *Folder, _, _ context.CancelFunc) { check(t, folder.Close()) },
		"parent": func(_ *Folder, cancelParent, _ context.CancelFunc) { cancelParent() },
		"cancel": func(_ *Folder, _, cancel context.CancelFunc) { cancel() },
	}
	before := runtime.NumGoroutine()
	for name, end := range ends {
		for _, path := range []string{t.TempDir(), share(t, t.TempDir())} {
			folder := open(t, path)
			none, cancel := folder.Context(context.Background())
			cancel()
			is(t, none.Err(), context.Canceled) // it was not held
			check(t, folder.TryLock())
			parent, cancelParent := context.WithCancel(patient(t))
			work, cancel := folder.Context(parent)
			check(t, work.Err())
			end(folder, cancelParent, cancel)
			<-work.Done()
			is(t, work.Err(), context.Canceled)
			cancelParent()
			if name != "close" {
				check(t, folder.Close())
			}
			none, cancel = folder.Context(context.Background())
			cancel()
			<-none.Done()
		}
	}
	for tries := 0; runtime.NumGoroutine() > before; tries++ { // each of them ends a moment later
		if tries == 6000 {
			stacks := make([]byte, 1<<20)
			t.Fatalf("goroutines stay:\n%s", stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestALeaseHasLimits(t *testing.T) {
	for _, wrong := range []time.Duration{math.MinInt64, -shortestLease, 0, shortestLease - time.Millisecond, time.Hour + 1, math.MaxInt64} {
		_, err := Open(t.TempDir(), Lease(wrong))
		is(t, err, ErrInvalid)
		if !strings.Contains(err.Error(), "lease") {
			t.Errorf("%v: %q", wrong, err)
		}
	}
	open(t, t.TempDir(), Lease(time.Hour))
}
