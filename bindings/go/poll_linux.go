package lockfolder

// #include <fcntl.h>
// #include <poll.h>
//
// static int duplicate(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 3); } // never a standard one
// static int is_readable(int fd) { struct pollfd one = {fd, POLLIN, 0}; return poll(&one, 1, 0) > 0; }
import "C"

import (
	"os"
	"syscall"
)

// readiness is a descriptor of our own for one that the library gives. The library's ends with the handle, and to close it is not
// ours. The runtime polls it, so a goroutine that waits for it occupies no thread.
type readiness struct {
	file *os.File
	conn syscall.RawConn
}

// newReadiness returns nil if there is no such descriptor, or if none is free.
func newReadiness(fd C.int) *readiness {
	if fd < 0 {
		return nil
	}
	if fd = C.duplicate(fd); fd < 0 {
		return nil
	}
	if err := syscall.SetNonblock(int(fd), true); err != nil { // else the runtime would not poll it
		syscall.Close(int(fd))
		return nil
	}
	file := os.NewFile(uintptr(fd), "lockfolder")
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil
	}
	return &readiness{file, conn}
}

// until calls done now, and again each time when the descriptor is readable, until done returns true. It returns false after close.
func (r *readiness) until(done func() bool) bool {
	return r.conn.Read(func(fd uintptr) bool {
		for {
			if done() {
				return true
			}
			if C.is_readable(C.int(fd)) == 0 { // the runtime tells a change only
				return false
			}
		}
	}) == nil
}

// wait returns true when the descriptor is readable, and false after close.
func (r *readiness) wait() bool {
	return r.conn.Read(func(fd uintptr) bool { return C.is_readable(C.int(fd)) != 0 }) == nil
}

func (r *readiness) close() { r.file.Close() }
