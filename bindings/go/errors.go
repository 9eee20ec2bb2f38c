package lockfolder

// #include <lockfolder.h>
import "C"

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

// Status is the result of a call, with the number that it has in the C library. Compare errors with it: errors.Is(err, ErrBusy).
type Status int32

const (
	ErrBusy        Status = C.LF_BUSY             // another claimant holds the lock or bids for it, or another goroutine is locking this Folder
	ErrTimeout     Status = C.LF_TIMEOUT          // the context's deadline was exceeded
	ErrCancelled   Status = C.LF_CANCELLED        // the wait was cancelled, by its context or by Close
	ErrInvalid     Status = C.LF_ERR_INVALID      // a bad argument, or a closed Folder
	ErrNotHeld     Status = C.LF_ERR_NOT_HELD     // the lock is not held by this Folder
	ErrAlreadyHeld Status = C.LF_ERR_ALREADY_HELD // the lock is held by this Folder already
	ErrLost        Status = C.LF_ERR_LOST         // the lock is lost: its lease is over, or somebody deleted the bid
	ErrForked      Status = C.LF_ERR_FORKED       // the Folder belongs to the parent process
	ErrIO          Status = C.LF_ERR_IO           // the system reported an error: see the syscall.Errno
	ErrUnsafe      Status = C.LF_ERR_UNSAFE       // Private was set, and others can write to the folder
	ErrUnsupported Status = C.LF_ERR_UNSUPPORTED  // this filesystem or system can't keep the promises of the lock
	ErrInternal    Status = C.LF_ERR_INTERNAL     // the library has a bug, and has noticed it
)

// Error returns the name of the status, such as "LF_BUSY".
func (s Status) Error() string { return C.GoString(C.lf_status_name(C.lf_status(s))) }

// Error is the type of every error that this package returns.
type Error struct {
	Status  Status
	Errno   syscall.Errno // the error number of the system, or 0
	Message string        // a sentence that names the folder, the file and the holder

	cause error
}

func (e *Error) Error() string { return "lockfolder: " + e.Message }

// Is reports whether target is this error's Status.
func (e *Error) Is(target error) bool {
	status, ok := target.(Status)
	return ok && status == e.Status
}

// Unwrap returns the cause of the error: the syscall.Errno, the error of the context, os.ErrClosed, or nil.
func (e *Error) Unwrap() error {
	if e.cause == nil && e.Errno != 0 {
		return e.Errno
	}
	return e.cause
}

// newError returns nil for LF_OK. With a nil handle it describes the last lf_open of this thread.
func newError(status C.lf_status, handle *C.lf_folder) error {
	if status == C.LF_OK {
		return nil
	}
	return &Error{Status: Status(status), Errno: syscall.Errno(C.lf_error_code(handle)), Message: message(handle)}
}

func doneError(cause error, text string) error {
	status := ErrCancelled
	if errors.Is(cause, context.DeadlineExceeded) {
		status = ErrTimeout
		// The library knows only that its wait was cancelled.
		text = strings.Replace(text, "the wait was cancelled: ", "timed out: ", 1)
	}
	return &Error{Status: status, Message: text + " (" + cause.Error() + ")", cause: cause}
}

func closedError() error {
	return &Error{Status: ErrInvalid, Message: "the Folder is closed", cause: os.ErrClosed}
}

func message(handle *C.lf_folder) string {
	buffer := make([]byte, 512)
	for {
		length := int(C.lf_error_message(handle, (*C.char)(unsafe.Pointer(&buffer[0])), C.size_t(len(buffer))))
		if length < len(buffer) {
			return string(buffer[:length])
		}
		buffer = make([]byte, length+1)
	}
}
