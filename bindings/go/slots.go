package lockfolder

// #include <lockfolder.h>
import "C"

import (
	"fmt"
	"math"
	"syscall"
)

// slots is how many hold the lock together, as an option said. Without an option: 1.
type slots struct {
	isGiven bool
	isAny   bool
	number  int
}

// Slots lets up to n Folders hold the lock together, this one included, as a semaphore does. n is 1 or more (ErrInvalid). All
// that share a folder name the same n: if another one is in use there, Lock and TryLock return ErrInvalid. The last one of
// Slots and Shared counts.
func Slots(n int) Option {
	return func(o *options) { o.slots = slots{isGiven: true, number: n} }
}

// Shared makes a reader, as RLock of a sync.RWMutex does: any number of Folders with this option hold the lock together. A Folder
// without it is a writer, and holds the lock alone. A reader that comes later does not go ahead of a writer that waits.
func Shared() Option {
	return func(o *options) { o.slots = slots{isGiven: true, isAny: true} }
}

// count is the number of slots for the C library. No number that a program names becomes LF_SLOTS_ANY.
func (s slots) count() (C.uint32_t, error) {
	switch {
	case !s.isGiven:
		return 1, nil
	case s.isAny:
		return C.LF_SLOTS_ANY, nil
	case s.number < 1 || uint64(s.number) > math.MaxUint32:
		text := fmt.Sprintf("%d is not a number of slots: 1 or more can hold a lock together", s.number)
		return 0, &Error{Status: ErrInvalid, Errno: syscall.EINVAL, Message: text, cause: syscall.EINVAL}
	}
	return C.uint32_t(s.number), nil
}
