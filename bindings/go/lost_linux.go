package lockfolder

// #include <fcntl.h>
// #include <poll.h>
// #include <lockfolder.h>
//
// static int duplicate(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 0); }
// static int is_readable(int fd) { struct pollfd one = {fd, POLLIN, 0}; return poll(&one, 1, 0) > 0; }
import "C"

import (
	"os"
	"syscall"
)

// lostSignal is a descriptor of our own for what lf_lost_fd gives. The library's ends with the handle, and to close it is not
// ours.
type lostSignal struct {
	file *os.File
	conn syscall.RawConn
}

// lostSignal returns nil if no descriptor is free.
func (f *Folder) lostSignal() *lostSignal {
	if f.enter() != nil {
		return nil
	}
	defer f.calls.Done()
	fd := C.lf_lost_fd(f.handle)
	if fd < 0 {
		return nil
	}
	if fd = C.duplicate(fd); fd < 0 {
		return nil
	}
	file := os.NewFile(uintptr(fd), "lost")
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil
	}
	return &lostSignal{file, conn}
}

// wait returns true after a loss, and false after close. It occupies no thread: the runtime polls the descriptor. It does not ask
// the library for the reason, because that answer waits for a call in progress on this Folder, and so for a server that does not
// answer.
func (l *lostSignal) wait() bool {
	return l.conn.Read(func(fd uintptr) bool { return C.is_readable(C.int(fd)) != 0 }) == nil
}

func (l *lostSignal) close() { l.file.Close() }
