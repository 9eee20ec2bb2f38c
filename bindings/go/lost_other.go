//go:build !linux

package lockfolder

// lostSignal is for Linux. Other systems have no descriptor that tells of a loss.
type lostSignal struct{}

func (f *Folder) lostSignal() *lostSignal { return nil }
func (l *lostSignal) wait() bool          { return false }
func (l *lostSignal) close()              {}
