package lockfolder

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// With this variable set, the test program holds the lock of a folder until its standard input ends.
func TestMain(m *testing.M) {
	if path, lease := os.LookupEnv("LOCKFOLDER_TEST_LEASE"); lease {
		holdUntilLost(path)
		return
	}
	path, hold := os.LookupEnv("LOCKFOLDER_TEST_HOLD")
	if !hold {
		os.Exit(m.Run())
	}
	folder, err := Open(path)
	if err == nil {
		err = folder.TryLock()
	}
	fmt.Println("held", err)
	io.Copy(io.Discard, os.Stdin)
	folder.Close()
}

func holder(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	child, _, said := start(t, "LOCKFOLDER_TEST_HOLD="+path)
	if line := hear(t, said); line != "held <nil>" {
		t.Fatalf("the holder says %q", line)
	}
	return child
}

// start runs the test program with this variable. It also gives the program's input and what the program prints.
func start(t *testing.T, variable string) (*exec.Cmd, io.Closer, *bufio.Reader) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), variable)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	check(t, err)
	stdout, err := child.StdoutPipe()
	check(t, err)
	check(t, child.Start())
	t.Cleanup(func() {
		stdin.Close()
		child.Process.Kill()
		child.Wait()
	})
	return child, stdin, bufio.NewReader(stdout)
}

// hear returns the next line.
func hear(t *testing.T, said *bufio.Reader) string {
	t.Helper()
	var line string
	var err error
	heard := make(chan struct{})
	go func() {
		line, err = said.ReadString('\n')
		close(heard)
	}()
	select {
	case <-heard:
	case <-patient(t).Done():
		t.Fatal("the child says nothing")
	}
	check(t, err)
	return strings.TrimSuffix(line, "\n")
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Fatalf("%#v is not %v", err, target)
		}
	}
}

func open(t *testing.T, path string, opts ...Option) *Folder {
	t.Helper()
	folder, err := Open(path, opts...)
	check(t, err)
	t.Cleanup(func() { folder.Close() })
	return folder
}

// patient returns a context that ends a test that hangs. It measures nothing.
func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestLockUnlock(t *testing.T) {
	folder := open(t, t.TempDir())
	is(t, folder.Holds(), ErrNotHeld)
	is(t, folder.Unlock(), ErrNotHeld)
	check(t, folder.TryLock())
	is(t, folder.TryLock(), ErrAlreadyHeld)
	is(t, folder.Lock(patient(t)), ErrAlreadyHeld)
	check(t, folder.Holds())
	first, err := folder.Fence()
	check(t, err)
	check(t, folder.Unlock())
	check(t, folder.Lock(patient(t)))
	second, err := folder.Fence()
	check(t, err)
	if second <= first {
		t.Fatalf("token %d after %d", second, first)
	}
}

func TestABusyFolderSaysWhoHasIt(t *testing.T) {
	path := t.TempDir()
	child := holder(t, path)
	folder := open(t, path)
	err := folder.TryLock()
	is(t, err, ErrBusy)
	if errors.Is(err, ErrTimeout) {
		t.Error("one status is another")
	}
	for _, part := range []string{path, fmt.Sprintf("PID %d", child.Process.Pid)} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
	inUse, err := folder.InUse()
	if check(t, err); !inUse {
		t.Error("not in use")
	}
	bids, err := folder.Bids()
	check(t, err)
	if len(bids) != 1 || bids[0].State != BidLive || bids[0].PID != child.Process.Pid || bids[0].Host == "" ||
		bids[0].Command == "" || bids[0].Created.IsZero() || !strings.HasSuffix(bids[0].Name, ".json") {
		t.Errorf("%+v", bids)
	}
}

func TestAKilledHolderIsPassedOver(t *testing.T) {
	path := t.TempDir()
	child := holder(t, path)
	folder := open(t, path)
	locked := make(chan error)
	go func() { locked <- folder.Lock(patient(t)) }()
	check(t, child.Process.Kill())
	check(t, <-locked)
	check(t, folder.Holds())
}

func TestReapStale(t *testing.T) {
	path := t.TempDir()
	child := holder(t, path)
	folder := open(t, path)
	if n, err := folder.ReapStale(); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	child.Process.Kill()
	child.Wait()
	if n, err := folder.ReapStale(); n != 1 || err != nil {
		t.Fatal(n, err)
	}
}

func TestCancel(t *testing.T) {
	path := t.TempDir()
	holder(t, path)
	folder := open(t, path)
	for pause := time.Duration(0); pause < 60*time.Millisecond; pause += 15 * time.Millisecond {
		ctx, cancel := context.WithCancel(context.Background())
		locked := make(chan error)
		go func() { locked <- folder.Lock(ctx) }()
		time.Sleep(pause) // before the wait begins, or after
		cancel()
		err := <-locked
		is(t, err, ErrCancelled, context.Canceled)
		is(t, folder.Holds(), ErrNotHeld)
	}
}

// lateContext ends after Lock has first asked it, and before the wait begins.
type lateContext struct {
	context.Context
	looked bool
}

func (c *lateContext) Err() error {
	if !c.looked {
		c.looked = true
		return nil
	}
	return c.Context.Err()
}

func TestACancellationIsNotLostBeforeTheWaitBegins(t *testing.T) {
	path := t.TempDir()
	holder(t, path)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for n := 0; n < 200; n++ {
		folder := open(t, path)
		is(t, folder.Lock(&lateContext{Context: ctx}), ErrCancelled, context.Canceled)
		check(t, folder.Close())
	}
}

func TestDeadline(t *testing.T) {
	path := t.TempDir()
	holder(t, path)
	folder := open(t, path)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	err := folder.Lock(ctx)
	is(t, err, ErrTimeout, context.DeadlineExceeded)
	if text := err.Error(); !strings.Contains(text, "timed out: ") || strings.Contains(text, "cancelled") {
		t.Errorf("a timeout says: %s", text)
	}
	is(t, folder.Lock(ctx), ErrTimeout, context.DeadlineExceeded)
}

func TestADoneContextNeverLocks(t *testing.T) {
	folder := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	is(t, folder.Lock(ctx), ErrCancelled, context.Canceled)
	is(t, folder.Holds(), ErrNotHeld)
}

func TestCloseEndsAWait(t *testing.T) {
	path := t.TempDir()
	holder(t, path)
	folder := open(t, path)
	locked := make(chan error)
	go func() { locked <- folder.Lock(context.Background()) }()
	time.Sleep(10 * time.Millisecond)
	check(t, folder.Close())
	is(t, <-locked, os.ErrClosed)
	is(t, folder.TryLock(), os.ErrClosed, ErrInvalid)
	is(t, folder.Close(), os.ErrClosed)
}

func TestCloseUnlocks(t *testing.T) {
	path := t.TempDir()
	folder, other := open(t, path), open(t, path)
	check(t, folder.TryLock())
	is(t, other.TryLock(), ErrBusy)
	check(t, folder.Close())
	check(t, other.TryLock())
}

func TestADeletedBidIsALostLock(t *testing.T) {
	path := t.TempDir()
	folder := open(t, path)
	check(t, folder.TryLock())
	bids, err := filepath.Glob(filepath.Join(path, "*.json"))
	if err != nil || len(bids) != 1 {
		t.Fatal(bids, err)
	}
	check(t, os.Remove(bids[0]))
	is(t, folder.Holds(), ErrLost)
	is(t, folder.Unlock(), ErrLost)
	is(t, folder.Unlock(), ErrNotHeld)
}

func TestOpenErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "folder")
	_, err := Open(path)
	is(t, err, ErrIO, syscall.ENOENT, fs.ErrNotExist)
	if !strings.Contains(err.Error(), path) {
		t.Errorf("%q does not name %q", err, path)
	}
	_, err = Open(filepath.Dir(path), NoCreate())
	is(t, err, ErrIO, fs.ErrNotExist)
	_, err = Open("")
	is(t, err, ErrInvalid)
	shorter := filepath.Join(t.TempDir(), "lock")
	_, err = Open(shorter + "\x00/other")
	is(t, err, ErrInvalid, syscall.EINVAL)
	if _, err := os.Stat(shorter); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the path was cut at the NUL byte: %v", err)
	}
	public := t.TempDir()
	check(t, os.Chmod(public, 0o777))
	_, err = Open(public, Private())
	is(t, err, ErrUnsafe)
}

// The C library keeps the reason of a failed open for the thread, and goroutines move between threads.
func TestErrorsOfOpenAreNotMixedUp(t *testing.T) {
	var all sync.WaitGroup
	for i := 0; i < 32; i++ {
		path := filepath.Join(t.TempDir(), "missing", "folder")
		all.Add(1)
		go func() {
			defer all.Done()
			for n := 0; n < 200; n++ {
				if _, err := Open(path); !strings.Contains(err.Error(), path) {
					t.Errorf("%q does not name %q", err, path)
					return
				}
			}
		}()
	}
	all.Wait()
}

func TestMalformedGrace(t *testing.T) {
	path := t.TempDir()
	check(t, os.WriteFile(filepath.Join(path, "eeeeeeee-0000-4000-8000-000000000000.json"), nil, 0o644))
	is(t, open(t, path).TryLock(), ErrBusy)
	folder := open(t, path, MalformedGrace(time.Nanosecond), TrustFilesystem())
	check(t, folder.Lock(patient(t)))
}

func TestALongGraceDoesNotBecomeShort(t *testing.T) {
	for grace, ms := range map[time.Duration]uint32{
		1:                            1,
		time.Millisecond:             1,
		time.Millisecond + 1:         2,
		math.MaxUint32 * time.Second: math.MaxUint32,
		math.MaxInt64:                math.MaxUint32,
	} {
		if is := milliseconds(grace); is != ms {
			t.Errorf("%v are %v ms, not %v", grace, is, ms)
		}
	}
}

// Goroutines that have a Folder each exclude each other, so no increment is lost.
func TestGoroutinesExcludeEachOther(t *testing.T) {
	path := t.TempDir()
	inside := 0
	var all sync.WaitGroup
	for i := 0; i < 8; i++ {
		folder := open(t, path)
		all.Add(1)
		go func() {
			defer all.Done()
			for n := 0; n < 5; n++ {
				if err := folder.Lock(patient(t)); err != nil {
					t.Error(err)
					return
				}
				before := inside
				time.Sleep(time.Millisecond)
				inside = before + 1
				if err := folder.Unlock(); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	all.Wait()
	if inside != 40 {
		t.Errorf("%d of 40 increments", inside)
	}
}

func TestNames(t *testing.T) {
	if ErrBusy.Error() != "LF_BUSY" || Status(99).Error() != "LF_UNKNOWN" || BidOwn.String() != "own" || Version() == "" {
		t.Error(ErrBusy, Status(99), BidOwn, Version())
	}
}
