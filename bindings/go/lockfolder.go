// Package lockfolder is a mutex between processes that lives in a folder.
//
// A claimant posts a bid, a small file, into the folder, and holds the lock while its bid is the only one. The
// command ls shows the holder, and the death of a holder frees the lock.
//
//	folder, err := lockfolder.Open("/var/lib/app/lock")
//	if err != nil { ... }
//	defer folder.Close()
//	if err := folder.Lock(ctx); err != nil { ... }
//	defer folder.Unlock()
//
// The package wraps the C library of the same name. pkg-config must find that library, unless the package carries it (`make go`).
//
// # Goroutines
//
// Any goroutine may call any method of one Folder at any time, Close included. One Folder is one claimant: goroutines that
// should exclude each other open a Folder each. A goroutine that waits in Lock occupies no thread: the runtime
// polls a descriptor.
//
// # Errors
//
// Every error is an *Error. errors.Is compares it with a Status such as ErrBusy, with a syscall.Errno or what that stands for
// (fs.ErrNotExist), and after Lock with context.Canceled or context.DeadlineExceeded. The text names the holder of the
// lock, or the call that the system refused. If several goroutines use one Folder at the same moment, the text can belong
// to another call. The Status always belongs to this call.
package lockfolder

// #include <stdlib.h>
// #include <lockfolder.h>
import "C"

import (
	"context"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// Option changes how Open opens a folder.
type Option func(*options)

type options struct {
	flags    C.uint32_t
	grace    time.Duration
	lease    time.Duration
	hasLease bool
	slots    slots
}

// NoCreate makes Open fail where the folder is missing.
func NoCreate() Option { return func(o *options) { o.flags |= C.LF_OPEN_NO_CREATE } }

// Private makes Open refuse a folder that another user owns, or that group or others can write (ErrUnsafe).
func Private() Option { return func(o *options) { o.flags |= C.LF_OPEN_PRIVATE } }

// TrustFilesystem makes Open accept a folder that other hosts or mounts can write to, on a filesystem that may not show every
// bid in a listing. It is right if all claimants use this one mount, or if the caches of the mount are off. In any other
// case two claimants can hold the lock at once.
func TrustFilesystem() Option { return func(o *options) { o.flags |= C.LF_OPEN_TRUST_FILESYSTEM } }

// MalformedGrace sets after how long a bid that is cut off counts as stale. Without this option: never. A Python peer makes
// such a bid and writes it a moment later, so use seconds.
func MalformedGrace(grace time.Duration) Option { return func(o *options) { o.grace = grace } }

// Folder is one claimant on one lock folder. Make it with Open and end it with Close.
type Folder struct {
	handle *C.lf_folder

	mu      sync.Mutex
	closed  bool
	closing chan struct{}  // Close closes it, and each wait then ends
	calls   sync.WaitGroup // the calls in progress; Close waits until they have ended

	holding   sync.Mutex    // so that no Context begins while Unlock is in progress
	unlocking chan struct{} // Unlock closes it, and each Context of this lock then ends; nil if there is none
}

// Open opens a lock folder, and makes the folder if it is missing (one level). It locks nothing.
func Open(path string, opts ...Option) (*Folder, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if strings.IndexByte(path, 0) >= 0 { // to C the path would end there, and be another folder's
		return nil, &Error{Status: ErrInvalid, Errno: syscall.EINVAL, Message: fmt.Sprintf("the path %q contains a NUL byte", path), cause: syscall.EINVAL}
	}
	count, err := o.slots.count()
	if err != nil {
		return nil, err
	}
	cPath := C.CString(path)
	defer C.free(unsafe.Pointer(cPath))

	// The C library keeps the reason of a failed open for the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f := &Folder{closing: make(chan struct{})}
	if status := C.lf_open(cPath, o.flags, &f.handle); status != C.LF_OK {
		return nil, newError(status, nil)
	}
	var status C.lf_status = C.LF_OK
	if o.grace > 0 {
		status = C.lf_set_malformed_grace(f.handle, C.uint32_t(milliseconds(o.grace)))
	}
	if status == C.LF_OK && o.hasLease {
		status = C.lf_set_lease(f.handle, C.uint32_t(milliseconds(o.lease)))
	}
	if status == C.LF_OK {
		status = C.lf_set_slots(f.handle, count)
	}
	if status != C.LF_OK {
		err := newError(status, f.handle)
		C.lf_close(f.handle)
		return nil, err
	}
	return f, nil
}

// milliseconds rounds up, to what fits into 32 bits. A shorter time would let live bids count as stale.
func milliseconds(d time.Duration) uint32 {
	if d < 0 {
		return 0
	}
	ms := d / time.Millisecond
	if d%time.Millisecond > 0 {
		ms++
	}
	if ms > math.MaxUint32 {
		return math.MaxUint32
	}
	return uint32(ms)
}

// Close ends each Lock that waits, unlocks if the lock is held, and frees the handle. No finalizer frees the handle. A
// second Close returns an error that is os.ErrClosed.
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

// TryLock takes the lock if it is free. It never waits until a holder unlocks. If the lock is not free, the error is
// ErrBusy, and its text names the holder.
func (f *Folder) TryLock() error {
	return f.call(func() C.lf_status { return C.lf_lock(f.handle) })
}

// Lock waits for the lock until ctx is done. errors.Is then finds in the error both a Status and ctx.Err(). The Status is
// ErrTimeout if the deadline was exceeded, and else ErrCancelled. The lock is not held.
func (f *Folder) Lock(ctx context.Context) error {
	if err := f.enter(); err != nil {
		return err
	}
	defer f.calls.Done()
	if err := ctx.Err(); err != nil {
		return doneError(err, "the context was done before the wait began")
	}

	status := C.lf_wait_begin(f.handle, -1)
	if status == C.LF_PENDING {
		status = f.wait(ctx)
	}
	if status != C.LF_CANCELLED {
		return newError(status, f.handle)
	}
	text := message(f.handle)
	if err := ctx.Err(); err != nil {
		return doneError(err, text)
	}
	return &Error{Status: ErrCancelled, Message: text, cause: os.ErrClosed}
}

// wait returns when the wait that has begun is over.
func (f *Folder) wait(ctx context.Context) C.lf_status {
	over, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-over:
			return
		case <-ctx.Done():
		case <-f.closing:
		}
		C.lf_cancel(f.handle) // makes a step due, and that step ends the wait
	}()
	status := f.steps()
	close(over)
	<-watched // a cancellation that came later could end a later wait
	return status
}

func (f *Folder) steps() C.lf_status {
	status := C.lf_status(C.LF_PENDING)
	step := func() bool {
		status = C.lf_wait_step(f.handle)
		return status != C.LF_PENDING
	}
	if due := newReadiness(C.lf_wait_fd(f.handle)); due != nil {
		defer due.close()
		if due.until(step) {
			return status
		}
	}
	for !step() { // no descriptor tells when a step is due
		time.Sleep(10 * time.Millisecond)
	}
	return status
}

// Unlock gives the lock back. ErrLost: somebody had deleted the bid, others may have held the lock since, and this Folder does
// not hold it any more. The same if the lease was lost. After any other error the lock is still held, and Unlock can be tried
// again (with a lease, the lock counts as lost from then on).
func (f *Folder) Unlock() error {
	f.holding.Lock()
	defer f.holding.Unlock()
	if f.unlocking != nil { // the work must not go on when the next one has the lock
		close(f.unlocking)
		f.unlocking = nil
	}
	return f.call(func() C.lf_status { return C.lf_unlock(f.handle) })
}

// Holds returns nil if the lock is held and the bid is still in the folder. Otherwise it returns ErrNotHeld, or ErrLost if
// somebody deleted the bid or the lease is over.
func (f *Folder) Holds() error {
	return f.call(func() C.lf_status { return C.lf_holds(f.handle) })
}

// InUse returns true if a bid of another claimant is there that is not stale. It changes nothing.
func (f *Folder) InUse() (bool, error) {
	var inUse C.bool
	err := f.call(func() C.lf_status { return C.lf_in_use(f.handle, &inUse) })
	return bool(inUse), err
}

// ReapStale deletes every bid whose owner is provably gone, and returns the number of these bids. Locking does this too.
func (f *Folder) ReapStale() (int, error) {
	var reaped C.size_t
	err := f.call(func() C.lf_status { return C.lf_reap_stale(f.handle, &reaped) })
	return int(reaped), err
}

// Fence returns a fencing token, while the lock is held. It is larger than every earlier token of this folder, also after a
// crash or a power loss. Give the token to the resource. The resource must refuse a token that is smaller than one it has
// seen.
func (f *Folder) Fence() (uint64, error) {
	var token C.uint64_t
	err := f.call(func() C.lf_status { return C.lf_fence(f.handle, &token) })
	return uint64(token), err
}

// Version returns the version of the C library that is loaded.
func Version() string { return C.GoString(C.lf_version()) }

// enter begins a call. f.calls.Done must end it.
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
