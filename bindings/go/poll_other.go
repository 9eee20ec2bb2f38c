//go:build !linux

package lockfolder

import "C"

// readiness is for Linux. On other systems the library has no descriptors.
type readiness struct{}

func newReadiness(fd C.int) *readiness           { return nil }
func (r *readiness) until(done func() bool) bool { return false }
func (r *readiness) wait() bool                  { return false }
func (r *readiness) close()                      {}
