// Package lockfolder is a mutex between processes that lives in a folder.
//
// A claimant posts a bid, a small file, into the folder, and holds the lock while its bid is the only one. Anybody can
// see with ls who holds it, and the death of a holder frees the lock.
//
//	folder, err := lockfolder.Open("/var/lib/app/lock")
//	if err != nil { ... }
//	defer folder.Close()
//	if err := folder.Lock(ctx); err != nil { ... }
//	defer folder.Unlock()
//
// The package wraps the C library of the same name, which pkg-config finds.
//
// # Goroutines
//
// Any goroutine may call any method of one Folder at any time, Close included. One Folder is one claimant: goroutines that
// should exclude each other open a Folder each. A goroutine in Lock occupies a thread while it waits.
//
// # Errors
//
// Every error is an *Error. Ask it with errors.Is for a Status such as ErrBusy, for a syscall.Errno or what that stands for
// (fs.ErrNotExist), and after Lock for context.Canceled or context.DeadlineExceeded. Its text says who holds the
// lock, or what the system refused. Where several goroutines use one Folder at the same moment, the text can be another
// call's; the Status never is.
package lockfolder

// #cgo pkg-config: lockfolder
// #include <stdlib.h>
// #include <lockfolder.h>
import "C"

import (
	"context"
	"os"
	"runtime"
	"sync"
	"time"
	"unsafe"
)

// Option changes how Open opens.
type Option func(*options)

type options struct {
	flags C.uint32_t
	grace time.Duration
}

// NoCreate makes Open fail where the folder is missing.
func NoCreate() Option { return func(o *options) { o.flags |= C.LF_OPEN_NO_CREATE } }

// Private makes Open refuse a folder that this user doesn't own, or that group or others can write (ErrUnsafe).
func Private() Option { return func(o *options) { o.flags |= C.LF_OPEN_PRIVATE } }

// TrustFilesystem uses a folder although other hosts or mounts can write to it and its filesystem is not known to show
// every bid in a listing. Right where all claimants use this one mount, or its caches are off; else two can hold at once.
func TrustFilesystem() Option { return func(o *options) { o.flags |= C.LF_OPEN_TRUST_FILESYSTEM } }

// MalformedGrace sets after how long a bid that is cut off counts as stale. Without it: never. Such a bid may be a
// Python peer's between its open and its write, so give it seconds.
func MalformedGrace(grace time.Duration) Option { return func(o *options) { o.grace = grace } }

// Folder is one claimant on one lock folder. Make it with Open and end it with Close.
type Folder struct {
	handle *C.lf_folder

	mu      sync.Mutex
	closed  bool
	closing chan struct{}  // closed by Close: whoever waits gives up
	calls   sync.WaitGroup // calls in progress, which Close lets end
}

// Open opens a lock folder, and makes it if it is missing (one level). It locks nothing.
func Open(path string, opts ...Option) (*Folder, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	cPath := C.CString(path)
	defer C.free(unsafe.Pointer(cPath))

	// Why an open failed is kept by the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f := &Folder{closing: make(chan struct{})}
	if status := C.lf_open(cPath, o.flags, &f.handle); status != C.LF_OK {
		return nil, newError(status, nil)
	}
	if o.grace > 0 {
		ms := int64((o.grace + time.Millisecond - 1) / time.Millisecond)
		if ms > 1<<32-1 {
			ms = 1<<32 - 1
		}
		C.lf_set_malformed_grace(f.handle, C.uint32_t(ms))
	}
	return f, nil
}

// Close unlocks if the lock is held, and frees the handle. A Lock in progress gives up first. Nothing else frees it:
// there is no finalizer. A second Close returns an error that is os.ErrClosed.
func (f *Folder) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return closedError()
	}
	f.closed = true
	close(f.closing)
	f.mu.Unlock()

	f.calls.Wait()
	C.lf_close(f.handle)
	return nil
}

// TryLock takes the lock if it is free, and never waits for another's critical section. If it is not free, the error is
// ErrBusy and says who has it.
func (f *Folder) TryLock() error {
	return f.call(func() C.lf_status { return C.lf_lock(f.handle) })
}

// Lock waits for the lock until ctx is done. The error then is both a Status (ErrTimeout if the deadline was exceeded, else
// ErrCancelled) and ctx.Err() for errors.Is, and the lock is not held.
func (f *Folder) Lock(ctx context.Context) error {
	if err := f.enter(); err != nil {
		return err
	}
	defer f.calls.Done()
	if err := ctx.Err(); err != nil {
		return doneError(err, "the context was done before the wait began")
	}

	returned, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		f.cancelWhenDone(ctx, returned)
	}()
	status := C.lf_lock_wait(f.handle, -1)
	close(returned)
	<-watched // or its cancellation could hit a later wait

	if status != C.LF_CANCELLED {
		return newError(status, f.handle)
	}
	text := message(f.handle)
	if err := ctx.Err(); err != nil {
		return doneError(err, text)
	}
	return &Error{Status: ErrCancelled, Message: text, cause: os.ErrClosed}
}

func (f *Folder) cancelWhenDone(ctx context.Context, returned <-chan struct{}) {
	select {
	case <-returned:
		return
	case <-ctx.Done():
	case <-f.closing:
	}
	// A cancellation without a wait is forgotten, and the wait may not have begun: until it has returned, again.
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		C.lf_cancel(f.handle)
		select {
		case <-returned:
			return
		case <-again.C:
		}
	}
}

// Unlock gives the lock back. ErrLost: somebody had deleted the bid, others may have been in, and the lock is no longer held.
// After any other error it is still held, and Unlock can be tried again.
func (f *Folder) Unlock() error {
	return f.call(func() C.lf_status { return C.lf_unlock(f.handle) })
}

// Holds returns nil if the lock is held and the bid is still in the folder; else ErrNotHeld, or ErrLost if somebody
// deleted it.
func (f *Folder) Holds() error {
	return f.call(func() C.lf_status { return C.lf_holds(f.handle) })
}

// InUse says whether any other claimant's bid is there that is not stale. It changes nothing.
func (f *Folder) InUse() (bool, error) {
	var inUse C.bool
	err := f.call(func() C.lf_status { return C.lf_in_use(f.handle, &inUse) })
	return bool(inUse), err
}

// ReapStale deletes every bid whose owner is provably gone, and says how many those were. Locking does this too.
func (f *Folder) ReapStale() (int, error) {
	var reaped C.size_t
	err := f.call(func() C.lf_status { return C.lf_reap_stale(f.handle, &reaped) })
	return int(reaped), err
}

// Fence returns a fencing token: larger than every token given before in this folder, also across crashes and power loss.
// Only while the lock is held. Hand it to the resource, which refuses any smaller one than it has seen.
func (f *Folder) Fence() (uint64, error) {
	var token C.uint64_t
	err := f.call(func() C.lf_status { return C.lf_fence(f.handle, &token) })
	return uint64(token), err
}

// Version returns the version of the C library that is loaded.
func Version() string { return C.GoString(C.lf_version()) }

// enter begins a call; f.calls.Done ends it.
func (f *Folder) enter() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return closedError()
	}
	f.calls.Add(1)
	return nil
}

func (f *Folder) call(body func() C.lf_status) error {
	if err := f.enter(); err != nil {
		return err
	}
	defer f.calls.Done()
	return newError(body(), f.handle)
}
