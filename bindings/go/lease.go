package lockfolder

// #include <lockfolder.h>
import "C"

import (
	"context"
	"time"
)

// Lease sets how long the lease of a lock lasts, from 5 s to 1 h (ErrInvalid). Without this option: 30 s. A lease is needed
// where other hosts use the folder too. On a local filesystem the option has no effect.
func Lease(length time.Duration) Option {
	return func(o *options) { o.lease, o.hasLease = length, true }
}

// NoThread makes the library start no thread that renews a lease. The program then calls Renew, at least every sixth of the
// lease.
func NoThread() Option { return func(o *options) { o.flags |= C.LF_OPEN_NO_THREAD } }

// Renew renews the lease now. It is for programs that open with NoThread. It can take as long as the server of the folder takes
// to answer. Without a lease it does nothing. ErrIO: this try failed and the lock is still held, so try again. ErrLost: the lease
// is over, or another claimant took it over.
func (f *Folder) Renew() error {
	return f.call(func() C.lf_status { return C.lf_renew(f.handle) })
}

// ValidFor returns for how long it is certain that the lock is held, without another renewal of its lease. If isLeased is false
// there is no lease: the lock is held for as long as this process lives, and left is 0. After a loss the error is ErrLost.
func (f *Folder) ValidFor() (left time.Duration, isLeased bool, err error) {
	var ms C.int64_t
	err = f.call(func() C.lf_status { return C.lf_valid_for(f.handle, &ms) })
	if err != nil || ms < 0 {
		return 0, false, err
	}
	return time.Duration(ms) * time.Millisecond, true, nil
}

// Context returns a context for the work that needs the lock. It is done when the lease of the lock is lost, when Unlock or Close
// begins, when parent is done, or when cancel is called. If the lock is not held now, the context is done from the beginning.
//
// context.Cause (Go 1.20 and later) tells these apart: the cause is an *Error, ErrLost after a loss, ErrNotHeld after Unlock,
// and os.ErrClosed after Close. With Go 1.19, call Holds, which then returns ErrLost.
//
// Without a lease, no loss ends the context. If somebody deletes the bid, the context goes on, and Holds returns ErrLost. A
// virtual machine that is paused from outside can't know it, so use Fence too where the resource can check a token.
func (f *Folder) Context(parent context.Context) (ctx context.Context, cancel context.CancelFunc) {
	ctx, end := withCancelCause(parent)
	cancel = func() { end(nil) }

	f.holding.Lock()
	defer f.holding.Unlock()
	_, isLeased, err := f.ValidFor()
	if err != nil {
		end(err)
		return ctx, cancel
	}
	if f.unlocking == nil {
		f.unlocking = make(chan struct{})
	}
	var lost *readiness
	if isLeased {
		lost = f.lostReadiness()
	}
	stop, loss := make(chan struct{}), make(chan error, 1)
	if isLeased {
		go func() { loss <- f.waitForLoss(lost, stop) }()
	}
	go func(unlocking <-chan struct{}) {
		select {
		case err := <-loss:
			end(err)
		case <-unlocking:
			end(&Error{Status: ErrNotHeld, Message: "the lock was unlocked"})
		case <-f.closing:
			end(closedError())
		case <-ctx.Done():
		}
		close(stop)
		if lost != nil {
			lost.close() // ends wait
		}
	}(f.unlocking)
	return ctx, cancel
}

// lostReadiness returns nil if the system has no descriptor that tells of a loss, or if none is free.
func (f *Folder) lostReadiness() *readiness {
	if f.enter() != nil {
		return nil
	}
	defer f.calls.Done()
	return newReadiness(C.lf_lost_fd(f.handle))
}

// waitForLoss returns why the lock is lost, or nil after stop. Where it has a descriptor, it does not ask the library for the reason,
// because that answer waits for a call in progress on this Folder, and so for a server that does not answer.
func (f *Folder) waitForLoss(lost *readiness, stop <-chan struct{}) error {
	if lost != nil && lost.wait() {
		return &Error{Status: ErrLost, Message: "the lock was lost: its lease is over, or another claimant took it over"}
	}
	// This system has no such descriptor, or none was free.
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-again.C:
		}
		if _, _, err := f.ValidFor(); err != nil {
			return err
		}
	}
}
