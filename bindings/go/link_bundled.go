//go:build lockfolder_bundled

package lockfolder

// The library is in the folder bundled. `make go` makes a copy of this package that has one, and there this file needs no tag.

// #cgo CFLAGS: -I${SRCDIR}/bundled/include
// #cgo LDFLAGS: ${SRCDIR}/bundled/liblockfolder.a -lutil -lrt -lpthread -lm -ldl
import "C"
